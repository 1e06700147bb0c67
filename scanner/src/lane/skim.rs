//! The fast path: whole lines that nothing can be in leave as they came, without a closer look.
//!
//! It works where a line begins and nothing is open (`ready`). Bitmaps say where suspects stand;
//! lines without one leave in one piece, without a copy where that is worth it. Strings under a
//! protected key of JSON (`member`) and the rows of common tables (`grid`) are masked here, too.
//! Any other line is given to the byte machine, with the text before it that the machine may look
//! back at, as if it had read everything itself. That both give the same is shown by
//! `tests/ways.rs`.

use std::ops::Range;

use bytes::Bytes;

use super::grid::Grid;
use super::member::{self, Guess, Guesses, Keys, Known};
use super::{CONTEXT, Frame, Html, Inner, LINE_CONTEXT, Lane};
use crate::endings::Recent;
use crate::rules::Rules;
use crate::simd::{self, Maps, Span, Width};
use crate::sink::How;
use crate::suspect::{Look, Suspects};

/// A smaller piece is read byte by byte: that is what a person types or a prompt shows.
const LEAST: usize = 256;
/// The most that the byte machine is given before the fast path is tried again.
const BATCH_MAX: usize = 8192;

/// What the fast path keeps.
#[derive(Debug)]
pub(super) struct Skim {
    width: Option<Width>,
    least: usize,
    maps: Maps,
    pub(super) grid: Grid,
    pub(super) keys: Keys,
    guesses: Box<Guesses>,
    /// Protected values that have not left.
    spans: Vec<Span<How>>,
    /// Suspects and ends of lines, as numbers.
    stops: Vec<u16>,
    /// The line that the end of the piece has cut.
    cut: Option<Cut>,
    pub(super) recent: Box<Recent>,
}

impl Skim {
    pub(super) fn new(width: Width) -> Self {
        Self {
            width: Some(width),
            least: LEAST,
            maps: Maps::default(),
            grid: Grid::default(),
            keys: Keys::default(),
            guesses: Box::new(Guesses::new()),
            spans: Vec::new(),
            stops: Vec::new(),
            cut: None,
            recent: Box::new(Recent::new()),
        }
    }

    /// This way for pieces of any size.
    pub(super) fn forced(width: Option<Width>) -> Self {
        Self {
            width,
            least: 1,
            ..Self::new(Width::Portable)
        }
    }

    pub(super) fn is_off(&self, rules: &Rules) -> bool {
        self.width.is_none()
            || !rules.compiled().suspects.usable
            // A policy's patterns may begin with any byte: none of them is a suspect's.
            || rules.compiled().own.is_some()
    }
}

/// What is known of a piece: the bitmaps begin at `base`, and lines are whole up to `limit`.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) raw: &'a Bytes,
    pub(super) width: Width,
    pub(super) base: usize,
    pub(super) limit: usize,
    maps: &'a Maps,
}

impl<'a> Piece<'a> {
    /// The next place that a bitmap from `base` on has.
    #[inline]
    pub(super) fn next(self, map: &[u64], from: usize) -> Option<usize> {
        let at = from.checked_sub(self.base)?;
        let (mut k, bit) = (at / 64, at % 64);
        let mut word = map.get(k)? & (u64::MAX << bit);
        while word == 0 {
            k += 1;
            word = *map.get(k)?;
        }
        let at = self.base + k * 64 + word.trailing_zeros() as usize;
        (at < self.limit).then_some(at)
    }

