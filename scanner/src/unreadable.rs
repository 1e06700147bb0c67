//! What is text, but says nothing to a reader: long runs of base64 or hexadecimal, and lines
//! without an end.
//!
//! Ordinary values of that kind pass: hashes, tokens, keys, certificates, the data of a Secret. A
//! run counts from its limit on, so that up to there it has left.

/// Longer runs of letters and digits of base64 or hexadecimal are unreadable, in one line or in
/// lines of one width.
pub(crate) const RUN_MAX: usize = 8 * 1024;
/// Longer lines are unreadable.
pub(crate) const LINE_MAX: usize = 1 << 20;
/// Encoders wrap at such widths.
const WIDTHS: std::ops::RangeInclusive<usize> = 60..=128;
/// Every run over the limit has a place in each stretch of this size.
const STRIDE: usize = RUN_MAX / 2;
/// As much is looked at there.
const PROBE: usize = 160;

/// Follows one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    run: Run,
    line: usize,
}

/// What is unreadable in a piece: where it begins, and how much it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) first: Option<usize>,
    pub(crate) count: usize,
}

/// A run of encoded text that is not over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Run {
    /// Bytes of it in this line.
    size: usize,
    /// The line began inside of a run, or with it.
    broken: bool,
    /// Bytes of it in lines before.
    wrapped: usize,
    width: usize,
    /// Which kinds of letters this line has: upper, lower, digits, those of no hexadecimal.
    kinds: [bool; 4],
}

impl Watch {
    /// Takes a piece of the stream.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let mut done = 0;
        for part in piece.chunks(LINE_MAX / 2) {
            self.lines(part, done, &mut seen);
            self.runs(part, done, &mut seen);
            done += part.len();
        }
        seen
    }

    fn lines(&mut self, part: &[u8], at: usize, seen: &mut Seen) {
        let end = memchr::memchr(b'\n', part).unwrap_or(part.len());
        let over = (self.line + end).saturating_sub(LINE_MAX.max(self.line));
        if over > 0 {
            seen.add(at + end - over, over);
        }
        self.line = match memchr::memrchr(b'\n', part) {
            Some(last) => part.len() - last - 1,
            None => self.line + part.len(),
        };
    }

    /// Most of a text is skipped: a run that matters is met at every stride.
    fn runs(&mut self, part: &[u8], at: usize, seen: &mut Seen) {
        let mut done = 0;
        // What goes on from the piece before.
        if self.run != Run::default() || part.len() <= PROBE {
            done = self.follow(part, 0, at, seen);
        }
        let mut probe = done.next_multiple_of(STRIDE);
        while probe + PROBE <= part.len() {
            if part.iter().skip(probe).take(PROBE).all(|b| is_part(*b)) {
                done = self.follow(part, begins(part, done, probe), at, seen);
            }
            probe = (probe + STRIDE).max(done.next_multiple_of(STRIDE));
        }
        if done < part.len() {
            self.follow(part, begins(part, done, part.len()), at, seen);
        }
    }

    /// Follows a run from `from` to where it is over, or to the end of the piece.
    fn follow(&mut self, part: &[u8], from: usize, at: usize, seen: &mut Seen) -> usize {
        if from > 0 {
            self.run = Run {
                broken: part.get(from - 1) != Some(&b'\n'),
                ..Run::default()
            };
        }
        for (k, b) in part.iter().enumerate().skip(from) {
            if self.run.step(*b) {
                seen.add(at + k, 1);
            }
            if !is_part(*b) && k + 1 < part.len() && k > from {
                return k + 1;
            }
        }
        part.len()
    }
}

impl Run {
    /// Whether the run is too long with this byte.
    fn step(&mut self, b: u8) -> bool {
        match b {
            b'\r' => false,
            b'\n' => {
                let [upper, lower, digit, other] = self.kinds;
                let encoded = if other {
                    upper && lower && digit
                } else {
                    // Lists of hashes have 40, 64 or 128 digits a line.
                    digit && !matches!(self.size, 64 | 96 | 128)
                };
                let whole = !self.broken
                    && encoded
                    && WIDTHS.contains(&self.size)
                    && (self.wrapped == 0 || self.width == self.size);
                *self = if whole {
                    Self {
                        wrapped: self.wrapped + self.size,
                        width: self.size,
                        ..Self::default()
                    }
                } else {
                    Self::default()
                };
                false
            }
            _ if is_encoded(b) => {
                self.size += 1;
                let [upper, lower, digit, other] = &mut self.kinds;
                *upper |= b.is_ascii_uppercase();
                *lower |= b.is_ascii_lowercase();
                *digit |= b.is_ascii_digit();
                *other |= !b.is_ascii_hexdigit();
                self.wrapped + self.size > RUN_MAX
            }
            _ => {
                *self = Self {
                    broken: true,
                    ..Self::default()
                };
                false
            }
        }
    }
}

