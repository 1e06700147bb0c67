//! Bytes and happenings → lines of asciicast v3. Knows nothing of compression.

use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};

use super::escape::{Newlines, escape};
use crate::event::Stream;
use crate::sum::{Sum, Total};

/// What the lines of one session have to remember.
pub(super) struct Lines {
    newlines: Newlines,
    /// Output of one stream that follows the first of an event within this goes into it.
    coalesce: Duration,
    /// No line is longer, by more than its code and time.
    limit: usize,
    /// Milliseconds since the start that the lines so far add up to.
    told_ms: u64,
    /// The stream that the last `S` named.
    stream: Stream,
    stdout: Account,
    stderr: Account,
    open: Option<Open>,
    /// Lines that were ended since somebody last asked.
    ended: usize,
}

/// One stream.
#[derive(Default)]
struct Account {
    sum: Sum,
    /// The start of a UTF-8 sequence whose rest has not come.
    carry: Carry,
}

#[derive(Clone, Copy, Default)]
struct Carry {
    bytes: [u8; 3],
    len: usize,
}

/// An `o` line that has begun and has no end yet.
struct Open {
    at: Duration,
    /// Where its line starts in the text.
    line: usize,
    /// Where its data starts in the text.
    data: usize,
    /// The entries for the `B` before it.
    replaced: String,
    /// Characters in the data so far; counted only once something was replaced.
    chars: Option<usize>,
}

impl Lines {
    pub(super) fn new(newlines: Newlines, coalesce: Duration, limit: usize) -> Self {
        Self {
            newlines,
            coalesce,
            limit: limit.max(SMALLEST_LIMIT),
            told_ms: 0,
            stream: Stream::Stdout,
            stdout: Account::default(),
            stderr: Account::default(),
            open: None,
            ended: 0,
        }
    }

    /// Takes output. It may stay in an open line, or in the carry, until [`Self::settle`].
    pub(super) fn output(
        &mut self,
        text: &mut Vec<u8>,
        at: Duration,
        stream: Stream,
        bytes: &[u8],
    ) {
        if bytes.is_empty() {
            return;
        }
        self.account(stream).sum.add(bytes);
        let joins = |open: &Open| at.saturating_sub(open.at) <= self.coalesce;
        if self.stream != stream || !self.open.as_ref().is_some_and(joins) {
            self.close(text);
        }
        self.switch_to(text, stream);
        let bytes = self.finish_carry(text, at, bytes);
        self.decode(text, at, bytes);
    }

    /// Ends the open line, so that the text can leave.
    pub(super) fn close(&mut self, text: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        self.end_line(text);
        if !open.replaced.is_empty() {
            let side = format!("[0.000,\"B\",\"{}\"]\n", open.replaced);
            self.ended += 1;
            text.splice(open.line..open.line, side.into_bytes());
        }
    }

    /// Ends the open line and writes what is carried as bytes that are not UTF-8.
    pub(super) fn settle(&mut self, text: &mut Vec<u8>, at: Duration) {
        for stream in [self.stream, self.stream.other()] {
            let carry = std::mem::take(&mut self.account(stream).carry);
            if carry.len > 0 {
                if self.stream != stream {
                    self.close(text);
                    self.switch_to(text, stream);
                }
                self.replace(text, at, carry.as_slice());
            }
        }
        self.close(text);
    }

    /// Whether something waits for [`Self::settle`] in the carry.
    pub(super) fn carries(&self) -> bool {
        self.stdout.carry.len > 0 || self.stderr.carry.len > 0
    }

    /// Writes an event of its own.
    pub(super) fn event(&mut self, text: &mut Vec<u8>, at: Duration, code: char, data: &str) {
        self.close(text);
        self.begin(text, at, code);
        escape(text, data, Newlines::Kept);
        self.end_line(text);
    }

    /// Lines written elsewhere add up to `at`.
    pub(super) fn skip_to(&mut self, at: Duration) {
        self.told_ms = round_ms(at);
    }

    /// The sums of stdout and stderr so far.
    pub(super) fn totals(&self) -> (Total, Total) {
        (self.stdout.sum.total(), self.stderr.sum.total())
    }

