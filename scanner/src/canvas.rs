//! What a program has painted on a terminal's screen, as far as that is known.
//!
//! A program that puts the cursor somewhere paints a name at one time and its value at another, or
//! one digit of a value again. So the cells that were painted since the screen was cleared are
//! kept: the row around a piece is what the recognisers read with it. It is no emulator: nobody
//! says how large the screen is, so rows do not wrap, and lines scroll where a region is known.

use unicode_width::UnicodeWidthChar;

/// Rows and columns behind these are not known (`pty-req` has at most 500 and 1000).
const ROWS_MAX: usize = 500;
const COLUMNS_MAX: usize = 512;
/// So many cells are kept; more are those of rows that were not painted for the longest time.
const CELLS_MAX: usize = 12 * 1024;

const BLANK: u16 = b' ' as u16;
/// The second column of a wide character.
const WIDE: u16 = 0;

/// The cells of a screen, and where its cursor stands.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    rows: Vec<Row>,
    /// How many cells all rows have.
    size: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
    saved: (usize, usize),
    /// The first row that scrolls, and the last one.
    region: Option<(usize, usize)>,
    clock: u64,
    last: Option<char>,
}

/// A row's cells, as far as they are painted. Each is a character of Unicode's basic plane.
#[derive(Debug, Default)]
struct Row {
    cells: Vec<u16>,
    painted: u64,
}

/// What of a row or screen is erased, seen from the cursor (ECMA-48 §8.3.39, §8.3.41).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    After,
    Before,
    All,
}

impl Part {
    /// The part that a parameter of `ED` or `EL` names.
    pub(crate) fn of(number: usize) -> Self {
        match number {
            0 => Self::After,
            1 => Self::Before,
            _ => Self::All,
        }
    }
}

