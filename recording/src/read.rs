//! Reading recordings: asciicast v1, v2 and v3, plain or in zstd frames, whole or damaged.
//!
//! A recording is evidence and it is hostile input. So nothing that can be shown is given up
//! because something near it is broken: each damage becomes a [`Warning`] with its position, and
//! reading goes on behind it. And nothing is believed: the window of the decompressor, its ratio,
//! the text in all, the length of a line and the number of warnings are bounded ([`Limits`]), so
//! the memory that a reader takes does not depend on the file.
//!
//! [`Decoder`] takes the bytes of a file piece by piece and does no I/O; [`Reader`] pulls them
//! from anything that is [`Read`].
//!
//! What this module does not do: it verifies no seals (skippable frames are stepped over), and it
//! makes nothing safe to print. Text of an event is what the recording says, escape sequences
//! included. A [`Warning`] alone holds words of ours only.

mod event;
mod header;
mod source;
mod time;
mod v1;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};

use crate::event::{Event, EventData, Header};
use event::Clock;
use source::{Source, Step};

pub use time::TIME_MAX;

/// What a reader takes at most. The defaults are meant for a person's machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest zstd window, as a power of two of bytes (10 to 27). The default, 23, is the 8 MiB
    /// that RFC 8878 §3.1.1.1.2 asks every decoder to support; frames that need more are damage.
    pub window_log: u32,
    /// Longest line in bytes of JSON: 16 MiB. Of a longer one the beginning is shown.
    pub line_max: usize,
    /// Most text in all, in bytes: 64 GiB. What comes after is not read.
    pub text_max: u64,
    /// Most bytes of text for each compressed byte, once there are more than `ratio_free`: 16384.
    /// The densest recording (endless equal lines in frames of 1 MiB) stays under 10000.
    pub ratio_max: u64,
    /// Bytes of text for which the ratio is not looked at: 64 MiB.
    pub ratio_free: u64,
    /// Largest v1 file in bytes of JSON, which is one value and so kept whole: 64 MiB.
    pub v1_max: usize,
    /// Most warnings that are given one by one: 1000. Another then says that there are more;
    /// a file with more damaged frames than this is given up.
    pub warnings_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_log: 23,
            line_max: 16 << 20,
            text_max: 64 << 30,
            ratio_max: 16384,
            ratio_free: 64 << 20,
            v1_max: 64 << 20,
            warnings_max: 1000,
        }
    }
}

/// Where in a recording something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The line of the text, from 1; 0 before the first.
    pub line: u64,
    /// Bytes of text (decompressed) before it.
    pub text: u64,
    /// Bytes of the file that had been consumed when it was read.
    pub file: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, byte {} of the text, {} of the file",
            self.line, self.text, self.file
        )
    }
}

/// A place between two lines of an asciicast v2 or v3 from which reading can go on, without what
/// stands before it: [`Decoder::mark`] gives it, [`Decoder::resume`] takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The byte of the file to begin at.
    pub file: u64,
    /// Bytes of text that are passed over from there.
    pub skip: u64,
    /// The line that is next, from 1.
    pub line: u64,
    /// Bytes of text before it.
    pub text: u64,
    /// The time of the event before, in microseconds.
    pub time: u64,
    /// In version 2: the time since the start that the event before gave.
    pub given: Option<i64>,
    /// Whether the end of the session stands before.
    pub ended: bool,
}

/// Something about a recording that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub at: Position,
    /// What sort of damage.
    pub damage: Damage,
    /// What exactly, in words of this crate: never content of the recording.
    pub detail: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.detail)
    }
}

/// The sorts of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends in the middle of something.
    Cut,
    /// The file could not be read further.
    Io,
    /// A zstd frame is broken, or is none.
    Compression,
    /// A bound of [`Limits`] was met; what comes after is not shown.
    Limit,
    /// The header lacks something, or is not one.
    Header,
    /// A line is not an event, or only in part.
    Event,
    /// A time goes backwards or is no number.
    Time,
    /// Bytes that are no UTF-8, or half a surrogate pair: shown as U+FFFD.
    Text,
    /// The recording has no end: the session is still running, or the recorder was stopped.
    Unfinished,
}

/// One thing that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event.
    Event(Event),
    /// A damage.
    Warning(Warning),
}

