//! Values as languages, configuration files and protocols print them, and texts that only look like
//! that.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use scanner::{Action, Detector, Mask, Options, Rule, Rules, RulesBuilder};

fn rules() -> Arc<Rules> {
    let names = ["ssn", "password", "session", "api_key"];
    let fields = Rule::new("fields", Action::Mask(Mask::Redact));
    let fields = names.iter().fold(fields, |rule, name| rule.field(*name));
    let all = Rule::new("detectors", Action::Mask(Mask::Redact));
    let all = Detector::ALL
        .into_iter()
        .fold(all, |rule, detector| rule.detector(detector));
    Arc::new(RulesBuilder::new().rule(fields).rule(all).build().unwrap())
}

/// Each text becomes the other one, however it is cut; in a terminal, too.
fn become_of(cases: &[(&str, &str)]) {
    let ordinary = "ordinary words, so that the line is read in blocks of many bytes each\n";
    for (text, out) in cases {
        for pty in [false, true] {
            let options = Options { pty };
            for size in [1, 2, 7, 64, 1000] {
                let got = support::scan(rules(), options, text, size);
                assert_eq!(String::from_utf8(got).unwrap(), *out, "{text} by {size}");
            }
            let long = format!("{0}\n{text}\n{0}", ordinary.repeat(12));
            let got = support::scan(rules(), options, &long, 1 << 16);
            let want = format!("{0}\n{out}\n{0}", ordinary.repeat(12));
            assert_eq!(String::from_utf8(got).unwrap(), want, "{text}");
        }
    }
}

/// None of these texts changes.
fn stay(texts: &[&str]) {
    let cases: Vec<(&str, &str)> = texts.iter().map(|text| (*text, *text)).collect();
    become_of(&cases);
}

#[test]
fn strings_go_on_in_the_next_line() {
    become_of(&[
        // Python wraps long strings, JavaScript adds them up.
        (
            "{'id': 1,\n 'password': 'aaa bbb '\n             'ccc ddd',\n 'z': 'x'}\n",
            "{'id': 1,\n 'password': '***'\n             '***',\n 'z': 'x'}\n",
        ),
        (
            "{\n  password: 'aaa\\n' +\n    'bbb',\n  city: 'Lund'\n}\n",
            "{\n  password: '***' +\n    '***',\n  city: 'Lund'\n}\n",
        ),
        (
            "ssn: \"aaa\"\n     \"bbb\"\ncity: \"Lund\"\n",
            "ssn: \"***\"\n     \"***\"\ncity: \"Lund\"\n",
        ),
        // The next line is a key.
        (
            "password: 'aaa'\n  'city': 'Lund'\n",
            "password: '***'\n  'city': 'Lund'\n",
        ),
        // Quotes of a file of settings.
        (
            "export PASSWORD=\"one\ntwo\\\" x\nthree\"\nCITY=\"Lund\"\n",
            "export PASSWORD=\"***\nx**\nx**\"\nCITY=\"Lund\"\n",
        ),
        (
            "PASSWORD='one\nCITY=Lund\nB=c\n",
            "PASSWORD='***\nCITY=Lund\nB=c\n",
        ),
        (
            "password=one \\\n  two \\\n  three\ncity=Lund\n",
            "password=*** \\\n  *** \\\n  ***\ncity=Lund\n",
        ),
        (
            "password = one\n  two\n  next = 1\ncity = Lund\n",
            "password = \"***\"\n  ***\n  next = 1\ncity = Lund\n",
        ),
        (
            "password = <<-EOT\n    one\n    two\n  EOT\ncity = \"Lund\"\n",
            "password = <<-EOT\n    ***\n    ***\n  EOT\ncity = \"Lund\"\n",
        ),
    ]);
}

