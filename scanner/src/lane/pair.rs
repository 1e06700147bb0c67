//! Names that stand as values: `"Name": "ssn"`, and `name | value`.

use crate::mask::Place;
use crate::name::Words;
use crate::rules::Hit;
use crate::value::{End, Key, Quote};
use crate::{table, value};

use super::Flow::At;
use super::behind::BEHIND_MAX;
use super::{Flow, Frame, LOOK_BACK, Lane, Pair, Until, VALUE_MAX, first_char};

impl Lane {
    /// Whether the key is one half of `{"Name": N, "Value": V}`.
    pub(super) fn pair(&mut self, key: &Key, after: usize, limit: usize, closed: bool) -> Paired {
        let name = self.slice(key.name.0, key.name.1);
        // An attribute stands behind the name of its element.
        let sign = self.byte(after.wrapping_sub(1)) == Some(b'=');
        let name = match memchr::memrchr(b' ', name).filter(|_| sign && key.quote.is_none()) {
            Some(space) => name.get(space + 1..).unwrap_or_default(),
            None => name,
        };
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
                | b"ut"
                | b"oc"
                | b"k"
                | b"v"
        ) {
            return Paired::No;
        }
        let words = Words::of(name);
        if words.count() > 3 {
            return Paired::No;
        }
        if words.joined() == b"varcharvalue" {
            return self.wrapped_name(key, after, limit, closed);
        }
        if words.joined() == b"loc" {
            return self.located(key, after, limit, closed);
        }
        let input = words.joined() == b"input" && self.pair.is_some_and(|pair| pair.key == LOCATED);
        if input || is_name_of_value(&words) {
            let Some(pair) = self.pair else {
                return self.named_behind(key, after, limit, closed);
            };
            if key.start.saturating_sub(pair.at) > LOOK_BACK {
                self.pair = None;
                return self.named_behind(key, after, limit, closed);
            }
            let between = self.slice(pair.at, key.start);
            // Attributes of another element.
            let attribute = self.byte(after.wrapping_sub(1)) == Some(b'=');
            if attribute && memchr::memchr(b'<', between).is_some() {
                self.pair = None;
                return self.named_behind(key, after, limit, closed);
            }
            // Another item of YAML, or a line that a map of it ends with.
            let column = key.start.saturating_sub(self.line);
            let item = between.split(|b| *b == b'\n').skip(1).any(|line| {
                let text = line.trim_ascii_start();
                let ends = key.quote.is_none() && !attribute && !text.is_empty();
                text.starts_with(b"- ") || ends && line.len() - text.len() < column
            });
            return if leaves(between) || item {
                self.named_behind(key, after, limit, closed)
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
        let Some(said) = self.said_name(after, limit, closed) else {
            return Paired::More;
        };
        if let Some(hit) = said {
            self.described_name(key, hit);
        }
        match (said, self.pair) {
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

    /// A value in an error of MySQL, whose quote stands at `at`, and its column or key behind it:
    /// `'…' for column 'ssn'`.
    pub(super) fn named_error(&self, at: usize, limit: usize, closed: bool) -> Paired {
        let rest = self.slice(at, limit);
        let near = rest.get(..BEHIND_MAX).unwrap_or(rest);
        let line = memchr::memchr(b'\n', near);
        if line.is_none() && near.len() < BEHIND_MAX && !closed {
            return Paired::More;
        }
        let text = near.get(..line.unwrap_or(near.len())).unwrap_or_default();
        let name = [b"' for column ".as_slice(), b"' for key "]
            .iter()
            .find_map(|word| {
                let at = memchr::memmem::rfind(text, word)?;
                text.get(at + word.len()..)
            });
        let quoted =
            |b: &u8| matches!(b, b'\'' | b'`' | b'.') || crate::name::is_word(*b) || *b == b'_';
        let name = name.unwrap_or_default();
        let size = name.iter().take_while(|b| quoted(b)).count();
        match self
            .rules
            .compiled()
            .field(name.get(..size).unwrap_or_default())
        {
            Some(hit) => Paired::Value(hit),
            None => Paired::No,
        }
    }

    /// Where an error of FastAPI is: `"loc":["body","ssn"],…,"input":"…"`.
    fn located(&mut self, key: &Key, after: usize, limit: usize, closed: bool) -> Paired {
        let rest = self.slice(after, limit);
        let near = rest.get(..LOCATED_MAX).unwrap_or(rest);
        let Some(end) = memchr::memchr(b']', near) else {
            let more = !closed && near.len() < LOCATED_MAX && key.quote.is_some();
            return if more { Paired::More } else { Paired::No };
        };
        let list = near.get(..end).unwrap_or_default();
        let list = list.trim_ascii_start().strip_prefix(b"[");
        let name = list.and_then(|list| list.rsplit(|b| *b == b',').next());
        let name = name.map(super::sql::column);
        if let Some(hit) = name.and_then(|name| self.rules.compiled().field(name)) {
            self.pair = Some(Pair {
                at: after,
                hit,
                key: LOCATED,
            });
        }
        Paired::No
    }

    /// The field that the value behind a key names, if any; `None`: more is needed.
    fn said_name(&self, after: usize, limit: usize, closed: bool) -> Option<Option<Hit>> {
        let rest = self.slice(after, limit);
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let rest = rest.get(spaces..).unwrap_or_default();
        let head = rest
            .iter()
            .take_while(|b| matches!(b, b'"' | b'\'' | b'\\'))
            .count();
        let body = rest.get(head..).unwrap_or_default();
        // A value of Go has no blank before it: `{Name:SSN Value:…}`.
        let bare = spaces == 0 && head == 0;
        let words = |colon: bool| {
            let part = |b: &&u8| {
                crate::name::is_word(**b)
                    || matches!(b, b'_' | b'-' | b'.' | b'/' | b' ')
                    || colon && **b == b':'
            };
            body.iter().take(96).take_while(part).count()
        };
        let mut size = words(!bare);
        // AWS puts a comma behind it: `Name=db password,Value=…`.
        let comma = body.get(size) == Some(&b',') || size == body.len() && !closed;
        if bare && !comma {
            let first = body.iter().take(size).position(|b| *b == b' ');
            size = first.unwrap_or(size);
        }
        if size == body.len() && !closed && size < 96 {
            return None;
        }
        Some(
            self.rules
                .compiled()
                .field(body.get(..size).unwrap_or_default()),
        )
    }

    /// The name of a column in the first row, which has a wrapper.
    fn wrapped_name(&mut self, key: &Key, after: usize, limit: usize, closed: bool) -> Paired {
        match self.said_name(after, limit, closed) {
            None => return Paired::More,
            Some(Some(hit)) => self.described_name(key, hit),
            Some(None) => {}
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
            .or_else(|| before.strip_prefix("┃".as_bytes()))
            .or_else(|| before.strip_prefix("║".as_bytes()))
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
                || self.framed.is_some() && table::is_boxed_pair(above.as_bytes())
        });
        let listed = self.listing == Some(table::Listing::Bars);
        let pairs = pairs || listed || self.lined > 1;
        let named = cell
            .trim()
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | ' ' | '-'));
        if more
            || (named && !pairs)
            || !listed && is_type(cell.trim().as_bytes())
            || cell.trim().bytes().all(|b| matches!(b, b'-' | b'=' | b':'))
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

impl Lane {
    /// A list of a name and its value: `["ssn", "…"]`, `('ssn', '…')`. `at` is the comma.
    pub(super) fn tuple(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let next = At(at + 1);
        if self.rules.compiled().fields.is_empty() {
            return next;
        }
        let floor = at.saturating_sub(TUPLE_BACK);
        let Some(key) = value::key_before(self.text(), at, floor) else {
            return next;
        };
        let before = self.slice(floor, key.start).trim_ascii_end();
        let Some(hit) = self
            .rules
            .compiled()
            .field(self.slice(key.name.0, key.name.1))
            .filter(|_| match before {
                // A binary of Erlang.
                [.., b'{', b'<', b'<'] => key.quote.is_some(),
                // An atom of it, before a string.
                [.., b'{'] if key.quote.is_none() => {
                    matches!(self.byte(at + 1), None | Some(b'"' | b'<'))
                }
                [.., b'[' | b'(' | b'{'] => key.quote.is_some(),
                // A symbol of Ruby or Elixir.
                [.., b'[' | b'{' | b'(', b':'] => key.quote.is_none(),
                _ => false,
            })
            // A pattern is no name.
            .filter(|_| {
                let name = self.slice(key.name.0, key.name.1);
                memchr::memchr3(b'^', b'$', b'(', name).is_none()
            })
        else {
            return next;
        };
        let in_list = is_in_list(before);
        let atom = key.quote.is_none() && before.last() == Some(&b'{');
        let rest = self.slice(at + 1, limit);
        let spaces = rest
            .iter()
            .take(TUPLE_BACK)
            .take_while(|b| b.is_ascii_whitespace())
            .count();
        let mut v = at + 1 + spaces;
        if v >= limit {
            return if closed { next } else { self.more_after(at) };
        }
        let binary = match (self.byte(v), self.byte(v + 1), self.byte(v + 2)) {
            (Some(b'<'), None, _) | (Some(b'<'), Some(b'<'), None) if !closed => {
                return self.more(v);
            }
            (Some(b'<'), Some(b'<'), Some(b'"')) => 2,
            _ => 0,
        };
        v += binary;
        // A string that it stands in may end before.
        let (mut limit, mut closed) = (limit, closed);
        if matches!(self.byte(v), Some(b'\'' | b'`')) {
            match self.string_closes(v, limit, closed) {
                None if limit - v <= VALUE_MAX => return self.more(v),
                Some(Some(close)) => (limit, closed) = (close, true),
                None | Some(None) => {}
            }
        }
        let text = self.slice(0, limit);
        let (from, to, after) = match value::opening(text, v, closed) {
            None => return self.more(v),
            Some(Some(quote)) => {
                let content = v + quote.len();
                match value::quoted_end(text, content, content, quote, closed) {
                    End::Quote(end) => (content, end, end + quote.len()),
                    End::Line(_) => return next,
                    End::Open(_) if limit - v > VALUE_MAX => {
                        self.mask(content, limit, hit, Place::Inside, "key-value");
                        self.swallow_until(Until::Quote(quote));
                        return At(limit);
                    }
                    End::Open(_) => return self.more(v),
                }
            }
            Some(None) => {
                let number = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e');
                let size = self
                    .slice(v, limit)
                    .iter()
                    .take_while(|b| number(b))
                    .count();
                if size == 0 || size > NUMBER_MAX {
                    return next;
                }
                (v, v + size, v + size)
            }
        };
        let rest = self.slice(after, limit);
        let spaces = rest
            .iter()
            .take(TUPLE_BACK)
            .take_while(|b| b.is_ascii_whitespace() || binary > 0 && **b == b'>')
            .count();
        match rest.get(spaces) {
            None if !closed && spaces < TUPLE_BACK => return self.more(v),
            Some(b']' | b')' | b'}') => {}
            _ => return next,
        }
        // Two names are a list of names, unless it stands in a list of pairs or begins with an atom.
        let value = self.slice(from, to);
        let listed = atom || in_list && self.rules.compiled().field(value).is_none();
        if is_wordy(value) && !listed || value::is_nothing(self.slice(from, to)) {
            return next;
        }
        let place = if from == v {
            Place::Literal
        } else {
            Place::Inside
        };
        self.mask(from, to, hit, place, "key-value");
        // Its value may stand in the next line.
        if let Some(newline) = memchr::memrchr(b'\n', self.slice(at, from)) {
            self.line = at + newline + 1;
            self.line_cut = false;
            self.above = None;
        }
        At(after)
    }

    /// A line that is nothing but a protected name and its value, with a tab or spaces between
    /// them: what stands at `at`. In a list of AWS a word in capitals stands before the name.
    pub(super) fn spaced_pair(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let next = At(at + 1);
        let tab = self.byte(at) == Some(b'\t');
        let may_be_row = self.may_be_text();
        if self.frame != Frame::Line && !may_be_row
            || self.line_cut
            || at.saturating_sub(self.line) > TUPLE_BACK
            || self.rules.compiled().fields.is_empty()
        {
            return next;
        }
        let before = self.slice(self.line, at);
        let (label, name) = match memchr::memrchr(b'\t', before).filter(|_| tab) {
            Some(i) => before.split_at(i + 1),
            None => before.split_at(0),
        };
        let name = name.trim_ascii_start();
        let quoted = name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\""));
        let name = quoted.filter(|_| tab).unwrap_or(name);
        let labelled = label
            .iter()
            .all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'\t'))
            || is_cookie(label);
        let single = name
            .iter()
            .all(|b| crate::name::is_word(*b) || matches!(b, b'_' | b'-' | b'.'));
        if name.is_empty() || !labelled || !single {
            return next;
        }
        let Some(hit) = self.rules.compiled().field(name) else {
            return next;
        };
        let gap = self
            .slice(at, limit)
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let v = at + gap;
        if v >= limit {
            return if closed {
                At(limit)
            } else {
                self.more_after(v - 1)
            };
        }
        if !tab && gap < 2 {
            return next;
        }
        if may_be_row {
            // Whether it is one is known when the cell or the line ends.
            return if closed || limit - v > VALUE_MAX {
                next
            } else {
                self.more(v)
            };
        }
        let rest = self.slice(v, limit);
        let line = memchr::memchr(b'\n', rest).or(closed.then_some(rest.len()));
        let Some(size) = line else {
            if rest.len() > VALUE_MAX {
                self.mask(v, limit, hit, Place::Inside, "key-value");
                self.swallow_until(Until::Line);
                return At(limit);
            }
            return self.more(v);
        };
        let cell = rest.get(..size).unwrap_or_default().trim_ascii_end();
        let inner = cell.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\""));
        let inner = inner.filter(|c| tab && !c.contains(&b'"'));
        let from = v + usize::from(inner.is_some());
        let cell = inner.unwrap_or(cell);
        let cells = cell.contains(&b'\t') || memchr::memmem::find(cell, b"  ").is_some();
        let listed = self.listing == Some(table::Listing::Spaces);
        let listed = listed
            || self.above.is_some_and(|(a, b)| {
                let line = self.slice(self.line, v + size);
                is_below(self.slice(a, b), line)
            });
        let is_one = listed || !cells && is_value(cell);
        if cell.is_empty() || !is_one || value::is_nothing(cell) {
            return At(v);
        }
        let to = from + cell.len();
        let place = if tab { Place::Inside } else { Place::Cell };
        // `ssn  userId` may be the header of a table, too: then the lines after it are its rows.
        let column = !listed && may_be_column(cell);
        self.mask(from, to, hit, place, "key-value");
        self.told = !column;
        At(to)
    }
}

