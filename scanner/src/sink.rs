//! What has been decided: bytes on their way out, verdicts, and the account.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::hold::{Ends, Held, Holds, Record, Rows};
use crate::mask::{self, Keyed, Place};
use crate::noted::{Noted, Notes};
use crate::rules::{Action, Hit, Mask, Rules};
use crate::simd::{self, Span, Width};
use crate::{Coverage, table, value};

/// The most verdicts that are kept until somebody takes them; later ones are only counted.
const VERDICTS_MAX: usize = 4096;

/// No row of a screen is longer.
const PART_CELL_MAX: usize = 4096;

/// Collects what one stream lets go.
#[derive(Debug)]
pub(crate) struct Sink {
    /// Lines that were not copied, and what was copied between them.
    shared: Vec<Bytes>,
    out: BytesMut,
    /// Where in the output a hold begins.
    hold: Option<Stop>,
    /// Where in the output it is refused.
    refuse: Option<(usize, Hit)>,
    holds: Holds,
    records: Records,
    /// Values with which a hold began that is shown in place.
    opened: Vec<Hit>,
    rows: Rows,
    /// What becomes of the rest of a value that is too long to be kept.
    rest: Rest,
    pub(crate) verdicts: Notes,
    /// How many there were last time: as many come next, mostly.
    expected: usize,
    pub(crate) coverage: Coverage,
    /// Raw bytes decided so far.
    pub(crate) offset: u64,
    pub(crate) row: u64,
    scratch: BytesMut,
    /// Nothing leaves: what is decided is told to who reads the same text in another form.
    told: Option<Vec<Told>>,
}

/// What was decided of so many bytes from a place on, beside that they leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A value, and whether it is a part of one.
    Value(Value, bool),
    Dropped,
    /// A record begins that this one's rule withholds.
    Stop(Hit),
}

/// What becomes of the rest of a value whose beginning has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Dropped,
    /// It goes where its beginning went: into the hold of the whole output.
    Passed,
    /// The same, into the hold of this rule.
    Held(u16),
}

/// Where and why a hold of everything begins.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) rule: u16,
    pub(crate) field: String,
}

/// Whether the output leaves record by record.
#[derive(Debug)]
enum Records {
    No,
    Yes {
        record: Record,
        max: usize,
        /// The rule that withholds a longer one.
        long: u16,
        /// Up to where in the output records are whole, where some are.
        whole: Option<usize>,
    },
}

/// What has left a lane.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) bytes: Bytes,
    /// Up to where in it records are whole, before a hold; what came before is whole then, too.
    pub(crate) whole: Option<usize>,
    /// The hold that begins with the record after those.
    pub(crate) hold: Option<Stop>,
    /// Where in it the output is refused.
    pub(crate) refuse: Option<(usize, Hit)>,
    /// Holds that began while the output goes on.
    pub(crate) opened: Vec<Hit>,
    /// Rows for them.
    pub(crate) rows: Vec<(u16, Bytes)>,
}

impl Sink {
    /// In a terminal held values are replaced where they stand; otherwise the output leaves record
    /// by record where a rule holds.
    pub(crate) fn new(rules: &Rules, pty: bool, holds: Holds) -> Self {
        let rows = pty && rules.may_hold();
        let records = !pty && rules.may_hold();
        let long = rules.compiled().first_hold();
        Self {
            shared: Vec::new(),
            out: BytesMut::new(),
            hold: None,
            refuse: None,
            holds,
            records: if records {
                Records::Yes {
                    record: Record::default(),
                    max: RECORD_MAX,
                    long,
                    whole: None,
                }
            } else {
                Records::No
            },
            opened: Vec::new(),
            rows: Rows::new(rows),
            rest: Rest::Dropped,
            verdicts: Notes::default(),
            expected: 0,
            coverage: Coverage::default(),
            offset: 0,
            row: 0,
            scratch: BytesMut::new(),
            told: None,
        }
    }

    /// From here on what is decided is told, and nothing leaves.
    pub(crate) fn tell(&mut self) {
        self.told = Some(Vec::new());
    }

    /// What was decided since the last call.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        self.told.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Tells what was decided of the next bytes, if somebody wants to know. Whether it does.
    fn is_told(&mut self, size: usize, what: What) -> bool {
        let (offset, size) = (self.offset, size as u64);
        let Some(told) = &mut self.told else {
            return false;
        };
        told.push(Told { offset, size, what });
        self.offset += size;
        true
    }

