//! The demo's provider, as a device and a browser meet it: over HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test"
)]

use std::net::SocketAddr;

use data_encoding::BASE64URL_NOPAD;
use demo::provider::{CLIENT_ID, Provider, ProviderError};
use reqwest::StatusCode;
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

struct Peer {
    provider: Provider,
    http: reqwest::Client,
}

impl Peer {
    async fn start() -> Self {
        let provider = Provider::start("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        Self {
            provider,
            http: reqwest::Client::new(),
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.provider.issuer())
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let answer = self
            .http
            .post(self.at(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    async fn begin(&self, more: &[(&str, &str)]) -> Value {
        let mut form = vec![
            ("client_id", CLIENT_ID),
            ("scope", "openid profile email groups"),
        ];
        form.extend(more);
        let (status, answer) = self.post("/device_authorization", &form).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn poll(&self, begun: &Value, more: &[(&str, &str)]) -> (StatusCode, Value) {
        let code = begun["device_code"].as_str().unwrap();
        let mut form = vec![
            ("client_id", CLIENT_ID),
            ("grant_type", GRANT),
            ("device_code", code),
        ];
        form.extend(more);
        self.post("/token", &form).await
    }

    async fn decide(&self, begun: &Value, person: &str, decision: &str) -> String {
        let code = begun["user_code"].as_str().unwrap();
        let form = [
            ("user_code", code),
            ("person", person),
            ("decision", decision),
        ];
        let (status, page) = self.post("/device", &form).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page.as_str().unwrap().to_owned()
    }
}

fn claims(token: &Value) -> Value {
    let payload = token["id_token"]
        .as_str()
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_person_confirms_and_the_device_gets_tokens_once() {
    let peer = Peer::start().await;
    let begun = peer.begin(&[("nonce", "n-1")]).await;
    assert_eq!(begun["verification_uri"], peer.provider.page());
    assert_eq!(begun["expires_in"], 300);

    let (status, answer) = peer.poll(&begun, &[]).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::BAD_REQUEST, &json!("authorization_pending"))
    );
    let (_, answer) = peer.poll(&begun, &[]).await;
    assert_eq!(answer["error"], "slow_down");

    let page = peer
        .http
        .get(begun["verification_uri_complete"].as_str().unwrap())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains(begun["user_code"].as_str().unwrap()),
        "{page}"
    );
    assert!(
        peer.decide(&begun, "ana", "confirm")
            .await
            .contains("Signed in as ana")
    );
    assert!(
        peer.decide(&begun, "eve", "confirm")
            .await
            .contains("Already decided")
    );

    tokio::time::sleep(std::time::Duration::from_secs(1)).await; // the interval that was agreed
    let (status, token) = peer.poll(&begun, &[]).await;
    assert_eq!(status, StatusCode::OK, "{token}");
    let claims = claims(&token);
    assert_eq!(claims["iss"], peer.provider.issuer());
    assert_eq!(claims["aud"], CLIENT_ID);
    assert_eq!(claims["nonce"], "n-1");
    assert_eq!(claims["preferred_username"], "ana");
    assert_eq!(claims["groups"], json!(["engineers"]));
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());

    let bearer = token["access_token"].as_str().unwrap();
    let info: Value = {
        let answer = peer
            .http
            .get(peer.at("/userinfo"))
            .bearer_auth(bearer)
            .send()
            .await
            .unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    assert_eq!(info["sub"], claims["sub"]);
    assert_eq!(info["email"], "ana@example.com");
    let wrong = peer
        .http
        .get(peer.at("/userinfo"))
        .bearer_auth("x")
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);

    let (_, again) = peer.poll(&begun, &[]).await;
    assert_eq!(again["error"], "invalid_grant");
    peer.provider.stop().await;
}

#[tokio::test]
async fn denial_and_the_verifier() {
    let peer = Peer::start().await;
    let begun = peer.begin(&[]).await;
    assert!(peer.decide(&begun, "ana", "deny").await.contains("Denied"));
    assert_eq!(peer.poll(&begun, &[]).await.1["error"], "access_denied");

    // RFC 7636, appendix B.
    let begun = peer
        .begin(&[
            (
                "code_challenge",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
            ("code_challenge_method", "S256"),
        ])
        .await;
    peer.decide(&begun, "eve", "confirm").await;
    assert_eq!(peer.poll(&begun, &[]).await.1["error"], "invalid_grant");
    let verifier = [(
        "code_verifier",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    )];
    let (status, token) = peer.poll(&begun, &verifier).await;
    assert_eq!(status, StatusCode::OK, "{token}");
    assert_eq!(claims(&token)["groups"], json!([]));
}

#[tokio::test]
async fn wrong_requests_have_the_errors_of_the_standard() {
    let peer = Peer::start().await;
    type Form = &'static [(&'static str, &'static str)];
    let table: [(&str, Form, u16, &str); 6] = [
        (
            "/device_authorization",
            &[("client_id", "other"), ("scope", "openid")],
            401,
            "invalid_client",
        ),
        (
            "/device_authorization",
            &[("client_id", CLIENT_ID)],
            400,
            "invalid_scope",
        ),
        (
            "/device_authorization",
            &[
                ("client_id", CLIENT_ID),
                ("scope", "openid"),
                ("code_challenge", "x"),
            ],
            400,
            "invalid_request",
        ),
        (
            "/token",
            &[("client_id", CLIENT_ID), ("grant_type", "password")],
            400,
            "unsupported_grant_type",
        ),
        (
            "/token",
            &[("client_id", CLIENT_ID), ("grant_type", GRANT)],
            400,
            "invalid_request",
        ),
        (
            "/token",
            &[
                ("client_id", CLIENT_ID),
                ("grant_type", GRANT),
                ("device_code", "x"),
            ],
            400,
            "invalid_grant",
        ),
    ];
    for (path, form, status, error) in table {
        let (seen, answer) = peer.post(path, form).await;
        assert_eq!(
            (seen.as_u16(), &answer["error"]),
            (status, &json!(error)),
            "{path} {form:?}"
        );
    }
}

/// A page of another site, and a foreign name that resolves to loopback, get nothing.
#[tokio::test]
async fn foreign_requests_are_refused() {
    let peer = Peer::start().await;
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        let asked = peer
            .http
            .get(peer.provider.page())
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let own = peer
        .http
        .get(peer.provider.page())
        .header("origin", peer.provider.issuer());
    let own = own.send().await.unwrap();
    assert_eq!(own.status(), StatusCode::OK);
    assert!(
        own.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = Provider::start(open).await.unwrap_err();
    assert!(
        matches!(refused, ProviderError::NotLoopback(_)),
        "{refused}"
    );
}
