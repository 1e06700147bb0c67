//! Values that are told by the shape of what they stand in: a place in a list, a column of another
//! tool's, a word before them.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use scanner::{Action, Mask, Options, Rule, Rules, RulesBuilder};

fn rules() -> Arc<Rules> {
    let rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password");
    Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
}

fn scan(text: &str, pty: bool, size: usize) -> String {
    String::from_utf8(support::scan(rules(), Options { pty }, text, size)).unwrap()
}

#[track_caller]
fn gives(text: &str, out: &str) {
    for size in [1, 2, 7, 64, text.len()] {
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

/// What the APIs of databases print: the names of columns in one list, rows as lists of values.
#[test]
fn a_list_of_columns_tells_what_rows_have() {
    // pandas, CrateDB, datasette, rqlite.
    gives(
        "{\"columns\":[\"id\",\"ssn\",\"city\"],\"rows\":[[1,\"x1\",\"Lund\"],[2,null,\"a, b\"],[3,77,\"\"]],\"n\":3}\n",
        "{\"columns\":[\"id\",\"ssn\",\"city\"],\"rows\":[[1,\"***\",\"Lund\"],[2,null,\"a, b\"],[3,\"***\",\"\"]],\"n\":3}\n",
    );
    // In lines.
    gives(
        "{\n  \"columns\": [\n    \"id\",\n    \"ssn\"\n  ],\n  \"data\": [\n    [\n      1,\n      \"x1\"\n    ],\n    [\n      2,\n      \"x2\"\n    ]\n  ]\n}\n[[1, \"a\"]]\n",
        "{\n  \"columns\": [\n    \"id\",\n    \"ssn\"\n  ],\n  \"data\": [\n    [\n      1,\n      \"***\"\n    ],\n    [\n      2,\n      \"***\"\n    ]\n  ]\n}\n[[1, \"a\"]]\n",
    );
    // Elasticsearch, Trino, Snowflake, ClickHouse: the names are in objects.
    gives(
        "{\"columns\":[{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"ssn\",\"args\":[{\"kind\":\"LONG\"}]}],\"data\":[[1,\"x1\"],[2,\"x2\"]]}\n",
        "{\"columns\":[{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"ssn\",\"args\":[{\"kind\":\"LONG\"}]}],\"data\":[[1,\"***\"],[2,\"***\"]]}\n",
    );
    // BigQuery: each value has a wrapper, and so has each row.
    gives(
        "{\"schema\":{\"fields\":[{\"name\":\"id\"},{\"name\":\"ssn\"}]},\"rows\":[{\"f\":[{\"v\":\"1\"},{\"v\":\"x1\"}]},{\"f\":[{\"v\":\"2\"},{\"v\":null}]}]}\n",
        "{\"schema\":{\"fields\":[{\"name\":\"id\"},{\"name\":\"ssn\"}]},\"rows\":[{\"f\":[{\"v\":\"1\"},{\"v\":\"***\"}]},{\"f\":[{\"v\":\"2\"},{\"v\":null}]}]}\n",
    );
    // Athena: so has each name, in the first row.
    gives(
        "{\"Rows\":[{\"Data\":[{\"VarCharValue\":\"id\"},{\"VarCharValue\":\"ssn\"}]},{\"Data\":[{\"VarCharValue\":\"1\"},{\"VarCharValue\":\"x1\"}]}]}\n",
        "{\"Rows\":[{\"Data\":[{\"VarCharValue\":\"id\"},{\"VarCharValue\":\"ssn\"}]},{\"Data\":[{\"VarCharValue\":\"1\"},{\"VarCharValue\":\"***\"}]}]}\n",
    );
    // The first row, of JSON and of Python.
    gives(
        "[[\"id\",\"ssn\"],[\"1\",\"x1\"]]\n[('id', 'ssn'), (1, 'x1'), (2, Decimal('7'))]\n",
        "[[\"id\",\"ssn\"],[\"1\",\"***\"]]\n[('id', 'ssn'), (1, '***'), (2, Decimal('***'))]\n",
    );
    // A line for each row.
    gives(
        "[\"ssn\",\"id\"]\n[\"x1\",1]\n[\"x2\",2]\n[root@db ~]# echo [a, b]\n",
        "[\"ssn\",\"id\"]\n[\"***\",1]\n[\"***\",2]\n[root@db ~]# echo [a, b]\n",
    );
    // In a string, and in a log.
    gives(
        "INFO {\"body\":\"{\\\"columns\\\":[\\\"ssn\\\"],\\\"rows\\\":[[\\\"x1\\\"],[5]]}\",\"a\":[[1]]}\nnext [[1, 2]]\n",
        "INFO {\"body\":\"{\\\"columns\\\":[\\\"ssn\\\"],\\\"rows\\\":[[\\\"***\\\"],[\\\"***\\\"]]}\",\"a\":[[1]]}\nnext [[1, 2]]\n",
    );
    // A value that is a container, and one with names of its own.
    gives(
        "{\"columns\":[\"ssn\",\"doc\"],\"rows\":[[{\"a\":\"x1\",\"b\":[\"x2\"]},{\"password\":\"x3\",\"k\":\"]}\"}],[\"x4\",{\"k\":\"v\"}]]}\n",
        "{\"columns\":[\"ssn\",\"doc\"],\"rows\":[[{\"a\":\"***\",\"b\":[\"***\"]},{\"password\":\"***\",\"k\":\"]}\"}],[\"***\",{\"k\":\"v\"}]]}\n",
    );
}

/// Of a list of names whose beginning is too far away only the first ones are known to be others.
#[test]
fn a_long_list_of_columns_is_in_doubt() {
    let names: Vec<String> = (0..150)
        .map(|k| format!("\"a_long_column_name_{k}\""))
        .collect();
    let values: Vec<String> = (0..152).map(|k| format!("\"v{k}x\"")).collect();
    let rows = values.join(",\n");
    let text = format!(
        "{{\n\"columns\": [\n{},\n\"ssn\",\n\"z\"\n],\n\"rows\": [\n[\n{rows}]]}}\n",
        names.join(",\n")
    );
    let out = scan(&text, false, text.len());
    assert!(!out.contains("v150x") && out.contains("v9x"), "{out}");
    for size in [1, 100, 1000] {
        assert_eq!(scan(&text, false, size), out, "in pieces of {size}");
    }
}

/// Names are listed for other reasons, too.
#[test]
fn other_lists_stay() {
    for text in [
        "{\"required\": [\"user\", \"password\"], \"points\": [[1, 2], [3, 4]]}\n",
        "{\"columns\": [\"id\", \"ssn\"], \"data\": [{\"id\": 1, \"n\": [1, 2]}, {\"id\": 2}]}\n",
        "{\"columns\": [\"id\", \"ssn\"]}\n{\"a\": [[1, 2], [3, 4]]}\n",
        "[\"id\", \"ssn\"]\nSee [1, 2].\n[3, 4]\n",
        "{\"columns\": [\"ssn\"], \"rows\": [], \"columns\": [\"id\"], \"rows\": [[1]]}\n",
        "\"id\",\"a\"\n1,[2]\n",
    ] {
        gives(text, text);
    }
}
