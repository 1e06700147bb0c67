//! The only room that names the SSH library: server, client, stream wrapper, flow control.

/// The key, certificate and signature types of the SSH library, for the rooms that keep keys.
pub use russh::keys;
