//! Rows of tables in one pass from what came to what leaves: their cells are found, what is
//! suspect in them is looked at, and they are copied with their protected values replaced.
//!
//! Only rows that are as plain as their header says; [`cover`] stops at any other one, of which
//! nothing is written then. Without AVX-512 it stops at the first row.

use std::ops::Range;

use bytes::BytesMut;

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
    /// What is kept of a value.
    type Verdict: Copy;

    /// Whether what is suspect at `at` in a row, up to its newline, is nothing.
    fn is_clear(&mut self, row: Range<usize>, at: usize) -> bool;
    /// The value in a cell whose edges are not plain; an empty one is none. `None`: nobody can say
    /// that here.
    fn value(&self, cell: Range<usize>) -> Option<Range<usize>>;
    /// What is written in the place of values. `None`: it is not known before they are.
    fn plan(&self, how: Self::How) -> Option<Plan>;
    /// What is kept of a value, from the beginning of the text, in a row counted from the first one.
    fn verdict(&self, how: Self::How, value: Range<usize>, row: u64) -> Self::Verdict;
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
pub(crate) struct Left<'a, V> {
    pub(crate) out: &'a mut BytesMut,
    /// What is kept of values, as long as there are fewer than `most`.
    pub(crate) verdicts: &'a mut Vec<V>,
    pub(crate) most: usize,
    /// How many bytes were replaced.
    pub(crate) masked: u64,
}

