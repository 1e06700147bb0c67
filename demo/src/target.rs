//! An SSH server that stands for the company's machines: shell, commands and SFTP in a throw-away
//! home with sample data.
//!
//! It lets in only keys and certificates that it was told of, and only on loopback. What it runs has
//! the rights of whoever started the demo: it is a stage, not a cage.

mod home;
mod process;
mod relay;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, RunningSession, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Disconnect, MethodKind, MethodSet, Pty};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use home::furnish;
use process::{Size, Start, Terminal, Work};
use relay::Backlog;

/// What a target is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The home in which everything runs.
    pub home: PathBuf,
    /// A folder that comes first in `PATH`, with the command `sql`.
    pub commands: PathBuf,
    /// The demo's executable, which gives a shell its terminal (see [`crate::role::terminal`]).
    pub program: PathBuf,
    /// The server's key.
    pub host_key: PrivateKey,
    /// The logins, and the keys that open each one. The bastion's user CA opens all of them.
    pub logins: HashMap<String, Vec<PublicKey>>,
    /// The CA whose user certificates are accepted; their principal must be the login.
    pub user_ca: Option<PublicKey>,
}

/// A running target. Dropping it ends it and what runs on it.
#[derive(Debug)]
pub struct Target {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Target {
    /// Starts a target on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(settings), stop.clone()));
        Ok(Self {
            address,
            stop,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the target and every process on it.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(Duration::from_secs(3), ended).await);
    }
}

/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 64;
/// The window of a channel, in bytes.
const WINDOW: u32 = 2 * 1024 * 1024;

async fn serve(listener: TcpListener, settings: Arc<Settings>, stop: CancellationToken) {
    let config = Arc::new(Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![settings.host_key.clone()],
        window_size: WINDOW,
        // Room for a whole window of small packets: a channel never blocks its connection.
        channel_buffer_size: 1 << 20,
        event_buffer_size: 64,
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS => {
                    let connection = Connection::new(Arc::clone(&settings));
                    connections.spawn(converse(stream, Arc::clone(&config), connection, stop.clone()));
                }
                Ok(_) => {}
                // Out of descriptors, most likely: a pause lets others end.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn converse(
    stream: TcpStream,
    config: Arc<Config>,
    connection: Connection,
    stop: CancellationToken,
) {
    drop(stream.set_nodelay(true));
    let session: Option<RunningSession<Connection>> = tokio::select! {
        () = stop.cancelled() => None,
        session = russh::server::run_stream(config, stream, connection) => session.ok(),
    };
    let Some(mut session) = session else { return };
    tokio::select! {
        // How a client ended its connection is its own affair.
        _ = &mut session => {}
        () = stop.cancelled() => {
            let bye = "the demo ends".to_owned();
            drop(session.handle().disconnect(Disconnect::ByApplication, bye, String::new()).await);
            drop(tokio::time::timeout(Duration::from_secs(1), session).await);
        }
    }
}

/// One connection; its processes end with it.
struct Connection {
    settings: Arc<Settings>,
    login: String,
    waiting: HashMap<ChannelId, Waiting>,
    running: JoinSet<()>,
    backlog: Backlog,
}

/// A channel that has not said what to run.
struct Waiting {
    channel: Channel<Msg>,
    environment: Vec<(String, String)>,
    terminal: Option<Terminal>,
}

/// Channels and variables of one connection.
const CHANNELS: usize = 32;
const VARIABLES: usize = 32;

impl Connection {
    fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            login: String::new(),
            waiting: HashMap::new(),
            running: JoinSet::new(),
            backlog: Backlog::default(),
        }
    }

    fn accept(&mut self, login: &str) -> Auth {
        login.clone_into(&mut self.login);
        Auth::Accept
    }

    /// The checks that are left to the application: CA, type, principals, options, time
    /// (PROTOCOL.certkeys of OpenSSH).
    fn admits(&self, login: &str, certificate: &Certificate) -> bool {
        let Some(ca) = &self.settings.user_ca else {
            return false;
        };
        certificate.cert_type() == CertType::User
            && certificate
                .valid_principals()
                .iter()
                .any(|principal| principal == login)
            && certificate.critical_options().is_empty()
            && certificate
                .validate([&ca.fingerprint(HashAlg::Sha256)])
                .is_ok()
    }

