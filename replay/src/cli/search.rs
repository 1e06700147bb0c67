//! `replay search`: a pattern in the text of recordings.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use recording::read::{OpenError, Reader, Warning};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use super::{Failure, Out};
use crate::files::Source;
use crate::keeper::Keeper;
use crate::lines::{self, Pattern};
use crate::moment::Clock;
use crate::safe;
use crate::transcript::Line;

/// Find a pattern in what was on the screen, full-screen programs included
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A regular expression (syntax of the Rust crate regex)
    pattern: String,
    /// Files, folders (with all below them), ssh://BASTION/SESSION; `-` is standard input
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// The pattern is plain text
    #[arg(short = 'F', long)]
    fixed: bool,
    /// Letters in any case
    #[arg(short, long)]
    ignore_case: bool,
    /// Only the recordings, not the lines
    #[arg(short = 'l', long)]
    files: bool,
    /// Below each line, the command that plays the recording from there
    #[arg(short = 'p', long)]
    play: bool,
    /// One JSON object a line: file, id, at_ms, full_screen, text, play (the command that plays
    /// it from there)
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Hit<'a> {
    file: &'a str,
    id: &'a str,
    at_ms: u64,
    full_screen: bool,
    text: &'a str,
    play: &'a str,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let pattern = compile(args)?;
    let keeper = Keeper::new();
    let sources = out.find(&args.paths);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel(workers);
    let found = thread::scope(|scope| {
        for _ in 0..workers.min(sources.len()) {
            let sender = sender.clone();
            let (sources, pattern, next, keeper) = (&sources, &pattern, &next, &keeper);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = sources.get(number) else {
                        return;
                    };
                    // Nobody listens any more when the output is gone.
                    let found = search(source, pattern, args, keeper);
                    if sender.send((number, found)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        tell(receiver, &sources, out)
    })?;
    // As with grep: nothing found is not well.
    out.problems |= !found;
    Ok(())
}

/// Writes what was found, in the order of the recordings. Whether anything was.
fn tell(
    results: mpsc::Receiver<(usize, Result<Found, OpenError>)>,
    sources: &[Source],
    out: &mut Out,
) -> Result<bool, Failure> {
    let mut early = BTreeMap::new();
    let mut any = false;
    let mut numbered = sources.iter().enumerate().peekable();
    for (number, result) in results {
        early.insert(number, result);
        while let Some((number, source)) = numbered.peek()
            && let Some(result) = early.remove(number)
        {
            match result {
                Ok(found) => {
                    any |= found.any;
                    out.stdout.write_all(&found.lines)?;
                    out.warnings(source, &found.warnings);
                }
                Err(error) => out.unreadable(source, &error),
            }
            numbered.next();
        }
    }
    Ok(any)
}

/// What one recording gave.
#[derive(Default)]
struct Found {
    any: bool,
    /// As they are written.
    lines: Vec<u8>,
    warnings: Vec<Warning>,
}

fn compile(args: &Args) -> Result<Pattern, Failure> {
    let escaped: String;
    let pattern = match args.fixed {
        true => {
            escaped = escape(&args.pattern);
            &escaped
        }
        false => &args.pattern,
    };
    let build = |many_lines| {
        let config = syntax::Config::new()
            .case_insensitive(args.ignore_case)
            .multi_line(many_lines);
        Regex::builder()
            .syntax(config)
            .build(pattern)
            .map_err(Box::new)
    };
    let line = build(false).map_err(|error| {
        let cause = error.syntax_error().map(ToString::to_string);
        let cause = cause.unwrap_or_else(|| error.to_string());
        let cause = cause.lines().last().unwrap_or_default().trim();
        Failure::Usage(format!(
            "the pattern is not a regular expression ({}); -F takes it as plain text",
            safe::line(cause)
        ))
    })?;
    Ok(Pattern::new(line, pattern, || build(true).ok()))
}

/// Plain text as a regular expression.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if char.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

fn search(
    source: &Source,
    pattern: &Pattern,
    args: &Args,
    keeper: &Keeper,
) -> Result<Found, OpenError> {
    let mut found = Found::default();
    let mut look_at = |line: &Line| {
        if pattern.is_in(&line.text) {
            found.add(line, source, args);
        }
        !(found.any && args.files)
    };
    let warnings = match source {
        Source::File(path) => lines::look(path, keeper, Some(pattern), &mut look_at)?.warnings,
        Source::Stdin | Source::Remote(_) => {
            let input = source.open().map_err(|source| OpenError::Io { source })?;
            lines::read(&mut Reader::open(input)?, &mut look_at)
        }
    };
    found.warnings = warnings;
    if found.any && args.files {
        found.lines = format!("{}\n", source.name()).into_bytes();
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, line: &Line, source: &Source, args: &Args) {
        self.any = true;
        if args.files {
            return;
        }
        let name = source.name();
        let play = play(&name, line.time);
        let hit = match args.json {
            true => safe::json(&Hit {
                file: &name,
                id: &source.id(),
                at_ms: line.time / 1000,
                full_screen: line.full_screen,
                text: &line.text,
                play: &play,
            })
            .expect("strings and numbers can be JSON"),
            false if args.play => format!("{name} {}: {}\n    {play}", Clock(line.time), line.text),
            false => format!("{name} {}: {}", Clock(line.time), line.text),
        };
        self.lines.extend_from_slice(hit.as_bytes());
        self.lines.push(b'\n');
    }
}

/// The command that plays a recording from where a line was complete, for a shell.
fn play(name: &str, time: u64) -> String {
    let millis = time.div_ceil(1000);
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-:@+".contains(char);
    let name = match name.starts_with('-') && name != "-" {
        true => format!("./{name}"),
        false => name.to_owned(),
    };
    let quoted = match name.chars().all(is_plain) {
        true => name,
        false => format!("'{}'", name.replace('\'', "'\\''")),
    };
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!("replay play --paused --start {seconds}.{millis:03} {quoted}")
}
