//! Painting a frame of cells on a terminal, with escape sequences of our own and no others:
//! cursor position, colours and attributes, erase, show and hide the cursor.
//!
//! The player paints with it, and so does every other full screen of the bastion. What is put
//! into a cell is one character that does nothing but stand there, whatever it came from.

use std::io::Write as _;

use unicode_width::UnicodeWidthChar;

use crate::emulator::Cell;
use crate::safe::{self, Glyph};

pub use crate::emulator::{Color, Style};

/// Switches to the alternate screen and hides the cursor: what to send before the first frame.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J\x1b[H";

/// Undoes [`ENTER`]: what to send after the last frame, also one that was cut off.
pub const LEAVE: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?25h\x1b[?1049l";

/// A screen full of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    cols: u16,
    rows: u16,
    /// Row by row.
    cells: Vec<Cell>,
    /// Column and row, where one is to be seen.
    pub cursor: Option<(u16, u16)>,
}

impl Frame {
    /// A blank one. Sizes beyond 1000 × 500 cost memory, 20 bytes a cell, and nothing else.
    pub fn new(cols: u16, rows: u16) -> Self {
        Self {
            cols,
            rows,
            cells: vec![Cell::BLANK; usize::from(cols) * usize::from(rows)],
            cursor: None,
        }
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        (self.cols, self.rows)
    }

    fn row(&self, row: u16) -> &[Cell] {
        let from = usize::from(row) * usize::from(self.cols);
        let to = from + usize::from(self.cols);
        self.cells.get(from..to).unwrap_or_default()
    }

    fn row_mut(&mut self, row: u16) -> &mut [Cell] {
        let from = usize::from(row) * usize::from(self.cols);
        let to = from + usize::from(self.cols);
        self.cells.get_mut(from..to).unwrap_or_default()
    }

    /// Puts one character into the cell at this place, and returns the column behind it. A
    /// character that controls, redirects, hides or joins another stands as U+FFFD; one outside of
    /// the frame, or too wide for what is left of its row, is left out.
    pub fn set(&mut self, row: u16, col: u16, char: char, style: Style) -> u16 {
        let width = char.width().unwrap_or(1).clamp(1, 2);
        let glyph = match safe::glyph(char, width) {
            Glyph::Mark(_) => Glyph::Char(char::REPLACEMENT_CHARACTER),
            glyph => glyph,
        };
        let head = Cell {
            glyph,
            width: width as u8,
            style,
        };
        let tail = Cell {
            glyph: Glyph::Char(' '),
            width: 0,
            style,
        };
        let from = usize::from(col);
        if let Some(cells) = self.row_mut(row).get_mut(from..from + width) {
            for (place, cell) in cells.iter_mut().zip([head, tail]) {
                *place = cell;
            }
        }
        col.saturating_add(width as u16)
    }

    /// Puts cells into a row, from its left. Wide cells that do not fit are left out.
    pub(crate) fn put(&mut self, row: u16, cells: impl Iterator<Item = Cell>) {
        let target = self.row_mut(row);
        let mut col = 0;
        // The cells behind a wide one follow it; one without its head is a blank.
        let mut tail = false;
        for cell in cells {
            let Some(place) = target.get_mut(col) else {
                break;
            };
            *place = match cell.width {
                0 if !tail => Cell::BLANK,
                _ => cell,
            };
            tail = cell.width == 2;
            col += 1;
        }
        if tail && let Some(last) = col.checked_sub(1).and_then(|last| target.get_mut(last)) {
            *last = Cell::BLANK;
        }
    }

    /// Writes text of ours, or of a recording: it is made safe here. Returns the column behind.
    pub(crate) fn write(&mut self, row: u16, col: u16, text: &str, style: Style) -> u16 {
        let cells = safe::line(text);
        let cells = cells.chars().flat_map(|char| {
            let width = char.width().unwrap_or(1).max(1);
            let head = Cell {
                glyph: safe::glyph(char, width),
                width: width as u8,
                style,
            };
            let tail = Cell {
                glyph: Glyph::Char(' '),
                width: 0,
                style,
            };
            [Some(head), (width == 2).then_some(tail)]
                .into_iter()
                .flatten()
        });
        let mut at = usize::from(col);
        for cell in cells {
            let row = self.row_mut(row);
            if cell.width == 2 && at + 1 >= row.len() {
                break;
            }
            let Some(place) = row.get_mut(at) else {
                break;
            };
            *place = cell;
            at += 1;
        }
        u16::try_from(at).unwrap_or(self.cols)
    }

