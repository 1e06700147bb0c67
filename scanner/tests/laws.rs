//! Laws of the scanner, for any text and any way to cut it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Checksum, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step,
    Stream,
};

/// Compiled once: patterns take their time.
fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(compiled);
    Arc::clone(&RULES)
}

fn compiled() -> Arc<Rules> {
    let redact = Action::Mask(Mask::Redact);
    let mut detectors = Rule::new("detectors", redact);
    for detector in Detector::ALL {
        detectors = detectors.detector(detector);
    }
    let rules = RulesBuilder::new()
        .rule(
            Rule::new("numbers", Action::Mask(Mask::Last4))
                .field("ssn")
                .field("account_number"),
        )
        .rule(
            Rule::new("secrets", redact)
                .field("email")
                .field("password")
                .field("amount")
                .field("customer.phone"),
        )
        .rule(
            detectors
                .own_detector("staff", r"\b[A-Z]{2}-\d{3,5}\b", Checksum::None)
                .own_detector("word", r"(ssn|val)[a-z ]{1,9}x", Checksum::None)
                .own_detector("number", r"[0-9.-]{6,12}", Checksum::Luhn),
        )
        .build();
    Arc::new(rules.unwrap())
}

fn scan<'a>(rules: &Arc<Rules>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    scan_as(rules, Options::default(), pieces)
}

fn scan_as<'a>(
    rules: &Arc<Rules>,
    options: Options,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut scanner = Scanner::new(Arc::clone(rules), options);
    let mut out = Vec::new();
    let mut fed = 0;
    let mut take = |scanner: &mut Scanner| {
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { bytes, .. } = step {
                out.extend_from_slice(bytes.as_bytes());
            }
        }
    };
    for piece in pieces {
        fed += piece.len() as u64;
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
        take(&mut scanner);
    }
    scanner.end();
    take(&mut scanner);
    let sum = scanner.coverage();
    assert_eq!(
        sum.passed + sum.masked + sum.held + sum.unreadable,
        fed,
        "{sum:?}"
    );
    out
}

/// Where there is a terminal, or none: `text` leaves as `want`, however it is cut.
fn leaves_as(options: Options, text: &str, want: &str) {
    for size in [1, 2, 5, 7, 19, 100, usize::MAX] {
        let out = scan_as(&rules(), options, text.as_bytes().chunks(size));
        assert_eq!(String::from_utf8(out).unwrap(), want, "{size}");
    }
}

const TERMINAL: Options = Options { pty: true };
const PIPE: Options = Options { pty: false };

/// How many cases each law is tried with; `LAWS_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("LAWS_CASES").ok();
    let long = std::env::var_os("BASTION_TEST_LONG").is_some();
    asked
        .and_then(|n| n.parse().ok())
        .unwrap_or(if long { 60_000 } else { 3000 })
}

