//! What SQL compares a column with, or sets it to, but for `=`: `ssn IN ('…')`, `ssn LIKE '…'`,
//! `ssn BETWEEN '…' AND '…'`, `(ssn)::text ~~ '…'`, `SET (id, ssn) = (1, '…')`; and what it says
//! about the password of a user.

use crate::rules::Hit;
use crate::table::COLUMNS_MAX;
use crate::value::{Key, Quote};

use super::Flow::At;
use super::names::push_column;
use super::sql::column;
use super::{Flow, Frame, Inner, Lane};

impl Lane {
    /// Where what stands at `at` looks back to.
    fn condition_floor(&self, at: usize) -> usize {
        let floor = match self.frame {
            Frame::Row => self.row.cell.max(self.line_floor(at)),
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line_floor(at),
        };
        floor.max(at.saturating_sub(BACK_MAX)).min(at)
    }

    /// The field that stands before the operator at `sign`: a name, or an expression.
    pub(super) fn operand(&self, sign: usize) -> Option<Hit> {
        let floor = self.condition_floor(sign);
        let key = self.key(sign, floor);
        let named = key.and_then(|key| {
            let name = self.slice(key.name.0, key.name.1);
            self.rules.compiled().field(name)
        });
        named.or_else(|| self.expression(sign))
    }

    /// A string of a condition, whose quote stands at `at` behind a space: `ssn LIKE '…'`.
    pub(super) fn condition(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if self.byte(at) != Some(b'\'') {
            return None;
        }
        let end = at.checked_sub(1)?;
        let floor = self.condition_floor(end);
        let before = self.slice(floor, end);
        let hit = match operator(before) {
            Some(size) => self.operand(floor + size)?,
            None => self.account(before)?,
        };
        let key = Key {
            start: at,
            name: (at, at),
            quote: None,
        };
        let quote = Quote::plain(b'\'');
        Some(self.quoted(key, at, quote, hit, limit, closed, false))
    }

    /// Whether what stands before `at` is a condition, and no command that writes to a file.
    pub(super) fn is_condition(&self, at: usize) -> bool {
        self.opened(at).is_some() || is_statement(self.slice(self.condition_floor(at), at))
    }

    /// The field of a user's password, where a text says that one follows: `IDENTIFIED BY`.
    fn account(&self, before: &[u8]) -> Option<Hit> {
        let tail = before.get(before.len().saturating_sub(BACK_MAX)..)?;
        let last = tail.rsplit(|b| *b == b' ').next()?;
        if ![b"by".as_slice(), b"as", b"password"]
            .iter()
            .any(|word| last.eq_ignore_ascii_case(word))
        {
            return None;
        }
        let lower = tail.to_ascii_lowercase();
        let head = lower.strip_suffix(b" password").unwrap_or(lower.as_slice());
        let head = head.strip_suffix(b" by").or(head.strip_suffix(b" as"))?;
        let (words, plugin) = match memchr::memmem::rfind(head, b"identified with ") {
            Some(i) => (head.get(..i + 10)?, head.get(i + 16..)?),
            None => (head, &b""[..]),
        };
        let quoted = |b: &u8| crate::name::is_word(*b) || matches!(b, b'_' | b'\'' | b'`' | b'"');
        (words.ends_with(b"identified") && plugin.iter().all(quoted))
            .then(|| self.rules.compiled().field(b"password"))?
    }

    /// A list that a column is looked for in, whose bracket stands at `at`: `ssn IN ('…', '…')`.
    pub(super) fn one_of(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let space = usize::from(at.checked_sub(1).and_then(|i| self.byte(i)) == Some(b' '));
        let end = at - space;
        let word = self.slice(end.saturating_sub(4), end);
        if !matches!(
            word,
            [.., b' ' | b')' | b'"' | b'`', b'i' | b'I', b'n' | b'N']
        ) {
            return None;
        }
        let mut sign = end - 2;
        let floor = self.condition_floor(end);
        let before = self.slice(floor, sign).trim_ascii_end();
        let not = before.len().checked_sub(4).and_then(|i| before.get(i..));
        if not.is_some_and(|not| not.eq_ignore_ascii_case(b" not")) {
            sign = floor + before.len() - 4;
        }
        let hit = self.operand(sign)?;
        let upper = word.ends_with(b"IN");
        if !upper && !is_statement(self.slice(floor, sign)) {
            return None;
        }
        let rest = self.slice(at + 1, limit);
        let near = rest.get(..GAP_MAX).unwrap_or(rest);
        match near.trim_ascii_start().first() {
            None if !closed && near.len() < GAP_MAX => return Some(self.more_after(at)),
            Some(b'\'' | b'0'..=b'9' | b'-') => {}
            Some(b'N' | b'E' | b'B' | b'_') if near.contains(&b'\'') => {}
            _ => return None,
        }
        self.inner = values(vec![Some(hit); COLUMNS_MAX]);
        Some(At(at + 1))
    }

