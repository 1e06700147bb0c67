//! Lines that are painted on a screen, under a table that is on it.
//!
//! `watch` repaints the cells that changed, `less` a line anywhere: such a line may have no
//! separators. Its place on the screen says which column it is in, so what stands in the columns
//! of a protected one is masked, whatever it is.

use crate::mask::Place;
use crate::rules::Hit;
use crate::table::{self, Kind};
use crate::value;

use super::{Frame, Inner, Lane, VALUE_MAX, char_at};

impl Lane {
    /// Whether the line that begins now stands where the cursor was put, under a table whose
    /// columns are known.
    pub(super) fn is_painted(&self) -> bool {
        self.painted
            && self.pty
            && self.table.as_ref().is_some_and(|t| {
                matches!(t.kind, Kind::Aligned { .. } | Kind::Spaced | Kind::Ruled)
                    && !t.cols.is_empty()
            })
    }

    /// A piece of a painted line: what stands in one column, or between two protected ones.
    pub(super) fn painted(&mut self, end: bool) -> bool {
        let len = self.view.text.len();
        let mut column = self.column(self.pos);
        let (hit, bound) = self.column_at(column);
        let from = self.pos;
        let mut at = from;
        let mut closed = end;
        while at < len {
            let b = self.byte(at).unwrap_or(b'\n');
            if matches!(b, b'\n' | b'\r') || column >= bound {
                closed = true;
                break;
            }
            let Some((c, size)) = char_at(&self.view.text, at, end) else {
                break;
            };
            column += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
            at += size;
        }
        // The next character, whatever it is, stands in another column.
        closed |= column >= bound;
        if at > from && !self.paint(from, at, hit, closed) {
            return false;
        }
        if closed {
            self.inner = Inner::Text;
        }
        if !closed || at < len && column >= bound {
            return closed;
        }
        match (self.byte(at), self.byte(at + 1)) {
            (Some(b'\n'), _) => {
                self.painted_ends(at);
                true
            }
            (Some(b'\r'), None) if !end => false,
            (Some(b'\r'), Some(b'\n')) => {
                self.pos = at + 1;
                true
            }
            (Some(b'\r'), _) => {
                self.pos = at + 1;
                self.line = at + 1;
                self.line_cut = false;
                true
            }
            _ => false,
        }
    }

    /// Masks or examines a piece. Whether all of it is decided.
    fn paint(&mut self, from: usize, to: usize, hit: Option<Hit>, closed: bool) -> bool {
        let Some(hit) = hit else {
            return self.plain(to, closed);
        };
        if !closed && to - from <= VALUE_MAX {
            self.hold = self.hold.min(from);
            return false;
        }
        let text = self.slice(from, to);
        let start = from + (text.len() - text.trim_ascii_start().len());
        let stop = from + text.trim_ascii_end().len();
        let value = self.slice(start.min(stop), stop);
        // The header itself may be repainted.
        let header = self.rules.compiled().field(value).is_some();
        if !value.is_empty() && !value::is_nothing(value) && !table::is_dashes(value) && !header {
            self.mask(start, stop, hit, Place::Cell, "screen");
        }
        self.pos = to;
        true
    }

    /// The line ends: it may have been the header of another table.
    fn painted_ends(&mut self, at: usize) {
        let line = self.slice(self.line, at).trim_ascii_end();
        if let Some(table) = table::header(self.rules.compiled(), line) {
            self.table = Some(table);
            self.remember();
        }
        self.note_painted(at);
        self.sink.row += 1;
        self.above = None;
        self.frame = Frame::Start;
        self.pos = at + 1;
    }

    /// Whether the newline at `at` is a move of the cursor.
    pub(super) fn note_painted(&mut self, at: usize) {
        self.painted = self
            .view
            .virt
            .iter()
            .any(|(start, end)| (*start..*end).contains(&at));
    }

    /// The display column at `at`.
    fn column(&self, at: usize) -> usize {
        crate::mask::width(&String::from_utf8_lossy(self.slice(self.line, at)))
    }

    /// The protected column that a display column is in, and where that changes next.
    fn column_at(&self, column: usize) -> (Option<Hit>, usize) {
        let mut bound = usize::MAX;
        let Some(table) = &self.table else {
            return (None, bound);
        };
        let aligned = matches!(table.kind, Kind::Aligned { .. });
        let mut before = 0;
        for (k, col) in table.cols.iter().enumerate() {
            // Where only spaces separate, a value may begin or end beside its header.
            let (start, end) = if aligned {
                (col.start, col.end)
            } else {
                let next = table.cols.get(k + 1).map_or(usize::MAX, |c| c.start);
                (before, next)
            };
            before = col.end;
            if col.hit.is_none() {
                continue;
            }
            if (start..end).contains(&column) {
                return (col.hit, end);
            }
            if start > column {
                bound = bound.min(start);
            }
        }
        (None, bound)
    }
}
