//! Tables in strings of JSON and of programs: what a string says is read like an output of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Scope, Step, Stream,
};
use serde_json::{Value, json};

fn rules() -> Arc<Rules> {
    let rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password")
        .detector(scanner::Detector::Email);
    Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
}

fn scan(text: &str, pty: bool, size: usize) -> String {
    String::from_utf8(support::scan(rules(), Options { pty }, text, size)).unwrap()
}

#[track_caller]
fn gives(text: &str, out: &str) {
    for size in 1..text.len() {
        assert_eq!(scan(text, false, size), out, "in pieces of {size}");
    }
    let (text, out) = (text.replace('\n', "\r\n"), out.replace('\n', "\r\n"));
    for (pty, size) in [
        (false, 1),
        (false, text.len()),
        (true, 3),
        (true, text.len()),
    ] {
        assert_eq!(scan(&text, pty, size), out, "{pty}, in pieces of {size}");
    }
}

/// ansible's `stdout`, and what `jq` and `kubectl` print of the kind.
#[test]
fn lines_of_a_string_are_those_of_a_table() {
    for (text, out) in [
        (
            r#"{"rc":0,"stdout":"id | ssn\n---+-----\n 1 | x1  \n(1 row)\n\nnext | x9","a":"1 | x2"}"#,
            r#"{"rc":0,"stdout":"id | ssn\n---+-----\n 1 | **  \n(1 row)\n\nnext | x9","a":"1 | x2"}"#,
        ),
        (
            r#"{"stdout":"id,ssn,city\r\n1,x1,Lund\r\n2,\"x, 2\",\"a\"\"b\"\r\n","n":1}"#,
            r#"{"stdout":"id,ssn,city\r\n1,***,Lund\r\n2,\"***\",\"a\"\"b\"\r\n","n":1}"#,
        ),
        (
            r#""a": "before\nid\tssn\n1\tx1\n2\t\n3\tx\\ny","#,
            r#""a": "before\nid\tssn\n1\t***\n2\t\n3\t***","#,
        ),
        // The name of the only column over a line, which alone says that it is one.
        (
            r#"["a", {"b":" ssn \n-----\n x1\n(1 row)\n"}]"#,
            r#"["a", {"b":" ssn \n-----\n **\n(1 row)\n"}]"#,
        ),
        (
            r#"{"a":"NAME  SSN  AGE\nada   x1   7\n","b":"ada   x1   7\n"}"#,
            r#"{"a":"NAME  SSN  AGE\nada   **   7\n","b":"ada   x1   7\n"}"#,
        ),
        (
            r#"{"a":"-[ RECORD 1 ]\nid  | 1\nssn | x1\n"}"#,
            r#"{"a":"-[ RECORD 1 ]\nid  | 1\nssn | **\n"}"#,
        ),
        (
            r#"{"a":"+----+-----+\n| id | ssn |\n+----+-----+\n| 1  | x1  |\n+----+-----+\n"}"#,
            r#"{"a":"+----+-----+\n| id | ssn |\n+----+-----+\n| 1  | **  |\n+----+-----+\n"}"#,
        ),
        (
            r#"{"a":"COPY t (id, ssn) FROM stdin;\n1\tx1\n\\.\n1\tx2\n"}"#,
            r#"{"a":"COPY t (id, ssn) FROM stdin;\n1\t***\n\\.\n1\tx2\n"}"#,
        ),
        // Characters by their numbers have the width of what they are.
        (
            r#"{"a":"id | ssn   | c\n 1 | \u00e9\u5bae\ud83d\ude00 | v\n"}"#,
            r#"{"a":"id | ssn   | c\n 1 | ***** | v\n"}"#,
        ),
        // Colours, of the line and in the string.
        (
            "\u{1b}[34m\"a\"\u{1b}[0m: \"id,\\u001b[1mssn\\u001b[0m\\n1,x1\\n\"",
            "\u{1b}[34m\"a\"\u{1b}[0m: \"id,\\u001b[1mssn\\u001b[0m\\n1,***\\n\"",
        ),
    ] {
        gives(text, out);
    }
}

