#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its preparation fails"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;

use tempfile::TempDir;

use super::*;
use crate::approval::Log;
use crate::login::{KeyId, Links, User};
use crate::store::{Enrolment, Lock, Locked, SignIn};

struct Here {
    dir: TempDir,
    config: config::Holds,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("key");
        std::fs::write(&key_file, [7; 32]).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = config::Holds {
            key_file,
            max_bytes: 1 << 20,
            record_max: 1 << 20,
            seal_quiet: Duration::from_secs(5),
            per_person: 20,
            spool_bytes: 1 << 30,
            wait: Duration::from_secs(60),
        };
        Self { dir, config }
    }

    /// The bastion starts.
    async fn start(&self) -> Holds {
        let store = Store::open(&self.dir.path().join("store.sqlite")).unwrap();
        let ledger = Ledger::start(store.clone(), self.log()).await.unwrap();
        let held = self.dir.path().join("held");
        let holds = Holds::start(self.config.clone(), &held, true, store, ledger)
            .await
            .unwrap();
        for name in ["ana", "carol", "dave", "erin"] {
            in_group(&holds, name, &["leads"]).await;
        }
        holds
    }

    /// A log that is a file.
    fn log(&self) -> Log {
        let path = self.dir.path().join("audit.jsonl");
        Box::new(move |events| {
            let mut file = std::fs::File::options()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            for event in events {
                use std::io::Write;
                writeln!(file, "{}", serde_json::to_string(&event).unwrap()).unwrap();
            }
            Box::pin(std::future::ready(Ok(())))
        })
    }

    fn payloads(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("held"))
            .unwrap()
            .count()
    }

    /// Ten thousand rounds would otherwise read ever more.
    fn forget_audit(&self) {
        std::fs::write(self.dir.path().join("audit.jsonl"), "").unwrap();
    }

    /// Names of events, and of states where they have one.
    fn audited(&self, hold: HoldId) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|line| line["hold"] == hold.to_string())
            .map(|line| {
                let say = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                let said = [say("event"), say("decision"), say("state")];
                let said = said.into_iter().filter(|word| !word.is_empty());
                said.collect::<Vec<_>>().join(" ")
            })
            .collect()
    }
}

fn person(name: &str) -> Party {
    Party {
        identity: Identity {
            issuer: "https://id.example.test".into(),
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
        producer: person("ana"),
        session: "s".into(),
        target: "pay".into(),
        login: "app".into(),
        command: Some("select".into()),
        pty: false,
        approved: false,
        held: Held::Records,
        rule: "payroll".into(),
        approvers: "leads".into(),
        needed,
        period_s: 3600,
    }
}

/// A sealed hold of `bytes`.
async fn sealed(holds: &Holds, needed: u32, bytes: &[u8]) -> HoldRow {
    let mut live = holds.open(facts(needed)).await.unwrap();
    live.push_command(bytes).unwrap();
    live.flush().await.unwrap();
    live.seal(vec!["salary".into()], Some("0".into()), Vec::new())
        .await
        .unwrap()
}

fn ballot(row: &HoldRow, by: &str, approves: bool) -> Ballot {
    Ballot {
        hold: row.id,
        digest: row.seal.as_ref().unwrap().digest,
        by: Entitled::for_test(person(by)),
        approves,
        reason: None,
        policies: Vec::new(),
        counts: Box::new(|_, _| true),
    }
}

async fn in_group(holds: &Holds, name: &str, groups: &[&str]) {
    let sign_in = SignIn {
        user: User {
            identity: person(name).identity,
            name: name.into(),
            email: None,
            groups: groups
                .iter()
                .map(|group| (*group).to_owned())
                .collect::<BTreeSet<_>>(),
            evidence: Vec::new(),
            links: Links::default(),
        },
        key: Some(KeyId::stored(format!("SHA256:{name}"))),
        source: IpAddr::from([127, 0, 0, 1]),
        now: Timestamp::now(),
        begun_at: Timestamp::now(),
        means: None,
        expires_at: Timestamp::now() + SignedDuration::from_hours(1),
    };
    let enrolled = holds.inner.store.sign_in(sign_in).await.unwrap();
    assert!(matches!(enrolled, Enrolment::Lease { .. }));
}

async fn taken(release: &mut Release) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frames) = release.next().await.unwrap() {
        for (_, bytes) in frames {
            all.extend_from_slice(&bytes.into_bytes());
        }
    }
    all
}

