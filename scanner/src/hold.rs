//! The frontier of rules that withhold: records leave whole or not at all.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::lane::Lane;
use crate::rules::{Action, Hit, Rules, Unreadable};
use crate::{Masked, Step, Stream};

/// Bytes that may only leave after a decision: after mask rules, with held fields in the clear.
pub struct Withheld(Bytes);

impl Withheld {
    /// The bytes, for the spool that seals them.
    pub fn into_sealed_payload(self) -> Bytes {
        self.0
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Withheld({} bytes)", self.0.len())
    }
}

/// A record that is longer is withheld from there.
const RECORD_MAX: usize = 1 << 20;

/// Stands between the lanes and the caller.
#[derive(Debug)]
pub(crate) struct Frontier {
    rules: Rules,
    records: [Record; 2],
    state: State,
    held: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No rule withholds: everything passes at once.
    Open,
    /// Records are gathered.
    Records,
    Holding,
    Refused,
}

/// What has been gathered of one record, and where in JSON it is.
#[derive(Debug, Default)]
struct Record {
    bytes: BytesMut,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The outermost array: its elements are records.
    in_array: bool,
    at_start: bool,
}

impl Frontier {
    pub(crate) fn new(rules: &Rules) -> Self {
        let state = if rules.compiled().hold_any {
            State::Records
        } else {
            State::Open
        };
        Self {
            rules: rules.clone(),
            records: [Record::new(), Record::new()],
            state,
            held: 0,
        }
    }

    /// Bytes that were withheld for a decision.
    pub(crate) fn held(&self) -> u64 {
        self.held
            + self
                .records
                .iter()
                .map(|r| r.bytes.len() as u64)
                .sum::<u64>()
    }

    /// Takes what `lane` let go.
    pub(crate) fn take(&mut self, lane: &mut Lane, stream: Stream, steps: &mut VecDeque<Step>) {
        let (bytes, stops) = lane.take();
        let refused = stops
            .iter()
            .find(|(_, hit)| self.rules.compiled().action(*hit) == Action::Refuse);
        if let Some((_, hit)) = refused
            && self.state != State::Refused
        {
            self.state = State::Refused;
            let field = self.rules.compiled().what(*hit).to_owned();
            steps.push_back(Step::Refuse {
                rule: Some(hit.rule),
                field,
            });
        }
        if bytes.is_empty() {
            return;
        }
        if self.state == State::Records
            && let Some(rule) = self.rules.compiled().hold_output
        {
            self.begin(rule, "output", steps);
        }
        match self.state {
            State::Refused => self.held += bytes.len() as u64,
            State::Open => steps.push_back(Step::Pass {
                stream,
                bytes: Masked(bytes),
            }),
            State::Holding => self.withhold(stream, bytes, steps),
            State::Records => self.gather(stream, &bytes, &stops, steps),
        }
    }

    fn gather(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        stops: &[(usize, Hit)],
        steps: &mut VecDeque<Step>,
    ) {
        let stop = stops.first();
        let limit = stop.map_or(bytes.len(), |(at, _)| *at);
        let (free, rest) = bytes.split_at(limit.min(bytes.len()));
        let [stdout, stderr] = &mut self.records;
        let record = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        let done = record.add(free);
        if !done.is_empty() {
            steps.push_back(Step::Pass {
                stream,
                bytes: Masked(done),
            });
        }
        let too_long = record.bytes.len() > RECORD_MAX;
        let hit = stop.map(|(_, hit)| *hit);
        if let Some(hit) = hit {
            let field = self.rules.compiled().what(hit).to_owned();
            self.begin(hit.rule, &field, steps);
            self.withhold(stream, Bytes::copy_from_slice(rest), steps);
        } else if too_long {
            let rule = self
                .rules
                .compiled()
                .rules
                .iter()
                .position(|r| matches!(r.action(), Action::Hold(_)));
            self.begin(
                rule.and_then(|r| u16::try_from(r).ok()).unwrap_or(0),
                "record too long",
                steps,
            );
        }
    }

    /// From here on everything is withheld, first of all the records that are not whole.
    fn begin(&mut self, rule: u16, field: &str, steps: &mut VecDeque<Step>) {
        self.state = State::Holding;
        steps.push_back(Step::Hold {
            rule,
            field: field.to_owned(),
        });
        for (k, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let bytes = self
                .records
                .get_mut(k)
                .map(|r| r.bytes.split().freeze())
                .unwrap_or_default();
            if !bytes.is_empty() {
                self.withhold(stream, bytes, steps);
            }
        }
    }

    fn withhold(&mut self, stream: Stream, bytes: Bytes, steps: &mut VecDeque<Step>) {
        if !bytes.is_empty() {
            self.held += bytes.len() as u64;
            steps.push_back(Step::Held {
                stream,
                bytes: Withheld(bytes),
            });
        }
    }

    /// What comes next cannot be read as text.
    pub(crate) fn unreadable(&mut self, policy: Unreadable, steps: &mut VecDeque<Step>) {
        match (policy, self.state) {
            (Unreadable::Pass, _) | (_, State::Holding | State::Refused) => {}
            (Unreadable::Hold, State::Open | State::Records) => {
                self.begin(u16::MAX, "unreadable", steps);
            }
            (Unreadable::Refuse, State::Open | State::Records) => {
                self.state = State::Refused;
                steps.push_back(Step::Refuse {
                    rule: None,
                    field: "unreadable".to_owned(),
                });
            }
        }
    }

    /// The output has ended: unfinished records are whole.
    pub(crate) fn end(&mut self, steps: &mut VecDeque<Step>) {
        if self.state != State::Records {
            return;
        }
        for (k, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let bytes = self
                .records
                .get_mut(k)
                .map(|r| r.bytes.split().freeze())
                .unwrap_or_default();
            if !bytes.is_empty() {
                steps.push_back(Step::Pass {
                    stream,
                    bytes: Masked(bytes),
                });
            }
        }
    }
}

impl Record {
    fn new() -> Self {
        Self {
            at_start: true,
            ..Self::default()
        }
    }

    /// Adds bytes, and gives back the records that are whole now.
    fn add(&mut self, bytes: &[u8]) -> Bytes {
        let had = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let mut whole = 0;
        for (k, b) in bytes.iter().enumerate() {
            if self.ends(*b) {
                whole = had + k + 1;
            }
        }
        self.bytes.split_to(whole).freeze()
    }

    /// Whether a record ends with this byte.
    fn ends(&mut self, b: u8) -> bool {
        if self.depth == 0 {
            let opens = self.at_start && matches!(b, b'{' | b'[');
            if opens {
                self.depth = 1;
                self.in_array = b == b'[';
                return self.in_array;
            }
            self.at_start = b == b'\n' || (self.at_start && b.is_ascii_whitespace());
            return b == b'\n';
        }
        if self.in_string {
            self.in_string = self.escaped || b != b'"';
            self.escaped = !self.escaped && b == b'\\';
            return false;
        }
        match b {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                self.at_start = self.depth == 0;
            }
            _ => {}
        }
        let elements = usize::from(self.in_array);
        (matches!(b, b'}' | b']' | b',') && self.depth == elements && self.in_array)
            || self.depth == 0
    }
}
