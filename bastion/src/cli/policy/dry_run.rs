//! `bastion policy dry-run`: what policies would have done to past recordings.
//!
//! A recording holds what the user saw, so that a value which was masked then cannot be found
//! again: what is a mask already is counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use recording::event::{EventData, Stream as Recorded};
use recording::raw::{Rebuild, newlines};
use recording::read::{Item, Reader};
use scanner::Stream;
use serde::Serialize;
use serde_json::Value;

use super::{Paint, shown};
use crate::access::{Access, Action, CommandVerdict, Draft, trial};
use crate::cli::Failure;
use crate::target::Inventory;

/// Arguments of `policy dry-run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion policy dry-run policies.new /var/lib/bastion/recordings
  bastion policy dry-run policies.new S1.cast.zst S2.cast.zst --json | jq .rules
  bastion policy dry-run policies.new recordings --group payroll-managers

Says for each rule how many values it would have masked, or which sessions it would have held or
refused, beside what happened to them then. Recordings do not say in which groups a person was: no
exemption applies but those of the --group that are given. Examples are masked.

Exit status: 0 when all recordings were read, 1 when policies or a recording cannot be.")]
pub(super) struct DryRun {
    /// The folder of the policies
    dir: PathBuf,
    /// Recordings, or folders with them
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// A group of everybody who was recorded
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What would have come of all recordings.
#[derive(Debug, Default, Serialize)]
struct Report {
    rules: BTreeMap<String, RuleReport>,
    sessions: Vec<Session>,
    /// Recordings that could not be read, and why.
    unread: Vec<String>,
}

/// What one rule would have done.
#[derive(Debug, Default, Serialize)]
struct RuleReport {
    action: String,
    /// Values that it would have found.
    values: u64,
    /// Of these, masks of then.
    already: u64,
    sessions: u64,
    held: u64,
    refused: u64,
    /// Lines with what was found in them masked.
    examples: Vec<String>,
}

/// One session: then and now.
#[derive(Debug, Serialize)]
struct Session {
    file: PathBuf,
    user: Option<String>,
    place: Option<String>,
    kind: Option<String>,
    command: Option<String>,
    then: Then,
    now: Now,
}

/// What happened, in bytes, as the recording says.
#[derive(Debug, Default, Serialize)]
struct Then {
    passed: u64,
    masked: u64,
    held: u64,
    unreadable: u64,
    reason: Option<String>,
}

/// What would have happened.
#[derive(Debug, Default, Serialize)]
struct Now {
    /// `passed`, `held`, `refused`, `command held` or `command refused`.
    outcome: &'static str,
    by: Option<String>,
    /// Values that would have been found and were in the clear.
    new: u64,
    /// Values that were masked then and would be now.
    already: u64,
}

pub(super) fn run(args: &DryRun, paint: Paint, out: &mut dyn Write) -> Result<(), Failure> {
    let access = Draft::load(&args.dir)
        .map_err(Failure::problems)?
        .over(Inventory::sketch([]).into());
    let groups: BTreeSet<String> = args.groups.iter().cloned().collect();
    let mut report = Report::default();
    for path in &args.recordings {
        for file in files(path).map_err(|error| unreadable(path, &error))? {
            if let Err(error) = report.add(&file, &access, &groups) {
                report.unread.push(format!("{}: {error}", file.display()));
            }
        }
    }
    if args.json {
        serde_json::to_writer(&mut *out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        report.print(paint, out)?;
    }
    if report.unread.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "not every recording could be read: {}",
            shown(&report.unread.join("; "))
        )))
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

/// The recordings of a folder and of its folders, sorted; or the one file.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && (name.ends_with(".cast.zst") || name.ends_with(".cast")) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What a recording says.
struct Past {
    about: replay::about::About,
    pty: bool,
    output: Vec<(Stream, Bytes)>,
    then: Then,
}

