//! Telling people: what waits for them and what was decided, to webhooks.
//!
//! Owns what a message says, how it is signed and sent, and for how long it is tried. That a message
//! is not lost is the store's: it is written with the step that it tells of. Nothing waits for a
//! delivery: a receiver that is slow, away or hostile costs messages, and never a decision or a
//! session.
//!
//! - `wants`: the kinds of messages, and what a webhook wants of them
//! - `message`: what is told, safe for whoever shows it
//! - `format`: the body, for programs or chat services
//! - `sign`: signatures (Standard Webhooks)
//! - `post`: one attempt, by HTTP
//! - `retry`: when the next one is

mod format;
mod message;
mod post;
mod retry;
mod sign;
mod wants;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::approval::{Ledger, LedgerError};
use crate::config::{self, Problem, Problems, Webhook};
use crate::metrics;
use crate::store::{Backlog, DeliveryRow, Store, StoreError};

pub use format::{Format, Template};
use message::Data;
pub(crate) use message::{Message, Person, Session as Marked};
pub(crate) use post::client;
use post::{Failure, Hook};
use retry::Patience;
pub(crate) use sign::Secrets;
pub use wants::{Kind, Wants};

/// The webhooks of a configuration, with their secrets and clients.
pub(crate) struct Hooks {
    hooks: Vec<Arc<Hook>>,
    patience: Patience,
    queue: usize,
}

/// Tells webhooks. A clone is the same.
#[derive(Clone)]
pub(crate) struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    ledger: Ledger,
    /// What people type after `ssh`.
    bastion: String,
    hooks: watch::Sender<Arc<Hooks>>,
    /// Until when a webhook wants to be left alone.
    not_before: Mutex<HashMap<String, Timestamp>>,
}

impl Hooks {
    /// Reads the secrets and makes the clients.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used, with what to do about it.
    pub(crate) fn open(config: &config::Notify, webhooks: &[Webhook]) -> Result<Self, Problems> {
        let mut hooks = Vec::new();
        let mut problems: Vec<Problem> = Vec::new();
        for webhook in webhooks {
            match Hook::open(webhook, config.timeout) {
                Ok(hook) => hooks.push(Arc::new(hook)),
                Err(problem) => problems.push(problem),
            }
        }
        match Problems::new(problems) {
            Some(problems) => Err(problems),
            None => Ok(Self {
                hooks,
                patience: Patience {
                    first: config.retry,
                    longest: config.retry_longest,
                    give_up_after: config.give_up_after,
                },
                queue: config.queue,
            }),
        }
    }

    /// What they are called.
    pub(crate) fn names(&self) -> Vec<String> {
        self.hooks.iter().map(|hook| hook.name.clone()).collect()
    }

    /// Whether somebody answers at each, without telling anything: its name and where it is, and
    /// why not.
    pub(crate) async fn probe(&self) -> Vec<(String, Result<(), String>)> {
        let mut found = Vec::new();
        for hook in &self.hooks {
            let shown = format!("{} at {}", hook.name, hook.host());
            found.push((shown, hook.probe().await));
        }
        found
    }

    fn wants(&self) -> Vec<(String, Wants)> {
        let each = self.hooks.iter();
        each.map(|hook| (hook.name.clone(), hook.wants.clone()))
            .collect()
    }
}

impl Notifier {
    /// From when this returns on, every step leaves its messages for these webhooks.
    pub(crate) async fn start(
        hooks: Hooks,
        bastion: String,
        store: Store,
        ledger: Ledger,
    ) -> Result<Self, StoreError> {
        let notifier = Self {
            inner: Arc::new(Inner {
                store,
                ledger,
                bastion,
                hooks: watch::Sender::new(Arc::new(Hooks {
                    hooks: Vec::new(),
                    patience: hooks.patience,
                    queue: hooks.queue,
                })),
                not_before: Mutex::default(),
            }),
        };
        notifier.replace(hooks).await?;
        Ok(notifier)
    }

    /// Other webhooks, or other secrets: what waits for those that stay is still delivered.
    ///
    /// # Errors
    ///
    /// The store cannot be written: then the earlier ones stay.
    pub(crate) async fn replace(&self, hooks: Hooks) -> Result<(), StoreError> {
        let inner = &self.inner;
        let given_up = inner.store.set_hooks(hooks.wants(), hooks.queue).await?;
        // From here on they are written down, so that nothing may come in between.
        inner.hooks.send_replace(Arc::new(hooks));
        lock(&inner.not_before).clear();
        if given_up > 0 {
            warn!(
                given_up,
                "messages for webhooks that are not configured any more"
            );
            // The outbox keeps what cannot be told now.
            if let Err(error) = inner.ledger.tell().await {
                warn!(%error, "what was given up is not in the audit log yet");
            }
        }
        Ok(())
    }

