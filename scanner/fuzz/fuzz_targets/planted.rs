//! A planted value never survives, in whatever form it stands, between words, however it is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scanner_fuzz::planted(data));