impl Past {
    fn read(file: &Path) -> Result<Self, String> {
        let input = File::open(file).map_err(|error| error.to_string())?;
        let mut reader = Reader::open(BufReader::new(input)).map_err(|error| error.to_string())?;
        let header = reader.header().clone();
        let about = replay::about::About::of(&header);
        // Line feeds are written as CR LF only where there was no terminal.
        let written = newlines(&header);
        let pty =
            written == recording::write::Newlines::Kept && about.kind.as_deref() != Some("sftp");
        let mut rebuild = Rebuild::new(written);
        let (mut output, mut size, mut then) = (Vec::new(), 0, Then::default());
        for item in &mut reader {
            let Item::Event(event) = item else { continue };
            if let EventData::Other { data, .. } = &event.data {
                then.read(data);
            }
            if size >= OUTPUT_MAX {
                continue;
            }
            // What does not say which bytes it stands for is passed over, as players do.
            if let Ok(Some((stream, bytes))) = rebuild.event(&event.data) {
                size += bytes.len();
                let stream = match stream {
                    Recorded::Stdout => Stream::Stdout,
                    Recorded::Stderr => Stream::Stderr,
                };
                output.push((stream, Bytes::copy_from_slice(&bytes)));
            }
        }
        Ok(Self {
            about,
            pty,
            output,
            then,
        })
    }

    /// Bytes of a stream.
    fn slice(&self, wanted: Stream, range: Range<u64>) -> Vec<u8> {
        let mut at = 0_u64;
        let mut bytes = Vec::new();
        for (stream, piece) in &self.output {
            if *stream != wanted {
                continue;
            }
            let end = at + piece.len() as u64;
            let from = range.start.clamp(at, end) - at;
            let to = range.end.clamp(at, end) - at;
            let part = usize::try_from(from).ok().zip(usize::try_from(to).ok());
            bytes.extend_from_slice(part.and_then(|(a, b)| piece.get(a..b)).unwrap_or_default());
            at = end;
            if at >= range.end {
                break;
            }
        }
        bytes
    }
}

impl Then {
    /// The account with which a recording ends, wherever in an event it stands.
    fn read(&mut self, data: &Value) {
        let Some(coverage) = data.get("coverage") else {
            return;
        };
        let number = |key: &str| coverage.get(key).and_then(Value::as_u64).unwrap_or(0);
        self.passed = number("passed");
        self.masked = number("masked");
        self.held = number("held");
        self.unreadable = number("unreadable");
        self.reason = data
            .get("reason")
            .and_then(Value::as_str)
            .map(str::to_owned);
    }
}

impl Report {
    fn add(
        &mut self,
        file: &Path,
        access: &Access,
        groups: &BTreeSet<String>,
    ) -> Result<(), String> {
        let past = Past::read(file)?;
        let about = &past.about;
        let target = about
            .target
            .as_deref()
            .ok_or("it does not say on which target it was")?;
        let login = about.login.as_deref().unwrap_or("*");
        let action = match about.kind.as_deref() {
            Some("shell") => Action::Shell,
            Some("sftp") => Action::SftpRead,
            _ => Action::Exec,
        };
        let command = about.command.as_deref().filter(|_| action == Action::Exec);
        let protection = access
            .protection_of(target, login, groups, action, command.map(str::as_bytes))
            .map_err(|error| error.to_string())?;
        let now = match &protection.command {
            CommandVerdict::Run => {
                let trial = trial::run(&protection.rules, past.pty, past.output.iter().cloned());
                self.count(&past, &trial, access)
            }
            CommandVerdict::Hold(terms) => self.before(terms.rule(), "command held", access),
            CommandVerdict::Refuse(rule) => self.before(&rule.clone(), "command refused", access),
        };
        self.sessions.push(Session {
            file: file.to_path_buf(),
            user: about.user.clone(),
            place: about.place(),
            kind: about.kind.clone(),
            command: about.command.clone(),
            then: past.then,
            now,
        });
        Ok(())
    }

    fn rule(&mut self, name: &str, access: &Access) -> &mut RuleReport {
        let report = self.rules.entry(name.to_owned()).or_default();
        if report.action.is_empty() {
            report.action = access.action_of(name);
        }
        report
    }

    /// The command would not have run.
    fn before(&mut self, rule: &str, outcome: &'static str, access: &Access) -> Now {
        let report = self.rule(rule, access);
        report.sessions += 1;
        if outcome == "command held" {
            report.held += 1;
        } else {
            report.refused += 1;
        }
        Now {
            outcome,
            by: Some(rule.to_owned()),
            ..Now::default()
        }
    }

