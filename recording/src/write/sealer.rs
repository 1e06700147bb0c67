//! The seals of a file that is being written.

use std::time::Duration;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::seal::{Chain, Hash, Id, Measures, Seal};

/// What seals need from outside.
#[derive(Clone, Copy, Debug)]
pub struct Sealing {
    /// The session's id.
    pub session: Id,
    /// The wall clock, in milliseconds since 1970.
    pub wall_ms: fn() -> u64,
}

/// How far a file is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Frames with a seal.
    pub frames: u32,
    /// The hash over them.
    pub head: Hash,
    /// Bytes of the file up to the end of the last seal.
    pub bytes: u64,
    /// What stands behind the last seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
}

/// The beginning of a frame that is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Its bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Hash,
}

/// The chain of a file that is being written.
pub(super) struct Sealer {
    chain: Chain,
    wall_ms: fn() -> u64,
    /// Bytes of the file up to the end of the last seal.
    sealed: u64,
}

/// What is known of a frame that has begun.
pub(super) struct Measure {
    tally: Tally,
    opened: Duration,
    text: usize,
    lines: usize,
}

/// Compressed bytes, counted and hashed.
pub(super) struct Tally {
    hash: digest::Context,
    bytes: u64,
}

impl Tally {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl Measure {
    pub(super) fn new(opened: Duration) -> Self {
        Self {
            tally: Tally {
                hash: digest::Context::new(&digest::SHA256),
                bytes: 0,
            },
            opened,
            text: 0,
            lines: 0,
        }
    }

    /// Notes text of so many lines that is about to be compressed, and gives what takes the
    /// compressed bytes.
    pub(super) fn add(&mut self, text: &[u8], lines: usize) -> &mut Tally {
        debug_assert_eq!(lines, memchr::memchr_iter(b'\n', text).count());
        self.text += text.len();
        self.lines += lines;
        &mut self.tally
    }

    /// The seal of the frame, whose last event was at `last`.
    pub(super) fn seal(self, chain: &mut Chain, last: Duration, wall_ms: u64) -> Seal {
        let measures = Measures {
            text: u32::try_from(self.text).unwrap_or(u32::MAX),
            lines: u32::try_from(self.lines).unwrap_or(u32::MAX),
            first_ms: millis(self.opened),
            last_ms: millis(last),
            wall_ms,
        };
        chain.seal(Hash::finish(self.tally.hash), measures)
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

impl Sealer {
    pub(super) fn new(sealing: Sealing) -> Self {
        Self {
            chain: Chain::new(sealing.session),
            wall_ms: sealing.wall_ms,
            sealed: 0,
        }
    }

    /// The seal of a frame that has ended with an event at `last`, as it is written.
    pub(super) fn seal(&mut self, measure: Measure, last: Duration) -> [u8; Seal::BYTES] {
        let frame = measure.tally.bytes;
        let seal = measure.seal(&mut self.chain, last, (self.wall_ms)());
        self.sealed += frame + Seal::BYTES as u64;
        seal.encode()
    }

    /// How far the file is sealed; `open` is the frame that has begun.
    pub(super) fn head(&self, open: Option<&Measure>) -> Head {
        Head {
            frames: self.chain.frames(),
            head: self.chain.head(),
            bytes: self.sealed,
            open: open
                .map(|open| &open.tally)
                .filter(|t| t.bytes > 0)
                .map(|tally| Open {
                    bytes: tally.bytes,
                    sha256: Hash::finish(tally.hash.clone()),
                }),
        }
    }
}