/// What [`Decoder::next`] answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// An item.
    Item(Item),
    /// The header was read, or much in which there was no item: call again, after whatever else
    /// there is to do.
    Pause,
    /// Give more bytes with [`Decoder::push`], or say that there are none with
    /// [`Decoder::finish`].
    NeedInput,
    /// That was all.
    End,
}

/// The reader without I/O: bytes of a file in, items out.
///
/// Memory is bounded by [`Limits`] and by what one [`push`](Self::push) hands over.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    source: Source,
    /// Text that has not been taken apart; complete lines first.
    text: Vec<u8>,
    /// Bytes of `text` that have been taken.
    taken: usize,
    /// Bytes of `text` in which there is known to be no line end.
    searched: usize,
    /// Position of the next line.
    at: Position,
    state: State,
    header: Option<Header>,
    clock: Clock,
    queue: VecDeque<Item>,
    warnings: usize,
    end_seen: bool,
    /// Where it was resumed, and text that is still to be passed over to there.
    resumed: Option<Mark>,
    skip: u64,
}

#[derive(Debug)]
enum State {
    /// Looking for the header; so many lines have been looked at in vain.
    Header(usize),
    /// A version 1 file: kept until its end.
    V1,
    /// The events of a version 1 file.
    V1Events(v1::Events),
    /// Lines of events.
    Events,
    /// The rest of a line that was too long.
    Skipping,
    Ended,
}

/// The code of the account with which the recorder ends a session.
const ACCOUNT: &str = "E";

