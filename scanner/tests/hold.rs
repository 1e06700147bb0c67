//! Rules that withhold: records leave whole or not at all; in a terminal values are replaced.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Scope, Step, Stream, Unreadable,
};

fn rules(scope: Scope) -> Arc<Rules> {
    let rules = RulesBuilder::new()
        .rule(Rule::new("pii", Action::Mask(Mask::Redact)).field("email"))
        .rule(Rule::new("payroll", Action::Hold(scope)).field("salary"))
        .rule(Rule::new("legal", Action::Hold(Scope::Record)).field("verdict"));
    Arc::new(rules.build().unwrap())
}

fn raw(text: &[u8]) -> Raw {
    Raw::new(Bytes::copy_from_slice(text))
}

/// What the steps so far say, in order: `text` passes, `{rule field}` opens a hold, `[rule text]`
/// is held, `{rule}` is sealed.
fn told(scanner: &mut Scanner) -> String {
    let mut all = String::new();
    let mut last = None;
    while let Some(step) = scanner.next_step() {
        let held = match step {
            Step::Held { rule, bytes, .. } => {
                let bytes = bytes.into_sealed_payload();
                Some((rule, String::from_utf8_lossy(&bytes).into_owned()))
            }
            Step::Pass { bytes, .. } => {
                all += if last.is_some() { "]" } else { "" };
                all += &String::from_utf8_lossy(bytes.as_bytes());
                last = None;
                continue;
            }
            Step::Hold { rule, field } => {
                all += if last.is_some() { "]" } else { "" };
                all += &format!("{{{rule} {field}}}");
                last = None;
                continue;
            }
            Step::Sealed { rule } => {
                all += if last.is_some() { "]" } else { "" };
                all += &format!("{{{rule}}}");
                last = None;
                continue;
            }
            Step::Refuse { .. } => panic!("nothing is refused here"),
        };
        if let Some((rule, text)) = held {
            if last != Some(rule) {
                all += if last.is_some() { "]" } else { "" };
                all += &format!("[{rule} ");
            }
            all += &text;
            last = Some(rule);
        }
    }
    all + if last.is_some() { "]" } else { "" }
}

/// All that is said about a text that comes in pieces of this size.
fn scan(rules: &Arc<Rules>, text: &str, size: usize) -> String {
    let mut scanner = Scanner::new(Arc::clone(rules), Options::default()).with_record_max(60);
    for piece in text.as_bytes().chunks(size) {
        scanner.feed(Stream::Stdout, raw(piece));
    }
    scanner.end();
    told(&mut scanner)
}

#[test]
fn a_record_with_a_held_field_does_not_leave() {
    for size in [1, 3, 7, 1000] {
        for (text, said) in [
            (
                "{\"id\":1}\n{\"id\":2,\"salary\":5}\n{\"id\":3}\n",
                "{\"id\":1}\n{1 salary}[1 {\"id\":2,\"salary\":5}\n{\"id\":3}\n]",
            ),
            (
                "[{\"id\":1},{\"id\":2,\"email\":\"a@b.cd\",\"salary\":5}]\n",
                "[{\"id\":1},{1 salary}[1 {\"id\":2,\"email\":\"***\",\"salary\":5}]\n]",
            ),
            (
                "{\n  \"id\": 1,\n  \"salary\": 5\n}\n",
                "{1 salary}[1 {\n  \"id\": 1,\n  \"salary\": 5\n}\n]",
            ),
            (
                "- id: 1\n  b: 2\n- id: 2\n  salary: 5\n",
                "- id: 1\n  b: 2\n{1 salary}[1 - id: 2\n  salary: 5\n]",
            ),
            ("id,city\n1,Lund\nlast", "id,city\n1,Lund\nlast"),
        ] {
            assert_eq!(scan(&rules(Scope::Record), text, size), said, "{size}");
        }
    }
}

