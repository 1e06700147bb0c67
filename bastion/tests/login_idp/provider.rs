//! The real OpenID provider of `tests/idp`, its user without a browser, and a sign-in room on top.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bastion::config::{ClientAuth, GroupsFrom, Limits, Oidc, OnUnreachable, Pkce, RecheckBy};
use bastion::login::{Asker, KeyId, Lease, Pending, Reason, Refusal, SignIns, World};
use bastion::ssh::keys::PublicKey;
use bastion::store::{SealKey, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A provider of its own on a free port; it stops when this is dropped, or when the test dies.
pub(crate) struct Provider {
    child: Child,
    pub(crate) issuer: String,
    control: String,
    pub(crate) ca: Option<PathBuf>,
    http: reqwest::Client,
    ready_file: PathBuf,
}

impl Provider {
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let ready_file = dir.join("ready.json");
        let mut child = Command::new("node")
            .arg(home().join("server.mjs"))
            .args(["--exit-on-stdin-close", "--ready-file"])
            .arg(&ready_file)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{NO_NODE}: {error}"));
        // It prints a line once it listens and the ready file is written.
        let stdout = child.stdout.take().unwrap();
        let (said, says) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            drop(said.send(read.map(|_| line)));
        });
        let line = match says.recv_timeout(PATIENCE) {
            Ok(line) => line.unwrap(),
            Err(late) => {
                drop(child.kill());
                panic!("the provider did not start within {PATIENCE:?}: {late}");
            }
        };
        assert!(line.starts_with("issuer "), "the provider did not start");
        let ready: Value = serde_json::from_slice(&fs::read(&ready_file).unwrap()).unwrap();
        let text = |name: &str| ready.get(name).and_then(Value::as_str).map(str::to_owned);
        let ca = text("ca").map(PathBuf::from);
        let mut http = reqwest::Client::builder().timeout(PATIENCE);
        if let Some(ca) = &ca {
            let pem = fs::read(ca).unwrap();
            http = http.tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()]);
        }
        Self {
            child,
            issuer: text("issuer").unwrap(),
            control: text("control").unwrap(),
            ca,
            http: http.build().unwrap(),
            ready_file,
        }
    }

    pub(crate) fn port(&self) -> String {
        let authority = self.control.trim_end_matches("/_control");
        authority.rsplit(':').next().unwrap().to_owned()
    }

    /// Ends the provider and waits until it has gone.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It keeps nothing that it would have to write down.
        drop(self.child.kill());
        self.child.wait().unwrap();
        drop(fs::remove_file(&self.ready_file));
    }

    pub(crate) async fn control(&self, verb: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}/{verb}", self.control));
        let reply = request.body(body.to_string()).send().await.unwrap();
        assert!(reply.status().is_success(), "{verb} {body}");
        serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap()
    }

    /// The next `count` requests for `path` are answered so.
    pub(crate) async fn fault(&self, path: &str, count: u32, more: Value) {
        let mut fault = json!({"path": path, "count": count});
        let fields = fault.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        self.control("fault", fault).await;
    }

    /// How many requests for `path` there have been.
    pub(crate) async fn count(&self, path: &str) -> u64 {
        self.state()
            .await
            .pointer("/counts")
            .and_then(|counts| counts.get(path))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// How many polls were told that nobody has used their code, those of all codes together.
    pub(crate) async fn pending_polls(&self) -> u64 {
        let state = self.state().await;
        let codes = state.get("device_codes").and_then(Value::as_array).unwrap();
        codes
            .iter()
            .map(|code| code.get("polls").and_then(Value::as_u64).unwrap())
            .sum()
    }

    async fn state(&self) -> Value {
        let request = self.http.get(format!("{}/state", self.control));
        let bytes = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Waits until there have been `count` requests for `path`.
    pub(crate) async fn counted(&self, path: &str, count: u64) {
        let seen = async {
            while self.count(path).await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("{path} was not asked for {count} times"));
    }

    /// What the user does with the code that is shown, to the end of it. Panics at once where that
    /// fails: whoever polls meanwhile would wait for as long as the code lives.
    pub(crate) async fn uses(&self, shown: &str, user: &str, more: &[&str]) {
        let (code, said) = self.visit(shown, user, more).await;
        assert_eq!(code, 0, "{user} could not use the code: {said}");
    }

    /// The same where it may be refused; says how it ended, as `approve.mjs` does.
    pub(crate) async fn user(&self, shown: &str, user: &str, more: &[&str]) -> i32 {
        self.visit(shown, user, more).await.0
    }

    async fn visit(&self, shown: &str, user: &str, more: &[&str]) -> (i32, String) {
        let (uri, code) = uri_and_code(shown);
        let mut command = tokio::process::Command::new("node");
        command
            .arg(home().join("approve.mjs"))
            .args(["--uri", &uri, "--code", &code, "--user", user])
            .args(more)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(ca) = &self.ca {
            command.arg("--ca").arg(ca);
        }
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .unwrap_or_else(|_| panic!("{user} is still at it after {PATIENCE:?}"))
            .expect(NO_NODE);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            // A page that did not come, or a script that broke off: nothing that a test asked for.
            Some(1 | 2 | 13) | None => panic!("{user}: {}: {said}", output.status),
            Some(code) => (code, said),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.end();
    }
}

/// The URL and the code in the instructions.
pub(crate) fn uri_and_code(shown: &str) -> (String, String) {
    let mut lines = shown.lines();
    let uri = lines.next().and_then(|line| line.strip_prefix("Open "));
    let code = lines.next().and_then(|line| line.rsplit(' ').next());
    (uri.unwrap().to_owned(), code.unwrap().to_owned())
}

/// Sign-ins against a provider, with a store in a folder of their own.
pub(crate) struct Room {
    // In the order in which they go.
    pub(crate) sign_ins: SignIns,
    pub(crate) provider: Provider,
    pub(crate) dir: TempDir,
}

/// How a room is to be.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) provider: Vec<String>,
    pub(crate) oidc: Oidc,
    pub(crate) limits: Limits,
    pub(crate) world: World,
}

