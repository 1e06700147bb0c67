//! A ten-hour session: how long until it is read, until all of it is prepared, and how long a
//! jump to any place of it takes. `cargo bench -p replay`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at what it did not expect"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use replay::player::{Idle, KeyReader, Options, Player, Wait};
use replay::summary::Summary;
use replay::transcript::Transcript;

const SIZE: (u16, u16) = (120, 40);

/// A session of so many events over ten hours: prompts, listings, an editor now and then.
fn session(events: u64) -> Vec<u8> {
    let mut text = String::from(
        "{\"version\":3,\"term\":{\"cols\":120,\"rows\":39},\"timestamp\":1700000000,\"bastion\":{\"user\":\"ada\"}}\n",
    );
    let interval = 36_000_000 / events;
    for number in 0..events {
        let seconds = format!("{}.{:03}", interval / 1000, interval % 1000);
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let output = match number % 500 {
            400 => "\\u001b[?1049h\\u001b[2J\\u001b[H".to_owned(),
            401..499 => format!(
                "\\u001b[{};1H\\u001b[2K{word:x} edited {number}",
                number % 38 + 1
            ),
            499 => "\\u001b[?1049l".to_owned(),
            0..40 => format!("{}", char::from(b'a' + (word % 26) as u8)),
            _ => format!(
                "-rw-r--r-- 1 root root {word:>8} Nov 14 22:13 \\u001b[01;34m{word:x}-{number}\\u001b[0m.log\\r\\n"
            ),
        };
        writeln!(text, "[{seconds},\"o\",\"{output}\"]").unwrap();
    }
    text.push_str("[0.000,\"x\",\"0\"]\n");
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

fn settle(player: &mut Player) {
    while player.tick(Duration::ZERO) == Wait::Not {}
}

fn opened(file: &[u8]) -> Player {
    let mut player = Player::new(Options {
        paused: true,
        idle: Idle::Real,
        ..Options::default()
    });
    for piece in file.chunks(64 << 10) {
        player.feed(piece);
        while !player.wants_input() {
            player.tick(Duration::ZERO);
        }
    }
    player.finish();
    player
}

fn benches(criterion: &mut Criterion) {
    for (name, events) in [("interactive", 70_000), ("heavy", 1_000_000)] {
        let file = session(events);
        let output = Summary::read(file.as_slice()).unwrap().output_bytes;
        let mut group = criterion.benchmark_group(format!("{name}-{}MB", output / 1_000_000));
        group.sample_size(10).throughput(Throughput::Bytes(output));
        group.bench_function("read", |bencher| {
            bencher.iter(|| Summary::read(black_box(file.as_slice())).unwrap().events);
        });
        group.bench_function("first-frame", |bencher| {
            bencher.iter(|| {
                let mut player = Player::new(Options::default());
                player.feed(file.get(..64 << 10).unwrap_or(&file));
                player.tick(Duration::ZERO);
                player.render(SIZE)
            });
        });
        group.bench_function("prepare", |bencher| {
            bencher.iter(|| {
                let mut player = opened(&file);
                settle(&mut player);
                player.render(SIZE)
            });
        });
        group.bench_function("transcript", |bencher| {
            bencher.iter(|| {
                let reader = recording::read::Reader::open(file.as_slice()).unwrap();
                let mut transcript = Transcript::new(reader.header());
                let lines = reader
                    .filter_map(|item| item.event().map(|event| transcript.event(event).len()))
                    .sum::<usize>();
                lines + transcript.finish().len()
            });
        });
        let mut player = opened(&file);
        settle(&mut player);
        let mut keys = KeyReader::default();
        let mut seed = 1u64;
        group.throughput(Throughput::Elements(1));
        group.sample_size(100);
        group.bench_function("jump", |bencher| {
            bencher.iter_batched(
                || {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    format!("g{}\r", (seed >> 33) % 36_000)
                },
                |place| {
                    for key in keys.keys(place.as_bytes()) {
                        player.on_key(key);
                    }
                    settle(&mut player);
                    player.render(SIZE)
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(jump, benches);
criterion_main!(jump);
