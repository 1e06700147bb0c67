//! How long a good sign-in takes while others misbehave: from the client's start to its command's end.
//!
//! `cargo bench -p tests --bench login [-- --logins N --idle N --strict]`. The built programs and the stock client, with a
//! lease, on a connection of its own each time; the bar of the product is printed beside the figures. What the client
//! and the target take themselves is in them: the first line is the same without anybody else.
#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::bars::Bars;
use tests::peer::serve;
use tests::process::Running;
use tests::ssh::Client;
use tests::world::{Setup, World};

struct Scale {
    logins: usize,
    idle: usize,
}

fn main() -> Result<()> {
    let (scale, bars) = scale()?;
    let mut world = World::start(&Setup {
        limits: format!("unauthenticated_per_source = {}", scale.idle + 64),
        log: "warn".to_owned(),
        ..Setup::default()
    })?;
    measure_all(&world, &scale, &bars)?;
    world.stop()?;
    bars.end()
}

fn measure_all(world: &World, scale: &Scale, bars: &Bars) -> Result<()> {
    let client = world.signed_in()?;
    println!(
        "one sign-in by lease with `true` on the target, {} times; the bar: p99 1 s, never 5 s",
        scale.logins
    );
    let alone = measure(&client, scale.logins)?;
    report(bars, "nobody else", &alone, None);

    let idle = (0..scale.idle)
        .map(|_| half_open(world))
        .collect::<Result<Vec<_>>>()?;
    let beside = measure(&client, scale.logins)?;
    report(
        bars,
        &format!("{} idle connections", idle.len()),
        &beside,
        Some(&alone),
    );

    let _flood = attack(&client, &json!({"do": "connections"}))?;
    let beside = measure(&client, scale.logins)?;
    report(bars, "and a flood of connections", &beside, Some(&alone));

    let _failing = attack(&client, &json!({"do": "failing"}))?;
    let beside = measure(&client, scale.logins)?;
    report(
        bars,
        "and failing sign-ins with whole key exchanges",
        &beside,
        Some(&alone),
    );
    drop(idle);
    Ok(())
}

fn scale() -> Result<(Scale, Bars)> {
    let mut scale = Scale {
        logins: 200,
        idle: 300,
    };
    let bars =
        Bars::from_options(&mut [("--logins", &mut scale.logins), ("--idle", &mut scale.idle)])?;
    ensure!(scale.logins > 0, "a number above 0");
    ensure!(scale.idle <= 448, "limits.unauthenticated is 512");
    Ok((scale, bars))
}

/// A connection that has the server's first words, says nothing and stays.
fn half_open(world: &World) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.bastion()?.port))?;
    stream.set_read_timeout(Some(tests::DEADLINE))?;
    let mut first = [0; 8];
    stream
        .read_exact(&mut first)
        .context("the server's version")?;
    Ok(stream)
}

/// Something of `raw.py` that goes on until it is dropped.
fn attack(client: &Client<'_>, what: &serde_json::Value) -> Result<Running> {
    let (running, _) = serve("raw.py", &[&client.told(what)?])?;
    Ok(running)
}

fn measure(client: &Client<'_>, count: usize) -> Result<Vec<Duration>> {
    let on = client.on("box");
    let mut times = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        client
            .run(&["-o", "BatchMode=yes", &on, "--", "true"], b"")?
            .ok()?;
        times.push(since.elapsed());
    }
    times.sort();
    Ok(times)
}

fn report(bars: &Bars, what: &str, times: &[Duration], alone: Option<&[Duration]>) {
    let at = |times: &[Duration], q: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place in a short list"
        )]
        let place = ((times.len() - 1) as f64 * q).round() as usize;
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    let (half, most, longest) = (at(times, 0.5), at(times, 0.99), at(times, 1.0));
    let factor = alone.map_or(String::new(), |alone| {
        format!("  {:.1} times as long", half / at(alone, 0.5))
    });
    let met = most <= 1000.0 && longest <= 5000.0;
    println!(
        "{what:<46} p50 {half:>7.1} ms  p99 {most:>7.1} ms  longest {longest:>7.1} ms  {}{factor}",
        bars.verdict(&format!("sign-in, {what}: p99 1 s, never 5 s"), met)
    );
}
