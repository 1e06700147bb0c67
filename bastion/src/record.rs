//! The client side of the recorder's socket: what `serve` needs to have a session recorded.
//!
//! No byte goes to a client before the recorder has taken it over: hand it to
//! [`Recording::output`], wait for its position in [`Acknowledged::reached`], then forward it.
//! When the recorder is gone, full or silent for `recording.stall`, every session on it fails with
//! a [`RecordError`]. Only where policies name its target for that, a session goes on unrecorded,
//! until a recorder takes another part of it ([`Keeper`]): then the log says from when to when, and
//! of how many bytes.
//!
//! All sessions share one socket. A frame is written at once by whoever has it, as far as the
//! socket takes it; a task writes the rest. What may be queued is bounded by each session's
//! window, `recording.queue_bytes`.

mod about;
mod ledger;
mod link;
mod part;
mod read;

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};
use tokio::time::{self, Instant};

pub use self::about::{
    About, Bulk, Continues, Coverage, End, Ended, ExitStatus, Gap, Kind, NotASession, SessionId,
    SignedIn, Summary, Totals,
};
use self::link::{Link, Progress, Wire};
pub use self::part::{Keeper, Kept};
use self::part::{Line, Open, Part};
pub(crate) use self::read::Opened;
pub use self::read::ReadBack;
use crate::audit::Wanted;
use crate::config::{self, RecordingMode, RecordingSync};
use crate::forward::{Behind, Watch};
use crate::recorder::Terms;
use crate::recorder::wire::{self, Entry, Failure, GapEntry};

/// A recorder that takes sessions. A clone is the same recorder.
///
/// If it dies, its sessions fail; the next [`Recorder::start`] starts or calls it again.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
}

/// What `serve` and a recorder agree on when they meet.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// When bytes have to be on disk.
    pub sync: RecordingSync,
    /// A recorder that says nothing for this long has stalled.
    pub stall: Duration,
    /// How much it keeps, and when it writes.
    pub terms: Terms,
}

impl Agreed {
    /// As a configuration has it.
    pub fn of(recording: &config::Recording) -> Self {
        Self {
            sync: recording.sync,
            stall: recording.stall,
            terms: recording.terms.clone(),
        }
    }
}

impl From<RecordingSync> for Agreed {
    /// With the defaults for the rest.
    fn from(sync: RecordingSync) -> Self {
        Self {
            sync,
            stall: STALL,
            terms: Terms::default(),
        }
    }
}

#[derive(Debug)]
struct Inner {
    source: Source,
    agreed: Agreed,
    running: Mutex<Running>,
    /// What else must stand for a session to begin.
    watch: OnceLock<Watch>,
    /// Gaps of which no recorder has said that they are in the log.
    owed: std::sync::Mutex<VecDeque<GapEntry>>,
    /// Held by whoever tells the recorder of them.
    settling: Mutex<()>,
    /// When it was last asked whether a recorder answers, by sessions that wait for one.
    asked: Mutex<Option<(Instant, bool)>>,
    /// When a recorder last had no room for another part of one of them.
    full: std::sync::Mutex<Option<(Instant, RecordError)>>,
}

/// Where a recorder comes from.
#[derive(Debug)]
enum Source {
    /// It is started as a child, with one end of a socket pair as its standard input.
    Child {
        exe: PathBuf,
        dir: PathBuf,
        args: Vec<OsString>,
    },
    /// It runs on its own and listens here.
    Socket { path: PathBuf },
}

#[derive(Debug)]
struct Running {
    link: Option<Link>,
    child: Option<Child>,
    /// No new attempt to reach a recorder before this.
    not_before: Instant,
}

impl Recorder {
    /// Starts `exe recorder --dir DIR --fd 0` with a socket as its standard input. The child
    /// ends, with every file finished, when this process or the recorder's last clone is gone.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or ends before it answers: it says why on stderr.
    pub async fn spawn_embedded(
        exe: &Path,
        dir: &Path,
        agreed: impl Into<Agreed>,
    ) -> Result<Self, RecordError> {
        Self::spawn_embedded_with(exe, dir, agreed, Vec::new()).await
    }

