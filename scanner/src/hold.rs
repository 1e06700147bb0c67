//! The frontier of rules that withhold.
//!
//! # For whoever performs the steps
//!
//! **Without a terminal** (`Options::pty` is false) output leaves record by record, whole or not
//! at all: a line, an element of the outermost JSON array, a JSON value over several lines, … (see
//! `record.rs`). The first record with a value of a rule that holds, or the first data row under a
//! header that names a held column, opens a hold:
//!
//! 1. [`Step::Hold`] says which rule and which field. From there on every byte of both streams
//!    comes as [`Step::Held`] of that rule, records that were not whole first. The bytes have the
//!    masks of all other rules; values of *other* rules that hold are redacted in them, since the
//!    approvers of one rule do not speak for another's.
//! 2. When the caller has sealed what came (quiet, end, client left), it calls
//!    [`Scanner::resume`](crate::Scanner::resume) where the output goes on: what comes later is
//!    read anew and may open a new hold. A value that is being read stays known, a table whose
//!    header named a held column holds its next row again, and the rest of a record whose
//!    beginning was held is held again.
//! 3. At the output's end there is no further step: [`Scanner::end`](crate::Scanner::end) hands
//!    out what was undecided as `Held`.
//!
//! A record that grows over the limit ([`Scanner::with_record_max`](crate::Scanner::with_record_max))
//! is held from its beginning, under the first rule that holds, as the field `record too long`.
//!
//! **With a terminal** the output goes on. A held value is replaced in place by `‹held ID›`, padded
//! to the width of its cell; where that does not fit by stars, with `‹held ID›` at the end of the
//! row; where JSON wants a value, by a string. The text for ID comes from the function that was
//! given with [`Scanner::with_hold_ids`](crate::Scanner::with_hold_ids), which is asked once for
//! each hold. Steps then are:
//!
//! 1. [`Step::Hold`] opens a hold: one for each rule between two Enters of the user.
//! 2. [`Step::Held`] with the same rule hands out each row (line) with such a value, with that
//!    rule's values in the clear and everybody else's masked or replaced.
//! 3. [`Step::Sealed`] says that the hold is whole: the user pressed Enter
//!    ([`Scanner::typed`](crate::Scanner::typed)), the output ended, or `resume` was called (for
//!    a hold that became too large).
//!
//! A rule for the whole output ([`Scope::Output`](crate::Scope::Output)) and unreadable output that
//! is to be held withhold everything in either case, as without a terminal.
//!
//! `Refuse` ends everything: no step follows.

mod ids;
mod record;
mod rows;

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::lane::Lane;
use crate::rules::{Rules, Unreadable};
use crate::sink::Left;
use crate::{Masked, Step, Stream};

pub(crate) use ids::{Held, Holds};
pub(crate) use record::{Ends, Record};
pub(crate) use rows::Rows;

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

/// The rule of a hold that no rule asked for: unreadable output.
const UNREADABLE: u16 = u16::MAX;

/// Stands between the lanes and the caller.
#[derive(Debug)]
pub(crate) struct Frontier {
    rules: Rules,
    holds: Holds,
    /// Records that are not whole.
    pending: [BytesMut; 2],
    pty: bool,
    state: State,
    held: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything passes at once: no rule withholds, or values are replaced in place.
    Open,
    /// Records are gathered.
    Records,
    Holding {
        rule: u16,
    },
    Refused,
}

impl Frontier {
    pub(crate) fn new(rules: &Rules, pty: bool) -> Self {
        Self {
            rules: rules.clone(),
            holds: Holds::new(pty, rules.compiled().hold_output),
            pending: Default::default(),
            pty,
            state: Self::at_first(rules, pty),
            held: 0,
        }
    }

    fn at_first(rules: &Rules, pty: bool) -> State {
        if rules.compiled().hold_output.is_some() || (rules.may_hold() && !pty) {
            State::Records
        } else {
            State::Open
        }
    }

    pub(crate) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Bytes that were withheld for a decision.
    pub(crate) fn held(&self) -> u64 {
        self.held + self.pending.iter().map(|p| p.len() as u64).sum::<u64>()
    }

    /// Takes what `lane` let go.
    pub(crate) fn take(&mut self, lane: &mut Lane, stream: Stream, steps: &mut VecDeque<Step>) {
        // No rule withholds where these are.
        steps.extend(lane.take_shared().into_iter().map(|bytes| Step::Pass {
            stream,
            bytes: Masked(bytes),
        }));
        let mut left = lane.take();
        if self.state == State::Refused {
            self.held += left.bytes.len() as u64;
            return;
        }
        for hit in left.opened.drain(..) {
            steps.push_back(Step::Hold {
                rule: hit.rule,
                field: self.rules.compiled().what(hit).to_owned(),
            });
        }
        let refuse = left.refuse;
        if let Some((at, _)) = refuse {
            self.held += (left.bytes.len() - at) as u64;
            left.bytes.truncate(at);
            left.whole = left.whole.map(|whole| whole.min(at));
        }
        let rows = std::mem::take(&mut left.rows);
        self.forward(stream, left, steps);
        for (rule, bytes) in rows {
            steps.push_back(Step::Held {
                rule,
                stream,
                bytes: Withheld(bytes),
            });
        }
        if let Some((_, hit)) = refuse {
            self.state = State::Refused;
            steps.push_back(Step::Refuse {
                rule: Some(hit.rule),
                field: self.rules.compiled().what(hit).to_owned(),
            });
        }
    }

