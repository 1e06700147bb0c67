//! JSON that tells the names of columns in one list, and each row as a list of values:
//! `{"columns":["id","ssn"],"rows":[[1,"…"]]}`, as the APIs of databases print it. The names may
//! be members of objects (`"fields":[{"name":"ssn"}]`), the first row, or a line of their own; the
//! values may have a wrapper each (`{"f":[{"v":"…"}]}`).

use crate::mask::Place;
use crate::name::Words;
use crate::rules::Hit;
use crate::table::COLUMNS_MAX;
use crate::value::{self, End, Key, Quote};

use super::Flow::At;
use super::{Flow, Inner, LOOK_BACK, Lane, Until, VALUE_MAX};

/// Columns whose names a list has told.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    cols: Vec<Option<Hit>>,
    /// Every column from one on may be protected: how many names stand before is not known.
    rest: Option<(usize, Hit)>,
    /// Where the list of names begins, while that is here.
    at: Option<usize>,
    /// The last protected name of it that was seen: where it stands, and what is known of it. So a
    /// list of many is looked through once.
    last: Option<(usize, Option<usize>, usize)>,
    /// The names are a line of their own, and so are the rows.
    lone: bool,
    /// Backslashes before quotes: all of it is in a string.
    slashes: usize,
    /// Each value of a row has a wrapper, as Athena writes it.
    wrapped: bool,
    /// A column may be a list of its own, as Grafana writes it: its names are in objects, and so
    /// many lists were begun.
    columnar: bool,
    begun: usize,
    /// The names stand in this line, which begins with a bracket.
    here: bool,
    whole: bool,
    /// Lines since the names, or the last row.
    idle: u32,
}

impl Lists {
    fn hit(&self, index: usize) -> Option<Hit> {
        let rest = self.rest.filter(|(from, _)| index >= *from);
        let col = self.cols.get(index).copied().flatten();
        col.or(rest.map(|(_, hit)| hit))
    }

    /// The text before `keep` is forgotten.
    pub(super) fn forget(&mut self, keep: usize) {
        self.at = self.at.and_then(|at| at.checked_sub(keep));
        self.last = self.last.and_then(|(at, open, before)| {
            Some((
                at.checked_sub(keep)?,
                open.and_then(|at| at.checked_sub(keep)),
                before,
            ))
        });
    }
}

/// Where in such a row we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// It has round brackets.
    round: bool,
    /// The element.
    index: usize,
    /// How many brackets are open.
    depth: usize,
    /// Everything in it is protected.
    all: Option<Hit>,
    /// A protected key stands in it: what follows it, so deep.
    under: Option<(Hit, usize)>,
    /// In a string that is too long to be waited for: its quote.
    text: Option<u8>,
}

/// What stands before the bracket that opens a list.
#[derive(Clone, Copy, Debug)]
enum Before {
    Key(Key),
    /// Another one: it is the first element of a list.
    Open,
    /// Another list, which it follows.
    List,
    /// Nothing: it begins a line.
    Line,
    Other,
}

/// More lines without a row end it.
const IDLE_MAX: u32 = 1000;

impl Lane {
    /// A string ends before `end`, where its list goes on or ends: it may name a column.
    pub(super) fn listed_name(&mut self, end: usize) {
        if !self.reads_text() {
            return;
        }
        let floor = self.line_floor(end).min(end);
        let Some((key, quote)) = self.key(end, floor).and_then(|k| Some((k, k.quote?))) else {
            return;
        };
        let name = self.slice(key.name.0, key.name.1);
        let Some(hit) = self.rules.compiled().field(name).filter(|_| !quote.doubled) else {
            return;
        };
        let Some((open, before)) = self.list_before(key.start) else {
            return;
        };
        let mut lone = false;
        match open.map(|at| self.before_list(at)) {
            Some(Before::Key(key)) if !may_list_names(self.slice(key.name.0, key.name.1)) => return,
            Some(Before::List | Before::Other) => return,
            Some(Before::Line) => lone = true,
            Some(Before::Key(_) | Before::Open) | None => {}
        }
        self.column_listed(open, before, hit, quote.slashes);
        if let Some(lists) = &mut self.lists {
            lists.lone = lone || open.is_none() && lists.lone;
            lists.last = Some((key.start, open, before));
        }
    }

