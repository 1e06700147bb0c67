//! What happened: typed events, written as JSON lines that are chained by their hashes.
//!
//! Owns the file and the one writer. Carries no secret and no byte of a target's output. Whatever a
//! person, target or provider chose is escaped by JSON; no event is put together from text.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

/// A person in the log: the identity and the name of that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Who {
    /// The OpenID provider.
    pub issuer: String,
    /// Its unchanging name of the person.
    pub subject: String,
    /// For display.
    pub name: String,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The bastion began to serve.
    Started {
        /// The version of the program.
        version: String,
        /// Where it listens.
        addresses: Vec<String>,
    },
    /// The bastion stopped serving.
    Stopped,
    /// A connection ended before anybody signed in.
    ConnectionRefused {
        /// The address of the client.
        source: IpAddr,
        /// Why.
        reason: String,
    },
    /// A device code was shown.
    SignInBegun {
        /// The connection.
        connection: String,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the proven key.
        key: Option<String>,
    },
    /// Somebody signed in.
    SignInSucceeded {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The groups of the sign-in.
        groups: Vec<String>,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the key that has the lease.
        key: Option<String>,
        /// Id of the lease.
        lease: i64,
        /// When the lease ends.
        expires_at: Timestamp,
    },
    /// A sign-in failed.
    SignInRefused {
        /// The connection.
        connection: String,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the key.
        key: Option<String>,
        /// Why.
        reason: String,
    },
    /// A key was let in by its lease.
    LeaseUsed {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the key.
        key: Option<String>,
        /// Id of the lease.
        lease: i64,
    },
    /// Leases were ended.
    SignedOut {
        /// Whose.
        user: Who,
        /// How many.
        leases: usize,
    },
    /// A channel to a target was allowed.
    ChannelAllowed {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// What.
        action: String,
        /// The command, with what is not UTF-8 replaced.
        command: Option<String>,
        /// The policies that permitted it.
        policies: Vec<String>,
        /// Whether one of them is for emergencies (`@break_glass`).
        break_glass: bool,
        /// Who is to hear of it (`@notify`).
        notify: Vec<String>,
    },
    /// A channel was refused.
    ChannelDenied {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// The target that was asked for, whether it exists or not.
        target: String,
        /// The account there.
        login: String,
        /// What.
        action: String,
        /// The command, with what is not UTF-8 replaced.
        command: Option<String>,
        /// Why.
        reason: String,
        /// The policies that forbade it.
        policies: Vec<String>,
    },
    /// A target could not be reached or did not prove its identity.
    TargetFailed {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// Why.
        reason: String,
    },
    /// A session began.
    SessionStarted {
        /// The connection.
        connection: String,
        /// Id of the session and its recording.
        session: String,
        /// Who.
        user: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// `shell`, `exec` or `sftp`.
        kind: String,
    },
    /// A session ended.
    SessionEnded {
        /// Id of the session.
        session: String,
        /// Bytes that left as they came.
        passed: u64,
        /// Bytes that were replaced.
        masked: u64,
        /// Bytes that were withheld.
        held: u64,
        /// Bytes that could not be read as text.
        unreadable: u64,
        /// The exit status, or the name of the signal.
        status: Option<String>,
        /// Why it ended, where it was not by itself.
        reason: Option<String>,
    },
    /// Somebody played or fetched a recording.
    RecordingRead {
        /// Who.
        user: Who,
        /// Id of the session.
        session: String,
        /// `play` or `recording`.
        action: String,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A console command was refused.
    ConsoleDenied {
        /// Who.
        user: Who,
        /// What.
        action: String,
        /// About what.
        what: String,
        /// Why.
        reason: String,
    },
    /// A lease was ended before its time.
    LeaseEnded {
        /// Whose.
        user: Who,
        /// Id of the lease.
        lease: i64,
        /// Fingerprint of the key.
        key: Option<String>,
        /// Why.
        reason: String,
        /// Sessions that ended with it.
        sessions: usize,
    },
    /// The provider could not be asked again about somebody, who may go on for now.
    NotRechecked {
        /// Whose lease.
        user: Who,
        /// Id of the lease.
        lease: i64,
        /// Why.
        reason: String,
    },
    /// Somebody who was known signed in with a key that was not.
    KeyEnrolled {
        /// Who.
        user: Who,
        /// Fingerprint of the key.
        key: Option<String>,
        /// The address of the client.
        source: IpAddr,
    },
    /// Somebody ended sessions from the console.
    SessionsEnded {
        /// Who.
        user: Who,
        /// Ids of the sessions.
        sessions: Vec<String>,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A user or a target was locked.
    Locked {
        /// Who did.
        user: Who,
        /// `user` or `target`.
        kind: String,
        /// `ISSUER#SUBJECT`, or the target's name.
        what: String,
        /// What was given as the reason.
        reason: String,
        /// Leases that ended with it.
        leases: usize,
        /// Sessions that ended with it.
        sessions: usize,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A lock was taken away.
    Unlocked {
        /// Who did.
        user: Who,
        /// `user` or `target`.
        kind: String,
        /// `ISSUER#SUBJECT`, or the target's name.
        what: String,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// The line before this one is not whole: the program or the machine stopped while writing it.
    TornLine {
        /// Its length in bytes.
        bytes: u64,
    },
}

/// The log. Clones share one writer; the last one that goes writes what is left and closes.
#[derive(Clone)]
pub struct Audit {
    writer: Arc<Writer>,
}

/// Why an event is not in the log. What depends on it must not happen.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The writer has failed before, and does not go on.
    #[error("the audit log cannot be written: {0}")]
    Failed(String),
    /// More events wait than are kept.
    #[error("the audit log cannot be written fast enough")]
    Full,
}

impl AuditError {
    /// The line that the client is shown.
    pub fn notice(&self) -> &'static str {
        "the audit log is not available"
    }
}

impl Audit {
    /// Opens or begins the log `path`, mode 0600, and starts its writer.
    ///
    /// A last line that is not whole is kept and followed by an event that says so.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, others can read or write it, another process writes it, or its
    /// last line is not one of an audit log.
    pub fn open(path: &Path) -> io::Result<Self> {
        let log = Log::open(path)?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("audit".to_owned())
                .spawn(move || shared.write_all(log))?
        };
        Ok(Self {
            writer: Arc::new(Writer {
                shared,
                thread: Some(thread),
            }),
        })
    }

    /// Writes an event; it is on disk when this returns, so that what it tells may happen. Events
    /// of the same moment share one wait for the disk. Cancelling the wait does not take the event
    /// back.
    ///
    /// # Errors
    ///
    /// The event cannot be written, the writer has failed before, or a thousand events wait.
    pub async fn record(&self, event: Event) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        self.writer.shared.push(event, Some(done))?;
        match written.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.writer.shared.failure()),
        }
    }

    /// Hands an event to the writer, which writes it at once and has it on disk within a second.
    /// Does not wait; for what has happened already.
    ///
    /// # Errors
    ///
    /// The writer has failed before, or a thousand events wait.
    pub fn record_soon(&self, event: Event) -> Result<(), AuditError> {
        self.writer.shared.push(event, None)
    }
}

