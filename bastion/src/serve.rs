//! The network-facing process: listeners, limits before sign-in, tasks, drain.
//!
//! Owns the accept loops and the order of start and stop. Knows nothing of SSH beyond handing a
//! socket over.

mod gate;
mod news;
mod observe;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::access::{Access, Current, StableKey};
use crate::approval::{Ledger, log_of};
use crate::audit::{Audit, Event};
use crate::config::{Config, Limits};
use crate::forward::Watch;
use crate::holds::Holds;
use crate::login::{SignIns, World};
use crate::manager;
use crate::notify::{Hooks, Notifier};
use crate::record::{Agreed, Recorder};
use crate::requests::Requests;
use crate::session::{Registry, Rooms};
use crate::ssh::{HostKeyError, Server, keys};
use crate::store::{self, SealKey, Store};
use crate::target::{HostCa, Inventory, UserCa};

pub(crate) use gate::{Gate, Pass};
use observe::Observer;
use reload::Reload;
pub(crate) use reload::{ask, socket_path};

/// What the command line adds to the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file: a reload reads the webhooks of it anew.
    pub file: PathBuf,
    /// Written once every address is bound, whole or not at all:
    /// `{"addresses":["127.0.0.1:2222"],"pid":123}`.
    pub ready_file: Option<PathBuf>,
}

/// Why the server does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another address in `listen`")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What was handed over by a service manager is no listening socket.
    #[error("the sockets in LISTEN_FDS cannot be used: {0}")]
    Sockets(#[source] io::Error),
    /// A host key cannot be used.
    #[error("{0}")]
    HostKey(#[from] HostKeyError),
    /// A folder or a file cannot be made.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another bastion runs with the same state, or it is being restored.
    #[error("another bastion uses {}; give each a state_dir of its own", .0.display())]
    InUse(PathBuf),
    /// A room could not be opened; the line says what to do.
    #[error("{0}")]
    Room(String),
    /// The runtime cannot be started.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
}

/// Runs the server until SIGTERM or SIGINT, then drains: no new connection, `limits.drain` for the
/// sessions that run, then a line to each and its end.
///
/// # Errors
/// Everything that keeps it from starting. Once it accepts, it ends by signal only.
pub fn run(config: Config, options: Options) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("bastion")
        .build()
        .map_err(ServeError::Runtime)?;
    runtime.block_on(serve(config, options))
}

