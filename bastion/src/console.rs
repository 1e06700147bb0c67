//! The console: the bastion's own commands, over SSH.
//!
//! Owns the parser of a command line, the commands, and how their answers look. There is no shell
//! and no file that a user names. Nothing that a user, a target or a provider chose is printed
//! unless it is safe for a terminal.

mod audit;
mod command;
mod holds;
mod inbox;
mod lock;
mod play;
mod requests;
mod screen;
mod text;
mod votes;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use scanner::Stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::play::Begin;
use self::screen::Screen;
use crate::access::{Access, Action, Denied, SessionOf, Visible};
use crate::audit::Event;
use crate::login::Lease;
use crate::record::{self, ExitStatus, ReadBack, SessionId, Summary};
use crate::session::{Asked, NOT_ALLOWED, Notices, REFUSED, Rooms, close, give_up};
use crate::ssh::{ClientEnd, ClientReader, ClientWriter, Ended, Gone, Opening};

use command::{Command, Usage};
use text::{Table, ascii};
pub(crate) use text::{exact, safe};

/// Answers one command and closes the channel with its status.
pub(crate) async fn run(
    rooms: &Arc<Rooms>,
    asked: Asked,
    client: ClientEnd,
    stop: CancellationToken,
) {
    let ClientEnd { mut reader, writer } = client;
    let notices = Notices::new(&asked.env, asked.pty.is_some());
    let line = match &asked.opening {
        Opening::Exec(line) => line.as_slice(),
        Opening::Shell if asked.pty.is_some() => b"inbox".as_slice(),
        Opening::Shell => b"help".as_slice(),
        Opening::Sftp | Opening::Forward(_) => {
            let line = "the console has no files and no ports; use LOGIN@TARGET@BASTION";
            return give_up(&writer, &notices, line, NOT_ALLOWED).await;
        }
    };
    let command = match Command::parse(line, rooms.limits.console_line) {
        Ok(command) => command,
        Err(usage) => return give_up(&writer, &notices, &usage.to_string(), Usage::STATUS).await,
    };
    info!(connection = %asked.connection, user = ?asked.lease.user.name, ?command, "console");
    let screen = Screen::default();
    let console = Console {
        rooms,
        asked: &asked,
        writer: &writer,
        screen: &screen,
    };
    // Whoever signs out hears the answer.
    let lasts = !matches!(command, Command::SignOut { .. });
    let answered = tokio::select! {
        answered = console.answer(&command, &mut reader) => answered,
        () = rooms.sign_ins.over(&asked.lease), if lasts => Err(Failure::Denied(SIGN_IN_ENDED.into())),
        () = stop.cancelled() => Err(Failure::Refused("the bastion is shutting down; connect again later".into())),
    };
    // Whatever the end is, and before its line. A client that is gone has no screen.
    tokio::time::timeout(writer.patience(), screen.leave(&writer))
        .await
        .unwrap_or(Ok(()))
        .unwrap_or(());
    match answered {
        Ok(()) => close(&writer, Ended::Status(0), true).await,
        Err(Failure::Gone) => {}
        Err(Failure::Denied(line)) => give_up(&writer, &notices, &line, NOT_ALLOWED).await,
        Err(Failure::Refused(line)) => give_up(&writer, &notices, &line, REFUSED).await,
        Err(Failure::Usage(line)) => give_up(&writer, &notices, &line, Usage::STATUS).await,
        Err(Failure::Status(line, status)) => give_up(&writer, &notices, &line, status).await,
    }
}

/// What somebody is told whose sign-in is over while the console answers.
const SIGN_IN_ENDED: &str = "your sign-in has ended; connect again to sign in";

/// Why a command has no answer; the line is for the user.
enum Failure {
    Gone,
    Denied(String),
    Refused(String),
    Usage(String),
    /// With this exit status.
    Status(String, u32),
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

#[derive(Clone, Copy)]
struct Console<'a> {
    rooms: &'a Rooms,
    asked: &'a Asked,
    writer: &'a ClientWriter,
    screen: &'a Screen,
}