    /// Starts `work` on a channel, once. `false` when that is not possible.
    fn run(&mut self, id: ChannelId, work: Work, session: &Session) -> bool {
        let Some(waiting) = self.waiting.remove(&id) else {
            return false;
        };
        let start = Start {
            login: self.login.clone(),
            environment: waiting.environment,
            terminal: waiting.terminal,
            work,
        };
        let Ok((job, ends)) = process::start(&self.settings, &start) else {
            return false;
        };
        let (handle, backlog) = (session.handle(), self.backlog.clone());
        self.running
            .spawn(relay::run(waiting.channel, handle, job, ends, backlog));
        true
    }

    fn answer(id: ChannelId, done: bool, session: &mut Session) -> Result<(), russh::Error> {
        if done {
            session.channel_success(id)
        } else {
            session.channel_failure(id)
        }
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let keys = self
            .settings
            .logins
            .get(user)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let known = keys
            .iter()
            .any(|known| known.key_data() == key.public_key.key_data());
        Ok(if known {
            self.accept(user)
        } else {
            Auth::reject()
        })
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        let known = self.settings.logins.contains_key(user) && self.admits(user, certificate);
        Ok(if known {
            self.accept(user)
        } else {
            Auth::reject()
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        while self.running.try_join_next().is_some() {}
        // Dropping the handle refuses.
        if self.waiting.len() + self.running.len() < CHANNELS {
            let waiting = Waiting {
                channel,
                environment: Vec::new(),
                terminal: None,
            };
            self.waiting.insert(waiting.channel.id(), waiting);
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.waiting.remove(&channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let waiting = self.waiting.get_mut(&channel).filter(|_| term.len() <= 64);
        let done = waiting.is_some();
        if let Some(waiting) = waiting {
            let size = Size { columns, rows };
            let modes = modes.to_vec();
            waiting.terminal = Some(Terminal {
                term: term.to_owned(),
                size,
                modes,
            });
        }
        Self::answer(channel, done, session)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let allowed = matches!(name, "LANG" | "COLORTERM" | "TZ") || name.starts_with("LC_");
        let plain = value.len() <= 64
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._@:/+-".contains(&b))
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let waiting = self
            .waiting
            .get_mut(&channel)
            .filter(|waiting| allowed && plain && waiting.environment.len() < VARIABLES);
        let done = waiting.is_some();
        if let Some(waiting) = waiting {
            waiting
                .environment
                .push((name.to_owned(), value.to_owned()));
        }
        Self::answer(channel, done, session)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let done = self.run(channel, Work::Shell, session);
        Self::answer(channel, done, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let done =
            !command.contains(&0) && self.run(channel, Work::Exec(command.to_vec()), session);
        Self::answer(channel, done, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let done = match sftp_server().filter(|_| name == "sftp") {
            Some(server) => self.run(channel, Work::Sftp(server), session),
            None => false,
        };
        Self::answer(channel, done, session)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn agent_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<bool, Self::Error> {
        session.channel_failure(channel)?;
        Ok(false)
    }

    /// Narrows the window as processes fall behind. Two bytes at least: with a window of one the
    /// peer would never hear of a wider one.
    fn adjust_window(&mut self, _channel: ChannelId, _current: u32) -> u32 {
        let backlog = u32::try_from(self.backlog.bytes()).unwrap_or(u32::MAX);
        (2 * WINDOW).saturating_sub(backlog).clamp(2, WINDOW)
    }
}

/// OpenSSH's SFTP server, where it is installed.
#[must_use]
pub fn sftp_server() -> Option<PathBuf> {
    [
        "/usr/lib/openssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
        "/usr/lib/ssh/sftp-server",
    ]
    .into_iter()
    .map(Path::new)
    .find(|path| path.exists())
    .map(Path::to_owned)
}