impl Plan {
    pub(crate) fn new(provider: &[&str]) -> Self {
        Self {
            provider: provider.iter().map(|arg| (*arg).to_owned()).collect(),
            oidc: Oidc {
                issuer: String::new(),
                client_id: "bastion".into(),
                client_secret_file: None,
                client_auth: ClientAuth::None,
                scopes: ["openid", "profile", "email", "groups"]
                    .map(str::to_owned)
                    .to_vec(),
                username_claim: "preferred_username".into(),
                groups_claim: "groups".into(),
                groups_from: GroupsFrom::Auto,
                extra_params: Vec::new(),
                pkce: Pkce::Auto,
                ca_file: None,
                clock_skew: Duration::from_secs(60),
                http_timeout: Duration::from_secs(10),
                lease: Duration::from_secs(8 * 3600),
                recheck: Duration::from_secs(15 * 60),
                recheck_by: RecheckBy::None,
                on_unreachable: OnUnreachable::Grace,
                grace: Duration::from_secs(3600),
                code_max_age: Duration::from_secs(300),
                show_complete_uri: false,
                require_key: true,
                allowed_groups: Vec::new(),
                same_person_claim: None,
                owner_claim: "owner".into(),
            },
            limits: Limits::default(),
            world: World::default(),
        }
    }

    pub(crate) fn oidc(mut self, change: impl FnOnce(&mut Oidc)) -> Self {
        change(&mut self.oidc);
        self
    }

    /// Starts the provider and the sign-ins.
    pub(crate) fn room(self) -> Room {
        let dir = TempDir::new().unwrap();
        let args: Vec<String> = self
            .provider
            .iter()
            .map(|arg| arg.replace("DIR", dir.path().to_str().unwrap()))
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let provider = Provider::start(dir.path(), &args);
        let sign_ins = self.sign_ins(&provider, dir.path());
        Room {
            sign_ins,
            provider,
            dir,
        }
    }