    /// A path ends with a protected name, as `jq --stream` and `jq path(..)` write it, and its value
    /// follows: `[["users",0,"ssn"],"…"]`, or in the next line. `end` is where the name ends.
    pub(super) fn streamed(&mut self, end: usize, limit: usize, closed: bool) -> Option<Flow> {
        if !self.reads_text() {
            return None;
        }
        let floor = self.line_floor(end).min(end);
        let key = self.key(end, floor)?;
        let quote = key.quote.filter(|q| !q.doubled && q.mark == b'"')?;
        let hit = self
            .rules
            .compiled()
            .field(self.slice(key.name.0, key.name.1))?;
        let open = self.path_before(key.start)?;
        let within = match self.before_list(open) {
            Before::Open => true,
            Before::Line => false,
            Before::Key(_) | Before::List | Before::Other => return None,
        };
        let rest = self.slice(end, limit);
        let near = rest.get(..STREAM_MAX).unwrap_or(rest);
        let blank = |at: usize| {
            let rest = near.get(at..).unwrap_or_default();
            at + (rest.len() - rest.trim_ascii_start().len())
        };
        let more = !closed && near.len() < STREAM_MAX;
        let mut at = blank(0);
        for wanted in [b']', b','] {
            if wanted == b',' && !within {
                continue;
            }
            match near.get(at) {
                None if more => return Some(self.more_after(end.saturating_sub(1))),
                Some(b) if *b == wanted => at = blank(at + 1),
                _ => return None,
            }
        }
        let v = end + at;
        let lines = memchr::memchr_iter(b'\n', near.get(..at).unwrap_or_default()).count();
        match near.get(at) {
            None if more => return Some(self.more_after(end.saturating_sub(1))),
            Some(b'"') if within || lines > 0 => {}
            _ => return None,
        }
        let newline = memchr::memrchr(b'\n', near.get(..at).unwrap_or_default());
        let value = Key {
            start: v,
            name: (v, v),
            quote: Some(quote),
        };
        let flow = self.quoted(value, v, quote, hit, limit, closed, false);
        if let (At(_), Some(newline)) = (&flow, newline) {
            self.sink.row += lines as u64;
            self.line = end + newline + 1;
            self.line_cut = false;
            self.above = None;
        }
        Some(flow)
    }

    /// The same where the name ends its line, at `at`.
    pub(super) fn streamed_below(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let end = at - usize::from(at > 0 && self.byte(at - 1) == Some(b'\r'));
        if self.byte(end.checked_sub(1)?) != Some(b'"') {
            return None;
        }
        self.streamed(end, limit, closed)
    }

    /// Where the path begins whose last name stands at `start`: strings and numbers.
    fn path_before(&self, start: usize) -> Option<usize> {
        let floor = start.saturating_sub(LOOK_BACK / 2);
        let text = self.slice(floor, start);
        let mut inside = false;
        for (k, b) in text.iter().enumerate().rev() {
            match b {
                b'"' => inside = !inside,
                _ if inside => {}
                b'[' => return Some(floor + k),
                b',' | b'0'..=b'9' => {}
                b if b.is_ascii_whitespace() => {}
                _ => return None,
            }
        }
        None
    }

    /// A member of an object says the name of a protected field, under `key`.
    pub(super) fn described_name(&mut self, key: &Key, hit: Hit) {
        let Some(quote) = key.quote.filter(|q| !q.doubled) else {
            return;
        };
        if !self.reads_text() {
            return;
        }
        let Some((open, before)) = self.object_before(key.start, quote) else {
            return;
        };
        let name = Words::of(self.slice(key.name.0, key.name.1));
        let wrapped = name.joined() == b"varcharvalue";
        let mut fields = false;
        match open.map(|at| self.before_list(at)) {
            Some(Before::Key(key)) => {
                let words = Words::of(self.slice(key.name.0, key.name.1));
                if !(describes_columns(&words) || wrapped && words.joined() == b"data") {
                    return;
                }
                fields = words.joined() == b"fields";
            }
            None => {}
            Some(_) => return,
        }
        self.column_listed(open, before, hit, quote.slashes);
        if let Some(lists) = &mut self.lists {
            (lists.wrapped, lists.columnar) = (wrapped, fields);
        }
    }

