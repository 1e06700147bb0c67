//! Access that is asked for and approved for a time, with stock clients.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::process::Output;
use tests::ssh::{Client, Session};
use tests::world::{Setup, World};

/// `staff` may ask for the target `box`; nothing else is allowed there.
const ACCESS: &str = "@id(\"ask\") @approvers(\"finance-approvers\") @longest(\"2h\")
permit (principal in Group::\"staff\", action == Action::\"request\", resource in Target::\"box\");
@id(\"asked\")
permit (principal in Group::\"staff\", action in [Action::\"shell\", Action::\"exec\"], resource in Target::\"box\")
when { context.approved };
permit (principal in Group::\"finance-approvers\", action == Action::\"approve\", resource);
";

fn setup() -> Setup {
    Setup {
        access: ACCESS.to_owned(),
        ..Setup::default()
    }
}

/// Runs a console command; its status must be this.
fn console(client: &Client<'_>, command: &str, status: i32) -> Result<Output> {
    let output = client.console(command)?;
    ensure!(output.code() == status, "{command}: {output:?}");
    Ok(output)
}

fn json(client: &Client<'_>, command: &str) -> Result<Value> {
    let output = console(client, &format!("{command} --json"), 0)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn word(value: &Value, key: &str) -> Result<String> {
    let text = value.get(key).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("{key} of {value}"))?
        .to_owned())
}

/// Asks, and has somebody else approve.
fn granted(ana: &Client<'_>, carol: &Client<'_>, period: &str) -> Result<String> {
    let asked = json(
        ana,
        &format!("request box --reason the nightly job --for {period}"),
    )?;
    let id = word(&asked, "id")?;
    console(carol, &format!("approve {id} --reason fine"), 0)?;
    Ok(id)
}

/// A session that goes on until its input ends, or it is cut.
fn open(client: &Client<'_>) -> Result<Session> {
    let session = client.start(&[&client.on("box"), "--", "echo begun; cat"])?;
    session.stdout.expect("begun\n")?;
    Ok(session)
}

#[test]
fn access_is_asked_for_approved_by_another_and_taken_away() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, bob, carol, dave) = (
        world.signed_in()?,
        world.signed_in_as("bob")?,
        world.signed_in_as("carol")?,
        world.signed_in_as("dave")?,
    );
    // A refusal that could be asked for says so, to those who may ask.
    let refused = ana.exec("box", "true", b"")?;
    let login = &world.sshd.login;
    let hint = format!("ask with: ssh bastion request box --login {login} --reason WHY\n");
    ensure!(
        refused.code() == 77 && refused.err().ends_with(&hint),
        "{refused:?}"
    );
    let refused = dave.exec("box", "true", b"")?;
    ensure!(
        refused.code() == 77 && !refused.err().contains("request"),
        "{refused:?}"
    );
    console(&dave, "request box --reason please", 77)?;
    console(&ana, "request nowhere --reason please", 77)?;
    console(&ana, "request box", 2)?;
    let longest = console(&ana, "request box --reason please --for 3h", 2)?;
    ensure!(longest.err().contains("at most 2h"), "{longest:?}");

    let asked = console(&ana, "request box --reason the nightly job --for 30m", 0)?.out();
    let id = asked.split(' ').next().context("an id")?.to_owned();
    ensure!(
        asked.starts_with(&format!(
            "{id} asks for {login}@box for 30m, waiting for 1 approval from finance-approvers until "
        )) && asked.ends_with(&format!("ssh bastion approve {id}\n")),
        "{asked}"
    );
    let again = console(&ana, "request box --reason again", 65)?;
    ensure!(again.err().contains(&id), "{again:?}");
    // Nobody decides on their own, nor without the group; only whole ids.
    console(&ana, &format!("approve {id}"), 77)?;
    console(&ana, &format!("revoke {id}"), 77)?;
    console(&bob, &format!("approve {id}"), 77)?;
    console(&bob, &format!("show {id}"), 77)?;
    console(&carol, &format!("cancel {id}"), 77)?;
    console(&carol, "approve R-", 2)?;
    let list = console(&carol, "requests", 0)?.out();
    ensure!(
        list.contains(&id) && list.contains("can decide") && list.contains("the nightly job"),
        "{list}"
    );
    ensure!(!console(&bob, "requests --all", 0)?.out().contains(&id));
    let shown = console(&carol, &format!("show {id}"), 0)?.out();
    ensure!(shown.contains("reason     the nightly job\n"), "{shown}");
    ensure!(ana.exec("box", "true", b"")?.code() == 77);

    let approved = console(&carol, &format!("approve {id} --reason fine"), 0)?.out();
    ensure!(approved.contains("is approved"), "{approved}");
    console(&carol, &format!("deny {id}"), 65)?;
    let output = ana.exec("box", "echo in", b"")?;
    ensure!(output.code() == 0 && output.out() == "in\n", "{output:?}");
    ensure!(bob.exec("box", "true", b"")?.code() == 77);
    let shown = json(&ana, &format!("show {id}"))?;
    ensure!(word(&shown, "state")? == "approved");

    // What it opens is among her targets, until then, and among nobody else's.
    let targets = json(&ana, "targets")?;
    let opened = targets.pointer("/targets/0").context("a target")?;
    let until = word(opened, "until")?;
    ensure!(
        word(opened, "login")? == *login && word(opened, "target")? == "box",
        "{targets}"
    );
    // Half an hour from the decision.
    ensure!(until > word(&shown, "changed_at")?, "{until}: {shown}");
    let config = console(&ana, "config", 0)?.out();
    ensure!(
        config.contains(&format!("# {login}@box: until "))
            && config.contains(&format!("\nHost {login}.box box\n")),
        "{config}"
    );
    for command in ["targets", "whoami --explain"] {
        let text = console(&ana, command, 0)?.out();
        ensure!(text.contains(until.get(..10).context("a day")?), "{text}");
    }
    ensure!(json(&bob, "targets")?.pointer("/targets/0").is_none());

    // Taken away, the running session ends, and no other begins.
    let mut session = open(&ana)?;
    console(&carol, &format!("revoke {id} --reason enough"), 0)?;
    session.end()?;
    session
        .stderr
        .expect("the access that was approved is over")?;
    ensure!(ana.exec("box", "true", b"")?.code() == 77);
    ensure!(word(&json(&ana, &format!("show {id}"))?, "state")? == "revoked");
    ensure!(json(&ana, "targets")?.pointer("/targets/0").is_none());

    // A denial opens nothing.
    let id = word(&json(&ana, "request box --reason once more")?, "id")?;
    console(&carol, &format!("deny {id} --reason not today"), 0)?;
    ensure!(ana.exec("box", "true", b"")?.code() == 77);
    Ok(())
}

#[test]
fn a_grant_that_is_over_ends_what_stands_on_it() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let id = granted(&ana, &carol, "20s")?;
    let mut session = open(&ana)?;
    session.end()?;
    session
        .stderr
        .expect("the access that was approved is over")?;
    ensure!(ana.exec("box", "true", b"")?.code() == 77);
    ensure!(word(&json(&ana, &format!("show {id}"))?, "state")? == "over");
    Ok(())
}

