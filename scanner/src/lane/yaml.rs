//! Protected blocks, told by how far they are indented.

use crate::mask::Place;
use crate::rules::Hit;
use crate::value;

use super::{Block, BlockKind, Frame, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// Whether the line that begins here belongs to the block; `None`: more is needed.
    pub(super) fn in_block(&mut self, block: Block, end: bool) -> Option<bool> {
        let rest = self.text().get(self.pos..)?;
        let indent = rest.iter().take_while(|b| **b == b' ').count();
        let Some(&first) = rest.get(indent) else {
            if end {
                self.block = None;
                return Some(false);
            }
            return None;
        };
        if first == b'\r' {
            match rest.get(indent + 1) {
                None if !end => return None,
                None | Some(b'\n') => {}
                Some(_) => {
                    self.block = None;
                    return Some(false);
                }
            }
        }
        match block.kind {
            BlockKind::Dumped => return Some(true),
            BlockKind::Numbered => {
                let rest = rest.get(indent..).unwrap_or_default();
                let size = rest.len().min(LEVELS.len());
                if rest.get(..size) == LEVELS.get(..size) {
                    return (size == LEVELS.len() || end).then_some(size == LEVELS.len());
                }
                return match number(rest) {
                    None if !end && rest.len() < NUMBER_MAX => None,
                    Some(size) if size > 0 => Some(true),
                    _ => {
                        self.block = None;
                        Some(false)
                    }
                };
            }
            BlockKind::Map | BlockKind::Literal | BlockKind::Continued => {}
        }
        if matches!(first, b'\n' | b'\r') {
            if block.kind == BlockKind::Continued {
                self.block = None;
                return Some(false);
            }
            return Some(true);
        }
        let item = first == b'-' && block.kind == BlockKind::Map && indent == block.indent;
        if item {
            return match rest.get(indent + 1) {
                None if !end => None,
                Some(b' ' | b'\n') => Some(true),
                _ => {
                    self.block = None;
                    Some(false)
                }
            };
        }
        if indent <= block.indent {
            self.block = None;
            return Some(false);
        }
        Some(true)
    }

    /// A line of a protected block: keys stay, the rest is masked.
    pub(super) fn block_line(&mut self, end: bool) -> bool {
        let Some(block) = self.block else {
            self.frame = Frame::Line;
            return true;
        };
        let len = self.view.text.len();
        let rest = self.slice(self.line, len);
        let line = memchr::memchr(b'\n', rest);
        crate::work::count(line.unwrap_or(rest.len()));
        let line = line.map(|i| self.line + i);
        let Some(mut limit) = line.or(end.then_some(len)) else {
            if rest.len() > VALUE_MAX {
                let start = self.line + rest.iter().take_while(|b| **b == b' ').count();
                self.mask(start, len, block.hit, Place::Inside, "yaml");
                self.swallow_until(Until::Line);
                self.pos = len;
                self.frame = Frame::Line;
                return false;
            }
            let spaces = rest.iter().take_while(|b| **b == b' ').count();
            self.hold = self.hold.min(self.line + spaces);
            return false;
        };
        let newline = line;
        if limit > self.line && self.byte(limit - 1) == Some(b'\r') {
            limit -= 1;
        }
        let mut at = self.line;
        while at < limit && self.byte(at) == Some(b' ') {
            at += 1;
        }
        if block.kind == BlockKind::Dumped {
            return self.dumped(block.hit, at.min(limit), limit, newline);
        }
        if block.kind == BlockKind::Numbered {
            let line = self.slice(at, limit);
            // A vector of R goes on in the next line, and ends with the levels of a factor.
            let vector = line.first() == Some(&b'[');
            at += match line.strip_prefix(LEVELS) {
                Some(levels) => line.len() - levels.trim_ascii_start().len(),
                None => number(line).unwrap_or(0),
            };
            let goes_on = self.dumped(block.hit, at.min(limit), limit, newline);
            if vector && self.inner == Inner::Text {
                self.block = Some(block);
            }
            return goes_on;
        }
        if block.kind != BlockKind::Literal {
            while self.byte(at) == Some(b'-')
                && matches!(self.byte(at + 1), Some(b' '))
                && at + 1 < limit
            {
                at += 2;
                while at < limit && self.byte(at) == Some(b' ') {
                    at += 1;
                }
            }
            if let Some(after) = self.block_key(at, limit) {
                if block.kind == BlockKind::Continued {
                    self.block = None;
                    self.frame = Frame::Line;
                    return true;
                }
                at = after;
                while at < limit && self.byte(at) == Some(b' ') {
                    at += 1;
                }
            }
        }
        let value = self.slice(at, limit).trim_ascii_end().to_vec();
        let to = at + value.len();
        let bare = |v: &[u8]| {
            matches!(
                v,
                b"" | b"-" | b"|" | b">" | b"|-" | b">-" | b"|+" | b">+" | b"[]" | b"{}"
            ) || value::is_nothing(v)
        };
        if !bare(&value) {
            if block.kind == BlockKind::Map && matches!(value.first(), Some(b'{' | b'[')) {
                self.inner = Inner::Container {
                    hit: block.hit,
                    depth: 0,
                    slashes: 0,
                    doubled: false,
                };
                self.pos = at;
                self.frame = Frame::Line;
                return true;
            }
            let quote = value.first().copied().filter(|b| {
                matches!(b, b'"' | b'\'') && value.len() >= 2 && value.last() == Some(b)
            });
            match (quote, block.kind) {
                (Some(_), BlockKind::Map) => {
                    self.mask(at + 1, to - 1, block.hit, Place::Inside, "yaml")
                }
                (None, BlockKind::Map) => self.mask(at, to, block.hit, Place::Literal, "yaml"),
                // A quote that was opened above ends here: it stays.
                _ => {
                    let closes = usize::from(
                        block.kind == BlockKind::Continued
                            && matches!(value.last(), Some(b'"' | b'\'')),
                    );
                    self.mask(at, to - closes, block.hit, Place::Inside, "yaml");
                }
            }
        }
        match newline {
            Some(at) => {
                self.sink.row += 1;
                self.above = None;
                self.frame = Frame::Start;
                self.pos = at + 1;
                true
            }
            None => {
                self.pos = limit;
                false
            }
        }
    }

    /// A line that says a name of redis' list of names and values (`3) "ssn"`), or of a list of R
    /// (`$ssn`): its value stands in the next line.
    pub(super) fn numbered(&mut self, from: usize, to: usize) {
        let line = self.slice(from, to).trim_ascii();
        let name = match line.strip_prefix(b"$") {
            // The last part of `$people$ssn`.
            Some(name) => name.rsplit(|b| *b == b'$').next(),
            None => number(line)
                .filter(|size| *size > 1)
                .and_then(|size| line.get(size..))
                .and_then(|name| name.strip_prefix(b"\"")?.strip_suffix(b"\""))
                // Names have odd numbers.
                .filter(|_| {
                    let digits = line.iter().take_while(|b| b.is_ascii_digit());
                    digits.last().is_some_and(|b| b % 2 == 1)
                }),
        };
        let is_name = |name: &&[u8]| {
            name.len() <= 64
                && name
                    .iter()
                    .all(|b| crate::name::is_word(*b) || matches!(b, b'_' | b'-' | b'.'))
        };
        if let Some(hit) = name
            .filter(is_name)
            .and_then(|name| self.rules.compiled().field(name))
        {
            self.block = Some(Block {
                indent: 0,
                kind: BlockKind::Numbered,
                hit,
            });
        }
    }

    /// `string(3) "abc"`, `int(5)`, `array(1) {`: a value from `at` to `limit` with its type.
    fn dumped(&mut self, hit: Hit, at: usize, limit: usize, newline: Option<usize>) -> bool {
        self.block = None;
        let line = self.slice(at, limit).trim_ascii_end();
        let quotes = (
            memchr::memchr(b'"', line),
            memchr::memrchr(b'"', line).filter(|_| line.last() == Some(&b'"')),
        );
        if line.last() == Some(&b'{') {
            // Whatever is in it.
            let brace = at + line.len() - 1;
            self.inner = Inner::Container {
                hit,
                depth: 0,
                slashes: 0,
                doubled: false,
            };
            self.frame = Frame::Line;
            self.pos = brace;
            return true;
        }
        if let Some((content, size)) = sized(line)
            && content + size + 1 > line.len()
        {
            // It has several lines. A terminal's have a byte more, so that its end is looked for.
            let from = at + content;
            self.mask(from, limit, hit, Place::Inside, "key-value");
            self.frame = Frame::Line;
            self.pos = limit;
            self.swallow_until(Until::Dumped(
                size.saturating_sub(limit.saturating_sub(from)),
            ));
            return newline.is_some();
        }
        let (from, to) = match quotes {
            (Some(a), Some(b)) if a < b => (at + a + 1, at + b),
            (Some(a), None) => (at + a + 1, limit),
            _ => match (memchr::memchr(b'(', line), line.last()) {
                (Some(open), Some(b')')) => (at + open + 1, at + line.len() - 1),
                _ => (at, at + line.len()),
            },
        };
        if !value::is_nothing(self.slice(from, to)) {
            self.mask(from, to, hit, Place::Inside, "key-value");
        }
        self.frame = Frame::Line;
        self.pos = newline.unwrap_or(limit);
        newline.is_some()
    }

    /// What follows the colon, if a key stands at `at`.
    fn block_key(&self, at: usize, limit: usize) -> Option<usize> {
        let rest = self.slice(at, limit);
        let quote = rest.first().copied().filter(|b| matches!(b, b'"' | b'\''));
        let colon = match quote {
            Some(q) => rest
                .iter()
                .skip(1)
                .position(|b| *b == q)
                .map(|i| i + 2)
                .filter(|i| rest.get(*i) == Some(&b':'))?,
            None => {
                let mut from = 0;
                loop {
                    let i = from + memchr::memchr(b':', rest.get(from..)?)?;
                    if matches!(rest.get(i + 1), None | Some(b' ')) {
                        break i;
                    }
                    from = i + 1;
                }
            }
        };
        let name = rest.get(..colon)?;
        (quote.is_some()
            || name.len() <= 128
                && !name.is_empty()
                && !name.contains(&b'"')
                && !name.contains(&b'{'))
        .then_some(at + colon + 1)
    }
}

/// What the values of a factor of R are told behind.
const LEVELS: &[u8] = b"Levels:";

/// The content of `string(11) "…"`: where it begins, and how many bytes it has.
fn sized(line: &[u8]) -> Option<(usize, usize)> {
    let rest = line.strip_prefix(b"string(")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let size = std::str::from_utf8(rest.get(..digits)?)
        .ok()?
        .parse()
        .ok()?;
    let open = rest.get(digits..)?.starts_with(b") \"");
    open.then_some((7 + digits + 3, size))
}

/// A number before an item is at most this long.
const NUMBER_MAX: usize = 16;

/// The size of `12) ` or `[1] ` at the start of a line; 0 if there is none; `None`: more is needed.
fn number(line: &[u8]) -> Option<usize> {
    let open = usize::from(line.first() == Some(&b'['));
    let digits = line.iter().skip(open).take(NUMBER_MAX);
    let size = open + digits.take_while(|b| b.is_ascii_digit()).count();
    let mark = if open > 0 { b']' } else { b')' };
    match (line.get(size), line.get(size + 1)) {
        (None, _) => None,
        (Some(b), None) if *b == mark => None,
        (Some(b), Some(b' ')) if *b == mark && size > open => Some(size + 2),
        _ => Some(0),
    }
}
