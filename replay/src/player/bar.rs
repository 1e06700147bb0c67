//! The frame: the session's screen, the bar below it, and what the viewer is asked or told.

use recording::read::Damage;

use super::{Key, Live, Player};
use crate::emulator::{COLS_MAX, Color, ROWS_MAX, Style};
use crate::moment::{Clock, Place};
use crate::paint::Frame;
use crate::safe;

/// What has the keyboard, other than the player.
pub(super) enum Prompt {
    Place(String),
    Search(String),
    Help,
    Warnings,
}

const BAR: Style = Style {
    foreground: None,
    background: None,
    bold: false,
    faint: false,
    italic: false,
    underline: false,
    strikethrough: false,
    inverse: true,
};

const BOX: Style = Style {
    foreground: Some(Color::Indexed(7)),
    background: Some(Color::Indexed(4)),
    inverse: false,
    ..BAR
};

/// Columns that the progress bar has at least.
const PROGRESS_MIN: usize = 10;

/// Columns that a message or a marker takes at most.
const TELLING_MAX: usize = 40;

/// Longest text that can be typed.
const INPUT_MAX: usize = 100;

const HELP: &[&str] = &[
    "space      play, pause; at the end: again from the start",
    "left right 5 seconds back, forward",
    "down up    1 minute back, forward (also with shift or control)",
    ", .        one output back, forward",
    "[ ]        marker or command before, after",
    "g          go to a time: 90, 1:30, 1:02:03, 50%, +10, -1m",
    "0 to 9     to so many tenths; home, end (of a live one: follow it)",
    "/ n N      search on the screen; next, the one before",
    "< > =      slower, faster, normal",
    "i          cut long pauses, or not",
    "w          what is damaged",
    "q          leave",
];

impl Player {
    /// What to send to a terminal of so many columns and rows that shows what the last call
    /// made, or nothing of ours: escape sequences of this crate and characters that are safe.
    pub fn render(&mut self, size: (u16, u16)) -> Vec<u8> {
        let cols = size.0.clamp(1, COLS_MAX);
        let rows = size.1.clamp(1, ROWS_MAX);
        let frame = self.frame(cols, rows);
        let bytes = frame.paint(self.painted.as_ref());
        self.painted = Some(frame);
        bytes
    }

    fn frame(&self, cols: u16, rows: u16) -> Frame {
        let mut frame = Frame::new(cols, rows);
        let bar = rows - 1;
        self.screen(&mut frame, cols, bar);
        match &self.prompt {
            Some(Prompt::Help) => overlay(&mut frame, bar, HELP.iter().map(|&line| line.into())),
            Some(Prompt::Warnings) => overlay(&mut frame, bar, self.damages(bar)),
            Some(Prompt::Place(_) | Prompt::Search(_)) | None => {}
        }
        self.bar(&mut frame, bar, cols);
        frame
    }

    /// The part of the session's screen that fits, with its cursor in it.
    fn screen(&self, frame: &mut Frame, cols: u16, rows: u16) {
        let emulator = &self.stage.emulator;
        let (_, own_rows) = emulator.size();
        let above = (emulator.cursor_row() + 1)
            .saturating_sub(rows)
            .min(own_rows.saturating_sub(rows));
        if self.header.is_some() {
            let visible = emulator.rows().skip(above.into());
            for (row, cells) in (0..rows).zip(visible) {
                frame.put(row, cells);
            }
        }
        if let Some((col, row)) = emulator.cursor()
            && self.prompt.is_none()
            && self.header.is_some()
        {
            let (own_cols, _) = emulator.size();
            let col = col.min(own_cols - 1);
            let row = row.saturating_sub(above);
            frame.cursor = (col < cols && row < rows).then_some((col, row));
        }
    }

