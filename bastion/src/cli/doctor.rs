//! `bastion doctor`: looks at everything that has to be right, the provider and the targets
//! included, and says a verdict and what to do about each. Changes nothing.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Failure, check};
use crate::config::{Config, RecheckBy, printable};
use crate::forward::Watch;
use crate::login::{Probed, probe};
use crate::notify::Hooks;
use crate::record::Recorder;
use crate::ssh::host_keys_of;
use crate::target::{Inventory, Target};

/// Arguments of `doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion doctor --config /etc/bastion/bastion.toml
  bastion doctor --json | jq -r '.findings[] | select(.verdict != \"ok\") | .hint'

Run it as the user of the service, so that it sees what the service sees. It asks the provider for a
device code that nobody uses, and connects to each target for its host keys.

Exit status: 0 when nothing fails, 1 otherwise; warnings do not count.")]
pub(super) struct Doctor {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Do not connect to the provider and the targets
    #[arg(long)]
    offline: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was looked at, how it is, and what to do.
#[derive(Debug, Serialize)]
struct Finding {
    about: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok  ",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        about: &'static str,
        verdict: Verdict,
        detail: impl fmt::Display,
        hint: &str,
    ) {
        self.0.push(Finding {
            about,
            verdict,
            detail: detail.to_string(),
            hint: hint.to_owned(),
        });
    }

    fn ok(&mut self, about: &'static str, detail: impl fmt::Display) {
        self.add(about, Verdict::Ok, detail, "");
    }

    fn warn(&mut self, about: &'static str, detail: impl fmt::Display, hint: &str) {
        self.add(about, Verdict::Warn, detail, hint);
    }

    fn fail(&mut self, about: &'static str, detail: impl fmt::Display, hint: &str) {
        self.add(about, Verdict::Fail, detail, hint);
    }
}

pub(super) fn run(args: &Doctor, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let Findings(findings) = runtime.block_on(examine(args));
    let failed = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Fail);
    if args.json {
        let report = serde_json::json!({ "ok": !failed, "findings": findings });
        writeln!(out, "{report}")?;
    } else {
        for finding in &findings {
            let (about, detail) = (finding.about, printable(&finding.detail));
            writeln!(out, "{}  {about:<13} {detail}", finding.verdict)?;
            if !finding.hint.is_empty() {
                writeln!(out, "{:21}-> {}", "", printable(&finding.hint))?;
            }
        }
    }
    if failed {
        return Err(Failure::silent());
    }
    Ok(())
}

async fn examine(args: &Doctor) -> Findings {
    let mut found = Findings::default();
    let config = match Config::load(&args.config) {
        Ok(config) => {
            found.ok("configuration", args.config.display());
            config
        }
        Err(problems) => {
            for problem in problems.iter() {
                found.fail("configuration", problem, "bastion check --config FILE");
            }
            return found;
        }
    };
    let inventory = files(&args.config, &mut found);
    keys(&config, &mut found);
    store(&config, &mut found);
    disks(&config, &mut found);
    recorder(&config, &mut found).await;
    receivers(&config, &mut found);
    webhooks(&config, args.offline, &mut found).await;
    if !args.offline {
        provider(&config, &mut found).await;
        if let Some(inventory) = inventory {
            targets(&inventory, config.limits.target_connect, &mut found).await;
        }
    }
    found
}

/// Everything that `check` reads: keys, inventory, policies, and who can read them.
fn files(path: &Path, found: &mut Findings) -> Option<std::sync::Arc<Inventory>> {
    match check::check(path) {
        Ok(loaded) => {
            found.ok(
                "files",
                "keys, policies, targets, modes and owners are right",
            );
            for warning in &loaded.warnings {
                found.warn("files", warning, "leave them out where that matters");
            }
            Some(loaded.inventory)
        }
        Err(problems) => {
            for problem in problems.iter() {
                found.fail("files", problem, "set it right, then: bastion check");
            }
            None
        }
    }
}

fn keys(config: &Config, found: &mut Findings) {
    match &config.store_key {
        Some(_) => found.ok("store key", "refresh tokens outlive a restart, sealed"),
        None => found.warn(
            "store key",
            "not set: after a restart, users sign in again once a re-check is due",
            "head -c 32 /dev/urandom | base64 > keys/store_key; chmod 600 keys/store_key; then set store_key",
        ),
    }
    let given = std::env::var_os("CREDENTIALS_DIRECTORY");
    let from_disk = config
        .host_keys
        .iter()
        .chain(&config.user_ca)
        .chain(&config.host_ca)
        .chain(&config.store_key)
        .filter(|path| {
            given
                .as_ref()
                .is_none_or(|folder| !path.starts_with(folder))
        })
        .count();
    if from_disk > 0 {
        found.warn(
            "keys at rest",
            format!("{from_disk} lie in files on this disk"),
            "systemd-creds encrypt them, and name them credential:NAME (docs/operating.md)",
        );
    } else {
        found.ok("keys at rest", "all come as credentials");
    }
}

