//! Rows of tables in one pass from what came to what leaves: their cells are found, what is
//! suspect in them is looked at, and they are copied with their protected values replaced.
//!
//! Only rows that are as plain as their header says; [`cover`] stops at any other one, of which
//! nothing is written then. Without AVX2 it stops at the first row.

use std::ops::Range;

use bytes::BytesMut;

#[cfg(target_arch = "x86_64")]
use super::BLOCK;
use super::{Separators, Width};

/// A text with rows, of which protected cells are known.
pub(crate) struct Rows<'a, H> {
    pub(crate) text: &'a [u8],
    /// Where it begins, as others count.
    pub(crate) base: usize,
    /// Where something is to be looked at, unless it stands in a protected cell.
    pub(crate) suspects: &'a [u64],
    pub(crate) shape: Shape<'a, H>,
}

/// Where the cells of a row are.
pub(crate) enum Shape<'a, H> {
    /// At separators, so many `cells` in a row, of which those in `columns` are protected, told by
    /// their numbers. There is no quote in the text. In `tight` rows no space stands behind the
    /// first separator.
    Separated {
        by: &'a Separators,
        cells: usize,
        tight: bool,
        /// A row with more bytes is not read here.
        longest: usize,
        columns: &'a [(usize, H)],
    },
    /// Between bars at fixed places, which `bars` has as a map, up to the one at `reach`; protected
    /// ones begin and end at fixed places, too, or end with the row. What is suspect where
    /// `inside` has a bit belongs to one of them.
    Aligned {
        bars: &'a [u64],
        reach: usize,
        inside: &'a [u64],
        columns: &'a [(usize, usize, H)],
    },
}

impl<H: Copy> Shape<'_, H> {
    /// How the protected columns are replaced.
    pub(crate) fn columns(&self) -> impl Iterator<Item = H> {
        let (numbered, placed) = match self {
            Self::Separated { columns, .. } => (*columns, [].as_slice()),
            Self::Aligned { columns, .. } => ([].as_slice(), *columns),
        };
        let numbered = numbered.iter().map(|(_, how)| *how);
        numbered.chain(placed.iter().map(|(_, _, how)| *how))
    }
}

/// Where the next row begins, from the beginning of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) start: usize,
    /// Its first separator in the list, and a suspect that stands before those in it.
    pub(crate) end: usize,
    pub(crate) suspect: usize,
    /// How many rows there were.
    pub(crate) rows: u64,
}

/// What rows say to those who know what it means. Places are as others count.
pub(crate) trait Judge {
    /// How the values of a column are replaced.
    type How: Copy;

    /// Whether what is suspect at `at` in a row, up to its newline, is nothing.
    fn is_clear(&mut self, row: Range<usize>, at: usize) -> bool;
    /// The value in a cell whose edges are not plain; an empty one is none. `None`: nobody can say
    /// that here.
    fn value(&self, cell: Range<usize>) -> Option<Range<usize>>;
    /// What is written in the place of values. `None`: it is not known before they are.
    fn plan(&self, how: Self::How) -> Option<Plan>;
}

/// A value of a row that was replaced, of 64 bytes at most, in as few bits as that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brief(u64);

impl Brief {
    /// No call of [`cover`] lets more rows go, so that one can be told by as many bits as there are.
    pub(crate) const ROWS_MAX: u64 = 1 << 16;

    /// Of a value of so many bytes in the `nth` protected column, from the beginning of the text on,
    /// in a row counted from the first one.
    #[inline(always)]
    pub(crate) fn new(from: usize, size: usize, nth: usize, row: u64) -> Self {
        Self(from as u64 | row << 32 | Self::part(size, nth))
    }

    /// What does not differ from row to row.
    #[inline(always)]
    fn part(size: usize, nth: usize) -> u64 {
        (size as u64) << 48 | (nth as u64) << 56
    }

    /// Where it began, from the beginning of the text on.
    pub(crate) fn from(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// How many bytes it had.
    pub(crate) fn size(self) -> u64 {
        self.0 >> 48 & 0xff
    }

    /// In which row it stood, counted from the first one.
    pub(crate) fn row(self) -> u64 {
        self.0 >> 32 & 0xffff
    }

    /// In which of the protected columns.
    pub(crate) fn nth(self) -> usize {
        (self.0 >> 56) as usize
    }
}

/// What is written in the place of a value of printable ASCII without a backslash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Of a value with at least so many letters and digits, `u32::MAX` for none, the `last` ones
    /// stay, and what stands between them where it is a number; the others become stars.
    pub(crate) least: u32,
    pub(crate) last: u32,
    /// Of any other one: so many stars, or `with` for each byte.
    pub(crate) stars: Option<usize>,
    pub(crate) with: u8,
}

/// Where rows go.
pub(crate) struct Left<'a> {
    pub(crate) out: &'a mut BytesMut,
    /// What is kept of values, as long as there are fewer than `most`.
    pub(crate) briefs: &'a mut Vec<Brief>,
    pub(crate) most: usize,
    /// How many bytes were replaced.
    pub(crate) masked: u64,
}

/// Whether [`cover`] does anything.
pub(crate) fn is_fast(width: Width) -> bool {
    match width {
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 | Width::Avx2 => true,
        Width::Portable => false,
    }
}

/// Lets rows go from `next` on, up to one that is not plain, or for which there is no room.
#[inline]
pub(crate) fn cover<J: Judge>(
    width: Width,
    rows: &Rows<'_, J::How>,
    next: &mut Next,
    judge: &mut J,
    left: &mut Left<'_>,
) {
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx512 => unsafe { x86::cover(rows, next, judge, left) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx2 => unsafe { avx2::cover(rows, next, judge, left) },
        Width::Portable => {}
    }
}

/// What a value may begin with that is surely not the word or sign for none, and no rule.
#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::indexing_slicing,
    reason = "every index is known to be in the array when this is compiled"
)]
const PLAIN_STARTS: [bool; 256] = {
    let mut all = [false; 256];
    let mut b = 0u8;
    while b < 128 {
        all[b as usize] = b.is_ascii_alphanumeric() && !matches!(b, b'n' | b'N' | b'u' | b'U');
        b += 1;
    }
    all
};
/// What a line may begin with that the byte machine does not read as a row at once.
#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::indexing_slicing,
    reason = "every index is known to be in the array when this is compiled"
)]
const OTHER_STARTS: [bool; 256] = {
    let mut all = [false; 256];
    let mut k = 0;
    let starts = b"\n\r{[}]<\\ ";
    while k < starts.len() {
        all[starts[k] as usize] = true;
        k += 1;
    }
    all
};
/// No word for none is longer.
#[cfg(target_arch = "x86_64")]
const NONE_MAX: usize = 10;

/// What a byte of a value is, a bit each.
mod look {
    pub(super) const COUNTED: u8 = 1;
    pub(super) const NO_NUMBER: u8 = 2;
    /// What a value may begin with that is surely not the word or sign for none.
    pub(super) const PLAIN_START: u8 = 4;
    pub(super) const SPACE: u8 = 8;
    /// What a rule may begin with.
    pub(super) const DASH: u8 = 16;
    /// The sign, as bytes have it that are not ASCII.
    pub(super) const ODD: u8 = 0x80;
}

