//! One connection from `serve`: a thread that reads, times and acknowledges.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use recording::event::Stream;
use recording::log::Leaf;

use super::audit::{Answer, Waiting, is_event};
use super::log::now_ms;
use super::place::{NoPlace, Places, Taken};
use super::redact::{self, Redact};
use super::session::{Session, Wanted};
use super::terms::Terms;
use super::wire::{self, Broken, CHUNK, Entry, Failure, GapEntry, HEAD, Head, Hello, Kind};
use super::work::{Crew, Job};
use crate::config::RecordingSync;
use crate::record::{About, End, SessionId, Totals};

/// All connections.
#[derive(Debug)]
pub(super) struct Links {
    crew: Arc<Crew>,
    places: Places,
    /// When it was last noted that one of them opened the log.
    noted: Arc<Mutex<Option<Instant>>>,
    all: Mutex<Vec<std::sync::Weak<Shared>>>,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Everything that `serve` does.
    All,
    /// Read the audit log, as far as it is on disk, and nothing else.
    ReadAudit,
    /// Withhold frames of recordings, and nothing else.
    Redact,
}

impl Rights {
    fn allow(self, kind: Kind, payload: &[u8]) -> bool {
        match self {
            Self::All => kind != Kind::Redact,
            Self::Redact => matches!(kind, Kind::Hello | Kind::Redact | Kind::Close),
            Self::ReadAudit => match kind {
                Kind::Hello | Kind::Read | Kind::Forget | Kind::Close => true,
                Kind::Open => payload == wire::AUDIT,
                _ => false,
            },
        }
    }
}

/// What the workers need of a connection.
#[derive(Debug)]
struct Shared {
    rights: Rights,
    /// Whose process is at the other end, as the system says.
    uid: Option<u32>,
    /// When it was last noted that the audit log was opened by somebody who may only read it.
    noted: Arc<Mutex<Option<Instant>>>,
    out: Arc<Out>,
    sessions: Mutex<HashMap<u32, Arc<Session>>>,
    /// No session starts any more.
    stopping: AtomicBool,
    /// Recordings that are being read back.
    reads: Mutex<Reads>,
    always: AtomicBool,
    /// What the greeting asks for; it is taken once.
    terms: OnceLock<Arc<Terms>>,
    questions: AtomicUsize,
}

#[derive(Debug, Default)]
struct Reads {
    last: u64,
    open: HashMap<u64, Arc<std::fs::File>>,
}

impl Links {
    pub(super) fn new(crew: Arc<Crew>) -> Arc<Self> {
        Arc::new(Self {
            crew,
            places: Places::default(),
            noted: Arc::default(),
            all: Mutex::default(),
        })
    }

    /// Takes a place for a connection, where there is one: who only reads takes none of `serve`.
    pub(super) fn place(&self, stream: &UnixStream, rights: Rights) -> Result<Taken, NoPlace> {
        match rights {
            Rights::All => self.places.of_serve(),
            Rights::ReadAudit => self.places.of_reader(stream),
            Rights::Redact => self.places.of_redaction(),
        }
    }

    /// Serves one connection until it closes; then ends its sessions.
    pub(super) fn serve(&self, stream: UnixStream, rights: Rights) {
        if let Err(error) = self.serve_stream(stream, rights) {
            tracing::error!(%error, ?rights, "a connection is closed");
        }
    }

    /// Ends all sessions from this side.
    pub(super) fn stop(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for shared in all.drain(..).filter_map(|shared| shared.upgrade()) {
            shared.stop(&self.crew);
        }
    }

    fn serve_stream(&self, stream: UnixStream, rights: Rights) -> Result<(), LinkError> {
        stream.set_write_timeout(Some(WRITE_STALL))?;
        // Who forwards looks four times a second; who says nothing gives its place back.
        let patience = (rights != Rights::All).then_some(READER_SILENCE);
        let out = Arc::new(Out {
            stream: stream.try_clone()?,
            writing: Mutex::default(),
        });
        let peer = rustix::net::sockopt::socket_peercred(&stream);
        let shared = Arc::new(Shared {
            rights,
            uid: peer.ok().map(|peer| peer.uid.as_raw()),
            noted: self.noted.clone(),
            out,
            sessions: Mutex::default(),
            stopping: AtomicBool::new(false),
            reads: Mutex::default(),
            always: AtomicBool::new(false),
            terms: OnceLock::new(),
            questions: AtomicUsize::new(0),
        });
        {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|other| other.strong_count() > 0);
            all.push(Arc::downgrade(&shared));
        }
        let mut reader = Reader {
            crew: self.crew.clone(),
            shared: shared.clone(),
            inbox: Inbox::new(stream, patience),
            answered: Vec::new(),
            greeted: false,
        };
        let result = reader.run();
        shared.abandon(&self.crew);
        result
    }
}

