//! What the recording, and a preview, show of output that is held: the same output, read by rules
//! that mask what others hold.
//!
//! A second scanner reads everything from the beginning, since what comes early (a table's header)
//! says what later values are. What the first one lets pass is thrown away here; the rest stands
//! for what was withheld. Where the two get out of step, bytes are missing or come twice; they are
//! masked all the same.

use std::collections::VecDeque;
use std::sync::Arc;

use scanner::{Masked, Options, Raw, Rules, Scanner, Step, Stream};

/// The second reading of one session's output.
pub(super) struct Rendition {
    /// None once it met what must not be shown.
    scanner: Option<Scanner>,
    stdout: Side,
    stderr: Side,
}

#[derive(Default)]
struct Side {
    pieces: VecDeque<Masked>,
    /// Bytes that passed before they were read here.
    owed: usize,
}

impl Rendition {
    pub(super) fn new(rules: Arc<Rules>, session: &str, record_max: usize) -> Self {
        let scanner = Scanner::new(rules, Options { pty: false })
            .with_session(session.as_bytes())
            .with_record_max(record_max);
        Self {
            scanner: Some(scanner),
            stdout: Side::default(),
            stderr: Side::default(),
        }
    }

    /// Reads what the target sent.
    pub(super) fn feed(&mut self, stream: Stream, raw: Raw) {
        if let Some(scanner) = &mut self.scanner {
            scanner.feed(stream, raw);
            self.read();
        }
    }

    /// The output has ended.
    pub(super) fn end(&mut self) {
        if let Some(scanner) = &mut self.scanner {
            scanner.end();
            self.read();
        }
    }

    fn read(&mut self) {
        while let Some(step) = self.scanner.as_mut().and_then(Scanner::next_step) {
            match step {
                Step::Pass { stream, bytes } => self.side(stream).add(bytes),
                // A rule that refuses, or text that cannot be read: nothing more is shown.
                Step::Refuse { .. }
                | Step::Hold { .. }
                | Step::Held { .. }
                | Step::Sealed { .. } => {
                    self.scanner = None;
                }
            }
        }
    }

    /// So many bytes of the output itself have passed.
    pub(super) fn passed(&mut self, stream: Stream, bytes: usize) {
        self.side(stream).drop_first(bytes);
    }

    /// What stands for what is withheld so far.
    pub(super) fn take(&mut self) -> Vec<(Stream, Masked)> {
        let mut shown = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pieces = std::mem::take(&mut self.side(stream).pieces);
            shown.extend(pieces.into_iter().map(|piece| (stream, piece)));
        }
        shown
    }

    fn side(&mut self, stream: Stream) -> &mut Side {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Side {
    fn add(&mut self, mut piece: Masked) {
        let owed = self.owed.min(piece.len());
        piece.skip(owed);
        self.owed -= owed;
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    fn drop_first(&mut self, mut bytes: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > bytes {
                piece.skip(bytes);
                return;
            }
            bytes -= piece.len();
            self.pieces.pop_front();
        }
        self.owed += bytes;
    }
}
