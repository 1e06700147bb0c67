//! The bars of the issue, measured once and told: a jump in a ten-hour session with 200 MB of
//! output, opening it for the first time and again, and searching a thousand recordings of one
//! hour. `cargo bench -p replay --bench bars`; with `--quick` a tenth of everything.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at what it did not expect, and tells"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use replay::keeper::Keeper;
use replay::player::{Idle, KeyReader, Options, Player, Wait};

/// Numbers that look like any, the same in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// A session: typing, listings, logs, an editor on the whole screen now and then.
fn session(output: usize, hours: u64, noise: &mut Noise) -> Vec<u8> {
    let mut text = String::from(
        "{\"version\":3,\"term\":{\"cols\":150,\"rows\":45},\"timestamp\":1700000000,\"bastion\":{\"user\":\"ada\",\"target\":\"orders-db\"}}\n",
    );
    let mut events = Vec::new();
    let mut written = 0;
    let mut number = 0u64;
    while written < output {
        number += 1;
        let word = noise.next();
        let event = match number % 500 {
            400 => "\\u001b[?1049h\\u001b[2J\\u001b[H".to_owned(),
            401..499 => format!(
                "\\u001b[{};1H\\u001b[2K{word:x} edited {number} {word:o}",
                number % 38 + 1
            ),
            499 => "\\u001b[?1049l".to_owned(),
            0..60 => char::from(b'a' + (word % 26) as u8).to_string(),
            60 => "\\r\\n".to_owned(),
            _ => {
                let mut lines = String::new();
                for line in 0..1 + word % 4 {
                    let other = noise.next();
                    write!(lines, "-rw-r--r-- 1 root root {other:>9} Nov 14 22:13 \\u001b[01;34mworkers_{word:x}-{line}\\u001b[0m.log {other:x}\\r\\n").unwrap();
                }
                lines
            }
        };
        // Escapes in JSON are longer than what they stand for.
        written += event.len()
            - event.matches("\\u001b").count() * 5
            - event.matches("\\r\\n").count() * 2;
        events.push(event);
    }
    let interval = hours * 3_600_000 / events.len() as u64;
    for event in &events {
        writeln!(
            text,
            "[{}.{:03},\"o\",\"{event}\"]",
            interval / 1000,
            interval % 1000
        )
        .unwrap();
    }
    text.push_str("[0.000,\"x\",\"0\"]\n");
    // Frames as the recorder writes them.
    let frames = text.as_bytes().chunks(1 << 20);
    frames
        .flat_map(|frame| zstd::encode_all(frame, 3).unwrap())
        .collect()
}

fn options() -> Options {
    Options {
        paused: true,
        idle: Idle::Real,
        ..Options::default()
    }
}

fn settle(player: &mut Player) {
    while player.tick(Duration::ZERO) == Wait::Not {}
}

fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    *times
        .get((times.len() * part / 100).min(times.len() - 1))
        .unwrap()
}

fn jumps(folder: &Path, scale: usize) {
    let output = 200_000_000 / scale;
    let bytes = session(output, 10, &mut Noise(1));
    let path = folder.join("ten-hours.cast.zst");
    fs::write(&path, &bytes).unwrap();
    println!(
        "ten hours: {output} bytes of output, {} of file",
        bytes.len()
    );

    let open = || Box::new(fs::File::open(&path).unwrap());
    let begun = Instant::now();
    let mut player = Player::of_file(options(), open());
    for piece in bytes.chunks(64 << 10) {
        player.feed(piece);
        while !player.wants_input() {
            player.tick(Duration::ZERO);
        }
    }
    player.finish();
    player.tick(Duration::ZERO);
    let read = begun.elapsed();
    settle(&mut player);
    let index = player.index().unwrap();
    let prepared = begun.elapsed();
    let rate = output as f64 / 1e6 / prepared.as_secs_f64();
    println!(
        "first open: {rate:.1} MB/s ({prepared:.2?}; read {read:.2?}), index {} bytes",
        index.len()
    );

    let mut opened = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let (mut player, from) = Player::with_index(options(), open(), &index).unwrap();
        player.feed(bytes.get(usize::try_from(from).unwrap()..).unwrap());
        player.finish();
        player.tick(Duration::ZERO);
        player.render((150, 46));
        opened.push(begun.elapsed());
    }
    println!(
        "open with the index: p50 {:.2?}, max {:.2?}",
        percentile(&mut opened, 50),
        percentile(&mut opened, 100)
    );

    let (mut player, from) = Player::with_index(options(), open(), &index).unwrap();
    player.feed(bytes.get(usize::try_from(from).unwrap()..).unwrap());
    player.finish();
    settle(&mut player);
    let mut keys = KeyReader::default();
    let mut noise = Noise(7);
    let mut times = Vec::new();
    for _ in 0..1000 {
        let place = format!("g{}\r", noise.next() % 36_000);
        let begun = Instant::now();
        for key in keys.keys(place.as_bytes()) {
            player.on_key(key);
        }
        settle(&mut player);
        player.render((150, 46));
        times.push(begun.elapsed());
    }
    println!(
        "1000 jumps: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, max {:.2?}",
        percentile(&mut times, 50),
        percentile(&mut times, 90),
        percentile(&mut times, 99),
        percentile(&mut times, 100)
    );
}

fn search(folder: &Path, scale: usize) {
    let count = 1000 / scale;
    let mut noise = Noise(3);
    let mut size = 0;
    let store = folder.join("store");
    fs::create_dir(&store).unwrap();
    for number in 0..count {
        let mut bytes = session(700_000, 1, &mut noise);
        if number % 100 == 50 {
            bytes.extend(
                zstd::encode_all(
                    &b"[1.0,\"o\",\"the \\u001b[1mnee\\u001b[0mdle\\r\\n\"]\n"[..],
                    3,
                )
                .unwrap(),
            );
        }
        size += bytes.len();
        fs::write(store.join(format!("{number:04}.cast.zst")), bytes).unwrap();
    }
    println!("{count} recordings of one hour, 700000 bytes of output each, {size} of files");
    for (what, pattern) in [
        ("cold", "the needle"),
        ("with sidecars, text", "the needle"),
        ("with sidecars, pattern", "the n[a-e]+dle$"),
        ("with sidecars, any case", "(?i)THE NEEDLE"),
    ] {
        let begun = Instant::now();
        let found = Command::new(env!("CARGO_BIN_EXE_replay"))
            .args(["search", pattern, store.to_str().unwrap()])
            .env("XDG_CACHE_HOME", folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let lines = found.stdout.iter().filter(|&&byte| byte == b'\n').count();
        println!("search, {what}: {:.2?}, {lines} lines", begun.elapsed());
        assert_eq!(lines, count / 100);
    }
    let sidecars = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap());
    let sidecars = sidecars.filter(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|ending| ending == "idx")
    });
    let size: u64 = sidecars.map(|entry| entry.metadata().unwrap().len()).sum();
    println!("text sidecars: {size} bytes");
}

fn main() {
    let scale = if std::env::args().any(|argument| argument == "--quick") {
        10
    } else {
        1
    };
    let folder = tempfile::tempdir().unwrap();
    // The secret is made once, not in the first search's time.
    drop(Keeper::in_folder(&folder.path().join("bastion-replay")).unwrap());
    jumps(folder.path(), scale);
    search(folder.path(), scale);
}
