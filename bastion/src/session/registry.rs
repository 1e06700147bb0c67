//! The sessions that run now, for the console.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::login::Identity;

/// The sessions of this process. A clone is the same registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sessions: Mutex<BTreeMap<String, Running>>,
    emptied: Notify,
    closed: AtomicBool,
}

/// Whose a session is, and where it runs.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    /// The person.
    pub(crate) identity: Identity,
    /// The lease that the session depends on.
    pub(crate) lease: i64,
    /// The target's name.
    pub(crate) target: String,
    /// The account there.
    pub(crate) login: String,
}

/// What is known of a session while it runs.
#[derive(Debug)]
struct Running {
    of: Of,
    end: Arc<End>,
    /// The recorder has failed, and it goes on.
    unrecorded: bool,
}

/// The end of one session from outside, and the line that says why.
#[derive(Debug, Default)]
struct End {
    asked: CancellationToken,
    line: OnceLock<&'static str>,
}

impl End {
    /// The first to ask gives the line.
    fn ask(&self, line: &'static str) {
        self.line.get_or_init(|| line);
        self.asked.cancel();
    }
}

impl Registry {
    /// A session has begun; it is forgotten when the answer is dropped.
    pub(crate) fn begin(&self, session: &str, of: Of) -> Active {
        let end = Arc::new(End::default());
        let running = Running {
            of,
            end: end.clone(),
            unrecorded: false,
        };
        self.lock().insert(session.to_owned(), running);
        Active {
            session: Mutex::new(session.to_owned()),
            end,
            registry: self.clone(),
        }
    }

    /// The sessions that run, with whose they are.
    pub(crate) fn running(&self) -> Vec<(String, Of)> {
        let sessions = self.lock();
        let each = sessions.iter();
        each.map(|(id, running)| (id.clone(), running.of.clone()))
            .collect()
    }

    /// Ends the sessions that `which` picks, each with `line` for its client; says how many.
    pub(crate) fn end_where(&self, line: &'static str, which: impl Fn(&str, &Of) -> bool) -> usize {
        let sessions = self.lock();
        let picked = sessions
            .iter()
            .filter(|(id, running)| which(id, &running.of));
        picked.map(|(_, running)| running.end.ask(line)).count()
    }

    /// Ends every session of a person; says how many.
    pub(crate) fn end_all_of(&self, identity: &Identity) -> usize {
        self.end_where(SIGNED_OUT, |_, of| of.identity == *identity)
    }

    /// Whether a session of this name runs, and nobody records it.
    pub(crate) fn is_unrecorded(&self, session: &str) -> bool {
        let sessions = self.lock();
        sessions
            .get(session)
            .is_some_and(|running| running.unrecorded)
    }

    /// How many run that nobody records.
    pub(crate) fn count_unrecorded(&self) -> usize {
        let sessions = self.lock();
        let running = sessions.values();
        running.filter(|running| running.unrecorded).count()
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// No new session is to begin.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Whether no new session is to begin.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Returns when none runs.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that runs, as long as this lives.
#[derive(Debug)]
pub(crate) struct Active {
    session: Mutex<String>,
    end: Arc<End>,
    registry: Registry,
}

impl Active {
    /// Ends the session, whose sign-in is over.
    pub(crate) fn end(&self) {
        self.end.ask(SIGNED_OUT);
    }

    /// Ends the session, with the line that says why.
    pub(crate) fn cut(&self, line: &'static str) {
        self.end.ask(line);
    }

    /// Nobody records it from now on.
    pub(crate) fn unrecorded(&self) {
        let name = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = self.registry.lock().get_mut(&*name) {
            running.unrecorded = true;
        }
    }

    /// It is recorded again, under another name, by which it is known here from now on.
    pub(crate) fn rename(&self, session: &str) {
        let mut name = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = self.registry.lock();
        if let Some(mut running) = sessions.remove(&*name) {
            running.unrecorded = false;
            sessions.insert(session.to_owned(), running);
            session.clone_into(&mut name);
        }
    }

    /// Cancelled when this session, or everything, is to end.
    pub(crate) fn stop(&self, all: &CancellationToken) -> Stop {
        Stop {
            all: all.clone(),
            this: self.end.asked.clone(),
            end: self.end.clone(),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let name = self
            .session
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut sessions = self.registry.lock();
        sessions.remove(name);
        if sessions.is_empty() {
            self.registry.0.emptied.notify_waiters();
        }
    }
}

/// Who may end a session from outside.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(super) all: CancellationToken,
    pub(super) this: CancellationToken,
    end: Arc<End>,
}

impl Stop {
    /// The line of whoever ended this session.
    pub(super) fn line(&self) -> &'static str {
        self.end.line.get().copied().unwrap_or(SIGNED_OUT)
    }
}

/// What a client is told whose lease is over.
const SIGNED_OUT: &str = "the session was ended: the sign-in is over; connect again to sign in";

#[cfg(test)]
mod tests {
    use super::*;

    /// A session whose recording goes on under another name is one session all the same.
    #[test]
    fn a_renamed_session_is_ended_by_its_new_name_and_forgotten() {
        let registry = Registry::default();
        let of = Of {
            identity: Identity {
                issuer: "https://id.example.test".to_owned(),
                subject: "7".to_owned(),
            },
            lease: 1,
            target: "lab-1".to_owned(),
            login: "app".to_owned(),
        };
        let active = registry.begin("first", of);
        active.unrecorded();
        assert!(registry.is_unrecorded("first"));
        active.rename("second");
        assert_eq!(registry.len(), 1);
        assert!(!registry.is_unrecorded("second"));
        assert_eq!(registry.end_where("over", |id, _| id == "first"), 0);
        assert_eq!(registry.end_where("over", |id, _| id == "second"), 1);
        assert_eq!(active.stop(&CancellationToken::new()).line(), "over");
        drop(active);
        assert_eq!(registry.len(), 0);
    }
}