/// Also where the first cells of the column are empty, and the rows leave before it.
#[test]
fn a_table_with_a_held_column_is_held_from_its_first_row() {
    for size in [1, 3, 7, 1000] {
        for (header, rows) in [
            ("id,salary\n", "1,\n2,600\n"),
            ("id\tsalary\n", "1\t\n2\t600\n"),
            (
                " id | salary \n----+--------\n",
                "  1 |        \n  2 |    600\n(2 rows)\n",
            ),
            (
                "+----+--------+\n| id | salary |\n+----+--------+\n",
                "|  1 |   NULL |\n|  2 |    600 |\n+----+--------+\n",
            ),
            ("ID   SALARY   AGE\n", "1    <none>   3\n2    600      4\n"),
            ("COPY t (id, salary) FROM stdin;\n", "1\t\\N\n2\t600\n\\.\n"),
            (
                "<tr>\n<th>id</th>\n<th>salary</th>\n</tr>\n<tr>\n",
                "<td>1</td>\n<td></td>\n</tr>\n<tr>\n<td>2</td>\n<td>600</td>\n</tr>\n",
            ),
        ] {
            let said = scan(&rules(Scope::Record), &format!("{header}{rows}"), size);
            assert_eq!(said, format!("{header}{{1 salary}}[1 {rows}]"), "{size}");
        }
    }
}

#[test]
fn a_rule_for_the_whole_output_holds_from_the_first_byte() {
    let said = scan(&rules(Scope::Output), "anything\n", 2);
    assert_eq!(said, "{1 output}[1 anything\n]");
}

/// Where nothing but the whole output is held, nothing is read: what came is all there when it is
/// sealed, also bytes that would otherwise wait for those after them. Protocols depend on it.
#[test]
fn a_rule_for_the_whole_output_alone_keeps_nothing_back() {
    let rule = Rule::new("all", Action::Hold(Scope::Output));
    for policy in [Unreadable::Pass, Unreadable::Hold, Unreadable::Refuse] {
        for pty in [false, true] {
            let rules = RulesBuilder::new().rule(rule.clone()).unreadable(policy);
            let rules = Arc::new(rules.build().unwrap());
            let mut scanner = Scanner::new(rules, Options { pty });
            for piece in [&b"\x1f\0\0\0"[..], b"4111", b"a\x1b]0;", b"\xff\0\x08"] {
                for stream in [Stream::Stdout, Stream::Stderr] {
                    scanner.feed(stream, raw(piece));
                    let text = String::from_utf8_lossy(piece).into_owned();
                    let opens = stream == Stream::Stdout;
                    let opens = if opens { "{0 output}" } else { "" };
                    assert_eq!(told(&mut scanner), format!("{opens}[0 {text}]"));
                }
                assert_eq!(scanner.coverage().passed, 0);
                scanner.resume();
            }
            scanner.end();
            assert_eq!(told(&mut scanner), "");
            assert_eq!(scanner.coverage().held, 2 * (4 + 4 + 5 + 3));
        }
    }
}

/// Beside a rule that masks, what may become a value stays back until more comes, as without a hold:
/// a protocol whose messages end so stands still (docs/holds.md says it).
#[test]
fn beside_rules_that_mask_what_may_become_a_value_stays_back() {
    let mask = || Rule::new("pii", Action::Mask(Mask::Redact)).field("email");
    let masks = RulesBuilder::new().rule(mask());
    let holds = RulesBuilder::new()
        .rule(mask())
        .rule(Rule::new("all", Action::Hold(Scope::Output)));
    for (rules, first, rest) in [
        (masks, "003f0123 refs/heads/main\n", "0000"),
        (
            holds,
            "{1 output}[1 003f0123 refs/heads/main\n]",
            "{1 output}[1 0000]",
        ),
    ] {
        let rules = Arc::new(rules.build().unwrap());
        let mut scanner = Scanner::new(rules, Options::default());
        // As git ends what it lists, and then waits for its peer.
        scanner.feed(Stream::Stdout, raw(b"003f0123 refs/heads/main\n0000"));
        assert_eq!(told(&mut scanner), first);
        scanner.resume();
        scanner.end();
        assert_eq!(told(&mut scanner), rest);
    }
}

/// Also where the first byte cannot be read, and rules beside it look for something.
#[test]
fn a_rule_for_the_whole_output_holds_what_would_be_refused() {
    let rules = RulesBuilder::new()
        .rule(Rule::new("pii", Action::Mask(Mask::Redact)).field("email"))
        .rule(Rule::new("all", Action::Hold(Scope::Output)))
        .unreadable(Unreadable::Refuse);
    let mut scanner = Scanner::new(Arc::new(rules.build().unwrap()), Options::default());
    scanner.feed(Stream::Stdout, raw(b"\0\0text\n"));
    scanner.end();
    assert_eq!(told(&mut scanner), "{1 output}[1 \0\0text\n]");
}

