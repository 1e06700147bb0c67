//! The fast path gives what the byte machine gives, for any bytes, any cut and any block edge.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use scanner::{
    Action, Coverage, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step,
    Stream, Verdict, Way,
};

fn rules() -> Arc<Rules> {
    let mut rule = Rule::new("r", Action::Mask(Mask::Last4))
        .field("ssn")
        .field("account_number")
        .field("e");
    for detector in Detector::ALL {
        rule = rule.detector(detector);
    }
    Arc::new(RulesBuilder::new().rule(rule).build().expect("these rules compile"))
}

fn scan<'a>(
    rules: &Arc<Rules>,
    way: Way,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Vec<Verdict>, Coverage) {
    let mut scanner = Scanner::new(Arc::clone(rules), Options { pty: true }).with_way(way);
    let mut out = Vec::new();
    for piece in pieces {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    (out, scanner.take_verdicts().collect(), scanner.coverage())
}

fuzz_target!(|data: &[u8]| {
    let Some((size, text)) = data.split_first() else { return };
    let rules = rules();
    let size = usize::from(*size).max(1);
    // What lies further apart than the byte machine looks back depends on how it was fed.
    let text = text.get(..4096).unwrap_or(text);
    let want = scan(&rules, Way::Bytes, std::iter::once(text));
    let cut = scan(&rules, Way::Bytes, text.chunks(size));
    for way in 0..3 {
        assert!(scan(&rules, Way::Blocks(way), std::iter::once(text)) == want);
        assert!(scan(&rules, Way::Blocks(way), text.chunks(size)) == cut);
    }
});
