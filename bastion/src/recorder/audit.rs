//! The audit log's file: events from `serve`, chained line by line, by the one writer there is.
//!
//! `serve` sends an event as a JSON object and can do nothing else to the file. A line is that
//! object with a number before it and the hash of the line before behind it. The notary puts the
//! hash of the last line into the log of the recordings, so that a checkpoint fixes every line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use recording::log::Leaf;
use recording::seal::Hash;
use serde_json::{Map, Value, json};

use super::link::Out;
use super::log::{Log, now_ms};
use super::wire::Failure;
use crate::audit::Wanted;
use crate::record::{Gap, SessionId};

/// The queue of the audit log's thread.
#[derive(Debug)]
pub(super) struct Audit {
    state: Mutex<State>,
    more: Condvar,
    file: Arc<File>,
}

#[derive(Debug, Default)]
struct State {
    chain: Option<Chain>,
    waiting: VecDeque<Waiting>,
    /// The last line that is on disk, and the last of which the log has a leaf.
    synced: Option<(u64, Hash)>,
    /// How long the part of the file is that is on disk.
    synced_bytes: u64,
    logged: u64,
    failed: Option<String>,
    stop: bool,
}

/// An event that has come.
#[derive(Debug)]
pub(super) struct Waiting {
    /// A JSON object.
    pub(super) event: Vec<u8>,
    /// Who is answered, and whether only when it is on disk.
    pub(super) answer: Option<Answer>,
}

/// Who waits until an event is written.
#[derive(Debug)]
pub(super) enum Answer {
    /// Somebody at the other end, on this channel.
    Peer(Arc<Out>, u32, Wanted),
    /// A thread here, until it is on disk.
    Here(SyncSender<Result<(), String>>),
}

impl Answer {
    fn is_durable(&self) -> bool {
        matches!(self, Self::Here(_) | Self::Peer(_, _, Wanted::Durable))
    }

    fn give(self, written: Result<(), String>) {
        match (self, written) {
            (Self::Peer(out, channel, _), Ok(())) => out.done(channel),
            (Self::Peer(out, channel, _), Err(error)) => out.failed(channel, &Failure::Io(error)),
            // Whoever asked waits for it.
            (Self::Here(told), written) => told.send(written).unwrap_or(()),
        }
    }
}

/// Where the chain stands.
#[derive(Clone, Debug)]
struct Chain {
    next: u64,
    previous: Hash,
}

