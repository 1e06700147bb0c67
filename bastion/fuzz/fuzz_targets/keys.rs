//! A provider's key set is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| bastion::fuzzing::key_set(body));