#[test]
fn dumps_of_languages_are_read() {
    become_of(&[
        (
            "{:id 1, :ssn \"x1\", :city \"Lund\"}\n",
            "{:id 1, :ssn \"***\", :city \"Lund\"}\n",
        ),
        (
            "(:id 1 :user/ssn #uuid \"x1\" :city \"Lund\")\n",
            "(:id 1 :user/ssn #uuid \"***\" :city \"Lund\")\n",
        ),
        (
            "((id . 1) (ssn . \"x1\") (\"password\" . \"x2\") (city . \"Lund\"))\n",
            "((id . 1) (ssn . \"***\") (\"password\" . \"***\") (city . \"Lund\"))\n",
        ),
        (
            "[{id,1},{ssn,\"x1\"},{<<\"password\">>,<<\"x2\">>},{city,\"Lund\"}]\n",
            "[{id,1},{ssn,\"***\"},{<<\"password\">>,<<\"***\">>},{city,\"Lund\"}]\n",
        ),
        (
            "#{ssn => <<\"x1\">>,<<\"password\">> => <<\"x2\">>,city => <<\"Lund\">>}\n",
            "#{ssn => <<\"***\">>,<<\"password\">> => <<\"***\">>,city => <<\"Lund\">>}\n",
        ),
        (
            "Map(ssn -> x1, \"password\" -> \"x2\", city -> Lund)\n",
            "Map(ssn -> ***, \"password\" -> \"***\", city -> Lund)\n",
        ),
        (
            "User {id = 1, ssn = Just \"x1\", city = Just \"Lund\"}\n",
            "User {id = 1, ssn = Just \"***\", city = Just \"Lund\"}\n",
        ),
        (
            "User { ssn: Secret { inner: \"x1\" }, password: Some(Inner(\"x2\")), city: \"Lund\" }\n",
            "User { ssn: Secret { inner: \"***\" }, password: Some(Inner(\"***\")), city: \"Lund\" }\n",
        ),
        (
            "User(id=1, password=two words, city=Lund)\n",
            "User(id=1, password=***, city=Lund)\n",
        ),
        (
            "(char *) ssn = 0x55d0 \"x1\"\ncity = \"Lund\"\n",
            "(char *) ssn = *** \"***\"\ncity = \"Lund\"\n",
        ),
        (
            "password {\n  value: \"x1\"\n  n: 3\n}\ncity: \"Lund\"\n",
            "password {\n  value: \"***\"\n  n: \"***\"\n}\ncity: \"Lund\"\n",
        ),
        (
            "[[\"user\",\"bob\"],[\"password\",\"hunter\"],[\"host\",\"db\"]]\n",
            "[[\"user\",\"bob\"],[\"password\",\"***\"],[\"host\",\"db\"]]\n",
        ),
        (
            "json.ssn[0] = \"x1\";\nuser[ssn][]=x2&b=1\n",
            "json.ssn[0] = \"***\";\nuser[ssn][]=***&b=1\n",
        ),
        (
            "<div data-a=\"{&quot;ssn&quot;:&quot;x1&quot;,&quot;n&quot;:2}\">\n",
            "<div data-a=\"{&quot;ssn&quot;:&quot;***&quot;,&quot;n&quot;:2}\">\n",
        ),
        (
            "  'ssn' <font color='#888a85'>=&gt;</font> <small>string</small> <font>'x1'</font> <i>(2)</i>\n",
            "  'ssn' <font color='#888a85'>=&gt;</font> <small>string</small> <font>'***'</font> <i>(2)</i>\n",
        ),
        (
            "<ssn>x1</ssn><password>\n  x2\n</password><city>Lund</city>\n",
            "<ssn>***</ssn><password>\n  ***\n</password><city>Lund</city>\n",
        ),
    ]);
}