#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::indexing_slicing,
    reason = "every index is known to be in the array when this is compiled"
)]
const LOOKS: [u8; 128] = {
    let mut all = [0; 128];
    let mut at = 0;
    while at < all.len() {
        let kinds = super::KINDS[at];
        if kinds & super::kind::COUNTED != 0 {
            all[at] |= look::COUNTED;
        }
        if kinds & super::kind::NUMBER == 0 {
            all[at] |= look::NO_NUMBER;
        }
        if kinds & super::kind::PLAIN == 0 {
            all[at] |= look::ODD;
        }
        if PLAIN_STARTS[at] {
            all[at] |= look::PLAIN_START;
        }
        if at == b' ' as usize {
            all[at] |= look::SPACE;
        }
        if matches!(at as u8, b'-' | b'=' | b':' | b'+' | b'|') {
            all[at] |= look::DASH;
        }
        at += 1;
    }
    all
};

/// No row that is read here has more cells.
#[cfg(target_arch = "x86_64")]
const CELLS_MAX: usize = 16;

/// A value that was found in a row, and how it is replaced.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Value {
    /// Which cell it is, where separators tell them apart, or where it begins and ends.
    index: usize,
    reach: usize,
    from: usize,
    to: usize,
    plan: Plan,
}

/// How many more rows can be told from each other.
#[cfg(target_arch = "x86_64")]
fn rows_left(next: &Next) -> usize {
    usize::try_from(Brief::ROWS_MAX.saturating_sub(next.rows)).unwrap_or(0)
}

/// Rows of so many cells.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Cells<'a> {
    by: &'a Separators,
    cells: usize,
    tight: bool,
    longest: usize,
}

/// Rows with bars at fixed places.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Bars<'a> {
    bars: &'a [u64],
    reach: usize,
    inside: &'a [u64],
}

/// Calls a function that is compiled for so many protected columns, if there are few.
#[cfg(target_arch = "x86_64")]
macro_rules! by_number {
    ($values:expr, $call:ident($rows:expr, $shape:expr, $($rest:expr),*)) => {
        match &*$values {
            [a] => $call($rows, $shape, &[*a], $($rest),*),
            [a, b] => $call($rows, $shape, &[*a, *b], $($rest),*),
            [a, b, c] => $call($rows, $shape, &[*a, *b, *c], $($rest),*),
            [a, b, c, d] => $call($rows, $shape, &[*a, *b, *c, *d], $($rest),*),
            _ => {}
        }
    };
}

/// What is written in the place of a value: `with` where `bits` has ones, and its own bytes.
#[cfg(target_arch = "x86_64")]
struct Hidden {
    bits: u64,
    with: u8,
    /// How many bytes that are.
    written: usize,
}

/// What stands for what stands where `all` has bits, of which the others say what it is.
///
/// # Safety
///
/// The CPU has `bmi2`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn hidden(all: u64, counted: u64, no_number: u64, plan: Plan) -> Hidden {
    let size = all.count_ones() as usize;
    let hidden = |bits, with, written| Hidden {
        bits,
        with,
        written,
    };
    let count = counted.count_ones();
    if count >= plan.least {
        // As many ones as are kept, moved to the highest places that count.
        let kept = u64::MAX << (count.wrapping_sub(plan.last) & 63);
        // SAFETY: the CPU has the instruction.
        let kept = unsafe { std::arch::x86_64::_pdep_u64(kept, counted) };
        let bits = if no_number == 0 { counted } else { all };
        hidden(bits & !kept, b'*', size)
    } else if let Some(stars) = plan.stars {
        // What stands behind as many bytes stays.
        let stars = stars.min(BLOCK);
        let first = u64::MAX
            .checked_shl(stars as u32)
            .map_or(u64::MAX, |rest| !rest);
        hidden(all | first, b'*', stars)
    } else {
        hidden(all, plan.with, size)
    }
}

/// Room for the values of a row; `None` where it is not known how they are replaced, or where
/// they are many.
#[cfg(target_arch = "x86_64")]
fn values<J: Judge>(
    judge: &J,
    columns: impl ExactSizeIterator<Item = J::How>,
) -> Option<[Value; CELLS_MAX]> {
    let mut columns = columns;
    if columns.len() > CELLS_MAX {
        return None;
    }
    let value = |how| {
        let plan = judge.plan(how)?;
        Some(Value {
            index: 0,
            reach: 0,
            from: 0,
            to: 0,
            plan,
        })
    };
    let mut values = [value(columns.next()?)?; CELLS_MAX];
    for (slot, how) in values.iter_mut().skip(1).zip(columns) {
        *slot = value(how)?;
    }
    Some(values)
}

/// Keeps what there is of the values of a row.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn note(values: &[Value], row: u64, left: &mut Left<'_>) {
    for (nth, value) in values.iter().enumerate().filter(|(_, v)| v.from < v.to) {
        let size = value.to - value.from;
        left.masked += size as u64;
        if left.briefs.len() < left.most {
            left.briefs.push(Brief::new(value.from, size, nth, row));
        }
    }
}

/// Leaves out what is empty, of which nothing is kept.
#[cfg(target_arch = "x86_64")]
fn forget_empty(briefs: &mut Vec<Brief>, from: usize) {
    let mut to = from;
    for k in from..briefs.len() {
        if let Some(brief) = briefs.get(k).copied().filter(|b| b.size() > 0)
            && let Some(slot) = briefs.get_mut(to)
        {
            *slot = brief;
            to += 1;
        }
    }
    briefs.truncate(to);
}

/// Whether what is suspect at `at` in a row is nothing: a call of its own, so that it stays out of
/// the loop.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn ask<J: Judge>(rows: &Rows<'_, J::How>, judge: &mut J, row: Range<usize>, at: usize) -> bool {
    judge.is_clear(rows.base + row.start..rows.base + row.end, rows.base + at)
}

