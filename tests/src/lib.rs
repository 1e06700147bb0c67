//! The harness: real peers around the built programs.
//!
//! Owns starting and ending them (OpenSSH's client and server, a certified OpenID provider, terminals,
//! Python clients) and the folder of each test. Does not decide what is right: that is in `tests/e2e`,
//! a file per behaviour. Nothing here sleeps: every wait is for an event, with [`DEADLINE`] as its end.
//! Whatever is started is ended by its id when its handle is dropped.

pub mod bars;
pub mod bastion;
pub mod files;
pub mod link;
pub mod peer;
pub mod process;
pub mod provider;
pub mod receiver;
pub mod recordings;
pub mod ssh;
pub mod sshd;
pub mod terminal;
pub mod world;

use std::time::Duration;

/// How long any one event is waited for before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);
