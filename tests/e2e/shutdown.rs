//! The end, the beginning, and what a broken configuration says.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::world::{Setup, World};

#[test]
fn sigterm_ends_everything_and_says_so_to_those_who_work() -> Result<()> {
    let mut world = World::start(&Setup {
        limits: "drain = \"2s\"".to_owned(),
        ..Setup::default()
    })?;
    let mut session = {
        let client = world.signed_in()?;
        let session = client.start(&[&client.on("box"), "--", "echo started; exec cat"])?;
        session.stdout.expect("started")?;
        session
    };
    world.stop()?;
    ensure!(!session.end()?.success());
    let cast = world.recordings().of_command("echo started; exec cat")?;
    ensure!(cast.output() == "started\r\n", "{:?}", cast.events);
    // The audit log has the whole life of the process, its end last.
    let log = std::fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
    let events: Vec<serde_json::Value> = log
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let of = |event: &str| events.iter().position(|line| line["event"] == event);
    ensure!(
        of("started").is_some() && of("started") < of("session_started"),
        "{log}"
    );
    ensure!(of("stopped") == Some(events.len() - 1), "{log}");
    // What is in a line is in the page about it.
    let page = std::fs::read_to_string(tests::files::here("../docs/audit.md"))?;
    for event in &events {
        let name = event["event"].as_str().context("a name")?;
        let start = format!("| `{name}` | ");
        let row = page.lines().find(|row| row.starts_with(&start));
        let row = row.with_context(|| format!("docs/audit.md has no {name}"))?;
        for member in event.as_object().context("an object")?.keys() {
            let of_all = ["seq", "time", "event", "prev"].contains(&member.as_str());
            ensure!(
                of_all || row.contains(&format!("`{member}`")),
                "docs/audit.md: {name} has no {member}: {event}"
            );
        }
    }
    Ok(())
}

#[test]
fn sigterm_lets_a_session_finish_within_the_drain_time() -> Result<()> {
    let world = World::start(&Setup {
        limits: "drain = \"30s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let mut session = client.start(&[
        &client.on("box"),
        "--",
        "echo started; cat; echo finished; exit 3",
    ])?;
    session.stdout.expect("started")?;
    world.bastion()?.signal(Signal::TERM)?;
    // Nobody new is let in.
    let until = std::time::Instant::now() + tests::DEADLINE;
    while client.exec("box", "echo in", b"")?.code() == 0 {
        ensure!(std::time::Instant::now() < until, "it goes on accepting");
    }
    drop(session.stdin.take());
    let output = session.finish()?;
    ensure!(
        output.code() == 3 && output.out() == "started\nfinished\n",
        "{output:?}"
    );
    Ok(())
}

#[test]
fn check_says_what_is_wrong_and_where() -> Result<()> {
    let mut world = World::usual()?;
    world.stop()?;
    world.command(&["check"])?.ok()?;
    let file = world.home.join("bastion.toml");
    let good = std::fs::read_to_string(&file)?;
    let wrong = [
        good.replace("state_dir", "state_dri"),
        good.replace("listen = [\"127.0.0.1:0\"]", "listen = [\"nowhere\"]"),
        good.replace("keys/ssh_host_ed25519_key", "keys/no-such-key"),
        good.replace("[limits]", "[limits]\nlogin_deadline = \"soon\""),
        good.replace("[limits]", "[limits]\nchannels = -1"),
        good.replace("targets.toml", "no-such.toml"),
        "= nonsense".to_owned(),
    ];
    for text in wrong {
        std::fs::write(&file, &text)?;
        for command in ["check", "serve"] {
            let output = world.command(&[command])?;
            ensure!(output.code() != 0, "{command} takes {text}");
            ensure!(!output.err().contains("panicked"), "{}", output.err());
            ensure!(!output.err().trim().is_empty(), "{command} says nothing");
        }
    }
    let output = world.command(&["check"])?;
    ensure!(
        output.err().contains("bastion.toml") && output.err().contains('1'),
        "file and line: {}",
        output.err()
    );
    Ok(())
}

#[test]
fn a_host_key_that_others_can_read_is_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::usual()?;
    world.stop()?;
    let key = world.home.join("keys/ssh_host_ed25519_key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))?;
    let output = world.command(&["check"])?;
    ensure!(
        output.code() != 0 && output.err().contains("644"),
        "{}",
        output.err()
    );
    Ok(())
}

#[test]
fn a_policy_with_a_mistake_stops_check_with_its_place() -> Result<()> {
    let mut world = World::usual()?;
    world.stop()?;
    let wrong = [
        (
            "access.cedar",
            "permit (principal, action == Action::\"no_such_action\", resource);\n",
        ),
        ("access.cedar", "permit (principal\n"),
        (
            "protect.toml",
            "[[rule]]\nname = \"x\"\nfield = [\"ssn\"]\n",
        ),
        (
            "protect.toml",
            "[[rule]]\nname = \"x\"\ntargets = [\"box\"]\ndetect = [\"no-such\"]\naction = { mask = \"redact\" }\n",
        ),
    ];
    for (name, text) in wrong {
        let file = world.home.join("policies").join(name);
        let good = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text)?;
        let output = world.command(&["check"])?;
        ensure!(
            output.code() != 0 && output.err().contains(name),
            "{text}: {}",
            output.err()
        );
        std::fs::write(&file, good)?;
    }
    world.command(&["check"])?.ok().context("as it was")?;
    Ok(())
}
