//! Output that waits for another person's decision.
//!
//! Owns the spool (encrypted, bounded), the sealing, the decisions, the release and the expiry.
//! Nothing else reads a payload, and a payload leaves only for a [`Release`], which stands for a
//! decision that is in the store and in the audit log. Knows no SSH and no policy; who may decide
//! is asked of `access` by `decide`.
//!
//! - `state`: what may become of a hold, pure
//! - `seal`: the form of a payload and its digest
//! - `spool`: the encrypted files
//! - `decide`: who may decide

pub(crate) mod decide;
mod seal;
mod spool;
mod state;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use scanner::{Stream, Withheld};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::approval::{Ledger, LedgerError, ShortId, recounted, who};
use crate::audit::{AuditError, Event};
use crate::config;
use crate::login::{Identity, KeyId};
use crate::metrics::LiveHolds;
use crate::store::{
    Audited, HoldRow, NotOpened, NotStepped, Place, Step, Store, StoreError, Vote, Which,
};

pub(crate) use crate::approval::Party;
#[cfg(test)]
pub(crate) use crate::approval::{Kind, SamePerson};
pub(crate) use decide::Entitled;
pub(crate) use seal::{Digest, encode as encode_frame};
pub(crate) use spool::PREVIEW_MAX;
use spool::{Payload, Reader, Spool, SpoolError, SpoolKey};
use state::{Approved, End, Hold, Open, Releasing, Sealed, Voted};
pub(crate) use state::{Name, Refusal, Terms};

/// The name of a hold: `H-` and six characters.
pub(crate) type HoldId = ShortId<'H'>;

/// What is known of a hold from its beginning, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Facts {
    pub(crate) producer: Party,
    /// The session's id.
    pub(crate) session: String,
    pub(crate) target: String,
    pub(crate) login: String,
    /// The command as people read it: one text for each string of bytes (`console::exact`).
    pub(crate) command: Option<String>,
    /// Whether it came from a terminal.
    pub(crate) pty: bool,
    /// Whether only an approved request allowed the session. Not known of holds of before.
    #[serde(default)]
    pub(crate) approved: bool,
    pub(crate) held: Held,
    pub(crate) rule: String,
    /// The group that decides.
    pub(crate) approvers: String,
    pub(crate) needed: u32,
    pub(crate) period_s: u64,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Held {
    /// What a command printed, from the record with a held field on.
    Records,
    /// Everything that a command printed.
    Output,
    /// A command that has not run.
    Command,
}

impl Held {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Output => "output",
            Self::Command => "command",
        }
    }
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// The held fields that were seen.
    pub(crate) fields: Vec<String>,
    pub(crate) sealed_at: Timestamp,
    /// How the command ended, where it has.
    pub(crate) status: Option<String>,
}

/// The holds of this bastion. A clone is the same.
#[derive(Clone)]
pub(crate) struct Holds {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keeping: Keeping,
    ledger: Ledger,
    config: config::Holds,
    /// Whoever waits for a hold's next state.
    waiting: Mutex<HashMap<HoldId, watch::Sender<Name>>>,
    /// The holds that change, for whoever shows a list of them.
    changes: broadcast::Sender<HoldId>,
    /// Deliveries under way: a hold is never delivered twice at once.
    delivering: Mutex<HashSet<HoldId>>,
    /// Holds whose session is gone without having sealed them.
    orphans: Mutex<Vec<HoldId>>,
    changed: Notify,
    /// What is done to its end also when nobody waits for it any more.
    tasks: TaskTracker,
}

/// Whether anything can be held.
enum Keeping {
    Spool(Spool),
    /// No key, and no rule that holds when the program started: what a rule holds is refused.
    Nothing,
}