    /// As [`Self::spawn_embedded`], with further arguments for the recorder.
    ///
    /// # Errors
    ///
    /// As [`Self::spawn_embedded`].
    pub async fn spawn_embedded_with(
        exe: &Path,
        dir: &Path,
        agreed: impl Into<Agreed>,
        args: Vec<OsString>,
    ) -> Result<Self, RecordError> {
        let source = Source::Child {
            exe: exe.to_owned(),
            dir: dir.to_owned(),
            args,
        };
        Self::new(source, agreed.into()).await
    }

    /// Connects to the recorder that listens on `socket`; bytes are on disk within two seconds.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or it is not a recorder of this version.
    pub async fn connect(socket: &Path) -> Result<Self, RecordError> {
        Self::connect_with(socket, RecordingSync::Interval).await
    }

    /// Connects to the recorder that listens on `socket`, and says what is asked of it.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub async fn connect_with(
        socket: &Path,
        agreed: impl Into<Agreed>,
    ) -> Result<Self, RecordError> {
        Self::new(
            Source::Socket {
                path: socket.to_owned(),
            },
            agreed.into(),
        )
        .await
    }

    async fn new(source: Source, agreed: Agreed) -> Result<Self, RecordError> {
        let running = Running {
            link: None,
            child: None,
            not_before: Instant::now(),
        };
        let inner = Arc::new(Inner {
            source,
            agreed,
            running: Mutex::new(running),
            watch: OnceLock::new(),
            owed: std::sync::Mutex::default(),
            settling: Mutex::new(()),
            asked: Mutex::new(None),
            full: std::sync::Mutex::default(),
        });
        inner.wire().await?;
        Ok(Self { inner })
    }

    /// From now on no session begins while a receiver that must have the audit log lacks it. Once.
    pub(crate) fn only_while(&self, watch: Watch) {
        let set = self.inner.watch.set(watch);
        debug_assert!(set.is_ok(), "a recorder is watched once");
    }

    /// Starts the recording of a session. When this returns, the start is on disk.
    ///
    /// # Errors
    ///
    /// The session cannot be recorded and must not begin.
    pub async fn start(&self, about: About) -> Result<Recording, RecordError> {
        if let Some(watch) = self.inner.watch.get() {
            watch.admit(Timestamp::now())?;
        }
        let part = self.inner.begin(&about).await?;
        let id = part.id;
        let line = Arc::new(Line::new(self.inner.clone(), about, part));
        Ok(Recording { line, id })
    }

    /// The sessions that the recorder knows, oldest first; of more than 10,000 the newest.
    ///
    /// # Errors
    ///
    /// The recorder is gone or cannot read its list.
    pub async fn list(&self) -> Result<Vec<Summary>, RecordError> {
        let wire = self.inner.wire().await?;
        let mut lines = Vec::new();
        let mut position = 0u64;
        let mut sessions = Sessions::default();
        loop {
            let question = position.to_le_bytes();
            let page = wire.ask(wire::Kind::List, &question).await?.page()?;
            if page.is_empty() {
                break;
            }
            position += page.len() as u64;
            lines.extend_from_slice(&page);
            let whole = lines
                .iter()
                .rposition(|&b| b == b'\n')
                .map_or(0, |end| end + 1);
            let rest = lines.split_off(whole);
            sessions.add(&lines);
            lines = rest;
        }
        Ok(sessions.into_vec())
    }

    /// Whether the recorder answers.
    ///
    /// # Errors
    ///
    /// It is gone, and no other could be reached.
    pub async fn is_there(&self) -> Result<(), RecordError> {
        self.inner.is_there().await
    }

    /// Free bytes of the disk of the recordings, as far as the recorder may use them, and its size.
    ///
    /// # Errors
    ///
    /// The recorder is gone, or cannot see its disk.
    pub async fn disk(&self) -> Result<(u64, u64), RecordError> {
        let wire = self.inner.wire().await?;
        let disk = wire.ask(wire::Kind::Disk, &[]).await?.data()?;
        match disk.split_first_chunk::<8>() {
            Some((free, total)) if total.len() == 8 => {
                let total = total.try_into().map_err(|_| BROKEN_DISK)?;
                Ok((u64::from_le_bytes(*free), u64::from_le_bytes(total)))
            }
            _ => Err(BROKEN_DISK),
        }
    }

    /// The file of a recording, `.cast.zst`: what is written of it so far. The recorder notes
    /// that it was read.
    ///
    /// # Errors
    ///
    /// There is no such recording, or the recorder is gone.
    pub async fn read(&self, id: &SessionId) -> Result<ReadBack, RecordError> {
        let wire = self.inner.wire().await?;
        ReadBack::open(wire, id.as_str().as_bytes()).await
    }

    /// Sends events for the audit log; each is answered on its own.
    pub(crate) async fn audit<'e>(
        &self,
        events: impl Iterator<Item = (Wanted, &'e [u8])>,
    ) -> Result<Vec<Written>, RecordError> {
        // An event tells of each of them, and is sent until it has arrived.
        if let Err(error) = self.inner.settle().await {
            tracing::debug!(%error, "a gap is not in the log yet");
        }
        let wire = self.inner.wire().await?;
        let mut answers = Vec::new();
        for (wanted, event) in events {
            let mut payload = vec![wire::encode_wanted(wanted)];
            payload.extend_from_slice(event);
            let answer = wire.question(wire::Kind::Audit, &payload)?;
            let wire = wire.clone();
            answers.push(Box::pin(async move {
                match time::timeout(wire.stall, answer).await {
                    Ok(answered) => answered?.done(),
                    Err(_) => Err(wire.stalled().await),
                }
            }) as Written);
        }
        Ok(answers)
    }

    /// The audit log: what is written of it so far. The recorder notes that it was read.
    ///
    /// # Errors
    ///
    /// The recorder is gone.
    pub async fn read_audit(&self) -> Result<ReadBack, RecordError> {
        let wire = self.inner.wire().await?;
        ReadBack::open(wire, wire::AUDIT).await
    }

    /// The audit log, to be read at any place; else as [`Self::read_audit`].
    pub(crate) async fn open_audit(&self) -> Result<Opened, RecordError> {
        let wire = self.inner.wire().await?;
        Opened::open(wire, wire::AUDIT).await
    }

    /// Lets the recorder finish every file. A child is waited for, ten seconds at most.
    pub async fn close(self) {
        if let Err(error) = self.inner.settle_at_last().await {
            tracing::error!(%error, "the log does not say what went unrecorded");
        }
        let mut running = self.inner.running.lock().await;
        running.not_before = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        if let Some(link) = running.link.take() {
            link.close(CLOSE).await;
        }
        if let Some(mut child) = running.child.take() {
            match time::timeout(CLOSE, child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => tracing::warn!(%status, "the recorder ended badly"),
                Ok(Err(error)) => tracing::warn!(%error, "cannot wait for the recorder"),
                Err(_) => {
                    tracing::error!("the recorder does not end: it is killed");
                    if let Err(error) = child.kill().await {
                        tracing::warn!(%error, "cannot kill the recorder");
                    }
                }
            }
        }
    }

    /// The process id of the recorder, if it is a child and runs.
    pub async fn child_id(&self) -> Option<u32> {
        self.inner
            .running
            .lock()
            .await
            .child
            .as_ref()
            .and_then(Child::id)
    }
}

