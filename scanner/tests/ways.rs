//! The fast path gives what the byte machine gives: the bytes, the verdicts and the account, for
//! any text, any rules, any cut, and every kind of vector instructions that this CPU has.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Coverage, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step,
    Stream, Verdict, Way,
};

/// Rules of several kinds: what is compiled from them differs.
fn rules(kind: usize) -> Arc<Rules> {
    let redact = Action::Mask(Mask::Redact);
    let mut detectors = Rule::new("detectors", redact);
    for detector in Detector::ALL {
        if detector != Detector::Phone || kind == 1 {
            detectors = detectors.detector(detector);
        }
    }
    let fields = |names: &[&str], action| {
        names
            .iter()
            .fold(Rule::new("fields", action), |rule, name| rule.field(*name))
    };
    let some = ["ssn", "account_number", "email", "password", "e", "id2"];
    let rules = match kind {
        0 => RulesBuilder::new()
            .rule(fields(&some, Action::Mask(Mask::Last4)))
            .rule(detectors),
        1 => RulesBuilder::new().rule(detectors),
        2 => RulesBuilder::new().rule(fields(&["ssn"], redact)),
        3 => RulesBuilder::new()
            .rule(fields(
                &["ssn", "city"],
                Action::Hold(scanner::Scope::Record),
            ))
            .rule(fields(
                &["email", "account_number"],
                Action::Mask(Mask::Drop),
            ))
            .rule(detectors),
        _ => {
            let many: Vec<String> = (0..200).map(|k| format!("field_{}_{k}", k * 7)).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            RulesBuilder::new()
                .token_key(b"a key of the test")
                .rule(fields(&some, Action::Mask(Mask::Format)))
                .rule(fields(&many, redact))
                .rule(detectors)
        }
    };
    Arc::new(rules.build().unwrap())
}

#[derive(Debug, PartialEq)]
struct Outcome {
    out: String,
    steps: Vec<String>,
    verdicts: Vec<Verdict>,
    coverage: Coverage,
}

fn scan<'a>(
    rules: &Arc<Rules>,
    way: Way,
    pty: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut scanner = Scanner::new(Arc::clone(rules), Options { pty }).with_way(way);
    let (mut out, mut steps, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    let mut held = 0;
    for piece in pieces {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    while let Some(step) = scanner.next_step() {
        match step {
            Step::Pass { bytes, .. } => out.extend_from_slice(bytes.as_bytes()),
            Step::Held { bytes, .. } => held += bytes.len(),
            Step::Hold { .. } | Step::Refuse { .. } | Step::Sealed { .. } => {
                steps.push(format!("{step:?}"))
            }
        }
    }
    verdicts.extend(scanner.take_verdicts());
    steps.push(format!("{held} held"));
    Outcome {
        out: String::from_utf8_lossy(&out).into_owned(),
        steps,
        verdicts,
        coverage: scanner.coverage(),
    }
}

/// How many cases each law is tried with; `LAWS_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("LAWS_CASES").ok();
    let long = std::env::var_os("BASTION_TEST_LONG").is_some();
    asked
        .and_then(|n| n.parse().ok())
        .unwrap_or(if long { 40_000 } else { 1500 })
}

fn pieces(set: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(set).prop_map(str::to_owned)
}

