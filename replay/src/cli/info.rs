//! `replay info`: all there is to say about recordings.

use std::path::PathBuf;

use jiff::Timestamp;
use recording::read::OpenError;
use serde::Serialize;
use serde_json::Value;

use super::{Failure, Out, size, zone};
use crate::about::date;
use crate::files::Source;
use crate::moment::Clock;
use crate::safe;
use crate::summary::{State, Summary, Withheld};

/// Tell what is known about recordings, and what is damaged in them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders (with all below them), ssh://BASTION/SESSION; `-` is standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A recording as `--json` gives it.
#[derive(Serialize)]
struct Details<'a> {
    id: &'a str,
    file: &'a str,
    version: u8,
    cols: u16,
    rows: u16,
    term: Option<&'a str>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    duration_ms: u64,
    idle_time_limit_ms: Option<u128>,
    user: Option<&'a str>,
    target: Option<&'a str>,
    login: Option<&'a str>,
    kind: Option<&'a str>,
    command: Option<&'a str>,
    title: Option<&'a str>,
    tags: &'a [String],
    exit_status: Option<i32>,
    size_bytes: u64,
    output_bytes: u64,
    events: u64,
    resizes: u64,
    markers: Vec<Marker<'a>>,
    /// Frames that are withheld, as the recording says itself; `verify` tells whether the log does.
    withheld: &'a [Withheld],
    state: State,
    warnings: Vec<WarningEntry<'a>>,
    bastion: Option<&'a Value>,
    account: Option<&'a Value>,
}

#[derive(Serialize)]
struct Marker<'a> {
    at_ms: u64,
    label: &'a str,
}

#[derive(Serialize)]
struct WarningEntry<'a> {
    line: u64,
    text_offset: u64,
    file_offset: u64,
    detail: &'a str,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let mut first = true;
    for source in out.find(&args.paths) {
        let input = source.open().map_err(|source| OpenError::Io { source });
        let summary = match input.and_then(Summary::read) {
            Ok(summary) => summary,
            Err(error) => {
                out.unreadable(&source, &error);
                continue;
            }
        };
        out.problems |= summary.state() == State::Damaged;
        if args.json {
            out.line(&json(&source, &summary)?)?;
        } else {
            if !std::mem::take(&mut first) {
                out.line("")?;
            }
            text(&source, &summary, out)?;
        }
    }
    Ok(())
}

fn json(source: &Source, summary: &Summary) -> Result<String, Failure> {
    let (header, about) = (&summary.header, &summary.about);
    let markers = summary.markers.iter();
    let warnings = summary.warnings.iter();
    let details = Details {
        id: &source.id(),
        file: &source.name(),
        version: header.version,
        cols: header.cols,
        rows: header.rows,
        term: header.term.as_deref(),
        started: about.started,
        ended: ended(summary),
        duration_ms: summary.duration / 1000,
        idle_time_limit_ms: header.idle_time_limit.map(|limit| limit.as_millis()),
        user: about.user.as_deref(),
        target: about.target.as_deref(),
        login: about.login.as_deref(),
        kind: about.kind.as_deref(),
        command: about.command.as_deref(),
        title: about.title.as_deref(),
        tags: &header.tags,
        exit_status: summary.exit,
        size_bytes: summary.size,
        output_bytes: summary.output_bytes,
        events: summary.events,
        resizes: summary.resizes,
        markers: markers
            .map(|(time, label)| Marker {
                at_ms: time / 1000,
                label,
            })
            .collect(),
        withheld: &summary.withheld,
        state: summary.state(),
        warnings: warnings
            .map(|warning| WarningEntry {
                line: warning.at.line,
                text_offset: warning.at.text,
                file_offset: warning.at.file,
                detail: &warning.detail,
            })
            .collect(),
        bastion: header.extra.get("bastion"),
        account: summary.account.as_ref(),
    };
    Ok(safe::json(&details).map_err(std::io::Error::from)?)
}

fn ended(summary: &Summary) -> Option<Timestamp> {
    let started = summary.about.started?.as_microsecond();
    let at = started.checked_add(i64::try_from(summary.duration).ok()?)?;
    Timestamp::from_microsecond(at).ok()
}

/// Longest text that is shown of one thing.
const TEXT_MAX: usize = 2000;

