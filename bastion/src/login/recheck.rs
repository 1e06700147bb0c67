//! Asking the provider again about whoever has signed in: is the person still there, and in which
//! groups?
//!
//! One lease is asked about by one task at a time, since a refresh token may be good for one use: the
//! one that takes its place is on disk before anything else is done with the answer. A *no* ends the
//! lease. A provider that cannot be asked has said nothing, and `oidc.on_unreachable` decides; what
//! it decides is also held against every lease that is looked up, so that nothing depends on this
//! module having run in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::flow::Tokens;
use super::token::Believed;
use super::{
    Identity, Inner, Lease, LoginError, News, Reason, Refusal, SignIns, User, after, claims,
};
use crate::config::{GroupsFrom, OnUnreachable, RecheckBy};
use crate::store::{Means, MeansKind};

/// Which leases are being asked about, and when each was last asked about in vain.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<i64, Arc<Turn>>>);

/// Held while a lease is asked about. The value is the last time that there was no answer.
type Turn = tokio::sync::Mutex<Option<Instant>>;

impl Turns {
    fn of(&self, lease: i64) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(lease).or_default().clone()
    }

    /// Forgets the leases that nobody asks about and that were answered for.
    fn tidy(&self, pause: Duration) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| match turn.try_lock() {
            Ok(tried) => tried.is_some_and(|at| at.elapsed() < pause),
            Err(_) => true,
        });
    }
}

/// What came of asking.
enum Answer {
    /// Still there; this is what the provider says of the person today.
    Still(User),
    /// The provider says no.
    No(Over),
    /// Nothing was learnt.
    Unknown(String),
}

/// Why a lease is over before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The provider has ended the sign-in, or the person is gone there.
    Denied(String),
    /// The person is in no group any more that may connect.
    NoGroup(String),
    /// The provider could not be asked for too long.
    Unreachable(String),
}

impl Over {
    /// Whether every lease of the person is over, not this one alone.
    pub fn is_of_person(&self) -> bool {
        matches!(self, Self::NoGroup(_))
    }

    /// The line for the sessions that end with it.
    pub fn notice(&self) -> &'static str {
        match self {
            Self::Denied(_) => {
                "the session was ended: the identity provider has ended your sign-in; connect again to sign in"
            }
            Self::NoGroup(_) => {
                "the session was ended: your account is in no group any more that may connect"
            }
            Self::Unreachable(_) => {
                "the session was ended: your sign-in could not be checked with the identity provider; connect again to sign in"
            }
        }
    }
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(said) => write!(f, "the provider says no: {said}"),
            Self::NoGroup(why) => write!(f, "in no group that may connect: {why}"),
            Self::Unreachable(cause) => write!(f, "the provider could not be asked: {cause}"),
        }
    }
}

