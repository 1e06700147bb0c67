//! Requests for access, and the grants that came of them.
//!
//! As for holds, a step is one transaction: the row as it is, what the state machine makes of it,
//! one conditional `UPDATE`, and the events of the step in the outbox.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::holds::{Standing, gone, groups_of, raise, standing, tell, voters};
use super::{Store, StoreError, Vote, Which, deliveries, json, of_json, timestamp};
use crate::audit::Event;
use crate::login::Identity;
use crate::notify::Message;
use crate::requests::{Facts, Name, RequestId};

/// A request as it is written down.
#[derive(Clone, Debug)]
pub(crate) struct RequestRow {
    pub(crate) id: RequestId,
    pub(crate) state: Name,
    pub(crate) facts: Facts,
    pub(crate) asked_at: Timestamp,
    /// When the time of its state is over.
    pub(crate) expires_at: Timestamp,
    /// When it came into its state.
    pub(crate) changed_at: Timestamp,
    pub(crate) votes: Vec<Vote>,
    /// Those of the voters who are, by their latest sign-in, no longer in all of the groups that
    /// decide, or are locked. In the step of a vote, the one who casts it is among those asked about.
    pub(crate) gone: Vec<Identity>,
    /// The voters who are not locked, with the groups of their latest sign-in.
    pub(crate) standing: Standing,
    /// The groups of the requester's latest sign-in; none where they are locked. Known of one that
    /// is read alone.
    pub(crate) groups: Option<BTreeSet<String>>,
    version: i64,
}

#[cfg(test)]
impl RequestRow {
    /// One that has just been made, for tests without a store.
    pub(crate) fn made(id: RequestId, facts: Facts, now: Timestamp, expires_at: Timestamp) -> Self {
        Self {
            id,
            state: Name::Pending,
            facts,
            asked_at: now,
            expires_at,
            changed_at: now,
            votes: Vec::new(),
            gone: Vec::new(),
            standing: Vec::new(),
            groups: None,
            version: 0,
        }
    }
}

/// What a step changes.
pub(crate) struct RequestStep {
    pub(crate) to: Name,
    pub(crate) expires_at: Timestamp,
    pub(crate) votes: Vec<Vote>,
    pub(crate) events: Vec<Event>,
}

/// Why a request is not made.
#[derive(Debug)]
pub(crate) enum NotAsked {
    /// The name is taken; another is to be tried.
    Taken,
    /// The person has as many as they may.
    TooMany,
    /// The person has asked for this account already, with this request.
    Already(RequestId),
}

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum NotDone<R> {
    /// There is no such request.
    Unknown,
    /// The state machine refuses.
    Refused(R),
    /// Its time is over.
    Expired,
}

impl Store {
    /// Makes a request, where the person has fewer than `most` and none that waits for this account.
    pub(crate) async fn ask(
        &self,
        id: RequestId,
        facts: Facts,
        most: usize,
        (now, expires_at): (Timestamp, Timestamp),
        event: Event,
    ) -> Result<Result<(), NotAsked>, StoreError> {
        self.write_told(move |transaction| {
            let who = &facts.requester.identity;
            let waits: Option<String> = transaction
                .query_row(
                    "SELECT id FROM requests WHERE issuer = ?1 AND subject = ?2 AND login = ?3 \
                     AND target = ?4 AND state = 'pending'",
                    params![who.issuer, who.subject, facts.login, facts.target],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(waits) = waits {
                return Ok(Err(NotAsked::Already(id_of(&waits)?)));
            }
            let live: i64 = transaction.query_row(
                "SELECT count(*) FROM requests WHERE issuer = ?1 AND subject = ?2 AND live",
                params![who.issuer, who.subject],
                |row| row.get(0),
            )?;
            if usize::try_from(live).unwrap_or(usize::MAX) >= most {
                return Ok(Err(NotAsked::TooMany));
            }
            let made = transaction.execute(
                "INSERT INTO requests (id, state, live, issuer, subject, login, target, facts, \
                 votes, asked_at, changed_at, expires_at, version) \
                 VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, '[]', ?8, ?8, ?9, 0) \
                 ON CONFLICT (id) DO NOTHING",
                params![
                    id.to_string(),
                    Name::Pending.as_str(),
                    who.issuer,
                    who.subject,
                    facts.login,
                    facts.target,
                    json(&facts)?,
                    now.as_millisecond(),
                    expires_at.as_millisecond(),
                ],
            )?;
            if made == 0 {
                return Ok(Err(NotAsked::Taken));
            }
            tell(transaction, &id, &[event])?;
            raise(transaction, now)?;
            if let Some(row) = by_id(transaction, id)? {
                let message = Message::of_request(None, &row, now);
                deliveries::leave(transaction, message.as_ref())?;
            }
            Ok(Ok(()))
        })
        .await
    }

    /// One request.
    pub(crate) async fn request(&self, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
        self.read(move |connection| by_id(connection, id)).await
    }

    /// Requests, the newest first; of those that have ended the latest thousand.
    pub(crate) async fn requests(&self, which: Which) -> Result<Vec<RequestRow>, StoreError> {
        self.read(move |connection| {
            let condition = match which {
                Which::Live => "WHERE live ORDER BY asked_at DESC, id",
                Which::All => {
                    "WHERE live OR id IN (SELECT id FROM requests WHERE NOT live \
                     ORDER BY asked_at DESC, id LIMIT 1000) ORDER BY asked_at DESC, id"
                }
            };
            let mut rows = connection
                .prepare_cached(&format!("{REQUESTS} {condition}"))?
                .query_and_then([], of_row)?
                .collect::<Result<Vec<_>, _>>()?;
            for row in &mut rows {
                stand(connection, row)?;
            }
            Ok(rows)
        })
        .await
    }

    /// Until when an account is open to a person by an approved request that the audit log knows
    /// of; none for whoever is locked.
    pub(crate) async fn granted_until(
        &self,
        person: Identity,
        login: String,
        target: String,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |connection| {
            let until: Option<i64> = connection
                .prepare_cached(
                    "SELECT max(expires_at) FROM requests r WHERE issuer = ?1 AND subject = ?2 \
                     AND login = ?3 AND target = ?4 AND state = 'approved' AND expires_at > ?5 \
                     AND NOT EXISTS (SELECT 1 FROM outbox WHERE about = r.id) \
                     AND NOT EXISTS (SELECT 1 FROM locks \
                     WHERE kind = 'user' AND issuer = ?1 AND name = ?2)",
                )?
                .query_row(
                    params![
                        person.issuer,
                        person.subject,
                        login,
                        target,
                        now.as_millisecond()
                    ],
                    |row| row.get(0),
                )?;
            until.map(timestamp).transpose()
        })
        .await
    }

