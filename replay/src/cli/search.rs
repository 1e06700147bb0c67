//! `replay search`: a pattern in the text of recordings.

use std::path::PathBuf;

use recording::read::Item;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use super::{Failure, Out, open};
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
    let mut found = false;
    for source in out.find(&args.paths) {
        found |= search(&source, &pattern, args, out)?;
    }
    // As with grep: nothing found is not well.
    out.problems |= !found;
    Ok(())
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

/// Whether there is a hit in a recording.
fn search(source: &Source, pattern: &Regex, args: &Args, out: &mut Out) -> Result<bool, Failure> {
    let Some(mut reader) = open(source, out) else {
        return Ok(false);
    };
    let mut transcript = Transcript::new(reader.header());
    let mut warnings = Vec::new();
    let mut found = false;
    for item in &mut reader {
        match item {
            Item::Event(event) => {
                for line in transcript.event(&event) {
                    found |= hit(&line, source, pattern, args, out)?;
                }
            }
            Item::Warning(warning) => warnings.push(warning),
        }
        if found && args.files {
            break;
        }
    }
    if !(found && args.files) {
        for line in transcript.finish() {
            found |= hit(&line, source, pattern, args, out)?;
        }
    }
    if found && args.files {
        out.line(&source.name())?;
    }
    out.warnings(source, &warnings);
    Ok(found)
}

fn hit(
    line: &Line,
    source: &Source,
    pattern: &Regex,
    args: &Args,
    out: &mut Out,
) -> Result<bool, Failure> {
    if !pattern.is_match(&line.text) {
        return Ok(false);
    }
    if args.json {
        let hit = Hit {
            file: &source.name(),
            id: &source.id(),
            at_ms: line.time / 1000,
            full_screen: line.full_screen,
            text: &line.text,
        };
        out.line(&safe::json(&hit).map_err(std::io::Error::from)?)?;
    } else if !args.files {
        out.line(&format!(
            "{} {}: {}",
            source.name(),
            Clock(line.time),
            line.text
        ))?;
    }
    Ok(true)
}
