//! The thread that brings files to the disk, so that nobody else waits for it.
//!
//! What somebody waits for (a start, an end, output that has to be on disk before it is
//! acknowledged) goes first; files that have grown follow each `recording.sync_interval`, one by one.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use recording::log::Leaf;

use super::disk;
use super::session::Session;
use super::wire::{EndEntry, Entry};
use super::work::Crew;

/// The queue of the thread.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    urgent: VecDeque<Urgent>,
    dirty: Vec<Arc<Session>>,
    /// When the dirty files are due; none while there are none.
    due: Option<Instant>,
    stop: bool,
}

/// What somebody waits for.
#[derive(Debug)]
pub(super) enum Urgent {
    /// The list has the start of this session.
    Started { session: Arc<Session> },
    /// The output up to here is in the file.
    Sync {
        session: Arc<Session>,
        position: u64,
    },
    /// The file is complete.
    Finish {
        session: Arc<Session>,
        entry: Box<EndEntry>,
        leaf: Box<Leaf>,
        answer: bool,
    },
}

impl Syncer {
    pub(super) fn push(&self, urgent: Urgent) {
        self.state().urgent.push_back(urgent);
        self.more.notify_one();
    }

    /// The session's file has grown.
    pub(super) fn note_dirty(&self, session: Arc<Session>) {
        let mut state = self.state();
        let due = Instant::now() + session.terms.sync_interval;
        state.dirty.push(session);
        // All go with the one that is due first.
        if state.due.is_none_or(|earlier| due < earlier) {
            state.due = Some(due);
            drop(state);
            self.more.notify_one();
        }
    }

    /// Ends the thread when nothing waits any more.
    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.more.notify_one();
    }

    /// The thread.
    pub(super) fn run(&self, crew: &Arc<Crew>) {
        let mut growing = VecDeque::new();
        while let Some(urgent) = self.next(&mut growing) {
            if urgent.is_empty() {
                if let Some(session) = growing.pop_front() {
                    sync_grown(crew, &session);
                }
            } else {
                settle(crew, urgent);
            }
        }
    }

    /// What is urgent; nothing, when it is the turn of a file in `growing`; `None` at the end.
    fn next(&self, growing: &mut VecDeque<Arc<Session>>) -> Option<VecDeque<Urgent>> {
        let mut state = self.state();
        loop {
            if !state.urgent.is_empty() || !growing.is_empty() {
                return Some(std::mem::take(&mut state.urgent));
            }
            let now = Instant::now();
            match state.due {
                Some(due) if due <= now || state.stop => {
                    state.due = None;
                    growing.extend(state.dirty.drain(..));
                }
                Some(due) => {
                    let waited = self.more.wait_timeout(state, due - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None if state.stop => return None,
                None => {
                    state = self
                        .more
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session whose leaf is written: its start, or its end and whether that is answered.
type Listed = (Arc<Session>, Option<(Box<EndEntry>, bool)>);

/// Does what is urgent, with one synchronisation of the list for all of it.
fn settle(crew: &Arc<Crew>, urgent: VecDeque<Urgent>) {
    let mut listed: Vec<Listed> = Vec::new();
    for urgent in urgent {
        match urgent {
            Urgent::Sync { session, position } => match session.file().sync_data() {
                Ok(()) => session.acknowledge_synced(position),
                Err(error) => session.sync_failed(crew, &error),
            },
            Urgent::Started { session } => listed.push((session, None)),
            Urgent::Finish {
                session,
                entry,
                leaf,
                answer,
            } => match finish(crew, &session, &leaf) {
                Ok(()) => listed.push((session, Some((entry, answer)))),
                Err(error) => {
                    session.sync_failed(crew, &error);
                    crew.forget(&session);
                }
            },
        }
    }
    if listed.is_empty() {
        return;
    }
    let synced = log_and_list(crew, &listed);
    for (session, end) in listed {
        match (&synced, end) {
            (Ok(()), None) => session.say_started(),
            (Ok(()), Some((entry, answer))) => {
                if answer {
                    session.say_ended(&entry.totals);
                }
                crew.forget(&session);
            }
            (Err(error), end) => {
                session.sync_failed(crew, error);
                if end.is_some() {
                    crew.forget(&session);
                }
            }
        }
    }
}

/// Brings leaves to the disk, then the list: what the list says has ended, the log knows.
fn log_and_list(crew: &Crew, listed: &[Listed]) -> io::Result<()> {
    crew.store.log.sync()?;
    for (entry, _) in listed.iter().filter_map(|(_, end)| end.as_ref()) {
        crew.store.append(&Entry::End((**entry).clone()))?;
    }
    crew.store.sync_list()
}

fn finish(crew: &Crew, session: &Session, leaf: &Leaf) -> io::Result<()> {
    disk::release(session.file())?;
    session.dirty.store(false, Ordering::Release);
    session.file().sync_all()?;
    name(crew, session)?;
    crew.store.log.append(leaf).map(drop)
}

fn sync_grown(crew: &Arc<Crew>, session: &Arc<Session>) {
    if !session.dirty.swap(false, Ordering::AcqRel) {
        return;
    }
    let synced = session
        .file()
        .sync_data()
        .and_then(|()| name(crew, session));
    if let Err(error) = synced {
        session.sync_failed(crew, &error);
    }
}

/// Brings the file's name to the disk, once.
fn name(crew: &Crew, session: &Session) -> io::Result<()> {
    if !session.named.load(Ordering::Acquire) {
        crew.store.sync_day(session.started_at)?;
        session.named.store(true, Ordering::Release);
    }
    Ok(())
}
