//! Tables: a header line says which columns are protected, and where the cells of a row are.

use unicode_width::UnicodeWidthChar;

use crate::name::{NAME_MAX, is_word};
use crate::rules::{Compiled, Hit};

/// The most columns that are told apart; a protected one behind them masks the rest of the row.
pub(crate) const COLUMNS_MAX: usize = 256;

/// A table whose header named a protected field.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) kind: Kind,
    pub(crate) cols: Vec<Col>,
    /// How many columns there are, also behind those that are told apart.
    pub(crate) columns: usize,
    /// The first protected column and the last.
    pub(crate) span: Option<(usize, usize)>,
    /// Rows that were read so far.
    pub(crate) rows: u64,
    /// Lines in a row that were no rows.
    pub(crate) misses: u32,
    /// Lines in a row that may go on with the last cell of the row before.
    pub(crate) rests: u32,
    /// An empty line, which may have stood in a cell: a row has to have all of its cells. So many
    /// lines came behind it that were none.
    pub(crate) dormant: Option<u32>,
    /// A space stands behind separators, as in a sentence.
    pub(crate) airy: bool,
    /// The line that looks like a header may be the first of a record.
    pub(crate) record: bool,
    /// Bars of its rows do not stand under those of its header.
    pub(crate) ragged: bool,
}

/// How cells are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By a byte, with quotes around a field that contains it.
    Delimited {
        /// The byte.
        by: u8,
        /// The quote.
        quote: u8,
        /// Rows begin with the byte (markdown).
        lead: bool,
    },
    /// By separators at fixed display columns.
    Aligned {
        /// Rows begin with a separator.
        boxed: bool,
    },
    /// By spaces: cells stand under their header.
    Spaced,
    /// By the runs of dashes under the header.
    Ruled,
    /// ` name | value` lines (psql's expanded display).
    Expanded,
    /// `name value` lines (psql's expanded display without borders).
    Expanded0,
    /// LaTeX rows: ` & ` between cells.
    Latex,
    /// AsciiDoc rows: `<l|` before each cell.
    Asciidoc,
}

/// One column: display columns from `start` to before `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Col {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) hit: Option<Hit>,
}

impl Table {
    fn new(kind: Kind, cols: Vec<Col>) -> Option<Self> {
        let columns = cols.len();
        Self::with(kind, cols, columns)
    }

    /// The same with more columns than are told apart.
    fn with(kind: Kind, cols: Vec<Col>, columns: usize) -> Option<Self> {
        let table = Self::of(kind, cols, columns);
        table.span.is_some().then_some(table)
    }

    /// The same, also where none is protected.
    pub(crate) fn of(kind: Kind, cols: Vec<Col>, columns: usize) -> Self {
        let mut table = Self {
            kind,
            cols,
            columns,
            span: None,
            rows: 0,
            misses: 0,
            rests: 0,
            dormant: None,
            airy: false,
            record: false,
            ragged: false,
        };
        table.tell_span();
        table
    }

    /// The header of another result has the same kind of rows: from here on the columns of both
    /// are protected.
    pub(crate) fn join(&mut self, mut next: Self) {
        for (col, before) in next.cols.iter_mut().zip(&self.cols) {
            col.hit = col.hit.or(before.hit);
        }
        self.cols = next.cols;
        self.columns = next.columns;
        self.tell_span();
    }

    fn tell_span(&mut self) {
        let is_hit = |col: &Col| col.hit.is_some();
        let first = self.cols.iter().position(is_hit);
        let last = self.cols.iter().rposition(is_hit);
        // The last one that is told apart stands for all behind it.
        let last = last.map(|last| {
            if last + 1 == COLUMNS_MAX {
                self.columns.max(COLUMNS_MAX) - 1
            } else {
                last
            }
        });
        self.span = first.zip(last);
    }

    /// The table of one column, whose header is a line that is nothing but its name.
    pub(crate) fn single(hit: Hit) -> Self {
        let col = Col {
            start: 0,
            end: usize::MAX,
            hit: Some(hit),
        };
        let kind = Kind::Delimited {
            by: 0,
            quote: b'"',
            lead: false,
        };
        Self::of(kind, vec![col], 1)
    }

    /// psql's expanded display.
    pub(crate) fn expanded(bare: bool) -> Self {
        let kind = if bare {
            Kind::Expanded0
        } else {
            Kind::Expanded
        };
        Self::of(kind, Vec::new(), 0)
    }

    /// Tab-separated rows of these columns (COPY).
    pub(crate) fn copied(hits: Vec<Option<Hit>>) -> Option<Self> {
        let cols = hits
            .into_iter()
            .map(|hit| Col {
                start: 0,
                end: 0,
                hit,
            })
            .collect();
        Self::new(
            Kind::Delimited {
                by: b'\t',
                quote: 0,
                lead: false,
            },
            cols,
        )
    }

