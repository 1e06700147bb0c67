//! Rows of a terminal in which held values were replaced: what is shown, and what a hold gets.

use bytes::{Bytes, BytesMut};

use crate::mask::{self, Place};

/// The row that is being written, where a rule that holds covers a terminal.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    on: bool,
    /// What has been shown of the row so far.
    shown: Vec<u8>,
    /// The row for each hold that has a value in it: in the clear for its rule alone.
    clear: Vec<(u16, BytesMut)>,
    /// What did not fit in its place and stands at the end of the row.
    notes: Vec<String>,
    done: Vec<(u16, Bytes)>,
}

impl Rows {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on,
            ..Self::default()
        }
    }

    /// Shows bytes that nobody holds.
    pub(crate) fn show(&mut self, out: &mut BytesMut, bytes: &[u8]) {
        if !self.on {
            out.extend_from_slice(bytes);
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = if self.notes.is_empty() {
                memchr::memchr(b'\n', rest)
            } else {
                memchr::memchr2(b'\r', b'\n', rest)
            };
            let (row, next) = rest.split_at(end.unwrap_or(rest.len()));
            self.write(out, row);
            if end.is_some() {
                let (end, next) = next.split_at(1);
                for note in self.notes.drain(..) {
                    out.extend_from_slice(b" ");
                    out.extend_from_slice(note.as_bytes());
                }
                self.write(out, end);
                if end == b"\n" {
                    self.end();
                }
                rest = next;
            } else {
                rest = next;
            }
        }
    }

    /// Shows `label` in the place of a value that `rule` holds.
    pub(crate) fn hold(
        &mut self,
        out: &mut BytesMut,
        rule: u16,
        value: &[u8],
        label: &str,
        place: Place,
    ) {
        if !self.clear.iter().any(|(r, _)| *r == rule) {
            self.clear
                .push((rule, BytesMut::from(self.shown.as_slice())));
        }
        let label = self.placed(label, value, place);
        out.extend_from_slice(label.as_bytes());
        self.remember(label.as_bytes());
        for (of, row) in &mut self.clear {
            row.extend_from_slice(if *of == rule { value } else { label.as_bytes() });
        }
        self.hand_out();
    }

    /// The rest of a long value of `rule`, of which nothing is shown.
    pub(crate) fn hold_rest(&mut self, rule: u16, value: &[u8]) {
        if let Some((_, row)) = self.clear.iter_mut().find(|(of, _)| *of == rule) {
            row.extend_from_slice(value);
        }
        self.hand_out();
    }

    /// The cursor goes elsewhere: the row ends where it is, and nothing can be written behind it.
    pub(crate) fn moved(&mut self) {
        if self.on {
            self.notes.clear();
            self.end();
        }
    }

    /// The output ends, or the hold does.
    pub(crate) fn end(&mut self) {
        self.shown.clear();
        for (rule, row) in self.clear.drain(..) {
            self.done.push((rule, row.freeze()));
        }
    }

    pub(crate) fn take(&mut self) -> Vec<(u16, Bytes)> {
        std::mem::take(&mut self.done)
    }

    fn placed(&mut self, label: &str, value: &[u8], place: Place) -> String {
        match place {
            Place::Inside | Place::Word => label.to_owned(),
            Place::Literal => format!("\"{label}\""),
            Place::Escaped => format!("\\\"{label}\\\""),
            Place::Doubled => format!("\"\"{label}\"\""),
            Place::Cell => {
                let wide = mask::width(&String::from_utf8_lossy(value));
                let size = mask::width(label);
                if size <= wide {
                    return format!("{label}{}", " ".repeat(wide - size));
                }
                if !self.notes.iter().any(|note| note == label) {
                    self.notes.push(label.to_owned());
                }
                "*".repeat(wide.max(1))
            }
        }
    }

    fn write(&mut self, out: &mut BytesMut, bytes: &[u8]) {
        out.extend_from_slice(bytes);
        self.remember(bytes);
        for (_, row) in &mut self.clear {
            row.extend_from_slice(bytes);
        }
        self.hand_out();
    }

    /// The beginning of a row of which nobody knows yet whether it will be held.
    fn remember(&mut self, bytes: &[u8]) {
        self.shown.extend_from_slice(bytes);
        if self.shown.len() > ROW_MAX {
            self.shown.drain(..self.shown.len() - ROW_MAX / 2);
        }
    }

    fn hand_out(&mut self) {
        for (rule, row) in &mut self.clear {
            if row.len() > ROW_MAX {
                self.done.push((*rule, row.split().freeze()));
            }
        }
    }
}

/// Of a longer row the beginning is not in its hold, and what follows is handed out in pieces.
const ROW_MAX: usize = 8 * 1024;
