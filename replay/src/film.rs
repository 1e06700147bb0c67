//! A recording made ready for a page: what the screen showed, frame by frame, as text and
//! colours. The emulator's work is done here; a page only puts text into elements.
//!
//! It is cut in parts of some 256 KiB of output, each of which begins with the whole screen, so
//! that a page can jump without the parts before.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use crate::emulator::{Color, Emulator, Style, Watch};
use crate::player::Player;
use crate::svg::{css, runs};
use crate::timeline::What;

/// What there is to know before the first part is shown.
#[derive(Serialize)]
pub(crate) struct Film {
    /// Who and where, or the title.
    title: String,
    /// Unix time in milliseconds at which it began.
    started: Option<i64>,
    /// Milliseconds.
    duration: u64,
    exit: Option<i32>,
    /// The limit of pauses that the recording names, in milliseconds.
    idle: Option<u64>,
    /// Whether the recording has no end.
    unfinished: bool,
    chapters: Vec<(u64, String)>,
    /// When each part begins, in milliseconds.
    parts: Vec<u64>,
}

/// A part: rows by number, and which of them each frame shows.
#[derive(Serialize)]
pub(crate) struct Part {
    rows: Vec<Value>,
    frames: Vec<Frame>,
}

/// Time in milliseconds, columns, rows, the cursor (column and row, or -1), and pairs of a row's
/// place and the number of what stands there now.
#[derive(Serialize)]
struct Frame(u64, u16, u16, i32, i32, Vec<(usize, usize)>);

/// Frames are at least so many microseconds apart.
const FRAME: u64 = 33_000;

/// A run of text as a page takes it: text, columns, foreground, background, looks.
#[derive(Serialize)]
struct RunEntry(String, u32, Option<String>, Option<String>, u8);

impl Film {
    pub(crate) fn title(&self) -> &str {
        &self.title
    }
}

impl Player {
    /// What a page has to know of the recording, which has to be read to its end.
    pub(crate) fn film(&self) -> Film {
        let about = &self.about;
        let heading = about.heading().unwrap_or_default();
        let chapters = self.timeline.chapters().iter();
        let idle = self
            .header
            .as_ref()
            .and_then(|header| header.idle_time_limit);
        Film {
            title: crate::safe::short(&heading, 200),
            started: about.started.map(|started| started.as_millisecond()),
            duration: self.timeline.duration() / 1000,
            exit: self.timeline.exit(),
            idle: idle.map(|idle| crate::moment::micros(idle) / 1000),
            unfinished: self.is_of_a_bastion() && !self.has_end(),
            chapters: chapters
                .map(|chapter| {
                    let label = chapter.label.as_deref().unwrap_or("a command runs");
                    (chapter.time / 1000, crate::safe::short(label, 200))
                })
                .collect(),
            parts: self.timeline.starts().map(|start| start / 1000).collect(),
        }
    }

    /// A part of the film.
    pub(crate) fn part(&mut self, number: usize) -> Option<Part> {
        let (from, to) = self.timeline.part(number)?;
        let header = self.header.as_ref();
        let stage = &mut self.stage;
        stage.approach(from, &self.timeline, header);
        let mut work = u64::MAX;
        while stage.at < from {
            stage.step(&self.timeline, &mut work);
        }
        let mut shot = Shot::default();
        let mut watch = Watch::default();
        let mut last = self
            .timeline
            .get(from, &mut stage.cache)
            .map_or(0, |moment| moment.time);
        // A part begins with what was there before its first output.
        let begins = if number == 0 { 0 } else { last };
        shot.take(begins, &stage.emulator, None);
        let mut dirty: Option<Vec<usize>> = Some(Vec::new());
        let mut shown = last;
        while stage.at < to {
            let Some(moment) = self.timeline.get(stage.at, &mut stage.cache) else {
                break;
            };
            if moment.time >= shown + FRAME && dirty.as_ref().is_none_or(|dirty| !dirty.is_empty())
            {
                shot.take(last, &stage.emulator, dirty.as_deref());
                dirty = Some(Vec::new());
                shown = moment.time;
            }
            last = moment.time;
            match &moment.what {
                What::Output(text) => {
                    let change = stage.emulator.feed_watched(text, &mut watch);
                    if let Some(dirty) = &mut dirty {
                        dirty.extend(change.rows);
                        dirty.sort_unstable();
                        dirty.dedup();
                    }
                }
                What::Resize(cols, rows) => {
                    stage.emulator.resize(*cols, *rows);
                    dirty = None;
                }
                What::Marker(_) | What::Exit(_) => {}
            }
            stage.at += 1;
        }
        stage.emulator.take_cost();
        shot.take(last, &stage.emulator, dirty.as_deref());
        Some(Part {
            rows: shot.rows,
            frames: shot.frames,
        })
    }
}

/// Takes frames.
#[derive(Default)]
struct Shot {
    rows: Vec<Value>,
    known: HashMap<String, usize>,
    frames: Vec<Frame>,
}

impl Shot {
    /// The rows that are given, or all of them.
    fn take(&mut self, time: u64, emulator: &Emulator, dirty: Option<&[usize]>) {
        let (cols, rows) = emulator.size();
        let mut changed = Vec::new();
        for (place, cells) in emulator.rows().enumerate() {
            if dirty.is_some_and(|dirty| dirty.binary_search(&place).is_err()) {
                continue;
            }
            let cells: Vec<_> = cells.collect();
            let entries = runs(&cells).into_iter().map(|run| {
                let style = run.style;
                let colour = |color: Option<Color>, bold| color.map(|color| css(color, bold));
                RunEntry(
                    run.text,
                    run.width,
                    colour(style.foreground, style.bold),
                    colour(style.background, false),
                    looks(style),
                )
            });
            // Runs stand one after another: the row is filled from its beginning to its end.
            let row = serde_json::to_value(entries.collect::<Vec<_>>()).unwrap_or_default();
            let number = *self.known.entry(row.to_string()).or_insert_with(|| {
                self.rows.push(row);
                self.rows.len() - 1
            });
            changed.push((place, number));
        }
        let (col, row) = match emulator.cursor() {
            Some((col, row)) => (i32::from(col.min(cols.saturating_sub(1))), i32::from(row)),
            None => (-1, -1),
        };
        self.frames
            .push(Frame(time / 1000, cols, rows, col, row, changed));
    }
}

/// Bits: bold, faint, italic, underline, struck through, inverse.
fn looks(style: Style) -> u8 {
    let bits = [
        style.bold,
        style.faint,
        style.italic,
        style.underline,
        style.strikethrough,
        style.inverse,
    ];
    let bits = bits.into_iter().enumerate();
    bits.map(|(place, on)| u8::from(on) << place).sum()
}
