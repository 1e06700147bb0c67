//! Bulk speed with every detector on, beside a chunked copy of the same source.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use regex_automata::{
    Input, MatchKind, PatternSet,
    meta::{Config, Regex},
};
use scanner::{Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Stream};

const SOURCE: usize = 256 << 20;
const CHUNK: usize = 64 << 10;

fn rules() -> Arc<Rules> {
    with_fields(0)
}

/// The rules of every benchmark, and `more` fields that none of the sources has.
fn with_fields(more: usize) -> Arc<Rules> {
    const WORDS: [&str; 10] = [
        "salary",
        "passport",
        "diagnosis",
        "pin",
        "secret",
        "birth date",
        "phone",
        "street",
        "tax id",
        "licence",
    ];
    let redact = Action::Mask(Mask::Redact);
    let mut detectors = Rule::new("detectors", redact);
    for detector in Detector::ALL {
        detectors = detectors.detector(detector);
    }
    let mut fields = Rule::new("fields", Action::Mask(Mask::Last4))
        .field("ssn")
        .field("account_number");
    for k in 0..more {
        let word = WORDS.get(k % WORDS.len()).unwrap();
        let other = WORDS.get(k / WORDS.len() % WORDS.len()).unwrap();
        fields = fields.field(format!(
            "{other} {word} {}",
            char::from(b'a' + (k % 7) as u8)
        ));
    }
    let rules = RulesBuilder::new().rule(fields).rule(detectors);
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

/// What the detectors look for as regular expressions, as one would write them without a scanner.
fn patterns() -> Regex {
    // A set looks for all of them, as `regex::RegexSet` does, and does not stop at the first one.
    let all = Config::new().match_kind(MatchKind::All);
    Regex::builder()
        .configure(all)
        .build_many(&[
            r"\b(?:\d[ -]?){13,16}\b",
            r"\b\d{3}-\d{2}-\d{4}\b",
            r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b",
            r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
            r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
            r"\bA[KS]IA[A-Z0-9]{16}\b",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
            r"://[^\s:@/]+:[^\s@/]+@",
            r"\bgh[pousr]_[A-Za-z0-9]{36,}",
            r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
            r"\+[1-9][0-9 ().-]{7,20}[0-9]|\b[2-9]\d{2}[) .-]{1,2}[2-9]\d{2}[ .-]\d{4}\b",
        ])
        .unwrap()
}

/// Which of the patterns each line has.
fn search(regex: &Regex, source: &[u8]) {
    let mut found = PatternSet::new(regex.pattern_len());
    for line in source.split(|b| *b == b'\n') {
        found.clear();
        regex.which_overlapping_matches(&Input::new(line), &mut found);
        black_box(&found);
    }
}

/// A set of regular expressions beside the scanner: a smaller piece of the same source.
fn beside(c: &mut Criterion) {
    const PART: usize = 16 << 20;
    let regex = patterns();
    let mut group = c.benchmark_group("regex-set");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(PART as u64));
    for (name, source) in [
        ("text", text as fn() -> Bytes),
        ("ndjson", ndjson),
        ("csv", csv),
        ("psql", aligned),
    ] {
        let source = source().slice(..PART);
        group.bench_function(name, |b| b.iter(|| search(&regex, &source)));
    }
    group.finish();
}

/// The same with 200 protected fields.
fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("fields");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(SOURCE as u64));
    for (name, source) in [
        ("text", text as fn() -> Bytes),
        ("ndjson", ndjson),
        ("csv", csv),
        ("psql", aligned),
    ] {
        let source = source();
        for more in [0, 198] {
            let rules = with_fields(more);
            group.bench_function(format!("{name}-{}", more + 2), |b| {
                b.iter(|| scan(&rules, &source));
            });
        }
    }
    group.finish();
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

criterion_group!(benches, bench, many, beside);
criterion_main!(benches);