const KEYS: &[&str] = &[
    "ssn",
    "SSN",
    "email",
    "password",
    "accountNumber",
    "account number",
    "account_number",
    "account",
    "number",
    "customer_ssn",
    "lessn",
    "ssn_x",
    "s\\u0073n",
    "s%73n",
    "s&#115;n",
    "e",
    "E",
    "name",
    "value",
    "key",
    "id",
    "city",
    "\\u0065",
    "ss\\x6e",
    "\\nssn",
    "Name",
    "id2",
    "id-2",
    "acc\\u006funt_number",
    "type",
    "field_7_1",
    "field-1393-199",
    "x.e",
];
const VALUES: &[&str] = &[
    "131-45-1438",
    "000-12-3456",
    "4374 9202 8903 3002",
    "4052264567103461",
    "4111 1111 1111 111",
    "378282246310005",
    "DE17994669278410113391",
    "DE17 9946 6927 8410 1133 91",
    "AB12",
    "joe@example.com",
    "git@github.com",
    "https://a:b@c/d",
    "ssh://x@y.org/",
    "2024-01-02T03:04:05",
    "550697.66",
    "1",
    "22",
    "333",
    "4444",
    "null",
    "true",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0.abc_-",
    "eyJx",
    "AKIAX2KKQUKA7TSPMI3O",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "github_pat_0123456789012345678901234567890123456789012",
    "xoxb-123456789012-abcdef",
    "+46 8 123 456 78",
    "555-123-4567",
    "(555) 123-4567",
    "the quick one",
    "宮田",
    "é",
    "a \\\"b\\\" c",
    "x\\\\",
    "\\",
    "'",
    "\"",
    "",
    "-",
    "***",
    "ssn",
    "my email",
    "0000 0000",
    "1234567890123456",
];
const MARKS: &[&str] = &[
    ":",
    ": ",
    "=",
    " = ",
    "=>",
    ",",
    ", ",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "|",
    " | ",
    "\"",
    "'",
    "\t",
    "-",
    "- ",
    "--",
    "---",
    "@",
    ".",
    ";",
    "&",
    "<",
    ">",
    "`",
    "\r\n",
    "\r",
    "│",
    " │ ",
    "─",
    "  ",
    " ",
    "\u{8}",
    "\x1b[1m",
    "\x1b[2;5H",
    "\x1b[3C",
    "/",
    "://",
    "*",
    "#",
    "!",
    "_",
    "|\n",
    ">\n",
    "\n\n",
    "\":\"",
    "\": \"",
    "\",\"",
    "\"},",
    "\\n",
    "\\\\n",
    "</",
    "\0",
    "~",
];
const LINES: &[&str] = &[
    "the build of a small crate took longer than it should",
    "        proxy_set_header X-SSN abc123456;",
    "    add_header Authorization nwwgdw6207;",
    "    fastcgi_param SSN hunter2x;",
    "ENV PASSWORD hunter2x",
    "setenv SSN 131-45-1438",
    "set -gx PASSWORD hunter2x",
    "SET PASSWORD FOR 'x'@'h' = 'hunter2x';",
    "Environment:[{Name:PASSWORD Value:tzpfdue9 ValueFrom:nil} {Name:CITY Value:Lund ValueFrom:nil}]",
    "order=71 card=4111 1111 1111 1111 ssn=131 45 1438 x=1",
    "Compiling scan v0.1.2 (/src/scan)",
    "call 415-555) 2671 or (415) 555-2671, 1.415.555.2671, 415 555 2671; +49 30 1234567 and 415) (555-2671",
    "  - item: value",
    "{\"id\":1,\"name\":\"row number 1\",\"ssn\":\"131-45-1438\",\"account_number\":\"294018020001\",\"ok\":true}",
    "{\"id\": 2, \"ssn\": \"131-45-1438\", \"email\": null, \"tags\": [\"a\", \"ssn\"]}",
    "  \"ssn\": \"131-45-1438\",",
    "{\"ssn\":\"13\\\"1\",\"a\":{\"email\":\"\"},\"e\":\"x\"}",
    "{\"Name\":\"ssn\",\"Value\":\"x\"}",
    "{\"ssn\":\"a\":\"b\"}",
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIIEowIBAAKCAQEA7",
    "-----END RSA PRIVATE KEY-----",
    "id,ssn,city",
    "id|ssn|city",
    "{\"path\":[\"user\",\"data\",0]}",
    "{\"data\":{\"p\":\"am9lQGV4YW1wbGUuY29t\"},\"kind\":\"Secret\"}",
    "}|x|y",
    "1|2|3|4",
    "1,2,3,4",
    "1,\"a,2,3",
    "1|\"a|2|3",
    "1|\"a|b\"|2",
    "1,\"a\" b,2",
    "1|2",
    "|id|ssn|city|",
    "|1|2|3|4|",
    "  string(7) \"a\"",
    "[3] \"x1\"",
    "Levels: x1 x2",
    "1,131-45-1438,Lund",
    "2,,Oslo",
    "3,\"131-45-1438\",\"a,b\"",
    "4,131-45-1438",
    "5,131-45-1438,Lund,more",
    "6, 131-45-1438 ,joe@example.com",
    "id\tssn\tcity",
    "1\t131-45-1438\tLund",
    " id | ssn | city ",
    "----+-----+------",
    "  1 | 131-45-1438 | Lund ",
    "  1 | 131 | Lund ",
    "  2 |     | Oslo",
    "  3 | abc | a|b ",
    "  4 | 宮 | Lund",
    "(3 rows)",
    "| id | ssn |",
    "|----|-----|",
    "|  1 | 131 |",
    "|  1 | a|b |",
    "+----+-----+",
    "NAME   SSN   AGE",
    "joe    131   1",
    "^l|id ^l|ssn",
    "id & ssn \\\\",
    "ssn",
    "COPY t (id, ssn) FROM stdin;",
    "1\tx",
    "\\.",
    "CREATE TABLE t (id int, ssn text);",
    "INSERT INTO t VALUES (1, 'x');",
    "Copy editor,131-45-1438,a;b;",
    "insert into life,131-45-1438,values",
    "COPY t (id, ssn, city) FROM stdin;",
    "insert into t values",
    "[12345] started",
    r#"{"log":"id,ssn\n","stream":"stdout"}"#,
    r#"{"log":"1,131-45-1438\n","stream":"stdout"}"#,
    r#"{"rc":0,"stdout":"id | ssn\n---+-----\n 1 | x1  \n(1 row)\n\nnext","a":1}"#,
    r#"{"a":"{\"b\":\"id,ssn\\n1,x1\\n\"}"}"#,
    r#"{"a":"-[ RECORD 1 ]\nssn | x1\n"}"#,
    r#""stdout_lines": ["id,ssn", "1,x1"],"#,
    r#"    "id | ssn","#,
    r#"    "---+----","#,
    r#"    " 1 | x1"],"#,
    "  'id,ssn\\n' +",
    "  '1,x1\\n' +",
    "<p><b>Password:</b> x1<br><strong>SSN</strong>: <i>x2</i></p>",
    "<div class=\"label\">SSN</div>",
    "<div>x1</div>",
    "<entry><string>ssn</string>",
    "<string>x1</string></entry>",
    "[password]",
    "value = \"x1\"",
    "variable \"ssn\" {",
    "  default = \"x1\"",
    "}",
    "? ssn",
    ": x1",
    "  Input is bad [type=string_type, input_value=x1, input_type=int]",
    "\"ssn\": /* a */ \"x1\", // b",
    "ssn：x1 “ssn”: “x1 x2”",
    "password='x1'\"x2\"",
    "<table><tr><td></td><th>ssn</th></tr><tr><td>1</td><td>x<table><tr><td>y</td></tr></table>z</td></tr>",
    "INSERT INTO t (id,ssn,city) VALUES",
    "INSERT INTO t",
    "insert a card (id, ssn)",
    "VALUES",
    "  (id, ssn)",
    "┌─id─┬─ssn─┐",
    "│  1 │ abc │",
    "||  ssn | a1 ||",
    "|  Ssn|  a1  |",
    "\t(1, 'x', 'y'),",
    "(2,'x','y');",
    "data:",
    "  a: am9lQGV4YW1wbGUuY29t",
    "  \"data\": {",
    "    \"a\": \"am9lQGV4YW1wbGUuY29t\",",
    "{\"data\":{\"a\":\"am9lQGV4YW1wbGUuY29t\"},\"kind\":\"Secret\"}",
    "[\"v1\",\"data\",1]",
    "{\"a\":\"v1\",\"data\":{\"a\":\"am9lQGV4YW1wbGUuY29t\"},\"kind\":\"Secret\"}",
    "{\"columns\":[\"id\",\"ssn\"],\"rows\":[[1,\"x\"],[2,{\"a\":3}]]}",
    "  \"columns\": [\"id\", \"ssn\"],",
    "    \"ssn\"",
    "    {\"name\": \"ssn\"}",
    "  \"rows\": [",
    "    [1, \"131-45-1438\", \"joe@example.com\"],",
    "  ]",
    "[\"id\", \"ssn\"]",
    "[\"a\", \"b\"]",
    "DETAIL:  Failing row contains (1, x, Lund).",
    "{\"value\":\"131-45-1438\",\"name\":\"ssn\"}",
    "<p value=\"x\" name=\"ssn\"/>",
    "{:id 1 :ssn \"x\"}",
    "CREATE USER a PASSWORD 'x';",
    "Duplicate entry 'x' for key 'a.ssn'",
    "<th>ssn<td>x",
    "  password \"x\";",
    "  Filter: (((ssn)::text = 'x'::text) AND (ssn <> 'y') AND (ssn = ANY ('{x}')))",
    "[[\"users\",0,\"ssn\"],\"x\"]",
    "[\"users\",0,\"ssn\"]",
    "\"x1\"",
    "SELECT 1 FROM t WHERE ssn = $2",
    "DETAIL:  parameters: $1 = 'x', $2 = 'y'",
    "||id||ssn||",
    "{'ssn': 'x'",
    "  'y',",
    "ssn: 'x",
    "  y' z",
    "password = <<EOT",
    "EOT",
    "$ ssn <chr> \"x\"",
    "&lt;ssn&gt;x&lt;/ssn&gt;",
    "<input name=\"ssn\" value=\"x\">",
    "INSERT INTO t (id, ssn) VALUES (1, 'x');",
    "a\\n131-45-1438\\tb\\n4052264567103461",
    "\\nDE17994669278410113391 \\nAKIAX2KKQUKA7TSPMI3O",
    "4374\u{a0}9202\u{a0}8903\u{a0}3002",
    "4374\u{2009}9202\u{2009}8903\u{2009}3002 131\u{2011}45\u{2011}1438",
    "DE17\u{202f}9946\u{202f}6927\u{202f}8410\u{202f}1133\u{202f}91",
    "\"u\":\"postgres:\\/\\/bob:zQ7x9kV2@db\\/x\"",
    "ada@db.example.com:~$ ls",
    "machine db.example.com login ada@example.com password x1y2",
    "  password x1y2",
    "machine learning",
    "make[1]: Entering directory",
    "{:id 1, :ssn \"x1\", :email #a \"x2\"}",
    "[:ssn :email]",
    "((id . 1) (ssn . \"x1\") (\"email\" . \"x2\"))",
    "[{ssn,\"x1\"},{<<\"email\">>,<<\"x2\">>}]",
    "Map(ssn -> x1, \"email\" -> \"x2\")",
    "User { ssn: Some { a: \"x1\" }, email: ~c\"x2\" }",
    " 'password': 'x1 '",
    "             'x2 y',",
    "export SSN=\"line one",
    "x2\"",
    "password = one \\",
    "  two",
    "ssn = <<EOT",
    "EOT",
    "--X",
    "Content-Disposition: form-data; name=\"ssn\"",
    "ssn[0] = \"x1\"",
    "ssn;lang-en: x1",
    "{&quot;ssn&quot;:&quot;x1&quot;,&quot;e&quot;:2}",
    "  'ssn' <font color='#888a85'>=&gt;</font> <small>string</small> <font>'x1'</font>",
    "password {",
    "  --password <PASSWORD>  the one",
    "<ssn>x1</ssn><email>",
    "    <password>",
    "x.com\tFALSE\t/\tFALSE\t0\tssn\tx1y2",
    "-[ RECORD 1 ]",
    "* Record 1",
    "id  | 1",
    "ssn | 131-45-1438",
    "<table><tr><th>ssn</th></tr>",
    "<tr><td>x</td></tr></table>",
    "<ssn>x</ssn>",
    "<a name=\"ssn\">x</a>",
    "<a name=ssn b=c>x</a>",
    "<a",
    "name=\"ssn\"",
    ">131</a>",
    "run --ssn 131 x",
    "run --release x",
    "ssn=131-45-1438 city=Lund",
    "ssn: 131-45-1438",
    "ssn:",
    "  a: b",
    "ssn: |",
    "3) \"password\"",
    "4) \"x1\"",
    "$ssn",
    "[1] \"x1\"",
    "[\"ssn\", \"x1\"], ('password', 'x1')",
    "  [",
    "    \"ssn\",",
    "    \"x1\"",
    "  ]",
    "ssn   x1",
    "TAGS\tssn\tx1",
    "INSERT INTO t (",
    "INSERT INTO t (id,",
    "  (ssn,",
    "   id)",
    ") VALUES (",
    "  [\"ssn\"]=>",
    "  [\"ssn\":protected]=>",
    "  string(2) \"x1\"",
    "  array(1) {",
    "    [ssn:protected] => x1",
    "Key (id, ssn)=(1, x1) already exists.",
    "  ~ ssn = \"x1\" -> \"x2\"",
    "  \"label\": \"ssn\",",
    "  \"value\": \"x1\"",
    "id | ssn",
    "---|---",
    "1 | x1",
    "1. │  1 │ x1 │",
    "\"SSN=a b\"",
    "4052264x\u{8}567103461",
    "{Ssn:a b Id:1}",
    "<tr><td>ssn</td><td>x1</td></tr>",
    "Ssn: <b>x1</b>",
    "\u{feff}id,ssn",
    "id,ssn::text,amount (x)",
    "| **ssn** | `id` |",
    "Host: a",
    "a,b,c",
    "1,2,3",
    "a | b",
    "----+----",
    "1 | 2",
    "id,ssn,city\r",
    "1,131-45-1438,Lund\r",
    " id | account number ",
    "----+----------------",
    "  1 | 29401802       ",
    "  1 | 29401802",
    "id,name,email,account_number",
    "7,a b,joe@example.com,294018020001",
    "{1,2",
    " 8,b,c,d",
    "9,ssn: 5,x,y",
    "a,run --ssn 1,b,c",
    " id | e    | name | ssn      ",
    "----+------+------+----------",
    "  3 | 3000 | eve  | secretBB ",
    // Painted lines that are shorter than the rows of the table, and the end of a screen.
    "\x1b[5;1H  2 | 2000 | al",
    "\x1b[5;1H  2 | 131 | Lu",
    "\x1b[?1049h\x1b[H  2 | 2000",
    "\x1b[?1049l",
    "  2 | 20\x1b>",
    "@ @ https://u:pass@h/ @ x@",
    "@ https://u:pa/ss@h @joe",
    "{\"ssn\":\"a://b:c@d\",\"x\":\"f@\",\"y\":\"://b:c@d\"}",
    "id;ssn;city",
    "1;131-45-1438;Lund",
    "id|ssn|city",
    "1|131-45-1438|Lund",
];

