//! A user name is read or refused, and what was read is what was written.
#![no_main]

use bastion::name::{Destination, MAX_LOGIN, MAX_TARGET};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Destination::parse(text) {
        Ok(Destination::Target { login, target }) => {
            let both = [login.as_str(), target.as_str()];
            assert!(both[0].len() <= MAX_LOGIN && both[1].len() <= MAX_TARGET);
            for part in both {
                assert!(!part.is_empty());
                assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            }
            assert_eq!(text.len(), both[0].len() + 1 + both[1].len());
            assert!(text.starts_with(both[0]) && text.ends_with(both[1]));
        }
        Ok(Destination::Console) => {}
        Err(error) => assert!(error.notice().bytes().all(|b| (0x20..0x7f).contains(&b))),
    }
});
