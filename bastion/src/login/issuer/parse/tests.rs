#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.test";

fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        date: None,
        body: body.to_string().into_bytes(),
    }
}

fn discovery() -> Value {
    json!({
        "issuer": ISSUER,
        "device_authorization_endpoint": "https://id.example.test/device",
        "token_endpoint": "https://id.example.test/token",
        "jwks_uri": "https://keys.example.test/jwks",
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

#[test]
fn metadata_must_be_of_exactly_this_issuer() {
    let good = metadata(&reply(200, &discovery()), ISSUER).unwrap();
    assert!(good.pkce_s256 && good.userinfo_endpoint.is_none());
    for issuer in [
        json!("https://id.example.test/"),
        json!("https://ID.example.test"),
        json!("https://evil.example.test"),
        json!(null),
        json!(7),
    ] {
        let mut document = discovery();
        document["issuer"] = issuer.clone();
        let refused = metadata(&reply(200, &document), ISSUER);
        assert!(
            matches!(refused, Err(Reason::Misconfigured { .. })),
            "{issuer}"
        );
    }
}

#[test]
fn metadata_names_no_endpoint_that_is_not_to_be_trusted() {
    for name in [
        "device_authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
    ] {
        let mut document = discovery();
        document[name] = json!("http://id.example.test/x");
        assert!(metadata(&reply(200, &document), ISSUER).is_err(), "{name}");
    }
    for name in ["token_endpoint", "jwks_uri"] {
        let mut document = discovery();
        document[name] = json!(null);
        assert!(metadata(&reply(200, &document), ISSUER).is_err(), "{name}");
    }
}

#[test]
fn answers_to_a_poll_mean_what_they_say() {
    let error = |code: &str| json!({"error": code, "error_description": "so\u{1b}it is"});
    let table = [
        (400, error("authorization_pending"), "pending"),
        (428, error("authorization_pending"), "pending"),
        (200, error("authorization_pending"), "pending"),
        (400, error("slow_down"), "slow_down"),
        (403, error("slow_down"), "slow_down"),
        (429, json!({}), "slow_down"),
        (400, error("access_denied"), "denied"),
        (403, error("access_denied"), "denied"),
        (400, error("authorization_declined"), "denied"),
        (400, error("invalid_grant"), "denied"),
        (400, error("expired_token"), "expired"),
        (401, error("invalid_client"), "misconfigured"),
        (400, error("invalid_request"), "misconfigured"),
        (400, error("unauthorized_client"), "misconfigured"),
        (400, error("something_new"), "misconfigured"),
        (400, error("temporarily_unavailable"), "unreachable"),
        (400, error("server_error"), "unreachable"),
        (404, json!({}), "unreachable"),
        (200, json!({"access_token": "a", "id_token": "i"}), "issued"),
        (200, json!({"access_token": "a"}), "misconfigured"),
        (
            200,
            json!({"access_token": "a", "id_token": 1}),
            "misconfigured",
        ),
        (200, json!({"id_token": "i"}), "misconfigured"),
        (200, json!({}), "misconfigured"),
        (
            400,
            json!({"access_token": "a", "id_token": "i"}),
            "unreachable",
        ),
        (200, json!(["error"]), "unreachable"),
        (200, json!(null), "unreachable"),
    ];
    for (status, body, wanted) in table {
        let got = match answer(&reply(status, &body)) {
            Answer::Issued(_) => "issued",
            Answer::Pending => "pending",
            Answer::SlowDown => "slow_down",
            Answer::Denied(said) => {
                assert!(!said.contains('\u{1b}'));
                "denied"
            }
            Answer::Expired => "expired",
            Answer::Misconfigured(_) => "misconfigured",
            Answer::Unreachable(_) => "unreachable",
        };
        assert_eq!(got, wanted, "{status} {body}");
    }
    let page = Reply {
        status: 200,
        date: None,
        body: b"<!DOCTYPE html><p>Sign in to the wireless network".to_vec(),
    };
    assert!(matches!(answer(&page), Answer::Unreachable(_)));
}

#[test]
fn a_code_that_cannot_be_shown_is_refused() {
    let good = json!({
        "device_code": "d", "user_code": "ABCD-EFGH", "expires_in": 600,
        "verification_uri": "https://id.example.test/device",
    });
    let code = device_code(&reply(200, &good)).unwrap();
    assert_eq!(code.life, Duration::from_secs(600));
    assert_eq!(code.interval, None);
    let long = format!("https://id.example.test/{}", "x".repeat(400));
    for (name, value) in [
        ("user_code", json!("A\u{1b}[2J")),
        ("user_code", json!("A B")),
        ("user_code", json!("")),
        ("user_code", json!("X".repeat(65))),
        ("user_code", json!("\u{410}\u{411}")),
        ("user_code", json!(1234)),
        ("device_code", json!("")),
        ("device_code", json!(null)),
        ("expires_in", json!(null)),
        ("expires_in", json!(-1)),
        ("verification_uri", json!("http://id.example.test/device")),
        (
            "verification_uri",
            json!("https://a:b@id.example.test/device"),
        ),
        ("verification_uri", json!("javascript:alert(1)")),
        ("verification_uri", json!(long)),
        ("verification_uri", json!(null)),
    ] {
        let mut bad = good.clone();
        bad[name] = value.clone();
        assert!(device_code(&reply(200, &bad)).is_err(), "{name} {value}");
    }
}

#[test]
fn a_code_may_come_as_products_write_it() {
    let odd = json!({
        "device_code": "d", "user_code": "ABCD", "expires_in": "900", "interval": "5",
        "verification_url": "https://id.example.test/device",
        "verification_uri": "https://id.example.test/\u{e9}\u{1b}x",
        "verification_uri_complete": "ftp://id.example.test",
        "message": "To sign in ...",
    });
    let code = device_code(&reply(200, &odd)).unwrap();
    assert_eq!(code.uri, "https://id.example.test/%C3%A9%1Bx");
    assert_eq!(code.life, Duration::from_secs(900));
    assert_eq!(code.interval, Some(Duration::from_secs(5)));
    assert_eq!(code.complete_uri, None);
}

#[test]
fn userinfo_must_be_about_the_same_subject() {
    assert!(userinfo(&reply(200, &json!({"sub": "s"})), "s").is_ok());
    for (status, body, denied) in [
        (200, json!({"sub": "S"}), false),
        (200, json!({"sub": ""}), false),
        (200, json!({"groups": ["admins"]}), false),
        (200, json!({"sub": ["s"]}), false),
        (401, json!({}), true),
        (403, json!({"sub": "s"}), true),
        (500, json!({"sub": "s"}), false),
    ] {
        let refused = userinfo(&reply(status, &body), "s");
        assert!(refused.is_err(), "{status} {body}");
        assert_eq!(
            matches!(refused, Err(Reason::Denied { .. })),
            denied,
            "{status} {body}"
        );
    }
}

proptest! {
    /// No answer makes the parsers panic, and what they say of it is printable.
    #[test]
    fn any_answer_is_taken_calmly(status in 100..600u16, body: Vec<u8>, text: String, name in 0..6usize) {
        let fields = ["error", "error_description", "user_code", "verification_uri", "issuer", "sub"];
        let mut object = json!({"error": "x"});
        if let Some(field) = fields.get(name) {
            object[*field] = json!(text);
        }
        for reply in [Reply { status, date: None, body }, reply(status, &object)] {
            let said = [
                metadata(&reply, ISSUER).err(),
                device_code(&reply).err(),
                userinfo(&reply, "s").err(),
                keys(&reply).err(),
            ];
            for reason in said.into_iter().flatten() {
                prop_assert!(text::is_plain(&reason.to_string()), "{reason}");
            }
            match answer(&reply) {
                Answer::Denied(said) | Answer::Misconfigured(said) | Answer::Unreachable(said) => {
                    prop_assert!(text::is_plain(&said));
                }
                _ => {}
            }
        }
    }
}
