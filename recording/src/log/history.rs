//! Reading a log: its checkpoint, the line of its keys, and every leaf.

use std::io;

use data_encoding::BASE64;

use super::leaf::Leaf;
use super::note::{Note, NoteError, SigningKey, VerifierKey};
use super::tree::{Shelf, TILE, Tree, entries_path, leaf_hash};
use crate::seal::Hash;

/// What a log holds at some moment, in the words that are signed.
///
/// The text has the origin, the number of leaves and the root in Base64, a line each, as C2SP
/// tlog-checkpoint asks; then `time MILLISECONDS`, so that silence shows; and where the key
/// changes, `next KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// Its leaves.
    pub size: u64,
    /// The hash over all of them.
    pub root: Hash,
    /// Wall clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// The key that signs from the next leaf on.
    pub next: Option<VerifierKey>,
}

impl Checkpoint {
    /// The signed note of it.
    pub fn sign(&self, key: &SigningKey) -> String {
        let Self {
            origin,
            size,
            root,
            time_ms,
            next,
        } = self;
        let root = BASE64.encode(&root.0);
        let mut text = format!("{origin}\n{size}\n{root}\ntime {time_ms}\n");
        if let Some(next) = next {
            text.push_str(&format!("next {next}\n"));
        }
        key.sign(&text)
    }

    /// Reads the text of a note; unknown lines behind the third are passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty())?;
        let size = lines.next()?;
        let root = BASE64.decode(lines.next()?.as_bytes()).ok()?;
        let number: u64 = size.parse().ok().filter(|n: &u64| n.to_string() == size)?;
        let mut checkpoint = Self {
            origin: origin.to_owned(),
            size: number,
            root: Hash(root.try_into().ok()?),
            time_ms: 0,
            next: None,
        };
        for line in lines {
            match line.split_once(' ') {
                Some(("time", time)) => checkpoint.time_ms = time.parse().ok()?,
                Some(("next", key)) => checkpoint.next = Some(VerifierKey::parse(key).ok()?),
                _ => {}
            }
        }
        Some(checkpoint)
    }

    /// What the note says, if `key` has signed it and it is of the key's log.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn verified(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(Note::parse(note)?.verified(key)?).ok_or(NoteError::Form)?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(NoteError::Form)
        }
    }
}

/// A change of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The note with which the old key named the new one.
    pub note: String,
    /// What it says: the log before the leaf that carries it.
    pub checkpoint: Checkpoint,
}

/// A log that was read whole and holds together.
#[derive(Clone, Debug)]
pub struct History {
    /// The last checkpoint.
    pub checkpoint: Checkpoint,
    /// Its note.
    pub note: String,
    /// The key from which the line of keys starts.
    pub key: VerifierKey,
    /// The changes of the key since.
    pub handovers: Vec<Handover>,
}

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file cannot be read.
    #[error("cannot read the log: {0}")]
    Io(#[from] io::Error),
    /// A file is missing.
    #[error("the log has no {0}")]
    Missing(String),
    /// The checkpoint is not signed as it should be.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint cannot be read.
    #[error("the checkpoint cannot be read")]
    Checkpoint,
    /// The key of the log cannot be read.
    #[error("the key of the log cannot be read")]
    Key,
    /// Entries are damaged or too few.
    #[error("the entries from {0} on are damaged or missing")]
    Entries(u64),
    /// The entries are not those that were signed.
    #[error("the entries are not those that were signed")]
    Root,
    /// A change of the key does not hold.
    #[error("leaf {0}: the change of the key does not hold")]
    Handover(u64),
    /// The key that was given is none of this log.
    #[error("the given key never signed this log")]
    Foreign,
}