async fn serve(config: Config, options: Options) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Runtime)?;

    let listeners = listeners(&config.listen).await?;
    let metrics = match config.metrics {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    private_dir(&config.state_dir).map_err(|source| ServeError::Write {
        path: config.state_dir.clone(),
        source,
    })?;
    let _only = store::only_one(&config.state_dir)
        .map_err(|_| ServeError::InUse(config.state_dir.clone()))?;
    let rooms = Arc::new(open(&config, &addresses).await?);
    let reloads = TaskTracker::new();
    let reload = Reload::new(rooms.clone(), &options.file, &config, reloads.clone());
    let reload = reload.map_err(|source| ServeError::Write {
        path: socket_path(&config.state_dir),
        source,
    })?;
    let host_keys = crate::ssh::host_keys(&config.host_keys)?;
    let gate = Gate::new(
        config.limits.unauthenticated,
        config.limits.unauthenticated_per_source,
    );
    let server = Arc::new(Server::new(host_keys, gate.clone(), rooms.clone()));

    let accepting = CancellationToken::new();
    let stop = CancellationToken::new();
    let acceptors = TaskTracker::new();
    let connections = TaskTracker::new();
    note(
        &rooms,
        Event::Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: addresses.iter().map(SocketAddr::to_string).collect(),
        },
    );
    for listener in listeners {
        let doorman = Doorman {
            server: server.clone(),
            gate: gate.clone(),
            connections: connections.clone(),
            stop: stop.clone(),
        };
        acceptors.spawn(doorman.accept(listener, accepting.clone()));
    }
    acceptors.close();
    let rechecks = TaskTracker::new();
    let sign_ins = rooms.sign_ins.clone();
    let until = stop.clone();
    rechecks.spawn(async move { sign_ins.keep_rechecking(until).await });
    rechecks.close();
    let keepers = TaskTracker::new();
    let keeping = CancellationToken::new();
    keepers.spawn(rooms.holds.clone().maintain(keeping.clone()));
    keepers.spawn(rooms.requests.clone().maintain(keeping.clone()));
    keepers.close();
    let deliveries = TaskTracker::new();
    let delivering = CancellationToken::new();
    deliveries.spawn(rooms.notifier.clone().deliver(delivering.clone()));
    deliveries.close();
    let pages = TaskTracker::new();
    if let Some(listener) = metrics {
        let observer = Arc::new(Observer {
            rooms: rooms.clone(),
            gate: gate.clone(),
            accepting: accepting.clone(),
            state_dir: config.state_dir.clone(),
            receivers: Watch::new(&config.forward),
        });
        let until = stop.clone();
        pages.spawn(crate::metrics::serve(listener, observer, until));
    }
    pages.close();
    // Whoever is told that the bastion is ready finds that in the log.
    if let Err(error) = rooms.audit.flush().await {
        error!(%error, "the start is not in the audit log");
    }
    if let Some(path) = &options.ready_file {
        write_ready(path, &addresses).map_err(|source| ServeError::Write {
            path: path.clone(),
            source,
        })?;
    }
    info!(?addresses, "accepting");
    manager::ready();

    tokio::select! {
        never = manager::keep_alive() => match never {},
        _ = terminate.recv() => info!("SIGTERM: draining"),
        _ = interrupt.recv() => info!("SIGINT: draining"),
        never = reload.attend() => match never {},
    }
    accepting.cancel();
    manager::stopping("waiting for sessions to end");
    acceptors.wait().await;
    let drained = async {
        let patience = HANDOVER.min(config.limits.drain / 2);
        if tokio::time::timeout(patience, let_in(&gate, &connections))
            .await
            .is_err()
        {
            info!("some connections have not signed in: they are not waited for");
        }
        drain(&rooms.registry, &connections, &config.limits, &stop).await
    };
    let last = tokio::select! {
        last = drained => last,
        never = manager::keep_alive() => match never {},
    };
    if tokio::time::timeout_at(last, pages.wait()).await.is_err() {
        warn!("whoever reads the metrics did not end in time");
    }
    // A refresh token that was used must not be lost: half of what is left is for it.
    let checked = async {
        rechecks.wait().await;
        rooms.sign_ins.close().await;
    };
    let left = last.saturating_duration_since(Instant::now());
    let patience = (left / 2).max(LAST_RECHECKS);
    if tokio::time::timeout(patience, checked).await.is_err() {
        warn!("re-checks with the provider did not end in time");
    }
    if let Some(path) = &options.ready_file
        && let Err(error) = std::fs::remove_file(path)
    {
        warn!(%error, "the ready file stays");
    }
    let finished = async {
        reloads.close();
        reloads.wait().await;
        // After the last session: what it left is ended, and the audit log told.
        keeping.cancel();
        keepers.wait().await;
        delivering.cancel();
        deliveries.wait().await;
        note(&rooms, Event::Stopped);
        if let Err(error) = rooms.audit.flush().await {
            error!(%error, "the last events are not in the audit log");
        }
        rooms.recorder.clone().close().await;
    };
    // A recorder that is left behind goes on until every file is finished. However long the rest took,
    // the last events have their time.
    let last = last.max(Instant::now() + LAST_EVENTS);
    match tokio::time::timeout_at(last, finished).await {
        Ok(()) => info!("stopped"),
        Err(_) => warn!("stopped: not everything ended within limits.shutdown"),
    }
    Ok(())
}

/// Tells the audit log what concerns the whole server. Where it cannot be told, nobody signs in either.
fn note(rooms: &Rooms, event: Event) {
    if let Err(error) = rooms.audit.record_soon(event) {
        error!(%error, "an event is not in the audit log");
    }
}

