//! What must outlive the process: users, the keys that belong to them, and leases.
//!
//! Owns the SQLite file, its schema and every line of SQL; nothing of SQL leaves this room, so that
//! another database can stand behind the same calls. Reads no clock: the caller says what time it
//! is. Decides nothing about who may sign in, but for two rules that a transaction has to hold: a
//! key never changes its person, and who is locked gets no lease.
//!
//! One thread owns the connection that writes, another the one that reads; a reader never waits for
//! a writer (write-ahead log). When the file is locked, full or damaged, the call fails, and with it
//! whatever asked: nobody is let in on a store that can't answer.

mod backup;
mod checks;
mod deliveries;
mod holds;
mod locks;
mod requests;
mod seal;
mod worker;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, params};
use rusqlite_migration::{M, Migrations};
use tokio::sync::{Notify, broadcast};

use crate::login::{Identity, KeyId, Lease, User};
use crate::notify::Message;
pub use backup::{Copied, back_up, only_one, restore};
pub use checks::{Means, MeansKind};
pub(crate) use deliveries::{Backlog, DeliveryRow};
pub(crate) use holds::{Audited, HoldRow, NotOpened, NotStepped, Place, Step, Vote, Which};
pub use locks::{Lock, Locked};
pub(crate) use requests::{NotAsked, NotDone, RequestRow, RequestStep};
pub use seal::{SealError, SealKey};
use worker::Worker;

/// The store. A clone is cheap and stands for the same file; the last one to go closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// Goes first, so that the writer is the last to close and folds the log into the file.
    reader: Worker,
    writer: Worker,
    touched: broadcast::Sender<Touched>,
    /// Wakes whoever tells webhooks: there may be something to tell.
    told: Arc<Notify>,
}

/// Whose sign-in a write was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// All of a person's leases, or what is known of the person.
    Person(Identity),
    /// One lease, by its number.
    Lease(i64),
}

/// A verified sign-in, to be written down.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who signed in, as the provider says today.
    pub user: User,
    /// The key that the client has proven to hold.
    pub key: Option<KeyId>,
    /// Where the client connects from.
    pub source: IpAddr,
    /// The wall clock.
    pub now: Timestamp,
    /// When the sign-in was begun, and the client was told of the person's new keys.
    pub begun_at: Timestamp,
    /// When the lease ends.
    pub expires_at: Timestamp,
    /// With what the provider can be asked again; none where it gave nothing.
    pub means: Option<Means>,
}

/// What came of a [`SignIn`].
#[derive(Clone, Debug)]
pub enum Enrolment {
    /// The lease is durable.
    Lease {
        /// It.
        lease: Lease,
        /// Whether the key is new, and the person is not.
        new_key: bool,
    },
    /// The person is locked here; nothing was written.
    Locked,
    /// The key belongs to this other person; nothing was written.
    KeyOfAnother(Identity),
}

/// The sign-in before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSignIn {
    /// When it was.
    pub at: Timestamp,
    /// Where the client connected from.
    pub source: IpAddr,
    /// Younger keys of the person, which whoever holds this one has not been told of yet.
    pub new_keys: usize,
    /// The youngest of them.
    pub newest: Option<NewKey>,
}

/// A key that a person has begun to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its fingerprint.
    pub key: KeyId,
    /// When it was first used.
    pub at: Timestamp,
    /// From where.
    pub source: IpAddr,
}

