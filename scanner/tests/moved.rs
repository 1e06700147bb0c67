//! Values that stand where nobody expects them: behind a separator in another cell, in the second
//! line of a string, in a column that is one of very many. What is in doubt is masked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

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

/// What is left of a text in any pieces must not show what it hides.
#[track_caller]
fn hides(texts: &[&str]) {
    for text in texts {
        for size in [1, 2, 7, 1000] {
            let out = scan(text, size);
            assert!(!out.contains("secret"), "in pieces of {size}: {out}");
        }
    }
}

/// What has left of a text that goes on.
fn leaves(text: &str, pty: bool) -> String {
    let mut scanner = Scanner::new(rules(), Options { pty });
    scanner.feed(
        Stream::Stdout,
        Raw::new(Bytes::copy_from_slice(text.as_bytes())),
    );
    let mut out = Vec::new();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    String::from_utf8(out).unwrap()
}

/// A question under CSV is not waited for behind its protected cell; one that may be a row is.
#[test]
fn a_question_with_commas_leaves() {
    let table = "id,ssn,name\n1,x1,bob\n";
    let masked = "id,ssn,name\n1,***,bob\n";
    for (text, out) in [
        (
            "Delete these, keep them, or quit? [d/k/q] ",
            "Delete these, ***, or quit? [d/k/q] ",
        ),
        (
            "Remove a, b, c and d, or keep them? ",
            "Remove a, ***, c and d, or keep them? ",
        ),
        ("$ ", "$ "),
        ("[root@db ~]# ", "[root@db ~]# "),
    ] {
        assert_eq!(
            leaves(&format!("{table}{text}"), false),
            format!("{masked}{out}")
        );
    }
    // A comma without a space, or a table with spaces: a row, which is counted.
    hides(&[
        "id,ssn,name\n1,x1,bob\n2,a,secret,bob\n",
        "id,ssn,name\n1, x1, bob\n2, a, secret, bob\n",
        "id, ssn, name\n1, x1, bob\n2, a, secret, bob\n",
    ]);
}

/// The first piece of a moved value is not masked as if it were whole.
#[test]
fn nothing_is_kept_of_a_piece() {
    let rule = Rule::new("r", Action::Mask(Mask::Last4)).field("ssn");
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    for (text, masked) in [
        (
            "id|ssn|city\n1|ab12345678|cd1438|Lund\n2|ab12345678|Lund\n",
            "id|ssn|city\n1|***|***|Lund\n2|******5678|Lund\n",
        ),
        (
            "id,ssn\n1,ab12345678,cd1438\n2,ab12345678\n",
            "id,ssn\n1,***,***\n2,******5678\n",
        ),
    ] {
        for size in [1, 7, 1000] {
            let out = support::scan(Arc::clone(&rules), Options::default(), text, size);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(
                out.replace("**********", "***"),
                masked,
                "in pieces of {size}"
            );
        }
    }
}

/// However many columns there are, they are counted.
#[test]
fn a_separator_moves_nothing_in_a_wide_table() {
    for (count, by) in [
        (255, ","),
        (256, ","),
        (257, "|"),
        (1000, ","),
        (4000, "\t"),
    ] {
        let names = columns(count, 30).join(by);
        let mut row = vec!["v".to_owned(); count];
        row[3] = format!("a{by}b");
        row[30] = "secret".to_owned();
        let text = format!("{names}\n{}\n", row.join(by));
        for size in [7, 1000, text.len()] {
            let out = scan(&text, size);
            assert!(!out.contains("secret"), "{count} {by:?} {size}");
            assert!(out.ends_with(&format!("v{by}v\n")), "{count} {by:?} {size}");
        }
    }
}

/// A first cell may begin with anything, also where others are quoted.
#[test]
fn a_first_cell_begins_with_anything() {
    hides(&[
        "name,ssn\n Bob,secret\n  ,secret\n",
        "tags,ssn\n{red},secret\n{},secret\n[],secret\n[x,secret\n},secret\n],secret\n<a>,secret\n",
        "tags;ssn\n{red};secret\n Bob;secret\n",
        "tags|ssn\n['a', 'b']|secret\n[root]|secret\n[root] admin|secret\n",
        "tags\tssn\n[root@db ~]\tsecret\n\\.x\tsecret\n",
        "|tags|ssn|\n|--|--|\n  |a|secret|\n",
        "a~ssn\n[x]~secret\n",
    ]);
    // JSON under a table is JSON, and a value below its key is one.
    gives(
        "a,ssn\n1,x1\n{\"ssn\": [\"x2\", \"x3\"], \"b\": 1}\n",
        "a,ssn\n1,***\n{\"ssn\": [\"***\", \"***\"], \"b\": 1}\n",
    );
    gives(
        "a,ssn\n1,x1\nuser:\n  ssn:\n    x2\n",
        "a,ssn\n1,***\nuser:\n  ssn:\n    \"***\"\n",
    );
}