    /// The accounts that are open to a person by approved requests that the audit log knows of, and
    /// until when; none for whoever is locked. `LOGIN` comes before `TARGET`.
    pub(crate) async fn granted(
        &self,
        person: Identity,
        now: Timestamp,
    ) -> Result<Vec<(String, String, Timestamp)>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT login, target, max(expires_at) FROM requests r WHERE issuer = ?1 \
                     AND subject = ?2 AND live AND state = 'approved' AND expires_at > ?3 \
                     AND NOT EXISTS (SELECT 1 FROM outbox WHERE about = r.id) \
                     AND NOT EXISTS (SELECT 1 FROM locks \
                     WHERE kind = 'user' AND issuer = ?1 AND name = ?2) \
                     GROUP BY login, target",
                )?
                .query_and_then(
                    params![person.issuer, person.subject, now.as_millisecond()],
                    |row| Ok((row.get(0)?, row.get(1)?, timestamp(row.get(2)?)?)),
                )?
                .collect()
        })
        .await
    }

    /// Whether an account was open to a person at that time by an approved request that nobody has
    /// taken away, then or since.
    pub(crate) async fn granted_at(
        &self,
        person: Identity,
        login: String,
        target: String,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let at = at.as_millisecond();
            let rows = connection
                .prepare_cached(&format!(
                    "{REQUESTS} WHERE issuer = ?1 AND subject = ?2 AND login = ?3 AND target = ?4 \
                     AND state IN ('approved', 'over', 'returned') AND expires_at > ?5"
                ))?
                .query_and_then(
                    params![person.issuer, person.subject, login, target, at],
                    of_row,
                )?
                .collect::<Result<Vec<_>, _>>()?;
            // The last vote is the one that approved it.
            let approved = |row: &RequestRow| row.votes.last().map(|vote| vote.at.as_millisecond());
            Ok(rows
                .iter()
                .filter_map(approved)
                .any(|approved| approved <= at))
        })
        .await
    }

    /// Takes a request one step further: `next` says what becomes of it, and one conditional update
    /// does it, if nobody else has in between. `now` is the time that `next` goes by; `voter` casts a
    /// vote in it.
    pub(crate) async fn step_request<R: Send + 'static>(
        &self,
        id: RequestId,
        now: Timestamp,
        voter: Option<Identity>,
        next: impl FnOnce(&RequestRow) -> Result<RequestStep, R> + Send + 'static,
    ) -> Result<Result<RequestRow, NotDone<R>>, StoreError> {
        self.write_told(move |transaction| {
            let Some(mut row) = by_id(transaction, id)? else {
                return Ok(Err(NotDone::Unknown));
            };
            let standing = standing(transaction, voter.iter())?;
            let gone = gone(voter.iter(), &standing, &row.facts.approvers);
            row.gone.extend(gone);
            row.standing.extend(standing);
            let step = match next(&row) {
                Ok(step) => step,
                Err(refused) => return Ok(Err(NotDone::Refused(refused))),
            };
            let changed = transaction.execute(
                "UPDATE requests SET state = ?3, live = ?4, votes = ?5, expires_at = ?6, \
                 changed_at = ?7, version = version + 1 \
                 WHERE id = ?1 AND version = ?2 AND (expires_at > ?7 OR NOT ?8)",
                params![
                    id.to_string(),
                    row.version,
                    step.to.as_str(),
                    !step.to.is_final(),
                    json(&step.votes)?,
                    step.expires_at.as_millisecond(),
                    now.as_millisecond(),
                    needs_time(step.to),
                ],
            )?;
            if changed != 1 {
                if row.expires_at <= now && needs_time(step.to) {
                    return Ok(Err(NotDone::Expired));
                }
                return Err(StoreError::Damaged {
                    detail: "a request changed within a transaction".to_owned(),
                });
            }
            tell(transaction, &id, &step.events)?;
            raise(transaction, now)?;
            let Some(after) = by_id(transaction, id)? else {
                return Ok(Err(NotDone::Unknown));
            };
            let message = Message::of_request(Some(row.state), &after, now);
            deliveries::leave(transaction, message.as_ref())?;
            Ok(Ok(after))
        })
        .await
    }

    /// Requests and grants whose time is over.
    pub(crate) async fn due_requests(&self, now: Timestamp) -> Result<Vec<RequestId>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT id FROM requests WHERE live AND expires_at <= ?1")?
                .query_and_then([now.as_millisecond()], |row| {
                    id_of(&row.get::<_, String>(0)?)
                })?
                .collect()
        })
        .await
    }

    /// When the next one is due.
    pub(crate) async fn next_due_request(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let at: Option<i64> = connection.query_row(
                "SELECT min(expires_at) FROM requests WHERE live",
                [],
                |row| row.get(0),
            )?;
            at.map(timestamp).transpose()
        })
        .await
    }
}

