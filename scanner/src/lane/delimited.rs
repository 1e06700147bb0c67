//! Rows whose cells a byte separates: CSV and its kin.
//!
//! Not everybody who writes such rows quotes: `psql -A` does not. A row with more cells than its
//! header has a separator in some cell, and nobody can say in which. Everything from the first
//! protected column to the last one, counted from the end, is masked in it.

use crate::mask::Place;
use crate::rules::Hit;
use crate::table::{COLUMNS_MAX, Kind, Table, header, is_dashes};
use crate::{value, work};

use super::{Frame, Inner, LINE_CONTEXT, Lane, VALUE_MAX};

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

/// What separates cells, what quotes them, and whether rows begin with a separator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) by: u8,
    pub(super) quote: u8,
    pub(super) lead: bool,
}

/// Bars that do not stand under those of the header.
pub(super) const UNEVEN: Form = Form {
    by: b'|',
    quote: 0,
    lead: false,
};

impl Lane {
    pub(super) fn delimited(&mut self, form: Form, end: bool) -> bool {
        let cell = self.row.cell;
        let Some(opens) = self.begin_cell(form, end) else {
            self.hold = self.hold.min(cell);
            self.hold_separator(cell);
            return false;
        };
        let unclear = self.unclear_hit();
        let hit = unclear.or_else(|| self.column_hit_delimited(form.lead));
        let found = self.cell_end(form, opens, end);
        let (limit, closed) = match found {
            Some(at) => (at, true),
            None => (self.view.text.len(), end),
        };
        if self.row.uneven && self.row.doubt == Doubt::Uncounted {
            // `ssn | …` may be a name and its value.
            let name = self.slice(cell, limit).trim_ascii();
            let named = found.is_some()
                && self.row.index == 0
                && self.rules.compiled().field(name).is_some();
            if named || !self.is_simple(limit) {
                match self.has_all_bars(end) {
                    Some(true) if !named => {}
                    Some(_) => return self.not_a_row(),
                    None => {
                        self.hold = self.hold.min(cell);
                        return false;
                    }
                }
            }
            self.row.counted = limit;
        }
        if self.row.dropped {
            self.pass_to(self.pos);
            self.drop_to(limit);
            self.pos = limit;
            if found.is_none() {
                self.row.is_row = true;
                return false;
            }
            return self.next_cell(limit, form.by);
        }
        if self.row.few {
            return self.not_a_row();
        }
        let newline = found.is_none() || self.byte(limit) == Some(b'\n');
        let single = self.table.as_ref().is_some_and(Table::is_single);
        // A line without a separator is text. Of a cell of several lines something has left.
        let alone = self.row.index == 0 && !single && self.row.broken.is_none();
        let lines = || found.is_some() && self.row.opened && self.has_lines(limit);
        if closed && newline && alone && !lines() {
            return self.not_a_row();
        }
        let Some(hit) = hit else {
            return self.plain_cell(form, found, (limit, closed));
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
        // Behind the last column there is none: what stands there belongs to its cell.
        let columns = self.table.as_ref().map_or(0, |table| table.columns);
        let parts = !form.lead && self.row.index + 1 == columns && !newline;
        if !self.masked_cell(form, hit, limit, unclear.is_none() && !parts) {
            return self.not_a_row();
        }
        self.pos = limit;
        if found.is_none() {
            self.row.is_row = true;
            return false;
        }
        self.next_cell(limit, form.by)
    }

    /// Where the line may be none of the table after all, the separator before `cell` is text, and
    /// what stands before it may be part of a value: nothing more of the line leaves.
    pub(super) fn hold_separator(&mut self, cell: usize) {
        let dormant = self
            .table
            .as_ref()
            .is_some_and(|table| table.dormant.is_some());
        if (dormant || self.row.uneven) && self.row.index > 0 {
            self.hold = self.hold.min(self.line.min(cell - 1));
        }
    }

    /// Looks at how a cell begins, and counts its row where it has to be counted before. Whether
    /// it is quoted; `None`: more is needed.
    fn begin_cell(&mut self, form: Form, end: bool) -> Option<bool> {
        let cell = self.row.cell;
        if self.row.index > 0 && self.row.scan <= cell {
            let space = match self.byte(cell) {
                None if !end => return None,
                next => next == Some(b' '),
            };
            self.row.airy = space && (self.row.airy || self.row.index == 1);
            self.row.spaced |= space && self.row.index == 1;
        }
        if self.row.uneven
            && self.row.doubt == Doubt::Uncounted
            && self.counts_at() <= self.row.index
            && !self.may_be_uneven(end)?
        {
            self.row.few = true;
            return Some(false);
        }
        if self.row.doubt == Doubt::Uncounted && self.counts_at() <= self.row.index {
            match self.reads_like_text(form, end)? {
                true => {}
                false => self.row.doubt = self.count_row(form, end)?,
            }
        }
        self.opens_quote(form, end)
    }

    /// Whether the first cell of a line whose bars do not stand under those of the header may be
    /// protected: a terminal's question does not wait for its answer. `None`: more is needed.
    fn may_be_uneven(&self, end: bool) -> Option<bool> {
        if self.row.index > 0 || !self.pty {
            return Some(true);
        }
        let rest = self.slice(self.row.cell, self.view.text.len());
        let near = rest.get(..LINE_CONTEXT).unwrap_or(rest);
        let word = near.iter().position(|b| matches!(b, b' ' | b'|' | b'\n'));
        let (last, next) = match word {
            None => return (end || near.len() == LINE_CONTEXT).then_some(false),
            Some(size) => (near.get(..size)?.last(), near.get(size..)?),
        };
        let asks = |b: &u8| matches!(b, b'$' | b'#' | b'%' | b'>' | b':' | b'?' | b')' | b']');
        let question = last.is_none_or(asks);
        match next {
            [b'|', ..] => Some(true),
            [b' '] if !end && !question => None,
            [b' ', b'|', ..] => Some(!question),
            _ => Some(false),
        }
    }

    /// Whether a line of which a cell is known already has as many bars as a row. `None`: more is
    /// needed.
    fn has_all_bars(&self, end: bool) -> Option<bool> {
        if self.row.index == 0 {
            return Some(false);
        }
        if self.row.separators > 0 {
            return Some(true);
        }
        let rest = self.slice(self.line, self.view.text.len());
        let near = rest.get(..LINE_CONTEXT).unwrap_or(rest);
        let line = memchr::memchr(b'\n', near);
        if line.is_none() && !end && near.len() < LINE_CONTEXT {
            return None;
        }
        let line = near.get(..line.unwrap_or(near.len())).unwrap_or_default();
        let columns = self.table.as_ref().map_or(0, |table| table.columns);
        Some(memchr::memchr_iter(b'|', line).count() + 1 == columns)
    }

    /// Whether what is not known yet of a cell, up to `limit`, reads the same in a cell and in a
    /// line of text: no key, no quote, and nothing that a shell is told (`$ a | b`).
    fn is_simple(&self, limit: usize) -> bool {
        let cell = self.row.cell;
        let near = |at: usize, back: usize| {
            let at = at.checked_sub(back).filter(|at| *at >= cell)?;
            self.byte(at)
        };
        (self.row.counted.max(cell)..limit).all(|at| {
            let last = near(at, 1).unwrap_or(b' ');
            match self.byte(at) {
                // Behind it the cursor is where the line began.
                Some(b'\r') => false,
                // `grep -n` numbers lines.
                Some(b' ') if last == b':' => near(at, 2).is_some_and(|b| b.is_ascii_digit()),
                Some(b' ') => !matches!(last, b'$' | b'#' | b'%' | b'>'),
                Some(b'-') => last != b'-',
                Some(b'\'') => last.is_ascii_alphanumeric(),
                Some(b'"' | b'`' | b'=' | b'<' | b'{' | b'[' | b'(' | b'\\') => false,
                next => last != b':' || next.is_some_and(|b| b.is_ascii_digit()),
            }
        })
    }

    /// Whether the line is a sentence as far as it is known: a space stands behind each of its
    /// separators, and behind none in the rows before. `None`: more is needed.
    fn reads_like_text(&self, form: Form, end: bool) -> Option<bool> {
        let known = |table: &Table| table.airy || table.rows == 0;
        if !is_strict(form.by)
            || self.row.broken.is_some()
            || self.table.as_ref().is_none_or(known)
            || self.byte(self.row.cell) == Some(form.quote)
        {
            return Some(false);
        }
        if self.row.index > 0 {
            return Some(self.row.airy);
        }
        let rest = self.slice(self.row.cell, self.view.text.len());
        let near = rest.get(..VALUE_MAX).unwrap_or(rest);
        let Some(at) = memchr::memchr2(form.by, b'\n', near) else {
            return (end || near.len() == VALUE_MAX).then_some(false);
        };
        match near.get(at + 1) {
            None if !end && near.len() < VALUE_MAX => None,
            next => Some(near.get(at) == Some(&form.by) && next == Some(&b' ')),
        }
    }

    /// Where the cell ends, if that is known. What was looked at is not looked at again.
    fn cell_end(&mut self, form: Form, opens: bool, end: bool) -> Option<usize> {
        let Form { by, quote, lead } = form;
        let cell = self.row.cell;
        let from = self.row.scan.max(cell);
        let mut at = from;
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
                self.row.opened = true;
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
        work::count(at.saturating_sub(from));
        self.row.scan = at;
        found
    }

    /// A cell that is not protected: keys and detectors.
    fn plain_cell(
        &mut self,
        form: Form,
        found: Option<usize>,
        (limit, closed): (usize, bool),
    ) -> bool {
        if self.row.opened && is_strict(form.by) {
            let sure = self.open_lines(form, found.is_some(), limit, closed);
            if sure < limit {
                if self.pos < sure {
                    self.plain(sure, false);
                }
                if !closed {
                    self.hold = self.hold.min(sure);
                    return false;
                }
            }
        }
        if (self.pos < limit || closed) && !self.plain(limit, closed) {
            return false;
        }
        if self.frame != Frame::Row {
            return true; // The cursor went back.
        }
        let Some(at) = found else {
            return false;
        };
        let opened = matches!(self.inner, Inner::Container { .. });
        let ends = self.byte(at) == Some(b'\n');
        let last = self.slice(self.row.cell, at).trim_ascii_end().last();
        // A list may have the byte that separates cells in it, and may go on in the next line.
        if !opened || ends && self.row.index > 0 && !matches!(last, Some(b'[' | b'{')) {
            self.inner = Inner::Text;
        }
        self.next_cell(at, form.by)
    }

    /// Masks a cell. `false`: the only one of a line that is no row after all.
    fn masked_cell(&mut self, form: Form, hit: Hit, limit: usize, whole: bool) -> bool {
        let (mut from, mut to) = (self.row.cell, limit);
        if self.byte(to.wrapping_sub(1)) == Some(b'\r') && to > from {
            to -= 1;
        }
        let content = self.slice(from, to).trim_ascii();
        let word = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b' ');
        let single = self.table.as_ref().is_some_and(Table::is_single);
        if single && (content.iter().all(word) || self.is_key(from, to)) {
            return false;
        }
        from = to - self.slice(from, to).trim_ascii_start().len();
        to = from + self.slice(from, to).trim_ascii_end().len();
        if to - from >= 2
            && form.quote != 0
            && self.byte(from) == Some(form.quote)
            && self.byte(to - 1) == Some(form.quote)
        {
            from += 1;
            to -= 1;
        }
        // The line under a header of markdown.
        let rule = form.lead && self.table.as_ref().is_some_and(|t| t.rows == 0);
        let rule = rule && is_dashes(self.slice(from, to));
        if to > from && !rule && !value::is_nothing(self.slice(from, to)) {
            if whole {
                self.mask(from, to, hit, Place::Inside, "csv");
            } else {
                self.mask_part(from, to, hit, Place::Inside, "csv");
            }
        }
        true
    }

