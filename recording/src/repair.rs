//! Recordings whose writer died: what can be read of them, and an end for it.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

use crate::event::Stream;
use crate::raw::{Rebuild, Sums};
use crate::seal::{Chain, Hash, Id, MAGIC, OUT_MAGIC, OUT_PAYLOAD, PAYLOAD, Seal, Withheld};
use crate::sum::Total;
use crate::write::{Ending, Newlines, closing_frame};

/// What was found in a file.
#[derive(Debug)]
pub struct Survey {
    /// Bytes from the start up to the end of the last whole frame; where there are seals, of
    /// the last whole seal.
    pub whole: u64,
    /// Whether bytes follow.
    pub torn: bool,
    /// The chain of the seals up to there; none for a file without seals.
    pub chain: Option<Chain>,
    /// What is wrong with a seal: the file was changed after it was written.
    pub altered: Option<&'static str>,
    /// The header, if it can be read.
    pub header: Option<Map<String, Value>>,
    /// The data of the `E` event, if the session ended in order.
    pub ended: Option<Map<String, Value>>,
    /// The exit status, if there is one.
    pub exit: Option<i32>,
    /// The time of the last event.
    pub duration: Duration,
    /// Frames that are [withheld](crate::redact): what was printed in them is in no sum.
    pub withheld: u32,
    /// Lines of the torn frame that can be read.
    salvaged: Vec<u8>,
    newlines: Newlines,
    sums: Sums,
}

impl Survey {
    /// Reads a file of zstd frames to its end, or to where it is torn.
    ///
    /// # Errors
    ///
    /// Reading fails, or a frame is larger than any that is written here. Damage is no error.
    pub fn of(reader: impl Read) -> io::Result<Self> {
        let mut surveyor = Surveyor::new();
        surveyor.read(reader)?;
        Ok(surveyor.finish())
    }

    /// The frame that, written after [`Survey::whole`] bytes, makes the file whole: what could
    /// be read of the torn frame, and `ending`. A file with seals gets its seal with it, at
    /// `wall_ms` milliseconds since 1970, and [`Survey::chain`] goes on to it.
    ///
    /// # Errors
    ///
    /// Compression fails for want of memory.
    pub fn closing_frame(&mut self, ending: &Ending, wall_ms: u64) -> io::Result<Vec<u8>> {
        let totals = (self.total(Stream::Stdout), self.total(Stream::Stderr));
        let seals = self.chain.as_mut().map(|chain| (chain, wall_ms));
        // Only the seal may be missing: one end is enough.
        let ending = self.ended.is_none().then_some(ending);
        closing_frame(&self.salvaged, self.duration, ending, totals, seals)
    }

    /// What one stream came to.
    pub fn total(&self, stream: Stream) -> Total {
        self.sums.total(stream)
    }
}

struct Surveyor {
    whole: u64,
    read: u64,
    /// What says that the frame that follows stands for another, and how many there were.
    out: Option<Withheld>,
    withheld: u32,
    seals: Seals,
    altered: Option<&'static str>,
    header: Option<Map<String, Value>>,
    ended: Option<Map<String, Value>>,
    exit: Option<i32>,
    millis: u64,
    newlines: Newlines,
    rebuild: Rebuild,
    sums: Sums,
    /// The text behind the last whole frame.
    frame: Vec<u8>,
    /// How much of it was taken as lines.
    taken: usize,
    /// How much of it is whole: after a line that is no `B`.
    kept: usize,
}

/// Whether a file has seals is told by what follows its first frame.
enum Seals {
    Unknown,
    None,
    /// The chain so far, and the frame that waits for its seal.
    Chain(Chain, Option<Hash>),
}

impl Surveyor {
    fn new() -> Self {
        Self {
            whole: 0,
            read: 0,
            out: None,
            withheld: 0,
            seals: Seals::Unknown,
            altered: None,
            header: None,
            ended: None,
            exit: None,
            millis: 0,
            newlines: Newlines::Kept,
            rebuild: Rebuild::new(Newlines::Kept),
            sums: Sums::default(),
            frame: Vec::new(),
            taken: 0,
            kept: 0,
        }
    }

