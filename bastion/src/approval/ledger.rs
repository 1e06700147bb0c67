//! The time that what waits lives by, and the way of its events into the audit log.
//!
//! An event is written into the store's outbox in the transaction of its step; from there it goes
//! to the audit log, and is taken out once the log has it on disk. So a step that happened is in
//! the log, also when the machine stopped in between; an event can be there twice.

use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;

use super::Clock;
use crate::audit::{Audit, AuditError, Event};
use crate::login::KeyId;
use crate::store::{Store, StoreError};

/// The ledger of this bastion. A clone is the same.
#[derive(Clone)]
pub(crate) struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    log: Log,
    clock: Clock,
    telling: tokio::sync::Mutex<()>,
}

/// Writes events to the audit log, in order; they are on disk when it answers.
pub(crate) type Log = Box<dyn Fn(Vec<Event>) -> Written + Send + Sync>;
type Written = Pin<Box<dyn Future<Output = Result<(), AuditError>> + Send>>;

/// The log of this bastion.
pub(crate) fn log_of(audit: Audit) -> Log {
    Box::new(move |mut events| {
        let audit = audit.clone();
        Box::pin(async move {
            let Some(last) = events.pop() else {
                return Ok(());
            };
            for event in events {
                audit.record_soon(event)?;
            }
            // Written in order, so that the last one on disk means all.
            audit.record(last).await
        })
    })
}

/// Why events are not in the audit log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Ledger {
    /// Begins at the latest time that was ever written down, or now.
    pub(crate) async fn start(store: Store, log: Log) -> Result<Self, StoreError> {
        let high_water = store.high_water().await?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                log,
                clock: Clock::new(Timestamp::now(), high_water),
                telling: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Writes what waits in the outbox to the audit log. All of it is on disk when this returns.
    pub(crate) async fn tell(&self) -> Result<(), LedgerError> {
        let _one = self.inner.telling.lock().await;
        loop {
            let waiting = self.inner.store.outbox().await?;
            let Some((last, _)) = waiting.last() else {
                return Ok(());
            };
            let last = *last;
            let events = waiting.into_iter().map(|(_, event)| event).collect();
            (self.inner.log)(events).await?;
            self.inner.store.outbox_done(last).await?;
        }
    }

    /// When a key was first seen.
    pub(crate) async fn key_since(&self, key: &KeyId) -> Result<Option<Timestamp>, StoreError> {
        self.inner.store.key_since(key).await
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, by: jiff::SignedDuration) {
        self.inner.clock.advance(by);
    }
}
