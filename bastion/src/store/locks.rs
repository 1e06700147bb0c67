//! Who and what is locked: users who may not sign in, and targets that nobody may reach.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Store, StoreError, Touched, timestamp};
use crate::login::Identity;

/// Whom or what a lock shuts out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// A person, who can neither sign in nor go on.
    User(Identity),
    /// A target, by its name; nobody reaches it.
    Target(String),
}

impl Locked {
    /// How it lies in the table. A target has no issuer.
    fn columns(&self) -> (&'static str, &str, &str) {
        match self {
            Self::User(identity) => ("user", &identity.issuer, &identity.subject),
            Self::Target(name) => ("target", "", name),
        }
    }
}

/// A lock, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whom or what it shuts out.
    pub locked: Locked,
    /// Who set it.
    pub by: Identity,
    /// The name of that person, for display.
    pub by_name: String,
    /// Why; may be empty.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Sets a lock, durably, and ends the leases of a person who is locked. A second lock takes the
    /// place of the first. Says how many leases ended.
    ///
    /// # Errors
    ///
    /// When the file can't be written; then nothing has changed.
    pub async fn lock(&self, lock: Lock) -> Result<usize, StoreError> {
        let touched = match &lock.locked {
            Locked::User(identity) => Touched::Person(identity.clone()),
            // Nobody's sign-in; whoever is there is ended by the registry of sessions.
            Locked::Target(_) => return self.write(move |it| set(it, &lock)).await,
        };
        self.write_of(touched, move |it| set(it, &lock)).await
    }

    /// Takes a lock away. Says whether there was one.
    ///
    /// # Errors
    ///
    /// When the file can't be written; then it still holds.
    pub async fn unlock(&self, locked: Locked) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let (kind, issuer, name) = locked.columns();
            let gone = transaction
                .prepare_cached("DELETE FROM locks WHERE kind = ?1 AND issuer = ?2 AND name = ?3")?
                .execute(params![kind, issuer, name])?;
            Ok(gone > 0)
        })
        .await
    }

    /// The lock of a user or a target, where there is one.
    ///
    /// # Errors
    ///
    /// When the store can't answer: then nobody is to be let through.
    pub async fn lock_of(&self, locked: Locked) -> Result<Option<Lock>, StoreError> {
        let locks = self.locks().await?;
        Ok(locks.into_iter().find(|lock| lock.locked == locked))
    }

    /// All locks, the newest first.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn locks(&self) -> Result<Vec<Lock>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT kind, issuer, name, by_issuer, by_subject, by_name, reason, at \
                     FROM locks ORDER BY at DESC, kind, issuer, name",
                )?
                .query_and_then([], |row| {
                    let name: String = row.get(2)?;
                    let locked = match row.get::<_, String>(0)?.as_str() {
                        "user" => Locked::User(Identity {
                            issuer: row.get(1)?,
                            subject: name,
                        }),
                        "target" => Locked::Target(name),
                        _ => {
                            return Err(StoreError::Damaged {
                                detail: "a lock of a kind that is none".into(),
                            });
                        }
                    };
                    Ok(Lock {
                        locked,
                        by: Identity {
                            issuer: row.get(3)?,
                            subject: row.get(4)?,
                        },
                        by_name: row.get(5)?,
                        reason: row.get(6)?,
                        at: timestamp(row.get(7)?)?,
                    })
                })?
                .collect()
        })
        .await
    }

    /// The people who have ever signed in and are called so: by subject, by `ISSUER#SUBJECT`, or by
    /// the name that is shown, which several may share.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn people(&self, called: &str) -> Result<Vec<(Identity, String)>, StoreError> {
        let called = called.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT issuer, subject, name FROM users WHERE subject = ?1 OR name = ?1 \
                     OR issuer || '#' || subject = ?1 ORDER BY id LIMIT 20",
                )?
                .query_and_then([&called], |row| {
                    let identity = Identity {
                        issuer: row.get(0)?,
                        subject: row.get(1)?,
                    };
                    Ok((identity, row.get(2)?))
                })?
                .collect()
        })
        .await
    }
}

fn set(transaction: &Transaction<'_>, lock: &Lock) -> Result<usize, StoreError> {
    let (kind, issuer, name) = lock.locked.columns();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO locks \
             (kind, issuer, name, by_issuer, by_subject, by_name, reason, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            kind,
            issuer,
            name,
            lock.by.issuer,
            lock.by.subject,
            lock.by_name,
            lock.reason,
            lock.at.as_millisecond()
        ])?;
    match &lock.locked {
        Locked::User(identity) => end_all(transaction, identity),
        Locked::Target(_) => Ok(0),
    }
}

/// Whether this person is locked.
pub(super) fn is_locked(connection: &Connection, user: &Identity) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM locks WHERE kind = 'user' AND issuer = ?1 AND name = ?2")?
        .query_row(params![user.issuer, user.subject], |_| Ok(()))
        .optional()?
        .is_some())
}

fn end_all(transaction: &Transaction<'_>, user: &Identity) -> Result<usize, StoreError> {
    Ok(transaction
        .prepare_cached(
            "DELETE FROM leases WHERE user = \
             (SELECT id FROM users WHERE issuer = ?1 AND subject = ?2)",
        )?
        .execute(params![user.issuer, user.subject])?)
}