#[test]
fn protocols_and_their_files_are_read() {
    become_of(&[
        (
            "--X\r\nContent-Disposition: form-data; name=\"ssn\"\r\nContent-Type: text/plain\r\n\r\none\r\n\r\n-----BEGIN\r\n--X\r\nContent-Disposition: form-data; name=\"city\"\r\n\r\nLund\r\n--X--\r\n",
            "--X\r\nContent-Disposition: form-data; name=\"ssn\"\r\nContent-Type: text/plain\r\n\r\nx**\r\n\r\nx**\r\n--X\r\nContent-Disposition: form-data; name=\"city\"\r\n\r\nLund\r\n--X--\r\n",
        ),
        (
            "machine example.com login ada@example.com password x1\n  login bob\n  password x2\n\nother\n",
            "machine example.com login *** password ***\n  login bob\n  password ***\n\nother\n",
        ),
        (
            "ssn;lang-en: x1\nX-SSN;TYPE=home:x2\ncity;lang-en: Lund\n",
            "ssn;lang-en: x**\nX-SSN;TYPE=home:x**\ncity;lang-en: Lund\n",
        ),
        (
            "x.com\tFALSE\t/\tFALSE\t0\tsession\tx1y2\n",
            "x.com\tFALSE\t/\tFALSE\t0\tsession\t***\n",
        ),
        (
            "send: b'POST / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\nssn=x1&b=1'\n",
            "send: b'POST / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\nssn=***&b=1'\n",
        ),
        (
            "APP-MIB::ssn.0 = STRING: \"x1\"\n",
            "APP-MIB::ssn.0 = STRING: \"***\"\n",
        ),
    ]);
}

#[test]
fn what_a_detector_knows_stands_anywhere() {
    become_of(&[
        // The letter of an escape is no part of a word.
        (
            "{\"m\":\"a\\n131-45-1438\\tb\\nAKIAX2KKQUKA7TSPMI3O\"}\n",
            "{\"m\":\"a\\n***\\tb\\n***\"}\n",
        ),
        (
            "{\"m\":\"\\r4374920289033002\\nDE17994669278410113391\"}\n",
            "{\"m\":\"\\r***\\n***\"}\n",
        ),
        (
            "4374\u{a0}9202\u{a0}8903\u{a0}3002, 4374\u{2009}9202\u{2009}8903\u{2009}3002\n",
            "x**, x**\n",
        ),
        (
            "131\u{2011}45\u{2011}1438 10\u{a0}000 kr\n",
            "x** 10\u{a0}000 kr\n",
        ),
        (
            "DE17\u{202f}9946\u{202f}6927\u{202f}8410\u{202f}1133\u{202f}91\n",
            "x**\n",
        ),
        (
            "\"u\":\"postgres:\\/\\/bob:x1y2@db\\/x\"\n",
            "\"u\":\"postgres:\\/\\/bob:***@db\\/x\"\n",
        ),
    ]);
}

/// Each line of a key may have something before it.
#[test]
fn keys_in_quotations_and_logs_are_read() {
    let body = "MIIEpAIBAAKCAQEA7bq98mMKJFfkNpUBeAQOP3UYcCsTLPeWnqVBSAC9QmfXAPqG";
    let lines = [
        "-----BEGIN RSA PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED",
        "",
        body,
        body,
        "YcCsTLPe==",
        "-----END RSA PRIVATE KEY-----",
        "ordinary",
    ];
    let masked = lines.map(|line| {
        if line.len() > 40 || line.ends_with("==") {
            "***"
        } else {
            line
        }
    });
    for prefix in [
        "> ",
        "conf/a-b.pem:12:",
        "    12\t",
        "Nov 26 10:00:00 web1 app[12]: ",
        "web_1  | ",
    ] {
        let text = |lines: [&str; 8]| lines.map(|line| format!("{prefix}{line}\n")).concat();
        become_of(&[(&text(lines), &text(masked))]);
    }
    // Without an end.
    become_of(&[(
        &format!("> -----BEGIN PRIVATE KEY-----\n> {body}\n> YcCs\n> ordinary words\n> ordinary\n"),
        "> -----BEGIN PRIVATE KEY-----\n> ***\n> ***\n> ordinary words\n> ordinary\n",
    )]);
}

