//! Limits of a configuration that are not the defaults: each counts where it is set, to the byte.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::bastion::stopped;
use tests::peer::ask;
use tests::process::Running;
use tests::ssh::Client;
use tests::world::{Setup, World};

fn limits(lines: &str) -> Result<World> {
    World::start(&Setup {
        limits: lines.to_owned(),
        ..Setup::default()
    })
}

/// What `client.py` says, on the target `box`.
fn through(world: &World, client: &Client<'_>, what: Value) -> Result<Value> {
    let mut ask_for = json!({
        "port": world.bastion()?.port, "key": client.key, "host_key": world.host_key,
        "user": format!("{}@box", world.sshd.login),
    });
    let all = ask_for.as_object_mut().context("an object")?;
    all.extend(what.as_object().context("an object")?.clone());
    ask("client.py", &[&ask_for.to_string()])
}

#[test]
fn names_are_as_long_as_is_set() -> Result<()> {
    let login = tests::files::account()?;
    let world = limits(&format!("login_name = {}\ntarget_name = 5", login.len()))?;
    let client = world.signed_in()?;
    for target in ["box", "vault"] {
        let output = client.exec(target, "echo in", b"")?.ok()?;
        ensure!(output.out() == "in\n", "{target}: {output:?}");
    }
    for user in [format!("{login}x@box"), format!("{login}@vaults")] {
        let mut refused = client.ssh();
        refused.args(["-o", &format!("User={user}"), "bastion", "--", "echo in"]);
        let output = tests::process::run("ssh", &mut refused, b"")?;
        ensure!(
            output.code() == 255 && output.stdout.is_empty(),
            "{user}: {output:?}"
        );
        let line = crate::one_line(&output)?;
        ensure!(line.contains("name is longer than"), "{user}: {line}");
    }
    // The check says which names nobody can type.
    let text = std::fs::read_to_string(world.home.join("bastion.toml"))?;
    let text = text.replace("target_name = 5", "target_name = 4");
    std::fs::write(world.home.join("bastion.toml"), text)?;
    let output = world.command(&["check"])?;
    ensure!(output.code() == 1, "{output:?}");
    ensure!(
        output
            .err()
            .contains("the name of target \"vault\" has 5 bytes: nobody reaches it"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn commands_are_as_long_as_is_set() -> Result<()> {
    let world = limits("command_bytes = 100")?;
    let client = world.signed_in()?;
    let of = |length: usize| format!("echo {}", "x".repeat(length - 5));
    let fits = client.exec("box", of(100), b"")?.ok()?;
    ensure!(fits.out().len() == 96, "{fits:?}");
    let refused = client.exec("box", of(101), b"")?;
    ensure!(
        refused.code() != 0 && refused.stdout.is_empty(),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn variables_are_those_that_are_set() -> Result<()> {
    let world = limits("env = [\"PROBE_*\"]\nenv_value_bytes = 4")?;
    let client = world.signed_in()?;
    let env = json!({
        "PROBE_FITS": "1234", "PROBE_LONG": "12345", "LANG": "C", "BASTION_HOLD": "detach",
    });
    let command = "echo \"$PROBE_FITS,$PROBE_LONG,$LANG,$BASTION_HOLD\"";
    let what = json!({"do": "run", "commands": [command], "env": env});
    let answer = through(&world, &client, what)?;
    ensure!(
        answer.pointer("/0/stdout") == Some(&Value::from("1234,,,\n")),
        "{answer}"
    );
    Ok(())
}

#[test]
fn terminals_are_as_large_as_is_set() -> Result<()> {
    let world = limits("pty_columns = 100\npty_rows = 30")?;
    let client = world.signed_in()?;
    let command = "trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done";
    let what = json!({
        "do": "sizes", "command": command, "first": [101, 31], "then": [[80, 24], [500, 29], [100, 30]],
    });
    let seen = through(&world, &client, what)?;
    ensure!(
        seen == json!(["30 100", "24 80", "29 100", "30 100"]),
        "{seen}"
    );
    Ok(())
}

#[test]
fn sizes_change_as_often_as_is_set() -> Result<()> {
    let world = limits("pty_changes_per_second = 1")?;
    let client = world.signed_in()?;
    let command = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done";
    let since = Instant::now();
    let what = json!({"do": "resizes", "command": command, "count": 40});
    let seen = through(&world, &client, what)?;
    let count = seen.as_array().context("a list")?.len() as u64;
    // Where the machine is slow more may pass; never more than one a second, and the first.
    ensure!(
        (1..=since.elapsed().as_secs() + 2).contains(&count),
        "{seen}"
    );
    Ok(())
}

/// Queues of a sixteenth of what is usual: everything arrives, and a stalled upload waits where it is set.
#[test]
fn queues_are_as_long_as_is_set() -> Result<()> {
    let world = limits(
        "channel_queue = 131072\nchannel_queue_max = 262144\nconnection_queue_max = 524288",
    )?;
    let client = world.signed_in()?;
    let input: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let output = client.exec("box", "cat", &input)?.ok()?;
    ensure!(output.stdout == input, "{} bytes", output.stdout.len());
    // What a client may send unread: the window that is announced.
    let mut command = client.ssh();
    command.args(["-v", "-v", &client.on("box"), "--", "true"]);
    let said = tests::process::run("ssh", &mut command, b"")?.ok()?.err();
    ensure!(
        said.lines()
            .any(|line| line.contains("rwindow 65536") || line.contains("remote window 65536")),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_console_line_is_as_long_as_is_set() -> Result<()> {
    let world = limits("console_line = 300")?;
    let client = world.signed_in()?;
    let of = |length: usize| format!("whoami{}", " ".repeat(length - 6));
    client.console(&of(300))?.ok()?;
    let output = client.console(&of(301))?;
    ensure!(output.code() == 2 && output.stdout.is_empty(), "{output:?}");
    ensure!(
        crate::one_line(&output)?.contains("longer than 300 bytes"),
        "{output:?}"
    );
    Ok(())
}

/// A recorder that stands still ends sessions after as long as is set, and not never.
#[test]
fn a_recorder_stalls_as_soon_as_is_set() -> Result<()> {
    let world = World::start(&Setup {
        recording: "stall = \"1s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in; read line; echo out"])?;
    session.stdout.expect("in\n")?;
    let recorder = world.bastion()?.recorder()?;
    let signal = |signal| -> Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(recorder)?).context("an id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    };
    signal(Signal::STOP)?;
    stopped(recorder)?;
    drop(session.stdin.take());
    let status = session.end()?;
    signal(Signal::CONT)?;
    ensure!(!status.success(), "{status}");
    let said = String::from_utf8_lossy(&session.stderr.all()?).into_owned();
    ensure!(said.contains("the recorder does not answer"), "{said:?}");
    ensure!(!session.stdout.text().contains("out"), "unrecorded");
    Ok(())
}

/// A session whose client stands still, so that it hears no last words.
fn standing_still(client: &Client<'_>) -> Result<Running> {
    let mut command = client.ssh();
    command.args([&client.on("box"), "--", "cat /dev/zero"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut still = Running::start("ssh", &mut command)?;
    let mut stdout = still.raw_stdout()?;
    std::io::Read::read_exact(&mut stdout, &mut [0; 1024])?;
    still.signal(Signal::STOP)?;
    stopped(still.id())?;
    Ok(still)
}

/// Each of the two alone ends a bastion long before the other would.
#[test]
fn the_end_takes_no_longer_than_is_set() -> Result<()> {
    for (session_end, shutdown) in [("30s", "1s"), ("100ms", "5m")] {
        let mut world = limits(&format!(
            "drain = \"0s\"\nsession_end = \"{session_end}\"\nshutdown = \"{shutdown}\""
        ))?;
        let still = {
            let client = world.signed_in()?;
            standing_still(&client)?
        };
        let since = Instant::now();
        world
            .stop()
            .with_context(|| format!("{session_end}, {shutdown}"))?;
        let took = since.elapsed();
        ensure!(
            took < Duration::from_secs(25),
            "{session_end}, {shutdown}: {took:?}"
        );
        still.signal(Signal::KILL)?;
    }
    Ok(())
}