impl Lane {
    /// A name, one space, and a value in quotes at `at`, where more says that it is one: a keyword
    /// of Clojure or Lisp (`:ssn "…"`), SQL about a user (`PASSWORD '…'`), or a statement of a
    /// configuration (`secret "…";`).
    pub(super) fn quoted_behind(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let next = At(at + 1);
        let end = at.saturating_sub(1);
        let floor = match self.frame {
            Frame::Row => self.row.cell.max(self.line_floor(at)),
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line_floor(at),
        };
        if end > floor && self.byte(end - 1) == Some(b'"') {
            return self.quoted_word(at, floor.min(end), limit, closed);
        }
        if self
            .slice(floor.min(end), end)
            .ends_with(b"Duplicate entry")
        {
            return match self.named_error(at, limit, closed) {
                Paired::No => next,
                Paired::More => self.more(at),
                Paired::Value(hit) => {
                    let rest = self.slice(at + 1, limit);
                    let line = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                    let line = rest.get(..line).unwrap_or_default();
                    let size = memchr::memmem::rfind(line, b"' for key ");
                    let to = at + 1 + size.unwrap_or(line.len());
                    self.mask(at + 1, to, hit, Place::Inside, "sql");
                    At(to)
                }
            };
        }
        if let Some(flow) = self.condition(at, limit, closed) {
            return flow;
        }
        let Some(key) = self.key(end, floor.min(end)) else {
            return next;
        };
        let name = self.slice(key.name.0, key.name.1);
        let Some(hit) = self.rules.compiled().field(name) else {
            return next;
        };
        if key.quote.is_some() || key.name.1 != end {
            return next;
        }
        let before = self.slice(floor, key.start);
        let keyword = match before {
            [.., b, b':'] => !crate::name::is_word(*b) && *b != b':',
            [b':'] => true,
            _ => false,
        };
        let mark = self.byte(at).unwrap_or(b'"');
        let account = || {
            let line = self.slice(floor, end).to_ascii_lowercase();
            let says = |word: &[u8]| memchr::memmem::find(&line, word).is_some();
            says(b" user ") || says(b" role ") || says(b" login ")
        };
        let sure = mark == b'"' && keyword || mark == b'\'' && account();
        let quote = Quote::plain(mark);
        // A string that ends here is followed by another one: `"ssn ", ";"`, `":ssn ", "a"`.
        match self.closes_string(&key, at, quote, limit, closed) {
            None => return self.more(at),
            Some(true) => return next,
            Some(false) => {}
        }
        if sure {
            return self.quoted(key, at, quote, hit, limit, closed, false);
        }
        let rest = self.slice(at + 1, limit);
        let near = rest.get(..STATEMENT_MAX).unwrap_or(rest);
        let more = !closed && near.len() < STATEMENT_MAX;
        match memchr::memchr2(mark, b'\n', near) {
            None if more => self.more(at),
            Some(size) if near.get(size) == Some(&mark) => match near.get(size + 1) {
                None if more => self.more(at),
                Some(b';') if size > 0 => {
                    self.mask(at + 1, at + 1 + size, hit, Place::Inside, "key-value");
                    At(at + 1 + size)
                }
                _ => next,
            },
            _ => next,
        }
    }
}