fn ana() -> Identity {
    person("ana").identity
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, &vec![b'x'; 300_000]).await;
    assert_eq!(row.state, Name::Sealed);
    assert!(holds.release(row.id, ana()).await.is_err());
    let row = holds.vote(ballot(&row, "carol", true)).await.unwrap();
    assert_eq!(row.state, Name::Approved);
    // Only to the one who produced it.
    assert!(holds.release(row.id, person("bob").identity).await.is_err());
    let mut release = holds.release(row.id, ana()).await.unwrap();
    // Not twice at once, nor taken back on its way.
    assert!(matches!(
        holds.release(row.id, ana()).await,
        Err(HoldError::Delivering)
    ));
    assert!(matches!(
        holds.cancel(row.id, ana(), None).await,
        Err(HoldError::Delivering)
    ));
    assert_eq!(holds.get(row.id).await.unwrap().state, Name::Releasing);
    assert_eq!(taken(&mut release).await, vec![b'x'; 300_000]);
    release.delivered().await.unwrap();
    assert_eq!(holds.get(row.id).await.unwrap().state, Name::Delivered);
    assert_eq!(here.payloads(), 0);
    assert!(holds.release(row.id, ana()).await.is_err());
    assert_eq!(
        here.audited(row.id),
        [
            "hold_opened",
            "hold_sealed",
            "hold_decided approve",
            "hold_released",
            "hold_ended delivered"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_cancelled_or_void_hold_is_erased() {
    let here = Here::new();
    let holds = here.start().await;
    let denied = sealed(&holds, 1, b"one").await;
    let denied = holds.vote(ballot(&denied, "carol", false)).await.unwrap();
    let cancelled = sealed(&holds, 1, b"two").await;
    assert!(
        holds
            .cancel(cancelled.id, person("bob").identity, None)
            .await
            .is_err()
    );
    let cancelled = holds.cancel(cancelled.id, ana(), None).await.unwrap();
    let live = holds.open(facts(1)).await.unwrap();
    let void = live.id();
    drop(live);
    holds.sweep().await.unwrap();
    assert_eq!(here.payloads(), 0);
    for (id, state) in [
        (denied.id, Name::Denied),
        (cancelled.id, Name::Cancelled),
        (void, Name::Void),
    ] {
        assert_eq!(holds.get(id).await.unwrap().state, state);
        assert!(holds.release(id, ana()).await.is_err());
    }
    assert!(holds.vote(ballot(&denied, "dave", true)).await.is_err());
    assert!(holds.vote(ballot(&cancelled, "dave", true)).await.is_err());
}

/// Row 41 of the threats.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_is_sealed_and_nothing_else() {
    let here = Here::new();
    let (open, kept, releasing) = {
        let holds = here.start().await;
        let kept = sealed(&holds, 1, b"kept").await;
        let releasing = sealed(&holds, 1, b"on its way").await;
        holds.vote(ballot(&releasing, "carol", true)).await.unwrap();
        let mut release = holds.release(releasing.id, ana()).await.unwrap();
        assert!(release.next().await.unwrap().is_some());
        let mut live = holds.open(facts(1)).await.unwrap();
        live.push_command(b"never sealed").unwrap();
        let open = live.id();
        // A kill runs no destructor.
        std::mem::forget(live);
        std::mem::forget(release);
        let row = holds.get(releasing.id).await.unwrap();
        let holds_gone = Arc::try_unwrap(holds.inner).is_err();
        assert!(holds_gone, "the forgotten ones still stand for it");
        // The forgotten ones hold the store's file open; a lock is not in the way.
        (open, kept.id, row.id)
    };
    let holds = here.start().await;
    assert_eq!(holds.get(open).await.unwrap().state, Name::Void);
    assert_eq!(holds.get(kept).await.unwrap().state, Name::Sealed);
    assert_eq!(here.payloads(), 2);
    let mut release = holds.release(releasing, ana()).await.unwrap();
    assert_eq!(taken(&mut release).await, b"on its way");
    release.delivered().await.unwrap();
    assert!(holds.release(releasing, ana()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_different_people_who_still_may() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 2, b"two").await;
    let row = holds.vote(ballot(&row, "carol", true)).await.unwrap();
    assert_eq!(row.state, Name::Sealed);
    assert!(matches!(
        holds.vote(ballot(&row, "carol", true)).await,
        Err(HoldError::Refused(Refusal::Twice))
    ));
    // Carol leaves the group: her vote goes with her.
    in_group(&holds, "carol", &["staff"]).await;
    let row = holds.vote(ballot(&row, "dave", true)).await.unwrap();
    assert_eq!((row.state, row.votes.len()), (Name::Sealed, 1));
    let row = holds.vote(ballot(&row, "erin", true)).await.unwrap();
    assert_eq!(row.state, Name::Approved);
}

/// The policies are asked again when a vote is written down: of it, and of each before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_counts_as_the_policies_of_the_step_say() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 2, b"two").await;
    let without = |ballot: Ballot, name: &'static str| Ballot {
        counts: Box::new(move |_, vote| vote.by.name != name),
        ..ballot
    };
    for approves in [true, false] {
        assert!(matches!(
            holds
                .vote(without(ballot(&row, "carol", approves), "carol"))
                .await,
            Err(HoldError::Refused(Refusal::NotEntitled))
        ));
    }
    let row = holds.vote(ballot(&row, "carol", true)).await.unwrap();
    let row = holds
        .vote(without(ballot(&row, "dave", true), "carol"))
        .await
        .unwrap();
    assert_eq!((row.state, row.votes.len()), (Name::Sealed, 1));
    let row = holds.vote(ballot(&row, "carol", true)).await.unwrap();
    assert_eq!(row.state, Name::Approved);
}

