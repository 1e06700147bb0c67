//! A key, its separator and the value after it.

use crate::mask::Place;
use crate::rules::Hit;
use crate::value::{self, End, Key, Quote, Style};

use super::Flow::{At, More};
use super::pair::Paired;
use super::{Block, BlockKind, Flow, Frame, Inner, LINE_NEAR, LOOK_BACK, Lane, Until, VALUE_MAX};

impl Lane {
    pub(super) fn separator(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let Some(b) = self.byte(at) else {
            return At(limit);
        };
        let next = if at + 1 < limit {
            self.byte(at + 1)
        } else {
            None
        };
        if b == b':' && next == Some(b'/') {
            return self.url(at, limit, closed);
        }
        let mut after = at + 1;
        match (b, next) {
            (b':', Some(b':')) => {
                let ldif = self.slice(at + 2, limit).first();
                match ldif {
                    Some(b' ') => after = at + 2,
                    None if !closed => return self.more_after(at),
                    _ => return At(at + 2),
                }
            }
            (b':', Some(b'=')) | (b'=', Some(b'>')) => after = at + 2,
            (b'=', Some(b'=' | b'~')) => return At(at + 2),
            (b'=', _)
                if at
                    .checked_sub(1)
                    .and_then(|i| self.byte(i))
                    .is_some_and(|b| matches!(b, b'!' | b'<' | b'>' | b'~' | b'*' | b'^')) =>
            {
                return At(at + 1);
            }
            (_, None) if !closed => return self.more_after(at),
            _ => {}
        }
        if b == b':'
            && let Some(flow) = self.encoded(at, after, limit, closed)
        {
            return flow;
        }
        let floor = match self.frame {
            Frame::Row => self.row.cell,
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line,
        };
        let Some(key) = self.key(at, floor.min(at)) else {
            return At(after);
        };
        let name = self.slice(key.name.0, key.name.1);
        let compiled = self.rules.compiled();
        let hit = if compiled.has_paths {
            compiled.field_under(name, self.parent())
        } else {
            compiled.field(name)
        };
        let hit = match hit {
            Some(hit) => hit,
            None => match self.pair(&key, after, limit, closed) {
                Paired::No => {
                    if self.rules.compiled().has_paths {
                        let rest = self.slice(after, limit);
                        if !closed && rest.iter().all(|b| matches!(b, b' ' | b'\t')) {
                            return self.more_after(limit.saturating_sub(1));
                        }
                        self.path_note(&key, after);
                    }
                    return At(after);
                }
                Paired::More => return self.more_after(at),
                Paired::Value(hit) => hit,
            },
        };
        self.value(key, at, after, hit, limit, closed)
    }

    /// The separator itself may leave; what it means is seen when more comes.
    pub(super) fn more_after(&mut self, at: usize) -> Flow {
        self.hold = self.hold.min(at + 1);
        More
    }

