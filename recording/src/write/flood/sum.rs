//! The checksum of a frame: XXH64 with seed 0
//! (<https://github.com/Cyan4973/xxHash/blob/v0.8.3/doc/xxhash_spec.md>).
//!
//! Each round waits for the one before, so that it costs little beside other work on the same bytes:
//! it is our own, and no library's, because it is summed up in the pass that marks words.

/// A sum over the start of a text.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    lanes: [u64; 4],
    /// Bytes that are in it: whole stripes.
    taken: usize,
}

impl Default for Sum {
    fn default() -> Self {
        let lanes = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
        Self { lanes, taken: 0 }
    }
}

impl Sum {
    /// Adds the next bytes.
    #[inline(always)]
    pub(super) fn add(&mut self, bytes: &[u8; 64]) {
        for stripe in bytes.as_chunks().0 {
            self.stripe(stripe);
        }
    }

    #[inline(always)]
    fn stripe(&mut self, stripe: &[u8; STRIPE]) {
        let (words, _) = stripe.as_chunks();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
        self.taken += STRIPE;
    }

    /// Adds all the rest of the text, and gives the sum.
    pub(super) fn finish(mut self, text: &[u8]) -> u64 {
        let rest = text.get(self.taken..).unwrap_or_default();
        let (stripes, rest) = rest.as_chunks();
        for stripe in stripes {
            self.stripe(stripe);
        }
        let mut sum = if self.taken == 0 {
            P5
        } else {
            let [a, b, c, d] = self.lanes;
            let sum = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            self.lanes.iter().fold(sum, |sum, lane| {
                (sum ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4)
            })
        };
        sum = sum.wrapping_add(text.len() as u64);
        let (eights, rest) = rest.as_chunks();
        for eight in eights {
            sum ^= round(0, u64::from_le_bytes(*eight));
            sum = sum.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        }
        let (fours, rest) = rest.as_chunks();
        for four in fours {
            sum ^= u64::from(u32::from_le_bytes(*four)).wrapping_mul(P1);
            sum = sum.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        }
        for byte in rest {
            sum ^= u64::from(*byte).wrapping_mul(P5);
            sum = sum.rotate_left(11).wrapping_mul(P1);
        }
        sum = (sum ^ sum >> 33).wrapping_mul(P2);
        sum = (sum ^ sum >> 29).wrapping_mul(P3);
        sum ^ sum >> 32
    }
}

#[inline(always)]
fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

const STRIPE: usize = 32;

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the reference implementation.
    #[test]
    fn known_sums() {
        for (text, sum) in [
            ("", 0xef46_db37_51d8_e999),
            ("a", 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0x44bc_2cf5_ad77_0999),
        ] {
            assert_eq!(Sum::default().finish(text.as_bytes()), sum, "{text}");
        }
    }

    /// It does not matter how much was added before.
    #[test]
    fn what_was_added_before_does_not_show() {
        let text: Vec<u8> = (0..1000_u32).map(|n| (n * 7 + n / 11) as u8).collect();
        let expected = Sum::default().finish(&text);
        let (chunks, _) = text.as_chunks();
        for taken in 0..=chunks.len() {
            let mut sum = Sum::default();
            for chunk in chunks.iter().take(taken) {
                sum.add(chunk);
            }
            assert_eq!(sum.finish(&text), expected);
        }
    }
}
