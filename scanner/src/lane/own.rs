//! The policy's own detectors, between the events of a text.

use crate::detect;
use crate::own::{Next, OWN_MATCH_MAX};
use crate::rules::Detector;

use super::Flow::{At, More};
use super::{Flow, Frame, Inner, Lane};

/// Where they have looked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looked {
    /// No match begins before it, but for the one that was found.
    upto: usize,
    /// What stands before it was masked, or is read in another way.
    floor: usize,
    found: Option<(usize, usize, u16)>,
}

impl Looked {
    /// Positions move when text is forgotten.
    pub(super) fn forget(&mut self, keep: usize) {
        self.upto = self.upto.saturating_sub(keep);
        self.floor = self.floor.saturating_sub(keep);
        self.found = self
            .found
            .map(|(a, b, n)| (a.saturating_sub(keep), b.saturating_sub(keep), n));
    }

    /// What stands before `to` has been masked, or is part of something that is.
    pub(super) fn skip(&mut self, to: usize) {
        if self.found.is_some_and(|(from, _, _)| from < to) {
            // What begins inside of that match has not been looked at.
            self.found = None;
            self.upto = to;
        }
        self.upto = self.upto.max(to);
        self.floor = self.floor.max(to);
    }

    /// What stands before `to` is read in another way. What was found behind it may be cut by what
    /// comes, and is looked for again.
    pub(super) fn leave(&mut self, to: usize) {
        if self.found.take().is_some() {
            self.upto = to;
        }
        self.upto = self.upto.max(to);
        self.floor = self.floor.max(to);
    }

    /// A backspace has taken text back, and what is left may go on in another way: what was no
    /// match because of what stood there may be one, and a match may be longer. How far was looked
    /// before depends on how the text was cut.
    pub(super) fn shorten(&mut self, len: usize) {
        let from = len.saturating_sub(OWN_MATCH_MAX);
        if let Some((begins, _, _)) = self.found.take_if(|(begins, _, _)| *begins >= from) {
            self.upto = begins;
        }
        self.floor = self.floor.min(len);
        self.upto = self.upto.min(from).max(self.floor);
    }
}

impl Lane {
    /// What an own detector says before the next event counts, which is at `event`. A match counts
    /// where it ends: what begins inside of it (a key, a card) is looked at first.
    pub(super) fn own_before(
        &mut self,
        event: Option<usize>,
        limit: usize,
        closed: bool,
    ) -> Option<Flow> {
        match self.own_next(event, limit, closed) {
            Next::None(_) => None,
            Next::More(at) => {
                if event.is_some_and(|event| event < at) {
                    return None;
                }
                self.pos = self.pos.max(at.min(limit));
                Some(self.more_to_detect(at))
            }
            Next::Match(from, to, number) => {
                if event.is_some_and(|event| event < to) {
                    return None;
                }
                Some(self.own_match(from, to, number, limit, closed))
            }
        }
    }

    /// All events before `limit` have been looked at: what an own detector says there counts now,
    /// such as a match that ends where a cell does. Whether all of it is decided.
    pub(super) fn own_rest(&mut self, limit: usize, closed: bool) -> bool {
        while self.inner == Inner::Text
            && let Some(flow) = self.own_before(None, limit, closed)
        {
            match flow {
                At(next) => self.pos = next.max(self.pos),
                More => {
                    self.own_hold();
                    return false;
                }
            }
        }
        true
    }

    /// A match that has been found, and what may become one, is withheld, whatever else is waited
    /// for.
    pub(super) fn own_hold(&mut self) {
        if self.rules.compiled().own.is_some() && self.inner == Inner::Text {
            let len = self.view.text.len();
            let blank = self.slice(self.own.upto, len);
            // A value may be waited for behind any number of blanks, in which none begins.
            if self.own.found.is_none()
                && blank.len() > 2 * OWN_MATCH_MAX
                && blank.iter().all(u8::is_ascii_whitespace)
            {
                self.own.upto = len - OWN_MATCH_MAX;
            }
            let from = self.own.found.map_or(self.own.upto, |(from, _, _)| from);
            self.hold = self.hold.min(from);
        }
    }

    /// Looks at one line at a time: what the next one is, is not known yet.
    fn own_next(&mut self, event: Option<usize>, limit: usize, closed: bool) -> Next {
        let floor = match self.frame {
            Frame::Row => self.row.cell,
            Frame::Start | Frame::Line | Frame::Block | Frame::Painted => self.line,
        };
        let Self {
            rules, own, view, ..
        } = self;
        let Some(detectors) = &rules.compiled().own else {
            return Next::None(limit);
        };
        own.skip(floor);
        match own.found {
            Some((from, to, number)) if to <= limit => return Next::Match(from, to, number),
            Some(_) => return Next::None(limit),
            None => {}
        }
        if own.upto >= limit || event.is_some_and(|event| event < own.upto) {
            return Next::None(own.upto);
        }
        let next = detectors.next(&view.text, own.upto, limit, closed);
        match next {
            Next::None(upto) | Next::More(upto) => own.upto = own.upto.max(upto),
            Next::Match(from, to, number) => {
                own.upto = to;
                own.found = Some((from, to, number));
            }
        }
        next
    }

    fn own_match(
        &mut self,
        from: usize,
        to: usize,
        number: u16,
        limit: usize,
        closed: bool,
    ) -> Flow {
        // It may be the first part of an address, of which nothing may be left either.
        if self.rules.compiled().detector(Detector::Email).is_some() {
            let rest = self.slice(to, limit);
            let size = rest.iter().take_while(|b| detect::is_local(**b)).count();
            match rest.get(size) {
                None if !closed && size < 64 => return self.more_to_detect(from),
                // An address reaches back only so far.
                Some(b'@') if detect::token_start(&self.view.text, to + size) <= from => {
                    match self.event(to + size, limit, closed) {
                        More => return More,
                        At(next) if self.out >= to => return At(next),
                        At(_) => {}
                    }
                }
                _ => {}
            }
        }
        if let Some(hit) = self.rules.compiled().own_hit(number) {
            let place = self.detected_place(from);
            self.mask(from, to, hit, place, "detector");
        }
        self.own.found = None;
        At(to.max(self.pos))
    }
}