impl History {
    /// Reads every leaf below the checkpoint, in order, and checks that they are those that
    /// were signed, under `key` and those that it named; without a key, under the log's own
    /// first one, which proves no more than that the log agrees with itself. What `each` has
    /// seen stands only if this returns without an error.
    ///
    /// # Errors
    ///
    /// The log does not hold together.
    pub fn read(
        shelf: &impl Shelf,
        key: Option<&VerifierKey>,
        mut each: impl FnMut(u64, &[u8]),
    ) -> Result<Self, HistoryError> {
        let note = text(shelf, CHECKPOINT)?;
        let told = Checkpoint::parse(Note::parse(&note)?.unverified());
        let told = told.ok_or(HistoryError::Checkpoint)?;
        let first = VerifierKey::parse(&text(shelf, KEY)?).map_err(|_| HistoryError::Key)?;
        let from = key.unwrap_or(&first).clone();
        let mut line = Line {
            // A later key is believed from where the log names it.
            active: (from == first).then(|| from.clone()),
            from: from.clone(),
            handovers: Vec::new(),
        };
        let mut tree = Tree::default();
        while tree.size() < told.size {
            let start = tree.size();
            let count = usize::try_from(told.size - start).map_or(TILE, |left| left.min(TILE));
            let bundle = entries(shelf, start / TILE as u64, count)?;
            let entries = read_bundle(&bundle, count).ok_or(HistoryError::Entries(start))?;
            for entry in entries {
                line.take(entry, &tree)?;
                each(tree.size(), entry);
                drop(tree.push(leaf_hash(entry)));
            }
        }
        let active = line.active.ok_or(HistoryError::Foreign)?;
        let checkpoint = Checkpoint::verified(&note, &active)?;
        if checkpoint.root != tree.root() {
            return Err(HistoryError::Root);
        }
        Ok(Self {
            checkpoint,
            note,
            key: from,
            handovers: line.handovers,
        })
    }
}

/// The line of keys.
struct Line {
    from: VerifierKey,
    active: Option<VerifierKey>,
    handovers: Vec<Handover>,
}

impl Line {
    fn take(&mut self, entry: &[u8], before: &Tree) -> Result<(), HistoryError> {
        if !entry.starts_with(KEY_LEAF) {
            return Ok(());
        }
        let broken = || HistoryError::Handover(before.size());
        let Ok(Leaf::Key { note, .. }) = serde_json::from_slice(entry) else {
            return Err(broken());
        };
        let Some(active) = &self.active else {
            let text = Note::parse(&note)?.unverified();
            let next = Checkpoint::parse(text).and_then(|c| c.next);
            self.active = next.filter(|next| *next == self.from);
            return Ok(());
        };
        let checkpoint = Checkpoint::verified(&note, active).map_err(|_| broken())?;
        if checkpoint.size != before.size() || checkpoint.root != before.root() {
            return Err(broken());
        }
        self.active = Some(checkpoint.next.clone().ok_or_else(broken)?);
        self.handovers.push(Handover { note, checkpoint });
        Ok(())
    }
}

fn text(shelf: &impl Shelf, path: &str) -> Result<String, HistoryError> {
    let bytes = shelf.read(path)?;
    let bytes = bytes.ok_or_else(|| HistoryError::Missing(path.to_owned()))?;
    String::from_utf8(bytes).map_err(|_| HistoryError::Checkpoint)
}

/// A bundle of at least `count` entries: full, partial, or the recorder's growing one.
fn entries(shelf: &impl Shelf, index: u64, count: usize) -> Result<Vec<u8>, HistoryError> {
    let full = entries_path(index, TILE);
    let partial = entries_path(index, count);
    for path in [&full, &partial, TAIL] {
        if let Some(bytes) = shelf.read(path)? {
            return Ok(bytes);
        }
    }
    Err(HistoryError::Missing(partial))
}

/// The first `count` entries of a bundle, each behind its length in two bytes, the larger first;
/// `None` where there are not so many.
pub fn read_bundle(mut bytes: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(count.min(TILE));
    for _ in 0..count {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

/// The files of a log beside its tiles: the last checkpoint, the first key, and the bundle of
/// entries that is not full.
const CHECKPOINT: &str = "checkpoint";
const KEY: &str = "vkey";
const TAIL: &str = "tail";
/// How a leaf that changes the key begins.
const KEY_LEAF: &[u8] = br#"{"leaf":"key""#;
