//! Who is this: the device flow, the checks of what the provider says, and leases.
//!
//! Owns everything between a proven key and a [`Lease`]. Opens no channel, speaks no SSH, and
//! decides nothing about targets: a lease says who somebody is, not what they may do.
//!
//! - `flow`: the device flow as a pure state machine (RFC 8628), told what time it is
//! - `issuer`: the only part that talks to the provider: HTTP, discovery, signing keys
//! - `token`: what an ID token must be to be believed
//! - `claims`: claims into a [`User`]
//! - `recheck`: the provider asked again, for as long as a lease lives
//! - `places`: how many sign-ins may be pending
//! - `probe`: whether the provider would do, for `bastion doctor`
//! - `text`: the words that a client sees
//!
//! [`Pending::finish`] polls while it is awaited, so a client that hangs up, and so drops it, has
//! stopped the polling. A re-check goes on without its caller, since a used refresh token must not
//! be lost; [`SignIns::close`] waits for those.

mod claims;
mod flow;
mod issuer;
mod places;
mod probe;
mod recheck;
mod refusal;
mod text;
mod token;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::{self, Instant};
use tokio_util::task::TaskTracker;

use crate::config;
use crate::ssh::keys::{HashAlg, PublicKey};
use crate::store::{Enrolment, Lock, Locked, SealKey, SignIn, Store, StoreError, Touched};
use flow::{Flow, Tokens, Waiting, Woken};
use issuer::{DeviceCode, Issuer};
use places::{Place, Places};
pub use probe::{ProbeError, Probed, probe};
pub use recheck::Over;
use recheck::Turns;
pub use refusal::{Crowd, LoginError, Reason, Refusal};
pub use token::TokenError;

/// A person: the issuer and the subject of the ID token (OpenID Connect Core 1.0, section 5.7),
/// compared byte by byte. Two issuers never meet; an e-mail address is nobody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `sub`.
    pub subject: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.subject, self.issuer)
    }
}

/// What the provider says about a person. Every string is free of control and format characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who it is.
    pub identity: Identity,
    /// The name to show; nothing is decided by it.
    pub name: String,
    /// The address, where the provider says that it has been verified; to show.
    pub email: Option<String>,
    /// The groups.
    pub groups: BTreeSet<String>,
    /// Which claim gave what, for `whoami --explain`.
    pub evidence: Vec<Evidence>,
    /// Who else this is, for decisions on holds.
    pub links: Links,
}

/// What says which accounts are of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// The claim `approval.same_person_claim`, where one is configured and given.
    pub same_person: Option<String>,
    /// A person, or a service that somebody answers for.
    pub account: Account,
}

/// What stands behind an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Somebody.
    #[default]
    Person,
    /// A pipeline or an agent: the token has the claim `approval.owner_claim`.
    Service {
        /// Its value, where it is a name.
        owner: Option<String>,
    },
}

/// What one claim gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The claim's name.
    pub claim: String,
    /// Where it was read.
    pub from: ClaimSource,
    /// What it gave.
    pub gave: Gave,
    /// The same in words, such as "2 groups" or "not a list: ignored".
    pub detail: String,
}

/// Where a claim was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimSource {
    /// In the ID token.
    IdToken,
    /// In the answer of the userinfo endpoint.
    Userinfo,
}

/// What a claim gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gave {
    /// The person.
    Identity,
    /// The name to show.
    Name,
    /// The address to show.
    Email,
    /// Groups.
    Groups,
    /// Nothing: it is missing, or not what it should be.
    Nothing,
}

/// The fingerprint of a public key: `SHA256:` and 43 characters, as OpenSSH prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(String);

impl KeyId {
    /// The fingerprint of this key.
    pub fn of(key: &PublicKey) -> Self {
        Self(key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// As OpenSSH prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that [`KeyId::of`] made and the store has kept.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sign-in that counts: this user, with this key, until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// Its number, for `leases` and `sign-out`.
    pub id: i64,
    /// Who signed in, with the claims of the person's latest sign-in.
    pub user: Arc<User>,
    /// The key that was proven; without one, the lease is for one connection.
    pub key: Option<KeyId>,
    /// When the provider's answer was verified.
    pub signed_in_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the provider last confirmed it; at first, the sign-in.
    pub checked_at: Timestamp,
    /// Where the client connected from.
    pub source: IpAddr,
}

/// Who wants to sign in.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The key that the client *has proven to hold*; one that was only offered is none.
    pub key: Option<KeyId>,
    /// Where the client connects from.
    pub source: IpAddr,
    /// The SSH user name as it was sent, for the instructions; made safe here.
    pub user_name: String,
}

/// Signs people in. A clone is cheap and shares everything: the limits, the provider's keys, the
/// store.
#[derive(Clone)]
pub struct SignIns {
    inner: Arc<Inner>,
}

struct Inner {
    oidc: config::Oidc,
    issuer: Issuer,
    places: Places,
    store: Store,
    seal: SealKey,
    turns: Turns,
    tasks: TaskTracker,
    wall: Wall,
    tell: Tell,
}

/// What happened to somebody's leases and keys, for the audit log and the sessions that run.
#[derive(Debug)]
pub enum News<'a> {
    /// The lease is over before its time.
    LeaseOver {
        /// As it was.
        lease: &'a Lease,
        /// Why.
        over: &'a Over,
    },
    /// The provider could not be asked about the lease, which goes on for now. Told once, until
    /// there is an answer.
    NotRechecked {
        /// As it is.
        lease: &'a Lease,
        /// What happened.
        cause: &'a str,
    },
    /// Somebody who was known has signed in with a key that was not.
    NewKey {
        /// With the key.
        lease: &'a Lease,
    },
}

