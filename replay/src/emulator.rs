//! The terminal of the recorded session: an emulator, wrapped. Nothing else in this crate knows
//! which one it is.
//!
//! Output goes in, cells come out. The size is bounded, and so is what one short sequence can ask
//! for. Should the emulator ever panic over a recording, its screen is cleared and it goes on:
//! whoever was recorded must not be able to end the playing.

use std::collections::VecDeque;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use avt::observer::{DirtyRows, ShellEvent, ShellTracker, Transcript};
use avt::parser::{AnsiMode, DecMode, Function, Parser, State};
use avt::{Observation, Observer, Operation, Terminal};
use unicode_width::UnicodeWidthChar;

use crate::safe::{self, Glyph};

/// The largest terminal that is emulated; a larger one is cut to this (limits.md, pty size).
pub(crate) const COLS_MAX: u16 = 1000;
pub(crate) const ROWS_MAX: u16 = 500;

/// A terminal in memory.
pub(crate) struct Emulator {
    terminal: Terminal,
    parser: Parser,
    /// What has been done since it was asked last, in cells touched, roughly.
    cost: u64,
    /// How often the emulator gave up.
    failures: u64,
    modes: Modes,
}

/// What the emulator keeps to itself and makes lines more than lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes {
    /// All rows scroll.
    scrolls_all: bool,
    /// What is printed may not go on in the next row, now or when the cursor is restored.
    may_not_wrap: bool,
    inserts: bool,
    /// Whether G0 and G1 are ASCII, and which of them is used.
    are_ascii: [bool; 2],
    uses_second: bool,
    /// The tabulator stops are not those of the beginning.
    tabs_moved: bool,
}

/// The visible state of an emulator: enough to go on from, without scrollback.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    cols: u16,
    rows: u16,
    /// The escape sequences that make the state, compressed.
    packed: Box<[u8]>,
}

/// Longest dump of a screen: the largest one, each cell with colours of its own, twice.
const DUMP_MAX: u64 = 64 << 20;

/// A cell, safe to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) glyph: Glyph,
    /// Columns: 1, 2, or 0 behind a wide one.
    pub(crate) width: u8,
    pub(crate) style: Style,
}

/// How a cell looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The terminal's own where there is none.
    pub foreground: Option<Color>,
    /// The terminal's own where there is none.
    pub background: Option<Color>,
    /// SGR 1.
    pub bold: bool,
    /// SGR 2.
    pub faint: bool,
    /// SGR 3.
    pub italic: bool,
    /// SGR 4.
    pub underline: bool,
    /// SGR 9.
    pub strikethrough: bool,
    /// SGR 7.
    pub inverse: bool,
}

