//! Webhooks: batches of events as lines, signed as Standard Webhooks has it.
//!
//! A status 2xx is the acknowledgement. A batch that is not acknowledged is sent again under the same
//! id where it is the same; each event has its number and hash in any case. A batch that is too large
//! for the receiver (413) is halved until it is not; those after it are as small for a while.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use crate::config::{Trust, causes, read_private, read_text};
use crate::notify::{Secrets, client};

/// A receiver of webhooks.
pub(super) struct Webhook {
    url: Url,
    secrets: Secrets,
    http: reqwest::Client,
    form: Form,
    /// The longest body that is sent, in bytes: less than [`BYTES`] where the receiver takes less.
    longest: AtomicUsize,
    /// Batches that were taken since that was changed.
    taken: AtomicUsize,
}

/// Lines on their way; at least one.
struct Batch {
    first: u64,
    /// Behind each event, and where its line ends in the body.
    events: Vec<(Place, usize)>,
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
            longest: AtomicUsize::new(BYTES),
            taken: AtomicUsize::new(0),
        })
    }

    /// Sends the next events, and those that come within a second or until `stop`.
    pub(super) async fn deliver(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Delivered>, DeliveryError> {
        let Some(mut batch) = self.gather(feed, stop).await? else {
            return Ok(None);
        };
        loop {
            match self.post(&batch).await? {
                200..=299 => {
                    self.was_taken();
                    return Ok(batch.delivered());
                }
                413 if batch.halve() => self.was_too_large(batch.body.len()),
                413 => {
                    return Err(DeliveryError::TooLarge {
                        seq: batch.first,
                        bytes: batch.body.len(),
                    });
                }
                status => return Err(DeliveryError::Webhook(format!("status {status}"))),
            }
        }
    }

    /// The next batches are as small as what is left of one that was too large.
    fn was_too_large(&self, left: usize) {
        self.longest.store(left.max(BYTES_LEAST), Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
    }

    /// What is in the way between here and the receiver changes: after some batches larger ones are
    /// tried again.
    fn was_taken(&self) {
        let longest = self.longest.load(Ordering::Relaxed);
        if longest < BYTES && self.taken.fetch_add(1, Ordering::Relaxed) + 1 >= LARGER_AFTER {
            self.longest
                .store((longest * 2).min(BYTES), Ordering::Relaxed);
            self.taken.store(0, Ordering::Relaxed);
        }
    }

    /// Sends a batch once; the status of the answer, whose body goes unread.
    async fn post(&self, batch: &Batch) -> Result<u16, DeliveryError> {
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
        let answer = request.body(batch.body.clone()).send().await;
        let answer =
            answer.map_err(|error| DeliveryError::Webhook(causes(&error.without_url())))?;
        Ok(answer.status().as_u16())
    }

    async fn gather(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Batch>, DeliveryError> {
        let until = Instant::now() + LINGER;
        let longest = self.longest.load(Ordering::Relaxed);
        let mut batch: Option<Batch> = None;
        loop {
            match feed.next().await? {
                Some(entry) => {
                    let mut line = self.form.of(&entry.line, &entry.event);
                    line.push(b'\n');
                    let batch = batch.get_or_insert_with(|| Batch {
                        first: entry.place.seq,
                        events: Vec::new(),
                        body: Vec::new(),
                    });
                    // What is left out here is read again for the next.
                    if !batch.add(entry.place, &line, longest) || batch.events.len() >= EVENTS {
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
    /// Adds a line, where the body is no longer than `longest` with it or has no other.
    fn add(&mut self, place: Place, line: &[u8], longest: usize) -> bool {
        let fits = self.events.is_empty() || self.body.len() + line.len() <= longest;
        if fits {
            self.body.extend_from_slice(line);
            self.events.push((place, self.body.len()));
        }
        fits
    }

    /// Leaves half of it, by its bytes, and at least one event; false where it has no more than one.
    fn halve(&mut self) -> bool {
        if self.events.len() < 2 {
            return false;
        }
        let half = self.body.len() / 2;
        let within = self.events.partition_point(|(_, end)| *end <= half);
        self.events.truncate(within.max(1));
        let end = self.events.last().map_or(0, |(_, end)| *end);
        self.body.truncate(end);
        true
    }

    fn delivered(&self) -> Option<Delivered> {
        let (place, _) = self.events.last()?;
        Some(Delivered {
            place: *place,
            events: self.events.len() as u64,
        })
    }

    /// The same for the same events, in whatever form.
    fn id(&self) -> String {
        let last = self.events.last().map_or(Place::START, |(place, _)| *place);
        let hash = last.hash.to_string();
        let hash = hash.get(..16).unwrap_or_default();
        format!("audit-{}-{}-{hash}", self.first, last.seq)
    }
}

/// How long the first event of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// The most of one batch.
const EVENTS: usize = 500;
const BYTES: usize = 512 * 1024;
/// No batch is made smaller than this from the first: a receiver that takes less halves each.
const BYTES_LEAST: usize = 16 * 1024;
/// After so many batches that were taken, twice as large ones are tried.
const LARGER_AFTER: usize = 50;
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// A bundle of all public authorities has a quarter of this.
const PEM_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use proptest::prelude::*;
    use recording::seal::Hash;

    use super::*;

    fn batch(lengths: &[usize], longest: usize) -> Batch {
        let mut batch = Batch {
            first: 1,
            events: Vec::new(),
            body: Vec::new(),
        };
        for (seq, length) in (1..).zip(lengths) {
            let line = vec![b'x'; *length];
            let place = Place {
                seq,
                hash: Hash::of(&line),
                ..Place::START
            };
            if !batch.add(place, &line, longest) {
                break;
            }
        }
        batch
    }

    #[test]
    fn a_batch_is_full_to_the_byte() {
        assert_eq!(batch(&[300, 300, 424], 1024).body.len(), 1024);
        assert_eq!(batch(&[300, 300, 425], 1024).body.len(), 600);
        // What is longer alone goes alone.
        assert_eq!(batch(&[2000, 1], 1024).body.len(), 2000);
    }

    #[test]
    fn one_batch_that_was_too_large_makes_none_small_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, format!("whsec_{}\n", "A".repeat(32))).unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        let webhook = Webhook::new(&url, &secret, &Trust::default(), Form::Json).unwrap();
        let longest = || webhook.longest.load(Ordering::Relaxed);
        webhook.was_too_large(200_000);
        assert_eq!(longest(), 200_000);
        webhook.was_too_large(10);
        assert_eq!(longest(), BYTES_LEAST);
        for _ in 0..LARGER_AFTER {
            assert_eq!(longest(), BYTES_LEAST);
            webhook.was_taken();
        }
        assert_eq!(longest(), 2 * BYTES_LEAST);
        (0..10 * LARGER_AFTER).for_each(|_| webhook.was_taken());
        assert_eq!(longest(), BYTES);
    }

    proptest! {
        /// Halved again and again, a batch keeps its beginning, ends with one event, and each time
        /// loses at least half or has one left.
        #[test]
        fn a_batch_is_halved_to_its_first_event(lengths in prop::collection::vec(1..500usize, 1..40)) {
            let mut batch = batch(&lengths, BYTES);
            loop {
                let before = (batch.body.len(), batch.events.len(), batch.id());
                if !batch.halve() {
                    break;
                }
                prop_assert!(batch.events.len() == 1 || batch.body.len() <= before.0 / 2);
                prop_assert!(batch.events.len() < before.1);
                prop_assert_ne!(batch.id(), before.2);
                let sum: usize = lengths.iter().take(batch.events.len()).sum();
                prop_assert_eq!(batch.body.len(), sum);
                let delivered = batch.delivered().unwrap();
                prop_assert_eq!(delivered.place.seq, delivered.events);
            }
            prop_assert_eq!(batch.events.len(), 1);
        }
    }
}