impl Lane {
    /// A name and its value among other strings with one space between them, as `redis-cli monitor`
    /// shows commands: `"hset" "user:1" "ssn" "…"`. Names follow each other, too.
    fn quoted_word(&mut self, at: usize, floor: usize, limit: usize, closed: bool) -> Flow {
        let next = At(at + 1);
        let quote = Quote::plain(b'"');
        let end = at.saturating_sub(1);
        let Some(key) = self.key(end, floor).filter(|_| self.byte(at) == Some(b'"')) else {
            return next;
        };
        let (from, to) = key.name;
        let around = self.slice(from.saturating_sub(3), from);
        if around != b"\" \"" || self.slice(to, at) != b"\" " {
            return next;
        }
        let Some(hit) = self.rules.compiled().field(self.slice(from, to)) else {
            return next;
        };
        match value::quoted_end(self.slice(0, limit), at + 1, at + 1, quote, closed) {
            End::Quote(end) => {
                let value = self.slice(at + 1, end);
                if value::is_nothing(value) || is_wordy(value) {
                    return next;
                }
                self.mask(at + 1, end, hit, Place::Inside, "key-value");
                At(end + 1)
            }
            End::Line(_) => next,
            End::Open(_) if limit - at > VALUE_MAX => {
                self.mask(at + 1, limit, hit, Place::Inside, "key-value");
                self.swallow_until(Until::Quote(quote));
                At(limit)
            }
            End::Open(_) => self.more(at),
        }
    }
}