/// Is told the news, at once; it must not wait.
pub type Tell = Arc<dyn Fn(News<'_>) + Send + Sync>;

/// Reads the wall clock.
pub type Wall = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What is the world's, and so is passed in: tests bring their own.
#[derive(Clone)]
pub struct World {
    /// The wall clock: tokens and leases live by it. Deadlines and polling do not.
    pub wall: Wall,
    /// Is told what becomes of leases.
    pub tell: Tell,
    /// How often the provider's signing keys may be fetched out of turn, because a token names one
    /// that is not known: once in this time.
    pub keys_pause: Duration,
}

impl Default for World {
    fn default() -> Self {
        Self {
            wall: Arc::new(Timestamp::now),
            tell: Arc::new(|news| tracing::info!(?news, "leases")),
            keys_pause: Duration::from_secs(60),
        }
    }
}

impl SignIns {
    /// Reads the client's secret and the provider's CA. Does not touch the network: the provider is
    /// asked at the first sign-in, and again when it did not answer. `seal` is for the tokens that
    /// the store keeps.
    ///
    /// # Errors
    ///
    /// When the issuer is neither https nor on loopback, the client's id is empty, or a file that
    /// the configuration names can't be used.
    pub fn new(
        oidc: config::Oidc,
        limits: &config::Limits,
        store: Store,
        seal: SealKey,
        world: World,
    ) -> Result<Self, LoginError> {
        Ok(Self {
            inner: Arc::new(Inner {
                issuer: Issuer::new(&oidc, world.keys_pause)?,
                places: Places::new(limits),
                oidc,
                store,
                seal,
                turns: Turns::default(),
                tasks: TaskTracker::new(),
                wall: world.wall,
                tell: world.tell,
            }),
        })
    }

    /// The live lease of a proven key. None where the person would not be let in today: another
    /// issuer is configured, a group is needed that the person is not in, or the provider says no.
    /// Where the provider was not asked in time, it is asked first; that takes at most three times
    /// `oidc.http_timeout`.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn lease(&self, key: &KeyId) -> Result<Option<Lease>, LoginError> {
        let now = self.inner.now();
        let stored = self.inner.store.lease_of_key(key, now).await?;
        let lease = self.confirmed(stored).await?;
        Ok(lease.and_then(|lease| self.inner.vetted(lease, self.inner.now())))
    }

    /// The same lease as it stands now, with the claims of the person's latest sign-in; none when it
    /// has ended.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn renewed(&self, lease: &Lease) -> Result<Option<Lease>, LoginError> {
        let now = self.inner.now();
        let stored = self.inner.store.lease(lease.id, now).await?;
        let stored = stored.filter(|stored| {
            stored.user.identity == lease.user.identity && stored.key == lease.key
        });
        let stored = self.confirmed(stored).await?;
        Ok(stored.and_then(|stored| self.inner.vetted(stored, self.inner.now())))
    }

    /// Waits until a lease is over, which is none, or its person is in other groups than `lease`
    /// says, which is the lease as it stands now. A store that cannot be read may come back, but not
    /// after the lease's end. Cancel-safe.
    pub(crate) async fn changed(&self, lease: &Lease) -> Option<Lease> {
        // Before the first look, so that no change falls between.
        let mut touched = self.inner.store.touched();
        loop {
            let until = match self.renewed(lease).await {
                Ok(None) => return None,
                Ok(Some(stands)) if stands.user.groups != lease.user.groups => return Some(stands),
                Ok(Some(stands)) => stands.expires_at,
                Err(error) => {
                    tracing::warn!(%error, "leases cannot be read");
                    if lease.expires_at <= self.inner.now() {
                        return None;
                    }
                    lease.expires_at
                }
            };
            let left = Duration::try_from(until.duration_since(self.inner.now()));
            let pause = left.unwrap_or_default().clamp(SHORTEST_LOOK, LOOK);
            tokio::select! {
                () = about(lease, &mut touched) => {}
                () = time::sleep(pause) => {}
            }
        }
    }

    /// Waits until a lease is over. Cancel-safe.
    pub(crate) async fn over(&self, lease: &Lease) {
        let mut lease = lease.clone();
        while let Some(stands) = self.changed(&lease).await {
            lease = stands;
        }
    }

    /// Whether the lease still counts: asked again at each channel that is opened.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn is_live(&self, lease: &Lease) -> Result<bool, LoginError> {
        Ok(self.renewed(lease).await?.is_some())
    }

    /// The live leases of one person, or of all; newest first.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn leases(&self, of: Option<&Identity>) -> Result<Vec<Lease>, LoginError> {
        let now = self.inner.now();
        let leases = self.inner.store.leases(of.cloned(), now).await?;
        Ok(leases
            .into_iter()
            .filter_map(|lease| self.inner.vetted(lease, now))
            .collect())
    }

    /// Ends one lease of a person, or all of them; says how many there were. The keys stay the
    /// person's.
    ///
    /// # Errors
    ///
    /// When the store can't be written; then none has ended.
    pub async fn sign_out(&self, user: &Identity, lease: Option<i64>) -> Result<usize, LoginError> {
        Ok(self.inner.store.end_leases(user, lease).await?)
    }

    /// Locks a user or a target; a user's leases end. Says how many.
    ///
    /// # Errors
    ///
    /// When the store can't be written; then nothing is locked.
    pub async fn lock(&self, lock: Lock) -> Result<usize, LoginError> {
        Ok(self.inner.store.lock(lock).await?)
    }

    /// Takes a lock away; says whether there was one.
    ///
    /// # Errors
    ///
    /// When the store can't be written; then it still holds.
    pub async fn unlock(&self, locked: Locked) -> Result<bool, LoginError> {
        Ok(self.inner.store.unlock(locked).await?)
    }

    /// All locks, the newest first.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn locks(&self) -> Result<Vec<Lock>, LoginError> {
        Ok(self.inner.store.locks().await?)
    }

    /// Whether a target is locked.
    ///
    /// # Errors
    ///
    /// When the store can't answer: then nobody is to reach the target.
    pub async fn is_target_locked(&self, target: &str) -> Result<bool, LoginError> {
        let target = Locked::Target(target.to_owned());
        Ok(self.inner.store.lock_of(target).await?.is_some())
    }

    /// The people who have signed in and are called so: by subject, `ISSUER#SUBJECT`, or the name
    /// that is shown.
    ///
    /// # Errors
    ///
    /// When the store can't answer.
    pub async fn people(&self, called: &str) -> Result<Vec<(Identity, String)>, LoginError> {
        Ok(self.inner.store.people(called).await?)
    }

    /// Asks the provider for a code. Takes at most twice `oidc.http_timeout`.
    ///
    /// # Errors
    ///
    /// When too many sign-ins are pending, a key is needed, or the provider can't be reached or is
    /// not configured right.
    pub async fn begin(&self, asker: Asker) -> Result<Pending, Refusal> {
        let inner = &self.inner;
        if inner.oidc.require_key && asker.key.is_none() {
            return Err(Reason::KeyNeeded.into());
        }
        let place = inner
            .places
            .take(asker.key.as_ref(), asker.source, Instant::now())?;
        let begun_at = inner.now();
        let last = match &asker.key {
            Some(key) => inner.store.last_sign_in(key).await.map_err(Reason::Store)?,
            None => None,
        };
        let code = inner.issuer.device_code().await?;
        let waiting = Waiting::begin(
            code.interval,
            code.life.min(inner.oidc.code_max_age),
            Instant::now(),
        );
        let instructions = text::instructions(&text::Facts {
            uri: &code.uri,
            complete_uri: code
                .complete_uri
                .as_deref()
                .filter(|_| inner.oidc.show_complete_uri),
            user_code: &code.user_code,
            asker: &asker,
            life: code.life.min(inner.oidc.code_max_age),
            last,
        });
        Ok(Pending {
            sign_ins: self.clone(),
            asker,
            code,
            waiting,
            instructions,
            begun_at,
            _place: place,
        })
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// Holds a stored lease against today's configuration, which may be stricter than the one it
    /// was given under.
    fn vetted(&self, mut lease: Lease, now: Timestamp) -> Option<Lease> {
        lease.expires_at = lease
            .expires_at
            .min(after(lease.signed_in_at, self.oidc.lease));
        let confirmed = self
            .confirmed_until(&lease)
            .is_none_or(|until| now < after(until, SLACK));
        let counts = confirmed
            && lease.expires_at > now
            && lease.user.identity.issuer == self.oidc.issuer
            && claims::may_connect(&lease.user.groups, &self.oidc.allowed_groups);
        counts.then_some(lease)
    }

    /// Turns what the provider issued into a lease, or refuses.
    async fn enrol(
        &self,
        tokens: Tokens,
        asker: &Asker,
        begun_at: Timestamp,
    ) -> Result<Lease, Refusal> {
        let believed = self.issuer.verify(&tokens.id_token, self.now()).await?;
        let userinfo = if claims::needs_userinfo(&believed, &self.oidc) {
            self.issuer
                .userinfo(&tokens.access_token, &believed.subject)
                .await?
        } else {
            None
        };
        let user = claims::user(&believed, userinfo.as_ref(), &self.oidc);
        if !claims::may_connect(&user.groups, &self.oidc.allowed_groups) {
            // Whoever is in no group today loses what an earlier day has given.
            let ended = self.store.end_leases(&user.identity, None).await;
            ended.map_err(Reason::Store)?;
            return Err(Reason::NoGroup {
                who: user.identity,
                why: claims::why_no_group(&user.evidence, &user.groups),
            }
            .into());
        }
        let seen = user.identity.clone();
        let means = self.means(&tokens, &seen)?;
        let now = self.now();
        let sign_in = SignIn {
            user,
            key: asker.key.clone(),
            source: asker.source,
            now,
            begun_at,
            expires_at: after(now, self.oidc.lease),
            means,
        };
        match self.store.sign_in(sign_in).await.map_err(Reason::Store)? {
            Enrolment::Lease { lease, new_key } => {
                if new_key {
                    (self.tell)(News::NewKey { lease: &lease });
                }
                Ok(lease)
            }
            Enrolment::Locked => Err(Reason::Locked { who: seen }.into()),
            Enrolment::KeyOfAnother(owner) => Err(Reason::WrongAccount { owner, seen }.into()),
        }
    }
}