    /// All suspects from `from` on.
    pub(super) fn suspects(self, from: usize) -> Upcoming<'a> {
        let at = from.saturating_sub(self.base);
        let mut words = self.maps.suspect.get(at / 64..).unwrap_or_default().iter();
        let word = words.next().map_or(0, |w| w & (u64::MAX << (at % 64)));
        let mut new = Upcoming {
            words,
            word,
            at: self.base + at / 64 * 64,
            next: 0,
            limit: self.limit,
        };
        new.advance();
        new
    }

    /// Lists where suspects stand, and where lines end, in a few words of the bitmaps from the `k`th
    /// on. Where the first of these begins, and the word behind them.
    fn stops(self, k: usize, stops: &mut Vec<u16>) -> (usize, usize) {
        let (newlines, suspects) = (self.maps.newline.get(k..), self.maps.suspect.get(k..));
        simd::stops(
            self.width,
            newlines.unwrap_or_default(),
            suspects.unwrap_or_default(),
            stops,
        );
        let base = self.base + k * 64;
        // What stands behind the text says nothing.
        while stops
            .pop_if(|stop| base + simd::place(*stop) >= self.limit)
            .is_some()
        {}
        (base, k + simd::STOPS_WORDS)
    }

    /// Whether a bitmap has all bits of `wanted`, which begins at `from`.
    #[inline]
    pub(super) fn has(self, map: &[u64], from: usize, wanted: &[u64]) -> bool {
        let at = from.saturating_sub(self.base);
        let (k, bit) = (at / 64, at % 64);
        let word = |k: usize| map.get(k).copied().unwrap_or(0);
        wanted.iter().enumerate().all(|(i, wanted)| {
            // The second shift in two steps: there is none of 64.
            let bits = word(k + i) >> bit | word(k + i + 1) << 1 << (63 - bit);
            bits & wanted == *wanted
        })
    }

    /// The map of all suspects.
    pub(super) fn suspects_map(self) -> &'a [u64] {
        &self.maps.suspect
    }

    pub(super) fn newlines(self) -> &'a [u64] {
        &self.maps.newline
    }

    /// The next place before `to`.
    #[inline]
    pub(super) fn within(self, map: &[u64], from: usize, to: usize) -> Option<usize> {
        let mut at = from.checked_sub(self.base)?;
        let end = to.checked_sub(self.base)?;
        while at < end {
            let word = map.get(at / 64)? >> (at % 64);
            if word != 0 {
                let found = at + word.trailing_zeros() as usize;
                return (found < end).then_some(self.base + found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    #[inline]
    pub(super) fn newline(self, from: usize) -> Option<usize> {
        self.next(&self.maps.newline, from)
    }

    #[inline]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.raw.get(at).copied().unwrap_or(b'\n')
    }

    /// Whether something stands here that the terminal does not show as it is.
    #[inline]
    pub(super) fn is_control(self, at: usize) -> bool {
        matches!(self.byte(at), 0 | 8 | 0x1b)
    }

    /// Where the line begins that `at` stands in.
    #[inline]
    fn line(self, at: usize) -> usize {
        let at = at.saturating_sub(self.base);
        let mut k = at / 64;
        let word = |k: usize| self.maps.newline.get(k).copied().unwrap_or(0);
        let mut newlines = word(k) & !(u64::MAX << (at % 64));
        while newlines == 0 {
            let Some(before) = k.checked_sub(1) else {
                return self.base;
            };
            k = before;
            newlines = word(k);
        }
        self.base + k * 64 + 64 - newlines.leading_zeros() as usize
    }

    /// How many lines end in the range.
    fn lines(self, range: Range<usize>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (from, to) = (range.start - self.base, range.end - self.base);
        let (a, b) = (from / 64, to / 64);
        let word = |k: usize| self.maps.newline.get(k).copied().unwrap_or(0);
        let (first, last) = (u64::MAX << (from % 64), !(u64::MAX << (to % 64)));
        let count = |word: u64| u64::from(word.count_ones());
        if a >= b {
            return count(word(a) & first & last);
        }
        let inner = self.maps.newline.get(a + 1..b).unwrap_or_default();
        count(word(a) & first) + simd::ones(self.width, inner) + count(word(b) & last)
    }
}

/// Upcoming in order.
pub(super) struct Upcoming<'m> {
    words: std::slice::Iter<'m, u64>,
    word: u64,
    at: usize,
    /// The first one that is left; `usize::MAX` where none is.
    next: usize,
    limit: usize,
}

impl Upcoming<'_> {
    /// The next one, if it stands before `to`.
    #[inline]
    pub(super) fn before(&mut self, to: usize) -> Option<usize> {
        let next = self.next;
        (next < to).then(|| {
            self.advance();
            next
        })
    }

    #[inline]
    fn advance(&mut self) {
        while self.word == 0 {
            let Some(word) = self.words.next() else {
                self.next = usize::MAX;
                return;
            };
            self.word = *word;
            self.at += 64;
        }
        let next = self.at + self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        // What stands behind the text says nothing.
        self.next = if next < self.limit { next } else { usize::MAX };
    }
}

