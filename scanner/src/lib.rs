//! Bytes from a target go in, bytes that may leave come out.
//!
//! The scanner is a pure function of the bytes: it reads no clock, file or socket, and how the
//! bytes were cut into pieces never changes what comes out. A protected value is found by its
//! name in structured output, or by its form; see `docs/scanner.md` for what is recognised.

mod canvas;
mod detect;
mod endings;
mod find;
mod hold;
mod joint;
mod lane;
mod mask;
mod name;
mod noted;
mod own;
mod rules;
mod simd;
mod sink;
mod suspect;
mod table;
mod term;
mod unreadable;
mod value;
mod work;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use hold::Frontier;
pub use hold::Withheld;
use joint::{Joint, Next};
use lane::Lane;
pub use own::{Checksum, OWN_MATCH_MAX};
use rules::Hit;
pub use rules::{Action, Detector, Mask, Rule, RuleError, Rules, RulesBuilder, Scope, Unreadable};

/// Bytes as the target sent them. Only the scanner looks inside.
#[derive(Clone)]
pub struct Raw(Bytes);

impl Raw {
    /// Marks `bytes` as not scanned yet.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
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

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

/// Bytes that the rules have let through. Only the scanner makes one.
#[derive(Clone)]
pub struct Masked(Bytes);

impl Masked {
    /// The bytes, for a writer.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for a writer that takes them without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Leaves out the first `bytes`, at most all of them.
    pub fn skip(&mut self, bytes: usize) {
        self.0.advance(bytes.min(self.0.len()));
    }

    /// Takes the first `bytes` away, at most all of them; the rest stays. Nothing is copied.
    #[must_use]
    pub fn split_to(&mut self, bytes: usize) -> Self {
        Self(self.0.split_to(bytes.min(self.0.len())))
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

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masked({} bytes)", self.0.len())
    }
}

/// Which of a channel's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and everything where there is a pty.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a channel's output is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The output is a terminal's.
    pub pty: bool,
}

/// A way through the bytes, see [`Scanner::with_way`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each byte is looked at: the specification.
    Bytes,
    /// Blocks are skimmed, in pieces of any size: 0 without vector instructions, then with those
    /// that this CPU has.
    Blocks(usize),
}

/// What the caller has to do next.
#[derive(Debug)]
pub enum Step {
    /// These bytes may leave.
    Pass {
        /// On which stream.
        stream: Stream,
        /// The bytes.
        bytes: Masked,
    },
    /// A hold begins: from here on everything is withheld, or (in a terminal) values are replaced
    /// where they stand. The module `hold` says what follows.
    Hold {
        /// The rule, see [`Rules::rule_name`]; `u16::MAX` where unreadable output is held.
        rule: u16,
        /// The field or detector that was hit first; `output` where the rule holds everything.
        field: String,
    },
    /// These bytes may only leave after a decision. They keep the masks of the other rules.
    Held {
        /// The rule of the hold that they are part of.
        rule: u16,
        /// On which stream they would leave.
        stream: Stream,
        /// The bytes.
        bytes: Withheld,
    },
    /// In a terminal: the hold of this rule is whole, and nothing more comes for it.
    Sealed {
        /// The rule.
        rule: u16,
    },
    /// A rule refuses this output: nothing more comes, the command is to be stopped.
    Refuse {
        /// The rule, see [`Rules::rule_name`]; `None` where unreadable output is refused.
        rule: Option<u16>,
        /// The field or detector that was hit.
        field: String,
    },
}

/// One value that a rule covered: for markers, explanations and the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule, see [`Rules::rule_name`].
    pub rule: u16,
    /// The field as the policy writes it, or the detector.
    pub field: String,
    /// How it was recognised: `json`, `csv`, `table`, `key-value`, `markup`, `sql`, `detector`, …
    pub format: &'static str,
    /// On which stream.
    pub stream: Stream,
    /// Where the value began, in bytes of that stream as the target sent it.
    pub offset: u64,
    /// How many bytes it had.
    pub length: u64,
    /// The line, counted from 0.
    pub row: u64,
}

/// Verdicts, those of standard output first. Names are written out as they are taken.
#[derive(Debug)]
pub struct Verdicts {
    rules: Arc<Rules>,
    stdout: noted::IntoIter,
    stderr: noted::IntoIter,
}

impl Iterator for Verdicts {
    type Item = Verdict;

