//! Lists of names that may be longer than what is kept of a line: the columns of an `INSERT`, and
//! those of a header. They are read as the text is forgotten.

use crate::name::NAME_MAX;
use crate::rules::{Compiled, Hit};
use crate::table::{self, COLUMNS_MAX, Table};

use super::sql::column;
use super::{Frame, LINE_CONTEXT, Lane, Next, Values};

/// A list of names that has begun.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What stands before it has been read.
    from: usize,
    cols: Vec<Option<Hit>>,
    /// How many names there were.
    count: usize,
    list: List,
    /// What the name at hand says, where so many spaces follow it that not all of them are kept.
    said: Option<Option<Hit>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// Of an `INSERT`, up to its bracket.
    Columns,
    /// The same, behind its bracket.
    Closed,
    /// A line of names that this byte separates.
    Header(u8),
    /// No such line after all.
    Text,
}

impl Names {
    pub(super) fn columns(from: usize) -> Self {
        Self {
            from,
            cols: Vec::new(),
            count: 0,
            list: List::Columns,
            said: None,
        }
    }

    /// Reads the names that end before `to`, and the one that ends there if the list is `closed`.
    fn read(&mut self, rules: &Compiled, text: &[u8], to: usize, closed: bool) {
        loop {
            let rest = text.get(self.from..to).unwrap_or_default();
            let end = match self.list {
                List::Columns => memchr::memchr2(b',', b')', rest),
                List::Header(by) => memchr::memchr(by, rest).or(closed.then_some(rest.len())),
                List::Closed | List::Text => {
                    self.from = self.from.max(to);
                    return;
                }
            };
            let Some(size) = end else {
                if let List::Header(by) = self.list {
                    self.begun(rules, text, to, by);
                }
                // The end of a name says what it is.
                self.from = self.from.max(to.saturating_sub(KEPT_MAX));
                return;
            };
            let name = rest.get(..size).unwrap_or_default();
            self.count += 1;
            match self.list {
                List::Header(by) => match self.ended(rules, name, by) {
                    Some(hit) => push_column(&mut self.cols, hit),
                    // Behind the last column that is told apart it does not matter.
                    None if self.cols.len() >= COLUMNS_MAX => {}
                    None => self.list = List::Text,
                },
                _ => {
                    let name = column(name);
                    if !name.is_empty() {
                        push_column(&mut self.cols, rules.field(name));
                    }
                    if rest.get(size) == Some(&b')') {
                        self.list = List::Closed;
                    }
                }
            }
            self.from += size + 1;
            if self.from > to {
                return;
            }
        }
    }

    /// Looks at a name of a header whose end is not there, before its beginning is forgotten.
    fn begun(&mut self, rules: &Compiled, text: &[u8], to: usize, by: u8) {
        let rest = text.get(self.from..to).unwrap_or_default();
        let spaces = rest.len() - rest.trim_ascii_end().len();
        let name = rest.trim_ascii();
        let is_none = match self.said {
            Some(_) => !name.is_empty(),
            None if name.is_empty() => false,
            None if spaces > NAME_MAX => {
                self.said = table::name_of(rules, name, by);
                self.said.is_none()
            }
            None => spaces + name.len() > KEPT_MAX,
        };
        if is_none && self.cols.len() < COLUMNS_MAX {
            self.list = List::Text;
        } else if is_none {
            self.said = Some(None);
        }
        if self.said.is_some() {
            self.from = to;
        }
    }

    /// What the name of a header says that ends here.
    fn ended(&mut self, rules: &Compiled, rest: &[u8], by: u8) -> Option<Option<Hit>> {
        match self.said.take() {
            Some(said) => rest.trim_ascii().is_empty().then_some(said),
            None => table::name_of(rules, rest, by),
        }
    }
}

impl Lane {
    /// Text before `keep` is about to be forgotten: what its names say is not. How much of it may
    /// be: a name that has begun stays.
    pub(super) fn names_before(&mut self, keep: usize) -> usize {
        self.creates_before(keep);
        if self.names.is_none() && self.frame == Frame::Line && self.line < keep {
            self.names = self.long_header();
        }
        let Some(names) = &mut self.names else {
            return keep;
        };
        names.read(self.rules.compiled(), &self.view.text, keep, false);
        let keep = keep.min(names.from);
        names.from -= keep;
        keep
    }

    /// A list of names that the line begins with, if it may be a header. Its beginning is there, or
    /// has been looked at before it was forgotten.
    fn long_header(&self) -> Option<Names> {
        let rules = self.rules.compiled();
        if rules.fields.is_empty() || self.line_cut {
            return None;
        }
        let line = self.slice(self.line, self.line + LINE_CONTEXT / 2);
        table::SEPARATORS.into_iter().find_map(|by| {
            let whole = memchr::memrchr(by, line)?;
            let mut cells = line.get(..whole)?.split(|b| *b == by);
            cells
                .all(|cell| table::name_of(rules, cell, by).is_some())
                .then(|| Names {
                    from: self.line,
                    cols: Vec::new(),
                    count: 0,
                    list: List::Header(by),
                    said: None,
                })
        })
    }

    /// A line has ended at `to` that is too long to be looked at as a whole.
    pub(super) fn long_line(&mut self, to: usize) {
        let before = self.values.take();
        let Some(mut names) = self.names.take().or_else(|| self.long_header()) else {
            return;
        };
        let rules = self.rules.clone();
        names.read(rules.compiled(), &self.view.text, to, true);
        let any = names.cols.iter().any(Option::is_some);
        match names.list {
            List::Header(by) if any && before.is_none() && !self.told => {
                if let Some(table) = Table::long(by, names.cols, names.count) {
                    self.row.key = None;
                    self.table = Some(table);
                }
            }
            List::Columns => {
                let rest = self.slice(names.from, to).to_vec();
                push_column(&mut names.cols, rules.compiled().field(column(&rest)));
                self.values = Some(Values {
                    cols: names.cols,
                    next: Next::Columns,
                });
            }
            List::Closed if any => {
                let line = self.slice(self.line, to).trim_ascii_end();
                let tail = line.get(line.len().saturating_sub(6)..).unwrap_or_default();
                let next = if tail.eq_ignore_ascii_case(b"values") {
                    Next::Row
                } else if line.last() == Some(&b')') {
                    Next::Word
                } else {
                    return;
                };
                self.values = Some(Values {
                    cols: names.cols,
                    next,
                });
            }
            List::Header(_) | List::Closed | List::Text => {}
        }
    }

    /// The columns of an `INSERT` in a long line whose list ends before `at`.
    pub(super) fn long_columns(&mut self, at: usize) -> Option<Vec<Option<Hit>>> {
        let mut names = self.names.take()?;
        names.read(self.rules.compiled(), &self.view.text, at, false);
        (names.list == List::Closed).then_some(names.cols)
    }
}

/// Adds a column. What stands behind the last one that is told apart counts as the last one.
pub(super) fn push_column(cols: &mut Vec<Option<Hit>>, hit: Option<Hit>) {
    if cols.len() < COLUMNS_MAX {
        cols.push(hit);
    } else if let Some(last) = cols.last_mut() {
        *last = last.or(hit);
    }
}

/// The column at `index` of such a list.
pub(super) fn column_at(cols: &[Option<Hit>], index: usize) -> Option<Hit> {
    cols.get(index.min(COLUMNS_MAX - 1)).copied().flatten()
}

/// As much of a name is kept, and of the spaces behind it: more than is compared, so that one that is
/// too long is known as such.
const KEPT_MAX: usize = 3 * NAME_MAX;
