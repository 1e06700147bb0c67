//! Decisions against a model of what people were promised: whatever is tried, in whatever order,
//! bytes go out only after enough different people approved exactly them, each of them somebody
//! else than the producer and whoever watched, and entitled until the last approval.
//!
//! What is tried takes the way of a real decision: the policies ([`decide::entitle`]), the steps of
//! this room, the state machine and the row. Only the file is left out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::access::{Access, Person};
use crate::config::Approval;
use decide::Decider;

/// Accounts; several may be one human's. Account 0 is the producer's.
const ACCOUNTS: usize = 7;
/// Who stands behind each: the producer has a second account and a service.
const HUMAN: [u8; ACCOUNTS] = [0, 0, 1, 1, 2, 3, 0];
const SERVICE: usize = 6;
const PERIOD: i64 = 100;
const GROUP: &str = "leads";

/// The group of approvers may approve, and so may anybody whom only this policy knows.
static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a policy");
    };
    write(
        "access.cedar",
        "permit (principal, action == Action::\"approve\", resource);\n",
    );
    write("protect.toml", "");
    Access::load(
        folder.path(),
        crate::target::tests::inventory(&[("pay", "app", &[])]),
        crate::access::StableKey::MadeUp,
    )
    .expect("policies")
});

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
    /// An account sees the session.
    Watch(usize),
}

/// The promise, in other words than the machine's.
#[derive(Clone, Debug)]
struct Promise {
    needed: u32,
    now: i64,
    members: BTreeSet<usize>,
    watchers: BTreeSet<usize>,
    state: Name,
    sealed: u8,
    until: i64,
    /// Accounts whose approval counts.
    approved: BTreeSet<usize>,
}

impl Promise {
    fn entitled(&self, account: usize) -> bool {
        self.members.contains(&account) && account != SERVICE && !self.took_part(account)
    }

    /// Whether the human behind an account produced or saw it.
    fn took_part(&self, account: usize) -> bool {
        std::iter::once(&0)
            .chain(&self.watchers)
            .any(|other| HUMAN.get(*other) == HUMAN.get(account))
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
                watchers: BTreeSet::new(),
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
            2 => prop_oneof![Just(0), account.clone()].prop_map(Act::Cancel),
            4 => (prop_oneof![4 => Just(0), 1 => account.clone()], bytes)
                .prop_map(|(who, bytes)| Act::Release(who, bytes)),
            2 => Just(Act::Delivered),
            1 => Just(Act::Void),
            2 => Just(Act::Expire),
            2 => (0..60_i64).prop_map(Act::Wait),
            2 => account.clone().prop_map(Act::Join),
            2 => account.clone().prop_map(Act::Leave),
            2 => account.prop_map(Act::Watch),
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
                    let human = HUMAN.get(account);
                    let counted: BTreeSet<usize> = promise
                        .approved
                        .iter()
                        .copied()
                        .filter(|earlier| promise.entitled(*earlier))
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
            Act::Watch(account) => drop(promise.watchers.insert(account)),
        }
        promise
    }
}

/// A hold as it is written down, and how often its bytes went out.
struct Machine {
    row: HoldRow,
    released: u32,
}

impl Machine {
    /// Asks as the console does; whoever may not decide has no ballot.
    fn ballot(
        &self,
        promise: &Promise,
        account: usize,
        bytes: u8,
        approves: bool,
    ) -> Option<Ballot> {
        let party = party(account);
        let of_account = party.as_access();
        let member = promise.members.contains(&account);
        let groups = member.then(|| GROUP.to_owned()).into_iter().collect();
        let now = at(promise.now);
        let decider = Decider {
            person: Person {
                issuer: of_account.issuer,
                subject: of_account.subject,
                name: of_account.name,
                email: of_account.email,
                same_person: of_account.same_person,
                kind: of_account.kind,
                groups: &groups,
                signed_in_at: now,
                key: None,
            },
            party: party.clone(),
            key_since: None,
            source: IpAddr::from([127, 0, 0, 1]),
            now,
        };
        let approval = Approval {
            same_person_claim: None,
            owner_claim: String::new(),
            max_sign_in_age: Duration::from_secs(1),
            min_key_age: Duration::ZERO,
        };
        let (by, policies) = decide::entitle(&ACCESS, &approval, decider, &self.row).ok()?;
        Some(Ballot {
            hold: self.row.id,
            digest: digest(bytes),
            by,
            approves,
            reason: None,
            policies,
            counts: Box::new(|_, _| true),
        })
    }

