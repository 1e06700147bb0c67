//! Elements and attributes, tables of HTML.

use crate::mask::Place;
use crate::table::COLUMNS_MAX;
use crate::{table, value};

use super::Flow::At;
use super::field::Outer;
use super::placeholder::Reads;
use super::row::trimmed;
use super::{Flow, Html, Inner, LOOK_BACK, Lane, Until, VALUE_MAX};

impl Lane {
    /// A tag ends at `at`: its content may be protected.
    pub(super) fn tag(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let next = At(at + 1);
        if self.rules.compiled().fields.is_empty() {
            return next;
        }
        let back = self.slice(at.saturating_sub(512), at);
        let Some(open) = memchr::memrchr(b'<', back).map(|i| at - back.len() + i) else {
            return next;
        };
        let inside = self.slice(open + 1, at).to_vec();
        let inside = inside.as_slice();
        if inside.contains(&b'>') || self.is_over_strings(open, inside) {
            return next;
        }
        let closing = inside.first() == Some(&b'/');
        let body = if closing {
            inside.get(1..).unwrap_or_default()
        } else {
            inside
        };
        let size = body
            .iter()
            .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b':'))
            .count();
        let name = body.get(..size).unwrap_or_default().to_vec();
        if name.is_empty()
            || !name
                .first()
                .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        {
            return next;
        }
        let lower = name.to_ascii_lowercase();
        if closing {
            return self.closing_tag(open, at, &lower);
        }
        let empty = inside.last() == Some(&b'/') || VOID.contains(&lower.as_slice());
        let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
        // `C<password()>` of Perl's documentation is none.
        let rest = body.get(size..).unwrap_or_default();
        let is_tag = rest
            .first()
            .is_none_or(|b| b.is_ascii_whitespace() || *b == b'/');
        let named = self.rules.compiled().field(local).filter(|_| is_tag);
        if named.is_some() {
            match self.reads(open, at, &lower, rest, limit, closed) {
                Reads::Element => {}
                Reads::Name => return next,
                Reads::More => return self.more_after(at),
            }
        }
        // The head before may have no end of its own.
        if self.html.open_head && matches!(lower.as_slice(), b"th" | b"td" | b"tr") {
            self.end_head(open);
        }
        match lower.as_slice() {
            b"table" => {
                let outer = std::mem::take(&mut self.html);
                let deep = outer.deep + 1;
                let kept = deep <= TABLES_MAX && outer != Html::default();
                self.html.deep = deep;
                self.html.outer = kept.then(|| Box::new(outer));
            }
            b"tr" => {
                self.html.end_header();
                self.html.begin_row();
                self.html.last = None;
                self.html.headed_row = false;
                self.html.data = false;
                self.html.names = Some(Vec::new());
            }
            _ => {}
        }
        if empty {
            return next;
        }
        let mut hit = named;
        if hit.is_none() {
            hit = attribute(body, &[b"name", b"key", b"field", b"id"])
                .and_then(|n| self.rules.compiled().field(&n))
                .filter(|_| has_attributes(rest));
        }
        match lower.as_slice() {
            b"td" => {
                self.html.data = true;
                let wide = self.html.begin_cell(body);
                let held = self.held_column(self.html.cols.iter().copied());
                self.stop_before(at, held);
                let cols = self.html.cols.iter().skip(self.html.index).take(wide);
                let col = cols.copied().flatten().next();
                hit = hit.or(self.html.last).or(col);
                self.html.index += wide;
                // A head names all that follows it in its row.
                if !self.html.headed_row {
                    self.html.last = None;
                }
            }
            b"th" => {
                self.html.wide = self.html.begin_cell(body);
                self.html.open_head = true;
            }
            _ => {
                if hit.is_none() && !matches!(lower.as_slice(), b"key" | b"name") {
                    hit = self.html.pair.take().filter(|_| self.follows_tag(open));
                }
            }
        }
        if let Some(hit) = hit {
            self.inner = Inner::Element {
                hit,
                name: lower,
                depth: 1,
                within: self.element_within(open),
            };
        }
        next
    }

    /// Whether what looks like a tag begins in a string of JSON, and goes on behind it.
    fn is_over_strings(&self, open: usize, inside: &[u8]) -> bool {
        let mut quotes = memchr::memchr_iter(b'"', inside);
        let ends = quotes.any(|at| {
            let (before, rest) = inside.split_at(at);
            let next = rest.get(1..).unwrap_or_default().trim_ascii_start();
            before.last() != Some(&b'\\') && matches!(next.first(), Some(b',' | b']' | b'}' | b':'))
        });
        let outer = || self.string_at(open).filter(|outer| outer.mark == b'"');
        ends && outer().is_some_and(|outer| outer.slashes == 0)
    }

    /// Where an element ends at the latest whose tag begins at `open`.
    pub(super) fn element_within(&self, open: usize) -> Within {
        if self.is_far(open) {
            return Within::Text;
        }
        let before = self.slice(self.line, open).trim_ascii_start();
        let marked = before
            .iter()
            .find(|b| !matches!(b, b'+' | b'-' | b'>' | b' ' | b'\t'));
        match self.string_at(open) {
            _ if marked.is_none_or(|b| *b == b'<') => Within::Start,
            Some(Outer {
                mark: b'"',
                slashes,
                ..
            }) => Within::String { slashes },
            _ if is_usage(before) => Within::Line,
            _ => Within::Lines,
        }
    }

    /// The string that `at` stands in.
    pub(super) fn string_at(&self, at: usize) -> Option<Outer> {
        match at.saturating_sub(self.line_of(at)) {
            0..=LOOK_BACK => self.inside_quote(at),
            _ => self.string_of_json(at),
        }
    }

    /// The string of JSON that `at` stands in, far from where its line begins: the last quote before is one that opens.
    pub(super) fn string_of_json(&self, at: usize) -> Option<Outer> {
        let back = self.slice(at.saturating_sub(LOOK_BACK), at);
        let open = memchr::memrchr_iter(b'"', back).find(|k| {
            // Backslashes in pairs stand for themselves.
            let before = back.get(..*k).unwrap_or_default().iter().rev();
            before
                .take_while(|b| **b == b'\\')
                .count()
                .is_multiple_of(2)
        })?;
        let before = back.get(..open)?.trim_ascii_end().last()?;
        matches!(before, b'[' | b'{' | b',' | b':').then_some(Outer {
            at: at - back.len() + open,
            mark: b'"',
            slashes: 0,
        })
    }

    fn closing_tag(&mut self, open: usize, at: usize, name: &[u8]) -> Flow {
        match name {
            b"td" => {
                // A name may stand in a cell like any other: before its value, or above it.
                let content = self.content(open);
                let is_name = table::is_name(content);
                let hit = self.rules.compiled().field(content).filter(|_| is_name);
                let may_be_head = is_name || matches!(content, b"" | b"&nbsp;");
                if self.html.index == 1 && !self.html.headed_row {
                    self.html.last = hit;
                }
                match &mut self.html.names {
                    Some(names) if may_be_head && names.len() < 256 => names.push(hit),
                    names => *names = None,
                }
            }
            b"th" if self.html.open_head => self.end_head(open),
            b"key" | b"name" | b"dt" => {
                self.html.pair = self.rules.compiled().field(self.content(open));
            }
            b"table" => {
                let outer = self.html.outer.take();
                self.html = outer.map(|outer| *outer).unwrap_or_default();
            }
            b"tr" => {
                self.html.end_header();
                let names = self.html.names.take().unwrap_or_default();
                if self.html.cols.is_empty()
                    && names.len() > 1
                    && names.len() == self.html.index
                    && names.iter().any(Option::is_some)
                {
                    self.html.cols = names;
                }
                self.html.last = None;
            }
            _ => {
                if let Some(hit) = self.label(open, name) {
                    self.html.pair = Some(hit);
                }
            }
        }
        At(at + 1)
    }

    /// A head of a table ends before the tag at `open`.
    fn end_head(&mut self, open: usize) {
        let hit = self.rules.compiled().field(self.content(open));
        let wide = self.html.wide.max(1);
        let heads = &mut self.html.heads;
        heads.resize(self.html.index.min(COLUMNS_MAX), None);
        for _ in 0..wide.min(COLUMNS_MAX - heads.len()) {
            heads.push(hit);
        }
        self.html.index += wide;
        self.html.last = hit;
        self.html.headed_row = true;
        self.html.open_head = false;
    }

    /// The text that ends before `open`, without the tags around it and a colon after it.
    pub(super) fn content(&self, open: usize) -> &[u8] {
        let mut before = self.slice(open.saturating_sub(160), open).trim_ascii_end();
        while before.last() == Some(&b'>')
            && let Some(tag) = memchr::memrchr(b'<', before)
        {
            before = before.get(..tag).unwrap_or_default().trim_ascii_end();
        }
        let from = memchr::memrchr(b'>', before).map_or(0, |i| i + 1);
        let content = before.get(from..).unwrap_or_default().trim_ascii();
        content
            .strip_suffix(b":")
            .unwrap_or(content)
            .trim_ascii_end()
    }

    /// A piece of a protected element.
    pub(super) fn element(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Element {
            hit,
            name,
            depth,
            mut within,
        } = self.inner.clone()
        else {
            return At(self.pos);
        };
        let at = self.pos;
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        if within == Within::Start {
            // `  <password>  The password to set`, as programs describe their arguments.
            let spaces = rest
                .iter()
                .take(BLANKS_MAX)
                .take_while(|b| matches!(b, b' ' | b'\t'));
            let spaces = spaces.count();
            within = match rest.get(spaces) {
                None if !closed => return self.more_after(limit.saturating_sub(1)),
                None | Some(b'<' | b'\n' | b'\r') => Within::Text,
                Some(_) if spaces > 1 => Within::Line,
                Some(_) => Within::Text,
            };
            if let Inner::Element { within: known, .. } = &mut self.inner {
                *known = within;
            }
        }
        let rest = self.slice(at, limit);
        if b == b'<' {
            if rest.starts_with(b"<![CDATA[") {
                let Some(end) = memchr::memmem::find(rest, b"]]>") else {
                    if rest.len() > VALUE_MAX + 12 || closed {
                        // What may end it is seen when more comes.
                        let open = rest.iter().rev().take(2).take_while(|b| **b == b']');
                        let upto = limit - if closed { 0 } else { open.count() };
                        self.mask(at + 9, upto, hit, Place::Inside, "markup");
                        self.swallow_until(Until::Section);
                        return At(upto);
                    }
                    return self.more(at);
                };
                self.mask(at + 9, at + end, hit, Place::Inside, "markup");
                return At(at + end + 3);
            }
            if b"<![CDATA[".starts_with(rest) && !closed {
                return self.more_after(limit.saturating_sub(1));
            }
            let end = rest.iter().take(INNER_TAG_MAX).position(|b| *b == b'>');
            if within
                .ends(rest.get(1..end.unwrap_or(rest.len())).unwrap_or_default())
                .is_some()
            {
                self.inner = Inner::Text;
                return At(at + 1);
            }
            let Some(end) = end else {
                if rest.len() < INNER_TAG_MAX && !closed {
                    return self.more(at);
                }
                // It is none.
                self.inner = Inner::Text;
                return At(at + 1);
            };
            let tag = rest.get(1..end).unwrap_or_default();
            let closes = tag.first() == Some(&b'/');
            let body = if closes {
                tag.get(1..).unwrap_or_default()
            } else {
                tag
            };
            let size = body
                .iter()
                .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b':'))
                .count();
            let same = body
                .get(..size)
                .unwrap_or_default()
                .eq_ignore_ascii_case(&name);
            let own = tag.last() == Some(&b'/');
            let kind = body.get(..size).unwrap_or_default().to_ascii_lowercase();
            let cell = name == b"td";
            // A cell may have no end of its own.
            if cell && depth == 1 && !closes && matches!(kind.as_slice(), b"td" | b"th" | b"tr") {
                self.inner = Inner::Text;
                return At(at + 1);
            }
            // All of a table in a cell belongs to the cell.
            if cell && (kind == b"table" && !(closes && depth == 1) || depth > 1) {
                let depth = match (kind == b"table", closes) {
                    (true, true) => depth - 1,
                    (true, false) if !own => depth + 1,
                    _ => depth,
                };
                self.inner = Inner::Element {
                    hit,
                    name,
                    depth,
                    within,
                };
                return At(at + end + 1);
            }
            let ends_row =
                closes && name != b"table" && matches!(kind.as_slice(), b"tr" | b"table");
            self.inner = match (same, closes) {
                (true, true) if depth <= 1 => Inner::Text,
                (true, true) => Inner::Element {
                    hit,
                    name,
                    depth: depth - 1,
                    within,
                },
                (true, false) if !own && !cell => Inner::Element {
                    hit,
                    name,
                    depth: depth + 1,
                    within,
                },
                _ if ends_row => Inner::Text,
                _ => Inner::Element {
                    hit,
                    name,
                    depth,
                    within,
                },
            };
            return At(at + end + 1);
        }
        if b == b'\n' {
            // A prompt does not wait.
            let ends = match within {
                Within::Line | Within::Lines if !self.pty => closes(rest, &name),
                _ => Some(false),
            };
            if ends.is_none() && !closed {
                return self.more(at);
            }
            let spaces = rest.iter().take(BLANKS_MAX);
            let spaces = spaces.take_while(|b| b.is_ascii_whitespace()).count();
            let next = rest.get(spaces).copied();
            match within {
                Within::Start | Within::Text => {}
                Within::Lines if self.pty => match rest.get(1) {
                    None if !closed => return self.more_after(at),
                    // An empty line.
                    None | Some(b'\n' | b'\r') => {
                        self.inner = Inner::Text;
                        return At(at);
                    }
                    Some(_) => {}
                },
                Within::Line | Within::Lines if next.is_none() && !closed => {
                    return self.more_after(limit.saturating_sub(1));
                }
                // Where its end is near, or a tag begins the next line, it was markup all the same.
                Within::Line | Within::Lines if ends == Some(true) || next == Some(b'<') => {
                    if let Inner::Element { within, .. } = &mut self.inner {
                        *within = Within::Text;
                    }
                }
                Within::Line | Within::Lines | Within::String { .. } => {
                    self.inner = Inner::Text;
                    return At(at);
                }
            }
            self.sink.row += 1;
            self.line = at + 1;
            self.line_cut = false;
            self.above = None;
            return At(at + 1);
        }
        if b.is_ascii_whitespace() {
            return At(at + 1);
        }
        let size = rest.iter().position(|b| matches!(b, b'<' | b'\n' | b'\r'));
        let text = rest.get(..size.unwrap_or(rest.len())).unwrap_or_default();
        let ends = within.ends(text);
        let Some(size) = ends.or(size).or(closed.then_some(rest.len())) else {
            if rest.len() > VALUE_MAX {
                self.mask(at, limit, hit, Place::Inside, "markup");
                self.swallow_until(Until::Tag(within));
                return At(limit);
            }
            return self.more(at);
        };
        // Of what is too long the end is not looked at.
        let size = match size {
            0..=VALUE_MAX => trimmed(rest, size),
            _ => size,
        };
        if !value::is_nothing(self.slice(at, at + size)) && self.slice(at, at + size) != b"&nbsp;" {
            self.mask(at, at + size, hit, Place::Inside, "markup");
        }
        if ends.is_some() {
            self.inner = Inner::Text;
            return At(at + size);
        }
        At(at + size.max(1))
    }
}

