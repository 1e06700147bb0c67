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

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;
    use crate::ssh::keys::PrivateKey;
    use crate::ssh::keys::key::safe_rng;
    use crate::ssh::keys::ssh_key::certificate::Builder;

    const NOW_S: u64 = 1_800_000_000;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(i64::try_from(NOW_S).unwrap()).unwrap()
    }

    /// A good host certificate for `db.internal`, but for what `change` does to it.
    fn certificate(ca: &PrivateKey, change: impl FnOnce(&mut Builder)) -> Certificate {
        certificate_valid(ca, NOW_S - 10, NOW_S + 10, change)
    }

    fn certificate_valid(
        ca: &PrivateKey,
        from: u64,
        to: u64,
        change: impl FnOnce(&mut Builder),
    ) -> Certificate {
        let host = key();
        let mut builder =
            Builder::new_with_random_nonce(&mut safe_rng(), host.public_key(), from, to).unwrap();
        builder.key_id("host").unwrap();
        change(&mut builder);
        builder.sign(ca).unwrap()
    }

    fn good(builder: &mut Builder) {
        builder.cert_type(CertType::Host).unwrap();
        builder.valid_principal("other.internal").unwrap();
        builder.valid_principal("db.internal").unwrap();
    }

    fn trusting(ca: &PrivateKey) -> HostKeys {
        HostKeys::new(
            vec![key().public_key().clone()],
            vec![ca.public_key().clone()],
        )
    }

    #[test]
    fn only_a_pinned_key_is_accepted() {
        let (pinned, second, other) = (key(), key(), key());
        let keys = HostKeys::new(
            vec![pinned.public_key().clone(), second.public_key().clone()],
            Vec::new(),
        );
        assert_eq!(keys.accepts("h", pinned.public_key()), Ok(()));
        assert_eq!(keys.accepts("h", second.public_key()), Ok(()));
        assert!(matches!(
            keys.accepts("h", other.public_key()),
            Err(HostKeyError::NotPinned { .. })
        ));
    }

    /// A comment is no part of a key.
    #[test]
    fn a_comment_makes_no_other_key() {
        let pinned = key();
        let mut shown = pinned.public_key().clone();
        shown.set_comment("somebody");
        assert_eq!(
            HostKeys::new(vec![pinned.public_key().clone()], Vec::new()).accepts("h", &shown),
            Ok(())
        );
    }

    #[test]
    fn nothing_known_is_nothing_accepted() {
        let (ca, keys) = (key(), HostKeys::default());
        assert_eq!(
            keys.accepts("h", ca.public_key()),
            Err(HostKeyError::NothingPinned)
        );
        let certificate = certificate(&ca, good);
        assert_eq!(
            keys.accepts_certificate("db.internal", &certificate, now()),
            Err(HostKeyError::NothingPinned)
        );
    }

    /// The key of an authority is not that of a host.
    #[test]
    fn an_authority_is_no_host_key() {
        let ca = key();
        let keys = HostKeys::new(Vec::new(), vec![ca.public_key().clone()]);
        assert!(matches!(
            keys.accepts("h", ca.public_key()),
            Err(HostKeyError::NotPinned { .. })
        ));
    }

    #[test]
    fn a_certificate_of_the_authority_for_the_host_is_accepted() {
        let ca = key();
        let certificate = certificate(&ca, good);
        for host in ["db.internal", "DB.internal", "other.internal"] {
            assert_eq!(
                trusting(&ca).accepts_certificate(host, &certificate, now()),
                Ok(()),
                "{host}"
            );
        }
    }

    #[test]
    fn a_pinned_key_in_a_foreign_certificate_is_still_pinned() {
        let certificate = certificate(&key(), good);
        let keys = HostKeys::new(
            vec![PublicKey::new(certificate.public_key().clone(), "")],
            Vec::new(),
        );
        assert_eq!(
            keys.accepts_certificate("db.internal", &certificate, now()),
            Ok(())
        );
    }

    #[test]
    fn every_other_certificate_is_refused() {
        let (ca, stranger) = (key(), key());
        let host = || "db.internal".to_owned();
        let cases = [
            (
                "another authority",
                certificate(&stranger, good),
                HostKeyError::Authority {
                    host: host(),
                    seen: stranger.fingerprint(HashAlg::Sha256),
                },
            ),
            (
                "a user certificate",
                certificate(&ca, |builder| {
                    builder.cert_type(CertType::User).unwrap();
                    builder.valid_principal("db.internal").unwrap();
                }),
                HostKeyError::NotForHosts { host: host() },
            ),
            (
                "another host",
                certificate(&ca, |builder| {
                    builder.cert_type(CertType::Host).unwrap();
                    builder.valid_principal("db.internal.evil").unwrap();
                }),
                HostKeyError::Principal { host: host() },
            ),
            (
                "a pattern",
                certificate(&ca, |builder| {
                    builder.cert_type(CertType::Host).unwrap();
                    builder.valid_principal("*").unwrap();
                    builder.valid_principal("*.internal").unwrap();
                }),
                HostKeyError::Principal { host: host() },
            ),
            (
                "any host",
                certificate(&ca, |builder| {
                    builder.cert_type(CertType::Host).unwrap();
                    builder.all_principals_valid().unwrap();
                }),
                HostKeyError::Principal { host: host() },
            ),
            (
                "expired",
                certificate_valid(&ca, NOW_S - 10, NOW_S, good),
                HostKeyError::Time { host: host() },
            ),
            (
                "not yet",
                certificate_valid(&ca, NOW_S + 1, NOW_S + 10, good),
                HostKeyError::Time { host: host() },
            ),
            (
                "an option",
                certificate(&ca, |builder| {
                    good(builder);
                    builder.critical_option("force-command", "x").unwrap();
                }),
                HostKeyError::CriticalOption { host: host() },
            ),
        ];
        for (what, certificate, wanted) in cases {
            let verdict = trusting(&ca).accepts_certificate("db.internal", &certificate, now());
            assert_eq!(verdict, Err(wanted), "{what}");
        }
    }

    #[test]
    fn the_second_it_begins_is_in_and_the_second_it_ends_is_out() {
        let ca = key();
        let certificate = certificate_valid(&ca, NOW_S, NOW_S + 2, good);
        for (offset, fine) in [(-1, false), (0, true), (1, true), (2, false)] {
            let at = Timestamp::from_second(i64::try_from(NOW_S).unwrap() + offset).unwrap();
            assert_eq!(
                trusting(&ca)
                    .accepts_certificate("db.internal", &certificate, at)
                    .is_ok(),
                fine,
                "{offset}"
            );
        }
        let before_1970 = Timestamp::from_second(-1).unwrap();
        assert!(
            trusting(&ca)
                .accepts_certificate("db.internal", &certificate, before_1970)
                .is_err()
        );
    }

    /// The public half of an authority is known to everybody: what counts is its signature.
    #[test]
    fn a_certificate_that_was_changed_is_refused() {
        let ca = key();
        let certificate = certificate(&ca, good);
        let bytes = certificate.to_bytes().unwrap();
        let name = bytes
            .windows(11)
            .position(|window| window == b"db.internal")
            .unwrap();
        let mut forged = bytes.clone();
        *forged.get_mut(name).unwrap() = b'e';
        let forged = Certificate::from_bytes(&forged).unwrap();
        assert_eq!(
            trusting(&ca).accepts_certificate("eb.internal", &forged, now()),
            Err(HostKeyError::Signature {
                host: "eb.internal".to_owned()
            })
        );
    }
}
