//! What users do, and who they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bastion::login::{Asker, Reason};
use jiff::{SignedDuration, Timestamp};

use crate::provider::{Plan, asker, key, kind, uri_and_code};

#[tokio::test]
async fn one_sign_in_is_enough_for_a_lease() {
    let room = Plan::new(&[]).room();
    let sign_ins = &room.sign_ins;
    assert_eq!(sign_ins.lease(&key("ana")).await.unwrap(), None);

    let pending = room.begin(asker("ana")).await;
    let shown = pending.instructions().to_owned();
    assert!(shown.len() < 900 && shown.is_ascii());
    assert!(shown.contains("\"ana@orders-db\" from 10."), "{shown}");
    assert!(!shown.contains("Last sign-in"), "{shown}");
    let (lease, ()) = tokio::join!(pending.finish(), async {
        // Polled while nobody has said anything: that is `authorization_pending`.
        room.provider.counted("/token", 2).await;
        assert_eq!(sign_ins.lease(&key("ana")).await.unwrap(), None);
        room.provider.uses(&shown, "ana", &[]).await;
    });

    let lease = lease.unwrap();
    let user = &lease.user;
    assert_eq!(user.identity.issuer, room.provider.issuer);
    assert_eq!(user.identity.subject, "5f2c1e70-0001");
    assert_eq!(user.name, "ana");
    assert_eq!(user.email.as_deref(), Some("ana@example.test"));
    let groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
    assert_eq!(groups, ["finance", "staff"]);
    assert_eq!(
        lease.expires_at.duration_since(lease.signed_in_at),
        SignedDuration::from_hours(8)
    );

    let polls = room.provider.count("/token").await;
    let found = sign_ins.lease(&key("ana")).await.unwrap();
    assert_eq!(found.as_ref(), Some(&lease));
    assert!(sign_ins.is_live(&lease).await.unwrap());
    assert_eq!(sign_ins.lease(&key("bob")).await.unwrap(), None);
    // Leases ask nobody, and nothing polls on after the answer.
    room.sign_in(asker("bob"), "bob").await.unwrap();
    let after = room.provider.count("/token").await;
    assert!(after > polls);
    // A second and more after the first: each code has had its answer once.
    assert_eq!(after, room.provider.pending_polls().await + 2);

    // The next sign-in tells of this one.
    let pending = room.begin(asker("ana")).await;
    assert!(pending.instructions().contains("Last sign-in: "));
    assert_eq!(room.provider.count("/token").await, after);
}

#[tokio::test]
async fn a_denial_at_any_page_is_final() {
    let room = Plan::new(&[]).room();
    for page in ["confirm", "consent"] {
        let pending = room.begin(asker("ana")).await;
        let shown = pending.instructions().to_owned();
        let more: &[&str] = match page {
            "confirm" => &["--deny-at", "confirm"],
            _ => &["--deny"],
        };
        let (lease, ()) = tokio::join!(pending.finish(), room.provider.uses(&shown, "ana", more));
        assert_eq!(kind(&lease), "denied", "{page}");
        assert_eq!(
            lease.unwrap_err().notice(),
            "the sign-in was denied at the identity provider"
        );
    }
    assert_eq!(room.sign_ins.lease(&key("ana")).await.unwrap(), None);
}

#[tokio::test]
async fn a_code_that_nobody_uses_expires() {
    let room = Plan::new(&["--code-ttl", "2"]).room();
    let pending = room.begin(asker("ana")).await;
    let shown = pending.instructions().to_owned();
    assert!(shown.contains("Code valid for 2 seconds."));
    let expires = pending.expires();
    let lease = pending.finish().await;
    assert_eq!(kind(&lease), "expired");
    assert!(tokio::time::Instant::now() >= expires);
    assert!(lease.unwrap_err().notice().contains("expired"));
    let polls = room.provider.count("/token").await;
    // The code is of no use to whoever comes late, and nobody polls for it.
    assert_eq!(room.provider.user(&shown, "ana", &[]).await, 3);
    assert_eq!(room.provider.count("/token").await, polls);
}

