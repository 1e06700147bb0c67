//! What of a text was seen before.

use std::ops::Range;

use super::sum::Sum;
use super::vectors::{END, Run, START, Text, Vectors};

/// Literals, and what is copied behind them from further up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    /// Bytes that stand as they are.
    pub(super) literals: u32,
    /// Bytes that are copied: [`SHORTEST`] at least.
    pub(super) length: u32,
    /// What the format calls the offset's value (RFC 8878 §3.1.1.5): 1 for that of the sequence
    /// before, where there are literals; else the offset and three.
    pub(super) offset_value: u32,
}

/// Finds repetitions in one block after the other of a text.
pub(super) struct Search {
    /// Where something with this hash was seen last.
    table: Box<[u32; TABLE]>,
    literals: Box<[u8; BLOCK + COPY]>,
    literals_len: usize,
    sequences: Box<[Sequence; SEQUENCES]>,
    sequences_len: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            table: filled(0),
            literals: filled(0),
            literals_len: 0,
            sequences: filled(Sequence {
                literals: 0,
                length: 0,
                offset_value: 0,
            }),
            sequences_len: 0,
        }
    }
}

/// On the heap, without being on the stack before.
pub(super) fn filled<T: Clone, const LEN: usize>(with: T) -> Box<[T; LEN]> {
    let Ok(filled) = vec![with; LEN].into_boxed_slice().try_into() else {
        unreachable!("it has this length");
    };
    filled
}

/// How far a search has come. Places are those of the text.
#[derive(Clone, Copy)]
struct Cursor {
    /// Where it looks next.
    at: usize,
    /// Where the literals of the next sequence start.
    literals: usize,
    literals_len: usize,
    sequences_len: usize,
    /// The offset of the last sequence; none before the first.
    offset: usize,
}

impl Search {
    /// Another text begins.
    pub(super) fn forget(&mut self) {
        self.table.fill(0);
    }

    /// The literals of the last block, also those behind the last sequence.
    pub(super) fn literals(&self) -> &[u8] {
        self.literals.get(..self.literals_len).unwrap_or_default()
    }

    /// The sequences of the last block.
    pub(super) fn sequences(&self) -> &[Sequence] {
        self.sequences.get(..self.sequences_len).unwrap_or_default()
    }

    /// Looks at the next place of the block; none where there is no more.
    #[inline(always)]
    fn step(
        &mut self,
        vectors: impl Vectors,
        text: Text<'_>,
        places: Text<'_>,
        block_end: usize,
        mut cursor: Cursor,
    ) -> Option<Cursor> {
        if cursor.at >= block_end {
            return None;
        }
        let marks = u64::from_le_bytes(*places.at(cursor.at >> 3)?) >> (cursor.at & 7);
        if marks == 0 {
            // So many bits are there at least.
            cursor.at = cursor.at.wrapping_add(57);
            return Some(cursor);
        }
        let place = cursor.at.wrapping_add(marks.trailing_zeros() as usize);
        cursor.at = place.wrapping_add(1);
        let here = *text.at::<SHORTEST>(place)?;
        let hash = u64::from_le_bytes(here).wrapping_mul(PRIME) >> (u64::BITS - TABLE_LOG);
        let slot = self.table.get_mut(hash as usize)?;
        let seen = std::mem::replace(slot, place as u32) as usize;
        // What has no END before it cannot be extended to the left, and 0 stands for nothing.
        if seen < END || *text.at(seen)? != here || place > block_end.wrapping_sub(SHORTEST) {
            return Some(cursor);
        }
        let offset = place.wrapping_sub(seen);
        let mut end = place.wrapping_add(SHORTEST);
        while let (Some(one), Some(other)) = (text.at(end), text.at(end.wrapping_sub(offset))) {
            let same = vectors.same_start(one, other);
            end = end.wrapping_add(same);
            if same < START || end >= block_end {
                break;
            }
        }
        let end = end.min(block_end);
        let before = vectors.same_end(
            text.at(place.wrapping_sub(END))?,
            text.at(seen.wrapping_sub(END))?,
        );
        let start = place.wrapping_sub(before).max(cursor.literals);
        let literals = start.wrapping_sub(cursor.literals);
        self.take(text, cursor, literals)?;
        let again = offset == cursor.offset && literals > 0;
        *self.sequences.get_mut(cursor.sequences_len)? = Sequence {
            literals: literals as u32,
            length: end.wrapping_sub(start) as u32,
            offset_value: if again {
                1
            } else {
                (offset as u32).wrapping_add(3)
            },
        };
        Some(Cursor {
            at: end,
            literals: end,
            literals_len: cursor.literals_len.wrapping_add(literals),
            sequences_len: cursor.sequences_len.wrapping_add(1),
            offset,
        })
    }

