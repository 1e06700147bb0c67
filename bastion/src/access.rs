//! Who may do what: questions go in, a `Grant` or a reason comes out.
//!
//! Owns the policies (Cedar) and the choice of protection rules. It is the only maker of `Grant`,
//! and does no I/O after `load`. Default is no: also where a policy cannot be evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::cedar::{Answer, Circumstances, Engine, Resource};
use self::protect::Protect;
use crate::config::{Problem, Problems, read_text};
use crate::target::{Inventory, Login, Target};

pub(crate) use self::cedar::SCHEMA_TEXT;

mod cedar;
mod protect;

/// The loaded policies of one folder, and the inventory that they speak about.
pub struct Access {
    engine: Engine,
    protect: Protect,
    inventory: Arc<Inventory>,
}

/// What somebody wants to do. Each is an action of the Cedar schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// An interactive shell.
    Shell,
    /// One command.
    Exec,
    /// Reading files by sftp.
    SftpRead,
    /// Writing files by sftp.
    SftpWrite,
    /// Forwarding of ports and sockets.
    Forward,
    /// Forwarding of the agent.
    Agent,
    /// Asking for access that needs an approval.
    Request,
    /// Deciding on a hold.
    Approve,
    /// Reading what a hold withholds.
    ShowPayload,
    /// Watching a live session.
    Watch,
    /// Playing a recording.
    Play,
    /// Fetching the file of a recording.
    Recording,
    /// Ending a live session.
    End,
    /// Reading the audit log.
    Audit,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 14] = [
        Self::Shell,
        Self::Exec,
        Self::SftpRead,
        Self::SftpWrite,
        Self::Forward,
        Self::Agent,
        Self::Request,
        Self::Approve,
        Self::ShowPayload,
        Self::Watch,
        Self::Play,
        Self::Recording,
        Self::End,
        Self::Audit,
    ];

    /// The name in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::SftpRead => "sftp_read",
            Self::SftpWrite => "sftp_write",
            Self::Forward => "forward",
            Self::Agent => "agent",
            Self::Request => "request",
            Self::Approve => "approve",
            Self::ShowPayload => "show_payload",
            Self::Watch => "watch",
            Self::Play => "play",
            Self::Recording => "recording",
            Self::End => "end",
            Self::Audit => "audit",
        }
    }

    /// Whether it opens a channel to a target.
    pub fn is_channel(self) -> bool {
        matches!(
            self,
            Self::Shell
                | Self::Exec
                | Self::SftpRead
                | Self::SftpWrite
                | Self::Forward
                | Self::Agent
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks. The person is `issuer` and `subject`, compared bytewise, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// The OpenID provider that vouched.
    pub issuer: &'a str,
    /// Its unchanging name of the person.
    pub subject: &'a str,
    /// For display.
    pub name: &'a str,
    /// The groups of the sign-in.
    pub groups: &'a BTreeSet<String>,
    /// When the person signed in.
    pub signed_in_at: Timestamp,
}

/// May this person open this channel?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub person: Person<'a>,
    /// The name of the target.
    pub target: &'a str,
    /// The name of the account there.
    pub login: &'a str,
    /// The kind of channel.
    pub action: Action,
    /// The address of the client.
    pub source: IpAddr,
    /// The time.
    pub now: Timestamp,
    /// The command of an `exec`.
    pub command: Option<&'a [u8]>,
}

/// A recorded or live session that somebody wants to read.
#[derive(Clone, Copy, Debug)]
pub struct SessionOf<'a> {
    /// Its id.
    pub id: &'a str,
    /// Issuer of the person whose session it is.
    pub owner_issuer: &'a str,
    /// Subject of the person whose session it is.
    pub owner_subject: &'a str,
    /// The target that it was on, which the inventory may not have any more.
    pub target: &'a str,
    /// The account there.
    pub login: &'a str,
}

/// Leave to open one channel. Only `Access` makes one, and a credential leaves only with one.
#[derive(Clone)]
pub struct Grant {
    target: Arc<Target>,
    /// The position in the target's logins, which never change.
    login: usize,
    action: Action,
    command: Option<Arc<[u8]>>,
    user_name: Arc<str>,
    rules: Arc<scanner::Rules>,
    covered: bool,
    policies: Arc<[String]>,
}

impl Grant {
    /// Where it leads.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The account there.
    #[expect(
        clippy::indexing_slicing,
        reason = "the position was found in the same, unchanging list"
    )]
    pub fn login(&self) -> &Login {
        &self.target.logins()[self.login]
    }

    /// What it allows.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The one command that was allowed, for `exec`.
    pub fn command(&self) -> Option<&[u8]> {
        self.command.as_deref()
    }

    /// The display name of the person it was given to.
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// What is protected in the output.
    pub fn rules(&self) -> Arc<scanner::Rules> {
        Arc::clone(&self.rules)
    }

    /// Whether some protection rule is in force for this person here.
    pub fn covered(&self) -> bool {
        self.covered
    }

    /// The policies that permitted it, by `@id` or place, sorted.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Grant({} as {}@{})",
            self.action,
            self.login().name(),
            self.target.name()
        )
    }
}

