//! What the log says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::seal::Hash;
use crate::sum::Total;
use crate::write::Head;

/// One leaf: a JSON object of less than 64 KiB. It holds no byte that a session printed.
///
/// `at_ms` is the recorder's wall clock in milliseconds since 1970, `session` the id of a
/// session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "leaf", rename_all = "kebab-case")]
pub enum Leaf {
    /// A session begins. On disk before its first byte goes to the client.
    Start {
        /// When.
        at_ms: u64,
        /// Which.
        session: String,
        /// The file with its first frame, which holds the header.
        head: Head,
        /// Who, where, from where and what.
        about: Map<String, Value>,
    },
    /// A session goes on, and this is its file so far.
    Head {
        /// When.
        at_ms: u64,
        /// Which.
        session: String,
        /// The file so far.
        head: Head,
    },
    /// A session has ended, and this is its whole file.
    End {
        /// When.
        at_ms: u64,
        /// Which.
        session: String,
        /// The whole file.
        head: Head,
        /// From the start to the end.
        duration_ms: u64,
        /// The exit status as a shell shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        /// Why, where it did not end by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The session was over, and not only its recording: said of those that go on where their
        /// recorder fails.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
        /// How many `gap` leaves of this session the log had by then; none in logs from before
        /// they were counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gaps: Option<u32>,
        /// What became of each byte that the target sent.
        coverage: Map<String, Value>,
        /// Standard output, or all output of a terminal.
        stdout: Total,
        /// Standard error.
        stderr: Total,
    },
    /// A recorder found a file that its writer had not ended, and has ended it.
    Recovered {
        /// When.
        at_ms: u64,
        /// Which session.
        session: String,
        /// The whole file as it is now; none where there is nothing to be read, or what is
        /// there is not what was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Head>,
        /// What stood behind the last seal before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        torn: Option<Torn>,
        /// How many `gap` leaves of this session the log had by then; none in logs from before
        /// they were counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gaps: Option<u32>,
        /// What happened.
        reason: String,
    },
    /// Frames of a recording are withheld from here on.
    Redacted {
        /// When.
        at_ms: u64,
        /// Which session.
        session: String,
        /// What the file was: the head of its end, or the state after the last such leaf.
        before: Hash,
        /// What it is: see [`redact::state`](crate::redact::state).
        after: Hash,
        /// How many frames are withheld now, all times together.
        count: u32,
        /// Which: `1-3,7`.
        frames: String,
        /// Who wanted it, as the recorder's system knows them.
        by: String,
        /// SHA-256 of the reason that they gave; the audit log has the reason.
        reason_sha256: Hash,
    },
    /// A recording was removed because its time was over.
    Expired {
        /// When.
        at_ms: u64,
        /// Which session.
        session: String,
        /// Which rule.
        reason: String,
    },
    /// The log is signed by another key from here on.
    Key {
        /// When.
        at_ms: u64,
        /// A note of the old key: the checkpoint of the log before this leaf, which names the
        /// new key.
        note: String,
    },
    /// Something went unrecorded.
    Gap {
        /// When.
        at_ms: u64,
        /// Which session, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// From when on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_ms: Option<u64>,
        /// Until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<u64>,
        /// Bytes that the client has and that no recorder has acknowledged, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// The session in whose recording it goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continued: Option<String>,
        /// Why.
        reason: String,
    },
    /// Lines of the audit log.
    Audit {
        /// When.
        at_ms: u64,
        /// Number of the last line that this leaf covers.
        last: u64,
        /// SHA-256 of that line, which holds that of the line before, and so on.
        line: Hash,
    },
}

/// What was taken out of a file because its writer died in it; it is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// Its bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Hash,
}

impl Torn {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u64,
            sha256: Hash::of(bytes),
        }
    }
}

impl Leaf {
    /// The bytes that are logged.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data with string keys: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The session that it is about.
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::Start { session, .. }
            | Self::Head { session, .. }
            | Self::End { session, .. }
            | Self::Recovered { session, .. }
            | Self::Expired { session, .. }
            | Self::Redacted { session, .. } => Some(session),
            Self::Gap { session, .. } => session.as_deref(),
            Self::Key { .. } | Self::Audit { .. } => None,
        }
    }
}
