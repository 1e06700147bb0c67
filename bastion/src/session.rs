//! One session: a channel of a client that runs something, on a target or in the console.
//!
//! Owns the order in which a session comes to be (lease, access, recording, target) and what the
//! client is told when it does not. The way of its bytes is `pump`'s.

mod agent;
mod hold;
mod notice;
mod pump;
mod registry;
mod rendition;
mod sftp;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use scanner::{Coverage, Scanner};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::{
    self, Access, Action, Current, Denied, Grant, Person, Question, Reason, SamePerson,
};
use crate::audit::{Audit, Event, Who};
use crate::config::{Approval, Limits, OnRevoke, chain};
use crate::holds::{Holds, Party};
use crate::login::{Account, KeyId, Lease, SignIns};
use crate::name::Destination;
use crate::notify::{self, Marked, Notifier};
use crate::record::{
    About, End, ExitStatus, Keeper, Kept, Kind, RecordError, Recorder, Recording, SignedIn,
};
use crate::requests::Requests;
use crate::ssh::{
    AgentOpener, ClientEnd, ClientWriter, ConnectionId, Ended, Opening, Pty, TargetEnd, Wanted,
    dial,
};
use crate::target::{HostCa, UserCa};

pub(crate) use notice::Notices;
pub(crate) use pump::Why;
use registry::Active;
pub(crate) use registry::{Of, Registry};
#[cfg(fuzzing)]
pub(crate) use sftp::fuzz as fuzz_sftp;

/// What a connection needs of the other rooms.
pub(crate) struct Rooms {
    /// What users type after the last `@`.
    pub(crate) name: String,
    /// The address that clients connect to, where `config` names one.
    pub(crate) port: u16,
    /// The server's public host keys.
    pub(crate) host_keys: Vec<crate::ssh::keys::PublicKey>,
    pub(crate) limits: Limits,
    pub(crate) require_key: bool,
    pub(crate) sign_ins: SignIns,
    pub(crate) access: Current,
    pub(crate) on_revoke: OnRevoke,
    pub(crate) user_ca: Option<UserCa>,
    pub(crate) host_ca: Option<HostCa>,
    pub(crate) recorder: Recorder,
    pub(crate) audit: Audit,
    pub(crate) registry: Registry,
    pub(crate) holds: Holds,
    pub(crate) requests: Requests,
    pub(crate) notifier: Notifier,
    pub(crate) approval: Approval,
}

impl Rooms {
    /// The policies in force now.
    pub(crate) fn access(&self) -> Arc<Access> {
        self.access.now()
    }
}

/// What a client asked for on one channel.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) lease: Arc<Lease>,
    pub(crate) destination: Destination,
    pub(crate) source: IpAddr,
    pub(crate) connection: ConnectionId,
    pub(crate) opening: Opening,
    pub(crate) pty: Option<Pty>,
    pub(crate) env: Vec<(String, String)>,
    /// Opens channels to the client's agent, where the client lets it be asked.
    pub(crate) agent: Option<AgentOpener>,
    /// What the connection was refused before, where no line could be shown.
    pub(crate) unmet: Option<&'static str>,
    /// Whether `approval.same_person_claim` is configured.
    pub(crate) same_person_asked: bool,
}

impl Asked {
    /// Who asks, as holds keep it.
    pub(crate) fn party(&self) -> Party {
        Party::of(&self.lease.user, self.same_person_asked)
    }

    /// Whether the client does not wait for decisions.
    fn detaches(&self) -> bool {
        self.env
            .iter()
            .any(|(name, value)| name == "BASTION_HOLD" && value == "detach")
    }

    /// Who asks, as `access` wants to know it.
    pub(crate) fn person(&self) -> Person<'_> {
        let user = &self.lease.user;
        Person {
            issuer: &user.identity.issuer,
            subject: &user.identity.subject,
            name: &user.name,
            email: user.email.as_deref(),
            same_person: match (self.same_person_asked, &user.links.same_person) {
                (false, _) => SamePerson::NotAsked,
                (true, None) => SamePerson::Missing,
                (true, Some(value)) => SamePerson::Is(value),
            },
            kind: match &user.links.account {
                Account::Person => access::Kind::Person,
                Account::Service { owner } => access::Kind::Service {
                    owner: owner.as_deref(),
                },
            },
            groups: &user.groups,
            signed_in_at: self.lease.signed_in_at,
            key: self.lease.key.as_ref().map(KeyId::as_str),
        }
    }
}

impl Lease {
    /// Whose it is, for the audit log.
    pub(crate) fn who(&self) -> Who {
        Who {
            issuer: self.user.identity.issuer.clone(),
            subject: self.user.identity.subject.clone(),
            name: self.user.name.clone(),
        }
    }
}

