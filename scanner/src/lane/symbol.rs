//! Names that a sign marks, a bracket or an arrow: `[:ssn, "…"]`, `:ssn "…"`, `(ssn . "…")`,
//! `Map(ssn -> …)`.

use crate::mask::Place;
use crate::name::is_word;
use crate::rules::Hit;
use crate::value::{self, Key, Style};

use super::Flow::At;
use super::{Flow, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// A symbol or keyword and its value: `[:ssn, "…"]` of Ruby, `{:ssn, "…"}` of Elixir,
    /// `:ssn "…"` of Clojure and Lisp. `at` is the colon.
    pub(super) fn symbol(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if self.rules.compiled().fields.is_empty() || !self.is_keyword(at + 1) {
            return None;
        }
        let rest = self.slice(at + 1, limit);
        if !rest.first().is_none_or(u8::is_ascii_alphabetic) {
            return None;
        }
        let part = |b: &&u8| is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b'/');
        let size = rest.iter().take(NAME_MAX).take_while(part).count();
        match rest.get(size) {
            None if !closed && size < NAME_MAX => Some(self.more_after(at)),
            Some(b',') if size > 0 && self.opens_list(at) => {
                Some(self.tuple(at + 1 + size, limit, closed))
            }
            Some(b' ') if size > 0 => {
                let name = (at + 1, at + 1 + size);
                let hit = self.rules.compiled().field(self.slice(name.0, name.1))?;
                self.symbol_value(name, hit, limit, closed)
            }
            _ => None,
        }
    }

    /// What stands behind a keyword and a space: a string, a list, or a string with its kind
    /// before it (`#uuid "…"`). A word may be anything, and a number outside of a map.
    fn symbol_value(
        &mut self,
        name: (usize, usize),
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let rest = self.slice(name.1, limit);
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let mut v = name.1 + spaces;
        let rest = rest.get(spaces..).unwrap_or_default();
        if rest.first() == Some(&b'#') {
            let kind =
                |b: &&u8| is_word(**b) || matches!(b, b'#' | b'/' | b'.' | b'-' | b'_' | b' ');
            let size = rest.iter().take(NAME_MAX).take_while(kind).count();
            if size == rest.len() && !closed && size < NAME_MAX {
                return Some(self.more_after(name.0 - 1));
            }
            v += size;
        }
        let key = Key {
            start: name.0,
            name,
            quote: None,
        };
        match self.byte(v).filter(|_| v < limit) {
            None if !closed => Some(self.more_after(name.0 - 1)),
            Some(b'"') => self.string_behind(key, v, hit, limit, closed),
            Some(b'[' | b'{') => {
                self.inner = Inner::container(hit);
                Some(At(v))
            }
            // A number, in a map.
            Some(b'0'..=b'9' | b'-') if self.in_map(name.0 - 1) => {
                let Some(end) = value::bare_end(
                    self.slice(0, limit),
                    v,
                    Style::Word { nested: true },
                    closed,
                ) else {
                    return (limit - v <= VALUE_MAX).then(|| self.more(v));
                };
                self.mask(v, end, hit, Place::Literal, "key-value");
                Some(At(end))
            }
            _ => None,
        }
    }

    /// Whether the colon before `name` marks it, and ends no other name.
    pub(super) fn is_keyword(&self, name: usize) -> bool {
        let byte = |n: usize| name.checked_sub(n).and_then(|i| self.byte(i));
        byte(1) == Some(b':')
            && byte(2).is_none_or(|b| {
                b.is_ascii_whitespace() || matches!(b, b'[' | b'{' | b'(' | b',' | b'#')
            })
    }

    fn in_map(&self, at: usize) -> bool {
        self.opened(at).and_then(|open| self.byte(open)) == Some(b'{')
    }

    fn opens_list(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|i| self.byte(i));
        matches!(before, Some(b'[' | b'{' | b'('))
    }

    /// A list of Lisp that is a name and its value: `(ssn . "…")`, `(ssn "…")`. `at` is the
    /// bracket.
    pub(super) fn list_pair(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if self.rules.compiled().fields.is_empty() {
            return None;
        }
        let rest = self.slice(at + 1, limit);
        let open = usize::from(rest.first() == Some(&b'"'));
        let part = |b: &&u8| is_word(**b) || matches!(b, b'_' | b'-');
        let size = rest.iter().skip(open).take(NAME_MAX).take_while(part);
        let size = size.count();
        let close = open + size;
        match rest.get(close) {
            None if !closed && size < NAME_MAX => return Some(self.more_after(at)),
            Some(b'"') if open > 0 && size > 0 => {}
            Some(b' ') if open == 0 && size > 0 => {}
            _ => return None,
        }
        let name = (at + 1 + open, at + 1 + close);
        let hit = self.rules.compiled().field(self.slice(name.0, name.1))?;
        let after = name.1 + open;
        let gap = self.slice(after, limit);
        let near = gap.get(..4).unwrap_or(gap);
        if !closed && near.len() < 4 && (b" . \"".starts_with(near) || b" \"".starts_with(near)) {
            return Some(self.more_after(at));
        }
        let dotted = near.starts_with(b" . \"");
        if !(dotted || open == 0 && near.starts_with(b" \"")) {
            return None;
        }
        let v = after + if dotted { 3 } else { 1 };
        let key = Key {
            start: name.0,
            name,
            quote: None,
        };
        self.string_behind(key, v, hit, limit, closed)
    }

    /// The string that is a value behind a key without quotes; none where that one ends there:
    /// `[":ssn ", "a"]`, `"(ssn "`.
    fn string_behind(
        &mut self,
        key: Key,
        v: usize,
        hit: Hit,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let Some(quote) = value::opening(self.slice(0, limit), v, closed) else {
            return Some(self.more(v));
        };
        let quote = quote?;
        match self.closes_string(&key, v, quote, limit, closed) {
            None => Some(self.more(v)),
            Some(true) => None,
            Some(false) => Some(self.quoted(key, v, quote, hit, limit, closed, false)),
        }
    }

    /// A member of a map of Scala: `Map(ssn -> …)`, `"ssn" -> "…"`. `at` is the dash.
    pub(super) fn mapped(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if at.checked_sub(1).and_then(|i| self.byte(i)) != Some(b' ') {
            return None;
        }
        let rest = self.slice(at, limit);
        let near = rest.get(..3).unwrap_or(rest);
        if near != b"-> " {
            let waits = !closed && near.len() < 3 && b"-> ".starts_with(near);
            return waits.then(|| self.more_after(at));
        }
        let floor = self.line_floor(at);
        let key = self.key(at, floor.min(at))?;
        let hit = self
            .rules
            .compiled()
            .field(self.slice(key.name.0, key.name.1))?;
        let open = self.opened(key.start)?;
        let is_map =
            self.byte(open) == Some(b'(') && self.slice(open.saturating_sub(3), open) == b"Map";
        if !is_map && key.quote.is_none() {
            return None;
        }
        let v = at + 3;
        match value::opening(self.slice(0, limit), v, closed) {
            None => return Some(self.more(v)),
            Some(Some(quote)) => {
                return Some(self.quoted(key, v, quote, hit, limit, closed, false));
            }
            Some(None) if !is_map => return None,
            Some(None) => {}
        }
        let Some(end) = value::bare_end(self.slice(0, limit), v, Style::Json, closed) else {
            if limit - v > VALUE_MAX {
                self.mask(v, limit, hit, Place::Inside, "key-value");
                self.swallow_until(Until::Bare);
                return Some(At(limit));
            }
            return Some(self.more(v));
        };
        if !value::is_nothing(self.slice(v, end)) {
            self.mask(v, end, hit, Place::Word, "key-value");
        }
        Some(At(end.max(v)))
    }
}

/// A longer name is not compared.
const NAME_MAX: usize = 64;
