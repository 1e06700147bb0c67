//! The demo's SSH target, met by the stock `ssh` and `sftp` directly, without a bastion.
#![expect(clippy::unwrap_used, reason = "a failed test")]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use demo::stage::keys;
use demo::target::{self, Settings, Target};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Stage {
    folder: TempDir,
    target: Target,
    ca: PrivateKey,
}

impl Stage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (host, user, ca) = (
            keys::new().unwrap(),
            keys::new().unwrap(),
            keys::new().unwrap(),
        );
        keys::write(&user, &at("user")).unwrap();
        keys::write(&keys::new().unwrap(), &at("stranger")).unwrap();
        for name in ["home", "bin"] {
            fs::create_dir(at(name)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_demo"), at("bin/sql")).unwrap();
        target::furnish(&at("home"), "orders-db").unwrap();
        let target = Target::start(Settings {
            home: at("home"),
            commands: at("bin"),
            program: env!("CARGO_BIN_EXE_demo").into(),
            host_key: host.clone(),
            logins: HashMap::from([
                ("postgres".to_owned(), vec![user.public_key().clone()]),
                ("analyst".to_owned(), vec![]),
            ]),
            user_ca: Some(ca.public_key().clone()),
        })
        .await
        .unwrap();
        let known = format!("target {}\n", keys::line(host.public_key()).unwrap());
        fs::write(at("known_hosts"), known).unwrap();
        Self { folder, target, ca }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, key: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-F", "none"]);
        for option in [
            format!("Port={}", self.target.address().port()),
            format!("IdentityFile={}", self.at(key).display()),
            format!("UserKnownHostsFile={}", self.at("known_hosts").display()),
            "HostKeyAlias=target".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
        command
    }

    async fn ssh(&self, login: &str, options: &[&str], line: &str, stdin: &[u8]) -> Output {
        let mut command = self.command("ssh", "user");
        command.args(options).arg(format!("{login}@127.0.0.1"));
        if !line.is_empty() {
            command.arg(line);
        }
        finish(command, stdin).await
    }

    fn certify(&self, principal: &str, kind: CertType, ca: &PrivateKey, from: i64, to: i64) {
        let user = PrivateKey::read_openssh_file(self.at("user")).unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .cast_signed();
        let times = [from, to].map(|offset| (now + offset).cast_unsigned());
        let nonce = keys::new().unwrap().public_key().to_bytes().unwrap();
        let mut builder = Builder::new(
            nonce,
            user.public_key().key_data().clone(),
            times[0],
            times[1],
        )
        .unwrap();
        builder.cert_type(kind).unwrap().key_id("test").unwrap();
        builder.valid_principal(principal).unwrap();
        let certificate = builder.sign(ca).unwrap();
        fs::write(self.at("user-cert.pub"), certificate.to_openssh().unwrap()).unwrap();
    }
}

async fn finish(mut command: Command, stdin: &[u8]) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tests need openssh-client");
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let write = async move {
        // A process that does not read all of it is not a fault here.
        drop(pipe.write_all(&stdin).await);
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1.unwrap() };
    tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .expect("it hangs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_keep_streams_status_and_bytes_apart() {
    let stage = Stage::start().await;
    let table: [(&str, &[u8], &str, &str, i32); 7] = [
        ("echo out; echo err >&2; exit 3", b"", "out\n", "err\n", 3),
        ("printf 'a\\r\\nb\\0c'", b"", "a\r\nb\0c", "", 0),
        ("cat", b"up\n", "up\n", "", 0),
        ("wc -c", &[7; 300_000], "300000\n", "", 0),
        (
            "echo $USER:$(basename $HOME); test -t 0 || echo no terminal",
            b"",
            "postgres:home\nno terminal\n",
            "",
            0,
        ),
        ("sql -At 'select count(*) from orders'", b"", "120\n", "", 0),
        ("exec nothing-of-that-name 2>/dev/null", b"", "", "", 127),
    ];
    for (line, stdin, out, err, status) in table {
        let seen = stage.ssh("postgres", &[], line, stdin).await;
        assert_eq!(
            (text(&seen.stdout), text(&seen.stderr), seen.status.code()),
            (out.to_owned(), err.to_owned(), Some(status)),
            "{line}"
        );
    }
    let killed = stage.ssh("postgres", &[], "kill -TERM $$", b"").await;
    assert_eq!(killed.status.code(), Some(255), "{killed:?}");
    stage.target.stop().await;
}

/// Each side waits for the other to read: only a target that goes on taking input gets through.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_read_late_does_not_stop_output() {
    let stage = Stage::start().await;
    let line = "head -c 20000000 /dev/zero; wc -c >&2";
    let seen = stage.ssh("postgres", &[], line, &vec![0; 20_000_000]).await;
    assert_eq!(
        (seen.stdout.len(), text(&seen.stderr)),
        (20_000_000, "20000000\n".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_has_a_terminal() {
    let stage = Stage::start().await;
    let script = b"tty; stty size; echo $TERM; exit 5\n";
    let seen = stage
        .ssh("postgres", &["-tt", "-o", "SetEnv=TERM=vt100"], "", script)
        .await;
    let out = text(&seen.stdout);
    assert!(out.contains("This is orders-db"), "{out}");
    assert!(out.contains("/dev/pts/"), "{out}");
    assert!(out.contains("vt100"), "{out}");
    assert_eq!(seen.status.code(), Some(5), "{out}");
}

/// A job that ignores the hang-up is ended with the connection all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_ends_with_its_connection() {
    let stage = Stage::start().await;
    let mut command = stage.command("ssh", "user");
    command
        .arg("postgres@127.0.0.1")
        .arg("trap '' HUP; mkfifo f; echo ready; cat <f");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line)
        .await
        .unwrap();
    assert_eq!(line, "ready\n");
    // This waits until `cat` has opened its end: from here on there is something to end.
    let pipe = stage.at("home/f");
    let opened = tokio::task::spawn_blocking(|| fs::File::options().write(true).open(pipe));
    let writer = opened.await.unwrap().unwrap();
    child.kill().await.unwrap();
    stage.target.stop().await;
    // The other end of a pipe hears when its last reader is gone, which may be a moment after the
    // shell that it was started by.
    let gone = tokio::task::spawn_blocking(move || {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let patience = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let mut ends = [PollFd::new(&writer, PollFlags::empty())];
        poll(&mut ends, Some(&patience)).unwrap();
        ends.map(|end| end.revents().contains(PollFlags::ERR))
    });
    assert_eq!(gone.await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_keys_and_certificates_of_the_ca_get_in() {
    let stage = Stage::start().await;
    let now = (-60, 120);
    let other = keys::new().unwrap();
    assert!(
        stage
            .ssh("postgres", &[], "true", b"")
            .await
            .status
            .success()
    );
    assert!(
        !stage
            .ssh("analyst", &[], "true", b"")
            .await
            .status
            .success(),
        "no certificate"
    );
    assert!(
        !stage.ssh("root", &[], "true", b"").await.status.success(),
        "no such login"
    );
    let mut stranger = stage.command("ssh", "stranger");
    stranger.arg("postgres@127.0.0.1").arg("true");
    assert!(
        !finish(stranger, b"").await.status.success(),
        "an unknown key"
    );
    let table = [
        ("analyst", CertType::User, &stage.ca, now, true),
        ("postgres", CertType::User, &stage.ca, now, false),
        ("analyst", CertType::Host, &stage.ca, now, false),
        ("analyst", CertType::User, &other, now, false),
        ("analyst", CertType::User, &stage.ca, (-120, -60), false),
        ("analyst", CertType::User, &stage.ca, (60, 120), false),
    ];
    for (principal, kind, ca, (from, to), expected) in table {
        stage.certify(principal, kind, ca, from, to);
        let seen = stage.ssh("analyst", &[], "true", b"").await;
        assert_eq!(
            seen.status.success(),
            expected,
            "{principal} {kind:?} {from} {to} {seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_both_ways_and_forwarding_does_not() {
    let stage = Stage::start().await;
    if target::sftp_server().is_some() {
        let bytes: Vec<u8> = (0..1_000_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2])
            .collect();
        fs::write(stage.at("up"), &bytes).unwrap();
        let mut sftp = stage.command("sftp", "user");
        sftp.args(["-b", "-", "postgres@127.0.0.1"]);
        let batch = format!(
            "put {} remote\nget remote {}\nget config.yaml {}\n",
            stage.at("up").display(),
            stage.at("down").display(),
            stage.at("config").display()
        );
        let seen = finish(sftp, batch.as_bytes()).await;
        assert!(seen.status.success(), "{seen:?}");
        assert_eq!(fs::read(stage.at("down")).unwrap(), bytes);
        assert!(
            fs::read_to_string(stage.at("config"))
                .unwrap()
                .starts_with("service: orders")
        );
    }
    let port = stage.target.address().port();
    let forward = format!("127.0.0.1:{port}");
    let seen = stage.ssh("postgres", &["-W", &forward], "", b"").await;
    assert!(!seen.status.success(), "{seen:?}");
    let mode = fs::metadata(stage.at("user")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
