//! Bitmaps of a text: one bit for each byte, in blocks of 64.
//!
//! The only module of this crate with `unsafe` code. What a block says is computed by one of three ways, chosen
//! once by what the CPU has; the portable one is the specification of the others. What the
//! bitmaps are good for is said in `skim`; nothing here knows of lines, keys or rules.

#![allow(
    unsafe_code,
    reason = "vector instructions: each block says why it is sound"
)]

use std::ops::{BitAnd, BitOr, Not, Range};
use std::sync::OnceLock;

use bytes::BytesMut;

pub(crate) mod rows;

/// How blocks are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Byte by byte, on any CPU.
    Portable,
    /// 32 bytes at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64 bytes at a time, with a table look-up of 128 entries (VBMI), shifts from word to word
    /// (VBMI2) and products of matrices of bits (GFNI).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Width {
    /// The best one that this CPU has.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Width> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().last().copied().unwrap_or(Self::Portable))
    }

    /// Those that this CPU has, the best one last.
    pub(crate) fn all() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            // Miri interprets no vector instructions.
            if !cfg!(miri)
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("lzcnt")
            {
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vbmi2")
                    && is_x86_feature_detected!("gfni")
                {
                    return &[Self::Portable, Self::Avx2, Self::Avx512];
                }
                return &[Self::Portable, Self::Avx2];
            }
        }
        &[Self::Portable]
    }
}

/// Classes of bytes, a bit each, in the order of the bitmaps that are made of them.
mod class {
    pub(super) const WORD: u8 = 0x01;
    pub(super) const DIGIT: u8 = 0x02;
    pub(super) const SPACE: u8 = 0x04;
    pub(super) const DASH: u8 = 0x08;
    /// What a rule under a header is made of.
    pub(super) const RULE: u8 = 0x10;
    pub(super) const CR: u8 = 0x20;
    pub(super) const NEWLINE: u8 = 0x40;
    /// What is not ASCII.
    #[cfg(target_arch = "x86_64")]
    pub(super) const HIGH: u8 = 0x80;
}

/// What is looked for, compiled from rules: sets of three bytes in a row, in eight groups each.
/// A table is indexed by a byte below 0x80 and says in which groups that byte may stand there.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    class: [u8; 128],
    /// The last letters of words: last, last but one, last but two.
    pub(crate) word: [[u8; 128]; 3],
    /// Bytes and bytes in a row that are suspect wherever they stand.
    pub(crate) mark: [[u8; 128]; 3],
    /// All ones where runs of digits may be something.
    pub(crate) card: u64,
    /// Digits before what is not ASCII: it may part groups of them.
    pub(crate) gaps: u64,
    pub(crate) ssn: u64,
    pub(crate) phone: u64,
    /// All ones where names of fields are looked for.
    pub(crate) named: u64,
    halves: Halves,
}

/// The tables as AVX2 looks things up, sixteen entries at a time: groups by bits 0 to 3 of a byte,
/// and by its bits 3 to 6. A byte is in no other groups than those that both say.
#[derive(Clone, Debug)]
struct Halves {
    word: [([u8; 16], [u8; 16]); 3],
    mark: [([u8; 16], [u8; 16]); 3],
    /// Groups of words before whose last two letters whatever is no word may stand; it is not in
    /// the third table then.
    open: u8,
    /// Whether no byte seems to be in a group of words that it is not in.
    exact: bool,
    /// The last bytes of words, and bytes that are marks whatever stands before: a bit for each
    /// upper half of a byte that has the lower one. These are not in the other tables.
    last: [u8; 16],
    single: [u8; 16],
}

impl Halves {
    const NONE: Self = Self {
        word: [([0; 16], [0; 16]); 3],
        mark: [([0; 16], [0; 16]); 3],
        open: 0,
        exact: true,
        last: [0; 16],
        single: [0; 16],
    };

    fn new(word: &[[u8; 128]; 3], mark: &[[u8; 128]; 3]) -> Self {
        let all = |table: &[u8; 128]| table.iter().fold(u8::MAX, |all, groups| all & groups);
        let [w0, w1, w2] = word;
        let is_word = |b: &usize| b.to_le_bytes()[0].is_ascii_alphanumeric();
        let others = (0..).zip(w2).filter(|(b, _)| !is_word(b));
        let open = others.fold(u8::MAX, |all, (_, groups)| all & groups);
        let mut third = *w2;
        for (b, groups) in (0..).zip(&mut third) {
            *groups &= if is_word(&b) { u8::MAX } else { !open };
        }
        let [m0, m1, m2] = mark;
        let single = all(m1) & all(m2);
        let word = [*w0, *w1, third];
        let halves = word.map(|table| halved(&table, u8::MAX));
        Self {
            exact: word
                .iter()
                .zip(&halves)
                .all(|(table, halves)| is_exact(table, halves)),
            word: halves,
            mark: [m0, m1, m2].map(|table| halved(table, !single)),
            open,
            last: set(w0, u8::MAX),
            single: set(m0, single),
        }
    }
}

/// A table by halves of a byte, for some groups.
fn halved(table: &[u8; 128], some: u8) -> ([u8; 16], [u8; 16]) {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    for (b, groups) in table.iter().enumerate() {
        for (half, at) in [(&mut low, b & 15), (&mut high, b >> 3)] {
            if let Some(slot) = half.get_mut(at) {
                *slot |= groups & some;
            }
        }
    }
    (low, high)
}

fn is_exact(table: &[u8; 128], (low, high): &([u8; 16], [u8; 16])) -> bool {
    table.iter().enumerate().all(|(b, groups)| {
        let half = |half: &[u8; 16], at: usize| half.get(at).copied().unwrap_or(0);
        half(low, b & 15) & half(high, b >> 3) == *groups
    })
}

/// The bytes that are in some groups: a bit for each upper half that a lower half has.
fn set(table: &[u8; 128], some: u8) -> [u8; 16] {
    let mut set = [0; 16];
    for (b, groups) in table.iter().enumerate() {
        if let Some(slot) = set.get_mut(b & 15)
            && groups & some != 0
        {
            *slot |= 1 << (b >> 4);
        }
    }
    set
}

impl Tables {
    /// To be called when all is known that is looked for.
    pub(crate) fn prepare(&mut self) {
        self.halves = Halves::new(&self.word, &self.mark);
    }

    /// Whether three bytes, the last one first, are the end of a word that is looked for.
    fn has_end(&self, bytes: [u8; 3]) -> bool {
        let [w0, w1, w2] = &self.word;
        let [b, b1, b2] = bytes;
        entry(w0, b) & entry(w1, b1) & entry(w2, b2) != 0
    }

    /// Whether three bytes, the last one first, are a mark.
    fn has_mark(&self, bytes: [u8; 3]) -> bool {
        let [m0, m1, m2] = &self.mark;
        let [b, b1, b2] = bytes;
        entry(m0, b) & entry(m1, b1) & entry(m2, b2) != 0
    }

    /// Nothing is looked for.
    pub(crate) fn new() -> Self {
        let mut class = [0u8; 128];
        for (b, slot) in (0u8..).zip(class.iter_mut()) {
            let mut c = 0;
            if b.is_ascii_alphanumeric() {
                c |= class::WORD;
            }
            if b.is_ascii_digit() {
                c |= class::DIGIT;
            }
            c |= match b {
                b' ' => class::SPACE | class::RULE,
                b'-' => class::DASH | class::RULE,
                b'\r' => class::CR | class::RULE,
                b'+' | b'=' | b'|' | b':' | b'\t' | 0x0c => class::RULE,
                b'\n' => class::NEWLINE,
                _ => 0,
            };
            *slot = c;
        }
        Self {
            class,
            word: [[0; 128]; 3],
            mark: [[0; 128]; 3],
            card: 0,
            gaps: 0,
            ssn: 0,
            phone: 0,
            named: 0,
            halves: Halves::NONE,
        }
    }
}

/// What a table says of a byte.
fn entry(table: &[u8; 128], b: u8) -> u8 {
    table.get(usize::from(b & 0x7f)).copied().unwrap_or(0)
}

/// What is known of a text: bit `k % 64` of word `k / 64` is byte `k`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maps {
    pub(crate) newline: Vec<u64>,
    /// Where something may be that is not passed unseen, or just before.
    pub(crate) suspect: Vec<u64>,
    /// Whether all of it is ASCII, without NUL.
    pub(crate) plain: bool,
}

/// What one block says by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Block {
    newline: u64,
    /// Letters and digits of ASCII.
    word: u64,
    digit: u64,
    space: u64,
    dash: u64,
    rule: u64,
    cr: u64,
    /// The last letter of three that fit.
    fits: u64,
    /// A letter that fits as the last one.
    last: u64,
    mark: u64,
    /// What is not ASCII: it may be part of a word, and of a rule.
    high: u64,
}

/// Blocks that are looked at before what they say is put together.
const RUN: usize = 32;

/// One bitmap of a run of blocks.
type Map = [u64; RUN];

/// What a run of blocks says.
#[derive(Clone, Debug)]
struct Run {
    newline: Map,
    word: Map,
    digit: Map,
    space: Map,
    dash: Map,
    rule: Map,
    cr: Map,
    fits: Map,
    last: Map,
    mark: Map,
    high: Map,
    // What follows from these.
    found: Map,
    closes: Map,
    /// How many blocks there are.
    size: usize,
    before: Before<u64>,
    /// The line so far is made of what a rule is made of.
    in_rule: bool,
    /// Something in it was not ASCII, or NUL.
    other: bool,
}

/// What the bytes before say, as far as it matters for those that come.
#[derive(Clone, Copy, Debug, Default)]
struct Before<W> {
    word: W,
    digit: W,
    space: W,
    dash: W,
    rule: W,
    cr: W,
    ends: W,
    spaced: W,
    dashes: W,
    d2: W,
    d4: W,
    d8: W,
}

impl<W> Before<W> {
    #[inline(always)]
    fn map<V>(self, each: impl Fn(W) -> V) -> Before<V> {
        Before {
            word: each(self.word),
            digit: each(self.digit),
            space: each(self.space),
            dash: each(self.dash),
            rule: each(self.rule),
            cr: each(self.cr),
            ends: each(self.ends),
            spaced: each(self.spaced),
            dashes: each(self.dashes),
            d2: each(self.d2),
            d4: each(self.d4),
            d8: each(self.d8),
        }
    }
}

/// Words of a bitmap, one for each block, that are put together at once.
trait Words: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self> {
    /// How many there are: `RUN` is a multiple.
    const COUNT: usize;

    /// The same word everywhere.
    fn every(word: u64) -> Self;
    /// Those from `at` on, which are all in the map.
    fn load(map: &Map, at: usize) -> Self;
    fn store(self, map: &mut Map, at: usize);
    /// The last one.
    fn top(self) -> u64;
    fn any(self) -> bool;
    /// Bits go up by `N` bytes, those of the words `before` into the first one.
    fn up<const N: u32>(self, before: Self) -> Self;
}

impl Words for u64 {
    const COUNT: usize = 1;

    #[inline(always)]
    fn every(word: u64) -> Self {
        word
    }

