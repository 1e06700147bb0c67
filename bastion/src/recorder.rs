//! The other process: takes what sessions print and writes it to files that only it can write.
//!
//! `serve` talks to it over a unix stream socket ([`wire`]). A thread per connection reads,
//! times and acknowledges; workers compress and write; one thread synchronises files with the
//! disk, so that nobody who prints waits for it; a clock thread sees to what is due; a notary
//! signs the [`log`], in which the head of every recording is. The
//! process opens no network socket and never overwrites what it has written.

mod audit;
mod copies;
mod disk;
mod ends;
mod expire;
mod link;
mod log;
mod place;
mod recover;
pub(crate) mod redact;
mod session;
mod store;
mod syncer;
mod terms;
pub(crate) mod wire;
mod work;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};

use crate::manager;

pub use self::copies::{Copies, CopyTo, NoPlace};
pub use self::expire::Keep;
use self::link::{Links, Rights};
use self::place::SAID_EVERY;
use self::store::Store;
pub use self::terms::Terms;
use self::work::Crew;

/// What `bastion recorder` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the recordings. It is made if need be, with mode 0700.
    pub dir: PathBuf,
    /// Where `serve` is heard.
    pub door: Door,
    /// Where the audit log, and nothing else, is shown to whoever forwards it.
    pub audit_door: Option<PathBuf>,
    /// Where checkpoints of the log are copied to.
    pub copies: Copies,
    /// What is removed in time.
    pub keep: Keep,
}

/// Where `serve` is heard.
#[derive(Clone, Debug)]
pub enum Door {
    /// An inherited stream socket. The recorder ends when its other end closes.
    Fd(i32),
    /// A path at which the recorder listens until it is told to end.
    Socket(PathBuf),
}

/// Why the recorder cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The folder cannot be used.
    #[error("the folder of the recordings {}: {what}", dir.display())]
    Dir {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// Another recorder writes there.
    #[error("another recorder already writes to {}", .0.display())]
    Busy(PathBuf),
    /// The socket cannot be used.
    #[error("the socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `--fd` names no socket.
    #[error("file descriptor {fd} is not an inherited socket: {source}")]
    Fd {
        /// Its number.
        fd: i32,
        /// Why.
        source: io::Error,
    },
    /// The system refuses what the recorder needs.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Runs the recorder until its socket closes, or SIGTERM or SIGINT; then finishes every file.
///
/// # Errors
///
/// It cannot start. What goes wrong later ends the sessions that it concerns.
pub fn main(options: Options) -> Result<(), RecorderError> {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let store = Store::open(&options.dir, options.copies)?;
    recover::all(&store)?;
    let crew = Crew::start(store, options.keep)?;
    let links = Links::new(crew.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let runs = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut rotate = signal(SignalKind::user_defined1())?;
    drop(runs);
    let (finished, mut closed) = tokio::sync::mpsc::channel(1);
    let socket = match options.door {
        Door::Fd(fd) => {
            let stream = inherited(fd)?;
            let links = links.clone();
            let finished = finished.clone();
            thread::Builder::new()
                .name("link".to_owned())
                .spawn(move || {
                    links.serve(stream, Rights::All);
                    // If it is not received, a signal has come first.
                    finished.blocking_send(()).ok();
                })?;
            None
        }
        Door::Socket(path) => {
            open_door(&path, &links, Rights::All)?;
            Some(path)
        }
    };
    if let Some(path) = &options.audit_door {
        open_door(path, &links, Rights::ReadAudit)?;
    }
    // Whoever may enter the folder is the recorder's user or root. The folder is held and locked: what
    // lies there is of a recorder that was killed.
    let own = crew.store.open_root()?;
    open_door(&control(&own), &links, Rights::Redact)?;
    // A long recording takes its time, and nobody who wants to be recorded waits for it.
    let unfinished = crew.clone();
    thread::Builder::new()
        .name("redactions".to_owned())
        .spawn(move || {
            if let Err(error) = redact::finish(&unfinished) {
                tracing::error!(%error, "nobody knows whether a redaction was cut short");
            }
        })?;
    if socket.is_some() {
        manager::ready();
    }
    runtime.block_on(async {
        loop {
            tokio::select! {
                never = manager::keep_alive(), if socket.is_some() => match never {},
                _ = terminate.recv() => tracing::info!("SIGTERM: every recording is finished"),
                _ = interrupt.recv() => tracing::info!("SIGINT: every recording is finished"),
                _ = closed.recv() => {}
                _ = rotate.recv() => {
                    crew.want_new_key();
                    continue;
                }
            }
            return;
        }
    });
    if socket.is_some() {
        manager::stopping("finishing every recording");
    }
    links.stop();
    crew.finish(FINISH);
    for path in socket
        .iter()
        .chain(&options.audit_door)
        .chain([&control(&own)])
    {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "cannot remove the socket");
        }
    }
    Ok(())
}