/// A decision needs time left; everything else is about its being over.
fn needs_time(to: Name) -> bool {
    match to {
        Name::Pending | Name::Approved | Name::Denied => true,
        Name::Expired
        | Name::Withdrawn
        | Name::Void
        | Name::Over
        | Name::Revoked
        | Name::Returned => false,
    }
}

fn by_id(connection: &Connection, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
    let row = connection
        .prepare_cached(&format!("{REQUESTS} WHERE id = ?1"))?
        .query_and_then([id.to_string()], of_row)?
        .next()
        .transpose()?;
    let Some(mut row) = row else { return Ok(None) };
    stand(connection, &mut row)?;
    row.groups = groups_of(connection, &row.facts.requester.identity)?;
    Ok(Some(row))
}

/// Reads who of the voters still stands for their vote.
fn stand(connection: &Connection, row: &mut RequestRow) -> Result<(), StoreError> {
    row.standing = standing(connection, voters(&row.votes))?;
    row.gone = gone(voters(&row.votes), &row.standing, &row.facts.approvers);
    Ok(())
}

fn of_row(row: &Row<'_>) -> Result<RequestRow, StoreError> {
    Ok(RequestRow {
        id: id_of(&row.get::<_, String>("id")?)?,
        state: Name::parse(&row.get::<_, String>("state")?).ok_or_else(|| StoreError::Damaged {
            detail: "a request in no state".to_owned(),
        })?,
        facts: of_json(&row.get::<_, String>("facts")?)?,
        asked_at: timestamp(row.get("asked_at")?)?,
        expires_at: timestamp(row.get("expires_at")?)?,
        changed_at: timestamp(row.get("changed_at")?)?,
        votes: of_json(&row.get::<_, String>("votes")?)?,
        gone: Vec::new(),
        standing: Vec::new(),
        groups: None,
        version: row.get("version")?,
    })
}

fn id_of(text: &str) -> Result<RequestId, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged {
        detail: "a request without a name".to_owned(),
    })
}

const REQUESTS: &str = "SELECT id, state, facts, votes, asked_at, changed_at, expires_at, version \
    FROM requests";

/// Of the store's fifth version. The outbox is for more than holds now.
pub(super) const SCHEMA: &str = "CREATE TABLE requests (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        live INTEGER NOT NULL,
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        login TEXT NOT NULL,
        target TEXT NOT NULL,
        facts TEXT NOT NULL,
        votes TEXT NOT NULL,
        asked_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        version INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX requests_once ON requests (issuer, subject, login, target)
        WHERE state = 'pending';
    CREATE INDEX requests_live ON requests (asked_at) WHERE live;
    CREATE INDEX requests_of ON requests (issuer, subject, login, target) WHERE live;
    CREATE INDEX requests_due ON requests (expires_at) WHERE live;
    CREATE INDEX requests_by_time ON requests (asked_at);
    CREATE TRIGGER requests_stay_ended BEFORE UPDATE ON requests WHEN NOT OLD.live
    BEGIN SELECT RAISE(ABORT, 'a request that has ended stays as it is'); END;
    ALTER TABLE outbox RENAME TO outbox_of_holds;
    DROP INDEX outbox_of;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        about TEXT NOT NULL,
        event TEXT NOT NULL
    ) STRICT;
    CREATE INDEX outbox_of ON outbox (about);
    INSERT INTO outbox (id, about, event) SELECT id, hold, event FROM outbox_of_holds ORDER BY id;
    DROP TABLE outbox_of_holds;";
