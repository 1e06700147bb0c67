//! What a terminal does not show: escape sequences are taken out of the text that the recognisers
//! see, and are put back where they stood.
//!
//! A sequence that moves the cursor shows in the text as what it does to a line: a move to the
//! right as spaces, any other move as a new line. Those bytes are *virtual*: recognisers see them,
//! nobody is sent them. Where a program paints a screen, they are what stands on the row already:
//! before what is painted, and behind it.

use std::collections::VecDeque;

use crate::canvas::{Canvas, Part};

/// Parses a stream's escapes, whatever way it is cut.
#[derive(Debug, Default)]
pub(crate) struct Term {
    state: State,
    seq: Vec<u8>,
    screen: Screen,
    canvas: Canvas,
    /// The cursor was put somewhere, and nothing was painted there yet.
    moved: bool,
    /// Something was painted on the line that is being read.
    painted: bool,
    /// The same, and not only blanks.
    inked: bool,
    /// The beginning of a character.
    character: Vec<u8>,
    /// Lines since the cursor was put somewhere.
    quiet: u32,
    /// Backspaces take nothing back.
    keeps: bool,
    /// By how many bytes of text they have gone back over it.
    behind: usize,
}

/// Whether what is painted is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Screen {
    /// There is none.
    #[default]
    None,
    /// There is one, and no program puts its cursor anywhere.
    Plain,
    /// A program paints it.
    Painted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC (` and the like: one more byte.
    Charset,
    Csi,
    /// OSC, DCS, APC, PM: until BEL or ST.
    Text,
    /// An ESC inside of it.
    TextEscape,
}

/// What is no text in the raw bytes of a mark: sequences, but neither backspaces nor what they
/// took back or what was written over.
pub(crate) fn without_text(raw: &[u8]) -> Vec<u8> {
    let mut view = View::default();
    let mut term = Term::default();
    term.keep(true);
    term.feed(raw, &mut view, 0);
    term.end(&mut view);
    let marks = view.marks.into_iter().flat_map(|mark| mark.raw);
    marks.filter(|b| *b != 0x08).collect()
}

/// Raw bytes that stand before the text at a position, and are no text.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) at: usize,
    pub(crate) raw: Vec<u8>,
}

/// What the recognisers see, with the way back to what was sent.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) text: Vec<u8>,
    pub(crate) marks: VecDeque<Mark>,
    /// Ranges of the text which were never sent.
    pub(crate) virt: VecDeque<(usize, usize)>,
    /// What the terminal was told about its screen, before the text at a position: each thing once
    /// at one place, since its last time alone counts.
    pub(crate) signals: VecDeque<(usize, Signal)>,
    /// Where a program begins to paint the screen, and where it stops.
    pub(crate) paints: VecDeque<(usize, bool)>,
    /// The same, before the first of these places.
    pub(crate) painting: bool,
}

/// What a sequence says about the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The alternate screen is shown.
    Enter,
    /// It is left.
    Leave,
    /// A part of the screen scrolls by itself.
    Region,
    /// The screen scrolls back.
    Reverse,
    /// The keypad is normal again: a program with a screen ends.
    Normal,
    /// The rest of the line is erased: what was painted on it is whole.
    Erase,
}

impl View {
    /// Whether a program paints the screen at `at`, so that everything has to keep its width.
    pub(crate) fn is_painting(&self, at: usize) -> bool {
        let here = self.paints.partition_point(|(place, _)| *place <= at);
        let last = here.checked_sub(1).and_then(|k| self.paints.get(k));
        last.map_or(self.painting, |(_, on)| *on)
    }

    /// Whether the byte at `at` was never sent.
    pub(crate) fn is_virtual(&self, at: usize) -> bool {
        let next = self.virt.partition_point(|(_, end)| *end <= at);
        self.virt.get(next).is_some_and(|(start, _)| *start <= at)
    }

    /// Whether nothing that was sent stands from `from` to before `to`.
    pub(crate) fn is_all_virtual(&self, from: usize, to: usize) -> bool {
        (from..to).all(|at| self.is_virtual(at))
    }

    /// Nobody asks for what stands before `to` any more.
    pub(crate) fn paints_before(&mut self, to: usize) {
        while let Some((_, on)) = self.paints.pop_front_if(|(at, _)| *at <= to) {
            self.painting = on;
        }
    }

    /// Adds what nobody was sent.
    pub(crate) fn add(&mut self, text: &str) {
        if !text.is_empty() {
            let start = self.text.len();
            self.text.extend_from_slice(text.as_bytes());
            self.virt.push_back((start, self.text.len()));
        }
    }

    /// The terminal is told something at `at`, the end of the text.
    fn signal(&mut self, at: usize, signal: Signal) {
        let here = self.signals.iter().rev();
        let here = here.take_while(|(place, _)| *place == at);
        if let Some(k) = here.map(|(_, s)| *s).position(|s| s == signal) {
            self.signals.remove(self.signals.len() - 1 - k);
        }
        self.signals.push_back((at, signal));
    }

    /// The text ends at `at` now: what it was told behind that was told there.
    fn signals_back(&mut self, at: usize) {
        let kept = self.signals.partition_point(|(place, _)| *place <= at);
        for (_, signal) in self.signals.split_off(kept) {
            self.signal(at, signal);
        }
    }
}

const SEQ_MAX: usize = 4096;
const MOVE_MAX: usize = 1000;
/// A move over fewer cells than this goes on with what was painted before it.
const NEAR: usize = 2;
/// After so many lines without a move of the cursor nobody paints a screen.
const QUIET_MAX: u32 = 200;

impl Term {
    /// Of an output that a terminal shows.
    pub(crate) fn with_screen(pty: bool) -> Self {
        Self {
            screen: if pty { Screen::Plain } else { Screen::None },
            ..Self::default()
        }
    }

    /// Whether a program paints the screen.
    pub(crate) fn paints(&self) -> bool {
        self.screen == Screen::Painted
    }

    /// Whether the next backspace takes back nothing.
    pub(crate) fn keep(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// Whether the next byte is text if it is no control.
    pub(crate) fn is_ground(&self) -> bool {
        self.state == State::Ground
    }

    /// The beginning of a sequence that is not whole.
    pub(crate) fn begun(&self) -> &[u8] {
        &self.seq
    }

    /// Appends what `raw` shows to `view`. Nothing before `floor` in the text is taken back. Up to
    /// where all of the text stayed.
    pub(crate) fn feed(&mut self, raw: &[u8], view: &mut View, floor: usize) -> usize {
        let mut stayed = view.text.len();
        let mut rest = raw;
        while let Some(&b) = rest.first() {
            if self.is_ground() {
                if self.behind > 0 && self.is_overstruck(b, view) {
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                let size = memchr::memchr3(0x1b, 0x08, 0x00, rest).unwrap_or(rest.len());
                if size > 0 {
                    let (text, after) = rest.split_at(size);
                    if self.paints() {
                        text.iter().for_each(|b| self.paint(*b, view));
                    } else {
                        view.text.extend_from_slice(text);
                    }
                    rest = after;
                    continue;
                }
            }
            self.byte(b, view, floor);
            stayed = stayed.min(view.text.len());
            rest = rest.get(1..).unwrap_or_default();
        }
        stayed
    }

    /// Whether `b` is written over the same byte, as bold text is. It is no text then.
    fn is_overstruck(&mut self, b: u8, view: &mut View) -> bool {
        if matches!(b, 0x08 | 0x1b | 0) {
            return false;
        }
        let under = view.text.len().checked_sub(self.behind);
        let under = under.and_then(|at| view.text.get(at));
        if !b.is_ascii_graphic() || under != Some(&b) {
            self.behind = 0;
            return false;
        }
        self.behind -= 1;
        self.seq.push(b);
        self.mark(view);
        true
    }

    /// The stream has ended: an unfinished sequence goes out as it is.
    pub(crate) fn end(&mut self, view: &mut View) {
        if !self.seq.is_empty() {
            self.mark(view);
        }
        self.state = State::Ground;
    }

    fn byte(&mut self, b: u8, view: &mut View, floor: usize) {
        if self.state == State::Ground {
            match b {
                0x1b => {
                    self.seq.push(b);
                    self.state = State::Escape;
                }
                0x08 if self.paints() => {
                    self.seq.push(b);
                    self.mark(view);
                    let (row, column) = (self.canvas.row, self.canvas.column);
                    self.go(row, column.saturating_sub(1), view);
                }
                0x08 => {
                    let taken = match view.text.last() {
                        Some(_) if self.keeps => {
                            self.behind += 1;
                            None
                        }
                        Some(last) if view.text.len() > floor && crate::detect::is_local(*last) => {
                            view.text.pop()
                        }
                        Some(_) | None => None,
                    };
                    let at = view.text.len();
                    self.seq.extend(taken);
                    // Marks that stood behind the byte that was taken back come after it.
                    let first = view
                        .marks
                        .iter()
                        .position(|m| m.at > at)
                        .unwrap_or(view.marks.len());
                    for mark in view.marks.drain(first..) {
                        self.seq.extend(mark.raw);
                    }
                    view.signals_back(at);
                    self.seq.push(b);
                    self.mark(view);
                }
                0 => {
                    self.seq.push(b);
                    self.mark(view);
                }
                _ => view.text.push(b),
            }
            return;
        }
        self.seq.push(b);
        let done = match self.state {
            State::Ground => true,
            State::Charset => true,
            State::Escape => match b {
                b'[' => {
                    self.state = State::Csi;
                    false
                }
                b']' | b'P' | b'_' | b'^' | b'X' => {
                    self.state = State::Text;
                    false
                }
                b'(' | b')' | b'*' | b'+' | b'#' | b' ' | b'%' => {
                    self.state = State::Charset;
                    false
                }
                _ => true,
            },
            State::Csi => !(0x20..0x40).contains(&b),
            State::Text => {
                if b == 0x1b {
                    self.state = State::TextEscape;
                }
                b == 0x07 || b == b'\n'
            }
            State::TextEscape => {
                if b != b'\\' {
                    self.state = State::Text;
                }
                b == b'\\'
            }
        };
        if done || self.seq.len() >= SEQ_MAX {
            let seq = match self.state {
                State::Csi | State::Escape if self.screen != Screen::None => self.seq.clone(),
                _ => Vec::new(),
            };
            let (moved, signal) = match self.state {
                State::Csi => (moved(&self.seq), signal(&self.seq)),
                State::Escape => escaped(b),
                State::Ground | State::Charset | State::Text | State::TextEscape => {
                    (Moved::No, None)
                }
            };
            self.mark(view);
            self.state = State::Ground;
            let start = view.text.len();
            if let Some(signal) = signal {
                view.signal(start, signal);
            }
            if self.screen_told(&seq, view) {
                return;
            }
            match moved {
                Moved::No => return,
                Moved::Right(n) => view.text.extend(std::iter::repeat_n(b' ', n)),
                Moved::Line => {
                    let n = column(&view.text);
                    view.text.push(b'\n');
                    view.text.extend(std::iter::repeat_n(b' ', n));
                }
                Moved::To(n) => {
                    view.text.push(b'\n');
                    view.text.extend(std::iter::repeat_n(b' ', n));
                }
            }
            view.virt.push_back((start, view.text.len()));
        }
    }

    /// A byte of text on a screen that is painted.
    fn paint(&mut self, b: u8, view: &mut View) {
        match b {
            b'\n' => {
                // Behind text it ends a line of it, and the next one begins; behind blanks and moves
                // it is a way down, which keeps the column.
                let ends = self.inked;
                self.leave(view);
                view.text.push(b);
                self.canvas.line_feed();
                self.moved = self.canvas.column > 0 && !ends;
                self.quiet += 1;
                if self.quiet > QUIET_MAX {
                    self.stop(view);
                }
            }
            b'\r' => {
                self.leave(view);
                view.text.push(b);
                self.canvas.column = 0;
                self.moved = false;
            }
            b'\t' => {
                view.text.push(b);
                let column = self.canvas.column / 8 * 8 + 8;
                self.canvas.go(self.canvas.row, column);
            }
            0..0x20 | 0x7f => view.text.push(b),
            _ => {
                self.arrive(view);
                self.inked |= b != b' ';
                view.text.push(b);
                self.character.push(b);
                match std::str::from_utf8(&self.character) {
                    Ok(text) => text.chars().for_each(|c| self.canvas.put(c)),
                    Err(error) if error.error_len().is_none() => return,
                    Err(_) => self.canvas.put(char::REPLACEMENT_CHARACTER),
                }
                self.character.clear();
            }
        }
    }

    /// Something is painted: what stands before it on its row is read with it.
    fn arrive(&mut self, view: &mut View) {
        if std::mem::take(&mut self.moved) {
            view.add(&self.canvas.before());
        }
        self.painted = true;
    }

    /// The cursor leaves what was painted: what stands behind it on its row is read with it.
    fn leave(&mut self, view: &mut View) {
        self.character.clear();
        self.inked = false;
        if std::mem::take(&mut self.painted) {
            view.add(&self.canvas.after());
        }
    }

    /// The cursor goes to another line of what is read.
    fn go_away(&mut self, view: &mut View) {
        if !self.moved {
            self.leave(view);
            view.add("\n");
        }
        self.moved = true;
    }

    /// Puts the cursor somewhere. Where it stands already, or beside that, the line goes on.
    fn go(&mut self, row: usize, column: usize, view: &mut View) {
        let here = self.canvas.column;
        if row == self.canvas.row && !self.moved && (here..=here + NEAR).contains(&column) {
            view.add(&self.canvas.between(here, column));
        } else {
            self.go_away(view);
        }
        self.canvas.go(row, column);
    }

    /// A program begins to paint the screen.
    fn begin(&mut self, view: &mut View) {
        self.screen = Screen::Painted;
        self.canvas.begin();
        (self.moved, self.painted, self.quiet) = (true, false, 0);
        view.paints.push_back((view.text.len(), true));
        view.add("\n");
    }

    /// Nobody paints it any more.
    fn stop(&mut self, view: &mut View) {
        self.screen = Screen::Plain;
        self.canvas.forget();
        self.character.clear();
        (self.moved, self.painted) = (false, false);
        view.paints.push_back((view.text.len(), false));
    }

    /// What a sequence does to a screen that is painted, or that it begins to paint. False where
    /// it is read as on any other output.
    fn screen_told(&mut self, seq: &[u8], view: &mut View) -> bool {
        match seq {
            [_, b'[', body @ .., last] => self.screen_moved(body, *last, seq, view),
            [_, b] if self.paints() => {
                match b {
                    b'M' => {
                        self.go_away(view);
                        self.canvas.reverse_feed();
                    }
                    b'D' => {
                        self.go_away(view);
                        self.canvas.line_feed();
                    }
                    b'E' => {
                        self.go_away(view);
                        self.canvas.line_feed();
                        self.canvas.column = 0;
                    }
                    b'7' => self.canvas.save(),
                    b'8' => {
                        let (row, column) = self.canvas.saved();
                        self.go(row, column, view);
                    }
                    b'c' => {
                        self.go_away(view);
                        self.stop(view);
                    }
                    _ => {}
                }
                true
            }
            _ => false,
        }
    }

    /// The same for a control sequence (ECMA-48 §8.3, xterm).
    fn screen_moved(&mut self, body: &[u8], last: u8, seq: &[u8], view: &mut View) -> bool {
        if matches!(last, b'h' | b'l') && is_alternate(seq) {
            if self.paints() {
                self.go_away(view);
                self.stop(view);
            }
            if last == b'h' {
                self.begin(view);
                return true;
            }
            // What leaves a screen that nobody painted ends a line, too.
            if self.moved {
                self.moved = false;
            }
            view.add("\n");
            return true;
        }
        if !matches!(body.first(), None | Some(b'0'..=b'9' | b';')) {
            return self.paints();
        }
        if !self.paints() {
            if last == b'r' {
                self.set_region(body);
            }
            if !matches!(last, b'H' | b'f' | b'd') {
                return false;
            }
            let column = column(&view.text);
            self.begin(view);
            self.canvas.go(0, column);
        }
        let numbers = numbers(body);
        let first = numbers.first().copied().unwrap_or(0);
        let (count, second) = (first.max(1), numbers.get(1).copied().unwrap_or(0).max(1));
        let (row, column) = (self.canvas.row, self.canvas.column);
        if matches!(last, b'H' | b'f' | b'd') {
            self.quiet = 0;
        }
        match last {
            b'H' | b'f' => self.go(count - 1, second - 1, view),
            b'd' => self.go(count - 1, column, view),
            b'G' | b'`' => self.go(row, count - 1, view),
            b'A' | b'k' => self.go(row.saturating_sub(count), column, view),
            b'B' | b'e' => self.go(row + count, column, view),
            b'E' => self.go(row + count, 0, view),
            b'F' => self.go(row.saturating_sub(count), 0, view),
            b'D' | b'j' => self.go(row, column.saturating_sub(count), view),
            b'C' | b'a' => {
                if !self.moved {
                    view.add(&self.canvas.between(column, column + count));
                }
                self.canvas.go(row, column + count);
            }
            b'J' => self.canvas.erase(Part::of(first)),
            b'K' => self.canvas.erase_row(Part::of(first)),
            b'X' => self.canvas.blank(count),
            b'P' => self.canvas.take_out(count),
            b'@' => self.canvas.put_in(count),
            b'b' => {
                if let Some(c) = self.canvas.last().filter(|_| self.painted) {
                    view.add(&c.to_string().repeat(count));
                    (0..count).for_each(|_| self.canvas.put(c));
                }
            }
            b'L' | b'M' | b'S' | b'T' => {
                self.go_away(view);
                let up = matches!(last, b'M' | b'S');
                self.canvas.scroll(count, up, matches!(last, b'L' | b'M'));
            }
            b'r' => {
                self.go(0, 0, view);
                self.set_region(body);
            }
            b's' if body.is_empty() => self.canvas.save(),
            b'u' if body.is_empty() => {
                let (row, column) = self.canvas.saved();
                self.go(row, column, view);
            }
            _ => {}
        }
        true
    }

    /// The rows that scroll alone; without parameters all of them do.
    fn set_region(&mut self, body: &[u8]) {
        let numbers = numbers(body);
        let number = |k: usize| numbers.get(k).copied().unwrap_or(0).saturating_sub(1);
        self.canvas.set_region(number(0), number(1));
    }

    fn mark(&mut self, view: &mut View) {
        let at = view.text.len();
        match view.marks.back_mut() {
            Some(last) if last.at == at => last.raw.append(&mut self.seq),
            Some(_) | None => view.marks.push_back(Mark {
                at,
                raw: std::mem::take(&mut self.seq),
            }),
        }
    }
}