    /// Whether a line ends in the cell, which goes up to `limit`.
    fn has_lines(&self, limit: usize) -> bool {
        self.row.lines > 0 || memchr::memchr(b'\n', self.slice(self.row.cell, limit)).is_some()
    }

    /// Lines in a quote that nobody has closed yet: they may be rows. Where two in a row, or the
    /// last one, have the cells of a row, their protected ones are masked, and behind them those of
    /// every such line. Up to where what is left may be looked at as text.
    fn open_lines(&mut self, form: Form, found: bool, limit: usize, end: bool) -> usize {
        let table = self.table.as_ref();
        let Some((columns, (first, _))) = table.and_then(|t| Some((t.columns, t.span?))) else {
            return limit;
        };
        loop {
            let line = self.open_line(form.by, first, limit);
            // Something followed the closing quote: it was none.
            let broken = found && !line.whole && !self.row.quoted && self.row.lines > 0;
            let alike = line.cells == columns || line.cells > columns && self.row.alike;
            let doubt = broken
                || line.cells >= columns && self.row.alike
                || !found && end && alike && !line.whole;
            if !line.whole && !broken && (found || !end) {
                if found {
                    self.row.before = None;
                    return limit;
                }
                let waits = line.to.saturating_sub(self.row.cell) <= VALUE_MAX;
                let before = self.row.before.map(|before| before.from);
                let guard = before.or(line.guard);
                return guard.filter(|_| waits).unwrap_or(limit);
            }
            let before = self.row.before.take();
            let ended = end && !found && !line.whole;
            let twice = before.is_some() && (line.cells >= columns || ended);
            if twice || doubt {
                let last = line.open().filter(|_| !ended || doubt);
                for Open { from, to, index } in before.into_iter().chain(last) {
                    if self.pos < from {
                        self.plain(from, true);
                    }
                    self.mask_line(form.by, from, to, index, line.cells > columns || broken);
                }
                self.row.alike = true;
            } else if alike {
                self.row.before = line.open();
            }
            if broken {
                self.row.doubt = Doubt::Cells(0, usize::MAX);
            }
            if !line.whole {
                return limit;
            }
            self.row.lines += 1;
            self.row.counted = line.to + 1;
            self.row.seps = 0;
            self.row.guard = None;
        }
    }

