//! Screens: what a program paints where it puts the cursor.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream,
};

fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        let rule = Rule::new("pii", Action::Mask(Mask::Redact))
            .field("ssn")
            .field("salary")
            .detector(Detector::Email);
        Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
    });
    Arc::clone(&RULES)
}

fn scan(text: &str, size: usize) -> String {
    let mut scanner = Scanner::new(rules(), Options { pty: true });
    for piece in text.as_bytes().chunks(size) {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    let mut out = Vec::new();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

const TABLE: &str = " id | salary | city \r\n----+--------+------\r\n  1 |    500 | Rome \r\n";
const MASKED: &str = " id | salary | city \r\n----+--------+------\r\n  1 |    *** | Rome \r\n";

#[test]
fn what_is_painted_in_a_protected_column_is_masked() {
    for (painted, shown) in [
        // One cell, of another row; its last digit alone; the digit that follows.
        ("\x1b[3;10H600", "\x1b[3;10H***"),
        ("\x1b[3;12H7", "\x1b[3;12H*"),
        ("\x1b[3;10H6\x1b[3;11H1", "\x1b[3;10H*\x1b[3;11H*"),
        // The cursor keeps its column when it goes up and down.
        ("\x1b[3;10H600\x1b[3D\x1b[5d", "\x1b[3;10H***\x1b[3D\x1b[5d"),
        ("\x1b[3;9H\x1b[B999", "\x1b[3;9H\x1b[B***"),
        ("\x1b[3;9H\x1b[7d999", "\x1b[3;9H\x1b[7d***"),
        // A row painted cell by cell, with and without separators.
        (
            "\x1b[4;1H  2 \x1b[4;5H|\x1b[4;10H777\x1b[4;14H|\x1b[4;16HOslo",
            "\x1b[4;1H  2 \x1b[4;5H|\x1b[4;10H***\x1b[4;14H|\x1b[4;16HOslo",
        ),
        (
            "\x1b[4;1H  2 |    777 | Oslo",
            "\x1b[4;1H  2 |    *** | Oslo",
        ),
        // Other columns pass, and so does the header.
        ("\x1b[3;3H9\x1b[3;16HBonn", "\x1b[3;3H9\x1b[3;16HBonn"),
        ("\x1b[1;7Hsalary", "\x1b[1;7Hsalary"),
        // What a detector knows is found in any column.
        ("\x1b[9;16Hjoe@example.com", "\x1b[9;16H***************"),
    ] {
        for size in [1, 3, 1000] {
            let got = scan(&format!("{TABLE}{painted}\r\n"), size);
            assert_eq!(got, format!("{MASKED}{shown}\r\n"), "{size}");
        }
    }
}

#[test]
fn a_table_that_is_painted_itself_is_known() {
    let text = "\x1b[1;1H id | ssn \x1b[2;1H----+-----\x1b[3;1H  1 | abc \x1b[3;7Hxyz\x1b[9;1H";
    for size in [1, 4, 1000] {
        let got = scan(text, size);
        assert!(!got.contains("abc") && !got.contains("xyz"), "{got:?}");
        assert!(got.contains(" id | ssn "), "{got:?}");
    }
}

fn cases() -> u32 {
    std::env::var("LAWS_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Neither do cuts show on a screen.
    #[test]
    fn cuts_do_not_show(
        parts in prop::collection::vec(prop::sample::select(vec![
            TABLE, " id | ssn \n----+-----\n", "| id | ssn |\n+----+-----+\n", "\x1b[3;10H", "\x1b[1;1H", "\x1b[B", "\x1b[5d", "\x1b[9G",
            "\x1b[2C", "\x1b[K", "\x1b[H", "\r", "\n", "\r\n", " ", "|", " | ", "500", "x", "ssn", "salary", ":", "joe@example.com", "宮",
            "\x08", "131-45-1438", "=", "\"", "{", "\x1b[?1049h", "\x1b[4b",
        ]), 0..24),
        size in 1..9usize,
    ) {
        let text = parts.concat();
        prop_assert_eq!(scan(&text, size), scan(&text, usize::MAX));
    }
}
