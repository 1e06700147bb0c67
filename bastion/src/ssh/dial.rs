//! The connection to a target: one for each session, made with a `Grant` only.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, ChannelOpenHandle, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, SshId};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::channel::{Pty, TargetEnd};
use super::flow::Bounds;
use super::rekey::{Exchanges, Seen};
use super::stream::{Socket, Wire};
use super::{PACKET, algorithms};
use crate::access::Grant;
use crate::config::Limits;
use crate::target::{Credential, HostKeyError, HostKeys, UserCa};

/// What is asked of the target on the channel.
#[derive(Clone, Debug)]
pub(crate) enum Opening {
    /// The login's shell.
    Shell,
    /// A command, byte for byte as the client sent it.
    Exec(Vec<u8>),
    /// The sftp subsystem.
    Sftp,
    /// Bytes from and to a place that the target reaches.
    Forward(Place),
}

/// Where a forwarding leads, as the target sees it. Nothing here ever goes there by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    at: At,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Port { host: String, port: u16 },
    Socket,
}

impl Place {
    /// A port (RFC 4254, section 7.2). `None` where that is no host or no port.
    pub(super) fn port(host: &str, port: u32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let fine =
            (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic());
        fine.then(|| Self {
            text: if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            },
            at: At::Port {
                host: host.to_owned(),
                port,
            },
        })
    }

    /// A socket by its path. `None` where that is no path.
    pub(super) fn socket(path: &str) -> Option<Self> {
        let fine = path.starts_with('/') && path.len() <= PATH_MAX && !path.contains('\0');
        fine.then(|| Self {
            at: At::Socket,
            text: path.to_owned(),
        })
    }

    /// `HOST:PORT`, or the path.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// What is asked of a target beside that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) opening: &'a Opening,
    pub(crate) pty: Option<&'a Pty>,
    pub(crate) env: &'a [(String, String)],
    /// Whether the target may ask the client's agent.
    pub(crate) agent: bool,
}

/// Connects to the granted target, verifies it, signs in there with the stored credential, and
/// starts what is asked for. Everything together takes at most `limits.target_connect`.
pub(crate) async fn dial(
    grant: &Grant,
    ca: Option<&UserCa>,
    wanted: Wanted<'_>,
    limits: &Limits,
) -> Result<TargetEnd, DialError> {
    tokio::time::timeout(limits.target_connect, async {
        let address = grant.target().address();
        let keys = grant.target().host_keys();
        let (opened, agents) = mpsc::channel(AGENTS_WAITING);
        let agent = wanted.agent.then_some(opened);
        let (mut connection, seen, stop) =
            connect(address.host(), address.port(), keys, agent, limits).await?;
        authenticate(&mut connection, grant, ca).await?;
        if !seen.first() {
            return Err(DialError::Protocol(russh::Error::Inconsistent));
        }
        let channel = match wanted.opening {
            Opening::Shell | Opening::Exec(_) | Opening::Sftp => {
                connection.channel_open_session().await
            }
            Opening::Forward(place) => match &place.at {
                At::Port { host, port } => {
                    let port = u32::from(*port);
                    connection
                        .channel_open_direct_tcpip(host.as_str(), port, ORIGINATOR, 0)
                        .await
                }
                At::Socket => {
                    connection
                        .channel_open_direct_streamlocal(place.as_str())
                        .await
                }
            },
        }
        .map_err(DialError::Refused)?;
        let connection = Arc::new(TargetConnection {
            connection,
            _stop: stop.drop_guard(),
        });
        let mut end = TargetEnd::new(channel, connection.clone());
        start(&mut end, &wanted).await?;
        if wanted.agent {
            end.agents = Some(AgentChannels {
                opened: agents,
                connection,
            });
        }
        Ok(end)
    })
    .await
    .map_err(|_| DialError::Slow)?
}

/// The host keys that a machine shows, one for each kind of key that it has; nothing of them is
/// trusted.
pub async fn host_keys_of(
    host: &str,
    port: u16,
    within: Duration,
) -> Result<Vec<PublicKey>, DialError> {
    let mut keys = Vec::new();
    let mut failure = None;
    for algorithm in algorithms().key.iter() {
        let shown = Arc::new(Mutex::new(None));
        let mut config = config(&Limits::default());
        config.preferred.key = vec![algorithm.clone()].into();
        let handler = Prober {
            shown: shown.clone(),
        };
        let attempt = async {
            let socket = tcp(host, port).await?;
            let stop = CancellationToken::new();
            let config = Arc::new(config);
            let (exchanges, _) = Exchanges::of(&config);
            let socket = Arc::new(Wire::Tcp(socket));
            let socket =
                Socket::new(socket, exchanges, within, &stop).map_err(DialError::Connect)?;
            // It always ends with an error: the prober accepts no key.
            client::connect_stream(config, socket, handler)
                .await
                .map_err(DialError::Protocol)
        };
        match tokio::time::timeout(within, attempt).await {
            Ok(Err(error @ DialError::Connect(_))) => return Err(error),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failure = Some(error),
            Err(_) => return Err(DialError::Slow),
        }
        let key: Option<PublicKey> = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(key) = key
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }
    match failure {
        Some(error) if keys.is_empty() => Err(error),
        _ => Ok(keys),
    }
}

