//! One session in the recorder: a bounded queue on one side, a file on the other.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use recording::event::{Header, Stream};
use recording::log::Leaf;
use recording::write::{self, Ending, Head, Newlines, Sealing, Settings, Writer};
use serde_json::{Map, Value, json};

use super::disk::{Disk, is_full};
use super::ends::Ends;
use super::link::Out;
use super::log::now_ms;
use super::recover;
use super::syncer::Urgent;
use super::terms::Terms;
use super::wire::{self, Broken, EndEntry, Failure};
use super::work::Crew;
use crate::record::{About, Bulk, Coverage, End, ExitStatus, SessionId, Totals};

/// A session that is being recorded.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Its number on the connection.
    channel: u32,
    out: Arc<Out>,
    /// Output is acknowledged when it is on disk, not before.
    always: bool,
    pub(super) terms: Arc<Terms>,
    started: Instant,
    pub(super) started_at: Timestamp,
    /// The file when it had its header only.
    pub(super) first: Head,
    file: Arc<File>,
    queue: Mutex<Queue>,
    /// The queue has room again.
    drained: Condvar,
    /// Where only the ends of bulk output are recorded.
    ends: Option<Mutex<Ends>>,
    /// `None` once the file is complete, or cannot be written.
    writer: Mutex<Option<Writer<Disk>>>,
    /// The file holds more than the disk.
    pub(super) dirty: AtomicBool,
    /// The folder that names the file is on disk.
    pub(super) named: AtomicBool,
    /// Leaves of gaps in the log.
    gaps: AtomicU32,
}

/// What has come and is not written. Never locked while something waits.
#[derive(Debug, Default)]
struct Queue {
    parts: VecDeque<Part>,
    /// Output bytes in the parts.
    bytes: usize,
    /// Output bytes that have come, and that were written.
    taken: u64,
    done: u64,
    /// How far the other side was last told that it may send; it is told with each answer to output.
    told: u64,
    /// A worker has it, or will.
    scheduled: bool,
    /// The clock looks at it.
    active: bool,
    /// The session has ended or failed: what comes is dropped.
    over: bool,
}

#[derive(Debug)]
enum Part {
    Output {
        at: Duration,
        stream: Stream,
        bytes: Piece,
    },
    Resize {
        at: Duration,
        cols: u16,
        rows: u16,
    },
    Marker {
        at: Duration,
        label: String,
    },
    End {
        at: Duration,
        end: Box<End>,
    },
}

/// Output as it came. Small pieces are copied together, since each would hold the whole buffer
/// that it was read into; large ones are not copied.
#[derive(Debug)]
enum Piece {
    Gathered(Vec<u8>),
    Whole(Bytes),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Gathered(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }
}

/// What has to be done with a session after something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A worker, at once.
    pub(super) worker: bool,
    /// The clock.
    pub(super) clock: bool,
}

