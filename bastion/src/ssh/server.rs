//! One client's connection: sign-in, channels, and an answer to every request.
//!
//! No callback waits for a target, a disk or an approval. Signing in waits inside its callback,
//! since nothing else can happen on a connection before it; it watches the socket meanwhile.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::{Certificate, PrivateKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Response, Session,
    VerifiedPublicKey, run_stream,
};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind, MethodSet, Sig, SshId,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::channel::{Backlog, ClientEnd, Common, Ends, Form, Largest, Pty, Stall};
use super::dial::{Place, REKEY};
use super::flow::{Bounds, Flow, Overrun, Pace};
use super::jump::{self, Jump};
use super::ours::{AgentOpener, Shared};
use super::rekey::{Exchanges, Seen};
use super::stream::{Heard, Socket, Wire, hung_up};
use super::{Opening, PACKET, algorithms};
use crate::audit::Event;
use crate::config::{Limits, is_continued, printable};
use crate::login::{Asker, KeyId, Lease, Pending, Reason};
use crate::name::{Destination, Name, NameError, target_name};
use crate::serve::{Gate, Pass};
use crate::session::{self, Rooms};

/// The SSH server: what every connection has in common.
pub(crate) struct Server {
    host_keys: Vec<PrivateKey>,
    gate: Gate,
    pub(super) rooms: Arc<Rooms>,
}

/// A connection that nobody has spoken on yet.
pub(super) struct Arrival {
    pub(super) wire: Wire,
    pub(super) id: ConnectionId,
    /// The address of the client.
    pub(super) peer: SocketAddr,
    /// Its place among the unauthenticated.
    pub(super) pass: Pass,
    /// Who says that the host keys are those of `behind`.
    pub(super) certificates: Vec<Certificate>,
    /// The target that the client means, where it has: a user name is a login there.
    pub(super) behind: Option<Name>,
}

impl Server {
    /// A server that proves itself with `host_keys`; connections come through `gate`.
    pub(crate) fn new(host_keys: Vec<PrivateKey>, gate: Gate, rooms: Arc<Rooms>) -> Self {
        Self {
            host_keys,
            gate,
            rooms,
        }
    }

    /// Carries one accepted connection until it ends; `stop` ends its sessions and then itself.
    pub(crate) async fn run(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        pass: Pass,
        stop: CancellationToken,
    ) {
        let arrival = Arrival {
            wire: Wire::Tcp(socket),
            id: ConnectionId::new(),
            peer,
            pass,
            certificates: Vec::new(),
            behind: None,
        };
        self.carry(arrival, stop).await;
    }

