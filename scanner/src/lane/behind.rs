//! A value that stands before its name: `{"value": "…", "type": "…", "name": "ssn"}` in one line or
//! in several, so in YAML, and so in a tag.

use crate::name::{Words, is_word};
use crate::rules::{Compiled, Hit};
use crate::value::{self, End, Key, Quote};

use super::Lane;
use super::pair::{Paired, is_name_of_name};

impl Lane {
    /// The field that what follows the value at `after` names, if it is a member beside a name.
    pub(super) fn named_behind(
        &mut self,
        key: &Key,
        after: usize,
        limit: usize,
        closed: bool,
    ) -> Paired {
        let before = self.slice(self.line_floor(key.start), key.start);
        let tag = memchr::memrchr2(b'<', b'>', before);
        let tag = tag.is_some_and(|at| before.get(at) == Some(&b'<'));
        let attribute = tag && self.byte(after.wrapping_sub(1)) == Some(b'=');
        // A name of several words may begin with that of its element.
        let tagged = self.slice(self.line_floor(key.start), key.name.1);
        let rest = self.slice(after, limit);
        if !attribute && key.quote.is_none() {
            match rest.get(..2) {
                Some(b" '") if self.slice(key.name.0, key.name.1).contains(&b' ') => {
                    return self.named_error(after + 1, limit, closed);
                }
                None if b" '".starts_with(rest) && !closed => return Paired::More,
                _ => {}
            }
        }
        let near = rest.get(..BEHIND_MAX).unwrap_or(rest);
        let open = !closed && near.len() < BEHIND_MAX;
        let line = memchr::memchr(b'\n', near);
        let one = near.get(..line.unwrap_or(near.len())).unwrap_or_default();
        let rules = self.rules.compiled();
        if attribute {
            let open = open && line.is_none();
            return match attribute_behind(one, rules).or_open(open) {
                // Its element may name it: `<ssn value="…"/>`.
                Behind::Nothing => element(tagged).map_or(Paired::No, |name| {
                    rules.field(name).map_or(Paired::No, Paired::Value)
                }),
                found => found.or_more(open),
            };
        }
        // In a terminal another question may follow: `Current value: 5` and `New value: `.
        if self.pty && key.quote.is_none() && self.slice(key.name.0, key.name.1).contains(&b' ') {
            return Paired::No;
        }
        let lines = self.reads_text() && self.begins(key);
        let braced = || self.opened(key.start).and_then(|at| self.byte(at)) == Some(b'{');
        let mut found = Behind::Nothing;
        if key.quote.is_some() || lines && self.indented(key) || braced() {
            found = if lines {
                member_behind(near, key.quote, rules).or_open(open)
            } else {
                member_behind(one, key.quote, rules).or_open(open && line.is_none())
            };
        }
        if found == Behind::Nothing
            && lines
            && self.indented(key)
            && self.byte(after.wrapping_sub(1)) == Some(b':')
            && matches!(near.first(), None | Some(b' ' | b'\n' | b'\r'))
        {
            let column = key.start - self.line;
            found = line_behind(near, column, rules).or_open(open);
        }
        found.or_more(open)
    }

    /// Whether nothing but what opens an object or an item stands before a key in its line.
    fn begins(&self, key: &Key) -> bool {
        !self.line_cut
            && key.start.saturating_sub(self.line) <= LEAD_MAX
            && is_lead(self.slice(self.line, key.start))
    }

    /// Whether the key is a member of something.
    fn indented(&self, key: &Key) -> bool {
        key.start.saturating_sub(self.line) >= 2
    }
}

/// What the text behind a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Nothing,
    /// It ends before that is known.
    Open,
    Named(Hit),
}

impl Behind {
    /// The end of the text is the end of what may be waited for, unless it is `open`.
    fn or_open(self, open: bool) -> Self {
        match self {
            Self::Open if !open => Self::Nothing,
            found => found,
        }
    }

    fn or_more(self, open: bool) -> Paired {
        match self {
            Self::Named(hit) => Paired::Value(hit),
            Self::Open if open => Paired::More,
            Self::Open | Self::Nothing => Paired::No,
        }
    }
}

