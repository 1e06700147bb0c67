//! Frames of a flood, compressed by an encoder of our own (RFC 8878), since zstd's takes most of
//! the recorder's time at any of its levels.
//!
//! Output that comes as fast as it can is lines that resemble each other. So what was seen before
//! is looked for only where a word ends, and the one place that a table names for it is taken or
//! left; sequences are coded with the format's predefined tables, literals stand as they are.
//! Each look depends on the one before, so that a CPU would wait for memory most of the time:
//! two halves of a piece of text are searched in turns, each by its own [`Search`].
//!
//! Knows nothing of levels, windows or streams: a frame is one text, all of which is at hand.

mod code;
mod search;
mod sum;
mod vectors;

use std::fmt;
use std::ops::Range;

use self::code::{Code, Coder};
use self::search::{BLOCK, Both, Mark, Search};
use self::sum::Sum;
use self::vectors::{Best, Way};

/// Compresses text of a flood into standard zstd frames (RFC 8878), in about half of the time that
/// zstd's fastest levels take, and nearly as far.
///
/// That is where [`Flood::is_fast`]. It is meant for text of about a quarter of a megabyte with lines that resemble each other, and
/// takes any bytes. Its memory, some 600 KiB, is used again for each frame.
#[derive(Default)]
pub struct Flood {
    halves: [Half; 2],
    /// Where the text is looked at.
    places: Vec<u8>,
}

/// One block of a pair.
#[derive(Default)]
struct Half {
    search: Search,
    coder: Coder,
}

impl Flood {
    /// Whether this CPU has the vector instructions that make it fast; on others, zstd is faster.
    pub fn is_fast() -> bool {
        vectors::are_here()
    }

    /// Appends one frame with all of `text`, its length and its checksum to `out`: at most 3 bytes
    /// for each 80 KiB and 20 more than the text. A reader needs a window of the text's length.
    ///
    /// What it writes depends on nothing but the text. Text of more than 64 MiB is stored as it is.
    pub fn compress(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.compress_by(Best, text, out);
    }

    fn compress_by(&mut self, way: impl Way, text: &[u8], out: &mut Vec<u8>) {
        out.reserve(text.len() / 2);
        out.extend_from_slice(&MAGIC);
        out.push(DESCRIPTOR);
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        for half in &mut self.halves {
            half.search.forget();
        }
        let mut sum = Sum::default();
        self.places.clear();
        if text.len() <= LONGEST {
            way.run(Mark {
                text,
                sum: &mut sum,
                places: &mut self.places,
            });
        }
        let pairs = text.len().div_ceil(2 * BLOCK).max(1);
        let size = text.len().div_ceil(2 * pairs);
        let mut start = 0;
        loop {
            let middle = text.len().min(start + size);
            let end = text.len().min(middle + size);
            let blocks = [start..middle, middle..end];
            let searches = self.halves.each_mut().map(|half| &mut half.search);
            way.run(Both {
                text,
                places: &self.places,
                blocks: blocks.clone(),
                searches,
            });
            for (number, (half, block)) in self.halves.iter_mut().zip(blocks).enumerate() {
                // Where nothing is left for the second, the first is the last.
                if number > 0 && block.is_empty() {
                    continue;
                }
                let Half { search, coder } = half;
                let sequences = search.sequences();
                way.run(Code { sequences, coder });
                half.write(text, block, out);
            }
            start = end;
            if start == text.len() {
                break;
            }
        }
        out.extend_from_slice(&(sum.finish(text) as u32).to_le_bytes());
    }
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flood").finish_non_exhaustive()
    }
}

impl Half {
    /// Appends the block with this part of the text, which was searched and coded.
    fn write(&self, text: &[u8], block: Range<usize>, out: &mut Vec<u8>) {
        let last = u32::from(block.end == text.len());
        let header = |kind: u32, size: usize| (size as u32) << 3 | kind << 1 | last;
        let literals = self.search.literals();
        let sequences = self.coder.section();
        let size = LITERALS_HEADER + literals.len() + sequences.len();
        if size >= block.len() {
            push(out, header(RAW, block.len()));
            out.extend_from_slice(text.get(block).unwrap_or_default());
            return;
        }
        push(out, header(COMPRESSED, size));
        push(out, RAW_LITERALS | (literals.len() as u32) << 4);
        out.extend_from_slice(literals);
        out.extend_from_slice(sequences);
    }
}

/// Appends the low three bytes.
fn push(out: &mut Vec<u8>, header: u32) {
    let [low, middle, high, _] = header.to_le_bytes();
    out.extend_from_slice(&[low, middle, high]);
}

