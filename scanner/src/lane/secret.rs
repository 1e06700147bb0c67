//! Detectors with a shape of their own: URLs, private keys, arguments of a command.

use crate::mask::Place;
use crate::rules::{Detector, Hit};
use crate::value::{self, Key, Quote, Style};

use super::Flow::At;
use super::field::is_member;
use super::{Flow, Frame, Inner, Lane, Until, VALUE_MAX};

impl Lane {
    /// A password in a URL: `at` is the colon of `://`.
    pub(super) fn url(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let Some(hit) = self.rules.compiled().detector(Detector::UrlPassword) else {
            return At(at + 1);
        };
        // JSON may write `:\/\/`.
        let rest = self.slice(at, limit);
        let size = [&b"://"[..], b":\\/\\/"].into_iter().find_map(|mark| {
            let near = rest.get(..mark.len()).unwrap_or(rest);
            (mark.starts_with(near)).then_some((mark.len(), near.len() == mark.len()))
        });
        let from = match size {
            Some((size, true)) => at + size,
            Some(_) if !closed => return self.more_after(at),
            _ => return At(at + 2),
        };
        let rest = self.slice(from, limit);
        let size = rest
            .iter()
            .take(2048)
            .position(|b| {
                b.is_ascii_whitespace()
                    || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b'|')
            })
            .unwrap_or(rest.len().min(2048));
        let token = rest.get(..size).unwrap_or_default();
        let whole = size < rest.len() || closed || size == 2048;
        let path = token
            .iter()
            .position(|b| matches!(b, b'/' | b'?' | b'#'))
            .unwrap_or(size);
        let authority = token.get(..path).unwrap_or_default();
        let path = match self.parameters(at, authority, whole || path < size) {
            Ok(path) => path,
            Err(open) => {
                let colon = memchr::memchr(b':', authority).map_or(open, |colon| colon + 1);
                return self.more(from + open.min(colon));
            }
        };
        let authority = token.get(..path).unwrap_or_default();
        let user = authority.iter().position(|b| *b == b':');
        let host_at = authority.iter().rposition(|b| *b == b'@');
        let done = whole || path < size;
        let Some(colon) = user else {
            // Without a colon there is no password; a user's name is no address.
            return match host_at {
                Some(i) if done => At(from + i + 1),
                _ if done => At(from + path),
                _ => self.more_after(limit.saturating_sub(1)),
            };
        };
        let start = from + colon + 1;
        if let Some(i) = host_at.filter(|i| *i > colon) {
            if !done {
                return self.more(start);
            }
            let end = from + i;
            if end > start {
                self.mask(start, end, hit, Place::Inside, "url");
            }
            return At(end + 1);
        }
        let port = authority.get(colon + 1..).is_some_and(is_port);
        if done && (port || path == size || authority.get(colon + 1) == Some(&b'[')) {
            return At(from + path);
        }
        if !whole {
            return self.more(start);
        }
        // A password with a slash that nobody escaped.
        match token.iter().rposition(|b| *b == b'@') {
            Some(i) if i > colon => {
                self.mask(start, from + i, hit, Place::Inside, "url");
                At(from + i + 1)
            }
            _ => At(from + path),
        }
    }

    /// How much of what stands behind the `://` at `at` is a host: `;name=` may follow it (SQL
    /// Server's URLs), or stand in the password before it. Where nobody can say, it is part of a
    /// password, unless a field says what it is. The place where it may end, if more is needed.
    fn parameters(&self, at: usize, authority: &[u8], ended: bool) -> Result<usize, usize> {
        let scheme = self.slice(self.line_floor(at), at);
        let part = |b: &&u8| crate::name::is_word(**b) || matches!(b, b'+' | b'-' | b'.' | b':');
        let size = scheme.iter().rev().take_while(part).count();
        let scheme = scheme.get(scheme.len() - size..).unwrap_or_default();
        let jdbc = memchr::memmem::find(scheme, b"jdbc:").is_some();
        let asked = memchr::memrchr(b'@', authority);
        let colon = memchr::memchr(b':', authority);
        for end in memchr::memchr3_iter(b';', b',', b'&', authority) {
            let (before, behind) = authority.split_at_checked(end).unwrap_or_default();
            let port = memchr::memchr(b':', before).and_then(|i| before.get(i + 1..));
            let user = before.contains(&b'@');
            let again = asked > Some(end);
            let is_host = user
                || before.first() == Some(&b'[')
                || before.first() != Some(&b':') && is_port(port.unwrap_or(b""));
            let mut named = behind
                .split(|b| matches!(b, b';' | b',' | b'&'))
                .skip(1)
                .map(|one| one.split(|b| *b == b'=').next().unwrap_or_default());
            let sign = match value::next_key(behind, 1, ended) {
                _ if !is_host => continue,
                None => return Err(end),
                Some(0) => continue,
                Some(size) => behind.get(size + 1),
            };
            let protected = |name: &[u8]| self.rules.compiled().field(name).is_some();
            if sign == Some(&b':') {
                // A user, whose password has a slash in it.
                let next = behind.get(1..).unwrap_or_default();
                let next = next.split(|b| matches!(b, b';' | b',' | b'&')).next();
                let mut sides = next.unwrap_or_default().splitn(2, |b| *b == b':');
                let name = sides.next().unwrap_or_default();
                if ended && !protected(name) && !sides.next().is_some_and(is_port) {
                    continue;
                }
                // The next host of a list, or another user.
                if again {
                    continue;
                }
                return if ended { Ok(end) } else { Err(end) };
            }
            // Behind an address a password may have parameters in it.
            if jdbc && authority.get(end) == Some(&b';')
                || named.any(protected)
                || ended && !(again && colon < asked)
            {
                return Ok(end);
            }
            if !ended {
                return Err(end);
            }
        }
        Ok(authority.len())
    }

    /// `PRIVATE KEY-----`: the key follows.
    pub(super) fn private_key(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        const LINE: &[u8] = b"KEY-----";
        const BLOCK: &[u8] = b"KEY BLOCK-----";
        let Some(hit) = self.rules.compiled().detector(Detector::PrivateKey) else {
            return At(at + 1);
        };
        if !self.slice(0, at).ends_with(b"PRIVATE ") {
            return At(at + 1);
        }
        let rest = self.slice(at, limit);
        if rest.len() < BLOCK.len()
            && !closed
            && (LINE.starts_with(rest) || BLOCK.starts_with(rest))
        {
            return self.more_after(limit.saturating_sub(1));
        }
        let size = if rest.starts_with(LINE) {
            LINE.len()
        } else if rest.starts_with(BLOCK) {
            BLOCK.len()
        } else {
            return At(at + 1);
        };
        let from = at.saturating_sub(48);
        let begins = memchr::memmem::rfind(self.slice(from, at), b"-----BEGIN ");
        let Some(begins) = begins else {
            return At(at + 1);
        };
        let before = self.slice(self.line_floor(at), from + begins);
        let marks = |b: &u8| matches!(b, b' ' | b'\t' | b'|' | b'+');
        let prefixed = self.frame == Frame::Line
            && !before.iter().all(marks)
            && memchr::memchr3(b'"', b'\'', b'\\', before).is_none();
        let prefix = prefixed.then(|| Prefix {
            shape: shape(before),
            width: 0,
        });
        self.inner = Inner::Pem {
            hit,
            lines: 0,
            prefix,
        };
        At(at + size)
    }

    /// A piece of a private key's body.
    pub(super) fn pem(&mut self, limit: usize, closed: bool) -> Flow {
        let Inner::Pem { hit, lines, prefix } = self.inner else {
            return At(self.pos);
        };
        let at = self.pos;
        if let Some(prefix) = prefix
            && self.line == at
            && self.byte(at) != Some(b'\n')
        {
            return self.pem_line(hit, lines, prefix, limit, closed);
        }
        let rest = self.slice(at, limit);
        let Some(&b) = rest.first() else {
            return At(limit);
        };
        let body = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        match b {
            b'\n' => {
                self.sink.row += 1;
                self.line = at + 1;
                self.line_cut = false;
                self.above = None;
                self.inner = if lines > 4096 {
                    Inner::Text
                } else {
                    Inner::Pem {
                        hit,
                        lines: lines + 1,
                        prefix,
                    }
                };
                At(at + 1)
            }
            b'\r' | b' ' | b'\t' | b'|' | b'+' if b != b'+' || lines > 0 && self.line == at => {
                At(at + 1)
            }
            b'\\' => match rest.get(1) {
                None if !closed => self.more(at),
                Some(b'n' | b'r' | b'\\') => At(at + 2),
                _ => {
                    self.inner = Inner::Text;
                    At(at)
                }
            },
            b'-' => {
                // The next ones say nothing: how many there are does not matter.
                let dashes = rest.iter().take(6).take_while(|b| **b == b'-').count();
                if dashes == rest.len() && !closed && dashes <= 5 {
                    return self.more_after(limit.saturating_sub(1));
                }
                self.inner = Inner::Text;
                At(at + dashes)
            }
            b if body(b) => {
                let near = rest.iter().take(PEM_LINE_MAX + 1);
                let size = near.take_while(|b| body(**b)).count();
                // Whatever follows: no word that says something is that long.
                if size > PEM_LINE_MAX {
                    self.mask(at, at + size, hit, Place::Inside, "pem");
                    self.swallow_until(Until::Bare);
                    return At(at + size);
                }
                let next = rest.get(size).copied();
                if next.is_none() && !closed {
                    return self.more(at);
                }
                // `Proc-Type: 4,ENCRYPTED` and the like stand before the body.
                if matches!(next, Some(b'-' | b':')) && lines <= 6 {
                    let near = rest.get(..PEM_LINE_MAX).unwrap_or(rest);
                    let to = at + near.len();
                    return match memchr::memchr(b'\n', near) {
                        Some(line) => At(at + line),
                        None if to - at == PEM_LINE_MAX => {
                            self.mask(at, to, hit, Place::Inside, "pem");
                            self.swallow_until(Until::Line);
                            At(to)
                        }
                        None if !closed => self.more(at),
                        None => At(limit),
                    };
                }
                if size < 4 && lines < 2
                    || matches!(
                        next,
                        Some(b'.' | b'(' | b')' | b'$' | b'_' | b'@' | b'#' | b'>' | b'{' | b';')
                    )
                {
                    self.inner = Inner::Text;
                    return At(at);
                }
                // Words with spaces between them are text again.
                if next == Some(b' ') && lines > 0 && size < 40 {
                    self.inner = Inner::Text;
                    return At(at);
                }
                self.mask(at, at + size, hit, Place::Inside, "pem");
                At(at + size)
            }
            _ => {
                self.inner = Inner::Text;
                At(at)
            }
        }
    }

    /// A line of a private key that has something before it, as `cat -n`, `grep -n`, a quotation or
    /// a log: its last word is part of the key.
    fn pem_line(
        &mut self,
        hit: Hit,
        lines: u32,
        prefix: Prefix,
        limit: usize,
        closed: bool,
    ) -> Flow {
        const HEADERS: [&[u8]; 6] = [
            b"Proc-Type:",
            b"DEK-Info:",
            b"Version:",
            b"Comment:",
            b"Hash:",
            b"Charset:",
        ];
        let at = self.pos;
        let rest = self.slice(at, limit);
        let near = rest.get(..PREFIXED_MAX).unwrap_or(rest);
        let line = memchr::memchr(b'\n', near);
        let cut = near.len() == PREFIXED_MAX;
        let Some(size) = line.or((closed || cut).then_some(near.len())) else {
            return self.more(at);
        };
        let text = near.get(..size).unwrap_or_default();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let body = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        let from = text.iter().rposition(|b| !body(b)).map_or(0, |i| i + 1);
        let (from, to) = (at + from, at + text.len());
        let says = |word: &&[u8]| memchr::memmem::find(text, word).is_some();
        let head = lines <= HEADER_LINES && (from == to || HEADERS.iter().any(says));
        let ends = memchr::memmem::find(text, b"-----END ").is_some();
        if head && !ends {
            return At(at + size);
        }
        let word = self.slice(from, to);
        let alike = from == at || shape(self.slice(at, from)) == prefix.shape;
        let (size, narrow) = (word.len(), prefix.width < PEM_LINE_LEAST);
        let full = narrow && prefix.width > 0 && size >= prefix.width;
        let goes_on = size >= PEM_LINE_LEAST || alike && (full || narrow && looks_encoded(word));
        // Another line is the last one, or none.
        let last = prefix.width > 0 && size > 0 && (alike || !narrow);
        self.inner = if ends || !goes_on {
            Inner::Text
        } else {
            Inner::Pem {
                hit,
                lines,
                prefix: Some(Prefix {
                    width: if prefix.width > 0 { prefix.width } else { size },
                    ..prefix
                }),
            }
        };
        if ends || !goes_on && !last {
            return At(at);
        }
        self.mask(from, to, hit, Place::Inside, "pem");
        if line.is_none() && cut {
            self.swallow_until(Until::Bare);
        }
        At(to)
    }

    /// The field of `--name password --value …`, at the second option.
    fn named_argument(&self, at: usize, name: usize, end: usize) -> Option<Hit> {
        if !matches!(self.slice(name, end), b"value" | b"secret-string") {
            return None;
        }
        let before = self.slice(self.line_floor(at), at);
        let name = [b"--name ".as_slice(), b"--name=", b"--secret-id "]
            .iter()
            .find_map(|word| {
                let at = memchr::memmem::rfind(before, word)?;
                before.get(at + word.len()..)
            })?;
        let size = name.iter().position(u8::is_ascii_whitespace)?;
        let name = super::sql::column(name.get(..size)?);
        self.rules.compiled().field(name)
    }

    /// `--name value` and `"--name", "value"`: `at` is the first dash.
    pub(super) fn argument(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let before = at.checked_sub(1).and_then(|i| self.byte(i));
        if self.rules.compiled().fields.is_empty()
            || before.is_some_and(|b| {
                !(b.is_ascii_whitespace()
                    || matches!(b, b'"' | b'\'' | b'[' | b'(' | b'`' | b',' | b'='))
            })
        {
            let dashes = self
                .slice(at, limit)
                .iter()
                .take_while(|b| **b == b'-')
                .count();
            return At(at + dashes);
        }
        let rest = self.slice(at, limit);
        let dashes = rest.iter().take_while(|b| **b == b'-').count();
        if dashes == rest.len() && !closed && dashes <= 2 {
            return self.more_after(limit.saturating_sub(1));
        }
        if dashes != 2 {
            return At(at + dashes);
        }
        let name_at = at + 2;
        let name = rest.get(2..).unwrap_or_default();
        let size = name
            .iter()
            .take(128)
            .take_while(|b| crate::name::is_word(**b) || matches!(b, b'_' | b'-' | b'.'))
            .count();
        if size == 0 {
            return At(name_at);
        }
        if size == name.len() && !closed {
            return self.more_after(limit.saturating_sub(1));
        }
        let end = name_at + size;
        let named = self.rules.compiled().field(self.slice(name_at, end));
        let Some(hit) = named.or_else(|| self.named_argument(at, name_at, end)) else {
            return At(end);
        };
        // A quote after the name means that the value is the next of the array.
        let tail = self.slice(end, limit);
        let quoted = matches!(tail.first(), Some(b'"' | b'\'' | b'\\'));
        let skip = tail
            .iter()
            .take(256)
            .take_while(|b| {
                matches!(b, b' ' | b'\t')
                    || (quoted && matches!(b, b'"' | b'\'' | b'\\' | b',' | b'\n' | b'\r'))
            })
            .count();
        let next = next_item(tail).filter(|_| quoted);
        if !closed && next.map_or(skip, |size| size) == tail.len() {
            return self.more_after(limit.saturating_sub(1));
        }
        let item = matches!(self.byte(end), Some(b'\n' | b'\r'));
        if skip == 0 && !item {
            return At(end);
        }
        let mut v = end + skip;
        if matches!(self.byte(v), Some(b'\n' | b'\r'))
            && before == Some(b' ')
            && self.slice(self.line, at).trim_ascii() == b"-"
        {
            // A list of arguments in YAML: the value is the next item.
            let rest = self.slice(v, limit);
            let item = rest
                .iter()
                .take(256)
                .take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'-'))
                .count();
            if item == rest.len() && !closed {
                return self.more_after(limit.saturating_sub(1));
            }
            let head = rest.get(..item).unwrap_or_default();
            if head.trim_ascii() == b"-" && head.ends_with(b" ") {
                v += item;
            }
        }
        if quoted {
            match next {
                Some(size) => v = end + size,
                None => return At(end),
            }
        }
        match self.byte(v) {
            Some(_) if before == Some(b'[') && !quoted => return At(end),
            None | Some(b'-' | b'\n' | b'\r' | b'|' | b'[' | b'<' | b'>') => return At(end),
            Some(b']' | b'{' | b'}') if quoted => return At(end),
            Some(_) => {}
        }
        // A key of the object that the argument is a value of.
        if quoted {
            match is_member(self.slice(v, limit), closed) {
                None => return self.more(v),
                Some(true) => return At(end),
                Some(false) => {}
            }
        }
        // An array has numbers, and words that say nothing.
        let (style, place) = if quoted {
            (Style::Json, Place::Literal)
        } else {
            (Style::Word { nested: false }, Place::Word)
        };
        let key = Key {
            start: at,
            name: (name_at, end),
            quote: None,
        };
        let flow = match value::opening(self.slice(0, limit), v, closed) {
            None => self.more(v),
            Some(Some(quote)) => {
                let quote = Quote {
                    tripled: false,
                    ..quote
                };
                // `"run --ssn "` is a string that ends with it.
                let ends = match quoted {
                    true => Some(false),
                    false => self.closes_string(&key, v, quote, limit, closed),
                };
                match ends {
                    None => self.more(v),
                    Some(true) => At(end),
                    Some(false) => self.quoted(key, v, quote, hit, limit, closed, false),
                }
            }
            Some(None) => match value::bare_end(self.slice(0, limit), v, style, closed)
                .and_then(|end| self.grouped_end(v, end, limit, closed))
            {
                None if limit - v > VALUE_MAX => {
                    self.mask(v, limit, hit, place, "argument");
                    self.swallow_until(Until::Bare);
                    At(limit)
                }
                None => self.more(v),
                // What a help says about it: `--password string   the password`.
                Some(end) if TYPES.contains(&self.slice(v, end)) => {
                    match (self.byte(end), self.byte(end + 1)) {
                        (Some(b' '), None) if !closed => self.more(v),
                        (Some(b' '), Some(b' ')) => At(end),
                        _ => {
                            self.mask(v, end, hit, place, "argument");
                            At(end)
                        }
                    }
                }
                Some(end) if quoted && value::is_nothing(self.slice(v, end)) => At(end),
                Some(end) => {
                    self.mask(v, end, hit, place, "argument");
                    At(end)
                }
            },
        };
        // Its value may stand in the next line: the one of its name is no header.
        let between = self.slice(end, v);
        if let (At(next), Some(newline)) = (&flow, memchr::memrchr(b'\n', between))
            && *next >= v
        {
            self.sink.row += memchr::memchr_iter(b'\n', between).count() as u64;
            self.line = end + newline + 1;
            self.line_cut = false;
            self.above = None;
        }
        flow
    }
}

