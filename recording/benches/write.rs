//! What recording costs: bytes a second of bulk output, and the time of one keystroke's event.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends at what it does not expect"
)]

use std::hint::black_box;
use std::io;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use recording::event::{Header, Stream};
use recording::write::{Newlines, Presses, Sealing, Settings, Writer};

/// Log lines as a service prints them, 32 KiB at a time.
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
            "{{\"time\":\"2026-11-24T01:{:02}:{:02}.{millis:03}Z\",\"level\":\"info\",\"request\":\"{id:08x}\",\"user\":{user},\"path\":\"/orders/{}\",\"status\":200,\"took_ms\":{millis}}}\n",
            random() % 60,
            random() % 60,
            random() % 100_000,
        );
        text.extend_from_slice(line.as_bytes());
    }
    text
}

fn writer(settings: Settings, newlines: Newlines) -> Writer<io::Sink> {
    let header = Header {
        version: 3,
        cols: 80,
        rows: 24,
        ..Header::default()
    };
    Writer::new(io::sink(), &header, newlines, settings, Presses::new(1)).unwrap()
}

/// As the recorder writes.
fn sealed(settings: Settings, newlines: Newlines) -> Writer<io::Sink> {
    let header = Header {
        version: 3,
        cols: 80,
        rows: 24,
        ..Header::default()
    };
    let sealing = Sealing {
        session: *b"00000000000000000000000000",
        wall_ms: || 0,
    };
    let presses = Presses::new(1);
    Writer::sealed(io::sink(), &header, newlines, settings, presses, sealing).unwrap()
}

fn bulk(criterion: &mut Criterion) {
    let text = log_lines(16 * 1024 * 1024);
    let mut group = criterion.benchmark_group("bulk");
    group
        .throughput(Throughput::Bytes(text.len() as u64))
        .sample_size(10);
    for (name, level) in [
        ("level 3", 3),
        ("level 1", 1),
        ("level -1", -1),
        ("level -3", -3),
        ("level -5", -5),
        ("level -7", -7),
    ] {
        let settings = Settings {
            level,
            bulk_level: level,
            flood_level: level,
            ..Settings::default()
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut writer = writer(settings.clone(), Newlines::Crlf);
                for (n, chunk) in (0..).zip(text.chunks(32 * 1024)) {
                    writer
                        .output(Duration::from_micros(n * 100), Stream::Stdout, chunk)
                        .unwrap();
                }
                black_box(writer.file_bytes())
            });
        });
    }
    group.bench_function("a flood as it is written, sealed", |bencher| {
        bencher.iter(|| {
            let mut writer = sealed(Settings::default(), Newlines::Crlf);
            for (n, chunk) in (0..).zip(text.chunks(32 * 1024)) {
                writer
                    .output(Duration::from_micros(n * 100), Stream::Stdout, chunk)
                    .unwrap();
            }
            black_box(writer.file_bytes())
        });
    });
    group.bench_function("sha-256 alone", |bencher| {
        bencher.iter(|| {
            let mut sums = recording::raw::Sums::default();
            for chunk in text.chunks(32 * 1024) {
                sums.add(Stream::Stdout, chunk);
            }
            sums.total(Stream::Stdout)
        });
    });
    group.bench_function("utf-8 alone", |bencher| {
        bencher.iter(|| {
            text.chunks(16 * 1024)
                .filter(|c| std::str::from_utf8(c).is_ok())
                .count()
        });
    });
    group.finish();
}

fn keystrokes(criterion: &mut Criterion) {
    let mut writer = writer(Settings::default(), Newlines::Kept);
    let mut now = Duration::ZERO;
    criterion.bench_function("one keystroke's event", |bencher| {
        bencher.iter(|| {
            now += Duration::from_millis(90);
            writer.output(now, Stream::Stdout, black_box(b"l")).unwrap();
            writer.tick(now).unwrap();
        });
    });
}

criterion_group!(benches, bulk, keystrokes);
criterion_main!(benches);
