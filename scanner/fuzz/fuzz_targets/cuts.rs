//! Cuts do not show, nothing hangs, and the account adds up, for any bytes.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use scanner::{Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream};

fn rules() -> Arc<Rules> {
    let mut rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password")
        .field("customer.phone");
    for detector in Detector::ALL {
        rule = rule.detector(detector);
    }
    Arc::new(RulesBuilder::new().rule(rule).build().expect("these rules compile"))
}

fn scan<'a>(rules: &Arc<Rules>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut scanner = Scanner::new(Arc::clone(rules), Options { pty: true });
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

fuzz_target!(|data: &[u8]| {
    let Some((size, text)) = data.split_first() else { return };
    let rules = rules();
    let whole = scan(&rules, [text]);
    assert_eq!(scan(&rules, text.chunks(usize::from(*size).max(1))), whole);
    assert_eq!(scan(&rules, text.chunks(1)), whole);
});
