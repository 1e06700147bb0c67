//! How often a peer may begin an exchange of keys.
//!
//! The SSH library takes part in every exchange that a peer begins, at any time after the first, and
//! tells nobody: no callback, no count. But each exchange keeps the configuration of its connection
//! for as long as it goes on, and nothing else does beside the connection. So with a configuration
//! for each connection the number of its holders says whether one goes on, and the socket, which is
//! asked for bytes before and after every packet, sees each of them begin. That is no promise of the
//! library; so nobody gets further than signing in whose first exchange was not seen.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What a socket knows of its connection's exchanges.
pub(super) struct Exchanges {
    /// The connection's configuration.
    config: Weak<dyn Any + Send + Sync>,
    goes_on: bool,
    rate: Rate,
    seen: Arc<Seen>,
}

/// What others want to know of them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    any: AtomicBool,
    goes_on: AtomicBool,
    too_often: AtomicBool,
}

impl Exchanges {
    /// Those of the connection that will be the only one to keep `config`, which the caller gives
    /// away.
    pub(super) fn of<C: Any + Send + Sync>(config: &Arc<C>) -> (Self, Arc<Seen>) {
        let config: Weak<C> = Arc::downgrade(config);
        let seen = Arc::new(Seen::default());
        let exchanges = Self {
            config,
            goes_on: false,
            rate: Rate::default(),
            seen: seen.clone(),
        };
        (exchanges, seen)
    }

    /// Looks whether one has begun since the last look.
    ///
    /// # Errors
    /// It is one too many, now or earlier.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let goes_on = self.config.strong_count() > 1;
        if goes_on != self.goes_on {
            self.goes_on = goes_on;
            self.seen.goes_on.store(goes_on, Ordering::Relaxed);
            if goes_on {
                self.seen.any.store(true, Ordering::Relaxed);
                if !self.rate.admits(Instant::now()) {
                    self.seen.too_often.store(true, Ordering::Relaxed);
                }
            }
        }
        if self.seen.were_too_often() {
            return Err(io::Error::other("keys are exchanged too often"));
        }
        Ok(())
    }

    /// Counts bytes that went either way.
    pub(super) fn carried(&mut self, bytes: usize) {
        self.rate.carried = self.rate.carried.saturating_add(bytes as u64);
    }
}

impl Seen {
    /// Whether an exchange was seen to begin, and to end. Once there were bytes behind the first one,
    /// that is so, or they are not seen at all.
    pub(super) fn first(&self) -> bool {
        self.any.load(Ordering::Relaxed) && !self.goes_on.load(Ordering::Relaxed)
    }

    /// Whether the connection ends because of them.
    pub(super) fn were_too_often(&self) -> bool {
        self.too_often.load(Ordering::Relaxed)
    }
}

/// One exchange each [`EVERY`], or one for each [`WORTH`] of bytes: an exchange costs as much as
/// carrying a fifth of that, so that who renews keys for what they carry is not the load.
#[derive(Debug, Default)]
struct Rate {
    last: Option<Instant>,
    carried: u64,
}

impl Rate {
    fn admits(&mut self, now: Instant) -> bool {
        let rested = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        let worth = self.carried >= WORTH;
        self.last = Some(now);
        self.carried = 0;
        rested || worth
    }
}

/// Exchanges begin so far apart, at least.
const EVERY: Duration = Duration::from_secs(1);
/// But for connections that carry so many bytes between them. OpenSSH, which is told `RekeyLimit 1M`,
/// exchanges keys with the packet that would be more.
const WORTH: u64 = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_a_second_or_some_bytes_apart() {
        let start = Instant::now();
        let mut rate = Rate::default();
        let mut at = |millis, carried| {
            rate.carried += carried;
            rate.admits(start + Duration::from_millis(millis))
        };
        assert!(at(0, 0));
        assert!(at(1000, 0));
        assert!(!at(1999, 0));
        // One that came too early counts, too.
        assert!(!at(2998, WORTH - 1));
        assert!(at(2998, WORTH));
        assert!(!at(2998, 0));
        assert!(at(3998, 0));
    }

    #[test]
    fn a_configuration_that_is_kept_twice_is_an_exchange() {
        let config = Arc::new(0_u8);
        let (mut exchanges, seen) = Exchanges::of(&config);
        assert!(exchanges.look().is_ok() && !seen.first());
        let first = config.clone();
        assert!(exchanges.look().is_ok() && !seen.first());
        drop(first);
        assert!(exchanges.look().is_ok() && seen.first());
        exchanges.carried(usize::try_from(WORTH).unwrap_or(usize::MAX));
        let second = config.clone();
        assert!(exchanges.look().is_ok() && exchanges.look().is_ok());
        drop(second);
        assert!(exchanges.look().is_ok() && !seen.were_too_often());
        let third = config.clone();
        assert!(exchanges.look().is_err() && seen.were_too_often());
        drop(third);
        // It stays so.
        assert!(exchanges.look().is_err());
    }
}
