//! Tables in strings: `"stdout": "id,ssn\n1,…"`, a line of one in each record of a log
//! (`{"log":"id,ssn\n"}`), or in each string of a list (`["id,ssn", "1,…"]`).
//!
//! From the header on, a lane of its own reads what the string says, and tells what is to be done
//! with it instead of doing so. What it decided is done here, to the bytes that say it: so what is
//! undecided there is withheld here, and nothing else.

use crate::hold::Holds;
use crate::mask::{self, Place};
use crate::rules::Rules;
use crate::sink::{Told, What};
use crate::table::{self, Kind};
use crate::value::{self, Quote};

use super::Flow::At;
use super::strings::joins;
use super::{Flow, Frame, Inner, LOOK_BACK, Lane, Until, VALUE_MAX};

/// A string whose lines are those of a table, while it is read, and until another one may go on
/// with it.
#[derive(Debug)]
pub(super) struct Within {
    lane: Lane,
    escapes: Escapes,
    /// Up to where the lane has been given what the string says.
    fed: usize,
    /// What stands before it was decided, and so many bytes are that as the lane has them.
    raw: usize,
    gone: u64,
    /// The last that it said was the end of a line, and how many it has had.
    ended: bool,
    lines: usize,
    place: Where,
    /// Behind its closing quote.
    at: usize,
    next: Next,
    /// Lines since it ended.
    idle: u32,
}

/// Where a string stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Where {
    /// Under this key of JSON.
    Member(Vec<u8>),
    /// In a list.
    Element,
    Other,
}

/// Which string may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next one in this line, as long as nobody knows better.
    Here,
    /// The one that the next line begins with.
    Line,
    /// The one under the same key, in one of the next lines.
    Record,
}

/// How what a string says is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Escapes {
    /// How many strings it stands in, and the quotes of each, the outermost first.
    level: usize,
    marks: [u8; LEVEL_MAX],
}

/// What stands at a place of a string.
enum Unit {
    /// A byte of what it says, or a character; and the size of what says it.
    Text([u8; 4], usize, usize),
    /// The string ends.
    End,
    /// More is needed.
    More,
}

/// Strings that stand in strings.
const LEVEL_MAX: usize = 3;
/// So many lines of others may come between two records.
const IDLE_MAX: u32 = 64;
/// A longer key is none under which a program logs.
const KEY_MAX: usize = 64;

impl Escapes {
    fn unit(&self, text: &[u8], at: usize, level: usize) -> Unit {
        let Some(below) = level.checked_sub(1) else {
            return match text.get(at) {
                Some(b) => Unit::Text([*b, 0, 0, 0], 1, 1),
                None => Unit::More,
            };
        };
        let size = match self.unit(text, at, below) {
            Unit::Text([b'\\', ..], 1, size) => size,
            Unit::Text([b, ..], 1, _) if b == b'\n' || self.marks.get(below) == Some(&b) => {
                return Unit::End;
            }
            other => return other,
        };
        match self.unit(text, at + size, below) {
            Unit::Text(bytes, len, next) => {
                let size = size + next;
                let one = |b| Unit::Text([b, 0, 0, 0], 1, size);
                match bytes {
                    [b'\n', ..] => Unit::End,
                    [b'n', ..] => one(b'\n'),
                    [b't', ..] => one(b'\t'),
                    [b'r', ..] => one(b'\r'),
                    [b'b' | b'f', ..] => one(b' '),
                    [b'e', ..] => one(0x1b),
                    [b'u', ..] => self.code(text, (at, size), 4, below),
                    [b'x', ..] => self.code(text, (at, size), 2, below),
                    _ => Unit::Text(bytes, len, size),
                }
            }
            other => other,
        }
    }

