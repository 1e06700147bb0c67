//! What must not be seen: passwords and private keys, and how they are read from files.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::{FileError, read_private};
use crate::ssh::keys::ssh_key::private::KeypairData;
use crate::ssh::keys::{self, Algorithm, PrivateKey, PublicKey};

/// A password. It cannot be printed, compared or copied by accident, and is overwritten when it
/// goes: there is no `Debug`, `Display`, `Clone` or `Serialize`, and there must never be one.
///
/// ```compile_fail
/// fn printed(secret: &bastion::target::Secret) { format!("{secret:?}"); }
/// ```
/// ```compile_fail
/// fn printed(secret: &bastion::target::Secret) { format!("{secret}"); }
/// ```
/// ```compile_fail
/// fn copied(secret: &bastion::target::Secret) -> bastion::target::Secret { secret.clone() }
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over what `text` holds; the caller has no other copy left.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Reads the first line of a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// The file cannot be read, others can read it, or it holds no line or more than one.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bytes = read_private(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| FileError::Text {
            path: path.to_path_buf(),
        })?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains(['\n', '\r', '\0']) {
            return Err(SecretError::Line {
                path: path.to_path_buf(),
            });
        }
        Ok(Self(Zeroizing::new(line.to_owned())))
    }

    /// The text, for the one call that hands it to its verifier.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a secret could not be read. Nothing of its content is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not exactly one line.
    #[error("{} must hold exactly one line, the secret", path.display())]
    Line {
        /// The file.
        path: PathBuf,
    },
    /// Not a private key.
    #[error("{} is not a private key in OpenSSH or PEM format", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// A private key with a passphrase, which nobody could type.
    #[error("{} is encrypted; take the passphrase away with ssh-keygen -p -N '' -f FILE", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A key that is too weak or of a kind that is not used.
    #[error("{}: {what}", path.display())]
    Weak {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Reads a private key without passphrase from a file that only its owner can read.
///
/// # Errors
///
/// The file cannot be read, others can read it, it holds no private key, the key is encrypted, or
/// it is of a kind that is too weak (DSA, RSA under 2048 bits).
pub fn read_private_key(path: &Path) -> Result<PrivateKey, SecretError> {
    let bytes = read_private(path)?;
    let path_buf = || path.to_path_buf();
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::Key { path: path_buf() })?;
    let key = if text.trim_start().starts_with(OPENSSH_HEADER) {
        PrivateKey::from_openssh(text.trim_start())
            .map_err(|_| SecretError::Key { path: path_buf() })?
    } else {
        match keys::decode_secret_key(text, None) {
            Ok(key) => key,
            Err(keys::Error::KeyIsEncrypted) => {
                return Err(SecretError::Encrypted { path: path_buf() });
            }
            Err(_) => return Err(SecretError::Key { path: path_buf() }),
        }
    };
    if key.is_encrypted() || matches!(key.key_data(), KeypairData::Encrypted(_)) {
        return Err(SecretError::Encrypted { path: path_buf() });
    }
    match weakness(key.public_key()) {
        Some(what) => Err(SecretError::Weak {
            path: path_buf(),
            what,
        }),
        None => Ok(key),
    }
}

/// Why `key` should not be relied on, if there is a reason.
pub(crate) fn weakness(key: &PublicKey) -> Option<&'static str> {
    if key.key_data().is_certificate() {
        return Some("a certificate stands where a plain key is wanted");
    }
    match key.algorithm() {
        Algorithm::Ed25519
        | Algorithm::Ecdsa { .. }
        | Algorithm::SkEd25519
        | Algorithm::SkEcdsaSha2NistP256 => None,
        Algorithm::Rsa { .. } => match key.key_data().rsa().map(|rsa| rsa.key_size()) {
            Some(2048..=16384) => None,
            _ => Some("RSA keys must have 2048 to 16384 bits"),
        },
        Algorithm::Dsa => Some("DSA keys are too weak"),
        _ => Some("keys of this kind are not supported; use ssh-ed25519"),
    }
}

const OPENSSH_HEADER: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn private_file(folder: &Path, content: &str) -> PathBuf {
        let path = folder.join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn a_password_is_exactly_one_line() {
        let folder = tempfile::tempdir().unwrap();
        for (content, password) in [
            ("hunter2", Some("hunter2")),
            ("hunter2\n", Some("hunter2")),
            ("hunter2\r\n", Some("hunter2")),
            (" with space \n", Some(" with space ")),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
            ("a\n\n", None),
            ("a\0b", None),
        ] {
            let path = private_file(folder.path(), content);
            let read = Secret::read(&path).ok();
            assert_eq!(read.as_ref().map(Secret::expose), password, "{content:?}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        for content in [
            "",
            "canary-content",
            "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n",
            "ssh-ed25519 AAAAcanary",
        ] {
            let path = private_file(folder.path(), content);
            let error = read_private_key(&path).unwrap_err();
            assert!(matches!(error, SecretError::Key { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }
}