/// The sockets that a service manager has handed over, which stay open while this process is
/// replaced, or else those of the configuration.
async fn listeners(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    let given = manager::sockets().map_err(ServeError::Sockets)?;
    if !given.is_empty() {
        info!(
            count = given.len(),
            "listening on sockets that were handed over"
        );
        let each = given.into_iter().map(TcpListener::from_std);
        return each.collect::<Result<_, _>>().map_err(ServeError::Sockets);
    }
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(*address).await?);
    }
    Ok(listeners)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServeError::Bind { address, source })
}

/// Opens every room that a connection needs; anything that protects and cannot be opened keeps
/// the server from starting.
async fn open(config: &Config, addresses: &[SocketAddr]) -> Result<Rooms, ServeError> {
    let room = |error: &dyn std::fmt::Display| ServeError::Room(error.to_string());
    let write = |path: &PathBuf, source| ServeError::Write {
        path: path.clone(),
        source,
    };
    private_dir(&config.state_dir).map_err(|source| write(&config.state_dir, source))?;
    let user_ca = match &config.user_ca {
        Some(path) => Some(UserCa::load(path).map_err(|error| room(&error))?),
        None => None,
    };
    let host_ca = match &config.host_ca {
        Some(path) => Some(HostCa::load(path).map_err(|error| room(&error))?),
        None => None,
    };
    let inventory =
        Inventory::load(&config.targets, user_ca.as_ref()).map_err(|error| room(&error))?;
    let access = Access::load(
        &config.policies,
        Arc::new(inventory),
        StableKey::File(&config.masks_key),
    )
    .map_err(|error| room(&error))?;
    let hooks =
        Hooks::open(&config.notify, &config.webhooks).map_err(|problems| room(&problems))?;
    let recorder = recorder(config).await?;
    recorder.only_while(Watch::new(&config.forward));
    let audit = Audit::new(recorder.clone());
    let store =
        Store::open(&config.state_dir.join("store.sqlite")).map_err(|error| room(&error))?;
    let ledger = Ledger::start(store.clone(), log_of(audit.clone()))
        .await
        .map_err(|error| room(&error))?;
    // Before anything that may have something to tell.
    let notifier = Notifier::start(hooks, config.name.clone(), store.clone(), ledger.clone())
        .await
        .map_err(|error| room(&error))?;
    let requests = Requests::new(config.requests.clone(), store.clone(), ledger.clone());
    let holds = Holds::start(
        config.holds.clone(),
        &config.state_dir.join("held"),
        access.holds(),
        store.clone(),
        ledger,
    )
    .await
    .map_err(|error| room(&error))?;
    let seal = match &config.store_key {
        Some(path) => SealKey::load(path),
        None => {
            warn!("no store_key: after a restart, users sign in again once a re-check is due");
            SealKey::ephemeral()
        }
    };
    let seal = seal.map_err(|error| room(&error))?;
    let registry = Registry::default();
    let world = World {
        tell: Arc::new(news::teller(audit.clone(), registry.clone())),
        ..World::default()
    };
    let sign_ins = SignIns::new(config.oidc.clone(), &config.limits, store, seal, world)
        .map_err(|error| room(&error))?;
    let host_keys = crate::ssh::host_keys(&config.host_keys)?;
    Ok(Rooms {
        name: config.name.clone(),
        port: addresses.first().map_or(22, SocketAddr::port),
        host_keys: host_keys
            .iter()
            .map(|key| key.public_key().clone())
            .collect::<Vec<keys::PublicKey>>(),
        limits: config.limits.clone(),
        require_key: config.oidc.require_key,
        sign_ins,
        access: Current::new(access),
        on_revoke: config.on_revoke,
        user_ca,
        host_ca,
        recorder,
        audit,
        registry,
        holds,
        requests,
        notifier,
        approval: config.approval.clone(),
    })
}