    /// Rows of so many columns, whose header was too long to be looked at as a whole.
    pub(crate) fn long(by: u8, hits: Vec<Option<Hit>>, columns: usize) -> Option<Self> {
        let quote = if by == b'\t' { 0 } else { b'"' };
        let cols = hits.into_iter().map(|hit| Col {
            start: 0,
            end: 0,
            hit,
        });
        let lead = false;
        Self::with(Kind::Delimited { by, quote, lead }, cols.collect(), columns)
    }

    /// Whether only the first of two columns is protected: its name may stand before its value.
    pub(crate) fn names_its_row(&self) -> bool {
        self.columns == 2 && self.span == Some((0, 0))
    }

    pub(crate) fn is_single(&self) -> bool {
        self.cols.len() == 1
    }
}

/// The table that `line` is the header of, also behind what `grep -n`, `cat -n`, `diff` and their
/// like write before each line.
pub(crate) fn header(rules: &Compiled, line: &[u8]) -> Option<Table> {
    plain_header(rules, line).or_else(|| {
        let size = prefix(line)?;
        let (before, rest) = line.split_at_checked(size)?;
        prefixed(plain_header(rules, rest)?, before)
    })
}

/// The table whose lines have something before them.
fn prefixed(mut table: Table, before: &[u8]) -> Option<Table> {
    match table.kind {
        Kind::Delimited { lead: true, .. } => return None,
        // A number is a cell of its own.
        Kind::Delimited { by, .. } if before.last() == Some(&by) => {
            let (start, end, hit) = (0, 0, None);
            table.cols.insert(0, Col { start, end, hit });
            table.cols.truncate(COLUMNS_MAX);
            table.columns += 1;
            table.tell_span();
        }
        // `required: email,password` is said of something.
        Kind::Delimited { .. } if table.airy || !numbers(before) => return None,
        Kind::Delimited { .. } => {}
        Kind::Aligned { boxed: false } => {
            let width = String::from_utf8_lossy(before).chars().count();
            for col in &mut table.cols {
                col.start += width;
                col.end = col.end.saturating_add(width);
            }
            if let Some(first) = table.cols.first_mut() {
                first.start = 0;
            }
        }
        _ => return None,
    }
    Some(table)
}

/// Whether a line of some place is told, and not only whose it is.
fn numbers(before: &[u8]) -> bool {
    let last = before.len().checked_sub(2).and_then(|at| before.get(at));
    last.is_some_and(|b| b.is_ascii_digit() || *b == b'@')
}

/// How much of a line stands before what a tool found or numbered: `12:`, `a.csv:12:`, `a.txt:`,
/// `  12<TAB>`, `  12 `, and what `diff` says of a hunk.
pub(crate) fn prefix(line: &[u8]) -> Option<usize> {
    if line.starts_with(b"@@ -") {
        return Some(memchr::memmem::find(line, b" @@ ")? + 4);
    }
    let digits = |from: usize| {
        let rest = line.get(from..).unwrap_or_default();
        rest.iter().take_while(|b| b.is_ascii_digit()).count()
    };
    let spaces = line.iter().take_while(|b| **b == b' ').count();
    let number = digits(spaces);
    if number > 0 {
        let at = spaces + number;
        return match line.get(at) {
            Some(b':') if spaces == 0 => Some(at + 1),
            Some(b'\t' | b' ') => Some(at + 1),
            _ => None,
        };
    }
    let part = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'_' | b'-');
    let size = line.iter().take_while(part).count();
    if size == 0 || line.get(size) != Some(&b':') {
        return None;
    }
    let number = digits(size + 1);
    match line.get(size + 1 + number) {
        Some(b':') if number > 0 => Some(size + number + 2),
        Some(b' ') if number == 0 => Some(size + 1),
        _ => None,
    }
}

