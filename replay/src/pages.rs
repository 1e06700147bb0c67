//! A recording's file, read again in places, and checked against what was read before.
//!
//! The file is hashed in blocks while it is read the first time. Whoever reads a part again
//! gets it only if its blocks are what they were: a file that was changed meanwhile, or another
//! one of the same name, is noticed where it is touched.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use aws_lc_rs::digest;

/// A file, or what stands for one, that can be read anywhere.
pub trait ReadAt: Send {
    /// Reads at an offset, as many bytes as there are at once; 0 at the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(offset..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        let read = buffer.iter_mut().zip(rest);
        read.for_each(|(to, from)| *to = *from);
        Ok(length)
    }
}

/// The first half of a block's SHA-256.
pub(crate) type Hash = [u8; 16];

/// The hashes of a file's blocks, as far as it was read.
#[derive(Clone)]
pub(crate) struct Blocks {
    whole: Vec<Hash>,
    /// The block that is not whole yet, and its bytes so far.
    open: digest::Context,
    open_bytes: u64,
}

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 64 << 10;

impl Default for Blocks {
    fn default() -> Self {
        Self {
            whole: Vec::new(),
            open: digest::Context::new(&digest::SHA256),
            open_bytes: 0,
        }
    }
}

impl Blocks {
    /// The blocks before a byte of the file, of which the hashes are known. The part of a block
    /// before that byte is read.
    pub(crate) fn before(file: &dyn ReadAt, hashes: &[Hash], byte: u64) -> io::Result<Self> {
        let blocks = usize::try_from(byte / BLOCK).unwrap_or(usize::MAX);
        let whole = hashes.get(..blocks).ok_or(io::ErrorKind::InvalidData)?;
        let mut part = vec![0; (byte % BLOCK) as usize];
        fill(file, byte / BLOCK * BLOCK, &mut part)?;
        let mut blocks = Self {
            whole: whole.to_vec(),
            ..Self::default()
        };
        blocks.push(&part);
        Ok(blocks)
    }

    /// The next bytes of the file.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK - self.open_bytes).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            self.open.update(part);
            self.open_bytes += part.len() as u64;
            if self.open_bytes == BLOCK {
                let fresh = digest::Context::new(&digest::SHA256);
                let block = std::mem::replace(&mut self.open, fresh);
                self.whole.push(short(block));
                self.open_bytes = 0;
            }
            bytes = rest;
        }
    }

    /// Bytes that were hashed.
    pub(crate) fn length(&self) -> u64 {
        self.whole.len() as u64 * BLOCK + self.open_bytes
    }

    /// The hashes of all blocks, the last of what there is of it.
    pub(crate) fn hashes(&self) -> Vec<Hash> {
        let mut hashes = self.whole.clone();
        if self.open_bytes > 0 {
            hashes.push(short(self.open.clone()));
        }
        hashes
    }

    /// A part of the file, if the blocks in which it lies are what they were. Of the last
    /// block, which was not whole, that is not known yet.
    pub(crate) fn read(&self, file: &dyn ReadAt, from: u64, to: u64) -> Option<Vec<u8>> {
        let first = from / BLOCK;
        let begin = first * BLOCK;
        let end = to.div_ceil(BLOCK).saturating_mul(BLOCK).min(self.length());
        let length = usize::try_from(end.checked_sub(begin)?).ok()?;
        if from > to || to > end || length > READ_MAX {
            return None;
        }
        let mut bytes = vec![0; length];
        fill(file, begin, &mut bytes).ok()?;
        let hashes = self.whole.get(usize::try_from(first).ok()?..)?;
        let blocks = bytes.chunks_exact(BLOCK as usize).zip(hashes);
        for (block, hash) in blocks {
            if hash_of(block) != *hash {
                return None;
            }
        }
        bytes.truncate(usize::try_from(to - begin).ok()?);
        bytes.drain(..usize::try_from(from - begin).ok()?);
        Some(bytes)
    }
}

/// Whether a file begins with these blocks: `length` bytes of it.
pub(crate) fn agree(file: &dyn ReadAt, hashes: &[Hash], length: u64) -> bool {
    agree_where(file, hashes, length, |_| true)
}

/// As [`agree`], where whoever reads more of the file checks that again: only the first and the
/// last megabyte is looked at.
pub(crate) fn agree_at_ends(file: &dyn ReadAt, hashes: &[Hash], length: u64) -> bool {
    let last = hashes.len().saturating_sub(ENDS);
    agree_where(file, hashes, length, |block| block < ENDS || block >= last)
}

/// Blocks in a megabyte.
const ENDS: usize = 16;

fn agree_where(
    file: &dyn ReadAt,
    hashes: &[Hash],
    length: u64,
    looked_at: impl Fn(usize) -> bool,
) -> bool {
    if length.div_ceil(BLOCK) != hashes.len() as u64 {
        return false;
    }
    let mut block = vec![0; BLOCK as usize];
    let mut numbered = hashes.iter().enumerate();
    numbered.all(|(number, hash)| {
        let at = number as u64 * BLOCK;
        let part = block.get_mut(..(length - at).min(BLOCK) as usize);
        !looked_at(number)
            || part.is_some_and(|part| fill(file, at, part).is_ok() && hash_of(part) == *hash)
    })
}

/// Reads exactly so many bytes.
pub(crate) fn fill(file: &dyn ReadAt, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(offset, buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                offset += length as u64;
                buffer = buffer.get_mut(length..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Most that is read again at once.
const READ_MAX: usize = 64 << 20;

fn hash_of(bytes: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(bytes);
    short(context)
}

fn short(context: digest::Context) -> Hash {
    let digest = context.finish();
    let half = digest.as_ref().first_chunk();
    *half.expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops at what it did not expect"
    )]

    use proptest::prelude::*;

    use super::*;

    /// A place that ends before it begins, as a broken index may name one, was taken for one.
    #[test]
    fn nothing_is_read_backwards() {
        let file = vec![7u8; 100_000];
        let mut blocks = Blocks::default();
        blocks.push(&file);
        assert_eq!(blocks.read(&file, 70_000, 66_000), None);
        assert_eq!(blocks.read(&file, 66_000, 66_000), Some(Vec::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What is read again is what was there, or nothing.
        #[test]
        fn a_changed_block_is_noticed(
            size in 1..300_000usize,
            range: (prop::sample::Index, prop::sample::Index),
            changed: prop::sample::Index,
            cut in 1..70_000usize,
        ) {
            let mut file: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
            let mut blocks = Blocks::default();
            for piece in file.chunks(cut) {
                blocks.push(piece);
            }
            prop_assert_eq!(blocks.length(), size as u64);
            prop_assert!(agree(&file, &blocks.hashes(), size as u64));
            let (one, other) = (range.0.index(size + 1), range.1.index(size + 1));
            let (from, to) = (one.min(other), one.max(other));
            let read = |file: &Vec<u8>| blocks.read(file, from as u64, to as u64);
            prop_assert_eq!(read(&file).unwrap(), &file[from..to]);
            let part = Blocks::before(&file, &blocks.hashes(), to as u64).unwrap();
            prop_assert_eq!(part.length(), to as u64);
            let changed = changed.index(size);
            file[changed] ^= 1;
            prop_assert!(!agree(&file, &blocks.hashes(), size as u64));
            if (from..to).contains(&changed) && changed < size / BLOCK as usize * BLOCK as usize {
                prop_assert_eq!(read(&file), None);
            }
            file.truncate(changed);
            prop_assert!(!agree(&file, &blocks.hashes(), size as u64));
        }
    }
}
