//! Whether a recording is what was written: its seals, held against what a log knows of it.
//!
//! [`Walk`] reads a file without unpacking it and follows its seals. [`judge`] compares that
//! with what is [`Known`] from elsewhere. Nothing here opens a file.

use std::fmt;
use std::io::{self, Read};

use aws_lc_rs::digest;
use serde::Serialize;

use crate::log::Torn;
use crate::redact;
use crate::seal::{Chain, Frames, Hash, Id, Piece, Seal, Withheld};
use crate::write::{Head, Open};

/// What the seals of a file come to.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The session that the seals name; none for a file without seals.
    pub session: Option<Id>,
    /// After each sealed frame: the head, and the bytes of the file up to there.
    pub frames: Vec<(Hash, u64)>,
    /// The frames that are withheld, in order, and what stands for each.
    pub withheld: Vec<(u32, Hash)>,
    /// After each sealed frame, the bytes up to there as they were written: where frames are
    /// withheld, the file has others.
    written: Vec<u64>,
    /// Wall clock of the last seal, in milliseconds since 1970.
    pub wall_ms: Option<u64>,
    /// Bytes of the file.
    pub bytes: u64,
    /// What stands behind the last good seal.
    pub tail: Tail,
    /// The proof that comes with the file, as JSON. [`Self::bytes`] is then without it.
    pub proof: Option<Vec<u8>>,
    /// The SHA-256 of the beginning of the tail that was asked for, where there is so much.
    opening: Option<Hash>,
}

/// What stands behind the last good seal of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Nothing,
    /// A frame that goes on: as the writer leaves it after each flush.
    Open,
    /// The beginning of a frame or a seal.
    Cut,
    /// Something that no writer leaves there; the words say what.
    Wrong(&'static str),
}

impl Walk {
    /// Reads a file to its end. Give it something buffered.
    ///
    /// # Errors
    ///
    /// Reading fails. Damage is no error.
    pub fn of(reader: impl Read) -> io::Result<Self> {
        Self::with_opening(reader, None)
    }

    /// As [`Self::of`], for a file of which `known` is in a log: the bytes that the log knows
    /// of behind the last seal of that time are hashed, too.
    ///
    /// # Errors
    ///
    /// As [`Self::of`].
    pub fn with_opening(reader: impl Read, known: Option<&Head>) -> io::Result<Self> {
        let opening = known.and_then(|head| Some((head.bytes, head.open?.bytes)));
        let mut frames = Frames::new(Counted::new(reader, opening));
        let mut walk = Self {
            session: None,
            frames: Vec::new(),
            withheld: Vec::new(),
            written: Vec::new(),
            wall_ms: None,
            bytes: 0,
            tail: Tail::Nothing,
            proof: None,
            opening: None,
        };
        walk.follow(&mut frames)?;
        let mut rest = frames.into_inner();
        let all = rest.read_rest()?;
        walk.bytes = if walk.proof.is_some() {
            walk.sealed()
        } else {
            all
        };
        walk.opening = rest.opening();
        Ok(walk)
    }