/// Strings in strings, and those of programs.
#[test]
fn strings_may_stand_in_strings() {
    for (text, out) in [
        (
            r#"{"a":"{\"b\":\"id,ssn\\n1,x1\\n\",\"c\":\"1,x2\"}\n1,x3","d":1}"#,
            r#"{"a":"{\"b\":\"id,ssn\\n1,***\\n\",\"c\":\"1,x2\"}\n1,x3","d":1}"#,
        ),
        (
            r#"{"a":"{\"b\":\"{\\\"c\\\":\\\"id,ssn\\\\n1,x1\\\\n\\\"}\"}","d":"1,x2\n"}"#,
            r#"{"a":"{\"b\":\"{\\\"c\\\":\\\"id,ssn\\\\n1,***\\\\n\\\"}\"}","d":"1,x2\n"}"#,
        ),
        (
            r#"{'a': 'id,ssn\n1,"x\'1"\n', 'b': '1,x2\n'}"#,
            r#"{'a': 'id,ssn\n1,"***"\n', 'b': '1,x2\n'}"#,
        ),
        (
            r#"out=b'id,ssn\n1,x1\n' err='1,x2'"#,
            r#"out=b'id,ssn\n1,***\n' err='1,x2'"#,
        ),
        (
            r#"'{"a": "id,ssn\\n1,x1\\n"}', '1,x2'"#,
            r#"'{"a": "id,ssn\\n1,***\\n"}', '1,x2'"#,
        ),
        // What JavaScript adds up.
        (
            "{\n  stdout: 'id,ssn\\n' +\n    '1,x1\\n' +\n    '2,x2\\n',\n  n: '1,x3'\n}\n",
            "{\n  stdout: 'id,ssn\\n' +\n    '1,***\\n' +\n    '2,***\\n',\n  n: '1,x3'\n}\n",
        ),
        // And Python wraps.
        (
            "{'a': 'id,ssn\\n'\n      '1,x1\\n'\n      '2,x2\\n',\n 'b': '1,x3'}\n",
            "{'a': 'id,ssn\\n'\n      '1,***\\n'\n      '2,***\\n',\n 'b': '1,x3'}\n",
        ),
    ] {
        gives(text, out);
    }
}

/// docker's logs: a line of the table in each record.
#[test]
fn a_table_goes_on_in_the_next_record() {
    gives(
        "{\"log\":\"id,ssn\\n\",\"stream\":\"stdout\"}\n{\"log\":\"1,x1\\n\",\"stream\":\"stdout\"}\n{\"msg\":\"1,x9\\n\"}\n{\"log\":\"2,x2\\n\"}\n{\"log\":\"\\n\"}\n{\"log\":\"1,x3\\n\"}\n",
        "{\"log\":\"id,ssn\\n\",\"stream\":\"stdout\"}\n{\"log\":\"1,***\\n\",\"stream\":\"stdout\"}\n{\"msg\":\"1,x9\\n\"}\n{\"log\":\"2,***\\n\"}\n{\"log\":\"\\n\"}\n{\"log\":\"1,x3\\n\"}\n",
    );
    gives(
        "{\"log\": \" id | ssn \\r\\n\"}\n{\"log\": \"----+-----\\r\\n\"}\n{\"log\": \"  1 | x1\\r\\n\"}\n{\"log\": \"(1 row)\\r\\n\"}\n{\"log\": \"  1 | x2\\r\\n\"}\n",
        "{\"log\": \" id | ssn \\r\\n\"}\n{\"log\": \"----+-----\\r\\n\"}\n{\"log\": \"  1 | **\\r\\n\"}\n{\"log\": \"(1 row)\\r\\n\"}\n{\"log\": \"  1 | x2\\r\\n\"}\n",
    );
    // A string of several lines is whole.
    gives(
        "{\"a\":\"id,ssn\\n1,x1\\n\"}\n{\"a\":\"1,x2\\n\"}\n",
        "{\"a\":\"id,ssn\\n1,***\\n\"}\n{\"a\":\"1,x2\\n\"}\n",
    );
}