/// The beginning of a line, which the byte machine has read as all there was. It is put together
/// with its rest, and skimmed like any other line: what has left of it is what would have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Up to where there is text, and up to where it has left.
    len: usize,
    out: usize,
    /// It may be the row of a table.
    in_table: bool,
}

/// A line whose suspects are being looked at.
struct Line {
    start: usize,
    /// What stands before it belongs to a protected value, or was looked at.
    covered: usize,
    /// The values before it.
    kept: usize,
    /// So many of its suspects have been looked at.
    suspects: usize,
}

/// What a suspect is for its line.
enum Seen {
    Clear,
    /// The same, and the line ends.
    End,
    /// The line needs a closer look.
    Doubt,
}

impl Line {
    /// Adds the value of the key whose name ends before `name`. False: it is not as plain as that.
    ///
    /// What is known is copied from where it is kept: a CPU waits for what was written in parts
    /// just before and is read whole.
    #[inline(always)]
    fn add(
        &mut self,
        text: &[u8],
        name: usize,
        known: &Known,
        row: u64,
        spans: &mut Vec<Span<How>>,
    ) -> bool {
        let Some((from, to, place)) = member::value(text, name) else {
            return false;
        };
        self.covered = to + 1;
        if spans.len() - self.kept >= MEMBERS_MAX {
            return false;
        }
        spans.push(Span {
            from,
            to,
            how: How {
                hit: known.hit,
                mask: known.by,
                place,
                row,
            },
        });
        true
    }

    /// The same, where that is seldom.
    #[inline(never)]
    fn add_known(
        &mut self,
        text: &[u8],
        name: usize,
        known: Known,
        row: u64,
        spans: &mut Vec<Span<How>>,
    ) -> bool {
        self.add(text, name, &known, row, spans)
    }
}

/// How far lines have left.
#[derive(Clone, Copy)]
pub(super) struct Gone {
    /// What stands before it has left.
    pub(super) to: usize,
    /// The lines before it have been counted.
    pub(super) counted: usize,
}

impl Lane {
    /// Takes a piece of any size. How many bytes of it are unreadable.
    pub(super) fn skim(&mut self, raw: &Bytes) -> usize {
        let Some(width) = self.skim.width.filter(|_| raw.len() >= self.skim.least) else {
            self.skim.cut = None;
            self.read(raw);
            return simd::unreadable(Width::best(), raw);
        };
        let mut at = self.mend(raw, width);
        let mut maps = std::mem::take(&mut self.skim.maps);
        let limit = memchr::memrchr(b'\n', raw).map_or(0, |i| i + 1);
        let mut base = None;
        let mut batch = 0;
        while at < raw.len() {
            if at < limit && self.ready() {
                let base = *base.get_or_insert_with(|| {
                    let text = raw.get(at..limit).unwrap_or_default();
                    simd::sweep(
                        width,
                        &self.rules.compiled().suspects.tables,
                        text,
                        &mut maps,
                    );
                    self.skim.grid.forget();
                    at
                });
                let piece = Piece {
                    raw,
                    width,
                    base,
                    limit,
                    maps: &maps,
                };
                let to = self.skim_lines(piece, at, at);
                if to - at > LEAST {
                    batch = 0;
                }
                at = to;
            }
            let rest = raw.get(at..).unwrap_or_default();
            let to = rest
                .get(batch..)
                .and_then(|r| memchr::memchr(b'\n', r))
                .map_or(rest.len(), |i| batch + i + 1);
            let cuts = at >= limit && self.ready();
            self.read(rest.get(..to).unwrap_or_default());
            self.skim.cut = cuts.then(|| self.cut(rest)).flatten();
            at += to;
            batch = (2 * to).min(BATCH_MAX);
        }
        self.skim.grid.shrink();
        let swept = base.filter(|_| maps.plain).map_or(0..0, |base| base..limit);
        self.skim.maps = maps;
        [raw.get(..swept.start), raw.get(swept.end..)]
            .into_iter()
            .flatten()
            .map(|bytes| simd::unreadable(width, bytes))
            .sum()
    }

    /// What is known of a line whose beginning was read, from where the lane was `ready`.
    fn cut(&self, begun: &[u8]) -> Option<Cut> {
        let len = self.view.text.len();
        let as_shown = self.view.text.get(self.line..) == Some(begun);
        (self.may_mask() && as_shown && begun.len() <= LINE_CONTEXT).then_some(Cut {
            len,
            out: self.out,
            in_table: self.table.is_some(),
        })
    }