/// Somebody's word that counts no more is not in the way of what they say now.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_fell_away_can_be_cast_again() {
    let here = Here::new();
    let holds = here.start().await;
    for approves in [true, false] {
        let row = sealed(&holds, 2, b"two").await;
        let first = Ballot {
            reason: Some("first".into()),
            ..ballot(&row, "carol", true)
        };
        holds.vote(first).await.unwrap();
        let again = Ballot {
            counts: Box::new(|_, vote| vote.reason.as_deref() != Some("first")),
            ..ballot(&row, "carol", approves)
        };
        let row = holds.vote(again).await.unwrap();
        assert_eq!(row.votes.len(), 1);
        if !approves {
            assert_eq!(row.state, Name::Denied);
            continue;
        }
        // It is one vote, and not two.
        assert_eq!(row.state, Name::Sealed);
        assert!(matches!(
            holds.vote(ballot(&row, "carol", true)).await,
            Err(HoldError::Refused(Refusal::Twice))
        ));
        let row = holds.vote(ballot(&row, "dave", true)).await.unwrap();
        assert_eq!(row.state, Name::Approved);
    }
}

/// Between the question whether they may and the vote.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_locked_or_leaves_after_the_question_has_no_vote() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"one").await;
    let (of_carol, of_dave) = (
        |approves| ballot(&row, "carol", approves),
        |approves| ballot(&row, "dave", approves),
    );
    in_group(&holds, "dave", &["staff"]).await;
    let lock = Lock {
        locked: Locked::User(person("carol").identity),
        by: person("root").identity,
        by_name: "root".into(),
        reason: String::new(),
        at: Timestamp::now(),
    };
    holds.inner.store.lock(lock).await.unwrap();
    for ballot in [
        of_carol(true),
        of_carol(false),
        of_dave(true),
        of_dave(false),
    ] {
        assert!(matches!(
            holds.vote(ballot).await,
            Err(HoldError::Refused(Refusal::NotEntitled))
        ));
    }
    let after = holds.get(row.id).await.unwrap();
    assert_eq!((after.state, after.votes.len()), (Name::Sealed, 0));
    let row = holds.vote(ballot(&row, "erin", true)).await.unwrap();
    assert_eq!(row.state, Name::Approved);
}

/// However late the store is: not as damage, and not as an audit log that is behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_after_its_time_has_expired() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"late").await;
    let in_time = holds.now();
    let late = ballot(&row, "carol", true);
    let stepped = holds.inner.store.step_hold(
        row.id,
        row.expires_at.unwrap(),
        None,
        move |row: &HoldRow| voted(row, late, in_time),
    );
    assert!(matches!(stepped.await.unwrap(), Err(NotStepped::Expired)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_is_refused_and_expires() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"late").await;
    let approved = sealed(&holds, 1, b"approved").await;
    holds.vote(ballot(&approved, "carol", true)).await.unwrap();
    holds.inner.ledger.advance(SignedDuration::from_secs(3600));
    assert!(matches!(
        holds.vote(ballot(&row, "carol", true)).await,
        Err(HoldError::Refused(Refusal::Expired))
    ));
    assert!(holds.release(approved.id, ana()).await.is_err());
    let waiting = holds.decided(row.id);
    holds.sweep().await.unwrap();
    assert_eq!(waiting.await.unwrap().state, Name::Expired);
    assert_eq!(here.payloads(), 0);
    // Set back: the time that was written down counts.
    drop(holds);
    let holds = here.start().await;
    assert!(holds.now() >= row.expires_at.unwrap());
}