/// The table that `line` alone is the header of.
fn plain_header(rules: &Compiled, line: &[u8]) -> Option<Table> {
    if rules.fields.is_empty() || line.len() > 16384 || line.len() < 2 {
        return None;
    }
    let first = line.iter().position(|b| !b.is_ascii_whitespace())?;
    // Most lines are no headers, and say so with their first byte.
    let b = *line.get(first)?;
    let odd = matches!(
        b,
        b'{' | b'}' | b'<' | b'(' | b')' | b'/' | b'-' | b'.' | b',' | b';'
    ) || (b.is_ascii_digit() && !line.starts_with(b"2+^|"));
    if odd && !begins_oddly(line) {
        return None;
    }
    let shown = line.get(first..).unwrap_or_default();
    if shown.starts_with("┌─".as_bytes()) || shown.starts_with("┏━".as_bytes()) {
        // ClickHouse writes the names into the border.
        let text = String::from_utf8_lossy(line);
        let text = text.replace(['─', '━'], " ");
        let text = text.replace(['┌', '┬', '┐', '┏', '┳', '┓'], "│");
        return piped(rules, text.as_bytes());
    }
    if let Some(one) = doubled_bars(line) {
        return delimited(rules, &one, b'|');
    }
    if line.contains(&b'|') || memchr::memmem::find(line, b"\xe2").is_some() {
        if let Some(found) = asciidoc(rules, line) {
            return Some(found);
        }
        if let Some(found) = piped(rules, line) {
            return Some(found);
        }
    }
    if begins_records(line) {
        return Some(Table::of(Kind::Latex, Vec::new(), 0));
    }
    if memchr::memmem::find(line, b" & ").is_some() && line.ends_with(b"\\\\") {
        return latex(rules, line);
    }
    for by in SEPARATORS {
        if memchr::memchr(by, line).is_some() {
            let found = delimited(rules, line, by);
            if found.is_some() {
                return found;
            }
        }
    }
    if b == b'"'
        && let Some(found) = tcl(rules, line)
    {
        return Some(found);
    }
    spaced(rules, line)
}

/// A header of Jira, `||id||ssn||`, with one bar for two: its rows have one.
fn doubled_bars(line: &[u8]) -> Option<Vec<u8>> {
    let line = trim(line);
    let inner = line.strip_prefix(b"||")?.strip_suffix(b"||")?;
    let bars = memchr::memchr_iter(b'|', inner).count();
    let pairs = memchr::memmem::find_iter(inner, b"||").count();
    if pairs == 0 || bars != 2 * pairs {
        return None;
    }
    let mut one = vec![b'|'];
    let mut last = 0;
    for b in inner {
        if *b != b'|' || last != b'|' {
            one.push(*b);
        }
        last = *b;
    }
    one.push(b'|');
    Some(one)
}

/// Whether a header may begin with a cell that has no name, or a number in it: `,name`, `2fa,`.
pub(crate) fn begins_oddly(line: &[u8]) -> bool {
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    match (line.first(), line.get(1)) {
        (Some(b',' | b';'), Some(next)) => {
            next.is_ascii_alphabetic() || matches!(next, b'"' | b'_')
        }
        _ => digits > 0 && line.get(digits).is_some_and(u8::is_ascii_alphabetic),
    }
}

/// What may separate the names of a header, and the cells under it.
pub(crate) const SEPARATORS: [u8; 8] = [b'\t', b',', b';', b'|', 0x1f, b'^', b'~', 0x01];

/// What a cell of a header between two such bytes names: a field, or nothing that is protected.
/// `None`: it is no name.
pub(crate) fn name_of(rules: &Compiled, cell: &[u8], by: u8) -> Option<Option<Hit>> {
    let cell = trim(cell);
    let name = unquote(cell, b'"').or_else(|| unquote(cell, b'\''));
    // troff's italics.
    let name = name.or_else(|| cell.strip_prefix(b"\\fI")?.strip_suffix(b"\\fP"));
    let name = name.unwrap_or(cell);
    is_label(cell, name, by).then(|| named(rules, name))
}

/// Whether a cell of a header may be what a database calls an expression, or a name of somebody
/// who was free to choose: `a=b`, `@timestamp`, `Q&A`.
fn is_odd(cell: &[u8]) -> bool {
    let sign = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'+' | b'*' | b'=' | b'<' | b'>');
    (1..=64).contains(&cell.len())
        && cell.iter().any(sign)
        && !cell
            .iter()
            .any(|b| matches!(b, b'{' | b'}' | b'"' | b'\\' | b':' | b';' | b'`'))
        && !matches!(cell.first(), Some(b'-' | b'<' | b'/'))
}

/// Stands in a header for columns that are left out.
const ELLIPSIS: &[u8] = b"...";

/// The cells of a header; a separator between quotes is none.
fn split(line: &[u8], by: u8) -> Vec<&[u8]> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let quoted = rest
            .strip_prefix(b"\"")
            .filter(|_| by == b',' || by == b';');
        let closes = quoted.and_then(|text| memchr::memchr(b'"', text));
        let from = closes.map_or(0, |size| size + 2);
        let tail = rest.get(from..).unwrap_or_default();
        let Some(size) = memchr::memchr(by, tail) else {
            cells.push(rest);
            return cells;
        };
        cells.push(rest.get(..from + size).unwrap_or_default());
        rest = tail.get(size + 1..).unwrap_or_default();
    }
}

/// Whether a database may have named a column so: `count(*)>0`, `a->>'b'`.
fn is_expression(name: &[u8]) -> bool {
    name.len() <= 128
        && name.first().is_some_and(|b| b.is_ascii_alphabetic())
        && (name.contains(&b'(') || memchr::memmem::find(name, b"->").is_some())
}

