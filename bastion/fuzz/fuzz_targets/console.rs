//! A console line is a command or a complaint.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| bastion::fuzzing::console_line(line));