    fn forward(&mut self, stream: Stream, left: Left, steps: &mut VecDeque<Step>) {
        if self.state == State::Records
            && !left.bytes.is_empty()
            && let Some(rule) = self.rules.compiled().hold_output
        {
            self.begin(rule, "output", steps);
        }
        match self.state {
            State::Refused => self.held += left.bytes.len() as u64,
            State::Open => pass(stream, left.bytes, steps),
            State::Holding { rule } => self.withhold(rule, stream, left.bytes, steps),
            State::Records => self.gather(stream, left, steps),
        }
    }

    fn pending(&mut self, stream: Stream) -> &mut BytesMut {
        let [stdout, stderr] = &mut self.pending;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    fn gather(&mut self, stream: Stream, mut left: Left, steps: &mut VecDeque<Step>) {
        let pending = self.pending(stream);
        if let Some(whole) = left.whole {
            let rest = left.bytes.split_off(whole);
            pending.extend_from_slice(&left.bytes);
            let whole = pending.split().freeze();
            pending.extend_from_slice(&rest);
            pass(stream, whole, steps);
        } else {
            pending.extend_from_slice(&left.bytes);
        }
        if let Some(stop) = left.hold {
            self.begin(stop.rule, &stop.field, steps);
        }
    }

    /// From here on everything is withheld, first of all the records that are not whole.
    fn begin(&mut self, rule: u16, field: &str, steps: &mut VecDeque<Step>) {
        self.state = State::Holding { rule };
        self.holds.own(rule, field);
        steps.push_back(Step::Hold {
            rule,
            field: field.to_owned(),
        });
        for stream in [Stream::Stdout, Stream::Stderr] {
            let bytes = self.pending(stream).split().freeze();
            self.withhold(rule, stream, bytes, steps);
        }
    }

    fn withhold(&mut self, rule: u16, stream: Stream, bytes: Bytes, steps: &mut VecDeque<Step>) {
        if !bytes.is_empty() {
            self.held += bytes.len() as u64;
            steps.push_back(Step::Held {
                rule,
                stream,
                bytes: Withheld(bytes),
            });
        }
    }

    /// Withholds bytes that nobody has read.
    pub(crate) fn hold(
        &mut self,
        rule: u16,
        stream: Stream,
        bytes: Bytes,
        steps: &mut VecDeque<Step>,
    ) {
        if self.state == State::Records {
            self.begin(rule, "output", steps);
        }
        self.withhold(rule, stream, bytes, steps);
    }

    /// What comes next cannot be read as text.
    pub(crate) fn unreadable(&mut self, policy: Unreadable, steps: &mut VecDeque<Step>) {
        if self.state == State::Records
            && let Some(rule) = self.rules.compiled().hold_output
        {
            // It is held whatever it looks like.
            self.begin(rule, "output", steps);
            return;
        }
        match (policy, self.state) {
            (Unreadable::Pass, _) | (_, State::Holding { .. } | State::Refused) => {}
            (Unreadable::Hold, State::Open | State::Records) => {
                self.begin(UNREADABLE, "unreadable", steps);
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

    /// What was held so far has been sealed: what comes is read anew.
    pub(crate) fn resume(&mut self) {
        if matches!(self.state, State::Holding { .. }) {
            self.state = Self::at_first(&self.rules, self.pty);
            self.holds.disown(self.rules.compiled().hold_output);
        }
    }

    /// Closes the holds of values that were replaced in place.
    pub(crate) fn seal(&mut self, steps: &mut VecDeque<Step>) {
        for rule in self.holds.close() {
            steps.push_back(Step::Sealed { rule });
        }
    }

    /// The output has ended: unfinished records are whole.
    pub(crate) fn end(&mut self, steps: &mut VecDeque<Step>) {
        if self.state == State::Records {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let bytes = self.pending(stream).split().freeze();
                pass(stream, bytes, steps);
            }
        }
        self.seal(steps);
    }
}

fn pass(stream: Stream, bytes: Bytes, steps: &mut VecDeque<Step>) {
    if !bytes.is_empty() {
        steps.push_back(Step::Pass {
            stream,
            bytes: Masked(bytes),
        });
    }
}
