//! `replay verify`: whether recordings are what was written.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use recording::log::VerifierKey;
use recording::verify::Level;
use serde::Serialize;

use super::{Failure, Out, with_cause};
use crate::evidence::{Catalogue, Gap, Judged, LogFolder, Redaction, judge_alone};
use crate::files::Source;
use crate::safe;

/// Tell whether recordings are what was written, and whether any is missing
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  replay verify SESSION.cast.zst
  replay verify --key bastion.vkey --all /var/lib/bastion/recordings
  replay verify --key 'bastion/…+…' BUNDLE.cast.zst

Each line begins with what was found:
  complete   all that was written is there, unchanged, and the session has ended; \"withheld\" names
             frames that the recorder took out later and whose hashes are there, as its log says
  withheld   nothing but its header is left: all of it was withheld, as the log says
  gaps       the same, and the log says that some of the session was not written: the recorder or
             its disk failed, and the client got more
  live       the same, as far as the log knows; the session goes on
  torn       its writer died; the file ends within a frame
  truncated  less is there than was written
  altered    it is not what was written, from the frame that is named
  missing    the log has the session, and there is no file (--all)
  unknown    there is nothing to hold it against: no seals, no log, or not in the log

The log is looked for above each file; a bundle brings its proof. Without --key the log's own key
is taken, which shows mistakes and damage, but not a log that was made anew.

