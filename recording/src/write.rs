//! Writing recordings: asciicast v3 lines in zstd frames.
//!
//! [`Writer`] takes what happens in a session, with its time, and writes a file that can be
//! read at any moment up to the last flush. It reads no clock: the caller says what time it
//! is, and asks [`Writer::due`] when [`Writer::tick`] has something to do.

mod escape;
mod flood;
mod lines;
mod press;
mod sealer;

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

pub use self::escape::Newlines;
pub use self::flood::Flood;
use self::lines::Lines;
use self::press::Press;
pub use self::press::Presses;
pub use self::sealer::{Head, Open, Sealing};
use self::sealer::{Measure, Sealer};
use crate::event::{Header, Stream};
use crate::seal::Chain;
use crate::sum::Total;

/// How a recording is cut and compressed. The defaults are the product's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// zstd level of sessions at human speed.
    pub level: i32,
    /// zstd level of a frame whose forerunner was full within [`Settings::bulk_within`].
    pub bulk_level: i32,
    /// A frame that is full within this was bulk output.
    pub bulk_within: Duration,
    /// zstd level of a frame whose forerunner was full within [`Settings::flood_within`], where it
    /// has to be written before it is full. Full ones are compressed by [`Flood`], where
    /// that is fast.
    pub flood_level: i32,
    /// A frame that is full within this was output that waits for us, not for its command.
    pub flood_within: Duration,
    /// A frame ends at this much text, in bytes.
    pub frame_text: usize,
    /// A frame of a flood ends at this much text already, and is compressed at once.
    pub flood_text: usize,
    /// A frame ends at this age.
    pub frame_age: Duration,
    /// A frame ends when nothing has come for this long, and its memory is given back.
    pub frame_idle: Duration,
    /// Text of this many bytes is compressed and written at once.
    pub flush_text: usize,
    /// Whatever came is compressed and written after this.
    pub flush_after: Duration,
    /// Output of one stream within this becomes one event.
    pub coalesce: Duration,
    /// No event's line is longer than this, in bytes, by more than its time and code.
    pub event_text: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: 3,
            bulk_level: 1,
            bulk_within: Duration::from_secs(2),
            flood_level: -5,
            flood_within: Duration::from_millis(50),
            frame_text: 1024 * 1024,
            flood_text: 256 * 1024,
            frame_age: Duration::from_secs(600),
            frame_idle: Duration::from_secs(5),
            flush_text: 64 * 1024,
            flush_after: Duration::from_secs(1),
            coalesce: Duration::from_millis(8),
            event_text: 64 * 1024,
        }
    }
}

impl Settings {
    /// The pace of output that made a frame's text within `took`.
    fn pace(&self, took: Duration) -> Pace {
        if took <= self.flood_within {
            Pace::Flood
        } else if took <= self.bulk_within {
            Pace::Bulk
        } else {
            Pace::Human
        }
    }
}

/// What a session came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Standard output, or all output of a terminal.
    pub stdout: Total,
    /// Standard error.
    pub stderr: Total,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// What is sealed, which is all of it; none for a writer that does not seal.
    pub head: Option<Head>,
}

/// How a session ended.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The exit status, for an `x` event.
    pub exit: Option<i32>,
    /// A marker that stands before it and says why the session ended.
    pub marker: Option<String>,
    /// Keys beside `stdout` and `stderr` in the `E` event.
    pub account: Map<String, Value>,
}

/// Writes one session to `W`.
///
/// After an error the file ends somewhere and the writer must not be used again.
/// Dropping it without [`Writer::end`] leaves a file without an end, as a crash would.
pub struct Writer<W> {
    out: W,
    settings: Settings,
    presses: Presses,
    lines: Lines,
    frame: Option<Frame>,
    /// How fast the last frame was full: the next one will be, too.
    pace: Pace,
    /// Text of full frames of which nobody has said how fast it came, and since when.
    paced: (usize, Duration),
    /// When the first thing came that is not flushed.
    dirty_since: Option<Duration>,
    last: Duration,
    file_bytes: u64,
    sealer: Option<Sealer>,
}

/// How fast output comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Human,
    Bulk,
    Flood,
}

/// A zstd frame that has begun.
struct Frame {
    press: Press,
    opened: Duration,
    /// Text compressed into it.
    text: usize,
    /// What its seal will say, where there are seals.
    measure: Option<Measure>,
}

