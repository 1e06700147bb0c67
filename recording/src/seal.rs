//! Seals: what stands after each data frame of a recording and chains it to those before.
//!
//! A seal is a skippable zstd frame, so that every zstd reads the file as if it were not there.
//! It carries the SHA-256 of the *compressed* frame before it, so that a recording is verified
//! without a decoder, and a *head*, the hash over everything up to here. Whoever knows the head
//! of a recording knows each byte of it; the [log](crate::log) is where heads are kept.
//!
//! A seal alone proves nothing: who can write the file can compute a new chain. It says where
//! a recording was changed, once a head from elsewhere says that it was.
//!
//! All numbers are little endian:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `5c 2a 4d 18`: a skippable frame |
//! | 4 | 4 | 130: bytes that follow |
//! | 8 | 4 | `rec1` |
//! | 12 | 26 | the session's id, ASCII |
//! | 38 | 4 | number of the frame, from 0 |
//! | 42 | 4 | bytes of text in the frame |
//! | 46 | 4 | lines of text in the frame |
//! | 50 | 8 | time of its first event, in milliseconds since the start |
//! | 58 | 8 | time of its last event |
//! | 66 | 8 | wall clock when it was sealed, in milliseconds since 1970 |
//! | 74 | 32 | SHA-256 of the frame before |
//! | 106 | 32 | the head |
//!
//! The first head is SHA-256 of `bastion recording v1`, a line feed and the id; each next one is
//! SHA-256 of the head before and bytes 8 to 106 of the seal.
//!
//! Where a frame was [withheld](crate::redact), another skippable frame stands in its place, a
//! frame for players, and the seal as it was:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `5e 2a 4d 18`: a skippable frame |
//! | 4 | 4 | 74: bytes that follow |
//! | 8 | 4 | `out1` |
//! | 12 | 26 | the session's id, ASCII |
//! | 38 | 4 | number of the frame that is not there |
//! | 42 | 8 | its bytes |
//! | 50 | 32 | its SHA-256, as the seal has it |

use std::fmt;
use std::io::{self, Read};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Self::context(bytes))
    }

    /// Of lower-case hexadecimal, if it is one.
    pub fn parse(hex: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    fn context(first: &[u8]) -> digest::Context {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(first);
        context
    }

    pub(crate) fn finish(context: digest::Context) -> Self {
        let mut hash = [0; 32];
        for (slot, byte) in hash.iter_mut().zip(context.finish().as_ref()) {
            *slot = *byte;
        }
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&hex).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

/// The id of a session as a seal holds it.
pub type Id = [u8; 26];

/// What a seal says about its frame, beside the two hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Bytes of text.
    pub text: u32,
    /// Lines of text.
    pub lines: u32,
    /// Milliseconds from the start of the session to the first event.
    pub first_ms: u64,
    /// The same for the last.
    pub last_ms: u64,
    /// Wall clock when the frame was sealed, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// One seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The session.
    pub session: Id,
    /// Number of the frame, from 0.
    pub number: u32,
    /// What is in the frame.
    pub measures: Measures,
    /// SHA-256 of the compressed frame.
    pub frame: Hash,
    /// SHA-256 over everything up to here.
    pub head: Hash,
}

impl Seal {
    /// Bytes of a seal in the file.
    pub const BYTES: usize = 8 + PAYLOAD;

