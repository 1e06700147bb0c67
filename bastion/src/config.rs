//! The configuration file, read once and checked into types that cannot be wrong.
//!
//! Owns every default. Does not hand out the whole: each room takes the part that it needs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::section::{Field, Section, Source};
use crate::name::{MAX_LOGIN, MAX_TARGET};
use crate::recorder::{CopyTo, Keep, Terms};

pub(crate) use self::file::key_of;
pub use self::file::{FileError, KeyError, read_key, read_private, read_text};
pub use self::passed::PassedEnv;
pub(crate) use self::passed::is_continued;
pub use self::problem::{Problem, Problems, printable};
pub(crate) use self::problem::{causes, chain, line_column, nearest};
pub use self::sink::{Acknowledged, Forward, Guarantee, Receiver, Sink, Trust};
pub(crate) use self::webhooks::web_address;
pub use self::webhooks::{Address, Notify, Webhook};

mod file;
mod passed;
mod problem;
pub(crate) mod section;
mod sink;
mod webhooks;

/// Why there is no configuration: what is wrong in the file, all of it.
pub type ConfigError = Problems;

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
    /// The private key that signs host certificates for the targets' names, for `ssh -J`.
    pub host_ca: Option<PathBuf>,
    /// The key that seals what the store keeps secret; without it such things last until the
    /// program ends.
    pub store_key: Option<PathBuf>,
    /// The inventory of targets.
    pub targets: PathBuf,
    /// The folder with `access.cedar` and `protect.toml`.
    pub policies: PathBuf,
    /// What a reload means for sessions whose access is gone.
    pub on_revoke: OnRevoke,
    /// Sign-in.
    pub oidc: Oidc,
    /// Recording.
    pub recording: Recording,
    /// `masks.key_file`: the key of tokens that are the same in all sessions, needed where a rule
    /// asks for such.
    pub masks_key: PathBuf,
    /// Held output.
    pub holds: Holds,
    /// Access that is asked for.
    pub requests: Requests,
    /// Decisions on what is held, and on access that is asked for.
    pub approval: Approval,
    /// How messages are sent.
    pub notify: Notify,
    /// To whom.
    pub webhooks: Vec<Webhook>,
    /// Limits (limits.md).
    pub limits: Limits,
    /// Where the audit log is forwarded to.
    pub forward: Forward,
    /// Where `/metrics`, `/healthz` and `/readyz` are, where they are: an address of loopback.
    pub metrics: Option<SocketAddr>,
}

/// What a reload means for sessions that the new policies would not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRevoke {
    /// They end, with a line.
    Cut,
    /// They go on.
    Keep,
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
    /// How often the provider is asked again about a lease.
    pub recheck: Duration,
    /// How it is asked.
    pub recheck_by: RecheckBy,
    /// What a provider that cannot be asked means for a lease.
    pub on_unreachable: OnUnreachable,
    /// How long after a missed re-check a lease goes on, with [`OnUnreachable::Grace`].
    pub grace: Duration,
    /// Cap on the provider's life of a device code.
    pub code_max_age: Duration,
    /// Whether `verification_uri_complete` is shown.
    pub show_complete_uri: bool,
    /// Whether a proven public key is needed.
    pub require_key: bool,
    /// Groups of which a user needs at least one to sign in; empty: any group at all.
    pub allowed_groups: Vec<String>,
    /// `approval.same_person_claim`: the claim that links the accounts of one person.
    pub same_person_claim: Option<String>,
    /// `approval.owner_claim`: the claim that makes a service of an account, and names its owner.
    pub owner_claim: String,
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

/// How the provider is asked again about somebody who has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecheckBy {
    /// By the refresh token where there is one, else at userinfo.
    Auto,
    /// By the refresh token; a sign-in that brings none is refused.
    Refresh,
    /// At userinfo, with the access token of the sign-in.
    Userinfo,
    /// Not at all: a lease stands for as long as it was given.
    None,
}

/// What a provider that cannot be asked means for the leases that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachable {
    /// They go on for `oidc.grace`.
    Grace,
    /// They end.
    End,
    /// They go on to their own end.
    Keep,
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
    /// What the recorder that `serve` starts removes in time.
    pub keep: Keep,
    /// Where it copies checkpoints of its log to.
    pub checkpoints_to: Vec<CopyTo>,
    /// A recorder that says nothing for this long has stalled.
    pub stall: Duration,
    /// How much it keeps, and when it writes.
    pub terms: Terms,
}

/// What a recorder that fails means for sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingMode {
    /// The session ends.
    #[default]
    Strict,
    /// It goes on unrecorded until a recorder is there again, and the log says so. Never for all
    /// targets: policies name each (`[recording]` in `protect.toml`).
    BestEffort,
}

impl RecordingMode {
    /// Whether a session ends that can't be recorded.
    pub fn is_strict(&self) -> bool {
        *self == Self::Strict
    }
}

impl std::fmt::Display for RecordingMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Strict => "strict",
            Self::BestEffort => "best-effort",
        })
    }
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

/// `[holds]`: what is kept of output that waits for a decision.
#[derive(Clone, Debug)]
pub struct Holds {
    /// The key that encrypts it; needed where a rule holds.
    pub key_file: PathBuf,
    /// Payload of one hold.
    pub max_bytes: u64,
    /// Bytes of one record that are kept back before it is held whole.
    pub record_max: usize,
    /// Output that has been quiet for so long is sealed, and the command goes on.
    pub seal_quiet: Duration,
    /// Holds of one person that have not ended.
    pub per_person: usize,
    /// Everything that is held, on disk.
    pub spool_bytes: u64,
    /// How long a client waits for a decision, where a rule's `expires` is not sooner.
    pub wait: Duration,
}

/// `[requests]`: access that somebody asks for and others approve.
#[derive(Clone, Debug)]
pub struct Requests {
    /// How long a request waits for its decision.
    pub wait: Duration,
    /// Requests that wait and grants that are in force, of one person.
    pub per_person: usize,
}

