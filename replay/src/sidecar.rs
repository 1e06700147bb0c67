//! The index beside a recording: `ID.idx`, from which any place of a ten-hour session is shown
//! at once.
//!
//! It holds where in the file each chunk of some 256 KiB of output begins, the screen at that
//! place (a keyframe), the places to jump to and the hashes of the file's blocks. It is derived
//! and no evidence: whoever has the recording can make it again, and what is played comes from
//! the recording itself.
//!
//! A keyframe that lies would show a screen that never was. So an index is sealed with a secret
//! of the account that made it ([`Keeper`](crate::keeper)), and one that this account did not
//! make is not read at all but made anew. What has the right seal is still taken apart with
//! bounds, and fits the file or is dropped.

use recording::read::{Damage, Mark, Position, Warning};

use crate::emulator::Snapshot;
use crate::pages::Hash;
use crate::timeline::{CHAPTERS_MAX, Chapter, Chunk, Sealed, Stored};

/// What an index says.
pub(crate) struct Index {
    /// Bytes of the file of which it knows the blocks.
    pub(crate) length: u64,
    pub(crate) hashes: Vec<Hash>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) chapters: Vec<Chapter>,
    pub(crate) sealed: Sealed,
    /// How output is cut in pieces behind the last chunk.
    pub(crate) piece: usize,
    /// What was damaged before that place.
    pub(crate) warnings: Vec<Warning>,
}

/// The version of the format: a change of what stands in it, or of what is made of it.
const VERSION: u64 = 1;

/// Most of anything that is counted.
const COUNT_MAX: u64 = 1 << 24;

/// Most warnings that are kept; a file with more is read each time.
pub(crate) const WARNINGS_MAX: usize = 1000;

impl Index {
    /// The bytes that [`read`](Self::read) takes.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.number(VERSION);
        out.number(self.length);
        out.hashes(&self.hashes);
        out.number(self.chunks.len() as u64);
        for chunk in &self.chunks {
            out.chunk(chunk);
        }
        out.number(self.chapters.len() as u64);
        for chapter in &self.chapters {
            out.number(chapter.time);
            out.number(u64::from(chapter.label.is_some()));
            out.bytes(chapter.label.as_deref().unwrap_or_default().as_bytes());
        }
        out.mark(&self.sealed.mark);
        out.number(self.sealed.len as u64);
        out.number(self.sealed.duration);
        out.number(
            self.sealed
                .exit
                .map_or(0, |exit| 1 << 32 | u64::from(exit.cast_unsigned())),
        );
        out.number(self.piece as u64);
        out.warnings(&self.warnings);
        out.0
    }

    /// Takes an index apart. `None` when it is of another version or contradicts itself.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = In(bytes);
        if input.number()? != VERSION {
            return None;
        }
        let length = input.number()?;
        let hashes = input.list(In::array)?;
        let chunks = input.list(In::chunk)?;
        let chapters = input.list(In::chapter)?;
        let mark = input.mark()?;
        let len = usize::try_from(input.number()?).ok()?;
        let duration = input.number()?;
        let exit = input.number()?;
        let piece = usize::try_from(input.number()?).ok()?;
        let warnings = input.list(In::warning)?;
        let index = Self {
            length,
            hashes,
            sealed: Sealed {
                mark,
                len,
                chapters: chapters.len(),
                duration,
                exit: (exit >> 32 > 0).then_some((exit as u32).cast_signed()),
            },
            chunks,
            chapters,
            piece,
            warnings,
        };
        (input.0.is_empty() && index.is_sound()).then_some(index)
    }

    /// Whether its parts fit each other.
    fn is_sound(&self) -> bool {
        let blocks = self.length.div_ceil(crate::pages::BLOCK);
        let in_file = |mark: &Mark| mark.file <= self.length && mark.skip <= mark.text;
        let mut ends = self.chunks.iter().skip(1).map(|chunk| chunk.first);
        let mut order = (0, 0);
        blocks == self.hashes.len() as u64
            && in_file(&self.sealed.mark)
            && self.chapters.len() <= CHAPTERS_MAX
            && self.warnings.len() <= WARNINGS_MAX
            && self.chunks.first().is_some_and(|chunk| chunk.first == 0)
            && self.chunks.iter().all(|chunk| {
                let Stored::InFile { mark, to, .. } = &chunk.stored else {
                    return false;
                };
                let end = ends.next().unwrap_or(self.sealed.len);
                let sound = chunk.first < end
                    && end - chunk.first <= MOMENTS_MAX
                    && in_file(mark)
                    && mark.file <= *to
                    && *to <= self.length
                    && (chunk.start, chunk.first) >= order;
                order = (chunk.start, chunk.first);
                sound
            })
            && self.chapters.is_sorted_by_key(|chapter| chapter.time)
    }
}