/// Row 39: what was decided about is what is there.
#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_not_released() {
    let here = Here::new();
    let holds = here.start().await;
    let a = sealed(&holds, 1, b"aaaa").await;
    let b = sealed(&holds, 1, b"bbbb").await;
    let mut crossed = ballot(&a, "carol", true);
    crossed.hold = b.id;
    assert!(matches!(
        holds.vote(crossed).await,
        Err(HoldError::Refused(Refusal::OtherBytes))
    ));
    holds.vote(ballot(&a, "carol", true)).await.unwrap();
    let held = |id: HoldId| here.dir.path().join("held").join(id.to_string());
    std::fs::copy(held(b.id), held(a.id)).unwrap();
    assert!(holds.release(a.id, ana()).await.is_err());
    assert_eq!(holds.get(a.id).await.unwrap().state, Name::Void);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_so_many_and_no_more() {
    let mut here = Here::new();
    here.config.per_person = 2;
    let holds = here.start().await;
    let first = sealed(&holds, 1, b"1").await;
    sealed(&holds, 1, b"2").await;
    assert!(matches!(
        holds.open(facts(1)).await,
        Err(HoldError::TooMany)
    ));
    holds.cancel(first.id, ana(), None).await.unwrap();
    assert!(holds.open(facts(1)).await.is_ok());
}

/// Row 37: whoever is first decides, everybody else is told.
#[tokio::test(flavor = "multi_thread")]
async fn of_twelve_decisions_at_once_one_wins() {
    let here = Here::new();
    let holds = here.start().await;
    for voter in 0..12 {
        in_group(&holds, &format!("voter-{voter}"), &["leads"]).await;
    }
    for round in 0..rounds(10) {
        let row = sealed(&holds, 1, b"raced").await;
        let mut votes = tokio::task::JoinSet::new();
        for voter in 0..12 {
            let holds = holds.clone();
            let ballot = ballot(&row, &format!("voter-{voter}"), (round + voter) % 2 == 0);
            votes.spawn(async move { holds.vote(ballot).await });
        }
        let won: Vec<HoldRow> = votes.join_all().await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "round {round}");
        let after = holds.get(row.id).await.unwrap();
        assert_eq!((after.state, after.votes.len()), (won[0].state, 1));
        let decisions = here
            .audited(row.id)
            .into_iter()
            .filter(|line| line.starts_with("hold_decided"));
        assert_eq!(decisions.count(), 1);
        if after.state == Name::Approved {
            holds.cancel(row.id, ana(), None).await.unwrap();
        }
        here.forget_audit();
    }
}

/// Whoever waits hears of a decision without asking again, and once the log has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_wakes_whoever_waits() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"awaited").await;
    let waiting = holds.decided(row.id);
    let vote = holds.vote(ballot(&row, "carol", true));
    let (heard, voted) = tokio::join!(waiting, vote);
    assert_eq!(heard.unwrap().state, Name::Approved);
    assert_eq!(voted.unwrap().state, Name::Approved);
    assert!(
        here.audited(row.id)
            .contains(&"hold_decided approve".to_owned())
    );
}

/// The same through several connections to the file, as other processes have them: what decides is
/// the file, and no lock of this process.
#[tokio::test(flavor = "multi_thread")]
async fn of_twelve_decisions_through_four_connections_one_wins() {
    let here = Here::new();
    let holds = here.start().await;
    for voter in 0..12 {
        in_group(&holds, &format!("voter-{voter}"), &["leads"]).await;
    }
    let path = here.dir.path().join("store.sqlite");
    let stores: Vec<Store> = (0..4).map(|_| Store::open(&path).unwrap()).collect();
    for round in 0..rounds(10) {
        let row = sealed(&holds, 1, b"raced").await;
        let mut votes = tokio::task::JoinSet::new();
        for voter in 0..12 {
            let store = stores[voter % stores.len()].clone();
            let ballot = ballot(&row, &format!("voter-{voter}"), (round + voter) % 2 == 0);
            let now = holds.now();
            let id = row.id;
            votes.spawn(async move {
                let step = move |row: &HoldRow| voted(row, ballot, now);
                store.step_hold(id, now, None, step).await.unwrap()
            });
        }
        let results = votes.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}");
        let won = won.into_iter().next().unwrap().unwrap();
        for lost in lost {
            assert!(matches!(
                lost,
                Err(NotStepped::Refused(Refusal::Over(state))) if state == won.state
            ));
        }
        let after = holds.get(row.id).await.unwrap();
        assert_eq!((after.state, after.votes), (won.state, won.votes));
        holds.tell().await.unwrap();
        let decisions = here
            .audited(row.id)
            .into_iter()
            .filter(|line| line.starts_with("hold_decided"));
        assert_eq!(decisions.count(), 1);
        if after.state == Name::Approved {
            holds.cancel(row.id, ana(), None).await.unwrap();
        }
        here.forget_audit();
    }
}

