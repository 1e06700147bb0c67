//! The names of fields from their last letter to their first, as a tree: how long it takes to see
//! that none ends at a place depends on how many letters agree, not on how many names there are.

use crate::name::{NAME_MAX, is_word};
use crate::simd;

/// An escape is at most this long.
const ESCAPE_MAX: usize = 12;
/// Most words differ from every name within a few letters: that much is looked at in one piece.
const NEAR: usize = 32;

/// The names; where nothing was added, none ends anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings {
    /// The node of each last letter; 0 where no name has it.
    last: Vec<u32>,
    nodes: Vec<Node>,
}

/// A letter behind which the rest of some names stands.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    letter: u8,
    /// A name begins here.
    whole: bool,
    /// The first of the letters that stand before it, and the next of its siblings; 0 is none.
    child: u32,
    next: u32,
}

impl Endings {
    /// Adds a name: letters and digits in lower case.
    pub(crate) fn add(&mut self, name: &[u8]) {
        if self.nodes.is_empty() {
            self.last = vec![0; 256];
            // The one that stands for none.
            self.nodes.push(Node::default());
        }
        let Some((last, before)) = name.split_last() else {
            return;
        };
        let mut at = self.last.get(usize::from(*last)).copied().unwrap_or(0);
        if at == 0 {
            at = self.push(*last, 0);
            if let Some(slot) = self.last.get_mut(usize::from(*last)) {
                *slot = at;
            }
        }
        for letter in before.iter().rev() {
            let node = self.node(at);
            at = match self.child(node, *letter) {
                Some(child) => child,
                None => {
                    let child = self.push(*letter, node.child);
                    if let Some(slot) = self.nodes.get_mut(at as usize) {
                        slot.child = child;
                    }
                    child
                }
            };
        }
        if let Some(slot) = self.nodes.get_mut(at as usize) {
            slot.whole = true;
        }
    }

    fn push(&mut self, letter: u8, next: u32) -> u32 {
        self.nodes.push(Node {
            letter,
            next,
            ..Node::default()
        });
        u32::try_from(self.nodes.len() - 1).unwrap_or(0)
    }

    fn node(&self, at: u32) -> Node {
        self.nodes.get(at as usize).copied().unwrap_or_default()
    }

    fn child(&self, node: Node, letter: u8) -> Option<u32> {
        let mut at = node.child;
        while at != 0 {
            let node = self.node(at);
            if node.letter == letter {
                return Some(at);
            }
            at = node.next;
        }
        None
    }

    /// Whether a name ends with `word`, or `word` with a name.
    pub(crate) fn agree(&self, word: &[u8]) -> bool {
        let mut letters = word.iter().rev().map(u8::to_ascii_lowercase);
        let last = letters.next().and_then(|b| self.last.get(usize::from(b)));
        let mut node = match last {
            None | Some(0) => return false,
            Some(node) => self.node(*node),
        };
        for letter in letters {
            if node.whole {
                return true;
            }
            node = match self.child(node, letter) {
                Some(child) => self.node(child),
                None => return false,
            };
        }
        true
    }

    /// Whether a name may end before `end`, written in one word or in several. What stands before
    /// `text` may be anything, and so may an escape.
    pub(crate) fn may_end(&self, text: &[u8], end: usize) -> bool {
        match self.walk(text, end) {
            Walk::Name(_) | Walk::Unknown => true,
            Walk::Other(at) => is_escaped(text, at, end),
            Walk::Nothing => false,
        }
    }

    fn walk(&self, text: &[u8], end: usize) -> Walk {
        let Some(mut at) = end.checked_sub(1) else {
            return Walk::Nothing;
        };
        let last = text.get(at).map_or(0xff, u8::to_ascii_lowercase);
        let mut node = match self.last.get(usize::from(last)) {
            None | Some(0) => return Walk::Nothing,
            Some(node) => self.node(*node),
        };
        loop {
            if node.whole && begins(text, at) {
                return Walk::Name(at);
            }
            if node.child == 0 {
                return Walk::Other(at);
            }
            let letter = loop {
                at = match at.checked_sub(1) {
                    Some(at) if end - at <= NAME_MAX => at,
                    _ => return Walk::Unknown,
                };
                match text.get(at) {
                    Some(b) if is_word(*b) => break b.to_ascii_lowercase(),
                    Some(_) => {}
                    None => return Walk::Unknown,
                }
            };
            node = match self.child(node, letter) {
                Some(child) => self.node(child),
                None => return Walk::Other(at),
            };
        }
    }
}