/// A refusal. `Display` is for the log, `notice` for the person.
#[derive(Debug, thiserror::Error)]
#[error("{action} on {what} is refused: {reason}")]
pub struct Denied {
    action: Action,
    what: String,
    reason: Reason,
}

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The inventory has no such target.
    #[error("there is no such target")]
    UnknownTarget,
    /// The target has no such login.
    #[error("there is no such login on the target")]
    UnknownLogin,
    /// No policy permits it.
    #[error("no policy permits it")]
    NotPermitted,
    /// Policies forbid it.
    #[error("forbidden by {}", .0.join(", "))]
    Forbidden(Vec<String>),
    /// The sign-in is in the future: the clock was set back, and no age can be told.
    #[error("the sign-in is later than the clock")]
    Clock,
    /// A policy could not be evaluated.
    #[error("a policy cannot be evaluated: {0}")]
    Failed(String),
    /// The action is not one of this question.
    #[error("the action is not about this")]
    Action,
}

impl Denied {
    /// Why, for the log and the audit.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The policies that forbade it.
    pub fn policies(&self) -> &[String] {
        match &self.reason {
            Reason::Forbidden(policies) => policies,
            Reason::UnknownTarget
            | Reason::UnknownLogin
            | Reason::NotPermitted
            | Reason::Clock
            | Reason::Failed(_)
            | Reason::Action => &[],
        }
    }

    /// The line that the person is shown. It does not tell a target that does not exist from one
    /// that is not theirs.
    pub fn notice(&self) -> String {
        let what = match self.action {
            Action::Shell => "open a shell on",
            Action::Exec => "run this command on",
            Action::SftpRead => "read files on",
            Action::SftpWrite => "write files on",
            Action::Forward => "forward to",
            Action::Agent => "forward an agent to",
            Action::Request => "ask for access to",
            Action::Approve => "decide on",
            Action::ShowPayload => "see the payload of",
            Action::Watch => "watch",
            Action::Play => "play",
            Action::Recording => "fetch the recording of",
            Action::End => "end",
            Action::Audit => "read the audit log of",
        };
        format!(
            "you may not {what} {}, or it does not exist",
            crate::config::printable(&self.what)
        )
    }
}

/// A login on a target, and what a person may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    /// The target.
    pub target: Arc<str>,
    /// The account.
    pub login: Arc<str>,
    /// The channels that could be opened now; `exec` of some commands only may be missing.
    pub actions: Vec<Action>,
    /// Whether some protection rule is in force there for the person.
    pub covered: bool,
}

impl Access {
    /// Reads the `*.cedar` files and `protect.toml` of the folder `policies`.
    ///
    /// # Errors
    ///
    /// Every mistake in them, with line and column. A missing file is one: nothing is permitted, or
    /// left unprotected, because a file was not found.
    pub fn load(policies: &Path, inventory: Arc<Inventory>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut files = Vec::new();
        for file in cedar_files(policies)? {
            match read_text(&file, FILE_MAX) {
                Ok(text) => files.push((file, text)),
                Err(error) => problems.push(Problem::of_file(&file, error.to_string())),
            }
        }
        let engine = if problems.is_empty() {
            Engine::new(&files)
                .map_err(|found| problems.extend(found))
                .ok()
        } else {
            None
        };
        let protect = match load_protect(&policies.join("protect.toml"), &inventory) {
            Ok(protect) => Some(protect),
            Err(found) => {
                problems.extend(found.into_vec());
                None
            }
        };
        match (Problems::new(problems), engine, protect) {
            (None, Some(engine), Some(protect)) => Ok(Self {
                engine,
                protect,
                inventory,
            }),
            (Some(problems), _, _) => Err(problems),
            (None, _, _) => Err(Problem::of_file(policies, "cannot be loaded").into()),
        }
    }

    /// The targets that the policies speak about.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Leave to open one channel, or why not.
    ///
    /// # Errors
    ///
    /// The target or login does not exist, no policy permits it, one forbids it, or one cannot be
    /// evaluated.
    pub fn decide(&self, question: &Question<'_>) -> Result<Grant, Denied> {
        let Question { person, action, .. } = question;
        let denied = |reason| Denied {
            action: *action,
            what: format!("{}@{}", question.login, question.target),
            reason,
        };
        if !action.is_channel() {
            return Err(denied(Reason::Action));
        }
        let target = self
            .inventory
            .target(question.target)
            .ok_or_else(|| denied(Reason::UnknownTarget))?;
        let login = target
            .logins()
            .iter()
            .position(|login| login.name() == question.login)
            .ok_or_else(|| denied(Reason::UnknownLogin))?;
        let resource = Resource::Account {
            login: question.login,
            target: target.name(),
            labels: target.labels(),
        };
        let circumstances = Circumstances {
            now: question.now,
            source: question.source,
            command: question.command,
        };
        let policies = self
            .ask(person, *action, &resource, circumstances)
            .map_err(denied)?;
        let rules = self
            .protect
            .for_person(target.name(), question.login, person.groups);
        Ok(Grant {
            target: Arc::clone(target),
            login,
            action: *action,
            command: question
                .command
                .filter(|_| *action == Action::Exec)
                .map(Arc::from),
            user_name: Arc::from(person.name),
            rules: Arc::new(scanner::Rules::none()),
            covered: !rules.is_empty(),
            policies: policies.into(),
        })
    }