impl Canvas {
    /// Nothing is known of the screen any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// An empty screen, whose region is known.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            region: self.region,
            ..Self::default()
        };
    }

    /// Writes a character where the cursor stands, which goes on behind it.
    pub(crate) fn put(&mut self, c: char) {
        let width = c.width().unwrap_or(0);
        if width == 0 {
            return;
        }
        self.last = Some(c);
        let (from, to) = (self.column, self.column + width);
        self.column = to;
        if to > COLUMNS_MAX || self.row >= ROWS_MAX {
            return;
        }
        if self.rows.len() <= self.row {
            self.rows.resize_with(self.row + 1, Row::default);
        }
        self.clock += 1;
        let clock = self.clock;
        let Some(row) = self.rows.get_mut(self.row) else {
            return;
        };
        row.painted = clock;
        if row.cells.len() < to {
            self.size += to - row.cells.len();
            row.cells.resize(to, BLANK);
        }
        let code = u16::try_from(u32::from(c)).unwrap_or(0xfffd);
        for (k, cell) in row.cells.iter_mut().take(to).skip(from).enumerate() {
            *cell = if k == 0 { code } else { WIDE };
        }
        while self.size > CELLS_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let rows = self.rows.iter_mut().filter(|row| !row.cells.is_empty());
        match rows.min_by_key(|row| row.painted) {
            Some(row) => self.size -= std::mem::take(&mut row.cells).len(),
            None => self.size = 0,
        }
    }

    /// The character that was written last.
    pub(crate) fn last(&self) -> Option<char> {
        self.last
    }

    fn cells(&self) -> &[u16] {
        self.rows.get(self.row).map_or(&[], |row| &row.cells)
    }

    /// The row before the cursor: a column for each of its cells.
    pub(crate) fn before(&self) -> String {
        self.between(0, self.column)
    }

    /// The row from one column to before another.
    pub(crate) fn between(&self, from: usize, to: usize) -> String {
        let cells = self.cells();
        let shown = cells.get(from..to.min(cells.len())).unwrap_or_default();
        let mut text: String = shown.iter().filter_map(|cell| character(*cell)).collect();
        let missing = to.saturating_sub(from.max(cells.len()));
        text.extend(std::iter::repeat_n(' ', missing));
        text
    }

    /// The row from the cursor on, without blanks at its end.
    pub(crate) fn after(&self) -> String {
        let cells = self.cells();
        let end = cells.iter().rposition(|cell| *cell != BLANK);
        self.between(self.column, end.map_or(0, |end| end + 1))
    }

    /// Puts the cursor somewhere.
    pub(crate) fn go(&mut self, row: usize, column: usize) {
        (self.row, self.column) = (row.min(ROWS_MAX), column.min(2 * COLUMNS_MAX));
    }

    pub(crate) fn save(&mut self) {
        self.saved = (self.row, self.column);
    }

    pub(crate) fn saved(&self) -> (usize, usize) {
        self.saved
    }

    /// Erases a part of the row.
    pub(crate) fn erase_row(&mut self, part: Part) {
        let column = self.column;
        let Some(row) = self.rows.get_mut(self.row) else {
            return;
        };
        let before = row.cells.len();
        match part {
            Part::After => row.cells.truncate(column),
            Part::All => row.cells = Vec::new(),
            Part::Before => row.cells.iter_mut().take(column + 1).for_each(|cell| {
                *cell = BLANK;
            }),
        }
        self.size -= before - row.cells.len();
    }

    /// Erases a part of the screen.
    pub(crate) fn erase(&mut self, part: Part) {
        self.erase_row(part);
        let at = self.row;
        for (k, row) in self.rows.iter_mut().enumerate() {
            let erased = match part {
                Part::After => k > at,
                Part::Before => k < at,
                Part::All => true,
            };
            if erased {
                self.size -= std::mem::take(&mut row.cells).len();
            }
        }
    }

    /// Erases `count` cells at the cursor.
    pub(crate) fn blank(&mut self, count: usize) {
        let column = self.column;
        if let Some(row) = self.rows.get_mut(self.row) {
            let cells = row.cells.iter_mut().skip(column);
            cells.take(count).for_each(|cell| *cell = BLANK);
        }
    }

    /// Takes `count` cells out at the cursor; what follows moves to the left.
    pub(crate) fn take_out(&mut self, count: usize) {
        let column = self.column;
        if let Some(row) = self.rows.get_mut(self.row)
            && column < row.cells.len()
        {
            let to = row.cells.len().min(column + count);
            row.cells.drain(column..to);
            self.size -= to - column;
        }
    }

    /// Puts `count` blank cells in at the cursor; what follows moves to the right.
    pub(crate) fn put_in(&mut self, count: usize) {
        let column = self.column;
        if let Some(row) = self.rows.get_mut(self.row)
            && column < row.cells.len()
        {
            let before = row.cells.len();
            let count = count.min(COLUMNS_MAX);
            row.cells
                .splice(column..column, std::iter::repeat_n(BLANK, count));
            row.cells.truncate(COLUMNS_MAX);
            self.size += row.cells.len();
            self.size -= before;
        }
        while self.size > CELLS_MAX {
            self.drop_oldest();
        }
    }

    /// Lets the rows between two scroll alone. The cursor goes home.
    pub(crate) fn set_region(&mut self, top: usize, bottom: usize) {
        self.region = (top < bottom).then_some((top, bottom.min(ROWS_MAX - 1)));
    }

    /// A line down, in the same column; the last row of a region scrolls.
    pub(crate) fn line_feed(&mut self) {
        match self.region {
            Some((top, bottom)) if self.row == bottom => self.scroll_up(top, bottom, 1),
            _ => self.row = (self.row + 1).min(ROWS_MAX),
        }
    }

    /// A line up; the first row of a region scrolls. Where none is known, it is the first one.
    pub(crate) fn reverse_feed(&mut self) {
        let (top, bottom) = self.region.unwrap_or((0, ROWS_MAX - 1));
        if self.row == top {
            self.scroll_down(top, bottom, 1);
        } else {
            self.row = self.row.saturating_sub(1);
        }
    }

    /// Moves the rows of the region, or what stands in it from the cursor on, by `count` lines: up
    /// or down.
    pub(crate) fn scroll(&mut self, count: usize, up: bool, from_cursor: bool) {
        let (mut top, bottom) = self.region.unwrap_or((0, ROWS_MAX - 1));
        if from_cursor {
            top = top.max(self.row);
        }
        if up {
            self.scroll_up(top, bottom, count);
        } else {
            self.scroll_down(top, bottom, count);
        }
    }

    fn scroll_up(&mut self, top: usize, bottom: usize, count: usize) {
        let end = self.rows.len().min(bottom + 1);
        let count = count.min(end.saturating_sub(top));
        if let Some(rows) = self.rows.get_mut(top..end) {
            for row in rows.iter_mut().take(count) {
                self.size -= std::mem::take(&mut row.cells).len();
            }
            rows.rotate_left(count);
        }
    }

    fn scroll_down(&mut self, top: usize, bottom: usize, count: usize) {
        let bottom = bottom.min(ROWS_MAX - 1);
        let wanted = (self.rows.len() + count).min(bottom + 1);
        if self.rows.len() < wanted && top < self.rows.len() {
            self.rows.resize_with(wanted, Row::default);
        }
        let end = self.rows.len().min(bottom + 1);
        let count = count.min(end.saturating_sub(top));
        if let Some(rows) = self.rows.get_mut(top..end) {
            rows.rotate_right(count);
            for row in rows.iter_mut().take(count) {
                self.size -= std::mem::take(&mut row.cells).len();
            }
        }
    }
}