/// The handle of the writer's thread, which ends with it.
struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the audit log has panicked");
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    failed: Option<String>,
    closing: bool,
}

impl Shared {
    /// A panic of another thread leaves a queue that is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event, done: Option<oneshot::Sender<()>>) -> Result<(), AuditError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(AuditError::Failed(error.clone()));
        }
        if state.waiting.len() >= QUEUE_MAX {
            return Err(AuditError::Full);
        }
        state.waiting.push_back((Timestamp::now(), event, done));
        self.changed.notify_all();
        Ok(())
    }

    fn failure(&self) -> AuditError {
        AuditError::Failed(
            self.state()
                .failed
                .clone()
                .unwrap_or_else(|| "the writer has ended".to_owned()),
        )
    }

    /// The writer's thread: takes what waits, writes it, and syncs once for all who wait for that.
    fn write_all(&self, mut log: Log) {
        let mut unsynced_since: Option<Instant> = None;
        loop {
            let (batch, closing) = self.next_batch(unsynced_since);
            let someone_waits = batch.iter().any(|(_, _, done)| done.is_some());
            let late = unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_EVERY);
            let sync = someone_waits || late || closing;
            let written = log.append(&batch);
            if let Err(error) =
                written.and_then(|()| if sync { log.file.sync_data() } else { Ok(()) })
            {
                tracing::error!(%error, "the audit log cannot be written");
                let mut state = self.state();
                state.failed = Some(error.to_string());
                // Those who wait see their sender go.
                state.waiting.clear();
                return;
            }
            unsynced_since = if sync || batch.is_empty() {
                None
            } else {
                unsynced_since.or_else(|| Some(Instant::now()))
            };
            for (_, _, done) in batch {
                // Who has stopped waiting does not need the answer.
                if let Some(done) = done {
                    done.send(()).unwrap_or(());
                }
            }
            if closing {
                return;
            }
        }
    }

    /// Waits for events, for the time to sync, or for the end, which comes after the last event.
    fn next_batch(&self, unsynced_since: Option<Instant>) -> (VecDeque<Waiting>, bool) {
        let mut state = self.state();
        while state.waiting.is_empty() && !state.closing {
            let Some(since) = unsynced_since else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = SYNC_EVERY.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (std::mem::take(&mut state.waiting), state.closing)
    }
}

