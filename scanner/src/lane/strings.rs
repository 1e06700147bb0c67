//! Protected values that go on in the next lines: strings that are written in parts, quotes and
//! backslashes that stay open, parts of forms. And the lines of a
//! `.netrc`.

use crate::mask::Place;
use crate::rules::Hit;
use crate::value::{self, End, Key, Quote};

use super::{Block, BlockKind, Frame, LINE_CONTEXT, Lane};

/// A protected string has ended that may go on in the next line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joins {
    /// Behind its quote.
    at: usize,
    /// How far its key is indented: what goes on is indented further.
    indent: usize,
    hit: Hit,
}

impl Joins {
    /// So many bytes before it were forgotten.
    pub(super) fn moved(self, bytes: usize) -> Option<Self> {
        let at = self.at.checked_sub(bytes)?;
        Some(Self { at, ..self })
    }
}

impl Lane {
    /// A protected string has ended at `at`. Python wraps long ones, JavaScript adds them up, and
    /// two in a row are one in the text format of protobuf; JSON knows nothing of the kind.
    pub(super) fn may_join(&mut self, key: &Key, quote: Quote, at: usize, hit: Hit) {
        let json = quote.mark == b'"' && key.quote.is_some_and(|q| q.mark == b'"');
        if !json && quote.len() == 1 && quote.mark != b'`' {
            let indent = self.indent_of(key.start);
            self.joins = Some(Joins { at, indent, hit });
        }
    }

    /// A line has ended at `to`.
    pub(super) fn joined(&mut self, to: usize) {
        let Some(Joins { at, indent, hit }) = self.joins.take().filter(|joins| joins.at <= to)
        else {
            return;
        };
        if self.block.is_none() && joins(self.slice(at, to)) {
            self.block = Some(Block {
                indent,
                kind: BlockKind::Strings,
                hit,
                lines: 0,
            });
        }
    }

    /// Whether the line that begins with `rest` belongs to the block; `None`: more is needed.
    pub(super) fn goes_on(
        &self,
        block: Block,
        rest: &[u8],
        indent: usize,
        end: bool,
    ) -> Option<bool> {
        let line = rest.get(indent..).unwrap_or_default();
        match block.kind {
            BlockKind::Strings => match (line.first(), line.get(1)) {
                (Some(b'"' | b'\''), _) => Some(indent > block.indent),
                (Some(b'b' | b'u' | b'r' | b'f'), None) if !end => None,
                (Some(b'b' | b'u' | b'r' | b'f'), Some(b'"' | b'\'')) => {
                    Some(indent > block.indent)
                }
                _ => Some(false),
            },
            BlockKind::Open(_) => {
                let prompt = self.pty && rest.starts_with(b"> ");
                if self.pty && rest == b">" && !end {
                    return None;
                }
                Some(!prompt && !is_assignment(rest, end)?)
            }
            BlockKind::Part { body: false } => {
                let name = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'-';
                let size = line.iter().take(KEPT_MAX).take_while(name).count();
                match line.get(size) {
                    None if !end => None,
                    Some(b'\n' | b'\r') => Some(size == 0),
                    next => Some(next == Some(&b':') && size > 0),
                }
            }
            BlockKind::Part { body: true } => {
                if !line.starts_with(b"-") {
                    return Some(true);
                }
                let line = whole_line(line, end)?.unwrap_or_default();
                Some(!is_boundary(line, block.indent))
            }
            BlockKind::Netrc => {
                let line = whole_line(line, end)?.unwrap_or_default();
                Some(line.is_empty() || is_netrc(line))
            }
            _ => Some(false),
        }
    }

    /// A line from `at` to `limit` that begins with a string, which is part of a value if it is
    /// no key.
    pub(super) fn string_line(
        &mut self,
        block: Block,
        at: usize,
        limit: usize,
        newline: Option<usize>,
    ) -> bool {
        self.frame = Frame::Line;
        let open = at + usize::from(!matches!(self.byte(at), Some(b'"' | b'\'')));
        let mark = self.byte(open).unwrap_or(b'"');
        let quote = Quote::plain(mark);
        let content = open + 1;
        let found = value::quoted_end(self.slice(0, limit), content, content, quote, true);
        let (end, after) = match found {
            End::Quote(end) => (end, (end + 1).min(limit)),
            End::Line(end) | End::Open(end) => (end, limit),
        };
        let rest = self.slice(after, limit).trim_ascii();
        if matches!(rest.first(), Some(b':' | b'=')) {
            self.block = None;
            return true;
        }
        if !joins(rest) {
            self.block = None;
        }
        self.told = true;
        self.mask(content.min(end), end, block.hit, Place::Inside, "key-value");
        self.pos = after;
        after < limit || newline.is_some()
    }