/// Reads a text from its beginning.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn blanks(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn next(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// A string that is quoted as `like`, or with a plain quote: what it says. `None` where it has
    /// no end; an inner `None` where there is no string.
    fn string(&mut self, like: Option<Quote>) -> Option<Option<&'a [u8]>> {
        let Some(quote) = value::opening(self.text, self.at, false)? else {
            return Some(None);
        };
        let (slashes, doubled) = like.map_or((0, false), |q| (q.slashes, q.doubled));
        if quote.slashes != slashes {
            return Some(None);
        }
        let quote = Quote {
            doubled,
            tripled: false,
            ..quote
        };
        let content = self.at + quote.len();
        match value::quoted_end(self.text, content, content, quote, false) {
            End::Quote(end) => {
                self.at = end + quote.len();
                Some(self.text.get(content..end))
            }
            End::Line(_) => Some(None),
            End::Open(_) => None,
        }
    }

    /// Skips a value: a string, what brackets enclose, a word. Whether there is one.
    fn value(&mut self, like: Option<Quote>) -> Option<bool> {
        match self.next()? {
            b'{' | b'[' => {
                let mut depth = 0;
                loop {
                    match self.next()? {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        b'"' | b'\'' | b'\\' => match self.string(like)? {
                            Some(_) => continue,
                            None => return Some(false),
                        },
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        return Some(true);
                    }
                }
            }
            b'"' | b'\'' | b'\\' | b'`' => self.string(like).map(|s| s.is_some()),
            _ => {
                let rest = self.text.get(self.at..)?;
                let size = rest
                    .iter()
                    .position(|b| matches!(b, b',' | b'}' | b']' | b'{' | b'[' | b'"' | b'\n'))?;
                self.at += size;
                Some(size > 0)
            }
        }
    }

    /// A key of an object, and what says that its value follows.
    fn key(&mut self, like: Option<Quote>) -> Option<Option<&'a [u8]>> {
        let name = match self.next()? {
            b'"' | b'\'' | b'\\' => self.string(like)?,
            b if is_word(b) && like.is_none_or(|q| q.slashes == 0 && !q.doubled) => {
                let rest = self.text.get(self.at..)?;
                let size = rest.iter().position(|b| !is_word(*b) && *b != b'_')?;
                self.at += size;
                rest.get(..size)
            }
            _ => None,
        };
        self.blanks();
        match self.next()? {
            b':' => self.at += 1,
            b'=' => {
                self.at += 1;
                if self.next()? == b'>' {
                    self.at += 1;
                }
            }
            _ => return Some(None),
        }
        self.blanks();
        Some(name)
    }
}

/// The field that a member of the same object names, behind the value that a text begins with.
fn member_behind(text: &[u8], like: Option<Quote>, rules: &Compiled) -> Behind {
    let read = || {
        let mut reader = Reader { text, at: 0 };
        reader.blanks();
        if !reader.value(like)? {
            return Some(None);
        }
        for _ in 0..MEMBERS_MAX {
            reader.blanks();
            if reader.next()? != b',' {
                break;
            }
            reader.at += 1;
            reader.blanks();
            // A symbol of Ruby, a keyword of Clojure.
            reader.at += usize::from(reader.next()? == b':' && like.is_none());
            let Some(name) = reader.key(like)? else {
                break;
            };
            if is_name_of_name(&Words::of(name)) {
                let from = reader.at;
                if let Some(said) = reader.string(like)?
                    && let Some(hit) = rules.field(said)
                {
                    return Some(Some(hit));
                }
                let plain = like.is_none() && reader.next().is_some_and(is_word);
                reader.at = from;
                if !reader.value(like)? {
                    break;
                }
                let said = text.get(from..reader.at).unwrap_or_default();
                if plain && let Some(hit) = rules.field(said.trim_ascii()) {
                    return Some(Some(hit));
                }
                continue;
            }
            if !reader.value(like)? {
                break;
            }
        }
        Some(None)
    };
    match read() {
        None => Behind::Open,
        Some(None) => Behind::Nothing,
        Some(Some(hit)) => Behind::Named(hit),
    }
}

/// The field that another attribute of the tag names, behind the value that a text begins with.
fn attribute_behind(text: &[u8], rules: &Compiled) -> Behind {
    let read = || {
        let mut reader = Reader { text, at: 0 };
        for _ in 0..MEMBERS_MAX {
            reader.blanks();
            match reader.next()? {
                b'"' | b'\'' => {
                    let mark = [reader.next()?];
                    let rest = text.get(reader.at + 1..)?;
                    reader.at += 2 + memchr::memmem::find(rest, &mark)?;
                }
                _ => return Some(None),
            }
            reader.blanks();
            let rest = text.get(reader.at..)?;
            let size = memchr::memchr2(b'=', b'>', rest)?;
            if rest.get(size) == Some(&b'>') {
                break;
            }
            let name = rest.get(..size)?.trim_ascii();
            reader.at += size + 1;
            reader.blanks();
            if is_name_of_name(&Words::of(name)) {
                let mark = reader.next()?;
                let rest = text.get(reader.at + 1..)?;
                let said = rest.get(..memchr::memchr(mark, rest)?)?;
                if matches!(mark, b'"' | b'\'')
                    && let Some(hit) = rules.field(said)
                {
                    return Some(Some(hit));
                }
            }
        }
        Some(None)
    };
    match read() {
        None => Behind::Open,
        Some(None) => Behind::Nothing,
        Some(Some(hit)) => Behind::Named(hit),
    }
}

