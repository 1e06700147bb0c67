//! JSON stays JSON with the same keys and containers, and what is not protected stays as it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scanner_fuzz::structure(data));
