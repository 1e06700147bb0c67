//! One event out of one line, as much of it as can be read.

use std::borrow::Cow;

use super::Damage;
use super::time::{TIME_MAX, micros};
use crate::event::{Event, EventData};

/// Turns what a version says about time into absolute microseconds that never go backwards.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Version 2: the time since the start that the event before gave.
    absolute: Option<i64>,
    now: u64,
}

impl Clock {
    /// Versions 1 and 3 give the time since the event before, version 2 since the start.
    pub(super) fn new(version: u8) -> Self {
        Self {
            absolute: (version == 2).then_some(0),
            now: 0,
        }
    }

    /// A clock that goes on: the time of the event before, and in version 2 what it gave.
    pub(super) fn at(now: u64, given: Option<i64>) -> Self {
        Self {
            absolute: given,
            now: now.min(TIME_MAX),
        }
    }

    /// What [`at`](Self::at) takes.
    pub(super) fn now(&self) -> (u64, Option<i64>) {
        (self.now, self.absolute)
    }

    fn advance(&mut self, text: &[u8]) -> Option<Problem> {
        let Some(time) = micros(text) else {
            return Some((
                Damage::Time,
                "the time is not a number; the one before it stands",
            ));
        };
        // After a step back, version 2 goes on with the differences: one wrong time does not
        // hold all later events.
        let (interval, detail) = match &mut self.absolute {
            Some(last) => (
                time.saturating_sub(std::mem::replace(last, time)),
                "the time goes backwards; the one before it stands",
            ),
            None => (time, "a negative interval is taken as none"),
        };
        let forward = u64::try_from(interval);
        self.now = self.now.saturating_add(forward.unwrap_or(0)).min(TIME_MAX);
        forward.err().map(|_| (Damage::Time, detail))
    }
}

/// A damage, in words of ours.
pub(super) type Problem = (Damage, &'static str);

/// What a line gave.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) event: Option<Event>,
    pub(super) problems: Vec<Problem>,
}

/// Reads `[time, code, data]`.
pub(super) fn read(line: &[u8], clock: &mut Clock) -> Read {
    let mut read = Read::default();
    let mut scan = Scan {
        text: line,
        problems: &mut read.problems,
    };
    let Some(code) = scan.time_and_code(clock) else {
        return read;
    };
    let data = scan.data(&code);
    read.event = data.map(|data| Event {
        time: clock.now,
        data,
    });
    read
}

/// Reads `[delay, text]` of version 1.
pub(super) fn read_v1(element: &[u8], clock: &mut Clock) -> Read {
    let mut read = Read::default();
    let mut scan = Scan {
        text: element,
        problems: &mut read.problems,
    };
    let data = match scan.time(clock) {
        Some(()) => scan.data("o"),
        None => None,
    };
    read.event = data.map(|data| Event {
        time: clock.now,
        data,
    });
    read
}

const TORN: Problem = (Damage::Event, "the event is cut off; what is left is shown");

/// What is left of a line.
struct Scan<'a, 'p> {
    text: &'a [u8],
    problems: &'p mut Vec<Problem>,
}