/// The answer to an event of the audit log.
pub(crate) type Written = Pin<Box<dyn Future<Output = Result<(), RecordError>> + Send>>;

impl Inner {
    /// Begins a recording. When this returns, its start is on disk.
    async fn begin(&self, about: &About) -> Result<Part, RecordError> {
        let wire = self.wire().await?;
        let (channel, reply) = wire.open_session()?;
        // From here on a session that nobody takes is ended: its guard is made before waiting.
        let open = Open::new(wire.clone(), channel);
        wire.send(&wire::json_frame(wire::Kind::Start, channel, about), None);
        let id = async { reply.await?.session_id() };
        let id = match time::timeout(wire.stall, id).await {
            Ok(Ok(id)) => id,
            Ok(Err(error)) => {
                open.forget();
                return Err(error);
            }
            Err(_) => return Err(wire.stalled().await),
        };
        let progress = wire.progress_of(channel).ok_or(RecordError::Gone)?;
        Ok(Part { open, id, progress })
    }

    /// Whether a recorder answers.
    async fn is_there(&self) -> Result<(), RecordError> {
        let wire = self.wire().await?;
        // Beyond the end of the list there is nothing, which costs nothing.
        let question = (1_u64 << 60).to_le_bytes();
        wire.ask(wire::Kind::List, &question).await?.page()?;
        Ok(())
    }