    /// Fills a row with a style.
    pub(crate) fn fill(&mut self, row: u16, style: Style) {
        let blank = Cell {
            style,
            ..Cell::BLANK
        };
        self.row_mut(row).fill(blank);
    }

    /// What turns a terminal that shows `before` into one that shows this; without a frame
    /// before, or after another size, everything.
    pub fn paint(&self, before: Option<&Self>) -> Vec<u8> {
        let before = before.filter(|before| before.size() == self.size());
        if before == Some(self) {
            return Vec::new();
        }
        let mut brush = Brush::new();
        if before.is_none() {
            brush.out.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        let blank = vec![Cell::BLANK; self.cols.into()];
        for row in 0..self.rows {
            let old = before.map_or(blank.as_slice(), |before| before.row(row));
            brush.row(row, old, self.row(row));
        }
        brush.finish(self.cursor)
    }
}

/// Writes cells, remembering what the terminal's state is.
struct Brush {
    out: Vec<u8>,
    style: Style,
    /// Column and row at which the terminal's cursor is, where that is certain.
    at: Option<(u16, u16)>,
}

/// The terminal shows the frame at once, where it knows how to.
const BEGIN_UPDATE: &[u8] = b"\x1b[?2026h\x1b[?25l\x1b[0m";
const END_UPDATE: &[u8] = b"\x1b[?2026l";

impl Brush {
    fn new() -> Self {
        Self {
            out: BEGIN_UPDATE.to_vec(),
            style: Style::default(),
            at: None,
        }
    }

    fn row(&mut self, row: u16, old: &[Cell], new: &[Cell]) {
        let mut col = 0;
        while let Some(cell) = new.get(col) {
            let width = usize::from(cell.width.max(1));
            let here = col..col + width;
            let changed = old.get(here.clone()) != new.get(here);
            if changed && cell.width > 0 {
                self.cell(col as u16, row, cell);
            }
            col += width;
        }
    }

    fn cell(&mut self, col: u16, row: u16, cell: &Cell) {
        if self.at != Some((col, row)) {
            self.print(format_args!("\x1b[{};{}H", row + 1, col + 1));
        }
        if self.style != cell.style {
            self.style(cell.style);
        }
        match cell.glyph {
            Glyph::Char(char) => self.print(format_args!("{char}")),
            Glyph::Mark(mark) => self.print(format_args!("\u{25cc}{mark}")),
        }
        // Terminals do not agree on how wide a character is; after ASCII there is no doubt.
        let certain = matches!(cell.glyph, Glyph::Char(' '..='~'));
        self.at = certain.then_some((col + 1, row));
    }

    fn style(&mut self, style: Style) {
        self.out.extend_from_slice(b"\x1b[0");
        for (on, code) in [
            (style.bold, ";1"),
            (style.faint, ";2"),
            (style.italic, ";3"),
            (style.underline, ";4"),
            (style.inverse, ";7"),
            (style.strikethrough, ";9"),
        ] {
            if on {
                self.out.extend_from_slice(code.as_bytes());
            }
        }
        self.color(style.foreground, 30);
        self.color(style.background, 40);
        self.out.push(b'm');
        self.style = style;
    }

    fn color(&mut self, color: Option<Color>, base: u8) {
        match color {
            None => {}
            Some(Color::Indexed(index @ 0..=7)) => self.print(format_args!(";{}", base + index)),
            Some(Color::Indexed(index)) => self.print(format_args!(";{};5;{index}", base + 8)),
            Some(Color::Rgb(r, g, b)) => self.print(format_args!(";{};2;{r};{g};{b}", base + 8)),
        }
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        let written = self.out.write_fmt(text);
        debug_assert!(written.is_ok(), "a vector takes all that is written");
    }

    fn finish(mut self, cursor: Option<(u16, u16)>) -> Vec<u8> {
        self.out.extend_from_slice(b"\x1b[0m");
        if let Some((col, row)) = cursor {
            self.print(format_args!("\x1b[{};{}H\x1b[?25h", row + 1, col + 1));
        }
        self.out.extend_from_slice(END_UPDATE);
        self.out
    }
}