fn store(config: &Config, found: &mut Findings) {
    let path = config.state_dir.join("store.sqlite");
    if !path.exists() {
        return found.ok("store", "not there yet; the first start makes it");
    }
    match crate::store::inspect(&path) {
        Ok(schema) => found.ok("store", format!("whole, schema {schema}")),
        Err(error) => found.fail("store", &error, "bastion restore (docs/operating.md)"),
    }
}

fn disks(config: &Config, found: &mut Findings) {
    let mut folders = vec![("disk", &config.state_dir)];
    if config.recording.socket.is_none() {
        folders.push(("disk", &config.recording.dir));
    }
    for (about, folder) in folders {
        let shown = folder.display();
        let Some(disk) = free_of(folder) else {
            found.warn(
                about,
                format!("{shown} cannot be looked at"),
                "run it as the user of the service",
            );
            continue;
        };
        disk_of(config, &shown.to_string(), disk, found);
    }
}

fn disk_of(config: &Config, shown: &str, (free, total): (u64, u64), found: &mut Findings) {
    let about = "disk";
    let terms = &config.recording.terms;
    let detail = format!("{shown}: {} of {} free", size(free), size(total));
    if !terms.is_enough(free, total) {
        found.fail(about, detail, "make room: below this no session begins");
    } else if !terms.is_enough(free / 2, total) {
        let (percent, least) = (terms.free_percent, size(terms.free_bytes));
        let hint = format!("make room before it is at {percent} % or {least}, the smaller");
        found.warn(about, detail, &hint);
    } else {
        found.ok(about, detail);
    }
}

/// How far the receivers of the audit log are.
fn receivers(config: &Config, found: &mut Findings) {
    let watch = Watch::new(&config.forward);
    for reached in watch.look(jiff::Timestamp::now()) {
        let about = "audit log";
        let sink = &reached.sink;
        let hint = "journalctl -u bastion-forward (docs/audit.md)";
        match (reached.check(), &reached.error, reached.lag) {
            (Err(what), _, _) => {
                found.fail(
                    about,
                    format!("no session begins for the sink {sink}: {what}"),
                    hint,
                );
            }
            (Ok(()), Some(error), _) => {
                let detail = format!("the sink {sink} lacks {} events: {error}", reached.behind);
                found.warn(about, detail, hint);
            }
            (Ok(()), None, None) => {
                let detail = format!(
                    "nothing is known of the sink {sink} in {}",
                    watch.dir().display()
                );
                found.warn(
                    about,
                    detail,
                    "systemctl enable --now bastion-forward.service",
                );
            }
            (Ok(()), None, Some(lag)) if lag > LAG => {
                let detail = format!(
                    "the sink {sink} last had everything {} s ago",
                    lag.as_secs()
                );
                found.warn(about, detail, hint);
            }
            (Ok(()), None, Some(_)) => {
                let detail = format!(
                    "the sink {sink} has it up to event {}",
                    reached.acknowledged
                );
                found.ok(about, detail);
            }
        }
    }
}

async fn recorder(config: &Config, found: &mut Findings) {
    match &config.recording.socket {
        None => found.warn(
            "recorder",
            "embedded: whoever takes over the network-facing process can change recordings",
            "run bastion-recorder.service under its own user, and set recording.socket",
        ),
        Some(socket) => match Recorder::connect(socket).await {
            Ok(recorder) => {
                let disk = recorder.disk().await;
                recorder.close().await;
                let shown = "recordings";
                match disk {
                    Ok(disk) => disk_of(config, shown, disk, found),
                    Err(error) => found.warn(
                        "disk",
                        format!("{shown}: {error}"),
                        "journalctl -u bastion-recorder",
                    ),
                }
                found.ok(
                    "recorder",
                    format!("answers at {}, a process of its own", socket.display()),
                );
            }
            Err(error) => found.fail(
                "recorder",
                format!("{}: {error}", socket.display()),
                "systemctl status bastion-recorder; may this user enter the socket's folder?",
            ),
        },
    }
}