    /// A character by its number, of so many digits: `\u00e9`, `\ud83d\ude00`, `\xe9`.
    fn code(&self, text: &[u8], (at, head): (usize, usize), digits: usize, below: usize) -> Unit {
        let number = |mut from: usize| {
            let mut number = 0;
            for _ in 0..digits {
                match self.unit(text, from, below) {
                    Unit::Text([b, ..], 1, size) => match char::from(b).to_digit(16) {
                        Some(digit) => (number, from) = (16 * number + digit, from + size),
                        None => return Ok(None),
                    },
                    Unit::Text(..) | Unit::End => return Ok(None),
                    Unit::More => return Err(()),
                }
            }
            Ok(Some((number, from)))
        };
        let (first, end) = match number(at + head) {
            Err(()) => return Unit::More,
            Ok(None) => return Unit::Text([b'u', 0, 0, 0], 1, head),
            Ok(Some(found)) => found,
        };
        if digits == 2 {
            let b = u8::try_from(first).unwrap_or(b'?');
            return Unit::Text([b, 0, 0, 0], 1, end - at);
        }
        let (mut code, mut end) = (first, end);
        if (0xd800..0xdc00).contains(&first) {
            // The other half of a pair, which is written in the same way.
            match number(end + head) {
                Err(()) => return Unit::More,
                Ok(Some((second, upto))) if (0xdc00..0xe000).contains(&second) => {
                    code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    end = upto;
                }
                Ok(_) => {}
            }
        }
        // What moves the cursor back says nothing in a string.
        let c = char::from_u32(code).map_or(char::REPLACEMENT_CHARACTER, |c| match c {
            '\0' | '\u{8}' => ' ',
            c => c,
        });
        let mut bytes = [0; 4];
        let len = c.encode_utf8(&mut bytes).len();
        Unit::Text(bytes, len, end - at)
    }

    /// The innermost quote.
    fn mark(&self) -> u8 {
        let mark = self
            .level
            .checked_sub(1)
            .and_then(|level| self.marks.get(level));
        mark.copied().unwrap_or(b'"')
    }

    /// The size of the quote that closes the string.
    fn close(&self) -> usize {
        1 << (self.level - 1)
    }
}

impl Within {
    fn new(lane: Lane, escapes: Escapes, at: usize, place: Where) -> Self {
        Self {
            gone: lane.sink.offset,
            lane,
            escapes,
            fed: at,
            raw: at,
            ended: true,
            lines: usize::from(place != Where::Element),
            place,
            at,
            next: Next::Here,
            idle: 0,
        }
    }

    /// Another string begins at `at`.
    fn begin(&mut self, at: usize) {
        (self.fed, self.raw, self.gone) = (at, at, self.lane.sink.offset);
        (self.next, self.idle, self.lines) = (Next::Here, 0, 0);
    }

    fn goes_on(&self) -> bool {
        self.lane.table.is_some()
    }

    /// Whether nothing of the string is still open: what is cannot be told from the next string.
    fn is_settled(&self) -> bool {
        let lane = &self.lane;
        lane.inner == Inner::Text && lane.out == lane.view.text.len()
    }

    /// Whether its lines are rows.
    fn is_of_columns(&self) -> bool {
        let kind = self.lane.table.as_ref().map(|table| table.kind);
        !matches!(
            kind,
            None | Some(Kind::Expanded | Kind::Expanded0 | Kind::Latex | Kind::Asciidoc)
        )
    }

    /// How a bare value of what it says is replaced, so that a string of JSON stays one.
    fn literal(&self) -> Place {
        match (self.escapes.level, self.escapes.marks.first()) {
            (1, Some(b'"')) => Place::Escaped,
            (1, _) => Place::Literal,
            _ => Place::Word,
        }
    }

    /// How far what says the first `upto` bytes goes.
    fn walk(&mut self, text: &[u8], upto: u64) -> usize {
        while self.gone < upto {
            match self.escapes.unit(text, self.raw, self.escapes.level) {
                Unit::Text(_, len, size) if self.raw < self.fed => {
                    self.gone += len as u64;
                    self.raw += size;
                }
                // What nobody wrote: the end of a line behind a string.
                Unit::Text(..) | Unit::End | Unit::More => self.gone = upto,
            }
        }
        self.raw
    }

    /// So many bytes before it were forgotten.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.fed = self.fed.saturating_sub(bytes);
        self.raw = self.raw.saturating_sub(bytes);
        self.at = self.at.saturating_sub(bytes);
    }
}

