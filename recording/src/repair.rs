//! Recordings whose writer died: what can be read of them, and an end for it.

use std::borrow::Cow;
use std::io::{self, Read};
use std::time::Duration;

use serde_json::{Map, Value};
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

use crate::event::Stream;
use crate::raw::{Rebuild, Sums};
use crate::write::{Ending, Newlines, StreamTotal, closing_frame};

/// What was found in a file.
#[derive(Debug)]
pub struct Survey {
    /// Bytes from the start up to the end of the last whole frame.
    pub whole: u64,
    /// Whether bytes follow that are no whole frame.
    pub torn: bool,
    /// The header, if it can be read.
    pub header: Option<Map<String, Value>>,
    /// The data of the `E` event, if the session ended in order.
    pub ended: Option<Map<String, Value>>,
    /// The exit status, if there is one.
    pub exit: Option<i32>,
    /// The time of the last event.
    pub duration: Duration,
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
    /// be read of the torn frame, and `ending`.
    ///
    /// # Errors
    ///
    /// Compression fails for want of memory.
    pub fn closing_frame(&self, ending: &Ending) -> io::Result<Vec<u8>> {
        let totals = (self.total(Stream::Stdout), self.total(Stream::Stderr));
        closing_frame(&self.salvaged, self.duration, ending, totals)
    }

    /// What one stream came to.
    pub fn total(&self, stream: Stream) -> StreamTotal {
        self.sums.total(stream)
    }
}

struct Surveyor {
    whole: u64,
    read: u64,
    header: Option<Map<String, Value>>,
    ended: Option<Map<String, Value>>,
    exit: Option<i32>,
    millis: u64,
    newlines: Newlines,
    rebuild: Rebuild,
    sums: Sums,
    /// The text of the frame that is being read.
    frame: Vec<u8>,
    /// How much of it was taken as lines.
    taken: usize,
    /// How much of it is whole: after a line that is no `B`.
    kept: usize,
}

impl Surveyor {
    fn new() -> Self {
        Self {
            whole: 0,
            read: 0,
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

    fn read(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(failed)?;
        let mut packed = vec![0; DCtx::in_size()];
        let mut text = Vec::with_capacity(DCtx::out_size());
        loop {
            let len = match reader.read(&mut packed) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let before = self.read;
            self.read += len as u64;
            let mut input = InBuffer::around(packed.get(..len).unwrap_or_default());
            loop {
                text.clear();
                let step = context.decompress_stream(&mut OutBuffer::around(&mut text), &mut input);
                self.add(&text)?;
                match step {
                    Ok(0) => {
                        self.whole = before + input.pos() as u64;
                        self.frame.clear();
                        (self.taken, self.kept) = (0, 0);
                    }
                    Ok(_) => {}
                    // Damaged from here on.
                    Err(_) => {
                        self.read = u64::MAX;
                        return Ok(());
                    }
                }
                if input.pos() == len && text.len() < text.capacity() {
                    break;
                }
            }
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

/// Frames end at 1 MiB of text, and one line more.
const LARGEST_FRAME: usize = 16 * 1024 * 1024;
/// No window is larger than a frame.
const WINDOW_LOG_MAX: u32 = 23;