impl Console<'_> {
    async fn answer(&self, command: &Command, reader: &mut ClientReader) -> Result<(), Failure> {
        match command {
            Command::Help { json } => self.help(*json).await,
            Command::Whoami { explain, json } => self.whoami(*explain, *json).await,
            Command::Inbox { plain, json } => match json {
                true => self.inbox_json().await,
                false => self.inbox(*plain, reader).await,
            },
            Command::Targets { json } => self.targets(*json).await,
            Command::Config { json } => self.config(*json).await,
            Command::Sessions { active, json } => self.sessions(*active, *json).await,
            Command::Audit { since, json } => self.audit_log(since.as_deref(), *json).await,
            Command::Leases { json } => self.leases(*json).await,
            Command::SignOut { all, json } => self.sign_out(*all, *json).await,
            Command::End { session, json } => self.end_session(session, *json).await,
            Command::EndOf { user, json } => self.end_of(user, *json).await,
            Command::Lock { whom, reason, json } => self.lock(whom, reason, *json).await,
            Command::Unlock { whom, json } => self.unlock(whom, *json).await,
            Command::Locks { json } => self.locks(*json).await,
            Command::Watch { session, json } => {
                self.play(session, *json, reader, Begin::AtItsEnd).await
            }
            Command::Play { session, json } => {
                self.play(session, *json, reader, Begin::AtItsStart).await
            }
            Command::Recording { session, json } => self.recording(session, *json).await,
            Command::Holds { all, json } => self.holds(*all, *json).await,
            Command::Request {
                target,
                login,
                reason,
                period,
                json,
            } => {
                let ask = requests::Ask {
                    target,
                    login: login.as_deref(),
                    reason,
                    period: *period,
                };
                self.request(ask, *json).await
            }
            Command::Requests { all, json } => self.requests(*all, *json).await,
            Command::Revoke {
                request,
                reason,
                json,
            } => self.revoke(request, reason.as_deref(), *json).await,
            // The letter says what a name is of; what is no whole name is told so there.
            Command::Show {
                hold,
                payload: false,
                json,
            } if requests::names(hold) => self.show_request(hold, *json).await,
            Command::Decide {
                hold,
                decision,
                reason,
                json,
            } if requests::names(hold) => {
                self.decide_request(hold, *decision, reason.as_deref(), *json)
                    .await
            }
            Command::Cancel { hold, reason, json } if requests::names(hold) => {
                self.cancel_request(hold, reason.as_deref(), *json).await
            }
            Command::Show {
                hold,
                payload,
                json,
            } => self.show(hold, *payload, *json).await,
            Command::Decide {
                hold,
                decision,
                reason,
                json,
            } => self.decide(hold, *decision, reason.as_deref(), *json).await,
            Command::Fetch { hold, json } => self.fetch(hold, *json).await,
            Command::Cancel { hold, reason, json } => {
                self.cancel(hold, reason.as_deref(), *json).await
            }
        }
    }

    fn lease(&self) -> &Lease {
        &self.asked.lease
    }

    async fn help(&self, json: bool) -> Result<(), Failure> {
        if json {
            let commands: Vec<_> = command::HELP
                .iter()
                .map(|(usage, does)| json!({ "command": usage, "does": does }))
                .collect();
            return self.json(&json!({ "commands": commands })).await;
        }
        let mut text = format!(
            "bastion {}: signed in as {}\n\n  ssh LOGIN@TARGET@{} [COMMAND]   a shell or a command on a target\n  ssh -t {}   the inbox: what waits for you\n\nConsole (ssh {} COMMAND), each with --json:\n",
            env!("CARGO_PKG_VERSION"),
            safe(&self.lease().user.name),
            self.rooms.name,
            self.rooms.name,
            self.rooms.name,
        );
        for (usage, does) in command::HELP {
            text.push_str(&format!("  {usage:<26} {does}\n"));
        }
        self.print(text).await
    }

    async fn whoami(&self, explain: bool, json: bool) -> Result<(), Failure> {
        let lease = self.lease();
        let user = &lease.user;
        if json {
            let mut answer = json!({
                "user": user.name,
                "issuer": user.identity.issuer,
                "subject": user.identity.subject,
                "email": user.email,
                "groups": user.groups,
                "key": lease.key.as_ref().map(ToString::to_string),
                "signed_in_at": lease.signed_in_at,
                "expires_at": lease.expires_at,
                "source": self.asked.source,
            });
            if explain {
                let rights = rights_json(&self.rights().await?);
                if let Some(object) = answer.as_object_mut() {
                    object.insert("evidence".into(), self.evidence());
                    object.insert("rights".into(), rights);
                }
            }
            return self.json(&answer).await;
        }
        let groups: Vec<_> = user.groups.iter().map(|group| safe(group)).collect();
        let mut rows = vec![
            ("user", safe(&user.name)),
            (
                "identity",
                format!(
                    "{} at {}",
                    safe(&user.identity.subject),
                    safe(&user.identity.issuer)
                ),
            ),
            (
                "email",
                user.email.as_deref().map_or_else(|| "-".into(), safe),
            ),
            (
                "groups",
                if groups.is_empty() {
                    "none".into()
                } else {
                    groups.join(", ")
                },
            ),
            (
                "key",
                lease.key.as_ref().map_or_else(
                    || "none: signed in for this connection only".into(),
                    |key| key.to_string(),
                ),
            ),
            (
                "signed in",
                format!(
                    "{}, until {}",
                    text::time(lease.signed_in_at),
                    text::time(lease.expires_at)
                ),
            ),
            ("from", self.asked.source.to_string()),
        ];
        if explain {
            for evidence in &user.evidence {
                rows.push((
                    "because",
                    format!(
                        "claim {}: {}",
                        safe(&evidence.claim),
                        safe(&evidence.detail)
                    ),
                ));
            }
            for right in self.rights().await? {
                let until = right
                    .until
                    .map_or_else(String::new, |until| format!(" until {}", text::time(until)));
                rows.push((
                    "may",
                    format!(
                        "{} on {}@{}{until} by {}",
                        words(&right.actions),
                        right.login,
                        right.target,
                        safe(&right.policies.join(", "))
                    ),
                ));
            }
        }
        self.print(
            rows.into_iter()
                .map(|(name, value)| format!("{name:<10} {value}\n"))
                .collect(),
        )
        .await
    }

    fn evidence(&self) -> Value {
        let each = self.lease().user.evidence.iter();
        each.map(|evidence| json!({ "claim": evidence.claim, "from": evidence.from, "gave": evidence.gave, "detail": evidence.detail }))
            .collect()
    }

    /// What this user could do now, also by requests that were approved.
    async fn rights(&self) -> Result<Vec<Visible>, Failure> {
        let opened = self.rooms.requests.opened(&self.lease().user.identity);
        let opened = opened
            .await
            .map_err(|error| unavailable(&error, "requests cannot be read now; try again later"))?;
        let (person, source) = (self.asked.person(), self.asked.source);
        let access = self.rooms.access();
        Ok(access.visible(&person, source, Timestamp::now(), &opened))
    }

    async fn targets(&self, json: bool) -> Result<(), Failure> {
        let visible = self.rights().await?;
        if json {
            return self
                .json(&json!({ "targets": rights_json(&visible) }))
                .await;
        }
        if visible.is_empty() {
            return self.print("no target that you may reach\n".into()).await;
        }
        let mut table = Table::new(["TARGET", "LOGIN", "MAY", "UNTIL", "CONNECT"]);
        for right in visible {
            let connect = format!("ssh {}@{}@{}", right.login, right.target, self.rooms.name);
            table.row([
                right.target.to_string(),
                right.login.to_string(),
                words(&right.actions),
                right.until.map_or_else(|| "-".to_owned(), text::time),
                connect,
            ]);
        }
        self.print(table.to_string()).await
    }

    async fn config(&self, json: bool) -> Result<(), Failure> {
        let visible = self.rights().await?;
        let address = match self.rooms.port {
            22 => self.rooms.name.clone(),
            port => format!("[{}]:{port}", self.rooms.name),
        };
        let keys: Vec<_> = self
            .rooms
            .host_keys
            .iter()
            .filter_map(|key| key.to_openssh().ok())
            .collect();
        let mut known_hosts: Vec<_> = keys.iter().map(|key| format!("{address} {key}")).collect();
        // For `ssh -J`, where the bastion answers in a target's name.
        let targets: std::collections::BTreeSet<_> = visible
            .iter()
            .map(|right| right.target.to_string())
            .collect();
        if !targets.is_empty() {
            let targets = targets.into_iter().collect::<Vec<_>>().join(",");
            match &self.rooms.host_ca {
                Some(ca) => {
                    let key = ca.public_key().to_openssh();
                    known_hosts.extend(key.map(|key| format!("@cert-authority {targets} {key}")));
                }
                None => known_hosts.extend(keys.iter().map(|key| format!("{targets} {key}"))),
            }
        }
        let mut block = format!(
            "# bastion: append to ~/.ssh/config\nHost {0}\n    HostName {0}\n    Port {1}\n",
            self.rooms.name, self.rooms.port
        );
        let mut named = std::collections::BTreeSet::new();
        for right in &visible {
            let until = right.until.map_or_else(String::new, |until| {
                let until = text::time(until);
                format!(
                    "\n# {}@{}: until {until}, by an approved request",
                    right.login, right.target
                )
            });
            let mut host = format!("{until}\nHost {}.{}", right.login, right.target);
            if named.insert(right.target.to_string()) {
                host.push_str(&format!(" {}", right.target));
            }
            block.push_str(&format!(
                "{host}\n    HostName {}\n    Port {}\n    User {}@{}\n",
                self.rooms.name, self.rooms.port, right.login, right.target
            ));
        }
        if json {
            return self
                .json(&json!({ "ssh_config": block, "known_hosts": known_hosts }))
                .await;
        }
        block.push_str(
            "\n# the bastion's host keys, also in the targets' names for ssh -J, for ~/.ssh/known_hosts:\n",
        );
        for line in known_hosts {
            block.push_str(&format!("# {line}\n"));
        }
        self.print(block).await
    }

    async fn sessions(&self, active: bool, json: bool) -> Result<(), Failure> {
        let sessions: Vec<_> = self
            .readable()
            .await?
            .into_iter()
            .filter(|session| !active || session.is_active() || self.is_unrecorded(session))
            .collect();
        if json {
            let each = sessions.iter();
            let sessions: Vec<_> = each
                .map(|session| summary(session, self.is_unrecorded(session)))
                .collect();
            return self.json(&json!({ "sessions": sessions })).await;
        }
        if sessions.is_empty() {
            return self.print("no session\n".into()).await;
        }
        let mut table = Table::new([
            "SESSION", "STARTED", "USER", "ACCOUNT", "KIND", "STATUS", "COMMAND",
        ]);
        for session in &sessions {
            let about = &session.about;
            table.row([
                session.id.to_string(),
                text::time(session.started),
                safe(&about.user),
                safe(&format!("{}@{}", about.login, about.target)),
                marked(session),
                self.status(session),
                text::shortened(&safe(&command_text(session)), 60),
            ]);
        }
        self.print(table.to_string()).await
    }

    /// Whether a session runs, or how it ended, in a word; and whether parts of it are in no recording.
    fn status(&self, session: &Summary) -> String {
        match &session.ended {
            None => "running".into(),
            Some(_) if self.is_unrecorded(session) => "running, unrecorded".into(),
            Some(end) => {
                let mut text = ended(end);
                if !session.gaps.is_empty() {
                    text.push_str(", then a gap");
                }
                match session.withheld {
                    0 => {}
                    1 => text.push_str(", 1 frame withheld"),
                    n => text.push_str(&format!(", {n} frames withheld")),
                }
                text
            }
        }
    }

    /// Whether the session goes on although its recording has ended.
    fn is_unrecorded(&self, session: &Summary) -> bool {
        self.rooms.registry.is_unrecorded(session.id.as_str())
    }

    async fn leases(&self, json: bool) -> Result<(), Failure> {
        let leases = self
            .rooms
            .sign_ins
            .leases(Some(&self.lease().user.identity))
            .await
            .map_err(|error| unavailable(&error, "the leases cannot be read now"))?;
        if json {
            let leases: Vec<_> = leases
                .iter()
                .map(|lease| {
                    json!({
                        "id": lease.id,
                        "key": lease.key.as_ref().map(ToString::to_string),
                        "source": lease.source,
                        "signed_in_at": lease.signed_in_at,
                        "expires_at": lease.expires_at,
                        "checked_at": lease.checked_at,
                        "this": lease.id == self.lease().id,
                    })
                })
                .collect();
            return self.json(&json!({ "leases": leases })).await;
        }
        let mut table = Table::new(["LEASE", "KEY", "SIGNED IN", "CHECKED", "UNTIL", "FROM"]);
        for lease in &leases {
            table.row([
                format!(
                    "{}{}",
                    lease.id,
                    if lease.id == self.lease().id {
                        " (this)"
                    } else {
                        ""
                    }
                ),
                lease
                    .key
                    .as_ref()
                    .map_or_else(|| "-".into(), ToString::to_string),
                text::time(lease.signed_in_at),
                text::time(lease.checked_at),
                text::time(lease.expires_at),
                lease.source.to_string(),
            ]);
        }
        self.print(table.to_string()).await
    }

    async fn sign_out(&self, all: bool, json: bool) -> Result<(), Failure> {
        let identity = &self.lease().user.identity;
        let only = if all { None } else { Some(self.lease().id) };
        let leases = self
            .rooms
            .sign_ins
            .sign_out(identity, only)
            .await
            .map_err(|error| {
                unavailable(
                    &error,
                    "signing out does not work now; the lease still holds",
                )
            })?;
        // Taking rights away does not depend on the log.
        let sessions = if all {
            self.rooms.registry.end_all_of(identity)
        } else {
            0
        };
        let signed_out = Event::SignedOut {
            user: self.lease().who(),
            leases,
        };
        if let Err(error) = self.rooms.audit.record_soon(signed_out) {
            let line = "signed out, but the audit log cannot be written; tell the operator";
            return Err(unavailable(&error, line));
        }
        if json {
            return self
                .json(&json!({ "leases": leases, "sessions_ended": sessions }))
                .await;
        }
        self.print(format!(
            "signed out: {leases} lease(s), {sessions} session(s) ended\n"
        ))
        .await
    }

    async fn play(
        &self,
        session: &str,
        json: bool,
        reader: &mut ClientReader,
        begin: Begin,
    ) -> Result<(), Failure> {
        let (action, name) = match begin {
            Begin::AtItsStart => (Action::Play, "play"),
            Begin::AtItsEnd => (Action::Watch, "watch"),
        };
        // From before the question, so that no change falls between.
        let policies = self.rooms.access.changes();
        let (found, id) = self.find(session, action).await?;
        if json {
            let unrecorded = self.is_unrecorded(&found);
            return self.json(&summary(&found, unrecorded)).await;
        }
        let Some(pty) = &self.asked.pty else {
            let line = format!(
                "{name} needs a terminal: ssh -t {} {name} {session}",
                self.rooms.name
            );
            return Err(Failure::Usage(line));
        };
        let recording = self.open(&id).await?;
        self.screen.enter(self.writer).await?;
        tokio::select! {
            played = play::play(recording, begin, pty, self.writer, reader) => Ok(played?),
            withdrawn = self.withdrawn(action, &found, policies) => Err(withdrawn),
        }
    }

    /// Waits until the sign-in is over, or lets this user read the session no more, by its groups or
    /// by the policies; answers with what they are told. Cancel-safe.
    async fn withdrawn(
        &self,
        action: Action,
        session: &Summary,
        mut policies: watch::Receiver<Arc<Access>>,
    ) -> Failure {
        let mut asked = self.asked.clone();
        loop {
            let lease = asked.lease.clone();
            tokio::select! {
                stands = self.rooms.sign_ins.changed(&lease) => match stands {
                    Some(lease) => asked.lease = Arc::new(lease),
                    None => return Failure::Denied(SIGN_IN_ENDED.to_owned()),
                },
                Ok(()) = policies.changed() => {}
            }
            let console = Console {
                asked: &asked,
                ..*self
            };
            let Err(denied) = console.may(action, session) else {
                continue;
            };
            let refused = Event::ConsoleDenied {
                user: console.lease().who(),
                action: action.name().to_owned(),
                what: session.id.to_string(),
                reason: denied.reason().to_string(),
            };
            return match console.audit(refused) {
                Ok(()) => Failure::Denied(format!("you may no longer read {}", session.id)),
                Err(failure) => failure,
            };
        }
    }

    async fn open(&self, id: &SessionId) -> Result<ReadBack, Failure> {
        let opened = self.rooms.recorder.read(id).await;
        opened.map_err(|error| unavailable(&error, "the recording cannot be read now"))
    }

    async fn recording(&self, session: &str, json: bool) -> Result<(), Failure> {
        let (found, id) = self.find(session, Action::Recording).await?;
        if json {
            let unrecorded = self.is_unrecorded(&found);
            return self.json(&summary(&found, unrecorded)).await;
        }
        if self.asked.pty.is_some() {
            let line = "a recording is no text for a terminal; leave -t out, or use: play";
            return Err(Failure::Usage(line.to_owned()));
        }
        let mut bytes = self.open(&id).await?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let n = bytes
                .read(&mut buffer)
                .await
                .map_err(|error| unavailable(&error, "the recording cannot be read to its end"))?;
            if n == 0 {
                return Ok(());
            }
            let piece = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
            self.writer.answer(Stream::Stdout, piece).await?;
        }
    }

    /// A recording by its whole id, where this user may read it; the reading is audited first.
    async fn find(&self, session: &str, action: Action) -> Result<(Summary, SessionId), Failure> {
        let unknown = || Failure::Denied(format!("no session {} that you may read", safe(session)));
        let id: SessionId = session.parse().map_err(|_| unknown())?;
        let all = self.list().await?;
        let found = all
            .into_iter()
            .find(|summary| summary.id == id)
            .ok_or_else(unknown)?;
        let policies = self.may(action, &found).map_err(|denied| {
            let refused = Event::ConsoleDenied {
                user: self.lease().who(),
                action: action.name().to_owned(),
                what: session.to_owned(),
                reason: denied.reason().to_string(),
            };
            match self.audit(refused) {
                Ok(()) => unknown(),
                Err(failure) => failure,
            }
        })?;
        if found.is_active() {
            // Before the first byte: who has seen a session as it ran took part in it.
            let seen = self
                .rooms
                .holds
                .watched(found.id.to_string(), self.asked.party());
            seen.await
                .map_err(|error| unavailable(&error, "it cannot be noted who watches"))?;
        }
        self.audit(Event::RecordingRead {
            user: self.lease().who(),
            session: session.to_owned(),
            action: action.name().to_owned(),
            policies,
        })?;
        Ok((found, id))
    }

    /// The sessions that this user may see: their own, and those that the policy shows them.
    async fn readable(&self) -> Result<Vec<Summary>, Failure> {
        let identity = &self.lease().user.identity;
        let mut sessions = self.list().await?;
        sessions.retain(|session| {
            let own = session.about.issuer == identity.issuer
                && session.about.subject == identity.subject;
            own || self.may(Action::Play, session).is_ok()
        });
        sessions.sort_by_key(|session| std::cmp::Reverse(session.started));
        Ok(sessions)
    }

    async fn list(&self) -> Result<Vec<Summary>, Failure> {
        let listed = self.rooms.recorder.list().await;
        listed.map_err(|error| unavailable(&error, "the recordings cannot be listed now"))
    }

    fn may(&self, action: Action, session: &Summary) -> Result<Vec<String>, Denied> {
        let id = session.id.to_string();
        let of = SessionOf {
            id: &id,
            owner_issuer: &session.about.issuer,
            owner_subject: &session.about.subject,
            target: &session.about.target,
            login: &session.about.login,
        };
        let access = self.rooms.access();
        access.may_read(
            &self.asked.person(),
            action,
            &of,
            self.asked.source,
            Timestamp::now(),
        )
    }

    fn audit(&self, event: Event) -> Result<(), Failure> {
        self.rooms.audit.record_soon(event).map_err(|error| {
            unavailable(
                &error,
                "the audit log cannot be written, so nothing is done",
            )
        })
    }

    async fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.print(format!("{}\n", ascii(value))).await
    }

    async fn print(&self, text: String) -> Result<(), Failure> {
        let text = if self.asked.pty.is_some() {
            text.replace('\n', "\r\n")
        } else {
            text
        };
        Ok(self
            .writer
            .answer(Stream::Stdout, Bytes::from(text))
            .await?)
    }
}