    /// The step that an act leads to, where it is none that changes the hold's surroundings.
    fn step(&self, promise: &Promise, act: &Act) -> Option<Step> {
        let row = &self.row;
        // The promise has moved already; the act itself changes neither time nor members unless it
        // is about them.
        let now = at(promise.now);
        let step = match *act {
            Act::Seal(bytes) => {
                let seal = Seal {
                    digest: digest(bytes),
                    bytes: 1,
                    rows: 1,
                    fields: Vec::new(),
                    sealed_at: now,
                    status: None,
                };
                sealed(row, seal, now)
            }
            Act::Approve(account, bytes) => {
                voted(row, self.ballot(promise, account, bytes, true)?, now)
            }
            Act::Deny(account, bytes) => {
                voted(row, self.ballot(promise, account, bytes, false)?, now)
            }
            Act::Cancel(account) => cancelled(row, &party(account).identity, None),
            Act::Release(account, bytes) => {
                releasing(row, &party(account).identity, &digest(bytes), now)
            }
            Act::Delivered => delivered(row),
            Act::Void => voided(row, "a test"),
            Act::Expire => expired(row, now),
            Act::Wait(_) | Act::Join(_) | Act::Leave(_) | Act::Watch(_) => return None,
        };
        step.ok()
    }

    fn act(&mut self, promise: &Promise, act: &Act) {
        // What the store reads with the row.
        self.row.watchers = promise.watchers.iter().copied().map(party).collect();
        let votes = self.row.votes.iter().map(|vote| vote.by.identity.clone());
        self.row.gone = votes
            .filter(|voter| {
                !(0..ACCOUNTS).any(|k| promise.members.contains(&k) && party(k).identity == *voter)
            })
            .collect();
        if let Some(step) = self.step(promise, act) {
            let releases = step.to == Name::Releasing;
            if self.row.stepped(step, at(promise.now)) && releases {
                self.released += 1;
            }
        }
    }
}

struct Check;

impl StateMachineTest for Check {
    type SystemUnderTest = Machine;
    type Reference = Model;

    fn init_test(promise: &Promise) -> Machine {
        let facts = Facts {
            producer: party(0),
            session: "s".into(),
            target: "pay".into(),
            login: "app".into(),
            command: None,
            pty: false,
            approved: false,
            held: Held::Output,
            rule: "all".into(),
            approvers: GROUP.into(),
            needed: promise.needed,
            period_s: PERIOD.unsigned_abs(),
        };
        Machine {
            row: HoldRow::opened(HoldId::of(1), facts, at(0)),
            released: 0,
        }
    }

    fn apply(mut machine: Machine, promise: &Promise, act: Act) -> Machine {
        let before = machine.released;
        machine.act(promise, &act);
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
        assert_eq!(machine.row.state, promise.state);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_released_without_the_decisions_it_needs(sequential 1..60 => Check);
}

/// The model is no use if it never gets that far.
#[test]
fn a_release_is_reached() {
    follow(
        2,
        &[
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
            (Act::Cancel(0), Name::Releasing),
            (Act::Release(0, 1), Name::Releasing),
            (Act::Delivered, Name::Delivered),
            (Act::Release(0, 1), Name::Delivered),
        ],
        2,
    );
}

/// Somebody votes and then sees the session, with whichever account.
#[test]
fn a_vote_of_a_watcher_is_reached() {
    follow(
        2,
        &[
            (Act::Seal(1), Name::Sealed),
            (Act::Approve(2, 1), Name::Sealed),
            (Act::Watch(3), Name::Sealed),
            (Act::Approve(4, 1), Name::Sealed),
            (Act::Approve(2, 1), Name::Sealed),
            (Act::Release(0, 1), Name::Sealed),
            (Act::Approve(5, 1), Name::Approved),
            (Act::Release(0, 1), Name::Releasing),
        ],
        1,
    );
}

/// One way through both, with the states on it.
fn follow(needed: u32, way: &[(Act, Name)], releases: u32) {
    let mut promise = Promise {
        needed,
        now: 0,
        members: (0..ACCOUNTS).collect(),
        watchers: BTreeSet::new(),
        state: Name::Open,
        sealed: 0,
        until: 0,
        approved: BTreeSet::new(),
    };
    let mut machine = Check::init_test(&promise);
    for (act, state) in way {
        promise = Model::apply(promise, act);
        machine = Check::apply(machine, &promise, act.clone());
        assert_eq!(machine.row.state, *state, "{act:?}");
        assert_eq!(promise.state, *state, "{act:?}");
    }
    assert_eq!(machine.released, releases);
}
