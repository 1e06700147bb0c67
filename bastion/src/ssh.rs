//! The only room that names the SSH library: server, client, stream wrapper, flow control.
//!
//! Owns the algorithms and the limits of one connection. Decides nothing: who may do what is
//! asked of `login` and `access`, and what becomes of bytes is `session`'s.

mod channel;
mod dial;
mod flow;
mod jump;
mod ours;
mod rekey;
mod server;
mod stream;

use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use russh::{Preferred, cipher, compression, kex, mac};

pub(crate) use channel::{
    ClientEnd, ClientReader, ClientWriter, Ended, FromClient, FromTarget, Gone, Pty, Signal, Size,
    TargetEnd, TargetReader, TargetWriter,
};
pub(crate) use dial::{AgentChannel, AgentChannels, Opening, Wanted, dial};
pub use dial::{DialError, host_keys_of};
pub(crate) use ours::AgentOpener;
pub(crate) use server::{ConnectionId, Opens, Server};

/// The key, certificate and signature types of the SSH library, for the rooms that keep keys.
pub use russh::keys;

/// Reads the server's own keys.
///
/// # Errors
/// A file that is missing, readable by others, encrypted or no private key.
pub fn host_keys(paths: &[PathBuf]) -> Result<Vec<keys::PrivateKey>, HostKeyError> {
    paths
        .iter()
        .map(|path| {
            let fail = |why: String| HostKeyError {
                path: path.clone(),
                why,
            };
            let about = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
            if about.permissions().mode() & 0o077 != 0 {
                return Err(fail("others may read it; run chmod 600 on it".to_owned()));
            }
            let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            let key =
                keys::PrivateKey::from_openssh(text).map_err(|error| fail(error.to_string()))?;
            if key.is_encrypted() {
                return Err(fail(
                    "it is encrypted; a server's key has no passphrase".to_owned(),
                ));
            }
            Ok(key)
        })
        .collect()
}

/// Why a host key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("host key {}: {why}", path.display())]
pub struct HostKeyError {
    path: PathBuf,
    why: String,
}

/// The algorithms of both legs, most wanted first: what ssh-audit passes, and AES-GCM before
/// ChaCha20, which costs 1.7 times the CPU.
fn algorithms() -> Preferred {
    use keys::{Algorithm, EcdsaCurve, HashAlg};
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        // Host keys and the keys that clients prove; no `ssh-rsa` with SHA-1.
        key: Cow::Owned(vec![
            Algorithm::Ed25519,
            Algorithm::SkEd25519,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP521,
            },
            Algorithm::SkEcdsaSha2NistP256,
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
        ]),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Payload bytes of one packet.
const PACKET: u32 = 32 * 1024;