    /// A line within a quote that was opened above.
    pub(super) fn quoted_line(
        &mut self,
        block: Block,
        mark: u8,
        at: usize,
        limit: usize,
        newline: Option<usize>,
    ) -> bool {
        self.frame = Frame::Line;
        let quote = Quote::plain(mark);
        let (end, after) = match value::quoted_end(self.slice(0, limit), at, at, quote, true) {
            End::Quote(end) => {
                self.block = None;
                (end, (end + 1).min(limit))
            }
            End::Line(_) | End::Open(_) => {
                (at + self.slice(at, limit).trim_ascii_end().len(), limit)
            }
        };
        if end > at {
            self.mask(at, end, block.hit, Place::Inside, "key-value");
        }
        self.pos = after;
        after < limit || newline.is_some()
    }

    /// A line behind a backslash.
    pub(super) fn escaped_line(
        &mut self,
        block: Block,
        at: usize,
        limit: usize,
        newline: Option<usize>,
    ) -> bool {
        self.frame = Frame::Line;
        let line = self.slice(at, limit).trim_ascii_end();
        let goes_on = line.strip_suffix(b"\\");
        let end = at + goes_on.unwrap_or(line).trim_ascii_end().len();
        if goes_on.is_none() {
            self.block = None;
        }
        if end > at {
            self.mask(at, end, block.hit, Place::Word, "key-value");
        }
        self.pos = newline.unwrap_or(limit);
        newline.is_some()
    }

    /// Whether a line of INI from `at` to `limit` says something of its own.
    pub(super) fn is_setting(&self, at: usize, limit: usize) -> bool {
        let line = self.slice(at, limit);
        let name = |b: &&u8| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.');
        let size = line.iter().take_while(name).count();
        let after = line.get(size..).unwrap_or_default().trim_ascii_start();
        matches!(
            line.first(),
            Some(b'[' | b'#' | b';' | b'}' | b')' | b'{' | b'(')
        ) || size > 0 && after.first() == Some(&b'=')
    }

    /// A line that says the name of a part of a form: its headers and its value follow.
    pub(super) fn form_part(&mut self, from: usize, to: usize, above: Option<(usize, usize)>) {
        const HEAD: &[u8] = b"content-disposition:";
        let line = self.slice(from, to);
        let head = line.get(..HEAD.len()).unwrap_or_default();
        if !head.eq_ignore_ascii_case(HEAD) {
            return;
        }
        let name = line.split(|b| *b == b';').find_map(|part| {
            let name = part.trim_ascii().strip_prefix(b"name=")?;
            Some(name.strip_prefix(b"\"").unwrap_or(name))
        });
        let name = name.map(|name| name.strip_suffix(b"\"").unwrap_or(name));
        let Some(hit) = name.and_then(|name| self.rules.compiled().field(name)) else {
            return;
        };
        let above = above
            .map_or(&b""[..], |(a, b)| self.slice(a, b))
            .trim_ascii();
        let indent = if above.starts_with(b"--") {
            hash(above)
        } else {
            0
        };
        self.block = Some(Block {
            indent,
            kind: BlockKind::Part { body: false },
            hit,
            lines: 0,
        });
    }

    /// A line with nothing but a name and a brace, as the text format of protobuf and HCL begin
    /// what has members (`password {`).
    pub(super) fn opens_body(&mut self, from: usize, to: usize) {
        let line = self.slice(from, to).trim_ascii_end();
        let indent = line.iter().take_while(|b| **b == b' ').count();
        let name = line.strip_suffix(b" {").and_then(|name| name.get(indent..));
        let part = |b: &u8| crate::name::is_word(*b) || matches!(b, b'_' | b'-');
        let Some(hit) = name
            .filter(|name| name.len() <= KEPT_MAX && name.iter().all(part))
            .filter(|name| name.first().is_some_and(u8::is_ascii_alphabetic))
            .and_then(|name| self.rules.compiled().field(name))
        else {
            return;
        };
        self.block = Some(Block {
            indent,
            kind: BlockKind::Map,
            hit,
            lines: 0,
        });
    }

    /// A header of a part, or the empty line before its body.
    pub(super) fn part_header(&mut self, block: Block, at: usize, limit: usize) -> bool {
        self.frame = Frame::Line;
        if self.slice(at, limit).trim_ascii().is_empty() {
            self.block = Some(Block {
                kind: BlockKind::Part { body: true },
                lines: 0,
                ..block
            });
        }
        true
    }

