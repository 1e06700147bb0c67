//! When a message that did not arrive is sent again. Pure: no clock, no chance.

use std::time::Duration;

/// How long it is tried, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The pause after the first attempt; each further one is twice as long.
    pub(crate) first: Duration,
    /// No pause is longer.
    pub(crate) longest: Duration,
    /// From when a message was made to the last attempt that is planned.
    pub(crate) give_up_after: Duration,
}

impl Patience {
    /// The pause before the next attempt; none where it is given up.
    ///
    /// `attempts` were made (at least one), `age` has passed since the message was made, `asked` is
    /// what the receiver has asked for (RFC 9110, section 10.2.3), and `chance` is any number: half
    /// of the pause is left to it, so that many messages do not come back together.
    pub(crate) fn pause(
        &self,
        attempts: u32,
        age: Duration,
        asked: Option<Duration>,
        chance: u32,
    ) -> Option<Duration> {
        if attempts >= ATTEMPTS_MAX {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = whole / 2;
        let pause = half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        let pause = asked.map_or(pause, |asked| pause.max(asked.min(self.longest)));
        // The last attempt is at the very end.
        let left = self.give_up_after.saturating_sub(age);
        (!left.is_zero()).then(|| pause.min(left))
    }
}

/// However short the pauses are.
const ATTEMPTS_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: Patience = Patience {
        first: Duration::from_secs(5),
        longest: Duration::from_secs(3600),
        give_up_after: Duration::from_secs(24 * 3600),
    };

    fn patience() -> impl Strategy<Value = Patience> {
        (1..100_000u64, 0..10_000_000u64, 0..1_000_000_000u64).prop_map(|(first, more, after)| {
            Patience {
                first: Duration::from_millis(first),
                longest: Duration::from_millis(first + more),
                give_up_after: Duration::from_millis(after),
            }
        })
    }

    proptest! {
        /// Between half of the exponential pause and all of it, and never longer than the longest.
        #[test]
        fn a_pause_has_bounds(patience in patience(), attempts in 1..2000u32, chance: u32) {
            if let Some(pause) = patience.pause(attempts, Duration::ZERO, None, chance) {
                let whole = patience.first.saturating_mul(1 << (attempts - 1).min(31));
                let whole = whole.min(patience.longest);
                prop_assert!(pause <= whole && pause >= (whole / 2).min(patience.give_up_after));
                prop_assert!(attempts < ATTEMPTS_MAX && pause <= patience.give_up_after);
            }
        }

        /// Whatever the receiver asks for and chance gives, it comes to an end, in time.
        #[test]
        fn it_ends(
            patience in patience(),
            chances in prop::collection::vec(any::<u32>(), 8),
            asked in prop::option::of(0..100_000_000u64),
        ) {
            let asked = asked.map(Duration::from_millis);
            let (mut attempts, mut age) = (1, Duration::ZERO);
            for chance in chances.iter().cycle() {
                let Some(pause) = patience.pause(attempts, age, asked, *chance) else {
                    break;
                };
                age += pause;
                attempts += 1;
            }
            prop_assert!(attempts <= ATTEMPTS_MAX && age <= patience.give_up_after);
        }

        /// A later attempt does not wait for a shorter time, chance aside.
        #[test]
        fn pauses_grow(patience in patience(), attempts in 1..100u32, chance: u32) {
            let patience = Patience { give_up_after: Duration::MAX, ..patience };
            let pause = |n| patience.pause(n, Duration::ZERO, None, chance);
            prop_assert!(pause(attempts) <= pause(attempts + 1));
        }

        /// A receiver that asks for time gets it, but no more than the longest pause.
        #[test]
        fn who_asks_for_time_gets_it(attempts in 1..20u32, asked in 0..100_000u64, chance: u32) {
            let asked = Duration::from_secs(asked);
            let pause = USUAL.pause(attempts, Duration::ZERO, Some(asked), chance);
            prop_assert!(pause >= Some(asked.min(USUAL.longest)));
            prop_assert!(pause <= Some(USUAL.longest));
        }
    }

    #[test]
    fn the_usual_pauses() {
        let seconds = |attempts| {
            let pause = USUAL.pause(attempts, Duration::ZERO, None, u32::MAX);
            pause.map(|pause| pause.as_secs_f64().round())
        };
        let first: Vec<_> = (1..6).filter_map(seconds).collect();
        assert_eq!(first, [5.0, 10.0, 20.0, 40.0, 80.0]);
        assert_eq!(seconds(30), Some(3600.0));
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(USUAL.pause(3, day, None, 0), None);
        let second = Duration::from_secs(1);
        assert_eq!(
            USUAL.pause(30, day - second, None, 0),
            Some(second),
            "the last"
        );
    }
}
