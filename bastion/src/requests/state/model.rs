//! The state machine against a model of what people were promised: whatever is tried, in whatever
//! order, an account is open only after enough different people approved, each of them somebody
//! else than the requester and entitled until the last approval; and never for longer than was
//! asked for.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::access::may_decide;
use crate::approval::{Kind, SamePerson};

/// Accounts; several may be one human's. Account 0 is the requester's.
const ACCOUNTS: usize = 7;
/// Who stands behind each: the requester has a second account and a service.
const HUMAN: [u8; ACCOUNTS] = [0, 0, 1, 1, 2, 3, 0];
const SERVICE: usize = 6;
const WAIT: i64 = 100;
const PERIOD: i64 = 60;

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

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap_or_default()
}

/// What can happen.
#[derive(Clone, Debug)]
enum Act {
    Approve(usize),
    Deny(usize),
    Cancel(usize),
    Revoke,
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
    until: i64,
    /// Accounts whose approval counts.
    approved: BTreeSet<usize>,
}

impl Promise {
    fn new(needed: u32, members: BTreeSet<usize>) -> Self {
        Self {
            needed,
            now: 0,
            members,
            state: Name::Pending,
            until: WAIT,
            approved: BTreeSet::new(),
        }
    }

    fn can_decide(&self, account: usize) -> bool {
        self.state == Name::Pending
            && self.now < self.until
            && self.members.contains(&account)
            && account != SERVICE
            && HUMAN.get(account) != HUMAN.first()
    }

    fn approve(&mut self, account: usize) {
        let human = HUMAN.get(account);
        let members = &self.members;
        let counted = self.approved.iter().copied();
        let counted: BTreeSet<usize> = counted
            .filter(|earlier| members.contains(earlier))
            .collect();
        if counted.iter().any(|earlier| HUMAN.get(*earlier) == human) {
            return;
        }
        self.approved = counted;
        self.approved.insert(account);
        if self.approved.len() as u32 >= self.needed {
            self.state = Name::Approved;
            self.until = self.now + PERIOD;
        }
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
            .prop_map(|(needed, members)| Promise::new(needed, members))
            .boxed()
    }

    fn transitions(_: &Promise) -> BoxedStrategy<Act> {
        let account = 0..ACCOUNTS;
        prop_oneof![
            8 => account.clone().prop_map(Act::Approve),
            1 => account.clone().prop_map(Act::Deny),
            1 => account.clone().prop_map(Act::Cancel),
            1 => Just(Act::Revoke),
            1 => Just(Act::Void),
            2 => Just(Act::Expire),
            2 => (0..50_i64).prop_map(Act::Wait),
            2 => account.clone().prop_map(Act::Join),
            2 => account.prop_map(Act::Leave),
        ]
        .boxed()
    }

    fn apply(mut promise: Promise, act: &Act) -> Promise {
        let over = promise.now >= promise.until;
        match (act, promise.state) {
            (Act::Approve(account), _) if promise.can_decide(*account) => promise.approve(*account),
            (Act::Deny(account), _) if promise.can_decide(*account) => promise.state = Name::Denied,
            (Act::Cancel(0), Name::Pending) => promise.state = Name::Withdrawn,
            (Act::Cancel(0), Name::Approved) => promise.state = Name::Returned,
            (Act::Revoke, Name::Approved) => promise.state = Name::Revoked,
            (Act::Void, Name::Pending) => promise.state = Name::Void,
            (Act::Expire, Name::Pending) if over => promise.state = Name::Expired,
            (Act::Expire, Name::Approved) if over => promise.state = Name::Over,
            (Act::Wait(seconds), _) => promise.now += seconds,
            (Act::Join(account), _) => drop(promise.members.insert(*account)),
            (Act::Leave(account), _) => drop(promise.members.remove(account)),
            _ => {}
        }
        promise
    }
}

