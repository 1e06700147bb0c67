//! HTTP as it is spoken with the provider: https but for loopback, no redirects, bounded answers.

use std::net::IpAddr;
use std::path::Path;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::fs::MetadataExt;
use url::{Host, Url, form_urlencoded};

use super::super::{LoginError, text};
use crate::config::{ClientAuth, Oidc, causes};

/// The client, with what it shows to say which one it is.
pub(super) struct Client {
    http: reqwest::Client,
    /// Whether the issuer is https, and so everything that it names must be.
    https: bool,
    client_id: String,
    credential: Credential,
}

/// How the client authenticates (OpenID Connect Core 1.0, section 9).
enum Credential {
    None,
    Basic(HeaderValue),
    Post(SecretString),
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The other side's clock, where it says it.
    pub(super) date: Option<jiff::Timestamp>,
    pub(super) body: Vec<u8>,
}

/// Nothing was answered, or nothing that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", causes(.0))]
    Transport(#[source] reqwest::Error),
    #[error("an answer of more than {MAX_BODY} bytes")]
    TooLarge,
    #[error("it redirects; name the address that it redirects to")]
    Redirect,
    #[error("status {0}")]
    Status(u16),
    #[error("it names {0}")]
    Url(String),
}

impl Client {
    pub(super) fn new(oidc: &Oidc, https: bool) -> Result<Self, LoginError> {
        let builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(oidc.http_timeout)
            .timeout(oidc.http_timeout)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("bastion/", env!("CARGO_PKG_VERSION")));
        let builder = match &oidc.ca_file {
            Some(path) => builder.tls_certs_merge(certificates(path)?),
            // On loopback without TLS nothing is to be trusted, and no CA need be installed.
            None if !https => builder.tls_certs_only([]),
            None => builder,
        };
        Ok(Self {
            http: builder.build().map_err(LoginError::Http)?,
            https,
            client_id: oidc.client_id.clone(),
            credential: Credential::of(oidc)?,
        })
    }

    /// Posts a form, with the client's id and secret. Follows nothing, repeats nothing.
    pub(super) async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.check(url)?;
        send(self.form(url, form)).await
    }

    fn form(&self, url: &Url, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let mut request = self.http.post(url.clone());
        match &self.credential {
            Credential::None => {
                body.append_pair("client_id", &self.client_id);
            }
            Credential::Basic(value) => request = request.header(AUTHORIZATION, value.clone()),
            Credential::Post(secret) => {
                body.append_pair("client_id", &self.client_id);
                body.append_pair("client_secret", secret.expose_secret());
            }
        }
        request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.finish())
    }

    /// Gets a document.
    pub(super) async fn get(
        &self,
        url: &Url,
        bearer: Option<&SecretString>,
    ) -> Result<Reply, Failure> {
        self.check(url)?;
        let mut request = self.http.get(url.clone());
        if let Some(token) = bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        send(request).await
    }

    fn check(&self, url: &Url) -> Result<(), Failure> {
        if self.https && url.scheme() != "https" {
            return Err(Failure::Url("http, though the issuer is https".to_owned()));
        }
        Ok(())
    }
}

impl Credential {
    fn of(oidc: &Oidc) -> Result<Self, LoginError> {
        match oidc.client_auth {
            ClientAuth::None => Ok(Self::None),
            ClientAuth::Post => Ok(Self::Post(secret(oidc)?)),
            ClientAuth::Basic => {
                // RFC 6749, section 2.3.1: both are form-encoded first.
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let pair = format!(
                    "{}:{}",
                    encode(&oidc.client_id),
                    encode(secret(oidc)?.expose_secret())
                );
                let value = format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()));
                let mut value = HeaderValue::try_from(value).map_err(|_| LoginError::Setting {
                    key: "client_secret_file",
                    problem: "holds no secret that can be sent".to_owned(),
                })?;
                value.set_sensitive(true);
                Ok(Self::Basic(value))
            }
        }
    }
}

/// The client's secret, without the line end that editors leave.
fn secret(oidc: &Oidc) -> Result<SecretString, LoginError> {
    let key = "client_secret_file";
    let setting = |problem: String| LoginError::Setting { key, problem };
    let path = oidc.client_secret_file.as_ref().ok_or_else(|| {
        setting(
            "is needed where client_auth is basic or post; or set client_auth = \"none\"".into(),
        )
    })?;
    let text = read(key, path)?;
    let mode = std::fs::metadata(path)
        .map_err(|source| file_error(key, path, source))?
        .mode();
    if mode & 0o007 != 0 {
        return Err(setting(format!(
            "others can read it; run: chmod 600 {}",
            path.display()
        )));
    }
    let text = String::from_utf8(text).map_err(|_| setting("is not text".into()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(setting(format!("{} is empty", path.display())));
    }
    Ok(secret.into())
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, LoginError> {
    let key = "ca_file";
    let setting = |problem: String| LoginError::Setting { key, problem };
    let certificates = reqwest::Certificate::from_pem_bundle(&read(key, path)?)
        .map_err(|error| setting(causes(&error)))?;
    if certificates.is_empty() {
        return Err(setting(format!(
            "{} holds no certificate; it must be a PEM file",
            path.display()
        )));
    }
    Ok(certificates)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, LoginError> {
    std::fs::read(path).map_err(|source| file_error(key, path, source))
}

fn file_error(key: &'static str, path: &Path, source: std::io::Error) -> LoginError {
    LoginError::File {
        key,
        path: path.to_owned(),
        source,
    }
}

async fn send(request: RequestBuilder) -> Result<Reply, Failure> {
    let mut response = request
        .header(ACCEPT, "application/json")
        .send()
        .await
        .map_err(transport)?;
    let status = response.status().as_u16();
    match status {
        300..=399 => return Err(Failure::Redirect),
        // Whatever it says, it is not the provider's last word.
        500.. => return Err(Failure::Status(status)),
        _ => {}
    }
    let date = response.headers().get(reqwest::header::DATE);
    let date = date
        .and_then(|date| date.to_str().ok())
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
        .map(|date| date.timestamp());
    Ok(Reply {
        status,
        date,
        body: body(&mut response).await?,
    })
}

async fn body(response: &mut Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The address stays out: it may carry what the configuration has put there.
fn transport(error: reqwest::Error) -> Failure {
    Failure::Transport(error.without_url())
}

/// A URL that a provider may have: https, or http to this machine itself; without a user or a
/// password in it.
pub(in super::super) fn trusted_url(text: &str) -> Result<Url, String> {
    let shown = || text::printable(text, 200);
    let url = Url::parse(text).map_err(|error| format!("{} is no URL: {error}", shown()))?;
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(format!("{} is not https", shown())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{} has a user name in it", shown()));
    }
    Ok(url)
}

/// Larger answers are refused (threats.md, 19).
const MAX_BODY: usize = 256 * 1024;

#[cfg(test)]
mod tests;