    fn bar(&self, frame: &mut Frame, row: u16, cols: u16) {
        frame.fill(row, BAR);
        let asked = match &self.prompt {
            Some(Prompt::Place(text)) => Some(("go to (1:30, 50%, +10): ", text)),
            Some(Prompt::Search(text)) => Some(("search: ", text)),
            Some(Prompt::Help | Prompt::Warnings) | None => None,
        };
        if let Some((question, text)) = asked {
            let col = frame.write(row, 1, question, BAR);
            let col = frame.write(row, col, text, BAR);
            frame.cursor = (col < cols).then_some((col, row));
            return;
        }
        let left = self.left();
        let mut col = frame.write(row, 0, &left, BAR);
        let telling = self.telling().map(|text| safe::short(&text, TELLING_MAX));
        let middle = telling.as_deref().map_or(PROGRESS_MIN, safe::width);
        let right = self.right(usize::from(cols).saturating_sub(left.len() + middle + 2));
        let right_from = cols.saturating_sub(safe::width(&right) as u16);
        frame.write(row, right_from.max(col), &right, BAR);
        let width = right_from.saturating_sub(col + 1);
        if let Some(message) = telling {
            frame.write(row, col, &safe::short(&message, width.into()), BAR);
        } else if usize::from(width) >= PROGRESS_MIN {
            for (at, char) in self.progress(width.into()).into_iter().enumerate() {
                let col = col + at as u16;
                frame.write(row, col, char.encode_utf8(&mut [0; 4]), BAR);
            }
            col += width;
            frame.write(row, col, " ", BAR);
        }
    }

    fn left(&self) -> String {
        let state = match self.playing {
            _ if self.goal.is_some() || self.search.is_some() => "..",
            _ if self.is_at_end() => "[]",
            true if self.live == Live::Following => ">>",
            true => "> ",
            false => "||",
        };
        let more = match self.live {
            Live::No if self.complete => "",
            Live::No => "+",
            Live::Elsewhere | Live::Following => " live",
        };
        let total = Clock(self.timeline.duration());
        let now = Clock(self.now);
        let idle = match self.idle {
            Some(idle) => format!(" idle {}s", idle as f64 / 1e6),
            None => String::new(),
        };
        format!(" {state} {}{idle} {now} / {total}{more} ", self.speed)
    }

    /// What fits into so many columns, the most important first.
    fn right(&self, columns: usize) -> String {
        let damaged = match self.warnings.len() {
            0 => None,
            1 => Some("1 warning (w)".into()),
            count => Some(format!("{count} warnings (w)")),
        };
        let exit = self.timeline.exit().filter(|_| self.is_at_end());
        let (cols, rows) = self.stage.emulator.size();
        let parts = [
            damaged,
            self.timeline.is_full().then(|| "too large: cut".into()),
            exit.map(|status| format!("exit {status}")),
            self.about.wall_clock(self.now, &self.options.zone),
            self.about
                .heading()
                .map(|heading| safe::short(&heading, 40)),
            Some("? help".into()),
            Some(format!("{cols}x{rows}")),
        ];
        let mut right = String::new();
        for part in parts.into_iter().flatten() {
            if safe::width(&right) + safe::width(&part) + 2 <= columns {
                right.push_str(&part);
                right.push_str("  ");
            }
        }
        right.pop();
        right
    }

    /// What there is to be told now instead of the progress.
    fn telling(&self) -> Option<String> {
        if let Some(message) = &self.message {
            return Some(message.clone());
        }
        if self.is_no_recording() {
            return Some("this is not a recording".into());
        }
        if let Some(search) = &self.search {
            let part = 100 * search.progress() / self.timeline.len().max(1);
            return Some(format!("searching, {part} %"));
        }
        let chapters = self.timeline.chapters();
        let here = chapters.partition_point(|chapter| chapter.time <= self.now);
        let chapter = chapters.get(here.checked_sub(1)?)?;
        let recent = self.now - chapter.time < CHAPTER_SHOWN || self.now == chapter.time;
        let told = match chapter.label.as_deref() {
            Some("") => return None,
            Some(label) => format!("marker: {label}"),
            None => "a command runs".into(),
        };
        recent.then_some(told)
    }

