//! Escaping by vector instructions: of eight bytes, with the backslashes that go between them, one
//! shuffle makes up to sixteen (SSSE3, which nearly every x86-64 CPU has).
//!
//! One of the two modules of this crate with `unsafe` code: a function runs after the CPU was asked for
//! what it needs, and it writes behind the end of a vector before it moves that end. What it gives
//! is what the portable way gives, which is its specification.

#![allow(
    unsafe_code,
    reason = "vector instructions, and room that is written before it counts: each says why it is sound"
)]

use super::Newlines;

/// Appends `text` to `out`, escaped; false, and nothing, where the CPU cannot.
pub(super) fn escape(out: &mut Vec<u8>, text: &[u8], newlines: Newlines) -> bool {
    #[cfg(target_arch = "x86_64")]
    // Miri interprets few vector instructions.
    if !cfg!(miri) && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("popcnt") {
        for piece in text.chunks(PIECE) {
            // SAFETY: the CPU has both.
            unsafe { x86::escape(out, piece, newlines) };
        }
        return true;
    }
    // What other CPUs do not use.
    let _ = (out, text, newlines);
    false
}

/// Bytes for whose escapes room is made at once, as if all were of the longest.
#[cfg(target_arch = "x86_64")]
const PIECE: usize = 4096;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::{CRLF, KEPT, Newlines};

    /// Appends `text` to `out`, escaped.
    #[target_feature(enable = "ssse3,popcnt")]
    pub(super) fn escape(out: &mut Vec<u8>, text: &[u8], newlines: Newlines) {
        let (escapes, letters) = match newlines {
            Newlines::Kept => (&KEPT, &LETTERS_KEPT),
            Newlines::Crlf => (&CRLF, &LETTERS_CRLF),
        };
        out.reserve(text.len() * LONGEST + 2 * STEP);
        let len = out.len();
        let (mut taken, mut used) = (0, 0);
        while taken < text.len() {
            let rest = text.get(taken..).unwrap_or_default();
            let mut last = [b' '; STEP];
            let (step, here) = match rest.first_chunk::<STEP>() {
                Some(step) => (step, STEP),
                None => {
                    for (slot, byte) in last.iter_mut().zip(rest) {
                        *slot = *byte;
                    }
                    (&last, rest.len())
                }
            };
            // SAFETY: `taken` bytes have become `used`, at most LONGEST each, and one is left at
            // least: the two steps that are written from there on were reserved.
            let (marks, other) = unsafe { spread(step, letters, out.as_mut_ptr().add(len + used)) };
            // Foreseen, so that the next step need not wait for what was found in this one.
            if other == 0 && here == STEP {
                used += STEP + marks.count_ones() as usize;
                taken += STEP;
                continue;
            }
            // Nothing of the step counts from the first byte on that is written otherwise.
            let count = (other | 1 << here).trailing_zeros();
            used += (count + (marks & ((1 << count) - 1)).count_ones()) as usize;
            taken += count as usize;
            if other & (1 << count) != 0 && (count as usize) < here {
                let byte = step.get(count as usize).copied().unwrap_or_default();
                let escape = escapes.get(usize::from(byte)).copied().unwrap_or_default();
                // SAFETY: as above. Eight bytes are written, of which LONGEST count at most.
                unsafe {
                    let to = out.as_mut_ptr().add(len + used);
                    to.cast::<[u8; 8]>().write(escape.to_le_bytes());
                }
                used += (escape >> 56) as usize;
                taken += 1;
            }
        }
        // SAFETY: so many bytes were reserved, and all of them written.
        unsafe { out.set_len(len + used) };
    }

    /// Writes a step to `to`, with a backslash before each byte that only needs one, and the letter
    /// that stands for it behind it. Gives these bytes, and those that need something else: a bit
    /// for each, in two words. Where one of the latter is, and from there on, nothing is right.
    ///
    /// # Safety
    ///
    /// Two steps can be written to `to`.
    #[inline]
    #[target_feature(enable = "ssse3,popcnt")]
    unsafe fn spread(step: &[u8; STEP], letters: &[u8; STEP], to: *mut u8) -> (u32, u32) {
        let mut text = load(step);
        let quote = _mm_cmpeq_epi8(text, byte(b'"'));
        let mut marked = _mm_or_si128(quote, _mm_cmpeq_epi8(text, byte(b'\\')));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(text, byte(0x1f)), text);
        let mut other = bits(control);
        if other != 0 {
            // What is above 15 has its highest bit set by that, and no letter.
            let place = _mm_adds_epu8(text, byte(0x70));
            let letter = _mm_shuffle_epi8(load(letters), place);
            let has_letter = _mm_cmpgt_epi8(letter, _mm_setzero_si128());
            text = _mm_or_si128(_mm_andnot_si128(has_letter, text), letter);
            marked = _mm_or_si128(marked, has_letter);
            other &= !bits(has_letter);
        }
        let marks = bits(marked);
        let [first, second, ..] = marks.to_le_bytes();
        let backslashes = byte(b'\\');
        let halves = [
            _mm_shuffle_epi8(_mm_unpacklo_epi64(text, backslashes), order(first)),
            _mm_shuffle_epi8(_mm_unpackhi_epi64(text, backslashes), order(second)),
        ];
        let middle = STEP / 2 + first.count_ones() as usize;
        let [low, high] = halves;
        // SAFETY: the first half becomes a step at most, and there is room for one more behind it.
        unsafe {
            _mm_storeu_si128(to.cast(), low);
            _mm_storeu_si128(to.add(middle).cast(), high);
        }
        (marks, other)
    }

    #[inline]
    #[target_feature(enable = "ssse3")]
    fn load(bytes: &[u8; STEP]) -> __m128i {
        // SAFETY: there are sixteen; loads need no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "ssse3")]
    fn byte(byte: u8) -> __m128i {
        _mm_set1_epi8(byte.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "ssse3")]
    fn bits(flags: __m128i) -> u32 {
        _mm_movemask_epi8(flags).cast_unsigned()
    }

    /// What brings a backslash, which is taken from the upper half, before each of the marked bytes.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn order(marks: u8) -> __m128i {
        // There is one for each byte.
        load(ORDERS.get(usize::from(marks)).unwrap_or(&[0; STEP]))
    }

    static ORDERS: [[u8; STEP]; 256] = orders();

    #[expect(clippy::indexing_slicing, reason = "done at compile time")]
    const fn orders() -> [[u8; STEP]; 256] {
        let mut orders = [[0; STEP]; 256];
        let mut marks = 0;
        while marks < 256 {
            let (mut place, mut used) = (0, 0);
            while place < STEP / 2 {
                if marks >> place & 1 == 1 {
                    orders[marks][used] = STEP as u8 / 2;
                    used += 1;
                }
                orders[marks][used] = place as u8;
                used += 1;
                place += 1;
            }
            marks += 1;
        }
        orders
    }

    static LETTERS_KEPT: [u8; STEP] = letters(&KEPT);
    static LETTERS_CRLF: [u8; STEP] = letters(&CRLF);

    /// The letters of the control characters below 16 that are a backslash and a letter.
    #[expect(clippy::indexing_slicing, reason = "done at compile time")]
    const fn letters(escapes: &[u64; 256]) -> [u8; STEP] {
        let mut letters = [0; STEP];
        let mut byte = 0;
        while byte < STEP {
            if escapes[byte] >> 56 == 2 {
                letters[byte] = escapes[byte].to_le_bytes()[1];
            }
            byte += 1;
        }
        letters
    }

    /// Bytes that are looked at together.
    const STEP: usize = 16;
    /// What a byte becomes at most.
    const LONGEST: usize = 6;
}
