//! `bastion audit forward`: a process of its own that sends the audit log to whoever collects it.
//!
//! Owns what each receiver has ([`place`]) and the ways to them. Reads the log and changes nothing
//! in it. An event that a receiver has not acknowledged is sent again: nothing is left out, and
//! what comes twice has the same number and hash. A log that was changed is not gone on with.

mod chain;
mod feed;
mod guarantee;
mod log;
mod place;
mod syslog;
mod tls;
mod webhook;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::chain::Place;
use self::feed::{Feed, FeedError, Head, Lookout};
pub use self::guarantee::Behind;
pub(crate) use self::guarantee::{Reached, Watch};
use self::log::{From as LogFrom, Log, LogError};
use self::place::{Folder, Status};
use self::syslog::Syslog;
use self::webhook::Webhook;
use crate::config::{Config, FileError, Receiver, Sink};
use crate::manager;

/// Why the forwarder does not start.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Nothing to do.
    #[error("the configuration names no [[audit.sink]]")]
    NoSink,
    /// Its folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another forwarder runs with the same folder.
    #[error("another bastion audit forward uses {}", .0.display())]
    InUse(PathBuf),
    /// A sink cannot be used.
    #[error("the sink {sink}: {what}")]
    Sink {
        /// Which.
        sink: String,
        /// Why, in a line.
        what: String,
    },
    /// The runtime cannot be started.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// A part of it has ended that never does: it is for the service manager to start it again.
    #[error("a part of the forwarder has ended: {0}")]
    Died(String),
}

/// Sends events until SIGTERM or SIGINT.
///
/// # Errors
/// Everything that keeps it from starting. A receiver that is away is waited for.
pub fn run(config: &Config) -> Result<(), ForwardError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ForwardError::Runtime)?;
    runtime.block_on(forward(config))
}

/// Whether the authorities that a sink names are some. Its other files may be for the forwarder's user
/// only, which looks at them when it starts.
///
/// # Errors
/// The file cannot be used.
pub(crate) fn check(sink: &Sink) -> Result<(), WayError> {
    match &sink.to {
        Receiver::Syslog {
            tls: Some(trust), ..
        }
        | Receiver::Webhook { trust, .. } => tls::check(trust),
        Receiver::Syslog { tls: None, .. } => Ok(()),
    }
}

/// Why there is no way to a receiver.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WayError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{}: {what}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The certificates and the key do not go together, or the system has no authorities.
    #[error("{0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The receiver's name is none.
    #[error("{0} is not a name that a certificate could have")]
    Name(String),
}

async fn forward(config: &Config) -> Result<(), ForwardError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ForwardError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ForwardError::Runtime)?;
    let settings = &config.forward;
    if settings.sinks.is_empty() {
        return Err(ForwardError::NoSink);
    }
    let folder = Folder::new(&settings.dir);
    let _only = folder.take().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => ForwardError::InUse(settings.dir.clone()),
        _ => ForwardError::Folder {
            path: settings.dir.clone(),
            source,
        },
    })?;
    let from = match &settings.socket {
        Some(path) => LogFrom::Socket(path.clone()),
        None => LogFrom::File(config.recording.dir.join("audit.jsonl")),
    };
    let log = Arc::new(Log::new(from));
    let start = Head {
        seq: 0,
        end: 0,
        at: Timestamp::UNIX_EPOCH,
    };
    let head = watch::Sender::new(start);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for sink in &settings.sinks {
        let failed = |what: &dyn std::fmt::Display| ForwardError::Sink {
            sink: sink.name.clone(),
            what: what.to_string(),
        };
        let way = Way::to(sink, &config.name).map_err(|error| failed(&error))?;
        folder.place(&sink.name).map_err(|error| {
            failed(&format_args!(
                "{}: {error}",
                folder.cursor(&sink.name).display()
            ))
        })?;
        let told = folder.told(&sink.name);
        let progress = watch::Sender::new(Progress {
            acknowledged: told.as_ref().map_or(0, |told| told.acknowledged),
            error: None,
        });
        let teller = Teller {
            sink: sink.name.clone(),
            folder: folder.clone(),
            head: head.subscribe(),
            progress: progress.subscribe(),
            caught_up: CaughtUp {
                at: told.and_then(|told| told.caught_up_at),
                marks: VecDeque::new(),
            },
        };
        let sender = Sender {
            sink: sink.name.clone(),
            way,
            folder: folder.clone(),
            log: log.clone(),
            head: head.subscribe(),
            progress,
        };
        tasks.spawn(sender.keep_sending(stop.clone()));
        tasks.spawn(teller.keep_telling(stop.clone()));
    }
    tasks.spawn(keep_looking(log, head, stop.clone()));
    info!(sinks = settings.sinks.len(), "forwarding the audit log");
    manager::ready();
    tokio::select! {
        never = manager::keep_alive() => match never {},
        _ = terminate.recv() => info!("SIGTERM"),
        _ = interrupt.recv() => info!("SIGINT"),
        // Nobody looks at the log any more, or a sink stands still and cannot say so.
        Some(ended) = tasks.join_next() => {
            let why = ended.err().map_or("it returned".to_owned(), |error| error.to_string());
            return Err(ForwardError::Died(why));
        }
    }
    manager::stopping("what was sent is acknowledged");
    stop.cancel();
    let ended = async { while tasks.join_next().await.is_some() {} };
    if time::timeout(FINISH, ended).await.is_err() {
        warn!("a receiver does not acknowledge: what it was sent is sent again next time");
    }
    Ok(())
}