fn character(cell: u16) -> Option<char> {
    match cell {
        WIDE => None,
        code => char::from_u32(code.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(canvas: &mut Canvas, row: usize) -> String {
        canvas.go(row, 0);
        canvas.after()
    }

    #[test]
    fn what_is_painted_is_read_around_the_cursor() {
        let mut canvas = Canvas::default();
        canvas.go(2, 3);
        "a宮c".chars().for_each(|c| canvas.put(c));
        assert_eq!(canvas.before(), "   a宮c");
        canvas.go(2, 4);
        assert_eq!(
            (canvas.before(), canvas.after()),
            ("   a".to_owned(), "宮c".to_owned())
        );
        canvas.scroll(1, false, true);
        assert_eq!(row(&mut canvas, 2), "");
        assert_eq!(row(&mut canvas, 3), "   a宮c");
        canvas.go(3, 3);
        canvas.put_in(2);
        assert_eq!(row(&mut canvas, 3), "     a宮c");
        canvas.take_out(5);
        assert_eq!(row(&mut canvas, 3), "a宮c");
        canvas.erase_row(Part::Before);
        assert_eq!(row(&mut canvas, 3), " 宮c");
        canvas.erase(Part::All);
        assert_eq!(row(&mut canvas, 3), "");
    }

    #[test]
    fn a_region_scrolls_alone() {
        let mut canvas = Canvas::default();
        for k in 0..5 {
            canvas.go(k, 0);
            canvas.put(char::from(b'a' + k as u8));
        }
        canvas.set_region(1, 3);
        canvas.go(3, 0);
        canvas.line_feed();
        let rows: Vec<String> = (0..5).map(|k| row(&mut canvas, k)).collect();
        assert_eq!(rows, ["a", "c", "d", "", "e"]);
        canvas.go(1, 0);
        canvas.reverse_feed();
        let rows: Vec<String> = (0..5).map(|k| row(&mut canvas, k)).collect();
        assert_eq!(rows, ["a", "", "c", "d", "e"]);
    }

    proptest! {
        /// The account of the cells is right, and they are bounded, whatever a program does.
        #[test]
        fn cells_are_counted(steps in prop::collection::vec((0..14u8, 0..600usize, 0..700usize), 0..200)) {
            let mut canvas = Canvas::default();
            for (step, a, b) in steps {
                match step {
                    0 => canvas.go(a, b),
                    1..4 => (0..b).for_each(|_| canvas.put('x')),
                    4 => canvas.erase_row(Part::of(a % 3)),
                    5 => canvas.erase(Part::of(a % 3)),
                    6 => canvas.blank(b),
                    7 => canvas.take_out(b),
                    8 => canvas.put_in(b),
                    9 => canvas.set_region(a, b),
                    10 => canvas.line_feed(),
                    11 => canvas.reverse_feed(),
                    12 => canvas.scroll(a, b % 2 == 0, b % 3 == 0),
                    _ => canvas.put('宮'),
                }
                let size: usize = canvas.rows.iter().map(|row| row.cells.len()).sum();
                prop_assert_eq!(size, canvas.size);
                prop_assert!(size <= CELLS_MAX && canvas.rows.len() <= ROWS_MAX);
            }
        }
    }
}