/// The field that a line of the same map of YAML names, below the value that a text begins with,
/// whose key stands in `column`.
fn line_behind(text: &[u8], column: usize, rules: &Compiled) -> Behind {
    let mut lines = text.split_inclusive(|b| *b == b'\n');
    if !lines.next().is_some_and(|line| line.ends_with(b"\n")) {
        return Behind::Open;
    }
    for _ in 0..LINES_MAX {
        let line = lines.next().unwrap_or_default();
        let indent = line.iter().take_while(|b| **b == b' ').count();
        let whole = line.ends_with(b"\n");
        let text = line.get(indent..).unwrap_or_default();
        match text.first() {
            None => return Behind::Open,
            Some(b'\r' | b'\n') => return Behind::Nothing,
            Some(_) if indent < column => return Behind::Nothing,
            Some(_) if indent > column && whole => continue,
            Some(_) if indent > column => return Behind::Open,
            Some(b) if !is_word(*b) && !matches!(b, b'"' | b'\'') => return Behind::Nothing,
            Some(_) => {}
        }
        let size = text.iter().position(|b| {
            !is_word(*b) && !matches!(b, b'_' | b'-' | b'.' | b'"' | b'\'' | b' ' | b'/')
        });
        let Some(size) = size else {
            return Behind::Open;
        };
        let value = text.get(size + 1..).unwrap_or_default();
        if text.get(size) != Some(&b':') {
            return Behind::Nothing;
        }
        if !whole {
            return Behind::Open;
        }
        if !value.first().is_some_and(u8::is_ascii_whitespace) {
            return Behind::Nothing;
        }
        let name = text.get(..size).unwrap_or_default();
        if is_name_of_name(&Words::of(name))
            && let Some(hit) = rules.field(super::sql::column(value))
        {
            return Behind::Named(hit);
        }
    }
    Behind::Nothing
}

/// The name of the element whose tag is open at the end of a text, without its prefix.
fn element(before: &[u8]) -> Option<&[u8]> {
    let tag = before.get(memchr::memrchr(b'<', before)? + 1..)?;
    let size = tag.iter().position(u8::is_ascii_whitespace)?;
    tag.get(..size)?.rsplit(|b| *b == b':').next()
}

/// Whether a key may be a value's whose name stands in a later line: it is all that its line begins
/// with, up to `end`, and a sign follows.
pub(crate) fn opens_pair(text: &[u8], end: usize) -> bool {
    let name = text.get(end.saturating_sub(LEAD_MAX)..end);
    let name = name.unwrap_or_default();
    if !ends_value(name) {
        return false;
    }
    let quoted = |b: &u8| matches!(b, b'"' | b'\'' | b'\\');
    let rest = text.get(end..).unwrap_or_default();
    let rest = rest.get(..LEAD_MAX).unwrap_or(rest);
    let sign = rest.iter().find(|b| !quoted(b) && **b != b' ');
    let word = name
        .iter()
        .rposition(|b| !is_word(*b) && !matches!(b, b'_' | b'-' | b'.'));
    let lead = word.and_then(|at| name.get(..=at)).unwrap_or_default();
    let from = memchr::memrchr(b'\n', lead).map_or(0, |at| at + 1);
    let lead = lead.get(from..).unwrap_or_default();
    let lead = match lead.split_last() {
        Some((b, before)) if quoted(b) => before,
        _ => lead,
    };
    // Go prints members one space apart: `{Name:SSN Value:…}`.
    let member = || {
        let before = lead.strip_suffix(b" ").unwrap_or_default();
        let last = before.rsplit(|b| *b == b' ').next().unwrap_or_default();
        memchr::memchr2(b':', b'=', last).is_some()
    };
    matches!(sign, Some(b':' | b'=')) && (is_lead(lead) || member())
}

/// Whether a name ends with `value`.
pub(crate) fn ends_value(name: &[u8]) -> bool {
    let tail = name.len().checked_sub(5).and_then(|at| name.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(b"value"))
}

/// Whether a text has only what opens objects, lists and items.
fn is_lead(text: &[u8]) -> bool {
    text.iter()
        .all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'{' | b'[' | b'(' | b',' | b'-'))
}

/// A name is looked for so far behind its value, and so many members.
pub(super) const BEHIND_MAX: usize = 1024;
const MEMBERS_MAX: usize = 12;
/// So many lines below it.
const LINES_MAX: usize = 12;
/// A key stands not further from the beginning of its line.
const LEAD_MAX: usize = 128;
