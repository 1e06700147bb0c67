//! Why somebody is not signed in: one reason for the log, one line for the client.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Identity, TokenError};
use crate::store::{SealError, StoreError};

/// A sign-in that did not come about. `Display` is for the log: one printable line with the causes,
/// which may name what the client must not learn; [`Refusal::notice`] is for the client.
#[derive(Debug)]
pub struct Refusal(Reason);

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The causes are in `Display` already.
impl Error for Refusal {}

impl Refusal {
    /// The reason.
    pub fn reason(&self) -> &Reason {
        &self.0
    }

    /// The line for the client: printable ASCII, without a line end.
    pub fn notice(&self) -> String {
        self.0.notice().to_owned()
    }
}

/// Why a sign-in was refused.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The user, or the provider for them, said no.
    #[error("denied at the provider ({said})")]
    Denied {
        /// The provider's word for it, made printable.
        said: String,
    },
    /// Nobody used the code in time.
    #[error("the code expired")]
    Expired,
    /// The provider did not answer, or not with what can be understood.
    #[error("the provider cannot be reached: {cause}")]
    Unreachable {
        /// What happened, made printable.
        cause: String,
    },
    /// The key belongs to somebody else.
    #[error("{seen} signed in with a key that belongs to {owner}")]
    WrongAccount {
        /// The person the key belongs to.
        owner: Identity,
        /// The person who signed in.
        seen: Identity,
    },
    /// The person is in no group that may connect.
    #[error("{who} is in no group that may connect: {why}")]
    NoGroup {
        /// The person.
        who: Identity,
        /// What was found in the groups claim.
        why: String,
    },
    /// The person is locked here.
    #[error("{who} is locked here")]
    Locked {
        /// The person.
        who: Identity,
    },
    /// The provider refuses this client, or lacks what is needed.
    #[error("the provider or its configuration is not right: {what}")]
    Misconfigured {
        /// What to look at, made printable.
        what: String,
    },
    /// The ID token is not to be believed.
    #[error("the ID token is not valid")]
    Untrusted(#[source] TokenError),
    /// A limit on pending sign-ins.
    #[error("too many sign-ins pending {0}")]
    TooMany(Crowd),
    /// No key was proven, and `oidc.require_key` is on.
    #[error("no key was proven")]
    KeyNeeded,
    /// The store can't answer.
    #[error("the store cannot answer")]
    Store(#[source] StoreError),
    /// What must be sealed cannot be.
    #[error("a token cannot be sealed")]
    Seal(#[source] SealError),
}

/// Which limit on pending sign-ins was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// One a key.
    Key,
    /// Those of one source address (IPv6: of one /64 network).
    Source,
    /// All.
    Total,
    /// Those of one source address within a minute, pending or not.
    Minute,
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "with this key",
            Self::Source => "from this source",
            Self::Total => "in total",
            Self::Minute => "from this source within a minute",
        })
    }
}

impl Reason {
    /// What came of the sign-in, in a word for logs and metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Unreachable { .. } => "unreachable",
            Self::WrongAccount { .. } => "wrong_account",
            Self::NoGroup { .. } => "no_group",
            Self::Locked { .. } => "locked",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Untrusted(_) => "untrusted",
            Self::TooMany(_) => "too_many",
            Self::KeyNeeded => "key_needed",
            Self::Store(_) | Self::Seal(_) => "store",
        }
    }

    fn notice(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "the sign-in was denied at the identity provider",
            Self::Expired => "the sign-in code has expired; connect again for a new one",
            Self::Unreachable { .. } => "the identity provider cannot be reached; try again later",
            Self::WrongAccount { .. } => {
                "this SSH key belongs to another account; sign in with that account or use another key"
            }
            Self::NoGroup { .. } => {
                "your account is in no group that may connect; ask your administrator"
            }
            Self::Locked { .. } => "your account is locked on this server; ask your administrator",
            Self::Misconfigured { .. } => {
                "the identity provider is not set up for this server; ask your administrator"
            }
            Self::Untrusted(_) => {
                "the identity provider's answer could not be verified; ask your administrator"
            }
            Self::TooMany(Crowd::Key) => {
                "too many sign-ins pending: one with this key is waiting already"
            }
            Self::TooMany(Crowd::Source) => {
                "too many sign-ins pending from your address; finish one or wait"
            }
            Self::TooMany(Crowd::Total) => "too many sign-ins pending; try again later",
            Self::TooMany(Crowd::Minute) => {
                "too many sign-ins from your address; try again in a minute"
            }
            Self::KeyNeeded => "an SSH key is needed to sign in; make one with ssh-keygen",
            Self::Store(_) | Self::Seal(_) => {
                "sign-in is not possible at the moment; ask your administrator"
            }
        }
    }
}

/// Why sign-ins can't be offered, or a lease not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The issuer's URL will not do.
    #[error("oidc.issuer: {0}")]
    Issuer(String),
    /// A setting is missing or out of range.
    #[error("oidc.{key}: {problem}")]
    Setting {
        /// The configuration key.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file that the configuration names can't be read.
    #[error("oidc.{key}: cannot read {}", path.display())]
    File {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The HTTP client could not be made; mostly there is no CA to trust.
    #[error("cannot speak https; is the package ca-certificates installed, or oidc.ca_file set?")]
    Http(#[source] reqwest::Error),
    /// The store can't answer.
    #[error("the store cannot answer")]
    Store(#[source] StoreError),
    /// What must be sealed cannot be.
    #[error("a token cannot be sealed")]
    Seal(#[source] SealError),
}

impl LoginError {
    /// The line for a client.
    pub fn notice(&self) -> &'static str {
        "sign-in is not possible at the moment; ask your administrator"
    }
}