enum Moved {
    No,
    Right(usize),
    To(usize),
    /// To another line, in the same column.
    Line,
}

/// The display column at the end of a text.
fn column(text: &[u8]) -> usize {
    let back = text
        .get(text.len().saturating_sub(MOVE_MAX)..)
        .unwrap_or_default();
    match memchr::memrchr(b'\n', back) {
        Some(at) => {
            let line = back.get(at + 1..).unwrap_or_default();
            let from = memchr::memrchr(b'\r', line).map_or(0, |i| i + 1);
            let line = line.get(from..).unwrap_or_default();
            crate::mask::width(&String::from_utf8_lossy(line))
        }
        None => 0,
    }
}

/// What a CSI sequence does to the cursor (ECMA-48 §8.3).
fn moved(seq: &[u8]) -> Moved {
    let numbers = numbers(seq.get(2..seq.len() - 1).unwrap_or_default());
    let number = |k: usize| numbers.get(k).copied().unwrap_or(0).max(1);
    match seq.last() {
        Some(b'C' | b'a') => Moved::Right(number(0)),
        Some(b'H' | b'f') => Moved::To(number(1) - 1),
        Some(b'G' | b'`') => Moved::To(number(0) - 1),
        // Lines that are put in, taken out or scrolled move under the cursor.
        Some(b'A' | b'B' | b'd' | b'L' | b'M' | b'S' | b'T') => Moved::Line,
        Some(b'h' | b'l') if is_alternate(seq) => Moved::To(0),
        Some(b'E' | b'F') => Moved::To(0),
        Some(_) | None => Moved::No,
    }
}

