//! Values as languages print them in lines of their own: PHP's dumps, lists of R and of redis.

use crate::mask::Place;
use crate::rules::Hit;
use crate::value;

use super::{Block, BlockKind, Frame, Inner, Lane, Until};

impl Lane {
    /// Whether the line that begins here is one of a value that a dump has begun; `None`: more is
    /// needed.
    pub(super) fn in_dump(&mut self, block: Block, indent: usize, end: bool) -> Option<bool> {
        let rest = self.text().get(self.pos..)?;
        let line = rest.get(indent..).unwrap_or_default();
        let first = line.first().copied();
        let goes_on = match block.kind {
            BlockKind::Numbered => match number(line) {
                None if !end && line.len() < NUMBER_MAX => return None,
                size => size.is_some_and(|size| size > 0),
            },
            BlockKind::Vector => {
                if matches!(first, Some(b'[' | b'a')) && line.len() < NUMBER_MAX && !end {
                    let whole = line.contains(&b'\n') || line.contains(&b' ');
                    if !whole {
                        return None;
                    }
                }
                let other = line.starts_with(b"[[") || line.starts_with(b"attr(");
                let counted = count(line).is_none_or(|n| n > block.indent);
                !matches!(first, Some(b'\n' | b'\r' | b'$' | b'>')) && !other && counted
            }
            // The next member, or the end of all.
            BlockKind::Printed => {
                block.lines < PRINTED_MAX && !matches!(first, Some(b'[' | b')' | b'('))
            }
            BlockKind::Strings | BlockKind::Open(_) | BlockKind::Part { .. } | BlockKind::Netrc => {
                self.goes_on(block, rest, indent, end)?
            }
            // The value is empty: the next member, or the end of all.
            BlockKind::Dumped if matches!(first, Some(b'[' | b')')) => !is_next(line, end)?,
            BlockKind::Dumped
            | BlockKind::Escaped
            | BlockKind::Map
            | BlockKind::Literal
            | BlockKind::Continued
            | BlockKind::Indented
            | BlockKind::Quoted(_)
            | BlockKind::Heredoc(_) => true,
        };
        self.block = Some(Block {
            indent: match block.kind {
                BlockKind::Vector => count(line).unwrap_or(block.indent),
                _ => block.indent,
            },
            lines: block.lines + 1,
            ..block
        })
        .filter(|_| goes_on);
        Some(goes_on)
    }

    /// A line of such a value, which stands from `at` to `limit`.
    pub(super) fn dump_line(
        &mut self,
        block: Block,
        at: usize,
        limit: usize,
        newline: Option<usize>,
    ) -> bool {
        match block.kind {
            BlockKind::Strings => return self.string_line(block, at, limit, newline),
            BlockKind::Open(mark) => return self.quoted_line(block, mark, at, limit, newline),
            BlockKind::Escaped => return self.escaped_line(block, at, limit, newline),
            BlockKind::Part { body: false } => return self.part_header(block, at, limit),
            BlockKind::Netrc => return self.netrc_line(limit, newline),
            _ => {}
        }
        let line = self.slice(at, limit);
        let skip = match block.kind {
            BlockKind::Numbered => number(line).unwrap_or(0),
            BlockKind::Vector => levels(line).or(number(line)).unwrap_or(0),
            _ => 0,
        };
        let at = (at + skip).min(limit);
        if matches!(block.kind, BlockKind::Numbered | BlockKind::Dumped) {
            return self.dumped(block.hit, at, limit, newline);
        }
        let line = self.slice(at, limit).trim_ascii();
        let from = at + (limit - at - self.slice(at, limit).trim_ascii_start().len());
        let quoted = line.len() >= 2 && line.first() == Some(&b'"') && line.last() == Some(&b'"');
        let (from, to) = match quoted {
            true => (from + 1, from + line.len() - 1),
            false => (from, from + line.len()),
        };
        let rule = matches!(self.slice(from, to), b"NA" | b"NULL" | b"character(0)");
        if !rule && !value::is_nothing(self.slice(from, to)) {
            self.mask(from, to, block.hit, Place::Inside, "key-value");
        }
        self.frame = Frame::Line;
        self.pos = newline.unwrap_or(limit);
        newline.is_some()
    }

