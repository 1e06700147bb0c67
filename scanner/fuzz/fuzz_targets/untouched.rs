//! Where nothing is protected, every byte comes out as it went in, however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scanner::{Action, Mask, Options, Rule};
use scanner_fuzz::{build, scan};

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let options = Options { pty: first & 1 > 0 };
    let size = usize::from(first >> 1).max(1);
    let rules = build(Rule::new("r", Action::Mask(Mask::Redact)).field("no_such_field"));
    assert_eq!(scan(&rules, options, [text]), text);
    assert_eq!(scan(&rules, options, text.chunks(size)), text);
});
