#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::login::{ClaimSource, Evidence, Gave, Links};

const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn user(subject: &str) -> User {
    User {
        identity: Identity {
            issuer: "https://id.example.test".into(),
            subject: subject.into(),
        },
        name: format!("name of {subject}"),
        email: Some(format!("{subject}@example.test")),
        groups: ["staff".to_owned(), "dba".to_owned()].into(),
        evidence: vec![Evidence {
            claim: "groups".into(),
            from: ClaimSource::IdToken,
            gave: Gave::Groups,
            detail: "2 groups".into(),
        }],
        links: Links::default(),
    }
}

fn key(name: &str) -> KeyId {
    KeyId::stored(format!("SHA256:{name}"))
}

fn sign_in(subject: &str, with: Option<&str>, second: i64) -> SignIn {
    SignIn {
        user: user(subject),
        key: with.map(key),
        source: "192.0.2.1".parse().unwrap(),
        now: at(second),
        begun_at: at(second),
        expires_at: at(second + 8 * HOUR),
        means: Some(means("first")),
    }
}

fn means(token: &str) -> Means {
    Means {
        kind: MeansKind::Refresh,
        sealed: token.as_bytes().to_vec(),
        until: None,
    }
}

fn lease(enrolment: Enrolment) -> Lease {
    match enrolment {
        Enrolment::Lease { lease, .. } => lease,
        Enrolment::KeyOfAnother(owner) => panic!("key of {owner}"),
        Enrolment::Locked => panic!("locked"),
    }
}

struct Here {
    dir: TempDir,
    store: Store,
}

impl Here {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        Self { dir, store }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    async fn sign_in(&self, subject: &str, with: Option<&str>, second: i64) -> Lease {
        lease(
            self.store
                .sign_in(sign_in(subject, with, second))
                .await
                .unwrap(),
        )
    }
}

