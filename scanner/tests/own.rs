//! Detectors of a policy.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use scanner::{
    Action, Checksum, Detector, Mask, Options, Raw, Rule, RuleError, Rules, RulesBuilder, Scanner,
    Step, Stream,
};

fn rules() -> Arc<Rules> {
    let redact = Action::Mask(Mask::Redact);
    let rules = RulesBuilder::new()
        .rule(
            Rule::new("staff", redact)
                .own_detector("employee", r"\bEMP-\d{4,6}\b", Checksum::None)
                .own_detector("meter", r"\b\d{11}\b", Checksum::Luhn)
                .own_detector("line", r"^to: [a-z ]{3,20}$", Checksum::None),
        )
        .rule(
            Rule::new("pii", redact)
                .field("password")
                .detector(Detector::Email)
                .detector(Detector::PaymentCard),
        )
        .build();
    Arc::new(rules.unwrap())
}

fn scan(text: &str, size: usize) -> String {
    String::from_utf8(support::scan(rules(), Options::default(), text, size)).unwrap()
}

#[test]
fn what_a_pattern_matches_is_masked_wherever_it_stands() {
    for size in [1, 2, 5, 1000] {
        for (text, out) in [
            (
                "see EMP-12345, EMP-1 and XEMP-12345\n",
                "see ***, EMP-1 and XEMP-12345\n",
            ),
            ("{\"id\": \"EMP-1234\"}\n", "{\"id\": \"***\"}\n"),
            ("a,b\n1,EMP-123456\n", "a,b\n1,***\n"),
            ("\x1b[1mEM\x1b[0mP-1234 x", "\x1b[1mx**\x1b[0m x"),
            (
                "INSERT INTO t (a) VALUES ('EMP-1234');\n",
                "INSERT INTO t (a) VALUES ('***');\n",
            ),
            // Seven digits too many, a wrong checksum, and a good one.
            (
                "79927398713 79927398710 7992739871300\n",
                "x** 79927398710 7992739871300\n",
            ),
            (
                "to: the office\r\nnot to: the office\n",
                "x**\r\nnot to: the office\n",
            ),
            // At the end of a cell, of a value and of the output.
            (
                "id|ssn|c\n1|x2|79927398713\n",
                "id|ssn|c\n1|x2|***********\n",
            ),
            (
                "id|password|c\n1|x2|79927398713\n2|x3|EMP-12345\n",
                "id|password|c\n1|***|***********\n2|***|*********\n",
            ),
            (
                " id | password | c\n----+----------+-----\n  1 | x2       | EMP-12345\n",
                " id | password | c\n----+----------+-----\n  1 | **       | *********\n",
            ),
            (
                "INSERT INTO t (password, c) VALUES ('x2', 79927398713);\n",
                "INSERT INTO t (password, c) VALUES ('***', x**);\n",
            ),
            ("a\nEMP-12345", "a\nx**"),
            // What covers more comes first.
            ("password=EMP-1234x\n", "password=***\n"),
            ("EMP-1234@example.com\n", "x**\n"),
        ] {
            assert_eq!(scan(text, size), out, "{size}");
        }
    }
}

#[test]
fn only_what_may_become_a_match_is_withheld() {
    let mut scanner = Scanner::new(rules(), Options::default());
    let mut said = |text: &str| {
        scanner.feed(
            Stream::Stdout,
            Raw::new(Bytes::copy_from_slice(text.as_bytes())),
        );
        let mut out = String::new();
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { bytes, .. } = step {
                out += std::str::from_utf8(bytes.as_bytes()).unwrap();
            }
        }
        out
    };
    assert_eq!(said("done. "), "done. ");
    assert_eq!(said("see EMP-12"), "see ");
    assert_eq!(said("x and "), "EMP-12x and ");
}

#[test]
fn a_pattern_that_cannot_be_used_does_not_compile() {
    let rule =
        Rule::new("r", Action::Mask(Mask::Redact)).own_detector("ids", "ID.*", Checksum::None);
    let error = RulesBuilder::new().rule(rule).build().unwrap_err();
    assert!(matches!(&error, RuleError::BadPattern { name, .. } if name == "ids"));
    assert!(error.to_string().contains("write {1,40}"), "{error}");
}

/// A string of SQL is looked at part by part: a match may lie over the end of one.
#[test]
fn a_match_lies_over_parts_of_a_long_string() {
    for before in 8180..8195 {
        let text = format!(
            "INSERT INTO t (a, b, password) VALUES ('{} EMP-12345 {}', 1, 'y');\n",
            "x".repeat(before),
            "filler ".repeat(9500)
        );
        let out = scan(&text, 8192);
        assert!(
            !out.contains("EMP-12345") && !out.contains("'y'"),
            "{before}"
        );
    }
}