    /// How many lines were ended since this was last asked: none is open.
    pub(super) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.ended)
    }

    fn end_line(&mut self, text: &mut Vec<u8>) {
        text.extend_from_slice(b"\"]\n");
        self.ended += 1;
    }

    fn account(&mut self, stream: Stream) -> &mut Account {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn switch_to(&mut self, text: &mut Vec<u8>, stream: Stream) {
        if self.stream != stream {
            self.stream = stream;
            text.extend_from_slice(b"[0.000,\"S\",\"");
            text.extend_from_slice(stream.name().as_bytes());
            self.end_line(text);
        }
    }

    /// Completes the carried sequence from the start of `bytes`, and gives what is left.
    fn finish_carry<'b>(&mut self, text: &mut Vec<u8>, at: Duration, bytes: &'b [u8]) -> &'b [u8] {
        let mut carry = std::mem::take(&mut self.account(self.stream).carry);
        let mut rest = bytes;
        while carry.len > 0 {
            let Some((&byte, tail)) = rest.split_first() else {
                self.account(self.stream).carry = carry;
                return rest;
            };
            let mut sequence = [0; 4];
            for (slot, byte) in sequence
                .iter_mut()
                .zip(carry.as_slice().iter().chain([&byte]))
            {
                *slot = *byte;
            }
            let sequence = sequence.get(..=carry.len).unwrap_or_default();
            match std::str::from_utf8(sequence) {
                Ok(character) => {
                    self.write_text(text, at, character);
                    return tail;
                }
                Err(error) if error.error_len().is_none() => {
                    carry = Carry::of(sequence);
                    rest = tail;
                }
                Err(_) => {
                    self.replace(text, at, carry.as_slice());
                    return rest;
                }
            }
        }
        rest
    }

    fn decode(&mut self, text: &mut Vec<u8>, at: Duration, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, later) = bytes.split_at(bytes.len().min(PIECE));
            let Err(error) =
                std::str::from_utf8(piece).map(|valid| self.write_text(text, at, valid))
            else {
                bytes = later;
                continue;
            };
            let (valid, bad) = bytes.split_at(error.valid_up_to());
            if let Ok(valid) = std::str::from_utf8(valid) {
                self.write_text(text, at, valid);
            }
            bytes = match error.error_len() {
                Some(_) if self.is_dense(bad) => self.write_dense(text, at, bad),
                Some(len) => {
                    let (bad, rest) = bad.split_at(len);
                    self.replace(text, at, bad);
                    rest
                }
                None if later.is_empty() => {
                    self.account(self.stream).carry = Carry::of(bad);
                    return;
                }
                // Only the cut into pieces went through a character.
                None => bad,
            };
        }
    }

    fn write_text(&mut self, text: &mut Vec<u8>, at: Duration, mut valid: &str) {
        // A byte can become six, a line feed four.
        let most = self.limit / 16;
        while !valid.is_empty() {
            let (piece, rest) = valid.split_at(valid.floor_char_boundary(most));
            self.make_room(text, at, piece.len() * 6);
            escape(text, piece, self.newlines);
            if let Some(chars) = self.open.as_mut().and_then(|open| open.chars.as_mut()) {
                *chars += piece.chars().count();
                if self.newlines == Newlines::Crlf {
                    *chars += piece.bytes().filter(|&b| b == b'\n').count();
                }
            }
            valid = rest;
        }
    }

    /// Writes one U+FFFD for `bytes`, and notes them for the `B` line.
    fn replace(&mut self, text: &mut Vec<u8>, at: Duration, bytes: &[u8]) {
        self.make_room(text, at, 3);
        let Some(open) = &mut self.open else { return };
        let chars = match open.chars {
            Some(chars) => chars,
            None => chars_in_escaped(text.get(open.data..).unwrap_or_default()),
        };
        open.chars = Some(chars + 1);
        if !open.replaced.is_empty() {
            open.replaced.push(',');
        }
        open.replaced.push_str(&chars.to_string());
        open.replaced.push(':');
        HEXLOWER.encode_append(bytes, &mut open.replaced);
        text.extend_from_slice("\u{fffd}".as_bytes());
    }

    /// Sees to it that a line is open and takes `more` bytes.
    fn make_room(&mut self, text: &mut Vec<u8>, at: Duration, more: usize) {
        let full = |open: &Open| {
            text.len() - open.data + more > self.limit || open.replaced.len() > self.limit - 64
        };
        if self.open.as_ref().is_some_and(full) {
            self.close(text);
        }
        if self.open.is_none() {
            let line = text.len();
            self.begin(text, at, 'o');
            let replaced = String::new();
            self.open = Some(Open {
                at,
                line,
                data: text.len(),
                replaced,
                chars: None,
            });
        }
    }

    /// Whether what starts here is so far from text that single replacements make no sense.
    fn is_dense(&self, bytes: &[u8]) -> bool {
        let sample = bytes.get(..DENSE_SAMPLE).unwrap_or(bytes);
        let strange = sample
            .utf8_chunks()
            .filter(|chunk| !chunk.invalid().is_empty())
            .count();
        sample.len() >= DENSE_SMALLEST && strange * 8 > sample.len()
    }

    /// Writes the start of `bytes` as they are, and gives the rest.
    fn write_dense<'b>(&mut self, text: &mut Vec<u8>, at: Duration, bytes: &'b [u8]) -> &'b [u8] {
        self.close(text);
        let most = match self.newlines {
            Newlines::Kept => self.limit / 8,
            Newlines::Crlf => self.limit / 2,
        };
        let (bytes, rest) = bytes.split_at(bytes.len().min(most));
        text.extend_from_slice(b"[0.000,\"B\",\"=");
        text.extend_from_slice(BASE64.encode(bytes).as_bytes());
        self.end_line(text);
        match self.newlines {
            // A terminal showed it: so does the player, as well as it can.
            Newlines::Kept => {
                let shown = String::from_utf8_lossy(bytes);
                self.event(text, at, 'o', &shown);
            }
            Newlines::Crlf => {
                let shown = format!("[{} bytes that are not text]\r\n", bytes.len());
                self.event(text, at, 'o', &shown);
            }
        }
        rest
    }

    /// Writes a line up to its data. The times of all lines are rounded together, so that the
    /// error of their sum stays below a millisecond.
    fn begin(&mut self, text: &mut Vec<u8>, at: Duration, code: char) {
        let interval_ms = round_ms(at).saturating_sub(self.told_ms);
        self.told_ms += interval_ms;
        push_decimal(text, interval_ms);
        text.extend_from_slice(b",\"");
        text.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
        text.extend_from_slice(b"\",\"");
    }
}