    /// Whether a `.netrc` begins here; `None`: more is needed.
    pub(super) fn begins_netrc(&mut self, end: bool) -> Option<bool> {
        const MACHINE: &[u8] = b"machine ";
        let rest = self.slice(self.pos, self.view.text.len());
        let head = rest.get(..MACHINE.len()).unwrap_or(rest);
        if MACHINE.get(..head.len()) != Some(head) {
            return Some(false);
        }
        if self.rules.compiled().fields.is_empty() {
            return Some(false);
        }
        if head.len() < MACHINE.len() && !end {
            return None;
        }
        let is_one = whole_line(rest, end)?.is_some_and(is_netrc);
        if is_one && let Some(hit) = self.rules.compiled().any() {
            self.block = Some(Block {
                indent: 0,
                kind: BlockKind::Netrc,
                hit,
                lines: 0,
            });
        }
        Some(is_one && self.block.is_some())
    }

    /// A line of a `.netrc`, from where it begins to `limit`.
    pub(super) fn netrc_line(&mut self, limit: usize, newline: Option<usize>) -> bool {
        let start = self.line;
        let line = self.slice(start, limit).to_vec();
        let mut at = 0;
        let mut hit = None;
        for word in line.split(u8::is_ascii_whitespace) {
            let from = start + at;
            at += word.len() + 1;
            if word.is_empty() {
                continue;
            }
            match hit.take() {
                Some(Some(hit)) => {
                    self.look_inside(self.pos.max(self.line), from);
                    self.mask(from, from + word.len(), hit, Place::Word, "key-value");
                    self.pos = from + word.len();
                }
                // What the word before names is not protected.
                Some(None) => {}
                None if word == b"default" => {}
                None => hit = Some(self.rules.compiled().field(word)),
            }
        }
        self.look_inside(self.pos.max(self.line), limit);
        self.frame = Frame::Line;
        self.pos = newline.unwrap_or(limit);
        newline.is_some()
    }

    /// Keys and detectors in a piece of a line that is whole.
    fn look_inside(&mut self, from: usize, to: usize) {
        if from < to {
            self.sql_inside(from, to, true);
        }
    }
}

/// Whether a string whose line ends with this may go on in the next one.
pub(super) fn joins(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii(), b"" | b"+" | b"." | b"\\" | b".." | b"~")
}

/// Whether a line begins like `NAME=value`; `None`: more is needed.
fn is_assignment(line: &[u8], end: bool) -> Option<bool> {
    let line = line.strip_prefix(b"export ").unwrap_or(line);
    let name = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_';
    let size = line.iter().take(KEPT_MAX).take_while(name).count();
    let begins = line.first().is_some_and(|b| !b.is_ascii_digit());
    match (line.get(size), line.get(size + 1)) {
        (None, _) | (Some(b'='), None) if !end && size < KEPT_MAX => None,
        (Some(b'='), Some(next)) => {
            Some(size > 0 && begins && !next.is_ascii_whitespace() && *next != b'=')
        }
        _ => Some(false),
    }
}

/// The line without the blanks around it; `Some(None)` if it is longer than what is compared,
/// `None`: more is needed.
fn whole_line(rest: &[u8], end: bool) -> Option<Option<&[u8]>> {
    let near = rest.get(..LINE_CONTEXT / 16).unwrap_or(rest);
    match memchr::memchr(b'\n', near) {
        Some(size) => Some(near.get(..size).map(<[u8]>::trim_ascii)),
        None if near.len() < rest.len() || near.len() == LINE_CONTEXT / 16 => Some(None),
        None => end.then(|| Some(near.trim_ascii())),
    }
}

/// Whether a line ends the part of a form.
fn is_boundary(line: &[u8], known: usize) -> bool {
    if known == 0 {
        return line.starts_with(b"--") && !line.starts_with(b"-----BEGIN");
    }
    let last = line.strip_suffix(b"--").unwrap_or(line);
    hash(line) == known || hash(last) == known
}

/// Whether a line has nothing but the words of a `.netrc`, each with a value.
fn is_netrc(line: &[u8]) -> bool {
    const WORDS: [&[u8]; 7] = [
        b"machine",
        b"login",
        b"user",
        b"password",
        b"passwd",
        b"account",
        b"port",
    ];
    if line.first() == Some(&b'#') {
        return true;
    }
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if word != b"default" && (!WORDS.contains(&word) || words.next().is_none()) {
            return false;
        }
    }
    !line.is_empty()
}

/// A number for a short text, never 0 (FNV-1a).
fn hash(text: &[u8]) -> usize {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash >> 1).unwrap_or(usize::MAX).max(1)
}

/// A longer word is none.
const KEPT_MAX: usize = 96;
