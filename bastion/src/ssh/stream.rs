//! The socket under an SSH connection: buffered reads whose buffer is given back when the
//! connection falls idle, and a token that ends the connection whatever its loop waits for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::event::{PollFd, PollFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A TCP socket that an SSH library reads in small pieces.
pub(super) struct Socket {
    socket: Arc<TcpStream>,
    read: BytesMut,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    /// Takes a connected socket; `cancel` makes every later read and write fail.
    ///
    /// Unacknowledged bytes end the connection after `stall`, also when the peer's window stays
    /// closed (RFC 5482).
    pub(super) fn new(
        socket: Arc<TcpStream>,
        stall: Duration,
        cancel: &CancellationToken,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let millis = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(&socket, millis)?;
        Ok(Self {
            socket,
            read: BytesMut::new(),
            cancelled: Box::pin(cancel.clone().cancelled_owned()),
        })
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
        while this.read.is_empty() {
            if this.socket.poll_read_ready(cx).is_pending() {
                // Idle: an idle connection keeps no buffer.
                this.read = BytesMut::new();
                return Poll::Pending;
            }
            this.read.reserve(READ_BUFFER);
            match this.socket.try_read_buf(&mut this.read) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
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
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// Returns when the peer has closed its side or is gone.
///
/// While the SSH loop waits inside a callback nobody reads the socket, so a hang-up behind unread
/// bytes is not seen by reading: the kernel is asked five times a second instead.
pub(super) async fn hung_up(socket: &TcpStream) {
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

/// Bytes read from the kernel at once: two packets of the largest size.
const READ_BUFFER: usize = 64 * 1024;