/// An event, when it happened, and who waits until it is on disk.
type Waiting = (Timestamp, Event, Option<oneshot::Sender<()>>);

/// The file, and where its chain stands.
struct Log {
    file: File,
    next: u64,
    previous: String,
}

/// One line: what is common to all events, then the event's own members.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
    /// SHA-256 of the line before, without its line feed, in hexadecimal.
    prev: &'a str,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} must be a regular file of mode 0600",
                path.display()
            )));
        }
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |_| io::Error::other(format!("{} is written by another process", path.display())),
        )?;
        let mut log = Self {
            file,
            next: 1,
            previous: FIRST.to_owned(),
        };
        log.resume(metadata.len())?;
        Ok(log)
    }

    /// Finds the end of the chain, and closes a line that was left open.
    fn resume(&mut self, length: u64) -> io::Result<()> {
        let begin = length.saturating_sub(TAIL_MAX);
        self.file.seek(SeekFrom::Start(begin))?;
        let mut tail = Vec::new();
        (&self.file).take(TAIL_MAX).read_to_end(&mut tail)?;
        let torn = match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => tail.split_off(end + 1),
            None => std::mem::take(&mut tail),
        };
        tail.pop();
        let last = tail
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        if !last.is_empty() {
            let number = sequence(last)
                .ok_or_else(|| io::Error::other("the last line is not one of an audit log"))?;
            self.next = number + 1;
            self.previous = hash(last);
        } else if begin > 0 {
            return Err(io::Error::other(
                "the last line is too long for an audit log",
            ));
        }
        if torn.is_empty() {
            return Ok(());
        }
        self.file.write_all(b"\n")?;
        self.previous = hash(&torn);
        if sequence(&torn) == Some(self.next) {
            // Only its line feed was missing.
            self.next += 1;
            return self.file.sync_data();
        }
        let event = Event::TornLine {
            bytes: torn.len() as u64,
        };
        self.append(&VecDeque::from([(Timestamp::now(), event, None)]))?;
        self.file.sync_data()
    }

    fn append(&mut self, batch: &VecDeque<Waiting>) -> io::Result<()> {
        let mut text = Vec::new();
        for (time, event, _) in batch {
            let line = Line {
                seq: self.next,
                time: *time,
                event,
                prev: &self.previous,
            };
            let line = serde_json::to_vec(&line)?;
            self.previous = hash(&line);
            self.next += 1;
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        self.file.write_all(&text)
    }
}