impl Seen {
    fn add(&mut self, at: usize, count: usize) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.count += count;
    }
}

/// Where the run begins that `at` is in or behind, after `least`.
fn begins(part: &[u8], least: usize, at: usize) -> usize {
    let before = part.get(least..at).unwrap_or_default();
    before
        .iter()
        .rposition(|b| !is_part(*b))
        .map_or(least, |i| least + i + 1)
}

fn is_encoded(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_')
}

fn is_part(b: u8) -> bool {
    is_encoded(b) || matches!(b, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(text: &[u8], size: usize) -> Seen {
        let mut watch = Watch::default();
        let mut all = Seen::default();
        for (k, piece) in text.chunks(size).enumerate() {
            let seen = watch.take(piece);
            if let Some(first) = seen.first {
                all.first = all.first.or(Some(k * size + first));
            }
            all.count += seen.count;
        }
        all
    }

    /// Base64 of what no text is.
    fn encoded(bytes: usize) -> String {
        let noise: Vec<u8> = (0..bytes as u64)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect();
        data_encoding::BASE64.encode(&noise)
    }

    fn wrapped(text: &str, width: usize) -> String {
        let lines: Vec<&str> = (0..text.len())
            .step_by(width)
            .filter_map(|at| text.get(at..(at + width).min(text.len())))
            .collect();
        lines.join("\n") + "\n"
    }

    #[test]
    fn long_runs_are_unreadable() {
        let hex = data_encoding::HEXLOWER.encode(encoded(9000).as_bytes());
        for text in [
            encoded(7000),
            wrapped(&encoded(7000), 76),
            wrapped(&encoded(7000), 64),
            wrapped(&hex, 60),
            hex,
            format!("ordinary text\n{} and so on\n", encoded(7000)),
            format!("{{\"blob\": \"{}\"}}\n", encoded(7000)),
        ] {
            for size in [1, 7, 100, 5000, text.len()] {
                let seen = seen(text.as_bytes(), size);
                assert!(seen.first.is_some() && seen.count > 0, "{size} {text:.50}");
            }
        }
    }

    #[test]
    fn ordinary_values_are_readable() {
        let hashes: String = (0..1000)
            .map(|n| format!("{:064x}\n", n * 0x1234_5678_9abc_def1_u128))
            .collect();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
            wrapped(&encoded(1500), 64)
        );
        let rows = format!("{},{},{}\n", encoded(60), encoded(600), encoded(3000));
        for text in [
            hashes,
            "abcdefgh\n".repeat(5000),
            "acgtacgtac".repeat(7) + "\n",
            ("acgtacgtac".repeat(7) + "\n").repeat(500),
            pem.repeat(30),
            rows.repeat(30),
            format!("    certificate-authority-data: {}\n", encoded(5000)).repeat(5),
            "00000000  7f 45 4c 46 02 01 01 00  |.ELF....|\n".repeat(5000),
            "word ".repeat(200_000),
        ] {
            assert_eq!(seen(text.as_bytes(), 4096), Seen::default(), "{text:.50}");
        }
    }

    #[test]
    fn lines_without_an_end_are_unreadable() {
        let text = "a b ".repeat(LINE_MAX / 4 + 1);
        for size in [1000, LINE_MAX, text.len()] {
            let seen = seen(text.as_bytes(), size);
            assert_eq!((seen.first, seen.count), (Some(LINE_MAX), 4), "{size}");
        }
    }

    proptest! {
        /// How a text was cut does not show.
        #[test]
        fn cuts_do_not_show(
            parts in prop::collection::vec((0..4usize, 0..9000usize), 0..6), size in 1..9000usize,
        ) {
            let long = encoded(9000);
            let lines = wrapped(&long, 76);
            let text: String = parts
                .iter()
                .map(|(kind, n)| match kind {
                    0 => long.get(..*n).unwrap_or_default().to_owned(),
                    1 => lines.get(..*n).unwrap_or_default().to_owned(),
                    2 => "some text, a line\n".repeat(n / 100),
                    _ => " ".to_owned(),
                })
                .collect();
            prop_assert_eq!(seen(text.as_bytes(), size), seen(text.as_bytes(), text.len().max(1)));
        }
    }
}
