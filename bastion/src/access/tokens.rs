//! The keys that tell tokens apart.
//!
//! Tokens and formats are of one session and of one process: no token can be compared with one of
//! another day. Stable tokens are the same in all sessions, and have a key of their own that the
//! operator keeps; it is read where a rule asks for such tokens, and nowhere else.

use std::path::Path;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use scanner::RulesBuilder;
use zeroize::Zeroizing;

use crate::config::{KeyError, read_key};

/// Where the key of stable tokens comes from.
#[derive(Clone, Copy, Debug)]
pub enum StableKey<'a> {
    /// From the file `masks.key_file`.
    File(&'a Path),
    /// From nowhere: for whoever tries policies out. Such tokens are of that run only.
    MadeUp,
}

/// The keys of a folder's rules.
pub(super) struct TokenKeys {
    session: Zeroizing<[u8; KEY]>,
    /// Nobody can use the one that is made up where no rule asks for it.
    stable: Zeroizing<[u8; KEY]>,
}

impl TokenKeys {
    /// Keys for rules of which some want stable tokens, or none.
    pub(super) fn new(from: StableKey<'_>, wanted: bool) -> Result<Self, TokenKeyError> {
        let stable = match from {
            StableKey::File(path) if wanted => derived(&*read_key(path)?)?,
            StableKey::File(_) | StableKey::MadeUp => random()?,
        };
        Ok(Self {
            session: random()?,
            stable,
        })
    }

    /// Rules with these keys.
    pub(super) fn give(&self, rules: RulesBuilder) -> RulesBuilder {
        rules.token_key(&*self.session).stable_key(&*self.stable)
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenKeyError {
    /// Nothing can be made up.
    #[error("the system gives no random numbers")]
    Random,
    /// A rule asks for stable tokens, and there is no key for them.
    #[error("a stable token needs a key: {0}")]
    Stable(#[from] KeyError),
}

impl TokenKeyError {
    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Random => "look at the system's random number generator",
            Self::Stable(_) => {
                "make one with: head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n' > FILE; chmod 600 FILE (masks.key_file), or leave out stable"
            }
        }
    }
}

fn random() -> Result<Zeroizing<[u8; KEY]>, TokenKeyError> {
    let mut key = Zeroizing::new([0; KEY]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| TokenKeyError::Random)?;
    Ok(key)
}

/// What the file's key gives for this one use (HKDF-SHA256, RFC 5869), so that a file that somebody
/// also uses elsewhere gives nothing away here.
fn derived(master: &[u8]) -> Result<Zeroizing<[u8; KEY]>, TokenKeyError> {
    let mut key = Zeroizing::new([0; KEY]);
    Salt::new(HKDF_SHA256, b"bastion")
        .extract(master)
        .expand(&[b"stable tokens 1"], Length)
        .and_then(|derived| derived.fill(&mut *key))
        // It fails for lengths over 255 hashes only.
        .map_err(|_| TokenKeyError::Random)?;
    Ok(key)
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

/// Bytes of a key.
const KEY: usize = 32;
