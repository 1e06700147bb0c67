//! Where the audit log is read: through the recorder's own socket for it, or from its file. Only
//! what is on disk is given, so that a crash never takes back what a receiver has.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::chain::{LINE_MAX, Place, number_of};
use crate::record::{Opened, RecordError, Recorder};
use recording::seal::Hash;

/// The log. Readers share it: the recorder notes each time that it is opened.
#[derive(Debug)]
pub(super) struct Log {
    from: From,
    open: Mutex<Option<Open>>,
    /// Bytes that were read, for tests.
    #[cfg(test)]
    read: AtomicU64,
}

/// Where the log is.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// The recorder's socket for it.
    Socket(PathBuf),
    /// Its file.
    File(PathBuf),
}

#[derive(Clone, Debug)]
enum Open {
    /// The first keeps the second's connection.
    Recorder(Arc<(Recorder, Opened)>),
    /// With how much of it is on disk.
    File(Arc<(File, AtomicU64)>),
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The recorder is away, or refuses.
    #[error("the audit log cannot be read at {}: {source}", path.display())]
    Recorder {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: RecordError,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is another file in its place.
    #[error("the file of the audit log was replaced")]
    Replaced,
    /// The event that was forwarded last is not in it.
    #[error("the audit log does not hold event {seq}, which was forwarded last: it was cut, changed or replaced; remove {} to forward it from its beginning", cursor.display())]
    Lost {
        /// Its number.
        seq: u64,
        /// Where that is kept.
        cursor: PathBuf,
    },
}

impl Log {
    pub(super) fn new(from: From) -> Self {
        Self {
            from,
            open: Mutex::new(None),
            #[cfg(test)]
            read: AtomicU64::new(0),
        }
    }

    /// The bytes from `offset` on, some 64 KiB at most; none at the end of what is on disk. After an
    /// error the log is opened anew.
    pub(super) async fn read_at(&self, offset: u64) -> Result<Bytes, LogError> {
        let open = self.opened().await?;
        let read = match open {
            Open::Recorder(open) => {
                let read = open.1.read_at(offset).await;
                read.map_err(|error| self.recorder(error))
            }
            Open::File(file) => self.read_file(file, offset).await,
        };
        match &read {
            #[cfg(test)]
            Ok(bytes) => drop(self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed)),
            #[cfg(not(test))]
            Ok(_) => {}
            Err(_) => *self.open.lock().await = None,
        }
        read
    }

    #[cfg(test)]
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Where the log ends now, or a moment ago. Of what a recorder shows it is looked for by reading
    /// at some places: as many as a number of bytes has digits.
    pub(super) async fn end(&self) -> Result<u64, LogError> {
        if let Open::File(file) = self.opened().await? {
            let about = file.0.metadata().map_err(|error| self.file(error))?;
            return Ok(about.len());
        }
        let (mut there, mut beyond) = (0, PIECE as u64);
        loop {
            let read = self.read_at(beyond).await?.len() as u64;
            if read == 0 {
                break;
            }
            there = beyond + read;
            beyond = beyond.saturating_mul(2);
        }
        // The log may have grown beyond where it ended a moment ago.
        while beyond.saturating_sub(there) > PIECE as u64 {
            let middle = there + (beyond - there) / 2;
            match self.read_at(middle).await?.len() as u64 {
                0 => beyond = middle,
                read => there = middle + read,
            }
        }
        // Whoever begins before this finds the rest by reading on.
        Ok(there)
    }