impl Audit {
    /// Takes the file, which is locked with its folder, and puts its end in order: a last line
    /// that is not whole is kept and followed by one that says so.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let mut chain = Chain {
            next: 1,
            previous: Hash([0; 32]),
        };
        chain.resume(&file)?;
        let synced = chain.last();
        file.sync_data()?;
        let synced_bytes = file.metadata()?.len();
        Ok(Self {
            state: Mutex::new(State {
                chain: Some(chain),
                synced,
                synced_bytes,
                ..State::default()
            }),
            more: Condvar::new(),
            file: Arc::new(file),
        })
    }

    /// Takes an event.
    pub(super) fn push(&self, waiting: Waiting) -> Result<(), String> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.waiting.len() >= WAITING_MAX {
            return Err("too many events wait to be written".to_owned());
        }
        state.waiting.push_back(waiting);
        drop(state);
        self.more.notify_one();
        Ok(())
    }

    /// Notes what the recorder itself does.
    pub(super) fn note(&self, event: &str, session: Option<&SessionId>) -> Result<(), String> {
        let mut event = json!({ "time": Timestamp::now(), "event": event });
        if let (Some(members), Some(session)) = (event.as_object_mut(), session) {
            members.insert("session".to_owned(), json!(session));
        }
        self.push(Waiting {
            event: event.to_string().into_bytes(),
            answer: None,
        })
    }

    /// Notes that a session went on unrecorded.
    pub(super) fn note_gap(
        &self,
        session: &SessionId,
        continued: Option<SessionId>,
        gap: &Gap,
    ) -> Result<(), String> {
        let event = json!({
            "time": Timestamp::now(),
            "event": "recording_gap",
            "session": session,
            "continued": continued,
            "since": gap.since,
            "until": gap.until,
            "bytes": gap.bytes,
            "reason": gap.reason,
        });
        self.push(Waiting {
            event: event.to_string().into_bytes(),
            answer: None,
        })
    }

    /// Notes that frames of a recording are withheld. When this returns, it is on disk.
    pub(super) fn note_redaction(
        &self,
        session: &SessionId,
        frames: &str,
        by: &str,
        reason: Option<&str>,
    ) -> Result<(), String> {
        let event = json!({
            "time": Timestamp::now(),
            "event": "recording_redacted",
            "session": session,
            "frames": frames,
            "by": by,
            "reason": reason,
        });
        let (told, written) = std::sync::mpsc::sync_channel(1);
        self.push(Waiting {
            event: event.to_string().into_bytes(),
            answer: Some(Answer::Here(told)),
        })?;
        let gone = |_| "the recorder is being stopped".to_owned();
        written.recv().map_err(gone)?
    }

    /// Why events cannot be written, if they cannot.
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// The file, for reading.
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// How many bytes of the file are on disk, which no crash takes back.
    pub(super) fn synced_bytes(&self) -> u64 {
        self.state().synced_bytes
    }

    /// The leaf for the lines that are on disk and that the log does not know.
    pub(super) fn leaf(&self) -> Option<Leaf> {
        let mut state = self.state();
        let (last, line) = state.synced.filter(|(last, _)| *last > state.logged)?;
        state.logged = last;
        Some(Leaf::Audit {
            at_ms: now_ms(),
            last,
            line,
        })
    }

    /// Ends the thread when nothing waits any more.
    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.more.notify_one();
    }

    /// The thread: writes what waits, and synchronises once for all who wait for that.
    pub(super) fn run(&self, log: &Log) {
        let mut unsynced_since: Option<Instant> = None;
        while let Some((batch, chain)) = self.next(unsynced_since) {
            let durable =
                |waiting: &Waiting| waiting.answer.as_ref().is_some_and(Answer::is_durable);
            let late = unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_EVERY);
            let sync = late || batch.is_empty() || batch.iter().any(durable);
            match self.write(&batch, chain, sync) {
                Ok((chain, length)) => {
                    let mut state = self.state();
                    if sync {
                        state.synced = chain.last();
                        state.synced_bytes = length;
                        unsynced_since = None;
                    } else {
                        unsynced_since = unsynced_since.or_else(|| Some(Instant::now()));
                    }
                    state.chain = Some(chain);
                    drop(state);
                    if sync {
                        log.expect_leaf();
                    }
                    for answer in batch.into_iter().filter_map(|w| w.answer) {
                        answer.give(Ok(()));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the audit log cannot be written");
                    let error = error.to_string();
                    let late = {
                        let mut state = self.state();
                        state.failed = Some(error.clone());
                        std::mem::take(&mut state.waiting)
                    };
                    for answer in batch.into_iter().chain(late).filter_map(|w| w.answer) {
                        answer.give(Err(error.clone()));
                    }
                    return;
                }
            }
        }
    }

    /// Answers with the chain and the length of the file after it.
    fn write(&self, batch: &[Waiting], mut chain: Chain, sync: bool) -> io::Result<(Chain, u64)> {
        let mut text = Vec::new();
        for waiting in batch.iter().filter(|waiting| !waiting.event.is_empty()) {
            chain.add(&mut text, &waiting.event)?;
        }
        (&*self.file).write_all(&text)?;
        if sync {
            self.file.sync_data()?;
        }
        Ok((chain, self.file.metadata()?.len()))
    }

    /// Waits for events, for the time to sync (then there are none), or for the end.
    fn next(&self, unsynced_since: Option<Instant>) -> Option<(Vec<Waiting>, Chain)> {
        let mut state = self.state();
        loop {
            let left = unsynced_since.map(|since| SYNC_EVERY.saturating_sub(since.elapsed()));
            let late = left.is_some_and(|left| left.is_zero());
            if !state.waiting.is_empty() || late || (state.stop && unsynced_since.is_some()) {
                let batch = std::mem::take(&mut state.waiting).into();
                return Some((batch, state.chain.take()?));
            }
            if state.stop {
                return None;
            }
            state = match left {
                Some(left) => {
                    let waited = self.more.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .more
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chain {
    /// The number and the hash of the last line.
    fn last(&self) -> Option<(u64, Hash)> {
        let last = self.next.checked_sub(1).filter(|last| *last > 0)?;
        Some((last, self.previous))
    }

    /// Adds a line with this event.
    fn add(&mut self, text: &mut Vec<u8>, event: &[u8]) -> io::Result<()> {
        let start = text.len();
        let members = event
            .strip_prefix(b"{")
            .and_then(|event| event.strip_suffix(b"}"))
            .filter(|members| !members.is_empty())
            .ok_or(io::ErrorKind::InvalidData)?;
        text.extend_from_slice(format!("{{\"seq\":{},", self.next).as_bytes());
        text.extend_from_slice(members);
        text.extend_from_slice(format!(",\"prev\":\"{}\"}}", self.previous).as_bytes());
        self.previous = Hash::of(text.get(start..).unwrap_or_default());
        self.next += 1;
        text.push(b'\n');
        Ok(())
    }

    /// Finds the end of the chain, and closes a line that was left open.
    fn resume(&mut self, mut file: &File) -> io::Result<()> {
        let length = file.metadata()?.len();
        let begin = length.saturating_sub(TAIL_MAX);
        file.seek(SeekFrom::Start(begin))?;
        let mut tail = Vec::new();
        file.take(TAIL_MAX).read_to_end(&mut tail)?;
        let torn = match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => tail.split_off(end + 1),
            None => std::mem::take(&mut tail),
        };
        tail.pop();
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        let mut last = lines.next().unwrap_or_default();
        // A line that was torn and closed, of which nothing could be said yet: the disk was full.
        let mut closed = None;
        if !last.is_empty() && sequence(last).is_none() {
            closed = Some(last.to_vec());
            last = lines.next().unwrap_or_default();
        }
        if !last.is_empty() {
            let number = sequence(last)
                .ok_or_else(|| io::Error::other("the last line is not one of an audit log"))?;
            self.next = number
                .checked_add(1)
                .ok_or_else(|| io::Error::other("the last line's number is none"))?;
            self.previous = Hash::of(last);
        } else if begin > 0 {
            return Err(io::Error::other(
                "the last line is too long for an audit log",
            ));
        }
        let mut text = Vec::new();
        let torn = match closed {
            // What follows it is our own event, half written, of which nobody was told.
            Some(closed) => {
                file.set_len(length - torn.len() as u64)?;
                closed
            }
            None if torn.is_empty() => return Ok(()),
            None => {
                text.push(b'\n');
                torn
            }
        };
        self.previous = Hash::of(&torn);
        if sequence(&torn) == Some(self.next) {
            // Only its line feed was missing.
            self.next += 1;
            return file.write_all(&text);
        }
        let event = json!({ "time": Timestamp::now(), "event": "torn_line", "bytes": torn.len() });
        self.add(&mut text, event.to_string().as_bytes())?;
        file.write_all(&text)
    }
}

/// An event as it comes over the socket: an object of one line that does not number itself.
pub(super) fn is_event(event: &[u8]) -> bool {
    if event.iter().any(|byte| *byte < b' ') {
        return false;
    }
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(event) else {
        return false;
    };
    let ours = ["seq", "prev"]
        .iter()
        .any(|ours| members.contains_key(*ours))
        || members
            .get("event")
            .and_then(Value::as_str)
            .is_some_and(|event| OWN_EVENTS.contains(&event));
    event.starts_with(b"{") && event.ends_with(b"}") && !members.is_empty() && !ours
}

/// Events that wait for the disk; whoever is honest has a few dozen on their way.
const WAITING_MAX: usize = 1024;

/// What only the recorder says, of itself.
const OWN_EVENTS: [&str; 6] = [
    "torn_line",
    "recording_opened",
    "recording_expired",
    "recording_gap",
    "recording_redacted",
    "audit_opened",
];

fn sequence(line: &[u8]) -> Option<u64> {
    let line: Value = serde_json::from_slice(line).ok()?;
    line.get("seq")?.as_u64()
}

/// How long an event may be in the system's memory only.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// No line is longer: the socket takes no longer event.
const TAIL_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_neither_number_events_nor_speak_for_the_recorder() {
        assert!(is_event(br#"{"event":"signed_out","leases":1}"#));
        for refused in [
            r#"{"event":"x","seq":1}"#,
            r#"{"event":"x","prev":""}"#,
            r#"{"event":"torn_line"}"#,
            r#"{"event":"recording_expired"}"#,
            r#"{"event":"torn\u005fline"}"#,
            r#"["event"]"#,
            "{}",
            "",
        ] {
            assert!(!is_event(refused.as_bytes()), "{refused}");
        }
    }
}