    /// Certificates that the host keys are those of `target`, where there is an authority for them.
    pub(super) fn certificates(&self, target: &Name) -> Vec<Certificate> {
        let Some(ca) = &self.rooms.host_ca else {
            return Vec::new();
        };
        let life = self.rooms.limits.session_life;
        let each = self.host_keys.iter();
        each.filter_map(|key| match ca.certify(key.public_key(), target, life) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                // The client is asked about the plain key instead.
                warn!(%target, %error, "no host certificate");
                None
            }
        })
        .collect()
    }

    /// The same for a connection of either kind. Boxed, since one of them carries the other.
    pub(super) fn carry(
        self: Arc<Self>,
        arrival: Arrival,
        stop: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.carry_any(arrival, stop))
    }

    async fn carry_any(self: Arc<Self>, arrival: Arrival, stop: CancellationToken) {
        let limits = &self.rooms.limits;
        let Arrival {
            wire,
            id,
            peer,
            pass,
            certificates,
            behind,
        } = arrival;
        let end = CancellationToken::new();
        let socket = Arc::new(wire);
        let pace = Arc::new(Pace::default());
        let heard = Heard::now();
        // No other connection shares it: see `rekey`.
        let config = library_config(&self.rooms, self.host_keys.clone(), certificates);
        let config = Arc::new(config);
        let (exchanges, seen) = Exchanges::of(&config);
        let stream = match Socket::new(socket.clone(), exchanges, limits.write_stall, &end) {
            Ok(stream) => stream.paced(pace.clone()).heard(heard.clone()),
            Err(error) => return debug!(%peer, %error, "the socket is gone"),
        };
        // One that carries others waits for their last words, too.
        let patience = match &behind {
            Some(_) => limits.session_end,
            None => limits.session_end + FAREWELL,
        };
        let (deadline, mut until) = watch::channel(Some(Instant::now() + limits.login_deadline));
        let tasks = TaskTracker::new();
        let connection = Connection {
            server: self.clone(),
            rooms: self.rooms.clone(),
            id: id.clone(),
            peer,
            socket,
            behind,
            stage: Stage::Fresh,
            deadline,
            accepted: Instant::now(),
            offers: 0,
            requests: Requests::new(),
            pass: Some(pass),
            channels: HashMap::new(),
            opens: Opens::new(limits.channel_opens_per_minute),
            refusals: Opens::new(REFUSALS),
            common: Common {
                flow: Shared::new(Flow::new(Bounds::of(limits), pace.clone())),
                pace,
                stall: Stall::of(limits, heard),
                patience: limits.session_end,
                largest: Largest::of(limits),
            },
            ours: Arc::default(),
            unmet: None,
            seen: seen.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let started = tokio::select! {
            started = run_stream(config, stream, connection) => started,
            () = passed(&mut until) => return debug!(connection = %id, %peer, "no SSH within the deadline"),
            () = stop.cancelled() => return,
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => return debug!(connection = %id, %peer, %error, "not an SSH client"),
        };
        let handle = running.handle();
        tokio::pin!(running);
        let farewell = tokio::select! {
            ended = &mut running => {
                if seen.were_too_often() {
                    warn!(connection = %id, %peer, "the client exchanges keys too often");
                } else if let Err(error) = ended {
                    debug!(connection = %id, %peer, %error, "connection ended");
                }
                None
            }
            () = passed(&mut until) => Some("the sign-in took too long"),
            () = stop.cancelled() => Some("the bastion is shutting down"),
        };
        tasks.close();
        if let Some(farewell) = farewell {
            // The sessions say so on their own channels first, and close their recordings.
            let ended = tokio::time::timeout(patience, tasks.wait()).await;
            debug!(connection = %id, %peer, farewell, in_time = ended.is_ok(), "ending the connection");
            // A client whose only channel has closed leaves by itself, with its command's status.
            let left = tokio::time::timeout(FAREWELL / 2, &mut running)
                .await
                .is_ok();
            let said = async {
                if left {
                    return Ok(());
                }
                let told = handle
                    .disconnect(Disconnect::ByApplication, farewell.into(), "en".into())
                    .await;
                debug!(connection = %id, told = told.is_ok(), "told");
                (&mut running).await
            };
            if tokio::time::timeout(FAREWELL, said).await.is_err() {
                end.cancel();
                if let Err(error) = running.await {
                    debug!(connection = %id, %error, "connection cut");
                }
            }
        }
        tasks.wait().await;
        info!(connection = %id, %peer, "connection closed");
    }
}

/// What the SSH library is told of a server with these keys.
fn library_config(
    rooms: &Rooms,
    keys: Vec<PrivateKey>,
    certificates: Vec<Certificate>,
) -> russh::server::Config {
    let asked_after = ASKED_AFTER.min(rooms.limits.write_stall / 2);
    let questions = SILENCE.as_millis() / asked_after.as_millis().max(1);
    russh::server::Config {
        server_id: SshId::Standard("SSH-2.0-bastion".into()),
        methods: first_methods(rooms.require_key),
        auth_rejection_time: REJECTION,
        // The first `none` only asks for the methods.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        certificates,
        max_auth_attempts: rooms.limits.auth_failures,
        limits: russh::Limits {
            rekey_write_limit: REKEY,
            rekey_read_limit: REKEY,
            rekey_time_limit: Duration::MAX,
        },
        window_size: Bounds::of(&rooms.limits).window,
        maximum_packet_size: PACKET,
        // Without a bound here: `Flow` is the bound. A bounded one would park the whole
        // connection behind one channel that nobody reads.
        channel_buffer_size: 1 << 24,
        event_buffer_size: 64,
        preferred: algorithms(),
        inactivity_timeout: None,
        // A client that reads none of its channels is heard of in time, too.
        keepalive_interval: Some(asked_after),
        keepalive_max: usize::try_from(questions).unwrap_or(usize::MAX),
        nodelay: true,
    }
}

/// The id of a connection, in logs and recordings: `C` and 25 letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(Arc<str>);

