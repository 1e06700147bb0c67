//! The events of a recording, kept so that any of them is at hand in a ten-hour session.
//!
//! They are kept in chunks, and each chunk may have a keyframe: the screen before its first
//! event. Where the recording is a file, a chunk is a place in it and is read again when it is
//! needed ([`pages`](crate::pages) sees to it that it is still the same); otherwise it is kept
//! compressed, a fifth of the text's size or less. Memory is bounded; what does not fit is left
//! out, and the timeline says so.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use recording::event::{Event, EventData, Header};
use recording::read::{Decoder, Item, Limits, Mark, Next};

use crate::emulator::{COLS_MAX, ROWS_MAX, Snapshot};
use crate::pages::{Blocks, ReadAt};

/// An event as it is kept. Long output is kept in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Microseconds since the start.
    pub(crate) time: u64,
    /// False for the second and later pieces of one event.
    pub(crate) begins: bool,
    pub(crate) what: What,
}

/// What there is to show of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Output(String),
    Resize(u16, u16),
    Marker(String),
    Exit(i32),
}

/// A place to jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chapter {
    /// Microseconds since the start.
    pub(crate) time: u64,
    /// The label of a marker; `None` where a shell ran a command (OSC 133).
    pub(crate) label: Option<String>,
}

/// All of them.
pub(crate) struct Timeline {
    chunks: Vec<Chunk>,
    /// The moments after the last chunk.
    tail: Vec<Moment>,
    tail_bytes: usize,
    /// Where the tail begins in the file, and how its output is cut.
    tail_mark: Option<Mark>,
    tail_piece: usize,
    /// Something in the tail can't be read a second time with the same result.
    tail_damaged: bool,
    /// The keyframe of the chunk that the tail will be.
    tail_keyframe: Option<Snapshot>,
    len: usize,
    chapters: Vec<Chapter>,
    exit: Option<i32>,
    duration: u64,
    bytes: usize,
    bytes_max: usize,
    chunk_bytes: usize,
    cutter: Cutter,
    full: bool,
    /// Chunks of the file that were just read: whoever prepares keyframes comes right behind.
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    file: Option<Backing>,
    /// What was known when the tail began.
    sealed: Sealed,
    /// The file is not what it was.
    stale: Cell<bool>,
}

/// A chunk that need not be read again yet.
struct Recent {
    chunk: usize,
    bytes: usize,
    moments: Arc<Vec<Moment>>,
}

/// Bytes of text that are kept until they are prepared; half of it is as far as reading should
/// run ahead.
const RECENT_MAX: usize = 32 << 20;

/// The file that the moments come from.
struct Backing {
    file: Box<dyn ReadAt>,
    blocks: Blocks,
    header: Header,
    limits: Limits,
}

/// How far the chunks go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Where the tail begins.
    pub(crate) mark: Mark,
    /// Moments before it.
    pub(crate) len: usize,
    /// Chapters before it.
    pub(crate) chapters: usize,
    /// The time of the last event before it.
    pub(crate) duration: u64,
    /// The exit status, where it stands before.
    pub(crate) exit: Option<i32>,
}

#[derive(Clone)]
pub(crate) struct Chunk {
    /// Number of its first moment.
    pub(crate) first: usize,
    /// Time of its first moment.
    pub(crate) start: u64,
    pub(crate) stored: Stored,
    pub(crate) keyframe: Option<Snapshot>,
}

/// Where the moments of a chunk are.
#[derive(Clone)]
pub(crate) enum Stored {
    /// Here.
    Packed { bytes: Box<[u8]>, unpacked: usize },
    /// In the file, from a mark on and before a byte. Output is cut in pieces of this size at
    /// the beginning.
    InFile { mark: Mark, to: u64, piece: usize },
}

/// A chunk that was unpacked, kept by whoever reads.
#[derive(Default)]
pub(crate) struct Cache {
    chunk: Option<usize>,
    moments: Arc<Vec<Moment>>,
}

/// Cuts output in pieces: what is emulated between two looks at the budget. Four bytes can touch
/// every cell of the screen, so pieces are short where the screen is large.
#[derive(Clone, Copy)]
struct Cutter {
    piece: usize,
}

/// A chunk ends at so many moments, however little text they have.
const CHUNK_MOMENTS: usize = 16 << 10;

