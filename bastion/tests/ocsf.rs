//! Every event of the audit log in the words of OCSF, against the schema that is published for them.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bastion::audit::{Event, ocsf};
use serde_json::{Map, Value, json};

/// The events of the page about the log, which another test compares with the program: each name, its
/// members, and whether a member may be left out.
fn events() -> Vec<(String, Vec<(String, bool)>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| *line != "## Events")
        .take_while(|line| *line != "## Forwarding it")
        .filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        let [name, _, members] = cells.as_slice() else {
            panic!("three cells: {row}");
        };
        let members = members
            .split(", ")
            .filter(|member| member.contains('`'))
            .map(|member| (bare(member), member.contains('?')));
        (bare(name), members.collect())
    })
    .collect()
}

fn bare(cell: &str) -> String {
    cell.split('`').nth(1).unwrap().to_owned()
}

/// What such a member may hold.
fn example(event: &str, member: &str) -> Value {
    match member {
        "user" | "requester" => json!({ "issuer": "https://id", "subject": "42", "name": "ana" }),
        "withdrawn" => json!([example(event, "user")]),
        "source" => json!("2001:db8::7"),
        "sessions" if event == "sessions_ended" => json!(["a", "b"]),
        "groups" | "policies" | "addresses" | "fields" | "notify" | "approvers" | "webhooks" => {
            json!(["one", "two"])
        }
        "leases" | "sessions" | "targets" | "rules" | "problems" | "lease" | "bytes" | "rows"
        | "passed" | "masked" | "held" | "unreadable" | "received" | "approvals" | "needed"
        | "seconds" | "attempts" => json!(3),
        "expires_at" | "since" | "until" => json!("2026-11-25T21:00:00Z"),
        "break_glass" => json!(true),
        _ => json!(format!("some {member}\n")),
    }
}

/// The lines of the log, whole, with what may be null as null, and without it.
fn lines() -> Vec<Map<String, Value>> {
    let mut lines = Vec::new();
    for (name, members) in events() {
        for variant in 0..3 {
            let mut line = Map::new();
            line.insert("seq".to_owned(), (lines.len() + 1).into());
            line.insert("time".to_owned(), "2026-11-25T21:00:00.5Z".into());
            line.insert("event".to_owned(), name.clone().into());
            for (member, optional) in &members {
                let value = match (variant, *optional) {
                    (0, _) | (_, false) => example(&name, member),
                    (1, true) => Value::Null,
                    _ => continue,
                };
                line.insert(member.clone(), value);
            }
            line.insert("prev".to_owned(), "0".repeat(64).into());
            lines.push(line);
        }
    }
    lines
}

fn cached(path: &str) -> PathBuf {
    let cache = std::env::var_os("BASTION_TEST_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(home?.join(".cache/bastion-tests")));
    cache.unwrap_or_default().join(path)
}

/// The examples are events: what the program writes itself, it reads.
#[test]
fn the_examples_are_events() {
    let own = ["recording_opened", "recording_gap", "audit_opened"];
    let own = [
        &own[..],
        &["recording_expired", "recording_redacted", "torn_line"],
    ]
    .concat();
    let lines = lines();
    assert!(lines.len() > 100, "{}", lines.len());
    for line in lines {
        let name = line.get("event").unwrap().as_str().unwrap().to_owned();
        let read = serde_json::from_value::<Event>(line.into());
        assert_eq!(
            read.is_ok(),
            !own.contains(&name.as_str()),
            "{name}: {read:?}"
        );
    }
}

/// Where the schema is not installed, the test says so: `tests/run` does it.
#[test]
fn every_event_is_one_of_the_published_schema() {
    let python = cached("venv/bin/python");
    let there = Command::new(&python)
        .args(["-c", "import ocsf_json_schema, jsonschema"])
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        println!("skipped: the schema is not installed (tests/run --install)");
        return;
    }
    let mut lines = lines();
    let later = json!({ "seq": 1, "time": "2026-11-25T21:00:00Z", "event": "later", "user": 3 });
    lines.extend(later.as_object().cloned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/ocsf.py");
    let mut validator = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = validator.stdin.take().unwrap();
    let mut text = String::new();
    for line in &lines {
        text.push_str(&format!("{}\n", ocsf(line)));
    }
    std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = validator.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, format!("checked {}\n", lines.len()));
}