impl ConnectionId {
    fn new() -> Self {
        let mut random = [0_u8; 16];
        // A failing system generator leaves zeros: an id that repeats in logs, nothing more.
        if aws_lc_rs::rand::fill(&mut random).is_err() {
            warn!("no randomness for a connection's id");
        }
        let text = data_encoding::BASE32_NOPAD
            .encode(&random)
            .to_ascii_lowercase();
        Self(format!("c{}", text.get(..25).unwrap_or_default()).into())
    }
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a client has come with signing in. Each state holds what exists in it.
enum Stage {
    /// Nothing is proven.
    Fresh,
    /// A key is proven that has no lease, or the name cannot be taken.
    Proven { name: String, key: KeyId },
    /// The code is shown, and the provider is asked.
    Asked {
        name: String,
        key: Option<KeyId>,
        pending: Box<Pending>,
    },
    /// A refusal is shown; whatever comes next is refused.
    Refused,
    /// A user is known.
    SignedIn {
        lease: Arc<Lease>,
        destination: Destination,
    },
}

/// A channel of this connection, until it starts something.
struct Idle {
    channel: Channel<Msg>,
    backlog: Backlog,
    pty: Option<Pty>,
    env: Vec<(String, String)>,
    /// Whether the client lets its agent be asked.
    agent: bool,
}

enum ChannelState {
    Idle(Box<Idle>),
    /// A session runs; true once it has ended.
    Started(Arc<AtomicBool>, Arc<Ends>),
}

pub(crate) struct Connection {
    server: Arc<Server>,
    rooms: Arc<Rooms>,
    id: ConnectionId,
    peer: SocketAddr,
    socket: Arc<Wire>,
    /// The target that the client means, where it comes through another connection.
    behind: Option<Name>,
    stage: Stage,
    deadline: watch::Sender<Option<Instant>>,
    accepted: Instant,
    offers: usize,
    requests: Requests,
    pass: Option<Pass>,
    channels: HashMap<ChannelId, ChannelState>,
    opens: Opens,
    refusals: Opens,
    common: Common,
    /// Open channels that we opened.
    ours: Arc<AtomicUsize>,
    /// What was refused where no line could be shown; the next session shows it.
    unmet: Option<&'static str>,
    seen: Arc<Seen>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Connection {
    /// Waits for `future` unless the client hangs up, the deadline passes or the server stops.
    async fn unless_gone<T>(&self, future: impl Future<Output = T>) -> Result<T, russh::Error> {
        let mut until = self.deadline.subscribe();
        tokio::select! {
            value = future => Ok(value),
            () = hung_up(&self.socket) => Err(russh::Error::HUP),
            () = passed(&mut until) => Err(russh::Error::ConnectionTimeout),
            () = self.stop.cancelled() => Err(russh::Error::Disconnect),
        }
    }

    /// Where a client wants to go that gives `name` as its user.
    fn destination(&self, name: &str) -> Result<Destination, NameError> {
        let limits = &self.rooms.limits;
        match &self.behind {
            Some(target) => Destination::behind(name, target)?,
            None => Destination::parse(name)?,
        }
        .within(limits.login_name, limits.target_name)
    }

    /// Drops all progress that was made under another name.
    fn forget_unless(&mut self, user: &str) {
        let changed = match &self.stage {
            Stage::Proven { name, .. } | Stage::Asked { name, .. } => name != user,
            Stage::Fresh | Stage::Refused | Stage::SignedIn { .. } => false,
        };
        if changed {
            self.stage = Stage::Fresh;
        }
    }

    /// Counts a request that the library keeps in the channel's inbox, whatever we answer.
    fn requested(&mut self, bytes: usize) -> Result<(), russh::Error> {
        if self.requests.admit(bytes, Instant::now()) {
            return Ok(());
        }
        warn!(connection = %self.id, peer = %self.peer, "too many requests");
        Err(russh::Error::Inconsistent)
    }

    fn refuse(&mut self, line: &str) -> Auth {
        self.stage = Stage::Refused;
        show(format!("bastion: {line}"))
    }

    /// Starts the device flow for whoever proved `key`.
    async fn begin(&mut self, name: &str, key: Option<KeyId>) -> Result<Auth, russh::Error> {
        if let Err(error) = self.destination(name) {
            self.sign_in_refused(key, BAD_NAME, &error);
            return Ok(self.refuse(&error.notice()));
        }
        let asker = Asker {
            key: key.clone(),
            source: self.peer.ip(),
            user_name: name.to_owned(),
        };
        match self.unless_gone(self.rooms.sign_ins.begin(asker)).await? {
            Ok(pending) => {
                let begun = Event::SignInBegun {
                    connection: self.id.to_string(),
                    source: self.peer.ip(),
                    key: key.as_ref().map(ToString::to_string),
                };
                if !self.audited(begun) {
                    return Ok(self.refuse(NOT_AUDITED));
                }
                let shown = show(pending.instructions().to_owned());
                // Past the end of the code there is time for the line that says so.
                self.deadline
                    .send_replace(Some(self.code_deadline() + LAST_LINE));
                self.stage = Stage::Asked {
                    name: name.to_owned(),
                    key,
                    pending: Box::new(pending),
                };
                Ok(shown)
            }
            Err(refusal) => {
                self.sign_in_refused(key, refusal.reason().outcome(), &refusal);
                Ok(self.refuse(&refusal.notice()))
            }
        }
    }

    /// When a shown code is of no use any more, however long the provider would let it live.
    fn code_deadline(&self) -> Instant {
        self.accepted + self.rooms.limits.code_deadline
    }

    /// Waits for the provider's answer.
    async fn finish(
        &mut self,
        name: &str,
        key: Option<KeyId>,
        pending: Pending,
    ) -> Result<Auth, russh::Error> {
        let answer = tokio::time::timeout_at(self.code_deadline(), pending.finish());
        let answer = self.unless_gone(answer).await?;
        let answer = answer.unwrap_or_else(|_| Err(Reason::Expired.into()));
        match (answer, self.destination(name)) {
            (Ok(lease), Ok(destination)) => {
                let succeeded = Event::SignInSucceeded {
                    connection: self.id.to_string(),
                    user: lease.who(),
                    groups: lease.user.groups.iter().cloned().collect(),
                    source: self.peer.ip(),
                    key: lease.key.as_ref().map(ToString::to_string),
                    lease: lease.id,
                    expires_at: lease.expires_at,
                };
                if !self.audited(succeeded) {
                    return Ok(self.refuse(NOT_AUDITED));
                }
                self.stage = Stage::SignedIn {
                    lease: Arc::new(lease),
                    destination,
                };
                Ok(Auth::Accept)
            }
            (Err(refusal), _) => {
                self.sign_in_refused(key, refusal.reason().outcome(), &refusal);
                Ok(self.refuse(&refusal.notice()))
            }
            (Ok(_), Err(error)) => {
                self.sign_in_refused(key, BAD_NAME, &error);
                Ok(self.refuse(&error.notice()))
            }
        }
    }

    /// Nobody gets in whose coming cannot be written down.
    fn audited(&self, event: Event) -> bool {
        match self.rooms.audit.record_soon(event) {
            Ok(()) => true,
            Err(error) => {
                warn!(connection = %self.id, %error, "not audited");
                false
            }
        }
    }

    fn sign_in_refused(
        &self,
        key: Option<KeyId>,
        outcome: &'static str,
        why: &dyn std::fmt::Display,
    ) {
        info!(connection = %self.id, peer = %self.peer, %why, "sign-in refused");
        self.audited(Event::SignInRefused {
            connection: self.id.to_string(),
            source: self.peer.ip(),
            key: key.map(|key| key.to_string()),
            outcome: outcome.to_owned(),
            reason: why.to_string(),
        });
    }

    /// Writes down that something was asked for which is not proxied.
    fn refused(&mut self, request: &str, what: impl std::fmt::Display) {
        let Stage::SignedIn { lease, .. } = &self.stage else {
            return debug!(connection = %self.id, request, "refused");
        };
        if self.refusals.admit(Instant::now()) {
            info!(connection = %self.id, request, "refused");
            let mut what = what.to_string();
            what.truncate(what.floor_char_boundary(MAX_WHAT));
            // It happens whether it can be written down or not: nothing is granted.
            self.audited(Event::RequestRefused {
                connection: self.id.to_string(),
                user: lease.who(),
                source: self.peer.ip(),
                request: request.to_owned(),
                what,
            });
        }
    }

    /// Starts what the client asks for on a channel that has not started anything.
    fn start(&mut self, id: ChannelId, opening: Opening, handle: Handle) -> bool {
        let Stage::SignedIn { lease, destination } = &self.stage else {
            return false;
        };
        let idle = match self.channels.remove(&id) {
            Some(ChannelState::Idle(idle)) => idle,
            Some(started @ ChannelState::Started(..)) => {
                self.channels.insert(id, started);
                return false;
            }
            None => return false,
        };
        let Idle {
            channel,
            backlog,
            pty,
            env,
            agent,
        } = *idle;
        let agent = agent.then(|| AgentOpener {
            handle: handle.clone(),
            common: self.common.clone(),
            ours: self.ours.clone(),
            limit: self.rooms.limits.channels,
        });
        let client = self.common.session(channel, backlog, handle);
        let asked = session::Asked {
            pty,
            env,
            agent,
            unmet: self.unmet,
            ..self.asked(lease.clone(), destination.clone(), opening)
        };
        self.unmet = None;
        let ended = self.started(id, &client);
        self.carry(asked, client, ended);
        true
    }

    /// What is asked for on a channel of bytes.
    fn asked(
        &self,
        lease: Arc<Lease>,
        destination: Destination,
        opening: Opening,
    ) -> session::Asked {
        session::Asked {
            lease,
            destination,
            source: self.peer.ip(),
            connection: self.id.clone(),
            opening,
            pty: None,
            env: Vec::new(),
            agent: None,
            unmet: None,
            same_person_asked: self.rooms.approval.same_person_claim.is_some(),
        }
    }

    fn carry(&self, asked: session::Asked, client: ClientEnd, ended: Arc<AtomicBool>) {
        let (ends, handle) = (client.writer.ends.clone(), client.writer.handle.clone());
        let carried = session::run(self.rooms.clone(), asked, client, self.stop.clone());
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            carried.await;
            ended.store(true, Ordering::Relaxed);
            // A window that is shut takes no line, and what ends a connection is shown. Others on it
            // go on.
            if ends.is_stalled() && tasks.len() == 1 {
                let told = handle
                    .disconnect(Disconnect::ByApplication, NOT_READ.into(), "en".into())
                    .await;
                debug!(told = told.is_ok(), "the client does not read");
            }
        });
    }

