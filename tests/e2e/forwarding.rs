//! Ports, sockets and agents, where a policy grants them: through the target, recorded, ended with what let them be.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::process::{Running, run, run_ok};
use tests::ssh::{Client, Session};
use tests::sshd;
use tests::world::{ACCESS, PROTECT, Setup, World};

use crate::reload::audited;

const MIB: usize = 1 << 20;
const CLOSED: &str = "@id(\"closed\") forbid (principal, action in [Action::\"forward\", Action::\"agent\"], resource);\n";

/// Sends back whatever comes, on every connection, for as long as the test runs.
fn echo(mut from: impl Read, mut to: impl Write, done: impl FnOnce()) {
    drop(std::io::copy(&mut from, &mut to));
    done();
}

/// A server of that kind; its port.
fn echo_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        while let Ok((peer, _)) = listener.accept() {
            std::thread::spawn(move || {
                let (Ok(from), Ok(to)) = (peer.try_clone(), peer.try_clone()) else {
                    return;
                };
                echo(from, to, || drop(peer.shutdown(Shutdown::Write)));
            });
        }
    });
    Ok(port)
}

/// The same behind a socket.
fn echo_socket(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    std::thread::spawn(move || {
        while let Ok((peer, _)) = listener.accept() {
            std::thread::spawn(move || {
                let (Ok(from), Ok(to)) = (peer.try_clone(), peer.try_clone()) else {
                    return;
                };
                echo(from, to, || drop(peer.shutdown(Shutdown::Write)));
            });
        }
    });
    Ok(())
}

/// `ssh -N -L`, once it listens: the client's own end is a socket, so that no port is guessed.
fn forwarded(client: &Client<'_>, target: &str, to: &str) -> Result<(Session, PathBuf)> {
    let path = client.dir.join("forwarded");
    let lead = format!("{}:{to}", path.display());
    let mut session = client.start(&["-N", "-L", &lead, &client.on(target)])?;
    tests::files::wait_for_file(&path, &mut session.running)
        .with_context(|| session.stderr.text())?;
    Ok((session, path))
}

fn with(access: &str, protect: &str) -> Result<World> {
    World::start(&Setup {
        access: access.to_owned(),
        protect: protect.to_owned(),
        ..Setup::default()
    })
}

#[test]
fn a_port_is_reached_through_the_target() -> Result<()> {
    let mut world = World::usual()?;
    let client = world.signed_in()?;
    let port = echo_port()?;
    let to = format!("127.0.0.1:{port}");
    let output = client.run(&["-W", &to, &client.on("box")], b"there and back\n")?;
    ensure!(output.out() == "there and back\n", "{output:?}");
    // It is decided, recorded and accounted for like any session.
    let allowed = audited(&world, "channel_allowed", 1)?.concat();
    ensure!(
        allowed.contains("\"action\":\"forward\"")
            && allowed.contains(&format!("\"command\":\"{to}\"")),
        "{allowed}"
    );
    let started = audited(&world, "session_started", 1)?.concat();
    ensure!(
        started.contains("\"kind\":\"forward\"") && started.contains(&format!("\"to\":\"{to}\"")),
        "{started}"
    );
    let ended = audited(&world, "session_ended", 1)?.concat();
    ensure!(
        ended.contains("\"passed\":0,\"masked\":0,\"held\":0,\"unreadable\":15,\"received\":15"),
        "{ended}"
    );
    world.stop()?;
    let cast = world.recordings().of_command(&to)?;
    ensure!(
        format!("{:?}", cast.events).contains("there and back"),
        "{:?}",
        cast.events
    );
    Ok(())
}

#[test]
fn a_socket_is_reached_through_the_target() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let socket = client.dir.join("behind");
    echo_socket(&socket)?;
    let (_session, path) = forwarded(&client, "box", &socket.display().to_string())?;
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(b"over a socket")?;
    stream.shutdown(Shutdown::Write)?;
    let mut back = String::new();
    stream.read_to_string(&mut back)?;
    ensure!(back == "over a socket", "{back}");
    Ok(())
}