    /// What was read of the line that was cut has been decided in another way.
    pub(super) fn forget_cut(&mut self) {
        self.skim.cut = None;
    }

    /// Skims the line that was cut, with its rest from `raw`; how much of that it was.
    fn mend(&mut self, raw: &[u8], width: Width) -> usize {
        let as_cut = Some(Cut {
            len: self.view.text.len(),
            out: self.out,
            in_table: self.table.is_some(),
        });
        let near = raw.get(..LINE_CONTEXT).unwrap_or(raw);
        if self.skim.cut.take() != as_cut || !self.is_plain() {
            return 0;
        }
        let Some(end) = memchr::memchr(b'\n', near) else {
            return 0;
        };
        let Some(left) = self.out.checked_sub(self.line) else {
            return 0;
        };
        let mut line = self.view.text.split_off(self.line);
        let begun = line.len();
        line.extend_from_slice(raw.get(..=end).unwrap_or_default());
        let line = Bytes::from(line);
        let mut maps = std::mem::take(&mut self.skim.maps);
        let tables = &self.rules.compiled().suspects.tables;
        simd::sweep(width, tables, &line, &mut maps);
        self.skim.grid.forget();
        let piece = Piece {
            raw: &line,
            width,
            base: 0,
            limit: line.len(),
            maps: &maps,
        };
        let whole = self.skim_lines(piece, 0, left) > 0;
        self.skim.maps = maps;
        if !whole {
            self.view
                .text
                .extend_from_slice(line.get(..begun).unwrap_or_default());
            return 0;
        }
        self.frame = Frame::Start;
        self.seen = None;
        end + 1
    }

    /// Whether little of what has come is kept: nothing is open, but for a line at most that was cut.
    pub(crate) fn rests(&self) -> bool {
        self.skim.cut.is_some() || self.ready()
    }

    /// Whether a line begins and nothing is open that would tell what it is.
    fn ready(&self) -> bool {
        let len = self.view.text.len();
        self.frame == Frame::Start
            && self.pos == len
            && self.out == len
            && self.seen.is_none()
            && self.is_plain()
    }

    /// Whether nothing is open, but for a value in this line.
    fn is_plain(&self) -> bool {
        !(self.painted || self.screen.shows_a_part() || self.pty && self.screen.is_watched())
            && self.inner == Inner::Text
            && self
                .table
                .as_ref()
                .is_none_or(|t| self.may_mask() && Grid::knows(t))
            && !self.body
            && self.framed.is_none()
            && self.listing.is_none()
            && self.block.is_none()
            && self.pair.is_none()
            && self.lists.is_none()
            && self.within.is_none()
            && self.section.is_none()
            && self.data.is_none()
            && self.creating.is_none()
            && self.broken.is_none()
            && self.sql.is_empty()
            && self.inserts.is_none()
            && self.values.is_none()
            && self.html == Html::default()
            && self.echo.is_empty()
            && self.view.marks.is_empty()
            && self.view.virt.is_empty()
            && self.view.signals.is_empty()
            && self.term.is_ground()
            && !self.term.paints()
    }

    /// Whether values may be replaced here: no rule withholds, so that records need no attention.
    fn may_mask(&self) -> bool {
        self.rules.compiled().suspects.all_leaves
    }

    /// Lets lines go from the one at `from` on, whose bytes before `left` have left, up to one that
    /// needs a closer look; where that begins.
    fn skim_lines(&mut self, piece: Piece<'_>, from: usize, left: usize) -> usize {
        let mut gone = Gone {
            to: left,
            counted: from,
        };
        let to = if self.table.is_some() {
            self.skim_rows(piece, from, &mut gone)
        } else {
            self.skim_text(piece, from, &mut gone)
        };
        if to > from {
            self.leave(piece, &mut gone, to);
            self.sink.row += piece.lines(gone.counted..to);
            self.rejoin(piece.raw.get(from..to).unwrap_or_default());
        }
        to
    }

