//! `CREATE TABLE`: the columns that an `INSERT` without a list of its own fills.
//!
//! Its text is read byte by byte as it goes by, so that it does not matter how long it is, or what
//! stands in its strings and comments.

use crate::name::NAME_MAX;
use crate::rules::{Compiled, Hit};
use crate::table::COLUMNS_MAX;

use super::Lane;
use super::names::push_column;
use super::sql::column;

/// The columns of a table, by its name in lower case.
#[derive(Debug, Default)]
pub(super) struct Created {
    tables: Vec<(Vec<u8>, Vec<Option<Hit>>)>,
    /// There were more than are remembered: any other one may have a protected column anywhere.
    lost: Option<Hit>,
}

impl Created {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The columns of a table; none where none of them is protected.
    pub(super) fn columns(&self, name: &[u8]) -> Vec<Option<Hit>> {
        let found = self.tables.iter().find(|(created, _)| created == name);
        match (found, self.lost) {
            (Some((_, cols)), _) => cols.clone(),
            (None, Some(hit)) => vec![Some(hit); COLUMNS_MAX],
            (None, None) => Vec::new(),
        }
    }

    fn keep(&mut self, name: Vec<u8>, cols: Vec<Option<Hit>>) {
        self.tables.retain(|(known, _)| *known != name);
        let hit = cols.iter().find_map(|hit| *hit);
        if hit.is_some() && self.tables.len() < TABLES_MAX {
            self.tables.push((name, cols));
        } else {
            self.lost = self.lost.or(hit);
        }
    }
}

/// A `CREATE TABLE` that is being read, in both ways: whether a backslash stands for itself in a
/// string depends on the database.
#[derive(Clone, Debug)]
pub(super) struct Creating {
    name: Vec<u8>,
    /// What stands before it has been read; `None`: its bracket has not come.
    from: Option<usize>,
    readers: [Reader; 2],
    lines: u32,
}

impl Creating {
    fn new(name: Vec<u8>, from: Option<usize>) -> Self {
        Self {
            name,
            from,
            readers: [Reader::new(false), Reader::new(true)],
            lines: 0,
        }
    }

    /// Reads on. Whether the last bracket has come.
    fn read(&mut self, rules: &Compiled, text: &[u8]) -> bool {
        text.iter().any(|b| {
            let [plain, escaped] = &mut self.readers;
            plain.byte(rules, *b) | escaped.byte(rules, *b)
        })
    }

    /// The columns that either has found.
    fn columns(self) -> Vec<Option<Hit>> {
        let [plain, escaped] = self.readers;
        let (mut cols, mut more) = (plain.cols, escaped.cols);
        if more.len() > cols.len() {
            std::mem::swap(&mut cols, &mut more);
        }
        for (col, other) in cols.iter_mut().zip(more) {
            *col = col.or(other);
        }
        cols
    }
}

#[derive(Clone, Debug)]
struct Reader {
    /// A backslash escapes what follows it.
    escapes: bool,
    cols: Vec<Option<Hit>>,
    /// So many columns may be none.
    unsure: usize,
    mode: Mode,
    depth: usize,
    last: u8,
    /// The definition that has begun, without strings and comments.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Text,
    /// A string, and whether a backslash stands before.
    String(bool),
    /// A name in quotes.
    Name(u8),
    /// A comment, up to the end of its line or not.
    Comment(bool),
}

impl Reader {
    fn new(escapes: bool) -> Self {
        Self {
            escapes,
            cols: Vec::new(),
            unsure: 0,
            mode: Mode::Text,
            depth: 0,
            last: b' ',
            text: Vec::new(),
        }
    }

