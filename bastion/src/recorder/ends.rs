//! Bulk output of which only the ends are recorded, where a target is configured so: the first
//! and the last bytes of each stream, and the size and the SHA-256 of all of it.

use recording::event::Stream;
use recording::sum::{Sum, Total};

/// Both streams of one session.
#[derive(Debug, Default)]
pub(super) struct Ends {
    stdout: Side,
    stderr: Side,
}

/// One stream.
#[derive(Debug)]
struct Side {
    sum: Sum,
    /// What came last, behind the beginning.
    tail: Vec<u8>,
}

impl Ends {
    /// Takes what was printed; gives what is recorded at once.
    pub(super) fn take<'b>(&mut self, stream: Stream, bytes: &'b [u8]) -> &'b [u8] {
        let side = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = HEAD.saturating_sub(side.sum.bytes());
        side.sum.add(bytes);
        let room = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        let (head, rest) = bytes.split_at(room);
        let (_, rest) = rest.split_at(rest.len().saturating_sub(TAIL));
        side.tail.extend_from_slice(rest);
        if side.tail.len() > 2 * TAIL {
            side.tail.drain(..side.tail.len() - TAIL);
        }
        head
    }

    /// What is recorded at the end: for each stream that was longer, how many bytes are left
    /// out, and the last ones.
    pub(super) fn rest(&self) -> Vec<(Stream, u64, &[u8])> {
        let sides = [
            (Stream::Stdout, &self.stdout),
            (Stream::Stderr, &self.stderr),
        ];
        let rest = sides.into_iter().filter(|(_, side)| !side.tail.is_empty());
        rest.map(|(stream, side)| {
            let (_, tail) = side.tail.split_at(side.tail.len().saturating_sub(TAIL));
            (stream, side.sum.bytes() - HEAD - tail.len() as u64, tail)
        })
        .collect()
    }

    /// What all of it comes to: standard output, and standard error.
    pub(super) fn totals(&self) -> (Total, Total) {
        (self.stdout.sum.total(), self.stderr.sum.total())
    }
}

impl Default for Side {
    fn default() -> Self {
        Self {
            sum: Sum::always_hashed(),
            tail: Vec::new(),
        }
    }
}

/// Bytes of the beginning of a stream that are recorded.
const HEAD: u64 = 64 * 1024;
/// Bytes of its end.
const TAIL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever it is cut, the same is recorded, and the sums are those of all of it.
    #[test]
    fn cuts_do_not_show() {
        for len in [0usize, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 500_000] {
            let text: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for piece in [1000usize, 65_536, 200_000] {
                let mut ends = Ends::default();
                let mut recorded = Vec::new();
                for piece in text.chunks(piece) {
                    recorded.extend_from_slice(ends.take(Stream::Stdout, piece));
                }
                let mut left_out = 0;
                for (stream, bytes, tail) in ends.rest() {
                    assert_eq!(stream, Stream::Stdout);
                    left_out = bytes;
                    recorded.extend_from_slice(tail);
                }
                let whole = len.min(65_536);
                assert_eq!(recorded.get(..whole), text.get(..whole));
                assert_eq!(recorded.len() as u64 + left_out, len as u64);
                let tail = recorded.len() - whole;
                assert!(text.ends_with(recorded.get(whole..).unwrap_or_default()) && tail <= TAIL);
                let (total, _) = ends.totals();
                let mut sums = recording::raw::Sums::default();
                sums.add(Stream::Stdout, &text);
                assert_eq!(total, sums.total(Stream::Stdout));
            }
        }
    }
}