/// Carries one channel from its request to its close. Never fails: whatever goes wrong is said to
/// the client and to the log.
pub(crate) async fn run(
    rooms: Arc<Rooms>,
    mut asked: Asked,
    client: ClientEnd,
    stop: CancellationToken,
) {
    let notices = Notices::new(&asked.env, asked.pty.is_some());
    // With the claims of the latest sign-in: a group that was lost since counts no more.
    match rooms.sign_ins.renewed(&asked.lease).await {
        Ok(Some(lease)) => asked.lease = Arc::new(lease),
        Ok(None) => {
            let line = "your sign-in has ended; connect again to sign in";
            return give_up(&client.writer, &notices, line, NOT_ALLOWED).await;
        }
        Err(error) => {
            warn!(connection = %asked.connection, %error, "leases cannot be read");
            let line = "the sign-in cannot be checked now; try again later";
            return give_up(&client.writer, &notices, line, NOT_ALLOWED).await;
        }
    }
    if let Some(line) = asked.unmet {
        // The session goes on without it.
        last_line(&client.writer, notices.note(line)).await;
    }
    match asked.destination.clone() {
        Destination::Console => crate::console::run(&rooms, asked, client, stop).await,
        Destination::Target { login, target } => {
            proxy(
                &rooms,
                asked,
                login.as_str(),
                target.as_str(),
                client,
                notices,
                stop,
            )
            .await;
        }
    }
}

async fn proxy(
    rooms: &Arc<Rooms>,
    asked: Asked,
    login: &str,
    target: &str,
    mut client: ClientEnd,
    notices: Notices,
    stop: CancellationToken,
) {
    // From before the decision, so that no change is missed.
    let changes = rooms.access.changes();
    let permitted = match permit(rooms, &asked, login, target).await {
        Ok(permitted) => permitted,
        Err(Refused { line, status }) => {
            return give_up(&client.writer, &notices, &line, status).await;
        }
    };
    let Permitted {
        access,
        grant,
        approved_until,
    } = permitted;
    let (mut session, active) = match Session::begin(rooms, &asked, login, target, &grant).await {
        Ok(begun) => begun,
        Err(Refused { line, status }) => {
            return give_up(&client.writer, &notices, &line, status).await;
        }
    };
    let origin = session.origin(&grant);
    if let (Some(terms), Some(command)) = (grant.command_hold(), grant.command()) {
        let held = hold::HeldCommand {
            holds: &rooms.holds,
            terms,
            command,
            origin: origin.clone(),
        };
        let approved = session
            .command_approved(held, &grant, (&mut client, &notices), &active, &stop)
            .await;
        if let Err(why) = approved {
            session.never_ran(why.notice()).await;
            let (line, status) = (why.notice().to_owned(), why.status());
            return give_up(&client.writer, &notices, &line, status).await;
        }
    }

    let agent_grant = match agent::granted(rooms, &asked, login, target, approved_until) {
        Ok(granted) => granted,
        Err(line) => {
            // The session goes on without.
            client
                .writer
                .notice(notices.note(&line))
                .await
                .unwrap_or(());
            None
        }
    };
    let mut target_end = match session.dial(&grant, agent_grant.is_some(), &stop).await {
        Ok(end) => end,
        Err(line) => {
            session.never_ran(line).await;
            return give_up(&client.writer, &notices, line, UNREACHABLE).await;
        }
    };
    client.writer.opened().await;
    let mut agents = agent::Agents::new(
        rooms,
        &asked,
        (login, target),
        target_end.agents.take().filter(|_| agent_grant.is_some()),
    );
    let direction = direction(&grant);
    let rules = grant.rules();
    let holding = hold::Holding::new(&rooms.holds, &grant, &notices, origin, &access);
    if rules.may_hold() {
        // Nothing is sealed, and what was released does not end, while a client takes nothing.
        client.writer.hurry();
    }
    let ids = holding.ids();
    let refused = |what: &str| write_refusal(rooms, &asked, what);
    let keeper = session.recording.keeper();
    let pump = pump::Pump {
        one_way: direction.map(|direction| {
            let line = notices.note(direction.notice());
            pump::OneWay::new(sftp::Gate::new(direction), line, &refused)
        }),
        rules: rules.clone(),
        scanner: Scanner::new(
            rules,
            scanner::Options {
                pty: asked.pty.is_some(),
            },
        )
        .with_session(session.id.as_bytes())
        .with_record_max(rooms.holds.record_max())
        .with_hold_ids(move |rule| ids.make(rule)),
        holding,
        seal_quiet: rooms.holds.seal_quiet(),
        recording: &mut session.recording,
        client: &mut client,
        target: target_end,
        pty: asked.pty.is_some(),
        life: rooms.limits.session_life,
        resize_every: resize_every(&rooms.limits),
        stop: active.stop(&stop),
    };
    let carried = tokio::select! {
        carried = pump.run() => carried,
        never = keep_recorded(rooms, &asked, (&session.id, target, login), keeper, &active) => match never {},
        never = end_with_lease(rooms, &asked, &grant, &active) => match never {},
        never = end_when_revoked(rooms, changes, &asked, &grant, &active) => match never {},
        never = end_with_approval(rooms, &asked, &grant, &active) => match never {},
        never = agents.serve() => match never {},
    };
    agents.end().await;
    let covered = grant.covered();
    // The recording is whole before the client hears the status.
    session.finish(&carried, covered).await;
    say_goodbye(&client.writer, &notices, &carried).await;
    // Only now is the session over for whoever waits for it to be.
    drop(active);
}