    #[inline(always)]
    fn load(map: &Map, at: usize) -> Self {
        map.get(at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn store(self, map: &mut Map, at: usize) {
        if let Some(slot) = map.get_mut(at) {
            *slot = self;
        }
    }

    #[inline(always)]
    fn top(self) -> u64 {
        self
    }

    #[inline(always)]
    fn any(self) -> bool {
        self != 0
    }

    #[inline(always)]
    fn up<const N: u32>(self, before: Self) -> Self {
        self << N | before >> (64 - N)
    }
}

impl Run {
    /// A line begins.
    fn new() -> Self {
        let none = [0; RUN];
        Self {
            newline: none,
            word: none,
            digit: none,
            space: none,
            dash: none,
            rule: none,
            cr: none,
            fits: none,
            last: none,
            mark: none,
            high: none,
            found: none,
            closes: none,
            size: 0,
            before: Before::default(),
            in_rule: true,
            other: false,
        }
    }

    /// Adds a block, of at most `RUN`.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "the index is at most the last one")]
    fn push(&mut self, b: Block) {
        let at = self.size.min(RUN - 1);
        self.size = at + 1;
        self.newline[at] = b.newline;
        self.word[at] = b.word;
        self.digit[at] = b.digit;
        self.space[at] = b.space;
        self.dash[at] = b.dash;
        self.rule[at] = b.rule;
        self.cr[at] = b.cr;
        self.fits[at] = b.fits;
        self.last[at] = b.last;
        self.mark[at] = b.mark;
        self.high[at] = b.high;
    }

    /// Notes where three bytes fit in the `k`th block from here on.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "the index is at most the last one")]
    fn fit(&mut self, k: usize, fits: u64, last: u64, mark: u64) {
        let at = (self.size + k).min(RUN - 1);
        self.fits[at] = fits;
        self.last[at] = last;
        self.mark[at] = mark;
    }

    /// Puts together what the blocks say, and goes on behind them. What stands behind the last
    /// block says nothing.
    #[inline(always)]
    fn flush<W: Words>(&mut self, t: &Tables, maps: &mut Maps) {
        let mut before = self.before.map(W::every);
        for at in (0..self.size).step_by(W::COUNT) {
            let closes = self.suspects(t, at, &mut before);
            self.rules(at, closes);
        }
        self.before = before.map(W::top);
        let blocks = ..std::mem::take(&mut self.size);
        maps.suspect
            .extend_from_slice(self.found.get(blocks).unwrap_or_default());
        maps.newline
            .extend_from_slice(self.newline.get(blocks).unwrap_or_default());
    }

    /// Finds suspects in the blocks from `at` on, but for lines that are rules: the newlines that
    /// may end one are given back.
    #[inline(always)]
    fn suspects<W: Words>(&mut self, t: &Tables, at: usize, before: &mut Before<W>) -> W {
        let newline = W::load(&self.newline, at);
        let word = W::load(&self.word, at);
        let digit = W::load(&self.digit, at);
        let space = W::load(&self.space, at);
        let dash = W::load(&self.dash, at);
        let high = W::load(&self.high, at);
        let rule = W::load(&self.rule, at) | high;
        let cr = W::load(&self.cr, at);
        let last = W::load(&self.last, at);
        // A word that ends like a name: what follows it is suspect, unless another word does.
        let ends = W::load(&self.fits, at) | last & !word.up::<1>(before.word);
        let behind = ends.up::<1>(before.ends);
        let spaced = behind & !word & space;
        let after = behind & !space | spaced.up::<1>(before.spaced);
        let mut found = after & !word | W::load(&self.mark, at);
        // `--name`.
        let dashes = dash & dash.up::<1>(before.dash);
        let named = W::every(t.named);
        found = found | dashes.up::<1>(before.dashes) & (word | high) & named;
        // A carriage return inside of a line.
        found = found | cr.up::<1>(before.cr) & !newline;
        // Numbers: ddd-dd-dddd, groups of four, fifteen in a row; three digits, one byte, four digits.
        let behind_digit = digit.up::<1>(before.digit);
        found = found | behind_digit & high & W::every(t.gaps);
        let d2 = digit & behind_digit;
        let d4 = d2 & d2.up::<2>(before.d2);
        let d8 = d4 & d4.up::<4>(before.d4);
        let dashed = dash.up::<4>(before.dash);
        let gap = dashed | space.up::<4>(before.space);
        let number = d4 & dashed & d2.up::<5>(before.d2) & dash.up::<7>(before.dash);
        let grouped = d4 & gap & d4.up::<5>(before.d4);
        let d15 = d8 & d8.up::<7>(before.d8);
        found = found | number & W::every(t.ssn) | (grouped | d15) & W::every(t.card);
        let d3 = d2.up::<5>(before.d2) & digit.up::<7>(before.digit);
        let phone = d4 & d3 & !digit.up::<4>(before.digit) & !digit.up::<8>(before.digit);
        found = found | phone & W::every(t.phone);
        found.store(&mut self.found, at);
        let closes = newline & rule.up::<1>(before.rule) & named;
        *before = Before {
            word,
            digit,
            space,
            dash,
            rule,
            cr,
            ends,
            spaced,
            dashes,
            d2,
            d4,
            d8,
        };
        closes
    }

    /// Lines of nothing but dashes and what crosses them, in the blocks from `at` on.
    #[inline(always)]
    fn rules<W: Words>(&mut self, at: usize, closes: W) {
        let rules = self.rule.iter().zip(&self.high).map(|(r, high)| r | high);
        let blocks = rules.zip(&self.newline).skip(at).take(W::COUNT);
        if !closes.any() {
            // The last byte of another kind says it.
            let mut others = blocks.rev().filter(|(rule, _)| *rule != u64::MAX);
            if let Some((rule, newline)) = others.next() {
                self.in_rule = newline << rule.leading_ones() >> 63 != 0;
            }
            return;
        }
        closes.store(&mut self.closes, at);
        let found = self.found.iter_mut().zip(&self.closes).skip(at);
        for ((rule, newline), (found, closes)) in blocks.zip(found) {
            let (sum, over) = rule.overflowing_add(newline << 1);
            let (sum, more) = sum.overflowing_add(u64::from(self.in_rule));
            self.in_rule = over || more || newline >> 63 != 0;
            *found |= sum & closes;
        }
    }
}

const BLOCK: usize = 64;

/// Fills the bitmaps of `text`, which begins where a line begins. Bits behind its end say nothing.
pub(crate) fn sweep(width: Width, tables: &Tables, text: &[u8], maps: &mut Maps) {
    maps.newline.clear();
    maps.suspect.clear();
    let size = text.len().div_ceil(BLOCK);
    maps.newline.reserve(size);
    maps.suspect.reserve(size);
    let mut run = Run::new();
    // The first block and the last have bytes around them that are not there.
    let mut first = [b'\n'; BLOCK + 2];
    copy(&mut first, 2, text, 0);
    one(width, tables, &first, &mut run);
    let inner = text.len() / BLOCK;
    let mut next = 1;
    while next < inner {
        let to = inner.min(next + RUN - run.size);
        match width {
            Width::Portable => {
                for k in next..to {
                    let from = k * BLOCK - 2;
                    if let Some(block) = text.get(from..).and_then(<[u8]>::first_chunk) {
                        one(width, tables, block, &mut run);
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the width says that the CPU has these instructions; `text` has the blocks,
            // and another one before them.
            Width::Avx2 => unsafe {
                let at = text.as_ptr().add(next * BLOCK);
                x86::run_avx2(tables, at, to - next, &mut run);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Width::Avx512 => unsafe { x86::blocks_avx512(tables, text, next..to, &mut run) },
        }
        next = to;
        if run.size == RUN {
            flush(width, tables, &mut run, maps);
        }
    }
    if !text.len().is_multiple_of(BLOCK) && inner > 0 {
        let mut last = [b'\n'; BLOCK + 2];
        copy(&mut last, 0, text, inner * BLOCK - 2);
        one(width, tables, &last, &mut run);
    }
    flush(width, tables, &mut run, maps);
    maps.plain = !run.other;
    #[cfg(target_arch = "x86_64")]
    if width == Width::Avx2 && tables.named != 0 {
        rules(tables, text, maps);
    }
}

fn flush(width: Width, t: &Tables, run: &mut Run, maps: &mut Maps) {
    match width {
        Width::Portable => run.flush::<u64>(t, maps),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx2 => unsafe { x86::flush_avx2(t, run, maps) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx512 => unsafe { x86::flush_avx512(t, run, maps) },
    }
}

/// Lines of nothing but dashes and what crosses them: the newlines that end them are suspects. Most
/// lines end with a byte of another kind.
#[cfg(target_arch = "x86_64")]
fn rules(t: &Tables, text: &[u8], maps: &mut Maps) {
    let is_rule = |b: &u8| *b >= 0x80 || entry(&t.class, *b) & class::RULE != 0;
    let words = maps.newline.iter().zip(&mut maps.suspect);
    for ((newline, suspect), at) in words.zip((0..).step_by(BLOCK)) {
        let mut left = *newline;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let line = text
                .get(..at + bit.trailing_zeros() as usize)
                .unwrap_or_default();
            if line.last().is_some_and(is_rule) {
                let other = line.iter().rfind(|b| !is_rule(b));
                *suspect |= if other.is_none_or(|b| *b == b'\n') {
                    bit
                } else {
                    0
                };
            }
        }
    }
}

/// Copies what fits from `text` at `from` to `to` at `at`.
fn copy(to: &mut [u8; BLOCK + 2], at: usize, text: &[u8], from: usize) {
    let rest = text.get(from..).unwrap_or_default();
    for (slot, b) in to.iter_mut().skip(at).zip(rest) {
        *slot = *b;
    }
}

/// One block: its 64 bytes stand behind the two before them.
fn one(width: Width, t: &Tables, bytes: &[u8; BLOCK + 2], run: &mut Run) {
    let block = match width {
        Width::Portable => portable(t, bytes),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions; `bytes` has 66.
        Width::Avx2 => return unsafe { x86::run_avx2(t, bytes.as_ptr().add(2), 1, run) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions; `bytes` has 66.
        Width::Avx512 => unsafe { x86::block_avx512(&x86::Wide::new(t), bytes.as_ptr().add(2)) },
    };
    run.other |= block.high != 0 || bytes.iter().skip(2).any(|b| *b == 0);
    run.push(block);
}

/// The specification of a block.
fn portable(t: &Tables, bytes: &[u8; BLOCK + 2]) -> Block {
    let mut block = Block::default();
    let [w0, ..] = &t.word;
    for (k, w) in bytes.windows(3).enumerate() {
        let &[b2, b1, b] = w else { continue };
        let c = if b < 0x80 { entry(&t.class, b) } else { 0 };
        let bit = |on: bool| u64::from(on) << k;
        block.newline |= bit(c & class::NEWLINE != 0);
        block.word |= bit(c & class::WORD != 0);
        block.digit |= bit(c & class::DIGIT != 0);
        block.space |= bit(c & class::SPACE != 0);
        block.dash |= bit(c & class::DASH != 0);
        block.rule |= bit(c & class::RULE != 0);
        block.cr |= bit(c & class::CR != 0);
        block.last |= bit(entry(w0, b) != 0);
        block.fits |= bit(t.has_end([b, b1, b2]));
        block.mark |= bit(t.has_mark([b, b1, b2]));
        block.high |= bit(b >= 0x80);
    }
    block
}

/// How many bits there are.
pub(crate) fn ones(width: Width, map: &[u64]) -> u64 {
    let sum = |map: &[u64]| map.iter().map(|word| u64::from(word.count_ones())).sum();
    match width {
        Width::Portable => sum(map),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both widths say that the CPU has these instructions.
        Width::Avx2 | Width::Avx512 => unsafe { x86::ones(map) },
    }
}

/// A bitmap of where `byte` stands in `text`.
pub(crate) fn places(width: Width, text: &[u8], byte: u8, map: &mut Vec<u64>) {
    map.clear();
    map.reserve(text.len().div_ceil(BLOCK));
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    match width {
        Width::Portable => {
            map.extend(blocks.iter().map(|b| {
                b.iter()
                    .enumerate()
                    .fold(0, |m, (k, b)| m | u64::from(*b == byte) << k)
            }));
        }
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 | Width::Avx512 => {
            // SAFETY: both levels say that the CPU has AVX2.
            unsafe { x86::places_avx2(blocks, byte, map) }
        }
    }
    if !rest.is_empty() {
        map.push(
            rest.iter()
                .enumerate()
                .fold(0, |m, (k, b)| m | u64::from(*b == byte) << k),
        );
    }
}

/// A bitmap of where bytes stand in `text` that a terminal may not show one column wide: controls
/// but for newlines, and what is not ASCII.
pub(crate) fn odd(width: Width, text: &[u8], map: &mut Vec<u64>) {
    fn is_odd(b: u8) -> bool {
        b.cast_signed() < 0x20 && b != b'\n'
    }
    map.clear();
    map.reserve(text.len().div_ceil(BLOCK));
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    match width {
        Width::Portable => {
            map.extend(blocks.iter().map(|b| {
                b.iter()
                    .enumerate()
                    .fold(0, |m, (k, b)| m | u64::from(is_odd(*b)) << k)
            }));
        }
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 | Width::Avx512 => {
            // SAFETY: both levels say that the CPU has AVX2.
            unsafe { x86::odd_avx2(blocks, map) }
        }
    }
    if !rest.is_empty() {
        map.push(
            rest.iter()
                .enumerate()
                .fold(0, |m, (k, b)| m | u64::from(is_odd(*b)) << k),
        );
    }
}

/// What the bytes of a short value are, a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) all: u64,
    /// Letters and digits of ASCII.
    pub(crate) counted: u64,
    /// What a number may be written with.
    pub(crate) number: u64,
    /// Printable ASCII but for the backslash.
    pub(crate) plain: u64,
}

/// What is written in the place of a short value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cover {
    /// Its own bytes where a bit is, and `with` where none is.
    Keep { bits: u64, with: u8 },
    /// The same, with those of its letters and digits that come last kept, so many of them.
    Last { bits: u64, count: u32, with: u8 },
    /// So many stars, at most a block.
    Stars(usize),
    /// It is not as plain as that.
    Nothing,
}

/// A value in a text, and what is to be known to replace it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<H> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) how: H,
}

/// Appends what stands in `text` from `from` on to `out`, with `spans` replaced as `decide` says,
/// up to the end of the last one. How many were: before the first one that is empty, long or not
/// decided, for which `out` has no room, or that is far from the one before.
#[inline]
pub(crate) fn covers<H: Copy>(
    width: Width,
    text: &[u8],
    from: usize,
    spans: &[Span<H>],
    out: &mut BytesMut,
    decide: impl Fn(H, Kinds) -> Cover,
) -> usize {
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx512 => unsafe { x86::covers_avx512(text, from, spans, out, decide) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions.
        Width::Avx2 => unsafe { x86::covers_avx2(text, from, spans, out, decide) },
        Width::Portable => 0,
    }
}

/// Values that are further apart are not covered together.
#[cfg(target_arch = "x86_64")]
const GAP_MAX: usize = 1024;
const STARS: [u8; BLOCK] = [b'*'; BLOCK];

/// Appends what `decide` says to `out`. False for a value of no byte or of more than 64, and where
/// nothing was decided.
#[inline]
pub(crate) fn cover(
    width: Width,
    value: &[u8],
    out: &mut BytesMut,
    decide: impl Fn(Kinds) -> Cover,
) -> bool {
    if value.is_empty() || value.len() > BLOCK {
        return false;
    }
    if out.capacity() - out.len() < BLOCK {
        out.reserve(BLOCK);
    }
    let all = u64::MAX >> (BLOCK - value.len());
    let mut bytes = [0; BLOCK];
    let kinds = match width {
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => {
            // SAFETY: the width says that the CPU has these instructions; the value has at least
            // one byte and at most 64, and room for 64 was made.
            return unsafe { x86::cover_avx512(value, out, decide) };
        }
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => {
            fill(&mut bytes, value);
            // SAFETY: the width says that the CPU has AVX2, and there are 64 bytes.
            unsafe {
                let at = bytes.as_ptr();
                x86::kinds_avx2(x86::half(at), x86::half(at.add(BLOCK / 2)))
            }
        }
        Width::Portable => {
            fill(&mut bytes, value);
            kinds(&bytes)
        }
    };
    let [counted, number, plain] = kinds;
    let decided = decide(Kinds {
        all,
        counted,
        number,
        plain,
    });
    let (bits, with) = match decided {
        Cover::Nothing => return false,
        Cover::Stars(count) => {
            out.extend_from_slice(STARS.get(..count.min(BLOCK)).unwrap_or_default());
            return true;
        }
        Cover::Keep { bits, with } => (bits, with),
        Cover::Last { bits, count, with } => (bits | highest(counted, count), with),
    };
    let mut hidden = all & !bits;
    while hidden != 0 {
        if let Some(slot) = bytes.get_mut(hidden.trailing_zeros() as usize) {
            *slot = with;
        }
        hidden &= hidden - 1;
    }
    out.extend_from_slice(bytes.get(..value.len()).unwrap_or_default());
    true
}

/// The `n` highest bits that are set.
fn highest(map: u64, n: u32) -> u64 {
    let mut left = map;
    for _ in 0..n {
        left &= !(1u64 << 63 >> left.leading_zeros().min(63));
    }
    map & !left
}

fn fill(bytes: &mut [u8; BLOCK], value: &[u8]) {
    for (slot, b) in bytes.iter_mut().zip(value) {
        *slot = *b;
    }
}

/// Appends the bytes of `text` in `range` to `out`. A short run is copied in whole blocks where
/// there is room for them: a call of a copy of any size costs more than the bytes.
#[inline]
pub(crate) fn append(out: &mut BytesMut, text: &[u8], range: Range<usize>) {
    let Range { start, end } = range;
    let Some(size) = end.checked_sub(start) else {
        return;
    };
    let blocks = size.next_multiple_of(BLOCK);
    let room = out.capacity() - out.len();
    if size > 4 * BLOCK || blocks > room || text.len().saturating_sub(start) < blocks {
        out.extend_from_slice(text.get(start..end).unwrap_or_default());
        return;
    }
    // SAFETY: `text` has `blocks` bytes from `start` on, and `out` has room for as many; `size` of
    // them are written.
    unsafe {
        let from = text.as_ptr().add(start);
        let to = out.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        for k in (0..blocks).step_by(BLOCK) {
            std::ptr::copy_nonoverlapping(from.add(k), to.add(k), BLOCK);
        }
        out.set_len(out.len() + size);
    }
}

/// In a list of separators: it is a newline.
pub(crate) const NEWLINE: u32 = 1 << 31;

/// Where the cells of rows end, as numbers, and what else has to be known of them.
#[derive(Debug, Default)]
pub(crate) struct Separators {
    /// [`BEFORE`]; then where separators stand, and newlines, which have the bit [`NEWLINE`]:
    /// ascending, and below `size`; then [`BEHIND`] numbers more.
    ends: Vec<u32>,
    /// Where suspects stand, in order, for [`rows`]; the last number is none.
    suspects: Vec<u32>,
    /// How long the text is.
    size: usize,
    /// What separates cells.
    byte: u8,
    /// Whether there are the lists.
    listed: bool,
    /// Whether there is a quote.
    pub(crate) quotes: bool,
    /// Whether there may be controls but for newlines.
    pub(crate) controls: bool,
}

/// So many numbers can be read at once.
const BEHIND: usize = 16;
/// The newline before the text: a byte before its first one, which borrows from the flag.
const BEFORE: u32 = NEWLINE - 1;

impl Separators {
    /// Where separators stand, and newlines, which have the bit [`NEWLINE`].
    pub(crate) fn ends(&self) -> &[u32] {
        let size = self.ends.len().saturating_sub(BEHIND);
        self.ends.get(1..size).unwrap_or_default()
    }

    /// Where a cell begins that ends at the `k`th of these.
    pub(crate) fn start(&self, k: usize) -> usize {
        let before = self.ends.get(k).copied().unwrap_or(BEFORE);
        (before.wrapping_add(1) & !NEWLINE) as usize
    }

    /// Whether there are lists of separators and newlines; otherwise they are to be made by [`list`]
    /// when they are needed.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// Where suspects stand, if these are listed at all.
    pub(crate) fn suspects(&self) -> &[u32] {
        self.suspects.split_last().map_or(&[], |(_, all)| all)
    }

    /// For how many numbers there is room.
    pub(crate) fn capacity(&self) -> usize {
        self.ends.capacity() + self.suspects.capacity()
    }
}

/// Gets ready for rows of `text`, of which `newlines` and `suspects` are maps, in which `by` separates
/// cells: finds where it stands, if that is needed for most rows.
pub(crate) fn separators(
    width: Width,
    text: &[u8],
    (by, quote): (u8, u8),
    (newlines, suspects): (&[u64], &[u64]),
    out: &mut Separators,
) {
    out.ends.clear();
    out.ends.push(BEFORE);
    out.suspects.clear();
    out.size = text.len();
    out.byte = by;
    match width {
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => {
            // SAFETY: the width says that the CPU has these instructions.
            unsafe { x86::separators_avx512(text, (by, quote), (newlines, suspects), out) }
            out.listed = true;
        }
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => be_unlisted(text, quote, out),
        Width::Portable => be_unlisted(text, quote, out),
    }
    out.ends.extend([u32::MAX; BEHIND]);
    out.suspects.push(u32::MAX);
}

fn be_unlisted(text: &[u8], quote: u8, out: &mut Separators) {
    out.quotes = memchr::memchr(quote, text).is_some();
    out.controls = true;
    out.listed = false;
}

/// Lists where the separators of the same text stand, and its newlines.
pub(crate) fn list(width: Width, text: &[u8], newlines: &[u64], out: &mut Separators) {
    let mut map = Vec::new();
    places(width, text, out.byte, &mut map);
    out.ends.truncate(1);
    let size = text.len() as u32;
    for ((by, newline), at) in map.iter().zip(newlines).zip((0u32..).step_by(BLOCK)) {
        // Bits behind the end of the text say nothing.
        let behind = BLOCK as u32 - (size - at).min(BLOCK as u32);
        let mut left = (by | newline) << behind >> behind;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            let flag = if newline & bit == 0 { 0 } else { NEWLINE };
            out.ends.push((at + left.trailing_zeros()) | flag);
            left ^= bit;
        }
    }
    out.ends.extend([u32::MAX; BEHIND]);
    out.listed = true;
}

/// In a list of stops: a line ends there, and no suspect stands there.
pub(crate) const END: u16 = 1 << 15;
/// The most words of a bitmap that stops are listed of.
pub(crate) const STOPS_WORDS: usize = 32;

/// Lists where suspects stand, and where newlines do that are none, which have the bit [`END`], as
/// the first words of the maps say.
pub(crate) fn stops(width: Width, newlines: &[u64], suspects: &[u64], out: &mut Vec<u16>) {
    out.clear();
    let words = ..newlines.len().min(suspects.len()).min(STOPS_WORDS);
    let newlines = newlines.get(words).unwrap_or_default();
    let suspects = suspects.get(words).unwrap_or_default();
    match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the width says that the CPU has these instructions; there are no more words than
        // that.
        Width::Avx512 => unsafe { x86::stops_avx512(newlines, suspects, out) },
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => stops_of(newlines, suspects, out),
        Width::Portable => stops_of(newlines, suspects, out),
    }
}

fn stops_of(newlines: &[u64], suspects: &[u64], out: &mut Vec<u16>) {
    let words = newlines.iter().zip(suspects);
    for ((newline, suspect), at) in words.zip((0u16..).step_by(BLOCK)) {
        let mut left = newline | suspect;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            let end = if suspect & bit == 0 { END } else { 0 };
            out.push((at + left.trailing_zeros() as u16) | end);
            left ^= bit;
        }
    }
}

/// The place of a stop.
#[inline]
pub(crate) fn place(stop: u16) -> usize {
    usize::from(stop & !END)
}

/// What a byte of a value is, a bit each.
mod kind {
    pub(super) const COUNTED: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
    pub(super) const PLAIN: u8 = 4;
}

#[expect(
    clippy::indexing_slicing,
    reason = "every index is known to be in the array when this is compiled"
)]
const KINDS: [u8; 128] = {
    let mut all = [0; 128];
    let mut b = 0u8;
    while b < 128 {
        let mut kind = 0;
        if b.is_ascii_alphanumeric() {
            kind |= kind::COUNTED;
        }
        if b.is_ascii_digit() || matches!(b, b' ' | b'-' | b'.') {
            kind |= kind::NUMBER;
        }
        if matches!(b, 0x20..0x7f) && b != b'\\' {
            kind |= kind::PLAIN;
        }
        all[b as usize] = kind;
        b += 1;
    }
    all
};

