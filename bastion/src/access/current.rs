//! The policies that are in force, and when that changes.
//!
//! Whoever asks gets the policies of that moment and keeps them as long as they like: a reload puts
//! others in their place, and never changes what somebody holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::Access;

/// The place where the policies in force are kept.
#[derive(Debug)]
pub struct Current {
    access: watch::Sender<Arc<Access>>,
    applied: AtomicU64,
    refused: AtomicU64,
}

/// How reloads went since the start, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloads {
    /// Policies that came into force.
    pub applied: u64,
    /// Policies that were wrong, so that the earlier ones stayed.
    pub refused: u64,
}

impl Current {
    /// Begins with these policies.
    pub fn new(access: Access) -> Self {
        Self {
            access: watch::Sender::new(Arc::new(access)),
            applied: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The policies in force now.
    pub fn now(&self) -> Arc<Access> {
        self.access.borrow().clone()
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<Arc<Access>> {
        self.access.subscribe()
    }

    /// Puts others in force.
    pub fn replace(&self, access: Access) {
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.access.send_replace(Arc::new(access));
    }

    /// Notes that others were wrong, so that these stay.
    pub fn keep(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How reloads went.
    pub fn reloads(&self) -> Reloads {
        Reloads {
            applied: self.applied.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