impl<W: Write> Writer<W> {
    /// Writes the header, in a frame of its own, and gives the writer for the rest. The file
    /// has no seals: nobody can verify it.
    pub fn new(
        out: W,
        header: &Header,
        newlines: Newlines,
        settings: Settings,
        presses: Presses,
    ) -> io::Result<Self> {
        Self::begin(out, header, newlines, settings, presses, None)
    }

    /// As [`Self::new`], with a [seal](crate::seal) after each frame.
    pub fn sealed(
        out: W,
        header: &Header,
        newlines: Newlines,
        settings: Settings,
        presses: Presses,
        sealing: Sealing,
    ) -> io::Result<Self> {
        let sealer = Some(Sealer::new(sealing));
        Self::begin(out, header, newlines, settings, presses, sealer)
    }

    fn begin(
        out: W,
        header: &Header,
        newlines: Newlines,
        settings: Settings,
        presses: Presses,
        sealer: Option<Sealer>,
    ) -> io::Result<Self> {
        let mut writer = Self {
            out,
            lines: Lines::new(newlines, settings.coalesce, settings.event_text),
            settings,
            presses,
            frame: None,
            pace: Pace::Human,
            paced: (0, Duration::ZERO),
            dirty_since: None,
            last: Duration::ZERO,
            file_bytes: 0,
            sealer,
        };
        let mut frame = writer.open_frame(Duration::ZERO, WINDOW_LOG_SMALL)?;
        let line = header_line(header, newlines);
        frame.press.text.extend_from_slice(line.as_bytes());
        writer.finish(frame, 1)?;
        Ok(writer)
    }

    /// Takes what the session printed on `stream` at the time `at` since its start.
    pub fn output(&mut self, at: Duration, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        // Long output is compressed while it is taken, so that the text stays short.
        for piece in bytes.chunks(self.settings.flush_text) {
            self.with_text(at, |lines, text| lines.output(text, at, stream, piece))?;
        }
        Ok(())
    }

    /// The terminal has `cols` columns and `rows` rows from now on.
    pub fn resize(&mut self, at: Duration, cols: u16, rows: u16) -> io::Result<()> {
        let size = format!("{cols}x{rows}");
        self.with_text(at, |lines, text| lines.event(text, at, 'r', &size))
    }

    /// A marker: players can jump to it. Its label is cut at 4 KiB.
    pub fn marker(&mut self, at: Duration, label: &str) -> io::Result<()> {
        self.with_text(at, |lines, text| write_marker(lines, text, at, label))
    }

    /// When [`Self::tick`] has something to do, if nothing else comes.
    pub fn due(&self) -> Option<Duration> {
        let frame = self.frame.as_ref().map(|frame| {
            let old = frame.opened.saturating_add(self.settings.frame_age);
            old.min(self.last.saturating_add(self.settings.frame_idle))
        });
        let flush = self
            .dirty_since
            .map(|since| since.saturating_add(self.settings.flush_after));
        [frame, flush].into_iter().flatten().min()
    }

    /// Flushes what is old enough, ends a frame that is old or idle.
    pub fn tick(&mut self, at: Duration) -> io::Result<()> {
        if self
            .dirty_since
            .is_some_and(|since| at >= since.saturating_add(self.settings.flush_after))
        {
            self.flush(at)?;
        }
        let idle = at >= self.last.saturating_add(self.settings.frame_idle);
        let old = |frame: &Frame| at >= frame.opened.saturating_add(self.settings.frame_age);
        if self.frame.as_ref().is_some_and(|frame| idle || old(frame)) {
            self.end_frame(at)?;
        }
        Ok(())
    }

