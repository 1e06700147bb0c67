//! Values that stand where nobody expects them: behind a separator in another cell, in the second
//! line of a string, in a column that is one of very many. What is in doubt is masked.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use scanner::{Action, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream};

fn rules() -> Arc<Rules> {
    let rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password");
    Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
}

fn scan(text: &str, size: usize) -> String {
    String::from_utf8(support::scan(rules(), Options::default(), text, size)).unwrap()
}

#[track_caller]
fn gives(text: &str, out: &str) {
    for size in [1, 2, 7, 64, text.len()] {
        assert_eq!(scan(text, size), out, "in pieces of {size}");
    }
}

/// `psql -A` quotes nothing: a separator in a cell moves the cells behind it.
#[test]
fn a_separator_in_a_cell_moves_no_value_out_of_its_mask() {
    gives(
        "id|note|ssn|city\n1|a|b|x1y2|Lund\n2|c|z3w4|Rome\n",
        "id|note|ssn|city\n1|a|***|***|Lund\n2|c|***|Rome\n",
    );
    // In the value itself.
    gives(
        "id|ssn|note|city\n1|x1|y2|n|Lund\n",
        "id|ssn|note|city\n1|***|***|n|Lund\n",
    );
    // Everything between two protected columns is in doubt.
    gives(
        "id|ssn|note|password|city\n1|x1|n|m|y2|Lund\n",
        "id|ssn|note|password|city\n1|***|***|***|***|Lund\n",
    );
    gives(
        "id\tnote\tssn\tcity\n1\ta\tb\tx1y2\tLund\r\n",
        "id\tnote\tssn\tcity\n1\ta\t***\t***\tLund\r\n",
    );
    gives(
        "id,note,ssn,city\n1,a,b,x1y2,Lund\n2,\"a,b\",z3w4,Rome\n",
        "id,note,ssn,city\n1,a,***,***,Lund\n2,\"a,b\",***,Rome\n",
    );
    gives(
        "|id|ssn|city|\n|--|--|--|\n|1|x1|y2|Lund|\n|2|x3|Rome|\n",
        "|id|ssn|city|\n|--|--|--|\n|1|***|***|Lund|\n|2|***|Rome|\n",
    );
}

/// A row that a line break in a cell cuts in two, and whose rest has a separator too many.
#[test]
fn the_rest_of_a_row_may_have_a_separator_too_many() {
    gives(
        "id|note|ssn|city\n1|a|x\nb|x1y2|Lund\n2|c|z3w4|Rome\n",
        "id|note|ssn|city\n1|a|***\n***|***|***\n2|c|***|Rome\n",
    );
}

/// A quote that nobody closes swallows nothing where nothing is quoted; up to the next one, all is
/// in doubt.
#[test]
fn a_quote_in_a_cell_does_not_swallow_the_rest() {
    gives(
        "id|note|ssn|city\n1|\"a|x1y2|Lund\n2|5\"|x3|Rome\n3|\"b\" c|x4|Brno\n",
        "id|note|ssn|city\n1|\"a|***|Lund\n***|***|***|***\n3|\"b\" c|***|Brno\n",
    );
    gives(
        "id,note,ssn,city\n1,\"b\" c,x4y5,Brno\n",
        "id,note,ssn,city\n1,\"b\" c,***,Brno\n",
    );
    // One that closes in its line is one.
    gives(
        "id|note|ssn|city\n1|\"a|b\"|x1y2|Lund\n",
        "id|note|ssn|city\n1|\"a|b\"|***|Lund\n",
    );
    // And in CSV it may go over lines.
    gives(
        "id,note,ssn,city\n1,\"a,\nb\",x1y2,\"c,\nd\"\n",
        "id,note,ssn,city\n1,\"a,\nb\",***,\"c,\nd\"\n",
    );
}

/// What follows a value that is too long to be withheld is still in its column.
#[test]
fn cells_behind_a_very_long_one_keep_their_columns() {
    let long = "v,1\"\" ".repeat(16_000);
    let text = format!("id,password,ssn,city\n1,\"{long}\",x1y2,Lund\n2,x3,x4,Rome\n");
    gives(
        &text,
        "id,password,ssn,city\n1,***,***,Lund\n2,***,***,Rome\n",
    );
}