/// Whether a cell of a header may stand for a column. Between tabs it may be an expression, and
/// nobody quotes what is no name.
fn is_label(cell: &[u8], name: &[u8], by: u8) -> bool {
    let letters = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b' ');
    let numbered = name.first().is_some_and(u8::is_ascii_digit)
        && name.iter().any(u8::is_ascii_alphabetic)
        && name.iter().all(letters);
    let expression = by == b'\t' && is_expression(name);
    let quoted = name.len() < cell.len();
    let may_be = is_name(bare(name))
        || quoted
        || numbered
        || expression
        || name.is_empty() && !matches!(by, b',' | b';');
    // A longer one may have been forgotten in part (`Names`).
    may_be && name.len() <= NAME_MAX
}

/// Whether a cell may be the name of a column.
pub(crate) fn is_name(cell: &[u8]) -> bool {
    cell.len() <= 128
        && cell.first().is_some_and(|b| {
            b.is_ascii_alphabetic() || matches!(b, b'_' | b'#' | b'?' | b'%') || *b >= 0x80
        })
        && cell.iter().all(|b| {
            b.is_ascii_alphanumeric()
                || *b >= 0x80
                || matches!(
                    b,
                    b'_' | b' '
                        | b'.'
                        | b'-'
                        | b'/'
                        | b'%'
                        | b'#'
                        | b'$'
                        | b'*'
                        | b'?'
                        | b'('
                        | b')'
                )
        })
}

/// The field that the header of a column names: marks around it, its type (`ssn:string`,
/// `ssn::text`) or unit (`amount (USD)`) behind it are no part of the name.
fn named(rules: &Compiled, cell: &[u8]) -> Option<Hit> {
    rules.field(cell).or_else(|| {
        let name = bare(cell);
        (name.len() < cell.len()).then(|| rules.field(name))?
    })
}

/// The name without what is no part of it.
fn bare(cell: &[u8]) -> &[u8] {
    let is_mark = |b: &&u8| matches!(b, b'*' | b'_' | b'`');
    let marks = cell.iter().take_while(is_mark).count();
    let marks = marks.min(cell.iter().rev().take_while(is_mark).count());
    let mut name = cell
        .get(marks..cell.len().saturating_sub(marks))
        .unwrap_or_default();
    if let Some(colon) = memchr::memchr(b':', name) {
        let kind = name.get(colon..).unwrap_or_default();
        let kind = kind.strip_prefix(b"::").or(kind.strip_prefix(b":"));
        if kind.is_some_and(|k| !k.is_empty() && k.iter().all(|b| is_word(*b) || *b == b'_')) {
            name = name.get(..colon).unwrap_or_default();
        }
    }
    if matches!(name.last(), Some(b')' | b']'))
        && let Some(open) = memchr::memrchr2(b'(', b'[', name)
        && let Some(before) = name.get(..open).and_then(|n| n.strip_suffix(b" "))
    {
        name = before.trim_ascii_end();
    }
    name
}

fn trim(cell: &[u8]) -> &[u8] {
    cell.trim_ascii()
}

fn unquote(cell: &[u8], quote: u8) -> Option<&[u8]> {
    if cell.len() >= 2 && cell.first() == Some(&quote) && cell.last() == Some(&quote) {
        cell.get(1..cell.len() - 1)
    } else {
        None
    }
}

fn delimited(rules: &Compiled, line: &[u8], by: u8) -> Option<Table> {
    let lead = by == b'|' && line.first() == Some(&b'|') && line.len() > 1;
    let inner = if lead {
        line.get(1..).unwrap_or_default()
    } else {
        line
    };
    let inner = if lead {
        inner.strip_suffix(b"|").unwrap_or(inner)
    } else {
        inner
    };
    let mut quote = b'"';
    let mut cols: Vec<Col> = Vec::new();
    let mut plain = true;
    let spaced = inner.windows(2).any(|w| w == [by, b' ']);
    let cells = split(inner, by);
    let columns = cells.len();
    // `cat password |`, `a.password ||`.
    if by == b'|' && !lead && cells.iter().filter(|cell| !trim(cell).is_empty()).count() < 2 {
        return None;
    }
    // The first column has no name, or a separator ends the line: but for lists in a program.
    let open = by == b',' && columns > 2 && !spaced;
    // What a database calls an expression is no name, but stands beside names.
    let mut odd = false;
    let mut named = false;
    for (at, cell) in cells.into_iter().enumerate() {
        let cell = trim(cell);
        named |= rules.field(cell).is_some();
        let outer = open && (at == 0 || at + 1 == columns);
        let hit = match name_of(rules, cell, by) {
            Some(hit) => hit,
            None if cell.is_empty() && outer || at >= COLUMNS_MAX => None,
            None if is_odd(cell) || cell == ELLIPSIS && at > 0 && at + 1 < columns => {
                odd = true;
                None
            }
            None => return None,
        };
        match (unquote(cell, b'"'), unquote(cell, b'\'')) {
            (Some(_), _) => {}
            (None, Some(_)) => quote = b'\'',
            (None, None) => plain = plain && !cell.contains(&b' '),
        }
        match cols.last_mut().filter(|_| at >= COLUMNS_MAX) {
            Some(last) => last.hit = last.hit.or(hit),
            None => cols.push(Col {
                start: 0,
                end: 0,
                hit,
            }),
        }
    }
    // A list in a sentence is not a header.
    if cols.len() < 2 || (spaced && by != b'|' && (!plain || cols.len() < 3)) {
        return None;
    }
    if odd && (!named || spaced || by != b'\t' && columns < 3) {
        return None;
    }
    if by == b'\t' && cols.iter().any(|c| c.hit.is_some()) {
        quote = 0;
    }
    let mut table = Table::with(Kind::Delimited { by, quote, lead }, cols, columns)?;
    table.airy = spaced;
    Some(table)
}

