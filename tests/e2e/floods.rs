//! Clients that send little for long, or much at once: their connections end or cost little, and others work on.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// A person who works beside it.
fn works(client: &Client<'_>) -> Result<()> {
    let output = client.exec("box", "echo in", b"")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// Row 1 of the threats, after the keys are exchanged: nothing that is sent makes the time longer.
#[test]
fn what_a_client_sends_renews_no_deadline() -> Result<()> {
    let world = limits("login_deadline = \"10s\"\ncode_deadline = \"10s\"")?;
    for stage in ["auth", "code"] {
        let client = world.client()?;
        let ask_for = client.told(&json!({"do": "drip", "stage": stage}))?;
        let answer = ask("raw.py", &[&ask_for])?;
        ensure!(
            answer.get("open") == Some(&Value::Bool(false)),
            "{stage}: {answer}"
        );
        let sent = answer.get("sent").and_then(Value::as_u64);
        ensure!(sent > Some(10), "{stage}: closed at once: {answer}");
        // Both have their line; one whose code has expired was to leave by itself.
        ensure!(
            answer.pointer("/said/0") == Some(&"the sign-in took too long".into()),
            "{stage}: {answer}"
        );
        let last = answer.pointer("/texts/1").and_then(Value::as_str);
        ensure!(
            stage == "auth" || last.is_some_and(|text| text.contains("has expired")),
            "{stage}: {answer}"
        );
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
        let ask_for = client.told(&json!({"do": "connections"}))?;
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
        let ask_for = client.told(&what)?;
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

/// What somebody else's flood may not take longer than: the median of five times.
fn in_time(what: &str, act: impl Fn() -> Result<()>) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        act().with_context(|| what.to_owned())?;
        times.push(since.elapsed());
    }
    times.sort();
    let median = times.get(2).copied().unwrap_or(Duration::MAX);
    ensure!(median <= Duration::from_secs(5), "{what}: {times:?}");
    Ok(())
}

/// Row 13: exchanges of keys, one after the other on 32 connections of other addresses. They cost their
/// client nothing, since it sends the same bytes each time.
#[test]
fn a_flood_of_key_exchanges_keeps_nobody_out() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let others = || -> Result<()> {
        in_time("a command", || works(&client))?;
        // Somebody who is new gets in, too; how fast is their provider's business as well.
        world.signed_in().map(drop)
    };
    // What the work of the others takes is none of the attack's.
    others()?;
    let port = world.bastion()?.port;
    let (over, exchanges) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for n in 0..32_u8 {
            let (over, exchanges) = (&over, &exchanges);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if exchange(2 + n % 2, port).is_ok() {
                        exchanges.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let flooded = costs_little(&world, "key exchanges", || {
            while exchanges.load(Ordering::Relaxed) < 100 {
                std::thread::yield_now();
            }
            others()
        });
        over.store(true, Ordering::Relaxed);
        flooded
    })?;
    let done = exchanges.into_inner();
    ensure!(done > 200, "no flood: {done} exchanges");
    Ok(())
}

/// From 127.0.0.`source`: a whole exchange as far as the server's part of it goes, and gone.
fn exchange(source: u8, port: u16) -> Result<()> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let address = |last, port| SocketAddrV4::new([127, 0, 0, last].into(), port);
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &address(source, 0))?;
    connect(&socket, &address(1, port))?;
    // It leaves no port in TIME_WAIT behind, which others could want.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(tests::DEADLINE))?;
    stream.write_all(&crate::transport::good_exchange())?;
    let mut line = [0];
    while line != *b"\n" {
        stream.read_exact(&mut line)?;
    }
    let numbers = [
        crate::transport::message(&mut stream)?,
        crate::transport::message(&mut stream)?,
    ];
    ensure!(numbers == [20, 31], "{numbers:?}");
    Ok(())
}

/// Row 13: an exchange a second, or one for each 512 KiB, and no more, by targets' users as by strangers, and on a
/// connection within one, which that does not end.
#[test]
fn who_exchanges_keys_too_often_is_cut() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let rekeys = |stage: &str, count: usize, pause: f64| -> Result<(u64, bool)> {
        let what = json!({"do": "rekeys", "stage": stage, "count": count, "pause": pause});
        let answer = ask("raw.py", &[&client.told(&what)?])?;
        let done = answer.get("done").and_then(Value::as_u64);
        let open = answer.get("open").and_then(Value::as_bool);
        ensure!(answer.get("outer") != Some(&Value::Bool(false)), "{answer}");
        done.zip(open).context("an answer")
    };
    for stage in ["before", "signed in", "within"] {
        let (done, open) = rekeys(stage, 50, 0.0)?;
        ensure!(done <= 1 && !open, "{stage}: {done} exchanges, {open}");
        // Seconds apart they may be.
        ensure!(rekeys(stage, 3, 1.1)? == (3, true), "{stage}: slowly");
    }
    let log = world.bastion()?.log.text();
    let said = log.matches("the client exchanges keys too often").count();
    ensure!(said == 3, "{said} times in the journal");
    // With traffic between them they may be often. The first cannot be later than the others.
    for (limit, stands) in [("1M", true), ("64K", false)] {
        let option = format!("RekeyLimit={limit}");
        let mut command = client.ssh();
        command.args(["-o", &option, &client.on("box"), "--", "cat | wc -c"]);
        let output = crate::flow::fed("40M", &mut command)?.finish()?;
        let whole = output.out().trim() == (40 << 20).to_string();
        ensure!(whole == stands, "{limit}: {output:?}");
    }
    Ok(())
}

/// Row 13: 32 connections that do nothing else, half of them signed in.
#[test]
fn a_flood_of_rekeys_holds_up_nobody() -> Result<()> {
    let world = limits("unauthenticated_per_source = 64")?;
    let client = world.signed_in()?;
    let others = || in_time("a command", || works(&client));
    // The same without a flood: what the sessions themselves take is none of the attack's.
    others()?;
    costs_little(&world, "rekeys", || {
        let what = json!({"do": "rekeying", "connections": 32});
        let (flood, _) = serve("raw.py", &[&client.told(&what)?])?;
        others()?;
        drop(flood);
        Ok(())
    })
}
