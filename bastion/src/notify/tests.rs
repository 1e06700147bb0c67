//! The whole way of a message, from the store over real connections to a receiver on loopback.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use url::Url;

use super::message::tests::{hold, key, marked};
use super::*;
use crate::approval::{Kind as PartyKind, Log, Party, SamePerson};
use crate::audit::{AuditError, Event};
use crate::config::Address;
use crate::login::Identity;
use crate::requests::{Facts, RequestId};

/// What a receiver does with a message.
enum Answer {
    Status(u16),
    With(u16, &'static str, String),
    /// It takes the message and never answers.
    Never,
}

struct Seen {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// As a receiver checks it, written from the document and not from `sign`.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key.unwrap());
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut signed = format!("{id}.{time}.").into_bytes();
        signed.extend(&self.body);
        let mut signatures = self.header("webhook-signature").split(' ');
        signatures.any(|signature| {
            let tag = signature.strip_prefix("v1,").unwrap();
            let tag = BASE64.decode(tag.as_bytes()).unwrap();
            hmac::verify(&key, &signed, &tag).is_ok()
        })
    }
}

/// A receiver; what it is not told to answer it answers with 204.
struct Receiver {
    url: String,
    seen: mpsc::Receiver<Seen>,
    _task: JoinSet<()>,
}

#[derive(Clone)]
struct Desk {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: mpsc::Sender<Seen>,
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let answer = {
        let mut answers = desk.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.pop_front().unwrap_or(Answer::Status(204))
    };
    let body = body.to_vec();
    desk.seen.send(Seen { headers, body }).await.unwrap();
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::With(status, name, value) => {
            (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response()
        }
        Answer::Never => std::future::pending().await,
    }
}

impl Receiver {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers)
    }

    fn at(listener: TcpListener, answers: impl IntoIterator<Item = Answer>) -> Self {
        let (sender, seen) = mpsc::channel(100);
        let desk = Desk {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            seen: sender,
        };
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let app = Router::new().fallback(take).with_state(desk);
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            seen,
            _task: task,
        }
    }

    async fn next(&mut self) -> Seen {
        let next = time::timeout(Duration::from_secs(60), self.seen.recv());
        next.await.expect("a message").unwrap()
    }
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Here {
    dir: TempDir,
    config: config::Notify,
    audited: Arc<Mutex<Vec<Event>>>,
}

/// A bastion's notifier that runs.
struct Running {
    notifier: Notifier,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Here {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            config: config::Notify {
                timeout: Duration::from_secs(30),
                retry: Duration::from_millis(20),
                retry_longest: Duration::from_millis(40),
                give_up_after: Duration::from_secs(3600),
                queue: 100,
            },
            audited: Arc::default(),
        }
    }

    fn private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    fn hook(&self, name: &str, url: &str) -> Webhook {
        Webhook {
            name: name.to_owned(),
            address: Address::Url(Url::parse(url).unwrap()),
            secret_file: Some(self.private(name, SECRET)),
            ca_file: None,
            wants: Wants::default(),
            format: Format::Json,
        }
    }

    fn log(&self) -> Log {
        let audited = self.audited.clone();
        Box::new(move |events| {
            audited
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(events);
            Box::pin(std::future::ready(Ok(())))
        })
    }

    async fn open(&self, hooks: &[Webhook]) -> Notifier {
        let store = Store::open(&self.dir.path().join("store.sqlite")).unwrap();
        let ledger = Ledger::start(store.clone(), self.log()).await.unwrap();
        let hooks = Hooks::open(&self.config, hooks).unwrap();
        Notifier::start(hooks, "bastion".to_owned(), store, ledger)
            .await
            .unwrap()
    }

    async fn run(&self, hooks: &[Webhook]) -> Running {
        let notifier = self.open(hooks).await;
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(notifier.clone().deliver(stop.clone()));
        Running {
            notifier,
            stop,
            task,
        }
    }

    /// What was given up: the webhook, the kind, the attempts, the reason.
    fn given_up(&self) -> Vec<(String, String, u32, String)> {
        let audited = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let given_up = audited.iter().filter_map(|event| match event {
            Event::NoticeGivenUp {
                webhook,
                kind,
                attempts,
                reason,
                ..
            } => Some((webhook.clone(), kind.clone(), *attempts, reason.clone())),
            _ => None,
        });
        given_up.collect()
    }
}

