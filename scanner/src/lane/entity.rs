//! Members of a text whose quotes and brackets are written as HTML wants them:
//! `&quot;ssn&quot;:&quot;…&quot;` in an attribute of a page, `'ssn' <font>=&gt;</font> …` as xdebug
//! dumps values for a browser.

use crate::mask::Place;
use crate::rules::Hit;
use crate::value;

use super::Flow::At;
use super::{Flow, Lane, Until};

impl Lane {
    /// The part of [`separator`](Self::separator) that is about entities: `at` is a colon, or the
    /// sign of an arrow. `None`: none stands here.
    pub(super) fn entities(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let before = at.checked_sub(1).and_then(|i| self.byte(i));
        match (self.byte(at), before) {
            (Some(b':'), Some(b';')) => self.entity_member(at, limit, closed),
            (Some(b'='), Some(b'>')) => self.entity_arrow(at, limit, closed),
            _ => None,
        }
    }

    fn entity_member(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let floor = self.line_floor(at).max(at.saturating_sub(BACK_MAX));
        let before = self.slice(floor.min(at), at);
        let mark = QUOTES.into_iter().find(|mark| before.ends_with(mark))?;
        let name = before.get(..before.len() - mark.len())?;
        let open = memchr::memmem::rfind(name, mark)?;
        let name = name.get(open + mark.len()..)?;
        let hit = self.rules.compiled().field(name)?;
        let rest = self.slice(at + 1, limit);
        let v = at + 1 + rest.iter().take_while(|b| **b == b' ').count();
        let rest = self.slice(v, limit);
        if rest.len() < mark.len() && mark.starts_with(rest) && !closed {
            return Some(if rest.is_empty() {
                self.more_after(limit - 1)
            } else {
                self.more(v)
            });
        }
        let (from, size) = match rest.strip_prefix(mark) {
            Some(content) => (v + mark.len(), entity_end(content, mark)),
            None => (v, bare_end(rest)),
        };
        self.entity_value(v, from, size, hit, limit, closed)
    }

    /// `'ssn' <font color='#888a85'>=&gt;</font> <small>string</small> <font …>'…'</font>`.
    fn entity_arrow(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        const ARROW: &[u8] = b"=&gt;";
        let rest = self.slice(at, limit);
        let near = rest.get(..ARROW.len()).unwrap_or(rest);
        if near != ARROW {
            let waits = near.len() > 1 && near.len() < ARROW.len() && ARROW.starts_with(near);
            return (waits && !closed).then(|| self.more_after(at));
        }
        let floor = self.line_floor(at).max(at.saturating_sub(BACK_MAX));
        let before = self.slice(floor.min(at), at).trim_ascii_end();
        let before = match before.last() {
            Some(b'>') => before
                .get(..memchr::memrchr(b'<', before)?)?
                .trim_ascii_end(),
            _ => return None,
        };
        let key = value::key_before(self.text(), floor + before.len(), floor)?;
        let hit = self
            .rules
            .compiled()
            .field(self.slice(key.name.0, key.name.1))?;
        // The tags before the value, with its type.
        let mut v = at + ARROW.len();
        loop {
            if v - at > TAGS_MAX {
                return None;
            }
            let rest = self.slice(v, limit);
            let skip = match rest.first() {
                None if !closed => return Some(self.more_after(at)),
                Some(b' ') => 1,
                Some(b'<') => {
                    let near = rest.get(..BACK_MAX).unwrap_or(rest);
                    let small = near.starts_with(b"<small>");
                    let found = if small {
                        memchr::memmem::find(near, b"</small>").map(|i| i + 8)
                    } else {
                        memchr::memchr(b'>', near).map(|i| i + 1)
                    };
                    match found {
                        None if !closed && near.len() < BACK_MAX => {
                            return Some(self.more_after(at));
                        }
                        None => return None,
                        Some(size) => size,
                    }
                }
                _ => break,
            };
            v += skip;
        }
        let rest = self.slice(v, limit);
        let size = memchr::memchr2(b'<', b'\n', rest);
        let quote = usize::from(rest.first() == Some(&b'\''));
        let size = size.map(|size| {
            let value = rest.get(..size).unwrap_or_default();
            let value = value.strip_suffix(b"'").unwrap_or(value);
            value.len().saturating_sub(quote)
        });
        self.entity_value(v, v + quote, size, hit, limit, closed)
    }

    /// Masks a value of so many bytes from `from` on; if its end is not here, more is needed.
    fn entity_value(
        &mut self,
        v: usize,
        from: usize,
        size: Option<usize>,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let to = match size {
            Some(size) => from + size,
            None if closed => limit,
            None if limit - v > LONG => {
                // Its end is looked for anew with each read: the rest of the line is not waited for.
                self.mask(from, limit, hit, Place::Inside, "markup");
                self.swallow_until(Until::Line);
                return Some(At(limit));
            }
            None => return Some(self.more(v)),
        };
        if !value::is_nothing(self.slice(from, to)) {
            self.mask(from, to, hit, Place::Inside, "markup");
        }
        Some(At(to.max(from)))
    }
}

/// Where a string ends whose quotes are entities: before the next one, or the end of the line.
fn entity_end(content: &[u8], mark: &[u8]) -> Option<usize> {
    let line = memchr::memchr(b'\n', content);
    let text = content.get(..line.unwrap_or(content.len()))?;
    let mut marks = memchr::memmem::find_iter(text, mark);
    marks
        .find(|i| {
            let before = text.get(..*i).unwrap_or_default();
            let slashes = before.iter().rev().take_while(|b| **b == b'\\').count();
            slashes.is_multiple_of(2)
        })
        .or(line)
}

/// Where something without quotes ends: a number, or a list with all that is in it.
fn bare_end(rest: &[u8]) -> Option<usize> {
    let mut depth = 0i32;
    rest.iter().position(|b| {
        match b {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        depth < 0 || matches!(b, b'\n' | b'<') || depth == 0 && *b == b','
    })
}

/// Quotes as HTML writes them in a text.
const QUOTES: [&[u8]; 6] = [
    b"&quot;", b"&#34;", b"&#x22;", b"&#39;", b"&#x27;", b"&apos;",
];
/// The tags before a value are at most this long.
const TAGS_MAX: usize = 512;
/// A value that is longer is masked with the rest of its line.
const LONG: usize = 4096;
/// How far back a name is looked for, and forward for the end of a tag.
const BACK_MAX: usize = 192;
