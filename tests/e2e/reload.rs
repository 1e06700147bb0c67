//! New policies and targets while people work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::ssh::Client;
use tests::world::{ACCESS, Setup, World, target};

const NOBODY: &str = "permit (principal in Group::\"nobody\", action, resource);\n";

fn setup(on_revoke: &str) -> Setup {
    Setup {
        policies: format!("[policies]\ndir = \"policies\"\non_revoke = \"{on_revoke}\""),
        ..Setup::default()
    }
}

fn write(world: &World, name: &str, text: &str) -> Result<()> {
    Ok(std::fs::write(world.home.join(name), text)?)
}

fn reload(world: &World) -> Result<tests::process::Output> {
    world.command(&["reload"])
}

/// The audit log's events of this kind, once there are `count`: the recorder writes them a moment
/// after they happen.
pub(crate) fn audited(world: &World, kind: &str, count: usize) -> Result<Vec<String>> {
    let kind = format!("\"{kind}\"");
    let until = std::time::Instant::now() + tests::DEADLINE;
    loop {
        let text = std::fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
        let found: Vec<String> = text
            .lines()
            .filter(|line| line.contains(&kind))
            .map(str::to_owned)
            .collect();
        if found.len() >= count {
            return Ok(found);
        }
        ensure!(
            std::time::Instant::now() < until,
            "{} of {count} events {kind}",
            found.len()
        );
        std::thread::yield_now();
    }
}

#[test]
fn new_channels_take_the_new_policies_and_running_ones_keep_theirs() -> Result<()> {
    let world = World::start(&setup("keep"))?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo started; cat; exit 3"])?;
    session.stdout.expect("started")?;
    // A protected target loses its rule: what was masked is not any more.
    let print = "printf 'ssn: 078-05-1120\\n'";
    let before = client.exec("vault", print, b"")?.ok()?;
    ensure!(!before.out().contains("078-05"), "{before:?}");
    write(&world, "policies/protect.toml", "")?;
    let answer = reload(&world)?.ok()?;
    ensure!(
        answer.out() == "new policies are in force: 2 targets, 0 rules\n",
        "{answer:?}"
    );
    let after = client.exec("vault", print, b"")?.ok()?;
    ensure!(after.out().contains("078-05-1120"), "{after:?}");

    // Nobody may do anything any more, but whoever is in stays in.
    write(&world, "policies/access.cedar", NOBODY)?;
    // What a reload does not take is said, and not left to be found out.
    let file = std::fs::read_to_string(world.home.join("bastion.toml"))?;
    let changed = file.replace("[limits]\n", "[limits]\nchannels = 3\n");
    write(&world, "bastion.toml", &changed)?;
    let answer = reload(&world)?.ok()?;
    ensure!(
        answer
            .out()
            .ends_with("; changed, and waiting for a restart: limits\n"),
        "{answer:?}"
    );
    let denied = client.exec("box", "true", b"")?;
    ensure!(denied.code() == 77, "{denied:?}");
    drop(session.stdin.take());
    let output = session.finish()?;
    ensure!(output.code() == 3, "{output:?}");
    ensure!(
        audited(&world, "policies_reloaded", 2)?.len() == 2,
        "two reloads"
    );
    Ok(())
}