/// What `verify` found in a whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of events.
    pub events: u64,
    /// The hash of the last line, which says all that came before.
    pub last: String,
}

/// Where a log is broken.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file could not be read.
    #[error("cannot read the audit log")]
    Read(#[source] io::Error),
    /// A line does not follow from the one before.
    #[error("line {line}: {what}")]
    Broken {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Checks the chain of a whole log: that no line was changed, left out, moved or put in. Lines cut
/// off its end are not seen, unless one knows the hash of the last.
///
/// # Errors
///
/// The first line that does not fit.
pub fn verify(log: impl BufRead) -> Result<Verified, VerifyError> {
    let (mut expected, mut previous, mut torn) = (1, FIRST.to_owned(), false);
    for (line, number) in log.split(b'\n').zip(1..) {
        let line = line.map_err(VerifyError::Read)?;
        let broken = |what| VerifyError::Broken { line: number, what };
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&line) else {
            if torn {
                return Err(broken("is not JSON, nor is the line before"));
            }
            torn = true;
            previous = hash(&line);
            continue;
        };
        if value.get("seq").and_then(serde_json::Value::as_u64) != Some(expected) {
            return Err(broken("has not the number that follows"));
        }
        if value.get("prev").and_then(serde_json::Value::as_str) != Some(&previous) {
            return Err(broken("does not carry the hash of the line before"));
        }
        let says_torn = value.get("event").and_then(serde_json::Value::as_str) == Some("torn_line");
        if torn != says_torn {
            return Err(broken(
                "follows a line that is not whole, or says so without one",
            ));
        }
        (expected, previous, torn) = (expected + 1, hash(&line), false);
    }
    if torn {
        return Err(VerifyError::Broken {
            line: expected,
            what: "the last line is not whole",
        });
    }
    Ok(Verified {
        events: expected - 1,
        last: previous,
    })
}

fn sequence(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line)
        .ok()?
        .get("seq")?
        .as_u64()
}

fn hash(line: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, line).as_ref())
}

/// What the first line carries in place of a hash.
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Events that wait for the writer.
const QUEUE_MAX: usize = 1_000;

