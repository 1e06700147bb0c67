//! One stream's way through the scanner.
//!
//! The text that a terminal would show is looked at from left to right. Each byte is examined
//! once, but for the one token at the end that is not whole; what is decided leaves at once. The
//! only places where something can happen are *events* (a colon, a digit, an `@`, …): the finder
//! jumps from one to the next, and what stands around an event decides.

mod aligned;
mod behind;
mod condition;
mod container;
mod create;
mod delimited;
mod dumped;
mod encoded;
mod entity;
mod expanded;
mod field;
mod grid;
mod grouped;
mod joint;
mod labelled;
mod line;
mod lists;
mod marked;
mod markup;
mod member;
mod names;
mod order;
mod outlet;
mod own;
mod pair;
mod path;
mod placeholder;
mod recall;
mod row;
mod screen;
mod secret;
mod section;
mod setting;
mod skim;
mod spaced;
mod sql;
mod strings;
mod symbol;
mod text;
mod within;
mod yaml;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Coverage;
use crate::detect;
use crate::hold::Holds;
use crate::noted::Notes;
use crate::rules::{Detector, Hit, Rules};
use crate::simd::{self, Width};
use crate::sink::{Left, Sink};
use crate::table::{Listing, Table};
use crate::term::{Term, View};
use crate::value::Quote;
use crate::work;
pub(crate) use behind::{ends_value, opens_pair};
pub(crate) use condition::sets_password;
pub(crate) use create::created_name;
pub(crate) use encoded::opens_data;
pub(crate) use field::says_is;
pub(crate) use joint::Spans;
pub(crate) use line::is_record;
pub(crate) use markup::attribute;
pub(crate) use setting::is_setting;
use skim::Skim;
pub(crate) use sql::begins_insert;

/// Text that has left but may still be looked back at.
const CONTEXT: usize = 1024;
/// How far back anything looks in a line that is longer than [`LINE_NEAR`]: it is there then,
/// however the line was cut, since what was last examined keeps [`CONTEXT`] bytes before it.
const LOOK_BACK: usize = 768;
/// Up to here from its beginning all of a line is there.
const LINE_NEAR: usize = 4096;
/// A longer line is not looked at as a header.
const LINE_CONTEXT: usize = 8192;
/// How much before a byte that was taken back is looked at again.
const BACK_MAX: usize = 64;
/// A value that is longer is masked before its end is known.
const VALUE_MAX: usize = 60 * 1024;
/// The most that is looked at in one go, and the most of it behind an escape.
const PART_MAX: usize = 16 * 1024;
const MOVES_MAX: usize = 256;
/// How many states may follow each other at one place.
const STUCK_MAX: u32 = 8;
/// How many containers deep the parents of dotted fields are remembered.
const DEPTH_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Lane {
    rules: Rules,
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
    /// In this run: so much of the line that begins may leave, whatever it is.
    lead: usize,
    /// In this run: a detector waits for more, and nothing else does.
    detects: bool,
    /// Where the last value ends that was replaced, and how many characters it had.
    replaced: Option<(usize, usize)>,
    /// Over so many bytes of it, and of nothing else, the cursor has gone back.
    over: usize,
    /// An open value: where its content begins, and up to where no end was found.
    seen: Option<(usize, usize)>,
    frame: Frame,
    inner: Inner,
    table: Option<Table>,
    row: Row,
    /// What is restored where the row turns out to be none.
    before_row: Option<Box<row::BeforeRow>>,
    broken: Option<usize>,
    /// So many lines the row has that broke off, and whether a quote in it may be open.
    parts: u32,
    torn: bool,
    /// The line began with a move of the cursor.
    painted: bool,
    screen: recall::Screen,
    block: Option<Block>,
    pair: Option<Pair>,
    /// The columns that rows of values have, in JSON.
    lists: Option<lists::Lists>,
    /// Where a protected value ended: what it becomes may follow.
    changed: Option<(usize, Hit)>,
    /// A protected string ended here: it may go on in the next line.
    joins: Option<strings::Joins>,
    /// A table in a string, and the lane that reads it.
    within: Option<Box<within::Within>>,
    /// What the lines above have named.
    section: Option<section::Section>,
    /// The line said a name and its value: it is no header.
    told: bool,
    /// A `data` whose members may be base64.
    data: Option<encoded::Data>,
    /// How many values were decoded to get to this text.
    depth: u32,
    /// Rows of a table without protected columns: none of them is a header.
    body: bool,
    /// A box has begun, and so many rows followed its first line, and nothing else.
    framed: Option<u32>,
    /// What stands beside a name is its value, as the header above says.
    listing: Option<Listing>,
    /// So many rows of a box in a row had a line under them, each.
    lined: u32,
    /// The columns of a `CREATE TABLE` that is being read.
    creating: Option<create::Creating>,
    html: Html,
    /// The columns of an `INSERT` whose rows come in the next lines.
    values: Option<Values>,
    /// Names in a line that may become too long to be kept.
    names: Option<names::Names>,
    sql: create::Created,
    /// An `INSERT` filled a protected column: for how many lines that matters.
    inserts: Option<(Hit, u32)>,
    /// Parameters of it that stand for protected values: `$2`.
    params: Vec<(u32, Hit)>,
    /// What parameters without a number stand for, in their order: `?`, `%s`.
    args: Vec<Option<Hit>>,
    path: Vec<(Level, Vec<u8>)>,
    /// Where the policy's own detectors have looked.
    own: own::Looked,
    echo: VecDeque<u8>,
    /// From where on, and up to where, the text is the echo of what was typed.
    echoes_from: usize,
    echoed: usize,
    sink: Sink,
    skim: Skim,
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
    /// Painted on a screen, under the table.
    Painted,
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
        /// It stands in a string, and ends with it.
        string: bool,
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
        prefix: Option<secret::Prefix>,
    },
    /// A protected element: what it contains up to `</name`.
    Element {
        hit: Hit,
        name: Vec<u8>,
        depth: u32,
        within: markup::Within,
    },
    /// A row of values in JSON.
    List(lists::List),
    /// A string that another lane reads.
    Decoded,
    /// Values of an INSERT.
    Sql {
        cols: Vec<Option<Hit>>,
        at: usize,
        depth: usize,
        /// In a string that is too long to be waited for: its quote.
        text: Option<u8>,
        /// A string of this row may have ended before: every value may be a protected one.
        doubt: bool,
    },
}

