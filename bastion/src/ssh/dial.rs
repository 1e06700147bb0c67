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
use tokio_util::sync::{CancellationToken, DropGuard};

use super::channel::{Pty, TargetEnd, TargetReader, TargetWriter};
use super::stream::Socket;
use super::{PACKET, WINDOW, algorithms};
use crate::access::Grant;
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
}

/// Connects to the granted target, verifies it, signs in there with the stored credential, and
/// starts what is asked for. Everything together takes at most `within`.
pub(crate) async fn dial(
    grant: &Grant,
    ca: Option<&UserCa>,
    opening: &Opening,
    pty: Option<&Pty>,
    env: &[(String, String)],
    within: Duration,
) -> Result<TargetEnd, DialError> {
    tokio::time::timeout(within, async {
        let address = grant.target().address();
        let keys = grant.target().host_keys();
        let (mut connection, stop) = connect(address.host(), address.port(), keys, within).await?;
        authenticate(&mut connection, grant, ca).await?;
        let channel = connection
            .channel_open_session()
            .await
            .map_err(DialError::Refused)?;
        let (reader, writer) = channel.split();
        let mut end = TargetEnd {
            reader: TargetReader { half: reader },
            writer: TargetWriter {
                half: writer,
                connection: TargetConnection {
                    connection,
                    _stop: stop.drop_guard(),
                },
            },
        };
        start(&mut end, opening, pty, env).await?;
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
        let mut config = config();
        config.preferred.key = vec![algorithm.clone()].into();
        let handler = Prober {
            shown: shown.clone(),
        };
        let attempt = async {
            let socket = tcp(host, port).await?;
            let stop = CancellationToken::new();
            let socket =
                Socket::new(Arc::new(socket), within, &stop).map_err(DialError::Connect)?;
            // It always ends with an error: the prober accepts no key.
            client::connect_stream(Arc::new(config), socket, handler)
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

/// Ends the connection to a target when it is dropped.
pub(super) struct TargetConnection {
    connection: Handle<Verifier>,
    _stop: DropGuard,
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
    within: Duration,
) -> Result<(Handle<Verifier>, CancellationToken), DialError> {
    let mut config = config();
    config.preferred.host_key_certificates = certificate_algorithms(keys).into();
    let pinned = pinned_algorithms(keys);
    if !pinned.is_empty() {
        config.preferred.key = pinned.into();
    }
    let socket = tcp(host, port).await?;
    let stop = CancellationToken::new();
    let socket =
        Socket::new(Arc::new(socket), within.max(STALL), &stop).map_err(DialError::Connect)?;
    let refused = Arc::new(Mutex::new(None));
    let verifier = Verifier {
        host: host.to_owned(),
        keys: keys.clone(),
        refused: refused.clone(),
    };
    match client::connect_stream(Arc::new(config), socket, verifier).await {
        Ok(connection) => Ok((connection, stop)),
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

fn config() -> client::Config {
    client::Config {
        client_id: SshId::Standard("SSH-2.0-bastion".into()),
        limits: russh::Limits {
            rekey_write_limit: REKEY,
            rekey_read_limit: REKEY,
            rekey_time_limit: Duration::MAX,
        },
        window_size: WINDOW,
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

async fn start(
    end: &mut TargetEnd,
    opening: &Opening,
    pty: Option<&Pty>,
    env: &[(String, String)],
) -> Result<(), DialError> {
    let channel = &end.writer.half;
    if let Some(pty) = pty {
        channel
            .request_pty(
                true,
                &pty.term,
                pty.cols.into(),
                pty.rows.into(),
                0,
                0,
                &pty.modes,
            )
            .await
            .map_err(DialError::Refused)?;
        answered(end, "pty").await?;
    }
    let channel = &end.writer.half;
    for (name, value) in env {
        // Without a reply, as OpenSSH does: a server that refuses a variable runs on.
        channel
            .set_env(false, name, value)
            .await
            .map_err(DialError::Refused)?;
    }
    match opening {
        Opening::Shell => channel.request_shell(true).await,
        Opening::Exec(command) => channel.exec(true, command.clone()).await,
        Opening::Sftp => channel.request_subsystem(true, "sftp").await,
    }
    .map_err(DialError::Refused)?;
    answered(
        end,
        match opening {
            Opening::Shell => "shell",
            Opening::Exec(_) => "command",
            Opening::Sftp => "sftp subsystem",
        },
    )
    .await
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

/// Decides about the target's identity and refuses whatever it opens towards us.
struct Verifier {
    host: String,
    keys: HostKeys,
    refused: Arc<Mutex<Option<HostKeyError>>>,
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
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
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
/// A write to a target that makes no progress for so long ends the connection.
const STALL: Duration = Duration::from_secs(60);
/// Rounds of keyboard-interactive that a target may ask for.
const MAX_ROUNDS: usize = 4;
