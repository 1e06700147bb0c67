//! Rows of a table whose header has left the screen: a pager paints them again.
//!
//! `less` goes back by one line and paints a row alone, wraps a long row, or shows a window of it
//! (`less -S`). So tables stay known while a screen is painted, and each whole line is compared
//! with them: where the separators of a row stand says which table it is of, and which part of
//! it is shown. A line that may be of several is masked where any of them is protected.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use crate::rules::Hit;
use crate::table::{self, Col, Kind, Table};
use crate::term::Signal;

use super::{LINE_CONTEXT, Lane};

/// How many tables are remembered.
const TABLES_MAX: usize = 6;
/// A line that may show a window at more places than this is protected as a whole.
const PLACES_MAX: usize = 16;
/// After so many lines of none of them they are forgotten.
const QUIET_MAX: u32 = 1000;

/// What is known of the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The alternate screen is shown.
    alternate: bool,
    /// A pager paints whole lines.
    pager: bool,
    /// The program lets parts of the screen scroll, as editors and multiplexers do.
    regions: bool,
    /// The last one first.
    tables: VecDeque<Table>,
    /// The table itself, while the lane has what a line shows of it.
    behind: Option<Table>,
    quiet: u32,
    /// The line that begins is withheld until it is whole.
    pub(super) waits: bool,
}

impl Screen {
    /// Whether lines are compared, wherever the cursor was put.
    pub(super) fn is_watched(&self) -> bool {
        !self.tables.is_empty() && (self.alternate || self.pager)
    }

    /// Whether the lane's table is what the line before showed of another one.
    pub(super) fn shows_a_part(&self) -> bool {
        self.behind.is_some()
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Enter => {
                (self.alternate, self.pager, self.regions) = (true, true, false);
            }
            Signal::Leave => (self.alternate, self.pager) = (false, false),
            Signal::Region => (self.regions, self.pager) = (true, false),
            Signal::Reverse => self.pager = !self.regions,
            Signal::Normal => self.pager &= self.alternate,
            Signal::Erase => {}
        }
    }

    fn remember(&mut self, table: &Table) {
        let same = |t: &Table| {
            let mut cols = t.cols.iter().zip(&table.cols);
            t.kind == table.kind
                && t.cols.len() == table.cols.len()
                && cols.all(|(a, b)| (a.start, a.end, a.hit) == (b.start, b.end, b.hit))
        };
        self.tables.retain(|t| !same(t));
        self.tables.truncate(TABLES_MAX - 1);
        self.tables.push_front(table.clone());
        self.behind = None;
        self.quiet = 0;
    }

    /// The table that `line` is a row of, as far as it is shown, and the whole table where the
    /// row begins with its first column.
    fn table_of(&mut self, line: &Shown) -> Option<(Table, Option<Table>)> {
        let found = match line.row_of(&self.tables) {
            Some((row, whole)) if !self.pager || is_whole(&row, &whole) => Some((row, Some(whole))),
            // A part of a row, of any of its columns.
            None | Some(_) if self.pager => {
                line.window_of(&self.tables).map(|window| (window, None))
            }
            _ => None,
        };
        if found.is_some() {
            self.quiet = 0;
        } else {
            self.quiet += 1;
            if self.quiet > QUIET_MAX {
                self.tables.clear();
            }
        }
        found
    }
}

/// What the comparison says about a line.
pub(super) enum Recalled {
    /// More of it is needed.
    Wait,
    /// It is a row of the lane's table.
    Row,
    /// It is what a pager asks, or shows nothing of a protected column.
    Text,
    Unknown,
}

impl Lane {
    /// Keeps the table in mind while a screen shows it.
    pub(super) fn remember(&mut self) {
        if let Some(table) = &self.table
            && self.pty
            && matches!(
                table.kind,
                Kind::Aligned { .. } | Kind::Spaced | Kind::Ruled
            )
        {
            self.screen.remember(table);
        }
    }

    /// What the terminal was told before `to`.
    pub(super) fn signals(&mut self, to: usize) {
        while let Some((_, signal)) = self.view.signals.pop_front_if(|(at, _)| *at <= to) {
            self.screen.signal(signal);
        }
    }

