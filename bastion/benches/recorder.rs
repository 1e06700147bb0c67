//! What the recorder costs, as a process of its own: CPU per gigabyte and per interactive session,
//! latency of many sessions at once, memory of idle ones.
//!
//! `cargo bench -p bastion --bench recorder -- [GIGABYTES] [SESSIONS] [SECONDS]`

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends at what it does not expect"
)]
#![expect(clippy::print_stdout, reason = "it says figures")]

use std::path::Path;
use std::time::Duration;

use bastion::config::RecordingSync;
use bastion::record::{End, Kind, Recorder, Recording};
use scanner::Masked;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

#[path = "../tests/support/mod.rs"]
mod support;

use support::{about, masked};

fn main() {
    let numbers: Vec<f64> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let number = |at: usize, default: f64| numbers.get(at).copied().unwrap_or(default);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        bulk(number(0, 1.0)).await;
        interactive(number(1, 200.0), number(2, 20.0)).await;
    });
}

async fn recorder(dir: &Path) -> (Recorder, u32) {
    let program = Path::new(env!("CARGO_BIN_EXE_bastion"));
    let recorder = Recorder::spawn_embedded(program, dir, RecordingSync::Interval)
        .await
        .unwrap();
    let child = recorder.child_id().await.unwrap();
    (recorder, child)
}

fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

/// CPU seconds of a process so far (proc(5): user and system time, in hundredths).
fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Memory of a process that is its own, in KiB.
fn memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Log lines as a service prints them.
fn log_lines(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 256);
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    };
    while text.len() < bytes {
        let (id, user, millis) = (random(), random() % 5000, random() % 900);
        let line = format!(
            "{{\"time\":\"2026-11-24T01:{:02}:{:02}.{millis:03}Z\",\"request\":\"{id:08x}\",\"user\":{user},\"path\":\"/orders/{}\",\"status\":200}}\n",
            random() % 60,
            random() % 60,
            random() % 100_000,
        );
        text.extend_from_slice(line.as_bytes());
    }
    text
}

async fn bulk(gigabytes: f64) {
    let folder = folder();
    let (recorder, child) = recorder(folder.path()).await;
    let pieces: Vec<Masked> = log_lines(64 << 20).chunks(32 << 10).map(masked).collect();
    let mut recording = recorder.start(about(Kind::Exec)).await.unwrap();
    let (begun, before) = (Instant::now(), cpu(child));
    let mut sent = 0.0;
    for piece in pieces.iter().cycle() {
        let at = recording
            .output(scanner::Stream::Stdout, piece)
            .await
            .unwrap();
        sent = at as f64 / 1e9;
        if sent >= gigabytes {
            recording.acknowledged().reached(at).await.unwrap();
            break;
        }
    }
    let totals = recording.end(End::default()).await.unwrap();
    let used = cpu(child) - before;
    println!(
        "bulk: {sent:.2} GB in {:.1} s; recorder {:.2} CPU-s per GB; file {:.3} of it",
        begun.elapsed().as_secs_f64(),
        used / sent,
        totals.file as f64 / 1e9 / sent,
    );
    recorder.close().await;
}

async fn interactive(sessions: f64, seconds: f64) {
    let folder = folder();
    let (recorder, child) = recorder(folder.path()).await;
    let idle = memory(child);
    let mut open = Vec::new();
    while (open.len() as f64) < sessions {
        open.push(recorder.start(about(Kind::Shell)).await.unwrap());
    }
    sleep(Duration::from_secs(1)).await;
    println!(
        "idle: {idle:.0} KiB without a session; {:.1} KiB more for each of {sessions}",
        (memory(child) - idle) / sessions
    );
    let before = cpu(child);
    let begun = Instant::now();
    let mut typing = JoinSet::new();
    for (n, recording) in open.into_iter().enumerate() {
        typing.spawn(typist(recording, n as u64, seconds));
    }
    let mut waits = Vec::new();
    while let Some(session) = typing.join_next().await {
        waits.extend(session.unwrap());
    }
    let took = begun.elapsed().as_secs_f64();
    let used = cpu(child) - before;
    waits.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = ((waits.len() - 1) as f64 * share) as usize;
        waits.get(rank).unwrap().as_secs_f64() * 1000.0
    };
    println!(
        "interactive: {sessions} sessions, {} events; added latency p50 {:.3}, p99 {:.3}, most {:.3} ms; recorder {:.4} % of a core a session",
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        used / took / sessions * 100.0,
    );
    recorder.close().await;
}

/// Eight keys a second, and a screenful now and then; how long each waited for the recorder.
async fn typist(mut recording: Recording, number: u64, seconds: f64) -> Vec<Duration> {
    let screen = masked(&log_lines(2000));
    let key = masked(b"l");
    let mut pace = interval(Duration::from_millis(115 + number % 20));
    let (begun, mut waits) = (Instant::now(), Vec::new());
    while begun.elapsed().as_secs_f64() < seconds {
        pace.tick().await;
        let printed = if waits.len() % 40 == 39 {
            &screen
        } else {
            &key
        };
        let handed = Instant::now();
        let at = recording
            .output(scanner::Stream::Stdout, printed)
            .await
            .unwrap();
        recording.acknowledged().reached(at).await.unwrap();
        waits.push(handed.elapsed());
    }
    recording.end(End::default()).await.unwrap();
    waits
}
