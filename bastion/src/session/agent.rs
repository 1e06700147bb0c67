//! The client's agent, for the target.
//!
//! Where the client lets it be asked and a policy grants it, the target may open channels to it.
//! Each is a session of its own, with a recording, a start and an end in the audit log, within the
//! session that it was granted to, and ends with it. What is said on it is not looked into.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use scanner::{Options, Scanner};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::notice::Notices;
use super::registry::Of;
use super::{
    Asked, Rooms, Session, about, approved_until, decide_on, end_when_revoked, end_with_approval,
    end_with_lease, hold, keep_recorded, pump,
};
use crate::access::{Access, Action, Grant};
use crate::record::{About, Kind};
use crate::ssh::{AgentChannel, AgentChannels, AgentOpener, Opens};

/// Leave for the target to ask the client's agent, where the client lets it; the error is the line
/// that says why there is none.
pub(super) fn granted(
    rooms: &Rooms,
    asked: &Asked,
    login: &str,
    target: &str,
    approved_until: Option<jiff::Timestamp>,
) -> Result<Option<Grant>, String> {
    if asked.agent.is_none() {
        return Ok(None);
    }
    let actions = &[Action::Agent];
    decide_on(rooms, asked, (login, target), actions, approved_until).map(|(_, grant)| Some(grant))
}

/// The channels to the client's agent within one session.
pub(super) struct Agents {
    waiting: Option<(AgentChannels, Arc<Context>)>,
    open: JoinSet<()>,
    /// A target that floods us with channels would fill the disk with their recordings.
    opens: Opens,
    /// The session is over.
    over: CancellationToken,
}

/// What each of them needs.
struct Context {
    rooms: Arc<Rooms>,
    asked: Asked,
    opener: AgentOpener,
    login: String,
    target: String,
    over: CancellationToken,
}

impl Agents {
    /// None, or those that the target opens where it may.
    pub(super) fn new(
        rooms: &Arc<Rooms>,
        asked: &Asked,
        (login, target): (&str, &str),
        channels: Option<AgentChannels>,
    ) -> Self {
        let over = CancellationToken::new();
        let waiting = channels.zip(asked.agent.clone()).map(|(channels, opener)| {
            let context = Context {
                rooms: rooms.clone(),
                asked: Asked {
                    pty: None,
                    ..asked.clone()
                },
                opener,
                login: login.to_owned(),
                target: target.to_owned(),
                over: over.clone(),
            };
            (channels, Arc::new(context))
        });
        Self {
            waiting,
            open: JoinSet::new(),
            opens: Opens::new(rooms.limits.channel_opens_per_minute),
            over,
        }
    }

    /// Carries what the target opens. Never returns. Cancel-safe.
    pub(super) async fn serve(&mut self) -> Infallible {
        loop {
            let Some((channels, context)) = &mut self.waiting else {
                return std::future::pending().await;
            };
            tokio::select! {
                channel = channels.next() => match channel {
                    // What is one too many is dropped, which refuses it.
                    Some(channel)
                        if self.opens.admit(Instant::now())
                            && self.open.len() < context.opener.limit() =>
                    {
                        drop(self.open.spawn(carry(context.clone(), channel)));
                    }
                    Some(_) => {}
                    None => self.waiting = None,
                },
                Some(ended) = self.open.join_next() => report(ended),
            }
        }
    }

    /// Ends them, each with its recording.
    pub(super) async fn end(mut self) {
        self.over.cancel();
        while let Some(ended) = self.open.join_next().await {
            report(ended);
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!(%error, "a channel to an agent");
    }
}

/// Carries one channel. Whatever goes wrong before it is open is a refusal for the target.
async fn carry(context: Arc<Context>, channel: AgentChannel) {
    let Context {
        rooms,
        asked,
        login,
        target,
        ..
    } = &*context;
    let changes = rooms.access.changes();
    // The policies and the approval of this moment: the session may be hours old.
    let Ok(approved_until) = approved_until(rooms, asked, login, target).await else {
        return;
    };
    let place = (login.as_str(), target.as_str());
    let decided = decide_on(rooms, asked, place, &[Action::Agent], approved_until);
    let (access, grant) = match decided {
        Ok(decided) => decided,
        Err(line) => return info!(connection = %asked.connection, line, "no channel to the agent"),
    };
    let about = About {
        kind: Kind::Agent,
        command: None,
        ..about(asked, login, target, &grant)
    };
    let recording = match rooms.recorder.start(about).await {
        Ok(recording) => recording,
        Err(error) => {
            return warn!(connection = %asked.connection, %error, "nothing can be recorded");
        }
    };
    let id = recording.id().to_string();
    let active = rooms.registry.begin(
        &id,
        Of {
            identity: asked.lease.user.identity.clone(),
            lease: asked.lease.id,
            target: target.clone(),
            login: login.clone(),
        },
    );
    let session = Session {
        rooms,
        asked,
        id,
        login,
        target,
        kind: Kind::Agent,
        recording,
    };
    if let Err(error) = rooms.audit.record_soon(session.started()) {
        warn!(session = %session.id, %error, "not audited");
        return session.never_ran(error.notice()).await;
    }
    if let Err(line) = session.announce(&grant).await {
        return session.never_ran(line).await;
    }
    let (id, keeper) = (session.id.clone(), session.recording.keeper());
    let place = (id.as_str(), target.as_str(), login.as_str());
    let run = run(&context, session, channel, (&access, &grant), &active);
    let over = async {
        context.over.cancelled().await;
        active.cut(OVER);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        () = run => {}
        never = keep_recorded(rooms, asked, place, keeper, &active) => match never {},
        never = over => match never {},
        never = end_with_lease(rooms, asked, &grant, &active) => match never {},
        never = end_when_revoked(rooms, changes, asked, &grant, &active) => match never {},
        never = end_with_approval(rooms, asked, &grant, &active) => match never {},
    }
}

/// The same once its start is written down.
async fn run(
    context: &Context,
    mut session: Session<'_>,
    channel: AgentChannel,
    (access, grant): (&Access, &Grant),
    active: &super::Active,
) {
    let rooms = &context.rooms;
    let opened = tokio::select! {
        opened = context.opener.open() => opened,
        () = context.over.cancelled() => None,
        () = tokio::time::sleep(OPENS_WITHIN) => None,
    };
    let Some(mut client) = opened else {
        let line = "the client opens no channel to its agent";
        return session.never_ran(line).await;
    };
    let target_end = channel.accept().await;
    let notices = Notices::new(&[], false);
    let origin = session.origin(grant);
    let rules = grant.rules();
    let pump = pump::Pump {
        rules: rules.clone(),
        scanner: Scanner::new(rules, Options::default()),
        holding: hold::Holding::new(&rooms.holds, grant, &notices, origin, access),
        one_way: None,
        seal_quiet: rooms.holds.seal_quiet(),
        recording: &mut session.recording,
        client: &mut client,
        target: target_end,
        pty: false,
        life: rooms.limits.session_life,
        resize_every: super::resize_every(&rooms.limits),
        // The session's end is said through `active`, with its line.
        stop: active.stop(&CancellationToken::new()),
    };
    let carried = pump.run().await;
    session.finish(&carried, grant.covered()).await;
    super::say_goodbye(&client.writer, &notices, &carried).await;
}

/// A client that does not answer within this has no agent.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// Why a channel ends whose session does.
const OVER: &str = "the session that the agent was for has ended";
