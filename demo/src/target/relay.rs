//! The bytes between one channel and its process, until the process ends or the client closes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::process::{self, Ends, Job, Size};

/// Bytes that a client sent and processes have not taken yet, on all channels of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// The number of bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Carries a channel to its end. Dropping the future ends the process.
pub(super) async fn run(
    channel: Channel<Msg>,
    session: Handle,
    mut job: Job,
    ends: Ends,
    backlog: Backlog,
) {
    let id = channel.id();
    let (mut from_client, to_client) = channel.split();
    let (child, group) = job.parts();
    let ended = match ends {
        Ends::Pipes {
            stdin,
            stdout,
            stderr,
        } => {
            let mut queue = Queue::new(Sink::Pipe(stdin), backlog);
            tokio::select! {
                () = feed(&mut from_client, &mut queue, |control| match control {
                    Control::Signal(signal) => group.signal(signal),
                    Control::Resize(_) => {}
                }) => return,
                ended = carry(stdout, stderr, child, &to_client) => ended,
            }
        }
        Ends::Terminal {
            ours,
            output,
            input,
        } => {
            let mut queue = Queue::new(Sink::Terminal(input), backlog);
            tokio::select! {
                () = feed(&mut from_client, &mut queue, |control| match control {
                    Control::Signal(signal) => group.signal(signal),
                    // A size that can't be set leaves the old one.
                    Control::Resize(size) => drop(process::resize(&ours, size)),
                }) => return,
                ended = carry_terminal(&ours, output, child, &to_client) => ended,
            }
        }
    };
    if let Ok(status) = ended {
        report(&session, id, status).await;
    }
    // The connection may be gone by now; then nobody waits for these.
    drop(to_client.eof().await);
    drop(to_client.close().await);
}

enum Control {
    Signal(Signal),
    Resize(Size),
}

/// Where a process reads.
enum Sink {
    Pipe(ChildStdin),
    Terminal(pipe::Sender),
}

impl Sink {
    /// Writes a part of `bytes`. Cancel-safe: a dropped future has written nothing.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Terminal(terminal) => terminal.write(bytes).await,
        }
    }
}

/// What the client sent and the process has not taken, counted in the connection's backlog.
struct Queue {
    sink: Option<Sink>,
    waiting: VecDeque<Bytes>,
    backlog: Backlog,
    bytes: usize,
    ended: bool,
}

impl Queue {
    fn new(sink: Sink, backlog: Backlog) -> Self {
        Self {
            sink: Some(sink),
            waiting: VecDeque::new(),
            backlog,
            bytes: 0,
            ended: false,
        }
    }

    fn push(&mut self, bytes: Bytes) {
        if self.sink.is_none() || bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.backlog.0.fetch_add(bytes.len(), Ordering::Relaxed);
        self.waiting.push_back(bytes);
    }