/// Which of a block's bytes are letters and digits, of a number, and plain.
fn kinds(bytes: &[u8; BLOCK]) -> [u64; 3] {
    let mut all = [0; 3];
    for (k, b) in bytes.iter().enumerate() {
        let kind = KINDS.get(usize::from(*b)).copied().unwrap_or(0);
        for (map, bit) in all
            .iter_mut()
            .zip([kind::COUNTED, kind::NUMBER, kind::PLAIN])
        {
            *map |= u64::from(kind & bit != 0) << k;
        }
    }
    all
}

/// Where one of two bytes stands first; it is often near.
#[inline]
pub(crate) fn find2(a: u8, b: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(near) = text.first_chunk() {
        let found = x86::near(near, [a, b, b]);
        if found != 0 {
            return Some(found.trailing_zeros() as usize);
        }
    }
    memchr::memchr2(a, b, text)
}

/// Whether one of three bytes stands in a text of two times 16.
#[inline]
pub(crate) fn has_any(text: &[u8; 32], bytes: [u8; 3]) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let (halves, _) = text.as_chunks();
        halves.iter().any(|half| x86::near(half, bytes) != 0)
    }
    #[cfg(not(target_arch = "x86_64"))]
    text.iter().any(|b| bytes.contains(b))
}

/// Some bytes of a text, of which not all count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    bytes: [u8; 32],
    /// All ones where any byte fits.
    any: [u8; 32],
}

