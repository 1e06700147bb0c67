//! What is written in the place of a value.

use bytes::BytesMut;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use unicode_width::UnicodeWidthChar;

use crate::rules::Mask;
use crate::simd::rows::Plan;
use crate::simd::{self, Cover, Kinds, Width};

/// Where a value stands, as far as it matters for what may replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Inside quotes, a CSV field, an element: only letters, digits and stars fit everywhere.
    Inside,
    /// A bare value that has to stay one value of its format: it gets quotes.
    Literal,
    /// The same inside of a string: `\"` around it.
    Escaped,
    /// The same inside of a quoted CSV field: `""` around it.
    Doubled,
    /// A bare word.
    Word,
    /// A cell whose display width has to stay.
    Cell,
}

/// What tells tokens apart: the key, the session (but for stable ones) and the field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) stable_key: &'a [u8],
    pub(crate) session: &'a [u8],
    pub(crate) field: &'a str,
}

impl Keyed<'_> {
    /// The same in all sessions.
    fn stable(self) -> Self {
        Self {
            key: self.stable_key,
            session: b"",
            ..self
        }
    }
}

/// Appends what stands for `value` to `out`.
pub(crate) fn replace(
    out: &mut BytesMut,
    mask: Mask,
    value: &[u8],
    place: Place,
    keyed: Keyed<'_>,
) {
    if short(Width::best(), out, mask, value, place) {
        return;
    }
    let text = String::from_utf8_lossy(value);
    let mut new = match mask {
        Mask::Redact if place == Place::Cell => "*".repeat(width(&text).max(1)),
        Mask::Redact => "***".to_owned(),
        Mask::Last4 => last4(&text, place),
        Mask::Token => token(value, keyed),
        Mask::StableToken => token(value, keyed.stable()),
        Mask::Format => format(&text, keyed),
        Mask::Drop => String::new(),
    };
    if place == Place::Cell {
        fit(&mut new, width(&text));
    }
    let quote: &[u8] = match place {
        Place::Literal => b"\"",
        Place::Escaped => b"\\\"",
        Place::Doubled => b"\"\"",
        Place::Inside | Place::Word | Place::Cell => b"",
    };
    out.extend_from_slice(quote);
    out.extend_from_slice(new.as_bytes());
    out.extend_from_slice(quote);
}

/// The same for a short value of printable ASCII and a mask without a key, as most are: each byte
/// is a column. Whether it was one.
#[inline]
pub(crate) fn short(
    width: Width,
    out: &mut BytesMut,
    mask: Mask,
    value: &[u8],
    place: Place,
) -> bool {
    simd::cover(width, value, out, |kinds| cover(kinds, mask, place))
}

/// What is written in the place of a short value, if it is as plain as that.
#[inline(always)]
pub(crate) fn cover(kinds: Kinds, mask: Mask, place: Place) -> Cover {
    let Some(plan) = plan(mask, place).filter(|_| kinds.plain == kinds.all) else {
        return Cover::Nothing;
    };
    if kinds.counted.count_ones() >= plan.least {
        let marks = if kinds.number == kinds.all {
            kinds.all & !kinds.counted
        } else {
            0
        };
        return Cover::Last {
            bits: marks,
            count: plan.last,
            with: b'*',
        };
    }
    match plan.stars {
        Some(count) => Cover::Stars(count),
        None => Cover::Keep {
            bits: 0,
            with: plan.with,
        },
    }
}

/// What is written in the place of short values of printable ASCII; `None` where a key, or what
/// stands around them, is needed for that.
#[inline(always)]
pub(crate) fn plan(mask: Mask, place: Place) -> Option<Plan> {
    let cell = match place {
        Place::Cell => true,
        Place::Inside | Place::Word => false,
        Place::Literal | Place::Escaped | Place::Doubled => return None,
    };
    let (least, stars, with) = match mask {
        Mask::Token | Mask::StableToken | Mask::Format => return None,
        Mask::Drop => (u32::MAX, 0, b' '),
        Mask::Redact => (u32::MAX, 3, b'*'),
        Mask::Last4 => (LAST_OF as u32, 3, b'*'),
    };
    Some(Plan {
        least,
        last: LAST as u32,
        stars: (!cell).then_some(stars),
        with,
    })
}

/// The columns that a terminal needs for `text`.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

fn fit(new: &mut String, columns: usize) {
    while width(new) > columns {
        new.pop();
    }
    let missing = columns - width(new);
    new.extend(std::iter::repeat_n(' ', missing));
}

const LAST: usize = 4;
/// A shorter value would show too much of itself by its last four.
const LAST_OF: usize = 8;

fn last4(text: &str, place: Place) -> String {
    let total = text.chars().filter(|c| c.is_alphanumeric()).count();
    if total < LAST_OF || text.contains('\\') {
        return if place == Place::Cell {
            "*".repeat(width(text))
        } else {
            "***".to_owned()
        };
    }
    let number = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.'));
    let mut seen = 0;
    let mut new = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            seen += 1;
        }
        let keep = if c.is_alphanumeric() {
            seen + LAST > total
        } else {
            number
        };
        if keep {
            new.push(c);
        } else {
            new.extend(std::iter::repeat_n('*', c.width().unwrap_or(1).max(1)));
        }
    }
    new
}