/// A longer string is no value of such a statement.
const STATEMENT_MAX: usize = 256;
/// How far before a value its name may begin.
const TUPLE_BACK: usize = 192;
/// A longer number is none.
const NUMBER_MAX: usize = 64;

/// Whether a text is nothing but words: a list of names, or what a person is told.
fn is_wordy(text: &[u8]) -> bool {
    text.split(|b| matches!(b, b' ' | b'_' | b'-')).all(|word| {
        let word = word.strip_suffix(b":").unwrap_or(word);
        let rest = word.get(1..).unwrap_or_default();
        word.iter().all(u8::is_ascii_alphabetic)
            && (rest.iter().all(u8::is_ascii_lowercase) || word.iter().all(u8::is_ascii_uppercase))
    })
}

/// Whether the bracket that a text ends with opens a member of a list of lists, as far as what
/// stands before it says.
fn is_in_list(before: &[u8]) -> bool {
    let Some((open, outer)) = before.split_last() else {
        return false;
    };
    matches!(
        (open, outer.trim_ascii_end()),
        (b'[' | b'(', [.., b'['] | [.., b']' | b')', b','])
    )
}

/// Whether the cells before the last tab are those of a line of a cookie jar, but for its name and
/// its value: domain, whether its hosts get it, path, whether only over TLS, when it ends.
fn is_cookie(label: &[u8]) -> bool {
    let mut cells = label.split(|b| *b == b'\t');
    let truth = |cell: Option<&[u8]>| matches!(cell, Some(b"TRUE" | b"FALSE"));
    cells.next().is_some_and(|domain| domain.contains(&b'.'))
        && truth(cells.next())
        && cells.next().is_some_and(|path| path.starts_with(b"/"))
        && truth(cells.next())
        && cells
            .next()
            .is_some_and(|end| end.iter().all(u8::is_ascii_digit))
        && cells.next() == Some(b"")
        && cells.next().is_none()
}