/// ansible's `stdout_lines`: a line in each string of a list.
#[test]
fn strings_of_a_list_are_the_lines_of_a_table() {
    for (text, out) in [
        (
            r#"{"stdout_lines": ["id,ssn", "1,x1", "", "1,x2"], "b": "1,x3"}"#,
            r#"{"stdout_lines": ["id,ssn", "1,***", "", "1,x2"], "b": "1,x3"}"#,
        ),
        (
            r#"{"stdout_lines":["id,ssn","1,x1"],"b":["1,x3","2,x4"]}"#,
            r#"{"stdout_lines":["id,ssn","1,***"],"b":["1,x3","2,x4"]}"#,
        ),
        (
            "  \"msg\": [\n    \" ssn \",\n    \"-----\",\n    \" x1\",\n    \"(1 row)\"\n  ],\n  \"b\": \" x2\"\n",
            "  \"msg\": [\n    \" ssn \",\n    \"-----\",\n    \" **\",\n    \"(1 row)\"\n  ],\n  \"b\": \" x2\"\n",
        ),
        (
            "[\n    \"id | ssn\",\n    \"---+----\",\n    \" 1 | x1\"\n]\n[\"1 | x2\"]\n",
            "[\n    \"id | ssn\",\n    \"---+----\",\n    \" 1 | **\"\n]\n[\"1 | x2\"]\n",
        ),
        (
            r#"['id,ssn\n', '1,x1\n', '2,x2\n'] ['1,x3']"#,
            r#"['id,ssn\n', '1,***\n', '2,***\n'] ['1,x3']"#,
        ),
    ] {
        gives(text, out);
    }
}

/// Strings that say no table.
#[test]
fn other_strings_stay() {
    for text in [
        r#"{"a":"Enter your name, ssn\nand city","b":"1, 2\n"}"#,
        r#"{"a":"the ssn\nis 1,2,3","b":["a,b","c,d"]}"#,
        r#"{"a":"id,name\n1,x1\n","b":"\\n","c":"C:\\new\\ssn\\next"}"#,
        r#"printf("id,ssn\n"); printf("%d,%s\n", id, name);"#,
        "id,ssn\\n1,x1\n",
    ] {
        gives(text, text);
    }
}