    fn byte(&mut self, rules: &Compiled, b: u8) -> bool {
        let last = std::mem::replace(&mut self.last, b);
        match self.mode {
            Mode::String(false) if b == b'\'' => self.mode = Mode::Text,
            Mode::String(escaped) => {
                self.mode = Mode::String(self.escapes && b == b'\\' && !escaped);
            }
            Mode::Name(mark) => {
                self.push(b);
                if b == mark {
                    self.mode = Mode::Text;
                }
            }
            Mode::Comment(true) if b == b'\n' => self.mode = Mode::Text,
            Mode::Comment(false) if (last, b) == (b'*', b'/') => {
                self.mode = Mode::Text;
                self.last = b' ';
            }
            Mode::Comment(_) => {}
            Mode::Text => return self.plain(rules, last, b),
        }
        false
    }

    fn plain(&mut self, rules: &Compiled, last: u8, b: u8) -> bool {
        match b {
            b'\'' => self.mode = Mode::String(false),
            b'-' if last == b'-' => self.comment(true),
            b'*' if last == b'/' => self.comment(false),
            b'#' if last.is_ascii_whitespace() => self.mode = Mode::Comment(true),
            b'"' | b'`' | b'[' => {
                self.push(b);
                self.mode = Mode::Name(if b == b'[' { b']' } else { b });
            }
            b'(' => {
                self.push(b);
                self.depth += 1;
            }
            b')' if self.depth == 0 => {
                self.definition(rules);
                return true;
            }
            b')' => {
                self.push(b);
                self.depth -= 1;
            }
            b',' if self.depth == 0 => self.definition(rules),
            _ => self.push(b),
        }
        false
    }

    /// What began with the byte before is a comment.
    fn comment(&mut self, line: bool) {
        self.text.pop();
        self.mode = Mode::Comment(line);
    }

    fn push(&mut self, b: u8) {
        if self.text.len() < 2 * NAME_MAX && (!self.text.is_empty() || !b.is_ascii_whitespace()) {
            self.text.push(b);
        }
    }

    /// A definition has ended: that of a column, or another one.
    fn definition(&mut self, rules: &Compiled) {
        let text = std::mem::take(&mut self.text);
        let (name, more) = match text.first() {
            None => return,
            Some(mark @ (b'"' | b'`' | b'[')) => {
                let mark = if *mark == b'[' { b']' } else { *mark };
                let size = text.iter().skip(1).position(|b| *b == mark);
                (text.get(..size.map_or(text.len(), |n| n + 2)), None)
            }
            Some(_) => {
                let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'(' | b'"' | b'`');
                let size = text.iter().position(ends).unwrap_or(text.len());
                (text.get(..size), text.get(size..))
            }
        };
        let name = name.unwrap_or_default();
        let is_column = more.is_none_or(|more| is_column(name, more.trim_ascii()));
        let sure = more.is_none() || !CLAUSES.iter().any(|c| c.eq_ignore_ascii_case(name));
        if !is_column {
            return;
        }
        let hit = rules.field(column(name)).filter(|_| is_column);
        push_column(&mut self.cols, hit);
        if !sure {
            self.unsure += 1;
        }
        let at = self.cols.len() - 1;
        // It stands further to the left where one before it is none.
        for col in self.cols.iter_mut().take(at).rev().take(self.unsure) {
            *col = col.or(hit);
        }
    }
}

/// Words that begin a clause, or are the name of a column, whatever database it is.
const CLAUSES: [&[u8]; 6] = [b"key", b"index", b"unique", b"check", b"period", b"like"];

/// Whether a word that is not quoted begins a column, or may.
fn is_column(word: &[u8], more: &[u8]) -> bool {
    const NEVER: [&[u8]; 6] = [
        b"primary",
        b"foreign",
        b"constraint",
        b"exclude",
        b"fulltext",
        b"spatial",
    ];
    let is = |list: &[&[u8]]| list.iter().any(|w| w.eq_ignore_ascii_case(word));
    if is(&NEVER) {
        return false;
    }
    let next = more
        .split(|b| b.is_ascii_whitespace() || *b == b'(')
        .next()
        .unwrap_or_default();
    let clause = more.first() == Some(&b'(')
        || [b"key".as_slice(), b"index", b"for"]
            .iter()
            .any(|w| w.eq_ignore_ascii_case(next));
    !(is(&CLAUSES) && clause)
}