impl Html {
    /// A cell begins: how many columns it has. Those of rows above may go on beside it.
    fn begin_cell(&mut self, tag: &[u8]) -> usize {
        while let Some(rows) = self.spans.get_mut(self.index).filter(|rows| **rows > 0) {
            *rows -= 1;
            self.index += 1;
        }
        let number = |name: &[u8]| {
            let value = attribute(tag, &[name])?;
            std::str::from_utf8(&value)
                .ok()?
                .trim()
                .parse::<usize>()
                .ok()
        };
        let wide = number(b"colspan").map_or(1, |n| n.clamp(1, COLUMNS_MAX));
        let rows = number(b"rowspan").map_or(1, |n| n.clamp(1, 1 << 16));
        let to = self.index + wide;
        if rows > 1 && to <= COLUMNS_MAX {
            self.spans.resize(self.spans.len().max(to), 0);
            for span in self.spans.iter_mut().take(to).skip(self.index) {
                *span = (*span).max(rows - 1);
            }
        }
        wide
    }

    /// A row begins.
    fn begin_row(&mut self) {
        // Cells that stand at the end of the row before.
        for rows in self.spans.iter_mut().skip(self.index) {
            *rows = rows.saturating_sub(1);
        }
        self.index = 0;
    }

    /// A row that had nothing but heads names columns; with the row above it, if that did, too.
    fn end_header(&mut self) {
        let heads = std::mem::take(&mut self.heads);
        if self.data {
            // Of a row of both a corner is empty, or it is data behind its head.
            self.headed = false;
            if heads.len() < 2 {
                return;
            }
        } else if !heads.is_empty() && !std::mem::replace(&mut self.headed, true) {
            self.cols.clear();
        }
        if heads.iter().any(Option::is_some) || !self.data {
            self.cols.resize(self.cols.len().max(heads.len()), None);
            for (col, head) in self.cols.iter_mut().zip(heads) {
                *col = col.or(head);
            }
        }
    }
}

