//! What policies say beside yes and no, seen from outside.

use crate::reload::audited;
use anyhow::{Result, ensure};
use tests::world::{ACCESS, PROTECT, Setup, World};

#[test]
fn an_emergency_is_marked_in_audit_log_and_recording() -> Result<()> {
    let mut world = World::start(&Setup {
        access: "@id(\"glass\") @break_glass @notify(\"security\") permit (principal in Group::\"staff\", action, resource);\n".to_owned(),
        ..Setup::default()
    })?;
    world.signed_in()?.exec("box", "echo urgent", b"")?.ok()?;
    let allowed = audited(&world, "channel_allowed", 1)?.concat();
    world.stop()?;
    ensure!(
        allowed.contains("\"policies\":[\"glass\"]")
            && allowed.contains("\"break_glass\":true")
            && allowed.contains("\"notify\":[\"security\"]"),
        "{allowed}"
    );
    let cast = world.recordings().of_command("echo urgent")?;
    ensure!(
        format!("{:?}", cast.events).contains("break-glass access: glass"),
        "{:?}",
        cast.events
    );
    Ok(())
}

#[test]
fn a_command_is_refused_before_it_runs() -> Result<()> {
    let world = World::start(&Setup {
        access: ACCESS.to_owned(),
        protect: format!(
            "{PROTECT}[[rule]]\nname = \"no-touch\"\ntargets = [\"box\"]\ncommands = [\"*touch *\"]\naction = \"refuse\"\n"
        ),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let file = world.place("touched")?.join("file");
    let command = format!("echo x; touch {}", file.display());
    let output = client.exec("box", &command, b"")?;
    ensure!(
        output.code() == 77
            && output.out().is_empty()
            && output
                .err()
                .contains("the rule no-touch refuses this command"),
        "{output:?}"
    );
    ensure!(!file.exists(), "it ran");
    // On another target the rule is not there.
    client.exec("vault", &command, b"")?.ok()?;
    ensure!(file.exists(), "it did not run");
    Ok(())
}