impl Inner {
    /// A protected object or array that begins here, in no string.
    fn container(hit: Hit) -> Self {
        Self::Container {
            hit,
            depth: 0,
            slashes: 0,
            doubled: false,
            string: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Quote(Quote),
    /// The same, over lines.
    Text(Quote),
    Bare,
    Line,
    /// So many bytes at least, and then the end of a string as PHP dumps it.
    Dumped(usize),
    Tag(markup::Within),
    /// The end of a CDATA section.
    Section,
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
    /// A cell between spaces ends where its header does, and does not begin there.
    right: bool,
    quoted: bool,
    closed_quote: bool,
    /// The cell began with a quote; so many lines of it have ended.
    opened: bool,
    lines: u32,
    /// In its last line: up to where separators were counted, how many there were, and where a
    /// protected cell would begin if it were a row.
    counted: usize,
    seps: usize,
    guard: Option<usize>,
    /// The line before it has the cells of a row; several had.
    before: Option<delimited::Open>,
    alike: bool,
    /// A space stands behind the first separator, and behind each so far.
    spaced: bool,
    airy: bool,
    /// A quote opens a cell and does not close in its line.
    torn: bool,
    /// The rest of the cell is dropped: it was too long.
    dropped: bool,
    /// Up to where the end of the line was looked for, to count its cells.
    ahead: usize,
    doubt: delimited::Doubt,
    /// How far separators are from where they should be, after wide characters.
    shift: isize,
    wide: bool,
    /// Rows of a box begin with a line and not with a bar.
    drawn: bool,
    /// Cells are told by separators alone.
    loose: bool,
    /// Between bars that do not stand under those of the header.
    uneven: bool,
    /// The last cell goes on in this line of a box, and whether the line before ended in a bar.
    below: bool,
    closed: bool,
    /// Blanks stand where some separators should.
    skips: bool,
    separators: usize,
    spaces: usize,
    last: u8,
    /// The line before broke off in this cell: the line may go on with it.
    broken: Option<usize>,
    /// It has fewer cells than a row that goes on with a table behind an empty line.
    few: bool,
    /// That row was whole: the line may go on with its last cell.
    rest: bool,
    /// psql's expanded display: the key of the lines that continue a value.
    key: Option<Hit>,
    is_row: bool,
    /// Cells are missing at its end, as where nobody writes empty ones.
    ragged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    indent: usize,
    kind: BlockKind,
    hit: Hit,
    /// So many lines it has had.
    lines: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    /// Keys stay, scalars are masked.
    Map,
    /// Every line is text of the value.
    Literal,
    /// Lines that go on with the value, until one looks like a key.
    Continued,
    /// Lines that go on with it up to this quote.
    Quoted(u8),
    /// Lines up to one that is a word, of which this is kept.
    Heredoc(u32),
    /// The next line is the value, as PHP's `var_dump` writes it: with its type.
    Dumped,
    /// The same behind its number, as redis writes it.
    Numbered,
    /// Every line up to an empty one, as R prints what a list has. `indent` is the number of the
    /// first value in the last one.
    Vector,
    /// Every line up to the next member, as PHP's `print_r` writes it.
    Printed,
    /// Lines that begin with a string, which is part of the one above it.
    Strings,
    /// Lines up to the one in which this quote closes, or up to another `NAME=value`.
    Open(u8),
    /// The next line, since a backslash ended the one before it.
    Escaped,
    /// Lines that are indented further, until one looks like a key (INI).
    Indented,
    /// The headers of a part of a form, and then its body up to a boundary, whose hash is `indent`.
    Part { body: bool },
    /// Lines of a `.netrc`.
    Netrc,
}

impl BlockKind {
    /// Whether its lines are told by what they begin with.
    fn is_dump(self) -> bool {
        match self {
            Self::Dumped
            | Self::Numbered
            | Self::Vector
            | Self::Printed
            | Self::Strings
            | Self::Open(_)
            | Self::Escaped
            | Self::Part { .. }
            | Self::Netrc => true,
            Self::Map
            | Self::Literal
            | Self::Continued
            | Self::Indented
            | Self::Quoted(_)
            | Self::Heredoc(_) => false,
        }
    }
}

/// The columns of an `INSERT`.
#[derive(Clone, Debug)]
struct Values {
    cols: Vec<Option<Hit>>,
    next: Next,
}

/// What comes next in an `INSERT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The list of columns, or `VALUES`.
    List,
    /// More columns, in the next line.
    Columns,
    /// `VALUES`.
    Word,
    /// A row.
    Row,
}

/// A name of a name was seen (`"Name": "ssn"`): the value comes.
#[derive(Clone, Copy, Debug)]
struct Pair {
    at: usize,
    hit: Hit,
    /// The key of the name, as far as its last bytes tell.
    key: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Html {
    cols: Vec<Option<Hit>>,
    index: usize,
    data: bool,
    last: Option<Hit>,
    pair: Option<Hit>,
    /// What its heads name, until the row ends.
    heads: Vec<Option<Hit>>,
    /// The last row named columns.
    headed: bool,
    /// A head is open, and there was one in this row.
    open_head: bool,
    headed_row: bool,
    /// How many columns the head at hand has.
    wide: usize,
    /// For how many rows a cell of a row above goes on in a column.
    spans: Vec<usize>,
    /// The table that this one stands in, and how many do.
    outer: Option<Box<Self>>,
    deep: u32,
    /// What the cells of the row name, as long as all of them may be names.
    names: Option<Vec<Option<Hit>>>,
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

impl Lane {
    pub(crate) fn new(rules: Rules, pty: bool, holds: Holds) -> Self {
        let sink = Sink::new(&rules, pty, holds);
        Self {
            rules,
            pty,
            session: Vec::new(),
            term: Term::with_screen(pty),
            view: View::default(),
            out: 0,
            pos: 0,
            line: 0,
            line_cut: false,
            above: None,
            hold: usize::MAX,
            lead: 0,
            detects: false,
            replaced: None,
            over: 0,
            seen: None,
            frame: Frame::Start,
            inner: Inner::Text,
            table: None,
            row: Row::default(),
            before_row: None,
            broken: None,
            parts: 0,
            torn: false,
            painted: false,
            screen: recall::Screen::default(),
            block: None,
            pair: None,
            lists: None,
            changed: None,
            joins: None,
            within: None,
            section: None,
            told: false,
            data: None,
            depth: 0,
            body: false,
            framed: None,
            listing: None,
            lined: 0,
            creating: None,
            html: Html::default(),
            values: None,
            names: None,
            sql: create::Created::default(),
            inserts: None,
            params: Vec::new(),
            args: Vec::new(),
            path: Vec::new(),
            own: own::Looked::default(),
            echo: VecDeque::new(),
            echoes_from: 0,
            echoed: 0,
            sink,
            skim: Skim::new(Width::best()),
        }
    }

    pub(crate) fn set_record_max(&mut self, bytes: usize) {
        self.sink.set_record_max(bytes);
    }

    pub(crate) fn set_session(&mut self, session: &[u8]) {
        self.session = session.to_vec();
    }

    pub(crate) fn take_verdicts(&mut self) -> Notes {
        self.sink.take_verdicts()
    }

    pub(crate) fn coverage(&self) -> Coverage {
        self.sink.coverage
    }

    /// What has left since the last call.
    pub(crate) fn take(&mut self) -> Left {
        self.sink.take()
    }

    /// The holds that are open end here.
    pub(crate) fn seal(&mut self) {
        self.sink.seal();
    }

    pub(crate) fn typed(&mut self, bytes: &[u8]) {
        if self.pty {
            self.echo.extend(bytes.iter().take(4096));
            while self.echo.len() > 4096 {
                self.echo.pop_front();
            }
        }
    }

    /// Which way the bytes take; `None`: the byte machine's.
    pub(crate) fn set_width(&mut self, width: Option<Width>) {
        self.skim = Skim::forced(width);
    }

    /// Lines that left without being copied, before everything that `take` gives.
    pub(crate) fn take_shared(&mut self) -> Vec<Bytes> {
        self.sink.take_shared()
    }

    /// Takes a piece. How many bytes of it are unreadable.
    pub(crate) fn feed(&mut self, raw: &Bytes) -> usize {
        if self.skim.is_off(&self.rules) {
            self.read(raw);
            return simd::unreadable(Width::best(), raw);
        }
        self.skim(raw)
    }

    /// The byte machine's way: what the fast path has to be equal to.
    fn read(&mut self, raw: &[u8]) {
        // A backspace takes back what has not left. That must not depend on how the bytes were
        // cut, so everything before one is decided first.
        let mut rest = raw;
        while let Some(at) = memchr::memchr(8, rest) {
            let (before, after) = rest.split_at(at);
            self.written_over(before);
            let (back, after) = after.split_at(1);
            self.before_backspace();
            self.piece(back);
            rest = after;
        }
        self.written_over(rest);
    }

    /// Takes a piece, of which nothing goes that is written over a value that was replaced.
    fn written_over(&mut self, raw: &[u8]) {
        if raw.is_empty() {
            return;
        }
        if self.over == 0 {
            return self.piece(raw);
        }
        // What is written from its beginning on, or from before it, is another text.
        if self.replaced.is_none_or(|(_, size)| self.over >= size) {
            self.over = 0;
            self.view.add(" ");
            return self.piece(raw);
        }
        let text = raw.iter().take(self.over);
        let size = text
            .take_while(|b| b.is_ascii() && detect::is_local(**b))
            .count();
        let (over, rest) = raw.split_at(size);
        self.sink.swallow(over.len(), over);
        self.over = if rest.is_empty() { self.over - size } else { 0 };
        self.piece(rest);
    }

    /// A backspace erases nothing: what it stands behind was sent, and stays on the screen where
    /// nothing is written over it. What a detector finds there is masked now. Of what may be a
    /// protected value nothing is taken back, so that all of it belongs to the value.
    fn before_backspace(&mut self) {
        if !self.term.is_ground() || self.term.paints() {
            self.over = 0;
            return;
        }
        let len = self.view.text.len();
        if self.detects && !self.is_in_value() {
            let (out, pos, own) = (self.out, self.pos, self.own);
            self.plain(len, true);
            if self.out > out {
                self.run(false);
            } else {
                (self.pos, self.own) = (pos, own);
            }
        }
        if self.out == len && self.replaced.is_some_and(|(end, _)| end == len) {
            self.over += 1;
        }
        self.term.keep(self.may_be_value());
    }

    /// Whether what is withheld belongs to a value that is protected by its name.
    fn may_be_value(&self) -> bool {
        let waits = self.hold != usize::MAX && !self.detects;
        self.is_in_value() || waits && self.ends_in_value()
    }

    /// Whether what stands here belongs to a value whose beginning is known.
    fn is_in_value(&self) -> bool {
        let column = |k: usize| self.table.as_ref().and_then(|t| t.cols.get(k)?.hit);
        let open = match self.frame {
            Frame::Block => true,
            Frame::Row => column(self.row.index).is_some() || self.row.key.is_some(),
            Frame::Start => column(0).is_some(),
            Frame::Line | Frame::Painted => false,
        };
        open || self.inner != Inner::Text
    }

    /// Whether something protected would end the text here, if nothing came any more.
    fn ends_in_value(&self) -> bool {
        let len = self.view.text.len();
        let from = self.line.max(len.saturating_sub(LOOK_BACK));
        let mut probe = Self::new(self.rules.clone(), false, Holds::new(false, None));
        probe.read(self.slice(from, len));
        probe.end();
        let out = self.out.saturating_sub(from) as u64;
        probe.sink.verdicts.iter().any(|v| v.end > out)
    }

    /// Looks at a piece part by part, so that little of its text is here at a time: a move of the
    /// cursor shows as many spaces.
    fn piece(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while !rest.is_empty() {
            let near = rest.get(..PART_MAX).unwrap_or(rest);
            let size = match memchr::memchr(0x1b, near) {
                Some(at) => near.len().min(at + MOVES_MAX),
                None => near.len(),
            };
            let (part, after) = rest.split_at(size);
            self.part(part);
            rest = after;
        }
    }

    fn part(&mut self, raw: &[u8]) {
        let from = self.view.text.len();
        let len = self.show(raw);
        self.match_echo(from.min(len));
        self.run(false);
    }

    /// Takes what `raw` shows into the text, whose length is given back.
    fn show(&mut self, raw: &[u8]) -> usize {
        let before = self.view.text.len();
        let len = self.term.feed(raw, &mut self.view, self.out);
        if len < before {
            self.taken_back(len);
        }
        self.view.text.len()
    }

    /// A backspace has taken back what stood from `len` on.
    fn taken_back(&mut self, len: usize) {
        if self.pos > len {
            // What stands before it may go on in another way.
            let floor = self.out.max(self.line).max(len.saturating_sub(BACK_MAX));
            let row = if self.frame == Frame::Row {
                self.row.cell
            } else {
                0
            };
            let text = self.slice(floor.max(row), len);
            let open = |b: &u8| detect::is_local(*b) || *b == b' ';
            let size = text.iter().rev().take_while(|b| open(b)).count();
            self.pos = if self.inner == Inner::Text {
                len - size
            } else {
                len
            };
        }
        // What a backspace took back has not been seen.
        if self.row.scan > len {
            self.row.column = self.row.column.saturating_sub(self.row.scan - len);
            self.row.scan = len;
        }
        self.row.ahead = self.row.ahead.min(len);
        self.seen = self.seen.filter(|(_, upto)| *upto <= len);
        self.own.shorten(len);
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
        for at in from.min(self.view.text.len())..self.view.text.len() {
            // What stood on the row before was not sent.
            if self.view.is_virtual(at) {
                continue;
            }
            let b = self.byte(at).unwrap_or(b'\n');
            if self.echo.front() == Some(&b) {
                self.echo.pop_front();
                if !self.view.is_all_virtual(self.echoed, at) {
                    self.echoes_from = at;
                }
                self.echoed = at + 1;
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

    /// Up to where what stands at `at` may look back in its line: the same however the line was
    /// cut.
    fn line_floor(&self, at: usize) -> usize {
        if self.is_far(at) {
            at.saturating_sub(LOOK_BACK)
        } else {
            self.line
        }
    }

    /// Whether the beginning of the line may be gone.
    fn is_far(&self, at: usize) -> bool {
        self.line_cut || at.saturating_sub(self.line) > LINE_NEAR
    }

    fn run(&mut self, end: bool) {
        self.hold = usize::MAX;
        self.lead = 0;
        self.detects = false;
        self.screen.waits = false;
        let mut stuck = 0;
        loop {
            let before = (self.pos, self.frame);
            if self.pos >= self.view.text.len()
                && self.frame != Frame::Start
                && (self.frame != Frame::Row || !end)
            {
                if self.frame == Frame::Row && self.row.cell == self.pos {
                    self.hold_separator(self.pos);
                }
                break;
            }
            let go = match self.frame {
                Frame::Start => self.start(end),
                Frame::Line => self.plain(self.view.text.len(), end),
                Frame::Row => self.cells(end),
                Frame::Block => self.block_line(end),
                Frame::Painted => self.painted(end),
            };
            work::count(1);
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
            if self.rules.compiled().detector(Detector::Email).is_some() {
                until = detect::open_at(&self.view.text, until);
            }
            until = detect::token_start(&self.view.text, until);
            if self.frame == Frame::Start || self.hold == usize::MAX {
                until = until.min(self.pos + self.lead);
            }
        }
        if self.echoed == len
            && self.pty
            && self.view.is_all_virtual(self.out, self.echoes_from)
            && matches!(self.inner, Inner::Text | Inner::Decoded)
            && self.seen.is_none()
            && !self.screen.waits
        {
            until = len;
        }
        self.pass_to(until.max(self.out));
        if !self.pty {
            self.view.signals.clear();
        } else if !self.view.signals.is_empty() {
            // Those at the beginning of a line are told when it begins.
            self.signals_before(self.pos.min(self.out));
        }
        self.view.paints_before(self.out.min(self.pos));
        self.trim();
    }
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