impl Store {
    /// Opens the store, and makes it where there is none (mode 0600; the folder must exist).
    ///
    /// Blocks for as long as SQLite takes to check the whole file: call it before serving.
    ///
    /// # Errors
    ///
    /// When the file is readable by others, belongs to another program, is damaged
    /// (`integrity_check`), or was written by a newer version of this one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, BUSY_TIMEOUT)
    }

    /// As [`Store::open`], with another patience for a file that a different process has locked
    /// (5 s there).
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_with(path: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        let fresh = make_private(path)?;
        let mut writer = Connection::open(path)?;
        writer.busy_timeout(busy_timeout)?;
        prepare(&mut writer, path, fresh)?;
        let reader = Connection::open(path)?;
        reader.busy_timeout(busy_timeout)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Worker::start("store-writer", writer).map_err(StoreError::Thread)?,
                reader: Worker::start("store-reader", reader).map_err(StoreError::Thread)?,
                touched: broadcast::channel(TOUCHED).0,
                told: Arc::default(),
            }),
        })
    }

    /// Writes a sign-in down, in one transaction: the user's claims of today, the key's person, and
    /// a lease that takes the place of the key's earlier ones.
    ///
    /// When the caller stops waiting, the write is still done whole or not at all.
    ///
    /// # Errors
    ///
    /// When the file can't be written; then nothing has changed.
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<Enrolment, StoreError> {
        let touched = Touched::Person(sign_in.user.identity.clone());
        let told = self.inner.told.clone();
        self.write_of(touched, move |transaction| enrol(transaction, &sign_in))
            .await
            .inspect(|_| told.notify_one())
    }

    /// The live lease of a key, if it has one.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn lease_of_key(
        &self,
        key: &KeyId,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let key = key.clone();
        self.read(move |connection| {
            let sql = format!("{LEASES} WHERE l.key = ?1 AND {LIVE} ORDER BY l.id DESC LIMIT 1");
            connection
                .prepare_cached(&sql)?
                .query_and_then(params![key.as_str(), now.as_millisecond()], lease_of_row)?
                .next()
                .transpose()
        })
        .await
    }

    /// The lease with this number, if it is still live, with the user's claims of the latest
    /// sign-in.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn lease(&self, id: i64, now: Timestamp) -> Result<Option<Lease>, StoreError> {
        self.read(move |connection| lease_by_id(connection, id, now))
            .await
    }

    /// The live leases of one person, or of all; newest first.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn leases(
        &self,
        of: Option<Identity>,
        now: Timestamp,
    ) -> Result<Vec<Lease>, StoreError> {
        self.read(move |connection| {
            let sql = format!(
                "{LEASES} WHERE {LIVE} AND (?1 IS NULL OR (u.issuer = ?1 AND u.subject = ?3)) \
                 ORDER BY l.id DESC"
            );
            let (issuer, subject) = of.map(|of| (of.issuer, of.subject)).unzip();
            connection
                .prepare_cached(&sql)?
                .query_and_then(params![issuer, now.as_millisecond(), subject], lease_of_row)?
                .collect()
        })
        .await
    }

    /// Ends one lease of a person, or all of them; says how many there were.
    ///
    /// # Errors
    ///
    /// When the file can't be written; then none has ended.
    pub async fn end_leases(
        &self,
        user: &Identity,
        lease: Option<i64>,
    ) -> Result<usize, StoreError> {
        let user = user.clone();
        let touched = Touched::Person(user.clone());
        self.write_of(touched, move |transaction| {
            Ok(transaction
                .prepare_cached(
                    "DELETE FROM leases WHERE (?3 IS NULL OR id = ?3) AND user = \
                     (SELECT id FROM users WHERE issuer = ?1 AND subject = ?2)",
                )?
                .execute(params![user.issuer, user.subject, lease])?)
        })
        .await
    }

    /// The latest sign-in of the person that a key belongs to, with any key.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn last_sign_in(&self, key: &KeyId) -> Result<Option<LastSignIn>, StoreError> {
        let key = key.clone();
        self.read(move |connection| last_sign_in(connection, &key))
            .await
    }

    /// Whose sign-ins are written to from now on. Whoever reads too slowly hears that it missed some.
    pub(crate) fn touched(&self) -> broadcast::Receiver<Touched> {
        self.inner.touched.subscribe()
    }

    /// Wakes one task, the one that tells webhooks, when there may be something to tell.
    pub(crate) fn told(&self) -> Arc<Notify> {
        self.inner.told.clone()
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner
            .reader
            .call(move |connection| query(connection))
            .await
    }

    /// Runs `change` in a transaction that takes the write lock at its start, so that what it read
    /// is still so when it writes; an error takes everything back.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner
            .writer
            .call(move |connection| committed(connection, change))
            .await
    }

    /// The same, and tells whoever waits for it whose sign-in has changed, also when the caller has
    /// stopped waiting.
    async fn write_of<T: Send + 'static>(
        &self,
        touched: Touched,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tell = self.inner.touched.clone();
        self.inner
            .writer
            .call(move |connection| {
                let done = committed(connection, change)?;
                // Nobody may be waiting.
                tell.send(touched).unwrap_or_default();
                Ok(done)
            })
            .await
    }

    /// The same for a change that may leave messages for webhooks.
    async fn write_told<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let told = self.inner.told.clone();
        self.inner
            .writer
            .call(move |connection| {
                let done = committed(connection, change)?;
                told.notify_one();
                Ok(done)
            })
            .await
    }
}

