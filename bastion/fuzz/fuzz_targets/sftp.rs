//! Files in one direction: whatever both ends say, cut anywhere, only whole requests that are
//! allowed go on.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bastion::fuzzing::sftp(data));