#[test]
fn sessions_whose_access_is_gone_are_cut_and_no_others() -> Result<()> {
    let world = World::start(&setup("cut"))?;
    let (ana, command) = (world.signed_in()?, "echo started; exec cat");
    let cut = ana.start(&[&ana.on("box"), "--", command])?;
    cut.stdout.expect("started")?;
    let mut kept = ana.start(&[&ana.on("vault"), "--", "echo started; cat; exit 3"])?;
    kept.stdout.expect("started")?;
    write(
        &world,
        "policies/access.cedar",
        "permit (principal in Group::\"staff\", action, resource) when { resource is Account && resource.target == \"vault\" };\n",
    )?;
    reload(&world)?.ok()?;
    let output = cut.finish()?;
    ensure!(
        output.code() == 77 && output.err().contains("new policies no longer allow it"),
        "{output:?}"
    );
    drop(kept.stdin.take());
    let output = kept.finish()?;
    ensure!(output.code() == 3, "{output:?}");
    let ended = audited(&world, "session_ended", 2)?;
    ensure!(
        ended
            .iter()
            .any(|line| line.contains("new policies no longer allow it")),
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn a_broken_folder_keeps_the_earlier_policies_and_says_so() -> Result<()> {
    let mut world = World::start(&setup("cut"))?;
    let client = world.signed_in()?;
    for (name, text, wanted) in [
        (
            "policies/access.cedar",
            "permit (principal, action, resource)",
            "access.cedar:1:",
        ),
        (
            "policies/access.cedar",
            "forbid (principal, action, resource);",
            "no policy permits anything",
        ),
        (
            "policies/protect.toml",
            "[[rule]]\nname = \"x\"\n",
            "protect.toml:1:1: ",
        ),
        (
            "targets.toml",
            "[[target]]\nname = \"x\"\n",
            "targets.toml:1:1: ",
        ),
    ] {
        let good = std::fs::read_to_string(world.home.join(name))?;
        write(&world, name, text)?;
        let answer = reload(&world)?;
        ensure!(
            answer.code() == 1
                && answer.err().contains(wanted)
                && answer.err().contains("the earlier policies stay in force"),
            "{name}: {answer:?}"
        );
        client.exec("box", "true", b"")?.ok()?;
        write(&world, name, &good)?;
    }
    let refused = audited(&world, "policies_refused", 4)?;
    ensure!(refused.len() == 4, "{refused:?}");
    world
        .bastion()?
        .log
        .expect("the earlier policies stay in force")?;
    reload(&world)?.ok()?;
    world.stop()?;
    let answer = reload(&world)?;
    ensure!(
        answer.code() == 1
            && answer
                .err()
                .contains("no server runs with this configuration"),
        "{answer:?}"
    );
    Ok(())
}

#[test]
fn a_target_that_was_added_can_be_reached_after_sighup() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let credential = format!("key = \"{}\"", world.sshd.user_key.display());
    let targets = std::fs::read_to_string(world.home.join("targets.toml"))?;
    let more = target("another", &world.sshd, &credential);
    write(&world, "targets.toml", &format!("{targets}\n{more}"))?;
    let before = client.exec("another", "echo in", b"")?;
    ensure!(before.code() == 77, "{before:?}");
    world.bastion()?.signal(Signal::HUP)?;
    world
        .bastion()?
        .log
        .expect("new policies are in force: 3 targets")?;
    let after = client.exec("another", "echo in", b"")?.ok()?;
    ensure!(after.out() == "in\n", "{after:?}");
    Ok(())
}

/// Policies that change all the time do not disturb those who work: no command fails, no session
/// ends.
#[test]
fn reloads_under_load_lose_nobody() -> Result<()> {
    const RELOADS: usize = 12;
    let world = World::start(&setup("cut"))?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo started; cat; exit 3"])?;
    session.stdout.expect("started")?;
    let (stop, ran) = (AtomicBool::new(false), AtomicUsize::new(0));
    let work = |client: Client<'_>, target: &'static str| -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let output = client.exec(target, "echo x; exit 7", b"")?;
            ensure!(output.code() == 7 && output.out() == "x\n", "{output:?}");
            ran.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let clients = [world.signed_in()?, world.signed_in()?, world.signed_in()?];
    let work = &work;
    std::thread::scope(|scope| -> Result<()> {
        let [a, b, c] = clients;
        let workers = [(a, "box"), (b, "vault"), (c, "box")]
            .map(|(client, target)| scope.spawn(move || work(client, target)));
        let reloads = || -> Result<()> {
            for round in 0..RELOADS {
                let seen = ran.load(Ordering::Relaxed);
                // A comment more is another policy, and one that is wrong in between stays away.
                write(
                    &world,
                    "policies/access.cedar",
                    &format!("// {round}\n{ACCESS}"),
                )?;
                reload(&world)?.ok()?;
                write(&world, "policies/access.cedar", "nonsense")?;
                ensure!(reload(&world)?.code() == 1, "nonsense is in force");
                let until = std::time::Instant::now() + tests::DEADLINE;
                while ran.load(Ordering::Relaxed) == seen {
                    ensure!(std::time::Instant::now() < until, "nobody works");
                    std::thread::yield_now();
                }
            }
            Ok(())
        };
        let result = reloads();
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().ok().context("a worker panicked")??;
        }
        result
    })?;
    drop(session.stdin.take());
    let output = session.finish()?;
    ensure!(output.code() == 3, "{output:?}");
    ensure!(
        audited(&world, "policies_reloaded", RELOADS)?.len() == RELOADS,
        "reloads are audited"
    );
    ensure!(ran.load(Ordering::Relaxed) >= RELOADS, "they worked");
    Ok(())
}
