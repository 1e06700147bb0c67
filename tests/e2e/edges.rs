//! Limits of a configuration that are not the defaults: each counts where it is set, to the byte.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::bastion::stopped;
use tests::world::{Setup, World};

use crate::limits::through;

fn limits(lines: &str) -> Result<World> {
    World::start(&Setup {
        limits: lines.to_owned(),
        ..Setup::default()
    })
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
    let answer = through(&client, &what)?;
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
    let seen = through(&client, &what)?;
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
    let what = json!({"do": "resizes", "command": command, "count": 40});
    let answer = through(&client, &what)?;
    let took = answer.get("took").and_then(Value::as_f64);
    // The first goes at once, the last a second later at the earliest, and few between them.
    ensure!(took >= Some(0.9), "{answer}");
    let seen = answer.get("seen").and_then(Value::as_array);
    let seen = seen.context("a list")?.len();
    ensure!(
        seen >= 2 && (seen as f64) <= took.unwrap_or(0.0) + 2.0,
        "{answer}"
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

/// A process that stands still, each of its threads, until this is dropped.
struct Stopped(rustix::process::Pid);

impl Stopped {
    fn new(id: u32) -> Result<Self> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(id)?).context("an id")?;
        rustix::process::kill_process(pid, Signal::STOP)?;
        let still = Self(pid);
        stopped(id)?;
        Ok(still)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may be gone.
        rustix::process::kill_process(self.0, Signal::CONT).unwrap_or(());
    }
}

/// A recorder that stands still ends sessions after as long as is set, and not never.
#[test]
fn a_recorder_stalls_as_soon_as_is_set() -> Result<()> {
    let world = World::start(&Setup {
        recording: "stall = \"9s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in; read line; echo out"])?;
    session.stdout.expect("in\n")?;
    let recorder = Stopped::new(world.bastion()?.recorder()?)?;
    let since = Instant::now();
    drop(session.stdin.take());
    let status = session.end()?;
    drop(recorder);
    // The default is 5 s.
    ensure!(since.elapsed() >= Duration::from_secs(8), "too early");
    ensure!(!status.success(), "{status}");
    let said = String::from_utf8_lossy(&session.stderr.all()?).into_owned();
    ensure!(said.contains("the recorder does not answer"), "{said:?}");
    ensure!(!session.stdout.text().contains("out"), "unrecorded");
    Ok(())
}

/// A session whose recording cannot be ended is waited for as long as is set, and then cut.
#[test]
fn a_session_ends_as_soon_as_is_set() -> Result<()> {
    let world = World::start(&Setup {
        limits: "drain = \"0s\"\nsession_end = \"9s\"\nshutdown = \"60s\"".to_owned(),
        recording: "stall = \"60s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in; exec cat"])?;
    session.stdout.expect("in\n")?;
    let recorder = Stopped::new(world.bastion()?.recorder()?)?;
    let since = Instant::now();
    world.bastion()?.signal(Signal::TERM)?;
    let status = session.end()?;
    let took = since.elapsed();
    drop(recorder);
    ensure!(!status.success(), "{status}");
    // The default is 2 s; the recorder alone would be waited for 60.
    ensure!(
        (Duration::from_secs(8)..Duration::from_secs(50)).contains(&took),
        "{took:?}"
    );
    Ok(())
}

/// A recorder that stands still keeps a bastion from ending for as long as is set, and no longer.
#[test]
fn the_end_takes_no_longer_than_is_set() -> Result<()> {
    let mut world = World::start(&Setup {
        limits: "drain = \"0s\"\nshutdown = \"20s\"".to_owned(),
        recording: "stall = \"60s\"".to_owned(),
        ..Setup::default()
    })?;
    let id = world.bastion()?.recorder()?;
    let recorder = Stopped::new(id)?;
    let since = Instant::now();
    let ended = world.stop();
    let took = since.elapsed();
    drop(recorder);
    ended?;
    // The default is 10 s; the recorder alone would be waited for 60.
    ensure!(
        (Duration::from_secs(18)..Duration::from_secs(50)).contains(&took),
        "{took:?}"
    );
    tests::bastion::ended(id)
}
