//! The only part that talks to the provider: HTTP, discovery (OpenID Connect Discovery 1.0), the
//! requests of the device flow (RFC 8628), userinfo, and the provider's signing keys.
//!
//! Owns what is remembered of the provider. Says what was answered, and leaves to `flow` what that
//! means and to `token` what is believed.

mod http;
mod parse;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use openidconnect::PkceCodeChallenge;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{self, Instant};
use url::Url;

use super::flow::Answer;
use super::token::{self, Believed, Expected, Keys, TokenError};
use super::{LoginError, Reason, text};
use crate::config::{Oidc, Pkce};
use http::{Client, Failure};
use parse::Metadata;
pub(super) use parse::Refreshed;

/// The provider, and what is known of it.
pub(super) struct Issuer {
    client: Client,
    expected: Expected,
    discovery: Url,
    scopes: String,
    extra_params: Vec<(String, String)>,
    pkce: Pkce,
    timeout: Duration,
    keys_pause: Duration,
    known: Mutex<Known>,
    /// One fetch of metadata or keys at a time: who waited finds it done.
    fetching: Semaphore,
}

#[derive(Default)]
struct Known {
    metadata: Option<Dated<Metadata>>,
    keys: Option<Dated<Keys>>,
    /// The last time that keys were fetched out of turn.
    keys_refetched: Option<Instant>,
}

struct Dated<T> {
    at: Instant,
    value: Arc<T>,
}

/// A code that the provider has issued (RFC 8628, section 3.2), checked to be fit to be shown.
pub(super) struct DeviceCode {
    pub(super) device_code: SecretString,
    pub(super) user_code: String,
    pub(super) uri: String,
    pub(super) complete_uri: Option<String>,
    pub(super) life: Duration,
    pub(super) interval: Option<Duration>,
    pub(super) token_endpoint: Url,
    pub(super) pkce_verifier: Option<SecretString>,
}

/// What a provider says of itself.
pub(super) struct About {
    /// Its clock, where it says it.
    pub(super) date: Option<Timestamp>,
    /// Whether it issues refresh tokens.
    pub(super) refresh: bool,
    pub(super) pkce: bool,
}

