//! `replay commands`: what was run in a session.

use std::path::PathBuf;

use recording::read::Item;
use serde::Serialize;

use super::{Failure, Out, open};
use crate::commands::{Act, Commands, Source};
use crate::moment::Clock;
use crate::safe;

/// Tell what was run: the command of the session, what the shell said (OSC 133), markers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and folders (with all below them), ssh://BASTION/SESSION; `-` is standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// One JSON object a line: file, id, at_ms, ended_ms, source, text, exit_status
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    file: &'a str,
    id: &'a str,
    at_ms: u64,
    ended_ms: Option<u64>,
    source: Source,
    text: Option<&'a str>,
    exit_status: Option<i32>,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let sources = out.find(&args.paths);
    let many = sources.len() > 1;
    for source in sources {
        let Some(mut reader) = open(&source, out) else {
            continue;
        };
        let mut commands = Commands::new(reader.header());
        let mut warnings = Vec::new();
        for item in &mut reader {
            match item {
                Item::Event(event) => commands.event(&event),
                Item::Warning(warning) => warnings.push(warning),
            }
        }
        if many && !args.json {
            out.line(&format!("==> {} <==", source.name()))?;
        }
        for act in commands.finish() {
            let line = match args.json {
                true => json(&act, &source.name(), &source.id())?,
                false => text(&act),
            };
            out.line(&line)?;
        }
        out.warnings(&source, &warnings);
    }
    Ok(())
}

fn json(act: &Act, file: &str, id: &str) -> Result<String, Failure> {
    let entry = Entry {
        file,
        id,
        at_ms: act.time / 1000,
        ended_ms: act.ended.map(|ended| ended / 1000),
        source: act.source,
        text: act.text.as_deref(),
        exit_status: act.exit,
    };
    Ok(safe::json(&entry).map_err(std::io::Error::from)?)
}

fn text(act: &Act) -> String {
    let source = match act.source {
        Source::Exec => "exec",
        Source::Shell => "shell",
        Source::Marker => "marker",
    };
    let took = act.ended.map(|ended| {
        let millis = ended.saturating_sub(act.time) / 1000;
        format!("{}.{}s", millis / 1000, millis % 1000 / 100)
    });
    let exit = act.exit.map(|exit| exit.to_string());
    let text = match &act.text {
        Some(text) => safe::line(text),
        None => "(it could not be read off the screen)".into(),
    };
    format!(
        "{:>9}  {source:<6}  {:>8}  {:>4}  {text}",
        Clock(act.time).to_string(),
        took.unwrap_or_default(),
        exit.unwrap_or_default(),
    )
}