    fn count(&mut self, past: &Past, trial: &trial::Trial, access: &Access) -> Now {
        let mut now = Now {
            outcome: trial.outcome.name(),
            by: trial.outcome.rule().map(str::to_owned),
            ..Now::default()
        };
        let mut met = BTreeSet::new();
        for found in &trial.found {
            let value = past.slice(found.stream, found.bytes.clone());
            let already = is_mask(&value);
            let example = (!already).then(|| example(past, found, &trial.found));
            let report = self.rule(&found.rule, access);
            report.values += 1;
            if already {
                report.already += 1;
                now.already += 1;
            } else {
                now.new += 1;
            }
            if let Some(example) = example
                && report.examples.len() < EXAMPLES_MAX
                && !report.examples.contains(&example)
            {
                report.examples.push(example);
            }
            if met.insert(found.rule.clone()) {
                report.sessions += 1;
            }
        }
        if let Some(rule) = &now.by {
            let first = met.insert(rule.clone());
            let report = self.rule(rule, access);
            report.sessions += u64::from(first);
            if now.outcome == "held" {
                report.held += 1;
            } else {
                report.refused += 1;
            }
        }
        now
    }

    fn print(&self, paint: Paint, out: &mut dyn Write) -> Result<(), Failure> {
        for session in &self.sessions {
            let then = &session.then;
            let now = &session.now;
            let by = now
                .by
                .as_deref()
                .map_or_else(String::new, |rule| format!(" by {}", shown(rule)));
            let outcome = if now.outcome == "passed" {
                now.outcome.to_owned()
            } else {
                paint.bad(now.outcome)
            };
            writeln!(
                out,
                "{}  {} on {}: then {} bytes masked, {} held; now {outcome}{by}, {} values in the clear found, {} masked already",
                paint.faint(&shown(&session.file.display().to_string())),
                shown(session.user.as_deref().unwrap_or("somebody")),
                shown(session.place.as_deref().unwrap_or("somewhere")),
                then.masked,
                then.held,
                now.new,
                now.already,
            )?;
        }
        if !self.sessions.is_empty() {
            writeln!(out)?;
        }
        for (name, rule) in &self.rules {
            writeln!(
                out,
                "rule {} ({}): {} values ({} masked already) in {} of {} sessions, {} held, {} refused",
                paint.found(&shown(name)),
                shown(&rule.action),
                rule.values,
                rule.already,
                rule.sessions,
                self.sessions.len(),
                rule.held,
                rule.refused,
            )?;
            for example in &rule.examples {
                writeln!(out, "    {}", shown(example))?;
            }
        }
        if self.rules.is_empty() {
            writeln!(
                out,
                "no rule would have touched anything in {} sessions",
                self.sessions.len()
            )?;
        }
        Ok(())
    }
}

/// Whether a mask stands where the value was.
fn is_mask(value: &[u8]) -> bool {
    let stars = value.iter().filter(|byte| **byte == b'*').count();
    stars >= 3 && value.iter().all(|byte| b"*x\" -".contains(byte))
}

/// The line of a value, with everything that was found in it replaced.
fn example(past: &Past, found: &trial::Found, all: &[trial::Found]) -> String {
    let before = found.bytes.start.saturating_sub(EXAMPLE_BEFORE);
    let window = past.slice(found.stream, before..found.bytes.end + EXAMPLE_AFTER);
    let at = usize::try_from(found.bytes.start - before).unwrap_or(0);
    let end = usize::try_from(found.bytes.end - before).unwrap_or(0);
    let start = window
        .get(..at)
        .and_then(|head| head.iter().rposition(|byte| *byte == b'\n'))
        .map_or(0, |line| line + 1);
    let stop = window
        .get(end..)
        .and_then(|tail| tail.iter().position(|byte| *byte == b'\n'))
        .map_or(window.len(), |line| end + line);
    let mut masked = Vec::new();
    for (index, byte) in window.iter().enumerate().take(stop).skip(start) {
        let offset = before + index as u64;
        let hidden = all
            .iter()
            .find(|one| one.stream == found.stream && one.bytes.contains(&offset));
        match hidden {
            None => masked.push(*byte),
            Some(one) if one.bytes.start == offset || index == start => {
                masked.extend_from_slice(b"***");
            }
            Some(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&masked);
    text.trim().chars().take(EXAMPLE_CHARS).collect()
}

/// Of one recording, so many bytes are read.
const OUTPUT_MAX: usize = 64 * 1024 * 1024;
const EXAMPLES_MAX: usize = 3;
const EXAMPLE_BEFORE: u64 = 200;
const EXAMPLE_AFTER: u64 = 100;
const EXAMPLE_CHARS: usize = 160;
