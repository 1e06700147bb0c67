//! The fast path's look at a value under a protected key of JSON.
//!
//! Only what is plain is decided here: `"key": "value"` or `"key": number`, without escapes near
//! the key and with a delimiter of JSON behind the value. Anything else is the byte machine's.

use super::Lane;
use super::skim::{Member, Piece};
use crate::mask::Place;
use crate::table;
use crate::value;

/// A longer key or value is left to the byte machine.
const KEY_MAX: usize = 64;
const STRING_MAX: usize = 1024;

impl Lane {
    /// The value of the key whose name ends before `name`; `None`: it is not as plain as that.
    pub(super) fn member(
        &mut self,
        piece: Piece<'_>,
        start: usize,
        end: usize,
        name: usize,
    ) -> Option<Member> {
        let text = piece.raw.get(..end)?;
        let rest = text.get(name..)?.strip_prefix(b"\":")?;
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
        let hit = self.skim.field(&self.rules, key)?;
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let from = end - rest.len() + spaces;
        let rest = rest.get(spaces..)?;
        let (from, size, place, after) = match rest.first()? {
            b'"' => {
                let content = rest.get(1..)?;
                let content = content.get(..STRING_MAX).unwrap_or(content);
                let size = memchr::memchr2(b'"', b'\\', content)?;
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
        self.is_json(text.get(start..)?).then_some(Member {
            hit,
            from: if value::is_nothing(text.get(from..to)?) {
                to
            } else {
                from
            },
            to,
            place,
        })
    }

    /// Whether a line with a protected name is JSON, and no header of a table.
    fn is_json(&self, line: &[u8]) -> bool {
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
