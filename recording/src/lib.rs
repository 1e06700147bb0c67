//! Asciicast recordings: written, sealed and read.
//!
//! A recording is one file of asciicast v3 lines in standard zstd frames, so that
//! `zstd -dc FILE | asciinema play -` shows it. Nothing here reads a clock or opens a file:
//! times and writers are handed in.
//!
//! Beside the codes of asciicast v3 (`o`, `r`, `m`, `x`), a recording has four *side events*
//! that players skip and that make it exact:
//!
//! | code | data | says |
//! |---|---|---|
//! | `S` | `stdout` or `stderr` | the `o` events from here on are of that stream; before the first one: stdout |
//! | `B` | `INDEX:HEX,…` | in the next `o` event, the U+FFFD at character INDEX stands for these bytes |
//! | `B` | `=BASE64` | the next `o` event stands for exactly these bytes |
//! | `E` | a JSON object | the account at the end: bytes of each stream, their SHA-256 where it is no longer than 64 MiB, and what the caller adds |
//! | `W` | a JSON object | what was here is [withheld](redact): which frame, how much, from when to when |
//!
//! After each frame stands a [seal], which chains it to those before; zstd passes over it.
//!
//! The header's key `bastion` says with `"crlf": true` that every LF was written as CR LF, as
//! it has to be where no terminal was there to do it. [`raw`] rebuilds the exact bytes.

pub mod event;
pub mod log;
pub mod raw;
pub mod read;
pub mod redact;
pub mod repair;
pub mod seal;
pub mod sum;
pub mod verify;
pub mod write;
