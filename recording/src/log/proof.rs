//! Proof that a recording was logged, to go with its file.

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
    /// 1.
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
    /// Leaves of what went unrecorded. That there are no others, a proof can't show.
    pub gaps: Vec<Leaf>,
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
        start: (u64, &[u8]),
        end: (u64, &[u8]),
        gaps: &[(u64, Vec<u8>)],
    ) -> Result<Self, ProofError> {
        // The tree that the key of that time signed last: no later key can make another.
        let before = history
            .handovers
            .iter()
            .take_while(|h| h.checkpoint.size <= end.0);
        let before: Vec<String> = before.map(|h| h.note.clone()).collect();
        let (note, size) = match history.handovers.get(before.len()) {
            Some(closing) => (&closing.note, closing.checkpoint.size),
            None => (&history.note, history.checkpoint.size),
        };
        let logged = |(index, entry): (u64, &[u8])| {
            Ok::<_, ProofError>(Logged {
                entry: String::from_utf8_lossy(entry).into_owned(),
                inclusion: prove(shelf, index, size, history.checkpoint.size)?,
            })
        };
        Ok(Self {
            version: 1,
            key: history.key.to_string(),
            handovers: before,
            note: note.clone(),
            leaves: [logged(start)?, logged(end)?],
            gaps: gaps
                .iter()
                .filter(|(index, _)| *index < size)
                .map(|(index, entry)| logged((*index, entry)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Checks everything under `key`; without one, under the proof's own, which proves no more
    /// than that the proof agrees with itself.
    ///
    /// # Errors
    ///
    /// It does not hold.
    pub fn verify(&self, key: Option<&VerifierKey>) -> Result<Proved, BadProof> {
        if self.version != 1 {
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
        for logged in [start, end].into_iter().chain(&self.gaps) {
            if logged.inclusion.size != checkpoint.size {
                return Err(BadProof::Leaves);
            }
            let leaf = leaf_hash(logged.entry.as_bytes());
            logged.inclusion.verify(leaf, checkpoint.root)?;
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
        let (head, at_ms) = match &last {
            Leaf::End { head, at_ms, .. } => (*head, *at_ms),
            Leaf::Recovered {
                head: Some(head),
                at_ms,
                ..
            } => (*head, *at_ms),
            _ => return Err(BadProof::Leaves),
        };
        let gaps: Option<Vec<Leaf>> = self.gaps.iter().map(leaf).collect();
        let gaps = gaps.ok_or(BadProof::Leaves)?;
        let is_its = |gap: &Leaf| match gap {
            Leaf::Gap { continued, .. } => {
                gap.session() == Some(&session) || continued.as_ref() == Some(&session)
            }
            _ => false,
        };
        if !gaps.iter().all(is_its) {
            return Err(BadProof::Leaves);
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
        };
        Ok(Proved {
            session,
            known,
            about,
            gaps,
            end: last,
            checkpoint,
        })
    }
}

/// How far a clock may be set back without a proof looking forged.
const CLOCK_MS: u64 = 3_600_000;