    /// Whether one more channel may be opened, or why not.
    fn may_open(&mut self) -> Result<(), ChannelOpenFailure> {
        self.channels.retain(|_, state| match state {
            ChannelState::Idle(_) => true,
            ChannelState::Started(ended, _) => !ended.load(Ordering::Relaxed),
        });
        let in_time = self.opens.admit(Instant::now());
        if self.rooms.registry.is_closed() {
            return Err(ChannelOpenFailure::ConnectFailed);
        }
        if self.channels.len() >= self.rooms.limits.channels || !in_time {
            return Err(ChannelOpenFailure::ResourceShortage);
        }
        Ok(())
    }

    /// Carries a channel that leads to a place behind the target. The client hears of it once the
    /// target has opened its side.
    async fn forward(
        &mut self,
        channel: Channel<Msg>,
        place: Option<Place>,
        (request, what): (&str, String),
        reply: ChannelOpenHandle,
        handle: Handle,
    ) {
        let (Some(place), Stage::SignedIn { lease, destination }) = (place, &self.stage) else {
            self.refused(request, what);
            return reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
        };
        if matches!(destination, Destination::Console) {
            self.refused(request, what);
            return reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
        }
        let asked = self.asked(lease.clone(), destination.clone(), Opening::Forward(place));
        if let Err(failure) = self.may_open() {
            return reply.reject(failure).await;
        }
        let id = channel.id();
        let form = Form::asked(reply);
        let client = self.common.bytes(channel, form, None, handle);
        let ended = self.started(id, &client);
        self.carry(asked, client, ended);
    }