    pub(crate) fn set_record_max(&mut self, bytes: usize) {
        if let Records::Yes { max, .. } = &mut self.records {
            *max = bytes;
        }
    }

    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        self.show(bytes);
        self.coverage.passed += bytes.len() as u64;
        self.offset += bytes.len() as u64;
    }

    fn show(&mut self, bytes: &[u8]) {
        if self.told.is_some() {
            return;
        }
        if !matches!(self.records, Records::No) {
            self.follow(bytes);
        }
        self.rows.show(&mut self.out, bytes);
    }

    /// Tells where records end in what is added to the output.
    fn follow(&mut self, bytes: &[u8]) {
        let Records::Yes {
            record,
            max,
            whole,
            long,
        } = &mut self.records
        else {
            return;
        };
        for (k, b) in bytes.iter().enumerate() {
            let at = self.out.len() + k;
            let rest = record.is_rest(*b);
            let ends = record.step(*b);
            if self.hold.is_some() {
                continue;
            }
            if rest && let Some((rule, field)) = self.holds.own_again() {
                self.hold = Some(Stop { rule, field });
                continue;
            }
            match ends {
                Ends::After => *whole = Some(at + 1),
                Ends::Before => *whole = Some(at),
                Ends::No => {}
            }
            if record.size() > *max && !self.holds.is_owned() {
                let rule = *long;
                self.holds.own(rule, TOO_LONG);
                self.hold = Some(Stop {
                    rule,
                    field: TOO_LONG.to_owned(),
                });
            }
        }
    }

    /// Whether the rest of a value passes, since its beginning did.
    pub(crate) fn passes_rest(&self) -> bool {
        self.rest == Rest::Passed
    }

    /// Lets a piece of what was fed go without a copy. Only where no rule withholds or refuses:
    /// nothing knows of a place in such a piece.
    pub(crate) fn pass_shared(&mut self, bytes: Bytes) {
        self.coverage.passed += bytes.len() as u64;
        self.offset += bytes.len() as u64;
        if !self.out.is_empty() {
            self.shared.push(self.out.split().freeze());
        }
        self.shared.push(bytes);
    }

    /// What was let go so, before everything that [`take`](Self::take) gives.
    pub(crate) fn take_shared(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.shared)
    }

    /// Bytes that are dropped without a trace of their own: the rest of a value that is masked.
    /// `text` is all that stands there.
    pub(crate) fn swallow(&mut self, size: usize, text: &[u8]) {
        if self.is_told(size, What::Dropped) {
            return;
        }
        if let Rest::Held(rule) = self.rest {
            self.rows.hold_rest(rule, text);
            self.coverage.held += size as u64;
        } else {
            self.coverage.masked += size as u64;
        }
        self.offset += size as u64;
    }

    /// The cursor goes to another row.
    pub(crate) fn moved(&mut self) {
        self.rows.moved();
    }

    /// A record begins that `hit`'s rule withholds, whatever stands in it.
    pub(crate) fn stop(&mut self, rules: &Rules, hit: Hit) {
        if self.is_told(0, What::Stop(hit)) {
            return;
        }
        if self.holds.of(hit) == Held::Clear {
            self.stop_here(rules, hit);
        }
    }

    /// The record that is being written, and all that follows, belongs to a hold.
    fn stop_here(&mut self, rules: &Rules, hit: Hit) {
        if self.hold.is_none() {
            let field = rules.compiled().what(hit);
            self.holds.own(hit.rule, field);
            self.hold = Some(Stop {
                rule: hit.rule,
                field: field.to_owned(),
            });
        }
    }

    /// Replaces `value`. False where its rule withholds or refuses: then it has to pass as it came,
    /// behind the place that is noted.
    pub(crate) fn value(
        &mut self,
        rules: &Rules,
        session: &[u8],
        value: &[u8],
        found: Value,
        long: bool,
    ) -> bool {
        if self.is_told(value.len(), What::Value(found, long)) {
            return true;
        }
        let compiled = rules.compiled();
        self.note(found, value.len());
        let hit = found.hit;
        match compiled.action(hit) {
            Action::Mask(mask) => self.replace(rules, session, value, found, mask, long),
            Action::Refuse => {
                let at = self.out.len();
                self.refuse.get_or_insert((at, hit));
                self.rest = Rest::Passed;
                return false;
            }
            Action::Hold(_) => match self.holds.of(hit) {
                Held::Clear => {
                    self.stop_here(rules, hit);
                    self.rest = Rest::Passed;
                    return false;
                }
                Held::Redacted => {
                    self.replace(rules, session, value, found, Mask::Redact, long);
                }
                Held::Replaced { label, opened } => {
                    if opened {
                        self.opened.push(hit);
                    }
                    self.rest = Rest::Held(hit.rule);
                    self.rows
                        .hold(&mut self.out, hit.rule, value, &label, found.place);
                    self.coverage.held += value.len() as u64;
                    self.offset += value.len() as u64;
                }
            },
        }
        true
    }

    /// The verdicts since the last call.
    pub(crate) fn take_verdicts(&mut self) -> Notes {
        self.expected = self.verdicts.singles();
        std::mem::take(&mut self.verdicts)
    }

    /// Makes room for verdicts, the first time that there are some: until then none is kept.
    #[inline]
    fn expect_verdicts(&mut self) {
        // A few more, so that they need not be moved.
        self.verdicts.expect(self.expected + self.expected / 8);
    }

    /// Notes the verdict of a value that begins here.
    fn note(&mut self, found: Value, size: usize) {
        self.expect_verdicts();
        let offset = self.offset;
        if self.verdicts.len() < VERDICTS_MAX {
            self.verdicts.push(Noted {
                hit: found.hit,
                format: found.format,
                offset,
                length: size as u64,
                end: offset + size as u64,
                row: self.row,
            });
        }
        self.rest = Rest::Dropped;
    }

    /// What was let go since the last value began stands in it.
    pub(crate) fn reach(&mut self) {
        let end = self.offset;
        if let Some(last) = self.verdicts.last_single() {
            last.end = end;
        }
    }

    /// Lets what stands in `raw` from `from` on go as it came, up to the end of the last of
    /// `spans`, which are replaced. Only where no rule withholds or refuses. How far that is.
    pub(crate) fn cover(
        &mut self,
        (rules, session): (&Rules, &[u8]),
        raw: &Bytes,
        mut from: usize,
        mut spans: &[Span<How>],
        format: &'static str,
        width: Width,
    ) -> usize {
        while let Some(first) = spans.first() {
            self.make_room(raw, from, first.from.saturating_sub(from));
            let decide = |how: How, kinds| mask::cover(kinds, how.mask, how.place);
            let done = simd::covers(width, raw, from, spans, &mut self.out, decide);
            let (done, rest) = spans.split_at(done);
            from = self.covered(from, done, format);
            spans = rest;
            // What is not as plain as that, or stands far away.
            if let Some((span, rest)) = spans.split_first() {
                self.pass_part(raw, from..span.from);
                let row = std::mem::replace(&mut self.row, span.how.row);
                let value = raw.get(span.from..span.to).unwrap_or_default();
                let found = Value {
                    hit: span.how.hit,
                    place: span.how.place,
                    format,
                    begins_scalar: false,
                };
                if !self.value(rules, session, value, found, false) {
                    self.pass(value);
                }
                self.row = row;
                from = span.to;
                spans = rest;
            }
        }
        from
    }

    /// Lets rows of `raw` go from `next` on, with the values of protected columns replaced, as long
    /// as they are plain. Only where no rule withholds or refuses, and everything before them has
    /// left.
    pub(crate) fn cover_rows(
        &mut self,
        raw: &Bytes,
        rows: &simd::rows::Rows<'_, How>,
        next: &mut simd::rows::Next,
        is_clear: impl FnMut(Range<usize>, usize) -> bool,
        format: &'static str,
        width: Width,
    ) {
        let start = rows.base + next.start;
        // For all of them: a row for which there is no room is looked at in another way.
        let rest = rows.text.len().saturating_sub(next.start);
        if self.out.capacity() - self.out.len() < rest + PART_MIN {
            self.out.reserve(raw.len().saturating_sub(start) + PART_MIN);
        }
        let mut judge = Columns { raw, is_clear };
        // As places in the text count.
        let offset = self.offset.wrapping_sub(next.start as u64);
        let out = &mut self.out;
        let room = VERDICTS_MAX.saturating_sub(self.verdicts.len());
        let columns = rows.shape.columns().map(|how| how.hit);
        let kept = (format, offset, self.row);
        let masked = self.verdicts.add_rows(kept, columns, |briefs| {
            let most = briefs.len() + room;
            let mut left = simd::rows::Left {
                out,
                briefs,
                most,
                masked: 0,
            };
            simd::rows::cover(width, rows, next, &mut judge, &mut left);
            left.masked
        });
        let size = (rows.base + next.start - start) as u64;
        self.coverage.masked += masked;
        self.coverage.passed += size - masked;
        self.offset += size;
        self.row += next.rows;
        if masked > 0 {
            self.rest = Rest::Dropped;
        }
    }

    /// Notes values that have been replaced, and what stood between them from `from` on. Where
    /// the last one ends.
    fn covered(&mut self, from: usize, spans: &[Span<How>], format: &'static str) -> usize {
        let Some(to) = spans.last().map(|span| span.to) else {
            return from;
        };
        let offset = self.offset;
        self.expect_verdicts();
        let room = VERDICTS_MAX.saturating_sub(self.verdicts.len());
        self.verdicts
            .extend(spans.iter().take(room).map(|span| Noted {
                hit: span.how.hit,
                format,
                offset: offset + (span.from - from) as u64,
                length: (span.to - span.from) as u64,
                end: offset + (span.to - from) as u64,
                row: span.how.row,
            }));
        let masked: usize = spans.iter().map(|span| span.to - span.from).sum();
        self.coverage.masked += masked as u64;
        self.coverage.passed += (to - from - masked) as u64;
        self.offset += (to - from) as u64;
        self.rest = Rest::Dropped;
        to
    }

    /// Makes room for `size` bytes and more, where there is little; the rest of the piece may come
    /// in parts, too.
    #[inline]
    fn make_room(&mut self, raw: &Bytes, from: usize, size: usize) {
        if self.out.capacity() - self.out.len() < size.min(SHARED_MIN) + PART_MIN {
            self.out.reserve(raw.len().saturating_sub(from) + PART_MIN);
        }
    }

    /// Lets a part of what was fed go: without a copy, where that is worth it. Only where no rule
    /// withholds or refuses.
    #[inline]
    pub(crate) fn pass_part(&mut self, raw: &Bytes, range: Range<usize>) {
        let size = range.len();
        if size >= SHARED_MIN {
            self.pass_shared(raw.slice(range));
            return;
        }
        self.make_room(raw, range.start, size);
        simd::append(&mut self.out, raw, range);
        self.coverage.passed += size as u64;
        self.offset += size as u64;
    }

    fn replace(
        &mut self,
        rules: &Rules,
        session: &[u8],
        value: &[u8],
        found: Value,
        mask: Mask,
        long: bool,
    ) {
        let compiled = rules.compiled();
        let keyed = Keyed {
            key: &compiled.token_key,
            stable_key: &compiled.stable_key,
            session,
            field: compiled.what(found.hit),
        };
        self.scratch.clear();
        if long && found.place == Place::Cell && value.len() <= PART_CELL_MAX {
            // A part of a value on a screen keeps its place.
            mask::replace(&mut self.scratch, Mask::Redact, value, Place::Cell, keyed);
        } else if long {
            // Of a value whose end was not waited for nothing can be kept.
            self.scratch.extend_from_slice(b"***");
        } else {
            mask::replace(&mut self.scratch, mask, value, found.place, keyed);
        }
        if found.begins_scalar
            && matches!(found.place, Place::Word | Place::Inside)
            && let Some(first) = self.scratch.first_mut()
            && *first == b'*'
        {
            *first = b'x';
        }
        let shown = std::mem::take(&mut self.scratch);
        self.show(&shown);
        self.scratch = shown;
        self.swallow(value.len(), b"");
    }

    /// What has left since the last call.
    pub(crate) fn take(&mut self) -> Left {
        let bytes = self.out.split().freeze();
        let whole = match &mut self.records {
            Records::Yes { whole, .. } => whole.take(),
            Records::No => None,
        };
        Left {
            bytes,
            whole,
            hold: self.hold.take(),
            refuse: self.refuse.take(),
            opened: std::mem::take(&mut self.opened),
            rows: self.rows.take(),
        }
    }

    /// A hold ends: the rest of its record belongs to it, its last row is what there is of it.
    pub(crate) fn seal(&mut self) {
        if let Records::Yes { record, .. } = &mut self.records {
            record.sealed();
        }
        self.rows.end();
    }
}

