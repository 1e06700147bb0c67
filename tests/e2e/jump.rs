//! `ssh -J BASTION LOGIN@TARGET`: the connection within ends at the bastion and is like any other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::process::{Output, run};
use tests::ssh::{Client, Master, Session};
use tests::world::{Setup, World};

use crate::refusals::Trap;
use crate::reload::audited;

/// `ssh -J bastion` with the key of `client`, to which a target and a command are added.
fn jumping(client: &Client<'_>, key: &Path) -> Command {
    let mut command = client.ssh();
    command.arg("-i").arg(key).args(["-J", "bastion"]);
    command
}

fn on(world: &World, target: &str) -> String {
    format!("{}@{target}", world.sshd.login)
}

fn jump(world: &World, client: &Client<'_>, target: &str, command: &str) -> Result<Output> {
    let mut ssh = jumping(client, &client.key);
    ssh.args([&on(world, target), "--", command]);
    run("ssh -J", &mut ssh, b"")
}

/// A connection to `box` within the one of `master`, of which only the version is said.
fn within(client: &Client<'_>, master: &Master<'_>) -> Result<Session> {
    let mut command = client.ssh();
    command.arg("-S").arg(master.socket());
    command.args(["-o", "ControlMaster=no", "-W", "box:22", "bastion"]);
    Session::start(&mut command)
}

/// Whoever has signed in takes the line that `config` prints for the targets' names.
fn trusting(world: &World) -> Result<Client<'_>> {
    let client = world.signed_in()?;
    let line = printed(&client)?
        .into_iter()
        .find(|line| line.starts_with("@cert-authority "))
        .context("no line for ssh -J")?;
    ensure!(
        line.starts_with("@cert-authority box,vault ssh-ed25519 "),
        "{line}"
    );
    std::fs::write(
        client.dir.join("known_hosts"),
        format!("bastion {}\n{line}\n", world.host_key),
    )?;
    Ok(client)
}

/// The lines that `config` prints for `known_hosts`.
pub(crate) fn printed(client: &Client<'_>) -> Result<Vec<String>> {
    let text = client.console("config")?.ok()?.out();
    let (_, lines) = text
        .split_once("for ~/.ssh/known_hosts:\n")
        .context("no such lines")?;
    Ok(lines
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .map(str::to_owned)
        .collect())
}

fn active(client: &Client<'_>) -> Result<Vec<Value>> {
    let sessions = client.console("sessions --active --json")?.ok()?.out();
    let sessions: Value = serde_json::from_str(&sessions)?;
    let each = sessions.get("sessions").and_then(Value::as_array);
    each.cloned().context("no list")
}

#[test]
fn what_runs_behind_a_jump_is_masked_recorded_and_audited() -> Result<()> {
    let mut world = World::usual()?;
    let client = trusting(&world)?;
    let output = jump(
        &world,
        &client,
        "vault",
        "echo 'ssn: 078-05-1120'; echo aside >&2; exit 7",
    )?;
    ensure!(
        output.code() == 7 && output.out() == "ssn: x**\n" && output.err().contains("aside"),
        "{output:?}"
    );
    let begun: Value = serde_json::from_str(&audited(&world, "jump_begun", 1)?.concat())?;
    ensure!(
        begun.get("target") == Some(&Value::from("vault")),
        "{begun}"
    );
    let allowed: Value = serde_json::from_str(&audited(&world, "channel_allowed", 1)?.concat())?;
    ensure!(
        allowed.get("connection") == begun.get("inner")
            && begun.get("connection") != begun.get("inner"),
        "{begun}, {allowed}"
    );
    world.stop()?;
    let all = world.recordings().all()?;
    ensure!(all.len() == 1, "{} recordings", all.len());
    let cast = all.first().context("none")?;
    ensure!(
        cast.output().contains("ssn: x**") && !format!("{:?}", cast.events).contains("078-05"),
        "{:?}",
        cast.events
    );
    Ok(())
}