#[test]
fn sessions_may_go_on_where_the_policies_say_so() -> Result<()> {
    let world = World::start(&Setup {
        policies: "[policies]\ndir = \"policies\"\non_revoke = \"keep\"\n".to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let id = granted(&ana, &carol, "1h")?;
    let mut session = open(&ana)?;
    // Given back by the one who has it.
    console(&ana, &format!("cancel {id}"), 0)?;
    ensure!(ana.exec("box", "true", b"")?.code() == 77);
    let mut stdin = session.stdin.take().context("input")?;
    std::io::Write::write_all(&mut stdin, b"still here\n")?;
    drop(stdin);
    let output = session.finish()?;
    ensure!(
        output.code() == 0 && output.out() == "begun\nstill here\n",
        "{output:?}"
    );
    Ok(())
}

#[test]
fn requests_and_grants_outlive_the_bastion_and_not_the_policies() -> Result<()> {
    let mut world = World::start(&setup())?;
    let (waits, stands) = {
        let (ana, bob, carol) = (
            world.signed_in()?,
            world.signed_in_as("bob")?,
            world.signed_in_as("carol")?,
        );
        let stands = granted(&ana, &carol, "1h")?;
        (
            word(&json(&bob, "request box --reason later")?, "id")?,
            stands,
        )
    };
    world.stop()?;
    world.start_again()?;
    let (ana, bob, carol) = (
        world.signed_in()?,
        world.signed_in_as("bob")?,
        world.signed_in_as("carol")?,
    );
    ensure!(ana.exec("box", "true", b"")?.code() == 0);
    ensure!(word(&json(&ana, &format!("show {stands}"))?, "state")? == "approved");
    // Policies under which nobody may ask any more: what waits is void, and what was granted is of
    // no use, since nothing permits it.
    let kept = ACCESS.lines().last().context("a line")?;
    fs::write(world.home.join("policies/access.cedar"), kept)?;
    ensure!(world.command(&["reload"])?.code() == 0);
    let void = console(&carol, &format!("approve {waits}"), 65)?;
    ensure!(void.err().contains("void"), "{void:?}");
    ensure!(word(&json(&bob, &format!("show {waits}"))?, "state")? == "void");
    ensure!(ana.exec("box", "true", b"")?.code() == 77);
    Ok(())
}