    fn next(&mut self) -> Option<Verdict> {
        let (stream, noted) = match self.stdout.next() {
            Some(noted) => (Stream::Stdout, noted),
            None => (Stream::Stderr, self.stderr.next()?),
        };
        Some(Verdict {
            rule: noted.hit.rule,
            field: self.rules.compiled().what(noted.hit).to_owned(),
            format: noted.format,
            stream,
            offset: noted.offset,
            length: noted.length,
            row: noted.row,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let size = self.stdout.len() + self.stderr.len();
        (size, Some(size))
    }
}

impl ExactSizeIterator for Verdicts {}

/// What became of the bytes so far; the sum is the bytes fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Left as they came.
    pub passed: u64,
    /// Replaced.
    pub masked: u64,
    /// Withheld for a decision, or not decided yet.
    pub held: u64,
    /// Left as they came, though nobody can read them.
    pub unreadable: u64,
}

/// So much is looked at in one go, and what is left behind it where that is little: twice as much
/// where nothing is open, since each slice has a price of its own.
const SLICE: usize = 32 * 1024;

/// Scans one channel's output.
#[derive(Debug)]
pub struct Scanner {
    rules: Arc<Rules>,
    stdout: Lane,
    stderr: Lane,
    frontier: Frontier,
    /// Both streams in the order in which they came, where detectors look at them.
    joint: Option<Joint>,
    steps: VecDeque<Step>,
    pty: bool,
    fed: u64,
    /// Bytes that passed though nobody can read them.
    unreadable: u64,
    watches: [unreadable::Watch; 2],
    idle: Coverage,
}

impl Scanner {
    /// A scanner for one channel.
    pub fn new(rules: Arc<Rules>, options: Options) -> Self {
        let frontier = Frontier::new(&rules, options.pty);
        let holds = frontier.holds().clone();
        let lane = || Lane::new(Rules::clone(&rules), options.pty, holds.clone());
        Self {
            stdout: lane(),
            stderr: lane(),
            frontier,
            joint: rules.forms().filter(|_| !options.pty).map(Joint::new),
            rules,
            pty: options.pty,
            steps: VecDeque::new(),
            fed: 0,
            unreadable: 0,
            watches: Default::default(),
            idle: Coverage::default(),
        }
    }

    /// Makes tokens and formats of this session differ from those of every other one. Without it
    /// they are the same in all, which lets a user test guesses, as stable tokens always do.
    #[must_use]
    pub fn with_session(mut self, session: &[u8]) -> Self {
        self.stdout.set_session(session);
        self.stderr.set_session(session);
        self
    }

    /// A longer record is held from its beginning, where a rule holds (1 MiB by default).
    #[must_use]
    pub fn with_record_max(mut self, bytes: usize) -> Self {
        self.stdout.set_record_max(bytes);
        self.stderr.set_record_max(bytes);
        self
    }

    /// Gives the name of a hold that begins in a terminal, such as `H-7K3QX9`: it is asked once
    /// for each hold, with the rule. Printable text of at most 32 columns.
    #[must_use]
    pub fn with_hold_ids(self, ids: impl FnMut(u16) -> String + Send + 'static) -> Self {
        self.frontier.holds().set_ids(Box::new(ids));
        self
    }

    /// Takes a certain way through the bytes. All give the same; this is for the tests that say so.
    #[must_use]
    pub fn with_way(mut self, way: Way) -> Self {
        let widths = simd::Width::all();
        let width = match way {
            Way::Bytes => None,
            Way::Blocks(n) => widths.get(n).or(widths.last()).copied(),
        };
        self.stdout.set_width(width);
        self.stderr.set_width(width);
        self
    }

    /// Takes what the target sent on `stream`.
    pub fn feed(&mut self, stream: Stream, raw: Raw) {
        if raw.is_empty() {
            return;
        }
        self.fed += raw.len() as u64;
        if self.rules.is_empty() {
            self.idle.passed += raw.len() as u64;
            self.steps.push_back(Step::Pass {
                stream,
                bytes: Masked(raw.0),
            });
            return;
        }
        if let Some(rule) = self.rules.hold_unread() {
            self.frontier.hold(rule, stream, raw.0, &mut self.steps);
            return;
        }
        let policy = self.rules.compiled().unreadable;
        let mut rest = raw.0;
        if policy == Unreadable::Pass {
            // What is unreadable is only counted: while the bytes are at hand.
            self.piece(stream, rest.clone());
            self.unreadable += self.watch(stream, &rest).count as u64;
            return;
        }
        let seen = self.watch(stream, &rest);
        let bad = (simd::unreadable(simd::Width::best(), &rest) > 0)
            .then(|| rest.iter().position(|b| simd::is_unreadable(*b)))
            .flatten();
        if let Some(at) = bad.into_iter().chain(seen.first).min() {
            let before = rest.split_to(at);
            self.piece(stream, before);
            self.settle(true);
            self.frontier.unreadable(policy, &mut self.steps);
        }
        self.piece(stream, rest);
    }

    /// What is unreadable in a piece because of what it is a part of.
    fn watch(&mut self, stream: Stream, piece: &[u8]) -> unreadable::Seen {
        let [stdout, stderr] = &mut self.watches;
        match stream {
            Stream::Stdout => stdout.take(piece),
            Stream::Stderr => stderr.take(piece),
        }
    }

