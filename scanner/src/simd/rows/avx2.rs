//! The same for 32 bytes at a time, without lists: the separators of a row, its newline and its bars
//! are found as it is copied.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::super::BLOCK;
use super::{
    Bars, Brief, Cells, Judge, Left, NONE_MAX, Next, OTHER_STARTS, Plan, Rows, Shape, Value, ask,
    forget_empty, hidden, rows_left, values,
};

/// # Safety
///
/// The CPU has the instructions.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
pub(super) unsafe fn cover<J: Judge>(
    rows: &Rows<'_, J::How>,
    next: &mut Next,
    judge: &mut J,
    left: &mut Left<'_>,
) {
    let len = left.out.len();
    let spare = left.out.spare_capacity_mut();
    let mut page = Page {
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
            if let Some(mut values) = values(judge, columns.iter().map(|(_, how)| *how))
                && let Some(values) = values.get_mut(..columns.len())
                && columns.iter().all(|(index, _)| *index < cells)
            {
                for (value, (index, _)) in values.iter_mut().zip(columns) {
                    value.index = *index;
                }
                // SAFETY: the CPU has the instructions; the columns are below the number of cells.
                unsafe {
                    by_number!(
                        values,
                        separated(rows, shape, next, judge, (&mut page, left))
                    );
                }
            }
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
            if let Some(mut values) = values(judge, columns.iter().map(|(_, _, how)| *how))
                && let Some(values) = values.get_mut(..columns.len())
            {
                for (value, (from, to, _)) in values.iter_mut().zip(columns) {
                    (value.index, value.reach) = (*from, *to);
                }
                // SAFETY: the CPU has the instructions.
                unsafe {
                    by_number!(values, aligned(rows, shape, next, judge, (&mut page, left)));
                }
            }
        }
    }
    // SAFETY: so many bytes of the room have been written.
    unsafe { left.out.set_len(len + page.len) };
}

/// The room that rows are written to.
struct Page {
    to: *mut u8,
    room: usize,
    /// What of it is written.
    len: usize,
}

/// Half of a block.
const HALF: usize = BLOCK / 2;

/// So many halves from `at` on.
///
/// # Safety
///
/// The CPU has the instructions, and the bytes can be read.
#[inline(always)]
unsafe fn load<const H: usize>(at: *const u8) -> [__m256i; H] {
    // SAFETY: what the caller promises; loads need no alignment.
    unsafe {
        let mut all = [_mm256_setzero_si256(); H];
        for (k, half) in all.iter_mut().enumerate() {
            *half = _mm256_loadu_si256(at.wrapping_add(k * HALF).cast());
        }
        all
    }
}

/// # Safety
///
/// The CPU has the instructions, and there is room.
#[inline(always)]
unsafe fn store<const H: usize>(at: *mut u8, bytes: [__m256i; H]) {
    for (k, half) in bytes.into_iter().enumerate() {
        // SAFETY: what the caller promises; stores need no alignment.
        unsafe { _mm256_storeu_si256(at.wrapping_add(k * HALF).cast(), half) };
    }
}

/// Where bytes are like `every`, which is one byte.
///
/// # Safety
///
/// The CPU has the instructions.
#[inline(always)]
unsafe fn places<const H: usize>(bytes: [__m256i; H], every: __m256i) -> u64 {
    let mut all = 0;
    for (k, half) in bytes.into_iter().enumerate() {
        // SAFETY: the CPU has the instructions.
        let bits = unsafe { _mm256_movemask_epi8(_mm256_cmpeq_epi8(half, every)) };
        all |= u64::from(bits.cast_unsigned()) << (k * HALF);
    }
    all
}

/// # Safety
///
/// The CPU has the instructions.
#[inline(always)]
unsafe fn every(b: u8) -> __m256i {
    // SAFETY: the CPU has the instructions.
    unsafe { _mm256_set1_epi8(b.cast_signed()) }
}

/// Classes of bytes, a bit each. No byte is in two; what is in none is looked at in another way.
mod class {
    pub(super) const DIGIT: u8 = 1;
    /// What a value may begin with that is surely not the word for none, as a digit is: two bits.
    pub(super) const LETTER: u8 = 2 | 4;
    /// The other letters: `n` and `u`.
    pub(super) const NONE: u8 = 8;
    pub(super) const SPACE: u8 = 0x10;
    /// What else a number may be written with.
    pub(super) const DASH: u8 = 0x20;
    /// Most other signs: two bits, too.
    pub(super) const SIGN: u8 = 0x40 | 0x80;

    pub(super) const START: u8 = DIGIT | LETTER;
    pub(super) const COUNTED: u8 = START | NONE;
    pub(super) const NUMBER: u8 = DIGIT | SPACE | DASH;
}

