//! When each lease was last confirmed by the provider, and what the provider can be asked with.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{LEASES, LIVE, Store, StoreError, Touched, lease_of_row, timestamp};
use crate::login::Lease;

/// What a lease can be re-checked with. The token is sealed; the store never sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Means {
    /// Which token it is.
    pub kind: MeansKind,
    /// The sealed token.
    pub sealed: Vec<u8>,
    /// When the token ends, where that is known.
    pub until: Option<Timestamp>,
}

/// Which token a lease can be re-checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeansKind {
    /// A refresh token.
    Refresh,
    /// An access token, for userinfo.
    Access,
}

impl MeansKind {
    fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Access => "access",
        }
    }
}

impl Store {
    /// The live leases that were last confirmed before `before`, the longest ago first, at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn unconfirmed(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.read(move |connection| {
            let sql =
                format!("{LEASES} WHERE {LIVE} AND checked_at <= ?1 ORDER BY checked_at LIMIT ?3");
            connection
                .prepare_cached(&sql)?
                .query_and_then(
                    params![
                        before.as_millisecond(),
                        now.as_millisecond(),
                        i64::try_from(limit).unwrap_or(i64::MAX)
                    ],
                    lease_of_row,
                )?
                .collect()
        })
        .await
    }

    /// What a lease can be re-checked with; none where the provider gave nothing.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn means(&self, lease: i64) -> Result<Option<Means>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT means, token, token_until FROM checks WHERE lease = ?1 AND means IS NOT NULL")?
                .query_and_then([lease], |row| {
                    let kind = match row.get::<_, String>(0)?.as_str() {
                        "refresh" => MeansKind::Refresh,
                        "access" => MeansKind::Access,
                        _ => {
                            return Err(StoreError::Damaged {
                                detail: "a token of a kind that is none".into(),
                            });
                        }
                    };
                    let until: Option<i64> = row.get(2)?;
                    Ok(Means {
                        kind,
                        sealed: row.get(1)?,
                        until: until.map(timestamp).transpose()?,
                    })
                })?
                .next()
                .transpose()
        })
        .await
    }

    /// Puts a newer token in the place of a lease's old one. It is durable when this returns: the
    /// old one may be of no use any more. Says whether the lease is still there.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub async fn keep_means(&self, lease: i64, means: Means) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let kept = transaction
                .prepare_cached(
                    "UPDATE checks SET means = ?2, token = ?3, token_until = ?4 WHERE lease = ?1",
                )?
                .execute(params![
                    lease,
                    means.kind.name(),
                    means.sealed,
                    means.until.map(Timestamp::as_millisecond)
                ])?;
            Ok(kept > 0)
        })
        .await
    }

    /// Writes down that the provider has confirmed a lease, and what it says of the person today.
    /// Says whether the lease is still there; a lease that has ended stays ended.
    ///
    /// # Errors
    ///
    /// When the file can't be written; then nothing has changed.
    pub async fn confirm(&self, lease: &Lease, now: Timestamp) -> Result<bool, StoreError> {
        let lease = lease.clone();
        let touched = Touched::Person(lease.user.identity.clone());
        self.write_of(touched, move |transaction| {
            let there = transaction
                .prepare_cached("UPDATE checks SET checked_at = ?2 WHERE lease = ?1")?
                .execute(params![lease.id, now.as_millisecond()])?;
            if there == 0 {
                return Ok(false);
            }
            let user = &lease.user;
            transaction
                .prepare_cached(
                    "UPDATE users SET name = ?3, email = ?4, groups = ?5, evidence = ?6 \
                     WHERE issuer = ?1 AND subject = ?2",
                )?
                .execute(params![
                    user.identity.issuer,
                    user.identity.subject,
                    user.name,
                    user.email,
                    super::json(&user.groups)?,
                    super::json(&user.evidence)?,
                ])?;
            Ok(true)
        })
        .await
    }

    /// Ends one lease, whosever it is. Says whether it was there.
    ///
    /// # Errors
    ///
    /// When the file can't be written; then it has not ended.
    pub async fn end_lease(&self, lease: i64) -> Result<bool, StoreError> {
        self.write_of(Touched::Lease(lease), move |transaction| {
            let ended = transaction
                .prepare_cached("DELETE FROM leases WHERE id = ?1")?
                .execute([lease])?;
            Ok(ended > 0)
        })
        .await
    }
}

/// Writes down with what a new lease can be re-checked.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    lease: i64,
    means: Option<&Means>,
    now: Timestamp,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO checks (lease, checked_at, means, token, token_until) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            lease,
            now.as_millisecond(),
            means.map(|means| means.kind.name()),
            means.map(|means| means.sealed.as_slice()),
            means.and_then(|means| means.until.map(Timestamp::as_millisecond)),
        ])?;
    Ok(())
}
