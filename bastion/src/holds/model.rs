//! The state machine against a model of what people were promised: whatever is tried, in whatever
//! order, bytes go out only after enough different people approved exactly them, each of them
//! somebody else than the producer and entitled until the last approval.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::access::may_decide;
use crate::holds::{Kind, SamePerson};

/// Accounts; several may be one human's. Account 0 is the producer's.
const ACCOUNTS: usize = 7;
/// Who stands behind each: the producer has a second account and a service.
const HUMAN: [u8; ACCOUNTS] = [0, 0, 1, 1, 2, 3, 0];
const SERVICE: usize = 6;
const PERIOD: i64 = 100;

fn party(account: usize) -> Party {
    let human = HUMAN.get(account).copied().unwrap_or(9);
    Party {
        identity: Identity {
            issuer: "https://id.example.test".into(),
            subject: format!("account-{account}"),
        },
        name: format!("name {account}"),
        email: None,
        same_person: SamePerson::Is(format!("human-{human}")),
        kind: if account == SERVICE {
            Kind::Service {
                owner: Some("human-0".into()),
            }
        } else {
            Kind::Person
        },
    }
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap_or_default()
}

/// What can happen.
#[derive(Clone, Debug)]
enum Act {
    Seal(u8),
    Approve(usize, u8),
    Deny(usize, u8),
    Cancel(usize),
    Release(usize, u8),
    Delivered,
    Void,
    Expire,
    Wait(i64),
    /// An account comes into, or leaves, the group that decides.
    Join(usize),
    Leave(usize),
}

/// The promise, in other words than the machine's.
#[derive(Clone, Debug)]
struct Promise {
    needed: u32,
    now: i64,
    members: BTreeSet<usize>,
    state: Name,
    sealed: u8,
    until: i64,
    /// Accounts whose approval counts.
    approved: BTreeSet<usize>,
}

impl Promise {
    fn entitled(&self, account: usize) -> bool {
        self.members.contains(&account) && account != SERVICE && HUMAN.get(account) != HUMAN.first()
    }

    /// Those who decide on these bytes now.
    fn can_decide(&self, account: usize, bytes: u8) -> bool {
        self.state == Name::Sealed
            && self.now < self.until
            && bytes == self.sealed
            && self.entitled(account)
    }
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Promise;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<Promise> {
        (
            1..4_u32,
            proptest::collection::btree_set(0..ACCOUNTS, 0..=ACCOUNTS),
        )
            .prop_map(|(needed, members)| Promise {
                needed,
                now: 0,
                members,
                state: Name::Open,
                sealed: 0,
                until: 0,
                approved: BTreeSet::new(),
            })
            .boxed()
    }

    fn transitions(_: &Promise) -> BoxedStrategy<Act> {
        let account = 0..ACCOUNTS;
        // Mostly the right bytes.
        let bytes = prop_oneof![5 => Just(1_u8), 1 => Just(2)];
        prop_oneof![
            2 => Just(Act::Seal(1)),
            8 => (account.clone(), bytes.clone()).prop_map(|(who, bytes)| Act::Approve(who, bytes)),
            1 => (account.clone(), bytes.clone()).prop_map(|(who, bytes)| Act::Deny(who, bytes)),
            1 => account.clone().prop_map(Act::Cancel),
            4 => (prop_oneof![4 => Just(0), 1 => account.clone()], bytes)
                .prop_map(|(who, bytes)| Act::Release(who, bytes)),
            2 => Just(Act::Delivered),
            1 => Just(Act::Void),
            2 => Just(Act::Expire),
            2 => (0..60_i64).prop_map(Act::Wait),
            2 => account.clone().prop_map(Act::Join),
            2 => account.prop_map(Act::Leave),
        ]
        .boxed()
    }

    fn apply(mut promise: Promise, act: &Act) -> Promise {
        match *act {
            Act::Seal(bytes) => {
                if promise.state == Name::Open {
                    promise.state = Name::Sealed;
                    promise.sealed = bytes;
                    promise.until = promise.now + PERIOD;
                }
            }
            Act::Approve(account, bytes) => {
                if promise.can_decide(account, bytes) {
                    let members = &promise.members;
                    let human = HUMAN.get(account);
                    let counted: BTreeSet<usize> = promise
                        .approved
                        .iter()
                        .copied()
                        .filter(|earlier| members.contains(earlier))
                        .collect();
                    if !counted.iter().any(|earlier| HUMAN.get(*earlier) == human) {
                        promise.approved = counted;
                        promise.approved.insert(account);
                        if promise.approved.len() as u32 >= promise.needed {
                            promise.state = Name::Approved;
                            promise.until = promise.now + PERIOD;
                        }
                    }
                }
            }
            Act::Deny(account, bytes) => {
                if promise.can_decide(account, bytes) {
                    promise.state = Name::Denied;
                }
            }
            Act::Cancel(account) => {
                if account == 0 && matches!(promise.state, Name::Sealed | Name::Approved) {
                    promise.state = Name::Cancelled;
                }
            }
            Act::Release(account, bytes) => {
                if account == 0
                    && bytes == promise.sealed
                    && promise.now < promise.until
                    && matches!(promise.state, Name::Approved | Name::Releasing)
                {
                    promise.state = Name::Releasing;
                }
            }
            Act::Delivered => {
                if promise.state == Name::Releasing {
                    promise.state = Name::Delivered;
                }
            }
            Act::Void => {
                if !promise.state.is_final() {
                    promise.state = Name::Void;
                }
            }
            Act::Expire => {
                let waits = matches!(
                    promise.state,
                    Name::Sealed | Name::Approved | Name::Releasing
                );
                if waits && promise.now >= promise.until {
                    promise.state = Name::Expired;
                }
            }
            Act::Wait(seconds) => promise.now += seconds,
            Act::Join(account) => drop(promise.members.insert(account)),
            Act::Leave(account) => drop(promise.members.remove(&account)),
        }
        promise
    }
}

