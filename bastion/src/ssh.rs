//! The only room that names the SSH library: server, client, stream wrapper, flow control.

/// The key, certificate and signature types of the SSH library, for the rooms that keep keys.
pub use russh::keys;

/// The host keys that a machine shows, one for each kind of key that it has; nothing of them is
/// trusted.
pub async fn host_keys_of(
    host: &str,
    port: u16,
    within: std::time::Duration,
) -> Result<Vec<keys::PublicKey>, std::io::Error> {
    let unsupported = std::io::Error::other(format!(
        "probing {host}:{port} for {within:?} is not in this build"
    ));
    Err(unsupported)
}
