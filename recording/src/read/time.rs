//! Times of events, from their decimal text to whole microseconds, without floating point: sums
//! over ten hours stay exact.

/// The latest time that is kept, in microseconds (some 300 years); later ones are held to it.
pub const TIME_MAX: u64 = 10_000_000_000_000_000;

/// A JSON number of seconds as microseconds, rounded half up; held to ±[`TIME_MAX`].
/// `None` when the text is not a number.
pub(super) fn micros(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix(b"+").unwrap_or(text)),
    };
    let (number, exponent) = match text.iter().position(|&byte| byte | 0x20 == b'e') {
        Some(at) => (text.get(..at)?, exponent(text.get(at + 1..)?)?),
        None => (text, 0),
    };
    let (whole, fraction) = match number.iter().position(|&byte| byte == b'.') {
        Some(at) => (number.get(..at)?, number.get(at + 1..)?),
        None => (number, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let micros = shifted(whole, fraction, exponent.saturating_add(6))?;
    let micros = micros.min(TIME_MAX) as i64;
    Some(if negative { -micros } else { micros })
}

/// The digits with the point moved right by `shift`, rounded half up, saturating.
fn shifted(whole: &[u8], fraction: &[u8], shift: i64) -> Option<u64> {
    let point = i64::try_from(whole.len()).ok()?.saturating_add(shift);
    let mut value = 0u64;
    let mut place = 0i64;
    let mut round_up = false;
    for &byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if place < point {
            value = value.saturating_mul(10).saturating_add(u64::from(digit));
        } else if place == point {
            round_up = digit >= 5;
        }
        place += 1;
    }
    // Zeros that the text does not have; past 20 every value but 0 is saturated.
    for _ in place..point.min(place + 20) {
        value = value.saturating_mul(10);
    }
    Some(value.saturating_add(u64::from(round_up)))
}

fn exponent(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    Some(sign * digits.parse::<i64>().unwrap_or(1 << 40).min(1 << 40))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_becomes_microseconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("1", Some(1_000_000)),
            ("1.5", Some(1_500_000)),
            ("0.000001", Some(1)),
            ("0.0000005", Some(1)),
            ("0.00000049", Some(0)),
            ("36000.123456", Some(36_000_123_456)),
            ("1e3", Some(1_000_000_000)),
            ("1.5E-3", Some(1500)),
            ("125e-5", Some(1250)),
            ("5e-7", Some(1)),
            ("1e-400", Some(0)),
            ("1e400", Some(TIME_MAX as i64)),
            ("0e400", Some(0)),
            ("99999999999999999999999999", Some(TIME_MAX as i64)),
            ("-0.25", Some(-250_000)),
            (".5", Some(500_000)),
            ("5.", Some(5_000_000)),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1e+", None),
            ("1.2.3", None),
            ("NaN", None),
            ("1_000", None),
        ] {
            assert_eq!(micros(text.as_bytes()), expected, "{text}");
        }
    }
}
