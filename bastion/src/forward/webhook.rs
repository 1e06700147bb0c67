//! Webhooks: batches of events as lines, signed as Standard Webhooks has it.
//!
//! A status 2xx is the acknowledgement. A batch that is not acknowledged is sent again under the same
//! id where it is the same; each event has its number and hash in any case.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Identity};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use super::chain::Place;
use super::feed::Feed;

use super::{Delivered, DeliveryError, WayError};
use crate::audit::Form;
use crate::config::{Trust, read_private, read_text};
use crate::notify::{Secrets, causes, client};

/// A receiver of webhooks.
pub(super) struct Webhook {
    url: Url,
    secrets: Secrets,
    http: reqwest::Client,
    form: Form,
}

/// Lines on their way.
struct Batch {
    first: u64,
    last: Place,
    events: u64,
    body: Vec<u8>,
}

impl Webhook {
    pub(super) fn new(
        url: &Url,
        secret_file: &Path,
        trust: &Trust,
        form: Form,
    ) -> Result<Self, WayError> {
        let wrong = |path: &Path, what: String| WayError::Wrong {
            path: path.to_owned(),
            what,
        };
        let secrets = Secrets::parse(&read_private(secret_file)?);
        let secrets = secrets.map_err(|error| wrong(secret_file, error.to_string()))?;
        let mut builder = client(url, CONNECT, ANSWER);
        if let Some(path) = &trust.ca_file {
            let authorities = Certificate::from_pem_bundle(read_text(path, PEM_MAX)?.as_bytes());
            let authorities = authorities.map_err(|error| wrong(path, causes(&error)))?;
            builder = builder.tls_certs_only(authorities);
        } else if url.scheme() == "http" {
            // Without TLS nothing is to be trusted.
            builder = builder.tls_certs_only([]);
        }
        if let Some((certificate, key)) = &trust.client {
            let mut both = Zeroizing::new(read_private(key)?.to_vec());
            both.extend_from_slice(b"\n");
            both.extend_from_slice(read_text(certificate, PEM_MAX)?.as_bytes());
            let identity = Identity::from_pem(&both);
            builder = builder.identity(identity.map_err(|error| wrong(key, causes(&error)))?);
        }
        let http = builder.build();
        Ok(Self {
            url: url.clone(),
            secrets,
            http: http.map_err(|error| wrong(Path::new(url.as_str()), causes(&error)))?,
            form,
        })
    }

    /// Sends the next events, and those that come within a second or until `stop`.
    pub(super) async fn deliver(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Delivered>, DeliveryError> {
        let Some(batch) = self.gather(feed, stop).await? else {
            return Ok(None);
        };
        let now = Timestamp::now().as_second();
        let id = batch.id();
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, self.content_type())
            .header(
                "webhook-signature",
                self.secrets.sign(&id, now, &batch.body),
            )
            .header("webhook-id", id)
            .header("webhook-timestamp", now);
        let (place, events) = (batch.last, batch.events);
        let answer = request.body(batch.body).send().await;
        // The body of the answer goes unread with it.
        let answer =
            answer.map_err(|error| DeliveryError::Webhook(causes(&error.without_url())))?;
        match answer.status().as_u16() {
            200..=299 => Ok(Some(Delivered { place, events })),
            status => Err(DeliveryError::Webhook(format!("status {status}"))),
        }
    }

    async fn gather(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Batch>, DeliveryError> {
        let until = Instant::now() + LINGER;
        let mut batch: Option<Batch> = None;
        loop {
            match feed.next().await? {
                Some(entry) => {
                    let batch = batch.get_or_insert_with(|| Batch {
                        first: entry.place.seq,
                        last: entry.place,
                        events: 0,
                        body: Vec::new(),
                    });
                    batch.body.extend(self.form.of(&entry.line, &entry.event));
                    batch.body.push(b'\n');
                    batch.last = entry.place;
                    batch.events += 1;
                    if batch.events >= EVENTS || batch.body.len() >= BYTES {
                        break;
                    }
                }
                None => tokio::select! {
                    () = feed.looked_at() => {}
                    () = tokio::time::sleep_until(until) => break,
                    () = stop.cancelled() => break,
                },
            }
        }
        Ok(batch)
    }

    fn content_type(&self) -> &'static str {
        match self.form {
            Form::Ocsf | Form::Json => "application/x-ndjson",
            Form::Cef => "text/plain; charset=utf-8",
        }
    }
}

impl Batch {
    /// The same for the same events, in whatever form.
    fn id(&self) -> String {
        let hash = self.last.hash.to_string();
        let hash = hash.get(..16).unwrap_or_default();
        format!("audit-{}-{}-{hash}", self.first, self.last.seq)
    }
}

/// How long the first event of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// The most of one batch.
const EVENTS: u64 = 500;
const BYTES: usize = 512 * 1024;
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// A bundle of all public authorities has a quarter of this.
const PEM_MAX: u64 = 1024 * 1024;
