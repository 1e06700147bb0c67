//! The two ends of one session, in this program's own words: the client's channel and the
//! target's. Only data that is waited for passes through here; nothing is decided.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use russh::server::ChannelOpenHandle;
use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Sig, client, server,
};
use scanner::{Masked, Raw, Stream};
use tokio::time::{Instant, timeout_at};

use super::dial::AgentChannels;
use super::flow::Pace;
use super::ours::{Counted, Shared, Slot};
use super::stream::Heard;
use crate::config::Limits;
use crate::holds::Released;
use crate::session::UNREACHABLE;

/// A signal by its SSH name (RFC 4254, section 6.10).
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    signal: Sig,
    name: &'static str,
}

impl Signal {
    /// One for the target, where it is one of the names of the RFC, or `USR2`.
    pub(super) fn known(signal: Sig) -> Option<Self> {
        Self::named(signal, &[USR2])
    }

    /// The one that ended a command. A target's own names are not repeated, since no rule has looked
    /// at them: they become the one that says least.
    fn of_end(signal: Sig) -> Self {
        Self::named(signal, &ENDING).unwrap_or(Self {
            signal: Sig::TERM,
            name: "TERM",
        })
    }

    /// The signal, where it is one of the names of the RFC or of `others`.
    fn named(signal: Sig, others: &[&'static str]) -> Option<Self> {
        let name = match &signal {
            Sig::ABRT => "ABRT",
            Sig::ALRM => "ALRM",
            Sig::FPE => "FPE",
            Sig::HUP => "HUP",
            Sig::ILL => "ILL",
            Sig::INT => "INT",
            Sig::KILL => "KILL",
            Sig::PIPE => "PIPE",
            Sig::QUIT => "QUIT",
            Sig::SEGV => "SEGV",
            Sig::TERM => "TERM",
            Sig::USR1 => "USR1",
            Sig::Custom(name) => others.iter().copied().find(|other| other == name)?,
        };
        Some(Self { signal, name })
    }

    /// The name without `SIG`, such as `TERM`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// How a command on the target ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// With this status.
    Status(u32),
    /// By a signal (RFC 4254, section 6.10).
    Signal {
        /// Which.
        signal: Signal,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
}

/// A terminal that the client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Pty {
    pub(crate) term: String,
    pub(crate) size: Size,
    pub(super) modes: Vec<(russh::Pty, u32)>,
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// 1..=`limits.pty_columns`.
    pub(crate) cols: u16,
    /// 1..=`limits.pty_rows`.
    pub(crate) rows: u16,
    /// In pixels; 0 where it is not known.
    pub(super) width: u16,
    /// In pixels; 0 where it is not known.
    pub(super) height: u16,
}

impl Size {
    /// Columns and rows.
    pub(crate) fn cells(self) -> (u16, u16) {
        (self.cols, self.rows)
    }
}

/// What the client did.
#[derive(Debug)]
pub(crate) enum FromClient {
    Data(Bytes),
    Eof,
    Resize(Size),
    Signal(Signal),
    /// The channel or the connection is closed.
    Left,
}

/// The client's side of a channel.
#[derive(Debug)]
pub(crate) struct ClientEnd {
    pub(crate) reader: ClientReader,
    pub(crate) writer: ClientWriter,
}

/// What all channels of one client's connection have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) flow: Shared,
    pub(super) pace: Arc<Pace>,
    pub(super) stall: Stall,
    /// How long it is waited for with a last line.
    pub(super) patience: Duration,
    pub(super) largest: Largest,
}

impl Common {
    /// The client's end of a session, which has a place in the flow control.
    pub(super) fn session(
        &self,
        channel: Channel<server::Msg>,
        backlog: Backlog,
        handle: server::Handle,
    ) -> ClientEnd {
        let ends = Ends::new(self.pace.clone());
        self.end(channel, backlog, None, (handle, ends, Form::Session))
    }

