//! The end of a stream as the beginning of what comes on the other one.

use crate::hold::Holds;
use crate::mask::Place;
use crate::rules::{By, Hit, Rules};

use super::{Inner, Lane};

/// How much of what has left tells what a value may stand behind.
const BEFORE: usize = 64;
/// Nothing longer is undecided because of a detector.
const TOKEN_MAX: usize = 1024;

/// Whether a value begins here and goes on in what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spans {
    No,
    /// It may.
    More,
    /// It does, and takes so many bytes of it.
    Value(Hit, usize),
}

impl Lane {
    /// Whether a detector's value begins in what is undecided and goes on in `next`, which is all
    /// that comes if this is the `end`.
    pub(crate) fn spans<'a>(
        &self,
        rules: &Rules,
        next: impl Iterator<Item = &'a [u8]>,
        end: bool,
    ) -> Spans {
        let text = self.text();
        let token = text.get(self.out..).unwrap_or_default();
        if token.is_empty() || token.len() > TOKEN_MAX {
            return Spans::No;
        }
        let from = self.out.saturating_sub(BEFORE);
        let before = text.get(from..).unwrap_or_default();
        let mut joint = Self::new(rules.clone(), false, Holds::new(false, None));
        joint.read(before);
        for bytes in next {
            joint.read(bytes);
        }
        if end {
            joint.end();
        }
        let edge = before.len() as u64;
        let value = joint.sink.verdicts.iter().find(|v| {
            let detected = matches!(v.hit.by, By::Detector(_) | By::Own(_));
            detected && v.offset < edge && v.offset + v.length > edge
        });
        match value {
            Some(v) => match usize::try_from(v.offset + v.length - edge) {
                Ok(size) => Spans::Value(v.hit, size),
                Err(_) => Spans::No,
            },
            None if joint.sink.offset < edge => Spans::More,
            None => Spans::No,
        }
    }

    /// Masks what is undecided and `raw`, which comes after it, as parts of a value.
    pub(crate) fn mask_undecided(&mut self, raw: &[u8], hit: Hit) {
        self.term.feed(raw, &mut self.view, self.out);
        let len = self.view.text.len();
        let place = if matches!(self.inner, Inner::Text) {
            self.detected_place(self.out)
        } else {
            Place::Inside
        };
        // It is read all the same, for what it says about what follows.
        self.mask(self.out, len, hit, place, "detector");
        self.run(false);
    }
}
