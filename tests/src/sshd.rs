//! The target: a real OpenSSH server on loopback, with a host key and a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::files::{account, is_root, make_key};
use crate::process::{Gathered, Running, run_ok};

/// A running `sshd`.
#[derive(Debug)]
pub struct Sshd {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its host key's public line.
    pub host_key: String,
    /// The private key that its authorized keys name.
    pub user_key: PathBuf,
    /// The login that it takes: the account that runs the tests.
    pub login: String,
    /// What it logs.
    pub log: Gathered,
    /// Its folder.
    pub dir: PathBuf,
    _running: Running,
}

/// What is particular about one server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The public line of a user CA that it trusts (`TrustedUserCAKeys`).
    pub user_ca: Option<String>,
    /// The private key of a host CA that signs its host key.
    pub host_ca: Option<PathBuf>,
    /// More lines of its configuration, first, so that they win.
    pub lines: String,
    /// Whether the user's key is in its authorized keys.
    pub no_authorized_key: bool,
}

impl Sshd {
    /// Starts one in `dir`, which it makes.
    ///
    /// # Errors
    /// It is missing or does not start; its log is in the error.
    pub fn start(dir: &Path, options: &Options) -> Result<Self> {
        std::fs::create_dir_all(dir.join("home"))?;
        if is_root() {
            // Its privilege separation wants this folder, which a machine without systemd lacks.
            std::fs::create_dir_all("/run/sshd")?;
        }
        let host_key = make_key(&dir.join("host_key"))?;
        let user_key = dir.join("user_key");
        let user_line = make_key(&user_key)?;
        std::fs::write(
            dir.join("authorized_keys"),
            if options.no_authorized_key {
                ""
            } else {
                &user_line
            },
        )?;
        let mut more = options.lines.clone();
        if let Some(line) = &options.user_ca {
            std::fs::write(dir.join("user_ca.pub"), line)?;
            more += &format!("\nTrustedUserCAKeys {}/user_ca.pub", dir.display());
        }
        if let Some(ca) = &options.host_ca {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args([
                "-q",
                "-h",
                "-I",
                "target",
                "-n",
                "127.0.0.1,localhost,box",
                "-V",
                "-1m:+1h",
                "-s",
            ]);
            run_ok("ssh-keygen", keygen.arg(ca).arg(dir.join("host_key.pub")))?;
            more += &format!("\nHostCertificate {}/host_key-cert.pub", dir.display());
        }
        // sshd takes no port 0: find a free one, and try again should somebody else have taken it.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            std::fs::write(dir.join("sshd_config"), configuration(dir, port, &more))?;
            let mut command = Command::new("/usr/sbin/sshd");
            command
                .args(["-D", "-e", "-f"])
                .arg(dir.join("sshd_config"));
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            let mut running = Running::start_group("sshd", &mut command)?;
            let log = running.stderr()?;
            let bound = log.wait("sshd listens", |bytes| {
                let text = String::from_utf8_lossy(bytes);
                let listens = text.contains("Server listening on");
                (listens || text.contains("Bind to port")).then_some(listens)
            })?;
            if bound {
                let login = account()?;
                return Ok(Self {
                    port,
                    host_key,
                    user_key,
                    login,
                    log,
                    dir: dir.to_owned(),
                    _running: running,
                });
            }
        }
        bail!("no free port for sshd")
    }

    /// The public line of the key that users of this server hold.
    ///
    /// # Errors
    /// The file is gone.
    pub fn user_line(&self) -> Result<String> {
        crate::files::public_line(&self.user_key).context("the user's key")
    }
}

fn configuration(dir: &Path, port: u16, more: &str) -> String {
    let dir = dir.display();
    // An empty home: what the account's own start-up files print, and how long they take, is no part of a test.
    format!(
        "{more}
SetEnv HOME={dir}/home
ListenAddress 127.0.0.1
Port {port}
HostKey {dir}/host_key
AuthorizedKeysFile {dir}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
AcceptEnv LANG LC_* COLORTERM TZ BASTION_* PROBE_*
AllowTcpForwarding yes
AllowAgentForwarding yes
AllowStreamLocalForwarding yes
Subsystem sftp internal-sftp
PrintMotd no
PrintLastLog no
UseDNS no
MaxStartups 500
MaxSessions 500
LogLevel VERBOSE
"
    )
}
