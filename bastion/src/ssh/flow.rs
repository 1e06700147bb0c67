//! How much the clients of one connection may send, so that what is queued here stays bounded and
//! a channel that nobody reads from stops itself and none of its siblings.
//!
//! Pure: counts and times in, a window out, and a request to the socket ([`Pace`]).
//!
//! The SSH library knows one target window per *connection*. After each packet it grants the
//! packet's channel up to that target if less than half of it is left, and then asks us for the
//! target of the *next* grant, whichever channel that will go to. A target of 2 leaves at least
//! one byte after every packet, so a client with data always sends again: no channel is ever
//! stuck, and none may be given less.
//!
//! While a channel is stalled, whose backlog has grown to its limit, the art is to let the next
//! grant go to a free channel. A stalled channel that just got its 2 bytes cannot send before
//! that grant arrives. So the grant is held back with the rest of our output, and once every
//! stalled channel waits so, the next grant can only be a free channel's: the target is then its
//! whole window, for one grant.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::channel::Backlog;
use crate::config::Limits;

/// The channels of one connection: what of theirs is queued, and what they may send.
#[derive(Debug)]
pub(super) struct Flow<Id> {
    bounds: Bounds,
    pace: Arc<Pace>,
    channels: HashMap<Id, Channel>,
    /// Packets that arrived so far.
    clock: u64,
    /// Whether a channel was stalled when last looked.
    pressed: bool,
    /// Whether the library's target is now one that was meant for a free channel.
    offered: bool,
    /// How often what is offered was halved, because a stalled channel took it.
    halvings: u32,
    /// Whether the last grant went to a free channel that needs more than it got.
    in_need: bool,
}

impl<Id: Copy + Eq + Hash> Flow<Id> {
    /// No channel yet; each may have a window of bytes on the way. `pace` is the socket's.
    pub(super) fn new(bounds: Bounds, pace: Arc<Pace>) -> Self {
        Self {
            bounds,
            pace,
            channels: HashMap::new(),
            clock: 0,
            pressed: false,
            offered: false,
            halvings: 0,
            in_need: false,
        }
    }

    /// A channel was opened, with the whole window, or is known already. The counter is shared with
    /// whoever takes its data.
    pub(super) fn opened(&mut self, id: Id) -> Backlog {
        let window = self.bounds.window;
        let channel = self
            .channels
            .entry(id)
            .or_insert_with(|| Channel::new(window));
        channel.backlog.clone()
    }

    /// A channel was closed: what it still holds no longer narrows the others.
    pub(super) fn closed(&mut self, id: Id) {
        self.channels.remove(&id);
        if self.pressed && !self.any_stalled() {
            self.relax();
        }
    }

    /// `n` bytes arrived on a channel, which may send `left` more: the library's count after this
    /// packet and the grant that may have followed it.
    ///
    /// # Errors
    /// The client sent more than it may (RFC 4254, section 5.2). The library lets this pass.
    pub(super) fn arrived(
        &mut self,
        id: Id,
        n: usize,
        left: u32,
        now: Instant,
    ) -> Result<(), Overrun> {
        self.clock += 1;
        let limit = self.limit();
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let allowed = std::mem::replace(&mut channel.left, left);
        if n > allowed as usize {
            return Err(Overrun);
        }
        channel.backlog.arrived(n);
        channel.sent = self.clock;
        channel.sent_at = Some(now);
        if self.pressed || channel.room(limit) < self.least_room() {
            self.pressed = true;
            self.set_nap(now);
        }
        Ok(())
    }

    /// The target window for the grant after this one, which gave `trigger` up to `granted`.
    /// Comes before [`Self::arrived`] for the same packet. Never below 2.
    pub(super) fn target(&mut self, trigger: Id, granted: u32, now: Instant) -> u32 {
        if let Some(channel) = self.channels.get_mut(&trigger) {
            channel.sent_at = Some(now);
        }
        let offered = std::mem::replace(&mut self.offered, false);
        if self.is_over_the_line() {
            self.pressed = true;
            self.release();
            return TRICKLE;
        }
        if !self.any_stalled() {
            self.relax();
            return self.whole();
        }
        self.pressed = true;
        let answer = if self.is_stalled(trigger) {
            self.stalled_triggered(trigger, granted, offered, now)
        } else {
            self.free_triggered(granted, offered, now)
        };
        self.offered = answer > TRICKLE;
        answer
    }

