//! Rows whose cells a byte separates: CSV and its kin.
//!
//! Not everybody who writes such rows quotes: `psql -A` does not. A row with more cells than its
//! header has a separator in some cell, and nobody can say in which. Everything from the first
//! protected column to the last one, counted from the end, is masked in it.

use crate::mask::Place;
use crate::rules::Hit;
use crate::table::{COLUMNS_MAX, Kind, Table, header, is_dashes};
use crate::{value, work};

use super::{Inner, LINE_CONTEXT, Lane, VALUE_MAX};

/// Which cells of a row may be protected ones that a separator has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The row has not been counted.
    #[default]
    Uncounted,
    No,
    /// From one to another, both with it.
    Cells(usize, usize),
}

impl Lane {
    pub(super) fn delimited(&mut self, by: u8, quote: u8, lead: bool, end: bool) -> bool {
        let cell = self.row.cell;
        if self.row.doubt == Doubt::Uncounted && self.counts_at() <= self.row.index {
            match self.count_row(by, quote, lead, end) {
                Some(doubt) => self.row.doubt = doubt,
                None => {
                    self.hold = self.hold.min(cell);
                    return false;
                }
            }
        }
        let opens = match self.opens_quote(by, quote, end) {
            Some(opens) => opens,
            None => {
                self.hold = self.hold.min(cell);
                return false;
            }
        };
        let unclear = self.unclear_hit();
        let hit = unclear.or_else(|| self.column_hit_delimited(lead));
        // Where the cell ends.
        let mut at = self.row.scan.max(cell);
        let mut found = None;
        if !self.row.quoted && !opens && !lead && by != b' ' && at < self.view.text.len() {
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
            if at == cell && opens {
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
                if self.row.closed_quote && !matches!(b, b'\r' | b' ') {
                    // Something follows the closing quote: it was none.
                    self.row.closed_quote = false;
                    self.row.quoted = false;
                }
            }
            at += 1;
        }
        work::count(at.saturating_sub(self.row.scan.max(cell)));
        self.row.scan = at;
        let single = self.table.as_ref().is_some_and(Table::is_single);
        let (limit, closed) = match found {
            Some(at) => (at, true),
            None => (self.view.text.len(), end),
        };
        if self.row.dropped {
            self.pass_to(self.pos);
            self.drop_to(limit);
            self.pos = limit;
            if found.is_none() {
                self.row.is_row = true;
                return false;
            }
            return self.next_cell(limit, by);
        }
        let Some(hit) = hit else {
            // A cell that is not protected: keys and detectors.
            if (self.pos < limit || closed) && !self.plain(limit, closed) {
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
                self.row.dropped = true;
                self.pos = limit;
                return false;
            }
            self.hold = self.hold.min(cell);
            return false;
        }
        let newline = found.is_none() || self.byte(limit) == Some(b'\n');
        if newline && self.row.index == 0 && !single && self.row.broken.is_none() {
            return self.not_a_row();
        }
        let whole = unclear.is_none();
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
        // The line under a header of markdown.
        let rule = lead && self.table.as_ref().is_some_and(|t| t.rows == 0);
        let rule = rule && is_dashes(self.slice(from, to));
        if to > from && !rule && !value::is_nothing(self.slice(from, to)) {
            if whole {
                self.mask(from, to, hit, Place::Inside, "csv");
            } else {
                self.mask_part(from, to, hit, Place::Inside, "csv");
            }
        }
        self.pos = limit;
        if found.is_none() {
            self.row.is_row = true;
            return false;
        }
        self.next_cell(limit, by)
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
            let torn = self.torn_at(at, by);
            self.next_header(at, by);
            let done = self.end_row(at, is_row || broke || closes || torn);
            self.broken = (broke || torn).then_some(reached);
            self.parts = if broke || torn { self.parts + 1 } else { 0 };
            if self.parts > PARTS_MAX {
                self.broken = None;
                self.torn = false;
                self.parts = 0;
            }
            return done;
        }
        self.row.index += 1;
        self.row.cell = at + 1;
        self.row.scan = at + 1;
        self.row.quoted = false;
        self.row.closed_quote = false;
        self.row.dropped = false;
        self.pos = at + 1;
        true
    }

    /// A row may be the header of another result: from there on the columns of both are protected.
    fn next_header(&mut self, at: usize, by: u8) {
        if self.line_cut || at - self.line > LINE_CONTEXT || by == 0 {
            return;
        }
        let rules = self.rules.clone();
        let compiled = rules.compiled();
        let line = self.slice(self.line, at);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut cells = line.split(|b| *b == by);
        if !cells.any(|cell| compiled.may_end(cell)) {
            return;
        }
        let Some(mut next) = header(compiled, line) else {
            return;
        };
        let same = |kind: &Kind| matches!(kind, Kind::Delimited { by: b, .. } if *b == by);
        if let Some(table) = self.table.as_mut().filter(|_| same(&next.kind)) {
            for (col, before) in next.cols.iter_mut().zip(&table.cols) {
                col.hit = col.hit.or(before.hit);
            }
            table.cols = next.cols;
        }
    }

    /// Whether a quote of this row, or of the one that it goes on with, may still be open where its
    /// line ends at `at`.
    fn torn_at(&mut self, at: usize, by: u8) -> bool {
        let quote = match self.table.as_ref().map(|table| table.kind) {
            Some(Kind::Delimited { quote, .. }) if quote != 0 => quote,
            _ => return false,
        };
        let before = std::mem::replace(&mut self.torn, self.row.torn);
        if before {
            let line = self.slice(self.line, at);
            let closes = memchr::memchr_iter(quote, line).any(|k| match line.get(k + 1) {
                None => true,
                Some(b) => *b == by || *b == b'\r',
            });
            self.torn = !closes;
        }
        self.torn
    }

    /// The first cell of a row before which its cells are counted: the one after the first
    /// protected one. In the rest of a row that broke off it may be the first.
    fn counts_at(&self) -> usize {
        let Some(table) = &self.table else {
            return usize::MAX;
        };
        let Kind::Delimited { by, lead, .. } = table.kind else {
            return usize::MAX;
        };
        let first = table.cols.iter().position(|col| col.hit.is_some());
        match first {
            // Whoever writes lists of Tcl quotes.
            _ if matches!(by, 0 | b' ') => usize::MAX,
            // What goes on with a cell before the first protected one is no part of a value.
            Some(first) if self.row.broken.is_some() => {
                usize::from(self.row.broken.is_some_and(|reached| reached < first))
            }
            // Whatever stands behind the last column is masked.
            // Of more columns nobody knows how many there are.
            _ if table.cols.len() >= COLUMNS_MAX => usize::MAX,
            Some(first) if first + 1 < table.cols.len() => first + 1 + usize::from(lead),
            _ => usize::MAX,
        }
    }

    /// Counts the cells of the row, as soon as its line is whole; `None`: more is needed. In a
    /// line that is too long to be waited for everything is in doubt.
    fn count_row(&mut self, by: u8, quote: u8, lead: bool, end: bool) -> Option<Doubt> {
        let cell = self.row.cell;
        let len = self.view.text.len();
        let from = self.row.ahead.max(cell);
        let newline = memchr::memchr(b'\n', self.slice(from, len)).map(|size| from + size);
        work::count(newline.unwrap_or(len) - from);
        self.row.ahead = len;
        let size = newline.unwrap_or(len) - cell;
        if size > VALUE_MAX {
            // Lines of CSV may be as long as that where something is quoted.
            let near = self.slice(cell, cell + VALUE_MAX);
            return Some(match cells(near, (by, quote, lead), false) {
                None => Doubt::No,
                Some(_) => Doubt::Cells(self.row.index, usize::MAX),
            });
        }
        if newline.is_none() && !end {
            return None;
        }
        let line = self.slice(cell, cell + size);
        let line = if lead {
            let line = line.trim_ascii_end();
            line.strip_suffix(b"|").unwrap_or(line)
        } else {
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let Some(rest) = cells(line, (by, quote, lead), true) else {
            return Some(Doubt::No);
        };
        let cols = &self.table.as_ref()?.cols;
        let first = cols.iter().position(|col| col.hit.is_some())?;
        let last = cols.iter().rposition(|col| col.hit.is_some())?;
        let lead = usize::from(lead);
        let count = (self.row.index + rest).saturating_sub(lead);
        // A line with fewer cells goes on with the row that broke off.
        let columns = cols.len();
        if count >= columns {
            self.row.broken = None;
        }
        let broken = self.row.broken.unwrap_or(0);
        let more = (broken + count).saturating_sub(columns);
        Some(match (last + more).checked_sub(broken) {
            Some(to) if more > 0 => Doubt::Cells(first.saturating_sub(broken) + lead, to + lead),
            _ => Doubt::No,
        })
    }

    /// What a cell in doubt may be.
    fn unclear_hit(&self) -> Option<Hit> {
        let Doubt::Cells(from, to) = self.row.doubt else {
            return None;
        };
        let inside = (from..=to).contains(&self.row.index);
        let cols = self.table.iter().flat_map(|table| &table.cols);
        cols.filter(|_| inside).find_map(|col| col.hit)
    }

    /// Whether the cell is quoted; `None`: more is needed. Where most do not quote, a quote counts
    /// that closes in its line, before a separator.
    fn opens_quote(&mut self, by: u8, quote: u8, end: bool) -> Option<bool> {
        let cell = self.row.cell;
        let scanned = self.row.scan > cell;
        if scanned || quote == 0 || self.byte(cell) != Some(quote) {
            return Some(false);
        }
        if is_strict(by) || matches!(by, 0 | b' ') {
            return Some(true);
        }
        let near = self.slice(cell, self.view.text.len().min(cell + QUOTED_MAX));
        let far = near.len() == QUOTED_MAX;
        match quoted_size(near, by, quote, end && !far) {
            Size::Of(_) => Some(true),
            Size::Broken(to) => {
                // Its line ends: it may go on in the next one after all.
                let line = near.get(to) == Some(&b'\n');
                self.row.torn = self.row.torn || line;
                Some(false)
            }
            Size::Open if end || far => {
                self.row.torn = true;
                Some(false)
            }
            Size::Open => None,
        }
    }
}

