//! The fast path's rows: cells that a byte separates, and cells at fixed columns.
//!
//! A row is read here if it has exactly the cells of its header, none of them quoted, and no
//! suspect stands outside of the protected ones. Any other line is the byte machine's.

use std::ops::Range;

use super::delimited::is_strict;
use super::skim::{Gone, Piece, SPANS_MAX, Upcoming};
use super::{Lane, VALUE_MAX};
use crate::endings::Recent;
use crate::mask::Place;
use crate::rules::{Action, Compiled, Hit, Mask, Rules};
use crate::simd::rows::{self, Next, Rows, Shape};
use crate::simd::{self, Separators, Span};
use crate::sink::How;
use crate::suspect::{Look, Suspects};
use crate::table::{self, COLUMNS_MAX, Kind, Table};
use crate::value;

/// A table as it is needed for its rows.
#[derive(Debug, Default)]
pub(super) struct Grid {
    kind: Option<Kind>,
    cells: usize,
    /// The protected columns, in order.
    hits: Vec<Column>,
    /// Delimited: rows with a space behind their first separator are the byte machine's.
    notes_air: bool,
    /// Aligned: where separators stand in a row, also as a bitmap.
    seps: Vec<usize>,
    wanted: Vec<u64>,
    /// The last of them.
    reach: usize,
    /// What is not one column wide.
    odd: Vec<u64>,
    /// Where the separating byte stands.
    bars: Vec<u64>,
    /// Delimited: where quotes stand, if there are any.
    quotes: Vec<u64>,
    /// Delimited: where cells end, from the beginning of the bitmaps, and which of them is next,
    /// after which suspect.
    by: Separators,
    next: usize,
    suspect: usize,
    /// The protected cells as plain rows have them: delimited by their numbers, aligned from where
    /// to where they are.
    numbered: Vec<(usize, How)>,
    placed: Vec<(usize, usize, How)>,
    /// Aligned: where what is suspect belongs to a protected cell, up to the last separator.
    inside: Vec<u64>,
    mapped: Option<Kind>,
    /// The bitmaps of the same text for other kinds: tables of several may take turns.
    others: Vec<Mapped>,
    /// The protected cells of rows that have not left.
    found: Vec<Span<How>>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    index: usize,
    hit: Hit,
    mask: Mask,
}

/// Bitmaps of a text, as rows of one kind need them.
#[derive(Debug)]
struct Mapped {
    kind: Kind,
    odd: Vec<u64>,
    bars: Vec<u64>,
    quotes: Vec<u64>,
    by: Separators,
}

impl Grid {
    /// Whether rows of this table can be read here.
    pub(super) fn knows(table: &Table) -> bool {
        if !(2..COLUMNS_MAX).contains(&table.cols.len()) || table.record {
            return false;
        }
        match table.kind {
            Kind::Delimited { by, lead, .. } => !lead && matches!(by, b',' | b';' | b'\t' | b'|'),
            Kind::Aligned { boxed } => {
                let starts = table.cols.first().map(|c| c.start);
                let inner = table.cols.get(..table.cols.len() - 1).unwrap_or_default();
                (!boxed || starts == Some(1)) && inner.iter().all(|c| c.end != usize::MAX)
            }
            Kind::Spaced
            | Kind::Ruled
            | Kind::Expanded
            | Kind::Expanded0
            | Kind::Latex
            | Kind::Asciidoc => false,
        }
    }

    /// The bitmaps are of another text.
    pub(super) fn forget(&mut self) {
        self.mapped = None;
        self.others.clear();
    }

    /// Gives back room that few texts need: what is kept between two reads is bounded.
    pub(super) fn shrink(&mut self) {
        if self.by.capacity() > NUMBERS_MAX {
            self.forget();
            self.by = Separators::default();
        }
    }