    /// `SET (id, ssn) = (1, '…')`, at the sign.
    pub(super) fn set_list(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let floor = self.line_floor(at);
        let before = self.slice(floor, at).trim_ascii_end().strip_suffix(b")")?;
        let open = memchr::memrchr(b'(', before)?;
        let (head, names) = before.split_at(open);
        let head = head.trim_ascii_end();
        let set = head.len().checked_sub(3).and_then(|i| head.get(i..))?;
        if !set.eq_ignore_ascii_case(b"set") {
            return None;
        }
        let mut cols = Vec::new();
        for name in names.get(1..)?.split(|b| *b == b',') {
            push_column(&mut cols, self.rules.compiled().field(column(name)));
        }
        if cols.iter().all(Option::is_none) {
            return None;
        }
        let rest = self.slice(at + 1, limit);
        let near = rest.get(..GAP_MAX).unwrap_or(rest);
        let blanks = near.len() - near.trim_ascii_start().len();
        let rest = near.get(blanks..).unwrap_or_default();
        let head = rest.get(..4).unwrap_or(rest);
        let row = b"row(".get(..head.len()).unwrap_or_default();
        let size = if row.eq_ignore_ascii_case(head) { 4 } else { 1 };
        if rest.len() < size {
            return (!closed && near.len() < GAP_MAX).then(|| self.more_after(at));
        }
        if rest.get(size - 1) != Some(&b'(') {
            return None;
        }
        self.inner = values(cols);
        Some(At(at + 1 + blanks + size))
    }

    /// The password that `SET PASSWORD FOR user = '…'` sets, at the sign.
    pub(super) fn set_password(&self, at: usize) -> Option<Hit> {
        let line = self.slice(self.condition_floor(at), at);
        let sets = line.last() == Some(&b' ') && sets_password(line);
        sets.then(|| self.rules.compiled().field(b"password"))?
    }

    /// What a statement was given for its parameters, as SQLAlchemy and Django log it: `[parameters:
    /// (1, '…')]`, `[generated in 0.1s] (1, '…')`, `args=(1, '…')`. `at` is the bracket.
    pub(super) fn arguments(&mut self, at: usize) -> Option<Flow> {
        let before = self.slice(self.condition_floor(at), at);
        let before = before.strip_suffix(b"[").unwrap_or(before);
        let says = |word: &[u8]| memchr::memmem::find(before, word).is_some();
        let timed = || {
            before.ends_with(b"] ")
                && (says(b"[generated in ")
                    || says(b"[cached since ")
                    || says(b"[no key ")
                    || says(b"[raw sql"))
        };
        let mut compared = None;
        if before.ends_with(b"; args=") {
            compared = self.compared_before(at);
        } else if !before.ends_with(b"parameters: ") && !timed() {
            return None;
        }
        let mut cols = std::mem::take(&mut self.args);
        if let Some(hit) = compared {
            cols = vec![Some(hit); COLUMNS_MAX];
        }
        if cols.is_empty() {
            return None;
        }
        self.inner = values(cols);
        Some(At(at + 1))
    }

    /// The protected column that a statement before `at`, in its line, compares or sets.
    fn compared_before(&self, at: usize) -> Option<Hit> {
        let line = self.slice(self.line_floor(at), at);
        let from =
            memchr::memmem::find(line, b" SET ").or(memchr::memmem::find(line, b" WHERE "))?;
        let part = |b: &u8| !crate::name::is_word(*b) && *b != b'_';
        let words = line.get(from..)?.split(part);
        let mut words = words.filter(|word| !word.is_empty());
        words.find_map(|word| self.rules.compiled().field(word))
    }

    /// The protected column that a line of PostgreSQL's speaks of, whose next line tells the row:
    /// `… violates check constraint "people_ssn_check"`.
    pub(super) fn violated(&self, from: usize, to: usize) -> Option<Hit> {
        let line = self.slice(from, to);
        let line = line.get(..super::LINE_CONTEXT).unwrap_or(line);
        let at = memchr::memmem::find(line, b" violates ")?;
        memchr::memmem::find(line.get(at..)?, b"constraint")?;
        let part = |b: &u8| !crate::name::is_word(*b);
        let mut words = line.split(part).filter(|word| !word.is_empty());
        words.find_map(|word| self.rules.compiled().field(word))
    }