impl Lane {
    /// A line may end in a string, at backslashes that begin at `at`: it may be a header.
    pub(super) fn escaped_break(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let rest = self.slice(at, limit);
        let run = rest.iter().take_while(|b| **b == b'\\').count();
        let inside = at.checked_sub(1).and_then(|i| self.byte(i)) == Some(b'\\');
        if inside || !self.may_begin_within() {
            return At(at + run.max(1));
        }
        match rest.get(run) {
            None if !closed && run < 1 << LEVEL_MAX => self.more_after(at + run - 1),
            Some(b'n') if run.is_power_of_two() && run < 1 << LEVEL_MAX => {
                self.string_begins(at, run);
                At(at + run + 1)
            }
            _ => At(at + run.max(1)),
        }
    }

    fn may_begin_within(&self) -> bool {
        self.depth == 0
            && self.frame == Frame::Line
            && self.inner == Inner::Text
            && !self.rules.compiled().fields.is_empty()
    }

    /// Whether the line of a string that ends at `at` is the header of a table, where so many
    /// backslashes stand before the `n` of an end of line. A lane reads the rest of the string then.
    fn string_begins(&mut self, at: usize, run: usize) -> Option<()> {
        let (mut from, mut first) = self.line_within(at, run)?;
        if table::is_rule(self.slice(from, at)) && !first {
            // The line above it may be one, and is none without it.
            (from, first) = self.line_within(from - run - 1, run)?;
        }
        if !self.may_be_header(from, at) {
            return None;
        }
        let escapes = self.escapes_at(from, first, run)?;
        let end = at + run + 1;
        let lane = self.lane_within(&self.said(escapes, from, end))?;
        let place = if first && escapes.level == 1 {
            self.place_of(from - 1)
        } else {
            Where::Other
        };
        self.within = Some(Box::new(Within::new(lane, escapes, end, place)));
        self.inner = Inner::Decoded;
        Some(())
    }

    /// Where the line of a string begins that ends at `at`; and whether the string begins there.
    fn line_within(&self, at: usize, run: usize) -> Option<(usize, bool)> {
        let floor = self
            .line_floor(at)
            .max(at.saturating_sub(LOOK_BACK))
            .min(at);
        let text = self.slice(floor, at);
        let slashes = |i: usize| {
            let before = text.get(..i).unwrap_or_default().iter().rev();
            before.take_while(|b| **b == b'\\').count()
        };
        // An apostrophe; but bytes of Python begin with a letter.
        let follows_word = |i: usize| {
            let before = text.get(i.saturating_sub(2)..i).unwrap_or_default();
            match before {
                [b'b'] => false,
                [a, b'b'] => crate::name::is_word(*a),
                [.., b] => crate::name::is_word(*b),
                [] => false,
            }
        };
        text.iter().enumerate().rev().find_map(|(i, b)| {
            let line = *b == b'n' && slashes(i) == run;
            let quote = match b {
                b'"' => slashes(i) + 1 == run || run == 2 && slashes(i) == 0,
                b'\'' => slashes(i) == 0 && !follows_word(i),
                _ => false,
            };
            (line || quote).then_some((floor + i + 1, quote))
        })
    }

    /// How the string is written that `from` stands in, by the backslashes before the `n` of an end
    /// of line.
    fn escapes_at(&self, from: usize, first: bool, run: usize) -> Option<Escapes> {
        let before = self.slice(from.saturating_sub(2), from);
        let outer = match self.string_at(from) {
            Some(outer) if outer.slashes > 0 => return None,
            Some(outer) => outer.mark,
            None if first && before == b"b'" => b'\'',
            // Its quote is too far away.
            None if self.is_far(from) => b'"',
            None => return None,
        };
        let level = run.ilog2() as usize + 1;
        Some(Escapes {
            level,
            marks: [outer, b'"', b'"'],
        })
    }

    /// Whether what stands between two places may be the header of a table with a protected column.
    fn may_be_header(&self, from: usize, to: usize) -> bool {
        let text = self.slice(from, to);
        let mut words = text.split(|b| !crate::name::is_word(*b));
        let named = words.any(|word| self.rules.compiled().may_end(word));
        named || memchr::memmem::find(text, b"[ RECORD ").is_some()
    }

