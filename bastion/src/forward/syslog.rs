//! Syslog: messages of RFC 5424, framed by their length over TLS (RFC 5425) or, on this machine
//! itself, TCP (RFC 6587).
//!
//! The protocol has no acknowledgement, and what a socket has taken may still be lost with its
//! receiver. So a connection carries a few seconds of events and is then ended from here; that the
//! receiver ends its side too, after it has read to the end, is the acknowledgement (RFC 5425,
//! section 4.4), within TLS where that is asked for. What was on a connection that broke, or that the
//! receiver ended first, is sent again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{self, Instant};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;

use super::chain::{Entry, Place};
use super::feed::Feed;
use super::{Delivered, DeliveryError};
use crate::audit::Form;
use crate::config::Acknowledged;

/// A syslog receiver.
pub(super) struct Syslog {
    host: String,
    port: u16,
    /// None only towards this machine itself.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    acknowledged: Acknowledged,
    form: Form,
    /// How the bastion is called, as HOSTNAME.
    name: String,
}

/// A connection to a receiver.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Syslog {
    pub(super) fn new(
        (host, port): (&str, u16),
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        acknowledged: Acknowledged,
        form: Form,
        name: &str,
    ) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls,
            acknowledged,
            form,
            name: name.to_owned(),
        }
    }

    /// Sends events, and those that come within a few seconds or until `stop`, and waits for the
    /// receiver to have read them.
    pub(super) async fn deliver(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Delivered>, DeliveryError> {
        let mut stream = time::timeout(CONNECT, self.connect())
            .await
            .map_err(|_| DeliveryError::Late("connect"))??;
        let sent = self.send(&mut stream, feed, stop).await?;
        let ended = time::timeout(ACKNOWLEDGE, end(&mut stream, self.acknowledged)).await;
        ended.map_err(|_| DeliveryError::Late("acknowledge"))??;
        Ok(sent)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, DeliveryError> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await;
        let socket = socket.map_err(DeliveryError::Connect)?;
        let Some((config, name)) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let connector = TlsConnector::from(config.clone());
        let stream = connector.connect(name.clone(), socket).await;
        Ok(Box::new(stream.map_err(DeliveryError::Tls)?))
    }

    async fn send(
        &self,
        stream: &mut Box<dyn Stream>,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Delivered>, DeliveryError> {
        let until = Instant::now() + LINGER;
        let mut sent: Option<Delivered> = None;
        let mut waiting = Vec::new();
        loop {
            let entry = feed.next().await?;
            if let Some(entry) = &entry {
                waiting.extend_from_slice(&self.frame(entry));
                let events = sent.map_or(0, |sent| sent.events) + 1;
                let place = entry.place;
                sent = Some(Delivered { place, events });
            }
            let full = sent.is_some_and(|sent| sent.events >= EVENTS);
            if full || entry.is_none() || waiting.len() >= PIECE {
                let written = async {
                    stream.write_all(&waiting).await?;
                    stream.flush().await
                };
                let written = time::timeout(WRITE, written).await;
                written
                    .map_err(|_| DeliveryError::Late("take more"))?
                    .map_err(DeliveryError::Broken)?;
                waiting.clear();
            }
            if full || stop.is_cancelled() {
                return Ok(sent);
            }
            if entry.is_none() {
                tokio::select! {
                    () = feed.looked_at() => {}
                    () = time::sleep_until(until) => return Ok(sent),
                    () = stop.cancelled() => return Ok(sent),
                    ended = ended(stream) => return Err(DeliveryError::Broken(ended.into())),
                }
            } else if Instant::now() >= until {
                return Ok(sent);
            }
        }
    }

    fn frame(&self, entry: &Entry) -> Vec<u8> {
        let body = self.form.of(&entry.line, &entry.event);
        let message = message(&self.name, &entry.place, &entry.event, &body);
        let mut frame = format!("{} ", message.len()).into_bytes();
        frame.extend_from_slice(&message);
        frame
    }
}

/// How a receiver's side of a connection is over.
#[derive(Debug)]
enum Ended {
    /// In order: within TLS by `close_notify`, without TLS by the end of the stream.
    InOrder,
    /// The stream is at its end, and TLS is not.
    Cut,
    /// An error.
    Broken(io::Error),
}

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::InOrder | Ended::Cut => io::ErrorKind::UnexpectedEof.into(),
            Ended::Broken(error) => error,
        }
    }
}

/// Waits until the receiver ends the connection. Cancel-safe: what it says is of no interest.
async fn ended(stream: &mut Box<dyn Stream>) -> Ended {
    let mut said = [0; 256];
    loop {
        match stream.read(&mut said).await {
            Ok(0) => return Ended::InOrder,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ended::Cut,
            Err(error) => return Ended::Broken(error),
        }
    }
}