/// What the room does with a vote: whoever may not decide has none.
fn ballot(promise: &Promise, account: usize) -> Option<Entitled> {
    let (decider, requester) = (party(account), party(0));
    let may = may_decide(&decider.as_access(), [&requester.as_access()]).is_ok();
    (may && promise.members.contains(&account)).then(|| Entitled::for_test(decider))
}

fn after(request: Request, promise: &Promise, act: &Act) -> Result<Request, Refusal> {
    // The promise has moved already; the act itself changes neither time nor members unless it is
    // about them.
    let now = at(promise.now);
    match *act {
        Act::Approve(account) => {
            let by = ballot(promise, account).ok_or(Refusal::NotYours)?;
            let still = |earlier: &Party| {
                (0..ACCOUNTS).any(|k| promise.members.contains(&k) && party(k) == *earlier)
            };
            Ok(match request.into_pending()?.approve(by, now, still)? {
                Voted::Waiting(pending) => Request::Pending(pending),
                Voted::Approved(approved) => Request::Approved(approved),
            })
        }
        Act::Deny(account) => {
            let by = ballot(promise, account).ok_or(Refusal::NotYours)?;
            request.into_pending()?.deny(by, now).map(Request::Ended)
        }
        Act::Cancel(account) => request.cancel(&party(account).identity).map(Request::Ended),
        Act::Revoke => request.revoke().map(Request::Ended),
        Act::Void => request.void().map(Request::Ended),
        Act::Expire => request.expire(now).map(Request::Ended),
        Act::Wait(_) | Act::Join(_) | Act::Leave(_) => Ok(request),
    }
}

struct Check;

impl StateMachineTest for Check {
    type SystemUnderTest = Request;
    type Reference = Model;

    fn init_test(promise: &Promise) -> Request {
        Request::Pending(Pending {
            terms: Terms {
                requester: party(0),
                needed: promise.needed,
                period: SignedDuration::from_secs(PERIOD),
            },
            expires_at: at(WAIT),
            approvals: Vec::new(),
        })
    }

    fn apply(request: Request, promise: &Promise, act: Act) -> Request {
        let was = request.name();
        let next = after(request.clone(), promise, &act).unwrap_or(request);
        if let Request::Approved(approved) = &next {
            let humans: BTreeSet<_> = promise
                .approved
                .iter()
                .filter_map(|account| HUMAN.get(*account))
                .collect();
            assert!(humans.len() as u32 >= promise.needed, "too few people");
            assert!(!humans.contains(&0), "the requester decided");
            assert!(!promise.approved.contains(&SERVICE), "a service decided");
            let most = at(promise.now + PERIOD);
            assert!(approved.expires_at <= most, "open for longer than asked");
        }
        assert!(!was.is_final() || next.name() == was, "an end was undone");
        next
    }

    fn check_invariants(request: &Request, promise: &Promise) {
        assert_eq!(request.name(), promise.state);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_open_without_the_decisions_it_needs(sequential 1..60 => Check);
}

/// The model is no use if it never gets that far.
#[test]
fn a_grant_is_reached_and_ends() {
    let mut promise = Promise::new(2, (0..ACCOUNTS).collect());
    let mut request = Check::init_test(&promise);
    for (act, state) in [
        (Act::Approve(0), Name::Pending),
        (Act::Approve(1), Name::Pending),
        (Act::Approve(2), Name::Pending),
        // The same human's other account.
        (Act::Approve(3), Name::Pending),
        // The first leaves the group; the second is then the first.
        (Act::Leave(2), Name::Pending),
        (Act::Approve(4), Name::Pending),
        (Act::Revoke, Name::Pending),
        (Act::Approve(5), Name::Approved),
        (Act::Wait(PERIOD - 1), Name::Approved),
        (Act::Expire, Name::Approved),
        (Act::Cancel(1), Name::Approved),
        (Act::Wait(1), Name::Approved),
        (Act::Expire, Name::Over),
        (Act::Revoke, Name::Over),
    ] {
        promise = Model::apply(promise, &act);
        request = Check::apply(request, &promise, act);
        assert_eq!(request.name(), state);
        assert_eq!(promise.state, state);
    }
}