    async fn opened(&self) -> Result<Open, LogError> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let now = match &self.from {
            From::Socket(path) => {
                let recorder = Recorder::connect(path).await;
                let recorder = recorder.map_err(|error| self.recorder(error))?;
                let opened = recorder.open_audit().await;
                let opened = opened.map_err(|error| self.recorder(error))?;
                Open::Recorder(Arc::new((recorder, opened)))
            }
            From::File(path) => {
                let file = File::open(path).map_err(|error| self.file(error))?;
                Open::File(Arc::new((file, AtomicU64::new(0))))
            }
        };
        Ok(open.insert(now).clone())
    }

    async fn read_file(
        &self,
        file: Arc<(File, AtomicU64)>,
        offset: u64,
    ) -> Result<Bytes, LogError> {
        let path = self.path().clone();
        let read = move || -> io::Result<Option<Bytes>> {
            let (file, synced) = &*file;
            let mut bytes = vec![0; PIECE];
            let read = file.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            if read > 0 {
                let end = offset + read as u64;
                if end > synced.load(Ordering::Acquire) {
                    // The recorder does so within half a second: until then a crash may take it back.
                    let length = file.metadata()?.len();
                    file.sync_data()?;
                    synced.store(length.max(end), Ordering::Release);
                }
                return Ok(Some(bytes.into()));
            }
            let (open, there) = (file.metadata()?, std::fs::metadata(path)?);
            let same = (open.dev(), open.ino()) == (there.dev(), there.ino());
            Ok((same && open.len() >= offset).then(Bytes::new))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|error| self.file(error))?
            .ok_or(LogError::Replaced)
    }

    /// Makes sure that the log has the line that `place` is behind, where it says or elsewhere.
    pub(super) async fn find(&self, place: Place) -> Result<Option<Place>, LogError> {
        let length = place.end.saturating_sub(place.start);
        if length <= LINE_MAX as u64 {
            let mut line = Vec::new();
            while (line.len() as u64) < length {
                let more = self.read_at(place.start + line.len() as u64).await?;
                if more.is_empty() {
                    break;
                }
                line.extend_from_slice(&more);
            }
            line.truncate(usize::try_from(length).unwrap_or(0));
            if line.len() as u64 == length && place.is_behind(&line) {
                return Ok(Some(place));
            }
        }
        self.search(place).await
    }

    /// Looks for the line in the whole log: what was before it may have been taken away.
    async fn search(&self, place: Place) -> Result<Option<Place>, LogError> {
        let (mut rest, mut start) = (Vec::new(), 0);
        loop {
            let more = self.read_at(start + rest.len() as u64).await?;
            if more.is_empty() || rest.len() > LINE_MAX {
                return Ok(None);
            }
            rest.extend_from_slice(&more);
            while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.get(..length).unwrap_or_default();
                let end = start + length as u64 + 1;
                if number_of(line) == Some(place.seq) && Hash::of(line) == place.hash {
                    return Ok(Some(Place {
                        start,
                        end,
                        ..place
                    }));
                }
                rest.drain(..=length);
                start = end;
            }
        }
    }

    fn path(&self) -> &PathBuf {
        match &self.from {
            From::Socket(path) | From::File(path) => path,
        }
    }

    fn recorder(&self, source: RecordError) -> LogError {
        LogError::Recorder {
            path: self.path().clone(),
            source,
        }
    }

    fn file(&self, source: io::Error) -> LogError {
        LogError::File {
            path: self.path().clone(),
            source,
        }
    }
}

/// Bytes that are read from a file at once.
const PIECE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::super::chain::Chain;
    use super::super::chain::tests::log_of;
    use super::*;

    #[tokio::test]
    async fn a_place_is_found_again_also_where_the_log_was_shortened_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let text = log_of(&["started", "stopped", "started", "stopped"]);
        std::fs::write(&path, &text).unwrap();
        let mut chain = Chain::new(Place::START);
        chain.take(text.as_bytes());
        let first = chain.next().unwrap().unwrap().place;
        let third = [chain.next(), chain.next()].map(Result::unwrap)[1].clone();
        let third = third.unwrap().place;

        let log = Log::new(From::File(path.clone()));
        assert_eq!(log.find(Place::START).await.unwrap(), Some(Place::START));
        assert_eq!(log.find(third).await.unwrap(), Some(third));

        std::fs::write(&path, &text[first.end as usize..]).unwrap();
        let moved = log.find(third).await.unwrap().unwrap();
        assert_eq!((moved.seq, moved.hash), (third.seq, third.hash));
        assert_eq!(moved.end, third.end - first.end);
        assert_eq!(log.find(first).await.unwrap(), None);

        std::fs::write(&path, log_of(&["stopped"; 4])).unwrap();
        assert_eq!(log.find(third).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_file_in_the_place_of_the_log_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let log = Log::new(From::File(path.clone()));
        assert!(matches!(log.read_at(0).await, Err(LogError::File { .. })));
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(log.read_at(0).await.unwrap(), "one\n");
        assert_eq!(log.read_at(4).await.unwrap(), "");
        std::fs::write(folder.path().join("other"), "two\n").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert!(matches!(log.read_at(4).await, Err(LogError::Replaced)));
        assert_eq!(log.read_at(0).await.unwrap(), "two\n");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(log.read_at(4).await, Err(LogError::Replaced)));
    }
}