/// In which direction only files may go; `None` for both, and for everything else.
fn direction(grant: &Grant) -> Option<sftp::Direction> {
    let may = |action| grant.actions().contains(&action);
    match (may(Action::SftpRead), may(Action::SftpWrite)) {
        (false, false) | (true, true) => None,
        (true, false) => Some(sftp::Direction::Down),
        (false, true) => Some(sftp::Direction::Up),
    }
}

/// Writes a request of sftp down that did not go on.
fn write_refusal(rooms: &Rooms, asked: &Asked, what: &str) {
    let refused = Event::RequestRefused {
        connection: asked.connection.to_string(),
        user: asked.lease.who(),
        source: asked.source,
        request: "sftp".to_owned(),
        what: what.to_owned(),
    };
    // It happens whether it can be written down or not: nothing is granted.
    if let Err(error) = rooms.audit.record_soon(refused) {
        warn!(connection = %asked.connection, %error, "not audited");
    }
}

/// Why a session does not begin: the line that its client reads, and the status.
struct Refused {
    line: String,
    status: u32,
}

impl Refused {
    fn new(line: impl Into<String>, status: u32) -> Self {
        let line = line.into();
        Self { line, status }
    }
}

/// What was decided on a channel that may begin.
struct Permitted {
    access: Arc<Access>,
    grant: Grant,
    /// Until when, where that is an approved request's doing.
    approved_until: Option<jiff::Timestamp>,
}

/// Decides on a channel, on a target that is not locked.
async fn permit(
    rooms: &Rooms,
    asked: &Asked,
    login: &str,
    target: &str,
) -> Result<Permitted, Refused> {
    let locked = rooms.sign_ins.is_target_locked(target).await;
    let locked = locked.map_err(|error| {
        warn!(connection = %asked.connection, %error, "locks cannot be read");
        Refused::new(
            "the bastion cannot decide now; try again later",
            NOT_ALLOWED,
        )
    })?;
    let approved_until = approved_until(rooms, asked, login, target)
        .await
        .map_err(|line| Refused::new(line, NOT_ALLOWED))?;
    let (access, grant) = decide(rooms, asked, login, target, approved_until)
        .map_err(|line| Refused::new(line, NOT_ALLOWED))?;
    if locked {
        // Whoever would not be allowed there without the lock has learnt what they learn of a target
        // that does not exist.
        return Err(locked_out(rooms, asked, login, target));
    }
    Ok(Permitted {
        access,
        grant,
        approved_until,
    })
}

/// Writes down that a target's lock is all that kept a channel from it.
fn locked_out(rooms: &Rooms, asked: &Asked, login: &str, target: &str) -> Refused {
    let denied = Event::ChannelDenied {
        connection: asked.connection.to_string(),
        user: asked.lease.who(),
        source: asked.source,
        target: target.to_owned(),
        login: login.to_owned(),
        action: "connect".to_owned(),
        command: None,
        command_base64: None,
        reason: "the target is locked".to_owned(),
        policies: Vec::new(),
    };
    if let Err(error) = rooms.audit.record_soon(denied) {
        warn!(connection = %asked.connection, %error, "not audited");
    }
    Refused::new(LOCKED, NOT_ALLOWED)
}

/// Has a session recorded again that goes on unrecorded, and says so where it is seen: in the audit
/// log, the metrics and the journal. Never returns.
async fn keep_recorded(
    rooms: &Rooms,
    asked: &Asked,
    (session, target, login): (&str, &str, &str),
    mut keeper: Keeper,
    active: &Active,
) -> std::convert::Infallible {
    loop {
        match keeper.next().await {
            Kept::Lost(reason) => {
                active.unrecorded();
                let lost = Event::RecordingLost {
                    session: session.to_owned(),
                    user: asked.lease.who(),
                    target: target.to_owned(),
                    login: login.to_owned(),
                    reason,
                };
                // The recorder writes it down with the gap, as soon as there is one again.
                if let Err(error) = rooms.audit.record_soon(lost) {
                    warn!(session, %error, "not audited");
                }
            }
            Kept::Again(id, gap) => {
                warn!(session, part = %id, %gap, "the session is recorded again");
                crate::metrics::global().recorded_again(gap.bytes);
                active.rename(id.as_str());
            }
        }
    }
}

