//! One socket to a recorder: who may write when, and who gets which answer.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time;

use super::{Agreed, RecordError, SessionId, Totals};
use crate::recorder::wire::{self, Broken, HEAD, Head, Hello, Kind, Taken};

/// A socket with the tasks that serve it. Dropping it fails its sessions.
#[derive(Debug)]
pub(super) struct Link {
    wire: Arc<Wire>,
    tasks: JoinSet<()>,
}

impl Link {
    /// Greets the recorder and waits for its answer.
    pub(super) async fn start(stream: UnixStream, agreed: &Agreed) -> Result<Self, RecordError> {
        let wire = Arc::new(Wire {
            stream,
            stall: agreed.stall,
            window: agreed.terms.queue_bytes,
            outbox: Mutex::default(),
            more: Notify::new(),
            channels: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(read(wire.clone()));
        tasks.spawn(write(wire.clone()));
        let link = Self { wire, tasks };
        let hello = Hello {
            version: wire::VERSION,
            sync: agreed.sync,
            terms: agreed.terms.clone(),
        };
        let hello = serde_json::to_vec(&hello).unwrap_or_default();
        link.wire.ask(Kind::Hello, &hello).await?.done()?;
        Ok(link)
    }

    pub(super) fn wire(&self) -> Arc<Wire> {
        self.wire.clone()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.wire.channels().dead.is_none()
    }

    /// Lets the recorder finish everything, then closes.
    pub(super) async fn close(mut self, patience: Duration) {
        if let Ok(reply) = self.wire.question(Kind::Close, &[]) {
            // Whatever the answer is, the socket closes.
            drop(time::timeout(patience, reply).await);
        }
        self.tasks.shutdown().await;
        self.wire.fail(&RecordError::Gone);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.wire.fail(&RecordError::Gone);
    }
}

/// The socket, shared by all sessions on it.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    /// A recorder that says nothing for this long has stalled.
    pub(super) stall: Duration,
    /// Output bytes of one session that the recorder has not written into the recording.
    window: u64,
    outbox: Mutex<Outbox>,
    /// The outbox is not empty: for the writing task.
    more: Notify,
    channels: Mutex<Channels>,
}

/// What the socket would not take at once.
#[derive(Debug, Default)]
struct Outbox {
    segments: VecDeque<Bytes>,
}

#[derive(Debug, Default)]
struct Channels {
    last: u32,
    open: HashMap<u32, Channel>,
    dead: Option<RecordError>,
}

#[derive(Debug)]
enum Channel {
    /// A question that waits for its answer.
    Question(oneshot::Sender<Result<Reply, RecordError>>),
    /// A session; its first answer is to its start.
    Session {
        started: Option<oneshot::Sender<Result<Reply, RecordError>>>,
        progress: watch::Sender<Progress>,
    },
}

/// How far a session is.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) taken: u64,
    pub(super) room: u64,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Live,
    Ended(Box<Totals>),
    Failed(RecordError),
}

impl Progress {
    pub(super) fn check(&self) -> Result<(), RecordError> {
        match &self.state {
            State::Live | State::Ended(_) => Ok(()),
            State::Failed(error) => Err(error.clone()),
        }
    }
}

/// One answer.
#[derive(Debug)]
pub(super) struct Reply {
    kind: Kind,
    payload: Bytes,
}

impl Reply {
    pub(super) fn session_id(&self) -> Result<SessionId, RecordError> {
        self.expect(Kind::Started)?;
        let id = std::str::from_utf8(&self.payload)
            .ok()
            .and_then(|name| name.parse().ok());
        id.ok_or(RecordError::Broken("a session without a name"))
    }

    pub(super) fn page(self) -> Result<Bytes, RecordError> {
        self.expect(Kind::Page)?;
        Ok(self.payload)
    }

    pub(super) fn data(self) -> Result<Bytes, RecordError> {
        self.expect(Kind::Data)?;
        Ok(self.payload)
    }

    pub(super) fn done(&self) -> Result<(), RecordError> {
        self.expect(Kind::Done)
    }

    fn expect(&self, kind: Kind) -> Result<(), RecordError> {
        if self.kind == kind {
            Ok(())
        } else {
            Err(RecordError::Broken("an unexpected answer"))
        }
    }
}

/// The answer to a question, some time later.
pub(super) struct Answer(oneshot::Receiver<Result<Reply, RecordError>>);

impl Future for Answer {
    type Output = Result<Reply, RecordError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(RecordError::Gone)))
    }
}

impl Wire {
    /// Opens a channel for a session; the answer is to its start.
    pub(super) fn open_session(&self) -> Result<(u32, Answer), RecordError> {
        let (started, answer) = oneshot::channel();
        let progress = Progress {
            taken: 0,
            room: self.window,
            state: State::Live,
        };
        let (progress, _) = watch::channel(progress);
        let channel = Channel::Session {
            started: Some(started),
            progress,
        };
        Ok((self.channels().add(channel)?, Answer(answer)))
    }