/// Why a hold is not there, or not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    #[error("there is no such hold")]
    Unknown,
    #[error("{0}")]
    Refused(Refusal),
    #[error("the person has as many holds as they may")]
    TooMany,
    #[error("it is being delivered now")]
    Delivering,
    #[error("the name is taken")]
    Taken,
    #[error("no spool key is configured")]
    NoKey,
    #[error("the rule does not say who decides")]
    NoTerms,
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl HoldError {
    /// The line for the person whom it concerns.
    pub(crate) fn notice(&self) -> String {
        match self {
            Self::Unknown => "there is no such hold".to_owned(),
            Self::Refused(refusal) => refusal.to_string(),
            Self::TooMany => {
                "too much of yours is held already: fetch, cancel or wait for some of it".to_owned()
            }
            Self::Delivering => "it is being delivered now".to_owned(),
            Self::NoTerms => "a rule holds this output, but not for anybody's decision".to_owned(),
            Self::NoKey => {
                "a rule holds this output, but holds.key_file is not set up; tell the operator"
                    .to_owned()
            }
            Self::Spool(SpoolError::TooLarge(max)) => {
                format!(
                    "more than {max} bytes would be held: the command was stopped, nothing is kept"
                )
            }
            Self::Spool(SpoolError::Full) => {
                "there is no room for what is held: the command was stopped, nothing is kept"
                    .to_owned()
            }
            Self::Spool(SpoolError::Damaged) => {
                "what was held is damaged and cannot be released".to_owned()
            }
            Self::Taken | Self::Spool(SpoolError::Io(_) | SpoolError::Crypto) => {
                "what is held cannot be kept: the command was stopped, nothing is kept".to_owned()
            }
            Self::Store(_) => "holds are not available now; try again later".to_owned(),
            Self::Audit(error) => error.notice().to_owned(),
        }
    }
}

impl Holds {
    /// Opens the spool, ends what a stop left open, and tells the audit log what it does not know.
    ///
    /// `needed` says that some rule holds, so that a key is needed.
    pub(crate) async fn start(
        config: config::Holds,
        dir: &Path,
        needed: bool,
        store: Store,
        ledger: Ledger,
    ) -> Result<Self, HoldsError> {
        let keeping = match config::read_private(&config.key_file) {
            Ok(bytes) => {
                let key = SpoolKey::parse(&bytes)
                    .ok_or_else(|| HoldsError::Key(config.key_file.display().to_string()))?;
                let spool = Spool::open(dir, key, config.max_bytes, config.spool_bytes)
                    .map_err(HoldsError::Dir)?;
                Keeping::Spool(spool)
            }
            Err(config::FileError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !needed =>
            {
                Keeping::Nothing
            }
            Err(error) => return Err(HoldsError::KeyFile(error)),
        };
        let holds = Self {
            inner: Arc::new(Inner {
                store,
                keeping,
                ledger,
                config,
                waiting: Mutex::default(),
                changes: broadcast::channel(CHANGES).0,
                delivering: Mutex::default(),
                orphans: Mutex::default(),
                changed: Notify::new(),
                tasks: TaskTracker::new(),
            }),
        };
        holds.recover().await?;
        Ok(holds)
    }

    /// After a stop: nothing that was not sealed can be, and payloads without a hold are erased.
    async fn recover(&self) -> Result<(), HoldsError> {
        self.tell().await.map_err(HoldsError::Recover)?;
        let live = self.inner.store.holds(Which::Live).await?;
        let (open, kept): (Vec<_>, Vec<_>) =
            live.into_iter().partition(|row| row.state == Name::Open);
        for row in open {
            let why = "the bastion stopped while its output was coming in";
            self.void(row.id, why).await.map_err(HoldsError::Recover)?;
        }
        let Keeping::Spool(spool) = &self.inner.keeping else {
            return Ok(());
        };
        let keep: Vec<HoldId> = kept.iter().map(|row| row.id).collect();
        for id in spool.sweep(&keep).map_err(HoldsError::Dir)? {
            self.void(id, "its payload is not there")
                .await
                .map_err(HoldsError::Recover)?;
        }
        self.tell().await.map_err(HoldsError::Recover)
    }

    /// Whether there is a key, so that something can be held.
    pub(crate) fn can_hold(&self) -> bool {
        matches!(self.inner.keeping, Keeping::Spool(_))
    }

    /// The time that holds live by.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.ledger.now()
    }

    /// When a key was first seen.
    pub(crate) async fn key_since(&self, key: &KeyId) -> Result<Option<Timestamp>, HoldError> {
        Ok(self.inner.ledger.key_since(key).await?)
    }

    /// How long output has to be quiet to be sealed.
    pub(crate) fn seal_quiet(&self) -> Duration {
        self.inner.config.seal_quiet
    }

    /// How long a record may be before it is held whole.
    pub(crate) fn record_max(&self) -> usize {
        self.inner.config.record_max
    }

    /// How long a client waits at most.
    pub(crate) fn wait_at_most(&self) -> Duration {
        self.inner.config.wait
    }

    /// A name for a hold that is opened later; none where the system gives no random numbers.
    pub(crate) fn name() -> Option<HoldId> {
        HoldId::random()
    }

    /// Begins to hold. The audit log knows of it when this returns.
    pub(crate) async fn open(&self, facts: Facts) -> Result<Live, HoldError> {
        for _ in 0..NAMES {
            let id = Self::name().ok_or(SpoolError::Crypto)?;
            match self.open_as(id, facts.clone()).await {
                Err(HoldError::Taken) => {}
                opened => return opened,
            }
        }
        Err(HoldError::Taken)
    }

