//! Output that scrolls by: lines that leave the screen before anybody looks at it are not
//! emulated.
//!
//! Most of what a session prints are plain lines, one below the other. While the cursor goes
//! down the last row of the primary screen, such a line does nothing but push the screen up, and
//! once as many others came behind it as there are rows, nothing of it is left: its text is
//! known without a terminal. So plain lines are held back, the last screenful of them at most.
//! What comes before is passed over, and what is held is emulated as soon as something comes
//! that is not plain, or somebody wants to [see](Skim::settle) the screen.
//!
//! The screen and the lines are those of the emulator that is given everything, and each line
//! that it would emulate is emulated once at most. A law in the tests holds the two against each
//! other.
//!
//! Plain are characters, tabulators while the stops are those of the beginning, colours (SGR),
//! erasing to the end of the row, titles and other commands to the operating system (OSC), the
//! private modes that the emulator does not know, and line ends. A line that is wrapped has only
//! ASCII in it: a wide character leaves a blank in front of the edge.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use crate::emulator::{Emulator, Scribe};

/// An emulator that passes over what scrolls by.
pub(crate) struct Skim {
    emulator: Emulator,
    /// What comes is held back as long as it is plain.
    holds: bool,
    /// Lines that are complete and not emulated; fewer than there are rows.
    lines: VecDeque<Held>,
    /// The line that is being written. Empty unless something is held.
    open: Held,
    /// Lines were passed over: what the emulator shows is gone.
    passed: bool,
    /// What they left the colours at.
    colours: String,
    /// Lines to be used again.
    spare: Vec<Held>,
    /// Nothing is passed over.
    #[cfg(test)]
    pub(crate) emulates_all: bool,
}

/// A line that is held back.
#[derive(Default)]
struct Held {
    /// As it came.
    raw: String,
    /// Where in it each event begins that is not the first, and the time of each.
    times: Vec<(usize, u64)>,
    /// What is to be read in it.
    text: String,
    /// Columns that were written or stepped over, in all rows of it.
    columns: usize,
    /// There is more than ASCII in it: it must not be wrapped.
    is_wide: bool,
    /// When its first and its last character were printed.
    printed: Option<(u64, u64)>,
    /// The colours that it sets, since it last took all back.
    colours: String,
    takes_back: bool,
}

/// What stands next in a text.
enum Token {
    /// Something without effect on what a line shows.
    Nothing(usize),
    /// Colours.
    Colours(usize),
    /// The rest of the row is erased.
    Erase(usize),
    /// The line ends.
    End(usize),
    /// A tabulator.
    Tab,
    /// A character that is not ASCII.
    Char(char),
    /// Not plain, or not whole.
    Other,
}

/// Longer lines are emulated: of a screen with the most rows, some ten megabytes are held.
const HELD_MAX: usize = 8 << 10;

/// Lines of more events are emulated: each time is kept.
const TIMES_MAX: usize = 256;

/// Changes of colours that are carried along before they are made.
const COLOURS_MAX: usize = 4 << 10;

/// Longer sequences are not looked at.
const SEQUENCE_MAX: usize = 64;
const OSC_MAX: usize = 1 << 10;

impl Skim {
    pub(crate) fn new(emulator: Emulator) -> Self {
        Self {
            emulator,
            holds: false,
            lines: VecDeque::new(),
            open: Held::default(),
            passed: false,
            colours: String::new(),
            spare: Vec::new(),
            #[cfg(test)]
            emulates_all: false,
        }
    }