/// Ends the session with its lease: expired, signed out, the user's groups no longer let them in, or
/// would not have let them do what the session does. Never returns.
async fn end_with_lease(
    rooms: &Rooms,
    asked: &Asked,
    grant: &Grant,
    active: &Active,
) -> std::convert::Infallible {
    let mut lease = Arc::clone(&asked.lease);
    while let Some(stands) = rooms.sign_ins.changed(&lease).await {
        if !allows_still(&rooms.access(), asked, grant, &stands.user.groups) {
            info!(connection = %asked.connection, user = ?stands.user.name, "the groups no longer allow it");
            active.cut(LOST_GROUPS);
        }
        lease = Arc::new(stands);
    }
    // Whoever has ended it says why, where they know.
    tokio::time::sleep(SAYS_WHY).await;
    active.end();
    std::future::pending().await
}

/// Ends the session where policies come into force that would not have let it in. The question is
/// that of its beginning: a sign-in that has grown old meanwhile, or an evening that has come, is
/// not the new policies' doing. Never returns.
async fn end_when_revoked(
    rooms: &Rooms,
    mut changes: watch::Receiver<Arc<Access>>,
    asked: &Asked,
    grant: &Grant,
    active: &Active,
) -> std::convert::Infallible {
    while changes.changed().await.is_ok() {
        let access = changes.borrow_and_update().clone();
        // With the groups of this moment: one that was lost and did not matter may matter now.
        let lease = match rooms.sign_ins.renewed(&asked.lease).await {
            Ok(Some(lease)) => Arc::new(lease),
            // Without a lease the session ends for that.
            Ok(None) | Err(_) => Arc::clone(&asked.lease),
        };
        if !allows_still(&access, asked, grant, &lease.user.groups)
            && rooms.on_revoke == OnRevoke::Cut
        {
            active.cut(REVOKED);
        }
    }
    std::future::pending().await
}

/// Ends the session when the approved request that alone allows it is over, or was taken away. Never
/// returns.
async fn end_with_approval(
    rooms: &Rooms,
    asked: &Asked,
    grant: &Grant,
    active: &Active,
) -> std::convert::Infallible {
    if let (Some(until), OnRevoke::Cut) = (grant.until(), rooms.on_revoke) {
        let left = until.duration_since(grant.given_at());
        let left = Duration::try_from(left).unwrap_or_default();
        let (login, target) = (grant.login().name(), grant.target().name());
        let identity = &asked.lease.user.identity;
        rooms.requests.over(identity, login, target, left).await;
        active.cut(APPROVAL_OVER);
    }
    std::future::pending().await
}

/// Whether the sign-in, the policies and the approval of this moment let the session go on; the line
/// that says why not.
async fn still_allowed(rooms: &Rooms, asked: &Asked, grant: &Grant) -> Result<(), &'static str> {
    // Whatever `on_revoke` says: what is asked here has not begun.
    if grant.until().is_some() {
        let (login, target) = (grant.login().name(), grant.target().name());
        let left = rooms
            .requests
            .left(&asked.lease.user.identity, login, target);
        if !matches!(left.await, Ok(Some(_))) {
            return Err(APPROVAL_OVER);
        }
    }
    match rooms.sign_ins.renewed(&asked.lease).await {
        Ok(Some(lease)) if allows_still(&rooms.access(), asked, grant, &lease.user.groups) => {
            Ok(())
        }
        Ok(Some(_)) => Err(REVOKED),
        Ok(None) | Err(_) => Err(LOST_GROUPS),
    }
}

/// Whether the session would have been let in as it began, by these policies and with these groups.
fn allows_still(access: &Access, asked: &Asked, grant: &Grant, groups: &BTreeSet<String>) -> bool {
    grant.actions().iter().all(|action| {
        let person = Person {
            groups,
            ..asked.person()
        };
        let question = Question {
            person,
            now: grant.given_at(),
            approved_until: grant.until(),
            ..question(asked, grant.login().name(), grant.target().name(), *action)
        };
        access.decide(&question).is_ok()
    })
}

/// A session that is being recorded.
struct Session<'a> {
    rooms: &'a Rooms,
    asked: &'a Asked,
    id: String,
    login: &'a str,
    target: &'a str,
    kind: Kind,
    recording: Recording,
}

impl<'a> Session<'a> {
    /// Begins a session that was decided on: recorded, where `end` and locks find it, and audited.
    async fn begin(
        rooms: &'a Arc<Rooms>,
        asked: &'a Asked,
        login: &'a str,
        target: &'a str,
        grant: &Grant,
    ) -> Result<(Self, Active), Refused> {
        let about = about(asked, login, target, grant);
        let kind = about.kind;
        let recording = rooms.recorder.start(about).await.map_err(|error| {
            warn!(connection = %asked.connection, %error, "nothing can be recorded");
            Refused::new(error.notice(), REFUSED)
        })?;
        let id = recording.id().to_string();
        let active = rooms.registry.begin(
            &id,
            Of {
                identity: asked.lease.user.identity.clone(),
                lease: asked.lease.id,
                target: target.to_owned(),
                login: login.to_owned(),
            },
        );
        let mut session = Self {
            rooms,
            asked,
            id,
            login,
            target,
            kind,
            recording,
        };
        match session.tell_of(grant).await {
            Ok(()) => Ok((session, active)),
            Err((reason, refused)) => {
                session.never_ran(&reason).await;
                Err(refused)
            }
        }
    }

