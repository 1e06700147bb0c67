//! What the recorder wrote, read with the stock `zstd` and the stock `asciinema`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::files::{installed, program, walk};
use crate::process::{Output, run, run_ok};

/// The folder of recordings.
#[derive(Clone, Debug)]
pub struct Recordings {
    dir: PathBuf,
}

impl Recordings {
    /// Those in `dir`.
    pub fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// All `.cast.zst` files.
    ///
    /// # Errors
    /// The file system's.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let all = walk(&self.dir)?;
        Ok(all
            .into_iter()
            .filter(|path| path.to_string_lossy().ends_with(".cast.zst"))
            .collect())
    }

    /// Lets asciinema read the finished ones, as whoever gets one does: the last [`MANY`] that are
    /// not large.
    ///
    /// # Errors
    /// It is not installed, or one is no asciicast v3, or means something else to it.
    pub fn read_by_asciinema(&self) -> Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        for path in self.files()?.iter().rev().take(MANY) {
            if std::fs::metadata(path)?.len() > LARGE {
                continue;
            }
            // What a killed recorder left has no end, and what a test damaged may have no text.
            let text = run("zstd", Command::new("zstd").args(["-dcq"]).arg(path), b"")?.stdout;
            if !String::from_utf8_lossy(&text).contains(",\"x\",\"") {
                continue;
            }
            let name = || path.display().to_string();
            let output = Cast::read(path).with_context(name)?.output();
            let shown = asciinema(path, "raw").with_context(name)?;
            ensure!(
                shown.ends_with(output.as_bytes()),
                "{}: asciinema shows {} bytes of {}",
                name(),
                shown.len(),
                output.len()
            );
        }
        Ok(())
    }

    /// All of them, read.
    ///
    /// # Errors
    /// One is not an asciicast v3 in zstd.
    pub fn all(&self) -> Result<Vec<Cast>> {
        self.files()?
            .iter()
            .map(|path| Cast::read(path).with_context(|| format!("{}", path.display())))
            .collect()
    }

    /// The only one whose command is `command`.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn of_command(&self, command: &str) -> Result<Cast> {
        let mut found: Vec<_> = self
            .all()?
            .into_iter()
            .filter(|cast| cast.command() == Some(command))
            .collect();
        ensure!(
            found.len() == 1,
            "{} recordings of {command:?}",
            found.len()
        );
        found.pop().context("one")
    }
}

/// So many recordings of a world are read by asciinema,
const MANY: usize = 8;
/// of at most so many bytes.
const LARGE: u64 = 1 << 20;

/// One asciicast v3 recording.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Its file.
    pub path: PathBuf,
    /// Its header.
    pub header: Value,
    /// Its events: interval, code, data.
    pub events: Vec<(f64, String, String)>,
}

impl Cast {
    /// Reads a file with the stock `zstd`, strictly: every line must be what the format's third version says.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let text = String::from_utf8(plain(path)?).context("UTF-8")?;
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().context("a header")?)?;
        ensure!(
            header.get("version") == Some(&Value::from(3)),
            "not version 3: {header}"
        );
        ensure!(
            header.pointer("/term/cols").is_some_and(Value::is_u64),
            "no columns: {header}"
        );
        ensure!(
            header.pointer("/term/rows").is_some_and(Value::is_u64),
            "no rows: {header}"
        );
        let mut events = Vec::new();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let (interval, code, data): (f64, String, String) =
                serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(interval >= 0.0, "time goes backwards: {line}");
            let number = line.split(',').next().unwrap_or_default();
            let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
            ensure!(fraction.len() <= 3, "no whole milliseconds: {line}");
            events.push((interval, code, data));
        }
        Ok(Self {
            path: path.to_owned(),
            header,
            events,
        })
    }

    /// The header's command.
    pub fn command(&self) -> Option<&str> {
        self.header.get("command").and_then(Value::as_str)
    }

    /// What all output events say together.
    pub fn output(&self) -> String {
        self.data("o").concat()
    }

    /// The data of the events with this code.
    pub fn data(&self, code: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| event.1 == code)
            .map(|event| event.2.as_str())
            .collect()
    }

    /// The recorded exit status.
    pub fn exit(&self) -> Option<&str> {
        self.data("x").last().copied()
    }
}

/// A recording's text, decompressed by the stock `zstd`.
///
/// # Errors
/// It is damaged.
pub fn plain(path: &Path) -> Result<Vec<u8>> {
    Ok(run_ok("zstd", Command::new("zstd").args(["-dcq"]).arg(path))?.stdout)
}

/// What `zstd -dc FILE | asciinema convert -f FORMAT - OUT` writes: `txt`, `raw` or `asciicast-v2`.
///
/// # Errors
/// asciinema is not installed, or can't read the file.
pub fn asciinema(path: &Path, format: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let mut command = Command::new(installed("asciinema/bin/asciinema")?);
    command
        .args(["convert", "-f", format, "-"])
        .arg(&out)
        .env("TERM", "xterm-256color");
    run("asciinema", &mut command, &plain(path)?)?.ok()?;
    Ok(std::fs::read(&out)?)
}

/// Runs `replay` with these arguments and the file.
///
/// # Errors
/// It is not built.
pub fn replay(arguments: &[&str], path: &Path) -> Result<Output> {
    run(
        "replay",
        Command::new(program("replay")?).args(arguments).arg(path),
        b"",
    )
}