/// Lines and pieces of what the scanner reads, in any order.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z]{1,8}",
        2 => Just(" ".to_owned()),
        3 => Just("\n".to_owned()),
        3 => pieces(KEYS),
        2 => pieces(VALUES),
        4 => pieces(MARKS),
        6 => pieces(LINES).prop_map(|l| format!("{l}\n")),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|v| v.concat())
}

/// The same lines many times, with others between them: tables that go on and on.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => pieces(LINES),
        1 => (pieces(KEYS), pieces(MARKS), pieces(VALUES)).prop_map(|(k, m, v)| format!("{k}{m}{v}")),
        1 => (pieces(VALUES), pieces(VALUES), pieces(VALUES)).prop_map(|(a, b, c)| format!("{a},{b},{c}")),
        1 => (pieces(VALUES), pieces(KEYS), pieces(VALUES), pieces(VALUES)).prop_map(|(a, b, c, d)| format!("{a},{b},{c},{d}")),
        1 => (pieces(VALUES), pieces(VALUES)).prop_map(|(a, b)| format!(" {a:>3} | {b:<14} ")),
        1 => (pieces(KEYS), pieces(VALUES), pieces(KEYS), pieces(VALUES)).prop_map(|(a, b, c, d)| format!("{{\"{a}\":\"{b}\",\"{c}\": \"{d}\"}}")),
    ];
    prop::collection::vec((line, 1..4usize), 0..24).prop_map(|v| {
        let mut text = String::new();
        for (line, n) in v {
            for _ in 0..n {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    })
}

/// Values that stand in the cells of a table, most of them plain ones.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => "[0-9]{3}-[0-9]{2}-[0-9]{4}",
        8 => "[0-9]{1,14}",
        8 => "[a-z]{1,9}( [a-z]{1,6})?",
        2 => "[ -~]{0,24}",
        3 => prop::sample::select(vec![
            "", " ", "null", "NULL", "none", "undefined", "-", "---", "-----------", "~", "n", "\\N",
            "\"a b\"", "\"a,b\"", "a\"b", " 12345678", "12345678 ", "\t12345678", "4111 1111 1111 1111",
            "4111111111111111", "joe@example.org", "ssn 131-45-1438", "ssn", "password: hunter2",
            "\x1b[1m131-45-1438\x1b[0m", "131-45\x08-1438", "naïve", "宮田 12345678", "x\r", "(1 row)",
            "{\"ssn\": 1}", "<none>", "a|b", "a;b", "[1]", "DE89370400440532013000",
            "a value that is longer than sixty-four bytes, which is more than one block has, and ends here",
        ]).prop_map(str::to_owned),
    ]
}

