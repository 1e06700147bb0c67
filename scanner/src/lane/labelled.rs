//! Markup between a name and its value: `<b>Password:</b> x`, `<strong>SSN</strong>: x`,
//! `<span class="label">SSN</span> <span>x</span>`.

use crate::mask::Place;
use crate::rules::Hit;
use crate::table;

use super::Flow::At;
use super::{Flow, Lane, Until, VALUE_MAX};

/// Elements in whose tags a name may stand.
const INLINE: [&[u8]; 13] = [
    b"b", b"i", b"u", b"em", b"tt", b"kbd", b"code", b"span", b"font", b"strong", b"small",
    b"label", b"a",
];
/// And those in which its value may.
const BLOCKS: [&[u8]; 6] = [b"div", b"p", b"dd", b"pre", b"samp", b"output"];
/// What says by its class that it is the name of what follows.
const LABELS: [&[u8]; 6] = [b"label", b"key", b"name", b"title", b"term", b"field"];
/// A blank that is no end of a line.
const SPACE: &[u8] = b"&nbsp;";
/// A longer tag is none that stands there.
const TAG_MAX: usize = 256;
/// No longer name stands in tags.
const NAME_MAX: usize = 160;

impl Lane {
    /// The value behind a name and a colon, with tags between them that end before `from` or begin
    /// there: text up to the next tag, or what the next element has.
    pub(super) fn labelled(&mut self, from: usize, hit: Hit, limit: usize, closed: bool) -> Flow {
        let mut at = from;
        let rest = loop {
            let rest = self.slice(at, limit);
            let blanks = rest
                .iter()
                .take_while(|b| matches!(b, b' ' | b'\t'))
                .count();
            let rest = rest.get(blanks..).unwrap_or_default();
            at += blanks;
            match (rest.first(), closing(rest)) {
                (None, _) | (_, Tag::More) if !closed && rest.len() < TAG_MAX => {
                    return self.more_after(limit.saturating_sub(1));
                }
                (None, _) => return At(limit),
                (_, Tag::Closes(size)) => at += size,
                (_, Tag::Opens) => {
                    self.html.pair = Some(hit);
                    return At(at);
                }
                (Some(b'<' | b'\n' | b'\r'), _) => return At(at),
                _ => break rest,
            }
        };
        let ends = |b: &u8| matches!(b, b'<' | b'\n' | b'\r');
        let size = rest.iter().position(ends);
        let Some(size) = size.or(closed.then_some(rest.len())) else {
            if rest.len() > VALUE_MAX {
                self.mask(at, limit, hit, Place::Inside, "markup");
                self.swallow_until(Until::Line);
                return At(limit);
            }
            return self.more(at);
        };
        let value = rest.get(..size).unwrap_or_default();
        // A string that it stands in, or a line of that, may end before.
        let string = self.string_at(at).filter(|outer| outer.slashes == 0);
        let ends = string.and_then(|outer| memchr::memchr2(outer.mark, b'\\', value));
        let text = value.get(..ends.unwrap_or(size)).unwrap_or_default();
        let to = at + text.trim_ascii_end().len();
        self.mask(at, to, hit, Place::Inside, "markup");
        At(to.max(at))
    }

    /// The field whose name stands in tags that end before `at`, where a colon stands.
    pub(super) fn tagged(&self, at: usize) -> Option<Hit> {
        let floor = self.line_floor(at).max(at.saturating_sub(NAME_MAX)).min(at);
        let before = self.slice(floor, at).trim_ascii_end().strip_suffix(b">")?;
        let open = memchr::memrchr(b'<', before)?;
        let name = before.get(open..)?.strip_prefix(b"</")?;
        is_one(name, &INLINE).then(|| self.label_before(floor + open))?
    }

    /// The field that the text before the tag at `open` names.
    fn label_before(&self, open: usize) -> Option<Hit> {
        let name = self.content(open);
        let hit = self.rules.compiled().field(name);
        hit.filter(|_| table::is_name(name))
    }

    /// An element has ended whose closing tag begins at `open`: it may be the label of the next.
    pub(super) fn label(&self, open: usize, name: &[u8]) -> Option<Hit> {
        let is_label = || {
            let floor = open.saturating_sub(2 * NAME_MAX);
            let before = self.slice(floor, open);
            let end = memchr::memrchr(b'>', before)?;
            let tag = before.get(memchr::memrchr(b'<', before.get(..end)?)? + 1..end)?;
            if name == b"string" {
                // An entry of a map of Java.
                let above = before.get(..end.checked_sub(tag.len() + 1)?)?;
                return Some(above.trim_ascii_end().ends_with(b"<entry>"));
            }
            let class = super::attribute(tag, &[b"class"])?.to_ascii_lowercase();
            let mut words = class.split(|b| !crate::name::is_word(*b));
            Some(tag.starts_with(name) && words.any(|word| LABELS.contains(&word)))
        };
        let may = name == b"string" || is_one(name, &INLINE) || is_one(name, &BLOCKS);
        let hit = may.then(|| self.label_before(open))??;
        is_label().unwrap_or(false).then_some(hit)
    }

    /// Whether nothing but blanks, and a colon, stands between the tag that begins at `open` and the
    /// one before.
    pub(super) fn follows_tag(&self, open: usize) -> bool {
        let before = self.slice(open.saturating_sub(NAME_MAX), open);
        let last = before.trim_ascii_end().last();
        last.is_none_or(|b| matches!(b, b'>' | b':'))
    }
}

/// What a text begins with.
enum Tag {
    /// The end of an element, or of a line, of so many bytes.
    Closes(usize),
    /// The element that may have the value.
    Opens,
    /// No tag of these.
    Other,
    More,
}

fn closing(text: &[u8]) -> Tag {
    if text.starts_with(SPACE) {
        return Tag::Closes(SPACE.len());
    }
    if SPACE.starts_with(text) && !text.is_empty() {
        return Tag::More;
    }
    let Some(rest) = text.strip_prefix(b"<") else {
        return Tag::Other;
    };
    let close = rest.first() == Some(&b'/');
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let near = rest.get(..TAG_MAX).unwrap_or(rest);
    let Some(end) = near.iter().position(|b| matches!(b, b'>' | b'<' | b'\n')) else {
        return if near.len() < TAG_MAX {
            Tag::More
        } else {
            Tag::Other
        };
    };
    let tag = near.get(..end).unwrap_or_default();
    let size = tag.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    let name = tag.get(..size).unwrap_or_default();
    if near.get(end) != Some(&b'>') {
        return Tag::Other;
    }
    let size = text.len() - rest.len() + end + 1;
    match close {
        true if is_one(name, &INLINE) => Tag::Closes(size),
        false if name.eq_ignore_ascii_case(b"br") => Tag::Closes(size),
        false if is_one(name, &INLINE) || is_one(name, &BLOCKS) => Tag::Opens,
        _ => Tag::Other,
    }
}

fn is_one(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}