fn tcl(rules: &Compiled, line: &[u8]) -> Option<Table> {
    let inner = unquote(trim(line), b'"')?;
    let mut cols = Vec::new();
    let mut rest = inner;
    loop {
        let at = memchr::memmem::find(rest, b"\" \"");
        let cell = rest.get(..at.unwrap_or(rest.len())).unwrap_or_default();
        if !is_name(cell) {
            return None;
        }
        cols.push(Col {
            start: 0,
            end: 0,
            hit: named(rules, cell),
        });
        match at {
            Some(at) => rest = rest.get(at + 3..).unwrap_or_default(),
            None => break,
        }
    }
    if cols.len() < 2 {
        return None;
    }
    Table::new(
        Kind::Delimited {
            by: b' ',
            quote: b'"',
            lead: false,
        },
        cols,
    )
}

/// Whether a line begins what psql's expanded display is in LaTeX: a name and a value in each row,
/// the names centred, as no other table of psql has it.
pub(crate) fn begins_records(line: &[u8]) -> bool {
    let columns = line.strip_prefix(b"\\begin{tabular}");
    columns.is_some_and(|c| matches!(c, b"{cl}" | b"{c|l}" | b"{|c|l|}"))
}

fn latex(rules: &Compiled, line: &[u8]) -> Option<Table> {
    let body = line.strip_suffix(b"\\\\")?;
    let mut cols = Vec::new();
    for cell in body.split(|b| *b == b'&') {
        let mut name = trim(cell);
        name = name.strip_prefix(b"\\small").unwrap_or(name);
        while let Some(inner) = name
            .strip_prefix(b"\\textit{")
            .or_else(|| name.strip_prefix(b"\\textbf{"))
            .and_then(|c| c.strip_suffix(b"}"))
        {
            name = inner;
        }
        cols.push(Col {
            start: 0,
            end: 0,
            hit: rules.field(&without(name, b'\\')),
        });
    }
    Table::new(Kind::Latex, cols)
}

fn without(text: &[u8], byte: u8) -> Vec<u8> {
    text.iter().copied().filter(|b| *b != byte).collect()
}

/// The first AsciiDoc cell mark (`|`, `^l|`, `>l|`, `h|`) in `text`: its start and its end.
pub(crate) fn asciidoc_mark(text: &[u8]) -> Option<(usize, usize)> {
    for bar in memchr::memchr_iter(b'|', text) {
        match text.get(bar.saturating_sub(2)..bar) {
            Some([b'^' | b'<' | b'>', b'l' | b'h' | b'e' | b's']) => {
                return Some((bar - 2, bar + 1));
            }
            Some([] | [_, b' ']) => return Some((bar, bar + 1)),
            _ => {}
        }
    }
    None
}

/// Whether an aligned cell says nothing: part of the rule under a header, or the few dashes that
/// some write where there is no value.
pub(crate) fn is_rule_cell(cell: &[u8], rows: u64) -> bool {
    let one = |byte: u8| cell.iter().all(|b| *b == byte);
    (rows == 0 || cell.len() <= 3) && one(b'-') || rows == 0 && one(b'=')
}

/// Whether a cell is nothing but dashes: part of a rule.
pub(crate) fn is_dashes(cell: &[u8]) -> bool {
    cell.iter()
        .all(|b| matches!(b, b'-' | b'=' | b':' | b' ' | b'+' | b'|'))
}