/// Approvers of one rule do not speak for those of another.
#[test]
fn values_of_another_rule_that_holds_are_redacted() {
    let said = scan(
        &rules(Scope::Record),
        "salary=500 verdict=guilty\nverdict=x\n",
        5,
    );
    assert_eq!(said, "{1 salary}[1 salary=500 verdict=***\nverdict=***\n]");
}

#[test]
fn both_streams_go_into_the_hold() {
    let mut scanner = Scanner::new(rules(Scope::Record), Options::default());
    scanner.feed(Stream::Stderr, raw(b"not whole, "));
    scanner.feed(Stream::Stdout, raw(b"salary: 500\n"));
    scanner.feed(Stream::Stderr, raw(b"yet\n"));
    scanner.end();
    assert_eq!(
        told(&mut scanner),
        "{1 salary}[1 salary: 500\nnot whole, yet\n]"
    );
}

#[test]
fn after_a_seal_the_output_is_read_anew() {
    let mut scanner = Scanner::new(rules(Scope::Record), Options::default());
    scanner.feed(Stream::Stdout, raw(b"salary: 500\n"));
    assert_eq!(told(&mut scanner), "{1 salary}[1 salary: 500\n]");
    scanner.resume();
    scanner.feed(Stream::Stdout, raw(b"id: 1\nverdict: no\n"));
    assert_eq!(told(&mut scanner), "id: 1\n{2 verdict}[2 verdict: no\n]");
    scanner.resume();
    scanner.feed(Stream::Stdout, raw(b"done\n"));
    scanner.end();
    assert_eq!(told(&mut scanner), "done\n");
}

#[test]
fn the_rest_of_a_record_is_held_after_the_seal_too() {
    for (first, then, said) in [
        // A row goes on.
        (
            "id: 1 salary=five ",
            "name=x\nfree\n",
            "{1 salary}[1 name=x\nfree\n]",
        ),
        // Nothing is left of it but what closes.
        ("[{\"salary\":\"5\"", "}]\nfree\n", "}]\nfree\n"),
        (
            "[{\"salary\":5,",
            "\"name\":\"x\"}]\n",
            "{1 salary}[1 \"name\":\"x\"}]\n]",
        ),
        // The next row of the table is held by its own right.
        ("id,salary\n1,5\n", "2,6\n", "{1 salary}[1 2,6\n]"),
    ] {
        let mut scanner = Scanner::new(rules(Scope::Record), Options::default());
        scanner.feed(Stream::Stdout, raw(first.as_bytes()));
        told(&mut scanner);
        scanner.resume();
        scanner.feed(Stream::Stdout, raw(then.as_bytes()));
        scanner.end();
        assert_eq!(told(&mut scanner), said, "{first:?}");
    }
}

#[test]
fn a_record_that_is_too_long_is_held() {
    let mut scanner = Scanner::new(rules(Scope::Record), Options::default()).with_record_max(10);
    scanner.feed(Stream::Stdout, raw(b"short\nmuch longer than that\n"));
    scanner.end();
    assert_eq!(
        told(&mut scanner),
        "short\n{1 record too long}[1 much longer than that\n]"
    );
}

/// Everything that is fed into a terminal comes at once here.
fn terminal(text: &str, size: usize) -> String {
    let mut scanner = Scanner::new(rules(Scope::Record), Options { pty: true })
        .with_hold_ids(|rule| format!("H-00000{rule}"));
    for piece in text.as_bytes().chunks(size) {
        scanner.feed(Stream::Stdout, raw(piece));
    }
    scanner.end();
    let mut shown = String::new();
    // What is said about one rule is in order, rules are not.
    let mut rows = std::collections::BTreeMap::<u16, String>::new();
    while let Some(step) = scanner.next_step() {
        match step {
            Step::Pass { bytes, .. } => shown += &String::from_utf8_lossy(bytes.as_bytes()),
            Step::Held { rule, bytes, .. } => {
                let bytes = bytes.into_sealed_payload();
                let row = rows.entry(rule).or_default();
                if !row.ends_with('\n') {
                    *row += &format!("{rule}:");
                }
                *row += &String::from_utf8_lossy(&bytes);
            }
            Step::Hold { rule, field } => {
                *rows.entry(rule).or_default() += &format!("{{{rule} {field}}}");
            }
            Step::Sealed { rule } => *rows.entry(rule).or_default() += &format!("{{{rule}}}"),
            Step::Refuse { .. } => panic!("nothing is refused here"),
        }
    }
    rows.into_values().fold(shown, |all, rule| all + &rule)
}

