//! What is done to many bytes at once, by vector instructions where the CPU has them (AVX2, with
//! the instructions for bits that came with it).
//!
//! One of the two modules of this crate with `unsafe` code: a function runs after the CPU was asked
//! for what it needs, and a place is compared once before it is read. What it gives is what
//! [`Portable`] gives, which is its specification.

#![allow(
    unsafe_code,
    reason = "vector instructions: each place says why it is sound"
)]

/// Questions about many bytes. Lowest bits and numbers are of the first bytes.
pub(super) trait Vectors: Copy {
    /// A bit for each byte that ends a word, as [`is_end`] has it.
    fn ends(self, bytes: &[u8; 64]) -> u64;

    /// How many bytes at the start are the same.
    fn same_start(self, one: &[u8; START], other: &[u8; START]) -> usize;

    /// How many bytes at the end are the same.
    fn same_end(self, one: &[u8; END], other: &[u8; END]) -> usize;
}

/// Whether a byte ends a word: a space, a comma and what else is at most that, an underscore, a
/// backslash, which starts an escaped quotation mark or end of line; and, as other scripts have none
/// of these, an eighth of the later bytes of characters in UTF-8.
fn is_end(byte: u8) -> bool {
    matches!(byte, 0..=b',' | b'_' | b'\\' | 0x80..=0x87)
}

/// Text of which pieces are read at any place.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    text: &'a [u8],
    /// The last place at which [`PIECE`] bytes can be read.
    last: usize,
}

impl<'a> Text<'a> {
    /// None where the text is shorter than [`PIECE`].
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let last = text.len().checked_sub(PIECE)?;
        Some(Self { text, last })
    }

    /// The bytes at a place, at most [`PIECE`]; none near the end. Slices would compare twice.
    #[inline(always)]
    pub(super) fn at<const LEN: usize>(self, place: usize) -> Option<&'a [u8; LEN]> {
        const { assert!(LEN <= PIECE) };
        if place > self.last {
            return None;
        }
        // SAFETY: at the last place, and so at each one before, there are PIECE bytes.
        Some(unsafe { &*self.text.as_ptr().add(place).cast() })
    }
}

/// Something to do with whatever the CPU has.
pub(super) trait Run {
    /// Does it. It has to be inlined, to be compiled for each CPU.
    fn run<V: Vectors>(self, vectors: V);
}

/// A way to do it.
pub(super) trait Way: Copy {
    /// Does it.
    fn run(self, what: impl Run);
}

/// The best that the CPU has.
#[derive(Clone, Copy)]
pub(super) struct Best;

impl Way for Best {
    fn run(self, what: impl Run) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = x86::Avx2::detect() {
            return x86::run(avx2, what);
        }
        Portable.run(what);
    }
}

/// Whether the best is more than [`Portable`].
pub(super) fn are_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86::Avx2::detect().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Any CPU.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Way for Portable {
    fn run(self, what: impl Run) {
        what.run(self);
    }
}

impl Vectors for Portable {
    fn ends(self, bytes: &[u8; 64]) -> u64 {
        let (words, _) = bytes.as_chunks::<8>();
        let mut ends = 0;
        for word in words.iter().rev() {
            let flags = word.map(|byte| u8::from(is_end(byte)));
            // Each flag has its own place in the highest byte of the product, and none carries.
            let gathered = u64::from_le_bytes(flags).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            ends = ends << 8 | gathered;
        }
        ends
    }