/// Ends our side, and waits for the receiver to end its own.
async fn end(stream: &mut Box<dyn Stream>, by: Acknowledged) -> Result<(), DeliveryError> {
    if let Ok(ended) = time::timeout(ON_ITS_WAY, ended(stream)).await {
        // It ended before we did, and may have read nothing of what came after that.
        return Err(DeliveryError::Broken(ended.into()));
    }
    stream.shutdown().await.map_err(DeliveryError::Broken)?;
    match (ended(stream).await, by) {
        (Ended::InOrder, _) | (Ended::Cut, Acknowledged::ByEnd) => Ok(()),
        (Ended::Cut, Acknowledged::ByCloseNotify) => Err(DeliveryError::NoCloseNotify),
        (Ended::Broken(error), _) => Err(DeliveryError::Broken(error)),
    }
}

/// A message (RFC 5424, section 6). Its number is that of the event, so that a receiver sees gaps.
fn message(host: &str, place: &Place, event: &Map<String, Value>, body: &[u8]) -> Vec<u8> {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = text("event");
    let failed = ["_refused", "_denied", "_failed"];
    let severity = match failed.iter().any(|end| name.ends_with(end)) {
        true => WARNING,
        false => INFORMATIONAL,
    };
    let time = text("time").parse::<jiff::Timestamp>();
    // Six digits of a second at most (section 6.2.3).
    let time = time.map_or_else(|_| "-".to_owned(), |time| format!("{time:.6}"));
    let kind: String = name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(32)
        .collect();
    let kind = if kind.is_empty() { "-" } else { &kind };
    let number = (place.seq.max(1) - 1) % SEQUENCE_MAX + 1;
    let mut message = format!(
        "<{}>1 {time} {host} bastion - {kind} [meta sequenceId=\"{number}\"] ",
        LOG_AUDIT * 8 + severity
    )
    .into_bytes();
    message.extend_from_slice(body);
    message
}

/// Facility and severities (RFC 5424, section 6.2.1).
const LOG_AUDIT: u8 = 13;
const WARNING: u8 = 4;
const INFORMATIONAL: u8 = 6;
/// The largest `sequenceId` (section 7.3.1); the next is 1.
const SEQUENCE_MAX: u64 = 2_147_483_647;
/// How long a connection waits for more events before it is ended to be acknowledged.
const LINGER: Duration = Duration::from_secs(3);
/// An end that comes within this before ours was none of what we sent: it was on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(250);
/// The most events of one connection: what is sent again at most.
const EVENTS: u64 = 1_000;
/// Bytes that are written at once.
const PIECE: usize = 64 * 1024;
const CONNECT: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(30);
const ACKNOWLEDGE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use proptest::prelude::*;
    use serde_json::json;
    use tokio::task::JoinSet;

    use super::*;

    fn of(event: &Value, seq: u64) -> String {
        let place = Place {
            seq,
            ..Place::START
        };
        let body = br#"{"a":1}"#;
        let message = message(
            "bastion.example.com",
            &place,
            event.as_object().unwrap(),
            body,
        );
        String::from_utf8(message).unwrap()
    }

    #[test]
    fn a_message_has_its_parts_in_their_places() {
        let event = json!({ "time": "2026-11-26T03:00:00.123456789Z", "event": "channel_denied" });
        assert_eq!(
            of(&event, 7),
            "<108>1 2026-11-26T03:00:00.123456Z bastion.example.com bastion - channel_denied [meta sequenceId=\"7\"] {\"a\":1}"
        );
        let event = json!({ "time": "soon", "event": "" });
        assert_eq!(
            of(&event, 2_147_483_648),
            "<110>1 - bastion.example.com bastion - - [meta sequenceId=\"1\"] {\"a\":1}"
        );
    }

    /// An end that the receiver has not made after ours says nothing about what it has read.
    #[tokio::test]
    async fn only_an_end_after_ours_is_an_acknowledgement() {
        let ended_by = async |receiver: fn(tokio::io::DuplexStream) -> JoinSet<()>| {
            let (ours, theirs) = tokio::io::duplex(1024);
            let _receiver = receiver(theirs);
            let mut stream: Box<dyn Stream> = Box::new(ours);
            end(&mut stream, Acknowledged::ByEnd).await.is_ok()
        };
        let reads = |mut theirs: tokio::io::DuplexStream| {
            let mut tasks = JoinSet::new();
            tasks.spawn(
                async move { while theirs.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {} },
            );
            tasks
        };
        let ends_first = |theirs: tokio::io::DuplexStream| {
            drop(theirs);
            JoinSet::new()
        };
        assert!(ended_by(reads).await);
        assert!(!ended_by(ends_first).await);
    }

    proptest! {
        /// Whatever an event is called, its header has the parts that it has.
        #[test]
        fn a_header_is_a_header(name in any::<String>(), time in any::<String>()) {
            let message = of(&json!({ "event": name, "time": time }), 1);
            let parts: Vec<&str> = message.splitn(8, ' ').collect();
            prop_assert_eq!(parts.len(), 8);
            prop_assert!(parts.iter().take(7).all(|part| !part.is_empty() && part.is_ascii()));
            prop_assert_eq!(parts.get(6).copied(), Some("[meta"));
        }
    }
}
