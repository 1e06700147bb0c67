//! The sessions that run now, for the console.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// What is known of a session while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Whose it is.
    pub(crate) identity: Identity,
    end: CancellationToken,
}

impl Registry {
    /// A session has begun; it is forgotten when the answer is dropped.
    pub(crate) fn begin(&self, session: &str, identity: &Identity) -> Active {
        let end = CancellationToken::new();
        let running = Running {
            identity: identity.clone(),
            end: end.clone(),
        };
        self.lock().insert(session.to_owned(), running);
        Active {
            session: session.to_owned(),
            end,
            registry: self.clone(),
        }
    }

    /// Ends every session of a person; says how many.
    pub(crate) fn end_all_of(&self, identity: &Identity) -> usize {
        let sessions = self.lock();
        let theirs = sessions
            .values()
            .filter(|running| running.identity == *identity);
        theirs.map(|running| running.end.cancel()).count()
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
    session: String,
    end: CancellationToken,
    registry: Registry,
}

impl Active {
    /// Ends the session.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// Cancelled when this session, or everything, is to end.
    pub(crate) fn stop(&self, all: &CancellationToken) -> Stop {
        Stop {
            all: all.clone(),
            this: self.end.clone(),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut sessions = self.registry.lock();
        sessions.remove(&self.session);
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
}
