//! The text of a recording as it was to be read on the screen: what was typed over is gone,
//! wrapped lines are whole, colours and movements have done their work.

use std::collections::VecDeque;

use recording::event::{Event, EventData, Header};

use crate::emulator::{self, Emulator, Scribe};
use crate::skim::Skim;

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was last written to, in microseconds since the start.
    pub time: u64,
    /// Whether a full-screen program showed it. Of these, the rows that changed are given, at
    /// most once a second.
    pub full_screen: bool,
    /// The text, safe to show.
    pub text: String,
}

/// Makes lines of text out of events.
pub struct Transcript {
    skim: Skim,
    scribe: Scribe,
    /// Lines of full-screen programs, until the lines that stood on the screen before them
    /// have left it.
    held: VecDeque<emulator::Line>,
}

/// Lines that are held back at most; then order gives way.
const HELD_MAX: usize = 100_000;

impl Transcript {
    /// For a recording with this header.
    pub fn new(header: &Header) -> Self {
        Self {
            skim: Skim::new(Emulator::new(header.cols, header.rows)),
            scribe: Scribe::default(),
            held: VecDeque::new(),
        }
    }

    /// The lines that an event completes, or that are known to be complete since. Times must not
    /// go backwards.
    pub fn event(&mut self, event: &Event) -> Vec<Line> {
        if event.time > self.scribe.now {
            self.scribe.now = event.time;
            self.scribe.sample(self.skim.emulator());
        }
        match &event.data {
            EventData::Output(text) => self.skim.feed(text, Some(&mut self.scribe)),
            EventData::Resize { cols, rows } => {
                let emulator = self.skim.settle(Some(&mut self.scribe));
                emulator.resize_scribe(*cols, *rows, &mut self.scribe);
            }
            EventData::Input(_)
            | EventData::Marker(_)
            | EventData::Exit(_)
            | EventData::Other { .. } => {}
        }
        let lines = self.scribe.take();
        self.in_order(lines)
    }

    /// What is on the screen at the end.
    pub fn finish(mut self) -> Vec<Line> {
        let emulator = self.skim.settle(Some(&mut self.scribe));
        let lines = self.scribe.finish(emulator);
        let mut lines = self.in_order(lines);
        lines.extend(self.held.into_iter().map(Line::from));
        lines
    }

    fn in_order(&mut self, lines: Vec<emulator::Line>) -> Vec<Line> {
        let mut ordered = Vec::with_capacity(lines.len());
        for line in lines {
            if line.full_screen {
                self.held.push_back(line);
            } else {
                while let Some(held) = self.held.pop_front_if(|held| held.look < line.look) {
                    ordered.push(held.into());
                }
                ordered.push(line.into());
            }
        }
        if self.held.len() > HELD_MAX {
            ordered.extend(self.held.drain(..).map(Line::from));
        }
        ordered
    }
}

impl From<crate::emulator::Line> for Line {
    fn from(line: crate::emulator::Line) -> Self {
        Self {
            time: line.time,
            full_screen: line.full_screen,
            text: line.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in seconds, `!` before lines of full-screen programs.
    fn lines(cols: u16, rows: u16, events: &[(u64, &str)]) -> Vec<(u64, String)> {
        let header = Header {
            cols,
            rows,
            ..Header::default()
        };
        let mut transcript = Transcript::new(&header);
        let mut lines = Vec::new();
        for (seconds, text) in events {
            lines.extend(transcript.event(&Event {
                time: seconds * 1_000_000,
                data: EventData::Output((*text).into()),
            }));
        }
        lines.extend(transcript.finish());
        let mark = |line: &Line| if line.full_screen { "!" } else { "" };
        let lines = lines.iter();
        lines
            .map(|line| {
                (
                    line.time / 1_000_000,
                    format!("{}{}", mark(line), line.text),
                )
            })
            .collect()
    }

    fn expect(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines
            .iter()
            .map(|(time, text)| (*time, (*text).into()))
            .collect()
    }

    #[test]
    fn lines_have_the_time_at_which_they_were_written() {
        let events = [
            (1, "$ l"),
            (2, "s\r\n"),
            (3, "a b\r\n"),
            (4, "c\r\n$ "),
            (9, "x\r\ny\r\nz"),
        ];
        let expected = [
            (2, "$ ls"),
            (3, "a b"),
            (4, "c"),
            (9, "$ x"),
            (9, "y"),
            (9, "z"),
        ];
        // The letter `s` came at 2; with two rows, each line leaves the screen later.
        for rows in [2, 3, 24] {
            assert_eq!(lines(20, rows, &events), expect(&expected), "{rows}");
        }
    }

    #[test]
    fn wrapped_lines_are_whole_and_corrections_are_done() {
        let events = [
            (1, "abcdefghijkl"),
            (2, "\r\nworj\x08ld\r\n\x1b[31mred\x1b[0m"),
        ];
        let expected = [(1, "abcdefghijkl"), (2, "world"), (2, "red")];
        assert_eq!(lines(6, 3, &events), expect(&expected));
    }

    /// The last row of a wrapped line was taken for the next one's where one character stood in it.
    #[test]
    fn the_first_character_behind_the_edge_counts_as_written_then() {
        let events = [(1, "$\r\nabcdefg"), (2, "\r\n"), (3, "\r\nx")];
        let expected = [(1, "$"), (1, "abcdefg"), (3, ""), (3, "x")];
        for rows in [2, 3, 24] {
            assert_eq!(lines(6, rows, &events), expect(&expected), "{rows}");
        }
    }

    #[test]
    fn full_screen_programs_are_looked_at_each_second_and_when_they_leave() {
        let events = [
            (1, "$ vim\r\n"),
            (2, "\x1b[?1049h\x1b[Hone\r\ntwo"),
            (4, "\x1b[2;1Hsix"),
            (4, "\x1b[3;1Hend"),
            (5, "\x1b[1;1Htop\x1b[?1049l$ "),
        ];
        let expected = [
            (1, "$ vim"),
            (4, "!one"),
            (4, "!two"),
            (5, "!six"),
            (5, "!end"),
            (5, "!top"),
            (5, "$"),
        ];
        assert_eq!(lines(20, 5, &events), expect(&expected));
    }
}
