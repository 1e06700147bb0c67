//! What is known of a session, in the words that the recorder keeps.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::RecordingMode;

/// The name of a session and of its recording: 26 characters of `[0-9a-z]`, made by the
/// recorder from 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; SessionId::LEN]);

impl SessionId {
    const LEN: usize = 26;

    /// The name made of `bits`, which have to be random.
    pub(crate) fn of(mut bits: u128) -> Self {
        let mut name = [b'0'; Self::LEN];
        for slot in name.iter_mut().rev() {
            let digit = usize::try_from(bits & 31).unwrap_or(0);
            *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
            bits >>= 5;
        }
        Self(name)
    }

    /// The characters, as bytes.
    pub(crate) fn bytes(&self) -> [u8; Self::LEN] {
        self.0
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Digits and letters without those that are mistaken for others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What was given is not the name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session is named by 26 characters of 0-9 and a-z")]
pub struct NotASession;

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(name: &str) -> Result<Self, NotASession> {
        let name: [u8; Self::LEN] = name.as_bytes().try_into().map_err(|_| NotASession)?;
        if name
            .iter()
            .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        {
            Ok(Self(name))
        } else {
            Err(NotASession)
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a session is when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The user's display name.
    pub user: String,
    /// The issuer that vouches for the user.
    pub issuer: String,
    /// The user's subject there: with the issuer, the person.
    pub subject: String,
    /// The target's name.
    pub target: String,
    /// The account on the target.
    pub login: String,
    /// What the channel runs.
    pub kind: Kind,
    /// The command, where one is run, or where a forwarding leads. At most 64 KiB.
    #[serde(default, with = "base64", skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<u8>>,
    /// The terminal's columns and rows, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<(u16, u16)>,
    /// `TERM`, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// Where the client connected from.
    pub source: IpAddr,
    /// The connection that the channel is on.
    pub connection: String,
    /// What is recorded where there is no terminal.
    #[serde(default, skip_serializing_if = "Bulk::is_full")]
    pub bulk: Bulk,
    /// What becomes of it where the recorder fails.
    #[serde(default, skip_serializing_if = "RecordingMode::is_strict")]
    pub mode: RecordingMode,
    /// What this part of its recording goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Box<Continues>>,
    /// A policy for emergencies (`@break_glass`) let it begin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// Who is told that it began (`@notify`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// How the user had signed in; only the recording has it, not the list or the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in: Option<Box<SignedIn>>,
}

/// The part of a session's recording before this one, and why it ended: the recorder failed, and
/// the session went on (`mode` is best-effort).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continues {
    /// The name of the part before.
    pub session: SessionId,
    /// The number of this part, from 2.
    pub part: u32,
    /// Since when nothing was recorded.
    pub since: jiff::Timestamp,
    /// Why. At most 1 KiB.
    pub reason: String,
}

/// A time in which a session went on and nobody recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// From when on.
    pub since: jiff::Timestamp,
    /// Until it was recorded again, or ended.
    pub until: jiff::Timestamp,
    /// Bytes of output that the client has and that no recorder has acknowledged. A recorder that
    /// failed may have written some of them; one that was killed also loses what it had acknowledged
    /// and not brought to the disk.
    pub bytes: u64,
    /// Why. At most 1 KiB.
    pub reason: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            since,
            until,
            bytes,
            reason,
        } = self;
        write!(
            f,
            "nothing was recorded from {since:.0} to {until:.0}, in which {bytes} bytes went by: {reason}"
        )
    }
}

/// What policies were asked about the user of a session, beside who it is: so that other policies
/// can be asked the same later (`bastion policy dry-run`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedIn {
    /// When.
    pub at: jiff::Timestamp,
    /// The groups of the sign-in, sorted.
    pub groups: Vec<String>,
    /// The verified address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A pipeline or an agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub service: bool,
    /// The fingerprint of the client's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only an approved request allowed the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approved: bool,
}

impl SignedIn {
    /// None where the groups are so many that a recording would begin with little else.
    #[must_use]
    pub fn bounded(self) -> Option<Box<Self>> {
        let bytes: usize = self.groups.iter().map(|group| group.len() + 3).sum();
        (bytes <= GROUPS_BYTES).then(|| Box::new(self))
    }
}

/// Groups of a recording, in bytes of its header.
const GROUPS_BYTES: usize = 16 * 1024;

/// What is recorded of a channel without a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bulk {
    /// Everything.
    #[default]
    Full,
    /// The first and the last 64 KiB of each stream, and size and SHA-256 of all of it.
    Ends,
}

impl Bulk {
    fn is_full(&self) -> bool {
        *self == Self::Full
    }
}

