//! Whether the provider would do: for `bastion doctor`, before anybody signs in.

use jiff::{SignedDuration, Timestamp};

use super::issuer::Issuer;
use super::{LoginError, Refusal};
use crate::config::Oidc;

/// What a provider that answers was found to be.
#[derive(Debug)]
pub struct Probed {
    /// Whether this client gets a device code, or why not.
    pub client: Result<(), Refusal>,
    /// How far the provider's clock is ahead of the one here, where it says the time.
    pub clock: Option<SignedDuration>,
    /// Whether it says that it issues refresh tokens.
    pub refresh: bool,
    /// Whether it offers PKCE with S256.
    pub pkce: bool,
}

/// Why nothing is known of the provider.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The settings will not do.
    #[error(transparent)]
    Setting(#[from] LoginError),
    /// It cannot be reached, or is not what it should be.
    #[error(transparent)]
    Provider(#[from] Refusal),
}

/// Asks the provider for its metadata, and for a device code, which nobody will use.
///
/// # Errors
///
/// The provider cannot be reached, or calls itself otherwise.
pub async fn probe(oidc: &Oidc) -> Result<Probed, ProbeError> {
    let issuer = Issuer::new(oidc, std::time::Duration::ZERO)?;
    let about = issuer.about().await.map_err(Refusal::from)?;
    let now = Timestamp::now();
    Ok(Probed {
        client: issuer.device_code().await.map(drop).map_err(Refusal::from),
        clock: about.date.map(|date| date.duration_since(now)),
        refresh: about.refresh,
        pkce: about.pkce,
    })
}
