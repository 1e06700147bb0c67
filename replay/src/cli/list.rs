//! `replay list`: recordings in a table, the oldest first.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, Out, size, zone};
use crate::about::date;
use crate::files::Source;
use crate::moment::Clock;
use crate::safe;
use crate::summary::{State, Summary};

/// List recordings: id, start, duration, who and where, exit status, size, command
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders (with all below them), ssh://BASTION/SESSION; `-` is standard input
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

/// A recording as `--json` gives it.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    file: &'a str,
    started: Option<Timestamp>,
    duration_ms: u64,
    user: Option<&'a str>,
    target: Option<&'a str>,
    login: Option<&'a str>,
    kind: Option<&'a str>,
    command: Option<&'a str>,
    title: Option<&'a str>,
    exit_status: Option<i32>,
    signal: Option<&'a str>,
    reason: Option<&'a str>,
    size_bytes: u64,
    events: u64,
    state: State,
    warnings: usize,
}

const HEAD: [&str; 8] = [
    "ID", "STARTED", "DURATION", "USER", "TARGET", "STATUS", "SIZE", "COMMAND",
];

/// Widest that a column gets, but for the last.
const COLUMN_MAX: usize = 40;

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for source in out.find(&args.paths) {
        let input = source
            .open()
            .map_err(|source| recording::read::OpenError::Io { source });
        match input.and_then(Summary::read) {
            Ok(summary) => rows.push((source, summary)),
            Err(error) => out.unreadable(&source, &error),
        }
    }
    rows.sort_by(|(one_source, one), (other_source, other)| {
        let one = (one.about.started, one_source);
        one.cmp(&(other.about.started, other_source))
    });
    if rows
        .iter()
        .any(|(_, summary)| summary.state() == State::Damaged)
    {
        out.problems = true;
    }
    if args.json {
        for (source, summary) in &rows {
            out.line(&json(source, summary)?)?;
        }
        return Ok(());
    }
    table(&rows, out)
}

fn json(source: &Source, summary: &Summary) -> Result<String, Failure> {
    let about = &summary.about;
    let entry = Entry {
        id: &source.id(),
        file: &source.name(),
        started: about.started,
        duration_ms: summary.duration / 1000,
        user: about.user.as_deref(),
        target: about.target.as_deref(),
        login: about.login.as_deref(),
        kind: about.kind.as_deref(),
        command: about.command.as_deref(),
        title: about.title.as_deref(),
        exit_status: summary.exit,
        signal: summary.account_text("signal"),
        reason: summary.account_text("reason"),
        size_bytes: summary.size,
        events: summary.events,
        state: summary.state(),
        warnings: summary.warnings.len(),
    };
    Ok(safe::json(&entry).map_err(std::io::Error::from)?)
}

fn table(rows: &[(Source, Summary)], out: &mut Out) -> Result<(), Failure> {
    let zone = zone();
    let mut cells = vec![HEAD.map(str::to_owned)];
    for (source, summary) in rows {
        let about = &summary.about;
        let text =
            |text: Option<&str>| text.map_or("-".into(), |text| safe::short(text, COLUMN_MAX));
        let place = about.place().or_else(|| about.title.clone());
        let command = about.command.as_deref().or(about.kind.as_deref());
        cells.push([
            safe::short(&source.id(), COLUMN_MAX),
            about.started.map_or("-".into(), |at| date(at, &zone)),
            Clock(summary.duration).to_string(),
            text(about.user.as_deref()),
            text(place.as_deref()),
            status(summary),
            size(summary.size),
            command.map_or("-".into(), |command| safe::short(command, 200)),
        ]);
    }
    let mut widths = [0; HEAD.len()];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = safe::width(cell).max(*width);
        }
    }
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - safe::width(cell)));
        }
        out.line(line.trim_end())?;
    }
    Ok(())
}

/// The exit status, and what is wrong.
fn status(summary: &Summary) -> String {
    let exit = summary.exit.map(|status| status.to_string());
    let signal = summary.account_text("signal");
    let exit = signal.map(|name| safe::short(name, 20)).or(exit);
    match (summary.state(), exit) {
        (State::Whole, Some(exit)) => exit,
        (State::Whole, None) => "-".into(),
        (State::Unfinished, _) => "no end".into(),
        (State::Damaged, Some(exit)) => format!("{exit}, damaged"),
        (State::Damaged, None) => "damaged".into(),
    }
}
