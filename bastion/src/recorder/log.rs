//! The recorder's log on disk: leaves, tiles, checkpoints and the key that signs them.
//!
//! The bundle of entries that is not full grows in `tail`; with its 256th entry it is renamed to
//! its place among the tiles, so that each leaf is written once and never again. A checkpoint is
//! signed soon after a leaf, and once a minute when nothing happens. What the layout is, and how
//! it is verified, is in [`recording::log`]; `docs/recordings.md` has the whole folder.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use recording::log::{
    Checkpoint, Leaf, Note, SigningKey, TILE, Tile, Tree, entries_path, leaf_hash, read_bundle,
    tile_path,
};
use recording::seal::Hash;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::copies::Copies;

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    dir: OwnedFd,
    copies: Copies,
    state: Mutex<State>,
    /// A leaf was added, or the notary is to stop.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    tail: Arc<File>,
    /// Bytes and entries of the tail.
    bytes: u64,
    entries: usize,
    /// Tiles that are full with the tail, and not written.
    full: Vec<Tile>,
    key: SigningKey,
    key_since: SystemTime,
    /// When the first leaf came that no checkpoint covers.
    unsigned_since: Option<Instant>,
    checkpoint_at: Option<Instant>,
    /// The files of the right edge, of this checkpoint and the one before.
    edges: [Vec<String>; 2],
    /// Nothing can be appended any more.
    broken: Option<String>,
    nudged: bool,
    stop: bool,
}

impl Log {
    /// Opens or begins the log in the folder `log` of `root`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or it is not what its checkpoint says.
    pub(super) fn open(root: &OwnedFd, copies: Copies) -> io::Result<Self> {
        make_folder(root, FOLDER)?;
        let dir = rustix::fs::openat(root, FOLDER, DIRECTORY, Mode::empty())?;
        rustix::fs::fsync(root)?;
        let told = read(&dir, CHECKPOINT)?
            .map(|note| parse_checkpoint(&note))
            .transpose()?;
        let key = match read_key(&dir, KEY)? {
            Some(key) => key,
            None if told.is_none() && read(&dir, TAIL)?.is_none() => first_key(&dir)?,
            None => {
                return Err(strange(
                    "its key is missing: put log/key back, or move the folder log away to begin a new log",
                ));
            }
        };
        let loaded = load(&dir, told.as_ref())?;
        let key_since = std::fs::File::from(openat(&dir, KEY, OFlags::RDONLY)?)
            .metadata()?
            .modified()?;
        let log = Self {
            copies,
            state: Mutex::new(State {
                tree: loaded.tree,
                tail: Arc::new(loaded.tail),
                bytes: loaded.bytes,
                entries: loaded.entries,
                full: loaded.full,
                key,
                key_since,
                unsigned_since: Some(Instant::now()),
                checkpoint_at: None,
                edges: Default::default(),
                broken: None,
                nudged: false,
                stop: false,
            }),
            changed: Condvar::new(),
            dir,
        };
        log.finish_rotation(loaded.last)?;
        Ok(log)
    }

    /// Adds a leaf. [`Self::sync`] makes it durable.
    ///
    /// # Errors
    ///
    /// It cannot be written; then it is not in the log.
    pub(super) fn append(&self, leaf: &Leaf) -> io::Result<u64> {
        let mut state = self.state();
        let index = self.append_to(&mut state, leaf)?;
        if state.unsigned_since.is_none() {
            state.unsigned_since = Some(Instant::now());
            self.changed.notify_one();
        }
        Ok(index)
    }