/// A colour, as the session named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Of the palette.
    Indexed(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

impl Cell {
    pub(crate) const BLANK: Self = Self {
        glyph: Glyph::Char(' '),
        width: 1,
        style: Style {
            foreground: None,
            background: None,
            bold: false,
            faint: false,
            italic: false,
            underline: false,
            strikethrough: false,
            inverse: false,
        },
    };
}

impl Emulator {
    /// An empty terminal; the size is brought into its bounds.
    pub(crate) fn new(cols: u16, rows: u16) -> Self {
        Self {
            terminal: terminal(cols, rows),
            parser: Parser::new(),
            cost: 0,
            failures: 0,
            modes: Modes::FIRST,
        }
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        let (cols, rows) = self.terminal.size();
        (
            u16::try_from(cols).unwrap_or(COLS_MAX),
            u16::try_from(rows).unwrap_or(ROWS_MAX),
        )
    }

    /// Output of the session.
    pub(crate) fn feed(&mut self, text: &str) {
        self.run(|terminal, functions| terminal.execute(functions), text);
    }

    /// Output of the session; the observer sees what it does.
    pub(crate) fn feed_scribe(&mut self, text: &str, scribe: &mut Scribe) {
        self.run(
            |terminal, functions| terminal.execute_with(functions, scribe),
            text,
        );
    }

    /// Output of the session; says what it changed on the screen.
    pub(crate) fn feed_watched(&mut self, text: &str, watch: &mut Watch) -> Change {
        let observer = (&mut watch.lines, &mut watch.rows);
        let change = self.run(
            |terminal, functions| terminal.execute_with(functions, observer),
            text,
        );
        let (gone, rows) = change.unwrap_or_default();
        Change { rows, gone }
    }

    /// Output of the session; says what a shell told of its commands in it (OSC 133).
    pub(crate) fn feed_shell(&mut self, text: &str, shell: &mut Shell) -> Vec<Told> {
        let tracker = &mut shell.tracker;
        let events = self.run(
            |terminal, functions| terminal.execute_with(functions, tracker),
            text,
        );
        if events.is_none() {
            // What it knew is of a terminal that is gone.
            *shell = Shell::default();
        }
        let told = events.unwrap_or_default().into_iter();
        told.filter_map(|event| match event {
            ShellEvent::CommandSubmitted(command) => Some(Told::Runs(
                command.text.map(|text| safe::screen_line(&text)),
            )),
            ShellEvent::CommandFinished { exit_status, .. } => Some(Told::Ended(exit_status)),
            ShellEvent::PromptStarted(_) | ShellEvent::CommandCancelled { .. } => None,
        })
        .collect()
    }

    /// The session's terminal got another size, and the places of its prompts with it.
    pub(crate) fn resize_shell(&mut self, cols: u16, rows: u16, shell: &mut Shell) {
        let (cols, rows) = clamp(cols, rows);
        let before = self.size();
        let terminal = &mut self.terminal;
        let tracker = &mut shell.tracker;
        let resize = || drop(terminal.resize_with(cols.into(), rows.into(), tracker));
        if catch_unwind(AssertUnwindSafe(resize)).is_err() {
            self.failures += 1;
            self.terminal = terminal_of(cols.into(), rows.into());
            self.modes = Modes::FIRST;
            *shell = Shell::default();
        }
        self.modes.resized(before, (cols, rows));
    }

    fn run<T>(
        &mut self,
        execute: impl FnOnce(&mut Terminal, Functions<'_>) -> T,
        text: &str,
    ) -> Option<T> {
        let (cols, rows) = self.terminal.size();
        let functions = Functions {
            chars: text.chars(),
            parser: &mut self.parser,
            cells: (cols * rows) as u64,
            rows,
            cost: &mut self.cost,
            modes: &mut self.modes,
        };
        let terminal = &mut self.terminal;
        let done = catch_unwind(AssertUnwindSafe(|| execute(terminal, functions)));
        if done.is_err() {
            self.failures += 1;
            self.terminal = terminal_of(cols, rows);
            self.parser = Parser::new();
            self.modes = Modes::FIRST;
        }
        done.ok()
    }

    /// The session's terminal got another size.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        self.resize_scribe(cols, rows, &mut Scribe::default());
    }

    /// The session's terminal got another size, which may push lines off it.
    pub(crate) fn resize_scribe(&mut self, cols: u16, rows: u16, scribe: &mut Scribe) {
        let (cols, rows) = clamp(cols, rows);
        let before = self.size();
        self.cost += u64::from(cols) * u64::from(rows);
        let terminal = &mut self.terminal;
        let resize = || terminal.resize_with(cols.into(), rows.into(), scribe);
        if catch_unwind(AssertUnwindSafe(resize)).is_err() {
            self.failures += 1;
            self.terminal = terminal_of(cols.into(), rows.into());
            self.modes = Modes::FIRST;
        }
        self.modes.resized(before, (cols, rows));
    }

    /// What was done since this was asked last, in cells touched, roughly.
    pub(crate) fn take_cost(&mut self) -> u64 {
        std::mem::take(&mut self.cost)
    }

    /// How often the emulator gave up and began with an empty screen.
    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// The state now; `None` in the middle of an escape sequence.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        if self.parser.state != State::Ground {
            return None;
        }
        let (cols, rows) = self.size();
        let dump = catch_unwind(AssertUnwindSafe(|| self.terminal.dump())).ok()?;
        let packed = zstd::bulk::compress(dump.as_bytes(), 1).ok()?;
        Some(Snapshot {
            cols,
            rows,
            packed: packed.into(),
        })
    }

    /// The state now in escape sequences.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> String {
        self.terminal.dump()
    }

    /// Goes to a state that was.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        let mut fresh = Self::new(snapshot.cols, snapshot.rows);
        fresh.feed(&String::from_utf8_lossy(&snapshot.unpack()));
        self.terminal = fresh.terminal;
        self.parser = fresh.parser;
        self.modes = fresh.modes;
    }

    /// Whether the cursor is at the beginning of the last row of the primary screen, with
    /// nothing in it and no line that goes on in it, and plain lines scroll everything.
    pub(crate) fn is_in_empty_last_row(&self) -> bool {
        let cursor = self.terminal.cursor();
        let (_, rows) = self.terminal.size();
        let screen = self.terminal.screen();
        let is_blank = |line: &avt::Line| line.cells().iter().all(|cell| cell.char() == ' ');
        (cursor.col, cursor.row + 1) == (0, rows)
            && rows > 1
            && self.parser.state == State::Ground
            && self.modes.are_plain()
            && !is_alternate(&self.terminal)
            && screen.line(rows - 1).is_some_and(is_blank)
            && screen.line(rows - 2).is_some_and(|line| !line.is_wrapped())
    }

    /// Whether the tabulator stops are every eighth column.
    pub(crate) fn has_first_tabs(&self) -> bool {
        !self.modes.tabs_moved
    }

    /// Something was done for it elsewhere.
    pub(crate) fn charge(&mut self, cost: u64) {
        self.cost += cost;
    }

    /// The visible rows from above, each as wide as the terminal.
    pub(crate) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = Cell>> {
        let lines = self.terminal.screen().visible_lines();
        lines.map(|line| line.cells().iter().map(cell))
    }

    /// The text of the visible rows, without the space at their ends.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        let lines = self.terminal.screen().visible_lines();
        lines.map(|line| safe::screen_line(line.text().trim_end()))
    }

    /// Column and row of the cursor, where it is visible. The column may be one past the last.
    pub(crate) fn cursor(&self) -> Option<(u16, u16)> {
        let (col, row) = self.terminal.cursor().position()?;
        Some((u16::try_from(col).ok()?, u16::try_from(row).ok()?))
    }

    /// Where the cursor is, visible or not.
    pub(crate) fn cursor_row(&self) -> u16 {
        u16::try_from(self.terminal.cursor().row).unwrap_or(0)
    }
}

