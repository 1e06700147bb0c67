//! The folder of the recordings: `YYYY/MM/DD/ID.cast.zst`, the list `sessions.jsonl` and the log.
//!
//! Every folder is held open and every file opened under it by a name that is made here, never
//! through a link. The list is appended to, a line at a start and one at an end; whoever has a
//! start and no end was being recorded when the recorder died.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use std::{fmt, io};

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::RecorderError;
use super::copies::Copies;
use super::log::Log;
use super::terms::Terms;
use super::wire::Entry;
use crate::record::SessionId;

/// The open folder.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    root: OwnedFd,
    list: Mutex<File>,
    /// Gaps that were told, so that one that is told again is not logged again.
    gaps: Mutex<HashSet<(SessionId, Timestamp)>>,
    pub(super) log: Log,
}

impl Store {
    /// Opens the folder, made if need be, and locks it.
    ///
    /// # Errors
    ///
    /// It belongs to another user, others may use it, it is no folder, or another recorder
    /// has it.
    pub(super) fn open(path: &Path, copies: Copies) -> Result<Self, RecorderError> {
        let failed = |what: String| RecorderError::Dir {
            dir: path.to_owned(),
            what,
        };
        if let Err(error) = std::fs::create_dir_all(path) {
            return Err(failed(format!("cannot be made: {error}")));
        }
        let root = rustix::fs::open(path, FOLDER, Mode::empty())
            .map_err(|error| failed(format!("cannot be opened: {error}")))?;
        let about = rustix::fs::fstat(&root).map_err(|error| failed(error.to_string()))?;
        if about.st_uid != rustix::process::geteuid().as_raw() {
            return Err(failed(
                "belongs to another user; give it to the recorder's".to_owned(),
            ));
        }
        if about.st_mode & 0o077 != 0 {
            return Err(failed(
                "others have rights to it; make it mode 0700".to_owned(),
            ));
        }
        match rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(RecorderError::Busy(path.to_owned())),
            Err(error) => return Err(failed(format!("cannot be locked: {error}"))),
        }
        let list = open_list(&root).map_err(|error| failed(format!("{LIST}: {error}")))?;
        let list = Mutex::new(list);
        let log = Log::open(&root, copies).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            root,
            list,
            gaps: Mutex::default(),
            log,
        })
    }

    /// Makes the file of a new recording. Nothing of that name may exist, not even a link.
    pub(super) fn create(&self, id: &SessionId, started: Timestamp) -> io::Result<File> {
        let folder = self.make_day(started)?;
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, file_name(id), flags, FILE_MODE)?;
        Ok(File::from(file))
    }

    /// Opens the audit log, made if need be.
    pub(super) fn open_audit(&self) -> io::Result<File> {
        let file = open_own(&self.root, AUDIT)?;
        rustix::fs::fsync(&self.root)?;
        Ok(file)
    }

    /// Opens a recording that was started on this day.
    pub(super) fn open_at(
        &self,
        id: &SessionId,
        started: Timestamp,
        write: bool,
    ) -> io::Result<File> {
        let folder = self.day(started)?;
        open_file(&folder, &file_name(id), write)
    }

    /// Keeps the torn tail of a recording beside it. It is there whole and on the disk, or not at
    /// all; one that is there is left alone.
    pub(super) fn keep_torn(
        &self,
        id: &SessionId,
        started: Timestamp,
        tail: &[u8],
    ) -> io::Result<()> {
        let folder = self.day(started)?;
        let (part, torn) = (
            format!("{}.torn.part", file_name(id)),
            format!("{}.torn", file_name(id)),
        );
        match rustix::fs::unlinkat(&folder, &part, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&folder, &part, flags, FILE_MODE)?);
        file.write_all(tail)?;
        file.sync_all()?;
        match rustix::fs::renameat_with(&folder, &part, &folder, &torn, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => rustix::fs::unlinkat(&folder, &part, AtFlags::empty())?,
            Err(error) => return Err(error.into()),
        }
        Ok(rustix::fs::fsync(&folder)?)
    }

    /// The torn tail that was kept, if there is one; at most `longest` bytes.
    pub(super) fn torn(
        &self,
        id: &SessionId,
        started: Timestamp,
        longest: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let folder = self.day(started)?;
        let file = match open_file(&folder, &format!("{}.torn", file_name(id)), false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut tail = Vec::new();
        file.take(longest).read_to_end(&mut tail)?;
        Ok(Some(tail))
    }

    /// Synchronises the folder of a day with the disk.
    pub(super) fn sync_day(&self, started: Timestamp) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.day(started)?)?)
    }

    /// Opens a recording for reading, whenever it was started.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none.
    pub(super) fn find(&self, id: &SessionId) -> io::Result<File> {
        let mut found = None;
        self.each_day(|day| {
            match open_file(day, &file_name(id), false) {
                Ok(file) => found = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(found.is_none())
        })?;
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Every recording that is there, with its name.
    pub(super) fn each_recording(
        &self,
        mut each: impl FnMut(SessionId, File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.each_day(|day| {
            for name in names(day)? {
                let id = name.strip_suffix(SUFFIX).and_then(|id| id.parse().ok());
                let Some(id) = id else { continue };
                // What somebody else has put there must not keep the recorder from its work.
                match open_file(day, &name, false) {
                    Ok(file) => each(id, file)?,
                    Err(error) => {
                        tracing::error!(session = %id, %error, "what has the name of a recording is none, and is left alone");
                    }
                }
            }
            Ok(true)
        })
    }

    /// Every recording, the one that was changed first before the others.
    pub(super) fn oldest_first(&self) -> io::Result<Vec<Kept>> {
        use std::os::unix::fs::MetadataExt;
        let mut found = Vec::new();
        self.each_day(|day| {
            let names = names(day)?;
            let folder = Arc::new(day.try_clone()?);
            for name in &names {
                let Some(id) = name.strip_suffix(SUFFIX).and_then(|id| id.parse().ok()) else {
                    continue;
                };
                // What only has the name of a recording is left alone.
                let Ok(file) = open_file(day, name, false) else {
                    continue;
                };
                let about = file.metadata()?;
                found.push(Kept {
                    id,
                    bytes: about.blocks() * 512,
                    changed: about.modified()?,
                    is_held: names.contains(&format!("{id}.keep")),
                    folder: folder.clone(),
                });
            }
            Ok(true)
        })?;
        found.sort_by_key(|kept| kept.changed);
        Ok(found)
    }

    /// A recording and what lies beside it, whenever it was started; none where there is none.
    pub(super) fn beside(&self, id: &SessionId) -> io::Result<Option<Beside>> {
        let mut found = None;
        self.each_day(|day| {
            match open_file(day, &file_name(id), false) {
                Ok(_) => found = Some(Beside::new(&self.root, day, id)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// The recordings beside which a new file lies.
    pub(super) fn unfinished(&self) -> io::Result<Vec<(SessionId, Beside)>> {
        let mut found = Vec::new();
        self.each_day(|day| {
            for name in names(day)? {
                let id = name
                    .strip_suffix(NEW)
                    .and_then(|name| name.strip_suffix(SUFFIX));
                if let Some(id) = id.and_then(|id| id.parse().ok()) {
                    found.push((id, Beside::new(&self.root, day, &id)?));
                }
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// The folder itself.
    pub(super) fn open_root(&self) -> io::Result<File> {
        Ok(File::from(self.root.try_clone()?))
    }

    /// Removes a recording and what lies beside it under its name.
    pub(super) fn remove(&self, kept: &Kept) -> io::Result<()> {
        for name in names(&*kept.folder)? {
            let beside = name.strip_prefix(kept.id.as_str());
            if beside.is_some_and(|rest| rest.starts_with('.')) {
                rustix::fs::unlinkat(&*kept.folder, &name, AtFlags::empty())?;
            }
        }
        Ok(rustix::fs::fsync(&*kept.folder)?)
    }

    /// Notes a gap, by the session and its beginning; false where it was noted before.
    pub(super) fn note_gap(&self, session: &SessionId, since: Timestamp) -> bool {
        self.gaps().insert((*session, since))
    }

    /// It could not be logged.
    pub(super) fn forget_gap(&self, session: &SessionId, since: Timestamp) {
        self.gaps().remove(&(*session, since));
    }

    fn gaps(&self) -> MutexGuard<'_, HashSet<(SessionId, Timestamp)>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to the list; [`Self::sync_list`] makes it durable.
    pub(super) fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.list().write_all(&line)
    }

    /// Synchronises the list with the disk.
    pub(super) fn sync_list(&self) -> io::Result<()> {
        // Not under the lock: appending goes on meanwhile.
        let list = self.list().try_clone()?;
        list.sync_data()
    }

    /// Bytes of the list from `position` on, as many as fit.
    pub(super) fn read_list(&self, position: u64, page: &mut [u8]) -> io::Result<usize> {
        self.list().read_at(page, position)
    }

    /// The whole list, line by line; damaged lines are reported and passed over.
    pub(super) fn each_entry(&self, mut each: impl FnMut(Entry)) -> io::Result<()> {
        use std::io::BufRead;
        let list = self.list().try_clone()?;
        let mut reader = io::BufReader::with_capacity(
            256 * 1024,
            At {
                file: &list,
                position: 0,
            },
        );
        let mut line = Vec::new();
        let mut number = 0u64;
        loop {
            line.clear();
            if reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)?
                == 0
            {
                return Ok(());
            }
            number += 1;
            match serde_json::from_slice(&line) {
                Ok(entry) => each(entry),
                Err(_) if line.as_slice() == b"\n" => {}
                Err(error) => tracing::warn!(number, %error, "a line of {LIST} is damaged"),
            }
        }
    }

    /// Whether the list has nothing in it, so that it may have been lost.
    pub(super) fn list_is_empty(&self) -> io::Result<bool> {
        Ok(self.list().metadata()?.len() == 0)
    }

    /// Whether there is disk for a new session.
    pub(super) fn has_room(&self, terms: &Terms) -> io::Result<bool> {
        let (free, total) = self.disk()?;
        Ok(terms.is_enough(free, total))
    }

    /// Free bytes of the disk for whoever is not root, and its size.
    pub(super) fn disk(&self) -> io::Result<(u64, u64)> {
        let disk = rustix::fs::fstatvfs(&self.root)?;
        Ok((
            disk.f_bavail.saturating_mul(disk.f_frsize),
            disk.f_blocks.saturating_mul(disk.f_frsize),
        ))
    }

    fn list(&self) -> MutexGuard<'_, File> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of the day, made if need be.
    fn make_day(&self, at: Timestamp) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        for name in day_names(at) {
            match rustix::fs::mkdirat(&folder, &name, Mode::RWXU) {
                Ok(()) => rustix::fs::fsync(&folder)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = rustix::fs::openat(&folder, &name, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }

    fn day(&self, at: Timestamp) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        for name in day_names(at) {
            folder = rustix::fs::openat(&folder, &name, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }

    /// The folders of all days, newest first, until `each` says false.
    fn each_day(&self, mut each: impl FnMut(&OwnedFd) -> io::Result<bool>) -> io::Result<()> {
        for year in folders(&self.root, 4)? {
            for month in folders(&year, 2)? {
                for day in folders(&month, 2)? {
                    if !each(&day)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A recording that is there.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: SessionId,
    /// Bytes on the disk.
    pub(super) bytes: u64,
    /// When something was written to it last.
    pub(super) changed: SystemTime,
    /// It is to be kept whatever its age.
    pub(super) is_held: bool,
    folder: Arc<OwnedFd>,
}

/// A recording in the folder of its day, and what lies beside it.
#[derive(Debug)]
pub(super) struct Beside {
    id: SessionId,
    name: String,
    folder: OwnedFd,
    place: String,
}

impl Beside {
    fn new(root: &OwnedFd, day: &OwnedFd, id: &SessionId) -> io::Result<Self> {
        let name = file_name(id);
        let path = |fd: &OwnedFd| std::fs::read_link(held(fd));
        let folder = path(day)?;
        let place = folder.strip_prefix(path(root)?).unwrap_or(&folder);
        Ok(Self {
            id: *id,
            place: place.join(&name).display().to_string(),
            name,
            folder: day.try_clone()?,
        })
    }

    /// Its path below the folder of the recordings, to be told.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Its path through the folder that is held open.
    pub(super) fn path(&self) -> PathBuf {
        held(&self.folder).join(&self.name)
    }

    /// That of the new file beside it.
    pub(super) fn new_path(&self) -> PathBuf {
        held(&self.folder).join(self.new_name())
    }

    fn new_name(&self) -> String {
        format!("{}{NEW}", self.name)
    }

    /// Whether it is to be kept whatever comes.
    pub(super) fn is_held(&self) -> io::Result<bool> {
        Ok(names(&self.folder)?.contains(&format!("{}.keep", self.id)))
    }

    pub(super) fn open(&self) -> io::Result<File> {
        open_file(&self.folder, &self.name, false)
    }

    /// Opens something beside it.
    pub(super) fn open_named(&self, name: &str) -> io::Result<File> {
        open_file(&self.folder, name, true)
    }

    /// The new file, where there is one.
    pub(super) fn open_new(&self) -> io::Result<Option<File>> {
        match self.open_named(&self.new_name()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the new file; one that is left of an earlier attempt is removed.
    pub(super) fn create_new(&self) -> io::Result<File> {
        self.remove_new()?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, self.new_name(), flags, FILE_MODE)?;
        Ok(File::from(file))
    }

    pub(super) fn remove_new(&self) -> io::Result<()> {
        self.remove(&self.new_name())
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The recording and the new file change places, at once. On a filesystem that cannot do that,
    /// the old one is given, which has no name any more.
    pub(super) fn exchange(&self) -> io::Result<Option<File>> {
        let (folder, new, name) = (&self.folder, self.new_name(), &self.name);
        match rustix::fs::renameat_with(folder, &new, folder, name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(None),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let old = self.open_named(name)?;
                rustix::fs::renameat(folder, &new, folder, name)?;
                Ok(Some(old))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }

    /// What this program has made of it beside it: its index and kept text, also those that were not
    /// finished, and what a crash has left of its last frame. Nothing that somebody else put there, and
    /// no legal hold.
    pub(super) fn others(&self) -> io::Result<Vec<String>> {
        let (id, recording) = (self.id.as_str(), &self.name);
        let ours = [
            format!("{id}.idx"),
            format!("{id}.txt.idx"),
            format!("{recording}.torn"),
            format!("{recording}.torn.part"),
        ];
        let halves = [format!(".{id}.idx."), format!(".{id}.txt.idx.")];
        let mut names = names(&self.folder)?;
        let is_half = |name: &String| halves.iter().any(|half| name.starts_with(half));
        names.retain(|name| ours.contains(name) || is_half(name));
        Ok(names)
    }
}

/// The path of a folder that is held open.
fn held(folder: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn open_list(root: &OwnedFd) -> io::Result<File> {
    let mut list = open_own(root, LIST)?;
    // A line that a crash has torn must not spoil the next.
    let len = list.metadata()?.len();
    if let Some(last) = len.checked_sub(1) {
        let mut byte = [0];
        list.read_exact_at(&mut byte, last)?;
        if byte != *b"\n" {
            list.write_all(b"\n")?;
        }
    }
    rustix::fs::fsync(root)?;
    Ok(list)
}

/// Opens a file in the folder itself that is appended to, made if need be.
fn open_own(root: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(root, name, flags, FILE_MODE)?);
    refuse_strange(&file)?;
    Ok(file)
}

fn open_file(folder: impl AsFd, name: &str, write: bool) -> io::Result<File> {
    let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
    // A planted pipe must not make the open wait.
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    refuse_strange(&file)?;
    Ok(file)
}

/// Only plain files with one name are ours.
fn refuse_strange(file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let about = file.metadata()?;
    if about.is_file() && about.nlink() == 1 {
        Ok(())
    } else {
        Err(io::Error::other("not a plain file with one name"))
    }
}

fn file_name(id: &SessionId) -> String {
    format!("{id}{SUFFIX}")
}

fn day_names(at: Timestamp) -> [String; 3] {
    let date: civil::Date = at.to_zoned_datetime(TimeZone::UTC).date();
    [
        format!("{:04}", date.year()),
        format!("{:02}", date.month()),
        format!("{:02}", date.day()),
    ]
}

/// The folders in a folder whose names are numbers of `digits` digits, the largest first. What has
/// such a name and is no folder of ours is reported and passed over.
fn folders(folder: impl AsFd, digits: usize) -> io::Result<Vec<OwnedFd>> {
    let mut folders = Vec::new();
    for name in numbers(&folder, digits)? {
        match rustix::fs::openat(&folder, &name, FOLDER, Mode::empty()) {
            Ok(inner) => folders.push(inner),
            Err(error @ (Errno::NOTDIR | Errno::LOOP)) => {
                tracing::error!(%name, %error, "what has the name of a day's folder is none, and is left alone");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(folders)
}

/// The names in a folder that are numbers of `digits` digits, the largest first.
fn numbers(folder: impl AsFd, digits: usize) -> io::Result<Vec<String>> {
    let mut names = names(folder)?;
    names.retain(|name| name.len() == digits && name.bytes().all(|b| b.is_ascii_digit()));
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn names(folder: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        if let Ok(name) = entry?.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Reads a file from a place of its own.
struct At<'f> {
    file: &'f File,
    position: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

const LIST: &str = "sessions.jsonl";
const AUDIT: &str = "audit.jsonl";
const SUFFIX: &str = ".cast.zst";
/// A recording that is to be put in the place of another.
const NEW: &str = ".new";
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Longer lines are damaged.
const LONGEST_LINE: u64 = 1024 * 1024;