    /// What a string says from `from` to `end`.
    fn said(&self, escapes: Escapes, from: usize, end: usize) -> Vec<u8> {
        let text = self.slice(0, end);
        let mut said = Vec::new();
        let mut at = from;
        while let Unit::Text(bytes, len, size) = escapes.unit(text, at, escapes.level) {
            said.extend_from_slice(bytes.get(..len).unwrap_or_default());
            at += size;
        }
        said
    }

    /// A lane that has read what a string says, if that is the header of a table.
    fn lane_within(&self, said: &[u8]) -> Option<Self> {
        let mut lane = Self::new(Rules::clone(&self.rules), false, Holds::new(false, None));
        lane.depth = self.depth + 1;
        lane.sink.tell();
        lane.read(said);
        // The header itself has left.
        lane.sink.take_told();
        (lane.table.is_some() && lane.out == lane.view.text.len()).then_some(lane)
    }

    /// What the string is whose opening quote stands at `open`.
    fn place_of(&self, open: usize) -> Where {
        let floor = self.list_floor(open);
        let end = self.blanks_before(open, floor);
        let Some(before) = end.checked_sub(1) else {
            return Where::Other;
        };
        match self.byte(before) {
            Some(b':') => {
                let key = value::key_before(self.text(), before, floor.min(before));
                let plain =
                    key.filter(|key| key.quote.is_some_and(|q| q.mark == b'"' && q.len() == 1));
                let name = plain.map(|key| self.slice(key.name.0, key.name.1));
                let short = name.filter(|name| (1..=KEY_MAX).contains(&name.len()));
                short.map_or(Where::Other, |name| Where::Member(name.to_vec()))
            }
            Some(b'[' | b',' | b'(') => Where::Element,
            _ => Where::Other,
        }
    }

    /// Reads on in a string whose lines are those of a table.
    pub(super) fn decoded(&mut self, limit: usize, closed: bool) -> Flow {
        let Some(mut within) = self.within.take() else {
            self.inner = Inner::Text;
            return At(self.pos);
        };
        within.fed = within.fed.min(limit);
        let text = self.slice(0, limit);
        let mut said = Vec::new();
        let ends = loop {
            match within.escapes.unit(text, within.fed, within.escapes.level) {
                Unit::Text(bytes, len, size) => {
                    said.extend_from_slice(bytes.get(..len).unwrap_or_default());
                    within.fed += size;
                }
                Unit::End => break true,
                Unit::More => break closed,
            }
        };
        if let Some(last) = said.last() {
            within.ended = *last == b'\n';
            // A record of a log has one line.
            within.lines += said.iter().filter(|b| **b == b'\n').count();
        }
        within.lane.read(&said);
        if ends && !within.ended {
            within.lane.read(b"\n");
        }
        if ends {
            within.lane.run(true);
        }
        self.follow(&mut within, limit);
        if !ends && within.fed - within.raw > VALUE_MAX {
            return self.give_up(&within);
        }
        if !ends {
            let (raw, whole) = (within.raw, within.raw == within.fed && within.raw == limit);
            self.within = Some(within);
            if whole {
                return At(limit);
            }
            self.pos = raw;
            return self.more(raw);
        }
        let end = within.fed;
        self.inner = Inner::Text;
        within.at = end + within.escapes.close();
        within.next = Next::Here;
        self.within = Some(within).filter(|within| within.goes_on() && within.is_settled());
        At(end)
    }

    /// Nobody can say what so long a value is, which was written in another way: nothing of the rest
    /// of the string leaves.
    fn give_up(&mut self, within: &Within) -> Flow {
        let quote = Quote {
            slashes: within.escapes.close() - 1,
            ..Quote::plain(within.escapes.mark())
        };
        self.inner = Inner::Text;
        if let Some(hit) = self.rules.compiled().any() {
            self.mask_part(within.raw, within.fed, hit, Place::Inside, "json");
            self.swallow_until(Until::Quote(quote));
        }
        At(within.fed)
    }