#[tokio::test]
async fn a_lease_is_found_by_its_key_until_it_ends() {
    let here = Here::new();
    let written = here.sign_in("ana", Some("a"), 0).await;
    assert_eq!(*written.user, user("ana"));
    for (second, live) in [
        (-61, false),
        (-60, true),
        (0, true),
        (8 * HOUR - 1, true),
        (8 * HOUR, false),
    ] {
        let found = here
            .store
            .lease_of_key(&key("a"), at(second))
            .await
            .unwrap();
        assert_eq!(found, live.then(|| written.clone()), "{second}");
        let found = here.store.lease(written.id, at(second)).await.unwrap();
        assert_eq!(found.is_some(), live, "{second}");
    }
    assert_eq!(
        here.store.lease_of_key(&key("b"), at(0)).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let here = Here::new();
    let written = here.sign_in("ana", Some("a"), 0).await;
    let path = here.path();
    let Here { dir, store } = here;
    drop(store);
    // Closed in order, the file is whole by itself.
    assert!(!dir.path().join("db-wal").exists());
    let again = Store::open(&path).unwrap();
    assert_eq!(
        again.lease_of_key(&key("a"), at(1)).await.unwrap(),
        Some(written)
    );
    drop(dir);
}

#[tokio::test]
async fn a_key_never_changes_its_person() {
    let here = Here::new();
    let first = here.sign_in("ana", Some("a"), 0).await;
    let refused = here
        .store
        .sign_in(sign_in("bob", Some("a"), 1))
        .await
        .unwrap();
    assert!(matches!(refused, Enrolment::KeyOfAnother(owner) if owner == user("ana").identity));
    // Nothing of bob was written, and ana's lease stands.
    assert_eq!(
        here.store.leases(None, at(1)).await.unwrap(),
        std::slice::from_ref(&first)
    );
    // Nor after the lease has gone.
    here.store
        .end_leases(&user("ana").identity, None)
        .await
        .unwrap();
    let refused = here
        .store
        .sign_in(sign_in("bob", Some("a"), 2))
        .await
        .unwrap();
    assert!(matches!(refused, Enrolment::KeyOfAnother(_)));
    // The same subject of another issuer is somebody else.
    let mut foreign = sign_in("ana", Some("a"), 3);
    foreign.user.identity.issuer = "https://other.example.test".into();
    let refused = here.store.sign_in(foreign).await.unwrap();
    assert!(matches!(refused, Enrolment::KeyOfAnother(_)));
    // And the schema holds it against this program too.
    let direct = Connection::open(here.path()).unwrap();
    here.sign_in("bob", Some("b"), 4).await;
    let changed = direct.execute("UPDATE keys SET user = user + 1", []);
    assert!(
        changed
            .unwrap_err()
            .to_string()
            .contains("never changes its person")
    );
    assert!(
        direct
            .execute("UPDATE users SET subject = 'x'", [])
            .is_err()
    );
}

#[tokio::test]
async fn identities_are_compared_byte_by_byte() {
    let here = Here::new();
    here.sign_in("ana", Some("a"), 0).await;
    for other in ["Ana", "ana ", "an\u{e4}", "ana\u{301}"] {
        here.sign_in(other, None, 1).await;
        let identity = user(other).identity;
        let leases = here.store.leases(Some(identity), at(1)).await.unwrap();
        assert_eq!(leases.len(), 1, "{other}");
    }
    let all = here.store.leases(None, at(1)).await.unwrap();
    assert_eq!(all.len(), 5);
}

#[tokio::test]
async fn a_new_sign_in_takes_the_place_of_the_old_and_brings_todays_claims() {
    let here = Here::new();
    let old = here.sign_in("ana", Some("a"), 0).await;
    let other_key = here.sign_in("ana", Some("a2"), 1).await;
    let mut changed = sign_in("ana", Some("a"), 2);
    changed.user.groups = ["staff".to_owned()].into();
    changed.user.email = None;
    let new = lease(here.store.sign_in(changed).await.unwrap());
    assert!(new.id > other_key.id && other_key.id > old.id);
    assert_eq!(here.store.lease(old.id, at(2)).await.unwrap(), None);
    // A group that was lost is lost with every key.
    let other = here
        .store
        .lease_of_key(&key("a2"), at(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(other.user.groups.len(), 1);
    assert_eq!(other.user, new.user);
}

#[tokio::test]
async fn leases_end_one_by_one_or_all() {
    let here = Here::new();
    let one = here.sign_in("ana", Some("a"), 0).await;
    let two = here.sign_in("ana", None, 1).await;
    let bobs = here.sign_in("bob", Some("b"), 2).await;
    let ana = user("ana").identity;
    assert_eq!(
        here.store.leases(Some(ana.clone()), at(2)).await.unwrap(),
        [two.clone(), one.clone()]
    );
    // Not somebody else's, by number.
    assert_eq!(here.store.end_leases(&ana, Some(bobs.id)).await.unwrap(), 0);
    assert_eq!(here.store.end_leases(&ana, Some(one.id)).await.unwrap(), 1);
    assert_eq!(here.store.end_leases(&ana, Some(one.id)).await.unwrap(), 0);
    assert_eq!(here.store.end_leases(&ana, None).await.unwrap(), 1);
    assert_eq!(here.store.leases(None, at(2)).await.unwrap(), [bobs]);
    // A number is not given twice, so an old lease never comes back to life as another.
    let next = here.sign_in("ana", Some("a"), 3).await;
    assert!(next.id > two.id);
}

#[tokio::test]
async fn the_last_sign_in_is_told_by_key() {
    let here = Here::new();
    assert_eq!(here.store.last_sign_in(&key("a")).await.unwrap(), None);
    here.sign_in("ana", Some("a"), 0).await;
    here.sign_in("ana", Some("a2"), 9).await;
    let last = here.store.last_sign_in(&key("a")).await.unwrap().unwrap();
    assert_eq!(last.at, at(9));
    assert_eq!(last.source, "192.0.2.1".parse::<IpAddr>().unwrap());
}

#[tokio::test]
async fn many_at_once_are_all_written() {
    let here = Here::new();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = here.store.clone();
        tasks.spawn(async move {
            let key = format!("k{n}");
            store.sign_in(sign_in("ana", Some(&key), n)).await.unwrap()
        });
    }
    while let Some(done) = tasks.join_next().await {
        lease(done.unwrap());
    }
    assert_eq!(here.store.leases(None, at(200)).await.unwrap().len(), 200);
}

#[test]
fn files_are_private_and_others_are_refused() {
    let here = Here::new();
    for name in ["db", "db-wal", "db-shm"] {
        let mode = std::fs::metadata(here.dir.path().join(name))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let open = || {
        Store::open(&here.path())
            .err()
            .map(|error| error.to_string())
    };
    for mode in [0o640, 0o604, 0o666] {
        std::fs::set_permissions(here.path(), PermissionsExt::from_mode(mode)).unwrap();
        assert!(open().unwrap().contains("chmod 600"));
    }
    std::fs::set_permissions(here.path(), PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(open(), None);
    let nowhere = here.dir.path().join("no/such/folder/db");
    assert!(matches!(
        Store::open(&nowhere),
        Err(StoreError::Open { .. })
    ));
    assert!(matches!(
        Store::open(here.dir.path()),
        Err(StoreError::Open { .. } | StoreError::Mode { .. } | StoreError::Sqlite(_))
    ));
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let here = Here::new();
    let direct = Connection::open(here.path()).unwrap();
    direct.pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open(&here.path()).err().unwrap();
    assert!(
        matches!(refused, StoreError::Newer { found: 99, known } if known == SCHEMA.len() as i64)
    );
    let still: i64 = direct
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(still, 99);
}

#[test]
fn a_file_of_another_program_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE users (id); INSERT INTO users VALUES (1)")
        .unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Foreign { .. })
    ));
    std::fs::write(
        &path,
        "# not a database at all, but long enough to look at".repeat(40),
    )
    .unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Damaged { .. })
    ));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let here = Here::new();
    for n in 0..100 {
        here.sign_in(&format!("user-{n}"), None, 0).await;
    }
    let path = here.path();
    let Here { dir, store } = here;
    drop(store);
    // Beyond the header: every page but the first is noise.
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 8192);
    for byte in bytes.iter_mut().skip(4096) {
        *byte ^= 0x5a;
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(
        Store::open(&path),
        Err(StoreError::Damaged { .. })
    ));
    drop(dir);
}

