//! The events of an asciicast, as they are read and written.

use std::collections::BTreeMap;
use std::time::Duration;

/// Which of a session's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, and everything where there is a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name that an `S` event carries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The stream of this name, if it is one.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr]
            .into_iter()
            .find(|stream| stream.name() == name)
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Stdout => Self::Stderr,
            Self::Stderr => Self::Stdout,
        }
    }
}

/// What stands before the events: asciicast v1 to v3.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// 1, 2 or 3.
    pub version: u8,
    /// Columns of the terminal.
    pub cols: u16,
    /// Rows of the terminal.
    pub rows: u16,
    /// `TERM`, where known.
    pub term: Option<String>,
    /// Unix time in seconds at which the session began.
    pub timestamp: Option<u64>,
    /// Longest pause that a player should make.
    pub idle_time_limit: Option<Duration>,
    /// The command, where one was run.
    pub command: Option<String>,
    /// A title.
    pub title: Option<String>,
    /// The recorded environment.
    pub env: BTreeMap<String, String>,
    /// Tags (v3).
    pub tags: Vec<String>,
    /// Every key that is not known here, kept.
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// One event, at its time since the start of the session.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Microseconds since the start: absolute, whatever the version says it in.
    pub time: u64,
    /// What happened.
    pub data: EventData,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum EventData {
    /// `o`: output.
    Output(String),
    /// `i`: input.
    Input(String),
    /// `m`: a marker.
    Marker(String),
    /// `r`: the terminal was resized.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// `x`: the exit status (v3).
    Exit(i32),
    /// Any other code with its data, kept.
    Other {
        /// The code.
        code: String,
        /// Its data.
        data: serde_json::Value,
    },
}