    /// A session has begun that somebody is to hear of. That they will is durable when this returns.
    pub(crate) async fn announce(&self, session: Marked) -> Result<(), StoreError> {
        let message = Message {
            kind: Kind::SessionMarked,
            at: self.inner.ledger.now(),
            data: Data::Session(session),
        };
        self.inner.store.announce(message).await
    }

    /// How many messages wait, and for how long the oldest has.
    pub(crate) async fn backlog(&self) -> Result<(u64, Duration), StoreError> {
        let Backlog { count, oldest } = self.inner.store.backlog().await?;
        let age = oldest.map(|at| self.inner.ledger.now().duration_since(at));
        let age = age.and_then(|age| Duration::try_from(age).ok());
        Ok((count, age.unwrap_or_default()))
    }

    /// Delivers what is due, until `stop`; what is under way then has a moment to arrive.
    pub(crate) async fn deliver(self, stop: CancellationToken) {
        let told = self.inner.store.told();
        let mut hooks = self.inner.hooks.subscribe();
        let mut under_way = UnderWay::default();
        loop {
            let now = hooks.borrow_and_update().clone();
            let pause = match self.begin_due(&now, &mut under_way).await {
                Ok(pause) => pause,
                Err(error) => {
                    warn!(%error, "when webhooks are to be told cannot be read now");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = told.notified() => {}
                // The sender lives in `self`.
                _ = hooks.changed() => {}
                Some(ended) = under_way.next() => under_way.forget(ended),
                () = time::sleep(pause) => {}
            }
        }
        // What does not arrive by then is sent again after the next start.
        if time::timeout(LAST, under_way.all()).await.is_err() {
            info!(messages = under_way.len(), "not delivered before the stop");
        }
        under_way.tasks.shutdown().await;
    }

    /// Begins what is due, as far as there is room; says when to look again.
    async fn begin_due(
        &self,
        hooks: &Arc<Hooks>,
        under_way: &mut UnderWay,
    ) -> Result<Duration, StoreError> {
        let store = &self.inner.store;
        let now = self.inner.ledger.now();
        let mut sweep = SWEEP;
        for hook in &hooks.hooks {
            let not_before = lock(&self.inner.not_before).get(&hook.name).copied();
            if let Some(left) = not_before.map(|at| at.duration_since(now))
                && left.is_positive()
            {
                sweep = sweep.min(left.unsigned_abs());
                continue;
            }
            let room = AT_ONCE.saturating_sub(under_way.of(&hook.name));
            if room == 0 {
                continue;
            }
            // Those under way are due as well, until it is written down what came of them.
            let due = store.due_deliveries(hook.name.clone(), now, 2 * AT_ONCE);
            let due = match due.await {
                Ok(due) => due,
                Err(error) => {
                    warn!(webhook = hook.name, %error, "what a webhook is to be told cannot be read now");
                    sweep = sweep.min(AGAIN);
                    continue;
                }
            };
            for id in due.damaged {
                error!(
                    webhook = hook.name,
                    "a message cannot be read, and it is given up"
                );
                if let Err(error) = self.give_up_damaged(hook, id).await {
                    warn!(webhook = hook.name, %error, "it cannot be given up now");
                }
                sweep = sweep.min(AGAIN);
            }
            for row in due
                .rows
                .into_iter()
                .filter(|row| !under_way.has(row.id))
                .take(room)
                .collect::<Vec<_>>()
            {
                under_way.begin(self.clone(), hooks.clone(), hook.clone(), row);
            }
        }
        let next = store.next_due_delivery(now).await?;
        let pause = next.map_or(sweep, |next| {
            Duration::try_from(next.duration_since(now)).unwrap_or_default()
        });
        Ok(pause.min(sweep).max(SHORTEST_SWEEP))
    }

    async fn give_up_damaged(&self, hook: &Hook, id: i64) -> Result<(), LedgerError> {
        let inner = &self.inner;
        inner.store.delivery_damaged(hook.name.clone(), id).await?;
        inner.ledger.tell().await
    }

    /// One attempt, and what came of it written down: as long as it is not, it is under way, so that
    /// a store that cannot be written does not have the receiver told again and again.
    async fn attempt(self, hooks: Arc<Hooks>, hook: Arc<Hook>, row: DeliveryRow) {
        let mut posting = JoinSet::new();
        posting.spawn(self.clone().post(hook.clone(), row.clone()));
        // One that panics has failed like any other: it is not begun again at once.
        let sent = posting.join_next().await.and_then(Result::ok);
        let sent = sent.unwrap_or_else(|| {
            Err(Failure::Failed {
                why: "the attempt broke off".to_owned(),
                after: None,
            })
        });
        let outcome = self.outcome(&hooks.patience, &hook, &row, sent);
        let mut pause = AGAIN;
        while let Err(error) = self.settle(&hook, &row, &outcome).await {
            error!(webhook = hook.name, message = row.name, %error, "what came of a message cannot be written down yet");
            time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(SWEEP);
        }
        if let Outcome::GivenUp(..) = outcome
            && let Err(error) = self.inner.ledger.tell().await
        {
            warn!(%error, "what was given up is not in the audit log yet");
        }
    }

    async fn post(self, hook: Arc<Hook>, row: DeliveryRow) -> Result<(), Failure> {
        let body = hook.format.body(&row.message, &self.inner.bastion);
        // Receivers compare it with their own clocks.
        hook.post(&row.name, Timestamp::now(), body).await
    }

    /// What came of an attempt.
    fn outcome(
        &self,
        patience: &Patience,
        hook: &Hook,
        row: &DeliveryRow,
        sent: Result<(), Failure>,
    ) -> Outcome {
        let now = self.inner.ledger.now();
        let (webhook, message) = (&hook.name, &row.name);
        let attempts = row.attempts.saturating_add(1);
        let failure = match sent {
            Ok(()) => {
                debug!(webhook, message, attempts, "a webhook was told");
                metrics::global().notice_delivered();
                return Outcome::Delivered;
            }
            Err(failure) => failure,
        };
        let age = Duration::try_from(now.duration_since(row.made_at)).unwrap_or_default();
        let pause = match &failure {
            Failure::Gone => None,
            Failure::Failed { after, .. } => {
                // It is meant for all of its messages.
                let rest = after.map(|after| after.min(patience.longest));
                let rest = rest.and_then(|rest| SignedDuration::try_from(rest).ok());
                if let Some(until) = rest.and_then(|rest| now.checked_add(rest).ok()) {
                    lock(&self.inner.not_before).insert(hook.name.clone(), until);
                }
                patience.pause(attempts, age, *after, chance())
            }
        };
        match pause {
            Some(pause) => {
                warn!(webhook, message, attempts, error = %failure, "a webhook was not told; it is tried again");
                metrics::global().notice_retried();
                let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
                Outcome::Again(now.saturating_add(pause).unwrap_or(Timestamp::MAX))
            }
            None => {
                error!(webhook, message, attempts, error = %failure, "a webhook was not told, and it is given up");
                Outcome::GivenUp(attempts, failure.to_string())
            }
        }
    }

    async fn settle(
        &self,
        hook: &Hook,
        row: &DeliveryRow,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let store = &self.inner.store;
        match outcome {
            // What was taken after it had not been shows that the receiver is back.
            Outcome::Delivered => {
                let back = row.attempts > 0;
                store.delivery_done(hook.name.clone(), row.id, back).await
            }
            Outcome::Again(due_at) => store.delivery_again(row.id, *due_at).await,
            Outcome::GivenUp(attempts, reason) => {
                store
                    .delivery_given_up(hook.name.clone(), row.clone(), *attempts, reason.clone())
                    .await
            }
        }
    }
}

/// What came of an attempt.
enum Outcome {
    Delivered,
    /// To be tried again at this time.
    Again(Timestamp),
    /// After so many attempts, for this reason.
    GivenUp(u32, String),
}

/// Attempts under way, each a task.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    /// Which delivery of which webhook a task is.
    which: HashMap<Id, (i64, String)>,
}