#[test]
fn in_a_terminal_a_held_value_is_replaced_where_it_stands() {
    for size in [1, 3, 1000] {
        for (text, said) in [
            ("id: 1\r\n", "id: 1\r\n"),
            (
                "salary: 500\r\nnext\r\n",
                "salary: ‹held H-000001›\r\nnext\r\n{1 salary}1:salary: 500\r\n{1}",
            ),
            (
                "{\"salary\": 500, \"email\": \"a@b.cd\"}\n",
                "{\"salary\": \"‹held H-000001›\", \"email\": \"***\"}\n{1 salary}1:{\"salary\": 500, \"email\": \"***\"}\n{1}",
            ),
            // It does not fit: the row says it at its end.
            (
                " id | salary \r\n----+--------\r\n  1 |    500 \r\n  2 |        \r\n",
                " id | salary \r\n----+--------\r\n  1 |    ***  \u{2039}held H-000001\u{203a}\r\n  2 |        \r\n{1 salary}1:  1 |    500 \r\n{1}",
            ),
            // It fits.
            (
                "| id | salary               |\n| --- | -------------------- |\n|  1 | five hundred or more |\n",
                "| id | salary               |\n| --- | -------------------- |\n|  1 | ‹held H-000001›      |\n{1 salary}1:|  1 | five hundred or more |\n{1}",
            ),
            // Each rule has a hold of its own, in which the other's value is not.
            (
                "salary=500 verdict=no\n",
                "salary=‹held H-000001› verdict=‹held H-000002›\n{1 salary}1:salary=500 verdict=‹held H-000002›\n{1}{2 verdict}2:salary=‹held H-000001› verdict=no\n{2}",
            ),
        ] {
            assert_eq!(terminal(text, size), said, "{size}");
        }
    }
}

#[test]
fn one_hold_per_rule_between_two_enters() {
    let mut n = 0;
    let mut scanner =
        Scanner::new(rules(Scope::Record), Options { pty: true }).with_hold_ids(move |_| {
            n += 1;
            format!("H-{n}")
        });
    scanner.feed(Stream::Stdout, raw(b"salary: 1\nsalary: 2\n"));
    assert_eq!(
        told(&mut scanner),
        "{1 salary}salary: ‹held H-1›\nsalary: ‹held H-1›\n[1 salary: 1\nsalary: 2\n]"
    );
    scanner.typed(b"ls");
    assert_eq!(told(&mut scanner), "");
    scanner.typed(b"\r");
    assert_eq!(told(&mut scanner), "{1}");
    scanner.feed(Stream::Stdout, raw(b"salary: 3\n"));
    assert_eq!(
        told(&mut scanner),
        "{1 salary}salary: ‹held H-2›\n[1 salary: 3\n]"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// How the bytes were cut shows neither in what leaves nor in what is held.
    #[test]
    fn cuts_do_not_show_in_holds(
        parts in prop::collection::vec(prop::sample::select(vec![
            "salary", "id", ",", ":", " ", "\n", "{", "}", "[", "]", "\"", "5", "x", "- ", " | ", "  ", "=", "verdict",
            "a@b.cd", "email", "\x1b[1m", "-[ RECORD 1 ]", "\r\n", "----+----",
        ]), 0..40),
        size in 1..9usize,
    ) {
        let text = parts.concat();
        let rules = rules(Scope::Record);
        prop_assert_eq!(scan(&rules, &text, size), scan(&rules, &text, usize::MAX));
        prop_assert_eq!(terminal(&text, size), terminal(&text, usize::MAX));
    }
}

/// A row that begins with a bar may have more of them than its header.
#[test]
fn a_bar_behind_the_last_column_is_read() {
    let rules = rules(Scope::Record);
    for text in [
        " | verdict\n |  | ",
        " | verdict\n | a | b\n",
        "| verdict\n| a | b |\n| a || b\n",
        " | id | verdict\n | 1 | no | more\n |  |  |  |\n",
    ] {
        for size in [1, 2, 5] {
            assert_eq!(scan(&rules, text, size), scan(&rules, text, usize::MAX));
            assert_eq!(terminal(text, size), terminal(text, usize::MAX));
        }
    }
}

/// How many cases each law is tried with; `LAWS_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("LAWS_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2000)
}