impl SignIns {
    /// Asks about each lease once in `oidc.recheck`, until `stop`; then finishes what was begun.
    pub async fn keep_rechecking(&self, stop: CancellationToken) {
        if self.inner.oidc.recheck_by == RecheckBy::None {
            return stop.cancelled().await;
        }
        let tick = (self.inner.oidc.recheck / 8).clamp(MIN_TICK, MAX_TICK);
        while !stop.is_cancelled() {
            if let Err(error) = self.recheck_due(&stop).await {
                warn!(%error, "leases cannot be re-checked");
            }
            self.inner.turns.tidy(self.inner.pause());
            tokio::select! {
                () = time::sleep(tick) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Waits for the re-checks that were begun on behalf of a caller who may have left.
    pub async fn close(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    async fn recheck_due(&self, stop: &CancellationToken) -> Result<(), LoginError> {
        let inner = &self.inner;
        let now = inner.now();
        let before = before(now, inner.oidc.recheck);
        let due = inner.store.unconfirmed(before, now, BATCH).await?;
        let mut asked = JoinSet::new();
        for lease in due {
            while asked.len() >= AT_ONCE {
                asked.join_next().await;
            }
            if stop.is_cancelled() {
                break;
            }
            let this = self.clone();
            asked.spawn(async move {
                if let Err(error) = this.recheck_in_turn(&lease).await {
                    warn!(lease = lease.id, %error, "not re-checked");
                }
            });
        }
        while asked.join_next().await.is_some() {}
        Ok(())
    }

    /// The lease as it stands, asked about first where that is overdue; none where it is over. The
    /// asking goes on when the caller stops waiting.
    pub(super) async fn confirmed(
        &self,
        stored: Option<Lease>,
    ) -> Result<Option<Lease>, LoginError> {
        let Some(lease) = stored else {
            return Ok(None);
        };
        let oidc = &self.inner.oidc;
        // The usual turn is not overtaken.
        let overdue = oidc.recheck + (oidc.recheck / 2).min(OVERDUE);
        if oidc.recheck_by == RecheckBy::None || !is_due(&lease, overdue, self.inner.now()) {
            return Ok(Some(lease));
        }
        let this = self.clone();
        let asked = self
            .inner
            .tasks
            .spawn(async move { this.recheck_in_turn(&lease).await });
        asked.await.unwrap_or(Ok(None))
    }

    /// Asks about one lease, unless somebody else has just done so.
    async fn recheck_in_turn(&self, lease: &Lease) -> Result<Option<Lease>, LoginError> {
        let inner = &self.inner;
        let turn = inner.turns.of(lease.id);
        let mut tried = turn.lock().await;
        let Some(lease) = inner.store.lease(lease.id, inner.now()).await? else {
            return Ok(None);
        };
        let just_tried = tried.is_some_and(|at| at.elapsed() < inner.pause());
        if just_tried || !is_due(&lease, inner.oidc.recheck, inner.now()) {
            return Ok(Some(lease));
        }
        match inner.ask(&lease).await? {
            Answer::Still(user) => {
                *tried = None;
                inner.still(lease, user).await
            }
            Answer::No(over) => inner.over(&lease, over).await.map(|()| None),
            Answer::Unknown(cause) => {
                let first = tried.replace(Instant::now()).is_none();
                inner.unknown(lease, cause, first).await
            }
        }
    }
}

impl Inner {
    /// With what the provider can be asked again, out of what it has issued.
    pub(super) fn means(&self, tokens: &Tokens, who: &Identity) -> Result<Option<Means>, Refusal> {
        let access = || {
            self.sealed(
                MeansKind::Access,
                &tokens.access_token,
                tokens.access_life,
                who,
            )
        };
        let refresh = |token| self.sealed(MeansKind::Refresh, token, None, who);
        let means = match (self.oidc.recheck_by, &tokens.refresh_token) {
            (RecheckBy::None, _) => return Ok(None),
            (RecheckBy::Userinfo, _) | (RecheckBy::Auto, None) => access(),
            (RecheckBy::Auto | RecheckBy::Refresh, Some(token)) => refresh(token),
            (RecheckBy::Refresh, None) => {
                return Err(Reason::Misconfigured {
                    what: "it issued no refresh token; allow the scope offline_access for this client, or set oidc.recheck_by".into(),
                }
                .into());
            }
        };
        means.map(Some).map_err(|error| Reason::Seal(error).into())
    }

    fn sealed(
        &self,
        kind: MeansKind,
        token: &SecretString,
        life: Option<Duration>,
        who: &Identity,
    ) -> Result<Means, crate::store::SealError> {
        Ok(Means {
            kind,
            sealed: self.seal.seal(&belongs_to(who), token)?,
            until: life.map(|life| after(self.now(), life)),
        })
    }

    async fn ask(&self, lease: &Lease) -> Result<Answer, LoginError> {
        let unknown = |why: &str| Ok(Answer::Unknown(why.to_owned()));
        let Some(means) = self.store.means(lease.id).await? else {
            return unknown("the sign-in brought nothing to ask with");
        };
        let Some(token) = self
            .seal
            .open(&belongs_to(&lease.user.identity), &means.sealed)
        else {
            return unknown("its token was sealed with another store_key");
        };
        match means.kind {
            MeansKind::Refresh if self.oidc.recheck_by != RecheckBy::Userinfo => {
                self.ask_by_refresh(lease, &token).await
            }
            MeansKind::Refresh => unknown("it was signed in with another oidc.recheck_by"),
            MeansKind::Access if means.until.is_some_and(|until| until <= self.now()) => unknown(
                "the access token has ended, and there is no refresh token (scope offline_access)",
            ),
            MeansKind::Access => Ok(self.ask_at_userinfo(lease, None, &token).await),
        }
    }

    async fn ask_by_refresh(
        &self,
        lease: &Lease,
        token: &SecretString,
    ) -> Result<Answer, LoginError> {
        let who = &lease.user.identity;
        let refreshed = match self.issuer.refresh(token).await {
            Ok(refreshed) => refreshed,
            Err(reason) => return Ok(answer_of(reason)),
        };
        if let Some(rotated) = &refreshed.refresh_token {
            let means = self
                .sealed(MeansKind::Refresh, rotated, None, who)
                .map_err(LoginError::Seal)?;
            // The lease may have ended meanwhile; then this is nobody's token.
            self.store.keep_means(lease.id, means).await?;
        }
        let believed = match &refreshed.id_token {
            None => None,
            Some(id_token) => match self.issuer.verify(id_token, self.now()).await {
                Ok(believed)
                    if believed.subject == who.subject && believed.issuer == who.issuer =>
                {
                    Some(believed)
                }
                Ok(_) => {
                    return Ok(Answer::No(Over::Denied(
                        "the refresh brought another person's ID token".into(),
                    )));
                }
                Err(reason) => return Ok(answer_of(reason)),
            },
        };
        Ok(self
            .ask_at_userinfo(lease, believed, &refreshed.access_token)
            .await)
    }

    /// What the provider says of the person, from the ID token where there is a new one and from
    /// userinfo where that is needed.
    async fn ask_at_userinfo(
        &self,
        lease: &Lease,
        believed: Option<Believed>,
        access_token: &SecretString,
    ) -> Answer {
        let who = &lease.user.identity;
        let fresh = believed.is_some();
        let believed = believed.unwrap_or_else(|| Believed {
            issuer: who.issuer.clone(),
            subject: who.subject.clone(),
            claims: serde_json::Map::new(),
        });
        let userinfo = if fresh && !claims::needs_userinfo(&believed, &self.oidc) {
            None
        } else {
            match self.issuer.userinfo(access_token, &who.subject).await {
                Ok(None) if !fresh => {
                    return Answer::Unknown("it has no userinfo, and sent no ID token".into());
                }
                Ok(userinfo) => userinfo,
                Err(reason) => return answer_of(reason),
            }
        };
        if !fresh && self.oidc.groups_from == GroupsFrom::IdToken {
            // The person is there; of the groups there is no newer word than the sign-in's.
            return Answer::Still(lease.user.as_ref().clone());
        }
        let mut user = claims::user(&believed, userinfo.as_ref(), &self.oidc);
        if user.name == who.subject {
            // Nobody said a name this time.
            user.name.clone_from(&lease.user.name);
        }
        Answer::Still(user)
    }

    async fn still(&self, mut lease: Lease, user: User) -> Result<Option<Lease>, LoginError> {
        if !claims::may_connect(&user.groups, &self.oidc.allowed_groups) {
            let why = claims::why_no_group(&user.evidence, &user.groups);
            return self.over(&lease, Over::NoGroup(why)).await.map(|()| None);
        }
        let now = self.now();
        lease.user = Arc::new(user);
        lease.checked_at = now;
        let there = self.store.confirm(&lease, now).await?;
        Ok(there.then_some(lease))
    }

    async fn unknown(
        &self,
        lease: Lease,
        cause: String,
        first: bool,
    ) -> Result<Option<Lease>, LoginError> {
        let goes_on = match self.confirmed_until(&lease) {
            None => true,
            Some(_) if self.oidc.on_unreachable == OnUnreachable::End => false,
            Some(until) => self.now() < until,
        };
        if !goes_on {
            return self
                .over(&lease, Over::Unreachable(cause))
                .await
                .map(|()| None);
        }
        warn!(lease = lease.id, %cause, "a lease could not be re-checked and goes on");
        if first {
            (self.tell)(News::NotRechecked {
                lease: &lease,
                cause: &cause,
            });
        }
        Ok(Some(lease))
    }

    /// Ends a lease, and says so even where the store can't be written: sessions end all the same.
    async fn over(&self, lease: &Lease, over: Over) -> Result<(), LoginError> {
        let ended = if over.is_of_person() {
            let all = self.store.end_leases(&lease.user.identity, None).await;
            all.map(|_| ())
        } else {
            self.store.end_lease(lease.id).await.map(|_| ())
        };
        info!(lease = lease.id, %over, "a lease is over");
        (self.tell)(News::LeaseOver { lease, over: &over });
        Ok(ended?)
    }

    /// Until when a lease counts without another answer of the provider; none where it always does.
    pub(super) fn confirmed_until(&self, lease: &Lease) -> Option<Timestamp> {
        let grace = match (self.oidc.recheck_by, self.oidc.on_unreachable) {
            (RecheckBy::None, _) | (_, OnUnreachable::Keep) => return None,
            (_, OnUnreachable::Grace) => self.oidc.grace,
            (_, OnUnreachable::End) => Duration::ZERO,
        };
        Some(after(lease.checked_at, self.oidc.recheck + grace))
    }

    /// How long a lease is let alone after nothing was learnt.
    fn pause(&self) -> Duration {
        (self.oidc.recheck / 4).clamp(MIN_TICK, MAX_PAUSE)
    }
}

/// Only a no is a no.
fn answer_of(reason: Reason) -> Answer {
    match reason {
        Reason::Denied { said } => Answer::No(Over::Denied(said)),
        reason => Answer::Unknown(Refusal::from(reason).to_string()),
    }
}

fn is_due(lease: &Lease, age: Duration, now: Timestamp) -> bool {
    // A clock that was set back does not put the asking off.
    after(lease.checked_at, age) <= now || lease.checked_at > after(now, MAX_PAUSE)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(age)
        .ok()
        .and_then(|age| now.checked_sub(age).ok())
        .unwrap_or(now)
}

/// What a token is sealed for: a person, so that no other's row can use it.
fn belongs_to(who: &Identity) -> String {
    format!("oidc token of {}#{}", who.issuer, who.subject)
}

/// Leases that are looked at in one go.
const BATCH: usize = 10_000;
/// Leases that are asked about at once.
const AT_ONCE: usize = 4;
const MIN_TICK: Duration = Duration::from_millis(100);
const MAX_TICK: Duration = Duration::from_secs(10);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Beyond this past its time, a lease is asked about by whoever needs it.
const OVERDUE: Duration = Duration::from_secs(30);
