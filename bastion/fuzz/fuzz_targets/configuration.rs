//! No text is a panic, and every complaint is printable.
#![no_main]

use std::path::Path;

use bastion::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(Path::new("/etc/bastion/bastion.toml"), text) {
        assert!(!error.to_string().contains('\u{1b}'));
    }
});
