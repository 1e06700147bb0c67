//! Bytes from a target go in, bytes that may leave come out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Bytes as the target sent them. Only the scanner looks inside.
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

/// Compiled rules: what is protected, and what becomes of it.
#[derive(Debug, Default)]
pub struct Rules {}

impl Rules {
    /// Nothing is protected.
    pub fn none() -> Self {
        Self::default()
    }
}

/// How a channel's output is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The output is a terminal's.
    pub pty: bool,
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
}

/// What became of the bytes so far; the sum is the bytes fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Left as they came.
    pub passed: u64,
    /// Replaced.
    pub masked: u64,
    /// Withheld for a decision.
    pub held: u64,
    /// Not readable as text.
    pub unreadable: u64,
}

/// Scans one channel's output.
#[derive(Debug)]
pub struct Scanner {
    rules: Arc<Rules>,
    options: Options,
    steps: VecDeque<Step>,
    coverage: Coverage,
}

impl Scanner {
    /// A scanner for one channel.
    pub fn new(rules: Arc<Rules>, options: Options) -> Self {
        Self {
            rules,
            options,
            steps: VecDeque::new(),
            coverage: Coverage::default(),
        }
    }

    /// Takes what the target sent on `stream`.
    pub fn feed(&mut self, stream: Stream, raw: Raw) {
        let _ = (&self.rules, self.options);
        self.coverage.passed += raw.len() as u64;
        self.steps.push_back(Step::Pass {
            stream,
            bytes: Masked(raw.0),
        });
    }

    /// Takes what the user typed, whose exact echo passes without delay.
    pub fn typed(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// The target's output has ended: everything undecided is decided.
    pub fn end(&mut self) {}

    /// The next step to perform, until there is none.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The account so far.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }
}
