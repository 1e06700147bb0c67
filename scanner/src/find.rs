//! Where something may happen next in a text.
//!
//! Most bytes are inside values that nobody protects. They are skipped in blocks: a loop over a
//! block that only compares is turned into vector instructions by the compiler, on every CPU.

use crate::work;

const BLOCK: usize = 64;
/// So much is looked at byte by byte first.
const NEAR: usize = 8;

/// The next event at or after `from`: a byte at which a key, a value or a line may end or begin.
/// Brackets count only where `brackets` says so.
pub(crate) fn event(text: &[u8], from: usize, brackets: bool) -> Option<usize> {
    let found = search(text, from, brackets);
    work::count(1 + found.unwrap_or(text.len()).saturating_sub(from));
    found
}

fn search(text: &[u8], from: usize, brackets: bool) -> Option<usize> {
    // Where there are events, the next one is near.
    let near = text.len().min(from.saturating_add(NEAR));
    if let Some(found) = slow(text, from, near, brackets) {
        return Some(found);
    }
    let mut at = near.max(from);
    loop {
        let rest = text.get(at..)?;
        let Some(block) = rest.first_chunk::<BLOCK>() else {
            return slow(text, at, text.len(), brackets);
        };
        if any(block) || (brackets && block.iter().any(|b| matches!(b, b'{' | b'}' | b'[' | b']')))
        {
            let found = slow(text, at, at + BLOCK, brackets);
            if found.is_some() {
                return found;
            }
        }
        at += BLOCK;
    }
}

/// Whether a block may have an event. Written so that it needs no branch for each byte.
fn any(block: &[u8; BLOCK]) -> bool {
    let mut found = 0u8;
    for &b in block {
        let hit = (b == b'\n')
            | (b == b'\r')
            | (b == b':')
            | (b == b'=')
            | (b.wrapping_sub(b'0') < 10)
            | (b == b'@')
            | (b.wrapping_sub(b'I') < 3)
            | (b == b'_')
            | (b == b'-')
            | (b == b'>')
            | (b == b'(')
            | (b == b'|')
            | (b == b'\t')
            | (b == 0xe2)
            | (b == 0xef);
        found |= u8::from(hit);
    }
    // A comma or bracket behind a quote, a comma before one, a quote or a space behind a space, the end of an
    // entity, an end of line in a string; what the block before ends with is not known.
    for (a, b) in block.iter().zip(block.iter().skip(1)) {
        let quote = (*a == b'"') | (*a == b'\'');
        let ends = (*b == b',') | (*b == b']') | (*b == b')');
        let opens = (*b == b' ') | (*b == b'"') | (*b == b'\'');
        let entity = (*a == b't') & (*b == b';');
        let comma = (*a == b',') & ((*b == b'"') | (*b == b'<'));
        let escape = (*a == b'\\') & ((*b == b'n') | (*b == b'\\'));
        let hit = (ends & quote) | ((*a == b' ') & opens) | entity | comma | escape;
        found |= u8::from(hit);
    }
    found |= u8::from(matches!(
        block.first(),
        Some(b',' | b']' | b')' | b'"' | b'\'' | b';')
    ));
    found |= u8::from(matches!(block.last(), Some(b' ' | b',' | b'\\')));
    found != 0
}

/// The byte machine: the specification of [`event`].
pub(crate) fn slow(text: &[u8], from: usize, to: usize, brackets: bool) -> Option<usize> {
    let mut at = from;
    while at < to {
        let b = *text.get(at)?;
        let class = CLASS.get(usize::from(b)).copied().unwrap_or(NONE);
        let event = match class {
            NONE => false,
            // A digit alone begins nothing.
            DIGIT => match text.get(at + 1) {
                Some(next) => next.is_ascii_digit(),
                None => true,
            },
            BRACKET => brackets,
            ENDS => {
                let before = at.checked_sub(1).and_then(|i| text.get(i));
                matches!(before, Some(b'"' | b'\''))
                    || brackets && b == b']'
                    || b == b',' && matches!(text.get(at + 1), None | Some(b'"' | b'<'))
            }
            // Behind a word, an operator of SQL or a string, and one space.
            QUOTE => {
                let before = at.checked_sub(2).and_then(|i| text.get(i..at));
                before.is_some_and(|b| {
                    b.last() == Some(&b' ')
                        && b.first().is_some_and(|b| {
                            b.is_ascii_alphanumeric() || matches!(b, b'~' | b'*' | b'"')
                        })
                })
            }
            // `&gt;`.
            ENTITY => {
                let before = at.checked_sub(3).and_then(|i| text.get(i..at));
                before == Some(b"&gt")
            }
            // `\n`, with any number of backslashes.
            ESCAPE => matches!(text.get(at + 1), None | Some(b'n' | b'\\')),
            // The first of several.
            SPACE => {
                let before = at.checked_sub(1).and_then(|i| text.get(i));
                text.get(at + 1).is_none_or(|next| *next == b' ')
                    && before.is_some_and(|b| !b.is_ascii_whitespace())
            }
            _ => true,
        };
        if event {
            return Some(at);
        }
        at += 1;
    }
    None
}

const NONE: u8 = 0;
const ALWAYS: u8 = 1;
const DIGIT: u8 = 2;
const BRACKET: u8 = 3;
const ENDS: u8 = 4;
const SPACE: u8 = 5;
const QUOTE: u8 = 6;
const ENTITY: u8 = 7;
const ESCAPE: u8 = 8;

/// Which bytes are events.
const CLASS: [u8; 256] = {
    let mut class = [NONE; 256];
    let mut b = 0;
    while b < 256 {
        #[expect(
            clippy::indexing_slicing,
            reason = "the array has every byte, and this is compiled away"
        )]
        {
            class[b] = match b as u8 {
                b'\n' | b'\r' | b':' | b'=' | b'@' | b'I' | b'J' | b'K' | b'_' | b'-' | b'>'
                | b'(' | b'|' | b'\t' | 0xe2 | 0xef => ALWAYS,
                b'0'..=b'9' => DIGIT,
                b'{' | b'}' | b'[' => BRACKET,
                b',' | b']' | b')' => ENDS,
                b' ' => SPACE,
                b'"' | b'\'' => QUOTE,
                b';' => ENTITY,
                b'\\' => ESCAPE,
                _ => NONE,
            };
        }
        b += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The fast path finds what the byte machine finds.
        #[test]
        fn blocks_hide_no_event(text: Vec<u8>, pad in 0..200usize, from in 0..300usize, brackets: bool) {
            let mut all = vec![b' '; pad];
            all.extend_from_slice(&text);
            all.extend_from_slice(&vec![b'z'; pad]);
            let from = from.min(all.len());
            prop_assert_eq!(event(&all, from, brackets), slow(&all, from, all.len(), brackets));
        }
    }
}