/// A chunk that finds no place in the file to end at is kept in memory from this size on, in
/// chunks of the usual size.
const OVERDUE: usize = 16;

/// Longest way from the beginning of a frame to a chunk: frames that are longer are unpacked
/// once and kept.
const SKIP_MAX: u64 = 4 << 20;

const PIECE_MAX: usize = 4 << 10;
const PIECE_MIN: usize = 64;
const PIECE_CELLS: usize = 8 << 20;

/// What a shell prints when it runs a command, where it is told to (OSC 133).
const COMMAND_RUNS: &str = "\x1b]133;C";

/// Bytes of a marker's label that are kept.
const LABEL_MAX: usize = 200;

/// Places that are kept to jump to.
pub(crate) const CHAPTERS_MAX: usize = 10_000;

impl Timeline {
    /// Takes `bytes_max` of memory, roughly, and ends a chunk at `chunk_bytes` of text.
    pub(crate) fn new(bytes_max: usize, chunk_bytes: usize) -> Self {
        Self {
            chunks: Vec::new(),
            tail: Vec::new(),
            tail_bytes: 0,
            tail_mark: None,
            tail_piece: PIECE_MAX,
            tail_damaged: false,
            tail_keyframe: None,
            len: 0,
            chapters: Vec::new(),
            exit: None,
            duration: 0,
            bytes: 0,
            bytes_max,
            chunk_bytes,
            cutter: Cutter { piece: PIECE_MAX },
            full: false,
            recent: VecDeque::new(),
            recent_bytes: 0,
            file: None,
            sealed: Sealed::default(),
            stale: Cell::new(false),
        }
    }

    /// The moments come from this file, of which so much was read.
    pub(crate) fn set_file(&mut self, file: Box<dyn ReadAt>, blocks: Blocks, limits: Limits) {
        self.file = Some(Backing {
            file,
            blocks,
            header: Header::default(),
            limits,
        });
    }

    /// The header, before the first event.
    pub(crate) fn set_header(&mut self, header: &Header) {
        self.cutter = Cutter::of(header.cols, header.rows);
        if let Some(file) = &mut self.file {
            file.header = header.clone();
        }
    }

    /// Puts back what was known of a file; nothing may have been added yet. The last screen
    /// says how output is cut from there on.
    pub(crate) fn set_known(
        &mut self,
        chunks: Vec<Chunk>,
        chapters: Vec<Chapter>,
        sealed: Sealed,
        piece: usize,
    ) {
        self.bytes = chunks.len() * size_of::<Chunk>();
        let keyframes = chunks.iter().filter_map(|chunk| chunk.keyframe.as_ref());
        self.bytes += keyframes.map(Snapshot::bytes).sum::<usize>();
        self.chunks = chunks;
        self.chapters = chapters;
        self.len = sealed.len;
        self.duration = sealed.duration;
        self.exit = sealed.exit;
        self.cutter = Cutter {
            piece: piece.clamp(PIECE_MIN, PIECE_MAX),
        };
        self.sealed = sealed;
    }

