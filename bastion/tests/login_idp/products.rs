//! What products in the field make of the protocol, and how a client may be registered there.

use std::time::Duration;

use bastion::config::{ClientAuth, GroupsFrom, Oidc, OnUnreachable, Pkce, RecheckBy};
use bastion::login::{ClaimSource, LoginError, SignIns, World};
use bastion::store::{SealKey, Store};
use serde_json::json;

use crate::provider::{Plan, Room, asker, kind};

async fn outcome(room: &Room, user: &str, more: &[&str]) -> &'static str {
    let pending = match room.sign_ins.begin(asker(user)).await {
        Ok(pending) => pending,
        refused @ Err(_) => return kind(&refused),
    };
    let shown = pending.instructions().to_owned();
    let (lease, ()) = tokio::join!(pending.finish(), room.provider.uses(&shown, user, more));
    kind(&lease)
}

#[tokio::test]
async fn a_client_that_must_show_pkce() {
    let plan = Plan::new(&["--quirk", "pkce"]);
    for (pkce, wanted) in [
        (Pkce::On, "lease"),
        (Pkce::Off, "misconfigured"),
        (Pkce::Auto, "lease"),
    ] {
        let room = plan.clone().oidc(|oidc| oidc.pkce = pkce).room();
        assert_eq!(outcome(&room, "ana", &[]).await, wanted, "{pkce:?}");
    }
    // One that does not ask for it does not mind it either.
    let room = Plan::new(&[]).oidc(|oidc| oidc.pkce = Pkce::On).room();
    assert_eq!(outcome(&room, "ana", &[]).await, "lease");
}

#[tokio::test]
async fn other_words_for_the_same() {
    for quirk in ["entra", "google"] {
        let room = Plan::new(&["--quirk", quirk])
            .oidc(|oidc| oidc.show_complete_uri = true)
            .room();
        assert_eq!(outcome(&room, "ana", &[]).await, "lease", "{quirk}");
        assert_eq!(
            outcome(&room, "ana", &["--deny"]).await,
            "denied",
            "{quirk}"
        );
    }
    let room = Plan::new(&["--no-complete-uri"])
        .oidc(|oidc| oidc.show_complete_uri = true)
        .room();
    assert_eq!(outcome(&room, "ana", &[]).await, "lease");
}

#[tokio::test]
async fn plain_oauth_is_no_sign_in() {
    let room = Plan::new(&["--quirk", "no-id-token"]).room();
    assert_eq!(outcome(&room, "ana", &[]).await, "misconfigured");
}

#[tokio::test]
async fn groups_may_be_at_userinfo_only() {
    let plan = Plan::new(&["--claims-in", "userinfo"]);
    for (from, user, wanted) in [
        (GroupsFrom::Auto, "ana", "lease"),
        (GroupsFrom::Userinfo, "ana", "lease"),
        (GroupsFrom::IdToken, "ana", "no group"),
        (GroupsFrom::Auto, "nora", "no group"),
        (GroupsFrom::Auto, "one", "no group"),
    ] {
        let room = plan.clone().oidc(|oidc| oidc.groups_from = from).room();
        let lease = room.sign_in(asker(user), user).await;
        assert_eq!(kind(&lease), wanted, "{from:?} {user}");
        if let Ok(lease) = lease {
            assert_eq!(lease.user.name, "ana");
            let groups = lease.user.evidence.last().unwrap();
            assert_eq!(groups.from, ClaimSource::Userinfo);
        }
    }
}