    /// Tells the audit log and whoever has to know; or why the recording ends at once, and what the
    /// client reads.
    async fn tell_of(&mut self, grant: &Grant) -> Result<(), (String, Refused)> {
        let refused = |line: &str, status| (line.to_owned(), Refused::new(line, status));
        // A lock that came since the first look has not seen this session.
        if !matches!(
            self.rooms.sign_ins.is_target_locked(self.target).await,
            Ok(false)
        ) {
            return Err(refused(LOCKED, NOT_ALLOWED));
        }
        if let Err(error) = self.rooms.audit.record_soon(self.started()) {
            warn!(session = %self.id, %error, "not audited");
            let line = "the session cannot be audited, so it does not start";
            return Err((error.notice().to_owned(), Refused::new(line, REFUSED)));
        }
        info!(session = %self.id, connection = %self.asked.connection, user = ?self.asked.lease.user.name, login = self.login, target = self.target, "session started");
        if grant.marks().break_glass {
            let marked = self.mark_emergency(grant).await;
            marked.map_err(|error| refused(error.notice(), REFUSED))?;
        }
        let announced = self.announce(grant).await;
        announced.map_err(|line| refused(line, REFUSED))
    }

    /// Waits for the decision on the command itself.
    async fn command_approved(
        &mut self,
        held: hold::HeldCommand<'_>,
        grant: &Grant,
        (client, notices): (&mut ClientEnd, &Notices),
        active: &Active,
        stop: &CancellationToken,
    ) -> Result<(), Why> {
        let (rooms, asked) = (self.rooms, self.asked);
        let stop = active.stop(stop);
        let keeper = self.recording.keeper();
        let about = (self.id.as_str(), self.target, self.login);
        let approved = held.approved(&mut self.recording, client, notices, &stop);
        tokio::select! {
            approved = approved => approved,
            never = keep_recorded(rooms, asked, about, keeper, active) => match never {},
            never = end_with_lease(rooms, asked, grant, active) => match never {},
            never = end_with_approval(rooms, asked, grant, active) => match never {},
        }?;
        // It may have come hours after the grant.
        still_allowed(rooms, asked, grant).await.map_err(Why::Ended)
    }

    fn started(&self) -> Event {
        Event::SessionStarted {
            connection: self.asked.connection.to_string(),
            session: self.id.clone(),
            user: self.asked.lease.who(),
            target: self.target.to_owned(),
            login: self.login.to_owned(),
            kind: self.kind.to_string(),
            recording: Some(self.recording.mode())
                .filter(|mode| !mode.is_strict())
                .map(|mode| mode.to_string()),
            to: match (&self.asked.opening, self.kind) {
                (Opening::Forward(place), Kind::Forward) => Some(place.as_str().to_owned()),
                _ => None,
            },
        }
    }

    /// For what is held of it.
    fn origin(&self, grant: &Grant) -> hold::Origin {
        hold::Origin {
            producer: self.asked.party(),
            session: self.id.clone(),
            target: self.target.to_owned(),
            login: self.login.to_owned(),
            command: grant.command().map(crate::console::exact),
            pty: self.asked.pty.is_some(),
            approved: grant.until().is_some(),
            detach: self.asked.detaches(),
            bastion: self.rooms.name.clone(),
        }
    }