    fn progress(&self, width: usize) -> Vec<char> {
        let duration = self.timeline.duration().max(1);
        let place = |time: u64| {
            let place = u128::from(time) * (width as u128 - 1) / u128::from(duration);
            usize::try_from(place).unwrap_or(width)
        };
        let here = place(self.now.min(duration));
        let mut bar = vec!['-'; width];
        bar.get_mut(..=here).unwrap_or_default().fill('=');
        for chapter in self.timeline.chapters() {
            if let Some(char) = bar.get_mut(place(chapter.time)) {
                *char = '|';
            }
        }
        if let Some(char) = bar.get_mut(here) {
            *char = 'O';
        }
        bar
    }

    fn damages(&self, rows: u16) -> Vec<String> {
        let most = usize::from(rows).saturating_sub(4).max(1);
        let mut lines: Vec<String> = self
            .warnings
            .iter()
            .take(most)
            .map(ToString::to_string)
            .collect();
        if self.warnings.len() > most {
            lines.push(format!("and {} more", self.warnings.len() - most));
        }
        let cut = |warning: &recording::read::Warning| warning.damage == Damage::Unfinished;
        if lines.is_empty() {
            lines.push("nothing is damaged, as far as it was read".into());
        } else if self.warnings.iter().all(cut) {
            lines.push("what was recorded is whole".into());
        }
        let failures = self.stage.emulator.failures();
        if failures > 0 {
            lines.push(format!(
                "the emulator failed {failures} times; its screen was cleared"
            ));
        }
        lines
    }

    /// Whether a key was for what is asked or told.
    pub(super) fn on_prompt_key(&mut self, key: Key) -> bool {
        let text = match &mut self.prompt {
            None => return false,
            Some(Prompt::Help | Prompt::Warnings) => {
                self.prompt = None;
                // Leaving works from everywhere; any other key takes the box away.
                return !matches!(key, Key::Char('q') | Key::Control('c' | 'd'));
            }
            Some(Prompt::Place(text) | Prompt::Search(text)) => text,
        };
        match key {
            Key::Char(char) if text.len() < INPUT_MAX => text.push(char),
            Key::Backspace if text.pop().is_some() => {}
            Key::Control('u') => text.clear(),
            Key::Enter => self.answer(),
            Key::Escape | Key::Backspace | Key::Control('c' | 'd') => self.prompt = None,
            _ => {}
        }
        true
    }

    fn answer(&mut self) {
        match self.prompt.take() {
            Some(Prompt::Place(text)) if text.trim().is_empty() => {}
            Some(Prompt::Place(text)) => match text.parse::<Place>() {
                Ok(place) => self.go_to(place),
                Err(error) => self.message = Some(error.to_string()),
            },
            Some(Prompt::Search(text)) => self.search(&text),
            Some(Prompt::Help | Prompt::Warnings) | None => {}
        }
    }
}

/// How long a chapter that was passed is named, in microseconds of the recording.
const CHAPTER_SHOWN: u64 = 3_000_000;

/// A box of lines in the middle of what is above the bar.
fn overlay(frame: &mut Frame, rows: u16, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().collect();
    let (cols, _) = frame.size();
    let width = lines
        .iter()
        .map(|line| safe::width(line))
        .max()
        .unwrap_or(0)
        + 2;
    let width = width.min(cols.into());
    let left = (cols - width as u16) / 2;
    let height = u16::try_from(lines.len()).unwrap_or(rows).min(rows);
    let top = (rows - height) / 2;
    for (row, line) in (top..rows).zip(&lines) {
        let text = format!(" {line:<0$}", width.saturating_sub(1));
        frame.write(row, left, &safe::short(&text, width), BOX);
    }
}