#[tokio::test]
async fn userinfo_of_another_is_refused() {
    let plan = Plan::new(&["--claims-in", "userinfo"]);
    let room = plan.room();
    for (fault, wanted) in [
        (
            json!({"status": 200, "body": r#"{"sub":"5f2c1e70-0002","groups":["dba"]}"#}),
            "misconfigured",
        ),
        (
            json!({"status": 200, "body": r#"{"groups":["dba"]}"#}),
            "misconfigured",
        ),
        (json!({"status": 401, "body": "{}"}), "denied"),
        (json!({"status": 503, "body": "{}"}), "unreachable"),
        (json!({"close": true}), "unreachable"),
    ] {
        room.provider.fault("/me", 1, fault.clone()).await;
        assert_eq!(outcome(&room, "ana", &[]).await, wanted, "{fault}");
    }
    assert_eq!(outcome(&room, "ana", &[]).await, "lease");
}

#[tokio::test]
async fn the_groups_claim_may_have_any_name() {
    for name in ["roles", "https://example.test/groups"] {
        let plan = Plan::new(&["--groups-claim", name]);
        let room = plan
            .clone()
            .oidc(|oidc| oidc.groups_claim = name.to_owned())
            .room();
        assert_eq!(outcome(&room, "ana", &[]).await, "lease", "{name}");
        // The one that is configured, and no other.
        assert_eq!(
            outcome(&plan.room(), "ana", &[]).await,
            "no group",
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_name_may_be_another_claim() {
    for (claim, name) in [
        ("email", "ana@example.test"),
        // One that nobody has: the subject stands in.
        ("nickname", "5f2c1e70-0001"),
    ] {
        let room = Plan::new(&[])
            .oidc(|oidc| oidc.username_claim = claim.to_owned())
            .room();
        let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
        assert_eq!(lease.user.name, name, "{claim}");
    }
}

#[tokio::test]
async fn every_algorithm_that_is_asymmetric() {
    for alg in ["RS256", "PS256", "ES256", "EdDSA"] {
        let room = Plan::new(&["--alg", alg]).room();
        assert_eq!(outcome(&room, "ana", &[]).await, "lease", "{alg}");
    }
}

#[tokio::test]
async fn https_with_a_ca_of_its_own() {
    let plan = Plan::new(&["--tls-dir", "DIR/tls"]);
    let room = plan.clone().room();
    let ca = room.provider.ca.clone();
    assert!(room.provider.issuer.starts_with("https://"));
    // Not trusted without the CA.
    let refused = room.sign_ins.begin(asker("ana")).await;
    assert_eq!(kind(&refused), "unreachable");
    let trusting = plan
        .oidc(|oidc| oidc.ca_file = ca)
        .sign_ins(&room.provider, room.dir.path());
    let pending = trusting.begin(asker("ana")).await.unwrap();
    let shown = pending.instructions().to_owned();
    let (lease, ()) = tokio::join!(pending.finish(), room.provider.uses(&shown, "ana", &[]));
    assert_eq!(kind(&lease), "lease");
}

#[tokio::test]
async fn a_client_may_have_a_secret() {
    let dir = tempfile::TempDir::new().unwrap();
    let secret_file = dir.path().join("secret");
    for (client, auth, secret, wanted) in [
        (
            "bastion-basic",
            ClientAuth::Basic,
            "bastion-basic-secret\n",
            "lease",
        ),
        ("bastion-basic", ClientAuth::Basic, "wrong", "misconfigured"),
        (
            "bastion-basic",
            ClientAuth::Post,
            "bastion-basic-secret",
            "misconfigured",
        ),
        (
            "bastion-post",
            ClientAuth::Post,
            "bastion-post-secret",
            "lease",
        ),
        (
            "bastion-post",
            ClientAuth::Basic,
            "bastion-post-secret",
            "misconfigured",
        ),
        ("bastion-post", ClientAuth::None, "", "misconfigured"),
        ("nobody", ClientAuth::None, "", "misconfigured"),
    ] {
        std::fs::write(&secret_file, secret).unwrap();
        private(&secret_file, 0o600);
        let room = Plan::new(&[])
            .oidc(|oidc| {
                oidc.client_id = client.to_owned();
                oidc.client_auth = auth;
                oidc.client_secret_file = Some(secret_file.clone());
            })
            .room();
        assert_eq!(
            outcome(&room, "ana", &[]).await,
            wanted,
            "{client} {auth:?}"
        );
    }
}

#[tokio::test]
async fn extra_parameters_and_scopes_are_sent() {
    let room = Plan::new(&[])
        .oidc(|oidc| {
            oidc.scopes = vec!["groups".into()];
            oidc.extra_params = vec![("audience".into(), "https://api.example.test/?a=b&c".into())];
        })
        .room();
    // `openid` is among them though it is not configured, or there would be no ID token.
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    // Without the scope `profile` there is no name, and the subject stands in.
    assert_eq!(lease.user.name, "5f2c1e70-0001");
    // A parameter that the provider minds shows that they arrive.
    let room = Plan::new(&[])
        .oidc(|oidc| oidc.extra_params = vec![("max_age".into(), "-1".into())])
        .room();
    assert_eq!(outcome(&room, "ana", &[]).await, "misconfigured");
}

/// Each key of `[oidc]`, with another value than its default, is where it belongs.
#[test]
fn every_key_of_the_file_arrives() {
    let parse = |text: &str| {
        let path = std::path::Path::new("/etc/bastion/bastion.toml");
        bastion::config::Config::parse(path, text).unwrap().oidc
    };
    let lines = r#"[oidc]
issuer = "https://id.example.org/realm"
client_id = "gate"
client_auth = "post"
client_secret_file = "secret"
scopes = ["openid", "roles"]
username_claim = "email"
groups_claim = "roles"
groups_from = "userinfo"
extra_params = { audience = "x" }
pkce = "off"
ca_file = "ca.pem"
clock_skew = "5s"
http_timeout = "3s"
lease = "2h"
recheck = "10m"
recheck_by = "userinfo"
on_unreachable = "keep"
grace = "30m"
code_max_age = "4m"
show_complete_uri = true
require_key = false
allowed_groups = ["staff"]
[approval]
same_person_claim = "person"
owner_claim = "keeper"
"#;
    let here = |name: &str| Some(std::path::Path::new("/etc/bastion").join(name));
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let wanted = Oidc {
        issuer: "https://id.example.org/realm".into(),
        client_id: "gate".into(),
        client_secret_file: here("secret"),
        client_auth: ClientAuth::Post,
        scopes: vec!["openid".into(), "roles".into()],
        username_claim: "email".into(),
        groups_claim: "roles".into(),
        groups_from: GroupsFrom::Userinfo,
        extra_params: vec![("audience".into(), "x".into())],
        pkce: Pkce::Off,
        ca_file: here("ca.pem"),
        clock_skew: Duration::from_secs(5),
        http_timeout: Duration::from_secs(3),
        lease: minutes(120),
        recheck: minutes(10),
        recheck_by: RecheckBy::Userinfo,
        on_unreachable: OnUnreachable::Keep,
        grace: minutes(30),
        code_max_age: minutes(4),
        show_complete_uri: true,
        require_key: false,
        allowed_groups: vec!["staff".into()],
        same_person_claim: Some("person".into()),
        owner_claim: "keeper".into(),
    };
    let read = parse(lines);
    assert_eq!(format!("{read:#?}"), format!("{wanted:#?}"));
    const LEAST: &str = "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"bastion\"\n";
    // None of those with a plain value has its default.
    let (own, least) = (format!("{read:#?}"), parse(LEAST));
    for line in format!("{least:#?}")
        .lines()
        .filter(|line| line.contains(": "))
    {
        assert!(!line.ends_with(',') || !own.contains(line), "{line}");
    }
}

#[test]
fn settings_that_cannot_work_stop_the_start() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let good = || {
        let mut oidc = Plan::new(&[]).oidc;
        oidc.issuer = "https://id.example.test".into();
        oidc
    };
    std::fs::write(path("empty"), "\n").unwrap();
    private(&path("empty"), 0o600);
    std::fs::write(path("open"), "secret").unwrap();
    private(&path("open"), 0o644);
    let with = |change: &dyn Fn(&mut bastion::config::Oidc)| {
        let mut oidc = good();
        change(&mut oidc);
        let store = Store::open(&path("db")).unwrap();
        let seal = SealKey::ephemeral().unwrap();
        SignIns::new(oidc, &Plan::new(&[]).limits, store, seal, World::default()).map(drop)
    };
    with(&|_| {}).unwrap();
    let error =
        |change: &dyn Fn(&mut bastion::config::Oidc)| -> LoginError { with(change).unwrap_err() };
    for (text, refused) in [
        (
            "not https",
            error(&|oidc| oidc.issuer = "http://id.example.test".into()),
        ),
        (
            "no URL",
            error(&|oidc| oidc.issuer = "id.example.test".into()),
        ),
        (
            "query",
            error(&|oidc| oidc.issuer = "https://id.example.test?a".into()),
        ),
        ("client_id", error(&|oidc| oidc.client_id = String::new())),
        (
            "extra_params",
            error(&|oidc| oidc.extra_params = vec![("scope".into(), "all".into())]),
        ),
        (
            "is needed",
            error(&|oidc| oidc.client_auth = ClientAuth::Basic),
        ),
        (
            "cannot read",
            error(&|oidc| {
                oidc.client_auth = ClientAuth::Post;
                oidc.client_secret_file = Some(path("nowhere"));
            }),
        ),
        (
            "is empty",
            error(&|oidc| {
                oidc.client_auth = ClientAuth::Post;
                oidc.client_secret_file = Some(path("empty"));
            }),
        ),
        (
            "chmod 600",
            error(&|oidc| {
                oidc.client_auth = ClientAuth::Basic;
                oidc.client_secret_file = Some(path("open"));
            }),
        ),
        (
            "cannot read",
            error(&|oidc| oidc.ca_file = Some(path("nowhere"))),
        ),
        (
            "no certificate",
            error(&|oidc| oidc.ca_file = Some(path("open"))),
        ),
    ] {
        assert!(refused.to_string().contains(text), "{refused}");
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }
}

fn private(path: &std::path::Path, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, mode).unwrap();
}
