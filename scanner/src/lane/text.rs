//! Text: the events in it, and the detectors.

use crate::detect::{Found, Region};
use crate::mask::Place;
use crate::rules::Detector;
use crate::table::Kind;
use crate::{detect, find, work};

use super::Flow::{At, More};
use super::{Flow, Frame, Inner, Lane, Level, STUCK_MAX, Until};

impl Lane {
    /// Examines the text up to `limit`, which is where it ends if it is `closed`. Whether it got
    /// there (or to the end of the line).
    pub(super) fn plain(&mut self, limit: usize, closed: bool) -> bool {
        let frame = self.frame;
        let mut stuck = 0;
        while self.pos < limit {
            let before = self.pos;
            let text = self.inner == Inner::Text;
            let flow = match &self.inner {
                Inner::Text => {
                    let event = find::event(
                        self.slice(0, limit),
                        self.pos,
                        self.rules.compiled().has_paths || self.lists.is_some(),
                    );
                    match (self.own_before(event, limit, closed), event) {
                        (Some(flow), _) => flow,
                        (None, None) => {
                            self.pos = limit;
                            return true;
                        }
                        (None, Some(at)) => {
                            self.pos = at;
                            self.event(at, limit, closed)
                        }
                    }
                }
                Inner::Container { .. } => self.container(limit, closed),
                Inner::Swallow { until, .. } => self.swallow(*until, limit, closed),
                Inner::Pem { .. } => self.pem(limit, closed),
                Inner::Element { .. } => self.element(limit, closed),
                Inner::List(_) => self.listed_values(limit, closed),
                Inner::Decoded => self.decoded(limit, closed),
                Inner::Sql { .. } => self.sql_values(limit, closed),
            };
            match flow {
                At(next) => {
                    if !text || self.inner != Inner::Text {
                        self.own.leave(next);
                    }
                    self.pos = next;
                }
                More => {
                    self.own_hold();
                    return false;
                }
            }
            // A state that does not move is a fault: it must not hang.
            work::count(1 + self.pos.saturating_sub(before));
            stuck = if self.pos > before { 0 } else { stuck + 1 };
            if stuck > STUCK_MAX {
                self.inner = Inner::Text;
                self.pos = before + 1;
                stuck = 0;
            }
            if self.frame != frame {
                return true;
            }
        }
        self.own_rest(limit, closed)
    }

    /// What the event at `at` means.
    pub(super) fn event(&mut self, at: usize, limit: usize, closed: bool) -> Flow {
        let Some(b) = self.byte(at) else {
            return At(limit);
        };
        match b {
            b'\n' if let Some(flow) = self.streamed_below(at, limit, closed) => flow,
            b'\n' => {
                if self.frame == Frame::Line {
                    self.line_of_lists(at);
                    self.end_line(at);
                } else {
                    self.sink.row += 1;
                    self.line = at + 1;
                    self.line_cut = false;
                }
                At(at + 1)
            }
            b'\r' => {
                match self.byte(at + 1) {
                    None if !closed || at + 1 < limit => return More,
                    Some(b'\n') | None => {}
                    Some(b'\r') => {}
                    Some(_) => {
                        // The cursor went back: what follows is a line of its own.
                        self.line = at + 1;
                        self.line_cut = false;
                        match self.frame {
                            Frame::Line => self.frame = Frame::Start,
                            Frame::Row if self.may_go_back() => self.frame = Frame::Start,
                            // Where this is no row, what stands before it has been read as text.
                            Frame::Row => self.keep_before_row(),
                            Frame::Start | Frame::Block | Frame::Painted => {}
                        }
                    }
                }
                At(at + 1)
            }
            b':' | b'=' => self.separator(at, limit, closed),
            b'0'..=b'9' => {
                let Self { view, rules, .. } = &*self;
                let region = Region {
                    text: view.text.get(..limit).unwrap_or_default(),
                    closed,
                };
                let found = detect::digits(region, at, |d| rules.compiled().detector(d).is_some());
                self.found(found, "detector")
            }
            b'@' => self.detector(Detector::Email, detect::email, at, limit, closed),
            b'J' => match self.slice(at.saturating_sub(2), at) {
                b"ey" => self.detector(
                    Detector::Jwt,
                    |r, i| detect::jwt(r, i - 2),
                    at,
                    limit,
                    closed,
                ),
                _ => At(at + 1),
            },
            b'I' => self.detector(Detector::AwsKey, detect::aws, at, limit, closed),
            b'_' => self.detector(Detector::GithubToken, detect::github, at, limit, closed),
            b'K' => self.private_key(at, limit, closed),
            b'-' if let Some(flow) = self.changed(at, limit, closed) => flow,
            b'-' if let Some(flow) = self.mapped(at, limit, closed) => flow,
            b'-' => match self.slice(at.saturating_sub(4), at) {
                [b'x', b'o', b'x', _] => match self.detector(
                    Detector::SlackToken,
                    |r, i| detect::slack(r, i - 3),
                    at,
                    limit,
                    closed,
                ) {
                    At(next) if next == at + 1 => self.argument(at, limit, closed),
                    flow => flow,
                },
                _ => self.argument(at, limit, closed),
            },
            b'"' | b'\'' => self.quoted_behind(at, limit, closed),
            b';' => self.entity(at, limit, closed),
            0xef => self.wide_colon(at, limit, closed),
            b'\\' => self.escaped_break(at, limit, closed),
            b'>' if let Some(flow) = self.glimpsed(at, limit, closed) => flow,
            b'>' if let Some(flow) = self.unequal(at, limit, closed) => flow,
            b'>' => self.tag(at, limit, closed),
            b'(' if let Some(flow) = self.failing_row(at, limit, closed) => flow,
            b'(' if let Some(flow) = self.duplicate(at, limit, closed) => flow,
            b'(' if let Some(flow) = self.one_of(at, limit, closed) => flow,
            b'(' if let Some(flow) = self.arguments(at) => flow,
            b'[' | b'(' if let Some(flow) = self.list_opens(at, limit, closed) => flow,
            b'(' if let Some(flow) = self.list_pair(at, limit, closed) => flow,
            b'(' => self.insert(at),
            b',' if let Some(flow) = self.string_listed(at, limit, closed) => flow,
            b',' => match self.tuple(at, limit, closed) {
                At(next) if next == at + 1 => {
                    self.listed_name(at);
                    At(next)
                }
                flow => flow,
            },
            b')' => {
                self.listed_name(at);
                At(at + 1)
            }
            b' ' | b'\t' => self.spaced_pair(at, limit, closed),
            b'|' | 0xe2 => self.name_cell(at, limit, closed),
            b'{' | b'[' if self.rules.compiled().has_paths => {
                self.path_push(at);
                At(at + 1)
            }
            b']' | b'}' => {
                if b == b']' {
                    if let Some(flow) = self.streamed(at, limit, closed) {
                        return flow;
                    }
                    self.listed_name(at);
                }
                if self.rules.compiled().has_paths
                    && let Some((Level::Brace, _)) = self.path.last()
                {
                    self.path.pop();
                }
                At(at + 1)
            }
            _ => At(at + 1),
        }
    }