    /// Gets ready for rows of `table`.
    fn read(&mut self, rules: &Compiled, table: &Table, piece: Piece<'_>, from: usize) {
        self.kind = Some(table.kind);
        self.cells = table.cols.len();
        self.notes_air =
            !table.airy && matches!(table.kind, Kind::Delimited { by, .. } if is_strict(by));
        self.hits.clear();
        for (index, col) in table.cols.iter().enumerate() {
            if let Some(hit) = col.hit
                && let Action::Mask(mask) = rules.action(hit)
            {
                self.hits.push(Column { index, hit, mask });
            }
        }
        self.seps.clear();
        if table.kind == (Kind::Aligned { boxed: true }) {
            self.seps.push(0);
        }
        let ends = table.cols.iter().map(|c| c.end);
        self.seps.extend(ends.filter(|end| *end != usize::MAX));
        self.reach = self.seps.iter().copied().max().unwrap_or(0);
        self.numbered.clear();
        self.placed.clear();
        for col in &self.hits {
            let before = col.index.checked_sub(1).and_then(|k| self.seps.get(k));
            let from = before.map_or(0, |sep| sep + 1);
            let to = self.seps.get(col.index).copied().unwrap_or(usize::MAX);
            self.numbered.push((col.index, col.how(Place::Inside)));
            self.placed.push((from, to, col.how(Place::Cell)));
        }
        self.inside.clear();
        self.inside.resize(self.reach / 64 + 1, 0);
        for (from, to, _) in &self.placed {
            for at in from + 1..=(*to).min(self.reach) {
                if let Some(word) = self.inside.get_mut(at / 64) {
                    *word |= 1 << (at % 64);
                }
            }
        }
        self.wanted.clear();
        for sep in &self.seps {
            self.wanted.resize(self.wanted.len().max(sep / 64 + 1), 0);
            if let Some(word) = self.wanted.get_mut(sep / 64) {
                *word |= 1 << (sep % 64);
            }
        }
        if matches!(table.kind, Kind::Delimited { .. }) {
            self.need_maps(table.kind, piece);
            let from = from.saturating_sub(piece.base);
            self.next = self.by.ends().partition_point(|end| place(*end) < from);
            let suspects = self.by.suspects();
            self.suspect = suspects.partition_point(|at| (*at as usize) < from);
        }
    }

    /// Makes the bitmaps for rows of a kind, where they are not there. Plain aligned rows need none.
    fn need_maps(&mut self, kind: Kind, piece: Piece<'_>) {
        if self.mapped != Some(kind) && !self.recall(kind) {
            let text = piece.raw.get(piece.base..piece.limit).unwrap_or_default();
            self.map(kind, text, piece);
        }
        self.mapped = Some(kind);
    }

    /// Keeps the bitmaps of another kind, and takes those of this one where there are any.
    fn recall(&mut self, kind: Kind) -> bool {
        if let Some(before) = self.mapped {
            self.others.push(Mapped {
                kind: before,
                odd: std::mem::take(&mut self.odd),
                bars: std::mem::take(&mut self.bars),
                quotes: std::mem::take(&mut self.quotes),
                by: std::mem::take(&mut self.by),
            });
        }
        let Some(at) = self.others.iter().position(|m| m.kind == kind) else {
            return false;
        };
        let maps = self.others.swap_remove(at);
        self.odd = maps.odd;
        self.bars = maps.bars;
        self.quotes = maps.quotes;
        self.by = maps.by;
        true
    }

    fn map(&mut self, kind: Kind, text: &[u8], piece: Piece<'_>) {
        self.quotes.clear();
        if let Kind::Delimited { by, quote, .. } = kind {
            let newlines = piece.newlines();
            let maps = (newlines, piece.suspects_map());
            simd::separators(piece.width, text, (by, quote), maps, &mut self.by);
            if quote != 0 && self.by.quotes {
                simd::places(piece.width, text, quote, &mut self.quotes);
                simd::places(piece.width, text, by, &mut self.bars);
                for (bars, newlines) in self.bars.iter_mut().zip(newlines) {
                    *bars |= newlines;
                }
            }
        } else {
            simd::places(piece.width, text, b'|', &mut self.bars);
            simd::odd(piece.width, text, &mut self.odd);
            // Where there is nothing, nothing has to be asked for each row.
            if self.odd.iter().all(|word| *word == 0) {
                self.odd.clear();
            }
        }
    }

