//! Asciicast recordings: written, sealed and read.

pub mod event;
pub mod read;
pub mod write;
