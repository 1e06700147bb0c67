//! Plays, lists, searches and exports recordings of SSH sessions.
//!
//! The library is what the program `replay` and the console of the bastion share: [`player`] is
//! the player without I/O, [`cli`] the program. A recording is hostile input: no byte of it
//! reaches a terminal but as a painted cell or as text that went through [`safe`].

pub mod about;
pub mod cli;
pub mod commands;
mod emulator;
pub mod evidence;
pub mod export;
pub mod files;
mod film;
pub mod keeper;
mod lines;
pub mod moment;
mod opened;
pub mod pages;
pub mod paint;
pub mod player;
pub mod remote;
pub mod safe;
mod sidecar;
mod skim;
pub mod summary;
mod svg;
mod timeline;
pub mod transcript;
mod web;