/// A watcher who came after the question has no vote, and one who voted before loses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_has_no_vote_whenever_they_came() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 2, b"watched").await;
    holds.vote(ballot(&row, "carol", true)).await.unwrap();
    for watcher in ["carol", "dave"] {
        holds.watched("s".into(), person(watcher)).await.unwrap();
    }
    for approves in [true, false] {
        assert!(matches!(
            holds.vote(ballot(&row, "dave", approves)).await,
            Err(HoldError::Refused(Refusal::Own))
        ));
    }
    let row = holds.vote(ballot(&row, "erin", true)).await.unwrap();
    assert_eq!((row.state, row.votes.len()), (Name::Sealed, 1));
}

/// Whatever was found of somebody before: the producer does not get a vote.
#[tokio::test(flavor = "multi_thread")]
async fn the_producer_has_no_vote_even_where_a_question_said_yes() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"own").await;
    for approves in [true, false] {
        assert!(matches!(
            holds.vote(ballot(&row, "ana", approves)).await,
            Err(HoldError::Refused(Refusal::Own))
        ));
    }
}

/// However long the pages are, they are the list, in its order.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_the_list() {
    let mut here = Here::new();
    here.config.per_person = 100;
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"the first").await;
    for _ in 0..24 {
        holds.open(facts(1)).await.unwrap();
    }
    let whole = holds.list(Which::Live).await.unwrap();
    let ids = |rows: &[HoldRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    for most in [1, 7, 24, 25, 100] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = holds.page(after, most).await.unwrap();
            assert!(page.len() <= most);
            let Some(last) = page.last() else { break };
            after = Some(last.place());
            paged.extend(page);
        }
        assert_eq!(ids(&paged), ids(&whole));
        assert!(paged.is_sorted_by_key(HoldRow::place));
    }
    let some = vec![row.id, HoldId::of(u32::MAX), whole[0].id];
    let named = holds.named(some).await.unwrap();
    assert_eq!(ids(&named), [row.id, whole[0].id]);
}

/// However many younger ones have ended: the list has all that wait.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_is_in_every_list() {
    let here = Here::new();
    let holds = here.start().await;
    let row = sealed(&holds, 1, b"the oldest").await;
    let many = "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1100) \
        INSERT INTO holds (id, state, live, issuer, subject, facts, votes, opened_at, changed_at, \
        version) SELECT printf('H-%06d', n), 'denied', 0, issuer, subject, facts, '[]', \
        opened_at + n, changed_at, 1 FROM holds, n";
    let path = here.dir.path().join("store.sqlite");
    let made = rusqlite::Connection::open(path).unwrap().execute(many, []);
    assert_eq!(made.unwrap(), 1100);
    let all = holds.list(Which::All).await.unwrap();
    assert_eq!(all.len(), 1001);
    assert_eq!(all.last().unwrap().id, row.id);
    assert!(all.is_sorted_by_key(HoldRow::place));
}

/// Whoever shows a list hears of each step, once the step is there to be read.
#[tokio::test]
async fn changes_are_told() {
    let here = Here::new();
    let holds = here.start().await;
    let mut changes = holds.changes();
    let row = sealed(&holds, 1, b"x").await;
    for state in [Name::Open, Name::Sealed] {
        assert_eq!(changes.recv().await.unwrap(), row.id, "{state:?}");
    }
    holds.vote(ballot(&row, "carol", false)).await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), row.id);
    assert_eq!(holds.get(row.id).await.unwrap().state, Name::Denied);
}

/// Rounds of a race: 10,000 with `tests/run --long`.
fn rounds(short: usize) -> usize {
    if std::env::var_os("BASTION_TEST_LONG").is_some() {
        10_000
    } else {
        short
    }
}
