//! Ordinary output without protected values: not one byte changes.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use scanner::{Action, Detector, Mask, Options, Raw, Rule, RulesBuilder, Scanner, Step, Stream};

const TOTAL: usize = 200 << 20;

/// A small generator of numbers: the same ones in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// One line of the kind that build tools, package managers, git, ls, hexdump and logs write.
fn line(out: &mut String, n: &mut Numbers) {
    let (a, b, c) = (n.next(), n.next(), n.next());
    let word = [
        "scan", "record", "login", "target", "channel", "lease", "window", "stream",
    ];
    let w = |k: u64| word.get(usize::try_from(k % 8).unwrap()).copied().unwrap();
    match a % 16 {
        0 => writeln!(
            out,
            "   Compiling {}-{} v{}.{}.{} (/src/{})",
            w(a),
            w(b),
            a % 9,
            b % 30,
            c % 100,
            w(c)
        ),
        1 => writeln!(
            out,
            "{:08x}  {:02x} {:02x} {:02x} {:02x} {:02x} {:02x} {:02x} {:02x}  |{}.|",
            b & 0xffff_fff0,
            a & 255,
            b & 255,
            c & 255,
            a >> 8 & 255,
            b >> 8 & 255,
            c >> 8 & 255,
            a >> 16 & 255,
            b >> 16 & 255,
            w(c)
        ),
        2 => writeln!(
            out,
            "-rw-r--r-- 1 root root {:>9} Jan {:>2} {:02}:{:02} {}.{}.rs",
            a % 10_000_000,
            b % 31,
            c % 24,
            b % 60,
            w(a),
            w(c)
        ),
        3 => writeln!(out, "commit {a:016x}{b:016x}{:08x}", c as u32),
        4 => writeln!(
            out,
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a as u32,
            b as u16,
            c & 0xfff,
            b >> 20 & 0xfff,
            c & 0xffff_ffff_ffff
        ),
        5 => writeln!(
            out,
            "2024-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z level=info msg=\"{} done\" took={}ms id={}",
            a % 12 + 1,
            b % 28 + 1,
            c % 24,
            a % 60,
            b % 60,
            c % 1_000_000,
            w(a),
            b % 900,
            a % 100_000_000
        ),
        6 => writeln!(out, "{} | {}: {} -> {}", w(a), w(b), a % 1000, b % 1000),
        7 => writeln!(
            out,
            "{{\"id\":{},\"name\":\"{} {}\",\"at\":{},\"ok\":true,\"tags\":[\"{}\",{}]}}",
            a % 100_000,
            w(a),
            w(b),
            1_700_000_000 + b % 10_000_000,
            w(c),
            c % 500
        ),
        8 => writeln!(
            out,
            "Get:{} http://deb.example/debian stable/main amd64 {} amd64 {}.{}-{} [{} kB]",
            a % 90,
            w(a),
            b % 9,
            c % 40,
            b % 7,
            c % 4000
        ),
        9 => writeln!(
            out,
            "  {:>5} {}  {:>4}.{} {:>3}.{}  {:>8} {:>7} ?  Ss  {:02}:{:02}  0:{:02} /usr/bin/{}",
            a % 32_768,
            w(b),
            b % 100,
            a % 10,
            c % 100,
            b % 10,
            a % 1_000_000,
            b % 500_000,
            a % 24,
            b % 60,
            c % 60,
            w(c)
        ),
        10 => writeln!(
            out,
            "{},{},{},{}.{}",
            a % 10_000,
            w(a),
            w(b),
            c % 1000,
            b % 100
        ),
        11 => writeln!(
            out,
            "    let {}_{} = {}::{}(&self.{}, {});",
            w(a),
            w(b),
            w(c),
            w(a),
            w(b),
            c % 300
        ),
        12 => writeln!(
            out,
            "[{:>3}%] \x1b[32mBuilding\x1b[0m object {}/{}.o",
            a % 101,
            w(a),
            w(b)
        ),
        13 => writeln!(
            out,
            "order 2024-{:04}-{:04} shipped, {} of {} items, tracking 1Z{:08}",
            a % 10_000,
            b % 10_000,
            a % 9,
            b % 90,
            c % 100_000_000
        ),
        14 => writeln!(
            out,
            "{}: the {} of a {} is not the {}, see {}(8).",
            w(a),
            w(b),
            w(c),
            w(a),
            w(b)
        ),
        _ => writeln!(
            out,
            "\t{}:\n\t\t- {}: {}\n\t\t- {}",
            w(a),
            w(b),
            c % 10,
            w(c)
        ),
    }
    .unwrap();
}

#[test]
fn not_one_byte_changes() {
    let mut rule = Rule::new("r", Action::Mask(Mask::Redact));
    for detector in Detector::ALL {
        if detector != Detector::Phone {
            rule = rule.detector(detector);
        }
    }
    for field in [
        "ssn",
        "email",
        "password",
        "account_number",
        "amount",
        "authorization",
        "customer.phone",
    ] {
        rule = rule.field(field);
    }
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let mut scanner = Scanner::new(rules, Options::default());
    let mut numbers = Numbers(0x5eed_1234_9876_abcd);
    let (mut fed, mut block) = (0, String::new());
    let mut expected = Vec::new();
    while fed < TOTAL {
        block.clear();
        while block.len() < 1 << 16 {
            line(&mut block, &mut numbers);
        }
        fed += block.len();
        expected.extend_from_slice(block.as_bytes());
        scanner.feed(
            Stream::Stdout,
            Raw::new(Bytes::copy_from_slice(block.as_bytes())),
        );
        while let Some(Step::Pass { bytes, .. }) = scanner.next_step() {
            let (head, rest) = expected.split_at(bytes.len());
            if head != bytes.as_bytes() {
                let verdicts = scanner.take_verdicts();
                panic!(
                    "changed: {verdicts:?} in {}",
                    String::from_utf8_lossy(bytes.as_bytes())
                );
            }
            expected = rest.to_vec();
        }
    }
    assert_eq!(scanner.coverage().masked, 0);
}
