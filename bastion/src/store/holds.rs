//! Holds, the votes on them, and what the audit log has yet to be told.
//!
//! A step of a hold is one transaction: the row as it is, what the state machine makes of it, one
//! conditional `UPDATE`, and the events of the step in the outbox. Who was told that it happened
//! finds it in the audit log, also when the machine stopped in between.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Store, StoreError, deliveries, json, of_json, timestamp};
use crate::approval::Cast;
use crate::audit::Event;
use crate::holds::{Facts, HoldId, Name, Party, Seal};
use crate::login::{Identity, KeyId};
use crate::notify::Message;

/// A hold as it is written down.
#[derive(Clone, Debug)]
pub(crate) struct HoldRow {
    pub(crate) id: HoldId,
    pub(crate) state: Name,
    pub(crate) facts: Facts,
    /// There once it is sealed.
    pub(crate) seal: Option<Seal>,
    pub(crate) opened_at: Timestamp,
    /// When the time of its state is over.
    pub(crate) expires_at: Option<Timestamp>,
    /// When it came into its state.
    pub(crate) changed_at: Timestamp,
    pub(crate) votes: Vec<Vote>,
    /// Who has seen its session while it ran, and so decides no more than its producer.
    pub(crate) watchers: Vec<Party>,
    /// Those of the voters who are, by their latest sign-in, no longer in the group that decides,
    /// or are locked. In the step of a vote, the one who casts it is among those asked about.
    pub(crate) gone: Vec<Identity>,
    /// The voters who are not locked, with the groups of their latest sign-in.
    pub(crate) standing: Standing,
    version: i64,
}

/// People with the groups of their latest sign-in.
pub(crate) type Standing = Vec<(Identity, BTreeSet<String>)>;

#[cfg(test)]
impl HoldRow {
    /// One that has just been opened, for tests without a store.
    pub(crate) fn opened(id: HoldId, facts: Facts, now: Timestamp) -> Self {
        Self {
            id,
            state: Name::Open,
            facts,
            seal: None,
            opened_at: now,
            expires_at: None,
            changed_at: now,
            votes: Vec::new(),
            watchers: Vec::new(),
            gone: Vec::new(),
            standing: Vec::new(),
            version: 0,
        }
    }

    /// What [`Store::step_hold`] makes of it; whether it did.
    pub(crate) fn stepped(&mut self, step: Step, now: Timestamp) -> bool {
        let in_time = self.expires_at.is_none_or(|at| at > now);
        if self.state.is_final() || (needs_time(step.to) && !in_time) {
            return false;
        }
        self.state = step.to;
        self.seal = step.seal;
        self.votes = step.votes;
        self.expires_at = step.expires_at;
        self.changed_at = now;
        self.version += 1;
        true
    }
}

/// One person's word.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Vote {
    pub(crate) by: Party,
    pub(crate) approves: bool,
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
    /// None of those that were cast before this was kept.
    #[serde(default)]
    pub(crate) cast: Option<Cast>,
}

/// What a step changes.
pub(crate) struct Step {
    pub(crate) to: Name,
    pub(crate) seal: Option<Seal>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) votes: Vec<Vote>,
    pub(crate) events: Vec<Event>,
    /// The step needs the audit log to know of every one before it.
    pub(crate) audited: Audited,
}

/// Whether events of this hold may still wait to be written to the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audited {
    MayWait,
    Needed,
}

/// Which holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that have not ended.
    Live,
    /// Those, and of the others the newest thousand.
    All,
}

/// Where a hold stands among all: the newest first, and by name where they began together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) opened_at: Timestamp,
    pub(crate) id: HoldId,
}

