//! The printed tour: steps with what was typed and seen, and the list at the end.

use std::io::{self, Write};

/// How a step came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should; with what shows it.
    Right(String),
    /// Not so; with what was seen instead.
    Wrong(String),
    /// Not played, because something is not installed here.
    Skipped(String),
}

/// The steps so far.
pub(super) struct Script<W> {
    out: W,
    steps: Vec<(String, Outcome)>,
}

/// Lines of one output that are shown.
const SHOWN: usize = 20;

impl<W: Write> Script<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            steps: Vec::new(),
        }
    }

    /// A line of its own.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Opens a step.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.out, "\n{:2}. {title}", self.steps.len() + 1)?;
        self.out.flush()
    }

    /// Shows a command and what it printed.
    pub(super) fn show(&mut self, typed: &str, output: &[u8]) -> io::Result<()> {
        writeln!(self.out, "    $ {typed}")?;
        let text = plain(output);
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        for line in lines.iter().take(SHOWN) {
            writeln!(self.out, "    | {line}")?;
        }
        if let Some(more) = lines.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(self.out, "    | … {more} more lines")?;
        }
        self.out.flush()
    }

    /// Closes a step.
    pub(super) fn outcome(&mut self, title: &str, outcome: Outcome) -> io::Result<()> {
        writeln!(self.out, "    {}", line(&outcome))?;
        self.steps.push((title.to_owned(), outcome));
        self.out.flush()
    }

    /// Prints the list; `true` when no step was wrong.
    pub(super) fn end(&mut self) -> io::Result<bool> {
        writeln!(self.out, "\nThe tour:")?;
        for (index, (title, outcome)) in self.steps.iter().enumerate() {
            writeln!(self.out, "  {} {:2}. {title}", mark(outcome), index + 1)?;
        }
        let wrong = self
            .steps
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Wrong(_)))
            .count();
        match wrong {
            0 => writeln!(self.out, "Every step came out right.")?,
            1 => writeln!(self.out, "One step came out wrong.")?,
            wrong => writeln!(self.out, "{wrong} steps came out wrong.")?,
        }
        self.out.flush()?;
        Ok(wrong == 0)
    }
}

fn mark(outcome: &Outcome) -> char {
    match outcome {
        Outcome::Right(_) => '✓',
        Outcome::Wrong(_) => '✗',
        Outcome::Skipped(_) => '-',
    }
}

fn line(outcome: &Outcome) -> String {
    let (Outcome::Right(text) | Outcome::Wrong(text) | Outcome::Skipped(text)) = outcome;
    format!(
        "{} {}",
        mark(outcome),
        plain(text.as_bytes()).replace('\n', "\n      ")
    )
}

/// Text without escape sequences and control characters, so that what a target printed stays in
/// its place.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends at its first letter or the like (ECMA-48, 5.4).
                while chars
                    .next()
                    .is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c))
                {}
            }
            '\n' => out.push('\n'),
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test")]
    use super::*;

    #[test]
    fn one_wrong_step_makes_the_tour_wrong() {
        let mut out = Vec::new();
        let mut script = Script::new(&mut out);
        for outcome in [
            Outcome::Right("fine".to_owned()),
            Outcome::Skipped("no scp".to_owned()),
            Outcome::Wrong("odd\nvery".to_owned()),
        ] {
            script.step("a step").unwrap();
            script.show("ssh x", b"one\r\n\x1b[31mtwo\x07\n").unwrap();
            script.outcome("a step", outcome).unwrap();
        }
        assert!(!script.end().unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("    | one\n    | two\n    ✓ fine\n"),
            "{text}"
        );
        assert!(text.contains("    ✗ odd\n      very\n"), "{text}");
        assert!(
            text.ends_with("  -  2. a step\n  ✗  3. a step\nOne step came out wrong.\n"),
            "{text}"
        );
    }

    #[test]
    fn skipped_is_not_wrong() {
        let mut script = Script::new(Vec::new());
        script
            .outcome("x", Outcome::Skipped("y".to_owned()))
            .unwrap();
        assert!(script.end().unwrap());
    }
}
