//! Protected objects and arrays, and the rest of values that are too long.

use crate::mask::Place;
use crate::rules::Hit;
use crate::value::{self, End, Quote};

use super::Flow::At;
use super::{Flow, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// One token of a protected object or array.
    pub(super) fn container(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Container {
            hit,
            depth,
            slashes,
            doubled,
            string,
        } = self.inner
        else {
            return At(self.pos);
        };
        let at = self.pos;
        let Some(b) = self.byte(at) else {
            return At(limit);
        };
        match b {
            b'{' | b'[' => {
                self.inner = Inner::Container {
                    hit,
                    depth: depth + 1,
                    slashes,
                    doubled,
                    string,
                };
                At(at + 1)
            }
            b'}' | b']' => {
                self.inner = if depth <= 1 {
                    Inner::Text
                } else {
                    Inner::Container {
                        hit,
                        depth: depth - 1,
                        slashes,
                        doubled,
                        string,
                    }
                };
                At(at + 1)
            }
            b'\n' => {
                self.sink.row += 1;
                self.line = at + 1;
                self.line_cut = false;
                self.above = None;
                At(at + 1)
            }
            b' ' | b'\t' | b'\r' | b',' | b':' | b';' | b'=' => At(at + 1),
            b'>' if at.checked_sub(1).and_then(|i| self.byte(i)) == Some(b'=') => At(at + 1),
            b'"' | b'\'' | b'`' | b'\\' => {
                let Some(opening) = value::opening(self.slice(0, limit), at, closed) else {
                    return self.more(at);
                };
                let Some(quote) = opening else {
                    return self.escaped(at, hit, (slashes, string), limit, closed);
                };
                if quote.slashes < slashes {
                    self.inner = Inner::Text; // The string around it has ended.
                    return At(at);
                }
                if doubled && quote.mark == b'"' {
                    let next = at + quote.slashes + 1;
                    match self.slice(0, limit).get(next) {
                        None if !closed => return self.more(at),
                        Some(b'"') => {}
                        _ => {
                            self.inner = Inner::Text; // The field around it has ended.
                            return At(next);
                        }
                    }
                }
                // Backslashes in pairs stand for themselves.
                let outer =
                    quote.slashes == slashes || slashes == 0 && quote.slashes.is_multiple_of(2);
                if string && quote.mark == b'"' && outer {
                    match self.closer(at + quote.len(), limit, closed) {
                        None => return self.more(at),
                        Some(true) => {
                            self.inner = Inner::Text; // As has a string around a bare key.
                            return At(at);
                        }
                        Some(false) => {}
                    }
                }
                let quote = if doubled && quote.mark == b'"' {
                    Quote {
                        doubled: true,
                        tripled: false,
                        ..quote
                    }
                } else {
                    Quote {
                        tripled: false,
                        ..quote
                    }
                };
                self.contained(at, quote, hit, limit, closed)
            }
            _ => {
                let rest = self.slice(at, limit);
                let size = rest
                    .iter()
                    .position(|b| {
                        matches!(
                            b,
                            b',' | b'}' | b']' | b':' | b'"' | b'\\' | b'\n' | b'\r' | b'{' | b'['
                        ) || (*b == b' ')
                    })
                    .unwrap_or(rest.len());
                if size == rest.len() && !closed {
                    if size > VALUE_MAX {
                        self.mask(at, limit, hit, Place::Inside, "json");
                        self.swallow_until(Until::Bare);
                        return At(limit);
                    }
                    return self.more(at);
                }
                let end = at + size;
                if self.byte(end) == Some(b':') && end + 1 >= limit && !closed {
                    return self.more(at);
                }
                let key = self.slice(end, limit).first() == Some(&b':')
                    && matches!(
                        self.slice(end + 1, limit).first(),
                        None | Some(b' ' | b'"' | b'\n')
                    );
                if !key && !value::is_nothing(self.slice(at, end)) {
                    let place = match (slashes, doubled) {
                        _ if string => Place::Inside,
                        (_, true) => Place::Doubled,
                        (0, _) => Place::Literal,
                        (1, _) => Place::Escaped,
                        _ => Place::Inside,
                    };
                    self.mask(at, end, hit, place, "json");
                }
                At(end.max(at + 1))
            }
        }
    }

    /// A backslash before no quote: white space of JSON in a string, or what is no JSON.
    fn escaped(
        &mut self,
        at: usize,
        hit: Hit,
        (slashes, string): (usize, bool),
        limit: usize,
        closed: bool,
    ) -> Flow {
        let inside = slashes > 0 || string;
        let rest = self.slice(at, limit);
        if rest.len() < 2 && !closed {
            return self.more(at);
        }
        if !inside || matches!(rest.get(1), Some(b'n' | b'r' | b't' | b'\\') | None) {
            return At(at + 1 + usize::from(inside && rest.len() > 1));
        }
        let size = rest.iter().skip(1).position(|b| !crate::name::is_word(*b));
        let Some(size) = size.or(closed.then_some(rest.len() - 1)) else {
            if rest.len() > VALUE_MAX {
                self.mask(at, limit, hit, Place::Inside, "json");
                self.swallow_until(Until::Bare);
                return At(limit);
            }
            return self.more(at);
        };
        let place = if slashes == 1 {
            Place::Escaped
        } else {
            Place::Inside
        };
        self.mask(at, at + 1 + size, hit, place, "json");
        At(at + 1 + size)
    }

    /// A string in a container: a key if a colon follows, else a value.
    fn contained(&mut self, at: usize, quote: Quote, hit: Hit, limit: usize, closed: bool) -> Flow {
        let content = at + quote.len();
        let from = match self.seen {
            Some((seen, from)) if seen == content => from,
            Some(_) | None => content,
        };
        let end = match value::quoted_end(self.slice(0, limit), content, from, quote, closed) {
            End::Quote(end) | End::Line(end) => end,
            End::Open(upto) => {
                self.seen = Some((content, upto));
                if limit - content > VALUE_MAX {
                    self.seen = None;
                    self.mask(content, upto, hit, Place::Inside, "json");
                    // What follows the string is seen by the container again.
                    self.swallow_until(Until::Quote(quote));
                    return At(upto);
                }
                return self.more(at);
            }
        };
        // Fewer backslashes end the string that the container stands in.
        let outer = quote.slashes > 0 && {
            let tail = self.slice(end, limit);
            let slashes = tail.iter().take_while(|b| **b == b'\\').count();
            slashes != quote.slashes && tail.get(slashes) == Some(&quote.mark)
        };
        if outer {
            self.seen = None;
            self.mask(content, end, hit, Place::Inside, "json");
            self.inner = Inner::Text;
            return At(end);
        }
        let close = (end + quote.len()).min(limit);
        let rest = self.slice(close, limit);
        let spaces = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let is_key = match rest.get(spaces) {
            None if !closed && spaces < 1024 => return self.more(at),
            Some(b':') => true,
            Some(b'=') => match rest.get(spaces + 1) {
                None if !closed => return self.more(at),
                next => next == Some(&b'>'),
            },
            _ => false,
        };
        self.seen = None;
        if !is_key && !value::is_nothing(self.slice(content, end)) {
            self.mask(content, end, hit, Place::Inside, "json");
        }
        At(close.max(at + 1))
    }

    /// From here on everything is dropped up to a delimiter; then it goes on as now.
    pub(super) fn swallow_until(&mut self, until: Until) {
        let then = Box::new(std::mem::replace(&mut self.inner, Inner::Text));
        self.inner = Inner::Swallow { until, then };
    }

    /// What was swallowed has ended.
    fn swallowed(&mut self) {
        self.inner = match std::mem::replace(&mut self.inner, Inner::Text) {
            Inner::Swallow { then, .. } => *then,
            other => other,
        };
    }

    fn inner_until(&mut self, now: Until) {
        if let Inner::Swallow { until, .. } = &mut self.inner {
            *until = now;
        }
    }

    /// The rest of a value that was too long to be withheld.
    pub(super) fn swallow(&mut self, until: Until, limit: usize, closed: bool) -> Flow {
        let at = self.pos;
        let rest = self.slice(at, limit);
        let end = match until {
            Until::Quote(quote) => {
                match value::quoted_end(self.slice(0, limit), at, at, quote, closed) {
                    End::Quote(end) | End::Line(end) => Some(end),
                    End::Open(upto) => {
                        let upto = upto.max(at);
                        self.pass_to(at);
                        self.drop_to(upto);
                        self.pos = upto;
                        return self.more(upto);
                    }
                }
            }
            Until::Text(quote) => {
                match self.sql_string(at, at, quote.mark, limit, closed) {
                    End::Quote(end) => {
                        self.pass_to(at);
                        self.drop_to(end);
                        self.swallowed();
                        // Its quote would begin another one.
                        return At((end + 1).min(limit));
                    }
                    End::Line(end) => Some(end),
                    End::Open(upto) => {
                        let upto = upto.max(at);
                        self.pass_to(at);
                        self.drop_to(upto);
                        self.pos = upto;
                        return self.more(upto);
                    }
                }
            }
            Until::Line => memchr::memchr(b'\n', rest).map(|i| at + i),
            Until::Bare => rest
                .iter()
                .position(|b| {
                    b.is_ascii_whitespace()
                        || matches!(
                            b,
                            b',' | b';' | b'"' | b'\'' | b'}' | b']' | b')' | b'<' | b'|'
                        )
                })
                .map(|i| at + i),
            Until::Dumped(least) => {
                let skip = least.min(rest.len());
                let after = rest.get(skip..).unwrap_or_default();
                let ends = |i: &usize| match after.get(i + 1) {
                    None => true,
                    Some(b) => matches!(b, b'\n' | b'\r'),
                };
                let end = memchr::memchr_iter(b'"', after).find(ends);
                let end = end.map(|i| at + skip + i);
                self.inner_until(Until::Dumped(least - skip));
                match end {
                    // Whether it is the last one is not known yet.
                    Some(end) if end + 1 >= limit && !closed => {
                        self.pass_to(at);
                        self.drop_to(end);
                        self.pos = end;
                        return self.more(end);
                    }
                    end => end,
                }
            }
            Until::Tag(within) => {
                let size = memchr::memchr3(b'<', b'\n', b'\r', rest);
                let text = rest.get(..size.unwrap_or(rest.len())).unwrap_or_default();
                within.ends(text).or(size).map(|i| at + i)
            }
            Until::Section => {
                let found = memchr::memmem::find(rest, b"]]>").map(|i| at + i);
                let upto = found.unwrap_or_else(|| {
                    let open = rest.iter().rev().take(2).take_while(|b| **b == b']');
                    limit - if closed { 0 } else { open.count() }
                });
                self.pass_to(at);
                self.drop_to(upto);
                self.pos = upto;
                if found.is_none() {
                    return if closed { At(limit) } else { self.more(upto) };
                }
                self.swallowed();
                return At(upto + 3);
            }
        };
        self.pass_to(at);
        match end {
            Some(end) => {
                self.drop_to(end);
                self.swallowed();
                At(end)
            }
            None => {
                self.drop_to(limit);
                At(limit)
            }
        }
    }
}
