//! One attempt to tell one webhook: https but for loopback, no redirects, and nothing of the answer
//! is read but its status and for how long to wait.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use url::Url;

use super::sign::Secrets;
use super::{Format, Wants};
use crate::config::{Address, Problem, Webhook, causes, read_private, read_text, web_address};

/// A webhook that can be told.
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) wants: Wants,
    pub(crate) format: Format,
    /// It may be a secret itself: it is in no message and no log.
    url: Url,
    secrets: Option<Secrets>,
    http: reqwest::Client,
}

/// Why a webhook was not told. Says nothing of its address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It never wants to hear of this again (RFC 9110, section 15.5.11).
    #[error("status 410: it is gone")]
    Gone,
    /// Perhaps another time.
    #[error("{why}")]
    Failed {
        why: String,
        /// For how long it wants to be left alone.
        after: Option<Duration>,
    },
}

impl Hook {
    /// Reads the files that the configuration names. The error says which cannot be used, and why.
    pub(crate) fn open(webhook: &Webhook, timeout: Duration) -> Result<Self, Problem> {
        let url = match &webhook.address {
            Address::Url(url) => url.clone(),
            Address::File(path) => address(path)?,
        };
        let secrets = match &webhook.secret_file {
            Some(path) => Some(secrets(path)?),
            None => None,
        };
        let builder = client(&url, timeout, timeout);
        let builder = match &webhook.ca_file {
            Some(path) => builder.tls_certs_merge(certificates(path)?),
            // Without TLS nothing is to be trusted.
            None if url.scheme() == "http" => builder.tls_certs_only([]),
            None => builder,
        };
        let http = builder.build().map_err(|error| {
            let what = format!("webhook {}: {}", webhook.name, causes(&error));
            let file = webhook.ca_file.as_deref();
            Problem::of_file(file.unwrap_or(Path::new("webhook")), what)
        })?;
        Ok(Self {
            name: webhook.name.clone(),
            wants: webhook.wants.clone(),
            format: webhook.format.clone(),
            url,
            secrets,
            http,
        })
    }

    /// Sends a body under the name of its message, and waits for the status of the answer.
    pub(crate) async fn post(
        &self,
        message: &str,
        now: Timestamp,
        body: Vec<u8>,
    ) -> Result<(), Failure> {
        let seconds = now.as_second();
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message)
            .header("webhook-timestamp", seconds);
        if let Some(secrets) = &self.secrets {
            let signature = secrets.sign(message, seconds, &body);
            request = request.header("webhook-signature", signature);
        }
        let answered = request.body(body).send().await;
        // The body of the answer goes unread with it.
        let answer = answered.map_err(|error| Failure::Failed {
            why: causes(&error.without_url()),
            after: None,
        })?;
        let status = answer.status().as_u16();
        match status {
            200..=299 => Ok(()),
            410 => Err(Failure::Gone),
            300..=399 => Err(Failure::Failed {
                why: format!(
                    "status {status}: it redirects; name the address that it redirects to"
                ),
                after: None,
            }),
            _ => Err(Failure::Failed {
                why: format!("status {status}"),
                after: retry_after(answer.headers(), now),
            }),
        }
    }

    /// Whether somebody answers at the address; nothing is told.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let asked = self.http.head(self.url.clone()).send().await;
        let asked = asked.map_err(|error| causes(&error.without_url()));
        asked.map(drop)
    }

    /// Where it is, without what may be a secret.
    pub(crate) fn host(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// For how long the receiver wants to be left alone, as a number of seconds or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(until.duration_since(now)).ok()
}

fn address(path: &Path) -> Result<Url, Problem> {
    let bytes = read_private(path).map_err(|error| Problem::of_file(path, error.to_string()))?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    web_address(text.trim()).map_err(|wrong| {
        Problem::of_file(path, format!("the address in it {wrong}"))
            .hint("one line: https://…, or http:// on this machine")
    })
}

fn secrets(path: &Path) -> Result<Secrets, Problem> {
    let hint = "echo whsec_$(head -c 32 /dev/urandom | base64) > FILE; chmod 600 FILE";
    let bytes =
        read_private(path).map_err(|error| Problem::of_file(path, error.to_string()).hint(hint))?;
    Secrets::parse(&bytes).map_err(|error| Problem::of_file(path, error.to_string()).hint(hint))
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, Problem> {
    let problem = |what: String| Problem::of_file(path, what);
    let text = read_text(path, CA_MAX).map_err(|error| problem(error.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(text.as_bytes())
        .map_err(|error| problem(causes(&error)))?;
    if certificates.is_empty() {
        return Err(problem(
            "there is no certificate in PEM format in it".to_owned(),
        ));
    }
    Ok(certificates)
}

/// What every client of a webhook has: no redirects, and no proxy where there is no TLS.
pub(crate) fn client(url: &Url, connect: Duration, answer: Duration) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(connect)
        .timeout(answer)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("bastion/", env!("CARGO_PKG_VERSION")));
    match url.scheme() {
        // It is on loopback: whatever the environment says, nobody is in between.
        "http" => builder.no_proxy(),
        _ => builder,
    }
}

/// A bundle of all public authorities has a quarter of this.
const CA_MAX: u64 = 1024 * 1024;
