//! What happened: typed events, which the recorder writes as JSON lines chained by their hashes.
//!
//! Owns the events and their way to the recorder, which has the file: what is written cannot be
//! changed from here. Carries no secret and no byte of a target's output. Whatever a person,
//! target or provider chose is escaped by JSON; no event is put together from text.

mod cef;
mod form;
mod ocsf;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use recording::seal::Hash;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

pub use self::cef::event as cef;
pub use self::form::Form;
pub use self::ocsf::event as ocsf;
use crate::record::{RecordError, Recorder};

/// A person in the log: the identity and the name of that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The OpenID provider.
    pub issuer: String,
    /// Its unchanging name of the person.
    pub subject: String,
    /// For display.
    pub name: String,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The bastion began to serve.
    Started {
        /// The version of the program.
        version: String,
        /// Where it listens.
        addresses: Vec<String>,
    },
    /// The bastion stopped serving.
    Stopped,
    /// A connection ended before anybody signed in.
    ConnectionRefused {
        /// The address of the client.
        source: IpAddr,
        /// Why.
        reason: String,
    },
    /// A device code was shown.
    SignInBegun {
        /// The connection.
        connection: String,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the proven key.
        key: Option<String>,
    },
    /// Somebody signed in.
    SignInSucceeded {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The groups of the sign-in.
        groups: Vec<String>,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the key that has the lease.
        key: Option<String>,
        /// Id of the lease.
        lease: i64,
        /// When the lease ends.
        expires_at: Timestamp,
    },
    /// A sign-in failed.
    SignInRefused {
        /// The connection.
        connection: String,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the key.
        key: Option<String>,
        /// Why, in a word of a fixed list.
        outcome: String,
        /// Why.
        reason: String,
    },
    /// A key was let in by its lease.
    LeaseUsed {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// Fingerprint of the key.
        key: Option<String>,
        /// Id of the lease.
        lease: i64,
    },
    /// Leases were ended.
    SignedOut {
        /// Whose.
        user: Who,
        /// How many.
        leases: usize,
    },
    /// A channel to a target was allowed.
    ChannelAllowed {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// What.
        action: String,
        /// The command, with what is not UTF-8 replaced, or where a forwarding leads.
        command: Option<String>,
        /// The command's bytes in base64, where they are not UTF-8, or the text is cut for its length:
        /// so that no two look the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command_base64: Option<String>,
        /// The policies that permitted it.
        policies: Vec<String>,
        /// Whether one of them is for emergencies (`@break_glass`).
        break_glass: bool,
        /// Who is to hear of it (`@notify`).
        notify: Vec<String>,
    },
    /// A channel was refused.
    ChannelDenied {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// The target that was asked for, whether it exists or not.
        target: String,
        /// The account there.
        login: String,
        /// What.
        action: String,
        /// The command, with what is not UTF-8 replaced, or where a forwarding leads.
        command: Option<String>,
        /// The command's bytes in base64, where they are not UTF-8, or the text is cut for its length:
        /// so that no two look the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command_base64: Option<String>,
        /// Why.
        reason: String,
        /// The policies that forbade it.
        policies: Vec<String>,
    },
    /// New policies, targets and webhooks came into force; where `policies_refused` follows at once,
    /// the webhooks could not be stored, and none of them did.
    PoliciesReloaded {
        /// `SIGHUP` or `bastion reload`.
        by: String,
        /// SHA-256 over the policy files.
        digest: String,
        /// How many targets there are.
        targets: usize,
        /// How many rules.
        rules: usize,
        /// The webhooks that are told from then on.
        #[serde(default)]
        webhooks: Vec<String>,
    },
    /// New policies were wrong, so that the earlier ones stayed.
    PoliciesRefused {
        /// `SIGHUP` or `bastion reload`.
        by: String,
        /// How many mistakes were found.
        problems: usize,
        /// The first of them, with its place.
        first: String,
    },
    /// A connection to a target was begun within this one (`ssh -J`). It signs in by itself, and has
    /// events of its own.
    JumpBegun {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// The target that was asked for, whether it exists or not.
        target: String,
        /// The connection within this one.
        inner: String,
    },
    /// Something that is not proxied was asked for: a forwarding, a request, a kind of channel. At
    /// most a hundred of one connection in a minute are written down.
    RequestRefused {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// `direct-tcpip`, `tcpip-forward`, `x11`, `agent`, `subsystem`, and so on.
        request: String,
        /// Where to, or which.
        what: String,
    },
    /// A target could not be reached or did not prove its identity.
    TargetFailed {
        /// The connection.
        connection: String,
        /// Who.
        user: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// Why.
        reason: String,
    },
    /// A session began.
    SessionStarted {
        /// The connection.
        connection: String,
        /// Id of the session and its recording.
        session: String,
        /// Who.
        user: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// `shell`, `exec`, `sftp`, `forward` or `agent`.
        kind: String,
        /// `best-effort` where it goes on if the recorder fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording: Option<String>,
        /// Where a forwarding leads.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// The recorder failed, and the session goes on unrecorded, as its target's policies want it
    /// (best-effort). The recorder writes `recording_gap` when it is over.
    RecordingLost {
        /// Id of the session.
        session: String,
        /// Who.
        user: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// Why.
        reason: String,
    },
    /// A session ended.
    SessionEnded {
        /// Id of the session.
        session: String,
        /// Bytes that left as they came.
        passed: u64,
        /// Bytes that were replaced.
        masked: u64,
        /// Bytes that were withheld.
        held: u64,
        /// Bytes that could not be read as text.
        unreadable: u64,
        /// Bytes that came from the client.
        #[serde(default)]
        received: u64,
        /// The exit status, or the name of the signal.
        status: Option<String>,
        /// Why it ended, where it was not by itself.
        reason: Option<String>,
    },
    /// Somebody played or fetched a recording.
    RecordingRead {
        /// Who.
        user: Who,
        /// Id of the session.
        session: String,
        /// `play` or `recording`.
        action: String,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// Somebody read the audit log in the console.
    AuditRead {
        /// Who.
        user: Who,
        /// From when on.
        since: Timestamp,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A console command was refused.
    ConsoleDenied {
        /// Who.
        user: Who,
        /// What.
        action: String,
        /// About what.
        what: String,
        /// Why.
        reason: String,
    },
    /// A lease was ended before its time.
    LeaseEnded {
        /// Whose.
        user: Who,
        /// Id of the lease.
        lease: i64,
        /// Fingerprint of the key.
        key: Option<String>,
        /// Why.
        reason: String,
        /// Sessions that ended with it.
        sessions: usize,
    },
    /// The provider could not be asked again about somebody, who may go on for now.
    NotRechecked {
        /// Whose lease.
        user: Who,
        /// Id of the lease.
        lease: i64,
        /// Why.
        reason: String,
    },
    /// Somebody who was known signed in with a key that was not.
    KeyEnrolled {
        /// Who.
        user: Who,
        /// Fingerprint of the key.
        key: Option<String>,
        /// The address of the client.
        source: IpAddr,
    },
    /// Somebody ended sessions from the console.
    SessionsEnded {
        /// Who.
        user: Who,
        /// Ids of the sessions.
        sessions: Vec<String>,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A user or a target was locked.
    Locked {
        /// Who did.
        user: Who,
        /// `user` or `target`.
        kind: String,
        /// `ISSUER#SUBJECT`, or the target's name.
        what: String,
        /// What was given as the reason.
        reason: String,
        /// Leases that ended with it.
        leases: usize,
        /// Sessions that ended with it.
        sessions: usize,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A lock was taken away.
    Unlocked {
        /// Who did.
        user: Who,
        /// `user` or `target`.
        kind: String,
        /// `ISSUER#SUBJECT`, or the target's name.
        what: String,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// Output, or a command, began to be held.
    HoldOpened {
        /// Id of the hold.
        hold: String,
        /// Id of the session.
        session: String,
        /// Whose session.
        user: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// `output` or `command`.
        kind: String,
        /// The rule that holds.
        rule: String,
    },
    /// What is held is whole: a decision is about exactly these bytes.
    HoldSealed {
        /// Id of the hold.
        hold: String,
        /// SHA-256 of the salt and the payload.
        digest: String,
        /// Bytes of the payload.
        bytes: u64,
        /// Its lines.
        rows: u64,
        /// The held fields that were seen.
        fields: Vec<String>,
        /// Until when it can be decided.
        expires_at: Timestamp,
    },
    /// Somebody approved or denied.
    HoldDecided {
        /// Id of the hold.
        hold: String,
        /// What was decided about.
        digest: String,
        /// Who decided.
        user: Who,
        /// `approve` or `deny`.
        decision: String,
        /// Why, in their words.
        reason: Option<String>,
        /// How many have approved now.
        approvals: u32,
        /// How many have to.
        needed: u32,
        /// The policies that permitted it.
        policies: Vec<String>,
        /// People whose earlier approval counts no more, since they may not approve any more.
        withdrawn: Vec<Who>,
    },
    /// The bytes of an approved hold go to the one who produced them.
    HoldReleased {
        /// Id of the hold.
        hold: String,
        /// What is released.
        digest: String,
        /// To whom.
        user: Who,
    },
    /// A hold has come to its end: `delivered`, `expired`, `cancelled`, `void`.
    HoldEnded {
        /// Id of the hold.
        hold: String,
        /// How.
        state: String,
        /// Why, where that is not said by the state.
        reason: Option<String>,
    },
    /// Somebody asked for access that needs an approval.
    AccessRequested {
        /// Id of the request.
        request: String,
        /// Who asked.
        user: Who,
        /// The address of the client.
        source: IpAddr,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// Why, in their words.
        words: String,
        /// For how long.
        seconds: u64,
        /// The groups that decide.
        approvers: Vec<String>,
        /// How many people have to approve.
        needed: u32,
        /// Until when it can be decided.
        expires_at: Timestamp,
        /// The policies that permit asking.
        policies: Vec<String>,
    },
    /// Somebody approved or denied a request for access.
    AccessDecided {
        /// Id of the request.
        request: String,
        /// Who decided.
        user: Who,
        /// Who had asked.
        requester: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// `approve` or `deny`.
        decision: String,
        /// Why, in their words.
        words: Option<String>,
        /// How many have approved now.
        approvals: u32,
        /// How many have to.
        needed: u32,
        /// Until when the account is open, where this was the last approval that it needed.
        until: Option<Timestamp>,
        /// The policies that permitted it.
        policies: Vec<String>,
        /// People whose earlier approval counts no more, since they may not approve any more.
        withdrawn: Vec<Who>,
    },
    /// A request or a grant has come to its end: `expired`, `withdrawn`, `void`, `over`, `revoked`,
    /// `returned`.
    AccessEnded {
        /// Id of the request.
        request: String,
        /// Who ended it, where somebody did.
        user: Option<Who>,
        /// Who had asked.
        requester: Who,
        /// The target.
        target: String,
        /// The account there.
        login: String,
        /// How.
        state: String,
        /// Why, in their words, or where that is not said by the state.
        words: Option<String>,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
    /// A webhook was not told something that it should have been.
    NoticeGivenUp {
        /// The webhook's name in the configuration.
        webhook: String,
        /// The name of the message, as in `webhook-id`.
        message: String,
        /// What kind of message, such as `hold.sealed`; empty where it cannot be read.
        kind: String,
        /// The hold, request, session or key that it is about; empty where it cannot be read.
        about: String,
        /// How often it was tried.
        attempts: u32,
        /// Why it is not tried any more.
        reason: String,
    },
    /// Somebody looked at a hold's preview or payload.
    HoldShown {
        /// Id of the hold.
        hold: String,
        /// Who.
        user: Who,
        /// `preview` or `payload`.
        what: String,
        /// The policies that permitted it.
        policies: Vec<String>,
    },
}

/// The way to the log. Clones share it.
///
/// Events go to the recorder in the order in which they came. While the recorder is away they
/// wait, a thousand at most, and are sent again where it is not known that they arrived.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

struct Shared {
    queue: mpsc::Sender<Job>,
    /// What has kept events from the log for [`PATIENCE`].
    trouble: Arc<Mutex<Option<String>>>,
    /// Dropped with the last clone.
    _sender: JoinSet<()>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

/// Why an event is not in the log. What depends on it must not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// The recorder cannot write, or is away.
    #[error("the audit log cannot be written: {0}")]
    Failed(String),
    /// More events wait than are kept.
    #[error("the audit log cannot be written fast enough")]
    Full,
}

impl AuditError {
    /// The line that the client is shown.
    pub fn notice(&self) -> &'static str {
        "the audit log is not available"
    }
}

/// When an event counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// When it is on disk.
    Durable,
    /// When it is in the file, which is on disk within a second.
    Written,
}

/// An event on its way.
struct Job {
    /// The event as a JSON object of one line.
    event: Vec<u8>,
    wanted: Wanted,
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

impl Audit {
    /// Sends events to this recorder. Needs a runtime.
    pub fn new(recorder: Recorder) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let trouble = Arc::new(Mutex::new(None));
        let mut sender = JoinSet::new();
        sender.spawn(deliver_all(recorder, jobs, trouble.clone()));
        Self {
            shared: Arc::new(Shared {
                queue,
                trouble,
                _sender: sender,
            }),
        }
    }

    /// Writes an event; it is on disk when this returns, so that what it tells may happen.
    /// Cancelling the wait does not take the event back.
    ///
    /// # Errors
    ///
    /// The event cannot be written, is not acknowledged within five seconds, or a thousand
    /// events wait. It may be written later all the same.
    pub async fn record(&self, event: Event) -> Result<(), AuditError> {
        crate::metrics::global().observe(&event);
        let (done, written) = oneshot::channel();
        self.push(&event, Wanted::Durable, Some(done))?;
        acknowledged(written).await
    }

    /// Hands an event over, to be on disk within a second. Does not wait; for what has happened
    /// already.
    ///
    /// # Errors
    ///
    /// The log could not be written for five seconds, or a thousand events wait.
    pub fn record_soon(&self, event: Event) -> Result<(), AuditError> {
        crate::metrics::global().observe(&event);
        self.push(&event, Wanted::Written, None)
    }

    /// Waits until what was handed over is in the log, five seconds at most.
    pub async fn flush(&self) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        let nothing = Job {
            event: Vec::new(),
            wanted: Wanted::Durable,
            done: Some(done),
        };
        let queued = self.shared.queue.send_timeout(nothing, PATIENCE).await;
        queued.map_err(|_| AuditError::Full)?;
        acknowledged(written).await
    }

    fn push(
        &self,
        event: &Event,
        wanted: Wanted,
        done: Option<oneshot::Sender<Result<(), AuditError>>>,
    ) -> Result<(), AuditError> {
        if let Some(trouble) = &*lock(&self.shared.trouble) {
            return Err(AuditError::Failed(trouble.clone()));
        }
        let job = Job {
            event: encode(event)?,
            wanted,
            done,
        };
        self.shared
            .queue
            .try_send(job)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AuditError::Full,
                mpsc::error::TrySendError::Closed(_) => {
                    AuditError::Failed("the bastion is being stopped".to_owned())
                }
            })
    }
}

async fn acknowledged(
    written: oneshot::Receiver<Result<(), AuditError>>,
) -> Result<(), AuditError> {
    let failed = |what: &str| AuditError::Failed(what.to_owned());
    match time::timeout(PATIENCE, written).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(failed("the bastion is being stopped")),
        Err(_) => Err(failed("the recorder does not acknowledge")),
    }
}

