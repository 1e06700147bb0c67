//! JSON string escaping of text that is known to be UTF-8 (RFC 8259 §7).

mod spread;

use std::ops::Range;

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
/// copying what lies between two with a call for each, would be most of the work. Where the CPU can
/// spread bytes, [`spread`] does it; else the marks of 64 bytes are found at once, and for what
/// lies between two 32 bytes are copied, of which the start counts.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, newlines: Newlines) {
    if !spread::escape(out, text.as_bytes(), newlines) {
        escape_portably(out, text.as_bytes(), newlines);
    }
}

/// The same on any CPU.
fn escape_portably(out: &mut Vec<u8>, mut text: &[u8], newlines: Newlines) {
    let escapes = match newlines {
        Newlines::Kept => &KEPT,
        Newlines::Crlf => &CRLF,
    };
    out.reserve(text.len() + text.len() / 8);
    let mut block = [0; BLOCK];
    while !text.is_empty() {
        let (taken, used) = escape_start(&mut block, text, escapes);
        out.extend_from_slice(block.get(..used).unwrap_or_default());
        text = text.get(taken..).unwrap_or_default();
    }
}

/// Escapes the start of `text` into `block`; gives how many bytes were taken, and written.
fn escape_start(block: &mut [u8; BLOCK], text: &[u8], escapes: &[u64; 256]) -> (usize, usize) {
    let (mut taken, mut used) = (0, 0);
    while taken < PIECE {
        let Some(group) = text.get(taken..).and_then(<[u8]>::first_chunk) else {
            break;
        };
        used = escape_group(block, used, group, escapes);
        taken += GROUP;
    }
    if taken == 0 {
        for byte in text.iter().take(PIECE) {
            used += put_escape(block, used, *byte, escapes);
            taken += 1;
        }
    }
    (taken, used)
}

/// Escapes the first [`GROUP`] bytes of `group` into `block` from `used` on; gives where they end.
fn escape_group(
    block: &mut [u8; BLOCK],
    mut used: usize,
    group: &[u8; GROUP + COPY],
    escapes: &[u64; 256],
) -> usize {
    let mut marks = specials(group);
    let mut from = 0;
    while marks != 0 {
        let mark = marks.trailing_zeros() as usize;
        marks &= marks - 1;
        used = copy(block, used, group, from..mark);
        used += put_escape(block, used, byte_at(group, mark), escapes);
        from = mark + 1;
    }
    copy(block, used, group, from..GROUP)
}

/// Copies `part` of the group to `at`, and what stands behind it; gives where the part ends. Parts
/// of most texts are shorter than [`COPY`]: no branch depends on how long they are.
fn copy(
    block: &mut [u8; BLOCK],
    at: usize,
    group: &[u8; GROUP + COPY],
    part: Range<usize>,
) -> usize {
    let mut put = |done: usize| {
        let from = group.get(part.start + done..);
        let to = block.get_mut(at + done..);
        if let (Some(from), Some(to)) = (
            from.and_then(<[u8]>::first_chunk::<COPY>),
            to.and_then(<[u8]>::first_chunk_mut::<COPY>),
        ) {
            *to = *from;
        }
    };
    put(0);
    if part.len() > COPY {
        put(COPY);
    }
    at + part.len()
}

fn byte_at(group: &[u8; GROUP + COPY], at: usize) -> u8 {
    group.get(at).copied().unwrap_or_default()
}

/// Writes what stands for `byte`, and gives its length.
fn put_escape(block: &mut [u8; BLOCK], at: usize, byte: u8, escapes: &[u64; 256]) -> usize {
    let Some(escape) = escapes.get(usize::from(byte)) else {
        return 0;
    };
    if let Some(slot) = block.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *slot = escape.to_le_bytes();
    }
    (escape >> 56) as usize
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

/// A bit for each of the first [`GROUP`] bytes that has to be escaped.
fn specials(group: &[u8; GROUP + COPY]) -> u64 {
    // The compiler does this loop with vectors.
    let mut flags = [0; GROUP];
    for (flag, byte) in flags.iter_mut().zip(group) {
        *flag = u8::from(*byte < 0x20) | u8::from(*byte == b'"') | u8::from(*byte == b'\\');
    }
    let (words, _) = flags.as_chunks::<8>();
    let mut marks = 0;
    for word in words.iter().rev() {
        // Each flag has its own place in the highest byte of the product, and none carries.
        let gathered = u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        marks = marks << 8 | gathered;
    }
    marks
}

/// Bytes that are escaped at once.
const PIECE: usize = 512;
/// Bytes whose marks are found at once: as many as a word has bits.
const GROUP: usize = 64;
/// Bytes that are copied at once: two of them are a group.
const COPY: usize = GROUP / 2;
/// A byte becomes six at most, and two copies may reach beyond the last.
const BLOCK: usize = PIECE * 6 + 2 * COPY;

// What is written outside of these bounds would be nothing, where it is counted as something.
const _: () = assert!(
    PIECE.is_multiple_of(GROUP)
        && GROUP == u64::BITS as usize
        && GROUP + COPY <= PIECE
        && 2 * COPY >= GROUP
);

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
        fn every_byte_at_every_place_is_read_back(place in 0..200usize, byte in 0..0x80u8, crlf: bool) {
            let mut text = [b'x'; 200];
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

        #[test]
        fn marks_are_where_a_byte_has_to_be_escaped(bytes in proptest::array::uniform32("[a\"\\x00-\\x20\\\\]".prop_map(|s| s.as_bytes().first().copied().unwrap_or(0xff)))) {
            let mut group = [0; GROUP + COPY];
            for (place, byte) in group.iter_mut().zip(bytes.iter().cycle()) {
                *place = *byte;
            }
            let marks = specials(&group);
            for (place, byte) in group.iter().take(GROUP).enumerate() {
                let special = matches!(byte, 0..0x20 | b'"' | b'\\');
                prop_assert_eq!(marks >> place & 1 == 1, special);
            }
        }

        /// Every way writes what each byte becomes, one after the other, behind what is there.
        #[test]
        fn every_way_writes_the_same(
            text in proptest::collection::vec("\\PC{0,20}|[a-z]{0,40}|[\"\\\\\n\t\r]{0,20}|[\x00-\x7f]{0,40}", 0..40).prop_map(|parts| parts.concat()),
            before in 0..20usize,
            crlf: bool,
        ) {
            let newlines = if crlf { Newlines::Crlf } else { Newlines::Kept };
            let mut expected = vec![b'x'; before];
            for byte in text.bytes() {
                let (escape, len) = escape_of(byte, newlines);
                expected.extend(escape.iter().take(len.into()));
            }
            let (mut best, mut portable) = (vec![b'x'; before], vec![b'x'; before]);
            escape(&mut best, &text, newlines);
            escape_portably(&mut portable, text.as_bytes(), newlines);
            prop_assert_eq!(&best, &expected);
            prop_assert_eq!(&portable, &expected);
        }

        /// Blocks do not show, also where every byte becomes six and where marks are far apart.
        #[test]
        fn long_text_is_read_back(
            text in proptest::collection::vec("[a\"\\n\\x00\\x1fé]{0,90}|[a-z]{1,120}[\"\\n]", 0..40).prop_map(|parts| parts.concat()),
            crlf: bool,
        ) {
            let mut out = vec![b'"'];
            escape(&mut out, &text, if crlf { Newlines::Crlf } else { Newlines::Kept });
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(read, if crlf { text.replace('\n', "\r\n") } else { text });
        }
    }
}
