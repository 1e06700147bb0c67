//! Detectors of a policy: regular expressions whose matches are bounded, with a checksum.
//!
//! All patterns together are one deterministic automaton, so that a byte costs the same whatever
//! the patterns are. They read bytes: `\d`, `\w` and `\b` are those of ASCII, and no match goes
//! over the end of a line. A match has a longest length, so that never more is withheld.

use std::fmt;
use std::str::FromStr;

use regex_automata::dfa::dense::{BuildError, Config, DFA};
use regex_automata::dfa::{Automaton, StartKind};
use regex_automata::nfa::thompson;
use regex_automata::util::look::Look;
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

/// The longest match that a pattern may have, in bytes.
pub const OWN_MATCH_MAX: usize = 256;
/// The shortest: less is in every line.
const MATCH_MIN: usize = 3;
/// The longest pattern.
const PATTERN_MAX: usize = 1024;
/// The most patterns.
const PATTERNS_MAX: usize = 64;
/// What the automaton may need, shared by all streams.
const AUTOMATON_MAX: usize = 4 << 20;

/// A checksum that a match of an own detector must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// None: the pattern says enough.
    #[default]
    None,
    /// Luhn (ISO/IEC 7812), over the digits of the match.
    Luhn,
    /// ISO 7064 MOD 97-10 over letters and digits: the last two are the check digits.
    Mod97,
    /// The same with the first four at the end, as IBAN and the like have it (ISO 13616).
    Iban,
    /// ISO 7064 MOD 11-2 over the digits: the last is the check digit or `X`.
    Mod11,
    /// Verhoeff, over the digits of the match.
    Verhoeff,
}

impl Checksum {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Luhn,
        Self::Mod97,
        Self::Iban,
        Self::Mod11,
        Self::Verhoeff,
    ];

    /// The name that a policy uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Luhn => "luhn",
            Self::Mod97 => "mod97",
            Self::Iban => "iban",
            Self::Mod11 => "mod11",
            Self::Verhoeff => "verhoeff",
        }
    }

    /// Whether `text` has it.
    pub fn holds(self, text: &[u8]) -> bool {
        let digits = || text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0');
        let signs = || text.iter().filter(|b| b.is_ascii_alphanumeric());
        match self {
            Self::None => true,
            Self::Luhn => {
                let sum: u32 = digits()
                    .rev()
                    .enumerate()
                    .map(|(k, d)| match (k % 2, u32::from(d)) {
                        (0, d) => d,
                        (_, d) if d > 4 => 2 * d - 9,
                        (_, d) => 2 * d,
                    })
                    .sum();
                sum.is_multiple_of(10) && digits().any(|d| d != 0)
            }
            Self::Mod97 => mod97(signs()) == 1,
            Self::Iban => mod97(signs().skip(4).chain(signs().take(4))) == 1,
            Self::Mod11 => {
                let check = match text.iter().rfind(|b| b.is_ascii_alphanumeric()) {
                    Some(b'X' | b'x') => Some(10),
                    _ => None,
                };
                let sum = digits()
                    .map(u32::from)
                    .chain(check)
                    .fold((0, 0), |(sum, _), d| ((sum + d) * 2 % 11, (sum + d) % 11));
                sum.1 == 1
            }
            Self::Verhoeff => digits().rev().enumerate().fold(0, verhoeff) == 0,
        }
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|c| c.name() == s)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(" ");
                format!("no checksum is called {s:?}; there are {names}")
            })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn mod97<'a>(signs: impl Iterator<Item = &'a u8>) -> u32 {
    signs.fold(0, |rest, b| {
        if b.is_ascii_digit() {
            (rest * 10 + u32::from(b - b'0')) % 97
        } else {
            (rest * 100 + u32::from(b.to_ascii_uppercase() - b'A') + 10) % 97
        }
    })
}

/// One step in the dihedral group of order ten: `sum` times the permuted `digit` at `place`.
fn verhoeff(sum: u8, (place, digit): (usize, u8)) -> u8 {
    const PERMUTED: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let digit = (0..place % 8).fold(digit, |d, _| {
        PERMUTED.get(usize::from(d)).copied().unwrap_or(d)
    });
    match (sum < 5, digit < 5) {
        (true, true) => (sum + digit) % 5,
        (true, false) => (sum + digit) % 5 + 5,
        (false, true) => (sum + 5 - digit) % 5 + 5,
        (false, false) => (sum + 5 - digit) % 5,
    }
}

/// One detector of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) rule: u16,
    pub(crate) name: String,
    pub(crate) pattern: String,
    pub(crate) checksum: Checksum,
}

/// All of them, compiled.
pub(crate) struct Own {
    dfa: DFA<Vec<u32>>,
    patterns: Vec<Pattern>,
    /// Bytes that a match can begin with.
    first: [bool; 256],
}

/// What an own detector finds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// No match begins before this position.
    None(usize),
    /// Here one may begin; more of the text is needed to tell.
    More(usize),
    /// A match, and the number of its pattern.
    Match(usize, usize, u16),
}

