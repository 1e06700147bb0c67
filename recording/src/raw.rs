//! From a recording back to the exact bytes that the session printed.

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};
use serde::Deserialize;
use serde_json::Value;

use crate::event::{EventData, Header, Stream};
use crate::sum::{Sum, Total};
use crate::write::Newlines;

/// Rebuilds the streams of one recording, event after event.
#[derive(Debug)]
pub struct Rebuild {
    newlines: Newlines,
    stream: Stream,
    /// The data of the last `B`, until its `o` comes.
    side: Option<String>,
}

/// What an output event stands for: bytes, and the stream that they were printed to.
pub type Printed<'e> = (Stream, Cow<'e, [u8]>);

/// Why a recording does not say what was printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// A `B` event is malformed.
    #[error("a B event is malformed")]
    Side,
    /// A `B` event speaks of a character that is not U+FFFD, or not there.
    #[error("a B event does not fit the output after it")]
    Fit,
    /// An `S` event names no stream.
    #[error("an S event names no stream")]
    Stream,
    /// A side event's data is no string.
    #[error("the data of a side event is not a string")]
    Data,
}

/// Whether the header says that line feeds were written as CR LF.
pub fn newlines(header: &Header) -> Newlines {
    let crlf = header
        .extra
        .get("bastion")
        .and_then(|ours| ours.get("crlf"));
    match crlf {
        Some(Value::Bool(true)) => Newlines::Crlf,
        _ => Newlines::Kept,
    }
}

impl Rebuild {
    /// For a recording with this header's [`newlines`].
    pub fn new(newlines: Newlines) -> Self {
        Self {
            newlines,
            stream: Stream::Stdout,
            side: None,
        }
    }

    /// Takes the next event; gives the bytes that it stands for, if it is output.
    ///
    /// # Errors
    ///
    /// The event does not say which bytes it stands for. The next one may.
    pub fn event<'e>(&mut self, event: &'e EventData) -> Result<Option<Printed<'e>>, RawError> {
        match event {
            EventData::Output(text) => self.output(text).map(Some),
            EventData::Other { code, data } => self.side(code, data).map(|()| None),
            EventData::Input(_)
            | EventData::Marker(_)
            | EventData::Resize { .. }
            | EventData::Exit(_) => Ok(None),
        }
    }

    /// Takes the text of an `o` event.
    ///
    /// # Errors
    ///
    /// The `B` event before it is malformed or does not fit.
    pub fn output<'e>(&mut self, text: &'e str) -> Result<Printed<'e>, RawError> {
        let bytes = match self.side.take() {
            None => self.unshown(text),
            Some(side) => match side.strip_prefix('=') {
                Some(base64) => Cow::Owned(
                    BASE64
                        .decode(base64.as_bytes())
                        .map_err(|_| RawError::Side)?,
                ),
                None => Cow::Owned(self.put_back(text, &side)?),
            },
        };
        Ok((self.stream, bytes))
    }

    /// Takes any other event; those that are no side events are passed over.
    ///
    /// # Errors
    ///
    /// It is a side event and malformed.
    pub fn side(&mut self, code: &str, data: &Value) -> Result<(), RawError> {
        match code {
            "B" => self.side = Some(data.as_str().ok_or(RawError::Data)?.to_owned()),
            "S" => {
                let name = data.as_str().ok_or(RawError::Data)?;
                self.stream = Stream::named(name).ok_or(RawError::Stream)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Undoes [`Newlines::Crlf`].
    fn unshown<'e>(&self, text: &'e str) -> Cow<'e, [u8]> {
        match self.newlines {
            Newlines::Kept => Cow::Borrowed(text.as_bytes()),
            Newlines::Crlf => Cow::Owned(text.replace("\r\n", "\n").into_bytes()),
        }
    }

    fn put_back(&self, text: &str, side: &str) -> Result<Vec<u8>, RawError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        let mut next = 0;
        for entry in side.split(',') {
            let (index, hex) = entry.split_once(':').ok_or(RawError::Side)?;
            let index: usize = index.parse().map_err(|_| RawError::Side)?;
            let skip = index.checked_sub(next).ok_or(RawError::Side)?;
            let before = chars.as_str();
            if chars.by_ref().take(skip).count() < skip {
                return Err(RawError::Fit);
            }
            let kept = before.len() - chars.as_str().len();
            bytes.extend_from_slice(&self.unshown(before.get(..kept).unwrap_or_default()));
            if chars.next() != Some('\u{fffd}') {
                return Err(RawError::Fit);
            }
            bytes.extend_from_slice(
                &HEXLOWER
                    .decode(hex.as_bytes())
                    .map_err(|_| RawError::Side)?,
            );
            next = index + 1;
        }
        bytes.extend_from_slice(&self.unshown(chars.as_str()));
        Ok(bytes)
    }
}

/// Sums up the streams of a recording, to be compared with its `E` event.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    stdout: Sum,
    stderr: Sum,
}

impl Sums {
    /// Adds what [`Rebuild`] gave.
    pub fn add(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.stdout.add(bytes),
            Stream::Stderr => self.stderr.add(bytes),
        }
    }

    /// The sum of one stream so far.
    pub fn total(&self, stream: Stream) -> Total {
        match stream {
            Stream::Stdout => self.stdout.total(),
            Stream::Stderr => self.stderr.total(),
        }
    }

    /// Whether the data of an `E` event states these sums.
    pub fn agree_with(&self, account: &str) -> bool {
        let Ok(account) = serde_json::from_str::<Value>(account) else {
            return false;
        };
        [Stream::Stdout, Stream::Stderr].into_iter().all(|stream| {
            let total = self.total(stream);
            let stated = account
                .get(stream.name())
                .and_then(|s| Total::deserialize(s).ok());
            stated.is_some_and(|stated| {
                stated.bytes == total.bytes
                    && (total.sha256.is_none() || stated.sha256 == total.sha256)
            })
        })
    }
}
