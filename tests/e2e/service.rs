//! The program as a service: handed-over sockets, readiness, signs of life, users of its own, metrics.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::process::{Running, run};
use tests::world::{Setup, World};

/// Where the units are.
fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

const SERVICES: [&str; 3] = [
    "bastion.service",
    "bastion-recorder.service",
    "bastion-forward.service",
];

#[test]
fn units_are_right_and_expose_little() -> Result<()> {
    let root = tempfile::tempdir()?;
    let at = |path: &str| root.path().join(path);
    for folder in ["usr/bin", "bin", "etc/systemd/system", "usr/lib/systemd"] {
        std::fs::create_dir_all(at(folder))?;
    }
    let mut copy = Command::new("cp");
    copy.arg("-a")
        .arg("/usr/lib/systemd/system")
        .arg(at("usr/lib/systemd/"));
    run("cp", &mut copy, b"")?.ok()?;
    for name in ["usr/bin/bastion", "bin/kill"] {
        std::fs::copy("/bin/true", at(name))?;
    }
    for name in SERVICES.iter().chain(&["bastion.socket"]) {
        std::fs::copy(units().join(name), at("etc/systemd/system").join(name))?;
    }
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no", "--root"])
        .arg(root.path());
    verify.args(SERVICES).arg("bastion.socket");
    let verified = run("systemd-analyze verify", &mut verify, b"")?.ok()?;
    ensure!(verified.err().is_empty(), "{verified:?}");
    for name in SERVICES {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--threshold=20", "--no-pager"]);
        run(
            "systemd-analyze security",
            security.arg(units().join(name)),
            b"",
        )?
        .ok()?;
    }
    let mut sysusers = Command::new("systemd-sysusers");
    sysusers
        .arg("--root")
        .arg(root.path())
        .arg(units().join("sysusers.conf"));
    run("systemd-sysusers", &mut sysusers, b"")?.ok()?;
    let users = std::fs::read_to_string(at("etc/passwd"))?;
    for name in SERVICES {
        let unit = std::fs::read_to_string(units().join(name))?;
        let line = |key: &str| {
            let found = unit.lines().find_map(|line| line.strip_prefix(key));
            found.with_context(|| format!("{name} has no {key}"))
        };
        let user = line("User=")?;
        ensure!(
            users
                .lines()
                .any(|known| known.starts_with(&format!("{user}:"))),
            "{user}"
        );
        // The command line is one that the program takes.
        let words: Vec<&str> = line("ExecStart=")?.split(' ').skip(1).collect();
        let is_option = |word: &&&str| word.starts_with("--");
        let commands = words.iter().take_while(|word| !is_option(word));
        let mut help = Command::new(tests::bastion::path()?);
        let help = run("bastion", help.args(commands).arg("--help"), b"")?
            .ok()?
            .out();
        for option in words.iter().filter(is_option) {
            ensure!(help.contains(option), "{name}: there is no {option}");
        }
    }
    Ok(())
}

/// A `bastion serve` that a service manager started: on `socket`, and telling `notify`.
fn managed(world: &World, socket: &TcpListener, notify: &Path) -> Result<Running> {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 </dev/null; WATCHDOG_PID=$$ LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"",
        ])
        .arg(tests::bastion::path()?)
        .args(["serve", "--config"])
        .arg(world.home.join("bastion.toml"))
        .env("NOTIFY_SOCKET", notify)
        .env("WATCHDOG_USEC", "200000")
        .env("RUST_LOG", "info")
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone()?)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Running::start("bastion", &mut command)
}

/// What a service manager is told, as it comes.
struct Manager {
    said: Arc<Mutex<Vec<String>>>,
    place: PathBuf,
}

