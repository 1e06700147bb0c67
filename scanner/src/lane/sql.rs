//! INSERT.

use crate::mask::Place;
use crate::name::NAME_MAX;
use crate::rules::Hit;
use crate::table::COLUMNS_MAX;
use crate::value::{End, Quote};
use crate::{find, value};

use super::Flow::{At, More};
use super::names::{Names, column_at, push_column};
use super::row::trimmed;
use super::{Flow, Inner, LINE_CONTEXT, Lane, Next, Until, VALUE_MAX, Values};

impl Lane {
    /// A bracket after `INSERT INTO t` or `VALUES` opens a list of columns or of values.
    pub(super) fn insert(&mut self, at: usize) -> Flow {
        let next = At(at + 1);
        if self.rules.compiled().fields.is_empty() {
            return next;
        }
        self.creates_before(at);
        let words = without_row(self.slice(self.line_floor(at), at).trim_ascii_end());
        let nothing = words.is_empty();
        let head = words.len().checked_sub(6).map(|at| words.split_at(at));
        let named = head.filter(|(_, tail)| tail.eq_ignore_ascii_case(b"values"));
        let alone = named.is_some_and(|(head, _)| head.iter().all(u8::is_ascii_whitespace));
        let named = named.is_some();
        if let Some(Values { cols, .. }) = self.values.take_if(|values| match values.next {
            Next::List | Next::Columns => false,
            Next::Word => alone,
            Next::Row => alone || nothing,
        }) {
            self.inner = Inner::Sql {
                cols,
                at: 0,
                depth: 1,
                text: None,
                doubt: false,
            };
            return next;
        }
        if named {
            let far = self.is_far(at).then(|| self.long_columns(at)).flatten();
            let head = without_row(self.slice(self.line_floor(at), at).trim_ascii_end());
            let head = head.get(..head.len() - 6).unwrap_or_default().trim_ascii();
            let head = OVERRIDING
                .iter()
                .find_map(|clause| {
                    let at = head.len().checked_sub(clause.len())?;
                    let tail = head.get(at..)?;
                    tail.eq_ignore_ascii_case(clause).then(|| head.get(..at))?
                })
                .map_or(head, <[u8]>::trim_ascii_end);
            let cols = match head.strip_suffix(b")") {
                _ if far.is_some() => far.unwrap_or_default(),
                // The list of columns began in a line before.
                Some(names) if !names.contains(&b'(') => {
                    let names = names.to_vec();
                    self.listed_columns(&names)
                }
                _ => self.insert_columns(head),
            };
            if let Some(hit) = cols.iter().find_map(|hit| *hit) {
                self.inserts = Some((hit, INSERT_LINES));
                self.args.clone_from(&cols);
                self.inner = Inner::Sql {
                    cols,
                    at: 0,
                    depth: 1,
                    text: None,
                    doubt: false,
                };
            }
            return next;
        }
        let lists = lists_columns(self.slice(self.line_floor(at), at).trim_ascii_end());
        self.create(at);
        if lists {
            self.names = Some(Names::columns(at + 1));
        }
        next
    }

    /// The columns that `INSERT INTO t` or `INSERT INTO t (a, b)` fills.
    fn insert_columns(&self, head: &[u8]) -> Vec<Option<Hit>> {
        if head.last() == Some(&b')') {
            let list = memchr::memrchr(b'(', head).and_then(|i| head.get(i + 1..head.len() - 1));
            let names = list.unwrap_or_default().split(|b| *b == b',');
            let mut cols = Vec::new();
            for name in names {
                push_column(&mut cols, self.rules.compiled().field(column(name)));
            }
            return cols;
        }
        let head = head
            .get(head.len().saturating_sub(NAME_MAX)..)
            .unwrap_or(head);
        let name = head.rsplit(|b| matches!(b, b' ' | b'.')).next();
        let name = column(name.unwrap_or_default()).to_ascii_lowercase();
        self.sql.columns(&name)
    }