fn hmac(value: &[u8], counter: u8, keyed: Keyed<'_>) -> [u8; 32] {
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(keyed.key) else {
        return [0; 32]; // HMAC takes a key of any length.
    };
    for part in [keyed.session, keyed.field.as_bytes(), value] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.update(&[counter]);
    mac.finalize().into_bytes().into()
}

fn token(value: &[u8], keyed: Keyed<'_>) -> String {
    let bytes = hmac(value, 0, keyed);
    format!(
        "tok_{}",
        data_encoding::HEXLOWER.encode(bytes.get(..8).unwrap_or_default())
    )
}

fn format(text: &str, keyed: Keyed<'_>) -> String {
    let mut block = [0; 32];
    let mut used = 32;
    let mut counter = 0u8;
    let mut next = || {
        if used == 32 {
            block = hmac(text.as_bytes(), counter, keyed);
            counter = counter.wrapping_add(1);
            used = 0;
        }
        let byte = block.get(used).copied().unwrap_or(0);
        used += 1;
        byte
    };
    let mut first = true;
    let mut chars = text.chars().peekable();
    let mut new = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '0'..='9' => {
                let least = u8::from(first);
                new.push(char::from(b'0' + least + next() % (10 - least)));
                first = false;
            }
            'a'..='z' => new.push(char::from(b'a' + next() % 26)),
            'A'..='Z' => new.push(char::from(b'A' + next() % 26)),
            '\\' => {
                chars.next();
                new.push('x');
            }
            '-' | '.' | '_' | ' ' | '@' | '+' | '/' | '(' | ')' => new.push(c),
            _ => new.extend(std::iter::repeat_n('x', c.width().unwrap_or(1).max(1))),
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(mask: Mask, value: &str, place: Place) -> String {
        let mut out = BytesMut::new();
        let keyed = Keyed {
            key: b"0123456789abcdef",
            stable_key: b"fedcba9876543210",
            session: b"",
            field: "f",
        };
        replace(&mut out, mask, value.as_bytes(), place, keyed);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn stable_tokens_know_the_field_and_not_the_session() {
        let token = |mask, session: &[u8], field| {
            let mut out = BytesMut::new();
            let keyed = Keyed {
                key: b"0123456789abcdef",
                stable_key: b"fedcba9876543210",
                session,
                field,
            };
            replace(&mut out, mask, b"secret", Place::Inside, keyed);
            String::from_utf8_lossy(&out).into_owned()
        };
        let stable = token(Mask::StableToken, b"one", "ssn");
        assert_eq!(stable, token(Mask::StableToken, b"two", "ssn"));
        assert_ne!(stable, token(Mask::StableToken, b"one", "phone"));
        assert_ne!(stable, token(Mask::Token, b"one", "ssn"));
        assert_ne!(stable, token(Mask::Token, b"", "ssn"));
        assert_ne!(
            token(Mask::Token, b"one", "ssn"),
            token(Mask::Token, b"two", "ssn")
        );
    }

    #[test]
    fn masks_say_no_more_than_they_should() {
        assert_eq!(masked(Mask::Redact, "secret", Place::Inside), "***");
        assert_eq!(masked(Mask::Redact, "12.5", Place::Literal), "\"***\"");
        assert_eq!(masked(Mask::Redact, "宮田", Place::Cell), "****");
        assert_eq!(
            masked(Mask::Last4, "131-45-1438", Place::Inside),
            "***-**-1438"
        );
        assert_eq!(masked(Mask::Last4, "12345", Place::Inside), "***");
        assert_eq!(masked(Mask::Last4, "12345", Place::Cell), "*****");
        assert_eq!(masked(Mask::Drop, "abc", Place::Cell), "   ");
        assert_eq!(masked(Mask::Drop, "abc", Place::Inside), "");
    }

    proptest::proptest! {
        /// The short way writes what the long way writes.
        #[test]
        fn short_values_are_like_long_ones(value in "[ -~]{1,70}", kind in 0..3usize, at in 0..3usize) {
            let mask = [Mask::Redact, Mask::Last4, Mask::Drop].into_iter().nth(kind).unwrap_or_default();
            let place = [Place::Inside, Place::Word, Place::Cell].into_iter().nth(at).unwrap_or(Place::Cell);
            for simd in Width::all() {
            let mut short = BytesMut::new();
            if !super::short(*simd, &mut short, mask, value.as_bytes(), place) {
                continue;
            }
                let mut new = match mask {
                    Mask::Redact if place == Place::Cell => "*".repeat(width(&value).max(1)),
                    Mask::Redact => "***".to_owned(),
                    Mask::Last4 => last4(&value, place),
                    _ => String::new(),
                };
                if place == Place::Cell {
                    fit(&mut new, width(&value));
                }
                proptest::prop_assert_eq!(String::from_utf8_lossy(&short), new);
            }
        }
    }

    #[test]
    fn tokens_are_stable_and_formats_keep_their_shape() {
        let token = masked(Mask::Token, "secret", Place::Inside);
        assert_eq!(token, masked(Mask::Token, "secret", Place::Inside));
        assert_ne!(token, masked(Mask::Token, "secres", Place::Inside));
        let new = masked(Mask::Format, "AB-123.x", Place::Inside);
        assert_eq!(new.len(), 8);
        assert_eq!(
            (new.as_bytes().get(2), new.as_bytes().get(6)),
            (Some(&b'-'), Some(&b'.'))
        );
        assert_ne!(new, "AB-123.x");
    }
}
