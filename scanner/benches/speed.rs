//! Bulk speed with every detector on, beside a chunked copy of the same source.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scanner::{Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Stream};

const SOURCE: usize = 256 << 20;
const CHUNK: usize = 64 << 10;

fn rules() -> Arc<Rules> {
    let redact = Action::Mask(Mask::Redact);
    let mut detectors = Rule::new("detectors", redact);
    for detector in Detector::ALL {
        if detector != Detector::Phone {
            detectors = detectors.detector(detector);
        }
    }
    let rules = RulesBuilder::new()
        .rule(
            Rule::new("fields", Action::Mask(Mask::Last4))
                .field("ssn")
                .field("account_number"),
        )
        .rule(detectors);
    Arc::new(rules.build().unwrap())
}

/// `SOURCE` bytes of lines that `line` writes, after `head`.
fn source(head: &str, line: impl Fn(&mut String, usize)) -> Bytes {
    let mut block = String::new();
    for k in 0..20_000 {
        line(&mut block, k);
    }
    let mut all = String::with_capacity(SOURCE + block.len());
    all.push_str(head);
    while all.len() < SOURCE {
        all.push_str(&block);
    }
    Bytes::from(all)
}

fn text() -> Bytes {
    source("", |out, k| {
        let words = [
            "the", "build", "of", "a", "small", "crate", "took", "longer", "than", "it", "should",
        ];
        for i in 0..14 {
            out.push_str(words.get((k * 7 + i * 3) % words.len()).unwrap());
            out.push(' ');
        }
        writeln!(out, "and that was step {k}.").unwrap();
    })
}

fn ndjson() -> Bytes {
    source("", |out, k| {
        writeln!(out, r#"{{"id":{k},"name":"row number {k}","city":"Lund","status":"active","ssn":"131-45-{:04}","score":{},"account_number":"29401802{:04}","plan":"basic","note":"a regular customer","created":"2024-01-02","tags":["alpha","beta"],"ok":true}}"#,
            k % 10_000, k % 97, k % 10_000).unwrap();
    })
}

fn csv() -> Bytes {
    source(
        "id,name,city,status,ssn,score,account_number,plan,note,created\n",
        |out, k| {
            writeln!(out, "{k},row number {k},Lund,active,131-45-{:04},{},29401802{:04},basic,a regular customer,2024-01-02", k % 10_000, k % 97, k % 10_000).unwrap();
        },
    )
}

fn aligned() -> Bytes {
    let head = "   id   |      name       | city | status |     ssn     | score | account_number | plan  |        note        |  created   \n--------+-----------------+------+--------+-------------+-------+----------------+-------+--------------------+------------\n";
    source(head, |out, k| {
        writeln!(out, " {k:>6} | row {k:<11} | Lund | active | 131-45-{:04} | {:>5} | 29401802{:04}   | basic | a regular customer | 2024-01-02", k % 10_000, k % 97, k % 10_000).unwrap();
    })
}

fn scan(rules: &Arc<Rules>, source: &Bytes) {
    let mut scanner = Scanner::new(Arc::clone(rules), Options::default());
    let mut at = 0;
    while at < source.len() {
        let end = (at + CHUNK).min(source.len());
        scanner.feed(Stream::Stdout, Raw::new(source.slice(at..end)));
        while let Some(step) = scanner.next_step() {
            black_box(step);
        }
        drop(scanner.take_verdicts());
        at = end;
    }
    scanner.end();
}

fn bench(c: &mut Criterion) {
    let rules = rules();
    let mut group = c.benchmark_group("bulk");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(SOURCE as u64));
    let plain = text();
    group.bench_function("copy", |b| {
        let mut to = vec![0u8; CHUNK];
        b.iter(|| {
            for chunk in plain.chunks_exact(CHUNK) {
                to.copy_from_slice(chunk);
                black_box(&mut to);
            }
        });
    });
    group.bench_function("text", |b| b.iter(|| scan(&rules, &plain)));
    drop(plain);
    for (name, source) in [
        ("ndjson", ndjson as fn() -> Bytes),
        ("csv", csv),
        ("psql", aligned),
    ] {
        let source = source();
        group.bench_function(name, |b| b.iter(|| scan(&rules, &source)));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