/// A protected last column may go on in the next line, up to a row or a footer.
#[test]
fn a_last_column_has_several_lines() {
    hides(&[
        "id|ssn\n1|12 Main St\nsecret town\n2|x\n",
        "id\tssn\n1\t12 Main St\nsecret town\n2\tx\n",
        "id|note|ssn\n1|a|x1\n\nsecret\n2|b|x2\n",
    ]);
    gives(
        "id|ssn\n1|x1\nx2 y\n2|x3\n(2 rows)\nnext line\n",
        "id|ssn\n1|***\n***\n2|***\n(2 rows)\nnext line\n",
    );
    let text = format!("id|ssn\n1|x1\n{}", "line\n".repeat(80));
    assert!(scan(&text, 1000).ends_with("line\nline\n"));
    // A terminal's prompt does not wait.
    assert!(leaves("id|ssn\n1|x1\n$ ", true).ends_with("\n$ "));
}

/// A quote of CSV that nobody closes hides no rows; one that has several lines of text stays.
#[test]
fn a_quote_that_nobody_closes_hides_no_rows() {
    let rows = "2,b,secret,Rome\n".repeat(100);
    hides(&[
        "id,note,ssn,city\n1,\"hi,secret,Lund\n2,b,secret,Rome\n",
        "id,note,ssn,city\n1,\"hi,secret,Lund\n",
        "id,note,ssn,city\n1,\"hi,secret,Lund\n2,\"b\",secret,Rome\n3,c,\"secret\",Oslo\n",
        "id,note,ssn\n1,\"hi,x\n2,b,\"secret\"\n3,c,secret\n",
        &format!("id,note,ssn,city\n1,\"hi,secret,Lund\n{rows}"),
    ]);
    gives(
        "id,note,ssn,city\n1,\"Dear Bob,\nthis, that, these, those\nbye, bye\",x1,Lund\n",
        "id,note,ssn,city\n1,\"Dear Bob,\nthis, that, these, those\nbye, bye\",***,Lund\n",
    );
}

/// Only the rule under a header is a rule.
#[test]
fn a_value_of_dashes_is_a_value() {
    gives(
        "| id | password |\n|----|----------|\n| 1  | -:=+--   |\n| 2  | -------- |\n| 3  | -        |\n",
        "| id | password |\n|----|----------|\n| 1  | ******   |\n| 2  | ******** |\n| 3  | -        |\n",
    );
}

/// What stands in a `CREATE TABLE` beside its columns moves none of them.
#[test]
fn a_create_table_is_read_as_sql() {
    let rows = "INSERT INTO t VALUES (1,'x','secret');\n";
    for (table, note) in [
        ("CREATE TABLE", "note varchar(10) DEFAULT 'a,b',"),
        ("CREATE TABLE", "note text DEFAULT ')' /* a, (b */,"),
        ("CREATE TABLE", "note text COMMENT 'it''s, a', -- x, y"),
        ("CREATE TABLE", "note text DEFAULT 'C:\\',"),
        ("CREATE TABLE", "note text DEFAULT 'x\\',y',"),
        ("CREATE TABLE", "\"full, name\" text,"),
        (
            "CREATE TABLE",
            "note text CHECK (\n note <> 'a' and\n length(note) > 1\n ),",
        ),
        ("CREATE TABLE", "key text,"),
        ("CREATE TABLE", "`check` text,"),
        ("CREATE TEMP TABLE IF NOT EXISTS", "index varchar(10),"),
    ] {
        let text = format!("{table} t (\n  id int,\n  {note}\n  ssn\ttext\n);\n{rows}");
        let one = format!("{table} t (id int, {note}\n ssn text); {rows}");
        let below =
            format!("{table} t\n(\n  id int,\n  {note}\n  ssn text,\n  UNIQUE (id)\n)\n;\n{rows}");
        hides(&[&text, &one, &below]);
    }
    gives(
        "CREATE TABLE t (\n  id int,\n  ssn text,\n  KEY a (id),\n  CHECK (id > 0)\n);\nINSERT INTO t VALUES (1,'x1y2');\n",
        "CREATE TABLE t (\n  id int,\n  ssn text,\n  KEY a (id),\n  CHECK (id > 0)\n);\nINSERT INTO t VALUES (1,'***');\n",
    );
    // More tables than are remembered: any other one may be protected.
    let tables = (0..60).map(|k| format!("CREATE TABLE t{k} (id int, ssn text);\n"));
    let rows = (0..60).map(|k| format!("INSERT INTO t{k} VALUES (1, 'secret');\n"));
    hides(&[&tables.chain(rows).collect::<String>()]);
    let names = columns(2000, 1500).join(" text, ");
    let row = format!("'v', {}'secret'", "'v', ".repeat(1499));
    hides(&[&format!(
        "CREATE TABLE t ({names});\nINSERT INTO t VALUES ({row});\n"
    )]);
}

