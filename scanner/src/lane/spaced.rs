//! Rows whose columns only spaces separate.

use crate::mask::Place;
use crate::rules::Hit;
use crate::{table, value};

use super::row::trimmed;
use super::{Frame, Inner, Lane, Until, VALUE_MAX, char_at};

impl Lane {
    /// A row whose cells stand under their header, or under its dashes.
    pub(super) fn spaced(&mut self, ruled: bool, end: bool) -> bool {
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
                Some(b'\r') => {
                    self.row.cell = at + 1;
                    self.pos = at + 1;
                    return true;
                }
                // Part of a cell.
                Some(_) if !self.pty => {
                    self.row.cell = at + 1;
                    self.pos = at + 1;
                    return true;
                }
                // The cursor went back: another line is written over this one.
                Some(_) => {
                    self.pos = at + 1;
                    self.line = at + 1;
                    self.line_cut = false;
                    self.frame = Frame::Start;
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
            // One space is enough where the next column begins.
            if spaces == 1
                && b != b' '
                && !ruled
                && self.begins_column(column)
                && !self.awaits_value(at, stop - 1)
            {
                whole = true;
                stop -= 1;
                column -= 1;
                break;
            }
            let Some((c, size)) = char_at(&self.view.text, stop, end) else {
                break;
            };
            if c == ' ' {
                spaces += 1;
                if spaces >= 2
                    && !(ruled && bound != usize::MAX)
                    && !self.awaits_value(at, stop + 1 - spaces)
                {
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
        let says = |b: &u8| b.is_ascii_digit() || matches!(b, b'@' | b'$');
        let words = cols == 1 && !self.slice(at, at + kept).iter().any(says);
        // What stands behind a value of the only column is text.
        let hit = hit.filter(|_| !words || self.row.index == 0);
        match hit {
            Some(_) if self.row.index == 0 && ends_line && cols > 1 && !ruled => {
                return self.not_a_row();
            }
            Some(_) if self.row.index == 0 && self.is_key(at, at + kept) => {
                return self.not_a_row();
            }
            // The header may have been a name and its value, and this is the next one.
            Some(_) if self.row.index == 0 && self.is_name_of_row(at, at + kept) => {
                return self.not_a_row();
            }
            Some(_) if words => return self.not_a_row(),
            Some(hit) => {
                let rows = self.table.as_ref().map_or(0, |t| t.rows);
                if !value::is_nothing(self.slice(at, at + kept))
                    && !table::is_rule_cell(self.slice(at, at + kept), rows)
                {
                    self.mask(at, at + kept, hit, Place::Cell, "table");
                }
                self.row.separators += 1;
            }
            // A line that begins with a protected key is none of a row.
            None if self.row.index == 0 && whole && self.is_key(at, at + kept) => {
                return self.not_a_row();
            }
            None => {
                self.pos = self.pos.max(at);
                if (self.pos < stop || whole) && !self.plain(stop, whole) {
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
        let right = |col: &table::Col| col.end == column && col.start != self.row.column;
        let right = self.table.iter().flat_map(|t| &t.cols).any(right);
        self.row.right |= right;
        self.row.column = column;
        self.row.spaces = 0;
        self.pos = stop;
        self.row.scan = stop;
        stop < len
    }

    /// Whether a text ends with a protected argument, whose value follows: `--ssn`, `["--ssn",`.
    fn awaits_value(&self, from: usize, to: usize) -> bool {
        let text = self.slice(from, to);
        let word =
            memchr::memrchr(b' ', text).map_or(text, |at| text.get(at + 1..).unwrap_or_default());
        let mark = |b: &u8| matches!(b, b'[' | b'(' | b'{' | b'"' | b'\'' | b'`' | b',');
        let size = word.iter().take_while(|b| mark(b)).count();
        let name = word.get(size..).and_then(|word| word.strip_prefix(b"--"));
        let name = name.unwrap_or_default();
        let size = name.iter().rev().take_while(|b| mark(b)).count();
        let name = name.get(..name.len() - size).unwrap_or_default();
        !name.is_empty() && self.rules.compiled().field(name).is_some()
    }

    /// Whether a cell is a protected name, below a header of which only the first name is one.
    fn is_name_of_row(&self, from: usize, to: usize) -> bool {
        let named = self.table.as_ref().is_some_and(table::Table::names_its_row);
        named && self.rules.compiled().field(self.slice(from, to)).is_some()
    }

    /// Whether a column begins exactly here, and it or the one before is protected.
    fn begins_column(&self, column: usize) -> bool {
        let cols = self.table.iter().flat_map(|t| t.cols.windows(2));
        let mut cols = cols.filter_map(|w| Some((w.first()?, w.last()?)));
        cols.any(|(before, col)| col.start == column && (col.hit.is_some() || before.hit.is_some()))
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

    /// Whether a group between the header of a protected column and the next one belongs to that:
    /// it ends with it, and one before it ends with a header, too. Cells are aligned at the right,
    /// as pandas does it.
    fn is_of_next(&self, table: &table::Table, column: usize, from: usize, to: usize) -> bool {
        let (Some(col), Some(next)) = (table.cols.get(column), table.cols.get(column + 1)) else {
            return false;
        };
        let between = from > col.end && from < next.start;
        self.row.right && next.hit.is_none() && between && to == next.end
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
            let inside = inside && !(whole && self.is_of_next(table, k, from, to));
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
}