/// An `@` may be written in another way, a card with other blanks and dashes.
#[test]
fn detectors_know_other_ways_to_write() {
    become_of(&[
        (
            "GET /?u=ada%40example.com&b=1 x\n{\"e\":\"ada\\u0040example.com\"}\nada&#64;example.com, ada&#x40;example.com.\n",
            "GET /?u=***&b=1 x\n{\"e\":\"***\"}\nx**, x**.\n",
        ),
        (
            "4012\u{2013}8888\u{2013}8888\u{2013}1881\n4012\u{200b}8888\u{200b}8888\u{200b}1881\n",
            "x**\nx**\n",
        ),
    ]);
    stay(&[
        "50%4\n5%40example.com1\nhttps://registry.npmjs.org/%40babel%2fcore\n\"\\u0040type\": \"x\"\n&#64;media jest%4027.0.0.tgz\n",
        "pages 10\u{2013}20, 4012\u{2013}8888\n",
    ]);
}

/// What a detector masks by itself is masked behind a protected name, too, whatever ends the value of
/// that name.
#[test]
fn a_name_hides_nothing_from_a_detector() {
    let detectors = || {
        let rule = Rule::new("detectors", Action::Mask(Mask::Redact));
        let rule = Detector::ALL.into_iter().fold(rule, Rule::detector);
        RulesBuilder::new().rule(rule)
    };
    let alone = Arc::new(detectors().build().unwrap());
    let values = [
        "4111111111111111",
        "4111 1111 1111 1111",
        "3782 822463 10005",
        "4111-1111-1111-1111",
        "131-45-1438",
        "GB82 WEST 1234 5698 7654 32",
        "GB82WEST12345698765432",
        "+46 70 123 45 67",
        "+49 30 1234567",
        "415-555-2671",
        "(415) 555-2671",
        "bob.smith@example.com",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "https://bob:hunter2xyz@host.example/x",
    ];
    let forms = [
        "a=1 N=V b=2",
        "N=V",
        "N = V",
        "N: V",
        "x N: V, y",
        "a: 1, N: V , y",
        "{N=V, x=1}",
        "{N: V, x: 1}",
        "{ N = V, x = 1 }",
        "map[N:V x:1]",
        "User(N=V, x=1)",
        "\"N=V x\"",
        "{\"m\":\"a N=V x=1\"}",
        "{\"m\":\"a N: V, x\"}",
        "{\"N\": V, \"x\": 1}",
        "--N V --x y",
        "--N=V x",
        "[\"--N\", \"V\"]",
        "a N=x,V y",
        "a N=x;V y",
        "a N=x V y",
        "a N=(V) y",
        "user=x,N=V",
        "a=1&N=V&b=2",
        "<N>V</N>",
        "<x N=\"V\"/>",
        "N -> V",
        "N => V,",
        ":N V",
        "('N', 'V')",
        "setenv N V",
        "set -x N V",
        "| N | V |",
        "N,x\nV,y\n",
        "x\tN\ny\tV\n",
        "N      X\nV  y\n",
    ];
    for value in values {
        for form in forms {
            for name in ["ssn", "user_password"] {
                let text = format!("{}\n", form.replace('N', name).replace('V', value));
                for pty in [false, true] {
                    let options = Options { pty };
                    let told = support::scan(alone.clone(), options, &text, text.len());
                    let told = String::from_utf8(told).unwrap();
                    let words = value.split(|c: char| !c.is_alphanumeric());
                    let hidden = words.filter(|word| word.len() > 1 && !told.contains(word));
                    let hidden: Vec<&str> = hidden.collect();
                    for size in [1, 5, text.len()] {
                        let got = support::scan(rules(), options, &text, size);
                        let got = String::from_utf8(got).unwrap();
                        for word in &hidden {
                            assert!(!got.contains(word), "{text}{told}{got}by {size}");
                        }
                    }
                }
            }
        }
    }
}

