#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::login::KeyId;
use crate::store::NewKey;

fn asker(name: &str, source: &str) -> Asker {
    Asker {
        key: Some(KeyId::stored(
            "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg".to_owned(),
        )),
        source: source.parse().unwrap(),
        user_name: name.to_owned(),
    }
}

fn facts<'a>(asker: &'a Asker) -> Facts<'a> {
    Facts {
        uri: "https://id.example.test/device",
        complete_uri: None,
        user_code: "BDWP-HQPK",
        asker,
        life: Duration::from_secs(300),
        last: Some(LastSignIn {
            at: Timestamp::from_second(1_800_000_000).unwrap(),
            source: "203.0.113.9".parse().unwrap(),
            new_keys: 0,
            newest: None,
        }),
    }
}

#[test]
fn instructions_as_a_user_sees_them() {
    let asker = asker("postgres@orders-db", "::ffff:198.51.100.7");
    insta::assert_snapshot!(instructions(&facts(&asker)), @r#"
    Open https://id.example.test/device
    and enter the code: BDWP-HQPK

    This signs in the SSH connection "postgres@orders-db" from 198.51.100.7
    and the key SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg.
    Go on only if you started this yourself, just now. Code valid for 5 minutes.
    Last sign-in: 2027-01-15 08:00 UTC from 203.0.113.9.
    "#);
}

#[test]
fn instructions_tell_of_a_key_that_was_added_since() {
    let asker = asker("ana", "198.51.100.7");
    let mut facts = facts(&asker);
    if let Some(last) = &mut facts.last {
        last.new_keys = 3;
        last.newest = Some(NewKey {
            key: KeyId::stored("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".to_owned()),
            at: Timestamp::from_second(1_799_990_000).unwrap(),
            source: "192.0.2.66".parse().unwrap(),
        });
    }
    insta::assert_snapshot!(instructions(&facts), @r#"
    Open https://id.example.test/device
    and enter the code: BDWP-HQPK

    This signs in the SSH connection "ana" from 198.51.100.7
    and the key SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg.
    Go on only if you started this yourself, just now. Code valid for 5 minutes.
    Last sign-in: 2027-01-15 08:00 UTC from 203.0.113.9.
    New key since then: SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
    on 2027-01-15 05:13 UTC from 192.0.2.66 (2 more). Not yours? Tell your administrator.
    "#);
}

#[test]
fn instructions_with_the_complete_url_and_without_a_key() {
    let mut asker = asker("ana", "2001:db8::1");
    asker.key = None;
    let text = instructions(&Facts {
        complete_uri: Some("https://id.example.test/device?user_code=BDWP-HQPK"),
        last: None,
        life: Duration::from_secs(90),
        ..facts(&asker)
    });
    insta::assert_snapshot!(text, @r#"
    Open https://id.example.test/device?user_code=BDWP-HQPK
    and check that it shows the code: BDWP-HQPK

    This signs in the SSH connection "ana" from 2001:db8::1.
    Go on only if you started this yourself, just now. Code valid for 90 seconds.
    "#);
}

proptest! {
    /// Whatever the client calls itself and however long the provider's texts are, the
    /// instructions are short, plain, and start with the URL and the code.
    #[test]
    fn instructions_are_short_plain_and_to_the_point(
        name in prop_oneof![any::<String>(), "[a-z]{100,200}"],
        uri in prop_oneof!["https://[a-z]{1,372}", "https://[a-z]{372}"],
        code in "[!-~]{1,64}",
        source in any::<IpAddr>(),
        life in 0..100_000u64,
        complete in any::<bool>(),
        last_source in any::<IpAddr>(),
        new_keys in 0..3000usize,
        last_at in -377_705_023_201i64..253_402_207_200,
    ) {
        let asker = Asker { source, ..asker(&name, "::1") };
        let text = instructions(&Facts {
            uri: &uri,
            complete_uri: complete.then_some(uri.as_str()),
            user_code: &code,
            life: Duration::from_secs(life),
            last: Some(LastSignIn {
                at: Timestamp::from_second(last_at).unwrap(),
                source: last_source,
                new_keys,
                newest: (new_keys > 0).then(|| NewKey {
                    key: asker.key.clone().unwrap(),
                    at: Timestamp::from_second(last_at).unwrap(),
                    source: last_source,
                }),
            }),
            ..facts(&asker)
        });
        prop_assert!(text.len() < 900, "{} bytes", text.len());
        prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
        let mut lines = text.lines();
        prop_assert!(lines.next().unwrap().ends_with(&uri));
        prop_assert!(lines.next().unwrap().ends_with(&code));
        prop_assert_eq!(text.contains("ew key"), new_keys > 0);
    }

    /// Made safe, a text is safe, no longer than allowed, and stays as it is the second time.
    #[test]
    fn printable_is_printable(text in any::<String>(), max in 3..80usize) {
        let safe = printable(&text, max);
        prop_assert!(safe.len() <= max);
        prop_assert!(is_plain(&safe));
        prop_assert!(!safe.chars().any(char::is_control));
        prop_assert_eq!(printable(&safe, max), safe.clone());
        let plain = ascii(&text, max);
        prop_assert!(plain.len() <= max && plain.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
}

#[test]
fn printable_escapes_what_hides_and_keeps_what_names_have() {
    for (text, wanted) in [
        ("Ana D\u{ed}az", "Ana D\u{ed}az"),
        ("O'Brien \"x\" DOM\\user", "O'Brien \"x\" DOM\\user"),
        (
            "\u{928}\u{93f}\u{924}\u{93f}\u{928}",
            "\u{928}\u{93f}\u{924}\u{93f}\u{928}",
        ),
        ("e\u{301}", "e\u{301}"),
        ("\u{674e}\u{96f7}", "\u{674e}\u{96f7}"),
        ("a\u{1b}[2J\r\nroot", "a\\u{1b}[2J\\u{d}\\u{a}root"),
        ("a\u{202e}b", "a\\u{202e}b"),
        ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
        ("a\u{a0}b\u{2028}", "a\\u{a0}b\\u{2028}"),
        ("a\u{85}\u{9b}", "a\\u{85}\\u{9b}"),
        (
            "a\u{fe0f}\u{e0041}\u{3164}",
            "a\\u{fe0f}\\u{e0041}\\u{3164}",
        ),
        ("a\u{e000}\u{10ffff}", "a\\u{e000}\\u{10ffff}"),
    ] {
        assert_eq!(printable(text, 200), wanted);
        assert_eq!(is_plain(text), text == wanted);
    }
}

#[test]
fn a_cut_shows() {
    assert_eq!(printable("abcdef", 6), "abcdef");
    assert_eq!(printable("abcdefg", 6), "abc...");
    assert_eq!(
        printable("ab\u{1b}\u{1b}", 9),
        "ab\\u{1b}...".get(..2).unwrap().to_owned() + "..."
    );
}

/// Everything at its longest at once came to 900 bytes, which is not under 900.
#[test]
fn the_longest_instructions_are_short_enough() {
    let uri = format!("https://{}", "a".repeat(URI_MAX - 8));
    let code = "B".repeat(CODE_MAX);
    let source: IpAddr = "7f95:cdfd:5677:c5f2:345d:9e95:9e93:7da9".parse().unwrap();
    let asker = Asker {
        source,
        ..asker(&"n".repeat(200), "::1")
    };
    let at = Timestamp::from_second(-377_705_023_201).unwrap();
    let text = instructions(&Facts {
        uri: &uri,
        complete_uri: Some(&uri),
        user_code: &code,
        life: Duration::from_secs(99_999),
        last: Some(LastSignIn {
            at,
            source,
            new_keys: 3000,
            newest: Some(NewKey {
                key: asker.key.clone().unwrap(),
                at,
                source,
            }),
        }),
        ..facts(&asker)
    });
    assert!(text.len() < TEXT_MAX, "{} bytes", text.len());
    assert!(text.ends_with(NEW_KEY_SHORT));
}