/// A first cell may be JSON where nothing is quoted, and JSON may follow a table.
#[test]
fn a_row_may_begin_like_json() {
    gives(
        "data|ssn|city\n{\"a\": 1}|x1y2|Lund\n[1, 2]|x1y3|Rome\n<a>1</a>|x1y4|Brno\n",
        "data|ssn|city\n{\"a\": 1}|***|Lund\n[1, 2]|***|Rome\n<a>1</a>|***|Brno\n",
    );
    gives(
        "data\tssn\n{\"ssn\": [\n \"x1\",\n \"x2\"]}\n[root@db ~]# ",
        "data\tssn\n{\"ssn\": [\n \"***\",\n \"***\"]}\n[root@db ~]# ",
    );
}

/// A row that is too long to be counted: what comes after its first protected cell is masked.
#[test]
fn a_row_that_is_too_long_to_be_counted_is_in_doubt() {
    let long = "word ".repeat(20_000);
    let text = format!("id|ssn|note|city\n1|x1|{long}|x2\n2|x3|n|Rome\n");
    for size in [1000, text.len()] {
        let out = scan(&text, size);
        assert_eq!(out, "id|ssn|note|city\n1|***|***|***\n2|***|n|Rome\n");
    }
}

/// A string of SQL may be longer than what is withheld, and have commas and lines in it.
#[test]
fn values_behind_a_very_long_string_keep_their_columns() {
    let long = "{\"a\": [1, 2],\n \"b\": \"it''s\"}, ".repeat(3000);
    for size in [1000, 50_000] {
        let text =
            format!("INSERT INTO t (id, doc, ssn, c) VALUES (1, '{long}', 'x1y2', 'v');\nnext\n");
        assert_eq!(scan(&text, size), text.replace("x1y2", "***"));
        let text = format!(
            "INSERT INTO t (id, ssn, password, c) VALUES (1, '{long}', 'x1y2', 'v');\nnext\n"
        );
        assert_eq!(
            scan(&text, size),
            "INSERT INTO t (id, ssn, password, c) VALUES (1, '***', '***', 'v');\nnext\n"
        );
    }
}

/// A row of LaTeX that is too long to be looked at is masked.
#[test]
fn a_very_long_row_of_latex_does_not_pass() {
    let long = "word ".repeat(20_000);
    for row in [format!("1 & x1y2 & {long}"), format!("{long} & x1y2 & 1")] {
        let text = format!("id & ssn & note \\\\\n{row} \\\\\n2 & x3 & b \\\\\n");
        for size in [1000, text.len()] {
            let out = scan(&text, size);
            assert!(!out.contains("x1y2") && !out.contains("x3"), "{size}");
            assert!(
                out.ends_with("2 & *** & b \\\\\n"),
                "{size} {}",
                &out[out.len() - 40..]
            );
        }
    }
}

/// Cells of AsciiDoc and of LaTeX's long tables may have lines of their own.
#[test]
fn cells_in_lines_of_their_own_are_in_their_columns() {
    gives(
        "^l|id ^l|ssn ^l|c\n|1 |x1\ny2 |Lund\n|2\n|x3\n|Rome\n|====\nnext\n",
        "^l|id ^l|ssn ^l|c\n|1 |***\n*** |Lund\n|2\n|***\n|Rome\n|====\nnext\n",
    );
    let cell = |text: &str| format!("\\raggedright{{{text}}}");
    let row = |ssn: &str, c: &str| {
        let cells = [cell("1"), cell(ssn), cell(c)];
        format!("{} \\tabularnewline\n", cells.join("\n&\n"))
    };
    let head = "\\small\\textbf{\\textit{id}} & \\small\\textbf{\\textit{ssn}} & \\small\\textbf{\\textit{c}} \\\\\n";
    gives(
        &format!(
            "{head}\\midrule\n{}{}\\end{{longtable}}\nnext\n",
            row("x1y2", "Lund"),
            row("x3\nx4", "Rome")
        ),
        &format!(
            "{head}\\midrule\n{}{}\\end{{longtable}}\nnext\n",
            row("***", "Lund"),
            row("***\n***", "Rome")
        ),
    );
}