    fn follow<R: Read>(&mut self, frames: &mut Frames<R>) -> io::Result<()> {
        let mut chain: Option<Chain> = None;
        let mut waiting = None;
        // What says that a frame is withheld, until what stands for it has come.
        let mut out: Option<Withheld> = None;
        let mut stands_for = None;
        loop {
            let before = frames.offset();
            let piece = frames.next_piece()?;
            let Some(piece) = piece else {
                if waiting.is_some() || out.is_some() {
                    self.tail = Tail::Cut;
                }
                return Ok(());
            };
            if out.is_some() && !matches!(piece, Piece::Data(_) | Piece::Open | Piece::Cut) {
                self.tail = Tail::Wrong("nothing stands for a frame that is withheld");
                return Ok(());
            }
            match piece {
                Piece::Data(hash) if waiting.is_none() => {
                    let bytes = frames.offset() - before;
                    waiting = Some(match out.take() {
                        Some(withheld) => {
                            stands_for = Some((withheld, redact::place_of(&withheld, hash)));
                            (withheld.frame, withheld.bytes)
                        }
                        None => (hash, bytes),
                    });
                }
                Piece::Withheld(withheld) if waiting.is_none() => out = Some(withheld),
                Piece::Withheld(_) => {
                    self.tail = Tail::Wrong("a frame has no seal");
                    return Ok(());
                }
                Piece::Data(_) => {
                    self.tail = Tail::Wrong("a frame has no seal");
                    return Ok(());
                }
                Piece::Seal(seal) => {
                    let Some((frame, bytes)) = waiting.take() else {
                        self.tail = Tail::Wrong("a seal has no frame");
                        return Ok(());
                    };
                    let chain = chain.get_or_insert_with(|| Chain::new(seal.session));
                    if let Err(what) = chain.take(&seal, frame) {
                        self.tail = Tail::Wrong(what);
                        return Ok(());
                    }
                    if let Some((withheld, place)) = stands_for.take() {
                        if withheld.session != seal.session || withheld.number != seal.number {
                            self.tail = Tail::Wrong("another frame is withheld than its seal's");
                            return Ok(());
                        }
                        self.withheld.push((seal.number, place));
                    }
                    let seals = Seal::BYTES as u64;
                    let written = self.written.last().copied().unwrap_or(0);
                    self.written
                        .push(written.saturating_add(bytes).saturating_add(seals));
                    self.session = Some(seal.session);
                    self.wall_ms = Some(seal.measures.wall_ms);
                    self.frames.push((seal.head, frames.offset()));
                }
                Piece::Proof if waiting.is_none() => {
                    let proof = frames.proof().to_vec();
                    if frames.next_piece()?.is_some() {
                        self.tail = Tail::Wrong("something follows the proof");
                    } else {
                        self.proof = Some(proof);
                    }
                    return Ok(());
                }
                Piece::Proof | Piece::Skippable => {
                    self.tail = Tail::Wrong("a frame that no recorder writes");
                    return Ok(());
                }
                Piece::Strange => {
                    self.tail = Tail::Wrong("no frame begins here, or it is broken");
                    return Ok(());
                }
                Piece::Open if waiting.is_none() && out.is_none() => {
                    self.tail = Tail::Open;
                    return Ok(());
                }
                Piece::Open | Piece::Cut => {
                    self.tail = Tail::Cut;
                    return Ok(());
                }
            }
        }
    }

    /// Bytes up to the end of the last good seal.
    pub fn sealed(&self) -> u64 {
        self.frames.last().map_or(0, |(_, end)| *end)
    }

    /// Whether this frame is withheld.
    pub fn is_withheld(&self, frame: u32) -> bool {
        self.withheld
            .binary_search_by_key(&frame, |(number, _)| *number)
            .is_ok()
    }

    /// A head that was logged, with the bytes that this file has up to there: fewer or more where
    /// frames before are withheld. For [`Self::with_opening`]; what was open of a frame that is
    /// withheld is not asked for.
    pub fn moved(&self, known: &Head) -> Head {
        let before = known.frames.checked_sub(1).map(|frame| frame as usize);
        let place = before.and_then(|frame| self.frames.get(frame));
        Head {
            bytes: place.map_or(known.bytes, |(_, end)| *end),
            open: known.open.filter(|_| !self.is_withheld(known.frames)),
            ..*known
        }
    }

    /// What the log has to say of the frames that are withheld; none where none is.
    pub fn state(&self) -> Option<Hash> {
        let session = self.session.as_ref().filter(|_| !self.withheld.is_empty());
        Some(redact::state(session?, &self.withheld))
    }

    /// Bytes of the file as it was written, before anything of it was withheld.
    pub fn written(&self) -> u64 {
        let sealed = self.written.last().copied().unwrap_or(0);
        sealed.saturating_add(self.bytes.saturating_sub(self.sealed()))
    }