/// A code that has been shown and not yet been used. Dropping it, or the future of
/// [`Pending::finish`], ends the polling at once and frees its place.
pub struct Pending {
    sign_ins: SignIns,
    asker: Asker,
    code: DeviceCode,
    waiting: Waiting,
    instructions: String,
    begun_at: Timestamp,
    _place: Place,
}

impl Pending {
    /// What to show: under 900 bytes of printable ASCII and line feeds, the URL and the code first.
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    /// When the code expires, if nobody uses it.
    pub fn expires(&self) -> Instant {
        self.waiting.expires()
    }

    /// Polls the provider until it answers or the code expires, and writes the sign-in down.
    ///
    /// Dropping the future stops the polling; it may have been too late to undo a lease that was
    /// just being written, which is then the person's by right.
    ///
    /// # Errors
    ///
    /// When the sign-in is refused, for one of the reasons of [`Reason`].
    pub async fn finish(self) -> Result<Lease, Refusal> {
        let inner = &self.sign_ins.inner;
        let mut waiting = self.waiting;
        loop {
            time::sleep_until(waiting.wake_at()).await;
            let due = match waiting.woke(Instant::now()) {
                Woken::Poll(due) => due,
                Woken::Refused(reason) => return Err(reason.into()),
            };
            let answer = inner.issuer.poll(&self.code).await;
            match due.answered(answer, Instant::now()) {
                Flow::Waiting(next) => waiting = next,
                Flow::Verifying(tokens) => {
                    return inner.enrol(tokens, &self.asker, self.begun_at).await;
                }
                Flow::Refused(reason) => return Err(reason.into()),
            }
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("asker", &self.asker)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// Waits for a write that may be about this lease.
async fn about(lease: &Lease, touched: &mut broadcast::Receiver<Touched>) {
    loop {
        match touched.recv().await {
            Ok(Touched::Person(identity)) if identity != lease.user.identity => {}
            Ok(Touched::Lease(id)) if id != lease.id => {}
            // Also after some were missed.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The waiting store keeps it open.
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// However quiet it is, a lease is looked at so often: clocks are set, and re-checks are overdue.
const LOOK: Duration = Duration::from_secs(60);
/// What is due is not looked at in a loop.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// `at` and `life` later; where the calendar ends, at once.
fn after(at: Timestamp, life: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(life)
        .ok()
        .and_then(|life| at.checked_add(life).ok())
        .unwrap_or(at)
}

/// A re-check that is due has so long to be done before the lease is of no use.
const SLACK: Duration = Duration::from_secs(60);

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(fuzzing)]
pub(crate) fn fuzz_key_set(body: &[u8]) {
    drop(token::Keys::parse(body));
}
