//! The provider asked again about whoever has signed in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastion::config::{GroupsFrom, OnUnreachable, RecheckBy};
use bastion::login::{Lease, News, SignIns};
use bastion::store::{Lock, Locked};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::provider::{Plan, Room, asker, key, kind};

/// What was told, in words.
type Told = mpsc::Receiver<String>;

/// Asked again at this pace.
const RECHECK: Duration = Duration::from_millis(400);

/// A plan whose leases are asked about often, and what it tells.
fn plan(provider: &[&str]) -> (Plan, Told) {
    let mut plan = Plan::new(provider).oidc(|oidc| {
        oidc.recheck = RECHECK;
        oidc.recheck_by = RecheckBy::Auto;
        oidc.scopes.push("offline_access".into());
    });
    let (tell, told) = mpsc::channel(100);
    plan.world.tell = Arc::new(move |news| {
        let words = match news {
            News::LeaseOver { lease, over } => format!("over {}: {over}", lease.user.name),
            News::NotRechecked { lease, cause } => {
                format!("not asked {}: {cause}", lease.user.name)
            }
            News::NewKey { lease } => format!("new key {}", lease.user.name),
        };
        drop(tell.try_send(words));
    });
    (plan, told)
}

/// Runs the re-checks while `what` goes on.
async fn while_rechecking<T>(sign_ins: &SignIns, what: impl Future<Output = T>) -> T {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let done = async {
        let done = tokio::time::timeout(Duration::from_secs(60), what).await;
        stop.cancel();
        done
    };
    let ((), done) = tokio::join!(sign_ins.keep_rechecking(stopped), done);
    done.expect("it did not happen")
}

