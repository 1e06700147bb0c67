//! Protected blocks, told by how far they are indented.

use crate::mask::Place;
use crate::value;

use super::{Block, BlockKind, Frame, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// Whether the line that begins here belongs to the block; `None`: more is needed.
    pub(super) fn in_block(&mut self, block: Block, end: bool) -> Option<bool> {
        let rest = self.text().get(self.pos..)?;
        // A difference has a sign before each line.
        let signed = block.kind == BlockKind::Literal
            && matches!(rest.first(), Some(b'+' | b'-'))
            && block.indent > 0;
        let sign = usize::from(signed);
        let text = rest.get(sign..).unwrap_or_default();
        let indent = sign + text.iter().take_while(|b| **b == b' ').count();
        if let BlockKind::Heredoc(word) = block.kind {
            return self.in_heredoc(block, word, end);
        }
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
        if block.kind.is_dump() {
            return self.in_dump(block, indent, end);
        }
        if matches!(first, b'\n' | b'\r') {
            if matches!(block.kind, BlockKind::Continued | BlockKind::Indented) {
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

    /// Whether the line is not the word yet that ends a text.
    fn in_heredoc(&mut self, block: Block, word: u32, end: bool) -> Option<bool> {
        let rest = self.text().get(self.pos..)?;
        let near = rest.get(..HEREDOC_LINE).unwrap_or(rest);
        let line = memchr::memchr(b'\n', near);
        if line.is_none() && near.len() < HEREDOC_LINE && !end {
            return None;
        }
        let text = near.get(..line.unwrap_or(near.len())).unwrap_or_default();
        let ends = line.is_some() && mark(text.trim_ascii()) == word;
        let goes_on = !ends && block.lines < HEREDOC_LINES;
        self.block = goes_on.then_some(Block {
            lines: block.lines + 1,
            ..block
        });
        Some(goes_on)
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
        if block.kind == BlockKind::Literal && matches!(self.byte(at), Some(b'+' | b'-')) {
            at += 1;
        }
        while at < limit && self.byte(at) == Some(b' ') {
            at += 1;
        }
        if let BlockKind::Quoted(mark) = block.kind
            && let Some(size) = closes(self.slice(at, limit), mark)
        {
            self.mask(at, at + size, block.hit, Place::Inside, "yaml");
            self.block = None;
            self.told = true;
            self.pos = at + size;
            self.frame = Frame::Line;
            return true;
        }
        if block.kind.is_dump() {
            return self.dump_line(block, at.min(limit), limit, newline);
        }
        if block.kind == BlockKind::Indented && self.is_setting(at, limit) {
            self.block = None;
            self.frame = Frame::Line;
            return true;
        }
        if matches!(
            block.kind,
            BlockKind::Map | BlockKind::Continued | BlockKind::Indented
        ) {
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
                if matches!(block.kind, BlockKind::Continued | BlockKind::Indented) {
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
                    string: false,
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

/// A longer line does not end a text.
const HEREDOC_LINE: usize = 256;
/// A text of more lines has no end.
const HEREDOC_LINES: u32 = 4096;

/// What is kept of the word that ends a text.
pub(super) fn mark(word: &[u8]) -> u32 {
    // FNV-1a.
    let step = |hash: u32, b: &u8| (hash ^ u32::from(*b)).wrapping_mul(0x0100_0193);
    word.iter().fold(0x811c_9dc5, step)
}

/// Where a quote of YAML closes in a line.
fn closes(line: &[u8], mark: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        match *line.get(at)? {
            b'\\' if mark == b'"' => at += 1,
            b if b == mark && mark == b'\'' && line.get(at + 1) == Some(&mark) => at += 1,
            b if b == mark => return Some(at),
            _ => {}
        }
        at += 1;
    }
}