impl Modes {
    /// Of a new terminal.
    const FIRST: Self = Self {
        scrolls_all: true,
        may_not_wrap: false,
        inserts: false,
        are_ascii: [true; 2],
        uses_second: false,
        tabs_moved: false,
    };

    /// Whether what is printed is what is seen, one line below the other.
    fn are_plain(&self) -> bool {
        let is_ascii = self.are_ascii.get(usize::from(self.uses_second));
        self.scrolls_all && !self.may_not_wrap && !self.inserts && is_ascii == Some(&true)
    }

    /// What a function does to them on a screen of so many rows.
    fn follow(&mut self, function: &Function, rows: usize) {
        match function {
            Function::Decstbm(top, bottom) => {
                let or = |number: u16, default| match number {
                    0 => default,
                    _ => usize::from(number),
                };
                let (top, bottom) = (or(*top, 1), or(*bottom, rows));
                // Others are not taken.
                if top < bottom && bottom <= rows {
                    self.scrolls_all = (top, bottom) == (1, rows);
                }
            }
            Function::Decrst(modes) => {
                self.may_not_wrap |= modes.as_slice().contains(&DecMode::AutoWrap);
            }
            Function::Sm(modes) => self.inserts |= modes.as_slice().contains(&AnsiMode::Insert),
            Function::Rm(modes) => self.inserts &= !modes.as_slice().contains(&AnsiMode::Insert),
            Function::Gzd4(charset) => self.are_ascii[0] = *charset == avt::Charset::Ascii,
            Function::G1d4(charset) => self.are_ascii[1] = *charset == avt::Charset::Ascii,
            Function::So => self.uses_second = true,
            Function::Si => self.uses_second = false,
            Function::Hts | Function::Tbc(_) | Function::Ctc(_) => self.tabs_moved = true,
            Function::Decstr => {
                *self = Self {
                    may_not_wrap: self.may_not_wrap,
                    tabs_moved: self.tabs_moved,
                    ..Self::FIRST
                };
            }
            Function::Ris => *self = Self::FIRST,
            _ => {}
        }
    }

    fn resized(&mut self, from: (u16, u16), to: (u16, u16)) {
        self.tabs_moved |= from.0 != to.0;
        self.scrolls_all |= from.1 != to.1;
    }
}

impl Snapshot {
    /// What [`size`](Self::size) and [`packed`](Self::packed) gave.
    pub(crate) fn of(cols: u16, rows: u16, packed: &[u8]) -> Self {
        Self {
            cols,
            rows,
            packed: packed.into(),
        }
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        (self.cols, self.rows)
    }

    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    fn unpack(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        if let Ok(decoder) = zstd::Decoder::new(&*self.packed) {
            // Of one that is broken or larger than a screen can be, what there is.
            drop(decoder.take(DUMP_MAX).read_to_end(&mut dump));
        }
        dump
    }