/// Rows of one table, more of them than are masked together, with a line of another kind at times.
fn table() -> impl Strategy<Value = String> {
    const HEADERS: [[&str; 6]; 3] = [
        ["id", "ssn", "note", "account_number", "n", "created"],
        ["ssn", "id", "note", "created", "n", "account_number"],
        ["id", "created", "note", "n", "email", "city"],
    ];
    let other = prop::option::weighted(0.03, prop_oneof![pieces(LINES), "[ -~]{0,30}"]);
    let rows = prop::collection::vec((prop::array::uniform6(cell()), other), 1..90);
    // So many rows begin with plain cells alone.
    (rows, 0..90usize, 0..HEADERS.len(), 0..8usize, any::<bool>()).prop_map(
        |(rows, plain, header, kind, crlf)| {
            let end = if crlf { "\r\n" } else { "\n" };
            let header = HEADERS[header];
            let line = |cells: [&str; 6]| match kind {
                0..4 => cells.join([",", ";", "\t", "|"][kind]) + end,
                4 | 5 => cells.map(|c| format!(" {c:<14} ")).join("|") + end,
                _ => {
                    let cells = cells.map(|c| format!(" {c:>14} "));
                    format!("|{}|{end}", cells.join("|"))
                }
            };
            let mut text = line(header);
            match kind {
                0..4 => {}
                4 => text.push_str(&line(["--------------"; 6])),
                _ => {
                    let rule = ["----------------"; 6].join("+");
                    let edge = if kind > 5 { "+" } else { "" };
                    text.push_str(&format!("{edge}{rule}{edge}{end}"));
                }
            }
            for (k, (cells, other)) in rows.iter().enumerate() {
                let number = format!("{k}");
                text.push_str(&match other {
                    Some(other) => line([other, "", "", "", "", ""]),
                    None if k < plain => line([
                        &number,
                        "131-45-1438",
                        "a note",
                        "29401802",
                        "",
                        "2024-01-02",
                    ]),
                    None => line(cells.each_ref().map(String::as_str)),
                });
            }
            if kind >= 4 {
                text.push_str("(7 rows)\n");
            }
            text
        },
    )
}

