//! Kubernetes Secrets: what their base64 says is read.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use data_encoding::BASE64;
use proptest::prelude::*;
use scanner::{
    Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream, Way,
};

fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        let mut rule = Rule::new("pii", Action::Mask(Mask::Redact))
            .field("password")
            .field("ssn");
        for detector in Detector::ALL {
            rule = rule.detector(detector);
        }
        Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
    });
    Arc::clone(&RULES)
}

fn scan(rules: &Arc<Rules>, way: Way, text: &str, size: usize) -> String {
    let mut scanner = Scanner::new(Arc::clone(rules), Options::default()).with_way(way);
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(size) {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What comes out, whatever way and however cut.
fn out(text: &str) -> String {
    let want = scan(&rules(), Way::Bytes, text, usize::MAX);
    for size in [1, 3, 17, usize::MAX] {
        for way in [Way::Bytes, Way::Blocks(0), Way::Blocks(2)] {
            assert_eq!(scan(&rules(), way, text, size), want, "{way:?} {size}");
        }
    }
    want
}

/// Each secret with a word that its decoded text has, and one of which nothing is protected.
fn values() -> [(&'static str, String); 7] {
    [
        ("conn", BASE64.encode(b"postgres://app:hunter2@db/app")),
        (".dockerconfigjson", BASE64.encode(br#"{"auths":{"r.io":{"username":"ci","password":"hunter2"}}}"#)),
        ("tls.key", BASE64.encode(b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n")),
        ("config.yaml", BASE64.encode(b"a: 1\nssn: 131-45-1438\n")),
        ("db-password", BASE64.encode(b"hunter2-Xy")),
        ("owner", BASE64.encode(b"joe@example.com")),
        ("ca.crt", BASE64.encode(b"-----BEGIN CERTIFICATE-----\nMIIBdzCCAR2gAwIBAgIBADAKBggqhkjO\n-----END CERTIFICATE-----\n")),
    ]
}

#[test]
fn values_of_a_secret_are_read_decoded() {
    let values = values();
    let yaml: String = values
        .iter()
        .map(|(k, v)| format!("  {k}: {v}\n"))
        .collect();
    let json: Vec<String> = values
        .iter()
        .map(|(k, v)| format!("\"{k}\": \"{v}\""))
        .collect();
    let nested: String = values
        .iter()
        .map(|(k, v)| format!("    {k}: {v}\r\n"))
        .collect();
    let compact = format!("{{\"data\":{{{}}},\"kind\":\"Secret\"}}", json.join(","));
    for text in [
        format!("apiVersion: v1\ndata:\n{yaml}kind: Secret\n"),
        format!("items:\r\n- apiVersion: v1\r\n  data:\r\n{nested}  kind: Secret\r\n"),
        format!(
            "{{\n  \"data\": {{\n    {}\n  }},\n  \"kind\": \"Secret\"\n}}\n",
            json.join(",\n    ")
        ),
        format!("{compact}\n"),
        // What `kubectl apply` keeps of it, in YAML and in JSON.
        format!("    last-applied-configuration: |\n      {compact}\n"),
        format!(
            "{{\"last-applied-configuration\": {:?}}}\n",
            format!("{compact}\n")
        ),
    ] {
        let out = out(&text);
        for (key, value) in &values {
            assert_eq!(out.contains(value), *key == "ca.crt", "{key}: {out}");
            assert!(out.contains(key), "{key}: {out}");
        }
        assert!(out.contains("kind") || !text.contains("kind"), "{out}");
    }
}

/// What may be a row of a table is read as a Secret as well.
#[test]
fn a_secret_below_a_table_is_read() {
    let value = "am9lQGV4YW1wbGUuY29t";
    for table in [
        "customer_id | ssn \n",
        "        id | ssn | name\n",
        "name        | ssn \n",
        "id,ssn\n1,2\n",
        "ssn,id\n1,2\n",
        "id\tssn\n1\t2\n",
        "NAME   SSN      AGE\nbob    abc      3\n",
        " id | ssn \n----+-----\n  1 | abc \n",
        "| id | ssn |\n|----|-----|\n| 1  | abc |\n",
        "ID   SSN\n---  ---\n1    2\n",
        "-[ RECORD 1 ]\nid  | 1\nssn | 2\n",
    ] {
        for secret in [
            format!("{{\"data\": {{\"a\": \"{value}\"}}}}\n"),
            format!("{{\"data\":{{\"a\":\"{value}\",\"b\":\"{value}\"}},\"kind\":\"Secret\"}}\n"),
            format!("{{\n  \"data\": {{\n    \"a\": \"{value}\"\n  }}\n}}\n"),
            format!("data:\n  a: {value}\nkind: Secret\n"),
            format!("data:\r\n  a: {value}\r\n  b: {value}\r\nkind: Secret\r\n"),
            format!("  data:\n    a: {value}\n  kind: Secret\n"),
        ] {
            let out = out(&format!("{table}{secret}"));
            assert!(!out.contains(value), "{out}");
        }
    }
}

/// A quoted cell of several lines is no text, whatever follows the quote that seemed to close it.
#[test]
fn a_data_in_an_open_cell_shows_no_cuts() {
    for text in [
        "id,ssn\n\"  data:\n,\"a\":  data:\n",
        "id,ssn\n\"  data:\n    x: 1\n\"a\":  data:\n    a: 1\n",
        "id,ssn\n1,abc\n\"data:\n\"a\": 1\n",
    ] {
        assert_eq!(out(text).lines().count(), text.lines().count());
    }
}

/// Go writes bytes that are not there as null.
#[test]
fn a_member_without_a_value_ends_no_secret() {
    let value = "am9lQGV4YW1wbGUuY29t";
    for null in ["null", " null ", " null\n ", "\"\""] {
        let secret =
            format!("{{\"data\": {{\"a\":{null},\"b\": \"{value}\"}}, \"kind\":\"Secret\"}}\n");
        assert!(!out(&secret).contains(value), "{}", out(&secret));
    }
    let other = format!("{{\"data\": {{\"a\": nullx, \"b\": \"{value}\"}}}}\n");
    assert_eq!(out(&other), other);
}

#[test]
fn members_are_protected_by_name_as_well() {
    let text = "data:\n  db-password: aHVudGVyMg==\n  user: YWRtaW4xMjM=\n";
    assert_eq!(
        out(text),
        "data:\n  db-password: x**\n  user: YWRtaW4xMjM=\n"
    );
}

#[test]
fn what_is_no_secret_is_left_alone() {
    for text in [
        "data:\n  name: abcdefgh\n  text: some words of it\n\nmore\n",
        "{\"data\": {\"id\": 1, \"name\": \"abcdefgh\"}, \"x\": \"am9lQGV4YW1wbGUuY29t\"}\n",
        "data: am9lQGV4YW1wbGUuY29t\nother: am9lQGV4YW1wbGUuY29t\n",
        "data:\nother: am9lQGV4YW1wbGUuY29t\n",
        "metadata:\n  name: am9lQGV4YW1wbGUuY29t\n",
    ] {
        assert_eq!(out(text), text);
    }
}

/// A value without an end is masked before its end is known, and the next one is still read.
#[test]
fn a_value_without_an_end_is_masked() {
    let long = "QUJD".repeat(40_000);
    let text = format!("data:\n  a: {long}\n  b: am9lQGV4YW1wbGUuY29t\nkind: Secret\n");
    let cut = scan(&rules(), Way::Bytes, &text, 1000);
    assert!(cut == scan(&rules(), Way::Bytes, &text, usize::MAX));
    assert_eq!(cut, "data:\n  a: x**\n  b: x**\nkind: Secret\n");
    let text = format!("{{\"data\":{{\"a\":\"{long}\",\"b\":\"am9lQGV4YW1wbGUuY29t\"}}}}\n");
    let cut = scan(&rules(), Way::Bytes, &text, 1000);
    assert_eq!(cut, "{\"data\":{\"a\":\"***\",\"b\":\"***\"}}\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cuts do not show, and the fast path gives the same.
    #[test]
    fn cuts_do_not_show(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data:", "\"data\":{", "\\\"data\\\":{", "binaryData:", "  data:\n", "\n", "\n    ", "  ", "a: ", "\"a\":", "\"ssn\":\"",
            "am9lQGV4YW1wbGUuY29t", "\"am9lQGV4YW1wbGUuY29t\"", "\\\"am9lQGV4YW1wbGUuY29t\\\"", "aHVudGVyMg==", ",", "}", "{", "\"", "x",
            "id,ssn\n", "NAME   SSN   AGE\n", "id | ssn\n", " id | ssn \n----+-----\n", "null", "{\"data\": {",
            "password: ", ":", " | ", "\r\n", "ssn: 1\n", "\x1b[1m", "\x08", "- ",
        ]), 0..24),
        size in 1..40usize,
    ) {
        let text = parts.concat();
        let want = scan(&rules(), Way::Bytes, &text, usize::MAX);
        prop_assert_eq!(&scan(&rules(), Way::Bytes, &text, size), &want);
        prop_assert_eq!(&scan(&rules(), Way::Blocks(2), &text, size), &want);
        prop_assert_eq!(&scan(&rules(), Way::Blocks(0), &text, usize::MAX), &want);
    }
}

/// A backspace erases nothing: what stands before it has been sent, and may stay on the screen.
#[test]
fn a_backspace_hides_no_value() {
    let values = [
        ("4111111111111111", ""),
        ("131-45-1438", ""),
        ("GB82WEST12345698765432", ""),
        ("AKIAIOSFODNN7EXAMPLE", ""),
        ("joe@example.com", ""),
        ("zq7kmw1849", "password="),
        ("zq7kmw1849", "x PASSWORD="),
        ("zq7kmw1849", "{\"password\":\""),
        ("zq7kmw1849", "id,ssn,city\n1,"),
        ("zq7kmw1849", " id | ssn        \n----+------------\n  1 | "),
    ];
    for (value, before) in values {
        for count in [1, 2, value.len()] {
            for behind in ["\n", "\r\n", " \n", "\x1b[K\n", "\x1b[C\n", ""] {
                let text = format!("{before}{value}{}{behind}", "\x08".repeat(count));
                let part = value.get(..7).unwrap();
                for size in [1, 3, 1000] {
                    let out = scan(&rules(), Way::Blocks(0), &text, size);
                    assert!(!out.contains(part), "{text:?} became {out:?}");
                }
            }
        }
    }
}

/// Neither what is written over the end of a value leaves, nor what is taken back of it.
#[test]
fn what_is_written_over_a_value_is_part_of_it() {
    for (text, want) in [
        (
            "| id | ssn |\n|----|-----|\n| 1\x082  | zq7 |\n",
            "| id | ssn |\n|----|-----|\n| 1\x082  | *** |\n",
        ),
        ("x 131-45-1439\x088\n", "x ***\x08\n"),
        ("x password=zq7\x08\x08kmw\n", "x password=***\n"),
        ("password=zq7kmw\x08\x08\x1b[K18\n", "password=***\x1b[K\n"),
        // A name that is put right.
        (
            "id,ssn\n1,2\npasswX\x08ord: zq7\n",
            "id,ssn\n1,***\npasswX\x08ord: x**\n",
        ),
        ("x --passwx\x08ord zq7kmw\n", "x --passwx\x08ord ***\n"),
        // Bold.
        (
            "p\x08ps\x08ss\x08sn\x08n: z\x08zq\x08q\n",
            "p\x08ps\x08ss\x08sn\x08n: z\x08zq\x08q\n",
        ),
        (
            "s\x08ss\x08sn\x08n:\x08: z\x08zq\x08q7\x087\n",
            "s\x08ss\x08sn\x08n:\x08: x**\n",
        ),
    ] {
        for size in [1, 2, 5, 1000] {
            let out = scan(&rules(), Way::Blocks(0), text, size);
            assert_eq!(out, want, "in pieces of {size}");
        }
    }
}
