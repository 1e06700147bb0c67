//! The stock OpenSSH client, as a user has it: a key, a known-hosts file, a configuration file.

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::files::make_key;
use crate::process::{Gathered, Output, Running, run};
use crate::world::World;

/// One user's client: `bastion` is the bastion in its configuration, `direct` the target without it.
pub struct Client<'w> {
    world: &'w World,
    /// Its folder.
    pub dir: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    port: Cell<u16>,
}

impl<'w> Client<'w> {
    pub(crate) fn new(world: &'w World) -> Result<Self> {
        let dir = world.place("client-")?;
        let key = dir.join("id");
        make_key(&key)?;
        Self::at(world, dir)
    }

    /// Where it is a client.
    pub fn world(&self) -> &'w World {
        self.world
    }

    pub(crate) fn again(world: &'w World, dir: &Path) -> Result<Self> {
        Self::at(world, dir.to_owned())
    }

    fn at(world: &'w World, dir: PathBuf) -> Result<Self> {
        let client = Self {
            world,
            key: dir.join("id"),
            dir,
            port: Cell::new(world.bastion()?.port),
        };
        std::fs::write(
            client.dir.join("known_hosts"),
            format!(
                "bastion {}\ndirect {}\n",
                world.host_key, world.sshd.host_key
            ),
        )?;
        client.configure()?;
        Ok(client)
    }

    /// Reaches the bastion at another port, such as that of a slow link.
    ///
    /// # Errors
    /// The file system's.
    pub fn through(&self, port: u16) -> Result<()> {
        self.port.set(port);
        self.configure()
    }

    fn configure(&self) -> Result<()> {
        let (dir, sshd) = (self.dir.display(), &self.world.sshd);
        let text = format!(
            "Host direct
  HostName 127.0.0.1
  HostKeyAlias direct
  Port {}
  User {}
  IdentityFile {}
Host bastion
  HostName 127.0.0.1
  HostKeyAlias bastion
  Port {}
  IdentityFile {}
Host *
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {dir}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  PasswordAuthentication no
  ConnectTimeout 30
  LogLevel INFO
",
            sshd.port,
            sshd.login,
            sshd.user_key.display(),
            self.port.get(),
            self.key.display(),
        );
        Ok(std::fs::write(self.config(), text)?)
    }

    /// What a script of `tests/peers` is told to do as this client: `what`, and who asks for it
    /// where. Without a `user` of its own it is on `box`.
    ///
    /// # Errors
    /// `what` is no object, or the bastion was stopped.
    pub fn told(&self, what: &Value) -> Result<String> {
        let world = self.world;
        let mut all = json!({
            "port": world.bastion()?.port, "key": self.key, "host_key": world.host_key,
            "user": format!("{}@box", world.sshd.login),
        });
        let more = what.as_object().context("an object")?;
        all.as_object_mut()
            .context("an object")?
            .extend(more.clone());
        Ok(all.to_string())
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// `LOGIN@TARGET@bastion` for a target of the inventory.
    pub fn on(&self, target: &str) -> String {
        format!("{}@{target}@bastion", self.world.sshd.login)
    }

    /// `ssh` with its configuration, in a clean environment.
    pub fn ssh(&self) -> Command {
        self.tool("ssh")
    }

    /// `ssh`, `scp` or `sftp` with its configuration, in a clean environment.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("-F").arg(self.config());
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
        command.env("TERM", "xterm-256color").current_dir(&self.dir);
        command
    }

    /// Runs `command` on a target of the inventory.
    ///
    /// # Errors
    /// `ssh` is missing or does not end.
    pub fn exec(&self, target: &str, command: impl AsRef<OsStr>, input: &[u8]) -> Result<Output> {
        run(
            "ssh",
            self.ssh().arg(self.on(target)).arg("--").arg(command),
            input,
        )
    }

    /// Runs `command` on the target without the bastion.
    ///
    /// # Errors
    /// `ssh` is missing or does not end.
    pub fn direct(&self, command: impl AsRef<OsStr>, input: &[u8]) -> Result<Output> {
        run(
            "ssh",
            self.ssh().arg("direct").arg("--").arg(command),
            input,
        )
    }

    /// Runs `ssh` with these arguments.
    ///
    /// # Errors
    /// `ssh` is missing or does not end.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        run("ssh", self.ssh().args(arguments), input)
    }

    /// Runs a console command.
    ///
    /// # Errors
    /// `ssh` is missing or does not end.
    pub fn console(&self, command: &str) -> Result<Output> {
        self.run(&["bastion", "--", command], b"")
    }

    /// Starts `ssh` with these arguments and leaves it running.
    ///
    /// # Errors
    /// `ssh` is missing.
    pub fn start(&self, arguments: &[&str]) -> Result<Session> {
        Session::start(self.ssh().args(arguments))
    }

    /// Signs in as `user`: runs the console's `whoami` and does in the browser what it says.
    ///
    /// # Errors
    /// The sign-in fails; what the client printed is in the error.
    pub fn sign_in(&self, user: &str) -> Result<Output> {
        let session = self.start(&["bastion", "whoami"])?;
        let prompt = session.prompt()?;
        let browser = self
            .world
            .provider
            .approve(&prompt.uri, &prompt.code, user, &[])?;
        ensure!(
            browser.code() == 0,
            "the browser: {}{}",
            browser.out(),
            browser.err()
        );
        session.finish()?.ok().context("signing in")
    }

    /// A master connection (ControlMaster) to a target, on which [`Master::command`] opens channels.
    ///
    /// # Errors
    /// It does not connect.
    pub fn master(&self, target: &str) -> Result<Master<'_>> {
        self.master_to(self.on(target))
    }

    /// The same to the console.
    ///
    /// # Errors
    /// It does not connect.
    pub fn master_of_console(&self) -> Result<Master<'_>> {
        self.master_to("bastion".to_owned())
    }

    fn master_to(&self, destination: String) -> Result<Master<'_>> {
        let socket = self.dir.join("m");
        // One that was killed leaves its socket, which would look like the new one's.
        if socket.exists() {
            std::fs::remove_file(&socket)?;
        }
        let mut command = self.ssh();
        command.args(["-M", "-N", "-S"]).arg(&socket).args([
            "-o",
            "ControlPersist=no",
            &destination,
        ]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running::start("ssh -M", &mut command)?;
        let stderr = running.stderr()?;
        crate::files::wait_for_file(&socket, &mut running).with_context(|| stderr.text())?;
        Ok(Master {
            client: self,
            socket,
            destination,
            running,
            stderr,
        })
    }
}

