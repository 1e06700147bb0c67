//! Standard output and standard error, seen as the one text that a reader sees.
//!
//! Each stream is scanned by itself. Where the target goes on with the other stream while the
//! end of the first may still become a value that a detector knows, both are looked at in the
//! order in which they came: a value that lies on both is masked on both. Only what may be part
//! of such a value waits.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Stream;
use crate::lane::{Lane, Spans};
use crate::rules::{Hit, Rules};

/// No value of a detector that begins before is this long, but for what no terminal shows.
const WAITING_MAX: usize = 4096;

/// Bytes whose place in the joint text is not decided yet.
#[derive(Debug)]
pub(crate) struct Joint {
    /// What is looked for: values that are known by their form.
    forms: Rules,
    waiting: VecDeque<(Stream, Bytes)>,
    size: usize,
    /// Where what was given to a lane last stands.
    last: Option<Stream>,
}

/// What becomes of bytes that waited.
#[derive(Debug)]
pub(crate) enum Next {
    /// They are read as a part of their stream.
    Read(Stream, Bytes),
    /// What the other stream has not decided is the beginning of a value, and these its rest.
    Value(Stream, Hit, Vec<(Stream, Vec<u8>)>),
    /// The same, but nobody knows whether it is a value, nor where it would end.
    Endless(Stream, Vec<(Stream, Vec<u8>)>),
}

impl Joint {
    /// Nothing has come yet; `forms` have no fields.
    pub(crate) fn new(forms: Rules) -> Self {
        Self {
            forms,
            waiting: VecDeque::new(),
            size: 0,
            last: None,
        }
    }

    pub(crate) fn push(&mut self, stream: Stream, bytes: Bytes) {
        self.size += bytes.len();
        self.waiting.push_back((stream, bytes));
    }

    /// What comes next, until there is nothing or more is needed; at the `end` nothing more comes.
    pub(crate) fn next(&mut self, stdout: &Lane, stderr: &Lane, end: bool) -> Option<Next> {
        let stream = self.waiting.front().map(|(stream, _)| *stream)?;
        let (own, other, lane) = match stream {
            Stream::Stdout => (stdout, Stream::Stderr, stderr),
            Stream::Stderr => (stderr, Stream::Stdout, stdout),
        };
        if self.last == Some(other) {
            let waiting = self.waiting.iter().map(|(_, bytes)| bytes.as_ref());
            match lane.spans(&self.forms, own.escape(), waiting, end) {
                Spans::No => {}
                Spans::More if !end && self.size <= WAITING_MAX => return None,
                Spans::More => return Some(Next::Endless(other, self.split(self.size))),
                Spans::Value(hit, size) => {
                    return Some(Next::Value(other, hit, self.split(size)));
                }
            }
        }
        self.last = Some(stream);
        let (stream, bytes) = self.waiting.pop_front()?;
        self.size -= bytes.len();
        Some(Next::Read(stream, bytes))
    }

    /// The first `size` bytes that wait: a part for each turn, however it was cut.
    fn split(&mut self, size: usize) -> Vec<(Stream, Vec<u8>)> {
        let mut left = size;
        let mut parts: Vec<(Stream, Vec<u8>)> = Vec::new();
        while left > 0
            && let Some((stream, mut bytes)) = self.waiting.pop_front()
        {
            if bytes.len() > left {
                let rest = bytes.split_off(left);
                self.waiting.push_front((stream, rest));
            }
            left -= bytes.len();
            self.size -= bytes.len();
            self.last = Some(stream);
            match parts.last_mut() {
                Some((last, part)) if *last == stream => part.extend_from_slice(&bytes),
                Some(_) | None => parts.push((stream, bytes.to_vec())),
            }
        }
        parts
    }
}