/// A class bit in each row: those bytes have it of which the four bits from the fourth one on are a
/// bit of the first number, and the lower four ones a bit of the second.
const CLASSES: [(u8, u16, u16); 8] = [
    (class::DIGIT, 1 << 6 | 1 << 7, 0x03ff),
    (2, 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14, 0xbfdf),
    (4, 1 << 8 | 1 << 11 | 1 << 12 | 1 << 15, 0x07fe),
    (class::NONE, 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14, 0x4020),
    (class::SPACE, 1 << 4, 0x0001),
    (class::DASH, 1 << 5, 0x6000),
    (0x40, 1 << 4 | 1 << 5, 0x9ffe),
    (0x80, 1 << 7 | 1 << 8 | 1 << 11 | 1 << 12, 0xe801),
];

/// The same by these four bits, and by the others; twice each, as a look-up wants them.
const HIGH: [u8; HALF] = table(true);
const LOW: [u8; HALF] = table(false);

#[expect(
    clippy::indexing_slicing,
    reason = "every index is known to be in the array when this is compiled"
)]
const fn table(high: bool) -> [u8; HALF] {
    let mut all = [0; HALF];
    let mut k = 0;
    while k < CLASSES.len() * HALF {
        let (bit, highs, lows) = CLASSES[k / HALF];
        let at = k % HALF;
        let set = if high { highs } else { lows };
        if set >> (at % 16) & 1 != 0 {
            all[at] |= bit;
        }
        k += 1;
    }
    all
}

/// The tables in registers.
#[derive(Clone, Copy)]
struct Looks {
    high: __m256i,
    low: __m256i,
}

impl Looks {
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: each table has 32 bytes; loads need no alignment.
        unsafe {
            Self {
                high: _mm256_loadu_si256(HIGH.as_ptr().cast()),
                low: _mm256_loadu_si256(LOW.as_ptr().cast()),
            }
        }
    }

    /// The classes of bytes.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    unsafe fn look<const H: usize>(self, bytes: [__m256i; H]) -> [__m256i; H] {
        let mut all = bytes;
        for half in &mut all {
            // SAFETY: the CPU has the instructions.
            unsafe {
                let high = _mm256_and_si256(_mm256_srli_epi16::<3>(*half), every(0x0f));
                // Of what is not ASCII the sign stays, for which there is nothing in the table.
                let low = _mm256_and_si256(*half, every(0x8f));
                *half = _mm256_and_si256(
                    _mm256_shuffle_epi8(self.high, high),
                    _mm256_shuffle_epi8(self.low, low),
                );
            }
        }
        all
    }
}

/// How a value is replaced, and what another one has to be like to be replaced so, too: in most
/// columns all values of a size are.
#[derive(Clone, Copy)]
struct Memo {
    /// In which classes its bytes may be, where `all` has bits.
    allowed: [__m256i; 2],
    all: u64,
    /// `with` stands where there are ones.
    hidden: [__m256i; 2],
    with: __m256i,
    /// How many bytes are written.
    written: usize,
    /// So many places behind its first one are in it; of a cell, how many bytes it has.
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
    unsafe fn empty(part: u64) -> Self {
        // SAFETY: the CPU has the instructions.
        let zero = unsafe { _mm256_setzero_si256() };
        Self {
            allowed: [zero; 2],
            all: 0,
            hidden: [zero; 2],
            with: zero,
            written: 0,
            inner: 0,
            part,
            from: 0,
            to: 0,
        }
    }

    /// Where a value of this size has a byte that makes it another one.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a block has two halves")]
    unsafe fn differs<const H: usize>(&self, looks: [__m256i; H]) -> u64 {
        let mut found = looks;
        for k in 0..H {
            // SAFETY: the CPU has the instructions.
            found[k] = unsafe { _mm256_and_si256(looks[k], self.allowed[k]) };
        }
        // SAFETY: the CPU has the instructions.
        self.all & unsafe { places(found, _mm256_setzero_si256()) }
    }

    /// What stands for the value that `bytes` begin with.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "a block has two halves")]
    unsafe fn hide<const H: usize>(&self, bytes: [__m256i; H]) -> [__m256i; H] {
        let mut all = bytes;
        for k in 0..H {
            // SAFETY: the CPU has the instructions.
            all[k] = unsafe { _mm256_blendv_epi8(bytes[k], self.with, self.hidden[k]) };
        }
        all
    }
}

/// A byte of ones for each bit.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
#[inline]
fn spread(bits: u64) -> [__m256i; 2] {
    let half = |bits: u64| {
        // Each byte of the four eight times, and of each of these another bit.
        let bytes = _mm256_set1_epi32((bits as u32).cast_signed());
        let order = _mm256_set_epi64x(
            0x0303_0303_0303_0303,
            0x0202_0202_0202_0202,
            0x0101_0101_0101_0101,
            0,
        );
        let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
        let bytes = _mm256_and_si256(_mm256_shuffle_epi8(bytes, order), bit);
        _mm256_cmpeq_epi8(bytes, bit)
    };
    [half(bits), half(bits >> HALF)]
}

/// The classes of the bytes of a block.
#[derive(Clone, Copy)]
struct Looked([__m256i; 2]);

impl Looked {
    /// Where bytes are of one of these classes.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[inline]
    fn are(self, classes: u8) -> u64 {
        let mut found = self.0;
        // SAFETY: the CPU has the instructions.
        unsafe {
            for half in &mut found {
                *half = _mm256_and_si256(*half, every(classes));
            }
            !places(found, _mm256_setzero_si256())
        }
    }

