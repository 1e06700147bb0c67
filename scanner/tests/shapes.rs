//! Values that are told by the shape of what they stand in: a place in a list, a column of another
//! tool's, a word before them.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use scanner::{Action, Mask, Options, Rule, Rules, RulesBuilder};

fn rules() -> Arc<Rules> {
    let rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password")
        .detector(scanner::Detector::UrlPassword);
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
    gives(
        "{\"cols\":[{\"label\":\"id\"},{\"label\":\"ssn\"}],\"rows\":[{\"c\":[{\"v\":1},{\"v\":\"x1\"}]}]}\n",
        "{\"cols\":[{\"label\":\"id\"},{\"label\":\"ssn\"}],\"rows\":[{\"c\":[{\"v\":1},{\"v\":\"***\"}]}]}\n",
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

/// Paths of jq, and parameters of statements.
#[test]
fn a_value_follows_what_names_it() {
    for (text, out) in [
        (
            "[[\"users\",0,\"ssn\"],\"x1\"]\n[[\"users\",0,\"city\"],\"v\"]\n[[\"users\",0,\"ssn\"]]\n",
            "[[\"users\",0,\"ssn\"],\"***\"]\n[[\"users\",0,\"city\"],\"v\"]\n[[\"users\",0,\"ssn\"]]\n",
        ),
        (
            "[\n  [\n    \"users\",\n    0,\n    \"ssn\"\n  ],\n  \"x1\"\n]\n[\n  [\n    \"city\"\n  ],\n  \"v\"\n]\n",
            "[\n  [\n    \"users\",\n    0,\n    \"ssn\"\n  ],\n  \"***\"\n]\n[\n  [\n    \"city\"\n  ],\n  \"v\"\n]\n",
        ),
        (
            "[\"users\",0,\"ssn\"]\n\"x1\"\n[\"users\",0,\"city\"]\n\"v\"\n",
            "[\"users\",0,\"ssn\"]\n\"***\"\n[\"users\",0,\"city\"]\n\"v\"\n",
        ),
        (
            "LOG:  execute a: INSERT INTO t (id, ssn) VALUES ($1,$2)\nDETAIL:  parameters: $1 = '1', $2 = 'x1'\n",
            "LOG:  execute a: INSERT INTO t (id, ssn) VALUES ($1,$2)\nDETAIL:  parameters: $1 = '1', $2 = '***'\n",
        ),
        (
            "LOG:  execute a: SELECT 1 FROM t WHERE id = $1 AND ssn = $2\nDETAIL:  Parameters: $1 = '1', $2 = 'x1'\n",
            "LOG:  execute a: SELECT 1 FROM t WHERE id = $1 AND ssn = $2\nDETAIL:  Parameters: $1 = '1', $2 = '***'\n",
        ),
        (
            "||id||ssn||\n|1|x1|\n|2|x2|\n",
            "||id||ssn||\n|1|***|\n|2|***|\n",
        ),
    ] {
        gives(text, out);
    }
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
        "['ssn', 'name']\n[2026-11-26 10:00:01,5] hello\n[12345] started\n[ 5%] Building\n[root@db ~]# \n",
        "\"id\",\"a\"\n1,[2]\n",
        "{\"keywords\": [\"cli\", \"password\"], \"files\": [[\"a\", \"b\"]]}\n",
        "<code>&lt;password&gt;</code> &lt;b&gt;\n",
        "<input name=\"password\"><p>Forgot it?</p>\n",
        "secret \"db\" deleted\nThe password 'x' is old.\n",
    ] {
        gives(text, text);
    }
}

/// Names behind their values, and values one space behind their names.
#[test]
fn a_bracket_and_an_arrow_in_a_string_name_nothing() {
    gives(
        "[{\"ssn\":\"x1\",\"v\":\"d] => Z\"},{\"c\":\"7955\"}]\n",
        "[{\"ssn\":\"***\",\"v\":\"d] => Z\"},{\"c\":\"7955\"}]\n",
    );
    gives(
        "{\"ssn\":[true,\"x\"],\"password\":true,\"v\":\"d] => Z\",\"name\":\"rd] =>\"}\n",
        "{\"ssn\":[\"***\",\"***\"],\"password\":\"***\",\"v\":\"d] => Z\",\"name\":\"rd] =>\"}\n",
    );
    // Two backslashes do not keep a string open.
    let text = "{\"a\":\"b\\\\\",\"id\":\"] ssn:\",\"c\":\"d\"}\n";
    gives(text, text);
}

#[test]
fn a_value_and_its_name_stand_beside_each_other() {
    for (text, out) in [
        (
            "{\"value\":\"x1\",\"name\":\"ssn\"},{\"value\":\"v1\",\"name\":\"city\"}\n",
            "{\"value\":\"***\",\"name\":\"ssn\"},{\"value\":\"v1\",\"name\":\"city\"}\n",
        ),
        (
            "{\"Value\": 77, \"Key\": \"ssn\"}\n{\"value\": 78, \"unit\": \"ssn\"}\n",
            "{\"Value\": \"***\", \"Key\": \"ssn\"}\n{\"value\": 78, \"unit\": \"ssn\"}\n",
        ),
        // Attributes of one element are none of the next one.
        (
            "<p value=\"x1\" name=\"password\"/>\n<p value=\"v1\" name=\"city\"/>\n",
            "<p value=\"***\" name=\"password\"/>\n<p value=\"v1\" name=\"city\"/>\n",
        ),
        // Clojure, Lisp.
        (
            "{:id 1, :ssn \"x1\", :city \"Lund\"}\n(:ssn \"x2\" ::ssn \"v\")\n",
            "{:id 1, :ssn \"***\", :city \"Lund\"}\n(:ssn \"***\" ::ssn \"v\")\n",
        ),
        (
            "ALTER USER ada WITH PASSWORD 'x1' VALID UNTIL 'v';\nThe password 'v' is old.\n",
            "ALTER USER ada WITH PASSWORD '***' VALID UNTIL 'v';\nThe password 'v' is old.\n",
        ),
        (
            "  password \"x1\";\npassword \"v1\" deleted\n",
            "  password \"***\";\npassword \"v1\" deleted\n",
        ),
    ] {
        gives(text, out);
    }
}

/// What databases say about a row that they refuse.
#[test]
fn an_error_tells_of_a_row() {
    gives(
        "CREATE TABLE people (id int, ssn text, city text);\nERROR:  new row for relation \"people\" violates check constraint \"c\"\nDETAIL:  Failing row contains (1, x1, Lund).\nERROR:  null value in column \"b\" of relation \"other\" violates not-null constraint\nDETAIL:  Failing row contains (1, v1, null).\n",
        "CREATE TABLE people (id int, ssn text, city text);\nERROR:  new row for relation \"people\" violates check constraint \"c\"\nDETAIL:  Failing row contains (1, ***, Lund).\nERROR:  null value in column \"b\" of relation \"other\" violates not-null constraint\nDETAIL:  Failing row contains (1, v1, null).\n",
    );
    // The row has the order of the table, which nobody knows.
    gives(
        "INSERT INTO people (ssn, id) VALUES ('x1', 1);\nERROR:  new row for relation \"people\" violates check constraint \"c\"\nDETAIL:  Failing row contains (1, x1, null).\n",
        "INSERT INTO people (ssn, id) VALUES ('***', 1);\nERROR:  new row for relation \"people\" violates check constraint \"c\"\nDETAIL:  Failing row contains (***, ***, null).\n",
    );
    gives(
        "Duplicate entry 'x1' for key 'people.ssn'\nIncorrect integer value: 'x2' for column 'ssn' at row 1\nDuplicate entry 'v' for key 'PRIMARY'\n",
        "Duplicate entry '***' for key 'people.ssn'\nIncorrect integer value: '***' for column 'ssn' at row 1\nDuplicate entry 'v' for key 'PRIMARY'\n",
    );
    // And what a plan is about.
    for (text, out) in [
        (
            "   Filter: ((ssn)::text = 'x1'::text)\n",
            "   Filter: ((ssn)::text = '***'::text)\n",
        ),
        (
            "   Index Cond: (lower((ssn)::text) = 'x1'::text)\n",
            "   Index Cond: (lower((ssn)::text) = '***'::text)\n",
        ),
        (
            "   Filter: (ssn = ANY ('{x1,x2}'::text[]))\n",
            "   Filter: (ssn = ANY ('***'::text[]))\n",
        ),
        (
            " WHERE ((ssn)::text = ANY (ARRAY['x1', 'x2'])) AND id = ANY (ARRAY[1, 2])\n",
            " WHERE ((ssn)::text = ANY (ARRAY['***', '***'])) AND id = ANY (ARRAY[1, 2])\n",
        ),
        (
            "   Filter: ((ssn <> 'x1'::text) AND (id <> 'v'::text) AND (f(id) = 'w'))\n",
            "   Filter: ((ssn <> '***'::text) AND (id <> 'v'::text) AND (f(id) = 'w'))\n",
        ),
        (
            "where upper(ssn)='x1' and ssn::varchar = 'x2' and (ssn) = (id)\n",
            "where upper(ssn)='***' and ssn::varchar = '***' and (ssn) = (id)\n",
        ),
    ] {
        gives(text, out);
    }
    gives(
        "DETAIL:  Key (lower(ssn::text), id)=(x1, 5) already exists.\n",
        "DETAIL:  Key (lower(ssn::text), id)=(***, 5) already exists.\n",
    );
}

/// Texts of several lines end with their quote, or with the word that they began with.
#[test]
fn a_text_ends_where_it_says() {
    gives(
        "ssn: 'x1\n\n  x2: x3\n\n  it''s x4' # c\ncity: Lund\n",
        "ssn: '***\n\n  ***\n\n  ***' # c\ncity: Lund\n",
    );
    gives(
        "{'city': 'Lund',\n 'ssn': 'x1 '\n        'x2: 3 '\n        \"x4's\",\n 'zip': '1'}\n{'ssn': 'x5'\n}\n",
        "{'city': 'Lund',\n 'ssn': '***'\n        '***'\n        \"***\",\n 'zip': '1'}\n{'ssn': '***'\n}\n",
    );
    gives(
        "  + password = <<-EOT\n        x1\n        x2: 3\n    EOT\n  + city     = \"Lund\"\n",
        "  + password = <<-EOT\n        ***\n        ***\n    EOT\n  + city     = \"Lund\"\n",
    );
    gives(
        " db:\n-  password: |\n-    x1\n+  password: |\n+    x2\n   host: h1\n",
        " db:\n-  password: |\n-    ***\n+  password: |\n+    ***\n   host: h1\n",
    );
}

/// Headers and rows of tools, and what stands between them.
#[test]
fn tables_have_their_ways() {
    for (text, out) in [
        // A title in the box, of gcloud.
        (
            "┌──────────┐\n│  PEOPLE  │\n├────┬─────┤\n│ ID │ SSN │\n├────┼─────┤\n│ a  │ x11 │\n└────┴─────┘\n",
            "┌──────────┐\n│  PEOPLE  │\n├────┬─────┤\n│ ID │ SSN │\n├────┼─────┤\n│ a  │ *** │\n└────┴─────┘\n",
        ),
        // pandas, where more columns come below.
        (
            "   id  ssn  \\\n0   1  x11   \n1   2  x22   \n\n   city  \n0  Lund  \n",
            "   id  ssn  \\\n0   1  ***   \n1   2  ***   \n\n   city  \n0  Lund  \n",
        ),
        // Fixed width: one space is enough.
        (
            "ID   SSN  CITY\n0001 x11  Lund\n0002 x22  Oslo\n",
            "ID   SSN  CITY\n0001 ***  Lund\n0002 ***  Oslo\n",
        ),
        // The next result of `psql --csv` and `mysql -B`.
        (
            "id,ssn\n1,x1\nssn\nx2\nx3\n",
            "id,ssn\n1,***\nssn\n***\n***\n",
        ),
        (
            "id,ssn,city\n1,x1,Lund\nINSERT INTO t (a,ssn,c) VALUES ('v1','x2','v2');\nCOPY t (a, ssn) FROM stdin;\nv3\tx3\n\\.\n",
            "id,ssn,city\n1,***,Lund\nINSERT INTO t (a,ssn,c) VALUES ('v1','***','v2');\nCOPY t (a, ssn) FROM stdin;\nv3\t***\n\\.\n",
        ),
        (
            "id,ssn,city\n1,x1,Lund\ninsert into s.\"t\" values\n2,x2,Lund\n",
            "id,ssn,city\n1,***,Lund\ninsert into s.\"t\" values\n2,***,Lund\n",
        ),
        // Rows may begin like a statement.
        (
            "title,ssn,notes\nnurse,x1,v\nCopy editor,x2,a;b;\ninsert into life,x3,values\ncopy (a),x4,v;\nCOPY t (a, x5, b) FROM stdin;\ninsert into t values (1),x6,(b);\ninsert into t (v) values ('a,x7,v;\ncopy of a,x8,with,more;\nnurse,x9,v\n",
            "title,ssn,notes\nnurse,***,v\nCopy editor,***,a;b;\ninsert into life,***,values\ncopy (a),***,v;\nCOPY t (a, ***, b) FROM stdin;\ninsert into t values (1),***,(b);\ninsert into t (v) values ('a,***,v;\ncopy of a,***,***,more;\nnurse,***,v\n",
        ),
        (
            "title,ssn\nCopy editor,x1;\n",
            "title,ssn\nCopy editor,***\n",
        ),
        (
            " Column | Type \n--------+------\n id     | integer\n ssn    | character varying(20)\n(2 rows)\n",
            " Column | Type \n--------+------\n id     | integer\n ssn    | character varying(20)\n(2 rows)\n",
        ),
        (
            "$ id  <int> 1, 2\n$ ssn <chr> \"x1\", \"x2\"\n",
            "$ id  <int> 1, 2\n$ ssn <chr> ***\n",
        ),
    ] {
        gives(text, out);
    }
}

#[test]
fn markup_has_its_ways() {
    for (text, out) in [
        (
            "&lt;id&gt;5&lt;/id&gt;&lt;ssn a=&quot;b&quot;&gt;x1&lt;/ssn&gt;\n",
            "&lt;id&gt;5&lt;/id&gt;&lt;ssn a=&quot;b&quot;&gt;***&lt;/ssn&gt;\n",
        ),
        // What has no content has no end.
        (
            "<input name=\"ssn\" value=\"x1\">\n<p>Words</p><input value='x2' name='ssn'><p>more</p>\n",
            "<input name=\"ssn\" value=\"***\">\n<p>Words</p><input value='***' name='ssn'><p>more</p>\n",
        ),
        // pandas' rows have heads.
        (
            "<table><tr><th></th><th>ssn</th></tr><tr><th>0</th><td>x1</td></tr><tr><th>1</th><td>x2</td></tr></table>\n",
            "<table><tr><th></th><th>ssn</th></tr><tr><th>0</th><td>***</td></tr><tr><th>1</th><td>***</td></tr></table>\n",
        ),
        (
            "<table><tr><th colspan=\"2\">a</th><th>ssn</th></tr><tr><td>v1</td><td>v2</td><td>x1</td></tr></table>\n",
            "<table><tr><th colspan=\"2\">a</th><th>ssn</th></tr><tr><td>v1</td><td>v2</td><td>***</td></tr></table>\n",
        ),
        (
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td rowspan=2>1</td><td>x1</td></tr><tr><td>x2</td></tr><tr><td>v1</td><td>x3</td></tr></table>\n",
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td rowspan=2>1</td><td>***</td></tr><tr><td>***</td></tr><tr><td>v1</td><td>***</td></tr></table>\n",
        ),
        (
            "<table><tr><th rowspan=2>id</th><th colspan=2>n</th></tr><tr><th>a</th><th>ssn</th></tr><tr><td>1</td><td>v1</td><td>x1</td></tr></table>\n",
            "<table><tr><th rowspan=2>id</th><th colspan=2>n</th></tr><tr><th>a</th><th>ssn</th></tr><tr><td>1</td><td>v1</td><td>***</td></tr></table>\n",
        ),
        (
            "<table><tr><th>id<th>ssn\n<tr><td>1<td>x1\n<tr><td>2<td>x2\n</table>\n",
            "<table><tr><th>id<th>ssn\n<tr><td>1<td>***\n<tr><td>2<td>***\n</table>\n",
        ),
        (
            "<table><tr><th>id</th><td>1</td><td>2</td></tr><tr><th>ssn</th><td>x1</td><td>x2</td></tr></table>\n",
            "<table><tr><th>id</th><td>1</td><td>2</td></tr><tr><th>ssn</th><td>***</td><td>***</td></tr></table>\n",
        ),
        (
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td>1</td><td>x1<table><tr><td>x2</td><td>x3</td></tr></table>x4</td></tr><tr><td>2</td><td>x5</td></tr></table>\n",
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td>1</td><td>***<table><tr><td>***</td><td>***</td></tr></table>***</td></tr><tr><td>2</td><td>***</td></tr></table>\n",
        ),
        (
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td>1<td><table><tr><td><table><tr><td>x1</table><td>x2</table>x3<tr><td>2<td>x4</table>\n",
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td>1<td><table><tr><td><table><tr><td>***</table><td>***</table>***<tr><td>2<td>***</table>\n",
        ),
        // Heads beside cells: an empty corner, or the names of columns.
        (
            "<table><tr><td></td><th>ssn</th><th>city</th></tr><tr><td>1</td><td>x1</td><td>Lund</td></tr><tr><td>2</td><td>x2</td><td>Oslo</td></tr></table>\n",
            "<table><tr><td></td><th>ssn</th><th>city</th></tr><tr><td>1</td><td>***</td><td>Lund</td></tr><tr><td>2</td><td>***</td><td>Oslo</td></tr></table>\n",
        ),
        (
            "<table><tr><th>ssn</th><th>id</th><td>city</td></tr><tr><td>x1</td><td>1</td><td>Lund</td></tr></table>\n",
            "<table><tr><th>ssn</th><th>id</th><td>city</td></tr><tr><td>***</td><td>1</td><td>Lund</td></tr></table>\n",
        ),
        (
            "<table><tr><td></td><td>ssn</td><td>city</td></tr><tr><td>1</td><td>x1</td><td>Lund</td></tr></table>\n",
            "<table><tr><td></td><td>ssn</td><td>city</td></tr><tr><td>1</td><td>***</td><td>Lund</td></tr></table>\n",
        ),
        (
            "<table><tr><th>ssn</th><td>x1</td></tr><tr><td>note</td><td>v1</td></tr></table>\n",
            "<table><tr><th>ssn</th><td>***</td></tr><tr><td>note</td><td>v1</td></tr></table>\n",
        ),
        // A table in a cell.
        (
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td><table><tr><td>v1</td><td>v2</td></tr></table></td><td>x1</td></tr></table>\n",
            "<table><tr><th>id</th><th>ssn</th></tr><tr><td><table><tr><td>v1</td><td>v2</td></tr></table></td><td>***</td></tr></table>\n",
        ),
    ] {
        gives(text, out);
    }
}

/// A value stands before its name, with members between them or not, in one line or in several.
#[test]
fn a_value_stands_before_its_name() {
    for (text, out) in [
        (
            "[{\"Value\":\"x1\",\"Type\":\"SecureString\",\"Version\":3,\"Name\":\"/app/password\"},{\"Value\":\"v\",\"Type\":\"String\",\"Name\":\"/app/city\"}]\n",
            "[{\"Value\":\"***\",\"Type\":\"SecureString\",\"Version\":3,\"Name\":\"/app/password\"},{\"Value\":\"v\",\"Type\":\"String\",\"Name\":\"/app/city\"}]\n",
        ),
        (
            "{\"value\":{\"a\":\"x1\"},\"meta\":{\"b\":[1,\"}\"]},\"name\":\"ssn\"}\n{\"value\":7,\"labels\":{\"name\":\"ssn\"}}\n",
            "{\"value\":{\"a\":\"***\"},\"meta\":{\"b\":[1,\"}\"]},\"name\":\"ssn\"}\n{\"value\":7,\"labels\":{\"name\":\"ssn\"}}\n",
        ),
        (
            "{\n  \"a\": [\n    {\n      \"value\": \"x1\",\n      \"type\": \"String\",\n      \"name\": \"ssn\"\n    },\n    {\n      \"value\": \"v\",\n      \"type\": \"String\",\n      \"name\": \"city\"\n    }\n  ]\n}\n",
            "{\n  \"a\": [\n    {\n      \"value\": \"***\",\n      \"type\": \"String\",\n      \"name\": \"ssn\"\n    },\n    {\n      \"value\": \"v\",\n      \"type\": \"String\",\n      \"name\": \"city\"\n    }\n  ]\n}\n",
        ),
        (
            "{\n  \"Value\": {\n    \"a\": \"x1\"\n  },\n  \"Name\": \"ssn\"\n}\n",
            "{\n  \"Value\": {\n    \"a\": \"***\"\n  },\n  \"Name\": \"ssn\"\n}\n",
        ),
        (
            "{\n  value: 'x1',\n  enabled: true,\n  name: 'ssn'\n}\n{ value: 'x2', name: 'ssn' }\n{ value: 'v', name: 'city' }\n",
            "{\n  value: '***',\n  enabled: true,\n  name: 'ssn'\n}\n{ value: '***', name: 'ssn' }\n{ value: 'v', name: 'city' }\n",
        ),
        (
            "{'value': \"it's x1\", 'type': 'x', 'name': 'ssn'}\n{:value=>\"x2\", :name=>\"ssn\"}\n",
            "{'value': \"***\", 'type': 'x', 'name': 'ssn'}\n{:value=>\"***\", :name=>\"ssn\"}\n",
        ),
        (
            "{\"j\":\"{\\\"value\\\":\\\"x1\\\",\\\"type\\\":1,\\\"name\\\":\\\"ssn\\\"}\"}\n",
            "{\"j\":\"{\\\"value\\\":\\\"***\\\",\\\"type\\\":1,\\\"name\\\":\\\"ssn\\\"}\"}\n",
        ),
        (
            "<property value=\"x1\" type=\"x\" name=\"ssn\"/>\n<property value=\"v\" type=\"x\" name=\"city\"/>\n",
            "<property value=\"***\" type=\"x\" name=\"ssn\"/>\n<property value=\"v\" type=\"x\" name=\"city\"/>\n",
        ),
        (
            "env:\n  - type: String\n    value: x1\n    note: |\n      v1\n      v2\n    name: ssn\n  - value: v3\n    name: city\n- value: \"x2\"\n  name: ssn\n- {value: x3, name: ssn}\n",
            "env:\n  - type: String\n    value: x**\n    note: |\n      v1\n      v2\n    name: ssn\n  - value: v3\n    name: city\n- value: \"***\"\n  name: ssn\n- {value: \"***\", name: ssn}\n",
        ),
        // Below it nothing names it.
        (
            "a:\n  value: v1\n  b:\n    name: ssn\nc:\n  value: v2\nname: ssn\n  value: v3\n\n  name: ssn\n",
            "a:\n  value: v1\n  b:\n    name: ssn\nc:\n  value: v2\nname: ssn\n  value: x**\n\n  name: ssn\n",
        ),
    ] {
        gives(text, out);
    }
}

/// A value is not waited for longer than what may name it, and not in a line of its own.
#[test]
fn what_may_be_named_is_soon_decided() {
    for pty in [false, true] {
        let mut scanner = scanner::Scanner::new(rules(), Options { pty });
        let mut take = |text: &str| {
            let raw = scanner::Raw::new(bytes::Bytes::copy_from_slice(text.as_bytes()));
            scanner.feed(scanner::Stream::Stdout, raw);
            let mut out = Vec::new();
            while let Some(step) = scanner.next_step() {
                if let scanner::Step::Pass { bytes, .. } = step {
                    out.extend_from_slice(bytes.as_bytes());
                }
            }
            String::from_utf8(out).unwrap()
        };
        assert_eq!(take("value: v1\r\n"), "value: v1\r\n");
        assert_eq!(take("  value: v2\r\n$ "), "  value: v2\r\n$ ");
        assert_eq!(take("\r\n{\"value\": \"v3\"}"), "\r\n{\"value\": \"v3\"}");
        let long = format!("\r\n{{\"value\": 1, \"a\": \"{}", "b ".repeat(600));
        assert_eq!(take(&long), long);
    }
}

/// What a statement compares a column with, and what it sets it to.
#[test]
fn conditions_of_sql_are_read() {
    for (text, out) in [
        (
            "select * from t where ssn IN ('x1','x2') and city in ('v')\nselect a from t where ssn not in ( 'x1', 12 ) or id in (1)\n",
            "select * from t where ssn IN ('***','***') and city in ('v')\nselect a from t where ssn not in ( '***', *** ) or id in (1)\n",
        ),
        (
            "DELETE FROM t WHERE lower(ssn) IN (\n  'x1',\n  'x2'\n) AND id = 'v';\n",
            "DELETE FROM t WHERE lower(ssn) IN (\n  '***',\n  '***'\n) AND id = 'v';\n",
        ),
        (
            "select 1 from t where ssn IN (select ssn from u where id = 'v')\n",
            "select 1 from t where ssn IN (select ssn from u where id = 'v')\n",
        ),
        (
            "select * from t where ssn LIKE 'x1%' and city like 'v' or u.ssn not ilike '%x2'\n",
            "select * from t where ssn LIKE '***' and city like 'v' or u.ssn not ilike '***'\n",
        ),
        (
            "WHERE ssn BETWEEN 'x1' AND 'x2' AND city BETWEEN 'v1' AND 'v2'\n",
            "WHERE ssn BETWEEN '***' AND '***' AND city BETWEEN 'v1' AND 'v2'\n",
        ),
        (
            "where ssn IS DISTINCT FROM 'x1' and ssn >= 'x2' and ssn < 5 and ssn != 'x3' and ssn > 'x4'\n",
            "where ssn IS DISTINCT FROM '***' and ssn >= '***' and ssn < 5 and ssn != '***' and ssn > '***'\n",
        ),
        (
            "   Filter: (((ssn)::text ~~ 'x1%'::text) AND (ssn !~* 'x2'::text) AND ((ssn)::text >= 'x3'::text) AND (city ~~ 'v'::text))\n",
            "   Filter: (((ssn)::text ~~ '***'::text) AND (ssn !~* '***'::text) AND ((ssn)::text >= '***'::text) AND (city ~~ 'v'::text))\n",
        ),
        (
            "UPDATE t SET (id, ssn) = (1,'x1'), city = 'v' WHERE a = (2);\nupdate t set (ssn, b) = ROW('x2', 'v')\n",
            "UPDATE t SET (id, ssn) = (1,'***'), city = 'v' WHERE a = (2);\nupdate t set (ssn, b) = ROW('***', 'v')\n",
        ),
        (
            "INSERT INTO t (id, ssn) VALUES ROW(1,'x1'), ROW(2,'x2');\n",
            "INSERT INTO t (id, ssn) VALUES ROW(1,'***'), ROW(2,'***');\n",
        ),
        (
            "CREATE USER 'a'@'%' IDENTIFIED BY 'x1';\nalter user a identified with mysql_native_password by 'x2' require ssl;\nGRANT ALL ON *.* TO a IDENTIFIED BY PASSWORD 'x3';\nSET PASSWORD FOR 'a'@'b' = 'x4';\n",
            "CREATE USER 'a'@'%' IDENTIFIED BY '***';\nalter user a identified with mysql_native_password by '***' require ssl;\nGRANT ALL ON *.* TO a IDENTIFIED BY PASSWORD '***';\nSET PASSWORD FOR 'a'@'b' = '***';\n",
        ),
        (
            "Violation of UNIQUE KEY constraint 'UQ_t_ssn'. Cannot insert duplicate key in object 'dbo.t'. The duplicate key value is (x1, x2).\n",
            "Violation of UNIQUE KEY constraint 'UQ_t_ssn'. Cannot insert duplicate key in object 'dbo.t'. The duplicate key value is (***).\n",
        ),
        // Other texts, and columns.
        (
            "names like 'password', and a password like 'open sesame' in it\nif ssn in ('a', 'b'):\ncat password > 'a file'\nselect ssn from t where city IN ('v')\nThe user identified by 'v1' came by 'v2'.\n",
            "names like 'password', and a password like 'open sesame' in it\nif ssn in ('a', 'b'):\ncat password > 'a file'\nselect ssn from t where city IN ('v')\nThe user identified by '***' came by 'v2'.\n",
        ),
    ] {
        gives(text, out);
    }
}

/// A word, a name, a space and a value; a text up to a word.
#[test]
fn lines_that_set_a_name_are_read() {
    for (text, out) in [
        (
            "setenv SSN x1\nsetenv CITY v\nset -gx SSN \"x2 x3\"\nset -x CITY v\nset -e SSN v\n",
            "setenv SSN ***\nsetenv CITY v\nset -gx SSN \"***\"\nset -x CITY v\nset -e SSN v\n",
        ),
        (
            "ENV SSN x1 x2\nENV CITY v\nENV SSN=x3 CITY=v\n    proxy_set_header X-Password \"x4\";\n    fastcgi_param SSN x5;\n    fastcgi_param CITY v;\n",
            "ENV SSN ***\nENV CITY v\nENV SSN=*** CITY=v\n    proxy_set_header X-Password \"***\";\n    fastcgi_param SSN ***;\n    fastcgi_param CITY v;\n",
        ),
        (
            "PASSWORD=$(cat <<EOT\nx1\nx2\nEOT\n)\nCITY=v\nexport PASSWORD=\"$(cat <<'EOT'\nx3\nEOT\n)\"\n",
            "PASSWORD=$(cat <<EOT\n***\n***\nEOT\n)\nCITY=v\nexport PASSWORD=\"$(cat <<'EOT'\n***\nEOT\n)\"\n",
        ),
        (
            "password = <<EOT # it is new\nx1\nEOT\npassword = <<-'EOT' > file\n  x2\n  EOT\ncity = v\n",
            "password = <<EOT # it is new\n***\nEOT\npassword = <<-'EOT' > file\n  ***\n  EOT\ncity = v\n",
        ),
    ] {
        gives(text, out);
    }
}

/// A field of a form ends where the next one begins, an option of help before what is said of it.
#[test]
fn a_field_of_a_form_ends() {
    for (text, out) in [
        (
            "ssn=x1&city=Lund&a[b]=%20+c\ncurl -d 'ssn=x2&city=Lund' http://h/\ncurl -d \"a=1&password=x3&city=Lund\" h\n",
            "ssn=***&city=Lund&a[b]=%20+c\ncurl -d 'ssn=***&city=Lund' http://h/\ncurl -d \"a=1&password=***&city=Lund\" h\n",
        ),
        // A value with such signs is whole.
        (
            "PASSWORD=x1&b=x2\nssn=x3&x4\nexport password=x5 x6&a=b\n\"PASSWORD=x1&b=x2\"\n",
            "PASSWORD=***\nssn=***\nexport password=***\n\"PASSWORD=***\"\n",
        ),
        (
            "Usage: a [--ssn=SSN] [--city=CITY]\n  --ssn=SSN        the number\n  --password=x1    the password\n",
            "Usage: a [--ssn=SSN] [--city=CITY]\n  --ssn=SSN        the number\n  --password=***    the password\n",
        ),
    ] {
        gives(text, out);
    }
}

/// Values with commas in them, numbers under keywords, words between values, quoted names.
#[test]
fn values_have_their_ways() {
    for (text, out) in [
        (
            "User{id=1, ssn=x1, x2, city=Lund} and {ssn=x3, x4}\n{amount=1,234.00, city=Lund}\n",
            "User{id=1, ssn=***, city=Lund} and {ssn=***}\n{amount=1,234.00, city=Lund}\n",
        ),
        (
            "{Name:Ada B. Ssn:x1, x2 City:Lund}\nUser(id=1, password=x3, city=Lund), f(password=x4) v\n",
            "{Name:Ada B. Ssn:*** City:Lund}\nUser(id=1, password=***, city=Lund), f(password=***) v\n",
        ),
        (
            "{:id 1, :ssn 12, :city \"Lund\"}\n[:ssn 12]\n(f :ssn 12)\n",
            "{:id 1, :ssn \"***\", :city \"Lund\"}\n[:ssn 12]\n(f :ssn 12)\n",
        ),
        (
            "['id', 'ssn', 'city']\n[(<Foo at 0x1>, 'x1', 'Lund'), (Foo, 'x2', 'Oslo')]\n",
            "['id', 'ssn', 'city']\n[(<Foo at 0x1>, '***', 'Lund'), (Foo, '***', 'Oslo')]\n",
        ),
        (
            "\"city\"\t\"Lund\"\n\n\"ssn\"\t\"x1\"\n\n\"password\"\tx2\n",
            "\"city\"\t\"Lund\"\n\n\"ssn\"\t\"***\"\n\n\"password\"\t***\n",
        ),
        (
            "ERROR:  new row for relation \"p\" violates check constraint \"p_ssn_check\"\nDETAIL:  Failing row contains (1, x1).\n",
            "ERROR:  new row for relation \"p\" violates check constraint \"p_ssn_check\"\nDETAIL:  Failing row contains (***, ***).\n",
        ),
    ] {
        gives(text, out);
    }
}

/// What drivers log of their statements, and where errors and options say a value.
#[test]
fn what_programs_log_of_values() {
    for (text, out) in [
        (
            "INSERT INTO users (id, ssn) VALUES (?, ?)\n[generated in 0.00012s] ('v1', 'x1')\nSELECT id FROM t WHERE id = ?\n[cached since 1.2s ago] ('v2', 'v3')\n",
            "INSERT INTO users (id, ssn) VALUES (?, ?)\n[generated in 0.00012s] ('v1', '***')\nSELECT id FROM t WHERE id = ?\n[cached since 1.2s ago] ('v2', 'v3')\n",
        ),
        (
            "[SQL: INSERT INTO users (id, ssn) VALUES (%s, %s)]\n[parameters: [('v1', 'x1'), ('v2', 'x2')]]\n(Background: v3)\n",
            "[SQL: INSERT INTO users (id, ssn) VALUES (%s, %s)]\n[parameters: [('v1', '***'), ('v2', '***')]]\n(Background: v3)\n",
        ),
        (
            "SELECT users.id FROM users WHERE users.ssn = ?\n[generated in 0.1s] ('x1',)\n",
            "SELECT users.id FROM users WHERE users.ssn = ?\n[generated in 0.1s] ('***',)\n",
        ),
        (
            "(0.001) INSERT INTO \"t\" (\"id\", \"ssn\") VALUES ('v1', 'x1') RETURNING \"id\"; args=('v1', 'x1'); alias=v2\n",
            "(0.001) INSERT INTO \"t\" (\"id\", \"ssn\") VALUES ('v1', '***') RETURNING \"id\"; args=('v1', '***'); alias=v2\n",
        ),
        (
            "SELECT \"t\".\"ssn\" FROM \"t\" WHERE \"t\".\"ssn\" = 'x1' LIMIT 21; args=('x1',); alias=a\nSELECT \"t\".\"ssn\" FROM \"t\" WHERE \"t\".\"id\" = 'v' LIMIT 21; args=('v',); alias=a\n",
            "SELECT \"t\".\"ssn\" FROM \"t\" WHERE \"t\".\"ssn\" = '***' LIMIT 21; args=('***',); alias=a\nSELECT \"t\".\"ssn\" FROM \"t\" WHERE \"t\".\"id\" = 'v' LIMIT 21; args=('v',); alias=a\n",
        ),
        (
            "{\"detail\":[{\"loc\":[\"body\",\"ssn\"],\"msg\":\"v1\",\"input\":\"x1\"},{\"loc\":[\"body\",\"city\"],\"msg\":\"v2\",\"input\":\"v3\"}],\"input\":\"v4\"}\n",
            "{\"detail\":[{\"loc\":[\"body\",\"ssn\"],\"msg\":\"v1\",\"input\":\"***\"},{\"loc\":[\"body\",\"city\"],\"msg\":\"v2\",\"input\":\"v3\"}],\"input\":\"v4\"}\n",
        ),
        (
            "aws ssm put-parameter --name password --value x1 --type v\naws ssm put-parameter --name city --value v1\n[{Name:PASSWORD Value:x2 ValueFrom:nil} {Name:CITY Value:v2}]\n",
            "aws ssm put-parameter --name password --value *** --type v\naws ssm put-parameter --name city --value v1\n[{Name:PASSWORD Value:*** ValueFrom:nil} {Name:CITY Value:v2}]\n",
        ),
        (
            "<ssn value=\"x1\"/><city value=\"v1\"/>\n<db:password v=\"x2\"/><kv k=\"ssn\" v=\"x3\"/><kv k=\"city\" v=\"v2\"/>\n",
            "<ssn value=\"***\"/><city value=\"v1\"/>\n<db:password v=\"***\"/><kv k=\"ssn\" v=\"***\"/><kv k=\"city\" v=\"v2\"/>\n",
        ),
        (
            "Number (SSN): x1\nSSN#: x2\nssn.......: x3\n*Password*: x4\ncity (SSN) a: v\n",
            "Number (SSN): x1\nSSN#: x**\nssn.......: x**\n*Password*: x**\ncity (SSN) a: v\n",
        ),
        (
            "\"userPassword\":\n  \"name\": \"x1\"\n  \"x\": x2\n\"city\": \"v\"\n",
            "\"userPassword\":\n  \"name\": \"***\"\n  \"x\": \"***\"\n\"city\": \"v\"\n",
        ),
        (
            "login (user=0x55 \"v\", password=0x55 \"x1\") at a.c:3\n",
            "login (user=0x55 \"v\", password=*** \"***\") at a.c:3\n",
        ),
        (
            "jdbc:sqlserver://h:1433;databaseName=v;user=bob;password=x1;encrypt=true\nurl=a://h;password=x2;b=v\n",
            "jdbc:sqlserver://h:1433;databaseName=v;user=bob;password=***;encrypt=true\nurl=a://h;password=***;b=v\n",
        ),
    ] {
        gives(text, out);
    }
}

/// Whatever stands for a value, nothing of it is left, and all that is not protected is.
#[test]
fn every_mask_hides_every_form() {
    const VALUE: &str = "Tz7qK9x2w";
    let forms = [
        "{\"a\":1,\"ssn\":\"@\",\"city\":\"Lund\"}\n",
        "{\"value\":\"@\",\"type\":\"s\",\"name\":\"ssn\"} Lund\n",
        "{\n  \"value\": \"@\",\n  \"name\": \"ssn\"\n}\nLund\n",
        "- value: @\n  name: ssn\n- value: Lund\n  name: city\n",
        "<p value=\"@\" a=\"b\" name=\"ssn\"/>Lund\n",
        "{\"columns\":[\"id\",\"ssn\"],\"rows\":[[1,\"@\"],[Lund,\"@\"]]}\n",
        "{\"data\":\"{\\\"ssn\\\":\\\"@\\\",\\\"city\\\":\\\"Lund\\\"}\"}\n",
        "id,ssn,city\n1,@,Lund\n2,\"@\",Lund\n",
        " id | ssn       | city\n----+-----------+------\n  1 | @ | Lund\n(1 row)\n",
        "NAME   SSN         CITY\na      @   Lund\nb      @   Lund\n",
        "select * from t where ssn IN ('@', '@') and city = 'Lund'\n",
        "where ssn LIKE '@' and ssn BETWEEN '@' AND '@' and city = 'Lund'\n",
        "UPDATE t SET (id, ssn) = (1,'@'), city = 'Lund'\n",
        "INSERT INTO t (id, ssn, city) VALUES ROW(1,'@','Lund');\n",
        "CREATE USER Lund IDENTIFIED BY '@';\n",
        "DETAIL:  Key (city, ssn)=(Lund, @) already exists.\n",
        "setenv SSN @\nset -x SSN '@'\nENV SSN @\nLund\n",
        "PASSWORD=$(cat <<EOT\n@\nEOT\n)\nLund\n",
        "ssn=@&city=Lund\n",
        "--ssn @ --city Lund\n",
        "User{id=1, ssn=@, @, city=Lund}\n",
        "{:id 1, :ssn \"@\", :city \"Lund\"}\n",
        "[{id,1},{ssn,\"@\"},{city,\"Lund\"}]\n",
        "Map(ssn -> @, city -> Lund)\n",
        "((ssn . \"@\") (city . \"Lund\"))\n",
        "password = <<-EOT\n    @\n  EOT\ncity = Lund\n",
        "ssn: |\n  @\n  @\ncity: Lund\n",
        "password: 'aaa @\n  @'\ncity: Lund\n",
        "array(1) {\n  [\"ssn\"]=>\n  string(9) \"@\"\n}\nLund\n",
        "<ssn>@</ssn><city>Lund</city>\n",
        "<table><tr><th>ssn</th><th>city</th></tr><tr><td>@</td><td>Lund</td></tr></table>\n",
        "--X\nContent-Disposition: form-data; name=\"ssn\"\n\n@\n--X--\nLund\n",
    ];
    let masks = [
        Mask::Redact,
        Mask::Last4,
        Mask::Token,
        Mask::StableToken,
        Mask::Format,
        Mask::Drop,
    ];
    for mask in masks {
        let rule = Rule::new("r", Action::Mask(mask))
            .field("ssn")
            .field("password");
        let rules = RulesBuilder::new()
            .rule(rule)
            .token_key(b"a key of the test")
            .stable_key(b"another of the test");
        let rules = Arc::new(rules.build().unwrap());
        for form in forms {
            let text = form.replace('@', VALUE);
            for (pty, size) in [
                (false, 1),
                (false, text.len()),
                (true, 1),
                (true, text.len()),
            ] {
                let out = support::scan(rules.clone(), Options { pty }, &text, size);
                let out = String::from_utf8(out).unwrap();
                let what = format!("{mask:?}, {pty}, in pieces of {size}: {out}");
                let leaks = VALUE
                    .as_bytes()
                    .windows(5)
                    .any(|part| out.contains(std::str::from_utf8(part).unwrap()));
                assert!(!leaks, "{what}");
                assert_eq!(
                    out.matches("Lund").count(),
                    text.matches("Lund").count(),
                    "{what}"
                );
                let marks = |text: &str| {
                    text.chars()
                        .filter(|c| "{}[]()<>\n|".contains(*c))
                        .collect::<String>()
                };
                assert_eq!(marks(&out), marks(&text), "{what}");
            }
        }
    }
}

/// What is too long to be waited for is masked, whatever stands in it.
#[test]
fn an_escaped_element_without_an_end_is_masked() {
    let long = format!("&lt;ssn&gt;x1&amp;{}x2\ncity\n", "x3&".repeat(30_000));
    for size in [4096, 64 * 1024] {
        let out = scan(&long, false, size);
        assert!(!out.contains('x'), "in pieces of {size}: {out}");
        assert!(out.ends_with("city\n"), "in pieces of {size}: {out}");
    }
}

/// Bars that stand where somebody wrote them: rows are told by how many there are.
#[test]
fn bars_need_not_stand_under_those_of_the_header() {
    for (text, out) in [
        // No bar at the end of the lines, or only at that of the header.
        (
            "| id | ssn | city\n| 1 | x1 | Lund\n| 2 | x2 | Lund\n| 3 | x3 | Rome\n",
            "| id | ssn | city\n| 1 | ** | Lund\n| 2 | ** | Lund\n| 3 | ** | Rome\n",
        ),
        (
            "| id | ssn | city |\n|---|---|---|\n| 1 | x1 | Lund\n| 2 | x2 |\n| 3 | x3 | Rome\n",
            "| id | ssn | city |\n|---|---|---|\n| 1 | ** | Lund\n| 2 | ** |\n| 3 | ** | Rome\n",
        ),
        // Where more is missing, a line may go on with the row before: all of it is masked.
        (
            "| id | ssn | city |\n| 1 | x1\n| x2 | Lund |\n| 3 | x3 | Rome |\n",
            "| id | ssn | city |\n| 1 | **\n| ** | ******\n| 3 | ** | Rome |\n",
        ),
        (
            "name | ssn | city\nbob | x1 | Lund\neve smith | x2 | New York\nann |  | Rome\n",
            "name | ssn | city\nbob | *** | Lund\neve smith | *** | New York\nann |  | Rome\n",
        ),
        // Markdown.
        (
            "Name | Password\n-----|---------\nbob | x1\n",
            "Name | Password\n-----|---------\nbob | ***\n",
        ),
        (
            "Name | Password\n:--- | ---:\nAnna Lee | x1\n",
            "Name | Password\n:--- | ---:\nAnna Lee | ***\n",
        ),
        // A bar in a cell: nobody knows in which.
        (
            "name | ssn | city\nx | y z | x1 | Lund\n",
            "name | ssn | city\nx | *** | *** | Lund\n",
        ),
        // Where it stands where it should, one before it is in the cell.
        (
            "note      | ssn\na | b     | x1\n",
            "note      | ssn\na | b     | **\n",
        ),
        // What a shell is told, and other text.
        (
            "name | ssn\nbob | x1\n$ cat a | wc\nada@db:~/a/long/path$ cat a | wc\nuse [a|b]\n",
            "name | ssn\nbob | ***\n$ cat a | wc\nada@db:~/a/long/path$ cat a | wc\nuse [a|b]\n",
        ),
        (
            "name | ssn | city\na line of text | with a bar\n",
            "name | ssn | city\na line of text | with a bar\n",
        ),
        // Names that leave columns out.
        (
            "    name  ssn  ...  city\n0    bob   x1  ...  Lund\n",
            "    name  ssn  ...  city\n0    bob   **  ...  Lund\n",
        ),
        (
            "name,ssn,...,city\nbob,x1,...,Lund\n",
            "name,ssn,...,city\nbob,***,...,Lund\n",
        ),
        (
            "| name | ... | ssn |\n| bob | ... | x1 |\n",
            "| name | ... | ssn |\n| bob | ... | ** |\n",
        ),
    ] {
        gives(text, out);
    }
}

/// What a terminal is shown of a text that goes on.
fn fed(text: &str) -> String {
    let mut scanner = scanner::Scanner::new(rules(), Options { pty: true });
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(3) {
        let raw = scanner::Raw::new(bytes::Bytes::copy_from_slice(piece));
        scanner.feed(scanner::Stream::Stdout, raw);
        while let Some(step) = scanner.next_step() {
            if let scanner::Step::Pass { bytes, .. } = step {
                out.extend_from_slice(bytes.as_bytes());
            }
        }
    }
    String::from_utf8(out).unwrap()
}

/// A question under a table does not wait for its answer, what is typed is shown.
#[test]
fn under_bars_a_prompt_is_shown_at_once() {
    for (text, out) in [
        (
            "name | ssn\r\nann lee | x1\r\n",
            "name | ssn\r\nann lee | ***\r\n",
        ),
        (
            "ssn | name\r\nx1abc | bob\r\n",
            "ssn | name\r\n*** | bob\r\n",
        ),
    ] {
        for prompt in [
            "ada@db:~/a/b$ cat a | grep ",
            "Enter it: ",
            "Who is it: ",
            "mysql> ",
        ] {
            assert_eq!(fed(&format!("{text}{prompt}")), format!("{out}{prompt}"));
        }
    }
}

/// A box around names and their values is no table, though its first line looks like a header.
#[test]
fn a_box_may_be_a_record() {
    let boxes = |text: &str| {
        [
            text.to_owned(),
            text.replace('|', "│").replace('+', "┌").replace('-', "─"),
            text.replace('|', "┃").replace('+', "┏").replace('-', "━"),
        ]
    };
    for (text, out) in [
        (
            "+----------+-------+\n| name     | bob   |\n| password | x1    |\n| city     | Lund  |\n| ssn      | plain |\n+----------+-------+\n",
            "+----------+-------+\n| name     | bob   |\n| password | **    |\n| city     | Lund  |\n| ssn      | ***** |\n+----------+-------+\n",
        ),
        // One after the other, the protected name first.
        (
            "+----------+------+\n| password | x1   |\n| city     | Lund |\n| ssn      | x2   |\n+----------+------+\n+----------+------+\n| password | x1   |\n| city     | Lund |\n| ssn      | x2   |\n+----------+------+\nend\n",
            "+----------+------+\n| password | **   |\n| city     | Lund |\n| ssn      | **   |\n+----------+------+\n+----------+------+\n| password | **   |\n| city     | Lund |\n| ssn      | **   |\n+----------+------+\nend\n",
        ),
        // A line below the first row: a table, of any words.
        (
            "+----------+------+\n| password | city |\n+----------+------+\n| apple    | Lund |\n| b        | Rome |\n+----------+------+\n",
            "+----------+------+\n| password | city |\n+----------+------+\n| *****    | Lund |\n| *        | Rome |\n+----------+------+\n",
        ),
        // And none, but no word.
        (
            "+----------+------+\n| password | city |\n| x1       | Lund |\n| b        | Rome |\n+----------+------+\n",
            "+----------+------+\n| password | city |\n| **       | Lund |\n| *        | Rome |\n+----------+------+\n",
        ),
    ] {
        for (text, out) in boxes(text).iter().zip(boxes(out)) {
            gives(text, &out);
        }
    }
}

/// A line under a header says nothing of its columns where it has no gaps.
#[test]
fn a_rule_may_be_longer_than_its_header() {
    for rule in [
        "-".repeat(40),
        "=".repeat(30),
        "─".repeat(40),
        "-".repeat(3),
    ] {
        gives(
            &format!(
                "NAME      PASSWORD    CITY\n{rule}\nbob       x1          Lund\neve       apple       Rome\n"
            ),
            &format!(
                "NAME      PASSWORD    CITY\n{rule}\nbob       **          Lund\neve       *****       Rome\n"
            ),
        );
    }
}

/// Parameters of a URL follow its host.
#[test]
fn a_url_may_have_parameters_behind_its_host() {
    for (text, out) in [
        (
            "jdbc:sqlserver://h:1433;databaseName=x;user=bob;password=x1;encrypt=true\n",
            "jdbc:sqlserver://h:1433;databaseName=x;user=bob;password=***;encrypt=true\n",
        ),
        (
            "jdbc:as400://h;password=x@1\n",
            "jdbc:as400://h;password=***\n",
        ),
        (
            "a://h,password=x1 a://[::1]:7;ssn=x2\n",
            "a://h,password=*** a://[::1]:7;ssn=***\n",
        ),
        (
            "{\"u\":\"a://h;password=x1\"}\n",
            "{\"u\":\"a://h;password=***\"}\n",
        ),
        ("a://b:c@h:7;password=x1\n", "a://b:***@h:7;password=***\n"),
        // In a password, or before it.
        ("a://b:c;d=e@h:7\n", "a://b:***@h:7\n"),
        ("redis://u:1234;abc=x1@h/\n", "redis://u:***@h/\n"),
        ("https://u:12345;x=x1@h\n", "https://u:***@h\n"),
        (
            "imap://bob;AUTH=PLAIN:x1@h/ smb://dom;bob:x2@h/share\n",
            "imap://bob;AUTH=PLAIN:***@h/ smb://dom;bob:***@h/share\n",
        ),
        (
            "smb://dom;bob:pa/ss@host/share https://bob@corp:99;pw=zz@h/p\n",
            "smb://dom;bob:***@host/share https://bob@corp:***@h/p\n",
        ),
        (
            "jdbc:mysql://u:99&x=x1@h:3306/d\n",
            "jdbc:mysql://u:***@h:3306/d\n",
        ),
        // Several users, or several hosts.
        (
            "mongodb://u:a@h1,v:x1@h2/db amqp://u:x2@h1:1;u:x3@h2:2/x\n",
            "mongodb://u:***@h2/db amqp://u:***@h2:2/x\n",
        ),
        (
            "mongodb://u:x1@h1:27017,h2:27017/db?x=a@b kafka://h1:9092,h2:9092/t@x\n",
            "mongodb://u:***@h1:27017,h2:27017/db?x=a@b kafka://h1:9092,h2:9092/t@x\n",
        ),
        // A field says what it is.
        (
            "a://h:1;x=1;password=p@1 jdbc:sqlserver://h:1;user=b@c;password=p@1;b=c\n",
            "a://h:1;x=1;password=*** jdbc:sqlserver://h:1;user=b@c;password=***;b=c\n",
        ),
        (
            "see https://a;b=c and http://a:80;d\n",
            "see https://a;b=c and http://a:80;d\n",
        ),
    ] {
        gives(text, out);
    }
}

/// Fields between braces and arguments end at a comma, also where blanks stand around the sign.
#[test]
fn a_bare_value_ends_before_the_next_name() {
    for (text, out) in [
        (
            "def f(password = None, city = None):\n",
            "def f(password = None, city = None):\n",
        ),
        (
            "User { Password = one two, City = Lund } { ssn = null, city = 3 }\n",
            "User { Password = ***, City = Lund } { ssn = null, city = 3 }\n",
        ),
        (
            "foo = { password = var.x, name = \"y\" }\n",
            "foo = { password = ***, name = \"y\" }\n",
        ),
        (
            "{ ssn = 3, city = \"x\" }\nf(password = x1,city = y, n = 2)\n",
            "{ ssn = ***, city = \"x\" }\nf(password = ***,city = y, n = 2)\n",
        ),
        // A comma may be part of it.
        (
            "{Password:one, two City:Lund}\n",
            "{Password:*** City:Lund}\n",
        ),
    ] {
        gives(text, out);
    }
}

/// Passwords have any sign: a quote or a backslash within a word does not end it.
#[test]
fn quotes_and_backslashes_belong_to_a_word() {
    for value in [
        "ab\"cd",
        "ab'cd",
        "ab`cd",
        "ab\\cd",
        "ab\"'\\cd",
        "a\"b\"c",
        "ab\"cd\"",
        "DOM\\bob",
        "it's",
    ] {
        for (before, behind) in [("a=1 ", " x=1\n"), ("a: b ", "\n"), ("$ run -p ", "\r\n")] {
            gives(
                &format!("{before}password={value}{behind}"),
                &format!("{before}password=***{behind}"),
            );
        }
    }
    // Quotes that stand around it, and an end of line that is written out.
    gives(
        "say 'a=1 password=x'and y\n",
        "say 'a=1 password=***'and y\n",
    );
    gives("a=1 password=x\\nb=2\n", "a=1 password=***\\nb=2\n");
    gives("use `a=1 password=x`s\n", "use `a=1 password=***`s\n");
}

/// Names in a program stand in no row, and its documentation says no values.
#[test]
fn names_of_a_program_are_no_values() {
    for text in [
        "users = [\n    (\"bob\", \"password\"),\n    (name, city),\n]\n",
        "class Meta:\n    fields = [\"ssn\"]\n    widgets = [(a, b)]\n",
        "fields = [\\\"ssn\\\"]\n[[rule]]\n",
        "    password (str): The plaintext password\n    ssn (int, optional): A number.\n",
        " - `password` (string): The password\n",
        "The password (see below): must be long\n",
    ] {
        gives(text, text);
    }
}

/// What `grep -n`, `cat -n`, an editor and `diff` write before each line of a table.
#[test]
fn lines_of_a_table_may_have_something_before_them() {
    for (text, out) in [
        (
            "1:id,ssn,name\n2:1,x1,bob\n",
            "1:id,ssn,name\n2:1,***,bob\n",
        ),
        (
            "a.csv:9:id\tssn\tname\na.csv:10:1\tx1\tbob\n",
            "a.csv:9:id\tssn\tname\na.csv:10:1\t***\tbob\n",
        ),
        (
            "     1\tid,ssn,name\n     2\t1,x1,bob\n",
            "     1\tid,ssn,name\n     2\t1,***,bob\n",
        ),
        (
            "     1\tid\tssn\tname\n     2\t1\tx1\tbob\n",
            "     1\tid\tssn\tname\n     2\t1\t***\tbob\n",
        ),
        (
            "  1 id,ssn,name\n  2 1,x1,bob\n",
            "  1 id,ssn,name\n  2 1,***,bob\n",
        ),
        (
            "a.txt: id | ssn | name \na.txt:----+-----+------\na.txt:  1 | x1  | bob\n",
            "a.txt: id | ssn | name \na.txt:----+-----+------\na.txt:  1 | **  | bob\n",
        ),
        (
            "9: id | ssn | name \n10:----+-----+------\n11:  1 | x1  | bob\n",
            "9: id | ssn | name \n10:----+-----+------\n11:  1 | ***  | bob\n",
        ),
        (
            "@@ -10,3 +10,3 @@ id,ssn,password,city\n 10,x1,x2,Lund\n-11,x3,x4,Rome\n+11,x3,x4,Oslo\n@@ -20,3 +20,3 @@ id,ssn,password,city\n 20,x1,x2,Lund\n",
            "@@ -10,3 +10,3 @@ id,ssn,password,city\n 10,***,***,Lund\n-11,***,***,Rome\n+11,***,***,Oslo\n@@ -20,3 +20,3 @@ id,ssn,password,city\n 20,***,***,Lund\n",
        ),
        // What is found in a program, or said of something.
        (
            "12:    name, password, host\n13:    a, b, c\nrequired: email,password\nthis,that\n",
            "12:    name, password, host\n13:    a, b, c\nrequired: email,password\nthis,that\n",
        ),
    ] {
        gives(text, out);
    }
}

/// A table right behind another one has a header of its own.
#[test]
fn boxes_may_follow_each_other() {
    let text = "+----+------+\n| id | ssn  |\n+----+------+\n| 1  | x1   |\n+----+------+\n+------+----+----------+---+\n| city | id | password | n |\n+------+----+----------+---+\n| Lund | 1  | x2       | 7 |\n+------+----+----------+---+\n";
    let drawn = |text: &str| {
        let lines = text.replace('|', "│").replace('-', "─");
        lines.replace('+', "┌")
    };
    let out = text.replace("x1", "**").replace("x2", "**");
    gives(text, &out);
    gives(&drawn(text), &drawn(&out));
    // Of Markdown only the line below tells.
    gives(
        "| id | ssn |\n|----|-----|\n| 1  | x1  |\n| city | id | password |\n|------|----|----------|\n| Lund | 1  | x2       |\n",
        "| id | ssn |\n|----|-----|\n| 1  | **  |\n| city | ** | password |\n|------|----|----------|\n| Lund | 1  | **       |\n",
    );
}

/// Rows without their last cells end no table; lines of text do.
#[test]
fn rows_may_lack_their_last_cells() {
    for by in [",", ";"] {
        let row = |k: usize, ssn: &str| format!("{k},{ssn},Bob Ray\n").replace(',', by);
        let rows = |ssn: &str| (0..9).map(|k| row(k, ssn)).collect::<String>();
        let header = "id,ssn,name,city,note\n".replace(',', by);
        gives(
            &format!("{header}{}", rows("x1")),
            &format!("{header}{}", rows("***")),
        );
    }
    let text = "a\nb\nc\nd\n1,x1,Bob Ray\n";
    gives(
        &format!("id,ssn,name\n{text}"),
        &format!("id,ssn,name\n{text}"),
    );
}

/// What a shell wants quoted has an apostrophe in its own way.
#[test]
fn shells_quote_an_apostrophe() {
    for (text, out) in [
        (
            "PASSWORD='it'\\''s x1'\nexport SSN='a'\\''b'\\''x2' A='b'\nnext 'y'\n",
            "PASSWORD='***'\nexport SSN='***' A='b'\nnext 'y'\n",
        ),
        (
            "mysql --password 'it'\"'\"'s x1' db 'y'\n",
            "mysql --password '***' db 'y'\n",
        ),
        (
            "{\"a\":\"mysql --password 'it'\\\\''s x1' db\",\"b\":\"PASSWORD='it'\\\"'\\\"'s x2'\",\"c\":\"d\"}\n",
            "{\"a\":\"mysql --password '***' db\",\"b\":\"PASSWORD='***'\",\"c\":\"d\"}\n",
        ),
        // A string that ends is no such.
        (
            "{\"a\":\"PASSWORD='x1'\",\"b\":\"c\"}\nPASSWORD='x2' 'b'\n",
            "{\"a\":\"PASSWORD='***'\",\"b\":\"c\"}\nPASSWORD='***' 'b'\n",
        ),
    ] {
        gives(text, out);
    }
}

/// An element may follow a word of a log directly, and a cell that is too long has any sign in it.
#[test]
fn an_element_and_a_row_are_masked_whatever_stands_before_them() {
    gives(
        "a <user>bob<password>hunter2\n",
        "a <user>bob<password>***\n",
    );
    gives(
        "x<password>\nhunter2\n</password>\n",
        "x<password>\n***\n</password>\n",
    );
    gives(
        "DEBUG <USERID>bob<PASSWORD>hunter2<FI>\n",
        "DEBUG <USERID>bob<PASSWORD>***<FI>\n",
    );
    gives(
        " id | name  | password \n----+-------+----------\n  1 | \"longer name\" | hunter2\n",
        " id | name  | password \n----+-------+----------\n  1 | \"longer name\" | ***\n",
    );
}

/// What looks like the beginning of something is a question in a terminal, and leaves at once.
#[test]
fn a_question_in_a_terminal_is_shown_at_once() {
    let psql = " id |    ssn     | city \r\n----+------------+------\r\n    | ";
    let csv = "\x1b[?1049hid,ssn,c\r\n1,,3\r\n";
    for text in [
        "  Current value: 5\r\n  New value: ",
        // Blanks that begin a line, and words that may begin a setting.
        "  ",
        "x\r\n\t",
        "ENV ",
        "  set -",
        // A pager below a table.
        &format!("{psql}\r\n:\x1b[K"),
        &format!("{psql}\r\n~\r\n:\x1b[K"),
        "ID  SSN         CITY\r\n--  ----------  ----\r\n1               Lund\r\n:\x1b[K",
        &format!("{csv}:"),
        &format!("{csv}$ "),
        &format!("{csv}mydb=> "),
        &format!("{csv}\x1b[7m--More--(15%)\x1b[27m"),
        "id,ssn\r\n1,\r\n@",
    ] {
        assert_eq!(fed(text), text);
    }
}