    /// Sign-ins at a provider that runs already.
    pub(crate) fn sign_ins(self, provider: &Provider, dir: &Path) -> SignIns {
        let mut oidc = self.oidc;
        if oidc.issuer.is_empty() {
            oidc.issuer.clone_from(&provider.issuer);
        }
        let store = Store::open(&dir.join("db")).unwrap();
        let seal = match dir.join("store_key") {
            key if key.exists() => SealKey::load(&key).unwrap(),
            _ => SealKey::ephemeral().unwrap(),
        };
        SignIns::new(oidc, &self.limits, store, seal, self.world).unwrap()
    }
}

impl Room {
    pub(crate) async fn begin(&self, asker: Asker) -> Pending {
        self.sign_ins.begin(asker).await.unwrap()
    }

    /// A whole sign-in: begun, used by `user`, finished.
    pub(crate) async fn sign_in(&self, asker: Asker, user: &str) -> Result<Lease, Refusal> {
        let pending = self.sign_ins.begin(asker).await?;
        let shown = pending.instructions().to_owned();
        let (lease, ()) = tokio::join!(pending.finish(), self.provider.uses(&shown, user, &[]));
        lease
    }
}

/// A key made of `name`, and so always the same for it.
pub(crate) fn key(name: &str) -> KeyId {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    for byte in 0..4u8 {
        byte.hash(&mut hasher);
        blob.extend(hasher.finish().to_be_bytes());
    }
    let line = format!("ssh-ed25519 {}", data_encoding::BASE64.encode(&blob));
    KeyId::of(&PublicKey::from_openssh(&line).unwrap())
}

/// Somebody with a key and an address of their own.
pub(crate) fn asker(name: &str) -> Asker {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let [a, b, c, ..] = hasher.finish().to_be_bytes();
    Asker {
        key: Some(key(name)),
        source: [10, a, b, c].into(),
        user_name: format!("{name}@orders-db"),
    }
}

/// What kind of refusal it is, for tables.
pub(crate) fn kind<T>(outcome: &Result<T, Refusal>) -> &'static str {
    match outcome.as_ref().map_err(Refusal::reason) {
        Ok(_) => "lease",
        Err(Reason::Denied { .. }) => "denied",
        Err(Reason::Expired) => "expired",
        Err(Reason::Unreachable { .. }) => "unreachable",
        Err(Reason::WrongAccount { .. }) => "wrong account",
        Err(Reason::NoGroup { .. }) => "no group",
        Err(Reason::Misconfigured { .. }) => "misconfigured",
        Err(Reason::Untrusted(_)) => "untrusted",
        Err(Reason::TooMany(_)) => "too many",
        Err(Reason::KeyNeeded) => "key needed",
        Err(Reason::Locked { .. }) => "locked",
        Err(Reason::Seal(_)) => "seal",
        Err(Reason::Store(_)) => "store",
    }
}

/// The provider with its packages: where they are installed beside it already, or else a copy
/// outside the checkout with packages of its own, made once.
fn home() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/idp");
    if source.join("node_modules/oidc-provider").exists() {
        return source;
    }
    let files = FILES.map(|name| (name, fs::read(source.join(name)).unwrap()));
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let home = cache.join(format!("idp-{:016x}", hasher.finish()));
    // Tests run side by side, each perhaps a process of its own.
    let lock = fs::File::create(cache.join("idp.lock")).unwrap();
    lock.lock().unwrap();
    if !home.join("installed").exists() {
        fs::create_dir_all(&home).unwrap();
        for (name, bytes) in files {
            fs::write(home.join(name), bytes).unwrap();
        }
        let installed = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .args(["--fetch-timeout=30000", "--fetch-retries=1"])
            .current_dir(&home)
            .status()
            .unwrap_or_else(|error| panic!("{NO_NODE}: npm: {error}"));
        assert!(installed.success(), "npm ci failed in {}", home.display());
        fs::write(home.join("installed"), b"").unwrap();
    }
    home
}

const FILES: [&str; 5] = [
    "package.json",
    "package-lock.json",
    "server.mjs",
    "approve.mjs",
    "users.json",
];
const NO_NODE: &str =
    "node is missing, or its npm: install Node 20 or later, or run tests/run once";
/// How long an event may keep a test waiting before it fails.
const PATIENCE: Duration = Duration::from_secs(60);