impl HoldRow {
    /// Where it stands.
    pub(crate) fn place(&self) -> Place {
        Place {
            opened_at: self.opened_at,
            id: self.id,
        }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let newest_first = other.opened_at.cmp(&self.opened_at);
        newest_first.then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a hold cannot begin.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The name is taken; another is to be tried.
    Taken,
    /// The person has as many as they may.
    TooMany,
}

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum NotStepped<R> {
    /// There is no such hold.
    Unknown,
    /// The state machine refuses.
    Refused(R),
    /// Its time is over.
    Expired,
    /// Events of an earlier step are not in the audit log yet.
    NotAudited,
}

impl Store {
    /// Begins a hold, where the person has fewer than `most`.
    pub(crate) async fn open_hold(
        &self,
        id: HoldId,
        facts: Facts,
        most: usize,
        now: Timestamp,
        event: Event,
    ) -> Result<Result<(), NotOpened>, StoreError> {
        self.write(move |transaction| {
            let who = &facts.producer.identity;
            let open: i64 = transaction.query_row(
                "SELECT count(*) FROM holds WHERE issuer = ?1 AND subject = ?2 AND live",
                params![who.issuer, who.subject],
                |row| row.get(0),
            )?;
            if usize::try_from(open).unwrap_or(usize::MAX) >= most {
                return Ok(Err(NotOpened::TooMany));
            }
            let made = transaction.execute(
                "INSERT INTO holds (id, state, live, issuer, subject, facts, votes, opened_at, \
                 changed_at, version) VALUES (?1, ?2, 1, ?3, ?4, ?5, '[]', ?6, ?6, 0) \
                 ON CONFLICT (id) DO NOTHING",
                params![
                    id.to_string(),
                    Name::Open.as_str(),
                    who.issuer,
                    who.subject,
                    json(&facts)?,
                    now.as_millisecond()
                ],
            )?;
            if made == 0 {
                return Ok(Err(NotOpened::Taken));
            }
            tell(transaction, &id, &[event])?;
            raise(transaction, now)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Notes that somebody sees a session while it runs. Durable when this returns.
    pub(crate) async fn note_watcher(
        &self,
        session: String,
        watcher: Party,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO watchers (session, issuer, subject, party) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (session, issuer, subject) DO UPDATE SET party = ?4",
                params![
                    session,
                    watcher.identity.issuer,
                    watcher.identity.subject,
                    json(&watcher)?
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// One hold.
    pub(crate) async fn hold(&self, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
        self.read(move |connection| by_id(connection, id)).await
    }

    /// Holds, the newest first, with the beginnings of their commands; of those that have ended the
    /// latest thousand.
    pub(crate) async fn holds(&self, which: Which) -> Result<Vec<HoldRow>, StoreError> {
        self.read(move |connection| {
            // What runs is bounded for each person; a start has to know all of it.
            let condition = match which {
                Which::Live => "WHERE live ORDER BY opened_at DESC, id",
                Which::All => {
                    "WHERE live OR id IN (SELECT id FROM holds WHERE NOT live \
                     ORDER BY opened_at DESC, id LIMIT 1000) ORDER BY opened_at DESC, id"
                }
            };
            let mut rows = connection
                .prepare_cached(&format!("{LISTED} {condition}"))?
                .query_and_then([], of_row)?
                .collect::<Result<Vec<_>, _>>()?;
            for row in &mut rows {
                stand(connection, row)?;
            }
            Ok(rows)
        })
        .await
    }

    /// A page of the holds that have not ended: those behind `after` in the order of
    /// [`Store::holds`], `most` of them.
    pub(crate) async fn holds_behind(
        &self,
        after: Option<Place>,
        most: usize,
    ) -> Result<Vec<HoldRow>, StoreError> {
        self.read(move |connection| {
            let (at, id) = match after {
                Some(Place { opened_at, id }) => (opened_at.as_millisecond(), id.to_string()),
                None => (i64::MAX, String::new()),
            };
            // The rows of the page are picked before anything is read of them.
            let page = "WHERE id IN (SELECT id FROM holds WHERE live AND opened_at <= ?1 \
                 AND (opened_at < ?1 OR id > ?2) ORDER BY opened_at DESC, id LIMIT ?3) \
                 ORDER BY opened_at DESC, id";
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let mut rows = connection
                .prepare_cached(&format!("{LISTED} {page}"))?
                .query_and_then(params![at, id, most], of_row)?
                .collect::<Result<Vec<_>, _>>()?;
            for row in &mut rows {
                stand(connection, row)?;
            }
            Ok(rows)
        })
        .await
    }

    /// These holds, with the beginnings of their commands; one that does not exist is left out.
    pub(crate) async fn holds_named(&self, ids: Vec<HoldId>) -> Result<Vec<HoldRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("{LISTED} WHERE id = ?1"))?;
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                let row = statement
                    .query_and_then([id.to_string()], of_row)?
                    .next()
                    .transpose()?;
                if let Some(mut row) = row {
                    stand(connection, &mut row)?;
                    rows.push(row);
                }
            }
            Ok(rows)
        })
        .await
    }

