//! Structure survives: what reads the output still can, and finds everything in its place but
//! the protected values.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use scanner::{Action, Mask, Options, Rule, Rules, RulesBuilder};
use serde_json::{Map, Value};

const PROTECTED: [&str; 2] = ["ssn", "password"];

fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        let rules = RulesBuilder::new()
            .rule(Rule::new("a", Action::Mask(Mask::Last4)).field(PROTECTED[0]))
            .rule(Rule::new("b", Action::Mask(Mask::Redact)).field(PROTECTED[1]));
        Arc::new(rules.build().unwrap())
    });
    Arc::clone(&RULES)
}

fn scan(text: &str, size: usize) -> String {
    String::from_utf8(support::scan(rules(), Options::default(), text, size)).unwrap()
}

/// How many cases each law is tried with; `LAWS_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("LAWS_CASES").ok();
    let long = std::env::var_os("BASTION_TEST_LONG").is_some();
    asked
        .and_then(|n| n.parse().ok())
        .unwrap_or(if long { 60_000 } else { 1000 })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c]{1,3}(_[d-f]{1,4})?",
        1 => prop::sample::select(&PROTECTED[..]).prop_map(str::to_owned),
    ]
}

/// A value that may be told from every mask.
fn secret() -> impl Strategy<Value = String> {
    "[g-k]{3}[0-9]{4,7}"
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_999_999i64..9_999_999).prop_map(Value::from),
        (0..9_999_999i64).prop_map(|n| Value::from(f64::from(i32::try_from(n).unwrap()) / 64.0)),
        secret().prop_map(Value::from),
        "[ -~é宮\n\t]{0,12}".prop_map(Value::from),
        Just(Value::from("")),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The strings in which a field is named are no part of this law: what they say is read.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let text = text.to_ascii_lowercase();
            PROTECTED.iter().all(|name| !text.contains(name))
        }
        Value::Array(values) => values.iter().all(says_nothing),
        Value::Object(members) => members.values().all(says_nothing),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Whether `out` is `value` with what stands under protected names masked, and nothing else.
fn is_masked(value: &Value, out: &Value, protected: bool) -> bool {
    match (value, out) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_masked(a, b, protected))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| {
                    let protected = protected || PROTECTED.contains(&name.as_str());
                    b.get(name)
                        .is_some_and(|out| is_masked(value, out, protected))
                })
        }
        (Value::String(text), Value::String(out)) if protected => {
            // A value that says that there is none stays.
            out.contains("**") || text == out && !text.bytes().any(|b| b.is_ascii_digit())
        }
        (Value::Number(_) | Value::Bool(_), Value::String(out)) => protected && out.contains("**"),
        (value, out) => value == out && (!protected || value.is_null()),
    }
}

/// A table of names and cells.
fn grid() -> impl Strategy<Value = Vec<Vec<String>>> {
    (2..7usize, 0..6usize).prop_flat_map(|(cols, rows)| {
        let names = prop::collection::vec(name(), cols);
        let cell = prop_oneof![
            3 => secret(),
            1 => Just(String::new()),
            2 => "[a-f][ -~]{0,8}",
            1 => "[a-f](\n|\r\n|,|\"|;){1,3}[a-f]",
        ];
        let rows = prop::collection::vec(prop::collection::vec(cell, cols), rows);
        (names, rows).prop_map(|(names, mut rows)| {
            rows.insert(0, names);
            rows
        })
    })
}

fn csv(grid: &[Vec<String>], by: char, always: bool) -> String {
    let mut text = String::new();
    for row in grid {
        for (k, cell) in row.iter().enumerate() {
            if k > 0 {
                text.push(by);
            }
            if always || cell.contains([by, '"', '\n', '\r']) || (row.len() == 1 && cell.is_empty())
            {
                write!(text, "\"{}\"", cell.replace('"', "\"\"")).unwrap();
            } else {
                text.push_str(cell);
            }
        }
        text.push('\n');
    }
    text
}

/// Reads what [`csv`] writes (RFC 4180).
fn parse_csv(text: &str, by: char) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = row.last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                cell.push('"');
                chars.next();
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            c if c == by && !quoted => row.push(String::new()),
            '\n' if !quoted => rows.push(std::mem::replace(&mut row, vec![String::new()])),
            c => cell.push(c),
        }
    }
    rows
}

/// Whether the rows of `out` are those of `grid` with the protected cells masked.
fn same_grid(grid: &[Vec<String>], out: &[Vec<String>]) -> Result<(), String> {
    if grid.len() != out.len() {
        return Err(format!("{} rows became {}", grid.len(), out.len()));
    }
    for (k, (row, out)) in grid.iter().zip(out).enumerate() {
        if row.len() != out.len() {
            return Err(format!("row {k}: {row:?} became {out:?}"));
        }
        for ((name, cell), out) in grid[0].iter().zip(row).zip(out) {
            let protected = k > 0 && PROTECTED.contains(&name.as_str());
            let good = if protected && cell.bytes().any(|b| b.is_ascii_digit()) {
                out.contains("**") && (cell.len() < 4 || !out.contains(cell.as_str()))
            } else {
                protected || out == cell
            };
            if !good {
                return Err(format!("row {k}, {name}: {cell:?} became {out:?}"));
            }
        }
    }
    Ok(())
}

