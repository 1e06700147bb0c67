//! A copy of the store as one file, and back.
//!
//! A copy is checked when it is made and before it takes a place. What comes back is not all of it:
//! leases that had ended since would count again, so every lease ends, and people sign in anew.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;

use super::{BUSY_TIMEOUT, StoreError, check, inspect};

/// What is in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// The version of its schema.
    pub schema: i64,
    /// People who have signed in.
    pub users: i64,
    /// Their keys.
    pub keys: i64,
    /// Users and targets that are locked.
    pub locks: i64,
}

/// Writes a copy of the store at `path`, which may be in use, to the new file `to`, mode 0600.
///
/// # Errors
///
/// When the store is damaged or of another program, `to` is there already or can't be written, or
/// the copy is not what it should be; then it is taken away again.
pub fn back_up(path: &Path, to: &Path) -> Result<Copied, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    check(&connection, path)?;
    // Made here first, so that it is private from its first byte; SQLite takes an empty file.
    private(to).map_err(|source| open_error(to, source))?;
    let copied = write_copy(&connection, to).and_then(|()| count(to));
    if copied.is_err() {
        // What is not a copy is not left lying about; its absence says that there is none.
        drop(fs::remove_file(to));
    }
    copied
}

fn write_copy(connection: &Connection, to: &Path) -> Result<(), StoreError> {
    let name = to.to_str().ok_or_else(|| {
        let plain = io::Error::new(io::ErrorKind::InvalidInput, "the name is not UTF-8");
        open_error(to, plain)
    })?;
    connection.execute("VACUUM INTO ?1", [name])?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|source| open_error(to, source))
}

/// Puts the copy `from` in the place of the store at `path`; what was there is kept beside it. Says
/// what is in it now, and where the old one is.
///
/// # Errors
///
/// When the copy is damaged, of another program or of a newer version; when a bastion uses the store;
/// or when a file can't be written. Then the store is as it was.
pub fn restore(from: &Path, path: &Path) -> Result<(Copied, Option<PathBuf>), StoreError> {
    inspect(from)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let _only = only_one(folder)?;
    let fresh = beside(path, "new");
    // What an earlier attempt has left.
    drop(fs::remove_file(&fresh));
    let owner = fs::metadata(folder).map_err(|source| open_error(folder, source))?;
    let prepared = (|| {
        private(&fresh).map_err(|source| open_error(&fresh, source))?;
        fs::copy(from, &fresh).map_err(|source| open_error(&fresh, source))?;
        end_leases(&fresh)?;
        let copied = count(&fresh)?;
        if owner.uid() != rustix::process::geteuid().as_raw() {
            chown(&fresh, Some(owner.uid()), Some(owner.gid()))
                .map_err(|source| open_error(&fresh, source))?;
        }
        File::open(&fresh)
            .and_then(|file| file.sync_all())
            .map_err(|source| open_error(&fresh, source))?;
        Ok(copied)
    })();
    let copied = prepared.inspect_err(|_: &StoreError| drop(fs::remove_file(&fresh)))?;
    let old = set_aside(path)?;
    fs::rename(&fresh, path)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|source| open_error(path, source))?;
    Ok((copied, old))
}

/// Holds the folder of a store for one process: a `serve`, or what replaces its store. It is let go
/// with the answer.
///
/// # Errors
///
/// [`StoreError::Busy`] when another process has it.
pub fn only_one(folder: &Path) -> Result<File, StoreError> {
    let held = File::open(folder).map_err(|source| open_error(folder, source))?;
    match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(held),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Busy),
        Err(errno) => Err(open_error(folder, errno.into())),
    }
}

/// The old file, with its log, under a name that is free.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let old = (0..1000)
        .map(|n| beside(path, &format!("before-restore-{n}")))
        .find(|old| !old.exists())
        .ok_or_else(|| open_error(path, io::ErrorKind::AlreadyExists.into()))?;
    for end in ["-wal", "-shm"] {
        let (log, aside) = (with_end(path, end), with_end(&old, end));
        if log.exists() {
            fs::rename(&log, aside).map_err(|source| open_error(&log, source))?;
        }
    }
    fs::rename(path, &old).map_err(|source| open_error(path, source))?;
    Ok(Some(old))
}

fn end_leases(path: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "delete")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.execute("DELETE FROM leases", [])?;
    connection.execute("VACUUM", [])?;
    Ok(())
}

fn count(path: &Path) -> Result<Copied, StoreError> {
    let schema = inspect(path)?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let rows = |table: &str| -> Result<i64, StoreError> {
        let there: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1",
            [table],
            |row| row.get(0),
        )?;
        if there == 0 {
            // A copy of an earlier version.
            return Ok(0);
        }
        Ok(
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })?,
        )
    };
    Ok(Copied {
        schema,
        users: rows("users")?,
        keys: rows("keys")?,
        locks: rows("locks")?,
    })
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    with_end(path, &format!(".{end}"))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn open_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        source,
    }
}