/// Lines that are looked at before a file is called no recording.
const HEADER_SEARCH_LINES: usize = 100;

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Decoder {
    /// A decoder for one recording.
    pub fn new(limits: Limits) -> Self {
        Self {
            source: Source::new(&limits),
            limits,
            text: Vec::new(),
            taken: 0,
            searched: 0,
            at: Position {
                line: 1,
                ..Position::default()
            },
            state: State::Header(0),
            header: None,
            clock: Clock::default(),
            queue: VecDeque::new(),
            warnings: 0,
            end_seen: false,
            resumed: None,
            skip: 0,
        }
    }

    /// A decoder that goes on at a mark. The bytes to give it are those of the file from
    /// [`Mark::file`] on. A mark that is none of this file gives warnings and wrong events, and
    /// nothing worse.
    pub fn resume(limits: Limits, header: Header, mark: Mark) -> Self {
        let mut decoder = Self::new(limits);
        let before = mark.text.saturating_sub(mark.skip);
        decoder.source.resume(mark.file, before);
        decoder.at = Position {
            line: mark.line,
            text: mark.text,
            file: mark.file,
        };
        decoder.clock = Clock::at(mark.time, mark.given);
        decoder.header = Some(header);
        decoder.state = State::Events;
        decoder.end_seen = mark.ended;
        decoder.resumed = Some(mark);
        decoder.skip = mark.skip;
        decoder
    }

    /// The place between what has been given and what comes next. `None` where reading can't
    /// be taken up: before the first event, in a version 1 file, while items wait that have
    /// been read already, and where a line spans a great many frames.
    pub fn mark(&mut self) -> Option<Mark> {
        if !matches!(self.state, State::Events) || !self.queue.is_empty() {
            return None;
        }
        if let Some(mark) = self.resumed.filter(|mark| mark.text == self.at.text) {
            return Some(mark);
        }
        let (file, skip) = self.source.way_to(self.at.text)?;
        let (time, given) = self.clock.now();
        Some(Mark {
            file,
            skip,
            line: self.at.line,
            text: self.at.text,
            time,
            given,
            ended: self.end_seen,
        })
    }

    /// Whether what ends a session has been read: its exit status or the recorder's account.
    pub fn has_end(&self) -> bool {
        self.end_seen
    }

    /// The next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.source.push(bytes);
    }

    /// There are no more bytes.
    pub fn finish(&mut self) {
        self.source.finish();
    }

    /// The file could not be read further: what is there is the recording, and a warning says so.
    pub fn fail(&mut self, error: &io::Error) {
        let detail = format!("the file cannot be read further ({})", error.kind());
        self.warn(Damage::Io, detail);
        self.source.finish();
    }

    /// The header, which is known before the first event is given, and for a file that is no
    /// recording at all never.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The next item, as far as the bytes given so far go.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not say that it needs more input"
    )]
    pub fn next(&mut self) -> Next {
        let begun = self.at.text;
        let mut work = 0;
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Next::Item(item);
            }
            match &self.state {
                State::Ended => return Next::End,
                State::V1Events(_) => {
                    self.v1_event();
                    continue;
                }
                State::V1 => {}
                State::Header(_) | State::Events | State::Skipping => {
                    if self.at.text - begun > PAUSE || work > PAUSE_STEPS {
                        return Next::Pause;
                    }
                    work += 1;
                    let had_header = self.header.is_some();
                    if self.take_line() {
                        // So that there is a mark before the first event.
                        if !had_header && self.header.is_some() && self.queue.is_empty() {
                            return Next::Pause;
                        }
                        continue;
                    }
                }
            }
            match self.source.step(&mut self.text) {
                Step::Text => {
                    self.pass_over();
                    self.check_v1_size();
                }
                Step::NeedInput => return Next::NeedInput,
                Step::Damage(damage, detail) => {
                    self.take_rest(Rest::Broken);
                    self.warn(damage, detail);
                }
                Step::End => self.end(),
            }
        }
    }

    /// Drops text that stands before the mark.
    fn pass_over(&mut self) {
        if self.skip > 0 {
            let length = usize::try_from(self.skip).unwrap_or(usize::MAX);
            let length = length.min(self.text.len());
            self.text.drain(..length);
            self.skip -= length as u64;
        }
    }

    /// Takes one line off the text and reads it. False when there is no whole one.
    fn take_line(&mut self) -> bool {
        let open = self.text.get(self.searched..).unwrap_or_default();
        if let Some(length) = memchr::memchr(b'\n', open) {
            let end = self.searched + length;
            let length = end - self.taken;
            if matches!(self.state, State::Events) {
                // Nothing that reads an event looks at the text: so the line is not copied.
                let text = std::mem::take(&mut self.text);
                self.line(text.get(self.taken..end).unwrap_or_default(), Rest::Whole);
                self.text = text;
                self.pass(end);
            } else {
                let line = self.cut(end);
                if matches!(self.state, State::Skipping) {
                    self.state = State::Events;
                } else {
                    self.line(&line, Rest::Whole);
                }
            }
            self.text_taken(length + 1);
            self.at.line += 1;
            return true;
        }
        self.searched = self.text.len();
        if self.searched - self.taken > self.limits.line_max {
            self.too_long();
            return true;
        }
        false
    }

    /// The text from `taken` to `end`, without its line end.
    fn cut(&mut self, end: usize) -> Vec<u8> {
        let line = self.text.get(self.taken..end).unwrap_or_default().to_vec();
        self.pass(end);
        line
    }

    /// The text up to `end`, and the line end there, are taken.
    fn pass(&mut self, end: usize) {
        self.taken = (end + 1).min(self.text.len());
        self.searched = self.taken;
        // Moving the rest down costs what is left, so it is done when little is.
        if self.taken == self.text.len() || self.taken >= COMPACT {
            self.text.drain(..self.taken);
            self.taken = 0;
            self.searched = 0;
        }
    }

    fn too_long(&mut self) {
        let line = self.cut(self.text.len());
        if !matches!(self.state, State::Skipping) {
            let mib = self.limits.line_max >> 20;
            self.line(&line, Rest::Broken);
            self.warn(
                Damage::Limit,
                format!("the line is longer than {mib} MiB; its beginning is shown"),
            );
            if matches!(self.state, State::Events) {
                self.state = State::Skipping;
            }
        }
        self.text_taken(line.len());
    }

    /// What stands after the last line end, at the end of the file or before a damage.
    fn take_rest(&mut self, rest: Rest) {
        while !matches!(self.state, State::V1) && self.take_line() {}
        if matches!(self.state, State::V1) {
            return; // it is read at the end, as far as it goes
        }
        let line = self.cut(self.text.len());
        if matches!(self.state, State::Skipping) {
            self.state = State::Events;
        } else if !line.is_empty() {
            self.line(&line, rest);
        }
        self.text_taken(line.len());
    }

    fn text_taken(&mut self, bytes: usize) {
        self.at.text += bytes as u64;
        self.at.file = self.source.consumed();
    }

    fn line(&mut self, line: &[u8], rest: Rest) {
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") && self.header.is_some() {
            return;
        }
        match self.state {
            State::Header(lines) => self.header_line(line, lines, rest),
            State::Events => self.event_line(line, rest),
            State::V1 | State::V1Events(_) | State::Skipping | State::Ended => {}
        }
    }

    fn header_line(&mut self, line: &[u8], lines: usize, rest: Rest) {
        match header::read(line) {
            header::Read::Header(header, problems) => {
                self.begin(header);
                for problem in problems {
                    self.warn(Damage::Header, problem);
                }
            }
            header::Read::MayBeV1 => {
                // It is one value over the whole file: put the line back.
                let mut text = line.to_vec();
                if rest == Rest::Whole {
                    text.push(b'\n');
                }
                text.extend_from_slice(self.text.get(self.taken..).unwrap_or_default());
                self.text = text;
                self.taken = 0;
                self.searched = 0;
                self.state = State::V1;
            }
            header::Read::Version(version) => {
                self.state = State::Ended;
                self.warn(
                    Damage::Header,
                    format!("asciicast version {version} is not known here; 1, 2 and 3 are"),
                );
            }
            header::Read::Damaged(header) => {
                self.begin(header);
                self.warn(
                    Damage::Header,
                    "the header is damaged; its version and the size of the terminal are guessed"
                        .into(),
                );
            }
            header::Read::Event => {
                self.begin(header::assumed());
                self.warn(
                    Damage::Header,
                    "there is no header; version 3 and 80x24 are assumed".into(),
                );
                self.event_line(line, rest);
            }
            header::Read::Nothing if lines + 1 < HEADER_SEARCH_LINES => {
                self.warn(Damage::Header, "neither a header nor an event".into());
                self.state = State::Header(lines + 1);
            }
            header::Read::Nothing => {
                self.warn(Damage::Header, "this is not a recording".into());
                self.state = State::Ended;
            }
        }
    }

    fn begin(&mut self, header: Header) {
        self.clock = Clock::new(header.version);
        self.header = Some(header);
        self.state = State::Events;
    }

    fn event_line(&mut self, line: &[u8], rest: Rest) {
        let read = event::read(line, &mut self.clock);
        if let Some(event) = read.event {
            self.end_seen |= match &event.data {
                EventData::Exit(_) => true,
                EventData::Other { code, .. } => code == ACCOUNT,
                _ => false,
            };
            self.queue.push_back(Item::Event(event));
        }
        for (damage, detail) in read.problems {
            match rest {
                // What broke it has a warning of its own.
                Rest::Broken if damage == Damage::Event => {}
                Rest::Last if damage == Damage::Event => {
                    self.warn(Damage::Cut, "the last event is cut off".into());
                }
                Rest::Whole | Rest::Last | Rest::Broken => self.warn(damage, detail.into()),
            }
        }
    }

    fn check_v1_size(&mut self) {
        if matches!(self.state, State::V1) && self.text.len() > self.limits.v1_max {
            let mib = self.limits.v1_max >> 20;
            self.warn(
                Damage::Limit,
                format!("a version 1 file over {mib} MiB is read up to there"),
            );
            self.end();
        }
    }

    fn end(&mut self) {
        self.take_rest(Rest::Last);
        if matches!(self.state, State::V1) {
            return self.begin_v1();
        }
        if let Some(header) = &self.header {
            if header.version == 3 && header.extra.contains_key("bastion") && !self.end_seen {
                self.warn(
                    Damage::Unfinished,
                    "no end was recorded: the session is still running, or its recorder was stopped"
                        .into(),
                );
            }
        } else if self.warnings == 0 {
            let detail = match self.at.text {
                0 => "the file is empty",
                _ => "this is not a recording",
            };
            self.warn(Damage::Header, detail.into());
        }
        self.state = State::Ended;
    }

    fn begin_v1(&mut self) {
        let (header, problem, events) = v1::read(std::mem::take(&mut self.text));
        self.header = header;
        self.at = Position::default();
        if let Some(detail) = problem {
            self.warn(Damage::Header, detail.into());
        }
        self.state = State::V1Events(events);
    }

    /// The next event of a version 1 file, with what is wrong in it.
    fn v1_event(&mut self) {
        let State::V1Events(events) = &mut self.state else {
            return;
        };
        let Some(element) = events.next() else {
            self.state = State::Ended;
            return;
        };
        self.at.line = element.line;
        self.at.text = element.offset as u64;
        self.queue.extend(element.event.map(Item::Event));
        for (damage, detail) in element.problems {
            self.warn(damage, detail.into());
        }
    }

    /// Where the next line is.
    pub fn position(&self) -> Position {
        Position {
            file: self.source.consumed(),
            ..self.at
        }
    }

    fn warn(&mut self, damage: Damage, detail: String) {
        self.warnings += 1;
        let at = Position {
            file: self.source.consumed(),
            ..self.at
        };
        let warning = match self.warnings.cmp(&self.limits.warnings_max) {
            std::cmp::Ordering::Less => Warning { at, damage, detail },
            std::cmp::Ordering::Equal => Warning {
                at,
                damage,
                detail: "more is damaged from here on than is told one by one".into(),
            },
            std::cmp::Ordering::Greater => return,
        };
        self.queue.push_back(Item::Warning(warning));
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It had its line end.
    Whole,
    /// It is the last, without a line end.
    Last,
    /// It was broken off by a damage that has its own warning.
    Broken,
}