/// What stands before a place.
#[derive(Clone, Copy, Debug)]
enum Walk {
    /// A name, whose first letter is here.
    Name(usize),
    /// Something that differs from every name here, if it is no escape.
    Other(usize),
    /// The end of no name.
    Nothing,
    /// What may be a name if it goes on where nothing is known.
    Unknown,
}

/// Words that were looked at lately: the same few stand in every line of most outputs.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    words: [Word; RECENT],
    /// Ends of words with what stands behind them that are nothing, whatever stands before and
    /// after: what is kept here may only depend on these eight bytes.
    others: [u64; OTHERS],
}

/// The bytes that were looked at, the last one on top; no bit of `mask` is set where there are none.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    bytes: u128,
    mask: u128,
    is_name: bool,
    letters: usize,
}

const RECENT: usize = 64;
const OTHERS: usize = 128;
/// So much of the end of a word, the byte behind it included, says that it is none: what begins
/// an escape before it can take away the first byte of eight, and if it changes another one it is
/// a suspect itself.
const OTHER_MAX: usize = 7;
/// As many bytes before a suspect say with it that the word before it is nothing.
pub(crate) const OTHER_BEFORE: usize = 7;
/// A shorter look is as cheap as to remember it.
const SHORT: usize = 2;

impl Recent {
    pub(crate) fn new() -> Self {
        Self {
            words: [Word::default(); RECENT],
            // No suspect stands behind such bytes.
            others: [u64::MAX; OTHERS],
        }
    }

    /// The last bytes up to the one at `at`, and the place of such an end.
    #[inline]
    fn other(text: &[u8], at: usize) -> Option<(u64, usize)> {
        let near = text.get(at.checked_sub(7)?..)?.first_chunk()?;
        let near = u64::from_le_bytes(*near);
        let hash = near.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - OTHERS.ilog2());
        Some((near, hash as usize))
    }

    /// Whether it is known that the word before the suspect `at` is nothing.
    #[inline]
    pub(crate) fn is_other(&self, text: &[u8], at: usize) -> bool {
        Self::other(text, at).is_some_and(|(near, slot)| self.others.get(slot) == Some(&near))
    }

    /// Keeps the end of the word before the suspect `at`, which is nothing, as `names` say.
    #[cold]
    pub(crate) fn keep_other(&mut self, names: &Endings, text: &[u8], at: usize) {
        let size = match names.walk(text, at) {
            Walk::Nothing => 0,
            Walk::Other(from) => at - from + 1,
            Walk::Name(_) | Walk::Unknown => return,
        };
        if size < OTHER_MAX
            && let Some((near, slot)) = Self::other(text, at)
            && let Some(slot) = self.others.get_mut(slot)
        {
            *slot = near;
        }
    }

    /// The same as [`Endings::may_end`]; `names` are the same ones in every call.
    #[inline]
    pub(crate) fn may_end(&mut self, names: &Endings, text: &[u8], end: usize) -> bool {
        let near = end
            .checked_sub(size_of::<u128>())
            .and_then(|i| text.get(i..));
        let Some(near) = near.and_then(<[u8]>::first_chunk) else {
            return names.may_end(text, end);
        };
        let near = u128::from_le_bytes(*near);
        let tail = (near >> 64) as u64;
        let at = tail.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RECENT.ilog2());
        let at = at as usize & !1;
        // Two words that want the same place stand side by side, the newer one first.
        for word in [at, at + 1].into_iter().filter_map(|at| self.words.get(at)) {
            if word.mask != 0 && (near ^ word.bytes) & word.mask == 0 {
                return word.is_name || is_escaped(text, end - word.letters, end);
            }
        }
        self.learn(names, text, end, near, at)
    }

    /// What stands before `end`, which ends with `near`, and will be found in the place `at`.
    #[inline(never)]
    fn learn(&mut self, names: &Endings, text: &[u8], end: usize, near: u128, at: usize) -> bool {
        let (is_name, from) = match names.walk(text, end) {
            Walk::Name(at) => (true, at),
            Walk::Other(at) => (false, at),
            Walk::Nothing => return false,
            Walk::Unknown => return true,
        };
        // Whether a word begins is seen by the byte before it.
        let looked = end - from + 1;
        if looked > SHORT && looked <= size_of::<u128>() {
            let mask = u128::MAX << (8 * (size_of::<u128>() - looked));
            self.words.swap(at, at + 1);
            if let Some(word) = self.words.get_mut(at) {
                *word = Word {
                    bytes: near & mask,
                    mask,
                    is_name,
                    letters: end - from,
                };
            }
        }
        is_name || is_escaped(text, from, end)
    }
}

