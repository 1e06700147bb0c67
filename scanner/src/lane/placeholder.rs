//! Names between angle brackets that are no elements: types of a program (`Result<Password>`),
//! and what a manual wants its reader to put in (`login <user>:<password>@<host>`).

use super::markup::{Within, closes, is_usage};
use super::{Frame, Lane};

/// What a tag of a protected name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Element,
    /// A type, or a placeholder.
    Name,
    /// More is needed.
    More,
}

impl Lane {
    /// What the tag `name` without attributes is that stands from `open` to `at`, with `words`
    /// behind its name.
    pub(super) fn reads(
        &self,
        open: usize,
        at: usize,
        name: &[u8],
        words: &[u8],
        limit: usize,
        closed: bool,
    ) -> Reads {
        if words
            .iter()
            .any(|b| matches!(b, b'=' | b'"' | b'\'' | b'/'))
        {
            return Reads::Element;
        }
        let within = self.element_within(open);
        let rest = self.slice(at + 1, limit);
        let near = rest.get(..LINE_MAX).unwrap_or(rest);
        let end = memchr::memchr(b'\n', near);
        let line = near.get(..end.unwrap_or(near.len())).unwrap_or_default();
        let whole = closed || end.is_some() || near.len() == LINE_MAX;
        let ended = closes(line, name) == Some(true);
        let before = self.slice(self.line_floor(open), open);
        // Types are written with a capital, and no text follows them at once.
        let first = self.slice(open, at).iter().find(|b| **b != b'<');
        let capital = first.is_some_and(u8::is_ascii_uppercase);
        let text = match near.first() {
            None if is_type(before) && capital && !closed => return Reads::More,
            next => next.is_some_and(|b| !b.is_ascii_whitespace() && !b.is_ascii_punctuation()),
        };
        if is_type(before) && capital && !text && within != Within::Start {
            return match (ended, whole) {
                (true, _) => Reads::Element,
                (false, true) => Reads::Name,
                (false, false) => Reads::More,
            };
        }
        let lead = before.trim_ascii_start();
        let marks = |b: &u8| matches!(b, b'+' | b'-' | b'>' | b' ' | b'\t');
        if self.is_far(open) || lead.iter().all(marks) {
            return Reads::Element;
        }
        if self.frame == Frame::Row {
            // A line that turns out to be text is read again.
            return match self.may_be_text() && !whole {
                true => Reads::More,
                false => Reads::Element,
            };
        }
        // Whether it needs others beside it.
        let alone = match near.first() {
            None if !closed => return Reads::More,
            None => return Reads::Element,
            // `<Password as Trait>::new()`.
            Some(b':') if words.trim_ascii_start().starts_with(b"as ") => return Reads::Name,
            Some(b'@' | b':' | b'/' | b'&' | b'?' | b'=' | b'<') => false,
            Some(b) if b.is_ascii_whitespace() => true,
            Some(
                b'"' | b'\'' | b'`' | b'\\' | b']' | b')' | b'}' | b'>' | b',' | b'.' | b';' | b'|',
            ) => true,
            Some(_) => return Reads::Element,
        };
        if ended {
            return Reads::Element;
        }
        if !whole {
            return Reads::More;
        }
        let beside = is_beside(before, line);
        if !beside && (!alone || within == Within::Start) {
            return Reads::Element;
        }
        if matches!(within, Within::String { .. }) {
            return Reads::Name;
        }
        if !self.pty {
            match closes(rest, name) {
                Some(true) => return Reads::Element,
                None if !closed => return Reads::More,
                Some(false) | None => {}
            }
        }
        if !line.trim_ascii().is_empty() || beside {
            return Reads::Name;
        }
        // A tag that begins the next line is markup.
        let below = near.get(line.len()..).unwrap_or_default();
        match below.trim_ascii_start().first() {
            None if !closed && rest.len() < LINE_MAX => Reads::More,
            Some(b'<') => Reads::Element,
            // In a terminal nothing waits for its end.
            _ if self.pty && !(is_usage(lead) || is_manual(before)) => Reads::Element,
            _ => Reads::Name,
        }
    }
}

/// Whether a tag behind `before` is an argument of a type: it follows its name directly.
fn is_type(before: &[u8]) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    before.last().is_some_and(word) || before.ends_with(b"::")
}

/// Whether a line reads like one of a manual, or like what is typed at a prompt.
fn is_manual(before: &[u8]) -> bool {
    matches!(
        before,
        [b' ' | b'\t', b' ' | b'\t', ..] | [b'\t' | b'$' | b'#' | b'%', ..]
    )
}

/// Whether a tag has other placeholders beside it: bare words in brackets, with something in
/// between, in a line that has nothing else of markup.
fn is_beside(before: &[u8], after: &[u8]) -> bool {
    let markup = |text: &[u8]| {
        memchr::memmem::find(text, b"</").is_some() || memchr::memmem::find(text, b"/>").is_some()
    };
    if markup(before) || markup(after) || memchr::memmem::find(before, b"=\"").is_some() {
        return false;
    }
    let part = |b: &u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' ' | b'|' | b':' | b'/')
    };
    let is_name =
        |text: &[u8]| text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(part);
    let last = memchr::memrchr(b'>', before).filter(|end| end + 1 < before.len());
    let left = last.is_some_and(|end| {
        let text = before.get(..end).unwrap_or_default();
        let open = memchr::memrchr(b'<', text);
        open.is_some_and(|open| is_name(text.get(open + 1..).unwrap_or_default()))
    });
    let first = memchr::memchr(b'<', after).filter(|open| *open > 0);
    let right = first.is_some_and(|open| {
        let text = after.get(open + 1..).unwrap_or_default();
        let end = memchr::memchr(b'>', text);
        end.is_some_and(|end| is_name(text.get(..end).unwrap_or_default()))
    });
    left || right
}

/// So much of a line behind a tag is looked at.
const LINE_MAX: usize = 4096;
