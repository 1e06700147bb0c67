//! Where nothing is protected, every byte comes out as it went in, however it was cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scanner_fuzz::untouched(data));
