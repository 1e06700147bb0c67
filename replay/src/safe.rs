//! What of a recording may be shown, and as what.
//!
//! A recording is hostile input: names, titles, commands, markers and output may hold escape
//! sequences, control characters of C0 and C1, and characters that turn the direction of text or
//! cannot be seen. No text of a recording leaves this crate but through here.

use std::fmt::Write as _;

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

/// One line of text that is safe on any terminal and in any log: characters that control,
/// redirect or hide are written as `\u{…}`.
pub fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if is_plain(char) {
            line.push(char);
        } else {
            escape(&mut line, char);
        }
    }
    line
}

/// As [`line()`], at most `columns` wide; what is longer ends in `…`.
pub fn short(text: &str, columns: usize) -> String {
    let line = line(text);
    if width(&line) <= columns {
        return line;
    }
    let mut short = String::new();
    let mut left = columns.saturating_sub(1);
    for char in line.chars() {
        let Some(rest) = left.checked_sub(char.width().unwrap_or(0)) else {
            break;
        };
        left = rest;
        short.push(char);
    }
    short.push('…');
    short
}

/// Columns that text of [`line()`] takes on a terminal.
pub fn width(line: &str) -> usize {
    line.chars().map(|char| char.width().unwrap_or(0)).sum()
}

/// A line of a screen as text. Joiners and variation selectors stay: they shape letters and
/// emoji and cannot do harm.
pub fn screen_line(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        line.push(match is_plain(char) || is_joiner(char) {
            true => char,
            false => char::REPLACEMENT_CHARACTER,
        });
    }
    line
}

/// JSON in one line in which no character is left that a terminal could act on: they are written
/// as `\uXXXX`, which means the same in JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        // Outside of strings, JSON is plain ASCII.
        if is_plain(char) {
            safe.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let written = write!(safe, "\\u{unit:04x}");
                debug_assert!(written.is_ok(), "a string takes all that is written");
            }
        }
    }
    Ok(safe)
}

/// A character as it may be painted into one cell that is `width` columns wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyph {
    /// As it is.
    Char(char),
    /// A mark that would join the character before: painted on a dotted circle.
    Mark(char),
}

/// What stands for a character in a cell.
pub(crate) fn glyph(char: char, width: usize) -> Glyph {
    match char.width() {
        // Joiners and variation selectors, which have a cell of their own here, hide nothing.
        _ if is_joiner(char) => Glyph::Char(' '),
        Some(own) if own == width && is_plain(char) => Glyph::Char(char),
        Some(0) if width == 1 && is_plain(char) => Glyph::Mark(char),
        _ => Glyph::Char(char::REPLACEMENT_CHARACTER),
    }
}

fn escape(line: &mut String, char: char) {
    line.extend(char.escape_unicode());
}

/// Whether a character shapes its neighbours and does nothing else.
fn is_joiner(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Whether a character does nothing but stand where it is put.
fn is_plain(char: char) -> bool {
    match char {
        ' '..='~' => true,
        _ if char.is_control() => false,
        // Soft hyphen, grapheme joiner, Arabic format characters, Hangul and Khmer fillers.
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' => false,
        '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' => false,
        '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' => false,
        // Spaces without width, marks and overrides of direction, line and paragraph separators.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' => false,
        // Format characters of scripts and music, tags, the rest of what is ignorable.
        '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' => false,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => false,
        '\u{e0000}'..='\u{e0fff}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use proptest::prelude::*;

    use super::*;

    fn is_harmless(text: &str) -> bool {
        let bidi = ['\u{200e}', '\u{200f}', '\u{61c}', '\u{2028}', '\u{2029}'];
        !text.chars().any(|char| {
            char.is_control()
                || bidi.contains(&char)
                || ('\u{202a}'..='\u{202e}').contains(&char)
                || ('\u{2066}'..='\u{2069}').contains(&char)
        })
    }

    #[test]
    fn what_acts_is_written_out() {
        for (text, expected) in [
            ("plain text, ünïcode, 漢字", "plain text, ünïcode, 漢字"),
            ("\x1b]52;c;aGk=\x07", "\\u{1b}]52;c;aGk=\\u{7}"),
            ("a\nb\tc\r", "a\\u{a}b\\u{9}c\\u{d}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}def", "abc\\u{202e}def"),
            ("a\u{200b}b\u{7f}", "a\\u{200b}b\\u{7f}"),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde…");
        assert_eq!(short("漢字漢字", 6), "漢字…");
        assert_eq!(
            screen_line("a\u{202e}b\u{7f}👩\u{200d}🚀"),
            "a\u{fffd}b\u{fffd}👩\u{200d}🚀"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_acts_gets_through(text: String, chars: Vec<char>) {
            let chars: String = chars.into_iter().collect();
            for text in [text, chars] {
                prop_assert!(is_harmless(&line(&text)));
                prop_assert!(is_harmless(&short(&text, 20)));
                prop_assert!(width(&short(&text, 20)) <= 20);
                prop_assert!(is_harmless(&screen_line(&text)));
                let json = json(&text).unwrap();
                prop_assert!(is_harmless(&json));
                prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            }
        }

        #[test]
        fn a_glyph_is_as_wide_as_its_cell(char: char) {
            for cell in [1, 2] {
                match glyph(char, cell) {
                    Glyph::Char(shown) => prop_assert!(
                        shown.width() == Some(cell)
                            || shown == char::REPLACEMENT_CHARACTER
                            || is_joiner(char)
                    ),
                    Glyph::Mark(shown) => prop_assert_eq!(shown.width(), Some(0)),
                }
            }
        }
    }
}