/// The event with its time; texts in it are cut where it would be too long for the recorder.
fn encode(event: &Event) -> Result<Vec<u8>, AuditError> {
    #[derive(Serialize)]
    struct Line<'a> {
        time: Timestamp,
        #[serde(flatten)]
        event: &'a Event,
    }
    let line = Line {
        time: Timestamp::now(),
        event,
    };
    let failed = |error: serde_json::Error| AuditError::Failed(error.to_string());
    let bytes = serde_json::to_vec(&line).map_err(failed)?;
    if bytes.len() <= EVENT_MAX {
        return Ok(bytes);
    }
    let mut value = serde_json::to_value(&line).map_err(failed)?;
    keep_command(&mut value);
    let bytes = serde_json::to_vec(&value).map_err(failed)?;
    if bytes.len() <= EVENT_MAX {
        return Ok(bytes);
    }
    shorten(&mut value);
    serde_json::to_vec(&value).map_err(failed)
}

/// Cuts the text of a long command, whose bytes are kept: they are 88 KiB at most in base64, where
/// the text with its escapes can be many times as long.
fn keep_command(event: &mut serde_json::Value) {
    let Some(members) = event.as_object_mut() else {
        return;
    };
    let Some(mut text) = members.remove("command") else {
        return;
    };
    if let Some(command) = text.as_str().filter(|command| command.len() > TEXT_MAX) {
        let bytes = BASE64.encode(command.as_bytes());
        // Where it is no text, its bytes are there already.
        members
            .entry("command_base64")
            .or_insert_with(|| bytes.into());
        shorten(&mut text);
    }
    members.insert("command".to_owned(), text);
}