impl Running {
    async fn tell(&self, mut message: Message) {
        message.at = self.notifier.inner.ledger.now();
        self.notifier.inner.store.announce(message).await.unwrap();
    }

    /// Until nothing waits, and what came of all of it is written down.
    async fn idle(&self) {
        while self.notifier.backlog().await.unwrap().0 > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Stops as the bastion does; says how many messages are left.
    async fn stop(mut self) -> u64 {
        self.stop.cancel();
        self.task.join_next().await.unwrap().unwrap();
        self.notifier.backlog().await.unwrap().0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_once_signed_and_is_forgotten() {
    let here = Here::new();
    let mut receiver = Receiver::start([]).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    running.tell(hold(Kind::HoldSealed)).await;
    let seen = receiver.next().await;
    assert!(seen.is_signed_with(SECRET));
    assert!(!seen.is_signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.json()["type"], "hold.sealed");
    assert_eq!(seen.json()["data"]["hold"], "H-7K3QX9");
    assert_eq!(seen.json()["data"]["next"], "ssh bastion show H-7K3QX9");
    running.idle().await;
    assert_eq!(running.stop().await, 0);
    assert!(receiver.seen.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_again_under_its_name_until_it_is_taken() {
    let here = Here::new();
    let soon = || Answer::With(503, "retry-after", "0".to_owned());
    let answers = [Answer::Status(500), Answer::Status(404), soon()];
    let mut receiver = Receiver::start(answers).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    running.tell(key()).await;
    let first = receiver.next().await;
    for _ in 0..3 {
        let again = receiver.next().await;
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(again.body, first.body);
        assert!(again.is_signed_with(SECRET));
    }
    running.idle().await;
    assert_eq!(running.stop().await, 0);
    assert!(here.given_up().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_hears_when_it_is_back_also_after_a_restart() {
    let here = Here::new();
    // Its port is taken, and nobody listens: connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    let running = here.run(&[here.hook("a", &url)]).await;
    running.tell(hold(Kind::HoldSealed)).await;
    // Killed before anything arrived: nothing is waited for.
    let Running { task, notifier, .. } = running;
    drop(task);
    drop(notifier);
    let mut receiver = Receiver::at(socket.listen(16).unwrap(), []);
    let running = here.run(&[here.hook("a", &url)]).await;
    let seen = receiver.next().await;
    assert_eq!(seen.json()["data"]["hold"], "H-7K3QX9");
    running.idle().await;
    assert_eq!(running.stop().await, 0);
}

/// It is written down as soon as that can be done, and the receiver hears nothing twice meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_has_nobody_told_again() {
    let here = Here::new();
    let mut receiver = Receiver::start([]).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    let other = rusqlite::Connection::open(here.dir.path().join("store.sqlite")).unwrap();
    other.busy_timeout(Duration::from_secs(60)).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER broken BEFORE DELETE ON deliveries \
             BEGIN SELECT RAISE(ABORT, 'broken'); END",
        )
        .unwrap();
    for _ in 0..3 {
        running.tell(key()).await;
        receiver.next().await;
    }
    other.execute_batch("DROP TRIGGER broken").unwrap();
    running.idle().await;
    running.tell(marked()).await;
    assert_eq!(receiver.next().await.json()["type"], "session.marked");
    running.idle().await;
    assert_eq!(running.stop().await, 0);
}

/// `Retry-After` is meant for everything that a receiver is to hear.
#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_be_left_alone_is() {
    let mut here = Here::new();
    here.config.retry_longest = Duration::from_millis(300);
    let busy = Answer::With(429, "retry-after", "60".to_owned());
    let mut receiver = Receiver::start([busy]).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    running.tell(key()).await;
    let first = receiver.next().await;
    while lock(&running.notifier.inner.not_before).is_empty() {
        tokio::task::yield_now().await;
    }
    running.tell(marked()).await;
    let again = receiver.next().await;
    let both = [again, receiver.next().await];
    let of = |kind: &str| {
        both.iter()
            .find(|seen| seen.json()["type"] == kind)
            .unwrap()
    };
    assert_eq!(
        of("key.new").header("webhook-id"),
        first.header("webhook-id")
    );
    of("session.marked");
    running.idle().await;
    assert_eq!(running.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_back_hears_all_that_waits() {
    let mut here = Here::new();
    here.config.retry = Duration::from_secs(3000);
    here.config.retry_longest = Duration::from_secs(3000);
    let mut receiver = Receiver::start([Answer::Status(500), Answer::Status(500)]).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    let mut names = BTreeSet::new();
    for message in [key(), marked()] {
        running.tell(message).await;
        names.insert(receiver.next().await.header("webhook-id").to_owned());
    }
    // The first is tried again, in an hour or now.
    let store = &running.notifier.inner.store;
    let far = running.notifier.inner.ledger.now() + SignedDuration::from_hours(2);
    let first = loop {
        let due = store.due_deliveries("a".to_owned(), far, 9).await.unwrap();
        if due.rows.iter().all(|row| row.attempts == 1) {
            break due.rows[0].id;
        }
        tokio::task::yield_now().await;
    };
    let other = rusqlite::Connection::open(here.dir.path().join("store.sqlite")).unwrap();
    other.busy_timeout(Duration::from_secs(60)).unwrap();
    let now = "UPDATE deliveries SET due_at = 0 WHERE id = ?1";
    other.execute(now, [first]).unwrap();
    running.tell(hold(Kind::HoldSealed)).await;
    for _ in 0..3 {
        names.remove(receiver.next().await.header("webhook-id"));
    }
    assert!(names.is_empty(), "{names:?}");
    running.idle().await;
    assert_eq!(running.stop().await, 0);
}

/// What was damaged is given up; it costs no other message, and no step.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_keeps_none_back() {
    let mut here = Here::new();
    here.config.queue = 2;
    let mut receiver = Receiver::start([]).await;
    let hook = here.hook("a", &receiver.url);
    let notifier = here.open(std::slice::from_ref(&hook)).await;
    let damage = || {
        let other = rusqlite::Connection::open(here.dir.path().join("store.sqlite")).unwrap();
        other.busy_timeout(Duration::from_secs(60)).unwrap();
        other
            .execute("UPDATE deliveries SET message = '{'", [])
            .unwrap();
    };
    let store = &notifier.inner.store;
    store.announce(key()).await.unwrap();
    store.announce(key()).await.unwrap();
    damage();
    store.announce(marked()).await.unwrap();
    notifier.inner.ledger.tell().await.unwrap();
    assert_eq!(here.given_up().len(), 1, "too many");
    drop(notifier);
    let running = here.run(&[hook]).await;
    assert_eq!(receiver.next().await.json()["type"], "session.marked");
    running.idle().await;
    assert_eq!(running.stop().await, 0);
    let given_up = here.given_up();
    assert_eq!(given_up.len(), 2, "{given_up:?}");
    assert!(
        given_up
            .iter()
            .any(|(.., reason)| reason == "it cannot be read")
    );
}

/// A receiver that never answers has a few places of its own, and costs nobody else anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_does_not_keep_others_waiting() {
    let here = Here::new();
    let mut hangs = Receiver::start((0..100).map(|_| Answer::Never)).await;
    let mut fine = Receiver::start([]).await;
    let hooks = [here.hook("hangs", &hangs.url), here.hook("fine", &fine.url)];
    let running = here.run(&hooks).await;
    for _ in 0..3 * AT_ONCE {
        running.tell(key()).await;
    }
    for _ in 0..AT_ONCE {
        hangs.next().await;
    }
    for _ in 0..3 * AT_ONCE {
        fine.next().await;
    }
    assert!(hangs.seen.try_recv().is_err(), "no more places than those");
    // What the other has taken is written down.
    while running.notifier.backlog().await.unwrap().0 > 3 * AT_ONCE as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.stop().await, 3 * AT_ONCE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_counts_as_none() {
    let mut here = Here::new();
    here.config.timeout = Duration::from_millis(50);
    let mut receiver = Receiver::start([Answer::Never]).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    running.tell(key()).await;
    let first = receiver.next().await;
    let again = receiver.next().await;
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let here = Here::new();
    let elsewhere = Receiver::start([]).await;
    let moved = Answer::With(307, "location", elsewhere.url.clone());
    let mut receiver = Receiver::start([moved]).await;
    let running = here.run(&[here.hook("a", &receiver.url)]).await;
    running.tell(key()).await;
    receiver.next().await;
    receiver.next().await;
    running.idle().await;
    assert_eq!(running.stop().await, 0);
    let Receiver { mut seen, .. } = elsewhere;
    assert!(seen.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_or_too_old_is_given_up_and_written_down() {
    let mut here = Here::new();
    here.config.give_up_after = Duration::from_millis(60);
    let mut gone = Receiver::start([Answer::Status(410)]).await;
    let mut fails = Receiver::start((0..100).map(|_| Answer::Status(500))).await;
    let hooks = [here.hook("gone", &gone.url), here.hook("fails", &fails.url)];
    let running = here.run(&hooks).await;
    running.tell(key()).await;
    gone.next().await;
    fails.next().await;
    running.idle().await;
    // A stop waits for what comes of the attempts that were begun.
    assert_eq!(running.stop().await, 0);
    let mut given_up = here.given_up();
    given_up.sort();
    let [fails, gone] = given_up.as_slice() else {
        panic!("{given_up:?}");
    };
    assert_eq!(
        (fails.0.as_str(), fails.3.as_str()),
        ("fails", "status 500")
    );
    assert_eq!(
        gone,
        &(
            "gone".into(),
            "key.new".into(),
            1,
            "status 410: it is gone".into()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_messages_cost_the_oldest() {
    let mut here = Here::new();
    here.config.queue = 2;
    let notifier = here.open(&[here.hook("a", "http://127.0.0.1:9/x")]).await;
    let store = &notifier.inner.store;
    for message in [marked(), key(), hold(Kind::HoldSealed)] {
        store.announce(message).await.unwrap();
    }
    let now = notifier.inner.ledger.now().max(marked().at);
    let left = store.due_deliveries("a".to_owned(), now, 9).await.unwrap();
    let left: Vec<_> = left.rows.iter().map(|row| row.message.kind).collect();
    assert_eq!(left, [Kind::KeyNew, Kind::HoldSealed]);
    notifier.inner.ledger.tell().await.unwrap();
    let given_up = here.given_up();
    let [(_, kind, 0, reason)] = given_up.as_slice() else {
        panic!("{given_up:?}");
    };
    assert_eq!(
        (kind.as_str(), reason.as_str()),
        ("session.marked", "too many wait")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_taken_away_takes_its_messages_along() {
    let here = Here::new();
    let nowhere = "http://127.0.0.1:9/x";
    let (a, b) = (here.hook("a", nowhere), here.hook("b", nowhere));
    let notifier = here.open(&[a.clone(), b]).await;
    let store = &notifier.inner.store;
    store.announce(key()).await.unwrap();
    assert_eq!(notifier.backlog().await.unwrap().0, 2);
    let hooks = Hooks::open(&here.config, &[a]).unwrap();
    notifier.replace(hooks).await.unwrap();
    assert_eq!(notifier.backlog().await.unwrap().0, 1);
    assert_eq!(here.given_up().len(), 1);
    notifier
        .replace(Hooks::open(&here.config, &[]).unwrap())
        .await
        .unwrap();
    store.announce(key()).await.unwrap();
    assert_eq!(notifier.backlog().await.unwrap().0, 0, "nobody is told");
}

/// What was given up by it is told later; the webhooks are those that are written down.
#[tokio::test(flavor = "multi_thread")]
async fn other_webhooks_count_also_where_the_audit_log_cannot_be_written() {
    let here = Here::new();
    let mut receiver = Receiver::start([]).await;
    let nowhere = here.hook("nowhere", "http://127.0.0.1:9/x");
    let store = Store::open(&here.dir.path().join("store.sqlite")).unwrap();
    let broken = || Box::pin(std::future::ready(Err(AuditError::Full)));
    let ledger = Ledger::start(store.clone(), Box::new(move |_| broken()))
        .await
        .unwrap();
    let hooks = |hooks: &[Webhook]| Hooks::open(&here.config, hooks).unwrap();
    let notifier = Notifier::start(hooks(&[nowhere]), "bastion".to_owned(), store, ledger)
        .await
        .unwrap();
    notifier.inner.store.announce(key()).await.unwrap();
    let other = here.hook("a", &receiver.url);
    notifier.replace(hooks(&[other])).await.unwrap();
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(notifier.clone().deliver(stop.clone()));
    let running = Running {
        notifier,
        stop,
        task,
    };
    running.tell(marked()).await;
    assert_eq!(receiver.next().await.json()["type"], "session.marked");
    let waits = running.notifier.inner.store.outbox().await.unwrap();
    assert_eq!(waits.len(), 1, "what was given up");
}

/// The message is written with the request, and with nothing that did not happen.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_and_its_message_are_one() {
    let here = Here::new();
    let mut hook = here.hook("a", "http://127.0.0.1:9/x");
    hook.wants.approvers = BTreeSet::from(["leads".to_owned()]);
    let notifier = here.open(&[hook]).await;
    let store = &notifier.inner.store;
    let now = notifier.inner.ledger.now();
    let ask = |login: &str, approvers: &str| {
        let facts = Facts {
            requester: Party {
                identity: Identity {
                    issuer: "https://id".into(),
                    subject: "42".into(),
                },
                name: "ann".into(),
                email: None,
                same_person: SamePerson::NotAsked,
                kind: PartyKind::Person,
            },
            target: "db".into(),
            login: login.into(),
            reason: "canary".into(),
            approvers: BTreeSet::from([approvers.to_owned()]),
            needed: 1,
            period_s: 3600,
            source: "192.0.2.1".parse().unwrap(),
            signed_in_at: now,
            asked_at: now,
            policies: Vec::new(),
            key: None,
        };
        let id = RequestId::random().unwrap();
        store.ask(
            id,
            facts,
            2,
            (now, now + SignedDuration::from_hours(1)),
            Event::Stopped,
        )
    };
    ask("app", "leads").await.unwrap().unwrap();
    ask("app", "leads").await.unwrap().unwrap_err();
    ask("root", "others").await.unwrap().unwrap();
    ask("third", "leads").await.unwrap().unwrap_err();
    let left = store.due_deliveries("a".to_owned(), now, 9).await.unwrap();
    let [row] = left.rows.as_slice() else {
        panic!("{left:?}");
    };
    assert_eq!(row.message.kind, Kind::RequestAsked);
    let body = Format::Json.body(&row.message, "bastion");
    assert!(
        !String::from_utf8(body).unwrap().contains("canary"),
        "their words stay here"
    );
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let here = Here::new();
    let hook = |change: &dyn Fn(&mut Webhook)| {
        let mut hook = here.hook("a", "https://hooks.example.com/secret-path");
        change(&mut hook);
        Hooks::open(&here.config, &[hook])
            .err()
            .map(|problems| problems.to_string())
    };
    assert_eq!(hook(&|_| ()), None);
    let address = here.private("address", "https://hooks.example.com/secret-path\n");
    assert_eq!(
        hook(&|hook| hook.address = Address::File(address.clone())),
        None
    );
    let plain = here.private("plain", "http://hooks.example.com/secret-path\n");
    let open = here.private("open", SECRET);
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
    let other = here.private("other", "secret-path");
    for (found, wanted) in [
        (
            hook(&|hook| hook.secret_file = Some(other.clone())),
            "whsec_ and 24 to 64 bytes",
        ),
        (
            hook(&|hook| hook.secret_file = Some(open.clone())),
            "mode 0644",
        ),
        (
            hook(&|hook| hook.secret_file = Some("none".into())),
            "cannot read",
        ),
        (
            hook(&|hook| hook.ca_file = Some(other.clone())),
            "no certificate",
        ),
        (
            hook(&|hook| hook.address = Address::File(plain.clone())),
            "is http, which anybody",
        ),
    ] {
        let found = found.unwrap();
        assert!(found.contains(wanted), "{found}");
        assert!(!found.contains("secret-path"), "{found}");
    }
}