    /// Bytes of the file, as they are given to the decoder.
    pub(crate) fn hash(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            file.blocks.push(bytes);
        }
    }

    /// What was read of the file.
    pub(crate) fn blocks(&self) -> Option<&Blocks> {
        self.file.as_ref().map(|file| &file.blocks)
    }

    /// Whether it should be told where in the file the next event stands.
    pub(crate) fn wants_mark(&self) -> bool {
        self.file.is_some() && (self.tail.is_empty() || self.is_due())
    }

    /// Something that was read would not be read the same way again.
    pub(crate) fn is_damaged(&mut self) {
        self.tail_damaged = true;
    }

    /// Whether the file turned out to be another than the one that was read before.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.get()
    }

    /// Adds an event, unless there is nothing to show of it, or no room. It stands at `mark`
    /// in the file, of which `read` bytes have been taken in. Whether a chunk ended before it.
    pub(crate) fn push(&mut self, event: Event, mark: Option<Mark>, read: u64) -> bool {
        if self.full {
            return false;
        }
        let time = event.time.max(self.duration);
        self.duration = time;
        if matches!(event.data, EventData::Input(_) | EventData::Other { .. }) {
            return false;
        }
        let endable = mark.is_some() || self.tail_mark.is_none() || self.is_overdue();
        let ends = self.is_due() && endable;
        if ends {
            self.seal(mark, read);
        }
        if self.tail.is_empty() {
            self.tail_mark = mark;
            self.tail_piece = self.cutter.piece;
        }
        match &event.data {
            EventData::Marker(label) => {
                let kept = label.get(..label.floor_char_boundary(LABEL_MAX));
                self.add_chapter(time, Some(kept.unwrap_or_default().to_owned()));
            }
            EventData::Output(text) if text.contains(COMMAND_RUNS) => self.add_chapter(time, None),
            EventData::Exit(status) => self.exit = Some(*status),
            _ => {}
        }
        let before = self.tail.len();
        self.cutter.cut(time, event.data, &mut self.tail);
        let added = self.tail.get(before..).unwrap_or_default();
        self.tail_bytes += added.iter().map(Moment::bytes).sum::<usize>();
        self.len += added.len();
        ends
    }

    fn add_chapter(&mut self, time: u64, label: Option<String>) {
        if self.chapters.len() < CHAPTERS_MAX {
            self.bytes += label.as_ref().map_or(0, String::len) + size_of::<Chapter>();
            self.chapters.push(Chapter { time, label });
        }
    }

    fn is_due(&self) -> bool {
        self.tail_bytes >= self.chunk_bytes || self.tail.len() >= CHUNK_MOMENTS
    }

    fn is_overdue(&self) -> bool {
        self.tail_bytes / OVERDUE >= self.chunk_bytes || self.tail.len() / OVERDUE >= CHUNK_MOMENTS
    }

    /// Makes a chunk of the tail; the next one begins at `mark`.
    fn seal(&mut self, mark: Option<Mark>, read: u64) {
        let begun = self.tail_mark.filter(|mark| mark.skip <= SKIP_MAX);
        let stored = match begun {
            Some(begun) if mark.is_some() && !self.tail_damaged => Stored::InFile {
                mark: begun,
                to: read,
                piece: self.tail_piece,
            },
            _ => self.pack(),
        };
        self.bytes += stored.bytes() + size_of::<Chunk>();
        self.full = self.bytes > self.bytes_max;
        self.chunks.push(Chunk {
            first: self.len - self.tail.len(),
            start: self.tail.first().map_or(0, |moment| moment.time),
            stored,
            keyframe: self.tail_keyframe.take(),
        });
        let moments = std::mem::take(&mut self.tail);
        if begun.is_some() && self.recent_bytes < RECENT_MAX {
            self.recent_bytes += self.tail_bytes;
            self.recent.push_back(Recent {
                chunk: self.chunks.len() - 1,
                bytes: self.tail_bytes,
                moments: Arc::new(moments),
            });
        }
        self.tail_bytes = 0;
        self.tail_damaged = false;
        self.sealed = Sealed {
            mark: mark.unwrap_or_default(),
            len: self.len,
            chapters: self.chapters.len(),
            // The event that is being added is the next chunk's.
            duration: mark.map_or(0, |mark| mark.time),
            exit: self.exit,
        };
    }

    fn pack(&self) -> Stored {
        let mut unpacked = Vec::with_capacity(self.tail_bytes);
        for moment in &self.tail {
            moment.write(&mut unpacked);
        }
        let packed = zstd::bulk::compress(&unpacked, 1).unwrap_or_default();
        Stored::Packed {
            bytes: packed.into(),
            unpacked: unpacked.len(),
        }
    }

    /// The chunks and how far they go, where all of them are in the file and can be found
    /// there again.
    pub(crate) fn known(&self) -> Option<(&[Chunk], &[Chapter], &Sealed, usize)> {
        let in_file = |chunk: &Chunk| matches!(chunk.stored, Stored::InFile { .. });
        let known = !self.chunks.is_empty() && !self.full && self.chunks.iter().all(in_file);
        let chapters = self.chapters.get(..self.sealed.chapters)?;
        known.then_some((&self.chunks, chapters, &self.sealed, self.tail_piece))
    }

    /// How many moments there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The time of the last event, in microseconds.
    pub(crate) fn duration(&self) -> u64 {
        self.duration
    }

    /// Whether something had to be left out for want of memory.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn exit(&self) -> Option<i32> {
        self.exit
    }

    /// Where to jump to, in order.
    pub(crate) fn chapters(&self) -> &[Chapter] {
        &self.chapters
    }

    /// When each chunk begins, and what is behind the last.
    pub(crate) fn starts(&self) -> impl Iterator<Item = u64> {
        let tail = self.tail.first().map(|moment| moment.time);
        self.chunks.iter().map(|chunk| chunk.start).chain(tail)
    }

    /// The moments of a chunk: the first, and the one behind the last. The one behind the last
    /// chunk is what is behind it.
    pub(crate) fn part(&self, number: usize) -> Option<(usize, usize)> {
        let count = self.chunks.len() + usize::from(!self.tail.is_empty());
        let to = match number + 1 < count {
            true => self.first_of(number + 1),
            false => self.len,
        };
        (number < count).then(|| (self.first_of(number), to))
    }

    /// The first moment of the chunk in which, or before which, a moment lies.
    pub(crate) fn chunk_start(&self, number: usize) -> usize {
        self.first_of(self.chunk_of(number))
    }

    /// The moment with this number.
    pub(crate) fn get<'a>(&'a self, number: usize, cache: &'a mut Cache) -> Option<&'a Moment> {
        let chunk = self.chunk_of(number);
        let first = self.first_of(chunk);
        self.load(chunk, cache).get(number.checked_sub(first)?)
    }

    /// How many moments happened up to and with `time`.
    pub(crate) fn count_until(&self, time: u64, cache: &mut Cache) -> usize {
        let starts_after =
            |moments: &[Moment]| moments.first().is_none_or(|first| first.time > time);
        let chunk = match starts_after(&self.tail) {
            true => self.chunks.partition_point(|chunk| chunk.start <= time),
            false => self.chunks.len() + 1,
        };
        let Some(chunk) = chunk.checked_sub(1) else {
            return 0;
        };
        let moments = self.load(chunk, cache);
        self.first_of(chunk) + moments.partition_point(|moment| moment.time <= time)
    }

    fn chunk_of(&self, number: usize) -> usize {
        if number >= self.len - self.tail.len() {
            return self.chunks.len();
        }
        let after = self.chunks.partition_point(|chunk| chunk.first <= number);
        after.saturating_sub(1)
    }

    fn first_of(&self, chunk: usize) -> usize {
        let tail = self.len - self.tail.len();
        self.chunks.get(chunk).map_or(tail, |chunk| chunk.first)
    }

    fn load<'a>(&'a self, number: usize, cache: &'a mut Cache) -> &'a [Moment] {
        let Some(chunk) = self.chunks.get(number) else {
            return &self.tail;
        };
        if cache.chunk != Some(number) {
            cache.moments = self.unpack(number, chunk);
            cache.chunk = Some(number);
        }
        &cache.moments
    }

    fn unpack(&self, number: usize, chunk: &Chunk) -> Arc<Vec<Moment>> {
        let recent = self.recent.iter();
        if let Some(recent) = recent.rev().find(|recent| recent.chunk == number) {
            return recent.moments.clone();
        }
        let length = self.first_of(number + 1) - chunk.first;
        let moments = match &chunk.stored {
            Stored::Packed { bytes, unpacked } => unpack(bytes, *unpacked),
            Stored::InFile { mark, to, piece } => {
                let file = self.file.as_ref();
                let read = file.and_then(|file| file.read(*mark, *to, *piece, length));
                read.unwrap_or_default()
            }
        };
        if moments.len() != length {
            self.stale.set(true);
        }
        Arc::new(moments)
    }

    /// What stands before a moment is prepared.
    pub(crate) fn is_prepared_until(&mut self, number: usize) {
        let chunk = self.chunk_of(number);
        while let Some(recent) = self.recent.pop_front_if(|recent| recent.chunk < chunk) {
            self.recent_bytes -= recent.bytes;
        }
    }

    /// Whether so much was read that it is better prepared before there is more.
    pub(crate) fn is_far_ahead(&self) -> bool {
        self.recent_bytes > RECENT_MAX / 2
    }

    /// The last keyframe at or before a moment, with the number of the moment before which it
    /// was taken.
    pub(crate) fn keyframe_before(&self, number: usize) -> Option<(usize, &Snapshot)> {
        let until = self.chunks.partition_point(|chunk| chunk.first <= number);
        let chunks = self.chunks.get(..until)?.iter().rev();
        let mut found = chunks.filter_map(|chunk| Some((chunk.first, chunk.keyframe.as_ref()?)));
        found.next()
    }

    /// Whether a keyframe before this moment is wanted: it begins a chunk that has none, or what
    /// will be one.
    pub(crate) fn wants_keyframe(&self, number: usize) -> bool {
        let is_missing = match self.is_tail_start(number) {
            true => self.tail_keyframe.is_none(),
            false => self.chunk_beginning_at(number).is_some(),
        };
        number > 0 && !self.full && is_missing
    }

    /// Whoever prepares keyframes may be through with the tail before it is a chunk.
    fn is_tail_start(&self, number: usize) -> bool {
        !self.tail.is_empty() && number == self.len - self.tail.len()
    }

    fn chunk_beginning_at(&self, number: usize) -> Option<usize> {
        let at = self
            .chunks
            .binary_search_by_key(&number, |chunk| chunk.first);
        let chunk = self.chunks.get(at.ok()?)?;
        chunk.keyframe.is_none().then_some(at.ok()?)
    }

    pub(crate) fn set_keyframe(&mut self, number: usize, keyframe: Snapshot) {
        // Beyond the limit there are fewer keyframes, not fewer events.
        let bytes = keyframe.bytes();
        if self.bytes + bytes > self.bytes_max {
            return;
        }
        if self.is_tail_start(number) {
            self.tail_keyframe = Some(keyframe);
        } else if let Some(at) = self.chunk_beginning_at(number)
            && let Some(chunk) = self.chunks.get_mut(at)
        {
            chunk.keyframe = Some(keyframe);
        } else {
            return;
        }
        self.bytes += bytes;
    }
}