/// A rule under a header says that it is one, and a protected name that others beside it may be
/// anything a database makes of an expression.
#[test]
fn an_expression_in_a_header_disarms_nothing() {
    hides(&[
        "id,ssn,Q&A\n1,secret,2\n2,secret,2\n",
        "id,ssn,customer's city\n1,secret,2\n",
        "id,ssn,\"City, State\"\n1,secret,\"a, b\"\n",
        "id,ssn,@timestamp\n1,secret,2\n",
        "id,ssn,[x]\n1,secret,2\n",
        "id,ssn,count(*)>0\n1,secret,1\n",
        "id|ssn|a=b\n1|secret|xy\n",
        "id\tssn\ta=1\n1\tsecret\t1\n",
        "id\tssn\t@@version\n1\tsecret\tx\n",
        "id\tssn\t1+1\n1\tsecret\tx\n",
        "+----+--------+-------+\n| id | ssn    | 1=1   |\n+----+--------+-------+\n|  1 | secret |     1 |\n",
        " id | ssn    | a=b \n----+--------+-----\n  1 | secret | x   \n",
    ]);
    let text = "let (id, ssn, a) = f(x, y=1);\none, two, three\n";
    assert_eq!(scan(text, 1000), text);
}

/// What R prints of a list goes on up to an empty line, whatever form it has.
#[test]
fn a_list_of_r_is_masked_up_to_an_empty_line() {
    hides(&[
        "$ssn\n[1] x1\n300 Levels: secret b c\n",
        "$ssn\n[1] x1\nLevels: a b\nsecret c\n",
        "$ssn\n    bob    eve \n\"secret\" \"y\" \n",
        "$a$ssn\n[1] \"secret\"\n",
        "$people[[1]]$ssn\n[1] \"secret\"\n",
        "[[1]]$ssn\n[1] \"secret\"\n",
        "$ssn\n$ssn$a\n[1] \"secret\"\n",
        "$`customer ssn`\n[1] \"secret\"\n",
        "$ssn\n     [,1]     [,2]\n[1,] \"secret\" \"b\"\n[2,] \"c\" \"secret\"\n",
        "$ssn\n        a b\n1 secret 3\n2 secret 4\n",
        "attr(,\"ssn\")\n[1] \"secret\"\n",
        "Slot \"ssn\":\n[1] \"secret\"\n",
        "\"id\" \"name\" \"ssn\"\n\"1\" 1 \"bob\" \"secret\"\n",
    ]);
    gives(
        "$ssn\n[1] \"x1\"\n\n$id\n[1] 1\n\n$a\n[1] 7\n",
        "$ssn\n[1] \"***\"\n\n$id\n[1] 1\n\n$a\n[1] 7\n",
    );
}

