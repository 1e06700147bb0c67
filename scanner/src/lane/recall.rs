//! Rows of a table whose header has left the screen: a pager paints them again.
//!
//! `less` goes back by one line and paints a row alone, wraps a long row, or shows a window of it
//! (`less -S`). So tables stay known while a screen is painted, and each whole line is compared
//! with them: where the separators of a row stand says which table it is of, and which part of
//! it is shown; where nobody aligned them, how many there are. A line that may be of several is
//! masked where any of them is protected.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use crate::rules::Hit;
use crate::table::{self, Col, Kind, Table};
use crate::term::Signal;

use super::{LINE_CONTEXT, Lane, order};

/// How many tables are remembered.
const TABLES_MAX: usize = 6;
/// A line that may show a window at more places than this is protected as a whole.
const PLACES_MAX: usize = 16;
/// The columns from one stop of tabs to the next.
const TAB: usize = 8;
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
    /// Lines are cut at the right: they may be cut at the left, too.
    chops: bool,
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

    /// Whether a line that a pager adds below the others is a row by its number of cells alone, in
    /// the only table that there is: then its first cell, which is not protected, may leave.
    fn is_counted(&self) -> bool {
        let mut tables = self.tables.iter();
        let counted = |t: &Table| {
            matches!(t.kind, Kind::Delimited { by, .. } if !matches!(by, 0 | b' '))
                && t.span.is_none_or(|(first, _)| first > 0)
        };
        !self.chops && tables.next().is_some_and(counted) && tables.next().is_none()
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Enter => {
                (self.alternate, self.pager, self.regions) = (true, true, false);
                self.chops = false;
            }
            Signal::Leave => (self.alternate, self.pager) = (false, false),
            Signal::Region => (self.regions, self.pager) = (true, false),
            Signal::Reverse => self.pager = !self.regions,
            Signal::Normal => self.pager &= self.alternate,
            Signal::Erase => {}
        }
    }

    fn remember(&mut self, table: &Table) {
        let mut table = table.clone();
        self.tables.retain(|t| {
            let known = is_same(t, &table);
            table.airy |= known && t.airy;
            table.ragged |= known && t.ragged;
            !known
        });
        self.tables.truncate(TABLES_MAX - 1);
        self.tables.push_front(table);
        self.behind = None;
        self.quiet = 0;
    }

    /// The table that a line is a row of, as far as it is shown, and the whole table where the row
    /// begins with its first column. `live` is the table of the lines before, and a line that is
    /// `moved` began where the cursor was put.
    fn table_of(
        &mut self,
        line: &[u8],
        live: Option<&Table>,
        moved: bool,
    ) -> Option<(Table, Option<Table>)> {
        let shown = Shown::new(line);
        let found = match shown.row_of(&self.tables) {
            Some((row, whole)) if !self.pager || is_whole(&row, &whole) => Some((row, Some(whole))),
            None | Some(_) => self
                .ragged_row(&shown, live)
                .map(|row| (row, live.cloned()))
                .or_else(|| {
                    {
                        // A part of a row, of any of its columns.
                        let pager = self.pager;
                        pager.then(|| shown.window_of(&self.tables, live))?
                    }
                    .map(|window| (window, None))
                })
                .or_else(|| {
                    let parts = self.pager && (moved || self.chops);
                    order::row_of(self.tables.iter(), line, parts)
                }),
        };
        if found.is_some() {
            self.quiet = 0;
        } else {
            self.is_quiet();
        }
        found
    }

    /// A line was none of the tables: after many of them they are forgotten.
    fn is_quiet(&mut self) {
        self.quiet += 1;
        if self.quiet > QUIET_MAX {
            self.tables.clear();
        }
    }

    /// What a line with as many bars as the table of the lines before shows of it, or as one that
    /// nobody has aligned.
    fn ragged_row(&mut self, line: &Shown, live: Option<&Table>) -> Option<Table> {
        let alike = |t: &Table| is_ragged_row(line, t);
        let is_live = live.is_some_and(alike);
        if is_live
            && let Some(known) = self
                .tables
                .iter_mut()
                .find(|t| live.is_some_and(|l| is_same(t, l)))
        {
            known.ragged = true;
        }
        let known = self.tables.iter().filter(|t| t.ragged && alike(t));
        let tables: Vec<&Table> = live.filter(|_| is_live).into_iter().chain(known).collect();
        (!tables.is_empty()).then(|| line.in_order(&tables))
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
                Kind::Aligned { .. } | Kind::Spaced | Kind::Ruled | Kind::Delimited { .. }
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
        let above = self.above.and_then(|(_, to)| self.byte(to.checked_sub(1)?));
        self.screen.chops |= self.screen.pager && above == Some(b'>');
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
        let waits = match self.screen.pager {
            true => self.painted || !self.screen.is_counted(),
            false => rest.first().is_some_and(|b| begins_row(*b)),
        };
        if !waits {
            return self.wake(end);
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
        let whole = self.whole(line);
        let chops = whole.len() < line.len();
        let line = whole;
        if table::header(self.rules.compiled(), line).is_some() {
            self.table = None;
            self.body = false;
            self.framed = None;
            self.listing = None;
            // No row goes on in it that broke off before.
            (self.broken, self.torn, self.parts) = (None, false, 0);
            return Recalled::Unknown;
        }
        if table::is_rule(line) {
            return Recalled::Unknown;
        }
        let line = line.to_vec();
        self.screen.chops |= chops;
        match self
            .screen
            .table_of(&line, self.table.as_ref(), self.painted)
        {
            Some((table, whole)) if table.cols.iter().any(|c| c.hit.is_some()) => {
                let before = self.table.replace(table);
                self.screen.behind = whole.or(before);
                self.broken = None;
                Recalled::Row
            }
            Some(_) => Recalled::Text,
            None => Recalled::Unknown,
        }
    }

    /// Where no line waits, a table whose cells a byte separates goes on, with rows that have all of
    /// them: after whatever else was painted.
    fn wake(&mut self, end: bool) -> Recalled {
        if self.table.is_some() || !self.screen.is_watched() {
            return Recalled::Unknown;
        }
        let mut tables = self.screen.tables.iter();
        let separator = |t: &Table| match t.kind {
            Kind::Delimited { by, .. } if !matches!(by, 0 | b' ') => Some(by),
            _ => None,
        };
        let Some((table, by)) = tables.find_map(|t| Some((t, separator(t)?))) else {
            return Recalled::Unknown;
        };
        if table.span.is_some_and(|(first, _)| first == 0) {
            // What may be a prompt does not wait for more than its first word.
            let rest = self.slice(self.pos, self.view.text.len());
            let word = rest.get(..LINE_CONTEXT).unwrap_or(rest);
            let ends = |b: &&u8| **b == by || matches!(b, b' ' | b'\n' | b'\r');
            match word.iter().find(ends) {
                Some(b) if *b == by => {}
                None if !end && word.len() < LINE_CONTEXT => {
                    self.screen.waits = true;
                    return Recalled::Wait;
                }
                Some(_) | None => return Recalled::Unknown,
            }
        }
        let mut table = table.clone();
        table.dormant = Some(0);
        self.table = Some(table);
        self.screen.is_quiet();
        Recalled::Unknown
    }
}