fn asciidoc(rules: &Compiled, line: &[u8]) -> Option<Table> {
    if line.starts_with(b"2+^|Record ") {
        return Some(Table::of(Kind::Asciidoc, Vec::new(), 0));
    }
    if line.first() != Some(&b'^') {
        return None;
    }
    let mut cols = Vec::new();
    let mut rest = line;
    while let Some((_, from)) = asciidoc_mark(rest) {
        rest = rest.get(from..).unwrap_or_default();
        let size = asciidoc_mark(rest).map_or(rest.len(), |(start, _)| start);
        cols.push(Col {
            start: 0,
            end: 0,
            hit: rules.field(trim(rest.get(..size).unwrap_or_default())),
        });
    }
    Table::new(Kind::Asciidoc, cols)
}

/// Whether a character separates the cells of a table.
pub(crate) fn is_separator(c: char) -> bool {
    matches!(c, '|' | '│' | '┃' | '║' | '╎' | '┆' | '┊' | '╏' | '┇' | '┋')
}

/// Whether a line is the first or the last of a box.
pub(crate) fn is_border(line: &[u8]) -> bool {
    let line = trim(line);
    let corner = [
        &b"+-"[..],
        "┌─".as_bytes(),
        "╭─".as_bytes(),
        "┏━".as_bytes(),
        "╔═".as_bytes(),
    ];
    is_rule(line) && corner.iter().any(|corner| line.starts_with(corner))
}

/// What stands between the names and the values of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Bars,
    Spaces,
}

/// Whether a line is the header of a list of names and values: `Field | Value`, `Key  Value`.
pub(crate) fn heads_values(line: &[u8]) -> Option<Listing> {
    const VALUES: [&str; 6] = ["value", "values", "val", "setting", "content", "data"];
    if line.len() > 256 {
        return None;
    }
    let text = String::from_utf8_lossy(line);
    let bars = text.contains(is_separator);
    let cells: Vec<String> = if bars {
        let cells = text.split(is_separator).map(|c| c.trim().to_owned());
        cells.filter(|cell| !cell.is_empty()).collect()
    } else {
        groups(line).into_iter().map(|(_, _, name)| name).collect()
    };
    let [first, second] = cells.as_slice() else {
        return None;
    };
    let last = second.rsplit([' ', '_']).next().unwrap_or_default();
    let heads = is_name(bare(first.as_bytes())) && VALUES.contains(&&*last.to_ascii_lowercase());
    heads.then_some(if bars { Listing::Bars } else { Listing::Spaces })
}

/// How two lines of a name and a value stand below each other: their values begin in one column, or
/// end in one. `None`: they are not such lines.
pub(crate) fn pairs_below(above: &[u8], line: &[u8]) -> Option<Side> {
    let (above, line) = (groups(above), groups(line));
    let ([(name, _, _), (a, b, _)], [(below, _, _), (c, d, _)]) =
        (above.as_slice(), line.as_slice())
    else {
        return None;
    };
    match (a == c, b == d) {
        _ if name != below => None,
        (true, _) => Some(Side::Left),
        (false, true) => Some(Side::Right),
        (false, false) => None,
    }
}

/// On which side values are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Whether a line of a box has two cells, both with something in them.
pub(crate) fn is_boxed_pair(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    let inner = text.trim_matches(|c| is_separator(c) || c == ' ');
    text.starts_with(is_separator)
        && !is_rule(line)
        && inner.chars().filter(|c| is_separator(*c)).count() == 1
}

fn piped(rules: &Compiled, line: &[u8]) -> Option<Table> {
    // Node's `console.table` says `(index)`.
    let bracketed = |cell: &[u8]| {
        let inner = cell.strip_prefix(b"(").and_then(|c| c.strip_suffix(b")"));
        inner.is_some_and(is_name)
    };
    let boxed = trim(line).first() == Some(&b'|');
    let text = String::from_utf8_lossy(line);
    let shown = text.split(is_separator).filter(|c| !c.trim().is_empty());
    // A name and a bar at the end of a line (`cat password |`, `a.password ||`) are none.
    if !text.trim_start().starts_with(is_separator) && shown.count() < 2 {
        return None;
    }
    piped_with(rules, line, |cell| {
        is_name(bare(cell)) || is_expression(cell) || bracketed(cell) || boxed && cell == ELLIPSIS
    })
}

/// The same for a line that the rule under it says to be a header: whatever stands in its cells.
pub(crate) fn piped_above_rule(rules: &Compiled, line: &[u8]) -> Option<Table> {
    piped_with(rules, line, |cell| cell.len() <= 128)
}