    /// The same for all sessions that wait for one: of those that ask at once, one does.
    async fn answers(&self) -> Result<(), RecordError> {
        let mut asked = self.asked.lock().await;
        let is_there = match *asked {
            Some((at, is_there)) if at.elapsed() < RETRY => is_there,
            _ => {
                let is_there = self.is_there().await.is_ok();
                *asked = Some((Instant::now(), is_there));
                is_there
            }
        };
        is_there.then_some(()).ok_or(RecordError::Gone)
    }

    /// Begins another part of a session that goes on unrecorded. Where the recorder has no room, one
    /// session is told, and the others believe it for a while: each question is a line in its journal,
    /// which is often on the same disk.
    async fn begin_again(&self, about: &About) -> Result<Part, RecordError> {
        let full = || self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, error)) = &*full()
            && at.elapsed() < FULL
        {
            return Err(error.clone());
        }
        let begun = self.begin(about).await;
        if let Err(error @ (RecordError::Low | RecordError::Full)) = &begun {
            *full() = Some((Instant::now(), error.clone()));
        }
        begun
    }

    /// A recorder is to be told of a gap. It will be with the next event of the audit log.
    fn owe(&self, gap: GapEntry) {
        let mut owed = self.owed();
        if owed.len() >= OWED {
            tracing::error!(session = %gap.session, gap = %gap.gap, "too many gaps wait for the log: it will not have this one");
            return;
        }
        owed.push_back(gap);
    }

    /// Tells the recorder of gaps that it has not heard of.
    async fn settle(&self) -> Result<(), RecordError> {
        if self.owed().is_empty() {
            return Ok(());
        }
        let _alone = self.settling.lock().await;
        loop {
            let Some(gap) = self.owed().front().cloned() else {
                return Ok(());
            };
            // Plain data with string keys: it cannot fail.
            let entry = serde_json::to_vec(&gap).unwrap_or_default();
            let wire = self.wire().await?;
            match wire.ask(wire::Kind::Gap, &entry).await?.done() {
                Ok(()) => {}
                Err(RecordError::Refused(what)) => {
                    tracing::error!(session = %gap.session, what, "a gap was refused by the recorder");
                }
                Err(error) => return Err(error),
            }
            self.owed().pop_front();
        }
    }

    /// The same with a recorder that may have to be started for it.
    async fn settle_at_last(&self) -> Result<(), RecordError> {
        if self.settle().await.is_ok() {
            return Ok(());
        }
        time::sleep(RETRY).await;
        self.settle().await
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, VecDeque<GapEntry>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket to a recorder that lives, after starting one if need be.
    async fn wire(&self) -> Result<Arc<Wire>, RecordError> {
        let mut running = self.running.lock().await;
        if let Some(link) = &running.link
            && link.is_alive()
        {
            return Ok(link.wire());
        }
        if Instant::now() < running.not_before {
            return Err(RecordError::Gone);
        }
        running.not_before = Instant::now() + RETRY;
        running.link = None;
        let stream = match &self.source {
            Source::Child { exe, dir, args } => {
                if let Some(old) = running.child.as_mut() {
                    reap(old).await?;
                    running.child = None;
                }
                let (stream, child) = spawn(exe, dir, args)?;
                running.child = Some(child);
                stream
            }
            Source::Socket { path } => connect(path, self.agreed.stall).await?,
        };
        let link = Link::start(stream, &self.agreed).await?;
        let wire = link.wire();
        running.link = Some(link);
        Ok(wire)
    }
}