impl Stored {
    /// Bytes of memory beside its own.
    fn bytes(&self) -> usize {
        match self {
            Self::Packed { bytes, .. } => bytes.len(),
            Self::InFile { .. } => 0,
        }
    }
}

impl Backing {
    /// The moments of a chunk, or nothing when the file is not what it was.
    fn read(&self, mark: Mark, to: u64, piece: usize, length: usize) -> Option<Vec<Moment>> {
        let bytes = self.blocks.read(self.file.as_ref(), mark.file, to)?;
        let mut decoder = Decoder::resume(self.limits.clone(), self.header.clone(), mark);
        decoder.push(&bytes);
        decoder.finish();
        let mut cutter = Cutter { piece };
        let mut moments = Vec::new();
        while moments.len() < length {
            match decoder.next() {
                Next::Item(Item::Event(event)) => cutter.cut(event.time, event.data, &mut moments),
                Next::Item(Item::Warning(_)) | Next::Pause => {}
                Next::NeedInput | Next::End => return None,
            }
        }
        Some(moments)
    }
}

impl Cutter {
    fn of(cols: u16, rows: u16) -> Self {
        let cells = usize::from(cols.clamp(1, COLS_MAX)) * usize::from(rows.clamp(1, ROWS_MAX));
        let piece = (PIECE_CELLS / cells).clamp(PIECE_MIN, PIECE_MAX);
        Self { piece }
    }