    /// The whole skippable frame.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            for (slot, byte) in bytes.iter_mut().skip(at).zip(part) {
                *slot = *byte;
            }
            at += part.len();
        };
        put(&MAGIC);
        put(&(PAYLOAD as u32).to_le_bytes());
        put(&bound(
            &self.session,
            self.number,
            &self.measures,
            &self.frame,
        ));
        put(&self.head.0);
        bytes
    }

    /// How every seal of a session begins.
    pub(crate) fn mark(session: &Id) -> Vec<u8> {
        let len = (PAYLOAD as u32).to_le_bytes();
        [&MAGIC, &len, &TAG, session.as_slice()].concat()
    }

    /// Reads the inside of a skippable frame; `None` if it is no seal.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let rest: &[u8; PAYLOAD] = payload.try_into().ok()?;
        let (tag, rest) = rest.split_first_chunk::<4>()?;
        let (session, rest) = rest.split_first_chunk::<26>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_first_chunk::<4>()?;
        let (lines, rest) = rest.split_first_chunk::<4>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (last, rest) = rest.split_first_chunk::<8>()?;
        let (wall, rest) = rest.split_first_chunk::<8>()?;
        let (frame, rest) = rest.split_first_chunk::<32>()?;
        let (head, _) = rest.split_first_chunk::<32>()?;
        (*tag == TAG).then_some(Self {
            session: *session,
            number: u32::from_le_bytes(*number),
            measures: Measures {
                text: u32::from_le_bytes(*text),
                lines: u32::from_le_bytes(*lines),
                first_ms: u64::from_le_bytes(*first),
                last_ms: u64::from_le_bytes(*last),
                wall_ms: u64::from_le_bytes(*wall),
            },
            frame: Hash(*frame),
            head: Hash(*head),
        })
    }
}

/// The part of a seal that its head binds.
fn bound(session: &Id, number: u32, measures: &Measures, frame: &Hash) -> [u8; BOUND] {
    let mut bytes = [0; BOUND];
    let parts: [&[u8]; 9] = [
        &TAG,
        session,
        &number.to_le_bytes(),
        &measures.text.to_le_bytes(),
        &measures.lines.to_le_bytes(),
        &measures.first_ms.to_le_bytes(),
        &measures.last_ms.to_le_bytes(),
        &measures.wall_ms.to_le_bytes(),
        &frame.0,
    ];
    for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *slot = *byte;
    }
    bytes
}

/// What stands in the place of a frame that was withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The session.
    pub session: Id,
    /// Number of the frame.
    pub number: u32,
    /// Its bytes, compressed.
    pub bytes: u64,
    /// SHA-256 of them.
    pub frame: Hash,
}

impl Withheld {
    /// Bytes of it in the file.
    pub const BYTES: usize = 8 + OUT_PAYLOAD;

    /// The whole skippable frame.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts: [&[u8]; 7] = [
            &OUT_MAGIC,
            &(OUT_PAYLOAD as u32).to_le_bytes(),
            &OUT_TAG,
            &self.session,
            &self.number.to_le_bytes(),
            &self.bytes.to_le_bytes(),
            &self.frame.0,
        ];
        for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        bytes
    }

    /// Reads the inside of a skippable frame; `None` if it is none of these.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let rest: &[u8; OUT_PAYLOAD] = payload.try_into().ok()?;
        let (tag, rest) = rest.split_first_chunk::<4>()?;
        let (session, rest) = rest.split_first_chunk::<26>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_first_chunk::<8>()?;
        let (frame, _) = rest.split_first_chunk::<32>()?;
        (*tag == OUT_TAG).then_some(Self {
            session: *session,
            number: u32::from_le_bytes(*number),
            bytes: u64::from_le_bytes(*bytes),
            frame: Hash(*frame),
        })
    }
}

/// The chain of a recording, as far as it is written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    session: Id,
    frames: u32,
    head: Hash,
}

impl Chain {
    /// Of a session of which nothing is written.
    pub fn new(session: Id) -> Self {
        let mut first = Hash::context(DOMAIN);
        first.update(&session);
        Self {
            session,
            frames: 0,
            head: Hash::finish(first),
        }
    }

    /// Seals the next frame.
    pub fn seal(&mut self, frame: Hash, measures: Measures) -> Seal {
        let number = self.frames;
        let mut head = Hash::context(&self.head.0);
        head.update(&bound(&self.session, number, &measures, &frame));
        self.head = Hash::finish(head);
        self.frames = self.frames.saturating_add(1);
        Seal {
            session: self.session,
            number,
            measures,
            frame,
            head: self.head,
        }
    }