impl Manager {
    fn listen(place: PathBuf) -> Result<Self> {
        let socket = UnixDatagram::bind(&place)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend(text.lines().map(str::to_owned));
            }
        });
        Ok(Self { said, place })
    }

    /// Waits for a line, and forgets what came before it.
    fn told(&self, wanted: &str) -> Result<()> {
        let until = std::time::Instant::now() + tests::DEADLINE;
        loop {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = said.iter().position(|line| line == wanted) {
                said.drain(..=at);
                return Ok(());
            }
            drop(said);
            ensure!(std::time::Instant::now() < until, "{wanted} was not said");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn an_upgrade_by_socket_activation_refuses_no_connection_under_load() -> Result<()> {
    let mut world = World::start(&Setup {
        limits: "drain = \"10s\"\nunauthenticated_per_source = 512".to_owned(),
        ..Setup::default()
    })?;
    let key = {
        let client = world.signed_in()?;
        client.key.clone()
    };
    world.stop()?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    let manager = Manager::listen(world.place("notify-")?.join("socket"))?;
    let mut first = managed(&world, &socket, &manager.place)?;
    manager.told("READY=1")?;
    manager.told("WATCHDOG=1")?;

    let stop = AtomicBool::new(false);
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let known_hosts = world.place("known-")?.join("hosts");
    std::fs::write(&known_hosts, format!("bastion {}\n", world.host_key))?;
    let ssh = || {
        let mut command = Command::new("ssh");
        command.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "HostKeyAlias=bastion",
        ]);
        command
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known_hosts.display()));
        command.arg("-p").arg(port.to_string()).arg("-i").arg(&key);
        command.args(["127.0.0.1", "whoami"]);
        run("ssh", &mut command, b"")
    };
    std::thread::scope(|scope| -> Result<()> {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let fine = ssh().is_ok_and(|output| output.code() == 0);
                        if fine { &done } else { &failed }.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let until = |count: usize| -> Result<()> {
            let end = std::time::Instant::now() + tests::DEADLINE;
            while done.load(Ordering::SeqCst) < count {
                ensure!(std::time::Instant::now() < end, "the load does not go on");
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        };
        let upgraded = (|| {
            until(8)?;
            first.signal(Signal::TERM)?;
            manager.told("STOPPING=1")?;
            ensure!(first.wait()?.success());
            let second = managed(&world, &socket, &manager.place)?;
            manager.told("READY=1")?;
            until(done.load(Ordering::SeqCst) + 12)?;
            stop.store(true, Ordering::SeqCst);
            Ok(second)
        })();
        stop.store(true, Ordering::SeqCst);
        for thread in load {
            thread.join().ok().context("the load")?;
        }
        let mut second = upgraded?;
        second.signal(Signal::TERM)?;
        ensure!(second.wait()?.success());
        Ok(())
    })?;
    let (done, failed) = (done.into_inner(), failed.into_inner());
    ensure!(failed == 0, "{failed} of {} were refused", done + failed);
    Ok(())
}

/// The users of the two units, as numbers that nobody else has.
const SERVE: u32 = 64_201;
const RECORDER: u32 = 64_202;

