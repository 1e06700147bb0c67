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
        // That for telephones waits for digits that the others have to wait for themselves.
        for detector in Detector::ALL {
            if detector != Detector::Phone {
                rule = rule.detector(detector);
            }
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

/// What no terminal shows may stand anywhere in a value.
#[test]
fn what_is_not_shown_does_not_hide_a_value() {
    let title = "\x1b]0;0123456789abcdefghij\x07";
    for (pieces, secrets) in [
        (
            vec![
                (Stdout, "4".to_owned()),
                (Stderr, format!("{title}052264567103461\n")),
            ],
            vec!["052264567103461", "3461"],
        ),
        (
            vec![
                (Stdout, "405226456".to_owned()),
                (Stderr, "\0\0\0\0\0\0\x007103461\n".to_owned()),
            ],
            vec!["7103461", "461"],
        ),
        (
            vec![
                (Stdout, "4052 2645 ".to_owned()),
                (Stderr, "6710\x1b[1C3461\n".to_owned()),
            ],
            vec!["6710", "3461"],
        ),
        (
            vec![
                (Stdout, "40522".to_owned()),
                (Stderr, "64567109\x083461\n".to_owned()),
            ],
            vec!["64567", "61\n"],
        ),
        // A backspace on the other stream takes back what hid the value.
        (
            vec![
                (Stdout, "40522645671034617".to_owned()),
                (Stderr, "\x08 end\n".to_owned()),
            ],
            vec!["4052264567103461"],
        ),
        // An escape that began before.
        (
            vec![
                (Stderr, "\x1b[".to_owned()),
                (Stdout, "4".to_owned()),
                (Stderr, "m052264567103461\n".to_owned()),
            ],
            vec!["052264567103461", "3461"],
        ),
        // Three turns, each with a colour of its own.
        (
            vec![
                (Stdout, "\x1b[1m40522".to_owned()),
                (Stderr, "\x1b[31m6456\x1b[0m".to_owned()),
                (Stdout, "\x1b[32m710\x1b[0m3461\x1b[m\n".to_owned()),
            ],
            vec!["6456", "710", "3461"],
        ),
    ] {
        for size in [1, 2, 7, 1000] {
            let cut: Vec<(Stream, &str)> = pieces
                .iter()
                .flat_map(|(stream, text)| cut(*stream, text, size))
                .collect();
            let out = scan(&cut);
            for secret in &secrets {
                assert!(
                    !out.iter().any(|out| out.contains(secret)),
                    "{size} {secret}: {out:?}"
                );
            }
        }
    }
}

/// However much of it there is: what nobody can decide is masked.
#[test]
fn padding_does_not_hide_a_value() {
    for pad in ["\x1b[0m", "\0", "\x1b]0;title\x07"] {
        for turn in [1100, 100] {
            for tail in ["052264567103461\nnext\n", "052 2645 6710 3461\nnext\n"] {
                let padding = pad.repeat(turn);
                let mut pieces = vec![(Stdout, "4")];
                for _ in 0..2200 / turn {
                    pieces.push((Stderr, padding.as_str()));
                }
                pieces.push((Stderr, tail));
                let [stdout, stderr, _] = scan(&pieces);
                assert!(stdout.contains('*'), "{stdout:?}");
                assert!(!stderr.contains(['5', '2', '6', '7', '1']), "{stderr:?}");
                assert!(stderr.ends_with("\nnext\n"), "{stderr:?}");
            }
        }
    }
    // The rest may come on the first stream, too.
    let padding = "\x1b[0m".repeat(2200);
    let [stdout, stderr, _] = scan(&[
        (Stdout, "4052"),
        (Stderr, padding.as_str()),
        (Stdout, "264567103461\nnext\n"),
        (Stderr, "more\nnext\n"),
    ]);
    assert_eq!(stdout, "x**\nnext\n");
    assert_eq!(stderr, format!("{padding}\nnext\n"));
}

/// A program that asks on one stream is not kept from it by what the other one has not decided.
#[test]
fn a_question_on_the_other_stream_leaves_at_once() {
    for (before, question) in [
        ("password: 12", "Continue? [y/N] "),
        ("password: ", "Continue? [y/N] "),
        ("password=\"abc", "Password: "),
        ("{\"password\": \"12", "Which one? "),
        ("id,password\n1,12", "Continue? [y/N] "),
        ("4052", "Continue? [y/N] "),
    ] {
        let mut scanner = Scanner::new(rules(), Options::default());
        let mut asked = String::new();
        for (stream, text) in [(Stdout, before), (Stderr, question)] {
            scanner.feed(stream, Raw::new(Bytes::copy_from_slice(text.as_bytes())));
            while let Some(step) = scanner.next_step() {
                if let Step::Pass { stream, bytes } = step
                    && stream == Stderr
                {
                    asked.push_str(&String::from_utf8_lossy(bytes.as_bytes()));
                }
            }
        }
        assert_eq!(asked, question, "{before}");
    }
}

/// A stream's text in pieces.
fn cut(stream: Stream, text: &str, size: usize) -> impl Iterator<Item = (Stream, &str)> {
    (0..text.len())
        .step_by(size)
        .map(move |k| (stream, text.get(k..(k + size).min(text.len())).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a stream is cut between two turns, the same leaves; and what both say together has
    /// no value that a detector knows.
    #[test]
    fn turns_do_not_hide_a_value(
        turns in prop::collection::vec((any::<bool>(), prop::sample::select(vec![
            "131-45-1438", "131-", "45", "-1438", "joe", "@example.com", "x", " ", "\n", ": ", "password", "4052264567", "103461", "a b\n",
            "\x1b[1m", "\x1b[", "m", "\0", "\x08", "\x1b]0;t\x07", "\x1b[1C", "9\x08",
        ])), 1..24),
        size in 1..5usize,
    ) {
        let turns: Vec<(Stream, &str)> = turns.into_iter().map(|(out, t)| (if out { Stdout } else { Stderr }, t)).collect();
        let whole = scan(&turns);
        let pieces: Vec<(Stream, &str)> = turns
            .iter()
            .flat_map(|(s, t)| cut(*s, t, size))
            .collect();
        let cut = scan(&pieces);
        let [stdout, stderr, _] = &whole;
        let [stdout_cut, stderr_cut, _] = &cut;
        prop_assert_eq!((stdout, stderr), (stdout_cut, stderr_cut));
    }

    /// A value never survives, whatever stream each part of it is on and whatever stands between
    /// two of them that no terminal shows.
    #[test]
    fn a_value_on_both_streams_never_survives(
        secret in prop::sample::select(vec!["4052264567103461", "4052 2645 6710 3461", "131-45-1438"]),
        before in prop::sample::select(vec!["", "a ", "a\n", "password: x\n", "a: "]),
        parts in prop::collection::vec((any::<bool>(), 1..6usize, prop::sample::select(vec![
            "", "", "\x1b[m", "\0", "\0\0\0\0\0\0\0\0", "\x1b]x;title\x07", "\x1b[K", "9\x08", "\x1b[31m\x1b[m",
        ])), 20),
        size in 1..9usize,
    ) {
        let mut pieces = vec![(Stdout, before.to_owned()), (Stderr, before.to_owned())];
        let mut rest = secret;
        let mut writes_over = None;
        for (out, n, pad) in parts {
            // What is taken back is written over by who took it back.
            let out = writes_over.take().unwrap_or(out);
            writes_over = (pad == "9\x08").then_some(out);
            let (part, after) = rest.split_at(n.min(rest.len()));
            rest = after;
            if !part.is_empty() {
                pieces.push((if out { Stdout } else { Stderr }, format!("{part}{pad}")));
            }
        }
        pieces.push((Stdout, "\nnext\n".to_owned()));
        let pieces: Vec<(Stream, &str)> = pieces.iter().flat_map(|(s, t)| cut(*s, t, size)).collect();
        let [stdout, stderr, _] = scan(&pieces);
        let shown = format!("{stdout}{stderr}").replace("\x1b[31m", "").replace("9\x08", "");
        prop_assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown:?} of {pieces:?}");
    }
}
