//! Access that somebody asks for, and that others approve for a time.
//!
//! Owns the life of a request and of the grant that comes of it. What may be asked for, and by whom
//! it is decided, say the policies (`access`); that a grant opens an account is nothing but
//! `context.approved` in them, so that everything else a policy demands holds as before.
//!
//! - `state`: what may become of a request, pure
//! - `decide`: who may decide, and whether it may still be asked for

mod decide;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::access::{Access, Denied, Opened, Person};
use crate::approval::{
    Decider, Entitled, Ledger, LedgerError, NotEntitled, Party, ShortId, recounted, who,
};
use crate::audit::{AuditError, Event, Who};
use crate::config;
use crate::login::Identity;
use crate::store::{NotAsked, NotDone, RequestRow, RequestStep, Store, StoreError, Vote, Which};

use state::{Approved, End, Pending, Request, Terms, Voted};
pub(crate) use state::{Name, Refusal};

/// The name of a request: `R-` and six characters.
pub(crate) type RequestId = ShortId<'R'>;

/// What is known of a request from its beginning, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Facts {
    pub(crate) requester: Party,
    pub(crate) target: String,
    pub(crate) login: String,
    /// In the requester's words.
    pub(crate) reason: String,
    /// The groups that decide: whoever does is in every one of them.
    pub(crate) approvers: BTreeSet<String>,
    pub(crate) needed: u32,
    /// The policies that let the requester ask.
    #[serde(default)]
    pub(crate) policies: Vec<String>,
    /// For how long access is asked for.
    pub(crate) period_s: u64,
    /// Where the client was, when the requester had signed in and asked, and with which key: so
    /// that the same question can be put to later policies.
    pub(crate) source: IpAddr,
    pub(crate) signed_in_at: Timestamp,
    pub(crate) asked_at: Timestamp,
    pub(crate) key: Option<String>,
}

/// The requests of this bastion. A clone is the same.
#[derive(Clone)]
pub(crate) struct Requests {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    ledger: Ledger,
    config: config::Requests,
    /// Tells whoever stands on a grant that some request has changed.
    changes: watch::Sender<()>,
    wake: Notify,
    /// What is done to its end also when nobody waits for it any more.
    tasks: TaskTracker,
}

/// What somebody has to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// They asked.
    Requester,
    /// They may decide on it.
    Decider,
    /// They have decided on it, or read the audit log.
    Reader,
}

/// A decision to be made.
pub(crate) struct Decision {
    pub(crate) request: RequestId,
    pub(crate) approves: bool,
    pub(crate) reason: Option<String>,
}

