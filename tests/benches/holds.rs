//! What a hold costs: from a decision to its client, a list of ten thousand, the release of a large payload.
//!
//! `cargo bench -p tests --bench holds [-- --decisions N --holds N --size MIB --rounds N --strict]`. The built programs, stock
//! clients, everything recorded. The bars of the product are printed beside the figures.
#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bars::Bars;
use tests::process::{Output, run};
use tests::ssh::{Client, Master, Session};
use tests::world::{Setup, World};

struct Scale {
    decisions: usize,
    holds: usize,
    mib: usize,
    rounds: usize,
}

/// Everything on `vault` is held; nothing on `box` is looked at.
const PROTECT: &str = "[[rule]]
name = \"all\"
targets = [\"vault\"]
action = { hold = { scope = \"output\", approvers = \"finance-approvers\" } }
";
const ACCESS: &str = "permit (principal in Group::\"staff\", action in [Action::\"shell\", Action::\"exec\"], resource);
permit (principal in Group::\"finance-approvers\", action == Action::\"approve\", resource);
";

fn main() -> Result<()> {
    let (scale, bars) = scale()?;
    let world = World::start(&Setup {
        access: ACCESS.to_owned(),
        protect: PROTECT.to_owned(),
        // The approver looks until something is sealed, over one connection.
        limits: "channel_opens_per_minute = 10000".to_owned(),
        ..Setup::default()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let bench = Bench {
        console: carol.master_of_console()?,
        world: &world,
        ana: &ana,
        bars,
    };
    bench.decision(scale.decisions)?;
    bench.release(scale.mib, scale.rounds)?;
    bench.list(scale.holds, scale.rounds)?;
    bench.bars.end()
}

fn scale() -> Result<(Scale, Bars)> {
    let mut scale = Scale {
        decisions: 20,
        holds: 10_000,
        mib: 64,
        rounds: 5,
    };
    let bars = Bars::from_options(&mut [
        ("--decisions", &mut scale.decisions),
        ("--holds", &mut scale.holds),
        ("--size", &mut scale.mib),
        ("--rounds", &mut scale.rounds),
    ])?;
    ensure!(
        scale.decisions > 0 && scale.holds > 0 && scale.mib > 0 && scale.rounds > 0,
        "numbers above 0"
    );
    ensure!(scale.mib <= 64, "a hold has at most 64 MiB");
    Ok((scale, bars))
}

struct Bench<'w> {
    world: &'w World,
    ana: &'w Client<'w>,
    /// The approver's connection, which stands already.
    console: Master<'w>,
    bars: Bars,
}

impl Bench<'_> {
    /// From the approver's Enter to the first held byte at the client that waits.
    fn decision(&self, count: usize) -> Result<()> {
        let (mut waits, mut answers) = (Vec::new(), Vec::new());
        for n in 0..count {
            let session = self.start("vault", &format!("echo held {n}"))?;
            let id = self.sealed(&session)?;
            let asked = Instant::now();
            self.ask("whoami")?;
            answers.push(asked.elapsed());
            let stdout = session.stdout.clone();
            let arrived = std::thread::spawn(move || {
                stdout.wait("a held byte", |bytes| {
                    (!bytes.is_empty()).then(Instant::now)
                })
            });
            let since = Instant::now();
            self.ask(&format!("approve {id}"))?;
            let at = arrived.join().ok().context("the reader")??;
            waits.push(at.duration_since(since));
            session.finish()?.ok()?;
        }
        let median = quantile(&mut waits, 0.5);
        println!(
            "decision -> first byte at the client  median {:>7.1} ms  p95 {:>7.1} ms   bar 50 ms {}, {count} times; a command that only answers on that connection takes {:.1} ms",
            ms(median),
            ms(quantile(&mut waits, 0.95)),
            self.bars
                .verdict("decision to first byte: 50 ms", ms(median) <= 50.0),
            ms(quantile(&mut answers, 0.5)),
        );
        Ok(())
    }

    /// A payload from the approval to its client's end, and the same file where nothing is held.
    fn release(&self, mib: usize, rounds: usize) -> Result<()> {
        let file = self.world.place("file-")?.join("file");
        write(&file, mib)?;
        let command = format!("cat {}", file.display());
        let (mut held, mut free) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let since = Instant::now();
            let output = self.start("box", &command)?.finish()?.ok()?;
            free.push(since.elapsed());
            let bytes = output.stdout.len();
            let session = self.start("vault", &command)?;
            let id = self.sealed(&session)?;
            let since = Instant::now();
            self.ask(&format!("approve {id}"))?;
            let output = session.finish()?.ok()?;
            held.push(since.elapsed());
            ensure!(
                output.stdout.len() == bytes,
                "{} bytes",
                output.stdout.len()
            );
        }
        let speed = |time: Duration| mib as f64 / time.as_secs_f64();
        let (held, free) = (quantile(&mut held, 0.5), quantile(&mut free, 0.5));
        println!(
            "release of {mib} MiB                     {:>7.0} MiB/s, a stream that nobody holds {:.0} MiB/s (sign-in included): {:.2} of it   bar 0.5 {}, medians of {rounds}",
            speed(held),
            speed(free),
            speed(held) / speed(free),
            self.bars.verdict(
                "release: 0.5 of a stream that nobody holds",
                speed(held) / speed(free) >= 0.5
            ),
        );
        Ok(())
    }

    /// The list of many that wait.
    fn list(&self, count: usize, rounds: usize) -> Result<()> {
        let session = self.start("vault", "echo one of many")?;
        let id = self.sealed(&session)?;
        self.world.sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
            INSERT INTO holds SELECT printf('H-X%05d', i), state, live, issuer, subject || (i / 20),
            json_set(facts, '$.producer.identity.subject', subject || (i / 20), '$.producer.name', 'user ' || (i / 20),
            '$.producer.email', (i / 20) || '@example.test', '$.session', 'session-' || i), seal, votes, opened_at,
            changed_at, expires_at, version FROM holds, n WHERE id = '{id}' AND i < {count}"
        ))?;
        for (name, command) in [("holds", "holds"), ("holds --json", "holds --json")] {
            let mut times = Vec::new();
            for _ in 0..rounds {
                let since = Instant::now();
                let output = self.ask(command)?;
                times.push(since.elapsed());
                let rows = match serde_json::from_slice::<Value>(&output.stdout) {
                    Ok(list) => list
                        .get("holds")
                        .and_then(Value::as_array)
                        .map_or(0, Vec::len),
                    Err(_) => output.out().lines().count() - 1,
                };
                ensure!(rows == count, "{rows} rows");
            }
            let median = quantile(&mut times, 0.5);
            println!(
                "{name} with {count} that wait    {:>7.1} ms   bar 200 ms {}, median of {rounds}",
                ms(median),
                self.bars
                    .verdict(&format!("{name}: 200 ms"), ms(median) <= 200.0),
            );
        }
        Ok(())
    }

    fn start(&self, target: &str, command: &str) -> Result<Session> {
        self.ana.start(&[&self.ana.on(target), "--", command])
    }

    /// Runs a console command over the connection that stands.
    fn ask(&self, command: &str) -> Result<Output> {
        run("ssh", self.console.command().arg(command), b"")?.ok()
    }

    /// The hold of a session, once it can be decided.
    fn sealed(&self, session: &Session) -> Result<String> {
        let id = session.stderr.wait("a hold's name", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let at = text.find("H-")?;
            Some(text.get(at..at + 8)?.to_owned())
        })?;
        loop {
            let shown: Value =
                serde_json::from_slice(&self.ask(&format!("show {id} --json"))?.stdout)?;
            if shown.get("state").and_then(Value::as_str) != Some("open") {
                return Ok(id);
            }
        }
    }
}

fn write(path: &Path, mib: usize) -> Result<()> {
    let line = "{\"time\":\"2026-03-01T10:00:00Z\",\"level\":\"info\",\"service\":\"checkout\",\"took_ms\":17}\n";
    let mut text = line.repeat((mib << 20) / line.len());
    text.push_str(&"-".repeat((mib << 20) - text.len()));
    Ok(std::fs::write(path, text)?)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a place in a short list"
    )]
    let at = ((times.len() - 1) as f64 * q).round() as usize;
    times.get(at).copied().unwrap_or_default()
}