    /// Brings every leaf so far to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        // Not under the lock: appending goes on meanwhile. A tail that was full is synced already.
        let tail = self.state().tail.clone();
        tail.sync_data()
    }

    /// Signs what the log holds, brings it to the disk and copies the note to where it is wanted.
    pub(super) fn checkpoint(&self) -> io::Result<()> {
        let note = self.write_checkpoint(&mut self.state())?;
        self.copies.send(&note);
        Ok(())
    }

    /// Gives the log a new key and forgets the old one: what is in the log cannot be signed
    /// anew, not even here.
    pub(super) fn rotate(&self) -> io::Result<()> {
        let mut state = self.state();
        let name = state.key.verifier().name().to_owned();
        let next = new_key(&name)?;
        put(&self.dir, NEXT_KEY, next.secret().as_bytes(), true)?;
        let handover = Checkpoint {
            origin: name,
            size: state.tree.size(),
            root: state.tree.root(),
            time_ms: now_ms(),
            next: Some(next.verifier().clone()),
        };
        let note = handover.sign(&state.key);
        let leaf = Leaf::Key {
            at_ms: now_ms(),
            note,
        };
        self.append_to(&mut state, &leaf)?;
        let tail = state.tail.clone();
        if let Err(error) = tail
            .sync_data()
            .and_then(|()| self.install(&mut state, next))
        {
            // The log names a key that is not in its place. Nothing may follow, nor be signed,
            // until the next recorder has put it there.
            state.broken = Some(format!("its new key cannot be put in place: {error}"));
            return Err(error);
        }
        let note = self.write_checkpoint(&mut state)?;
        drop(state);
        tracing::info!("the log has a new key");
        self.copies.send(&note);
        Ok(())
    }

    /// Waits until a checkpoint or the key is due, `patience` at most; false when it is time to
    /// stop.
    pub(super) fn wait(&self, patience: Duration, key_life: Duration) -> (Due, bool) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let soon = state.unsigned_since.map(|since| since + SIGN_AFTER);
            let beat = state.checkpoint_at.map_or(now, |at| at + HEARTBEAT);
            let next = soon.map_or(beat, |soon| soon.min(beat));
            let old = state.key_since.elapsed().is_ok_and(|age| age >= key_life);
            let due = Due {
                checkpoint: next <= now,
                key: old,
            };
            let nudged = std::mem::take(&mut state.nudged);
            if state.stop || nudged || due.checkpoint || due.key || deadline <= now {
                return (due, !state.stop);
            }
            let left = next.min(deadline) - now;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A leaf will be wanted with the next checkpoint, which is due soon.
    pub(super) fn expect_leaf(&self) {
        let mut state = self.state();
        if state.unsigned_since.is_none() {
            state.unsigned_since = Some(Instant::now());
            self.changed.notify_one();
        }
    }

    /// Makes [`Self::wait`] return once.
    pub(super) fn nudge(&self) {
        self.state().nudged = true;
        self.changed.notify_all();
    }

    /// Ends [`Self::wait`].
    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.changed.notify_all();
    }

    /// How many entries there are.
    pub(super) fn size(&self) -> u64 {
        self.state().tree.size()
    }

    /// Every entry of the log so far, in order.
    pub(super) fn each_entry(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bundle = 0;
        while let Some(bytes) = read(&self.dir, &entries_path(bundle, TILE))? {
            let entries =
                read_bundle(&bytes, TILE).ok_or_else(|| strange("a bundle is damaged"))?;
            entries.into_iter().for_each(&mut each);
            bundle += 1;
        }
        let bytes = read(&self.dir, TAIL)?.unwrap_or_default();
        let (entries, _) = whole_entries(&bytes);
        entries.into_iter().for_each(each);
        Ok(())
    }

    fn append_to(&self, state: &mut State, leaf: &Leaf) -> io::Result<u64> {
        if let Some(broken) = &state.broken {
            return Err(io::Error::other(broken.clone()));
        }
        self.roll(state)?;
        let entry = leaf.encode();
        let len = u16::try_from(entry.len()).map_err(|_| strange("a leaf is too long"))?;
        let mut record = len.to_be_bytes().to_vec();
        record.extend_from_slice(&entry);
        if let Err(error) = (&*state.tail).write_all(&record) {
            // Half an entry must not stay before the next one.
            if let Err(worse) = state.tail.set_len(state.bytes) {
                state.broken = Some(format!("the log cannot be put in order: {worse}"));
            }
            return Err(error);
        }
        state.bytes += record.len() as u64;
        state.entries += 1;
        let index = state.tree.size();
        state.full = state.tree.push(leaf_hash(&entry));
        if let Err(error) = self.roll(state) {
            tracing::error!(%error, "a full bundle of the log cannot be put in its place");
        }
        Ok(index)
    }

    /// Puts a tail that is full in its place, and begins the next.
    fn roll(&self, state: &mut State) -> io::Result<()> {
        if state.entries < TILE {
            return Ok(());
        }
        state.tail.sync_data()?;
        for tile in &state.full {
            put(&self.dir, &tile.path(), &tile.bytes(), true)?;
        }
        let place = entries_path(state.tree.size() / TILE as u64 - 1, TILE);
        let folder = make_parents(&self.dir, &place)?;
        // The next one is there before anything moves: on a full disk this is tried again later.
        remove(&self.dir, NEXT_TAIL);
        let next = new_tail(&self.dir, NEXT_TAIL)?;
        rustix::fs::renameat(&self.dir, TAIL, &self.dir, place)?;
        if let Err(error) = rustix::fs::renameat(&self.dir, NEXT_TAIL, &self.dir, TAIL) {
            state.broken = Some(format!("its next tail cannot be put in place: {error}"));
            return Err(error.into());
        }
        state.tail = Arc::new(next);
        state.full.clear();
        (state.bytes, state.entries) = (0, 0);
        rustix::fs::fsync(&folder)?;
        Ok(rustix::fs::fsync(&self.dir)?)
    }

    fn write_checkpoint(&self, state: &mut State) -> io::Result<String> {
        if let Some(broken) = &state.broken {
            return Err(io::Error::other(broken.clone()));
        }
        state.tail.sync_data()?;
        let mut edge = Vec::new();
        for tile in state.tree.edge() {
            put(&self.dir, &tile.path(), &tile.bytes(), false)?;
            edge.push(tile.path());
        }
        if state.entries > 0 && state.entries < TILE {
            let mut bytes = vec![0; usize::try_from(state.bytes).unwrap_or(0)];
            state.tail.read_exact_at(&mut bytes, 0)?;
            let path = entries_path(state.tree.size() / TILE as u64, state.entries);
            put(&self.dir, &path, &bytes, false)?;
            edge.push(path);
        }
        let checkpoint = Checkpoint {
            origin: state.key.verifier().name().to_owned(),
            size: state.tree.size(),
            root: state.tree.root(),
            time_ms: now_ms(),
            next: None,
        };
        let note = checkpoint.sign(&state.key);
        put(&self.dir, CHECKPOINT, note.as_bytes(), true)?;
        state.checkpoint_at = Some(Instant::now());
        state.unsigned_since = None;
        // Who reads under the checkpoint before this one still finds its files.
        let [now, before] = &mut state.edges;
        for path in before.drain(..) {
            if !now.contains(&path) && !edge.contains(&path) {
                remove(&self.dir, &path);
            }
        }
        *before = std::mem::replace(now, edge);
        Ok(note)
    }

    /// The old key is overwritten before it is unlinked, as far as the filesystem does that.
    fn install(&self, state: &mut State, next: SigningKey) -> io::Result<()> {
        let old = File::from(openat(&self.dir, KEY, OFlags::WRONLY)?);
        let len = usize::try_from(old.metadata()?.len()).unwrap_or(0);
        old.write_all_at(&vec![0; len], 0)?;
        old.sync_all()?;
        rustix::fs::renameat(&self.dir, NEXT_KEY, &self.dir, KEY)?;
        rustix::fs::fsync(&self.dir)?;
        state.key = next;
        state.key_since = SystemTime::now();
        Ok(())
    }

    /// A recorder may have died while it changed the key: if the log names the new one, it is.
    fn finish_rotation(&self, last: Option<Leaf>) -> io::Result<()> {
        let Some(next) = read_key(&self.dir, NEXT_KEY)? else {
            return Ok(());
        };
        let named = match &last {
            Some(Leaf::Key { note, .. }) => parse_checkpoint(note.as_bytes())?.next,
            _ => None,
        };
        if named.as_ref() == Some(next.verifier()) {
            return self.install(&mut self.state(), next);
        }
        remove(&self.dir, NEXT_KEY);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) checkpoint: bool,
    pub(super) key: bool,
}