    /// Output of the session. Who keeps a scribe gives it always, and the same.
    pub(crate) fn feed(&mut self, text: &str, mut scribe: Option<&mut Scribe>) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.holds {
                let held = self.hold(rest, scribe.as_deref_mut());
                rest = rest.get(held..).unwrap_or_default();
                if rest.is_empty() {
                    return;
                }
                self.settle(scribe.as_deref_mut());
            }
            let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            emulate(&mut self.emulator, line, scribe.as_deref_mut());
            rest = after;
            self.holds = line.ends_with('\n') && self.can_hold(scribe.as_deref());
        }
    }

    /// The emulator, after all that it was fed.
    pub(crate) fn settle(&mut self, mut scribe: Option<&mut Scribe>) -> &mut Emulator {
        self.holds = false;
        if self.lines.is_empty() && self.open.raw.is_empty() {
            self.open.clear();
            return &mut self.emulator;
        }
        let failures = self.emulator.failures();
        let now = scribe.as_ref().map_or(0, |scribe| scribe.now);
        if self.passed {
            let (_, rows) = self.emulator.size();
            // An empty row below all others, as the last line that was passed over left it.
            let colours = std::mem::take(&mut self.colours);
            self.emulator.feed(&format!("{colours}\x1b[{rows}H\n"));
            if let Some(scribe) = scribe.as_deref_mut() {
                // One of those that were told of is gone already.
                scribe.forget(usize::from(rows) - 1);
            }
            self.passed = false;
        }
        let mut lines = std::mem::take(&mut self.lines);
        lines.push_back(std::mem::take(&mut self.open));
        for line in &mut lines {
            line.emulate(&mut self.emulator, scribe.as_deref_mut());
            line.clear();
        }
        self.open = lines.pop_back().unwrap_or_default();
        self.spare.extend(lines.drain(..));
        self.lines = lines;
        if let Some(scribe) = scribe {
            scribe.now = now;
            if self.emulator.failures() != failures {
                scribe.forget(0);
            }
        }
        &mut self.emulator
    }

    /// The emulator without what is held back.
    pub(crate) fn emulator(&mut self) -> &mut Emulator {
        &mut self.emulator
    }

    /// Whether plain lines that come now push the screen up and do nothing else.
    fn can_hold(&self, scribe: Option<&Scribe>) -> bool {
        #[cfg(test)]
        if self.emulates_all {
            return false;
        }
        self.emulator.is_in_empty_last_row()
            && scribe.is_none_or(|scribe| scribe.knows_rows(self.emulator.size().1 - 1))
    }

    /// Holds back what is plain of a text. The bytes of it.
    fn hold(&mut self, text: &str, mut scribe: Option<&mut Scribe>) -> usize {
        let (cols, rows) = self.emulator.size();
        let (cols, rows) = (usize::from(cols), usize::from(rows));
        let now = scribe.as_ref().map_or(0, |scribe| scribe.now);
        let reads = scribe.is_some();
        let mut held = 0;
        if self.open.times.len() >= TIMES_MAX {
            return 0;
        }
        self.emulator.charge(text.len() as u64 / 8);
        self.open.begin(now);
        while held < text.len() {
            let rest = text.get(held..).unwrap_or_default();
            let line = &mut self.open;
            let run = rest.bytes().take_while(|byte| matches!(byte, b' '..=b'~'));
            let run = run.count();
            if run > 0 {
                if line.is_wide && line.columns + run > cols || line.raw.len() + run > HELD_MAX {
                    return held;
                }
                line.print(rest.get(..run).unwrap_or_default(), run, now, reads);
                held += run;
                continue;
            }
            let token = Token::of(rest);
            let length = match token {
                Token::Nothing(length) | Token::Colours(length) | Token::End(length) => length,
                // In the column behind the last, it would erase the last.
                Token::Erase(length) if line.columns < cols => length,
                Token::Tab => match line.columns / 8 * 8 + 8 {
                    stop if stop < cols && self.emulator.has_first_tabs() => {
                        if reads {
                            line.text
                                .extend(std::iter::repeat_n(' ', stop - line.columns));
                        }
                        line.columns = stop;
                        1
                    }
                    _ => return held,
                },
                Token::Char(char) => {
                    let width = if char.width() == Some(2) { 2 } else { 1 };
                    if line.columns + width > cols {
                        return held;
                    }
                    line.is_wide = true;
                    let char = rest.get(..char.len_utf8()).unwrap_or_default();
                    line.print(char, width, now, reads);
                    held += char.len();
                    continue;
                }
                Token::Erase(_) | Token::Other => return held,
            };
            if matches!(token, Token::End(_)) && length == 1 && line.columns > 0 {
                // Without a return, the next line begins elsewhere.
                return held;
            }
            if line.raw.len() + length > HELD_MAX {
                return held;
            }
            let piece = rest.get(..length).unwrap_or_default();
            line.raw.push_str(piece);
            held += length;
            match token {
                Token::Colours(_) => line.colour(piece),
                Token::End(_) => {
                    self.end_line(now);
                    if self.lines.len() >= rows {
                        self.pass_over(scribe.as_deref_mut());
                    }
                }
                _ => {}
            }
        }
        held
    }

    /// The line that is being written is complete.
    fn end_line(&mut self, now: u64) {
        let next = self.spare.pop().unwrap_or_default();
        let line = std::mem::replace(&mut self.open, next);
        self.lines.push_back(line);
        self.open.begin(now);
    }

    /// The first line has left the screen.
    fn pass_over(&mut self, mut scribe: Option<&mut Scribe>) {
        if !self.passed {
            self.passed = true;
            if let Some(scribe) = scribe.as_deref_mut() {
                // All that was there before it has left, too.
                scribe.see_off(&self.emulator);
            }
        }
        let Some(mut line) = self.lines.pop_front() else {
            return;
        };
        if line.takes_back {
            self.colours.clear();
        }
        self.colours.push_str(&line.colours);
        if self.colours.len() > COLOURS_MAX {
            let colours = std::mem::take(&mut self.colours);
            self.emulator.feed(&colours);
        }
        if let Some(scribe) = scribe {
            let mut later = self.lines.iter().chain([&self.open]);
            let time = match line.printed {
                Some((_, last)) => last,
                // A row that nothing was written to counts with the next one.
                None => later
                    .find_map(|line| line.printed)
                    .map_or(scribe.now, |(first, _)| first),
            };
            scribe.tell(time, std::mem::take(&mut line.text));
        }
        line.clear();
        self.spare.push(line);
    }
}

