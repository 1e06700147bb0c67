//! The socket under an SSH connection: buffered reads whose buffer is given back when the
//! connection falls idle, a token that ends the connection whatever its loop waits for, the
//! holds and naps that flow control asks for, and an end for who exchanges keys too often.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::event::{PollFd, PollFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::flow::{HOLD_BYTES, HOLD_TIME, PAUSE_TIME, Pace, SMALL_READ};
use super::rekey::Exchanges;

/// What an SSH connection runs over.
#[derive(Debug)]
pub(super) enum Wire {
    /// The network.
    Tcp(TcpStream),
    /// A channel of another connection of the same client, which a task carries to this socket.
    Channel(UnixStream),
}

impl Wire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Channel(socket) => socket.poll_read_ready(cx),
        }
    }

    fn try_read_buf(&self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read_buf(into),
            Self::Channel(socket) => socket.try_read_buf(into),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_write_ready(cx),
            Self::Channel(socket) => socket.poll_write_ready(cx),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Channel(socket) => socket.try_write(bytes),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Channel(socket) => socket.as_fd(),
        }
    }
}

/// When something came from a peer last.
#[derive(Debug)]
pub(super) struct Heard {
    began: Instant,
    /// In milliseconds after that.
    last: AtomicU64,
    /// Whether the system gave it up, since it acknowledged or took nothing.
    given_up: AtomicBool,
}

impl Heard {
    /// Of a connection that begins now.
    pub(super) fn now() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
        })
    }

    /// The time of the last bytes, or of the beginning; at most a millisecond too early.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Whether the connection has ended since the peer took nothing.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn something(&self) {
        let after = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(after, Ordering::Relaxed);
    }
}

/// A socket that an SSH library reads in small pieces.
pub(super) struct Socket {
    socket: Arc<Wire>,
    exchanges: Exchanges,
    heard: Option<Arc<Heard>>,
    read: BytesMut,
    /// Whether the last read from the kernel was a small one.
    small: bool,
    pace: Arc<Pace>,
    /// Only while flow control asks for something, or output is still held.
    paced: Option<Box<Paced>>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Once we have closed our side: how long the peer has to close its own.
    closing: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Takes a connected socket; `cancel` makes every later read and write fail.
    ///
    /// Unacknowledged bytes end the connection after `stall`, also when the peer's window stays
    /// closed (RFC 5482). Those of a channel have the outer connection's time.
    pub(super) fn new(
        socket: Arc<Wire>,
        exchanges: Exchanges,
        stall: Duration,
        cancel: &CancellationToken,
    ) -> io::Result<Self> {
        if let Wire::Tcp(socket) = &*socket {
            socket.set_nodelay(true)?;
            let millis = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
            rustix::net::sockopt::set_tcp_user_timeout(socket, millis)?;
        }
        Ok(Self {
            socket,
            exchanges,
            heard: None,
            read: BytesMut::new(),
            small: false,
            pace: Arc::default(),
            paced: None,
            cancelled: Box::pin(cancel.clone().cancelled_owned()),
            closing: None,
        })
    }

