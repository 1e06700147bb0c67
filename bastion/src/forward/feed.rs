//! The events that a sink has not got, in order.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::chain::{Broken, Chain, Entry, LINE_MAX, Place, number_of};
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
    head: Option<Head>,
}

impl Lookout {
    /// From the end of the log on, which is looked for first: what was before it has been counted by
    /// whoever wrote it.
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self {
            log,
            rest: Vec::new(),
            offset: 0,
            head: None,
        }
    }

    /// How far the log goes now.
    pub(super) async fn look(&mut self) -> Result<Head, LogError> {
        let at = Timestamp::now();
        let mut head = match self.head {
            Some(head) => head,
            None => self.begin().await?,
        };
        loop {
            let more = self.log.read_at(self.offset).await?;
            if more.is_empty() {
                head.at = at;
                self.head = Some(head);
                return Ok(head);
            }
            self.offset += more.len() as u64;
            self.rest.extend_from_slice(&more);
            let mut lines = self.rest.split(|byte| *byte == b'\n');
            let open = lines.next_back().unwrap_or_default().to_vec();
            for line in lines {
                // What was torn has no number.
                head.seq = number_of(line).unwrap_or(head.seq);
            }
            head.end = self.offset - open.len() as u64;
            self.rest = open;
            if self.rest.len() > LINE_MAX {
                // It is no line of a log, which whoever forwards it will say.
                self.rest.clear();
            }
        }
    }

    /// Goes to where at least one line ends before the end of the log.
    async fn begin(&mut self) -> Result<Head, LogError> {
        let end = self.log.end().await?;
        // Two lines are longer than one: the second has its number.
        self.offset = end.saturating_sub(2 * LINE_MAX as u64);
        self.rest.clear();
        let (seq, at) = (0, Timestamp::UNIX_EPOCH);
        let end = self.offset;
        Ok(Head { seq, end, at })
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::super::chain::tests::log_of;
    use super::super::log::From;
    use super::*;

    /// However long the log is, no more than its end is read to know how far it goes.
    #[tokio::test]
    async fn the_end_of_a_long_log_is_known_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let events = vec!["started"; 40_000];
        let text = log_of(&events);
        assert!(text.len() > 2 * LINE_MAX + LINE_MAX / 2);
        std::fs::write(&path, &text).unwrap();
        let log = Arc::new(Log::new(From::File(path.clone())));
        let mut lookout = Lookout::new(log.clone());
        let head = lookout.look().await.unwrap();
        assert_eq!((head.seq, head.end), (40_000, text.len() as u64));
        assert!(
            log.bytes_read() <= 2 * LINE_MAX as u64,
            "{}",
            log.bytes_read()
        );
        // It follows, also what is torn.
        let more = log_of(&[&events[..], &["{torn", "torn_line"]].concat());
        std::fs::write(&path, &more).unwrap();
        let head = lookout.look().await.unwrap();
        assert_eq!((head.seq, head.end), (40_001, more.len() as u64));
    }

    #[tokio::test]
    async fn a_short_log_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for (text, seq) in [(String::new(), 0), (log_of(&["started", "stopped"]), 2)] {
            std::fs::write(&path, &text).unwrap();
            let log = Arc::new(Log::new(From::File(path.clone())));
            let head = Lookout::new(log).look().await.unwrap();
            assert_eq!((head.seq, head.end), (seq, text.len() as u64));
        }
    }
}
