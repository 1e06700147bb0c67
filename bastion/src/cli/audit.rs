//! `bastion audit`: the audit log, read where the recorder keeps it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use recording::log::VerifierKey;
use replay::evidence::{Catalogue, LogFolder};
use serde_json::{Map, Value};

use super::{Failure, chain};
use crate::audit::{self, Form};
use crate::config::Config;

/// Export and verify the audit log
#[derive(clap::Args, Debug)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Export(Export),
    Tail(Tail),
    Forward(Forward),
    Verify(Verify),
}

/// Send the audit log to the receivers that the configuration names, as a process of its own
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion audit forward --config /etc/bastion/bastion.toml

Each [[audit.sink]] gets every event, in order, at least once: what a receiver has not acknowledged is
sent again. Messages go to standard error; RUST_LOG sets how many.

Exit status: 0 after SIGTERM, 1 when it cannot start.")]
struct Forward {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// Write events of the audit log to standard output, one JSON object a line
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion audit export --dir /var/lib/bastion/recordings --since 2026-11-25T00:00:00Z
  bastion audit export --dir /var/lib/bastion/recordings --format json | jq 'select(.event == \"session_started\")'

Exit status: 0 all that was asked for is written, 1 it cannot be read.")]
struct Export {
    /// The folder of the recordings
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// Only what happened at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// The form of the events
    #[arg(long, value_enum, default_value = "ocsf")]
    format: Format,
}

/// Write the last events of the audit log, and those that come
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion audit tail --dir /var/lib/bastion/recordings
  bastion audit tail --dir /var/lib/bastion/recordings --lines 0 --follow --format cef

Exit status: 0 the last events are written, 1 the log cannot be read.")]
struct Tail {
    /// The folder of the recordings
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// How many of those that are there
    #[arg(long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Go on with those that come, until interrupted
    #[arg(long)]
    follow: bool,
    /// The form of the events
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Events of OCSF 1.3
    Ocsf,
    /// ArcSight's Common Event Format
    Cef,
    /// The lines as they are chained
    #[value(alias = "plain")]
    Json,
}

impl From<Format> for Form {
    fn from(format: Format) -> Self {
        match format {
            Format::Ocsf => Self::Ocsf,
            Format::Cef => Self::Cef,
            Format::Json => Self::Json,
        }
    }
}

/// Tell whether the audit log is what was written
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion audit verify --dir /var/lib/bastion/recordings --key bastion.vkey

Each line holds the hash of the line before, and the log of the recordings, which is signed, holds
the hash of the last line at least every ten seconds. What was written since is chained, and may
have been cut off.

Exit status: 0 it is, 1 it is not.")]
struct Verify {
    /// The folder of the recordings
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// The key of the log: NAME+ID+BASE64, or a file that holds it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(super) fn run(args: &Audit, out: &mut dyn Write) -> Result<(), Failure> {
    match &args.command {
        Command::Export(args) => export(args, out),
        Command::Tail(args) => tail(args, out),
        Command::Forward(args) => forward(args),
        Command::Verify(args) => verify(args, out),
    }
}

impl Audit {
    /// Whether it holds keys for as long as it runs.
    pub(super) fn is_service(&self) -> bool {
        matches!(self.command, Command::Forward(_))
    }
}

fn forward(args: &Forward) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    super::log();
    crate::forward::run(&config).map_err(Failure::new)
}

fn open(dir: &Path) -> Result<BufReader<File>, Failure> {
    let path = dir.join("audit.jsonl");
    let file = File::open(&path);
    let file = file.map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))?;
    Ok(BufReader::new(file))
}

fn export(args: &Export, out: &mut dyn Write) -> Result<(), Failure> {
    for line in open(&args.dir)?.split(b'\n') {
        let line = line?;
        // What a crash has torn is followed by an event that says so.
        let Ok(event) = serde_json::from_slice::<Map<String, Value>>(&line) else {
            continue;
        };
        let time = event.get("time").and_then(Value::as_str);
        let time = time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        if args
            .since
            .is_some_and(|since| time.is_none_or(|time| time < since))
        {
            continue;
        }
        write(args.format, &line, &event, out)?;
    }
    Ok(())
}