    /// What stands for what stands where `all` has bits. `None`: it is not as plain as that.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[inline]
    fn learn(self, all: u64, plan: Plan, nth: usize) -> Option<Memo> {
        if all & !self.are(u8::MAX) != 0 {
            return None;
        }
        let size = all.count_ones() as usize;
        let no_number = all & !self.are(class::NUMBER);
        // SAFETY: the CPU has the instructions.
        unsafe {
            let hidden = hidden(all, all & self.are(class::COUNTED), no_number, plan);
            Some(Memo {
                all,
                hidden: spread(hidden.bits),
                with: every(hidden.with),
                written: hidden.written,
                ..Memo::empty(Brief::part(size, nth))
            })
        }
    }

    /// For each byte the classes of the group that it is in.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[inline]
    fn alike(self, groups: &[u8]) -> [__m256i; 2] {
        let mut all = [_mm256_setzero_si256(); 2];
        for group in groups {
            for (half, bits) in all.iter_mut().zip(spread(self.are(*group))) {
                // SAFETY: the CPU has the instructions.
                let group = unsafe { every(*group) };
                *half = _mm256_or_si256(*half, _mm256_and_si256(bits, group));
            }
        }
        all
    }
}

/// Leaves only `classes` where there are bits.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
#[inline]
fn only(allowed: [__m256i; 2], bits: u64, classes: u8) -> [__m256i; 2] {
    let mut all = allowed;
    for (half, bits) in all.iter_mut().zip(spread(bits)) {
        // SAFETY: the CPU has the instructions.
        let others = _mm256_and_si256(bits, unsafe { every(!classes) });
        *half = _mm256_andnot_si256(others, *half);
    }
    all
}

/// How a value of so many bytes, at most a block, in the `nth` protected column, is replaced.
/// `None`: it is not as plain as that, or may be none.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn learn(looked: Looked, size: usize, plan: Plan, nth: usize) -> Option<Memo> {
    let Some(last) = size.checked_sub(1) else {
        // SAFETY: the CPU has the instructions.
        return Some(unsafe { Memo::empty(Brief::part(0, nth)) });
    };
    let all = u64::MAX >> BLOCK.checked_sub(size)?;
    let short = size <= NONE_MAX;
    let edges = 1u64 | 1 << last;
    if looked.are(class::SPACE) & edges != 0 || short && looked.are(class::START) & 1 == 0 {
        return None;
    }
    let mut memo = looked.learn(all, plan, nth)?;
    // Of many masks it does not matter what a value is made of, and of a word not whether its
    // letters are digits.
    let groups: &[u8] = if plan.least == u32::MAX {
        &[u8::MAX]
    } else if all & !looked.are(class::COUNTED) == 0 {
        &[class::COUNTED]
    } else {
        &[
            class::DIGIT,
            class::LETTER | class::NONE,
            class::SPACE | class::DASH,
            class::SIGN,
        ]
    };
    memo.allowed = only(looked.alike(groups), edges, !class::SPACE);
    if short {
        memo.allowed = only(memo.allowed, 1, class::START);
    }
    memo.inner = last;
    Some(memo)
}

/// How a cell of so many bytes, at most a block, in which a value stands between spaces is replaced.
/// `None`: it is not as plain as that, or what stands in it may be no value.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn learn_cell(looked: Looked, size: usize, plan: Plan, nth: usize) -> Option<Memo> {
    let all = u64::MAX >> BLOCK.checked_sub(size).filter(|behind| *behind < BLOCK)?;
    let inner = all & !looked.are(class::SPACE);
    // All of the cell says what the value is, and where.
    let mut allowed = looked.alike(&[
        class::DIGIT,
        class::LETTER | class::NONE,
        class::SPACE,
        class::DASH,
        class::SIGN,
    ]);
    // SAFETY: the CPU has the instructions.
    let mut memo = unsafe { Memo::empty(0) };
    if inner != 0 {
        let (from, behind) = (inner.trailing_zeros(), inner.leading_zeros());
        let size = (u64::BITS - behind - from) as usize;
        let first = 1 << from;
        // What begins with a sign may be a rule.
        let starts = if looked.are(class::START) & first != 0 {
            class::START
        } else if looked.are(class::NONE) & first != 0 && size > NONE_MAX {
            class::COUNTED
        } else {
            return None;
        };
        allowed = only(allowed, first, starts);
        memo = looked.learn(u64::MAX << from & u64::MAX >> behind, plan, nth)?;
        if memo.written != size {
            return None;
        }
        memo.from = from as usize;
        memo.to = memo.from + size;
    }
    (memo.allowed, memo.all, memo.inner) = (allowed, all, size);
    Some(memo)
}

/// How values of `N` columns are replaced, by their size: of at most a block.
struct Memory<const N: usize> {
    memos: [[MaybeUninit<Memo>; BLOCK + 1]; N],
    /// Which of them there are.
    known: [u128; N],
    /// All of them are short, and what stands for them is as long.
    placed: bool,
}

