//! What the annotations of policies ask for, besides the yes.
//!
//! Owns how those of several policies come together: whatever one of them asks for holds.

use std::collections::BTreeSet;
use std::time::Duration;

/// What is to be made known of an access that is allowed: `@break_glass` and `@notify("CHANNEL")`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// It is an emergency: marked in the audit log and in the recording.
    pub break_glass: bool,
    /// Who is to hear of it.
    pub notify: BTreeSet<String>,
}

impl Marks {
    /// The marks of several policies that permit the same: all of them.
    pub(super) fn of<'a>(each: impl Iterator<Item = &'a Self>) -> Self {
        each.fold(Self::default(), |mut all, marks| {
            all.break_glass |= marks.break_glass;
            all.notify.extend(marks.notify.iter().cloned());
            all
        })
    }

    /// Whether nothing is to be made known.
    pub fn is_empty(&self) -> bool {
        !self.break_glass && self.notify.is_empty()
    }
}

/// On what terms access may be asked for: `@approvers("GROUP")`, `@count("1")`, `@longest("8h")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The groups of those who decide: whoever does is in every one of them.
    pub approvers: BTreeSet<String>,
    /// How many different people have to approve.
    pub count: usize,
    /// For how long it may be granted at most.
    pub longest: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            approvers: BTreeSet::new(),
            count: 1,
            longest: None,
        }
    }
}

impl Terms {
    /// The terms of several policies that permit the same: the stricter of each.
    pub(super) fn of<'a>(each: impl Iterator<Item = &'a Self>) -> Self {
        each.fold(Self::default(), |mut all, terms| {
            all.approvers.extend(terms.approvers.iter().cloned());
            all.count = all.count.max(terms.count);
            all.longest = match (all.longest, terms.longest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_policies_the_stricter_counts() {
        let terms = |approvers: &[&str], count, longest: Option<u64>| Terms {
            approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
            count,
            longest: longest.map(Duration::from_secs),
        };
        let all = [
            terms(&["leads"], 1, None),
            terms(&["security"], 2, Some(60)),
            terms(&["leads"], 1, Some(30)),
        ];
        assert_eq!(
            Terms::of(all.iter()),
            terms(&["leads", "security"], 2, Some(30))
        );
        let marks = |break_glass, notify: &[&str]| Marks {
            break_glass,
            notify: notify.iter().map(|name| (*name).to_owned()).collect(),
        };
        let all = [marks(false, &["a"]), marks(true, &["b", "a"])];
        assert_eq!(Marks::of(all.iter()), marks(true, &["a", "b"]));
        assert!(Marks::of(std::iter::empty()).is_empty());
    }
}