    /// Bytes of memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.packed.len() + size_of::<Self>()
    }
}

/// A line that was on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// When it was last written to, in microseconds.
    pub(crate) time: u64,
    /// Whether a full-screen program had the screen.
    pub(crate) full_screen: bool,
    /// Of a full-screen program: the number of the look that saw it. Otherwise how many looks
    /// there had been when it was written.
    pub(crate) look: u64,
    /// As it stood there, safe to show, without the space at its end.
    pub(crate) text: String,
}

/// Writes down what the screen showed: the lines of the primary screen once they leave it, and
/// those of full-screen programs when they changed, at most once a second.
#[derive(Default)]
pub(crate) struct Scribe {
    /// The time of what is fed next, in microseconds.
    pub(crate) now: u64,
    /// When each row of the primary screen was written to, and after how many looks.
    written: VecDeque<(u64, u64)>,
    /// A line that goes on in the next row.
    pending: String,
    /// What the full-screen program showed when it was looked at last, and when.
    sampled: Vec<String>,
    /// Rows that may be other ones than at that look.
    touched: Vec<bool>,
    sampled_at: u64,
    looks: u64,
    lines: Vec<Line>,
    /// Rows that were told of and have not left the screen.
    told: usize,
}

/// Least time between two looks at a full-screen program, in microseconds.
const SAMPLE_INTERVAL: u64 = 1_000_000;

impl Scribe {
    /// The lines since this was asked last.
    pub(crate) fn take(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// Looks at a full-screen program, if there is one and the last look is long enough ago.
    pub(crate) fn sample(&mut self, emulator: &Emulator) {
        if is_alternate(&emulator.terminal) && self.now - self.sampled_at >= SAMPLE_INTERVAL {
            self.look(&emulator.terminal);
        }
    }

    /// What is still on the screen at the end.
    pub(crate) fn finish(&mut self, emulator: &Emulator) -> Vec<Line> {
        if is_alternate(&emulator.terminal) {
            self.look(&emulator.terminal);
        }
        self.finish_primary(&emulator.terminal);
        self.take()
    }

    /// Whether it is known of the first rows, and of no others, when they were written to.
    pub(crate) fn knows_rows(&self, rows: u16) -> bool {
        self.written.len() == usize::from(rows)
    }

    /// All rows but the last, which is empty, leave the screen: tells of them.
    pub(crate) fn see_off(&mut self, emulator: &Emulator) {
        let rows = emulator.terminal.screen().visible_lines();
        let rows_above = rows.len().saturating_sub(1);
        for row in rows.take(rows_above) {
            self.line(row);
        }
    }

    /// A line of the primary screen has left it that was written to last at this time.
    pub(crate) fn tell(&mut self, time: u64, text: String) {
        let text = match text.trim_end() {
            trimmed if trimmed.len() == text.len() && text.is_ascii() => text,
            trimmed => safe::screen_line(trimmed),
        };
        self.lines.push(Line {
            time,
            full_screen: false,
            look: self.looks,
            text,
        });
    }

    /// So many rows that were told of are still on the screen, and nothing else that was
    /// written to.
    pub(crate) fn forget(&mut self, rows: usize) {
        self.told = rows;
        self.written.clear();
    }

    fn look(&mut self, terminal: &Terminal) {
        let rows = terminal.screen().visible_lines();
        let mut count = 0;
        for (number, row) in rows.enumerate() {
            count = number + 1;
            let is_known = number < self.sampled.len();
            if is_known && self.touched.get(number) == Some(&false) {
                continue;
            }
            let text = safe::screen_line(row.text().trim_end());
            if !text.is_empty() && self.sampled.get(number) != Some(&text) {
                self.lines.push(Line {
                    time: self.now,
                    full_screen: true,
                    look: self.looks,
                    text: text.clone(),
                });
            }
            match self.sampled.get_mut(number) {
                Some(sampled) => *sampled = text,
                None => self.sampled.push(text),
            }
        }
        self.sampled.truncate(count);
        self.touched.clear();
        self.touched.resize(count, false);
        self.sampled_at = self.now;
        self.looks += 1;
    }

    fn finish_primary(&mut self, terminal: &Terminal) {
        let first = self.lines.len();
        for line in terminal.primary_screen().all_lines() {
            self.line(line);
        }
        // The empty rows below the last line are no lines.
        while self.lines.len() > first && self.lines.last().is_some_and(|line| line.text.is_empty())
        {
            self.lines.pop();
        }
        self.written.clear();
    }

    fn line(&mut self, line: &avt::Line) {
        let written = self.written.pop_front();
        let (time, look) = written.unwrap_or((self.now, self.looks));
        self.pending.extend(line.chars());
        let too_long = self.pending.len() > LINE_MAX;
        if !line.is_wrapped() || too_long {
            let text = safe::screen_line(self.pending.trim_end());
            self.pending.clear();
            self.lines.push(Line {
                time,
                full_screen: false,
                look,
                text,
            });
        }
    }
}

/// Bytes at which a line that goes on and on is broken.
const LINE_MAX: usize = 1 << 20;

impl Observer for &mut Scribe {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        let terminal = context.terminal();
        match operation {
            Operation::Function(function @ (Function::Print(_) | Function::Rep(_))) => {
                let cursor = terminal.cursor();
                let width = match function {
                    Function::Print(char) if *char > '~' && char.width() == Some(2) => 2,
                    _ => 1,
                };
                // What does not fit goes on in the next row, before which the first may leave.
                let wraps = cursor.col + width > terminal.size().0;
                let row = cursor.row + usize::from(wraps);
                if !is_alternate(terminal) {
                    let now = (self.now, self.looks);
                    if self.written.len() <= row {
                        self.written.resize(row + 1, now);
                    }
                    if let Some(written) = self.written.get_mut(row) {
                        *written = now;
                    }
                }
            }
            Operation::Function(Function::Decrst(modes)) if is_alternate(terminal) => {
                let leaves = |mode: &DecMode| {
                    matches!(
                        mode,
                        DecMode::AltScreenBuffer | DecMode::SaveCursorAltScreenBuffer
                    )
                };
                if modes.as_slice().iter().any(leaves) {
                    self.look(terminal);
                    self.sampled.clear();
                }
            }
            Operation::Function(Function::Ris) => {
                if is_alternate(terminal) {
                    self.look(terminal);
                    self.sampled.clear();
                }
                self.finish_primary(terminal);
            }
            _ => {}
        }
    }