/// What is written where a value stood, from its beginning on or from before it, is another text.
#[test]
fn text_over_a_whole_value_is_another_one() {
    let back = |size: usize| "\u{8}".repeat(size);
    let mail = "bob@example.com";
    let card = "4111 1111 1111 1111";
    for (text, out) in [
        (
            format!("x {mail}{}name of user\n", back(15)),
            format!("x ***{}name of user\n", back(15)),
        ),
        (
            format!("x {mail}{}\u{e9}\u{e9}\n", back(3)),
            format!("x ***{}\u{e9}\u{e9}\n", back(3)),
        ),
        (
            format!("x {card}{}1234567890 ok\n", back(19)),
            format!("x ***{}1234567890 ok\n", back(19)),
        ),
        (
            format!("x {card}{}{card} ok\n", back(19)),
            format!("x ***{}*** ok\n", back(19)),
        ),
        (
            format!("x {card}{}1111 ok\n", back(4)),
            format!("x ***{} ok\n", back(4)),
        ),
        (
            format!("(search)`': m': mail {mail}{}a': mail {mail}\n", back(24)),
            format!("(search)`': m': mail ***{}a': mail ***\n", back(24)),
        ),
    ] {
        become_of(&[(&text, &out)]);
    }
}

/// Groups of digits behind a value of digits belong to it, also where no detector knows them.
#[test]
fn a_number_in_groups_is_one_value() {
    become_of(&[
        ("x=1 ssn=123 45 6789 y=1\n", "x=1 ssn=*** y=1\n"),
        ("x=1 session=07 01 23-4567, ok\n", "x=1 session=***, ok\n"),
        (
            "a=1 session=12 200 0.5 ssn=123456789 200 OK\n",
            "a=1 session=*** 0.5 ssn=*** 200 OK\n",
        ),
        (
            "a=1 ssn=17 2024-11-26 12:00 3 items\n",
            "a=1 ssn=*** 2024-11-26 12:00 3 items\n",
        ),
        (
            "{ssn: (415) 555-2671, x} [ssn: (415) 555-2671] map[ssn:(415) 555-2671 x:y]\n",
            "{ssn: \"***\", x} [ssn: \"***\"] map[ssn:*** x:y]\n",
        ),
    ]);
}

/// Lines of a private key with something before its first one, or before each, may be short.
#[test]
fn a_narrow_key_may_have_something_before_it() {
    become_of(&[
        (
            "key: -----BEGIN PRIVATE KEY-----\nabcdefABCDEFGHI\nJKLabcdefMNO\nabcdef==\n-----END PRIVATE KEY-----\nnext Word\n",
            "key: -----BEGIN PRIVATE KEY-----\n***\n***\n***\n-----END PRIVATE KEY-----\nnext Word\n",
        ),
        (
            " 9\t-----BEGIN PRIVATE KEY-----\n10\tabcdefABCDEFGHI\n11\tabcdef==\n12\t-----END PRIVATE KEY-----\n",
            " 9\t-----BEGIN PRIVATE KEY-----\n10\t***\n11\t***\n12\t-----END PRIVATE KEY-----\n",
        ),
    ]);
    stay(&[
        "//! -----BEGIN PRIVATE KEY-----\n//! ```\n//! The following traits decode [X] and\n",
        "/// -----BEGIN PRIVATE KEY-----\n/// ```\n/// #### Example\n/// Foo\n",
    ]);
}

