//! Who may do what: questions go in, a `Grant` or a reason comes out.
//!
//! Owns the policies (Cedar) and the choice of protection rules. It is the only maker of `Grant`,
//! and does no I/O after `load`. Default is no: also where a policy cannot be evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::cedar::{Answer, Circumstances, Engine, Permit, Resource};
use self::protect::Protect;
use crate::config::{Problem, Problems, RecordingMode, read_text};
use crate::store::Locked;
use crate::target::{Inventory, Login, Target};

pub(crate) use self::cedar::{Review, SCHEMA_TEXT};
pub use self::current::Current;
pub use self::marks::{Marks, Terms};
pub use self::party::{Kind, OwnDecision, Party, SamePerson, may_decide};
use self::protect::Unread;
pub use self::protect::{Channel, CommandVerdict, HoldTerms};
pub(crate) use self::protect::{Pattern, Protection, RuleState, Standing};
pub use self::tokens::StableKey;

mod cedar;
mod condition;
mod current;
#[cfg(test)]
mod decisions;
mod marks;
mod party;
mod protect;
mod review;
mod scope;
mod tokens;
pub(crate) mod trial;
mod wants;

/// The loaded policies of one folder, and the inventory that they speak about.
pub struct Access {
    engine: Arc<Engine>,
    protect: Arc<Protect>,
    digest: Arc<str>,
    inventory: Arc<Inventory>,
}

/// The policies of one folder as their author tries them out: over any targets, with what a server
/// would refuse to promise.
pub(crate) struct Draft {
    engine: Arc<Engine>,
    protect: Arc<Protect>,
    digest: Arc<str>,
}

impl Draft {
    /// Reads the policies of a folder.
    ///
    /// # Errors
    ///
    /// As for `Access::load`, apart from what depends on targets.
    pub(crate) fn load(policies: &Path) -> Result<Self, Problems> {
        read_folder(policies, None, StableKey::MadeUp)
    }

    /// The policies over these targets.
    pub(crate) fn over(&self, inventory: Arc<Inventory>) -> Access {
        Access {
            engine: Arc::clone(&self.engine),
            protect: Arc::clone(&self.protect),
            digest: Arc::clone(&self.digest),
            inventory,
        }
    }
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
    /// Locking a user or a target, and taking the lock away.
    Lock,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 15] = [
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
        Self::Lock,
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
            Self::Lock => "lock",
        }
    }

    /// Whether what goes over its channel is packets of a protocol, which no rule looks into.
    pub fn is_unread(self) -> bool {
        matches!(
            self,
            Self::SftpRead | Self::SftpWrite | Self::Forward | Self::Agent
        )
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
    /// The verified address; for display, and to tell that two accounts are one person.
    pub email: Option<&'a str>,
    /// What links the accounts of one person.
    pub same_person: SamePerson<'a>,
    /// A person or a service.
    pub kind: Kind<'a>,
    /// The groups of the sign-in.
    pub groups: &'a BTreeSet<String>,
    /// When the person signed in.
    pub signed_in_at: Timestamp,
    /// The fingerprint of the key that the client proved.
    pub key: Option<&'a str>,
}

impl<'a> Person<'a> {
    /// The same as one who takes part in a decision.
    pub fn party(&self) -> Party<'a> {
        Party {
            issuer: self.issuer,
            subject: self.subject,
            name: self.name,
            email: self.email,
            same_person: self.same_person,
            kind: self.kind,
        }
    }
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
    /// The command of an `exec`, or where a `forward` leads.
    pub command: Option<&'a [u8]>,
    /// Until when an approved request of this person for this account is in force.
    pub approved_until: Option<Timestamp>,
}

/// Output or a command that waits for a decision.
#[derive(Clone, Copy, Debug)]
pub struct HoldOf<'a> {
    /// Its id.
    pub id: &'a str,
    /// The rule that held it.
    pub rule: &'a str,
    /// The group of those who may decide, as the rule said when it was held.
    pub approvers: &'a str,
    /// Who produced it; never empty.
    pub producer: Party<'a>,
    /// Who else took part: whoever watched the session live.
    pub others: &'a [Party<'a>],
    /// The target, which the inventory may not have any more.
    pub target: &'a str,
    /// The account there.
    pub login: &'a str,
}

/// Access that somebody has asked for.
#[derive(Clone, Copy, Debug)]
pub struct RequestOf<'a> {
    /// Its id.
    pub id: &'a str,
    /// Who asked.
    pub requester: Party<'a>,
    /// The groups of those who may decide, as `may_request` gave them.
    pub approvers: &'a BTreeSet<String>,
    /// The target.
    pub target: &'a str,
    /// The account there.
    pub login: &'a str,
}

/// Leave to ask for access, and on what terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayRequest {
    /// The policies that permit it, sorted.
    pub policies: Vec<String>,
    /// The groups of those who decide: whoever does is in every one of them. Never empty.
    pub approvers: BTreeSet<String>,
    /// How many different people have to approve.
    pub count: usize,
    /// For how long at most.
    pub longest: Duration,
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

/// What somebody may do something to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About<'a> {
    /// The account of a channel, or of a request that is yet to be made.
    Account {
        login: &'a str,
        target: &'a str,
    },
    Session(&'a SessionOf<'a>),
    Hold(&'a HoldOf<'a>),
    Request(&'a RequestOf<'a>),
    Locked(&'a Locked),
    Bastion,
}

/// Leave to open one channel. Only `Access` makes one, and a credential leaves only with one.
#[derive(Clone)]
pub struct Grant {
    target: Arc<Target>,
    /// The position in the target's logins, which never change.
    login: usize,
    /// Never empty.
    actions: Vec<Action>,
    command: Option<Arc<[u8]>>,
    user_name: Arc<str>,
    protection: Protection,
    policies: Arc<[String]>,
    marks: Marks,
    until: Option<Timestamp>,
    given_at: Timestamp,
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

