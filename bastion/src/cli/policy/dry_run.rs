//! `bastion policy dry-run`: what policies would have done to past recordings.
//!
//! A recording holds what the user saw, so that a value which was masked then cannot be found
//! again: what is a mask already is counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use recording::event::{EventData, Stream as Recorded};
use recording::raw::{Rebuild, newlines};
use recording::read::{Item, Reader};
use scanner::{Rules, Stream};
use serde::Serialize;
use serde_json::Value;

use super::who::Who;
use super::{Paint, shown};
use crate::access::{Access, Action, CommandVerdict, Draft, Person, Question, Reason, trial};
use crate::cli::Failure;
use crate::record::SignedIn;
use crate::target::Inventory;

/// Arguments of `policy dry-run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion policy dry-run policies.new /var/lib/bastion/recordings
  bastion policy dry-run policies.new S1.cast.zst S2.cast.zst --json | jq .rules
  bastion policy dry-run policies.new recordings --group payroll-managers

Says for each rule how many values it would have masked, or which sessions it would have held or
refused, and which sessions access.cedar would not have let begin, beside what happened to them
then. Each is asked as it was: user, groups, sign-in, address, time, command. Recordings that do not
say the groups count with those of --group, and without any are not asked. Examples are masked.

Exit status: 0 when all recordings were read, 1 when policies or a recording cannot be.")]
pub(super) struct DryRun {
    /// The folder of the policies
    dir: PathBuf,
    /// Recordings, or folders with them
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// A group of everybody who was recorded, beside those that the recordings name
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The targets and their labels; else targets.toml in DIR or beside it
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What would have come of all recordings.
#[derive(Debug, Default, Serialize)]
struct Report {
    rules: BTreeMap<String, RuleReport>,
    access: AccessReport,
    sessions: Vec<Session>,
    /// Recordings that could not be read, and why.
    unread: Vec<String>,
}

/// What `access.cedar` would have said.
#[derive(Debug, Default, Serialize)]
struct AccessReport {
    /// Sessions that were asked about.
    asked: u64,
    /// Of these, what would not have begun.
    refused: u64,
    /// Sessions whose groups or targets nobody knows, so that there was nothing to ask.
    not_asked: u64,
    /// By the policies that would have refused, or the reason.
    by: BTreeMap<String, Refusals>,
}

/// Sessions that would have been refused for one reason.
#[derive(Debug, Default, Serialize)]
struct Refusals {
    sessions: u64,
    /// Who, what and where; what a rule finds in a command is masked.
    examples: Vec<String>,
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
    /// `passed`, `held`, `refused`, `command held`, `command refused` or `access refused`.
    outcome: &'static str,
    by: Option<String>,
    /// Values that would have been found and were in the clear.
    new: u64,
    /// Values that were masked then and would be now.
    already: u64,
}

pub(super) fn run(args: &DryRun, paint: Paint, out: &mut dyn Write) -> Result<(), Failure> {
    let inventory =
        super::inventory(&args.dir, args.targets.as_ref()).map_err(Failure::problems)?;
    let access = Draft::load(&args.dir)
        .map_err(Failure::problems)?
        .over(inventory.unwrap_or_else(|| Inventory::sketch([])).into());
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

/// What a server asked before it let a session begin, apart from target and command.
struct Asked {
    who: Who,
    /// Whether the recording knows more of the person than who it is.
    known: bool,
    source: IpAddr,
    at: Timestamp,
    approved: bool,
}

impl Asked {
    /// Reads what the bastion's part of a header says.
    fn of(ours: &Value) -> Option<Self> {
        let text = |key: &str| ours.get(key).and_then(Value::as_str);
        let at: Timestamp = text("started")?.parse().ok()?;
        let signed_in: Option<SignedIn> = ours
            .get("signed_in")
            .and_then(|value| serde_json::from_value(value.clone()).ok());
        let known = signed_in.is_some();
        let signed_in = signed_in.unwrap_or_else(|| SignedIn {
            at,
            groups: Vec::new(),
            email: None,
            service: false,
            key: None,
            approved: false,
        });
        let age = at.duration_since(signed_in.at);
        Some(Self {
            who: Who {
                name: text("user")?.to_owned(),
                issuer: text("issuer")?.to_owned(),
                subject: text("subject")?.to_owned(),
                email: signed_in.email,
                groups: signed_in.groups.into_iter().collect(),
                service: signed_in.service.then_some(None),
                sign_in_age: age.try_into().unwrap_or_default(),
                key: signed_in.key,
            },
            known,
            source: text("source")?.parse().ok()?,
            at,
            approved: signed_in.approved,
        })
    }
}

/// What a recording says.
struct Past {
    about: replay::about::About,
    asked: Option<Asked>,
    pty: bool,
    output: Vec<(Stream, Bytes)>,
    then: Then,
}

/// What the session was.
fn action_of(about: &replay::about::About) -> Action {
    match about.kind.as_deref() {
        Some("shell") => Action::Shell,
        Some("sftp") => Action::SftpRead,
        Some("forward") => Action::Forward,
        Some("agent") => Action::Agent,
        _ => Action::Exec,
    }
}

impl Past {
    fn read(file: &Path) -> Result<Self, String> {
        let input = File::open(file).map_err(|error| error.to_string())?;
        let mut reader = Reader::open(BufReader::new(input)).map_err(|error| error.to_string())?;
        let header = reader.header().clone();
        let about = replay::about::About::of(&header);
        let asked = header.extra.get("bastion").and_then(Asked::of);
        // Line feeds are written as CR LF only where there was no terminal.
        let written = newlines(&header);
        let pty = written == recording::write::Newlines::Kept && !action_of(&about).is_unread();
        let mut rebuild = Rebuild::new(written);
        let (mut output, mut size, mut then) = (Vec::new(), 0, Then::default());
        for item in &mut reader {
            let Item::Event(event) = item else { continue };
            if let EventData::Other { code, data } = &event.data
                && code == "E"
            {
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
            asked,
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
    /// The account with which a recording ends: an object in a string, since players know strings
    /// alone.
    fn read(&mut self, data: &Value) {
        let account = data.as_str().unwrap_or_default();
        let account: Value = serde_json::from_str(account).unwrap_or_default();
        let Some(coverage) = account.get("coverage") else {
            return;
        };
        let number = |key: &str| coverage.get(key).and_then(Value::as_u64).unwrap_or(0);
        self.passed = number("passed");
        self.masked = number("masked");
        self.held = number("held");
        self.unreadable = number("unreadable");
        self.reason = account
            .get("reason")
            .and_then(Value::as_str)
            .map(str::to_owned);
    }
}

impl AccessReport {
    fn refuse(&mut self, by: &str, example: String) -> Now {
        self.refused += 1;
        let refusals = self.by.entry(by.to_owned()).or_default();
        refusals.sessions += 1;
        if refusals.examples.len() < EXAMPLES_MAX && !refusals.examples.contains(&example) {
            refusals.examples.push(example);
        }
        Now {
            outcome: ACCESS_REFUSED,
            by: Some(by.to_owned()),
            ..Now::default()
        }
    }

    fn print(&self, paint: Paint, out: &mut dyn Write) -> Result<(), Failure> {
        for (by, refusals) in &self.by {
            writeln!(
                out,
                "access refused ({}): {} of {} sessions",
                paint.found(&shown(by)),
                refusals.sessions,
                self.asked,
            )?;
            for example in &refusals.examples {
                writeln!(out, "    {}", shown(example))?;
            }
        }
        if self.asked > 0 && self.by.is_empty() {
            writeln!(out, "access: all {} sessions would have begun", self.asked)?;
        }
        if self.not_asked > 0 {
            writeln!(
                out,
                "access: {} sessions could not be asked about: their groups or targets are not known (--group, --targets)",
                self.not_asked
            )?;
        }
        Ok(())
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
        let action = action_of(about);
        let command = about.command.as_deref().filter(|_| action == Action::Exec);
        let mut groups = groups.clone();
        if let Some(asked) = &past.asked {
            groups.extend(asked.who.groups.iter().cloned());
        }
        let protection = access
            .protection_of(target, login, &groups, action, command.map(str::as_bytes))
            .map_err(|error| error.to_string())?;
        let refused = self.ask(&past, action, access, &groups);
        let now = match &protection.command {
            _ if refused.is_some() => {
                let by = refused.unwrap_or_default();
                let example = refused_session(&past, &protection.rules);
                self.access.refuse(&by, example)
            }
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

    /// What would have refused the session, where something would.
    fn ask(
        &mut self,
        past: &Past,
        action: Action,
        access: &Access,
        groups: &BTreeSet<String>,
    ) -> Option<String> {
        let known = |asked: &&Asked| asked.known || !groups.is_empty();
        let account = past
            .about
            .target
            .as_deref()
            .zip(past.about.login.as_deref());
        let Some((asked, (target, login))) = past.asked.as_ref().filter(known).zip(account) else {
            self.access.not_asked += 1;
            return None;
        };
        // A file channel begins where either direction is permitted.
        let actions = match action {
            Action::SftpRead => &[Action::SftpRead, Action::SftpWrite][..],
            _ => &[action],
        };
        let command = past
            .about
            .command
            .as_deref()
            .filter(|_| matches!(action, Action::Exec | Action::Forward));
        let mut reason = None;
        for action in actions {
            let question = Question {
                person: Person {
                    groups,
                    ..asked.who.person(asked.at)
                },
                target,
                login,
                action: *action,
                source: asked.source,
                now: asked.at,
                command: command.map(str::as_bytes),
                approved_until: asked.approved.then_some(Timestamp::MAX),
            };
            match access
                .decide(&question)
                .map_err(|denied| denied.reason().clone())
            {
                // Rules about commands are counted by themselves.
                Ok(_) | Err(Reason::Command(_)) => {
                    self.access.asked += 1;
                    return None;
                }
                Err(Reason::UnknownTarget | Reason::UnknownLogin) => {
                    self.access.not_asked += 1;
                    return None;
                }
                Err(Reason::Forbidden(policies)) => {
                    reason.get_or_insert(policies.join(", "));
                }
                Err(other) => {
                    reason.get_or_insert(other.to_string());
                }
            }
        }
        self.access.asked += 1;
        reason
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
                .map_or_else(String::new, |rule| match now.outcome {
                    ACCESS_REFUSED => format!(" ({})", shown(rule)),
                    _ => format!(" by {}", shown(rule)),
                });
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
        self.access.print(paint, out)?;
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

/// Who did what where; what the rules find in the command is masked as they would.
fn refused_session(past: &Past, rules: &Arc<Rules>) -> String {
    let about = &past.about;
    let who = about.user.as_deref().unwrap_or("somebody");
    let what = match (about.kind.as_deref(), about.command.as_deref()) {
        (Some("exec"), Some(command)) => {
            let command = Bytes::copy_from_slice(command.as_bytes());
            let trial = trial::run(rules, false, [(Stream::Stdout, command)]);
            match trial.outcome {
                trial::Outcome::Passed => String::from_utf8_lossy(&trial.passed).into_owned(),
                trial::Outcome::Held { .. } | trial::Outcome::Refused { .. } => "***".to_owned(),
            }
        }
        (kind, _) => kind.unwrap_or("a session").to_owned(),
    };
    let place = about.place().unwrap_or_default();
    let text = format!("{who} on {place}: {what}");
    text.chars().take(EXAMPLE_CHARS).collect()
}

/// Whether a mask stands where the value was: stars, and of `last4` no more than four letters or
/// digits.
fn is_mask(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let stars = text.matches('*').count();
    let left = text.chars().filter(|c| c.is_alphanumeric() && *c != 'x');
    let others = |c: char| c.is_alphanumeric() || "*\" -".contains(c);
    stars >= 3 && left.count() <= LAST && text.chars().all(others)
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

/// The outcome of a session that would not have begun.
const ACCESS_REFUSED: &str = "access refused";
/// Of one recording, so many bytes are read.
const OUTPUT_MAX: usize = 64 * 1024 * 1024;
/// Letters or digits that `last4` leaves.
const LAST: usize = 4;
const EXAMPLES_MAX: usize = 3;
const EXAMPLE_BEFORE: u64 = 200;
const EXAMPLE_AFTER: u64 = 100;
const EXAMPLE_CHARS: usize = 160;

#[cfg(test)]
mod tests {
    use super::is_mask;

    #[test]
    fn masks_are_told_from_values() {
        for mask in [
            "***",
            "***-**-1271",
            "**** **** **** 4444",
            "*****************e*net",
            "xxx***",
        ] {
            assert!(is_mask(mask.as_bytes()), "{mask}");
        }
        for value in [
            "219-09-9999",
            "**",
            "1111",
            "*** Ada Okafor",
            "a@example.org",
        ] {
            assert!(!is_mask(value.as_bytes()), "{value}");
        }
    }
}
