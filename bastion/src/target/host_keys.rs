//! Whether the machine at the other end is the target: pinned host keys, or a host CA.
//!
//! There is no trust on first use, and no key that is accepted because nothing is known.

use jiff::Timestamp;

use super::secret::weakness;
use crate::ssh::keys::ssh_key::Fingerprint;
use crate::ssh::keys::ssh_key::certificate::CertType;
use crate::ssh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

/// What identifies one target. Empty means that nothing does, and everything is refused.
#[derive(Clone, Debug, Default)]
pub struct HostKeys {
    pinned: Vec<PublicKey>,
    authorities: Vec<PublicKey>,
}

/// Why a target is not who it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// The inventory has no key and no host CA for the target.
    #[error("no host key is pinned for the target")]
    NothingPinned,
    /// The key is not one of those that are pinned.
    #[error("host key {seen} of {host} is not a pinned one")]
    NotPinned {
        /// The address that was dialled.
        host: String,
        /// The key that the target showed.
        seen: Fingerprint,
    },
    /// The certificate is not of an authority that is configured for the target.
    #[error("host certificate of {host} is signed by {seen}, which is not a host CA of the target")]
    Authority {
        /// The address that was dialled.
        host: String,
        /// The key that signed.
        seen: Fingerprint,
    },
    /// The certificate is for users.
    #[error("the certificate of {host} is a user certificate")]
    NotForHosts {
        /// The address that was dialled.
        host: String,
    },
    /// The certificate is for another host, or for any.
    #[error("the host certificate of {host} names other hosts")]
    Principal {
        /// The address that was dialled.
        host: String,
    },
    /// The certificate is not valid now.
    #[error("the host certificate of {host} is not valid at this time")]
    Time {
        /// The address that was dialled.
        host: String,
    },
    /// The certificate has a critical option, of which none is defined for hosts.
    #[error("the host certificate of {host} has an unknown critical option")]
    CriticalOption {
        /// The address that was dialled.
        host: String,
    },
    /// The signature is wrong, or made with SHA-1 or DSA.
    #[error("the signature of the host certificate of {host} is not acceptable")]
    Signature {
        /// The address that was dialled.
        host: String,
    },
}

impl HostKeyError {
    /// The line that the client is shown; keys and addresses stay in the log.
    pub fn notice(&self) -> &'static str {
        "the target's identity could not be verified"
    }
}

impl HostKeys {
    /// Keys that are accepted as they are, and authorities whose host certificates are.
    pub fn new(pinned: Vec<PublicKey>, authorities: Vec<PublicKey>) -> Self {
        Self {
            pinned,
            authorities,
        }
    }

    /// The pinned keys.
    pub fn pinned(&self) -> &[PublicKey] {
        &self.pinned
    }

    /// The host CAs.
    pub fn authorities(&self) -> &[PublicKey] {
        &self.authorities
    }

    /// Whether `key`, shown by the machine at `host`, is pinned for the target.
    ///
    /// # Errors
    ///
    /// It is not, or none is.
    pub fn accepts(&self, host: &str, key: &PublicKey) -> Result<(), HostKeyError> {
        if self.pinned.is_empty() && self.authorities.is_empty() {
            return Err(HostKeyError::NothingPinned);
        }
        if self
            .pinned
            .iter()
            .any(|pinned| pinned.key_data() == key.key_data())
        {
            return Ok(());
        }
        Err(HostKeyError::NotPinned {
            host: host.to_owned(),
            seen: key.fingerprint(HashAlg::Sha256),
        })
    }

    /// Whether `certificate`, shown by the machine at `host`, makes it the target at the time `now`
    /// (PROTOCOL.certkeys of OpenSSH).
    ///
    /// `host` is the name or address that was dialled, without port. A certificate without
    /// principals, valid for every host there, is refused here: whoever steals one could be every
    /// target. A key that is pinned is accepted within a certificate too, since it is the key that
    /// is proven.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub fn accepts_certificate(
        &self,
        host: &str,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<(), HostKeyError> {
        if self
            .pinned
            .iter()
            .any(|pinned| pinned.key_data() == certificate.public_key())
        {
            return Ok(());
        }
        if self.pinned.is_empty() && self.authorities.is_empty() {
            return Err(HostKeyError::NothingPinned);
        }
        let host_name = || host.to_owned();
        let seen = certificate.signature_key().fingerprint(HashAlg::Sha256);
        let authority = self
            .authorities
            .iter()
            .find(|authority| authority.key_data() == certificate.signature_key());
        let Some(authority) = authority else {
            return Err(HostKeyError::Authority {
                host: host_name(),
                seen,
            });
        };
        if certificate.cert_type() != CertType::Host {
            return Err(HostKeyError::NotForHosts { host: host_name() });
        }
        // Host names have no case; principals are compared whole, without patterns.
        if !certificate
            .valid_principals()
            .iter()
            .any(|principal| principal.eq_ignore_ascii_case(host))
        {
            return Err(HostKeyError::Principal { host: host_name() });
        }
        let seconds =
            u64::try_from(now.as_second()).map_err(|_| HostKeyError::Time { host: host_name() })?;
        if seconds < certificate.valid_after() || seconds >= certificate.valid_before() {
            return Err(HostKeyError::Time { host: host_name() });
        }
        if !certificate.critical_options().is_empty() {
            return Err(HostKeyError::CriticalOption { host: host_name() });
        }
        let weak = weakness(&PublicKey::new(certificate.public_key().clone(), "")).is_some();
        let sha1 = matches!(
            certificate.signature().algorithm(),
            Algorithm::Rsa { hash: None } | Algorithm::Dsa
        );
        let trusted = [authority.fingerprint(HashAlg::Sha256)];
        if weak || sha1 || certificate.validate_at(seconds, &trusted).is_err() {
            return Err(HostKeyError::Signature { host: host_name() });
        }
        Ok(())
    }
}