    /// What it allows; never empty.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Leave for what both allow, on one channel to the account of `self`: all that either asks to
    /// be made known counts, and the first end.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.actions.extend(&other.actions);
        let policies: BTreeSet<String> = self
            .policies
            .iter()
            .chain(other.policies.iter())
            .cloned()
            .collect();
        self.policies = policies.into_iter().collect();
        self.marks = Marks::of([&self.marks, &other.marks].into_iter());
        self.until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self
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
        Arc::clone(&self.protection.rules)
    }

    /// Whether some protection rule about output is in force for this person here.
    pub fn covered(&self) -> bool {
        self.protection.covered
    }

    /// The terms on which the rule of that name holds output; `None` where it does not hold.
    pub fn hold_terms(&self, rule: &str) -> Option<&HoldTerms> {
        let mut holds = self.protection.holds.iter();
        holds.find(|terms| terms.rule() == rule)
    }

    /// Whether some rule may hold output here.
    pub fn holds_output(&self) -> bool {
        !self.protection.holds.is_empty() || self.protection.unreadable.is_some()
    }

    /// The terms on which output that is not text is held here; `None` where it is not held.
    pub fn unreadable_terms(&self) -> Option<&HoldTerms> {
        self.protection.unreadable.as_ref()
    }

    /// The terms on which the command has to wait before it runs; `None` where it need not.
    pub fn command_hold(&self) -> Option<&HoldTerms> {
        match &self.protection.command {
            CommandVerdict::Hold(terms) => Some(terms),
            CommandVerdict::Run | CommandVerdict::Refuse(_) => None,
        }
    }

    /// What becomes of the session where the recorder fails.
    pub fn recording(&self) -> RecordingMode {
        self.protection.recording
    }

    /// What is to be made known of it.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// When it was given.
    pub fn given_at(&self) -> Timestamp {
        self.given_at
    }

    /// When it ends, where only an approved request allows it.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The policies that permitted it, by `@id` or place, sorted.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(|action| action.name()).collect();
        write!(
            f,
            "Grant({} as {}@{})",
            actions.join("+"),
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
    /// A rule refuses the command.
    #[error("the rule {0} refuses this command")]
    Command(Arc<str>),
    /// A rule covers the account, and what goes over the channel is not read.
    #[error("a protection rule covers the account, and this channel cannot be read")]
    Unread,
    /// Somebody decides on their own, or may do so.
    #[error("{0}")]
    Own(OwnDecision),
    /// The person is not in the group that decides.
    #[error("only members of {0} decide on it")]
    NotApprover(String),
    /// No policy that permits the request says who may approve it.
    #[error("the policy that permits asking for it has no @approvers")]
    NoApprovers,
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
            | Reason::Command(_)
            | Reason::Unread
            | Reason::Own(_)
            | Reason::NotApprover(_)
            | Reason::NoApprovers
            | Reason::Action => &[],
        }
    }

    /// The line that the person is shown. It does not tell a target that does not exist from one
    /// that is not theirs.
    pub fn notice(&self) -> String {
        match &self.reason {
            Reason::Own(own) => return own.notice().to_owned(),
            Reason::Command(rule) => {
                let rule = crate::config::printable(rule);
                return format!("the rule {rule} refuses this command");
            }
            Reason::Unread => {
                let what = match self.action {
                    Action::Forward => "nothing is forwarded to here",
                    Action::Agent => "no agent is forwarded to here",
                    _ => "sftp is not allowed here",
                };
                return format!(
                    "{what}: a protection rule covers this account, and what would come cannot be scanned"
                );
            }
            Reason::UnknownTarget
            | Reason::UnknownLogin
            | Reason::NotPermitted
            | Reason::Forbidden(_)
            | Reason::Clock
            | Reason::Failed(_)
            | Reason::NotApprover(_)
            | Reason::NoApprovers
            | Reason::Action => {}
        }
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
            Action::Lock => "lock or unlock",
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
    /// The policies that permit it, sorted.
    pub policies: Vec<String>,
    /// Until when, where some of that needs an approved request.
    pub until: Option<Timestamp>,
    /// Whether some protection rule is in force there for the person.
    pub covered: bool,
}

/// An account that an approved request opens to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The account.
    pub login: String,
    /// The target.
    pub target: String,
    /// Until when, by the wall clock.
    pub until: Timestamp,
}

impl Access {
    /// Reads the `*.cedar` files and `protect.toml` of the folder `policies`, and the key of stable
    /// tokens where a rule asks for such.
    ///
    /// # Errors
    ///
    /// Every mistake in them, with line and column. A missing file is one: nothing is permitted, or
    /// left unprotected, because a file was not found.
    pub fn load(
        policies: &Path,
        inventory: Arc<Inventory>,
        stable_key: StableKey<'_>,
    ) -> Result<Self, Problems> {
        Ok(read_folder(policies, Some(&inventory), stable_key)?.over(inventory))
    }

    /// The targets that the policies speak about.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// SHA-256 over the names and texts of the policy files, in hexadecimal: which policies these
    /// are, for the audit log.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The number of rules in `protect.toml`.
    pub fn rule_count(&self) -> usize {
        self.protect.len()
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
        let approved = question
            .approved_until
            .is_some_and(|until| question.now < until);
        let circumstances = Circumstances {
            now: question.now,
            source: question.source,
            command: question.command,
            approved,
        };
        let permit = self
            .ask(person, *action, &resource, circumstances)
            .map_err(denied)?;
        // What is allowed without the approval does not end with it.
        let without = Circumstances {
            approved: false,
            ..circumstances
        };
        let until = question
            .approved_until
            .filter(|_| approved && self.ask(person, *action, &resource, without).is_err());
        let command = question.command.filter(|_| *action == Action::Exec);
        let protection = self.protect.protection(
            target.name(),
            question.login,
            person.groups,
            channel_of(*action),
            command,
        );
        let protection = protection.map_err(|error| denied(Reason::Failed(error.to_string())))?;
        if let CommandVerdict::Refuse(rule) = &protection.command {
            return Err(denied(Reason::Command(Arc::clone(rule))));
        }
        if action.is_unread() && protection.unread == Unread::Refused {
            return Err(denied(Reason::Unread));
        }
        Ok(Grant {
            target: Arc::clone(target),
            login,
            actions: vec![*action],
            command: command.map(Arc::from),
            user_name: Arc::from(person.name),
            protection,
            policies: permit.policies.into(),
            marks: permit.marks,
            until,
            given_at: question.now,
        })
    }

