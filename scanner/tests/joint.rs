//! A value that lies on both streams of a channel.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream,
};

fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        let mut rule = Rule::new("pii", Action::Mask(Mask::Redact)).field("password");
        for detector in Detector::ALL {
            rule = rule.detector(detector);
        }
        Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
    });
    Arc::clone(&RULES)
}

/// What leaves: each stream, and both as they were sent.
fn scan(pieces: &[(Stream, &str)]) -> [String; 3] {
    let mut scanner = Scanner::new(rules(), Options::default());
    let mut out = [String::new(), String::new(), String::new()];
    let mut fed = 0;
    let mut take = |scanner: &mut Scanner| {
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { stream, bytes } = step {
                let text = String::from_utf8_lossy(bytes.as_bytes()).into_owned();
                let [stdout, stderr, both] = &mut out;
                match stream {
                    Stream::Stdout => stdout.push_str(&text),
                    Stream::Stderr => stderr.push_str(&text),
                }
                both.push_str(&text);
            }
        }
    };
    for (stream, text) in pieces {
        fed += text.len() as u64;
        scanner.feed(*stream, Raw::new(Bytes::copy_from_slice(text.as_bytes())));
        take(&mut scanner);
    }
    scanner.end();
    take(&mut scanner);
    let sum = scanner.coverage();
    assert_eq!(
        sum.passed + sum.masked + sum.held + sum.unreadable,
        fed,
        "{sum:?}"
    );
    out
}

use Stream::{Stderr, Stdout};

#[test]
fn half_a_value_on_each_stream_is_still_a_value() {
    let [stdout, stderr, _] = scan(&[
        (Stdout, "id 131-45"),
        (Stderr, "-1438\nnext\n"),
        (Stdout, " ok\n"),
    ]);
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("id *** ok\n", "x**\nnext\n")
    );
    let [stdout, stderr, _] = scan(&[(Stderr, "mail joe@exam"), (Stdout, "ple.com, more\n")]);
    assert_eq!(
        (stderr.as_str(), stdout.as_str()),
        ("mail ***", "x**, more\n")
    );
    // One byte on each, in turn.
    let secret = "4052264567103461";
    let turns: Vec<(Stream, &str)> = secret
        .split("")
        .filter(|c| !c.is_empty())
        .enumerate()
        .map(|(k, c)| (if k % 2 == 0 { Stdout } else { Stderr }, c))
        .chain([(Stdout, "\n")])
        .collect();
    let [stdout, stderr, both] = scan(&turns);
    assert!(
        !format!("{stdout}{stderr}{both}").contains(|c: char| c.is_ascii_digit()),
        "{both}"
    );
}

#[test]
fn what_is_no_value_leaves_as_it_came() {
    let pieces = [
        (Stdout, "took 12"),
        (Stderr, "warning: 3 of 4\n"),
        (Stdout, " ms\n2024-01"),
        (Stderr, "-02 12:00:00 started\n"),
        (Stdout, "-02\npassword: hun"),
        (Stderr, "trace 7"),
        (Stdout, "ter2\nend 131-45"),
    ];
    let [stdout, stderr, _] = scan(&pieces);
    assert_eq!(stdout, "took 12 ms\n2024-01-02\npassword: x**\nend 131-45");
    assert_eq!(stderr, "warning: 3 of 4\n-02 12:00:00 started\ntrace 7");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a stream is cut between two turns, the same leaves; and what both say together has
    /// no value that a detector knows.
    #[test]
    fn turns_do_not_hide_a_value(
        turns in prop::collection::vec((any::<bool>(), prop::sample::select(vec![
            "131-45-1438", "131-", "45", "-1438", "joe", "@example.com", "x", " ", "\n", ": ", "password", "4052264567", "103461", "a b\n",
        ])), 1..24),
        size in 1..5usize,
    ) {
        let turns: Vec<(Stream, &str)> = turns.into_iter().map(|(out, t)| (if out { Stdout } else { Stderr }, t)).collect();
        let whole = scan(&turns);
        let cut: Vec<(Stream, &str)> = turns
            .iter()
            .flat_map(|(s, t)| (0..t.len()).step_by(size).map(move |k| (*s, t.get(k..(k + size).min(t.len())).unwrap())))
            .collect();
        let cut = scan(&cut);
        let [stdout, stderr, _] = &whole;
        let [stdout_cut, stderr_cut, _] = &cut;
        prop_assert_eq!((stdout, stderr), (stdout_cut, stderr_cut));
    }
}