    /// A line that says a name: of redis' list of names and values (`3) "ssn"`), of a list of R
    /// (`$ssn`), of an attribute or a slot of it. Its value stands in the next line.
    pub(super) fn numbered(&mut self, from: usize, to: usize) {
        let whole = self.slice(from, to);
        let line = whole.trim_ascii();
        let compiled = self.rules.compiled();
        let field = |name: &[u8]| {
            let name = name.strip_prefix(b"`").unwrap_or(name);
            let name = name.strip_suffix(b"`").unwrap_or(name);
            let part = |b: &u8| crate::name::is_word(*b) || matches!(b, b'_' | b'-' | b'.' | b' ');
            (name.len() <= 64 && name.iter().all(part)).then(|| compiled.field(name))?
        };
        let quoted = |head: &[u8], tail: &[u8]| {
            line.strip_prefix(head)
                .and_then(|name| name.strip_suffix(tail))
                .and_then(field)
        };
        let path = line.first() == Some(&b'$') || line.starts_with(b"[[");
        let hit = if path && line.contains(&b'$') && line.len() <= PATH_MAX {
            // What is in a protected list is protected.
            let parts = line.split(|b| *b == b'$').skip(1);
            parts.map(without_index).find_map(field)
        } else {
            quoted(b"attr(,\"", b"\")").or_else(|| quoted(b"Slot \"", b"\":"))
        };
        if let Some(hit) = hit {
            self.block = Some(Block {
                indent: 0,
                kind: if whole.first() == line.first() {
                    BlockKind::Vector
                } else {
                    BlockKind::Numbered
                },
                hit,
                lines: 0,
            });
            return;
        }
        let name = number(line)
            .filter(|size| *size > 1)
            .and_then(|size| line.get(size..))
            .and_then(|name| name.strip_prefix(b"\"")?.strip_suffix(b"\""))
            // Names have odd numbers.
            .filter(|_| {
                let digits = line.iter().take_while(|b| b.is_ascii_digit());
                digits.last().is_some_and(|b| b % 2 == 1)
            });
        if let Some(hit) = name.and_then(field) {
            self.block = Some(Block {
                indent: 0,
                kind: BlockKind::Numbered,
                hit,
                lines: 0,
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
            self.inner = Inner::container(hit);
            self.frame = Frame::Line;
            self.pos = brace;
            return true;
        }
        if line.last() == Some(&b'(') {
            // `array (` of `var_export`: what is in it stands further to the right.
            let start = self.line;
            self.block = Some(Block {
                indent: at.saturating_sub(start),
                kind: BlockKind::Literal,
                hit,
                lines: 0,
            });
            self.frame = Frame::Line;
            self.pos = newline.unwrap_or(limit);
            return newline.is_some();
        }
        // What is too long is cut by who prints it: `string(600) "abc"...`.
        let cut = line.ends_with(b"\"...");
        if let Some((content, size)) = sized(line).filter(|_| !cut)
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
            (Some(a), _) if cut => (at + a + 1, at + line.len() - 4),
            (Some(a), Some(b)) if a < b => (at + a + 1, at + b),
            (Some(a), None) => (at + a + 1, limit),
            _ => match (memchr::memchr(b'(', line), line.last()) {
                (Some(open), Some(b')')) => (at + open + 1, at + line.len() - 1),
                _ => (at, at + line.len()),
            },
        };
        if to > from && !value::is_nothing(self.slice(from, to)) {
            self.mask(from, to, hit, Place::Inside, "key-value");
        }
        self.frame = Frame::Line;
        self.pos = newline.unwrap_or(limit);
        newline.is_some()
    }
}

/// Whether a line begins with a member of `print_r` (`[city] => Lund`), or is the bracket behind the
/// last one; `None`: more is needed.
fn is_next(line: &[u8], end: bool) -> Option<bool> {
    let near = line.get(..MEMBER_MAX).unwrap_or(line);
    let whole = memchr::memchr(b'\n', near);
    if whole.is_none() && near.len() < MEMBER_MAX && !end {
        return None;
    }
    let line = near.get(..whole.unwrap_or(near.len())).unwrap_or_default();
    let closes = line.trim_ascii_end() == b")";
    Some(closes || line.first() == Some(&b'[') && memchr::memmem::find(line, b"] =>").is_some())
}

/// A part of a path of R without the number of an element: `ssn[[1]]`.
fn without_index(part: &[u8]) -> &[u8] {
    match part.strip_suffix(b"]]") {
        Some(rest) => memchr::memmem::rfind(rest, b"[[")
            .and_then(|at| part.get(..at))
            .unwrap_or(part),
        None => part,
    }
}

/// How much of a line stands before the levels of a factor: `Levels: `, `300 Levels: `.
fn levels(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = line.get(digits..)?;
    let rest = rest
        .strip_prefix(b" ")
        .filter(|_| digits > 0)
        .unwrap_or(rest);
    let rest = rest.strip_prefix(b"Levels:")?;
    Some(line.len() - rest.trim_ascii_start().len())
}

/// The content of `string(11) "…"`: where it begins, and how many bytes it has.
pub(super) fn sized(line: &[u8]) -> Option<(usize, usize)> {
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
/// A path of R that is longer is none.
const PATH_MAX: usize = 256;
/// So many lines a value of `print_r` has at most.
const PRINTED_MAX: u32 = 64;
/// A name in a longer line is none of `print_r`.
const MEMBER_MAX: usize = 160;

/// The size of `12) ` or `[1] ` at the start of a line; 0 if there is none; `None`: more is needed.
pub(super) fn number(line: &[u8]) -> Option<usize> {
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

/// The number of the first value in a line of a vector: `[12] `.
fn count(line: &[u8]) -> Option<usize> {
    let size = number(line).filter(|size| *size > 2 && line.first() == Some(&b'['))?;
    std::str::from_utf8(line.get(1..size - 2)?)
        .ok()?
        .parse()
        .ok()
}