    /// The column at `index` of the list that begins at `open` is protected; where its beginning
    /// is not known it may be one behind.
    fn column_listed(&mut self, open: Option<usize>, index: usize, hit: Hit, slashes: usize) {
        if open.is_some() && self.lists.as_ref().is_some_and(|lists| lists.at != open) {
            self.lists = None;
        }
        let first = self.byte(self.line);
        let whole = self.line_cut || matches!(first, Some(b'{' | b'[' | b'('));
        let lists = self.lists.get_or_insert_with(|| Lists {
            cols: Vec::new(),
            rest: None,
            at: open,
            last: None,
            lone: false,
            slashes,
            wrapped: false,
            columnar: false,
            begun: 0,
            here: true,
            whole,
            idle: 0,
        });
        if open.is_none() || index >= COLUMNS_MAX {
            let index = index.min(COLUMNS_MAX);
            let from = lists.rest.map_or(index, |(from, _)| from.min(index));
            lists.rest = Some((from, hit));
            return;
        }
        if lists.cols.len() <= index {
            lists.cols.resize(index + 1, None);
        }
        if let Some(col) = lists.cols.get_mut(index) {
            *col = Some(hit);
        }
    }

    /// How far back a list is looked for.
    pub(super) fn list_floor(&self, at: usize) -> usize {
        let floor = at.saturating_sub(LOOK_BACK);
        if self.is_far(at) {
            floor
        } else {
            floor.min(self.line)
        }
    }

    /// Where the white space before `at` begins.
    pub(super) fn blanks_before(&self, at: usize, floor: usize) -> usize {
        let before = self.slice(floor, at);
        floor + before.trim_ascii_end().len()
    }

    /// Where the list begins in which a string stands at `start`, if it is near, and how many
    /// strings stand before. `None`: it stands in no such list.
    fn list_before(&self, start: usize) -> Option<(Option<usize>, usize)> {
        let floor = self.list_floor(start);
        let (mut at, mut before) = (start, 0);
        loop {
            at = self.blanks_before(at, floor);
            match self.byte(at.checked_sub(1)?)? {
                _ if at <= floor => return Some((None, before)),
                b'[' | b'(' => return Some((Some(at - 1), before)),
                b',' => {}
                _ => return None,
            }
            at = self.blanks_before(at - 1, floor);
            let near = at.saturating_sub(floor) < value::KEY_MAX + 64;
            match value::key_before(self.text(), at, floor) {
                Some(key) if key.quote.is_some() => at = key.start,
                None if near && floor > 0 => return Some((None, before)),
                _ => return None,
            }
            before += 1;
            let last = self.lists.as_ref().and_then(|lists| lists.last);
            if let Some((_, open, names)) = last.filter(|(start, ..)| *start == at) {
                return Some((open, names + before));
            }
        }
    }

    /// The same for objects: one of them has a key at `start`.
    fn object_before(&self, start: usize, quote: Quote) -> Option<(Option<usize>, usize)> {
        let floor = self.list_floor(start);
        let unknown = |before| (floor > 0).then_some((None, before));
        let mut before = 0;
        let Some(mut at) = self.opening_before(start, floor, quote) else {
            return unknown(before);
        };
        loop {
            if self.byte(at) != Some(b'{') {
                return None;
            }
            at = self.blanks_before(at, floor);
            if at <= floor {
                return unknown(before);
            }
            match self.byte(at - 1)? {
                b'[' => return Some((Some(at - 1), before)),
                b',' => at = self.blanks_before(at - 1, floor),
                _ => return None,
            }
            if at <= floor {
                return unknown(before);
            }
            if self.byte(at - 1) != Some(b'}') {
                return None;
            }
            before += 1;
            match self.opening_before(at - 1, floor, quote) {
                Some(open) => at = open,
                None => return unknown(before),
            }
        }
    }

