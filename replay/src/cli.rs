//! The command line of `replay`.
//!
//! Exit statuses: 0 when all is well, 1 when something is damaged, missing or not possible, 2
//! when the command line is wrong. Damage is told on standard error; what could be read is on
//! standard output all the same. A recording without an end (the session runs, or its recorder
//! was stopped) is a state to `list` and `info`, and a problem to what shows its content: that
//! is not all there was.

mod bundle;
mod commands;
mod export;
mod info;
mod list;
mod play;
mod repair;
mod screen;
mod search;
mod serve;
mod text;
mod verify;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jiff::tz::TimeZone;
use recording::read::{OpenError, Warning};

use crate::files::{self, Source};
use crate::player::Player;
use crate::safe;

/// Plays, lists, searches and exports recordings of SSH sessions (asciicast, plain or .zst)
#[derive(Debug, Parser)]
#[command(name = "replay", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  replay list /var/lib/bastion/recordings
  replay play SESSION.cast.zst --start 50%
  replay play ssh://bastion.example.com/SESSION
  replay watch /var/lib/bastion/recordings/SESSION.cast.zst
  replay search -i 'drop table' /var/lib/bastion/recordings
  replay screen SESSION.cast.zst --at 1:02:03
  replay commands SESSION.cast.zst
  replay export --format html SESSION.cast.zst -o SESSION.html
  replay export --format v2 SESSION.cast.zst -o SESSION.cast
  replay verify --key bastion.vkey --all /var/lib/bastion/recordings
  replay serve /var/lib/bastion/recordings
  zstd -dc SESSION.cast.zst | replay text -

Exit status: 0 all is well; 1 something is damaged or not possible; 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Info(info::Args),
    Play(play::Args),
    Watch(play::WatchArgs),
    Text(text::Args),
    Screen(screen::Args),
    Commands(commands::Args),
    Search(search::Args),
    Export(export::Args),
    Verify(verify::Args),
    Bundle(bundle::Args),
    Repair(repair::Args),
    Serve(serve::Args),
}

/// The command line as clap knows it, to make man pages and completions of.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Parses the process's arguments, runs the command, and maps its result to an exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where even this cannot be written, the status still tells.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut out = Out::new();
    let result = match cli.command {
        Command::List(args) => list::run(&args, &mut out),
        Command::Info(args) => info::run(&args, &mut out),
        Command::Play(args) => play::run(args, &mut out),
        Command::Watch(args) => play::watch(&args, &mut out),
        Command::Text(args) => text::run(&args, &mut out),
        Command::Screen(args) => screen::run(&args, &mut out),
        Command::Commands(args) => commands::run(&args, &mut out),
        Command::Search(args) => search::run(&args, &mut out),
        Command::Export(args) => export::run(&args, &mut out),
        Command::Verify(args) => verify::run(&args, &mut out),
        Command::Bundle(args) => bundle::run(&args, &mut out),
        Command::Repair(args) => repair::run(&args, &mut out),
        Command::Serve(args) => serve::run(args, &mut out),
    };
    let result = result.and_then(|()| Ok(out.stdout.flush()?));
    match result {
        Ok(()) if out.problems => ExitCode::from(1),
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `replay text FILE | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(u8::from(out.problems))
        }
        Err(Failure::Output(error)) => {
            out.problem(&format!("cannot write: {error}"));
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            out.problem(&message);
            ExitCode::from(2)
        }
    }
}

/// Why a command ends before its work is done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Output(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
}

/// Standard output, and what was wrong so far.
struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
    problems: bool,
}

/// Warnings that are told one by one for each recording.
const WARNINGS_TOLD: usize = 20;

impl Out {
    fn new() -> Self {
        Self {
            stdout: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
            problems: false,
        }
    }

    /// Tells what is wrong. The text must be safe to show.
    fn problem(&mut self, message: &str) {
        self.problems = true;
        // In order with what was written before; where it cannot be written the status tells.
        drop(self.stdout.flush());
        drop(writeln!(io::stderr(), "replay: {message}"));
    }

    /// Tells what is wrong with what was played.
    fn played(&mut self, source: &Source, player: &Player) {
        if player.is_no_recording() {
            let detail = player.warnings().last();
            let detail = detail.map(|warning| warning.detail.clone());
            let detail = detail.unwrap_or_else(|| "this is not a recording".into());
            self.problem(&format!("{}: {detail}", source.name()));
        } else {
            self.warnings(source, player.warnings());
        }
    }

    fn warnings(&mut self, source: &Source, warnings: &[Warning]) {
        let name = source.name();
        for warning in warnings.iter().take(WARNINGS_TOLD) {
            self.problem(&format!("{name}: {warning}"));
        }
        if let Some(more) = warnings.len().checked_sub(WARNINGS_TOLD + 1) {
            self.problem(&format!("{name}: and {} warnings more", more + 1));
        }
    }

    /// The recordings that are meant; places that cannot be looked at are problems.
    fn find(&mut self, paths: &[PathBuf]) -> Vec<Source> {
        let (found, errors) = files::find(paths);
        for error in &errors {
            self.problem(&with_cause(error));
        }
        if found.is_empty() && errors.is_empty() {
            self.problem("there are no recordings (*.cast, *.cast.zst)");
        }
        found
    }

    /// Says why a recording cannot be read.
    fn unreadable(&mut self, source: &Source, error: &OpenError) {
        self.problem(&format!("{}: {}", source.name(), with_cause(error)));
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.stdout, "{line}")
    }
}

/// The error and what caused it, in one line.
fn with_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&safe::line(&error.to_string()));
        cause = error.source();
    }
    text
}

/// Reads a recording, or says why it cannot be.
fn open(
    source: &Source,
    out: &mut Out,
) -> Option<recording::read::Reader<Box<dyn io::Read + Send>>> {
    let opened = source.open().map_err(|source| OpenError::Io { source });
    match opened.and_then(recording::read::Reader::open) {
        Ok(reader) => Some(reader),
        Err(error) => {
            out.unreadable(source, &error);
            None
        }
    }
}

/// The zone in which times are shown: that of the machine, or UTC where it names none.
fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    match unit {
        0 => format!("{bytes} {name}"),
        _ => format!("{value:.1} {name}"),
    }
}
