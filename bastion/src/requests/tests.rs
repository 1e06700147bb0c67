#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its preparation fails"
)]

use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::access::{Kind as AccessKind, SamePerson as AccessSame, StableKey};
use crate::approval::{Kind, Log, SamePerson};
use crate::login::{KeyId, Links, User};
use crate::store::{Enrolment, Lock, Locked, SignIn};
use crate::target::tests::inventory;

const ISSUER: &str = "https://id.example.test";
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ASK: &str = r#"@id("ask") @approvers("leads") @longest("2h")
permit (principal in Group::"staff", action == Action::"request", resource);
"#;
const DECIDE: &str = r#"@id("decide")
permit (principal in Group::"leads", action == Action::"approve", resource);
"#;

struct Here {
    dir: TempDir,
    config: config::Requests,
    /// Whether the audit log takes nothing.
    deaf: Arc<Mutex<bool>>,
    log: Arc<Mutex<Vec<Event>>>,
}

impl Here {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            config: config::Requests {
                wait: Duration::from_secs(600),
                per_person: 3,
            },
            deaf: Arc::default(),
            log: Arc::default(),
        }
    }

    /// The bastion starts.
    async fn start(&self) -> Requests {
        let store = Store::open(&self.dir.path().join("store.sqlite")).unwrap();
        let (deaf, log) = (self.deaf.clone(), self.log.clone());
        let log: Log = Box::new(move |events| {
            let deaf = *deaf.lock().unwrap();
            if !deaf {
                log.lock().unwrap().extend(events);
            }
            Box::pin(std::future::ready(if deaf {
                Err(AuditError::Full)
            } else {
                Ok(())
            }))
        });
        let ledger = Ledger::start(store.clone(), log).await.unwrap();
        Requests::new(self.config.clone(), store, ledger)
    }

    fn access(&self, policies: &str) -> Arc<Access> {
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap();
        std::fs::write(folder.path().join("access.cedar"), policies).unwrap();
        std::fs::write(
            folder.path().join("protect.toml"),
            "[[rule]]\nname = \"never\"\ntargets = [\"*\"]\ncommands = [\"reboot*\"]\naction = \"refuse\"\n",
        )
        .unwrap();
        Arc::new(
            Access::load(
                folder.path(),
                inventory(&[("db", "app", &[])]),
                StableKey::MadeUp,
            )
            .unwrap(),
        )
    }

    /// Names of events, and of states where they have one.
    fn audited(&self, id: RequestId) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let lines = log.iter().map(|event| serde_json::to_value(event).unwrap());
        lines
            .filter(|line| line["request"] == id.to_string())
            .map(|line| {
                let say = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                let said = [say("event"), say("decision"), say("state")];
                let said = said.into_iter().filter(|word| !word.is_empty());
                said.collect::<Vec<_>>().join(" ")
            })
            .collect()
    }
}

fn party(name: &str) -> Party {
    Party {
        identity: Identity {
            issuer: ISSUER.into(),
            subject: name.into(),
        },
        name: name.into(),
        email: None,
        same_person: SamePerson::NotAsked,
        kind: Kind::Person,
    }
}

fn facts(needed: u32) -> Facts {
    Facts {
        requester: party("ana"),
        target: "db".into(),
        login: "app".into(),
        reason: "the nightly job".into(),
        approvers: BTreeSet::from(["leads".to_owned()]),
        needed,
        policies: vec!["ask".into()],
        period_s: 3600,
        source: SOURCE,
        signed_in_at: Timestamp::now(),
        asked_at: Timestamp::now(),
        key: None,
    }
}

async fn sign_in(requests: &Requests, name: &str, groups: &[&str]) -> BTreeSet<String> {
    let groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let sign_in = SignIn {
        user: User {
            identity: party(name).identity,
            name: name.into(),
            email: None,
            groups: groups.clone(),
            evidence: Vec::new(),
            links: Links::default(),
        },
        key: Some(KeyId::stored(format!("SHA256:{name}"))),
        source: SOURCE,
        now: Timestamp::now(),
        begun_at: Timestamp::now(),
        means: None,
        expires_at: Timestamp::now() + SignedDuration::from_hours(1),
    };
    let enrolled = requests.inner.store.sign_in(sign_in).await.unwrap();
    assert!(matches!(enrolled, Enrolment::Lease { .. }));
    groups
}

/// What `name`, who signed in just now with these groups, says.
async fn decide(
    requests: &Requests,
    access: &Arc<Access>,
    id: RequestId,
    name: &str,
    approves: bool,
) -> Result<RequestRow, RequestError> {
    let groups = sign_in(requests, name, &["leads"]).await;
    decide_with(requests, access, id, name, &groups, approves).await
}

