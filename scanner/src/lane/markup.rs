//! Elements and attributes, tables of HTML.

use crate::mask::Place;
use crate::{table, value};

use super::Flow::At;
use super::row::trimmed;
use super::{Flow, Html, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// A tag ends at `at`: its content may be protected.
    pub(super) fn tag(&mut self, at: usize) -> Flow {
        let next = At(at + 1);
        if self.rules.compiled().fields.is_empty() {
            return next;
        }
        let back = self.slice(at.saturating_sub(512), at);
        let Some(open) = memchr::memrchr(b'<', back).map(|i| at - back.len() + i) else {
            return next;
        };
        let inside = self.slice(open + 1, at).to_vec();
        let inside = inside.as_slice();
        if inside.contains(&b'>') {
            return next;
        }
        let closing = inside.first() == Some(&b'/');
        let body = if closing {
            inside.get(1..).unwrap_or_default()
        } else {
            inside
        };
        let size = body
            .iter()
            .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b':'))
            .count();
        let name = body.get(..size).unwrap_or_default().to_vec();
        if name.is_empty()
            || !name
                .first()
                .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        {
            return next;
        }
        let lower = name.to_ascii_lowercase();
        if closing {
            return self.closing_tag(open, at, &lower);
        }
        let empty = inside.last() == Some(&b'/');
        match lower.as_slice() {
            b"table" => self.html = Html::default(),
            b"tr" => {
                self.html.index = 0;
                self.html.last = None;
                self.html.data = false;
                self.html.names = Some(Vec::new());
            }
            _ => {}
        }
        if empty {
            return next;
        }
        let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
        let mut hit = self.rules.compiled().field(local);
        if hit.is_none() {
            hit = attribute(body, &[b"name", b"key", b"field", b"id"])
                .and_then(|n| self.rules.compiled().field(&n));
        }
        match lower.as_slice() {
            b"td" => {
                self.html.data = true;
                let held = self.held_column(self.html.cols.iter().copied());
                self.stop_before(at, held);
                let col = self.html.cols.get(self.html.index).copied().flatten();
                hit = hit.or(self.html.last).or(col);
                self.html.index += 1;
                self.html.last = None;
            }
            b"th" => {
                if self.html.index == 0 {
                    self.html.cols.clear();
                }
            }
            _ => {
                if hit.is_none() && !matches!(lower.as_slice(), b"key" | b"name") {
                    hit = self.html.pair.take();
                }
            }
        }
        if let Some(hit) = hit {
            self.inner = Inner::Element {
                hit,
                name: lower,
                depth: 1,
            };
        }
        next
    }

    fn closing_tag(&mut self, open: usize, at: usize, name: &[u8]) -> Flow {
        match name {
            b"td" => {
                // A name may stand in a cell like any other: before its value, or above it.
                let content = self.content(open);
                let is_name = table::is_name(content);
                let hit = self.rules.compiled().field(content).filter(|_| is_name);
                if self.html.index == 1 {
                    self.html.last = hit;
                }
                match &mut self.html.names {
                    Some(names) if is_name && names.len() < 256 => names.push(hit),
                    names => *names = None,
                }
            }
            b"th" | b"key" | b"name" | b"dt" => {
                let hit = self.rules.compiled().field(self.content(open));
                if name == b"th" {
                    if self.html.cols.len() < 256 {
                        self.html.cols.push(hit);
                    }
                    self.html.index += 1;
                    self.html.last = hit;
                } else {
                    self.html.pair = hit;
                }
            }
            b"table" => self.html = Html::default(),
            b"tr" => {
                if self.html.data && self.html.cols.len() == 1 {
                    self.html.cols.clear(); // A name before each value, not above them.
                }
                let names = self.html.names.take().unwrap_or_default();
                if self.html.cols.is_empty()
                    && names.len() > 1
                    && names.len() == self.html.index
                    && names.iter().any(Option::is_some)
                {
                    self.html.cols = names;
                }
                self.html.last = None;
            }
            _ => {}
        }
        At(at + 1)
    }

    /// The text that ends before `open`, without the tags around it and a colon after it.
    fn content(&self, open: usize) -> &[u8] {
        let mut before = self.slice(open.saturating_sub(160), open).trim_ascii_end();
        while before.last() == Some(&b'>')
            && let Some(tag) = memchr::memrchr(b'<', before)
        {
            before = before.get(..tag).unwrap_or_default().trim_ascii_end();
        }
        let from = memchr::memrchr(b'>', before).map_or(0, |i| i + 1);
        let content = before.get(from..).unwrap_or_default().trim_ascii();
        content
            .strip_suffix(b":")
            .unwrap_or(content)
            .trim_ascii_end()
    }

    /// A piece of a protected element.
    pub(super) fn element(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Element { hit, name, depth } = self.inner.clone() else {
            return At(self.pos);
        };
        let at = self.pos;
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        if b == b'<' {
            if rest.starts_with(b"<![CDATA[") {
                let Some(end) = memchr::memmem::find(rest, b"]]>") else {
                    if rest.len() > VALUE_MAX || closed {
                        self.mask(at + 9, limit, hit, Place::Inside, "markup");
                        self.swallow_until(Until::Tag);
                        return At(limit);
                    }
                    return self.more(at);
                };
                self.mask(at + 9, at + end, hit, Place::Inside, "markup");
                return At(at + end + 3);
            }
            if b"<![CDATA[".starts_with(rest) && !closed {
                return self.more_after(limit.saturating_sub(1));
            }
            let Some(end) = rest.iter().take(INNER_TAG_MAX).position(|b| *b == b'>') else {
                if rest.len() >= INNER_TAG_MAX {
                    // It is none: what stands in it has left.
                    self.inner = Inner::Text;
                    self.own.skip(at + INNER_TAG_MAX);
                    return At(at + INNER_TAG_MAX);
                }
                if closed {
                    self.inner = Inner::Text;
                    return At(at + 1);
                }
                return self.more_after(limit.saturating_sub(1));
            };
            let tag = rest.get(1..end).unwrap_or_default();
            let closes = tag.first() == Some(&b'/');
            let body = if closes {
                tag.get(1..).unwrap_or_default()
            } else {
                tag
            };
            let size = body
                .iter()
                .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b':'))
                .count();
            let same = body
                .get(..size)
                .unwrap_or_default()
                .eq_ignore_ascii_case(&name);
            let own = tag.last() == Some(&b'/');
            let ends_row =
                closes && matches!(body.get(..size), Some(b"tr" | b"TR" | b"table" | b"TABLE"));
            self.inner = match (same, closes) {
                (true, true) if depth <= 1 => Inner::Text,
                (true, true) => Inner::Element {
                    hit,
                    name,
                    depth: depth - 1,
                },
                (true, false) if !own && name != b"td" => Inner::Element {
                    hit,
                    name,
                    depth: depth + 1,
                },
                _ if ends_row => Inner::Text,
                _ => Inner::Element { hit, name, depth },
            };
            return At(at + end + 1);
        }
        if b == b'\n' {
            self.sink.row += 1;
            self.line = at + 1;
            self.line_cut = false;
            self.above = None;
            return At(at + 1);
        }
        if b.is_ascii_whitespace() {
            return At(at + 1);
        }
        let size = rest.iter().position(|b| matches!(b, b'<' | b'\n' | b'\r'));
        let Some(size) = size.or(closed.then_some(rest.len())) else {
            if rest.len() > VALUE_MAX {
                self.mask(at, limit, hit, Place::Inside, "markup");
                self.swallow_until(Until::Tag);
                return At(limit);
            }
            return self.more(at);
        };
        let size = trimmed(rest, size);
        if !value::is_nothing(self.slice(at, at + size)) && self.slice(at, at + size) != b"&nbsp;" {
            self.mask(at, at + size, hit, Place::Inside, "markup");
        }
        At(at + size.max(1))
    }
}

/// A tag inside of a protected element is at most this long.
const INNER_TAG_MAX: usize = 4096;

/// The value of one of these attributes in a tag.
pub(crate) fn attribute(tag: &[u8], names: &[&[u8]]) -> Option<Vec<u8>> {
    let mut rest = tag;
    while let Some(eq) = memchr::memchr(b'=', rest) {
        let name = rest.get(..eq)?.trim_ascii_end();
        let from = name
            .iter()
            .rposition(|b| b.is_ascii_whitespace())
            .map_or(0, |i| i + 1);
        let name = name.get(from..)?;
        let after = rest.get(eq + 1..)?.trim_ascii_start();
        let quote = *after.first()?;
        let (value, next) = if matches!(quote, b'"' | b'\'') {
            let end = memchr::memchr(quote, after.get(1..)?)? + 1;
            (after.get(1..end)?, after.get(end + 1..)?)
        } else {
            let end = after
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(after.len());
            (after.get(..end)?, after.get(end..)?)
        };
        if names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return Some(value.to_vec());
        }
        rest = next;
    }
    None
}
