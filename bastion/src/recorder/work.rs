//! The threads that compress and write, the clock that sends them, and who is being recorded.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use recording::log::Leaf;
use recording::write::{Head, Presses};
use serde_json::{Map, Value, json};

use super::audit::Audit;
use super::expire::{self, Keep};
use super::link::Question;
use super::log::now_ms;
use super::session::Session;
use super::store::Store;
use super::syncer::{Syncer, Urgent};
use super::terms::Terms;
use super::wire::{Entry, Failure, StartEntry};
use crate::record::{About, SessionId};

/// Everybody who works in the recorder.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) store: Store,
    pub(super) presses: Presses,
    pub(super) syncer: Syncer,
    pub(super) audit: Audit,
    keep: Keep,
    jobs: Mutex<Jobs>,
    /// One for each worker.
    more: Vec<Condvar>,
    /// The sessions that the clock looks at.
    active: Mutex<Active>,
    awake: Condvar,
    /// The sessions whose files are not complete.
    live: Mutex<HashMap<SessionId, Arc<Session>>>,
    fewer: Condvar,
    /// A new key of the log is wanted before its time.
    new_key: AtomicBool,
    /// Held by whoever removes recordings, or parts of them.
    removing: Mutex<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// The workers that wait for one, the one that has waited longest first. The last is called
    /// first: what it worked with is still near its core, and one worker is enough for one session.
    idle: Vec<usize>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Active {
    sessions: Vec<Arc<Session>>,
    stop: bool,
}

/// Something for a worker.
#[derive(Debug)]
pub(super) enum Job {
    Session(Arc<Session>),
    Question(Question),
}

impl Crew {
    /// Starts the threads.
    pub(super) fn start(store: Store, keep: Keep) -> io::Result<Arc<Self>> {
        let audit = Audit::open(store.open_audit()?)?;
        let workers = thread::available_parallelism()?
            .get()
            .clamp(WORKERS.0, WORKERS.1);
        let crew = Arc::new(Self {
            audit,
            keep,
            store,
            presses: Presses::new(SPARE_PRESSES),
            syncer: Syncer::default(),
            jobs: Mutex::default(),
            more: (0..workers).map(|_| Condvar::new()).collect(),
            active: Mutex::default(),
            awake: Condvar::new(),
            live: Mutex::default(),
            fewer: Condvar::new(),
            new_key: AtomicBool::new(false),
            removing: Mutex::default(),
            threads: Mutex::default(),
        });
        let mut threads = Vec::new();
        for number in 0..workers {
            let crew = crew.clone();
            let name = format!("worker {number}");
            threads.push(
                thread::Builder::new()
                    .name(name)
                    .spawn(move || crew.work(number))?,
            );
        }
        let others = [
            ("clock", Self::tick as fn(&Arc<Self>)),
            ("syncer", |crew| crew.syncer.run(crew)),
            ("audit", |crew| crew.audit.run(&crew.store.log)),
            ("notary", |crew| crew.notarize()),
        ];
        for (name, run) in others {
            let crew = crew.clone();
            threads.push(
                thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(move || run(&crew))?,
            );
        }
        *lock(&crew.threads) = threads;
        Ok(crew)
    }

    /// Makes a recording, and has its start brought to the disk before it is answered.
    pub(super) fn start_session(
        &self,
        about: &About,
        terms: &Terms,
        make: impl FnOnce(SessionId) -> io::Result<Arc<Session>>,
    ) -> Result<Arc<Session>, Failure> {
        let failed = |error: io::Error| Failure::Io(error.to_string());
        if let Some(what) = self.audit.failure() {
            return Err(Failure::Io(format!("the audit log: {what}")));
        }
        if !self.store.has_room(terms).map_err(failed)? {
            tracing::error!("the disk of the recordings is nearly full: a session is refused");
            return Err(Failure::Low);
        }
        let mut bits = [0; 16];
        aws_lc_rs::rand::fill(&mut bits)
            .map_err(|_| Failure::Io("no random numbers".to_owned()))?;
        let session = make(SessionId::of(u128::from_le_bytes(bits))).map_err(|error| {
            if super::disk::is_full(&error) {
                Failure::Full
            } else {
                failed(error)
            }
        })?;
        let told = about_leaf(about);
        let mut about = about.clone();
        if let Some(command) = &mut about.command {
            command.truncate(LISTED_COMMAND);
        }
        about.signed_in = None;
        let entry = StartEntry {
            id: session.id,
            at: session.started_at,
            about,
        };
        let leaf = Leaf::Start {
            at_ms: now_ms(),
            session: session.id.to_string(),
            head: session.first,
            about: told,
        };
        self.store.log.append(&leaf).map_err(failed)?;
        self.store.append(&Entry::Start(entry)).map_err(failed)?;
        lock(&self.live).insert(session.id, session.clone());
        Ok(session)
    }