fn piped_with(rules: &Compiled, line: &[u8], is_label: impl Fn(&[u8]) -> bool) -> Option<Table> {
    let text = String::from_utf8_lossy(line);
    let mut seps: Vec<usize> = Vec::new();
    let mut cells = vec![String::new()];
    let mut column = 0;
    let mut adjacent = 0;
    let mut last = ' ';
    for c in text.chars() {
        if is_separator(c) {
            if last != ' ' && !is_separator(last) {
                adjacent += 1;
            }
            seps.push(column);
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(c);
        }
        last = c;
        column += c.width().unwrap_or(0);
    }
    if seps.is_empty() || seps.len() > COLUMNS_MAX {
        return None;
    }
    let boxed = text.trim_start().starts_with(is_separator);
    // Cells without spaces around them are not aligned: a list with `|` between its fields.
    if adjacent > 0 || (!boxed && seps.len() + 1 != cells.len()) {
        return None;
    }
    let closed = boxed && cells.last().is_some_and(|c| c.trim().is_empty());
    let inner = cells
        .get(usize::from(boxed)..cells.len() - usize::from(closed))
        .unwrap_or_default();
    if inner
        .iter()
        .map(|c| c.trim().as_bytes())
        .any(|c| !c.is_empty() && !is_label(c))
    {
        return None;
    }
    let unpadded = inner.iter().any(|c| !c.is_empty() && !c.starts_with(' '));
    if unpadded
        && boxed
        && inner.iter().all(|c| !c.is_empty())
        && inner.iter().any(|c| c.trim() == c.as_str())
    {
        return None;
    }
    let mut cols = Vec::new();
    let mut edges = seps.iter().copied();
    let mut start = if boxed {
        edges.next().map_or(0, |s| s + 1)
    } else {
        0
    };
    for cell in inner {
        let end = edges.next().unwrap_or(usize::MAX);
        cols.push(Col {
            start,
            end,
            hit: named(rules, cell.trim().as_bytes()),
        });
        start = end.saturating_add(1);
    }
    if cols.len() < 2 && !boxed {
        return None;
    }
    Table::new(Kind::Aligned { boxed }, cols)
}

/// Groups of characters with fewer than two spaces between them: display start, display end, text.
fn groups(line: &[u8]) -> Vec<(usize, usize, String)> {
    let text = String::from_utf8_lossy(line);
    let mut found: Vec<(usize, usize, String)> = Vec::new();
    let mut column = 0;
    let mut spaces = 2;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if c == ' ' {
            spaces += 1;
        } else {
            if spaces >= 2 {
                found.push((column, column, String::new()));
            }
            if let Some(last) = found.last_mut() {
                if spaces == 1 {
                    last.2.push(' ');
                }
                last.2.push(c);
                last.1 = column + wide;
            }
            spaces = 0;
        }
        column += wide;
    }
    found
}

fn spaced(rules: &Compiled, line: &[u8]) -> Option<Table> {
    memchr::memmem::find(line, b"  ")?;
    // pandas says by it that more columns come below.
    let found = groups(line.strip_suffix(b"\\").unwrap_or(line));
    if found.len() < 2 || found.len() > COLUMNS_MAX {
        return None;
    }
    // pandas leaves out columns so, behind one of numbers without a name.
    let omits = found.len() > 3 || line.first() == Some(&b' ') && found.len() > 2;
    let inner = |at: usize| omits && at > 0 && at + 1 < found.len();
    if !found.iter().enumerate().all(|(at, (_, _, name))| {
        let name = name.as_bytes();
        // `2FA`, but not `2d`, which is a value.
        let numbered = name.first().is_some_and(u8::is_ascii_digit)
            && name.iter().any(u8::is_ascii_uppercase)
            && name
                .iter()
                .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        is_name(bare(name)) || numbered || name == ELLIPSIS && inner(at)
    }) {
        return None;
    }
    // `  password   set the password`: what a command can do.
    let words = |name: &str| name.split(' ').count();
    let told = match found.as_slice() {
        [_, (_, _, name)] => words(name) > 2 || words(name) > 1 && line.starts_with(b" "),
        _ => false,
    };
    if told || found.iter().any(|(_, _, name)| words(name) > 4) {
        return None;
    }
    let cols = found
        .iter()
        .map(|(start, end, name)| Col {
            start: *start,
            end: *end,
            hit: named(rules, name.as_bytes()),
        })
        .collect();
    Table::new(Kind::Spaced, cols)
}

/// Whether a line is a rule under a header: dashes, with anything that crosses them.
pub(crate) fn is_rule(line: &[u8]) -> bool {
    let line = trim(line);
    let Some(first) = line.first() else {
        return false;
    };
    if line.len() < 2 || !matches!(first, b'-' | b'+' | b'=' | b'|' | b':' | 0xe2) {
        return false;
    }
    let text = String::from_utf8_lossy(line);
    let mut dashes = 0;
    text.chars().all(|c| {
        let dash = matches!(c, '-' | '=' | '─' | '━' | '═' | '╌' | '┄' | '┈' | '╍');
        dashes += usize::from(dash);
        dash || matches!(
            c,
            '+' | '|'
                | ' '
                | ':'
                | '┼'
                | '├'
                | '┤'
                | '┌'
                | '┐'
                | '└'
                | '┘'
                | '┬'
                | '┴'
                | '╪'
                | '╞'
                | '╡'
                | '╬'
                | '╠'
                | '╣'
                | '╔'
                | '╗'
                | '╚'
                | '╝'
                | '╦'
                | '╩'
                | '╤'
                | '╧'
                | '╟'
                | '╢'
                | '╫'
                | '│'
                | '║'
                | '╭'
                | '╮'
                | '╰'
                | '╯'
                | '┏'
                | '┓'
                | '┗'
                | '┛'
                | '┣'
                | '┫'
                | '┳'
                | '┻'
                | '╋'
                | '┠'
                | '┨'
                | '╂'
                | '╀'
        )
    }) && dashes >= 2
}

