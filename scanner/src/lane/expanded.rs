//! psql's expanded display: one record per block.

use crate::mask::Place;
use crate::table::Kind;
use crate::{table, value};

use super::{Frame, Inner, Lane, Until, VALUE_MAX, char_at, first_char};

impl Lane {
    /// A line of psql's expanded display: `name | value`.
    pub(super) fn expanded(&mut self, end: bool) -> bool {
        let len = self.view.text.len();
        let bare = self
            .table
            .as_ref()
            .is_some_and(|t| t.kind == Kind::Expanded0);
        let boxed = self.row.separators > 0
            || first_char(self.slice(self.line, len)).is_some_and(table::is_separator);
        // Names leave as they come; the separator after them tells.
        if self.row.index == 0 {
            let mut at = self.row.scan;
            while at < len {
                let b = self.view.text.get(at).copied().unwrap_or(b'\n');
                if b == b'\n' {
                    return self.not_a_row();
                }
                let Some((c, size)) = char_at(&self.view.text, at, end) else {
                    break;
                };
                let separates = (bare && c == ' ')
                    || table::is_separator(c)
                    || (matches!(c, ':' | ';')
                        && self.slice(self.line, at).iter().all(|b| *b == b' '));
                if separates {
                    self.row.scan = at;
                    if self.pos <= at && !self.plain(at, true) {
                        return false;
                    }
                    self.inner = Inner::Text;
                    let name = self.slice(self.row.cell, at).trim_ascii();
                    if boxed && self.row.separators == 0 && name.is_empty() {
                        self.row.separators = 1;
                        self.row.cell = at + size;
                        at += size;
                        self.row.scan = at;
                        continue;
                    }
                    if !name.is_empty() {
                        self.row.key = self.rules.compiled().field(name);
                    } else if self.row.separators == 0 && self.slice(self.line, at).is_empty() {
                        self.row.key = None;
                    }
                    self.row.index = 1;
                    self.row.cell = at + size;
                    self.row.scan = at + size;
                    self.pos = at + size;
                    return true;
                }
                at += size;
            }
            self.row.scan = at;
            if self.pos < at {
                self.plain(at, end);
            }
            return false;
        }
        let rest = self.slice(self.row.cell, len);
        let line = memchr::memchr(b'\n', rest);
        crate::work::count(line.unwrap_or(rest.len()));
        let line = line.map(|i| self.row.cell + i);
        let limit = line.unwrap_or(len);
        match self.row.key {
            Some(hit) => {
                if line.is_none() && !end {
                    if rest.len() > VALUE_MAX {
                        self.mask(self.row.cell, len, hit, Place::Inside, "table");
                        self.swallow_until(Until::Line);
                        self.pos = len;
                        self.frame = Frame::Line;
                        return false;
                    }
                    self.hold = self.hold.min(self.row.cell);
                    return false;
                }
                let cell = self.slice(self.row.cell, limit).trim_ascii_end();
                let cell = if self.row.separators > 0 {
                    cell.strip_suffix(b"|")
                        .or_else(|| cell.strip_suffix("│".as_bytes()))
                        .or_else(|| cell.strip_suffix("║".as_bytes()))
                        .unwrap_or(cell)
                } else {
                    cell
                };
                let cell = cell.trim_ascii_end();
                let start = self.row.cell + (cell.len() - cell.trim_ascii_start().len());
                let stop = self.row.cell + cell.len();
                if stop > start
                    && !value::is_nothing(self.slice(start, stop))
                    && !table::is_dashes(self.slice(start, stop))
                {
                    self.mask(start, stop, hit, Place::Cell, "table");
                }
                self.pos = limit;
            }
            None => {
                if !self.plain(limit, line.is_some() || end) {
                    return false;
                }
                if line.is_none() {
                    return false;
                }
                self.inner = Inner::Text;
            }
        }
        match line {
            Some(at) => self.end_row(at, true),
            None => false,
        }
    }
}