    fn dirty(&mut self, rows: std::ops::Range<usize>) {
        // Beyond the rows of the last look, all are looked at anyway.
        let last = self.touched.len();
        let rows = rows.start.min(last)..rows.end.min(last);
        self.touched.get_mut(rows).unwrap_or_default().fill(true);
    }

    fn resized(&mut self, _: usize, _: usize) {
        self.touched.clear();
    }

    fn evicted(&mut self, _: &mut Observation<'_>, line: &avt::Line) {
        if self.told > 0 {
            self.told -= 1;
            self.written.pop_front();
        } else {
            self.line(line);
        }
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

fn is_alternate(terminal: &Terminal) -> bool {
    terminal.active_screen_kind() == avt::ScreenKind::Alternate
}

/// Follows what a shell says of its commands.
#[derive(Default)]
pub(crate) struct Shell {
    tracker: ShellTracker,
}

/// What a shell said.
pub(crate) enum Told {
    /// It runs a command; what stood behind the prompt, where that could be read.
    Runs(Option<String>),
    /// The command ended, with this status where one was said.
    Ended(Option<u8>),
}

/// Watches what changes on the screen.
#[derive(Default)]
pub(crate) struct Watch {
    rows: DirtyRows,
    lines: Transcript,
}

/// What some output changed.
pub(crate) struct Change {
    /// Rows that were touched.
    pub(crate) rows: Vec<usize>,
    /// Lines that left the primary screen.
    pub(crate) gone: Vec<String>,
}

/// Text on its way to what it makes a terminal do.
struct Functions<'a> {
    chars: std::str::Chars<'a>,
    parser: &'a mut Parser,
    cells: u64,
    rows: usize,
    cost: &'a mut u64,
    modes: &'a mut Modes,
}

impl Iterator for Functions<'_> {
    type Item = Function;

    fn next(&mut self) -> Option<Function> {
        loop {
            let function = self.parser.feed(self.chars.next()?);
            *self.cost += 1;
            match function {
                None => {}
                print @ Some(Function::Print(_)) => return print,
                // One short sequence must not print 65535 characters again and again.
                Some(Function::Rep(count)) => {
                    let count = u64::from(count).min(self.cells);
                    *self.cost += count;
                    return Some(Function::Rep(u16::try_from(count).unwrap_or(u16::MAX)));
                }
                Some(function) => {
                    *self.cost += match function {
                        Function::Cr | Function::Bs | Function::Sgr(_) | Function::Cup(..) => 1,
                        _ => self.cells / 16,
                    };
                    self.modes.follow(&function, self.rows);
                    return Some(function);
                }
            }
        }
    }
}

