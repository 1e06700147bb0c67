//! New policies, targets and webhooks without dropping a session: SIGHUP, or `bastion reload` by the
//! control socket.
//!
//! Owns the socket and the order: everything is read and checked first, then it is put in force at
//! once; what is wrong leaves everything as it is, and says so.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::access::{Access, StableKey};
use crate::audit::Event;
use crate::config::{Config, Problem, Problems};
use crate::notify::Hooks;
use crate::session::Rooms;
use crate::target::Inventory;

/// Who asks for a reload, and how they are answered.
pub(super) struct Reload {
    work: Arc<Work>,
    /// What has begun comes to its end, whoever waits for it.
    begun: TaskTracker,
    hangup: Signal,
    control: UnixListener,
}

/// What is read, and where it is put in force.
struct Work {
    rooms: Arc<Rooms>,
    /// One after the other.
    one: Mutex<()>,
    /// Of the configuration only the webhooks are taken anew.
    file: PathBuf,
    /// As it was when the server started.
    started: Config,
}

/// The answer to `bastion reload`, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether the new policies are in force.
    pub(crate) ok: bool,
    /// What was done, or that nothing was.
    pub(crate) message: String,
    /// What is wrong.
    #[serde(default)]
    pub(crate) problems: Vec<Problem>,
}

impl Reload {
    /// Opens the control socket in the state folder. Reloads are tasks of `begun`.
    ///
    /// # Errors
    ///
    /// It cannot be made, or signals cannot be taken.
    pub(super) fn new(
        rooms: Arc<Rooms>,
        file: &Path,
        config: &Config,
        begun: TaskTracker,
    ) -> io::Result<Self> {
        let path = socket_path(&config.state_dir);
        // A socket where nobody answers was left behind by a server that was killed.
        if path
            .symlink_metadata()
            .is_ok_and(|left| left.file_type().is_socket())
        {
            if std::os::unix::net::UnixStream::connect(&path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another server runs in this state folder",
                ));
            }
            std::fs::remove_file(&path)?;
        }
        let work = Work {
            rooms,
            one: Mutex::new(()),
            file: file.to_owned(),
            started: config.clone(),
        };
        Ok(Self {
            work: Arc::new(work),
            begun,
            hangup: signal(SignalKind::hangup())?,
            control: UnixListener::bind(path)?,
        })
    }

    /// Reloads whenever somebody asks, one after the other. Never returns.
    pub(super) async fn attend(mut self) -> Infallible {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    drop(self.reload("SIGHUP").await);
                }
                accepted = self.control.accept() => match accepted {
                    Ok((stream, _)) => self.answer(stream).await,
                    Err(error) => {
                        warn!(%error, "the control socket");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                },
            }
        }
    }

    async fn answer(&self, mut stream: UnixStream) {
        let answered = tokio::time::timeout(DEADLINE, async {
            let mut command = [0_u8; COMMAND.len()];
            stream.read_exact(&mut command).await?;
            let answer = if command == *COMMAND {
                let reloaded = self.reload("bastion reload").await;
                reloaded.map_err(io::Error::other)?
            } else {
                Answer {
                    ok: false,
                    message: "there is no such command".to_owned(),
                    problems: Vec::new(),
                }
            };
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            stream.write_all(&line).await
        });
        match answered.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the control socket"),
            Err(_) => warn!("whoever asked for a reload has not heard the answer in time"),
        }
    }

    /// A reload goes on where nobody waits for its end any more.
    async fn reload(&self, by: &'static str) -> Result<Answer, JoinError> {
        let work = self.work.clone();
        let task = self.begun.spawn(async move { work.reload(by).await });
        task.await
    }
}