    pub(super) fn key(&self, at: usize, floor: usize) -> Option<Key> {
        let compiled = self.rules.compiled();
        if compiled.fields.is_empty() {
            return None;
        }
        // Most keys end like no protected one.
        let mut last = at;
        let mut left = 64;
        loop {
            last = last.checked_sub(1).filter(|i| *i >= floor)?;
            let b = self.byte(last)?;
            left -= 1;
            if left == 0 {
                return None;
            }
            if !matches!(b, b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\' | b']' | b'*') {
                let escaped = || {
                    self.slice(last.saturating_sub(5), last + 1)
                        .iter()
                        .any(|b| matches!(b, b'\\' | b'%'))
                };
                if !compiled.last.get(usize::from(b)).copied().unwrap_or(false)
                    && !compiled.has_paths
                    && !escaped()
                {
                    return None;
                }
                break;
            }
        }
        value::key_before(self.text(), at, floor)
    }

    /// Whether only marks of a list, a comment or a quotation stand before the key.
    pub(super) fn leads(&self, start: usize) -> bool {
        if self.line_cut || start < self.line || start - self.line > 128 {
            return false;
        }
        let before = self.slice(self.line, start).trim_ascii();
        before.len() <= 16
            && (before.iter().all(|b| {
                matches!(
                    b,
                    b'-' | b'*'
                        | b'>'
                        | b'<'
                        | b'+'
                        | b'#'
                        | b'/'
                        | b'$'
                        | b'?'
                        | b'.'
                        | b'"'
                        | b'\''
                        | b'`'
                        | b'['
                        | b':'
                        | b' '
                )
            }) || before == b"export"
                || before == b"set"
                || before == b"declare -x"
                || before == b"ENV")
    }

    pub(super) fn indent_of(&self, start: usize) -> usize {
        if self.is_far(start) {
            return LINE_NEAR;
        }
        start.saturating_sub(self.line)
    }

    /// The value after a protected key.
    pub(super) fn value(
        &mut self,
        key: Key,
        at: usize,
        after: usize,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Flow {
        let sep = self.byte(at).unwrap_or(b':');
        let arrow = after == at + 2 && sep == b'=';
        let leads = self.leads(key.start);
        let mut v = after;
        while v < limit && matches!(self.byte(v), Some(b' ' | b'\t')) {
            v += 1;
        }
        let spaced = v > after;
        if v >= limit && !closed {
            return self.more_after(v.saturating_sub(1));
        }
        if v >= limit || matches!(self.byte(v), Some(b'\n' | b'\r')) {
            return self.value_below(
                key,
                after,
                v,
                hit,
                limit,
                closed,
                leads && !arrow && sep == b':' && !spaced,
            );
        }
        if leads && sep == b':' || key.quote.is_some() {
            // Anchors and tags stay.
            while let Some(b'&' | b'!') = self.byte(v) {
                let rest = self.slice(v, limit);
                let size = rest.iter().take_while(|b| !b.is_ascii_whitespace()).count();
                if size == rest.len() && !closed {
                    return self.more(v);
                }
                if self.byte(v + size) == Some(b' ') && sep == b':' {
                    v += size;
                    while v < limit && self.byte(v) == Some(b' ') {
                        v += 1;
                    }
                    if v >= limit && !closed {
                        return self.more_after(v.saturating_sub(1));
                    }
                } else {
                    break;
                }
            }
            if matches!(self.byte(v), Some(b'\n' | b'\r')) {
                return self.value_below(key, after, v, hit, limit, closed, leads);
            }
        }
        if leads && sep == b':' && key.quote.is_none_or(|q| q.slashes == 0) {
            if self.byte(v) == Some(b'*') {
                // An alias, alone on its line: what it stands for is elsewhere.
                let rest = self.slice(v, limit);
                let size = rest.iter().position(u8::is_ascii_whitespace);
                match size.and_then(|size| rest.get(size)) {
                    None if !closed && rest.len() < 128 => return self.more(v),
                    Some(b'\n' | b'\r') if rest.get(1).is_some_and(u8::is_ascii_alphabetic) => {
                        return At(v);
                    }
                    _ => {}
                }
            }
            if let Some(b'|' | b'>') = self.byte(v) {
                let rest = self.slice(v, limit);
                let head = rest
                    .iter()
                    .take_while(|b| matches!(b, b'|' | b'>' | b'+' | b'-' | b'0'..=b'9' | b' '))
                    .count();
                match rest.get(head) {
                    None if !closed && head < 8 => return self.more(v),
                    Some(b'\n' | b'\r') if head < 8 => {
                        let indent = self.indent_of(key.start);
                        self.block = Some(Block {
                            indent,
                            kind: BlockKind::Literal,
                            hit,
                        });
                        return At(v + head);
                    }
                    _ => {}
                }
            }
        }
        if sep == b'=' && arrow {
            v = self.skip_type(v, limit);
        }
        match self.wrapper(v, limit, closed) {
            None => return self.more(v),
            Some(size) => v += size,
        }
        let prefix = match (self.byte(v), self.byte(v + 1)) {
            (Some(b'b' | b'u' | b'r' | b'f' | b'N' | b'E' | b'$'), Some(b'"' | b'\'')) => 1,
            _ => 0,
        };
        let doubled = key.quote.is_some_and(|q| q.doubled);
        match value::opening(self.slice(0, limit), v + prefix, closed) {
            None => return self.more(v),
            Some(Some(quote)) => {
                let quote = if doubled && quote.mark == b'"' && quote.slashes == 0 {
                    Quote {
                        doubled: true,
                        tripled: false,
                        ..quote
                    }
                } else {
                    quote
                };
                return self.quoted(
                    key,
                    v + prefix,
                    quote,
                    hit,
                    limit,
                    closed,
                    leads && sep == b':',
                );
            }
            Some(None) => {}
        }
        // Two of them are a template's, not a container's.
        if self.byte(v) == Some(b'{') && v + 1 >= limit && !closed {
            return self.more(v);
        }
        if self.byte(v) == Some(b'[')
            || (self.byte(v) == Some(b'{') && self.byte(v + 1) != Some(b'{'))
        {
            let quote = key.quote;
            self.inner = Inner::Container {
                hit,
                depth: 0,
                slashes: quote.map_or(0, |q| q.slashes),
                doubled,
            };
            return At(v);
        }
        self.bare(key, at, after, v, hit, limit, closed, leads)
    }

    /// The size of `Some(`, `Decimal(` and the like before a quote; `None`: more is needed.
    fn wrapper(&self, v: usize, limit: usize, closed: bool) -> Option<usize> {
        let rest = self.slice(v, limit);
        let word = rest
            .iter()
            .take(40)
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':'))
            .count();
        if word == 0 || word == 40 || !rest.first().is_some_and(u8::is_ascii_alphabetic) {
            return Some(0);
        }
        match (rest.get(word), rest.get(word + 1)) {
            (None, _) | (Some(b'('), None) if !closed => None,
            (Some(b'('), Some(b'"' | b'\'')) => Some(word + 1),
            _ => Some(0),
        }
    }

    /// `string(11) "…"`, as PHP writes it.
    fn skip_type(&self, v: usize, limit: usize) -> usize {
        let rest = self.slice(v, limit);
        let word = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        if word > 0
            && rest.get(word) == Some(&b'(')
            && let Some(close) = rest.iter().take(24).position(|b| *b == b')')
            && rest.get(close + 1) == Some(&b' ')
        {
            return v + close + 2;
        }
        v
    }

    /// A protected key whose line ends with it.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is known about the key, the place and the region"
    )]
    fn value_below(
        &mut self,
        key: Key,
        after: usize,
        v: usize,
        hit: Hit,
        limit: usize,
        closed: bool,
        block: bool,
    ) -> Flow {
        if v >= limit {
            return At(limit.max(after));
        }
        if key.quote.is_some() && self.frame == Frame::Line {
            // JSON may go on in the next line.
            let rest = self.slice(v, limit);
            let spaces = rest
                .iter()
                .take(1024)
                .take_while(|b| b.is_ascii_whitespace())
                .count();
            match rest.get(spaces) {
                None if !closed && spaces < 1024 => {
                    return self.more_after(limit.saturating_sub(1));
                }
                Some(b'"' | b'{' | b'[') => {
                    let start = v + spaces;
                    return match self.byte(start) {
                        Some(b'"') => {
                            let quote = Quote {
                                mark: b'"',
                                slashes: 0,
                                doubled: false,
                                tripled: false,
                            };
                            self.quoted(key, start, quote, hit, limit, closed, false)
                        }
                        _ => {
                            self.inner = Inner::Container {
                                hit,
                                depth: 0,
                                slashes: 0,
                                doubled: false,
                            };
                            At(start)
                        }
                    };
                }
                _ => {}
            }
        }
        if (block || key.quote.is_some()) && self.frame == Frame::Line {
            let indent = self.indent_of(key.start);
            self.block = Some(Block {
                indent,
                kind: BlockKind::Map,
                hit,
            });
        }
        At(v)
    }

    /// A value in quotes: `start` is the first byte of the quote.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is known about the key, the place and the region"
    )]
    pub(super) fn quoted(
        &mut self,
        key: Key,
        start: usize,
        quote: Quote,
        hit: Hit,
        limit: usize,
        closed: bool,
        yaml: bool,
    ) -> Flow {
        let content = start + quote.len();
        if quote.doubled && content >= limit {
            return if closed { At(limit) } else { self.more(start) };
        }
        let from = match self.seen {
            Some((at, from)) if at == content => from,
            Some(_) | None => content,
        };
        match value::quoted_end(self.slice(0, limit), content, from, quote, closed) {
            End::Quote(end) => {
                self.seen = None;
                if !value::is_nothing(self.slice(content, end)) {
                    self.mask(content, end, hit, Place::Inside, "key-value");
                }
                At(end.max(content) + usize::from(end == content && quote.tripled))
            }
            End::Line(end) => {
                self.seen = None;
                let indent = self.indent_of(key.start);
                self.mask(content, end, hit, Place::Inside, "key-value");
                if yaml && self.frame == Frame::Line {
                    self.block = Some(Block {
                        indent,
                        kind: BlockKind::Continued,
                        hit,
                    });
                }
                At(end)
            }
            End::Open(upto) => {
                self.seen = Some((content, upto));
                if limit - content > VALUE_MAX {
                    self.seen = None;
                    self.mask(content, upto, hit, Place::Inside, "key-value");
                    self.swallow_until(Until::Quote(quote));
                    return At(upto);
                }
                self.more(start)
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what is known about the key, the place and the region"
    )]
    pub(super) fn bare(
        &mut self,
        key: Key,
        at: usize,
        after: usize,
        v: usize,
        hit: Hit,
        limit: usize,
        closed: bool,
        leads: bool,
    ) -> Flow {
        let colon = self.byte(at) == Some(b':');
        let arrow = after == at + 2 && !colon;
        let spaced = v > after;
        let nested = self.opened(key.start);
        let mut v = v;
        let style = if key.quote.is_some() {
            Style::Json
        } else if nested {
            if colon && spaced || arrow {
                Style::Json
            } else {
                Style::Word { nested }
            }
        } else if leads && (colon || arrow) {
            Style::Line
        } else if leads && self.frame != Frame::Row {
            Style::Assignment
        } else {
            Style::Word { nested }
        };
        // Whether this is a row, where the value ends with a word, is not known yet.
        if self.frame == Frame::Row
            && self.row.index == 0
            && self.row.separators == 0
            && !closed
            && limit - v <= VALUE_MAX
        {
            return self.more(v);
        }
        let region = self.slice(0, limit);
        let mut end = value::bare_end(region, v, style, closed);
        let mut schemed = false;
        if let Some(word) = scheme(self.slice(v, limit)) {
            schemed = true;
            v += word;
            while v < limit && self.byte(v) == Some(b' ') {
                v += 1;
            }
            if v >= limit && !closed {
                return self.more_after(v.saturating_sub(1));
            }
            end = value::bare_end(self.slice(0, limit), v, style, closed);
        } else if !closed
            && limit - v < 12
            && self.slice(v, limit).iter().all(u8::is_ascii_alphabetic)
        {
            return self.more(v);
        }
        // Inside of quotes that were opened before the key, the value ends with them.
        if let Some(quote) = self.inside_quote(key.start)
            && let Some(close) = memchr::memchr(quote, self.slice(v, end.unwrap_or(limit)))
            && key.quote.is_none()
        {
            let close = v + close;
            let slashes = self
                .slice(v, close)
                .iter()
                .rev()
                .take_while(|b| **b == b'\\')
                .count();
            end = Some(close - slashes);
        }
        let Some(end) = end else {
            if limit - v > VALUE_MAX {
                self.mask(v, limit, hit, Place::Inside, "key-value");
                let until = match style {
                    Style::Line | Style::Assignment => Until::Line,
                    Style::Json | Style::Word { .. } => Until::Bare,
                };
                self.swallow_until(until);
                return At(limit);
            }
            return self.more(v);
        };
        let kept = self.slice(v, end);
        if !value::is_nothing(kept) && !kept.iter().all(|b| *b == b'*') {
            let place = match style {
                Style::Json => match key.quote {
                    Some(q) if q.doubled => Place::Doubled,
                    Some(q) if q.slashes == 1 => Place::Escaped,
                    Some(q) if q.slashes > 1 => Place::Word,
                    _ => Place::Literal,
                },
                Style::Line => Place::Word,
                Style::Assignment if spaced => Place::Literal,
                Style::Assignment | Style::Word { .. } => Place::Word,
            };
            let place = if key.quote.is_none() && self.inside_quote(key.start).is_some() {
                Place::Inside
            } else {
                place
            };
            let indent = self.indent_of(key.start);
            let format = if style == Style::Line && !schemed {
                "yaml"
            } else {
                "key-value"
            };
            self.mask(v, end, hit, place, format);
            if style == Style::Line
                && colon
                && self.frame == Frame::Line
                && matches!(self.byte(end), None | Some(b'\n' | b'\r'))
            {
                self.block = Some(Block {
                    indent,
                    kind: BlockKind::Continued,
                    hit,
                });
            }
        }
        At(end.max(after))
    }

    /// Whether a bracket before `at` on this line is still open.
    fn opened(&self, at: usize) -> bool {
        let mut depth = 0i32;
        for b in self
            .slice(self.line.max(at.saturating_sub(LOOK_BACK)), at)
            .iter()
            .rev()
        {
            match b {
                b'{' | b'[' | b'(' => depth += 1,
                b'}' | b']' | b')' => depth -= 1,
                _ => {}
            }
            if depth > 0 {
                return true;
            }
        }
        false
    }

    /// The quote that was opened on this line before `at` and not closed.
    fn inside_quote(&self, at: usize) -> Option<u8> {
        let before = self.slice(self.line.max(at.saturating_sub(LOOK_BACK)), at);
        let mut open = None;
        let mut last = b' ';
        for b in before {
            match (open, *b) {
                (None, b'"') => open = Some(b'"'),
                (None, b'\'') if !crate::name::is_word(last) => open = Some(b'\''),
                (Some(q), b) if b == q && last != b'\\' => open = None,
                _ => {}
            }
            last = *b;
        }
        open
    }
}

/// The size of a word that says how what follows authorises: it is no secret.
fn scheme(value: &[u8]) -> Option<usize> {
    const SCHEMES: [&[u8]; 7] = [
        b"Bearer ",
        b"Basic ",
        b"Digest ",
        b"Token ",
        b"Negotiate ",
        b"ApiKey ",
        b"NTLM ",
    ];
    SCHEMES
        .iter()
        .find(|s| {
            value
                .get(..s.len())
                .is_some_and(|v| v.eq_ignore_ascii_case(s))
        })
        .map(|s| s.len() - 1)
}
