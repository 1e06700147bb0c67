//! Rows of a table, whatever separates their cells.

use crate::rules::Hit;
use crate::table::{COLUMNS_MAX, Kind};

use super::create::Creating;
use super::delimited::Form;
use super::delimited::UNEVEN;
use super::encoded::Data;
use super::{Frame, Html, Inner, Lane, Level, Pair, Values};

/// What the text of a line may change, as it was before one that may be a row.
#[derive(Clone, Debug, Default)]
pub(super) struct BeforeRow {
    html: Html,
    path: Vec<(Level, Vec<u8>)>,
    pair: Option<Pair>,
    data: Option<Data>,
    values: Option<Values>,
    creating: Option<Creating>,
}

impl Lane {
    /// Keeps what the line may change: it is a row as far as anybody knows.
    pub(super) fn keep_before_row(&mut self) {
        let before = self.before_row.get_or_insert_default();
        before.html.clone_from(&self.html);
        before.path.clone_from(&self.path);
        before.values.clone_from(&self.values);
        before.creating.clone_from(&self.creating);
        (before.pair, before.data) = (self.pair, self.data);
    }

    /// Reads on in a row of the table.
    pub(super) fn cells(&mut self, end: bool) -> bool {
        let Some(kind) = self.table.as_ref().map(|t| t.kind) else {
            self.frame = Frame::Line;
            return true;
        };
        match kind {
            Kind::Delimited { by, quote, lead } => self.delimited(Form { by, quote, lead }, end),
            Kind::Aligned { .. } if self.row.uneven => self.delimited(UNEVEN, end),
            Kind::Aligned { boxed } => self.aligned(boxed, end),
            Kind::Spaced | Kind::Ruled => self.spaced(kind == Kind::Ruled, end),
            Kind::Expanded | Kind::Expanded0 => self.expanded(end),
            Kind::Latex => self.marked(end, Kind::Latex),
            Kind::Asciidoc => self.marked(end, Kind::Asciidoc),
        }
    }

    pub(super) fn column_hit(&self, index: usize) -> Option<Hit> {
        let table = self.table.as_ref()?;
        match table.cols.get(index) {
            Some(col) => col.hit,
            // A separator inside of a cell has moved the cells to the right.
            None if matches!(table.kind, Kind::Delimited { .. }) => {
                table.cols.last().and_then(|c| c.hit)
            }
            // Behind the last column that is told apart everything counts as protected.
            None if table.cols.len() >= COLUMNS_MAX => table.cols.iter().find_map(|c| c.hit),
            None => None,
        }
    }

    /// The line is no row after all: it is text from its beginning, and is read as such. What of it
    /// was looked at as a cell depends on how it was cut.
    pub(super) fn not_a_row(&mut self) -> bool {
        self.frame = Frame::Line;
        self.row.is_row = false;
        if let Some(before) = self.before_row.take()
            && !self.line_cut
        {
            let before = *before;
            (self.html, self.path) = (before.html, before.path);
            (self.pair, self.data) = (before.pair, before.data);
            (self.values, self.creating) = (before.values, before.creating);
            // None goes on below a table.
            self.lists = None;
            self.inner = Inner::Text;
            self.pos = self.line;
        }
        true
    }

    /// Whether a cell is nothing but a protected key and its colon, as no value is.
    pub(super) fn is_key(&self, from: usize, to: usize) -> bool {
        let name = self.slice(from, to).strip_suffix(b":");
        name.is_some_and(|name| self.rules.compiled().field(name).is_some())
    }

    /// Whether what stands here is read as text, or may turn out to be.
    pub(super) fn reads_text(&self) -> bool {
        self.frame == Frame::Line || self.may_be_text()
    }

    /// Whether nothing has been seen yet that tells the row from other text.
    pub(super) fn may_be_text(&self) -> bool {
        self.frame == Frame::Row && self.row.index == 0 && self.row.separators == 0
    }

    /// Whether the cursor may go back in the row before it is known to be one: what follows then is a
    /// line of its own.
    pub(super) fn may_go_back(&self) -> bool {
        let kind = self.table.as_ref().map(|table| table.kind);
        let separated = matches!(kind, Some(Kind::Delimited { .. })) || self.row.uneven;
        separated && self.row.index == 0 && !self.row.opened
    }

    /// The row's line ends at `at`.
    pub(super) fn end_row(&mut self, at: usize, is_row: bool) -> bool {
        self.row.is_row = is_row;
        self.lists = None;
        if self.byte(at) == Some(b'\n') {
            self.end_line(at);
            self.pos = at + 1;
        } else {
            self.pos = at;
        }
        true
    }

    pub(super) fn column_hit_delimited(&self, lead: bool) -> Option<Hit> {
        let index = if lead {
            self.row.index.checked_sub(1)?
        } else {
            self.row.index
        };
        self.column_hit(index)
            .or_else(|| self.column_hit(self.row.broken? + index))
    }
}

pub(super) fn trimmed(rest: &[u8], size: usize) -> usize {
    rest.get(..size).unwrap_or_default().trim_ascii_end().len()
}