    #[inline(always)]
    fn same_start(self, one: &[u8; START], other: &[u8; START]) -> usize {
        let (ones, others) = (one.as_chunks::<16>().0, other.as_chunks::<16>().0);
        for (at, (one, other)) in ones.iter().zip(others).enumerate() {
            let difference = u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other);
            if difference != 0 {
                return at * 16 + difference.trailing_zeros() as usize / 8;
            }
        }
        START
    }

    #[inline(always)]
    fn same_end(self, one: &[u8; END], other: &[u8; END]) -> usize {
        let difference = u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other);
        difference.leading_zeros() as usize / 8
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{END, Run, START, Vectors};

    /// That the CPU has AVX2, BMI1, BMI2 and LZCNT.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        /// One, where the CPU has them.
        pub(super) fn detect() -> Option<Self> {
            // Miri interprets few vector instructions.
            let has = !cfg!(miri)
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt");
            has.then_some(Self(()))
        }
    }

    pub(super) fn run(avx2: Avx2, what: impl Run) {
        // SAFETY: an `Avx2` is only made where the CPU has these.
        unsafe { with_avx2(avx2, what) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    fn with_avx2(avx2: Avx2, what: impl Run) {
        what.run(avx2);
    }

    impl Vectors for Avx2 {
        #[inline(always)]
        fn ends(self, bytes: &[u8; 64]) -> u64 {
            let (parts, _) = bytes.as_chunks();
            let [first, second] = parts else { return 0 };
            // SAFETY: an `Avx2` is only made where the CPU has it.
            let (first, second) = unsafe { (ends(first), ends(second)) };
            u64::from(first) | u64::from(second) << 32
        }

        #[inline(always)]
        fn same_start(self, one: &[u8; START], other: &[u8; START]) -> usize {
            // SAFETY: as above.
            unsafe { same_start(one, other) }
        }

        #[inline(always)]
        fn same_end(self, one: &[u8; END], other: &[u8; END]) -> usize {
            // SAFETY: as above.
            unsafe { same_end(one, other) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn ends(bytes: &[u8; 32]) -> u32 {
        let bytes = load(bytes);
        let low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, byte(b',')), bytes);
        let backslash = _mm256_cmpeq_epi8(bytes, byte(b'\\'));
        let underscore = _mm256_cmpeq_epi8(bytes, byte(b'_'));
        // As numbers with signs, 0x80 and so on are the lowest.
        let later = _mm256_cmpgt_epi8(byte(0x88), bytes);
        let marks = _mm256_or_si256(low, backslash);
        let marks = _mm256_or_si256(marks, _mm256_or_si256(underscore, later));
        _mm256_movemask_epi8(marks).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn same_start(one: &[u8; START], other: &[u8; START]) -> usize {
        let same = _mm256_movemask_epi8(_mm256_cmpeq_epi8(load(one), load(other)));
        same.trailing_ones() as usize
    }

    #[inline]
    #[target_feature(enable = "avx2,lzcnt")]
    fn same_end(one: &[u8; END], other: &[u8; END]) -> usize {
        // SAFETY: there are sixteen bytes each; loads need no alignment.
        let (one, other) = unsafe {
            (
                _mm_loadu_si128(one.as_ptr().cast()),
                _mm_loadu_si128(other.as_ptr().cast()),
            )
        };
        let same = _mm_movemask_epi8(_mm_cmpeq_epi8(one, other)).cast_unsigned();
        (same << (u32::BITS as usize - END)).leading_ones() as usize
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: there are 32; loads need no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn byte(byte: u8) -> __m256i {
        _mm256_set1_epi8(byte.cast_signed())
    }
}

/// Bytes of which [`Vectors::same_start`] is asked.
pub(super) const START: usize = 32;
/// Bytes of which [`Vectors::same_end`] is asked.
pub(super) const END: usize = 16;

/// Bytes that can be read at once.
const PIECE: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asks both ways.
    struct Ask<'a>(
        &'a [u8; 64],
        &'a [u8; 64],
        &'a mut Option<(u64, usize, usize)>,
    );

    impl Run for Ask<'_> {
        #[inline(always)]
        fn run<V: Vectors>(self, vectors: V) {
            let Self(one, other, answers) = self;
            let starts = (one.first_chunk(), other.first_chunk());
            let ends = (one.last_chunk(), other.last_chunk());
            if let ((Some(one_start), Some(other_start)), (Some(one_end), Some(other_end))) =
                (starts, ends)
            {
                *answers = Some((
                    vectors.ends(one),
                    vectors.same_start(one_start, other_start),
                    vectors.same_end(one_end, other_end),
                ));
            }
        }
    }

    proptest! {
        /// Every way gives what can be counted byte by byte.
        #[test]
        fn every_way_gives_the_same(
            one in proptest::collection::vec(any::<u8>(), 64),
            changed in 0..64usize,
            change: u8,
        ) {
            let one: [u8; 64] = one.try_into().unwrap_or([0; 64]);
            let mut other = one;
            if let Some(byte) = other.get_mut(changed) {
                *byte ^= change;
            }
            let (mut best, mut portable) = (None, None);
            Best.run(Ask(&one, &other, &mut best));
            Portable.run(Ask(&one, &other, &mut portable));
            let pairs = || one.iter().zip(&other);
            let ends = one.iter().rev().fold(0, |ends: u64, byte| {
                ends << 1 | u64::from(is_end(*byte))
            });
            let start = pairs().take(START).take_while(|(a, b)| a == b).count();
            let end = pairs().rev().take(END).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(best, Some((ends, start, end)));
            prop_assert_eq!(portable, best);
        }
    }
}