    /// A line without the mark with which `less` says that there is more of it at the right.
    pub(super) fn whole<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match line.strip_suffix(b">") {
            Some(line) if self.pty => line,
            Some(_) | None => line,
        }
    }

    /// The same, but for what was told at `to` itself.
    pub(super) fn signals_before(&mut self, to: usize) {
        if let Some(before) = to.checked_sub(1) {
            self.signals(before);
        }
    }

    /// Compares the line that begins here with the tables that are remembered.
    pub(super) fn recall(&mut self, end: bool) -> Recalled {
        self.signals(self.pos);
        if let Some(table) = self.screen.behind.take()
            && self.table.is_some()
        {
            self.table = Some(table);
        }
        if !self.pty || self.screen.tables.is_empty() || !(self.screen.is_watched() || self.painted)
        {
            return Recalled::Unknown;
        }
        let rest = self.text().get(self.pos..).unwrap_or_default();
        let ends = rest.iter().enumerate().find_map(|(k, b)| match b {
            b'\n' => Some(k),
            b'\r' => match rest.get(k + 1) {
                None => end.then_some(k),
                Some(_) => Some(k),
            },
            _ => None,
        });
        let erased = self
            .view
            .signals
            .iter()
            .find(|(at, signal)| *signal == Signal::Erase && *at > self.pos)
            .map(|(at, _)| at - self.pos);
        let size = match (ends, erased) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if !self.screen.pager && !rest.first().is_some_and(|b| begins_row(*b)) {
            return Recalled::Unknown;
        }
        let Some(size) = size.or(end.then_some(rest.len())) else {
            return if rest.len() <= LINE_CONTEXT {
                self.screen.waits = true;
                Recalled::Wait
            } else {
                Recalled::Unknown
            };
        };
        let line = rest.get(..size).unwrap_or_default();
        if size > LINE_CONTEXT || line.iter().all(u8::is_ascii_whitespace) {
            return Recalled::Unknown;
        }
        let trimmed = line.trim_ascii();
        // Whether its line ends here is not known where the erasure comes alone.
        let asks = (ends.is_none() || erased == Some(size)) && matches!(trimmed, b":" | b"(END)");
        let counts = trimmed.starts_with(b"(")
            && (trimmed.ends_with(b" rows)") || trimmed.ends_with(b" row)"));
        if asks || counts {
            return Recalled::Text;
        }
        let line = self.whole(line);
        if table::header(self.rules.compiled(), line).is_some() {
            self.table = None;
            self.body = false;
            self.framed = None;
            return Recalled::Unknown;
        }
        if table::is_rule(line) {
            return Recalled::Unknown;
        }
        let shown = Shown::new(line);
        match self.screen.table_of(&shown) {
            Some((table, whole)) if table.cols.iter().any(|c| c.hit.is_some()) => {
                let before = self.table.replace(table);
                self.screen.behind = whole.or(before);
                Recalled::Row
            }
            Some(_) => Recalled::Text,
            None => Recalled::Unknown,
        }
    }
}

/// Whether a row of a table with separators may begin with this byte.
fn begins_row(b: u8) -> bool {
    matches!(b, b' ' | b'|' | 0xe2)
}

/// Where what a line shows stands.
struct Shown {
    /// Columns that are not blank.
    ink: Vec<bool>,
    separators: Vec<usize>,
}

impl Shown {
    fn new(line: &[u8]) -> Self {
        let mut new = Self {
            ink: Vec::new(),
            separators: Vec::new(),
        };
        for c in String::from_utf8_lossy(line).chars() {
            if table::is_separator(c) {
                new.separators.push(new.ink.len());
            }
            let wide = c.width().unwrap_or(0);
            new.ink.extend(std::iter::repeat_n(c != ' ', wide));
        }
        new
    }

    fn width(&self) -> usize {
        self.ink.len()
    }

    fn has(&self, column: usize) -> bool {
        self.separators.binary_search(&column).is_ok()
    }

    /// The separator at a column. Where a header wrapped, `less` has written a blank more.
    fn near(&self, column: usize) -> Option<usize> {
        let before = column.checked_sub(1);
        std::iter::once(column).chain(before).find(|c| self.has(*c))
    }

    fn is_ink(&self, column: usize) -> bool {
        self.ink.get(column).copied().unwrap_or(false)
    }

