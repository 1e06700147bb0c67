//! `bastion policy`: what an author of policies needs besides `check` and `scan`.
//!
//! Owns the arguments and how answers look. Every decision is `access`'s own: what is tested and
//! explained here is what a server would do.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::Problems;
use crate::target::Inventory;

mod asked;
mod cases;
mod dry_run;
mod explain;
mod junit;
mod test;
mod who;

/// Test, explain and try out policies
#[derive(clap::Args, Debug)]
pub(super) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run the cases that stand beside the policies, in *.test.toml
    Test(test::Test),
    /// Say which policy decides, or which rule touches which byte, and why
    Explain(Box<explain::Explain>),
    /// Say what policies would have done to past recordings
    DryRun(dry_run::DryRun),
}

pub(super) fn run(
    args: &Policy,
    input: &mut dyn std::io::BufRead,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let paint = Paint::of_stdout();
    match &args.command {
        Command::Test(args) => test::run(args, paint, out),
        Command::Explain(args) => explain::run(args, paint, input, out),
        Command::DryRun(args) => dry_run::run(args, paint, out),
    }
}

/// The targets that policies of a folder speak about: those of the file that was named, else of the
/// `targets.toml` in the folder or beside it, else none.
fn inventory(folder: &Path, named: Option<&PathBuf>) -> Result<Option<Inventory>, Problems> {
    let beside = || {
        let above = folder.join("..");
        [folder, &above]
            .map(|folder| folder.join("targets.toml"))
            .into_iter()
            .find(|path| path.is_file())
    };
    match named.cloned().or_else(beside) {
        Some(path) => Inventory::sketch_of(&path).map(Some),
        None => Ok(None),
    }
}

/// Whether answers have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paint {
    Colours,
    Plain,
    /// Nobody looks: what a program reads.
    Piped,
}

impl Paint {
    /// Colours for a terminal, unless NO_COLOR says otherwise (no-color.org).
    fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match (std::io::stdout().is_terminal(), unwanted) {
            (true, false) => Self::Colours,
            (true, true) => Self::Plain,
            (false, _) => Self::Piped,
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain | Self::Piped => text.to_owned(),
        }
    }

    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn found(self, text: &str) -> String {
        self.with("1;33", text)
    }

    fn faint(self, text: &str) -> String {
        self.with("2", text)
    }
}

/// Text of an input or a recording, made safe for a terminal; line ends and tabs stay.
fn shown(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|piece| {
            let end = piece.len() - usize::from(piece.ends_with(['\n', '\t']));
            let (text, end) = piece.split_at(end);
            format!("{}{end}", crate::config::printable(text))
        })
        .collect()
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
