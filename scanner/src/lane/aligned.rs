//! Rows with separators between aligned cells.

use crate::mask::Place;
use crate::{table, value};

use super::delimited::Doubt;
use super::{Frame, Inner, Lane, Until, VALUE_MAX, char_at};

impl Lane {
    /// A row whose separators stand at fixed display columns.
    pub(super) fn aligned(&mut self, boxed: bool, end: bool) -> bool {
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
            if b == b'\r' && self.pty {
                match self.view.text.get(at + 1) {
                    None if !end => break,
                    None | Some(b'\n') => {}
                    // It went back, and the row is what stands before.
                    Some(_) => {
                        newline = Some(at);
                        break;
                    }
                }
            }
            let expected = closes_at.saturating_add_signed(self.row.shift);
            // A row in which the last one broke off, or another row.
            if self.row.below && table::is_separator(c) && self.only_spaces_before(at) {
                return self.next_in_box();
            }
            if !boxed
                && c == '|'
                && self.row.column < expected
                && !self.row.wide
                && !self.row.loose
                && closes_at != usize::MAX
            {
                match self.has_bar_at(at, expected - self.row.column, end) {
                    None => break,
                    Some(true) => {}
                    Some(false) if self.may_count() => return self.unaligned(),
                    Some(false) => {
                        // Which cells those behind it are is not known.
                        self.row.loose = true;
                        self.row.doubt = Doubt::Cells(self.row.index + 1, usize::MAX);
                    }
                }
            }
            if boxed
                && c == '|'
                && self.row.separators == 1
                && self.row.column < expected
                && !self.row.wide
                && !self.row.drawn
            {
                // Cells of unequal width: markdown that nobody aligned. Where a bar stands where it
                // should, too, this one may be in the cell.
                // Behind the last column none should stand.
                if closes_at != usize::MAX {
                    let bar = at + (expected - self.row.column);
                    let near = self.slice(at, bar + 1);
                    let line = memchr::memchr(b'\n', near);
                    if near.len() <= bar - at && line.is_none() && !end {
                        break;
                    }
                    if line.is_none() && near.get(bar - at) == Some(&b'|') {
                        self.row.doubt = Doubt::Cells(1, usize::MAX);
                    }
                }
                self.row.loose = true;
            }
            // In a line that goes on with one cell blanks stand between the others (psql's old-ascii).
            let skipped = c == ' '
                && boxed
                && self.row.separators > 0
                && self.row.column == expected
                && !(self.row.wide || self.row.loose)
                && (self.row.skips || self.slice(self.row.cell, at).iter().all(|b| *b == b' '));
            if skipped {
                self.row.skips = true;
                found = Some((at, size));
                break;
            }
            // Behind a word a colon is no separator of psql's old style, but one of a key.
            let old = matches!(c, ':' | ';') && self.row.last == b' ';
            if table::is_separator(c) || old && self.row.column == expected {
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
                // Bars that are drawn stand in no text.
                let drawn = self.row.separators > 0
                    && self.row.cell > 0
                    && self.byte(self.row.cell - 1).is_some_and(|b| b >= 0x80);
                if !boxed && !self.row.wide && !drawn && self.may_count() {
                    return self.unaligned();
                }
                if self.row.separators == 0 {
                    return self.not_a_row();
                }
                self.row.loose = true;
            }
            if b >= 0x80 || b == b'\t' {
                self.row.wide = true;
            }
            // Who aligned the cells counted a control as one, like any byte of ASCII.
            self.row.column += unicode_width::UnicodeWidthChar::width(c).unwrap_or(1);
            self.row.last = if size == 1 { b } else { b'x' };
            at += size;
        }
        crate::work::count(at.saturating_sub(self.row.scan));
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
        let hit = hit.or_else(|| self.unclear_hit().filter(|_| in_cell));
        if found.is_none() && newline.is_some() && self.row.separators == 0 && cells > 1 {
            return self.not_a_row();
        }
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
                let rows = self.table.as_ref().map_or(0, |t| t.rows);
                let text = self.slice(self.row.cell, limit);
                let start = self.row.cell + (text.len() - text.trim_ascii_start().len());
                let stop = self.row.cell + text.trim_ascii_end().len();
                if stop > start
                    && !value::is_nothing(self.slice(start, stop))
                    && !table::is_rule_cell(self.slice(start, stop), rows)
                {
                    self.mask(start, stop, hit, Place::Cell, "table");
                }
                self.pos = limit;
            }
            None => {
                if (self.pos < limit || closed) && !self.plain(limit, closed) {
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
                } else {
                    self.row.drawn = size > 1;
                }
                self.row.separators += 1;
                self.row.cell = at + size;
                self.row.scan = at + size;
                self.row.column += 1;
                self.row.last = b'|';
                self.pos = at + size;
                true
            }
            (None, Some(at)) if self.byte(at) == Some(b'\r') => {
                self.pos = at + 1;
                self.line = at + 1;
                self.line_cut = false;
                self.frame = Frame::Start;
                true
            }
            (None, Some(at)) => {
                // Where the header has no bar at its end, rows need none.
                let open = usize::from(closes_at == usize::MAX);
                if boxed && self.row.index + open < cells && self.row.separators > 0 {
                    // The cell goes on in the next line.
                    self.sink.row += 1;
                    self.row.closed =
                        self.slice(self.line, at).trim_ascii_end().last() == Some(&b'|');
                    self.row.below = true;
                    self.row.wide = true;
                    self.row.loose = true;
                    self.row.cell = at + 1;
                    self.row.scan = at + 1;
                    self.row.last = b' ';
                    self.line = at + 1;
                    self.line_cut = false;
                    self.above = None;
                    self.pos = at + 1;
                    return true;
                }
                self.end_row(at, true)
            }
            (None, None) => false,
        }
    }

    /// Whether nothing but spaces stands before `at` in its line.
    fn only_spaces_before(&self, at: usize) -> bool {
        !self.line_cut && self.slice(self.line, at).iter().all(|b| *b == b' ')
    }

    /// A line begins like a row where a cell of the row before may go on: it is a row. Where more
    /// than the last bar is missing in the one before, it may be the rest of it after all.
    fn next_in_box(&mut self) -> bool {
        let cells = self.table.as_ref().map_or(0, |t| t.cols.len());
        let rest = !self.row.closed && self.row.index + 1 < cells;
        if let Some(table) = &mut self.table {
            table.rows += 1;
            table.misses = 0;
        }
        self.pos = self.line;
        self.begin_row();
        if rest {
            self.row.doubt = Doubt::Cells(0, usize::MAX);
        }
        true
    }

    /// Whether a separator stands `columns` behind the bar at `at`; `None`: more is needed.
    fn has_bar_at(&self, at: usize, columns: usize, end: bool) -> Option<bool> {
        let mut at = at;
        let mut column = 0;
        let mut last = b'|';
        while self.byte(at).is_some_and(|b| b != b'\n') {
            let (c, size) = char_at(&self.view.text, at, end)?;
            if column >= columns {
                let old = matches!(c, ':' | ';') && last == b' ';
                return Some(column == columns && (table::is_separator(c) || old));
            }
            last = self.byte(at).unwrap_or(last);
            column += unicode_width::UnicodeWidthChar::width(c).unwrap_or(1);
            at += size;
        }
        (end || self.byte(at).is_some()).then_some(false)
    }

    /// Whether nothing of a cell has left that may be a protected one if cells are counted.
    fn may_count(&self) -> bool {
        let span = self.table.as_ref().and_then(|table| table.span);
        span.is_some_and(|(first, _)| self.row.index <= first)
    }

    /// The bars of a row do not stand where those of its header do: its cells are counted.
    fn unaligned(&mut self) -> bool {
        self.row.uneven = true;
        self.row.scan = self.row.cell;
        self.row.counted = self.row.cell;
        true
    }
}