    /// The last line of a cell that a quote has opened, as far as it is there.
    fn open_line(&mut self, by: u8, first: usize, limit: usize) -> OpenLine {
        let before = if self.row.lines == 0 {
            self.row.index
        } else {
            0
        };
        let from = self.row.counted.max(self.row.cell).min(limit);
        let mut guard = self.row.guard;
        let mut seps = self.row.seps;
        if guard.is_none() && before + seps >= first {
            guard = Some(from);
        }
        let newline = memchr::memchr(b'\n', self.slice(from, limit)).map(|size| from + size);
        let to = newline.unwrap_or(limit);
        work::count(to - from);
        for at in memchr::memchr_iter(by, self.slice(from, to)) {
            seps += 1;
            if before + seps == first {
                guard = Some(from + at + 1);
            }
        }
        self.row.guard = guard;
        self.row.seps = seps;
        self.row.counted = to;
        OpenLine {
            guard,
            to,
            whole: newline.is_some(),
            cells: before + seps + 1,
            index: first.max(before),
        }
    }

    /// Masks the cells of a line, from the one at `from` on, as if nothing in it were quoted: those
    /// of protected columns, or `all`.
    fn mask_line(&mut self, by: u8, from: usize, to: usize, index: usize, all: bool) {
        let mut at = from;
        let mut index = index;
        while at <= to {
            let size = memchr::memchr(by, self.slice(at, to)).unwrap_or(to - at);
            let any = || self.table.iter().flat_map(|t| &t.cols).find_map(|c| c.hit);
            let hit = self.column_hit(index).or_else(|| any().filter(|_| all));
            let text = self.slice(at, at + size);
            let start = at + (text.len() - text.trim_ascii_start().len());
            let end = at + text.trim_ascii_end().len();
            match hit {
                Some(hit) if end > start => {
                    self.mask_part(start, end, hit, Place::Inside, "csv");
                    self.pos = end;
                }
                _ => {
                    self.plain(at + size, true);
                }
            }
            index += 1;
            at += size + 1;
        }
        self.pos = self.pos.max(to);
    }