/// Objects with the same keys in lines of their own, some of which leave a key out, turn the order
/// around, or are not as plain as that.
fn objects() -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(
        vec![
            "id",
            "ssn",
            "name",
            "email",
            "account_number",
            "lessn",
            "created",
            "data",
            "note e",
            "field_0_0",
        ],
        1..8,
    )
    .prop_shuffle();
    let value = prop_oneof![
        12 => "\"[a-z0-9 -]{0,20}\"",
        6 => "[0-9]{1,12}",
        1 => "\"[ -~]{0,30}\"",
        1 => (0..4000usize).prop_map(|n| format!("\"{}\"", "z".repeat(n))),
        3 => prop::sample::select(vec![
            "null", "\"\"", "true", "-1.5e3", "\"131-45-1438\"", "\"null\"", "\"a\\\"b\"", "\"ssn\"", "\"a", "x\"",
            "[\"user\",\"data\",0]", "[\"ssn\",\"email\"]", "{\"ssn\":\"x1\"}", "\"\\u0073sn\"",
            "{\"p\":\"am9lQGV4YW1wbGUuY29t\"}", "\"a\nb\"", "\"joe@example.org\"", "\"a ssn\"", "\"\x1b[1mx\"",
        ]).prop_map(str::to_owned),
    ];
    let line = (
        prop::collection::vec(value, 8),
        prop::option::weighted(0.15, (0..4usize, 0..8usize)),
    );
    let lines = prop::collection::vec(line, 1..60);
    let style = (any::<bool>(), any::<bool>());
    (keys, lines, style).prop_map(|(keys, lines, (spaces, crlf))| {
        let (colon, comma) = if spaces { (": ", ", ") } else { (":", ",") };
        let mut text = String::new();
        for (values, other) in lines {
            let members = keys.iter().zip(values);
            let mut members: Vec<_> = members
                .map(|(key, value)| format!("\"{key}\"{colon}{value}"))
                .collect();
            let (mut open, mut close) = ("{", "}");
            match other {
                Some((0, _)) => members.reverse(),
                Some((1, at)) if at < members.len() => drop(members.remove(at)),
                Some((2, _)) => (open, close) = ("  ", ""),
                Some((3, at)) if at < members.len() => members[at].push('\n'),
                _ => {}
            }
            text.push_str(open);
            text.push_str(&members.join(comma));
            text.push_str(close);
            text.push_str(if crlf { "\r\n" } else { "\n" });
        }
        text
    })
}