/// Looks at the log for all.
async fn keep_looking(log: Arc<Log>, head: watch::Sender<Head>, stop: CancellationToken) {
    let look = async {
        let mut lookout = Lookout::new(log.clone());
        loop {
            match lookout.look().await {
                Ok(now) => drop(head.send_replace(now)),
                Err(error) => {
                    warn!(%error, "the audit log cannot be looked at");
                    // What comes back may be another log, and a shorter one.
                    lookout = Lookout::new(log.clone());
                    time::sleep(PAUSE_LEAST).await;
                }
            }
            time::sleep(LOOK).await;
        }
    };
    stop.run_until_cancelled(look).await;
}

/// How far a sink is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    acknowledged: u64,
    error: Option<String>,
}

/// Tells whoever watches how far a sink is, while that may be waiting for its receiver.
struct Teller {
    sink: String,
    folder: Folder,
    head: watch::Receiver<Head>,
    progress: watch::Receiver<Progress>,
    caught_up: CaughtUp,
}

/// When a receiver had everything. Events may come all the time: it had everything at a moment when
/// it has, later, what there was then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CaughtUp {
    at: Option<Timestamp>,
    /// Earlier looks at the log, the oldest first: its last event, and when that was.
    marks: VecDeque<(u64, Timestamp)>,
}

impl CaughtUp {
    fn see(&mut self, head: &Head, acknowledged: u64) {
        if acknowledged > head.seq {
            // A log that is shorter than what was acknowledged is another.
            return;
        }
        if self.marks.len() < MARKS {
            self.marks.push_back((head.seq, head.at));
        }
        while let Some((_, at)) = self.marks.pop_front_if(|(seq, _)| *seq <= acknowledged) {
            self.at = Some(at);
        }
    }
}

impl Teller {
    async fn keep_telling(mut self, stop: CancellationToken) {
        let mut last = String::new();
        loop {
            let stopped = stop.run_until_cancelled(time::sleep(TELL)).await.is_none();
            let status = self.status();
            match self.folder.tell(&self.sink, &status) {
                Ok(()) => last.clear(),
                Err(error) if error.to_string() == last => {}
                Err(error) => {
                    error!(sink = %self.sink, %error, "nobody can be told how far it is");
                    last = error.to_string();
                }
            }
            if stopped {
                return;
            }
        }
    }

    fn status(&mut self) -> Status {
        let (head, progress) = (*self.head.borrow(), self.progress.borrow().clone());
        let looked = head.at != Timestamp::UNIX_EPOCH;
        if looked && progress.error.is_none() {
            self.caught_up.see(&head, progress.acknowledged);
        }
        Status {
            at: Timestamp::now(),
            acknowledged: progress.acknowledged,
            behind: head.seq.saturating_sub(progress.acknowledged),
            caught_up_at: self.caught_up.at,
            error: progress.error,
        }
    }
}

/// Sends one sink what it has not got.
struct Sender {
    sink: String,
    way: Way,
    folder: Folder,
    log: Arc<Log>,
    head: watch::Receiver<Head>,
    progress: watch::Sender<Progress>,
}

/// The way to a receiver.
enum Way {
    Syslog(Syslog),
    Webhook(Webhook),
}

/// What a receiver has acknowledged.
#[derive(Clone, Copy, Debug)]
struct Delivered {
    /// Behind the last event.
    place: Place,
    /// How many.
    events: u64,
}

