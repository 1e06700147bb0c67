//! What `serve` and the recorder say to each other: frames over a unix stream socket.
//!
//! A frame is a head of twelve bytes (length of the payload, kind, three zero bytes, channel;
//! little endian) and its payload. A channel is a number that the client chooses for a session
//! or a question; the answer comes on the same number. Everything is bounded, and anything
//! that is not understood ends the connection: the two are always of one version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::terms::Terms;
use crate::audit::Wanted;
use crate::config::RecordingSync;
use crate::record::{About, End, Gap, SessionId, Totals};

/// Bytes of a head.
pub(crate) const HEAD: usize = 12;
/// The longest payload of output, and of an answer with bytes.
pub(crate) const CHUNK: usize = 64 * 1024;
/// The longest payload of all.
const LONGEST: u32 = 160 * 1024;
/// Output bytes that are sent once there is room for all of them, at most: whoever has less room
/// than this left may be waiting.
pub(crate) const PART: usize = 512 * 1024;
/// What both sides must agree on.
pub(crate) const VERSION: u16 = 6;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    // To the recorder.
    Hello = 1,
    Start = 2,
    Stdout = 3,
    Stderr = 4,
    Resize = 5,
    Marker = 6,
    End = 7,
    List = 8,
    Open = 9,
    Read = 10,
    Forget = 11,
    Close = 12,
    Audit = 13,
    Disk = 14,
    Gap = 15,
    Redact = 16,
    // From the recorder.
    Started = 64,
    Taken = 65,
    Ended = 66,
    Failed = 67,
    Page = 68,
    Data = 69,
    Done = 70,
}

const KINDS: [Kind; 23] = [
    Kind::Hello,
    Kind::Start,
    Kind::Stdout,
    Kind::Stderr,
    Kind::Resize,
    Kind::Marker,
    Kind::End,
    Kind::List,
    Kind::Open,
    Kind::Read,
    Kind::Forget,
    Kind::Close,
    Kind::Audit,
    Kind::Disk,
    Kind::Gap,
    Kind::Redact,
    Kind::Started,
    Kind::Taken,
    Kind::Ended,
    Kind::Failed,
    Kind::Page,
    Kind::Data,
    Kind::Done,
];

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the payload.
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    pub(crate) channel: u32,
}

/// The other side said something that is not of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side of the recorder's socket broke the protocol: {0}")]
pub(crate) struct Broken(pub(crate) &'static str);

impl Head {
    pub(crate) fn encode(self) -> [u8; HEAD] {
        let [a, b, c, d] = self.len.to_le_bytes();
        let [e, f, g, h] = self.channel.to_le_bytes();
        [a, b, c, d, self.kind as u8, 0, 0, 0, e, f, g, h]
    }

    pub(crate) fn decode(bytes: [u8; HEAD]) -> Result<Self, Broken> {
        let [a, b, c, d, kind, 0, 0, 0, e, f, g, h] = bytes else {
            return Err(Broken("a head with bytes that should be zero"));
        };
        let kind = KINDS.into_iter().find(|known| *known as u8 == kind);
        let kind = kind.ok_or(Broken("a frame of unknown kind"))?;
        let len = u32::from_le_bytes([a, b, c, d]);
        if len > kind.longest() {
            return Err(Broken("a frame that is too long"));
        }
        Ok(Self {
            len,
            kind,
            channel: u32::from_le_bytes([e, f, g, h]),
        })
    }
}

impl Kind {
    fn longest(self) -> u32 {
        match self {
            Self::Stdout | Self::Stderr | Self::Data => CHUNK as u32,
            Self::Start | Self::Page | Self::Audit => LONGEST,
            Self::Hello => 1024,
            Self::Disk | Self::Open | Self::List | Self::Read | Self::Forget | Self::Close => 256,
            Self::Resize | Self::Taken | Self::Started | Self::Done => 256,
            Self::Marker | Self::End | Self::Gap | Self::Ended | Self::Failed | Self::Redact => {
                8 * 1024
            }
        }
    }
}

/// A whole frame.
pub(crate) fn frame(kind: Kind, channel: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.extend_from_slice(&Head { len, kind, channel }.encode());
    bytes.extend_from_slice(payload);
    bytes
}

/// A whole frame whose payload is JSON.
pub(crate) fn json_frame(kind: Kind, channel: u32, message: &impl Serialize) -> Vec<u8> {
    // Plain data with string keys: it cannot fail.
    let payload = serde_json::to_vec(message).unwrap_or_default();
    frame(kind, channel, &payload)
}

/// Reads a JSON payload.
pub(crate) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Broken> {
    serde_json::from_slice(payload).map_err(|_| Broken("a payload that cannot be read"))
}

/// The first frame of a connection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) sync: RecordingSync,
    pub(crate) terms: Terms,
}

/// How far the recorder is with a session: answers output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Output bytes that the recorder has taken over (`always`: that are on disk).
    pub(crate) taken: u64,
    /// The position up to which output may be sent.
    pub(crate) room: u64,
}

impl Taken {
    pub(crate) fn encode(self) -> [u8; 16] {
        (u128::from(self.taken) | u128::from(self.room) << 64).to_le_bytes()
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Broken> {
        let bytes = payload
            .try_into()
            .map_err(|_| Broken("an acknowledgement of a wrong size"))?;
        let both = u128::from_le_bytes(bytes);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the halves are what is wanted"
        )]
        Ok(Self {
            taken: both as u64,
            room: (both >> 64) as u64,
        })
    }
}

