//! Values of a Kubernetes Secret: members of `data` are read as what their base64 says.
//!
//! `kubectl get secret -o yaml` writes `data` before `kind`, so a Secret is known by the form of
//! its members alone. A value that decodes to text in which something is protected (a key, a
//! card, an address, a `password:` of a file) is masked whole. Names of members are compared
//! elsewhere, like those of any key.

use data_encoding::BASE64;

use crate::hold::Holds;
use crate::mask::Place;
use crate::rules::{Hit, Rules};
use crate::value::{self, Quote};

use super::{Flow, Frame, Lane, Until, VALUE_MAX};

/// A `data` that is open.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// A map in YAML: its members are indented further than this.
    Block(usize),
    /// An object in JSON.
    Object {
        /// Where the next member may begin; `None`: anywhere.
        at: Option<usize>,
        /// Lines that ended since the last member.
        lines: u32,
    },
}

/// How far apart two members may be.
const GAP_MAX: usize = 512;
/// A shorter value says nothing.
const LEAST: usize = 8;
/// How many times a value that was decoded may have values of its own.
const DEPTH_MAX: u32 = 3;

impl Lane {
    /// The part of [`separator`](Self::separator) that is about `data`: `at` is a colon, and
    /// `after` what follows it. `None`: the key and its value are read like any other.
    pub(super) fn encoded(
        &mut self,
        at: usize,
        after: usize,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        if self.data.is_none() && !opens_data(self.slice(0, at)) {
            return None;
        }
        // What may be a row of a table is read before it turns out to be none.
        let floor = match self.frame {
            Frame::Line => Some(self.line),
            Frame::Row => Some(self.row.cell),
            Frame::Start | Frame::Block | Frame::Painted => None,
        };
        let key = floor.and_then(|floor| value::key_before(self.text(), at, floor.min(at)));
        let Some(key) = key else {
            self.data = None;
            return None;
        };
        let rest = self.slice(after, limit);
        let spaces = rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let Some(&first) = rest.get(spaces) else {
            return (!closed).then(|| self.more_after(limit.saturating_sub(1)));
        };
        let v = after + spaces;
        if matches!(self.slice(key.name.0, key.name.1), b"data" | b"binaryData") {
            match first {
                b'{' => {
                    let at = Some(v + 1);
                    self.data = Some(Data::Object { at, lines: 0 });
                    return None;
                }
                b'\n' | b'\r' if key.quote.is_none() && self.leads(key.start) => {
                    self.data = Some(Data::Block(self.indent_of(key.start)));
                    return None;
                }
                _ => {}
            }
        }
        let is_member = match self.data? {
            Data::Block(indent) => self.leads(key.start) && self.indent_of(key.start) > indent,
            Data::Object { at: None, .. } => true,
            // It has been looked at: more of its value was needed.
            Data::Object { at: Some(at), .. } if at > key.start => return None,
            Data::Object { at: Some(at), .. } => {
                key.quote.is_some()
                    && key.start - at <= GAP_MAX
                    && self
                        .slice(at, key.start)
                        .iter()
                        .all(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'\\' | b'n'))
            }
        };
        if !is_member {
            self.data = None;
            return None;
        }
        let quote = match value::opening(self.slice(0, limit), v, closed) {
            None => return Some(self.more(v)),
            Some(quote) => quote,
        };
        self.encoded_value(v, quote, key.name, limit, closed)
    }

    /// The value of a member, which begins at `v`.
    fn encoded_value(
        &mut self,
        v: usize,
        quote: Option<Quote>,
        name: (usize, usize),
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        let content = v + quote.map_or(0, Quote::len);
        let from = match self.seen {
            Some((at, from)) if at == content => from,
            Some(_) | None => content,
        };
        let is_digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        let run = self
            .slice(from, limit)
            .iter()
            .take_while(|b| is_digit(b))
            .count();
        let end = from + run;
        let open = end >= limit && !closed;
        let place = if quote.is_some() {
            Place::Inside
        } else {
            Place::Word
        };
        if end - content > VALUE_MAX {
            // Nobody can say what it is.
            self.seen = None;
            let hit = self.rules.compiled().any()?;
            self.mask(content, end, hit, place, "base64");
            if open {
                self.swallow_until(quote.map_or(Until::Line, Until::Quote));
            }
            if let Some(Data::Object { at, lines }) = &mut self.data {
                (*at, *lines) = (None, 0);
            }
            return Some(Flow::At(end));
        }
        if open {
            self.seen = Some((content, end));
            return Some(self.more(v));
        }
        self.seen = None;
        let next = self.slice(end, limit).first();
        let ends = match quote {
            None => next.is_none_or(u8::is_ascii_whitespace),
            Some(quote) => next.is_some_and(|b| *b == quote.mark || *b == b'\\'),
        };
        // Go writes bytes that are not there as null.
        let is_null = quote.is_none()
            && self.slice(content, end) == b"null"
            && next.is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'}'));
        if let Some(Data::Object { at, lines }) = &mut self.data {
            (*at, *lines) = (Some(end + quote.map_or(0, Quote::len)), 0);
            if !is_null && (!ends || quote.is_none()) {
                // Values of a Secret are strings: this is something else.
                self.data = None;
            }
        }
        if !ends
            || self
                .rules
                .compiled()
                .field(self.slice(name.0, name.1))
                .is_some()
        {
            return None;
        }
        let hit = self.encoded_hit(self.slice(content, end))?;
        self.mask(content, end, hit, place, "base64");
        Some(Flow::At(end))
    }

    /// What is protected in what `text` says in base64.
    fn encoded_hit(&self, text: &[u8]) -> Option<Hit> {
        if text.len() < LEAST || self.depth >= DEPTH_MAX {
            return None;
        }
        let plain = BASE64.decode(text).ok()?;
        let mut lane = Self::new(Rules::clone(&self.rules), false, Holds::new(false, None));
        lane.depth = self.depth + 1;
        lane.read(&plain);
        lane.end();
        lane.sink.verdicts.iter().next().map(|noted| noted.hit)
    }

    /// Whether the line that begins here may be told from the map in YAML; a line that is
    /// indented no further ends it.
    pub(super) fn data_goes_on(&mut self, end: bool) -> bool {
        let Some(Data::Block(indent)) = self.data else {
            return true;
        };
        let rest = self.text().get(self.pos..).unwrap_or_default();
        let spaces = rest.iter().take(1024).take_while(|b| **b == b' ').count();
        match rest.get(spaces) {
            None if !end => return false,
            Some(b'\n' | b'\r') => {}
            _ if spaces > indent && spaces < 1024 => {}
            _ => self.data = None,
        }
        true
    }

    /// The line from `from` to `to` has ended: an object without a member in a whole line is none
    /// of a Secret, and a map may begin below what was read as the row of a table.
    pub(super) fn data_line(&mut self, from: usize, to: usize) {
        let line = self.slice(from, to).trim_ascii_end();
        if self.data.is_none() && line.ends_with(b"ata:") {
            let colon = from + line.len() - 1;
            if let Some(key) = value::key_before(self.text(), colon, from)
                && matches!(self.slice(key.name.0, key.name.1), b"data" | b"binaryData")
                && key.quote.is_none()
                && self.leads(key.start)
            {
                self.data = Some(Data::Block(self.indent_of(key.start)));
            }
        }
        if let Some(Data::Object { lines, .. }) = &mut self.data {
            *lines += 1;
            if *lines > 1 {
                self.data = None;
            }
        }
    }
}

/// Whether a key that ends with `data` may end here.
pub(crate) fn opens_data(before: &[u8]) -> bool {
    let quotes = before
        .iter()
        .rev()
        .take(4)
        .take_while(|b| matches!(b, b'"' | b'\\'))
        .count();
    before
        .get(..before.len() - quotes)
        .is_some_and(|name| name.ends_with(b"data") || name.ends_with(b"Data"))
}