fn check(text: &[u8], kind: usize, size: usize, pty: bool) -> Result<(), TestCaseError> {
    let rules = rules(kind);
    let want = scan(&rules, Way::Bytes, pty, [text]);
    let cut = scan(&rules, Way::Bytes, pty, text.chunks(size));
    for way in 0..3 {
        let got = scan(&rules, Way::Blocks(way), pty, [text]);
        prop_assert_eq!(&got, &want, "way {} of one piece", way);
        let got = scan(&rules, Way::Blocks(way), pty, text.chunks(size));
        prop_assert_eq!(&got, &cut, "way {} of pieces of {}", way, size);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in text(), kind in 0..5usize, size in 1..300usize, pty: bool) {
        check(text.as_bytes(), kind, size, pty)?;
    }

    #[test]
    fn lines_in_any_order(text in lines(), kind in 0..5usize, size in 1..600usize, pty: bool) {
        check(text.as_bytes(), kind, size, pty)?;
    }

    #[test]
    fn any_bytes(text: Vec<u8>, kind in 0..5usize, size in 1..300usize) {
        check(&text, kind, size, true)?;
    }
}

proptest! {
    // Each is a long text.
    #![proptest_config(ProptestConfig { cases: cases() / 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn objects_in_lines(text in objects(), kind in 0..5usize, size in 1..4000usize, pty: bool) {
        check(text.as_bytes(), kind, size, pty)?;
    }

    #[test]
    fn rows_of_a_table(text in table(), kind in 0..5usize, size in 1..4000usize, pty: bool) {
        check(text.as_bytes(), kind, size, pty)?;
    }
}

/// A painted row that is shorter than its table leaves the columns behind it protected.
#[test]
fn rows_after_a_short_painted_one_are_masked() {
    let text = [
        " id | e    | name | ssn      ",
        "----+------+------+----------",
        "  1 | 1000 | bob  | secretAA ",
        "\x1b[5;1H  2 | 2000 | al",
        "  3 | 3000 | eve  | secretBB ",
        "  4 | 4000 | joe  | secretCC ",
        "",
    ]
    .join("\n");
    let rules = rules(0);
    let want = scan(&rules, Way::Bytes, true, [text.as_bytes()]);
    assert!(!want.out.contains("secret"), "{}", want.out);
    for way in 0..3 {
        let got = scan(&rules, Way::Blocks(way), true, [text.as_bytes()]);
        assert_eq!(got, want, "way {way}");
    }
}

