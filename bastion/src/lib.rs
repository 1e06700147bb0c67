//! An SSH server between people and the machines they work on.
//!
//! `docs/architecture.md` is the map: which room owns what, and the way of one byte.

pub mod access;
pub(crate) mod approval;
pub mod audit;
pub mod cli;
pub mod config;
pub mod console;
pub mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod holds;
pub mod login;
mod manager;
pub mod metrics;
pub mod name;
pub mod notify;
pub mod record;
pub mod recorder;
pub(crate) mod requests;
pub mod serve;
pub mod session;
pub mod ssh;
pub mod store;
pub mod target;
