//! Clients that send little for long, or much at once: their connections end or cost little, and others work on.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::{ask, serve};
use tests::ssh::Client;
use tests::world::{Setup, World};

fn limits(lines: &str) -> Result<World> {
    World::start(&Setup {
        limits: lines.to_owned(),
        ..Setup::default()
    })
}

/// What `raw.py` is told: `what`, and who asks for it.
fn told(world: &World, client: &Client<'_>, what: Value) -> Result<String> {
    let mut what = what;
    let object = what.as_object_mut().context("an object")?;
    object.insert("port".into(), world.bastion()?.port.into());
    object.insert("key".into(), client.key.display().to_string().into());
    let user = format!("{}@box", world.sshd.login);
    object.insert("user".into(), user.into());
    Ok(what.to_string())
}

/// A person who works beside it.
fn works(client: &Client<'_>) -> Result<()> {
    let output = client.exec("box", "echo in", b"")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// Row 1 of the threats, after the keys are exchanged: nothing that is sent makes the time longer.
#[test]
fn what_a_client_sends_renews_no_deadline() -> Result<()> {
    let world = limits("login_deadline = \"10s\"\ncode_deadline = \"15s\"")?;
    for stage in ["auth", "code"] {
        let client = world.client()?;
        let ask_for = told(&world, &client, json!({"do": "drip", "stage": stage}))?;
        let answer = ask("raw.py", &[&ask_for])?;
        ensure!(
            answer.get("open") == Some(&Value::Bool(false)),
            "{stage}: {answer}"
        );
        let sent = answer.get("sent").and_then(Value::as_u64);
        ensure!(sent > Some(10), "{stage}: closed at once: {answer}");
    }
    Ok(())
}

/// Row 2: who floods from elsewhere takes the places of its own addresses.
#[test]
fn a_flood_of_connections_keeps_nobody_else_out() -> Result<()> {
    let world = limits("unauthenticated = 200\nunauthenticated_per_source = 32")?;
    let client = world.signed_in()?;
    let others = || -> Result<()> {
        for _ in 0..5 {
            works(&client)?;
        }
        // Somebody who is new gets in, too.
        world.signed_in().map(drop)
    };
    // What the work of the others takes is none of the attack's.
    others()?;
    costs_little(&world, "connections", || {
        let ask_for = told(&world, &client, json!({"do": "connections"}))?;
        let (flood, _) = serve("raw.py", &[&ask_for])?;
        others()?;
        drop(flood);
        Ok(())
    })
}

/// What `attack` costs: the highest resident memory of both processes while it goes on, above what
/// they had before. No single attack costs more than 16 MiB.
fn costs_little(world: &World, what: &str, attack: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = world.bastion()?.memory()?;
    world.bastion()?.forget_peak()?;
    attack().with_context(|| what.to_owned())?;
    let peak = world.bastion()?.peak()?;
    let (serve, recorder) = (
        peak.serve.saturating_sub(before.serve),
        peak.recorder.saturating_sub(before.recorder),
    );
    ensure!(
        serve + recorder <= 16 << 20,
        "{what}: serve {} KiB more, recorder {} KiB more",
        serve / 1024,
        recorder / 1024
    );
    Ok(())
}

/// What a client may send as often as it likes, after it has signed in.
#[test]
fn floods_of_messages_cost_little_and_hold_up_nobody() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let floods = [
        ("ignore", 4000, true),
        ("debug", 4000, true),
        ("global", 4000, true),
        ("open", 4000, true),
        ("env", 4000, true),
        ("window-change", 4000, true),
        ("signal", 4000, true),
        // More than a connection may ask for in a minute: it ends.
        ("env", 20_000, false),
    ];
    let send = |message: &str, count: usize, stands: bool| -> Result<()> {
        let what = json!({"do": "flood", "message": message, "count": count});
        let ask_for = told(&world, &client, what)?;
        let answer = std::thread::scope(|scope| -> Result<Value> {
            let flood = scope.spawn(|| ask("raw.py", &[&ask_for]));
            works(&client).context("beside it")?;
            flood.join().ok().context("the flood")?
        })?;
        let works_on = answer.get("works") == Some(&Value::Bool(stands));
        ensure!(works_on, "{count} times {message}: {answer}");
        works(&client).context("after it")
    };
    // The same without a flood: what the sessions themselves take is none of the attack's.
    for (message, ..) in floods {
        send(message, 1, true)?;
    }
    for (message, count, stands) in floods {
        let what = format!("{count} times {message}");
        costs_little(&world, &what, || send(message, count, stands))?;
    }
    // What is refused a thousand times is written down a hundred times at most.
    let log = std::fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
    let written = log.matches("\"event\":\"request_refused\"").count();
    ensure!(written <= 400, "{written} refusals are in the audit log");
    let said = world
        .bastion()?
        .log
        .text()
        .matches("\"message\":\"refused\"")
        .count();
    ensure!(said <= 400, "{said} refusals are in the journal");
    Ok(())
}
