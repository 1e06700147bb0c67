//! What rules make of an output, for those who write them: test, explain, dry-run.
//!
//! Runs the scanner over bytes that are at hand. What comes out stays with the person who brought
//! the input; no session uses this.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use scanner::{Coverage, Options, Raw, Rules, Scanner, Step, Stream};

/// What became of an output.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// What left, both streams in the order in which it did.
    pub(crate) passed: Vec<u8>,
    /// What was withheld for a decision, after the masks of other rules.
    pub(crate) held: Vec<u8>,
    pub(crate) outcome: Outcome,
    /// What rules found, in the order of the output.
    pub(crate) found: Vec<Found>,
    pub(crate) coverage: Coverage,
}

/// How an output ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it left.
    #[default]
    Passed,
    /// A rule holds it, or a part of it; no name where it was unreadable.
    Held { rule: Option<String>, field: String },
    /// A rule ended it; no name where it was unreadable.
    Refused { rule: Option<String>, field: String },
}

impl Outcome {
    /// In a word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Held { .. } => "held",
            Self::Refused { .. } => "refused",
        }
    }

    /// The rule that decided it; `unreadable` where none did.
    pub(crate) fn rule(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Held { rule, .. } | Self::Refused { rule, .. } => {
                Some(rule.as_deref().unwrap_or("unreadable"))
            }
        }
    }
}

/// One value that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) rule: String,
    /// The field as the policy writes it, or the detector.
    pub(crate) field: String,
    /// How it was recognised: `json`, `csv`, `detector`, …
    pub(crate) format: &'static str,
    pub(crate) stream: Stream,
    /// Its bytes in that stream.
    pub(crate) bytes: Range<u64>,
}

impl Found {
    /// Whether they are about the same bytes, or some of them.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.stream == other.stream
            && self.bytes.start < other.bytes.end.max(other.bytes.start + 1)
            && other.bytes.start < self.bytes.end.max(self.bytes.start + 1)
    }
}

/// Sends `output` through the scanner.
pub(crate) fn run(
    rules: &Arc<Rules>,
    pty: bool,
    output: impl IntoIterator<Item = (Stream, Bytes)>,
) -> Trial {
    let mut trial = Trial::default();
    let mut scanner = Scanner::new(Arc::clone(rules), Options { pty });
    for (stream, mut bytes) in output {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            scanner.feed(stream, Raw::new(piece));
            trial.take(&mut scanner, rules);
        }
    }
    scanner.end();
    trial.take(&mut scanner, rules);
    trial.coverage = scanner.coverage();
    trial
}

impl Trial {
    fn take(&mut self, scanner: &mut Scanner, rules: &Rules) {
        let name = |rule: u16| rules.rule_name(rule).map(str::to_owned);
        while let Some(step) = scanner.next_step() {
            match step {
                Step::Pass { bytes, .. } if !matches!(self.outcome, Outcome::Refused { .. }) => {
                    self.passed.extend_from_slice(bytes.as_bytes());
                }
                Step::Hold { rule, field, .. } if self.outcome == Outcome::Passed => {
                    let rule = name(rule);
                    self.outcome = Outcome::Held { rule, field };
                }
                Step::Held { bytes, .. } => {
                    self.held.extend_from_slice(&bytes.into_sealed_payload());
                }
                Step::Refuse { rule, field } => {
                    let rule = rule.and_then(name);
                    self.outcome = Outcome::Refused { rule, field };
                }
                _ => {}
            }
        }
        let verdicts = scanner.take_verdicts();
        self.found.extend(verdicts.map(|verdict| Found {
            rule: name(verdict.rule).unwrap_or_default(),
            field: verdict.field,
            format: verdict.format,
            stream: verdict.stream,
            bytes: verdict.offset..verdict.offset + verdict.length,
        }));
    }
}

/// The scanner keeps the verdicts of one piece; this many bytes have no more than it keeps.
const PIECE: usize = 16 * 1024;
