//! Cuts do not show, nothing hangs, and the account adds up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scanner_fuzz::cuts(data));
