//! A session that runs is watched, and played when it is over, in the same player.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::terminal::Terminal;
use tests::world::{Setup, World};

#[test]
fn a_session_that_runs_is_watched_and_then_played() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    command.arg(client.on("box"));
    let mut worker = Terminal::start(&command, 80, 24)?;
    worker.send("PS1='ready''> '; echo fi''rst\r")?;
    worker.expect("first")?;
    worker.expect("ready> ")?;
    let listed = client.console("sessions --active --json")?.ok()?;
    let listed: Value = serde_json::from_str(&listed.out())?;
    let id = listed.pointer("/sessions/0/id").and_then(Value::as_str);
    let id = id.context("a running session")?;

    let viewer = |what: &str| {
        let mut command = client.ssh();
        command.args(["-t", "bastion", "--", what, id]);
        Terminal::start(&command, 80, 24)
    };
    let mut watcher = viewer("watch")?;
    watcher.expect("first")?;
    // What comes is shown as it comes, whenever that is.
    worker.send("echo sec''ond\r")?;
    watcher.expect("second")?;
    watcher.send("q")?;
    ensure!(watcher.end()?.success());

    worker.send("exit 3\r")?;
    ensure!(worker.end()?.code() == Some(3));
    let mut player = viewer("play")?;
    player.send("G")?;
    player.expect("exit")?;
    player.send("q")?;
    ensure!(player.end()?.success());

    // There is nothing to watch without a terminal.
    let refused = client.console(&format!("watch {id}"))?;
    ensure!(
        refused.code() == 2 && refused.err().contains("ssh -t"),
        "{refused:?}"
    );
    Ok(())
}

/// The session goes on; whoever watches it sees nothing further.
#[test]
fn a_watch_ends_with_the_right_to_it() -> Result<()> {
    let world = World::start(&Setup {
        policies: "[policies]\ndir = \"policies\"\non_revoke = \"keep\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    command.arg(client.on("box"));
    let mut worker = Terminal::start(&command, 80, 24)?;
    worker.send("echo fi''rst\r")?;
    worker.expect("first")?;
    let listed = client.console("sessions --active --json")?.ok()?;
    let listed: Value = serde_json::from_str(&listed.out())?;
    let id = listed.pointer("/sessions/0/id").and_then(Value::as_str);
    let id = id.context("a running session")?;
    let mut command = client.ssh();
    command.args(["-t", "bastion", "--", "watch", id]);
    let mut watcher = Terminal::start(&command, 80, 24)?;
    watcher.expect("first")?;
    let nobody = "permit (principal in Group::\"nobody\", action, resource);\n";
    std::fs::write(world.home.join("policies/access.cedar"), nobody)?;
    world.command(&["reload"])?.ok()?;
    ensure!(watcher.end()?.code() == Some(77));
    worker.send("exit 3\r")?;
    ensure!(worker.end()?.code() == Some(3));
    Ok(())
}
