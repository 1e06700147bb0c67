//! Other implementations than OpenSSH: paramiko and asyncssh as clients and servers, ssh-audit.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::files::{installed, make_key};
use tests::peer::{ask, script, serve};
use tests::process::run;
use tests::ssh::{Prompt, Session};
use tests::world::{Setup, World, target_at};

#[test]
fn paramiko_and_asyncssh_run_commands() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let commands = [
        "echo in; echo err >&2; exit 3",
        "cat",
        "head -c 3000000 /dev/zero | wc -c",
    ];
    let what = client.told(&json!({
        "do": "run", "commands": commands, "input": "\u{ff}\u{0}typed",
    }))?;
    for peer in ["raw.py", "client.py"] {
        let answers = ask(peer, &[&what])?;
        let at = |place: &str| answers.pointer(place).cloned().unwrap_or_default();
        ensure!(
            at("/0/stdout") == "in\n" && at("/0/stderr") == "err\n" && at("/0/status") == 3,
            "{peer}: {answers}"
        );
        ensure!(
            at("/1/stdout") == "\u{ff}\u{0}typed" && at("/1/status") == 0,
            "{peer}: {answers}"
        );
        ensure!(at("/2/stdout") == "3000000\n", "{peer}: {answers}");
    }
    Ok(())
}

/// A second implementation signs in for the first time: no prompt, only instructions.
#[test]
fn paramiko_signs_in_with_the_device_flow() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let what = client.told(&json!({"do": "interactive", "commands": ["echo in"]}))?;
    let session = Session::start(&mut script("raw.py", &[&what])?)?;
    let prompt: Prompt = session.prompt()?;
    world
        .provider
        .approve(&prompt.uri, &prompt.code, "ana", &[])?;
    let output = session.finish()?.ok()?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        answer.get("stdout") == Some(&Value::from("in\n")),
        "{answer}"
    );
    let prompts = answer
        .get("prompts")
        .and_then(Value::as_array)
        .context("prompts")?;
    ensure!(
        prompts.iter().all(|count| count == 0),
        "somebody has to press Enter: {answer}"
    );
    ensure!(
        answer.get("left") == Some(&json!(["keyboard-interactive"])),
        "{answer}"
    );
    Ok(())
}

/// The server reads its host key anew for each client, so the folder stays as long as it does.
pub(crate) type Server = (tests::process::Running, tempfile::TempDir);

/// The password of the server.
pub(crate) const PASSWORD: &str = "correct horse 71b2";

/// A server of `target.py`: its handle, its port, and its host key's public line.
pub(crate) fn server(mode: &str) -> Result<(Server, u16, String)> {
    let folder = tempfile::tempdir()?;
    let host_key = folder.path().join("host_key");
    let line = make_key(&host_key)?;
    let ask_for = json!({"mode": mode, "password": PASSWORD, "host_key": host_key});
    let (server, answer) = serve("target.py", &[&ask_for.to_string()])?;
    let port = u16::try_from(
        answer
            .get("port")
            .and_then(Value::as_u64)
            .context("a port")?,
    )?;
    Ok(((server, folder), port, line))
}

fn with_server(mode: &'static str, password: &'static str) -> Result<(Server, World)> {
    let (mut servers, world) = with_servers(&[("box", mode)], password, "")?;
    Ok((servers.pop().context("the server")?, world))
}

/// A world in which each of these servers is a target, with lines of `[limits]`.
pub(crate) fn with_servers(
    targets: &[(&'static str, &str)],
    password: &'static str,
    limits: &str,
) -> Result<(Vec<Server>, World)> {
    let (mut servers, mut known) = (Vec::new(), Vec::new());
    for (name, mode) in targets {
        let (server, port, line) = server(mode)?;
        servers.push(server);
        known.push((*name, port, line));
    }
    let world = World::start(&Setup {
        limits: limits.to_owned(),
        targets: Box::new(move |sshd, home| {
            let file = home.join("keys/password");
            std::fs::write(&file, password)?;
            private(&file)?;
            let credential = format!("password_file = \"{}\"", file.display());
            let one = |(name, port, line): &(&str, u16, String)| {
                let identity = format!("host_keys = [\"{line}\"]");
                target_at(name, *port, &identity, &sshd.login, &credential)
            };
            Ok(known.iter().map(one).collect())
        }),
        ..Setup::default()
    })?;
    Ok((servers, world))
}

fn private(file: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(
        file,
        std::fs::Permissions::from_mode(0o600),
    )?)
}

#[test]
fn a_target_that_takes_a_password() -> Result<()> {
    let (_server, world) = with_server("password", "correct horse 71b2\n")?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "password: echo in\n");
    Ok(())
}

