//! Places in a recording as people write and read them: `90`, `1:30`, `1:02:03`, `5m`, `50%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A place in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// So long after the start.
    At(Duration),
    /// So much of the whole, 0 to 100.
    Percent(f64),
    /// So long after where it is.
    Forward(Duration),
    /// So long before where it is.
    Back(Duration),
}

/// What was written is no place.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("a time is written as 90, 1:30, 1:02:03, 5m or 50%")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| NotAPlace)?;
            let valid = (0.0..=100.0).contains(&percent);
            return valid.then_some(Self::Percent(percent)).ok_or(NotAPlace);
        }
        if let Some(rest) = text.strip_prefix('+') {
            return Ok(Self::Forward(duration(rest)?));
        }
        if let Some(rest) = text.strip_prefix('-') {
            return Ok(Self::Back(duration(rest)?));
        }
        Ok(Self::At(duration(text)?))
    }
}

/// A length of time: seconds, `MM:SS`, `H:MM:SS`, or numbers with `h`, `m`, `s`, `ms`.
///
/// # Errors
///
/// When it is none of these, or longer than a thousand years.
pub fn duration(text: &str) -> Result<Duration, NotAPlace> {
    let seconds = match text.contains(':') {
        true => clock(text)?,
        false => units(text)?,
    };
    if !(0.0..3.2e10).contains(&seconds) {
        return Err(NotAPlace);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| NotAPlace)
}

fn clock(text: &str) -> Result<f64, NotAPlace> {
    let mut seconds = 0.0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(NotAPlace);
    }
    for (place, part) in parts.iter().enumerate() {
        let number = number(part)?;
        if place > 0 && number >= 60.0 || part.contains('.') && place + 1 < parts.len() {
            return Err(NotAPlace);
        }
        seconds = seconds * 60.0 + number;
    }
    Ok(seconds)
}

fn units(text: &str) -> Result<f64, NotAPlace> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return number(text);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.');
        let (amount, after) = rest.split_at(digits.ok_or(NotAPlace)?);
        let end = after.find(|char: char| !char.is_ascii_alphabetic());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let unit = match unit {
            "h" => 3600.0,
            "m" | "min" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return Err(NotAPlace),
        };
        seconds += number(amount)? * unit;
        rest = after;
    }
    if text.is_empty() {
        Err(NotAPlace)
    } else {
        Ok(seconds)
    }
}

fn number(text: &str) -> Result<f64, NotAPlace> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = text.parse().map_err(|_| NotAPlace);
    if plain { number } else { Err(NotAPlace) }
}

/// Microseconds as `H:MM:SS`.
pub(crate) struct Clock(pub(crate) u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{hours}:{minutes:02}:{:02}", seconds % 60)
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let at = |seconds| Ok(Place::At(Duration::from_secs_f64(seconds)));
        for (text, expected) in [
            ("90", at(90.0)),
            ("1.5", at(1.5)),
            ("1:30", at(90.0)),
            ("1:02:03", at(3723.0)),
            ("0:00:01.5", at(1.5)),
            ("5m", at(300.0)),
            ("1h30m", at(5400.0)),
            ("250ms", at(0.25)),
            ("50%", Ok(Place::Percent(50.0))),
            ("+10", Ok(Place::Forward(Duration::from_secs(10)))),
            ("-1:00", Ok(Place::Back(Duration::from_secs(60)))),
            ("", Err(NotAPlace)),
            (".", Err(NotAPlace)),
            ("1:60", Err(NotAPlace)),
            ("1:2:3:4", Err(NotAPlace)),
            ("1.5:00", Err(NotAPlace)),
            ("5x", Err(NotAPlace)),
            ("m", Err(NotAPlace)),
            ("101%", Err(NotAPlace)),
            ("-", Err(NotAPlace)),
            ("99999999999999999", Err(NotAPlace)),
            ("nan", Err(NotAPlace)),
            ("1:nan", Err(NotAPlace)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        assert_eq!(Clock(36_061_999_999).to_string(), "10:01:01");
    }
}