    /// Copies literals, and what stands behind them: most are few.
    #[inline(always)]
    fn take(&mut self, text: Text<'_>, cursor: Cursor, len: usize) -> Option<()> {
        let mut done = 0;
        loop {
            let from = text.at::<COPY>(cursor.literals.wrapping_add(done))?;
            let to = cursor.literals_len.wrapping_add(done);
            *self.literals.get_mut(to..)?.first_chunk_mut::<COPY>()? = *from;
            done = done.wrapping_add(COPY);
            if done >= len {
                return Some(());
            }
        }
    }

    /// Takes the literals behind the last sequence.
    fn end(&mut self, text: &[u8], block_end: usize, cursor: Cursor) {
        let rest = text.get(cursor.literals..block_end).unwrap_or_default();
        self.literals_len = cursor.literals_len + rest.len();
        self.sequences_len = cursor.sequences_len;
        let to = self
            .literals
            .get_mut(cursor.literals_len..self.literals_len);
        if let Some(to) = to {
            to.copy_from_slice(rest);
        }
    }
}

/// Reads the text once: marks the places to look at, which are where a word ends, and the first of
/// 64 bytes without one; and sums it up, which waits for each product before and costs little beside.
pub(super) struct Mark<'a> {
    pub(super) text: &'a [u8],
    pub(super) sum: &'a mut Sum,
    /// Becomes a bit for each byte, and some bytes more that can be read.
    pub(super) places: &'a mut Vec<u8>,
}

impl Run for Mark<'_> {
    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) {
        let Self { text, places, sum } = self;
        let mut lanes = *sum;
        let (chunks, _) = text.as_chunks::<64>();
        places.clear();
        places.resize(chunks.len() * 8 + BEHIND, 0);
        // Nothing ends at the first byte.
        let mut before = 1;
        for (chunk, marks) in chunks.iter().zip(places.as_chunks_mut().0) {
            let ends = vectors.ends(chunk);
            let starts = ends & !(ends << 1 | before);
            before = ends >> 63;
            *marks = (starts | u64::from(starts == 0)).to_le_bytes();
            lanes.add(chunk);
        }
        *sum = lanes;
    }
}

/// Searches two blocks, in turns.
pub(super) struct Both<'a> {
    pub(super) text: &'a [u8],
    pub(super) places: &'a [u8],
    /// Each is [`BLOCK`] long at most.
    pub(super) blocks: [Range<usize>; 2],
    pub(super) searches: [&'a mut Search; 2],
}

impl Run for Both<'_> {
    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) {
        let Self {
            text,
            places,
            blocks,
            searches: [first, second],
        } = self;
        let [mut one, mut two] = blocks.each_ref().map(|block| Cursor {
            at: block.start,
            literals: block.start,
            literals_len: 0,
            sequences_len: 0,
            offset: 0,
        });
        let [one_end, two_end] = blocks.map(|block| block.end);
        if let (Some(text), Some(places)) = (Text::of(text), Text::of(places)) {
            // Where a search has ended, it must not look again: it would find what it has noted.
            let rest = loop {
                let Some(next) = first.step(vectors, text, places, one_end, one) else {
                    break (&mut *second, two_end, &mut two);
                };
                one = next;
                let Some(next) = second.step(vectors, text, places, two_end, two) else {
                    break (&mut *first, one_end, &mut one);
                };
                two = next;
            };
            let (search, end, cursor) = rest;
            let mut at = *cursor;
            while let Some(next) = search.step(vectors, text, places, end, at) {
                at = next;
            }
            *cursor = at;
        }
        first.end(text, one_end, one);
        second.end(text, two_end, two);
    }
}

/// A block has no more text: two pairs are a frame of a flood and the piece that made it full.
pub(super) const BLOCK: usize = 80 * 1024;
/// Bytes that are there behind the marks.
const BEHIND: usize = 64;
/// The most that a block has: each is [`SHORTEST`] at least.
pub(super) const SEQUENCES: usize = BLOCK / SHORTEST;
/// Bytes that have to be the same: what is shorter costs about what it saves.
pub(super) const SHORTEST: usize = 8;
/// Literals that are copied at once.
const COPY: usize = 32;
/// Places that are known: two tables are half of a first-level cache.
const TABLE: usize = 1 << TABLE_LOG;
const TABLE_LOG: u32 = 11;
/// Its products have high bits that depend on all of a word.
const PRIME: u64 = 0x9fb2_1c65_1e98_df25;

// The format's limit (RFC 8878 §3.1.1.2.4).
const _: () = assert!(BLOCK <= 128 * 1024);