/// Lets output happen.
fn emulate(emulator: &mut Emulator, text: &str, scribe: Option<&mut Scribe>) {
    match scribe {
        Some(scribe) => emulator.feed_scribe(text, scribe),
        None => emulator.feed(text),
    }
}

impl Held {
    /// What comes next has this time.
    fn begin(&mut self, now: u64) {
        if self.times.last().is_none_or(|(_, time)| *time != now) {
            self.times.push((self.raw.len(), now));
        }
    }

    fn print(&mut self, text: &str, columns: usize, now: u64, reads: bool) {
        self.raw.push_str(text);
        self.columns += columns;
        if reads {
            self.text.push_str(text);
        }
        let first = self.printed.map_or(now, |(first, _)| first);
        self.printed = Some((first, now));
    }

    fn colour(&mut self, sequence: &str) {
        if matches!(sequence, "\x1b[m" | "\x1b[0m") {
            self.takes_back = true;
            self.colours.clear();
        }
        self.colours.push_str(sequence);
    }

    fn emulate(&self, emulator: &mut Emulator, mut scribe: Option<&mut Scribe>) {
        let ends = self.times.iter().skip(1).map(|(begin, _)| *begin);
        let ends = ends.chain([self.raw.len()]);
        for (&(begin, time), end) in self.times.iter().zip(ends) {
            let piece = self.raw.get(begin..end).unwrap_or_default();
            if !piece.is_empty() {
                if let Some(scribe) = scribe.as_deref_mut() {
                    scribe.now = time;
                }
                emulate(emulator, piece, scribe.as_deref_mut());
            }
        }
    }

    fn clear(&mut self) {
        self.raw.clear();
        self.times.clear();
        self.text.clear();
        self.columns = 0;
        self.is_wide = false;
        self.printed = None;
        self.colours.clear();
        self.takes_back = false;
    }
}