/// A log as it was found.
struct Loaded {
    tree: Tree,
    full: Vec<Tile>,
    tail: File,
    bytes: u64,
    entries: usize,
    last: Option<Leaf>,
}

/// Reads the right edge of the tree, from the last checkpoint on, and holds it against that.
fn load(dir: &OwnedFd, told: Option<&Checkpoint>) -> io::Result<Loaded> {
    let mut bundle = told.map_or(0, |told| told.size / TILE as u64);
    let mut tree = edge_at(dir, bundle)?;
    let mut last = None;
    let agrees = |tree: &Tree| match told {
        Some(told) if told.size == tree.size() && told.root != tree.root() => Err(strange(
            "it is not what its checkpoint says: it was changed from outside",
        )),
        _ => Ok(()),
    };
    agrees(&tree)?;
    while let Some(bytes) = read(dir, &entries_path(bundle, TILE))? {
        let entries = read_bundle(&bytes, TILE).ok_or_else(|| strange("a bundle is damaged"))?;
        for entry in entries {
            for tile in tree.push(leaf_hash(entry)) {
                put(dir, &tile.path(), &tile.bytes(), true)?;
            }
            agrees(&tree)?;
            last = serde_json::from_slice(entry).ok();
        }
        bundle += 1;
    }
    let tail = match openat(dir, TAIL, OFlags::RDWR | OFlags::APPEND) {
        Ok(tail) => File::from(tail),
        Err(Errno::NOENT) => new_tail(dir, TAIL)?,
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    (&tail).read_to_end(&mut bytes)?;
    let (entries, whole) = whole_entries(&bytes);
    if entries.len() > TILE {
        return Err(strange("its tail is too long"));
    }
    let mut full = Vec::new();
    for entry in &entries {
        full = tree.push(leaf_hash(entry));
        agrees(&tree)?;
        last = serde_json::from_slice(entry).ok();
    }
    if told.is_some_and(|told| told.size > tree.size()) {
        return Err(strange(
            "it is shorter than its checkpoint says: entries were lost",
        ));
    }
    // What a crash left of an entry was acknowledged to nobody.
    tail.set_len(whole)?;
    Ok(Loaded {
        tree,
        full,
        tail,
        bytes: whole,
        entries: entries.len(),
        last,
    })
}

/// The tree below the bundle, by its full tiles.
fn edge_at(dir: &OwnedFd, bundle: u64) -> io::Result<Tree> {
    let mut levels = vec![Vec::new()];
    let mut count = bundle;
    let mut below = 0;
    while count > 0 {
        let first = count - count % TILE as u64;
        let mut level = Vec::new();
        for index in first..count {
            let path = tile_path(below, index, TILE);
            let tile = read(dir, &path)?.ok_or_else(|| strange(&format!("{path} is missing")))?;
            let (hashes, rest) = tile.as_chunks::<32>();
            if hashes.len() != TILE || !rest.is_empty() {
                return Err(strange(&format!("{path} is damaged")));
            }
            let mut sub = Tree::default();
            // Hashes of a full tile are pushed as they are.
            hashes.iter().for_each(|hash| drop(sub.push(Hash(*hash))));
            level.push(sub.root());
        }
        levels.push(level);
        count /= TILE as u64;
        below += 1;
    }
    Ok(Tree::with_edge(bundle * TILE as u64, levels))
}

/// The entries that are whole, and their bytes in all.
fn whole_entries(bytes: &[u8]) -> (Vec<&[u8]>, u64) {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((entry, later)) = read_bundle(rest, 1)
        .and_then(|one| one.first().copied())
        .and_then(|entry| Some((entry, rest.get(entry.len() + 2..)?)))
    {
        entries.push(entry);
        rest = later;
    }
    (entries, (bytes.len() - rest.len()) as u64)
}

fn new_tail(dir: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
    let tail = File::from(openat(dir, name, flags)?);
    // So that an end can be logged on a disk that is full.
    match rustix::fs::fallocate(&tail, FallocateFlags::KEEP_SIZE, 0, TAIL_AHEAD) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => {
            remove(dir, name);
            return Err(error.into());
        }
    }
    rustix::fs::fsync(dir)?;
    Ok(tail)
}