impl Work {
    async fn reload(&self, by: &'static str) -> Answer {
        let _one = self.one.lock().await;
        let (rooms, file) = (Arc::clone(&self.rooms), self.file.clone());
        let started = self.started.clone();
        // Reading files and compiling rules takes its time.
        let read = tokio::task::spawn_blocking(move || read(&rooms, &file, &started)).await;
        match read {
            Ok(Ok(news)) => self.apply(news, by).await,
            Ok(Err(problems)) => self.refuse(problems.into_vec(), by),
            Err(error) => self.refuse(
                vec![Problem::of_file(
                    &self.started.policies,
                    format!("cannot be read: {error}"),
                )],
                by,
            ),
        }
    }

    async fn apply(&self, news: News, by: &'static str) -> Answer {
        let News {
            access,
            hooks,
            waits,
        } = news;
        let (targets, rules) = (access.inventory().len(), access.rule_count());
        let reloaded = Event::PoliciesReloaded {
            by: by.to_owned(),
            digest: access.digest().to_owned(),
            targets,
            rules,
            webhooks: hooks.names(),
        };
        // What cannot be written down does not happen.
        if let Err(error) = self.rooms.audit.record_soon(reloaded) {
            let problem = Problem::of_file(&self.started.policies, error.notice());
            return self.refuse(vec![problem], by);
        }
        let webhooks = hooks.names().len();
        if let Err(error) = self.rooms.notifier.replace(hooks).await {
            warn!(%error, "webhooks cannot be replaced");
            let problem = Problem::of_file(&self.file, "webhooks cannot be written down now");
            return self.refuse(vec![problem], by);
        }
        self.rooms.access.replace(access);
        let mut message = format!("new policies are in force: {targets} targets, {rules} rules");
        if !waits.is_empty() {
            let waits = waits.join(", ");
            message = format!("{message}; changed, and waiting for a restart: {waits}");
        }
        info!(by, webhooks, "{message}");
        Answer {
            ok: true,
            message,
            problems: Vec::new(),
        }
    }

    fn refuse(&self, problems: Vec<Problem>, by: &'static str) -> Answer {
        let first = problems
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = "nothing was changed: the earlier policies stay in force".to_owned();
        error!(by, problems = problems.len(), first, "{message}");
        let refused = Event::PoliciesRefused {
            by: by.to_owned(),
            problems: problems.len(),
            first,
        };
        if let Err(error) = self.rooms.audit.record_soon(refused) {
            warn!(%error, "not audited");
        }
        Answer {
            ok: false,
            message,
            problems,
        }
    }
}

/// What was read and is right.
struct News {
    access: Access,
    hooks: Hooks,
    /// What of the configuration has changed and is not taken.
    waits: Vec<&'static str>,
}

/// Reads what a reload takes, from where the configuration said at the start.
fn read(rooms: &Rooms, file: &Path, started: &Config) -> Result<News, Problems> {
    let config = Config::load(file)?;
    let hooks = Hooks::open(&config.notify, &config.webhooks)?;
    let inventory = Inventory::load(&started.targets, rooms.user_ca.as_ref())?;
    let policies = &started.policies;
    let key = StableKey::File(&started.masks_key);
    let access = Access::load(policies, Arc::new(inventory), key)?;
    if access.holds() && !rooms.holds.can_hold() {
        let message = "a rule holds, but holds.key_file was not there when the bastion started";
        let problem = Problem::of_file(policies, message);
        return Err(problem.hint("make the key and restart").into());
    }
    Ok(News {
        access,
        hooks,
        waits: started.waits_for_restart(&config),
    })
}

/// Asks the server of this state folder to reload; waits for its answer.
///
/// # Errors
///
/// No server answers there.
pub(crate) fn ask(state_dir: &Path) -> io::Result<Answer> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket_path(state_dir))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(COMMAND)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::from)
}

/// Where the server listens for commands.
pub(crate) fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

const COMMAND: &[u8; 7] = b"reload\n";
/// From the command to the end of its answer.
const DEADLINE: Duration = Duration::from_secs(60);
/// After an error of the socket.
const BACK_OFF: Duration = Duration::from_millis(100);