impl Shared {
    /// Whether the log is to say that it was opened by somebody who may only read it: once a minute
    /// for all of them, so that they cannot fill it. Each opens it once.
    fn is_to_be_noted(&self) -> Result<bool, Failure> {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.last > 0 {
            let what = "the audit log was opened already".to_owned();
            return Err(Failure::Refused(what));
        }
        drop(reads);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = noted.is_none_or(|at| now.duration_since(at) >= NOTED_EVERY);
        if is_due {
            *noted = Some(now);
        }
        Ok(is_due)
    }

    fn stop(&self, crew: &Crew) {
        self.stopping.store(true, Ordering::Release);
        for session in self.take_sessions() {
            let wanted = session.stop();
            call(crew, &session, wanted);
        }
    }

    /// The other side is gone.
    fn abandon(&self, crew: &Crew) {
        self.stopping.store(true, Ordering::Release);
        for session in self.take_sessions() {
            let wanted = session.take_end(End::because("the bastion's process ended"));
            call(crew, &session, wanted);
        }
    }

    fn take_sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.drain().map(|(_, session)| session).collect()
    }
}

/// Sends a session to whom it needs.
fn call(crew: &Crew, session: &Arc<Session>, wanted: Wanted) {
    if wanted.worker {
        crew.schedule(session.clone());
    }
    if wanted.clock {
        crew.activate(session.clone());
    }
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads one connection.
struct Reader {
    crew: Arc<Crew>,
    shared: Arc<Shared>,
    inbox: Inbox,
    /// Sessions whose output was taken since the last acknowledgement.
    answered: Vec<Arc<Session>>,
    greeted: bool,
}

impl Reader {
    fn run(&mut self) -> Result<(), LinkError> {
        while let Some((head, payload)) = self.next()? {
            self.take(head, payload)?;
        }
        Ok(())
    }

    /// The next frame; `None` at an end between two frames.
    fn next(&mut self) -> Result<Option<(Head, Bytes)>, LinkError> {
        self.inbox.begin_frame();
        if !self.inbox.has(HEAD) {
            // Before waiting: who sent something may be waiting, too.
            self.acknowledge();
            if !self.inbox.fill(HEAD)? {
                return Ok(None);
            }
        }
        let head = Head::decode(self.inbox.head())?;
        let whole = HEAD + head.len as usize;
        if !self.inbox.has(whole) {
            self.acknowledge();
            if !self.inbox.fill(whole)? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        let mut payload = self.inbox.take(whole);
        payload.advance(HEAD);
        Ok(Some((head, payload)))
    }

    fn acknowledge(&mut self) {
        for session in self.answered.drain(..) {
            session.acknowledge();
        }
    }

    fn take(&mut self, head: Head, output: Bytes) -> Result<(), LinkError> {
        let payload = &*output;
        if !self.greeted && head.kind != Kind::Hello {
            return Err(Broken("no greeting").into());
        }
        if !self.shared.rights.allow(head.kind, payload) {
            return Err(Broken("it asks for more than it may").into());
        }
        match head.kind {
            Kind::Stdout => self.output(head.channel, Stream::Stdout, output)?,
            Kind::Stderr => self.output(head.channel, Stream::Stderr, output)?,
            Kind::Hello => {
                let hello: Hello = wire::parse(payload)?;
                if hello.version != wire::VERSION || self.greeted {
                    return Err(Broken("a greeting of another version").into());
                }
                if !hello.terms.clone().are_fine() {
                    return Err(Broken("terms that no configuration has").into());
                }
                self.greeted = true;
                self.shared.terms.get_or_init(|| Arc::new(hello.terms));
                let always = hello.sync == RecordingSync::Always;
                self.shared.always.store(always, Ordering::Release);
                self.shared.out.done(head.channel);
            }
            Kind::Start => {
                let about = Box::new(wire::parse(payload)?);
                self.question(head.channel, Ask::Start(about))?;
            }
            Kind::Resize => {
                let (cols, rows) = wire::decode_size(payload)?;
                self.with(head.channel, |session| session.take_size(cols, rows));
            }
            Kind::Marker => {
                let label =
                    std::str::from_utf8(payload).map_err(|_| Broken("a marker that is no text"))?;
                let label = label.to_owned();
                self.with(head.channel, |session| session.take_marker(label));
            }
            Kind::End => {
                let end: End = wire::parse(payload)?;
                self.end(head.channel, end);
            }
            Kind::Disk => self.question(head.channel, Ask::Disk)?,
            Kind::List => {
                let position = wire::decode_number(payload)?;
                self.question(head.channel, Ask::List { position })?;
            }
            Kind::Open => {
                if payload == wire::AUDIT {
                    return self
                        .question(head.channel, Ask::OpenAudit)
                        .map_err(Into::into);
                }
                let id = std::str::from_utf8(payload)
                    .ok()
                    .and_then(|id| id.parse().ok());
                let id = id.ok_or(Broken("a session without a name"))?;
                self.question(head.channel, Ask::Open { id })?;
            }
            Kind::Read => {
                let (handle, offset) = payload
                    .split_at_checked(8)
                    .ok_or(Broken("a short question"))?;
                let handle = wire::decode_number(handle)?;
                let offset = wire::decode_number(offset)?;
                self.question(head.channel, Ask::Read { handle, offset })?;
            }
            Kind::Forget => {
                let handle = wire::decode_number(payload)?;
                self.shared
                    .reads
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .open
                    .remove(&handle);
                self.shared.out.done(head.channel);
            }
            Kind::Audit => self.audit(head.channel, payload)?,
            Kind::Gap => {
                let gap = Box::new(wire::parse(payload)?);
                self.question(head.channel, Ask::Gap(gap))?;
            }
            Kind::Redact => {
                let redact = Box::new(wire::parse(payload)?);
                self.question(head.channel, Ask::Redact(redact))?;
            }
            Kind::Close => {
                self.shared.abandon(&self.crew);
                self.shared.out.done(head.channel);
            }
            Kind::Started
            | Kind::Taken
            | Kind::Ended
            | Kind::Failed
            | Kind::Page
            | Kind::Data
            | Kind::Done => {
                return Err(Broken("a frame that only comes from a recorder").into());
            }
        }
        Ok(())
    }

    fn output(&mut self, channel: u32, stream: Stream, output: Bytes) -> Result<(), LinkError> {
        let Some(session) = self.session(channel) else {
            return Ok(());
        };
        let wanted = session.take_output(stream, output)?;
        call(&self.crew, &session, wanted);
        if !self
            .answered
            .iter()
            .any(|known| Arc::ptr_eq(known, &session))
        {
            self.answered.push(session);
        }
        Ok(())
    }

    fn session(&self, channel: u32) -> Option<Arc<Session>> {
        let sessions = self
            .shared
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.get(&channel).cloned()
    }

    /// A session that failed here may still be spoken to there: that is not an error.
    fn with(&self, channel: u32, tell: impl FnOnce(&Session) -> Wanted) {
        if let Some(session) = self.session(channel) {
            let wanted = tell(&session);
            call(&self.crew, &session, wanted);
        }
    }

    fn end(&self, channel: u32, end: End) {
        let session = {
            let mut sessions = self
                .shared
                .sessions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sessions.remove(&channel)
        };
        if let Some(session) = session {
            let wanted = session.take_end(end);
            call(&self.crew, &session, wanted);
        }
    }

    /// Takes an event for the audit log, which answers it.
    fn audit(&self, channel: u32, payload: &[u8]) -> Result<(), Broken> {
        let (wanted, event) = payload
            .split_first()
            .and_then(|(wanted, event)| Some((wire::decode_wanted(*wanted)?, event)))
            .ok_or(Broken("an event without a beginning"))?;
        if event.is_empty() || is_event(event) {
            let answer = Answer::Peer(self.shared.out.clone(), channel, wanted);
            let waiting = Waiting {
                event: event.to_vec(),
                answer: Some(answer),
            };
            if let Err(error) = self.crew.audit.push(waiting) {
                self.shared.out.failed(channel, &Failure::Io(error));
            }
        } else {
            let what = "an event that is not one JSON object".to_owned();
            self.shared.out.failed(channel, &Failure::Refused(what));
        }
        Ok(())
    }

    fn question(&self, channel: u32, ask: Ask) -> Result<(), Broken> {
        if self.shared.questions.fetch_add(1, Ordering::AcqRel) >= QUESTIONS {
            return Err(Broken("too many questions at once"));
        }
        let shared = self.shared.clone();
        let question = Question {
            shared,
            channel,
            ask,
        };
        match self.shared.rights {
            Rights::All => self.crew.give(Job::Question(question)),
            // Who only reads, and may be slow to, holds up no worker, but this thread of its own.
            Rights::ReadAudit | Rights::Redact => question.answer(&self.crew),
        }
        Ok(())
    }
}

/// Something that a worker answers.
#[derive(Debug)]
pub(super) struct Question {
    shared: Arc<Shared>,
    channel: u32,
    ask: Ask,
}

#[derive(Debug)]
enum Ask {
    Start(Box<About>),
    Disk,
    Gap(Box<GapEntry>),
    Redact(Box<Redact>),
    List { position: u64 },
    Open { id: SessionId },
    OpenAudit,
    Read { handle: u64, offset: u64 },
}

impl Question {
    pub(super) fn answer(self, crew: &Arc<Crew>) {
        let answer = match &self.ask {
            Ask::Start(about) => self.start(crew, about).map(|()| None),
            Ask::Disk => self.disk(crew).map(Some),
            Ask::Gap(gap) => self.gap(crew, gap).map(Some),
            Ask::Redact(asked) => self.redact(crew, asked).map(Some),
            Ask::List { position } => self.list(crew, *position).map(Some),
            Ask::Open { id } => self.open(crew, id).map(Some),
            Ask::OpenAudit => self.open_audit(crew).map(Some),
            Ask::Read { handle, offset } => self.read(crew, *handle, *offset).map(Some),
        };
        self.shared.questions.fetch_sub(1, Ordering::AcqRel);
        match answer {
            Ok(Some(frame)) => self.shared.out.send(&frame),
            Ok(None) => {}
            Err(failure) => self.shared.out.failed(self.channel, &failure),
        }
    }

    /// The answer comes from the syncer.
    fn start(&self, crew: &Arc<Crew>, about: &About) -> Result<(), Failure> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(Failure::Stopping);
        }
        let always = self.shared.always.load(Ordering::Acquire);
        let terms = self.shared.terms.get().cloned().unwrap_or_default();
        let session = crew.start_session(about, &terms, |id| {
            let out = (self.shared.out.clone(), self.channel);
            Session::create(crew, id, about, out, (always, terms.clone()))
        })?;
        {
            let mut sessions = self
                .shared
                .sessions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sessions.insert(self.channel, session.clone());
        }
        crew.announce(session);
        // The connection may have closed meanwhile: then nobody else ends the session.
        if self.shared.stopping.load(Ordering::Acquire) {
            self.shared.abandon(crew);
        }
        Ok(())
    }

    fn disk(&self, crew: &Crew) -> Result<Vec<u8>, Failure> {
        let (free, total) = crew.store.disk().map_err(io_failure)?;
        let disk = [free.to_le_bytes(), total.to_le_bytes()].concat();
        Ok(wire::frame(Kind::Data, self.channel, &disk))
    }

    /// Logs what went unrecorded, as `serve` tells it, of sessions that may. It can add to what is held
    /// against such a recording so, and take nothing away.
    fn gap(&self, crew: &Crew, told: &GapEntry) -> Result<Vec<u8>, Failure> {
        let GapEntry {
            session,
            continued,
            gap,
        } = told;
        let done = wire::frame(Kind::Done, self.channel, &[]);
        for part in [Some(session), continued.as_ref()].into_iter().flatten() {
            if !goes_on(crew, part)? {
                let what = "a session that does not go on unrecorded".to_owned();
                return Err(Failure::Refused(what));
            }
        }
        if !crew.store.note_gap(session, gap.since) {
            // It was told before, and the answer came too late.
            return Ok(done);
        }
        let ms = |at: jiff::Timestamp| u64::try_from(at.as_millisecond()).ok();
        let leaf = Leaf::Gap {
            at_ms: now_ms(),
            session: Some(session.to_string()),
            since_ms: ms(gap.since),
            until_ms: ms(gap.until),
            bytes: Some(gap.bytes),
            continued: continued.map(|id| id.to_string()),
            reason: gap.reason.clone(),
        };
        let log = &crew.store.log;
        if let Err(error) = log.append(&leaf).and_then(|_| log.sync()) {
            crew.store.forget_gap(session, gap.since);
            return Err(io_failure(error));
        }
        // It is told: what else should have it must not have it told again.
        let listed = crew.store.append(&Entry::Gap(told.clone()));
        let noted = crew.audit.note_gap(session, *continued, gap);
        if let Err(error) = listed.map_err(|error| error.to_string()).and(noted) {
            tracing::error!(%session, error, "a gap is in the log only");
        }
        Ok(done)
    }

    fn redact(&self, crew: &Crew, asked: &Redact) -> Result<Vec<u8>, Failure> {
        let unknown = || Failure::Refused("the system does not say who asks".to_owned());
        let uid = self.shared.uid.ok_or_else(unknown)?;
        let redacted = redact::run(crew, asked, uid)?;
        Ok(wire::json_frame(Kind::Data, self.channel, &redacted))
    }

    fn list(&self, crew: &Crew, position: u64) -> Result<Vec<u8>, Failure> {
        let mut page = vec![0; CHUNK];
        let read = crew
            .store
            .read_list(position, &mut page)
            .map_err(io_failure)?;
        page.truncate(read);
        Ok(wire::frame(Kind::Page, self.channel, &page))
    }

    fn open(&self, crew: &Crew, id: &SessionId) -> Result<Vec<u8>, Failure> {
        let file = crew.store.find(id).map_err(io_failure)?;
        crew.audit
            .note("recording_opened", Some(id))
            .map_err(Failure::Io)?;
        self.hand_out(Arc::new(file))
    }

    fn open_audit(&self, crew: &Crew) -> Result<Vec<u8>, Failure> {
        if self.shared.rights == Rights::All || self.shared.is_to_be_noted()? {
            crew.audit.note("audit_opened", None).map_err(Failure::Io)?;
        }
        self.hand_out(crew.audit.file())
    }

    /// Gives a number by which the file is read.
    fn hand_out(&self, file: Arc<std::fs::File>) -> Result<Vec<u8>, Failure> {
        let mut reads = self
            .shared
            .reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if reads.open.len() >= READS {
            return Err(Failure::Refused(
                "too many recordings are read at once".to_owned(),
            ));
        }
        reads.last += 1;
        let handle = reads.last;
        reads.open.insert(handle, file);
        Ok(wire::frame(Kind::Data, self.channel, &handle.to_le_bytes()))
    }

    fn read(&self, crew: &Crew, handle: u64, offset: u64) -> Result<Vec<u8>, Failure> {
        let file = {
            let reads = self
                .shared
                .reads
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            reads.open.get(&handle).cloned().ok_or(Failure::Unknown)?
        };
        let mut data = vec![0; CHUNK];
        let end = match self.shared.rights {
            Rights::All | Rights::Redact => u64::MAX,
            // The only file that it can have opened.
            Rights::ReadAudit => crew.audit.synced_bytes(),
        };
        let read = file.read_at(&mut data, offset).map_err(io_failure)?;
        let read = (read as u64).min(end.saturating_sub(offset));
        data.truncate(usize::try_from(read).unwrap_or(0));
        Ok(wire::frame(Kind::Data, self.channel, &data))
    }
}

