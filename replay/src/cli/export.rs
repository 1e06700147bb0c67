//! `replay export`: recordings for other players, or as text.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use recording::read::{Item, Reader, Warning};

use super::{Failure, Out, open, text};
use crate::export::{Version, Writer};
use crate::files::Source;
use crate::keeper::Keeper;
use crate::moment::Place;
use crate::opened;
use crate::player::Wait;
use crate::safe;
use crate::svg::svg;
use crate::web;

/// Write recordings as asciicast v2 or v3, text, a web page with a player, or a picture
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders (with all below them), ssh://BASTION/SESSION; `-` is standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// What to write
    #[arg(short, long, value_enum)]
    format: Format,
    /// The file to write, or, for several recordings, the folder; standard output without it
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Of which moment the picture is: 90, 1:30, 50%
    #[arg(long, value_parser = super::screen::place, default_value = "100%")]
    at: Place,
    /// Write over a file that is there
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// asciicast v2: asciinema 2 and 3
    V2,
    /// asciicast v3: asciinema 3
    V3,
    /// What was to be read on the screen
    Text,
    /// One web page with a player, which needs nothing else
    Html,
    /// The screen at one moment (--at) as a picture
    Svg,
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::V2 | Self::V3 => "cast",
            Self::Text => "txt",
            Self::Html => "html",
            Self::Svg => "svg",
        }
    }
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let folders = args.paths.iter().any(|path| path.is_dir());
    let many = folders || args.paths.len() > 1;
    match &args.output {
        None if many => {
            return Err(Failure::Usage(
                "several recordings need a folder to be written to: -o FOLDER".into(),
            ));
        }
        Some(folder) if many => fs::create_dir_all(folder)?,
        _ => {}
    }
    for source in out.find(&args.paths) {
        if matches!(args.format, Format::Html | Format::Svg) {
            rendered(&source, args, many, out)?;
            continue;
        }
        let Some(reader) = open(&source, out) else {
            continue;
        };
        let warnings = match &args.output {
            None => write(reader, args.format, &mut out.stdout)?,
            Some(path) => {
                let path = target(path, &source, args.format, many);
                match create(&path, args.overwrite) {
                    Ok(file) => write(reader, args.format, &mut BufWriter::new(file))?,
                    Err(message) => {
                        out.problem(&message);
                        continue;
                    }
                }
            }
        };
        out.warnings(&source, &warnings);
    }
    Ok(())
}

/// Formats for which the screen is rendered.
fn rendered(source: &Source, args: &Args, many: bool, out: &mut Out) -> Result<(), Failure> {
    let mut player = match opened::player(source, &Keeper::new()) {
        Ok(player) => player,
        Err(error) => {
            out.problem(&format!("{}: {error}", source.name()));
            return Ok(());
        }
    };
    if !player.is_no_recording() {
        player.go_to(args.at);
        while player.tick(Duration::ZERO) == Wait::Not {}
        let mut write = |output: &mut dyn Write| match args.format {
            Format::Svg => output.write_all(svg(&player.stage.emulator).as_bytes()),
            _ => web::export(&mut player, output),
        };
        match &args.output {
            None => write(&mut out.stdout)?,
            Some(path) => {
                let path = target(path, source, args.format, many);
                match create(&path, args.overwrite) {
                    Ok(file) => {
                        let mut file = BufWriter::new(file);
                        write(&mut file)?;
                        file.flush()?;
                    }
                    Err(message) => out.problem(&message),
                }
            }
        }
    }
    out.played(source, &player);
    Ok(())
}

/// The file to write.
fn target(output: &Path, source: &Source, format: Format, many: bool) -> PathBuf {
    match many {
        true => output.join(format!("{}.{}", file_name(source), format.ending())),
        false => output.to_owned(),
    }
}

/// The id as a file name: it comes from a file's name, so it is one, but for standard input.
fn file_name(source: &Source) -> String {
    match source {
        Source::Stdin => "stdin".into(),
        Source::File(_) | Source::Remote(_) => source.id(),
    }
}

fn create(path: &Path, overwrite: bool) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path).map_err(|error| {
        let name = safe::line(&path.to_string_lossy());
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{name} is there already; --overwrite writes over it")
            }
            _ => format!("{name}: {error}"),
        }
    })
}

fn write(
    mut reader: Reader<impl Read>,
    format: Format,
    output: &mut impl Write,
) -> std::io::Result<Vec<Warning>> {
    let version = match format {
        Format::V2 => Version::V2,
        Format::V3 => Version::V3,
        Format::Text => {
            let mut format = text::Format {
                full_screen: true,
                ..text::Format::default()
            };
            let warnings = text::write(reader, output, &mut format)?;
            output.flush()?;
            return Ok(warnings);
        }
        Format::Html | Format::Svg => return Ok(Vec::new()),
    };
    let mut warnings = Vec::new();
    let mut writer = Writer::new(output, version, reader.header())?;
    for item in &mut reader {
        match item {
            Item::Event(event) => writer.event(&event)?,
            Item::Warning(warning) => warnings.push(warning),
        }
    }
    writer.finish()?;
    Ok(warnings)
}
