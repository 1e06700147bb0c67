//! The time that what waits lives by: it never goes back, not even over a restart.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// A clock that begins at the later of the wall clock and the latest time that was ever written
/// down, and goes on by the monotonic clock: setting the wall clock back lengthens nothing,
/// and setting it forward while the program runs shortens nothing.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Timestamp,
    started: Instant,
    /// For tests: added to the time.
    ahead: Mutex<SignedDuration>,
}

impl Clock {
    /// Begins at `wall`, but not before `high_water`.
    pub(crate) fn new(wall: Timestamp, high_water: Option<Timestamp>) -> Self {
        Self {
            base: high_water.map_or(wall, |high| high.max(wall)),
            started: Instant::now(),
            ahead: Mutex::new(SignedDuration::ZERO),
        }
    }

    /// Now, to the millisecond, as the store keeps it.
    pub(crate) fn now(&self) -> Timestamp {
        let passed =
            SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.base.saturating_add(passed).unwrap_or(Timestamp::MAX);
        let now = now.saturating_add(ahead).unwrap_or(Timestamp::MAX);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, by: SignedDuration) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_set_back_does_not_take_time_back() {
        let high = Timestamp::from_second(2_000_000_000).unwrap_or_default();
        let day_before = high - SignedDuration::from_hours(24);
        assert!(Clock::new(day_before, Some(high)).now() >= high);
        assert!(Clock::new(high, Some(day_before)).now() >= high);
        assert!(Clock::new(day_before, None).now() < high);
    }
}
