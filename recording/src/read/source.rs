//! From the bytes of a file to the bytes of its text: plain, or zstd frames one after another.
//!
//! A broken frame costs what of it can't be decoded, and the search for the next one begins
//! behind its magic number. Skippable frames (seals, seek tables) are stepped over.

use std::collections::VecDeque;
use std::fmt;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{Damage, Limits};

/// Bytes of a file on their way to text.
pub(super) struct Source {
    /// Bytes given and not yet consumed, after up to `HISTORY` that have been.
    input: Vec<u8>,
    /// Where in `input` the next byte is.
    next: usize,
    /// Bytes of the file before `next`.
    consumed: u64,
    /// Bytes of text given out.
    text: u64,
    /// Where the last frames began, in the file and in the text; older ones are forgotten.
    frames: VecDeque<Began>,
    finished: bool,
    mode: Mode,
    damages: usize,
    window_log: u32,
    text_max: u64,
    ratio_max: u64,
    ratio_free: u64,
    damages_max: usize,
}

enum Mode {
    /// Nothing seen yet.
    Unknown,
    Plain,
    /// Between two frames.
    Between,
    Frame(Frame),
    /// In a skippable frame; so many bytes of it are left.
    Skippable(u64),
    /// After a damage: looking for a frame.
    Searching,
    Ended,
}

/// A data frame that is being unpacked.
struct Frame {
    decoder: Box<Decoder<'static>>,
    /// The byte of the file at which it began.
    began: u64,
    /// Bytes that zstd asked for: the rest of a block and the header of the next. Fed more, it
    /// would keep back blocks that it had unpacked when a later one turns out to be broken.
    wanted: usize,
}

/// Where a frame began.
#[derive(Clone, Copy)]
struct Began {
    file: u64,
    text: u64,
}

/// Beginnings of frames that are remembered: a line that spans more has no place to resume at.
const FRAMES_KEPT: usize = 1024;

/// What [`Source::step`] did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more text, or at least some way was made.
    Text,
    NeedInput,
    Damage(Damage, String),
    End,
}

const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of a skippable frame's magic number; the first is 0x50 to 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Consumed bytes that are kept, so that a frame swallowed by a broken one is found.
const HISTORY: usize = 256 << 10;

/// The shortest frame header with its magic number.
const HEADER_MIN: usize = 5;

/// Text that one step makes at most: a block.
const STEP: usize = 128 << 10;

impl Source {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            input: Vec::new(),
            next: 0,
            consumed: 0,
            text: 0,
            frames: VecDeque::new(),
            finished: false,
            mode: Mode::Unknown,
            damages: 0,
            window_log: limits.window_log,
            text_max: limits.text_max,
            ratio_max: limits.ratio_max,
            ratio_free: limits.ratio_free,
            damages_max: limits.warnings_max,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.next > 2 * HISTORY {
            self.input.drain(..self.next - HISTORY);
            self.next = HISTORY;
        }
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Goes on in the middle of a file: the next byte given is byte `file` of it, where a frame
    /// begins, or a line in plain text, and `text` bytes of text came before.
    pub(super) fn resume(&mut self, file: u64, text: u64) {
        self.consumed = file;
        self.text = text;
    }

    /// Where to begin in the file to reach a byte of the text, and how many bytes of text to
    /// pass over from there; `None` when that is not known any more.
    pub(super) fn way_to(&mut self, text: u64) -> Option<(u64, u64)> {
        if matches!(self.mode, Mode::Plain) {
            return Some((text, 0));
        }
        while self.frames.get(1).is_some_and(|next| next.text <= text) {
            self.frames.pop_front();
        }
        let frame = self.frames.front()?;
        Some((frame.file, text.checked_sub(frame.text)?))
    }

    fn frame_begins(&mut self) {
        let (file, text) = (self.consumed, self.text);
        // Of frames without text the last counts.
        self.frames.pop_back_if(|last| last.text == text);
        if self.frames.len() == FRAMES_KEPT {
            self.frames.pop_front();
        }
        self.frames.push_back(Began { file, text });
    }

