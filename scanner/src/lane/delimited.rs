//! Rows whose cells a byte separates: CSV and its kin.

use crate::mask::Place;
use crate::table::Table;
use crate::value;

use super::{Frame, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    pub(super) fn delimited(&mut self, by: u8, quote: u8, lead: bool, end: bool) -> bool {
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
}
