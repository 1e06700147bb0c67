//! The audit log's lines from any place on, checked to be one chain. Does no I/O: bytes in, events
//! out.

use recording::seal::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A place in the log: behind a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The line's number, from 1; 0 before the first.
    pub(crate) seq: u64,
    /// The hash of the line.
    pub(crate) hash: Hash,
    /// The byte at which it begins.
    pub(crate) start: u64,
    /// The byte behind its line feed.
    pub(crate) end: u64,
}

impl Place {
    /// Before the first line.
    pub(crate) const START: Self = Self {
        seq: 0,
        hash: Hash([0; 32]),
        start: 0,
        end: 0,
    };

    /// Whether `bytes`, which stand from `start` to `end`, are the line that this place is behind.
    pub(crate) fn is_behind(&self, bytes: &[u8]) -> bool {
        match bytes.split_last() {
            Some((b'\n', line)) => Hash::of(line) == self.hash && number_of(line) == Some(self.seq),
            Some(_) => false,
            None => *self == Self::START,
        }
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The line without its end.
    pub(crate) line: Vec<u8>,
    /// What stands in it.
    pub(crate) event: Map<String, Value>,
    /// Behind it.
    pub(crate) place: Place,
}

/// The log is no chain: lines were changed, left out or put in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the audit log is not whole: the line after event {after} {what}; see bastion audit verify"
)]
pub(crate) struct Broken {
    /// The last event that was right.
    pub(crate) after: u64,
    what: &'static str,
}

/// Takes the bytes of the log as they are read, and gives its events.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Behind the last event that was given.
    place: Place,
    /// The hash that the next line carries.
    previous: Hash,
    /// A line that a crash has torn is followed by an event that says so.
    torn: bool,
    /// What was taken and not given, and how much of it has been looked at.
    bytes: Vec<u8>,
    used: usize,
    /// The place of the byte after `bytes`.
    offset: u64,
}

impl Chain {
    /// From this place on.
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            previous: place.hash,
            torn: false,
            bytes: Vec::new(),
            used: 0,
            offset: place.end,
        }
    }

    /// The place of the bytes that are wanted next.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the bytes that stand there.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
    }

    /// The next event; none until more bytes come.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Broken> {
        loop {
            let rest = self.bytes.get(self.used..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                return match rest.len() > LINE_MAX {
                    true => Err(self.broken("has no end")),
                    false => Ok(None),
                };
            };
            let line = rest.get(..length).unwrap_or_default().to_vec();
            let start = self.offset - rest.len() as u64;
            let end = start + length as u64 + 1;
            let parsed = serde_json::from_slice::<Map<String, Value>>(&line);
            let hash = Hash::of(&line);
            let Ok(event) = parsed else {
                if self.torn {
                    return Err(self.broken("is not JSON, nor is the line before"));
                }
                (self.torn, self.previous) = (true, hash);
                self.used += length + 1;
                continue;
            };
            self.check(&event)?;
            self.used += length + 1;
            (self.torn, self.previous) = (false, hash);
            self.place = Place {
                seq: self.place.seq + 1,
                hash,
                start,
                end,
            };
            return Ok(Some(Entry {
                line,
                event,
                place: self.place,
            }));
        }
    }

    fn check(&self, event: &Map<String, Value>) -> Result<(), Broken> {
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        if event.get("seq").and_then(Value::as_u64) != Some(self.place.seq + 1) {
            return Err(self.broken("has not the number that follows"));
        }
        if text("prev") != Some(&self.previous.to_string()) {
            return Err(self.broken("does not carry the hash of the line before"));
        }
        if self.torn != (text("event") == Some("torn_line")) {
            return Err(self.broken("follows one that is torn, or says so without one"));
        }
        Ok(())
    }

    fn broken(&self, what: &'static str) -> Broken {
        Broken {
            after: self.place.seq,
            what,
        }
    }
}

/// The number of a line, which the recorder writes first; none where it is no line of a log.
pub(crate) fn number_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let digits = rest.split(|byte| *byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// No line is longer: the recorder takes no longer event.
pub(super) const LINE_MAX: usize = 1024 * 1024;

#[cfg(test)]
pub(crate) mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops where its preparation fails"
    )]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A log of these events as the recorder writes it; one that is no JSON is a torn line.
    pub(crate) fn log_of(events: &[&str]) -> String {
        let (mut text, mut previous, mut seq) = (String::new(), Hash([0; 32]), 0);
        for event in events {
            let line = match event.starts_with('{') {
                true => (*event).to_owned(),
                false => {
                    seq += 1;
                    let time = "2026-11-26T03:00:00Z";
                    let event = json!({ "time": time, "event": event }).to_string();
                    let members = &event[1..event.len() - 1];
                    format!("{{\"seq\":{seq},{members},\"prev\":\"{previous}\"}}")
                }
            };
            previous = Hash::of(line.as_bytes());
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn all(text: &str, cut: usize, from: Place) -> Result<Vec<Entry>, Broken> {
        let mut chain = Chain::new(from);
        let mut entries = Vec::new();
        let rest = text.as_bytes().get(from.end as usize..).unwrap();
        for piece in rest.chunks(cut) {
            chain.take(piece);
            while let Some(entry) = chain.next()? {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    #[test]
    fn events_are_given_from_any_place_on() {
        let text = log_of(&[
            "started",
            "{\"seq\":2,\"ev",
            "torn_line",
            "stopped",
            "started",
        ]);
        let whole = all(&text, 1000, Place::START).unwrap();
        assert_eq!(whole.len(), 4);
        for (at, entry) in whole.iter().enumerate() {
            let line = &text.as_bytes()[entry.place.start as usize..entry.place.end as usize];
            assert!(entry.place.is_behind(line));
            assert!(
                !Place {
                    seq: 9,
                    ..entry.place
                }
                .is_behind(line)
            );
            assert_eq!(all(&text, 7, entry.place).unwrap(), whole[at + 1..]);
        }
        assert!(Place::START.is_behind(b"") && !whole[0].place.is_behind(b""));
    }

    #[test]
    fn a_log_that_was_changed_is_not_gone_on_with() {
        let text = log_of(&["started", "stopped", "started", "stopped"]);
        let lines: Vec<&str> = text.lines().collect();
        let changed = [
            text.replacen("stopped", "starved", 1),
            format!("{}\n{}\n{}\n", lines[0], lines[2], lines[3]),
            format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1]),
            format!("{}\nx\ny\n{}\n", lines[0], lines[1]),
            format!("{}\nx\n{}\n", lines[0], lines[1]),
            log_of(&["started", "torn_line"]),
        ];
        for text in changed {
            assert!(all(&text, 1000, Place::START).is_err(), "{text}");
        }
        let endless = "x".repeat(LINE_MAX + 1);
        assert!(all(&endless, 100_000, Place::START).is_err());
    }

    proptest! {
        /// However it is read, the log is the same.
        #[test]
        fn cuts_do_not_show(kinds in prop::collection::vec(0..3usize, 0..12), cut in 1..200usize) {
            let mut events = Vec::new();
            for kind in kinds {
                match kind {
                    0 => events.push("started"),
                    1 => events.push("stopped"),
                    _ => events.extend(["{torn", "torn_line"]),
                }
            }
            let text = log_of(&events);
            prop_assert_eq!(all(&text, cut, Place::START), all(&text, 1 << 20, Place::START));
        }
    }
}