    /// Does what the lane has decided about what a string says.
    fn follow(&mut self, within: &mut Within, limit: usize) {
        for Told { offset, size, what } in within.lane.sink.take_told() {
            let from = within.walk(self.slice(0, limit), offset);
            let to = within.walk(self.slice(0, limit), offset + size);
            match what {
                What::Value(value, long) => {
                    self.told = true;
                    let escaped = self.slice(from, to).contains(&b'\\');
                    let place = match value.place {
                        Place::Literal | Place::Escaped | Place::Doubled => within.literal(),
                        place => place,
                    };
                    if escaped && place == Place::Cell {
                        // Of what is written in another way nothing is kept but its width.
                        let upto = self.columns_end(within.escapes, from, to);
                        self.mask_part(from, upto, value.hit, place, value.format);
                        self.drop_to(to);
                    } else if long {
                        self.mask_part(from, to, value.hit, place, value.format);
                    } else {
                        self.mask(from, to, value.hit, place, value.format);
                    }
                }
                What::Dropped => self.drop_to(to),
                What::Stop(hit) => self.stop_before(from, Some(hit)),
            }
        }
        within.walk(self.slice(0, limit), within.lane.sink.offset);
    }

    /// Up to where what stands from `from` on is as wide as what it says up to `to`.
    fn columns_end(&self, escapes: Escapes, from: usize, to: usize) -> usize {
        let said = self.said(escapes, from, to);
        let wide = mask::width(&String::from_utf8_lossy(&said));
        let width = |end: &usize| mask::width(&String::from_utf8_lossy(self.slice(from, *end)));
        (from..to).find(|end| width(end) >= wide).unwrap_or(to)
    }

    /// A string ends before the comma at `at`: as one of a list it may be the header of a table,
    /// whose rows are the strings behind it; or the next one goes on with the table.
    pub(super) fn string_listed(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        if self.within.is_none() {
            self.list_begins(at)?;
        }
        let within = self.within.as_ref()?;
        if within.next != Next::Here || within.at != at || within.place != Where::Element {
            return None;
        }
        let rest = self.slice(at + 1, limit);
        let blanks = rest.iter().take_while(|b| **b == b' ').count();
        match rest.get(blanks) {
            None if !closed => Some(self.more_after(at + blanks)),
            Some(b) if self.opens_element(*b) => {
                let first = rest.get(blanks + 1..).unwrap_or_default();
                match is_option(first) {
                    None if !closed => Some(self.more_after(at + blanks + first.len() + 1)),
                    Some(false) => Some(self.resume(at + 1 + blanks + 1)),
                    // A list of arguments.
                    _ => {
                        self.within = None;
                        None
                    }
                }
            }
            _ => None,
        }
    }

    /// Whether the string that ends before `at`, as one of a list, is the header of a table, or the
    /// line below one.
    fn list_begins(&mut self, at: usize) -> Option<()> {
        if !self.may_begin_within() {
            return None;
        }
        let close = at.checked_sub(1)?;
        let mark = self.byte(close).filter(|b| matches!(b, b'"' | b'\''))?;
        let mut open = self.element_before(close, mark)?;
        let escapes = Escapes {
            level: 1,
            marks: [mark, b'"', b'"'],
        };
        let mut said = self.said(escapes, open + 1, close);
        if table::is_rule(&said) {
            let floor = self.list_floor(open);
            let comma = self.blanks_before(open, floor).checked_sub(1)?;
            let above = comma
                .checked_sub(1)
                .filter(|_| self.byte(comma) == Some(b','))?;
            open = self.element_before(above, mark)?;
            let mut both = self.said(escapes, open + 1, above);
            both.push(b'\n');
            both.append(&mut said);
            said = both;
        } else if table::header(self.rules.compiled(), &said).is_none() {
            // A name alone is one of a list of names.
            return None;
        }
        if !self.may_be_header(open + 1, close) || self.place_of(open) != Where::Element {
            return None;
        }
        said.push(b'\n');
        let lane = self.lane_within(&said)?;
        let mut within = Within::new(lane, escapes, close, Where::Element);
        within.at = at;
        self.within = Some(Box::new(within));
        Some(())
    }

