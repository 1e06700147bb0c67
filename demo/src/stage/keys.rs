//! The demo's SSH keys: Ed25519, made at its start, gone with its folder.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKey};

/// Makes a key.
///
/// # Errors
/// When there is no randomness.
pub fn new() -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(io::Error::other)?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, "demo").map_err(io::Error::other)
}

/// A key for what the bastion holds: 64 hexadecimal digits.
///
/// # Errors
/// When there is no randomness.
pub(super) fn spool_key() -> io::Result<String> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
    Ok(data_encoding::HEXLOWER.encode(&key))
}

/// Writes the private key to `path` with mode 0600 and the public one beside it, as `ssh-keygen`.
///
/// # Errors
/// When a file exists already or can't be written.
pub fn write(key: &PrivateKey, path: &Path) -> io::Result<()> {
    let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    let public = path.with_added_extension("pub");
    std::fs::write(public, format!("{}\n", line(key.public_key())?))
}

/// The public key as one line, as in `authorized_keys`.
///
/// # Errors
/// Never for the keys of [`new`].
pub fn line(key: &PublicKey) -> io::Result<String> {
    key.to_openssh().map_err(io::Error::other)
}
