//! What is to be told to webhooks and has not been yet.
//!
//! A message is written in the transaction of the step that it tells of, once for each webhook that
//! wants it, and stays until that webhook has taken it or it is given up. So nothing that happened is
//! left untold because the machine stopped in between; a message can be sent twice, under one name.

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};
use tracing::error;

use super::holds::tell;
use super::{Store, StoreError, json, of_json, timestamp};
use crate::audit::Event;
use crate::notify::{Message, Wants};

/// A message that waits for one webhook.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) id: i64,
    /// Its name, the same for every webhook and each attempt.
    pub(crate) name: String,
    pub(crate) message: Message,
    pub(crate) made_at: Timestamp,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

/// What is due for one webhook.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) rows: Vec<DeliveryRow>,
    /// Those that cannot be read: their ids.
    pub(crate) damaged: Vec<i64>,
}

/// What waits for webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) count: u64,
    /// When the oldest was made.
    pub(crate) oldest: Option<Timestamp>,
}

impl Store {
    /// From now on these webhooks are told, each of what it wants; `most` messages may wait for one.
    /// What waits for others is given up. Says how much that was.
    pub(crate) async fn set_hooks(
        &self,
        hooks: Vec<(String, Wants)>,
        most: usize,
    ) -> Result<usize, StoreError> {
        self.write(move |transaction| {
            let known: Vec<String> = transaction
                .prepare("SELECT name FROM hooks")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let mut dropped = 0;
            for name in known {
                if hooks.iter().all(|(kept, _)| *kept != name) {
                    dropped += give_up(transaction, &name, i64::MAX, "it is no longer configured")?;
                    transaction.execute("DELETE FROM hooks WHERE name = ?1", [name])?;
                }
            }
            for (name, wants) in &hooks {
                transaction.execute(
                    "INSERT INTO hooks (name, wants, most) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (name) DO UPDATE SET wants = ?2, most = ?3",
                    params![name, json(wants)?, i64::try_from(most).unwrap_or(i64::MAX)],
                )?;
            }
            Ok(dropped)
        })
        .await
    }

    /// Leaves a message that belongs to no other step. Durable when this returns.
    pub(crate) async fn announce(&self, message: Message) -> Result<(), StoreError> {
        self.write_told(move |transaction| leave(transaction, Some(&message)))
            .await
    }

    /// The first messages that are due for one webhook, in the order in which they were made.
    pub(crate) async fn due_deliveries(
        &self,
        hook: String,
        now: Timestamp,
        most: usize,
    ) -> Result<Due, StoreError> {
        self.read(move |connection| {
            // The index has all that chooses them, so that only these are read.
            let mut statement = connection.prepare_cached(
                "SELECT id, message, made_at, attempts FROM deliveries WHERE id IN \
                 (SELECT id FROM deliveries WHERE hook = ?1 AND due_at <= ?2 \
                  ORDER BY id LIMIT ?3) ORDER BY id",
            )?;
            let mut found = statement.query(params![
                hook,
                now.as_millisecond(),
                i64::try_from(most).unwrap_or(i64::MAX)
            ])?;
            let mut due = Due::default();
            while let Some(row) = found.next()? {
                match read(row) {
                    Ok(row) => due.rows.push(row),
                    Err(_) => due.damaged.push(row.get("id")?),
                }
            }
            Ok(due)
        })
        .await
    }

    /// When the next one is due that is not yet.
    pub(crate) async fn next_due_delivery(
        &self,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |connection| {
            let at: Option<i64> = connection
                .prepare_cached("SELECT min(due_at) FROM deliveries WHERE due_at > ?1")?
                .query_row([now.as_millisecond()], |row| row.get(0))?;
            at.map(timestamp).transpose()
        })
        .await
    }

    /// A webhook has taken a message. `back`: it had not before, so that the others that wait for it
    /// are due at once.
    pub(crate) async fn delivery_done(
        &self,
        hook: String,
        id: i64,
        back: bool,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM deliveries WHERE id = ?1", [id])?;
            if back {
                transaction.execute(
                    "UPDATE deliveries SET due_at = 0 WHERE hook = ?1 AND due_at > 0",
                    [hook],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// A message that cannot be read is given up.
    pub(crate) async fn delivery_damaged(&self, hook: String, id: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let gone = transaction.execute("DELETE FROM deliveries WHERE id = ?1", [id])?;
            if gone == 1 {
                let event = given_up(&hook, "", None, 0, "it cannot be read");
                tell(transaction, &ABOUT, &[event])?;
            }
            Ok(())
        })
        .await
    }

    /// A message was tried once more, in vain, and is due again at `due_at`.
    pub(crate) async fn delivery_again(
        &self,
        id: i64,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE deliveries SET attempts = attempts + 1, due_at = ?2 WHERE id = ?1",
                params![id, due_at.as_millisecond()],
            )?;
            Ok(())
        })
        .await
    }

    /// A message is not tried any more; `attempts` were made.
    pub(crate) async fn delivery_given_up(
        &self,
        hook: String,
        row: DeliveryRow,
        attempts: u32,
        reason: String,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let gone = transaction.execute("DELETE FROM deliveries WHERE id = ?1", [row.id])?;
            if gone == 1 {
                let event = given_up(&hook, &row.name, Some(&row.message), attempts, &reason);
                tell(transaction, &ABOUT, &[event])?;
            }
            Ok(())
        })
        .await
    }

    /// How many messages wait, and since when.
    pub(crate) async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|connection| {
            let (count, oldest): (i64, Option<i64>) = connection.query_row(
                "SELECT count(*), min(made_at) FROM deliveries",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            Ok(Backlog {
                count: count.unsigned_abs(),
                oldest: oldest.map(timestamp).transpose()?,
            })
        })
        .await
    }
}

