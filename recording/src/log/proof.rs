//! Proof that a recording was logged, to go with its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::history::{Checkpoint, History};
use super::leaf::Leaf;
use super::note::{NoteError, VerifierKey};
use super::tree::{Inclusion, ProofError, Shelf, leaf_hash, prove};
use crate::verify::Known;

/// Everything that a recording needs to be verified by somebody who has a key of the log and
/// nothing else of it.
///
/// It travels in the recording's own file, as a last skippable frame
/// ([`PROOF_MAGIC`](crate::seal::PROOF_MAGIC)) of JSON: players see a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// 1, or 2 where there is something later.
    version: u8,
    /// The first key of the line, for whoever has no better source.
    key: String,
    /// The notes with which each key named the next, up to the key that signed `note`.
    handovers: Vec<String>,
    /// The checkpoint of the tree that the leaves are in, as the key of their time signed it.
    note: String,
    /// The leaf of the start, and that of the end.
    leaves: [Logged; 2],
    /// The leaves of what went unrecorded of the session, as far as the same tree has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Logged>,
    /// What the log says since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    later: Option<Later>,
}

/// Leaves that were logged after the key that signed the end had been forgotten, and those of
/// redactions, which say what the file is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    /// The notes that lead on from the key that signed the end.
    handovers: Vec<String>,
    /// The last checkpoint.
    note: String,
    /// The leaves.
    leaves: Vec<Logged>,
}

/// The leaves of a session that a proof is made of, each with its place in the log.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Its start.
    pub start: (u64, Vec<u8>),
    /// Its end.
    pub end: (u64, Vec<u8>),
    /// Its gaps.
    pub gaps: Vec<(u64, Vec<u8>)>,
    /// What was withheld of it, where the recording is as the last of these says.
    pub redacted: Option<(u64, Vec<u8>)>,
}

/// A leaf with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// The leaf as it was logged.
    pub entry: String,
    /// Its proof.
    pub inclusion: Inclusion,
}

