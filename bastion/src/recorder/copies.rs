//! Copies of checkpoints, outside the reach of who could rewrite the log.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Where every checkpoint is copied to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies(pub Vec<CopyTo>);

/// One place for copies of checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyTo {
    /// Appended to this file, an empty line after each.
    File(PathBuf),
    /// The system's journal.
    Journald,
    /// The standard input of this command, which `sh` runs.
    Command(String),
}

/// A place for copies that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("copies go to `file:PATH`, `journald` or `command:COMMAND`")]
pub struct NoPlace;

impl FromStr for CopyTo {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match text.split_once(':') {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            Some(("command", command)) if !command.trim().is_empty() => {
                Ok(Self::Command(command.to_owned()))
            }
            None if text == "journald" => Ok(Self::Journald),
            _ => Err(NoPlace),
        }
    }
}

impl std::fmt::Display for CopyTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Journald => f.write_str("journald"),
            Self::Command(command) => write!(f, "command:{command}"),
        }
    }
}

impl Copies {
    /// Sends a checkpoint everywhere. A place that takes none is told in the log of the
    /// recorder: recording goes on, since the next checkpoint says all that this one does.
    pub(super) fn send(&self, note: &str) {
        for place in &self.0 {
            if let Err(error) = place.send(note) {
                tracing::error!(%error, %place, "a checkpoint cannot be copied");
            }
        }
    }
}

impl CopyTo {
    fn send(&self, note: &str) -> io::Result<()> {
        match self {
            Self::File(path) => {
                let mut options = OpenOptions::new();
                let mut file = options.append(true).create(true).mode(0o600).open(path)?;
                file.write_all(format!("{note}\n").as_bytes())
            }
            Self::Journald => {
                // A field of several lines goes with its length (journald's native protocol).
                let mut message =
                    b"PRIORITY=6\nSYSLOG_IDENTIFIER=bastion-recorder\nMESSAGE\n".to_vec();
                message.extend_from_slice(&(note.len() as u64).to_le_bytes());
                message.extend_from_slice(note.as_bytes());
                message.push(b'\n');
                UnixDatagram::unbound()?
                    .send_to(&message, JOURNAL)
                    .map(drop)
            }
            Self::Command(command) => run(command, note),
        }
    }
}

fn run(command: &str, note: &str) -> io::Result<()> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // Less than a pipe holds: it does not wait.
    let fed = child
        .stdin
        .take()
        .map_or(Ok(()), |mut input| input.write_all(note.as_bytes()));
    let deadline = Instant::now() + COMMAND;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(PAUSE),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    };
    match status.success() {
        true => Ok(()),
        false => Err(fed
            .err()
            .unwrap_or_else(|| io::Error::other(status.to_string()))),
    }
}

const JOURNAL: &str = "/run/systemd/journal/socket";
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(10);
/// Between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);