/// A quote that nobody closes keeps the columns behind it protected, in every row that follows.
#[test]
fn rows_after_an_open_quote_are_masked() {
    let key = "Key (id, ssn)=(1, x1) already exists.\n".repeat(3);
    let header = "\u{feff}id,ssn\n".repeat(3);
    let rows = [
        "131-45-1438,ssn,4374 9202 8903 3002,131-45-1438\n",
        "\",ssn,131-45-1438,ghp_0123456789abcdefghijABCDEFGHIJ012345\n",
        "131-45-1438,131-45-1438,131-45-1438\n",
    ];
    for last in ["ssn:a \\\"b\\\" c\n", "ssn:a \"b\" c\n"] {
        let text = format!("{key}{header}{}{}{last}", rows.concat(), rows[2]);
        for kind in 0..5 {
            for size in [1, 2, 7, 64, 4000] {
                for pty in [false, true] {
                    check(text.as_bytes(), kind, size, pty).unwrap();
                }
            }
        }
    }
}

/// Values of any size, and of other kinds of bytes than the row before has, are replaced alike; what
/// stands behind stars that are as long as the value is not lost.
#[test]
fn values_of_any_size_are_replaced() {
    let kinds = ["a", "9", "-", " ", "n", "z9-", "null", "\\", "é"];
    for by in [",", "\t", "|"] {
        let mut delimited = format!("id{by}ssn{by}note{by}account_number\n");
        let mut aligned = String::from(
            " id  |                   ssn                    | note | account_number \n\
             -----+------------------------------------------+------+----------------\n",
        );
        for (k, kind) in (0..280).zip(kinds.iter().cycle()) {
            let (size, other) = (k % 71, 70 - k % 71);
            let first: String = kind.chars().cycle().take(size).collect();
            let last = "7".repeat(other);
            delimited += &format!("{k}{by}{first}{by}x y{by}{last}\n");
            let cell: String = first.chars().take(40).collect();
            aligned += &format!(" {k:>3} | {cell:<40} | x y  | {:>14.14} \n", &last);
        }
        for kind in 0..5 {
            for size in [700, 40_000] {
                check(delimited.as_bytes(), kind, size, false).unwrap();
                check(aligned.as_bytes(), kind, size, false).unwrap();
            }
        }
    }
}

/// A row whose protected cell says another protected name may be the header of the next table.
#[test]
fn a_name_in_a_protected_cell_may_begin_a_table() {
    for (by, end) in [
        (",", "\n"),
        (",", "\r\n"),
        ("\t", "\n"),
        ("|", "\n"),
        (";", "\r\n"),
    ] {
        let text = [
            "n,ssn,id",
            "a,131-45-1438,2",
            "a,131-45-1438,2",
            "name,email,city",
            "a,x@y,2",
            "b,abc,3",
            "email,email,id",
            "a,abc,2",
            "n,ssn",
            "a,abc",
            "city,email",
            "a,joe",
            "",
        ]
        .join(end)
        .replace(',', by);
        let text = text.repeat(8);
        for kind in 0..5 {
            for size in [1, 7, 64, 4000] {
                check(text.as_bytes(), kind, size, false).unwrap();
            }
        }
    }
}

/// A sentence is no `INSERT`, and an `INSERT` needs no `INTO`.
#[test]
fn rows_follow_an_insert_alone() {
    let rules = rules(2);
    for (text, want) in [
        ("Insert card (id,ssn)\n(see below, page 2)\n", None),
        ("replace the words (id,ssn)\n(1, 'x')\n", None),
        (
            "INSERT INTO t (id,ssn)\nVALUES\n(1, 'secret'),\n(2, 'secret');\n",
            Some(2),
        ),
        ("insert t (id,ssn)\nvalues\n(1, 'secret');\n", Some(1)),
        ("REPLACE t (id,ssn)\nVALUES (1, 'secret');\n", Some(1)),
        ("INSERT t (id,ssn) VALUES\n(1, 'secret');\n", Some(1)),
        (
            "REPLACE INTO t\n(id,ssn)\nVALUES\n(1, 'secret');\n",
            Some(1),
        ),
    ] {
        for size in [1, 3, 1000] {
            let got = scan(&rules, Way::Bytes, false, text.as_bytes().chunks(size));
            match want {
                None => assert_eq!(got.out, text),
                Some(n) => {
                    assert!(!got.out.contains("secret"), "{}", got.out);
                    assert_eq!(got.verdicts.len(), n, "{}", got.out);
                }
            }
        }
    }
}