impl Token {
    /// What a text begins with that is not printable ASCII.
    fn of(text: &str) -> Self {
        match text.as_bytes() {
            [b'\n', ..] => Self::End(1),
            [b'\r', after @ ..] => {
                let more = after.iter().take_while(|&&byte| byte == b'\r').count();
                match after.get(more) {
                    Some(b'\n') => Self::End(more + 2),
                    _ => Self::Other,
                }
            }
            [b'\t', ..] => Self::Tab,
            // The bell.
            [0x07, ..] => Self::Nothing(1),
            [0x1b, b'[', after @ ..] => Self::control(after),
            [0x1b, b']', after @ ..] => Self::command(after),
            // The keypad's modes.
            [0x1b, b'=' | b'>', ..] => Self::Nothing(2),
            // Of those that are not ASCII, the first control.
            [0x80..=0xff, ..] => match text.chars().next() {
                Some(char) if char >= '\u{a0}' => Self::Char(char),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// Behind `ESC [`.
    fn control(after: &[u8]) -> Self {
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'?');
        let length = after.iter().take(SEQUENCE_MAX).take_while(is_part).count();
        let (parts, end) = after.split_at(length);
        let whole = length + 3;
        let has_numbers_only = parts.iter().all(|byte| *byte < b'<');
        match (end.first(), parts) {
            (Some(b'm'), _) if has_numbers_only && length < SEQUENCE_MAX => Self::Colours(whole),
            (Some(b'K'), [] | [b'0']) => Self::Erase(whole),
            (Some(b'h' | b'l'), [b'?', mode @ ..]) if is_unknown_mode(mode) => Self::Nothing(whole),
            _ => Self::Other,
        }
    }

    /// Behind `ESC ]`, where it has its end.
    fn command(after: &[u8]) -> Self {
        let is_part = |byte: &&u8| matches!(byte, b' '..=b'~');
        let length = after.iter().take(OSC_MAX).take_while(is_part).count();
        match after.get(length..) {
            Some([0x07, ..]) => Self::Nothing(length + 3),
            Some([0x1b, b'\\', ..]) => Self::Nothing(length + 4),
            _ => Self::Other,
        }
    }
}

/// Private modes without a meaning here: bracketed paste, mice, focus, blinking.
fn is_unknown_mode(digits: &[u8]) -> bool {
    matches!(
        digits,
        b"12"
            | b"1000"
            | b"1002"
            | b"1003"
            | b"1004"
            | b"1005"
            | b"1006"
            | b"1015"
            | b"2004"
            | b"2026"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::emulator::tests::wild;

    /// Text most of which is plain.
    fn output() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            6 => "[ -~]{0,12}(\r\n){1,3}".prop_map(String::from),
            3 => "(a|b |\x1b\\[[0-9;]{0,4}m|\x1b\\[K|\t|é|漢|\u{301}|\u{a0}|\x07){0,9}\r\n"
                .prop_map(String::from),
            1 => "[a-z]{0,99}\r{1,3}\n".prop_map(String::from),
            1 => "([a-z]{0,9}\x1b\\[4[0-7]m\r\n){1,9}".prop_map(String::from),
            1 => "\x1b(\\]0;[a-z]{0,5}(\x07|\x1b\\\\)|\\[\\?(2004|25|7|1)[hl]|=|>)".prop_map(String::from),
            1 => "[a-z\r\n\t\x08]{0,9}".prop_map(String::from),
            1 => "\x1b\\[[0-9]{0,2};?[0-9]{0,2}[ABHJrLMP]".prop_map(String::from),
            1 => wild(),
        ];
        proptest::collection::vec(line, 0..24).prop_map(|lines| lines.concat())
    }

    #[derive(Clone, Debug)]
    struct Step {
        seconds: u64,
        text: String,
        size: Option<(u16, u16)>,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let size = proptest::option::weighted(0.1, (1..40u16, 1..9u16));
        let step = (0..3u64, output(), size).prop_map(|(seconds, text, size)| Step {
            seconds,
            text,
            size,
        });
        proptest::collection::vec(step, 1..16)
    }

    fn skim(size: (u16, u16), emulates_all: bool) -> Skim {
        Skim {
            emulates_all,
            ..Skim::new(Emulator::new(size.0, size.1))
        }
    }

    /// All lines, and how many were told of before the end.
    fn lines(size: (u16, u16), steps: &[Step], emulates_all: bool) -> Vec<crate::emulator::Line> {
        let mut skim = skim(size, emulates_all);
        let mut scribe = Scribe::default();
        let mut lines = Vec::new();
        for step in steps {
            scribe.now += step.seconds * 1_000_000;
            scribe.sample(skim.emulator());
            skim.feed(&step.text, Some(&mut scribe));
            if let Some((cols, rows)) = step.size {
                let emulator = skim.settle(Some(&mut scribe));
                emulator.resize_scribe(cols, rows, &mut scribe);
            }
            lines.extend(scribe.take());
        }
        let emulator = skim.settle(Some(&mut scribe));
        lines.extend(scribe.finish(emulator));
        lines
    }

    /// A case is some hundred lines.
    fn cases() -> ProptestConfig {
        ProptestConfig::with_cases(ProptestConfig::default().cases.div_ceil(4))
    }

    proptest! {
        #![proptest_config(cases())]

        /// The lines, their order and their times are those of the emulator that saw everything.
        #[test]
        fn what_is_passed_over_is_read_as_if_it_was_not(
            steps in steps(),
            size in (1..40u16, 1..9u16),
        ) {
            prop_assert_eq!(lines(size, &steps, false), lines(size, &steps, true));
        }

        /// The screen is, down to the colours, modes and saved cursors of a dump.
        #[test]
        fn the_screen_after_what_was_passed_over_is_the_same(
            steps in steps(),
            size in (1..40u16, 1..9u16),
            settles in 1..5usize,
        ) {
            let (mut fast, mut slow) = (skim(size, false), skim(size, true));
            for (number, step) in steps.iter().enumerate() {
                for skim in [&mut fast, &mut slow] {
                    skim.feed(&step.text, None);
                    if let Some((cols, rows)) = step.size {
                        skim.settle(None).resize(cols, rows);
                    }
                }
                if number % settles == 0 {
                    prop_assert_eq!(fast.settle(None).dump(), slow.settle(None).dump());
                }
            }
            prop_assert_eq!(fast.settle(None).dump(), slow.settle(None).dump());
        }
    }

    /// Times were not counted: a line of as many events as it has bytes took sixteen times its size.
    #[test]
    fn a_line_of_many_events_is_not_held() {
        let mut skim = skim((1000, 24), false);
        let mut scribe = Scribe::default();
        skim.feed(&"line\r\n".repeat(30), Some(&mut scribe));
        assert!(skim.holds);
        for now in 0..10_000 {
            scribe.now = now;
            skim.feed("a", Some(&mut scribe));
            assert!(skim.open.times.len() <= TIMES_MAX && skim.open.raw.len() <= HELD_MAX);
        }
        assert!(!skim.holds);
        skim.feed("\r\nline\r\nagain\r\n", Some(&mut scribe));
        assert!(skim.holds);
    }

    /// A law over what never happens says nothing.
    #[test]
    fn plain_output_is_passed_over() {
        let mut skim = skim((80, 24), false);
        let listing = "-rw-r--r-- 1 ada ada \x1b[01;34mfile\x1b[0m.log\r\n";
        skim.feed(&listing.repeat(10_000), None);
        assert!(skim.passed && skim.lines.len() == 23);
        let cost = skim.emulator.take_cost();
        assert!(cost < 10_000 * listing.len() as u64 / 4, "{cost}");
        let mut rows = skim.settle(None).texts();
        assert!(rows.all(|row| row.is_empty() || row.ends_with("file.log")));
    }
}