/// Bytes of text, and lines or blocks, without an item after which a caller gets its turn.
const PAUSE: u64 = 256 << 10;
const PAUSE_STEPS: u32 = 4096;

/// Taken text is dropped from the buffer at this many bytes.
const COMPACT: usize = 256 << 10;

/// Reads a recording from a file, a pipe or bytes in memory.
///
/// Iterates over [`Item`]s; an error of the input ends it as [`Damage::Io`].
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    decoder: Decoder,
    header: Header,
    /// Items that were met before the header.
    early: VecDeque<Item>,
    chunk: Vec<u8>,
}

/// Why there is nothing to read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The input cannot be read.
    #[error("cannot be read")]
    Io {
        /// What the system said.
        source: io::Error,
    },
    /// It holds neither a header nor an event.
    #[error("{reason}")]
    NotARecording {
        /// In words of this crate.
        reason: String,
    },
}

/// Bytes that are asked of the input at once.
const CHUNK: usize = 64 << 10;

impl<R: Read> Reader<R> {
    /// Reads up to the header, with the default limits.
    ///
    /// # Errors
    ///
    /// When nothing can be read, or when there is neither a header nor an event in it.
    pub fn open(input: R) -> Result<Self, OpenError> {
        Self::with_limits(input, Limits::default())
    }

