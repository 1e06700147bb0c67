//! JSON string escaping of text that is known to be UTF-8 (RFC 8259 §7).

/// What becomes of a line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newlines {
    /// It stays: a terminal has made its carriage return already.
    Kept,
    /// It is written as CR LF, so that players show it rightly.
    Crlf,
}

/// Appends `text` to `out` as the inside of a JSON string.
///
/// Log lines of JSON have a quotation mark every few bytes, so that looking for the next one, or
/// copying what lies between two with a call for each, would be most of the work. A word of eight
/// bytes without any is copied whole; of another each byte is written by a table, eight bytes at
/// once of which the start counts: no branch depends on where the marks are.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, newlines: Newlines) {
    out.reserve(text.len() + text.len() / 8);
    let escapes = match newlines {
        Newlines::Kept => &KEPT,
        Newlines::Crlf => &CRLF,
    };
    let mut block = [0; BLOCK];
    for piece in text.as_bytes().chunks(PIECE) {
        let used = escape_piece(&mut block, piece, escapes);
        out.extend_from_slice(block.get(..used).unwrap_or_default());
    }
}

/// Gives the number of bytes written. `block` holds six times the piece, and a word.
fn escape_piece(block: &mut [u8; BLOCK], piece: &[u8], escapes: &[u64; 256]) -> usize {
    let (words, rest) = piece.as_chunks::<8>();
    let mut used = 0;
    for word in words {
        if specials(u64::from_le_bytes(*word)) == 0 {
            put(block, used, *word);
            used += 8;
        } else {
            for byte in word {
                used += put_escape(block, used, *byte, escapes);
            }
        }
    }
    for byte in rest {
        used += put_escape(block, used, *byte, escapes);
    }
    used
}

/// Writes what stands for `byte`, and gives its length.
fn put_escape(block: &mut [u8; BLOCK], at: usize, byte: u8, escapes: &[u64; 256]) -> usize {
    let Some(escape) = escapes.get(usize::from(byte)) else {
        return 0;
    };
    put(block, at, escape.to_le_bytes());
    (escape >> 56) as usize
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: [u8; 8]) {
    if let Some(slot) = block.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) {
        *slot = bytes;
    }
}

static KEPT: [u64; 256] = table(Newlines::Kept);
static CRLF: [u64; 256] = table(Newlines::Crlf);

/// What stands for each byte, in the low six bytes of a word whose highest is the length.
#[expect(clippy::indexing_slicing, reason = "done at compile time")]
const fn table(newlines: Newlines) -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut escape, len) = escape_of(byte as u8, newlines);
        escape[7] = len;
        table[byte] = u64::from_le_bytes(escape);
        byte += 1;
    }
    table
}

/// What stands for `byte`, at the start of eight bytes, and its length.
const fn escape_of(byte: u8, newlines: Newlines) -> ([u8; 8], u8) {
    const fn short(second: u8) -> ([u8; 8], u8) {
        ([b'\\', second, 0, 0, 0, 0, 0, 0], 2)
    }
    const fn digit(nibble: u8) -> u8 {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }
    }
    match byte {
        b'"' | b'\\' => short(byte),
        b'\n' if matches!(newlines, Newlines::Crlf) => (*b"\\r\\n\0\0\0\0", 4),
        b'\n' => short(b'n'),
        b'\r' => short(b'r'),
        b'\t' => short(b't'),
        0x08 => short(b'b'),
        0x0c => short(b'f'),
        0..0x20 => {
            let (high, low) = (digit(byte >> 4), digit(byte & 0x0f));
            ([b'\\', b'u', b'0', b'0', high, low, 0, 0], 6)
        }
        _ => ([byte, 0, 0, 0, 0, 0, 0, 0], 1),
    }
}

/// Marks, at the top bits of bytes, that something has to be escaped; borrows can set marks above
/// the lowest, so only whether there is one counts.
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let below = |limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equals = |byte: u8| {
        let zero = word ^ (ONES * u64::from(byte));
        zero.wrapping_sub(ONES) & !zero
    };
    (below(0x20) | equals(b'"') | equals(b'\\')) & TOPS
}

/// Bytes that are escaped at once.
const PIECE: usize = 512;
/// A byte becomes six at most, and eight are written at once.
const BLOCK: usize = PIECE * 6 + 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A JSON parser reads back what was written.
        #[test]
        fn any_json_parser_reads_it_back(text: String) {
            let mut out = vec![b'"'];
            escape(&mut out, &text, Newlines::Kept);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(read, text);
        }

        #[test]
        fn every_byte_at_every_place_is_read_back(place in 0..24usize, byte in 0..0x80u8, crlf: bool) {
            let mut text = [b'x'; 24];
            if let Some(slot) = text.get_mut(place) {
                *slot = byte;
            }
            let text = String::from_utf8_lossy(&text);
            let mut out = vec![b'"'];
            escape(&mut out, &text, if crlf { Newlines::Crlf } else { Newlines::Kept });
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(read, if crlf { text.replace('\n', "\r\n") } else { text.into_owned() });
        }

        /// Blocks do not show, also where every byte becomes six.
        #[test]
        fn long_text_is_read_back(text in "[a\"\\x00\\x1fé]{0,3000}") {
            let mut out = vec![b'"'];
            escape(&mut out, &text, Newlines::Kept);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(read, text);
        }
    }
}