#[test]
fn files_and_bulk_go_through_a_jump_unchanged() -> Result<()> {
    let world = World::usual()?;
    let client = trusting(&world)?;
    let (there, back) = (client.dir.join("there"), client.dir.join("back"));
    let text: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&there, &text)?;
    let far = world.sshd.dir.join("far");
    let mut up = client.tool("scp");
    up.arg("-i").arg(&client.key).args(["-J", "bastion"]);
    up.arg(&there)
        .arg(format!("{}:{}", on(&world, "box"), far.display()));
    run("scp", &mut up, b"")?.ok()?;
    ensure!(std::fs::read(&far)? == text, "changed on its way up");
    let mut down = jumping(&client, &client.key);
    down.args([&on(&world, "box"), "--", &format!("cat {}", far.display())]);
    let output = run("ssh -J", &mut down, b"")?.ok()?;
    std::fs::write(&back, &output.stdout)?;
    ensure!(output.stdout == text, "changed on its way down");
    Ok(())
}

#[test]
fn a_client_that_knows_the_plain_key_needs_no_authority() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let refused = jump(&world, &client, "box", "echo in")?;
    ensure!(
        refused.code() == 255 && refused.stdout.is_empty(),
        "a key that nobody vouches for was taken: {refused:?}"
    );
    let known = format!("bastion {0}\nbox {0}\n", world.host_key);
    std::fs::write(client.dir.join("known_hosts"), known)?;
    let output = jump(&world, &client, "box", "echo in")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// Without a `host_ca` the plain keys are printed under the targets' names, and are enough.