fn clamp(cols: u16, rows: u16) -> (u16, u16) {
    (cols.clamp(1, COLS_MAX), rows.clamp(1, ROWS_MAX))
}

fn terminal(cols: u16, rows: u16) -> Terminal {
    let (cols, rows) = clamp(cols, rows);
    terminal_of(cols.into(), rows.into())
}

fn terminal_of(cols: usize, rows: usize) -> Terminal {
    Terminal::new(cols, rows).expect("neither is 0")
}

fn cell(cell: &avt::Cell) -> Cell {
    let pen = cell.pen();
    let width = cell.width();
    Cell {
        glyph: safe::glyph(cell.char(), usize::from(width.max(1))),
        width,
        style: Style {
            foreground: pen.foreground().map(color),
            background: pen.background().map(color),
            bold: pen.is_bold(),
            faint: pen.is_faint(),
            italic: pen.is_italic(),
            underline: pen.is_underline(),
            strikethrough: pen.is_strikethrough(),
            inverse: pen.is_inverse(),
        },
    }
}

fn color(color: avt::Color) -> Color {
    match color {
        avt::Color::Indexed(index) => Color::Indexed(index),
        avt::Color::RGB(rgb) => Color::Rgb(rgb.r, rgb.g, rgb.b),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text that is likely to do something.
    pub(crate) fn wild() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            3 => "[a-z ]{1,20}".prop_map(String::from),
            1 => "\\PC{1,5}".prop_map(String::from),
            3 => "\x1b\\[[?]?[0-9;:]{0,9}[@A-Za-z`]".prop_map(String::from),
            1 => "\x1b[0-9A-Za-z#()%*+=>78]{1,3}".prop_map(String::from),
            1 => "\x1b[\\]PX^_][0-9]{1,3};[a-z?]{0,9}(\x07|\x1b\\\\)?".prop_map(String::from),
            1 => "[\x00-\x1f\x7f-\u{9f}]{1,4}".prop_map(String::from),
            1 => "[漢字😀é\u{301}\u{202e}\u{200b}]{1,4}".prop_map(String::from),
            1 => Just("\r\n".to_owned()),
            1 => Just("\x1b[?1049h".to_owned()),
            1 => Just("\x1b[?1049l".to_owned()),
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Looking only at the rows that were touched sees what looking at all of them sees.
        #[test]
        fn a_look_misses_no_row(
            pieces in proptest::collection::vec((0..3u64, wild()), 1..20),
            size in (1..40u16, 1..12u16),
        ) {
            let lines = |all: bool| {
                let mut emulator = Emulator::new(size.0, size.1);
                let mut scribe = Scribe::default();
                let mut lines = Vec::new();
                for (seconds, text) in &pieces {
                    scribe.now += seconds * 1_000_000;
                    if all {
                        scribe.touched.clear();
                    }
                    scribe.sample(&emulator);
                    // Piece by piece, so that a look at the end of a program is one at all, too.
                    for text in text.split_inclusive('\x1b') {
                        if all {
                            scribe.touched.clear();
                        }
                        emulator.feed_scribe(text, &mut scribe);
                    }
                    lines.extend(scribe.take());
                }
                lines.extend(scribe.finish(&emulator));
                lines
            };
            prop_assert_eq!(lines(false), lines(true));
        }
    }

    proptest! {
        /// Nothing makes the emulator fail, and going on from a snapshot is going on.
        #[test]
        fn a_snapshot_is_the_screen(
            before in wild(),
            after in wild(),
            size in (1..40u16, 1..12u16),
            resized in proptest::option::of((0..40u16, 0..12u16)),
        ) {
            let mut straight = Emulator::new(size.0, size.1);
            straight.feed(&before);
            if let Some((cols, rows)) = resized {
                straight.resize(cols, rows);
            }
            if let Some(snapshot) = straight.snapshot() {
                let mut restored = Emulator::new(3, 3);
                restored.restore(&snapshot);
                for emulator in [&mut straight, &mut restored] {
                    emulator.feed(&after);
                }
                let cells = |emulator: &Emulator| -> Vec<Vec<Cell>> {
                    emulator.rows().map(Iterator::collect).collect()
                };
                prop_assert_eq!(cells(&straight), cells(&restored));
                prop_assert_eq!(straight.cursor(), restored.cursor());
            }
            prop_assert_eq!(straight.failures(), 0);
        }
    }
}