Exit status: 0 everything is complete or live, parts of it withheld or not; 1 anything else; 2 wrong usage.")]
pub(super) struct Args {
    /// Recordings, bundles, and folders of them
    #[arg(required_unless_present = "all")]
    paths: Vec<PathBuf>,
    /// Check everything under this folder of a recorder, and that no recording is missing
    #[arg(long, value_name = "FOLDER", conflicts_with = "paths")]
    all: Option<PathBuf>,
    /// The key to trust: NAME+ID+BASE64, or a file that holds it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The folder of the log, where it is not above the recording
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    file: Option<&'a str>,
    session: Option<&'a str>,
    #[serde(flatten)]
    level: Found<'a>,
    frames: Option<usize>,
    bytes: Option<u64>,
    sealed_ms: Option<u64>,
    recovered: bool,
    gaps: &'a [Gap],
    /// Whether it is proved that there are no other gaps before its end.
    counts_gaps: bool,
    withheld: usize,
    redaction: Option<&'a Redaction>,
    /// Frames that were withheld since, by the log, and are in this file.
    withheld_since: u32,
    log: Option<&'a str>,
    signed_ms: Option<u64>,
    /// Whether the key was given, or is the log's own.
    key: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Level(&'a Level),
    Named { level: &'static str },
}

/// A log that is read once for many files.
struct Logs {
    key: Option<VerifierKey>,
    folder: Option<PathBuf>,
    read: Vec<(PathBuf, Option<Catalogue>)>,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let mut logs = Logs {
        key: args.key.as_deref().map(key).transpose()?,
        folder: args.log.clone(),
        read: Vec::new(),
    };
    let paths = match &args.all {
        Some(folder) => std::slice::from_ref(folder),
        None => args.paths.as_slice(),
    };
    if let Some(folder) = &args.all
        && logs.folder.is_none()
    {
        logs.folder = Some(folder.join("log"));
    }
    let mut seen = HashSet::new();
    // Recordings of which something is withheld.
    let mut withheld = 0;
    let found = match &args.all {
        // A store without a recording is not wrong, but for those that are missing.
        Some(folder) => crate::files::find(std::slice::from_ref(folder)).0,
        None => out.find(paths),
    };
    for source in found {
        let Source::File(path) = &source else {
            let what = "verify reads files: it has to know their names and read them twice";
            return Err(Failure::Usage(what.to_owned()));
        };
        match judged(&mut logs, path, &source.id(), out) {
            Ok(judged) => {
                seen.extend(judged.session.clone());
                out.problems |=
                    !matches!(judged.level, Level::Complete | Level::Live) || is_less(&judged);
                withheld += usize::from(judged.withheld() > 0);
                let line = if args.json {
                    json(&source, &judged, &logs)?
                } else {
                    text(&source, &judged, &logs)
                };
                out.line(&line)?;
            }
            Err(error) => out.problem(&format!("{}: {}", source.name(), with_cause(&error))),
        }
    }
    if args.all.is_some() {
        missing(args, &mut logs, (&seen, withheld), out)?;
    }
    Ok(())
}

/// The key of an argument: itself, or in a file.
pub(super) fn key(argument: &str) -> Result<VerifierKey, Failure> {
    if let Ok(key) = VerifierKey::parse(argument) {
        return Ok(key);
    }
    let text = std::fs::read_to_string(argument).map_err(|error| {
        let name = safe::line(argument);
        Failure::Usage(format!("--key {name}: neither a key nor a file: {error}"))
    })?;
    let first = text.lines().next().unwrap_or_default();
    VerifierKey::parse(first)
        .map_err(|error| Failure::Usage(format!("--key {}: {error}", safe::line(argument))))
}

fn judged(logs: &mut Logs, path: &Path, name: &str, out: &mut Out) -> std::io::Result<Judged> {
    let near = match &logs.folder {
        Some(folder) => Some(folder.clone()),
        None => LogFolder::near(path).map(|log| log.0),
    };
    let key = logs.key.clone();
    match near.and_then(|folder| logs.get(folder, out)) {
        Some(catalogue) => {
            let mut judged = catalogue.judge(path, name)?;
            let checkpoint = &catalogue.history.checkpoint;
            judged.signed = Some((checkpoint.origin.clone(), checkpoint.time_ms));
            Ok(judged)
        }
        None => judge_alone(path, name, key.as_ref()),
    }
}

impl Logs {
    /// The log in this folder; none where it does not hold together, which is said once.
    fn get(&mut self, folder: PathBuf, out: &mut Out) -> Option<&Catalogue> {
        if let Some(at) = self.read.iter().position(|(known, _)| *known == folder) {
            return self.read.get(at)?.1.as_ref();
        }
        let read = match Catalogue::read(&LogFolder(folder.clone()), self.key.as_ref()) {
            Ok(catalogue) => Some(catalogue),
            Err(error) => {
                let name = safe::line(&folder.to_string_lossy());
                out.problem(&format!("{name}: {}", with_cause(&error)));
                None
            }
        };
        self.read.push((folder, read));
        self.read.last()?.1.as_ref()
    }

    fn key_kind(&self) -> &'static str {
        match self.key {
            Some(_) => "given",
            None => "own",
        }
    }
}

fn missing(
    args: &Args,
    logs: &mut Logs,
    (seen, withheld): (&HashSet<String>, usize),
    out: &mut Out,
) -> Result<(), Failure> {
    let folder = logs.folder.clone().unwrap_or_default();
    let key = logs.key_kind();
    let Some(catalogue) = logs.get(folder, out) else {
        return Ok(());
    };
    let mut gone: Vec<&String> = catalogue
        .sessions
        .iter()
        .filter(|(id, session)| !session.expired && !seen.contains(*id))
        .map(|(id, _)| id)
        .collect();
    gone.sort();
    let checkpoint = &catalogue.history.checkpoint;
    let mut lines = Vec::new();
    for id in gone {
        let line = Line {
            file: None,
            session: Some(id),
            level: Found::Named { level: "missing" },
            frames: None,
            bytes: None,
            sealed_ms: None,
            recovered: false,
            gaps: &[],
            counts_gaps: true,
            withheld: 0,
            redaction: None,
            withheld_since: 0,
            log: Some(&checkpoint.origin),
            signed_ms: Some(checkpoint.time_ms),
            key,
        };
        lines.push(match args.json {
            true => safe::json(&line).map_err(std::io::Error::from)?,
            false => format!(
                "missing: {}: the log has it, and there is no file",
                safe::line(id)
            ),
        });
    }
    let summary = format!(
        "log {}: {} leaves, {} sessions, {withheld} with something withheld, signed {}{}",
        safe::line(&checkpoint.origin),
        checkpoint.size,
        catalogue.sessions.len(),
        time(checkpoint.time_ms),
        own_key(key),
    );
    out.problems |= !lines.is_empty();
    for line in lines {
        out.line(&line)?;
    }
    if !args.json {
        out.line(&summary)?;
    }
    Ok(())
}

fn json(source: &Source, judged: &Judged, logs: &Logs) -> Result<String, Failure> {
    let line = Line {
        file: Some(&source.name()),
        session: judged.session.as_deref(),
        level: match short_of(judged) {
            Some(level) => Found::Named { level },
            None => Found::Level(&judged.level),
        },
        frames: Some(judged.walk.frames.len()),
        bytes: Some(judged.walk.bytes),
        sealed_ms: judged.walk.wall_ms,
        recovered: judged.recovered,
        gaps: &judged.gaps,
        counts_gaps: judged.counts_gaps,
        withheld: judged.withheld(),
        redaction: judged.redaction.as_ref(),
        withheld_since: judged.withheld_since,
        log: judged.signed.as_ref().map(|(log, _)| log.as_str()),
        signed_ms: judged.signed.as_ref().map(|(_, at)| *at),
        key: logs.key_kind(),
    };
    Ok(safe::json(&line).map_err(std::io::Error::from)?)
}

fn text(source: &Source, judged: &Judged, logs: &Logs) -> String {
    let (level, detail) = match &judged.level {
        Level::Complete => (short_of(judged).unwrap_or("complete"), None),
        Level::Live => ("live", None),
        Level::Torn => ("torn", Some("its writer died in a frame".to_owned())),
        level => {
            let text = level.to_string();
            let (name, detail) = text.split_once(": ").unwrap_or((&text, ""));
            let name = match name {
                "truncated" => "truncated",
                "altered" => "altered",
                _ => "unknown",
            };
            (name, Some(detail.to_owned()))
        }
    };
    let mut line = format!("{level}: {}: ", source.name());
    match detail {
        Some(detail) => line.push_str(&detail),
        None => {
            line.push_str(&format!("{} frames", judged.walk.frames.len()));
            line.push_str(&withheld_text(judged));
        }
    }
    if judged.recovered {
        line.push_str("; recovered after its recorder died, without what was not on the disk");
    }
    if !judged.counts_gaps {
        line.push_str(
            "; this bundle cannot show that no gap is left out: it is of an older version",
        );
    }
    for gap in &judged.gaps {
        line.push_str(&format!("; {}", gap_text(gap)));
    }
    if let Some((log, at)) = &judged.signed {
        line.push_str(&format!("; signed by {} {}", safe::line(log), time(*at)));
        line.push_str(own_key(logs.key_kind()));
    }
    line
}

/// What is to be said in place of *complete* of a file that is whole, where the session is not in it as
/// a whole, or nothing of it is left.
fn short_of(judged: &Judged) -> Option<&'static str> {
    let is_whole = judged.level == Level::Complete;
    match (judged.is_all_withheld(), judged.gaps.is_empty()) {
        (true, _) if is_whole => Some("withheld"),
        (false, false) if is_whole => Some("gaps"),
        _ => None,
    }
}

