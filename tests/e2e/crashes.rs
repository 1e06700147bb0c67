//! A bastion, its recorder or both, killed anywhere in a session: every flushed line is in the recording, the log
//! verifies, and it says what was recovered.
//!
//! Where it is killed is told by bytes that the client has; the points lie evenly between. 100 of them with
//! `tests/run --long`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::files::program;
use tests::process::run;
use tests::recordings::{Cast, replay};
use tests::world::World;

/// Lines in bursts, some of which are flushed while others come.
const BURSTS: u32 = 40;
const BURST: u32 = 400;

fn command() -> String {
    format!(
        "i=0; while [ $i -lt {BURSTS} ]; do seq $((i * {BURST} + 1)) $((i * {BURST} + {BURST})); i=$((i + 1)); sleep 0.06; done; exec cat"
    )
}

fn printed() -> String {
    let lines: Vec<_> = (1..=BURSTS * BURST).map(|n| format!("{n}\r\n")).collect();
    lines.concat()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Serve,
    Recorder,
    Both,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    victim: Victim,
    /// When the client has so many bytes.
    bytes: usize,
}

fn points(count: usize) -> impl Iterator<Item = Point> {
    // As the client has them.
    let all = printed().replace('\r', "").len();
    (0..count).map(move |n| Point {
        victim: match n % 3 {
            0 => Victim::Recorder,
            1 => Victim::Serve,
            _ => Victim::Both,
        },
        // 61 has no divisor in common with either count, so that every place comes once.
        bytes: all * (n * 61 % count) / count,
    })
}

#[test]
fn a_kill_anywhere_in_a_session_loses_no_flushed_line_and_is_told_of() -> Result<()> {
    let count = match std::env::var_os("BASTION_TEST_LONG") {
        Some(_) => 100,
        None => 6,
    };
    let mut world = World::usual()?;
    let ana = world.signed_in()?.dir.clone();
    let mut killed = Vec::new();
    for point in points(count) {
        let path = round(&mut world, &ana, point).with_context(|| format!("{point:?}"))?;
        killed.push((path, point));
    }
    world.stop()?;

    let folder = world.home.join("recordings");
    let key = std::fs::read_to_string(folder.join("log/vkey"))?;
    let all = replay(&["verify", "--json", "--key", key.trim(), "--all"], &folder)?.ok()?;
    let verdicts: Vec<Value> = all
        .out()
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    for (path, point) in killed {
        let name = path.to_str().context("a path")?;
        let of = |verdict: &&Value| verdict.get("file").and_then(Value::as_str) == Some(name);
        let verdict = verdicts.iter().find(of).context("no verdict")?;
        ensure!(
            verdict.get("level").and_then(Value::as_str) == Some("complete"),
            "{point:?}: {verdict}"
        );
        // A recorder without a bastion ends what it has in order.
        let recovered = point.victim != Victim::Serve;
        ensure!(
            verdict
                .get("recovered")
                .and_then(Value::as_bool)
                .unwrap_or(false)
                == recovered,
            "{point:?}: {verdict}"
        );
    }
    let mut audit = Command::new(program("bastion")?);
    audit.args(["audit", "verify", "--key", key.trim(), "--dir"]);
    run("bastion", audit.arg(&folder), b"")?.ok()?;
    Ok(())
}

/// One session up to the kill, and what the next start makes of it. Its recording.
fn round(world: &mut World, ana: &Path, point: Point) -> Result<PathBuf> {
    let before: BTreeSet<PathBuf> = world.recordings().files()?.into_iter().collect();
    let recorder = world.bastion()?.recorder()?;
    let got = {
        let client = world.returning(ana)?;
        let mut session = client.start(&[&client.on("box"), "--", &command()])?;
        session.stdout.wait("so many bytes", |got| {
            (got.len() > point.bytes).then_some(())
        })?;
        match point.victim {
            Victim::Serve => world.bastion()?.signal(Signal::KILL)?,
            Victim::Recorder => tests::bastion::kill(recorder)?,
            Victim::Both => {
                tests::bastion::kill(recorder)?;
                world.bastion()?.signal(Signal::KILL)?;
            }
        }
        drop(session.stdin.take());
        session.end()?;
        String::from_utf8(session.stdout.all()?)?.replace('\n', "\r\n")
    };
    // Whichever it was, all are gone before they start again. One that stands still starts no other recorder between
    // being asked for its children and its end.
    let serve = world.bastion()?;
    if point.victim == Victim::Recorder {
        serve.signal(Signal::STOP)?;
        tests::bastion::stopped(serve.id())?;
    }
    let started_since = serve.children()?;
    serve.signal(Signal::KILL).ok();
    world.reap()?;
    for process in started_since.into_iter().chain([recorder]) {
        tests::bastion::ended(process)?;
    }
    // One that was started since then, too: whoever has the folder has locked it.
    let folder = std::fs::File::open(world.home.join("recordings"))?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    drop(folder);
    let files = world.recordings().files()?;
    let mut new = files.into_iter().filter(|path| !before.contains(path));
    let path = new.next().context("no recording")?;
    ensure!(new.next().is_none(), "several recordings");
    let flushed = flushed(&path)?;

    world.start_again()?;
    let kept = Cast::read(&path)?.output();
    let whole = printed();
    ensure!(whole.starts_with(&kept), "other bytes than were printed");
    ensure!(whole.starts_with(&got), "the client has other bytes");
    ensure!(
        kept.starts_with(&flushed),
        "{} of {} flushed bytes were kept",
        kept.len(),
        flushed.len()
    );
    if point.victim == Victim::Serve {
        ensure!(
            kept.starts_with(&got),
            "the client has {} bytes, the recording {}",
            got.len(),
            kept.len()
        );
    }
    Ok(path)
}

/// The output that the stock `zstd` and whole lines give of a file that may be torn.
fn flushed(path: &Path) -> Result<String> {
    let unpacked = run("zstd", Command::new("zstd").args(["-dcq"]).arg(path), b"")?;
    let mut output = String::new();
    let text = unpacked.stdout.split_inclusive(|byte| *byte == b'\n');
    for line in text.filter(|line| line.ends_with(b"\n")).skip(1) {
        let (_, code, data): (f64, String, String) = serde_json::from_slice(line)?;
        if code == "o" {
            output.push_str(&data);
        }
    }
    Ok(output)
}
