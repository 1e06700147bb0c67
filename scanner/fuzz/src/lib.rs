//! What the targets have in common.

use std::sync::Arc;

use bytes::Bytes;
use scanner::{Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream};

/// Rules with fields, a field with a parent, and every detector.
pub fn rules() -> Arc<Rules> {
    let mut rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password")
        .field("customer.phone");
    for detector in Detector::ALL {
        rule = rule.detector(detector);
    }
    build(rule)
}

/// Rules of one rule.
pub fn build(rule: Rule) -> Arc<Rules> {
    Arc::new(RulesBuilder::new().rule(rule).build().expect("these rules compile"))
}

/// What leaves of `pieces`. The account has to add up.
pub fn scan<'a>(
    rules: &Arc<Rules>,
    options: Options,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut scanner = Scanner::new(Arc::clone(rules), options);
    let mut out = Vec::new();
    let mut fed = 0;
    for piece in pieces {
        fed += piece.len() as u64;
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    let sum = scanner.coverage();
    assert_eq!(sum.passed + sum.masked + sum.held + sum.unreadable, fed);
    out
}