/// The parameters of a control sequence.
fn numbers(body: &[u8]) -> Vec<usize> {
    body.split(|b| *b == b';')
        .map(|n| {
            n.iter().fold(0usize, |v, d| match d {
                b'0'..=b'9' => (v * 10 + usize::from(d - b'0')).min(MOVE_MAX),
                _ => v,
            })
        })
        .collect()
}

/// Whether a mode that is set or reset is the alternate screen's (xterm).
fn is_alternate(seq: &[u8]) -> bool {
    let body = seq.get(2..seq.len() - 1).unwrap_or_default();
    body.strip_prefix(b"?").is_some_and(|modes| {
        modes
            .split(|b| *b == b';')
            .any(|mode| matches!(mode, b"47" | b"1047" | b"1049"))
    })
}

/// What a CSI sequence says about the screen.
fn signal(seq: &[u8]) -> Option<Signal> {
    match seq.last() {
        Some(b'h') if is_alternate(seq) => Some(Signal::Enter),
        Some(b'l') if is_alternate(seq) => Some(Signal::Leave),
        Some(b'r') if !seq.contains(&b'?') => Some(Signal::Region),
        Some(b'K' | b'J') => Some(Signal::Erase),
        Some(_) | None => None,
    }
}

/// What a sequence of two bytes does (ECMA-48 §8.3, DEC STD 070).
fn escaped(b: u8) -> (Moved, Option<Signal>) {
    match b {
        b'M' => (Moved::Line, Some(Signal::Reverse)),
        b'D' => (Moved::Line, None),
        b'E' => (Moved::To(0), None),
        b'>' => (Moved::No, Some(Signal::Normal)),
        _ => (Moved::No, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &[u8]) -> String {
        let mut view = View::default();
        let mut term = Term::default();
        for b in raw {
            term.feed(std::slice::from_ref(b), &mut view, 0);
        }
        term.end(&mut view);
        String::from_utf8_lossy(&view.text).into_owned()
    }

    /// Escapes without text, or with text that is taken back, do not pile up.
    #[test]
    fn signals_are_kept_once_at_one_place() {
        for (text, most) in [
            ("\x1b[K\x1b[r", 2),
            ("\x1b[K\x1b[r\x1b>\x1b[J\x08", 3),
            ("x\x1b[K\x08\x1b[r", 2),
            ("\x1b[rx\x1b[K\x08", 2),
        ] {
            let mut view = View::default();
            let mut term = Term::default();
            for _ in 0..10_000 {
                term.feed(text.as_bytes(), &mut view, 0);
            }
            assert!(
                view.signals.len() <= most,
                "{text:?}: {}",
                view.signals.len()
            );
        }
    }

    #[test]
    fn escapes_are_invisible() {
        assert_eq!(text(b"a\x1b[1;32mb\x1b[0mc"), "abc");
        assert_eq!(text(b"\x1b]0;title\x07x\x1b]8;;u\x1b\\y\x1b(B"), "xy");
        assert_eq!(text(b"N\x08NA\x08AME"), "NAME");
        assert_eq!(text(b"a\x1b[3Cb"), "a   b");
        assert_eq!(text(b"a\x1b[2;3Hb"), "a\n  b");
        assert_eq!(text(b"a\x1b[1"), "a");
        assert_eq!(text(b"\nabc\x1b[4dx"), "\nabc\n   x");
    }
}
