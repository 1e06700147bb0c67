//! `replay text`: what was to be read on the screen.

use std::io::Write;
use std::path::PathBuf;

use recording::read::{Item, Reader, Warning};

use super::{Failure, Out, open};
use crate::moment::Clock;
use crate::transcript::{Line, Transcript};

/// Print the text that was on the screen, line by line
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders (with all below them), ssh://BASTION/SESSION; `-` is standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Begin each line with its time since the start
    #[arg(short, long)]
    times: bool,
    /// Leave out what full-screen programs (editors, pagers, monitors) showed
    #[arg(long)]
    no_full_screen: bool,
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let sources = out.find(&args.paths);
    let many = sources.len() > 1;
    for source in sources {
        let Some(reader) = open(&source, out) else {
            continue;
        };
        if many {
            out.line(&format!("==> {} <==", source.name()))?;
        }
        let mut format = Format {
            times: args.times,
            full_screen: !args.no_full_screen,
            in_full_screen: None,
        };
        let warnings = write(reader, &mut out.stdout, &mut format)?;
        out.warnings(&source, &warnings);
    }
    Ok(())
}

/// How lines are written.
#[derive(Default)]
pub(super) struct Format {
    pub(super) times: bool,
    pub(super) full_screen: bool,
    /// The time of the full-screen look that is being written.
    pub(super) in_full_screen: Option<u64>,
}

impl Format {
    fn write(&mut self, line: &Line, output: &mut impl Write) -> std::io::Result<()> {
        if line.full_screen && !self.full_screen {
            return Ok(());
        }
        let look = line.full_screen.then_some(line.time);
        if look != self.in_full_screen {
            if let Some(time) = look {
                writeln!(output, "--- on the full screen at {} ---", Clock(time))?;
            } else {
                writeln!(output, "---")?;
            }
            self.in_full_screen = look;
        }
        if self.times {
            write!(output, "{:>9}  ", Clock(line.time).to_string())?;
        }
        writeln!(output, "{}", line.text)
    }
}

/// Writes the text of a recording; gives what is damaged in it.
pub(super) fn write(
    mut reader: Reader<impl std::io::Read>,
    output: &mut impl Write,
    format: &mut Format,
) -> std::io::Result<Vec<Warning>> {
    let mut transcript = Transcript::new(reader.header());
    let mut warnings = Vec::new();
    for item in &mut reader {
        match item {
            Item::Event(event) => {
                for line in transcript.event(&event) {
                    format.write(&line, output)?;
                }
            }
            Item::Warning(warning) => warnings.push(warning),
        }
    }
    for line in transcript.finish() {
        format.write(&line, output)?;
    }
    Ok(warnings)
}