#[tokio::test]
async fn the_cap_on_a_codes_life_is_ours() {
    let room = Plan::new(&["--code-ttl", "300"])
        .oidc(|oidc| oidc.code_max_age = Duration::from_secs(2))
        .room();
    let pending = room.begin(asker("ana")).await;
    assert!(pending.instructions().contains("2 seconds"));
    assert_eq!(kind(&pending.finish().await), "expired");
}

#[tokio::test]
async fn the_provider_may_say_first_that_a_code_expired() {
    let room = Plan::new(&[]).room();
    let pending = room.begin(asker("ana")).await;
    let (lease, ()) = tokio::join!(pending.finish(), async {
        room.provider.counted("/token", 1).await;
        room.provider
            .control("clock", serde_json::json!({"offset_s": 301}))
            .await;
    });
    assert_eq!(kind(&lease), "expired");
}

#[tokio::test]
async fn who_hangs_up_is_not_polled_for_and_frees_the_place() {
    let room = Plan::new(&[]).room();
    let clock = Plan::new(&[]).room();
    let other = clock.begin(asker("clock")).await;
    let shown = other.instructions().to_owned();

    let finish = room.begin(asker("ana")).await.finish();
    tokio::select! {
        _ = finish => panic!("nobody has used the code"),
        () = room.provider.counted("/token", 1) => {}
    }
    // `select!` has dropped the future: the client has gone.
    let polls = room.provider.count("/token").await;
    let (_, ()) = tokio::join!(other.finish(), async {
        // Another flow at the same interval shows that the time of several polls has passed.
        clock.provider.counted("/token", 3).await;
        clock.provider.uses(&shown, "bob", &[]).await;
    });
    assert_eq!(room.provider.count("/token").await, polls);
    // And before it ever polled.
    drop(room.begin(asker("ana")).await);
    room.begin(asker("ana")).await;
}

#[tokio::test]
async fn pending_sign_ins_are_counted_by_key_source_and_in_all() {
    let mut plan = Plan::new(&[]);
    plan.limits.device_flows = 4;
    let room = plan.room();
    let from = |name: &str, source: [u8; 4]| Asker {
        source: source.into(),
        ..asker(name)
    };
    let here = [192, 0, 2, 1];
    let first = room.begin(from("a", here)).await;
    let asked = room.provider.count("/device/auth").await;
    let same_key = room.sign_ins.begin(from("a", [192, 0, 2, 9])).await;
    assert_eq!(kind(&same_key), "too many");
    let _second = room.begin(from("b", here)).await;
    let _third = room.begin(from("c", here)).await;
    let same_source = room.sign_ins.begin(from("d", here)).await;
    let _fourth = room.begin(from("d", [192, 0, 2, 2])).await;
    let total = room.sign_ins.begin(from("e", [192, 0, 2, 3])).await;
    for refused in [same_source, total] {
        let notice = refused.unwrap_err().notice();
        assert!(notice.starts_with("too many sign-ins pending"), "{notice}");
    }
    // Who is refused costs the provider nothing.
    assert_eq!(room.provider.count("/device/auth").await, asked + 3);
    drop(first);
    room.begin(from("a", here)).await;
}

#[tokio::test]
async fn a_key_of_one_person_never_signs_in_another() {
    let room = Plan::new(&[]).room();
    let anas = room.sign_in(asker("ana"), "ana").await.unwrap();
    let refused = room.sign_in(asker("ana"), "bob").await;
    assert_eq!(kind(&refused), "wrong account");
    let notice = refused.unwrap_err().notice();
    assert!(!notice.contains("5f2c") && notice.is_ascii(), "{notice}");
    // Ana's lease is what it was, and bob has none.
    let found = room.sign_ins.lease(&key("ana")).await.unwrap();
    assert_eq!(found, Some(anas.clone()));
    let leases = room.sign_ins.leases(None).await.unwrap();
    assert_eq!(leases, std::slice::from_ref(&anas));
    // Signed out, the key is still hers.
    let out = room.sign_ins.sign_out(&anas.user.identity, None).await;
    assert_eq!(out.unwrap(), 1);
    assert!(!room.sign_ins.is_live(&anas).await.unwrap());
    assert_eq!(room.sign_ins.lease(&key("ana")).await.unwrap(), None);
    assert_eq!(
        kind(&room.sign_in(asker("ana"), "bob").await),
        "wrong account"
    );
    let again = room.sign_in(asker("ana"), "ana").await.unwrap();
    assert!(again.id > anas.id);
}