/// `[approval]`: who may decide.
#[derive(Clone, Debug)]
pub struct Approval {
    /// The claim that is the same in all tokens of one person.
    pub same_person_claim: Option<String>,
    /// The claim that makes a service of an account, and names its owner.
    pub owner_claim: String,
    /// The oldest sign-in that may decide.
    pub max_sign_in_age: Duration,
    /// The youngest key that may decide.
    pub min_key_age: Duration,
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
    /// Open device flows of one key.
    pub device_flows_per_key: usize,
    /// Open device flows of one source address.
    pub device_flows_per_source: usize,
    /// Device codes that one source address may ask for in a minute.
    pub device_codes_per_minute: usize,
    /// Open channels of one connection.
    pub channels: usize,
    /// Channels that one connection may open in a minute.
    pub channel_opens_per_minute: usize,
    /// Connecting to a target and authenticating there.
    pub target_connect: Duration,
    /// A write that makes no progress, to a client that says nothing either.
    pub write_stall: Duration,
    /// A write that makes no progress, to a client that goes on answering; `write_stall` at least.
    pub reader_stall: Duration,
    /// Life of one session.
    pub session_life: Duration,
    /// How long SIGTERM lets sessions go on.
    pub drain: Duration,
    /// After that, how long the process has to end.
    pub shutdown: Duration,
    /// How long a session that is told to end has to say its last words.
    pub session_end: Duration,
    /// Longest name of a login, in bytes: 1..=64.
    pub login_name: usize,
    /// Longest name of a target, in bytes: 1..=128.
    pub target_name: usize,
    /// Longest command, in bytes: 1..=64 KiB.
    pub command_bytes: usize,
    /// Variables of a client that go on to the target.
    pub env: PassedEnv,
    /// Longest value of such a variable, in bytes.
    pub env_value_bytes: usize,
    /// Widest terminal: 1..=1000.
    pub pty_columns: u16,
    /// Highest terminal: 1..=500.
    pub pty_rows: u16,
    /// Changes of a terminal's size that reach the target in a second: 1..=100.
    pub pty_changes_per_second: u32,
    /// What is queued of one channel in one direction before it is slowed down, in bytes: two
    /// windows.
    pub channel_queue: usize,
    /// What is queued of one channel before nobody on its connection may send, in bytes.
    pub channel_queue_max: usize,
    /// The same of all channels of a connection.
    pub connection_queue_max: usize,
    /// Longest line of the console, in bytes.
    pub console_line: usize,
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
            device_flows_per_key: 1,
            device_flows_per_source: 3,
            device_codes_per_minute: 20,
            channels: 10,
            channel_opens_per_minute: 100,
            target_connect: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            reader_stall: Duration::from_secs(8 * 60 * 60),
            session_life: Duration::from_secs(24 * 60 * 60),
            drain: Duration::from_secs(10),
            shutdown: Duration::from_secs(10),
            session_end: Duration::from_secs(2),
            login_name: MAX_LOGIN,
            target_name: MAX_TARGET,
            command_bytes: COMMAND_MAX,
            env: PassedEnv::default(),
            env_value_bytes: 64,
            pty_columns: COLUMNS_MAX,
            pty_rows: ROWS_MAX,
            pty_changes_per_second: 10,
            channel_queue: 4 * 1024 * 1024,
            channel_queue_max: 16 * 1024 * 1024,
            connection_queue_max: 32 * 1024 * 1024,
            console_line: 4096,
        }
    }
}

impl Config {
    /// Reads and checks the file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// Every mistake in the file with line, column and what to do: unknown keys, wrong types,
    /// values out of range, combinations that cannot work. The files that it names are not opened.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            read_text(path, FILE_MAX).map_err(|error| Problem::of_file(path, error.to_string()))?;
        Self::parse(path, &text)
    }

    /// The same for the text of the file `path`.
    ///
    /// # Errors
    ///
    /// As for `load`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let base =
            std::path::absolute(path).map_err(|error| Problem::of_file(path, error.to_string()))?;
        let base = base.parent().unwrap_or(Path::new("/"));
        let source = Source::new(path, text);
        let config = Self::read(source.root(), base);
        source.finish(config)
    }

    /// The keys and sections in which `other` differs and which a reload does not take: a restart
    /// does. Empty where there are none.
    pub(crate) fn waits_for_restart(&self, other: &Self) -> Vec<&'static str> {
        let parts = |config: &Self| {
            // Destructured, so that a new part cannot be forgotten here.
            let Self {
                listen,
                name,
                state_dir,
                host_keys,
                user_ca,
                host_ca,
                store_key,
                targets,
                policies,
                on_revoke,
                oidc,
                recording,
                masks_key,
                holds,
                requests,
                approval,
                // Taken by a reload.
                notify: _,
                webhooks: _,
                limits,
                forward,
                metrics,
            } = config;
            [
                ("listen", format!("{listen:?}")),
                ("name", format!("{name:?}")),
                ("state_dir", format!("{state_dir:?}")),
                ("host_keys", format!("{host_keys:?}")),
                ("user_ca", format!("{user_ca:?}")),
                ("host_ca", format!("{host_ca:?}")),
                ("store_key", format!("{store_key:?}")),
                ("targets", format!("{targets:?}")),
                ("policies", format!("{policies:?} {on_revoke:?}")),
                ("oidc", format!("{oidc:?}")),
                ("recording", format!("{recording:?}")),
                ("masks", format!("{masks_key:?}")),
                ("holds", format!("{holds:?}")),
                ("requests", format!("{requests:?}")),
                ("approval", format!("{approval:?}")),
                ("limits", format!("{limits:?}")),
                ("audit", format!("{forward:?}")),
                ("metrics", format!("{metrics:?}")),
            ]
        };
        let (ours, others) = (parts(self), parts(other));
        let both = ours.iter().zip(&others);
        both.filter(|((_, ours), (_, others))| ours != others)
            .map(|((name, _), _)| *name)
            .collect()
    }

    fn read(mut root: Section<'_, '_>, base: &Path) -> Option<Self> {
        let listen = match root.take("listen") {
            Some(field) => read_listen(field),
            None => Some(vec![SocketAddr::from(([127, 0, 0, 1], 2222))]),
        };
        let name = match root.take("name") {
            Some(field) => read_name(field),
            None => Some("bastion".to_owned()),
        };
        let state_dir = path_or(&mut root, "state_dir", base, "state");
        let host_keys = match root.take("host_keys") {
            Some(field) => read_host_keys(field, base),
            None => Some(vec![base.join("keys/ssh_host_ed25519_key")]),
        };
        let user_ca = root.take("user_ca").map(|field| field.path(base));
        let host_ca = root.take("host_ca").map(|field| field.path(base));
        let store_key = root.take("store_key").map(|field| field.path(base));
        let targets = path_or(&mut root, "targets", base, "targets.toml");
        let policies = read_policies(&mut root, base);
        let oidc = match root.required("oidc") {
            Some(field) => field
                .section()
                .and_then(|section| Oidc::read(section, base)),
            None => None,
        };
        let recording = Recording::read(root.section("recording"), base);
        let masks_key = read_masks(root.section("masks"), base);
        let holds = Holds::read(root.section("holds"), base);
        let requests = Requests::read(root.section("requests"));
        let approval = Approval::read(root.section("approval"));
        let notify = Notify::read(root.section("notify"));
        let webhooks = match root.take("webhook") {
            Some(field) => webhooks::read(field, base),
            None => Some(Vec::new()),
        };
        let limits = Limits::read(root.section("limits"));
        let forward = Forward::read(root.section("audit"), base);
        let metrics = read_metrics(root.section("metrics"));
        root.finish();
        let (policies, on_revoke) = policies?;
        Some(Self {
            listen: listen?,
            name: name?,
            state_dir: state_dir?,
            host_keys: host_keys?,
            user_ca: match user_ca {
                Some(path) => Some(path?),
                None => None,
            },
            host_ca: match host_ca {
                Some(path) => Some(path?),
                None => None,
            },
            store_key: match store_key {
                Some(path) => Some(path?),
                None => None,
            },
            targets: targets?,
            policies,
            on_revoke,
            oidc: {
                let approval = approval.as_ref()?;
                Oidc {
                    same_person_claim: approval.same_person_claim.clone(),
                    owner_claim: approval.owner_claim.clone(),
                    ..oidc?
                }
            },
            recording: recording?,
            masks_key: masks_key?,
            holds: holds?,
            requests: requests?,
            approval: approval?,
            notify: notify?,
            webhooks: webhooks?,
            limits: limits?,
            forward: forward?,
            metrics: metrics?,
        })
    }
}