/// A line of text under such rows does not keep a prompt waiting.
#[test]
fn a_prompt_under_a_table_leaves_at_once() {
    let mut scanner = Scanner::new(rules(), Options { pty: true });
    let text = "id|note|ssn|city\n1|a|x1|Lund\nsee|more\n$ ";
    scanner.feed(
        Stream::Stdout,
        Raw::new(Bytes::from_static(text.as_bytes())),
    );
    let mut out = Vec::new();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    assert!(
        out.ends_with(b"more\n$ "),
        "{}",
        String::from_utf8_lossy(&out)
    );
}

/// JSON may break lines anywhere between its tokens.
#[test]
fn a_number_may_stand_below_its_key() {
    gives(
        "{\"ssn\":\n-12.5,\n\"password\":\n  77\n}\n",
        "{\"ssn\":\n\"***\",\n\"password\":\n  \"***\"\n}\n",
    );
    gives(
        "\"ssn\":\n- x1\n- x2\n\"c\": 1\n",
        "\"ssn\":\n- \"***\"\n- \"***\"\n\"c\": 1\n",
    );
}

/// PHP's `var_dump` escapes nothing and says how long a string is.
#[test]
fn a_dumped_string_ends_where_its_length_says() {
    gives(
        "  [\"ssn\"]=>\n  string(13) \"x1\"\ny2\" z3\nw4\"\n  [\"id\"]=>\n  string(1) \"7\"\n}\n",
        "  [\"ssn\"]=>\n  string(13) \"***\"\n  [\"id\"]=>\n  string(1) \"7\"\n}\n",
    );
    gives(
        "[\"ssn\"]=>\r\nstring(8) \"x1\r\ny2\r\nz3\"\r\n[\"id\"]=>\r\nint(5)\r\n",
        "[\"ssn\"]=>\r\nstring(8) \"***\"\r\n[\"id\"]=>\r\nint(5)\r\n",
    );
    gives("\"ssn\"=>string(2) \"x1\"", "\"ssn\"=>string(2) \"***\"");
}

/// A vector of R has as many lines as it needs, and the levels of a factor are its values.
#[test]
fn a_vector_has_several_lines() {
    gives(
        "$ssn\n [1] \"x1\" \"x2\"\n [3] \"x3\"\n\n$id\n[1] 1 2 3\n\n",
        "$ssn\n [1] \"***\"\n [3] \"***\"\n\n$id\n[1] 1 2 3\n\n",
    );
    gives(
        "$ssn\n[1] x1 x2\nLevels: x1 x2\n\n$id\n",
        "$ssn\n[1] ***\nLevels: x**\n\n$id\n",
    );
}

fn columns(count: usize, protected: usize) -> Vec<String> {
    (0..count)
        .map(|k| match k {
            k if k == protected => "ssn".to_owned(),
            k => format!("some_column_{k}"),
        })
        .collect()
}

/// Columns of an INSERT are counted, however many they are and however long their line is.
#[test]
fn an_insert_has_any_number_of_columns() {
    for (count, protected) in [(200, 150), (300, 30), (300, 299), (5000, 100), (5000, 4000)] {
        let names = columns(count, protected);
        let values: Vec<_> = (0..count)
            .map(|k| format!("'{}{k}'", if k == protected { "secret" } else { "v" }))
            .collect();
        let (names, lines) = (names.join(", "), names.join(",\n  "));
        let values = values.join(", ");
        for text in [
            format!("INSERT INTO t ({names}) VALUES ({values});\nnext\n"),
            format!("INSERT INTO t ({names})\nVALUES\n({values}),\n({values});\nnext\n"),
            format!("INSERT INTO t (\n  {lines}\n) VALUES ({values});\nnext\n"),
            format!(
                "CREATE TABLE t (\n  {}\n);\nINSERT INTO t VALUES ({values});\nnext\n",
                lines.replace(',', " text,")
            ),
        ] {
            for size in [7, 1000, text.len()] {
                let out = scan(&text, size);
                assert!(
                    !out.contains("secret"),
                    "{count} {protected} {size} {}",
                    &text[..40]
                );
                assert!(
                    out.contains("'v0'") && out.ends_with("next\n"),
                    "{count} {protected} {size}"
                );
                assert!(out.contains("'v99'"), "{count} {protected} {size}");
            }
        }
    }
}