/// A line that a piece's end cuts is put together with its rest: the same bytes leave, and no later
/// than they are decided.
#[test]
fn every_cut_of_a_line() {
    let first = |rules: &Arc<Rules>, way, piece: &str| {
        let mut scanner = Scanner::new(Arc::clone(rules), Options::default()).with_way(way);
        let bytes = Bytes::copy_from_slice(piece.as_bytes());
        scanner.feed(Stream::Stdout, Raw::new(bytes));
        scanner.coverage()
    };
    for text in [
        "{\"id\":1,\"ssn\":\"131-45-1438\",\"name\":\"ssn\",\"account_number\": 294018020001,\"a\":\"joe@example.com\"}\nnext\n",
        "id,ssn,city\n1,131-45-1438,Lund\n2, 131-45-1439 ,joe@example.com\n3,\"131-45-1430\",x\n",
        " id |     ssn     | city \n----+-------------+------\n  1 | 131-45-1438 | Lund \r\n  2 |             | Oslo \n(2 rows)\n",
        "a line, and another: ssn=131-45-1438\nthe ssn\x08\x08\x08name: x1\n\x1b[1mssn\x1b[m: x1\nand so on\n",
    ] {
        for kind in [0, 2, 3, 4] {
            let rules = rules(kind);
            for at in 1..text.len() {
                let (begun, rest) = text.split_at(at);
                let pieces = [begun.as_bytes(), rest.as_bytes(), b"the end\n"];
                let want = scan(&rules, Way::Bytes, false, pieces);
                let decided = first(&rules, Way::Bytes, begun);
                for way in (0..3).map(Way::Blocks) {
                    assert_eq!(scan(&rules, way, false, pieces), want, "{begun}");
                    assert_eq!(first(&rules, way, begun), decided, "{begun}");
                }
            }
        }
    }
}

/// What is known of `"data",` says nothing of `"data":`, which opens the data of a Secret.
#[test]
fn data_is_looked_at_for_what_follows() {
    let secret = "am9lQGV4YW1wbGUuY29t";
    for (first, then) in [
        (
            r#"{"errors":[{"path":["user","data",0]}]}"#,
            r#"{"apiVersion":"v1","data":{"p":"SECRET"},"kind":"Secret"}"#,
        ),
        (
            r#"["a","data",1]"#,
            r#"{"b":1,"data":{"p":"SECRET"},"kind":"Secret"}"#,
        ),
        (
            r#"{"a":{"x":"binaryData","y":1}}"#,
            r#"{"a":{"x":"binaryData":{"p":"SECRET"}}"#,
        ),
    ] {
        let then = then.replace("SECRET", secret);
        let text = format!("{first}\n{first}\n{then}\n{}\n", "z".repeat(300));
        for kind in [0, 1, 4] {
            let rules = rules(kind);
            let want = scan(&rules, Way::Bytes, false, [text.as_bytes()]);
            for way in 0..3 {
                let got = scan(&rules, Way::Blocks(way), false, [text.as_bytes()]);
                assert_eq!(got, want, "way {way}");
            }
            assert!(kind == 1 || !want.out.contains(secret), "{}", want.out);
        }
    }
}

/// An ending that is known as none is one where an escape writes one of its letters.
#[test]
fn an_escape_makes_a_name_of_a_known_ending() {
    let rules = rules(0);
    for escape in ["\\u006d", "\\x6d", "%6d", "&#109;"] {
        let known = escape.trim_start_matches(['\\', 'u', '%', '&']);
        let text = format!(
            "{{\"x{known}ber\":1}}\n{{\"x{known}ber\":2}}\n{{\"accountnu{escape}ber\":\"secret1\"}}\n"
        );
        let want = scan(&rules, Way::Bytes, false, [text.as_bytes()]);
        assert!(!want.out.contains("secret1"), "{}", want.out);
        for way in 0..3 {
            let got = scan(&rules, Way::Blocks(way), false, [text.as_bytes()]);
            assert_eq!(got, want, "way {way}");
        }
    }
}

/// A protected name and a value at every place of a block.
#[test]
fn every_edge_of_a_block() {
    for line in LINES {
        for kind in [0, 3] {
            let rules = rules(kind);
            for pad in 0..66 {
                let text = format!("{}\n{line}\n{line}\nand so on\n", "x".repeat(pad));
                let want = scan(&rules, Way::Bytes, false, [text.as_bytes()]);
                for way in 0..3 {
                    let got = scan(&rules, Way::Blocks(way), false, [text.as_bytes()]);
                    assert_eq!(got, want, "{text}");
                }
            }
        }
    }
}
