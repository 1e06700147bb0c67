//! The append-only log of a bastion: what was recorded, when, and that nothing was taken out.
//!
//! The log is a Merkle tree (RFC 6962 §2.1) whose leaves are small JSON objects ([`Leaf`]). It
//! is kept as static files in the layout of C2SP [tlog-tiles], so that a web server or a bucket
//! can serve it, and a *checkpoint*, a [signed note] in the form of C2SP [tlog-checkpoint],
//! says what it holds. Heads of recordings (see [`seal`](crate::seal)) are in its leaves: a
//! checkpoint that was copied elsewhere fixes every byte recorded before it.
//!
//! Nothing here opens a file: files are read through [`Shelf`], and written by the recorder.
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [signed note]: https://c2sp.org/signed-note
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint

mod history;
mod leaf;
mod note;
mod proof;
mod tree;

pub use history::{Checkpoint, Handover, History, HistoryError, read_bundle};
pub use leaf::{Leaf, Torn};
pub use note::{KeyError, Note, NoteError, SigningKey, VerifierKey};
pub use proof::{BadProof, Entries, Logged, Proof, Proved};
pub use tree::{
    Inclusion, ProofError, Shelf, TILE, Tile, Tree, entries_path, leaf_hash, node_hash, prove,
    tile_path,
};
