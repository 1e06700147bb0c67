//! Version 1: one JSON object with the events in `stdout`.
//!
//! It is walked by hand, so that a file that is cut or broken gives what stands in it.

use serde_json::{Map, Value};

use super::event::{self, Clock};
use super::{Damage, header};
use crate::event::{Event, Header};

/// What a version 1 file gave.
#[derive(Default)]
pub(super) struct Read {
    pub(super) header: Option<Header>,
    pub(super) items: Vec<Item>,
}

pub(super) enum Item {
    Event(Event),
    /// What is wrong at this byte.
    Problem(usize, Damage, &'static str),
}

/// Reads the whole text.
pub(super) fn read(text: &[u8]) -> Read {
    let mut read = Read::default();
    let mut map = Map::new();
    let mut walk = Walk { text, at: 0 };
    let whole = walk.object(&mut map, &mut read.items);
    if !whole {
        let detail = "the file is cut off or broken; what can be read is shown";
        read.items.push(Item::Problem(walk.at, Damage::Cut, detail));
    }
    let mut problems = Vec::new();
    if !map.is_empty() || read.items.iter().any(|item| matches!(item, Item::Event(_))) {
        read.header = Some(header::from_map(map, 1, &mut problems));
    }
    if !problems.is_empty() {
        let detail = "the header lacks the size of the terminal, or holds what it should not";
        let problem = Item::Problem(0, Damage::Header, detail);
        read.items.insert(0, problem);
    }
    read
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// The object; false when it does not end as it should.
    fn object(&mut self, map: &mut Map<String, Value>, items: &mut Vec<Item>) -> bool {
        if !self.eat(b'{') {
            return false;
        }
        loop {
            if self.eat(b'}') {
                return true;
            }
            let Some(Ok(Value::String(key))) = self.value().map(serde_json::from_slice) else {
                return false;
            };
            if !self.eat(b':') {
                return false;
            }
            if key == "stdout" {
                if !self.events(items) {
                    return false;
                }
            } else if let Some(Ok(value)) = self.value().map(serde_json::from_slice) {
                map.insert(key, value);
            } else {
                return false;
            }
            self.eat(b',');
        }
    }

    fn events(&mut self, items: &mut Vec<Item>) -> bool {
        if !self.eat(b'[') {
            return false;
        }
        let mut clock = Clock::new(1);
        loop {
            if self.eat(b']') {
                return true;
            }
            let began = self.at;
            let rest = self.text.get(began..).unwrap_or_default();
            let element = self.value();
            let read = event::read_v1(element.unwrap_or(rest), &mut clock);
            let failed = read.event.is_none();
            items.extend(read.event.map(Item::Event));
            if element.is_none() {
                return false; // the cut has its own warning
            }
            for (damage, detail) in read.problems {
                items.push(Item::Problem(began, damage, detail));
            }
            if failed && !self.find_event(began + 1) {
                return false;
            }
            self.eat(b',');
        }
    }

    /// Goes to the next thing that looks like the beginning of an event.
    fn find_event(&mut self, from: usize) -> bool {
        let rest = self.text.get(from..).unwrap_or_default();
        let found = memchr::memchr_iter(b'[', rest).find(|at| {
            let inside = rest.get(at + 1..).unwrap_or_default().trim_ascii_start();
            inside.first().is_some_and(u8::is_ascii_digit)
        });
        self.at = from + found.unwrap_or(rest.len());
        self.space();
        found.is_some()
    }

    fn space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.text.get(self.at) == Some(&byte);
        if found {
            self.at += 1;
            self.space();
        }
        found
    }

    /// The bytes of the next value, whatever it is; `None` when it does not end.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.space();
        let rest = self.text.get(self.at..)?;
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