impl Lane {
    /// A text that was escaped to be shown: `&lt;ssn&gt;…&lt;/ssn&gt;`. `at` ends the tag.
    pub(super) fn entity(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let next = At(at + 1);
        let floor = self.line_floor(at).max(at.saturating_sub(512));
        let back = self.slice(floor, at.saturating_sub(3));
        let Some(tag) = memchr::memmem::rfind(back, b"&lt;").and_then(|i| back.get(i + 4..)) else {
            return next;
        };
        let part = |b: &&u8| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b':');
        let size = tag.iter().take_while(part).count();
        let name = tag.get(..size).unwrap_or_default();
        let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
        let Some(hit) = self.rules.compiled().field(local) else {
            return next;
        };
        if tag.last() == Some(&b'/') || memchr::memmem::find(tag, b"&gt;").is_some() {
            return next;
        }
        // It ends in this line, with its tag. Other entities belong to the value.
        let looked = match self.seen.take() {
            Some((seen, from)) if seen == at + 1 => from.saturating_sub(at + 1),
            Some(_) | None => 0,
        };
        let rest = self.slice(at + 1, limit);
        let mut size = looked;
        loop {
            let tail = rest.get(size..).unwrap_or_default();
            size += memchr::memchr3(b'<', b'\n', b'&', tail).unwrap_or(tail.len());
            let near = rest.get(size..).unwrap_or_default();
            match near.get(..5).unwrap_or(near) {
                b"&lt;/" => break,
                near if near.len() < 5 && b"&lt;/".starts_with(near) => {
                    if rest.len() > VALUE_MAX {
                        self.mask(at + 1, limit, hit, Place::Inside, "markup");
                        self.swallow_until(Until::Line);
                        return At(limit);
                    }
                    if closed {
                        return next;
                    }
                    self.seen = Some((at + 1, at + 1 + size));
                    return self.more_after(at);
                }
                [b'&', ..] if !near.starts_with(b"&lt;") => size += 1,
                _ => return next,
            }
        }
        let from = at + 1;
        let size = trimmed(rest, size);
        if !value::is_nothing(self.slice(from, from + size)) {
            self.mask(from, from + size, hit, Place::Inside, "markup");
        }
        At(from + size)
    }

    /// A column as dplyr glimpses at it: `$ ssn <chr> "…", "…"`. `at` ends its type.
    pub(super) fn glimpsed(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if self.line_cut || at - self.line.min(at) > 256 {
            return None;
        }
        let head = self.slice(self.line, at).strip_prefix(b"$ ")?;
        let open = memchr::memchr(b'<', head)?;
        let hit = self
            .rules
            .compiled()
            .field(head.get(..open)?.trim_ascii())?;
        let rest = self.slice(at + 1, limit);
        let line = memchr::memchr(b'\n', rest).or(closed.then_some(rest.len()));
        let Some(size) = line else {
            if rest.len() > VALUE_MAX {
                self.mask(at + 1, limit, hit, Place::Inside, "key-value");
                self.swallow_until(Until::Line);
                return Some(At(limit));
            }
            return Some(self.more_after(at));
        };
        let size = trimmed(rest, size);
        let text = rest.get(..size).unwrap_or_default();
        let from = at + 1 + (size - text.trim_ascii_start().len());
        if from < at + 1 + size {
            self.mask(from, at + 1 + size, hit, Place::Inside, "key-value");
        }
        Some(At(at + 1 + size))
    }
}