/// What a channel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A shell.
    Shell,
    /// One command.
    Exec,
    /// The sftp subsystem.
    Sftp,
    /// A port or socket that the target reaches.
    Forward,
    /// The client's agent, for the target.
    Agent,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Sftp => "sftp",
            Self::Forward => "forward",
            Self::Agent => "agent",
        })
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// With this status.
    Code(u32),
    /// By this signal, named without `SIG`.
    Signal(String),
}

impl ExitStatus {
    /// The number that a shell shows: 128 and the signal's number for a signal of POSIX, 255
    /// for any other.
    pub fn shell_code(&self) -> i32 {
        match self {
            Self::Code(code) => i32::try_from(*code).unwrap_or(255),
            Self::Signal(name) => SIGNALS
                .iter()
                .find_map(|(known, number)| (known == name).then_some(128 + number))
                .unwrap_or(255),
        }
    }
}

/// The signals of RFC 4254 §6.10.
const SIGNALS: [(&str, i32); 13] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

/// What became of the output's bytes: `scanner::Coverage`, in the recorder's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// Left as they came.
    pub passed: u64,
    /// Replaced.
    pub masked: u64,
    /// Withheld for a decision.
    pub held: u64,
    /// Not readable as text.
    pub unreadable: u64,
}

impl From<scanner::Coverage> for Coverage {
    fn from(coverage: scanner::Coverage) -> Self {
        Self {
            passed: coverage.passed,
            masked: coverage.masked,
            held: coverage.held,
            unreadable: coverage.unreadable,
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How the command ended, if the target said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExitStatus>,
    /// What became of the output's bytes.
    #[serde(default)]
    pub coverage: Coverage,
    /// Why it ended, where it was not the command's own end. Cut at 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The session is over, and not only its recording, where it goes on if the recorder fails: only
    /// whoever carries the session can know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

impl End {
    /// For a session that was cut, with the line that says why.
    pub fn because(reason: &str) -> Self {
        Self {
            reason: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    /// With everything that a target chose cut to its limit.
    pub(crate) fn bounded(mut self) -> Self {
        self.reason = self.reason.map(bounded_reason);
        if let Some(ExitStatus::Signal(name)) = &mut self.status {
            name.truncate(name.floor_char_boundary(SIGNAL_BYTES));
        }
        self
    }
}

/// A reason, cut to its limit.
pub(super) fn bounded_reason(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
    reason
}

const REASON_BYTES: usize = 1024;
const SIGNAL_BYTES: usize = 64;

/// What a session's recording came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Bytes of standard output, or of all output of a terminal.
    pub stdout: u64,
    /// Their SHA-256, in lower-case hexadecimal; none of more than [`recording::sum::Sum::HASHED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_sha256: Option<String>,
    /// Bytes of standard error.
    pub stderr: u64,
    /// Their SHA-256, in lower-case hexadecimal; none of more than [`recording::sum::Sum::HASHED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_sha256: Option<String>,
    /// Bytes of the file.
    pub file: u64,
}

/// One session in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub id: SessionId,
    /// What it is. Its command is cut at 1 KiB.
    pub about: About,
    /// When it started.
    pub started: jiff::Timestamp,
    /// How and when it ended; `None` while it is active.
    pub ended: Option<Ended>,
    /// When it went on unrecorded, as far as the recorder was told.
    pub gaps: Vec<Gap>,
    /// How many frames of its recording are withheld.
    pub withheld: u32,
}

impl Summary {
    /// Whether the session is still going on.
    pub fn is_active(&self) -> bool {
        self.ended.is_none()
    }
}

/// The end of a session in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: jiff::Timestamp,
    /// How.
    pub end: End,
    /// What it came to.
    pub totals: Totals,
    /// The recorder did not live to write the end: the last seconds may be missing.
    pub recovered: bool,
}

/// Commands are bytes; JSON holds text.
mod base64 {
    use data_encoding::BASE64;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&BASE64.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| BASE64.decode(text.as_bytes()).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_read_as_written(bits: u128) {
            let id = SessionId::of(bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        /// Nothing that could lead out of a folder is a name.
        #[test]
        fn only_names_are_names(text in "[0-9a-zA-Z./\\x00-]{24,28}") {
            let good = text.len() == 26 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
            prop_assert_eq!(text.parse::<SessionId>().is_ok(), good);
        }
    }

    #[test]
    fn names_differ_in_each_bit() {
        let names: std::collections::BTreeSet<_> =
            (0..128).map(|bit| SessionId::of(1 << bit)).collect();
        assert_eq!(names.len(), 128);
    }
}
