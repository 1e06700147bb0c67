//! One test's world: a target, a provider, the bastion between, in one temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::bastion::Bastion;
use crate::files::make_key;
use crate::process::{Output, run};
use crate::provider::Provider;
use crate::recordings::Recordings;
use crate::ssh::Client;
use crate::sshd::{self, Sshd};

/// What is particular about one world. The default: `staff` may do everything on the targets `box`, which no
/// protection rule covers, and `vault`, which one does; both are the same sshd.
pub struct Setup {
    /// Options of the provider's `server.mjs`.
    pub provider: Vec<String>,
    /// Lines of `[oidc]`, beside issuer and client.
    pub oidc: String,
    /// Lines of `[limits]`.
    pub limits: String,
    /// Lines of `[recording]`, beside its folder.
    pub recording: String,
    /// The line or table that names the policies.
    pub policies: String,
    /// Lines of `[holds]`.
    pub holds: String,
    /// Lines of `[approval]`.
    pub approval: String,
    /// Whole sections, behind all others.
    pub sections: String,
    /// Files of its owner only in the bastion's folder: name and text.
    pub secrets: Vec<(&'static str, String)>,
    /// `access.cedar`.
    pub access: String,
    /// `protect.toml`.
    pub protect: String,
    /// `targets.toml`, made from the target and the bastion's folder.
    pub targets: Inventory,
    /// The target's options, made from the bastion's folder.
    pub sshd: TargetOptions,
    /// `RUST_LOG` of the bastion.
    pub log: String,
}

/// Makes `targets.toml` from the target and the bastion's folder.
pub type Inventory = Box<dyn Fn(&Sshd, &Path) -> Result<String>>;

/// Makes the target's options from the bastion's folder.
pub type TargetOptions = Box<dyn Fn(&Path) -> Result<sshd::Options>>;

impl Default for Setup {
    fn default() -> Self {
        Self {
            provider: Vec::new(),
            oidc: String::new(),
            limits: String::new(),
            recording: String::new(),
            policies: "policies = \"policies\"".to_owned(),
            holds: String::new(),
            approval: String::new(),
            sections: String::new(),
            secrets: Vec::new(),
            access: ACCESS.to_owned(),
            protect: PROTECT.to_owned(),
            targets: Box::new(|sshd, _| {
                let key = &sshd.user_key;
                let credential = format!("key = \"{}\"", key.display());
                Ok(format!(
                    "{}\n{}",
                    target("box", sshd, &credential),
                    target("vault", sshd, &credential)
                ))
            }),
            sshd: Box::new(|_| Ok(sshd::Options::default())),
            log: "info".to_owned(),
        }
    }
}

/// An entry of `targets.toml` for `sshd`, with its host key pinned.
pub fn target(name: &str, sshd: &Sshd, credential: &str) -> String {
    target_at(
        name,
        sshd.port,
        &format!("host_keys = [\"{}\"]", sshd.host_key),
        &sshd.login,
        credential,
    )
}

/// An entry of `targets.toml`; `identity` is its line of host keys or host CAs.
pub fn target_at(name: &str, port: u16, identity: &str, login: &str, credential: &str) -> String {
    format!(
        "[[target]]
name = \"{name}\"
address = \"127.0.0.1:{port}\"
{identity}
labels = [\"test\"]
[[target.login]]
name = \"{login}\"
{credential}
"
    )
}

/// `staff` may do everything that is proxied.
pub const ACCESS: &str = "permit (principal in Group::\"staff\", action, resource);\n";

/// A rule that covers `vault` and no other target.
pub const PROTECT: &str = "[[rule]]
name = \"numbers\"
targets = [\"vault\"]
fields = [\"ssn\"]
action = { mask = \"redact\" }
";

/// A running world. Everything in it ends and is removed with it.
pub struct World {
    /// The program under test; gone after [`World::stop`].
    bastion: Option<Bastion>,
    /// The provider.
    pub provider: Provider,
    /// The target.
    pub sshd: Sshd,
    /// The bastion's folder: configuration, state, recordings.
    pub home: PathBuf,
    /// The bastion's host key's public line.
    pub host_key: String,
    log: String,
    folder: TempDir,
}

impl World {
    /// Starts everything.
    ///
    /// # Errors
    /// Something is missing or does not start.
    pub fn start(setup: &Setup) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bastion-test-").tempdir()?;
        let home = folder.path().join("bastion");
        std::fs::create_dir_all(home.join("keys"))?;
        std::fs::create_dir_all(home.join("policies"))?;
        let provider = Provider::start(&setup.provider)?;
        make_key(&home.join("keys/user_ca"))?;
        make_key(&home.join("keys/host_ca"))?;
        secret(&home.join("keys/holds"), &"5e".repeat(32))?;
        secret(&home.join("keys/tokens"), &"5e".repeat(32))?;
        for (name, text) in &setup.secrets {
            secret(&home.join(name), text)?;
        }
        let sshd = Sshd::start(&folder.path().join("target"), &(setup.sshd)(&home)?)?;
        let host_key = make_key(&home.join("keys/ssh_host_ed25519_key"))?;
        let mut targets = (setup.targets)(&sshd, &home)?;
        if !targets.contains("\"vault\"") {
            // The usual rule names it, and a rule that protects nothing is refused.
            targets += &target(
                "vault",
                &sshd,
                &format!("key = \"{}\"", sshd.user_key.display()),
            );
        }
        std::fs::write(home.join("targets.toml"), targets)?;
        std::fs::write(home.join("policies/access.cedar"), &setup.access)?;
        std::fs::write(home.join("policies/protect.toml"), &setup.protect)?;
        std::fs::write(
            home.join("bastion.toml"),
            configuration(&provider.issuer, setup),
        )?;
        let bastion = Some(Bastion::start(&home.join("bastion.toml"), &setup.log)?);
        let log = setup.log.clone();
        Ok(Self {
            bastion,
            provider,
            sshd,
            home,
            host_key,
            log,
            folder,
        })
    }

    /// The usual one.
    ///
    /// # Errors
    /// As for [`World::start`].
    pub fn usual() -> Result<Self> {
        Self::start(&Setup::default())
    }

    /// The program under test.
    ///
    /// # Errors
    /// [`World::stop`] ended it.
    pub fn bastion(&self) -> Result<&Bastion> {
        self.bastion.as_ref().context("the bastion was stopped")
    }

    /// Ends the bastion as a service manager would, so that every recording is whole, and lets
    /// asciinema read what there is.
    ///
    /// # Errors
    /// It does not end, or not with status 0, or another program can't read a recording.
    pub fn stop(&mut self) -> Result<()> {
        let bastion = self.bastion.take().context("the bastion was stopped")?;
        let log = bastion.log.clone();
        let status = bastion.stop()?;
        anyhow::ensure!(status.success(), "after SIGTERM: {status}\n{}", log.text());
        self.recordings().read_by_asciinema()
    }

    /// Waits for the end of a bastion that was killed.
    ///
    /// # Errors
    /// It was stopped.
    pub fn reap(&mut self) -> Result<()> {
        let mut bastion = self.bastion.take().context("the bastion was stopped")?;
        bastion.wait()?;
        Ok(())
    }

    /// Starts the bastion again after [`World::stop`], on the same state.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.bastion = Some(Bastion::start(&self.home.join("bastion.toml"), &self.log)?);
        Ok(())
    }

    /// Starts the bastion again on the same state, with one line of its configuration changed.
    ///
    /// # Errors
    /// There is no such line, or it does not stop or start.
    pub fn reconfigured(&mut self, line: &str, with: &str) -> Result<()> {
        self.stop()?;
        let file = self.home.join("bastion.toml");
        let text = std::fs::read_to_string(&file)?;
        anyhow::ensure!(text.contains(line), "no {line} in:\n{text}");
        std::fs::write(&file, text.replace(line, with))?;
        self.start_again()
    }

    /// A client with a key of its own, without a lease.
    ///
    /// # Errors
    /// Its key can't be made.
    pub fn client(&self) -> Result<Client<'_>> {
        Client::new(self)
    }

    /// A client that was here before, with its folder and key: a bastion that was started again has another port.
    ///
    /// # Errors
    /// The file system's.
    pub fn returning(&self, dir: &Path) -> Result<Client<'_>> {
        Client::again(self, dir)
    }

    /// Runs SQL on the bastion's store with the stock `sqlite3`, to make what else only time would.
    ///
    /// # Errors
    /// It is missing, or refuses.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let mut command = Command::new("sqlite3");
        command.arg("-bail").args(["-cmd", ".timeout 5000"]);
        command.arg(self.home.join("state/store.sqlite")).arg(sql);
        Ok(crate::process::run_ok("sqlite3", &mut command)?.out())
    }