    /// The quote that opens the string which the quote at `close` ends.
    fn element_before(&self, close: usize, mark: u8) -> Option<usize> {
        let floor = self.list_floor(close);
        let text = self.slice(floor, close);
        let open = memchr::memrchr(mark, text)?;
        let escaped = open.checked_sub(1).and_then(|i| text.get(i)) == Some(&b'\\');
        (self.byte(close) == Some(mark) && !escaped).then_some(floor + open)
    }

    fn opens_element(&self, b: u8) -> bool {
        self.within
            .as_ref()
            .is_some_and(|within| within.escapes.marks.first() == Some(&b))
    }

    /// A string that goes on with the table begins at `at`, behind its quote.
    fn resume(&mut self, at: usize) -> Flow {
        if let Some(within) = &mut self.within {
            within.begin(at);
            self.inner = Inner::Decoded;
        }
        At(at)
    }

    /// A key ends before the colon at `at`: the next record of a log may go on with the table.
    pub(super) fn record(&mut self, at: usize, limit: usize, closed: bool) -> Option<Flow> {
        let within = self
            .within
            .as_ref()
            .filter(|within| within.next == Next::Record)?;
        let Where::Member(key) = &within.place else {
            return None;
        };
        let before = self.slice(at.saturating_sub(key.len() + 3), at);
        let name = before.strip_suffix(b"\"")?.strip_suffix(key.as_slice())?;
        if !name.ends_with(b"\"") || name.starts_with(b"\\") || self.frame != Frame::Line {
            return None;
        }
        let rest = self.slice(at + 1, limit);
        let blanks = rest.iter().take_while(|b| **b == b' ').count();
        match rest.get(blanks) {
            None if !closed => Some(self.more_after(at + blanks)),
            Some(b'"') => Some(self.resume(at + 1 + blanks + 1)),
            _ => None,
        }
    }

    /// The line ends at `to`: which string may go on with a table that one of this line said.
    pub(super) fn within_line_ends(&mut self, to: usize) {
        let Some(mut within) = self.within.take() else {
            return;
        };
        within.idle += 1;
        if within.next == Next::Here {
            let rest = self.slice(within.at, to).trim_ascii();
            let listed = rest == b"," && within.place == Where::Element;
            within.next = match &within.place {
                _ if listed || joins(rest) => Next::Line,
                // Of other tables no line is a suspect's.
                Where::Member(_) if within.lines < 2 && within.is_of_columns() => Next::Record,
                Where::Member(_) | Where::Element | Where::Other => return,
            };
        } else if within.next == Next::Line || within.idle > IDLE_MAX {
            return;
        }
        self.within = Some(within);
    }

    /// Whether it can be told if the line that begins here goes on with a string of the line above.
    pub(super) fn within_goes_on(&mut self, end: bool) -> bool {
        if self
            .within
            .as_ref()
            .is_none_or(|within| within.next != Next::Line)
        {
            return true;
        }
        let rest = self.slice(self.pos, self.view.text.len());
        let blanks = rest
            .iter()
            .take_while(|b| **b == b' ' || **b == b'\t')
            .count();
        match rest.get(blanks) {
            None if !end && blanks < KEY_MAX => return false,
            Some(b) if self.opens_element(*b) => {
                match is_option(rest.get(blanks + 1..).unwrap_or_default()) {
                    None if !end => return false,
                    Some(false) => {
                        self.pos += blanks + 1;
                        self.resume(self.pos);
                    }
                    // A list of arguments.
                    _ => self.within = None,
                }
            }
            _ => self.within = None,
        }
        true
    }
}

/// Whether a string that begins so is an option of a program (`-p`, `--password`); `None`: more is
/// needed. A row or a rule of a table is none.
fn is_option(text: &[u8]) -> Option<bool> {
    let dashes = text.iter().take(3).take_while(|b| **b == b'-').count();
    match text.get(dashes) {
        Some(b) => Some((1..=2).contains(&dashes) && b.is_ascii_alphabetic()),
        None if dashes > 2 => Some(false),
        None => None,
    }
}