    /// Makes everything that was taken readable in the file.
    pub fn flush(&mut self, at: Duration) -> io::Result<()> {
        if self.dirty_since.take().is_none() {
            return Ok(());
        }
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => self.open_frame(at, WINDOW_LOG)?,
        };
        self.lines.settle(&mut frame.press.text, at);
        frame.text += frame.press.text.len();
        self.file_bytes += frame.flush(&mut self.out, self.lines.take_ended())?;
        self.frame = Some(frame);
        Ok(())
    }

    /// Writes the end of the session and gives back what it was written to.
    pub fn end(mut self, at: Duration, ending: &Ending) -> io::Result<(W, Totals)> {
        self.with_text(at, |lines, text| lines.settle(text, at))?;
        let (stdout, stderr) = self.lines.totals();
        self.with_text(at, |lines, text| {
            write_ending(lines, text, at, ending, (&stdout, &stderr));
        })?;
        self.end_frame(at)?;
        self.out.flush()?;
        Ok((
            self.out,
            Totals {
                stdout,
                stderr,
                file_bytes: self.file_bytes,
                head: self.sealer.as_ref().map(|sealer| sealer.head(None)),
            },
        ))
    }

    /// How far the file is sealed, and what stands behind the last seal; none for a writer that
    /// does not seal.
    pub fn head(&self) -> Option<Head> {
        let measure = self.frame.as_ref().and_then(|frame| frame.measure.as_ref());
        Some(self.sealer.as_ref()?.head(measure))
    }

    /// Bytes of text that are not compressed yet: so many bytes, and those of a frame around them,
    /// may still be written for what was taken.
    pub fn waiting(&self) -> usize {
        self.frame
            .as_ref()
            .map_or(0, |frame| frame.press.text.len())
    }

    /// Bytes written to the file so far.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// What the file is written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// What the file is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    fn with_text(
        &mut self,
        at: Duration,
        write: impl FnOnce(&mut Lines, &mut Vec<u8>),
    ) -> io::Result<()> {
        let frame = match self.frame.take() {
            Some(frame) => frame,
            None => self.open_frame(at, WINDOW_LOG)?,
        };
        let frame = self.frame.insert(frame);
        write(&mut self.lines, &mut frame.press.text);
        self.last = at;
        self.dirty_since.get_or_insert(at);
        // What comes as fast as it can is soon a whole frame, which is less work at once.
        let whole = match self.pace {
            Pace::Human | Pace::Bulk => self.settings.frame_text,
            Pace::Flood => self.settings.flood_text.min(self.settings.frame_text),
        };
        let piece = match self.pace {
            Pace::Human | Pace::Bulk => self.settings.flush_text,
            Pace::Flood => whole,
        };
        if frame.press.text.len() >= piece {
            self.lines.close(&mut frame.press.text);
            frame.text += frame.press.text.len();
            if frame.text >= whole {
                let (text, opened) = (frame.text, frame.opened);
                self.keep_pace(text, opened, at);
                return self.end_frame(at);
            }
            self.file_bytes += frame.flush(&mut self.out, self.lines.take_ended())?;
            self.dirty_since = self.lines.carries().then_some(at);
        }
        Ok(())
    }

    /// A frame of so much text is full. How fast it came is judged by as much as the longest has,
    /// since a part of what waited somewhere comes at once.
    fn keep_pace(&mut self, text: usize, opened: Duration, at: Duration) {
        let (before, since) = self.paced;
        let since = if before == 0 { opened } else { since };
        self.paced = (before + text, since);
        if before + text >= self.settings.frame_text {
            self.pace = self.settings.pace(at.saturating_sub(since));
            self.paced = (0, at);
        }
    }

    fn open_frame(&self, at: Duration, window_log: u32) -> io::Result<Frame> {
        let mut press = self.presses.take()?;
        let level = match self.pace {
            Pace::Human => self.settings.level,
            Pace::Bulk => self.settings.bulk_level,
            Pace::Flood => self.settings.flood_level,
        };
        press.open(level, window_log)?;
        press.floods = self.pace == Pace::Flood;
        Ok(Frame {
            press,
            opened: at,
            text: 0,
            measure: self.sealer.as_ref().map(|_| Measure::new(at)),
        })
    }

    fn end_frame(&mut self, at: Duration) -> io::Result<()> {
        let Some(mut frame) = self.frame.take() else {
            return Ok(());
        };
        if at >= self.last.saturating_add(self.settings.frame_idle) {
            self.pace = Pace::Human;
            self.paced = (0, at);
        }
        self.lines.close(&mut frame.press.text);
        let lines = self.lines.take_ended();
        self.finish(frame, lines)?;
        self.dirty_since = self.lines.carries().then_some(at);
        Ok(())
    }

    /// Ends the frame, whose text has so many lines that were not flushed, and seals it.
    fn finish(&mut self, mut frame: Frame, lines: usize) -> io::Result<()> {
        let measure = frame.measure.as_mut();
        let hash = measure.map(|m| m.add(&frame.press.text, lines));
        let written = frame.press.end(&mut self.out, hash)?;
        // The frame's last bytes and its seal are one write.
        let last = &mut frame.press.packed;
        if let (Some(sealer), Some(measure)) = (&mut self.sealer, frame.measure.take()) {
            last.extend_from_slice(&sealer.seal(measure, self.last));
        }
        self.out.write_all(last)?;
        self.file_bytes += written + last.len() as u64;
        self.presses.give_back(frame.press);
        Ok(())
    }
}

