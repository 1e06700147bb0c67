//! One stream's way through the scanner.
//!
//! The text that a terminal would show is looked at from left to right. Each byte is examined
//! once, but for the one token at the end that is not whole; what is decided leaves at once. The
//! only places where something can happen are *events* (a colon, a digit, an `@`, …): the finder
//! jumps from one to the next, and what stands around an event decides.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::detect::{self, Found, Region};
use crate::find;
use crate::mask::Place;
use crate::name::Words;
use crate::rules::{Detector, Hit, Rules};
use crate::sink::{Sink, Value};
use crate::table::{self, Kind, Table};
use crate::term::{Term, View};
use crate::value::{self, End, Key, Quote, Style};
use crate::{Coverage, Stream, Verdict};

/// Text that has left but may still be looked back at.
const CONTEXT: usize = 1024;
/// A longer line is not looked at as a header.
const LINE_CONTEXT: usize = 8192;
/// A value that is longer is masked before its end is known.
const VALUE_MAX: usize = 60 * 1024;
/// How many states may follow each other at one place.
const STUCK_MAX: u32 = 8;
/// How many containers deep the parents of dotted fields are remembered.
const DEPTH_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Lane {
    rules: Rules,
    stream: Stream,
    pty: bool,
    session: Vec<u8>,
    term: Term,
    view: View,
    /// What stands before it has left.
    out: usize,
    /// What stands before it has been examined.
    pos: usize,
    /// Where the line begins.
    line: usize,
    /// The line begins before the text that is still here.
    line_cut: bool,
    /// The line before, while it is here.
    above: Option<(usize, usize)>,
    /// In this run: what stands from here on is withheld.
    hold: usize,
    /// An open value: where its content begins, and up to where no end was found.
    seen: Option<(usize, usize)>,
    frame: Frame,
    inner: Inner,
    table: Option<Table>,
    row: Row,
    broken: Option<usize>,
    block: Option<Block>,
    pair: Option<Pair>,
    /// Rows of a table without protected columns: none of them is a header.
    body: bool,
    /// The columns of a `CREATE TABLE` that is being read.
    creating: Option<(Vec<u8>, Vec<Option<Hit>>)>,
    html: Html,
    sql: Vec<(Vec<u8>, Vec<Option<Hit>>)>,
    path: Vec<(Level, Vec<u8>)>,
    echo: VecDeque<u8>,
    echoed: usize,
    text_bytes: u64,
    sink: Sink,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// Its first bytes have not been looked at.
    Start,
    /// Text, in which keys and detectors are looked for.
    Line,
    /// A row of the table.
    Row,
    /// Part of a protected block (YAML).
    Block,
}

/// What the text is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Inner {
    Text,
    /// A protected object or array: every scalar in it is masked.
    Container {
        hit: Hit,
        depth: usize,
        slashes: usize,
        doubled: bool,
    },
    /// The rest of a value that was too long, or whose quote did not end with the line.
    Swallow {
        until: Until,
        then: Box<Self>,
    },
    /// A private key.
    Pem {
        hit: Hit,
        lines: u32,
    },
    /// A protected element: what it contains up to `</name`.
    Element {
        hit: Hit,
        name: Vec<u8>,
        depth: u32,
    },
    /// Values of an INSERT.
    Sql {
        cols: Vec<Option<Hit>>,
        at: usize,
        depth: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Quote(Quote),
    Bare,
    Line,
    Cell(u8),
    Tag,
}

/// Where in a row we are.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    cell: usize,
    index: usize,
    /// Up to where the end of the cell was looked for, and the display column there.
    scan: usize,
    column: usize,
    cell_column: usize,
    quoted: bool,
    closed_quote: bool,
    /// How far separators are from where they should be, after wide characters.
    shift: isize,
    wide: bool,
    /// Cells are told by separators alone.
    loose: bool,
    separators: usize,
    spaces: usize,
    last: u8,
    /// The line before broke off in this cell: the line may go on with it.
    broken: Option<usize>,
    /// psql's expanded display: the key of the lines that continue a value.
    key: Option<Hit>,
    is_row: bool,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    indent: usize,
    kind: BlockKind,
    hit: Hit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    /// Keys stay, scalars are masked.
    Map,
    /// Every line is text of the value.
    Literal,
    /// Lines that go on with the value, until one looks like a key.
    Continued,
}

/// A name of a name was seen (`"Name": "ssn"`): the value comes.
#[derive(Clone, Copy, Debug)]
struct Pair {
    at: usize,
    hit: Hit,
}

#[derive(Clone, Debug, Default)]
struct Html {
    cols: Vec<Option<Hit>>,
    index: usize,
    data: bool,
    last: Option<Hit>,
    pair: Option<Hit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Brace,
    Indent(usize),
}

enum Flow {
    At(usize),
    More,
}

use Flow::{At, More};

impl Lane {
    pub(crate) fn new(rules: Rules, stream: Stream, pty: bool) -> Self {
        Self {
            rules,
            stream,
            pty,
            session: Vec::new(),
            term: Term::default(),
            view: View::default(),
            out: 0,
            pos: 0,
            line: 0,
            line_cut: false,
            above: None,
            hold: usize::MAX,
            seen: None,
            frame: Frame::Start,
            inner: Inner::Text,
            table: None,
            row: Row::default(),
            broken: None,
            block: None,
            pair: None,
            body: false,
            creating: None,
            html: Html::default(),
            sql: Vec::new(),
            path: Vec::new(),
            echo: VecDeque::new(),
            echoed: 0,
            text_bytes: 0,
            sink: Sink::default(),
        }
    }

    pub(crate) fn set_session(&mut self, session: &[u8]) {
        self.session = session.to_vec();
    }