/// Elements of HTML that have no content, and no end.
const VOID: [&[u8]; 8] = [
    b"input", b"meta", b"link", b"img", b"br", b"hr", b"param", b"embed",
];
/// Tables in tables, so deep.
const TABLES_MAX: u32 = 16;
/// Whether nothing but attributes stands behind the name of a tag: what begins with `<` somewhere
/// in a program ends with the next `>`, whatever it says.
fn has_attributes(rest: &[u8]) -> bool {
    let apart = |rest: &[u8]| rest.first().is_none_or(u8::is_ascii_whitespace);
    let name = |b: &&u8| {
        b.is_ascii_alphanumeric()
            || **b >= 0x80
            || matches!(
                b,
                b'_' | b'-' | b'.' | b':' | b'@' | b'#' | b'*' | b'(' | b')' | b'[' | b']'
            )
    };
    let mut rest = rest;
    loop {
        let next = rest.trim_ascii_start();
        if matches!(next, b"" | b"/" | b"?") {
            return true;
        }
        let size = next.iter().take_while(name).count();
        if size == 0 || !apart(rest) {
            return false;
        }
        rest = next.get(size..).unwrap_or_default();
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else {
            continue;
        };
        let value = value.trim_ascii_start();
        let end = match value.first() {
            Some(mark @ (b'"' | b'\'')) => {
                value.iter().skip(1).position(|b| b == mark).map(|i| i + 2)
            }
            _ => {
                let plain = |b: &&u8| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\'' | b'`');
                Some(value.iter().take_while(plain).count()).filter(|size| *size > 0)
            }
        };
        let Some(end) = end else {
            return false;
        };
        rest = value.get(end..).unwrap_or_default();
    }
}