/// Each row leaves as soon as it has come.
#[test]
fn no_row_waits_for_the_end_of_its_string() {
    let rule = Rule::new("r", Action::Mask(Mask::Redact)).field("ssn");
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let mut scanner = Scanner::new(rules, Options::default());
    let mut left = String::new();
    for (piece, out) in [
        (r#"{"stdout":"id,ssn,"#, r#"{"stdout":"id,ssn,"#),
        (r"city\n1,x1,Lund", r"city\n1,"),
        (r"\n2,", r"***,Lund\n2,"),
        // What may be a word that is not whole waits, as everywhere.
        (r"x2,Rome\n", r"***,Rome\"),
        (r#"","b":"1,x3,c"}"#, r#"n","b":"1,x3,c"}"#),
    ] {
        scanner.feed(
            Stream::Stdout,
            Raw::new(Bytes::copy_from_slice(piece.as_bytes())),
        );
        left.clear();
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { bytes, .. } = step {
                left.push_str(std::str::from_utf8(bytes.as_bytes()).unwrap());
            }
        }
        assert_eq!(left, out, "{piece}");
    }
}

/// A held value of such a table holds the record.
#[test]
fn a_held_cell_holds_its_record() {
    let rule = Rule::new("r", Action::Hold(Scope::Record)).field("ssn");
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let text = "{\"a\":1}\n{\"a\":\"id,ssn\\n1,x1\\n\"}\n";
    for size in 1..text.len() {
        let out = support::scan(Arc::clone(&rules), Options::default(), text, size);
        assert_eq!(String::from_utf8(out).unwrap(), "{\"a\":1}\n");
    }
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[g-k]{3}[0-9]{2,5}",
        1 => "[g-k]{2} [g-k\u{e9}\u{5bae}]{2,4}",
        1 => Just(String::new()),
    ]
}

/// A table of three columns, of which one or two are protected, with text before and behind it.
fn table() -> impl Strategy<Value = String> {
    let rows = prop::collection::vec((cell(), cell(), cell()), 1..6);
    let by = prop::sample::select(&[",", "\t", " | "][..]);
    let names = prop::sample::select(
        &[
            ["a", "ssn", "b"],
            ["ssn", "a", "b"],
            ["a", "password", "ssn"],
        ][..],
    );
    (rows, by, names, any::<bool>(), any::<bool>()).prop_map(|(rows, by, names, crlf, lead)| {
        let line = |cells: [&str; 3]| {
            if by == " | " {
                format!(" {:<9} | {:<9} | {}", cells[0], cells[1], cells[2])
            } else {
                cells.join(by)
            }
        };
        let mut text = if lead { "Result:\n" } else { "" }.to_owned();
        text.push_str(&line(names));
        for (a, b, c) in &rows {
            text.push_str(if crlf { "\r\n" } else { "\n" });
            text.push_str(&line([a, b, c]));
        }
        text.push_str("\n\nend\n");
        text
    })
}

/// A list of arguments is none of rows, whatever one of them says.
#[test]
fn arguments_are_no_rows() {
    for (text, out) in [
        (
            r#"["id,ssn", "--password", "hunter2x"]"#,
            r#"["id,ssn", "--password", "***"]"#,
        ),
        (
            r#"["id,ssn","--format","csv","--password","hunter2x"]"#,
            r#"["id,ssn","--format","csv","--password","***"]"#,
        ),
        (
            r#"execve("/usr/bin/mysql", ["mysql", "-e", "select a,ssn", "--password", "hunter2x"], 0x7ffe) = 0"#,
            r#"execve("/usr/bin/mysql", ["mysql", "-e", "select a,ssn", "--password", "***"], 0x7ffe) = 0"#,
        ),
        (
            "[\n  \"id,ssn\",\n  \"--password\",\n  \"hunter2x\"\n]",
            "[\n  \"id,ssn\",\n  \"--password\",\n  \"***\"\n]",
        ),
    ] {
        gives(&format!("{text}\n"), &format!("{out}\n"));
    }
}

/// A value that is still open where its string ends takes nothing of the next string.
#[test]
fn an_open_value_ends_with_its_string() {
    for text in [
        "[\"id,ssn\", \"    Password: `a1 raw\", \"b2 two`,\", \"}\"]\n",
        "{\"log\":\"id,ssn\\n\"}\n{\"log\":\"    Password: `a1 raw\\n\"}\n{\"log\":\"b2 two`,\\n\"}\n{\"log\":\"c\"}\n",
    ] {
        let whole = scan(text, false, text.len());
        for line in whole.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        assert_eq!(whole.lines().count(), text.lines().count());
        assert!(!whole.contains("a1"), "{whole}");
        for size in 1..text.len() {
            assert_eq!(scan(text, false, size), whole, "in pieces of {size}");
        }
    }
}

proptest! {
    /// What a string says becomes what it would be outside of it.
    #[test]
    fn a_string_says_what_the_text_would(text in table(), level in 1..4, size in 1..80usize, ascii: bool) {
        let plain = scan(&text, false, text.len());
        let mut whole = json!({"rc": 0, "stdout": text, "z": [1, "a,b,c"]});
        for _ in 1..level {
            whole = json!({"log": whole.to_string(), "n": 1});
        }
        let mut whole = whole.to_string();
        if ascii && level == 1 {
            whole = whole.chars().map(|c| match c {
                ' '..='~' => c.to_string(),
                c => format!("\\u{:04x}", u32::from(c)),
            }).collect();
        }
        let out = scan(&format!("{whole}\n"), false, size);
        let mut found: Value = serde_json::from_str(&out).unwrap();
        for _ in 1..level {
            found = serde_json::from_str(found["log"].as_str().unwrap()).unwrap();
        }
        prop_assert_eq!(found["stdout"].as_str().unwrap(), plain);
        prop_assert_eq!(&found["z"], &json!([1, "a,b,c"]));
    }
}