    /// A line ends: the rows of an INSERT may begin in the next one, as dumps have them.
    pub(super) fn inserted(&mut self, from: usize, to: usize, above: Option<(usize, usize)>) {
        let before = self.values.take();
        let line = self.slice(from, to).trim_ascii();
        let names = match before.as_ref().map(|v| v.next) {
            Some(Next::Columns) => Some(line),
            Some(Next::List) => line.strip_prefix(b"(").filter(|n| !n.contains(&b')')),
            Some(Next::Word | Next::Row) | None => None,
        };
        if let Some(names) = names.map(<[u8]>::to_vec) {
            self.values = before;
            self.listed(&names);
            return;
        }
        let first = line.first().map(u8::to_ascii_lowercase);
        if !matches!(first, Some(b'i' | b'r' | b'v' | b'(')) || line.len() > LINE_CONTEXT {
            return;
        }
        let ends = line
            .len()
            .checked_sub(6)
            .and_then(|at| line.split_at_checked(at));
        let (head, values) = match ends {
            Some((head, word)) if word.eq_ignore_ascii_case(b"values") => (head.trim_ascii(), true),
            _ => (line, false),
        };
        if head.is_empty() {
            self.values = before.map(|values| Values {
                next: Next::Row,
                ..values
            });
            return;
        }
        let inserts = |line: &[u8]| {
            [b"insert ".as_slice(), b"replace "].iter().any(|word| {
                line.get(..word.len())
                    .is_some_and(|w| w.eq_ignore_ascii_case(word))
            })
        };
        let list = head.last() == Some(&b')') || !head.contains(&b'(');
        let above = above
            .map(|(a, b)| self.slice(a, b).trim_ascii())
            .unwrap_or_default();
        let goes_on = head.first() == Some(&b'(') && inserts(above);
        let into = |line: &[u8]| {
            let mut words = line.split(u8::is_ascii_whitespace).take(8);
            words.any(|w| w.eq_ignore_ascii_case(b"into"))
        };
        // Text may begin with the verb: rows follow where it says more.
        let begun = values || into(if goes_on { above } else { head });
        if (values || list) && (inserts(head) || goes_on) {
            let cols = self.insert_columns(head);
            let any = cols.iter().any(Option::is_some);
            let next = if begun { Next::Row } else { Next::Word };
            self.values = any.then_some(Values { cols, next });
        }
        if self.values.is_none() && begins_insert(self.slice(from, to)) {
            // The list of columns may have several lines.
            let line = self.slice(from, to);
            let names = memchr::memchr(b'(', line).map(|i| line.get(i + 1..).unwrap_or_default());
            let names = names.map(<[u8]>::to_vec);
            self.values = Some(Values {
                cols: Vec::new(),
                next: names.as_ref().map_or(Next::List, |_| Next::Columns),
            });
            if let Some(names) = names {
                self.listed(&names);
            }
        }
    }

    /// A line of a list of columns.
    fn listed(&mut self, line: &[u8]) {
        let is_list = |text: &[u8]| {
            text.iter().all(|b| {
                crate::name::is_word(*b)
                    || matches!(
                        b,
                        b'_' | b',' | b'"' | b'`' | b'[' | b']' | b'.' | b'$' | b' '
                    )
            })
        };
        let (names, rest) = match memchr::memchr(b')', line) {
            Some(at) => (line.get(..at), line.get(at + 1..)),
            None => (Some(line), None),
        };
        let cols = self.listed_columns(names.unwrap_or_default());
        if !is_list(names.unwrap_or_default()) {
            return;
        }
        let next = match rest.map(<[u8]>::trim_ascii) {
            None => Next::Columns,
            Some(b"") => Next::Word,
            Some(word) if word.eq_ignore_ascii_case(b"values") => Next::Row,
            Some(_) => return,
        };
        if next == Next::Columns || cols.iter().any(Option::is_some) {
            self.values = Some(Values { cols, next });
        }
    }

    /// The columns of the lines before, and those in `names`.
    fn listed_columns(&mut self, names: &[u8]) -> Vec<Option<Hit>> {
        let before = self
            .values
            .take()
            .filter(|v| matches!(v.next, Next::List | Next::Columns));
        let mut cols = before.map(|v| v.cols).unwrap_or_default();
        let names = names.split(|b| *b == b',').map(column);
        let names = names.filter(|name| !name.is_empty());
        for name in names {
            push_column(&mut cols, self.rules.compiled().field(name));
        }
        cols
    }

