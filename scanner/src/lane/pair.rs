//! Names that stand as values: `"Name": "ssn"`, and `name | value`.

use crate::mask::Place;
use crate::name::Words;
use crate::rules::Hit;
use crate::value::Key;
use crate::{table, value};

use super::Flow::At;
use super::{Flow, Frame, LOOK_BACK, Lane, Pair, Until, VALUE_MAX, first_char};

impl Lane {
    /// Whether the key is one half of `{"Name": N, "Value": V}`.
    pub(super) fn pair(&mut self, key: &Key, after: usize, limit: usize, closed: bool) -> Paired {
        let name = self.slice(key.name.0, key.name.1);
        let tail = name
            .get(name.len().saturating_sub(2)..)
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !matches!(
            tail.as_slice(),
            b"me"
                | b"ey"
                | b"ue"
                | b"al"
                | b"ld"
                | b"le"
                | b"es"
                | b"el"
                | b"er"
                | b"ty"
                | b"te"
                | b"am"
                | b"mn"
                | b"on"
                | b"ng"
                | b"ag"
                | b"pe"
                | b"id"
                | b"th"
                | b"k"
                | b"v"
        ) {
            return Paired::No;
        }
        let words = Words::of(name);
        if words.count() > 3 {
            return Paired::No;
        }
        if is_name_of_value(&words) {
            let Some(pair) = self.pair else {
                return Paired::No;
            };
            if key.start.saturating_sub(pair.at) > LOOK_BACK {
                self.pair = None;
                return Paired::No;
            }
            let between = self.slice(pair.at, key.start);
            let item = between
                .split(|b| *b == b'\n')
                .skip(1)
                .any(|l| l.trim_ascii_start().starts_with(b"- "));
            return if leaves(between) || item {
                Paired::No
            } else {
                Paired::Value(pair.hit)
            };
        }
        if !is_name_of_name(&words) {
            return Paired::No;
        }
        let key_bytes = name
            .iter()
            .rev()
            .take(8)
            .fold(name.len() as u64, |n, b| n << 8 | u64::from(*b));
        // The name's value, if it is all there.
        let rest = self.slice(after, limit);
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let rest = rest.get(spaces..).unwrap_or_default();
        let head = rest
            .iter()
            .take_while(|b| matches!(b, b'"' | b'\'' | b'\\'))
            .count();
        let body = rest.get(head..).unwrap_or_default();
        let size = body
            .iter()
            .take(96)
            .take_while(|b| {
                crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b' ' | b'/' | b':')
            })
            .count();
        if size == body.len() && !closed && size < 96 {
            return Paired::More;
        }
        let name = body.get(..size).unwrap_or_default();
        match (self.rules.compiled().field(name), self.pair) {
            (Some(hit), _) => {
                self.pair = Some(Pair {
                    at: after,
                    hit,
                    key: key_bytes,
                });
            }
            // Another name stands beside the one before, or after it: not below.
            (None, Some(pair))
                if pair.key == key_bytes && depth(self.slice(pair.at, key.start)) <= 0 =>
            {
                self.pair = None;
            }
            (None, _) => {}
        }
        Paired::No
    }

    /// A cell that is nothing but a protected name, at the start of a line: its value follows.
    pub(super) fn name_cell(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let rest = self.slice(at, limit);
        let size = match rest.first() {
            Some(b'|') => 1,
            Some(_) if rest.len() < 3 && !closed => return self.more(at),
            Some(_) if first_char(rest).is_some_and(table::is_separator) => 3,
            _ => return At(at + 1),
        };
        let after = at + size;
        if self.line_cut
            || (self.frame != Frame::Line && (self.frame != Frame::Row || self.row.separators > 0))
            || at - self.line.min(at) > 256
            || self.rules.compiled().fields.is_empty()
        {
            return At(after);
        }
        // A box may stand in a box: `||  name |  value ||`.
        let line = self.slice(self.line, at).trim_ascii_start();
        let mut before = line;
        let mut boxes = 0;
        while let Some(inner) = before
            .strip_prefix(b"|")
            .or_else(|| before.strip_prefix("│".as_bytes()))
        {
            before = inner;
            boxes += 1;
        }
        let before = if boxes > 0 {
            before.trim_ascii_start()
        } else {
            before
        };
        let tight = before.last() != Some(&b' ');
        if before.contains(&b'|') || (tight && (size > 1 || before.contains(&b' '))) {
            return At(after);
        }
        let name = before.trim_ascii();
        if name.is_empty()
            || !name
                .iter()
                .all(|b| crate::name::is_word(*b) || matches!(b, b'_' | b' ' | b'-' | b'.'))
        {
            return At(after);
        }
        let Some(hit) = self.rules.compiled().field(name) else {
            return At(after);
        };
        let rest = self.slice(after, limit);
        let line = memchr::memchr(b'\n', rest);
        let Some(line) = line.or(closed.then_some(rest.len())) else {
            if rest.len() > VALUE_MAX {
                self.mask(after, limit, hit, Place::Cell, "table");
                self.swallow_until(Until::Line);
                return At(limit);
            }
            return if rest.len() < 2 {
                self.more_after(after.saturating_sub(1))
            } else {
                self.more(after)
            };
        };
        let value = rest.get(..line).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(value).map(str::to_owned) else {
            // What cannot be read is masked.
            let start = after + (value.len() - value.trim_ascii_start().len());
            let end = after + value.trim_ascii_end().len();
            self.mask(start, end, hit, Place::Cell, "table");
            return At(end.max(after));
        };
        let cell = text.split(table::is_separator).next().unwrap_or("");
        let others = text.split(table::is_separator).count() - 1;
        let more = others > boxes
            || text
                .split(table::is_separator)
                .skip(1)
                .any(|c| !c.trim().is_empty());
        let pairs = self.above.is_some_and(|(a, b)| {
            let above = String::from_utf8_lossy(self.slice(a, b));
            let cells = above.split(table::is_separator).count();
            (cells == 2 || (tight && cells > 2)) && !table::is_rule(above.as_bytes())
        });
        let named = cell
            .trim()
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | ' ' | '-'));
        if more || (named && !pairs) || cell.trim().bytes().all(|b| matches!(b, b'-' | b'=' | b':'))
        {
            return At(after); // A header.
        }
        let start = after + (cell.len() - cell.trim_start().len());
        let end = start + cell.trim().len();
        if end > start && end <= limit && !value::is_nothing(self.slice(start, end)) {
            self.mask(start, end, hit, Place::Cell, "table");
        }
        At(end.max(after))
    }
}