/// Whether the session is one that goes on where its recorder fails, as its recording says.
fn goes_on(crew: &Crew, session: &SessionId) -> Result<bool, Failure> {
    let file = match crew.store.find(session) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_failure(error)),
    };
    let Ok(reader) = recording::read::Reader::open(file) else {
        return Ok(false);
    };
    let bastion = reader.header().extra.get("bastion");
    Ok(super::recover::goes_on(bastion))
}

fn io_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        Failure::Unknown
    } else {
        Failure::Io(error.to_string())
    }
}

/// The way back. A connection that takes nothing for five seconds is closed.
#[derive(Debug)]
pub(super) struct Out {
    stream: UnixStream,
    writing: Mutex<()>,
}

impl Out {
    pub(super) fn taken(&self, channel: u32, taken: u64, room: u64) {
        let payload = wire::Taken { taken, room }.encode();
        let mut frame = [0; HEAD + 16];
        let (head, rest) = frame.split_at_mut(HEAD);
        head.copy_from_slice(
            &Head {
                len: 16,
                kind: Kind::Taken,
                channel,
            }
            .encode(),
        );
        rest.copy_from_slice(&payload);
        self.send(&frame);
    }

    pub(super) fn started(&self, channel: u32, id: &SessionId) {
        self.send(&wire::frame(Kind::Started, channel, id.as_str().as_bytes()));
    }

