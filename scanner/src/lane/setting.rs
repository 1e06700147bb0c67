//! A line that sets a name to a value, with a word before it and a space between the two:
//! `setenv SSN …`, `set -x SSN …` of fish, `ENV SSN …` of a Dockerfile, `proxy_set_header X-SSN …;`.

use crate::mask::Place;
use crate::name::{NAME_MAX, is_word};
use crate::value;

use super::{Lane, Until, VALUE_MAX};

impl Lane {
    /// Whether the line that begins here is one, about a protected name: its value is masked, and
    /// what stands behind it comes next. `None`: more is needed.
    pub(super) fn begins_setting(&mut self, end: bool) -> Option<bool> {
        if self.rules.compiled().fields.is_empty() {
            return Some(false);
        }
        let rest = self.slice(self.pos, self.view.text.len());
        let size = match word(rest, end) {
            Ok(0) => return Some(false),
            Ok(size) => size,
            Err(lead) => {
                self.lead = lead;
                return None;
            }
        };
        let rest = rest.get(size..).unwrap_or_default();
        let part = |b: &&u8| is_word(**b) || matches!(b, b'_' | b'-' | b'.');
        let name = rest.iter().take(NAME_MAX).take_while(part).count();
        let gap = rest.get(name..).unwrap_or_default();
        let gap = gap.iter().take(GAP_MAX).take_while(|b| **b == b' ').count();
        let from = size + name + gap;
        match rest.get(name + gap) {
            None if !end && name < NAME_MAX && gap < GAP_MAX => {
                self.lead = size;
                return None;
            }
            Some(b) if gap > 0 && !matches!(b, b'\n' | b'\r' | b'=' | b':') => {}
            _ => return Some(false),
        }
        let hit = self
            .rules
            .compiled()
            .field(rest.get(..name).unwrap_or_default());
        let Some(hit) = hit else {
            return Some(false);
        };
        let from = self.pos + from;
        let len = self.view.text.len();
        let rest = self.slice(from, len);
        let Some(line) = memchr::memchr(b'\n', rest).or(end.then_some(rest.len())) else {
            if rest.len() <= VALUE_MAX {
                self.lead = from - self.pos;
                return None;
            }
            self.mask(from, len, hit, Place::Inside, "key-value");
            self.swallow_until(Until::Line);
            self.pos = len;
            return Some(true);
        };
        let text = rest.get(..line).unwrap_or_default().trim_ascii_end();
        let text = text.strip_suffix(b";").unwrap_or(text);
        let (from, to, place) = match text {
            [mark @ (b'"' | b'\''), .., last] if mark == last => {
                (from + 1, from + text.len() - 1, Place::Inside)
            }
            _ => (from, from + text.len(), Place::Word),
        };
        if !value::is_nothing(self.slice(from, to)) {
            self.mask(from, to, hit, place, "key-value");
        }
        self.told = true;
        self.pos = to;
        Some(true)
    }
}

/// Whether a whole line begins like one.
pub(crate) fn is_setting(line: &[u8]) -> bool {
    word(line, true) != Ok(0)
}

/// The size of the word that begins such a line, with its blanks and the options of `set`; 0 where
/// another one does. How much of it says nothing, if more is needed.
fn word(line: &[u8], end: bool) -> Result<usize, usize> {
    const WORDS: [&[u8]; 8] = [
        b"ENV ",
        b"setenv ",
        b"SetEnv ",
        b"set -",
        b"proxy_set_header ",
        b"fastcgi_param ",
        b"uwsgi_param ",
        b"add_header ",
    ];
    let blank = |b: &&u8| matches!(b, b' ' | b'\t');
    let lead = line.iter().take(GAP_MAX).take_while(blank).count();
    let rest = line.get(lead..).unwrap_or_default();
    let Some(word) = WORDS.iter().find(|word| rest.starts_with(word)) else {
        let begins = |word: &&[u8]| word.starts_with(rest);
        let more = !end && lead < GAP_MAX && WORDS.iter().any(begins);
        return if more { Err(lead) } else { Ok(0) };
    };
    let from = lead + word.len();
    if *word != b"set -" {
        return Ok(from);
    }
    // Those that export a variable, or keep it.
    let options = rest.get(word.len()..).unwrap_or_default();
    let near = options.get(..OPTIONS_MAX).unwrap_or(options);
    let size = near
        .iter()
        .take_while(|b| b.is_ascii_alphabetic() || **b == b'-')
        .count();
    match near.get(size) {
        None if !end && near.len() < OPTIONS_MAX => Err(from),
        Some(b' ') => {
            let option = near.get(..size).unwrap_or_default();
            let sets = option.iter().any(|b| matches!(b, b'x' | b'U' | b'g'));
            Ok(if sets { from + size + 1 } else { 0 })
        }
        _ => Ok(0),
    }
}

/// So many blanks stand before a word, or a value, at most.
const GAP_MAX: usize = 64;
/// Longer options are none of `set`.
const OPTIONS_MAX: usize = 16;