/// Most moments in one chunk.
const MOMENTS_MAX: usize = 1 << 24;

const DAMAGES: [Damage; 9] = [
    Damage::Cut,
    Damage::Io,
    Damage::Compression,
    Damage::Limit,
    Damage::Header,
    Damage::Event,
    Damage::Time,
    Damage::Text,
    Damage::Unfinished,
];

/// Numbers are written in groups of seven bits, the lowest first.
#[derive(Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn hashes(&mut self, hashes: &[Hash]) {
        self.number(hashes.len() as u64);
        for hash in hashes {
            self.0.extend_from_slice(hash);
        }
    }

    pub(crate) fn warnings(&mut self, warnings: &[Warning]) {
        self.number(warnings.len() as u64);
        for warning in warnings {
            self.number(warning.at.line);
            self.number(warning.at.text);
            self.number(warning.at.file);
            let damage = DAMAGES.iter().position(|damage| *damage == warning.damage);
            self.number(damage.unwrap_or_default() as u64);
            self.bytes(warning.detail.as_bytes());
        }
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn mark(&mut self, mark: &Mark) {
        self.number(mark.file);
        self.number(mark.skip);
        self.number(mark.line);
        self.number(mark.text);
        self.number(mark.time);
        self.number(u64::from(mark.given.is_some()));
        self.number(mark.given.unwrap_or_default().cast_unsigned());
        self.number(u64::from(mark.ended));
    }

    fn chunk(&mut self, chunk: &Chunk) {
        self.number(chunk.first as u64);
        self.number(chunk.start);
        if let Stored::InFile { mark, to, piece } = &chunk.stored {
            self.mark(mark);
            self.number(*to);
            self.number(*piece as u64);
        }
        let (size, packed) = match &chunk.keyframe {
            Some(keyframe) => (keyframe.size(), keyframe.packed()),
            None => ((0, 0), &[][..]),
        };
        self.number(size.0.into());
        self.number(size.1.into());
        self.bytes(packed);
    }
}

/// What is left to read.
pub(crate) struct In<'a>(pub(crate) &'a [u8]);

impl<'a> In<'a> {
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.size()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        let text = std::str::from_utf8(self.bytes()?).ok()?;
        Some(text.to_owned())
    }

    /// A count and so many of something; each takes a byte at least, so the count is bounded by
    /// what is left.
    pub(crate) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.number()?;
        if count > COUNT_MAX.min(self.0.len() as u64) {
            return None;
        }
        (0..count).map(|_| one(self)).collect()
    }

    fn mark(&mut self) -> Option<Mark> {
        Some(Mark {
            file: self.number()?,
            skip: self.number()?,
            line: self.number()?,
            text: self.number()?,
            time: self.number()?,
            given: {
                let is_given = self.flag()?;
                let given = self.number()?.cast_signed();
                is_given.then_some(given)
            },
            ended: self.flag()?,
        })
    }

    fn chunk(&mut self) -> Option<Chunk> {
        let first = self.size()?;
        let start = self.number()?;
        let stored = Stored::InFile {
            mark: self.mark()?,
            to: self.number()?,
            piece: self.size().filter(|piece| (1..=1 << 16).contains(piece))?,
        };
        let cols = u16::try_from(self.number()?).ok()?;
        let rows = u16::try_from(self.number()?).ok()?;
        let packed = self.bytes()?;
        let keyframe = (cols > 0).then(|| Snapshot::of(cols, rows, packed));
        Some(Chunk {
            first,
            start,
            stored,
            keyframe,
        })
    }

    fn chapter(&mut self) -> Option<Chapter> {
        let time = self.number()?;
        let is_marker = self.flag()?;
        let label = self.text()?;
        Some(Chapter {
            time,
            label: is_marker.then_some(label),
        })
    }

    pub(crate) fn warning(&mut self) -> Option<Warning> {
        let at = Position {
            line: self.number()?,
            text: self.number()?,
            file: self.number()?,
        };
        let damage = *DAMAGES.get(self.size()?)?;
        let detail = self.text()?;
        Some(Warning { at, damage, detail })
    }
}