    pub(super) fn ended(&self, channel: u32, totals: &Totals) {
        self.send(&wire::json_frame(Kind::Ended, channel, totals));
    }

    pub(super) fn failed(&self, channel: u32, failure: &Failure) {
        self.send(&wire::json_frame(Kind::Failed, channel, failure));
    }

    pub(super) fn done(&self, channel: u32) {
        self.send(&wire::frame(Kind::Done, channel, &[]));
    }

    fn send(&self, frame: &[u8]) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = (&self.stream).write_all(frame);
        drop(writing);
        if let Err(error) = sent {
            // The reader sees the end and abandons the sessions. A second shutdown is none.
            if self.stream.shutdown(std::net::Shutdown::Both).is_ok() {
                tracing::warn!(%error, "cannot answer serve");
            }
        }
    }
}

/// What has been read and not been taken. Payloads leave it without being copied: a buffer is
/// read into again once nobody holds a part of it, and replaced until then.
struct Inbox {
    stream: UnixStream,
    /// How long a frame may take from the end of the one before, whatever comes of it meanwhile.
    patience: Option<Duration>,
    until: Option<Instant>,
    /// The buffer that was read into last, whole: what has been taken of it to its end is no part
    /// of it any more that could be asked whether somebody holds it.
    buffer: Bytes,
    /// The end of `buffer` that has not been taken.
    ready: Bytes,
    /// Buffers that were read into and of which parts are still held somewhere, oldest first.
    used: VecDeque<Bytes>,
}