    /// Finds the protected cells of a row. Whether it has the cells of its header.
    #[inline]
    fn row(&mut self, piece: Piece<'_>, start: usize, end: usize) -> bool {
        match self.kind {
            Some(Kind::Delimited { by, .. }) => {
                self.need_ends(piece, start);
                self.delimited(piece, start, end, by)
            }
            Some(kind @ Kind::Aligned { boxed }) => {
                self.need_maps(kind, piece);
                self.aligned(piece, start, end, boxed)
            }
            _ => false,
        }
    }

    /// Lists where cells end, if that was not needed for the rows before the one at `start`.
    fn need_ends(&mut self, piece: Piece<'_>, start: usize) {
        if !self.by.is_listed() {
            let text = piece.raw.get(piece.base..piece.limit).unwrap_or_default();
            simd::list(piece.width, text, piece.newlines(), &mut self.by);
            let from = start.saturating_sub(piece.base);
            self.next = self.by.ends().partition_point(|end| place(*end) < from);
        }
    }

    fn delimited(&mut self, piece: Piece<'_>, start: usize, end: usize, by: u8) -> bool {
        let first = piece.byte(start);
        // Of a longer row the byte machine does not wait for the end.
        if end - start > VALUE_MAX
            || matches!(
                first,
                b'\n' | b'\r' | b'{' | b'[' | b'}' | b']' | b'<' | b'\\'
            )
            || (first == b' ' && by != b'|')
        {
            return false;
        }
        if !self.quotes.is_empty() && self.opens_quote(piece, start, end) {
            return false;
        }
        let ends = self.by.ends().get(self.next..self.next + self.cells);
        let is_last = |to: u32| piece.base + place(to) == end;
        let Some(ends) = ends.filter(|ends| ends.last().is_some_and(|to| is_last(*to))) else {
            return false;
        };
        // The byte machine notes once that rows have spaces behind their separators.
        let second = ends.first().map_or(end, |to| piece.base + place(*to) + 1);
        if self.notes_air && piece.byte(second) == b' ' {
            return false;
        }
        for col in &self.hits {
            let end_of = |k: usize| ends.get(k).map_or(end, |to| piece.base + place(*to));
            self.found.push(Span {
                from: col.index.checked_sub(1).map_or(start, |k| end_of(k) + 1),
                to: end_of(col.index),
                how: col.how(Place::Inside),
            });
        }
        self.next += self.cells;
        true
    }

    /// What rows look like that can be read at once, if there are such.
    fn plain<'a>(&'a self, piece: Piece<'a>) -> Option<Rows<'a, How>> {
        let shape = match self.kind {
            Some(Kind::Delimited { .. }) if self.quotes.is_empty() => Shape::Separated {
                by: &self.by,
                cells: self.cells,
                tight: self.notes_air,
                // Of a longer row the byte machine does not wait for the end.
                longest: VALUE_MAX,
                columns: &self.numbered,
            },
            Some(Kind::Aligned { boxed: false }) => Shape::Aligned {
                bars: &self.wanted,
                reach: self.reach,
                inside: &self.inside,
                columns: &self.placed,
            },
            _ => return None,
        };
        let text = piece.raw.get(piece.base..piece.limit).unwrap_or_default();
        rows::is_fast(piece.width).then_some(Rows {
            text,
            base: piece.base,
            suspects: piece.suspects_map(),
            shape,
        })
    }

    /// Whether a cell of a row begins with a quote.
    fn opens_quote(&self, piece: Piece<'_>, start: usize, end: usize) -> bool {
        let mut next = piece.within(&self.quotes, start, end);
        while let Some(at) = next {
            if at == start || self.is_bar(piece, at - 1) {
                return true;
            }
            next = piece.within(&self.quotes, at + 1, end);
        }
        false
    }