/// Why there is no session on the target.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// Not within the time given.
    #[error("connecting and signing in took too long")]
    Slow,
    /// Not the key or certificate that is configured.
    #[error("the target's identity: {0}")]
    HostKey(HostKeyError),
    /// Anything else that ends an SSH connection.
    #[error("the SSH connection failed")]
    Protocol(#[source] russh::Error),
    /// The target refuses the stored credential.
    #[error("the target does not accept the stored credential")]
    Credential,
    /// A certificate is asked for and there is no user CA.
    #[error("no user CA is configured, and the login asks for a certificate")]
    NoCa,
    /// No certificate could be made.
    #[error("cannot mint a certificate: {0}")]
    Mint(String),
    /// The target opens no channel.
    #[error("the target refuses a channel")]
    Refused(#[source] russh::Error),
    /// The target refuses what is asked for on the channel.
    #[error("the target refuses the {0}")]
    Request(&'static str),
}

impl DialError {
    /// The line that the client is shown; keys and addresses stay in the log.
    pub fn notice(&self) -> &'static str {
        match self {
            Self::Connect(_) => "the target is not reachable",
            Self::Slow => "the target does not answer in time",
            Self::HostKey(_) => {
                "the target's identity could not be verified: its host key is not the one configured; tell the operator"
            }
            Self::Protocol(_) => "the SSH connection to the target failed",
            Self::Credential => {
                "the target does not accept the stored credential; tell the operator"
            }
            Self::NoCa | Self::Mint(_) => {
                "no certificate can be made for the target; tell the operator"
            }
            Self::Refused(_) => "the target refuses to open a channel",
            Self::Request("pty") => "the target refuses a terminal",
            Self::Request(_) => "the target refuses the request",
        }
    }
}

/// The channels to the client's agent that a target opens, as long as this lives.
#[derive(Debug)]
pub(crate) struct AgentChannels {
    opened: mpsc::Receiver<Opened>,
    connection: Arc<TargetConnection>,
}

impl AgentChannels {
    /// The next one that the target asks for; `None` once its connection has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<AgentChannel> {
        let Opened { channel, reply } = self.opened.recv().await?;
        Some(AgentChannel {
            end: TargetEnd::new(channel, self.connection.clone()),
            reply,
        })
    }
}

/// A channel to the client's agent that a target asks for. Dropping it is a refusal.
pub(crate) struct AgentChannel {
    end: TargetEnd,
    reply: ChannelOpenHandle,
}

impl AgentChannel {
    /// Lets the target have it.
    pub(crate) async fn accept(self) -> TargetEnd {
        self.reply.accept().await;
        self.end
    }
}

/// What a target has opened and nobody has answered.
struct Opened {
    channel: Channel<client::Msg>,
    reply: ChannelOpenHandle,
}

/// Ends the connection to a target when it is dropped.
pub(super) struct TargetConnection {
    connection: Handle<Verifier>,
    _stop: DropGuard,
}

impl std::fmt::Debug for TargetConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetConnection").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl TargetConnection {
    /// Returns once the target has answered, or is gone.
    pub(super) async fn ping(&self) {
        self.connection.send_ping().await.unwrap_or(());
    }
}

async fn connect(
    host: &str,
    port: u16,
    keys: &HostKeys,
    agents: Option<mpsc::Sender<Opened>>,
    limits: &Limits,
) -> Result<(Handle<Verifier>, Arc<Seen>, CancellationToken), DialError> {
    let mut config = config(limits);
    config.preferred.host_key_certificates = certificate_algorithms(keys).into();
    let pinned = pinned_algorithms(keys);
    if !pinned.is_empty() {
        config.preferred.key = pinned.into();
    }
    let socket = tcp(host, port).await?;
    let stop = CancellationToken::new();
    let stall = limits.target_connect.max(limits.write_stall);
    let config = Arc::new(config);
    let (exchanges, seen) = Exchanges::of(&config);
    let socket = Arc::new(Wire::Tcp(socket));
    let socket = Socket::new(socket, exchanges, stall, &stop).map_err(DialError::Connect)?;
    let refused = Arc::new(Mutex::new(None));
    let verifier = Verifier {
        host: host.to_owned(),
        keys: keys.clone(),
        refused: refused.clone(),
        agents,
    };
    match client::connect_stream(config, socket, verifier).await {
        Ok(connection) => Ok((connection, seen, stop)),
        Err(error) => {
            let refused = refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            Err(refused.map_or(DialError::Protocol(error), DialError::HostKey))
        }
    }
}