impl Inbox {
    fn new(stream: UnixStream, patience: Option<Duration>) -> Self {
        Self {
            stream,
            patience,
            until: None,
            buffer: Bytes::new(),
            ready: Bytes::new(),
            used: VecDeque::new(),
        }
    }

    fn begin_frame(&mut self) {
        self.until = self.patience.map(|patience| Instant::now() + patience);
    }

    fn has(&self, len: usize) -> bool {
        self.ready.len() >= len
    }

    /// Reads until there are `len` bytes; false at an end between two frames.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        let taken = self.buffer.len() - std::mem::take(&mut self.ready).len();
        let mut buffer = match std::mem::take(&mut self.buffer).try_into_mut() {
            Ok(mut alone) => {
                alone.advance(taken);
                Vec::from(alone)
            }
            Err(held) => {
                let mut other = self.unused();
                other.extend_from_slice(held.get(taken..).unwrap_or_default());
                // One without bytes is of no buffer, and would never be free.
                if self.used.len() < BUFFERS && !held.is_empty() {
                    self.used.push_back(held);
                }
                other
            }
        };
        buffer.reserve(INBOX.max(len).saturating_sub(buffer.len()));
        let filled = self.read_to(&mut buffer, len);
        if buffer.len() < SMALL {
            // Nobody sends much: what was kept for bulk is given back, one at a time.
            self.used.pop_back();
        }
        self.buffer = Bytes::from(buffer);
        self.ready = self.buffer.clone();
        filled
    }

    /// A buffer that nobody holds a part of any more, or a new one.
    fn unused(&mut self) -> Vec<u8> {
        let free = self.used.pop_front().map(Bytes::try_into_mut);
        match free {
            Some(Ok(mut free)) => {
                free.clear();
                Vec::from(free)
            }
            Some(Err(held)) => {
                self.used.push_front(held);
                Vec::with_capacity(INBOX)
            }
            None => Vec::with_capacity(INBOX),
        }
    }

    fn read_to(&self, buffer: &mut Vec<u8>, len: usize) -> io::Result<bool> {
        while buffer.len() < len {
            if let Some(until) = self.until {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.stream.set_read_timeout(Some(left))?;
            }
            match rustix::io::read(&self.stream, rustix::buffer::spare_capacity(buffer)) {
                Ok(0) if buffer.is_empty() => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn head(&self) -> [u8; HEAD] {
        self.ready.first_chunk().copied().unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> Bytes {
        self.ready.split_to(len.min(self.ready.len()))
    }
}

/// Who only reads the audit log and asks no whole question for so long is closed.
const READER_SILENCE: Duration = Duration::from_secs(60);
/// How often it is noted, at most, that one of them opened it.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Questions of one connection that wait for an answer.
const QUESTIONS: usize = 4096;
/// Recordings that one connection reads at once.
const READS: usize = 64;
/// A connection that takes no answer for this long is closed.
const WRITE_STALL: Duration = Duration::from_secs(5);
/// A read of fewer bytes than this is none of bulk.
const SMALL: usize = 4 * 1024;
/// Buffers of one connection that are used in turn.
const BUFFERS: usize = 8;
/// Bytes that are read at once: the longest frame fits, and several of output.
const INBOX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

    use std::thread;

    use super::*;

    /// `serve` reads and adds; only whoever is in the folder takes away, and reads nothing.
    #[test]
    fn who_may_withhold_may_nothing_else() {
        assert!(!Rights::All.allow(Kind::Redact, b"{}"));
        assert!(!Rights::ReadAudit.allow(Kind::Redact, b"{}"));
        assert!(Rights::Redact.allow(Kind::Redact, b"{}"));
        for kind in [
            Kind::Start,
            Kind::Open,
            Kind::Read,
            Kind::Audit,
            Kind::Gap,
            Kind::List,
        ] {
            assert!(!Rights::Redact.allow(kind, wire::AUDIT), "{kind:?}");
        }
    }

    /// Who sends a byte now and then holds a frame open no longer than who sends none.
    #[test]
    fn no_byte_gives_a_frame_more_time() {
        let (here, there) = UnixStream::pair().unwrap();
        let patience = Duration::from_millis(300);
        let mut inbox = Inbox::new(here, Some(patience));
        let drips = thread::spawn(move || {
            // Whole, the frame would take a minute.
            (0..6_000_u32).all(|_| {
                thread::sleep(Duration::from_millis(10));
                (&there).write_all(b"x").is_ok()
            })
        });
        inbox.begin_frame();
        let began = Instant::now();
        let end = inbox.fill(6_000).unwrap_err();
        assert!(began.elapsed() >= patience);
        let kind = end.kind();
        assert!(
            matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock),
            "{end}"
        );
        drop(inbox);
        assert!(!drips.join().unwrap());
    }

    /// Output is not read into new memory each time, whose pages the system would clear before.
    #[test]
    fn buffers_are_read_into_again() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::new(here, None);
        let text = vec![b'x'; SMALL];
        let mut read = |text: &[u8]| {
            (&there).write_all(text).unwrap();
            assert!(inbox.fill(text.len()).unwrap());
            let taken = inbox.take(text.len());
            assert_eq!(taken, text);
            taken
        };
        // What was freed would be somebody else's by then.
        let mut others = Vec::new();
        let mut other = || others.push(Vec::<u8>::with_capacity(INBOX));
        // Taken to its end, and let go.
        let first = read(&text).as_ptr();
        other();
        let held = read(&text);
        assert_eq!(held.as_ptr(), first);
        // Somebody holds it: another one takes its place, until it is free.
        let second = read(&text);
        assert_ne!(second.as_ptr(), first);
        drop(held);
        other();
        assert_eq!(read(&text).as_ptr(), first);
    }

    /// What a frame begins with stays before its rest, whatever else is held of the buffer.
    #[test]
    fn a_cut_frame_is_put_together() {
        for is_held in [false, true] {
            let (here, there) = UnixStream::pair().unwrap();
            let mut inbox = Inbox::new(here, None);
            (&there).write_all(b"whole, cut").unwrap();
            assert!(inbox.fill(10).unwrap());
            let held = Some(inbox.take(7)).filter(|_| is_held);
            (&there).write_all(b" in two").unwrap();
            assert!(inbox.fill(10).unwrap());
            assert_eq!(inbox.take(10), "cut in two");
            assert_eq!(held, is_held.then(|| Bytes::from_static(b"whole, ")));
        }
    }

    /// The time is a frame's: each has all of it.
    #[test]
    fn each_frame_has_its_own_time() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::new(here, Some(Duration::from_secs(60)));
        inbox.begin_frame();
        let first = inbox.until.unwrap();
        (&there).write_all(b"one").unwrap();
        assert!(inbox.fill(3).unwrap());
        assert_eq!(inbox.take(3), "one");
        inbox.begin_frame();
        assert!(inbox.until.unwrap() > first);
        drop(there);
        assert!(!inbox.fill(1).unwrap());
    }
}