fn write(
    format: Format,
    line: &[u8],
    event: &Map<String, Value>,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(&Form::from(format).of(line, event))?;
    out.write_all(b"\n")
}

fn tail(args: &Tail, out: &mut dyn Write) -> Result<(), Failure> {
    let mut log = open(&args.dir)?;
    let mut last = VecDeque::new();
    let mut line = Vec::new();
    // Lines that are whole: the recorder may be writing the one after them.
    loop {
        let n = log.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            if n == 0 || !args.follow {
                break;
            }
            continue;
        }
        line.pop();
        if last.len() == args.lines {
            last.pop_front();
        }
        if args.lines > 0 {
            last.push_back(std::mem::take(&mut line));
        }
        line.clear();
    }
    for line in last {
        show(args.format, &line, out)?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        out.flush()?;
        match log.read_until(b'\n', &mut line)? {
            0 => std::thread::sleep(LOOK),
            _ if line.last() == Some(&b'\n') => {
                line.pop();
                show(args.format, &line, out)?;
                line.clear();
            }
            // Its end is still to come.
            _ => {}
        }
    }
}

/// A line of the log; what a crash has torn is followed by an event that says so.
fn show(format: Format, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
    match serde_json::from_slice(line) {
        Ok(event) => write(format, line, &event, out),
        Err(_) => Ok(()),
    }
}

fn verify(args: &Verify, out: &mut dyn Write) -> Result<(), Failure> {
    let key = args.key.as_deref().map(key).transpose()?;
    let log = LogFolder(args.dir.join("log"));
    let failed = |error: &dyn std::error::Error| Failure::new(chain(error));
    let catalogue = Catalogue::read(&log, key.as_ref()).map_err(|error| failed(&error))?;
    let verified = audit::verify(open(&args.dir)?, &catalogue.audit);
    let verified = verified.map_err(|error| failed(&error))?;
    let signed = catalogue.audit.last().map_or(0, |(last, _)| *last);
    let own = if key.is_none() {
        " (by its own key: none was given)"
    } else {
        ""
    };
    writeln!(
        out,
        "{} events, {signed} of them signed by {}{own}",
        verified.events, catalogue.history.checkpoint.origin
    )?;
    Ok(())
}

fn key(argument: &str) -> Result<VerifierKey, Failure> {
    let text = match VerifierKey::parse(argument) {
        Ok(key) => return Ok(key),
        Err(_) => std::fs::read_to_string(argument),
    };
    let text = text.map_err(|error| Failure::new(format_args!("--key {argument}: {error}")))?;
    VerifierKey::parse(text.lines().next().unwrap_or_default())
        .map_err(|error| Failure::new(format_args!("--key {argument}: {error}")))
}

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use crate::cli::tests::bastion;

    #[test]
    fn the_last_events_are_shown_in_every_form_and_torn_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let mut text = String::new();
        for n in 0..5 {
            text.push_str(&format!("{{\"seq\":{n},\"event\":\"stopped\"}}\n"));
        }
        text.push_str("{\"seq\":5,\"ev\n{\"seq\":6,\"event\":\"started\"}\n{\"seq\":7,");
        std::fs::write(folder.path().join("audit.jsonl"), text).unwrap();
        let tail =
            |more: &[&str]| bastion(&[&["audit", "tail", "--dir", dir], more].concat()).unwrap();
        assert_eq!(tail(&[]).lines().count(), 6);
        assert_eq!(tail(&["--lines", "0"]), "");
        assert_eq!(
            tail(&["--lines", "1"]),
            "{\"seq\":6,\"event\":\"started\"}\n"
        );
        let cef = tail(&["--lines", "1", "--format", "cef"]);
        assert!(
            cef.starts_with("CEF:0|bastion|") && cef.ends_with("externalId=6\n"),
            "{cef}"
        );
        let export = ["audit", "export", "--dir", dir, "--format", "cef"];
        assert_eq!(bastion(&export).unwrap().lines().count(), 6);
    }
}