/// Whether [`cover`] does anything.
pub(crate) fn is_fast(width: Width) -> bool {
    match width {
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => true,
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => false,
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
    left: &mut Left<'_, J::Verdict>,
) {
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx512 => unsafe { x86::cover(rows, next, judge, left) },
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => {}
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::ops::Range;

    use super::super::{BLOCK, NEWLINE, Separators};
    use super::{
        Judge, LOOKS, Left, NONE_MAX, Next, OTHER_STARTS, PLAIN_STARTS, Plan, Rows, Shape, look,
    };

    /// No row that is read here has more cells.
    const CELLS_MAX: usize = 16;

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    pub(super) unsafe fn cover<J: Judge>(
        rows: &Rows<'_, J::How>,
        next: &mut Next,
        judge: &mut J,
        left: &mut Left<'_, J::Verdict>,
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
                let Some(memo) = hide(look(looks, bytes), all, plan) else {
                    return false;
                };
                let in_place = memo.stars == IN_PLACE;
                let written = if in_place { size } else { memo.stars };
                let hidden = if in_place { memo.hidden } else { u64::MAX };
                let new = _mm512_mask_mov_epi8(bytes, hidden, memo.with);
                let at = self.to.add(from.wrapping_add(line.moved));
                _mm512_storeu_si512(at.cast(), new);
                // What stands behind the value has been written as it came, or is now.
                if !in_place || !whole {
                    line.moved = line.moved.wrapping_add(written).wrapping_sub(size);
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

    /// How a value of some bytes is replaced: in most columns all values look alike.
    #[derive(Clone, Copy)]
    struct Memo {
        size: usize,
        /// What its bytes are, where `all` has bits.
        kinds: __m512i,
        all: u64,
        /// Which of them are replaced, and by what.
        hidden: u64,
        with: __m512i,
        /// How many stars stand for it, or [`IN_PLACE`].
        stars: usize,
        /// Where it stands in its cell; up to 0 where nothing does.
        from: usize,
        to: usize,
    }

    const IN_PLACE: usize = usize::MAX;

    impl Memo {
        /// No value has no size.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions.
        #[inline(always)]
        unsafe fn none() -> Self {
            // SAFETY: the CPU has the instructions.
            let zero = unsafe { _mm512_setzero_si512() };
            Self {
                size: 0,
                kinds: zero,
                all: 0,
                hidden: 0,
                with: zero,
                stars: IN_PLACE,
                from: 0,
                to: 0,
            }
        }

        /// Whether a value of this size is made of the same kinds of bytes.
        ///
        /// # Safety
        ///
        /// The CPU has the instructions.
        #[inline(always)]
        unsafe fn is_same(&self, kinds: __m512i) -> bool {
            // SAFETY: the CPU has the instructions.
            unsafe { _mm512_mask_cmpneq_epi8_mask(self.all, kinds, self.kinds) == 0 }
        }
    }

    /// How a value is replaced. `None`: it is not as plain as that, or may be none.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    #[inline(never)]
    fn learn(kinds: __m512i, size: usize, plan: Plan) -> Option<Memo> {
        let last = size.checked_sub(1).filter(|last| *last < BLOCK)?;
        let are = |look: u8| _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(look.cast_signed()));
        let starts = are(look::PLAIN_START) & 1 != 0 || size > NONE_MAX;
        let spaces = are(look::SPACE);
        let is_value = starts && spaces & 1 == 0 && spaces >> last & 1 == 0;
        is_value.then(|| hide(kinds, u64::MAX >> (BLOCK - size), plan))?
    }

    /// How what stands where `all` has bits is replaced. `None`: it is not as plain as that.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    #[inline]
    fn hide(kinds: __m512i, all: u64, plan: Plan) -> Option<Memo> {
        let are =
            |look: u8| all & _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(look.cast_signed()));
        if are(look::ODD) != 0 {
            return None;
        }
        let star = _mm512_set1_epi8(b'*'.cast_signed());
        let memo = |hidden, with, stars| Memo {
            size: all.count_ones() as usize,
            kinds,
            all,
            hidden,
            with,
            stars,
            from: 0,
            to: 0,
        };
        let counted = are(look::COUNTED);
        let count = counted.count_ones();
        Some(if count >= plan.least {
            let is_number = are(look::NO_NUMBER) == 0;
            // As many ones as are kept, moved to the highest places that count.
            let kept = u64::MAX << (count.wrapping_sub(plan.last) & 63);
            let hidden = if is_number { counted } else { all };
            memo(hidden & !_pdep_u64(kept, counted), star, IN_PLACE)
        } else if let Some(stars) = plan.stars {
            memo(all, star, stars.min(BLOCK))
        } else {
            memo(all, _mm512_set1_epi8(plan.with.cast_signed()), IN_PLACE)
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

    /// A value that was found in a row, and how it is replaced.
    #[derive(Clone, Copy)]
    struct Value<H> {
        /// Which cell it is, where separators tell them apart, or where it begins and ends.
        index: usize,
        reach: usize,
        from: usize,
        to: usize,
        plan: Plan,
        how: H,
    }

    /// Lets rows go whose cells separators end.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn separated<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Cells<'_>,
        columns: &[(usize, J::How)],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_, J::Verdict>),
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
                match &*values {
                    [] => {}
                    [a] => plain(rows, shape, &[*a], next, judge, (page, left)),
                    [a, b] => plain(rows, shape, &[*a, *b], next, judge, (page, left)),
                    [a, b, c] => plain(rows, shape, &[*a, *b, *c], next, judge, (page, left)),
                    [a, b, c, d] => {
                        plain(rows, shape, &[*a, *b, *c, *d], next, judge, (page, left));
                    }
                    _ => {}
                }
                any(rows, shape, values, next, judge, (page, left))
            };
            if !went {
                return;
            }
        }
    }

    /// Rows of so many cells.
    #[derive(Clone, Copy)]
    struct Cells<'a> {
        by: &'a Separators,
        cells: usize,
        tight: bool,
        longest: usize,
    }

    /// A row whose cells separators end: the first of these, what stands before, and the newline.
    #[derive(Clone, Copy)]
    struct Plain {
        text: *const u8,
        ends: *const u32,
        start: usize,
        end: usize,
        row: u64,
        looks: (__m512i, __m512i),
    }

    impl Plain {
        /// Writes what stands for a value, and keeps what is to be kept of it. False where the value
        /// needs a closer look.
        ///
        /// # Safety
        ///
        /// What [`plain`] knows.
        #[inline(always)]
        unsafe fn value<J: Judge>(
            self,
            value: &Value<J::How>,
            memo: &mut Memo,
            found: &mut (usize, usize),
            moved: &mut *mut u8,
            slot: &mut *mut J::Verdict,
            judge: &J,
        ) -> bool {
            let Self {
                text,
                ends,
                start,
                end,
                row,
                looks,
            } = self;
            // SAFETY: what the caller promises.
            unsafe {
                let from = match value.index.checked_sub(1) {
                    Some(before) => (*ends.add(before) as usize).wrapping_add(1),
                    None => start,
                };
                let to = (*ends.add(value.index) & !NEWLINE) as usize;
                *found = (from, to);
                let size = to.wrapping_sub(from);
                if size == 0 {
                    return true;
                }
                let short = size <= BLOCK / 2;
                let bytes = if short {
                    _mm512_zextsi256_si512(_mm256_loadu_si256(text.add(from).cast()))
                } else {
                    _mm512_loadu_si512(text.add(from).cast())
                };
                let kinds = look(looks, bytes);
                if size != memo.size || !memo.is_same(kinds) {
                    match learn(kinds, size, value.plan) {
                        Some(new) => *memo = new,
                        None => return false,
                    }
                }
                let at = moved.wrapping_add(from);
                if memo.stars == IN_PLACE {
                    let new = _mm512_mask_mov_epi8(bytes, memo.hidden, memo.with);
                    if short {
                        _mm256_storeu_si256(at.cast(), _mm512_castsi512_si256(new));
                    } else {
                        _mm512_storeu_si512(at.cast(), new);
                    }
                } else {
                    _mm512_storeu_si512(at.cast(), memo.with);
                    *moved = moved.wrapping_add(memo.stars).wrapping_sub(size);
                    // What stands behind moves.
                    copy(text, *moved, to, end);
                }
                slot.write(judge.verdict(value.how, from..to, row));
                *slot = slot.add(1);
            }
            true
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

    /// Lets rows go as long as their values are not in need of a closer look: this has to be fast.
    /// There are `N` protected columns, so that all is known of them when this is compiled.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; what is listed stands in the text, in order; suspects end with
    /// `u32::MAX`; values have indices below the number of cells, of which there are 2 at least.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn plain<J: Judge, const N: usize>(
        rows: &Rows<'_, J::How>,
        shape: Cells<'_>,
        values: &[Value<J::How>; N],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_, J::Verdict>),
    ) {
        let Cells {
            by,
            cells,
            tight,
            longest,
        } = shape;
        let (text, size) = (rows.text.as_ptr(), rows.text.len());
        let mut start = next.start;
        let here = by.ends().get(next.end..).unwrap_or_default();
        let room = left.most.saturating_sub(left.verdicts.len());
        let most = (here.len() / cells).min(room / N);
        if here
            .first()
            .is_none_or(|to| start > (to & !NEWLINE) as usize)
            || next.suspect >= by.suspects.len()
        {
            return;
        }
        left.verdicts.reserve(most * N);
        // What stands at a place of the text goes to so many bytes from here.
        let mut moved = page.to.wrapping_add(page.len).wrapping_sub(start);
        // Rows may end before this place: whole blocks are read there, and there is room for what
        // values may become.
        let limit = |moved: *mut u8| {
            let used = (moved as usize).wrapping_sub(page.to as usize);
            let room = page.room.saturating_sub((N + 4) * BLOCK);
            let room = room.wrapping_sub(used).cast_signed().max(0).cast_unsigned();
            room.min(size.saturating_sub(BLOCK + 1))
        };
        let mut before = limit(moved);
        // SAFETY: the CPU has the instructions.
        let looks = unsafe { looks() };
        let (all, newline) = (u32::from(u16::MAX >> (16 - cells)), 1u32 << (cells - 1));
        let (mut row, mut done, mut masked) = (next.rows, 0usize, 0usize);
        // SAFETY: the CPU has the instructions.
        let mut memos = [unsafe { Memo::none() }; N];
        // SAFETY: there are so many ends, with more numbers behind the last one, and such a suspect.
        // They ascend, and all but the last suspect are places in the text; so are the values of a
        // row, which end before the row does, with a block behind them. There is room for the values
        // of `most` rows.
        unsafe {
            let mut ends = here.as_ptr();
            let mut suspect = by.suspects.as_ptr().add(next.suspect);
            let first_slot = left.verdicts.as_mut_ptr().add(left.verdicts.len());
            let mut slot = first_slot;
            let (mut noted, mut looked) = (slot, suspect);
            'rows: while done < most {
                let numbers = _mm512_loadu_si512(ends.cast());
                let end = (*ends.add(cells.wrapping_sub(1)) & !NEWLINE) as usize;
                // The last one is a newline, and no other.
                if u32::from(_mm512_movepi32_mask(numbers)) & all != newline
                    || end >= before
                    || end.wrapping_sub(start) > longest
                {
                    break;
                }
                if OTHER_STARTS.get(usize::from(*text.add(start))) != Some(&false)
                    || *text.add((*ends as usize).wrapping_add(1)) == b' ' && tight
                {
                    break;
                }
                copy(text, moved, start, end);
                let mut here = moved;
                let mut found = [(0, 0); N];
                let mut hidden = 0usize;
                let line = Plain {
                    text,
                    ends,
                    start,
                    end,
                    row,
                    looks,
                };
                let mut sure = true;
                // Each by itself, so that all that differs is known when this is compiled.
                for k in 0..N {
                    let (Some(value), Some(memo), Some(found)) =
                        (values.get(k), memos.get_mut(k), found.get_mut(k))
                    else {
                        break;
                    };
                    sure &= line.value(value, memo, found, &mut here, &mut slot, judge);
                }
                if !sure {
                    break;
                }
                for (from, to) in &found {
                    hidden = hidden.wrapping_add(to.wrapping_sub(*from));
                }
                while *suspect as usize <= end {
                    let place = *suspect as usize;
                    suspect = suspect.add(1);
                    // A name at the end of a value may make the row a header.
                    let mut inside = false;
                    for (from, to) in &found {
                        inside |= place > *from && place < *to;
                    }
                    // Those before it are of lines that were looked at in another way.
                    if (!inside || by.controls && matches!(*text.add(place), 0 | 8 | 0x1b))
                        && place >= start
                        && !ask(rows, judge, start..end, place)
                    {
                        break 'rows;
                    }
                }
                if here != moved {
                    moved = here;
                    before = limit(moved);
                }
                start = end.wrapping_add(1);
                ends = ends.add(cells);
                row = row.wrapping_add(1);
                done = done.wrapping_add(1);
                (noted, looked, masked) = (slot, suspect, masked.wrapping_add(hidden));
            }
            let count = noted.offset_from_unsigned(first_slot);
            left.verdicts.set_len(left.verdicts.len() + count);
            next.suspect = looked.offset_from_unsigned(by.suspects.as_ptr());
        }
        page.len = (moved as usize)
            .wrapping_add(start)
            .wrapping_sub(page.to as usize);
        left.masked += masked as u64;
        next.start = start;
        next.end += done * cells;
        next.rows = row;
    }

    /// Lets one row go, if it has its cells and what is in the protected ones can be replaced here.
    /// Whether it went.
    ///
    /// # Safety
    ///
    /// What [`plain`] wants.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn any<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Cells<'_>,
        values: &mut [Value<J::How>],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_, J::Verdict>),
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
        note(values, next.rows, judge, left);
        *next = Next {
            start: end + 1,
            end: next.end + cells,
            suspect,
            rows: next.rows + 1,
        };
        true
    }

    /// Room for the values of a row; `None` where it is not known how they are replaced, or where
    /// they are many.
    fn values<J: Judge>(
        judge: &J,
        columns: impl ExactSizeIterator<Item = J::How>,
    ) -> Option<[Value<J::How>; CELLS_MAX]> {
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
                how,
            })
        };
        let mut values = [value(columns.next()?)?; CELLS_MAX];
        for (slot, how) in values.iter_mut().skip(1).zip(columns) {
            *slot = value(how)?;
        }
        Some(values)
    }

    /// Keeps what there is of the values of a row.
    #[inline(always)]
    fn note<J: Judge>(
        values: &[Value<J::How>],
        row: u64,
        judge: &J,
        left: &mut Left<'_, J::Verdict>,
    ) {
        for value in values.iter().filter(|v| v.from < v.to) {
            let place = value.from..value.to;
            left.masked += place.len() as u64;
            if left.verdicts.len() < left.most {
                left.verdicts.push(judge.verdict(value.how, place, row));
            }
        }
    }

    /// Lets rows go with bars at fixed places.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn aligned<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Bars<'_>,
        columns: &[(usize, usize, J::How)],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_, J::Verdict>),
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
                match &*values {
                    [a] => shown(rows, shape, &[*a], next, judge, (page, left)),
                    [a, b] => shown(rows, shape, &[*a, *b], next, judge, (page, left)),
                    [a, b, c] => shown(rows, shape, &[*a, *b, *c], next, judge, (page, left)),
                    [a, b, c, d] => {
                        shown(rows, shape, &[*a, *b, *c, *d], next, judge, (page, left));
                    }
                    _ => {}
                }
                any_shown(rows, shape, values, next, judge, (page, left))
            };
            if !went {
                return;
            }
        }
    }

    /// Rows with bars at fixed places.
    #[derive(Clone, Copy)]
    struct Bars<'a> {
        bars: &'a [u64],
        reach: usize,
        inside: &'a [u64],
    }

    /// Lets rows go as long as their values are not in need of a closer look: this has to be fast.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn shown<J: Judge, const N: usize>(
        rows: &Rows<'_, J::How>,
        shape: Bars<'_>,
        values: &[Value<J::How>; N],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_, J::Verdict>),
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
        let room = left.most.saturating_sub(left.verdicts.len());
        let most = (rest / (least + 1) + 1).min(room / N);
        left.verdicts.reserve(most * N);
        let moved = page.to.wrapping_add(page.len).wrapping_sub(start);
        // Blocks that begin before this place are in the text, and so are others a block further;
        // and there is room for both.
        let room = page.room.saturating_sub(page.len + 3 * BLOCK);
        let before = (start.saturating_add(room)).min(size.saturating_sub(2 * BLOCK));
        // SAFETY: the CPU has the instructions.
        let looks = unsafe { looks() };
        let (mut row, mut done, mut masked) = (next.rows, 0usize, 0usize);
        // SAFETY: the CPU has the instructions.
        let mut memos = [unsafe { Memo::none() }; N];
        // SAFETY: all of the text that is read begins at most a block behind what is before that
        // place. There is room for the values of `most` rows.
        unsafe {
            let (least, bar) = (_mm512_set1_epi8(0x20), _mm512_set1_epi8(b'|'.cast_signed()));
            let first_slot = left.verdicts.as_mut_ptr().add(left.verdicts.len());
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
                    if size != memo.size || !memo.is_same(kinds) {
                        match learn_cell(kinds, size, value.plan) {
                            Some(new) => *memo = new,
                            None => {
                                sure = false;
                                break;
                            }
                        }
                    }
                    let at = moved.wrapping_add(cell);
                    let new = _mm512_mask_mov_epi8(bytes, memo.hidden, memo.with);
                    if size <= BLOCK / 2 {
                        _mm256_storeu_si256(at.cast(), _mm512_castsi512_si256(new));
                    } else {
                        _mm512_storeu_si512(at.cast(), new);
                    }
                    if memo.to > 0 {
                        hidden = hidden.wrapping_add(memo.to.wrapping_sub(memo.from));
                        let found = cell.wrapping_add(memo.from)..cell.wrapping_add(memo.to);
                        slot.write(judge.verdict(value.how, found, row));
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
            left.verdicts.set_len(left.verdicts.len() + count);
        }
        left.masked += masked as u64;
        page.len += start - next.start;
        (next.start, next.rows) = (start, row);
    }

    /// How a cell between spaces is replaced. `None`: it is not as plain as that, or what stands in
    /// it may be no value.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    #[inline(never)]
    fn learn_cell(kinds: __m512i, size: usize, plan: Plan) -> Option<Memo> {
        let all = u64::MAX >> BLOCK.checked_sub(size).filter(|behind| *behind < BLOCK)?;
        let are = |look: u8| _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(look.cast_signed()));
        let inner = all & !are(look::SPACE);
        let from = (inner.trailing_zeros() as usize).min(BLOCK - 1);
        let to = BLOCK - inner.leading_zeros() as usize;
        let mut memo = if inner == 0 {
            // SAFETY: the CPU has the instructions.
            unsafe { Memo::none() }
        } else {
            let dashes = are(look::DASH) >> from & 1 != 0;
            if are(look::PLAIN_START) >> from & 1 == 0 && (dashes || to - from <= NONE_MAX) {
                return None;
            }
            hide(
                kinds,
                all & u64::MAX << from & u64::MAX >> (BLOCK - to),
                plan,
            )?
        };
        if memo.stars != IN_PLACE {
            return None;
        }
        // All of the cell says what the value is, and where.
        (memo.size, memo.all, memo.kinds) = (size, all, kinds);
        (memo.from, memo.to) = (from, to);
        Some(memo)
    }

    /// Lets one row go, if it has its bars and what is in the protected cells can be replaced here.
    /// Whether it went.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn any_shown<J: Judge>(
        rows: &Rows<'_, J::How>,
        shape: Bars<'_>,
        values: &mut [Value<J::How>],
        next: &mut Next,
        judge: &mut J,
        (page, left): (&mut Page<'_>, &mut Left<'_, J::Verdict>),
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
        note(values, next.rows, judge, left);
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
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
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

    /// A call of its own, so that it stays out of the loop.
    #[inline(never)]
    fn ask<J: Judge>(rows: &Rows<'_, J::How>, judge: &mut J, row: Range<usize>, at: usize) -> bool {
        judge.is_clear(rows.base + row.start..rows.base + row.end, rows.base + at)
    }

    /// The same for a cell whose edges are not plain.
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
}