    /// The table that the line is a row of from its beginning on, with the columns that are shown;
    /// and the whole of it.
    fn row_of(&self, tables: &VecDeque<Table>) -> Option<(Table, Table)> {
        let matches = |t: &Table| match t.kind {
            Kind::Aligned { .. } => {
                let seps = separators(t);
                let shown = seps.iter().take_while(|s| **s < self.width()).count();
                let all = seps.iter().take(shown).all(|s| self.has(*s));
                if all { shown } else { 0 }
            }
            Kind::Spaced | Kind::Ruled => usize::from(self.stands_under(t)),
            Kind::Delimited { .. }
            | Kind::Expanded
            | Kind::Expanded0
            | Kind::Latex
            | Kind::Asciidoc => 0,
        };
        let matched: Vec<usize> = tables.iter().map(matches).collect();
        let best = matched.iter().copied().max().filter(|n| *n > 0)?;
        let found = tables.iter().zip(&matched);
        let mut found = found.filter(|(_, n)| **n == best).map(|(t, _)| t);
        let first = found.next()?;
        if !matches!(first.kind, Kind::Aligned { .. }) {
            return Some((first.clone(), first.clone()));
        }
        let found: Vec<_> = std::iter::once(first)
            .chain(found.filter(|t| matches!(t.kind, Kind::Aligned { .. })))
            .map(|t| (t, 0))
            .collect();
        Some((self.cut(&separators(first), &found), first.clone()))
    }

    /// Whether each cell begins or ends where its header does.
    fn stands_under(&self, table: &Table) -> bool {
        let mut filled = 0;
        for (k, col) in table.cols.iter().enumerate() {
            if col.start >= self.width() {
                break;
            }
            let next = table.cols.get(k + 1).map_or(self.width(), |c| c.start);
            let before = col.start.checked_sub(1).is_some_and(|c| self.is_ink(c));
            let empty = !(col.start..next).any(|c| self.is_ink(c));
            filled += usize::from(!empty);
            let left = !before && (empty || self.is_ink(col.start));
            let right = col.end > 0 && self.is_ink(col.end - 1) && !self.is_ink(col.end);
            if !left && !right {
                return false;
            }
        }
        filled > 1
    }

    /// The part of a table that the line may show, from any column on.
    fn window_of(&self, tables: &VecDeque<Table>) -> Option<Table> {
        let first = *self.separators.first()?;
        let near = self.separators.iter().flat_map(|s| [*s, s + 1]);
        let near = bitmap(near);
        let mut most = 0;
        let mut found: Vec<(&Table, usize)> = Vec::new();
        for table in tables {
            if !matches!(table.kind, Kind::Aligned { .. }) {
                continue;
            }
            let seps = separators(table);
            let map = bitmap(seps.iter().copied());
            for (k, sep) in seps.iter().enumerate() {
                let Some(shift) = sep.checked_sub(first) else {
                    continue;
                };
                // The separator before is not shown.
                let hidden = k == 0 || seps.get(k - 1).is_some_and(|s| *s < shift);
                let shown = seps.partition_point(|s| *s < shift + self.width()) - k;
                if !hidden || shown < most || !stands_in(&map, shift, self.width(), &near) {
                    continue;
                }
                if shown > most {
                    most = shown;
                    found.clear();
                }
                found.push((table, shift));
                if found.len() > PLACES_MAX {
                    return self.covered(&found, tables);
                }
            }
        }
        let seps = self.shown_of(found.first()?);
        Some(self.cut(&seps, &found))
    }

    /// The separators of a table that stand in the line, where it shows the table from a column on.
    fn shown_of(&self, (table, shift): &(&Table, usize)) -> Vec<usize> {
        let seps = separators(table).into_iter();
        seps.filter_map(|s| s.checked_sub(*shift))
            .take_while(|s| *s < self.width())
            .filter_map(|s| self.near(s))
            .collect()
    }

    /// The line may be of so many places that all of its cells are protected, if any is.
    fn covered(&self, found: &[(&Table, usize)], tables: &VecDeque<Table>) -> Option<Table> {
        let seps = self.shown_of(found.first()?);
        let hit = tables.iter().flat_map(|t| &t.cols).find_map(|c| c.hit);
        let mut table = self.cut(&seps, &[]);
        for col in &mut table.cols {
            col.hit = hit;
        }
        Some(table)
    }