fn rights_json(rights: &[Visible]) -> Value {
    let each = rights.iter().map(|right| {
        let actions: Vec<_> = right.actions.iter().map(ToString::to_string).collect();
        json!({
            "target": right.target,
            "login": right.login,
            "actions": actions,
            "policies": right.policies,
            "until": right.until,
        })
    });
    each.collect()
}

/// Actions in a row.
fn words(actions: &[Action]) -> String {
    let words: Vec<_> = actions.iter().map(ToString::to_string).collect();
    words.join(" ")
}

fn unavailable(error: &dyn std::fmt::Display, line: &str) -> Failure {
    warn!(%error, line, "console");
    Failure::Refused(line.to_owned())
}

/// How a session ended, in a word.
fn ended(ended: &record::Ended) -> String {
    match &ended.end.status {
        Some(ExitStatus::Code(code)) => code.to_string(),
        Some(ExitStatus::Signal(name)) => safe(name),
        None if ended.recovered => "torn".into(),
        None => "cut".into(),
    }
}

/// What a session runs, and how policies have marked it.
fn marked(session: &Summary) -> String {
    let about = &session.about;
    let mut text = match (about.break_glass, about.notify.is_empty()) {
        (true, _) => format!("{}, break-glass", about.kind),
        (false, false) => format!("{}, notified", about.kind),
        (false, true) => about.kind.to_string(),
    };
    if let Some(continues) = &about.continues {
        text.push_str(&format!(", part {}", continues.part));
    }
    text
}