    /// The client's end of a channel of bytes, which gets a place in the flow control and gives it
    /// back; `counted`, where we opened it.
    pub(super) fn bytes(
        &self,
        channel: Channel<server::Msg>,
        form: Form,
        counted: Option<Counted>,
        handle: server::Handle,
    ) -> ClientEnd {
        let id = channel.id();
        let backlog = self.flow.lock().opened(id);
        let slot = Slot {
            id,
            flow: self.flow.clone(),
            _counted: counted,
        };
        let ends = Ends::without_status(self.pace.clone());
        self.end(channel, backlog, Some(slot), (handle, ends, form))
    }

    fn end(
        &self,
        channel: Channel<server::Msg>,
        backlog: Backlog,
        slot: Option<Slot>,
        (handle, ends, form): (server::Handle, Ends, Form),
    ) -> ClientEnd {
        let (reader, writer) = channel.split();
        ClientEnd {
            reader: ClientReader {
                half: reader,
                backlog,
                largest: self.largest,
                earlier: VecDeque::new(),
                _slot: slot,
            },
            writer: ClientWriter {
                half: writer,
                handle,
                stall: self.stall.clone(),
                patience: self.patience,
                ends: Arc::new(ends),
                form,
            },
        }
    }
}

/// How long a client is waited for that takes nothing of what is written to it.
#[derive(Clone, Debug)]
pub(super) struct Stall {
    /// Without a word of it.
    silent: Duration,
    /// While it goes on answering: whoever reads its output does not, such as a pager on one page.
    unread: Duration,
    heard: Arc<Heard>,
}

impl Stall {
    /// That of a connection whose socket tells `heard`.
    pub(super) fn of(limits: &Limits, heard: Arc<Heard>) -> Self {
        Self {
            silent: limits.write_stall,
            unread: limits.reader_stall,
            heard,
        }
    }

    /// The same where nobody reads behind the client: a program that stands still is not there.
    fn of_a_program(&self) -> Self {
        Self {
            unread: self.silent,
            ..self.clone()
        }
    }

    /// When a write that began then is given up, as things stand.
    fn until(&self, began: Instant) -> Instant {
        let silent = began.max(self.heard.last()) + self.silent;
        silent.min(began + self.unread)
    }
}

/// What the client sends on one channel.
#[derive(Debug)]
pub(crate) struct ClientReader {
    half: ChannelReadHalf,
    backlog: Backlog,
    largest: Largest,
    /// What was read while nothing ran yet, and comes first.
    earlier: VecDeque<FromClient>,
    /// The channel's place among those that were not opened as a session, given back with this.
    _slot: Option<Slot>,
}

impl ClientReader {
    /// The next thing that the client did. Cancel-safe.
    pub(crate) async fn next(&mut self) -> FromClient {
        if let Some(earlier) = self.earlier.pop_front() {
            return earlier;
        }
        self.receive().await
    }

    /// Returns when the client has left; what it sends until then is kept for [`Self::next`]. The
    /// flow control bounds it. Cancel-safe.
    pub(crate) async fn left(&mut self) {
        loop {
            match self.receive().await {
                FromClient::Left => {
                    self.earlier.push_back(FromClient::Left);
                    return;
                }
                event => self.earlier.push_back(event),
            }
        }
    }

    async fn receive(&mut self) -> FromClient {
        loop {
            match self.half.wait().await {
                Some(ChannelMsg::Data { data }) => return FromClient::Data(data),
                Some(ChannelMsg::ExtendedData { data, .. }) => self.backlog.taken(data.len()),
                Some(ChannelMsg::Eof) => return FromClient::Eof,
                Some(ChannelMsg::WindowChange {
                    col_width,
                    row_height,
                    pix_width,
                    pix_height,
                }) => {
                    let cells = (col_width, row_height);
                    let size = self.largest.clamp(cells, (pix_width, pix_height));
                    return FromClient::Resize(size);
                }
                Some(ChannelMsg::Signal { signal }) => {
                    if let Some(signal) = Signal::known(signal) {
                        return FromClient::Signal(signal);
                    }
                }
                Some(ChannelMsg::Close) | None => return FromClient::Left,
                // The requests before the start, which were answered where they arrived.
                Some(_) => {}
            }
        }
    }