/// A command line of a unit under its user.
fn under(user: u32, groups: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &user.to_string()]);
    command.args([
        "--groups",
        groups,
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
    ]);
    command
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn give(path: &Path, user: u32) -> Result<()> {
    chown(path, Some(user), Some(user))?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

#[test]
fn the_two_processes_run_under_users_of_their_own() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "this test has to change users: run it as root"
    );
    let mut world = World::usual()?;
    let key = world.signed_in()?.key.clone();
    world.stop()?;
    let base = tempfile::Builder::new()
        .prefix("bastion-users-")
        .tempdir()?;
    std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755))?;
    let program = base.path().join("bastion");
    std::fs::copy(tests::bastion::path()?, &program)?;
    let folder = |name: &str, user: u32, mode: u32| -> Result<PathBuf> {
        let path = base.path().join(name);
        std::fs::create_dir_all(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        chown(&path, Some(user), Some(user))?;
        Ok(path)
    };
    let recordings = folder("var-recorder", RECORDER, 0o700)?.join("recordings");
    let socket = folder("run-recorder", RECORDER, 0o750)?.join("recorder.sock");
    let home = folder("home", SERVE, 0o700)?;
    run(
        "cp",
        Command::new("cp")
            .arg("-a")
            .arg(world.home.join("."))
            .arg(&home),
        b"",
    )?
    .ok()?;
    // The targets' keys lie beside the target; here they are the bastion's.
    let target_key = home.join("keys/target");
    std::fs::copy(&world.sshd.user_key, &target_key)?;
    let targets = std::fs::read_to_string(home.join("targets.toml"))?;
    let there = world.sshd.user_key.display().to_string();
    std::fs::write(
        home.join("targets.toml"),
        targets.replace(&there, "keys/target"),
    )?;
    give(&home, SERVE)?;
    let config = home.join("bastion.toml");
    let text = std::fs::read_to_string(&config)?;
    let place = format!("[recording]\nsocket = \"{}\"", socket.display());
    std::fs::write(&config, text.replace("[recording]", &place))?;

    let mut recorder = under(RECORDER, &RECORDER.to_string(), &program);
    recorder
        .args(["recorder", "--dir"])
        .arg(&recordings)
        .arg("--socket")
        .arg(&socket);
    let mut recorder = Running::start("bastion recorder", &mut recorder)?;
    tests::files::wait_for_file(&socket, &mut recorder)?;
    let ready = home.join("ready.json");
    let mut serve = under(SERVE, &format!("{SERVE},{RECORDER}"), &program);
    serve
        .args(["serve", "--config"])
        .arg(&config)
        .arg("--ready-file")
        .arg(&ready);
    serve.env("RUST_LOG", "info");
    let mut serve = Running::start("bastion serve", &mut serve)?;
    let log = serve.stderr()?;
    tests::files::wait_for_file(&ready, &mut serve).with_context(|| log.text())?;
    let port = port_of(&ready)?;
    let output = ssh_to(
        &world,
        &key,
        port,
        &format!("{}@box", world.sshd.login),
        "echo recorded",
    )?;
    ensure!(
        output.code() == 0 && output.out() == "recorded\n",
        "{output:?}\n{}",
        log.text()
    );

    let mut files = 0;
    let mut folders = vec![recordings.clone()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at)? {
            let path = entry?.path();
            let metadata = std::fs::symlink_metadata(&path)?;
            ensure!(
                metadata.uid() == RECORDER,
                "{} is not the recorder's",
                path.display()
            );
            ensure!(metadata.mode() & 0o077 == 0, "{} is open", path.display());
            if metadata.is_dir() {
                folders.push(path);
            } else {
                files += 1;
            }
        }
    }
    ensure!(files > 0, "nothing was recorded");
    // The network-facing process can neither read nor write there.
    let mut look = under(SERVE, &format!("{SERVE},{RECORDER}"), Path::new("ls"));
    ensure!(run("ls", look.arg(&recordings), b"")?.code() != 0);
    serve.signal(Signal::TERM)?;
    ensure!(serve.wait()?.success(), "{}", log.text());
    recorder.signal(Signal::TERM)?;
    ensure!(recorder.wait()?.success());
    Ok(())
}

fn port_of(ready: &Path) -> Result<u16> {
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(ready)?)?;
    let address = ready
        .pointer("/addresses/0")
        .and_then(serde_json::Value::as_str);
    let port = address.and_then(|address| address.rsplit_once(':'));
    Ok(port.context("an address")?.1.parse()?)
}

fn ssh_to(
    world: &World,
    key: &Path,
    port: u16,
    name: &str,
    command: &str,
) -> Result<tests::process::Output> {
    let known_hosts = world.place("known-")?.join("hosts");
    std::fs::write(&known_hosts, format!("bastion {}\n", world.host_key))?;
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "HostKeyAlias=bastion",
    ]);
    ssh.arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()));
    ssh.arg("-p").arg(port.to_string()).arg("-i").arg(key);
    ssh.arg(format!("{name}@127.0.0.1")).arg(command);
    run("ssh", &mut ssh, b"")
}

/// A page of the metrics' port: status and body.
pub(crate) fn page(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(tests::DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, body.to_owned()))
}

#[test]
fn what_goes_on_is_seen_in_metrics_and_readiness() -> Result<()> {
    // A port that is free now, and most likely still in a moment.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let world = World::start(&Setup {
        limits: format!("[metrics]\nlisten = \"127.0.0.1:{port}\""),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    client
        .exec("vault", "printf '{\"ssn\":\"078-05-1120\"}\\n'", b"")?
        .ok()?;
    client.exec("no-such", "true", b"")?;
    let (status, text) = page(port, "/metrics")?;
    ensure!(status == 200);
    let value = |name: &str| -> Result<f64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("{name}:\n{text}"))?.parse()?)
    };
    ensure!((value("bastion_sign_ins_total{outcome=\"succeeded\"}")? - 1.0).abs() < 0.1);
    ensure!((value("bastion_sessions_started_total{kind=\"exec\"}")? - 1.0).abs() < 0.1);
    ensure!(value("bastion_channels_total{decision=\"denied\"}")? > 0.0);
    ensure!(value("bastion_output_bytes_total{coverage=\"masked\"}")? > 0.0);
    ensure!(value("bastion_recorder_answer_seconds")? < 2.0);
    ensure!(value("bastion_recordings_disk_free_bytes")? > 0.0);
    ensure!((value("bastion_leases")? - 1.0).abs() < 0.1);
    // Nothing of people, addresses or targets is a label.
    for secret in ["ana", "127.0.0.1", "vault", "SHA256", "no-such"] {
        ensure!(!text.contains(secret), "{secret} in\n{text}");
    }
    ensure!(page(port, "/healthz")?.0 == 200);
    ensure!(page(port, "/readyz")?.0 == 200);
    ensure!(page(port, "/elsewhere")?.0 == 404);

    let recorder = world.bastion()?.recorder()?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(recorder)?).context("a pid")?;
    rustix::process::kill_process(pid, Signal::STOP)?;
    tests::bastion::stopped(recorder)?;
    let (status, body) = page(port, "/readyz")?;
    rustix::process::kill_process(pid, Signal::CONT)?;
    ensure!(
        status == 503 && body.contains("recorder"),
        "{status} {body}"
    );
    ensure!(page(port, "/healthz")?.0 == 200);
    Ok(())
}