/// Dumps of PHP, in all the ways that it and xdebug have.
#[test]
fn a_dump_of_php_has_values_over_lines() {
    hides(&[
        "  'ssn' => string(15) \"line one\nsecret\"\n",
        "  'ssn' =>\n  string(15) \"line one\nsecret\"\n",
        "    public $ssn =>\n    string(6) \"secret\"\n",
        "    'ssn' =>\n    array(1) {\n      [0] =>\n      string(6) \"secret\"\n    }\n",
        "  'ssn' => 'one\nsecret\n\nsecret',\n",
        "  'ssn' => \n  array (\n    0 => 'secret',\n    1 => 'secret',\n  ),\n",
        "    [ssn] => Array\n        (\n            [0] => secret\n        )\n\n    [id] => 1\n",
        "    [ssn] => one\nsecret\n\nsecret\n    [id] => 1\n",
        "a:2:{s:2:\"id\";i:1;s:3:\"ssn\";s:6:\"secret\";}\n",
        "a:1:{s:3:\"ssn\";a:2:{i:0;s:6:\"secret\";i:1;s:6:\"secret\";}}\n",
    ]);
    gives(
        "  [\"ssn\"]=>\n  string(600) \"abc\"...\n  [\"id\"]=>\n  string(1) \"7\"\n}\nplain text\n",
        "  [\"ssn\"]=>\n  string(600) \"***\"...\n  [\"id\"]=>\n  string(1) \"7\"\n}\nplain text\n",
    );
    gives(
        "(\n    [ssn] => x1 y2\n    [id] => 1\n)\nnext\n",
        "(\n    [ssn] => ***\n    [id] => 1\n)\nnext\n",
    );
    gives(
        "a:2:{s:3:\"ssn\";i:12;s:2:\"id\";i:1;}\n",
        "a:2:{s:3:\"ssn\";i:***;s:2:\"id\";i:1;}\n",
    );
}

/// Maps and structures as Go, Ruby and Python print them.
#[test]
fn a_dump_has_lists_under_a_protected_name() {
    hides(&[
        "main.N{Ssn:[]string{\"secret\", \"secret\"}, X:1}\n",
        "map[id:1 ssn:map[a:secret b:secret]]\n",
        "map[city:Lund password:two secret words zip:1]\n",
        "  (string) (len=3) \"ssn\": (string) (len=6) \"secret\"\n",
        "    Password: `raw\nsecret`,\n",
        "[[:id, 1], [:ssn, \"secret1\"]]\n",
        ":n:\n  :ssn:\n  - secret\n  - secret\n",
        "{'ssn': ('a', 'secret'), 'id': 1}\n",
    ]);
    gives(
        "map[city:Lund password:two words zip:1]\n",
        "map[city:Lund password:*** zip:1]\n",
    );
}

/// Empty lines in cells end no table where nothing is quoted, and a cell of dashes is no rule.
#[test]
fn an_empty_line_in_a_cell_ends_no_table() {
    hides(&[
        "body|id|ssn|city|note\na|0|secret|b|\n\n# c|1|secret|d|e\nf\n\ng|2|secret|h|i\n",
        "note\tid\tssn\tcity\na\n\nb\t0\tsecret\tc\nd\t1\tsecret\te\n",
        "note  city    id  ssn     body\n----  ------  --  ------  ----\n--    x       1   secret  a;b\n",
        "| note | ssn    | c |\n|------|--------|---|\n| --   | secret | a |\n",
        "city     note  ssn\n-------  ----  ------\n(1 row)  tail  secret\n",
        "note,body,ssn\n{red},\"\n\",secret\n",
    ]);
    // What comes behind it is read as if there were no table.
    let table = "id|ssn|c\n1|x1|y\n\n";
    for (text, out) in [
        (
            "INSERT INTO t (id, ssn)\nVALUES\n(1,'x2');\n",
            "INSERT INTO t (id, ssn)\nVALUES\n(1,'***');\n",
        ),
        ("ssn: |\n  x2\n  x3\nc: 1\n", "ssn: |\n  ***\n  ***\nc: 1\n"),
        ("ssn\nx2y3\n", "ssn\n***\n"),
        (
            "some text\nand (more) of it\n",
            "some text\nand (more) of it\n",
        ),
        ("a|b\n", "a|b\n"),
    ] {
        gives(
            &format!("{table}{text}"),
            &format!("id|ssn|c\n1|***|y\n\n{out}"),
        );
    }
}

/// A bar in the first cell of a box moves nothing out of its column.
#[test]
fn a_bar_in_a_box_moves_nothing() {
    hides(&[
        "+------+---------+----+--------+\n| body |  city   | id |  ssn   |\n+------+---------+----+--------+\n| a|b  | (1 row) | 2  | secret |\n",
        "| body | city | id | ssn    |\n|------|------|----|--------|\n| a|b  | c    | 2  | secret |\n",
        "| body | city | id | ssn |\n|---|---|---|---|\n| a | c | 2 | secret |\n|a|c|2|secret|\n",
    ]);
}
