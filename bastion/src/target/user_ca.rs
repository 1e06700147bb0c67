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
    #[error("cannot sign a certificate")]
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

    /// An authority that exists for one test.
    #[cfg(test)]
    pub(crate) fn of_a_test() -> Self {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519);
        Self {
            key: key.expect("a key can be made"),
        }
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

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::process::Command;

    use super::*;

    #[test]
    fn a_certificate_is_for_one_login_and_two_minutes() {
        let ca = UserCa::of_a_test();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (key, certificate) = ca.mint_at("postgres", "alice", now).unwrap();
        assert_eq!(certificate.public_key(), key.public_key().key_data());
        assert_eq!(certificate.valid_principals(), ["postgres"]);
        assert_eq!(certificate.cert_type(), CertType::User);
        assert_eq!(certificate.key_id(), "alice");
        assert_eq!(
            (certificate.valid_after(), certificate.valid_before()),
            (1_799_999_940, 1_800_000_060)
        );
        assert!(certificate.critical_options().is_empty());
        assert_eq!(
            certificate.extensions().keys().collect::<Vec<_>>(),
            ["permit-pty"]
        );
        let trusted = [ca.public_key().fingerprint(HashAlg::Sha256)];
        certificate.validate_at(1_800_000_000, &trusted).unwrap();
    }

    #[test]
    fn no_two_connections_share_a_key() {
        let ca = UserCa::of_a_test();
        let (first, second) = (ca.mint("a", "x").unwrap(), ca.mint("a", "x").unwrap());
        assert_ne!(first.1.public_key(), second.1.public_key());
        assert_ne!(first.1.serial(), second.1.serial());
        assert_ne!(first.1.nonce(), second.1.nonce());
    }

    /// Without principals a certificate would be good for every login.
    #[test]
    fn no_principal_is_no_certificate() {
        assert!(matches!(
            UserCa::of_a_test().mint("", "alice"),
            Err(MintError::Principal)
        ));
    }

    #[test]
    fn a_name_from_elsewhere_cannot_write_into_the_log_of_a_target() {
        for (name, shown) in [
            ("alice", "alice"),
            ("a\nAccepted key for root", "a\\u{a}Accepted key for root"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("Zo\u{eb}", "Zo\\u{eb}"),
        ] {
            assert_eq!(loggable(name), shown);
        }
        assert!(loggable(&"\u{1f600}".repeat(1_000)).len() < KEY_ID_MAX + 10);
    }

    #[test]
    fn openssh_reads_it_as_it_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let ca = UserCa::of_a_test();
        let (_, certificate) = ca
            .mint("postgres", "alice (https://id.example.com)")
            .unwrap();
        let file = folder.path().join("id-cert.pub");
        certificate.write_file(&file).unwrap();
        let output = Command::new("ssh-keygen")
            .arg("-L")
            .arg("-f")
            .arg(&file)
            .env("TZ", "UTC")
            .output();
        let output = output.expect("ssh-keygen, of the package openssh-client, is needed");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        for wanted in [
            "Type: ssh-ed25519-cert-v01@openssh.com user certificate".to_owned(),
            format!(
                "Signing CA: ED25519 {}",
                ca.public_key().fingerprint(HashAlg::Sha256)
            ),
            "Key ID: \"alice (https://id.example.com)\"".to_owned(),
            "Principals: \n                postgres\n".to_owned(),
            "Critical Options: (none)".to_owned(),
            "Extensions: \n                permit-pty\n".to_owned(),
        ] {
            assert!(text.contains(&wanted), "{wanted} is not in\n{text}");
        }
    }

    #[test]
    fn its_key_is_not_printed() {
        let ca = UserCa::of_a_test();
        let printed = format!("{ca:?}");
        assert_eq!(
            printed,
            format!("UserCa({})", ca.public_key().fingerprint(HashAlg::Sha256))
        );
    }
}