/// Waits until the provider has confirmed the lease `times` more.
async fn confirmed(sign_ins: &SignIns, lease: &Lease, times: usize) -> Lease {
    let mut seen = lease.clone();
    for _ in 0..times {
        seen = loop {
            let now = sign_ins.leases(None).await.unwrap();
            let now = now.into_iter().find(|found| found.id == lease.id);
            let now = now.expect("the lease has ended");
            if now.checked_at > seen.checked_at {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
    }
    seen
}

#[tokio::test]
async fn a_lease_is_confirmed_again_and_again_whatever_the_product() {
    for provider in [
        &[][..],
        &["--rotate-refresh", "off"],
        &["--quirk", "no-refresh-id-token"],
        &["--quirk", "pkce"],
        &["--quirk", "entra"],
        &["--quirk", "google"],
        &["--claims-in", "userinfo"],
        &["--alg", "ES256"],
    ] {
        let (plan, mut told) = plan(provider);
        let room = plan.room();
        let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
        let asked = room.provider.count("/token").await;
        while_rechecking(&room.sign_ins, async {
            // Three times: the token that came with the first is used by the second.
            let now = confirmed(&room.sign_ins, &lease, 3).await;
            assert_eq!(now.user.groups, lease.user.groups, "{provider:?}");
            assert_eq!(now.user.name, "ana", "{provider:?}");
            assert_eq!(now.expires_at, lease.expires_at, "{provider:?}");
        })
        .await;
        assert!(
            room.provider.count("/token").await >= asked + 3,
            "{provider:?}"
        );
        assert!(told.try_recv().is_err(), "{provider:?}");
    }
}

#[tokio::test]
async fn todays_groups_come_with_the_answer() {
    let (plan, _told) = plan(&[]);
    let room = plan.room();
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    let less = json!({"name": "ana", "groups": ["staff"]});
    room.provider.control("user", less).await;
    while_rechecking(&room.sign_ins, async {
        let now = confirmed(&room.sign_ins, &lease, 1).await;
        assert!(!now.user.groups.contains("finance"));
    })
    .await;
}

#[tokio::test]
async fn a_no_of_the_provider_ends_the_lease_within_the_interval() {
    for (provider, by, change, why) in [
        (
            &[][..],
            RecheckBy::Auto,
            json!({"disabled": true}),
            "invalid_grant",
        ),
        (
            &[][..],
            RecheckBy::Refresh,
            json!({"revoke": true}),
            "invalid_grant",
        ),
        (
            &["--quirk", "entra"][..],
            RecheckBy::Auto,
            json!({"disabled": true}),
            "invalid_grant",
        ),
        (
            &["--quirk", "google"][..],
            RecheckBy::Auto,
            json!({"disabled": true}),
            "invalid_grant",
        ),
        (
            &[][..],
            RecheckBy::Userinfo,
            json!({"disabled": true}),
            "status 401",
        ),
        (&[][..], RecheckBy::Auto, json!({"groups": []}), "no group"),
        (
            &[][..],
            RecheckBy::Auto,
            json!({"groups": null}),
            "no group",
        ),
        (
            &["--claims-in", "userinfo"][..],
            RecheckBy::Auto,
            json!({"groups": []}),
            "no group",
        ),
        (
            &["--quirk", "no-refresh-id-token"][..],
            RecheckBy::Auto,
            json!({"groups": []}),
            "no group",
        ),
    ] {
        let (plan, mut told) = plan(provider);
        let room = plan.oidc(|oidc| oidc.recheck_by = by).room();
        let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
        let bobs = room.sign_in(asker("bob"), "bob").await.unwrap();
        let mut body = change.clone();
        body.as_object_mut()
            .unwrap()
            .insert("name".into(), "ana".into());
        while_rechecking(&room.sign_ins, async {
            confirmed(&room.sign_ins, &lease, 1).await;
            room.provider.control("user", body).await;
            let words = told.recv().await.unwrap();
            assert!(
                words.starts_with("over ana") && words.contains(why),
                "{change}: {words}"
            );
            assert!(!room.sign_ins.is_live(&lease).await.unwrap());
            // Nobody else has lost anything.
            confirmed(&room.sign_ins, &bobs, 1).await;
        })
        .await;
        assert_eq!(room.sign_ins.lease(&key("ana")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn who_is_in_no_group_loses_the_leases_of_every_key() {
    let (plan, mut told) = plan(&[]);
    let room = plan.room();
    room.sign_in(asker("one"), "ana").await.unwrap();
    room.sign_in(asker("two"), "ana").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "new key ana");
    let none = json!({"name": "ana", "groups": []});
    room.provider.control("user", none).await;
    while_rechecking(&room.sign_ins, async {
        assert!(told.recv().await.unwrap().contains("no group"));
    })
    .await;
    assert_eq!(room.sign_ins.leases(None).await.unwrap(), []);
}

#[tokio::test]
async fn silence_and_nonsense_are_not_a_no() {
    for fault in [
        json!({"status": 503, "body": "busy"}),
        json!({"close": true}),
        json!({"status": 429, "body": "{}"}),
        json!({"status": 200, "body": "<html>"}),
        json!({"status": 401, "body": r#"{"error":"invalid_client"}"#}),
        json!({"status": 400, "body": r#"{"error":"temporarily_unavailable"}"#}),
        json!({"status": 302, "body": "", "headers": {"location": "/elsewhere"}}),
    ] {
        let (plan, mut told) = plan(&[]);
        let room = plan.room();
        let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
        room.provider.fault("/token", 2, fault.clone()).await;
        while_rechecking(&room.sign_ins, async {
            let words = told.recv().await.unwrap();
            assert!(words.starts_with("not asked ana"), "{fault}: {words}");
            assert!(room.sign_ins.is_live(&lease).await.unwrap(), "{fault}");
            confirmed(&room.sign_ins, &lease, 2).await;
        })
        .await;
        // It is told once, however often it was tried.
        assert!(told.try_recv().is_err(), "{fault}");
    }
}

#[tokio::test]
async fn an_unreachable_provider_is_what_the_configuration_says() {
    for (on_unreachable, grace, over) in [
        (OnUnreachable::End, Duration::from_secs(3600), true),
        (OnUnreachable::Grace, Duration::from_millis(300), true),
        (OnUnreachable::Grace, Duration::from_secs(3600), false),
        (OnUnreachable::Keep, Duration::ZERO, false),
    ] {
        let (plan, mut told) = plan(&[]);
        let room = plan
            .oidc(|oidc| {
                oidc.on_unreachable = on_unreachable;
                oidc.grace = grace;
            })
            .room();
        let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
        let Room {
            sign_ins,
            provider,
            dir: _dir,
        } = room;
        provider.stop();
        while_rechecking(&sign_ins, async {
            let mut words = told.recv().await.unwrap();
            if words.starts_with("not asked") {
                assert!(on_unreachable != OnUnreachable::End);
                if over {
                    words = told.recv().await.unwrap();
                }
            }
            assert_eq!(
                words.starts_with("over"),
                over,
                "{on_unreachable:?} {words}"
            );
            assert_eq!(
                sign_ins.is_live(&lease).await.unwrap(),
                !over,
                "{on_unreachable:?}"
            );
        })
        .await;
    }
}

#[tokio::test]
async fn who_comes_late_is_asked_about_first() {
    let (plan, mut told) = plan(&[]);
    let room = plan.room();
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    room.sign_in(asker("bob"), "bob").await.unwrap();
    // Nothing re-checks: the bastion was off for longer than the interval.
    tokio::time::sleep(RECHECK * 2).await;
    let asked = room.provider.count("/token").await;
    let callers = (0..20).map(|_| {
        let sign_ins = room.sign_ins.clone();
        async move { sign_ins.lease(&key("ana")).await.unwrap() }
    });
    let mut all = tokio::task::JoinSet::new();
    callers.for_each(|caller| drop(all.spawn(caller)));
    let found = all.join_all().await;
    assert!(found.iter().all(|found| {
        found
            .as_ref()
            .is_some_and(|now| now.checked_at > lease.checked_at)
    }));
    // Once for all of them: a second use of a rotated token would have killed the grant.
    assert_eq!(room.provider.count("/token").await, asked + 1);
    room.provider
        .control("user", json!({"name": "bob", "disabled": true}))
        .await;
    assert_eq!(room.sign_ins.lease(&key("bob")).await.unwrap(), None);
    assert!(told.recv().await.unwrap().starts_with("over bob"));
}

#[tokio::test]
async fn a_rotated_token_is_kept_before_it_is_used_and_sealed() {
    let (plan, _told) = plan(&["--claims-in", "userinfo"]);
    let room = plan.clone().room();
    let db = room.dir.path().join("db");
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    // The first refresh works, and what comes after it fails.
    room.provider.fault("/me", 1, json!({"close": true})).await;
    while_rechecking(&room.sign_ins, async {
        confirmed(&room.sign_ins, &lease, 2).await;
    })
    .await;

    // A token that we know is nowhere on disk.
    let id = &lease.user.identity.subject;
    let canary = "canary-of-a-refresh-token";
    let issued = json!({"access_token": "canary-of-an-access-token", "token_type": "Bearer", "refresh_token": canary});
    room.provider
        .fault(
            "/token",
            1,
            json!({"status": 200, "body": issued.to_string()}),
        )
        .await;
    let about = json!({"sub": id, "groups": ["staff"]}).to_string();
    room.provider
        .fault("/me", 1, json!({"status": 200, "body": about}))
        .await;
    while_rechecking(&room.sign_ins, async {
        loop {
            let now = confirmed(&room.sign_ins, &lease, 1).await;
            if !now.user.groups.contains("finance") {
                break;
            }
        }
    })
    .await;
    for name in ["db", "db-wal", "db-shm"] {
        let bytes = std::fs::read(db.with_file_name(name)).unwrap_or_default();
        let found = bytes.windows(9).any(|window| window == b"canary-of");
        assert!(!found, "a token is in {name}");
    }
    // And it is the one that is sent the next time: nobody knows it, and that is a no.
    let gone = room.sign_ins.clone();
    while_rechecking(&room.sign_ins, async {
        while gone.is_live(&lease).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_restart_goes_on_with_the_same_key_and_not_with_another() {
    let (plan, _told) = plan(&[]);
    let first = plan.clone().room();
    let store_key = first.dir.path().join("store_key");
    std::fs::write(&store_key, data_encoding::BASE64.encode(&[7; 32])).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&store_key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let sign_ins = plan.clone().sign_ins(&first.provider, first.dir.path());
    let room = Room { sign_ins, ..first };
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();

    let again = plan.clone().sign_ins(&room.provider, room.dir.path());
    while_rechecking(&again, async {
        confirmed(&again, &lease, 1).await;
    })
    .await;
    std::fs::write(&store_key, data_encoding::BASE64.encode(&[8; 32])).unwrap();
    let causes = Arc::new(Mutex::new(Vec::new()));
    let mut other = plan;
    let seen = causes.clone();
    other.world.tell = Arc::new(move |news| {
        if let News::NotRechecked { cause, .. } = news {
            seen.lock().unwrap().push(cause.to_owned());
        }
    });
    let other = other.sign_ins(&room.provider, room.dir.path());
    while_rechecking(&other, async {
        while causes.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let causes = causes.lock().unwrap();
    assert!(
        causes
            .iter()
            .all(|cause| cause.contains("another store_key"))
    );
}

#[tokio::test]
async fn without_a_refresh_token_there_is_userinfo_for_a_while_or_no_sign_in() {
    let (plan, mut told) = plan(&["--access-ttl", "2"]);
    let plan = plan.oidc(|oidc| oidc.scopes.retain(|scope| scope != "offline_access"));
    let strict = plan
        .clone()
        .oidc(|oidc| oidc.recheck_by = RecheckBy::Refresh)
        .room();
    let refused = strict.sign_in(asker("ana"), "ana").await;
    assert_eq!(kind(&refused), "misconfigured");
    assert!(refused.unwrap_err().to_string().contains("offline_access"));

    for groups_from in [GroupsFrom::Auto, GroupsFrom::IdToken] {
        let room = plan
            .clone()
            .oidc(|oidc| oidc.groups_from = groups_from)
            .room();
        let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
        while_rechecking(&room.sign_ins, async {
            let now = confirmed(&room.sign_ins, &lease, 1).await;
            assert_eq!(now.user.groups, lease.user.groups);
            let words = told.recv().await.unwrap();
            assert!(words.contains("the access token has ended"), "{words}");
        })
        .await;
        // It goes on for the grace.
        assert!(room.sign_ins.is_live(&lease).await.unwrap());
    }
}

#[tokio::test]
async fn a_lease_that_nobody_confirmed_counts_for_the_grace_only() {
    use jiff::{SignedDuration, Timestamp};
    use std::sync::atomic::{AtomicI64, Ordering};
    let offset = Arc::new(AtomicI64::new(0));
    let mut plan = Plan::new(&[]).oidc(|oidc| oidc.recheck_by = RecheckBy::Auto);
    let shared = offset.clone();
    plan.world.wall = Arc::new(move || {
        let offset = SignedDuration::from_secs(shared.load(Ordering::SeqCst));
        Timestamp::now().checked_add(offset).unwrap()
    });
    let room = plan.room();
    let lease = room.sign_in(asker("ana"), "ana").await.unwrap();
    let Room {
        sign_ins,
        provider,
        dir: _dir,
    } = room;
    provider.stop();
    // 15 min, 1 h of grace, and a minute to ask in.
    for (minutes, live) in [(14, true), (74, true)] {
        offset.store(minutes * 60, Ordering::SeqCst);
        assert_eq!(
            sign_ins.leases(None).await.unwrap().len(),
            usize::from(live),
            "{minutes}"
        );
        assert_eq!(sign_ins.is_live(&lease).await.unwrap(), live, "{minutes}");
    }
    offset.store(77 * 60, Ordering::SeqCst);
    assert_eq!(sign_ins.leases(None).await.unwrap(), []);
    assert!(!sign_ins.is_live(&lease).await.unwrap());
}

#[tokio::test]
async fn who_is_locked_cannot_sign_in() {
    let (plan, _told) = plan(&[]);
    let room = plan.room();
    let ana = room.sign_in(asker("ana"), "ana").await.unwrap();
    let bob = room.sign_in(asker("bob"), "bob").await.unwrap();
    let locked = Locked::User(ana.user.identity.clone());
    let lock = Lock {
        locked: locked.clone(),
        by: bob.user.identity.clone(),
        by_name: "bob".into(),
        reason: String::new(),
        at: jiff::Timestamp::now(),
    };
    assert_eq!(room.sign_ins.lock(lock).await.unwrap(), 1);
    assert!(!room.sign_ins.is_live(&ana).await.unwrap());
    let refused = room.sign_in(asker("ana"), "ana").await;
    assert_eq!(kind(&refused), "locked");
    assert!(refused.unwrap_err().notice().contains("locked"));
    assert!(room.sign_ins.unlock(locked).await.unwrap());
    room.sign_in(asker("ana"), "ana").await.unwrap();
}

#[tokio::test]
async fn a_new_key_of_a_known_person_is_told() {
    let (plan, mut told) = plan(&[]);
    let room = plan.room();
    room.sign_in(asker("ana"), "ana").await.unwrap();
    room.sign_in(asker("ana"), "ana").await.unwrap();
    assert!(told.try_recv().is_err());
    room.sign_in(asker("second"), "ana").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "new key ana");
    let shown = |pending: bastion::login::Pending| pending.instructions().to_owned();
    let first = shown(room.begin(asker("ana")).await);
    assert!(
        first.contains(&format!("New key since then: {}", key("second"))),
        "{first}"
    );
    let second = shown(room.begin(asker("second")).await);
    assert!(!second.contains("New key"), "{second}");
    // Told once, when the older key has signed in.
    room.sign_in(asker("ana"), "ana").await.unwrap();
    assert!(!shown(room.begin(asker("ana")).await).contains("New key"));
}
