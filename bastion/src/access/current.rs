//! The policies that are in force, and when that changes.
//!
//! Whoever asks gets the policies of that moment and keeps them as long as they like: a reload puts
//! others in their place, and never changes what somebody holds.

use std::sync::Arc;

use tokio::sync::watch;

use super::Access;

/// The place where the policies in force are kept.
#[derive(Debug)]
pub struct Current {
    access: watch::Sender<Arc<Access>>,
}

impl Current {
    /// Begins with these policies.
    pub fn new(access: Access) -> Self {
        Self {
            access: watch::Sender::new(Arc::new(access)),
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
        self.access.send_replace(Arc::new(access));
    }
}
