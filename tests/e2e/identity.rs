//! Who was signed in stays so only for as long as the provider, an operator and the limits let them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::ssh::Client;
use tests::world::{Setup, World};

use crate::one_line;

/// Everybody of `staff` works; `dba` may end, lock and read the audit log.
const ACCESS: &str = "permit (principal in Group::\"staff\", action, resource)
unless { action in [Action::\"end\", Action::\"lock\", Action::\"audit\"] };
permit (principal in Group::\"dba\", action in [Action::\"end\", Action::\"lock\", Action::\"audit\"], resource);
";

fn world(oidc: &str) -> Result<World> {
    World::start(&Setup {
        oidc: oidc.to_owned(),
        access: ACCESS.to_owned(),
        ..Setup::default()
    })
}

/// A session that runs until it is ended.
fn working(client: &Client<'_>, target: &str) -> Result<tests::ssh::Session> {
    let session = client.start(&[
        &client.on(target),
        "--",
        "echo started; exec tail -f --pid=$PPID /dev/null",
    ])?;
    session.stdout.expect("started")?;
    Ok(session)
}

/// Events of a kind in the audit log, once there are `count`. The recorder writes them a moment after
/// what they tell.
fn audited(world: &World, event: &str, count: usize) -> Result<Vec<Value>> {
    let until = std::time::Instant::now() + tests::DEADLINE;
    loop {
        let text = std::fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
        // The last line may not be whole yet.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let found: Vec<Value> = lines
            .filter(|line| find(line, "event").is_some_and(|name| name == event))
            .collect();
        if found.len() == count {
            return Ok(found);
        }
        let late = std::time::Instant::now() >= until;
        ensure!(
            !late && found.len() < count,
            "not {count} of {event}: {text}"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A field of an audit line, wherever it stands.
fn find<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    let object = line.as_object()?;
    object
        .get(name)
        .filter(|value| !value.is_object() || name != "event")
        .or_else(|| object.values().find_map(|value| find(value, name)))
}

fn session_of(client: &Client<'_>) -> Result<String> {
    let listed = client.console("sessions --active --json")?.ok()?;
    let listed: Value = serde_json::from_str(&listed.out())?;
    let id = listed.pointer("/sessions/0/id").and_then(Value::as_str);
    Ok(id.context("a running session")?.to_owned())
}

#[test]
fn who_is_disabled_at_the_provider_is_cut_within_the_interval() -> Result<()> {
    let world = world("recheck = \"1s\"")?;
    let ana = world.signed_in_as("ana")?;
    let bob = world.signed_in_as("bob")?;
    let (anas, bobs) = (working(&ana, "box")?, working(&bob, "box")?);
    let disable = json!({ "name": "ana", "disabled": true });
    world.provider.control("user", &disable)?;
    let cut = anas.finish()?;
    ensure!(cut.code() == 77, "{cut:?}");
    let line = one_line(&cut)?;
    ensure!(
        line.contains("the identity provider has ended your sign-in"),
        "{line}"
    );
    // The key is signed out too, and whoever is not disabled works on.
    let out = ana.run(&["-o", "BatchMode=yes", "bastion", "whoami"], b"")?;
    ensure!(out.code() == 255, "{out:?}");
    bob.console("whoami")?.ok()?;
    drop(bobs);
    let ended = audited(&world, "lease_ended", 1)?;
    ensure!(
        ended
            .iter()
            .all(|line| find(line, "sessions") == Some(&json!(1))),
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn who_loses_the_group_is_cut_and_a_provider_that_is_down_is_no_reason() -> Result<()> {
    let world = world("recheck = \"1s\"")?;
    let ana = world.signed_in_as("ana")?;
    let session = working(&ana, "box")?;
    let down = json!({ "path": "/token", "count": 3, "status": 503, "body": "busy" });
    world.provider.control("fault", &down)?;
    let log = &world.bastion()?.log;
    log.wait("a re-check that failed", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.contains("could not be re-checked and goes on")
            .then_some(())
    })?;
    ana.console("whoami")?.ok().context("in the grace")?;
    let none = json!({ "name": "ana", "groups": [] });
    world.provider.control("user", &none)?;
    let cut = session.finish()?;
    ensure!(
        cut.code() == 77 && one_line(&cut)?.contains("in no group any more"),
        "{cut:?}"
    );
    audited(&world, "not_rechecked", 1)?;
    Ok(())
}

#[test]
fn sessions_are_ended_from_the_console_by_whoever_may() -> Result<()> {
    let world = world("")?;
    let ana = world.signed_in_as("ana")?;
    let bob = world.signed_in_as("bob")?;
    let (one, two) = (working(&ana, "box")?, working(&ana, "vault")?);
    let id = session_of(&bob)?;
    // Ana may not; it is as if there were no such session.
    let refused = ana.console(&format!("end {id}"))?;
    let nothing = ana.console("end no-such-session")?;
    ensure!(refused.code() == 77 && nothing.code() == 77, "{refused:?}");
    ensure!(
        one_line(&refused)?.replace(&id, "X")
            == one_line(&nothing)?.replace("no-such-session", "X")
    );
    ensure!(ana.console("end --user ana")?.code() == 77);
    bob.console(&format!("end {id}"))?.ok()?;
    let two = two.finish()?;
    ensure!(
        two.code() == 77 && one_line(&two)?.contains("ended from the console"),
        "{two:?}"
    );
    let rest = bob.console("end --user ana --json")?.ok()?;
    let rest: Value = serde_json::from_str(&rest.out())?;
    let ended = rest.pointer("/sessions_ended").and_then(Value::as_array);
    ensure!(ended.is_some_and(|ended| ended.len() == 1), "{rest}");
    ensure!(one.finish()?.code() == 77);
    // Ended is not signed out.
    ana.exec("box", "true", b"")?.ok()?;
    ensure!(bob.console("end --user nobody")?.code() == 2);
    audited(&world, "sessions_ended", 2)?;
    audited(&world, "console_denied", 2)?;
    Ok(())
}

#[test]
fn the_audit_log_is_read_in_the_console_by_whoever_may() -> Result<()> {
    let world = world("")?;
    let ana = world.signed_in_as("ana")?;
    let bob = world.signed_in_as("bob")?;
    ana.exec("box", "true", b"")?.ok()?;
    ensure!(ana.console("audit")?.code() == 77, "she may not");
    audited(&world, "console_denied", 1)?;
    audited(&world, "session_ended", 1)?;
    let log = bob.console("audit --since 1h --json")?.ok()?.out();
    let events: Vec<Value> = log
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    for (event, field, value) in [
        ("session_started", "target", "box"),
        ("console_denied", "action", "audit"),
    ] {
        let found = events.iter().any(|line| {
            find(line, "event") == Some(&json!(event)) && find(line, field) == Some(&json!(value))
        });
        ensure!(found, "no {event}: {log}");
    }
    let rows = bob.console("audit")?.ok()?.out();
    ensure!(rows.lines().count() >= events.len(), "{rows}");
    ensure!(
        rows.contains("channel_allowed") && rows.contains("target=box"),
        "{rows}"
    );
    let later = bob.console("audit --since 2100-01-01T00:00:00Z")?.ok()?;
    ensure!(later.out().is_empty(), "{later:?}");
    ensure!(bob.console("audit --since yesterday")?.code() == 2);
    audited(&world, "audit_read", 3)?;
    Ok(())
}

#[test]
fn a_user_who_is_locked_is_out_until_the_lock_is_taken_away() -> Result<()> {
    let mut world = world("")?;
    {
        let ana = world.signed_in_as("ana")?;
        let bob = world.signed_in_as("bob")?;
        let session = working(&ana, "box")?;
        ensure!(ana.console("lock --user bob")?.code() == 77);
        ensure!(bob.console("lock --user bob")?.code() == 2, "oneself");
        let locked = bob
            .console("lock --user ana --reason lost a laptop")?
            .ok()?;
        ensure!(
            locked.out().contains("1 lease(s), 1 session(s) ended"),
            "{locked:?}"
        );
        let cut = session.finish()?;
        ensure!(
            one_line(&cut)?.contains("your account is locked"),
            "{cut:?}"
        );
        let locks = bob.console("locks --json")?.ok()?;
        let locks: Value = serde_json::from_str(&locks.out())?;
        ensure!(
            locks.pointer("/locks/0/reason") == Some(&json!("lost a laptop")),
            "{locks}"
        );
        ensure!(ana.sign_in("ana").is_err(), "the lock does not hold");
    }
    // It outlives the process.
    world.stop()?;
    world.start_again()?;
    let bob = world.signed_in_as("bob")?;
    let ana = world.client()?;
    ensure!(ana.sign_in("ana").is_err(), "the lock is gone");
    bob.console("unlock --user ana")?.ok()?;
    ana.sign_in("ana")?;
    ana.exec("box", "true", b"")?.ok()?;
    audited(&world, "locked", 1)?;
    audited(&world, "unlocked", 1)?;
    Ok(())
}

#[test]
fn a_target_that_is_locked_is_reached_by_nobody() -> Result<()> {
    let world = world("")?;
    let ana = world.signed_in_as("ana")?;
    let bob = world.signed_in_as("bob")?;
    let (session, other) = (working(&ana, "box")?, working(&ana, "vault")?);
    bob.console("lock --target box")?.ok()?;
    let cut = session.finish()?;
    ensure!(
        cut.code() == 77 && one_line(&cut)?.contains("the target is locked"),
        "{cut:?}"
    );
    for client in [&ana, &bob] {
        let refused = client.exec("box", "true", b"")?;
        ensure!(
            refused.code() == 77 && one_line(&refused)?.contains("locked"),
            "{refused:?}"
        );
    }
    ana.exec("vault", "true", b"")?.ok()?;
    drop(other);
    ensure!(bob.console("lock --target no-such")?.code() == 2);
    bob.console("unlock --target box")?.ok()?;
    ana.exec("box", "true", b"")?.ok()?;
    Ok(())
}

#[test]
fn a_new_key_of_a_known_user_is_written_down_and_shown() -> Result<()> {
    let world = world("")?;
    let ana = world.signed_in_as("ana")?;
    world.signed_in_as("ana")?;
    audited(&world, "key_enrolled", 1)?;
    ana.console("sign-out")?.ok()?;
    let shown = ana.sign_in("ana")?;
    let text = format!("{}{}", shown.out(), shown.err());
    ensure!(text.contains("New key since then: SHA256:"), "{text}");
    ensure!(
        text.contains("Last sign-in: ") && text.contains("from 127.0.0.1"),
        "{text}"
    );
    Ok(())
}
