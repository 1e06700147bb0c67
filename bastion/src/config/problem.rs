//! What is wrong in a file that an operator wrote, and where.
//!
//! Owns the one form in which `check`, `serve` and `target` report mistakes. Reads no file itself.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One mistake in a configuration, inventory or policy file.
///
/// `Display` is one line: `FILE:LINE:COLUMN: MESSAGE (HINT)`; characters that a terminal could take
/// for commands are escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1; `None` where the mistake is about the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1; `None` where `line` is.
    pub column: Option<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A mistake about `file` as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            line: None,
            column: None,
            message: message.into(),
            hint: None,
        }
    }

    /// A mistake at byte `offset` of `text`, the content of `file`.
    pub fn at(file: &Path, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_column(text, offset);
        Self {
            line: Some(line),
            column: Some(column),
            ..Self::of_file(file, message)
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file.display().to_string()))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", printable(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, " ({})", printable(hint)),
            None => Ok(()),
        }
    }
}

/// Mistakes, at least one, in the order of the files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The mistakes, sorted by file, line and column; `None` where there are none.
    pub fn new(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort();
        problems.dedup();
        if problems.is_empty() {
            None
        } else {
            Some(Self(problems))
        }
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// The mistakes, taken out.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `text` with everything escaped that is not printable: controls, and marks that turn the
/// direction of writing or have no width.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == ' '
            || character.is_ascii_graphic()
            || (!character.is_ascii() && character.is_alphanumeric())
        {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

/// An error and its causes in one line, as they are.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// The same of what a peer may have a part in: printable, and cut where it is long.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    printable(&chain(error)).chars().take(CAUSES_MAX).collect()
}

/// Longer ones are cut; in characters.
const CAUSES_MAX: usize = 300;

/// Line and column, both from 1, of byte `offset`.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// The one of `known` that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, over bytes; both words are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate().take(WORD_MAX) {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, pair) in b.bytes().zip(row.windows(2)) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            left = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// Longer words are not compared any further.
const WORD_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_characters() {
        for before in 0..4 {
            let text = format!("{}{}", "x".repeat(before), "ä€😀".repeat(200));
            let line = causes(&std::io::Error::other(text));
            assert_eq!(line.chars().count(), CAUSES_MAX);
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        let text = "a = 1\nüb = 2\n";
        for (offset, place) in [
            (0, (1, 1)),
            (4, (1, 5)),
            (6, (2, 1)),
            (8, (2, 2)),
            (999, (3, 1)),
            (7, (2, 1)),
        ] {
            assert_eq!(line_column(text, offset), place, "offset {offset}");
        }
    }

    #[test]
    fn a_misspelt_word_is_recognised() {
        let known = ["listen", "name", "state_dir", "targets"];
        for (word, meant) in [
            ("listne", Some("listen")),
            ("target", Some("targets")),
            ("state-dir", Some("state_dir")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn a_problem_is_one_printable_line() {
        let problem = Problem::at(Path::new("a\nb.toml"), "x", 0, "bad \u{1b}[2J value")
            .hint("try\r\u{202e}");
        assert_eq!(
            problem.to_string(),
            "a\\u{a}b.toml:1:1: bad \\u{1b}[2J value (try\\u{d}\\u{202e})"
        );
    }
}