/// Whether two tables have the same columns.
fn is_same(a: &Table, b: &Table) -> bool {
    let mut cols = a.cols.iter().zip(&b.cols);
    a.kind == b.kind
        && a.columns == b.columns
        && a.cols.len() == b.cols.len()
        && cols.all(|(a, b)| (a.start, a.end, a.hit) == (b.start, b.end, b.hit))
}

/// Whether a line has as many bars as a row of a table.
fn is_ragged_row(line: &Shown, table: &Table) -> bool {
    let Kind::Aligned { boxed } = table.kind else {
        return false;
    };
    let bars = separators(table).len();
    let begins = line.separators.first() == line.ink.iter().position(|ink| *ink).as_ref();
    !line.separators.is_empty() && line.separators.len() == bars && begins == boxed
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
        let mut last = ' ';
        for c in String::from_utf8_lossy(line).chars() {
            // Markdown escapes a bar in a cell.
            if table::is_separator(c) && last != '\\' {
                new.separators.push(new.ink.len());
            }
            last = c;
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
            Kind::Spaced | Kind::Ruled => usize::from(self.stands_under(t) || self.is_tabbed(t)),
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

    /// Whether the cells of a row may stand at the stops of tabs, as those of the header do: each
    /// one behind the end of the one before, wherever that is.
    fn is_tabbed(&self, table: &Table) -> bool {
        let stop = |column: usize| column.is_multiple_of(TAB);
        if !table.cols.iter().all(|col| stop(col.start)) {
            return false;
        }
        let begins = |column: &usize| {
            let before = column.checked_sub(1).is_some_and(|c| self.is_ink(c));
            self.is_ink(*column) && !before
        };
        let far = |column: &usize| column.checked_sub(2).is_none_or(|c| !self.is_ink(c));
        let words = (0..self.width()).filter(begins);
        let mut groups = words.clone().filter(|column| far(column));
        let cells = words.filter(|column| stop(*column)).count();
        groups.clone().count() > 1 && groups.all(stop) && self.is_ink(0) && cells >= table.columns
    }

    /// The part of a table that the line may show, from any column on.
    fn window_of(&self, tables: &VecDeque<Table>, live: Option<&Table>) -> Option<Table> {
        let found = self.aligned_window_of(tables);
        let (bars, shown) = (self.separators.len(), found.as_ref().map_or(0, |(_, n)| *n));
        // Where most of its bars stand elsewhere it is no row of what somebody aligned.
        let aligned = found.filter(|_| 2 * shown > bars);
        let has_bars = |t: &&Table| matches!(t.kind, Kind::Aligned { .. });
        let mut barred = tables.iter().filter(has_bars);
        let ragged = |t: &Table| t.ragged || live.is_some_and(|l| is_same(t, l));
        if aligned.is_some() || bars == 0 || shown == 0 && !barred.clone().any(ragged) {
            return aligned.map(|(table, _)| table);
        }
        Some(self.in_order(&barred.by_ref().collect::<Vec<_>>()))
    }

    fn aligned_window_of(&self, tables: &VecDeque<Table>) -> Option<(Table, usize)> {
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
                    return self.covered(&found, tables).map(|table| (table, most));
                }
            }
        }
        let seps = self.shown_of(found.first()?);
        Some((self.cut(&seps, &found), seps.len()))
    }

    /// A table of what stands between the bars here: a cell is protected if it may be one of a
    /// protected column of any of `tables`, by their order.
    fn in_order(&self, tables: &[&Table]) -> Table {
        let mut table = self.cut(&self.separators, &[]);
        let mut hits = vec![None; table.cols.len()];
        for of in tables {
            let before = usize::from(matches!(of.kind, Kind::Aligned { boxed: true }));
            let all = separators(of).len() + 1;
            order::mark_part(&mut hits, of, before, all, table.cols.len());
            // A bar stands in a cell, nobody knows in which.
            let more = table.cols.len().saturating_sub(all);
            if let Some((first, last)) = of.span.filter(|_| more > 0) {
                let hit = of.cols.iter().find_map(|c| c.hit);
                let cells = hits.iter_mut().take(last + before + more + 1);
                cells
                    .skip(first + before)
                    .for_each(|cell| *cell = cell.or(hit));
            }
        }
        for (col, hit) in table.cols.iter_mut().zip(hits) {
            col.hit = hit;
        }
        table.ragged = true;
        table
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