/// Pieces of the formats that the scanner reads, in any order.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z]{1,8}",
        3 => Just(" ".to_owned()),
        3 => Just("\n".to_owned()),
        2 => prop::sample::select(vec![
            "ssn", "email", "password", "accountNumber", "\"customer\":{", "customer:\n  ", "phone", "\"phone\"", "phone: ", "name", "value", "\"ssn\"", "\"email\"", "'password'",
            "--password", "\\\"ssn\\\"", "\"\"ssn\"\"", "<ssn>", "</ssn>", "<td>", "<th>", "</th>", "</td>", "<tr>",
            "VALUES", "INSERT INTO t (id, ssn)", "INSERT INTO t (id,ssn) VALUES\n", "(1, 'x'),\n", "COPY t (id, ssn) FROM stdin;", "-[ RECORD 1 ]", "* Record 1",
            "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "Bearer ", "https://a:", "eyJ",
            "AKIAX2KKQUKA7TSPMI3O", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "xoxb-123456789012-abcdef",
        ]).prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            ":", ": ", "=", " = ", "=>", ",", ", ", "{", "}", "[", "]", "(", ")", "|", " | ", "\"", "'", "\\", "\t", "-",
            "- ", "--", "---", "----+----", "+---+---+", "| --- |", "@", ".", ";", "&", "<", ">", "`", "\r\n", "\r", "│", " │ ",
            "─", "  ", "   ", "\u{8}", "\x1b[1m", "\x1b[2;5H", "\x1b[3C", "/", "//", "*", "#", "!", "_", "宮", "é", "null", "|\n", ">\n",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "131-45-1438", "4374 9202 8903 3002", "4052264567103461", "DE17994669278410113391", "joe@example.com",
            "+46 8 123 456 78", "+", "(555) 123-4567", "555-123-4567", "{\"Name\": \"ssn\",", "\"Value\": \"x\"}", "data:\n", "\"data\": {", "am9lQGV4YW1wbGUuY29t", "ssn | id \ndata:\n  a: ", "{\"data\":{\"a\":null,\"b\":\"",
            "3) \"password\"\n", "4) \"x1y\"\n", "$ssn\n", "[1] \"x1\"\n", "[\"ssn\", \"x1\"]", "('password', 'x1')", "ssn   x1\n", "TAGS\tssn\tx1\n", "INSERT INTO t (\n", "INSERT INTO t\n", "  ssn,\n", ") VALUES (", "[\"ssn\"]=>\n", "string(2) \"x1\"", "[ssn:protected] => ", "(id, ssn)=(1, x1)", " -> ", "\"ssn\" -> \"x1\"", "type", "\"label\": \"ssn\"", "---|---\n", "id | ssn\n", "┌─id─┬─ssn─┐\n", "1. │ 1  │ x1 │", "\"SSN=a b\"", "4052264x\u{8}567103461", "{Ssn:a b Id:1}", "<td>ssn</td><td>", "<b>", "\u{feff}id,ssn\n",
            "550697.66", "1", "22", "333", "2024-01-02", "id,ssn,city", "id\tssn\tcity", " id | ssn | city ", "NAME   SSN   AGE",
            "| id | ssn |", "id|ssn|city", "1|2|3|4", "1,2,3,4", "1\t2\t3\t4", "\"a", "\"a|b\"", "\"a\" b", "|1|2|3|4|", "|id|ssn|city|", "string(5) \"a\n", "[3] \"x1\"\n", "Levels: x1\n", "id & ssn & c \\\\\n", "\\raggedright{x1}", "\n&\n", " \\tabularnewline\n", "^l|id ^l|ssn ^l|c\n|1 |x", "|x |y\n", "id,ssn,city\n1,\"", "INSERT INTO t (id, ssn, c) VALUES (1, ",
            "^l|id ^l|ssn", "id & ssn \\\\", "a,b,c", "1 | 2 | 3", "a\tb\tc", "x   y   z",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|v| v.concat())
}

