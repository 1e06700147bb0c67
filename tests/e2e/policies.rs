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

/// A token that is to be the same in all sessions is, also after a restart; any other is not.
#[test]
fn stable_tokens_outlive_a_session_and_a_restart() -> Result<()> {
    let rule = |name: &str, field: &str, stable: bool| {
        format!(
            "[[rule]]\nname = \"{name}\"\ntargets = [\"vault\"]\nfields = [\"{field}\"]\naction = {{ mask = \"token\", stable = {stable} }}\n"
        )
    };
    let mut world = World::start(&Setup {
        protect: [
            rule("joined", "ssn", true),
            rule("told-apart", "phone", false),
        ]
        .concat(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let command = "printf '{\"ssn\": \"078-05-1120\", \"phone\": \"078-05-1120\"}\\n'";
    let tokens = |output: &str| -> Result<(String, String)> {
        let mut tokens = output.split('"').filter(|part| part.starts_with("tok_"));
        match (tokens.next(), tokens.next()) {
            (Some(ssn), Some(phone)) => Ok((ssn.to_owned(), phone.to_owned())),
            _ => anyhow::bail!("no two tokens in {output}"),
        }
    };
    let first = tokens(&client.exec("vault", command, b"")?.ok()?.out())?;
    let second = tokens(&client.exec("vault", command, b"")?.ok()?.out())?;
    ensure!(first.0 == second.0, "{first:?} {second:?}");
    ensure!(
        first.1 != second.1 && first.0 != first.1,
        "{first:?} {second:?}"
    );
    let dir = client.dir.clone();
    world.stop()?;
    world.start_again()?;
    let client = world.returning(&dir)?;
    let third = tokens(&client.exec("vault", command, b"")?.ok()?.out())?;
    ensure!(
        first.0 == third.0 && first.1 != third.1,
        "{first:?} {third:?}"
    );
    Ok(())
}
