//! Seals what lies in the store and must not be read there: AES-256-GCM under one key, with what
//! the value belongs to as additional data, so that it is of no use in another row.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::BASE64;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::{FileError, read_private};

/// The key. It is not shown, copied or compared.
pub struct SealKey(RandomizedNonceKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file can't be read, or others can read it.
    #[error("store_key: {0}")]
    File(#[from] FileError),
    /// Not 32 bytes in base64.
    #[error(
        "store_key: {file} does not hold 32 bytes in base64; make it with: head -c 32 /dev/urandom | base64"
    )]
    Form {
        /// The file.
        file: String,
    },
    /// The system has no randomness, or the library failed.
    #[error("the library for sealing failed")]
    Library,
}

impl SealKey {
    /// Reads the key from a file that nobody else can read.
    ///
    /// # Errors
    ///
    /// When the file is not private, or holds no key.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let text = read_private(path)?;
        let form = || SealError::Form {
            file: path.display().to_string(),
        };
        let text = text.trim_ascii_end();
        // Longer than its text, so that nothing is copied by growing.
        let mut bytes = Zeroizing::new(vec![0; text.len()]);
        let length = BASE64
            .decode_len(text.len())
            .ok()
            .filter(|length| *length <= bytes.len())
            .ok_or_else(form)?;
        let decoded = bytes.get_mut(..length).ok_or_else(form)?;
        let length = BASE64.decode_mut(text, decoded).map_err(|_| form())?;
        let key = decoded
            .get(..length)
            .filter(|key| key.len() == KEY_LEN)
            .ok_or_else(form)?;
        Self::of(key)
    }

    /// A key that nobody else has, and that is gone with this value.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn ephemeral() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        aws_lc_rs::rand::fill(&mut *key).map_err(|_| SealError::Library)?;
        Self::of(&*key)
    }

    fn of(key: &[u8]) -> Result<Self, SealError> {
        RandomizedNonceKey::new(&AES_256_GCM, key)
            .map(Self)
            .map_err(|_| SealError::Library)
    }

    /// Seals `text`, which then opens only with the same `belongs_to`.
    ///
    /// # Errors
    ///
    /// When there is no randomness for a nonce.
    pub fn seal(&self, belongs_to: &str, text: &SecretString) -> Result<Vec<u8>, SealError> {
        use secrecy::ExposeSecret;
        let mut sealed = Vec::with_capacity(text.expose_secret().len() + NONCE_LEN + 32);
        sealed.extend_from_slice(text.expose_secret().as_bytes());
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(belongs_to.as_bytes()), &mut sealed)
            .map_err(|_| SealError::Library)?;
        sealed.extend_from_slice(nonce.as_ref());
        Ok(sealed)
    }

    /// What was sealed; none where it was sealed with another key, belongs to something else, or
    /// was changed.
    pub fn open(&self, belongs_to: &str, sealed: &[u8]) -> Option<SecretString> {
        let (sealed, nonce) = sealed.split_at_checked(sealed.len().checked_sub(NONCE_LEN)?)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let text = self
            .0
            .open_in_place(nonce, Aad::from(belongs_to.as_bytes()), &mut bytes)
            .ok()?;
        std::str::from_utf8(text).ok().map(SecretString::from)
    }
}

const KEY_LEN: usize = 32;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    proptest! {
        /// What is sealed opens for its owner, with its key, and unchanged; and no other way.
        #[test]
        fn only_the_same_key_owner_and_bytes_open(
            text in "\\PC{0,60}", owner in "[a-z]{1,8}", other in "[A-Z]{1,8}", at: prop::sample::Index, bit in 0..8_u32,
        ) {
            let key = SealKey::ephemeral().unwrap();
            let mut sealed = key.seal(&owner, &text.clone().into()).unwrap();
            let opened = key.open(&owner, &sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), text.as_str());
            prop_assert!(key.open(&other, &sealed).is_none());
            prop_assert!(SealKey::ephemeral().unwrap().open(&owner, &sealed).is_none());
            let at = at.index(sealed.len());
            if let Some(byte) = sealed.get_mut(at) {
                *byte ^= 1 << bit;
            }
            prop_assert!(key.open(&owner, &sealed).is_none());
        }

        /// Whatever lies in the store, opening it ends.
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            prop_assert!(SealKey::ephemeral().unwrap().open("x", &bytes).is_none());
        }
    }

    #[test]
    fn a_file_holds_32_bytes_in_base64_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = BASE64.encode(&[7; 32]);
        for (text, fine) in [
            (format!("{key}\n"), true),
            (key.clone(), true),
            (format!("{key}\r\n"), true),
            (BASE64.encode(&[7; 31]), false),
            (BASE64.encode(&[7; 33]), false),
            (format!("{key}{key}"), false),
            ("a".repeat(32), false),
            (String::new(), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(SealKey::load(&path).is_ok(), fine, "{text:?}");
        }
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SealKey::load(&path), Err(SealError::File(_))));
    }
}