    /// Takes the seal of the next frame, whose SHA-256 is `frame`; what is wrong, if it is not
    /// the one that follows. Then the chain stays where it is.
    pub fn take(&mut self, seal: &Seal, frame: Hash) -> Result<(), &'static str> {
        if seal.session != self.session {
            return Err("the seal is of another session");
        }
        if seal.number != self.frames {
            return Err("the seal is of another frame");
        }
        if seal.frame != frame {
            return Err("the frame is not the one that was sealed");
        }
        let mut next = self.clone();
        if next.seal(frame, seal.measures).head != seal.head {
            return Err("the seal does not follow from the one before");
        }
        *self = next;
        Ok(())
    }

    /// The session.
    pub fn session(&self) -> &Id {
        &self.session
    }

    /// Frames that are sealed.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The hash over all of them.
    pub fn head(&self) -> Hash {
        self.head
    }
}

/// What stands at some place of a recording's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole data frame, by its SHA-256.
    Data(Hash),
    /// A skippable frame with a seal.
    Seal(Seal),
    /// A skippable frame that says which frame was withheld.
    Withheld(Withheld),
    /// A skippable frame with a proof in it: see [`Frames::proof`].
    Proof,
    /// A skippable frame of another sort.
    Skippable,
    /// The file ends inside a frame, between two blocks: more may still be written.
    Open,
    /// The file ends inside a block or a head.
    Cut,
    /// No zstd frame begins here, or it is broken.
    Strange,
}

/// Takes a file apart into frames without unpacking it (RFC 8878 §3.1).
#[derive(Debug)]
pub struct Frames<R> {
    reader: R,
    offset: u64,
    buffer: Vec<u8>,
    proof: Vec<u8>,
}

/// What a read came to.
enum Got {
    All,
    Nothing,
    Part,
}

