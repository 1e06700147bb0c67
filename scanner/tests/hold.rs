//! Rules that withhold: records leave whole or not at all.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use scanner::{
    Action, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Scope, Step, Stream,
};

fn rules(scope: Scope) -> Arc<Rules> {
    let rules = RulesBuilder::new()
        .rule(Rule::new("pii", Action::Mask(Mask::Redact)).field("email"))
        .rule(Rule::new("payroll", Action::Hold(scope)).field("salary"));
    Arc::new(rules.build().unwrap())
}

/// What passed, what is held, and by which rule and field.
fn scan(rules: &Arc<Rules>, text: &str, size: usize) -> (String, String, Option<(u16, String)>) {
    let mut scanner = Scanner::new(Arc::clone(rules), Options::default());
    let (mut passed, mut held, mut hold) = (String::new(), String::new(), None);
    let mut pieces = text.as_bytes().chunks(size);
    loop {
        let piece = pieces.next();
        match piece {
            Some(piece) => scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece))),
            None => scanner.end(),
        }
        while let Some(step) = scanner.next_step() {
            match step {
                Step::Pass { bytes, .. } => {
                    passed += std::str::from_utf8(bytes.as_bytes()).unwrap()
                }
                Step::Held { bytes, .. } => {
                    held += std::str::from_utf8(&bytes.into_sealed_payload()).unwrap();
                }
                Step::Hold { rule, field } => hold = Some((rule, field)),
                Step::Refuse { .. } => panic!("nothing is refused here"),
            }
        }
        if piece.is_none() {
            return (passed, held, hold);
        }
    }
}

#[test]
fn a_record_with_a_held_field_does_not_leave() {
    for size in [1, 3, 7, 1000] {
        for (text, free, kept) in [
            (
                "{\"id\":1}\n{\"id\":2,\"salary\":5}\n{\"id\":3}\n",
                "{\"id\":1}\n",
                "{\"id\":2,\"salary\":5}\n{\"id\":3}\n",
            ),
            ("id,salary\n1,500\n2,600\n", "id,salary\n", "1,500\n2,600\n"),
            (
                "[{\"id\":1},{\"id\":2,\"email\":\"a@b.cd\",\"salary\":5}]\n",
                "[{\"id\":1},",
                "{\"id\":2,\"email\":\"***\",\"salary\":5}]\n",
            ),
        ] {
            let (passed, held, hold) = scan(&rules(Scope::Record), text, size);
            assert_eq!((passed.as_str(), held.as_str()), (free, kept), "{size}");
            assert_eq!(hold, Some((1, "salary".to_owned())));
        }
        let (passed, held, hold) = scan(&rules(Scope::Record), "id,city\n1,Lund\nlast", size);
        assert_eq!(
            (passed.as_str(), held.as_str(), hold),
            ("id,city\n1,Lund\nlast", "", None)
        );
    }
}

#[test]
fn a_rule_for_the_whole_output_holds_from_the_first_byte() {
    let (passed, held, hold) = scan(&rules(Scope::Output), "anything\n", 2);
    assert_eq!((passed.as_str(), held.as_str()), ("", "anything\n"));
    assert_eq!(hold, Some((1, "output".to_owned())));
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