/// What stands in a cell whose edges are not plain, if somebody can say that.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn inside<J: Judge>(
    rows: &Rows<'_, J::How>,
    judge: &J,
    cell: Range<usize>,
) -> Option<(usize, usize)> {
    let value = judge.value(rows.base + cell.start..rows.base + cell.end)?;
    let from = value.start.checked_sub(rows.base)?;
    let to = value.end.checked_sub(rows.base)?;
    (cell.start <= from && from <= to && to <= cell.end).then_some((from, to))
}

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::mem::MaybeUninit;
    use std::ops::Range;

    use super::super::{BLOCK, NEWLINE};
    use super::{
        Bars, Brief, CELLS_MAX, Cells, Judge, LOOKS, Left, NONE_MAX, Next, OTHER_STARTS,
        PLAIN_STARTS, Plan, Rows, Shape, Value, ask, forget_empty, hidden, inside, look, note,
        rows_left, values,
    };

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    pub(super) unsafe fn cover<J: Judge>(
        rows: &Rows<'_, J::How>,
        next: &mut Next,
        judge: &mut J,
        left: &mut Left<'_>,
    ) {
        let len = left.out.len();
        let spare = left.out.spare_capacity_mut();
        let mut page = Page {
            text: rows.text,
            to: spare.as_mut_ptr().cast(),
            room: spare.len(),
            len: 0,
        };
        match rows.shape {
            Shape::Separated {
                by,
                cells,
                tight,
                longest,
                columns,
            } => {
                let shape = Cells {
                    by,
                    cells,
                    tight,
                    longest,
                };
                // SAFETY: the CPU has the instructions.
                unsafe { separated(rows, shape, columns, next, judge, (&mut page, left)) };
            }
            Shape::Aligned {
                bars,
                reach,
                inside,
                columns,
            } => {
                let shape = Bars {
                    bars,
                    reach,
                    inside,
                };
                // SAFETY: the CPU has the instructions.
                unsafe { aligned(rows, shape, columns, next, judge, (&mut page, left)) };
            }
        }
        // SAFETY: so many bytes of the room have been written.
        unsafe { left.out.set_len(len + page.len) };
    }

    /// A text, and the room that it is written to.
    struct Page<'a> {
        text: &'a [u8],
        to: *mut u8,
        room: usize,
        /// What of the room is written.
        len: usize,
    }

    /// A row that is being written: what stands at a place of the text goes to the place that is
    /// `moved` from there.
    #[derive(Clone, Copy)]
    struct Line {
        end: usize,
        moved: usize,
    }

    impl Page<'_> {
        /// Whether there is room for the row from `start` to its newline at `end`, with so many
        /// values: each may take a block, and two more are written behind.
        #[inline(always)]
        fn has_room(&self, start: usize, end: usize, values: usize) -> bool {
            self.room.wrapping_sub(self.len) >= end.wrapping_sub(start) + (values + 3) * BLOCK
        }

        /// Writes the text from `start` on to where the row ends, with its newline.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions, the row ends in the text, and there is room for it and a
        /// block more.
        #[inline(always)]
        unsafe fn copy(&self, start: usize, line: Line) {
            let size = line.end.wrapping_sub(start).wrapping_add(1);
            // SAFETY: what the caller promises: the text has the bytes, in whole blocks where
            // that is asked before, and the room has, too.
            unsafe {
                let from = self.text.as_ptr().add(start);
                let to = self.to.add(start.wrapping_add(line.moved));
                if line.end.wrapping_add(BLOCK) >= self.text.len() {
                    std::ptr::copy_nonoverlapping(from, to, size);
                    return;
                }
                let mut k = 0usize;
                while k < size {
                    let block = _mm512_loadu_si512(from.add(k).cast());
                    _mm512_storeu_si512(to.add(k).cast(), block);
                    k = k.wrapping_add(BLOCK);
                }
            }
        }

        /// Replaces a value of a row that is written. Whether it is as plain as that.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions, the value has bytes and ends with the row at the latest,
        /// and the room is what [`Self::has_room`] says.
        #[inline(always)]
        unsafe fn replace(
            &self,
            (from, to): (usize, usize),
            line: &mut Line,
            plan: Plan,
            looks: (__m512i, __m512i),
        ) -> bool {
            let size = to.wrapping_sub(from);
            if size > BLOCK {
                return false;
            }
            let whole = from.wrapping_add(BLOCK) <= self.text.len();
            // SAFETY: the CPU has the instructions. The block is in the text where it is read as a
            // whole; otherwise no byte behind the value is read. There is room for a block.
            unsafe {
                let all = _bzhi_u64(u64::MAX, size as u32);
                let at = self.text.as_ptr().add(from);
                let bytes = if whole {
                    _mm512_loadu_si512(at.cast())
                } else {
                    _mm512_maskz_loadu_epi8(all, at.cast())
                };
                let Some(cover) = hide(look(looks, bytes), all, plan) else {
                    return false;
                };
                let at = self.to.add(from.wrapping_add(line.moved));
                _mm512_storeu_si512(at.cast(), cover.hide(bytes));
                // What stands behind the value has been written as it came, or is now.
                if cover.written != size || !whole {
                    line.moved = line.moved.wrapping_add(cover.written).wrapping_sub(size);
                    self.copy(to, *line);
                }
            }
            true
        }
    }

    /// What the bytes of a block are.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    unsafe fn look(looks: (__m512i, __m512i), bytes: __m512i) -> __m512i {
        // SAFETY: the CPU has the instructions.
        unsafe {
            let kinds = _mm512_permutex2var_epi8(looks.0, bytes, looks.1);
            // The table has no bytes that are not ASCII: they keep their sign.
            let sign = _mm512_set1_epi8(look::ODD.cast_signed());
            _mm512_ternarylogic_epi64::<0xf8>(kinds, bytes, sign)
        }
    }

    /// What is written in the place of a value: `with` where `hidden` has ones, and its own bytes.
    #[derive(Clone, Copy)]
    struct Cover {
        hidden: __m512i,
        with: __m512i,
        /// How many bytes that are.
        written: usize,
    }

    impl Cover {
        /// What stands for the value that `bytes` begin with.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions.
        #[inline(always)]
        unsafe fn hide(&self, bytes: __m512i) -> __m512i {
            // SAFETY: the CPU has the instructions.
            unsafe { _mm512_ternarylogic_epi64::<0xca>(self.hidden, self.with, bytes) }
        }
    }

    /// What stands for what stands where `all` has bits. `None`: it is not as plain as that.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    #[inline]
    fn hide(kinds: __m512i, all: u64, plan: Plan) -> Option<Cover> {
        let are =
            |look: u8| all & _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(look.cast_signed()));
        if are(look::ODD) != 0 {
            return None;
        }
        // SAFETY: the CPU has the instructions.
        let hidden = unsafe { hidden(all, are(look::COUNTED), are(look::NO_NUMBER), plan) };
        Some(Cover {
            hidden: _mm512_movm_epi8(hidden.bits),
            with: _mm512_set1_epi8(hidden.with.cast_signed()),
            written: hidden.written,
        })
    }

    /// How a value is replaced, and what another one has to be like to be replaced so, too: in most
    /// columns all values of a size are.
    #[derive(Clone, Copy)]
    struct Memo {
        /// What its bytes are, and which of that matters.
        kinds: __m512i,
        matters: __m512i,
        cover: Cover,
        /// So many places behind its first one are in it.
        inner: usize,
        /// What is kept of it, but for where it stands.
        part: u64,
        /// Where it stands in its cell; up to 0 where nothing does.
        from: usize,
        to: usize,
    }

    impl Memo {
        /// Of an empty value, which another empty one is like.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions.
        #[inline(always)]
        unsafe fn empty() -> Self {
            // SAFETY: the CPU has the instructions.
            let zero = unsafe { _mm512_setzero_si512() };
            Self {
                kinds: zero,
                matters: zero,
                cover: Cover {
                    hidden: zero,
                    with: zero,
                    written: 0,
                },
                inner: 0,
                part: 0,
                from: 0,
                to: 0,
            }
        }

        /// Adds to `differ` where a value of this size differs in what matters.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions.
        #[inline(always)]
        unsafe fn differs(&self, kinds: __m512i, differ: __m512i) -> __m512i {
            // SAFETY: the CPU has the instructions.
            unsafe {
                let other = _mm512_ternarylogic_epi64::<0x28>(kinds, self.kinds, self.matters);
                _mm512_or_si512(differ, other)
            }
        }
    }

    /// How a value of at least one byte, in the `nth` protected column, is replaced. `None`: it is not
    /// as plain as that, or may be none.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    #[inline(never)]
    fn learn(kinds: __m512i, size: usize, plan: Plan, nth: usize) -> Option<Memo> {
        let last = size.checked_sub(1).filter(|last| *last < BLOCK)?;
        let are = |look: u8| _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(look.cast_signed()));
        let short = size <= NONE_MAX;
        let edges = 1u64 | 1 << last;
        if are(look::SPACE) & edges != 0 || short && are(look::PLAIN_START) & 1 == 0 {
            return None;
        }
        let all = u64::MAX >> (BLOCK - size);
        let cover = hide(kinds, all, plan)?;
        let matter = |all: u64, look: u8| _mm512_maskz_set1_epi8(all, look.cast_signed());
        // Of many masks it does not matter what a value is made of, and of a word not whether its
        // letters are digits.
        let counts = all & are(look::COUNTED);
        let inner = if plan.least == u32::MAX {
            look::ODD
        } else if counts == all {
            look::ODD | look::COUNTED
        } else {
            look::ODD | look::COUNTED | look::NO_NUMBER
        };
        let starts = if short { look::PLAIN_START } else { 0 };
        let matters = _mm512_or_si512(matter(all, inner), matter(edges, look::SPACE));
        Some(Memo {
            kinds,
            matters: _mm512_or_si512(matters, matter(1, starts)),
            cover,
            inner: last,
            part: Brief::part(size, nth),
            from: 0,
            to: 0,
        })
    }

    /// Whether a value that begins so is surely no word or sign for none, and no rule.
    #[inline(always)]
    fn is_plain(first: u8) -> bool {
        PLAIN_STARTS.get(usize::from(first)) == Some(&true)
    }

    /// The table of what bytes are.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    unsafe fn looks() -> (__m512i, __m512i) {
        // SAFETY: the table has 128 bytes; loads need no alignment.
        unsafe {
            (
                _mm512_loadu_si512(LOOKS.as_ptr().cast()),
                _mm512_loadu_si512(LOOKS.as_ptr().add(BLOCK).cast()),
            )
        }
    }

    /// Lets rows go whose cells separators end.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn separated<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Cells<'_>,
        columns: &[(usize, J::How)],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_>),
    ) {
        let Some(mut values) = values(judge, columns.iter().map(|(_, how)| *how)) else {
            return;
        };
        let Some(values) = values.get_mut(..columns.len()) else {
            return;
        };
        for (value, (index, _)) in values.iter_mut().zip(columns) {
            value.index = *index;
        }
        let Cells { by, cells, .. } = shape;
        if !(2..=CELLS_MAX).contains(&cells)
            || columns.iter().any(|(index, _)| *index >= cells)
            || rows.text.len() < by.size
            || by.suspects.last() != Some(&u32::MAX)
        {
            return;
        }
        loop {
            // SAFETY: the CPU has the instructions; what is listed stands in the text, in order, and
            // suspects end with one that is nowhere.
            let went = unsafe {
                by_number!(values, plain(rows, shape, next, judge, (page, left)));
                any(rows, shape, values, next, judge, (page, left))
            };
            if !went || next.rows >= Brief::ROWS_MAX {
                return;
            }
        }
    }

    /// Writes the text from `at` to `end`, with that byte, to so many bytes from `moved` on: in whole
    /// blocks.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; there is a block at each of these places of the text, and room.
    #[inline(always)]
    unsafe fn copy(text: *const u8, moved: *mut u8, at: usize, end: usize) {
        let mut at = at;
        loop {
            // SAFETY: what the caller promises.
            unsafe {
                let block = _mm512_loadu_si512(text.add(at).cast());
                _mm512_storeu_si512(moved.wrapping_add(at).cast(), block);
            }
            at = at.wrapping_add(BLOCK);
            if at > end {
                return;
            }
        }
    }

    /// Values have fewer bytes.
    const SIZES: usize = 64;
    /// Of the fast ones.
    const SIZES_SHORT: usize = BLOCK / 2 + 1;

    /// How values of `N` columns are replaced, by their size.
    struct Memory<const N: usize> {
        memos: [[MaybeUninit<Memo>; SIZES]; N],
        /// Which of them there are.
        known: [u64; N],
        /// All of them are short, and what stands for them is as long.
        placed: bool,
    }

    impl<const N: usize> Memory<N> {
        fn new() -> Self {
            Self {
                memos: [const { [const { MaybeUninit::uninit() }; SIZES] }; N],
                known: [0; N],
                placed: true,
            }
        }

        /// What is known of values of the `nth` column with so many bytes.
        #[inline(always)]
        fn get(&self, nth: usize, size: usize) -> Option<&Memo> {
            let memo = self.memos.get(nth)?.get(size)?;
            // SAFETY: it has been written where there is a bit.
            (self.known.get(nth)? >> size & 1 != 0).then(|| unsafe { memo.assume_init_ref() })
        }

        /// Learns how a value is replaced that stands in the text from `from` to `to`, with a block
        /// behind. Whether that was not known.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions, and the text has the value and the block.
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
        )]
        #[inline(never)]
        unsafe fn learn(
            &mut self,
            nth: usize,
            plan: Plan,
            text: *const u8,
            size: usize,
        ) -> Option<bool> {
            // SAFETY: what the caller promises.
            let kinds = unsafe { look(looks(), _mm512_loadu_si512(text.cast())) };
            if let Some(memo) = self.get(nth, size) {
                // SAFETY: the CPU has the instructions.
                let differ = unsafe { memo.differs(kinds, _mm512_setzero_si512()) };
                if _mm512_test_epi64_mask(differ, differ) == 0 {
                    return Some(false);
                }
            }
            let memo = if size == 0 {
                let part = Brief::part(0, nth);
                // SAFETY: the CPU has the instructions.
                let empty = unsafe { Memo::empty() };
                Memo { part, ..empty }
            } else {
                learn(kinds, size, plan, nth)?
            };
            self.memos.get_mut(nth)?.get_mut(size)?.write(memo);
            *self.known.get_mut(nth)? |= 1 << size;
            self.placed &= size < SIZES_SHORT && memo.cover.written == size;
            Some(true)
        }
    }

    /// Where the next row is, its first end, where what stands there goes, and what is kept of its
    /// values.
    #[derive(Clone, Copy)]
    struct At {
        start: usize,
        moved: *mut u8,
        row: u64,
        ends: *const u32,
        /// The next suspect: those before it are nothing, also those in the row.
        suspect: *const u32,
        slot: *mut Brief,
    }

    /// What does not change from row to row.
    struct Way<const N: usize> {
        text: *const u8,
        cells: usize,
        tight: bool,
        longest: usize,
        /// The protected cells.
        index: [usize; N],
        /// What matters of how much further each cell ends than the one before: of protected ones all,
        /// of others the sign, which these have where one of the two ends is that of a row.
        care: [u32; CELLS_MAX],
        signs: [u32; CELLS_MAX],
        /// Rows end before this place, so that whole blocks are read, and are written before the other
        /// one: there is room for what values may become.
        last: usize,
        limit: usize,
    }

    /// Why rows end.
    enum Stop {
        /// There are no more that are plain, or there is no room.
        End,
        /// This one has a value that is not like others, or not the cells.
        Other,
        /// The next suspect is to be looked at: it stands in the row up to this place.
        Suspect(usize),
    }

    /// Lets rows go as long as their values are not in need of a closer look. There are `N` protected
    /// columns, so that all is known of them when this is compiled.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; what is listed stands in the text, in order; suspects end with
    /// `u32::MAX`; values have indices below the number of cells, of which there are 2 at least.
    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn plain<J: Judge, const N: usize>(
        rows: &Rows<'_, J::How>,
        shape: Cells<'_>,
        values: &[Value; N],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_>),
    ) {
        let Cells {
            by,
            cells,
            tight,
            longest,
        } = shape;
        let size = rows.text.len();
        let here = by.ends().get(next.end..).unwrap_or_default();
        let room = left.most.saturating_sub(left.briefs.len());
        let most = (here.len() / cells).min(room / N).min(rows_left(next));
        let Some(behind) = (most * cells).checked_sub(1).and_then(|k| here.get(k)) else {
            return;
        };
        // Values may take a block each, and two more are written behind.
        let behind = (behind & !NEWLINE) as usize + 1;
        let slack = (N + 4) * BLOCK;
        if by.start(next.end) != next.start
            || next.suspect >= by.suspects.len()
            || page.room.saturating_sub(page.len) < slack
            || size <= BLOCK
        {
            return;
        }
        left.briefs.reserve(most * N);
        let mut way = Way {
            text: rows.text.as_ptr(),
            cells,
            tight,
            longest,
            index: values.each_ref().map(|value| value.index),
            care: [0; CELLS_MAX],
            signs: [0; CELLS_MAX],
            last: behind.min(size - (BLOCK + 1)),
            limit: page.to.wrapping_add(page.room.wrapping_sub(slack)) as usize,
        };
        let slots = way.care.iter_mut().zip(&mut way.signs).take(cells);
        for (k, (care, sign)) in slots.enumerate() {
            *care = if way.index.contains(&k) {
                u32::MAX
            } else {
                NEWLINE
            };
            *sign = if k == 0 || k + 1 == cells { NEWLINE } else { 0 };
        }
        let mut memory = Memory::<N>::new();
        // SAFETY: there are so many ends, with more numbers behind the last one and one before, and
        // such a suspect. They ascend, and all but the last suspect are places in the text; so are
        // the values of a row, which end before the row does, with a block behind them. There is room
        // for the values of `most` rows.
        unsafe {
            let first_slot = left.briefs.as_mut_ptr().add(left.briefs.len());
            let mut at = At {
                start: next.start,
                moved: page.to.wrapping_add(page.len).wrapping_sub(next.start),
                row: next.rows,
                ends: here.as_ptr(),
                suspect: by.suspects.as_ptr().add(next.suspect),
                slot: first_slot,
            };
            // Those before it are of lines that were looked at in another way.
            while (*at.suspect as usize) < at.start {
                at.suspect = at.suspect.add(1);
            }
            // The row whose values were learned, and the suspects before another.
            let mut learned = usize::MAX;
            let mut looked = at.suspect;
            loop {
                let row = at.row;
                let stop = if memory.placed {
                    steady::<N, true>(&way, &memory, &mut at)
                } else {
                    steady::<N, false>(&way, &memory, &mut at)
                };
                if at.row != row {
                    looked = at.suspect;
                }
                match stop {
                    Stop::End => break,
                    Stop::Other => {
                        let known =
                            learned != at.start && learn_row(&way, values, &at, &mut memory);
                        if !known {
                            break;
                        }
                        learned = at.start;
                    }
                    Stop::Suspect(end) => {
                        let place = *at.suspect as usize;
                        if !ask(rows, judge, at.start..end, place) {
                            break;
                        }
                        at.suspect = at.suspect.add(1);
                    }
                }
            }
            let before = left.briefs.len();
            let count = at.slot.offset_from_unsigned(first_slot);
            left.briefs.set_len(before + count);
            let new = left.briefs.get(before..).unwrap_or_default();
            left.masked += new.iter().map(|brief| brief.size()).sum::<u64>();
            if memory.known.iter().any(|known| known & 1 != 0) {
                forget_empty(left.briefs, before);
            }
            page.len = (at.moved as usize)
                .wrapping_add(at.start)
                .wrapping_sub(page.to as usize);
            *next = Next {
                start: at.start,
                end: next.end + at.ends.offset_from_unsigned(here.as_ptr()),
                suspect: looked.offset_from_unsigned(by.suspects.as_ptr()),
                rows: at.row,
            };
        }
    }

    /// Learns how the values of a row are replaced. Whether that was not known of one.
    ///
    /// # Safety
    ///
    /// What [`plain`] knows.
    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn learn_row<const N: usize>(
        way: &Way<N>,
        values: &[Value; N],
        at: &At,
        memory: &mut Memory<N>,
    ) -> bool {
        let mut new = false;
        // SAFETY: what the caller promises: the row ends in the text, with a block behind.
        unsafe {
            let ends = std::slice::from_raw_parts(at.ends.sub(1), way.cells.wrapping_add(1));
            let is_end = |end: &u32| end & NEWLINE != 0;
            let Some((last, inner)) = ends.get(1..).and_then(<[u32]>::split_last) else {
                return false;
            };
            if !is_end(last) || inner.iter().any(is_end) || (last & !NEWLINE) as usize >= way.last {
                return false;
            }
            for (nth, value) in values.iter().enumerate() {
                let (Some(before), Some(end)) = (ends.get(value.index), ends.get(value.index + 1))
                else {
                    return false;
                };
                let from = (before.wrapping_add(1) & !NEWLINE) as usize;
                let size = ((end & !NEWLINE) as usize).wrapping_sub(from);
                let text = way.text.add(from);
                match memory.learn(nth, value.plan, text, size) {
                    Some(was_new) => new |= was_new,
                    None => return false,
                }
            }
        }
        new
    }

    /// Lets rows go whose values are like others before them. This has to be fast: of most rows one
    /// comparison says that they are cut like the one before as far as it matters, and have the same
    /// kinds of bytes in their values. Where these are `PLACED` all are short, and nothing moves.
    ///
    /// # Safety
    ///
    /// What [`plain`] knows.
    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    #[expect(clippy::indexing_slicing, reason = "all indices are below `N`")]
    unsafe fn steady<const N: usize, const PLACED: bool>(
        way: &Way<N>,
        memory: &Memory<N>,
        at: &mut At,
    ) -> Stop {
        let Way {
            text,
            cells,
            tight,
            longest,
            index,
            last,
            limit,
            ..
        } = *way;
        let At {
            mut start,
            mut moved,
            row,
            mut ends,
            mut suspect,
            mut slot,
        } = *at;
        // What is placed goes where it goes: one limit is that of all.
        let last = if PLACED {
            last.min(limit.saturating_sub(moved as usize))
        } else {
            last
        };
        let space = if tight { u32::from(b' ') } else { u32::MAX };
        let newline = cells.wrapping_sub(1);
        // SAFETY: what the caller promises.
        unsafe {
            let first_slot = slot;
            let care = _mm512_loadu_si512(way.care.as_ptr().cast());
            let signs = _mm512_loadu_si512(way.signs.as_ptr().cast());
            let looks = looks();
            // Those of the row before: no cell is so long.
            let mut sizes = [usize::MAX; N];
            let mut wanted = _mm512_set1_epi32(-1);
            let mut memos = [Memo::empty(); N];
            let mut parts = [row << 32; N];
            let stop = 'rows: loop {
                let end = (*ends.add(newline) & !NEWLINE) as usize;
                if end >= last
                    || end.wrapping_sub(start) > longest
                    || !PLACED && (moved as usize).wrapping_add(end) >= limit
                {
                    break Stop::End;
                }
                let further = _mm512_sub_epi32(
                    _mm512_loadu_si512(ends.cast()),
                    _mm512_loadu_si512(ends.sub(1).cast()),
                );
                // What `care` says, exclusive or what is wanted.
                let mut differ = _mm512_ternarylogic_epi32::<0x6a>(further, care, wanted);
                let mut found = [0usize; N];
                let mut new = [_mm512_setzero_si512(); N];
                for k in 0..N {
                    let before = *ends.add(index[k]).sub(1);
                    let from = (before.wrapping_add(1) & !NEWLINE) as usize;
                    found[k] = from;
                    let bytes = if PLACED {
                        _mm512_zextsi256_si512(_mm256_loadu_si256(text.add(from).cast()))
                    } else {
                        _mm512_loadu_si512(text.add(from).cast())
                    };
                    differ = memos[k].differs(look(looks, bytes), differ);
                    new[k] = memos[k].cover.hide(bytes);
                }
                if _mm512_test_epi32_mask(differ, differ) != 0 {
                    // Other sizes, perhaps, that are known.
                    wanted = signs;
                    let mut other = false;
                    for k in 0..N {
                        let end = (*ends.add(index[k]) & !NEWLINE) as usize;
                        let size = end.wrapping_sub(found[k]);
                        other |= size != sizes[k];
                        let Some(memo) = memory.get(k, size) else {
                            break 'rows Stop::Other;
                        };
                        memos[k] = *memo;
                        sizes[k] = size;
                        let rows = slot.offset_from_unsigned(first_slot) / N;
                        parts[k] = memo.part.wrapping_add(row.wrapping_add(rows as u64) << 32);
                        let further = _mm512_set1_epi32(size.wrapping_add(1) as i32);
                        let lane = 1u16 << index[k];
                        wanted = _mm512_mask_xor_epi32(wanted, lane, wanted, further);
                    }
                    if other {
                        continue;
                    }
                    break Stop::Other;
                }
                // What is no newline has no flag.
                if u32::from(*text.add((*ends as usize).wrapping_add(1))) == space
                    || OTHER_STARTS.get(usize::from(*text.add(start))) != Some(&false)
                {
                    break Stop::End;
                }
                let mut to = moved;
                if PLACED {
                    copy(text, moved, start, end);
                    for k in 0..N {
                        let at = moved.wrapping_add(found[k]);
                        _mm256_storeu_si256(at.cast(), _mm512_castsi512_si256(new[k]));
                    }
                } else {
                    let mut copied = start;
                    for k in 0..N {
                        let from = found[k];
                        copy(text, to, copied, from);
                        _mm512_storeu_si512(to.wrapping_add(from).cast(), new[k]);
                        to = to
                            .wrapping_add(memos[k].cover.written)
                            .wrapping_sub(sizes[k]);
                        copied = from.wrapping_add(sizes[k]);
                    }
                    copy(text, to, copied, end);
                }
                for k in 0..N {
                    let brief = Brief(parts[k].wrapping_add(found[k] as u64));
                    slot.add(k).write(brief);
                }
                let mut looked = suspect;
                loop {
                    let place = *looked as usize;
                    if place > end {
                        break;
                    }
                    // A name at the end of a value may make the row a header.
                    let mut inside = false;
                    for k in 0..N {
                        inside |= place.wrapping_sub(found[k]).wrapping_sub(1) < memos[k].inner;
                    }
                    if !inside {
                        suspect = looked;
                        break 'rows Stop::Suspect(end);
                    }
                    looked = looked.add(1);
                }
                (suspect, moved) = (looked, to);
                start = end.wrapping_add(1);
                ends = ends.add(cells);
                slot = slot.add(N);
                for part in &mut parts {
                    *part = part.wrapping_add(1 << 32);
                }
            };
            let rows = slot.offset_from_unsigned(first_slot) / N;
            *at = At {
                start,
                moved,
                row: row.wrapping_add(rows as u64),
                ends,
                suspect,
                slot,
            };
            stop
        }
    }

    /// Lets one row go, if it has its cells and what is in the protected ones can be replaced here.
    /// Whether it went.
    ///
    /// # Safety
    ///
    /// What [`plain`] wants.
    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn any<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Cells<'_>,
        values: &mut [Value],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_>),
    ) -> bool {
        let Cells {
            by,
            cells,
            tight,
            longest,
        } = shape;
        let text = rows.text;
        let start = next.start;
        let Some((last, inner)) = by
            .ends()
            .get(next.end..next.end + cells)
            .and_then(<[u32]>::split_last)
        else {
            return false;
        };
        let end = (last & !NEWLINE) as usize;
        let second = inner.first().map_or(end, |end| *end as usize + 1);
        // The last one is a newline, and no other.
        if last & NEWLINE == 0
            || inner.iter().any(|end| end & NEWLINE != 0)
            || start >= end
            || end - start > longest
            || !page.has_room(start, end, values.len())
            || text
                .get(start)
                .is_none_or(|b| OTHER_STARTS.get(usize::from(*b)) != Some(&false))
            || tight && text.get(second) == Some(&b' ')
        {
            return false;
        }
        for value in values.iter_mut() {
            let to = inner.get(value.index).map_or(end, |end| *end as usize);
            let before = value.index.checked_sub(1).and_then(|k| inner.get(k));
            let from = before.map_or(start, |end| *end as usize + 1);
            if from > to {
                return false;
            }
            match inside(rows, judge, from..to) {
                Some(found) => (value.from, value.to) = found,
                None => return false,
            }
        }
        let mut suspect = next.suspect;
        while let Some(place) = by.suspects.get(suspect).map(|at| *at as usize)
            && place <= end
        {
            suspect += 1;
            // A name at the end of a value may make the row a header.
            let inside = values.iter().any(|v| place > v.from && place < v.to)
                && !(by.controls && matches!(text.get(place), None | Some(0 | 8 | 0x1b)));
            // Those before it are of lines that were looked at in another way.
            if !inside && place >= start && !ask(rows, judge, start..end, place) {
                return false;
            }
        }
        let mut line = Line {
            end,
            moved: page.len.wrapping_sub(start),
        };
        // SAFETY: the CPU has the instructions; the row and its values end in the text, and there is
        // room for them.
        unsafe {
            let looks = looks();
            page.copy(start, line);
            for value in values.iter().filter(|v| v.from < v.to) {
                if !page.replace((value.from, value.to), &mut line, value.plan, looks) {
                    return false;
                }
            }
        }
        page.len = end.wrapping_add(line.moved).wrapping_add(1);
        note(values, next.rows, left);
        *next = Next {
            start: end + 1,
            end: next.end + cells,
            suspect,
            rows: next.rows + 1,
        };
        true
    }

    /// Lets rows go with bars at fixed places.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn aligned<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Bars<'_>,
        columns: &[(usize, usize, J::How)],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_>),
    ) {
        let Some(mut values) = values(judge, columns.iter().map(|(_, _, how)| *how)) else {
            return;
        };
        let Some(values) = values.get_mut(..columns.len()) else {
            return;
        };
        for (value, (from, to, _)) in values.iter_mut().zip(columns) {
            (value.index, value.reach) = (*from, *to);
        }
        loop {
            // SAFETY: the CPU has the instructions.
            let went = unsafe {
                by_number!(values, shown(rows, shape, next, judge, (page, left)));
                any_shown(rows, shape, values, next, judge, (page, left))
            };
            if !went || next.rows >= Brief::ROWS_MAX {
                return;
            }
        }
    }

    /// Lets rows go as long as their values are not in need of a closer look: this has to be fast.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn shown<J: Judge, const N: usize>(
        rows: &Rows<'_, J::How>,
        shape: Bars<'_>,
        values: &[Value; N],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_>),
    ) {
        let (text, size) = (rows.text.as_ptr(), rows.text.len());
        let mut start = next.start;
        // Cells are blocks at most, and keep their places.
        if values
            .iter()
            .any(|v| v.plan.stars.is_some() || v.index > v.reach)
        {
            return;
        }
        let Some(rest) = size.checked_sub(start) else {
            return;
        };
        let least = values
            .iter()
            .map(|v| v.index)
            .max()
            .unwrap_or(0)
            .max(shape.reach);
        let room = left.most.saturating_sub(left.briefs.len());
        let most = (rest / (least + 1) + 1).min(room / N).min(rows_left(next));
        left.briefs.reserve(most * N);
        let moved = page.to.wrapping_add(page.len).wrapping_sub(start);
        // Blocks that begin before this place are in the text, and so are others a block further;
        // and there is room for both.
        let room = page.room.saturating_sub(page.len + 3 * BLOCK);
        let before = (start.saturating_add(room)).min(size.saturating_sub(2 * BLOCK));
        // SAFETY: the CPU has the instructions.
        let looks = unsafe { looks() };
        let (mut row, mut done, mut masked) = (next.rows, 0usize, 0usize);
        // SAFETY: the CPU has the instructions.
        let mut memos = [unsafe { Memo::empty() }; N];
        // SAFETY: all of the text that is read begins at most a block behind what is before that
        // place. There is room for the values of `most` rows.
        unsafe {
            let (least, bar) = (_mm512_set1_epi8(0x20), _mm512_set1_epi8(b'|'.cast_signed()));
            let first_slot = left.briefs.as_mut_ptr().add(left.briefs.len());
            let mut slot = first_slot;
            let mut noted = slot;
            'rows: while done < most && start < before {
                if matches!(*text.add(start), b'\n' | b'\r' | b'+' | b'(' | b'-') {
                    break;
                }
                let (mut at, mut wanted) = (start, shape.bars.iter());
                let end = loop {
                    if at >= before {
                        break 'rows;
                    }
                    let bytes = _mm512_loadu_si512(text.add(at).cast());
                    _mm512_storeu_si512(moved.wrapping_add(at).cast(), bytes);
                    let wanted = wanted.next().copied().unwrap_or(0);
                    if !_mm512_cmpeq_epi8_mask(bytes, bar) & wanted != 0 {
                        break 'rows;
                    }
                    // No byte of a row may be a control, or not ASCII.
                    let odd = _mm512_cmplt_epi8_mask(bytes, least);
                    if odd != 0 {
                        break at.wrapping_add(odd.trailing_zeros() as usize);
                    }
                    at = at.wrapping_add(BLOCK);
                };
                let long = end.wrapping_sub(start);
                if long <= shape.reach || *text.add(end) != b'\n' {
                    break;
                }
                let (mut sure, mut hidden) = (true, 0usize);
                for k in 0..N {
                    let (Some(value), Some(memo)) = (values.get(k), memos.get_mut(k)) else {
                        break;
                    };
                    let size = value.reach.min(long).wrapping_sub(value.index);
                    // A cell in which nothing can stand is looked at in another way.
                    if size.wrapping_sub(1) >= BLOCK {
                        sure = false;
                        break;
                    }
                    let cell = start.wrapping_add(value.index);
                    let bytes = _mm512_loadu_si512(text.add(cell).cast());
                    let kinds = look(looks, bytes);
                    let differ = memo.differs(kinds, _mm512_setzero_si512());
                    if size != memo.inner || _mm512_test_epi64_mask(differ, differ) != 0 {
                        match learn_cell(kinds, size, value.plan, k) {
                            Some(new) => *memo = new,
                            None => {
                                sure = false;
                                break;
                            }
                        }
                    }
                    let at = moved.wrapping_add(cell);
                    let new = memo.cover.hide(bytes);
                    if size <= BLOCK / 2 {
                        _mm256_storeu_si256(at.cast(), _mm512_castsi512_si256(new));
                    } else {
                        _mm512_storeu_si512(at.cast(), new);
                    }
                    if memo.to > 0 {
                        hidden = hidden.wrapping_add(memo.to.wrapping_sub(memo.from));
                        let from = cell.wrapping_add(memo.from) as u64;
                        slot.write(Brief(memo.part.wrapping_add(row << 32).wrapping_add(from)));
                        slot = slot.add(1);
                    }
                }
                if !sure {
                    break;
                }
                let is_clear = is_clear(rows, start, end, judge, |at, window| {
                    // There are no controls in the row.
                    let map = shape.inside.get(at.wrapping_sub(start) / BLOCK);
                    window & !map.copied().unwrap_or(0)
                });
                if !is_clear {
                    break;
                }
                start = end.wrapping_add(1);
                row = row.wrapping_add(1);
                done = done.wrapping_add(1);
                (noted, masked) = (slot, masked.wrapping_add(hidden));
            }
            let count = noted.offset_from_unsigned(first_slot);
            left.briefs.set_len(left.briefs.len() + count);
        }
        left.masked += masked as u64;
        page.len += start - next.start;
        (next.start, next.rows) = (start, row);
    }

    /// How a cell between spaces is replaced. `None`: it is not as plain as that, or what stands in
    /// it may be no value.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    #[inline(never)]
    fn learn_cell(kinds: __m512i, size: usize, plan: Plan, nth: usize) -> Option<Memo> {
        let all = u64::MAX >> BLOCK.checked_sub(size).filter(|behind| *behind < BLOCK)?;
        let are = |look: u8| _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(look.cast_signed()));
        let inner = all & !are(look::SPACE);
        let from = (inner.trailing_zeros() as usize).min(BLOCK - 1);
        let to = BLOCK - inner.leading_zeros() as usize;
        // SAFETY: the CPU has the instructions.
        let mut memo = unsafe { Memo::empty() };
        if inner != 0 {
            let dashes = are(look::DASH) >> from & 1 != 0;
            if are(look::PLAIN_START) >> from & 1 == 0 && (dashes || to - from <= NONE_MAX) {
                return None;
            }
            let value = all & u64::MAX << from & u64::MAX >> (BLOCK - to);
            memo.cover = hide(kinds, value, plan)?;
            memo.part = Brief::part(to - from, nth);
            if memo.cover.written != to - from {
                return None;
            }
        }
        // All of the cell says what the value is, and where.
        memo.kinds = kinds;
        memo.matters = _mm512_movm_epi8(all);
        (memo.inner, memo.from, memo.to) = (size, from, to);
        Some(memo)
    }

    /// Lets one row go, if it has its bars and what is in the protected cells can be replaced here.
    /// Whether it went.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn any_shown<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Bars<'_>,
        values: &mut [Value],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_>),
    ) -> bool {
        let Bars {
            bars,
            reach,
            inside,
        } = shape;
        let start = next.start;
        // SAFETY: the CPU has the instructions.
        let Some(end) = (unsafe { barred(page, (bars, reach), start, values.len()) }) else {
            return false;
        };
        for value in values.iter_mut() {
            let to = end.min(start.saturating_add(value.reach));
            // SAFETY: the CPU has the instructions.
            match unsafe { spaced(rows, start + value.index..to, judge) } {
                Some(found) => (value.from, value.to) = found,
                None => return false,
            }
        }
        // SAFETY: the CPU has the instructions.
        let is_clear = unsafe {
            is_clear(rows, start, end, judge, |at, window| {
                // There are no controls in the row.
                let map = inside.get((at - start) / BLOCK);
                window & !map.copied().unwrap_or(0)
            })
        };
        if !is_clear {
            return false;
        }
        let mut line = Line {
            end,
            moved: page.len.wrapping_sub(start),
        };
        // SAFETY: the row and its values end in the text, and there is room for them.
        unsafe {
            let looks = looks();
            for value in values.iter().filter(|v| v.from < v.to) {
                if !page.replace((value.from, value.to), &mut line, value.plan, looks) {
                    return false;
                }
            }
        }
        page.len = end.wrapping_add(line.moved).wrapping_add(1);
        note(values, next.rows, left);
        next.start = end + 1;
        next.rows += 1;
        true
    }

    /// Writes the row that begins at `start`, if it has its bars and no byte that is not shown in
    /// one column; where it ends.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn barred(
        page: &Page<'_>,
        (bars, reach): (&[u64], usize),
        start: usize,
        values: usize,
    ) -> Option<usize> {
        let row = page.text.get(start..)?;
        if matches!(row.first()?, b'\n' | b'\r' | b'+' | b'(' | b'-') {
            return None;
        }
        let least = _mm512_set1_epi8(0x20);
        let bar = _mm512_set1_epi8(b'|'.cast_signed());
        let mut size = 0;
        let mut wanted = bars.iter();
        loop {
            let block = row.get(size..)?;
            if block.is_empty() || !page.has_room(0, size + BLOCK, values) {
                return None;
            }
            let all = u64::MAX >> (BLOCK - block.len().min(BLOCK));
            // SAFETY: no byte behind the row is read, and there is room for a block.
            let bytes = unsafe {
                let bytes = _mm512_maskz_loadu_epi8(all, block.as_ptr().cast());
                _mm512_storeu_si512(page.to.add(page.len + size).cast(), bytes);
                bytes
            };
            let wanted = wanted.next().copied().unwrap_or(0);
            if _mm512_cmpeq_epi8_mask(bytes, bar) & wanted != wanted {
                return None;
            }
            let odd = _mm512_mask_cmplt_epi8_mask(all, bytes, least);
            if odd != 0 {
                size += odd.trailing_zeros() as usize;
                break;
            }
            size += BLOCK;
        }
        let ends = size > reach && row.get(size) == Some(&b'\n');
        ends.then_some(start + size)
    }

    /// What stands in a cell between spaces; an empty range where nothing does. `None`: nobody can
    /// say whether that is a value.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn spaced<J: Judge>(
        rows: &Rows<'_, J::How>,
        cell: Range<usize>,
        judge: &J,
    ) -> Option<(usize, usize)> {
        let from = cell.start;
        let bytes = rows.text.get(cell)?;
        if !(1..=BLOCK).contains(&bytes.len()) {
            return None;
        }
        let all = u64::MAX >> (BLOCK - bytes.len());
        let space = _mm512_set1_epi8(b' '.cast_signed());
        // SAFETY: no byte behind the cell is read.
        let block = unsafe { _mm512_maskz_loadu_epi8(all, bytes.as_ptr().cast()) };
        let inner = _mm512_mask_cmpneq_epi8_mask(all, block, space);
        if inner == 0 {
            return Some((from, from));
        }
        let skip = inner.trailing_zeros() as usize;
        let (first, to) = (
            bytes.get(skip)?,
            from + BLOCK - inner.leading_zeros() as usize,
        );
        let from = from + skip;
        let dash = matches!(first, b'-' | b'=' | b':' | b'+' | b'|');
        if is_plain(*first) || to - from > NONE_MAX && !dash {
            return Some((from, to));
        }
        inside(rows, judge, from..to)
    }

    /// Whether nothing from `start` to `end`, both with it, is to be looked at: all suspects are
    /// clear, but for those that are not `outside` of protected cells, or are controls: of a place
    /// and a window of suspects from there on it gives those.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn is_clear<J: Judge>(
        rows: &Rows<'_, J::How>,
        start: usize,
        end: usize,
        judge: &mut J,
        outside: impl Fn(usize, u64) -> u64,
    ) -> bool {
        // In windows from where the row begins: rows of a table have about the same length, so that
        // a CPU foresees in which one something is, which it cannot in the words of the map.
        let bit = start % BLOCK;
        let mut words = rows
            .suspects
            .get(start / BLOCK..)
            .unwrap_or_default()
            .iter();
        let mut next = words.next().copied().unwrap_or(0);
        let mut from = start;
        while from <= end {
            let this = std::mem::replace(&mut next, words.next().copied().unwrap_or(0));
            // The second shift in two steps: there is none of 64.
            let window = this >> bit | next << 1 << (BLOCK - 1 - bit);
            let behind = BLOCK - 1 - (end - from).min(BLOCK - 1);
            let mut left = match window << behind >> behind {
                0 => 0,
                window => outside(from, window),
            };
            while left != 0 {
                let at = from + left.trailing_zeros() as usize;
                left &= left - 1;
                if !ask(rows, judge, start..end, at) {
                    return false;
                }
            }
            from += BLOCK;
        }
        true
    }
}
