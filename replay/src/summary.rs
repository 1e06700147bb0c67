//! What there is to say about a recording without playing it.

use std::io::Read;

use recording::event::{EventData, Header};
use recording::read::{Damage, Item, OpenError, Reader, Warning};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::about::About;

/// A recording in short. Text is as recorded: [`safe`](crate::safe) makes it fit to show.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The header.
    pub header: Header,
    /// Who, where and what.
    pub about: About,
    /// The time of the last event, in microseconds.
    pub duration: u64,
    /// Events of all codes.
    pub events: u64,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Changes of size.
    pub resizes: u64,
    /// Times in microseconds and labels of the first thousand markers.
    pub markers: Vec<(u64, String)>,
    /// What is [withheld](recording::redact) of it, as it says itself: the first thousand frames.
    pub withheld: Vec<Withheld>,
    /// The exit status.
    pub exit: Option<i32>,
    /// The account with which a bastion ends a session: bytes and hashes of its streams, what
    /// was masked, and why and by which signal it ended, where one ended it.
    pub account: Option<Value>,
    /// Bytes of the file.
    pub size: u64,
    /// What is damaged.
    pub warnings: Vec<Warning>,
}

/// A frame that is withheld.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// Its number.
    pub frame: u32,
    /// Bytes of its text.
    pub bytes: u64,
    /// Milliseconds from the start to its first event.
    pub from_ms: u64,
    /// The same for its last.
    pub to_ms: u64,
    /// SHA-256 of the frame.
    pub sha256: recording::seal::Hash,
}

/// In what state a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Read to its end, nothing amiss.
    Whole,
    /// It has no end: the session is running, or its recorder was stopped.
    Unfinished,
    /// Something in it is damaged.
    Damaged,
}

/// Markers that a summary names.
const MARKERS_MAX: usize = 1000;

impl Summary {
    /// Reads a recording to its end.
    ///
    /// # Errors
    ///
    /// When there is nothing to read in it.
    pub fn read(input: impl Read) -> Result<Self, OpenError> {
        let mut reader = Reader::open(input)?;
        let header = reader.header().clone();
        let mut summary = Self {
            about: About::of(&header),
            header,
            duration: 0,
            events: 0,
            output_bytes: 0,
            resizes: 0,
            markers: Vec::new(),
            withheld: Vec::new(),
            exit: None,
            account: None,
            size: 0,
            warnings: Vec::new(),
        };
        for item in &mut reader {
            summary.add(item);
        }
        summary.size = reader.consumed();
        Ok(summary)
    }

    fn add(&mut self, item: Item) {
        let event = match item {
            Item::Event(event) => event,
            Item::Warning(warning) => {
                self.warnings.push(warning);
                return;
            }
        };
        self.events += 1;
        self.duration = event.time;
        match event.data {
            EventData::Output(text) => self.output_bytes += text.len() as u64,
            EventData::Resize { .. } => self.resizes += 1,
            EventData::Marker(label) if self.markers.len() < MARKERS_MAX => {
                self.markers.push((event.time, label));
            }
            EventData::Exit(status) => self.exit = Some(status),
            EventData::Other { code, data } if code == "E" => self.account = account(data),
            EventData::Other { code, data } if code == "W" && self.withheld.len() < MARKERS_MAX => {
                let text = data.as_str();
                let told = text.and_then(|text| serde_json::from_str(text).ok());
                self.withheld.extend(told);
            }
            EventData::Marker(_) | EventData::Input(_) | EventData::Other { .. } => {}
        }
    }

    /// Text under a key of the account.
    pub fn account_text(&self, key: &str) -> Option<&str> {
        self.account.as_ref()?.get(key)?.as_str()
    }

    /// In what state it is.
    pub fn state(&self) -> State {
        let unfinished = |warning: &Warning| warning.damage == Damage::Unfinished;
        match self.warnings.as_slice() {
            [] => State::Whole,
            warnings if warnings.iter().all(unfinished) => State::Unfinished,
            _ => State::Damaged,
        }
    }
}

/// The account is JSON in a string, so that other players can read the line.
fn account(data: Value) -> Option<Value> {
    match data {
        Value::String(text) => serde_json::from_str(&text).ok(),
        Value::Object(_) => Some(data),
        _ => None,
    }
}