#[tokio::test]
async fn a_sign_out_may_be_of_one_lease() {
    let room = Plan::new(&[]).room();
    let one = room.sign_in(asker("one"), "ana").await.unwrap();
    let two = room.sign_in(asker("two"), "ana").await.unwrap();
    let ana = &one.user.identity;
    assert_eq!(
        room.sign_ins.leases(Some(ana)).await.unwrap(),
        [two.clone(), one.clone()]
    );
    assert_eq!(room.sign_ins.sign_out(ana, Some(one.id)).await.unwrap(), 1);
    assert!(!room.sign_ins.is_live(&one).await.unwrap());
    assert!(room.sign_ins.is_live(&two).await.unwrap());
}

#[tokio::test]
async fn without_a_key_each_connection_signs_in_anew() {
    let keyless = || Asker {
        key: None,
        ..asker("ana")
    };
    let strict = Plan::new(&[]).room();
    let refused = strict.sign_ins.begin(keyless()).await;
    assert_eq!(kind(&refused), "key needed");
    assert_eq!(strict.provider.count("/device/auth").await, 0);

    let room = Plan::new(&[]).oidc(|oidc| oidc.require_key = false).room();
    let one = room.sign_in(keyless(), "ana").await.unwrap();
    let two = room.sign_in(keyless(), "ana").await.unwrap();
    assert_eq!(one.key, None);
    assert!(room.sign_ins.is_live(&one).await.unwrap());
    assert!(room.sign_ins.is_live(&two).await.unwrap());
}

#[tokio::test]
async fn awkward_users_get_exactly_what_their_claims_say() {
    let room = Plan::new(&[]).room();
    for (name, wanted) in [
        ("eve", "no group"),
        ("nora", "no group"),
        ("one", "no group"),
        ("many", "lease"),
        ("twin", "lease"),
        ("ansi", "lease"),
    ] {
        let lease = room.sign_in(asker(name), name).await;
        assert_eq!(kind(&lease), wanted, "{name}");
        match lease {
            Err(refusal) => assert!(refusal.notice().contains("in no group")),
            Ok(lease) if name == "many" => assert_eq!(lease.user.groups.len(), 600),
            Ok(lease) if name == "twin" => assert_eq!(lease.user.email, None),
            Ok(lease) => {
                assert_eq!(lease.user.name, "ansi\\u{1b}[2J\\u{d}\\u{a}root");
                let groups: Vec<&str> = lease.user.groups.iter().map(String::as_str).collect();
                assert_eq!(groups, ["staff"]);
                let evidence = lease.user.evidence.last().unwrap();
                assert_eq!(evidence.detail, "1 group, 1 ignored: not plain names");
            }
        }
    }
    // Twin has ana's address, and is not ana.
    let ana = room.sign_in(asker("ana"), "ana").await.unwrap();
    let twin = room.sign_ins.lease(&key("twin")).await.unwrap().unwrap();
    assert_ne!(ana.user.identity, twin.user.identity);
}

#[tokio::test]
async fn who_is_disabled_gets_nowhere() {
    let room = Plan::new(&[]).room();
    for (user, password) in [("gone", "gone-password"), ("ana", "wrong")] {
        let pending = room.begin(asker(user)).await;
        let shown = pending.instructions().to_owned();
        let more = ["--password", password];
        tokio::select! {
            _ = pending.finish() => panic!("nobody has signed in"),
            code = room.provider.user(&shown, user, &more) => {
                assert_eq!(code, 4, "{user}");
            }
        }
        assert_eq!(room.sign_ins.lease(&key(user)).await.unwrap(), None);
    }

    // Disabled between the yes and the tokens.
    let pending = room.begin(asker("bob")).await;
    let shown = pending.instructions().to_owned();
    room.provider.uses(&shown, "bob", &[]).await;
    let disable = serde_json::json!({"name": "bob", "disabled": true});
    room.provider.control("user", disable).await;
    let refused = pending.finish().await;
    assert_ne!(kind(&refused), "lease");
    assert_eq!(room.sign_ins.lease(&key("bob")).await.unwrap(), None);
}