/// In longer text nothing is looked for: offsets have less than 28 bits.
const LONGEST: usize = 64 * 1024 * 1024;
/// Of a zstd frame (RFC 8878 §3.1.1).
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The length of the text follows in eight bytes and is the window, a checksum stands at the end
/// (§3.1.1.1.1).
const DESCRIPTOR: u8 = 0b1110_0100;
/// Kinds of blocks (§3.1.1.2.2).
const RAW: u32 = 0;
const COMPRESSED: u32 = 2;
/// Literals as they are, their length in 20 bits (§3.1.1.3.1.1).
const RAW_LITERALS: u32 = 0b1100;
const LITERALS_HEADER: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::search::SHORTEST;
    use super::vectors::Portable;
    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Flood::default().compress(text, &mut out);
        out
    }

    fn unpacked(frame: &[u8]) -> Vec<u8> {
        zstd::decode_all(frame).expect("a frame")
    }

    /// Bytes that no encoder makes shorter.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        std::iter::repeat_with(&mut next).take(len).collect()
    }

    fn lines(len: usize) -> Vec<u8> {
        let line = |n: usize| format!("{{\"at\":{n},\"user\":\"{:x}\"}} done\\r\\n", n * n % 9973);
        let mut lines: Vec<u8> = (0..).flat_map(|n| line(n).into_bytes()).take(len).collect();
        lines.truncate(len);
        lines
    }

    /// The kind and size of each block of a frame (RFC 8878 §3.1.1.2), of which the last says so.
    fn blocks(frame: &[u8]) -> Vec<(u32, usize)> {
        let mut rest = frame.get(MAGIC.len() + 1 + 8..).expect("a header");
        let mut blocks = Vec::new();
        loop {
            let (&[low, middle, high], behind) = rest.split_first_chunk().expect("a block");
            let header = u32::from_le_bytes([low, middle, high, 0]);
            let size = (header >> 3) as usize;
            blocks.push((header >> 1 & 3, size));
            rest = behind.get(size..).expect("its bytes");
            if header & 1 == 1 {
                assert_eq!(rest.len(), 4, "the checksum");
                return blocks;
            }
        }
    }

    /// Pieces that repeat, at any distance and cut anywhere, with others between.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-c \"\\\\,]{1,40}".prop_map(String::into_bytes),
            2 => "\\PC{1,20}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 1..100),
            1 => (any::<u8>(), 1..3000usize).prop_map(|(byte, len)| vec![byte; len]),
            1 => (1..4000usize).prop_map(noise),
            1 => (1..200_000usize).prop_map(lines),
        ];
        let pieces = proptest::collection::vec(piece, 1..12);
        let order = proptest::collection::vec((any::<prop::sample::Index>(), 0..40usize), 0..200);
        (pieces, order, 0..300_000usize).prop_map(|(pieces, order, most)| {
            let mut text: Vec<u8> = order
                .iter()
                .flat_map(|(piece, skip)| {
                    let piece = piece.get(&pieces);
                    piece.get(*skip..).unwrap_or(piece)
                })
                .copied()
                .take(2 * 1024 * 1024)
                .collect();
            if most % 4 != 0 {
                text.truncate(most);
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        /// Any bytes come back from zstd's decoder, which compares the checksum, too; every way
        /// writes the same; and nothing of one text shows in the next.
        #[test]
        fn any_bytes_come_back(text in texts(), next in texts()) {
            let frame = packed(&text);
            prop_assert!(unpacked(&frame) == text);
            prop_assert!(blocks(&frame).iter().all(|(_, size)| *size <= BLOCK));

            let mut flood = Flood::default();
            let mut portable = Vec::new();
            flood.compress_by(Portable, &text, &mut portable);
            prop_assert!(portable == frame);

            let mut again = Vec::new();
            flood.compress(&next, &mut again);
            prop_assert!(again == packed(&next));
        }
    }

    /// Where blocks, words of marks and what is read at once begin and end.
    #[test]
    fn lengths_at_edges() {
        let edges = [
            0,
            1,
            SHORTEST,
            16,
            31,
            32,
            33,
            63,
            64,
            65,
            127,
            128,
            129,
            1000,
            BLOCK,
            2 * BLOCK,
            4 * BLOCK,
        ];
        let long = [
            lines(4 * BLOCK + 70),
            noise(4 * BLOCK + 70),
            vec![b' '; 4 * BLOCK + 70],
        ];
        for len in edges
            .iter()
            .flat_map(|edge| edge.saturating_sub(2)..edge + 3)
        {
            for text in &long {
                let text = text.get(..len).expect("it is long enough");
                assert!(unpacked(&packed(text)) == text, "{len} bytes");
            }
        }
    }

    #[test]
    fn noise_stays_as_it_is() {
        let text = noise(200_000);
        let frame = packed(&text);
        let blocks = blocks(&frame);
        assert!(blocks.iter().all(|(kind, _)| *kind == RAW));
        assert!(frame.len() <= text.len() + 3 * blocks.len() + 20);
    }

    #[test]
    fn one_byte_all_over_is_nearly_nothing() {
        for byte in [0, b' ', b'a', 0xff] {
            let text = vec![byte; 300_000];
            let frame = packed(&text);
            assert!(frame.len() < 1000, "{} bytes of {byte}", frame.len());
            assert!(unpacked(&frame) == text);
        }
    }

    /// Lengths beyond what has a symbol of its own: literals and matches of kilobytes.
    #[test]
    fn long_lengths_come_back() {
        for len in [
            63, 64, 65, 130, 131, 132, 1000, 16_383, 16_384, 40_000, 65_539, 70_000,
        ] {
            let block = noise(len);
            let text = [
                &block[..],
                b" a word, and ",
                &block,
                b", and ",
                &block,
                b" end.",
            ]
            .concat();
            let frame = packed(&text);
            assert!(unpacked(&frame) == text, "{len} bytes");
        }
    }

    #[test]
    fn lines_become_a_fraction() {
        let text = lines(256 * 1024);
        let frame = packed(&text);
        assert!(frame.len() * 2 < text.len(), "{} bytes", frame.len());
        assert!(blocks(&frame).iter().all(|(kind, _)| *kind == COMPRESSED));
    }

    /// `zstd -t` finds damage in what is not code, too.
    #[test]
    fn damage_is_found() {
        let mut frame = packed(&lines(10_000));
        let literal = MAGIC.len() + 1 + 8 + 3 + LITERALS_HEADER + 5;
        *frame.get_mut(literal).expect("a literal") ^= 1;
        assert!(zstd::decode_all(&frame[..]).is_err());
    }
}