    /// Counts a channel that has started something until what this answers with says that it has
    /// ended.
    fn started(&mut self, id: ChannelId, client: &ClientEnd) -> Arc<AtomicBool> {
        let ended = Arc::new(AtomicBool::new(false));
        let state = ChannelState::Started(ended.clone(), client.writer.ends.clone());
        self.channels.insert(id, state);
        ended
    }

    /// The target that a client wants to go on to by itself (`ssh -J`), over the SSH that the bastion
    /// ends. Whether there is one of that name is not said before its sign-in.
    fn jumps_to(&self, host: &str, port: u32) -> Option<Name> {
        let Stage::SignedIn { destination, .. } = &self.stage else {
            return None;
        };
        let is_jump = matches!(destination, Destination::Console) && port == SSH_PORT;
        is_jump.then(|| target_name(host).ok()).flatten()
    }

    /// Begins a connection of the client's within this one.
    async fn jump(
        &mut self,
        channel: Channel<Msg>,
        target: Name,
        reply: ChannelOpenHandle,
        handle: Handle,
    ) {
        if let Err(failure) = self.may_open() {
            return reply.reject(failure).await;
        }
        let Stage::SignedIn { lease, destination } = &self.stage else {
            return;
        };
        let asked = self.asked(lease.clone(), destination.clone(), Opening::Shell);
        let Some(pass) = self.server.gate.admit(self.peer.ip()) else {
            crate::metrics::global().connection_refused();
            info!(connection = %self.id, "too many connections before sign-in");
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        let id = channel.id();
        let form = Form::asked(reply);
        let mut client = self.common.bytes(channel, form, None, handle);
        client.writer.hurry();
        let ended = self.started(id, &client);
        let jump = Jump {
            target,
            client,
            asked,
            id: ConnectionId::new(),
            peer: self.peer,
            pass,
        };
        let carried = jump::carry(self.server.clone(), jump, self.stop.clone());
        self.tasks.spawn(async move {
            carried.await;
            ended.store(true, Ordering::Relaxed);
        });
    }

    /// What a client is told that came to go on to `host` by itself (`ssh -J`, `ssh -W`), and does
    /// nothing else here. The refusal of a channel has no room for it, so that its connection ends
    /// with it.
    fn no_jump(&self, host: &str) -> Option<String> {
        let Stage::SignedIn { destination, .. } = &self.stage else {
            return None;
        };
        (matches!(destination, Destination::Console) && self.channels.is_empty()).then(|| {
            let name = &self.rooms.name;
            if host == name {
                // The block gives each target the bastion's own address.
                return format!(
                    "bastion: this jump leads to the bastion itself: with the block that ssh {name} config prints, use ssh TARGET without -J"
                );
            }
            let mut host = printable(host);
            host.truncate(host.floor_char_boundary(MAX_SHOWN));
            format!(
                "bastion: nothing is relayed that cannot be recorded (-J to more than port 22 of a target's name, -W, -L without a target): use ssh LOGIN@{host}@{name}, or the block that ssh {name} config prints"
            )
        })
    }

    /// Whether the policies of this moment may let the target ask the client's agent. Whether they
    /// do is decided when a session begins.
    fn may_have_agent(&self) -> bool {
        let Stage::SignedIn { lease, destination } = &self.stage else {
            return false;
        };
        let asked = self.asked(lease.clone(), destination.clone(), Opening::Shell);
        session::may_have_agent(&self.rooms, &asked)
    }

    fn idle(&mut self, id: ChannelId) -> Option<&mut Idle> {
        match self.channels.get_mut(&id) {
            Some(ChannelState::Idle(idle)) => Some(idle),
            _ => None,
        }
    }

    /// Counts what arrived, and ends the connection of a client that ignores its window, or sends
    /// data on a channel on which nothing was started: nobody would ever take it.
    fn received(&mut self, id: ChannelId, n: usize, session: &Session) -> Result<(), russh::Error> {
        if self.idle(id).is_some() {
            warn!(connection = %self.id, peer = %self.peer, "data before anything was started");
            return Err(russh::Error::Inconsistent);
        }
        let now = Instant::now().into_std();
        let mut flow = self.common.flow.lock();
        if !self.channels.contains_key(&id) {
            // One that we opened, whose opener has not come to it yet.
            drop(flow.opened(id));
        }
        flow.arrived(id, n, session.window_size(&id), now)
            .map_err(|Overrun| {
                warn!(connection = %self.id, peer = %self.peer, "the client ignores its window");
                russh::Error::Inconsistent
            })
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        self.forget_unless(user);
        Ok(Auth::Reject {
            proceed_with_methods: Some(first_methods(self.rooms.require_key)),
            partial_success: false,
        })
    }

    async fn auth_password(&mut self, user: &str, _: &str) -> Result<Auth, Self::Error> {
        // Nobody signs in with one; another name drops what was proven under the first.
        self.forget_unless(user);
        Ok(Auth::Reject {
            proceed_with_methods: None,
            partial_success: false,
        })
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        _: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        // An offer proves nothing and changes nothing but its own count; another name drops what
        // was proven under the first.
        self.forget_unless(user);
        self.offers += 1;
        if self.offers > self.rooms.limits.key_offers {
            info!(connection = %self.id, peer = %self.peer, "too many key offers");
            return Err(russh::Error::Disconnect);
        }
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if matches!(self.stage, Stage::Refused) {
            return Ok(nothing_more());
        }
        let key = KeyId::of(key.public_key);
        let lease = match self.rooms.sign_ins.lease(&key).await {
            Ok(lease) => lease,
            Err(error) => {
                // Without its store nobody gets in; the line is shown by the next method.
                warn!(%error, "leases cannot be read");
                None
            }
        };
        if let (Some(lease), Ok(destination)) = (lease, self.destination(user)) {
            let used = Event::LeaseUsed {
                connection: self.id.to_string(),
                user: lease.who(),
                source: self.peer.ip(),
                key: Some(key.to_string()),
                lease: lease.id,
            };
            if !self.audited(used) {
                return Ok(nothing_more());
            }
            self.stage = Stage::SignedIn {
                lease: Arc::new(lease),
                destination,
            };
            return Ok(Auth::Accept);
        }
        self.stage = Stage::Proven {
            name: user.to_owned(),
            key,
        };
        Ok(Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(&[MethodKind::KeyboardInteractive][..])),
            partial_success: true,
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let stage = std::mem::replace(&mut self.stage, Stage::Fresh);
        match (stage, response) {
            (Stage::Proven { name, key }, None) if name == user => {
                self.begin(user, Some(key)).await
            }
            (Stage::Fresh, None) if !self.rooms.require_key => self.begin(user, None).await,
            (Stage::Asked { name, key, pending }, Some(mut response)) if name == user => {
                match response.next() {
                    None => self.finish(user, key, *pending).await,
                    // There was no prompt to answer.
                    Some(_) => Ok(nothing_more()),
                }
            }
            (Stage::Refused, _) => {
                self.stage = Stage::Refused;
                Ok(nothing_more())
            }
            // Another name, or a step out of order: all progress is gone.
            _ => Ok(Auth::Reject {
                proceed_with_methods: Some(first_methods(self.rooms.require_key)),
                partial_success: false,
            }),
        }
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.deadline.send_replace(None);
        self.pass = None;
        if !self.seen.first() {
            error!(connection = %self.id, "exchanges of keys are not seen, so that nobody could bound them");
            return Err(russh::Error::Inconsistent);
        }
        match &self.stage {
            Stage::SignedIn { lease, destination } => {
                info!(connection = %self.id, peer = %self.peer, user = ?lease.user.name, %destination, "signed in");
                Ok(())
            }
            _ => Err(russh::Error::Inconsistent),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Err(failure) = self.may_open() {
            reply.reject(failure).await;
            return Ok(());
        }
        let id = channel.id();
        let backlog = self.common.flow.lock().opened(id);
        let idle = Idle {
            channel,
            backlog,
            pty: None,
            env: Vec::new(),
            agent: false,
        };
        self.channels.insert(id, ChannelState::Idle(Box::new(idle)));
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(host.len())?;
        if let Some(target) = self.jumps_to(host, port) {
            self.jump(channel, target, reply, session.handle()).await;
            return Ok(());
        }
        let place = Place::port(host, port);
        let what = ("direct-tcpip", format!("{host}:{port}"));
        let line = self.no_jump(host);
        self.forward(channel, place, what, reply, session.handle())
            .await;
        match line {
            Some(line) => session.disconnect(Disconnect::ByApplication, &line, "en"),
            None => Ok(()),
        }
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(path.len())?;
        let place = Place::socket(path);
        let what = ("direct-streamlocal", path.to_owned());
        self.forward(channel, place, what, reply, session.handle())
            .await;
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        host: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(host.len())?;
        self.refused("x11", host);
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.requested(address.len())?;
        self.refused("tcpip-forward", format_args!("{address}:{port}"));
        self.unmet = Some(NO_REMOTE);
        Ok(false)
    }

    async fn streamlocal_forward(
        &mut self,
        path: &str,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.requested(path.len())?;
        self.refused("streamlocal-forward", path);
        self.unmet = Some(NO_REMOTE);
        Ok(false)
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        // A session that has not noticed yet still counts.
        if matches!(self.channels.get(&id), Some(ChannelState::Idle(_))) {
            self.channels.remove(&id);
        }
        self.common.flow.lock().closed(id);
        Ok(())
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.received(id, data.len(), session)
    }

    async fn extended_data(
        &mut self,
        id: ChannelId,
        _: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.received(id, data.len(), session)
    }

    fn adjust_window(&mut self, id: ChannelId, granted: u32) -> u32 {
        let now = Instant::now().into_std();
        self.common.flow.lock().target(id, granted, now)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(term.len() + 8 * modes.len())?;
        let largest = self.common.largest;
        let taken = match self.idle(id) {
            Some(idle) if idle.pty.is_none() && is_term(term) => {
                let size = largest.clamp((cols, rows), (width, height));
                let modes = modes
                    .iter()
                    .copied()
                    .filter(|(mode, _)| *mode != russh::Pty::TTY_OP_END)
                    .collect();
                idle.pty = Some(Pty {
                    term: term.to_owned(),
                    size,
                    modes,
                });
                true
            }
            _ => false,
        };
        answer(session, id, taken)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(name.len() + value.len())?;
        let rooms = self.rooms.clone();
        let taken = match self.idle(id) {
            Some(idle) if idle.env.len() < MAX_ENV && is_env(name, value, &rooms.limits) => {
                idle.env.push((name.to_owned(), value.to_owned()));
                true
            }
            _ => false,
        };
        answer(session, id, taken)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(0)?;
        let started = self.start(id, Opening::Shell, session.handle());
        answer(session, id, started)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(command.len())?;
        let fits = command.len() <= self.rooms.limits.command_bytes && !command.contains(&0);
        if !fits {
            let length = command.len();
            self.refused("exec", format_args!("{length} bytes, or a NUL among them"));
        }
        let started = fits && self.start(id, Opening::Exec(command.to_vec()), session.handle());
        answer(session, id, started)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(name.len())?;
        if name != "sftp" {
            self.refused("subsystem", name);
        }
        let started = name == "sftp" && self.start(id, Opening::Sftp, session.handle());
        answer(session, id, started)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        protocol: &str,
        cookie: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(protocol.len() + cookie.len())?;
        self.refused("x11-req", "");
        answer(session, id, false)
    }

    async fn agent_request(&mut self, id: ChannelId, _: &mut Session) -> Result<bool, Self::Error> {
        self.requested(0)?;
        let may = self.may_have_agent();
        match self.idle(id) {
            Some(idle) if may => {
                idle.agent = true;
                Ok(true)
            }
            _ => {
                self.refused("auth-agent-req", "");
                Ok(false)
            }
        }
    }

    async fn window_change_request(
        &mut self,
        _: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.requested(0)
    }

    async fn signal(&mut self, _: ChannelId, _: Sig, _: &mut Session) -> Result<(), Self::Error> {
        self.requested(0)
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.requested(0)?;
        let others = self.channels.iter().any(|(other, state)| match state {
            ChannelState::Idle(_) => true,
            ChannelState::Started(ended, _) => *other != id && !ended.load(Ordering::Relaxed),
        });
        // What we opened is read from the same socket.
        let others = others || self.ours.load(Ordering::Relaxed) > 0;
        if let Some(ChannelState::Started(_, ends)) = self.channels.get(&id) {
            ends.heard_eof(!others);
        }
        Ok(())
    }
}

/// Channels that a peer opened within the last minute.
#[derive(Debug)]
pub(crate) struct Opens {
    limit: usize,
    began: Instant,
    count: usize,
}

impl Opens {
    /// So many of them are let through.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            began: Instant::now(),
            count: 0,
        }
    }