/// `policies = "FOLDER"`, or `[policies]` with `dir` and `on_revoke`.
fn read_policies(root: &mut Section<'_, '_>, base: &Path) -> Option<(PathBuf, OnRevoke)> {
    let Some(field) = root.take("policies") else {
        return Some((base.join("policies"), OnRevoke::Cut));
    };
    if field.is_string() {
        return Some((field.path(base)?, OnRevoke::Cut));
    }
    let mut section = field.section()?;
    let dir = path_or(&mut section, "dir", base, "policies");
    let on_revoke = match section.take("on_revoke") {
        Some(field) => field.word(&[("cut", OnRevoke::Cut), ("keep", OnRevoke::Keep)]),
        None => Some(OnRevoke::Cut),
    };
    section.finish();
    Some((dir?, on_revoke?))
}

impl Oidc {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let issuer = section.required("issuer").and_then(read_issuer);
        let client_id = section.required("client_id").and_then(Field::text);
        let client_auth = match section.take("client_auth") {
            Some(field) => field.word(&CLIENT_AUTH),
            None => Some(ClientAuth::None),
        };
        let client_secret_file = read_secret_file(&mut section, base, client_auth);
        let scopes = match section.take("scopes") {
            Some(field) => read_scopes(field),
            None => Some(
                ["openid", "profile", "email", "groups", "offline_access"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
        };
        let username_claim = text_or(&mut section, "username_claim", "preferred_username");
        let groups_claim = text_or(&mut section, "groups_claim", "groups");
        let groups_from = match section.take("groups_from") {
            Some(field) => field.word(&GROUPS_FROM),
            None => Some(GroupsFrom::Auto),
        };
        let extra_params = match section.take("extra_params") {
            Some(field) => read_extra_params(field),
            None => Some(Vec::new()),
        };
        let pkce = match section.take("pkce") {
            Some(field) => {
                field.word(&[("auto", Pkce::Auto), ("on", Pkce::On), ("off", Pkce::Off)])
            }
            None => Some(Pkce::Auto),
        };
        let ca_file = section.take("ca_file").map(|field| field.path(base));
        let clock_skew = duration_or(&mut section, "clock_skew", 60, Duration::ZERO, 60);
        let http_timeout = duration_or(
            &mut section,
            "http_timeout",
            10,
            Duration::from_millis(100),
            60,
        );
        let lease = duration_or(&mut section, "lease", 8 * HOUR, SECOND, 7 * DAY);
        let recheck = duration_or(&mut section, "recheck", 15 * MINUTE, SECOND, DAY);
        let recheck_by = match section.take("recheck_by") {
            Some(field) => field.word(&RECHECK_BY),
            None => Some(RecheckBy::Auto),
        };
        let on_unreachable = match section.take("on_unreachable") {
            Some(field) => field.word(&ON_UNREACHABLE),
            None => Some(OnUnreachable::Grace),
        };
        let grace = duration_or(&mut section, "grace", HOUR, Duration::ZERO, 7 * DAY);
        let code_max_age = duration_or(
            &mut section,
            "code_max_age",
            5 * MINUTE,
            SECOND,
            30 * MINUTE,
        );
        let show_complete_uri = bool_or(&mut section, "show_complete_uri", false);
        let require_key = bool_or(&mut section, "require_key", true);
        let allowed_groups = match section.take("allowed_groups") {
            Some(field) => field.strings(),
            None => Some(Vec::new()),
        };
        section.finish();
        Some(Self {
            issuer: issuer?,
            client_id: client_id?,
            client_secret_file: client_secret_file?,
            client_auth: client_auth?,
            scopes: scopes?,
            username_claim: username_claim?,
            groups_claim: groups_claim?,
            groups_from: groups_from?,
            extra_params: extra_params?,
            pkce: pkce?,
            ca_file: match ca_file {
                Some(path) => Some(path?),
                None => None,
            },
            clock_skew: clock_skew?,
            http_timeout: http_timeout?,
            lease: lease?,
            recheck: recheck?,
            recheck_by: recheck_by?,
            on_unreachable: on_unreachable?,
            grace: grace?,
            code_max_age: code_max_age?,
            show_complete_uri: show_complete_uri?,
            require_key: require_key?,
            allowed_groups: allowed_groups?,
            same_person_claim: None,
            owner_claim: OWNER_CLAIM.to_owned(),
        })
    }
}

impl Recording {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let dir = path_or(&mut section, "dir", base, "recordings");
        let socket = section.take("socket").map(|field| field.path(base));
        let mode = match section.take("mode") {
            Some(field) => field.word(&[("strict", RecordingMode::Strict)]),
            None => Some(RecordingMode::Strict),
        };
        let sync = match section.take("sync") {
            Some(field) => field.word(&[
                ("interval", RecordingSync::Interval),
                ("always", RecordingSync::Always),
            ]),
            None => Some(RecordingSync::Interval),
        };
        let keep = section.take("keep").map(|field| {
            field.duration(Duration::from_secs(HOUR)..=Duration::from_secs(36_500 * DAY))
        });
        let keep_bytes = section
            .take("keep_bytes")
            .map(|field| field.integer(1024 * 1024..=u64::MAX));
        let checkpoints_to = match section.take("checkpoints_to") {
            Some(field) => read_copies(field),
            None => Some(Vec::new()),
        };
        let stall = duration_or(&mut section, "stall", 5, SECOND, MINUTE);
        let terms = read_terms(&mut section);
        section.finish();
        Some(Self {
            stall: stall?,
            terms: terms?,
            dir: dir?,
            socket: match socket {
                Some(path) => Some(path?),
                None => None,
            },
            mode: mode?,
            sync: sync?,
            keep: Keep {
                age: match keep {
                    Some(age) => Some(age?),
                    None => None,
                },
                bytes: match keep_bytes {
                    Some(bytes) => Some(bytes?),
                    None => None,
                },
            },
            checkpoints_to: checkpoints_to?,
        })
    }
}