/// Where two outputs begin to differ, and what stands there.
fn difference(cut: &[u8], whole: &[u8]) -> String {
    let at = cut.iter().zip(whole).take_while(|(a, b)| a == b).count();
    let near = |text: &[u8]| {
        let part = &text[at.saturating_sub(60)..text.len().min(at + 60)];
        String::from_utf8_lossy(part).into_owned()
    };
    format!(
        "at {at}: in pieces {:?}, whole {:?}",
        near(cut),
        near(whole)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// A peer may cut data anywhere (RFC 4254 §5.2), so cuts must not show.
    #[test]
    fn cuts_do_not_show(text in text(), size in 1..40usize) {
        let rules = rules();
        let whole = scan(&rules, [text.as_bytes()]);
        let cut = scan(&rules, text.as_bytes().chunks(size));
        prop_assert!(cut == whole, "{}", difference(&cut, &whole));
        let bytes = scan(&rules, text.as_bytes().chunks(1));
        prop_assert!(bytes == whole, "{}", difference(&bytes, &whole));
    }

    /// Nor in lines that are longer than what anything looks back at.
    #[test]
    fn cuts_of_long_lines_do_not_show(
        parts in prop::collection::vec((text(), prop::sample::select(vec![" ", "x", "ab ", "[", "\"", "1234 ", ", ", "=", "| "]), 0..3000usize), 1..6),
        size in 1..3000usize,
    ) {
        let rules = rules();
        let text: String = parts.iter().map(|(text, pad, n)| format!("{text}{}", pad.repeat(*n))).collect();
        let whole = scan(&rules, [text.as_bytes()]);
        let cut = scan(&rules, text.as_bytes().chunks(size));
        prop_assert!(cut == whole, "{}", difference(&cut, &whole));
    }

    /// Bytes of any kind, too.
    #[test]
    fn cuts_of_anything_do_not_show(text: Vec<u8>, size in 1..40usize) {
        let rules = rules();
        prop_assert_eq!(scan(&rules, text.chunks(size)), scan(&rules, [text.as_slice()]));
    }

    /// Where nothing is protected, every byte comes out as it went in.
    #[test]
    fn without_rules_nothing_changes(text in text(), size in 1..40usize) {
        let rule = Rule::new("r", Action::Mask(Mask::Redact)).field("no_such_field");
        let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
        prop_assert_eq!(scan(&rules, text.as_bytes().chunks(size)), text.as_bytes());
        prop_assert_eq!(scan(&Arc::new(Rules::none()), text.as_bytes().chunks(size)), text.as_bytes());
    }

    /// A planted value never survives, whatever stands around it.
    #[test]
    fn planted_values_never_survive(
        before in "[a-z \n]{0,20}", after in "[a-z \n]{0,20}", secret in "[a-zA-Z0-9]{8,24}", form in 0..22usize, size in 1..40usize,
    ) {
        prop_assume!(!secret.eq_ignore_ascii_case("undefined"));
        let text = match form {
            0 => format!("{{\"password\":\"{secret}\"}}"),
            1 => format!("{{\"a\":1,\"password\" : [\"{secret}\", \"x\"]}}"),
            2 => format!("{{\"password\":{{\"a\":{{\"b\":\"{secret}\"}}}}}}"),
            3 => format!("{{\"p\":\"{{\\\"password\\\": \\\"{secret}\\\"}}\"}}"),
            4 => format!("password={secret}"),
            5 => format!("x password=\"{secret}\" y"),
            6 => format!("password: {secret}"),
            7 => format!("- password: '{secret}'"),
            8 => format!("<password>{secret}</password>"),
            9 => format!("<a password=\"{secret}\"/>"),
            10 => format!("run --password {secret} now"),
            11 => format!("[\"--password\", \"{secret}\"]"),
            12 => format!("id,password\n1,{secret}"),
            13 => format!("id\tpassword\n1\t{secret}"),
            14 => format!(" id | {:<w$} \n----+-{:-<w$}-\n  1 | {secret} ", "password", "", w = secret.len().max(8)),
            15 => format!("+----+-{:-<w$}-+\n| id | {:<w$} |\n+----+-{:-<w$}-+\n|  1 | {secret} |", "", "password", "", w = secret.len().max(8)),
            16 => format!("{{\"Name\":\"password\",\"Value\":\"{secret}\"}}"),
            17 => format!("{{'password': '{secret}'}}"),
            18 => format!("{{:password=>\"{secret}\"}}"),
            19 => format!("map[password:{secret} x:y]"),
            20 => format!("INSERT INTO t (id, password) VALUES (1, '{secret}');"),
            _ => format!("password:\n  a: {secret}\n  b: 1"),
        };
        let text = format!("{before}\n{text}\n{after}");
        let out = String::from_utf8(scan(&rules(), text.as_bytes().chunks(size))).unwrap();
        prop_assert!(!out.contains(&secret), "{}", out);
    }
}

/// Texts with which cuts did show.
#[test]
fn texts_that_were_read_otherwise_in_pieces() {
    let rules = rules();
    for text in [
        "\"ssn\"=>string(2) \"x1\"".to_owned(),
        format!(
            "INSERT INTO t (id,ssn) VALUES\n{}\n(1, 'x'),\n",
            "1234 ".repeat(1677)
        ),
        "INSERT INTO t (id, ssn, c) VALUES (1, id,ssn,city(555) 123-4567\n".to_owned(),
        format!(
            "INSERT INTO t (id,ssn) VALUES\n('password', 'x1'){}(555) 123-4567  ",
            "ab ".repeat(226)
        ),
        "<ssn!=>a".to_owned(),
        format!(
            "{}phoneINSERT INTO t (id, ssn, c) VALUES (1, ssna{{\"Name\": \"ssn\",\n[ssn:protected] => =",
            "1234 ".repeat(1884)
        ),
        format!(
            "INSERT INTO t (id, ssn, c) VALUES (1, {}aaaaemailpasswordassnaaaa{}a{}\nssn   x1\n",
            "1234 ".repeat(150),
            ", ".repeat(2507),
            ", ".repeat(2404)
        ),
        "AKIAX2KKQUKA7TSPMI3O\u{8}550697.66".to_owned(),
        format!(
            "-----BEGIN RSA PRIVATE KEY-----{}aaaa{}-[ RECORD 1 ]",
            "x".repeat(2731),
            "x".repeat(1579)
        ),
        "[ssn:protected] => type('password', 'x1') ".to_owned(),
        "\"ssn\":\n[1]b".to_owned(),
        "'[ssn:protected] => (1, 'x'),\n".to_owned(),
        "id|ssn|city\n\nINSERT INTO t (id, ssn, c) VALUES (1, |\n".to_owned(),
        "x\ty\tz\n\"Mia \"\"M\"\" a=1\tpassword=x\tb=2\"".to_owned(),
        format!(
            "<ssn><![CDATA[{}<a>]]></ssn> <ssn>{}  \nx</ssn>\n",
            "x1 ".repeat(30_000),
            "x1 ".repeat(30_000)
        ),
        "id,ssn\na<td>ssn</td>\ra\n<td>x1".to_owned(),
        "id  ||ssn |\nssn|\u{1d}\u{5bae}12\n".to_owned(),
        format!("| id | ssn |phone{}\na| --- |x1", "1234 ".repeat(1675)),
        format!("id|ssn|a{}b|c\n1|x1|2|3\n", " ".repeat(9000)),
        "password,a\n,,\"\n,,\"a\n".to_owned(),
        "a||ssn|\n\nssn=||\n".to_owned(),
        "\"ssn\",\"\",a\n<a,a\n> ".to_owned(),
        "a |ssn\naaaa\ra\\|a".to_owned(),
        "a |ssn\naaaa\raa│a =".to_owned(),
        "\x1b[?1049h,ssn,\nCOPY (,ssn)a\na\r,a,\n".to_owned(),
        "ssn  a\x1b[?1049h\rPassword</dt><a>\na".to_owned(),
        "password \n-- \n[ssn]=1  a\n".to_owned(),
        "\tssn\na<ssn>><\n".to_owned(),
        "a|ssn\na<ssn>]\r\n".to_owned(),
        "aaaaaaaaaaaaaaaa |ssn\n    [password]=>{aa".to_owned(),
        "SSN=\"\n> ".to_owned(),
        " password=>'a\n\n'117457a".to_owned(),
        "\"\"ssn\"\":[\\\"".to_owned(),
        "a|`password`|\n\nssn:a |\n".to_owned(),
        "a |ssn\npassword:1|\x1b[?1049l".to_owned(),
        "[\"--ssn\",\"\\u0000\"]\n".to_owned(),
        "aaa | |ssn\naSsn:a a".to_owned(),
        "a|ssn|\n\nssn=aa bb cc|dd\n".to_owned(),
        "aaaaaaaa |ssn\na\naaaa| aaa;a".to_owned(),
        "aaaaaaaaaaaa |ssn\naaaaa|aaaaaaa: |".to_owned(),
    ] {
        for options in [PIPE, TERMINAL] {
            let whole = scan_as(&rules, options, [text.as_bytes()]);
            for size in [1, 2, 7, 12, 100, 1000] {
                let cut = scan_as(&rules, options, text.as_bytes().chunks(size));
                assert!(cut == whole, "{size}: {}", difference(&cut, &whole));
            }
        }
    }
}

/// A line with nothing but a protected key is none of a row, whatever table stands above it.
#[test]
fn a_key_below_a_header_is_no_value() {
    for head in ["id       ssn", "ssn", "  name   ssn   city", "ssn   city"] {
        let text = format!("{head}\npassword:\n  a: x1y2z3\n  b: 1\n");
        leaves_as(
            PIPE,
            &text,
            &format!("{head}\npassword:\n  a: \"***\"\n  b: \"***\"\n"),
        );
    }
}

/// A command below the header of a table of spaces is no row of it, wherever its words stand.
#[test]
fn an_argument_below_a_header_is_no_cell() {
    for head in ["id   ssn", "job ssn    state", "  ssn          state"] {
        for line in [
            "run --password x1y2z3 now",
            "run --password   x1y2z3 now",
            "[\"--password\", \"x1y2z3\"]",
        ] {
            let text = format!("{head}\n{line}\n");
            leaves_as(PIPE, &text, &text.replace("x1y2z3", "***"));
        }
    }
}

/// The names of a header that is longer than what is kept, with as many spaces behind one.
#[test]
fn a_wide_name_of_a_long_header_is_read_in_any_cut() {
    let rules = rules();
    let pad = " ".repeat(9000);
    let text = format!("id|note{pad}|ssn{pad}|city\n1|a|x1y2z3|b\n");
    for size in [1, 100, 1000, 100_000] {
        let out = scan(&rules, text.as_bytes().chunks(size));
        assert!(
            !String::from_utf8(out).unwrap().contains("x1y2z3"),
            "{size}"
        );
    }
}

/// Types of programs, and what a manual wants its reader to put in, are no elements; what looks
/// like one and has a value is.
#[test]
fn names_in_angle_brackets_are_no_elements() {
    for text in [
        "fn f() -> Result<Password> {\n    a(b)\n}\nnext\n",
        "let x = Vec::<Password>::new();\nlet y = <Password as Trait>::of(x)?;\nnext\n",
        "List<Password> all = new ArrayList<Password>();\nnext\n",
        "  const [x, set] = useState<Password | null>(null);\nnext\n",
        "std::map<int, std::vector<Password>> x; // a\nnext\n",
        "public Task<Password> Get() => a;\nnext\n",
        "git config user.password <password>\nnext\n",
        "           git config user.password <password>\nnext\n",
        "mysql://<user>:<password>@<host>/<db>\nnext\n",
        "<user>:<password>@<host>\nnext\n",
        "$ curl -u <user>:<password> https://h/\nnext\n",
        "  -u, --user <user:password>  Server user and password\n  -v\n",
        "| pw | <password> |\n\nnext\n",
        "Enter your <password> and press a key, or \"<password>\".\nnext\n",
        "  login [<password>] [(<user>|<password>)]\nnext\n",
        "{\"help\":\"login <user>:<password>@<host>\",\"b\":1}\nnext\n",
    ] {
        leaves_as(PIPE, text, text);
    }
    // A manual is read in a terminal.
    for text in [
        "    login <password>\nnext\n",
        "login <user> <password>\nnext\n",
        "fn f() -> Result<Password> {\nnext\n",
    ] {
        leaves_as(TERMINAL, text, text);
    }
    for text in [
        "a<password>x1</password>b\nnext\n",
        "log: <password> x1 </password>\nnext\n",
        "log: <user> <password>x1</password>\nnext\n",
        "log: <password>\n  x1\n</password>\nnext\n",
        "log: <Envelope><Body><password>\nx1</password></Body></Envelope>\nnext\n",
        "<a><password>\n x1\n</password></a>\nnext\n",
        "  <password>\n    x1\n  </password>\nnext\n",
        "{\"xml\":\"<a>b<password>x1</password>\",\"b\":1}\nnext\n",
        // Nobody closes it: the line is in doubt.
        "log: <password>x1\nnext\n",
    ] {
        leaves_as(PIPE, text, &text.replace("x1", "***"));
    }
}

/// What only looks like a key, or like an element, masks nothing behind its string or line.
#[test]
fn what_opens_nothing_masks_nothing_behind() {
    for text in [
        r#"["Enter ssn: ", "a"]"#,
        r#"["Enter ssn:","a"]"#,
        "{\n  \"prompt\": \"password= \",\n  \"b\": 1\n}\n",
        r#"{"log": "{\"ssn\":", "b": 1}"#,
        &format!(r#"[{}"p[ssn:","note"]"#, r#""a\\","\"b", "#.repeat(100)),
        r#"{"log": "{\"ssn\": ", "b": "c"}"#,
        r#"{"body": "{\"prompt\": \"ssn: \", \"b\": \"c\"}"}"#,
        "{\"help\": \"login <password>\", \"b\": \"c\"}\nd\n",
        "{\"help\": [\"<password>\"],\n\"b\": \"c\"}\n",
        "usage: login <user> <password>\nlogged in\n$ ls\na b c\n",
        "  -p, --key <password>\n  -v\n",
        r#"["a ssn","((",null,1]"#,
        r#"[[["ss \n","[["],null],1]"#,
        r#"["a ssn</key>a<a",">",null]"#,
        "[\n  \"a ssn</key>a<a\",\n  \">\",\n  null\n]\n",
        &format!(r#"[{}"a\\","a<ssn>",null]"#, r#""a","#.repeat(300)),
        r#"["--password", null, {"a": 1}]"#,
        r#"["l)=(us",1,"a)"]"#,
        r#"["a  ssn ",[[null,";a"]],1]"#,
        r#"["a","--password ",null,1]"#,
        "[\n  \"--password \",\n  null\n]\n",
        r#"{"a":"b((--password ","c":1}"#,
        r#"["a\\\"ssn\\ :\\","a:",{"b":1}]"#,
        r#"["\n\\\"ssn\\",":1","a",false]"#,
        r#"["=>{\"ssn\"=>\\",{"b":"x1"}]"#,
        r#"["'>{\"ssn\"=>{ \""],[false,"a"]"#,
        r#"["--password", {"a": 1}]"#,
        r#"{"a":"b --password","c":null}"#,
        r#"{"a":"('ssn','","b":"')"}"#,
        r#"{"":"password","":""}"#,
        r#"["[ssn:[\\",null]"#,
        "[\n  \"d-[ RECORD 1 \",\n  \"ssn|\",\n  null\n]\n",
        r#"[[":ssn ",null],null]"#,
        r#"[{"a":"n'x","value":"ssn':"},null]"#,
    ] {
        leaves_as(PIPE, text, text);
    }
    for (text, secret) in [
        ("[\"A password:[x1\",\"wXk\",[{\"id\":[\" V\"]}]]\n", "x1"),
        ("[\"a ssn='x1\",\"8\",\",'\"]\n", "x1"),
        ("[\"a ssn: `x1\",\n\"8\",\n\",'\"]\n", "x1"),
        ("{\"log\": \"map[password:u\",\n\"b\": \",\"}\n", "u"),
        ("[\"password=[\\u0001x1\",null]\n", "\\u0001x1"),
        ("[\"password:(\",\", '\",\"b\"]\n", "("),
        ("[\"password:('x1\",\"b\",\"')\"]\n", "'x1"),
        ("[\"a (password)=(x1\",1,\"a)\"]\n", "x1"),
        ("[\"\\\"password\\\":`x1\",1,\"a`\"]\n", "x1"),
        ("[\"\\\\\",[[\"--password\",\"x1\",null]]]", "x1"),
        ("[\n  \"--ssn\",\n  \"x1\",\n  false,\n  null\n]\n", "x1"),
        (
            &format!(r#"["{}'","map[password:x1","b"]"#, "a\",\"".repeat(200)),
            "x1",
        ),
    ] {
        leaves_as(PIPE, text, &text.replace(&format!("{secret}\""), "***\""));
    }
    // The string ends, and with it how its quotes are written.
    let text = r#"[["([\"ssn\",",1],[1,null]]"#;
    leaves_as(PIPE, text, &text.replace("[1,", "[\"***\","));
    let text = "log: <password>\n  <a>x1</a>\n</password>\nx1\n";
    leaves_as(PIPE, text, &text.replacen("x1", "***", 1));
    for text in [
        "log: <password>\nx1\n y2\n</password>\nx1\n",
        "usage: <password>\nx1\n y2\n</password>\nx1\n",
    ] {
        leaves_as(
            PIPE,
            text,
            &text.replacen("x1", "***", 1).replace("y2", "***"),
        );
    }
    // In a terminal, too, where nothing waits for the end.
    leaves_as(TERMINAL, "text <ssn>\nx1y2z3\n", "text <ssn>\n***\n");
    let text = "  <user>      who\n  <password>  how\n  -v          all\n";
    leaves_as(PIPE, text, &text.replace("how", "***"));
}

/// A control character takes a column in a cell, however the cell was cut.
#[test]
fn a_control_in_a_cell_moves_no_column() {
    let text =
        "| id | note | password |\n|----|------|----------|\n| 1  | a\u{1d}b  | x1y2z3   |\n";
    leaves_as(PIPE, text, &text.replace("x1y2z3", "******"));
}

/// A string in the line below its key waits until it is known that it is no key itself.
#[test]
fn a_string_below_its_key_is_masked_in_any_cut() {
    for options in [PIPE, TERMINAL] {
        for text in [
            "{\"password\":\n\"x1y2z3 x1y2z3\",\"a\":1}\n",
            "\"password\":\n  \"x1y2z3 x1y2z3\"\n",
            "{\n  \"password\":\n    \"x1y2z3 x1y2z3\"\n}\n",
        ] {
            leaves_as(options, text, &text.replace("x1y2z3 x1y2z3", "***"));
        }
    }
}

/// A line below a header that turns out to be none of its rows when it ends is read as text from its
/// beginning, in any cut.
#[test]
fn text_below_a_header_is_masked_in_any_cut() {
    for head in ["id\tssn\tcity\n", "COPY t (id, ssn) FROM stdin;\n"] {
        for text in [
            "{\"columns\":[\"id\",\"password\"],\"rows\":[[1,\"x1y2z3\"]]}\n",
            "[[\"users\",0,\"password\"],\"x1y2z3\"]\n",
            "{\n  \"Value\": \"x1y2z3\",\n  \"Name\": \"password\"\n}\n",
        ] {
            let text = format!("{head}{text}");
            leaves_as(PIPE, &text, &text.replace("x1y2z3", "***"));
        }
    }
}

/// A separator behind an empty line may be one of cells, or part of a value.
#[test]
fn a_separator_in_a_value_far_below_a_table_is_masked() {
    let text = "id|name|ssn|city\n1|a|abc|b\n\npassword=x1|y2|z3\n";
    let want = "id|name|ssn|city\n1|a|***|b\n\npassword=******\n";
    leaves_as(PIPE, text, want);
}

/// JSON in a field of CSV, with quotes that its strings escape.
#[test]
fn quotes_in_strings_of_json_in_a_field_end_nothing() {
    for (by, json, want) in [
        (
            ",",
            r#"{""password"": {""a"": ""say \""hi\"" x"", ""b"": ""x1y2z3""}}"#,
            r#"{""password"": {""a"": ""***"", ""b"": ""***""}}"#,
        ),
        (
            ";",
            r#"{""password"": [""{\""a\"":\""b\""}"", {""c"": ""x1y2z3""}]}"#,
            r#"{""password"": [""***"", {""c"": ""***""}]}"#,
        ),
        (
            "\t",
            r#"{""email"": [""a"", ""[\""q\""]"", ""x1y2z3""]}"#,
            r#"{""email"": [""***"", ""***"", ""***""]}"#,
        ),
        (
            ",",
            r#"{""p"": ""{\""password\"": [\""x \\\""q\\\"" y\"", \""x1\""]}"", ""c"": 1}"#,
            r#"{""p"": ""{\""password\"": [\""***\"", \""***\""]}"", ""c"": 1}"#,
        ),
    ] {
        let line = |json: &str| format!("id{by}data{by}city\n1{by}\"{json}\"{by}x\n");
        leaves_as(PIPE, &line(json), &line(want));
    }
}

/// Rows whose bars do not stand under those of the header, and that lack cells.
#[test]
fn rows_that_lack_cells_are_masked() {
    for head in [
        " id | password | city |\n",
        " id | password | city\n",
        " id | password |\n",
        " id | password |\n----+----------\n",
        " id | password | a  | b\n",
    ] {
        for row in [
            " 26 | abc12345 | Lund\n",
            " 26 | abc1234567890\n",
            " 26 | a=b1 | x\n",
        ] {
            for size in [1, 7, usize::MAX] {
                let text = format!("{head}{row}");
                let out = scan(&rules(), text.as_bytes().chunks(size));
                let out = String::from_utf8(out).unwrap();
                assert!(
                    !out.contains("b1") && !out.contains("abc"),
                    "{text} became {out}"
                );
            }
        }
    }
    let text = " id │ password │\n 26 │ abc12345678 │\n";
    leaves_as(PIPE, text, &text.replace("abc12345678", "***********"));
}

/// A name and a bar at the end of its line are the header of nothing.
#[test]
fn a_bar_behind_one_name_begins_no_table() {
    for text in [
        "if (!user.password ||\n    !user.name ||\n    x) {\n",
        "cat password |\n  sort |\n  uniq\n",
    ] {
        leaves_as(PIPE, text, text);
    }
    let text = "1:password |\nadd_header X-Password xcmxgr3376\n";
    leaves_as(PIPE, text, &text.replace("xcmxgr3376", "***"));
}

/// A carriage return in a cell moves no cursor where there is none.
#[test]
fn a_carriage_return_in_a_cell_is_part_of_it() {
    let text = "id  password\n1   12ab\r345678a\n";
    let want = "id  password\n1   ****\r*******\n";
    leaves_as(PIPE, text, want);
}

/// Passwords of URLs with the marks of parameters and of hosts in them.
#[test]
fn a_password_may_look_like_parameters() {
    for text in [
        "smb://domain;user:x1/y2@host/share\n",
        "https://bob@corp:99;x1=y2@h/p\n",
        "snowflake://bob@corp.com:77;x1=y2@acct/db\n",
        "jdbc:mysql://u:99&x1=y2@h:3306/d\n",
    ] {
        for size in [1, 2, 7, usize::MAX] {
            let out = scan(&rules(), text.as_bytes().chunks(size));
            let out = String::from_utf8(out).unwrap();
            assert!(
                !out.contains("x1") && !out.contains("y2"),
                "{text} became {out}"
            );
        }
    }
}

/// The short syntax of AWS: a name may have spaces before its comma.
#[test]
fn a_name_of_words_before_a_comma_has_a_value() {
    for text in [
        "name=db password,value=wnrfzt3212\n",
        "Name=db password,Value=wnrfzt3212\n",
    ] {
        leaves_as(PIPE, text, &text.replace("wnrfzt3212", "***"));
    }
}

/// A value that is a backslash, which a string writes as two.
#[test]
fn an_escaped_backslash_is_masked_as_one() {
    leaves_as(
        PIPE,
        "[\"[password:\\\\ \",\"b\"]\n",
        "[\"[password:*** \",\"b\"]\n",
    );
}

/// A key in a protected container is one, however its arrow was cut.
#[test]
fn a_key_before_an_arrow_stays_in_a_container() {
    let text = "password: [{'city' => 'x1y2z3'}]\n";
    leaves_as(PIPE, text, &text.replace("x1y2z3", "***"));
}

/// Lines, columns and depths without an end: bounded, masked, and the same however cut.
#[test]
fn what_has_no_end_stays_bounded() {
    let rules = rules();
    let long = |n: usize| "x1".repeat(n / 2);
    for (text, secret) in [
        (
            format!("{{\"password\":\"{}\",\"a\":1}}\n", long(1 << 20)),
            true,
        ),
        (format!("password={}\nnext\n", long(1 << 20)), true),
        (format!("password: {}\nnext\n", long(1 << 20)), true),
        (format!("id,password\n1,{}\n2,b\n", long(1 << 20)), true),
        (format!("<password>{}</password>\n", long(1 << 20)), true),
        (format!("{}\n", long(1 << 20)), false),
        (format!("{}\n", "a,".repeat(100_000)), false),
        (format!("{}\n", "[".repeat(10_000)), false),
        (
            format!(
                "{{\"password\":{}1{}}}\n",
                "[".repeat(10_000),
                "]".repeat(10_000)
            ),
            false,
        ),
        ("=".repeat(1 << 18), false),
        (":".repeat(1 << 18), false),
        ("\"".repeat(1 << 18), false),
        ("<a ".repeat(1 << 16), false),
        ("4111 ".repeat(1 << 16), false),
        ("a@".repeat(1 << 16), false),
        ("a.".repeat(1 << 16), false),
        (" | ".repeat(1 << 16), false),
    ] {
        let whole = scan(&rules, [text.as_bytes()]);
        let cut = scan(&rules, text.as_bytes().chunks(1000));
        assert!(
            whole == cut,
            "{}… {} {}",
            &text[..20],
            whole.len(),
            cut.len()
        );
        if secret {
            assert!(whole.len() < 1000, "{}… {}", &text[..20], whole.len());
        } else if !text.contains("password") {
            assert!(whole == text.as_bytes(), "{}…", &text[..20]);
        }
    }
}

/// Whatever comes, and however long it is: at most 64 KiB are withheld.
#[test]
fn no_more_than_64_kib_are_withheld() {
    const MAX: u64 = 64 * 1024;
    let rules = rules();
    let long = |piece: &str| piece.repeat((200 << 10) / piece.len());
    let mut over = Vec::new();
    for (head, tail) in [
        ("", "x"),
        ("", "a,"),
        ("", "["),
        ("{\"password\":", "["),
        ("{\"password\":", " "),
        ("{\"password\":\"", "\\\\\""),
        ("{\"password\": \"", "x1"),
        ("password: ", "x1 "),
        ("password: |\n  ", "x1 "),
        ("password=", "x1"),
        ("password='''", "a\n"),
        ("run --password ", " "),
        ("run --password ", "x1"),
        ("id,password\n1,\"", "x\n"),
        (" id | password \n----+----\n 1 | ", "x"),
        ("NAME   PASSWORD   AGE\njoe   ", "x"),
        ("-[ RECORD 1 ]\npassword | ", "x"),
        ("^l|id ^l|password\n|1 |", "x"),
        ("id & password \\\\\n1 & ", "x"),
        ("<password>", "x1"),
        ("<password><![CDATA[", "x1"),
        ("<password ", "x1"),
        ("log: <password>", "x1"),
        ("usage: <password>\n", "x1"),
        ("&lt;ssn&gt;", "&amp;"),
        ("INSERT INTO t (id, password) VALUES (1, '", "x\n"),
        ("data:\n  a: ", "QUJD"),
        ("{\"data\":{\"a\":\"", "QUJD"),
        ("-----BEGIN RSA PRIVATE KEY-----\n", "QUJD"),
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.", "abc"),
        ("https://a:", "b"),
        ("", "4111 "),
        ("", "1.2"),
        ("", "\u{1b}["),
        ("\u{1b}]", "x"),
    ] {
        for pty in [false, true] {
            let mut scanner = Scanner::new(Arc::clone(&rules), Options { pty });
            let text = format!("{head}{}", long(tail));
            for piece in text.as_bytes().chunks(4096) {
                scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
                while scanner.next_step().is_some() {}
                if scanner.coverage().held > MAX {
                    over.push((head, tail, pty));
                    break;
                }
            }
        }
    }
    assert!(over.is_empty(), "{over:?}");
}

/// A match of an own detector so far before an address that the address does not reach it.
#[test]
fn a_match_far_before_an_address_is_masked_in_any_cut() {
    let rules = rules();
    let text = format!("(555) 123-4567{}joe@example.com", "x".repeat(70));
    let whole = scan(&rules, [text.as_bytes()]);
    assert!(!String::from_utf8_lossy(&whole).contains("4567"));
    for size in [1, 7, 60] {
        assert_eq!(scan(&rules, text.as_bytes().chunks(size)), whole);
    }
}