impl Carry {
    fn of(sequence: &[u8]) -> Self {
        let mut bytes = [0; 3];
        let len = sequence.len().min(bytes.len());
        for (slot, byte) in bytes.iter_mut().zip(sequence) {
            *slot = *byte;
        }
        Self { bytes, len }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn round_ms(at: Duration) -> u64 {
    u64::try_from((at.as_micros() + 500) / 1000).unwrap_or(u64::MAX)
}

/// `[SECONDS.MILLISECONDS`
fn push_decimal(text: &mut Vec<u8>, interval_ms: u64) {
    let mut digits = [b'0'; 24];
    let mut left = interval_ms;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        if used == 3 {
            *slot = b'.';
        } else {
            *slot = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
        used += 1;
        if left == 0 && used > 4 {
            break;
        }
    }
    text.push(b'[');
    text.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// How many characters the inside of a JSON string stands for, written by [`escape`].
fn chars_in_escaped(mut escaped: &[u8]) -> usize {
    let mut chars = 0;
    while let Some((&byte, rest)) = escaped.split_first() {
        let skip = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 5,
            (b'\\', _) => 1,
            _ => 0,
        };
        // Continuation bytes are of a character that was counted.
        if byte & 0xc0 != 0x80 {
            chars += 1;
        }
        escaped = rest.get(skip..).unwrap_or_default();
    }
    chars
}

/// Bytes that are checked for UTF-8 at once.
const PIECE: usize = 16 * 1024;
/// Bytes that say whether what follows is text.
const DENSE_SAMPLE: usize = 512;
/// Fewer bytes are never called dense: an odd character at the end of a line is not.
const DENSE_SMALLEST: usize = 32;
/// A line limit below this would not hold one replacement.
const SMALLEST_LIMIT: usize = 256;