/// Types that programs in Go print behind the name of an argument.
const TYPES: [&[u8]; 6] = [
    b"string",
    b"strings",
    b"stringArray",
    b"stringSlice",
    b"bytesBase64",
    b"file",
];
/// What stands before each line of a private key: the number of the line, the time of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// That of what stands before its first line.
    shape: u64,
    /// How long that line is, once it was seen.
    width: usize,
}

/// A number that texts share which differ in their numbers and blanks alone.
fn shape(text: &[u8]) -> u64 {
    let mut last = 0;
    let mut shape = 0xcbf2_9ce4_8422_2325_u64;
    for b in text.trim_ascii_start() {
        let b = match b {
            b'0'..=b'9' => b'0',
            b'\t' => b' ',
            b => *b,
        };
        if b != last || !matches!(b, b'0' | b' ') {
            shape = (shape ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        }
        last = b;
    }
    shape
}

/// Whether a word is hardly one of a language: base64 has digits and capitals anywhere.
fn looks_encoded(word: &[u8]) -> bool {
    let mixed = |b: &u8| !b.is_ascii_lowercase() && *b != b'/';
    word.len() >= 8 && word.iter().skip(1).any(mixed) && word.iter().any(u8::is_ascii_lowercase)
}

/// No line of a private key is longer.
const PEM_LINE_MAX: usize = 4096;
/// A line of a key with something before it is not longer; its last word is not shorter where what
/// stands before it is none of the first line's; and so many lines stand before the key itself.
const PREFIXED_MAX: usize = 1024;
const PEM_LINE_LEAST: usize = 40;
const HEADER_LINES: u32 = 6;

fn is_port(text: &[u8]) -> bool {
    text.len() <= 5 && text.iter().all(u8::is_ascii_digit)
}

/// How far behind an item of a list the next one begins, where a text begins with the quote that
/// closes the item.
fn next_item(text: &[u8]) -> Option<usize> {
    let near = text.get(..ITEM_MAX).unwrap_or(text);
    let slashes = near.iter().take_while(|b| **b == b'\\').count();
    let mark = near.get(slashes)?;
    // Twice, in a field of CSV.
    let doubled = usize::from(near.get(slashes + 1) == Some(mark));
    let blanks = |at: usize| {
        let rest = near.get(at..).unwrap_or_default();
        at + (rest.len() - rest.trim_ascii_start().len())
    };
    let comma = blanks(slashes + 1 + doubled);
    let next = (near.get(comma) == Some(&b',')).then(|| blanks(comma + 1));
    next.filter(|size| *size < ITEM_MAX)
}

/// The next item of a list stands not further behind one.
const ITEM_MAX: usize = 256;