#[test]
fn texts_that_look_like_it_stay() {
    stay(&[
        "      --password <PASSWORD>\n          The password of the user\n\n      --ssn <SSN>\n          The number\n\n  -h, --help\n          Print help\n",
        "  --password string   Password to use (default \"\")\n",
        "Commands:\n  password   set the password\n  user       manage users\n  ssn        manage numbers\n\nFlags:\n  -h, --help     help for x\n",
        "if ($a < $b) {\n  f(name => 'password', $x->y, 1);\n  g(2);\n}\n",
        "=item C<password()>\n\nReturn the password.\n\n=item C<account()>\n",
        "class Password:\n    def check(self):\n        return True\n",
        "if not password:\n    raise ValueError(x)\n",
        "(:ssn user)\n[:ssn :password]\n(select-keys m [:ssn :city])\n",
        "lrwxrwxrwx 1 root root 7 Nov 26 10:00 password -> ../x\n",
        ".password {\n  color: red;\n}\n",
        "machine learning is fun\nmake[1]: Entering directory '/a/b'\n",
        "ada@web-1.example.com:~$ ls\n",
        "fields = [\"ssn\", \"password\"]\n[\"password\",\"ssn\"]\n",
        "# Netscape HTTP Cookie File\nx.com\tFALSE\t/\tFALSE\t0\tcity\tLund\n",
        "cat <<EOF > x\nhello\nEOF\n",
    ]);
}

#[test]
fn a_tag_that_nobody_closes_ends_with_its_line() {
    become_of(&[
        (
            "Usage: x <USER> <PASSWORD>\n\nArguments:\n  <PASSWORD>  the password of the user\n\nOptions:\n  -p, --port <PORT>   port [default: 80]\n",
            "Usage: x <USER> <PASSWORD>\n\nArguments:\n  <PASSWORD>  ***\n\nOptions:\n  -p, --port <PORT>   port [default: 80]\n",
        ),
        (
            "Map<String, Password> m;\nfoo();\n",
            "Map<String, Password> m;\nfoo();\n",
        ),
    ]);
}

/// What HTML wrote in entities is not waited for without end, and is masked when it is not.
#[test]
fn entities_are_bounded() {
    let value = "\\&quot;".repeat(20_000);
    let text = format!("&quot;ssn&quot;:&quot;{value}secret\n");
    let arrow = format!("'ssn' <f>=&gt;</f> {}", "<a>".repeat(100_000));
    for size in [1 << 16, 61] {
        let got = support::scan(rules(), Options::default(), &text, size);
        let got = String::from_utf8(got).unwrap();
        assert!(!got.contains("secret") && got.len() < 64, "{size}");
        let mut scanner = scanner::Scanner::new(rules(), Options::default());
        let (mut passed, mut given) = (0, 0);
        for piece in arrow.as_bytes().chunks(size) {
            given += piece.len();
            scanner.feed(
                scanner::Stream::Stdout,
                scanner::Raw::new(bytes::Bytes::copy_from_slice(piece)),
            );
            while let Some(step) = scanner.next_step() {
                if let scanner::Step::Pass { bytes, .. } = step {
                    passed += bytes.as_bytes().len();
                }
            }
            assert!(given - passed <= 64 * 1024, "{size}");
        }
    }
}

/// A quote, or the part of a form, that has more lines than anybody would count stays masked.
#[test]
fn what_is_open_stays_masked() {
    let lines = "secret\n".repeat(1500);
    for text in [
        format!("PASSWORD=\"one\n{lines}\"\nCITY=Lund\n"),
        format!("--X\nContent-Disposition: form-data; name=\"ssn\"\n\n{lines}--X--\n"),
    ] {
        let got = support::scan(rules(), Options::default(), &text, 1000);
        assert!(!String::from_utf8(got).unwrap().contains("secret"));
    }
}

/// A CDATA section that is longer than what is waited for ends where it ends.
#[test]
fn long_cdata_ends_with_its_own_mark() {
    let body = format!("{}<x> secret ]] > </x> secret ]", "q".repeat(62_000));
    let text = format!("<a><password><![CDATA[{body}]]></password><city>Lund</city></a>\n");
    let out = "<a><password><![CDATA[***]]></password><city>Lund</city></a>\n";
    for size in [1 << 16, 8192, 1000, 997] {
        let got = support::scan(rules(), Options::default(), &text, size);
        assert_eq!(String::from_utf8(got).unwrap(), out, "{size}");
    }
}