/// So many tables with protected columns are remembered.
const TABLES_MAX: usize = 16;
/// A `CREATE TABLE` of more lines is none.
const LINES_MAX: u32 = 100_000;

/// The name of the table that a line begins to create: `CREATE TEMP TABLE IF NOT EXISTS a.b`.
pub(crate) fn created_name(line: &[u8]) -> Option<Vec<u8>> {
    const BETWEEN: [&[u8]; 10] = [
        b"or",
        b"replace",
        b"temp",
        b"temporary",
        b"unlogged",
        b"global",
        b"local",
        b"foreign",
        b"external",
        b"cached",
    ];
    if !line
        .get(..7)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"create "))
    {
        return None;
    }
    let line = line.get(..NAME_MAX * 4).unwrap_or(line);
    let head = line.split(|b| *b == b'(').next().unwrap_or_default();
    let mut words = head
        .split(|b| b.is_ascii_whitespace())
        .filter(|w| !w.is_empty());
    let is = |word: Option<&[u8]>, name: &[u8]| word.is_some_and(|w| w.eq_ignore_ascii_case(name));
    let table = words
        .by_ref()
        .skip(1)
        .find(|word| !BETWEEN.iter().any(|w| w.eq_ignore_ascii_case(word)));
    if !is(table, b"table") {
        return None;
    }
    let name = head.rsplit(|b| b.is_ascii_whitespace() || *b == b'.');
    let name = name.map(column).find(|name| !name.is_empty())?;
    Some(name.to_ascii_lowercase())
}

impl Lane {
    /// A bracket at `at`, which may open the columns of a `CREATE TABLE`. What follows may leave:
    /// it is read as it is forgotten, and when its line is whole.
    pub(super) fn create(&mut self, at: usize) {
        if let Some(creating) = &mut self.creating {
            creating.from.get_or_insert(at + 1);
            return;
        }
        let name = created_name(self.slice(self.line_floor(at), at));
        self.creating = name.map(|name| Creating::new(name, Some(at + 1)));
    }

    /// A line ends at `to`: it may have been one of a `CREATE TABLE`.
    pub(super) fn created(&mut self, from: usize, to: usize) {
        match &mut self.creating {
            None => {
                let name = created_name(self.slice(from, to.min(from + 4 * NAME_MAX)));
                self.creating = name.map(|name| Creating::new(name, None));
                return;
            }
            Some(creating) if creating.from.is_none() => {
                // Its bracket stands at the beginning of the next line, if it comes.
                self.creating = None;
                return;
            }
            Some(creating) => creating.lines += 1,
        }
        self.creates_before(to);
        if let Some(creating) = self.creating.as_mut() {
            if creating.lines > LINES_MAX {
                self.creating = None;
                return;
            }
            creating.read(self.rules.compiled(), b"\n");
            creating.from = Some(to + 1);
        }
    }

    /// Reads what stands before `to`.
    pub(super) fn creates_before(&mut self, to: usize) {
        let Some(mut creating) = self.creating.take() else {
            return;
        };
        if let Some(from) = creating.from.filter(|from| *from < to) {
            creating.from = Some(to);
            if creating.read(self.rules.compiled(), self.slice(from, to)) {
                let name = std::mem::take(&mut creating.name);
                self.sql.keep(name, creating.columns());
                return;
            }
        }
        self.creating = Some(creating);
    }

    /// Text before `keep` was forgotten.
    pub(super) fn creates_from(&mut self, keep: usize) {
        if let Some(creating) = &mut self.creating {
            creating.from = creating.from.map(|from| from.saturating_sub(keep));
        }
    }
}