#[tokio::test]
async fn named_groups_are_needed_where_some_are_named() {
    let room = Plan::new(&[])
        .oidc(|oidc| oidc.allowed_groups = vec!["dba".into(), "auditors".into()])
        .room();
    assert_eq!(kind(&room.sign_in(asker("ana"), "ana").await), "no group");
    assert_eq!(kind(&room.sign_in(asker("bob"), "bob").await), "lease");
}

#[tokio::test]
async fn a_lease_is_held_against_todays_configuration() {
    let plan = Plan::new(&[]);
    let room = plan.clone().room();
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    for (live, change) in [
        (true, plan.clone()),
        (
            false,
            plan.clone()
                .oidc(|oidc| oidc.allowed_groups = vec!["dba".into()]),
        ),
        (
            false,
            plan.clone()
                .oidc(|oidc| oidc.issuer = "https://other.example.test".into()),
        ),
        (false, plan.clone().oidc(|oidc| oidc.lease = Duration::ZERO)),
    ] {
        let sign_ins = change.sign_ins(&room.provider, room.dir.path());
        assert_eq!(sign_ins.is_live(&lease).await.unwrap(), live);
        let found = sign_ins.lease(&key("ana")).await.unwrap();
        assert_eq!(found.is_some(), live);
        assert_eq!(
            sign_ins.leases(None).await.unwrap().len(),
            usize::from(live)
        );
    }
}

#[tokio::test]
async fn leases_live_by_the_wall_clock() {
    let offset = Arc::new(AtomicI64::new(0));
    let mut plan = Plan::new(&[]);
    let shared = Arc::clone(&offset);
    plan.world.wall = Arc::new(move || {
        let offset = SignedDuration::from_secs(shared.load(Ordering::SeqCst));
        Timestamp::now().checked_add(offset).unwrap()
    });
    let room = plan.room();
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    for (hours, live) in [(0, true), (7, true), (8, false), (24, false), (-1, false)] {
        offset.store(hours * 3600, Ordering::SeqCst);
        assert_eq!(
            room.sign_ins.is_live(&lease).await.unwrap(),
            live,
            "{hours}"
        );
    }
    // A clock a day off believes no token, and says so; back in time, all is well.
    for hours in [24, -24] {
        offset.store(hours * 3600, Ordering::SeqCst);
        let refused = room.sign_in(asker("bob"), "bob").await;
        assert_eq!(kind(&refused), "untrusted", "{hours}");
    }
    offset.store(0, Ordering::SeqCst);
    room.sign_in(asker("bob"), "bob").await.unwrap();
}

#[tokio::test]
async fn the_complete_url_is_shown_only_where_configured() {
    let plan = Plan::new(&[]);
    let room = plan.clone().room();
    let pending = room.begin(asker("ana")).await;
    let (uri, code) = uri_and_code(pending.instructions());
    assert!(!uri.contains(&code));
    drop(pending);
    let dir = tempfile::TempDir::new().unwrap();
    let open = plan
        .oidc(|oidc| oidc.show_complete_uri = true)
        .sign_ins(&room.provider, dir.path());
    let pending = open.begin(asker("ana")).await.unwrap();
    let (uri, code) = uri_and_code(pending.instructions());
    assert!(uri.contains(&code), "{uri} {code}");
}

#[tokio::test]
async fn a_sign_in_brings_todays_groups_to_every_key() {
    let room = Plan::new(&[]).room();
    let old = room.sign_in(asker("one"), "ana").await.unwrap();
    let less = serde_json::json!({"name": "ana", "groups": ["staff"]});
    room.provider.control("user", less).await;
    room.sign_in(asker("two"), "ana").await.unwrap();
    let now = room.sign_ins.renewed(&old).await.unwrap().unwrap();
    assert!(old.user.groups.contains("finance"));
    assert!(!now.user.groups.contains("finance"));
    // Out of every group: refused, and what was given before is taken back.
    let none = serde_json::json!({"name": "ana", "groups": []});
    room.provider.control("user", none).await;
    let refused = room.sign_in(asker("one"), "ana").await;
    assert!(matches!(
        refused.unwrap_err().reason(),
        Reason::NoGroup { .. }
    ));
    assert!(!room.sign_ins.is_live(&old).await.unwrap());
    assert_eq!(room.sign_ins.leases(None).await.unwrap(), []);
}
