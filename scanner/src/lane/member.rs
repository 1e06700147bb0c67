//! The fast path's look at a value under a protected key of JSON.
//!
//! Only what is plain is decided here: `"key": "value"` or `"key": number`, without escapes near
//! the key and with a delimiter of JSON behind the value. Anything else is the byte machine's.

use super::Lane;
use crate::endings::OTHER_BEFORE;
use crate::mask::Place;
use crate::rules::{Action, Hit, Mask};
use crate::simd::{self, Pattern};
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

    /// How many bytes are compared.
    fn bytes(&self) -> usize {
        self.mask.iter().map(|m| m.count_ones() as usize / 8).sum()
    }
}

/// The field of a key, and how its values are replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) hit: Hit,
    pub(super) by: Mask,
}

/// What the suspects of a line were, in their order: those of the next line are mostly the same.
/// Everything here depends on the bytes alone that are compared.
#[derive(Clone, Debug)]
pub(super) struct Guesses {
    /// Words that are nothing, by their last bytes and the suspect's.
    others: [u64; GUESSES],
    /// Protected keys, with their quotes, the byte before and the colon behind them.
    keys: [Option<(Pattern, Known)>; GUESSES],
}

/// What is known of a suspect.
pub(super) enum Guess<'a> {
    Nothing,
    Key(&'a Known),
    Unknown,
}

const GUESSES: usize = 16;
/// Where the suspect stands in what is compared.
const PLACE: usize = 30;

impl Guesses {
    pub(super) fn new() -> Self {
        Self {
            // No suspect stands behind such bytes.
            others: [u64::MAX; GUESSES],
            keys: [None; GUESSES],
        }
    }

    /// The bytes up to the one behind the suspect `at`.
    #[inline]
    fn near(text: &[u8], at: usize) -> Option<&[u8; 32]> {
        text.get(at.checked_sub(PLACE)?..)?.first_chunk()
    }

    /// Those of them that say of a word that it is nothing.
    #[inline]
    fn last(near: &[u8; 32]) -> u64 {
        let last = near
            .get(PLACE - OTHER_BEFORE..)
            .and_then(<[u8]>::first_chunk);
        last.map_or(0, |last| u64::from_le_bytes(*last))
    }

    /// What is known of the `nth` suspect of a line, if it is what it was in a line before.
    #[inline(always)]
    pub(super) fn find(&self, nth: usize, text: &[u8], at: usize) -> Guess<'_> {
        let Some(near) = Self::near(text, at) else {
            return Guess::Unknown;
        };
        if self.others.get(nth % GUESSES) == Some(&Self::last(near)) {
            return Guess::Nothing;
        }
        match self.keys.get(nth % GUESSES) {
            Some(Some((by, known))) if by.fits(near) => Guess::Key(known),
            _ => Guess::Unknown,
        }
    }

    /// Keeps that the `nth` suspect is nothing, as [`Recent::is_other`] says.
    ///
    /// [`Recent::is_other`]: crate::endings::Recent::is_other
    #[cold]
    pub(super) fn keep_other(&mut self, nth: usize, text: &[u8], at: usize) {
        if let Some(near) = Self::near(text, at)
            && let Some(other) = self.others.get_mut(nth % GUESSES)
        {
            *other = Self::last(near);
        }
    }

    /// Keeps the key before the `nth` suspect, which [`Keys::find`] knows by so many bytes.
    #[cold]
    pub(super) fn keep_key(
        &mut self,
        nth: usize,
        text: &[u8],
        at: usize,
        (known, bytes): (Known, usize),
    ) {
        if let Some(near) = Self::near(text, at)
            && let Some(from) = PLACE.checked_sub(bytes)
            && let Some(key) = self.keys.get_mut(nth % GUESSES)
        {
            *key = Some((Pattern::new(near, from..near.len()), known));
        }
    }
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
    /// That something else may stand there, too, was looked at when it was kept. Of how many bytes
    /// it is known, too.
    #[inline]
    pub(super) fn find(&self, text: &[u8], name: usize) -> Option<(Known, usize)> {
        let [last, b'"', b':'] = text.get(name.checked_sub(1)?..)?.first_chunk()? else {
            return None;
        };
        if self.last >> (last & 63) & 1 == 0 {
            return None;
        }
        let (near, slot) = Self::near(text, name)?;
        // Two keys that want the same place stand side by side, the newer one first.
        let mut keys = self.keys.get(slot..slot + 2)?.iter().flatten();
        let key = keys.find(|key| key.is(near))?;
        Some((key.known, key.bytes()))
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

/// Where the value of the key whose name ends before `name` begins and ends; `None`: it is not as
/// plain as that. It may seem to go on behind its line.
#[inline(always)]
pub(super) fn value(text: &[u8], name: usize) -> Option<(usize, usize, Place)> {
    let rest = text.get(name..)?.strip_prefix(b"\":")?;
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    let from = text.len() - rest.len() + spaces;
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
    if !matches!(after.first(), None | Some(b',' | b'}' | b']' | b'\n')) {
        return None;
    }
    let to = from + size;
    let none = value::is_nothing(text.get(from..to)?);
    Some((if none { to } else { from }, to, place))
}

impl Lane {
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