/// psql's aligned display, with or without a box around it.
fn aligned(grid: &[Vec<String>], boxed: bool) -> String {
    let widths: Vec<usize> = (0..grid[0].len())
        .map(|k| grid.iter().map(|row| row[k].len()).max().unwrap())
        .collect();
    let rule: Vec<_> = widths.iter().map(|w| "-".repeat(w + 2)).collect();
    let rule = if boxed {
        format!("+{}+\n", rule.join("+"))
    } else {
        format!("{}\n", rule.join("+"))
    };
    let mut text = if boxed { rule.clone() } else { String::new() };
    for (k, row) in grid.iter().enumerate() {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, w)| format!(" {cell:w$} "))
            .collect();
        let line = cells.join("|");
        if boxed {
            writeln!(text, "|{line}|").unwrap();
        } else {
            writeln!(text, "{line}").unwrap();
        }
        if k == 0 {
            text.push_str(&rule);
        }
    }
    if boxed {
        text.push_str(&rule);
    }
    text
}

fn markup(grid: &[Vec<String>]) -> String {
    let mut text = "<rows>\n".to_owned();
    for row in grid.iter().skip(1) {
        text.push_str(" <row>");
        for (name, cell) in grid[0].iter().zip(row) {
            write!(text, "<{name}>{cell}</{name}>").unwrap();
        }
        text.push_str("</row>\n");
    }
    text + "</rows>\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// JSON parses to the same tree, but for the leaves under protected names.
    #[test]
    fn json_stays_the_same_tree(value in json(), pretty: bool, size in 1..200usize) {
        prop_assume!(says_nothing(&value));
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            serde_json::to_string(&value).unwrap()
        };
        let out = scan(&text, size);
        let parsed: Result<Value, _> = serde_json::from_str(&out);
        let parsed = parsed.map_err(|e| TestCaseError::fail(format!("{e}: {out}")))?;
        prop_assert!(is_masked(&value, &parsed, false), "{} became {}", text, out);
    }

    /// JSON in a string of JSON is read through, and both stay JSON.
    #[test]
    fn json_in_json_stays_json(value in json(), size in 1..200usize) {
        prop_assume!(says_nothing(&value));
        let inner = serde_json::to_string(&value).unwrap();
        let text = serde_json::json!({ "body": inner }).to_string();
        let out = scan(&text, size);
        let parsed: Value = serde_json::from_str(&out).map_err(|e| TestCaseError::fail(format!("{e}: {out}")))?;
        let inner = parsed["body"].as_str().unwrap();
        let parsed: Value = serde_json::from_str(inner).map_err(|e| TestCaseError::fail(format!("{e}: {inner}")))?;
        prop_assert!(is_masked(&value, &parsed, false), "{} became {}", text, out);
    }

    /// CSV has the same rows and cells.
    #[test]
    fn csv_stays_the_same_grid(grid in grid(), by in prop::sample::select(vec![',', ';']), always: bool, size in 1..200usize) {
        let mut grid = grid;
        PROTECTED[1].clone_into(&mut grid[0][1]);
        let text = csv(&grid, by, always);
        let out = scan(&text, size);
        if let Err(why) = same_grid(&grid, &parse_csv(&out, by)) {
            return Err(TestCaseError::fail(format!("{why} in\n{text}\n{out}")));
        }
    }

    /// An aligned table keeps each separator and the width of each line.
    #[test]
    fn tables_stay_aligned(grid in grid(), boxed: bool, size in 1..200usize) {
        let mut grid = grid;
        for cell in grid.iter_mut().flatten() {
            *cell = cell.replace(['\n', '\r', '|', '-', '='], "x");
        }
        PROTECTED[0].clone_into(&mut grid[0][1]);
        let text = aligned(&grid, boxed);
        let out = scan(&text, size);
        let shape = |text: &str| -> Vec<Vec<usize>> {
            text.lines().map(|line| line.split('|').map(str::len).collect()).collect()
        };
        prop_assert_eq!(shape(&text), shape(&out), "{}\n{}", text, out);
        let cells = |text: &str| -> Vec<Vec<String>> {
            let rows = text.lines().filter(|line| line.contains('|'));
            rows.map(|row| {
                let row = if boxed { row.trim_matches('|') } else { row };
                row.split('|').map(|cell| cell.trim().to_owned()).collect()
            })
            .collect()
        };
        prop_assume!(cells(&text).len() == grid.len());
        let grid = cells(&text);
        if let Err(why) = same_grid(&grid, &cells(&out)) {
            return Err(TestCaseError::fail(format!("{why} in\n{text}\n{out}")));
        }
    }

    /// Elements stay where they are.
    #[test]
    fn markup_keeps_its_elements(grid in grid(), size in 1..200usize) {
        let mut grid = grid;
        for cell in grid.iter_mut().flatten() {
            *cell = cell.replace(['<', '>', '&'], "x");
        }
        let text = markup(&grid);
        let out = scan(&text, size);
        let tags = |text: &str| -> Vec<String> {
            let parts = text.split('<').skip(1);
            parts.map(|part| part.split('>').next().unwrap().to_owned()).collect()
        };
        prop_assert_eq!(tags(&text), tags(&out), "{}\n{}", text, out);
        for (k, row) in grid.iter().enumerate().skip(1) {
            for (name, cell) in grid[0].iter().zip(row) {
                let digits = cell.bytes().any(|b| b.is_ascii_digit());
                if PROTECTED.contains(&name.as_str()) && digits && cell.len() > 4 {
                    prop_assert!(!out.contains(&format!("<{name}>{cell}<")), "row {}: {}", k, out);
                }
            }
        }
    }
}