/// The socket to the recorder is closed: it is about to end, or hangs.
///
/// # Errors
///
/// It hangs, and cannot be killed as long as it waits for its disk: no other one can take its place.
async fn reap(child: &mut Child) -> Result<(), RecordError> {
    match time::timeout(REAP, child.wait()).await {
        Ok(Ok(status)) => tracing::error!(%status, "the recorder ended; starting a new one"),
        Ok(Err(error)) => tracing::error!(%error, "cannot wait for the recorder"),
        Err(_) => {
            tracing::error!("the recorder hangs: it is killed");
            if let Err(error) = child.start_kill() {
                tracing::error!(%error, "cannot kill the recorder");
            }
            if time::timeout(REAP, child.wait()).await.is_err() {
                tracing::error!("the recorder waits for its disk, and does not end");
                return Err(RecordError::Stalled);
            }
        }
    }
    Ok(())
}

fn spawn(exe: &Path, dir: &Path, args: &[OsString]) -> Result<(UnixStream, Child), RecordError> {
    let unreachable = |source: io::Error| RecordError::Unreachable(Arc::new(source));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(unreachable)?;
    ours.set_nonblocking(true).map_err(unreachable)?;
    let stream = UnixStream::from_std(ours).map_err(unreachable)?;
    let child = Command::new(exe)
        // The program may go by several names, as in the demo, and has to know this one.
        .arg0("bastion")
        .arg("recorder")
        .arg("--dir")
        .arg(dir)
        .args(["--fd", "0"])
        .args(args)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // A compression context goes back to the system when its session falls idle, and smaller
        // memory is not given back only to be asked for again.
        .env("MALLOC_MMAP_THRESHOLD_", "524288")
        .env("MALLOC_TRIM_THRESHOLD_", "2097152")
        // Ctrl-C at the terminal is for `serve`, which then ends the sessions in order.
        .process_group(0)
        .spawn()
        .map_err(unreachable)?;
    Ok((stream, child))
}

async fn connect(path: &Path, stall: Duration) -> Result<UnixStream, RecordError> {
    let connected = time::timeout(stall, UnixStream::connect(path)).await;
    let connected = connected.map_err(|_| RecordError::Stalled)?;
    connected.map_err(|source| RecordError::Unreachable(Arc::new(source)))
}

/// The recording of one session. Dropping it without [`Recording::end`] ends it, with the
/// reason that it was abandoned.
#[derive(Debug)]
pub struct Recording {
    line: Arc<Line>,
    id: SessionId,
}

impl Recording {
    /// The name of the session, and of the first part of its recording.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Hands over what the client is about to get, and gives the position after it: the bytes
    /// handed over so far. Waits while more than `recording.queue_bytes` are on their way. Where the
    /// session goes on unrecorded, nobody gets the bytes, and the log will say how many they were.
    ///
    /// Cancel-safe for pieces of up to 512 KiB: a call that is dropped while it waits has handed
    /// over nothing. A longer piece is handed over in parts.
    ///
    /// # Errors
    ///
    /// The session cannot be recorded any more and must end.
    pub async fn output(
        &mut self,
        stream: scanner::Stream,
        bytes: &scanner::Masked,
    ) -> Result<u64, RecordError> {
        let kind = match stream {
            scanner::Stream::Stdout => wire::Kind::Stdout,
            scanner::Stream::Stderr => wire::Kind::Stderr,
        };
        let mut bytes = bytes.clone().into_bytes();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(wire::PART));
            if let Some(part) = self.line.admit(piece.len() as u64).await? {
                part.send(kind, piece);
            }
        }
        Ok(self.line.position())
    }

    /// What becomes of the session where the recorder fails.
    pub fn mode(&self) -> RecordingMode {
        self.line.mode()
    }

    /// The bytes handed over so far.
    pub fn position(&self) -> u64 {
        self.line.position()
    }

    /// Tells how far the recorder is; for whoever forwards to the client.
    pub fn acknowledged(&self) -> Acknowledged {
        Acknowledged {
            line: self.line.clone(),
        }
    }

    /// Has the session recorded again where it goes on unrecorded; somebody has to wait for it.
    pub fn keeper(&self) -> Keeper {
        Keeper::new(self.line.clone())
    }

    /// The terminal has a new size.
    ///
    /// # Errors
    ///
    /// The session cannot be recorded any more and must end.
    pub async fn resize(&mut self, cols: u16, rows: u16) -> Result<(), RecordError> {
        self.line.resized(cols, rows);
        self.tell(wire::Kind::Resize, &wire::encode_size(cols, rows))
    }

    /// A marker for the players. Its label is cut at 4 KiB.
    ///
    /// # Errors
    ///
    /// The session cannot be recorded any more and must end.
    pub async fn marker(&mut self, label: &str) -> Result<(), RecordError> {
        let (label, _) = label.split_at(label.floor_char_boundary(LABEL));
        self.tell(wire::Kind::Marker, label.as_bytes())
    }

    /// Ends the recording. When this returns, it is on disk, whole.
    ///
    /// # Errors
    ///
    /// The recorder is gone or cannot write the end.
    pub async fn end(self, end: End) -> Result<Totals, RecordError> {
        self.line.end(end).await
    }

    fn tell(&self, kind: wire::Kind, payload: &[u8]) -> Result<(), RecordError> {
        let Some((_, part)) = self.line.part() else {
            return Ok(());
        };
        let alive = part.progress.borrow().check();
        match alive {
            Ok(()) => part.tell(kind, payload),
            Err(error) => self.line.fail(&part, error)?,
        }
        Ok(())
    }
}