    /// What the person could do now, for the list of targets; sorted. `opened` are the accounts that
    /// approved requests open to them. With many targets this takes long enough to belong on a thread
    /// of its own.
    pub fn visible(
        &self,
        person: &Person<'_>,
        source: IpAddr,
        now: Timestamp,
        opened: &[Opened],
    ) -> Vec<Visible> {
        let mut visible = Vec::new();
        for target in self.inventory.iter() {
            for login in target.logins() {
                let resource = Resource::Account {
                    login: login.name(),
                    target: target.name(),
                    labels: target.labels(),
                };
                let allowed = |approved: bool| -> (Vec<Action>, BTreeSet<String>) {
                    let circumstances = Circumstances {
                        approved,
                        ..Circumstances::of(now, source)
                    };
                    Action::ALL
                        .into_iter()
                        .filter(|action| action.is_channel())
                        .filter_map(|action| {
                            let permit = self.ask(person, action, &resource, circumstances);
                            Some((action, permit.ok()?.policies))
                        })
                        .filter(|(action, _)| {
                            let channel = channel_of(*action);
                            let (target, login) = (target.name(), login.name());
                            let unread = || {
                                self.protect
                                    .unread_at(target, login, person.groups, channel)
                            };
                            !action.is_unread() || unread() == Unread::Passes
                        })
                        .fold(
                            Default::default(),
                            |(mut actions, mut by), (action, policies)| {
                                actions.push(action);
                                by.extend(policies);
                                (actions, by)
                            },
                        )
                };
                let opens = |opened: &&Opened| {
                    opened.login == login.name()
                        && opened.target == target.name()
                        && now < opened.until
                };
                let (mut actions, mut policies) = allowed(false);
                let mut until = None;
                if let Some(opened) = opened.iter().find(opens) {
                    let (more, by) = allowed(true);
                    until = (more != actions).then_some(opened.until);
                    (actions, policies) = (more, by);
                }
                if !actions.is_empty() {
                    visible.push(Visible {
                        target: Arc::from(target.name()),
                        login: Arc::from(login.name()),
                        actions,
                        policies: policies.into_iter().collect(),
                        until,
                        covered: self
                            .protect
                            .covers(target.name(), login.name(), person.groups),
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
        let resource = self.resource(&About::Session(session));
        self.ask(person, action, &resource, Circumstances::of(now, source))
            .map(|permit| permit.policies)
            .map_err(denied)
    }

    /// Whether the person may approve or deny a hold; gives the policies that permit it. The
    /// person is in the rule's group of approvers, Cedar's `approve` permits it, and nobody decides
    /// on their own, with no exemption.
    ///
    /// # Errors
    ///
    /// As for `decide`; also who produced it, or may have, and who is not in the group.
    pub fn may_decide_hold(
        &self,
        person: &Person<'_>,
        hold: &HoldOf<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        self.about_hold(person, Action::Approve, hold, source, now)
    }

    /// Whether the person may read what a hold withholds; gives the policies that permit it. Who
    /// may not decide on it for being its producer may not read it either.
    ///
    /// # Errors
    ///
    /// As for `may_decide_hold`, but for the group.
    pub fn may_show_payload(
        &self,
        person: &Person<'_>,
        hold: &HoldOf<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        self.about_hold(person, Action::ShowPayload, hold, source, now)
    }

    fn about_hold(
        &self,
        person: &Person<'_>,
        action: Action,
        hold: &HoldOf<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        let denied = |reason| Denied {
            action,
            what: format!("hold {}", hold.id),
            reason,
        };
        let producers = std::iter::once(&hold.producer).chain(hold.others);
        may_decide(&person.party(), producers).map_err(|own| denied(Reason::Own(own)))?;
        if action == Action::Approve && !person.groups.contains(hold.approvers) {
            return Err(denied(Reason::NotApprover(hold.approvers.to_owned())));
        }
        let resource = self.resource(&About::Hold(hold));
        self.ask(person, action, &resource, Circumstances::of(now, source))
            .map(|permit| permit.policies)
            .map_err(denied)
    }

    /// The rules for an account as those see output who may not see what is held: every value that
    /// a rule holds is redacted, whoever is exempt. None where a rule holds the whole output.
    ///
    /// # Errors
    ///
    /// The rules do not compile together.
    pub fn masked_rules(
        &self,
        target: &str,
        login: &str,
    ) -> Result<Option<Arc<scanner::Rules>>, scanner::RuleError> {
        self.protect.masked(target, login)
    }

    /// The targets on which a session goes on where the recorder fails.
    pub(crate) fn best_effort(&self) -> impl Iterator<Item = &str> {
        let names = self.inventory.iter().map(|target| target.name());
        names.filter(|name| !self.protect.recording(name).is_strict())
    }

    /// Whether some rule holds, so that a spool key is needed.
    pub fn holds(&self) -> bool {
        self.protect.holds()
    }

    /// Whether the person may ask for access to an account, and on what terms it would be granted.
    ///
    /// # Errors
    ///
    /// As for `decide`; also where no policy that permits it names the approvers.
    pub fn may_request(
        &self,
        person: &Person<'_>,
        login: &str,
        target: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<MayRequest, Denied> {
        let denied = |reason| Denied {
            action: Action::Request,
            what: format!("{login}@{target}"),
            reason,
        };
        let known = self
            .inventory
            .target(target)
            .ok_or_else(|| denied(Reason::UnknownTarget))?;
        if known.login(login).is_none() {
            return Err(denied(Reason::UnknownLogin));
        }
        let resource = Resource::Account {
            login,
            target: known.name(),
            labels: known.labels(),
        };
        let permit = self
            .ask(
                person,
                Action::Request,
                &resource,
                Circumstances::of(now, source),
            )
            .map_err(denied)?;
        if permit.terms.approvers.is_empty() {
            return Err(denied(Reason::NoApprovers));
        }
        Ok(MayRequest {
            policies: permit.policies,
            approvers: permit.terms.approvers,
            count: permit.terms.count,
            longest: permit.terms.longest.unwrap_or(REQUEST_LONGEST),
        })
    }

    /// Whether a channel that is refused could be asked for: the person may, and nothing but the
    /// approval is in the way.
    pub fn may_be_asked_for(&self, question: &Question<'_>) -> bool {
        let Question {
            person,
            target,
            login,
            source,
            now,
            ..
        } = question;
        let approved = Question {
            approved_until: Some(Timestamp::MAX),
            ..*question
        };
        self.may_request(person, login, target, *source, *now)
            .is_ok()
            && self.decide(&approved).is_ok()
    }

    /// The accounts that the person may ask for on a target, sorted.
    pub fn may_be_requested(
        &self,
        person: &Person<'_>,
        target: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Vec<String> {
        let Some(known) = self.inventory.target(target) else {
            return Vec::new();
        };
        let logins = known.logins().iter().map(|login| login.name());
        let mut logins: Vec<String> = logins
            .filter(|login| self.may_request(person, login, target, source, now).is_ok())
            .map(str::to_owned)
            .collect();
        logins.sort();
        logins
    }

    /// Whether the person may approve or deny a request for access; gives the policies that permit
    /// it. As for holds, nobody decides on their own.
    ///
    /// # Errors
    ///
    /// As for `may_decide_hold`.
    pub fn may_decide_request(
        &self,
        person: &Person<'_>,
        request: &RequestOf<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        let denied = |reason| Denied {
            action: Action::Approve,
            what: format!("request {}", request.id),
            reason,
        };
        may_decide(&person.party(), [&request.requester])
            .map_err(|own| denied(Reason::Own(own)))?;
        if request.approvers.is_empty() {
            return Err(denied(Reason::NoApprovers));
        }
        if let Some(group) = request.approvers.difference(person.groups).next() {
            return Err(denied(Reason::NotApprover(group.clone())));
        }
        let resource = self.resource(&About::Request(request));
        self.ask(
            person,
            Action::Approve,
            &resource,
            Circumstances::of(now, source),
        )
        .map(|permit| permit.policies)
        .map_err(denied)
    }

    /// What the engine is asked about.
    fn resource<'a>(&'a self, about: &About<'a>) -> Resource<'a> {
        match *about {
            About::Account { login, target } => Resource::Account {
                login,
                target,
                labels: self.labels(target),
            },
            About::Session(session) => Resource::Session {
                id: session.id,
                owner: (session.owner_issuer, session.owner_subject),
                login: session.login,
                target: session.target,
                labels: self.labels(session.target),
            },
            About::Hold(hold) => Resource::Hold {
                id: hold.id,
                rule: hold.rule,
                producer: hold.producer,
                login: hold.login,
                target: hold.target,
                labels: self.labels(hold.target),
            },
            About::Request(request) => Resource::Request {
                id: request.id,
                requester: request.requester,
                login: request.login,
                target: request.target,
                labels: self.labels(request.target),
            },
            About::Locked(Locked::User(identity)) => Resource::User {
                issuer: &identity.issuer,
                subject: &identity.subject,
            },
            About::Locked(Locked::Target(name)) => Resource::Target {
                name,
                labels: self.labels(name),
            },
            About::Bastion => Resource::Bastion,
        }
    }

    /// The labels of a target, none where the inventory has it no more.
    fn labels(&self, target: &str) -> &[String] {
        self.inventory
            .target(target)
            .map(|target| target.labels())
            .unwrap_or_default()
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
        let circumstances = Circumstances::of(now, source);
        self.ask(person, Action::Audit, &Resource::Bastion, circumstances)
            .map(|permit| permit.policies)
            .map_err(denied)
    }

    /// Whether the person may lock, and unlock, a user or a target.
    ///
    /// # Errors
    ///
    /// As for `decide`.
    pub fn may_lock(
        &self,
        person: &Person<'_>,
        locked: &Locked,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Vec<String>, Denied> {
        let resource = self.resource(&About::Locked(locked));
        let what = match locked {
            Locked::User(identity) => format!("user {}", identity.subject),
            Locked::Target(name) => format!("target {name}"),
        };
        self.ask(
            person,
            Action::Lock,
            &resource,
            Circumstances::of(now, source),
        )
        .map(|permit| permit.policies)
        .map_err(|reason| Denied {
            action: Action::Lock,
            what,
            reason,
        })
    }

    fn ask(
        &self,
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
    ) -> Result<Permit, Reason> {
        if person.signed_in_at.duration_since(circumstances.now) > CLOCK_LEEWAY {
            return Err(Reason::Clock);
        }
        match self.engine.ask(person, action, resource, circumstances) {
            Answer::Permitted(permit) => Ok(permit),
            Answer::NotPermitted => Err(Reason::NotPermitted),
            Answer::Forbidden(policies) => Err(Reason::Forbidden(policies)),
            Answer::Failed(error) => Err(Reason::Failed(error)),
        }
    }
}

/// What people who write policies are told, beside decisions.
impl Access {
    /// What the rules say about a channel of a person of these groups, whether the account exists
    /// or not.
    pub(crate) fn protection_of(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
        action: Action,
        command: Option<&[u8]>,
    ) -> Result<Protection, scanner::RuleError> {
        let channel = channel_of(action);
        self.protect
            .protection(target, login, groups, channel, command)
    }

    /// Every rule, and whether it is in force for a person of these groups.
    pub(crate) fn rule_states(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
    ) -> Vec<RuleState> {
        self.protect.states(target, login, groups)
    }

    /// One rule by itself; `None` where it is not about output.
    pub(crate) fn rule_alone(
        &self,
        rule: &str,
        action: Action,
    ) -> Result<Option<Arc<scanner::Rules>>, scanner::RuleError> {
        self.protect.alone(rule, channel_of(action))
    }

    /// The groups that decide on holds and requests, and the words of `@notify`.
    pub(crate) fn named(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut approvers, channels) = self.engine.annotated();
        approvers.extend(self.protect.approvers().map(str::to_owned));
        (approvers, channels)
    }

    /// The terms on which a rule holds.
    pub(crate) fn terms_of(&self, rule: &str) -> Option<&HoldTerms> {
        self.protect.terms_of(rule)
    }

    /// What becomes of what a rule finds, in words.
    pub(crate) fn action_of(&self, rule: &str) -> String {
        self.protect.action_of(rule).unwrap_or_default()
    }

    /// Why a rule found a value, in words.
    pub(crate) fn why(&self, rule: &str, field: &str, format: &str) -> String {
        format!("{} (read as {format})", self.protect.why(rule, field))
    }

    /// The policies that are about the question, put about `about`, and what came of each alone.
    pub(crate) fn review(&self, question: &Question<'_>, about: &About<'_>) -> Vec<Review> {
        let circumstances = Circumstances {
            now: question.now,
            source: question.source,
            command: question.command,
            approved: question
                .approved_until
                .is_some_and(|until| question.now < until),
        };
        let resource = self.resource(about);
        self.engine
            .review(&question.person, question.action, &resource, circumstances)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Access({} targets, {} rules)",
            self.inventory.len(),
            self.protect.len()
        )
    }
}

/// The rules of `protect.toml` in the folder `policies`, for people who try it out: for one target
/// and login, or all of them. Targets need not exist.
///
/// # Errors
///
/// Every mistake in the file.
pub(crate) fn rules_of_folder(
    policies: &Path,
    target: Option<&str>,
    login: Option<&str>,
    groups: &BTreeSet<String>,
    action: Action,
) -> Result<Arc<scanner::Rules>, Problems> {
    let path = policies.join("protect.toml");
    let protect = load_protect(&path, None, StableKey::MadeUp)?;
    let channel = channel_of(action);
    let rules = match target {
        Some(target) => protect
            .protection(target, login.unwrap_or("*"), groups, channel, None)
            .map(|protection| protection.rules),
        None => protect.all(channel),
    };
    rules.map_err(|error| Problem::of_file(&path, error.to_string()).into())
}

fn channel_of(action: Action) -> Channel {
    match action {
        Action::Shell => Channel::Shell,
        Action::SftpRead | Action::SftpWrite => Channel::Sftp,
        Action::Forward => Channel::Forward,
        Action::Agent => Channel::Agent,
        _ => Channel::Exec,
    }
}

fn read_folder(
    policies: &Path,
    inventory: Option<&Inventory>,
    stable_key: StableKey<'_>,
) -> Result<Draft, Problems> {
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
    let protect = match load_protect(&policies.join("protect.toml"), inventory, stable_key) {
        Ok(protect) => Some(protect),
        Err(found) => {
            problems.extend(found.into_vec());
            None
        }
    };
    if let (Some(engine), Some(protect), Some(inventory)) = (&engine, &protect, inventory) {
        problems.extend(protect.check_approvers(inventory, engine));
        problems.extend(engine.check_names(inventory, &files));
        problems.extend(engine.check_requests(inventory, &files));
    }
    match (Problems::new(problems), engine, protect) {
        (None, Some(engine), Some(protect)) => Ok(Draft {
            digest: digest(&files, &protect).into(),
            engine: Arc::new(engine),
            protect: Arc::new(protect),
        }),
        (Some(problems), _, _) => Err(problems),
        (None, _, _) => Err(Problem::of_file(policies, "cannot be loaded").into()),
    }
}

/// Each file by its name, its length and its text, in the order of the names.
fn digest(files: &[(PathBuf, String)], protect: &Protect) -> String {
    use aws_lc_rs::digest::{Context, SHA256};
    let mut context = Context::new(&SHA256);
    let cedar = files
        .iter()
        .map(|(path, text)| (path.as_path(), text.as_str()));
    for (path, text) in cedar.chain([protect.file()]) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        context.update(format!("{name}\0{}\0", text.len()).as_bytes());
        context.update(text.as_bytes());
    }
    data_encoding::HEXLOWER.encode(context.finish().as_ref())
}

/// The policy files of the folder, sorted by name, so that the order of a listing means nothing.
fn cedar_files(folder: &Path) -> Result<Vec<PathBuf>, Problems> {
    let failed = |error: std::io::Error| {
        Problem::of_file(folder, format!("cannot read the folder: {error}"))
            .hint("`policies` in the configuration names it")
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

fn load_protect(
    path: &Path,
    inventory: Option<&Inventory>,
    stable_key: StableKey<'_>,
) -> Result<Protect, Problems> {
    let text = read_text(path, FILE_MAX).map_err(|error| {
        Problem::of_file(path, error.to_string())
            .hint("an empty file says that nothing is protected")
    })?;
    Protect::parse(path, &text, inventory, stable_key)
}

/// For how long access may be asked for, unless the policy says otherwise.
const REQUEST_LONGEST: Duration = Duration::from_secs(8 * 60 * 60);

/// How far a sign-in may be ahead of the clock.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// No policy file is larger.
const FILE_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;

    use super::*;
    use crate::target::tests::inventory;

    const ISSUER: &str = "https://id.example.com";
    const DEFAULT: &str = include_str!("../../policies/starter/access.cedar");
    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

    fn now() -> Timestamp {
        // A Friday.
        "2027-01-15T08:30:00Z".parse().unwrap()
    }

    fn groups(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn person(groups: &BTreeSet<String>) -> Person<'_> {
        Person {
            issuer: ISSUER,
            subject: "alice-sub",
            name: "alice",
            email: None,
            same_person: SamePerson::NotAsked,
            kind: Kind::Person,
            groups,
            signed_in_at: now(),
            key: Some("SHA256:abc"),
        }
    }

    fn targets() -> Arc<Inventory> {
        inventory(&[
            ("db", "postgres", &["prod"]),
            ("pay", "payroll", &["prod", "restricted"]),
            ("web", "deploy", &[]),
        ])
    }

    fn load(cedar: &str, protect: &str) -> Result<Access, Problems> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("access.cedar"), cedar).unwrap();
        fs::write(folder.path().join("protect.toml"), protect).unwrap();
        Access::load(folder.path(), targets(), StableKey::MadeUp)
    }

    /// What is permitted, by which policies, or why not.
    fn decision(access: &Access, question: &Question<'_>) -> Result<Vec<String>, Reason> {
        match access.decide(question) {
            Ok(grant) => Ok(grant.policies().to_vec()),
            Err(denied) => Err(denied.reason().clone()),
        }
    }

    #[test]
    fn the_shipped_policies_decide_as_they_say() {
        let access = load(DEFAULT, "").unwrap();
        let (users, work) = (Ok(vec!["users-work".to_owned()]), Action::Shell);
        for (member_of, login, target, action, wanted) in [
            (
                &["bastion-users"][..],
                "postgres",
                "db",
                work,
                users.clone(),
            ),
            (
                &["bastion-users"],
                "deploy",
                "web",
                Action::Exec,
                users.clone(),
            ),
            (
                &["bastion-users"],
                "deploy",
                "web",
                Action::SftpRead,
                users.clone(),
            ),
            (
                &["bastion-users"],
                "deploy",
                "web",
                Action::SftpWrite,
                users.clone(),
            ),
            (
                &["bastion-users"],
                "deploy",
                "web",
                Action::Forward,
                Err(Reason::NotPermitted),
            ),
            (
                &["bastion-users"],
                "deploy",
                "web",
                Action::Agent,
                Err(Reason::NotPermitted),
            ),
            (
                &["bastion-users"],
                "payroll",
                "pay",
                work,
                Err(Reason::NotPermitted),
            ),
            (
                &["bastion-admins"],
                "payroll",
                "pay",
                work,
                Ok(vec!["admins-work".to_owned()]),
            ),
            (
                &["Bastion-Users"],
                "postgres",
                "db",
                work,
                Err(Reason::NotPermitted),
            ),
            (
                &["bastion-auditors"],
                "postgres",
                "db",
                work,
                Err(Reason::NotPermitted),
            ),
            (&[], "postgres", "db", work, Err(Reason::NotPermitted)),
            (
                &["bastion-users"],
                "postgres",
                "nowhere",
                work,
                Err(Reason::UnknownTarget),
            ),
            (
                &["bastion-users"],
                "root",
                "db",
                work,
                Err(Reason::UnknownLogin),
            ),
            (
                &["bastion-users"],
                "postgres",
                "DB",
                work,
                Err(Reason::UnknownTarget),
            ),
            (
                &["bastion-users"],
                "postgres",
                "db",
                Action::Play,
                Err(Reason::Action),
            ),
        ] {
            let groups = groups(member_of);
            let question = Question {
                person: person(&groups),
                target,
                login,
                action,
                source: SOURCE,
                now: now(),
                command: None,
                approved_until: None,
            };
            assert_eq!(
                decision(&access, &question),
                wanted,
                "{member_of:?} {action} {login}@{target}"
            );
        }
    }

    #[test]
    fn an_old_sign_in_is_told_from_a_new_one() {
        let access = load(DEFAULT, "").unwrap();
        let groups = groups(&["bastion-admins"]);
        for (age_s, wanted) in [
            (0, Ok(vec!["admins-work".to_owned()])),
            (3_600, Ok(vec!["admins-work".to_owned()])),
            (3_601, Err(Reason::NotPermitted)),
            // The clock was set back a little, which is no harm, or a lot.
            (-60, Ok(vec!["admins-work".to_owned()])),
            (-61, Err(Reason::Clock)),
        ] {
            let person = Person {
                signed_in_at: now() - SignedDuration::from_secs(age_s),
                ..person(&groups)
            };
            let question = Question {
                person,
                target: "pay",
                login: "payroll",
                action: Action::Shell,
                source: SOURCE,
                now: now(),
                command: None,
                approved_until: None,
            };
            assert_eq!(decision(&access, &question), wanted, "{age_s} s");
        }
    }

    #[test]
    fn conditions_see_command_address_time_and_labels() {
        let groups = groups(&["g"]);
        let question = Question {
            person: person(&groups),
            target: "db",
            login: "postgres",
            action: Action::Exec,
            source: SOURCE,
            now: now(),
            command: Some(b"psql -c 'select 1'"),
            approved_until: None,
        };
        let mapped = "::ffff:10.1.2.3".parse().unwrap();
        let other = "192.0.2.1".parse().unwrap();
        for (condition, question, permitted) in [
            (
                "context has command && context.command like \"psql *\"",
                question,
                true,
            ),
            (
                "context has command && context.command like \"ls *\"",
                question,
                false,
            ),
            (
                "context has command",
                Question {
                    command: None,
                    ..question
                },
                false,
            ),
            (
                "context has command && context.command == \"a\u{fffd}\"",
                Question {
                    command: Some(b"a\xff"),
                    ..question
                },
                true,
            ),
            (
                "context.source.isInRange(ip(\"10.1.0.0/16\"))",
                question,
                true,
            ),
            (
                "context.source.isInRange(ip(\"10.1.0.0/16\"))",
                Question {
                    source: mapped,
                    ..question
                },
                true,
            ),
            (
                "context.source.isInRange(ip(\"10.1.0.0/16\"))",
                Question {
                    source: other,
                    ..question
                },
                false,
            ),
            (
                "context.now.toTime() >= duration(\"8h\") && context.now.toTime() < duration(\"9h\")",
                question,
                true,
            ),
            (
                "context.now.offset(duration(\"-1h\")).toTime() >= duration(\"8h\")",
                question,
                false,
            ),
            ("context.weekday == 5", question, true),
            (
                "context.now < datetime(\"2027-01-15T08:30:01Z\")",
                question,
                true,
            ),
            (
                "context.now < datetime(\"2027-01-15T08:30:00Z\")",
                question,
                false,
            ),
            ("resource in Label::\"prod\"", question, true),
            ("resource in Label::\"dev\"", question, false),
            (
                "resource in Target::\"db\" && resource.login == \"postgres\"",
                question,
                true,
            ),
            ("resource == Account::\"postgres@db\"", question, true),
            (
                "principal == User::\"https://id.example.com#alice-sub\"",
                question,
                true,
            ),
            (
                "principal == User::\"https://id.example.com#Alice-sub\"",
                question,
                false,
            ),
            (
                "principal.name == \"alice\" && principal.issuer == \"https://id.example.com\"",
                question,
                true,
            ),
        ] {
            let cedar = format!(
                "@id(\"p\") permit (principal in Group::\"g\", action == Action::\"exec\", resource) when {{ {condition} }};"
            );
            let access = load(&cedar, "").unwrap();
            assert_eq!(access.decide(&question).is_ok(), permitted, "{condition}");
        }
    }

    /// Where a forwarding leads is a condition like a command; where a rule covers the account, what
    /// cannot be read is refused to whoever is permitted it.
    #[test]
    fn a_forwarding_is_decided_by_where_it_leads_and_by_what_covers_the_account() {
        let cedar = "@id(\"p\") permit (principal, action == Action::\"forward\", resource) when { context has to && context.to == \"127.0.0.1:5432\" };";
        let rule = "[[rule]]\nname = \"r\"\ntargets = [\"db\"]\nfields = [\"ssn\"]\naction = { mask = \"redact\" }\n";
        let pass = "[unreadable]\nforward = \"pass\"\n";
        let groups = groups(&[]);
        for (protect, to, wanted) in [
            ("", Some("127.0.0.1:5432"), Ok(vec!["p".to_owned()])),
            ("", Some("127.0.0.1:22"), Err(Reason::NotPermitted)),
            ("", None, Err(Reason::NotPermitted)),
            (rule, Some("127.0.0.1:5432"), Err(Reason::Unread)),
            (rule, Some("127.0.0.1:22"), Err(Reason::NotPermitted)),
            (
                &format!("{rule}{pass}"),
                Some("127.0.0.1:5432"),
                Ok(vec!["p".to_owned()]),
            ),
        ] {
            let access = load(cedar, protect).unwrap();
            let question = Question {
                person: person(&groups),
                target: "db",
                login: "postgres",
                action: Action::Forward,
                source: SOURCE,
                now: now(),
                command: to.map(str::as_bytes),
                approved_until: None,
            };
            assert_eq!(decision(&access, &question), wanted, "{to:?} {protect}");
        }
    }

    #[test]
    fn a_forbid_wins_and_is_named() {
        let cedar = "@id(\"all\") permit (principal, action, resource);\n\
                     @id(\"never-root\") forbid (principal, action, resource) when { resource is Account && resource.login == \"postgres\" };";
        let access = load(cedar, "").unwrap();
        let groups = groups(&[]);
        let question = Question {
            person: person(&groups),
            target: "db",
            login: "postgres",
            action: Action::Shell,
            source: SOURCE,
            now: now(),
            command: None,
            approved_until: None,
        };
        let denied = access.decide(&question).unwrap_err();
        assert_eq!(denied.policies(), ["never-root"]);
        assert_eq!(
            denied.to_string(),
            "shell on postgres@db is refused: forbidden by never-root"
        );
        assert_eq!(
            denied.notice(),
            "you may not open a shell on postgres@db, or it does not exist"
        );
    }

    /// The engine would leave out a `forbid` that it cannot evaluate, and permit.
    #[test]
    fn a_policy_that_cannot_be_evaluated_refuses() {
        let cedar = "permit (principal, action, resource);\n\
                     forbid (principal, action == Action::\"shell\", resource) when { context.weekday * 9223372036854775807 > 0 };";
        let access = load(cedar, "").unwrap();
        let groups = groups(&[]);
        let question = Question {
            person: person(&groups),
            target: "db",
            login: "postgres",
            action: Action::Shell,
            source: SOURCE,
            now: now(),
            command: None,
            approved_until: None,
        };
        assert!(matches!(
            access.decide(&question).unwrap_err().reason(),
            Reason::Failed(_)
        ));
    }

    /// Row 11 of the threats: what exists is not told to those who may not use it.
    #[test]
    fn a_refusal_does_not_tell_what_exists() {
        let access = load(DEFAULT, "").unwrap();
        let groups = groups(&["bastion-users"]);
        let notice = |login, target| {
            let question = Question {
                person: person(&groups),
                target,
                login,
                action: Action::Shell,
                source: SOURCE,
                now: now(),
                command: None,
                approved_until: None,
            };
            access
                .decide(&question)
                .unwrap_err()
                .notice()
                .replace(&format!("{login}@{target}"), "X")
        };
        assert_eq!(notice("payroll", "pay"), notice("payroll", "none"));
        assert_eq!(notice("payroll", "pay"), notice("none", "pay"));
    }

    #[test]
    fn a_grant_says_what_was_granted() {
        let access = load(DEFAULT, "").unwrap();
        let groups = groups(&["bastion-users"]);
        let question = Question {
            person: person(&groups),
            target: "db",
            login: "postgres",
            action: Action::Exec,
            source: SOURCE,
            now: now(),
            command: Some(b"uptime"),
            approved_until: None,
        };
        let grant = access.decide(&question).unwrap();
        assert_eq!(
            (grant.target().name(), grant.login().name(), grant.actions()),
            ("db", "postgres", &[Action::Exec][..])
        );
        assert_eq!(
            (grant.command(), grant.user_name(), grant.covered()),
            (Some(&b"uptime"[..]), "alice", false)
        );
        assert!(matches!(
            grant.credential(),
            crate::target::Credential::Certificate
        ));
        assert_eq!(format!("{grant:?}"), "Grant(exec as postgres@db)");
    }

    #[test]
    fn sessions_are_read_by_their_owner_and_by_auditors() {
        let access = load(DEFAULT, "").unwrap();
        let own = SessionOf {
            id: "s",
            owner_issuer: ISSUER,
            owner_subject: "alice-sub",
            target: "db",
            login: "postgres",
        };
        let gone = SessionOf {
            target: "gone",
            ..own
        };
        let bobs = SessionOf {
            owner_subject: "bob-sub",
            ..own
        };
        // The same subject at another issuer is another person.
        let elsewhere = SessionOf {
            owner_issuer: "https://id.example.org",
            ..own
        };
        for (member_of, action, session, fine) in [
            (&["bastion-users"][..], Action::Play, own, true),
            (&["bastion-users"], Action::Recording, own, true),
            (&["bastion-users"], Action::Play, gone, true),
            (&["bastion-users"], Action::Watch, own, false),
            (&["bastion-users"], Action::Play, bobs, false),
            (&["bastion-users"], Action::Play, elsewhere, false),
            (&["bastion-auditors"], Action::Play, bobs, true),
            (&["bastion-auditors"], Action::End, bobs, false),
            (&["bastion-auditors"], Action::Shell, own, false),
        ] {
            let groups = groups(member_of);
            let read = access.may_read(&person(&groups), action, &session, SOURCE, now());
            assert_eq!(read.is_ok(), fine, "{member_of:?} {action} {session:?}");
        }
        assert!(
            access
                .may_audit(&person(&groups(&["bastion-auditors"])), SOURCE, now())
                .is_ok()
        );
        assert!(
            access
                .may_audit(&person(&groups(&["bastion-users"])), SOURCE, now())
                .is_err()
        );
    }

    #[test]
    fn one_sees_what_one_may_use() {
        let access = load(DEFAULT, "").unwrap();
        let seen = |member_of| -> Vec<String> {
            let groups = groups(member_of);
            let visible = access.visible(&person(&groups), SOURCE, now(), &[]);
            visible
                .iter()
                .map(|visible| {
                    format!(
                        "{}@{}:{}",
                        visible.login,
                        visible.target,
                        visible.actions.len()
                    )
                })
                .collect()
        };
        assert_eq!(seen(&["bastion-users"]), ["postgres@db:4", "deploy@web:4"]);
        assert_eq!(
            seen(&["bastion-admins"]),
            ["postgres@db:4", "payroll@pay:4", "deploy@web:4"]
        );
        assert!(seen(&["bastion-auditors"]).is_empty());
    }

    #[test]
    fn one_sees_by_which_policies() {
        let access = load(
            "@id(\"all run\") permit (principal in Group::\"staff\", action == Action::\"exec\", resource);
             @id(\"web\") permit (principal in Group::\"staff\", action == Action::\"shell\", resource in Target::\"web\");
             @id(\"others\") permit (principal in Group::\"others\", action, resource);
             @id(\"not here\") forbid (principal, action, resource in Target::\"pay\");",
            "",
        )
        .unwrap();
        let staff = groups(&["staff"]);
        let visible = access.visible(&person(&staff), SOURCE, now(), &[]);
        let seen: Vec<_> = visible
            .iter()
            .map(|it| (&*it.target, it.policies.join(", ")))
            .collect();
        assert_eq!(
            seen,
            [
                ("db", "all run".to_owned()),
                ("web", "all run, web".to_owned())
            ]
        );
    }

    #[test]
    fn what_an_approved_request_opens_is_seen_until_then() {
        let access = load(
            "permit (principal in Group::\"staff\", action == Action::\"exec\", resource in Target::\"web\");
             permit (principal in Group::\"staff\", action == Action::\"shell\", resource) when { context.approved };",
            "",
        )
        .unwrap();
        let staff = groups(&["staff"]);
        let later = now() + jiff::SignedDuration::from_hours(1);
        let opened = |login: &str, target: &str, until| Opened {
            login: login.to_owned(),
            target: target.to_owned(),
            until,
        };
        let seen = |opened: &[Opened]| -> Vec<_> {
            let visible = access.visible(&person(&staff), SOURCE, now(), opened);
            let line = |it: &Visible| (it.target.to_string(), it.actions.len(), it.until);
            visible.iter().map(line).collect()
        };
        let web = ("web".to_owned(), 1, None);
        assert_eq!(seen(&[]), std::slice::from_ref(&web));
        assert_eq!(
            seen(&[opened("payroll", "pay", later)]),
            [("pay".to_owned(), 1, Some(later)), web.clone()]
        );
        assert_eq!(
            seen(&[opened("deploy", "web", later)]),
            [("web".to_owned(), 2, Some(later))]
        );
        // One that is over, or of another account.
        for other in [
            opened("payroll", "pay", now()),
            opened("root", "pay", later),
        ] {
            assert_eq!(seen(&[other]), std::slice::from_ref(&web));
        }
    }

    #[test]
    fn mistakes_in_policies_have_a_place() {
        for (cedar, wanted) in [
            ("", "no policy permits anything"),
            (
                "forbid (principal, action, resource);",
                "no policy permits anything",
            ),
            (
                "permit (principal, action, resource)",
                "access.cedar:1:37: ",
            ),
            (
                "permit (principal, action, resource);\npermit (principal, action == Action::\"shel\", resource);",
                "access.cedar:2:",
            ),
            (
                "permit (principal, action, resource) when { resource.owner == principal };",
                "access.cedar:1:",
            ),
            (
                "permit (principal, action == Action::\"exec\", resource) when { context.command == \"x\" };",
                "access.cedar:1:",
            ),
            (
                "permit (principal in Grupe::\"x\", action, resource);",
                "access.cedar:1:",
            ),
            (
                "permit (principal, action == Action::\"lock\", resource in Group::\"x\");",
                "access.cedar:1:1: the groups of a user as a resource are not known (name the user",
            ),
            (
                "permit (principal == ?principal, action, resource);",
                "templates are not used here",
            ),
            (
                "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
                "access.cedar:2:1: a second policy has the @id \"a\"",
            ),
        ] {
            let found = load(cedar, "").expect_err(cedar).to_string();
            assert!(found.contains(wanted), "{cedar}\ngave\n{found}");
        }
    }

    #[test]
    fn policies_without_an_id_are_called_by_their_place() {
        let access = load("// first\n\npermit (principal, action, resource);\npermit (principal, action, resource);\n", "").unwrap();
        let groups = groups(&[]);
        let question = Question {
            person: person(&groups),
            target: "db",
            login: "postgres",
            action: Action::Shell,
            source: SOURCE,
            now: now(),
            command: None,
            approved_until: None,
        };
        assert_eq!(
            access.decide(&question).unwrap().policies(),
            ["access.cedar:3", "access.cedar:4"]
        );
    }

    /// Rows 16 and 50 of the threats: what is missing permits nothing and protects everything.
    #[test]
    fn a_missing_file_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let found = |folder: &Path| {
            Access::load(folder, targets(), StableKey::MadeUp)
                .unwrap_err()
                .to_string()
        };
        assert!(found(&folder.path().join("none")).contains("cannot read the folder"));
        assert!(found(folder.path()).contains("there is no file access.cedar"));
        fs::write(folder.path().join("access.cedar"), DEFAULT).unwrap();
        assert!(found(folder.path()).contains("protect.toml: cannot read"));
        fs::write(folder.path().join("protect.toml"), "").unwrap();
        assert!(Access::load(folder.path(), targets(), StableKey::MadeUp).is_ok());
    }

    #[test]
    fn the_payroll_policies_keep_their_promises() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/payroll");
        let targets = inventory(&[
            ("payroll-db", "reader", &["payroll"]),
            ("web", "deploy", &[]),
        ]);
        let access = Access::load(&folder, targets, StableKey::MadeUp).unwrap();
        let (operators, monitoring) = (
            groups(&["payroll-operators"]),
            groups(&["payroll-monitoring"]),
        );
        let question = Question {
            person: person(&operators),
            target: "payroll-db",
            login: "reader",
            action: Action::Exec,
            source: SOURCE,
            now: now(),
            command: Some(b"report"),
            approved_until: None,
        };
        let at = |time: &str| -> Timestamp { time.parse().unwrap() };
        let saturday = Question {
            now: at("2027-01-16T08:30:00Z"),
            ..question
        };
        let evening = Question {
            now: at("2027-01-15T17:00:00Z"),
            ..question
        };
        let elsewhere = Question {
            source: "192.0.2.1".parse().unwrap(),
            ..question
        };
        let health = Question {
            person: person(&monitoring),
            command: Some(b"uptime"),
            ..elsewhere
        };
        for (what, question, fine) in [
            ("office hours", question, true),
            ("saturday", saturday, false),
            ("evening", evening, false),
            ("from elsewhere", elsewhere, false),
            (
                "a shell",
                Question {
                    action: Action::Shell,
                    ..question
                },
                false,
            ),
            (
                "another target",
                Question {
                    target: "web",
                    login: "deploy",
                    ..question
                },
                false,
            ),
            ("health", health, true),
            (
                "more than health",
                Question {
                    command: Some(b"uptime; sh"),
                    ..health
                },
                false,
            ),
        ] {
            assert_eq!(access.decide(&question).is_ok(), fine, "{what}");
        }
        let covered = |groups: &BTreeSet<String>| {
            access
                .decide(&Question {
                    person: person(groups),
                    ..question
                })
                .map(|grant| grant.covered())
        };
        assert_eq!(covered(&operators).ok(), Some(true));
    }
}