    fn read(&mut self, reader: impl Read) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(DCtx::in_size(), reader);
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(failed)?;
        // The first frame's hash, until it is known whether there are seals.
        let mut first = None;
        loop {
            let mut start = [0; 8];
            let filled = self.fill(&mut reader, &mut start)?;
            if filled < start.len() {
                return Ok(());
            }
            let [a, b, c, d, len @ ..] = start;
            if [a, b, c, d] == MAGIC && u32::from_le_bytes(len) == PAYLOAD as u32 {
                let mut payload = [0; PAYLOAD];
                if self.fill(&mut reader, &mut payload)? < PAYLOAD {
                    return Ok(());
                }
                if let Err(what) = self.seal(Seal::decode(&payload), first.take()) {
                    self.altered = Some(what);
                    self.read = u64::MAX;
                    return Ok(());
                }
                continue;
            }
            if [a, b, c, d] == OUT_MAGIC && u32::from_le_bytes(len) == OUT_PAYLOAD as u32 {
                let mut payload = [0; OUT_PAYLOAD];
                if self.fill(&mut reader, &mut payload)? < OUT_PAYLOAD {
                    return Ok(());
                }
                self.out = Withheld::decode(&payload);
                continue;
            }
            match &self.seals {
                // A second frame and no seal: there are none.
                Seals::Unknown if first.is_some() => self.seals = Seals::None,
                // The last frame's seal was not written any more; what follows was not, too.
                Seals::Chain(_, Some(_)) => {
                    self.altered = Some("a frame has no seal");
                    self.read = u64::MAX;
                    return Ok(());
                }
                Seals::Unknown | Seals::None | Seals::Chain(..) => {}
            }
            let Some(hash) = self.frame(&mut reader, &mut context, &start)? else {
                return Ok(());
            };
            let hash = match self.out.take() {
                Some(out) => {
                    self.withheld = self.withheld.saturating_add(1);
                    out.frame
                }
                None => hash,
            };
            match &mut self.seals {
                Seals::Unknown => {
                    first = Some(hash);
                    self.whole_here();
                }
                Seals::None => self.whole_here(),
                Seals::Chain(_, waiting) => *waiting = Some(hash),
            }
        }
    }

    /// Fills `into`, or as much of it as there is.
    fn fill(&mut self, reader: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
            match reader.read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.read += filled as u64;
        Ok(filled)
    }

    /// Everything read so far is whole.
    fn whole_here(&mut self) {
        self.whole = self.read;
        self.frame.clear();
        (self.taken, self.kept) = (0, 0);
    }

    fn seal(&mut self, seal: Option<Seal>, first: Option<Hash>) -> Result<(), &'static str> {
        let seal = seal.ok_or("a seal cannot be read")?;
        if let (Seals::Unknown, Some(frame)) = (&self.seals, first) {
            let session = self.session().ok_or("the header names no session")?;
            self.seals = Seals::Chain(Chain::new(session), Some(frame));
        }
        let Seals::Chain(chain, waiting) = &mut self.seals else {
            return Err("a seal stands where none should be");
        };
        let frame = waiting.take().ok_or("a seal has no frame")?;
        chain.take(&seal, frame)?;
        self.whole_here();
        Ok(())
    }

    fn session(&self) -> Option<Id> {
        let ours = self.header.as_ref()?.get("bastion")?;
        ours.get("session")?.as_str()?.as_bytes().try_into().ok()
    }

    /// Reads a frame that begins with `start`; its hash, if it is whole.
    fn frame(
        &mut self,
        reader: &mut impl BufRead,
        context: &mut DCtx<'_>,
        start: &[u8],
    ) -> io::Result<Option<Hash>> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut text = Vec::with_capacity(DCtx::out_size());
        let mut early = start;
        let mut full = false;
        loop {
            let from_start = !early.is_empty() || full;
            let given = if from_start {
                early
            } else {
                match reader.fill_buf() {
                    Ok([]) => return Ok(None),
                    Ok(given) => given,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            };
            let mut input = InBuffer::around(given);
            text.clear();
            let step = context.decompress_stream(&mut OutBuffer::around(&mut text), &mut input);
            let taken = input.pos();
            let given = given.get(..taken).unwrap_or_default();
            hash.update(given);
            if from_start {
                early = early.get(taken..).unwrap_or_default();
            } else {
                reader.consume(taken);
                self.read += taken as u64;
            }
            // There may be more text without more input.
            full = text.len() == text.capacity();
            self.add(&text)?;
            match step {
                Ok(0) if early.is_empty() => return Ok(Some(Hash::finish(hash))),
                // A frame of fewer than eight bytes is none of ours.
                Ok(0) | Err(_) => {
                    self.read = u64::MAX;
                    // A crash breaks the last frame only.
                    if self.is_sealed_later(reader)? {
                        self.altered = Some("a frame is broken, and whole ones follow");
                    }
                    return Ok(None);
                }
                Ok(_) => {}
            }
        }
    }

    /// Whether a seal of this session is in what follows.
    fn is_sealed_later(&self, reader: &mut impl Read) -> io::Result<bool> {
        let Seals::Chain(chain, _) = &self.seals else {
            return Ok(false);
        };
        let mark = Seal::mark(chain.session());
        let mut window = Vec::new();
        loop {
            let read = reader.take(SEARCH).read_to_end(&mut window)?;
            if memchr::memmem::find(&window, &mark).is_some() {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            window.drain(..window.len().saturating_sub(mark.len()));
        }
    }

    fn add(&mut self, text: &[u8]) -> io::Result<()> {
        self.frame.extend_from_slice(text);
        if self.frame.len() > LARGEST_FRAME {
            return Err(io::Error::other(
                "a frame is larger than any that is written here",
            ));
        }
        let frame = std::mem::take(&mut self.frame);
        while let Some(line) = next_line(&frame, self.taken) {
            self.taken += line.len() + 1;
            let is_side = self.line(line);
            if !is_side {
                self.kept = self.taken;
            }
        }
        self.frame = frame;
        Ok(())
    }

    /// Whether the line says something about the one that follows.
    fn line(&mut self, line: &[u8]) -> bool {
        if self.header.is_none() {
            if let Ok(header) = serde_json::from_slice::<Map<String, Value>>(line) {
                let crlf = header.get("bastion").and_then(|ours| ours.get("crlf"));
                if crlf == Some(&Value::Bool(true)) {
                    self.newlines = Newlines::Crlf;
                }
                self.rebuild = Rebuild::new(self.newlines);
                self.header = Some(header);
            }
            return false;
        }
        let Ok((interval, code, data)) =
            serde_json::from_slice::<(f64, Cow<'_, str>, Cow<'_, str>)>(line)
        else {
            return false;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float becomes the nearest number there is"
        )]
        let interval_ms = (interval * 1000.0).round() as u64;
        self.millis = self.millis.saturating_add(interval_ms);
        match &*code {
            "o" => {
                if let Ok((stream, bytes)) = self.rebuild.output(&data) {
                    self.sums.add(stream, &bytes);
                }
            }
            "x" => self.exit = data.parse().ok(),
            "E" => self.ended = serde_json::from_str(&data).ok(),
            // What is no side event, or a damaged one, says nothing.
            _ => drop(self.rebuild.side(&code, &Value::String(data.into_owned()))),
        }
        code == "B"
    }

    fn finish(mut self) -> Survey {
        self.frame.truncate(self.kept);
        Survey {
            whole: self.whole,
            torn: self.read > self.whole,
            chain: match self.seals {
                Seals::Chain(chain, _) => Some(chain),
                Seals::Unknown | Seals::None => None,
            },
            altered: self.altered,
            withheld: self.withheld,
            header: self.header,
            ended: self.ended,
            exit: self.exit,
            duration: Duration::from_millis(self.millis),
            salvaged: self.frame,
            newlines: self.newlines,
            sums: self.sums,
        }
    }
}

impl Survey {
    /// How line feeds were written.
    pub fn newlines(&self) -> Newlines {
        self.newlines
    }
}

fn next_line(text: &[u8], start: usize) -> Option<&[u8]> {
    let rest = text.get(start..)?;
    let end = rest.iter().position(|&b| b == b'\n')?;
    rest.get(..end)
}

fn failed(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// Bytes that are searched at once for a seal.
const SEARCH: u64 = 256 * 1024;
/// Frames end at 1 MiB of text, and one line more.
const LARGEST_FRAME: usize = 16 * 1024 * 1024;
/// No window is larger than a frame.
const WINDOW_LOG_MAX: u32 = 23;