/// How long an event may be in the system's memory only.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// No line is longer: a command has at most 64 KiB, and each byte at most six characters.
const TAIL_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refused(reason: &str) -> Event {
        Event::ConnectionRefused {
            source: IpAddr::from([127, 0, 0, 1]),
            reason: reason.to_owned(),
        }
    }

    /// A log of `count` events, and its file.
    fn written(count: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        for number in 0..count {
            audit.record_soon(refused(&format!("{number}"))).unwrap();
        }
        drop(audit);
        (folder, path)
    }

    fn check(path: &Path) -> Result<Verified, VerifyError> {
        verify(io::BufReader::new(File::open(path).unwrap()))
    }

    #[test]
    fn what_was_recorded_is_in_the_file_and_chained() {
        let (_folder, path) = written(3);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        for (line, number) in lines.iter().zip(1..) {
            assert_eq!(line["seq"], number);
            assert_eq!(line["event"], "connection_refused");
        }
        assert_eq!(check(&path).unwrap().events, 3);
    }

    #[test]
    fn an_event_is_on_disk_when_the_wait_ends() {
        let (_folder, path) = written(0);
        let audit = Audit::open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(audit.record(refused("x"))).unwrap();
        assert_eq!(check(&path).unwrap().events, 1);
    }

    #[test]
    fn the_chain_goes_on_after_a_restart() {
        let (_folder, path) = written(2);
        let audit = Audit::open(&path).unwrap();
        audit.record_soon(refused("again")).unwrap();
        drop(audit);
        assert_eq!(check(&path).unwrap().events, 3);
    }

    #[test]
    fn there_is_one_writer() {
        let (_folder, path) = written(1);
        let first = Audit::open(&path).unwrap();
        assert!(Audit::open(&path).is_err());
        drop(first);
        assert!(Audit::open(&path).is_ok());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_folder, path) = written(1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Audit::open(&path).is_err());
    }

    /// Row 57 of the threats: a name cannot end a line or begin another.
    #[test]
    fn hostile_text_stays_within_its_line() {
        let (_folder, path) = written(0);
        let hostile = "\n{\"seq\":9}\r\u{1b}[2J\"\\\u{0}\u{2028}\u{202e}";
        let audit = Audit::open(&path).unwrap();
        audit.record_soon(refused(hostile)).unwrap();
        drop(audit);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["reason"], hostile);
    }

    #[test]
    fn a_line_cut_by_a_crash_is_kept_and_marked() {
        let (_folder, path) = written(3);
        let whole = fs::read(&path).unwrap();
        for cut in 1..60 {
            fs::write(&path, whole.get(..whole.len() - cut).unwrap()).unwrap();
            let audit = Audit::open(&path).unwrap();
            audit.record_soon(refused("after")).unwrap();
            drop(audit);
            // Only the line feed was missing, or the third line is torn and said to be.
            assert_eq!(check(&path).unwrap().events, 4, "{cut} bytes cut");
            let after = fs::read_to_string(&path).unwrap();
            assert_eq!(after.contains("torn_line"), cut > 1, "{cut} bytes cut");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_not_continued() {
        let (_folder, path) = written(0);
        for content in ["hello\n", "{}\n", "{\"seq\":\"1\"}\n"] {
            fs::write(&path, content).unwrap();
            assert!(Audit::open(&path).is_err(), "{content}");
        }
    }

    /// Row 58 of the threats.
    #[test]
    fn any_changed_byte_is_found() {
        let (_folder, path) = written(4);
        let whole = fs::read(&path).unwrap();
        let last = check(&path).unwrap().last;
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            fs::write(&path, &changed).unwrap();
            // The last line has none after it: its hash is what one has to know.
            assert!(
                check(&path).map_or(true, |verified| verified.last != last),
                "byte {at}"
            );
        }
    }

    #[test]
    fn lines_left_out_moved_or_put_in_are_found() {
        let (_folder, path) = written(4);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [a, b, c, d] = lines.as_slice() else {
            panic!("four lines")
        };
        for forged in [
            vec![b, c, d],
            vec![a, c, d],
            vec![a, c, b, d],
            vec![a, b, b, c, d],
            vec![a, b, &"x", c, d],
            vec![a, b, c, d, &"x"],
        ] {
            let text: String = forged.into_iter().map(|line| format!("{line}\n")).collect();
            fs::write(&path, text).unwrap();
            assert!(check(&path).is_err());
        }
    }

    #[test]
    fn a_writer_that_fails_fails_for_everybody() {
        let (_folder, path) = written(0);
        let mut log = Log::open(&path).unwrap();
        // Every write to it fails.
        log.file = File::open(&path).unwrap();
        let shared = Arc::new(Shared::default());
        let (done, written) = oneshot::channel();
        shared.push(refused("x"), Some(done)).unwrap();
        shared.write_all(log);
        assert!(written.blocking_recv().is_err());
        assert!(matches!(
            shared.push(refused("y"), None),
            Err(AuditError::Failed(_))
        ));
    }

    #[test]
    fn a_queue_that_is_full_says_so() {
        let shared = Shared::default();
        for _ in 0..QUEUE_MAX {
            shared.push(Event::Stopped, None).unwrap();
        }
        assert!(matches!(
            shared.push(Event::Stopped, None),
            Err(AuditError::Full)
        ));
    }
}