    fn free_triggered(&mut self, granted: u32, offered: bool, now: Instant) -> u32 {
        self.release();
        if offered {
            self.halvings = self.halvings.saturating_sub(1);
        }
        let whole = self.offer();
        self.in_need = granted < whole / 2;
        if self.stalled().any(|channel| channel.is_active(now)) {
            TRICKLE
        } else {
            whole
        }
    }

    fn stalled_triggered(&mut self, id: Id, granted: u32, offered: bool, now: Instant) -> u32 {
        let clock = self.clock;
        let Some(channel) = self.channels.get_mut(&id) else {
            return TRICKLE;
        };
        let since = std::mem::replace(&mut channel.triggered, clock);
        if granted > TRICKLE {
            // It has a window to use up, and is no clock until then.
            if offered {
                self.halvings = (self.halvings + 1).min(MAX_HALVINGS);
            }
            self.in_need = false;
            self.release();
            return TRICKLE;
        }
        let whole = self.offer();
        let most_left = self
            .free()
            .filter(|free| free.sent > since && free.left < whole / 2)
            .map(|free| free.left)
            .max();
        let Some(most_left) = most_left else {
            return TRICKLE;
        };
        if !self.pace.is_holding() {
            let active = self.stalled().filter(|channel| channel.is_active(now));
            let room = most_left as usize >= self.least_room();
            if active.count() > 1 && !self.in_need && !room {
                // The free channel would use up its bytes and ask again before the last of the
                // stalled ones has come.
                return TRICKLE;
            }
            self.pace.hold();
        }
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.frozen = true;
        }
        let others = self
            .stalled()
            .any(|channel| channel.is_active(now) && !channel.frozen);
        if others { TRICKLE } else { whole }
    }

    /// The target while nobody is stalled: it narrows smoothly, since stop and go needs two round
    /// trips to start again.
    fn whole(&self) -> u32 {
        let limit = self.limit();
        let room = self.channels.values().map(|channel| channel.room(limit));
        self.fitting(room.min())
    }

    /// What a free channel is to get while another is stalled.
    fn offer(&self) -> u32 {
        let limit = self.limit();
        let whole = self.fitting(self.free().map(|channel| channel.room(limit)).min());
        whole.min((whole >> self.halvings).max(self.bounds.window >> MAX_HALVINGS))
    }

    fn fitting(&self, room: Option<usize>) -> u32 {
        let room = room.and_then(|room| u32::try_from(room).ok());
        let window = self.bounds.window;
        window.min(room.unwrap_or(window)).max(TRICKLE)
    }

    /// How much may be queued of one channel: two windows, less where many channels are open, so
    /// that all of them stalled leave something of the connection's share.
    fn limit(&self) -> usize {
        let window = self.bounds.window as usize;
        let share = self.bounds.connection / self.channels.len().max(1);
        share.clamp(window / 2, 2 * window)
    }

    /// A channel with less room than this is stalled.
    fn least_room(&self) -> usize {
        self.bounds.window as usize / 32
    }

    fn is_over_the_line(&self) -> bool {
        let mut total = 0;
        for channel in self.channels.values() {
            let bytes = channel.backlog.bytes();
            total += bytes;
            if bytes > self.bounds.channel || total > self.bounds.connection {
                return true;
            }
        }
        false
    }

    fn is_stalled(&self, id: Id) -> bool {
        let (limit, least) = (self.limit(), self.least_room());
        self.channels
            .get(&id)
            .is_some_and(|channel| channel.room(limit) < least)
    }

    fn any_stalled(&self) -> bool {
        self.stalled().next().is_some()
    }

    fn stalled(&self) -> impl Iterator<Item = &Channel> {
        let (limit, least) = (self.limit(), self.least_room());
        self.channels
            .values()
            .filter(move |channel| channel.room(limit) < least)
    }

    fn free(&self) -> impl Iterator<Item = &Channel> {
        let (limit, least) = (self.limit(), self.least_room());
        self.channels
            .values()
            .filter(move |channel| channel.room(limit) >= least)
    }

    /// Reads are slowed down while a stalled channel sends its bytes one by one, unless a free
    /// channel does so as well and waits for the stalled ones to come round.
    fn set_nap(&mut self, now: Instant) {
        let over = self.is_over_the_line();
        if !over && !self.any_stalled() {
            return self.relax();
        }
        let trickling = self.stalled().any(|channel| channel.is_active(now));
        let waiting = self.free().any(|channel| channel.left <= TRICKLE);
        self.pace.set_nap(match (over, trickling, waiting) {
            (true, ..) => LONG_NAP,
            (false, true, false) => NAP,
            (false, ..) => 0,
        });
    }

    fn release(&mut self) {
        self.pace.release();
        self.thaw();
    }

    fn thaw(&mut self) {
        for channel in self.channels.values_mut() {
            channel.frozen = false;
        }
    }

    /// Nobody is stalled any more.
    fn relax(&mut self) {
        if self.pressed {
            self.release();
            self.pace.set_nap(0);
            self.pressed = false;
            self.halvings = 0;
            self.in_need = false;
        }
    }
}