fn committed<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = change(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// Changes that whoever waits for one may fall behind.
const TOUCHED: usize = 64;

/// Why the store can't be used, or can't answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be made or read.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner can read the file.
    #[error("the store {} has mode {mode:04o}; run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is an SQLite file of another program.
    #[error("{} is not a store of bastion; set state_dir to a folder of its own", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error("the store has schema {found}, this version knows {known}; install the newer version")]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// The file is damaged.
    #[error("the store is damaged ({detail}); restore it from a backup")]
    Damaged {
        /// What was found.
        detail: String,
    },
    /// Another process holds the lock and did not give it back in time.
    #[error("the store is locked by another process")]
    Busy,
    /// There is no room left.
    #[error("the disk of the store is full")]
    Full,
    /// The file can't be written.
    #[error("the store is read-only")]
    ReadOnly,
    /// The schema could not be brought up to date.
    #[error("cannot bring the store's schema up to date")]
    Schema(#[source] rusqlite_migration::Error),
    /// Anything else that SQLite says.
    #[error("the store failed")]
    Sqlite(#[source] rusqlite::Error),
    /// A thread of the store could not be started.
    #[error("cannot start a thread for the store")]
    Thread(#[source] io::Error),
    /// The store's thread is gone.
    #[error("the store has stopped")]
    Stopped,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                detail: error.to_string(),
            },
            _ => Self::Sqlite(error),
        }
    }
}

/// Looks at a store that may be in use, without changing it: whether it is whole, and of a version
/// that is known. Says its schema.
///
/// # Errors
///
/// As for [`Store::open`].
pub fn inspect(path: &Path) -> Result<i64, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    check(&connection, path)?;
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Makes the file with mode 0600, or checks the mode of the one that is there. Says whether it is
/// new. SQLite gives the log and its index the mode of the file.
fn make_private(path: &Path) -> Result<bool, StoreError> {
    let open = |error| StoreError::Open {
        path: path.to_owned(),
        source: error,
    };
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(open(error)),
    }
    let metadata = File::open(path)
        .and_then(|file| file.metadata())
        .map_err(open)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(metadata.len() == 0)
}

/// Checks the file and brings its schema up to date.
fn prepare(connection: &mut Connection, path: &Path, fresh: bool) -> Result<(), StoreError> {
    if fresh {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    } else {
        check(connection, path)?;
    }
    // FULL: a lease or a key's person that was told to a client survives a power cut.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Tokens that have been replaced do not linger in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    MIGRATIONS.to_latest(connection).map_err(StoreError::Schema)
}

/// Refuses a file that is damaged, another program's, or of a newer version.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name: &str| -> Result<i64, StoreError> {
        Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
    };
    let application = pragma("application_id")?;
    let found = pragma("user_version")?;
    if application != i64::from(APPLICATION_ID) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    let known = SCHEMA.len() as i64;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Damaged { detail: verdict });
    }
    let dangling: Option<String> = connection
        .query_row("PRAGMA foreign_key_check", [], |row| row.get(0))
        .optional()?;
    match dangling {
        Some(table) => Err(StoreError::Damaged {
            detail: format!("dangling reference in {table}"),
        }),
        None => Ok(()),
    }
}

