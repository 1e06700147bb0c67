//! What a service manager such as systemd gives and wants: listening sockets that outlive a
//! restart, word when the service is ready and when it stops, and a sign of life.

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::io::FdFlags;
use tracing::warn;

/// The listening sockets that were handed over (`LISTEN_FDS`), none where there are none. They are
/// closed in programs that this one starts.
///
/// # Errors
///
/// What was handed over is not a listening TCP socket.
pub(crate) fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut given = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..given.len() {
        let Some(socket) = given.take_tcp_listener(at)? else {
            continue;
        };
        rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The service does its work from now on.
pub(crate) fn ready() {
    tell("READY=1", PATIENCE);
}

/// The service is about to end; `status` says what it waits for.
pub(crate) fn stopping(status: &str) {
    tell(&format!("STOPPING=1\nSTATUS={status}"), PATIENCE);
}

/// Gives signs of life for as long as it is polled, where they are wanted: a runtime that hangs gives
/// none. Twice in the time after which the manager would think the service dead.
pub(crate) async fn keep_alive() -> std::convert::Infallible {
    let Some(pause) = wanted() else {
        return std::future::pending().await;
    };
    loop {
        // A manager that does not listen at the moment is no reason to stand still.
        tell("WATCHDOG=1", Duration::ZERO);
        tokio::time::sleep(pause).await;
    }
}

/// Half of `WATCHDOG_USEC`, where that is meant for this process (sd_watchdog_enabled(3)).
fn wanted() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC")
        .map(|micros| Duration::from_micros(micros / 2))
        .filter(|pause| !pause.is_zero())
}

/// Sends the manager a message (sd_notify(3)), and waits so long for it to listen. Without a manager
/// this does nothing.
fn tell(message: &str, patience: Duration) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&place, message, patience) {
        warn!(%error, "the service manager cannot be told");
    }
}

fn send(place: &OsStr, message: &str, patience: Duration) -> io::Result<()> {
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    if patience.is_zero() {
        socket.set_nonblocking(true)?;
    } else {
        socket.set_write_timeout(Some(patience))?;
    }
    socket.send(message.as_bytes()).map(drop)
}

/// How long a message that counts may wait for the manager.
const PATIENCE: Duration = Duration::from_secs(1);