    /// A value of an INSERT, or what stands between two of them.
    pub(super) fn sql_values(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Sql {
            cols,
            at: index,
            depth,
            text,
            doubt,
        } = self.inner.clone()
        else {
            return At(self.pos);
        };
        let at = self.pos;
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        let set = |lane: &mut Self, at: usize, depth: usize| {
            lane.inner = Inner::Sql {
                cols: cols.clone(),
                at,
                depth,
                text: None,
                doubt: doubt && depth > 0,
            }
        };
        if let Some(mark) = text {
            let (flow, ends) = self.long_text(at, mark, limit, closed);
            if let Inner::Sql { text, .. } = &mut self.inner
                && ends
            {
                *text = None;
            }
            return flow;
        }
        match b {
            b'(' => {
                set(self, if depth == 0 { 0 } else { index }, depth + 1);
                At(at + 1)
            }
            b')' => {
                set(self, index, depth.saturating_sub(1));
                At(at + 1)
            }
            b',' => {
                set(self, if depth == 1 { index + 1 } else { index }, depth);
                At(at + 1)
            }
            b'\n'
                if depth > 0
                    || self.slice(0, at).ends_with(b",")
                    || self.slice(0, at).ends_with(b",\r") =>
            {
                self.line = at + 1;
                self.line_cut = false;
                self.above = None;
                self.sink.row += 1;
                At(at + 1)
            }
            b' ' | b'\t' | b'\r' => At(at + 1),
            b'R' | b'r' if depth == 0 => {
                let near = rest.get(..4).unwrap_or(rest);
                if near.eq_ignore_ascii_case(b"row(") {
                    return At(at + 3);
                }
                let begins = b"row(".get(..near.len());
                if !closed && begins.is_some_and(|row| row.eq_ignore_ascii_case(near)) {
                    return self.more_after(at.saturating_sub(1));
                }
                self.inner = Inner::Text;
                At(at)
            }
            _ if depth == 0 => {
                self.inner = Inner::Text;
                At(at)
            }
            _ => {
                let hit = column_at(&cols, index);
                let (start, end, place) = if b == b'\'' || b == b'"' {
                    let from = match self.seen.take() {
                        Some((seen, from)) if seen == at + 1 => from,
                        Some(_) | None => at + 1,
                    };
                    let found = self.sql_string(at + 1, from, b, limit, closed);
                    match found {
                        End::Quote(end) => (at + 1, end, Place::Inside),
                        End::Line(end) => (at + 1, end, Place::Inside),
                        End::Open(_) if limit - at > VALUE_MAX => {
                            if let Some(hit) = hit {
                                self.mask(at + 1, limit, hit, Place::Inside, "sql");
                                self.swallow_until(Until::Text(sql_quote(b)));
                                return At(limit);
                            }
                            if let Inner::Sql { text, .. } = &mut self.inner {
                                *text = Some(b);
                            }
                            return At(at + 1);
                        }
                        End::Open(upto) => {
                            self.seen = Some((at + 1, upto));
                            return self.more(at);
                        }
                    }
                } else {
                    let size = rest
                        .iter()
                        .position(|b| matches!(b, b',' | b')' | b'\n' | b'(' | b'\''));
                    match size.or(closed.then_some(rest.len())) {
                        Some(size) => (at, at + trimmed(rest, size).max(1), Place::Word),
                        None if limit - at > VALUE_MAX => (at, limit, Place::Word),
                        None => return self.more(at),
                    }
                };
                // PostgreSQL does not escape by backslashes: the string may have ended before, and
                // with it the columns are others.
                let doubt = doubt || place == Place::Inside && ends_early(self.slice(start, end));
                let any = cols.iter().find_map(|hit| *hit).filter(|_| doubt);
                if let (Inner::Sql { doubt, .. }, Some(_)) = (&mut self.inner, any) {
                    *doubt = true;
                }
                match hit.or(any) {
                    Some(hit) if self.parameter(start, end, hit) => {}
                    Some(hit) if any.is_some() => {
                        self.mask_part(start, end, hit, place, "sql");
                    }
                    Some(hit) => {
                        if !value::is_nothing(self.slice(start, end)) {
                            let number = place == Place::Word;
                            if number {
                                self.sql_literal(start, end, hit);
                            } else {
                                self.mask(start, end, hit, place, "sql");
                            }
                        }
                    }
                    None => {
                        self.sql_inside(start, end, true);
                    }
                }
                At((end + usize::from(place == Place::Inside))
                    .min(limit)
                    .max(at + 1))
            }
        }
    }

