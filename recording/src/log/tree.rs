//! The Merkle tree of RFC 6962 §2.1, kept in tiles of 256 hashes.

use std::io;

use aws_lc_rs::digest;

use crate::seal::Hash;

/// Hashes in a tile, and entries in a bundle.
pub const TILE: usize = 256;

/// The hash of a leaf.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(entry);
    Hash::finish(context)
}

/// The hash of a node over two others.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[1]);
    context.update(&left.0);
    context.update(&right.0);
    Hash::finish(context)
}

/// A tree that grows: the right edge of its tiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// For each level of tiles, the hashes of the tile that is not full.
    levels: Vec<Vec<Hash>>,
}

/// A tile that is full, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Level of the tile: its hashes stand for 256 to the power of it leaves each.
    pub level: u8,
    /// Its place in the level.
    pub index: u64,
    /// Its hashes, 256 at most.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Where it is kept.
    pub fn path(&self) -> String {
        tile_path(self.level, self.index, self.hashes.len())
    }

    /// What is kept there.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

impl Tree {
    /// A tree that consists of the full tiles below `levels`; for a reader that starts in the
    /// middle. Level 0 comes first.
    pub fn with_edge(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, levels }
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf, and gives the tiles that are full with it.
    pub fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut full = Vec::new();
        let mut next = Some(leaf);
        self.size += 1;
        for level in 0..=MAX_LEVEL {
            let Some(hash) = next.take() else { break };
            let at = usize::from(level);
            if self.levels.len() <= at {
                self.levels.push(Vec::new());
            }
            let Some(tile) = self.levels.get_mut(at) else {
                break;
            };
            tile.push(hash);
            if tile.len() == TILE {
                let hashes = std::mem::take(tile);
                next = root_of(&hashes);
                full.push(Tile {
                    level,
                    index: (self.size - 1) >> (8 * (u32::from(level) + 1)),
                    hashes,
                });
            }
        }
        full
    }

    /// The tiles that are not full.
    pub fn edge(&self) -> Vec<Tile> {
        let tiles = (0..).zip(&self.levels).filter(|(_, tile)| !tile.is_empty());
        tiles
            .map(|(level, hashes)| Tile {
                level,
                index: self.size >> (8 * (u32::from(level) + 1)),
                hashes: hashes.clone(),
            })
            .collect()
    }

    /// The hash over all leaves.
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        // From the right: each level's hashes in runs of powers of two, the smallest last.
        for tile in &self.levels {
            for run in runs(tile).into_iter().rev() {
                let Some(left) = root_of(run) else { continue };
                root = Some(match &root {
                    Some(right) => node_hash(&left, right),
                    None => left,
                });
            }
        }
        root.unwrap_or_else(|| Hash::of(b""))
    }
}

/// Cuts into runs whose lengths are falling powers of two.
fn runs(mut hashes: &[Hash]) -> Vec<&[Hash]> {
    let mut runs = Vec::new();
    while let Some(length) = hashes.len().checked_ilog2() {
        let (run, rest) = hashes.split_at(1 << length);
        runs.push(run);
        hashes = rest;
    }
    runs
}

/// The hash over a power of two of hashes.
fn root_of(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [one] => Some(*one),
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            Some(node_hash(&root_of(left)?, &root_of(right)?))
        }
    }
}

/// The path of a tile of `width` hashes under the log's folder.
pub fn tile_path(level: u8, index: u64, width: usize) -> String {
    format!("tile/{level}/{}{}", number(index), partial(width))
}

/// The path of a bundle of `width` entries.
pub fn entries_path(index: u64, width: usize) -> String {
    format!("tile/entries/{}{}", number(index), partial(width))
}

fn partial(width: usize) -> String {
    match width {
        TILE => String::new(),
        width => format!(".p/{width}"),
    }
}