fn first_key(dir: &OwnedFd) -> io::Result<SigningKey> {
    let mut bits = [0; 16];
    random(&mut bits)?;
    let name = crate::record::SessionId::of(u128::from_le_bytes(bits));
    let key = new_key(&format!("bastion/{name}"))?;
    put(dir, KEY, key.secret().as_bytes(), true)?;
    put(
        dir,
        FIRST_KEY,
        format!("{}\n", key.verifier()).as_bytes(),
        true,
    )?;
    Ok(key)
}

fn new_key(name: &str) -> io::Result<SigningKey> {
    let mut seed = [0; 32];
    random(&mut seed)?;
    SigningKey::new(name, seed).map_err(io::Error::other)
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| io::Error::other("no random numbers"))
}

fn read_key(dir: &OwnedFd, name: &str) -> io::Result<Option<SigningKey>> {
    let Some(text) = read(dir, name)? else {
        return Ok(None);
    };
    let text = zeroize::Zeroizing::new(text);
    match std::str::from_utf8(&text).ok().map(SigningKey::parse) {
        Some(Ok(key)) => Ok(Some(key)),
        // A change of the key has got as far as to forget the old one.
        _ if name == KEY && text.iter().all(|byte| *byte == 0) => match read_key(dir, NEXT_KEY)? {
            Some(next) => Ok(Some(next)),
            None => Err(strange("its key was erased")),
        },
        _ => Err(strange("its key cannot be read")),
    }
}