    fn next_cell(&mut self, at: usize, by: u8) -> bool {
        if self.byte(at) == Some(b'\n') {
            return self.last_cell(at, by);
        }
        self.row.index += 1;
        self.row.cell = at + 1;
        self.row.scan = at + 1;
        self.row.quoted = false;
        self.row.opened = false;
        self.row.lines = 0;
        self.row.counted = at + 1;
        self.row.seps = 0;
        self.row.guard = None;
        self.row.before = None;
        self.row.alike = false;
        self.row.closed_quote = false;
        self.row.dropped = false;
        self.pos = at + 1;
        true
    }

    /// The line of a row ends at `at`: whether it was all of it.
    fn last_cell(&mut self, at: usize, by: u8) -> bool {
        let cells = self.table.as_ref().map_or(0, |t| t.columns);
        let enough = self.row.index + 1 >= cells;
        let lacks = self.row.uneven && !enough;
        if lacks && self.row.separators == 0 {
            return self.not_a_row();
        }
        let is_row = lacks || enough && (self.row.index > 0 || by == 0 || cells == 1);
        let reached = self.row.broken.map_or(0, |k| k) + self.row.index;
        let broke = !enough
            && !lacks
            && !is_strict(by)
            && by != 0
            && reached > 0
            && reached + 1 < cells
            && !self.row.rest
            && self.table.as_ref().is_some_and(|t| t.dormant.is_none());
        let closes = self.row.broken.is_some() && reached + 1 == cells;
        let torn = self.torn_at(at, by);
        self.next_header(at, by);
        let rest = self.row.rest && !enough;
        if let Some(table) = self.table.as_mut().filter(|_| is_row || rest) {
            table.rests = if rest { table.rests + 1 } else { 0 };
            table.dormant = None;
            let exact = self.row.index + 1 == cells;
            table.airy |= self.row.spaced && (exact || table.rows == 0);
        }
        self.row.ragged = !enough && self.row.index > 0 && by != 0 && !self.row.airy;
        let done = self.end_row(at, is_row || broke || closes || torn || rest);
        self.broken = (broke || torn).then_some(reached);
        self.parts = if broke || torn { self.parts + 1 } else { 0 };
        if self.parts > PARTS_MAX {
            self.broken = None;
            self.torn = false;
            self.parts = 0;
        }
        done
    }