/// Groups of three digits: `x001/x234/067`.
fn number(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// Where files of a log are read from.
pub trait Shelf {
    /// The file at this path under the log's folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Reading fails.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// Proof that a leaf is in a tree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// Its place, from 0.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
    /// The hashes beside its way to the root, the lowest first.
    pub path: Vec<Hash>,
}

/// Why a proof does not hold, or can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The leaf is not in the tree of that root.
    #[error("the proof does not lead to the root")]
    Root,
    /// The leaf is beyond the tree.
    #[error("there is no such leaf")]
    Range,
    /// A tile is missing or too short.
    #[error("the tile {0} is missing or too short")]
    Tile(String),
    /// Reading fails.
    #[error("cannot read the log")]
    Io(#[from] io::Error),
}

impl Inclusion {
    /// Checks that this leaf is in the tree of this root (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn verify(&self, leaf: Hash, root: Hash) -> Result<(), ProofError> {
        if self.index >= self.size {
            return Err(ProofError::Range);
        }
        let (mut at, mut last) = (self.index, self.size - 1);
        let mut hash = leaf;
        for beside in &self.path {
            if last == 0 {
                return Err(ProofError::Root);
            }
            if at & 1 == 1 || at == last {
                hash = node_hash(beside, &hash);
                while at & 1 == 0 && at != 0 {
                    (at, last) = (at >> 1, last >> 1);
                }
            } else {
                hash = node_hash(&hash, beside);
            }
            (at, last) = (at >> 1, last >> 1);
        }
        if last == 0 && hash == root {
            Ok(())
        } else {
            Err(ProofError::Root)
        }
    }
}

/// Proves from the tiles that leaf `index` is in the tree of `size` leaves. The tiles at the
/// right edge of a tree of `total` leaves, which is no smaller, are those that are kept.
///
/// # Errors
///
/// There is no such leaf, or a tile is missing.
pub fn prove(
    shelf: &impl Shelf,
    index: u64,
    size: u64,
    total: u64,
) -> Result<Inclusion, ProofError> {
    if index >= size || size > total {
        return Err(ProofError::Range);
    }
    let nodes = Nodes { shelf, total };
    let mut path = Vec::new();
    nodes.path(index, 0, size, &mut path)?;
    Ok(Inclusion { index, size, path })
}

struct Nodes<'s, S> {
    shelf: &'s S,
    total: u64,
}

impl<S: Shelf> Nodes<'_, S> {
    /// PATH of RFC 6962 §2.1.1 over the leaves `from..to`.
    fn path(&self, index: u64, from: u64, to: u64, path: &mut Vec<Hash>) -> Result<(), ProofError> {
        let Some(split) = split(from, to) else {
            return Ok(());
        };
        if index < split {
            self.path(index, from, split, path)?;
            path.push(self.hash(split, to)?);
        } else {
            self.path(index, split, to, path)?;
            path.push(self.hash(from, split)?);
        }
        Ok(())
    }

    /// The hash over the leaves `from..to`, `from` being a multiple of their power of two.
    fn hash(&self, from: u64, to: u64) -> Result<Hash, ProofError> {
        let count = to - from;
        if count.is_power_of_two() {
            return self.node(count.ilog2(), from >> count.ilog2());
        }
        let split = split(from, to).unwrap_or(to);
        Ok(node_hash(&self.hash(from, split)?, &self.hash(split, to)?))
    }

    /// The hash over 2 to the power of `height` leaves.
    fn node(&self, height: u32, index: u64) -> Result<Hash, ProofError> {
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let run = 1u64 << (height % 8);
        let first = index * run;
        let tile = first / TILE as u64;
        let in_level = self.total >> (8 * u32::from(level));
        let width = usize::try_from(in_level - tile * TILE as u64).map_or(TILE, |w| w.min(TILE));
        let path = tile_path(level, tile, width);
        let missing = || ProofError::Tile(path.clone());
        let bytes = self.shelf.read(&path)?.ok_or_else(missing)?;
        let (hashes, _) = bytes.as_chunks::<32>();
        let start = usize::try_from(first % TILE as u64).unwrap_or(TILE);
        let end = start + usize::try_from(run).unwrap_or(TILE);
        let run: Vec<Hash> = hashes
            .get(start..end)
            .ok_or_else(missing)?
            .iter()
            .map(|h| Hash(*h))
            .collect();
        root_of(&run).ok_or_else(missing)
    }
}