    /// Says that `n` bytes of data have gone on and no longer occupy memory here.
    pub(crate) fn taken(&self, n: usize) {
        self.backlog.taken(n);
    }
}

/// What goes to the client on one channel.
#[derive(Debug)]
pub(crate) struct ClientWriter {
    half: ChannelWriteHalf<server::Msg>,
    pub(super) handle: server::Handle,
    stall: Stall,
    /// How long it is waited for with a last line.
    patience: Duration,
    pub(super) ends: Arc<Ends>,
    form: Form,
}

/// What a client can be told on a channel.
#[derive(Debug)]
pub(super) enum Form {
    /// A session: data on two streams, lines of ours, and how the command ended.
    Session,
    /// Bytes and their end, and nothing before the channel is open.
    Bytes(Mutex<Opened>),
}

/// Whether a channel of bytes is open.
pub(super) enum Opened {
    /// The client waits for the answer.
    Asked(ChannelOpenHandle),
    Yes,
    No,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asked(_) => "Asked",
            Self::Yes => "Yes",
            Self::No => "No",
        })
    }
}

impl Form {
    /// A channel of bytes whose opening the client waits for.
    pub(super) fn asked(reply: ChannelOpenHandle) -> Self {
        Self::Bytes(Mutex::new(Opened::Asked(reply)))
    }

    /// A channel of bytes that is open.
    pub(super) fn open() -> Self {
        Self::Bytes(Mutex::new(Opened::Yes))
    }

    /// Whether something can be sent.
    fn is_open(&self) -> bool {
        match self {
            Self::Session => true,
            Self::Bytes(opened) => matches!(*lock(opened), Opened::Yes),
        }
    }

    /// The answer that the client waits for, which is now given.
    fn answer(&self, opened: Opened) -> Option<ChannelOpenHandle> {
        let Self::Bytes(state) = self else {
            return None;
        };
        let mut state = lock(state);
        match std::mem::replace(&mut *state, opened) {
            Opened::Asked(reply) => Some(reply),
            before => {
                *state = before;
                None
            }
        }
    }
}