/// Why a request is not there, or not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("there is no such request")]
    Unknown,
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    NotEntitled(#[from] NotEntitled),
    #[error("{0}")]
    Void(&'static str),
    #[error("the person has asked already: {0}")]
    Already(RequestId),
    #[error("the person has as many requests and grants as they may")]
    TooMany,
    #[error("no name could be found for it")]
    NoName,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl RequestError {
    /// The line for the person whom it concerns; `bastion` is what they type.
    pub(crate) fn notice(&self, bastion: &str) -> String {
        match self {
            Self::Unknown => "there is no such request".to_owned(),
            Self::Refused(refusal) => refusal.to_string(),
            Self::NotEntitled(not) => not.notice(bastion),
            Self::Void(why) => format!("it is void: {why}"),
            Self::Already(id) => format!(
                "you have asked for it already: {id} waits; to withdraw it: ssh {bastion} cancel {id}"
            ),
            Self::TooMany => format!(
                "you have as many requests and grants as you may: ssh {bastion} requests, then cancel some"
            ),
            Self::NoName | Self::Store(_) => {
                "requests are not available now; try again later".to_owned()
            }
            Self::Audit(error) => error.notice().to_owned(),
        }
    }
}

impl From<LedgerError> for RequestError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => Self::Store(error),
            LedgerError::Audit(error) => Self::Audit(error),
        }
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Requests {
    pub(crate) fn new(config: config::Requests, store: Store, ledger: Ledger) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                ledger,
                config,
                changes: watch::Sender::new(()),
                wake: Notify::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The time that requests live by.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.ledger.now()
    }

    /// Tells of every change of a request from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    /// Makes a request. The audit log knows of it when this returns.
    pub(crate) async fn ask(&self, facts: Facts) -> Result<RequestRow, RequestError> {
        let requests = self.clone();
        self.surely(async move { requests.asked(facts).await })
            .await
    }

    async fn asked(self, facts: Facts) -> Result<RequestRow, RequestError> {
        let wait = SignedDuration::try_from(self.inner.config.wait).unwrap_or(SignedDuration::MAX);
        for _ in 0..NAMES {
            let id = RequestId::random().ok_or(RequestError::NoName)?;
            let now = self.now();
            let expires_at = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
            let event = Event::AccessRequested {
                request: id.to_string(),
                user: who(&facts.requester),
                source: facts.source,
                target: facts.target.clone(),
                login: facts.login.clone(),
                words: facts.reason.clone(),
                seconds: facts.period_s,
                approvers: facts.approvers.iter().cloned().collect(),
                needed: facts.needed,
                expires_at,
                policies: facts.policies.clone(),
            };
            let most = self.inner.config.per_person;
            let asked = self
                .inner
                .store
                .ask(id, facts.clone(), most, (now, expires_at), event);
            match asked.await? {
                Ok(()) => {
                    self.after().await?;
                    info!(request = %id, target = facts.target, login = facts.login, "access is asked for");
                    return self.get(id).await;
                }
                Err(NotAsked::Taken) => {}
                Err(NotAsked::TooMany) => return Err(RequestError::TooMany),
                Err(NotAsked::Already(id)) => return Err(RequestError::Already(id)),
            }
        }
        Err(RequestError::NoName)
    }

    /// One request.
    pub(crate) async fn get(&self, id: RequestId) -> Result<RequestRow, RequestError> {
        let row = self.inner.store.request(id).await?;
        row.ok_or(RequestError::Unknown)
    }

    /// The requests that a person has to do with, the newest first: their own, those that they may
    /// decide on by the policies, and of [`Which::All`] those that they have decided on, or all
    /// where they read the audit log.
    pub(crate) async fn seen_by(
        &self,
        access: &Access,
        person: &Person<'_>,
        source: IpAddr,
        which: Which,
    ) -> Result<Vec<(Part, RequestRow)>, RequestError> {
        let rows = self.inner.store.requests(which).await?;
        Ok(parts(access, person, source, which, rows))
    }

    /// One request, where the person has to do with it.
    pub(crate) async fn seen(
        &self,
        access: &Access,
        person: &Person<'_>,
        source: IpAddr,
        id: RequestId,
    ) -> Result<(Part, RequestRow), RequestError> {
        let row = self.get(id).await?;
        let seen = parts(access, person, source, Which::All, vec![row]);
        seen.into_iter().next().ok_or(RequestError::Unknown)
    }

    /// One person's decision: the policies, the sign-in and the key let them, and let the requester
    /// still ask for it. The audit log has it when this returns.
    pub(crate) async fn decide(
        &self,
        access: &watch::Receiver<Arc<Access>>,
        approval: &config::Approval,
        decider: Decider<'_>,
        decision: Decision,
    ) -> Result<RequestRow, RequestError> {
        let row = self.get(decision.request).await?;
        let now_in_force = access.borrow().clone();
        let (by, policies) = decide::entitle(&now_in_force, approval, decider, &row)?;
        let now = self.now();
        let current = access.clone();
        let voter = by.party().identity.clone();
        let row = self
            .step(row.id, now, Some(voter), move |row| {
                // Those of the moment in which it is written down.
                let access = current.borrow().clone();
                let asks = decide::may_still_ask(&access, row);
                match (asks, decision.approves, row.state) {
                    (Err(why), true, Name::Pending) => voided(row, why),
                    _ => {
                        let vote = decision.vote(&by, now);
                        let row = recalled(row, &vote, |vote| decide::counts(&access, row, vote));
                        voted(&row, by, decision, policies, now)
                    }
                }
            })
            .await?;
        let access = access.borrow().clone();
        match (row.state, decide::may_still_ask(&access, &row)) {
            (Name::Void, Err(why)) => Err(RequestError::Void(why)),
            (Name::Void, Ok(())) => Err(RequestError::Void("it could not be asked for")),
            _ => Ok(row),
        }
    }

    /// The requester withdraws a request, or gives a grant back.
    pub(crate) async fn cancel(
        &self,
        id: RequestId,
        by: Identity,
        reason: Option<String>,
    ) -> Result<RequestRow, RequestError> {
        self.step(id, self.now(), None, move |row| {
            let end = request_of(row).cancel(&by)?;
            let by = who(&row.facts.requester);
            Ok(ended(row, end, Some(by), reason, Vec::new()))
        })
        .await
    }

    /// Somebody takes a grant away; that they may, `policies` have said.
    pub(crate) async fn revoke(
        &self,
        id: RequestId,
        by: Who,
        reason: Option<String>,
        policies: Vec<String>,
    ) -> Result<RequestRow, RequestError> {
        self.step(id, self.now(), None, move |row| {
            let end = request_of(row).revoke()?;
            Ok(ended(row, end, Some(by), reason, policies))
        })
        .await
    }

    /// For how long an account is still open to a person by a grant; none where it is not.
    pub(crate) async fn left(
        &self,
        person: &Identity,
        login: &str,
        target: &str,
    ) -> Result<Option<SignedDuration>, RequestError> {
        let now = self.now();
        let until = self
            .inner
            .store
            .granted_until(person.clone(), login.to_owned(), target.to_owned(), now)
            .await?;
        Ok(until.map(|until| until.duration_since(now)))
    }

    /// The accounts that are open to a person by a grant, until when by the wall clock.
    pub(crate) async fn opened(&self, person: &Identity) -> Result<Vec<Opened>, RequestError> {
        let (now, wall) = (self.now(), Timestamp::now());
        let granted = self.inner.store.granted(person.clone(), now).await?;
        let opened = granted.into_iter().map(|(login, target, until)| {
            // What is left is known by a clock that is never set.
            let left = until.duration_since(now);
            Opened {
                login,
                target,
                until: wall.saturating_add(left).unwrap_or(Timestamp::MAX),
            }
        });
        Ok(opened.collect())
    }

    /// Whether an account was open to a person at that time by a grant that nobody has taken away,
    /// then or since. One whose time is over, or that was given back, still counts for its time.
    pub(crate) async fn stood(
        &self,
        person: &Identity,
        login: &str,
        target: &str,
        at: Timestamp,
    ) -> Result<bool, RequestError> {
        let (login, target) = (login.to_owned(), target.to_owned());
        let stood = self
            .inner
            .store
            .granted_at(person.clone(), login, target, at);
        Ok(stood.await?)
    }

    /// Returns when no grant opens the account to the person any more; where that cannot be read,
    /// not later than in `at_most`. Cancel-safe.
    pub(crate) async fn over(
        &self,
        person: &Identity,
        login: &str,
        target: &str,
        at_most: Duration,
    ) {
        let mut changes = self.inner.changes.subscribe();
        let mut deadline = Instant::now() + at_most.min(LONGEST);
        loop {
            let pause = match self.left(person, login, target).await {
                Ok(None) => return,
                Ok(Some(left)) => {
                    let left = Duration::try_from(left).unwrap_or_default().min(LONGEST);
                    deadline = Instant::now() + left;
                    left + SHORTEST_SWEEP
                }
                Err(_) if Instant::now() >= deadline => return,
                Err(error) => {
                    warn!(%error, "grants cannot be read now");
                    AGAIN
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause.min(SWEEP)) => {}
            }
        }
    }

    /// Ends what is due, until `stop`.
    pub(crate) async fn maintain(self, stop: CancellationToken) {
        loop {
            let pause = match self.sweep().await {
                Ok(pause) => pause,
                Err(error) => {
                    // Nothing is open for longer: every question looks at the time itself.
                    warn!(%error, "requests cannot be looked after now");
                    AGAIN
                }
            };
            tokio::select! {
                () = self.inner.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// One round; says when the next is due.
    async fn sweep(&self) -> Result<Duration, RequestError> {
        self.inner.ledger.tell().await?;
        let now = self.now();
        for id in self.inner.store.due_requests(now).await? {
            let step = move |row: &RequestRow| {
                let end = request_of(row).expire(now)?;
                Ok(ended(row, end, None, None, Vec::new()))
            };
            match self.step(id, now, None, step).await {
                Ok(_) | Err(RequestError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let next = self.inner.store.next_due_request().await?;
        let pause = next.map_or(SWEEP, |next| {
            Duration::try_from(next.duration_since(self.now())).unwrap_or_default()
        });
        Ok(pause.clamp(SHORTEST_SWEEP, SWEEP))
    }

    /// A step and all that follows from it. It comes to its end also when the caller stops waiting.
    async fn step(
        &self,
        id: RequestId,
        now: Timestamp,
        voter: Option<Identity>,
        next: impl FnOnce(&RequestRow) -> Result<RequestStep, Refusal> + Send + 'static,
    ) -> Result<RequestRow, RequestError> {
        let requests = self.clone();
        self.surely(async move {
            let store = &requests.inner.store;
            let row = match store.step_request(id, now, voter, next).await? {
                Ok(row) => row,
                Err(NotDone::Unknown) => return Err(RequestError::Unknown),
                Err(NotDone::Refused(refusal)) => return Err(refusal.into()),
                Err(NotDone::Expired) => return Err(Refusal::Expired.into()),
            };
            // Who stands on a grant that was taken away does not wait for the audit log.
            let told = requests.after().await;
            info!(request = %id, state = row.state.as_str(), "a request has changed");
            told.map(|()| row)
        })
        .await
    }

    async fn after(&self) -> Result<(), RequestError> {
        self.inner.changes.send_replace(());
        self.inner.wake.notify_one();
        Ok(self.inner.ledger.tell().await?)
    }

    async fn surely<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RequestError>> + Send + 'static,
    ) -> Result<T, RequestError> {
        match self.inner.tasks.spawn(work).await {
            Ok(done) => done,
            Err(_) => Err(RequestError::Store(StoreError::Stopped)),
        }
    }
}

/// What a person has to do with each of these.
fn parts(
    access: &Access,
    person: &Person<'_>,
    source: IpAddr,
    which: Which,
    rows: Vec<RequestRow>,
) -> Vec<(Part, RequestRow)> {
    let now = Timestamp::now();
    let all = which == Which::All;
    let audits = all && access.may_audit(person, source, now).is_ok();
    let mine = |identity: &Identity| {
        identity.issuer == person.issuer && identity.subject == person.subject
    };
    let mut deciding = HashMap::new();
    let seen = rows.into_iter().filter_map(|row| {
        let facts = &row.facts;
        if mine(&facts.requester.identity) {
            return Some((Part::Requester, row));
        }
        // What a policy can ask about a request, but for its name: a list may be long.
        let key = format!(
            "{:?}",
            (
                &facts.requester,
                &facts.target,
                &facts.login,
                &facts.approvers
            )
        );
        let decides = *deciding
            .entry(key)
            .or_insert_with(|| may_decide(access, person, &row, source, now).is_ok());
        if decides {
            return Some((Part::Decider, row));
        }
        let voted = row.votes.iter().any(|vote| mine(&vote.by.identity));
        (audits || (all && voted)).then_some((Part::Reader, row))
    });
    seen.collect()
}

/// Whether the policies let a person decide on a request, and which; what is demanded of the sign-in
/// is not asked.
///
/// # Errors
/// Why not.
pub(crate) fn may_decide(
    access: &Access,
    person: &Person<'_>,
    row: &RequestRow,
    source: IpAddr,
    now: Timestamp,
) -> Result<Vec<String>, Denied> {
    let id = row.id.to_string();
    access.may_decide_request(person, &decide::request_of(row, &id), source, now)
}

impl Decision {
    fn vote(&self, by: &Entitled, at: Timestamp) -> Vote {
        by.vote(self.approves, self.reason.as_deref(), at)
    }
}

/// The request with those of its voters, and of whoever votes now, among the gone whom the policies
/// do not let decide any more. An earlier word of the same person that counts no more makes way for
/// the one that is said now.
fn recalled(row: &RequestRow, own: &Vote, counts: impl Fn(&Vote) -> bool) -> RequestRow {
    let is_own = |vote: &Vote| vote.by.identity == own.by.identity;
    let mut left = row.clone();
    left.votes.retain(|vote| !is_own(vote) || counts(vote));
    let votes = row.votes.iter().filter(|vote| !is_own(vote)).chain([own]);
    let withdrawn = votes.filter(|vote| !counts(vote));
    left.gone
        .extend(withdrawn.map(|vote| vote.by.identity.clone()));
    left
}

fn voted(
    row: &RequestRow,
    by: Entitled,
    decision: Decision,
    policies: Vec<String>,
    now: Timestamp,
) -> Result<RequestStep, Refusal> {
    let pending = request_of(row).into_pending()?;
    let party = by.party().clone();
    // Who was entitled a moment ago may have been locked, or have left the groups, since.
    if row.gone.contains(&party.identity) {
        return Err(Refusal::NotEntitled);
    }
    let vote = decision.vote(&by, now);
    let keeps = |party: &Party| !row.gone.contains(&party.identity);
    let (to, expires_at, approvals) = if decision.approves {
        match pending.approve(by, now, keeps)? {
            Voted::Waiting(pending) => (Name::Pending, pending.expires_at, pending.approvals.len()),
            Voted::Approved(approved) => {
                let needed = usize::try_from(row.facts.needed).unwrap_or(usize::MAX);
                (Name::Approved, approved.expires_at, needed)
            }
        }
    } else {
        let approvals = pending.approvals.len();
        (pending.deny(by, now)?.into(), row.expires_at, approvals)
    };
    let (votes, withdrawn) = recounted(&row.votes, vote, keeps);
    let event = Event::AccessDecided {
        request: row.id.to_string(),
        user: who(&party),
        requester: who(&row.facts.requester),
        target: row.facts.target.clone(),
        login: row.facts.login.clone(),
        decision: if decision.approves { "approve" } else { "deny" }.to_owned(),
        words: decision.reason,
        approvals: u32::try_from(approvals).unwrap_or(u32::MAX),
        needed: row.facts.needed,
        until: (to == Name::Approved).then_some(expires_at),
        policies,
        withdrawn,
    };
    Ok(RequestStep {
        to,
        expires_at,
        votes,
        events: vec![event],
    })
}

fn voided(row: &RequestRow, why: &'static str) -> Result<RequestStep, Refusal> {
    let end = request_of(row).void()?;
    Ok(ended(row, end, None, Some(why.to_owned()), Vec::new()))
}

fn ended(
    row: &RequestRow,
    end: End,
    by: Option<Who>,
    reason: Option<String>,
    policies: Vec<String>,
) -> RequestStep {
    let to = Name::from(end);
    RequestStep {
        to,
        expires_at: row.expires_at,
        votes: row.votes.clone(),
        events: vec![Event::AccessEnded {
            request: row.id.to_string(),
            user: by,
            requester: who(&row.facts.requester),
            target: row.facts.target.clone(),
            login: row.facts.login.clone(),
            state: to.as_str().to_owned(),
            words: reason,
            policies,
        }],
    }
}

/// A row as the state machine knows it.
fn request_of(row: &RequestRow) -> Request {
    let terms = Terms {
        requester: row.facts.requester.clone(),
        needed: row.facts.needed,
        period: SignedDuration::from_secs(i64::try_from(row.facts.period_s).unwrap_or(i64::MAX)),
    };
    let expires_at = row.expires_at;
    let approvals = || {
        let approved = row.votes.iter().filter(|vote| vote.approves);
        approved.map(|vote| vote.by.clone()).collect()
    };
    let end = |end| Request::Ended(end);
    match row.state {
        Name::Pending => Request::Pending(Pending {
            terms,
            expires_at,
            approvals: approvals(),
        }),
        Name::Approved => Request::Approved(Approved { terms, expires_at }),
        Name::Denied => end(End::Denied),
        Name::Expired => end(End::Expired),
        Name::Withdrawn => end(End::Withdrawn),
        Name::Void => end(End::Void),
        Name::Over => end(End::Over),
        Name::Revoked => end(End::Revoked),
        Name::Returned => end(End::Returned),
    }
}

/// Names that are tried before it is given up.
const NAMES: usize = 16;
/// At least so often it is looked what is due.
const SWEEP: Duration = Duration::from_secs(30);
/// No sweep follows another sooner, whatever is due.
const SHORTEST_SWEEP: Duration = Duration::from_millis(20);
/// After the store could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Longer than any grant.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