fn is_less(judged: &Judged) -> bool {
    short_of(judged).is_some()
}

fn withheld_text(judged: &Judged) -> String {
    let mut text = match judged.withheld() {
        0 => String::new(),
        count => format!(", {count} withheld"),
    };
    if let Some(redaction) = &judged.redaction {
        let frames = safe::short(&redaction.frames, FRAMES_MAX);
        let by = safe::short(&redaction.by, FRAMES_MAX);
        text.push_str(&format!(" ({frames}) by {by} {}", time(redaction.at_ms)));
    }
    if judged.withheld_since > 0 {
        text.push_str(&format!(
            "; {} frames that were withheld since are in this copy",
            judged.withheld_since
        ));
    }
    text
}

fn gap_text(gap: &Gap) -> String {
    let mut text = match gap.bytes {
        Some(bytes) => format!("{bytes} bytes that the client has were taken by no recorder"),
        None => "some of what the client has may not be recorded".to_owned(),
    };
    for (word, at) in [("from", gap.since_ms), ("to", gap.until_ms)] {
        if let Some(at) = at {
            text.push_str(&format!(" {word} {}", time(at)));
        }
    }
    for (word, session) in [("before it", &gap.before), ("after it", &gap.after)] {
        if let Some(session) = session {
            text.push_str(&format!(", {word} {}", safe::line(session)));
        }
    }
    text.push_str(&format!(" ({})", safe::short(&gap.reason, REASON_MAX)));
    text
}

fn own_key(kind: &str) -> &'static str {
    match kind {
        "own" => " (by its own key: none was given)",
        _ => "",
    }
}

fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok();
    let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(|| "at an unknown time".to_owned(), |at| at.to_string())
}

/// Longest list of frames that is shown.
const FRAMES_MAX: usize = 100;
/// Longest reason that is shown.
const REASON_MAX: usize = 300;