fn lock(opened: &Mutex<Opened>) -> MutexGuard<'_, Opened> {
    opened.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientWriter {
    /// How long a client that takes nothing is waited for with a last line.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Tells a client that waits for its channel that it is open.
    pub(crate) async fn opened(&self) {
        if let Some(reply) = self.form.answer(Opened::Yes) {
            reply.accept().await;
        }
    }

    /// Does not wait any longer for a client that goes on answering than for one that does not.
    pub(crate) fn hurry(&mut self) {
        self.stall = self.stall.of_a_program();
    }

    /// Whether the channel is bytes alone, without lines of ours and without a status.
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.form, Form::Bytes(_))
    }

    /// Tells a client that waits for its channel that there is none. The protocol has no line for
    /// it, only a few reasons (RFC 4254, section 5.1).
    async fn unopened(&self, ended: &Ended) {
        let Some(reply) = self.form.answer(Opened::No) else {
            return;
        };
        let unreachable = matches!(ended, Ended::Status(UNREACHABLE));
        reply
            .reject(if unreachable {
                ChannelOpenFailure::ConnectFailed
            } else {
                ChannelOpenFailure::AdministrativelyProhibited
            })
            .await;
    }

    /// Sends what the scanner let through; waits for the client's window. Not cancel-safe: a
    /// part may have been sent.
    pub(crate) async fn send(&self, stream: Stream, bytes: Masked) -> Result<(), Gone> {
        self.write(stream, bytes.into_bytes()).await
    }

    /// Sends what a decision has released; waits for the client's window. Not cancel-safe.
    pub(crate) async fn released(&self, stream: Stream, bytes: Released) -> Result<(), Gone> {
        self.write(stream, bytes.into_bytes()).await
    }

    /// Sends our own text, which no target can make, on standard error.
    pub(crate) async fn notice(&self, text: String) -> Result<(), Gone> {
        self.write(Stream::Stderr, Bytes::from(text)).await
    }

    /// Sends an answer of our own: the console's, or to a request that no target gets.
    pub(crate) async fn answer(&self, stream: Stream, bytes: Bytes) -> Result<(), Gone> {
        self.write(stream, bytes).await
    }

    async fn write(&self, stream: Stream, bytes: Bytes) -> Result<(), Gone> {
        if self.is_bytes() && (stream == Stream::Stderr || !self.form.is_open()) {
            return Ok(());
        }
        let sent = async {
            match stream {
                Stream::Stdout => self.half.data_bytes(bytes).await,
                Stream::Stderr => self.half.extended_data_bytes(STDERR, bytes).await,
            }
        };
        tokio::pin!(sent);
        let began = Instant::now();
        let mut until = self.stall.until(began);
        loop {
            match timeout_at(until, &mut sent).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(Gone::Closed),
                Err(_) => {}
            }
            // It may have been heard of meanwhile.
            until = self.stall.until(began);
            if until <= Instant::now() {
                self.ends.stalled.store(true, Ordering::Relaxed);
                return Err(Gone::Stalled);
            }
        }
    }

    /// Whether the connection has ended since the client took nothing.
    pub(crate) fn is_given_up(&self) -> bool {
        self.stall.heard.is_given_up()
    }

    /// No more data comes.
    pub(crate) async fn eof(&self) -> Result<(), Gone> {
        self.ends.ours.store(true, Ordering::SeqCst);
        if !self.form.is_open() {
            return Ok(());
        }
        self.half.eof().await.map_err(|_| Gone::Closed)
    }

    /// No more data comes, but how the command ended. False where the client has said the same: it
    /// would close the channel at once, and has to hear both together.
    pub(crate) async fn eof_before_status(&self) -> Result<bool, Gone> {
        if !self.is_bytes() && self.ends.are_both() {
            return Ok(false);
        }
        self.eof().await.map(|()| true)
    }

    /// How the command ended; at most once.
    pub(crate) async fn ended(&self, ended: Ended) -> Result<(), Gone> {
        if self.is_bytes() {
            self.unopened(&ended).await;
            return Ok(());
        }
        let told = self.tell(ended).await;
        self.ends.tell();
        told
    }

    async fn tell(&self, ended: Ended) -> Result<(), Gone> {
        match ended {
            Ended::Status(status) => self
                .half
                .exit_status(status)
                .await
                .map_err(|_| Gone::Closed),
            Ended::Signal {
                signal,
                core_dumped,
            } => self
                .handle
                .exit_signal_request(
                    self.half.id(),
                    signal.signal,
                    core_dumped,
                    String::new(),
                    String::new(),
                )
                .await
                .map_err(|()| Gone::Closed),
        }
    }

    /// Closes the channel.
    pub(crate) async fn close(&self) -> Result<(), Gone> {
        self.ends.tell();
        if !self.form.is_open() {
            return Ok(());
        }
        self.half.close().await.map_err(|_| Gone::Closed)
    }
}

/// Which ends of file have been said on a client's channel, and whether its client knows how the
/// command ended: shared between the session and the connection's callbacks.
#[derive(Debug)]
pub(super) struct Ends {
    theirs: AtomicBool,
    ours: AtomicBool,
    told: AtomicBool,
    /// Whether the client took nothing for too long: no line reaches it on this channel.
    stalled: AtomicBool,
    pace: Arc<Pace>,
}

impl Ends {
    pub(super) fn new(pace: Arc<Pace>) -> Self {
        Self {
            theirs: AtomicBool::new(false),
            ours: AtomicBool::new(false),
            told: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            pace,
        }
    }

