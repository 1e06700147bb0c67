//! What several tests of whole outputs need.

use std::sync::Arc;

use bytes::Bytes;
use scanner::{Options, Raw, Rules, Scanner, Step, Stream};

/// What the client gets of `text`, which comes in pieces of `size` bytes.
pub(crate) fn scan(rules: Arc<Rules>, options: Options, text: &str, size: usize) -> Vec<u8> {
    let mut scanner = Scanner::new(rules, options);
    for piece in text.as_bytes().chunks(size) {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    let mut out = Vec::new();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    out
}
