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
pub(super) fn escape(out: &mut Vec<u8>, text: &str, newlines: Newlines) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else {
            return;
        };
        escape_byte(out, byte, newlines);
        rest = tail;
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8, newlines: Newlines) {
    let short: &[u8] = match byte {
        b'"' => br#"\""#,
        b'\\' => br"\\",
        b'\n' if newlines == Newlines::Crlf => br"\r\n",
        b'\n' => br"\n",
        b'\r' => br"\r",
        b'\t' => br"\t",
        0x08 => br"\b",
        0x0c => br"\f",
        _ => {
            const HEX: [u8; 16] = *b"0123456789abcdef";
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
            return;
        }
    };
    out.extend_from_slice(short);
}

/// The number of bytes at the start of `bytes` that stand for themselves.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let marks = specials(u64::from_le_bytes(*word));
        if marks != 0 {
            return n * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let plain = tail
        .iter()
        .take_while(|&&b| b >= 0x20 && b != b'"' && b != b'\\')
        .count();
    words.len() * 8 + plain
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
        fn every_special_byte_is_found_at_every_place(place in 0..24usize, byte in 0..0x80u8) {
            let mut text = [b'x'; 24];
            if let Some(slot) = text.get_mut(place) {
                *slot = byte;
            }
            let special = byte < 0x20 || byte == b'"' || byte == b'\\';
            prop_assert_eq!(plain_prefix(&text), if special { place } else { 24 });
        }
    }
}
