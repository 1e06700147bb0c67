//! `replay search`: a pattern in the text of recordings.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use recording::read::{Item, OpenError, Reader, Warning};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use super::{Failure, Out};
use crate::files::Source;
use crate::moment::Clock;
use crate::safe;
use crate::transcript::{Line, Transcript};

/// Find a pattern in what was on the screen, full-screen programs included
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A regular expression (syntax of the Rust crate regex)
    pattern: String,
    /// Files and folders (with all below them); `-` is standard input
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
    /// One JSON object a line: file, id, at_ms, full_screen, text
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
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let pattern = compile(args)?;
    let sources = out.find(&args.paths);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel(workers);
    let found = thread::scope(|scope| {
        for _ in 0..workers.min(sources.len()) {
            let sender = sender.clone();
            let (sources, pattern, next) = (&sources, &pattern, &next);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = sources.get(number) else {
                        return;
                    };
                    // Nobody listens any more when the output is gone.
                    if sender
                        .send((number, search(source, pattern, args)))
                        .is_err()
                    {
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

fn compile(args: &Args) -> Result<Regex, Failure> {
    let escaped: String;
    let pattern = match args.fixed {
        true => {
            escaped = escape(&args.pattern);
            &escaped
        }
        false => &args.pattern,
    };
    Regex::builder()
        .syntax(syntax::Config::new().case_insensitive(args.ignore_case))
        .build(pattern)
        .map_err(|error| {
            let cause = error.syntax_error().map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| error.to_string());
            let cause = cause.lines().last().unwrap_or_default().trim();
            Failure::Usage(format!(
                "the pattern is not a regular expression ({}); -F takes it as plain text",
                safe::line(cause)
            ))
        })
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

fn search(source: &Source, pattern: &Regex, args: &Args) -> Result<Found, OpenError> {
    let input = source.open().map_err(|source| OpenError::Io { source })?;
    let mut reader = Reader::open(input)?;
    let mut transcript = Transcript::new(reader.header());
    let mut found = Found::default();
    for item in &mut reader {
        match item {
            Item::Event(event) => {
                for line in transcript.event(&event) {
                    found.look_at(&line, source, pattern, args);
                }
            }
            Item::Warning(warning) => found.warnings.push(warning),
        }
        if found.any && args.files {
            break;
        }
    }
    for line in transcript.finish() {
        found.look_at(&line, source, pattern, args);
    }
    if found.any && args.files {
        found.lines = format!("{}\n", source.name()).into_bytes();
    }
    Ok(found)
}

impl Found {
    fn look_at(&mut self, line: &Line, source: &Source, pattern: &Regex, args: &Args) {
        if !pattern.is_match(&line.text) {
            return;
        }
        self.any = true;
        let name = source.name();
        let hit = match args.json {
            _ if args.files => return,
            true => safe::json(&Hit {
                file: &name,
                id: &source.id(),
                at_ms: line.time / 1000,
                full_screen: line.full_screen,
                text: &line.text,
            })
            .expect("strings and numbers can be JSON"),
            false => format!("{name} {}: {}", Clock(line.time), line.text),
        };
        self.lines.extend_from_slice(hit.as_bytes());
        self.lines.push(b'\n');
    }
}