    /// Reads up to the header.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn with_limits(input: R, limits: Limits) -> Result<Self, OpenError> {
        let mut reader = Self {
            input,
            decoder: Decoder::new(limits),
            header: Header::default(),
            early: VecDeque::new(),
            chunk: vec![0; CHUNK],
        };
        while reader.decoder.header().is_none() {
            match reader.decoder.next() {
                Next::Item(item) => reader.early.push_back(item),
                Next::Pause => {}
                Next::NeedInput => reader.more().map_err(|source| OpenError::Io { source })?,
                Next::End => {
                    let reason = reader.early.iter().rev().find_map(Item::warning);
                    return Err(OpenError::NotARecording {
                        reason: reason.map_or_else(String::new, |warning| warning.detail.clone()),
                    });
                }
            }
        }
        reader.header = reader.decoder.header().cloned().unwrap_or_default();
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The input, as far as it was read.
    pub fn into_input(self) -> R {
        self.input
    }

    /// Bytes of the input that have been taken in.
    pub fn consumed(&self) -> u64 {
        self.decoder.source.consumed()
    }

    fn more(&mut self) -> io::Result<()> {
        loop {
            match self.input.read(&mut self.chunk) {
                Ok(0) => self.decoder.finish(),
                Ok(length) => self
                    .decoder
                    .push(self.chunk.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if let Some(item) = self.early.pop_front() {
            return Some(item);
        }
        loop {
            match self.decoder.next() {
                Next::Item(item) => return Some(item),
                Next::Pause => {}
                Next::End => return None,
                Next::NeedInput => {
                    if let Err(error) = self.more() {
                        self.decoder.fail(&error);
                    }
                }
            }
        }
    }
}

impl Item {
    /// The warning, where it is one.
    pub fn warning(&self) -> Option<&Warning> {
        match self {
            Self::Warning(warning) => Some(warning),
            Self::Event(_) => None,
        }
    }

    /// The event, where it is one.
    pub fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Warning(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
