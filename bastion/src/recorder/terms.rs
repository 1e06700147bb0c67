//! What `serve` asks of a recorder for its sessions: how much is kept, and when it is written.
//!
//! Owns the defaults and the ranges, which the configuration and the recorder share: a recorder
//! of its own takes no terms that a configuration could not have.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wire::PART;

/// The keys of `[recording]` that a recorder is told with the greeting (limits.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Output of one session that has come and is not written, in bytes: 512 KiB..=16 MiB.
    pub queue_bytes: u64,
    /// What has come is compressed and written after this: 250 ms..=10 s.
    #[serde(with = "millis")]
    pub flush: Duration,
    /// Files that have grown are brought to the disk each: 100 ms..=10 s.
    #[serde(with = "millis")]
    pub sync_interval: Duration,
    /// Free disk below which no session begins, in bytes, where that is less than the share:
    /// 16 MiB..=1 TiB.
    pub free_bytes: u64,
    /// The same in hundredths of the disk: 1..=50.
    pub free_percent: u64,
    /// The longest event of a recording, in bytes of its text: 1..=64 KiB.
    pub event_bytes: u64,
    /// A frame of a recording ends at this much text, in bytes: 64 KiB..=8 MiB.
    pub frame_bytes: u64,
    /// A frame ends at this age: 1 s..=1 h.
    #[serde(with = "millis")]
    pub frame_life: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            queue_bytes: 1024 * 1024,
            flush: Duration::from_secs(1),
            sync_interval: Duration::from_secs(1),
            free_bytes: 2 * 1024 * 1024 * 1024,
            free_percent: 5,
            event_bytes: 64 * 1024,
            frame_bytes: 1024 * 1024,
            frame_life: Duration::from_secs(600),
        }
    }
}

/// A key, where its value is, and what it may be.
type Key<'t, T> = (&'static str, &'t mut T, RangeInclusive<T>);

impl Terms {
    /// The keys that are times.
    pub(crate) fn durations(&mut self) -> [Key<'_, Duration>; 3] {
        let ms = Duration::from_millis;
        [
            ("flush", &mut self.flush, ms(250)..=ms(10_000)),
            (
                "sync_interval",
                &mut self.sync_interval,
                ms(100)..=ms(10_000),
            ),
            (
                "frame_life",
                &mut self.frame_life,
                ms(1_000)..=ms(3_600_000),
            ),
        ]
    }

    /// The keys that are numbers.
    pub(crate) fn numbers(&mut self) -> [Key<'_, u64>; 5] {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        [
            // `serve` hands over up to a part at once, and waits until there is room for all of it.
            ("queue_bytes", &mut self.queue_bytes, PART as u64..=16 * MIB),
            (
                "free_bytes",
                &mut self.free_bytes,
                16 * MIB..=1024 * 1024 * MIB,
            ),
            ("free_percent", &mut self.free_percent, 1..=50),
            ("event_bytes", &mut self.event_bytes, KIB..=64 * KIB),
            // A frame is what a crash can tear, and what a reader has in memory.
            ("frame_bytes", &mut self.frame_bytes, 64 * KIB..=8 * MIB),
        ]
    }

    /// Whether everything is within its range.
    pub(super) fn are_fine(mut self) -> bool {
        self.durations()
            .iter()
            .all(|(_, value, range)| range.contains(value))
            && self
                .numbers()
                .iter()
                .all(|(_, value, range)| range.contains(value))
    }

    /// Whether `free` of `total` bytes of disk are enough for a session to begin.
    pub(crate) fn is_enough(&self, free: u64, total: u64) -> bool {
        free >= self.free_bytes.min(total / 100 * self.free_percent)
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_defaults_are_fine_and_every_edge_counts() {
        assert!(Terms::default().are_fine());
        let ms = Duration::from_millis(1);
        for key in 0..Terms::default().durations().len() {
            let edge = |at: Duration| {
                let mut terms = Terms::default();
                *terms.durations().into_iter().nth(key).unwrap().1 = at;
                terms.are_fine()
            };
            let (name, _, range) = Terms::default().durations().into_iter().nth(key).unwrap();
            let (low, high) = range.into_inner();
            assert!(edge(low) && edge(high), "{name}");
            assert!(!edge(low - ms) && !edge(high + ms), "{name}");
        }
        for key in 0..Terms::default().numbers().len() {
            let edge = |at: u64| {
                let mut terms = Terms::default();
                *terms.numbers().into_iter().nth(key).unwrap().1 = at;
                terms.are_fine()
            };
            let (name, _, range) = Terms::default().numbers().into_iter().nth(key).unwrap();
            let (low, high) = range.into_inner();
            assert!(edge(low) && edge(high), "{name}");
            assert!(!edge(low - 1) && !edge(high + 1), "{name}");
        }
    }

    #[test]
    fn they_survive_the_way() {
        let terms = Terms {
            flush: Duration::from_millis(400),
            free_percent: 7,
            ..Terms::default()
        };
        let text = serde_json::to_string(&terms).unwrap();
        assert_eq!(serde_json::from_str::<Terms>(&text).unwrap(), terms);
    }

    #[test]
    fn a_disk_is_nearly_full_below_the_smaller_of_both() {
        const GIB: u64 = 1024 * 1024 * 1024;
        let terms = Terms::default();
        // 5 % of a small disk.
        assert!(terms.is_enough(5 * GIB / 10, 10 * GIB));
        assert!(!terms.is_enough(5 * GIB / 10 - 100, 10 * GIB));
        // 2 GiB of a large one.
        assert!(terms.is_enough(2 * GIB, 1000 * GIB));
        assert!(!terms.is_enough(2 * GIB - 1, 1000 * GIB));
        let terms = Terms {
            free_bytes: GIB,
            free_percent: 20,
            ..terms
        };
        assert!(terms.is_enough(GIB, 1000 * GIB) && !terms.is_enough(GIB - 1, 1000 * GIB));
        assert!(terms.is_enough(2 * 100 * 1024, 1000 * 1024));
        assert!(!terms.is_enough(2 * 100 * 1024 - 1024, 1000 * 1024));
    }
}
