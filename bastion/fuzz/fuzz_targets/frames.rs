//! What is said on the recorder's socket is understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastion::fuzzing::recorder_frames(bytes));