    /// Whether what stands for a value is a parameter (`$2`), whose value a log says in the next
    /// lines.
    pub(super) fn parameter(&mut self, start: usize, end: usize, hit: Hit) -> bool {
        if is_parameter(self.slice(start, end)) {
            // In an `INSERT` its columns say which one it is.
            if !matches!(self.inner, Inner::Sql { .. }) {
                self.args = vec![Some(hit); COLUMNS_MAX];
            }
            self.inserts = Some((hit, INSERT_LINES));
            return true;
        }
        let Some(number) = self.slice(start, end).strip_prefix(b"$").and_then(number) else {
            return false;
        };
        if self.params.len() < PARAMETERS_MAX {
            self.params.push((number, hit));
        }
        self.inserts = Some((hit, INSERT_LINES));
        true
    }

    /// The field whose value the parameter before the sign at `at` is.
    pub(super) fn parameter_hit(&self, at: usize) -> Option<Hit> {
        if self.params.is_empty() {
            return None;
        }
        let before = self.slice(at.saturating_sub(16), at).trim_ascii_end();
        let sign = memchr::memrchr(b'$', before)?;
        let number = number(before.get(sign + 1..)?)?;
        let param = self.params.iter().rev().find(|(n, _)| *n == number);
        param.map(|(_, hit)| *hit)
    }

    /// The rest of a string that is too long to be waited for and not protected: it is looked at
    /// part by part, so that the values behind it keep their columns. Whether it ends.
    pub(super) fn long_text(
        &mut self,
        at: usize,
        mark: u8,
        limit: usize,
        closed: bool,
    ) -> (Flow, bool) {
        let (end, whole) = match self.sql_string(at, at, mark, limit, closed) {
            End::Quote(end) | End::Line(end) => (end, true),
            End::Open(_) => (limit, closed),
        };
        let size = (end - at).min(PART_MAX);
        if size < PART_MAX && !whole {
            return (self.more(at), false);
        }
        let last = at + size == end && whole;
        let reached = self.sql_inside(at, at + size, last);
        if !last {
            return (At(reached.max(at + 1)), false);
        }
        (At((end + 1).min(limit).max(at + 1)), true)
    }

    /// Where a string ends whose content begins at `start`, and that does not end before `from`: it
    /// may have several lines.
    pub(super) fn sql_string(
        &self,
        start: usize,
        from: usize,
        mark: u8,
        limit: usize,
        closed: bool,
    ) -> End {
        let text = self.slice(0, limit);
        let quote = sql_quote(mark);
        let mut found = value::quoted_end(text, start, from, quote, closed);
        while let End::Line(end) = found {
            let Some(next) = memchr::memchr(b'\n', self.slice(end, limit)) else {
                break;
            };
            found = value::quoted_end(text, start, end + next + 1, quote, closed);
        }
        found
    }

    /// Detectors and keys inside of a value that is not protected. How far it has been looked at:
    /// a token at an end that is not certain is left.
    pub(super) fn sql_inside(&mut self, start: usize, end: usize, closed: bool) -> usize {
        let inner = std::mem::replace(&mut self.inner, Inner::Text);
        self.pos = start;
        let frame = self.frame;
        let mut left = None;
        while self.pos < end {
            let text = self.slice(0, end);
            let event = find::event(text, self.pos, self.rules.compiled().has_paths);
            match self.own_before(event, end, closed) {
                Some(At(next)) => {
                    self.pos = next;
                    continue;
                }
                Some(More) if !closed => {
                    left = Some(self.pos);
                    break;
                }
                Some(More) | None => {}
            }
            let Some(event) = event else {
                break;
            };
            self.pos = event;
            if self.byte(event) == Some(b'\n') {
                self.pos += 1;
                continue;
            }
            match self.event(event, end, closed) {
                At(next) => self.pos = next.max(event + 1),
                More => {
                    left = Some(event);
                    break;
                }
            }
            self.frame = frame;
            self.inner = Inner::Text;
        }
        if closed {
            self.own_rest(end, true);
        }
        self.inner = inner;
        left.filter(|_| !closed).unwrap_or(end)
    }