/// How far the recorder is with one session's output.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    line: Arc<Line>,
}

impl Acknowledged {
    /// Waits until everything up to `position` is acknowledged, or the session goes on unrecorded.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// The session cannot be recorded any more: nothing that is not acknowledged may leave.
    pub async fn reached(&mut self, position: u64) -> Result<(), RecordError> {
        // Of a part before, everything has been counted: as recorded, or as not.
        while let Some((base, part)) = self.line.part().filter(|(base, _)| *base < position) {
            let taken = part.wait(|progress| progress.taken >= position - base);
            match taken.await {
                Ok(()) => break,
                Err(error) => self.line.fail(&part, error)?,
            }
        }
        Ok(())
    }

    /// Returns when the session must end because it cannot be recorded any more, also while nothing
    /// is handed over. Cancel-safe.
    pub async fn lost(&mut self) -> RecordError {
        while let Some((_, part)) = self.line.part() {
            let error = part.lost().await;
            if let Err(error) = self.line.fail(&part, error) {
                return error;
            }
        }
        // It goes on: whoever keeps it recorded sees to the rest.
        std::future::pending().await
    }
}

/// Waits until `enough`; a recorder that says nothing for `stall` has stalled.
async fn wait(
    progress: &mut watch::Receiver<Progress>,
    stall: Duration,
    enough: impl Fn(&Progress) -> bool,
) -> Result<(), RecordError> {
    loop {
        {
            let now = progress.borrow_and_update();
            now.check()?;
            if enough(&now) {
                return Ok(());
            }
        }
        match time::timeout(stall, progress.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(RecordError::Gone),
            Err(_) => return Err(RecordError::Stalled),
        }
    }
}

/// Puts starts and ends together.
#[derive(Default)]
struct Sessions {
    order: std::collections::VecDeque<SessionId>,
    by_id: HashMap<SessionId, Summary>,
}

impl Sessions {
    fn add(&mut self, lines: &[u8]) {
        for line in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Entry::Start(start)) => {
                    let (id, about, started) = (start.id, start.about, start.at);
                    self.by_id.insert(
                        id,
                        Summary {
                            id,
                            about,
                            started,
                            ended: None,
                            gaps: Vec::new(),
                            withheld: 0,
                        },
                    );
                    self.order.push_back(id);
                    if self.order.len() > LIST
                        && let Some(oldest) = self.order.pop_front()
                    {
                        self.by_id.remove(&oldest);
                    }
                }
                Ok(Entry::End(ended)) => {
                    if let Some(session) = self.by_id.get_mut(&ended.id) {
                        session.ended = Some(Ended {
                            at: ended.at,
                            end: ended.end,
                            totals: ended.totals,
                            recovered: ended.recovered,
                        });
                    }
                }
                Ok(Entry::Gap(entry)) => {
                    if let Some(session) = self.by_id.get_mut(&entry.session) {
                        session.gaps.push(entry.gap);
                    }
                }
                Ok(Entry::Redacted(entry)) => {
                    if let Some(session) = self.by_id.get_mut(&entry.session) {
                        session.withheld = entry.withheld;
                    }
                }
                Err(error) => tracing::warn!(%error, "a line of the list of sessions is damaged"),
            }
        }
    }

    fn into_vec(mut self) -> Vec<Summary> {
        self.order
            .iter()
            .filter_map(|id| self.by_id.remove(id))
            .collect()
    }
}

