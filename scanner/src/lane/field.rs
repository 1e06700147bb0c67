//! A key, its separator and the value after it.

use crate::mask::Place;
use crate::name::{Words, is_word};
use crate::rules::{Compiled, Hit};
use crate::table::Kind;
use crate::value::{self, End, KEY_MAX, Key, Quote, Style};

use super::Flow::{At, More};
use super::pair::Paired;
use super::{Block, BlockKind, Flow, Frame, Inner, LINE_NEAR, LOOK_BACK, Lane, Until, VALUE_MAX};
use super::{dumped, yaml};

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
        if b == b':' && matches!(next, Some(b'\\' | b'/')) && at + 2 >= limit && !closed {
            return self.more_after(at);
        }
        if b == b':'
            && (next == Some(b'/') && self.byte(at + 2) != Some(b'*')
                || next == Some(b'\\') && self.byte(at + 2) == Some(b'/'))
        {
            return self.url(at, limit, closed);
        }
        if let Some(flow) = self.entities(at, limit, closed) {
            return flow;
        }
        if b == b':'
            && let Some(flow) = self.record(at, limit, closed)
        {
            return flow;
        }
        if b == b':'
            && let Some(hit) = self.tagged(at)
        {
            return self.labelled(at + 1, hit, limit, closed);
        }
        let mut after = at + 1;
        match (b, next) {
            (b':', Some(b':')) => {
                // Three and more fill the gap before a value (`mlr --oxtab --ops :`).
                let rest = self.slice(at, limit).iter().take(COLONS_MAX);
                let colons = rest.take_while(|b| **b == b':').count();
                if colons > 2 {
                    if at + colons == limit && !closed && colons < COLONS_MAX {
                        return self.more_after(at);
                    }
                    return self.filled(at, at + colons, limit, closed);
                }
                let ldif = self.slice(at + 2, limit).first();
                match ldif {
                    Some(b' ') => after = at + 2,
                    None if !closed => return self.more_after(at),
                    _ => return At(at + 2),
                }
            }
            (b':', Some(b'=')) | (b'=', Some(b'>')) => after = at + 2,
            (b'=', Some(b'=' | b'~')) => return At(at + 2),
            (_, None) if !closed => return self.more_after(at),
            (b'=', _)
                if at
                    .checked_sub(1)
                    .and_then(|i| self.byte(i))
                    .is_some_and(|b| matches!(b, b'!' | b'<' | b'>' | b'~' | b'*' | b'^')) =>
            {
                return self.unequal(at, limit, closed).unwrap_or(At(at + 1));
            }
            _ => {}
        }
        if b == b'='
            && next == Some(b'(')
            && at.checked_sub(1).and_then(|i| self.byte(i)) == Some(b')')
        {
            return self.constraint(at, limit, closed);
        }
        if b == b':'
            && let Some(flow) = self.symbol(at, limit, closed)
        {
            return flow;
        }
        if b == b':'
            && let Some(flow) = self.serialized(at, limit, closed)
        {
            return flow;
        }
        if b == b':'
            && let Some(flow) = self.encoded(at, after, limit, closed)
        {
            return flow;
        }
        if b == b'='
            && next != Some(b'>')
            && let Some(flow) = self.set_list(at, limit, closed)
        {
            return flow;
        }
        if b == b'='
            && next != Some(b'>')
            && let Some(hit) = self
                .parameter_hit(at)
                .or_else(|| self.expression(at))
                .or_else(|| self.set_password(at))
        {
            let key = Key {
                start: at,
                name: (at, at),
                quote: None,
            };
            return self.compared(key, at + 1, hit, limit, closed);
        }
        let floor = match self.frame {
            Frame::Row => self.row.cell,
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line,
        };
        // `NAME ?= value` of a makefile.
        let ends = match at.checked_sub(1).and_then(|i| self.byte(i)) {
            Some(b'?') if b == b'=' => at - 1,
            _ => at,
        };
        let key = match self.section {
            // Here every key may be one of a protected section.
            Some(_) => value::key_before(self.text(), ends, floor.min(ends)),
            None => self.key(ends, floor.min(ends)),
        };
        let Some(key) = key else {
            if b == b':'
                && let Some((key, hit)) = self.section_value(at)
            {
                return self.value(key, at, after, hit, limit, closed);
            }
            return match self.unusual(at, ends, floor.min(ends), None) {
                Some((key, hit)) => self.value(key, at, after, hit, limit, closed),
                None => At(after),
            };
        };
        // A keyword of Lisp behind another one: `[:ssn :city]`.
        if b == b':'
            && self.is_keyword(key.start)
            && self.byte(at - 1) == Some(b' ')
            && next.is_some_and(|b| b.is_ascii_alphabetic())
            && self.opened(key.start).and_then(|open| self.byte(open)) != Some(b'{')
        {
            return At(after);
        }
        // A string that ends like a key: `"email:": "value"`.
        let outer = key.start.checked_sub(1).and_then(|i| self.byte(i));
        if b == b':'
            && key.quote.is_none()
            && matches!(outer, Some(b'"' | b'\''))
            && self.byte(after) == outer
        {
            return At(after);
        }
        // PHP says who may see a property: `["ssn":protected]=>`.
        if b == b':' && outer == Some(b'[') {
            match seen_by(self.slice(after, limit), closed) {
                None => return self.more_after(at),
                Some(true) => return At(after),
                Some(false) => {}
            }
        }
        let name = self.slice(key.name.0, key.name.1);
        let compiled = self.rules.compiled();
        let hit = if compiled.has_paths {
            compiled.field_under(name, self.parent())
        } else {
            compiled.field(name)
        };
        let hit = hit.or_else(|| self.section_hit(&key));
        if hit.is_none()
            && let Some((key, hit)) = self.unusual(at, ends, floor.min(ends), Some(key))
        {
            return self.value(key, at, after, hit, limit, closed);
        }
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
                Paired::More => {
                    // Blanks before what is waited for may leave: a prompt ends with one.
                    let rest = self.slice(after, limit);
                    let blank = rest.iter().all(|b| *b == b' ');
                    return self.more_after(if blank { limit.saturating_sub(1) } else { at });
                }
                Paired::Value(hit) => hit,
            },
        };
        self.value(key, at, after, hit, limit, closed)
    }

    /// The field in an expression of SQL that is compared: `((ssn)::text`, `lower(ssn)`, before the
    /// sign at `at`.
    pub(super) fn expression(&self, at: usize) -> Option<Hit> {
        let floor = match self.frame {
            Frame::Row => self.row.cell,
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line_floor(at),
        };
        let floor = floor.max(at.saturating_sub(EXPRESSION_MAX)).min(at);
        let mut text = self.slice(floor, at).trim_ascii_end();
        let part = |b: &u8| crate::name::is_word(*b) || matches!(b, b'_' | b' ');
        let kind = text.iter().rev().take_while(|b| part(b)).count();
        let head = text.get(..text.len() - kind)?;
        let cast = head.strip_suffix(b"::").filter(|_| kind > 0);
        text = cast.unwrap_or(text);
        if text.last() != Some(&b')') {
            let name = text.iter().rev().take_while(|b| part(b)).count();
            let name = text.get(text.len() - name..)?;
            return cast.and_then(|_| self.rules.compiled().field(name));
        }
        let mut depth = 0;
        let open = text.iter().rposition(|b| {
            depth += match b {
                b')' => 1,
                b'(' => -1,
                _ => 0,
            };
            depth == 0
        })?;
        let name = |b: &u8| !crate::name::is_word(*b) && *b != b'_';
        let inside = text.get(open + 1..)?.split(name);
        let mut words = inside.filter(|word| !word.is_empty());
        words.find_map(|word| self.rules.compiled().field(word))
    }

    /// What an expression of SQL is compared with, from `after` on: a string, or a list of them.
    pub(super) fn compared(
        &mut self,
        key: Key,
        after: usize,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Flow {
        let rest = self.slice(after, limit);
        let v = after + rest.iter().take_while(|b| **b == b' ').count();
        let v = match self.any_of(v, limit, closed) {
            None => return self.more_after(v.saturating_sub(1)),
            Some(size) => v + size,
        };
        match self.byte(v).filter(|_| v < limit) {
            None if !closed => self.more_after(v - 1),
            Some(b'\'') => {
                let quote = Quote::plain(b'\'');
                self.quoted(key, v, quote, hit, limit, closed, false)
            }
            Some(b'[') if v > after + 4 => {
                self.inner = Inner::container(hit);
                At(v)
            }
            _ => At(after),
        }
    }

    /// `ssn <> '…'` of SQL, `ssn >= '…'`: `at` is the last sign.
    pub(super) fn unequal(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let last = at.checked_sub(1)?;
        let sign = match self.byte(last)? {
            b'<' | b'>' | b'!' => last,
            b' ' if self.is_condition(at) => at,
            _ => return None,
        };
        if self.byte(sign.checked_sub(1)?) != Some(b' ') {
            return None;
        }
        let hit = self.operand(sign)?;
        let key = Key {
            start: sign,
            name: (sign, sign),
            quote: None,
        };
        Some(self.compared(key, at + 1, hit, limit, closed))
    }

    /// The size of `ANY (` or `ANY (ARRAY` before a list; `None`: more is needed.
    fn any_of(&self, v: usize, limit: usize, closed: bool) -> Option<usize> {
        const LISTS: [&[u8]; 5] = [
            b"ANY (ARRAY[",
            b"ANY ('",
            b"ANY(ARRAY[",
            b"ANY('",
            b"ANY ((",
        ];
        let rest = self.slice(v, limit);
        let mut more = false;
        for list in LISTS {
            let near = rest.get(..list.len()).unwrap_or(rest);
            if near == list {
                return Some(list.len() - 1);
            }
            more |= near.len() < list.len() && list.starts_with(near);
        }
        (closed || !more || rest.is_empty()).then_some(0)
    }

    /// Whether a line that ends with the value at hand is text: it has not shown any separator of
    /// the table that it may be a row of.
    pub(super) fn is_text(&self) -> bool {
        let kind = self.table.as_ref().map(|table| table.kind);
        self.frame == Frame::Line
            || self.frame == Frame::Row
                && self.row.index == 0
                && matches!(kind, Some(Kind::Delimited { by, .. }) if by != 0)
    }

    /// A name, colons that fill a gap up to `after`, and a value.
    fn filled(&mut self, at: usize, after: usize, limit: usize, closed: bool) -> Flow {
        let floor = self.line_floor(at).max(if self.frame == Frame::Row {
            self.row.cell
        } else {
            0
        });
        let key = self
            .key(at, floor.min(at))
            .filter(|key| self.leads(key.start));
        let Some(key) = key else {
            return At(after);
        };
        match self
            .rules
            .compiled()
            .field(self.slice(key.name.0, key.name.1))
        {
            Some(hit) => self.value(key, at, after, hit, limit, closed),
            None => At(after),
        }
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
            if !matches!(
                b,
                b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\' | b']' | b'*' | b':' | b'>'
            ) {
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

    /// A protected name that is not written like others, before the separator at `at`: with the
    /// number of an element behind it (`ssn[0]`, `ssn[]`, `ssn.0`), behind an escape (`\r\nssn`),
    /// or with parameters (`SSN;TYPE=home:`, `ssn;lang-en:`).
    fn unusual(
        &self,
        at: usize,
        ends: usize,
        floor: usize,
        key: Option<Key>,
    ) -> Option<(Key, Hit)> {
        let compiled = self.rules.compiled();
        if compiled.fields.is_empty() {
            return None;
        }
        let field = |key: Key| {
            let name = self.slice(key.name.0, key.name.1);
            let hit = if compiled.has_paths {
                compiled.field_under(name, self.parent())
            } else {
                compiled.field(name)
            };
            hit.map(|hit| (key, hit))
        };
        if let Some(key) = key {
            let name = self.slice(key.name.0, key.name.1);
            let mut escapes = memchr::memrchr_iter(b'\\', name);
            let last = escapes.find(|i| matches!(name.get(i + 1), Some(b'n' | b'r' | b't')));
            if let Some(i) = last {
                let from = key.name.0 + i + 2;
                let name = (from, key.name.1);
                let found = field(Key {
                    start: from,
                    name,
                    ..key
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        let before = self.slice(floor, ends);
        if let Some(inner) = before.trim_ascii_end().strip_suffix("”".as_bytes())
            && let Some(open) = memchr::memmem::rfind(inner, "“".as_bytes())
        {
            let from = floor + open + "“".len();
            let name = (from, floor + inner.len());
            return field(Key {
                start: from,
                name,
                quote: None,
            });
        }
        if let Some(name) = without_element(before.trim_ascii_end()) {
            let found = value::key_before(self.text(), floor + name, floor).and_then(field);
            if found.is_some() {
                return found;
            }
        }
        if self.byte(at) == Some(b':')
            && let Some(name) = without_note(before.trim_ascii_end())
            && let Some(found) = value::key_before(self.text(), floor + name, floor).and_then(field)
            && self.leads(found.0.start)
        {
            return Some(found);
        }
        // `Your password is: …`
        if self.byte(at) == Some(b':')
            && let Some(name) = before.strip_suffix(IS)
            && let Some(found) =
                value::key_before(self.text(), floor + name.len(), floor).and_then(field)
        {
            return Some(found);
        }
        if self.byte(at) == Some(b':') && !self.line_cut && at - self.line.min(at) <= KEY_MAX {
            let from = self.line.max(floor);
            let size = parametrised(self.slice(from, at))?;
            return field(Key {
                start: from,
                name: (from, from + size),
                quote: None,
            });
        }
        None
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
        // A symbol of Ruby is a key with its colon.
        let colon = start.checked_sub(1).and_then(|i| self.byte(i)) == Some(b':');
        let start = start - usize::from(colon && start > self.line);
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
        if sep == b'=' && !arrow && spaced && key.quote.is_none() && key.name.1 == at {
            match self.is_left_empty(&key, v, limit, closed) {
                None => return self.more(v),
                Some(true) => return At(v),
                Some(false) => {}
            }
        }
        let property = key.start.checked_sub(1).and_then(|i| self.byte(i)) == Some(b'$')
            || self.byte(key.start) == Some(b'[');
        if arrow && self.is_text() && matches!(self.byte(v), Some(b'\n' | b'\r')) {
            // PHP's `["ssn"]=>` and xdebug's `'ssn' =>`, with the value in the next line.
            let typed = match key.quote {
                // A line that might have been a row ends before its newline.
                Some(_) if v >= limit => true,
                Some(_) if !property => match typed(self.slice(v, limit), closed) {
                    None => return self.more_after(v.saturating_sub(1)),
                    Some(typed) => typed,
                },
                _ => property,
            };
            if typed {
                self.block = Some(Block {
                    indent: 0,
                    kind: BlockKind::Dumped,
                    hit,
                    lines: 0,
                });
                return At(v);
            }
        }
        if v >= limit || matches!(self.byte(v), Some(b'\n' | b'\r')) {
            return self.value_below(
                key,
                after,
                v,
                hit,
                limit,
                closed,
                leads && !arrow && sep == b':' && !spaced && !self.is_code(&key),
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
            if key.quote.is_some() {
                match comment(self.slice(v, limit), closed) {
                    None => return self.more_after(limit.saturating_sub(1)),
                    Some(size) => v += size,
                }
                if v >= limit && !closed {
                    return self.more_after(v.saturating_sub(1));
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
                            lines: 0,
                        });
                        return At(v + head);
                    }
                    _ => {}
                }
            }
        }
        if !arrow && let Some(flow) = self.heredoc(v, hit, limit, closed) {
            return flow;
        }
        if arrow && let Some(flow) = self.printed(&key, v, hit, limit, closed) {
            return flow;
        }
        if sep == b'=' && arrow {
            if let Some(flow) = self.sized(v, hit, limit, closed) {
                return flow;
            }
            match self.skip_type(v, limit, closed) {
                None => return self.more(v),
                Some(after) => v = after,
            }
        }
        if sep == b':' && self.byte(v) == Some(b'<') {
            match tags(self.slice(v, limit), closed) {
                None => return self.more_after(v.saturating_sub(1)),
                Some((size, true)) => return self.labelled(v + size, hit, limit, closed),
                Some((size, false)) => v += size,
            }
        }
        if sep == b'=' && !arrow && key.quote.is_none() {
            match self.any_of(v, limit, closed) {
                None => return self.more(v),
                Some(0) => {}
                Some(_) => return self.compared(key, after, hit, limit, closed),
            }
        }
        match self.wrapper(v, limit, closed) {
            None => return self.more(v),
            Some(size) => v += size,
        }
        match self.named_body(&key, v, leads, limit, closed) {
            None => return self.more(v),
            Some(0) => {}
            Some(size) => {
                self.inner = Inner::container(hit);
                return At(v + size);
            }
        }
        if sep == b'=' {
            match told_kind(self.slice(v, limit), closed) {
                None => return self.more(v),
                Some(size) => v += size,
            }
        }
        // Types that a dump of Go writes before a value: `(string) (len=3) "abc"`.
        while self.byte(v) == Some(b'(') {
            match kind_before(self.slice(v, limit), closed) {
                None => return self.more(v),
                Some(0) => break,
                Some(size) => v += size,
            }
        }
        if self.byte(v) == Some(b'(')
            && let Some(flow) = self.listed_value(v, key.quote.is_some(), hit, limit, closed)
        {
            return flow;
        }
        match composite(self.slice(v, limit), closed) {
            None => return self.more(v),
            Some(0) => {}
            // Go's `[]string{…}` and `map[a:b]`.
            Some(size) => {
                self.inner = Inner::Container {
                    hit,
                    depth: 0,
                    slashes: key.quote.map_or(0, |q| q.slashes),
                    doubled: false,
                    string: self.in_string(&key, v),
                };
                return At(v + size);
            }
        }
        let prefix = match (self.byte(v), self.byte(v + 1)) {
            (Some(b'b' | b'u' | b'r' | b'f' | b'N' | b'E' | b'$'), Some(b'"' | b'\'')) => 1,
            // A binary of Erlang.
            (Some(b'<'), Some(b'<')) if self.byte(v + 2) == Some(b'"') => 2,
            (Some(b'<'), next)
                if sep == b'=' && next.is_none_or(|b| b == b'<') && v + 2 >= limit =>
            {
                if !closed {
                    return self.more(v);
                }
                0
            }
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
                match self.closes_string(&key, v + prefix, quote, limit, closed) {
                    None => return self.more(v),
                    Some(true) if prefix == 0 => return At(v + quote.len()),
                    // A word that ends with it.
                    Some(true) => {}
                    Some(false) => {
                        let yaml = leads && sep == b':';
                        return self.quoted(key, v + prefix, quote, hit, limit, closed, yaml);
                    }
                }
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
                string: self.in_string(&key, v),
            };
            return At(v);
        }
        self.bare(key, at, after, v, hit, limit, closed, leads)
    }

    /// Whether a field of logfmt has no value: another one stands behind it after a space, and one
    /// before it (`user=ada password= city=Lund`). `None`: more is needed.
    fn is_left_empty(&self, key: &Key, v: usize, limit: usize, closed: bool) -> Option<bool> {
        let line = self.slice(self.line_floor(key.start), key.name.1);
        let mut words = line.rsplit(|b| *b == b' ').skip(1);
        let before = words.next().unwrap_or_default();
        let field = before.contains(&b'=') || matches!(before, [.., _, b'"']);
        if !field || v != key.name.1 + 2 {
            return Some(false);
        }
        let size = value::next_key(self.slice(0, limit), v, closed)?;
        let sign = v + size;
        if size == 0 || self.byte(sign) != Some(b'=') {
            return Some(false);
        }
        match self.slice(sign + 1, limit).first() {
            None if !closed => None,
            next => Some(next.is_some_and(|b| *b != b'=')),
        }
    }

    /// Whether a quote behind a key ends the string that the key stands in: `["Enter ssn: ", "a"]`,
    /// `"{\"ssn\":", "a"`. `None`: more is needed.
    pub(super) fn closes_string(
        &self,
        key: &Key,
        v: usize,
        quote: Quote,
        limit: usize,
        closed: bool,
    ) -> Option<bool> {
        if quote.tripled || quote.doubled {
            return Some(false);
        }
        // Backslashes in pairs stand for themselves.
        let even = quote.slashes > 0 && quote.slashes.is_multiple_of(2);
        let open = match key.quote {
            Some(inner) if inner.mark == quote.mark => even || inner.slashes > quote.slashes,
            // Its quotes may be two apostrophes far apart.
            Some(_) if quote.slashes > 0 => false,
            None if quote.slashes > 0 && !even => self.inside_escaped(v, quote),
            Some(_) | None => self
                .string_at(v)
                .is_some_and(|outer| outer.mark == quote.mark && outer.slashes == 0),
        };
        if !open {
            return Some(false);
        }
        self.closer(v + quote.len(), limit, closed)
    }

    /// Whether a bare key, whose value begins at `v`, stands in a string.
    fn in_string(&self, key: &Key, v: usize) -> bool {
        let outer = || self.string_at(v).filter(|outer| outer.mark == b'"');
        key.quote.is_none() && outer().is_some_and(|outer| outer.slashes == 0)
    }

    /// Whether what stands at `at` may follow a string of JSON. `None`: more is needed.
    pub(super) fn closer(&self, at: usize, limit: usize, closed: bool) -> Option<bool> {
        let rest = self.slice(at, limit);
        let rest = rest.get(..SPACES_MAX).unwrap_or(rest);
        match rest.iter().find(|b| !matches!(b, b' ' | b'\t')) {
            None if !closed && rest.len() < SPACES_MAX => None,
            next => Some(matches!(
                next,
                None | Some(b',' | b']' | b'}' | b':' | b'\n' | b'\r')
            )),
        }
    }

    /// Whether quotes with as many backslashes as `quote` leave one open before `at` on this line.
    fn inside_escaped(&self, at: usize, quote: Quote) -> bool {
        let from = self.line.max(at.saturating_sub(LOOK_BACK));
        let (mut open, mut slashes) = (false, 0);
        for b in self.slice(from, at) {
            match *b {
                b'\\' => slashes += 1,
                b if b == quote.mark && slashes == quote.slashes => (open, slashes) = (!open, 0),
                _ => slashes = 0,
            }
        }
        open
    }

    /// Whether a line that ends with a colon is one of a program: `if not password:`.
    fn is_code(&self, key: &Key) -> bool {
        const WORDS: [&[u8]; 10] = [
            b"if ",
            b"elif ",
            b"while ",
            b"for ",
            b"with ",
            b"except ",
            b"case ",
            b"class ",
            b"else if ",
            b"def ",
        ];
        let name = self.slice(key.name.0, key.name.1);
        WORDS.iter().any(|word| name.starts_with(word))
    }

    /// How much stands before the brace of a value that has its type before it, as Rust, C# and
    /// Swift print one: `Secret { inner: "…" }`; 0 if it is none. `None`: more is needed.
    fn named_body(
        &self,
        key: &Key,
        v: usize,
        leads: bool,
        limit: usize,
        closed: bool,
    ) -> Option<usize> {
        let rest = self.slice(v, limit);
        let part = |b: &&u8| crate::name::is_word(**b) || matches!(b, b'_' | b'.' | b':');
        let word = rest.iter().take(NAMED_MAX).take_while(part).count();
        if !rest.first().is_some_and(u8::is_ascii_uppercase) || word == NAMED_MAX {
            return Some(0);
        }
        match (rest.get(word), rest.get(word + 1), rest.get(word + 2)) {
            (None, ..) | (Some(b' '), None, _) | (Some(b' '), Some(b'{'), None) if !closed => None,
            (Some(b' '), Some(b'{'), next) => {
                let ends = matches!(next, Some(b'\n' | b'\r'));
                let opens = ends && leads || !ends && self.opened(key.start).is_some();
                Some(if opens { word + 1 } else { 0 })
            }
            _ => Some(0),
        }
    }

    /// A string behind what says its type, or behind a word: `Just "…"`, `<<"…">>`, `~c"…"`,
    /// `Password(Inner("…"))`, `0x55d0 "…"`. What stands before it, from `v` to `end`, is part of
    /// the value unless it says a type.
    fn typed_string(
        &mut self,
        key: Key,
        (v, end): (usize, usize),
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        if key.quote.is_some_and(|q| q.slashes > 0 || q.doubled) {
            return None;
        }
        let rest = self.slice(end, limit);
        let j = end
            + rest
                .iter()
                .take_while(|b| matches!(b, b' ' | b'\t'))
                .count();
        if j >= limit && !closed {
            return Some(self.more(v));
        }
        if self.byte(j) != Some(b'"') || j >= limit || self.quote_around(key.start).is_some() {
            return None;
        }
        let text = self.slice(0, limit);
        let Some(quote) = value::opening(text, j, closed) else {
            return Some(self.more(v));
        };
        let quote = quote?;
        let content = j + quote.len();
        if let End::Open(_) = value::quoted_end(text, content, content, quote, closed)
            && limit - content <= VALUE_MAX
        {
            return Some(self.more(v));
        }
        if !says_type(self.slice(v, end)) {
            self.mask(v, end, hit, Place::Inside, "key-value");
        }
        Some(self.quoted(key, j, quote, hit, limit, closed, false))
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

    /// Where the value begins behind its type, as PHP writes it: `string(11) "…"`. `None`: more is
    /// needed.
    fn skip_type(&self, v: usize, limit: usize, closed: bool) -> Option<usize> {
        let rest = self.slice(v, limit);
        let near = rest.get(..TYPE_MAX).unwrap_or(rest);
        let open = !closed && rest.len() < TYPE_MAX;
        let word = near.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        match near.get(word) {
            None if open => return None,
            Some(b'(') if word > 0 => {}
            _ => return Some(v),
        }
        match memchr::memchr2(b')', b'\n', near) {
            None if open => None,
            Some(end) if near.get(end) == Some(&b')') => match rest.get(end + 1) {
                None if !closed => None,
                Some(b' ') => Some(v + end + 2),
                _ => Some(v),
            },
            _ => Some(v),
        }
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
        // A line that might have been a row ends before its newline.
        let row = self.frame == Frame::Row && self.byte(limit) == Some(b'\n') && self.is_text();
        // Bars may separate cells, or begin a text of YAML.
        let bar = self.byte(limit) == Some(b'|') && self.is_text() && self.frame == Frame::Row;
        if v >= limit && bar && key.quote.is_none() {
            match self.byte(limit + 1) {
                None if !self.row.few => return self.more_after(v.saturating_sub(1)),
                Some(b'\n' | b'\r') => {
                    let indent = self.indent_of(key.start);
                    self.block = Some(Block {
                        indent,
                        kind: BlockKind::Literal,
                        hit,
                        lines: 0,
                    });
                }
                _ => {}
            }
        }
        if v >= limit && !row {
            return At(limit.max(after));
        }
        let leads_line = self.leads(key.start);
        if key.quote.is_some() && self.is_text() && v < limit {
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
                Some(b'[') if dumped::number(rest.get(spaces..).unwrap_or_default()) != Some(0) => {
                    // A slot of R: `[1] "…"`.
                    let line = rest.get(spaces..).unwrap_or_default();
                    if dumped::number(line).is_none() && !closed && line.len() < TYPE_MAX {
                        return self.more(v + spaces);
                    }
                    self.block = Some(Block {
                        indent: 0,
                        kind: BlockKind::Vector,
                        hit,
                        lines: 0,
                    });
                    return At(v);
                }
                Some(b'"' | b'{' | b'[') => {
                    let start = v + spaces;
                    let next = rest.get(spaces..).unwrap_or_default();
                    match is_member(next, closed) {
                        None => return self.more(start),
                        // A map of YAML.
                        Some(true) if leads_line => {
                            self.block = Some(Block {
                                indent: self.indent_of(key.start),
                                kind: BlockKind::Map,
                                hit,
                                lines: 0,
                            });
                            return At(v);
                        }
                        Some(_) => {}
                    }
                    return match self.byte(start) {
                        Some(b'"') => {
                            let quote = Quote::plain(b'"');
                            self.quoted(key, start, quote, hit, limit, closed, false)
                        }
                        _ => {
                            self.inner = Inner::container(hit);
                            At(start)
                        }
                    };
                }
                Some(b'-' | b'0'..=b'9') => {
                    let start = v + spaces;
                    // An item of YAML's list is no number.
                    match rest.get(spaces + 1) {
                        None if !closed => return self.more(start),
                        Some(b' ' | b'-' | b'\n' | b'\r') if self.byte(start) == Some(b'-') => {}
                        _ => return self.number_below(start, hit, limit, closed),
                    }
                }
                _ => {}
            }
        }
        if (block || key.quote.is_some()) && self.is_text() {
            let indent = self.indent_of(key.start);
            self.block = Some(Block {
                indent,
                kind: BlockKind::Map,
                hit,
                lines: 0,
            });
        }
        At(v)
    }

    /// A number of JSON in a line below its key.
    fn number_below(&mut self, start: usize, hit: Hit, limit: usize, closed: bool) -> Flow {
        let end = match value::bare_end(self.slice(0, limit), start, Style::Json, closed) {
            Some(end) => end,
            None if limit - start <= VALUE_MAX => return self.more(start),
            None => {
                self.mask(start, limit, hit, Place::Inside, "json");
                self.swallow_until(Until::Bare);
                return At(limit);
            }
        };
        self.mask(start, end, hit, Place::Literal, "json");
        At(end)
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
        let mut end = value::quoted_end(self.slice(0, limit), content, from, quote, closed);
        // A string that it stands in may end before.
        let escaped = key.quote.is_some_and(|key| key.slashes > 0);
        let in_string = || {
            let outer = self.string_at(start).filter(|_| escaped);
            outer.is_some_and(|outer| outer.mark == b'"' && outer.slashes == 0)
        };
        if matches!(quote.mark, b'\'' | b'`') && (self.in_string(&key, start) || in_string()) {
            let outer = Outer {
                at: start,
                mark: b'"',
                slashes: 0,
            };
            let (End::Quote(upto) | End::Line(upto) | End::Open(upto)) = end;
            if let Some(close) = self.quote_closes(outer, content, upto) {
                match self.closer(close + 1, limit, closed) {
                    None => return self.more(start),
                    Some(true) => end = End::Quote(close),
                    Some(false) => {}
                }
            }
        }
        match end {
            End::Quote(end) => {
                self.seen = None;
                if !value::is_nothing(self.slice(content, end)) {
                    self.mask(content, end, hit, Place::Inside, "key-value");
                }
                self.changed = Some((end + quote.len(), hit));
                if let Some(flow) = self.word_goes_on(&key, (start, end), quote, hit, limit, closed)
                {
                    return flow;
                }
                self.may_join(&key, quote, end + quote.len(), hit);
                At(end.max(content) + usize::from(end == content && quote.tripled))
            }
            End::Line(end) => {
                self.seen = None;
                let indent = self.indent_of(key.start);
                self.mask(content, end, hit, Place::Inside, "key-value");
                // Strings of Go and those of PHP's `var_export` have lines.
                let before = self.slice(start.saturating_sub(4), start).trim_ascii_end();
                let text = quote.mark == b'`' || quote.mark == b'\'' && before.ends_with(b"=>");
                if text && quote.slashes == 0 && self.is_text() {
                    self.swallow_until(Until::Text(quote));
                    return At(end);
                }
                let sets = key.quote.is_none()
                    && quote.len() == 1
                    && start.checked_sub(1).and_then(|i| self.byte(i)) == Some(b'=')
                    && self.leads(key.start);
                if (yaml || sets) && self.is_text() {
                    self.block = Some(Block {
                        indent,
                        kind: match quote.slashes {
                            _ if !yaml => BlockKind::Open(quote.mark),
                            0 => BlockKind::Quoted(quote.mark),
                            _ => BlockKind::Continued,
                        },
                        hit,
                        lines: 0,
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

    /// What a shell adds to a string that an assignment begins with: `password='a'"b"`. The string
    /// begins at `start` and ends before `end`, and is masked.
    fn word_goes_on(
        &mut self,
        key: &Key,
        (start, end): (usize, usize),
        quote: Quote,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let plain = quote.len() == 1 && quote.mark != b'`' && key.quote.is_none();
        let assigns = start == key.name.1 + 1 && self.byte(key.name.1) == Some(b'=');
        if !plain || !assigns || self.opened(key.start).is_some() || end < start + 1 {
            return None;
        }
        let from = end + 1;
        let rest = self.slice(from, limit);
        match rest.first() {
            None if !closed => return Some(self.more_after(end)),
            Some(b'"' | b'\'' | b'\\' | b'$') => {}
            _ => return None,
        }
        if self.string_at(key.start).is_some() {
            return None;
        }
        let (mut open, mut escaped) = (None, false);
        let ends = |b: &u8| {
            matches!(
                b,
                b' ' | b'\t' | b'\r' | b';' | b'&' | b'|' | b')' | b'<' | b'>' | b','
            )
        };
        let size = rest.iter().position(|b| {
            match (open, *b) {
                _ if escaped => escaped = false,
                (_, b'\n') => return true,
                (None | Some(b'"'), b'\\') => escaped = true,
                (None, b'"' | b'\'') => open = Some(*b),
                (Some(mark), b) if b == mark => open = None,
                (None, _) if ends(b) => return true,
                _ => {}
            }
            false
        });
        let Some(size) = size.or(closed.then_some(rest.len())) else {
            if rest.len() > VALUE_MAX {
                self.mask(from, limit, hit, Place::Inside, "key-value");
                self.swallow_until(Until::Line);
                return Some(At(limit));
            }
            return Some(self.more_after(end));
        };
        self.mask_part(from, from + size, hit, Place::Word, "key-value");
        Some(At(from + size))
    }

    /// A value between the quotes of a book, which begin at `v`: `“…”`, `«…»`. `None`: it is in none.
    fn in_fine_quotes(&mut self, v: usize, hit: Hit, limit: usize, closed: bool) -> Option<Flow> {
        const QUOTES: [(&str, &[&str]); 7] = [
            ("“", &["”"]),
            ("„", &["“", "”"]),
            ("”", &["”"]),
            ("‘", &["’"]),
            ("‚", &["‘", "’"]),
            ("«", &["»"]),
            ("「", &["」"]),
        ];
        let rest = self.slice(v, limit);
        let begins = |open: &str| !rest.is_empty() && open.as_bytes().starts_with(rest);
        if !closed && QUOTES.iter().any(|(open, _)| begins(open)) {
            return Some(self.more(v));
        }
        let (open, ends) = QUOTES
            .iter()
            .find(|(open, _)| rest.starts_with(open.as_bytes()))?;
        let text = rest.get(open.len()..).unwrap_or_default();
        let text = text.get(..VALUE_MAX).unwrap_or(text);
        let line = memchr::memchr(b'\n', text);
        let text = text.get(..line.unwrap_or(text.len())).unwrap_or_default();
        let end = ends
            .iter()
            .filter_map(|end| memchr::memmem::find(text, end.as_bytes()))
            .min();
        let Some(size) = end else {
            let waits = line.is_none() && !closed && text.len() < VALUE_MAX;
            return waits.then(|| self.more(v));
        };
        let from = v + open.len();
        self.mask(from, from + size, hit, Place::Inside, "key-value");
        Some(At(from + size))
    }

    /// A name and a full-width colon at `at`.
    pub(super) fn wide_colon(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        const COLON: &[u8] = "：".as_bytes();
        let rest = self.slice(at, limit);
        if !rest.starts_with(COLON) {
            let more = !closed && COLON.starts_with(rest);
            return if more { self.more(at) } else { At(at + 1) };
        }
        let floor = match self.frame {
            Frame::Row => self.row.cell,
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line,
        };
        let after = at + COLON.len();
        let key = self.key(at, floor.min(at));
        let hit = key.and_then(|key| {
            let name = self.slice(key.name.0, key.name.1);
            self.rules.compiled().field(name)
        });
        match key.zip(hit) {
            Some((key, hit)) => self.value(key, at, after, hit, limit, closed),
            None => At(after),
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
        let bracket = self.opened(key.start);
        let nested = bracket.is_some();
        if let Some(flow) = self.in_fine_quotes(v, hit, limit, closed) {
            return flow;
        }
        let mut v = v;
        let tabbed = key.start > 0 && self.byte(key.start - 1) == Some(b'\t');
        let style = if key.quote.is_some() {
            Style::Json
        } else if nested {
            if colon && spaced || arrow {
                Style::Json
            } else if bracket.is_some_and(|at| self.has_fields(at)) {
                Style::Fields
            } else {
                Style::Word { nested }
            }
        } else if leads && (colon || arrow) {
            Style::Line
        } else if (leads || tabbed && !colon) && self.frame != Frame::Row {
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
        // Inside of quotes that were opened before the key, the value ends with them. Where they
        // begin with the key (`"KEY=some value"`) it ends nowhere else.
        let outer = self.quote_around(key.start).filter(|_| key.quote.is_none());
        if let Some(quote) = outer {
            let whole = quote.at + 1 == key.start && !colon && !spaced && !schemed;
            let until = if whole { limit } else { end.unwrap_or(limit) };
            match self.quote_closes(quote, v, until) {
                // Before it the next key may begin.
                Some(close) if !whole => {
                    let before = value::bare_end(self.slice(0, close), v, style, true);
                    end = before.or(Some(close));
                }
                Some(close) => end = Some(close),
                None if whole
                    && !closed
                    && limit - v <= VALUE_MAX
                    && memchr::memchr(b'\n', self.slice(v, limit)).is_none() =>
                {
                    return self.more(v);
                }
                None => {}
            }
        }
        let alone = style == Style::Word { nested: false } && outer.is_none() && self.is_text();
        if alone && let Some(before) = end {
            end = self.signs_end(key.start, v, before, limit, closed);
        }
        let Some(end) = end else {
            if limit - v > VALUE_MAX {
                self.mask(v, limit, hit, Place::Inside, "key-value");
                let until = match style {
                    Style::Line | Style::Assignment => Until::Line,
                    Style::Json | Style::Word { .. } | Style::Fields => Until::Bare,
                };
                self.swallow_until(until);
                return At(limit);
            }
            return self.more(v);
        };
        // What is bound to a parameter is told elsewhere: `"ssn" = $1 LIMIT $2`.
        let end = match self.byte(at) {
            Some(b'=') => end.min(v + numbered_parameter(self.slice(v, limit)).unwrap_or(end - v)),
            _ => end,
        };
        let assigns =
            !colon && !spaced && !arrow && (style == Style::Assignment || outer.is_some());
        let end = if assigns {
            self.assigned(&key, v, end)
        } else {
            end
        };
        let Some(end) = self.grouped_end(v, end, limit, closed) else {
            return self.more(v);
        };
        let address = !colon && self.slice(v, end).starts_with(b"0x");
        if (matches!(style, Style::Json | Style::Fields) || address)
            && let Some(flow) = self.typed_string(key, (v, end), hit, limit, closed)
        {
            return flow;
        }
        // A backslash at the end of a line says that the value goes on in the next one.
        let lasts = matches!(self.byte(end), Some(b'\n' | b'\r'))
            && matches!(style, Style::Line | Style::Assignment);
        let whole = self.slice(v, end);
        let escaped = lasts && whole.last() == Some(&b'\\') && self.is_text();
        let end = match whole.strip_suffix(b"\\") {
            Some(rest) if escaped => v + rest.trim_ascii_end().len(),
            _ => end,
        };
        self.changed = Some((end, hit));
        if self.byte(at) == Some(b'=') && self.parameter(v, end, hit) {
            return At(end.max(after));
        }
        let kept = self.slice(v, end);
        if kept == b"<" && colon && leads && lasts && self.is_text() {
            // The members of an object of protobuf follow.
            let indent = self.indent_of(key.start);
            self.block = Some(Block {
                indent,
                kind: BlockKind::Map,
                hit,
                lines: 0,
            });
            return At(end);
        }
        if !value::is_nothing(kept)
            && !kept.iter().all(|b| *b == b'*')
            && !self.is_placeholder(&key, kept)
        {
            let place = match style {
                Style::Json => match key.quote {
                    Some(q) if q.doubled => Place::Doubled,
                    Some(q) if q.slashes == 1 => Place::Escaped,
                    Some(q) if q.slashes > 1 => Place::Word,
                    _ => Place::Literal,
                },
                Style::Line => Place::Word,
                Style::Assignment if spaced => Place::Literal,
                Style::Assignment | Style::Word { .. } | Style::Fields => Place::Word,
            };
            let place = if outer.is_some() {
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
            if escaped || lasts && style == Style::Assignment && spaced && self.is_text() {
                self.block = Some(Block {
                    indent,
                    kind: if escaped {
                        BlockKind::Escaped
                    } else {
                        BlockKind::Indented
                    },
                    hit,
                    lines: 0,
                });
            } else if style == Style::Line
                && colon
                && self.is_text()
                && matches!(self.byte(end), None | Some(b'\n' | b'\r'))
            {
                self.block = Some(Block {
                    indent,
                    kind: BlockKind::Continued,
                    hit,
                    lines: 0,
                });
            }
        }
        At(end.max(after))
    }

    /// Where a word outside of quotes ends that `end` may be within: a quote or a backslash belongs to
    /// it where a letter or digit follows, as passwords have any sign. `None`: more is needed.
    fn signs_end(
        &self,
        key: usize,
        v: usize,
        mut end: usize,
        limit: usize,
        closed: bool,
    ) -> Option<usize> {
        let before = self.slice(self.line_of(key).max(key.saturating_sub(LOOK_BACK)), key);
        let code = memchr::memchr(b'`', before).is_some();
        let sign = |b: &u8| matches!(b, b'"' | b'\'' | b'\\') || *b == b'`' && !code;
        loop {
            let rest = self.slice(end, limit);
            let signs = rest.iter().take(SIGNS_MAX).take_while(|b| sign(b)).count();
            let Some(last) = signs.checked_sub(1).and_then(|last| rest.get(last)) else {
                break;
            };
            let next = match rest.get(signs) {
                None if !closed => return None,
                next => next.copied().unwrap_or(b' '),
            };
            // An end of line or a tab, as programs write them.
            let escape = *last == b'\\' && matches!(next, b'n' | b'r' | b't');
            if escape || !crate::name::is_word(next) {
                break;
            }
            let style = Style::Word { nested: false };
            end = value::bare_end(self.slice(0, limit), end + signs, style, closed)?;
        }
        // One of its own may be closed there.
        let closes = |mark: &u8| {
            let marks = self.slice(v, end).iter().filter(|b| *b == mark);
            matches!(mark, b'"' | b'\'') && marks.count() % 2 == 1
        };
        let closed = self.byte(end).as_ref().is_some_and(closes);
        Some(end + usize::from(closed))
    }

    /// Where a value behind `=` ends that goes on up to `end` otherwise: before the next field of a
    /// form (`ssn=…&city=Lund`), or before what a text of help says about an option.
    fn assigned(&self, key: &Key, v: usize, end: usize) -> usize {
        let value = self.slice(v, end);
        if self.slice(key.start.saturating_sub(2), key.start) == b"--"
            && let Some(size) = memchr::memmem::find(value, b"  ").filter(|size| *size > 0)
        {
            return v + size;
        }
        let name = self.slice(key.name.0, key.name.1);
        // Variables of a shell have other names, and values with anything in them.
        if !name.iter().any(u8::is_ascii_lowercase) {
            return end;
        }
        let mut parts = value.split(|b| *b == b'&');
        let first = parts.next().map_or(0, <[u8]>::len);
        let part = |b: &u8| {
            crate::name::is_word(*b)
                || matches!(
                    b,
                    b'_' | b'-' | b'.' | b'~' | b'%' | b'+' | b'*' | b'[' | b']' | b'#' | b'/'
                )
        };
        let field = |field: &[u8]| {
            let mut sides = field.splitn(2, |b| *b == b'=');
            let name = sides.next().unwrap_or_default();
            !name.is_empty()
                && name.iter().all(part)
                && sides.next().is_some_and(|value| value.iter().all(part))
        };
        let encoded = |b: &u8| part(b) || matches!(b, b'@' | b':' | b',' | b'!' | b'$');
        let form = value
            .get(..first)
            .is_some_and(|value| value.iter().all(encoded));
        if first < value.len() && form && parts.all(field) {
            v + first
        } else {
            end
        }
    }

    /// Whether a text of help says a name for the value of an option: `--ssn=SSN`.
    fn is_placeholder(&self, key: &Key, value: &[u8]) -> bool {
        let upper = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'_' | b'-');
        self.slice(key.start.saturating_sub(2), key.start) == b"--"
            && value.iter().all(upper)
            && Words::of(self.slice(key.name.0, key.name.1)).ends_with(Words::of(value).joined())
    }

    /// The bracket before `at` on this line that is still open.
    pub(super) fn opened(&self, at: usize) -> Option<usize> {
        let mut depth = 0i32;
        let from = self.line.max(at.saturating_sub(LOOK_BACK));
        for (k, b) in self.slice(from, at).iter().enumerate().rev() {
            match b {
                b'{' | b'[' | b'(' => depth += 1,
                b'}' | b']' | b')' => depth -= 1,
                _ => {}
            }
            if depth > 0 {
                return Some(from + k);
            }
        }
        None
    }

    /// Whether what this bracket opens has names, and values of several words: `{Name:Ada B.}`,
    /// `map[name:Ada B.]`.
    fn has_fields(&self, at: usize) -> bool {
        match self.byte(at) {
            Some(b'{') => true,
            // A type before it: `map[…]`, `User(…)`, `User[…]`.
            Some(b'[' | b'(') => at
                .checked_sub(1)
                .and_then(|i| self.byte(i))
                .is_some_and(crate::name::is_word),
            _ => false,
        }
    }

    /// A list of Python in brackets, `('a', 'b')`: all of it is the value.
    fn listed_value(
        &mut self,
        v: usize,
        numbers: bool,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let rest = self.slice(v, limit);
        match rest.get(1) {
            None if !closed => return Some(self.more(v)),
            Some(b'"' | b'\'') => {}
            Some(b'0'..=b'9') if numbers => {}
            _ => return None,
        }
        // A string that it stands in may end before.
        let close = match self.string_closes(v, limit, closed) {
            None if rest.len() <= VALUE_MAX => return Some(self.more(v)),
            close => close.flatten(),
        };
        if close == Some(v + 1) {
            return None;
        }
        let limit = close.unwrap_or(limit);
        let closed = closed || close.is_some();
        let rest = self.slice(v, limit);
        let mut open: Option<u8> = None;
        let mut last = b'(';
        let end = rest.iter().skip(1).position(|b| {
            let ends = match (open, *b) {
                (_, b'\n') => true,
                (None, b')') => true,
                (None, mark @ (b'"' | b'\'')) => {
                    open = Some(mark);
                    false
                }
                (Some(mark), b) if b == mark && last != b'\\' => {
                    open = None;
                    false
                }
                _ => false,
            };
            last = *b;
            ends
        });
        let Some(size) = end.or(closed.then_some(rest.len() - 1)) else {
            return (rest.len() <= VALUE_MAX).then(|| self.more(v));
        };
        // A number in brackets is no list: `(415) 555-2671`.
        let list = rest.get(1..=size).unwrap_or_default();
        if list.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.mask(v + 1, v + 1 + size, hit, Place::Inside, "key-value");
        Some(At(v + 1 + size))
    }

    /// A member as PHP serializes it, `s:3:"ssn";s:5:"value";`: `at` is the last colon before its
    /// value.
    fn serialized(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let before = self.slice(self.line_floor(at).max(at.saturating_sub(LOOK_BACK)), at);
        let digits = before
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let (head, size) = before.split_at(before.len() - digits);
        let head = head
            .strip_suffix(b":")
            .filter(|_| digits > 0)
            .unwrap_or(head);
        let (kind, head) = head.split_last()?;
        let name = head.strip_suffix(b"\";")?;
        let open = memchr::memrchr(b'"', name)?;
        let name = match name.split_at_checked(open) {
            Some((before, name)) if before.last() == Some(&b':') => name.get(1..)?,
            _ => return None,
        };
        let hit = self.rules.compiled().field(name)?;
        let size = std::str::from_utf8(size).ok()?.parse::<usize>().ok();
        let rest = self.slice(at + 1, limit);
        match (kind, size) {
            (b'a', Some(_)) => {
                self.inner = Inner::container(hit);
                Some(At(at + 1))
            }
            (b's', Some(size)) => {
                // What is printed may have more or fewer bytes than what was counted.
                let value = rest.get(1..).unwrap_or_default();
                let tail = value.get(size..).unwrap_or_default();
                let end = memchr::memmem::find(tail, b"\";").map(|i| size + i);
                let Some(end) = end.or(closed.then_some(value.len())) else {
                    if rest.len() > VALUE_MAX {
                        self.mask(at + 2, limit, hit, Place::Inside, "key-value");
                        self.swallow_until(Until::Bare);
                        return Some(At(limit));
                    }
                    return Some(self.more_after(at));
                };
                let from = (at + 2).min(limit);
                self.mask(
                    from,
                    (from + end).min(limit),
                    hit,
                    Place::Inside,
                    "key-value",
                );
                Some(At((from + end).min(limit).max(at + 1)))
            }
            (b'i' | b'd' | b'b', None) => {
                let end = memchr::memchr2(b';', b'\n', rest).or(closed.then_some(rest.len()));
                let Some(end) = end else {
                    return (rest.len() <= VALUE_MAX).then(|| self.more_after(at));
                };
                self.mask(at + 1, at + 1 + end, hit, Place::Inside, "key-value");
                Some(At(at + 1 + end))
            }
            _ => None,
        }
    }

    /// A string of several lines as PHP dumps it, whose size stands before it: `v` is its type.
    fn sized(&mut self, v: usize, hit: Hit, limit: usize, closed: bool) -> Option<Flow> {
        let rest = self.slice(v, limit);
        let (content, size) = dumped::sized(rest)?;
        let text = rest.get(content..).unwrap_or_default();
        let whole = text.len() > size;
        let text = text.get(..size).unwrap_or(text);
        let Some(line) = memchr::memchr(b'\n', text) else {
            let waits = !whole && !closed && text.len() <= VALUE_MAX;
            return waits.then(|| self.more(v));
        };
        let (from, to) = (v + content, v + content + line);
        // What is too long is cut by who prints it.
        if self.slice(from, to).trim_ascii_end().ends_with(b"\"...") {
            return None;
        }
        self.mask(from, to, hit, Place::Inside, "key-value");
        self.swallow_until(Until::Dumped(size - line));
        Some(At(to))
    }

    /// A member as PHP's `print_r` writes it, alone on its line: `    [ssn] => …`. It quotes
    /// nothing, so that a value goes on in the next lines up to another member.
    fn printed(
        &mut self,
        key: &Key,
        v: usize,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let indent = key.start.saturating_sub(self.line);
        let before = self.slice(self.line, key.start);
        if self.line_cut
            || !(4..=256).contains(&indent)
            || !before.iter().all(|b| *b == b' ')
            || self.byte(key.start) != Some(b'[')
            || matches!(self.byte(key.start + 1), Some(b'"' | b'\''))
        {
            return None;
        }
        let rest = self.slice(v, limit);
        if !self.is_text() {
            let waits = self.may_be_text() && !closed && rest.len() <= VALUE_MAX;
            return waits.then(|| self.more(v));
        }
        let Some(line) = memchr::memchr(b'\n', rest).or(closed.then_some(rest.len())) else {
            return (rest.len() <= VALUE_MAX).then(|| self.more(v));
        };
        let value = rest.get(..line).unwrap_or_default().trim_ascii_end();
        let nested = value == b"Array" || value.ends_with(b" Object");
        let size = value.len();
        let nothing = value::is_nothing(value);
        if !nested && !nothing {
            self.mask(v, v + size, hit, Place::Word, "key-value");
        }
        self.block = Some(Block {
            indent,
            kind: if nested {
                BlockKind::Literal
            } else {
                BlockKind::Printed
            },
            hit,
            lines: 0,
        });
        Some(At(v + size))
    }

    /// A text up to a line that is the word behind `<<`, as Terraform and shells write it, also what
    /// a command prints: `$(cat <<EOT`.
    fn heredoc(&mut self, v: usize, hit: Hit, limit: usize, closed: bool) -> Option<Flow> {
        const COMMANDS: [&[u8]; 4] = [b"$(cat ", b"\"$(cat ", b"`cat ", b"\"`cat "];
        let rest = self.slice(v, limit);
        let command = COMMANDS.iter().find(|command| rest.starts_with(command));
        let begins = |command: &&[u8]| command.starts_with(rest);
        if command.is_none() && !closed && COMMANDS.iter().any(begins) {
            return Some(self.more(v));
        }
        let skip = command.map_or(0, |command| command.len());
        let rest = rest.get(skip..).unwrap_or_default();
        let text = rest.strip_prefix(b"<<").or_else(|| {
            let begins = b"<<".starts_with(rest) && !closed && (skip > 0 || !rest.is_empty());
            begins.then_some(&[][..])
        })?;
        let near = text.get(..HEREDOC_MAX).unwrap_or(text);
        let Some(line) = memchr::memchr2(b'\n', b'\r', near) else {
            return (text.len() < HEREDOC_MAX && !closed).then(|| self.more(v));
        };
        let word = near.get(..line).unwrap_or_default();
        let word = word
            .strip_prefix(b"-")
            .or(word.strip_prefix(b"~"))
            .unwrap_or(word)
            .trim_ascii_start();
        // Something else may stand behind it: a comment, a file, a bracket.
        let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b')' | b';' | b'|' | b'>');
        let size = word.iter().position(ends).unwrap_or(word.len());
        let word = super::sql::column(word.get(..size).unwrap_or_default());
        let name = |b: &u8| crate::name::is_word(*b) || *b == b'_';
        if word.is_empty() || !word.iter().all(name) || !self.is_text() {
            return None;
        }
        let kind = BlockKind::Heredoc(yaml::mark(word));
        self.block = Some(Block {
            indent: 0,
            kind,
            hit,
            lines: 0,
        });
        Some(At(v + skip + 2 + line))
    }

    /// The quote around `at`. Far in a line the string of JSON that it stands in counts first: where
    /// quotes are counted from, another one may be open.
    fn quote_around(&self, at: usize) -> Option<Outer> {
        let far = at.saturating_sub(self.line_of(at)) > LOOK_BACK;
        let json = far.then(|| self.string_of_json(at)).flatten();
        json.or_else(|| self.inside_quote(at))
    }

    /// The quote that was opened on this line before `at` and not closed.
    pub(super) fn inside_quote(&self, at: usize) -> Option<Outer> {
        let from = self.line_of(at).max(at.saturating_sub(LOOK_BACK));
        let mut open: Option<Outer> = None;
        let mut last = b' ';
        let mut slashes = 0;
        for (k, b) in self.slice(from, at).iter().enumerate() {
            match open {
                None if *b == b'"' || *b == b'\'' && !crate::name::is_word(last) => {
                    open = Some(Outer {
                        at: from + k,
                        mark: *b,
                        slashes,
                    });
                }
                Some(quote) if *b == quote.mark && quote.closes(slashes) => open = None,
                None | Some(_) => {}
            }
            slashes = if *b == b'\\' { slashes + 1 } else { 0 };
            last = *b;
        }
        open
    }

    /// Where the string of JSON ends that `at` stands in, if it does; `None`: more is needed.
    pub(super) fn string_closes(
        &self,
        at: usize,
        limit: usize,
        closed: bool,
    ) -> Option<Option<usize>> {
        let plain = |outer: &Outer| outer.mark == b'"' && outer.slashes == 0;
        let Some(outer) = self.string_at(at).filter(plain) else {
            return Some(None);
        };
        match self.quote_closes(outer, at, limit) {
            Some(close) => {
                let ends = self.closer(close + 1, limit, closed)?;
                Some(ends.then_some(close))
            }
            None if !closed && memchr::memchr(b'\n', self.slice(at, limit)).is_none() => None,
            None => Some(None),
        }
    }

    /// Where the line begins that `at` stands in, which may be one before this line; or, where that is
    /// far, what is near.
    pub(super) fn line_of(&self, at: usize) -> usize {
        if at >= self.line {
            return self.line;
        }
        let floor = at.saturating_sub(LOOK_BACK);
        let newline = memchr::memrchr(b'\n', self.slice(floor, at));
        newline.map_or(floor, |k| floor + k + 1)
    }

    /// Where in the range, and in its line, an outer quote closes: before its backslashes.
    fn quote_closes(&self, quote: Outer, from: usize, to: usize) -> Option<usize> {
        let mut slashes = 0;
        for (k, b) in self.slice(from, to).iter().enumerate() {
            match *b {
                b'\n' => return None,
                b'\\' => slashes += 1,
                b if b == quote.mark && quote.closes(slashes) => {
                    return Some(from + k - slashes.min(quote.slashes));
                }
                _ => slashes = 0,
            }
        }
        None
    }

    /// `Failing row contains (1, a@b.c, Lund).`, as PostgreSQL says it, at `at`. It names no column:
    /// they are known from a `CREATE TABLE`, or that there are protected ones from the statement.
    pub(super) fn failing_row(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if !self
            .slice(at.saturating_sub(21), at)
            .ends_with(b"Failing row contains ")
        {
            return None;
        }
        let above = self.above.map(|(from, to)| self.slice(from, to));
        let names = above.unwrap_or_default();
        let name = memchr::memmem::find(names, b"relation \"")
            .and_then(|i| names.get(i + 10..)?.split(|b| *b == b'"').next());
        let cols = self
            .sql
            .columns(&name.unwrap_or_default().to_ascii_lowercase());
        let first = cols.iter().find_map(|hit| *hit);
        let hit = first.or(self.inserts.map(|(hit, _)| hit))?;
        let rest = self.slice(at + 1, limit);
        let line = memchr::memchr2(b'\n', b'\r', rest).or(closed.then_some(rest.len()));
        let Some(line) = line else {
            if rest.len() > VALUE_MAX {
                self.mask(at + 1, limit, hit, Place::Inside, "sql");
                self.swallow_until(Until::Line);
                return Some(At(limit));
            }
            return Some(self.more_after(at));
        };
        let text = rest.get(..line).unwrap_or_default();
        let text = text.strip_suffix(b".").unwrap_or(text);
        let text = text.strip_suffix(b")").unwrap_or(text).to_vec();
        let mut from = at + 1;
        let end = from + text.len();
        let values: Vec<(usize, usize)> = memchr::memmem::find_iter(&text, b", ")
            .chain([text.len()])
            .map(|size| {
                let to = at + 1 + size;
                (std::mem::replace(&mut from, to + 2), to)
            })
            .collect();
        // A comma in a value moves those behind it.
        let exact = values.len() == cols.len();
        for (k, (from, to)) in values.into_iter().enumerate() {
            let col = if exact {
                cols.get(k).copied().flatten()
            } else {
                Some(hit)
            };
            if let Some(hit) = col.filter(|_| !value::is_nothing(self.slice(from, to))) {
                self.mask(from, to, hit, Place::Inside, "sql");
            }
        }
        Some(At(end))
    }

    /// `(email, city)=(a@b.c, Lund)`, as PostgreSQL tells which row it means: `at` is the sign.
    fn constraint(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        // A string of JSON that it stands in has all of it.
        let outer = self
            .string_at(at)
            .filter(|outer| outer.mark == b'"' && outer.slashes == 0);
        let floor = self.line_floor(at).max(at.saturating_sub(256));
        let floor = outer.map_or(floor, |outer| floor.max(outer.at + 1));
        let back = self.slice(floor.min(at - 1), at - 1);
        // An index may be one of an expression: `Key (lower(email::text), id)=(…)`.
        let open = memchr::memmem::rfind(back, b"Key (").map(|i| i + 4);
        let open = open.or_else(|| memchr::memrchr(b'(', back));
        let names = open.and_then(|i| back.get(i + 1..));
        let field = |name: &[u8]| self.rules.compiled().field(name);
        let part = |b: &u8| !crate::name::is_word(*b) && *b != b'_';
        let hits: Vec<Option<Hit>> = names
            .filter(|names| {
                let count = |b| memchr::memchr_iter(b, names).count();
                count(b'(') == count(b')')
            })
            .unwrap_or_default()
            .split(|b| *b == b',')
            .map(|name| field(name.trim_ascii()).or_else(|| name.split(part).find_map(field)))
            .collect();
        let Some(first) = hits.iter().find_map(|hit| *hit) else {
            return At(at + 2);
        };
        let start = at + 2;
        let rest = self.slice(start, limit);
        let ends = |k: usize| {
            let next = rest.get(k + 1);
            rest.get(k) == Some(&b')') && next.is_none_or(|b| !crate::name::is_word(*b))
        };
        let ends_string = outer.and_then(|outer| self.quote_closes(outer, start, limit));
        let line = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let line = ends_string.map(|at| at - start).or(line);
        let found = (0..line.unwrap_or(rest.len())).find(|k| ends(*k));
        let certain = line.is_some() || closed || found.is_some_and(|k| k + 1 < rest.len());
        if !certain && rest.len() <= VALUE_MAX {
            return self.more(start);
        }
        let size = found.or(line).unwrap_or(rest.len());
        let values: Vec<(usize, usize)> = {
            let text = rest.get(..size).unwrap_or_default();
            let mut from = start;
            let mut spans = Vec::new();
            for part in text.split(|b| *b == b',') {
                let skip = part.len() - part.trim_ascii_start().len();
                spans.push((from + skip, from + part.len()));
                from += part.len() + 1;
            }
            spans
        };
        if values.len() == hits.len() {
            for ((from, to), hit) in values.iter().zip(&hits) {
                if let Some(hit) = hit {
                    self.mask(*from, *to, *hit, Place::Inside, "sql");
                }
            }
        } else {
            self.mask(start, start + size, first, Place::Inside, "sql");
        }
        At(start + size)
    }

    /// What a value becomes, as Terraform shows it: `ssn = "old" -> "new"`. `at` is the dash.
    pub(super) fn changed(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let (end, hit) = self.changed.filter(|(end, _)| *end <= at)?;
        if !self.slice(end, at).iter().all(|b| *b == b' ') {
            return None;
        }
        let mut v = at + 2;
        match self.byte(at + 1) {
            None if !closed => return Some(self.more_after(at)),
            Some(b'>') => {}
            _ => return None,
        }
        while v < limit && self.byte(v) == Some(b' ') {
            v += 1;
        }
        if v >= limit {
            return Some(if closed {
                At(limit)
            } else {
                self.more_after(v - 1)
            });
        }
        let key = Key {
            start: at,
            name: (at, at),
            quote: None,
        };
        match value::opening(self.slice(0, limit), v, closed) {
            None => Some(self.more(v)),
            Some(Some(quote)) => Some(self.quoted(key, v, quote, hit, limit, closed, false)),
            Some(None) => match value::bare_end(
                self.slice(0, limit),
                v,
                value::Style::Word { nested: false },
                closed,
            ) {
                None if limit - v <= VALUE_MAX => Some(self.more(v)),
                end => {
                    let end = end.unwrap_or(limit);
                    if !value::is_nothing(self.slice(v, end)) && self.byte(v) != Some(b'(') {
                        self.mask(v, end, hit, Place::Literal, "key-value");
                    }
                    Some(At(end))
                }
            },
        }
    }
}

/// The size of a comment that begins a text, and of the blanks behind it: `/* … */`, or `// …` up to
/// the end of its line. `None`: more is needed.
fn comment(text: &[u8], closed: bool) -> Option<usize> {
    let near = text.get(..COMMENT_MAX).unwrap_or(text);
    let more = !closed && near.len() < COMMENT_MAX;
    let end = match (near.first(), near.get(1)) {
        (Some(b'/'), None) if more => return None,
        (Some(b'/'), Some(b'*')) => memchr::memmem::find(near, b"*/").map(|end| end + 2),
        (Some(b'/'), Some(b'/')) => near.iter().position(|b| matches!(b, b'\n' | b'\r')),
        _ => return Some(0),
    };
    let Some(end) = end else {
        return (!more).then_some(0);
    };
    let rest = near.get(end..).unwrap_or_default();
    Some(
        end + rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count(),
    )
}

/// The size of the tags that begin a text in HTML (`<b>`), and whether one of them closes
/// something; `None`: more is needed.
fn tags(text: &[u8], closed: bool) -> Option<(usize, bool)> {
    const INLINE: [&[u8]; 12] = [
        b"b", b"i", b"u", b"a", b"em", b"tt", b"kbd", b"code", b"span", b"font", b"strong",
        b"small",
    ];
    let mut at = 0;
    while let Some(rest) = text.get(at..).and_then(|t| t.strip_prefix(b"<")) {
        if rest.first() == Some(&b'/') {
            return Some((at, true));
        }
        let size = rest
            .iter()
            .take(8)
            .take_while(|b| b.is_ascii_alphabetic())
            .count();
        let name = rest.get(..size).unwrap_or_default();
        match rest.get(size) {
            None if !closed => return None,
            Some(b'>' | b' ') if INLINE.iter().any(|tag| tag.eq_ignore_ascii_case(name)) => {}
            _ => break,
        }
        let tag = rest.get(..TAG_MAX).unwrap_or(rest);
        match tag.iter().position(|b| matches!(b, b'>' | b'\n')) {
            Some(end) if rest.get(end) == Some(&b'>') => at += end + 2,
            None if !closed && rest.len() < TAG_MAX => return None,
            _ => break,
        }
    }
    Some((at, false))
}

/// Whether what stands below an arrow begins with its type, as xdebug and `var_export` write it:
/// `string(3) "abc"`, `array (`, `class A#1 (2) {`. `None`: more is needed.
fn typed(rest: &[u8], closed: bool) -> Option<bool> {
    let spaces = rest
        .iter()
        .take(256)
        .take_while(|b| b.is_ascii_whitespace());
    let rest = rest.get(spaces.count()..).unwrap_or_default();
    let near = rest.get(..4 * TYPE_MAX).unwrap_or(rest);
    let word = |b: &&u8| crate::name::is_word(**b) || matches!(b, b'_' | b'\\' | b':');
    let size = near.iter().take_while(word).count();
    let kind = near.get(..size).unwrap_or_default();
    match (near.get(size), near.get(size + 1)) {
        (None, _) | (Some(b' '), None) if !closed && rest.len() < 4 * TYPE_MAX => None,
        (Some(b'('), _) | (Some(b' '), Some(b'(')) => Some(size > 0),
        (Some(b' '), _) => Some(matches!(kind, b"class" | b"object" | b"enum")),
        _ => Some(false),
    }
}

/// The size of the type before the bracket of a composite value of Go: `[]string{…}`,
/// `map[string]int{…}`, `&a.B{…}`, `map[a:b]`; 0 if it is none. `None`: more is needed.
fn composite(rest: &[u8], closed: bool) -> Option<usize> {
    let near = rest.get(..TAG_MAX).unwrap_or(rest);
    let more = !closed && rest.len() < TAG_MAX;
    let mut at = usize::from(near.first() == Some(&b'&'));
    let is_part = |b: &&u8| crate::name::is_word(**b) || matches!(b, b'_' | b'.' | b'*');
    loop {
        let word = near.get(at..).unwrap_or_default();
        let size = word.iter().take_while(is_part).count();
        let map = word.get(..size) == Some(b"map");
        match near.get(at + size) {
            None if more && (at > 0 || size < 4 && b"map".starts_with(word)) => return None,
            Some(b'{') if at + size > 0 && size > 0 => return Some(at + size),
            // `interface {}{`.
            Some(b' ') if at > 0 && size > 0 => {
                let open = word.get(size..).unwrap_or_default();
                return match open.get(..4) {
                    Some(b" {}{") => Some(at + size + 3),
                    None if more && b" {}{".starts_with(open) => None,
                    _ => Some(0),
                };
            }
            Some(b'[') if size == 0 || map => {
                let open = at + size;
                let inner = near.get(open + 1..).unwrap_or_default();
                let kind = inner.iter().take_while(is_part).count();
                match (inner.get(kind), inner.get(kind + 1)) {
                    (None, _) | (Some(b']'), None) if more => return None,
                    (Some(b']'), Some(next))
                        if is_part(&next) && (map || !has_words(inner, kind)) =>
                    {
                        at = open + kind + 2;
                    }
                    (Some(b':' | b' '), _) if map => return Some(open),
                    (Some(b']'), _) if map => return Some(open),
                    _ => return Some(0),
                }
            }
            _ => return Some(0),
        }
    }
}

/// The size of a type in brackets before a value: `(string) `, `(len=3) `; 0 if there is none.
/// `None`: more is needed.
fn kind_before(rest: &[u8], closed: bool) -> Option<usize> {
    let part =
        |b: &&u8| crate::name::is_word(**b) || matches!(b, b'_' | b'.' | b'*' | b'=' | b'[' | b']');
    let size = 1 + rest.iter().skip(1).take(48).take_while(part).count();
    match (rest.get(size), rest.get(size + 1), rest.get(size + 2)) {
        (None, ..) | (Some(b')'), None, _) | (Some(b')'), Some(b' '), None)
            if !closed && size < 48 =>
        {
            None
        }
        // A telephone number begins like one.
        (Some(b')'), Some(b' '), Some(b'"' | b'(' | b'0'..=b'9' | b'-' | b'{'))
            if size > 1 && has_words(rest.get(1..).unwrap_or_default(), size - 1) =>
        {
            Some(size + 2)
        }
        _ => Some(0),
    }
}

/// Whether a text begins with a string in quotes that is a key; `None`: more is needed.
pub(super) fn is_member(text: &[u8], closed: bool) -> Option<bool> {
    if text.first() != Some(&b'"') {
        return Some(false);
    }
    let near = text.get(..KEY_MAX).unwrap_or(text);
    let more = !closed && near.len() < KEY_MAX;
    match value::quoted_end(near, 1, 1, Quote::plain(b'"'), false) {
        End::Quote(end) => match near.get(end + 1) {
            None if more => None,
            next => Some(next == Some(&b':')),
        },
        End::Open(_) if more => None,
        End::Open(_) | End::Line(_) => Some(false),
    }
}

/// The size of a parameter with a number, `$1`, that a text begins with.
fn numbered_parameter(text: &[u8]) -> Option<usize> {
    let digits = text.strip_prefix(b"$")?.iter().take(4);
    let size = digits.take_while(|b| b.is_ascii_digit()).count();
    let next = text.get(size + 1);
    let ends = next.is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b',' | b')' | b';'));
    (size > 0 && ends).then_some(size + 1)
}

/// May stand between a name and its colon.
const IS: &[u8] = b" is";

/// Whether a name and ` is:` may end before `at`, where the colon stands: its value follows.
pub(crate) fn says_is(rules: &Compiled, text: &[u8], at: usize) -> bool {
    let name = text.get(..at).and_then(|text| text.strip_suffix(IS));
    let last = |name: &[u8]| {
        let size = name.iter().rev().take_while(|b| is_word(**b)).count();
        rules.may_end(name.get(name.len() - size..).unwrap_or_default())
    };
    text.get(at) == Some(&b':') && name.is_some_and(last)
}

/// Where a name ends that has something in brackets behind it, or signs: `Amount (EUR)`, `SSN#`,
/// `ssn.....`, `*Password*`.
fn without_note(before: &[u8]) -> Option<usize> {
    let signs = |b: &u8| matches!(b, b'#' | b'.' | b'*' | b'_');
    let size = match before.strip_suffix(b")") {
        Some(inner) => {
            let open = memchr::memrchr(b'(', inner)?;
            let note = inner.get(open + 1..)?;
            if documents(note) {
                return None;
            }
            let plain = |b: &u8| crate::name::is_word(*b) || matches!(b, b' ' | b'-' | b'/' | b'.');
            if note.len() > NOTE_MAX || note.is_empty() || !note.iter().all(plain) {
                return None;
            }
            open
        }
        None => before.len() - before.iter().rev().take_while(|b| signs(b)).count(),
    };
    let name = before.get(..size)?;
    (size < before.len()).then(|| name.trim_ascii_end().len())
}

/// Whether what stands in brackets behind a name says what a program takes there: its type, as
/// documentation does (`password (str): The password`).
fn documents(note: &[u8]) -> bool {
    const WORDS: [&[u8]; 24] = [
        b"str",
        b"string",
        b"strings",
        b"int",
        b"integer",
        b"number",
        b"float",
        b"decimal",
        b"bool",
        b"boolean",
        b"bytes",
        b"list",
        b"dict",
        b"map",
        b"array",
        b"object",
        b"any",
        b"optional",
        b"required",
        b"default",
        b"deprecated",
        b"see",
        b"text",
        b"secret",
    ];
    let mut words = note.split(|b| !crate::name::is_word(*b));
    let first = words.next().unwrap_or_default();
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(first))
}

/// Where a name ends that has something in brackets behind it is not further before it.
const NOTE_MAX: usize = 32;

/// Where a name ends that has the number of an element behind it.
fn without_element(before: &[u8]) -> Option<usize> {
    let inner = before.strip_suffix(b"]");
    let rest = inner.unwrap_or(before);
    let digits = rest.iter().rev().take(8).take_while(|b| b.is_ascii_digit());
    let digits = digits.count();
    let rest = rest.get(..rest.len() - digits)?;
    let name = match inner {
        Some(_) => rest.strip_suffix(b"["),
        None => rest.strip_suffix(b".").filter(|_| digits > 0),
    };
    name.map(<[u8]>::len)
}

/// The size of a name with parameters behind it, as vCards and LDIF write it: `TEL;TYPE=home`.
fn parametrised(before: &[u8]) -> Option<usize> {
    let size = memchr::memchr(b';', before).filter(|size| *size > 0)?;
    let (name, rest) = before.split_at_checked(size)?;
    let part = |b: &u8| crate::name::is_word(*b) || matches!(b, b'_' | b'-' | b'.');
    let parameter = |p: &[u8]| {
        p.starts_with(b"lang-")
            || p == b"binary"
            || p.contains(&b'=')
            || p.len() > 1 && p.iter().all(u8::is_ascii_uppercase)
    };
    let mut parameters = rest.get(1..)?.split(|b| *b == b';');
    let plain = !before.contains(&b' ') && name.iter().all(part);
    (plain && parameters.all(parameter)).then_some(size)
}

/// The size of the type that `snmpwalk` says before a value, `STRING: `; 0 if there is none.
/// `None`: more is needed.
fn told_kind(rest: &[u8], closed: bool) -> Option<usize> {
    const KINDS: [&[u8]; 8] = [
        b"STRING: ",
        b"Hex-STRING: ",
        b"INTEGER: ",
        b"OID: ",
        b"IpAddress: ",
        b"Counter32: ",
        b"Counter64: ",
        b"Gauge32: ",
    ];
    if !closed && KINDS.iter().any(|kind| kind.starts_with(rest)) {
        return None;
    }
    let kind = KINDS.iter().find(|kind| rest.starts_with(kind));
    Some(kind.map_or(0, |kind| kind.len()))
}

/// Whether what stands before a string says its type.
fn says_type(before: &[u8]) -> bool {
    const TYPES: [&[u8]; 9] = [
        b"Just", b"Some", b"Right", b"Ok", b"~c", b"~s", b"@", b"L", b"r#",
    ];
    TYPES.contains(&before) || before.ends_with(b"(") || before.ends_with(b"<<")
}

/// Whether a list has something else than a number in it.
fn has_words(inner: &[u8], size: usize) -> bool {
    !inner.iter().take(size).all(u8::is_ascii_digit)
}

/// A longer comment hides a value.
const COMMENT_MAX: usize = 512;
/// More colons fill no gap.
const COLONS_MAX: usize = 64;
/// So many spaces stand between a string and the comma behind it at most.
const SPACES_MAX: usize = 32;
/// A longer type is none that stands before a value.
const TYPE_MAX: usize = 24;
/// An expression that is compared is not longer.
const EXPRESSION_MAX: usize = 128;
/// More quotes and backslashes side by side are part of no word.
const SIGNS_MAX: usize = 8;
/// A longer word ends no text.
const HEREDOC_MAX: usize = 64;
/// A longer tag is none that stands before a value.
const TAG_MAX: usize = 256;
/// A longer word is no type before a brace.
const NAMED_MAX: usize = 64;

/// Whether PHP says here who may see a property, instead of a value; `None`: more is needed.
fn seen_by(rest: &[u8], closed: bool) -> Option<bool> {
    let rest = rest.get(..160).unwrap_or(rest);
    let size = rest
        .iter()
        .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'\\' | b'"' | b':'))
        .count();
    let word = rest.get(..size).unwrap_or_default();
    match rest.get(size) {
        None if !closed && size < 160 => None,
        Some(b']') => Some(word == b"protected" || word.ends_with(b":private")),
        _ => Some(false),
    }
}

/// A quote around a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outer {
    pub(super) at: usize,
    pub(super) mark: u8,
    /// Backslashes before it.
    pub(super) slashes: usize,
}

impl Outer {
    /// Whether a quote with that many backslashes before it closes this one. Within a quote that
    /// has none, two stand for one that is part of the text.
    fn closes(self, slashes: usize) -> bool {
        slashes <= self.slashes || self.slashes == 0 && slashes.is_multiple_of(2)
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