    /// What is told of a session that a policy marks `@notify`.
    /// Whoever is to hear of it will, where a policy has marked it; the error is the line for the
    /// client.
    async fn announce(&self, grant: &Grant) -> Result<(), &'static str> {
        let marks = grant.marks();
        if !marks.break_glass && marks.notify.is_empty() {
            return Ok(());
        }
        let announced = self.rooms.notifier.announce(self.marked(grant)).await;
        announced.map_err(|error| {
            warn!(session = %self.id, %error, "a marked session cannot be told of");
            "whoever is to hear of this session cannot be told now; try again later"
        })
    }

    fn marked(&self, grant: &Grant) -> Marked {
        Marked {
            session: self.id.clone(),
            user: notify::Person::of(&self.asked.party()),
            source: self.asked.source.to_string(),
            target: self.target.to_owned(),
            login: self.login.to_owned(),
            kind: self.kind.to_string(),
            policies: grant.policies().to_vec(),
            break_glass: grant.marks().break_glass,
            channels: grant.marks().notify.iter().cloned().collect(),
        }
    }

    /// Whoever plays the recording sees first of all that it was an emergency.
    async fn mark_emergency(&mut self, grant: &Grant) -> Result<(), RecordError> {
        warn!(session = %self.id, policies = ?grant.policies(), "break-glass access");
        let policies = grant.policies().join(", ");
        let marker = format!("break-glass access: {policies}");
        self.recording.marker(&marker).await.map(drop)
    }

    /// Connects to the target; the error is the line for the client.
    async fn dial(
        &self,
        grant: &Grant,
        agent: bool,
        stop: &CancellationToken,
    ) -> Result<TargetEnd, &'static str> {
        let asked = self.asked;
        let own = |name: &str| name.starts_with("BASTION_");
        let env: Vec<_> = asked
            .env
            .iter()
            .filter(|(name, _)| !own(name))
            .cloned()
            .collect();
        let ca = self.rooms.user_ca.as_ref();
        let limits = &self.rooms.limits;
        let wanted = Wanted {
            opening: &asked.opening,
            pty: asked.pty.as_ref(),
            env: &env,
            agent,
        };
        let since = tokio::time::Instant::now();
        let dialled = tokio::select! {
            dialled = dial(grant, ca, wanted, limits) => dialled,
            () = stop.cancelled() => return Err(Why::ShuttingDown.notice()),
        };
        crate::metrics::global().dialled(since.elapsed());
        dialled.map_err(|error| {
            let reason = chain(&error);
            warn!(session = %self.id, target = self.target, error = %reason, "no session on the target");
            let failed = Event::TargetFailed {
                connection: asked.connection.to_string(),
                user: asked.lease.who(),
                target: self.target.to_owned(),
                login: self.login.to_owned(),
                reason,
            };
            if let Err(error) = self.rooms.audit.record_soon(failed) {
                warn!(session = %self.id, %error, "not audited");
            }
            error.notice()
        })
    }

    /// Ends the recording of a session that has come to nothing.
    async fn never_ran(self, reason: &str) {
        self.close(None, Coverage::default(), 0, reason).await;
    }

    /// Ends the recording of a session that ran.
    async fn finish(self, carried: &pump::Carried, covered: bool) {
        let mut coverage = carried.coverage;
        // No rule has looked into it.
        let unread = match self.kind {
            Kind::Shell | Kind::Exec => false,
            Kind::Sftp => covered,
            Kind::Forward | Kind::Agent => true,
        };
        if unread {
            coverage.unreadable += std::mem::take(&mut coverage.passed);
        }
        let reason = carried.why.notice();
        self.close(carried.ended.as_ref(), coverage, carried.received, reason)
            .await;
    }

    /// Ends the recording and writes the audit event that goes with it.
    async fn close(self, ended: Option<&Ended>, coverage: Coverage, received: u64, reason: &str) {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        info!(session = %self.id, ?ended, ?reason, "session ended");
        let event = Event::SessionEnded {
            session: self.id.clone(),
            passed: coverage.passed,
            masked: coverage.masked,
            held: coverage.held,
            unreadable: coverage.unreadable,
            received,
            status: ended.map(|ended| match ended {
                Ended::Status(status) => status.to_string(),
                Ended::Signal { signal, .. } => signal.name().to_owned(),
            }),
            reason: reason.clone(),
        };
        let status = ended.map(|ended| match ended {
            Ended::Status(status) => ExitStatus::Code(*status),
            Ended::Signal { signal, .. } => ExitStatus::Signal(signal.name().to_owned()),
        });
        let end = End {
            status,
            coverage: coverage.into(),
            reason,
            ..End::default()
        };
        if let Err(error) = self.recording.end(end).await {
            warn!(session = %self.id, %error, "the recording has no end");
            if let RecordError::Unrecorded(gap) = error {
                crate::metrics::global().recorded_again(gap.bytes);
            }
        }
        if let Err(error) = self.rooms.audit.record_soon(event) {
            warn!(session = %self.id, %error, "not audited");
        }
    }
}

/// Until when an approved request opens the account to whoever asks, by the wall clock; the error is
/// the line for the client.
async fn approved_until(
    rooms: &Rooms,
    asked: &Asked,
    login: &str,
    target: &str,
) -> Result<Option<jiff::Timestamp>, &'static str> {
    let identity = &asked.lease.user.identity;
    let left = rooms.requests.left(identity, login, target).await;
    let left = left.map_err(|error| {
        warn!(connection = %asked.connection, %error, "grants cannot be read");
        "the bastion cannot decide now; try again later"
    })?;
    // What is left is known by a clock that is never set.
    Ok(left.map(|left| {
        let now = jiff::Timestamp::now();
        now.saturating_add(left).unwrap_or(jiff::Timestamp::MAX)
    }))
}

/// Asks `access` and writes the answer down; the error is the line for the client.
/// The grant, and the policies that gave it: what is masked in a rendition of held output has to
/// come from the same ones.
fn decide(
    rooms: &Rooms,
    asked: &Asked,
    login: &str,
    target: &str,
    approved_until: Option<jiff::Timestamp>,
) -> Result<(Arc<Access>, Grant), String> {
    let actions = actions(&asked.opening);
    decide_on(rooms, asked, (login, target), actions, approved_until)
}

