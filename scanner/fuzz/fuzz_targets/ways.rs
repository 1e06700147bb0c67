//! The fast path gives what the byte machine gives, at any cut and any edge of a block.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scanner_fuzz::ways(data));
