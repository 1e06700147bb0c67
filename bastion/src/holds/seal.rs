//! The form of a payload: ordered frames, and the salted digest that names them.

use std::fmt;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use scanner::Stream;
use serde::{Deserialize, Serialize};

/// SHA-256 of the salt and the frames. The salt is erased with the payload, so that nobody finds a
/// small payload by trying.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

/// The digest of frames that come one after another.
pub(crate) struct Hasher(digest::Context);

impl Hasher {
    pub(crate) fn new(salt: &[u8; SALT]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(salt);
        Self(context)
    }

    /// Adds encoded frames.
    pub(crate) fn update(&mut self, frames: &[u8]) {
        self.0.update(frames);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

/// Writes one frame after `out`: the stream, the length (little endian) and the bytes.
pub(crate) fn encode(out: &mut Vec<u8>, stream: Stream, bytes: &[u8]) {
    let stream = match stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
    };
    // A frame has at most `FRAME_MAX` bytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.push(stream);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Takes the next frame off encoded ones.
pub(crate) fn decode(frames: &mut Bytes) -> Result<Option<(Stream, Bytes)>, NotFrames> {
    let Some((&kind, rest)) = frames.split_first() else {
        return Ok(None);
    };
    let stream = match kind {
        STDOUT => Stream::Stdout,
        STDERR => Stream::Stderr,
        _ => return Err(NotFrames),
    };
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(NotFrames)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NotFrames)?;
    if length > rest.len() {
        return Err(NotFrames);
    }
    let mut frame = frames.split_to(HEAD + length);
    Ok(Some((stream, frame.split_off(HEAD))))
}

/// Bytes that are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFrames;

/// Bytes of a salt.
pub(crate) const SALT: usize = 16;
/// Bytes before those of a frame.
pub(crate) const HEAD: usize = 5;
/// The longest frame; longer pieces are cut.
pub(crate) const FRAME_MAX: usize = 32 * 1024;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back(frames: Vec<(bool, Vec<u8>)>) {
            let of = |err: bool| if err { Stream::Stderr } else { Stream::Stdout };
            let mut encoded = Vec::new();
            for (err, bytes) in &frames {
                encode(&mut encoded, of(*err), bytes);
            }
            let mut encoded = Bytes::from(encoded);
            for (err, bytes) in frames {
                prop_assert_eq!(decode(&mut encoded), Ok(Some((of(err), Bytes::from(bytes)))));
            }
            prop_assert_eq!(decode(&mut encoded), Ok(None));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut bytes = Bytes::from(bytes);
            while let Ok(Some(_)) = decode(&mut bytes) {}
        }
    }

    #[test]
    fn the_salt_and_every_bit_count() {
        let digest = |salt: u8, frames: &[u8]| {
            let mut hasher = Hasher::new(&[salt; SALT]);
            hasher.update(frames);
            hasher.finish()
        };
        assert_eq!(digest(1, b"ab"), digest(1, b"ab"));
        assert_ne!(digest(1, b"ab"), digest(2, b"ab"));
        assert_ne!(digest(1, b"ab"), digest(1, b"ac"));
    }
}