/// What an element that nobody closes stands in, and ends with: `usage: login <user> <password>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// A line that begins with a tag, and nothing else so far.
    Start,
    /// Markup: there it goes on.
    Text,
    /// A line of help.
    Line,
    /// A line that has something else before the tag: it goes on up to its end where that is
    /// near, and in a terminal up to an empty line.
    Lines,
    /// A string in such a line, whose quote has so many backslashes before it.
    String {
        /// The backslashes.
        slashes: usize,
    },
}

impl Within {
    /// Where in the text it ends: before the backslashes of a quote.
    pub(super) fn ends(self, text: &[u8]) -> Option<usize> {
        let slashes = match self {
            Self::Start | Self::Text | Self::Lines => return None,
            Self::Line => return memchr::memchr(b'\n', text),
            Self::String { slashes } => slashes,
        };
        memchr::memchr2_iter(b'"', b'\n', text).find_map(|at| {
            let (before, after) = text.split_at_checked(at)?;
            let size = before.iter().rev().take_while(|b| **b == b'\\').count();
            match after.first() {
                Some(b'\n') => Some(at),
                _ if size < slashes => Some(at - size),
                // As [`crate::value::quoted_end`] has it.
                _ => (size - slashes)
                    .is_multiple_of(2 * (slashes + 1))
                    .then_some(at - slashes),
            }
        })
    }
}