    fn is_bar(&self, piece: Piece<'_>, at: usize) -> bool {
        piece.within(&self.bars, at, at + 1).is_some()
    }

    fn aligned(&mut self, piece: Piece<'_>, start: usize, end: usize, boxed: bool) -> bool {
        let first = piece.byte(start);
        let begins = if boxed {
            let row = piece.raw.get(start..end).unwrap_or_default();
            let inner = row.iter().take(64).find(|b| !matches!(b, b' ' | b'|'));
            let cell = self.seps.get(1).and_then(|sep| row.get(1..*sep));
            first == b'|'
                && inner.is_some_and(|b| !matches!(b, b'-' | b':'))
                && cell.is_some_and(|cell| !cell.contains(&b'|'))
        } else {
            let second = piece.byte(start + 1);
            !(matches!(first, b'\n' | b'\r' | b'+' | b'(')
                || first == b'-' && matches!(second, b'-' | b'+'))
        };
        let odd = piece.within(&self.odd, start, end);
        if !begins || odd.is_some_and(|at| at + 1 != end || piece.byte(at) != b'\r') {
            return false;
        }
        if start + self.reach >= end || !piece.has(&self.bars, start, &self.wanted) {
            return false;
        }
        for col in &self.hits {
            let index = col.index;
            // A row in a box begins with a separator.
            let before = index.checked_sub(usize::from(!boxed));
            let from = before
                .and_then(|k| self.seps.get(k))
                .map_or(0, |sep| sep + 1);
            let to = self.seps.get(index + usize::from(boxed));
            self.found.push(Span {
                from: start + from,
                to: to.map_or(end, |sep| start + sep),
                how: col.how(Place::Cell),
            });
        }
        true
    }

    /// Whether nothing stands outside of the protected cells, those from `kept` on, that needs a
    /// closer look. A protected name in a delimited cell may make the row a header.
    #[inline]
    fn is_clear(
        &self,
        rules: &Compiled,
        (suspects, recent): (&mut Upcoming<'_>, &mut Recent),
        piece: Piece<'_>,
        (start, end): (usize, usize),
        kept: usize,
    ) -> bool {
        let cells = self.found.get(kept..).unwrap_or_default();
        let named = matches!(self.kind, Some(Kind::Delimited { .. }));
        while let Some(at) = suspects.before(end + 1) {
            let ends = |to| at == to || at + 1 == to && piece.byte(at) == b'\r';
            let inside = |c: &Span<How>| at > c.from && at <= c.to && !(named && ends(c.to));
            let clear = if cells.iter().any(inside) {
                !piece.is_control(at)
            } else {
                Suspects::look(rules, piece.raw, start, end, at, recent) == Look::Nothing
            };
            if !clear {
                return false;
            }
        }
        true
    }

    /// Cuts the cells from `kept` on to what is in them. Whether that is plain.
    #[inline]
    fn cut(&mut self, piece: Piece<'_>, kept: usize, row: u64) -> bool {
        let (quote, aligned) = match self.kind {
            Some(Kind::Delimited { quote, .. }) => (quote, false),
            _ => (0, true),
        };
        for cell in self.found.iter_mut().skip(kept) {
            let text = piece.raw.get(cell.from..cell.to).unwrap_or_default();
            let (before, value) = trim(text);
            if quote != 0 && value.first() == Some(&quote) {
                return false;
            }
            cell.from += before;
            cell.to = cell.from + value.len();
            cell.how.row = row;
            if value::is_nothing(value) {
                cell.to = cell.from;
            } else if aligned && table::is_dashes(value) {
                return false;
            }
        }
        true
    }
}

/// Lists of more numbers are not kept.
const NUMBERS_MAX: usize = 16 * 1024;

/// Where a cell ends, as the list has it.
fn place(end: u32) -> usize {
    (end & !simd::NEWLINE) as usize
}

/// What is left without white space around it, and how much of that stands before. Most cells have
/// none, or a few spaces.
#[inline]
fn trim(text: &[u8]) -> (usize, &[u8]) {
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    let is_space = |b: Option<&u8>| b.is_none_or(u8::is_ascii_whitespace);
    if let (Some(b'!'..), Some(b'!'..)) = (text.first(), text.last()) {
        return (0, text);
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let before = (u64::from_le_bytes(*first) ^ SPACES).trailing_zeros() / 8;
        let behind = (u64::from_le_bytes(*last) ^ SPACES).leading_zeros() / 8;
        let inner = text.get(before as usize..text.len() - behind as usize);
        if let Some(inner) = inner
            && !is_space(inner.first())
            && !is_space(inner.last())
        {
            return (before as usize, inner);
        }
    }
    let tail = text.trim_ascii_start();
    (text.len() - tail.len(), tail.trim_ascii_end())
}

impl Column {
    fn how(self, place: Place) -> How {
        How {
            hit: self.hit,
            mask: self.mask,
            place,
            row: 0,
        }
    }
}

impl Lane {
    /// Lets rows of the table go from the one at `at` on, as long as they are plain ones without a
    /// quote; where the next one begins, and how many there were.
    fn plain_rows(
        &mut self,
        rules: &Rules,
        piece: Piece<'_>,
        at: usize,
        grid: &mut Grid,
        gone: &mut Gone,
        format: &'static str,
    ) -> (usize, u64) {
        // What has left of a line is not written again.
        if gone.to > at || grid.plain(piece).is_none() {
            return (at, 0);
        }
        self.cover(rules, piece, gone, &mut grid.found, format);
        self.leave(piece, gone, at);
        let Some(plain) = grid.plain(piece) else {
            return (at, 0);
        };
        let mut next = Next {
            start: at - piece.base,
            end: grid.next,
            suspect: grid.suspect,
            rows: 0,
        };
        let recent = self.skim.recent.as_mut();
        let clear = |line: Range<usize>, at| {
            let rules = rules.compiled();
            Suspects::look(rules, piece.raw, line.start, line.end, at, recent) == Look::Nothing
        };
        self.sink
            .cover_rows(piece.raw, &plain, &mut next, clear, format, piece.width);
        (grid.next, grid.suspect) = (next.end, next.suspect);
        let at = piece.base + next.start;
        (gone.to, gone.counted) = (at, at);
        (at, next.rows)
    }