#[test]
fn without_an_authority_the_printed_keys_are_taken() -> Result<()> {
    let mut world = World::usual()?;
    world.reconfigured("host_ca = \"keys/host_ca\"\n", "")?;
    let client = world.signed_in()?;
    let refused = jump(&world, &client, "box", "echo in")?;
    ensure!(
        refused.code() == 255
            && refused.stdout.is_empty()
            && refused
                .err()
                .contains("No ED25519 host key is known for box"),
        "{refused:?}"
    );
    let lines = printed(&client)?;
    let expected = format!("box,vault {}", world.host_key);
    ensure!(
        lines.len() == 2 && lines.last() == Some(&expected),
        "{lines:?}"
    );
    let known = format!("bastion {}\n{}\n", world.host_key, lines.join("\n"));
    std::fs::write(client.dir.join("known_hosts"), known)?;
    let output = jump(&world, &client, "box", "echo in")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// Whose connection it comes through proves nothing.
#[test]
fn the_connection_within_signs_in_by_itself() -> Result<()> {
    let world = World::usual()?;
    let client = trusting(&world)?;
    let other = client.dir.join("other");
    tests::files::make_key(&other)?;
    let mut command = jumping(&client, &other);
    command.args([&on(&world, "box"), "--", "echo in"]);
    let session = Session::start(&mut command)?;
    let prompt = session.prompt()?;
    let browser = world
        .provider
        .approve(&prompt.uri, &prompt.code, "bob", &[])?;
    ensure!(browser.code() == 0, "{browser:?}");
    let output = session.finish()?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    let begun: Value = serde_json::from_str(&audited(&world, "jump_begun", 1)?.concat())?;
    let allowed: Value = serde_json::from_str(&audited(&world, "channel_allowed", 1)?.concat())?;
    ensure!(
        allowed.get("user") != begun.get("user") && allowed.get("connection") == begun.get("inner"),
        "{begun}, {allowed}"
    );
    Ok(())
}

/// The connection that it came through stays, and its channel's end is enough.
#[test]
fn who_leaves_a_jump_while_the_code_is_shown_is_not_waited_for() -> Result<()> {
    let world = World::start(&Setup {
        limits: "device_flows = 1\ndevice_flows_per_source = 1".to_owned(),
        ..Setup::default()
    })?;
    let client = trusting(&world)?;
    let master = client.master_of_console()?;
    let proxy = format!(
        "ProxyCommand=ssh -F {} -S {} -o ControlMaster=no -W box:22 bastion",
        client.config().display(),
        master.socket().display()
    );
    let until = std::time::Instant::now() + tests::DEADLINE;
    let mut shown = 0;
    // The place is the only one: that another gets it is the event.
    while shown < 2 {
        let key = client.dir.join(format!("other-{shown}"));
        if !key.exists() {
            tests::files::make_key(&key)?;
        }
        let mut command = client.ssh();
        command.arg("-i").arg(&key).args(["-o", &proxy]);
        command.args([&on(&world, "box"), "--", "echo in"]);
        let session = Session::start(&mut command)?;
        if session.prompt().is_ok() {
            shown += 1;
        }
        drop(session);
        ensure!(std::time::Instant::now() < until, "the place is not freed");
    }
    ensure!(client.console("whoami").is_ok());
    Ok(())
}

#[test]
fn who_leaves_a_jump_leaves_the_session_within() -> Result<()> {
    let world = World::usual()?;
    let client = trusting(&world)?;
    let mut command = jumping(&client, &client.key);
    command.args([&on(&world, "box"), "--", "echo up; sleep 600"]);
    let session = Session::start(&mut command)?;
    session.stdout.expect("up")?;
    ensure!(active(&client)?.len() == 1);
    drop(session);
    audited(&world, "session_ended", 1)?;
    ensure!(active(&client)?.is_empty());
    Ok(())
}

#[test]
fn a_jump_leads_to_names_of_targets_and_nothing_is_dialled() -> Result<()> {
    let world = World::usual()?;
    let client = trusting(&world)?;
    let trap = Trap::set()?;
    // Nobody hears whether there is such a target before a sign-in, and then as ever.
    let plain = format!("bastion {0}\n* {0}\n", world.host_key);
    std::fs::write(client.dir.join("known_hosts"), plain)?;
    let unknown = jump(&world, &client, "no-such-target", "echo in")?;
    let direct = client.exec("no-such-target", "echo in", b"")?;
    ensure!(
        unknown.code() == direct.code()
            && unknown.stdout.is_empty()
            && crate::one_line(&unknown)? == crate::one_line(&direct)?,
        "{unknown:?}, {direct:?}"
    );
    // A login that would name a target of its own.
    let mut command = jumping(&client, &client.key);
    command.args(["-l", &on(&world, "box"), "vault", "--", "echo in"]);
    let output = run("ssh -J", &mut command, b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    for host in [
        format!("127.0.0.1:{}", trap.port()?),
        "[::1]:22".to_owned(),
        "box:23".to_owned(),
    ] {
        let output = client.run(&["-W", &host, "bastion"], b"")?;
        ensure!(
            output.code() == 255 && output.stdout.is_empty(),
            "{host}: {output:?}"
        );
    }
    ensure!(trap.untouched(), "something was dialled");
    Ok(())
}

/// It is a connection before sign-in like any other: with a deadline, and a place in the gate.
#[test]
fn a_jump_that_says_nothing_has_a_place_until_the_deadline() -> Result<()> {
    let world = World::start(&Setup {
        limits: "login_deadline = \"4s\"\nunauthenticated_per_source = 2".to_owned(),
        ..Setup::default()
    })?;
    let client = trusting(&world)?;
    let master = client.master_of_console()?;
    let within = || within(&client, &master);
    let mut silent = [within()?, within()?];
    for each in &silent {
        each.stdout.expect("SSH-2.0-bastion")?;
    }
    let one_more = within()?.finish()?;
    ensure!(
        one_more.code() != 0 && one_more.stdout.is_empty(),
        "{one_more:?}"
    );
    for each in &mut silent {
        each.end()?;
    }
    let output = jump(&world, &client, "box", "echo in")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// A connection whose sign-in has ended leads nowhere any more.
#[test]
fn nobody_jumps_from_a_sign_in_that_has_ended() -> Result<()> {
    let world = World::usual()?;
    let client = trusting(&world)?;
    let master = client.master_of_console()?;
    let within = || within(&client, &master);
    let first = within()?;
    first.stdout.expect("SSH-2.0-bastion")?;
    client.console("sign-out")?.ok()?;
    let second = within()?.finish()?;
    ensure!(second.code() != 0 && second.stdout.is_empty(), "{second:?}");
    ensure!(audited(&world, "jump_begun", 1)?.len() == 1);
    Ok(())
}

/// Where a shutdown finds a session within a connection, it is told as any.
#[test]
fn a_session_behind_a_jump_is_told_of_a_shutdown() -> Result<()> {
    let mut world = World::start(&Setup {
        limits: "drain = \"1s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = trusting(&world)?;
    let mut command = jumping(&client, &client.key);
    command.args([&on(&world, "box"), "--", "echo up; sleep 600"]);
    let mut session = Session::start(&mut command)?;
    session.stdout.expect("up")?;
    drop(client);
    world.bastion()?.signal(Signal::TERM)?;
    session.end()?;
    let told = String::from_utf8_lossy(&session.stderr.all()?).into_owned();
    ensure!(told.contains("bastion: "), "{told}");
    world.reap()
}
