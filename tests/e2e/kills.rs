//! A bastion, or its recorder, that is killed anywhere between hold and release (threats, row 41): nothing leaks,
//! nothing that was sealed is lost, nothing is delivered twice.
//!
//! Where it is killed is told by bytes: of the payload on disk, of the audit log, of what the client has. A first round
//! without a kill says how many there are; the points lie evenly between. 200 of them with `tests/run --long`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::inotify;
use rustix::process::Signal;
use serde_json::Value;
use tests::files::walk;
use tests::process::readable;
use tests::world::{Setup, World};

use crate::holds::{console, contains, json, setup, state};

const ROWS: u32 = 6000;

/// What is held of it starts with the second line.
fn query() -> String {
    format!(
        "echo id,salary; awk 'BEGIN {{ for (i = 1; i <= {ROWS}; i++) printf \"%d,k%d\\n\", i, 4711000 + i }}'; exit 3"
    )
}

const HEAD: &str = "id,salary\n";

fn payload() -> Vec<u8> {
    let rows: Vec<_> = (1..=ROWS)
        .map(|i| format!("{i},k{}\n", 4_711_000 + i))
        .collect();
    rows.concat().into_bytes()
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Serve,
    Recorder,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// Bytes of the payload on disk.
    Spool,
    /// Bytes of the audit log since the round began.
    Audit,
    /// Bytes that the client has.
    Client,
}

/// The whole of each, in a round that nobody disturbs.
#[derive(Clone, Copy, Debug, Default)]
struct Whole {
    spool: u64,
    audit: u64,
    client: u64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    victim: Victim,
    of: Of,
    bytes: u64,
}

/// `count` points, spread over everything that is counted and over both processes.
fn points(count: u64, whole: Whole) -> impl Iterator<Item = Point> {
    (0..count).map(move |n| {
        let of = match n % 3 {
            0 => Of::Spool,
            1 => Of::Audit,
            _ => Of::Client,
        };
        let all = match of {
            Of::Spool => whole.spool,
            Of::Audit => whole.audit,
            Of::Client => whole.client,
        };
        Point {
            victim: if n / 3 % 2 == 0 {
                Victim::Serve
            } else {
                Victim::Recorder
            },
            of,
            // 61 has no divisor in common with either count, so that every place comes once.
            bytes: all * (n * 61 % count) / count,
        }
    })
}

#[test]
fn a_kill_anywhere_loses_and_leaks_nothing() -> Result<()> {
    let count = if std::env::var_os("BASTION_TEST_LONG").is_some() {
        200
    } else {
        8
    };
    let mut world = World::start(&Setup {
        log: "warn".to_owned(),
        // All of the points take longer than a sign-in is fresh.
        approval: "max_sign_in_age = \"8h\"".to_owned(),
        ..setup()
    })?;
    let people = People {
        ana: world.signed_in()?.dir.clone(),
        carol: world.signed_in_as("carol")?.dir.clone(),
    };
    let (whole, _) = round(&world, &people, None)?;
    ensure!(whole.spool > 0 && whole.audit > 0, "{whole:?}");
    let mut seen = Vec::new();
    for point in points(count, whole) {
        let bastion = world.bastion()?;
        let (recorder, log) = (bastion.recorder()?, bastion.log.clone());
        let (_, got) = round(&world, &people, Some(point)).with_context(|| format!("{point:?}"))?;
        // Whichever it was, both are gone before they start again.
        let started_since = world.bastion()?.children()?;
        world.bastion()?.signal(Signal::KILL).ok();
        world.reap()?;
        for process in started_since.into_iter().chain([recorder]) {
            tests::bastion::ended(process)?;
        }
        ensure!(!contains(log.text().as_bytes()), "held bytes in the log");
        let audited = audited(&world.home)?;
        for file in walk(&world.home.join("state"))? {
            ensure!(
                !contains(&fs::read(&file)?),
                "held bytes in {}",
                file.display()
            );
        }
        world.start_again()?;
        seen.extend(after(&world, &people, &got, &audited).with_context(|| format!("{point:?}"))?);
    }
    // Of so many, some were everywhere that matters.
    for state in ["void", "sealed", "releasing", "delivered"] {
        ensure!(
            count < 200 || seen.iter().any(|seen| seen == state),
            "{seen:?}"
        );
    }
    let last = world.home.join("state/held");
    ensure!(walk(&last)?.is_empty());
    for cast in world.recordings().all()? {
        ensure!(!contains(cast.output().as_bytes()));
    }
    Ok(())
}

/// The folders of their clients.
struct People {
    ana: PathBuf,
    carol: PathBuf,
}

/// What the client had in the end.
struct Got {
    payload: Vec<u8>,
    code: i32,
}