/// The bastion itself dials nothing that a client names: a target that forwards nothing is the end of it.
#[test]
fn the_bastion_dials_no_place_by_itself() -> Result<()> {
    let world = World::start(&Setup {
        sshd: Box::new(|_| {
            Ok(sshd::Options {
                lines: "AllowTcpForwarding no\nAllowStreamLocalForwarding no\n".to_owned(),
                ..sshd::Options::default()
            })
        }),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let trap = TcpListener::bind("127.0.0.1:0")?;
    trap.set_nonblocking(true)?;
    let to = format!("127.0.0.1:{}", trap.local_addr()?.port());
    let output = client.run(&["-W", &to, &client.on("box")], b"hello\n")?;
    ensure!(output.code() != 0 && output.stdout.is_empty(), "{output:?}");
    ensure!(trap.accept().is_err(), "something was dialled");
    let failed = audited(&world, "target_failed", 1)?.concat();
    ensure!(failed.contains("the target refuses a channel"), "{failed}");
    Ok(())
}

#[test]
fn without_a_grant_nothing_is_forwarded() -> Result<()> {
    let world = with(&format!("{ACCESS}{CLOSED}"), PROTECT)?;
    let client = world.signed_in()?;
    let trap = TcpListener::bind("127.0.0.1:0")?;
    trap.set_nonblocking(true)?;
    let to = format!("127.0.0.1:{}", trap.local_addr()?.port());
    let output = client.run(&["-W", &to, &client.on("box")], b"hello\n")?;
    ensure!(
        output.code() != 0
            && output.stdout.is_empty()
            && output.err().contains("administratively prohibited"),
        "{output:?}"
    );
    ensure!(trap.accept().is_err(), "something was dialled");
    let denied = audited(&world, "channel_denied", 1)?.concat();
    ensure!(
        denied.contains("\"action\":\"forward\"") && denied.contains("\"policies\":[\"closed\"]"),
        "{denied}"
    );
    Ok(())
}

/// A policy can say where a forwarding may lead.
#[test]
fn a_grant_can_be_for_one_place() -> Result<()> {
    let port = echo_port()?;
    let access = format!(
        "permit (principal in Group::\"staff\", action == Action::\"forward\", resource)\nwhen {{ context has to && context.to == \"127.0.0.1:{port}\" }};\n"
    );
    let world = with(&access, PROTECT)?;
    let client = world.signed_in()?;
    let on = client.on("box");
    let output = client.run(&["-W", &format!("127.0.0.1:{port}"), &on], b"fine\n")?;
    ensure!(output.out() == "fine\n", "{output:?}");
    for other in [format!("localhost:{port}"), "127.0.0.1:1".to_owned()] {
        let output = client.run(&["-W", &other, &on], b"fine\n")?;
        ensure!(
            output.stdout.is_empty() && output.err().contains("administratively prohibited"),
            "{other}: {output:?}"
        );
    }
    Ok(())
}

/// What goes over a forwarding is not read, so that it is refused where a rule covers the account, unless the policy
/// says otherwise; and a rule that holds is not lifted by that.
#[test]
fn a_covered_account_forwards_only_where_the_policy_says_so() -> Result<()> {
    let port = echo_port()?;
    let to = format!("127.0.0.1:{port}");
    let pass = "[unreadable]\nforward = \"pass\"\n";
    let holds = "[[rule]]\nname = \"all\"\ntargets = [\"vault\"]\nfields = [\"salary\"]\naction = { hold = { approvers = \"boss\" } }\n";
    let boss = format!(
        "{ACCESS}permit (principal in Group::\"boss\", action == Action::\"approve\", resource);\n"
    );
    for (protect, passes) in [
        (PROTECT.to_owned(), false),
        (format!("{PROTECT}{pass}"), true),
        (format!("{PROTECT}{holds}{pass}"), false),
    ] {
        let world = with(&boss, &protect)?;
        let client = world.signed_in()?;
        let output = client.run(&["-W", &to, &client.on("vault")], b"ssn: 078-05-1120\n")?;
        ensure!(
            output.out() == if passes { "ssn: 078-05-1120\n" } else { "" },
            "{protect}: {output:?}"
        );
        if !passes {
            let denied = audited(&world, "channel_denied", 1)?.concat();
            ensure!(denied.contains("this channel cannot be read"), "{denied}");
        }
        // Where no rule is, nothing is asked.
        let output = client.run(&["-W", &to, &client.on("box")], b"in\n")?;
        ensure!(output.out() == "in\n", "{output:?}");
    }
    Ok(())
}

#[test]
fn new_policies_end_a_forwarding() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let to = format!("127.0.0.1:{}", echo_port()?);
    let mut session = client.start(&["-W", &to, &client.on("box")])?;
    let mut input = session.stdin.take().context("its input")?;
    input.write_all(b"before\n")?;
    session.stdout.expect("before")?;
    std::fs::write(
        world.home.join("policies/access.cedar"),
        format!("{ACCESS}{CLOSED}"),
    )?;
    world.command(&["reload"])?.ok()?;
    // Its input is open, so that nothing but the bastion ends it.
    session.end()?;
    let ended = audited(&world, "session_ended", 1)?.concat();
    ensure!(ended.contains("new policies no longer allow it"), "{ended}");
    drop(input);
    Ok(())
}

/// 64 MiB there and back on one connection, byte for byte, while another stands still, and memory stays bounded.
#[test]
fn a_forwarding_carries_bulk_both_ways() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let to = format!("127.0.0.1:{}", echo_port()?);
    let (_session, path) = forwarded(&client, "box", &to)?;
    let bastion = world.bastion()?;
    let before = bastion.memory()?.sum();
    bastion.forget_peak()?;
    // Nobody ever reads what comes back here: the echo stops, and with it what is sent.
    let still = UnixStream::connect(&path)?;
    still.set_write_timeout(Some(std::time::Duration::from_secs(1)))?;
    let chunk = vec![7; MIB];
    let mut stuck = &still;
    while stuck.write_all(&chunk).is_ok() {}
    let stream = UnixStream::connect(&path)?;
    let mut sender = stream.try_clone()?;
    let sent = std::thread::spawn(move || -> Result<u64> {
        let mut sum = Sum::default();
        for n in 0..64 {
            let piece = piece(n);
            sender.write_all(&piece)?;
            sum.add(&piece);
        }
        sender.shutdown(Shutdown::Write)?;
        Ok(sum.0)
    });
    let (mut received, mut length) = (Sum::default(), 0);
    let (mut reader, mut buffer) = (stream, vec![0; 256 * 1024]);
    loop {
        let n = reader.read(&mut buffer)?;
        let Some(got) = buffer.get(..n).filter(|got| !got.is_empty()) else {
            break;
        };
        received.add(got);
        length += n;
    }
    let sent = sent.join().ok().context("the sender")??;
    ensure!(length == 64 * MIB && received.0 == sent, "{length} bytes");
    let grown = bastion.peak()?.sum().saturating_sub(before) as usize;
    ensure!(grown < 64 * MIB, "memory grew by {} MiB", grown / MIB);
    drop(still);
    Ok(())
}

