use super::*;

#[test]
fn only_https_and_loopback_are_trusted() {
    for (url, good) in [
        ("https://id.example.test", true),
        ("https://id.example.test/realms/a", true),
        ("http://127.0.0.1:8080", true),
        ("http://127.1.2.3", true),
        ("http://[::1]:8080/x", true),
        ("http://localhost:1", true),
        ("http://id.example.test", false),
        ("http://localhost.example.test", false),
        ("http://127.0.0.1.example.test", false),
        ("http://10.0.0.1", false),
        ("http://0.0.0.0", false),
        ("ftp://127.0.0.1", false),
        ("file:///etc/passwd", false),
        ("https://user@id.example.test", false),
        ("https://user:secret@id.example.test", false),
        ("javascript:alert(1)", false),
        ("id.example.test", false),
        ("", false),
    ] {
        assert_eq!(trusted_url(url).is_ok(), good, "{url}");
    }
}

#[test]
fn a_hostile_url_is_not_repeated_as_it_is() {
    let error = trusted_url("http://\u{1b}[2J").err().unwrap_or_default();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}