    /// Lines that are no rows.
    fn skim_text(&mut self, piece: Piece<'_>, from: usize, gone: &mut Gone) -> usize {
        let rules = self.rules.clone();
        let mut spans = std::mem::take(&mut self.skim.spans);
        let mut stops = std::mem::take(&mut self.skim.stops);
        let mut suspects = piece.suspects(from);
        let mut to = piece.limit;
        while let Some(at) = suspects.before(piece.limit) {
            if Suspects::is_nothing(piece.raw, at) {
                continue;
            }
            let start = piece.line(at);
            let mut line = Line {
                start,
                covered: start,
                kept: spans.len(),
                suspects: 0,
            };
            self.at_line(piece, gone, start);
            let found = (&mut spans, &mut stops);
            match self.skim_near(&rules, piece, gone, (&mut line, at), found) {
                Some(next) => suspects = piece.suspects(next),
                None => {
                    spans.truncate(line.kept);
                    to = line.start;
                    break;
                }
            }
        }
        self.cover(&rules, piece, gone, &mut spans, "key-value");
        self.skim.spans = spans;
        self.skim.stops = stops;
        to
    }

    /// Looks at suspects from the first one of `line` on, as long as there are some near the ones
    /// before; how far. `None`: `line` needs a closer look.
    ///
    /// Suspects and newlines come out of one list. Where they stand in words of a bitmap, and in
    /// how many words there is none, differs from line to line, which no CPU foresees; what they
    /// are, and in which order, is mostly the same in each.
    fn skim_near(
        &mut self,
        rules: &Rules,
        piece: Piece<'_>,
        gone: &mut Gone,
        (line, first): (&mut Line, usize),
        (spans, stops): (&mut Vec<Span<How>>, &mut Vec<u16>),
    ) -> Option<usize> {
        let text = piece.raw.get(..piece.limit).unwrap_or_default();
        let mut word = (first - piece.base) / 64;
        loop {
            let (base, next) = piece.stops(word, stops);
            word = next;
            // What was looked at may stand in the first word, too.
            let before = |stop: &&u16| base + simd::place(**stop) < first;
            let skipped = stops.iter().take_while(before).count();
            let mut any = false;
            for stop in stops.get(skipped..).unwrap_or_default() {
                let at = base + simd::place(*stop);
                if stop & simd::END == 0 {
                    any = true;
                    match self.skim_suspect(rules, piece, text, line, at, spans) {
                        Seen::Clear => continue,
                        Seen::Doubt => return None,
                        Seen::End => {}
                    }
                }
                if !self.ends_plain(piece, line, at, spans) {
                    return None;
                }
                self.after_line(gone, at + 1);
                (line.start, line.kept, line.suspects) = (at + 1, spans.len(), 0);
                if spans.len() >= SPANS_MAX {
                    self.cover(rules, piece, gone, spans, "key-value");
                    line.kept = 0;
                }
            }
            let next = piece.base + word * 64;
            if next >= piece.limit || !any && spans.len() == line.kept {
                return Some(next.min(piece.limit));
            }
        }
    }

    /// What the suspect `at` is for its line. The value of a protected key is added to `spans`.
    #[inline(always)]
    fn skim_suspect(
        &mut self,
        rules: &Rules,
        piece: Piece<'_>,
        text: &[u8],
        line: &mut Line,
        at: usize,
        spans: &mut Vec<Span<How>>,
    ) -> Seen {
        // What stands before it is part of a value that is covered.
        if at < line.covered {
            return match text.get(at) {
                None | Some(0 | 8 | 0x1b) => Seen::Doubt,
                Some(b'\n') => Seen::End,
                Some(_) => Seen::Clear,
            };
        }
        let nth = line.suspects;
        line.suspects = nth.wrapping_add(1);
        // No newline is a quote, or stands behind a word that is known to be nothing.
        let clear = match self.skim.guesses.find(nth, text, at) {
            Guess::Nothing => return Seen::Clear,
            Guess::Key(known) => {
                return if line.add(text, at, known, self.sink.row, spans) {
                    Seen::Clear
                } else {
                    Seen::Doubt
                };
            }
            Guess::Unknown => self.look_at(rules, piece, line, at, nth, spans),
        };
        match text.get(at) {
            _ if !clear => Seen::Doubt,
            Some(b'\n') => Seen::End,
            _ => Seen::Clear,
        }
    }

