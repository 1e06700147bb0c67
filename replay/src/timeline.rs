//! The events of a recording, kept so that any of them is at hand in a ten-hour session.
//!
//! They are kept in compressed chunks, a fifth of the text's size or less, and each chunk may
//! have a keyframe: the screen before its first event. Memory is bounded; what does not fit is
//! left out, and the timeline says so.

use recording::event::{Event, EventData};

use crate::emulator::{COLS_MAX, ROWS_MAX, Snapshot};

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

/// All of them.
pub(crate) struct Timeline {
    chunks: Vec<Chunk>,
    /// The moments after the last chunk.
    tail: Vec<Moment>,
    tail_bytes: usize,
    len: usize,
    markers: Vec<(u64, String)>,
    exit: Option<i32>,
    duration: u64,
    bytes: usize,
    bytes_max: usize,
    chunk_bytes: usize,
    /// Longest piece of output on a screen of the present size.
    piece: usize,
    full: bool,
}

struct Chunk {
    /// Number of its first moment.
    first: usize,
    /// Time of its first moment.
    start: u64,
    packed: Box<[u8]>,
    /// Bytes of it unpacked.
    unpacked: usize,
    keyframe: Option<Snapshot>,
}

/// A chunk that was unpacked, kept by whoever reads.
#[derive(Default)]
pub(crate) struct Cache {
    chunk: Option<usize>,
    moments: Vec<Moment>,
}

/// A chunk ends at so many moments, however little text they have.
const CHUNK_MOMENTS: usize = 16 << 10;

/// Longest piece of output: what is emulated between two looks at the budget. Four bytes can
/// touch every cell of the screen, so pieces are short where the screen is large.
const PIECE_MAX: usize = 4 << 10;
const PIECE_MIN: usize = 64;
const PIECE_CELLS: usize = 8 << 20;

/// Bytes of a marker's label that are kept.
const LABEL_MAX: usize = 200;

/// Markers that are kept to jump to.
const MARKERS_MAX: usize = 10_000;

impl Timeline {
    /// Takes `bytes_max` of memory, roughly, and ends a chunk at `chunk_bytes` of text.
    pub(crate) fn new(bytes_max: usize, chunk_bytes: usize) -> Self {
        Self {
            chunks: Vec::new(),
            tail: Vec::new(),
            tail_bytes: 0,
            len: 0,
            markers: Vec::new(),
            exit: None,
            duration: 0,
            bytes: 0,
            bytes_max,
            chunk_bytes,
            piece: PIECE_MAX,
            full: false,
        }
    }

    /// The screen has this size from the next event on.
    pub(crate) fn set_size(&mut self, cols: u16, rows: u16) {
        let cells = usize::from(cols.clamp(1, COLS_MAX)) * usize::from(rows.clamp(1, ROWS_MAX));
        self.piece = (PIECE_CELLS / cells).clamp(PIECE_MIN, PIECE_MAX);
    }

    /// Adds an event, unless there is nothing to show of it, or no room.
    pub(crate) fn push(&mut self, event: Event) {
        if self.full {
            return;
        }
        let time = event.time.max(self.duration);
        self.duration = time;
        match event.data {
            EventData::Output(text) => self.push_output(time, &text),
            EventData::Resize { cols, rows } => {
                self.set_size(cols, rows);
                self.push_moment(time, true, What::Resize(cols, rows));
            }
            EventData::Marker(label) => {
                if self.markers.len() < MARKERS_MAX {
                    let kept = label.get(..label.floor_char_boundary(LABEL_MAX));
                    let kept = kept.unwrap_or_default().to_owned();
                    self.bytes += kept.len();
                    self.markers.push((time, kept));
                }
                self.push_moment(time, true, What::Marker(label));
            }
            EventData::Exit(status) => {
                self.exit = Some(status);
                self.push_moment(time, true, What::Exit(status));
            }
            EventData::Input(_) | EventData::Other { .. } => {}
        }
    }

    fn push_output(&mut self, time: u64, text: &str) {
        let mut rest = text;
        let mut begins = true;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(self.piece));
            self.push_moment(time, begins, What::Output(piece.to_owned()));
            rest = after;
            begins = false;
        }
    }

    fn push_moment(&mut self, time: u64, begins: bool, what: What) {
        let moment = Moment { time, begins, what };
        self.tail_bytes += moment.bytes();
        self.tail.push(moment);
        self.len += 1;
        if self.tail_bytes >= self.chunk_bytes || self.tail.len() >= CHUNK_MOMENTS {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let mut unpacked = Vec::with_capacity(self.tail_bytes);
        for moment in &self.tail {
            moment.write(&mut unpacked);
        }
        let packed = zstd::bulk::compress(&unpacked, 1).unwrap_or_default();
        self.bytes += packed.len() + size_of::<Chunk>();
        self.full = self.bytes > self.bytes_max;
        self.chunks.push(Chunk {
            first: self.len - self.tail.len(),
            start: self.tail.first().map_or(0, |moment| moment.time),
            packed: packed.into(),
            unpacked: unpacked.len(),
            keyframe: None,
        });
        self.tail.clear();
        self.tail_bytes = 0;
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

    /// Times and labels of the markers, in order.
    pub(crate) fn markers(&self) -> &[(u64, String)] {
        &self.markers
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
            cache.moments = chunk.unpack();
            cache.chunk = Some(number);
        }
        &cache.moments
    }

    /// The last keyframe at or before a moment, with the number of the moment before which it
    /// was taken.
    pub(crate) fn keyframe_before(&self, number: usize) -> Option<(usize, &Snapshot)> {
        let until = self.chunks.partition_point(|chunk| chunk.first <= number);
        let chunks = self.chunks.get(..until)?.iter().rev();
        let mut found = chunks.filter_map(|chunk| Some((chunk.first, chunk.keyframe.as_ref()?)));
        found.next()
    }

    /// Whether a keyframe before this moment is wanted: it begins a chunk that has none.
    pub(crate) fn wants_keyframe(&self, number: usize) -> bool {
        number > 0 && !self.full && self.chunk_beginning_at(number).is_some()
    }

    fn chunk_beginning_at(&self, number: usize) -> Option<usize> {
        let at = self
            .chunks
            .binary_search_by_key(&number, |chunk| chunk.first);
        let chunk = self.chunks.get(at.ok()?)?;
        chunk.keyframe.is_none().then_some(at.ok()?)
    }

    pub(crate) fn set_keyframe(&mut self, number: usize, keyframe: Snapshot) {
        let Some(at) = self.chunk_beginning_at(number) else {
            return;
        };
        // Beyond the limit there are fewer keyframes, not fewer events.
        let bytes = keyframe.bytes();
        if self.bytes + bytes <= self.bytes_max
            && let Some(chunk) = self.chunks.get_mut(at)
        {
            self.bytes += bytes;
            chunk.keyframe = Some(keyframe);
        }
    }
}

impl Chunk {
    fn unpack(&self) -> Vec<Moment> {
        let bytes = zstd::bulk::decompress(&self.packed, self.unpacked).unwrap_or_default();
        let mut rest = bytes.as_slice();
        let mut moments = Vec::new();
        while let Some(moment) = Moment::read(&mut rest) {
            moments.push(moment);
        }
        moments
    }
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
                timeline.push(Event { time, data: data.clone() });
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