    /// The same under a name that was given away already.
    pub(crate) async fn open_as(&self, id: HoldId, facts: Facts) -> Result<Live, HoldError> {
        let holds = self.clone();
        // A caller that stops waiting leaves a hold that nobody takes, which is void.
        self.surely(async move { holds.opened(id, facts).await })
            .await
    }

    async fn opened(self, id: HoldId, facts: Facts) -> Result<Live, HoldError> {
        let Keeping::Spool(spool) = &self.inner.keeping else {
            return Err(HoldError::NoKey);
        };
        let event = Event::HoldOpened {
            hold: id.to_string(),
            session: facts.session.clone(),
            user: who(&facts.producer),
            target: facts.target.clone(),
            login: facts.login.clone(),
            kind: facts.held.as_str().to_owned(),
            rule: facts.rule.clone(),
        };
        let most = self.inner.config.per_person;
        let opened = self
            .inner
            .store
            .open_hold(id, facts.clone(), most, self.now(), event)
            .await?;
        match opened {
            Ok(()) => {}
            Err(NotOpened::Taken) => return Err(HoldError::Taken),
            Err(NotOpened::TooMany) => return Err(HoldError::TooMany),
        }
        // From here on a hold that nobody takes is void: its guard is made before anything else
        // can fail.
        let mut live = Live {
            holds: self.clone(),
            id,
            facts,
            payload: None,
            rows: 0,
            sealed: false,
        };
        live.payload = Some(spool.begin(id)?);
        self.tell().await?;
        self.changed(id);
        info!(hold = %id, session = live.facts.session, rule = live.facts.rule, "held");
        Ok(live)
    }

    /// Notes that somebody sees a session while it runs, who then decides on nothing that it
    /// produces. Durable when this returns.
    pub(crate) async fn watched(&self, session: String, by: Party) -> Result<(), HoldError> {
        Ok(self.inner.store.note_watcher(session, by).await?)
    }

    /// One hold.
    pub(crate) async fn get(&self, id: HoldId) -> Result<HoldRow, HoldError> {
        self.inner.store.hold(id).await?.ok_or(HoldError::Unknown)
    }

    /// How many have not ended, and how long the oldest has waited for a decision.
    pub(crate) async fn count(&self) -> Result<LiveHolds, HoldError> {
        let counts = self.inner.store.count_holds().await?;
        let of = |state| counts.iter().find(|(found, ..)| *found == state);
        let states = Name::ALL.into_iter().filter(|state| !state.is_final());
        let since = of(Name::Sealed).map(|(_, _, since)| self.now().duration_since(*since));
        Ok(LiveHolds {
            by_state: states
                .map(|state| (state.as_str(), of(state).map_or(0, |(_, count, _)| *count)))
                .collect(),
            oldest_undecided: since
                .and_then(|since| Duration::try_from(since).ok())
                .unwrap_or_default(),
        })
    }

    /// Holds, the newest first.
    pub(crate) async fn list(&self, which: Which) -> Result<Vec<HoldRow>, HoldError> {
        Ok(self.inner.store.holds(which).await?)
    }

    /// A page of the holds that have not ended: the first `most`, or those behind `after`.
    pub(crate) async fn page(
        &self,
        after: Option<Place>,
        most: usize,
    ) -> Result<Vec<HoldRow>, HoldError> {
        Ok(self.inner.store.holds_behind(after, most).await?)
    }

    /// These holds, as far as they exist; long commands are cut.
    pub(crate) async fn named(&self, ids: Vec<HoldId>) -> Result<Vec<HoldRow>, HoldError> {
        Ok(self.inner.store.holds_named(ids).await?)
    }

    /// Which holds change from now on, each after its step is in the store and the audit log.
    /// Whoever reads too slowly hears that it missed some.
    pub(crate) fn changes(&self) -> broadcast::Receiver<HoldId> {
        self.inner.changes.subscribe()
    }

    fn changed(&self, id: HoldId) {
        // Nobody may be looking.
        self.inner.changes.send(id).unwrap_or_default();
    }

    /// Waits until a hold is no longer sealed. Cancel-safe.
    pub(crate) async fn decided(&self, id: HoldId) -> Result<HoldRow, HoldError> {
        // Before the state is read, so that no change falls between.
        let mut changes = self.watch(id);
        loop {
            let row = self.get(id).await?;
            if !matches!(row.state, Name::Open | Name::Sealed) {
                return Ok(row);
            }
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| HoldError::Unknown)?,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }

    fn watch(&self, id: HoldId) -> watch::Receiver<Name> {
        let mut waiting = lock(&self.inner.waiting);
        // Those that nobody waits for any more.
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting
            .entry(id)
            .or_insert_with(|| watch::channel(Name::Open).0)
            .subscribe()
    }

    /// One entitled person's vote on the bytes of `digest`. The audit log has it when this returns.
    pub(crate) async fn vote(&self, ballot: Ballot) -> Result<HoldRow, HoldError> {
        let now = self.now();
        let by = ballot.by.party().identity.clone();
        self.step_through(ballot.hold, now, Some(by), move |row| {
            voted(&recalled(row, &ballot, now), ballot, now)
        })
        .await
    }

    /// The producer takes a hold back.
    pub(crate) async fn cancel(
        &self,
        id: HoldId,
        by: Identity,
        reason: Option<String>,
    ) -> Result<HoldRow, HoldError> {
        let delivering = lock(&self.inner.delivering).contains(&id);
        if delivering {
            return Err(HoldError::Delivering);
        }
        self.step_through(id, self.now(), None, move |row| cancelled(row, &by, reason))
            .await
    }

    /// Begins to give an approved hold's bytes to its producer: `releasing` and its event are
    /// durable, and the bytes are those that were sealed, when this returns.
    pub(crate) async fn release(&self, id: HoldId, to: Identity) -> Result<Release, HoldError> {
        let Keeping::Spool(spool) = &self.inner.keeping else {
            return Err(HoldError::NoKey);
        };
        let delivery = Delivery::begin(self, id)?;
        let row = self.get(id).await?;
        let seal = row.seal.as_ref().ok_or(Refusal::NotSealed)?;
        // A person who may not have it, or too early, does not make the spool work.
        hold_of(&row).release(&to, &seal.digest, self.now())?;
        let digest = seal.digest;
        let reader = {
            let spool = spool.clone();
            tokio::task::spawn_blocking(move || spool.read(id, &digest)).await
        };
        let reader = match reader.map_err(|_| SpoolError::Crypto)? {
            Ok(reader) => reader,
            Err(error) => {
                error!(hold = %id, %error, "a sealed payload cannot be read");
                if matches!(error, SpoolError::Damaged) {
                    self.void(id, "its payload is damaged").await?;
                }
                return Err(error.into());
            }
        };
        // What was decided is in the audit log before the step that needs it.
        self.tell().await?;
        let now = self.now();
        self.step(id, now, None, move |row| releasing(row, &to, &digest, now))
            .await?;
        self.tell().await?;
        Ok(Release {
            delivery,
            reader: Some(reader),
        })
    }

    /// The bytes of a live hold, for somebody who may see them.
    pub(crate) async fn look(&self, row: &HoldRow) -> Result<Look, HoldError> {
        let Keeping::Spool(spool) = &self.inner.keeping else {
            return Err(HoldError::NoKey);
        };
        let seal = row.seal.as_ref().ok_or(Refusal::NotSealed)?;
        if row.state.is_final() {
            return Err(Refusal::Over(row.state).into());
        }
        let (spool, id, digest) = (spool.clone(), row.id, seal.digest);
        let reader = tokio::task::spawn_blocking(move || spool.read(id, &digest)).await;
        Ok(Look {
            reader: Some(reader.map_err(|_| SpoolError::Crypto)??),
        })
    }