/// What a row of a table says.
struct Columns<'a, F> {
    raw: &'a [u8],
    is_clear: F,
}

impl<F: FnMut(Range<usize>, usize) -> bool> simd::rows::Judge for Columns<'_, F> {
    type How = How;

    fn is_clear(&mut self, row: Range<usize>, at: usize) -> bool {
        (self.is_clear)(row, at)
    }

    fn value(&self, cell: Range<usize>) -> Option<Range<usize>> {
        let text = self.raw.get(cell.clone())?;
        let value = text.trim_ascii();
        let from = cell.start + (text.len() - text.trim_ascii_start().len());
        if value::is_nothing(value) {
            Some(from..from)
        } else {
            (!table::is_dashes(value)).then(|| from..from + value.len())
        }
    }

    fn plan(&self, how: How) -> Option<simd::rows::Plan> {
        mask::plan(how.mask, how.place)
    }
}

/// A smaller part is copied: each one that leaves costs its receiver something.
const SHARED_MIN: usize = 4096;
/// Room behind a part for what comes next.
const PART_MIN: usize = 2048;
/// A record that is longer is withheld from its beginning, where nothing else was said.
const RECORD_MAX: usize = 1 << 20;
/// What a hold is called in which such a record is.
const TOO_LONG: &str = "record too long";

/// How a value is replaced that nothing else is known of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) hit: Hit,
    pub(crate) mask: Mask,
    pub(crate) place: Place,
    /// The line, counted from 0.
    pub(crate) row: u64,
}

/// A value that was found, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) hit: Hit,
    pub(crate) place: Place,
    pub(crate) format: &'static str,
    /// A star here would mean something else (an alias in YAML).
    pub(crate) begins_scalar: bool,
}
