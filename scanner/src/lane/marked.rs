//! Rows of LaTeX, troff and AsciiDoc.

use crate::mask::Place;
use crate::table::Kind;
use crate::{table, value};

use super::{Frame, Inner, Lane, Until, VALUE_MAX};

/// The cells of a line.
struct Cells {
    /// The column of the first one.
    first: usize,
    spans: Vec<(usize, usize)>,
    /// The column in which the row goes on in the next line.
    goes_on: Option<usize>,
}

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
        let found = match kind {
            Kind::Latex => self.latex_cells(&text),
            _ => Some(self.asciidoc_cells(&text)),
        };
        let Some(cells) = found else {
            return self.not_a_row();
        };
        let line_start = self.line;
        for (k, (from, to)) in cells.spans.iter().enumerate() {
            let cell = text.get(*from..*to).unwrap_or_default();
            let start = from + cell.len() - cell.trim_ascii_start().len();
            let stop = from + cell.trim_ascii_end().len();
            let pair = self.table.as_ref().is_some_and(|t| t.cols.is_empty()) && k == 1;
            let named = if pair {
                let name = cells
                    .spans
                    .first()
                    .and_then(|(a, b)| text.get(*a..*b))
                    .unwrap_or_default();
                self.rules.compiled().field(name.trim_ascii())
            } else {
                None
            };
            match self.column_hit(cells.first + k).or(named) {
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
        self.broken = cells.goes_on;
        if line.is_none() {
            self.pos = limit;
            return false;
        }
        self.end_row(limit, true)
    }

    /// Cells with ` & ` between them in one line, or each in a line of its own, as psql's long
    /// tables have them: `\raggedright{…}`, `&`, and `\tabularnewline` behind the last one.
    fn latex_cells(&self, text: &[u8]) -> Option<Cells> {
        let column = self.row.broken;
        let bare = text.trim_ascii();
        let begins = bare.starts_with(LONG_CELL);
        if begins || column.is_some() {
            let ends = bare.ends_with(LONG_END);
            let body = bare.strip_suffix(LONG_END).unwrap_or(bare);
            let lead = text.len() - text.trim_ascii_start().len();
            let from = if begins { LONG_CELL.len() } else { 0 };
            let body = body.trim_ascii_end();
            let body = body.strip_suffix(b"}").unwrap_or(body);
            let column = column.unwrap_or(0);
            let separates = bare == b"&";
            return Some(Cells {
                first: column,
                spans: if separates {
                    Vec::new()
                } else {
                    vec![(lead + from, lead + body.len().max(from))]
                },
                goes_on: (!ends).then_some(column + usize::from(separates)),
            });
        }
        let single = self.table.as_ref().is_none_or(|t| t.cols.len() == 1);
        if memchr::memmem::find(text, b" & ").is_none() && !single {
            return None;
        }
        let size = memchr::memmem::rfind(text, b"\\\\").unwrap_or(text.len());
        let mut spans = Vec::new();
        let mut from = 0;
        for cell in text.get(..size)?.split(|b| *b == b'&') {
            spans.push((from, from + cell.len()));
            from += cell.len() + 1;
        }
        Some(Cells {
            first: 0,
            spans,
            goes_on: None,
        })
    }

    /// Cells with a mark before each. A row with fewer than its header goes on in the next line.
    fn asciidoc_cells(&self, text: &[u8]) -> Cells {
        let first = self.row.broken.unwrap_or(0);
        let mut spans = Vec::new();
        let mark = table::asciidoc_mark(text);
        if self.row.broken.is_some() {
            spans.push((0, mark.map_or(text.len(), |(start, _)| start)));
        }
        let mut from = 0;
        while let Some((_, start)) = table::asciidoc_mark(text.get(from..).unwrap_or_default()) {
            let start = from + start;
            let size = table::asciidoc_mark(text.get(start..).unwrap_or_default())
                .map_or(text.len() - start, |(s, _)| s);
            spans.push((start, start + size));
            from = start + size;
        }
        let columns = self.table.as_ref().map_or(0, |table| table.cols.len());
        let reached = first + spans.len();
        Cells {
            first,
            spans,
            goes_on: (reached < columns && reached > 0).then(|| reached - 1),
        }
    }
}

/// A cell of a long table, and what ends its last one.
const LONG_CELL: &[u8] = b"\\raggedright{";
const LONG_END: &[u8] = b"\\tabularnewline";