impl<R: Read> Frames<R> {
    /// Of a file from its start. Give it something buffered.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            offset: 0,
            buffer: Vec::new(),
            proof: Vec::new(),
        }
    }

    /// The inside of the last [`Piece::Proof`].
    pub fn proof(&self) -> &[u8] {
        &self.proof
    }

    /// Bytes up to the end of what was given last.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The reader, wherever it stands.
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// The next piece; `None` at the end of the file. After [`Piece::Open`], [`Piece::Cut`] or
    /// [`Piece::Strange`] there is no next one.
    ///
    /// # Errors
    ///
    /// Reading fails.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let mut magic = [0; 4];
        match self.read(&mut magic)? {
            Got::Nothing => return Ok(None),
            Got::Part => return Ok(Some(Piece::Cut)),
            Got::All => {}
        }
        if magic == DATA {
            return self.data().map(Some);
        }
        let [first, rest @ ..] = magic;
        if first >> 4 != 5 || rest != SKIPPABLE {
            return Ok(Some(Piece::Strange));
        }
        let mut len = [0; 4];
        let Got::All = self.read(&mut len)? else {
            return Ok(Some(Piece::Cut));
        };
        let len = u32::from_le_bytes(len);
        if magic == MAGIC && len == PAYLOAD as u32 {
            let mut payload = [0; PAYLOAD];
            let Got::All = self.read(&mut payload)? else {
                return Ok(Some(Piece::Cut));
            };
            return Ok(Some(
                Seal::decode(&payload).map_or(Piece::Strange, Piece::Seal),
            ));
        }
        if magic == OUT_MAGIC && len == OUT_PAYLOAD as u32 {
            let mut payload = [0; OUT_PAYLOAD];
            let Got::All = self.read(&mut payload)? else {
                return Ok(Some(Piece::Cut));
            };
            return Ok(Some(
                Withheld::decode(&payload).map_or(Piece::Strange, Piece::Withheld),
            ));
        }
        if magic == PROOF_MAGIC && len <= PROOF_MAX {
            let mut proof = vec![0; len as usize];
            let Got::All = self.read(&mut proof)? else {
                return Ok(Some(Piece::Cut));
            };
            self.proof = proof;
            return Ok(Some(Piece::Proof));
        }
        let whole = self.pass(len as usize, None)?;
        Ok(Some(if whole { Piece::Skippable } else { Piece::Cut }))
    }

    /// A data frame behind its magic number.
    fn data(&mut self) -> io::Result<Piece> {
        let mut hash = Hash::context(&DATA);
        let mut descriptor = [0];
        let Got::All = self.read(&mut descriptor)? else {
            return Ok(Piece::Cut);
        };
        hash.update(&descriptor);
        let [descriptor] = descriptor;
        let single = descriptor >> 5 & 1;
        let size = match descriptor >> 6 {
            0 => single,
            more => 1 << more,
        };
        let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied();
        let head = usize::from(1 - single) + dictionary.unwrap_or(0) + usize::from(size);
        if descriptor & 8 != 0 {
            return Ok(Piece::Strange);
        }
        if !self.pass(head, Some(&mut hash))? {
            return Ok(Piece::Cut);
        }
        loop {
            let mut block = [0; 3];
            match self.read(&mut block)? {
                Got::All => hash.update(&block),
                Got::Nothing => return Ok(Piece::Open),
                Got::Part => return Ok(Piece::Cut),
            }
            let [a, b, c] = block;
            let block = u32::from_le_bytes([a, b, c, 0]);
            let length = match block >> 1 & 3 {
                1 => 1,
                3 => return Ok(Piece::Strange),
                _ => block >> 3,
            };
            if !self.pass(length as usize, Some(&mut hash))? {
                return Ok(Piece::Cut);
            }
            if block & 1 == 1 {
                break;
            }
        }
        let checksum = usize::from(descriptor >> 2 & 1) * 4;
        if !self.pass(checksum, Some(&mut hash))? {
            return Ok(Piece::Cut);
        }
        Ok(Piece::Data(Hash::finish(hash)))
    }

    /// Passes over `len` bytes; false where the file ends before.
    fn pass(&mut self, len: usize, mut hash: Option<&mut digest::Context>) -> io::Result<bool> {
        let mut left = len;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(STEP, 0);
        while left > 0 {
            let step = buffer.get_mut(..left.min(STEP)).unwrap_or_default();
            let Got::All = self.read(step)? else {
                return Ok(false);
            };
            if let Some(hash) = &mut hash {
                hash.update(step);
            }
            left -= step.len();
        }
        self.buffer = buffer;
        Ok(true)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<Got> {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.reader.read(room) {
                Ok(0) if filled == 0 => return Ok(Got::Nothing),
                Ok(0) => return Ok(Got::Part),
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Got::All)
    }
}

/// The magic number of our skippable frames, and of data frames.
pub(crate) const MAGIC: [u8; 4] = [0x5c, 0x2a, 0x4d, 0x18];
/// The magic number of a skippable frame that carries a [proof](crate::log::Proof).
pub const PROOF_MAGIC: [u8; 4] = [0x5d, 0x2a, 0x4d, 0x18];
/// The magic number of a skippable frame that stands for one that was withheld.
pub(crate) const OUT_MAGIC: [u8; 4] = [0x5e, 0x2a, 0x4d, 0x18];
/// No proof is longer.
pub const PROOF_MAX: u32 = 16 * 1024 * 1024;
const DATA: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// All but the first byte of a skippable frame's.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const TAG: [u8; 4] = *b"rec1";
const BOUND: usize = 4 + 26 + 4 + 4 + 4 + 8 + 8 + 8 + 32;
pub(crate) const PAYLOAD: usize = BOUND + 32;
const OUT_TAG: [u8; 4] = *b"out1";
pub(crate) const OUT_PAYLOAD: usize = 4 + 26 + 4 + 8 + 32;
const DOMAIN: &[u8] = b"bastion recording v1\n";
/// Bytes that are hashed at once.
const STEP: usize = 64 * 1024;
