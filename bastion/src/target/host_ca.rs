//! The authority that vouches for the bastion where it stands in for a target: `ssh -J`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::secret::{SecretError, read_private_key};
use super::user_ca::MintError;
use crate::name::Name;
use crate::ssh::keys::key::safe_rng;
use crate::ssh::keys::ssh_key::certificate::{Builder, CertType};
use crate::ssh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};

/// The private key with which host certificates are signed. Clients trust it for the targets' names,
/// by the `@cert-authority` line that the console's `config` prints.
pub struct HostCa {
    key: PrivateKey,
}

impl HostCa {
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

    /// A certificate that `host_key` is `target`'s, for one connection.
    ///
    /// It names that target alone, and is valid from an hour before now to an hour after `life`, the
    /// longest that the connection may last: some clients look at it again at each exchange of keys,
    /// by a clock of their own.
    ///
    /// # Errors
    ///
    /// The clock is before 1970, or signing failed.
    pub fn certify(
        &self,
        host_key: &PublicKey,
        target: &Name,
        life: Duration,
    ) -> Result<Certificate, MintError> {
        self.certify_at(host_key, target, life, Timestamp::now())
    }

    fn certify_at(
        &self,
        host_key: &PublicKey,
        target: &Name,
        life: Duration,
        now: Timestamp,
    ) -> Result<Certificate, MintError> {
        let now_s = u64::try_from(now.as_second()).map_err(|_| MintError::Clock)?;
        let (from, to) = (
            now_s.saturating_sub(LEEWAY.as_secs()),
            now_s.saturating_add((life + LEEWAY).as_secs()),
        );
        let certificate = || {
            let mut builder = Builder::new_with_random_nonce(&mut safe_rng(), host_key, from, to)?;
            builder.cert_type(CertType::Host)?;
            builder.key_id("bastion")?;
            builder.valid_principal(target.as_str())?;
            builder.sign(&self.key)
        };
        certificate().map_err(MintError::Sign)
    }

    /// The public key of the authority.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }
}

/// Names the key, never shows it.
impl fmt::Debug for HostCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HostCa({})",
            self.public_key().fingerprint(HashAlg::Sha256)
        )
    }
}

/// How far a client's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::name::target_name;
    use crate::ssh::keys::Algorithm;

    #[test]
    fn a_certificate_names_its_target_alone_and_has_an_end() {
        let new = || PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let (ca, host_key) = (HostCa { key: new() }, new());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let target = target_name("orders-db").unwrap();
        let life = Duration::from_secs(600);
        let made = ca
            .certify_at(host_key.public_key(), &target, life, now)
            .unwrap();
        assert_eq!(made.cert_type(), CertType::Host);
        assert_eq!(made.valid_principals(), ["orders-db"]);
        assert_eq!(made.public_key(), host_key.public_key().key_data());
        assert_eq!(made.valid_after(), 1_800_000_000 - 3600);
        assert_eq!(made.valid_before(), 1_800_000_000 + 4200);
        let fingerprint = ca.public_key().fingerprint(HashAlg::Sha256);
        made.validate_at(1_800_000_000, [&fingerprint]).unwrap();
        assert!(made.validate_at(1_800_004_201, [&fingerprint]).is_err());
        assert!(!format!("{ca:?}").contains("PRIVATE"));
    }
}