impl Own {
    /// Why a pattern cannot be used, for the policy's author.
    pub(crate) fn check(pattern: &str) -> Result<(), String> {
        if pattern.len() > PATTERN_MAX {
            return Err(format!("the pattern is longer than {PATTERN_MAX} bytes"));
        }
        let hir = syntax::parse_with(pattern, &syntax()).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        })?;
        let properties = hir.properties();
        let nfa = thompson::Compiler::new()
            .configure(limits())
            .build_from_hir(&hir)
            .map_err(|error| error.to_string())?;
        let looks = nfa.look_set_any();
        if looks.contains(Look::Start) || looks.contains(Look::End) {
            return Err(
                "an output has no beginning to wait for: ^ and $ are those of a line".to_owned(),
            );
        }
        match properties.maximum_len() {
            Some(longest) if longest <= OWN_MATCH_MAX => {}
            Some(longest) => {
                return Err(format!(
                    "a match can have {longest} bytes; at most {OWN_MATCH_MAX} can be waited for"
                ));
            }
            None => {
                return Err(format!(
                    "a match has no longest length: write {{1,40}} and the like instead of * and +, {OWN_MATCH_MAX} bytes in all"
                ));
            }
        }
        match properties.minimum_len() {
            Some(shortest) if shortest >= MATCH_MIN => Ok(()),
            Some(_) => Err(format!(
                "a match must have at least {MATCH_MIN} bytes: less is in every line"
            )),
            None => Err("the pattern matches nothing".to_owned()),
        }
    }

    pub(crate) fn build(patterns: Vec<Pattern>) -> Result<Self, String> {
        if patterns.len() > PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} own detectors"));
        }
        let texts: Vec<&str> = patterns.iter().map(|p| p.pattern.as_str()).collect();
        let config = Config::new()
            .start_kind(StartKind::Both)
            .match_kind(MatchKind::LeftmostFirst)
            .dfa_size_limit(Some(AUTOMATON_MAX))
            .determinize_size_limit(Some(AUTOMATON_MAX));
        let dfa = DFA::builder()
            .configure(config)
            .syntax(syntax())
            .thompson(limits())
            .build_many(&texts)
            .map_err(|error: BuildError| {
                format!("the own detectors are too large together: {error}")
            })?;
        let mut own = Self {
            dfa,
            patterns,
            first: [false; 256],
        };
        for b in 0..=u8::MAX {
            let begins = [None, Some(b' '), Some(b'a'), Some(b'\n')]
                .into_iter()
                .any(|before| own.begins(before, b));
            if let Some(slot) = own.first.get_mut(usize::from(b)) {
                *slot = begins;
            }
        }
        Ok(own)
    }

    pub(crate) fn pattern(&self, number: u16) -> Option<&Pattern> {
        self.patterns.get(usize::from(number))
    }

    fn begins(&self, before: Option<u8>, b: u8) -> bool {
        let config = start::Config::new()
            .look_behind(before)
            .anchored(Anchored::Yes);
        self.dfa.start_state(&config).is_ok_and(|state| {
            let next = self.dfa.next_state(state, b);
            !self.dfa.is_dead_state(next) && !self.dfa.is_quit_state(next)
        })
    }

    /// The first match that begins at `from` or later in the line that `from` is in, in a text that
    /// ends at `limit`, for certain if it is `closed`.
    pub(crate) fn next(&self, text: &[u8], from: usize, limit: usize, closed: bool) -> Next {
        let found = self.search(text, from, limit, closed);
        let (Next::None(to) | Next::More(to) | Next::Match(_, to, _)) = found;
        crate::work::count(1 + to.saturating_sub(from));
        found
    }

    fn search(&self, text: &[u8], from: usize, limit: usize, closed: bool) -> Next {
        let rest = text.get(from..limit).unwrap_or_default();
        match memchr::memchr(b'\n', rest) {
            None => self.in_line(text, from, limit, closed),
            Some(size) => match self.in_line(text, from, from + size, true) {
                Next::None(end) => Next::None(end + 1),
                found => found,
            },
        }
    }

    fn in_line(&self, text: &[u8], from: usize, end: usize, closed: bool) -> Next {
        let text = text.get(..end).unwrap_or_default();
        let mut from = from;
        loop {
            let found = self
                .dfa
                .try_search_fwd(&Input::new(text).span(from..end))
                .ok()
                .flatten();
            let found = found.and_then(|m| self.whole(text, from, m.offset()));
            if !closed {
                let upto = found.map_or(end, |(start, _, _)| start + 1);
                let least = from.max(end.saturating_sub(OWN_MATCH_MAX));
                if let Some(at) = (least..upto).find(|at| self.lives(text, *at)) {
                    return Next::More(at);
                }
            }
            let Some((start, stop, number)) = found else {
                return Next::None(end);
            };
            let value = text.get(start..stop).unwrap_or_default();
            let good = self
                .pattern(number)
                .is_some_and(|p| p.checksum.holds(value));
            if good {
                return Next::Match(start, stop, number);
            }
            from = start + 1;
        }
    }

    /// The match that ends the search from `from`, with its beginning.
    fn whole(&self, text: &[u8], from: usize, end: usize) -> Option<(usize, usize, u16)> {
        (from.max(end.saturating_sub(OWN_MATCH_MAX))..end).find_map(|start| {
            if !self.may_begin(text, start) {
                return None;
            }
            let input = Input::new(text)
                .span(start..text.len())
                .anchored(Anchored::Yes);
            let found = self.dfa.try_search_fwd(&input).ok().flatten()?;
            let number = u16::try_from(found.pattern().as_usize()).ok()?;
            Some((start, found.offset(), number))
        })
    }

    fn may_begin(&self, text: &[u8], at: usize) -> bool {
        text.get(at)
            .and_then(|b| self.first.get(usize::from(*b)).copied())
            .unwrap_or(false)
    }

    /// Whether a match that begins at `at` may go on after the text.
    fn lives(&self, text: &[u8], at: usize) -> bool {
        if !self.may_begin(text, at) {
            return false;
        }
        let before = at.checked_sub(1).and_then(|i| text.get(i)).copied();
        let config = start::Config::new()
            .look_behind(before)
            .anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state(&config) else {
            return false;
        };
        for b in text.get(at..).unwrap_or_default() {
            state = self.dfa.next_state(state, *b);
            if self.dfa.is_dead_state(state) || self.dfa.is_quit_state(state) {
                return false;
            }
        }
        true
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

fn syntax() -> syntax::Config {
    syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .multi_line(true)
        .crlf(true)
}

fn limits() -> thompson::Config {
    thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(AUTOMATON_MAX))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    fn own(pattern: &str, checksum: Checksum) -> Own {
        Own::check(pattern).unwrap();
        Own::build(vec![Pattern {
            rule: 0,
            name: "x".to_owned(),
            pattern: pattern.to_owned(),
            checksum,
        }])
        .unwrap()
    }

    #[test]
    fn checksums_are_checked() {
        for (checksum, good, bad) in [
            (Checksum::Luhn, "7992-7398-713", "7992-7398-710"),
            (Checksum::Mod97, "794.44", "794.45"),
            (
                Checksum::Iban,
                "DE17994669278410113391",
                "DE17994669278410113392",
            ),
            (
                Checksum::Mod11,
                "0000-0002-1825-0097",
                "0000-0002-1825-0098",
            ),
            (
                Checksum::Mod11,
                "0000-0002-1694-233X",
                "0000-0002-1694-2339",
            ),
            (Checksum::Verhoeff, "2363", "2364"),
            (Checksum::Verhoeff, "758722", "785722"),
        ] {
            assert!(checksum.holds(good.as_bytes()), "{checksum} {good}");
            assert!(!checksum.holds(bad.as_bytes()), "{checksum} {bad}");
        }
        for checksum in Checksum::ALL {
            assert_eq!(checksum.name().parse::<Checksum>(), Ok(checksum));
        }
        assert!("crc".parse::<Checksum>().is_err());
    }

    #[test]
    fn patterns_without_a_longest_match_are_refused() {
        for (pattern, why) in [
            (r"EMP-\d+", "no longest length"),
            (r"EMP-.*x", "no longest length"),
            (r"a{257}", "at most 256"),
            (r"\d{1,2}", "at least 3"),
            (r"(abc)?", "at least 3"),
            (r"EMP-(", "unclosed group"),
            (r"(?=a)bcd", "look"),
            (r"(a)\1bc", "backreferences"),
            (r"\Aabc", "those of a line"),
        ] {
            let error = Own::check(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(Own::check(r"\bEMP-\d{6}\b").is_ok());
    }

    #[test]
    fn matches_are_found_and_waited_for() {
        let own = own(r"\bEMP-\d{4,6}\b", Checksum::None);
        let next = |text: &str, closed| own.next(text.as_bytes(), 0, text.len(), closed);
        assert_eq!(next("x EMP-1234 y", false), Next::Match(2, 10, 0));
        assert_eq!(next("x EMP-1234", false), Next::More(2));
        assert_eq!(next("x EMP-1234", true), Next::Match(2, 10, 0));
        assert_eq!(next("x EM", false), Next::More(2));
        assert_eq!(next("x EM\n", false), Next::None(5));
        assert_eq!(next("xEMP-1234 ", false), Next::None(10));
        assert_eq!(next("a\nEMP-12345\n", false), Next::None(2));
    }

    #[test]
    fn what_has_no_checksum_is_left_alone() {
        let own = own(r"\d{4}", Checksum::Verhoeff);
        let next = |text: &str| own.next(text.as_bytes(), 0, text.len(), true);
        assert_eq!(next("2364 2363"), Next::Match(5, 9, 0));
        assert_eq!(next("2364 2364"), Next::None(9));
    }
}
