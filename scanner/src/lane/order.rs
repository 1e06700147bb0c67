//! Rows on a screen whose cells stand in no fixed columns: how many they are tells the table, and
//! their order the column.
//!
//! That are those of CSV, and of tables with bars that nobody aligned. A pager may show a part of a
//! row; then a cell is protected if it may be one of a protected column.

use crate::rules::Hit;
use crate::table::{COLUMNS_MAX, Col, Kind, Table};

use super::delimited::{Form, cells, is_strict};

/// The table that a line is a row of by the number of its cells, or by `parts` a part of a row: what
/// the line shows of it, and the whole table where it shows all.
pub(super) fn row_of<'a>(
    tables: impl Iterator<Item = &'a Table> + Clone,
    line: &[u8],
    parts: bool,
) -> Option<(Table, Option<Table>)> {
    let mut best: Option<(Fit, &Table, usize)> = None;
    for table in tables.clone() {
        let Some((fit, cells)) = fit(table, line, parts) else {
            continue;
        };
        if best.is_none_or(|(before, ..)| fit < before) {
            best = Some((fit, table, cells));
        }
    }
    let (fitting, first, count) = best?;
    let alike = tables.filter(|t| fit(t, line, parts).is_some_and(|(f, _)| f == fitting));
    if fitting != Fit::Part {
        let mut table = first.clone();
        for other in alike.filter(|t| is_like(t, first) && t.columns == first.columns) {
            table.join(other.clone());
        }
        return Some((table.clone(), Some(table)));
    }
    let Kind::Delimited { by, quote, .. } = first.kind else {
        return None;
    };
    let kind = Kind::Delimited {
        by,
        quote,
        lead: false,
    };
    let hits = part_of(alike.filter(|t| is_like(t, first)), count);
    let cols = hits.into_iter().map(|hit| Col {
        start: 0,
        end: 0,
        hit,
    });
    let mut table = Table::of(kind, cols.collect(), count);
    table.airy = first.airy;
    Some((table, None))
}

/// How well a line fits a table, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It has as many cells.
    Whole,
    /// It has more: a separator stands in one of them.
    More,
    /// It has fewer.
    Part,
}

/// How a line fits a table whose cells a byte separates, and how many cells it has; `None`: it does
/// not.
fn fit(table: &Table, line: &[u8], parts: bool) -> Option<(Fit, usize)> {
    let Kind::Delimited { by, quote, lead } = table.kind else {
        return None;
    };
    if matches!(by, 0 | b' ') {
        return None;
    }
    let separators = memchr::memchr_iter(by, line);
    let airy = |at: usize| line.get(at + 1) == Some(&b' ');
    // A space stands behind each separator of a sentence.
    let loose = by == b'\t' || table.airy;
    if separators.clone().next().is_none() || !loose && separators.clone().all(airy) {
        return None;
    }
    let trimmed = line.trim_ascii_end();
    let form = Form { by, quote, lead };
    if lead && line.first() == Some(&by) {
        let inner = trimmed.strip_suffix(&[by]).unwrap_or(trimmed);
        let count = cells(inner, form, true)?.checked_sub(1)?;
        match count.cmp(&table.columns) {
            std::cmp::Ordering::Equal => return Some((Fit::Whole, count)),
            std::cmp::Ordering::Greater => return Some((Fit::More, count)),
            std::cmp::Ordering::Less => {}
        }
    }
    let count = cells(line.strip_suffix(b"\r").unwrap_or(line), form, true)?;
    if !lead && count == table.columns {
        return Some((Fit::Whole, count));
    }
    if !lead && count > table.columns {
        return Some((Fit::More, count));
    }
    let sentence = is_strict(by) && !loose && separators.clone().any(airy);
    (parts && !sentence && count <= table.columns + 2 * usize::from(lead))
        .then_some((Fit::Part, count))
}

/// Whether rows of two tables look alike, but for how many cells they have.
fn is_like(a: &Table, b: &Table) -> bool {
    let form = |t: &Table| match t.kind {
        Kind::Delimited { by, lead, .. } => Some((by, lead)),
        _ => None,
    };
    form(a) == form(b)
}

/// What `count` cells may be that stand beside each other in a row of any of `tables`.
fn part_of<'a>(tables: impl Iterator<Item = &'a Table>, count: usize) -> Vec<Option<Hit>> {
    let mut hits = vec![None; count.min(COLUMNS_MAX)];
    for table in tables {
        let lead = usize::from(matches!(table.kind, Kind::Delimited { lead: true, .. }));
        mark_part(&mut hits, table, lead, table.columns + 2 * lead, count);
    }
    hits
}

/// Marks those of `count` cells that may be protected ones of a table, whose first column is the one
/// behind `before` others of `all`.
pub(super) fn mark_part(
    hits: &mut [Option<Hit>],
    table: &Table,
    before: usize,
    all: usize,
    count: usize,
) {
    let shifts = all.saturating_sub(count);
    let named = table.cols.iter().enumerate();
    let named = named.filter_map(|(k, col)| Some((k + before, col.hit?)));
    for (column, hit) in named {
        // More columns than are told apart end in one that stands for all of them.
        let last = if column + 1 == COLUMNS_MAX {
            usize::MAX
        } else {
            column + 1
        };
        let from = column.saturating_sub(shifts);
        for cell in hits.iter_mut().take(last).skip(from) {
            *cell = cell.or(Some(hit));
        }
    }
}