/// Why a proof is not believed.
#[derive(Debug, thiserror::Error)]
pub enum BadProof {
    /// It is not one, or not of this version.
    #[error("the proof cannot be read")]
    Form,
    /// It does not start from the key that is trusted.
    #[error("the given key is none of the proof's")]
    Foreign,
    /// A note is not signed as it should be.
    #[error("a checkpoint of the proof: {0}")]
    Note(#[from] NoteError),
    /// A leaf is not in the tree.
    #[error("a leaf of the proof: {0}")]
    Leaf(#[from] ProofError),
    /// The leaves are not the start and the end of one session.
    #[error("the proof's leaves are not the start and the end of one session")]
    Leaves,
    /// A gap of the session is left out.
    #[error("the proof leaves out what went unrecorded of the session")]
    Gaps,
    /// A leaf was signed by a key of another time.
    #[error("the proof's end was not logged in the time of the key that signs it")]
    Time,
}

/// What a proof proves.
#[derive(Debug)]
pub struct Proved {
    /// The session.
    pub session: String,
    /// Its heads.
    pub known: Known,
    /// Who, where and what, from the leaf of its start.
    pub about: Map<String, Value>,
    /// The leaf of its end.
    pub end: Leaf,
    /// Leaves of what went unrecorded.
    pub gaps: Vec<Leaf>,
    /// Whether the leaf of the end says how many there were: then none from before it is left out.
    pub counts_gaps: bool,
    /// The leaf of what was withheld.
    pub redacted: Option<Leaf>,
    /// The checkpoint that it is under.
    pub checkpoint: Checkpoint,
}

impl Proof {
    /// Makes a proof for the leaves with these places, as they were read with `history`.
    ///
    /// # Errors
    ///
    /// Tiles are missing.
    pub fn new(
        shelf: &impl Shelf,
        history: &History,
        entries: &Entries,
    ) -> Result<Self, ProofError> {
        // The tree that the key of that time signed last: no later key can make another.
        let (mut before, after): (Vec<_>, Vec<_>) = history
            .handovers
            .iter()
            .partition(|h| h.checkpoint.size <= entries.end.0);
        let before = before.drain(..).map(|h| h.note.clone()).collect();
        let (note, size) = match after.first() {
            Some(closing) => (&closing.note, closing.checkpoint.size),
            None => (&history.note, history.checkpoint.size),
        };
        let last = history.checkpoint.size;
        let logged = |(index, entry): &(u64, Vec<u8>), size| {
            Ok::<_, ProofError>(Logged {
                entry: String::from_utf8_lossy(entry).into_owned(),
                inclusion: prove(shelf, *index, size, last)?,
            })
        };
        let (gaps, mut later): (Vec<_>, Vec<_>) =
            entries.gaps.iter().partition(|(index, _)| *index < size);
        later.extend(&entries.redacted);
        let all = |leaves: Vec<&(u64, Vec<u8>)>, size| {
            let leaves = leaves.into_iter().map(|entry| logged(entry, size));
            leaves.collect::<Result<Vec<_>, _>>()
        };
        let later = match later.is_empty() {
            true => None,
            false => Some(Later {
                handovers: after.iter().map(|h| h.note.clone()).collect(),
                note: history.note.clone(),
                leaves: all(later, last)?,
            }),
        };
        Ok(Self {
            version: if later.is_some() { 2 } else { 1 },
            key: history.key.to_string(),
            handovers: before,
            note: note.clone(),
            leaves: [logged(&entries.start, size)?, logged(&entries.end, size)?],
            gaps: all(gaps, size)?,
            later,
        })
    }

    /// Checks everything under `key`; without one, under the proof's own, which proves no more
    /// than that the proof agrees with itself.
    ///
    /// # Errors
    ///
    /// It does not hold.
    pub fn verify(&self, key: Option<&VerifierKey>) -> Result<Proved, BadProof> {
        if self.version != if self.later.is_some() { 2 } else { 1 } {
            return Err(BadProof::Form);
        }
        let own = VerifierKey::parse(&self.key).map_err(|_| BadProof::Form)?;
        let (mut active, mut from, mut from_ms) = (own, 0, 0);
        let mut trusted = key.is_none_or(|key| *key == active);
        for note in &self.handovers {
            let checkpoint = Checkpoint::verified(note, &active)?;
            (from, from_ms) = (checkpoint.size, checkpoint.time_ms);
            active = checkpoint.next.ok_or(BadProof::Form)?;
            trusted |= key == Some(&active);
        }
        if !trusted {
            return Err(BadProof::Foreign);
        }
        let checkpoint = Checkpoint::verified(&self.note, &active)?;
        let [start, end] = &self.leaves;
        are_in(&checkpoint, [start, end].into_iter().chain(&self.gaps))?;
        let mut newest = None;
        if let Some(later) = &self.later {
            for note in &later.handovers {
                let checkpoint = Checkpoint::verified(note, &active)?;
                active = checkpoint.next.ok_or(BadProof::Form)?;
            }
            let checkpoint = Checkpoint::verified(&later.note, &active)?;
            are_in(&checkpoint, later.leaves.iter())?;
            newest = Some(checkpoint);
        }
        let leaf = |logged: &Logged| serde_json::from_str(&logged.entry).ok();
        let (
            Some(Leaf::Start {
                session,
                head: first,
                about,
                ..
            }),
            Some(last),
        ) = (leaf(start), leaf(end))
        else {
            return Err(BadProof::Leaves);
        };
        let (head, at_ms, counted) = match &last {
            Leaf::End {
                head, at_ms, gaps, ..
            } => (*head, *at_ms, *gaps),
            Leaf::Recovered {
                head: Some(head),
                at_ms,
                gaps,
                ..
            } => (*head, *at_ms, *gaps),
            _ => return Err(BadProof::Leaves),
        };
        let mut gaps = BTreeMap::new();
        let mut redacted = None;
        let others = self.later.iter().flat_map(|later| &later.leaves);
        for logged in self.gaps.iter().chain(others) {
            match leaf(logged).ok_or(BadProof::Leaves)? {
                gap @ Leaf::Gap { .. } if is_gap_of(&gap, &session) => {
                    // One that is there twice counts once.
                    gaps.insert(logged.inclusion.index, gap);
                }
                leaf @ Leaf::Redacted { .. } if leaf.session() == Some(&session) => {
                    redacted = Some(leaf);
                }
                _ => return Err(BadProof::Leaves),
            }
        }
        let known = gaps
            .range(..end.inclusion.index)
            .filter(|(_, gap)| gap.session() == Some(&session));
        if known.count() < counted.unwrap_or(0) as usize {
            return Err(BadProof::Gaps);
        }
        if last.session() != Some(&session) || start.inclusion.index >= end.inclusion.index {
            return Err(BadProof::Leaves);
        }
        if end.inclusion.index < from || at_ms.saturating_add(CLOCK_MS) < from_ms {
            return Err(BadProof::Time);
        }
        let known = Known {
            start: Some(first.head),
            last: Some(first),
            end: Some(head),
            torn: None,
            redacted: match &redacted {
                Some(Leaf::Redacted { after, .. }) => vec![*after],
                _ => Vec::new(),
            },
        };
        Ok(Proved {
            session,
            known,
            about,
            gaps: gaps.into_values().collect(),
            counts_gaps: counted.is_some(),
            redacted,
            end: last,
            checkpoint: newest.unwrap_or(checkpoint),
        })
    }
}

/// Whether leaves are in the tree of a checkpoint.
fn are_in<'l>(
    checkpoint: &Checkpoint,
    leaves: impl Iterator<Item = &'l Logged>,
) -> Result<(), BadProof> {
    for logged in leaves {
        if logged.inclusion.size != checkpoint.size {
            return Err(BadProof::Leaves);
        }
        let leaf = leaf_hash(logged.entry.as_bytes());
        logged.inclusion.verify(leaf, checkpoint.root)?;
    }
    Ok(())
}

/// Whether it is a gap that the session ends or begins with.
fn is_gap_of(gap: &Leaf, session: &String) -> bool {
    match gap {
        Leaf::Gap { continued, .. } => {
            gap.session() == Some(session) || continued.as_ref() == Some(session)
        }
        _ => false,
    }
}

/// How far a clock may be set back without a proof looking forged.
const CLOCK_MS: u64 = 3_600_000;