    /// Takes a hold one step further: `next` says what becomes of it, and one conditional update
    /// does it, if nobody else has in between and its time is not over. `now` is the time that
    /// `next` goes by; `voter` casts a vote in it.
    pub(crate) async fn step_hold<R: Send + 'static>(
        &self,
        id: HoldId,
        now: Timestamp,
        voter: Option<Identity>,
        next: impl FnOnce(&HoldRow) -> Result<Step, R> + Send + 'static,
    ) -> Result<Result<HoldRow, NotStepped<R>>, StoreError> {
        self.write_told(move |transaction| {
            let Some(mut row) = by_id(transaction, id)? else {
                return Ok(Err(NotStepped::Unknown));
            };
            let approvers = BTreeSet::from([row.facts.approvers.clone()]);
            let standing = standing(transaction, voter.iter())?;
            row.gone.extend(gone(voter.iter(), &standing, &approvers));
            row.standing.extend(standing);
            let step = match next(&row) {
                Ok(step) => step,
                Err(refused) => return Ok(Err(NotStepped::Refused(refused))),
            };
            let changed = transaction.execute(
                "UPDATE holds SET state = ?3, live = ?4, seal = ?5, votes = ?6, expires_at = ?7, \
                 changed_at = ?8, version = version + 1 \
                 WHERE id = ?1 AND version = ?2 \
                 AND (expires_at IS NULL OR expires_at > ?8 OR NOT ?9) \
                 AND (NOT ?10 OR NOT EXISTS (SELECT 1 FROM outbox WHERE about = ?1))",
                params![
                    id.to_string(),
                    row.version,
                    step.to.as_str(),
                    !step.to.is_final(),
                    step.seal.as_ref().map(json).transpose()?,
                    json(&step.votes)?,
                    step.expires_at.map(Timestamp::as_millisecond),
                    now.as_millisecond(),
                    needs_time(step.to),
                    step.audited == Audited::Needed,
                ],
            )?;
            if changed != 1 {
                let late = row.expires_at.is_some_and(|at| at <= now);
                if late && needs_time(step.to) {
                    return Ok(Err(NotStepped::Expired));
                }
                // Within one transaction only the outbox can have said no then.
                return Ok(Err(NotStepped::NotAudited));
            }
            tell(transaction, &id, &step.events)?;
            raise(transaction, now)?;
            let Some(after) = by_id(transaction, id)? else {
                return Ok(Err(NotStepped::Unknown));
            };
            let message = Message::of_hold(row.state, &after, now);
            deliveries::leave(transaction, message.as_ref())?;
            Ok(Ok(after))
        })
        .await
    }

