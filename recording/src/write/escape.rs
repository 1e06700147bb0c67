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
/// Log lines of JSON have a quotation mark every few bytes, so that copying what lies between
/// them with a call for each would be most of the work. Words of eight bytes are copied whole
/// instead, also when only their start counts, into a block that is appended at its end.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, newlines: Newlines) {
    out.reserve(text.len() + text.len() / 8);
    let mut block = [0; BLOCK];
    for piece in text.as_bytes().chunks(PIECE) {
        let used = escape_piece(&mut block, piece, newlines);
        out.extend_from_slice(block.get(..used).unwrap_or_default());
    }
}

/// Gives the number of bytes written. `block` holds six times the piece, and a word.
fn escape_piece(block: &mut [u8; BLOCK], piece: &[u8], newlines: Newlines) -> usize {
    let mut rest = piece;
    let mut used = 0;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let Some(slot) = block.get_mut(used..).and_then(<[u8]>::first_chunk_mut::<8>) else {
            break;
        };
        *slot = *word;
        let marks = specials(u64::from_le_bytes(*word));
        if marks == 0 {
            used += 8;
            rest = tail;
            continue;
        }
        let plain = (marks.trailing_zeros() / 8) as usize;
        used += plain;
        let Some((&byte, tail)) = rest.get(plain..).and_then(<[u8]>::split_first) else {
            break;
        };
        used += put_escape(block, used, byte, newlines);
        rest = tail;
    }
    for &byte in rest {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            if let Some(slot) = block.get_mut(used) {
                *slot = byte;
            }
            used += 1;
        } else {
            used += put_escape(block, used, byte, newlines);
        }
    }
    used
}

/// Writes what stands for `byte`, and gives its length.
fn put_escape(block: &mut [u8; BLOCK], at: usize, byte: u8, newlines: Newlines) -> usize {
    let (escape, len) = escape_of(byte, newlines);
    if let Some(slot) = block.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) {
        *slot = escape;
    }
    len
}

/// What stands for `byte`, at the start of eight bytes, and its length.
fn escape_of(byte: u8, newlines: Newlines) -> ([u8; 8], usize) {
    let short = |second: u8| ([b'\\', second, 0, 0, 0, 0, 0, 0], 2);
    match byte {
        b'"' | b'\\' => short(byte),
        b'\n' if newlines == Newlines::Crlf => (*b"\\r\\n\0\0\0\0", 4),
        b'\n' => short(b'n'),
        b'\r' => short(b'r'),
        b'\t' => short(b't'),
        0x08 => short(b'b'),
        0x0c => short(b'f'),
        _ => {
            let digit = |nibble: u8| {
                if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'a' + nibble - 10
                }
            };
            let (high, low) = (digit(byte >> 4), digit(byte & 0x0f));
            ([b'\\', b'u', b'0', b'0', high, low, 0, 0], 6)
        }
    }
}

/// Marks, at the top bit of each byte, what has to be escaped. Only the lowest mark is exact:
/// borrows can set marks above it.
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
const PIECE: usize = 256;
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