    /// The moments of an event.
    fn cut(&mut self, time: u64, data: EventData, moments: &mut Vec<Moment>) {
        let what = match data {
            EventData::Output(text) if text.len() <= self.piece => {
                if text.is_empty() {
                    return;
                }
                What::Output(text)
            }
            EventData::Output(text) => return self.cut_output(time, &text, moments),
            EventData::Resize { cols, rows } => {
                *self = Self::of(cols, rows);
                What::Resize(cols, rows)
            }
            EventData::Marker(label) => What::Marker(label),
            EventData::Exit(status) => What::Exit(status),
            EventData::Input(_) | EventData::Other { .. } => return,
        };
        moments.push(Moment {
            time,
            begins: true,
            what,
        });
    }

    fn cut_output(self, time: u64, text: &str, moments: &mut Vec<Moment>) {
        let mut rest = text;
        let mut begins = true;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(self.piece));
            moments.push(Moment {
                time,
                begins,
                what: What::Output(piece.to_owned()),
            });
            rest = after;
            begins = false;
        }
    }
}

/// What [`Timeline::pack`] packed.
fn unpack(packed: &[u8], length: usize) -> Vec<Moment> {
    let bytes = zstd::bulk::decompress(packed, length).unwrap_or_default();
    let mut rest = bytes.as_slice();
    let mut moments = Vec::new();
    while let Some(moment) = Moment::read(&mut rest) {
        moments.push(moment);
    }
    moments
}

