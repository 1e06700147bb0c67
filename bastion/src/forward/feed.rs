//! The events that a sink has not got, in order.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::chain::{Broken, Chain, Entry, Place, number_of};
use super::log::{Log, LogError};

/// How far the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the last event.
    pub(super) seq: u64,
    /// The byte behind it.
    pub(super) end: u64,
    /// When this was looked at.
    pub(super) at: Timestamp,
}

/// Why there is no next event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log was changed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Events from a place on.
#[derive(Debug)]
pub(super) struct Feed {
    log: Arc<Log>,
    head: watch::Receiver<Head>,
    chain: Chain,
}

impl Feed {
    pub(super) fn new(log: Arc<Log>, head: watch::Receiver<Head>, place: Place) -> Self {
        Self {
            log,
            head,
            chain: Chain::new(place),
        }
    }

    /// The next event; none where there is none yet. Not cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, FeedError> {
        loop {
            if let Some(entry) = self.chain.next()? {
                return Ok(Some(entry));
            }
            if self.head.borrow_and_update().end <= self.chain.offset() {
                return Ok(None);
            }
            let more = self.log.read_at(self.chain.offset()).await?;
            if more.is_empty() {
                return Ok(None);
            }
            self.chain.take(&more);
        }
    }

    /// Waits until the log is looked at again. Cancel-safe.
    pub(super) async fn looked_at(&mut self) {
        if self.head.changed().await.is_err() {
            // Nobody looks any more: the forwarder is about to end.
            std::future::pending::<()>().await;
        }
    }
}

/// Looks at the end of the log, four times a second, for all sinks.
#[derive(Debug)]
pub(super) struct Lookout {
    log: Arc<Log>,
    /// The part of a line that has been read.
    rest: Vec<u8>,
    offset: u64,
    head: Head,
}

impl Lookout {
    /// From a place on that is in the log.
    pub(super) fn new(log: Arc<Log>, place: Place) -> Self {
        Self {
            log,
            rest: Vec::new(),
            offset: place.end,
            head: Head {
                seq: place.seq,
                end: place.end,
                at: Timestamp::now(),
            },
        }
    }

    /// How far the log goes now.
    pub(super) async fn look(&mut self) -> Result<Head, LogError> {
        let at = Timestamp::now();
        loop {
            let more = self.log.read_at(self.offset).await?;
            if more.is_empty() {
                self.head.at = at;
                return Ok(self.head);
            }
            self.offset += more.len() as u64;
            self.rest.extend_from_slice(&more);
            let mut lines = self.rest.split(|byte| *byte == b'\n');
            let open = lines.next_back().unwrap_or_default().to_vec();
            for line in lines {
                // What was torn has no number.
                self.head.seq = number_of(line).unwrap_or(self.head.seq);
            }
            self.head.end = self.offset - open.len() as u64;
            self.rest = open;
            if self.rest.len() > LINE_MAX {
                // It is no line of a log, which whoever forwards it will say.
                self.rest.clear();
            }
        }
    }
}

/// As the recorder's own.
const LINE_MAX: usize = 1024 * 1024;