    /// What the person could do now, for the list of targets; sorted. With many targets this takes
    /// long enough to belong on a thread of its own.
    pub fn visible(&self, person: &Person<'_>, source: IpAddr, now: Timestamp) -> Vec<Visible> {
        let circumstances = Circumstances {
            now,
            source,
            command: None,
        };
        let mut visible = Vec::new();
        for target in self.inventory.iter() {
            for login in target.logins() {
                let resource = Resource::Account {
                    login: login.name(),
                    target: target.name(),
                    labels: target.labels(),
                };
                let actions: Vec<Action> = Action::ALL
                    .into_iter()
                    .filter(|action| action.is_channel())
                    .filter(|action| self.ask(person, *action, &resource, circumstances).is_ok())
                    .collect();
                if !actions.is_empty() {
                    let rules = self
                        .protect
                        .for_person(target.name(), login.name(), person.groups);
                    visible.push(Visible {
                        target: Arc::from(target.name()),
                        login: Arc::from(login.name()),
                        actions,
                        covered: !rules.is_empty(),
                    });
                }
            }
        }
        visible
    }

    /// Whether the person may play, fetch, watch or end a session, also one of their own; gives the
    /// policies that permit it.
    ///
    /// # Errors
    ///
    /// As for `decide`; also where `action` is not about sessions.
    pub fn may_read(
        &self,
        person: &Person<'_>,
        action: Action,
        session: &SessionOf<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        let denied = |reason| Denied {
            action,
            what: format!("session {}", session.id),
            reason,
        };
        if !matches!(
            action,
            Action::Play | Action::Recording | Action::Watch | Action::End
        ) {
            return Err(denied(Reason::Action));
        }
        let labels = self
            .inventory
            .target(session.target)
            .map(|target| target.labels())
            .unwrap_or_default();
        let resource = Resource::Session {
            id: session.id,
            owner: (session.owner_issuer, session.owner_subject),
            login: session.login,
            target: session.target,
            labels,
        };
        self.ask(
            person,
            action,
            &resource,
            Circumstances {
                now,
                source,
                command: None,
            },
        )
        .map_err(denied)
    }

    /// Whether the person may read the audit log.
    ///
    /// # Errors
    ///
    /// As for `decide`.
    pub fn may_audit(
        &self,
        person: &Person<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        let denied = |reason| Denied {
            action: Action::Audit,
            what: "this bastion".to_owned(),
            reason,
        };
        let circumstances = Circumstances {
            now,
            source,
            command: None,
        };
        self.ask(person, Action::Audit, &Resource::Bastion, circumstances)
            .map_err(denied)
    }

    fn ask(
        &self,
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
    ) -> Result<Vec<String>, Reason> {
        if person.signed_in_at.duration_since(circumstances.now) > CLOCK_LEEWAY {
            return Err(Reason::Clock);
        }
        match self.engine.ask(person, action, resource, circumstances) {
            Answer::Permitted(policies) => Ok(policies),
            Answer::NotPermitted => Err(Reason::NotPermitted),
            Answer::Forbidden(policies) => Err(Reason::Forbidden(policies)),
            Answer::Failed(error) => Err(Reason::Failed(error)),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Access({} targets, {} rules)",
            self.inventory.len(),
            self.protect.rules().len()
        )
    }
}

/// The policy files of the folder, sorted by name, so that the order of a listing means nothing.
fn cedar_files(folder: &Path) -> Result<Vec<PathBuf>, Problems> {
    let failed = |error: std::io::Error| {
        Problem::of_file(folder, format!("cannot read the folder: {error}"))
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            files.insert(path.file_name().map(ToOwned::to_owned), path);
        }
    }
    if files.is_empty() {
        let hint = "write one, as in the access.cedar that `bastion init` writes";
        return Err(Problem::of_file(folder, "there is no file access.cedar")
            .hint(hint)
            .into());
    }
    Ok(files.into_values().collect())
}

fn load_protect(path: &Path, inventory: &Inventory) -> Result<Protect, Problems> {
    let text = read_text(path, FILE_MAX).map_err(|error| {
        Problem::of_file(path, error.to_string())
            .hint("an empty file says that nothing is protected")
    })?;
    let protect = Protect::parse(path, &text, inventory)?;
    if !protect.rules().is_empty() {
        return Err(
            Problem::of_file(path, "protection rules are not available in this build").into(),
        );
    }
    Ok(protect)
}

/// How far a sign-in may be ahead of the clock.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// No policy file is larger.
const FILE_MAX: u64 = 4 * 1024 * 1024;