/// Why a session cannot be recorded, or a recording not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecordError {
    /// The recorder has died, or its socket has closed.
    #[error("the recorder is gone")]
    Gone,
    /// The recorder has been silent for too long.
    #[error("the recorder does not answer")]
    Stalled,
    /// The recorder can't be started or reached.
    #[error("the recorder cannot be reached")]
    Unreachable(#[source] Arc<io::Error>),
    /// The recorder speaks another version of the protocol, or not at all.
    #[error("the recorder broke the protocol: {0}")]
    Broken(&'static str),
    /// The session went on unrecorded to its end.
    #[error("the session went on unrecorded to its end: {0}")]
    Unrecorded(Box<Gap>),
    /// The disk is full: the session has to end.
    #[error("the disk of the recordings is full")]
    Full,
    /// There is less free disk than a new session needs.
    #[error("the disk of the recordings is nearly full; no new session is taken")]
    Low,
    /// A receiver that must have the audit log lacks it; no new session is taken.
    #[error(transparent)]
    Behind(#[from] Behind),
    /// Writing has failed.
    #[error("the recorder cannot write: {0}")]
    Io(String),
    /// The recorder is being stopped.
    #[error("the recorder is being stopped")]
    Stopping,
    /// There is no such recording.
    #[error("there is no such recording")]
    Unknown,
    /// The question asks for what is not allowed.
    #[error("the recorder refused: {0}")]
    Refused(String),
}

impl RecordError {
    /// The line that a client is shown; the log has the rest.
    pub fn notice(&self) -> &'static str {
        match self {
            Self::Gone | Self::Unreachable(_) | Self::Broken(_) | Self::Unrecorded(_) => {
                "this session cannot be recorded: the recorder is not running"
            }
            Self::Stalled => "this session cannot be recorded: the recorder does not answer",
            Self::Behind(_) => {
                "this session cannot begin: the audit log does not reach where it must be kept; try again later"
            }
            Self::Full | Self::Low => "this session cannot be recorded: the disk is full",
            Self::Io(_) => "this session cannot be recorded: the recording cannot be written",
            Self::Stopping => "this session cannot be recorded: the bastion is being stopped",
            Self::Unknown => "there is no such recording",
            Self::Refused(_) => "the recorder refused this",
        }
    }
}

impl From<Failure> for RecordError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            Failure::Low => Self::Low,
            Failure::Io(what) => Self::Io(what),
            Failure::Stopping => Self::Stopping,
            Failure::Unknown => Self::Unknown,
            Failure::Refused(what) => Self::Refused(what),
        }
    }
}

impl From<wire::Broken> for RecordError {
    fn from(wire::Broken(what): wire::Broken) -> Self {
        Self::Broken(what)
    }
}

/// A recorder that says nothing for this long has stalled, unless a configuration says otherwise.
const STALL: Duration = Duration::from_secs(5);
const BROKEN_DISK: RecordError = RecordError::Broken("a disk of a wrong size");
/// How long a recorder may take to finish its files when it is closed.
const CLOSE: Duration = Duration::from_secs(10);
/// How long a recorder that has closed its socket may take to end.
const REAP: Duration = Duration::from_secs(2);
/// No more than one attempt to start or reach a recorder in this time.
const RETRY: Duration = Duration::from_secs(1);
/// How long a disk without room is believed to be so.
const FULL: Duration = Duration::from_secs(5);
/// Gaps that wait for a recorder, at most.
const OWED: usize = 4096;
/// A marker's longest label, in bytes.
const LABEL: usize = 4 * 1024;
/// The most sessions in a list.
const LIST: usize = 10_000;
