//! The authority that vouches for users at targets: certificates that live for one connection.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::secret::{SecretError, read_private_key};
use crate::ssh::keys::key::safe_rng;
use crate::ssh::keys::ssh_key::certificate::{Builder, CertType};
use crate::ssh::keys::ssh_key::{self, rand_core::Rng};
use crate::ssh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};

/// The private key with which user certificates are signed. Targets trust it by
/// `TrustedUserCAKeys` in their `sshd_config`.
pub struct UserCa {
    key: PrivateKey,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The principal would be none or any.
    #[error("a user certificate needs a principal")]
    Principal,
    /// The clock is before 1970.
    #[error("the clock is not set")]
    Clock,
    /// The signature failed.
    #[error("cannot sign a user certificate")]
    Sign(#[source] ssh_key::Error),
}

impl UserCa {
    /// Reads the key from a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// As for every private key.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        Ok(Self {
            key: read_private_key(path)?,
        })
    }

    /// A fresh key pair and a certificate for it, with which one connection may log in as
    /// `principal` within the next minute.
    ///
    /// The certificate is valid from a minute before now to a minute after, so that the clocks of
    /// bastion and target may differ by that much; the target looks at it only once, at the log-in.
    /// It allows a terminal and nothing else: no forwarding, no agent, no X11, no rc file.
    /// `key_id` goes into the target's log; what is not printable ASCII in it is escaped.
    ///
    /// # Errors
    ///
    /// `principal` is empty, or signing failed.
    pub fn mint(
        &self,
        principal: &str,
        key_id: &str,
    ) -> Result<(PrivateKey, Certificate), MintError> {
        self.mint_at(principal, key_id, Timestamp::now())
    }

    fn mint_at(
        &self,
        principal: &str,
        key_id: &str,
        now: Timestamp,
    ) -> Result<(PrivateKey, Certificate), MintError> {
        if principal.is_empty() {
            return Err(MintError::Principal);
        }
        let now_s = u64::try_from(now.as_second()).map_err(|_| MintError::Clock)?;
        let (from, to) = (
            now_s.saturating_sub(LEEWAY.as_secs()),
            now_s.saturating_add(LEEWAY.as_secs()),
        );
        let mut random = safe_rng();
        let key = PrivateKey::random(&mut random, Algorithm::Ed25519).map_err(MintError::Sign)?;
        let serial = random.next_u64();
        let mut certificate = || {
            let mut builder =
                Builder::new_with_random_nonce(&mut random, key.public_key(), from, to)?;
            builder.serial(serial)?;
            builder.cert_type(CertType::User)?;
            builder.key_id(loggable(key_id))?;
            builder.valid_principal(principal)?;
            builder.extension("permit-pty", "")?;
            builder.sign(&self.key)
        };
        let certificate = certificate().map_err(MintError::Sign)?;
        Ok((key, certificate))
    }

    /// The public key of the authority.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// The line for the file that `TrustedUserCAKeys` names on a target.
    pub fn public_line(&self) -> String {
        self.public_key().to_openssh().unwrap_or_default()
    }
}

/// Names the key, never shows it.
impl fmt::Debug for UserCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "UserCa({})",
            self.public_key().fingerprint(HashAlg::Sha256)
        )
    }
}

/// What the target's log may hold of a name that came from the OpenID provider.
fn loggable(key_id: &str) -> String {
    let mut out = String::new();
    for character in key_id.chars() {
        if character.is_ascii_graphic() || character == ' ' {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
        if out.len() >= KEY_ID_MAX {
            break;
        }
    }
    out
}

/// Half of the life of a certificate.
const LEEWAY: Duration = Duration::from_secs(60);

/// A longer key id is cut.
const KEY_ID_MAX: usize = 256;