    /// Holds whose time is over.
    pub(crate) async fn due_holds(&self, now: Timestamp) -> Result<Vec<HoldId>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT id FROM holds WHERE live AND expires_at <= ?1")?
                .query_and_then([now.as_millisecond()], |row| {
                    id_of(&row.get::<_, String>(0)?)
                })?
                .collect()
        })
        .await
    }

    /// How many holds are in each state that is no end, and when the first of them came into it.
    pub(crate) async fn count_holds(&self) -> Result<Vec<(Name, u64, Timestamp)>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT state, count(*), min(changed_at) FROM holds WHERE live GROUP BY state",
                )?
                .query_and_then([], |row| {
                    let state: String = row.get(0)?;
                    let state = Name::parse(&state).ok_or_else(|| StoreError::Damaged {
                        detail: format!("no hold is {state:?}"),
                    })?;
                    let count: i64 = row.get(1)?;
                    Ok((state, count.unsigned_abs(), timestamp(row.get(2)?)?))
                })?
                .collect()
        })
        .await
    }

    /// When the next one is due.
    pub(crate) async fn next_due_hold(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let at: Option<i64> = connection.query_row(
                "SELECT min(expires_at) FROM holds WHERE live",
                [],
                |row| row.get(0),
            )?;
            at.map(timestamp).transpose()
        })
        .await
    }

    /// Events that the audit log has not acknowledged, the oldest first; a few hundred at most.
    pub(crate) async fn outbox(&self) -> Result<Vec<(i64, Event)>, StoreError> {
        self.write(|connection| {
            connection
                .prepare_cached("SELECT id, event FROM outbox ORDER BY id LIMIT 200")?
                .query_and_then([], |row| {
                    Ok((row.get(0)?, of_json(&row.get::<_, String>(1)?)?))
                })?
                .collect()
        })
        .await
    }

    /// The audit log has the events up to this one.
    pub(crate) async fn outbox_done(&self, up_to: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM outbox WHERE id <= ?1", [up_to])?;
            Ok(())
        })
        .await
    }

    /// The latest time that was written down.
    pub(crate) async fn high_water(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let at: Option<i64> = connection
                .query_row("SELECT at FROM high_water", [], |row| row.get(0))
                .optional()?;
            at.map(timestamp).transpose()
        })
        .await
    }

    /// Writes a time down; an earlier one than before changes nothing.
    pub(crate) async fn raise_high_water(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| raise(transaction, now)).await
    }

    /// When a key was first seen.
    pub(crate) async fn key_since(&self, key: &KeyId) -> Result<Option<Timestamp>, StoreError> {
        let key = key.clone();
        self.read(move |connection| {
            let at: Option<i64> = connection
                .query_row(
                    "SELECT first_at FROM keys WHERE fingerprint = ?1",
                    [key.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            at.map(timestamp).transpose()
        })
        .await
    }
}

/// A decision and a release need time left; everything else is about its being over.
fn needs_time(to: Name) -> bool {
    match to {
        Name::Sealed | Name::Approved | Name::Releasing | Name::Denied => true,
        Name::Open | Name::Delivered | Name::Expired | Name::Cancelled | Name::Void => false,
    }
}

/// Leaves events about something for the audit log, to be told with this transaction.
pub(super) fn tell(
    transaction: &Transaction<'_>,
    about: &impl std::fmt::Display,
    events: &[Event],
) -> Result<(), StoreError> {
    let mut statement =
        transaction.prepare_cached("INSERT INTO outbox (about, event) VALUES (?1, ?2)")?;
    for event in events {
        statement.execute(params![about.to_string(), json(event)?])?;
    }
    Ok(())
}

/// Writes a time down; an earlier one than before changes nothing.
pub(super) fn raise(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO high_water (one, at) VALUES (1, ?1) \
         ON CONFLICT (one) DO UPDATE SET at = max(at, ?1)",
        [now.as_millisecond()],
    )?;
    Ok(())
}

fn by_id(connection: &Connection, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
    let row = connection
        .prepare_cached(&format!("{HOLDS} WHERE id = ?1"))?
        .query_and_then([id.to_string()], of_row)?
        .next()
        .transpose()?;
    let Some(mut row) = row else { return Ok(None) };
    stand(connection, &mut row)?;
    Ok(Some(row))
}

/// Reads who of the voters still stands for their vote.
fn stand(connection: &Connection, row: &mut HoldRow) -> Result<(), StoreError> {
    if row.votes.is_empty() {
        return Ok(());
    }
    let approvers = BTreeSet::from([row.facts.approvers.clone()]);
    row.standing = standing(connection, voters(&row.votes))?;
    row.gone = gone(voters(&row.votes), &row.standing, &approvers);
    Ok(())
}

/// Who has voted.
pub(super) fn voters(votes: &[Vote]) -> impl Iterator<Item = &Identity> {
    votes.iter().map(|vote| &vote.by.identity)
}

/// Those of the people who are known and not locked. Read with the row, so that nobody leaves
/// between the question and the step.
pub(super) fn standing<'a>(
    connection: &Connection,
    people: impl Iterator<Item = &'a Identity>,
) -> Result<Standing, StoreError> {
    let mut standing = Vec::new();
    for person in people {
        if let Some(groups) = groups_of(connection, person)? {
            standing.push((person.clone(), groups));
        }
    }
    Ok(standing)
}

/// Those of the people who are not in all of these groups any more, or are locked.
pub(super) fn gone<'a>(
    people: impl Iterator<Item = &'a Identity>,
    standing: &Standing,
    groups: &BTreeSet<String>,
) -> Vec<Identity> {
    let stands = |person: &&Identity| {
        standing
            .iter()
            .any(|(identity, now)| identity == *person && groups.is_subset(now))
    };
    people.filter(|person| !stands(person)).cloned().collect()
}