fn text(source: &Source, summary: &Summary, out: &mut Out) -> Result<(), Failure> {
    let zone = zone();
    let (header, about) = (&summary.header, &summary.about);
    let recorded = |text: &Option<String>| text.as_deref().map(|text| safe::short(text, TEXT_MAX));
    let state = match summary.state() {
        State::Whole => "whole".to_owned(),
        State::Unfinished => {
            "no end was recorded: still running, or the recorder was stopped".into()
        }
        State::Damaged => format!("damaged, {} warnings", summary.warnings.len()),
    };
    let tags = (!header.tags.is_empty()).then(|| safe::short(&header.tags.join(", "), TEXT_MAX));
    let term = header.term.as_deref().map(|term| safe::short(term, 100));
    let screen = format!(
        "{}x{} {}",
        header.cols,
        header.rows,
        term.unwrap_or_default()
    );
    for (name, value) in [
        ("file", Some(source.name())),
        ("id", Some(source.id())),
        ("user", recorded(&about.user)),
        (
            "target",
            about.place().map(|place| safe::short(&place, TEXT_MAX)),
        ),
        ("kind", recorded(&about.kind)),
        ("title", recorded(&about.title)),
        ("command", recorded(&about.command)),
        ("tags", tags),
        ("started", about.started.map(|at| date(at, &zone))),
        ("ended", ended(summary).map(|at| date(at, &zone))),
        ("duration", Some(Clock(summary.duration).to_string())),
        ("exit status", summary.exit.map(|status| status.to_string())),
        ("signal", recorded_text(summary, "signal")),
        ("reason", recorded_text(summary, "reason")),
        ("coverage", coverage(summary)),
        ("mode", header_text(summary, &["mode"])),
        ("continues", continues(summary)),
        ("screen", Some(screen.trim_end().to_owned())),
        ("format", Some(format!("asciicast v{}", header.version))),
        ("size", Some(size(summary.size))),
        (
            "output",
            Some(format!(
                "{} in {} events",
                size(summary.output_bytes),
                summary.events
            )),
        ),
        ("state", Some(state)),
    ] {
        if let Some(value) = value {
            out.line(&format!("{name:<12} {value}"))?;
        }
    }
    for (number, frame) in summary.withheld.iter().enumerate() {
        let name = if number == 0 { "withheld" } else { "" };
        let (from, to) = (
            Clock(frame.from_ms.saturating_mul(1000)),
            Clock(frame.to_ms.saturating_mul(1000)),
        );
        let what = format!("frame {}, {}", frame.frame, size(frame.bytes));
        out.line(&format!("{name:<12} {what}, {from} to {to}"))?;
    }
    for (number, (time, label)) in summary.markers.iter().enumerate() {
        let name = if number == 0 { "markers" } else { "" };
        out.line(&format!(
            "{name:<12} {} {}",
            Clock(*time),
            safe::short(label, TEXT_MAX)
        ))?;
    }
    for (number, warning) in summary.warnings.iter().enumerate() {
        let name = if number == 0 { "warnings" } else { "" };
        out.line(&format!("{name:<12} {warning}"))?;
    }
    Ok(())
}

fn recorded_text(summary: &Summary, key: &str) -> Option<String> {
    let text = summary.account_text(key)?;
    Some(safe::short(text, TEXT_MAX))
}

/// What a bastion wrote into the header, as text.
fn header_text(summary: &Summary, path: &[&str]) -> Option<String> {
    let bastion = summary.header.extra.get("bastion")?;
    let value = path.iter().try_fold(bastion, |value, key| value.get(key))?;
    Some(safe::short(value.as_str()?, TEXT_MAX))
}

/// The part of the session's recording before this one, where the recorder failed between them.
fn continues(summary: &Summary) -> Option<String> {
    let text = |key| header_text(summary, &["continues", key]);
    let (session, since, reason) = (text("session")?, text("since")?, text("reason")?);
    let part = summary.header.extra.get("bastion")?.get("continues")?;
    let part = part.get("part")?.as_u64()?;
    Some(format!(
        "{session} (this is part {part}): nothing was recorded from {since} on: {reason}"
    ))
}

/// What the scanner did with the bytes of the session.
fn coverage(summary: &Summary) -> Option<String> {
    let coverage = summary.account.as_ref()?.get("coverage")?.as_object()?;
    let parts = coverage.iter();
    let parts = parts.filter_map(|(name, bytes)| Some(format!("{name} {}", size(bytes.as_u64()?))));
    let parts: Vec<String> = parts.collect();
    Some(safe::short(&parts.join(", "), TEXT_MAX))
}
