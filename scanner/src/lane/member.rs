//! The fast path's look at a value under a protected key of JSON.
//!
//! Only what is plain is decided here: `"key": "value"` or `"key": number`, without escapes near
//! the key and with a delimiter of JSON behind the value. Anything else is the byte machine's.

use super::Lane;
use super::skim::Piece;
use crate::mask::Place;
use crate::rules::{Action, Hit, Mask};
use crate::simd::{self, Span};
use crate::sink::How;
use crate::table;
use crate::value;

/// A longer key or value is left to the byte machine.
const KEY_MAX: usize = 64;
const STRING_MAX: usize = 1024;

/// Protected keys that were read lately: those of one line stand in the next one, too.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: [Option<Key>; KEYS],
    /// Their last letters, by the lower bits: most other keys have another one.
    last: u64,
}

/// A key with its quote and the byte before it: the last bytes of these numbers, where `mask` is.
#[derive(Clone, Copy, Debug)]
struct Key {
    bytes: [u128; 2],
    mask: [u128; 2],
    known: Known,
}

impl Key {
    /// The last bytes differ most.
    #[inline]
    fn is(&self, near: [u128; 2]) -> bool {
        let (bytes, mask) = (self.bytes, self.mask);
        (near[1] ^ bytes[1]) & mask[1] == 0 && (near[0] ^ bytes[0]) & mask[0] == 0
    }
}

/// The field of a key, and how its values are replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    hit: Hit,
    by: Mask,
}

const KEYS: usize = 16;
/// As many bytes are compared.
const NEAR: usize = 2 * size_of::<u128>();

impl Keys {
    /// The last bytes before `name`, and which slots are theirs: this one and the next.
    fn near(text: &[u8], name: usize) -> Option<([u128; 2], usize)> {
        let near: &[u8; NEAR] = text.get(name.checked_sub(NEAR)?..)?.first_chunk()?;
        let (&first, &last) = (near.first_chunk()?, near.last_chunk()?);
        let near = [u128::from_le_bytes(first), u128::from_le_bytes(last)];
        let tail = ((near[1] >> 96) as u32).wrapping_mul(0x9e37_79b9);
        Some((near, (tail >> (32 - KEYS.ilog2())) as usize & !1))
    }

    /// What is known of the key whose name ends before `name`, where a quote and a colon stand.
    /// That something else may stand there, too, was looked at when it was kept.
    #[inline]
    pub(super) fn find(&self, text: &[u8], name: usize) -> Option<Known> {
        let [last, b'"', b':'] = text.get(name.checked_sub(1)?..)?.first_chunk()? else {
            return None;
        };
        if self.last >> (last & 63) & 1 == 0 {
            return None;
        }
        let (near, slot) = Self::near(text, name)?;
        // Two keys that want the same place stand side by side, the newer one first.
        let mut keys = self.keys.get(slot..slot + 2)?.iter().flatten();
        keys.find(|key| key.is(near)).map(|key| key.known)
    }

    /// Keeps a key of `size` bytes, if it is not too long for that.
    fn keep(&mut self, text: &[u8], name: usize, size: usize, known: Known) {
        let bytes = size + 2;
        if bytes <= NEAR
            && let Some((near, slot)) = Self::near(text, name)
        {
            self.last |= 1 << (near[1] >> 120 & 63);
            self.keys.swap(slot, slot + 1);
            let Some(slot) = self.keys.get_mut(slot) else {
                return;
            };
            // The last so many bytes of a number.
            let ones = |n: usize| match n {
                0 => 0,
                n => u128::MAX << (8 * (size_of::<u128>() - n)),
            };
            let last = bytes.min(size_of::<u128>());
            *slot = Some(Key {
                bytes: near,
                mask: [ones(bytes - last), ones(last)],
                known,
            });
        }
    }
}

impl Lane {
    /// The value of the key whose name ends before `name`, in a line up to `end`; `None`: it is not
    /// as plain as that.
    #[inline]
    pub(super) fn member(
        &self,
        piece: Piece<'_>,
        end: usize,
        name: usize,
        known: Known,
    ) -> Option<Span<How>> {
        let text = piece.raw.get(..end)?;
        let rest = text.get(name..)?.strip_prefix(b"\":")?;
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let from = end - rest.len() + spaces;
        let rest = rest.get(spaces..)?;
        let (from, size, place, after) = match rest.first()? {
            b'"' => {
                let content = rest.get(1..)?;
                let content = content.get(..STRING_MAX).unwrap_or(content);
                let size = simd::find2(b'"', b'\\', content)?;
                let after = content.get(size..)?.strip_prefix(b"\"")?;
                (from + 1, size, Place::Inside, after)
            }
            b'0'..=b'9' | b'-' => {
                let number = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+');
                let size = rest.iter().position(|b| !number(b)).unwrap_or(rest.len());
                (from, size, Place::Literal, rest.get(size..)?)
            }
            _ => return None,
        };
        // A quote that opens another one, or a key that ends with the value, is not plain.
        if !matches!(after.first(), None | Some(b',' | b'}' | b']')) {
            return None;
        }
        let to = from + size;
        Some(Span {
            from: if value::is_nothing(text.get(from..to)?) {
                to
            } else {
                from
            },
            to,
            how: How {
                hit: known.hit,
                mask: known.by,
                place,
                row: 0, // It is told when the line is known to be whole.
            },
        })
    }

    /// The field of the key that ends before `name`, if it is a plain one whose values are masked.
    pub(super) fn member_key(&mut self, text: &[u8], start: usize, name: usize) -> Option<Known> {
        if !text.get(name..)?.starts_with(b"\":") {
            return None;
        }
        let key = text.get(start.max(name.saturating_sub(KEY_MAX))..name)?;
        let open = key
            .iter()
            .rposition(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')))?;
        let (before, key) = (key.get(..=open)?, key.get(open + 1..)?);
        if before.last() != Some(&b'"') || matches!(before, [.., b'\\' | b'"', _]) {
            return None;
        }
        // At the key's beginning there has to be more than the window shows.
        if before.len() == 1 && start + 1 + key.len() != name {
            return None;
        }
        let hit = self.rules.compiled().field(key)?;
        let Action::Mask(by) = self.rules.compiled().action(hit) else {
            return None;
        };
        let known = Known { hit, by };
        self.skim.keys.keep(text, name, key.len(), known);
        Some(known)
    }

    /// Whether a line with a protected name is JSON, and no header of a table.
    pub(super) fn is_json(&self, line: &[u8]) -> bool {
        match line.trim_ascii_start().first() {
            Some(b'{' | b'}' | b',') => true,
            Some(b'"' | b'[') => {
                line.len() <= super::LINE_CONTEXT
                    && table::header(
                        self.rules.compiled(),
                        line.strip_suffix(b"\r").unwrap_or(line),
                    )
                    .is_none()
            }
            _ => false,
        }
    }
}