async fn recorder(config: &Config) -> Result<Recorder, ServeError> {
    let agreed = Agreed::of(&config.recording);
    let started = match &config.recording.socket {
        Some(socket) => Recorder::connect_with(socket, agreed).await,
        None => {
            let program = std::env::current_exe().map_err(ServeError::Runtime)?;
            let recording = &config.recording;
            let mut args = Vec::new();
            if let Some(age) = recording.keep.age {
                args.extend(["--keep".into(), format!("{}s", age.as_secs()).into()]);
            }
            if let Some(bytes) = recording.keep.bytes {
                args.extend(["--keep-bytes".into(), bytes.to_string().into()]);
            }
            for place in &recording.checkpoints_to {
                args.extend(["--checkpoints-to".into(), place.to_string().into()]);
            }
            Recorder::spawn_embedded_with(&program, &recording.dir, agreed, args).await
        }
    };
    started.map_err(|error| ServeError::Room(error.to_string()))
}

/// One listener's accept loop.
struct Doorman {
    server: Arc<Server>,
    gate: Gate,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Doorman {
    async fn accept(self, listener: TcpListener, accepting: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = accepting.cancelled() => return,
            };
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if is_the_connections(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: wait for some to come back.
                    error!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        match self.gate.admit(peer.ip()) {
            Some(pass) => {
                let server = self.server.clone();
                self.connections
                    .spawn(server.run(socket, peer, pass, self.stop.clone()));
            }
            // The newest is refused; whoever is in is never touched.
            None => {
                crate::metrics::global().connection_refused();
                info!(%peer, "too many connections before sign-in");
            }
        }
    }
}

/// Waits for the connections that were accepted and have not begun a session, so that a client that
/// came a moment before a restart is not cut for it. Returns at once where there is none.
async fn let_in(gate: &Gate, connections: &TaskTracker) {
    if connections.is_empty() {
        return;
    }
    while gate.len() > 0 {
        tokio::time::sleep(LOOK).await;
    }
    // Signed in, a client asks for its session at once.
    tokio::time::sleep(FIRST_SESSION).await;
}

/// Waits for sessions, then ends them; gives the time at which the process has to be over.
async fn drain(
    registry: &Registry,
    connections: &TaskTracker,
    limits: &Limits,
    stop: &CancellationToken,
) -> Instant {
    connections.close();
    registry.close();
    let deadline = Instant::now() + limits.drain;
    // Connections without a session have nothing to lose.
    if registry.len() > 0 {
        info!(sessions = registry.len(), "waiting for sessions");
        let empty = tokio::time::timeout_at(deadline, registry.empty()).await;
        if empty.is_err() {
            info!(sessions = registry.len(), "ending sessions");
        }
    }
    stop.cancel();
    let last = Instant::now() + limits.shutdown;
    let patience = limits.shutdown / 10 * LAST_CONNECTIONS;
    if tokio::time::timeout(patience, connections.wait())
        .await
        .is_err()
    {
        warn!(
            connections = connections.len(),
            "connections did not end in time"
        );
    }
    last
}

/// Errors of `accept` that belong to the connection that failed, not to the listener (accept(2)).
fn is_the_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock
    )
}

fn private_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn write_ready(path: &std::path::Path, addresses: &[SocketAddr]) -> io::Result<()> {
    let ready = serde_json::json!({ "addresses": addresses, "pid": std::process::id() });
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, format!("{ready}\n"))?;
    std::fs::rename(&temporary, path)
}

/// Connections on their way to a session are waited for so long, or for half of `limits.drain`.
const HANDOVER: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
/// Between a client's sign-in and its first session.
const FIRST_SESSION: Duration = Duration::from_millis(300);
/// Pause after an `accept` that failed for want of descriptors or memory.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// After the drain, connections have so many tenths of `limits.shutdown` to end.
const LAST_CONNECTIONS: u32 = 6;
/// What the provider is being asked has at least so long after that.
const LAST_RECHECKS: Duration = Duration::from_secs(1);
/// And the last events and recordings.
const LAST_EVENTS: Duration = Duration::from_secs(2);
