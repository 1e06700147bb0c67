//! `bastion recording`: what is done to recordings that are there.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;

use super::Failure;
use crate::config::{Config, printable};
use crate::record::SessionId;
use crate::recorder::redact::{self, Redact, Redacted, What};

/// Withhold parts of recordings
#[derive(clap::Args, Debug)]
pub(super) struct Recordings {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Redact(RedactArgs),
}

/// Take what was printed in a time out of a recording, so that all the rest can still be verified
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion recording redact SESSION --from 1:02:03 --to 1:02:40 --reason 'ticket 4711: a card number' --dry-run
  bastion recording redact SESSION --from 2026-11-25T16:04:00Z --to 2026-11-25T16:05:00Z --reason 'ticket 4711'
  bastion recording redact SESSION --all --reason 'order of the court, 12 C 34/26'

Whole frames are withheld: at most ten minutes and a megabyte of output each. --dry-run says which. In
the place of each stands a line that says so, and its hash; `replay verify` says how many are withheld,
and the log who wanted it. What was taken out is overwritten and cannot be brought back. Copies that were
made before, bundles and backups too, still have it. The hashes of what was taken out stay, so that whoever
knows all the rest of a short output can try what was in it: a PIN or a card number is found that way.

The recorder that works on the folder does it, for its own user and for root; not while the session goes
on, and not while a file ID.keep beside the recording keeps it (a legal hold).

Exit status: 0 it is withheld; 1 it is not, and the line says why; 2 a command line that makes no sense.")]
struct RedactArgs {
    /// The session, by its whole id
    session: SessionId,
    /// From this time on: since the start (1:02:03, 90.5), or a time of day (2026-11-25T16:04:00Z)
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<When>,
    /// Up to this time
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<When>,
    /// These frames, such as 3 or 3-5, as `replay verify` counts them
    #[arg(long, value_name = "N-M", value_parser = frames, conflicts_with = "from")]
    frames: Option<RangeInclusive<u32>>,
    /// Everything but the header
    #[arg(long, conflicts_with_all = ["from", "frames"], required_unless_present_any = ["from", "frames"])]
    all: bool,
    /// Why: the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who wants it, where that is not who typed it
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// The configuration file, which names the folder of the recordings
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// The folder of the recordings
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    dir: Option<PathBuf>,
    /// Only say what would be withheld
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A moment of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Milliseconds since the start.
    Since(u64),
    /// Milliseconds since 1970.
    At(u64),
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write 1:02:03, 90.5 or 2026-11-25T16:04:00Z".to_owned();
        if let Ok(at) = text.parse::<Timestamp>() {
            return u64::try_from(at.as_millisecond())
                .map(Self::At)
                .map_err(|_| wrong());
        }
        let mut ms = 0_u64;
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() > 3 {
            return Err(wrong());
        }
        for part in parts {
            let (whole, rest) = part.split_once('.').unwrap_or((part, ""));
            let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            if whole.is_empty() || !is_number(whole) || !is_number(rest) || rest.len() > 3 {
                return Err(wrong());
            }
            let seconds: u64 = whole.parse().map_err(|_| wrong())?;
            let rest: u64 = format!("{rest:0<3}").parse().map_err(|_| wrong())?;
            let part = seconds
                .checked_mul(1000)
                .and_then(|ms| ms.checked_add(rest));
            let sum = ms.checked_mul(60).zip(part);
            ms = sum.and_then(|(a, b)| a.checked_add(b)).ok_or_else(wrong)?;
        }
        Ok(Self::Since(ms))
    }
}

fn frames(text: &str) -> Result<RangeInclusive<u32>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("write 3 or 3-5".to_owned()),
    }
}

pub(super) fn run(args: &Recordings, out: &mut dyn Write) -> Result<(), Failure> {
    let Command::Redact(args) = &args.command;
    let usage = |message: &str| Failure {
        message: Some(format!("bastion: {message}")),
        status: 2,
    };
    let what = match (args.from, args.to, &args.frames) {
        (Some(When::Since(from)), Some(When::Since(to)), _) if from <= to => What::Times(from..=to),
        (Some(When::At(from)), Some(When::At(to)), _) if from <= to => What::Clock(from..=to),
        (Some(_), _, _) => {
            return Err(usage("--from is not before --to, or they are of two kinds"));
        }
        (None, _, Some(frames)) => What::Frames(frames.clone()),
        (None, _, None) => What::All,
    };
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => {
            Config::load(&args.config)
                .map_err(Failure::problems)?
                .recording
                .dir
        }
    };
    let names = ["SUDO_USER", "LOGNAME", "USER"];
    let person = args.person.clone();
    let person = person.or_else(|| names.iter().find_map(|name| std::env::var(name).ok()));
    let redact = Redact {
        session: args.session,
        what,
        reason: args.reason.clone(),
        person: person.ok_or_else(|| usage("nobody knows who you are: name it with --person"))?,
        dry_run: args.dry_run,
    };
    let redacted = redact::ask(&dir, &redact).map_err(|error| {
        let dir = printable(&dir.display().to_string());
        let what = match &error {
            redact::AskError::Nobody => format!(
                "{dir}: no recorder works on it: start bastion serve, or bastion recorder, and say it again"
            ),
            redact::AskError::NotAllowed => {
                format!("{dir}: only the recorder's user and root may ask for this")
            }
            error => format!("{}: {}", args.session, printable(&error.to_string())),
        };
        Failure::new(what)
    })?;
    if !args.dry_run {
        // What this account kept of it for searching and jumping; others' is of no use to them.
        replay::keeper::Keeper::new().forget(&dir.join(&redacted.file));
    }
    if args.json {
        serde_json::to_writer(&mut *out, &redacted).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{}", told(&redacted, args.dry_run))?;
    Ok(())
}

fn told(redacted: &Redacted, dry_run: bool) -> String {
    let Redacted {
        frames,
        count,
        total,
        bytes,
        from_ms,
        to_ms,
        ..
    } = redacted;
    let seconds = |ms: &u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (from, to) = (seconds(from_ms), seconds(to_ms));
    let would = if dry_run { "would be " } else { "" };
    format!(
        "{count} frames {would}withheld: {frames}, {bytes} bytes, {from} s to {to} s ({total} in all)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, ms) in [
            ("0", 0),
            ("90.5", 90_500),
            ("1:02", 62_000),
            ("1:02:03.25", 3_723_250),
        ] {
            assert_eq!(text.parse(), Ok(When::Since(ms)), "{text}");
        }
        let at = "2026-11-25T16:04:00Z".parse();
        assert_eq!(at, Ok(When::At(1_795_622_640_000)));
        for text in [
            "",
            ":",
            "1:2:3:4",
            "-1",
            "1.2345",
            "99999999999999999999",
            "noon",
        ] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
        assert_eq!(frames("3-5"), Ok(3..=5));
        assert!(frames("5-3").is_err() && frames("x").is_err());
    }
}
