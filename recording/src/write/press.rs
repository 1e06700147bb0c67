//! The zstd side: contexts that are shared, because one is worth more memory than a session. Whole
//! frames of a [`Flood`] are compressed by an encoder of our own.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd::zstd_safe::{self, CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::flood::Flood;
use super::sealer::Tally;

/// Compression contexts that no session holds at the moment; a clone shares them.
///
/// A session takes one for the length of a frame and gives it back, so that the memory
/// (about 2 MiB each, and 700 KiB once there was a flood) grows with the sessions that print
/// at the same time, not with those that are open.
#[derive(Clone)]
pub struct Presses {
    free: Arc<Mutex<Vec<Press>>>,
    keep: usize,
}

impl Presses {
    /// An empty store that keeps at most `keep` unused contexts.
    pub fn new(keep: usize) -> Self {
        Self {
            free: Arc::default(),
            keep,
        }
    }

    pub(super) fn take(&self) -> io::Result<Press> {
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        free.map_or_else(Press::new, Ok)
    }

    pub(super) fn give_back(&self, mut press: Press) {
        press.text.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.keep {
            free.push(press);
        }
    }
}

impl fmt::Debug for Presses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presses")
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// A context with the buffers that go with it.
pub(super) struct Press {
    context: CCtx<'static>,
    /// For floods, once there was one.
    flood: Option<Box<Flood>>,
    /// The frame is one of a flood: if it is still whole at its end, and the CPU is one for
    /// that, the encoder of our own takes it.
    pub(super) floods: bool,
    /// Lines that are not compressed yet.
    pub(super) text: Vec<u8>,
    /// What was compressed last.
    pub(super) packed: Vec<u8>,
    /// The frame has begun: a part of it is compressed.
    begun: bool,
}

impl Press {
    fn new() -> io::Result<Self> {
        let context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            context,
            flood: None,
            floods: false,
            text: Vec::new(),
            packed: Vec::with_capacity(CCtx::out_size()),
            begun: false,
        })
    }

    /// Sets what the next frame is compressed with.
    pub(super) fn open(&mut self, level: i32, window_log: u32) -> io::Result<()> {
        self.context
            .reset(ResetDirective::SessionAndParameters)
            .map_err(failed)?;
        let usual = [
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(window_log),
            CParameter::ChecksumFlag(true),
        ];
        // A table of half the first-level cache and no short matches: a tenth less work than the
        // level's own choice, for files a thirtieth longer.
        let fast = [CParameter::HashLog(12), CParameter::MinMatch(7)];
        let fast = fast.into_iter().filter(|_| level < 0);
        for parameter in usual.into_iter().chain(fast) {
            self.context.set_parameter(parameter).map_err(failed)?;
        }
        self.begun = false;
        self.floods = false;
        Ok(())
    }

    /// Compresses the text, and ends the block so that it can be read back from `out`.
    pub(super) fn flush(
        &mut self,
        out: &mut impl Write,
        hash: Option<&mut Tally>,
    ) -> io::Result<u64> {
        let written = self.squeeze(out, hash, Directive::ZSTD_e_flush)?;
        out.write_all(&self.packed)?;
        Ok(written + self.packed.len() as u64)
    }

    /// Compresses the text and ends the frame, whose last bytes stay in `packed` for the caller.
    /// Gives the number of bytes that were written before these.
    pub(super) fn end(
        &mut self,
        out: &mut impl Write,
        mut hash: Option<&mut Tally>,
    ) -> io::Result<u64> {
        if self.begun {
            return self.squeeze(out, hash, Directive::ZSTD_e_end);
        }
        // The frame is all here: nothing has to be copied into a window first.
        self.packed.clear();
        if self.floods && Flood::is_fast() && self.text.len() <= LONGEST_WHOLE {
            let flood = self.flood.get_or_insert_default();
            flood.compress(&self.text, &mut self.packed);
        } else {
            self.packed
                .reserve(zstd_safe::compress_bound(self.text.len()));
            self.context
                .compress2(&mut self.packed, &self.text)
                .map_err(failed)?;
        }
        if let Some(hash) = &mut hash {
            hash.update(&self.packed);
        }
        self.text.clear();
        Ok(0)
    }

    /// Gives the number of bytes written; the last ones stay in `packed`. All go into `hash`, too.
    fn squeeze(
        &mut self,
        out: &mut impl Write,
        mut hash: Option<&mut Tally>,
        directive: Directive,
    ) -> io::Result<u64> {
        let Self {
            context,
            text,
            packed,
            begun,
            ..
        } = self;
        *begun = true;
        let mut input = InBuffer::around(text);
        let mut written = 0;
        loop {
            packed.clear();
            let left = context
                .compress_stream2(&mut OutBuffer::around(packed), &mut input, directive)
                .map_err(failed)?;
            if let Some(hash) = &mut hash {
                hash.update(packed);
            }
            if left == 0 {
                break;
            }
            out.write_all(packed)?;
            written += packed.len() as u64;
        }
        text.clear();
        Ok(written)
    }
}

/// No frame of ours needs a longer window than one of zstd's.
const LONGEST_WHOLE: usize = 1 << super::WINDOW_LOG;

fn failed(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}