/// Whether a key says that its value is a name.
fn is_name_of_name(words: &Words) -> bool {
    const NAMES: [&[u8]; 15] = [
        b"field",
        b"variable",
        b"header",
        b"property",
        b"attribute",
        b"param",
        b"parameter",
        b"column",
        b"option",
        b"setting",
        b"tag",
        b"type",
        b"id",
        b"path",
        b"k",
    ];
    words.ends_with(b"name")
        || words.ends_with(b"key")
        || words.ends_with(b"label")
        || NAMES.contains(&words.joined())
}

/// Whether a key says that its value is what the name before it stands for.
fn is_name_of_value(words: &Words) -> bool {
    words.ends_with(b"value")
        || words.ends_with(b"values")
        || words.ends_with(b"val")
        || words.joined() == b"v"
}

/// How many braces open in a text, less those that close.
fn depth(text: &[u8]) -> i32 {
    let one = |b: &u8| match b {
        b'{' => 1,
        b'}' => -1,
        _ => 0,
    };
    text.iter().map(one).sum()
}

/// Whether a brace closes in a text that was opened before it.
fn leaves(text: &[u8]) -> bool {
    let mut depth = 0;
    text.iter().any(|b| {
        depth += match b {
            b'{' => 1,
            b'}' => -1,
            _ => 0,
        };
        depth < 0
    })
}

pub(super) enum Paired {
    No,
    More,
    Value(Hit),
}