/// The same for actions that are named.
fn decide_on(
    rooms: &Rooms,
    asked: &Asked,
    (login, target): (&str, &str),
    actions: &[Action],
    approved_until: Option<jiff::Timestamp>,
) -> Result<(Arc<Access>, Grant), String> {
    let access = rooms.access();
    let ask = |action: Action| Question {
        approved_until,
        ..question(asked, login, target, action)
    };
    let decisions: Vec<(Action, Result<Grant, Denied>)> = actions
        .iter()
        .map(|action| (*action, access.decide(&ask(*action))))
        .collect();
    let any = decisions.iter().any(|(_, decision)| decision.is_ok());
    let mut granted: Option<Grant> = None;
    let mut line = None;
    for (action, decision) in decisions {
        let (connection, user, source) = (
            asked.connection.to_string(),
            asked.lease.who(),
            asked.source,
        );
        let (target, login, name) = (
            target.to_owned(),
            login.to_owned(),
            action.name().to_owned(),
        );
        let (text, bytes) = subject(&asked.opening, action).map_or((None, None), in_words);
        let event = match &decision {
            Ok(grant) => Event::ChannelAllowed {
                connection,
                user,
                source,
                target,
                login,
                action: name,
                command: text,
                command_base64: bytes,
                policies: grant.policies().to_vec(),
                break_glass: grant.marks().break_glass,
                notify: grant.marks().notify.iter().cloned().collect(),
            },
            // Files that go in one direction were not asked for in the other.
            Err(_) if any => continue,
            Err(denied) => Event::ChannelDenied {
                connection,
                user,
                source,
                target,
                login,
                action: name,
                command: text,
                command_base64: bytes,
                reason: denied.reason().to_string(),
                policies: denied.policies().to_vec(),
            },
        };
        // A decision that cannot be written down is a refusal.
        rooms
            .audit
            .record_soon(event)
            .map_err(|error| error.notice().to_owned())?;
        match decision {
            Ok(grant) => {
                granted = Some(match granted {
                    None => grant,
                    Some(earlier) => earlier.and(&grant),
                });
            }
            // Of two directions, the one that is permitted and refused all the same says more.
            Err(denied) if line.is_some() && *denied.reason() != Reason::Unread => {}
            Err(denied) => line = Some(refusal(rooms, &access, &ask(action), &denied)),
        }
    }
    let granted = granted.ok_or_else(|| line.unwrap_or_else(|| "nothing was asked for".to_owned()));
    Ok((access, granted?))
}

/// A command as the audit log has it: its text, and its bytes in base64 where they are no text.
fn in_words(command: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(command) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (
            Some(String::from_utf8_lossy(command).into_owned()),
            Some(BASE64.encode(command)),
        ),
    }
}

/// The line for whoever is refused; with what to type where access can be asked for.
fn refusal(rooms: &Rooms, access: &Access, question: &Question<'_>, denied: &Denied) -> String {
    let line = denied.notice();
    if !access.may_be_asked_for(question) {
        return line;
    }
    format!(
        "{line}; ask with: ssh {} request {} --login {} --reason WHY",
        rooms.name, question.target, question.login
    )
}

/// What a channel can be used for. Of an sftp channel, one is enough: the other direction is refused
/// where it is asked for.
fn actions(opening: &Opening) -> &'static [Action] {
    match opening {
        Opening::Shell => &[Action::Shell],
        Opening::Exec(_) => &[Action::Exec],
        Opening::Sftp => &[Action::SftpWrite, Action::SftpRead],
        Opening::Forward(_) => &[Action::Forward],
    }
}

/// The command, or where a forwarding leads, where the action is about it.
fn subject(opening: &Opening, action: Action) -> Option<&[u8]> {
    match (opening, action) {
        (Opening::Exec(command), Action::Exec) => Some(command),
        (Opening::Forward(place), Action::Forward) => Some(place.as_str().as_bytes()),
        _ => None,
    }
}

/// Whether the policies of this moment may let somebody open anything on a target, an approval
/// granted.
pub(crate) fn may_reach(rooms: &Rooms, asked: &Asked, target: &str) -> bool {
    let access = rooms.access();
    let Some(target) = access.inventory().target(target) else {
        return false;
    };
    let channels = || Action::ALL.into_iter().filter(|action| action.is_channel());
    target.logins().iter().any(|login| {
        channels().any(|action| {
            let question = Question {
                approved_until: Some(jiff::Timestamp::MAX),
                ..question(asked, login.name(), target.name(), action)
            };
            access.decide(&question).is_ok()
        })
    })
}

/// Whether the policies of this moment may let the target ask the client's agent, an approval
/// granted.
pub(crate) fn may_have_agent(rooms: &Rooms, asked: &Asked) -> bool {
    let Destination::Target { login, target } = &asked.destination else {
        return false;
    };
    let question = Question {
        approved_until: Some(jiff::Timestamp::MAX),
        ..question(asked, login.as_str(), target.as_str(), Action::Agent)
    };
    rooms.access().decide(&question).is_ok()
}

