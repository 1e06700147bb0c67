//! Rows of LaTeX, troff and AsciiDoc.

use crate::mask::Place;
use crate::table::Kind;
use crate::{table, value};

use super::{Frame, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// A row of LaTeX or AsciiDoc.
    pub(super) fn marked(&mut self, end: bool, kind: Kind) -> bool {
        let len = self.view.text.len();
        let rest = self.slice(self.line, len);
        let line = memchr::memchr(b'\n', rest);
        crate::work::count(line.unwrap_or(rest.len()));
        let line = line.map(|i| self.line + i);
        // These rows are looked at whole: nobody watches them being written. One that is too long
        // for that is masked.
        if line.unwrap_or(len) - self.line > VALUE_MAX
            && let Some(hit) = self.rules.compiled().any()
        {
            let to = line.unwrap_or(len);
            self.mask(self.line, to, hit, Place::Inside, "table");
            self.swallow_until(Until::Line);
            self.frame = Frame::Line;
            self.pos = to;
            return line.is_some();
        }
        let Some(limit) = line.or(end.then_some(len)) else {
            self.hold = self.hold.min(self.line);
            return false;
        };
        let text = self.slice(self.line, limit).to_vec();
        let mut spans = Vec::new();
        match kind {
            Kind::Latex => {
                if memchr::memmem::find(&text, b" & ").is_none()
                    && self.table.as_ref().is_some_and(|t| t.cols.len() > 1)
                {
                    return self.not_a_row();
                }
                let size = memchr::memmem::rfind(&text, b"\\\\").unwrap_or(text.len());
                let mut from = 0;
                for cell in text.get(..size).unwrap_or_default().split(|b| *b == b'&') {
                    spans.push((from, from + cell.len()));
                    from += cell.len() + 1;
                }
            }
            _ => {
                let mut from = 0;
                while let Some((_, start)) =
                    table::asciidoc_mark(text.get(from..).unwrap_or_default())
                {
                    let start = from + start;
                    let size = table::asciidoc_mark(text.get(start..).unwrap_or_default())
                        .map_or(text.len() - start, |(s, _)| s);
                    spans.push((start, start + size));
                    from = start + size;
                }
            }
        }
        let line_start = self.line;
        for (k, (from, to)) in spans.iter().enumerate() {
            let cell = text.get(*from..*to).unwrap_or_default();
            let start = from + cell.len() - cell.trim_ascii_start().len();
            let stop = from + cell.trim_ascii_end().len();
            let pair = self.table.as_ref().is_some_and(|t| t.cols.is_empty()) && k == 1;
            let named = if pair {
                let name = spans
                    .first()
                    .and_then(|(a, b)| text.get(*a..*b))
                    .unwrap_or_default();
                self.rules.compiled().field(name.trim_ascii())
            } else {
                None
            };
            match self.column_hit(k).or(named) {
                Some(hit)
                    if stop > start
                        && !value::is_nothing(text.get(start..stop).unwrap_or_default()) =>
                {
                    self.mask(
                        line_start + start,
                        line_start + stop,
                        hit,
                        Place::Inside,
                        "table",
                    );
                    self.pos = line_start + to;
                }
                _ => {
                    self.pos = self.pos.max(line_start + from);
                    self.plain(line_start + to, true);
                    self.inner = Inner::Text;
                }
            }
        }
        if line.is_none() {
            self.pos = limit;
            return false;
        }
        self.end_row(limit, true)
    }
}
