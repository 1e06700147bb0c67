//! How much the clients of one connection may send: one target for the window, answered by the
//! channel that holds most, so that what is queued here stays within two windows a channel.
//!
//! Pure: counts in, a window out. The SSH library knows one target per connection and grants on
//! receipt, whichever channel triggers it; the facts are in `docs/decisions.md`.

use std::collections::HashMap;
use std::hash::Hash;

use super::channel::Backlog;

/// The channels of one connection and what of theirs is queued.
#[derive(Debug)]
pub(super) struct Flow<Id> {
    window: u32,
    channels: HashMap<Id, Backlog>,
}

impl<Id: Copy + Eq + Hash> Flow<Id> {
    /// No channel yet; each may have `window` bytes on the way.
    pub(super) fn new(window: u32) -> Self {
        Self {
            window,
            channels: HashMap::new(),
        }
    }

    /// A channel was opened. The counter is shared with whoever takes its data.
    pub(super) fn opened(&mut self, id: Id) -> Backlog {
        let backlog = Backlog::default();
        self.channels.insert(id, backlog.clone());
        backlog
    }

    /// A channel was closed: what it still holds no longer narrows the others.
    pub(super) fn closed(&mut self, id: Id) {
        self.channels.remove(&id);
    }

    /// `n` bytes arrived on a channel.
    pub(super) fn arrived(&self, id: Id, n: usize) {
        if let Some(backlog) = self.channels.get(&id) {
            backlog.arrived(n);
        }
    }

    /// The window to grant from now on; never below 2, since 1 would stop a channel for good.
    pub(super) fn target(&self, trigger: Id) -> u32 {
        let limit = 2 * self.window as usize;
        let room = |backlog: &Backlog| limit.saturating_sub(backlog.bytes());
        if self
            .channels
            .values()
            .any(|backlog| backlog.bytes() > CUT_OFF)
        {
            return TRICKLE;
        }
        let stalled = self.window as usize / 32;
        let smallest_free = self
            .channels
            .values()
            .map(room)
            .filter(|room| *room >= stalled)
            .min()
            .unwrap_or(limit);
        match self.channels.get(&trigger).map(room) {
            Some(room) if room < stalled => TRICKLE,
            _ => self
                .window
                .min(u32::try_from(smallest_free).unwrap_or(self.window))
                .max(TRICKLE),
        }
    }
}

/// A window that keeps a channel alive and lets next to nothing through.
const TRICKLE: u32 = 2;
/// Queued bytes of one channel over which nobody is granted more (limits.md).
const CUT_OFF: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u32 = 2 * 1024 * 1024;

    #[test]
    fn an_empty_queue_grants_the_whole_window() {
        let mut flow = Flow::new(WINDOW);
        flow.opened(1);
        assert_eq!(flow.target(1), WINDOW);
    }

    #[test]
    fn a_stalled_channel_trickles_and_its_sibling_goes_on() {
        let mut flow = Flow::new(WINDOW);
        flow.opened(1);
        flow.opened(2);
        flow.arrived(1, 2 * WINDOW as usize);
        assert_eq!(flow.target(1), TRICKLE);
        assert_eq!(flow.target(2), WINDOW);
    }

    #[test]
    fn a_channel_far_over_its_queue_stops_everyone() {
        let mut flow = Flow::new(WINDOW);
        flow.opened(1);
        flow.opened(2);
        flow.arrived(1, CUT_OFF + 1);
        assert_eq!(flow.target(2), TRICKLE);
        flow.closed(1);
        assert_eq!(flow.target(2), WINDOW);
    }

    #[test]
    fn the_grant_narrows_before_a_channel_stalls() {
        let mut flow = Flow::new(WINDOW);
        flow.opened(1);
        flow.arrived(1, WINDOW as usize + WINDOW as usize / 2);
        assert_eq!(flow.target(1), WINDOW / 2);
    }
}