    /// Whether the suspect `at` needs no closer look, the `nth` one of the line, of which nothing
    /// could be guessed.
    #[inline(never)]
    fn look_at(
        &mut self,
        rules: &Rules,
        piece: Piece<'_>,
        line: &mut Line,
        at: usize,
        nth: usize,
        spans: &mut Vec<Span<How>>,
    ) -> bool {
        let text = piece.raw.get(..piece.limit).unwrap_or_default();
        let Skim {
            keys,
            recent,
            guesses,
            ..
        } = &mut self.skim;
        if let Some((known, bytes)) = keys.find(text, at) {
            guesses.keep_key(nth, text, at, (known, bytes));
            return line.add_known(text, at, known, self.sink.row, spans);
        }
        if recent.is_other(text, at) {
            guesses.keep_other(nth, text, at);
            return true;
        }
        if Suspects::is_nothing(text, at) {
            return true;
        }
        let Some(end) = piece.newline(at) else {
            return false;
        };
        match Suspects::look(rules.compiled(), piece.raw, line.start, end, at, recent) {
            Look::Nothing => true,
            Look::Doubt => false,
            Look::Name(_) if !self.may_mask() => false,
            Look::Name(name) => self
                .member_key(text, line.start, name)
                .is_some_and(|known| line.add_known(text, name, known, self.sink.row, spans)),
        }
    }

    /// Whether a line that ends at `end` needs no closer look, none of whose suspects does.
    #[inline]
    fn ends_plain(&self, piece: Piece<'_>, line: &Line, end: usize, spans: &[Span<How>]) -> bool {
        spans.len() == line.kept
            || end + 1 >= line.covered
                && self.is_json(piece.raw.get(line.start..end).unwrap_or_default())
    }

    /// Counts the lines before the one that begins at `start`.
    pub(super) fn at_line(&mut self, piece: Piece<'_>, gone: &mut Gone, start: usize) {
        self.sink.row += piece.lines(gone.counted..start);
        gone.counted = start;
    }

    /// Counts the line that ends at `end`, the first one that was not.
    pub(super) fn after_line(&mut self, gone: &mut Gone, end: usize) {
        self.after_lines(gone, end + 1, 1);
    }

    /// Counts so many lines before `next`.
    pub(super) fn after_lines(&mut self, gone: &mut Gone, next: usize, lines: u64) {
        self.sink.row += lines;
        gone.counted = next;
    }

    /// Replaces values, after everything before them has left.
    pub(super) fn cover(
        &mut self,
        rules: &Rules,
        piece: Piece<'_>,
        gone: &mut Gone,
        spans: &mut Vec<Span<How>>,
        format: &'static str,
    ) {
        // Those that say that there is no value stay, and those that have left.
        spans.retain_mut(|span| {
            span.from = span.from.max(gone.to);
            span.from < span.to
        });
        let by = (rules, self.session.as_slice());
        gone.to = self
            .sink
            .cover(by, piece.raw, gone.to, spans, format, piece.width);
        spans.clear();
    }

    /// What stands before `to` leaves as it came.
    pub(super) fn leave(&mut self, piece: Piece<'_>, gone: &mut Gone, to: usize) {
        let from = std::mem::replace(&mut gone.to, to);
        if self.may_mask() {
            self.sink.pass_part(piece.raw, from..to);
        } else {
            self.sink.pass(piece.raw.get(from..to).unwrap_or_default());
        }
    }

    /// Puts lines that have left behind the text that may be looked back at.
    fn rejoin(&mut self, lines: &[u8]) {
        self.view.paints_before(usize::MAX);
        let body = lines.strip_suffix(b"\n").unwrap_or(lines);
        let size = body.len() - memchr::memrchr(b'\n', body).map_or(0, |i| i + 1);
        let whole = size <= LINE_CONTEXT;
        let keep = if whole {
            CONTEXT.max(size + 2)
        } else {
            CONTEXT
        };
        match lines.len().checked_sub(keep) {
            Some(from) => {
                self.view.text.clear();
                let kept = lines.get(from..).unwrap_or_default();
                self.view.text.extend_from_slice(kept);
            }
            None => self.view.text.extend_from_slice(lines),
        }
        let len = self.view.text.len();
        (self.out, self.pos, self.line, self.echoed) = (len, len, len, 0);
        let end = len - 1 - usize::from(body.last() == Some(&b'\r'));
        self.above = whole.then_some(((len - 1).saturating_sub(size), end));
        self.trim();
    }
}

/// As many values are found before they are replaced.
pub(super) const SPANS_MAX: usize = 128;
/// A line with more protected values is left to the byte machine.
const MEMBERS_MAX: usize = 8;