    fn took(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.backlog.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Closes the process's input once everything was written. A terminal stays open, as under
    /// OpenSSH: its end of file is a character.
    fn end(&mut self) {
        self.ended = true;
        if self.waiting.is_empty() && matches!(self.sink, Some(Sink::Pipe(_))) {
            self.sink = None;
        }
    }

    /// Writes something; never returns when there is nothing to write. Cancel-safe.
    async fn write(&mut self) {
        let (Some(sink), Some(front)) = (&mut self.sink, self.waiting.front_mut()) else {
            return std::future::pending().await;
        };
        match sink.write(front).await {
            Ok(written) => {
                front.advance(written);
                if front.is_empty() {
                    self.waiting.pop_front();
                }
                self.took(written);
            }
            // The process does not read any more: what still comes is thrown away.
            Err(_) => {
                self.sink = None;
                self.waiting.clear();
                self.took(self.bytes);
            }
        }
        if self.ended {
            self.end();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.took(self.bytes);
    }
}

/// Hands on what the client sends; returns when it closes the channel.
async fn feed(from: &mut ChannelReadHalf, queue: &mut Queue, mut control: impl FnMut(Control)) {
    loop {
        let message = tokio::select! {
            message = from.wait() => message,
            () = queue.write() => continue,
        };
        match message {
            Some(ChannelMsg::Data { data }) => queue.push(data),
            Some(ChannelMsg::Eof) => queue.end(),
            Some(ChannelMsg::Signal { signal }) => {
                if let Some(signal) = signal_of(&signal) {
                    control(Control::Signal(signal));
                }
            }
            Some(ChannelMsg::WindowChange {
                col_width,
                row_height,
                ..
            }) => {
                control(Control::Resize(Size {
                    columns: col_width,
                    rows: row_height,
                }));
            }
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
}

const CHUNK: usize = 32 * 1024;

/// Sends both outputs until both are closed, then waits for the process.
async fn carry(
    mut stdout: ChildStdout,
    mut stderr: ChildStderr,
    child: &mut Child,
    to: &ChannelWriteHalf<Msg>,
) -> io::Result<ExitStatus> {
    let (mut out, mut err) = (BytesMut::new(), BytesMut::new());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        out.reserve(CHUNK);
        err.reserve(CHUNK);
        tokio::select! {
            read = stdout.read_buf(&mut out), if out_open => {
                out_open = read? > 0;
                to.data_bytes(out.split().freeze()).await.map_err(io::Error::other)?;
            }
            read = stderr.read_buf(&mut err), if err_open => {
                err_open = read? > 0;
                let bytes = err.split().freeze();
                to.extended_data_bytes(STDERR, bytes).await.map_err(io::Error::other)?;
            }
        }
    }
    child.wait().await
}

/// RFC 4254, section 5.2: `SSH_EXTENDED_DATA_STDERR`.
const STDERR: u32 = 1;

/// Sends what the terminal shows until the process ends.
async fn carry_terminal(
    ours: &OwnedFd,
    mut output: pipe::Receiver,
    child: &mut Child,
    to: &ChannelWriteHalf<Msg>,
) -> io::Result<ExitStatus> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = tokio::select! {
            count = output.read(&mut buffer) => count,
            status = child.wait() => {
                drain(ours, &mut buffer, to).await?;
                return status;
            }
        };
        match count {
            // EIO: nobody has the terminal open any more.
            Ok(0) | Err(_) => return child.wait().await,
            Ok(count) => send(to, &buffer, count).await?,
        }
    }
}

/// Sends what is left in the terminal. Others may still write there, so there is a bound.
async fn drain(ours: &OwnedFd, buffer: &mut [u8], to: &ChannelWriteHalf<Msg>) -> io::Result<()> {
    for _ in 0..256 {
        match rustix::io::read(ours, &mut *buffer) {
            Ok(count) if count > 0 => send(to, buffer, count).await?,
            _ => break,
        }
    }
    Ok(())
}

async fn send(to: &ChannelWriteHalf<Msg>, buffer: &[u8], count: usize) -> io::Result<()> {
    let bytes = buffer.get(..count).unwrap_or_default();
    to.data_bytes(Bytes::copy_from_slice(bytes))
        .await
        .map_err(io::Error::other)
}

/// Says how the process ended (RFC 4254, section 6.10). A connection that is gone hears nothing.
async fn report(session: &Handle, id: ChannelId, status: ExitStatus) {
    let sent = match (status.code(), status.signal()) {
        (Some(code), _) => {
            session
                .exit_status_request(id, u32::try_from(code).unwrap_or(255))
                .await
        }
        (None, signal) => {
            let name = name_of(signal);
            let core = status.core_dumped();
            session
                .exit_signal_request(id, name, core, String::new(), String::new())
                .await
        }
    };
    sent.unwrap_or_default();
}

/// The signals of RFC 4254, section 6.10. A local one has no way to be sent.
fn signal_of(signal: &Sig) -> Option<Signal> {
    Some(match signal {
        Sig::ABRT => Signal::ABORT,
        Sig::ALRM => Signal::ALARM,
        Sig::FPE => Signal::FPE,
        Sig::HUP => Signal::HUP,
        Sig::ILL => Signal::ILL,
        Sig::INT => Signal::INT,
        Sig::KILL => Signal::KILL,
        Sig::PIPE => Signal::PIPE,
        Sig::QUIT => Signal::QUIT,
        Sig::SEGV => Signal::SEGV,
        Sig::TERM => Signal::TERM,
        Sig::USR1 => Signal::USR1,
        Sig::Custom(_) => return None,
    })
}

/// The name of a signal that ended a process; one that RFC 4254 does not name is told as KILL.
fn name_of(signal: Option<i32>) -> Sig {
    let names = [
        Sig::ABRT,
        Sig::ALRM,
        Sig::FPE,
        Sig::HUP,
        Sig::ILL,
        Sig::INT,
        Sig::PIPE,
        Sig::QUIT,
        Sig::SEGV,
        Sig::TERM,
        Sig::USR1,
    ];
    names
        .into_iter()
        .find(|name| signal_of(name).map(Signal::as_raw) == signal)
        .unwrap_or(Sig::KILL)
}
