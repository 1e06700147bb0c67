//! What an ID token must be to be believed (OpenID Connect Core 1.0, section 3.1.3.7).
//!
//! The library checks the signature, the issuer, the audience and `exp`; this module gives it the
//! keys and algorithms that will do and checks what it leaves out: `azp`, `iat`, `nbf`, the subject.
//! Reads no clock and sends nothing.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use openidconnect::core::{
    CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySet, Nonce, SignatureVerificationError,
};
use serde_json::{Map, Value};

use super::text;

/// What the token must say.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) client_id: String,
    /// Leeway for `exp`, `iat` and `nbf`; above [`MAX_SKEW`] it counts as that.
    pub(super) skew: Duration,
}

/// The provider's signing keys that will do.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<CoreJsonWebKey>);

/// The claims of a token that was believed.
#[derive(Clone, Debug)]
pub(super) struct Believed {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
}

/// Why an ID token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token at all, or not one that this program understands.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// No known key made the signature; the provider may have a new one.
    #[error("no key of the provider fits it")]
    NoMatchingKey,
    /// The signature is wrong, or made in a way that is not accepted.
    #[error("its signature: {0}")]
    Signature(String),
    /// Another issuer, audience, or time than it should have.
    #[error("{0}")]
    Claims(String),
}

impl Keys {
    /// Reads a JWK set (RFC 7517, section 5). Keys that are no use here are left out: symmetric ones
    /// (anybody could have put a public value there), those for encryption, RSA under 2048 bits,
    /// curves and types that are not known.
    ///
    /// # Errors
    ///
    /// When it is no JWK set, or has more than [`MAX_KEYS`] keys.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("{} keys, more than {MAX_KEYS}", set.keys.len()));
        }
        Ok(Self(
            set.keys
                .into_iter()
                .filter(is_strong)
                .filter_map(|key| serde_json::from_value(key).ok())
                .collect(),
        ))
    }
}

/// Whether a key is asymmetric and long enough. Its `alg` and `use` are the library's to check.
fn is_strong(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    match text("kty") {
        Some("RSA") => text("n")
            .and_then(|n| data_encoding::BASE64URL_NOPAD.decode(n.as_bytes()).ok())
            .is_some_and(|n| {
                let zeros = n.iter().take_while(|byte| **byte == 0).count();
                n.len() - zeros >= MIN_RSA_BYTES && n.len() - zeros <= MAX_RSA_BYTES
            }),
        Some("EC" | "OKP") => true,
        _ => false,
    }
}

/// Believes a token, or says why not.
///
/// # Errors
///
/// [`TokenError::NoMatchingKey`] where newer keys may help; any other is final.
pub(super) fn verify(
    token: &str,
    keys: &Keys,
    expected: &Expected,
    now: Timestamp,
) -> Result<Believed, TokenError> {
    let skew = expected.skew.min(MAX_SKEW);
    let parsed = CoreIdToken::from_str(token)
        .map_err(|error| TokenError::Unreadable(text::printable(&error.to_string(), DETAIL_MAX)))?;
    parsed.claims(&verifier(keys, expected, now, skew)?, no_nonce)?;
    // The library knows its own claims only; ours have names that the configuration gives.
    let claims = payload(token)?;
    check_party(&claims, &expected.client_id)?;
    check_start(&claims, now, skew)?;
    Ok(Believed {
        issuer: expected.issuer.clone(),
        subject: subject(&claims)?,
        claims,
    })
}

fn verifier(
    keys: &Keys,
    expected: &Expected,
    now: Timestamp,
    skew: Duration,
) -> Result<CoreIdTokenVerifier<'static>, TokenError> {
    let issuer = IssuerUrl::new(expected.issuer.clone())
        .map_err(|error| TokenError::Claims(error.to_string()))?;
    // Without a client secret in it, the verifier has nothing that an HMAC could be made with.
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(expected.client_id.clone()),
        issuer,
        JsonWebKeySet::new(keys.0.clone()),
    );
    let latest = u64::try_from(now.as_millisecond())
        .ok()
        .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
        .and_then(|now| now.checked_sub(skew))
        .ok_or_else(|| TokenError::Claims("the clock here is not right".to_owned()))?;
    Ok(verifier
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || latest.into()))
}