/// Whether what stands behind a name and a gap is its value: one word that is no word of a
/// language, and no type.
fn is_value(cell: &[u8]) -> bool {
    let kind = cell
        .iter()
        .take_while(|b| b.is_ascii_alphabetic() || **b == b'_')
        .count();
    let after = cell.get(kind..).unwrap_or_default();
    let size = kind > 0
        && (after.first() == Some(&b'(') && after.last() == Some(&b')')
            || after.len() <= 2
                && TYPES
                    .iter()
                    .any(|t| cell.get(..kind).is_some_and(|k| k.eq_ignore_ascii_case(t))));
    !size && !cell.contains(&b' ') && !is_wordy(cell) && !begins_otherwise(cell)
}

/// Whether a cell begins like a note, an argument, or another cell, and no value.
fn begins_otherwise(cell: &[u8]) -> bool {
    matches!(cell, [b'[' | b'<' | b'(' | b'*' | b'|', ..])
        || matches!(cell, [b'-', next, ..] if !next.is_ascii_digit())
        || first_char(cell).is_some_and(table::is_separator)
}

/// Whether a line of a name and a value is one of a list, as the line above says: the values end in
/// one column, as no text does; or they begin in one, and this one is not mostly words.
pub(super) fn is_below(above: &[u8], line: &[u8]) -> bool {
    let gap = memchr::memmem::rfind(line.trim_ascii_end(), b"  ");
    let value = gap.and_then(|at| line.get(at..)).unwrap_or_default();
    let value = value.trim_ascii_start();
    match table::pairs_below(above, line) {
        None => false,
        Some(_) if begins_otherwise(value) => false,
        Some(table::Side::Right) => true,
        Some(table::Side::Left) => {
            let words = value.split(|b| *b == b' ').filter(|word| !word.is_empty());
            let (words, others) =
                words.fold((0, 0), |(words, others), word| match is_wordy(word) {
                    true => (words + 1, others),
                    false => (words, others + 1),
                });
            words <= others && others > 0
        }
    }
}