fn shorten(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.len() > TEXT_MAX => {
            let whole = text.len();
            text.truncate(text.floor_char_boundary(TEXT_MAX));
            text.push_str(&format!("… ({whole} bytes)"));
        }
        serde_json::Value::Array(values) => {
            values.truncate(LIST_MAX);
            values.iter_mut().for_each(shorten);
        }
        serde_json::Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Sends events in batches, each until it has arrived.
async fn deliver_all(
    recorder: Recorder,
    mut jobs: mpsc::Receiver<Job>,
    trouble: Arc<Mutex<Option<String>>>,
) {
    while let Some(first) = jobs.recv().await {
        let mut batch = VecDeque::from([first]);
        while batch.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            batch.push_back(job);
        }
        let since = Instant::now();
        while let Err(error) = deliver(&recorder, &mut batch).await {
            if since.elapsed() >= PATIENCE {
                let text = error.to_string();
                if lock(&trouble).replace(text).is_none() {
                    tracing::error!(%error, "the audit log cannot be written");
                }
            }
            time::sleep(AGAIN).await;
        }
        *lock(&trouble) = None;
    }
}

/// Sends what is in the batch, and takes out what has arrived.
async fn deliver(recorder: &Recorder, batch: &mut VecDeque<Job>) -> Result<(), RecordError> {
    let events = batch.iter().map(|job| (job.wanted, job.event.as_slice()));
    let answers = recorder.audit(events).await?;
    let mut failed = None;
    for answer in answers {
        let result = match answer.await {
            Ok(()) => Ok(()),
            // It would be refused again.
            Err(RecordError::Refused(what)) => {
                tracing::error!(%what, "an event was refused by the recorder");
                Err(AuditError::Failed(what))
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        if let Some(done) = batch.pop_front().and_then(|job| job.done) {
            // Who has stopped waiting does not need the answer.
            done.send(result).unwrap_or(());
        }
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `verify` found in a whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of events.
    pub events: u64,
    /// The hash of the last line, which says all that came before.
    pub last: String,
}

/// Where a log is broken.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file could not be read.
    #[error("cannot read the audit log: {0}")]
    Read(#[source] io::Error),
    /// A line does not follow from the one before.
    #[error("line {line}: {what}")]
    Broken {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Lines that were signed are not there.
    #[error("{events} events are there, and {signed} were signed: the end is missing")]
    Short {
        /// Events that are there.
        events: u64,
        /// Events that the log of the recordings knows of.
        signed: u64,
    },
}

/// Checks the chain of a whole log: that no line was changed, left out, moved or put in; and
/// that it has the lines that were `signed`, by their numbers and hashes. Lines behind the last
/// signed one may have been cut off.
///
/// # Errors
///
/// The first line that does not fit.
pub fn verify(log: impl BufRead, signed: &[(u64, Hash)]) -> Result<Verified, VerifyError> {
    let mut signed: VecDeque<_> = signed.iter().copied().collect();
    let (mut expected, mut previous, mut torn) = (1, Hash([0; 32]), false);
    for (line, number) in log.split(b'\n').zip(1..) {
        let line = line.map_err(VerifyError::Read)?;
        let broken = |what| VerifyError::Broken { line: number, what };
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&line) else {
            if torn {
                return Err(broken("is not JSON, nor is the line before"));
            }
            torn = true;
            previous = Hash::of(&line);
            continue;
        };
        if value.get("seq").and_then(serde_json::Value::as_u64) != Some(expected) {
            return Err(broken("has not the number that follows"));
        }
        if value.get("prev").and_then(serde_json::Value::as_str) != Some(&previous.to_string()) {
            return Err(broken("does not carry the hash of the line before"));
        }
        let says_torn = value.get("event").and_then(serde_json::Value::as_str) == Some("torn_line");
        if torn != says_torn {
            return Err(broken(
                "follows a line that is not whole, or says so without one",
            ));
        }
        (previous, torn) = (Hash::of(&line), false);
        while let Some((at, hash)) = signed.front().filter(|(at, _)| *at <= expected) {
            if *at == expected && *hash != previous {
                return Err(broken("is not the line that was signed"));
            }
            signed.pop_front();
        }
        expected += 1;
    }
    if torn {
        return Err(VerifyError::Broken {
            line: expected,
            what: "the last line is not whole",
        });
    }
    if let Some((signed, _)) = signed.back() {
        return Err(VerifyError::Short {
            events: expected - 1,
            signed: *signed,
        });
    }
    Ok(Verified {
        events: expected - 1,
        last: previous.to_string(),
    })
}

/// Events that wait for the recorder.
const QUEUE_MAX: usize = 1_000;
/// Events that are sent at once.
const BATCH: usize = 64;
/// How long the recorder may be away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);
/// The longest event that is sent as it is, in bytes of JSON.
const EVENT_MAX: usize = 128 * 1024;
/// What is left of a text, and of a list, in one that is longer. A byte of text is six of JSON
/// at most.
const TEXT_MAX: usize = 4 * 1024;
const LIST_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;

    /// However it is written, and as long as a command may be.
    #[test]
    fn the_bytes_of_a_long_command_are_kept() {
        for byte in [b'a', 1, 0xff] {
            let command = vec![byte; 64 * 1024];
            let text = String::from_utf8_lossy(&command).into_owned();
            let bytes = std::str::from_utf8(&command).is_err();
            let event = Event::ChannelAllowed {
                connection: "c".into(),
                user: Who {
                    issuer: "https://id.example.test".into(),
                    subject: "1".into(),
                    name: "ana".into(),
                },
                source: [192, 0, 2, 1].into(),
                target: "db".into(),
                login: "app".into(),
                action: "exec".into(),
                command: Some(text),
                command_base64: bytes.then(|| BASE64.encode(&command)),
                policies: vec!["p".into()],
                break_glass: false,
                notify: Vec::new(),
            };
            let line = encode(&event).unwrap();
            assert!(line.len() <= EVENT_MAX, "{}", line.len());
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let kept = match line["command_base64"].as_str() {
                Some(text) => BASE64.decode(text.as_bytes()).unwrap(),
                None => line["command"].as_str().unwrap().as_bytes().to_vec(),
            };
            assert!(kept == command, "{byte}");
        }
    }

    /// Row 57 of the threats: a name cannot end a line or begin another.
    #[test]
    fn hostile_text_stays_within_its_line() {
        let hostile = "\n{\"seq\":9}\r\u{1b}[2J\"\\\u{0}\u{2028}\u{202e}";
        let event = Event::ConnectionRefused {
            source: IpAddr::from([127, 0, 0, 1]),
            reason: hostile.to_owned(),
        };
        let line = encode(&event).unwrap();
        assert!(line.iter().all(|byte| *byte >= b' '));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["reason"], hostile);
        assert_eq!(value["event"], "connection_refused");
    }

    #[test]
    fn an_event_is_never_longer_than_the_recorder_takes() {
        let event = Event::ConnectionRefused {
            source: IpAddr::from([127, 0, 0, 1]),
            reason: "\u{1}é".repeat(50_000),
        };
        let line = encode(&event).unwrap();
        assert!(line.len() <= EVENT_MAX, "{}", line.len());
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert!(
            value["reason"]
                .as_str()
                .unwrap()
                .ends_with("(150000 bytes)")
        );
    }
}