    fn piece(&mut self, stream: Stream, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.joint {
            Some(joint) => {
                joint.push(stream, bytes);
                self.settle(false);
            }
            None => self.read(stream, &bytes),
        }
    }

    /// Reads what need not wait for what the other stream brings; at the `end` all of it.
    fn settle(&mut self, end: bool) {
        while let Some(joint) = &mut self.joint
            && let Some(next) = joint.next(&self.stdout, &self.stderr, end)
        {
            match next {
                Next::Read(stream, bytes) => self.read(stream, &bytes),
                Next::Value(stream, hit, parts) => {
                    self.cover(stream, &[], hit);
                    for (stream, bytes) in parts {
                        self.cover(stream, &bytes, hit);
                    }
                }
                Next::Endless(stream, parts) => {
                    let Some(hit) = self.rules.compiled().any() else {
                        continue;
                    };
                    self.cover(stream, &[], hit);
                    for (stream, bytes) in parts {
                        self.cover(stream, &bytes, hit);
                    }
                    self.stdout.swallow_line();
                    self.stderr.swallow_line();
                }
            }
        }
    }

    /// Masks what `stream` has not decided, and `bytes`, as parts of a value on both.
    fn cover(&mut self, stream: Stream, bytes: &[u8], hit: Hit) {
        let lane = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        lane.mask_undecided(bytes, hit);
        self.frontier.take(lane, stream, &mut self.steps);
    }

    /// Looks at a piece slice by slice: what is made out of it to look at it is as large as that,
    /// whatever the caller reads at once. Slices end with lines where they can.
    fn read(&mut self, stream: Stream, bytes: &Bytes) {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let lane = match stream {
                Stream::Stdout => &self.stdout,
                Stream::Stderr => &self.stderr,
            };
            let most = if lane.rests() { 2 * SLICE } else { SLICE };
            let size = match rest.get(..most) {
                Some(near) if rest.len() > most + most / 16 => {
                    memchr::memrchr(b'\n', near).map_or(most, |at| at + 1)
                }
                _ => rest.len(),
            };
            let slice = rest.split_to(size);
            self.read_slice(stream, &slice);
        }
    }

    fn read_slice(&mut self, stream: Stream, bytes: &Bytes) {
        let lane = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let unreadable = lane.feed(bytes);
        if self.rules.compiled().unreadable == Unreadable::Pass {
            self.unreadable += unreadable as u64;
        }
        self.frontier.take(lane, stream, &mut self.steps);
    }

    /// Takes what the user typed, whose exact echo passes without delay. In a terminal the holds
    /// that are open end with Enter.
    pub fn typed(&mut self, bytes: &[u8]) {
        if self.rules.is_empty() {
            return;
        }
        self.stdout.typed(bytes);
        if self.pty && bytes.iter().any(|b| matches!(b, b'\r' | b'\n')) {
            self.seal();
        }
    }

    /// What was held so far has been sealed: what comes from here on is read anew, and may open a
    /// new hold.
    pub fn resume(&mut self) {
        self.seal();
        self.frontier.resume();
    }

    /// The holds of values that were replaced in place end here.
    fn seal(&mut self) {
        for (lane, stream) in [
            (&mut self.stdout, Stream::Stdout),
            (&mut self.stderr, Stream::Stderr),
        ] {
            lane.seal();
            self.frontier.take(lane, stream, &mut self.steps);
        }
        self.frontier.seal(&mut self.steps);
    }

    /// The target's output has ended: everything undecided is decided.
    pub fn end(&mut self) {
        if self.rules.is_empty() {
            return;
        }
        self.settle(true);
        for (lane, stream) in [
            (&mut self.stdout, Stream::Stdout),
            (&mut self.stderr, Stream::Stderr),
        ] {
            lane.end();
            lane.seal();
            self.frontier.take(lane, stream, &mut self.steps);
        }
        self.frontier.end(&mut self.steps);
    }

    /// The next step to perform, until there is none.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The verdicts since the last call. At most 4096 of each stream are kept in between.
    pub fn take_verdicts(&mut self) -> Verdicts {
        Verdicts {
            rules: Arc::clone(&self.rules),
            stdout: self.stdout.take_verdicts().into_iter(),
            stderr: self.stderr.take_verdicts().into_iter(),
        }
    }

    /// The account so far; what is not decided yet counts as held.
    pub fn coverage(&self) -> Coverage {
        let [a, b] = [self.stdout.coverage(), self.stderr.coverage()];
        let mut sum = Coverage {
            passed: self.idle.passed + a.passed + b.passed,
            masked: a.masked + b.masked,
            held: 0,
            unreadable: 0,
        };
        sum.held = self.frontier.held().min(sum.passed);
        sum.passed -= sum.held;
        sum.unreadable = self.unreadable.min(sum.passed);
        sum.passed -= sum.unreadable;
        sum.held += self
            .fed
            .saturating_sub(sum.passed + sum.masked + sum.unreadable + sum.held);
        sum
    }
}