    /// The bracket that is open at `at`, in no string, if it stands behind `floor`.
    fn opening_before(&self, at: usize, floor: usize, quote: Quote) -> Option<usize> {
        let text = self.slice(floor, at);
        let mut depth = 0;
        let mut inside = false;
        for (k, b) in text.iter().enumerate().rev() {
            if *b == quote.mark {
                let head = text.get(..k).unwrap_or_default();
                let slashes = head.iter().rev().take_while(|b| **b == b'\\').count();
                inside ^= slashes == quote.slashes;
            } else if !inside {
                match b {
                    b'}' | b']' => depth += 1,
                    b'{' | b'[' if depth == 0 => return Some(floor + k),
                    b'{' | b'[' => depth -= 1,
                    _ => {}
                }
            }
        }
        None
    }

    /// What stands before the bracket at `at`.
    fn before_list(&self, at: usize) -> Before {
        let floor = at.saturating_sub(LOOK_BACK);
        let end = self.blanks_before(at, floor);
        let begins_line = at == 0 || self.byte(at - 1) == Some(b'\n');
        match end.checked_sub(1).and_then(|i| self.byte(i)) {
            Some(b':' | b'=') => match value::key_before(self.text(), end - 1, floor) {
                Some(key) => Before::Key(key),
                None => Before::Other,
            },
            Some(b'[' | b'(') => Before::Open,
            Some(b',') => {
                let end = self.blanks_before(end - 1, floor);
                match end.checked_sub(1).and_then(|i| self.byte(i)) {
                    Some(b']' | b')') => Before::List,
                    _ => Before::Other,
                }
            }
            _ if begins_line => Before::Line,
            _ => Before::Other,
        }
    }

    /// A bracket opens at `at` a list that may be a row.
    pub(super) fn list_opens(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if !self.reads_text() {
            return None;
        }
        // What opens in a string is none of this list.
        let outer = match self.lists.as_ref()?.slashes {
            0 => self.string_at(at),
            // The string that the names stand in has ended.
            _ if at - self.line_of(at) <= LOOK_BACK && self.inside_quote(at).is_none() => {
                self.lists = None;
                return None;
            }
            _ => None,
        };
        if outer.is_some_and(|outer| outer.mark == b'"' && outer.slashes == 0) {
            return None;
        }
        let before = self.before_list(at);
        let lists = self.lists.as_mut()?;
        let mut all = None;
        let row = match before {
            Before::Key(key) => {
                let name = self.view.text.get(key.name.0..key.name.1);
                let words = Words::of(name.unwrap_or_default());
                let outside = key.quote.is_some_and(|q| q.slashes < lists.slashes);
                if outside || names_columns(&words) && lists.at != Some(at) {
                    self.lists = None;
                    return None;
                }
                lists.begun = 0;
                is_row(&words) || lists.wrapped && words.joined() == b"data"
            }
            Before::Open | Before::List => {
                all = lists.hit(lists.begun).filter(|_| lists.columnar);
                lists.begun += 1;
                true
            }
            Before::Line => lists.lone && lists.at != Some(at),
            Before::Other => false,
        };
        if !row || lists.at == Some(at) {
            return None;
        }
        if matches!(before, Before::Line) {
            match self.begins_text(at, limit, closed) {
                None => return Some(self.more_after(at)),
                Some(true) => return None,
                Some(false) => {}
            }
        }
        let rest = self.slice(at + 1, limit).trim_ascii_start();
        match rest.first() {
            None if !closed => {
                if let Some(lists) = &mut self.lists {
                    lists.begun = lists.begun.saturating_sub(1);
                }
                return Some(self.more_after(at));
            }
            // A list of rows.
            Some(b'[' | b'(') if matches!(before, Before::Key(_)) => return None,
            // The same of Python.
            Some(b'(') if matches!(before, Before::Line) => return None,
            _ => {}
        }
        if let Some(lists) = &mut self.lists {
            lists.idle = 0;
        }
        let round = self.byte(at) == Some(b'(');
        self.inner = Inner::List(List {
            round,
            index: 0,
            depth: 1,
            all,
            under: None,
            text: None,
        });
        Some(At(at + 1))
    }