/// One hold from its beginning to its release, or to the kill.
fn round(world: &World, people: &People, kill: Option<Point>) -> Result<(Whole, Got)> {
    let (held_dir, log) = (
        world.home.join("state/held"),
        world.home.join("recordings/audit.jsonl"),
    );
    let recorder = world.bastion()?.recorder()?;
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let audit_before = length(&log);
    // The folder says that a payload was begun or written to, the log that a line came.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let flags =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE;
    inotify::add_watch(&watch, &held_dir, flags)?;
    inotify::add_watch(&watch, &log, flags)?;

    let ana = world.returning(&people.ana)?;
    let mut session = ana.start(&[&ana.on("vault"), "--", &query()])?;
    let (announced, over) = (session.stderr.clone(), AtomicBool::new(false));
    let whole = std::thread::scope(|scope| -> Result<Whole> {
        let approver = scope.spawn(|| -> Result<()> {
            let Ok(id) = announced.wait("a hold's name", crate::holds::find) else {
                return Ok(());
            };
            let carol = world.returning(&people.carol)?;
            // Refused until it is sealed, and once nobody is there any more.
            while !over.load(Ordering::SeqCst) {
                let output = carol.console(&format!("approve {id}"))?;
                if output.code() == 0 || !output.err().contains("not sealed yet") {
                    break;
                }
            }
            Ok(())
        });
        let mut whole = Whole::default();
        let mut killed = false;
        let mut ended = false;
        while !ended {
            ended = session.running.has_ended()?;
            let spool: u64 = walk(&held_dir)?.iter().map(|path| length(path)).sum();
            let client = session.stdout.len() as u64;
            whole.spool = whole.spool.max(spool);
            whole.audit = length(&log) - audit_before;
            whole.client = client;
            if let Some(point) = kill.filter(|_| !killed) {
                let reached = match point.of {
                    Of::Spool => spool > point.bytes,
                    Of::Audit => whole.audit > point.bytes,
                    Of::Client => client > point.bytes,
                };
                if reached || ended {
                    killed = true;
                    match point.victim {
                        Victim::Serve => world.bastion()?.signal(Signal::KILL)?,
                        Victim::Recorder => tests::bastion::kill(recorder)?,
                    }
                }
            }
            // What the client has is no event of this watch.
            let wait = if matches!(kill.map(|point| point.of), Some(Of::Client)) {
                1
            } else {
                20
            };
            if !ended && readable(&watch, Duration::from_millis(wait))? {
                let mut events = [std::mem::MaybeUninit::uninit(); 4096];
                inotify::Reader::new(&watch, &mut events).next().ok();
            }
        }
        over.store(true, Ordering::SeqCst);
        approver.join().ok().context("the approver")??;
        Ok(whole)
    })?;
    drop(session.stdin.take());
    let status = session.end()?;
    let (out, err) = (session.stdout.all()?, session.stderr.all()?);
    ensure!(!contains(&err), "held bytes on stderr");
    let payload = match out.strip_prefix(HEAD.as_bytes()) {
        Some(payload) => payload.to_vec(),
        None => {
            ensure!(
                HEAD.as_bytes().starts_with(&out),
                "{}",
                String::from_utf8_lossy(&out)
            );
            Vec::new()
        }
    };
    let code = status.code().unwrap_or(255);
    if kill.is_none() {
        ensure!(
            code == 3 && payload == self::payload(),
            "status {code}, {} bytes",
            payload.len()
        );
    }
    Ok((whole, Got { payload, code }))
}

/// Events of holds that are on disk: hold and what happened.
fn audited(home: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read(home.join("recordings/audit.jsonl"))?;
    let text = String::from_utf8_lossy(&text);
    let events = text.lines().filter_map(|line| {
        // The last line may be torn.
        let line: Value = serde_json::from_str(line).ok()?;
        let event = line.get("event")?;
        let name = event.as_str().or_else(|| event.get("event")?.as_str())?;
        let hold = line.get("hold").or_else(|| event.get("hold"))?.as_str()?;
        Some((hold.to_owned(), name.to_owned()))
    });
    Ok(events.collect())
}

/// What the next start finds, and what becomes of it. Says in which states the holds were that were new.
fn after(
    world: &World,
    people: &People,
    got: &Got,
    audited: &[(String, String)],
) -> Result<Vec<String>> {
    let (ana, carol) = (
        world.returning(&people.ana)?,
        world.returning(&people.carol)?,
    );
    let whole = payload();
    ensure!(
        whole.starts_with(&got.payload),
        "other bytes than those that were held"
    );
    ensure!(
        got.code != 3 || got.payload == whole,
        "a status without its output"
    );
    let list = json(&ana, "holds --all --json")?;
    let holds = list
        .get("holds")
        .and_then(Value::as_array)
        .context("a list")?;
    // The newest is that of this round; those before it are over.
    let mut found = Vec::new();
    for hold in holds {
        let of = |key: &str| hold.get(key).and_then(Value::as_str);
        let (id, was) = (of("id").context("an id")?, of("state").context("a state")?);
        let has = |event: &str| {
            audited
                .iter()
                .any(|(hold, name)| hold == id && name == event)
        };
        if holds.first() != Some(hold) {
            ensure!(["delivered", "void"].contains(&was), "{id} is {was}");
            continue;
        }
        found.push(was.to_owned());
        if !got.payload.is_empty() {
            // The decision and the release were durable before the first byte.
            ensure!(has("hold_decided") && has("hold_released"), "{audited:?}");
            ensure!(["releasing", "delivered"].contains(&was), "{id} is {was}");
        }
        match was {
            "void" => {
                ensure!(!has("hold_sealed"), "{id} was sealed, and is void");
                console(&carol, &format!("approve {id}"), 65)?;
            }
            "sealed" => {
                console(&carol, &format!("approve {id}"), 0)?;
                ensure!(fetched(&ana, id)? == whole, "{id}: other bytes");
            }
            "approved" | "releasing" => {
                ensure!(fetched(&ana, id)? == whole, "{id}: other bytes");
            }
            "delivered" => {}
            other => bail!("{id} is {other}"),
        }
        let again = console(&ana, &format!("fetch {id}"), 65)?;
        ensure!(again.stdout.is_empty(), "{id}: delivered again");
        let end = state(&ana, id)?;
        ensure!(
            end == if was == "void" { "void" } else { "delivered" },
            "{id} is {end}"
        );
    }
    ensure!(
        walk(&world.home.join("state/held"))?.is_empty(),
        "a payload is left"
    );
    Ok(found)
}

fn fetched(client: &tests::ssh::Client<'_>, id: &str) -> Result<Vec<u8>> {
    Ok(console(client, &format!("fetch {id}"), 0)?.stdout)
}