fn command_text(session: &Summary) -> String {
    let command = session.about.command.as_deref().unwrap_or_default();
    String::from_utf8_lossy(command).into_owned()
}

fn summary(session: &Summary, unrecorded: bool) -> Value {
    let about = &session.about;
    json!({
        "id": session.id,
        "user": about.user,
        "issuer": about.issuer,
        "subject": about.subject,
        "target": about.target,
        "login": about.login,
        "kind": about.kind,
        "command": about.command.as_ref().map(|_| command_text(session)),
        "break_glass": about.break_glass,
        "notified": about.notify,
        "source": about.source,
        "connection": about.connection,
        "started": session.started,
        "active": session.is_active() || unrecorded,
        "unrecorded": unrecorded,
        "ended": session.ended.as_ref().map(|ended| ended.at),
        "status": session.ended.as_ref().and_then(|ended| ended.end.status.clone()),
        "reason": session.ended.as_ref().and_then(|ended| ended.end.reason.clone()),
        "coverage": session.ended.as_ref().map(|ended| ended.end.coverage),
        "bytes": session.ended.as_ref().map(|ended| ended.totals.stdout + ended.totals.stderr),
        "recovered": session.ended.as_ref().is_some_and(|ended| ended.recovered),
        "mode": about.mode,
        "continues": about.continues,
        "gaps": session.gaps,
        "withheld": session.withheld,
    })
}

#[cfg(fuzzing)]
pub(crate) fn fuzz_line(line: &[u8]) {
    drop(command::Command::parse(line, 4096));
}
