//! `replay repair`: a readable copy of a recording whose writer died.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use recording::repair::Survey;
use recording::write::Ending;

use super::{Failure, Out};
use crate::files::Source;

/// Write a copy of a torn recording with an end, so that every player reads it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  replay repair TORN.cast.zst -o readable.cast.zst

The file itself is left alone. What can be read of its last frame is kept. The copy is for
reading: no log knows it, and `replay verify` says so.

Exit status: 0 it is written, or there was nothing to repair; 1 not possible; 2 wrong usage.")]
pub(super) struct Args {
    /// The recording, .cast.zst
    file: PathBuf,
    /// Where to write the copy
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let name = Source::File(args.file.clone()).name();
    match repair(args) {
        Ok(line) => out.line(&format!("{name}: {line}"))?,
        Err(error) => out.problem(&format!("{name}: {error}")),
    }
    Ok(())
}

fn repair(args: &Args) -> io::Result<String> {
    let mut survey = Survey::of(BufReader::new(File::open(&args.file)?))?;
    if survey.header.is_none() {
        return Err(io::Error::other("nothing can be read of it"));
    }
    if let Some(what) = survey.altered {
        let what = format!("it was changed after it was written ({what}): see replay verify");
        return Err(io::Error::other(what));
    }
    if survey.ended.is_some() && !survey.torn {
        return Ok("it is whole; nothing is written".to_owned());
    }
    let ending = Ending {
        marker: Some("repaired: what came after this is lost".to_owned()),
        ..Ending::default()
    };
    let frame = survey.closing_frame(&ending, 0)?;
    let mut output = File::options()
        .write(true)
        .create_new(true)
        .open(&args.output)?;
    io::copy(&mut File::open(&args.file)?.take(survey.whole), &mut output)?;
    output.write_all(&frame)?;
    output.sync_all()?;
    let torn = std::fs::metadata(&args.file)?
        .len()
        .saturating_sub(survey.whole);
    Ok(format!(
        "its last {torn} bytes were torn; what could be read of them is kept"
    ))
}