    /// The same socket, doing what `pace` asks for.
    pub(super) fn paced(mut self, pace: Arc<Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// The same socket, which tells `heard` of what it reads.
    pub(super) fn heard(mut self, heard: Arc<Heard>) -> Self {
        self.heard = Some(heard);
        self
    }

    /// An error of the socket, of which `heard` is told where it is the peer's silence.
    fn failed(&self, error: io::Error) -> io::Error {
        if let (io::ErrorKind::TimedOut, Some(heard)) = (error.kind(), &self.heard) {
            heard.given_up.store(true, Ordering::Relaxed);
        }
        error
    }

    /// The usual case: one load and one look.
    fn is_unpaced(&self) -> bool {
        self.pace.is_idle() && self.paced.is_none()
    }

    /// Drives the hold, and waits out the nap before the next read from the kernel.
    fn poll_paced(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Output that the peer does not take yet is no reason not to read.
        let drained = self.poll_held(cx)?.is_ready();
        let paused = self.pace.is_paused(cx.waker());
        let paced = self.paced.get_or_insert_default();
        if paused {
            let until = paced
                .pause
                .get_or_insert_with(|| Box::pin(sleep(PAUSE_TIME)));
            ready!(until.as_mut().poll(cx));
            self.pace.resume();
        }
        paced.pause = None;
        // What ends a pause is handed to the library right before. Its loop takes that, or what the
        // peer has sent meanwhile, by chance, where it finds both: it finds the peer's a turn later.
        if self.pace.was_resumed() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.read.is_empty()
            && self.small
            && let Some(nap) = self.pace.nap()
        {
            let nap = paced.nap.get_or_insert_with(|| Box::pin(sleep(nap)));
            ready!(nap.as_mut().poll(cx));
            self.small = false;
        }
        paced.nap = None;
        if drained && self.pace.is_idle() {
            self.paced = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once no output is held: waits for the end of the hold, then for the peer.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pace.is_holding() {
            let paced = self.paced.get_or_insert_default();
            let until = paced.hold.get_or_insert_with(|| Box::pin(sleep(HOLD_TIME)));
            ready!(until.as_mut().poll(cx));
            self.pace.release();
        }
        let Some(paced) = &mut self.paced else {
            return Poll::Ready(Ok(()));
        };
        paced.hold = None;
        while !paced.held.is_empty() {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(&paced.held) {
                Ok(n) => paced.held.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        paced.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Takes output during a hold, unless it would be too much: that ends the hold.
    fn hold(&mut self, bytes: &[u8]) -> bool {
        if !self.pace.is_holding() {
            return false;
        }
        let paced = self.paced.get_or_insert_default();
        if paced.held.len() + bytes.len() > HOLD_BYTES {
            self.pace.release();
            return false;
        }
        paced.held.extend_from_slice(bytes);
        true
    }

    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cancelled.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "ended by the bastion",
            )),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.poll_cancelled(cx)?;
        this.exchanges.look()?;
        if let Some(closing) = &mut this.closing
            && closing.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        if !this.is_unpaced() {
            ready!(this.poll_paced(cx))?;
        }
        while this.read.is_empty() {
            if this.socket.poll_read_ready(cx).is_pending() {
                // An idle connection keeps no buffer; one that carries bulk only waits for more.
                if this.small {
                    this.read = BytesMut::new();
                }
                return Poll::Pending;
            }
            this.read.reserve(READ_BUFFER);
            match this.socket.try_read_buf(&mut this.read) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(n) => {
                    this.small = n < SMALL_READ;
                    if let Some(heard) = &this.heard {
                        heard.something();
                    }
                    this.exchanges.carried(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(this.failed(error))),
            }
        }
        let n = this.read.len().min(out.remaining());
        out.put_slice(this.read.get(..n).unwrap_or_default());
        this.read.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cancelled(cx)?;
        self.exchanges.look()?;
        if !self.is_unpaced() {
            if self.hold(bytes) {
                self.exchanges.carried(bytes.len());
                return Poll::Ready(Ok(bytes.len()));
            }
            ready!(self.poll_held(cx))?;
        }
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(bytes) {
                Ok(n) => {
                    self.exchanges.carried(n);
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is held back counts as sent: the library's loop has to go on reading.
        if self.is_unpaced() || self.pace.is_holding() {
            return Poll::Ready(Ok(()));
        }
        self.poll_held(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.release();
        ready!(self.poll_held(cx))?;
        // The library reads on until the peer closes too, without a timer of its own.
        self.closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        match rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// What a socket needs while it is paced.
#[derive(Default)]
struct Paced {
    /// At most [`HOLD_BYTES`].
    held: BytesMut,
    hold: Option<Pin<Box<Sleep>>>,
    nap: Option<Pin<Box<Sleep>>>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Returns when the peer has closed its side or is gone.
///
/// While the SSH loop waits inside a callback nobody reads the socket, so a hang-up behind unread
/// bytes is not seen by reading: the kernel is asked five times a second instead.
pub(super) async fn hung_up(socket: &Wire) {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
        let zero = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        match rustix::event::poll(&mut fds, Some(&zero)) {
            Ok(_) if fds.iter().any(|fd| fd.revents().intersects(gone)) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// A peer that has been told the end has so long to close its side.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read from the kernel at once: two packets of the largest size.
const READ_BUFFER: usize = 64 * 1024;