/// Whether a word may begin at `at`.
fn begins(text: &[u8], at: usize) -> bool {
    match (at.checked_sub(1).and_then(|i| text.get(i)), text.get(at)) {
        (Some(before), Some(first)) => {
            !before.is_ascii_alphanumeric() || first.is_ascii_uppercase()
        }
        _ => true,
    }
}

/// Whether what stands from `from` to `end` may be part of an escape.
#[inline]
fn is_escaped(text: &[u8], from: usize, end: usize) -> bool {
    let from = from.saturating_sub(ESCAPE_MAX);
    if end - from <= NEAR
        && let Some(near) = end.checked_sub(NEAR).and_then(|i| text.get(i..))
        && let Some(near) = near.first_chunk()
    {
        // It may see a little more than what was asked for.
        return simd::has_any(near, [b'\\', b'%', b'&']);
    }
    memchr::memchr3(b'\\', b'%', b'&', text.get(from..end).unwrap_or_default()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endings(names: &[&str]) -> Endings {
        let mut all = Endings::default();
        for name in names {
            all.add(name.as_bytes());
        }
        all
    }

    #[test]
    fn names_end_where_their_words_do() {
        let mut recent = Recent::new();
        let all = endings(&["ssn", "accountnumber", "number", "taxid", "id2", "e"]);
        for (text, ends) in [
            ("the ssn", true),
            ("the_ssn", true),
            ("theSsn", true),
            ("thessn", false),
            ("a row number", true),
            ("my account number", true),
            ("renumber", false),
            ("\"tax id", true),
            ("syntax id", false),
            ("ID-2", true),
            ("the", false),
            ("th e", true),
            ("a name", false),
            ("ss\\u006e", true),
            ("s\\u0073n", true),
            ("a long word, and the name of asn", false),
            ("a & b, and so on up to the place of the name of asn", false),
            ("é", false),
        ] {
            let text = format!("  and so on: {text}");
            assert_eq!(all.may_end(text.as_bytes(), text.len()), ends, "{text}");
            for _ in 0..2 {
                let got = recent.may_end(&all, text.as_bytes(), text.len());
                assert_eq!(got, ends, "{text}");
            }
        }
        // What stands before is not known.
        assert!(all.may_end(b"sn", 2));
        assert!(all.may_end(b"ssn", 3));
        assert!(!all.may_end(b"", 0));
        assert!(!Endings::default().may_end(b"ssn", 3));
    }

    #[test]
    fn words_agree_with_names_by_their_ends() {
        let all = endings(&["ssn", "accountnumber", "café"]);
        for (word, agrees) in [
            ("ssn", true),
            ("SSN", true),
            ("n", true),
            ("lessn", true),
            ("number", true),
            ("enumber", false),
            ("café", true),
            ("caf", false),
            ("", false),
        ] {
            assert_eq!(all.agree(word.as_bytes()), agrees, "{word}");
        }
        assert!(!Endings::default().agree(b"ssn"));
    }

    /// Far more names than were ever compared one by one.
    #[test]
    fn many_names_are_one_tree() {
        let names: Vec<String> = (0..2000).map(|k| format!("field{k}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = endings(&names);
        for (text, ends) in [
            ("  a field 1999", true),
            ("  a field 2000", false),
            ("  a field 0", true),
            ("  a yield 0", false),
            ("  a subfield 7", false),
        ] {
            assert_eq!(all.may_end(text.as_bytes(), text.len()), ends, "{text}");
        }
    }
}