impl Session {
    /// Makes the file, with its header.
    pub(super) fn create(
        crew: &Crew,
        id: SessionId,
        about: &About,
        (out, channel): (Arc<Out>, u32),
        (always, terms): (bool, Arc<Terms>),
    ) -> io::Result<Arc<Self>> {
        let started_at = Timestamp::now();
        let mut disk = Disk::new(crew.store.create(&id, started_at)?);
        disk.reserve(0)?;
        let file = disk.file();
        let header = header(&id, about, started_at);
        let newlines = if about.pty.is_some() {
            Newlines::Kept
        } else {
            Newlines::Crlf
        };
        let sealing = Sealing {
            session: id.bytes(),
            wall_ms: now_ms,
        };
        let presses = crew.presses.clone();
        let writer = Writer::sealed(disk, &header, newlines, settings(&terms), presses, sealing)?;
        let first = writer.head().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Arc::new(Self {
            id,
            channel,
            out,
            always,
            terms,
            started: Instant::now(),
            started_at,
            first,
            file,
            queue: Mutex::default(),
            drained: Condvar::new(),
            ends: (about.pty.is_none() && about.bulk == Bulk::Ends).then(Mutex::default),
            writer: Mutex::new(Some(writer)),
            dirty: AtomicBool::new(true),
            named: AtomicBool::new(false),
            gaps: AtomicU32::new(0),
        }))
    }

    /// Takes output over from the connection.
    ///
    /// # Errors
    ///
    /// The other side sent more than it may.
    pub(super) fn take_output(&self, stream: Stream, bytes: Bytes) -> Result<Wanted, Broken> {
        let at = self.now();
        let mut queue = self.queue();
        if queue.over {
            return Ok(Wanted::NOTHING);
        }
        queue.taken += bytes.len() as u64;
        queue.bytes += bytes.len();
        if queue.taken > queue.done + self.terms.queue_bytes {
            return Err(Broken("more output than there is room for"));
        }
        match queue.parts.back_mut() {
            Some(Part::Output {
                at: first,
                stream: same,
                bytes: Piece::Gathered(there),
            }) if *same == stream
                && at.saturating_sub(*first) <= COALESCE
                && bytes.len() < WHOLE
                && there.len() + bytes.len() <= PART =>
            {
                there.extend_from_slice(&bytes);
            }
            _ => queue.parts.push_back(Part::Output {
                at,
                stream,
                bytes: if bytes.len() < WHOLE {
                    Piece::Gathered(bytes.to_vec())
                } else {
                    Piece::Whole(bytes)
                },
            }),
        }
        let now = self.always || queue.bytes >= batch_at(self.terms.queue_bytes);
        Ok(self.wanted(queue, now))
    }

    /// Takes a new size of the terminal.
    pub(super) fn take_size(&self, cols: u16, rows: u16) -> Wanted {
        let (cols, rows) = bounded(cols, rows);
        let part = Part::Resize {
            at: self.now(),
            cols,
            rows,
        };
        self.take_part(part, false)
    }

    /// Takes a marker.
    pub(super) fn take_marker(&self, label: String) -> Wanted {
        let part = Part::Marker {
            at: self.now(),
            label,
        };
        self.take_part(part, false)
    }

    /// Takes the end: nothing comes after it.
    pub(super) fn take_end(&self, end: End) -> Wanted {
        let part = Part::End {
            at: self.now(),
            end: Box::new(end.bounded()),
        };
        self.take_part(part, true)
    }

    fn take_part(&self, part: Part, last: bool) -> Wanted {
        let mut queue = self.queue();
        // Output is bounded by its window; of the others this many wait at most.
        while queue.parts.len() >= PARTS && !queue.over {
            queue = self
                .drained
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.over {
            return Wanted::NOTHING;
        }
        queue.parts.push_back(part);
        let now = last || queue.parts.len() >= PARTS / 2;
        if last {
            queue.over = true;
        }
        self.wanted(queue, now)
    }

    fn wanted(&self, mut queue: MutexGuard<'_, Queue>, now: bool) -> Wanted {
        let worker = now && !queue.scheduled;
        queue.scheduled |= worker;
        let clock = !std::mem::replace(&mut queue.active, true);
        Wanted { worker, clock }
    }

    /// Tells the other side what was taken over, and how much more may come.
    pub(super) fn acknowledge(&self) {
        let (taken, done, over) = {
            let mut queue = self.queue();
            if !self.always {
                queue.told = queue.done + self.terms.queue_bytes;
            }
            (
                if self.always { None } else { Some(queue.taken) },
                queue.done,
                queue.over,
            )
        };
        if let (Some(taken), false) = (taken, over) {
            self.out
                .taken(self.channel, taken, done + self.terms.queue_bytes);
        }
    }

    /// Everything up to `position` is on disk.
    pub(super) fn acknowledge_synced(&self, position: u64) {
        let room = position + self.terms.queue_bytes;
        self.out.taken(self.channel, position, room);
    }

    /// The start is on disk.
    pub(super) fn say_started(&self) {
        self.out.started(self.channel, &self.id);
    }

    /// The whole file is on disk.
    pub(super) fn say_ended(&self, totals: &Totals) {
        self.out.ended(self.channel, totals);
    }

    /// The file so far; none once it is complete, or cannot be written.
    pub(super) fn head(&self) -> Option<Head> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref()?.head()
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes what has come, and does what is due. For one worker at a time.
    pub(super) fn work(self: &Arc<Self>, crew: &Arc<Crew>) {
        let (parts, bytes) = self.next_parts();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = writer.as_ref().map_or(0, Writer::file_bytes);
        if let Some(mut open) = writer.take() {
            match self.write(&mut open, parts) {
                Ok(None) => match self.keep_up(&mut open) {
                    Ok(()) => *writer = Some(open),
                    Err(error) => self.fail(crew, open, &error),
                },
                Ok(Some((at, end))) => self.complete(crew, open, at, *end, true),
                Err(error) => self.fail(crew, open, &error),
            }
        }
        let written = writer.as_ref().map_or(0, Writer::file_bytes);
        drop(writer);
        if written > before && !self.dirty.swap(true, Ordering::AcqRel) {
            crew.syncer.note_dirty(self.clone());
        }
        self.finish_work(crew, bytes);
    }

    /// Whether a worker is wanted at the time of the clock, and whether the clock is.
    pub(super) fn look(&self) -> Wanted {
        let mut queue = self.queue();
        if queue.scheduled {
            return Wanted {
                worker: false,
                clock: true,
            };
        }
        let due = if queue.parts.is_empty() {
            match self.writer.try_lock() {
                Ok(writer) => writer.as_ref().and_then(Writer::due),
                Err(TryLockError::Poisoned(_)) => None,
                Err(TryLockError::WouldBlock) => {
                    return Wanted {
                        worker: false,
                        clock: true,
                    };
                }
            }
        } else {
            Some(Duration::ZERO)
        };
        match due {
            Some(due) if due <= self.now() => {
                queue.scheduled = true;
                Wanted {
                    worker: true,
                    clock: true,
                }
            }
            Some(_) => Wanted {
                worker: false,
                clock: true,
            },
            None => {
                queue.active = false;
                Wanted::NOTHING
            }
        }
    }

    /// Ends the session from this side, and tells the other.
    pub(super) fn stop(&self) -> Wanted {
        let wanted = self.take_end(End::because("the recorder was stopped"));
        self.out.failed(self.channel, &Failure::Stopping);
        wanted
    }

    /// A part of what waits, and how much output that is.
    fn next_parts(&self) -> (Vec<Part>, u64) {
        let mut queue = self.queue();
        let mut parts = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH {
            let Some(part) = queue.parts.pop_front() else {
                break;
            };
            if let Part::Output { bytes: output, .. } = &part {
                bytes += output.as_slice().len();
            }
            parts.push(part);
        }
        queue.bytes -= bytes;
        drop(queue);
        self.drained.notify_all();
        (parts, bytes as u64)
    }

    /// Gives the end, if it is among the parts.
    fn write(
        &self,
        writer: &mut Writer<Disk>,
        parts: Vec<Part>,
    ) -> io::Result<Option<(Duration, Box<End>)>> {
        for part in parts {
            match part {
                Part::Output { at, stream, bytes } => {
                    let bytes = bytes.as_slice();
                    let mut ends = self.ends();
                    let recorded = match &mut ends {
                        Some(ends) => ends.take(stream, bytes),
                        None => bytes,
                    };
                    reserve(writer, recorded.len())?;
                    writer.output(at, stream, recorded)?;
                }
                Part::Resize { at, cols, rows } => {
                    reserve(writer, 0)?;
                    writer.resize(at, cols, rows)?;
                }
                Part::Marker { at, label } => {
                    reserve(writer, label.len())?;
                    writer.marker(at, &label)?;
                }
                Part::End { at, end } => {
                    self.write_rest(writer, at)?;
                    return Ok(Some((at, end)));
                }
            }
        }
        Ok(None)
    }

    /// Where only the ends are recorded: the last of what was printed.
    fn write_rest(&self, writer: &mut Writer<Disk>, at: Duration) -> io::Result<()> {
        let Some(ends) = self.ends() else {
            return Ok(());
        };
        for (stream, left_out, tail) in ends.rest() {
            reserve(writer, tail.len())?;
            if left_out > 0 {
                let stream = stream.name();
                writer.marker(
                    at,
                    &format!("{left_out} bytes of {stream} are not recorded"),
                )?;
            }
            writer.output(at, stream, tail)?;
        }
        Ok(())
    }

    fn ends(&self) -> Option<MutexGuard<'_, Ends>> {
        let ends = self.ends.as_ref()?;
        Some(ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep_up(&self, writer: &mut Writer<Disk>) -> io::Result<()> {
        if self.always {
            writer.flush(self.now())
        } else {
            writer.tick(self.now())
        }
    }

    fn finish_work(self: &Arc<Self>, crew: &Arc<Crew>, bytes: u64) {
        let mut queue = self.queue();
        queue.done += bytes;
        let (done, over) = (queue.done, queue.over);
        // Each answer costs both sides more than it says, and the next output is answered anyway:
        // only who may be waiting for room is told of it now.
        let news = queue.told < queue.taken + wire::PART as u64;
        let again = queue.bytes >= batch_at(self.terms.queue_bytes)
            || (over && !queue.parts.is_empty())
            || (self.always && !queue.parts.is_empty());
        queue.scheduled = again;
        drop(queue);
        if bytes > 0 && !over {
            if self.always {
                crew.syncer.push(Urgent::Sync {
                    session: self.clone(),
                    position: done,
                });
            } else if news {
                self.acknowledge();
            }
        }
        // Last: whoever says so looks for its next job at once, and telling the other side may take a while.
        if again {
            crew.schedule_again(self.clone());
        }
    }

    /// Writes the end, and has it synchronised.
    fn complete(
        self: &Arc<Self>,
        crew: &Arc<Crew>,
        writer: Writer<Disk>,
        at: Duration,
        end: End,
        answer: bool,
    ) {
        let mut closing = ending(&end);
        let relayed = self.ends().map(|ends| ends.totals());
        if let Some((stdout, stderr)) = &relayed {
            let relayed = json!({ "stdout": stdout, "stderr": stderr });
            closing.account.insert("relayed".to_owned(), relayed);
        }
        match writer.end(at, &closing) {
            Ok((_, mut totals)) => {
                // The log and the list say what the client was sent.
                if let Some((stdout, stderr)) = relayed {
                    (totals.stdout, totals.stderr) = (stdout, stderr);
                }
                let leaf = end_leaf(
                    &self.id,
                    at,
                    &end,
                    &totals,
                    self.gaps.load(Ordering::Acquire),
                );
                let totals = sums(totals);
                let entry = EndEntry {
                    id: self.id,
                    at: Timestamp::now(),
                    end,
                    totals,
                    recovered: false,
                };
                let session = self.clone();
                crew.syncer.push(Urgent::Finish {
                    session,
                    entry: Box::new(entry),
                    leaf: Box::new(leaf),
                    answer,
                });
            }
            Err(error) => {
                tracing::error!(session = %self.id, %error, "cannot write the end of a recording");
                self.give_up(crew, &error);
            }
        }
    }

    /// The file cannot be written: no byte of the session may go on.
    fn fail(self: &Arc<Self>, crew: &Arc<Crew>, writer: Writer<Disk>, error: &io::Error) {
        tracing::error!(session = %self.id, %error, "a recording cannot be written");
        if writer.get_ref().is_exhausted() {
            // Nothing is half written: the end goes where disk was reserved for it.
            self.shut();
            self.log_gap(crew, "the disk of the recordings is full");
            self.out.failed(self.channel, &Failure::Full);
            let end = End::because("the disk of the recordings is full");
            self.complete(crew, writer, self.now(), end, false);
        } else {
            drop(writer);
            self.give_up(crew, error);
        }
    }

    /// What is on disk is all that there will be: it is put in order as after a crash.
    fn give_up(self: &Arc<Self>, crew: &Arc<Crew>, error: &io::Error) {
        self.shut();
        self.log_gap(crew, &format!("the recording cannot be written: {error}"));
        let failure = if is_full(error) {
            Failure::Full
        } else {
            Failure::Io(error.to_string())
        };
        self.out.failed(self.channel, &failure);
        if let Err(error) = recover::one(
            &crew.store,
            &self.id,
            self.started_at,
            self.gaps.load(Ordering::Acquire),
        ) {
            tracing::error!(session = %self.id, %error, "its recording stays torn until the recorder starts again");
        }
        crew.forget(self);
    }

    /// The syncer could not bring the file to the disk.
    pub(super) fn sync_failed(self: &Arc<Self>, crew: &Arc<Crew>, error: &io::Error) {
        tracing::error!(session = %self.id, %error, "a recording cannot be brought to the disk");
        self.shut();
        self.log_gap(
            crew,
            &format!("the recording cannot be brought to the disk: {error}"),
        );
        self.out
            .failed(self.channel, &Failure::Io(error.to_string()));
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take() {
            let end = End::because("the disk of the recordings failed");
            self.complete(crew, writer, self.now(), end, false);
        }
    }

    /// What was taken over and not written went to the client: the log says so.
    fn log_gap(&self, crew: &Crew, what: &str) {
        let leaf = Leaf::Gap {
            at_ms: now_ms(),
            session: Some(self.id.to_string()),
            since_ms: None,
            until_ms: None,
            // What lies in the compressor is not written either: nobody knows.
            bytes: None,
            continued: None,
            reason: what.to_owned(),
        };
        let logged = crew
            .store
            .log
            .append(&leaf)
            .and_then(|_| crew.store.log.sync());
        match logged {
            Ok(()) => drop(self.gaps.fetch_add(1, Ordering::AcqRel)),
            Err(error) => tracing::error!(session = %self.id, %error, "a gap is not in the log"),
        }
    }

    fn shut(&self) {
        let mut queue = self.queue();
        queue.over = true;
        queue.parts.clear();
        queue.bytes = 0;
        drop(queue);
        self.drained.notify_all();
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    const NOTHING: Self = Self {
        worker: false,
        clock: false,
    };
}

/// Output of so many bytes is worth waking a worker, where so many may wait: with less than that in
/// the queue there is room for whatever the other side hands over at once.
fn batch_at(queue_bytes: u64) -> usize {
    let room = queue_bytes.saturating_sub(wire::PART as u64);
    usize::try_from(room)
        .unwrap_or(usize::MAX)
        .clamp(1, BATCH_AT)
}

/// Sees to it that there is disk for what the writer has not written, and for `more` bytes of output.
fn reserve(writer: &mut Writer<Disk>, more: usize) -> io::Result<()> {
    let waiting = writer.waiting() as u64;
    writer.get_mut().reserve(waiting + more as u64 * GROWTH)
}

/// Players fail on a terminal without columns or rows.
fn bounded(cols: u16, rows: u16) -> (u16, u16) {
    (cols.clamp(1, 1000), rows.clamp(1, 500))
}

fn settings(terms: &Terms) -> Settings {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        // With the clock's tick and what writing takes it is not later than was asked for.
        flush_after: terms.flush.saturating_sub(FLUSH_LEAD),
        coalesce: COALESCE,
        event_text: bytes(terms.event_bytes),
        frame_text: bytes(terms.frame_bytes),
        frame_age: terms.frame_life,
        ..Settings::default()
    }
}

fn header(id: &SessionId, about: &About, started: Timestamp) -> Header {
    let (cols, rows) = about.pty.unwrap_or((80, 24));
    let (cols, rows) = bounded(cols, rows);
    let mut ours = match serde_json::to_value(about) {
        Ok(Value::Object(ours)) => ours,
        _ => Map::new(),
    };
    ours.insert("session".to_owned(), json!(id));
    ours.insert("started".to_owned(), json!(started));
    Header {
        version: 3,
        cols,
        rows,
        term: about.term.clone(),
        timestamp: u64::try_from(started.as_second()).ok(),
        command: about
            .command
            .as_ref()
            .map(|c| String::from_utf8_lossy(c).into_owned()),
        title: Some(format!("{}@{}", about.login, about.target)),
        tags: vec![about.kind.to_string()],
        extra: [("bastion".to_owned(), Value::Object(ours))].into(),
        ..Header::default()
    }
}

/// The end in the words of the log.
fn end_leaf(id: &SessionId, at: Duration, end: &End, totals: &write::Totals, gaps: u32) -> Leaf {
    let nothing = Head {
        frames: 0,
        head: recording::seal::Chain::new(id.bytes()).head(),
        bytes: 0,
        open: None,
    };
    Leaf::End {
        at_ms: now_ms(),
        session: id.to_string(),
        // Every writer here seals.
        head: totals.head.unwrap_or(nothing),
        duration_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        exit: end.status.as_ref().map(ExitStatus::shell_code),
        reason: end.reason.clone(),
        over: end.over,
        gaps: Some(gaps),
        coverage: coverage(&end.coverage),
        stdout: totals.stdout.clone(),
        stderr: totals.stderr.clone(),
    }
}

fn coverage(coverage: &Coverage) -> Map<String, Value> {
    match serde_json::to_value(coverage) {
        Ok(Value::Object(coverage)) => coverage,
        _ => Map::new(),
    }
}

/// The end in the words of the recording.
pub(super) fn ending(end: &End) -> Ending {
    let Coverage {
        passed,
        masked,
        held,
        unreadable,
    } = end.coverage;
    let mut account = Map::new();
    let coverage =
        json!({ "passed": passed, "masked": masked, "held": held, "unreadable": unreadable });
    account.insert("coverage".to_owned(), coverage);
    if let Some(reason) = &end.reason {
        account.insert("reason".to_owned(), json!(reason));
    }
    if let Some(ExitStatus::Signal(name)) = &end.status {
        account.insert("signal".to_owned(), json!(name));
    }
    Ending {
        exit: end.status.as_ref().map(ExitStatus::shell_code),
        marker: end
            .reason
            .as_ref()
            .map(|reason| format!("session ended: {reason}")),
        account,
    }
}

pub(super) fn sums(totals: write::Totals) -> Totals {
    Totals {
        stdout: totals.stdout.bytes,
        stdout_sha256: totals.stdout.sha256,
        stderr: totals.stderr.bytes,
        stderr_sha256: totals.stderr.sha256,
        file: totals.file_bytes,
    }
}

/// Output of one stream within this becomes one event.
const COALESCE: Duration = Duration::from_millis(8);
/// What is written is written so much before `recording.flush` is over.
const FLUSH_LEAD: Duration = Duration::from_millis(150);
/// The longest part of the queue that is coalesced.
const PART: usize = 64 * 1024;
/// A piece of this many bytes is not copied.
const WHOLE: usize = 4 * 1024;
/// A worker is wanted at once when this much waits.
const BATCH_AT: usize = 256 * 1024;
/// A worker takes no more than this at once, so that room is made early.
const BATCH: usize = 256 * 1024;
/// Parts that wait, at most, beside those of output.
const PARTS: usize = 4096;
/// How much longer than the bytes their events may be, compressed, at the worst.
const GROWTH: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// What wakes no worker leaves room for a whole part: nobody waits for the clock.
    #[test]
    fn a_short_queue_is_written_as_soon_as_somebody_may_wait() {
        let part = wire::PART as u64;
        for queue_bytes in [part, part + 1, part + 4096, 1 << 20, 16 << 20] {
            let left = batch_at(queue_bytes) as u64 - 1;
            assert!(queue_bytes - left >= part, "{queue_bytes}");
        }
        assert_eq!(batch_at(Terms::default().queue_bytes), BATCH_AT);
    }
}