impl Moment {
    fn bytes(&self) -> usize {
        let text = match &self.what {
            What::Output(text) | What::Marker(text) => text.len(),
            What::Resize(..) | What::Exit(_) => 0,
        };
        text + 16
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (code, number, text) = match &self.what {
            What::Output(text) if self.begins => (0, 0, text.as_str()),
            What::Output(text) => (1, 0, text.as_str()),
            What::Marker(text) => (2, 0, text.as_str()),
            What::Resize(cols, rows) => (3, u32::from(*cols) << 16 | u32::from(*rows), ""),
            What::Exit(status) => (4, status.cast_unsigned(), ""),
        };
        out.push(code);
        out.extend_from_slice(&self.time.to_le_bytes());
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let number = if code < 3 { length } else { number };
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    /// What [`write`](Self::write) wrote.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let (&[code], after) = rest.split_first_chunk()?;
        let (time, after) = after.split_first_chunk()?;
        let (number, after) = after.split_first_chunk()?;
        let number = u32::from_le_bytes(*number);
        let length = if code < 3 { number as usize } else { 0 };
        let (text, after) = after.split_at_checked(length)?;
        let text = || String::from_utf8_lossy(text).into_owned();
        *rest = after;
        Some(Self {
            time: u64::from_le_bytes(*time),
            begins: code != 1,
            what: match code {
                0 | 1 => What::Output(text()),
                2 => What::Marker(text()),
                3 => What::Resize((number >> 16) as u16, number as u16),
                _ => What::Exit(number.cast_signed()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::indexing_slicing,
        reason = "a test stops at what it did not expect"
    )]

    use proptest::prelude::*;

    use super::*;

    fn data() -> impl Strategy<Value = EventData> {
        prop_oneof![
            any::<String>().prop_map(EventData::Output),
            (0..30_000usize).prop_map(|length| EventData::Output("é".repeat(length))),
            any::<String>().prop_map(EventData::Marker),
            any::<(u16, u16)>().prop_map(|(cols, rows)| EventData::Resize { cols, rows }),
            any::<i32>().prop_map(EventData::Exit),
        ]
    }

    proptest! {
        /// What goes in comes out, in any order of asking, and times find their place.
        #[test]
        fn moments_are_kept(
            events in proptest::collection::vec((0..3u64, data()), 0..60),
            asked: Vec<prop::sample::Index>,
            chunk in 1..100_000usize,
        ) {
            let mut timeline = Timeline::new(usize::MAX, chunk);
            let mut time = 0;
            let mut expected = Vec::new();
            for (interval, data) in events {
                time += interval;
                // Of empty output nothing is kept.
                if data == EventData::Output(String::new()) {
                    continue;
                }
                let before = timeline.len();
                timeline.push(Event { time, data: data.clone() }, None, 0);
                expected.push((before, time, data));
            }
            let mut cache = Cache::default();
            for (first, time, data) in &expected {
                let mut text = String::new();
                let mut number = *first;
                while let Some(moment) = timeline.get(number, &mut cache) {
                    if moment.begins && number > *first {
                        break;
                    }
                    prop_assert_eq!(moment.time, *time);
                    match &moment.what {
                        What::Output(piece) => text.push_str(piece),
                        what => prop_assert_eq!(what, &match data {
                            EventData::Marker(label) => What::Marker(label.clone()),
                            EventData::Resize { cols, rows } => What::Resize(*cols, *rows),
                            EventData::Exit(status) => What::Exit(*status),
                            _ => What::Output(String::new()),
                        }),
                    }
                    number += 1;
                }
                if let EventData::Output(whole) = data {
                    prop_assert_eq!(&text, whole);
                }
            }
            let all: Vec<Moment> = (0..timeline.len())
                .filter_map(|number| timeline.get(number, &mut cache).cloned())
                .collect();
            prop_assert_eq!(all.len(), timeline.len());
            for index in asked {
                if !all.is_empty() {
                    let number = index.index(all.len());
                    prop_assert_eq!(timeline.get(number, &mut cache), Some(&all[number]));
                }
            }
            for time in 0..time + 2 {
                let count = all.iter().filter(|moment| moment.time <= time).count();
                prop_assert_eq!(timeline.count_until(time, &mut cache), count);
            }
        }
    }
}