/// The device flow has no front channel that a nonce could protect: none is sent, none is expected.
fn no_nonce(_: Option<&Nonce>) -> Result<(), String> {
    Ok(())
}

impl From<ClaimsVerificationError> for TokenError {
    fn from(error: ClaimsVerificationError) -> Self {
        let detail = |text: String| text::printable(&text, DETAIL_MAX);
        match error {
            ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            ) => Self::NoMatchingKey,
            ClaimsVerificationError::SignatureVerification(error) => {
                Self::Signature(detail(error.to_string()))
            }
            error => Self::Claims(detail(error.to_string())),
        }
    }
}

/// The payload of a token whose signature is known to be good.
fn payload(token: &str) -> Result<Map<String, Value>, TokenError> {
    let unreadable = |what: &str| TokenError::Unreadable(what.to_owned());
    let encoded = token
        .split('.')
        .nth(1)
        .ok_or_else(|| unreadable("one part"))?;
    let json = data_encoding::BASE64URL_NOPAD
        .decode(encoded.as_bytes())
        .map_err(|_| unreadable("not base64"))?;
    serde_json::from_slice(&json).map_err(|_| unreadable("not a JSON object"))
}

/// Steps 4 and 5: an authorised party that is named must be this client, and must be named where
/// there are several audiences.
fn check_party(claims: &Map<String, Value>, client_id: &str) -> Result<(), TokenError> {
    let several = claims
        .get("aud")
        .and_then(Value::as_array)
        .is_some_and(|audiences| audiences.len() > 1);
    match claims.get("azp") {
        None if several => Err(TokenError::Claims("several audiences, no azp".to_owned())),
        None => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        Some(_) => Err(TokenError::Claims("azp names another client".to_owned())),
    }
}

/// Step 10, and RFC 7519, section 4.1.5: not before its time.
fn check_start(
    claims: &Map<String, Value>,
    now: Timestamp,
    skew: Duration,
) -> Result<(), TokenError> {
    let latest = now.as_second() as f64 + skew.as_secs_f64();
    for (name, needed) in [("iat", true), ("nbf", false)] {
        match claims.get(name).map(Value::as_f64) {
            None if !needed => {}
            Some(Some(start)) if start <= latest => {}
            Some(Some(_)) => return Err(TokenError::Claims(format!("{name} is in the future"))),
            Some(None) | None => return Err(TokenError::Claims(format!("{name} is no time"))),
        }
    }
    Ok(())
}

/// 1 to 255 characters (section 2), none of which could hide or be mistaken in a log.
fn subject(claims: &Map<String, Value>) -> Result<String, TokenError> {
    match claims.get("sub").and_then(Value::as_str) {
        Some(subject)
            if !subject.is_empty() && subject.len() <= MAX_SUBJECT && text::is_plain(subject) =>
        {
            Ok(subject.to_owned())
        }
        _ => Err(TokenError::Claims(
            "sub is missing or not usable".to_owned(),
        )),
    }
}

/// The asymmetric algorithms of RFC 7518 and RFC 8037 that the library can check.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];
const MAX_SKEW: Duration = Duration::from_secs(60);
const MAX_KEYS: usize = 100;
const MIN_RSA_BYTES: usize = 2048 / 8;
/// Larger ones cost more to check than anybody needs.
const MAX_RSA_BYTES: usize = 8192 / 8;
const MAX_SUBJECT: usize = 255;
/// Words of a token in an error, in bytes.
const DETAIL_MAX: usize = 300;

#[cfg(test)]
mod tests;