/// Why events are not known to have arrived.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("the receiver did not {0} in time")]
    Late(&'static str),
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    #[error(
        "the receiver ended the connection without close_notify, which acknowledge = \"close-notify\" asks of it"
    )]
    NoCloseNotify,
    #[error("the webhook did not take it: {0}")]
    Webhook(String),
    #[error(
        "the webhook takes no body of {bytes} bytes (status 413), which event {seq} has alone: raise its limit"
    )]
    TooLarge {
        /// Its number.
        seq: u64,
        bytes: usize,
    },
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("{path}: {source}", path = path.display())]
    Place {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Way {
    fn to(sink: &Sink, name: &str) -> Result<Self, WayError> {
        match &sink.to {
            Receiver::Syslog {
                host,
                port,
                tls,
                acknowledged,
            } => {
                let tls = match tls {
                    Some(trust) => Some((tls::config(trust)?, tls::server_name(host)?)),
                    None => None,
                };
                let to = (host.as_str(), *port);
                let syslog = Syslog::new(to, tls, *acknowledged, sink.form, name);
                Ok(Self::Syslog(syslog))
            }
            Receiver::Webhook {
                url,
                secret_file,
                trust,
            } => Ok(Self::Webhook(Webhook::new(
                url,
                secret_file,
                trust,
                sink.form,
            )?)),
        }
    }

    async fn deliver(
        &self,
        feed: &mut Feed,
        stop: &CancellationToken,
    ) -> Result<Option<Delivered>, DeliveryError> {
        match self {
            Self::Syslog(syslog) => syslog.deliver(feed, stop).await,
            Self::Webhook(webhook) => webhook.deliver(feed, stop).await,
        }
    }
}

impl Sender {
    async fn keep_sending(mut self, stop: CancellationToken) {
        let mut pause = Pause::default();
        while !stop.is_cancelled() {
            let Err(error) = self.send(&mut pause, &stop).await else {
                return;
            };
            let error = error.to_string();
            if self.progress.borrow().error.as_deref() != Some(&error) {
                warn!(sink = %self.sink, %error, "events wait");
            }
            self.progress
                .send_modify(|progress| progress.error = Some(error));
            if stop
                .run_until_cancelled(time::sleep(pause.next()))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Sends until `stop`, from where the sink is.
    async fn send(
        &mut self,
        pause: &mut Pause,
        stop: &CancellationToken,
    ) -> Result<(), DeliveryError> {
        let cursor = self.folder.cursor(&self.sink);
        let failed = |source| DeliveryError::Place {
            path: cursor.clone(),
            source,
        };
        let kept = self.folder.place(&self.sink).map_err(failed)?;
        let found = self.log.find(kept).await.map_err(FeedError::from)?;
        let place = found.ok_or_else(|| LogError::Lost {
            seq: kept.seq,
            cursor: cursor.clone(),
        });
        let mut place = place.map_err(FeedError::from)?;
        self.progress
            .send_modify(|progress| progress.acknowledged = place.seq);
        loop {
            let looked = |head: &Head| head.at != Timestamp::UNIX_EPOCH;
            let reached = self
                .head
                .wait_for(|head| looked(head) && head.end != place.end);
            let is_cut = match stop.run_until_cancelled(reached).await {
                Some(Ok(head)) => head.end < place.end,
                // Nobody looks any more: the forwarder is about to end.
                Some(Err(_)) | None => return Ok(()),
            };
            if is_cut {
                return Err(FeedError::from(LogError::Replaced).into());
            }
            let mut feed = Feed::new(self.log.clone(), self.head.clone(), place);
            if let Some(delivered) = self.way.deliver(&mut feed, stop).await? {
                place = delivered.place;
                self.folder.keep(&self.sink, &place).map_err(failed)?;
            }
            pause.reset();
            if self.progress.borrow().error.is_some() {
                info!(sink = %self.sink, "events go on");
            }
            self.progress.send_replace(Progress {
                acknowledged: place.seq,
                error: None,
            });
        }
    }
}

/// How long to wait after a failure: longer each time, and never the same for all bastions.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    fn next(&mut self) -> Duration {
        let longest = PAUSE_LEAST
            .saturating_mul(1 << self.failures.min(16))
            .min(PAUSE_MOST);
        self.failures += 1;
        let mut random = [0; 2];
        // Without randomness all wait the same.
        let drawn = aws_lc_rs::rand::fill(&mut random).map_or(0, |()| u16::from_le_bytes(random));
        longest / 2 + (longest / 2).mul_f64(f64::from(drawn) / f64::from(u16::MAX))
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is told how far a sink is.
const TELL: Duration = Duration::from_secs(2);
/// Earlier looks that are remembered.
const MARKS: usize = 64;
/// After a first failure, and at most.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(60);
/// How long the last acknowledgements are waited for.
const FINISH: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Under events that never stop, a receiver that keeps up is not behind for ever.
    #[test]
    fn who_keeps_up_has_had_everything_a_moment_ago() {
        let at = |second: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second);
        let mut caught_up = CaughtUp::default();
        for second in 0..60_i64 {
            let seq = 100 + 10 * second.unsigned_abs();
            let head = Head {
                seq,
                end: 0,
                at: at(second),
            };
            // What it has is what there was three seconds ago.
            caught_up.see(&head, seq - 30);
            if second >= 3 {
                let lag = at(second).duration_since(caught_up.at.unwrap_or(at(-60)));
                assert!(lag.as_secs() <= 3, "{second}: {lag}");
            }
        }
        // From here on it gets nothing more.
        let had = caught_up.at;
        for second in 60..90_i64 {
            let head = Head {
                seq: 700 + second.unsigned_abs(),
                end: 0,
                at: at(second),
            };
            caught_up.see(&head, 660);
        }
        assert!(caught_up.at >= had);
        assert!(caught_up.at <= Some(at(60)));
    }

    #[test]
    fn pauses_grow_to_their_end_and_begin_anew() {
        let mut pause = Pause::default();
        for failures in 0..40 {
            let longest = PAUSE_LEAST
                .saturating_mul(1 << failures.min(6))
                .min(PAUSE_MOST);
            let drawn = pause.next();
            assert!(
                drawn >= longest / 2 && drawn <= longest,
                "{failures}: {drawn:?}"
            );
        }
        pause.reset();
        assert!(pause.next() <= PAUSE_LEAST);
    }
}