    /// The column of the row before that a line may go on with: its last one, where that is
    /// protected and nothing is quoted. A terminal's prompt does not wait.
    pub(super) fn open_column(&self) -> Option<usize> {
        let table = self.table.as_ref().filter(|_| !self.pty)?;
        let Kind::Delimited { by, lead, .. } = table.kind else {
            return None;
        };
        let (_, last) = table.span?;
        (!lead
            && !is_strict(by)
            && !matches!(by, 0 | b' ')
            && last + 1 == table.columns
            && table.rows > 0
            && table.misses == 0
            && table.dormant.is_none()
            && table.rests < PARTS_MAX)
            .then_some(last)
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
        // The fast path has to see one, too (`Grid::is_clear`).
        let is_field = |cell: &[u8]| compiled.may_end(cell) && compiled.field(cell).is_some();
        if !line.split(|b| *b == by).any(is_field) {
            return;
        }
        let Some(next) = header(compiled, line) else {
            return;
        };
        let same = |kind: &Kind| matches!(kind, Kind::Delimited { by: b, .. } if *b == by);
        if let Some(table) = self.table.as_mut().filter(|_| same(&next.kind)) {
            table.join(next);
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

    /// The first cell of a row before which its cells are counted: the first protected one. In the
    /// rest of a row that broke off it may be the first.
    fn counts_at(&self) -> usize {
        let Some(table) = &self.table else {
            return usize::MAX;
        };
        let Kind::Delimited { by, lead, .. } = table.kind else {
            return match table.span {
                Some((first, _)) if self.row.uneven => first.min(1),
                _ => usize::MAX,
            };
        };
        match table.span {
            _ if by == 0 => usize::MAX,
            // What goes on with a cell before the first protected one is no part of a value.
            Some((first, _)) if self.row.broken.is_some() => {
                usize::from(self.row.broken.is_some_and(|reached| reached < first))
            }
            // Behind an empty line it may be text, in which a separator is part of a value.
            Some((first, _)) if table.dormant.is_some() => first.min(1),
            // Whatever stands behind the last column is masked if that one is.
            Some((first, _)) if first + 1 < table.columns || lead => first + usize::from(lead),
            _ => usize::MAX,
        }
    }

    /// Counts the cells of the row, as soon as its line is whole; `None`: more is needed. In a
    /// line that is too long to be waited for everything is in doubt.
    fn count_row(&mut self, form: Form, end: bool) -> Option<Doubt> {
        let cell = self.row.cell;
        let len = self.view.text.len();
        let from = self.row.ahead.max(cell);
        let newline = memchr::memchr(b'\n', self.slice(from, len)).map(|size| from + size);
        work::count(newline.unwrap_or(len) - from);
        self.row.ahead = len;
        let size = newline.unwrap_or(len) - cell;
        let wide = self
            .table
            .as_ref()
            .is_some_and(|t| t.columns >= COLUMNS_MAX);
        let most = if wide { WIDE_MAX } else { VALUE_MAX };
        if size > most {
            // Lines of CSV may be as long as that where something is quoted.
            let near = self.slice(cell, cell + most);
            return Some(match cells(near, form, false) {
                None => Doubt::No,
                Some(_) => Doubt::Cells(self.row.index, usize::MAX),
            });
        }
        if newline.is_none() && !end {
            return None;
        }
        let line = self.slice(cell, cell + size);
        let line = if form.lead {
            let line = line.trim_ascii_end();
            line.strip_suffix(b"|").unwrap_or(line)
        } else {
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let Some(rest) = cells(line, form, true) else {
            return Some(Doubt::No);
        };
        let all = self.slice(self.line, cell + size);
        let padded = memchr::memmem::find(all, b" |").or(memchr::memmem::find(all, b"| "));
        let tight = self.row.uneven && padded.is_none();
        let table = self.table.as_ref()?;
        let (columns, (first, last)) = (table.columns, table.span?);
        let lead = usize::from(form.lead);
        let count = (self.row.index + rest).saturating_sub(lead);
        // A line with fewer cells goes on with the row that broke off.
        if count >= columns {
            self.row.broken = None;
            self.row.rest = false;
        }
        // Behind an empty line only a whole row goes on with the table.
        // Where its first bar stands under one of the header it may lack cells at its end.
        let loose = self.row.uneven && self.row.separators == 0;
        self.row.few = (table.dormant.is_some() || loose) && count < columns || tight;
        let broken = self.row.broken.unwrap_or(0);
        let more = (broken + count).saturating_sub(columns);
        Some(match (last + more).checked_sub(broken) {
            Some(to) if more > 0 => Doubt::Cells(first.saturating_sub(broken) + lead, to + lead),
            _ => Doubt::No,
        })
    }

    /// What a cell in doubt may be.
    pub(super) fn unclear_hit(&self) -> Option<Hit> {
        let Doubt::Cells(from, to) = self.row.doubt else {
            return None;
        };
        let inside = (from..=to).contains(&self.row.index);
        let cols = self.table.iter().flat_map(|table| &table.cols);
        cols.filter(|_| inside).find_map(|col| col.hit)
    }

    /// Whether the cell is quoted; `None`: more is needed. Where most do not quote, a quote counts
    /// that closes in its line, before a separator.
    fn opens_quote(&mut self, form: Form, end: bool) -> Option<bool> {
        let Form { by, quote, .. } = form;
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

/// A line of a cell that a quote has opened, counted as if nothing in it were quoted.
struct OpenLine {
    /// Where the first cell begins that may be protected, and which one it is.
    guard: Option<usize>,
    index: usize,
    to: usize,
    /// It has ended.
    whole: bool,
    cells: usize,
}

impl OpenLine {
    fn open(&self) -> Option<Open> {
        let (to, index) = (self.to, self.index);
        self.guard.map(|from| Open { from, to, index })
    }
}

/// What may be protected in such a line, and the first of its cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) index: usize,
}

/// Whether cells that these bytes separate are quoted where they have to be.
pub(super) fn is_strict(by: u8) -> bool {
    matches!(by, b',' | b';')
}

/// How many cells a line has, which is whole if it is `closed`; `None` where a quote goes on in the
/// next line.
pub(super) fn cells(line: &[u8], form: Form, closed: bool) -> Option<usize> {
    let Form { by, quote, lead } = form;
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
            // Tcl escapes it, and R.
            _ if by == b' ' && text.get(found - 1) == Some(&b'\\') => at = found + 1,
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
/// A row of very many columns is not waited for if it is longer: each of its cells costs room.
const WIDE_MAX: usize = 16 * 1024;
/// A longer cell is not quoted where most do not quote.
const QUOTED_MAX: usize = 4096;
