//! Cuts do not show, nothing hangs, and the account adds up, for any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scanner::Options;
use scanner_fuzz::{rules, scan};

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let options = Options { pty: first & 1 > 0 };
    let size = usize::from(first >> 1).max(1);
    let rules = rules();
    let whole = scan(&rules, options, [text]);
    assert_eq!(scan(&rules, options, text.chunks(size)), whole);
    assert_eq!(scan(&rules, options, text.chunks(1)), whole);
});
