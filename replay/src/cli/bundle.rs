//! `replay bundle`: a recording with the proof that it was logged.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use recording::log::VerifierKey;
use recording::seal::{PROOF_MAGIC, PROOF_MAX};
use recording::verify::Level;

use super::verify::key;
use super::{Failure, Out, with_cause};
use crate::evidence::{Catalogue, LogFolder};
use crate::files::Source;

/// Write a recording with the proof that it was logged, to be verified anywhere
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  replay bundle SESSION.cast.zst -o case-17.cast.zst
  replay verify --key bastion.vkey case-17.cast.zst

The bundle is a recording like any other, to be played, searched and exported; its proof stands in
a frame that zstd passes over. Only a recording that is whole can be bundled: complete, or with gaps
or withheld frames that the log names, which the bundle then names, too.

Exit status: 0 it is written; 1 it is not complete, or cannot be written; 2 wrong usage.")]
pub(super) struct Args {
    /// The recording
    file: PathBuf,
    /// Where to write the bundle
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The key to trust: NAME+ID+BASE64, or a file that holds it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The folder of the log, where it is not above the recording
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let key = args.key.as_deref().map(key).transpose()?;
    if let Err(what) = bundle(args, key.as_ref()) {
        let name = Source::File(args.file.clone()).name();
        out.problem(&format!("{name}: {what}"));
    }
    Ok(())
}

fn bundle(args: &Args, key: Option<&VerifierKey>) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| with_cause(error);
    let log = args.log.clone().map(LogFolder);
    let log = log.or_else(|| LogFolder::near(&args.file));
    let log = log.ok_or("there is no log above it; name its folder with --log")?;
    let catalogue = Catalogue::read(&log, key).map_err(|error| failed(&error))?;
    let source = Source::File(args.file.clone());
    let judged = catalogue.judge(&args.file, &source.id());
    let judged = judged.map_err(|error| failed(&error))?;
    if judged.level != Level::Complete {
        return Err(format!(
            "only a complete recording is bundled; it is {}",
            judged.level
        ));
    }
    let proof = catalogue
        .prove(&log, &judged)
        .map_err(|error| failed(&error))?;
    let proof = serde_json::to_vec(&proof).map_err(|error| failed(&error))?;
    let len = u32::try_from(proof.len())
        .ok()
        .filter(|len| *len <= PROOF_MAX);
    let len = len.ok_or("the proof is too long")?;
    let write = || -> io::Result<()> {
        let mut output = File::options()
            .write(true)
            .create_new(true)
            .open(&args.output)?;
        // The recording alone, should it be a bundle already.
        let mut recording = io::Read::take(File::open(&args.file)?, judged.walk.bytes);
        io::copy(&mut recording, &mut output)?;
        output.write_all(&PROOF_MAGIC)?;
        output.write_all(&len.to_le_bytes())?;
        output.write_all(&proof)?;
        output.sync_all()
    };
    write().map_err(|error| {
        let name = Source::File(args.output.clone()).name();
        format!("{name}: {error}")
    })
}