    pub(crate) fn take_verdicts(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.sink.verdicts)
    }

    pub(crate) fn coverage(&self) -> Coverage {
        self.sink.coverage
    }

    /// What has left since the last call, and where in it rules that withhold were hit.
    pub(crate) fn take(&mut self) -> (Bytes, Vec<(usize, Hit)>) {
        (self.sink.take(), std::mem::take(&mut self.sink.stops))
    }

    pub(crate) fn typed(&mut self, bytes: &[u8]) {
        if self.pty {
            self.echo.extend(bytes.iter().take(4096));
            while self.echo.len() > 4096 {
                self.echo.pop_front();
            }
        }
    }

    pub(crate) fn feed(&mut self, raw: &[u8]) {
        // A backspace takes back what has not left. That must not depend on how the bytes were
        // cut, so everything before one is decided first.
        let mut rest = raw;
        while let Some(at) = memchr::memchr(8, rest) {
            let (before, after) = rest.split_at(at);
            self.piece(before);
            let (back, after) = after.split_at(1);
            self.piece(back);
            rest = after;
        }
        self.piece(rest);
    }

    fn piece(&mut self, raw: &[u8]) {
        if raw.is_empty() {
            return;
        }
        let from = self.view.text.len();
        self.term.feed(raw, &mut self.view, self.out);
        let len = self.view.text.len();
        self.pos = self.pos.min(len);
        // What a backspace took back has not been seen.
        if self.row.scan > len {
            self.row.column = self.row.column.saturating_sub(self.row.scan - len);
            self.row.scan = len;
        }
        self.seen = self.seen.filter(|(_, upto)| *upto <= len);
        self.match_echo(from.min(len));
        self.run(false);
    }

    pub(crate) fn end(&mut self) {
        self.term.end(&mut self.view);
        self.run(true);
    }

    /// Notes how much of the end of the text is the echo of what was typed.
    fn match_echo(&mut self, from: usize) {
        if self.echo.is_empty() {
            return;
        }
        let from = from.min(self.view.text.len());
        for (k, b) in self
            .view
            .text
            .get(from..)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            if self.echo.front() == Some(b) {
                self.echo.pop_front();
                self.echoed = from + k + 1;
            } else if matches!(self.echo.front(), Some(b'\r' | b'\n')) && matches!(b, b'\r' | b'\n')
            {
                self.echo.pop_front();
            } else {
                self.echo.clear();
                break;
            }
        }
    }

    fn text(&self) -> &[u8] {
        &self.view.text
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.view.text.get(at).copied()
    }

    fn slice(&self, from: usize, to: usize) -> &[u8] {
        self.view.text.get(from..to).unwrap_or_default()
    }

    fn run(&mut self, end: bool) {
        self.hold = usize::MAX;
        let mut stuck = 0;
        loop {
            let before = (self.pos, self.frame);
            if self.pos >= self.view.text.len()
                && self.frame != Frame::Start
                && (self.frame != Frame::Row || !end)
            {
                break;
            }
            let go = match self.frame {
                Frame::Start => self.start(end),
                Frame::Line => self.plain(self.view.text.len(), end),
                Frame::Row => self.cells(end),
                Frame::Block => self.block_line(end),
            };
            stuck = if self.pos > before.0 { 0 } else { stuck + 1 };
            if stuck > 2 * STUCK_MAX {
                self.table = None;
                self.block = None;
                self.frame = Frame::Line;
                self.pos = (self.pos + 1).min(self.view.text.len());
                stuck = 0;
            }
            if !go || (before == (self.pos, self.frame) && self.pos >= self.view.text.len()) {
                break;
            }
        }
        let len = self.view.text.len();
        let mut until = if end { len } else { len.min(self.hold) };
        if !end {
            // A token that is not whole, or goes on into what is withheld, is withheld.
            until = detect::token_start(&self.view.text, until);
            if self.frame == Frame::Start || self.hold == usize::MAX {
                until = until.min(self.pos);
            }
        }
        if self.echoed == len
            && self.pty
            && self.hold >= self.out
            && self.inner == Inner::Text
            && self.seen.is_none()
        {
            until = len;
        }
        self.pass_to(until.max(self.out));
        self.trim();
    }

    // ---- letting go -------------------------------------------------------------------------

    /// Lets everything before `to` go as it came.
    fn pass_to(&mut self, to: usize) {
        if self.view.marks.is_empty() && self.view.virt.is_empty() {
            if to > self.out {
                let Self {
                    sink, view, out, ..
                } = self;
                sink.pass(view.text.get(*out..to).unwrap_or_default());
                self.out = to;
            }
            return;
        }
        while self.out < to || self.view.marks.front().is_some_and(|m| m.at <= self.out) {
            while let Some(mark) = self.view.marks.pop_front_if(|m| m.at <= self.out) {
                self.sink.pass(&mark.raw);
            }
            if self.out >= to {
                break;
            }
            let next = self.view.marks.front().map_or(to, |m| m.at.min(to));
            match self.view.virt.front().copied() {
                Some((start, end)) if start <= self.out => {
                    self.out = end.min(next.max(self.out)).max(self.out);
                    if self.out < end {
                        self.out = end.min(to.max(self.out));
                    }
                    if self.out >= end {
                        self.view.virt.pop_front();
                    }
                }
                other => {
                    let next = other.map_or(next, |(start, _)| start.min(next));
                    let Self {
                        sink, view, out, ..
                    } = self;
                    sink.pass(view.text.get(*out..next).unwrap_or_default());
                    self.out = next;
                }
            }
        }
    }

    /// Lets nothing of what stands before `to` go.
    fn drop_to(&mut self, to: usize) {
        if to <= self.out {
            return;
        }
        let mut size = to - self.out;
        while let Some((start, end)) = self.view.virt.front().copied() {
            if start >= to {
                break;
            }
            size -= end.min(to).saturating_sub(start.max(self.out));
            if end <= to {
                self.view.virt.pop_front();
            } else {
                break;
            }
        }
        self.sink.swallow(size);
        self.out = to;
    }

    /// Replaces what stands from `from` to before `to`.
    fn mask(&mut self, from: usize, to: usize, hit: Hit, place: Place, format: &'static str) {
        let from = from.max(self.out);
        if from >= to {
            return;
        }
        self.pass_to(from);
        let begins_scalar = (format == "yaml" && place == Place::Word)
            || matches!(format, "key-value" | "detector" | "argument") && self.begins_scalar(from);
        let Self {
            sink,
            view,
            rules,
            session,
            stream,
            ..
        } = self;
        let text = view.text.get(from..to).unwrap_or_default();
        let value = Value {
            hit,
            place,
            format,
            begins_scalar,
        };
        let real: Vec<u8>;
        let text = if view.virt.front().is_some_and(|(start, _)| *start < to) {
            let virt = &view.virt;
            real = text
                .iter()
                .enumerate()
                .filter(|(k, _)| !virt.iter().any(|(s, e)| (*s..*e).contains(&(from + k))))
                .map(|(_, b)| *b)
                .collect();
            real.as_slice()
        } else {
            text
        };
        sink.value(rules, session, *stream, text, value, to - from > VALUE_MAX);
        while view.virt.front().is_some_and(|(_, end)| *end <= to) {
            view.virt.pop_front();
        }
        self.out = to;
        while let Some(mark) = self.view.marks.pop_front_if(|m| m.at < to) {
            self.sink.pass(&mark.raw);
        }
    }

    /// Whether a plain scalar of YAML may begin here, where a star would be an alias.
    fn begins_scalar(&self, at: usize) -> bool {
        let before = self.slice(at.saturating_sub(2), at);
        matches!(
            before,
            [b':' | b'-' | b',' | b'?', b' '] | [_, b'[' | b'{' | b'=']
        ) || at == self.line
    }

    /// Forgets text that nobody will look back at.
    fn trim(&mut self) {
        let mut keep = self.out.min(self.pos).saturating_sub(CONTEXT);
        let line = self.above.map_or(self.line, |(start, _)| start);
        if self.out.saturating_sub(line) <= LINE_CONTEXT {
            keep = keep.min(line);
        } else if self.out.saturating_sub(self.line) <= LINE_CONTEXT {
            keep = keep.min(self.line);
        }
        // Moving the rest costs: it is done when there is much to forget.
        if keep < 4096 || keep < (self.view.text.len() - keep) / 8 {
            return;
        }
        self.view.text.drain(..keep);
        self.out -= keep;
        self.pos -= keep;
        if self.line < keep {
            self.line_cut = true;
        }
        self.line = self.line.saturating_sub(keep);
        self.above = self
            .above
            .and_then(|(a, b)| Some((a.checked_sub(keep)?, b - keep)));
        self.seen = self
            .seen
            .and_then(|(a, b)| Some((a.checked_sub(keep)?, b - keep)));
        self.row.cell = self.row.cell.saturating_sub(keep);
        self.row.scan = self.row.scan.saturating_sub(keep);
        self.pair = self.pair.and_then(|p| {
            Some(Pair {
                at: p.at.checked_sub(keep)?,
                ..p
            })
        });
        self.echoed = self.echoed.saturating_sub(keep);
        for mark in &mut self.view.marks {
            mark.at = mark.at.saturating_sub(keep);
        }
        for (start, end) in &mut self.view.virt {
            *start = start.saturating_sub(keep);
            *end = end.saturating_sub(keep);
        }
        self.text_bytes += keep as u64;
    }

    // ---- lines ------------------------------------------------------------------------------

    /// Looks at the first bytes of a line. Whether it can be told what the line is.
    fn start(&mut self, end: bool) -> bool {
        if self.pos >= self.view.text.len() {
            return false;
        }
        self.line = self.pos;
        self.line_cut = false;
        if self.inner != Inner::Text {
            self.frame = Frame::Line;
            return true;
        }
        if let Some(block) = self.block {
            match self.in_block(block, end) {
                None => return false,
                Some(true) => {
                    self.frame = Frame::Block;
                    return true;
                }
                Some(false) => {}
            }
        }
        if let Some(kind) = self.table.as_ref().map(|t| t.kind) {
            match self.may_be_row(kind, end) {
                None => return false,
                Some(true) => {
                    let key = self.row.key;
                    let broken = self.broken.take();
                    self.row = Row {
                        cell: self.pos,
                        scan: self.pos,
                        spaces: 2,
                        key,
                        broken,
                        ..Row::default()
                    };
                    self.frame = Frame::Row;
                    return true;
                }
                Some(false) => {}
            }
        }
        self.frame = Frame::Line;
        true
    }

    /// Whether the line may be a row of the table, as far as its first bytes say.
    fn may_be_row(&self, kind: Kind, end: bool) -> Option<bool> {
        let rest = self.text().get(self.pos..)?;
        let Some(&first) = rest.first() else {
            return end.then_some(false);
        };
        if matches!(first, b'\n' | b'\r') {
            return Some(false);
        }
        match kind {
            Kind::Delimited { by, lead, .. } => {
                if lead {
                    return Some(first == b'|');
                }
                if first == b'\\' && by == b'\t' {
                    let two = rest.get(1);
                    return match two {
                        None if !end => None,
                        Some(b'.') => Some(false),
                        _ => Some(true),
                    };
                }
                Some(
                    !(matches!(first, b'{' | b'[' | b'}' | b']' | b'<')
                        || (first == b' ' && by != b' ' && by != b'|')),
                )
            }
            Kind::Aligned { boxed: true } => {
                let rest =
                    if rest.iter().take(64).all(|b| matches!(b, b' ')) && rest.len() < 64 && !end {
                        return None;
                    } else {
                        rest
                    };
                let dashes = rest.iter().take(64).find(|b| !matches!(b, b' ' | b'|'));
                if rest.contains(&b'|') || first == b'|' {
                    match dashes {
                        None if !end && rest.len() < 64 => return None,
                        Some(b'-' | b':') => {
                            let at = rest
                                .iter()
                                .position(|b| matches!(b, b'-' | b':'))
                                .unwrap_or(0);
                            match rest.get(at + 1) {
                                None if !end => return None,
                                Some(b'-') => return Some(false),
                                _ => {}
                            }
                        }
                        _ => {}
                    }
                }
                let spaces = rest.iter().take(64).take_while(|b| **b == b' ').count();
                let head = rest.get(spaces..).unwrap_or_default();
                if head.first().is_some_and(|b| *b < 0x80) {
                    return Some(head.first() == Some(&b'|'));
                }
                if head.len() < 3 && !end {
                    return None;
                }
                Some(first_char(head).is_some_and(table::is_separator))
            }
            Kind::Aligned { boxed: false } | Kind::Ruled | Kind::Spaced => {
                if first == b'-' {
                    return match rest.get(1) {
                        None if !end => None,
                        Some(b'-' | b'+') => Some(false),
                        _ => Some(true),
                    };
                }
                Some(!matches!(first, b'+' | b'('))
            }
            Kind::Expanded0 => Some(!matches!(first, b'*' | b' ')),
            Kind::Expanded => {
                let c = if first < 0x80 {
                    Some(char::from(first))
                } else if rest.len() < 3 && !end {
                    return None;
                } else {
                    first_char(rest)
                };
                Some(!matches!(
                    c,
                    Some(
                        '-' | '─'
                            | '━'
                            | '═'
                            | '('
                            | '┌'
                            | '├'
                            | '└'
                            | '+'
                            | '*'
                            | '╔'
                            | '╠'
                            | '╚'
                    )
                ))
            }
            Kind::Latex => Some(true),
            Kind::Asciidoc => {
                if first == b'|' {
                    return match rest.get(1) {
                        None if !end => None,
                        Some(b'=') => Some(false),
                        _ => Some(true),
                    };
                }
                Some(matches!(first, b'<' | b'>' | b'^'))
            }
        }
    }

    /// A line ends at `at`, which is its newline or the end of the text.
    fn end_line(&mut self, at: usize) {
        self.sink.row += 1;
        let from = self.line;
        let cut = self.line_cut;
        let mut to = at;
        if to > from && self.byte(to - 1) == Some(b'\r') {
            to -= 1;
        }
        let was_row = self.frame == Frame::Row && self.row.is_row;
        let above = self.above;
        self.above = (!cut && to - from <= LINE_CONTEXT).then_some((from, to));
        self.frame = Frame::Start;
        if was_row {
            if let Some(table) = &mut self.table {
                table.rows += 1;
                table.misses = 0;
            }
            return;
        }
        if cut || to - from > LINE_CONTEXT || self.rules.compiled().fields.is_empty() {
            return;
        }
        // A move of the cursor ends a line, but no table.
        let moved = self
            .view
            .virt
            .iter()
            .any(|(start, end)| (*start..*end).contains(&at));
        if moved && self.slice(from, to).iter().all(u8::is_ascii_whitespace) {
            return;
        }
        self.look_at_line(from, to, above);
    }

    /// What a whole line that was no row says about those that follow.
    fn look_at_line(&mut self, from: usize, to: usize, above: Option<(usize, usize)>) {
        if self.is_plain_line(from, to) {
            return;
        }
        let rules = self.rules.clone();
        let compiled = rules.compiled();
        let line = self.slice(from, to).to_vec();
        let line = line.as_slice();
        let mut found = None;
        if line.iter().all(u8::is_ascii_whitespace) {
            if let Some(table) = &self.table {
                let keep = matches!(
                    table.kind,
                    Kind::Aligned { boxed: true } | Kind::Latex | Kind::Asciidoc
                ) && table.misses == 0
                    || matches!(table.kind, Kind::Expanded | Kind::Expanded0)
                    || (table.kind == Kind::Ruled
                        && table.rows > 0
                        && above.is_some_and(|(a, b)| b > a));
                if !keep {
                    self.table = None;
                }
            }
            self.pair = None;
            self.body = false;
            return;
        }
        self.created(line);
        let rule = table::is_rule(line);
        let piped = line.contains(&b'|')
            || line.windows(3).any(|w| {
                first_char(w).is_some_and(table::is_separator) && w.first() == Some(&0xe2)
            });
        if !rule && !piped {
            self.body = false;
        } else if rule && self.table.is_none() {
            // Rows follow, of a table whose header names nothing that is protected.
            self.body = above.is_some_and(|(a, b)| {
                let above = self.slice(a, b);
                !table::is_rule(above)
                    && String::from_utf8_lossy(above)
                        .split(table::is_separator)
                        .count()
                        > if above.starts_with(b"|") { 3 } else { 1 }
            });
        }
        if rule {
            if let Some((a, b)) = above {
                let header = self.slice(a, b);
                let single = self
                    .table
                    .as_ref()
                    .is_none_or(|t| t.rows == 0 && t.kind == Kind::Spaced);
                if single {
                    found = table::ruled(compiled, header, line);
                    if found.as_ref().is_some_and(Table::is_single)
                        && !header.starts_with(b" ")
                        && line.len() < 3
                    {
                        found = None;
                    }
                }
            }
        } else if is_record(line) {
            found = Some(Table::expanded(line.starts_with(b"*")));
        } else {
            let pairs = above.is_some_and(|(a, b)| {
                let one = |l: &[u8]| l.iter().filter(|b| **b == b'|').count() == 1;
                one(self.slice(a, b)) && one(line)
            });
            found = if self.body || pairs {
                None
            } else {
                table::header(compiled, line)
            }
            .or_else(|| copied(&rules, line))
            .or_else(|| self.single_column(line));
        }
        if found.is_some() {
            self.row.key = None;
            self.table = found;
            return;
        }
        if rule {
            return;
        }
        if let Some(table) = &mut self.table {
            table.misses += 1;
            let footer = line.starts_with(b"(") && line.ends_with(b")");
            let tolerated = match table.kind {
                Kind::Aligned { .. }
                | Kind::Expanded
                | Kind::Expanded0
                | Kind::Latex
                | Kind::Asciidoc => 32,
                Kind::Delimited { .. } | Kind::Spaced | Kind::Ruled => 3,
            };
            if footer || table.misses > tolerated {
                self.table = None;
            }
        }
        if line.starts_with(b"</") || line.starts_with(b"\\.") {
            self.table = None;
        }
    }

    /// Whether a line says nothing about those that follow, told without a closer look.
    fn is_plain_line(&self, from: usize, to: usize) -> bool {
        if self.table.is_some() || self.body || self.creating.is_some() {
            return false;
        }
        let line = self.slice(from, to);
        let Some(start) = line.iter().position(|b| !b.is_ascii_whitespace()) else {
            return false;
        };
        match line.get(start) {
            Some(b'-' | b'+' | b'=' | b'|' | b':' | b'*' | b'^' | b'\\' | b'<' | 0xe2) | None => {
                return false;
            }
            Some(b'2' | b'C' | b'c') => return false,
            // No header begins so.
            Some(
                b'{'
                | b'}'
                | b'('
                | b')'
                | b'/'
                | b'.'
                | b','
                | b';'
                | b'0'..=b'9'
                | b'['
                | b'>'
                | b'$'
                | b'@',
            ) => return !line.contains(&b'|'),
            Some(_) => {}
        }
        // Something has to stand between names, where there is more than one word.
        if memchr::memchr(b' ', line).is_some()
            && memchr::memchr3(b'\t', b',', b';', line).is_none()
            && memchr::memchr3(b'|', 0xe2, b'^', line).is_none()
            && memchr::memchr3(b'~', 0x1f, 0x01, line).is_none()
            && memchr::memchr2(b'&', b'"', line).is_none()
            && !line
                .iter()
                .zip(line.iter().skip(1))
                .fold(false, |found, (a, b)| found | ((*a == b' ') & (*b == b' ')))
        {
            return true;
        }
        // A protected name has to stand in it.
        let name = line
            .split(|b| !crate::name::is_word(*b))
            .any(|word| self.rules.compiled().may_end(word));
        !name
    }

    /// A line that is nothing but a protected name may be the header of a single column.
    fn single_column(&self, line: &[u8]) -> Option<Table> {
        let name = line;
        if name.len() > 64
            || !name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
            || self.table.is_some()
        {
            return None;
        }
        let hit = self.rules.compiled().field(name)?;
        Some(Table {
            kind: Kind::Delimited {
                by: 0,
                quote: b'"',
                lead: false,
            },
            cols: vec![table::Col {
                start: 0,
                end: usize::MAX,
                hit: Some(hit),
            }],
            rows: 0,
            misses: 0,
        })
    }

    // ---- text -------------------------------------------------------------------------------

    /// Examines the text up to `limit`, which is where it ends if it is `closed`. Whether it got
    /// there (or to the end of the line).
    fn plain(&mut self, limit: usize, closed: bool) -> bool {
        let frame = self.frame;
        let mut stuck = 0;
        while self.pos < limit {
            let before = self.pos;
            let flow = match &self.inner {
                Inner::Text => {
                    match find::event(
                        self.slice(0, limit),
                        self.pos,
                        self.rules.compiled().has_paths,
                    ) {
                        None => {
                            self.pos = limit;
                            return true;
                        }
                        Some(at) => {
                            self.pos = at;
                            self.event(at, limit, closed)
                        }
                    }
                }
                Inner::Container { .. } => self.container(limit, closed),
                Inner::Swallow { until, .. } => self.swallow(*until, limit, closed),
                Inner::Pem { .. } => self.pem(limit, closed),
                Inner::Element { .. } => self.element(limit, closed),
                Inner::Sql { .. } => self.sql_values(limit, closed),
            };
            match flow {
                At(next) => self.pos = next,
                More => return false,
            }
            // A state that does not move is a fault: it must not hang.
            stuck = if self.pos > before { 0 } else { stuck + 1 };
            if stuck > STUCK_MAX {
                self.inner = Inner::Text;
                self.pos = before + 1;
                stuck = 0;
            }
            if self.frame != frame {
                return true;
            }
        }
        true
    }

    /// What the event at `at` means.
    fn event(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let Some(b) = self.byte(at) else {
            return At(limit);
        };
        match b {
            b'\n' => {
                if self.frame == Frame::Line {
                    self.end_line(at);
                } else {
                    self.sink.row += 1;
                    self.line = at + 1;
                }
                At(at + 1)
            }
            b'\r' => {
                match self.byte(at + 1) {
                    None if !closed || at + 1 < limit => return More,
                    Some(b'\n') | None => {}
                    Some(b'\r') => {}
                    Some(_) => {
                        // The cursor went back: what follows is a line of its own.
                        self.line = at + 1;
                        self.line_cut = false;
                        if self.frame == Frame::Line {
                            self.frame = Frame::Start;
                        }
                    }
                }
                At(at + 1)
            }
            b':' | b'=' => self.separator(at, limit, closed),
            b'0'..=b'9' => {
                let Self { view, rules, .. } = &*self;
                let region = Region {
                    text: view.text.get(..limit).unwrap_or_default(),
                    closed,
                };
                let found = detect::digits(region, at, |d| rules.compiled().detector(d).is_some());
                self.found(found, "detector")
            }
            b'@' => self.detector(Detector::Email, detect::email, at, limit, closed),
            b'J' => match self.slice(at.saturating_sub(2), at) {
                b"ey" => self.detector(
                    Detector::Jwt,
                    |r, i| detect::jwt(r, i - 2),
                    at,
                    limit,
                    closed,
                ),
                _ => At(at + 1),
            },
            b'I' => self.detector(Detector::AwsKey, detect::aws, at, limit, closed),
            b'_' => self.detector(Detector::GithubToken, detect::github, at, limit, closed),
            b'K' => self.private_key(at, limit, closed),
            b'-' => match self.slice(at.saturating_sub(4), at) {
                [b'x', b'o', b'x', _] => match self.detector(
                    Detector::SlackToken,
                    |r, i| detect::slack(r, i - 3),
                    at,
                    limit,
                    closed,
                ) {
                    At(next) if next == at + 1 => self.argument(at, limit, closed),
                    flow => flow,
                },
                _ => self.argument(at, limit, closed),
            },
            b'>' => self.tag(at),
            b'(' => self.insert(at, limit),
            b'|' | 0xe2 => self.name_cell(at, limit, closed),
            b'{' | b'[' if self.rules.compiled().has_paths => {
                self.path_push(at);
                At(at + 1)
            }
            b'}' | b']' if self.rules.compiled().has_paths => {
                if let Some((Level::Brace, _)) = self.path.last() {
                    self.path.pop();
                }
                At(at + 1)
            }
            _ => At(at + 1),
        }
    }

    fn more(&mut self, hold: usize) -> Flow {
        self.hold = self.hold.min(hold);
        More
    }

    fn detector(
        &mut self,
        detector: Detector,
        look: impl Fn(Region<'_>, usize) -> Found,
        at: usize,
        limit: usize,
        closed: bool,
    ) -> Flow {
        if self.rules.compiled().detector(detector).is_none() {
            return At(at + 1);
        }
        let text = self.slice(0, limit);
        match look(Region { text, closed }, at) {
            // Whatever it is, it cannot be that long.
            Found::More(from) if limit - from > 8192 => {
                let Some(hit) = self.rules.compiled().detector(detector) else {
                    return At(at + 1);
                };
                self.mask(from, limit, hit, Place::Inside, "detector");
                self.swallow_until(Until::Bare);
                At(limit)
            }
            Found::No(next) => At(next.max(at + 1)),
            found => self.found(found, "detector"),
        }
    }

    fn found(&mut self, found: Found, format: &'static str) -> Flow {
        match found {
            Found::No(next) => At(next.max(self.pos + 1)),
            Found::More(from) => self.more(from),
            Found::Value(from, to, detector) => {
                if let Some(hit) = self.rules.compiled().detector(detector) {
                    let place = if self.is_json_number(from, to) {
                        Place::Literal
                    } else {
                        self.detected_place(from)
                    };
                    self.mask(from, to, hit, place, format);
                }
                At(to)
            }
        }
    }

    /// A bare number that stands where JSON wants a value.
    fn is_json_number(&self, from: usize, to: usize) -> bool {
        if !self.slice(from, to).iter().all(u8::is_ascii_digit) {
            return false;
        }
        let before = self.slice(from.saturating_sub(64), from).trim_ascii_end();
        before.ends_with(b"\":") || before.ends_with(b"[")
    }

    /// In a terminal and in tables the width stays.
    fn detected_place(&self, from: usize) -> Place {
        let table = matches!(
            self.table.as_ref().map(|t| t.kind),
            Some(Kind::Aligned { .. } | Kind::Spaced | Kind::Ruled | Kind::Expanded)
        );
        let piped = self
            .slice(self.line, from)
            .iter()
            .any(|b| matches!(b, b'|' | 0xe2));
        if table || piped {
            Place::Cell
        } else {
            Place::Inside
        }
    }

    // ---- keys and values --------------------------------------------------------------------

    fn separator(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
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
        let floor = match self.frame {
            Frame::Row => self.row.cell,
            Frame::Start | Frame::Line | Frame::Block => self.line,
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
    fn more_after(&mut self, at: usize) -> Flow {
        self.hold = self.hold.min(at + 1);
        More
    }

    fn key(&self, at: usize, floor: usize) -> Option<Key> {
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
    fn leads(&self, start: usize) -> bool {
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

    fn indent_of(&self, start: usize) -> usize {
        start.saturating_sub(self.line)
    }

    /// The value after a protected key.
    fn value(
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
        if matches!(self.byte(v), Some(b'{' | b'[')) && (self.byte(v + 1) != Some(b'{')) {
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
    fn quoted(
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
    fn bare(
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
            .slice(self.line.max(at.saturating_sub(1024)), at)
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
        let before = self.slice(self.line.max(at.saturating_sub(1024)), at);
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

    // ---- pairs ------------------------------------------------------------------------------

    /// Whether the key is one half of `{"Name": N, "Value": V}`.
    fn pair(&mut self, key: &Key, after: usize, limit: usize, closed: bool) -> Paired {
        let name = self.slice(key.name.0, key.name.1);
        let tail = name
            .get(name.len().saturating_sub(2)..)
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !matches!(
            tail.as_slice(),
            b"me" | b"ey" | b"ue" | b"al" | b"ld" | b"le"
        ) {
            return Paired::No;
        }
        let words = Words::of(name);
        if words.count() > 3 {
            return Paired::No;
        }
        let value = words.ends_with(b"value") || words.ends_with(b"val");
        if value {
            let Some(pair) = self.pair else {
                return Paired::No;
            };
            let between = self.slice(pair.at, key.start);
            let closes = between.iter().filter(|b| **b == b'}').count();
            let opens = between.iter().filter(|b| **b == b'{').count();
            let item = between
                .split(|b| *b == b'\n')
                .skip(1)
                .any(|l| l.trim_ascii_start().starts_with(b"- "));
            return if closes > opens || item || self.line_cut {
                Paired::No
            } else {
                Paired::Value(pair.hit)
            };
        }
        if !(words.ends_with(b"name")
            || words.ends_with(b"key")
            || words.joined() == b"field"
            || words.joined() == b"variable")
        {
            return Paired::No;
        }
        // The name's value, if it is all there.
        let rest = self.slice(after, limit);
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let rest = rest.get(spaces..).unwrap_or_default();
        let head = rest
            .iter()
            .take_while(|b| matches!(b, b'"' | b'\'' | b'\\'))
            .count();
        let body = rest.get(head..).unwrap_or_default();
        let size = body
            .iter()
            .take(96)
            .take_while(|b| {
                crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b' ' | b'/' | b':')
            })
            .count();
        if size == body.len() && !closed && size < 96 {
            return Paired::More;
        }
        let name = body.get(..size).unwrap_or_default();
        if let Some(hit) = self.rules.compiled().field(name) {
            self.pair = Some(Pair { at: after, hit });
        }
        Paired::No
    }

    // ---- parents of dotted fields -----------------------------------------------------------

    fn parent(&self) -> Option<&[u8]> {
        let indent = self
            .slice(self.line, self.pos)
            .iter()
            .take_while(|b| matches!(b, b' ' | b'-'))
            .count();
        self.path
            .iter()
            .rev()
            .find(|(level, name)| {
                !name.is_empty()
                    && match level {
                        Level::Brace => true,
                        Level::Indent(n) => *n < indent,
                    }
            })
            .map(|(_, name)| name.as_slice())
    }

    /// Notes the key of a container that opens after it.
    fn path_note(&mut self, key: &Key, after: usize) {
        let rest = self.text().get(after..).unwrap_or_default();
        let head = rest
            .iter()
            .position(|b| !matches!(b, b' ' | b'\t'))
            .and_then(|i| rest.get(i));
        if matches!(head, Some(b'\n' | b'\r')) && self.leads(key.start) && key.quote.is_none() {
            let indent = self.indent_of(key.start);
            self.path
                .retain(|(level, _)| matches!(level, Level::Indent(n) if *n < indent));
            if self.path.len() < DEPTH_MAX {
                let name = self.slice(key.name.0, key.name.1).to_vec();
                self.path.push((Level::Indent(indent), name));
            }
        }
    }

    fn path_push(&mut self, at: usize) {
        if self.path.len() >= DEPTH_MAX {
            return;
        }
        let before = self.slice(at.saturating_sub(256), at);
        let trimmed = before.trim_ascii_end();
        let name = match trimmed.last() {
            Some(b':' | b'=' | b'>') => {
                let sep = at - (before.len() - trimmed.len()) - 1;
                let sep = sep.saturating_sub(usize::from(trimmed.last() == Some(&b'>')));
                value::key_before(self.text(), sep, sep.saturating_sub(200))
                    .map(|k| self.slice(k.name.0, k.name.1).to_vec())
            }
            _ => None,
        };
        // An element of an array stands under the array's name.
        let name = name.unwrap_or_default();
        self.path.push((Level::Brace, name));
    }

    // ---- containers -------------------------------------------------------------------------

    /// One token of a protected object or array.
    fn container(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Container {
            hit,
            depth,
            slashes,
            doubled,
        } = self.inner
        else {
            return At(self.pos);
        };
        let at = self.pos;
        let Some(b) = self.byte(at) else {
            return At(limit);
        };
        match b {
            b'{' | b'[' => {
                self.inner = Inner::Container {
                    hit,
                    depth: depth + 1,
                    slashes,
                    doubled,
                };
                At(at + 1)
            }
            b'}' | b']' => {
                self.inner = if depth <= 1 {
                    Inner::Text
                } else {
                    Inner::Container {
                        hit,
                        depth: depth - 1,
                        slashes,
                        doubled,
                    }
                };
                At(at + 1)
            }
            b'\n' => {
                self.sink.row += 1;
                self.line = at + 1;
                self.line_cut = false;
                self.above = None;
                At(at + 1)
            }
            b' ' | b'\t' | b'\r' | b',' | b':' | b';' => At(at + 1),
            b'"' | b'\'' | b'`' | b'\\' => {
                let Some(opening) = value::opening(self.slice(0, limit), at, closed) else {
                    return self.more(at);
                };
                let Some(quote) = opening else {
                    return At(at + 1);
                };
                if quote.slashes < slashes {
                    self.inner = Inner::Text; // The string around it has ended.
                    return At(at);
                }
                if doubled && quote.mark == b'"' && quote.slashes == 0 {
                    match self.slice(0, limit).get(at + 1) {
                        None if !closed => return self.more(at),
                        Some(b'"') => {}
                        _ => {
                            self.inner = Inner::Text; // The field around it has ended.
                            return At(at + 1);
                        }
                    }
                }
                let quote = if doubled && quote.mark == b'"' {
                    Quote {
                        doubled: true,
                        tripled: false,
                        ..quote
                    }
                } else {
                    Quote {
                        tripled: false,
                        ..quote
                    }
                };
                self.contained(at, quote, hit, limit, closed)
            }
            _ => {
                let rest = self.slice(at, limit);
                let size = rest
                    .iter()
                    .position(|b| {
                        matches!(
                            b,
                            b',' | b'}' | b']' | b':' | b'"' | b'\\' | b'\n' | b'\r' | b'{' | b'['
                        ) || (*b == b' ')
                    })
                    .unwrap_or(rest.len());
                if size == rest.len() && !closed {
                    if size > VALUE_MAX {
                        self.mask(at, limit, hit, Place::Inside, "json");
                        self.swallow_until(Until::Bare);
                        return At(limit);
                    }
                    return self.more(at);
                }
                let end = at + size;
                if self.byte(end) == Some(b':') && end + 1 >= limit && !closed {
                    return self.more(at);
                }
                let key = self.slice(end, limit).first() == Some(&b':')
                    && matches!(
                        self.slice(end + 1, limit).first(),
                        None | Some(b' ' | b'"' | b'\n')
                    );
                if !key && !value::is_nothing(self.slice(at, end)) {
                    let place = match (slashes, doubled) {
                        (_, true) => Place::Doubled,
                        (0, _) => Place::Literal,
                        (1, _) => Place::Escaped,
                        _ => Place::Inside,
                    };
                    self.mask(at, end, hit, place, "json");
                }
                At(end.max(at + 1))
            }
        }
    }

    /// A string in a container: a key if a colon follows, else a value.
    fn contained(&mut self, at: usize, quote: Quote, hit: Hit, limit: usize, closed: bool) -> Flow {
        let content = at + quote.len();
        let from = match self.seen {
            Some((seen, from)) if seen == content => from,
            Some(_) | None => content,
        };
        let end = match value::quoted_end(self.slice(0, limit), content, from, quote, closed) {
            End::Quote(end) | End::Line(end) => end,
            End::Open(upto) => {
                self.seen = Some((content, upto));
                if limit - content > VALUE_MAX {
                    self.seen = None;
                    self.mask(content, upto, hit, Place::Inside, "json");
                    // What follows the string is seen by the container again.
                    self.swallow_until(Until::Quote(quote));
                    return At(upto);
                }
                return self.more(at);
            }
        };
        let close = (end + quote.len()).min(limit);
        let rest = self.slice(close, limit);
        let spaces = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let is_key = match rest.get(spaces) {
            None if !closed && spaces < 1024 => return self.more(at),
            Some(b':') => true,
            Some(b'=') => rest.get(spaces + 1) == Some(&b'>'),
            _ => false,
        };
        self.seen = None;
        if !is_key && !value::is_nothing(self.slice(content, end)) {
            self.mask(content, end, hit, Place::Inside, "json");
        }
        At(close.max(at + 1))
    }

    /// From here on everything is dropped up to a delimiter; then it goes on as now.
    fn swallow_until(&mut self, until: Until) {
        let then = Box::new(std::mem::replace(&mut self.inner, Inner::Text));
        self.inner = Inner::Swallow { until, then };
    }

    /// The rest of a value that was too long to be withheld.
    fn swallow(&mut self, until: Until, limit: usize, closed: bool) -> Flow {
        let at = self.pos;
        let rest = self.slice(at, limit);
        let end = match until {
            Until::Quote(quote) => {
                match value::quoted_end(self.slice(0, limit), at, at, quote, closed) {
                    End::Quote(end) | End::Line(end) => Some(end),
                    End::Open(upto) => {
                        let upto = upto.max(at);
                        self.pass_to(at);
                        self.drop_to(upto);
                        self.pos = upto;
                        return self.more(upto);
                    }
                }
            }
            Until::Line => memchr::memchr(b'\n', rest).map(|i| at + i),
            Until::Bare => rest
                .iter()
                .position(|b| {
                    b.is_ascii_whitespace()
                        || matches!(
                            b,
                            b',' | b';' | b'"' | b'\'' | b'}' | b']' | b')' | b'<' | b'|'
                        )
                })
                .map(|i| at + i),
            Until::Cell(by) => rest
                .iter()
                .position(|b| *b == by || *b == b'\n')
                .map(|i| at + i),
            Until::Tag => memchr::memchr(b'<', rest).map(|i| at + i),
        };
        self.pass_to(at);
        match end {
            Some(end) => {
                self.drop_to(end);
                self.inner = match std::mem::replace(&mut self.inner, Inner::Text) {
                    Inner::Swallow { then, .. } => *then,
                    other => other,
                };
                At(end)
            }
            None => {
                self.drop_to(limit);
                At(limit)
            }
        }
    }

    // ---- detectors with a shape of their own -------------------------------------------------

    /// A password in a URL: `at` is the colon of `://`.
    fn url(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let Some(hit) = self.rules.compiled().detector(Detector::UrlPassword) else {
            return At(at + 1);
        };
        match self.slice(at, limit).get(2) {
            None if !closed => return self.more_after(at + 1),
            Some(b'/') => {}
            _ => return At(at + 2),
        }
        let from = at + 3;
        let rest = self.slice(from, limit);
        let size = rest
            .iter()
            .take(2048)
            .position(|b| {
                b.is_ascii_whitespace()
                    || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b'|')
            })
            .unwrap_or(rest.len().min(2048));
        let token = rest.get(..size).unwrap_or_default();
        let whole = size < rest.len() || closed || size == 2048;
        let path = token
            .iter()
            .position(|b| matches!(b, b'/' | b'?' | b'#'))
            .unwrap_or(size);
        let authority = token.get(..path).unwrap_or_default();
        let user = authority.iter().position(|b| *b == b':');
        let host_at = authority.iter().rposition(|b| *b == b'@');
        let done = whole || path < size;
        let Some(colon) = user else {
            // Without a colon there is no password; a user's name is no address.
            return match host_at {
                Some(i) if done => At(from + i + 1),
                _ if done => At(from + path),
                _ => self.more_after(limit.saturating_sub(1)),
            };
        };
        let start = from + colon + 1;
        if let Some(i) = host_at.filter(|i| *i > colon) {
            if !done {
                return self.more(start);
            }
            let end = from + i;
            if end > start {
                self.mask(start, end, hit, Place::Inside, "url");
            }
            return At(end + 1);
        }
        let port = authority
            .get(colon + 1..)
            .is_some_and(|p| p.len() <= 5 && p.iter().all(u8::is_ascii_digit));
        if done && (port || path == size || authority.get(colon + 1) == Some(&b'[')) {
            return At(from + path);
        }
        if !whole {
            return self.more(start);
        }
        // A password with a slash that nobody escaped.
        match token.iter().rposition(|b| *b == b'@') {
            Some(i) if i > colon => {
                self.mask(start, from + i, hit, Place::Inside, "url");
                At(from + i + 1)
            }
            _ => At(from + path),
        }
    }

    /// `PRIVATE KEY-----`: the key follows.
    fn private_key(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        const LINE: &[u8] = b"KEY-----";
        const BLOCK: &[u8] = b"KEY BLOCK-----";
        let Some(hit) = self.rules.compiled().detector(Detector::PrivateKey) else {
            return At(at + 1);
        };
        if !self.slice(0, at).ends_with(b"PRIVATE ") {
            return At(at + 1);
        }
        let rest = self.slice(at, limit);
        if rest.len() < BLOCK.len()
            && !closed
            && (LINE.starts_with(rest) || BLOCK.starts_with(rest))
        {
            return self.more_after(limit.saturating_sub(1));
        }
        let size = if rest.starts_with(LINE) {
            LINE.len()
        } else if rest.starts_with(BLOCK) {
            BLOCK.len()
        } else {
            return At(at + 1);
        };
        let begins = self.slice(at.saturating_sub(48), at);
        if memchr::memmem::rfind(begins, b"-----BEGIN ").is_none() {
            return At(at + 1);
        }
        self.inner = Inner::Pem { hit, lines: 0 };
        At(at + size)
    }

    /// A piece of a private key's body.
    fn pem(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Pem { hit, lines } = self.inner else {
            return At(self.pos);
        };
        let at = self.pos;
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        let body = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        match b {
            b'\n' => {
                self.sink.row += 1;
                self.line = at + 1;
                self.line_cut = false;
                self.above = None;
                self.inner = if lines > 4096 {
                    Inner::Text
                } else {
                    Inner::Pem {
                        hit,
                        lines: lines + 1,
                    }
                };
                At(at + 1)
            }
            b'\r' | b' ' | b'\t' | b'|' | b'+' if b != b'+' || lines > 0 && self.line == at => {
                At(at + 1)
            }
            b'\\' => match rest.get(1) {
                None if !closed => self.more(at),
                Some(b'n' | b'r' | b'\\') => At(at + 2),
                _ => {
                    self.inner = Inner::Text;
                    At(at)
                }
            },
            b'-' => {
                let dashes = rest.iter().take_while(|b| **b == b'-').count();
                if dashes == rest.len() && !closed && dashes <= 5 {
                    return self.more_after(limit.saturating_sub(1));
                }
                self.inner = Inner::Text;
                At(at + dashes)
            }
            b if body(b) => {
                let size = rest.iter().take_while(|b| body(**b)).count();
                let next = rest.get(size).copied();
                if next.is_none() && !closed {
                    if size > 4096 {
                        self.mask(at, limit, hit, Place::Inside, "pem");
                        self.swallow_until(Until::Bare);
                        return At(limit);
                    }
                    return self.more(at);
                }
                // `Proc-Type: 4,ENCRYPTED` and the like stand before the body.
                if matches!(next, Some(b'-' | b':')) && lines <= 6 {
                    let line = memchr::memchr(b'\n', rest);
                    return match line {
                        None if !closed => self.more(at),
                        None => At(limit),
                        Some(line) => At(at + line),
                    };
                }
                if size < 4 && lines < 2
                    || matches!(
                        next,
                        Some(b'.' | b'(' | b')' | b'$' | b'_' | b'@' | b'#' | b'>' | b'{' | b';')
                    )
                {
                    self.inner = Inner::Text;
                    return At(at);
                }
                // Words with spaces between them are text again.
                if next == Some(b' ') && lines > 0 && size < 40 {
                    self.inner = Inner::Text;
                    return At(at);
                }
                self.mask(at, at + size, hit, Place::Inside, "pem");
                At(at + size)
            }
            _ => {
                self.inner = Inner::Text;
                At(at)
            }
        }
    }

    /// `--name value` and `"--name", "value"`: `at` is the first dash.
    fn argument(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let before = at.checked_sub(1).and_then(|i| self.byte(i));
        if self.rules.compiled().fields.is_empty()
            || before.is_some_and(|b| {
                !(b.is_ascii_whitespace()
                    || matches!(b, b'"' | b'\'' | b'[' | b'(' | b'`' | b',' | b'='))
            })
        {
            let dashes = self
                .slice(at, limit)
                .iter()
                .take_while(|b| **b == b'-')
                .count();
            return At(at + dashes);
        }
        let rest = self.slice(at, limit);
        let dashes = rest.iter().take_while(|b| **b == b'-').count();
        if dashes == rest.len() && !closed && dashes <= 2 {
            return self.more_after(limit.saturating_sub(1));
        }
        if dashes != 2 {
            return At(at + dashes);
        }
        let name_at = at + 2;
        let name = rest.get(2..).unwrap_or_default();
        let size = name
            .iter()
            .take(128)
            .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.'))
            .count();
        if size == 0 {
            return At(name_at);
        }
        if size == name.len() && !closed {
            return self.more_after(limit.saturating_sub(1));
        }
        let end = name_at + size;
        let Some(hit) = self.rules.compiled().field(self.slice(name_at, end)) else {
            return At(end);
        };
        // A quote after the name means that the value is the next of the array.
        let tail = self.slice(end, limit);
        let quoted = matches!(tail.first(), Some(b'"' | b'\'' | b'\\'));
        let skip = tail
            .iter()
            .take(256)
            .take_while(|b| {
                matches!(b, b' ' | b'\t')
                    || (quoted && matches!(b, b'"' | b'\'' | b'\\' | b',' | b'\n' | b'\r'))
            })
            .count();
        if skip == tail.len() && !closed {
            return self.more_after(limit.saturating_sub(1));
        }
        let item = matches!(self.byte(end), Some(b'\n' | b'\r'));
        if skip == 0 && !item {
            return At(end);
        }
        let mut v = end + skip;
        if matches!(self.byte(v), Some(b'\n' | b'\r'))
            && before == Some(b' ')
            && self.slice(self.line, at).trim_ascii() == b"-"
        {
            // A list of arguments in YAML: the value is the next item.
            let rest = self.slice(v, limit);
            let item = rest
                .iter()
                .take(256)
                .take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'-'))
                .count();
            if item == rest.len() && !closed {
                return self.more_after(limit.saturating_sub(1));
            }
            let head = rest.get(..item).unwrap_or_default();
            if head.trim_ascii() == b"-" && head.ends_with(b" ") {
                v += item;
            }
        }
        if quoted {
            // Step back to the quote that opens the value.
            while v > end && !matches!(self.byte(v - 1), Some(b' ' | b',' | b'\n' | b'\t')) {
                v -= 1;
            }
            if !self.slice(end, v).contains(&b',') {
                return At(end);
            }
        }
        match self.byte(v) {
            Some(_) if before == Some(b'[') && !quoted => return At(end),
            None | Some(b'-' | b'\n' | b'\r' | b'|' | b'[' | b'<' | b'>') => return At(end),
            Some(_) => {}
        }
        let key = Key {
            start: at,
            name: (name_at, end),
            quote: None,
        };
        match value::opening(self.slice(0, limit), v, closed) {
            None => self.more(v),
            Some(Some(quote)) => self.quoted(
                key,
                v,
                Quote {
                    tripled: false,
                    ..quote
                },
                hit,
                limit,
                closed,
                false,
            ),
            Some(None) => match value::bare_end(
                self.slice(0, limit),
                v,
                Style::Word { nested: false },
                closed,
            ) {
                None if limit - v > VALUE_MAX => {
                    self.mask(v, limit, hit, Place::Word, "argument");
                    self.swallow_until(Until::Bare);
                    At(limit)
                }
                None => self.more(v),
                Some(end) => {
                    self.mask(v, end, hit, Place::Word, "argument");
                    At(end)
                }
            },
        }
    }

    // ---- markup -----------------------------------------------------------------------------

    /// A tag ends at `at`: its content may be protected.
    fn tag(&mut self, at: usize) -> Flow {
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
        if inside.contains(&b'>') {
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
        let empty = inside.last() == Some(&b'/');
        match lower.as_slice() {
            b"table" => self.html = Html::default(),
            b"tr" => {
                self.html.index = 0;
                self.html.last = None;
                self.html.data = false;
            }
            _ => {}
        }
        if empty {
            return next;
        }
        let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
        let mut hit = self.rules.compiled().field(local);
        if hit.is_none() {
            hit = attribute(body, &[b"name", b"key", b"field", b"id"])
                .and_then(|n| self.rules.compiled().field(&n));
        }
        match lower.as_slice() {
            b"td" => {
                self.html.data = true;
                let col = self.html.cols.get(self.html.index).copied().flatten();
                hit = hit.or(self.html.last).or(col);
                self.html.index += 1;
                self.html.last = None;
            }
            b"th" => {
                if self.html.index == 0 {
                    self.html.cols.clear();
                }
            }
            _ => {
                if hit.is_none() && !matches!(lower.as_slice(), b"key" | b"name") {
                    hit = self.html.pair.take();
                }
            }
        }
        if let Some(hit) = hit {
            self.inner = Inner::Element {
                hit,
                name: lower,
                depth: 1,
            };
        }
        next
    }

    fn closing_tag(&mut self, open: usize, at: usize, name: &[u8]) -> Flow {
        match name {
            b"th" | b"key" | b"name" | b"dt" => {
                let before = self.slice(open.saturating_sub(160), open);
                let from = memchr::memrchr(b'>', before).map_or(0, |i| i + 1);
                let content = before.get(from..).unwrap_or_default().trim_ascii();
                let content = content.strip_suffix(b":").unwrap_or(content);
                let hit = self.rules.compiled().field(content);
                if name == b"th" {
                    if self.html.cols.len() < 256 {
                        self.html.cols.push(hit);
                    }
                    self.html.index += 1;
                    self.html.last = hit;
                } else {
                    self.html.pair = hit;
                }
            }
            b"table" => self.html = Html::default(),
            b"tr" => {
                if self.html.data && self.html.cols.len() == 1 {
                    self.html.cols.clear(); // A name before each value, not above them.
                }
                self.html.last = None;
            }
            _ => {}
        }
        At(at + 1)
    }

    /// A piece of a protected element.
    fn element(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Element { hit, name, depth } = self.inner.clone() else {
            return At(self.pos);
        };
        let at = self.pos;
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        if b == b'<' {
            if rest.starts_with(b"<![CDATA[") {
                let Some(end) = memchr::memmem::find(rest, b"]]>") else {
                    if rest.len() > VALUE_MAX || closed {
                        self.mask(at + 9, limit, hit, Place::Inside, "markup");
                        self.swallow_until(Until::Tag);
                        return At(limit);
                    }
                    return self.more(at);
                };
                self.mask(at + 9, at + end, hit, Place::Inside, "markup");
                return At(at + end + 3);
            }
            if b"<![CDATA[".starts_with(rest) && !closed {
                return self.more_after(limit.saturating_sub(1));
            }
            let Some(end) = rest.iter().take(4096).position(|b| *b == b'>') else {
                if rest.len() >= 4096 || closed {
                    self.inner = Inner::Text;
                    return At(at + 1);
                }
                return self.more_after(limit.saturating_sub(1));
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
            let ends_row =
                closes && matches!(body.get(..size), Some(b"tr" | b"TR" | b"table" | b"TABLE"));
            self.inner = match (same, closes) {
                (true, true) if depth <= 1 => Inner::Text,
                (true, true) => Inner::Element {
                    hit,
                    name,
                    depth: depth - 1,
                },
                (true, false) if !own && name != b"td" => Inner::Element {
                    hit,
                    name,
                    depth: depth + 1,
                },
                _ if ends_row => Inner::Text,
                _ => Inner::Element { hit, name, depth },
            };
            return At(at + end + 1);
        }
        if b == b'\n' {
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
        let Some(size) = size.or(closed.then_some(rest.len())) else {
            if rest.len() > VALUE_MAX {
                self.mask(at, limit, hit, Place::Inside, "markup");
                self.swallow_until(Until::Tag);
                return At(limit);
            }
            return self.more(at);
        };
        let size = trimmed(rest, size);
        if !value::is_nothing(self.slice(at, at + size)) && self.slice(at, at + size) != b"&nbsp;" {
            self.mask(at, at + size, hit, Place::Inside, "markup");
        }
        At(at + size.max(1))
    }

    // ---- SQL --------------------------------------------------------------------------------

    /// A bracket after `INSERT INTO t` or `VALUES` opens a list of columns or of values.
    fn insert(&mut self, at: usize, limit: usize) -> Flow {
        let next = At(at + 1);
        if self.rules.compiled().fields.is_empty() || self.line_cut {
            return next;
        }
        let before = self.slice(self.line.max(at.saturating_sub(4096)), at);
        let words = before.trim_ascii_end();
        let tail = words
            .get(words.len().saturating_sub(6)..)
            .unwrap_or_default();
        if tail.eq_ignore_ascii_case(b"values") {
            let head = words
                .get(..words.len() - 6)
                .unwrap_or_default()
                .trim_ascii();
            let cols = if head.last() == Some(&b')') || head.is_empty() {
                let list =
                    memchr::memrchr(b'(', head).and_then(|i| head.get(i + 1..head.len() - 1));
                match list {
                    Some(list) => list
                        .split(|b| *b == b',')
                        .map(|c| self.rules.compiled().field(column(c)))
                        .collect(),
                    None => self
                        .sql
                        .last()
                        .filter(|(n, _)| n.is_empty())
                        .map(|(_, c)| c.clone())
                        .unwrap_or_default(),
                }
            } else {
                let table = column(
                    head.rsplit(|b| matches!(b, b' ' | b'.'))
                        .next()
                        .unwrap_or_default(),
                )
                .to_ascii_lowercase();
                self.sql
                    .iter()
                    .find(|(name, _)| *name == table)
                    .map(|(_, cols)| cols.clone())
                    .unwrap_or_default()
            };
            if cols.iter().any(Option::is_some) {
                self.inner = Inner::Sql {
                    cols,
                    at: 0,
                    depth: 1,
                };
            }
            return next;
        }
        let starts = |word: &[u8]| {
            words.len() >= word.len()
                && words
                    .get(..word.len())
                    .is_some_and(|w| w.eq_ignore_ascii_case(word))
        };
        if starts(b"create table") && self.creating.is_none() {
            let name = column(
                words
                    .rsplit(|b| matches!(b, b' ' | b'.'))
                    .next()
                    .unwrap_or_default(),
            )
            .to_ascii_lowercase();
            let rest = self.slice(at + 1, limit);
            let Some(line) = memchr::memchr(b'\n', rest) else {
                // What follows may leave: it is looked back at when the line is whole.
                self.creating = Some((name, Vec::new()));
                return next;
            };
            let _ = line;
            self.creating = Some((name, Vec::new()));
        }
        next
    }

    /// A line of a `CREATE TABLE`, the first one with everything where it is the only one.
    fn created(&mut self, line: &[u8]) {
        let Some((name, mut cols)) = self.creating.take() else {
            return;
        };
        let first = line
            .get(..12)
            .is_some_and(|w| w.eq_ignore_ascii_case(b"create table"));
        let body = if first {
            memchr::memchr(b'(', line)
                .and_then(|i| line.get(i + 1..))
                .unwrap_or_default()
        } else {
            line
        };
        let mut depth = 0usize;
        let mut from = 0;
        let mut ended = false;
        for (k, b) in body.iter().enumerate() {
            match b {
                b'(' => depth += 1,
                b')' if depth == 0 => ended = true,
                b')' => depth -= 1,
                b',' if depth == 0 => {
                    self.created_column(body.get(from..k).unwrap_or_default(), &mut cols);
                    from = k + 1;
                }
                _ => {}
            }
            if ended {
                self.created_column(body.get(from..k).unwrap_or_default(), &mut cols);
                break;
            }
        }
        if !ended {
            self.created_column(body.get(from..).unwrap_or_default(), &mut cols);
            if cols.len() <= 256 {
                self.creating = Some((name, cols));
            }
        } else if cols.iter().any(Option::is_some) && self.sql.len() < 16 {
            self.sql.retain(|(n, _)| *n != name);
            self.sql.push((name, cols));
        }
    }

    fn created_column(&self, text: &[u8], cols: &mut Vec<Option<Hit>>) {
        const CLAUSES: [&[u8]; 6] = [
            b"primary",
            b"key",
            b"unique",
            b"constraint",
            b"foreign",
            b"check",
        ];
        let word = text
            .trim_ascii()
            .split(u8::is_ascii_whitespace)
            .next()
            .unwrap_or_default();
        if !word.is_empty() && !CLAUSES.iter().any(|c| c.eq_ignore_ascii_case(word)) {
            cols.push(self.rules.compiled().field(column(word)));
        }
    }

    /// A value of an INSERT, or what stands between two of them.
    fn sql_values(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Sql {
            cols,
            at: index,
            depth,
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
            }
        };
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
                self.above = None;
                self.sink.row += 1;
                At(at + 1)
            }
            b' ' | b'\t' | b'\r' => At(at + 1),
            _ if depth == 0 => {
                self.inner = Inner::Text;
                At(at)
            }
            _ => {
                let hit = cols.get(index).copied().flatten();
                let (start, end, place) = if b == b'\'' || b == b'"' {
                    // Strings of SQL may have several lines.
                    let quote = Quote {
                        mark: b,
                        slashes: 0,
                        doubled: false,
                        tripled: false,
                    };
                    let text = self.slice(0, limit);
                    let mut found = value::quoted_end(text, at + 1, at + 1, quote, closed);
                    while let End::Line(end) = found {
                        let Some(next) =
                            memchr::memchr(b'\n', self.slice(end, limit)).map(|i| end + i + 1)
                        else {
                            break;
                        };
                        found = value::quoted_end(text, at + 1, next, quote, closed);
                    }
                    match found {
                        End::Quote(end) => (at + 1, end, Place::Inside),
                        End::Line(end) => (at + 1, end, Place::Inside),
                        End::Open(_) if limit - at > VALUE_MAX => (at + 1, limit, Place::Inside),
                        End::Open(_) => return self.more(at),
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
                match hit {
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
                        // Detectors and keys inside of a value that is not protected.
                        let inner = std::mem::replace(&mut self.inner, Inner::Text);
                        self.pos = start;
                        let frame = self.frame;
                        while self.pos < end {
                            let text = self.slice(0, end);
                            let Some(event) =
                                find::event(text, self.pos, self.rules.compiled().has_paths)
                            else {
                                break;
                            };
                            self.pos = event;
                            if self.byte(event) == Some(b'\n') {
                                self.pos += 1;
                                continue;
                            }
                            match self.event(event, end, true) {
                                At(next) => self.pos = next.max(event + 1),
                                More => break,
                            }
                            self.frame = frame;
                            self.inner = Inner::Text;
                        }
                        self.inner = inner;
                    }
                }
                At((end + usize::from(place == Place::Inside))
                    .min(limit)
                    .max(at + 1))
            }
        }
    }

    fn sql_literal(&mut self, start: usize, end: usize, hit: Hit) {
        // A number becomes a string, which SQL takes anywhere.
        self.mask(start, end, hit, Place::Word, "sql");
    }

    // ---- `name | value` ----------------------------------------------------------------------

    /// A cell that is nothing but a protected name, at the start of a line: its value follows.
    fn name_cell(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
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
        let before = self.slice(self.line, at).trim_ascii_start();
        let before = before
            .strip_prefix(b"|")
            .or_else(|| before.strip_prefix("│".as_bytes()))
            .unwrap_or(before);
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
        let boxed = self.slice(self.line, at).trim_ascii_start().len() > before.len();
        let others = text.split(table::is_separator).count() - 1;
        let more = others > usize::from(boxed)
            || text
                .split(table::is_separator)
                .skip(1)
                .any(|c| !c.trim().is_empty());
        let pairs = self.above.is_some_and(|(a, b)| {
            let above = String::from_utf8_lossy(self.slice(a, b));
            let cells = above.split(table::is_separator).count();
            (cells == 2 || (tight && cells > 2)) && !table::is_rule(above.as_bytes())
        });
        let named = cell
            .trim()
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | ' ' | '-'));
        if more || (named && !pairs) || cell.trim().bytes().all(|b| matches!(b, b'-' | b'=' | b':'))
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

    // ---- rows -------------------------------------------------------------------------------

    /// Reads on in a row of the table.
    fn cells(&mut self, end: bool) -> bool {
        let Some(kind) = self.table.as_ref().map(|t| t.kind) else {
            self.frame = Frame::Line;
            return true;
        };
        match kind {
            Kind::Delimited { by, quote, lead } => self.delimited(by, quote, lead, end),
            Kind::Aligned { boxed } => self.aligned(boxed, end),
            Kind::Spaced | Kind::Ruled => self.spaced(kind == Kind::Ruled, end),
            Kind::Expanded | Kind::Expanded0 => self.expanded(end),
            Kind::Latex => self.marked(end, Kind::Latex),
            Kind::Asciidoc => self.marked(end, Kind::Asciidoc),
        }
    }

    fn column_hit(&self, index: usize) -> Option<Hit> {
        let table = self.table.as_ref()?;
        match table.cols.get(index) {
            Some(col) => col.hit,
            // A separator inside of a cell has moved the cells to the right.
            None if matches!(table.kind, Kind::Delimited { .. }) => {
                table.cols.last().and_then(|c| c.hit)
            }
            // Behind the last column that is told apart everything counts as protected.
            None if table.cols.len() >= 256 => table.cols.iter().find_map(|c| c.hit),
            None => None,
        }
    }

    /// The line is no row after all: it is text from its beginning.
    fn not_a_row(&mut self) -> bool {
        self.frame = Frame::Line;
        self.row.is_row = false;
        true
    }

    /// The row's line ends at `at`.
    fn end_row(&mut self, at: usize, is_row: bool) -> bool {
        self.row.is_row = is_row;
        if self.byte(at) == Some(b'\n') {
            self.end_line(at);
            self.pos = at + 1;
        } else {
            self.pos = at;
        }
        true
    }

    fn delimited(&mut self, by: u8, quote: u8, lead: bool, end: bool) -> bool {
        let cell = self.row.cell;
        let hit = self.column_hit_delimited(lead);
        // Where the cell ends.
        let mut at = self.row.scan.max(cell);
        let mut found = None;
        if !self.row.quoted && !lead && by != b' ' && self.byte(cell).is_some_and(|b| b != quote) {
            let rest = self.slice(at, self.view.text.len());
            match memchr::memchr2(by, b'\n', rest) {
                Some(size) => {
                    at += size;
                    found = Some(at);
                }
                None => at += rest.len(),
            }
        }
        while found.is_none()
            && let Some(&b) = self.view.text.get(at)
        {
            if at == cell && b == quote && quote != 0 {
                self.row.quoted = true;
                self.row.closed_quote = false;
            } else if self.row.quoted && b == quote {
                self.row.closed_quote = !self.row.closed_quote;
            } else if b == b'\\' && (self.row.quoted && by == b' ' || lead) {
                // Tcl and markdown escape the next byte.
                if at + 1 >= self.view.text.len() && !end {
                    break;
                }
                at += 1;
            } else if !self.row.quoted || self.row.closed_quote {
                if b == by || b == b'\n' {
                    found = Some(at);
                    break;
                }
                if self.row.closed_quote && b != b'\r' && b != by {
                    // Something follows the closing quote: it was none.
                    self.row.closed_quote = false;
                    if b != b' ' {
                        self.row.quoted = false;
                    }
                }
            }
            at += 1;
        }
        self.row.scan = at;
        let single = self.table.as_ref().is_some_and(Table::is_single);
        let (limit, closed) = match found {
            Some(at) => (at, true),
            None => (self.view.text.len(), end),
        };
        let Some(hit) = hit else {
            // A cell that is not protected: keys and detectors.
            if self.pos < limit && !self.plain(limit, closed) {
                return false;
            }
            if found.is_none() {
                return false;
            }
            self.inner = Inner::Text;
            return self.next_cell(limit, by);
        };
        if !closed {
            if limit - cell > VALUE_MAX {
                self.mask(cell, limit, hit, Place::Inside, "csv");
                self.swallow_until(Until::Cell(by));
                self.pos = limit;
                self.frame = Frame::Line;
                return false;
            }
            self.hold = self.hold.min(cell);
            return false;
        }
        let newline = found.is_none() || self.byte(limit) == Some(b'\n');
        if newline && self.row.index == 0 && !single && self.row.broken.is_none() {
            return self.not_a_row();
        }
        let (mut from, mut to) = (cell, limit);
        if self.byte(to.wrapping_sub(1)) == Some(b'\r') && to > from {
            to -= 1;
        }
        let content = self.slice(from, to).trim_ascii();
        if single
            && content
                .iter()
                .all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b' '))
        {
            return self.not_a_row();
        }
        from = to - self.slice(from, to).trim_ascii_start().len();
        to = from + self.slice(from, to).trim_ascii_end().len();
        if to - from >= 2
            && quote != 0
            && self.byte(from) == Some(quote)
            && self.byte(to - 1) == Some(quote)
        {
            from += 1;
            to -= 1;
        }
        if to > from && !value::is_nothing(self.slice(from, to)) {
            self.mask(from, to, hit, Place::Inside, "csv");
        }
        self.pos = limit;
        if found.is_none() {
            self.row.is_row = true;
            return false;
        }
        self.next_cell(limit, by)
    }

    fn column_hit_delimited(&self, lead: bool) -> Option<Hit> {
        let index = if lead {
            self.row.index.checked_sub(1)?
        } else {
            self.row.index
        };
        self.column_hit(index)
            .or_else(|| self.column_hit(self.row.broken? + index))
    }

    fn next_cell(&mut self, at: usize, by: u8) -> bool {
        if self.byte(at) == Some(b'\n') {
            let cells = self.table.as_ref().map_or(0, |t| t.cols.len());
            let enough = self.row.index + 1 >= cells;
            let is_row = enough && (self.row.index > 0 || by == 0 || cells == 1);
            let reached = self.row.broken.map_or(0, |k| k) + self.row.index;
            let broke = !enough
                && by != b','
                && by != b';'
                && by != 0
                && reached > 0
                && reached + 1 < cells;
            let closes = self.row.broken.is_some() && reached + 1 == cells;
            let done = self.end_row(at, is_row || broke || closes);
            self.broken = broke.then_some(reached);
            return done;
        }
        self.row.index += 1;
        self.row.cell = at + 1;
        self.row.scan = at + 1;
        self.row.quoted = false;
        self.row.closed_quote = false;
        self.pos = at + 1;
        true
    }

    /// A row whose separators stand at fixed display columns.
    fn aligned(&mut self, boxed: bool, end: bool) -> bool {
        let Some((cells, col)) = self
            .table
            .as_ref()
            .map(|t| (t.cols.len(), t.cols.get(self.row.index).copied()))
        else {
            return self.not_a_row();
        };
        let closes_at = if boxed && self.row.separators == 0 {
            self.table
                .as_ref()
                .and_then(|t| t.cols.first())
                .map_or(0, |c| c.start.saturating_sub(1))
        } else {
            col.map_or(usize::MAX, |c| c.end)
        };
        let mut at = self.row.scan;
        let len = self.view.text.len();
        let mut found = None;
        let mut newline = None;
        // A cell of ASCII whose separator stands where it should.
        if !self.row.wide
            && !self.row.loose
            && at == self.row.cell
            && closes_at != usize::MAX
            && closes_at >= self.row.column
        {
            let sep = at + (closes_at - self.row.column);
            let cell = self.slice(at, sep);
            if self.byte(sep) == Some(b'|')
                && cell.len() == sep - at
                && cell.is_ascii()
                && memchr::memchr3(b'\n', b'\t', b'\r', cell).is_none()
                && !(boxed && self.row.separators == 1 && cell.contains(&b'|'))
            {
                self.row.column = closes_at;
                self.row.last = b' ';
                found = Some((sep, 1));
                at = sep;
            }
        }
        while found.is_none() && at < len {
            let b = self.view.text.get(at).copied().unwrap_or(b'\n');
            if b == b'\n' {
                newline = Some(at);
                break;
            }
            let (c, size) = match char_at(&self.view.text, at, end) {
                Some(found) => found,
                None => break,
            };
            if b == b'\r' && self.row.separators == 0 {
                match self.view.text.get(at + 1) {
                    None if !end => break,
                    None | Some(b'\n') => {}
                    // The cursor went back: what stood here was no row.
                    Some(_) => return self.not_a_row(),
                }
            }
            let expected = closes_at.saturating_add_signed(self.row.shift);
            if boxed
                && c == '|'
                && self.row.separators == 1
                && self.row.column < expected
                && !self.row.wide
            {
                // Cells of unequal width: markdown that nobody aligned.
                self.row.loose = true;
            }
            if table::is_separator(c) || (matches!(c, ':' | ';') && self.row.column == expected) {
                let next = self.view.text.get(at + size).copied();
                if self.row.loose && c == '|' && self.row.last != b'\\' {
                    found = Some((at, size));
                    break;
                }
                let padded =
                    self.row.last == b' ' || matches!(self.row.last, b'+' | b'.') || self.row.wide;
                let open = matches!(next, Some(b' ' | b'\n' | b'\r' | b'|'));
                if next.is_none() && !end && self.row.column != expected {
                    break;
                }
                let exact = self.row.column == expected;
                if exact
                    || ((self.row.wide || self.row.loose)
                        && padded
                        && (open || next.is_none())
                        && (self.row.loose || self.row.column.abs_diff(expected) <= 64))
                {
                    if !exact && !self.row.loose {
                        let now = isize::try_from(self.row.column).unwrap_or(0);
                        let want = isize::try_from(closes_at).unwrap_or(now);
                        self.row.shift = now - want;
                    }
                    found = Some((at, size));
                    break;
                }
            }
            if self.row.column > expected.saturating_add(if self.row.wide { 64 } else { 0 })
                && !self.row.loose
            {
                if self.row.separators == 0 {
                    return self.not_a_row();
                }
                self.row.loose = true;
            }
            if b >= 0x80 || b == b'\t' {
                self.row.wide = true;
            }
            self.row.column += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
            self.row.last = if size == 1 { b } else { b'x' };
            at += size;
        }
        self.row.scan = at;
        let limit = found.map_or(newline.unwrap_or(at), |(at, _)| at);
        let closed = found.is_some() || newline.is_some() || end;
        let in_cell = !(boxed && self.row.separators == 0);
        let hit = if in_cell {
            self.column_hit(self.row.index)
        } else {
            None
        };
        let hit = hit.filter(|_| self.row.index < cells.max(1));
        match hit {
            Some(hit) => {
                if !closed {
                    if at - self.row.cell > VALUE_MAX {
                        self.mask(self.row.cell, at, hit, Place::Inside, "table");
                        self.swallow_until(Until::Line);
                        self.pos = at;
                        self.frame = Frame::Line;
                        return false;
                    }
                    self.hold = self.hold.min(self.row.cell);
                    return false;
                }
                if found.is_none() && self.row.separators == 0 && cells > 1 {
                    return self.not_a_row();
                }
                let text = self.slice(self.row.cell, limit);
                let start = self.row.cell + (text.len() - text.trim_ascii_start().len());
                let stop = self.row.cell + text.trim_ascii_end().len();
                if stop > start
                    && !value::is_nothing(self.slice(start, stop))
                    && !table::is_dashes(self.slice(start, stop))
                {
                    self.mask(start, stop, hit, Place::Cell, "table");
                }
                self.pos = limit;
            }
            None => {
                if self.pos < limit && !self.plain(limit, closed) {
                    return false;
                }
                if closed {
                    self.inner = Inner::Text;
                }
            }
        }
        match (found, newline) {
            (Some((at, size)), _) => {
                if in_cell {
                    self.row.index += 1;
                }
                self.row.separators += 1;
                self.row.cell = at + size;
                self.row.scan = at + size;
                self.row.column += 1;
                self.row.last = b'|';
                self.pos = at + size;
                true
            }
            (None, Some(at)) => {
                if self.row.separators == 0 && cells > 1 {
                    self.frame = Frame::Line;
                    self.pos = at;
                    return true;
                }
                if boxed && self.row.index < cells && self.row.separators > 0 {
                    // The cell goes on in the next line.
                    self.sink.row += 1;
                    self.row.wide = true;
                    self.row.loose = true;
                    self.row.cell = at + 1;
                    self.row.scan = at + 1;
                    self.row.last = b' ';
                    self.line = at + 1;
                    self.above = None;
                    self.pos = at + 1;
                    return true;
                }
                self.end_row(at, true)
            }
            (None, None) => false,
        }
    }

    /// A row whose cells stand under their header, or under its dashes.
    fn spaced(&mut self, ruled: bool, end: bool) -> bool {
        // Skip the spaces before the next group.
        let len = self.view.text.len();
        let mut at = self.row.cell;
        while at < len && self.byte(at) == Some(b' ') {
            at += 1;
            self.row.column += 1;
            self.row.spaces += 1;
        }
        self.row.cell = at;
        self.row.cell_column = self.row.column;
        let Some(first) = self.byte(at) else {
            self.pos = self.pos.max(at);
            return false;
        };
        if first == b'\r' {
            match self.byte(at + 1) {
                None if !end => return false,
                None | Some(b'\n') => {}
                Some(_) => {
                    self.row.cell = at + 1;
                    self.pos = at + 1;
                    return true;
                }
            }
        }
        if matches!(first, b'\n' | b'\r') {
            let at = if first == b'\r' { at + 1 } else { at };
            let is_row = self.row.index > 1 || self.row.separators > 0;
            return self.end_row(at, is_row);
        }
        // The group ends at two spaces or, under dashes, where its column ends.
        let mut column = self.row.column;
        let mut stop = at;
        let mut stop_column = column;
        let mut spaces = 0;
        let mut whole = end;
        let bound = if ruled {
            self.ruled_bound(column)
        } else {
            usize::MAX
        };
        while stop < len {
            let b = self.view.text.get(stop).copied().unwrap_or(b'\n');
            if b == b'\n' || b == b'\r' || column >= bound {
                whole = true;
                break;
            }
            let Some((c, size)) = char_at(&self.view.text, stop, end) else {
                break;
            };
            if c == ' ' {
                spaces += 1;
                if spaces >= 2 && !(ruled && bound != usize::MAX) {
                    whole = true;
                    stop -= 1;
                    column -= 1;
                    break;
                }
            } else {
                spaces = 0;
            }
            column += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
            stop += size;
            stop_column = column;
        }
        let _ = stop_column;
        let (may, hit) = self.spaced_hit(ruled, self.row.column, column, whole);
        if may && !whole {
            if stop - at > VALUE_MAX {
                if let Some(hit) = self
                    .table
                    .as_ref()
                    .and_then(|t| t.cols.iter().find_map(|c| c.hit))
                {
                    self.mask(at, stop, hit, Place::Inside, "table");
                }
                self.swallow_until(Until::Line);
                self.pos = stop;
                self.frame = Frame::Line;
                return false;
            }
            self.hold = self.hold.min(at);
            return false;
        }
        let kept = trimmed(self.slice(at, stop), stop - at);
        let ends_line = whole && matches!(self.byte(stop), None | Some(b'\n' | b'\r'));
        let cols = self.table.as_ref().map_or(0, |t| t.cols.len());
        match hit {
            Some(_) if self.row.index == 0 && ends_line && cols > 1 && !ruled => {
                return self.not_a_row();
            }
            Some(_)
                if cols == 1
                    && !self
                        .slice(at, at + kept)
                        .iter()
                        .any(|b| b.is_ascii_digit() || matches!(b, b'@' | b'$')) =>
            {
                return self.not_a_row();
            }
            Some(hit) => {
                if !value::is_nothing(self.slice(at, at + kept))
                    && !table::is_dashes(self.slice(at, at + kept))
                {
                    self.mask(at, at + kept, hit, Place::Cell, "table");
                }
                self.row.separators += 1;
            }
            None => {
                self.pos = self.pos.max(at);
                if self.pos < stop && !self.plain(stop, whole) {
                    return false;
                }
                if !whole {
                    return false;
                }
                self.inner = Inner::Text;
            }
        }
        self.row.index += 1;
        self.row.cell = stop;
        self.row.column = column;
        self.row.spaces = 0;
        self.pos = stop;
        self.row.scan = stop;
        stop < len
    }

    /// Where the column ends that a group at `column` stands in.
    fn ruled_bound(&self, column: usize) -> usize {
        let Some(table) = &self.table else {
            return usize::MAX;
        };
        table
            .cols
            .windows(2)
            .find(|w| {
                w.first().is_some_and(|c| column >= c.start)
                    && w.last().is_some_and(|n| column < n.start)
            })
            .and_then(|w| w.last().map(|n| n.start))
            .unwrap_or(usize::MAX)
    }

    /// Whether a group from `from` to before `to` may be, and is, in a protected column.
    fn spaced_hit(&self, ruled: bool, from: usize, to: usize, whole: bool) -> (bool, Option<Hit>) {
        let Some(table) = &self.table else {
            return (false, None);
        };
        for (k, col) in table.cols.iter().enumerate() {
            let Some(hit) = col.hit else { continue };
            let next = table.cols.get(k + 1).map_or(usize::MAX, |c| c.start);
            if ruled {
                if from < next && from >= col.start {
                    return (true, Some(hit));
                }
                continue;
            }
            let before = k
                .checked_sub(1)
                .and_then(|k| table.cols.get(k))
                .map_or(0, |c| c.end);
            let inside = from < next && (from > before || (k == 0 && from == col.start));
            let over = from < col.end
                && to > col.start
                && from
                    != table
                        .cols
                        .get(k.wrapping_sub(1))
                        .map_or(usize::MAX, |c| c.start);
            if inside || over {
                return (true, Some(hit));
            }
            if !whole && from < col.end {
                return (true, None);
            }
        }
        (false, None)
    }

    /// A line of psql's expanded display: `name | value`.
    fn expanded(&mut self, end: bool) -> bool {
        let len = self.view.text.len();
        let bare = self
            .table
            .as_ref()
            .is_some_and(|t| t.kind == Kind::Expanded0);
        let boxed = self.row.separators > 0
            || first_char(self.slice(self.line, len)).is_some_and(table::is_separator);
        // Names leave as they come; the separator after them tells.
        if self.row.index == 0 {
            let mut at = self.row.scan;
            while at < len {
                let b = self.view.text.get(at).copied().unwrap_or(b'\n');
                if b == b'\n' {
                    self.pos = self.pos.max(self.row.cell);
                    self.row.scan = at;
                    if self.pos < at && !self.plain(at, true) {
                        return false;
                    }
                    self.inner = Inner::Text;
                    self.frame = Frame::Line;
                    return true;
                }
                let Some((c, size)) = char_at(&self.view.text, at, end) else {
                    break;
                };
                let separates = (bare && c == ' ')
                    || table::is_separator(c)
                    || (matches!(c, ':' | ';')
                        && self.slice(self.line, at).iter().all(|b| *b == b' '));
                if separates {
                    self.row.scan = at;
                    if self.pos < at && !self.plain(at, true) {
                        return false;
                    }
                    self.inner = Inner::Text;
                    let name = self.slice(self.row.cell, at).trim_ascii();
                    if boxed && self.row.separators == 0 && name.is_empty() {
                        self.row.separators = 1;
                        self.row.cell = at + size;
                        at += size;
                        self.row.scan = at;
                        continue;
                    }
                    if !name.is_empty() {
                        self.row.key = self.rules.compiled().field(name);
                    } else if self.row.separators == 0 && self.slice(self.line, at).is_empty() {
                        self.row.key = None;
                    }
                    self.row.index = 1;
                    self.row.cell = at + size;
                    self.row.scan = at + size;
                    self.pos = at + size;
                    return true;
                }
                at += size;
            }
            self.row.scan = at;
            if self.pos < at {
                self.plain(at, end);
            }
            return false;
        }
        let rest = self.slice(self.row.cell, len);
        let line = memchr::memchr(b'\n', rest).map(|i| self.row.cell + i);
        let limit = line.unwrap_or(len);
        match self.row.key {
            Some(hit) => {
                if line.is_none() && !end {
                    if rest.len() > VALUE_MAX {
                        self.mask(self.row.cell, len, hit, Place::Inside, "table");
                        self.swallow_until(Until::Line);
                        self.pos = len;
                        self.frame = Frame::Line;
                        return false;
                    }
                    self.hold = self.hold.min(self.row.cell);
                    return false;
                }
                let cell = self.slice(self.row.cell, limit).trim_ascii_end();
                let cell = if self.row.separators > 0 {
                    cell.strip_suffix(b"|")
                        .or_else(|| cell.strip_suffix("│".as_bytes()))
                        .or_else(|| cell.strip_suffix("║".as_bytes()))
                        .unwrap_or(cell)
                } else {
                    cell
                };
                let cell = cell.trim_ascii_end();
                let start = self.row.cell + (cell.len() - cell.trim_ascii_start().len());
                let stop = self.row.cell + cell.len();
                if stop > start
                    && !value::is_nothing(self.slice(start, stop))
                    && !table::is_dashes(self.slice(start, stop))
                {
                    self.mask(start, stop, hit, Place::Cell, "table");
                }
                self.pos = limit;
            }
            None => {
                if self.pos < limit && !self.plain(limit, line.is_some() || end) {
                    return false;
                }
                if line.is_none() {
                    return false;
                }
                self.inner = Inner::Text;
            }
        }
        match line {
            Some(at) => self.end_row(at, true),
            None => false,
        }
    }

    /// A row of LaTeX or AsciiDoc.
    fn marked(&mut self, end: bool, kind: Kind) -> bool {
        let len = self.view.text.len();
        let rest = self.slice(self.line, len);
        let line = memchr::memchr(b'\n', rest).map(|i| self.line + i);
        // These rows are looked at whole: nobody watches them being written.
        let Some(limit) = line.or(end.then_some(len)) else {
            if rest.len() > VALUE_MAX {
                return self.not_a_row();
            }
            self.hold = self.hold.min(self.line);
            return false;
        };
        let text = self.slice(self.line, limit).to_vec();
        let mut spans = Vec::new();
        match kind {
            Kind::Latex => {
                if memchr::memmem::find(&text, b" & ").is_none()
                    && self.table.as_ref().is_some_and(|t| t.cols.len() > 1)
                {
                    return self.not_a_row();
                }
                let size = memchr::memmem::rfind(&text, b"\\\\").unwrap_or(text.len());
                let mut from = 0;
                for cell in text.get(..size).unwrap_or_default().split(|b| *b == b'&') {
                    spans.push((from, from + cell.len()));
                    from += cell.len() + 1;
                }
            }
            _ => {
                let mut from = 0;
                while let Some((_, start)) =
                    table::asciidoc_mark(text.get(from..).unwrap_or_default())
                {
                    let start = from + start;
                    let size = table::asciidoc_mark(text.get(start..).unwrap_or_default())
                        .map_or(text.len() - start, |(s, _)| s);
                    spans.push((start, start + size));
                    from = start + size;
                }
            }
        }
        let line_start = self.line;
        for (k, (from, to)) in spans.iter().enumerate() {
            let cell = text.get(*from..*to).unwrap_or_default();
            let start = from + cell.len() - cell.trim_ascii_start().len();
            let stop = from + cell.trim_ascii_end().len();
            let pair = self.table.as_ref().is_some_and(|t| t.cols.is_empty()) && k == 1;
            let named = if pair {
                let name = spans
                    .first()
                    .and_then(|(a, b)| text.get(*a..*b))
                    .unwrap_or_default();
                self.rules.compiled().field(name.trim_ascii())
            } else {
                None
            };
            match self.column_hit(k).or(named) {
                Some(hit)
                    if stop > start
                        && !value::is_nothing(text.get(start..stop).unwrap_or_default()) =>
                {
                    self.mask(
                        line_start + start,
                        line_start + stop,
                        hit,
                        Place::Inside,
                        "table",
                    );
                    self.pos = line_start + to;
                }
                _ => {
                    self.pos = self.pos.max(line_start + from);
                    self.plain(line_start + to, true);
                    self.inner = Inner::Text;
                }
            }
        }
        if line.is_none() {
            self.pos = limit;
            return false;
        }
        self.end_row(limit, true)
    }

    // ---- blocks -----------------------------------------------------------------------------

    /// Whether the line that begins here belongs to the block; `None`: more is needed.
    fn in_block(&mut self, block: Block, end: bool) -> Option<bool> {
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
    fn block_line(&mut self, end: bool) -> bool {
        let Some(block) = self.block else {
            self.frame = Frame::Line;
            return true;
        };
        let len = self.view.text.len();
        let rest = self.slice(self.line, len);
        let line = memchr::memchr(b'\n', rest).map(|i| self.line + i);
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

enum Paired {
    No,
    More,
    Value(Hit),
}

/// `-[ RECORD 1 ]---` in any style, or mysql's `*** 1. row ***`.
fn is_record(line: &[u8]) -> bool {
    if line.starts_with(b"* Record ") {
        return true;
    }
    let Some(at) = memchr::memmem::find(line, b"[ RECORD ") else {
        return false;
    };
    at < 8
}

/// The columns of `COPY t (a, b) FROM stdin;`.
fn copied(rules: &Rules, line: &[u8]) -> Option<Table> {
    if !line
        .get(..5)
        .is_some_and(|w| w.eq_ignore_ascii_case(b"copy "))
    {
        return None;
    }
    let open = memchr::memchr(b'(', line)?;
    let close = memchr::memchr(b')', line)?;
    let list = line.get(open + 1..close)?;
    Table::copied(
        list.split(|b| *b == b',')
            .map(|c| rules.compiled().field(column(c)))
            .collect(),
    )
}

/// The name of a column or a table, without its quotes.
fn column(text: &[u8]) -> &[u8] {
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

/// The value of one of these attributes in a tag.
fn attribute(tag: &[u8], names: &[&[u8]]) -> Option<Vec<u8>> {
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

fn trimmed(rest: &[u8], size: usize) -> usize {
    rest.get(..size).unwrap_or_default().trim_ascii_end().len()
}

fn first_char(text: &[u8]) -> Option<char> {
    char_at(text, 0, true).map(|(c, _)| c)
}

/// The character at `at` and its size; `None` if it is not whole and more may come.
fn char_at(text: &[u8], at: usize, closed: bool) -> Option<(char, usize)> {
    let b = *text.get(at)?;
    let size = match b {
        0..0x80 => return Some((char::from(b), 1)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((char::REPLACEMENT_CHARACTER, 1)),
    };
    match text.get(at..at + size) {
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(s) => s.chars().next().map(|c| (c, size)),
            Err(_) => Some((char::REPLACEMENT_CHARACTER, 1)),
        },
        None if closed => Some((char::REPLACEMENT_CHARACTER, 1)),
        None => None,
    }
}