    /// Whether the file has this head where the log says, with what it knows of behind it.
    fn agrees(&self, known: &Head) -> Result<(), Level> {
        let frame = known.frames.saturating_sub(1);
        let written = self.written.get(frame as usize);
        match self.frames.get(frame as usize) {
            Some((head, _)) if *head == known.head && written == Some(&known.bytes) => {}
            // Good seals and a wrong head: written anew, from whichever frame on.
            Some(_) => return Err(self.altered(0, "not the frames that were logged")),
            None if matches!(self.tail, Tail::Wrong(_)) => return Err(self.wrong_tail()),
            None => {
                return Err(Level::Truncated {
                    frames: self.count(),
                    logged: known.frames,
                });
            }
        }
        match (&known.open, &self.opening) {
            (None, _) => Ok(()),
            _ if self.is_withheld(known.frames) => Ok(()),
            (Some(Open { sha256, .. }), Some(found)) if found == sha256 => Ok(()),
            (Some(_), Some(_)) => Err(self.altered(known.frames, "not the bytes that were logged")),
            (Some(_), None) => Err(Level::Truncated {
                frames: self.count(),
                logged: known.frames,
            }),
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    fn wrong_tail(&self) -> Level {
        let what = match self.tail {
            Tail::Wrong(what) => what,
            Tail::Nothing | Tail::Open | Tail::Cut => "bytes follow the end",
        };
        self.altered(self.count(), what)
    }

    fn altered(&self, frame: u32, what: &'static str) -> Level {
        let offset = match frame.checked_sub(1) {
            Some(before) => self.frames.get(before as usize).map_or(0, |(_, end)| *end),
            None => 0,
        };
        Level::Altered {
            frame,
            offset,
            what,
        }
    }
}

/// What a log knows of a recording.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The seal of its first frame, from the `start` leaf.
    pub start: Option<Hash>,
    /// The last head that was logged while it was live.
    pub last: Option<Head>,
    /// The head at its end.
    pub end: Option<Head>,
    /// Where its recorder died and another one ended the file: what this one found behind the
    /// last seal, and wrote anew.
    pub torn: Option<Torn>,
    /// What was withheld of it, in order: each time the [state](redact::state) of the file.
    pub redacted: Vec<Hash>,
}

impl Known {
    /// Holds what a recovery kept of a torn frame against what was logged of it: by the recovery
    /// itself, and by the recorder that died.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn take_torn(&self, kept: &[u8]) -> Result<(), Level> {
        let (Some(torn), Some(end)) = (&self.torn, &self.end) else {
            return Ok(());
        };
        let frame = end.frames.saturating_sub(1);
        let altered = |what| Level::Altered {
            frame,
            // Where it stood: behind the last seal that the recovery found.
            offset: self.last.map_or(0, |last| last.bytes),
            what,
        };
        if kept.len() as u64 != torn.bytes || Hash::of(kept) != torn.sha256 {
            return Err(altered(
                "what was kept of its torn frame is not what was found",
            ));
        }
        let last = self
            .last
            .filter(|last| end.frames == last.frames.saturating_add(1));
        let Some(open) = last.and_then(|last| last.open) else {
            return Ok(());
        };
        let begins = usize::try_from(open.bytes)
            .ok()
            .and_then(|len| kept.get(..len));
        match begins {
            Some(begins) if Hash::of(begins) == open.sha256 => Ok(()),
            Some(_) => Err(altered(
                "the torn frame that was found is not the one that was logged",
            )),
            // That it is too short, the lengths tell.
            None => Ok(()),
        }
    }

    /// Whether the frame that was open when `last` was logged was written anew, as much of it
    /// being there as was logged.
    fn rewrote(&self, last: &Head) -> Result<bool, Level> {
        let (Some(torn), Some(end), Some(open)) = (&self.torn, &self.end, &last.open) else {
            return Ok(false);
        };
        if end.frames != last.frames.saturating_add(1) {
            // It had its seal before its recorder died.
            return Ok(false);
        }
        if torn.bytes < open.bytes {
            return Err(Level::Truncated {
                frames: last.frames,
                logged: end.frames,
            });
        }
        Ok(true)
    }
}

/// What a recording is found to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "level", rename_all = "lowercase")]
pub enum Level {
    /// Everything that was written is there, and nothing else.
    Complete,
    /// The log knows no end: the session goes on. What was logged is there.
    Live,
    /// The log knows no end and the file ends within a frame: its writer died.
    Torn,
    /// Less is there than the log knows of.
    Truncated {
        /// Frames that are there.
        frames: u32,
        /// Frames that the log knows of.
        logged: u32,
    },
    /// It is not what was written.
    Altered {
        /// The first frame that is not, as far as can be told.
        frame: u32,
        /// Where in the file that frame begins.
        offset: u64,
        /// How that is known.
        what: &'static str,
    },
    /// The log knows nothing of it.
    Unknown {
        /// Why.
        what: &'static str,
    },
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Live => f.write_str("live"),
            Self::Torn => f.write_str("torn"),
            Self::Truncated { frames, logged } => {
                write!(f, "truncated: {frames} of {logged} logged frames are there")
            }
            Self::Altered {
                frame,
                offset,
                what,
            } => write!(f, "altered: frame {frame}, byte {offset}: {what}"),
            Self::Unknown { what } => write!(f, "unknown: {what}"),
        }
    }
}