#[test]
fn a_refused_field_ends_the_output() {
    let rule = Rule::new("no", Action::Refuse).field("salary");
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let mut scanner = Scanner::new(rules, Options::default());
    scanner.feed(
        Stream::Stdout,
        Raw::new(Bytes::from_static(b"{\"id\":1,\"salary\":5}\nmore\n")),
    );
    scanner.end();
    let steps: Vec<Step> = std::iter::from_fn(|| scanner.next_step()).collect();
    let text = |s: &Step| matches!(s, Step::Pass { bytes, .. } if bytes.as_bytes().contains(&b'5'));
    assert!(
        steps
            .iter()
            .any(|s| matches!(s, Step::Refuse { rule: Some(0), .. }))
    );
    assert!(!steps.iter().any(text));
}

#[test]
fn an_echo_is_not_delayed() {
    let rule = Rule::new("r", Action::Mask(Mask::Redact)).detector(scanner::Detector::Email);
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let mut scanner = Scanner::new(rules, Options { pty: true });
    for key in [b"l", b"s"] {
        scanner.typed(key);
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(key)));
        let step = scanner.next_step().unwrap();
        assert!(matches!(step, Step::Pass { bytes, .. } if bytes.as_bytes() == key));
    }
}

#[test]
fn what_is_not_text_is_held_or_refused_where_the_policy_says_so() {
    for (policy, holds) in [
        (scanner::Unreadable::Hold, true),
        (scanner::Unreadable::Refuse, false),
    ] {
        let rules = Arc::new(RulesBuilder::new().unreadable(policy).build().unwrap());
        let mut scanner = Scanner::new(rules, Options::default());
        scanner.feed(
            Stream::Stdout,
            Raw::new(Bytes::from_static(b"text \0binary")),
        );
        scanner.end();
        let steps: Vec<Step> = std::iter::from_fn(|| scanner.next_step()).collect();
        assert_eq!(
            steps
                .iter()
                .any(|s| matches!(s, Step::Hold { rule: u16::MAX, .. })),
            holds
        );
        assert_eq!(
            steps
                .iter()
                .any(|s| matches!(s, Step::Refuse { rule: None, .. })),
            !holds
        );
        let passed: usize = steps
            .iter()
            .map(|s| {
                if let Step::Pass { bytes, .. } = s {
                    bytes.len()
                } else {
                    0
                }
            })
            .sum();
        assert_eq!(passed, 5);
    }
}

/// Long base64 is held or refused from where it is too long; where it passes it is accounted for.
#[test]
fn long_runs_of_base64_are_unreadable() {
    use scanner::Unreadable;
    let text = format!("id: 1\n{}\n", "QmFzZTY0".repeat(2000));
    for size in [100, 4096, text.len()] {
        for policy in [Unreadable::Pass, Unreadable::Hold, Unreadable::Refuse] {
            let rule = Rule::new("r", Action::Mask(Mask::Redact)).field("salary");
            let rules = RulesBuilder::new().rule(rule).unreadable(policy).build();
            let mut scanner = Scanner::new(Arc::new(rules.unwrap()), Options::default());
            for piece in text.as_bytes().chunks(size) {
                scanner.feed(Stream::Stdout, raw(piece));
            }
            scanner.end();
            let (mut passed, mut held, mut refused) = (0, 0, false);
            while let Some(step) = scanner.next_step() {
                match step {
                    Step::Pass { bytes, .. } => passed += bytes.len(),
                    Step::Held { bytes, .. } => held += bytes.len(),
                    Step::Refuse { rule, .. } => refused = rule.is_none(),
                    Step::Hold { .. } | Step::Sealed { .. } => {}
                }
            }
            let sum = scanner.coverage();
            let all = sum.passed + sum.masked + sum.held + sum.unreadable;
            assert_eq!(all, text.len() as u64, "{sum:?}");
            match policy {
                Unreadable::Pass => {
                    assert_eq!(passed, text.len());
                    assert_eq!(sum.unreadable, 16_000 - 8192);
                }
                Unreadable::Hold => {
                    assert_eq!((passed + held, refused), (text.len(), false));
                    assert!(passed <= 8192 + 6 && held >= 16_000 - 8192, "{passed}");
                }
                Unreadable::Refuse => assert!(refused && passed <= 8192 + 6),
            }
        }
    }
}