/// The payload of [`Kind::Resize`].
pub(crate) fn encode_size(cols: u16, rows: u16) -> [u8; 4] {
    (u32::from(cols) | u32::from(rows) << 16).to_le_bytes()
}

pub(crate) fn decode_size(payload: &[u8]) -> Result<(u16, u16), Broken> {
    let [a, b, c, d] = payload
        .try_into()
        .map_err(|_| Broken("a size of a wrong size"))?;
    Ok((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
}

/// The payload of [`Kind::Open`] that asks for the audit log.
pub(crate) const AUDIT: &[u8] = b"audit";

/// The first byte of the payload of [`Kind::Audit`]; an event as a JSON object follows, or
/// nothing, to learn when all before it is written.
pub(crate) fn encode_wanted(wanted: Wanted) -> u8 {
    match wanted {
        Wanted::Written => 0,
        Wanted::Durable => 1,
    }
}

pub(crate) fn decode_wanted(byte: u8) -> Option<Wanted> {
    match byte {
        0 => Some(Wanted::Written),
        1 => Some(Wanted::Durable),
        _ => None,
    }
}

/// A number as the whole payload.
pub(crate) fn decode_number(payload: &[u8]) -> Result<u64, Broken> {
    let bytes = payload
        .try_into()
        .map_err(|_| Broken("a number of a wrong size"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Why a session or a question failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    /// The disk is full.
    Full,
    /// There is less free disk than new sessions need.
    Low,
    /// Writing failed otherwise.
    Io(String),
    /// The recorder is being stopped.
    Stopping,
    /// There is no such recording.
    Unknown,
    /// The question asks for what is not allowed.
    Refused(String),
}

/// A line of the list of sessions, `sessions.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// A session has started. On disk before the client hears of it.
    Start(StartEntry),
    /// It has ended.
    End(EndEntry),
    /// It went on unrecorded.
    Gap(GapEntry),
    /// Frames of its recording are withheld.
    Redacted(RedactedEntry),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartEntry {
    pub(crate) id: SessionId,
    pub(crate) at: jiff::Timestamp,
    pub(crate) about: About,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndEntry {
    pub(crate) id: SessionId,
    pub(crate) at: jiff::Timestamp,
    pub(crate) end: End,
    pub(crate) totals: Totals,
    /// The recorder did not live to write the end; what could be read was kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recovered: bool,
}

/// A session went on unrecorded. The payload of [`Kind::Gap`], too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GapEntry {
    /// The part of its recording before.
    pub(crate) session: SessionId,
    /// The part after; none where the session ended first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) continued: Option<SessionId>,
    pub(crate) gap: Gap,
}

/// Frames of a recording are withheld.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedactedEntry {
    pub(crate) session: SessionId,
    pub(crate) at: jiff::Timestamp,
    /// How many, all times together.
    pub(crate) withheld: u32,
}

/// Reads a stream of frames as the recorder does, and each payload as what it says it is.
#[cfg(fuzzing)]
pub(crate) fn fuzz_frames(mut bytes: &[u8]) {
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let Ok(head) = Head::decode(*head) else {
            return;
        };
        assert!(head.len <= LONGEST);
        let Some((payload, rest)) = rest.split_at_checked(head.len as usize) else {
            return;
        };
        bytes = rest;
        match head.kind {
            Kind::Hello => drop(parse::<Hello>(payload)),
            Kind::Start => drop(parse::<About>(payload)),
            Kind::End => drop(parse::<End>(payload).map(End::bounded)),
            Kind::Gap => drop(parse::<GapEntry>(payload)),
            Kind::Redact => drop(parse::<super::redact::Redact>(payload)),
            Kind::Resize => drop(decode_size(payload)),
            Kind::Taken => drop(Taken::decode(payload)),
            Kind::List | Kind::Read | Kind::Forget => drop(decode_number(payload)),
            Kind::Ended => drop(parse::<Totals>(payload)),
            Kind::Failed => drop(parse::<Failure>(payload)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_written() {
        for kind in KINDS {
            let head = Head {
                len: 7,
                kind,
                channel: 0x0102_0304,
            };
            assert_eq!(Head::decode(head.encode()), Ok(head));
        }
    }

    #[test]
    fn a_head_that_is_not_one_is_refused() {
        let good = Head {
            len: 65536,
            kind: Kind::Stdout,
            channel: 1,
        }
        .encode();
        for (place, byte) in [(2, 2), (4, 0), (4, 14), (4, 255), (5, 1), (7, 1), (3, 1)] {
            let mut bad = good;
            if let Some(slot) = bad.get_mut(place) {
                *slot = byte;
            }
            assert!(Head::decode(bad).is_err(), "{place} {byte}");
        }
    }

    #[test]
    fn positions_are_read_as_written() {
        let taken = Taken {
            taken: u64::MAX - 1,
            room: 17,
        };
        assert_eq!(Taken::decode(&taken.encode()), Ok(taken));
        assert!(Taken::decode(&[0; 15]).is_err());
        assert_eq!(decode_size(&encode_size(80, 24)), Ok((80, 24)));
    }
}