/// A mebibyte that is like no other.
fn piece(n: u64) -> Vec<u8> {
    let mut state = n + 1;
    let words = (0..MIB / 8).flat_map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    });
    words.collect()
}

/// FNV-1a: an order of bytes, whatever their cuts.
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// An agent with one key, and the fingerprint of that.
struct Agent {
    socket: PathBuf,
    fingerprint: String,
    _running: Running,
}

impl Agent {
    fn start(client: &Client<'_>) -> Result<Self> {
        let socket = client.dir.join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null());
        let mut running = Running::start("ssh-agent", &mut command)?;
        tests::files::wait_for_file(&socket, &mut running)?;
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(&client.key).env("SSH_AUTH_SOCK", &socket);
        run_ok("ssh-add", &mut add)?;
        let mut show = Command::new("ssh-keygen");
        show.arg("-lf").arg(&client.key);
        let shown = run("ssh-keygen", &mut show, b"")?.ok()?.out();
        Ok(Self {
            fingerprint: shown.split(' ').nth(1).context("a fingerprint")?.to_owned(),
            socket,
            _running: running,
        })
    }

    /// `ssh` that lets this agent be asked.
    fn ssh(&self, client: &Client<'_>) -> Command {
        let mut command = client.ssh();
        let agent = format!("IdentityAgent={}", self.socket.display());
        command.args(["-A", "-o", &agent, &client.on("box"), "--"]);
        command
    }
}

#[test]
fn the_clients_agent_answers_on_the_target() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let agent = Agent::start(&client)?;
    let output = run(
        "ssh",
        agent.ssh(&client).arg("ssh-add -l && ssh-add -l"),
        b"",
    )?
    .ok()?;
    let listed = output.out().matches(&agent.fingerprint).count();
    ensure!(listed == 2, "{output:?}");
    let allowed = audited(&world, "channel_allowed", 4)?.concat();
    ensure!(allowed.contains("\"action\":\"agent\""), "{allowed}");
    // Each channel to it is written down by itself.
    let started = audited(&world, "session_started", 3)?.concat();
    ensure!(
        started.matches("\"kind\":\"agent\"").count() == 2,
        "{started}"
    );
    // Whoever does not ask for it has none.
    let output = client
        .exec("box", "echo agent=$SSH_AUTH_SOCK.", b"")?
        .ok()?;
    ensure!(output.out() == "agent=.\n", "{output:?}");
    Ok(())
}

#[test]
fn without_a_grant_no_agent_is_forwarded() -> Result<()> {
    let world = with(&format!("{ACCESS}{CLOSED}"), PROTECT)?;
    let client = world.signed_in()?;
    let agent = Agent::start(&client)?;
    let output = run(
        "ssh",
        agent.ssh(&client).arg("echo agent=$SSH_AUTH_SOCK."),
        b"",
    )?
    .ok()?;
    ensure!(output.out() == "agent=.\n", "{output:?}");
    let refused = audited(&world, "request_refused", 1)?.concat();
    ensure!(refused.contains("\"auth-agent-req\""), "{refused}");
    Ok(())
}

/// The right is asked for anew for each channel, however old the session is.
#[test]
fn a_right_that_is_lost_closes_the_way_to_the_agent() -> Result<()> {
    let world = World::start(&Setup {
        policies: "[policies]\ndir = \"policies\"\non_revoke = \"keep\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let agent = Agent::start(&client)?;
    let mut command = agent.ssh(&client);
    command.arg("ssh-add -l; read go; ssh-add -l; echo over");
    let mut session = Session::start(&mut command)?;
    session.stdout.expect(&agent.fingerprint)?;
    let access = format!("{ACCESS}{CLOSED}");
    std::fs::write(world.home.join("policies/access.cedar"), access)?;
    world.command(&["reload"])?.ok()?;
    let mut input = session.stdin.take().context("its input")?;
    input.write_all(b"go\n")?;
    session.stdout.expect("over")?;
    drop(input);
    let output = session.finish()?;
    ensure!(
        output.out().matches(&agent.fingerprint).count() == 1,
        "{output:?}"
    );
    Ok(())
}
