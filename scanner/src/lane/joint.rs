//! The end of a stream as the beginning of what comes on the other one.

use crate::hold::Holds;
use crate::mask::Place;
use crate::rules::{By, Hit, Rules};

use super::{Frame, Inner, Lane, Until};

/// How much of what has left tells what a value may stand behind.
const BEFORE: usize = 64;
/// Nothing longer is undecided because of a detector.
const TOKEN_MAX: usize = 8192;

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
    /// Whether a value that `forms`, which have no fields, find begins in what is undecided and
    /// goes on in `next`, which is all that comes if this is the `end`. `begun` is the beginning
    /// of an escape that `next` goes on with.
    pub(crate) fn spans<'a>(
        &self,
        forms: &Rules,
        begun: &[u8],
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
        let mut joint = Self::new(forms.clone(), false, Holds::new(false, None));
        joint.read(before);
        joint.read(begun);
        let mut takes_back = false;
        for bytes in next {
            takes_back |= memchr::memchr(8, bytes).is_some();
            joint.read(bytes);
        }
        if end {
            joint.end();
        }
        let edge = before.len() as u64;
        let beyond = edge + begun.len() as u64;
        // What a backspace takes back may be all that hides a value on this side.
        let reach = if takes_back {
            (self.out - from) as u64
        } else {
            beyond
        };
        let value = joint.sink.verdicts.iter().find(|v| {
            let detected = matches!(v.hit.by, By::Detector(_) | By::Own(_));
            detected && v.offset < edge && v.end > reach
        });
        match value {
            Some(v) => match usize::try_from(v.end.saturating_sub(beyond)) {
                Ok(size) => Spans::Value(v.hit, size),
                Err(_) => Spans::More,
            },
            None if joint.sink.offset < edge => Spans::More,
            None => Spans::No,
        }
    }

    /// The beginning of an escape that is not whole.
    pub(crate) fn escape(&self) -> &[u8] {
        self.term.begun()
    }

    /// Masks what is undecided and `raw`, which comes after it, as parts of a value.
    pub(crate) fn mask_undecided(&mut self, raw: &[u8], hit: Hit) {
        self.forget_cut();
        let len = self.show(raw);
        let place = if matches!(self.inner, Inner::Text) {
            self.detected_place(self.out)
        } else {
            Place::Inside
        };
        // It is read all the same, for what it says about what follows.
        self.mask(self.out, len, hit, place, "detector");
        self.run(false);
    }

    /// Lets nothing of what comes up to the end of the line go: it may be the rest of a value.
    pub(crate) fn swallow_line(&mut self) {
        self.forget_cut();
        let swallows = |inner: &Inner| {
            let until = Until::Line;
            matches!(inner, Inner::Swallow { until: u, .. } if *u == until)
        };
        if !swallows(&self.inner) {
            self.swallow_until(Until::Line);
        }
        self.seen = None;
        self.pos = self.view.text.len();
        self.frame = Frame::Line;
    }
}