impl<'a> Scan<'a, '_> {
    fn time_and_code(&mut self, clock: &mut Clock) -> Option<Cow<'a, str>> {
        self.time(clock)?;
        if !self.text.starts_with(b"\"") {
            let detail = match self.text.is_empty() {
                true => TORN.1,
                false => "the event has no code",
            };
            return self.fail(detail);
        }
        let (code, ended) = self.string();
        if !ended {
            return self.fail("the event is cut off in its code");
        }
        if !self.eat(b',') {
            return self.fail("the event has no data");
        }
        Some(code)
    }

    fn time(&mut self, clock: &mut Clock) -> Option<()> {
        if !self.eat(b'[') {
            return self.fail("the line is not an event");
        }
        let text = self.text;
        let quoted;
        let time = match text.first() {
            Some(b'"') => {
                quoted = self.string().0;
                quoted.as_bytes()
            }
            _ => {
                let end = text.iter().position(|byte| matches!(byte, b',' | b']'));
                let (time, after) = text.split_at(end.unwrap_or(text.len()));
                self.text = after;
                time.trim_ascii_end()
            }
        };
        if !self.eat(b',') {
            return self.fail("the event has nothing but a time");
        }
        self.problems.extend(clock.advance(time));
        Some(())
    }

    fn data(&mut self, code: &str) -> Option<EventData> {
        match code {
            "o" => self.text_data().map(EventData::Output),
            "i" => self.text_data().map(EventData::Input),
            "m" => self.text_data().map(EventData::Marker),
            "r" => {
                let text = self.whole_text()?;
                match size(&text) {
                    Some((cols, rows)) => Some(EventData::Resize { cols, rows }),
                    None => self.fail("the new size is not COLUMNSxROWS"),
                }
            }
            "x" => self.exit(),
            _ => self.other(code),
        }
    }

    /// A string and the end of the event.
    fn text_data(&mut self) -> Option<String> {
        if !self.text.starts_with(b"\"") {
            return self.fail("the data is not a string");
        }
        let (data, ended) = self.string();
        let data = data.into_owned();
        if !ended || !self.eat(b']') {
            let problem = match self.text.first() {
                Some(_) if ended => (Damage::Event, "there is more than data in the event"),
                _ => TORN,
            };
            self.problems.push(problem);
        } else if !self.text.is_empty() {
            self.problems
                .push((Damage::Event, "there is something behind the event"));
        }
        Some(data)
    }

    /// The same, where a part of it would say something else than the whole.
    fn whole_text(&mut self) -> Option<String> {
        let text = self.text_data()?;
        (self.problems.last() != Some(&TORN)).then_some(text)
    }

    fn exit(&mut self) -> Option<EventData> {
        let text = self.text;
        let status = match (text.first(), memchr::memchr(b']', text)) {
            (Some(b'"'), _) => self.whole_text()?,
            (_, Some(end)) => {
                let status = text.get(..end).unwrap_or_default();
                String::from_utf8_lossy(status).trim().to_owned()
            }
            (_, None) => return self.fail(TORN.1),
        };
        match status.trim().parse() {
            Ok(status) => Some(EventData::Exit(status)),
            Err(_) => self.fail("the exit status is not a number"),
        }
    }

    fn other(&mut self, code: &str) -> Option<EventData> {
        let code = code.to_owned();
        let text = self.text.trim_ascii_end();
        let value = text.strip_suffix(b"]").unwrap_or(text);
        if let Ok(data) = serde_json::from_slice(value) {
            return Some(EventData::Other { code, data });
        }
        if !self.text.starts_with(b"\"") {
            return self.fail("the data of the event is not JSON");
        }
        let data = self.whole_text()?.into();
        Some(EventData::Other { code, data })
    }

    /// A JSON string, tolerantly; false when it does not end. It must begin here.
    fn string(&mut self) -> (Cow<'a, str>, bool) {
        let text = self.text.get(1..).unwrap_or_default();
        let string = string(text);
        self.text = text
            .get(string.length..)
            .unwrap_or_default()
            .trim_ascii_start();
        if string.replaced {
            self.problems
                .push((Damage::Text, "bytes that are no text are shown as U+FFFD"));
        }
        (string.text, string.ended)
    }

    /// Takes `byte` and the space around it.
    fn eat(&mut self, byte: u8) -> bool {
        let text = self.text.trim_ascii_start();
        match text.split_first() {
            Some((&first, rest)) if first == byte => {
                self.text = rest.trim_ascii_start();
                true
            }
            _ => {
                self.text = text;
                false
            }
        }
    }

    fn fail<T>(&mut self, detail: &'static str) -> Option<T> {
        self.problems.push((Damage::Event, detail));
        None
    }
}

/// A JSON string that was read.
struct Text<'a> {
    text: Cow<'a, str>,
    /// Bytes taken, the closing quote included.
    length: usize,
    ended: bool,
    /// Something in it was no text.
    replaced: bool,
}