    /// Counts one more, and says whether it is one too many.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        if now.duration_since(self.began) >= Duration::from_secs(60) {
            self.began = now;
            self.count = 0;
        }
        self.count += 1;
        self.count <= self.limit
    }
}

/// What one connection's requests cost within the last minute. The library keeps each in its
/// channel's inbox until somebody reads it, and nobody reads a channel that has started nothing.
struct Requests {
    began: Instant,
    bytes: usize,
}

impl Requests {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            bytes: 0,
        }
    }

    fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        if now.duration_since(self.began) >= Duration::from_secs(60) {
            self.began = now;
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes + REQUEST_COST);
        self.bytes <= REQUEST_BYTES
    }
}

/// Returns when the deadline, which may move or be lifted, has passed.
async fn passed(deadline: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let until = *deadline.borrow_and_update();
        let changed = deadline.changed();
        let gone = match until {
            Some(until) => tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                changed = changed => changed.is_err(),
            },
            None => changed.await.is_err(),
        };
        if gone {
            // The connection is gone, and so is its deadline.
            return std::future::pending().await;
        }
    }
}

/// Text for the client without a prompt, so that nobody has to press Enter.
fn show(instructions: String) -> Auth {
    Auth::Partial {
        name: Cow::Borrowed(""),
        instructions: Cow::Owned(instructions),
        prompts: Cow::Borrowed(&[]),
    }
}