    /// Whether a line begins with a word in brackets, as logs do (`[12345] started`), and not with a
    /// list, which nothing follows; `None`: more is needed.
    fn begins_text(&self, at: usize, limit: usize, closed: bool) -> Option<bool> {
        let rest = self.slice(at, limit);
        let near = rest.get(..STREAM_MAX).unwrap_or(rest);
        let quote = memchr::memchr3(b'"', b'\'', b'\n', near).unwrap_or(near.len());
        let opens = |text: &[u8]| memchr::memchr2(b'[', b'{', text).is_some();
        match memchr::memchr(b']', near).map(|end| (end, near.get(end + 1))) {
            Some((end, _)) if quote < end || near.get(1..end).is_some_and(opens) => Some(false),
            None if quote < near.len() => Some(false),
            None | Some((_, None)) if !closed && near.len() < STREAM_MAX => None,
            Some((_, Some(b))) => Some(!matches!(b, b'\r' | b'\n' | b',' | b']')),
            None | Some((_, None)) => Some(false),
        }
    }

    /// A line ends, at `at`, perhaps with a name; whether the names still stand for what follows.
    pub(super) fn line_of_lists(&mut self, at: usize) {
        let end = at - usize::from(at > 0 && self.byte(at - 1) == Some(b'\r'));
        if matches!(
            end.checked_sub(1).and_then(|i| self.byte(i)),
            Some(b'"' | b'\'')
        ) {
            self.listed_name(end);
        }
        let Some(lists) = &mut self.lists else {
            return;
        };
        let line = self.view.text.get(self.line..at).unwrap_or_default();
        let begins = line.first().filter(|_| !self.line_cut);
        let ends = line.trim_ascii_end().last();
        let closes = matches!(ends, Some(b'}' | b']' | b')'));
        let here = std::mem::replace(&mut lists.here, false);
        lists.idle += 1;
        if ends.is_none()
            || closes && matches!(begins, Some(b'}' | b']' | b')'))
            || closes && here && lists.whole && !lists.lone
            || lists.idle > IDLE_MAX
        {
            self.lists = None;
        }
    }

    /// A line begins: whether it may belong to what the names stand for.
    pub(super) fn lists_go_on(&mut self) {
        let first = self.byte(self.pos).unwrap_or(b'\n');
        let json = |b: u8| {
            matches!(
                b,
                b' ' | b'\t' | b'[' | b']' | b'{' | b'}' | b'(' | b')' | b',' | b'"' | b'\''
            )
        };
        let goes_on = |lists: &Lists| {
            json(first)
                && (!lists.lone || !matches!(first, b'{' | b'}' | b'(' | b'\''))
                && self.table.is_none()
        };
        if self.lists.as_ref().is_some_and(|lists| !goes_on(lists)) {
            self.lists = None;
        }
    }

    /// A token of a row.
    pub(super) fn listed_values(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::List(mut list) = self.inner else {
            return At(self.pos);
        };
        let at = self.pos;
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        if let Some(mark) = list.text {
            let (flow, ends) = self.long_text(at, mark, limit, closed);
            if ends {
                list.text = None;
                self.inner = Inner::List(list);
            }
            return flow;
        }
        match b {
            b'[' | b'{' | b'(' => list.depth += 1,
            b']' | b'}' | b')' => {
                list.depth -= 1;
                list.under = list.under.filter(|(_, depth)| *depth <= list.depth);
                if list.depth == 0 {
                    self.inner = Inner::Text;
                    return At(at + 1);
                }
            }
            b',' => {
                list.index += usize::from(list.depth == 1);
                list.under = list.under.filter(|(_, depth)| *depth < list.depth);
            }
            b'\n' => {
                self.sink.row += 1;
                self.line = at + 1;
                self.line_cut = false;
                self.above = None;
                if let Some(lists) = &mut self.lists {
                    lists.here = false;
                }
            }
            b' ' | b'\t' | b'\r' | b':' | b'=' | b'>' => {}
            b'"' | b'\'' | b'\\' => return self.listed_string(list, at, limit, closed),
            _ => return self.listed_word(list, at, limit, closed),
        }
        self.inner = Inner::List(list);
        At(at + 1)
    }

