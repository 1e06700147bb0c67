//! Channels that are no sessions: those that we open on a client's connection, for its agent, and
//! the place that each channel of bytes has in the connection's flow control and count.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::ChannelId;
use russh::server::Handle;

use super::channel::{ClientEnd, Common, Form};
use super::flow::Flow;

/// The flow control of one connection: its callbacks and whoever opens a channel share it. Never
/// locked while something waits.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Flow<ChannelId>>>);

impl Shared {
    pub(super) fn new(flow: Flow<ChannelId>) -> Self {
        Self(Arc::new(Mutex::new(flow)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Flow<ChannelId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens channels to the agent of one client.
#[derive(Clone)]
pub(crate) struct AgentOpener {
    pub(super) handle: Handle,
    pub(super) common: Common,
    /// Open channels that we opened.
    pub(super) ours: Arc<AtomicUsize>,
    /// As many as this.
    pub(super) limit: usize,
}

impl std::fmt::Debug for AgentOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentOpener").finish_non_exhaustive()
    }
}

impl AgentOpener {
    /// How many such channels a client may have at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A channel to the client's agent; `None` where the client opens none, or too many are open.
    /// Where it is cancelled, a refusal that comes later ends the connection (the library's).
    pub(crate) async fn open(&self) -> Option<ClientEnd> {
        let counted = Counted::new(&self.ours, self.limit)?;
        let channel = self.handle.channel_open_agent().await.ok()?;
        // Its data may have come before this.
        let handle = self.handle.clone();
        Some(
            self.common
                .bytes(channel, Form::open(), Some(counted), handle),
        )
    }
}

/// A channel's place in the flow control, given back when it is dropped: one that is never opened
/// is never closed either.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: ChannelId,
    pub(super) flow: Shared,
    pub(super) _counted: Option<Counted>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.flow.lock().closed(self.id);
    }
}

/// One of the channels that we opened, as long as this lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(ours: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        ours.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < limit).then_some(open + 1)
        })
        .ok()
        .map(|_| Self(ours.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