/// A refusal after which the client has no method left to try.
fn nothing_more() -> Auth {
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::empty()),
        partial_success: false,
    }
}

fn first_methods(require_key: bool) -> MethodSet {
    if require_key {
        MethodSet::from(&[MethodKind::PublicKey][..])
    } else {
        MethodSet::from(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive][..])
    }
}

fn answer(session: &mut Session, id: ChannelId, yes: bool) -> Result<(), russh::Error> {
    if yes {
        session.channel_success(id)
    } else {
        session.channel_failure(id)
    }
}

fn is_term(term: &str) -> bool {
    term.len() <= 32
        && term
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

/// The variables that go on to the target, and those that are read here (limits.md).
fn is_env(name: &str, value: &str, limits: &Limits) -> bool {
    // Ours are not the operator's to narrow: `BASTION_HOLD=detach` has eleven bytes.
    let longest = if is_continued(name, "BASTION_") {
        OWN_ENV_VALUE
    } else if limits.env.has(name) {
        limits.env_value_bytes
    } else {
        return false;
    };
    value.len() <= longest
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._@:/+-".contains(&b))
}

/// What came of a sign-in whose user name says neither a target nor the console.
const BAD_NAME: &str = "bad_name";
/// What a client is told whose sign-in cannot be written down.
const NOT_AUDITED: &str = "nobody can sign in now: the audit log is not available";
/// Every refusal before sign-in takes at least so long, whatever its reason.
const REJECTION: Duration = Duration::from_millis(100);
/// A client that does not take our last words is cut after this.
const FAREWELL: Duration = Duration::from_secs(1);
/// So long a client has to show that its code has expired, and to leave.
const LAST_LINE: Duration = Duration::from_secs(5);
/// A client of which nothing is heard is asked whether it is there after this, again and again; at
/// half of `limits.write_stall` where that is sooner.
const ASKED_AFTER: Duration = Duration::from_secs(30);
/// From the first such question to the end of a connection that answers none.
const SILENCE: Duration = Duration::from_secs(90);
/// Memory that one request takes beside its strings, in bytes.
const REQUEST_COST: usize = 256;
/// Requests of one connection in a minute, in bytes: twice what a hundred channels with a full
/// environment ask for, or a window dragged for the whole minute.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Refused requests of one connection that are written down in a minute.
const REFUSALS: usize = 100;
/// Bytes that are kept of what was refused.
const MAX_WHAT: usize = 512;
/// Longest value of a variable that is read here, in bytes (limits.md).
const OWN_ENV_VALUE: usize = 64;
/// Bytes of a name that are shown: a client cuts what ends a connection at 400.
const MAX_SHOWN: usize = 128;
/// What a client is told that has not read for too long.
const NOT_READ: &str = "bastion: the client has not read for too long";
/// What whoever asks for a port towards the client is told.
const NO_REMOTE: &str = "nothing is forwarded towards the client (-R): it would open your network to the target; -L is the way that a policy can grant";
/// Where a target that is named in `-J` is asked for: its own address and port are the inventory's.
const SSH_PORT: u32 = 22;
/// Environment variables of one channel.
const MAX_ENV: usize = 64;