    /// A client with a key of its own that `ana` has signed in with.
    ///
    /// # Errors
    /// The sign-in fails.
    pub fn signed_in(&self) -> Result<Client<'_>> {
        self.signed_in_as("ana")
    }

    /// A client with a key of its own that `user` has signed in with.
    ///
    /// # Errors
    /// The sign-in fails.
    pub fn signed_in_as(&self, user: &str) -> Result<Client<'_>> {
        let client = self.client()?;
        client.sign_in(user)?;
        Ok(client)
    }

    /// A temporary folder's path for `name`, unlike any other.
    ///
    /// # Errors
    /// The file system's.
    pub fn place(&self, name: &str) -> Result<PathBuf> {
        let folder = tempfile::Builder::new()
            .prefix(name)
            .tempdir_in(self.folder.path())?;
        Ok(folder.keep())
    }

    /// The recordings.
    pub fn recordings(&self) -> Recordings {
        Recordings::of(&self.home.join("recordings"))
    }

    /// Runs another command of `bastion` with this world's configuration.
    ///
    /// # Errors
    /// It is not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(crate::bastion::path()?);
        let configuration = self.home.join("bastion.toml");
        crate::bastion::credentials(&mut command, &configuration);
        command.args(arguments).arg("--config").arg(configuration);
        run("bastion", &mut command, b"")
    }
}

fn configuration(issuer: &str, setup: &Setup) -> String {
    format!(
        "listen = [\"127.0.0.1:0\"]
name = \"bastion\"
state_dir = \"state\"
host_keys = [\"keys/ssh_host_ed25519_key\"]
user_ca = \"keys/user_ca\"
host_ca = \"keys/host_ca\"
targets = \"targets.toml\"
{}
[oidc]
issuer = \"{issuer}\"
client_id = \"bastion\"
{}
[recording]
dir = \"recordings\"
{}
[limits]
{}
[holds]
{}
[approval]
{}
{}
",
        setup.policies,
        setup.oidc,
        setup.recording,
        setup.limits,
        setup.holds,
        setup.approval,
        setup.sections
    )
}

/// A file of its owner only.
fn secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o600),
    )?)
}
