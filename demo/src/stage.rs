//! The stage: a temporary folder with keys, configuration and policies; the provider, the targets
//! and the bastion on loopback; and the end of all of it.
//!
//! Owns what is started and the files. What is played on it is the tour's or the person's.

mod files;
pub mod keys;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{self, Instant};

use crate::provider::{Provider, ProviderError};
use crate::role::PARENT;
use crate::target::{self, Settings, Target};

/// Everything that runs. [`Stage::stop`] ends it in order; dropping it ends it at once.
#[derive(Debug)]
pub struct Stage {
    bastion: Child,
    address: SocketAddr,
    targets: Vec<(&'static str, Target)>,
    provider: Provider,
    folder: TempDir,
}

/// Why the stage could not be set.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A file or a process.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        source: io::Error,
    },
    /// The provider did not start.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The bastion ended, or said nothing for too long.
    #[error("the bastion did not start ({how}); its last words:\n{log}")]
    Bastion {
        /// What was seen.
        how: String,
        /// The end of its log.
        log: String,
    },
}

/// How long the bastion may take to start.
const START: Duration = Duration::from_secs(30);
/// How long it may take to stop, drain included, before it is killed.
const STOP: Duration = Duration::from_secs(5);

/// The targets, with their labels and logins.
pub(crate) const TARGETS: [(&str, &[&str], &[&str]); 3] = [
    ("orders-db", &["prod"], &["postgres", "analyst"]),
    ("payroll-db", &["prod", "restricted"], &["postgres"]),
    ("build-1", &["dev"], &["builder"]),
];

/// The login that is opened by a certificate of the bastion instead of a key.
pub(crate) const BY_CERTIFICATE: &str = "analyst";

impl Stage {
    /// Sets the stage; `program` is the demo's executable.
    ///
    /// # Errors
    /// When a port, a file or a process is refused, or the bastion does not start in 30 s.
    pub async fn start(program: &Path) -> Result<Self, StageError> {
        let folder = tempfile::Builder::new()
            .prefix("bastion-demo-")
            .tempdir()
            .map_err(io_error("make a temporary folder"))?;
        let at = |name: &str| folder.path().join(name);
        for name in [
            "bin",
            "keys",
            "targets",
            "bastion",
            "bastion/keys",
            "bastion/policies",
        ] {
            fs::create_dir(at(name)).map_err(io_error("make a folder"))?;
        }
        for name in ["bastion", "replay", "sql"] {
            symlink(program, at("bin").join(name)).map_err(io_error("link a program"))?;
        }
        let keys = files::Keys::make(folder.path()).map_err(io_error("make the keys"))?;
        let provider = Provider::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let targets = start_targets(program, folder.path(), &keys)
            .await
            .map_err(io_error("start the targets"))?;
        files::write(folder.path(), provider.issuer(), &targets)
            .map_err(io_error("write the configuration"))?;
        let mut bastion = start_bastion(folder.path()).map_err(io_error("start the bastion"))?;
        let address = ready(&mut bastion, folder.path()).await?;
        files::write_client(folder.path(), address, &keys).map_err(io_error("write ssh_config"))?;
        Ok(Self {
            bastion,
            address,
            targets,
            provider,
            folder,
        })
    }

    /// The folder with everything in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the bastion listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The provider's page.
    #[must_use]
    pub fn page(&self) -> String {
        self.provider.page()
    }

    /// The home of a target.
    #[must_use]
    pub fn home(&self, target: &str) -> PathBuf {
        self.folder().join("targets").join(target)
    }

    /// Returns when the bastion ends by itself. Cancel-safe.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub async fn bastion_ended(&mut self) -> io::Result<ExitStatus> {
        self.bastion.wait().await
    }

    /// The end of the bastion's log.
    #[must_use]
    pub fn log(&self) -> String {
        log(self.folder())
    }

    /// Ends the bastion, then what it spoke to, and hands over the folder, which goes away when it
    /// is dropped or closed.
    ///
    /// # Errors
    /// When the bastion can't be ended.
    pub async fn stop(mut self) -> io::Result<TempDir> {
        if let Some(pid) = pid(&self.bastion) {
            // It may have ended by itself.
            rustix::process::kill_process(pid, Signal::TERM).unwrap_or_default();
        }
        if time::timeout(STOP, self.bastion.wait()).await.is_err() {
            self.bastion.kill().await?;
        }
        for (_, target) in self.targets {
            target.stop().await;
        }
        self.provider.stop().await;
        Ok(self.folder)
    }
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> StageError {
    move |source| StageError::Io { what, source }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

async fn start_targets(
    program: &Path,
    folder: &Path,
    keys: &files::Keys,
) -> io::Result<Vec<(&'static str, Target)>> {
    let commands = folder.join("targets/bin");
    fs::create_dir(&commands)?;
    symlink(program, commands.join("sql"))?;
    let mut targets = Vec::new();
    for (name, _, logins) in TARGETS {
        let home = folder.join("targets").join(name);
        fs::create_dir(&home)?;
        target::furnish(&home, name)?;
        let logins: HashMap<_, _> = logins
            .iter()
            .map(|login| {
                let by_key =
                    (*login != BY_CERTIFICATE).then(|| keys.target_login.public_key().clone());
                ((*login).to_owned(), by_key.into_iter().collect())
            })
            .collect();
        let target = Target::start(Settings {
            home,
            commands: commands.clone(),
            program: program.to_owned(),
            host_key: keys.target_host.clone(),
            logins,
            user_ca: Some(keys.user_ca.public_key().clone()),
        });
        targets.push((name, target.await?));
    }
    Ok(targets)
}

/// Starts the real program, by the link. It gets nothing of this process's environment but
/// `RUST_LOG`: a proxy for the web, say, must not come between it and the provider.
fn start_bastion(folder: &Path) -> io::Result<Child> {
    let log = File::create(folder.join("bastion.log"))?;
    Command::new(folder.join("bin/bastion"))
        .args([
            "serve",
            "--config",
            "bastion/bastion.toml",
            "--ready-file",
            "ready.json",
        ])
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env(
            "RUST_LOG",
            std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
        )
        .env(PARENT, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the demo, which then ends the bastion by SIGTERM.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

#[derive(Deserialize)]
struct Ready {
    addresses: Vec<SocketAddr>,
}

/// Waits for the ready file, which appears whole.
async fn ready(bastion: &mut Child, folder: &Path) -> Result<SocketAddr, StageError> {
    let failed = |how: String| StageError::Bastion {
        how,
        log: log(folder),
    };
    let deadline = Instant::now() + START;
    loop {
        if let Ok(text) = fs::read_to_string(folder.join("ready.json")) {
            let ready: Ready = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            return ready
                .addresses
                .into_iter()
                .find(|address| address.ip() == loopback)
                .ok_or_else(|| failed("it does not listen on loopback".to_owned()));
        }
        match time::timeout(Duration::from_millis(20), bastion.wait()).await {
            Ok(Ok(status)) => return Err(failed(status.to_string())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) if Instant::now() > deadline => {
                return Err(failed(format!("not ready after {} s", START.as_secs())));
            }
            Err(_) => {}
        }
    }
}

/// The last twenty lines of the bastion's log.
fn log(folder: &Path) -> String {
    let text = fs::read(folder.join("bastion.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default();
    last.join("\n")
}
