//! The fuzz targets without a fuzzer: each law on every seed that is kept, on what was captured, and on both with a few
//! changes. The seeds are what a merge leaves of the corpora, and what was found.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

#[allow(
    unreachable_pub,
    clippy::expect_used,
    reason = "shared with the fuzz targets"
)]
#[path = "../fuzz/src/lib.rs"]
mod laws;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

/// How many changed seeds each law is tried with, and what they are drawn from: every run tries the same, but for those
/// that `LAWS_CASES` or the long tests ask for.
fn config() -> ProptestConfig {
    let asked = std::env::var("LAWS_CASES").ok();
    let long = std::env::var_os("BASTION_TEST_LONG").is_some();
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 4096,
        ..ProptestConfig::default()
    };
    match asked
        .and_then(|n| n.parse().ok())
        .or(long.then_some(40_000))
    {
        Some(cases) => ProptestConfig { cases, ..config },
        None => ProptestConfig {
            cases: 2000,
            rng_seed: RngSeed::Fixed(20_261_125),
            ..config
        },
    }
}

/// What is kept for a target: a seed in each line, as `fuzz/seeds.py` writes it.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let lines = fs::read_to_string(folder.join(target).with_extension("txt")).unwrap();
    let seeds: Vec<_> = lines.lines().map(unescape).collect();
    assert!(seeds.len() > 100, "{} seeds for {target}", seeds.len());
    seeds
}

fn unescape(line: &str) -> Vec<u8> {
    let mut seed = Vec::new();
    let mut bytes = line.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            seed.push(b);
            continue;
        }
        seed.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("{other:?} in {line}"),
        });
    }
    seed
}

/// What was captured of real programs, as bytes that say how to cut it and in a terminal or not.
fn captured() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folders = ["cases", "samples/cases"].map(|folder| tests.join(folder));
    let texts = folders.iter().flat_map(|folder| files(folder));
    let short = texts.map(|text| text.into_iter().take(4096).collect::<Vec<u8>>());
    short
        .zip((0..=u8::MAX).cycle())
        .map(|(text, k)| [&[k], text.as_slice()].concat())
        .collect()
}

/// The texts of a folder, by name.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "in"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A change of a seed; a place counts from its beginning.
#[derive(Clone, Debug)]
enum Change {
    /// A byte becomes another.
    Byte(Index, u8),
    /// Bytes are taken out.
    Out(Index, usize),
    /// Bytes stand there twice.
    Twice(Index, usize),
    /// A word of the formats is put in.
    Word(Index, &'static str),
    /// A part of another seed is put in.
    Part(Index, Index, Index, usize),
}

const WORDS: &[&str] = &[
    "ssn",
    "password",
    "\"password\":",
    "password=",
    "password: ",
    "account_number",
    "e",
    "x1y2z3",
    "131-45-1438",
    "4374 9202 8903 3002",
    "joe@example.com",
    "https://a:b@c/",
    "id,ssn,city\n",
    " id | ssn \n----+-----\n",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "  ",
    ",",
    ";",
    "|",
    "\"",
    "\"\"",
    "'",
    "\\",
    "\\\"",
    "\\u0073",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    "=",
    "=>",
    "<",
    ">",
    "</",
    "<td>",
    "&#115;",
    "--",
    "---",
    "\u{1b}[1m",
    "\u{1b}[2;5H",
    "\u{1b}[K",
    "\u{8}",
    "\0",
    "│",
    "é",
    "宮",
    "INSERT INTO t (id, ssn) VALUES (1, '",
    "COPY t (id, ssn) FROM stdin;\n",
    "data:\n  a: ",
    "am9lQGV4YW1wbGUuY29t",
    "-----BEGIN RSA PRIVATE KEY-----",
    "eyJ",
    "AKIAX2KKQUKA7TSPMI3O",
    "-[ RECORD 1 ]\n",
    "<![CDATA[",
    "]]>",
    "null",
    "***",
];

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (place(), 1..40usize).prop_map(|(at, n)| Change::Out(at, n)),
        (place(), 1..80usize).prop_map(|(at, n)| Change::Twice(at, n)),
        (place(), prop::sample::select(WORDS)).prop_map(|(at, word)| Change::Word(at, word)),
        (place(), place(), place(), 1..200usize)
            .prop_map(|(at, seed, from, n)| Change::Part(at, seed, from, n)),
    ]
}

fn changed(seeds: &[Vec<u8>], which: Index, changes: &[Change]) -> Vec<u8> {
    let mut data = seeds[which.index(seeds.len())].clone();
    for change in changes {
        let part = |of: &[u8], from: Index, n: usize| -> Vec<u8> {
            of.iter()
                .skip(from.index(of.len() + 1))
                .take(n)
                .copied()
                .collect()
        };
        let place = |at: Index| at.index(data.len() + 1);
        match change {
            Change::Byte(at, byte) => {
                let at = place(*at);
                data.splice(at..data.len().min(at + 1), [*byte]);
            }
            Change::Out(at, n) => {
                let at = place(*at);
                data.drain(at..data.len().min(at + n));
            }
            Change::Twice(at, n) => {
                let (at, part) = (place(*at), part(&data, *at, *n));
                data.splice(at..at, part);
            }
            Change::Word(at, word) => {
                let at = place(*at);
                data.splice(at..at, word.bytes());
            }
            Change::Part(at, seed, from, n) => {
                let (at, part) = (place(*at), part(&seeds[seed.index(seeds.len())], *from, *n));
                data.splice(at..at, part);
            }
        }
    }
    data
}

/// Tries a law on all seeds of its target, on the captures, and on both with changes.
fn holds(target: &str, law: fn(&[u8])) {
    let mut seeds = kept(target);
    seeds.extend(captured());
    seeds.iter().for_each(|seed| law(seed));
    let changes = prop::collection::vec(change(), 1..6);
    proptest!(config(), |(which: Index, changes in changes)| {
        let data = changed(&seeds, which, &changes);
        let tried = std::panic::catch_unwind(|| law(&data));
        prop_assert!(tried.is_ok(), "\"{}\"", data.escape_ascii());
    });
}

#[test]
fn cuts() {
    holds("cuts", laws::cuts);
}

#[test]
fn ways() {
    holds("ways", laws::ways);
}

#[test]
fn planted() {
    holds("planted", laws::planted);
}

#[test]
fn structure() {
    holds("structure", laws::structure);
}

#[test]
fn untouched() {
    holds("untouched", laws::untouched);
}
