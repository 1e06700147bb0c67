//! Later.
pub mod keys;