/// The kinds of the pinned keys, so that the target proves one of these and not another of its
/// keys; a pinned RSA key signs with SHA-2.
fn pinned_algorithms(keys: &HostKeys) -> Vec<Algorithm> {
    let pinned = |algorithm: &&Algorithm| {
        keys.pinned()
            .iter()
            .any(|key| match (key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (key, algorithm) => key == **algorithm,
            })
    };
    algorithms().key.iter().filter(pinned).cloned().collect()
}

/// Certificates are asked for only where there is an authority to judge them.
fn certificate_algorithms(keys: &HostKeys) -> Vec<Algorithm> {
    if keys.authorities().is_empty() {
        Vec::new()
    } else {
        algorithms().key.into_owned()
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, DialError> {
    match host.parse() {
        Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await,
        Err(_) => TcpStream::connect((host, port)).await,
    }
    .map_err(DialError::Connect)
}

fn config(limits: &Limits) -> client::Config {
    client::Config {
        client_id: SshId::Standard("SSH-2.0-bastion".into()),
        limits: russh::Limits {
            rekey_write_limit: REKEY,
            rekey_read_limit: REKEY,
            rekey_time_limit: Duration::MAX,
        },
        window_size: Bounds::of(limits).window,
        maximum_packet_size: PACKET,
        // 1 MiB of the largest packets; it blocks only this connection.
        channel_buffer_size: 32,
        preferred: algorithms(),
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 4,
        nodelay: true,
        ..client::Config::default()
    }
}

async fn authenticate(
    connection: &mut Handle<Verifier>,
    grant: &Grant,
    ca: Option<&UserCa>,
) -> Result<(), DialError> {
    let login = grant.login().name();
    let result = match grant.credential() {
        Credential::Key(key) => {
            let hash = rsa_hash(connection, key).await?;
            connection
                .authenticate_publickey(login, PrivateKeyWithHashAlg::new(key.clone(), hash))
                .await
        }
        Credential::Certificate => {
            let ca = ca.ok_or(DialError::NoCa)?;
            let (key, certificate) = ca
                .mint(login, grant.user_name())
                .map_err(|error| DialError::Mint(error.to_string()))?;
            connection
                .authenticate_openssh_cert(login, Arc::new(key), certificate)
                .await
        }
        Credential::Password(password) => {
            match connection
                .authenticate_password(login, password.expose())
                .await
            {
                Ok(AuthResult::Failure { .. }) => {
                    return keyboard_interactive(connection, login, password.expose()).await;
                }
                result => result,
            }
        }
    };
    match result.map_err(DialError::Protocol)? {
        AuthResult::Success => Ok(()),
        AuthResult::Failure { .. } => Err(DialError::Credential),
    }
}

/// Answers one hidden prompt with the stored password; nothing of it reaches the user.
async fn keyboard_interactive(
    connection: &mut Handle<Verifier>,
    login: &str,
    password: &str,
) -> Result<(), DialError> {
    let mut answer = connection
        .authenticate_keyboard_interactive_start(login, None)
        .await
        .map_err(DialError::Protocol)?;
    let mut given = false;
    for _ in 0..MAX_ROUNDS {
        let responses = match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(()),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                match prompts.as_slice() {
                    [] => Vec::new(),
                    [prompt] if !prompt.echo && !given => {
                        given = true;
                        vec![password.to_owned()]
                    }
                    _ => return Err(DialError::Credential),
                }
            }
            KeyboardInteractiveAuthResponse::Failure { .. } => return Err(DialError::Credential),
        };
        answer = connection
            .authenticate_keyboard_interactive_respond(responses)
            .await
            .map_err(DialError::Protocol)?;
    }
    Err(DialError::Credential)
}

async fn rsa_hash(
    connection: &Handle<Verifier>,
    key: &PrivateKey,
) -> Result<Option<HashAlg>, DialError> {
    if !matches!(key.algorithm(), Algorithm::Rsa { .. }) {
        return Ok(None);
    }
    let best = connection
        .best_supported_rsa_hash()
        .await
        .map_err(DialError::Protocol)?;
    // Never SHA-1: a server that names nothing is asked for SHA-512.
    Ok(Some(best.flatten().unwrap_or(HashAlg::Sha512)))
}