/// Leaves a message for every webhook that wants it, with this transaction. Where one has too many,
/// its oldest is given up.
pub(super) fn leave(
    transaction: &Transaction<'_>,
    message: Option<&Message>,
) -> Result<(), StoreError> {
    let Some(message) = message else {
        return Ok(());
    };
    let hooks: Vec<(String, String, i64)> = transaction
        .prepare_cached("SELECT name, wants, most FROM hooks ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (name, wants, most) in hooks {
        // They are written anew at each start; no step fails because of a webhook.
        let wants: Wants = match of_json(&wants) {
            Ok(wants) => wants,
            Err(error) => {
                error!(webhook = name, %error, "what a webhook wants cannot be read: it is not told");
                continue;
            }
        };
        if !wants.wants(message) {
            continue;
        }
        transaction
            .prepare_cached(
                // At once, by whatever clock it was made.
                "INSERT INTO deliveries (hook, message, made_at, due_at, attempts) \
                 VALUES (?1, ?2, ?3, 0, 0)",
            )?
            .execute(params![name, json(message)?, message.at.as_millisecond()])?;
        let waiting: i64 = transaction
            .prepare_cached("SELECT count(*) FROM deliveries WHERE hook = ?1")?
            .query_row([&name], |row| row.get(0))?;
        if waiting > most {
            give_up(transaction, &name, waiting - most, "too many wait")?;
        }
    }
    Ok(())
}

/// Gives up the oldest messages of a webhook, `most` of them; says how many there were.
fn give_up(
    transaction: &Transaction<'_>,
    hook: &str,
    most: i64,
    reason: &str,
) -> Result<usize, StoreError> {
    let oldest: Vec<(i64, String, u32)> = transaction
        .prepare_cached(
            "SELECT id, message, attempts FROM deliveries WHERE hook = ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map(params![hook, most], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (id, stored, attempts) in &oldest {
        transaction.execute("DELETE FROM deliveries WHERE id = ?1", [id])?;
        let name = Message::id_of(stored);
        let message = of_json(stored).ok();
        let event = given_up(hook, &name, message.as_ref(), *attempts, reason);
        tell(transaction, &ABOUT, &[event])?;
    }
    Ok(oldest.len())
}

fn read(row: &Row<'_>) -> Result<DeliveryRow, StoreError> {
    let stored: String = row.get("message")?;
    Ok(DeliveryRow {
        id: row.get("id")?,
        name: Message::id_of(&stored),
        message: of_json(&stored)?,
        made_at: timestamp(row.get("made_at")?)?,
        attempts: row.get("attempts")?,
    })
}

/// Of a message that cannot be read neither the kind nor what it is about is known.
fn given_up(
    hook: &str,
    name: &str,
    message: Option<&Message>,
    attempts: u32,
    reason: &str,
) -> Event {
    let of = |part: fn(&Message) -> &str| message.map(part).unwrap_or_default().to_owned();
    Event::NoticeGivenUp {
        webhook: hook.to_owned(),
        message: name.to_owned(),
        kind: of(|message| message.kind.as_str()),
        about: of(|message| message.data.id()),
        attempts,
        reason: reason.to_owned(),
    }
}

/// What such events are filed under: no release waits for them.
const ABOUT: &str = "webhooks";

/// Of the store's sixth version.
pub(super) const SCHEMA: &str = "CREATE TABLE hooks (
        name TEXT PRIMARY KEY,
        wants TEXT NOT NULL,
        most INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hook TEXT NOT NULL REFERENCES hooks (name),
        message TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX deliveries_due ON deliveries (hook, due_at, id);
    CREATE INDEX deliveries_next ON deliveries (due_at);";
