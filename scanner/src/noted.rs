//! Verdicts as they are kept until somebody takes them: what little of a value in a row of a table
//! differs from that of the others is kept apart from what they have in common.

use std::iter::FusedIterator;

use crate::rules::Hit;
use crate::simd::rows::Brief;

/// A verdict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) hit: Hit,
    pub(crate) format: &'static str,
    pub(crate) offset: u64,
    /// Without what stands in it that no terminal shows.
    pub(crate) length: u64,
    /// Where it ends, with that.
    pub(crate) end: u64,
    pub(crate) row: u64,
}

/// Verdicts in order.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    single: Vec<Noted>,
    briefs: Vec<Brief>,
    runs: Vec<Run>,
    /// The protected columns of all runs.
    columns: Vec<Hit>,
}

/// What the values of some rows have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) format: &'static str,
    /// Where the text begins in which they stand, and its first row.
    pub(crate) offset: u64,
    pub(crate) row: u64,
    /// So many single verdicts come before it, so many briefs are in it or before it, and so many
    /// columns are before its own.
    before: usize,
    to: usize,
    columns: usize,
}

impl Notes {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.single.len() + self.briefs.len()
    }

    /// How many are no values of rows.
    pub(crate) fn singles(&self) -> usize {
        self.single.len()
    }

    /// Makes room for so many of these, if there is none.
    #[inline]
    pub(crate) fn expect(&mut self, singles: usize) {
        if self.single.capacity() == 0 {
            self.single.reserve(singles);
        }
    }

    pub(crate) fn push(&mut self, noted: Noted) {
        self.single.push(noted);
    }

    pub(crate) fn extend(&mut self, noted: impl Iterator<Item = Noted>) {
        self.single.extend(noted);
    }

    /// Adds what `write` keeps of the values of rows in these columns.
    pub(crate) fn add_rows<R>(
        &mut self,
        (format, offset, row): (&'static str, u64, u64),
        columns: impl Iterator<Item = Hit>,
        write: impl FnOnce(&mut Vec<Brief>) -> R,
    ) -> R {
        let done = write(&mut self.briefs);
        let before = self.runs.last().map_or(0, |run| run.to);
        if self.briefs.len() > before {
            self.runs.push(Run {
                format,
                offset,
                row,
                before: self.single.len(),
                to: self.briefs.len(),
                columns: self.columns.len(),
            });
            self.columns.extend(columns);
        }
        done
    }

    /// The last one, unless it is one of rows.
    pub(crate) fn last_single(&mut self) -> Option<&mut Noted> {
        let before = self.runs.last().map_or(0, |run| run.before);
        self.single.get_mut(before..)?.last_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Noted> {
        let mut at = At::default();
        std::iter::from_fn(move || at.next(self))
    }
}

/// Which one is next.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    single: usize,
    brief: usize,
    run: usize,
}

impl At {
    fn next(&mut self, notes: &Notes) -> Option<Noted> {
        while let Some(run) = notes.runs.get(self.run)
            && self.single >= run.before
        {
            if self.brief >= run.to {
                self.run += 1;
                continue;
            }
            let brief = notes.briefs.get(self.brief)?;
            self.brief += 1;
            let offset = run.offset.wrapping_add(brief.from());
            return Some(Noted {
                hit: *notes.columns.get(run.columns + brief.nth())?,
                format: run.format,
                offset,
                length: brief.size(),
                end: offset + brief.size(),
                row: run.row + brief.row(),
            });
        }
        let noted = notes.single.get(self.single)?;
        self.single += 1;
        Some(*noted)
    }
}

impl IntoIterator for Notes {
    type Item = Noted;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter {
            notes: self,
            at: At::default(),
        }
    }
}

/// All of them in order.
#[derive(Debug)]
pub(crate) struct IntoIter {
    notes: Notes,
    at: At,
}

impl Iterator for IntoIter {
    type Item = Noted;

    fn next(&mut self) -> Option<Noted> {
        self.at.next(&self.notes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.notes.len() - self.at.single - self.at.brief;
        (left, Some(left))
    }
}

impl ExactSizeIterator for IntoIter {}
impl FusedIterator for IntoIter {}

#[cfg(test)]
mod tests {
    use super::{Noted, Notes};
    use crate::rules::{By, Hit};
    use crate::simd::rows::Brief;

    #[test]
    fn values_of_rows_come_in_their_order_among_the_others() {
        let hit = |n| Hit {
            rule: 0,
            by: By::Field(n),
        };
        let single = |offset| Noted {
            hit: hit(9),
            format: "json",
            offset,
            length: 1,
            end: offset + 2,
            row: 1,
        };
        let mut notes = Notes::default();
        notes.push(single(3));
        notes.add_rows(("csv", 10, 5), [hit(1), hit(2)].into_iter(), |briefs| {
            briefs.push(Brief::new(2, 4, 0, 0));
            briefs.push(Brief::new(8, 1, 1, 0));
        });
        assert!(notes.last_single().is_none());
        // None of a table whose rows have no value.
        notes.add_rows(("csv", 30, 7), [hit(3)].into_iter(), |_| ());
        notes.add_rows(("csv", 40, 8), [hit(2)].into_iter(), |briefs| {
            briefs.push(Brief::new(1, 3, 0, 2));
        });
        notes.push(single(50));
        assert_eq!((notes.len(), notes.singles()), (5, 2));
        assert!(notes.last_single().is_some_and(|last| last.offset == 50));
        let told = |n: Noted| (n.hit, n.format, n.offset, n.length, n.end, n.row);
        let want = [
            (hit(9), "json", 3, 1, 5, 1),
            (hit(1), "csv", 12, 4, 16, 5),
            (hit(2), "csv", 18, 1, 19, 5),
            (hit(2), "csv", 41, 3, 44, 10),
            (hit(9), "json", 50, 1, 52, 1),
        ];
        assert!(notes.iter().map(told).eq(want));
        assert_eq!(notes.into_iter().map(told).collect::<Vec<_>>(), want);
    }
}