/// Whether a word may name a column: letters, and no digits but a few at the end of it or of one of
/// its parts.
fn may_be_column(cell: &[u8]) -> bool {
    cell.split(|b| matches!(b, b'_' | b'.')).all(|part| {
        let letters = part.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let digits = part.get(letters..).unwrap_or_default();
        digits.len() <= 2 && digits.iter().all(u8::is_ascii_digit)
    })
}

/// Whether a cell says which type a column has: `\\gdesc`, `DESCRIBE`.
fn is_type(cell: &[u8]) -> bool {
    const TYPES: [&[u8]; 12] = [
        b"text",
        b"integer",
        b"bigint",
        b"varchar",
        b"character varying",
        b"character",
        b"numeric",
        b"decimal",
        b"boolean",
        b"jsonb",
        b"bytea",
        b"uuid",
    ];
    let name = cell.split(|b| *b == b'(').next().unwrap_or_default();
    let size = cell.get(name.len()..).unwrap_or_default();
    TYPES.iter().any(|t| t.eq_ignore_ascii_case(name))
        && size
            .iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'(' | b')' | b','))
}

/// Names of types that end with a number.
const TYPES: [&[u8]; 8] = [
    b"int", b"uint", b"float", b"i", b"u", b"f", b"utf", b"bytes",
];

/// What stands for the key of a place in an error, and how long that is at most.
const LOCATED: u64 = u64::MAX;
const LOCATED_MAX: usize = 512;

/// Whether a key says that its value is a name.
pub(super) fn is_name_of_name(words: &Words) -> bool {
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