#[tokio::test]
async fn a_locked_file_fails_writers_and_not_readers() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    let store = Store::open_with(&path, Duration::from_millis(20)).unwrap();
    let first = lease(store.sign_in(sign_in("ana", Some("a"), 0)).await.unwrap());
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.sign_in(sign_in("bob", Some("b"), 1)).await;
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert!(matches!(
        store.end_leases(&user("ana").identity, None).await,
        Err(StoreError::Busy)
    ));
    assert_eq!(
        store.lease_of_key(&key("a"), at(1)).await.unwrap(),
        Some(first)
    );
    lock.execute_batch("ROLLBACK").unwrap();
    lease(store.sign_in(sign_in("bob", Some("b"), 1)).await.unwrap());
}

#[tokio::test]
async fn a_full_or_read_only_disk_fails_writers_and_changes_nothing() {
    let here = Here::new();
    here.sign_in("ana", Some("a"), 0).await;
    let set = |pragma: &'static str, value: i64| {
        let store = here.store.clone();
        async move {
            store
                .inner
                .writer
                .call(move |connection| {
                    // `max_page_count` answers with a row.
                    let sql = format!("PRAGMA {pragma} = {value}");
                    connection.prepare(&sql)?.query([])?.next()?;
                    Ok(())
                })
                .await
                .unwrap();
        }
    };
    set("max_page_count", 1).await;
    let mut large = sign_in("bob", Some("b"), 1);
    large.user.groups = (0..4000).map(|n| format!("group-{n:060}")).collect();
    let refused = here.store.sign_in(large.clone()).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    set("max_page_count", 1 << 20).await;
    set("query_only", 1).await;
    let refused = here.store.sign_in(large.clone()).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly)), "{refused:?}");
    assert_eq!(here.store.leases(None, at(1)).await.unwrap().len(), 1);
    set("query_only", 0).await;
    lease(here.store.sign_in(large).await.unwrap());
}