/// The keys of `[recording]` that the recorder is told. Its own ranges are the same.
fn read_terms(section: &mut Section<'_, '_>) -> Option<Terms> {
    let mut terms = Terms::default();
    let mut fine = true;
    for (key, place, range) in terms.durations() {
        match section.take(key).map(|field| field.duration(range)) {
            Some(Some(value)) => *place = value,
            Some(None) => fine = false,
            None => {}
        }
    }
    for (key, place, range) in terms.numbers() {
        match section.take(key).map(|field| field.integer(range)) {
            Some(Some(value)) => *place = value,
            Some(None) => fine = false,
            None => {}
        }
    }
    fine.then_some(terms)
}

/// `[masks]` with `key_file`.
fn read_masks(mut section: Section<'_, '_>, base: &Path) -> Option<PathBuf> {
    let key_file = path_or(&mut section, "key_file", base, "keys/tokens");
    section.finish();
    key_file
}

fn read_copies(field: Field<'_, '_>) -> Option<Vec<CopyTo>> {
    let places = field.list()?;
    let what = "file:/PATH, journald or command:COMMAND";
    places.into_iter().map(|place| place.parsed(what)).collect()
}

impl Holds {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let key_file = path_or(&mut section, "key_file", base, "keys/holds");
        let max_bytes = match section.take("max_bytes") {
            Some(field) => field.integer(1..=4 * GIB),
            None => Some(64 * MIB),
        };
        let record_max = match section.take("record_max") {
            Some(field) => field.count(1..=64 * 1024 * 1024),
            None => Some(1024 * 1024),
        };
        let seal_quiet = duration_or(
            &mut section,
            "seal_quiet",
            5,
            Duration::from_millis(100),
            HOUR,
        );
        let per_person = match section.take("per_person") {
            Some(field) => field.count(1..=10_000),
            None => Some(20),
        };
        let spool_bytes = match section.take("spool_bytes") {
            Some(field) => field.integer(1..=1024 * GIB),
            None => Some(4 * GIB),
        };
        let wait = duration_or(&mut section, "wait", 4 * HOUR, SECOND, 30 * DAY);
        section.finish();
        Some(Self {
            key_file: key_file?,
            max_bytes: max_bytes?,
            record_max: record_max?,
            seal_quiet: seal_quiet?,
            per_person: per_person?,
            spool_bytes: spool_bytes?,
            wait: wait?,
        })
    }
}

impl Requests {
    fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let wait = duration_or(&mut section, "wait", 4 * HOUR, SECOND, 30 * DAY);
        let per_person = match section.take("per_person") {
            Some(field) => field.count(1..=10_000),
            None => Some(20),
        };
        section.finish();
        Some(Self {
            wait: wait?,
            per_person: per_person?,
        })
    }
}

impl Approval {
    fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let same_person_claim = match section.take("same_person_claim") {
            Some(field) => field.text().map(Some),
            None => Some(None),
        };
        let owner_claim = text_or(&mut section, "owner_claim", OWNER_CLAIM);
        let max_sign_in_age = duration_or(
            &mut section,
            "max_sign_in_age",
            15 * MINUTE,
            SECOND,
            7 * DAY,
        );
        let min_key_age = duration_or(&mut section, "min_key_age", 0, Duration::ZERO, 365 * DAY);
        section.finish();
        Some(Self {
            same_person_claim: same_person_claim?,
            owner_claim: owner_claim?,
            max_sign_in_age: max_sign_in_age?,
            min_key_age: min_key_age?,
        })
    }
}

impl Limits {
    fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let mut limits = Self::default();
        let mut durations = [
            (
                "login_deadline",
                &mut limits.login_deadline,
                SECOND,
                10 * MINUTE,
            ),
            (
                "code_deadline",
                &mut limits.code_deadline,
                SECOND,
                30 * MINUTE,
            ),
            (
                "target_connect",
                &mut limits.target_connect,
                Duration::from_millis(100),
                60,
            ),
            ("write_stall", &mut limits.write_stall, SECOND, 10 * MINUTE),
            ("reader_stall", &mut limits.reader_stall, SECOND, 30 * DAY),
            ("session_life", &mut limits.session_life, SECOND, 30 * DAY),
            ("drain", &mut limits.drain, Duration::ZERO, DAY),
            (
                "shutdown",
                &mut limits.shutdown,
                Duration::from_secs(5),
                5 * MINUTE,
            ),
            (
                "session_end",
                &mut limits.session_end,
                Duration::from_millis(100),
                30,
            ),
        ];
        let mut fine = true;
        for (key, place, low, high) in &mut durations {
            match section
                .take(key)
                .map(|field| field.duration(*low..=Duration::from_secs(*high)))
            {
                Some(Some(value)) => **place = value,
                Some(None) => fine = false,
                None => {}
            }
        }
        let mut counts = [
            ("unauthenticated", &mut limits.unauthenticated, 1..=100_000),
            (
                "unauthenticated_per_source",
                &mut limits.unauthenticated_per_source,
                1..=100_000,
            ),
            ("auth_failures", &mut limits.auth_failures, 1..=100),
            ("key_offers", &mut limits.key_offers, 1..=1_000),
            ("device_flows", &mut limits.device_flows, 1..=10_000),
            (
                "device_flows_per_key",
                &mut limits.device_flows_per_key,
                1..=100,
            ),
            (
                "device_flows_per_source",
                &mut limits.device_flows_per_source,
                1..=10_000,
            ),
            (
                "device_codes_per_minute",
                &mut limits.device_codes_per_minute,
                1..=100_000,
            ),
            ("channels", &mut limits.channels, 1..=1_000),
            (
                "channel_opens_per_minute",
                &mut limits.channel_opens_per_minute,
                1..=100_000,
            ),
            ("login_name", &mut limits.login_name, 1..=MAX_LOGIN as u64),
            (
                "target_name",
                &mut limits.target_name,
                1..=MAX_TARGET as u64,
            ),
            (
                "command_bytes",
                &mut limits.command_bytes,
                1..=COMMAND_MAX as u64,
            ),
            ("env_value_bytes", &mut limits.env_value_bytes, 0..=256),
            (
                "channel_queue",
                &mut limits.channel_queue,
                QUEUE_LEAST..=16 * MIB,
            ),
            (
                "channel_queue_max",
                &mut limits.channel_queue_max,
                QUEUE_LEAST..=64 * MIB,
            ),
            (
                "connection_queue_max",
                &mut limits.connection_queue_max,
                QUEUE_LEAST..=256 * MIB,
            ),
            ("console_line", &mut limits.console_line, 256..=64 * 1024),
        ];
        for (key, place, range) in &mut counts {
            match section.take(key).map(|field| field.count(range.clone())) {
                Some(Some(value)) => **place = value,
                Some(None) => fine = false,
                None => {}
            }
        }
        let mut sizes = [
            ("pty_columns", &mut limits.pty_columns, COLUMNS_MAX),
            ("pty_rows", &mut limits.pty_rows, ROWS_MAX),
        ];
        for (key, place, most) in &mut sizes {
            let field = section.take(key);
            let value = field.map(|field| field.integer(1..=u64::from(*most)));
            match value.map(|value| value.and_then(|value| u16::try_from(value).ok())) {
                Some(Some(value)) => **place = value,
                Some(None) => fine = false,
                None => {}
            }
        }
        let changes = section.take("pty_changes_per_second");
        let changes = changes.map(|field| field.integer(1..=100));
        match changes.map(|changes| changes.and_then(|value| u32::try_from(value).ok())) {
            Some(Some(value)) => limits.pty_changes_per_second = value,
            Some(None) => fine = false,
            None => {}
        }
        match section.take("env").map(PassedEnv::read) {
            Some(Some(env)) => limits.env = env,
            Some(None) => fine = false,
            None => {}
        }
        if fine {
            limits.check(&section);
        }
        section.finish();
        fine.then_some(limits)
    }

    /// Limits that contradict each other.
    fn check(&self, section: &Section<'_, '_>) {
        let wrong = |message: &str| section.source().problem(section.start(), message);
        if self.code_deadline < self.login_deadline {
            wrong("`limits.code_deadline` is shorter than `limits.login_deadline`");
        }
        if self.unauthenticated_per_source > self.unauthenticated {
            wrong("`limits.unauthenticated_per_source` is more than `limits.unauthenticated`");
        }
        if self.device_flows_per_source > self.device_flows {
            wrong("`limits.device_flows_per_source` is more than `limits.device_flows`");
        }
        if self.reader_stall < self.write_stall {
            wrong("`limits.reader_stall` is shorter than `limits.write_stall`");
        }
        if self.session_end > self.shutdown / 2 {
            wrong("`limits.session_end` is more than half of `limits.shutdown`");
        }
        // A stalled channel goes on by two bytes at a time, and so goes beyond where it stalled.
        if self.channel_queue > self.channel_queue_max / 2 {
            wrong("`limits.channel_queue` is more than half of `limits.channel_queue_max`");
        }
        if self.channel_queue_max > self.connection_queue_max {
            wrong("`limits.channel_queue_max` is more than `limits.connection_queue_max`");
        }
    }
}