/// A header may be longer than any line that is kept.
#[test]
fn a_header_has_any_number_of_columns() {
    for (count, protected) in [(300, 30), (300, 299), (100_000, 100), (100_000, 77_777)] {
        for by in [",", "\t", ";", "|"] {
            let names = columns(count, protected).join(by);
            let row: Vec<_> = (0..count)
                .map(|k| if k == protected { "x1y2z3" } else { "v" })
                .collect();
            let row = row.join(by);
            let text = format!("{names}\n{row}\n{row}\n");
            for size in [1000, text.len()] {
                let out = scan(&text, size);
                assert!(!out.contains("x1y2z3"), "{count} {protected} {by:?} {size}");
                let first = out.lines().nth(1).unwrap();
                assert_eq!(
                    first.split(by).count(),
                    count,
                    "{count} {protected} {by:?} {size}"
                );
                let kept = first
                    .split(by)
                    .take(100)
                    .filter(|cell| *cell == "v")
                    .count();
                assert_eq!(kept, 100 - usize::from(protected < 100), "{protected}");
            }
        }
    }
}

/// A quote that does not close in its line may be one, where most do not quote.
#[test]
fn a_quote_over_lines_is_in_doubt_where_nothing_is_quoted() {
    for text in [
        "id|note|ssn|city\n1|\"Dear all,\n\nhello\"|secret|Lund\n2|b|secret2|Oslo\n",
        "id|ssn|city\n1|\"Line 1\n\nsecret\"|Lund\n2|secret2|Oslo\n",
        "id|note|ssn\n7|\"see a|b,\nthen c\"|secret\n8|x|y\n",
        "id|ssn\n1|\"abc\nsecret\"\n2|x\n",
        "id|note|ssn|city\n1|\"a\n{b}\"|secret|Lund\n",
    ] {
        for size in [1, 2, 7, 1000] {
            let out = scan(text, size);
            assert!(!out.contains("secret"), "{size}: {out}");
        }
    }
}

/// The rest of a row begins with anything, and a bar behind a backslash is one.
#[test]
fn the_rest_of_a_row_begins_with_anything() {
    for text in [
        "id|doc|ssn|city\n1|{\n  \"a\": 1,\n  \"b\": 2\n}|secret|Lund\n2|{}|z3|Rome\n",
        "id|doc|ssn|city\n1|a\n<b>|secret|Lund\n",
        "id|note|ssn\n1|para 1\n\npara 2|secret\n2|b|secret2\n",
        "id|ssn|pattern|password|city\n1|s|a\\|b|secret|Lund\n",
        "id|password|role|city\n1|x|y\\|secret|admin|Lund\n",
        "|id|ssn|note|password|city|\n|--|--|--|--|--|\n|1|x|a\\\\|b|secret|Lund|\n",
    ] {
        for size in [1, 2, 7, 1000] {
            let out = scan(text, size);
            assert!(!out.contains("secret"), "{size}: {out}");
        }
    }
    gives(
        "|id|password|\n|--|--|\n|1|-:=+--|\n",
        "|id|password|\n|--|--|\n|1|***|\n",
    );
}

/// Databases name a column by its expression, and others leave names out.
#[test]
fn an_odd_name_in_a_header_disarms_nothing() {
    for text in [
        ",name,ssn\n0,bob,secret\n",
        "\"\",\"name\",\"ssn\"\n\"1\",\"bob\",\"secret\"\n",
        "id,ssn,city,\n1,secret,Lund,\n",
        "2fa,ssn,id\n1,secret,2\n",
        "id\tssn\tCOUNT(*)>0\n1\tsecret\t1\n",
        "ssn\tDATE_FORMAT(d, '%Y-%m')\nsecret\t2025-01\n",
        "INSERT INTO t (id, ssn) OVERRIDING SYSTEM VALUE VALUES (1, 'secret');\n",
    ] {
        for size in [1, 7, 1000] {
            let out = scan(text, size);
            assert!(!out.contains("secret"), "{size}: {out}");
        }
    }
}