fn enrol(transaction: &Transaction<'_>, sign_in: &SignIn) -> Result<Enrolment, StoreError> {
    let SignIn {
        user,
        key,
        source,
        now,
        begun_at,
        expires_at,
        means,
    } = sign_in;
    if locks::is_locked(transaction, &user.identity)? {
        return Ok(Enrolment::Locked);
    }
    if let Some(key) = key
        && let Some(owner) = owner(transaction, key)?
        && owner != user.identity
    {
        return Ok(Enrolment::KeyOfAnother(owner));
    }
    let now_ms = now.as_millisecond();
    let source = source.to_string();
    let known = transaction
        .query_row(
            "SELECT 1 FROM users WHERE issuer = ?1 AND subject = ?2",
            params![user.identity.issuer, user.identity.subject],
            |_| Ok(()),
        )
        .optional()?
        .is_some();
    let user_id: i64 = transaction.query_row(
        "INSERT INTO users (issuer, subject, name, email, groups, evidence, first_at, last_at, \
         last_source, links) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9) \
         ON CONFLICT (issuer, subject) DO UPDATE SET name = ?3, email = ?4, groups = ?5, \
         evidence = ?6, last_at = ?7, last_source = ?8, links = ?9 RETURNING id",
        params![
            user.identity.issuer,
            user.identity.subject,
            user.name,
            user.email,
            json(&user.groups)?,
            json(&user.evidence)?,
            now_ms,
            source,
            json(&user.links)?,
        ],
        |row| row.get(0),
    )?;
    let mut new_key = false;
    if let Some(key) = key {
        let made = transaction.execute(
            "INSERT INTO keys (fingerprint, user, first_at, first_source, told) \
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (fingerprint) DO NOTHING",
            params![key.as_str(), user_id, now_ms, source, !known],
        )?;
        new_key = known && made > 0;
        // Whoever signs in has just been shown the keys that are younger than theirs. One who
        // enrols a second key so cannot hide the first.
        transaction.execute(
            "UPDATE keys SET told = 1 WHERE user = ?1 AND first_at <= ?3 AND first_at > \
             (SELECT first_at FROM keys WHERE fingerprint = ?2)",
            params![user_id, key.as_str(), begun_at.as_millisecond()],
        )?;
        transaction.execute("DELETE FROM leases WHERE key = ?1", [key.as_str()])?;
    }
    transaction.execute("DELETE FROM leases WHERE expires_at <= ?1", [now_ms])?;
    let lease: i64 = transaction.query_row(
        "INSERT INTO leases (user, key, signed_in_at, expires_at, source) \
         VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id",
        params![
            user_id,
            key.as_ref().map(KeyId::as_str),
            now_ms,
            expires_at.as_millisecond(),
            source
        ],
        |row| row.get(0),
    )?;
    checks::begin(transaction, lease, means.as_ref(), *now)?;
    match lease_by_id(transaction, lease, *now)? {
        Some(lease) => {
            if let Some(key) = key.as_ref().filter(|_| new_key) {
                let message = Message::of_new_key(user, key, sign_in.source, *now);
                deliveries::leave(transaction, Some(&message))?;
            }
            Ok(Enrolment::Lease { lease, new_key })
        }
        None => Err(StoreError::Damaged {
            detail: "a lease that was just written is not there".into(),
        }),
    }
}

fn last_sign_in(connection: &Connection, key: &KeyId) -> Result<Option<LastSignIn>, StoreError> {
    let last = connection
        .prepare_cached(
            "SELECT u.last_at, u.last_source FROM keys k JOIN users u ON u.id = k.user \
             WHERE k.fingerprint = ?1",
        )?
        .query_and_then([key.as_str()], |row| {
            Ok::<_, StoreError>((timestamp(row.get(0)?)?, source(&row.get::<_, String>(1)?)?))
        })?
        .next()
        .transpose()?;
    let Some((at, from)) = last else {
        return Ok(None);
    };
    let younger = connection
        .prepare_cached(
            "SELECT y.fingerprint, y.first_at, y.first_source FROM keys k \
             JOIN keys y ON y.user = k.user AND y.first_at > k.first_at \
             WHERE k.fingerprint = ?1 AND y.told = 0 ORDER BY y.first_at DESC",
        )?
        .query_and_then([key.as_str()], |row| {
            Ok(NewKey {
                key: KeyId::stored(row.get(0)?),
                at: timestamp(row.get(1)?)?,
                source: source(&row.get::<_, String>(2)?)?,
            })
        })?
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Some(LastSignIn {
        at,
        source: from,
        new_keys: younger.len(),
        newest: younger.into_iter().next(),
    }))
}

fn owner(connection: &Connection, key: &KeyId) -> Result<Option<Identity>, StoreError> {
    Ok(connection
        .query_row(
            "SELECT u.issuer, u.subject FROM keys k JOIN users u ON u.id = k.user \
             WHERE k.fingerprint = ?1",
            [key.as_str()],
            |row| {
                Ok(Identity {
                    issuer: row.get(0)?,
                    subject: row.get(1)?,
                })
            },
        )
        .optional()?)
}

fn lease_by_id(
    connection: &Connection,
    id: i64,
    now: Timestamp,
) -> Result<Option<Lease>, StoreError> {
    let sql = format!("{LEASES} WHERE l.id = ?1 AND {LIVE}");
    connection
        .prepare_cached(&sql)?
        .query_and_then(params![id, now.as_millisecond()], lease_of_row)?
        .next()
        .transpose()
}

fn lease_of_row(row: &Row<'_>) -> Result<Lease, StoreError> {
    let groups: BTreeSet<String> = of_json(&row.get::<_, String>("groups")?)?;
    let user = User {
        identity: Identity {
            issuer: row.get("issuer")?,
            subject: row.get("subject")?,
        },
        name: row.get("name")?,
        email: row.get("email")?,
        groups,
        evidence: of_json(&row.get::<_, String>("evidence")?)?,
        links: of_json(&row.get::<_, String>("links")?)?,
    };
    Ok(Lease {
        id: row.get("id")?,
        user: Arc::new(user),
        key: row.get::<_, Option<String>>("key")?.map(KeyId::stored),
        signed_in_at: timestamp(row.get("signed_in_at")?)?,
        expires_at: timestamp(row.get("expires_at")?)?,
        checked_at: timestamp(row.get("checked_at")?)?,
        source: source(&row.get::<_, String>("source")?)?,
    })
}