#[test]
fn a_target_that_refuses_the_password_is_69_and_one_line() -> Result<()> {
    let (_server, world) = with_server("password", "wrong battery 92c1\n")?;
    let client = world.signed_in()?;
    let output = client.exec("box", "echo in", b"")?;
    ensure!(
        output.code() == 69 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = crate::one_line(&output)?;
    ensure!(!line.contains("battery"), "{line}");
    Ok(())
}

/// OpenSSH's server delivers no signals to logins of root, so this is another one.
#[test]
fn signals_reach_the_command() -> Result<()> {
    let (_server, world) = with_server("signals", "correct horse 71b2\n")?;
    let client = world.signed_in()?;
    for signal in [
        "ABRT", "ALRM", "HUP", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2",
    ] {
        let what = json!({"do": "signal", "command": "any", "signal": signal});
        let answer = ask("client.py", &[&client.told(&what)?])?;
        ensure!(
            answer.get("stdout") == Some(&Value::from(format!("caught {signal}\n"))),
            "{signal}: {answer}"
        );
        ensure!(
            answer.get("status") == Some(&Value::from(9)),
            "{signal}: {answer}"
        );
    }
    Ok(())
}

/// The library's client grants such channels by itself.
#[test]
fn a_target_that_opens_channels_gets_none() -> Result<()> {
    let (_server, world) = with_server("opens-channels", "correct horse 71b2\n")?;
    let client = world.signed_in()?;
    let mut wrong = Vec::new();
    for kind in [
        "auth-agent@openssh.com",
        "x11",
        "forwarded-tcpip",
        "forwarded-streamlocal@openssh.com",
        "direct-tcpip",
        "direct-streamlocal@openssh.com",
        "session",
        "tun@openssh.com",
        "nobody-knows@example.test",
    ] {
        let output = client.exec("box", kind, b"")?;
        if output.code() != 0 || output.out() != "[]\n" {
            wrong.push(format!(
                "{kind}: {} {} {}",
                output.code(),
                output.out(),
                output.err()
            ));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

/// What is no message at all ends that session, with a line, and no other.
#[test]
fn a_target_that_breaks_the_protocol_ends_its_session_only() -> Result<()> {
    let (_server, world) = with_server("opens-nonsense", "correct horse 71b2\n")?;
    let client = world.signed_in()?;
    let mut other = client.start(&[&client.on("vault"), "--", "echo started; exec cat"])?;
    other.stdout.expect("started")?;
    let output = client.exec("box", "anything", b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = crate::one_line(&output)?;
    ensure!(line.contains("connection to the target was lost"), "{line}");
    let mut input = other.stdin.take().context("its input")?;
    std::io::Write::write_all(&mut input, b"still here\n")?;
    other.stdout.expect("still here")?;
    drop(input);
    ensure!(other.end()?.success());
    Ok(())
}

#[test]
fn ssh_audit_finds_no_failure() -> Result<()> {
    let world = World::usual()?;
    let mut command = std::process::Command::new(installed("venv/bin/ssh-audit")?);
    command.args([
        "--json",
        "-p",
        &world.bastion()?.port.to_string(),
        "127.0.0.1",
    ]);
    let output = run("ssh-audit", &mut command, b"")?;
    let report: Value =
        serde_json::from_slice(&output.stdout).with_context(|| output.out() + &output.err())?;
    let mut failures = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        let listed = report
            .get(kind)
            .and_then(Value::as_array)
            .context("algorithms")?;
        ensure!(!listed.is_empty(), "{kind}: {report}");
        for algorithm in listed {
            let fails = algorithm.pointer("/notes/fail").and_then(Value::as_array);
            if fails.is_some_and(|notes| !notes.is_empty()) {
                failures.push(algorithm.to_string());
            }
        }
    }
    ensure!(failures.is_empty(), "{failures:?}");
    ensure!(
        report
            .get("cves")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty),
        "{:?}",
        report.get("cves")
    );
    ensure!(
        report.get("compression") == Some(&json!(["none"])),
        "{:?}",
        report.get("compression")
    );
    Ok(())
}