    /// Appends some text to `out`.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> Step {
        if self.text > self.text_max {
            self.mode = Mode::Ended;
            self.text = 0;
            let gib = self.text_max >> 30;
            return Step::Damage(
                Damage::Limit,
                format!("more than {gib} GiB of text is not read"),
            );
        }
        match &self.mode {
            Mode::Unknown => self.detect(),
            Mode::Plain => self.plain(out),
            Mode::Between => self.between(),
            Mode::Frame(_) => self.frame(out),
            Mode::Skippable(_) => self.skip(),
            Mode::Searching => self.search(),
            Mode::Ended => Step::End,
        }
    }

    fn waiting(&self) -> &[u8] {
        self.input.get(self.next..).unwrap_or_default()
    }

    fn consume(&mut self, bytes: usize) {
        self.next += bytes;
        self.consumed += bytes as u64;
    }

    fn end(&mut self) -> Step {
        self.mode = Mode::Ended;
        Step::End
    }

    fn detect(&mut self) -> Step {
        let waiting = self.waiting();
        if waiting.len() < 4 && !self.finished {
            return Step::NeedInput;
        }
        if waiting.starts_with(&GZIP) {
            self.mode = Mode::Ended;
            let detail = "this is a gzip file: unpack it first (gzip -dc FILE | replay …)";
            return Step::Damage(Damage::Header, detail.into());
        }
        self.mode = match is_magic(waiting) {
            true => Mode::Between,
            false => Mode::Plain,
        };
        Step::Text
    }

    fn plain(&mut self, out: &mut Vec<u8>) -> Step {
        let waiting = self.waiting();
        let length = waiting.len().min(STEP);
        if length == 0 {
            return match self.finished {
                true => self.end(),
                false => Step::NeedInput,
            };
        }
        out.extend_from_slice(waiting.get(..length).unwrap_or_default());
        self.consume(length);
        self.text += length as u64;
        Step::Text
    }

    fn between(&mut self) -> Step {
        let waiting = self.waiting();
        if waiting.is_empty() && self.finished {
            return self.end();
        }
        let skippable = waiting.get(1..4) == Some(&SKIPPABLE) && is_magic(waiting);
        if waiting.len() < if skippable { 8 } else { 4 } {
            if !self.finished {
                return Step::NeedInput;
            }
            let left = waiting.len();
            self.consume(left);
            self.mode = Mode::Ended;
            return cut();
        }
        if skippable {
            let length = waiting.get(4..8).and_then(|bytes| bytes.try_into().ok());
            let length = u32::from_le_bytes(length.unwrap_or_default());
            self.consume(8);
            self.mode = Mode::Skippable(length.into());
            return Step::Text;
        }
        if !waiting.starts_with(&FRAME) {
            return self.damage("bytes that are no zstd frame are left out".into());
        }
        match self.decoder() {
            Ok(decoder) => {
                self.frame_begins();
                self.mode = Mode::Frame(Frame {
                    decoder: Box::new(decoder),
                    began: self.consumed,
                    wanted: HEADER_MIN,
                });
                Step::Text
            }
            Err(error) => {
                self.mode = Mode::Ended;
                Step::Damage(Damage::Io, format!("zstd cannot be started: {error}"))
            }
        }
    }

    fn decoder(&self) -> std::io::Result<Decoder<'static>> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(self.window_log))?;
        Ok(decoder)
    }

    fn frame(&mut self, out: &mut Vec<u8>) -> Step {
        let Mode::Frame(frame) = &mut self.mode else {
            return Step::Text;
        };
        let began = frame.began;
        let waiting = self.input.get(self.next..).unwrap_or_default();
        let given = waiting.len().min(frame.wanted);
        let before = out.len();
        out.reserve(STEP);
        let mut input = InBuffer::around(waiting.get(..given).unwrap_or_default());
        let mut output = OutBuffer::around_pos(out, before);
        let result = frame.decoder.run(&mut input, &mut output);
        let (taken, made) = (input.pos(), output.pos() - before);
        if let Ok(wanted) = result {
            frame.wanted = wanted.max(1);
        }
        self.consume(taken);
        self.text += made as u64;
        match result {
            Ok(0) => self.mode = Mode::Between,
            Ok(_) if taken == 0 && made == 0 && !self.finished => return Step::NeedInput,
            Ok(_) if taken == 0 && made == 0 => return self.frame_is_cut(began),
            Ok(_) => {}
            Err(error) => {
                self.rewind(began);
                return self.damage(format!(
                    "a zstd frame is broken ({error}); what could be unpacked of it is shown"
                ));
            }
        }
        let fair = self
            .ratio_free
            .max(self.consumed.saturating_mul(self.ratio_max));
        if self.text > fair {
            self.mode = Mode::Ended;
            return Step::Damage(
                Damage::Limit,
                "it unpacks to more than a recording can: the rest is not read".into(),
            );
        }
        Step::Text
    }

    /// The file ends in a frame. A broken length may have swallowed frames behind it, so they
    /// are looked for.
    fn frame_is_cut(&mut self, began: u64) -> Step {
        let (next, consumed) = (self.next, self.consumed);
        self.rewind(began);
        if find_magic(self.waiting()).is_some() {
            return self.damage("a zstd frame is broken; the next one is read".into());
        }
        (self.next, self.consumed) = (next, consumed);
        self.mode = Mode::Ended;
        cut()
    }

    /// Goes back to just behind the magic number of the frame that began at `began`, or as far
    /// as is known.
    fn rewind(&mut self, began: u64) {
        let target = began + 4;
        let back = usize::try_from(self.consumed.saturating_sub(target)).unwrap_or(usize::MAX);
        let back = back.min(self.next).min(HISTORY);
        self.next -= back;
        self.consumed -= back as u64;
        // Less than the magic number was consumed: step over it all the same.
        let ahead = target.saturating_sub(self.consumed).min(4) as usize;
        self.consume(ahead.min(self.waiting().len()));
    }

    fn skip(&mut self) -> Step {
        let Mode::Skippable(left) = self.mode else {
            return Step::Text;
        };
        let length = self
            .waiting()
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.consume(length);
        let left = left - length as u64;
        self.mode = match left {
            0 => Mode::Between,
            _ => Mode::Skippable(left),
        };
        if left > 0 && self.waiting().is_empty() {
            if !self.finished {
                return Step::NeedInput;
            }
            self.mode = Mode::Ended;
            return cut();
        }
        Step::Text
    }

    fn search(&mut self) -> Step {
        let waiting = self.waiting();
        if let Some(at) = find_magic(waiting) {
            self.consume(at);
            self.mode = Mode::Between;
            return Step::Text;
        }
        // A magic number may begin in the last three bytes.
        let keep = if self.finished { 0 } else { 3 };
        let seen = waiting.len().saturating_sub(keep);
        self.consume(seen);
        match self.finished {
            true => self.end(),
            false => Step::NeedInput,
        }
    }

    fn damage(&mut self, detail: String) -> Step {
        self.damages += 1;
        if self.damages > self.damages_max {
            self.mode = Mode::Ended;
            let detail = "too many frames are broken: the rest is not read";
            return Step::Damage(Damage::Limit, detail.into());
        }
        self.mode = Mode::Searching;
        Step::Damage(Damage::Compression, detail)
    }
}

fn cut() -> Step {
    let detail = "the file is cut off in a zstd frame; what could be unpacked is shown";
    Step::Damage(Damage::Cut, detail.into())
}

fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&FRAME)
        || bytes.first().is_some_and(|first| first >> 4 == 5) && bytes.get(1..4) == Some(&SKIPPABLE)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let data = memchr::memmem::find(bytes, &FRAME);
    let skippable = memchr::memmem::find_iter(bytes, &SKIPPABLE)
        .filter_map(|at| at.checked_sub(1))
        .find(|&at| bytes.get(at..).is_some_and(is_magic));
    match (data, skippable) {
        (Some(data), Some(skippable)) => Some(data.min(skippable)),
        (one, other) => one.or(other),
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("consumed", &self.consumed)
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}