async fn start(end: &mut TargetEnd, wanted: &Wanted<'_>) -> Result<(), DialError> {
    let channel = &end.writer.half;
    if wanted.agent {
        // Without a reply, as OpenSSH does: a target that forwards no agents runs on.
        channel
            .agent_forward(false)
            .await
            .map_err(DialError::Refused)?;
    }
    if let Some(pty) = wanted.pty {
        channel
            .request_pty(
                true,
                &pty.term,
                pty.size.cols.into(),
                pty.size.rows.into(),
                pty.size.width.into(),
                pty.size.height.into(),
                &pty.modes,
            )
            .await
            .map_err(DialError::Refused)?;
        answered(end, "pty").await?;
    }
    let channel = &end.writer.half;
    for (name, value) in wanted.env {
        // Without a reply, as OpenSSH does: a server that refuses a variable runs on.
        channel
            .set_env(false, name, value)
            .await
            .map_err(DialError::Refused)?;
    }
    let (asked, what) = match wanted.opening {
        Opening::Shell => (channel.request_shell(true).await, "shell"),
        Opening::Exec(command) => (channel.exec(true, command.clone()).await, "command"),
        Opening::Sftp => (
            channel.request_subsystem(true, "sftp").await,
            "sftp subsystem",
        ),
        // It is open, and that is all.
        Opening::Forward(_) => return Ok(()),
    };
    asked.map_err(DialError::Refused)?;
    answered(end, what).await
}

/// Waits for the answer to the one request that is open.
async fn answered(end: &mut TargetEnd, what: &'static str) -> Result<(), DialError> {
    loop {
        match end.reader.half.wait().await {
            Some(russh::ChannelMsg::Success) => return Ok(()),
            Some(russh::ChannelMsg::WindowAdjusted { .. }) => {}
            // Output before the answer has no place in the protocol.
            Some(_) | None => return Err(DialError::Request(what)),
        }
    }
}

/// Decides about the target's identity and refuses whatever it opens towards us, but channels to
/// the client's agent where those were asked for and granted.
struct Verifier {
    host: String,
    keys: HostKeys,
    refused: Arc<Mutex<Option<HostKeyError>>>,
    agents: Option<mpsc::Sender<Opened>>,
}

impl client::Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let verdict = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.keys.accepts(&self.host, key),
            PublicKeyOrCertificate::Certificate(certificate) => {
                self.keys
                    .accepts_certificate(&self.host, certificate, jiff::Timestamp::now())
            }
        };
        match verdict {
            Ok(()) => Ok(true),
            Err(error) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Ok(false)
            }
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        match &self.agents {
            // One too many is dropped, which refuses it.
            Some(agents) => {
                drop(agents.try_send(Opened { channel, reply }));
                Ok(())
            }
            None => refuse(reply).await,
        }
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ChannelId, _: &str) -> bool {
        // Refused below, once: where this says no, the library refuses it twice, and the second
        // answer is one to no question, which ends the connection.
        true
    }

    async fn server_channel_open_unknown(
        &mut self,
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }
}

async fn refuse(reply: ChannelOpenHandle) -> Result<(), russh::Error> {
    reply
        .reject(ChannelOpenFailure::AdministrativelyProhibited)
        .await;
    Ok(())
}

/// Keeps the first key that a machine shows, and trusts none.
struct Prober {
    shown: Arc<Mutex<Option<PublicKey>>>,
}

impl client::Handler for Prober {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        }
        Ok(false)
    }
}

/// Bytes after which we ourselves would ask for new keys: far below what AES-GCM allows, and so
/// high that rekeying is left to the peers. One that we start while a client uploads ends the
/// connection (`docs/decisions.md`).
pub(super) const REKEY: usize = 1 << 36;
/// Who has connected to the bastion is not the target's business.
const ORIGINATOR: &str = "127.0.0.1";
/// The longest name of a host (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 255;
/// The longest path (`PATH_MAX` of Linux).
const PATH_MAX: usize = 4096;
/// Channels to an agent that a target has opened and nobody has looked at.
const AGENTS_WAITING: usize = 4;
/// Rounds of keyboard-interactive that a target may ask for.
const MAX_ROUNDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_port_or_a_path() {
        let port = |host: &str, port| Place::port(host, port).map(|place| place.text);
        assert_eq!(port("db-1", 5432).as_deref(), Some("db-1:5432"));
        assert_eq!(port("::1", 65535).as_deref(), Some("[::1]:65535"));
        for (host, number) in [
            ("", 22),
            ("a b", 22),
            ("a\n", 22),
            ("\u{e9}", 22),
            ("db-1", 0),
            ("db-1", 65536),
            (&"x".repeat(256), 22),
        ] {
            assert_eq!(port(host, number), None, "{host:?} {number}");
        }
        let socket = |path: &str| Place::socket(path).map(|place| place.text);
        assert_eq!(socket("/run/x y").as_deref(), Some("/run/x y"));
        for path in ["", "x", "/a\0b", &format!("/{}", "x".repeat(4096))] {
            assert_eq!(socket(path), None, "{path:?}");
        }
    }
}