    /// The field of the element at hand.
    fn listed_hit(&self, list: &List) -> Option<Hit> {
        let under = list.under.map(|(hit, _)| hit);
        let column = self.lists.as_ref().and_then(|l| l.hit(list.index));
        list.all.or(under).or(column)
    }

    fn listed_string(&mut self, mut list: List, at: usize, limit: usize, closed: bool) -> Flow {
        let Some(opening) = value::opening(self.slice(0, limit), at, closed) else {
            return self.more(at);
        };
        let Some(quote) = opening else {
            return At(at + 1);
        };
        let slashes = self.lists.as_ref().map_or(0, |lists| lists.slashes);
        if quote.slashes < slashes {
            self.inner = Inner::Text; // The string around it has ended.
            return At(at);
        }
        let quote = Quote {
            tripled: false,
            ..quote
        };
        let hit = self.listed_hit(&list);
        let content = at + quote.len();
        let from = match self.seen.take() {
            Some((seen, from)) if seen == content => from,
            Some(_) | None => content,
        };
        let end = match value::quoted_end(self.slice(0, limit), content, from, quote, closed) {
            End::Quote(end) => end,
            End::Line(end) => {
                // No string of JSON has lines.
                if let Some(hit) = hit {
                    self.mask(content, end, hit, Place::Inside, "json");
                } else {
                    self.inside(content, end);
                }
                self.inner = Inner::Text;
                return At(end.max(at + 1));
            }
            End::Open(_) if limit - content > VALUE_MAX => {
                let any = || {
                    self.lists
                        .as_ref()
                        .and_then(|l| l.cols.iter().find_map(|c| *c))
                };
                match hit.or_else(|| any().filter(|_| quote.slashes > 0)) {
                    Some(hit) => {
                        self.mask(content, limit, hit, Place::Inside, "json");
                        if quote.slashes > 0 {
                            // Where it ends is told from its quote, which may begin another one.
                            list.all = Some(hit);
                            self.inner = Inner::List(list);
                        }
                        self.swallow_until(match quote.slashes {
                            0 => Until::Text(quote),
                            _ => Until::Quote(quote),
                        });
                        return At(limit);
                    }
                    None => {
                        list.text = Some(quote.mark);
                        self.inner = Inner::List(list);
                        return At(content);
                    }
                }
            }
            End::Open(upto) => {
                self.seen = Some((content, upto));
                return self.more(at);
            }
        };
        let close = (end + quote.len()).min(limit);
        if list.depth > 1 {
            let rest = self.slice(close, limit);
            let spaces = rest.iter().take(64).take_while(|b| b.is_ascii_whitespace());
            match rest.get(spaces.count()) {
                None if !closed && rest.len() < 64 => return self.more(at),
                Some(b':') => {
                    let name = self.slice(content, end);
                    if hit.is_none()
                        && let Some(hit) = self.rules.compiled().field(name)
                    {
                        list.under = Some((hit, list.depth));
                        self.inner = Inner::List(list);
                    }
                    return At(close);
                }
                _ => {}
            }
        }
        match hit {
            Some(_) if value::is_nothing(self.slice(content, end)) => {}
            Some(hit) => self.mask(content, end, hit, Place::Inside, "json"),
            None => self.inside(content, end),
        }
        At(close.max(at + 1))
    }