/// Reads a JSON string whose opening quote has been taken. Control characters inside, unknown
/// escapes, bytes that are no UTF-8 and lone surrogates do not end it.
fn string(text: &[u8]) -> Text<'_> {
    let first = memchr::memchr2(b'"', b'\\', text);
    if let Some(length) = first
        && text.get(length) == Some(&b'"')
        && let Ok(plain) = std::str::from_utf8(text.get(..length).unwrap_or_default())
    {
        return Text {
            text: Cow::Borrowed(plain),
            length: length + 1,
            ended: true,
            replaced: false,
        };
    }
    // Escapes are longer than what they stand for.
    let mut out = String::with_capacity(text.len());
    let mut replaced = false;
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
            replaced |= push_lossy(&mut out, rest, true);
            return Text {
                text: out.into(),
                length: text.len(),
                ended: false,
                replaced,
            };
        };
        replaced |= push_lossy(&mut out, rest.get(..length).unwrap_or_default(), false);
        at += length + 1;
        if rest.get(length) == Some(&b'"') {
            return Text {
                text: out.into(),
                length: at,
                ended: true,
                replaced,
            };
        }
        match escape(text.get(at..).unwrap_or_default()) {
            Escape::Char(char, length) => {
                out.push(char);
                at += length;
            }
            Escape::Bad(length) => {
                out.push(char::REPLACEMENT_CHARACTER);
                replaced = true;
                at += length;
            }
            Escape::Torn => {
                return Text {
                    text: out.into(),
                    length: text.len(),
                    ended: false,
                    replaced,
                };
            }
        }
    }
}

/// Appends bytes as text; true when some had to be replaced. At a torn end, a sequence that may
/// have been a character is left out.
fn push_lossy(out: &mut String, bytes: &[u8], torn: bool) -> bool {
    if let Ok(text) = std::str::from_utf8(bytes) {
        out.push_str(text);
        return false;
    }
    let mut replaced = false;
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        out.push_str(chunk.valid());
        let cut = torn
            && chunks.peek().is_none()
            && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if !chunk.invalid().is_empty() && !cut {
            out.push(char::REPLACEMENT_CHARACTER);
            replaced = true;
        }
    }
    replaced
}

enum Escape {
    Char(char, usize),
    /// No character; so many bytes are taken.
    Bad(usize),
    Torn,
}

/// What stands behind a backslash.
fn escape(text: &[u8]) -> Escape {
    let Some(&first) = text.first() else {
        return Escape::Torn;
    };
    let char = match first {
        b'"' | b'\\' | b'/' => first as char,
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text),
        _ => return Escape::Bad(usize::from(first.is_ascii())),
    };
    Escape::Char(char, 1)
}

/// `uXXXX`, or a pair of them.
fn unicode_escape(text: &[u8]) -> Escape {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        let digits = std::str::from_utf8(digits).ok()?;
        // `from_str_radix` would take a sign.
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
    };
    let Some(high) = unit(1) else {
        return match text.len() < 5 {
            true => Escape::Torn,
            false => Escape::Bad(1),
        };
    };
    let low = match text.get(5..7) {
        Some(b"\\u") => unit(7),
        _ => None,
    };
    let mut decoded = char::decode_utf16([Some(high), low].into_iter().flatten());
    match decoded.next() {
        Some(Ok(char)) if char.len_utf16() == 2 => Escape::Char(char, 11),
        Some(Ok(char)) => Escape::Char(char, 5),
        _ if low.is_none() && torn_escape(text.get(5..).unwrap_or_default()) => Escape::Torn,
        _ => Escape::Bad(5),
    }
}

/// Whether the text ends within a `\uXXXX`: half a pair may have lost its other half there.
fn torn_escape(rest: &[u8]) -> bool {
    match rest.strip_prefix(b"\\u") {
        Some(digits) => digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit),
        None => rest.is_empty() || rest == b"\\",
    }
}

/// `COLSxROWS`, neither of them 0.
fn size(text: &str) -> Option<(u16, u16)> {
    let (cols, rows) = text.trim().split_once(['x', 'X'])?;
    let cols: u16 = cols.parse().ok()?;
    let rows: u16 = rows.parse().ok()?;
    (cols > 0 && rows > 0).then_some((cols, rows))
}