/// The machine, and what it was seen to do.
struct Machine {
    hold: Hold,
    released: u32,
}

impl Machine {
    /// What the room does with a vote: whoever may not decide has none.
    fn ballot(promise: &Promise, account: usize) -> Option<Entitled> {
        let (decider, producer) = (party(account), party(0));
        let may = may_decide(&decider.as_access(), [&producer.as_access()]).is_ok();
        (may && promise.members.contains(&account)).then(|| Entitled::for_test(decider))
    }

    fn after(&mut self, promise: &Promise, act: &Act) -> Result<Hold, Refusal> {
        let hold = self.hold.clone();
        // The promise has moved already; the act itself changes neither time nor members unless it
        // is about them.
        let now = at(promise.now);
        match *act {
            Act::Seal(bytes) => match hold {
                Hold::Open(open) => Ok(Hold::Sealed(open.seal(digest(bytes), now))),
                other => Err(Refusal::Over(other.name())),
            },
            Act::Approve(account, bytes) => {
                let by = Self::ballot(promise, account).ok_or(Refusal::NotYours)?;
                let still = |earlier: &Party| {
                    (0..ACCOUNTS).any(|k| promise.members.contains(&k) && party(k) == *earlier)
                };
                let voted = hold
                    .into_sealed()?
                    .approve(by, &digest(bytes), now, still)?;
                Ok(match voted {
                    Voted::Waiting(sealed) => Hold::Sealed(sealed),
                    Voted::Approved(approved) => Hold::Approved(approved),
                })
            }
            Act::Deny(account, bytes) => {
                let by = Self::ballot(promise, account).ok_or(Refusal::NotYours)?;
                let end = hold.into_sealed()?.deny(by, &digest(bytes), now)?;
                Ok(Hold::Ended(end))
            }
            Act::Cancel(account) => hold.cancel(&party(account).identity).map(Hold::Ended),
            Act::Release(account, bytes) => {
                let to = party(account).identity;
                let releasing = hold.release(&to, &digest(bytes), now)?;
                self.released += 1;
                Ok(Hold::Releasing(releasing))
            }
            Act::Delivered => match hold {
                Hold::Releasing(releasing) => Ok(Hold::Ended(releasing.delivered())),
                other => Err(Refusal::Over(other.name())),
            },
            Act::Void => hold.void().map(Hold::Ended),
            Act::Expire => hold.expire(now).map(Hold::Ended),
            Act::Wait(_) | Act::Join(_) | Act::Leave(_) => Ok(hold),
        }
    }
}

struct Check;

impl StateMachineTest for Check {
    type SystemUnderTest = Machine;
    type Reference = Model;

    fn init_test(promise: &Promise) -> Machine {
        Machine {
            hold: Hold::Open(Open {
                terms: Terms {
                    producer: party(0),
                    needed: promise.needed,
                    period: SignedDuration::from_secs(PERIOD),
                },
            }),
            released: 0,
        }
    }

    fn apply(mut machine: Machine, promise: &Promise, act: Act) -> Machine {
        let before = machine.released;
        if let Ok(next) = machine.after(promise, &act) {
            machine.hold = next;
        }
        if machine.released > before {
            let humans: BTreeSet<_> = promise
                .approved
                .iter()
                .filter_map(|account| HUMAN.get(*account))
                .collect();
            assert!(humans.len() as u32 >= promise.needed, "too few people");
            assert!(!humans.contains(&0), "the producer decided");
            assert!(!promise.approved.contains(&SERVICE), "a service decided");
        }
        machine
    }

    fn check_invariants(machine: &Machine, promise: &Promise) {
        assert_eq!(machine.hold.name(), promise.state);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_released_without_the_decisions_it_needs(sequential 1..60 => Check);
}

/// The model is no use if it never gets that far.
#[test]
fn a_release_is_reached() {
    let mut promise = Promise {
        needed: 2,
        now: 0,
        members: (0..ACCOUNTS).collect(),
        state: Name::Open,
        sealed: 0,
        until: 0,
        approved: BTreeSet::new(),
    };
    let mut machine = Check::init_test(&promise);
    for (act, state) in [
        (Act::Seal(1), Name::Sealed),
        (Act::Approve(1, 1), Name::Sealed),
        (Act::Approve(2, 1), Name::Sealed),
        // The same human's other account.
        (Act::Approve(3, 1), Name::Sealed),
        // The first leaves the group; the second is then the first.
        (Act::Leave(2), Name::Sealed),
        (Act::Approve(4, 1), Name::Sealed),
        (Act::Approve(5, 2), Name::Sealed),
        (Act::Approve(5, 1), Name::Approved),
        (Act::Release(2, 1), Name::Approved),
        (Act::Release(0, 1), Name::Releasing),
        (Act::Release(0, 1), Name::Releasing),
        (Act::Delivered, Name::Delivered),
        (Act::Release(0, 1), Name::Delivered),
    ] {
        promise = Model::apply(promise, &act);
        machine = Check::apply(machine, &promise, act);
        assert_eq!(machine.hold.name(), state);
        assert_eq!(promise.state, state);
    }
    assert_eq!(machine.released, 2);
}