#[test]
fn doctor_finds_what_is_wrong_and_says_what_to_do() -> Result<()> {
    let mut world = World::usual()?;
    let verdicts = |world: &World, more: &[&str]| -> Result<(i32, Vec<(String, String)>)> {
        let output = world.command(&[&["doctor", "--json"], more].concat())?;
        let report: serde_json::Value =
            serde_json::from_str(&output.out()).with_context(|| format!("{output:?}"))?;
        let findings = report
            .pointer("/findings")
            .and_then(|found| found.as_array());
        let text = |finding: &serde_json::Value, name: &str| {
            let value = finding.get(name).and_then(|value| value.as_str());
            value.unwrap_or_default().to_owned()
        };
        let findings = findings.context("findings")?.iter();
        let found: Vec<_> = findings
            .map(|finding| {
                let hint = text(finding, "hint");
                assert!(
                    text(finding, "verdict") == "ok" || !hint.is_empty(),
                    "{finding}"
                );
                (text(finding, "about"), text(finding, "verdict"))
            })
            .collect();
        Ok((output.code(), found))
    };
    let is = |found: &[(String, String)], about: &str, verdict: &str| {
        let mut all = found.iter().filter(|(name, _)| name == about).peekable();
        let there = all.peek().is_some();
        let fine = all.any(|(_, found)| found == verdict);
        ensure!(there && fine, "{about} is not {verdict}: {found:?}");
        Ok(())
    };
    // While it runs, and embedded.
    let (code, found) = verdicts(&world, &[])?;
    ensure!(code == 0, "{found:?}");
    for about in [
        "configuration",
        "files",
        "store",
        "provider",
        "clock",
        "device flow",
        "re-checks",
        "target",
    ] {
        is(&found, about, "ok")?;
    }
    for about in ["recorder", "keys at rest", "store key"] {
        is(&found, about, "warn")?;
    }
    let lines = world.command(&["doctor"])?.ok()?.out();
    ensure!(
        lines.lines().any(|line| line.starts_with("ok    provider")),
        "{lines}"
    );

    let file = world.home.join("bastion.toml");
    let good = std::fs::read_to_string(&file)?;
    let change = |from: &str, to: &str| std::fs::write(&file, good.replace(from, to));
    change("client_id = \"bastion\"", "client_id = \"nobody\"")?;
    let (code, found) = verdicts(&world, &[])?;
    ensure!(code == 1);
    is(&found, "device flow", "fail")?;
    change("dir = \"recordings\"", "socket = \"no-such.sock\"")?;
    let (code, found) = verdicts(&world, &["--offline"])?;
    ensure!(
        code == 1 && !found.iter().any(|(about, _)| about == "provider"),
        "{found:?}"
    );
    is(&found, "recorder", "fail")?;
    std::fs::write(&file, &good)?;
    world.stop()?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let store = world.home.join("state/store.sqlite");
    let mut bytes = std::fs::read(&store)?;
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).for_each(|byte| *byte = 0x5a);
    std::fs::write(&store, bytes)?;
    let (code, found) = verdicts(&world, &["--offline"])?;
    ensure!(code == 1);
    is(&found, "store", "fail")?;
    let key = world.home.join("keys/ssh_host_ed25519_key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))?;
    let (_, found) = verdicts(&world, &["--offline"])?;
    is(&found, "files", "fail")?;
    std::fs::write(&file, "listen = 1")?;
    let (code, found) = verdicts(&world, &[])?;
    ensure!(code == 1);
    is(&found, "configuration", "fail")?;
    Ok(())
}