impl Issuer {
    pub(super) fn new(oidc: &Oidc, keys_pause: Duration) -> Result<Self, LoginError> {
        let issuer = http::trusted_url(&oidc.issuer).map_err(LoginError::Issuer)?;
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err(LoginError::Issuer(
                "has a query or a fragment; write it as the provider does".to_owned(),
            ));
        }
        if oidc.client_id.is_empty() {
            return Err(LoginError::Setting {
                key: "client_id",
                problem: "is empty; take it from the provider".to_owned(),
            });
        }
        if let Some((name, _)) = oidc
            .extra_params
            .iter()
            .find(|(name, _)| OWN_PARAMS.contains(&name.as_str()))
        {
            return Err(LoginError::Setting {
                key: "extra_params",
                problem: format!("{name} has a setting of its own; take it out"),
            });
        }
        let base = oidc.issuer.strip_suffix('/').unwrap_or(&oidc.issuer);
        let discovery = http::trusted_url(&format!("{base}/.well-known/openid-configuration"))
            .map_err(LoginError::Issuer)?;
        let mut scopes = oidc.scopes.clone();
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        Ok(Self {
            client: Client::new(oidc, issuer.scheme() == "https")?,
            expected: Expected {
                issuer: oidc.issuer.clone(),
                client_id: oidc.client_id.clone(),
                skew: oidc.clock_skew,
            },
            discovery,
            scopes: scopes.join(" "),
            extra_params: oidc.extra_params.clone(),
            pkce: oidc.pkce,
            timeout: oidc.http_timeout,
            keys_pause,
            known: Mutex::default(),
            fetching: Semaphore::new(1),
        })
    }

    /// Asks for a code.
    pub(super) async fn device_code(&self) -> Result<DeviceCode, Reason> {
        let metadata = self.metadata().await?;
        let endpoint = metadata
            .device_authorization_endpoint
            .as_ref()
            .ok_or_else(|| misconfigured("it offers no device flow"))?;
        let pkce = match self.pkce {
            Pkce::Off => false,
            Pkce::On => true,
            Pkce::Auto => metadata.pkce_s256,
        }
        .then(PkceCodeChallenge::new_random_sha256);
        let mut form = vec![("scope", self.scopes.as_str())];
        if let Some((challenge, _)) = &pkce {
            form.push(("code_challenge", challenge.as_str()));
            form.push(("code_challenge_method", challenge.method().as_str()));
        }
        let extra = self.extra_params.iter();
        form.extend(extra.map(|(name, value)| (name.as_str(), value.as_str())));
        let asked = self.client.post(endpoint, &form);
        let reply = self.in_time(asked).await?;
        let code = parse::device_code(&reply)?;
        Ok(DeviceCode {
            device_code: code.device_code,
            user_code: code.user_code,
            uri: code.uri,
            complete_uri: code.complete_uri,
            life: code.life,
            interval: code.interval,
            token_endpoint: metadata.token_endpoint.clone(),
            pkce_verifier: pkce.map(|(_, verifier)| verifier.into_secret().into()),
        })
    }

    /// Asks once whether the code has been used (RFC 8628, section 3.4).
    pub(super) async fn poll(&self, code: &DeviceCode) -> Answer {
        let mut form = vec![
            ("grant_type", DEVICE_GRANT),
            ("device_code", code.device_code.expose_secret()),
        ];
        if let Some(verifier) = &code.pkce_verifier {
            form.push(("code_verifier", verifier.expose_secret()));
        }
        let asked = self.client.post(&code.token_endpoint, &form);
        match time::timeout(self.timeout, asked).await {
            Ok(Ok(reply)) => parse::answer(&reply),
            Ok(Err(failure)) => Answer::Unreachable(failure.to_string()),
            Err(_) => Answer::Unreachable(NO_ANSWER.to_owned()),
        }
    }

    /// What the provider says of itself now, whatever is remembered.
    pub(super) async fn about(&self) -> Result<About, Reason> {
        let reply = self.in_time(self.client.get(&self.discovery, None)).await?;
        let metadata = parse::metadata(&reply, &self.expected.issuer)?;
        Ok(About {
            date: reply.date,
            refresh: metadata.refresh,
            pkce: metadata.pkce_s256,
        })
    }

    /// Uses a refresh token (RFC 6749, section 6).
    pub(super) async fn refresh(&self, token: &SecretString) -> Result<Refreshed, Reason> {
        let metadata = self.metadata().await?;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose_secret()),
        ];
        let asked = self.client.post(&metadata.token_endpoint, &form);
        let reply = self.in_time(asked).await?;
        parse::refreshed(&reply)
    }

    /// Believes an ID token, if need be after a look for new signing keys.
    pub(super) async fn verify(
        &self,
        id_token: &SecretString,
        now: Timestamp,
    ) -> Result<Believed, Reason> {
        let check =
            |keys: &Keys| token::verify(id_token.expose_secret(), keys, &self.expected, now);
        let keys = self.keys().await?;
        match check(&keys) {
            Err(TokenError::NoMatchingKey) => {
                let newer = self.newer_keys(&keys).await?;
                check(newer.as_deref().unwrap_or(&keys))
            }
            verdict => verdict,
        }
        .map_err(Reason::Untrusted)
    }

    /// What the userinfo endpoint says about `subject`; none where there is no such endpoint.
    pub(super) async fn userinfo(
        &self,
        access_token: &SecretString,
        subject: &str,
    ) -> Result<Option<Map<String, Value>>, Reason> {
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.userinfo_endpoint else {
            return Ok(None);
        };
        let asked = self.client.get(endpoint, Some(access_token));
        let reply = self.in_time(asked).await?;
        parse::userinfo(&reply, subject).map(Some)
    }

    /// The provider's metadata, fetched when there is none or it is old. When a newer one can't be
    /// had, the old one goes on: what it names answers or does not.
    async fn metadata(&self) -> Result<Arc<Metadata>, Reason> {
        let young = || {
            let known = self.known();
            let dated = known.metadata.as_ref()?;
            (dated.at.elapsed() < METADATA_AGE).then(|| Arc::clone(&dated.value))
        };
        if let Some(metadata) = young() {
            return Ok(metadata);
        }
        let fetch = async {
            let _turn = self.fetching.acquire().await;
            if let Some(metadata) = young() {
                return Ok::<_, Reason>(metadata);
            }
            let reply = self.client.get(&self.discovery, None).await?;
            let metadata = Arc::new(parse::metadata(&reply, &self.expected.issuer)?);
            self.known().metadata = Some(Dated {
                at: Instant::now(),
                value: Arc::clone(&metadata),
            });
            Ok(metadata)
        };
        match self.in_time(fetch).await {
            Ok(metadata) => Ok(metadata),
            Err(reason) => {
                let old = self
                    .known()
                    .metadata
                    .as_ref()
                    .map(|old| Arc::clone(&old.value));
                let Some(old) = old else { return Err(reason) };
                tracing::warn!(%reason, "the provider's metadata could not be read again");
                Ok(old)
            }
        }
    }

    /// The provider's signing keys, fetched when there are none or they are old: a key that the
    /// provider has withdrawn is not trusted for longer than [`KEYS_AGE`].
    async fn keys(&self) -> Result<Arc<Keys>, Reason> {
        let young = || {
            let known = self.known();
            let dated = known.keys.as_ref()?;
            (dated.at.elapsed() < KEYS_AGE).then(|| Arc::clone(&dated.value))
        };
        if let Some(keys) = young() {
            return Ok(keys);
        }
        let metadata = self.metadata().await?;
        self.in_time(async {
            let _turn = self.fetching.acquire().await;
            match young() {
                Some(keys) => Ok::<_, Reason>(keys),
                None => self.fetch_keys(&metadata).await,
            }
        })
        .await
    }

    /// Keys newer than `seen`, which fitted a token not: fetched out of turn, at most once in
    /// `keys_pause`. None where that was too recently.
    async fn newer_keys(&self, seen: &Arc<Keys>) -> Result<Option<Arc<Keys>>, Reason> {
        let metadata = self.metadata().await?;
        self.in_time(async {
            let _turn = self.fetching.acquire().await;
            {
                let mut known = self.known();
                if let Some(dated) = &known.keys
                    && !Arc::ptr_eq(&dated.value, seen)
                {
                    return Ok::<_, Reason>(Some(Arc::clone(&dated.value)));
                }
                if known
                    .keys_refetched
                    .is_some_and(|at| at.elapsed() < self.keys_pause)
                {
                    return Ok(None);
                }
                known.keys_refetched = Some(Instant::now());
            }
            self.fetch_keys(&metadata).await.map(Some)
        })
        .await
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<Arc<Keys>, Reason> {
        let reply = self.client.get(&metadata.jwks_uri, None).await?;
        let keys = Arc::new(parse::keys(&reply)?);
        self.known().keys = Some(Dated {
            at: Instant::now(),
            value: Arc::clone(&keys),
        });
        Ok(keys)
    }

    /// Gives a request its deadline, which counts the waiting for a turn too.
    async fn in_time<T, E: Into<Reason>>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Reason> {
        match time::timeout(self.timeout, asked).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(Reason::Unreachable {
                cause: NO_ANSWER.to_owned(),
            }),
        }
    }

    /// Each change to what is known is whole, so a panic elsewhere does not spoil it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        Self::Unreachable {
            cause: failure.to_string(),
        }
    }
}

fn misconfigured(what: &str) -> Reason {
    Reason::Misconfigured {
        what: text::printable(what, WHAT_MAX),
    }
}

/// What this module sends itself in a device authorization request.
const OWN_PARAMS: [&str; 5] = [
    "client_id",
    "client_secret",
    "scope",
    "code_challenge",
    "code_challenge_method",
];
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const NO_ANSWER: &str = "no answer in time (oidc.http_timeout)";
/// A provider that moves an endpoint is followed after this.
const METADATA_AGE: Duration = Duration::from_secs(60 * 60);
const KEYS_AGE: Duration = Duration::from_secs(15 * 60);
/// Words of the provider in a reason, in bytes.
const WHAT_MAX: usize = 300;
