//! The threads that compress and write, the clock that sends them, and who is being recorded.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use recording::write::Presses;

use super::link::Question;
use super::session::Session;
use super::store::Store;
use super::syncer::{Syncer, Urgent};
use super::wire::{Entry, Failure, StartEntry};
use crate::record::{About, SessionId};

/// Everybody who works in the recorder.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) store: Store,
    pub(super) presses: Presses,
    pub(super) syncer: Syncer,
    jobs: Mutex<Jobs>,
    more: Condvar,
    /// The sessions that the clock looks at.
    active: Mutex<Active>,
    awake: Condvar,
    /// The sessions whose files are not complete.
    live: Mutex<HashMap<SessionId, Arc<Session>>>,
    fewer: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
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
    pub(super) fn start(store: Store) -> io::Result<Arc<Self>> {
        let crew = Arc::new(Self {
            store,
            presses: Presses::new(SPARE_PRESSES),
            syncer: Syncer::default(),
            jobs: Mutex::default(),
            more: Condvar::new(),
            active: Mutex::default(),
            awake: Condvar::new(),
            live: Mutex::default(),
            fewer: Condvar::new(),
            threads: Mutex::default(),
        });
        let workers = thread::available_parallelism()?
            .get()
            .clamp(WORKERS.0, WORKERS.1);
        let mut threads = Vec::new();
        for number in 0..workers {
            let crew = crew.clone();
            let name = format!("worker {number}");
            threads.push(
                thread::Builder::new()
                    .name(name)
                    .spawn(move || crew.work())?,
            );
        }
        let others = [
            ("clock", Self::tick as fn(&Arc<Self>)),
            ("syncer", |crew| crew.syncer.run(crew)),
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
        make: impl FnOnce(SessionId) -> io::Result<Arc<Session>>,
    ) -> Result<Arc<Session>, Failure> {
        let failed = |error: io::Error| Failure::Io(error.to_string());
        if !self.store.has_room().map_err(failed)? {
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
        let mut about = about.clone();
        if let Some(command) = &mut about.command {
            command.truncate(LISTED_COMMAND);
        }
        let entry = StartEntry {
            id: session.id,
            at: session.started_at,
            about,
        };
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
        lock(&self.jobs).waiting.push_back(job);
        self.more.notify_one();
    }

    /// The clock is to look at the session.
    pub(super) fn activate(&self, session: Arc<Session>) {
        let mut active = lock(&self.active);
        active.sessions.push(session);
        if active.sessions.len() == 1 {
            self.awake.notify_one();
        }
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
        self.more.notify_all();
        lock(&self.active).stop = true;
        self.awake.notify_all();
        self.syncer.stop();
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the recorder panicked");
            }
        }
    }

    fn work(self: &Arc<Self>) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Session(session) => session.work(self),
                Job::Question(question) => question.answer(self),
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.stop {
                return None;
            }
            jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Workers, at least and at most: a slow disk must not stop everybody.
const WORKERS: (usize, usize) = (2, 8);
/// Compression contexts that are kept when nobody needs them.
const SPARE_PRESSES: usize = 4;
/// Between two looks of the clock.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of a command in the list; the recording has all of it.
const LISTED_COMMAND: usize = 1024;