/// The table of `above`, a header, and `line`, the runs of dashes under it.
pub(crate) fn ruled(rules: &Compiled, above: &[u8], line: &[u8]) -> Option<Table> {
    if rules.fields.is_empty() || !line.iter().all(|b| matches!(b, b'-' | b' ' | b'+')) {
        return None;
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (i, b) in line.iter().enumerate() {
        if *b == b'-' {
            match runs.last_mut() {
                Some(last) if last.1 == i => last.1 = i + 1,
                Some(_) | None => runs.push((i, i + 1)),
            }
        }
    }
    if runs.is_empty() || runs.len() > COLUMNS_MAX {
        return None;
    }
    // One run under one name: psql's single column, which begins with a space; a heading does not.
    let single = runs.len() == 1;
    if single && line.first() == Some(&b' ') {
        return None;
    }
    let text = String::from_utf8_lossy(above);
    let mut cols = Vec::new();
    for (k, (start, end)) in runs.iter().enumerate() {
        let until = runs.get(k + 1).map_or(usize::MAX, |next| next.0);
        let mut column = 0;
        let mut name = String::new();
        for c in text.chars() {
            if column >= *start && column < until {
                name.push(c);
            }
            column += c.width().unwrap_or(0);
        }
        let name = name.trim().trim_matches('|').trim();
        if !name.is_empty() && !is_name(bare(name.as_bytes())) {
            return None;
        }
        let end = if k + 1 == runs.len() {
            usize::MAX
        } else {
            *end
        };
        cols.push(Col {
            start: *start,
            end,
            hit: named(rules, name.as_bytes()),
        });
    }
    Table::new(Kind::Ruled, cols)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;
    use crate::rules::{Action, Mask, Rule, Rules, RulesBuilder};

    fn rules() -> Rules {
        let rule = Rule::new("r", Action::Mask(Mask::Redact))
            .field("ssn")
            .field("email")
            .field("account_number");
        RulesBuilder::new().rule(rule).build().unwrap()
    }

    fn kind(line: &str) -> Option<(Kind, Vec<usize>)> {
        let table = header(rules().compiled(), line.as_bytes())?;
        let hits = table
            .cols
            .iter()
            .enumerate()
            .filter(|(_, c)| c.hit.is_some())
            .map(|(k, _)| k)
            .collect();
        Some((table.kind, hits))
    }

    #[test]
    fn headers_are_told_from_sentences() {
        let csv = Kind::Delimited {
            by: b',',
            quote: b'"',
            lead: false,
        };
        assert_eq!(kind("id,ssn,email"), Some((csv, vec![1, 2])));
        assert_eq!(kind("id,\"Account Number\""), Some((csv, vec![1])));
        assert_eq!(
            kind(" id | ssn | x "),
            Some((Kind::Aligned { boxed: false }, vec![1]))
        );
        assert_eq!(
            kind("| id | ssn |"),
            Some((Kind::Aligned { boxed: true }, vec![1]))
        );
        assert_eq!(
            kind("│ id │ ssn │"),
            Some((Kind::Aligned { boxed: true }, vec![1]))
        );
        assert_eq!(kind("NAME   EMAIL   AGE"), Some((Kind::Spaced, vec![1])));
        for line in [
            "Enter name, email, and so on",
            "email",
            "your email, please",
            "1,2,3",
            "",
            "usage: a [ssn|email]",
            "\t__u16 sinfo_ssn;",
        ] {
            assert_eq!(kind(line), None, "{line}");
        }
    }

    #[test]
    fn rules_are_told_from_text() {
        for line in [
            "----+----",
            "+----+",
            "|---|:--:|",
            "├──┼──┤",
            "---  ---",
            "====",
        ] {
            assert!(is_rule(line.as_bytes()), "{line}");
        }
        for line in ["-", "- a", "", "--help", "| a |"] {
            assert!(!is_rule(line.as_bytes()), "{line}");
        }
        let table = ruled(rules().compiled(), b" id ssn", b"--- -----------").unwrap();
        assert_eq!(table.cols.len(), 2);
        assert!(table.cols.last().is_some_and(|c| c.hit.is_some()));
    }
}