    /// A table of what stands between `seps` here: a cell is protected if it may be one of a
    /// protected column of any of `tables`, each shown from a column of its own on.
    fn cut(&self, seps: &[usize], tables: &[(&Table, usize)]) -> Table {
        let seps = seps.iter().copied().filter(|s| *s < self.width());
        let ends = seps.chain([usize::MAX]);
        let protected = |(table, shift): &(&Table, usize)| -> (Vec<Col>, usize) {
            let cols = table.cols.iter().filter(|c| c.hit.is_some());
            (cols.cloned().collect(), *shift)
        };
        let tables: Vec<(Vec<Col>, usize)> = tables.iter().map(protected).collect();
        let mut cols = Vec::new();
        let mut start = 0;
        for end in ends {
            let covers = |(cols, shift): &(Vec<Col>, usize)| -> Option<Hit> {
                let from = start + shift;
                let to = end.min(self.width().max(start + 1)) + shift;
                let col = cols.get(cols.partition_point(|c| c.end <= from))?;
                col.hit.filter(|_| col.start < to)
            };
            cols.push(Col {
                start,
                end,
                hit: tables.iter().find_map(covers),
            });
            start = end.saturating_add(1);
        }
        let columns = cols.len();
        Table::of(Kind::Aligned { boxed: false }, cols, columns)
    }
}

/// The columns as a bitmap.
fn bitmap(columns: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut map = Vec::new();
    for column in columns {
        if map.len() <= column / 64 {
            map.resize(column / 64 + 1, 0);
        }
        if let Some(word) = map.get_mut(column / 64) {
            *word |= 1 << (column % 64);
        }
    }
    map
}

/// Whether all columns of `map` from `shift` on, as far as `width` of them are shown, stand in
/// `near`.
fn stands_in(map: &[u64], shift: usize, width: usize, near: &[u64]) -> bool {
    let (from, bit) = (shift / 64, shift % 64);
    let word = |map: &[u64], k: usize| map.get(k).copied().unwrap_or(0);
    (0..width.div_ceil(64)).all(|k| {
        // The second shift in two steps: there is none of 64.
        let here = word(map, from + k) >> bit | word(map, from + k + 1) << 1 << (63 - bit);
        let shown = match width - 64 * k {
            left @ 0..64 => (1 << left) - 1,
            _ => u64::MAX,
        };
        here & shown & !word(near, k) == 0
    })
}

/// Whether all columns of a table are shown in a row.
fn is_whole(row: &Table, table: &Table) -> bool {
    !matches!(table.kind, Kind::Aligned { .. }) || row.cols.len() == separators(table).len() + 1
}

/// The columns in which separators of a row stand.
fn separators(table: &Table) -> Vec<usize> {
    let first = match table.kind {
        Kind::Aligned { boxed: true } => table.cols.first().and_then(|c| c.start.checked_sub(1)),
        _ => None,
    };
    let ends = table.cols.iter().map(|c| c.end);
    first
        .into_iter()
        .chain(ends.filter(|end| *end != usize::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Signal; 6] = [
        Signal::Enter,
        Signal::Leave,
        Signal::Region,
        Signal::Reverse,
        Signal::Normal,
        Signal::Erase,
    ];

    /// What a terminal was told twice in one place is kept once (`View::signals`).
    #[test]
    fn the_last_time_alone_counts() {
        for number in 0..6usize.pow(5) {
            let told: Vec<Signal> = (0..5)
                .filter_map(|k| ALL.get(number / 6usize.pow(k) % 6).copied())
                .collect();
            for state in 0..8 {
                let screen = |told: &mut dyn Iterator<Item = Signal>| {
                    let mut screen = Screen {
                        alternate: state & 1 > 0,
                        pager: state & 2 > 0,
                        regions: state & 4 > 0,
                        ..Screen::default()
                    };
                    told.for_each(|signal| screen.signal(signal));
                    (screen.alternate, screen.pager, screen.regions)
                };
                let later = |k: usize| told.get(k + 1..).unwrap_or_default();
                let mut once = told
                    .iter()
                    .enumerate()
                    .filter(|(k, signal)| !later(*k).contains(signal))
                    .map(|(_, signal)| *signal);
                assert_eq!(
                    screen(&mut told.iter().copied()),
                    screen(&mut once),
                    "{told:?}"
                );
            }
        }
    }
}