/// How much one connection may have queued here, in bytes (limits.md).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What a client may send on a channel before it is granted more. Twice as much is queued
    /// before the channel stalls.
    pub(super) window: u32,
    /// What is queued of one channel over which nobody is granted more.
    channel: usize,
    /// And of one connection.
    connection: usize,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            window: u32::try_from(limits.channel_queue / 2).unwrap_or(u32::MAX),
            channel: limits.channel_queue_max,
            connection: limits.connection_queue_max,
        }
    }
}

/// A client sent more than its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

/// What the flow control of one connection asks of the socket under it. Both belong to the same
/// task; the flow control sets, the socket looks before each read and write.
#[derive(Debug, Default)]
pub(super) struct Pace {
    asked: AtomicU8,
    /// Who waits for the end of a pause.
    reader: Mutex<Option<Waker>>,
}

impl Pace {
    /// Whether nothing is asked: the usual case, and one load.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.load(Ordering::Relaxed) == 0
    }

    /// Nothing is read until [`Self::resume`], or for [`PAUSE_TIME`] at most.
    pub(super) fn pause(&self) {
        self.asked.fetch_or(PAUSE, Ordering::AcqRel);
    }

    /// Reading goes on, once the library has taken what it was handed before.
    pub(super) fn resume(&self) {
        let resumed = |asked| (asked & PAUSE != 0).then_some((asked & !PAUSE) | RESUMED);
        let before = self
            .asked
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, resumed);
        if before.is_ok()
            && let Some(reader) = self.reader().take()
        {
            reader.wake();
        }
    }

    /// Whether a pause has ended since this was asked last.
    pub(super) fn was_resumed(&self) -> bool {
        self.asked.fetch_and(!RESUMED, Ordering::AcqRel) & RESUMED != 0
    }

    /// Whether nothing is to be read; then `reader` is woken when that ends.
    pub(super) fn is_paused(&self, reader: &Waker) -> bool {
        if self.asked.load(Ordering::Acquire) & PAUSE == 0 {
            return false;
        }
        *self.reader() = Some(reader.clone());
        self.asked.load(Ordering::Acquire) & PAUSE != 0
    }

    fn reader(&self) -> MutexGuard<'_, Option<Waker>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether output is to be held back, until [`Self::release`].
    pub(super) fn is_holding(&self) -> bool {
        self.asked.load(Ordering::Relaxed) & HOLD != 0
    }

    /// The nap that is to follow a read of less than [`SMALL_READ`].
    pub(super) fn nap(&self) -> Option<Duration> {
        match self.asked.load(Ordering::Relaxed) & (NAP | LONG_NAP) {
            0 => None,
            NAP => Some(NAP_TIME),
            _ => Some(LONG_NAP_TIME),
        }
    }

    /// Output goes again: said by the flow control, or by the socket when it has held for
    /// [`HOLD_TIME`] or holds [`HOLD_BYTES`].
    pub(super) fn release(&self) {
        self.asked.fetch_and(!HOLD, Ordering::Relaxed);
    }

    fn hold(&self) {
        self.asked.fetch_or(HOLD, Ordering::Relaxed);
    }

    fn set_nap(&self, nap: u8) {
        self.asked.fetch_and(!(NAP | LONG_NAP), Ordering::Relaxed);
        self.asked.fetch_or(nap, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Channel {
    backlog: Backlog,
    /// What the client may still send.
    left: u32,
    /// The clock at its last packet.
    sent: u64,
    sent_at: Option<Instant>,
    /// The clock at its last grant while it was stalled.
    triggered: u64,
    /// Whether it was granted its 2 bytes after the last grant to a free channel, so that it sends
    /// again after that one, also where the socket could not hold the grant for long.
    frozen: bool,
}

impl Channel {
    fn new(left: u32) -> Self {
        Self {
            backlog: Backlog::default(),
            left,
            sent: 0,
            sent_at: None,
            triggered: 0,
            frozen: false,
        }
    }

    fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.backlog.bytes())
    }

    fn is_active(&self, now: Instant) -> bool {
        self.sent_at
            .is_some_and(|at| now.saturating_duration_since(at) < ACTIVE)
    }
}

