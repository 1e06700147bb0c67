//! The parents of dotted fields.

use crate::value::{self, Key};

use super::{DEPTH_MAX, Lane, Level};

impl Lane {
    pub(super) fn parent(&self) -> Option<&[u8]> {
        let indent = if self.is_far(self.pos) {
            usize::MAX
        } else {
            let line = self.slice(self.line, self.pos).iter();
            line.take_while(|b| matches!(b, b' ' | b'-')).count()
        };
        self.path
            .iter()
            .rev()
            .find(|(level, name)| {
                !name.is_empty()
                    && match level {
                        Level::Brace => true,
                        Level::Indent(n) => *n < indent,
                    }
            })
            .map(|(_, name)| name.as_slice())
    }

    /// Notes the key of a container that opens after it.
    pub(super) fn path_note(&mut self, key: &Key, after: usize) {
        let rest = self.text().get(after..).unwrap_or_default();
        let head = rest
            .iter()
            .position(|b| !matches!(b, b' ' | b'\t'))
            .and_then(|i| rest.get(i));
        if matches!(head, Some(b'\n' | b'\r')) && self.leads(key.start) && key.quote.is_none() {
            let indent = self.indent_of(key.start);
            self.path
                .retain(|(level, _)| matches!(level, Level::Indent(n) if *n < indent));
            if self.path.len() < DEPTH_MAX {
                let name = self.slice(key.name.0, key.name.1).to_vec();
                self.path.push((Level::Indent(indent), name));
            }
        }
    }

    pub(super) fn path_push(&mut self, at: usize) {
        if self.path.len() >= DEPTH_MAX {
            return;
        }
        let before = self.slice(at.saturating_sub(256), at);
        let trimmed = before.trim_ascii_end();
        let name = match trimmed.last() {
            Some(b':' | b'=' | b'>') => {
                let sep = at - (before.len() - trimmed.len()) - 1;
                let sep = sep.saturating_sub(usize::from(trimmed.last() == Some(&b'>')));
                value::key_before(self.text(), sep, sep.saturating_sub(200))
                    .map(|k| self.slice(k.name.0, k.name.1).to_vec())
            }
            _ => None,
        };
        // An element of an array stands under the array's name.
        let name = name.unwrap_or_default();
        self.path.push((Level::Brace, name));
    }
}
