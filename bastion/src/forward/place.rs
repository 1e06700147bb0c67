//! What the forwarder keeps of each sink: the place behind the last event that its receiver has, which
//! outlives a crash, and a status for whoever watches, which need not.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::chain::Place;

/// The folder of what is kept.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// Held for as long as the forwarder runs.
#[derive(Debug)]
pub(crate) struct OnlyOne {
    _lock: File,
}

/// How far a sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// When this was written.
    pub(crate) at: Timestamp,
    /// The number of the last event that the receiver has.
    pub(crate) acknowledged: u64,
    /// How many there are after it.
    pub(crate) behind: u64,
    /// When the receiver had everything; none where it never had since this is known.
    pub(crate) caught_up_at: Option<Timestamp>,
    /// What is in the way, where something is.
    pub(crate) error: Option<String>,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder, and sees to it that nobody else forwards with it.
    ///
    /// # Errors
    ///
    /// It cannot be made, or is in use (`WouldBlock`).
    pub(crate) fn take(&self) -> io::Result<OnlyOne> {
        // Who is in the group may see how far sinks are.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.0)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.0.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(OnlyOne { _lock: lock })
    }

    /// Where the place of a sink is kept.
    pub(crate) fn cursor(&self, sink: &str) -> PathBuf {
        self.0.join(format!("{sink}.cursor.json"))
    }

    fn status(&self, sink: &str) -> PathBuf {
        self.0.join(format!("{sink}.status.json"))
    }

    /// The place of a sink; the beginning where none is kept.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none of ours: nothing is guessed.
    pub(crate) fn place(&self, sink: &str) -> io::Result<Place> {
        match std::fs::read(self.cursor(sink)) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::START),
            Err(error) => Err(error),
        }
    }

    /// Keeps the place of a sink; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// The disk's. What was kept before is still there.
    pub(crate) fn keep(&self, sink: &str, place: &Place) -> io::Result<()> {
        let written = self.write(&self.cursor(sink), &serde_json::to_vec(place)?)?;
        written.sync_all()?;
        self.replace(&self.cursor(sink))?;
        File::open(&self.0)?.sync_all()
    }

    /// What was last told of a sink; none where nothing is known.
    pub(crate) fn told(&self, sink: &str) -> Option<Status> {
        // Whoever writes it is another user: a link, a pipe or an endless file is none.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(self.status(sink), flags, Mode::empty()).ok()?);
        let mut text = Vec::new();
        if file.metadata().ok()?.is_file() {
            file.take(STATUS_MAX).read_to_end(&mut text).ok()?;
        }
        serde_json::from_slice(&text).ok()
    }

    /// Tells how far a sink is.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub(crate) fn tell(&self, sink: &str, status: &Status) -> io::Result<()> {
        self.write(&self.status(sink), &serde_json::to_vec(status)?)?;
        self.replace(&self.status(sink))
    }

    /// Writes what is to be in the place of `path`.
    fn write(&self, path: &Path, text: &[u8]) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path.with_extension("new"))?;
        file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
        file.write_all(text)?;
        file.write_all(b"\n")?;
        Ok(file)
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        std::fs::rename(path.with_extension("new"), path)
    }
}

/// A longer status is none.
const STATUS_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use recording::seal::Hash;

    use super::*;

    #[test]
    fn what_is_kept_is_found_and_nothing_is_guessed() {
        let whole = tempfile::tempdir().unwrap();
        let folder = Folder::new(&whole.path().join("forward"));
        let held = folder.take().unwrap();
        assert_eq!(folder.take().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(folder.place("siem").unwrap(), Place::START);
        assert_eq!(folder.told("siem"), None);
        let place = Place {
            seq: 7,
            hash: Hash::of(b"x"),
            start: 10,
            end: 20,
        };
        folder.keep("siem", &place).unwrap();
        assert_eq!(folder.place("siem").unwrap(), place);
        assert_eq!(folder.place("other").unwrap(), Place::START);
        let mode = std::fs::metadata(folder.cursor("siem")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o640);
        std::fs::write(folder.cursor("siem"), "{\"seq\":7}").unwrap();
        assert!(folder.place("siem").is_err());
        let status = Status {
            at: Timestamp::UNIX_EPOCH,
            acknowledged: 7,
            behind: 2,
            caught_up_at: None,
            error: Some("away".to_owned()),
        };
        folder.tell("siem", &status).unwrap();
        assert_eq!(folder.told("siem"), Some(status));
        std::fs::write(folder.status("siem"), "").unwrap();
        assert_eq!(folder.told("siem"), None);
        std::fs::remove_file(folder.status("siem")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.status("siem")).unwrap();
        assert_eq!(folder.told("siem"), None);
        std::fs::remove_file(folder.status("siem")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            folder.status("siem"),
            Mode::from_raw_mode(0o600),
        )
        .unwrap();
        assert_eq!(folder.told("siem"), None);
        drop(held);
        folder.take().unwrap();
    }
}