    pub(super) fn progress_of(&self, channel: u32) -> Option<watch::Receiver<Progress>> {
        match self.channels().open.get(&channel)? {
            Channel::Session { progress, .. } => Some(progress.subscribe()),
            Channel::Question(_) => None,
        }
    }

    /// Nobody waits for answers on this channel any more.
    pub(super) fn forget(&self, channel: u32) {
        self.channels().open.remove(&channel);
    }

    /// Asks, and waits for the one answer.
    pub(super) async fn ask(&self, kind: Kind, payload: &[u8]) -> Result<Reply, RecordError> {
        let answer = self.question(kind, payload)?;
        match time::timeout(self.stall, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.stalled().await),
        }
    }

    /// Somebody has waited for `stall`. A recorder that does not even say that it hears hangs: it is
    /// given up with all that is on this socket, so that another can take its place. Cancel-safe.
    pub(super) async fn stalled(&self) -> RecordError {
        // Answered by the thread that reads, which waits for no disk.
        if let Ok(answer) = self.question(Kind::Forget, &0_u64.to_le_bytes())
            && time::timeout(self.stall.min(HEARS), answer).await.is_err()
        {
            tracing::error!("the recorder hangs: it is given up");
            self.fail(&RecordError::Stalled);
        }
        RecordError::Stalled
    }

    /// Asks; the answer can be awaited.
    pub(super) fn question(&self, kind: Kind, payload: &[u8]) -> Result<Answer, RecordError> {
        let (question, answer) = oneshot::channel();
        let channel = self.channels().add(Channel::Question(question))?;
        self.send(&wire::frame(kind, channel, payload), None);
        Ok(Answer(answer))
    }

    /// Sends a payload as a frame of its own, without copying it.
    pub(super) fn send_payload(&self, kind: Kind, channel: u32, payload: Bytes) {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.send(&Head { len, kind, channel }.encode(), Some(payload));
    }

    /// Writes what the socket takes at once and leaves the rest to the writing task. Frames
    /// never mix: the outbox is locked, and a frame goes into it whole.
    ///
    /// A large payload is left to the writing task, too, which runs when whoever sends has nothing
    /// more at hand: each write wakes the recorder, and a wake costs more than copying a packet.
    pub(super) fn send(&self, first: &[u8], payload: Option<Bytes>) {
        let mut payload = payload.unwrap_or_default();
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut first = first;
        if outbox.segments.is_empty() && payload.len() < LARGE {
            let slices = [IoSlice::new(first), IoSlice::new(&payload)];
            match self.stream.try_write_vectored(&slices) {
                Ok(written) => {
                    let (_, rest) = first.split_at(written.min(first.len()));
                    payload.advance(written.saturating_sub(first.len()).min(payload.len()));
                    first = rest;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    drop(outbox);
                    return self.fail(&RecordError::Gone);
                }
            }
        }
        if !first.is_empty() {
            outbox.segments.push_back(Bytes::copy_from_slice(first));
        }
        if !payload.is_empty() {
            outbox.segments.push_back(payload);
        }
        if outbox.segments.is_empty() {
            return;
        }
        if outbox.bytes() >= BATCH && self.write_some(&mut outbox).is_err() {
            drop(outbox);
            return self.fail(&RecordError::Gone);
        }
        if !outbox.segments.is_empty() {
            self.more.notify_one();
        }
    }

    /// Writes what the socket takes of the outbox's start.
    fn write_some(&self, outbox: &mut Outbox) -> io::Result<()> {
        let slices: Vec<_> = outbox
            .segments
            .iter()
            .take(SLICES)
            .map(|segment| IoSlice::new(segment))
            .collect();
        match self.stream.try_write_vectored(&slices) {
            Ok(written) => outbox.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Every session and question on this socket fails, now and from now on. The socket is shut,
    /// whoever still holds it, so that the recorder sees the end.
    pub(super) fn fail(&self, error: &RecordError) {
        let mut channels = self.channels();
        channels.dead.get_or_insert_with(|| error.clone());
        for (_, channel) in channels.open.drain() {
            channel.fail(error.clone());
        }
        drop(channels);
        // It may be shut already.
        rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Both).ok();
        self.outbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .segments
            .clear();
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a frame to whom it is for.
    fn take(&self, head: Head, payload: &mut BytesMut) -> Result<(), Broken> {
        let mut channels = self.channels();
        // The channel may have been forgotten on our side while the answer was on its way.
        match head.kind {
            Kind::Taken => {
                let now = Taken::decode(payload)?;
                if let Some(Channel::Session { progress, .. }) = channels.open.get(&head.channel) {
                    progress.send_modify(|progress| {
                        progress.taken = progress.taken.max(now.taken);
                        progress.room = progress.room.max(now.room);
                    });
                }
            }
            Kind::Ended => {
                let totals = wire::parse(payload)?;
                if let Some(Channel::Session { progress, .. }) = channels.open.remove(&head.channel)
                {
                    progress.send_modify(|progress| progress.state = State::Ended(totals));
                }
            }
            Kind::Failed => {
                let failure: wire::Failure = wire::parse(payload)?;
                if let Some(channel) = channels.open.remove(&head.channel) {
                    channel.fail(failure.into());
                }
            }
            Kind::Started => {
                let reply = Reply {
                    kind: head.kind,
                    payload: payload.split().freeze(),
                };
                if let Some(Channel::Session { started, .. }) = channels.open.get_mut(&head.channel)
                    && let Some(started) = started.take()
                {
                    // An error: nobody waits any more, and the session's guard has ended it.
                    drop(started.send(Ok(reply)));
                }
            }
            Kind::Page | Kind::Data | Kind::Done => {
                let reply = Reply {
                    kind: head.kind,
                    payload: payload.split().freeze(),
                };
                if let Some(Channel::Question(question)) = channels.open.remove(&head.channel) {
                    drop(question.send(Ok(reply)));
                }
            }
            Kind::Hello
            | Kind::Start
            | Kind::Stdout
            | Kind::Stderr
            | Kind::Resize
            | Kind::Marker
            | Kind::End
            | Kind::List
            | Kind::Open
            | Kind::Read
            | Kind::Forget
            | Kind::Close
            | Kind::Audit
            | Kind::Disk
            | Kind::Gap
            | Kind::Redact => return Err(Broken("a frame that only goes to a recorder")),
        }
        Ok(())
    }
}

impl Channels {
    fn add(&mut self, channel: Channel) -> Result<u32, RecordError> {
        if let Some(error) = &self.dead {
            return Err(error.clone());
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if let std::collections::hash_map::Entry::Vacant(free) = self.open.entry(self.last) {
                free.insert(channel);
                return Ok(self.last);
            }
        }
    }
}

impl Channel {
    fn fail(self, error: RecordError) {
        match self {
            Self::Question(question) => drop(question.send(Err(error))),
            Self::Session { started, progress } => {
                if let Some(started) = started {
                    drop(started.send(Err(error.clone())));
                }
                progress.send_modify(|progress| progress.state = State::Failed(error));
            }
        }
    }
}

/// Writes what [`Wire::send`] has left over.
async fn write(wire: Arc<Wire>) {
    loop {
        wire.more.notified().await;
        loop {
            if let Err(error) = wire.stream.writable().await {
                tracing::warn!(%error, "the recorder's socket");
                return wire.fail(&RecordError::Gone);
            }
            let mut outbox = wire.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            if outbox.segments.is_empty() {
                break;
            }
            if wire.write_some(&mut outbox).is_err() {
                drop(outbox);
                return wire.fail(&RecordError::Gone);
            }
        }
    }
}

impl Outbox {
    fn bytes(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(segment) = self.segments.front_mut() {
            if segment.len() > written {
                segment.advance(written);
                return;
            }
            written -= segment.len();
            self.segments.pop_front();
        }
    }
}

/// Reads answers until the recorder closes its end.
async fn read(wire: Arc<Wire>) {
    let mut buffer = BytesMut::with_capacity(READ);
    loop {
        match drain(&wire, &mut buffer) {
            Ok(()) => {}
            Err(broken) => {
                tracing::error!(%broken, "the recorder");
                return wire.fail(&broken.into());
            }
        }
        buffer.reserve(READ);
        if wire.stream.readable().await.is_err() {
            return wire.fail(&RecordError::Gone);
        }
        match wire.stream.try_read_buf(&mut buffer) {
            Ok(0) => return wire.fail(&RecordError::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return wire.fail(&RecordError::Gone),
        }
    }
}

/// Takes every whole frame out of `buffer`.
fn drain(wire: &Wire, buffer: &mut BytesMut) -> Result<(), Broken> {
    while let Some(head) = buffer.first_chunk::<HEAD>() {
        let head = Head::decode(*head)?;
        let len = head.len as usize;
        if buffer.len() < HEAD + len {
            break;
        }
        buffer.advance(HEAD);
        let mut payload = buffer.split_to(len);
        wire.take(head, &mut payload)?;
    }
    Ok(())
}

/// How long a recorder that has been silent may take to say that it hears.
const HEARS: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// A payload of this many bytes is not written at once.
const LARGE: usize = 8 * 1024;
/// This many bytes are.
const BATCH: usize = 128 * 1024;
/// Segments that are written at once.
const SLICES: usize = 64;