    /// A row that SQL Server did not take, at its bracket: `The duplicate key value is (…)`. Its
    /// constraint or index says which columns it has.
    pub(super) fn duplicate(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        const SAYS: &[u8] = b"duplicate key value is ";
        if !self
            .slice(at.saturating_sub(SAYS.len()), at)
            .ends_with(SAYS)
        {
            return None;
        }
        let line = self.slice(self.line_floor(at), at);
        let part = |b: &u8| !crate::name::is_word(*b) && *b != b'_';
        let mut names = line.split(part).filter(|name| name.contains(&b'_'));
        let hit = names.find_map(|name| self.rules.compiled().field(name))?;
        let rest = self.slice(at + 1, limit);
        let line = memchr::memchr2(b'\n', b'\r', rest).or(closed.then_some(rest.len()));
        let Some(line) = line else {
            if rest.len() > super::VALUE_MAX {
                let place = crate::mask::Place::Inside;
                self.mask(at + 1, limit, hit, place, "sql");
                self.swallow_until(super::Until::Line);
                return Some(At(limit));
            }
            return Some(self.more_after(at));
        };
        let text = rest.get(..line).unwrap_or_default();
        let size = memchr::memrchr(b')', text).unwrap_or(text.len());
        let place = crate::mask::Place::Inside;
        self.mask(at + 1, at + 1 + size, hit, place, "sql");
        Some(At(at + 1 + size))
    }
}

/// A row of values that begins.
fn values(cols: Vec<Option<Hit>>) -> Inner {
    Inner::Sql {
        cols,
        at: 0,
        depth: 1,
        text: None,
        doubt: false,
    }
}

/// Where the operator begins that a text ends with, if it compares with what follows.
fn operator(before: &[u8]) -> Option<usize> {
    const WORDS: [&[u8]; 9] = [
        b" like",
        b" ilike",
        b" similar to",
        b" regexp",
        b" rlike",
        b" glob",
        b" between",
        b" is distinct from",
        b" is not distinct from",
    ];
    const SIGNS: [&[u8]; 8] = [
        b" ~~", b" !~~", b" ~~*", b" !~~*", b" ~", b" !~", b" ~*", b" !~*",
    ];
    if let Some(sign) = SIGNS.iter().find(|sign| before.ends_with(sign)) {
        return Some(before.len() - sign.len());
    }
    let last = before.last()?.to_ascii_lowercase();
    if !matches!(last, b'e' | b'o' | b'p' | b'b' | b'n' | b'm' | b'd') {
        return None;
    }
    let lower = before.to_ascii_lowercase();
    let mut text = lower.as_slice();
    // `BETWEEN '…' AND`: the first string has ended.
    if let Some(head) = text.strip_suffix(b" and") {
        let between = memchr::memmem::rfind(head, b" between '")?;
        let first = head.get(between + 10..)?;
        let close = memchr::memchr(b'\'', first)?;
        let cast = first.get(close + 1..)?;
        let kind = |b: &u8| crate::name::is_word(*b) || matches!(b, b':' | b'_' | b' ');
        if !(cast.is_empty() || cast.starts_with(b"::") && cast.iter().all(kind)) {
            return None;
        }
        text = head.get(..between + 8)?;
    }
    let word = WORDS.iter().find(|word| text.ends_with(word))?;
    let size = text.len() - word.len();
    let upper = before
        .get(size..text.len())
        .is_some_and(|word| word.iter().all(|b| !b.is_ascii_lowercase()));
    let head = text.get(..size)?;
    let head = head.strip_suffix(b" not").unwrap_or(head);
    (upper || is_statement(before.get(..head.len())?)).then_some(head.len())
}

/// Whether a text is one of SQL, as far as a word of it says.
fn is_statement(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"where ", b"select ", b"having "];
    let lower = text.to_ascii_lowercase();
    WORDS
        .iter()
        .any(|word| memchr::memmem::find(&lower, word).is_some())
}

/// Whether a statement sets the password of an account: `SET PASSWORD FOR 'x'@'h' = '…'`.
pub(crate) fn sets_password(line: &[u8]) -> bool {
    const WORDS: &[u8] = b"set password for ";
    let mut found = line.windows(WORDS.len());
    found.any(|part| part.eq_ignore_ascii_case(WORDS))
}

/// How far back an operator and its operand are looked for.
const BACK_MAX: usize = 256;
/// So many blanks stand before what is looked for at most.
const GAP_MAX: usize = 64;