/// Where the recorder of a folder, which is held open, is asked to withhold frames. Its real path may
/// be longer than the address of a socket.
fn control(folder: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    let folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    folder.join(CONTROL)
}

/// Listens at `path` for as long as the process lives.
fn open_door(path: &Path, links: &Arc<Links>, rights: Rights) -> Result<(), RecorderError> {
    let listener = listen(path, rights)?;
    let links = links.clone();
    thread::Builder::new()
        .name("door".to_owned())
        .spawn(move || accept(&listener, &links, rights))?;
    Ok(())
}

/// The inherited socket number `fd`, without trusting that nobody else here owns it.
fn inherited(fd: i32) -> Result<UnixStream, RecorderError> {
    let failed = |source: io::Error| RecorderError::Fd { fd, source };
    let owned: OwnedFd = match fd {
        0 => rustix::stdio::stdin()
            .try_clone_to_owned()
            .map_err(failed)?,
        // The others are ours, or open elsewhere in this process: a copy does no harm.
        _ => {
            use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
            let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
            pidfd_getfd(own, fd, PidfdGetfdFlags::empty()).map_err(|e| failed(e.into()))?
        }
    };
    let kind = rustix::net::sockopt::socket_type(&owned).map_err(|e| failed(e.into()))?;
    if kind != rustix::net::SocketType::STREAM {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let stream = UnixStream::from(owned);
    stream.set_nonblocking(false).map_err(failed)?;
    Ok(stream)
}

fn listen(path: &Path, rights: Rights) -> Result<UnixListener, RecorderError> {
    let failed = |source| RecorderError::Socket {
        path: path.to_owned(),
        source,
    };
    match UnixStream::connect(path) {
        Ok(_) => return Err(failed(io::ErrorKind::AddrInUse.into())),
        // Left over by a recorder that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let mode = Mode::from_raw_mode(match rights {
        // Whoever may enter the folder and is in the group may speak.
        Rights::All | Rights::ReadAudit => 0o660,
        Rights::Redact => 0o600,
    });
    rustix::fs::chmod(path, mode).map_err(|error| failed(error.into()))?;
    Ok(listener)
}

fn accept(listener: &UnixListener, links: &Arc<Links>, rights: Rights) {
    let mut said: Option<Instant> = None;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let place = match links.place(&stream, rights) {
            Ok(place) => place,
            Err(why) => {
                if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                    said = Some(Instant::now());
                    tracing::error!(%why, ?rights, "a connection is refused");
                }
                continue;
            }
        };
        let links = links.clone();
        let served = thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || {
                links.serve(stream, rights);
                drop(place);
            });
        if let Err(error) = served {
            tracing::error!(%error, "cannot start a thread for a connection");
        }
    }
}

/// The socket in the folder of the recordings.
const CONTROL: &str = "control";
/// How long finishing every file may take.
const FINISH: Duration = Duration::from_secs(8);
/// After an error of accept, which may last.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
