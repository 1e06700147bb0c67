//! A question of access that an author of policies makes up, in a case or on the command line.
//!
//! Owns what belongs to such a question, and by which door of `access` it goes.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::who::Who;
use crate::access::{
    About, Access, Action, Denied, HoldOf, Question, Reason, RequestOf, Review, SessionOf,
};
use crate::login::Identity;
use crate::store::Locked;

/// Who does what, where, when and from where.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) user: Who,
    pub(super) target: String,
    pub(super) login: String,
    pub(super) action: Action,
    pub(super) at: Timestamp,
    pub(super) from: IpAddr,
}

impl Scene {
    /// Whether there is such an account: a question about one that is misspelled would be answered,
    /// with no.
    pub(super) fn exists(&self, access: &Access) -> Result<(), String> {
        let Some(target) = access.inventory().target(&self.target) else {
            return Err(format!("there is no target \"{}\"", self.target));
        };
        match target.login(&self.login) {
            Some(_) => Ok(()),
            None => Err(format!(
                "the target \"{}\" has no login \"{}\"",
                self.target, self.login
            )),
        }
    }
}

/// A question of access.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) scene: Scene,
    /// The command of an `exec`, or where a `forward` leads.
    pub(super) command: Option<String>,
    pub(super) approved: bool,
    /// Whose session, hold or request it is about; of `lock`, who is locked.
    pub(super) owner: Option<Who>,
    /// The rule of the hold that it is about.
    pub(super) rule: Option<String>,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Allow,
    /// Allowed, once the command has been approved.
    Hold,
    Deny,
}

impl Expect {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

/// What was decided, by which policies, and what is made known of it.
pub(super) struct Decided {
    pub(super) what: Expect,
    /// The policies, or the rule that holds or refuses the command.
    pub(super) by: Vec<String>,
    /// The policies, also where a rule has the last word.
    pub(super) policies: Vec<String>,
    pub(super) break_glass: bool,
    pub(super) notify: Vec<String>,
    pub(super) reason: String,
}

impl Decided {
    fn allowed(policies: Vec<String>) -> Self {
        Self {
            what: Expect::Allow,
            by: policies.clone(),
            policies,
            break_glass: false,
            notify: Vec::new(),
            reason: "permitted".to_owned(),
        }
    }

    fn denied(denied: &Denied) -> Self {
        let decided = Self::allowed(denied.policies().to_vec());
        Self {
            what: Expect::Deny,
            reason: denied.reason().to_string(),
            by: match denied.reason() {
                Reason::Command(rule) => vec![rule.to_string()],
                _ => decided.by,
            },
            ..decided
        }
    }
}

impl Asked {
    /// As for the scene; the audit log and users have no account.
    pub(super) fn exists(&self, access: &Access) -> Result<(), String> {
        match self.scene.action {
            Action::Audit => Ok(()),
            Action::Lock if self.owner.is_some() => Ok(()),
            _ => self.scene.exists(access),
        }
    }

    /// What a server would decide, and the policies that are about it.
    ///
    /// # Errors
    ///
    /// The question makes no sense, in a line.
    pub(super) fn decide(&self, access: &Access) -> Result<(Decided, Vec<Review>), String> {
        let scene = &self.scene;
        let somebody = Who {
            name: "the owner".to_owned(),
            subject: "the owner".to_owned(),
            ..Who::default()
        };
        let owner = self.owner.as_ref().unwrap_or(&somebody).person(scene.at);
        let (target, login) = (scene.target.as_str(), scene.login.as_str());
        let (source, now) = (scene.from, scene.at);
        let question = Question {
            person: scene.user.person(now),
            target,
            login,
            action: scene.action,
            source,
            now,
            command: self.command.as_deref().map(str::as_bytes),
            approved_until: self.approved.then(|| now + SignedDuration::from_secs(3600)),
        };
        let person = &question.person;
        let policies = |answered: Result<Vec<String>, Denied>| match answered {
            Ok(policies) => Decided::allowed(policies),
            Err(denied) => Decided::denied(&denied),
        };
        let account = About::Account { login, target };
        let (decided, about) = match scene.action {
            action if action.is_channel() => (channel(access, &question), account),
            Action::Approve | Action::ShowPayload => match &self.rule {
                Some(rule) => {
                    let terms = access
                        .terms_of(rule)
                        .ok_or_else(|| format!("no rule that holds is called \"{rule}\""))?;
                    let hold = HoldOf {
                        id: MADE_UP,
                        rule,
                        approvers: terms.approvers(),
                        producer: owner.party(),
                        others: &[],
                        target,
                        login,
                    };
                    let decided = policies(match scene.action {
                        Action::Approve => access.may_decide_hold(person, &hold, source, now),
                        _ => access.may_show_payload(person, &hold, source, now),
                    });
                    let reviews = access.review(&question, &About::Hold(&hold));
                    return Ok((decided, reviews));
                }
                None if scene.action == Action::ShowPayload => {
                    return Err("a payload is a hold's: name its rule".to_owned());
                }
                None => {
                    let asked = access
                        .may_request(&owner, login, target, source, now)
                        .map_err(|denied| {
                            format!(
                                "the owner may not ask for it, so that there is nothing to approve: {}",
                                denied.reason()
                            )
                        })?;
                    let request = RequestOf {
                        id: MADE_UP,
                        requester: owner.party(),
                        approvers: &asked.approvers,
                        target,
                        login,
                    };
                    let decided =
                        policies(access.may_decide_request(person, &request, source, now));
                    let reviews = access.review(&question, &About::Request(&request));
                    return Ok((decided, reviews));
                }
            },
            Action::Play | Action::Recording | Action::Watch | Action::End => {
                let session = SessionOf {
                    id: MADE_UP,
                    owner_issuer: owner.issuer,
                    owner_subject: owner.subject,
                    target,
                    login,
                };
                let decided =
                    policies(access.may_read(person, scene.action, &session, source, now));
                let reviews = access.review(&question, &About::Session(&session));
                return Ok((decided, reviews));
            }
            Action::Lock => {
                let locked = match &self.owner {
                    Some(user) => Locked::User(Identity {
                        issuer: user.issuer.clone(),
                        subject: user.subject.clone(),
                    }),
                    None => Locked::Target(target.to_owned()),
                };
                let decided = policies(access.may_lock(person, &locked, source, now));
                let reviews = access.review(&question, &About::Locked(&locked));
                return Ok((decided, reviews));
            }
            Action::Audit => (
                policies(access.may_audit(person, source, now)),
                About::Bastion,
            ),
            _ => {
                let may = access.may_request(person, login, target, source, now);
                (policies(may.map(|may| may.policies)), account)
            }
        };
        Ok((decided, access.review(&question, &about)))
    }
}

fn channel(access: &Access, question: &Question<'_>) -> Decided {
    let grant = match access.decide(question) {
        Ok(grant) => grant,
        Err(denied) => return Decided::denied(&denied),
    };
    let allowed = Decided::allowed(grant.policies().to_vec());
    let decided = match grant.command_hold() {
        Some(terms) => Decided {
            what: Expect::Hold,
            reason: format!("the command waits for {}", terms.approvers()),
            by: vec![terms.rule().to_owned()],
            ..allowed
        },
        None => allowed,
    };
    Decided {
        break_glass: grant.marks().break_glass,
        notify: grant.marks().notify.iter().cloned().collect(),
        ..decided
    }
}

/// The id of a session, hold or request that is made up.
const MADE_UP: &str = "test";