    /// A number or another word in a row.
    fn listed_word(&mut self, list: List, at: usize, limit: usize, closed: bool) -> Flow {
        let rest = self.slice(at, limit);
        let size = rest.iter().position(|b| {
            b.is_ascii_whitespace()
                || matches!(
                    b,
                    b',' | b':'
                        | b'='
                        | b'"'
                        | b'\''
                        | b'\\'
                        | b'['
                        | b']'
                        | b'{'
                        | b'}'
                        | b'('
                        | b')'
                )
        });
        let Some(size) = size.or((closed || rest.len() > WORD_MAX).then_some(rest.len())) else {
            return self.more(at);
        };
        // An object of Python: `<Foo at 0x1>`.
        if rest.first() == Some(&b'<') {
            let near = rest.get(..WORD_MAX).unwrap_or(rest);
            return match memchr::memchr2(b'>', b'\n', near) {
                None if !closed && near.len() < WORD_MAX => self.more(at),
                Some(end) if near.get(end) == Some(&b'>') => At(at + end + 1),
                _ => {
                    self.inner = Inner::Text;
                    At(at)
                }
            };
        }
        let word = rest.get(..size).unwrap_or_default();
        let number = word
            .first()
            .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.'));
        let literal = LITERALS.iter().any(|w| word.eq_ignore_ascii_case(w));
        // What Python and JavaScript write before a value: `Decimal(`, `b'`.
        let wraps = matches!(rest.get(size), Some(b'(' | b'"' | b'\''));
        // A word that nobody quotes: what follows it is the next value.
        let plain = matches!(rest.get(size), Some(b',' | b']' | b')')) && is_identifier(word);
        // Names of variables stand in a program, and a section of TOML is `[[name]]`.
        let opens = plain && self.slice(self.line, at) == b"[[";
        let after = rest.get(size..).unwrap_or_default();
        if opens && after == b"]" && !closed {
            return self.more(at);
        }
        let section = || opens && after.starts_with(b"]]");
        let named = !number && !literal && plain && self.listed_hit(&list).is_some();
        let code = named && (list.round && list.depth == 1 || section());
        if code {
            self.lists = None;
            self.inner = Inner::Text;
            return At(at);
        }
        if size > WORD_MAX || !(number || literal || plain || wraps && is_identifier(word)) {
            self.inner = Inner::Text;
            return At(at);
        }
        let end = at + size;
        if number || (literal || plain) && !value::is_nothing(self.slice(at, end)) {
            let place = match self.lists.as_ref().map_or(0, |lists| lists.slashes) {
                0 => Place::Literal,
                1 => Place::Escaped,
                _ => Place::Inside,
            };
            match self.listed_hit(&list) {
                Some(hit) => self.mask(at, end, hit, place, "json"),
                None if number => self.inside(at, end),
                None => {}
            }
        }
        At(end)
    }

    /// Detectors and keys in a value that is not protected.
    fn inside(&mut self, start: usize, end: usize) {
        self.sql_inside(start, end, true);
    }
}

/// A value stands so near behind its path.
const STREAM_MAX: usize = 256;
/// A longer word is none of JSON's.
const WORD_MAX: usize = 256;

/// What a value may be without quotes, besides a number.
const LITERALS: [&[u8]; 8] = [
    b"null",
    b"none",
    b"nil",
    b"undefined",
    b"true",
    b"false",
    b"nan",
    b"infinity",
];

fn is_identifier(word: &[u8]) -> bool {
    word.iter()
        .all(|b| crate::name::is_word(*b) || matches!(b, b'_' | b'.'))
}

/// Whether a list under this key may have the names of columns. Schemas list names for other
/// reasons.
fn may_list_names(key: &[u8]) -> bool {
    const OTHERS: [&[u8]; 9] = [
        b"required",
        b"enum",
        b"tags",
        b"scopes",
        b"keywords",
        b"categories",
        b"permissions",
        b"roles",
        b"files",
    ];
    !OTHERS.contains(&Words::of(key).joined())
}

/// Whether a list under this key describes columns.
fn describes_columns(key: &Words) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"meta",
        b"rowtype",
        b"columninfo",
        b"columnmetadata",
        b"schema",
        b"attributes",
    ];
    names_columns(key) || NAMES.iter().any(|name| key.ends_with(name))
}

/// Whether a list under this key says which columns there are, whatever it looks like.
fn names_columns(key: &Words) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"columns",
        b"cols",
        b"fields",
        b"columnnames",
        b"headers",
        b"header",
    ];
    NAMES.iter().any(|name| key.ends_with(name))
}

/// Whether a list under this key is a row, and not a list of them.
fn is_row(key: &Words) -> bool {
    const NAMES: [&[u8]; 6] = [b"f", b"c", b"row", b"record", b"tuple", b"dimensionvalues"];
    NAMES.contains(&key.joined())
}