fn timestamp(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|error| StoreError::Damaged {
        detail: error.to_string(),
    })
}

fn source(text: &str) -> Result<IpAddr, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged {
        detail: "an address that is none".into(),
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged {
        detail: error.to_string(),
    })
}

fn of_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged {
        detail: error.to_string(),
    })
}

/// How long a call waits for a lock that another process holds (limits.md).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// "bstn": says in the file's header whose it is.
const APPLICATION_ID: i32 = 0x6273_746e;

/// A lease with its user; a condition follows.
const LEASES: &str = "SELECT l.id, l.key, l.signed_in_at, l.expires_at, l.source, u.issuer, \
    u.subject, u.name, u.email, u.groups, u.evidence, u.links, c.checked_at FROM leases l \
    JOIN users u ON u.id = l.user JOIN checks c ON c.lease = l.id";

/// A lease counts from its sign-in (less a clock's disagreement of a minute) to its end: a clock
/// that was set back does not lengthen it by more.
/// Nobody who is locked has one.
const LIVE: &str = "l.expires_at > ?2 AND l.signed_in_at <= ?2 + 60000 AND NOT EXISTS \
    (SELECT 1 FROM locks x WHERE x.kind = 'user' AND x.issuer = u.issuer AND x.name = u.subject)";

/// One entry a version; an entry that was released never changes.
const SCHEMA: &[M<'_>] = &[
    M::up(USERS_KEYS_LEASES),
    M::up(CHECKS_AND_LOCKS),
    M::up(holds::SCHEMA),
    M::up(holds::WATCHERS),
    M::up(requests::SCHEMA),
    M::up(deliveries::SCHEMA),
];

const USERS_KEYS_LEASES: &str = "CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        name TEXT NOT NULL,
        email TEXT,
        groups TEXT NOT NULL,
        evidence TEXT NOT NULL,
        first_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        last_source TEXT NOT NULL,
        UNIQUE (issuer, subject)
    ) STRICT;
    CREATE TRIGGER users_keep_their_identity BEFORE UPDATE OF issuer, subject ON users
    WHEN NEW.issuer <> OLD.issuer OR NEW.subject <> OLD.subject
    BEGIN SELECT RAISE(ABORT, 'a user keeps its identity'); END;
    CREATE TABLE keys (
        fingerprint TEXT PRIMARY KEY,
        user INTEGER NOT NULL REFERENCES users (id),
        first_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER keys_keep_their_person BEFORE UPDATE OF user ON keys
    BEGIN SELECT RAISE(ABORT, 'a key never changes its person'); END;
    CREATE TABLE leases (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user INTEGER NOT NULL REFERENCES users (id),
        key TEXT REFERENCES keys (fingerprint),
        signed_in_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        source TEXT NOT NULL
    ) STRICT;
    CREATE INDEX leases_by_key ON leases (key);
    CREATE INDEX leases_by_user ON leases (user);";

/// Leases that were given before count as confirmed at their sign-in, with nothing to ask with.
const CHECKS_AND_LOCKS: &str = "CREATE TABLE checks (
        lease INTEGER PRIMARY KEY REFERENCES leases (id) ON DELETE CASCADE,
        checked_at INTEGER NOT NULL,
        means TEXT CHECK (means IN ('refresh', 'access')),
        token BLOB,
        token_until INTEGER,
        CHECK ((means IS NULL) = (token IS NULL))
    ) STRICT;
    INSERT INTO checks (lease, checked_at) SELECT id, signed_in_at FROM leases;
    ALTER TABLE keys ADD COLUMN first_source TEXT NOT NULL DEFAULT '0.0.0.0';
    ALTER TABLE keys ADD COLUMN told INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE locks (
        kind TEXT NOT NULL CHECK (kind IN ('user', 'target')),
        issuer TEXT NOT NULL,
        name TEXT NOT NULL,
        by_issuer TEXT NOT NULL,
        by_subject TEXT NOT NULL,
        by_name TEXT NOT NULL,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (kind, issuer, name)
    ) STRICT, WITHOUT ROWID;";

const MIGRATIONS: Migrations<'_> = Migrations::from_slice(SCHEMA);

#[cfg(test)]
mod tests;
