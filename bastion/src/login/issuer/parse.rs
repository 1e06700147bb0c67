//! What the provider's answers say. Pure: a status and bytes in, a meaning out.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::super::flow::{Answer, Tokens};
use super::super::token::Keys;
use super::super::{Reason, text};
use super::http::{Reply, trusted_url};
use super::misconfigured;

/// What is read of the provider's metadata (OpenID Connect Discovery 1.0, section 3; RFC 8628,
/// section 4).
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) device_authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) pkce_s256: bool,
    pub(super) refresh: bool,
}

/// RFC 8628, section 3.2.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) device_code: SecretString,
    pub(super) user_code: String,
    pub(super) uri: String,
    pub(super) complete_uri: Option<String>,
    pub(super) life: Duration,
    pub(super) interval: Option<Duration>,
}

/// Reads the metadata, which must be of exactly this issuer (section 4.3).
pub(super) fn metadata(reply: &Reply, issuer: &str) -> Result<Metadata, Reason> {
    let document = document(reply, "the discovery document")?;
    let named = string(&document, "issuer").unwrap_or_default();
    if named != issuer {
        return Err(misconfigured(&format!(
            "it calls itself {named}, oidc.issuer is {issuer}"
        )));
    }
    let url = |name: &str| -> Result<Option<Url>, Reason> {
        string(&document, name)
            .map(|text| {
                trusted_url(text).map_err(|problem| misconfigured(&format!("{name}: {problem}")))
            })
            .transpose()
    };
    let needed = |name: &str| {
        url(name)?.ok_or_else(|| misconfigured(&format!("the discovery document has no {name}")))
    };
    let lists = |name: &str, word: &str| {
        let list = document.get(name).and_then(Value::as_array);
        list.is_some_and(|words| words.iter().any(|found| found == word))
    };
    Ok(Metadata {
        device_authorization_endpoint: url("device_authorization_endpoint")?,
        token_endpoint: needed("token_endpoint")?,
        jwks_uri: needed("jwks_uri")?,
        userinfo_endpoint: url("userinfo_endpoint")?,
        pkce_s256: lists("code_challenge_methods_supported", "S256"),
        refresh: lists("grant_types_supported", "refresh_token")
            || lists("scopes_supported", "offline_access"),
    })
}

/// Reads the signing keys.
pub(super) fn keys(reply: &Reply) -> Result<Keys, Reason> {
    if reply.status != 200 {
        return Err(unreachable(&format!(
            "status {} for its keys",
            reply.status
        )));
    }
    Keys::parse(&reply.body).map_err(|error| misconfigured(&format!("its keys: {error}")))
}

/// Reads a code, and refuses one that can't be shown.
pub(super) fn device_code(reply: &Reply) -> Result<Code, Reason> {
    let document = match error_of(reply) {
        Some(error) => {
            return Err(misconfigured(&format!(
                "it refuses to issue a code: {error}"
            )));
        }
        None => document(reply, "the device authorization endpoint")?,
    };
    let missing = |name: &str| misconfigured(&format!("a code without {name}"));
    // `verification_url` is what it was called before there was an RFC.
    let uri = string(&document, "verification_uri")
        .or_else(|| string(&document, "verification_url"))
        .ok_or_else(|| missing("verification_uri"))?;
    let user_code = string(&document, "user_code").ok_or_else(|| missing("user_code"))?;
    if user_code.is_empty()
        || user_code.len() > text::CODE_MAX
        || !user_code.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(misconfigured("a code that cannot be shown"));
    }
    let device_code = string(&document, "device_code")
        .filter(|code| !code.is_empty())
        .ok_or_else(|| missing("device_code"))?;
    let life = seconds(&document, "expires_in").ok_or_else(|| missing("expires_in"))?;
    Ok(Code {
        device_code: device_code.into(),
        user_code: user_code.to_owned(),
        uri: shown_uri(uri)?,
        // Optional, and only a convenience: one that can't be shown is left out.
        complete_uri: string(&document, "verification_uri_complete")
            .and_then(|uri| shown_uri(uri).ok()),
        life,
        interval: seconds(&document, "interval"),
    })
}

/// What the answer to a poll says (RFC 8628, section 3.5, and what products make of it).
pub(super) fn answer(reply: &Reply) -> Answer {
    if reply.status == 429 {
        return Answer::SlowDown;
    }
    if let Some(error) = error_of(reply) {
        return match error.code.as_str() {
            "authorization_pending" => Answer::Pending,
            "slow_down" => Answer::SlowDown,
            // The second is what Microsoft's says.
            "access_denied" | "authorization_declined" => Answer::Denied(error.to_string()),
            "expired_token" => Answer::Expired,
            "temporarily_unavailable" | "server_error" => Answer::Unreachable(error.to_string()),
            // The code is known and not to be had: used up, or its account is gone.
            "invalid_grant" => Answer::Denied(error.to_string()),
            _ => Answer::Misconfigured(error.to_string()),
        };
    }
    let Ok(document) = serde_json::from_slice::<Map<String, Value>>(&reply.body) else {
        return Answer::Unreachable(format!("status {} and no JSON", reply.status));
    };
    if !(200..300).contains(&reply.status) {
        return Answer::Unreachable(format!("status {} without an error", reply.status));
    }
    let token = |name: &str| {
        string(&document, name)
            .filter(|token| !token.is_empty())
            .map(SecretString::from)
    };
    match (token("access_token"), token("id_token")) {
        (Some(access_token), Some(id_token)) => Answer::Issued(Tokens {
            id_token,
            access_token,
            access_life: seconds(&document, "expires_in"),
            refresh_token: token("refresh_token"),
        }),
        (Some(_), None) => Answer::Misconfigured(
            "it issued no ID token; is it an OpenID provider, and the scope openid allowed?".into(),
        ),
        (None, _) => Answer::Misconfigured("an answer with neither token nor error".into()),
    }
}