    fn sql_literal(&mut self, start: usize, end: usize, hit: Hit) {
        // A number becomes a string, which SQL takes anywhere.
        self.mask(start, end, hit, Place::Word, "sql");
    }
}

/// A text without the `ROW` that it ends with, behind `VALUES`.
fn without_row(words: &[u8]) -> &[u8] {
    let tail = words.len().checked_sub(10).and_then(|at| words.get(at..));
    match tail {
        Some(tail) if tail.eq_ignore_ascii_case(b"values row") => {
            words.get(..words.len() - 4).unwrap_or_default()
        }
        _ => words,
    }
}

/// Whether a value is a parameter without a number, as drivers write it.
fn is_parameter(value: &[u8]) -> bool {
    matches!(value, b"?" | b"%s")
        || value
            .strip_prefix(b"%(")
            .and_then(|name| name.strip_suffix(b")s"))
            .is_some_and(|name| name.iter().all(|b| crate::name::is_word(*b) || *b == b'_'))
}

/// The number of a parameter.
fn number(digits: &[u8]) -> Option<u32> {
    let plain = digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

/// More parameters are not remembered.
const PARAMETERS_MAX: usize = 256;
/// So many lines behind an `INSERT` an error may tell of its row.
const INSERT_LINES: u32 = 8;

/// What may stand between the columns of an `INSERT` and its values.
const OVERRIDING: [&[u8]; 2] = [b"overriding system value", b"overriding user value"];

/// Whether columns follow a text: `INSERT INTO t`, `insert`. Nothing before a bracket is looked at.
fn lists_columns(words: &[u8]) -> bool {
    let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'(' | b';');
    let at = words.iter().rposition(ends).map_or(0, |at| at + 1);
    let (before, name) = words.split_at(at);
    if before.last().is_some_and(|b| matches!(b, b'(' | b';')) {
        return before.last() == Some(&b';') && name.eq_ignore_ascii_case(b"insert");
    }
    if name.eq_ignore_ascii_case(b"insert") {
        return true;
    }
    let before = before.trim_ascii_end();
    let Some((head, into)) = before.len().checked_sub(4).map(|at| before.split_at(at)) else {
        return false;
    };
    into.eq_ignore_ascii_case(b"into")
        && head
            .last()
            .is_none_or(|b| b.is_ascii_whitespace() || *b == b';')
}

/// Whether a string may have ended at a quote that a backslash stands before.
fn ends_early(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, b"\\'").any(|at| {
        let rest = text.get(at + 2..).unwrap_or_default().trim_ascii_start();
        matches!(rest.first(), Some(b',' | b')'))
    })
}

/// A quote of SQL.
fn sql_quote(mark: u8) -> Quote {
    Quote::plain(mark)
}

/// So much of a long string is looked at in one go.
const PART_MAX: usize = 8192;

/// Whether a line begins an `INSERT` whose columns, if it has any, are not all there.
pub(crate) fn begins_insert(line: &[u8]) -> bool {
    line.get(..12)
        .is_some_and(|w| w.eq_ignore_ascii_case(b"insert into "))
        && line.len() <= LINE_CONTEXT
        && !line.contains(&b')')
}

/// The name of a column or a table, without its quotes.
pub(super) fn column(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    while let Some((first, rest)) = text.split_first() {
        if !matches!(first, b'"' | b'`' | b'[' | b'\'') {
            break;
        }
        text = rest;
    }
    while let Some((last, rest)) = text.split_last() {
        if !matches!(last, b'"' | b'`' | b']' | b'\'') {
            break;
        }
        text = rest;
    }
    text
}