#[tokio::test]
async fn a_store_whose_thread_died_answers_nobody() {
    let here = Here::new();
    let died = here
        .store
        .inner
        .reader
        .call(|_| -> Result<(), StoreError> { panic!("a bug") })
        .await;
    assert!(matches!(died, Err(StoreError::Stopped)));
    assert!(matches!(
        here.store.lease_of_key(&key("a"), at(0)).await,
        Err(StoreError::Stopped)
    ));
}

#[tokio::test]
async fn damaged_rows_are_an_error_and_no_lease() {
    let here = Here::new();
    here.sign_in("ana", Some("a"), 0).await;
    let direct = Connection::open(here.path()).unwrap();
    for damage in [
        "UPDATE users SET groups = '{'",
        "UPDATE users SET groups = '[]'; UPDATE leases SET source = 'nowhere'",
    ] {
        direct.execute_batch(damage).unwrap();
        assert!(matches!(
            here.store.lease_of_key(&key("a"), at(1)).await,
            Err(StoreError::Damaged { .. })
        ));
    }
}

#[test]
fn migrations_are_well_formed() {
    MIGRATIONS.validate().unwrap();
}

#[tokio::test]
async fn the_longest_unconfirmed_is_asked_about_first() {
    let here = Here::new();
    let first = here.sign_in("ana", Some("a"), 0).await;
    let second = here.sign_in("bob", Some("b"), 10).await;
    let due = async |second: i64, limit| {
        let due = here.store.unconfirmed(at(second), at(100), limit).await;
        due.unwrap()
            .iter()
            .map(|lease| lease.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(due(9, 9).await, [first.id]);
    assert_eq!(due(10, 9).await, [first.id, second.id]);
    assert_eq!(due(10, 1).await, [first.id]);
    assert!(here.store.confirm(&first, at(20)).await.unwrap());
    assert_eq!(due(20, 9).await, [second.id, first.id]);
    assert!(here.store.end_lease(second.id).await.unwrap());
    assert!(!here.store.end_lease(second.id).await.unwrap());
    assert_eq!(due(20, 9).await, [first.id]);
}

#[tokio::test]
async fn what_can_be_asked_with_lives_and_dies_with_its_lease() {
    let here = Here::new();
    let lease = here.sign_in("ana", Some("a"), 0).await;
    assert_eq!(lease.checked_at, at(0));
    assert_eq!(
        here.store.means(lease.id).await.unwrap(),
        Some(means("first"))
    );
    let next = Means {
        kind: MeansKind::Access,
        sealed: vec![0, 255],
        until: Some(at(9)),
    };
    assert!(here.store.keep_means(lease.id, next.clone()).await.unwrap());
    assert_eq!(
        here.store.means(lease.id).await.unwrap(),
        Some(next.clone())
    );
    // Todays groups come with the confirmation.
    let mut today = lease.clone();
    let mut user = user("ana");
    user.groups = ["staff".to_owned()].into();
    today.user = Arc::new(user.clone());
    assert!(here.store.confirm(&today, at(5)).await.unwrap());
    let found = here.store.lease(lease.id, at(6)).await.unwrap().unwrap();
    assert_eq!((found.checked_at, &*found.user), (at(5), &user));
    here.store.end_leases(&user.identity, None).await.unwrap();
    // Nothing comes back to life.
    assert_eq!(here.store.means(lease.id).await.unwrap(), None);
    assert!(!here.store.keep_means(lease.id, next).await.unwrap());
    assert!(!here.store.confirm(&today, at(7)).await.unwrap());
    assert_eq!(here.store.lease(lease.id, at(8)).await.unwrap(), None);
}

#[tokio::test]
async fn who_is_locked_has_no_lease_and_gets_none() {
    let here = Here::new();
    let anas = here.sign_in("ana", Some("a"), 0).await;
    let bobs = here.sign_in("bob", Some("b"), 0).await;
    let lock = |locked| Lock {
        locked,
        by: user("bob").identity,
        by_name: "Bob".into(),
        reason: "lost a laptop".into(),
        at: at(1),
    };
    let ana = Locked::User(user("ana").identity);
    assert_eq!(here.store.lock(lock(ana.clone())).await.unwrap(), 1);
    assert_eq!(here.store.lease(anas.id, at(2)).await.unwrap(), None);
    assert!(here.store.lease(bobs.id, at(2)).await.unwrap().is_some());
    let refused = here.store.sign_in(sign_in("ana", Some("a"), 2)).await;
    assert!(matches!(refused.unwrap(), Enrolment::Locked));
    // A target of that name is another thing.
    let target = Locked::Target("ana".into());
    assert_eq!(here.store.lock_of(target.clone()).await.unwrap(), None);
    here.store.lock(lock(target.clone())).await.unwrap();
    assert_eq!(here.store.locks().await.unwrap().len(), 2);
    assert!(here.store.unlock(ana.clone()).await.unwrap());
    assert!(!here.store.unlock(ana).await.unwrap());
    assert_eq!(
        here.store.lock_of(target.clone()).await.unwrap(),
        Some(lock(target))
    );
    here.sign_in("ana", Some("a"), 3).await;
}

#[tokio::test]
async fn people_are_found_by_subject_identity_and_name() {
    let here = Here::new();
    here.sign_in("ana", None, 0).await;
    here.sign_in("bob", None, 0).await;
    let found = async |called: &str| here.store.people(called).await.unwrap();
    let ana = (user("ana").identity, "name of ana".to_owned());
    for called in ["ana", "name of ana", "https://id.example.test#ana"] {
        assert_eq!(found(called).await, std::slice::from_ref(&ana), "{called}");
    }
    for called in ["an", "ANA", "%", "", "#ana"] {
        assert_eq!(found(called).await, [], "{called}");
    }
}

#[tokio::test]
async fn a_key_that_was_added_is_told_to_the_older_ones_only() {
    let here = Here::new();
    let enrol = async |key: &str, second| match here
        .store
        .sign_in(sign_in("ana", Some(key), second))
        .await
        .unwrap()
    {
        Enrolment::Lease { new_key, .. } => new_key,
        other => panic!("{other:?}"),
    };
    let told = async |with: &str| {
        let last = here.store.last_sign_in(&key(with)).await.unwrap().unwrap();
        (last.new_keys, last.newest.map(|new| new.key))
    };
    assert!(!enrol("first", 0).await, "nobody was known");
    assert!(!enrol("first", 1).await);
    assert!(enrol("thief", 2).await);
    assert!(enrol("second", 3).await);
    assert_eq!(told("first").await, (2, Some(key("second"))));
    // The younger key does not hide the older one.
    assert!(!enrol("second", 4).await);
    assert!(!enrol("thief", 5).await);
    assert_eq!(
        told("first").await,
        (1, Some(key("thief"))),
        "the thief was told of the second"
    );
    assert_eq!(told("second").await, (0, None));
    assert!(enrol("third", 6).await);
    // Told is what stood there when the sign-in began.
    let mut early = sign_in("ana", Some("first"), 7);
    early.begun_at = at(2);
    here.store.sign_in(early).await.unwrap();
    assert_eq!(told("first").await.0, 1);
    enrol("first", 8).await;
    assert_eq!(told("first").await, (0, None));
}

#[tokio::test]
async fn a_backup_is_whole_private_and_comes_back_without_leases() {
    let here = Here::new();
    let ana = here.sign_in("ana", Some("a"), 0).await;
    let lock = Lock {
        locked: Locked::Target("vault".into()),
        by: user("ana").identity,
        by_name: "Ana".into(),
        reason: String::new(),
        at: at(0),
    };
    here.store.lock(lock.clone()).await.unwrap();
    let copy = here.dir.path().join("copy");
    // While the store is in use, and with what is still in its log only.
    let copied = back_up(&here.path(), &copy).unwrap();
    assert_eq!((copied.users, copied.keys, copied.locks), (1, 1, 1));
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing is overwritten.
    assert!(matches!(
        back_up(&here.path(), &copy),
        Err(StoreError::Open { .. })
    ));

    here.sign_in("bob", Some("b"), 1).await;
    let path = here.path();
    {
        let _held = only_one(here.dir.path()).unwrap();
        assert!(matches!(restore(&copy, &path), Err(StoreError::Busy)));
    }
    let Here { dir, store } = here;
    drop(store);
    let (restored, old) = restore(&copy, &path).unwrap();
    assert_eq!(restored, copied);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.people("bob").await.unwrap(), []);
    assert_eq!(store.locks().await.unwrap(), [lock]);
    assert_eq!(store.lease(ana.id, at(1)).await.unwrap(), None);
    // The key is still hers, and what was there before is there.
    let refused = store.sign_in(sign_in("bob", Some("a"), 2)).await.unwrap();
    assert!(matches!(refused, Enrolment::KeyOfAnother(_)));
    let before = Store::open(&old.unwrap()).unwrap();
    assert_eq!(before.people("bob").await.unwrap().len(), 1);
    drop(dir);
}

/// Each byte of a copy that is changed is found, or changes nothing that counts.
#[test]
fn a_backup_that_is_damaged_foreign_or_newer_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    drop(Store::open(&path).unwrap());
    back_up(&path, &copy).unwrap();
    let before = std::fs::read(&path).unwrap();
    let good = std::fs::read(&copy).unwrap();
    for change in ["newer", "foreign", "cut", "empty", "torn"] {
        let mut bytes = good.clone();
        let middle = bytes.len() / 2;
        match change {
            "newer" => bytes[60..64].copy_from_slice(&999_u32.to_be_bytes()),
            "foreign" => bytes[68..72].copy_from_slice(&[0; 4]),
            "cut" => bytes.truncate(middle),
            "empty" => bytes.clear(),
            _ => bytes[middle..].fill(0xa5),
        }
        std::fs::write(&copy, bytes).unwrap();
        assert!(restore(&copy, &path).is_err(), "{change}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{change}");
        let names = std::fs::read_dir(dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // SQLite's own files beside the store are no trouble.
        let left: Vec<_> = names.filter(|name| name.contains('.')).collect();
        assert!(left.is_empty(), "{change} leaves {left:?}");
    }
}

#[test]
fn a_store_of_the_first_version_is_brought_up_to_date() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; {USERS_KEYS_LEASES}
             PRAGMA user_version = 1;
             INSERT INTO users VALUES (1, 'i', 's', 'n', NULL, '[\"g\"]', '[]', 0, 0, '::1');
             INSERT INTO keys VALUES ('SHA256:a', 1, 0);
             INSERT INTO leases VALUES (1, 1, 'SHA256:a', {0}, {1}, '::1');",
            at(0).as_millisecond(),
            at(HOUR).as_millisecond()
        ))
        .unwrap();
    drop(connection);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = Store::open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let lease = runtime
        .block_on(store.lease_of_key(&key("a"), at(1)))
        .unwrap()
        .unwrap();
    assert_eq!(lease.checked_at, lease.signed_in_at);
    assert_eq!(runtime.block_on(store.means(1)).unwrap(), None);
}
