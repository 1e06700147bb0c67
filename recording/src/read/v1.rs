//! Version 1: one JSON object with the events in `stdout`.
//!
//! It is walked by hand, so that a file that is cut or broken gives what stands in it.

use serde_json::{Map, Value};

use super::event::{self, Clock, Problem};
use super::{Damage, header};
use crate::event::{Event, Header};

/// Reads all but the events: the header, what is wrong in it, and the way to the events. There
/// is no header where there is nothing to play.
pub(super) fn read(text: Vec<u8>) -> (Option<Header>, Option<&'static str>, Events) {
    let mut map = Map::new();
    let mut walk = Walk { at: 0 };
    let mut events_at = None;
    let whole = walk.object(&text, &mut map, &mut events_at);
    let cut = (!whole).then_some((Damage::Cut, CUT));
    let mut problems = Vec::new();
    let known = !map.is_empty() || events_at.is_some();
    let header = known.then(|| header::from_map(map, 1, &mut problems));
    let problem = match problems.is_empty() {
        true => None,
        false => Some("the header lacks the size of the terminal, or holds what it should not"),
    };
    let walk = events_at.map(|at| Walk { at });
    let events = Events {
        text,
        walk,
        clock: Clock::new(1),
        line: 1,
        counted: 0,
        cut,
    };
    (header, problem, events)
}

const CUT: &str = "the file is cut off or broken; what can be read is shown";

/// The events, one after another.
#[derive(Debug)]
pub(super) struct Events {
    text: Vec<u8>,
    /// In `stdout`; `None` behind it.
    walk: Option<Walk>,
    clock: Clock,
    /// The line at byte `counted`.
    line: u64,
    counted: usize,
    /// What is told at the end.
    cut: Option<Problem>,
}

/// An event, or where there should be one.
pub(super) struct Element {
    pub(super) line: u64,
    /// Bytes of the text before it.
    pub(super) offset: usize,
    pub(super) event: Option<Event>,
    pub(super) problems: Vec<Problem>,
}

impl Iterator for Events {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        let text = &self.text;
        let Some(walk) = &mut self.walk else {
            let problems = vec![self.cut.take()?];
            return Some(self.element(self.text.len(), None, problems));
        };
        walk.eat(text, b',');
        if walk.eat(text, b']') || walk.at >= text.len() {
            self.walk = None;
            return self.next();
        }
        let began = walk.at;
        let rest = text.get(began..).unwrap_or_default();
        let element = walk.value(text);
        let read = event::read_v1(element.unwrap_or(rest), &mut self.clock);
        let lost = read.event.is_none() && !walk.find_event(text, began + 1);
        if element.is_none() || lost {
            self.walk = None;
            // The cut is told at the end.
            self.cut = Some((Damage::Cut, CUT));
            return Some(self.element(began, read.event, Vec::new()));
        }
        Some(self.element(began, read.event, read.problems))
    }
}

impl Events {
    fn element(&mut self, offset: usize, event: Option<Event>, problems: Vec<Problem>) -> Element {
        let between = self.text.get(self.counted..offset).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', between).count() as u64;
        self.counted = offset;
        Element {
            line: self.line,
            offset,
            event,
            problems,
        }
    }
}

/// A place in the text.
#[derive(Debug)]
struct Walk {
    at: usize,
}

impl Walk {
    /// The object; false when it does not end as it should.
    fn object(
        &mut self,
        text: &[u8],
        map: &mut Map<String, Value>,
        events_at: &mut Option<usize>,
    ) -> bool {
        if !self.eat(text, b'{') {
            return false;
        }
        loop {
            if self.eat(text, b'}') {
                return true;
            }
            let Some(Ok(Value::String(key))) = self.value(text).map(serde_json::from_slice) else {
                return false;
            };
            if !self.eat(text, b':') {
                return false;
            }
            let began = self.at;
            let Some(value) = self.value(text) else {
                if key == "stdout" && text.get(began) == Some(&b'[') {
                    *events_at = Some(began + 1);
                }
                return false;
            };
            if key == "stdout" {
                *events_at = value.starts_with(b"[").then_some(began + 1);
            } else if let Ok(value) = serde_json::from_slice(value) {
                map.insert(key, value);
            } else {
                return false;
            }
            self.eat(text, b',');
        }
    }

    /// Goes to the next thing that looks like the beginning of an event.
    fn find_event(&mut self, text: &[u8], from: usize) -> bool {
        let rest = text.get(from..).unwrap_or_default();
        let found = memchr::memchr_iter(b'[', rest).find(|at| {
            let inside = rest.get(at + 1..).unwrap_or_default().trim_ascii_start();
            inside.first().is_some_and(u8::is_ascii_digit)
        });
        self.at = from + found.unwrap_or(rest.len());
        found.is_some()
    }

    fn space(&mut self, text: &[u8]) {
        let rest = text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn eat(&mut self, text: &[u8], byte: u8) -> bool {
        self.space(text);
        let found = text.get(self.at) == Some(&byte);
        if found {
            self.at += 1;
            self.space(text);
        }
        found
    }

    /// The bytes of the next value, whatever it is; `None` when it does not end.
    fn value<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        self.space(text);
        let rest = text.get(self.at..)?;
        let length = extent(rest)?;
        self.at += length;
        rest.get(..length)
    }
}

/// How long the JSON value at the beginning is.
fn extent(text: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => {
                in_string = !in_string;
                if !in_string && depth == 0 {
                    return Some(at + 1);
                }
            }
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 0 => return (at > 0).then_some(at),
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b',' | b':' if depth == 0 => return (at > 0).then_some(at),
            _ => {}
        }
    }
    None
}