/// A pause ends by itself after so long: a client that says nothing may be gone.
pub(super) const PAUSE_TIME: Duration = Duration::from_secs(30);
/// Output is held back at most so long.
pub(super) const HOLD_TIME: Duration = Duration::from_millis(10);
/// At most so many bytes of output are held back.
pub(super) const HOLD_BYTES: usize = 64 * 1024;
/// A read of fewer bytes than this is followed by a nap, where one is asked for.
pub(super) const SMALL_READ: usize = 2 * 1024;

/// How long a nap is: a client's trickle would otherwise go round as fast as the network does.
const NAP_TIME: Duration = Duration::from_millis(5);
/// The same over the line, so that a day of trickle adds less than two windows.
const LONG_NAP_TIME: Duration = Duration::from_millis(50);
/// A window that keeps a channel alive and lets next to nothing through.
const TRICKLE: u32 = 2;
/// A stalled channel that has not sent for so long does not compete for grants.
const ACTIVE: Duration = Duration::from_secs(1);
/// What a free channel is offered is at least its window divided by two as often as this.
const MAX_HALVINGS: u32 = 7;

const HOLD: u8 = 1;
const NAP: u8 = 2;
const LONG_NAP: u8 = 4;
const PAUSE: u8 = 8;
const RESUMED: u8 = 16;

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u32 = 2 * 1024 * 1024;
    const FULL: usize = 2 * WINDOW as usize;

    /// Three channels, of which the first is stalled and has nothing left to send.
    struct Case {
        flow: Flow<u8>,
        pace: Arc<Pace>,
        now: Instant,
        stalled: Backlog,
    }

    fn case() -> Case {
        let pace = Arc::new(Pace::default());
        let mut flow = Flow::new(Bounds::of(&Limits::default()), pace.clone());
        let stalled = flow.opened(1);
        flow.opened(2);
        flow.opened(3);
        stalled.arrived(FULL);
        let now = Instant::now();
        assert_eq!(flow.arrived(1, 1, 0, now), Ok(()));
        Case {
            flow,
            pace,
            now,
            stalled,
        }
    }

    #[test]
    fn an_empty_queue_grants_the_whole_window() {
        let mut flow = Flow::new(Bounds::of(&Limits::default()), Arc::default());
        flow.opened(1);
        assert_eq!(flow.target(1, WINDOW, Instant::now()), WINDOW);
    }

    #[test]
    fn the_grant_narrows_before_a_channel_stalls() {
        let pace = Arc::new(Pace::default());
        let mut flow = Flow::new(Bounds::of(&Limits::default()), pace.clone());
        let queued = flow.opened(1);
        queued.arrived(WINDOW as usize + WINDOW as usize / 2);
        assert_eq!(flow.target(1, WINDOW, Instant::now()), WINDOW / 2);
        assert!(pace.is_idle());
    }

    #[test]
    fn more_than_the_window_is_an_overrun() {
        let mut flow = Flow::new(Bounds::of(&Limits::default()), Arc::default());
        flow.opened(1);
        let now = Instant::now();
        assert_eq!(flow.arrived(1, WINDOW as usize - 1, 1, now), Ok(()));
        assert_eq!(flow.arrived(1, 2, 1, now), Err(Overrun));
    }

    #[test]
    fn a_stalled_channel_trickles() {
        let Case {
            mut flow,
            now,
            pace,
            ..
        } = case();
        assert_eq!(flow.target(1, TRICKLE, now), TRICKLE);
        assert!(!pace.is_holding(), "nobody is in need");
        assert_eq!(pace.nap(), Some(NAP_TIME));
    }

    #[test]
    fn a_free_channel_takes_the_window_once_the_stalled_ones_are_quiet() {
        let Case { mut flow, now, .. } = case();
        assert_eq!(flow.target(2, TRICKLE, now), TRICKLE);
        assert_eq!(flow.target(2, TRICKLE, now + ACTIVE), WINDOW);
    }

    #[test]
    fn the_grant_of_a_stalled_channel_is_held_for_a_free_one_in_need() {
        let Case {
            mut flow,
            now,
            pace,
            ..
        } = case();
        assert_eq!(flow.arrived(2, 2, 100 * 1024, now), Ok(()));
        assert_eq!(flow.target(1, TRICKLE, now), WINDOW);
        assert!(pace.is_holding());
        assert_eq!(flow.target(2, WINDOW, now), TRICKLE);
        assert!(!pace.is_holding());
    }

    #[test]
    fn every_active_stalled_channel_has_to_be_held() {
        let Case {
            mut flow,
            now,
            pace,
            ..
        } = case();
        if let Some(third) = flow.channels.get(&3) {
            third.backlog.arrived(FULL);
        }
        assert_eq!(flow.arrived(3, 1, 0, now), Ok(()));
        assert_eq!(flow.arrived(2, 2, 100 * 1024, now), Ok(()));
        assert_eq!(flow.target(1, TRICKLE, now), TRICKLE);
        assert!(pace.is_holding());
        assert_eq!(flow.target(3, TRICKLE, now), WINDOW);
    }

    #[test]
    fn what_a_stalled_channel_takes_makes_the_next_offer_smaller() {
        let Case {
            mut flow,
            now,
            pace,
            ..
        } = case();
        for halvings in 0..2 * MAX_HALVINGS {
            assert_eq!(flow.arrived(2, 2, 3, now), Ok(()));
            let offer = flow.target(1, TRICKLE, now);
            assert_eq!(offer, WINDOW >> halvings.min(MAX_HALVINGS));
            // The free channel has gone quiet, and the socket has ended the hold.
            pace.release();
            assert_eq!(flow.target(1, offer, now), TRICKLE);
        }
        // One that is taken as it was meant makes it larger again.
        assert_eq!(flow.arrived(2, 2, 3, now), Ok(()));
        let offer = flow.target(1, TRICKLE, now);
        assert_eq!(flow.target(2, offer, now), TRICKLE);
        assert_eq!(flow.arrived(2, 2, 3, now), Ok(()));
        assert_eq!(flow.target(1, TRICKLE, now), 2 * offer);
    }

    #[test]
    fn a_channel_over_the_line_stops_everyone_until_it_drains() {
        let Case {
            mut flow,
            now,
            pace,
            stalled,
        } = case();
        let line = Limits::default().channel_queue_max;
        stalled.arrived(line - FULL);
        assert_eq!(flow.target(2, WINDOW, now + ACTIVE), TRICKLE);
        assert_eq!(flow.arrived(2, 1, 1, now + ACTIVE), Ok(()));
        assert_eq!(pace.nap(), Some(LONG_NAP_TIME));
        stalled.taken(line);
        assert_eq!(flow.target(2, TRICKLE, now + ACTIVE), WINDOW);
        assert!(pace.is_idle());
    }

    #[test]
    fn the_end_of_the_stalled_channel_frees_the_others() {
        let Case {
            mut flow,
            now,
            pace,
            ..
        } = case();
        assert_eq!(flow.arrived(2, 2, 3, now), Ok(()));
        assert_eq!(flow.target(1, TRICKLE, now), WINDOW);
        flow.closed(1);
        assert!(pace.is_idle());
        assert_eq!(flow.target(2, WINDOW, now), WINDOW);
    }

    /// The line of a configuration, to the byte: one channel's and the connection's.
    #[test]
    fn queues_meet_the_edges_of_a_configuration() {
        let limits = Limits {
            channel_queue: 128 * 1024,
            channel_queue_max: 512 * 1024,
            connection_queue_max: 768 * 1024,
            ..Limits::default()
        };
        let bounds = Bounds::of(&limits);
        assert_eq!(bounds.window, 64 * 1024);
        let mut flow = Flow::new(bounds, Arc::default());
        let (first, second) = (flow.opened(1), flow.opened(2));
        assert_eq!(flow.target(1, bounds.window, Instant::now()), 64 * 1024);
        first.arrived(128 * 1024 - bounds.window as usize / 32);
        assert!(!flow.any_stalled());
        first.arrived(1);
        assert!(flow.any_stalled());
        first.arrived(512 * 1024 - first.bytes());
        assert!(!flow.is_over_the_line());
        first.arrived(1);
        assert!(flow.is_over_the_line());
        first.taken(1);
        second.arrived(256 * 1024);
        assert!(!flow.is_over_the_line());
        second.arrived(1);
        assert!(flow.is_over_the_line());
    }

    #[test]
    fn many_channels_share_what_a_connection_may_queue() {
        let mut flow = Flow::new(Bounds::of(&Limits::default()), Arc::default());
        let backlogs: Vec<_> = (0..10).map(|id| flow.opened(id)).collect();
        for backlog in backlogs.iter().skip(1) {
            backlog.arrived(flow.limit());
        }
        assert!(!flow.is_over_the_line());
        assert_eq!(flow.target(0, TRICKLE, Instant::now()), WINDOW);
    }
}