fn parse_checkpoint(note: &[u8]) -> io::Result<Checkpoint> {
    let note = std::str::from_utf8(note).ok();
    let note = note.and_then(|note| Note::parse(note).ok());
    let checkpoint = note.and_then(|note| Checkpoint::parse(note.unverified()));
    checkpoint.ok_or_else(|| strange("its checkpoint cannot be read"))
}

/// Writes a file whole or not at all.
fn put(dir: &OwnedFd, path: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
    let folder = make_parents(dir, path)?;
    let temporary = format!("{path}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let mut file = File::from(openat(dir, &temporary, flags)?);
    let written = file.write_all(bytes);
    let written = written.and_then(|()| if sync { file.sync_all() } else { Ok(()) });
    if let Err(error) = written {
        remove(dir, &temporary);
        return Err(error);
    }
    rustix::fs::renameat(dir, &temporary, dir, path)?;
    if sync {
        rustix::fs::fsync(&folder)?;
    }
    Ok(())
}

/// Makes the folders above a path, and gives the lowest.
fn make_parents(dir: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let mut folder = dir.try_clone()?;
    let Some((parents, _)) = path.rsplit_once('/') else {
        return Ok(folder);
    };
    for name in parents.split('/') {
        if make_folder(&folder, name)? {
            rustix::fs::fsync(&folder)?;
        }
        folder = rustix::fs::openat(&folder, name, DIRECTORY, Mode::empty())?;
    }
    Ok(folder)
}

/// Whether the folder was not there.
fn make_folder(dir: impl AsFd, name: &str) -> io::Result<bool> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read(dir: &OwnedFd, path: &str) -> io::Result<Option<Vec<u8>>> {
    match openat(dir, path, OFlags::RDONLY) {
        Ok(file) => {
            let mut bytes = Vec::new();
            File::from(file).take(LONGEST).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn openat(dir: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::RUSR | Mode::WUSR)
}

/// What is left lying about does no harm.
fn remove(dir: &OwnedFd, path: &str) {
    if let Err(error) = rustix::fs::unlinkat(dir, path, AtFlags::empty()) {
        tracing::debug!(%error, path, "a file of the log stays");
    }
    if let Some((folder, _)) = path.rsplit_once('/').filter(|(f, _)| f.ends_with(".p")) {
        // As long as others are in it, it stays.
        rustix::fs::unlinkat(dir, folder, AtFlags::REMOVEDIR).unwrap_or(());
    }
}

fn strange(what: &str) -> io::Error {
    io::Error::other(format!("the log: {what}"))
}

/// The wall clock, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

const FOLDER: &str = "log";
const TAIL: &str = "tail";
const CHECKPOINT: &str = "checkpoint";
const KEY: &str = "key";
const NEXT_KEY: &str = "key.next";
/// The tail that follows, until it is in its place.
const NEXT_TAIL: &str = "tail.next";
const FIRST_KEY: &str = "vkey";
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// A checkpoint at most ten seconds after a leaf.
const SIGN_AFTER: Duration = Duration::from_secs(5);
/// A checkpoint when nothing happens, so that silence shows.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Disk for the leaves of a bundle.
const TAIL_AHEAD: u64 = 256 * 1024;
/// A bundle of the longest entries.
const LONGEST: u64 = 16 * 1024 * 1024 + 512;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test ends at what it does not expect"
    )]

    use std::collections::HashMap;
    use std::path::Path;

    use recording::log::{BadProof, Entries, History, Proof, Shelf, VerifierKey, prove};

    use super::*;

    struct Folder<'p>(&'p Path);

    impl Shelf for Folder<'_> {
        fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(std::fs::read(self.0.join(path)).ok())
        }
    }

    fn open(root: &Path) -> io::Result<Log> {
        let root = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
        Log::open(&root, Copies::default())
    }

    fn gap(n: usize) -> Leaf {
        Leaf::Gap {
            at_ms: 0,
            session: None,
            since_ms: None,
            until_ms: None,
            bytes: None,
            continued: None,
            reason: format!("{n}"),
        }
    }

    fn first_key(log: &Path) -> VerifierKey {
        VerifierKey::parse(&std::fs::read_to_string(log.join("vkey")).unwrap()).unwrap()
    }

    /// The reasons of all gaps below the checkpoint.
    fn history(log: &Path) -> (History, Vec<(u64, Vec<u8>)>) {
        let mut gaps = Vec::new();
        let key = first_key(log);
        let history = History::read(&Folder(log), Some(&key), |index, entry| {
            if entry.starts_with(br#"{"leaf":"gap""#) {
                gaps.push((index, entry.to_vec()));
            }
        });
        (history.unwrap(), gaps)
    }

    /// Over several bundles, restarts and keys.
    #[test]
    fn what_was_appended_is_read_back_and_proved() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("log");
        let mut count = 0;
        for run in 0..6 {
            let log = open(temp.path()).unwrap();
            for _ in 0..151 {
                log.append(&gap(count)).unwrap();
                count += 1;
            }
            if run % 2 == 1 {
                log.rotate().unwrap();
            } else if run < 4 {
                log.checkpoint().unwrap();
            }
        }
        let log = open(temp.path()).unwrap();
        log.checkpoint().unwrap();
        drop(log);
        let (history, gaps) = history(&folder);
        assert_eq!(history.handovers.len(), 3);
        assert_eq!(history.checkpoint.size, count as u64 + 3);
        assert_eq!(gaps.len(), count);
        let size = history.checkpoint.size;
        for (n, (index, entry)) in gaps.iter().enumerate() {
            assert_eq!(*entry, gap(n).encode());
            let proof = prove(&Folder(&folder), *index, size, size).unwrap();
            proof
                .verify(leaf_hash(entry), history.checkpoint.root)
                .unwrap();
        }
    }

    /// What stays of an entry or of a step that was not finished spoils nothing.
    #[test]
    fn each_step_that_a_crash_leaves_half_done_is_finished() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("log");
        let log = open(temp.path()).unwrap();
        for n in 0..255 {
            log.append(&gap(n)).unwrap();
        }
        log.checkpoint().unwrap();
        drop(log);
        let whole = std::fs::read(folder.join("tail")).unwrap();
        // An entry that is cut.
        std::fs::write(folder.join("tail"), [&whole[..], &[0, 200, b'{']].concat()).unwrap();
        drop(open(temp.path()).unwrap());
        assert_eq!(std::fs::read(folder.join("tail")).unwrap(), whole);
        // A full tail that was not put in its place.
        let entry = gap(255).encode();
        let len = u16::try_from(entry.len()).unwrap().to_be_bytes();
        let full = [&whole[..], &len, &entry].concat();
        std::fs::write(folder.join("tail"), &full).unwrap();
        let log = open(temp.path()).unwrap();
        log.append(&gap(256)).unwrap();
        assert_eq!(
            std::fs::read(folder.join("tile/entries/000")).unwrap(),
            full
        );
        // No tail, after it was put there.
        drop(log);
        std::fs::remove_file(folder.join("tail")).unwrap();
        let log = open(temp.path()).unwrap();
        log.append(&gap(256)).unwrap();
        log.checkpoint().unwrap();
        assert_eq!(history(&folder).1.len(), 257);
    }

    /// At each step of a change of the key.
    #[test]
    fn a_change_of_the_key_is_finished_or_taken_back() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("log");
        let log = open(temp.path()).unwrap();
        log.append(&gap(0)).unwrap();
        log.checkpoint().unwrap();
        let save = |names: &[&str]| -> HashMap<String, Vec<u8>> {
            let read =
                |name: &&str| Some(((*name).to_owned(), std::fs::read(folder.join(name)).ok()?));
            names.iter().filter_map(read).collect()
        };
        let restore = |files: &HashMap<String, Vec<u8>>| {
            for (name, bytes) in files {
                std::fs::write(folder.join(name), bytes).unwrap();
            }
        };
        let before = save(&["key", "checkpoint"]);
        log.rotate().unwrap();
        drop(log);
        let after = save(&["key", "checkpoint"]);
        let next = |zeros: bool| {
            restore(&before);
            std::fs::write(folder.join("key.next"), &after["key"]).unwrap();
            if zeros {
                std::fs::write(folder.join("key"), vec![0; before["key"].len()]).unwrap();
            }
        };
        for zeros in [false, true] {
            next(zeros);
            let log = open(temp.path()).unwrap();
            log.checkpoint().unwrap();
            assert_eq!(save(&["key"])["key"], after["key"]);
            assert!(!folder.join("key.next").exists());
            assert_eq!(history(&folder).0.handovers.len(), 1);
        }
        // A key that the log does not name is taken back.
        let log = open(temp.path()).unwrap();
        log.append(&gap(1)).unwrap();
        drop(log);
        std::fs::write(folder.join("key.next"), &before["key"]).unwrap();
        drop(open(temp.path()).unwrap());
        assert_eq!(save(&["key"])["key"], after["key"]);
        assert!(!folder.join("key.next").exists());
        // Without any key there is nothing to go on with.
        std::fs::write(folder.join("key"), vec![0; 100]).unwrap();
        assert!(open(temp.path()).is_err());
        std::fs::remove_file(folder.join("key")).unwrap();
        assert!(open(temp.path()).is_err());
    }

    #[test]
    fn a_log_that_is_not_what_was_signed_is_not_continued() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("log");
        let log = open(temp.path()).unwrap();
        for n in 0..300 {
            log.append(&gap(n)).unwrap();
        }
        log.checkpoint().unwrap();
        drop(log);
        let tail = folder.join("tail");
        let whole = std::fs::read(&tail).unwrap();
        for at in (0..whole.len()).step_by(31) {
            let mut changed = whole.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            std::fs::write(&tail, &changed).unwrap();
            assert!(open(temp.path()).is_err(), "byte {at}");
        }
        std::fs::write(&tail, whole.get(..whole.len() / 2).unwrap()).unwrap();
        assert!(open(temp.path()).is_err());
        std::fs::write(&tail, &whole).unwrap();
        drop(open(temp.path()).unwrap());
        let tile = folder.join("tile/0/000");
        let mut changed = std::fs::read(&tile).unwrap();
        *changed.get_mut(40).unwrap() ^= 1;
        std::fs::write(&tile, changed).unwrap();
        assert!(open(temp.path()).is_err());
    }

    /// What the leaf of an end counts cannot be left out of a bundle; what was told after the key of its
    /// time had been forgotten is proved under the last one.
    #[test]
    fn a_proof_without_a_gap_that_was_counted_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let log = open(temp.path()).unwrap();
        let session = "0123456789abcdefghjkmnpqrs";
        let nothing = recording::seal::Chain::new(*b"0123456789abcdefghjkmnpqrs").head();
        let head = recording::write::Head {
            frames: 0,
            head: nothing,
            bytes: 0,
            open: None,
        };
        let leaf = |leaf: &Leaf| (log.append(leaf).unwrap(), leaf.encode());
        let gap = |at_ms| Leaf::Gap {
            at_ms,
            session: Some(session.to_owned()),
            since_ms: None,
            until_ms: None,
            bytes: None,
            continued: None,
            reason: "the disk failed".to_owned(),
        };
        let start = leaf(&Leaf::Start {
            at_ms: now_ms(),
            session: session.to_owned(),
            head,
            about: serde_json::Map::new(),
        });
        let gaps = vec![leaf(&gap(1)), leaf(&gap(2))];
        let end = leaf(&Leaf::Recovered {
            at_ms: now_ms(),
            session: session.to_owned(),
            head: Some(head),
            torn: None,
            gaps: Some(2),
            reason: "the recorder died".to_owned(),
        });
        log.rotate().unwrap();
        log.rotate().unwrap();
        let late = leaf(&gap(3));
        log.checkpoint().unwrap();
        let folder = temp.path().join("log");
        let key = first_key(&folder);
        let (history, _) = history(&folder);
        let proved = |gaps: Vec<(u64, Vec<u8>)>| {
            let entries = Entries {
                start: start.clone(),
                end: end.clone(),
                gaps,
                redacted: None,
            };
            let proof = Proof::new(&Folder(&folder), &history, &entries).unwrap();
            proof.verify(Some(&key))
        };
        let [first, second] = <[_; 2]>::try_from(gaps).unwrap();
        let all = proved(vec![first.clone(), second.clone(), late.clone()]).unwrap();
        assert_eq!((all.gaps.len(), all.counts_gaps), (3, true));
        assert_eq!(
            proved(vec![first.clone(), second.clone()])
                .unwrap()
                .gaps
                .len(),
            2
        );
        for left_out in [
            vec![],
            vec![first.clone()],
            vec![second.clone(), late.clone()],
            // Twice the same is one.
            vec![first.clone(), first, late],
        ] {
            assert!(matches!(proved(left_out), Err(BadProof::Gaps)));
        }
    }

    #[test]
    fn a_copy_of_each_checkpoint_goes_where_it_is_wanted() {
        let temp = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(temp.path(), DIRECTORY, Mode::empty()).unwrap();
        let file = temp.path().join("copies");
        let other = temp.path().join("other");
        let copies = [
            format!("file:{}", file.display()),
            format!("command:cat >> {}", other.display()),
            // A place that takes none holds nothing up.
            "command:false".to_owned(),
        ];
        let copies = Copies(copies.iter().map(|copy| copy.parse().unwrap()).collect());
        let log = Log::open(&root, copies).unwrap();
        log.checkpoint().unwrap();
        log.append(&gap(0)).unwrap();
        log.checkpoint().unwrap();
        let note = std::fs::read_to_string(temp.path().join("log/checkpoint")).unwrap();
        assert!(
            std::fs::read_to_string(&file)
                .unwrap()
                .ends_with(&format!("{note}\n"))
        );
        assert!(std::fs::read_to_string(&other).unwrap().ends_with(&note));
        assert!("file:relative".parse::<super::super::CopyTo>().is_err());
        assert!("elsewhere".parse::<super::super::CopyTo>().is_err());
    }
}
