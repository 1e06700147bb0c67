//! One recording's file: only ever longer, with disk reserved ahead for its end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// A file that is appended to. A clone of the handle is what the syncer holds.
#[derive(Debug)]
pub(super) struct Disk {
    file: Arc<File>,
    written: u64,
    /// Bytes from the start for which there is disk; `None` where it cannot be reserved.
    reserved: Option<u64>,
    /// Reserving has failed: only the end may still be written.
    exhausted: bool,
}

impl Disk {
    /// For a file that is empty.
    pub(super) fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            written: 0,
            reserved: Some(0),
            exhausted: false,
        }
    }

    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Sees to it that `more` bytes can be written, and the end of the recording after them.
    ///
    /// # Errors
    ///
    /// The disk is full. What was reserved before is there for the end.
    pub(super) fn reserve(&mut self, more: u64) -> io::Result<()> {
        let Some(reserved) = self.reserved else {
            return Ok(());
        };
        let needed = self.written + more + END;
        if needed <= reserved {
            return Ok(());
        }
        // Who prints much is given much, so that it is not asked for often.
        let step = (self.written / 8).clamp(STEP_SMALL, STEP_LARGE);
        let until = needed + step;
        match rustix::fs::fallocate(
            &*self.file,
            FallocateFlags::KEEP_SIZE,
            reserved,
            until - reserved,
        ) {
            Ok(()) => self.reserved = Some(until),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.reserved = None,
            Err(error) => {
                self.exhausted = true;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Whether only the end can still be written.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives back what was reserved and not written.
pub(super) fn release(file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    Ok(rustix::fs::ftruncate(file, len)?)
}

/// Whether the disk is full, or the file may not grow.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Disk for what is not flushed and the end of the recording.
const END: u64 = 96 * 1024;
const STEP_SMALL: u64 = 32 * 1024;
const STEP_LARGE: u64 = 8 * 1024 * 1024;