    /// The start of the session is answered when it is on disk.
    pub(super) fn announce(&self, session: Arc<Session>) {
        self.syncer.push(Urgent::Started {
            session: session.clone(),
        });
        self.syncer.note_dirty(session);
    }

    /// A worker is to take the session.
    pub(super) fn schedule(&self, session: Arc<Session>) {
        self.give(Job::Session(session));
    }

    pub(super) fn give(&self, job: Job) {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.push_back(job);
        let called = jobs.idle.pop();
        drop(jobs);
        if let Some(more) = called.and_then(|worker| self.more.get(worker)) {
            more.notify_one();
        }
    }

    /// The session wants a worker again, says the one that has just been with it: that one looks for
    /// its next job now, so that nobody is called.
    pub(super) fn schedule_again(&self, session: Arc<Session>) {
        lock(&self.jobs).waiting.push_back(Job::Session(session));
    }

    /// The clock is to look at the session.
    pub(super) fn activate(&self, session: Arc<Session>) {
        let mut active = lock(&self.active);
        active.sessions.push(session);
        if active.sessions.len() == 1 {
            self.awake.notify_one();
        }
    }

    /// Nobody else removes recordings, or parts of them, meanwhile.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        lock(&self.removing)
    }

    /// Whether the session is being recorded, or its file not complete.
    pub(super) fn is_live(&self, session: &SessionId) -> bool {
        lock(&self.live).contains_key(session)
    }

    /// The session's file is complete, or nothing can be done for it.
    pub(super) fn forget(&self, session: &Session) {
        lock(&self.live).remove(&session.id);
        self.fewer.notify_all();
    }

    /// Waits until every file is complete, `patience` at most, and ends the threads.
    pub(super) fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut live = lock(&self.live);
        while !live.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                tracing::error!(
                    sessions = live.len(),
                    "not every recording could be finished"
                );
                break;
            };
            live = self
                .fewer
                .wait_timeout(live, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(live);
        lock(&self.jobs).stop = true;
        for more in &self.more {
            more.notify_one();
        }
        lock(&self.active).stop = true;
        self.awake.notify_all();
        self.syncer.stop();
        self.store.log.stop();
        self.audit.stop();
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the recorder panicked");
            }
        }
        if let Err(error) = self.log_audit().and_then(|()| self.store.log.checkpoint()) {
            tracing::error!(%error, "the last leaves of the log are not signed");
        }
    }

    /// The log is to have a new key soon.
    pub(super) fn want_new_key(&self) {
        self.new_key.store(true, Ordering::Release);
        self.store.log.nudge();
    }

    /// Logs the heads of what is live, signs checkpoints, changes the key.
    fn notarize(self: &Arc<Self>) {
        let mut logged = HashMap::new();
        let mut heads_at = Instant::now() + HEADS;
        let mut expire_at = Instant::now();
        loop {
            let patience = heads_at.min(expire_at);
            let patience = patience.saturating_duration_since(Instant::now());
            let (due, goes_on) = self.store.log.wait(patience, KEY_LIFE);
            if !goes_on {
                return;
            }
            let mut done = Ok(());
            if heads_at <= Instant::now() {
                heads_at = Instant::now() + HEADS;
                done = self.log_heads(&mut logged);
            }
            if expire_at <= Instant::now() {
                // The log is signed while a long recording is rewritten: that can wait.
                let alone = self.removing.try_lock();
                expire_at = Instant::now() + if alone.is_ok() { EXPIRE } else { EXPIRE_SOON };
                if alone.is_ok() {
                    done = done.and_then(|()| self.expire());
                }
            }
            if due.key || self.new_key.swap(false, Ordering::AcqRel) {
                done = done.and_then(|()| self.store.log.rotate());
            } else if due.checkpoint {
                done = done
                    .and_then(|()| self.log_audit())
                    .and_then(|()| self.store.log.checkpoint());
            }
            if let Err(error) = done {
                tracing::error!(%error, "the log cannot be written; it is tried again");
                thread::sleep(LOG_PAUSE);
            }
        }
    }

    fn expire(&self) -> io::Result<()> {
        let live = lock(&self.live).keys().copied().collect();
        expire::run(&self.store, &self.audit, self.keep, &live)
    }

    /// A leaf for the lines of the audit log that are new.
    fn log_audit(&self) -> io::Result<()> {
        match self.audit.leaf() {
            Some(leaf) => self.store.log.append(&leaf).map(drop),
            None => Ok(()),
        }
    }

    /// A leaf for each live session whose file has grown.
    fn log_heads(self: &Arc<Self>, logged: &mut HashMap<SessionId, Head>) -> io::Result<()> {
        let live: Vec<_> = lock(&self.live).values().cloned().collect();
        logged.retain(|id, _| live.iter().any(|session| session.id == *id));
        for session in live {
            let Some(head) = session.head() else { continue };
            if head == session.first || logged.get(&session.id) == Some(&head) {
                continue;
            }
            // What the log says is in a file must not be lost with the machine's power.
            if let Err(error) = session.file().sync_data() {
                session.sync_failed(self, &error);
                continue;
            }
            self.store.log.append(&Leaf::Head {
                at_ms: now_ms(),
                session: session.id.to_string(),
                head,
            })?;
            logged.insert(session.id, head);
        }
        Ok(())
    }

    fn work(self: &Arc<Self>, worker: usize) {
        while let Some(job) = self.next_job(worker) {
            match job {
                Job::Session(session) => session.work(self),
                Job::Question(question) => question.answer(self),
            }
        }
    }

    fn next_job(&self, worker: usize) -> Option<Job> {
        let more = self.more.get(worker)?;
        let mut jobs = lock(&self.jobs);
        loop {
            // Woken by nobody, it would still be among those who wait.
            jobs.idle.retain(|idle| *idle != worker);
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.stop {
                return None;
            }
            jobs.idle.push(worker);
            jobs = more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn tick(self: &Arc<Self>) {
        loop {
            let mut active = lock(&self.active);
            while active.sessions.is_empty() && !active.stop {
                active = self
                    .awake
                    .wait(active)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if active.stop {
                return;
            }
            drop(active);
            thread::sleep(TICK);
            let mut workers = Vec::new();
            lock(&self.active).sessions.retain(|session| {
                let wanted = session.look();
                if wanted.worker {
                    workers.push(session.clone());
                }
                wanted.clock
            });
            for session in workers {
                self.schedule(session);
            }
        }
    }
}

/// Who, where and what, without what a command line may hold: its hash stands for it.
fn about_leaf(about: &About) -> Map<String, Value> {
    let mut leaf = match serde_json::to_value(about) {
        Ok(Value::Object(leaf)) => leaf,
        _ => Map::new(),
    };
    leaf.remove("command");
    leaf.remove("signed_in");
    if let Some(command) = &about.command {
        let hash = recording::seal::Hash::of(command);
        leaf.insert("command_sha256".to_owned(), json!(hash));
    }
    leaf
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Workers, at least and at most: a slow disk must not stop everybody.
const WORKERS: (usize, usize) = (2, 8);
/// Compression contexts that are kept when nobody needs them.
const SPARE_PRESSES: usize = 4;
/// Between two leaves of a live session.
const HEADS: Duration = Duration::from_secs(60);
/// Between two looks for recordings whose time is over.
const EXPIRE: Duration = Duration::from_secs(3600);
/// After that was not possible.
const EXPIRE_SOON: Duration = Duration::from_secs(60);
/// How long one key signs the log.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// After the log could not be written.
const LOG_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks of the clock.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of a command in the list; the recording has all of it.
const LISTED_COMMAND: usize = 1024;
