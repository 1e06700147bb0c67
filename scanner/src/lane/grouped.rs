//! A number that is written in groups as the value of a name: `card=4111 1111 1111 1111 x=1`.
//!
//! Where a blank ends a bare value, what a detector knows from a place in the value on is part of it,
//! and so are groups of digits behind digits.

use crate::detect::{self, Found, Region};

use super::Lane;

impl Lane {
    /// Where a bare value from `v` to `end` really ends; `None`: more is needed.
    pub(super) fn grouped_end(
        &self,
        v: usize,
        end: usize,
        limit: usize,
        closed: bool,
    ) -> Option<usize> {
        let value = self.slice(v, end);
        let near = value.len().saturating_sub(NEAR_MAX);
        let last = value.get(near..).unwrap_or_default();
        if !last.iter().any(u8::is_ascii_digit) {
            return Some(end);
        }
        let known = self.known_end(v + near, end, limit, closed)?;
        if known > end {
            return Some(known);
        }
        groups_end(self.slice(0, limit), v, end, closed)
    }

    /// Where what a detector knows ends that begins before `end`, at `from` or behind it.
    fn known_end(&self, from: usize, end: usize, limit: usize, closed: bool) -> Option<usize> {
        let region = Region {
            text: self.slice(0, limit),
            closed,
        };
        let compiled = self.rules.compiled();
        let digit = |at: usize| self.byte(at).is_some_and(|b| b.is_ascii_digit());
        let mut at = from;
        while at < end {
            if !digit(at) || at.checked_sub(1).is_some_and(digit) {
                at += 1;
                continue;
            }
            match detect::digits(region, at, |d| compiled.detector(d).is_some()) {
                Found::More(_) => return None,
                Found::Value(_, to, _) if to > end => return Some(to),
                Found::Value(_, next, _) | Found::No(next) => at = next.max(at + 1),
            }
        }
        Some(end)
    }
}

/// Where groups of digits end that follow a value of digits, one blank apart: before a word, or a
/// `name=`. `None`: more is needed.
fn groups_end(text: &[u8], v: usize, end: usize, closed: bool) -> Option<usize> {
    let value = text.get(v..end).unwrap_or_default();
    let part = |b: &u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'(' | b')');
    let count = |group: &[u8]| group.iter().filter(|b| b.is_ascii_digit()).count();
    let mut digits = count(value);
    if digits > FIRST_MAX || !value.iter().all(part) {
        return Some(end);
    }
    // A bracket that opens in it closes behind it.
    let open = value.contains(&b'(') && !value.contains(&b')') && text.get(end) == Some(&b')');
    let mut at = end + usize::from(open);
    if at >= text.len() && !closed {
        return None;
    }
    while text.get(at) == Some(&b' ') {
        let rest = text.get(at + 1..).unwrap_or_default();
        let near = rest.get(..=GROUP_MAX).unwrap_or(rest);
        let size = near
            .iter()
            .take_while(|b| b.is_ascii_digit() || **b == b'-')
            .count();
        let ends = match near.get(size) {
            None if !closed && size <= GROUP_MAX => return None,
            None => rest.len() <= GROUP_MAX,
            Some(b) => {
                b.is_ascii_whitespace()
                    || matches!(b, b',' | b';' | b')' | b']' | b'}' | b'"' | b'\'')
            }
        };
        let group = near.get(..size).unwrap_or_default();
        digits += count(group);
        if !ends || !is_group(group) || digits > DIGITS_MAX {
            break;
        }
        at += 1 + size;
    }
    Some(if at > end + 1 { at } else { end })
}

/// Whether digits are a group of a number, or two with a hyphen between them: `45`, `123-4567`.
fn is_group(text: &[u8]) -> bool {
    let mut groups = text.split(|b| *b == b'-');
    let group = |group: &[u8]| (2..=6).contains(&group.len());
    groups.next().is_some_and(group) && groups.next().is_none_or(group) && groups.next().is_none()
}

/// What a detector knows and goes on behind a value begins not further before its end.
const NEAR_MAX: usize = 64;
/// A first group with more digits is a whole number.
const FIRST_MAX: usize = 6;
/// So many bytes has a group at most.
const GROUP_MAX: usize = 10;
/// No number in groups has more digits.
const DIGITS_MAX: usize = 24;