impl UnderWay {
    fn begin(&mut self, notifier: Notifier, hooks: Arc<Hooks>, hook: Arc<Hook>, row: DeliveryRow) {
        let which = (row.id, hook.name.clone());
        let task = self.tasks.spawn(notifier.attempt(hooks, hook, row));
        self.which.insert(task.id(), which);
    }

    fn has(&self, id: i64) -> bool {
        self.which.values().any(|(under_way, _)| *under_way == id)
    }

    fn of(&self, hook: &str) -> usize {
        self.which.values().filter(|(_, name)| name == hook).count()
    }

    fn len(&self) -> usize {
        self.which.len()
    }

    /// The next that ends. Cancel-safe.
    async fn next(&mut self) -> Option<Result<(Id, ()), JoinError>> {
        self.tasks.join_next_with_id().await
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                error!(%error, "an attempt to tell a webhook");
                error.id()
            }
        };
        self.which.remove(&id);
    }

    async fn all(&mut self) {
        while let Some(ended) = self.next().await {
            self.forget(ended);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Any number; where the system gives none, pauses are at their shortest.
fn chance() -> u32 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

/// Attempts of one webhook under way at once.
const AT_ONCE: usize = 4;
/// At least so often it is looked what is due.
const SWEEP: Duration = Duration::from_secs(30);
/// No look follows another sooner for what is only due later.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);
/// After the store could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);
/// At a stop, what is under way has so long to arrive.
const LAST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
