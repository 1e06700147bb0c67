//! What a stream comes to: its bytes, counted and hashed.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The number of bytes of one stream, and their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The number of bytes, as they went to the client.
    pub bytes: u64,
    /// Their SHA-256, in lower-case hexadecimal; none of more than [`Sum::HASHED`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Sums up one stream, piece by piece.
#[derive(Clone)]
pub struct Sum {
    bytes: u64,
    /// None, once it is not wanted any more.
    hash: Option<digest::Context>,
    /// A stream of more bytes is not hashed.
    most: u64,
}

impl Sum {
    /// A recorded stream of more bytes has no hash of its own, 64 MiB: the seals hold each byte
    /// already, and of a flood a second hash would be a sixth of the recorder's work.
    pub const HASHED: u64 = 64 * 1024 * 1024;

    /// Of a stream that is not recorded whole: it is hashed however long it is.
    pub fn always_hashed() -> Self {
        Self {
            most: u64::MAX,
            ..Self::default()
        }
    }

    /// Adds what came next.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            self.hash = None;
        }
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// The number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it comes to so far.
    pub fn total(&self) -> Total {
        let sha256 = |hash: &digest::Context| HEXLOWER.encode(hash.clone().finish().as_ref());
        Total {
            bytes: self.bytes,
            sha256: self.hash.as_ref().map(sha256),
        }
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            bytes: 0,
            hash: Some(digest::Context::new(&digest::SHA256)),
            most: Self::HASHED,
        }
    }
}

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sum")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is a hash depends on how much came, not on where it was cut.
    #[test]
    fn a_flood_has_no_hash() {
        let piece = vec![b'x'; 1024 * 1024];
        let (mut short, mut whole) = (Sum::default(), Sum::always_hashed());
        for _ in 0..64 {
            short.add(&piece);
            whole.add(&piece);
        }
        assert_eq!(short.total(), whole.total());
        assert_eq!(short.total().bytes, Sum::HASHED);
        assert!(short.total().sha256.is_some());
        short.add(b"x");
        whole.add(b"x");
        assert_eq!(short.total().bytes, Sum::HASHED + 1);
        assert_eq!(short.total().sha256, None);
        assert!(whole.total().sha256.is_some());
    }
}