impl Pattern {
    /// The bytes of `text` in `range`.
    pub(crate) fn new(text: &[u8; 32], range: Range<usize>) -> Self {
        let mut any = [0; 32];
        for (k, any) in any.iter_mut().enumerate() {
            *any = if range.contains(&k) { 0 } else { 0xff };
        }
        Self { bytes: *text, any }
    }

    /// Whether a text has the same bytes where they count.
    #[inline]
    pub(crate) fn fits(&self, text: &[u8; 32]) -> bool {
        #[cfg(target_arch = "x86_64")]
        return x86::fits(text, &self.bytes, &self.any);
        #[cfg(not(target_arch = "x86_64"))]
        self.fits_each(text)
    }

    /// The specification of [`Self::fits`].
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn fits_each(&self, text: &[u8; 32]) -> bool {
        let bytes = self.bytes.iter().zip(&self.any);
        bytes.zip(text).all(|((b, any), t)| b == t || *any != 0)
    }
}

/// Bytes that no text in UTF-8 has: NUL, and what never occurs in it.
pub(crate) fn is_unreadable(b: u8) -> bool {
    matches!(b, 0 | 0xc0 | 0xc1 | 0xf5..=0xff)
}

/// How many bytes are unreadable.
pub(crate) fn unreadable(width: Width, text: &[u8]) -> usize {
    let count = |bytes: &[u8]| -> usize {
        // Most texts have none; that is seen without a branch for each byte.
        if bytes
            .iter()
            .fold(true, |all, b| all & matches!(*b, 1..0xc0))
        {
            return 0;
        }
        bytes.iter().map(|b| usize::from(is_unreadable(*b))).sum()
    };
    match width {
        Width::Portable => count(text),
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 | Width::Avx512 => {
            let (runs, rest) = text.as_chunks::<{ 4 * BLOCK }>();
            // SAFETY: both widths say that the CPU has AVX2.
            let some = |run: &&[u8; 4 * BLOCK]| unsafe { x86::may_be_unreadable_avx2(run) };
            runs.iter()
                .filter(some)
                .map(|run| count(run))
                .sum::<usize>()
                + count(rest)
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use std::ops::{BitAnd, BitOr, Not, Range};

    use bytes::BytesMut;

    use super::{
        BLOCK, Block, Cover, GAP_MAX, KINDS, Kinds, Map, Maps, RUN, Run, Separators, Span, Tables,
        Words, class, kind,
    };

    /// Where any of three bytes stands, a bit for each place.
    #[inline]
    pub(super) fn near(text: &[u8; 16], bytes: [u8; 3]) -> u32 {
        // SAFETY: every CPU has these instructions; loads need no alignment.
        unsafe {
            let text = _mm_loadu_si128(text.as_ptr().cast());
            let [a, b, c] = bytes.map(|b| _mm_cmpeq_epi8(text, _mm_set1_epi8(b.cast_signed())));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), c)).cast_unsigned()
        }
    }

    /// Whether two texts have the same bytes where `any` has no ones.
    #[inline]
    pub(super) fn fits(text: &[u8; 32], bytes: &[u8; 32], any: &[u8; 32]) -> bool {
        // SAFETY: every CPU has these instructions; loads need no alignment, and each text has two
        // times 16 bytes.
        unsafe {
            let half = |k: usize| {
                let load = |text: &[u8; 32]| _mm_loadu_si128(text.as_ptr().add(16 * k).cast());
                _mm_or_si128(_mm_cmpeq_epi8(load(text), load(bytes)), load(any))
            };
            _mm_movemask_epi8(_mm_and_si128(half(0), half(1))) == 0xffff
        }
    }

    /// The tables in registers.
    #[derive(Clone, Copy)]
    pub(super) struct Wide {
        class: (__m512i, __m512i),
        word: [(__m512i, __m512i); 3],
        mark: [(__m512i, __m512i); 3],
    }

    impl Wide {
        #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
        pub(super) fn new(t: &Tables) -> Self {
            #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
            fn load(table: &[u8; 128]) -> (__m512i, __m512i) {
                // SAFETY: the table has 128 bytes; loads need no alignment.
                unsafe {
                    (
                        _mm512_loadu_si512(table.as_ptr().cast()),
                        _mm512_loadu_si512(table.as_ptr().add(64).cast()),
                    )
                }
            }
            let [w0, w1, w2] = &t.word;
            let [m0, m1, m2] = &t.mark;
            Self {
                class: load(&t.class),
                word: [load(w0), load(w1), load(w2)],
                mark: [load(m0), load(m1), load(m2)],
            }
        }
    }

    /// Eight words. Made only where the CPU has the instructions.
    #[derive(Clone, Copy)]
    struct Eight(__m512i);

    impl BitAnd for Eight {
        type Output = Self;

        #[inline(always)]
        fn bitand(self, other: Self) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm512_and_si512(self.0, other.0) })
        }
    }

    impl BitOr for Eight {
        type Output = Self;

        #[inline(always)]
        fn bitor(self, other: Self) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm512_or_si512(self.0, other.0) })
        }
    }

    impl Not for Eight {
        type Output = Self;

        #[inline(always)]
        fn not(self) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm512_xor_si512(self.0, _mm512_set1_epi64(-1)) })
        }
    }

    impl Words for Eight {
        const COUNT: usize = 8;

        #[inline(always)]
        fn every(word: u64) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm512_set1_epi64(word.cast_signed()) })
        }

        #[inline(always)]
        fn load(map: &Map, at: usize) -> Self {
            let words = map
                .get(at..at + Self::COUNT)
                .map_or(map.as_ptr(), <[u64]>::as_ptr);
            // SAFETY: the CPU has the instructions, and the map the words; loads need no alignment.
            Self(unsafe { _mm512_loadu_si512(words.cast()) })
        }

        #[inline(always)]
        fn store(self, map: &mut Map, at: usize) {
            if let Some(words) = map.get_mut(at..at + Self::COUNT) {
                // SAFETY: the CPU has the instructions, and the map the words; stores need no
                // alignment.
                unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) };
            }
        }

        #[inline(always)]
        fn top(self) -> u64 {
            // SAFETY: the CPU has the instructions.
            let last = unsafe { _mm512_extracti32x4_epi32::<3>(self.0) };
            // SAFETY: every CPU has the instruction.
            let last = unsafe { _mm_unpackhi_epi64(last, last) };
            // SAFETY: every CPU has the instruction.
            unsafe { _mm_cvtsi128_si64(last) }.cast_unsigned()
        }

        #[inline(always)]
        fn any(self) -> bool {
            // SAFETY: the CPU has the instructions.
            unsafe { _mm512_test_epi64_mask(self.0, self.0) != 0 }
        }

        #[inline(always)]
        fn up<const N: u32>(self, before: Self) -> Self {
            // SAFETY: the CPU has the instructions.
            unsafe {
                let before = _mm512_alignr_epi64::<7>(self.0, before.0);
                let by = _mm512_set1_epi64(i64::from(N));
                Self(_mm512_shldv_epi64(self.0, before, by))
            }
        }
    }

    /// What one block says: a class for each byte, and where three bytes fit.
    struct Looked {
        bytes: __m512i,
        classes: __m512i,
        fits: u64,
        last: u64,
        mark: u64,
    }

    /// # Safety
    ///
    /// The CPU has the instructions; 2 bytes before `at` and 64 from it on can be read.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn look_avx512(t: &Wide, at: *const u8) -> Looked {
        // SAFETY: what the caller promises.
        let (b, b1, b2) = unsafe {
            (
                _mm512_loadu_si512(at.cast()),
                _mm512_loadu_si512(at.sub(1).cast()),
                _mm512_loadu_si512(at.sub(2).cast()),
            )
        };
        let [w0, w1, w2] = t.word;
        let [m0, m1, m2] = t.mark;
        let class = _mm512_permutex2var_epi8(t.class.0, b, t.class.1);
        let high = _mm512_set1_epi8(class::HIGH.cast_signed());
        let last = _mm512_permutex2var_epi8(w0.0, b, w0.1);
        let x1 = _mm512_permutex2var_epi8(w1.0, b1, w1.1);
        let x2 = _mm512_permutex2var_epi8(w2.0, b2, w2.1);
        let y0 = _mm512_permutex2var_epi8(m0.0, b, m0.1);
        let y1 = _mm512_permutex2var_epi8(m1.0, b1, m1.1);
        let y2 = _mm512_permutex2var_epi8(m2.0, b2, m2.1);
        Looked {
            bytes: b,
            classes: _mm512_mask_mov_epi8(class, _mm512_movepi8_mask(b), high),
            fits: _mm512_test_epi8_mask(_mm512_and_si512(last, x1), x2),
            last: _mm512_test_epi8_mask(last, last),
            mark: _mm512_test_epi8_mask(_mm512_and_si512(y0, y1), y2),
        }
    }

    /// The bitmaps of the eight classes of a block, one in each word: to take each out by a mask of
    /// its own costs three times as much.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    fn bitmaps(classes: __m512i) -> __m512i {
        // A product of matrices of 8 by 8 bits transposes those of 8 bytes, read backwards.
        let back = _mm512_set4_epi32(0x0809_0a0b, 0x0c0d_0e0f, 0x0001_0203, 0x0405_0607);
        let ones = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
        let bits = _mm512_gf2p8affine_epi64_epi8::<0>(ones, _mm512_shuffle_epi8(classes, back));
        // The bytes of a bitmap are those at the same place of each word.
        let mut order = [0u8; BLOCK];
        for (k, slot) in (0u8..).zip(order.iter_mut()) {
            *slot = k % 8 * 8 + k / 8;
        }
        // SAFETY: there are 64 bytes; loads need no alignment.
        let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
        _mm512_permutexvar_epi8(order, bits)
    }

    /// The words of eight blocks by class.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    fn transpose(blocks: [__m512i; 8]) -> [__m512i; 8] {
        let low = |x, y| _mm512_unpacklo_epi64(x, y);
        let high = |x, y| _mm512_unpackhi_epi64(x, y);
        let even = |x, y| _mm512_shuffle_i64x2::<0b10_00_10_00>(x, y);
        let odd = |x, y| _mm512_shuffle_i64x2::<0b11_01_11_01>(x, y);
        let [a, b, c, d, e, f, g, h] = blocks;
        let (ab, cd, ef, gh) = (low(a, b), low(c, d), low(e, f), low(g, h));
        let (u0, u2) = (even(ab, cd), odd(ab, cd));
        let (v0, v2) = (even(ef, gh), odd(ef, gh));
        let (ab, cd, ef, gh) = (high(a, b), high(c, d), high(e, f), high(g, h));
        let (u1, u3) = (even(ab, cd), odd(ab, cd));
        let (v1, v3) = (even(ef, gh), odd(ef, gh));
        [
            even(u0, v0),
            even(u1, v1),
            even(u2, v2),
            even(u3, v3),
            odd(u0, v0),
            odd(u1, v1),
            odd(u2, v2),
            odd(u3, v3),
        ]
    }

    /// # Safety
    ///
    /// The CPU has the instructions; 2 bytes before `at` and 64 from it on can be read.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    pub(super) unsafe fn block_avx512(t: &Wide, at: *const u8) -> Block {
        // SAFETY: what the caller promises.
        let looked = unsafe { look_avx512(t, at) };
        let mut words = [0; 8];
        // SAFETY: there are 64 bytes; stores need no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), bitmaps(looked.classes)) };
        let [word, digit, space, dash, rule, cr, newline, high] = words;
        Block {
            newline,
            word,
            digit,
            space,
            dash,
            rule,
            cr,
            fits: looked.fits,
            last: looked.last,
            mark: looked.mark,
            high,
        }
    }

    /// So far ahead what comes is asked for: no CPU does so by itself from one page to the next.
    const AHEAD: usize = 2048;

    /// # Safety
    ///
    /// The CPU has the instructions, and `text` the blocks and one before them.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    pub(super) unsafe fn blocks_avx512(
        t: &Tables,
        text: &[u8],
        blocks: Range<usize>,
        run: &mut Run,
    ) {
        let wide = Wide::new(t);
        let mut least = _mm512_set1_epi8(1);
        let mut all = _mm512_setzero_si512();
        let mut next = blocks.start;
        while next + 8 <= blocks.end && run.size + 8 <= RUN {
            let mut classes = [all; 8];
            for (k, slot) in classes.iter_mut().enumerate() {
                let ahead = text.as_ptr().wrapping_add((next + k) * BLOCK + AHEAD);
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                // SAFETY: the block is in `text`, and two bytes before it are.
                let looked = unsafe { look_avx512(&wide, text.as_ptr().add((next + k) * BLOCK)) };
                least = _mm512_min_epu8(least, looked.bytes);
                all = _mm512_or_si512(all, looked.bytes);
                *slot = bitmaps(looked.classes);
                run.fit(k, looked.fits, looked.last, looked.mark);
            }
            let maps = [
                &mut run.word,
                &mut run.digit,
                &mut run.space,
                &mut run.dash,
                &mut run.rule,
                &mut run.cr,
                &mut run.newline,
                &mut run.high,
            ];
            for (map, words) in maps.into_iter().zip(transpose(classes)) {
                // SAFETY: there are words for `RUN` blocks, and `size` and eight more are at most
                // that many.
                unsafe { _mm512_storeu_si512(map.as_mut_ptr().add(run.size).cast(), words) };
            }
            run.size += 8;
            next += 8;
        }
        for k in next..blocks.end {
            // SAFETY: the block is in `text`, and two bytes before it are.
            let (block, b) = unsafe {
                let at = text.as_ptr().add(k * BLOCK);
                (block_avx512(&wide, at), _mm512_loadu_si512(at.cast()))
            };
            least = _mm512_min_epu8(least, b);
            all = _mm512_or_si512(all, b);
            run.push(block);
        }
        run.other |= _mm512_movepi8_mask(all) != 0 || _mm512_testn_epi8_mask(least, least) != 0;
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    pub(super) unsafe fn flush_avx512(t: &Tables, run: &mut Run, maps: &mut Maps) {
        run.flush::<Eight>(t, maps);
    }

    /// Bytes of `v` from `from` on, `size` of them.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn within(v: __m256i, from: u8, size: u8) -> __m256i {
        let moved = _mm256_sub_epi8(v, _mm256_set1_epi8(from.cast_signed()));
        let most = _mm256_set1_epi8((size - 1).cast_signed());
        _mm256_cmpeq_epi8(_mm256_min_epu8(moved, most), moved)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits(v: __m256i) -> u64 {
        u64::from(_mm256_movemask_epi8(v).cast_unsigned())
    }

    /// Four words. Made only where the CPU has the instructions.
    #[derive(Clone, Copy)]
    struct Four(__m256i);

    impl BitAnd for Four {
        type Output = Self;

        #[inline(always)]
        fn bitand(self, other: Self) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm256_and_si256(self.0, other.0) })
        }
    }

    impl BitOr for Four {
        type Output = Self;

        #[inline(always)]
        fn bitor(self, other: Self) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm256_or_si256(self.0, other.0) })
        }
    }

    impl Not for Four {
        type Output = Self;

        #[inline(always)]
        fn not(self) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm256_xor_si256(self.0, _mm256_set1_epi64x(-1)) })
        }
    }

    impl Words for Four {
        const COUNT: usize = 4;

        #[inline(always)]
        fn every(word: u64) -> Self {
            // SAFETY: the CPU has the instructions.
            Self(unsafe { _mm256_set1_epi64x(word.cast_signed()) })
        }

        #[inline(always)]
        fn load(map: &Map, at: usize) -> Self {
            let words = map
                .get(at..at + Self::COUNT)
                .map_or(map.as_ptr(), <[u64]>::as_ptr);
            // SAFETY: the CPU has the instructions, and the map the words; loads need no alignment.
            Self(unsafe { _mm256_loadu_si256(words.cast()) })
        }

        #[inline(always)]
        fn store(self, map: &mut Map, at: usize) {
            if let Some(words) = map.get_mut(at..at + Self::COUNT) {
                // SAFETY: the CPU has the instructions, and the map the words; stores need no
                // alignment.
                unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) };
            }
        }

        #[inline(always)]
        fn top(self) -> u64 {
            // SAFETY: the CPU has the instructions.
            unsafe { _mm256_extract_epi64::<3>(self.0) }.cast_unsigned()
        }

        #[inline(always)]
        fn any(self) -> bool {
            // SAFETY: the CPU has the instructions.
            unsafe { _mm256_testz_si256(self.0, self.0) == 0 }
        }

        #[inline(always)]
        fn up<const N: u32>(self, before: Self) -> Self {
            // SAFETY: the CPU has the instructions.
            unsafe {
                let before = _mm256_permute2x128_si256::<0x21>(before.0, self.0);
                let before = _mm256_alignr_epi8::<8>(self.0, before);
                let by = |n: u32| _mm_cvtsi32_si128(n.cast_signed());
                Self(_mm256_or_si256(
                    _mm256_sll_epi64(self.0, by(N)),
                    _mm256_srl_epi64(before, by(64 - N)),
                ))
            }
        }
    }

    /// Sixteen entries, twice, as a look-up wants them.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn twice(entries: &[u8; 16]) -> __m256i {
        // SAFETY: there are 16 bytes; loads need no alignment.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn every(byte: u8) -> __m256i {
        _mm256_set1_epi8(byte.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn or(x: __m256i, y: __m256i) -> __m256i {
        _mm256_or_si256(x, y)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn and(x: __m256i, y: __m256i) -> __m256i {
        _mm256_and_si256(x, y)
    }

    /// Half a block.
    ///
    /// # Safety
    ///
    /// 32 bytes from `at` on can be read.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn half(at: *const u8) -> __m256i {
        // SAFETY: what the caller promises; loads need no alignment.
        unsafe { _mm256_loadu_si256(at.cast()) }
    }

    /// Looks at `count` blocks, the first one at `at`, but for what rules are made of.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; two bytes before `at` and the blocks from it on can be read.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    pub(super) unsafe fn run_avx2(t: &Tables, at: *const u8, count: usize, run: &mut Run) {
        let count = count.min(RUN - run.size.min(RUN));
        // Each of these has what it compares with in registers.
        // SAFETY: what the caller promises.
        unsafe {
            classes(at, count, run);
            rows_of_three(t, at, count, run);
        }
        run.size += count;
    }

    /// The places of the classes of bytes in `count` blocks, but for what rules are made of.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; the blocks can be read.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[expect(clippy::indexing_slicing, reason = "the index is below the size")]
    unsafe fn classes(at: *const u8, count: usize, run: &mut Run) {
        let zero = _mm256_setzero_si256();
        let (mut least, mut all, mut returns) = (every(1), zero, zero);
        for k in 0..count {
            // SAFETY: the block can be read.
            let (a, b) = unsafe { (half(at.add(k * BLOCK)), half(at.add(k * BLOCK + 32))) };
            least = _mm256_min_epu8(least, _mm256_min_epu8(a, b));
            all = or(all, or(a, b));
            let are = |byte: u8| [is(a, byte), is(b, byte)];
            let digits = [within(a, b'0', 10), within(b, b'0', 10)];
            let [x, y] = are(b'\r');
            returns = or(returns, or(x, y));
            let slot = (run.size + k) % RUN;
            run.newline[slot] = both(are(b'\n'));
            run.word[slot] = both([or(digits[0], is_letter(a)), or(digits[1], is_letter(b))]);
            run.digit[slot] = both(digits);
            run.space[slot] = both(are(b' '));
            run.dash[slot] = both(are(b'-'));
        }
        // What is not in most texts.
        let (high, returns) = (bits(all) != 0, bits(returns) != 0);
        for k in 0..count {
            let slot = (run.size + k) % RUN;
            (run.high[slot], run.cr[slot]) = (0, 0);
            if high || returns {
                // SAFETY: the block can be read.
                let (a, b) = unsafe { (half(at.add(k * BLOCK)), half(at.add(k * BLOCK + 32))) };
                run.high[slot] = both([a, b]);
                run.cr[slot] = both([is(a, b'\r'), is(b, b'\r')]);
            }
        }
        run.other |= high || bits(_mm256_cmpeq_epi8(least, zero)) != 0;
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn is(v: __m256i, byte: u8) -> __m256i {
        _mm256_cmpeq_epi8(v, every(byte))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn is_letter(v: __m256i) -> __m256i {
        within(or(v, every(0x20)), b'a', 26)
    }

    /// The bits of a block out of those of its halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn both([a, b]: [__m256i; 2]) -> u64 {
        bits(a) | bits(b) << 32
    }

    /// Bytes without their signs, and their bits 3 to 6.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn indices(bytes: __m256i) -> (__m256i, __m256i) {
        let b = and(bytes, every(0x7f));
        (b, and(_mm256_srli_epi16::<3>(b), every(15)))
    }

    /// The places of three bytes in a row that are looked for: the ends of words, and marks.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; two bytes before the blocks can be read, and these.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    #[expect(clippy::indexing_slicing, reason = "the index is below the size")]
    unsafe fn rows_of_three(t: &Tables, at: *const u8, count: usize, run: &mut Run) {
        let halves = &t.halves;
        let upper = twice(&[1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128]);
        let pair = |(low, high): &([u8; 16], [u8; 16])| (twice(low), twice(high));
        let [w0, w1, w2] = &halves.word;
        let (w0, w1, w2) = (pair(w0), pair(w1), pair(w2));
        let [m0, m1, m2] = &halves.mark;
        let (m0, m1, m2) = (pair(m0), pair(m1), pair(m2));
        let (last, single) = (twice(&halves.last), twice(&halves.single));
        let open = every(halves.open);
        let entry =
            |(low, high), (b, h)| and(_mm256_shuffle_epi8(low, b), _mm256_shuffle_epi8(high, h));
        let zero = _mm256_setzero_si256();
        let none = |v| bits(_mm256_cmpeq_epi8(v, zero));
        let look = |at: *const u8| {
            // SAFETY: the half can be read, and two bytes before it.
            let (b, b1, b2) = unsafe { (half(at), half(at.sub(1)), half(at.sub(2))) };
            let (i, i1, i2) = (indices(b), indices(b1), indices(b2));
            let ends = and(entry(w0, i), entry(w1, i1));
            let marks = and(and(entry(m0, i), entry(m1, i1)), entry(m2, i2));
            [
                none(and(ends, entry(w2, i2))),
                none(and(ends, open)),
                none(entry((last, upper), i)),
                none(marks),
                none(entry((single, upper), i)),
            ]
        };
        let mut word = match run.size.checked_sub(1) {
            Some(slot) => run.word[slot % RUN],
            None => run.before.word,
        };
        for k in 0..count {
            let slot = (run.size + k) % RUN;
            let here = at.wrapping_add(k * BLOCK);
            let (a, b) = (look(here), look(here.wrapping_add(32)));
            let some = |k: usize| !(a[k] | b[k] << 32);
            let (fits, open, marks, single) = (some(0), some(1), some(3), some(4));
            run.last[slot] = some(2);
            // What is no word may stand before the last two letters.
            let words = run.word[slot] << 2 | word >> 62;
            word = run.word[slot];
            let likely = fits | open & !words;
            // Halves of bytes seldom fit where bytes do not.
            run.fits[slot] = if halves.exact && !run.other {
                likely
            } else {
                // SAFETY: the block can be read, and two bytes before it.
                unsafe { confirmed(likely, here, |bytes| t.has_end(bytes)) }
            };
            // SAFETY: the block can be read, and two bytes before it.
            let marks = unsafe { confirmed(marks & !single, here, |bytes| t.has_mark(bytes)) };
            run.mark[slot] = single | marks;
        }
    }

    /// The places of a block, out of some, of which the byte there and the two before it say more.
    ///
    /// # Safety
    ///
    /// The block can be read, and two bytes before it.
    #[inline(always)]
    unsafe fn confirmed(bits: u64, block: *const u8, is: impl Fn([u8; 3]) -> bool) -> u64 {
        let (mut left, mut kept) = (bits, bits);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            // SAFETY: what the caller promises.
            let bytes = unsafe {
                let at = block.add(bit.trailing_zeros() as usize);
                [*at, *at.sub(1), *at.sub(2)]
            };
            if !is(bytes) {
                kept ^= bit;
            }
        }
        kept
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    pub(super) unsafe fn flush_avx2(t: &Tables, run: &mut Run, maps: &mut Maps) {
        run.flush::<Four>(t, maps);
    }

    /// Writes the first `size` bytes of a block, and some behind them: half of it where that is
    /// enough, which costs less than half.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; there is room for a block at `to`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(to: *mut u8, block: __m512i, size: usize) {
        // SAFETY: what the caller promises.
        unsafe {
            if size <= BLOCK / 2 {
                _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(block));
            } else {
                _mm512_storeu_si512(to.cast(), block);
            }
        }
    }

    /// Writes what `decide` says; how many bytes that are, if it decides.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; the value has at least one byte and at most 64, and there is
    /// room for 64 at `to`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn replace_avx512(
        value: *const u8,
        size: usize,
        to: *mut u8,
        decide: impl Fn(Kinds) -> Cover,
    ) -> Option<usize> {
        let all = u64::MAX >> (BLOCK - size);
        // SAFETY: no byte behind the value is read.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(all, value.cast()) };
        let (new, size) = replacement(bytes, all, decide)?;
        // SAFETY: there is room for a block.
        unsafe { store(to, new, size) };
        Some(size)
    }

    /// What `decide` says of a value, which stands in a block where `all` has bits, from the first
    /// one on; how many bytes of that count. Where the value keeps its length, what stands behind it
    /// stays.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    fn replacement(
        bytes: __m512i,
        all: u64,
        decide: impl Fn(Kinds) -> Cover,
    ) -> Option<(__m512i, usize)> {
        // SAFETY: the table has 128 bytes; loads need no alignment.
        let (low, high) = unsafe {
            (
                _mm512_loadu_si512(KINDS.as_ptr().cast()),
                _mm512_loadu_si512(KINDS.as_ptr().add(64).cast()),
            )
        };
        let kinds = _mm512_permutex2var_epi8(low, bytes, high);
        let ascii = all & !_mm512_movepi8_mask(bytes);
        let are = |kind: u8| {
            _mm512_mask_test_epi8_mask(ascii, kinds, _mm512_set1_epi8(kind.cast_signed()))
        };
        let kinds = Kinds {
            all,
            counted: are(kind::COUNTED),
            number: are(kind::NUMBER),
            plain: are(kind::PLAIN),
        };
        let size = all.count_ones() as usize;
        let keep = |bits: u64, with: u8| {
            let with = _mm512_set1_epi8(with.cast_signed());
            Some((_mm512_mask_mov_epi8(with, bits | !all, bytes), size))
        };
        match decide(kinds) {
            Cover::Nothing => None,
            Cover::Stars(count) => Some((_mm512_set1_epi8(b'*'.cast_signed()), count.min(BLOCK))),
            Cover::Keep { bits, with } => keep(bits, with),
            Cover::Last { bits, count, with } => {
                // As many ones as are kept, moved to the highest places that count.
                let first = kinds.counted.count_ones().saturating_sub(count);
                let last = u64::MAX.checked_shl(first).unwrap_or(0);
                keep(bits | _pdep_u64(last, kinds.counted), with)
            }
        }
    }

    /// # Safety
    ///
    /// The CPU has the instructions; the value has at least one byte and at most 64, and there is
    /// room for 64 in `out`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    pub(super) unsafe fn cover_avx512(
        value: &[u8],
        out: &mut BytesMut,
        decide: impl Fn(Kinds) -> Cover,
    ) -> bool {
        let to = out.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: what the caller promises.
        let written = unsafe { replace_avx512(value.as_ptr(), value.len(), to, decide) };
        if let Some(size) = written {
            // SAFETY: these have been written.
            unsafe { out.set_len(out.len() + size) };
        }
        written.is_some()
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2,popcnt,lzcnt")]
    pub(super) unsafe fn covers_avx512<H: Copy>(
        text: &[u8],
        from: usize,
        spans: &[Span<H>],
        out: &mut BytesMut,
        decide: impl Fn(H, Kinds) -> Cover,
    ) -> usize {
        let spare = out.spare_capacity_mut();
        let room = spare.len();
        let to = spare.as_mut_ptr().cast::<u8>();
        let (mut len, mut at, mut done) = (0, from, 0);
        for span in spans {
            let gap = span.from.wrapping_sub(at);
            let size = span.to.wrapping_sub(span.from);
            // A gap is copied in whole blocks; one more is read and written for the value.
            if gap > GAP_MAX
                || !(1..=BLOCK).contains(&size)
                || text.len() < span.from + BLOCK
                || room < len + GAP_MAX + 2 * BLOCK
            {
                break;
            }
            // SAFETY: `text` has a block behind the gap, where the value stands, and `to` has room
            // for the gap in whole blocks and two more.
            let written = unsafe {
                let (from, to) = (text.as_ptr().add(at), to.add(len));
                store(to, _mm512_loadu_si512(from.cast()), gap);
                let mut copied = BLOCK;
                while copied < gap {
                    let block = _mm512_loadu_si512(from.add(copied).cast());
                    _mm512_storeu_si512(to.add(copied).cast(), block);
                    copied += BLOCK;
                }
                replace_avx512(from.add(gap), size, to.add(gap), |k| decide(span.how, k))
            };
            let Some(written) = written else { break };
            len += gap + written;
            at = span.to;
            done += 1;
        }
        // SAFETY: these have been written.
        unsafe { out.set_len(out.len() + len) };
        done
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn kinds_avx2(a: __m256i, b: __m256i) -> [u64; 3] {
        let kinds = |b: __m256i| {
            let digit = within(b, b'0', 10);
            let number = or(or(digit, is(b, b' ')), or(is(b, b'-'), is(b, b'.')));
            let plain = _mm256_andnot_si256(is(b, b'\\'), within(b, 0x20, 0x5f));
            (or(digit, is_letter(b)), number, plain)
        };
        let (a, b) = (kinds(a), kinds(b));
        [both([a.0, b.0]), both([a.1, b.1]), both([a.2, b.2])]
    }

    /// The bytes of `v` where there are bits, and those of `other` elsewhere.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn chosen(bits: u32, v: __m256i, other: __m256i) -> __m256i {
        // Each byte of the bits is compared with a bit for each of eight bytes.
        let each = |k: i64| k * 0x0101_0101_0101_0101;
        let order = _mm256_set_epi64x(each(3), each(2), each(1), 0);
        let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits.cast_signed()), order);
        let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
        let on = _mm256_cmpeq_epi8(and(bytes, bit), bit);
        _mm256_blendv_epi8(other, v, on)
    }

    /// As with AVX-512: `replace_avx512`.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions; `size` is at least 1 and at most 64; a block can be read from
    /// `value` on, and there is room for one at `to`.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn replace_avx2(
        value: *const u8,
        size: usize,
        to: *mut u8,
        decide: impl Fn(Kinds) -> Cover,
    ) -> Option<usize> {
        let all = u64::MAX >> (BLOCK - size);
        // SAFETY: what the caller promises.
        let (a, b) = unsafe { (half(value), half(value.add(BLOCK / 2))) };
        // SAFETY: the CPU has the instructions.
        let [counted, number, plain] = unsafe { kinds_avx2(a, b) }.map(|kind| kind & all);
        let kinds = Kinds {
            all,
            counted,
            number,
            plain,
        };
        let (bits, with, size) = match decide(kinds) {
            Cover::Nothing => return None,
            Cover::Stars(count) => (0, b'*', count.min(BLOCK)),
            Cover::Keep { bits, with } => (bits, with, size),
            Cover::Last { bits, count, with } => {
                let first = counted.count_ones().saturating_sub(count);
                let last = u64::MAX.checked_shl(first).unwrap_or(0);
                (bits | _pdep_u64(last, counted), with, size)
            }
        };
        let with = every(with);
        let (low, high) = (bits as u32, (bits >> 32) as u32);
        // SAFETY: there is room for a block.
        unsafe {
            _mm256_storeu_si256(to.cast(), chosen(low, a, with));
            if size > BLOCK / 2 {
                _mm256_storeu_si256(to.add(BLOCK / 2).cast(), chosen(high, b, with));
            }
        }
        Some(size)
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    pub(super) unsafe fn covers_avx2<H: Copy>(
        text: &[u8],
        from: usize,
        spans: &[Span<H>],
        out: &mut BytesMut,
        decide: impl Fn(H, Kinds) -> Cover,
    ) -> usize {
        let spare = out.spare_capacity_mut();
        let room = spare.len();
        let to = spare.as_mut_ptr().cast::<u8>();
        let (mut len, mut at, mut done) = (0, from, 0);
        for span in spans {
            let gap = span.from.wrapping_sub(at);
            let size = span.to.wrapping_sub(span.from);
            // As with AVX-512: a gap is copied in whole halves of blocks, and a block for the value.
            if gap > GAP_MAX
                || !(1..=BLOCK).contains(&size)
                || text.len() < span.from + BLOCK
                || room < len + GAP_MAX + 2 * BLOCK
            {
                break;
            }
            // SAFETY: `text` has a block behind the gap, where the value stands, and `to` has room
            // for the gap in whole blocks and one more.
            let written = unsafe {
                let (from, to) = (text.as_ptr().add(at), to.add(len));
                for copied in (0..gap).step_by(BLOCK / 2) {
                    _mm256_storeu_si256(to.add(copied).cast(), half(from.add(copied)));
                }
                replace_avx2(from.add(gap), size, to.add(gap), |k| decide(span.how, k))
            };
            let Some(written) = written else { break };
            len += gap + written;
            at = span.to;
            done += 1;
        }
        // SAFETY: these have been written.
        unsafe { out.set_len(out.len() + len) };
        done
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) unsafe fn ones(map: &[u64]) -> u64 {
        map.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    pub(super) unsafe fn separators_avx512(
        text: &[u8],
        (by, quote): (u8, u8),
        (newlines, suspects): (&[u64], &[u64]),
        out: &mut Separators,
    ) {
        let mut each = [0u8; BLOCK];
        for (k, slot) in (0u8..).zip(each.iter_mut()) {
            *slot = k;
        }
        // SAFETY: there are 64 bytes; loads need no alignment.
        let each = unsafe { _mm512_loadu_si512(each.as_ptr().cast()) };
        let every = |b: u8| _mm512_set1_epi8(b.cast_signed());
        let (by, quote, space, flag) = (every(by), every(quote), every(b' '), every(0x80));
        // The least byte there is, of those that differ from a quote and of those that are no
        // newline.
        let (mut quotes, mut least) = (every(0xff), every(0xff));
        let words = newlines.iter().zip(suspects);
        let mut blocks = text.chunks(BLOCK).zip(words);
        let mut at = 0u32;
        loop {
            let Separators { ends, suspects, .. } = out;
            // As many as some blocks can have, and a block that is written behind.
            ends.reserve((GROUP + 1) * BLOCK);
            suspects.reserve((GROUP + 1) * BLOCK);
            let (first_end, first) = (ends.len(), suspects.len());
            // SAFETY: these are in what was reserved.
            let (mut end, mut place) = unsafe {
                (
                    ends.as_mut_ptr().add(first_end),
                    suspects.as_mut_ptr().add(first),
                )
            };
            let (ends_from, from) = (end, place);
            let mut left = GROUP;
            while left > 0
                && let Some((block, (newline, suspect))) = blocks.next()
            {
                left -= 1;
                let all = u64::MAX >> (BLOCK - block.len());
                // SAFETY: no byte behind the block is read.
                let bytes = unsafe {
                    if block.len() == BLOCK {
                        _mm512_loadu_si512(block.as_ptr().cast())
                    } else {
                        // What stands behind is no quote, and no control.
                        _mm512_mask_loadu_epi8(every(!0), all, block.as_ptr().cast())
                    }
                };
                let (newline, suspect) = (newline & all, suspect & all);
                quotes = _mm512_min_epu8(quotes, _mm512_xor_si512(bytes, quote));
                least = _mm512_min_epu8(least, _mm512_mask_mov_epi8(bytes, newline, space));
                let found = all & _mm512_cmpeq_epi8_mask(bytes, by) | newline;
                let marked = _mm512_mask_add_epi8(each, newline, each, flag);
                let packed = _mm512_maskz_compress_epi8(found, marked);
                // SAFETY: there is room for what is left of the group, and a block more.
                unsafe {
                    numbers(packed, at, found.count_ones(), end);
                    end = end.add(found.count_ones() as usize);
                    place = places(suspect, at, place);
                }
                at = at.wrapping_add(BLOCK as u32);
            }
            // SAFETY: so many have been written.
            unsafe {
                ends.set_len(first_end + end.offset_from_unsigned(ends_from));
                suspects.set_len(first + place.offset_from_unsigned(from));
            }
            if left > 0 {
                break;
            }
        }
        out.quotes = _mm512_testn_epi8_mask(quotes, quotes) != 0;
        out.controls = _mm512_cmplt_epu8_mask(least, space) != 0;
    }

    /// # Safety
    ///
    /// The CPU has the instructions; there are at most `STOPS_WORDS` words.
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    pub(super) unsafe fn stops_avx512(newlines: &[u64], suspects: &[u64], out: &mut Vec<u16>) {
        let mut each = [0u8; BLOCK];
        for (k, slot) in (0u8..).zip(each.iter_mut()) {
            *slot = k;
        }
        // SAFETY: there are 64 bytes; loads need no alignment.
        let each = unsafe { _mm512_loadu_si512(each.as_ptr().cast()) };
        let flag = _mm512_set1_epi8(i8::MIN);
        let kept = _mm_set1_epi16((super::END | 0x3f).cast_signed());
        let words = newlines.iter().zip(suspects);
        // A number for each bit, and a part that is written whole.
        out.reserve(BLOCK * (words.len() + 1));
        let first = out.spare_capacity_mut().as_mut_ptr();
        let mut to = first;
        for ((newline, suspect), at) in words.zip((0i16..).step_by(BLOCK)) {
            let all = newline | suspect;
            let marked = _mm512_mask_add_epi8(each, newline & !suspect, each, flag);
            let mut packed = _mm512_maskz_compress_epi8(all, marked);
            let at = _mm_set1_epi16(at);
            let size = all.count_ones() as usize;
            let mut done = 0;
            loop {
                // The sign of a byte becomes that of its number.
                let part = _mm_cvtepi8_epi16(_mm512_castsi512_si128(packed));
                let part = _mm_or_si128(_mm_and_si128(part, kept), at);
                // SAFETY: there is room for 64 numbers of each word and of one more; `done` is less
                // than those of this one, or 0.
                unsafe { _mm_storeu_si128(to.add(done).cast(), part) };
                done += 8;
                if done >= size {
                    break;
                }
                packed = _mm512_alignr_epi64::<1>(packed, packed);
            }
            // SAFETY: there is room for them.
            to = unsafe { to.add(size) };
        }
        // SAFETY: these have been written.
        unsafe { out.set_len(out.len() + to.offset_from_unsigned(first)) };
    }

    /// So many blocks are listed before room is made.
    const GROUP: usize = 8;

    /// Writes bytes as numbers, from `at` on; the sign of a byte becomes that of its number.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions, and there is room for 64.
    #[inline]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,gfni,bmi1,bmi2,popcnt,lzcnt"
    )]
    unsafe fn numbers(bytes: __m512i, at: u32, count: u32, to: *mut u32) {
        let kept = _mm512_set1_epi32((super::NEWLINE | 0x3f).cast_signed());
        let at = _mm512_set1_epi32(at.cast_signed());
        let number = |bytes| {
            let number = _mm512_and_si512(_mm512_cvtepi8_epi32(bytes), kept);
            _mm512_or_si512(number, at)
        };
        // SAFETY: what the caller promises.
        unsafe {
            _mm512_storeu_si512(to.cast(), number(_mm512_castsi512_si128(bytes)));
            if count > 16 {
                let parts = [
                    _mm512_extracti32x4_epi32::<1>(bytes),
                    _mm512_extracti32x4_epi32::<2>(bytes),
                    _mm512_extracti32x4_epi32::<3>(bytes),
                ];
                for (k, part) in parts.into_iter().enumerate() {
                    _mm512_storeu_si512(to.add(16 + 16 * k).cast(), number(part));
                }
            }
        }
    }

    /// Writes where a word has bits, from `at` on; where the next one goes. Mostly there is none or
    /// one.
    ///
    /// # Safety
    ///
    /// There is room for as many, and one more.
    #[inline(always)]
    unsafe fn places(word: u64, at: u32, to: *mut u32) -> *mut u32 {
        let (mut word, mut to) = (word, to);
        // SAFETY: what the caller promises.
        unsafe {
            loop {
                *to = at.wrapping_add(word.trailing_zeros());
                to = to.add(usize::from(word != 0));
                word &= word.wrapping_sub(1);
                if word == 0 {
                    return to;
                }
            }
        }
    }

    /// Whether something in a run is not readable: no more than one test for all of it.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn may_be_unreadable_avx2(run: &[u8; 4 * BLOCK]) -> bool {
        let zero = _mm256_setzero_si256();
        let mut found = zero;
        let (parts, _) = run.as_chunks::<32>();
        for part in parts {
            // SAFETY: a part has 32 bytes; loads need no alignment.
            let b = unsafe { _mm256_loadu_si256(part.as_ptr().cast()) };
            let even = _mm256_and_si256(b, _mm256_set1_epi8(0xfe_u8.cast_signed()));
            let least = _mm256_set1_epi8(0xf5_u8.cast_signed());
            let bad = _mm256_or_si256(
                _mm256_cmpeq_epi8(_mm256_max_epu8(b, least), b),
                _mm256_cmpeq_epi8(even, _mm256_set1_epi8(0xc0_u8.cast_signed())),
            );
            found = _mm256_or_si256(found, _mm256_or_si256(bad, _mm256_cmpeq_epi8(b, zero)));
        }
        _mm256_testz_si256(found, found) == 0
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn places_avx2(blocks: &[[u8; BLOCK]], byte: u8, map: &mut Vec<u64>) {
        let want = _mm256_set1_epi8(byte.cast_signed());
        map.extend(blocks.iter().map(|block| {
            // SAFETY: a block has 64 bytes; loads need no alignment.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_si256(block.as_ptr().cast()),
                    _mm256_loadu_si256(block.as_ptr().add(32).cast()),
                )
            };
            bits(_mm256_cmpeq_epi8(a, want)) | bits(_mm256_cmpeq_epi8(b, want)) << 32
        }));
    }

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn odd_avx2(blocks: &[[u8; BLOCK]], map: &mut Vec<u64>) {
        let newline = _mm256_set1_epi8(b'\n'.cast_signed());
        let space = _mm256_set1_epi8(b' '.cast_signed());
        map.extend(blocks.iter().map(|block| {
            // SAFETY: a block has 64 bytes; loads need no alignment.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_si256(block.as_ptr().cast()),
                    _mm256_loadu_si256(block.as_ptr().add(32).cast()),
                )
            };
            let look = |v| bits(_mm256_cmpgt_epi8(space, v)) & !bits(_mm256_cmpeq_epi8(v, newline));
            look(a) | look(b) << 32
        }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn tables(sets: &[(usize, u8, u8)]) -> Tables {
        let mut t = Tables::new();
        (t.card, t.ssn, t.named) = (u64::MAX, u64::MAX, u64::MAX);
        for (k, byte, groups) in sets {
            let table = if k % 2 == 0 { &mut t.word } else { &mut t.mark };
            for (b, slot) in (0u8..).zip(&mut table[k / 2 % 3]) {
                // A byte, all that are no words, or all there are.
                let in_set = match byte {
                    0..0x80 => b == *byte,
                    0x80..0xa0 => !b.is_ascii_alphanumeric(),
                    _ => true,
                };
                *slot |= if in_set { *groups } else { 0 };
            }
        }
        t.prepare();
        t
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => any::<u8>(),
            3 => b'0'..=b'9',
            3 => prop::sample::select(b"abnrs-- |\n\r:@".to_vec()),
        ];
        prop::collection::vec(byte, 0..400)
    }

    /// More of those that the rules make, too.
    fn sets() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
        let byte = prop_oneof![
            3 => any::<u8>(),
            3 => prop::sample::select(b"abnrs-1A\x80\xc0".to_vec()),
        ];
        prop::collection::vec((0..6usize, byte, any::<u8>()), 0..40)
    }

    /// Whether byte `at` has a bit.
    fn has(map: &[u64], at: usize) -> bool {
        map[at / 64] >> (at % 64) & 1 != 0
    }

    proptest! {
        /// Values that are replaced together are those that are replaced one by one.
        #[test]
        fn values_are_replaced_one_by_one(
            text in prop::collection::vec(prop_oneof![9 => 0x20..0x7fu8, 1 => any::<u8>()], 0..3000),
            sizes in prop::collection::vec((0..1500usize, 0..70usize, 0..4u8), 0..20),
            room in 0..4000usize,
        ) {
            let mut spans = Vec::new();
            let mut at = 0;
            for (gap, size, how) in sizes {
                let from = at + if how == 0 { gap } else { gap % 70 };
                let to = from + size;
                if to > text.len() {
                    break;
                }
                spans.push(Span { from, to, how });
                at = to;
            }
            let decide = |how, kinds: Kinds| match how {
                _ if kinds.plain != kinds.all => Cover::Nothing,
                0 => Cover::Stars(3),
                1 => Cover::Keep { bits: kinds.number, with: b'x' },
                2 => Cover::Stars(0),
                _ => Cover::Last { bits: kinds.all & !kinds.counted, count: 4, with: b'*' },
            };
            for width in Width::all() {
                let (mut want, mut got) = (BytesMut::new(), BytesMut::with_capacity(room));
                let done = covers(*width, &text, 0, &spans, &mut got, decide);
                let mut from = 0;
                for span in &spans[..done] {
                    append(&mut want, &text, from..span.from);
                    let value = &text[span.from..span.to];
                    let one = cover(Width::Portable, value, &mut want, |k| decide(span.how, k));
                    prop_assert!(one);
                    from = span.to;
                }
                prop_assert_eq!(got, want);
            }
        }

        /// Vectors compare what bytes do.
        #[test]
        fn patterns_fit_byte_by_byte(
            text: [u8; 32], from in 0..33usize, to in 0..33usize, changes in prop::collection::vec((0..32usize, any::<u8>()), 0..4),
        ) {
            let pattern = Pattern::new(&text, from..to);
            let mut other = text;
            for (k, b) in changes {
                other[k] = b;
            }
            let same = from >= to || text[from..to] == other[from..to];
            prop_assert_eq!(pattern.fits(&other), same);
            prop_assert_eq!(pattern.fits_each(&other), same);
        }

        /// What a text says does not depend on the block or the run that it stands in.
        #[test]
        fn runs_follow_each_other(
            text in text(), lines in 0..2 * RUN * BLOCK + 100, sets: Vec<(usize, u8, u8)>,
        ) {
            // No name has a newline.
            let sets: Vec<_> = sets.iter().map(|(k, b, groups)| (*k, b & 0x7f | 0x20, *groups)).collect();
            let t = tables(&sets);
            let later = [vec![b'\n'; lines], text.clone()].concat();
            for width in Width::all() {
                let (mut want, mut got) = (Maps::default(), Maps::default());
                sweep(*width, &t, &text, &mut want);
                sweep(*width, &t, &later, &mut got);
                for k in 0..text.len() {
                    prop_assert_eq!(has(&got.suspect, lines + k), has(&want.suspect, k), "{}", k);
                    prop_assert_eq!(has(&got.newline, lines + k), has(&want.newline, k), "{}", k);
                }
                prop_assert_eq!(got.plain, want.plain);
            }
        }

        /// Vectors say what bytes say.
        #[test]
        fn every_level_says_the_same(
            text in text(),
            sets in sets(),
            bits in prop::collection::vec(any::<u64>(), 0..2 * STOPS_WORDS),
            other_bits in prop::collection::vec(any::<u64>(), 0..2 * STOPS_WORDS),
        ) {
            let t = tables(&sets);
            let mut want = Maps::default();
            sweep(Width::Portable, &t, &text, &mut want);
            for width in Width::all() {
                let mut got = Maps::default();
                sweep(*width, &t, &text, &mut got);
                prop_assert_eq!(got.suspect.len(), text.len().div_ceil(64).max(1));
                prop_assert_eq!(&got.newline, &want.newline);
                prop_assert_eq!(&got.suspect, &want.suspect);
                let (mut a, mut b) = (Vec::new(), Vec::new());
                places(*width, &text, b'-', &mut a);
                places(Width::Portable, &text, b'-', &mut b);
                prop_assert_eq!(&a, &b);
                // Any bits at all, too, in more words than are listed.
                for (newlines, suspects) in [(&got.newline, &got.suspect), (&bits, &other_bits)] {
                    let (mut stopped, mut want) = (vec![7], Vec::new());
                    stops(*width, newlines, suspects, &mut stopped);
                    let most = newlines.len().min(STOPS_WORDS);
                    stops_of(&newlines[..most], suspects, &mut want);
                    prop_assert_eq!(stopped, want);
                }
                for by in [(b'-', b'"'), (b'|', b'a')] {
                    let mut seps = Separators::default();
                    let maps = (got.newline.as_slice(), got.suspect.as_slice());
                    separators(*width, &text, by, maps, &mut seps);
                    if !seps.is_listed() {
                        prop_assert!(seps.ends().is_empty());
                        list(*width, &text, &got.newline, &mut seps);
                    }
                    let ends = (0u32..).zip(&text).filter_map(|(at, b)| match *b {
                        b'\n' => Some(at | NEWLINE),
                        b => (b == by.0).then_some(at),
                    });
                    prop_assert_eq!(seps.ends(), ends.collect::<Vec<_>>());
                    prop_assert_eq!(seps.quotes, text.contains(&by.1));
                    let controls = text.iter().any(|b| *b < b' ' && *b != b'\n');
                    prop_assert!(seps.controls || !controls);
                    if !seps.suspects().is_empty() {
                        let places = (0..text.len()).filter(|k| has(&got.suspect, *k));
                        let listed = seps.suspects().iter().map(|at| *at as usize);
                        prop_assert!(places.eq(listed));
                    }
                }
                let bytes = [b'-', b'1', b'\n'];
                for at in 0..text.len() {
                    let rest = &text[at..];
                    prop_assert_eq!(find2(b'-', b'1', rest), memchr::memchr2(b'-', b'1', rest));
                    if let Some(near) = rest.first_chunk() {
                        prop_assert_eq!(has_any(near, bytes), near.iter().any(|b| bytes.contains(b)));
                    }
                }
                odd(*width, &text, &mut a);
                odd(Width::Portable, &text, &mut b);
                prop_assert_eq!(&a, &b);
                prop_assert_eq!(unreadable(*width, &text), unreadable(Width::Portable, &text));
                prop_assert_eq!(got.plain, want.plain);
                let value = text.get(..text.len() % 65).unwrap_or_default();
                for decided in [
                    Cover::Keep { bits: 0x5555, with: b'*' },
                    Cover::Keep { bits: 0, with: b' ' },
                    Cover::Last { bits: 2, count: 3, with: b'*' },
                    Cover::Stars(3),
                ] {
                    let covered = |w| {
                        let mut out = BytesMut::from(&b"x"[..]);
                        let kinds = Cell::new(None);
                        let done = cover(w, value, &mut out, |k| {
                            kinds.set(Some(k));
                            decided
                        });
                        append(&mut out, &text, value.len()..text.len());
                        (done, out, kinds.get())
                    };
                    prop_assert_eq!(covered(*width), covered(Width::Portable));
                }
                prop_assert_eq!(ones(*width, &got.newline), ones(Width::Portable, &want.newline));
            }
        }
    }
}