/// Whether a tag behind `before` names an argument, as a line of help has it: `usage: login <user> `, `-p, --password `.
pub(super) fn is_usage(before: &[u8]) -> bool {
    let head = before.get(..5).unwrap_or_default();
    head.eq_ignore_ascii_case(b"usage")
        || before.first() == Some(&b'-')
        || matches!(before.last(), Some(b'\'' | b'`' | b'[' | b'('))
}

/// Whether the element `name` is closed in the lines that follow; `None`: more is needed.
pub(super) fn closes(rest: &[u8], name: &[u8]) -> Option<bool> {
    let near = rest.get(..NEAR_MAX).unwrap_or(rest);
    let found = memchr::memmem::find_iter(near, b"</").any(|at| {
        let tag = near.get(at + 2..at + 2 + name.len());
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(name))
    });
    (found || near.len() == NEAR_MAX).then_some(found)
}

/// So far behind its line an element is closed that text stands before.
const NEAR_MAX: usize = 4096;
/// More blanks than these stand in no list of arguments.
const BLANKS_MAX: usize = 64;
/// A tag inside of a protected element is at most this long.
const INNER_TAG_MAX: usize = 4096;

/// The value of one of these attributes in a tag.
pub(crate) fn attribute(tag: &[u8], names: &[&[u8]]) -> Option<Vec<u8>> {
    let mut rest = tag;
    while let Some(eq) = memchr::memchr(b'=', rest) {
        let name = rest.get(..eq)?.trim_ascii_end();
        let from = name
            .iter()
            .rposition(|b| b.is_ascii_whitespace())
            .map_or(0, |i| i + 1);
        let name = name.get(from..)?;
        let after = rest.get(eq + 1..)?.trim_ascii_start();
        let quote = *after.first()?;
        let (value, next) = if matches!(quote, b'"' | b'\'') {
            let end = memchr::memchr(quote, after.get(1..)?)? + 1;
            (after.get(1..end)?, after.get(end + 1..)?)
        } else {
            let end = after
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(after.len());
            (after.get(..end)?, after.get(end..)?)
        };
        if names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return Some(value.to_vec());
        }
        rest = next;
    }
    None
}