    /// Rows of the table, from the line at `from` on.
    pub(super) fn skim_rows(&mut self, piece: Piece<'_>, from: usize, gone: &mut Gone) -> usize {
        let rules = self.rules.clone();
        let mut grid = std::mem::take(&mut self.skim.grid);
        if let Some(table) = &self.table {
            grid.read(rules.compiled(), table, piece, from);
        }
        let format = match grid.kind {
            Some(Kind::Delimited { .. }) => "csv",
            _ => "table",
        };
        self.at_line(piece, gone, from);
        let (mut at, mut rows) = (from, 0);
        loop {
            let (next, plain) = self.plain_rows(&rules, piece, at, &mut grid, gone, format);
            at = next;
            rows += plain;
            let Some(end) = piece.newline(at) else { break };
            let kept = grid.found.len();
            let mut suspects = piece.suspects(at);
            let looks = (&mut suspects, self.skim.recent.as_mut());
            if !grid.row(piece, at, end)
                || !grid.is_clear(rules.compiled(), looks, piece, (at, end), kept)
                || !grid.cut(piece, kept, self.sink.row)
            {
                grid.found.truncate(kept);
                break;
            }
            self.after_line(gone, end);
            at = end + 1;
            rows += 1;
            if grid.found.len() + grid.hits.len() > SPANS_MAX {
                self.cover(&rules, piece, gone, &mut grid.found, format);
            }
        }
        self.cover(&rules, piece, gone, &mut grid.found, format);
        if let Some(table) = self.table.as_mut().filter(|_| rows > 0) {
            table.rows += rows;
            table.misses = 0;
            table.rests = 0;
            table.dormant = None;
        }
        self.skim.grid = grid;
        at
    }
}