/// Whether cells that these bytes separate are quoted where they have to be.
fn is_strict(by: u8) -> bool {
    matches!(by, b',' | b';')
}

/// How many cells a line has, which is whole if it is `closed`; `None` where a quote goes on in the
/// next line.
fn cells(line: &[u8], (by, quote, lead): (u8, u8, bool), closed: bool) -> Option<usize> {
    let mut count = 1;
    let mut rest = line;
    loop {
        if quote != 0 && rest.first() == Some(&quote) {
            let size = match quoted_size(rest, by, quote, closed) {
                Size::Of(size) => size,
                Size::Open if is_strict(by) => return None,
                Size::Broken(size) if is_strict(by) => size,
                Size::Open | Size::Broken(_) => 0,
            };
            rest = rest.get(size..).unwrap_or_default();
        }
        let Some(at) = separator(rest, by, lead) else {
            return Some(count);
        };
        rest = rest.get(at + 1..).unwrap_or_default();
        count += 1;
    }
}

/// The next separator. Markdown escapes those in cells.
fn separator(text: &[u8], by: u8, lead: bool) -> Option<usize> {
    if !lead {
        return memchr::memchr(by, text);
    }
    let mut at = 0;
    loop {
        let found = at + memchr::memchr2(by, b'\\', text.get(at..)?)?;
        if text.get(found) == Some(&by) {
            return Some(found);
        }
        at = found + 2;
    }
}

/// How far a quoted cell goes.
enum Size {
    /// So many bytes, with its quotes.
    Of(usize),
    /// Its end is not there.
    Open,
    /// It was not quoted: something follows the quote, which ends here, or the line does.
    Broken(usize),
}

fn quoted_size(text: &[u8], by: u8, quote: u8, closed: bool) -> Size {
    let mut at = 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(quote, b'\n', rest).map(|size| at + size) else {
            return Size::Open;
        };
        if text.get(found) == Some(&b'\n') {
            return Size::Broken(found);
        }
        match text.get(found + 1) {
            Some(b) if *b == quote => at = found + 2,
            Some(b) if *b == by || matches!(b, b'\n' | b'\r') => return Size::Of(found + 1),
            Some(_) => return Size::Broken(found + 1),
            None if closed => return Size::Of(found + 1),
            None => return Size::Open,
        }
    }
}

/// A row has at most so many lines where most do not quote.
const PARTS_MAX: u32 = 64;
/// A longer cell is not quoted where most do not quote.
const QUOTED_MAX: usize = 4096;