    /// The preview of a live hold: frames with what rules hold redacted.
    pub(crate) async fn preview(&self, row: &HoldRow) -> Result<Vec<(Stream, Bytes)>, HoldError> {
        let Keeping::Spool(spool) = &self.inner.keeping else {
            return Ok(Vec::new());
        };
        if row.state.is_final() || row.seal.is_none() {
            return Ok(Vec::new());
        }
        let (spool, id) = (spool.clone(), row.id);
        let preview = tokio::task::spawn_blocking(move || spool.preview(id)).await;
        let mut preview = preview.map_err(|_| SpoolError::Crypto)??;
        let mut frames = Vec::new();
        // One that was cut ends with a frame that is not whole.
        while let Ok(Some(frame)) = seal::decode(&mut preview) {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// Expires what is due, and ends what lost its session, until `stop`.
    pub(crate) async fn maintain(self, stop: CancellationToken) {
        loop {
            let pause = match self.sweep().await {
                Ok(pause) => pause,
                Err(error) => {
                    // Nothing leaves meanwhile: every step looks at the time itself.
                    warn!(%error, "holds cannot be looked after now");
                    SWEEP
                }
            };
            tokio::select! {
                () = self.inner.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = self.sweep().await {
            warn!(%error, "some holds are ended at the next start");
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// One round; says when the next is due.
    async fn sweep(&self) -> Result<Duration, HoldError> {
        self.tell().await?;
        let orphans = std::mem::take(&mut *lock(&self.inner.orphans));
        let mut orphans = orphans.into_iter();
        while let Some(id) = orphans.next() {
            match self
                .void(id, "its session ended before it was sealed")
                .await
            {
                Ok(()) | Err(HoldError::Unknown | HoldError::Refused(_)) => {}
                Err(error) => {
                    let mut left = lock(&self.inner.orphans);
                    left.push(id);
                    left.extend(orphans);
                    return Err(error);
                }
            }
        }
        let now = self.now();
        // One that is due while it is being delivered is looked at again, not at once.
        let mut least = SHORTEST_SWEEP;
        for id in self.inner.store.due_holds(now).await? {
            if lock(&self.inner.delivering).contains(&id) {
                least = Duration::from_secs(1);
                continue;
            }
            let step = move |row: &HoldRow| expired(row, now);
            match self.step_through(id, now, None, step).await {
                Ok(_) | Err(HoldError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.inner.store.raise_high_water(now).await?;
        let next = self.inner.store.next_due_hold().await?;
        let pause = next.map_or(SWEEP, |next| {
            Duration::try_from(next.duration_since(self.now())).unwrap_or_default()
        });
        Ok(pause.clamp(least, SWEEP))
    }

    async fn void(&self, id: HoldId, why: &'static str) -> Result<(), HoldError> {
        self.step_through(id, self.now(), None, move |row| voided(row, why))
            .await?;
        Ok(())
    }

    /// A step and all that follows from it. It comes to its end also when the caller stops waiting.
    async fn step_through(
        &self,
        id: HoldId,
        now: Timestamp,
        voter: Option<Identity>,
        next: impl FnOnce(&HoldRow) -> Result<Step, Refusal> + Send + 'static,
    ) -> Result<HoldRow, HoldError> {
        let holds = self.clone();
        self.surely(async move {
            let row = holds.step(id, now, voter, next).await?;
            holds.after(&row).await?;
            Ok(row)
        })
        .await
    }

    async fn surely<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, HoldError>> + Send + 'static,
    ) -> Result<T, HoldError> {
        match self.inner.tasks.spawn(work).await {
            Ok(done) => done,
            Err(_) => Err(HoldError::Store(StoreError::Stopped)),
        }
    }

    async fn step(
        &self,
        id: HoldId,
        now: Timestamp,
        voter: Option<Identity>,
        next: impl FnOnce(&HoldRow) -> Result<Step, Refusal> + Send + 'static,
    ) -> Result<HoldRow, HoldError> {
        match self.inner.store.step_hold(id, now, voter, next).await? {
            Ok(row) => Ok(row),
            Err(NotStepped::Unknown) => Err(HoldError::Unknown),
            Err(NotStepped::Refused(refusal)) => Err(refusal.into()),
            Err(NotStepped::Expired) => Err(Refusal::Expired.into()),
            Err(NotStepped::NotAudited) => Err(HoldError::Audit(AuditError::Failed(
                "an earlier event is not in it".to_owned(),
            ))),
        }
    }

    /// What follows a step that has been written down: the audit log is told, then whoever waits,
    /// and what has ended is erased.
    async fn after(&self, row: &HoldRow) -> Result<(), HoldError> {
        if row.state.is_final() {
            self.erase(row.id).await;
        }
        self.tell().await?;
        if let Some(sender) = lock(&self.inner.waiting).get(&row.id) {
            sender.send_replace(row.state);
        }
        self.changed(row.id);
        self.inner.changed.notify_one();
        Ok(())
    }

    async fn erase(&self, id: HoldId) {
        let Keeping::Spool(spool) = &self.inner.keeping else {
            return;
        };
        let spool = spool.clone();
        let erased = tokio::task::spawn_blocking(move || spool.erase(id)).await;
        match erased {
            Ok(Ok(())) => {}
            // The next start erases every payload that belongs to no live hold.
            Ok(Err(error)) => error!(hold = %id, %error, "a payload cannot be erased"),
            Err(error) => error!(hold = %id, %error, "a payload cannot be erased"),
        }
    }

    /// Writes what waits in the outbox to the audit log. All of it is on disk when this returns.
    pub(crate) async fn tell(&self) -> Result<(), HoldError> {
        Ok(self.inner.ledger.tell().await?)
    }
}

impl From<LedgerError> for HoldError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => Self::Store(error),
            LedgerError::Audit(error) => Self::Audit(error),
        }
    }
}

/// Why holds do not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldsError {
    #[error(
        "{0}; make one with: head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n' > FILE; chmod 600 FILE (holds.key_file)"
    )]
    KeyFile(config::FileError),
    #[error("{0} is no spool key: 32 bytes or 64 hexadecimal digits")]
    Key(String),
    #[error("cannot use the folder of held output: {0}")]
    Dir(io::Error),
    #[error("holds cannot be brought up to date: {0}")]
    Recover(HoldError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A vote to be cast.
pub(crate) struct Ballot {
    pub(crate) hold: HoldId,
    /// What the person decided about.
    pub(crate) digest: Digest,
    pub(crate) by: Entitled,
    pub(crate) approves: bool,
    pub(crate) reason: Option<String>,
    /// The policies that permit it, for the audit log.
    pub(crate) policies: Vec<String>,
    /// Asks the policies of the moment in which the vote is written down, of this vote and of each
    /// earlier one.
    pub(crate) counts: Counts,
}

/// Whether the policies let a vote on a hold count.
pub(crate) type Counts = Box<dyn Fn(&HoldRow, &Vote) -> bool + Send>;

fn sealed(row: &HoldRow, seal: Seal, now: Timestamp) -> Result<Step, Refusal> {
    let Hold::Open(open) = hold_of(row) else {
        return Err(Refusal::Over(row.state));
    };
    let sealed = open.seal(seal.digest, now);
    let event = Event::HoldSealed {
        hold: row.id.to_string(),
        digest: seal.digest.to_string(),
        bytes: seal.bytes,
        rows: seal.rows,
        fields: seal.fields.clone(),
        expires_at: sealed.expires_at,
    };
    Ok(Step {
        to: Name::Sealed,
        seal: Some(seal),
        expires_at: Some(sealed.expires_at),
        votes: Vec::new(),
        events: vec![event],
        audited: Audited::MayWait,
    })
}

fn releasing(
    row: &HoldRow,
    to: &Identity,
    digest: &Digest,
    now: Timestamp,
) -> Result<Step, Refusal> {
    let Releasing { expires_at, .. } = hold_of(row).release(to, digest, now)?;
    let event = Event::HoldReleased {
        hold: row.id.to_string(),
        digest: digest.to_string(),
        user: who(&row.facts.producer),
    };
    Ok(Step {
        to: Name::Releasing,
        seal: row.seal.clone(),
        expires_at: Some(expires_at),
        votes: row.votes.clone(),
        events: vec![event],
        audited: Audited::Needed,
    })
}

fn delivered(row: &HoldRow) -> Result<Step, Refusal> {
    match hold_of(row) {
        Hold::Releasing(releasing) => Ok(ended(row, releasing.delivered(), None)),
        other => Err(Refusal::Over(other.name())),
    }
}

fn cancelled(row: &HoldRow, by: &Identity, reason: Option<String>) -> Result<Step, Refusal> {
    let end = hold_of(row).cancel(by)?;
    Ok(ended(row, end, reason))
}

fn expired(row: &HoldRow, now: Timestamp) -> Result<Step, Refusal> {
    let end = hold_of(row).expire(now)?;
    Ok(ended(row, end, None))
}

fn voided(row: &HoldRow, why: &str) -> Result<Step, Refusal> {
    let end = hold_of(row).void()?;
    Ok(ended(row, end, Some(why.to_owned())))
}

impl Ballot {
    fn vote(&self, at: Timestamp) -> Vote {
        self.by.vote(self.approves, self.reason.as_deref(), at)
    }
}

/// The hold with those of its voters, and of whoever votes now, among the gone whom the policies do
/// not let decide any more. An earlier word of the same person that counts no more makes way for the
/// one that is said now.
fn recalled(row: &HoldRow, ballot: &Ballot, now: Timestamp) -> HoldRow {
    let own = ballot.vote(now);
    let counts = |vote: &Vote| (ballot.counts)(row, vote);
    let is_own = |vote: &Vote| vote.by.identity == own.by.identity;
    let mut left = row.clone();
    left.votes.retain(|vote| !is_own(vote) || counts(vote));
    let votes = row.votes.iter().filter(|vote| !is_own(vote)).chain([&own]);
    let withdrawn = votes.filter(|vote| !counts(vote));
    left.gone
        .extend(withdrawn.map(|vote| vote.by.identity.clone()));
    left
}

fn voted(row: &HoldRow, ballot: Ballot, now: Timestamp) -> Result<Step, Refusal> {
    let sealed = hold_of(row).into_sealed()?;
    let by = ballot.by.party().clone();
    // Who was entitled a moment ago may have been locked, or have left the group, since.
    if row.gone.contains(&by.identity) {
        return Err(Refusal::NotEntitled);
    }
    let vote = ballot.vote(now);
    let still = |party: &Party| !row.gone.contains(&party.identity);
    let (votes, withdrawn) = recounted(&row.votes, vote, |party| {
        still(party) && !sealed.took_part(party)
    });
    let (to, expires_at, approvals) = if ballot.approves {
        match sealed.approve(ballot.by, &ballot.digest, now, still)? {
            Voted::Waiting(sealed) => (
                Name::Sealed,
                Some(sealed.expires_at),
                sealed.approvals.len(),
            ),
            Voted::Approved(approved) => {
                let needed = usize::try_from(row.facts.needed).unwrap_or(usize::MAX);
                (Name::Approved, Some(approved.expires_at), needed)
            }
        }
    } else {
        let approvals = sealed.approvals.len();
        let end = sealed.deny(ballot.by, &ballot.digest, now)?;
        (end.into(), row.expires_at, approvals)
    };
    let event = Event::HoldDecided {
        hold: row.id.to_string(),
        digest: ballot.digest.to_string(),
        user: who(&by),
        decision: if ballot.approves { "approve" } else { "deny" }.to_owned(),
        reason: ballot.reason,
        approvals: u32::try_from(approvals).unwrap_or(u32::MAX),
        needed: row.facts.needed,
        policies: ballot.policies,
        withdrawn,
    };
    Ok(Step {
        to,
        seal: row.seal.clone(),
        expires_at,
        votes,
        events: vec![event],
        audited: Audited::MayWait,
    })
}

/// A row as the state machine knows it.
fn hold_of(row: &HoldRow) -> Hold {
    let terms = Terms {
        producer: row.facts.producer.clone(),
        needed: row.facts.needed,
        period: SignedDuration::from_secs(i64::try_from(row.facts.period_s).unwrap_or(i64::MAX)),
    };
    let end = |end| Hold::Ended(end);
    // A row without what its state needs can only have been damaged: it is void.
    let (Some(seal), Some(expires_at)) = (&row.seal, row.expires_at) else {
        return match row.state {
            Name::Open => Hold::Open(Open { terms }),
            _ => end(End::Void),
        };
    };
    let digest = seal.digest;
    match row.state {
        Name::Open => Hold::Open(Open { terms }),
        Name::Sealed => Hold::Sealed(Sealed {
            terms,
            digest,
            expires_at,
            approvals: row
                .votes
                .iter()
                .filter(|vote| vote.approves)
                .map(|vote| vote.by.clone())
                .collect(),
            watchers: row.watchers.clone(),
        }),
        Name::Approved => Hold::Approved(Approved {
            terms,
            digest,
            expires_at,
        }),
        Name::Releasing => Hold::Releasing(Releasing {
            terms,
            digest,
            expires_at,
        }),
        Name::Delivered => end(End::Delivered),
        Name::Denied => end(End::Denied),
        Name::Expired => end(End::Expired),
        Name::Cancelled => end(End::Cancelled),
        Name::Void => end(End::Void),
    }
}

fn ended(row: &HoldRow, end: End, reason: Option<String>) -> Step {
    let to = Name::from(end);
    Step {
        to,
        seal: row.seal.clone(),
        expires_at: row.expires_at,
        votes: row.votes.clone(),
        events: vec![Event::HoldEnded {
            hold: row.id.to_string(),
            state: to.as_str().to_owned(),
            reason,
        }],
        audited: Audited::MayWait,
    }
}

impl From<Refusal> for HoldError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Output that is coming in. If it is dropped without [`Live::seal`], nothing of it is ever
/// delivered.
pub(crate) struct Live {
    holds: Holds,
    id: HoldId,
    facts: Facts,
    /// Taken when it is sealed.
    payload: Option<Payload>,
    rows: u64,
    sealed: bool,
}

impl Live {
    pub(crate) fn id(&self) -> HoldId {
        self.id
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes bytes; they are not lost when the caller stops waiting afterwards.
    pub(crate) fn push(&mut self, stream: Stream, bytes: Withheld) -> Result<(), HoldError> {
        let payload = self.payload.as_ref().ok_or(HoldError::Unknown)?;
        let bytes = bytes.into_sealed_payload();
        if stream == Stream::Stdout {
            self.rows += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        Ok(payload.push(stream, &bytes)?)
    }

    /// The command that is held, as its payload.
    pub(crate) fn push_command(&mut self, command: &[u8]) -> Result<(), HoldError> {
        let payload = self.payload.as_ref().ok_or(HoldError::Unknown)?;
        Ok(payload.push(Stream::Stdout, command)?)
    }

    /// Waits for the disk where much has come. Cancel-safe.
    pub(crate) async fn flush(&self) -> Result<(), HoldError> {
        match &self.payload {
            Some(payload) => Ok(payload.flush().await?),
            None => Ok(()),
        }
    }

    /// What came is what can be decided: on disk, in the store and in the audit log when this
    /// returns. It comes to its end also when the caller stops waiting.
    pub(crate) async fn seal(
        self,
        fields: Vec<String>,
        status: Option<String>,
        preview: Vec<u8>,
    ) -> Result<HoldRow, HoldError> {
        let holds = self.holds.clone();
        holds.surely(self.sealed(fields, status, preview)).await
    }

    async fn sealed(
        mut self,
        fields: Vec<String>,
        status: Option<String>,
        preview: Vec<u8>,
    ) -> Result<HoldRow, HoldError> {
        let payload = self.payload.take().ok_or(HoldError::Unknown)?;
        let finished = payload.finish(preview).await?;
        let now = self.holds.now();
        let seal = Seal {
            digest: finished.digest,
            bytes: finished.bytes,
            rows: self.rows,
            fields,
            sealed_at: now,
            status,
        };
        let row = self
            .holds
            .step(self.id, now, None, move |row| sealed(row, seal, now))
            .await?;
        self.sealed = true;
        self.holds.after(&row).await?;
        Ok(row)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.sealed {
            lock(&self.holds.inner.orphans).push(self.id);
            self.holds.inner.changed.notify_one();
        }
    }
}

/// Bytes that a decision has released. Only this room makes them.
pub(crate) struct Released(Bytes);

impl Released {
    /// For the client's writer.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// A delivery under way; another one of the same hold is refused meanwhile.
struct Delivery {
    holds: Holds,
    id: HoldId,
}

impl Delivery {
    fn begin(holds: &Holds, id: HoldId) -> Result<Self, HoldError> {
        if lock(&holds.inner.delivering).insert(id) {
            Ok(Self {
                holds: holds.clone(),
                id,
            })
        } else {
            Err(HoldError::Delivering)
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        lock(&self.holds.inner.delivering).remove(&self.id);
        self.holds.inner.changed.notify_one();
    }
}

/// The leave to hand one hold's bytes to its producer, once. If it is dropped before
/// [`Release::delivered`], the same person may fetch it again.
pub(crate) struct Release {
    delivery: Delivery,
    reader: Option<Reader>,
}

impl Release {
    /// The next frames, in the order in which they came. Not cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Stream, Released)>>, HoldError> {
        next_frames(&mut self.reader).await
    }

    /// The client has everything: it is never delivered again, and erased.
    pub(crate) async fn delivered(self) -> Result<(), HoldError> {
        let holds = self.delivery.holds.clone();
        holds
            .step_through(self.delivery.id, holds.now(), None, delivered)
            .await?;
        Ok(())
    }
}

/// A sealed payload that somebody looks at.
pub(crate) struct Look {
    reader: Option<Reader>,
}

impl Look {
    /// The next frames. Not cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Stream, Released)>>, HoldError> {
        next_frames(&mut self.reader).await
    }
}

async fn next_frames(
    reader: &mut Option<Reader>,
) -> Result<Option<Vec<(Stream, Released)>>, HoldError> {
    let Some(taken) = reader.take() else {
        return Ok(None);
    };
    let (back, chunk) = taken.next().await?;
    let Some(mut chunk) = chunk else {
        return Ok(None);
    };
    *reader = Some(back);
    let mut frames: Vec<(Stream, Released)> = Vec::new();
    while let Some((stream, bytes)) =
        seal::decode(&mut chunk).map_err(|_| HoldError::Spool(SpoolError::Damaged))?
    {
        frames.push((stream, Released(bytes)));
    }
    Ok(Some(frames))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names that are tried before it is given up.
const NAMES: usize = 16;
/// At least so often the store is told what time it is.
const SWEEP: Duration = Duration::from_secs(30);
/// Changes that somebody who shows a list may fall behind.
const CHANGES: usize = 256;
/// No sweep follows another sooner, whatever is due.
const SHORTEST_SWEEP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
