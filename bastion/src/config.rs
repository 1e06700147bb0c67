//! The configuration file, read once and checked into types that cannot be wrong.
//!
//! Owns every default. Does not hand out the whole: each room takes the part that it needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The checked configuration. Paths are absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where SSH clients are accepted.
    pub listen: Vec<SocketAddr>,
    /// The name that users type after the last `@`, for `config` and texts.
    pub name: String,
    /// Folder of the store and of everything else that `serve` writes.
    pub state_dir: PathBuf,
    /// The server's private host keys, OpenSSH format, mode 0600.
    pub host_keys: Vec<PathBuf>,
    /// The private key of the user CA, where some login uses `certificate`.
    pub user_ca: Option<PathBuf>,
    /// The inventory of targets.
    pub targets: PathBuf,
    /// The folder with `access.cedar` and `protect.toml`.
    pub policies: PathBuf,
    /// Sign-in.
    pub oidc: Oidc,
    /// Recording.
    pub recording: Recording,
    /// Limits (limits.md).
    pub limits: Limits,
}

/// `[oidc]`: the OpenID provider and the life of a sign-in.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// The issuer: https, or http on loopback.
    pub issuer: String,
    /// The client id registered at the provider.
    pub client_id: String,
    /// File with the client's secret, where `client_auth` is not `none`.
    pub client_secret_file: Option<PathBuf>,
    /// How the client authenticates at the provider.
    pub client_auth: ClientAuth,
    /// Scopes asked for; `openid` is always among them.
    pub scopes: Vec<String>,
    /// The claim that gives the display name.
    pub username_claim: String,
    /// The claim that gives the groups.
    pub groups_claim: String,
    /// Where the groups are read.
    pub groups_from: GroupsFrom,
    /// Sent along with the device authorization request.
    pub extra_params: Vec<(String, String)>,
    /// Proof key for code exchange in the device flow.
    pub pkce: Pkce,
    /// PEM file with the CA of the provider, in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Leeway for `exp`, `iat`, `nbf`: 0..=60 s.
    pub clock_skew: Duration,
    /// Deadline of one request to the provider.
    pub http_timeout: Duration,
    /// Life of a lease.
    pub lease: Duration,
    /// Cap on the provider's life of a device code.
    pub code_max_age: Duration,
    /// Whether `verification_uri_complete` is shown.
    pub show_complete_uri: bool,
    /// Whether a proven public key is needed.
    pub require_key: bool,
    /// Groups of which a user needs at least one to sign in; empty: any group at all.
    pub allowed_groups: Vec<String>,
}

/// How the client authenticates at the provider (OpenID Connect Core 1.0, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// A public client.
    None,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// Where the groups of a user are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupsFrom {
    /// From the ID token only.
    IdToken,
    /// From the userinfo endpoint only.
    Userinfo,
    /// From the ID token; from userinfo where the ID token has no such claim.
    Auto,
}

/// Whether the device flow carries a code challenge (RFC 7636).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    /// Where the provider's metadata names S256.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// `[recording]`.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Folder of the recordings; the embedded recorder makes it with mode 0700.
    pub dir: PathBuf,
    /// The socket of a recorder that runs on its own; without it `serve` starts one.
    pub socket: Option<PathBuf>,
    /// What happens when nothing can be recorded.
    pub mode: RecordingMode,
    /// When bytes are on disk.
    pub sync: RecordingSync,
}

/// What a recorder that fails means for sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingMode {
    /// The session ends.
    Strict,
}

/// When the recorder synchronises files to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingSync {
    /// In groups, once a second.
    Interval,
    /// Before each acknowledgement.
    Always,
}

/// `[limits]`: the numbers of limits.md that one may change.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accept to signed in, while no device code is shown.
    pub login_deadline: Duration,
    /// From accept to signed in, once a device code is shown.
    pub code_deadline: Duration,
    /// Unauthenticated connections in total.
    pub unauthenticated: usize,
    /// Unauthenticated connections of one source address.
    pub unauthenticated_per_source: usize,
    /// Failed attempts of one connection.
    pub auth_failures: usize,
    /// Keys offered by one connection.
    pub key_offers: usize,
    /// Open device flows in total.
    pub device_flows: usize,
    /// Open device flows of one source address.
    pub device_flows_per_source: usize,
    /// Open channels of one connection.
    pub channels: usize,
    /// Channels that one connection may open in a minute.
    pub channel_opens_per_minute: usize,
    /// Connecting to a target and authenticating there.
    pub target_connect: Duration,
    /// A write that makes no progress.
    pub write_stall: Duration,
    /// Life of one session.
    pub session_life: Duration,
    /// How long SIGTERM lets sessions go on.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login_deadline: Duration::from_secs(30),
            code_deadline: Duration::from_secs(5 * 60),
            unauthenticated: 512,
            unauthenticated_per_source: 32,
            auth_failures: 6,
            key_offers: 32,
            device_flows: 32,
            device_flows_per_source: 3,
            channels: 10,
            channel_opens_per_minute: 100,
            target_connect: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            session_life: Duration::from_secs(24 * 60 * 60),
            drain: Duration::from_secs(10),
        }
    }
}