/// What looked like no secret once is looked at again where a colon follows it.
#[test]
fn a_word_in_a_list_does_not_hide_a_secret() {
    let rule = Rule::new("r", Action::Mask(Mask::Redact)).detector(scanner::Detector::Email);
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let text = format!(
        "{{\"errors\":[{{\"path\":[\"user\",\"data\",0]}}]}}\n{{\"data\":{{\"p\":\"am9lQGV4YW1wbGUuY29t\"}},\"kind\":\"Secret\"}}\n{}\n",
        "z".repeat(300)
    );
    let mut scanner = Scanner::new(rules, Options::default());
    scanner.feed(Stream::Stdout, Raw::new(Bytes::from(text)));
    scanner.end();
    let mut out = Vec::new();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    assert!(!String::from_utf8(out).unwrap().contains("am9lQGV4"));
}

/// A second result without anything between it and the first one has columns of its own.
#[test]
fn a_second_header_protects_its_columns() {
    for text in [
        "id\tssn\tnote\n1\tx1\tn\nnote\tid\tssn\nn\t1\tsecret\n",
        "ssn,id\nx1,1\na,b,ssn\nv1,v2,secret\n",
        " id | ssn    | a->>'b' \n----+--------+---------\n  1 | secret | x       \n",
        "+----+--------+------------+\n| id | ssn    | count(*)>0 |\n+----+--------+------------+\n|  1 | secret |          1 |\n",
        "name\tssn\n Bob\tsecret\n",
        "tag|ssn\n}x|secret\n",
    ] {
        for size in [1, 7, 1000] {
            let out = scan(text, size);
            assert!(!out.contains("secret"), "{size}: {out}");
        }
    }
}

/// Where a backslash may end a string or not, the rest of the row is in doubt.
#[test]
fn a_backslash_before_a_quote_moves_no_value_out_of_its_column() {
    let text = "INSERT INTO t (path, ssn, c) VALUES ('C:\\', 'x1y2', 'x'), ('a', 'x3', 'v');\n";
    for size in [1, 7, 1000] {
        let out = scan(text, size);
        assert!(!out.contains("x1y2") && !out.contains("x3"), "{out}");
    }
    gives(
        "INSERT INTO t (note, ssn, c) VALUES ('a \\'b\\', c', 'x1y2', 'v'), ('d', 'x3', 'e');\n",
        "INSERT INTO t (note, ssn, c) VALUES ('***', '***', '***'), ('d', '***', 'e');\n",
    );
    gives(
        "INSERT INTO t (note, ssn, c) VALUES ('it\\'s', 'x1y2', 'v');\n",
        "INSERT INTO t (note, ssn, c) VALUES ('it\\'s', '***', 'v');\n",
    );
}

/// However an INSERT with a long list of columns begins.
#[test]
fn a_long_list_of_columns_is_found_behind_other_words() {
    let names = columns(600, 550).join(", ");
    let values: Vec<_> = (0..600)
        .map(|k| if k == 550 { "'secret'" } else { "'v'" })
        .collect();
    let values = values.join(", ");
    for head in [
        "2026-11-26 07:00:01 UTC [123] LOG:  statement: INSERT INTO t",
        "/* dump (x) */ INSERT INTO t",
        "WITH x AS (SELECT 1) INSERT INTO t",
        "MERGE INTO t USING s ON (a=b) WHEN NOT MATCHED THEN INSERT",
    ] {
        let text = format!("{head} ({names}) VALUES ({values});\nnext\n");
        for size in [1000, text.len()] {
            assert!(!scan(&text, size).contains("secret"), "{head} {size}");
        }
    }
    gives("$people$ssn\n[1] \"x1\"\n", "$people$ssn\n[1] \"***\"\n");
}