fn read_listen(field: Field<'_, '_>) -> Option<Vec<SocketAddr>> {
    let empty = field.at();
    let source = field.source();
    let mut addresses = Vec::new();
    for item in field.list()? {
        let at = item.at();
        let address = item.parsed::<SocketAddr>(
            "an address and port such as \"0.0.0.0:2222\" or \"[::]:2222\"",
        )?;
        if addresses.contains(&address) && address.port() != 0 {
            source.problem(at, format!("`listen` names {address} a second time"));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        source.problem(empty, "`listen` names no address");
        return None;
    }
    Some(addresses)
}

/// The outer option is none where the section has a mistake.
fn read_metrics(mut section: Section<'_, '_>) -> Option<Option<SocketAddr>> {
    let listen = section.take("listen").map(|field| {
        let (at, source) = (field.at(), field.source());
        let address =
            field.parsed::<SocketAddr>("an address and port such as \"127.0.0.1:9722\"")?;
        if !address.ip().is_loopback() {
            source.problem(
                at,
                "`metrics.listen` must be on loopback: nobody signs in there",
            );
            return None;
        }
        Some(address)
    });
    section.finish();
    match listen {
        None => Some(None),
        Some(address) => address.map(Some),
    }
}

/// A host name, since it goes into the `ssh_config` that users copy.
fn read_name(field: Field<'_, '_>) -> Option<String> {
    let (at, source) = (field.at(), field.source());
    let name = field.text()?;
    let fine = name.len() <= 128
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !fine {
        source.problem_with_hint(
            at,
            "`name` is not a host name",
            "letters, digits, `.`, `-` and `_`, at most 128",
        );
        return None;
    }
    Some(name)
}

fn read_host_keys(field: Field<'_, '_>, base: &Path) -> Option<Vec<PathBuf>> {
    let (at, source) = (field.at(), field.source());
    let paths: Option<Vec<_>> = field
        .list()?
        .into_iter()
        .map(|item| item.path(base))
        .collect();
    let paths = paths?;
    if paths.is_empty() {
        source.problem(at, "`host_keys` names no key");
        return None;
    }
    Some(paths)
}

/// OpenID Connect Discovery 1.0, section 3: https, no query, no fragment. Plain http is accepted
/// on loopback, where nobody can listen.
fn read_issuer(field: Field<'_, '_>) -> Option<String> {
    let (at, source) = (field.at(), field.source());
    let text = field.text()?;
    let Ok(url) = url::Url::parse(&text) else {
        source.problem(at, "`oidc.issuer` is not a URL");
        return None;
    };
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let wrong = match url.scheme() {
        "https" if url.host().is_none() => "has no host",
        "https" => "",
        "http" if loopback => "",
        "http" => "is http, which anybody on the way can change: only https, or http on loopback",
        _ => "is not an https URL",
    };
    let wrong = if !wrong.is_empty() {
        wrong
    } else if url.query().is_some() || url.fragment().is_some() {
        "has a query or a fragment, which an issuer never has"
    } else if !url.username().is_empty() || url.password().is_some() {
        "has a user name or password in it"
    } else {
        return Some(text);
    };
    source.problem(at, format!("`oidc.issuer` {wrong}"));
    None
}

fn read_secret_file(
    section: &mut Section<'_, '_>,
    base: &Path,
    auth: Option<ClientAuth>,
) -> Option<Option<PathBuf>> {
    let field = section.take("client_secret_file");
    match (field, auth) {
        (Some(field), Some(ClientAuth::None)) => {
            field.problem_with_hint(
                "is given, but `oidc.client_auth` is \"none\"",
                "set client_auth to what the provider expects, \"basic\" or \"post\", or leave the file out",
            );
            None
        }
        (Some(field), _) => field.path(base).map(Some),
        (None, Some(ClientAuth::Basic | ClientAuth::Post)) => {
            section.source().problem_with_hint(
                section.start(),
                "the key `oidc.client_secret_file` is missing",
                "`oidc.client_auth` is not \"none\", so that a secret is needed",
            );
            None
        }
        (None, Some(ClientAuth::None) | None) => Some(None),
    }
}

/// `openid` is what makes it OpenID (OpenID Connect Core 1.0, section 3.1.2.1), so it is added.
fn read_scopes(field: Field<'_, '_>) -> Option<Vec<String>> {
    let source = field.source();
    let mut scopes = vec!["openid".to_owned()];
    let mut fine = true;
    for placed in field.placed_strings()? {
        // RFC 6749, section 3.3.
        if !placed
            .value
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        {
            source.problem(
                placed.at,
                "a scope is printable ASCII without space, `\"` and `\\`",
            );
            fine = false;
        } else if placed.value != "openid" {
            scopes.push(placed.value);
        }
    }
    fine.then_some(scopes)
}

fn read_extra_params(field: Field<'_, '_>) -> Option<Vec<(String, String)>> {
    let mut section = field.section()?;
    let mut parameters = Vec::new();
    let mut fine = true;
    for (key, field) in section.rest() {
        if RESERVED_PARAMS.contains(&key.as_str()) {
            field.problem("is set by the bastion itself");
            fine = false;
        } else if let Some(value) = field.string() {
            parameters.push((key, value));
        } else {
            fine = false;
        }
    }
    fine.then_some(parameters)
}

fn path_or(
    section: &mut Section<'_, '_>,
    key: &'static str,
    base: &Path,
    default: &str,
) -> Option<PathBuf> {
    match section.take(key) {
        Some(field) => field.path(base),
        None => Some(base.join(default)),
    }
}

fn text_or(section: &mut Section<'_, '_>, key: &'static str, default: &str) -> Option<String> {
    match section.take(key) {
        Some(field) => field.text(),
        None => Some(default.to_owned()),
    }
}

fn bool_or(section: &mut Section<'_, '_>, key: &'static str, default: bool) -> Option<bool> {
    match section.take(key) {
        Some(field) => field.bool(),
        None => Some(default),
    }
}

/// `default_s` and `high_s` are in seconds.
fn duration_or(
    section: &mut Section<'_, '_>,
    key: &'static str,
    default_s: u64,
    low: Duration,
    high_s: u64,
) -> Option<Duration> {
    match section.take(key) {
        Some(field) => field.duration(low..=Duration::from_secs(high_s)),
        None => Some(Duration::from_secs(default_s)),
    }
}

/// Where `approval.owner_claim` names no other.
const OWNER_CLAIM: &str = "owner";
const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const CLIENT_AUTH: [(&str, ClientAuth); 3] = [
    ("none", ClientAuth::None),
    ("basic", ClientAuth::Basic),
    ("post", ClientAuth::Post),
];
const GROUPS_FROM: [(&str, GroupsFrom); 3] = [
    ("auto", GroupsFrom::Auto),
    ("id_token", GroupsFrom::IdToken),
    ("userinfo", GroupsFrom::Userinfo),
];

const RECHECK_BY: [(&str, RecheckBy); 4] = [
    ("auto", RecheckBy::Auto),
    ("refresh", RecheckBy::Refresh),
    ("userinfo", RecheckBy::Userinfo),
    ("none", RecheckBy::None),
];
const ON_UNREACHABLE: [(&str, OnUnreachable); 3] = [
    ("grace", OnUnreachable::Grace),
    ("end", OnUnreachable::End),
    ("keep", OnUnreachable::Keep),
];

/// Parameters of the device authorization request that a configuration must not replace.
const RESERVED_PARAMS: [&str; 8] = [
    "client_id",
    "client_secret",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "device_code",
    "grant_type",
    "nonce",
];

/// Longest command that any configuration takes, in bytes: one message of the SSH library.
const COMMAND_MAX: usize = 64 * 1024;
/// Widest terminal that any configuration takes: what the scanner and the recordings know.
pub(crate) const COLUMNS_MAX: u16 = 1000;
/// Highest terminal that any configuration takes.
pub(crate) const ROWS_MAX: u16 = 500;
/// A smaller queue would not hold two windows of two packets.
const QUEUE_LEAST: u64 = 128 * 1024;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// No configuration is larger.
const FILE_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;

    const SAMPLE: &str = include_str!("sample.toml");

    /// The least that a configuration must say.
    const LEAST: &str = "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"bastion\"\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("/etc/bastion/bastion.toml"), text)
    }

    /// The mistakes, without the file.
    fn mistakes(text: &str) -> String {
        let problems = parse(text).unwrap_err().to_string();
        problems.replace("/etc/bastion/bastion.toml:", "")
    }

    #[test]
    fn the_sample_states_the_defaults() {
        let sample = parse(SAMPLE).unwrap();
        let mut least = parse(LEAST).unwrap();
        // What the sample has and the defaults have not: `init` makes the keys.
        assert_eq!(
            sample.user_ca.as_deref(),
            Some(Path::new("/etc/bastion/keys/user_ca"))
        );
        least.user_ca = sample.user_ca.clone();
        least.host_ca = sample.host_ca.clone();
        least.store_key = sample.store_key.clone();
        assert_eq!(format!("{sample:?}"), format!("{least:?}"));
    }

    /// The document of all limits names each key with its default, and no key that is none.
    #[test]
    fn the_limits_document_says_what_is() {
        let document = include_str!("../../docs/limits.md");
        let sample: toml::Table = toml::from_str(SAMPLE).unwrap();
        let mut named = std::collections::BTreeSet::new();
        for row in document.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let key = cells.next().unwrap().trim_matches('`');
            let (section, name) = key.split_once('.').unwrap();
            let value = sample.get(section).and_then(|section| section.get(name));
            let value = value.unwrap_or_else(|| panic!("docs/limits.md: no key {key}"));
            let shown = match value {
                toml::Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            assert_eq!(cells.next().unwrap(), shown, "docs/limits.md: {key}");
            named.insert(key.to_owned());
        }
        let limits = sample
            .get("limits")
            .and_then(toml::Value::as_table)
            .unwrap();
        for key in limits.keys() {
            assert!(
                named.contains(&format!("limits.{key}")),
                "docs/limits.md lacks limits.{key}"
            );
        }
    }

    /// What the product promises to be configurable, a line for each number: the keys with their
    /// defaults. A number that loses its key, or changes its default, fails here.
    const PROMISED: &[(&str, &[(&str, &str)])] = &[
        (
            "accept to signed in, without and with a code",
            &[
                ("limits.login_deadline", "30s"),
                ("limits.code_deadline", "5m"),
            ],
        ),
        (
            "unauthenticated connections",
            &[
                ("limits.unauthenticated", "512"),
                ("limits.unauthenticated_per_source", "32"),
            ],
        ),
        (
            "failures and key offers",
            &[("limits.auth_failures", "6"), ("limits.key_offers", "32")],
        ),
        (
            "device flows",
            &[
                ("limits.device_flows_per_key", "1"),
                ("limits.device_flows_per_source", "3"),
                ("limits.device_flows", "32"),
            ],
        ),
        ("life of a device code", &[("oidc.code_max_age", "5m")]),
        (
            "lease, re-check, grace, session",
            &[
                ("oidc.lease", "8h"),
                ("oidc.recheck", "15m"),
                ("oidc.grace", "1h"),
                ("limits.session_life", "24h"),
            ],
        ),
        (
            "channels",
            &[
                ("limits.channels", "10"),
                ("limits.channel_opens_per_minute", "100"),
            ],
        ),
        (
            "names",
            &[("limits.login_name", "64"), ("limits.target_name", "128")],
        ),
        ("command", &[("limits.command_bytes", "65536")]),
        (
            "environment",
            &[
                ("limits.env", "[\"LANG\", \"LC_*\", \"COLORTERM\", \"TZ\"]"),
                ("limits.env_value_bytes", "64"),
            ],
        ),
        (
            "terminal",
            &[
                ("limits.pty_columns", "1000"),
                ("limits.pty_rows", "500"),
                ("limits.pty_changes_per_second", "10"),
            ],
        ),
        (
            "queued bytes",
            &[
                ("limits.channel_queue", "4194304"),
                ("limits.channel_queue_max", "16777216"),
                ("limits.connection_queue_max", "33554432"),
            ],
        ),
        (
            "a write without progress",
            &[("limits.write_stall", "60s"), ("limits.reader_stall", "8h")],
        ),
        (
            "connecting to a target",
            &[("limits.target_connect", "10s")],
        ),
        (
            "a hold's record, payload, quiet time",
            &[
                ("holds.record_max", "1048576"),
                ("holds.max_bytes", "67108864"),
                ("holds.seal_quiet", "5s"),
            ],
        ),
        (
            "holds of a person, spool",
            &[
                ("holds.per_person", "20"),
                ("holds.spool_bytes", "4294967296"),
            ],
        ),
        ("a client's wait", &[("holds.wait", "4h")]),
        (
            "who decides",
            &[
                ("approval.max_sign_in_age", "15m"),
                ("approval.min_key_age", "0s"),
            ],
        ),
        ("console line", &[("limits.console_line", "4096")]),
        (
            "recorder",
            &[
                ("recording.queue_bytes", "1048576"),
                ("recording.stall", "5s"),
                ("recording.flush", "1s"),
                ("recording.sync_interval", "1s"),
            ],
        ),
        (
            "free disk",
            &[
                ("recording.free_percent", "5"),
                ("recording.free_bytes", "2147483648"),
            ],
        ),
        (
            "event and frame",
            &[
                ("recording.event_bytes", "65536"),
                ("recording.frame_bytes", "1048576"),
                ("recording.frame_life", "10m"),
            ],
        ),
        (
            "shutdown",
            &[("limits.shutdown", "10s"), ("limits.session_end", "2s")],
        ),
    ];

    #[test]
    fn every_promised_limit_has_its_key() {
        let document = include_str!("../../docs/limits.md");
        let sample: toml::Table = toml::from_str(SAMPLE).unwrap();
        for (what, keys) in PROMISED {
            for (key, default) in *keys {
                let row = format!("| `{key}` | {default} |");
                assert!(document.contains(&row), "{what}: no row {row}");
                let (section, name) = key.split_once('.').unwrap();
                assert!(
                    sample
                        .get(section)
                        .and_then(|section| section.get(name))
                        .is_some(),
                    "{what}: no key {key}"
                );
                // What is out of every range is a mistake in one line, which names the key.
                let wrong = match default.bytes().next() {
                    Some(b'[') => "[\"LD_PRELOAD\"]",
                    _ if default.ends_with(|last: char| last.is_ascii_digit()) => "99999999999999",
                    _ => "\"9999d\"",
                };
                let section = if section == "oidc" {
                    LEAST.to_owned()
                } else {
                    format!("{LEAST}[{section}]\n")
                };
                let found = mistakes(&format!("{section}{name} = {wrong}\n"));
                assert!(
                    found.lines().count() == 1 && found.contains(&format!("`{key}`")),
                    "{key}: {found}"
                );
            }
        }
    }

    #[test]
    fn limits_that_cannot_work_together_are_mistakes() {
        for (text, wanted) in [
            (
                "[limits]\nchannel_queue = 16777216",
                "1:2: `limits.channel_queue` is more than half of `limits.channel_queue_max`",
            ),
            (
                "[limits]\nchannel_queue_max = 67108864",
                "1:2: `limits.channel_queue_max` is more than `limits.connection_queue_max`",
            ),
            (
                "[limits]\nsession_end = \"6s\"",
                "1:2: `limits.session_end` is more than half of `limits.shutdown`",
            ),
            (
                "[limits]\nlogin_name = 65",
                "2:14: `limits.login_name` is 65, which is not in 1 to 64",
            ),
            (
                "[limits]\nenv = [\"LANG\", \"PATH\"]",
                "2:16: `limits.env` names \"PATH\", which can make a target run, load or trust something else (set it on the target)",
            ),
            (
                "[limits]\nenv = [\"BASTION_X\"]",
                "2:8: `limits.env` names \"BASTION_X\", which the bastion reads itself and never passes on",
            ),
            (
                "[recording]\nqueue_bytes = 1000",
                "2:15: `recording.queue_bytes` is 1000, which is not in 524288 to 16777216",
            ),
        ] {
            let found = mistakes(&format!("{text}\n{LEAST}"));
            assert_eq!(found.lines().count(), 1, "{found}");
            assert!(found.contains(wanted), "{text:?} gave {found}");
        }
        let config = parse(&format!(
            "{LEAST}[limits]\nenv = [\"EDITOR_MODE\", \"MY_*\"]\npty_rows = 40\n[recording]\nframe_life = \"2m\"\n"
        ))
        .unwrap();
        assert!(config.limits.env.has("MY_APP") && !config.limits.env.has("LANG"));
        assert_eq!(config.limits.pty_rows, 40);
        assert_eq!(config.recording.terms.frame_life, Duration::from_secs(120));
    }

    /// Each key of the sample, commented out or not, is one that the reader knows.
    #[test]
    fn the_sample_has_every_key() {
        for name in ["client_secret_file", "ca_file", "socket"] {
            assert!(SAMPLE.contains(&format!("\n# {name} = ")), "{name}");
        }
        let is_key = |line: &str| {
            let word = line.split(' ').next().unwrap();
            line.starts_with("[[")
                || (line.starts_with(&format!("{word} = "))
                    && word
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        };
        let with_all: Vec<&str> = SAMPLE
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|line| is_key(line))
                    .unwrap_or(line)
            })
            .collect();
        let with_all = with_all
            .join("\n")
            .replace("client_auth = \"none\"", "client_auth = \"basic\"");
        let config = parse(&with_all).unwrap();
        assert!(config.oidc.client_secret_file.is_some() && config.oidc.ca_file.is_some());
        assert!(config.recording.socket.is_some() && config.forward.socket.is_some());
        assert!(!config.forward.sinks.is_empty() && config.webhooks.len() == 2);
        let mut last_was_comment = false;
        for line in SAMPLE.lines() {
            let is_key = line.contains(" = ") && !line.starts_with('#');
            assert!(!is_key || last_was_comment, "no comment above {line}");
            last_was_comment = line.starts_with('#');
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse(&format!(
            "state_dir = \"/var/lib/x\"\ntargets = \"../t.toml\"\n{LEAST}"
        ))
        .unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/x"));
        assert_eq!(config.targets, Path::new("/etc/bastion/../t.toml"));
        assert_eq!(config.policies, Path::new("/etc/bastion/policies"));
    }

    #[test]
    fn mistakes_have_a_place_and_say_what_to_do() {
        for (text, wanted) in [
            ("", "1:1: the key `oidc` is missing"),
            (
                "oidc = 1",
                "1:8: `oidc` is a whole number, but must be a table",
            ),
            (
                "[oidc]\nissuer = \"https://x\"\nclient_id = \"b\"\nlaese = \"8h\"",
                "4:1: unknown key `oidc.laese` (did you mean `oidc.lease`?)",
            ),
            (
                "[limits]\nchannels = 0",
                "2:12: `limits.channels` is 0, which is not in 1 to 1000",
            ),
            (
                "[limits]\nchannels = -1",
                "2:12: `limits.channels` is -1, which is not in 1 to 1000",
            ),
            (
                "[limits]\nchannels = \"9\"",
                "2:12: `limits.channels` is a string, but must be a whole number",
            ),
            (
                "[limits]\ndrain = 10",
                "2:9: `limits.drain` is a whole number, but must be a duration",
            ),
            (
                "[limits]\ndrain = \"10\"",
                "2:9: `limits.drain` is \"10\", which is not a duration",
            ),
            (
                "[limits]\nwrite_stall = \"0s\"",
                "2:15: `limits.write_stall` is \"0s\", which is not in 1s to 10m",
            ),
            (
                "[limits]\nreader_stall = \"59s\"",
                "1:2: `limits.reader_stall` is shorter than `limits.write_stall`",
            ),
            (
                "[limits]\nlogin_deadline = \"6m\"",
                "1:2: `limits.code_deadline` is shorter than `limits.login_deadline`",
            ),
            (
                "[limits]\nunauthenticated = 8",
                "`limits.unauthenticated_per_source` is more than",
            ),
            (
                "[recording]\nmode = \"best-effort\"",
                "2:8: `recording.mode` is \"best-effort\" (it may be \"strict\")",
            ),
            ("listen = []", "1:10: `listen` names no address"),
            (
                "listen = [\"localhost:22\"]",
                "1:11: `listen[0]` is \"localhost:22\", which is not an address and port",
            ),
            (
                "listen = [\"[::]:22\", \"[::]:22\"]",
                "1:22: `listen` names [::]:22 a second time",
            ),
            ("host_keys = []", "1:13: `host_keys` names no key"),
            ("name = \"a b\"", "1:8: `name` is not a host name"),
            (
                "state_dir = \"credential:x\"",
                "1:13: `state_dir` names a credential, and there are none",
            ),
            (
                "state_dir = \"credential:../x\"",
                "1:13: `state_dir` is not the name of a credential",
            ),
            ("listen = [", "not valid TOML"),
            (
                "name = \"a\"\nname = \"b\"",
                "2:1: not valid TOML: duplicate key",
            ),
        ] {
            let found = mistakes(text);
            assert!(
                found.lines().any(|line| line.contains(wanted)),
                "{text:?} gave\n{found}"
            );
        }
    }

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let before = parse(LEAST).unwrap();
        for (text, wanted) in [
            (LEAST.to_owned(), vec![]),
            (format!("{LEAST}[notify]\ntimeout = \"3s\"\n"), vec![]),
            (
                format!("name = \"b\"\n{LEAST}lease = \"1h\"\n[limits]\nchannels = 3\n"),
                vec!["name", "oidc", "limits"],
            ),
            (
                format!("{LEAST}[policies]\non_revoke = \"keep\"\n[recording]\nstall = \"2s\"\n"),
                vec!["policies", "recording"],
            ),
        ] {
            let after = parse(&text).unwrap();
            assert_eq!(before.waits_for_restart(&after), wanted, "{text}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let found = mistakes("nmae = 1\n[oidc]\nlease = \"x\"\n[limits]\nchannels = 0\n");
        assert_eq!(found.lines().count(), 5, "{found}");
    }

    #[test]
    fn an_issuer_is_https_or_on_loopback() {
        for (issuer, fine) in [
            ("https://id.example.com", true),
            ("https://id.example.com/realms/a/", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080/x", true),
            ("http://localhost:8080", true),
            ("http://id.example.com", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("ftp://id.example.com", false),
            ("https://id.example.com?x=1", false),
            ("https://id.example.com#x", false),
            ("https://user@id.example.com", false),
            ("id.example.com", false),
            ("", false),
        ] {
            let text = format!("[oidc]\nissuer = \"{issuer}\"\nclient_id = \"b\"\n");
            assert_eq!(parse(&text).is_ok(), fine, "{issuer}");
        }
    }

    #[test]
    fn a_secret_goes_with_its_way_of_authentication() {
        for (lines, fine) in [
            ("client_auth = \"none\"", true),
            ("client_auth = \"basic\"", false),
            ("client_auth = \"post\"", false),
            ("client_auth = \"basic\"\nclient_secret_file = \"s\"", true),
            ("client_secret_file = \"s\"", false),
            ("client_auth = \"jwt\"", false),
        ] {
            assert_eq!(parse(&format!("{LEAST}{lines}\n")).is_ok(), fine, "{lines}");
        }
    }

    #[test]
    fn scopes_and_parameters_are_checked() {
        let config = parse(&format!(
            "{LEAST}scopes = [\"groups\"]\nextra_params = {{ audience = \"x\" }}\n"
        ))
        .unwrap();
        assert_eq!(config.oidc.scopes, ["openid", "groups"]);
        assert_eq!(
            config.oidc.extra_params,
            [("audience".to_owned(), "x".to_owned())]
        );
        for lines in [
            "scopes = [\"a b\"]",
            "scopes = [\"\"]",
            "extra_params = { client_id = \"x\" }",
            "extra_params = { a = 1 }",
        ] {
            assert!(parse(&format!("{LEAST}{lines}\n")).is_err(), "{lines}");
        }
    }

    #[test]
    fn durations_meet_their_ends() {
        for (line, fine) in [
            ("clock_skew = \"0s\"", true),
            ("clock_skew = \"60s\"", true),
            ("clock_skew = \"1m\"", true),
            ("clock_skew = \"61s\"", false),
            ("lease = \"7d\"", true),
            ("lease = \"169h\"", false),
            ("lease = \"999ms\"", false),
            ("http_timeout = \"100ms\"", true),
            ("http_timeout = \"99ms\"", false),
            ("code_max_age = \"30m\"", true),
            ("code_max_age = \"31m\"", false),
        ] {
            assert_eq!(parse(&format!("{LEAST}{line}\n")).is_ok(), fine, "{line}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nonexistent/b.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nonexistent/b.toml: cannot read"),
            "{error}"
        );
    }

    proptest::proptest! {
        /// Whatever stands in the file, there is a configuration or a reason.
        #[test]
        fn no_text_is_a_panic(text in "(\\[oidc\\]\n|listen = |limits\\.drain = |\"[a-z0-9:]{0,8}\"|\n|[\\[\\]{}=.,#]|[0-9]{1,4}){0,20}") {
            drop(parse(&text));
        }
    }
}