/// What a refresh token brought.
pub(in super::super) struct Refreshed {
    pub(in super::super) access_token: SecretString,
    /// Not every provider sends one (OpenID Connect Core 1.0, section 12.2).
    pub(in super::super) id_token: Option<SecretString>,
    /// The one that takes the place of the one that was used, where the provider rotates them.
    pub(in super::super) refresh_token: Option<SecretString>,
}

/// What the answer to a refresh says (RFC 6749, section 5.2; OpenID Connect Core 1.0, section 12).
/// [`Reason::Denied`] is the provider's no to this person; every other reason says nothing of them.
pub(super) fn refreshed(reply: &Reply) -> Result<Refreshed, Reason> {
    if reply.status == 429 {
        return Err(unreachable("status 429 for a refresh"));
    }
    if let Some(error) = error_of(reply) {
        return Err(match error.code.as_str() {
            // The grant has ended, or wants the person to do something first.
            "invalid_grant"
            | "access_denied"
            | "interaction_required"
            | "login_required"
            | "consent_required"
            | "account_selection_required" => Reason::Denied {
                said: error.to_string(),
            },
            "temporarily_unavailable" | "server_error" | "slow_down" => {
                unreachable(&error.to_string())
            }
            _ => misconfigured(&error.to_string()),
        });
    }
    let document = document(reply, "the token endpoint")?;
    let token = |name: &str| {
        string(&document, name)
            .filter(|token| !token.is_empty())
            .map(SecretString::from)
    };
    Ok(Refreshed {
        access_token: token("access_token")
            .ok_or_else(|| misconfigured("a refresh without an access token"))?,
        id_token: token("id_token"),
        refresh_token: token("refresh_token"),
    })
}

/// Reads userinfo, which must be of the same subject (OpenID Connect Core 1.0, section 5.3.2).
pub(super) fn userinfo(reply: &Reply, subject: &str) -> Result<Map<String, Value>, Reason> {
    // The token has just been issued: who may not use it has been disabled since.
    if matches!(reply.status, 401 | 403) {
        return Err(Reason::Denied {
            said: format!("status {} at userinfo", reply.status),
        });
    }
    let document = document(reply, "userinfo")?;
    match string(&document, "sub") {
        Some(sub) if sub == subject => Ok(document),
        _ => Err(misconfigured("userinfo is about another subject")),
    }
}

/// An OAuth error (RFC 6749, section 5.2).
struct OauthError {
    code: String,
    description: String,
}

impl std::fmt::Display for OauthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        match self.description.as_str() {
            "" => Ok(()),
            description => write!(f, " ({description})"),
        }
    }
}

/// The error in an answer, whatever its status: some products send one with 200.
fn error_of(reply: &Reply) -> Option<OauthError> {
    let document: Map<String, Value> = serde_json::from_slice(&reply.body).ok()?;
    Some(OauthError {
        code: text::printable(string(&document, "error")?, 60),
        description: text::printable(
            string(&document, "error_description").unwrap_or_default(),
            200,
        ),
    })
}

/// A JSON object with status 200. Anything else that comes with a status of the 400s is the
/// configuration's fault, or looks like it; no JSON at all is somebody in between.
fn document(reply: &Reply, what: &str) -> Result<Map<String, Value>, Reason> {
    if reply.status >= 400 && reply.status != 429 {
        let error = error_of(reply).map_or_else(String::new, |error| format!(": {error}"));
        return Err(misconfigured(&format!(
            "status {} at {what}{error}",
            reply.status
        )));
    }
    if reply.status != 200 {
        return Err(unreachable(&format!("status {} at {what}", reply.status)));
    }
    serde_json::from_slice(&reply.body).map_err(|_| unreachable(&format!("no JSON at {what}")))
}

fn unreachable(cause: &str) -> Reason {
    Reason::Unreachable {
        cause: text::printable(cause, 300),
    }
}

/// A URL in the form in which it is safe to show: ASCII by the rules for URLs, and short.
fn shown_uri(uri: &str) -> Result<String, Reason> {
    let uri = trusted_url(uri).map_err(|problem| misconfigured(&problem))?;
    let uri = String::from(uri);
    if uri.len() > text::URI_MAX || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(misconfigured("a verification_uri that cannot be shown"));
    }
    Ok(uri)
}

fn string<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str)
}

/// Whole seconds; as a string too, as Microsoft's first version writes them.
fn seconds(document: &Map<String, Value>, name: &str) -> Option<Duration> {
    let value = document.get(name)?;
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        // A day is more than any cap; `Instant` has an end.
        .map(|seconds| Duration::from_secs(seconds.min(24 * 60 * 60)))
}

#[cfg(test)]
mod tests;