fn question<'a>(asked: &'a Asked, login: &'a str, target: &'a str, action: Action) -> Question<'a> {
    Question {
        person: asked.person(),
        target,
        login,
        action,
        source: asked.source,
        now: jiff::Timestamp::now(),
        command: subject(&asked.opening, action),
        approved_until: None,
    }
}

fn about(asked: &Asked, login: &str, target: &str, grant: &Grant) -> About {
    let user = &asked.lease.user;
    About {
        user: user.name.clone(),
        issuer: user.identity.issuer.clone(),
        subject: user.identity.subject.clone(),
        target: target.to_owned(),
        login: login.to_owned(),
        kind: match asked.opening {
            Opening::Shell => Kind::Shell,
            Opening::Exec(_) => Kind::Exec,
            Opening::Sftp => Kind::Sftp,
            Opening::Forward(_) => Kind::Forward,
        },
        command: match &asked.opening {
            Opening::Exec(command) => Some(command.clone()),
            Opening::Forward(place) => Some(place.as_str().into()),
            Opening::Shell | Opening::Sftp => None,
        },
        pty: asked.pty.as_ref().map(|pty| pty.size.cells()),
        term: asked.pty.as_ref().map(|pty| pty.term.clone()),
        source: asked.source,
        connection: asked.connection.to_string(),
        bulk: grant.target().bulk(),
        mode: grant.recording(),
        continues: None,
        break_glass: grant.marks().break_glass,
        notify: grant.marks().notify.iter().cloned().collect(),
        signed_in: SignedIn {
            at: asked.lease.signed_in_at,
            groups: user.groups.iter().cloned().collect(),
            email: user.email.clone(),
            service: matches!(user.links.account, Account::Service { .. }),
            key: asked.lease.key.as_ref().map(ToString::to_string),
            approved: grant.until().is_some(),
        }
        .bounded(),
    }
}

/// The client's last words, after the data (RFC 4254, sections 5.3 and 6.10).
async fn say_goodbye(client: &ClientWriter, notices: &Notices, carried: &pump::Carried) {
    let ended = match (&carried.why, carried.ended.clone()) {
        (Why::TargetEnded, Some(ended)) => ended,
        (Why::ClientLeft, _) => {
            // Whoever left hears nothing.
            client.close().await.unwrap_or(());
            return;
        }
        (why, _) => {
            last_line(client, notices.line(why.notice(), why.status())).await;
            Ended::Status(why.status())
        }
    };
    close(client, ended, !carried.eof_sent).await;
}

/// Ends a channel on which nothing ran, with a line and one of the bastion's own statuses.
pub(crate) async fn give_up(client: &ClientWriter, notices: &Notices, line: &str, status: u32) {
    last_line(client, notices.line(line, status)).await;
    close(client, Ended::Status(status), true).await;
}

/// Says a line to a client that may be gone or take nothing, without waiting for it for long.
async fn last_line(client: &ClientWriter, line: String) {
    tokio::time::timeout(client.patience(), client.notice(line))
        .await
        .unwrap_or(Ok(()))
        .unwrap_or(());
}

/// Status, end of file and close. The status comes first: a client that has sent its own end of
/// file closes the channel as soon as it sees ours, and the library answers a close at once.
pub(crate) async fn close(client: &ClientWriter, ended: Ended, eof: bool) {
    let last = async {
        client.ended(ended).await?;
        if eof {
            client.eof().await?;
        }
        client.close().await
    };
    // A client that is gone has no use for its status.
    tokio::time::timeout(client.patience(), last)
        .await
        .unwrap_or(Ok(()))
        .unwrap_or(());
}

/// Between two changes of a terminal's size that its target hears of.
fn resize_every(limits: &Limits) -> Duration {
    Duration::from_secs(1) / limits.pty_changes_per_second.max(1)
}

/// So long a lease that is over leaves to whoever ended it to say why.
const SAYS_WHY: Duration = Duration::from_secs(1);
/// What whoever may reach a target is told while it is locked.
const LOCKED: &str = "the target is locked; ask your administrator";
/// What a client is told whose access new policies take away.
const REVOKED: &str = "the session was ended: new policies no longer allow it";
/// What a client is told whose access stood on an approved request.
const APPROVAL_OVER: &str =
    "the session was ended: the access that was approved is over; ask for it again";
/// What a client is told whose groups take the access away.
const LOST_GROUPS: &str = "the session was ended: your groups no longer allow it";
/// Refused by a rule or a limit (limits.md).
pub(crate) const REFUSED: u32 = 65;
/// Held, and the client did not wait.
pub(crate) const DETACHED: u32 = 75;
/// A hold was denied.
pub(crate) const DENIED: u32 = 76;
/// A hold expired.
pub(crate) const EXPIRED: u32 = 78;
/// The target is not reachable or not verified.
pub(crate) const UNREACHABLE: u32 = 69;
/// Not allowed.
pub(crate) const NOT_ALLOWED: u32 = 77;
/// The connection to the target broke; what `ssh` itself says then.
pub(crate) const BROKEN: u32 = 255;