/// A connection that carries several channels.
pub struct Master<'c> {
    client: &'c Client<'c>,
    socket: PathBuf,
    destination: String,
    /// The client's process.
    pub running: Running,
    /// What it wrote.
    pub stderr: Gathered,
}

impl Master<'_> {
    /// `ssh` for one more channel of this connection; add the command to run.
    pub fn command(&self) -> Command {
        let mut command = self.client.ssh();
        // Without ControlMaster, a refused channel must not become a connection of its own.
        command.arg("-S").arg(&self.socket).args([
            "-o",
            "ControlMaster=no",
            "-o",
            "ProxyCommand=false",
        ]);
        command.arg(&self.destination).arg("--");
        command
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// A client that runs, its output gathered.
#[derive(Debug)]
pub struct Session {
    /// Its standard input; take and drop it to end it.
    pub stdin: Option<ChildStdin>,
    /// Its standard output.
    pub stdout: Gathered,
    /// Its standard error.
    pub stderr: Gathered,
    /// Its process.
    pub running: Running,
}

impl Session {
    /// Starts a command.
    ///
    /// # Errors
    /// It is missing.
    pub fn start(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running::start("ssh", command)?;
        let (stdout, stderr) = (running.stdout()?, running.stderr()?);
        let stdin = running.stdin();
        Ok(Self {
            stdin,
            stdout,
            stderr,
            running,
        })
    }

    /// Waits for what a user is told to do in the browser.
    ///
    /// # Errors
    /// The client ended without having said so.
    pub fn prompt(&self) -> Result<Prompt> {
        self.stderr.wait("the address and code", |bytes| {
            Prompt::find(&String::from_utf8_lossy(bytes))
        })
    }

    /// Ends its input and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn finish(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let status = self.end()?;
        Ok(Output {
            status,
            stdout: self.stdout.all()?,
            stderr: self.stderr.all()?,
        })
    }

    /// Waits for its end, without ending its input.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.running
            .wait()
            .with_context(|| format!("stderr so far:\n{}", self.stderr.text()))
    }
}

/// The address and the code of a device sign-in (RFC 8628), as they were printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The verification URI.
    pub uri: String,
    /// The user code.
    pub code: String,
}

impl Prompt {
    /// Finds both in what a client printed, once the code's line is whole.
    pub fn find(text: &str) -> Option<Self> {
        let whole = text.rsplit_once('\n')?.0;
        let words = || {
            whole
                .split_whitespace()
                .map(|word| word.trim_matches(['.', ',', ':', '"', '\'']))
        };
        let uri =
            words().find(|word| word.starts_with("http://") || word.starts_with("https://"))?;
        let code = words().find(|word| {
            word.len() == 9
                && word.bytes().enumerate().all(|(at, byte)| {
                    if at == 4 {
                        byte == b'-'
                    } else {
                        byte.is_ascii_uppercase() || byte.is_ascii_digit()
                    }
                })
        })?;
        Some(Self {
            uri: uri.to_owned(),
            code: code.to_owned(),
        })
    }
}
