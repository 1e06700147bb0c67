//! The header, as much of it as can be read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::event;
use crate::event::Header;

/// What the first line turned out to be.
pub(super) enum Read {
    /// A header of version 2 or 3, with what is wrong in it.
    Header(Header, Vec<String>),
    /// The beginning of a version 1 file, or all of it.
    MayBeV1,
    /// A header of a version that is not known here.
    Version(u64),
    /// It was a header once; what could be guessed.
    Damaged(Header),
    /// An event: there is no header.
    Event,
    /// Neither.
    Nothing,
}

/// The size where none is known.
const COLS: u16 = 80;
const ROWS: u16 = 24;

/// Reads the first line.
pub(super) fn read(line: &[u8]) -> Read {
    if let Ok(Value::Object(map)) = serde_json::from_slice(line) {
        return match map.get("version").and_then(Value::as_u64) {
            Some(1) => Read::MayBeV1,
            Some(version @ (2 | 3)) => {
                let mut problems = Vec::new();
                let header = from_map(map, version as u8, &mut problems);
                Read::Header(header, problems)
            }
            Some(version) => Read::Version(version),
            None if map.contains_key("stdout") => Read::MayBeV1,
            None => Read::Nothing,
        };
    }
    let version = number_after(line, b"\"version\"");
    if line.starts_with(b"{") && (version == Some(1) || version.is_none() && looks_like_v1(line)) {
        return Read::MayBeV1;
    }
    if version.is_some() || memchr::memmem::find(line, b"\"width\"").is_some() {
        return Read::Damaged(guessed(line, version));
    }
    let clock = &mut event::Clock::default();
    match event::read(line, clock).event {
        Some(_) => Read::Event,
        None => Read::Nothing,
    }
}

/// A version 1 file over many lines begins with a brace alone, one that is cut may end early.
fn looks_like_v1(line: &[u8]) -> bool {
    line == b"{" || memchr::memmem::find(line, b"\"stdout\"").is_some()
}

/// The header that is taken where there is none.
pub(super) fn assumed() -> Header {
    Header {
        version: 3,
        cols: COLS,
        rows: ROWS,
        ..Header::default()
    }
}

fn guessed(line: &[u8], version: Option<u16>) -> Header {
    let first_of = |v3: &[u8], v2: &[u8]| number_after(line, v3).or(number_after(line, v2));
    Header {
        version: if version == Some(2) { 2 } else { 3 },
        cols: first_of(b"\"cols\"", b"\"width\"").unwrap_or(COLS),
        rows: first_of(b"\"rows\"", b"\"height\"").unwrap_or(ROWS),
        ..Header::default()
    }
}

/// The positive number behind `key` and a colon, wherever that stands.
fn number_after(line: &[u8], key: &[u8]) -> Option<u16> {
    let at = memchr::memmem::find(line, key)?;
    let rest = line.get(at + key.len()..)?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(rest.get(..digits)?)
        .ok()?
        .parse()
        .ok()?;
    (number > 0).then_some(number)
}

/// A header out of its JSON object. Keys that are unknown, or hold what they should not, are
/// kept in `extra`. The theme stands under `theme` whatever the version; what version 3 says
/// about the terminal besides its size and type stands under `term`.
pub(super) fn from_map(map: Map<String, Value>, version: u8, problems: &mut Vec<String>) -> Header {
    let mut keys = Keys { map, problems };
    let mut header = Header {
        version,
        ..assumed()
    };
    keys.map.remove("version");
    if version == 3 {
        keys.term(&mut header);
    } else {
        keys.size(&mut header, "width", "height");
    }
    header.timestamp = keys.take("timestamp", whole);
    header.idle_time_limit = keys.take("idle_time_limit", seconds);
    header.command = keys.take("command", string);
    header.title = keys.take("title", string);
    header.env = keys.take("env", strings).unwrap_or_default();
    if header.term.is_none() {
        header.term = header.env.get("TERM").cloned();
    }
    if version == 3 {
        header.tags = keys.take("tags", list).unwrap_or_default();
    }
    header.extra = keys.map.into_iter().collect();
    header
}

struct Keys<'p> {
    map: Map<String, Value>,
    problems: &'p mut Vec<String>,
}

impl Keys<'_> {
    fn term(&mut self, header: &mut Header) {
        let Some(Value::Object(term)) = self.map.remove("term") else {
            self.problems
                .push("the header does not say the size of the terminal; 80x24 is taken".into());
            return;
        };
        let mut term = Keys {
            map: term,
            problems: self.problems,
        };
        term.size(header, "cols", "rows");
        header.term = term.take("type", string);
        let theme = term.map.remove("theme");
        let rest = term.map;
        if let Some(theme) = theme {
            self.map.insert("theme".into(), theme);
        }
        if !rest.is_empty() {
            self.map.insert("term".into(), rest.into());
        }
    }

    fn size(&mut self, header: &mut Header, cols: &'static str, rows: &'static str) {
        match (self.take(cols, positive), self.take(rows, positive)) {
            (Some(cols), Some(rows)) => (header.cols, header.rows) = (cols, rows),
            _ => self
                .problems
                .push("the header does not say the size of the terminal; 80x24 is taken".into()),
        }
    }

    /// The value of a key, where it has the right shape; null is as good as absent.
    fn take<T>(&mut self, key: &'static str, read: fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.map.get(key)?;
        let taken = read(value);
        if taken.is_some() || value.is_null() {
            self.map.remove(key);
        } else {
            self.problems
                .push(format!("{key} in the header is not what it should be"));
        }
        taken
    }
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn whole(value: &Value) -> Option<u64> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
    value.as_u64().or(seconds.map(|seconds| seconds as u64))
}

fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

fn positive(value: &Value) -> Option<u16> {
    let number = u16::try_from(value.as_u64()?).ok()?;
    (number > 0).then_some(number)
}

fn list(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(string).collect()
}

/// Values that are no strings are left out: asciinema writes null for what is not set.
fn strings(value: &Value) -> Option<BTreeMap<String, String>> {
    let pairs = value.as_object()?.iter();
    let strings = pairs.filter_map(|(key, value)| Some((key.clone(), string(value)?)));
    Some(strings.collect())
}