/// The groups of a person's latest sign-in; none where the person is locked or not known.
pub(super) fn groups_of(
    connection: &Connection,
    person: &Identity,
) -> Result<Option<BTreeSet<String>>, StoreError> {
    let groups: Option<String> = connection
        .prepare_cached(
            "SELECT groups FROM users WHERE issuer = ?1 AND subject = ?2 AND NOT EXISTS \
             (SELECT 1 FROM locks WHERE kind = 'user' AND issuer = ?1 AND name = ?2)",
        )?
        .query_row(params![person.issuer, person.subject], |row| row.get(0))
        .optional()?;
    groups.as_deref().map(of_json).transpose()
}

fn of_row(row: &Row<'_>) -> Result<HoldRow, StoreError> {
    let damaged = |detail: &str| StoreError::Damaged {
        detail: detail.to_owned(),
    };
    Ok(HoldRow {
        id: id_of(&row.get::<_, String>("id")?)?,
        state: Name::parse(&row.get::<_, String>("state")?)
            .ok_or_else(|| damaged("a hold in no state"))?,
        facts: of_json(&row.get::<_, String>("facts")?)?,
        seal: row
            .get::<_, Option<String>>("seal")?
            .as_deref()
            .map(of_json)
            .transpose()?,
        votes: of_json(&row.get::<_, String>("votes")?)?,
        watchers: of_json(&row.get::<_, String>("watchers")?)?,
        opened_at: timestamp(row.get("opened_at")?)?,
        changed_at: timestamp(row.get("changed_at")?)?,
        expires_at: row
            .get::<_, Option<i64>>("expires_at")?
            .map(timestamp)
            .transpose()?,
        gone: Vec::new(),
        standing: Vec::new(),
        version: row.get("version")?,
    })
}

fn id_of(text: &str) -> Result<HoldId, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged {
        detail: "a hold without a name".to_owned(),
    })
}

/// What both lists of columns end with: `concat!` takes literals only. Few sessions are watched, and
/// what nobody has watched need not be looked for in each row.
macro_rules! columns {
    () => {
        "seal, votes, opened_at, changed_at, expires_at, version, \
        CASE WHEN EXISTS (SELECT 1 FROM watchers) THEN \
        (SELECT json_group_array(json(w.party)) FROM watchers w \
        WHERE w.session = json_extract(holds.facts, '$.session')) ELSE '[]' END AS watchers \
        FROM holds"
    };
}

/// One hold, whole.
const HOLDS: &str = concat!("SELECT id, state, facts, ", columns!());
/// A list of many: a command can have 64 KiB, and is cut where it is long.
const LISTED: &str = concat!(
    "SELECT id, state, CASE WHEN length(facts) < 4096 THEN facts ELSE \
    json_set(facts, '$.command', substr(json_extract(facts, '$.command'), 1, 1000)) END AS facts, ",
    columns!()
);

/// Of the store's fourth version. Kept as long as holds are: the decision may come much later.
pub(super) const WATCHERS: &str = "CREATE TABLE watchers (
        session TEXT NOT NULL,
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        party TEXT NOT NULL,
        PRIMARY KEY (session, issuer, subject)
    ) STRICT;";

/// Of the store's third version.
pub(super) const SCHEMA: &str = "CREATE TABLE holds (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        live INTEGER NOT NULL,
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        facts TEXT NOT NULL,
        seal TEXT,
        votes TEXT NOT NULL,
        opened_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        expires_at INTEGER,
        version INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX holds_live ON holds (opened_at) WHERE live;
    CREATE INDEX holds_of ON holds (issuer, subject) WHERE live;
    CREATE INDEX holds_due ON holds (expires_at) WHERE live;
    CREATE INDEX holds_by_time ON holds (opened_at);
    CREATE TRIGGER holds_stay_ended BEFORE UPDATE ON holds WHEN NOT OLD.live
    BEGIN SELECT RAISE(ABORT, 'a hold that has ended stays as it is'); END;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hold TEXT NOT NULL REFERENCES holds (id),
        event TEXT NOT NULL
    ) STRICT;
    CREATE INDEX outbox_of ON outbox (hold);
    CREATE TABLE high_water (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL) STRICT;
    ALTER TABLE users ADD COLUMN links TEXT NOT NULL DEFAULT '{}';";