impl Frame {
    fn flush(&mut self, out: &mut impl Write, lines: usize) -> io::Result<u64> {
        let measure = self.measure.as_mut();
        let hash = measure.map(|m| m.add(&self.press.text, lines));
        self.press.flush(out, hash)
    }
}

impl<W> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("file_bytes", &self.file_bytes)
            .finish_non_exhaustive()
    }
}

fn write_marker(lines: &mut Lines, text: &mut Vec<u8>, at: Duration, label: &str) {
    let (label, _) = label.split_at(label.floor_char_boundary(LABEL_BYTES));
    lines.event(text, at, 'm', label);
}

fn write_ending(
    lines: &mut Lines,
    text: &mut Vec<u8>,
    at: Duration,
    ending: &Ending,
    (stdout, stderr): (&Total, &Total),
) {
    if let Some(label) = &ending.marker {
        write_marker(lines, text, at, label);
    }
    if let Some(exit) = ending.exit {
        lines.event(text, at, 'x', &exit.to_string());
    }
    let mut account = ending.account.clone();
    for (stream, total) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
        account.insert(stream.name().to_owned(), json!(total));
    }
    lines.event(text, at, 'E', &Value::Object(account).to_string());
}

/// A frame of `salvaged` lines and an ending, `at` the time that the lines before add up to;
/// with its seal, where the frames before have seals.
pub(crate) fn closing_frame(
    salvaged: &[u8],
    at: Duration,
    ending: Option<&Ending>,
    totals: (Total, Total),
    seals: Option<(&mut Chain, u64)>,
) -> io::Result<Vec<u8>> {
    let settings = Settings::default();
    let mut press = Presses::new(0).take()?;
    press.open(settings.level, WINDOW_LOG)?;
    press.text.extend_from_slice(salvaged);
    // The intervals of the lines before are their own.
    let mut lines = Lines::new(Newlines::Kept, settings.coalesce, settings.event_text);
    lines.skip_to(at);
    if let Some(ending) = ending {
        let totals = (&totals.0, &totals.1);
        write_ending(&mut lines, &mut press.text, at, ending, totals);
    }
    let mut measure = Measure::new(at);
    let mut frame = Vec::new();
    let salvaged = memchr::memchr_iter(b'\n', salvaged).count();
    let hash = measure.add(&press.text, salvaged + lines.take_ended());
    press.end(&mut frame, Some(hash))?;
    frame.extend_from_slice(&press.packed);
    if let Some((chain, wall_ms)) = seals {
        let seal = measure.seal(chain, at, wall_ms);
        frame.extend_from_slice(&seal.encode());
    }
    Ok(frame)
}

/// The first line of a recording: the header as asciicast v3, with `"crlf"` in its key
/// `bastion`.
pub fn header_line(header: &Header, newlines: Newlines) -> String {
    let mut term = json!({ "cols": header.cols, "rows": header.rows });
    if let (Some(term), Some(kind)) = (term.as_object_mut(), &header.term) {
        term.insert("type".to_owned(), json!(kind));
    }
    let mut keys = Map::new();
    keys.insert("version".to_owned(), json!(3));
    keys.insert("term".to_owned(), term);
    let optional = [
        ("timestamp", header.timestamp.map(|seconds| json!(seconds))),
        (
            "idle_time_limit",
            header
                .idle_time_limit
                .map(|limit| json!(limit.as_secs_f64())),
        ),
        (
            "command",
            header.command.as_ref().map(|command| json!(command)),
        ),
        ("title", header.title.as_ref().map(|title| json!(title))),
        ("env", (!header.env.is_empty()).then(|| json!(header.env))),
        (
            "tags",
            (!header.tags.is_empty()).then(|| json!(header.tags)),
        ),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            keys.insert(key.to_owned(), value);
        }
    }
    keys.extend(header.extra.clone());
    let ours = keys.entry("bastion").or_insert_with(|| json!({}));
    if let Some(ours) = ours.as_object_mut() {
        ours.insert("crlf".to_owned(), json!(newlines == Newlines::Crlf));
    }
    let mut line = Value::Object(keys).to_string();
    line.push('\n');
    line
}

/// A marker's longest label, in bytes.
const LABEL_BYTES: usize = 4 * 1024;
/// A window of a whole frame: nothing of it is ever out of reach.
const WINDOW_LOG: u32 = 20;
const WINDOW_LOG_SMALL: u32 = 17;
