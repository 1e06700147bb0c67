//! Ending sessions, and locking users and targets.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::command::Whom;
use super::text::{self, Table};
use super::{Console, Failure, safe, unavailable};
use crate::access::{Action, Denied, SessionOf};
use crate::audit::Event;
use crate::login::Identity;
use crate::session::Of;
use crate::store::{Lock, Locked};

impl Console<'_> {
    /// Ends one running session.
    pub(super) async fn end_session(&self, session: &str, json: bool) -> Result<(), Failure> {
        let running = self.rooms.registry.running();
        let unknown = || {
            let line = format!("no running session {} that you may end", safe(session));
            Failure::Denied(line)
        };
        let (id, of) = running
            .into_iter()
            .find(|(id, _)| id == session)
            .ok_or_else(unknown)?;
        let policies = match self.may_end(&id, &of) {
            Ok(policies) => policies,
            Err(denied) => {
                self.refused(Action::End, session, &denied)?;
                return Err(unknown());
            }
        };
        self.end(vec![id], policies, json).await
    }

    /// Ends the running sessions of a person, as far as the policies let this user.
    pub(super) async fn end_of(&self, user: &str, json: bool) -> Result<(), Failure> {
        let person = self.person_called(user).await?;
        let mut ids = Vec::new();
        let mut policies = std::collections::BTreeSet::new();
        let mut denied_one = None;
        for (id, of) in self.rooms.registry.running() {
            if of.identity != person {
                continue;
            }
            match self.may_end(&id, &of) {
                Ok(permitted) => {
                    ids.push(id);
                    policies.extend(permitted);
                }
                Err(denied) => denied_one = Some((id, denied)),
            }
        }
        if let (true, Some((id, denied))) = (ids.is_empty(), denied_one) {
            self.refused(Action::End, &id, &denied)?;
            let line = format!("you may end no session of {}", safe(user));
            return Err(Failure::Denied(line));
        }
        self.end(ids, policies.into_iter().collect(), json).await
    }

    async fn end(
        &self,
        ids: Vec<String>,
        policies: Vec<String>,
        json: bool,
    ) -> Result<(), Failure> {
        let ended = self
            .rooms
            .registry
            .end_where(ENDED, |id, _| ids.iter().any(|picked| picked == id));
        // Ending does not depend on the log; whoever ended is told when it is not written.
        self.audit(Event::SessionsEnded {
            user: self.lease().who(),
            sessions: ids.clone(),
            policies,
        })?;
        if json {
            return self.json(&json!({ "sessions_ended": ids })).await;
        }
        self.print(format!("{ended} session(s) ended\n")).await
    }

    /// Locks a user or a target, durably, and ends what they run.
    pub(super) async fn lock(&self, whom: &Whom, reason: &str, json: bool) -> Result<(), Failure> {
        let locked = self.locked(whom).await?;
        let me = self.lease().who();
        if locked == Locked::User(self.lease().user.identity.clone()) {
            return Err(Failure::Usage("you cannot lock yourself out".to_owned()));
        }
        let policies = self.may_lock(&locked)?;
        let lock = Lock {
            locked: locked.clone(),
            by: self.lease().user.identity.clone(),
            by_name: me.name.clone(),
            reason: reason.to_owned(),
            at: Timestamp::now(),
        };
        let leases =
            self.rooms.sign_ins.lock(lock).await.map_err(|error| {
                unavailable(&error, "locking does not work now; nothing is locked")
            })?;
        let sessions = match &locked {
            Locked::User(identity) => self
                .rooms
                .registry
                .end_where(USER_LOCKED, |_, of| of.identity == *identity),
            Locked::Target(name) => self
                .rooms
                .registry
                .end_where(TARGET_LOCKED, |_, of| of.target == *name),
        };
        let (kind, what) = described(&locked);
        self.audit(Event::Locked {
            user: me,
            kind: kind.to_owned(),
            what: what.clone(),
            reason: reason.to_owned(),
            leases,
            sessions,
            policies,
        })?;
        if json {
            let answer = json!({ "kind": kind, "locked": what, "leases_ended": leases, "sessions_ended": sessions });
            return self.json(&answer).await;
        }
        let line = format!(
            "{kind} {} is locked: {leases} lease(s), {sessions} session(s) ended\n",
            safe(&what)
        );
        self.print(line).await
    }

    /// Takes a lock away.
    pub(super) async fn unlock(&self, whom: &Whom, json: bool) -> Result<(), Failure> {
        let locked = self.locked(whom).await?;
        let policies = self.may_lock(&locked)?;
        let (kind, what) = described(&locked);
        // Giving rights back does depend on the log.
        self.audit(Event::Unlocked {
            user: self.lease().who(),
            kind: kind.to_owned(),
            what: what.clone(),
            policies,
        })?;
        let was = self.rooms.sign_ins.unlock(locked).await.map_err(|error| {
            unavailable(&error, "unlocking does not work now; the lock still holds")
        })?;
        if json {
            return self
                .json(&json!({ "kind": kind, "unlocked": what, "was_locked": was }))
                .await;
        }
        let state = if was {
            "is not locked any more"
        } else {
            "was not locked"
        };
        self.print(format!("{kind} {} {state}\n", safe(&what)))
            .await
    }

    /// The locks, for whoever may take them away.
    pub(super) async fn locks(&self, json: bool) -> Result<(), Failure> {
        let locks = self
            .rooms
            .sign_ins
            .locks()
            .await
            .map_err(|error| unavailable(&error, "the locks cannot be read now"))?;
        let access = self.rooms.access();
        let mine = |lock: &Lock| {
            let (person, now) = (self.asked.person(), Timestamp::now());
            access
                .may_lock(&person, &lock.locked, self.asked.source, now)
                .is_ok()
        };
        let locks: Vec<_> = locks.into_iter().filter(mine).collect();
        if json {
            let locks: Vec<Value> = locks.iter().map(as_json).collect();
            return self.json(&json!({ "locks": locks })).await;
        }
        if locks.is_empty() {
            return self.print("no lock that you may take away\n".into()).await;
        }
        let mut table = Table::new(["LOCKED", "WHAT", "SINCE", "BY", "REASON"]);
        for lock in &locks {
            let (kind, what) = described(&lock.locked);
            table.row([
                kind.to_owned(),
                safe(&what),
                text::time(lock.at),
                safe(&lock.by_name),
                text::shortened(&safe(&lock.reason), 60),
            ]);
        }
        self.print(table.to_string()).await
    }

    fn may_end(&self, id: &str, of: &Of) -> Result<Vec<String>, Denied> {
        let session = SessionOf {
            id,
            owner_issuer: &of.identity.issuer,
            owner_subject: &of.identity.subject,
            target: &of.target,
            login: &of.login,
        };
        self.rooms.access().may_read(
            &self.asked.person(),
            Action::End,
            &session,
            self.asked.source,
            Timestamp::now(),
        )
    }

    fn may_lock(&self, locked: &Locked) -> Result<Vec<String>, Failure> {
        let access = self.rooms.access();
        let person = self.asked.person();
        access
            .may_lock(&person, locked, self.asked.source, Timestamp::now())
            .or_else(|denied| {
                self.refused(Action::Lock, &described(locked).1, &denied)?;
                Err(Failure::Denied(denied.notice()))
            })
    }

    pub(super) fn refused(
        &self,
        action: Action,
        what: &str,
        denied: &Denied,
    ) -> Result<(), Failure> {
        self.audit(Event::ConsoleDenied {
            user: self.lease().who(),
            action: action.name().to_owned(),
            what: what.to_owned(),
            reason: denied.reason().to_string(),
        })
    }

    async fn locked(&self, whom: &Whom) -> Result<Locked, Failure> {
        match whom {
            Whom::User(user) => Ok(Locked::User(self.person_called(user).await?)),
            Whom::Target(name) => {
                // One that has left the inventory may still have its lock.
                let access = self.rooms.access();
                let known = access.inventory().target(name).is_some()
                    || self
                        .rooms
                        .sign_ins
                        .is_target_locked(name)
                        .await
                        .map_err(|error| unavailable(&error, "the locks cannot be read now"))?;
                if known {
                    Ok(Locked::Target(name.clone()))
                } else {
                    Err(Failure::Usage(format!("no target {}", safe(name))))
                }
            }
        }
    }

    /// The one person who is called so. A name that several share names nobody.
    async fn person_called(&self, called: &str) -> Result<Identity, Failure> {
        let mut people = self
            .rooms
            .sign_ins
            .people(called)
            .await
            .map_err(|error| unavailable(&error, "the users cannot be read now"))?;
        match people.len() {
            0 => {
                let line = format!("nobody called {} has ever signed in", safe(called));
                Err(Failure::Usage(line))
            }
            1 => Ok(people.swap_remove(0).0),
            _ => {
                let each: Vec<_> = people
                    .iter()
                    .map(|(identity, _)| safe(&format!("{}#{}", identity.issuer, identity.subject)))
                    .collect();
                Err(Failure::Usage(format!(
                    "{} is several people; name one of {}",
                    safe(called),
                    each.join(", ")
                )))
            }
        }
    }
}

fn described(locked: &Locked) -> (&'static str, String) {
    match locked {
        Locked::User(identity) => ("user", format!("{}#{}", identity.issuer, identity.subject)),
        Locked::Target(name) => ("target", name.clone()),
    }
}

fn as_json(lock: &Lock) -> Value {
    let (kind, what) = described(&lock.locked);
    json!({
        "kind": kind,
        "locked": what,
        "at": lock.at,
        "by": lock.by_name,
        "by_issuer": lock.by.issuer,
        "by_subject": lock.by.subject,
        "reason": lock.reason,
    })
}

/// What the client of a session is told.
const ENDED: &str = "the session was ended from the console";
const USER_LOCKED: &str = "the session was ended: your account is locked here";
const TARGET_LOCKED: &str = "the session was ended: the target is locked";