    /// Of a channel that has no status to wait for.
    pub(super) fn without_status(pace: Arc<Pace>) -> Self {
        Self {
            told: AtomicBool::new(true),
            ..Self::new(pace)
        }
    }

    /// The client sends no more. If it was told the same before, it closes the channel now, which
    /// the library answers at once; a status would come too late. Whoever has no other channel is
    /// not read from until the status is out (or for a while), so that the close waits.
    pub(super) fn heard_eof(&self, alone: bool) {
        self.theirs.store(true, Ordering::SeqCst);
        if alone && self.ours.load(Ordering::SeqCst) && !self.told.load(Ordering::Acquire) {
            self.pace.pause();
            // The session may have said it meanwhile.
            if self.told.load(Ordering::Acquire) {
                self.pace.resume();
            }
        }
    }

    /// Whether the client has said that it sends no more, now that we are about to say it. At least
    /// one of both sides sees the other's.
    fn are_both(&self) -> bool {
        self.ours.store(true, Ordering::SeqCst);
        let both = self.theirs.load(Ordering::SeqCst);
        if both {
            self.ours.store(false, Ordering::SeqCst);
        }
        both
    }

    /// Whether the client was given up since it did not read.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn tell(&self) {
        self.told.store(true, Ordering::Release);
        self.pace.resume();
    }
}

impl Drop for ClientWriter {
    fn drop(&mut self) {
        self.ends.tell();
    }
}

/// Why nothing can be written to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gone {
    #[error("the connection is closed")]
    Closed,
    #[error("the peer has not taken anything for too long")]
    Stalled,
}

/// What the target did.
#[derive(Debug)]
pub(crate) enum FromTarget {
    Output(Stream, Raw),
    Eof,
    Ended(Ended),
    /// The channel or the connection is closed.
    Left,
}

/// The target's side of a channel.
#[derive(Debug)]
pub(crate) struct TargetEnd {
    pub(crate) reader: TargetReader,
    pub(crate) writer: TargetWriter,
    /// What the target opens towards the client's agent, where it may.
    pub(crate) agents: Option<AgentChannels>,
}

impl TargetEnd {
    pub(super) fn new(
        channel: Channel<client::Msg>,
        connection: Arc<super::dial::TargetConnection>,
    ) -> Self {
        let (reader, writer) = channel.split();
        Self {
            reader: TargetReader { half: reader },
            writer: TargetWriter {
                half: writer,
                connection,
            },
            agents: None,
        }
    }
}

/// What the target sends.
#[derive(Debug)]
pub(crate) struct TargetReader {
    pub(super) half: ChannelReadHalf,
}

impl TargetReader {
    /// The next thing that the target did. Cancel-safe.
    pub(crate) async fn next(&mut self) -> FromTarget {
        loop {
            match self.half.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    return FromTarget::Output(Stream::Stdout, Raw::new(data));
                }
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                    return FromTarget::Output(Stream::Stderr, Raw::new(data));
                }
                Some(ChannelMsg::Eof) => return FromTarget::Eof,
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    return FromTarget::Ended(Ended::Status(exit_status));
                }
                Some(ChannelMsg::ExitSignal {
                    signal_name,
                    core_dumped,
                    ..
                }) => {
                    return FromTarget::Ended(Ended::Signal {
                        // The message does not go on at all: no rule has looked at it.
                        signal: Signal::of_end(signal_name),
                        core_dumped,
                    });
                }
                Some(ChannelMsg::Close) | None => return FromTarget::Left,
                Some(_) => {}
            }
        }
    }
}

/// What goes to the target.
pub(crate) struct TargetWriter {
    pub(super) half: ChannelWriteHalf<client::Msg>,
    /// Ends the connection to the target when the session, and what the target opened in it, drop
    /// it.
    connection: Arc<super::dial::TargetConnection>,
}