/// Whether somebody is told what waits for a decision. Nothing is told here.
async fn webhooks(config: &Config, offline: bool, found: &mut Findings) {
    // What is wrong with them is among the files.
    let Ok(hooks) = Hooks::open(&config.notify, &config.webhooks) else {
        return;
    };
    if config.webhooks.is_empty() {
        return found.ok(
            "webhooks",
            "none: approvers look for themselves what waits for them",
        );
    }
    if offline {
        let count = config.webhooks.len();
        return found.ok(
            "webhooks",
            format!("{count} configured, their files are right"),
        );
    }
    for (shown, answered) in hooks.probe().await {
        match answered {
            Ok(()) => found.ok("webhook", format!("{shown} answers")),
            Err(error) => found.fail(
                "webhook",
                format!("{shown}: {error}"),
                "is it up, reachable from here, and its certificate's CA known (ca_file)?",
            ),
        }
    }
}

async fn provider(config: &Config, found: &mut Findings) {
    let oidc = &config.oidc;
    let Probed {
        client,
        clock,
        refresh,
        pkce,
    } = match probe(oidc).await {
        Ok(probed) => probed,
        Err(error) => {
            return found.fail(
                "provider",
                format!("{}: {error}", oidc.issuer),
                "is oidc.issuer exactly what the provider calls itself, and reachable from here?",
            );
        }
    };
    found.ok("provider", format!("{} answers", oidc.issuer));
    match clock {
        None => found.warn(
            "clock",
            "the provider does not say what time it is",
            "run an NTP client",
        ),
        Some(off) if off.unsigned_abs() > oidc.clock_skew => found.fail(
            "clock",
            format!("{} s apart from the provider's", off.as_secs()),
            "run an NTP client: tokens would not be believed",
        ),
        Some(off) => found.ok(
            "clock",
            format!("within {} s of the provider's", off.as_secs().abs() + 1),
        ),
    }
    match client {
        Ok(()) => found.ok("device flow", format!("{} gets a code", oidc.client_id)),
        Err(error) => found.fail(
            "device flow",
            error,
            "allow the device authorization grant for the client, and the scopes of oidc.scopes",
        ),
    }
    if !pkce {
        found.warn(
            "pkce",
            "the provider does not offer S256",
            "nothing to do where it has no such setting",
        );
    }
    let asked = oidc.scopes.iter().any(|scope| scope == "offline_access");
    match (oidc.recheck_by, refresh) {
        (RecheckBy::None, _) => found.warn(
            "re-checks",
            "off: who leaves the company stays signed in until the lease ends",
            "set oidc.recheck_by = \"auto\"",
        ),
        (RecheckBy::Userinfo, _) => {
            found.ok("re-checks", "at userinfo, while the access token lives")
        }
        (_, false) => found.warn(
            "re-checks",
            "the provider does not say that it issues refresh tokens",
            "sign in once, and look for \"could not be re-checked\" in the log",
        ),
        (_, true) if !asked => found.warn(
            "re-checks",
            "oidc.scopes has no offline_access: many providers then issue no refresh token",
            "add it, unless the provider refuses it (Google, GitLab)",
        ),
        (_, true) => found.ok("re-checks", "by refresh token"),
    }
}

async fn targets(inventory: &Inventory, within: Duration, found: &mut Findings) {
    if inventory.is_empty() {
        return found.warn("targets", "none", "bastion target add");
    }
    for target in inventory.iter() {
        let address = target.address();
        let shown = format!("{} at {address}", target.name());
        match host_keys_of(address.host(), address.port(), within).await {
            Ok(keys) if keys.iter().any(|key| accepted(target, key)) => {
                found.ok("target", format!("{shown} shows the key that is pinned"));
            }
            Ok(_) if !target.host_keys().authorities().is_empty() => found.ok(
                "target",
                format!("{shown} answers; its certificate is checked at each session"),
            ),
            Ok(_) => found.fail(
                "target",
                format!("{shown} shows another key than the pinned one"),
                "find out why first; then: bastion target probe, compare by hand, and pin it anew",
            ),
            Err(error) => found.fail(
                "target",
                format!("{shown}: {}", super::chain(&error)),
                "is it up, and reachable from here?",
            ),
        }
    }
}

fn accepted(target: &Target, key: &crate::ssh::keys::PublicKey) -> bool {
    target
        .host_keys()
        .accepts(target.address().host(), key)
        .is_ok()
}

/// Free bytes for whoever is not root, and the size of the disk of a folder that is there or will be
/// made.
fn free_of(folder: &Path) -> Option<(u64, u64)> {
    let there = folder.ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some((
        disk.f_bavail.saturating_mul(disk.f_frsize),
        disk.f_blocks.saturating_mul(disk.f_frsize),
    ))
}

fn size(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1_u32 << 30))
}

/// A receiver that is slower than this is worth a look.
const LAG: Duration = Duration::from_secs(60);