impl<const N: usize> Memory<N> {
    fn new() -> Self {
        Self {
            memos: [const { [const { MaybeUninit::uninit() }; BLOCK + 1] }; N],
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

    /// Learns how the value of so many bytes is replaced that `text` begins with. Whether that was
    /// not known; `None`: nobody can say here.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions, and the text has a block.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[inline(never)]
    unsafe fn learn(
        &mut self,
        nth: usize,
        plan: Plan,
        text: *const u8,
        size: usize,
    ) -> Option<bool> {
        // SAFETY: what the caller promises.
        let looks = unsafe { Looks::new().look(load::<2>(text)) };
        if let Some(memo) = self.get(nth, size) {
            // SAFETY: the CPU has the instructions.
            if unsafe { memo.differs(looks) } == 0 {
                return Some(false);
            }
        }
        let memo = learn(Looked(looks), size, plan, nth)?;
        self.memos.get_mut(nth)?.get_mut(size)?.write(memo);
        *self.known.get_mut(nth)? |= 1 << size;
        self.placed &= size <= HALF && memo.written == size;
        Some(true)
    }
}

/// A text and where it is suspect, which both go on for two blocks behind what is read as rows.
#[derive(Clone, Copy)]
struct Source {
    text: *const u8,
    suspects: *const u8,
}

impl Source {
    fn new<H>(rows: &Rows<'_, H>) -> Self {
        Self {
            text: rows.text.as_ptr(),
            suspects: rows.suspects.as_ptr().cast(),
        }
    }

    /// Up to where rows may be read.
    fn last<H>(rows: &Rows<'_, H>) -> usize {
        let size = rows.text.len().min(rows.suspects.len() * BLOCK);
        size.saturating_sub(2 * BLOCK)
    }

    /// The first suspect from `start` to `end`, both with it, that is not `inside` of protected cells.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions, and the row stands in the text.
    #[inline(always)]
    unsafe fn suspect(
        self,
        (start, end): (usize, usize),
        inside: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // In windows from where the row begins: rows of a table have about the same length, so that
        // a CPU foresees in which one something is, which it cannot in the words of the map.
        let (mut at, bit) = (start, start % 8);
        let mut from = self.suspects.wrapping_add(start / 8);
        loop {
            let left = end.wrapping_sub(at).wrapping_add(1);
            // SAFETY: a block behind the row is in the map, too; loads need no alignment.
            let mut window = unsafe {
                let word = from.cast::<u64>().read_unaligned();
                _bzhi_u64(word >> bit, left.min(WINDOW) as u32)
            };
            while window != 0 {
                let place = at.wrapping_add(window.trailing_zeros() as usize);
                window &= window.wrapping_sub(1);
                if !inside(place) {
                    return Some(place);
                }
            }
            (at, from) = (at.wrapping_add(WINDOW), from.wrapping_add(WINDOW / 8));
            if at > end {
                return None;
            }
        }
    }
}

/// So many bits are in eight bytes of a map at whatever bit they begin.
const WINDOW: usize = 56;

/// The last rows of a text, with more behind.
struct Tail {
    text: [u8; TAIL_MAX + 2 * BLOCK],
    suspects: [u64; TAIL_MAX / BLOCK + 3],
}

/// No more bytes are copied.
const TAIL_MAX: usize = 1024;

impl Tail {
    fn new() -> Self {
        Self {
            text: [0; TAIL_MAX + 2 * BLOCK],
            suspects: [0; TAIL_MAX / BLOCK + 3],
        }
    }

    /// Where the text would begin if its part from `start` on stood here, as it does then. `None`: that
    /// is more than there is room for.
    fn copy<H>(&mut self, rows: &Rows<'_, H>, start: usize) -> Option<Source> {
        let rest = rows
            .text
            .get(start..)
            .filter(|rest| rest.len() <= TAIL_MAX)?;
        self.text.get_mut(..rest.len())?.copy_from_slice(rest);
        let words = rows.suspects.get(start / BLOCK..).unwrap_or_default();
        for (slot, word) in self.suspects.iter_mut().zip(words) {
            *slot = *word;
        }
        let suspects = self.suspects.as_ptr().wrapping_sub(start / BLOCK);
        Some(Source {
            text: self.text.as_ptr().wrapping_sub(start),
            suspects: suspects.cast(),
        })
    }
}

/// Where the next row is, where what stands there goes, and what is kept of its values.
#[derive(Clone, Copy)]
struct At {
    start: usize,
    moved: *mut u8,
    slot: *mut Brief,
    /// How many rows there were.
    done: usize,
    /// Suspects before it are nothing.
    looked: usize,
}

impl At {
    /// Asks whether what is suspect in the next row is nothing: a call that stays out of the loops, in
    /// which all registers are needed.
    fn ask<J: Judge>(
        &mut self,
        rows: &Rows<'_, J::How>,
        judge: &mut J,
        (end, place): (usize, usize),
    ) -> bool {
        let is_clear = ask(rows, judge, self.start..end, place);
        if is_clear {
            self.looked = place + 1;
        }
        is_clear
    }
}

/// What does not change from row to row.
struct Way {
    source: Source,
    byte: u8,
    cells: usize,
    tight: bool,
    longest: usize,
    /// Blocks are read that begin before it.
    last: usize,
    /// Rows are written before this place: there is room for what values may become.
    limit: usize,
    /// No more rows go.
    most: usize,
    /// The number of the first one.
    row: u64,
}

/// No more columns are protected.
const COLUMNS_MAX: usize = 4;

/// Why rows end.
enum Stop {
    /// There are no more that are plain, or there is no room.
    End,
    /// This one has values that are not like others: where these begin, and their sizes.
    Other([(usize, usize); COLUMNS_MAX]),
    /// Where this one ends, and a suspect in it that is to be looked at.
    Suspect(usize, usize),
}

/// Lets rows go whose cells separators end, as long as they are plain.
///
/// # Safety
///
/// The CPU has the instructions; values have ascending indices below the number of cells.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
unsafe fn separated<J: Judge, const N: usize>(
    rows: &Rows<'_, J::How>,
    shape: Cells<'_>,
    values: &[Value; N],
    next: &mut Next,
    judge: &mut J,
    (page, left): (&mut Page, &mut Left<'_>),
) {
    let Cells {
        by,
        cells,
        tight,
        longest,
    } = shape;
    let size = rows.text.len();
    let Some(rest) = size.checked_sub(next.start) else {
        return;
    };
    // Values may take a block each, and two more are written behind.
    let slack = (N + 4) * BLOCK;
    if page.room < slack || N > COLUMNS_MAX || cells < 2 {
        return;
    }
    let room = left.most.saturating_sub(left.briefs.len());
    let most = (rest / cells).min(room / N).min(rows_left(next));
    left.briefs.reserve(most * N);
    let mut way = Way {
        source: Source::new(rows),
        byte: by.byte,
        cells,
        tight,
        longest,
        last: Source::last(rows),
        limit: page.to.wrapping_add(page.room - slack) as usize,
        most,
        row: next.rows,
    };
    let mut tail = Tail::new();
    let mut in_tail = false;
    let mut memory = Memory::<N>::new();
    let before = left.briefs.len();
    // SAFETY: there is room for the values of `most` rows. Behind the blocks that begin before `last`
    // the text has another one; so has the copy of its last part.
    unsafe {
        let first_slot = left.briefs.as_mut_ptr().add(before);
        let mut at = At {
            start: next.start,
            moved: page.to.wrapping_add(page.len).wrapping_sub(next.start),
            slot: first_slot,
            done: 0,
            looked: 0,
        };
        let index = values.each_ref().map(|value| value.index);
        // The row whose values were learned.
        let mut learned = usize::MAX;
        loop {
            let stop = if memory.placed {
                steady::<N, 1, true>(&way, index, &memory, &mut at)
            } else {
                steady::<N, 2, false>(&way, index, &memory, &mut at)
            };
            match stop {
                Stop::Other(cells) if learned != at.start => {
                    learned = at.start;
                    if !learn_row(&way, values, cells, &mut memory) {
                        break;
                    }
                }
                Stop::End if !in_tail => {
                    let Some(copy) = tail.copy(rows, at.start) else {
                        break;
                    };
                    (way.source, way.last, in_tail) = (copy, size, true);
                }
                Stop::Suspect(end, place) if at.ask(rows, judge, (end, place)) => {}
                Stop::Other(_) | Stop::Suspect(..) | Stop::End => break,
            }
        }
        kept(left, at.slot.offset_from_unsigned(first_slot));
        if memory.known.iter().any(|known| known & 1 != 0) {
            forget_empty(left.briefs, before);
        }
        page.len = (at.moved as usize)
            .wrapping_add(at.start)
            .wrapping_sub(page.to as usize);
        *next = Next {
            start: at.start,
            end: next.end + at.done * cells,
            suspect: next.suspect,
            rows: next.rows + at.done as u64,
        };
    }
}

/// So many values have been kept, in the room for them.
///
/// # Safety
///
/// That is so.
unsafe fn kept(left: &mut Left<'_>, count: usize) {
    let before = left.briefs.len();
    // SAFETY: what the caller promises.
    unsafe { left.briefs.set_len(before + count) };
    let new = left.briefs.get(before..).unwrap_or_default();
    left.masked += new.iter().map(|brief| brief.size()).sum::<u64>();
}

/// Learns how the values of a row are replaced. Whether that was not known of one, and can be said of
/// all.
///
/// # Safety
///
/// The CPU has the instructions, and the text the values, with a block behind where each begins.
unsafe fn learn_row<const N: usize>(
    way: &Way,
    values: &[Value; N],
    cells: [(usize, usize); COLUMNS_MAX],
    memory: &mut Memory<N>,
) -> bool {
    let mut new = false;
    for (nth, (value, (from, size))) in values.iter().zip(cells).enumerate() {
        let text = way.source.text.wrapping_add(from);
        // SAFETY: what the caller promises.
        match unsafe { memory.learn(nth, value.plan, text, size) } {
            Some(was_new) => new |= was_new,
            None => return false,
        }
    }
    new
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
        unsafe { store(moved.wrapping_add(at), load::<2>(text.wrapping_add(at))) };
        at = at.wrapping_add(BLOCK);
        if at > end {
            return;
        }
    }
}

/// Where separators stand in a block that begins at `at`, up to its first newline, which is with them,
/// and that newline; the block is written where it goes if nothing moves.
///
/// # Safety
///
/// The CPU has the instructions, the text has the block, and there is room for it if it is written.
#[inline(always)]
unsafe fn ends<const PLACED: bool>(
    (text, moved): (*const u8, *mut u8),
    at: usize,
    (by, newline): (__m256i, __m256i),
) -> (u64, u64) {
    // SAFETY: what the caller promises.
    unsafe {
        let bytes = load::<2>(text.wrapping_add(at));
        if PLACED {
            store(moved.wrapping_add(at), bytes);
        }
        let newlines = places(bytes, newline);
        let upto = newlines ^ newlines.wrapping_sub(1);
        ((places(bytes, by) | newlines) & upto, newlines)
    }
}

/// The place of the `nth` bit, counted from 0.
///
/// # Safety
///
/// The CPU has the instructions.
#[inline(always)]
unsafe fn nth(bits: u64, nth: usize) -> usize {
    // SAFETY: the CPU has the instructions.
    unsafe { _pdep_u64(1 << (nth & 63), bits).trailing_zeros() as usize }
}

/// Lets rows go whose values are like others before them. This has to be fast. Where these are
/// `PLACED` all have at most `H` halves of a block, and nothing moves.
///
/// # Safety
///
/// What [`separated`] knows.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
#[expect(clippy::indexing_slicing, reason = "all indices are below `N`")]
unsafe fn steady<const N: usize, const H: usize, const PLACED: bool>(
    way: &Way,
    index: [usize; N],
    memory: &Memory<N>,
    state: &mut At,
) -> Stop {
    let text = way.source.text;
    let At {
        mut start,
        mut moved,
        mut slot,
        done,
        looked,
    } = *state;
    // What is placed goes where it goes: one limit is that of all.
    let last = if PLACED {
        way.last.min(way.limit.saturating_sub(moved as usize))
    } else {
        way.last
    };
    let space = if way.tight { u32::from(b' ') } else { u32::MAX };
    // SAFETY: what the caller promises.
    unsafe {
        let bytes = (every(way.byte), every(b'\n'));
        let looks = Looks::new();
        let none = Memo::empty(0);
        // Those of the row before: no cell is so long.
        let mut sizes = [usize::MAX; N];
        let mut memos = [&none; N];
        let first_slot = slot;
        let last_slot = slot.wrapping_add(way.most.saturating_sub(done) * N);
        let mut row = way.row.wrapping_add(done as u64) << 32;
        let stop = loop {
            if slot == last_slot || start >= last {
                break Stop::End;
            }
            // Where each value begins, and the separator behind it.
            let mut found = [start; N];
            let mut behind = [0usize; N];
            let (all, newlines) = ends::<PLACED>((text, moved), start, bytes);
            let mut count = all.count_ones() as usize;
            for k in 0..N {
                if index[k] > 0 {
                    found[k] = start.wrapping_add(nth(all, index[k].wrapping_sub(1)) + 1);
                }
                behind[k] = start.wrapping_add(nth(all, index[k]));
            }
            let mut second = start.wrapping_add(all.trailing_zeros() as usize + 1);
            let mut end = start.wrapping_add(newlines.trailing_zeros() as usize);
            let (mut at, mut is_whole) = (start, newlines != 0);
            while !is_whole {
                at = at.wrapping_add(BLOCK);
                if at >= last {
                    break;
                }
                let (all, newlines) = ends::<PLACED>((text, moved), at, bytes);
                for k in 0..N {
                    if index[k] > count {
                        let before = index[k].wrapping_sub(count).wrapping_sub(1);
                        found[k] = at.wrapping_add(nth(all, before) + 1);
                    }
                    if index[k] >= count {
                        behind[k] = at.wrapping_add(nth(all, index[k].wrapping_sub(count)));
                    }
                }
                if count == 0 {
                    second = at.wrapping_add(all.trailing_zeros() as usize + 1);
                }
                count = count.wrapping_add(all.count_ones() as usize);
                end = at.wrapping_add(newlines.trailing_zeros() as usize);
                is_whole = newlines != 0;
            }
            if !is_whole
                || count != way.cells
                || end.wrapping_sub(start) > way.longest
                || u32::from(*text.wrapping_add(second)) == space
                || OTHER_STARTS.get(usize::from(*text.wrapping_add(start))) != Some(&false)
                || !PLACED && (moved as usize).wrapping_add(end) >= way.limit
            {
                break Stop::End;
            }
            let mut new = [[_mm256_setzero_si256(); H]; N];
            let mut differ = 0;
            for k in 0..N {
                let size = behind[k].wrapping_sub(found[k]);
                if size != sizes[k] {
                    // Another size, perhaps, that is known.
                    let Some(memo) = memory.get(k, size) else {
                        differ = u64::MAX;
                        continue;
                    };
                    (memos[k], sizes[k]) = (memo, size);
                }
                let bytes = load::<H>(text.wrapping_add(found[k]));
                differ |= memos[k].differs(looks.look(bytes));
                new[k] = memos[k].hide(bytes);
            }
            if differ != 0 {
                let mut cells = [(0, 0); COLUMNS_MAX];
                for k in 0..N {
                    cells[k] = (found[k], behind[k].wrapping_sub(found[k]));
                }
                break Stop::Other(cells);
            }
            let suspect = way.source.suspect((start, end), |place| {
                // A name at the end of a value may make the row a header.
                let mut inside = place < looked;
                for k in 0..N {
                    inside |= place.wrapping_sub(found[k]).wrapping_sub(1) < memos[k].inner;
                }
                inside
            });
            if let Some(place) = suspect {
                break Stop::Suspect(end, place);
            }
            let mut to = moved;
            if PLACED {
                for k in 0..N {
                    store(moved.wrapping_add(found[k]), new[k]);
                }
            } else {
                let mut copied = start;
                for k in 0..N {
                    let from = found[k];
                    copy(text, to, copied, from);
                    store(to.wrapping_add(from), new[k]);
                    to = to.wrapping_add(memos[k].written).wrapping_sub(sizes[k]);
                    copied = from.wrapping_add(sizes[k]);
                }
                copy(text, to, copied, end);
            }
            for k in 0..N {
                let brief = memos[k].part.wrapping_add(row);
                slot.add(k)
                    .write(Brief(brief.wrapping_add(found[k] as u64)));
            }
            moved = to;
            start = end.wrapping_add(1);
            slot = slot.add(N);
            row = row.wrapping_add(1 << 32);
        };
        *state = At {
            start,
            moved,
            slot,
            done: done.wrapping_add(slot.offset_from_unsigned(first_slot) / N),
            looked,
        };
        stop
    }
}

/// Lets rows go with bars at fixed places, as long as they are plain.
///
/// # Safety
///
/// The CPU has the instructions.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
unsafe fn aligned<J: Judge, const N: usize>(
    rows: &Rows<'_, J::How>,
    shape: Bars<'_>,
    values: &[Value; N],
    next: &mut Next,
    judge: &mut J,
    (page, left): (&mut Page, &mut Left<'_>),
) {
    let size = rows.text.len();
    // Cells are blocks at most, and keep their places.
    if values
        .iter()
        .any(|v| v.plan.stars.is_some() || v.index > v.reach)
    {
        return;
    }
    let Some(rest) = size.checked_sub(next.start) else {
        return;
    };
    let indices = values.iter().map(|v| v.index);
    let reach = indices.max().unwrap_or(0).max(shape.reach);
    let room = left.most.saturating_sub(left.briefs.len());
    let most = (rest / (reach + 1) + 1).min(room / N).min(rows_left(next));
    left.briefs.reserve(most * N);
    let slack = page.room.saturating_sub(page.len + 4 * BLOCK);
    let room = next.start.saturating_add(slack);
    let is_short = |v: &Value| v.reach.saturating_sub(v.index) <= HALF;
    let mut tail = Tail::new();
    let before = left.briefs.len();
    // SAFETY: behind the blocks that begin before the limits there is another one, in the text or the
    // copy of its last part, and in the room; there is room for the values of `most` rows.
    unsafe {
        let first_slot = left.briefs.as_mut_ptr().add(before);
        let mut at = At {
            start: next.start,
            moved: page.to.wrapping_add(page.len).wrapping_sub(next.start),
            slot: first_slot,
            done: 0,
            looked: 0,
        };
        let mut memos = [Memo::empty(0); N];
        let row = next.rows;
        let mut go = |source, last: usize, at: &mut At| loop {
            let span = (source, last.min(room));
            let shape = (shape, values, (most, row));
            let stop = if values.iter().all(is_short) {
                shown::<N, 1>(span, shape, &mut memos, at)
            } else {
                shown::<N, 2>(span, shape, &mut memos, at)
            };
            match stop {
                Stop::Suspect(end, place) if at.ask(rows, judge, (end, place)) => {}
                Stop::Suspect(..) | Stop::Other(_) | Stop::End => return,
            }
        };
        go(Source::new(rows), Source::last(rows), &mut at);
        if let Some(copy) = tail.copy(rows, at.start) {
            go(copy, size, &mut at);
        }
        kept(left, at.slot.offset_from_unsigned(first_slot));
        page.len += at.start - next.start;
        next.start = at.start;
        next.rows += at.done as u64;
    }
}

/// Lets rows go as long as their values are not in need of a closer look: this has to be fast. No
/// protected cell has more than `H` halves of a block.
///
/// # Safety
///
/// The CPU has the instructions; behind the blocks that begin before `last` another one can be read
/// and written, and there is room for the values of `most` rows.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
#[expect(clippy::indexing_slicing, reason = "all indices are below `N`")]
unsafe fn shown<const N: usize, const H: usize>(
    (source, last): (Source, usize),
    (shape, values, (most, row)): (Bars<'_>, &[Value; N], (usize, u64)),
    memos: &mut [Memo; N],
    state: &mut At,
) -> Stop {
    let At {
        mut start,
        moved,
        mut slot,
        done,
        looked,
    } = *state;
    let text = source.text;
    let mut stop = Stop::End;
    let first = row.wrapping_add(done as u64) << 32;
    let (mut row, past) = (first, row.wrapping_add(most as u64) << 32);
    // SAFETY: what the caller promises.
    unsafe {
        let (least, bar) = (every(0x20), every(b'|'));
        let looks = Looks::new();
        'rows: while row < past && start < last {
            if matches!(
                *text.wrapping_add(start),
                b'\n' | b'\r' | b'+' | b'(' | b'-'
            ) {
                break;
            }
            let (mut at, mut wanted) = (start, shape.bars.iter());
            let end = loop {
                if at >= last {
                    break 'rows;
                }
                let bytes = load::<2>(text.wrapping_add(at));
                store(moved.wrapping_add(at), bytes);
                let wanted = wanted.next().copied().unwrap_or(0);
                if !places(bytes, bar) & wanted != 0 {
                    break 'rows;
                }
                // No byte of a row may be a control, or not ASCII.
                let mut odd = 0;
                for (k, half) in bytes.into_iter().enumerate() {
                    let bits = _mm256_movemask_epi8(_mm256_cmpgt_epi8(least, half));
                    odd |= u64::from(bits.cast_unsigned()) << (k * HALF);
                }
                if odd != 0 {
                    break at.wrapping_add(odd.trailing_zeros() as usize);
                }
                at = at.wrapping_add(BLOCK);
            };
            let long = end.wrapping_sub(start);
            if long <= shape.reach || *text.wrapping_add(end) != b'\n' {
                break;
            }
            let mut kept = slot;
            for k in 0..N {
                let value = &values[k];
                let size = value.reach.min(long).wrapping_sub(value.index);
                // A cell in which nothing can stand is looked at in another way.
                if size.wrapping_sub(1) >= H * HALF {
                    break 'rows;
                }
                let cell = start.wrapping_add(value.index);
                let bytes = load::<H>(text.wrapping_add(cell));
                if size != memos[k].inner || memos[k].differs(looks.look(bytes)) != 0 {
                    let looked = looks.look(load::<2>(text.wrapping_add(cell)));
                    match learn_cell(Looked(looked), size, value.plan, k) {
                        Some(new) => memos[k] = new,
                        None => break 'rows,
                    }
                }
                let memo = &memos[k];
                store(moved.wrapping_add(cell), memo.hide(bytes));
                // Nothing is kept of what is empty.
                let from = cell.wrapping_add(memo.from) as u64;
                kept.write(Brief(memo.part.wrapping_add(row).wrapping_add(from)));
                kept = kept.wrapping_add(usize::from(memo.to > 0));
            }
            let suspect = source.suspect((start, end), |place| {
                // There are no controls in the row.
                let at = place.wrapping_sub(start);
                let map = shape.inside.get(at / BLOCK);
                place < looked || map.is_some_and(|map| map >> (at % BLOCK) & 1 != 0)
            });
            if let Some(place) = suspect {
                stop = Stop::Suspect(end, place);
                break;
            }
            start = end.wrapping_add(1);
            (slot, row) = (kept, row.wrapping_add(1 << 32));
        }
    }
    *state = At {
        start,
        moved,
        slot,
        done: done.wrapping_add((row.wrapping_sub(first) >> 32) as usize),
        looked,
    };
    stop
}

#[cfg(test)]
mod tests {
    use super::super::super::{KINDS, kind};
    use super::super::PLAIN_STARTS;
    use super::*;

    /// A byte is in one class at most, and that says what the byte machine says of it.
    #[test]
    fn classes_say_what_bytes_are() {
        let at = |table: &[u8], k: u8| table.get(usize::from(k)).copied().unwrap_or(0);
        for b in 0..128u8 {
            let found = at(&HIGH, b >> 3) & at(&LOW, b & 15);
            let kinds = at(&KINDS, b);
            assert!(found.count_ones() <= 1, "{b}");
            let unknown = matches!(b, b':' | b'<' | b'{' | b'|' | b'}' | b'~');
            assert_eq!(found != 0, kinds & kind::PLAIN != 0 && !unknown, "{b}");
            if found != 0 {
                let starts = PLAIN_STARTS.get(usize::from(b)) == Some(&true);
                let counted = kinds & kind::COUNTED != 0;
                let number = kinds & kind::NUMBER != 0;
                assert_eq!(found & class::COUNTED != 0, counted, "{b}");
                assert_eq!(found & class::NUMBER != 0, number, "{b}");
                assert_eq!(found & class::SPACE != 0, b == b' ', "{b}");
                assert_eq!(found & class::START != 0, starts, "{b}");
            }
        }
    }
}