    pub(super) fn more(&mut self, hold: usize) -> Flow {
        self.hold = self.hold.min(hold);
        More
    }

    /// The same, for a detector.
    pub(super) fn more_to_detect(&mut self, hold: usize) -> Flow {
        self.detects = self.hold == usize::MAX;
        self.more(hold)
    }

    pub(super) fn detector(
        &mut self,
        detector: Detector,
        look: impl Fn(Region<'_>, usize) -> Found,
        at: usize,
        limit: usize,
        closed: bool,
    ) -> Flow {
        if self.rules.compiled().detector(detector).is_none() {
            return At(at + 1);
        }
        let text = self.slice(0, limit);
        match look(Region { text, closed }, at) {
            // Whatever it is, it cannot be that long.
            Found::More(from) if limit - from > 8192 => {
                let Some(hit) = self.rules.compiled().detector(detector) else {
                    return At(at + 1);
                };
                self.mask(from, limit, hit, Place::Inside, "detector");
                self.swallow_until(Until::Bare);
                At(limit)
            }
            Found::No(next) => At(next.max(at + 1)),
            found => self.found(found, "detector"),
        }
    }

    pub(super) fn found(&mut self, found: Found, format: &'static str) -> Flow {
        match found {
            Found::No(next) => At(next.max(self.pos + 1)),
            Found::More(from) => self.more_to_detect(from),
            Found::Value(from, to, detector) => {
                if let Some(hit) = self.rules.compiled().detector(detector) {
                    let place = if self.is_json_number(from, to) {
                        Place::Literal
                    } else {
                        self.detected_place(from)
                    };
                    self.mask(from, to, hit, place, format);
                }
                At(to)
            }
        }
    }

    /// A bare number that stands where JSON wants a value.
    fn is_json_number(&self, from: usize, to: usize) -> bool {
        if !self.slice(from, to).iter().all(u8::is_ascii_digit) {
            return false;
        }
        let before = self.slice(from.saturating_sub(64), from).trim_ascii_end();
        before.ends_with(b"\":") || before.ends_with(b"[")
    }

    /// In a terminal and in tables the width stays.
    pub(super) fn detected_place(&self, from: usize) -> Place {
        let table = matches!(
            self.table.as_ref().map(|t| t.kind),
            Some(Kind::Aligned { .. } | Kind::Spaced | Kind::Ruled | Kind::Expanded)
        );
        let piped = self
            .slice(self.line_floor(from), from)
            .iter()
            .any(|b| matches!(b, b'|' | 0xe2));
        if table || piped {
            Place::Cell
        } else {
            Place::Inside
        }
    }
}