impl std::fmt::Debug for TargetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetWriter").finish_non_exhaustive()
    }
}

impl TargetWriter {
    /// Sends data; waits for the target's window.
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.half.data_bytes(bytes).await.map_err(|_| Gone::Closed)
    }

    /// The client sends no more.
    pub(crate) async fn eof(&self) -> Result<(), Gone> {
        self.half.eof().await.map_err(|_| Gone::Closed)
    }

    /// Returns once the target has read everything that was sent before, or after `within`.
    pub(crate) async fn flushed(&self, within: Duration) {
        // It answers in order; that it does not, or is gone, is no news to whoever asks.
        tokio::time::timeout(within, self.connection.ping())
            .await
            .unwrap_or(());
    }

    /// The client's terminal has another size.
    pub(crate) async fn resize(&self, size: Size) -> Result<(), Gone> {
        let Size {
            cols,
            rows,
            width,
            height,
        } = size;
        self.half
            .window_change(cols.into(), rows.into(), width.into(), height.into())
            .await
            .map_err(|_| Gone::Closed)
    }

    /// A signal for the command.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), Gone> {
        let Signal { signal, .. } = signal;
        self.half.signal(signal).await.map_err(|_| Gone::Closed)
    }
}

/// Bytes that the client has sent on one channel and that have not gone on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    pub(super) fn arrived(&self, n: usize) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn taken(&self, n: usize) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The largest terminal that is passed on (limits.md).
#[derive(Clone, Copy, Debug)]
pub(super) struct Largest {
    cols: u16,
    rows: u16,
}

impl Largest {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            cols: limits.pty_columns,
            rows: limits.pty_rows,
        }
    }

    /// A size within it; 0 stands for "not known". Pixels that no terminal has, or of cells that
    /// were too many, are not known: programs divide the one by the other.
    pub(super) fn clamp(self, (cols, rows): (u32, u32), (width, height): (u32, u32)) -> Size {
        let within = |n: u32, unknown: u16, max: u16| match n {
            0 => unknown.min(max),
            n => u16::try_from(n).unwrap_or(max).min(max),
        };
        let pixels = |n: u32, cells: u32, max: u16| match cells {
            1.. if cells <= max.into() => u16::try_from(n).unwrap_or(0),
            _ => 0,
        };
        Size {
            cols: within(cols, 80, self.cols),
            rows: within(rows, 24, self.rows),
            width: pixels(width, cols, self.cols),
            height: pixels(height, rows, self.rows),
        }
    }
}

/// The signal of POSIX that programs wait for and the RFC leaves out.
const USR2: &str = "USR2";
/// What else ends a command, by the names of POSIX and Linux; OpenSSH's server has one for all of them.
const ENDING: [&str; 15] = [
    USR2,
    "BUS",
    "EMT",
    "IO",
    "POLL",
    "PROF",
    "PWR",
    "STKFLT",
    "SYS",
    "TRAP",
    "VTALRM",
    "XCPU",
    "XFSZ",
    "LOST",
    "SIG@openssh.com",
];
/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, section 5.2).
const STDERR: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_within_the_largest_and_pixels_known_or_nothing() {
        let largest = Largest {
            cols: 1000,
            rows: 500,
        };
        let size = |cells, pixels| {
            let size = largest.clamp(cells, pixels);
            (size.cols, size.rows, size.width, size.height)
        };
        assert_eq!(size((80, 24), (800, 600)), (80, 24, 800, 600));
        assert_eq!(size((1000, 500), (65535, 1)), (1000, 500, 65535, 1));
        assert_eq!(size((80, 24), (65536, u32::MAX)), (80, 24, 0, 0));
        assert_eq!(size((1001, 24), (800, 600)), (1000, 24, 0, 600));
        assert_eq!(size((80, u32::MAX), (800, 600)), (80, 500, 800, 0));
        assert_eq!(size((0, 0), (800, 600)), (80, 24, 0, 0));
    }
}