/// What a file is, held against what a log knows of its session.
pub fn judge(walk: &Walk, known: &Known) -> Level {
    verdict(walk, known).unwrap_or_else(|level| level)
}

/// Whether a file that has no end yet begins with what was logged of it while it was live. What
/// stands behind that is not looked at: a crash may leave anything there.
///
/// # Errors
///
/// What it is instead.
pub fn begins_as_logged(walk: &Walk, start: Hash, last: &Head) -> Result<(), Level> {
    let logged = Some(last.frames);
    begins_with(walk, start, logged)?;
    walk.agrees(last)
}

fn begins_with(walk: &Walk, start: Hash, logged: Option<u32>) -> Result<(), Level> {
    match walk.frames.first() {
        Some((head, _)) if *head == start => Ok(()),
        Some(_) => Err(walk.altered(0, "not the first frame that was logged")),
        None if matches!(walk.tail, Tail::Wrong(_)) => Err(walk.wrong_tail()),
        None => Err(Level::Truncated {
            frames: 0,
            logged: logged.unwrap_or(1),
        }),
    }
}

fn verdict(walk: &Walk, known: &Known) -> Result<Level, Level> {
    let Some(first) = known.start else {
        let what = match walk.session {
            Some(_) => "the log does not know this session",
            None => "it has no seals",
        };
        return Err(Level::Unknown { what });
    };
    let logged = known.end.or(known.last).map(|head| head.frames);
    begins_with(walk, first, logged)?;
    if let Some(last) = &known.last {
        // A recovery need not have touched the frame: then it is still there.
        if let Err(level) = walk.agrees(last) {
            if !known.rewrote(last)? {
                return Err(level);
            }
            walk.agrees(&Head {
                open: None,
                ..*last
            })?;
        }
    }
    let withheld = |what| {
        let frame = walk.withheld.first().map_or(0, |(frame, _)| *frame);
        Err(walk.altered(frame, what))
    };
    let Some(end) = &known.end else {
        if !walk.withheld.is_empty() {
            return withheld("it is withheld, and the log knows no end of the recording");
        }
        return Ok(match walk.tail {
            Tail::Nothing | Tail::Open => Level::Live,
            Tail::Cut => Level::Torn,
            Tail::Wrong(_) => walk.wrong_tail(),
        });
    };
    walk.agrees(end)?;
    if walk.written() != end.bytes || walk.bytes != walk.sealed() {
        return Err(walk.wrong_tail());
    }
    if walk
        .state()
        .is_some_and(|state| !known.redacted.contains(&state))
    {
        return withheld(NOT_AS_LOGGED);
    }
    Ok(Level::Complete)
}

/// How a file is [altered](Level::Altered) that is right but for what is withheld of it.
pub const NOT_AS_LOGGED: &str = "what is withheld is not what the log says";

/// A reader that counts, and hashes a part of what passes.
struct Counted<R> {
    reader: R,
    at: u64,
    part: Option<(u64, u64)>,
    hash: digest::Context,
}

impl<R: Read> Counted<R> {
    fn new(reader: R, part: Option<(u64, u64)>) -> Self {
        Self {
            reader,
            at: 0,
            part: part.map(|(start, len)| (start, start.saturating_add(len))),
            hash: digest::Context::new(&digest::SHA256),
        }
    }

    fn read_rest(&mut self) -> io::Result<u64> {
        io::copy(self, &mut io::sink())?;
        Ok(self.at)
    }

    /// The hash of the part, if all of it has passed.
    fn opening(self) -> Option<Hash> {
        let (_, end) = self.part?;
        (self.at >= end).then(|| Hash::finish(self.hash))
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if let Some((start, end)) = self.part {
            let (from, to) = (self.at, self.at + read as u64);
            let from = usize::try_from(start.saturating_sub(from)).unwrap_or(read);
            let to = usize::try_from(end.min(to).saturating_sub(self.at)).unwrap_or(read);
            if let Some(inside) = buffer.get(from.min(to)..to) {
                self.hash.update(inside);
            }
        }
        self.at += read as u64;
        Ok(read)
    }
}
