//! What goes wrong with a provider: down, slow, wrong, rotated, hostile.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::provider::{Plan, Provider, asker, key, kind};

#[tokio::test]
async fn slow_down_adds_five_seconds() {
    let room = Plan::new(&[]).room();
    let slow_down = json!({"status": 400, "body": r#"{"error":"slow_down"}"#});
    room.provider.fault("/token", 1, slow_down).await;
    let began = Instant::now();
    room.sign_in(asker("ana"), "ana").await.unwrap();
    // One second for the first poll, and six for the second.
    assert!(began.elapsed() >= Duration::from_secs(7));
    assert_eq!(room.provider.count("/token").await, 2);
}

#[tokio::test]
async fn without_an_interval_it_is_five_seconds() {
    // This provider answers `slow_down` to whoever polls before its time.
    let room = Plan::new(&["--interval", "0"]).room();
    let began = Instant::now();
    room.sign_in(asker("ana"), "ana").await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert_eq!(room.provider.count("/token").await, 1);
}

#[tokio::test]
async fn polling_outlives_a_provider_that_is_busy() {
    let room = Plan::new(&[]).room();
    let page = json!({"status": 503, "body": "<h1>Busy</h1>", "type": "text/html"});
    room.provider.fault("/token", 1, page).await;
    room.provider
        .fault("/token", 1, json!({"close": true}))
        .await;
    let began = Instant::now();
    room.sign_in(asker("ana"), "ana").await.unwrap();
    // 1 s, then 2 s, then 4 s: more slowly each time.
    assert!(began.elapsed() >= Duration::from_secs(7));
    assert_eq!(room.provider.count("/token").await, 3);
}

#[tokio::test]
async fn a_captive_page_is_not_the_providers_word() {
    let room = Plan::new(&[]).room();
    let page = json!({"status": 200, "body": "<h1>Hotel</h1>", "type": "text/html"});
    room.provider.fault("/token", 1, page).await;
    room.sign_in(asker("ana"), "ana").await.unwrap();
}

#[tokio::test]
async fn a_provider_that_stays_away_is_named_at_the_end() {
    let room = Plan::new(&["--code-ttl", "4"]).room();
    let pending = room.begin(asker("ana")).await;
    room.provider
        .fault("/token", 99, json!({"close": true}))
        .await;
    let refused = pending.finish().await;
    assert_eq!(kind(&refused), "unreachable");
    let notice = refused.unwrap_err().notice();
    assert!(notice.contains("cannot be reached"), "{notice}");
}

#[tokio::test]
async fn down_and_back_again() {
    let plan = Plan::new(&[]);
    let room = plan.clone().room();
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    let (port, issuer) = (room.provider.port(), room.provider.issuer.clone());
    room.provider.stop();
    assert_eq!(
        kind(&room.sign_ins.begin(asker("bob")).await),
        "unreachable"
    );
    // Leases need no provider.
    assert!(room.sign_ins.is_live(&lease).await.unwrap());
    assert!(room.sign_ins.lease(&key("ana")).await.unwrap().is_some());

    // Back, with new signing keys, as after a reinstallation.
    let provider = Provider::start(room.dir.path(), &["--port", &port]);
    assert_eq!(provider.issuer, issuer);
    let pending = room.sign_ins.begin(asker("bob")).await.unwrap();
    let shown = pending.instructions().to_owned();
    let (lease, ()) = tokio::join!(pending.finish(), provider.uses(&shown, "bob", &[]));
    assert_eq!(kind(&lease), "lease");
}

#[tokio::test]
async fn down_from_the_start() {
    let room = Plan::new(&[]).room();
    let path = "/.well-known/openid-configuration";
    room.provider.fault(path, 1, json!({"close": true})).await;
    assert_eq!(
        kind(&room.sign_ins.begin(asker("ana")).await),
        "unreachable"
    );
    let busy = json!({"status": 502, "body": "<h1>Bad gateway"});
    room.provider.fault(path, 1, busy).await;
    assert_eq!(
        kind(&room.sign_ins.begin(asker("ana")).await),
        "unreachable"
    );
    room.sign_in(asker("ana"), "ana").await.unwrap();
    // Found once, it is not looked for again.
    let found = room.provider.count(path).await;
    room.sign_in(asker("bob"), "bob").await.unwrap();
    assert_eq!(room.provider.count(path).await, found);
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up_on() {
    let room = Plan::new(&[])
        .oidc(|oidc| oidc.http_timeout = Duration::from_secs(2))
        .room();
    for path in ["/.well-known/openid-configuration", "/device/auth"] {
        room.provider
            .fault(path, 1, json!({"delay_ms": 60_000}))
            .await;
        let refused = room.sign_ins.begin(asker("ana")).await;
        assert_eq!(kind(&refused), "unreachable", "{path}");
    }
    room.begin(asker("ana")).await;
}

#[tokio::test]
async fn another_issuer_is_refused() {
    let foreign = "https://id.example.test";
    let room = Plan::new(&["--issuer", foreign]).room();
    let sign_ins = Plan::new(&[])
        .oidc(|oidc| oidc.issuer = format!("http://127.0.0.1:{}", room.provider.port()))
        .sign_ins(&room.provider, room.dir.path());
    let refused = sign_ins.begin(asker("ana")).await;
    assert_eq!(kind(&refused), "misconfigured");
    let refusal = refused.unwrap_err();
    assert!(refusal.to_string().contains(foreign), "{refusal}");
    assert!(!refusal.notice().contains(foreign));
}

#[tokio::test]
async fn a_discovery_document_from_elsewhere_is_not_followed() {
    let room = Plan::new(&[]).room();
    let path = "/.well-known/openid-configuration";
    for (fault, wanted) in [
        (
            json!({"status": 302, "headers": {"location": "http://127.0.0.2/"}}),
            "unreachable",
        ),
        (
            json!({"status": 200, "body": "x".repeat(300_000)}),
            "unreachable",
        ),
        (json!({"status": 200, "body": "{}"}), "misconfigured"),
        (json!({"status": 404, "body": "{}"}), "misconfigured"),
        (
            json!({"status": 200, "body": json!({
                "issuer": room.provider.issuer,
                "device_authorization_endpoint": "http://id.example.test/device",
                "token_endpoint": "http://id.example.test/token",
                "jwks_uri": "http://id.example.test/jwks",
            }).to_string()}),
            "misconfigured",
        ),
    ] {
        room.provider.fault(path, 1, fault.clone()).await;
        let refused = room.sign_ins.begin(asker("ana")).await;
        assert_eq!(kind(&refused), wanted, "{fault}");
    }
    room.begin(asker("ana")).await;
}

#[tokio::test]
async fn new_signing_keys_are_fetched_once_and_not_at_every_whim() {
    let room = Plan::new(&[]).room();
    let provider = &room.provider;
    room.sign_in(asker("ana"), "ana").await.unwrap();
    assert_eq!(provider.count("/jwks").await, 1);
    provider.control("rotate-keys", json!({})).await;
    room.sign_in(asker("ana"), "ana").await.unwrap();
    assert_eq!(provider.count("/jwks").await, 2);
    room.sign_in(asker("ana"), "ana").await.unwrap();
    assert_eq!(provider.count("/jwks").await, 2);
    // Twice in a minute is not asked for.
    provider.control("rotate-keys", json!({})).await;
    let refused = room.sign_in(asker("ana"), "ana").await;
    assert_eq!(kind(&refused), "untrusted");
    assert!(
        refused
            .unwrap_err()
            .notice()
            .contains("could not be verified")
    );
    assert_eq!(provider.count("/jwks").await, 2);
}

#[tokio::test]
async fn new_signing_keys_may_come_beside_the_old() {
    let mut plan = Plan::new(&[]);
    plan.world.keys_pause = Duration::ZERO;
    let room = plan.room();
    for _ in 0..3 {
        room.sign_in(asker("ana"), "ana").await.unwrap();
        let rotated = json!({"keep_old": true});
        room.provider.control("rotate-keys", rotated).await;
    }
    assert_eq!(room.provider.count("/jwks").await, 3);
}

#[tokio::test]
async fn signing_keys_that_cannot_be_had_sign_nobody_in() {
    let room = Plan::new(&[]).room();
    for (fault, wanted) in [
        (json!({"close": true}), "unreachable"),
        (json!({"status": 503, "body": ""}), "unreachable"),
        (
            json!({"status": 200, "body": "x".repeat(300_000)}),
            "unreachable",
        ),
        (json!({"status": 200, "body": "<html>"}), "misconfigured"),
        (json!({"status": 200, "body": r#"{"keys":[]}"#}), "lease"),
    ] {
        room.provider.fault("/jwks", 1, fault.clone()).await;
        let outcome = room.sign_in(asker("ana"), "ana").await;
        assert_eq!(kind(&outcome), wanted, "{fault}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let room = Plan::new(&[]).room();
    for (offset, wanted) in [
        (45, "lease"),
        (-45, "lease"),
        (120, "untrusted"),
        (-400, "untrusted"),
    ] {
        let shift = json!({"offset_s": offset});
        room.provider.control("clock", shift).await;
        let outcome = room.sign_in(asker("ana"), "ana").await;
        assert_eq!(kind(&outcome), wanted, "{offset}");
    }
    let strict = Plan::new(&[])
        .oidc(|oidc| oidc.clock_skew = Duration::ZERO)
        .room();
    let shift = json!({"offset_s": 30});
    strict.provider.control("clock", shift).await;
    assert_eq!(
        kind(&strict.sign_in(asker("ana"), "ana").await),
        "untrusted"
    );
}

#[tokio::test]
async fn a_store_that_cannot_write_signs_nobody_in() {
    let room = Plan::new(&[]).room();
    let db = rusqlite::Connection::open(room.dir.path().join("db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = room.sign_in(asker("ana"), "ana").await;
    assert_eq!(kind(&refused), "store");
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(room.sign_ins.lease(&key("ana")).await.unwrap(), None);
    room.sign_in(asker("ana"), "ana").await.unwrap();
}

#[tokio::test]
async fn what_the_provider_says_reaches_no_log_unfiltered() {
    let room = Plan::new(&[]).room();
    for (path, status) in [("/device/auth", 400), ("/token", 400)] {
        let body = json!({"error": "\u{1b}[2Jx", "error_description": "a\r\nroot: \u{202e}"});
        let fault = json!({"status": status, "body": body.to_string()});
        room.provider.fault(path, 1, fault).await;
        let refusal = match room.sign_ins.begin(asker("ana")).await {
            Ok(pending) => pending.finish().await.unwrap_err(),
            Err(refusal) => refusal,
        };
        let (log, notice) = (refusal.to_string(), refusal.notice());
        assert!(
            !log.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{log:?}"
        );
        assert!(
            notice.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{notice:?}"
        );
    }
}