/// The same of somebody who signed in before.
async fn decide_with(
    requests: &Requests,
    access: &Arc<Access>,
    id: RequestId,
    name: &str,
    groups: &BTreeSet<String>,
    approves: bool,
) -> Result<RequestRow, RequestError> {
    let approval = config::Approval {
        same_person_claim: None,
        owner_claim: "owner".into(),
        max_sign_in_age: Duration::from_secs(900),
        min_key_age: Duration::ZERO,
    };
    let decider = Decider {
        person: Person {
            issuer: ISSUER,
            subject: name,
            name,
            email: None,
            same_person: AccessSame::NotAsked,
            kind: AccessKind::Person,
            groups,
            signed_in_at: Timestamp::now(),
            key: None,
        },
        party: party(name),
        key_since: None,
        source: SOURCE,
        now: Timestamp::now(),
    };
    let decision = Decision {
        request: id,
        approves,
        reason: None,
    };
    let (_in_force, access) = watch::channel(Arc::clone(access));
    requests.decide(&access, &approval, decider, decision).await
}

async fn left(requests: &Requests) -> Option<SignedDuration> {
    let ana = party("ana").identity;
    requests.left(&ana, "app", "db").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_request_opens_until_its_time_is_over() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    assert_eq!(left(&requests).await, None);
    // Nobody decides on their own, whatever their groups.
    assert!(matches!(
        decide(&requests, &access, row.id, "ana", true).await,
        Err(RequestError::NotEntitled(_))
    ));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = decide(&requests, &access, row.id, "carol", true)
        .await
        .unwrap();
    assert_eq!(row.state, Name::Approved);
    let hour = SignedDuration::from_hours(1);
    assert!(left(&requests).await.is_some_and(|left| left <= hour));
    // Of this account and person only.
    let (ana, bob) = (party("ana").identity, party("bob").identity);
    assert_eq!(requests.left(&ana, "root", "db").await.unwrap(), None);
    assert_eq!(requests.left(&bob, "app", "db").await.unwrap(), None);
    requests.inner.ledger.advance(hour);
    assert_eq!(left(&requests).await, None);
    requests.sweep().await.unwrap();
    assert_eq!(requests.get(row.id).await.unwrap().state, Name::Over);
    assert_eq!(
        here.audited(row.id),
        [
            "access_requested",
            "access_decided approve",
            "access_ended over"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_counts_once_the_audit_log_has_its_decision() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    *here.deaf.lock().unwrap() = true;
    assert!(matches!(
        decide(&requests, &access, row.id, "carol", true).await,
        Err(RequestError::Audit(_))
    ));
    assert_eq!(requests.get(row.id).await.unwrap().state, Name::Approved);
    assert_eq!(left(&requests).await, None);
    *here.deaf.lock().unwrap() = false;
    requests.sweep().await.unwrap();
    assert!(left(&requests).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_each_account_and_so_many_in_all() {
    let here = Here::new();
    let requests = here.start().await;
    let row = requests.ask(facts(1)).await.unwrap();
    let again = requests.ask(facts(1)).await;
    assert!(matches!(again, Err(RequestError::Already(id)) if id == row.id));
    let other = |login: &str| Facts {
        login: login.into(),
        ..facts(1)
    };
    requests.ask(other("b")).await.unwrap();
    requests.ask(other("c")).await.unwrap();
    let many = requests.ask(other("d")).await;
    assert!(matches!(many, Err(RequestError::TooMany)));
    // One that was taken back makes room, also for the same account.
    let (ana, bob) = (party("ana").identity, party("bob").identity);
    assert!(requests.cancel(row.id, bob, None).await.is_err());
    let row = requests.cancel(row.id, ana, None).await.unwrap();
    assert_eq!(row.state, Name::Withdrawn);
    requests.ask(facts(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_expires_also_over_a_restart() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    requests
        .inner
        .ledger
        .advance(SignedDuration::from_secs(600));
    // Late: before anybody has swept.
    let late = decide(&requests, &access, row.id, "carol", true).await;
    assert!(matches!(late, Err(RequestError::Refused(Refusal::Expired))));
    requests.sweep().await.unwrap();
    let high = requests.now();
    drop(requests);
    // The clock goes on from where it was, whatever the wall clock says.
    let requests = here.start().await;
    assert!(requests.now() >= high - SignedDuration::from_secs(1));
    assert_eq!(requests.get(row.id).await.unwrap().state, Name::Expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_changed_make_a_request_void() {
    let stricter = ASK.replace("@approvers", "@count(\"2\") @approvers");
    for (policies, why) in [
        (DECIDE.to_owned(), "may not ask"),
        (format!("{stricter}{DECIDE}"), "changed"),
        (format!("{}{DECIDE}", ASK.replace("2h", "10m")), "changed"),
    ] {
        let here = Here::new();
        let requests = here.start().await;
        sign_in(&requests, "ana", &["staff"]).await;
        let row = requests.ask(facts(1)).await.unwrap();
        let decided = decide(&requests, &here.access(&policies), row.id, "carol", true).await;
        let Err(RequestError::Void(found)) = decided else {
            panic!("{decided:?}");
        };
        assert!(found.contains(why), "{found}");
        assert_eq!(requests.get(row.id).await.unwrap().state, Name::Void);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_locked_has_no_grant_and_gets_none() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    let granted = decide(&requests, &access, row.id, "carol", true).await;
    assert_eq!(granted.unwrap().state, Name::Approved);
    let waits = requests.ask(facts(1)).await.unwrap();
    let lock = Lock {
        locked: Locked::User(party("ana").identity),
        by: party("root").identity,
        by_name: "root".into(),
        reason: String::new(),
        at: Timestamp::now(),
    };
    requests.inner.store.lock(lock).await.unwrap();
    assert_eq!(left(&requests).await, None);
    let decided = decide(&requests, &access, waits.id, "carol", true).await;
    assert!(
        matches!(decided, Err(RequestError::Void("whoever asked is locked"))),
        "{decided:?}"
    );
}

/// What the sign-in said still stands while the lock, or the new groups, are in the store already.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_locked_or_leaves_after_the_question_has_no_vote() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    let leads = sign_in(&requests, "carol", &["leads"]).await;
    sign_in(&requests, "dave", &["staff"]).await;
    let lock = Lock {
        locked: Locked::User(party("carol").identity),
        by: party("root").identity,
        by_name: "root".into(),
        reason: String::new(),
        at: Timestamp::now(),
    };
    requests.inner.store.lock(lock).await.unwrap();
    for name in ["carol", "dave"] {
        for approves in [true, false] {
            let decided = decide_with(&requests, &access, row.id, name, &leads, approves).await;
            assert!(
                matches!(decided, Err(RequestError::Refused(Refusal::NotEntitled))),
                "{decided:?}"
            );
        }
    }
    let after = requests.get(row.id).await.unwrap();
    assert_eq!((after.state, after.votes.len()), (Name::Pending, 0));
}

/// The first of two approvals is asked about again, of the policies of the second's moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_goes_with_the_right_that_the_policies_take() {
    let here = Here::new();
    let requests = here.start().await;
    let two = ASK.replace("@approvers", "@count(\"2\") @approvers");
    let before = here.access(&format!("{two}{DECIDE}"));
    let forbid =
        "forbid (principal in Group::\"juniors\", action == Action::\"approve\", resource);\n";
    let after = here.access(&format!("{two}{DECIDE}{forbid}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(2)).await.unwrap();
    let juniors = sign_in(&requests, "carol", &["leads", "juniors"]).await;
    let carol = |access| decide_with(&requests, access, row.id, "carol", &juniors, true);
    assert_eq!(carol(&before).await.unwrap().state, Name::Pending);
    let row = decide(&requests, &after, row.id, "dave", true)
        .await
        .unwrap();
    assert_eq!(row.state, Name::Pending);
    let voters: Vec<_> = row.votes.iter().map(|vote| vote.by.name.as_str()).collect();
    assert_eq!(voters, ["dave"]);
    assert!(matches!(
        carol(&after).await,
        Err(RequestError::NotEntitled(NotEntitled::Denied(_)))
    ));
    assert_eq!(carol(&before).await.unwrap().state, Name::Approved);
}

/// New policies come between the question and the step.
#[tokio::test(flavor = "multi_thread")]
async fn whose_right_was_taken_after_the_question_has_no_vote() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    let holds_only = DECIDE.replace("resource);", "resource) when { resource is Hold };");
    let without = here.access(&format!("{ASK}{holds_only}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    decide(&requests, &access, row.id, "carol", true)
        .await
        .unwrap();
    let row = requests.get(row.id).await.unwrap();
    let vote = row.votes.first().unwrap();
    assert!(super::decide::counts(&access, &row, vote));
    assert!(!super::decide::counts(&without, &row, vote));
    // One of which the circumstances are not known has to be cast again.
    let unknown = Vote {
        cast: None,
        ..vote.clone()
    };
    assert!(!super::decide::counts(&access, &row, &unknown));
}

/// However late the store is: not as damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_after_its_time_has_expired() {
    let here = Here::new();
    let requests = here.start().await;
    let row = requests.ask(facts(1)).await.unwrap();
    let step = |row: &RequestRow| {
        Ok::<_, Refusal>(RequestStep {
            to: Name::Approved,
            expires_at: row.expires_at,
            votes: Vec::new(),
            events: Vec::new(),
        })
    };
    let store = &requests.inner.store;
    let stepped = store.step_request(row.id, row.expires_at, None, step).await;
    assert!(matches!(stepped.unwrap(), Err(NotDone::Expired)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stands_on_a_grant_hears_that_it_was_taken_away() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    decide(&requests, &access, row.id, "carol", true)
        .await
        .unwrap();
    let (ana, long) = (party("ana").identity, Duration::from_secs(3600));
    let over = requests.over(&ana, "app", "db", long);
    tokio::pin!(over);
    assert!(futures_pending(&mut over).await);
    requests
        .revoke(row.id, who(&party("carol")), None, Vec::new())
        .await
        .unwrap();
    over.await;
    let again = requests
        .revoke(row.id, who(&party("carol")), None, Vec::new())
        .await;
    assert!(matches!(again, Err(RequestError::Refused(_))));
}

/// For what was produced in its time: a grant that is over still counts for it, one that was taken
/// away does not, and nobody has one of before it was approved.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_taken_away_counts_for_nothing() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let ana = party("ana").identity;
    let stood = async |login: &str, at: Timestamp| {
        let stood = requests.stood(&ana, login, "db", at);
        stood.await.unwrap()
    };
    let row = requests.ask(facts(1)).await.unwrap();
    assert!(!stood("app", requests.now()).await);
    let row = decide(&requests, &access, row.id, "carol", true)
        .await
        .unwrap();
    let during = row.changed_at;
    assert!(stood("app", during).await);
    assert!(!stood("root", during).await);
    let second = SignedDuration::from_secs(1);
    assert!(!stood("app", during - second).await);
    assert!(!stood("app", row.expires_at).await);
    requests
        .revoke(row.id, who(&party("carol")), None, Vec::new())
        .await
        .unwrap();
    assert!(!stood("app", during).await);
    // Another one, until its end.
    let row = requests.ask(facts(1)).await.unwrap();
    let row = decide(&requests, &access, row.id, "carol", true)
        .await
        .unwrap();
    requests.inner.ledger.advance(SignedDuration::from_hours(1));
    requests.sweep().await.unwrap();
    assert_eq!(requests.get(row.id).await.unwrap().state, Name::Over);
    assert!(stood("app", row.changed_at).await);
}

/// However many younger ones have ended: the list has all that wait.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_is_in_every_list() {
    let here = Here::new();
    let requests = here.start().await;
    let row = requests.ask(facts(1)).await.unwrap();
    let many = "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1100) \
        INSERT INTO requests (id, state, live, issuer, subject, login, target, facts, votes, \
        asked_at, changed_at, expires_at, version) SELECT printf('R-%06d', n), 'denied', 0, issuer, \
        subject, login, target, facts, '[]', asked_at + n, changed_at, expires_at, 1 \
        FROM requests, n";
    let path = here.dir.path().join("store.sqlite");
    let made = rusqlite::Connection::open(path).unwrap().execute(many, []);
    assert_eq!(made.unwrap(), 1100);
    let all = requests.inner.store.requests(Which::All).await.unwrap();
    assert_eq!(all.len(), 1001);
    assert_eq!(all.last().unwrap().id, row.id);
}

/// Whether it waits, once everything that it can do at once is done.
async fn futures_pending(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(200), future)
        .await
        .is_err()
}

/// Twelve people decide at once: one of them wins, and the others are told.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_decisions_at_once_one_wins() {
    let here = Here::new();
    let requests = here.start().await;
    let access = here.access(&format!("{ASK}{DECIDE}"));
    sign_in(&requests, "ana", &["staff"]).await;
    let row = requests.ask(facts(1)).await.unwrap();
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (requests, access) = (requests.clone(), access.clone());
        racers.spawn(async move {
            let name = format!("lead-{n}");
            let decided = decide(&requests, &access, row.id, &name, n % 2 == 0).await;
            decided.is_ok()
        });
    }
    let won = racers.join_all().await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(requests.get(row.id).await.unwrap().votes.len(), 1);
}