/// The largest power of two of leaves that is smaller than all, behind `from`.
fn split(from: u64, to: u64) -> Option<u64> {
    let count = to - from;
    let last = count.checked_sub(1).filter(|last| *last > 0)?;
    Some(from + (1 << last.ilog2()))
}

/// 256 to the power of eight leaves are more than there will be.
const MAX_LEVEL: u8 = 7;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

    use std::collections::HashMap;

    use super::*;

    fn leaf(n: u64) -> Hash {
        leaf_hash(format!("leaf {n}").as_bytes())
    }

    /// RFC 6962 §2.1, to the letter.
    fn slow_root(from: u64, to: u64) -> Hash {
        match split(from, to) {
            None if from == to => Hash::of(b""),
            None => leaf(from),
            Some(split) => node_hash(&slow_root(from, split), &slow_root(split, to)),
        }
    }

    impl Shelf for HashMap<String, Vec<u8>> {
        fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.get(path).cloned())
        }
    }

    #[test]
    fn the_root_is_that_of_the_standard() {
        let mut tree = Tree::default();
        assert_eq!(tree.root(), slow_root(0, 0));
        for size in 1..=600 {
            tree.push(leaf(size - 1));
            assert_eq!(tree.root(), slow_root(0, size), "{size}");
        }
    }

    #[test]
    fn the_first_tile_of_level_two_comes_with_65536_leaves() {
        let mut tree = Tree::default();
        let full: Vec<Tile> = (0..65536).flat_map(|n| tree.push(leaf(n))).collect();
        let paths: Vec<String> = full.iter().rev().take(2).map(Tile::path).collect();
        assert_eq!(paths, ["tile/1/000", "tile/0/255"]);
        let paths: Vec<String> = tree.edge().iter().map(Tile::path).collect();
        assert_eq!(paths, ["tile/2/000.p/1"]);
        assert_eq!(tree.root(), slow_root(0, 65536));
    }

    #[test]
    fn each_leaf_is_proved_in_each_tree_and_no_other_is() {
        let mut tree = Tree::default();
        let mut shelf = HashMap::new();
        let total = 530;
        for n in 0..total {
            for tile in tree.push(leaf(n)) {
                shelf.insert(tile.path(), tile.bytes());
            }
        }
        for tile in tree.edge() {
            shelf.insert(tile.path(), tile.bytes());
        }
        for size in [1, 2, 3, 255, 256, 257, 511, 512, 513, 530] {
            let root = slow_root(0, size);
            for index in 0..size {
                let proof = prove(&shelf, index, size, total).unwrap();
                proof.verify(leaf(index), root).unwrap();
                assert!(proof.verify(leaf(index + 1), root).is_err());
                assert!(proof.verify(leaf(index), leaf(index)).is_err() || size == 1);
                let moved = Inclusion {
                    index: index ^ 1,
                    ..proof.clone()
                };
                assert!(moved.verify(leaf(index), root).is_err() || size == 1);
                let mut longer = proof.clone();
                longer.path.push(root);
                assert!(longer.verify(leaf(index), root).is_err());
            }
            assert!(prove(&shelf, size, size, total).is_err());
        }
    }

    #[test]
    fn paths_are_those_of_the_layout() {
        assert_eq!(
            tile_path(0, 1_234_067, TILE),
            "tile/0/x001/x234/067".to_owned()
        );
        assert_eq!(tile_path(1, 7, 17), "tile/1/007.p/17".to_owned());
        assert_eq!(
            entries_path(1000, 3),
            "tile/entries/x001/000.p/3".to_owned()
        );
    }
}
