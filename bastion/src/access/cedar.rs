//! The only place that knows the policy engine.
//!
//! Owns the schema, the parsing and checking of policies, and one evaluation. What is asked, and
//! what follows from the answer, is the room's business.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, Request, RestrictedExpression, Schema, ValidationError,
    ValidationMode, ValidationWarning, Validator,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use miette::Diagnostic;

use super::condition::{Conditions, Facts};
use super::scope::{Index, Scope, Type};
use super::wants::Wants;
use super::{Action, Kind, Marks, Party, Person, Terms};
use crate::config::section::parse_duration;
use crate::config::{Problem, nearest};
use crate::target::Inventory;

/// The checked policies of one folder.
pub(super) struct Engine {
    /// In the order of the files.
    policies: Vec<Policy>,
    index: Index,
    /// At the same positions.
    conditions: Vec<Conditions>,
    /// At the same positions: what each looks at.
    wants: Vec<Wants>,
    /// What people call a policy, and what its annotations ask for.
    known: HashMap<PolicyId, Known>,
    /// The sets of policies that questions were put to.
    slices: Mutex<Slices>,
    written: Written,
    authorizer: Authorizer,
}

/// Times and addresses as the engine takes them. It reads the name of its own function anew for each,
/// which takes longer than most decisions; what many questions have in common is written once.
#[derive(Default)]
struct Written {
    /// By the second.
    now: Mutex<Option<(i64, RestrictedExpression)>>,
    sources: Mutex<HashMap<IpAddr, RestrictedExpression>>,
}

impl Written {
    fn now(&self, now: Timestamp) -> RestrictedExpression {
        let second = now.as_second();
        // A panic of another thread leaves a value that is still whole, here and below.
        let mut last = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            // What is before 1970 is rounded in the other direction.
            Some((of, written)) if *of == second && second > 0 => written.clone(),
            _ => {
                let utc = now.to_zoned_datetime(TimeZone::UTC);
                let text = utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let written = RestrictedExpression::new_datetime(text);
                *last = Some((second, written.clone()));
                written
            }
        }
    }

    fn source(&self, source: IpAddr) -> RestrictedExpression {
        let source = source.to_canonical();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = sources.get(&source) {
            return written.clone();
        }
        let written = RestrictedExpression::new_ip(source.to_string());
        if sources.len() >= SOURCES_MAX {
            sources.clear();
        }
        sources.insert(source, written.clone());
        written
    }
}

/// Sets of policies by their positions, and how many policies they have together.
#[derive(Default)]
struct Slices {
    sets: HashMap<Vec<usize>, Arc<Slice>>,
    policies: usize,
}

/// The policies that a question is put to.
struct Slice {
    policies: PolicySet,
    /// What they look at.
    wants: Wants,
}

/// What is known of a policy besides its text.
struct Known {
    /// Its `@id`, or where it stands.
    name: String,
    /// Which of the files has it, and at which byte.
    at: (usize, usize),
    /// `FILE:LINE`.
    place: String,
    marks: Marks,
    terms: Terms,
}

/// What is asked about, besides the person.
#[derive(Clone, Copy)]
pub(super) enum Resource<'a> {
    /// A login on a target, with the target's labels.
    Account {
        login: &'a str,
        target: &'a str,
        labels: &'a [String],
    },
    /// A session, its owner (issuer and subject), and where it ran.
    Session {
        id: &'a str,
        owner: (&'a str, &'a str),
        login: &'a str,
        target: &'a str,
        labels: &'a [String],
    },
    /// Output or a command that waits, its producer, and where.
    Hold {
        id: &'a str,
        rule: &'a str,
        producer: Party<'a>,
        login: &'a str,
        target: &'a str,
        labels: &'a [String],
    },
    /// Access that somebody has asked for.
    Request {
        id: &'a str,
        requester: Party<'a>,
        login: &'a str,
        target: &'a str,
        labels: &'a [String],
    },
    /// A person, by issuer and subject.
    User { issuer: &'a str, subject: &'a str },
    /// A target, with its labels.
    Target { name: &'a str, labels: &'a [String] },
    /// The bastion.
    Bastion,
}

impl<'a> Resource<'a> {
    /// The labels of the target that it is on.
    fn labels(&self) -> &'a [String] {
        match *self {
            Self::Account { labels, .. }
            | Self::Session { labels, .. }
            | Self::Hold { labels, .. }
            | Self::Request { labels, .. }
            | Self::Target { labels, .. } => labels,
            Self::User { .. } | Self::Bastion => &[],
        }
    }
}

/// When and from where.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    pub(super) source: IpAddr,
    pub(super) command: Option<&'a [u8]>,
    /// Whether a request for it has been approved and is in force.
    pub(super) approved: bool,
}

impl Circumstances<'_> {
    /// For what is neither a channel nor a command.
    pub(super) fn of(now: Timestamp, source: IpAddr) -> Self {
        Self {
            now,
            source,
            command: None,
            approved: false,
        }
    }
}

/// Policies that permit something.
#[derive(Debug)]
pub(super) struct Permit {
    /// Their names, sorted.
    pub(super) policies: Vec<String>,
    pub(super) marks: Marks,
    pub(super) terms: Terms,
}

/// What the policies say; the names are of those that decided.
pub(super) enum Answer {
    Permitted(Permit),
    Forbidden(Vec<String>),
    NotPermitted,
    /// A policy could not be evaluated, so that nobody knows whether it forbids.
    Failed(String),
}

impl Engine {
    /// Reads the policies of `files`, each with its text.
    ///
    /// # Errors
    ///
    /// Every mistake that the parser and the validator find.
    pub(super) fn new(files: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut policies: Vec<Policy> = Vec::new();
        let mut known = HashMap::new();
        let mut taken = HashSet::new();
        for (number, (file, text)) in files.iter().enumerate() {
            let parsed = match PolicySet::from_str(text) {
                Ok(parsed) => parsed,
                Err(errors) => {
                    problems.extend(errors.iter().map(|error| problem_of(file, text, error)));
                    continue;
                }
            };
            problems.extend(check(file, text, &parsed));
            for (policy, offset) in in_order(&parsed, text) {
                let name = name_of(file, text, &policy, offset);
                let id = PolicyId::new(format!("{}:{}", file.display(), policy.id()));
                let place = |message: String| Problem::at(file, text, offset, message);
                let (marks, terms) = annotations(&policy, &place, &mut problems);
                problems.extend(check_request(&policy, &terms, &place));
                problems.extend(check_resource(&policy, &place));
                if !taken.insert(name.clone()) {
                    problems.push(
                        Problem::at(
                            file,
                            text,
                            offset,
                            format!("a second policy has the @id \"{name}\""),
                        )
                        .hint("give it another: the audit log tells policies by theirs"),
                    );
                }
                policies.push(policy.new_id(id.clone()));
                let place = place_of(file, text, offset);
                known.insert(
                    id,
                    Known {
                        name,
                        at: (number, offset),
                        place,
                        marks,
                        terms,
                    },
                );
            }
        }
        if problems.is_empty()
            && !policies
                .iter()
                .any(|policy| policy.effect() == Effect::Permit)
        {
            let message = "no policy permits anything, so that nobody could do anything";
            let first = files
                .first()
                .map(|(file, text)| Problem::at(file, text, 0, message));
            problems.extend(first.map(|problem| {
                problem.hint("add a permit, as in the access.cedar that `bastion init` writes")
            }));
        }
        if problems.is_empty() {
            let mut index = Index::default();
            let (mut conditions, mut wants) = (Vec::new(), Vec::new());
            for policy in &policies {
                index.push(Scope::of(policy));
                // Of one that has no form in JSON nothing is known, and everything is wanted.
                let json = policy.to_json().unwrap_or_default();
                conditions.push(Conditions::of(&json));
                wants.push(Wants::of(policy, &json));
            }
            Ok(Self {
                conditions,
                wants,
                policies,
                index,
                known,
                slices: Mutex::default(),
                written: Written::default(),
                authorizer: Authorizer::new(),
            })
        } else {
            Err(problems)
        }
    }

    /// What the policies say about `person` doing `action` to `resource`.
    pub(super) fn ask(
        &self,
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
    ) -> Answer {
        match self.evaluate(person, action, resource, circumstances) {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    fn evaluate(
        &self,
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        let names = Names::of(person, resource);
        // Whether whole questions are as the schema says is this program's business, not that of
        // whoever asks: the tests see to it.
        if cfg!(test) {
            let wants = Wants::everything();
            let all = (&wants, &self.written);
            Asked::new(person, action, resource, circumstances, &names, all)?;
        }
        let mut at = self
            .index
            .find(names.principals(person), names.resources(), action);
        let facts = facts(person, action, resource, circumstances, &names);
        at.retain(|at| {
            let conditions = self.conditions.get(*at);
            !conditions.is_some_and(|conditions| conditions.exclude(&facts))
        });
        if at.is_empty() {
            return Ok(Answer::NotPermitted);
        }
        let slice = self.slice(at);
        let asked = Asked::new(
            person,
            action,
            resource,
            circumstances,
            &names,
            (&slice.wants, &self.written),
        )?;
        Ok(self.answer(&asked, &slice.policies))
    }

    fn answer(&self, asked: &Asked, policies: &PolicySet) -> Answer {
        let response = self
            .authorizer
            .is_authorized(&asked.request, policies, &asked.entities);
        // The engine skips a policy that it cannot evaluate, also one that forbids.
        if let Some(error) = response.diagnostics().errors().next() {
            return Answer::Failed(error.to_string());
        }
        let decided: Vec<&Known> = response
            .diagnostics()
            .reason()
            .filter_map(|id| self.known.get(id))
            .collect();
        let mut policies: Vec<String> = decided.iter().map(|known| known.name.clone()).collect();
        policies.sort();
        match response.decision() {
            Decision::Allow => Answer::Permitted(Permit {
                policies,
                marks: Marks::of(decided.iter().map(|known| &known.marks)),
                terms: Terms::of(decided.iter().map(|known| &known.terms)),
            }),
            Decision::Deny if policies.is_empty() => Answer::NotPermitted,
            Decision::Deny => Answer::Forbidden(policies),
        }
    }
}

impl Engine {
    /// The policies at these positions.
    fn slice(&self, at: Vec<usize>) -> Arc<Slice> {
        // A panic of another thread leaves a map that is still whole, here and below.
        let slices = || self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = slices().sets.get(&at) {
            return Arc::clone(slice);
        }
        let mut wants = Wants::default();
        at.iter()
            .filter_map(|at| self.wants.get(*at))
            .for_each(|each| wants.add(each));
        let slice = Arc::new(Slice {
            policies: self.set_of(&at),
            wants,
        });
        let mut slices = slices();
        // Those that are asked for again come back; what is not stays away.
        if slices.policies + at.len() > SLICES_MAX {
            *slices = Slices::default();
        }
        slices.policies += at.len();
        slices.sets.insert(at, Arc::clone(&slice));
        slice
    }

    #[expect(
        clippy::expect_used,
        reason = "`new` has given every policy an id of its own"
    )]
    fn set_of(&self, at: &[usize]) -> PolicySet {
        let mut set = PolicySet::new();
        for policy in at.iter().filter_map(|at| self.policies.get(*at)) {
            set.add(policy.clone()).expect("ids are different");
        }
        set
    }

    /// The policies whose first line fits the question, each with what came of it alone.
    pub(super) fn review(
        &self,
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
    ) -> Vec<Review> {
        let names = Names::of(person, resource);
        let wants = Wants::everything();
        let all = (&wants, &self.written);
        let Ok(asked) = Asked::new(person, action, resource, circumstances, &names, all) else {
            return Vec::new();
        };
        let found = self
            .index
            .find(names.principals(person), names.resources(), action);
        found
            .into_iter()
            .filter_map(|at| self.review_one(at, &asked))
            .collect()
    }

    fn review_one(&self, at: usize, asked: &Asked) -> Option<Review> {
        let policy = self.policies.get(at)?;
        let known = self.known.get(policy.id())?;
        let response =
            self.authorizer
                .is_authorized(&asked.request, &self.set_of(&[at]), &asked.entities);
        let outcome = if response.diagnostics().errors().next().is_some() {
            ReviewOutcome::Failed
        } else if response.diagnostics().reason().next().is_some() {
            ReviewOutcome::Met
        } else {
            ReviewOutcome::NotMet
        };
        let condition = policy.to_cedar().and_then(|text| {
            let at = text
                .find("when")
                .into_iter()
                .chain(text.find("unless"))
                .min()?;
            Some(text.get(at..)?.trim_end_matches(';').trim_end().to_owned())
        });
        Some(Review {
            policy: known.name.clone(),
            place: known.place.clone(),
            effect: match policy.effect() {
                Effect::Permit => "permit",
                Effect::Forbid => "forbid",
            },
            condition: condition.filter(|_| outcome != ReviewOutcome::Met),
            outcome,
        })
    }

    /// The groups of `@approvers`, and the words of `@notify`.
    pub(super) fn annotated(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let known = || self.known.values();
        let approvers = known().flat_map(|known| &known.terms.approvers);
        let channels = known().flat_map(|known| &known.marks.notify);
        (approvers.cloned().collect(), channels.cloned().collect())
    }

    /// Every account of the inventory, with a number that is the same for those that no policy tells
    /// apart by its first line.
    pub(super) fn alike<'a>(&self, inventory: &'a Inventory) -> Vec<(Place<'a>, usize)> {
        let mut numbers: HashMap<Vec<u32>, usize> = HashMap::new();
        let mut accounts = Vec::new();
        for target in inventory.iter() {
            for login in target.logins() {
                let account = (login.name(), target.name(), target.labels());
                let next = numbers.len();
                let number = numbers.entry(self.bounds_of(account)).or_insert(next);
                accounts.push((account, *number));
            }
        }
        accounts
    }

    /// The numbers of what the account is or is in, of what some policy names in its first line.
    fn bounds_of(&self, (login, target, labels): Place<'_>) -> Vec<u32> {
        let account = format!("{login}@{target}");
        let own = [(Type::Account, account.as_str()), (Type::Target, target)];
        let labels = labels.iter().map(|label| (Type::Label, label.as_str()));
        let numbers = own.into_iter().chain(labels);
        let mut numbers: Vec<u32> = numbers
            .filter_map(|(kind, id)| self.index.known(kind, id))
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// The policies that let people ask for access, where they say who approves it.
    pub(super) fn asking(&self) -> impl Iterator<Item = Asking<'_>> {
        self.policies.iter().enumerate().filter_map(|(at, policy)| {
            let scope = self.index.scope(at)?;
            let known = self.known.get(policy.id())?;
            let asks = policy.effect() == Effect::Permit
                && scope.names_actions()
                && scope.has_action(Action::Request)
                && !known.terms.approvers.is_empty();
            asks.then_some(Asking {
                resource: scope.resource.as_ref(),
                approvers: &known.terms.approvers,
                file: known.at.0,
                at: known.at.1,
            })
        })
    }

    /// The groups to which policies bind what they permit of `actions` on an account; `None` where
    /// some policy permits it to people who are in no group that it names in its first line, or lets one
    /// person approve. Conditions
    /// are not looked at.
    pub(super) fn groups_that_may(
        &self,
        actions: &[Action],
        account: Place<'_>,
    ) -> Option<BTreeSet<String>> {
        let (login, target, labels) = account;
        let mut resources = vec![
            uid(TYPES.of(Type::Account), &format!("{login}@{target}")),
            uid(TYPES.of(Type::Target), target),
        ];
        resources.extend(labels.iter().map(|label| uid(TYPES.of(Type::Label), label)));
        let mut groups = BTreeSet::new();
        for (at, policy) in self.policies.iter().enumerate() {
            let Some(scope) = self.index.scope(at) else {
                continue;
            };
            // What is held on an account is below everything that the account is in.
            let about_it = scope
                .resource
                .as_ref()
                .is_none_or(|uid| resources.contains(uid));
            if policy.effect() == Effect::Forbid
                || !about_it
                || !actions.iter().any(|action| scope.has_action(*action))
            {
                continue;
            }
            match &scope.principal {
                Some(uid) if *uid.type_name() == *TYPES.of(Type::Group) => {
                    groups.insert(AsRef::<str>::as_ref(uid.id()).to_owned());
                }
                // One person who decides may be in any group.
                Some(_) if actions.contains(&Action::Approve) => return None,
                // One person is no group, and makes nobody else a producer.
                Some(_) => {}
                None => return None,
            }
        }
        Some(groups)
    }
}

impl Engine {
    /// Targets, accounts and labels that policies name and the inventory does not know. A label that
    /// no target has yet is no mistake, unless it is all but one that some target has.
    pub(super) fn check_names(
        &self,
        inventory: &Inventory,
        files: &[(PathBuf, String)],
    ) -> Vec<Problem> {
        let labels: BTreeSet<&str> = inventory
            .iter()
            .flat_map(|target| target.labels())
            .map(String::as_str)
            .collect();
        let mut problems = Vec::new();
        for literal in self.policies.iter().flat_map(Policy::entity_literals) {
            let id = AsRef::<str>::as_ref(literal.id());
            let kind = literal.type_name();
            let (message, hint) =
                if *kind == *TYPES.of(Type::Target) && inventory.target(id).is_none() {
                    let known = inventory.iter().map(|target| target.name());
                    (
                        format!("no target of the inventory is called \"{id}\""),
                        nearest(id, known),
                    )
                } else if *kind == *TYPES.of(Type::Account) && !has_account(inventory, id) {
                    (format!("the inventory has no account \"{id}\""), None)
                } else if *kind == *TYPES.of(Type::Label) && !labels.contains(id) {
                    let Some(meant) = nearest(id, labels.iter().copied()) else {
                        continue;
                    };
                    (format!("no target has the label \"{id}\""), Some(meant))
                } else {
                    continue;
                };
            let hint = hint.map_or_else(
                || "correct the name, or add the target first".to_owned(),
                |meant| format!("did you mean \"{meant}\"?"),
            );
            let word = literal.to_string();
            for (file, text) in files {
                for (at, _) in text.match_indices(&word) {
                    problems.push(Problem::at(file, text, at, message.clone()).hint(hint.clone()));
                }
            }
        }
        problems
    }
}

/// An account: login, target, and the labels of that.
pub(super) type Place<'a> = (&'a str, &'a str, &'a [String]);

/// A policy that lets people ask for access.
pub(super) struct Asking<'a> {
    resource: Option<&'a EntityUid>,
    /// The groups that approve it; never empty.
    pub(super) approvers: &'a BTreeSet<String>,
    /// Which of the files has it.
    pub(super) file: usize,
    /// The byte at which it stands.
    pub(super) at: usize,
}

impl Asking<'_> {
    /// Whether the account is among those that may be asked for.
    pub(super) fn covers(&self, login: &str, target: &str, inventory: &Inventory) -> bool {
        let Some(resource) = self.resource else {
            return true;
        };
        let id = AsRef::<str>::as_ref(resource.id());
        match Type::of(&resource.type_name().to_string()) {
            Some(Type::Account) => id.split_once('@') == Some((login, target)),
            Some(Type::Target) => id == target,
            Some(Type::Label) => inventory
                .target(target)
                .is_some_and(|target| target.labels().iter().any(|label| label == id)),
            _ => false,
        }
    }
}

fn has_account(inventory: &Inventory, id: &str) -> bool {
    id.split_once('@').is_some_and(|(login, target)| {
        inventory
            .target(target)
            .is_some_and(|target| target.login(login).is_some())
    })
}

/// Whoever may ask for access has to ask somebody.
fn check_request(
    policy: &Policy,
    terms: &Terms,
    place: &dyn Fn(String) -> Problem,
) -> Option<Problem> {
    let scope = Scope::of(policy);
    let permits = policy.effect() == Effect::Permit && scope.has_action(Action::Request);
    if !permits && *terms != Terms::default() {
        let message = "@approvers, @count and @longest say how access is asked for, which this policy does not permit";
        return Some(place(message.to_owned()).hint("add Action::\"request\", or take them away"));
    }
    // Whoever permits everything may have thought of nothing in particular.
    if !permits || !scope.names_actions() {
        return None;
    }
    if terms.approvers.is_empty() {
        let message =
            "this policy lets people ask for access, and says of nobody that they approve it";
        return Some(place(message.to_owned()).hint("write @approvers(\"GROUP\") before permit"));
    }
    let group = scope.principal?;
    let own = *group.type_name() == *TYPES.of(Type::Group)
        && terms.approvers.len() == 1
        && terms.approvers.contains(AsRef::<str>::as_ref(group.id()));
    own.then(|| {
        place("those who ask for access are those who approve it".to_owned())
            .hint("name a group of other people in @approvers")
    })
}

/// Whose groups nobody knows is no resource by them.
fn check_resource(policy: &Policy, place: &dyn Fn(String) -> Problem) -> Option<Problem> {
    let resource = Scope::of(policy).resource?;
    (*resource.type_name() == *TYPES.of(Type::Group)).then(|| {
        place("the groups of a user as a resource are not known".to_owned())
            .hint("name the user, or leave it out: resource is User")
    })
}

/// A policy that is about a question, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Review {
    pub(crate) policy: String,
    /// `FILE:LINE`.
    pub(crate) place: String,
    /// `permit` or `forbid`.
    pub(crate) effect: &'static str,
    pub(crate) outcome: ReviewOutcome,
    /// The condition that was not met.
    pub(crate) condition: Option<String>,
}

/// What came of a policy alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReviewOutcome {
    /// It says what it says.
    Met,
    /// Its condition, or the kind of its resource, is not met.
    NotMet,
    /// It cannot be evaluated.
    Failed,
}

impl ReviewOutcome {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Met => "decides",
            Self::NotMet => "its condition is not met",
            Self::Failed => "cannot be evaluated",
        }
    }
}

/// What a question is about, by type and id, without the engine's entities.
struct Names<'a> {
    /// The id of the person.
    user: String,
    /// The resource and everything that it is in, the resource first.
    resources: Vec<(Type, Cow<'a, str>)>,
}

impl<'a> Names<'a> {
    fn of(person: &Person<'a>, resource: &Resource<'a>) -> Self {
        let (own, account, target) = match *resource {
            Resource::Account { login, target, .. } => (None, Some(login), Some(target)),
            Resource::Session {
                id, login, target, ..
            } => (Some((Type::Session, id.into())), Some(login), Some(target)),
            Resource::Hold {
                id, login, target, ..
            } => (Some((Type::Hold, id.into())), Some(login), Some(target)),
            Resource::Request {
                id, login, target, ..
            } => (Some((Type::Request, id.into())), Some(login), Some(target)),
            Resource::User { issuer, subject } => {
                let user = user_id(issuer, subject).into();
                (Some((Type::User, user)), None, None)
            }
            Resource::Target { name, .. } => (None, None, Some(name)),
            Resource::Bastion => (Some((Type::Bastion, BASTION.into())), None, None),
        };
        let account = account
            .zip(target)
            .map(|(login, target)| (Type::Account, format!("{login}@{target}").into()));
        let target = target.map(|target| (Type::Target, target.into()));
        let labels = resource.labels().iter();
        let user = user_id(person.issuer, person.subject);
        // Of somebody else as a resource, the groups are not known.
        let own_groups = own
            .as_ref()
            .filter(|own| **own == (Type::User, user.as_str().into()))
            .map(|_| person.groups.iter());
        let own_groups: Vec<(Type, Cow<'a, str>)> = own_groups
            .into_iter()
            .flatten()
            .map(|group| (Type::Group, group.as_str().into()))
            .collect();
        Self {
            user,
            resources: own
                .into_iter()
                .chain(account)
                .chain(target)
                .chain(labels.map(|label| (Type::Label, label.as_str().into())))
                .chain(own_groups)
                .collect(),
        }
    }

    /// The person and the groups.
    fn principals<'b>(&'b self, person: &'b Person<'_>) -> impl Iterator<Item = (Type, &'b str)> {
        let groups = person.groups.iter();
        std::iter::once((Type::User, self.user.as_str()))
            .chain(groups.map(|group| (Type::Group, group.as_str())))
    }

    fn resources(&self) -> impl Iterator<Item = (Type, &str)> {
        self.resources.iter().map(|(kind, id)| (*kind, id.as_ref()))
    }
}

/// What conditions are read by, without the engine.
fn facts<'a>(
    person: &Person<'a>,
    action: Action,
    resource: &Resource<'a>,
    circumstances: Circumstances<'a>,
    names: &'a Names<'a>,
) -> Facts<'a> {
    let optional = [
        (person.key.is_some(), "client_key"),
        (
            circumstances.command.is_some() && action == Action::Exec,
            "command",
        ),
        (
            circumstances.command.is_some() && action == Action::Forward,
            "to",
        ),
    ];
    let command = circumstances.command.filter(|_| action == Action::Exec);
    Facts {
        source: circumstances.source.to_canonical(),
        now_ms: (circumstances.now >= Timestamp::UNIX_EPOCH)
            .then(|| circumstances.now.as_second().saturating_mul(1000)),
        sign_in_age_ms: sign_in_age_ms(person, circumstances.now),
        weekday: weekday(circumstances.now),
        approved: action.is_channel().then_some(circumstances.approved),
        given: optional.map(|(is, name)| is.then_some(name)),
        service: matches!(person.kind, Kind::Service { .. }),
        has_email: person.email.is_some(),
        name: person.name,
        groups: person.groups,
        account: match *resource {
            Resource::Account { login, target, .. } => Some((login, target)),
            _ => None,
        },
        command: command.and_then(|command| std::str::from_utf8(command).ok()),
        resources: &names.resources,
    }
}

/// A question as the engine takes it.
struct Asked {
    request: Request,
    entities: Entities,
}

impl Asked {
    /// With what `wants` says that policies look at, and no more.
    fn new(
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
        names: &Names<'_>,
        (wants, written): (&Wants, &Written),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let principal = uid(TYPES.of(Type::User), &names.user);
        let mut entities = Vec::new();
        push_person(&mut entities, &principal, person, wants)?;
        let resource = push_resource(&mut entities, resource, names, wants)?;
        let context = context_of(person, action, circumstances, wants, written)?;
        Ok(Self {
            request: Request::new(
                principal,
                uid(&TYPES.action, action.name()),
                resource,
                context,
                (cfg!(test) && wants.is_everything()).then(|| &*SCHEMA),
            )?,
            entities: Entities::from_entities(entities, None)?,
        })
    }
}

/// What the annotations of a policy ask for; one that is not known, or says nothing, is a mistake.
fn annotations(
    policy: &Policy,
    place: &dyn Fn(String) -> Problem,
    problems: &mut Vec<Problem>,
) -> (Marks, Terms) {
    let (mut marks, mut terms) = (Marks::default(), Terms::default());
    for (key, value) in policy.annotations() {
        let value = value.trim();
        let fine = match key {
            "id" | "description" => true,
            "break_glass" => {
                marks.break_glass = true;
                value.is_empty()
            }
            "notify" => {
                marks.notify.insert(value.to_owned());
                !value.is_empty()
            }
            "approvers" => {
                terms.approvers.insert(value.to_owned());
                !value.is_empty()
            }
            "count" => match value.parse() {
                Ok(count @ 1..=10) => {
                    terms.count = count;
                    true
                }
                _ => false,
            },
            "longest" => match parse_duration(value).filter(|longest| !longest.is_zero()) {
                Some(longest) => {
                    terms.longest = Some(longest);
                    true
                }
                None => false,
            },
            _ => {
                problems.push(
                    place(format!("there is no annotation @{key}")).hint(
                        "there are @id, @description, @break_glass, @notify, @approvers, @count and @longest",
                    ),
                );
                continue;
            }
        };
        if !fine {
            problems.push(
                place(format!("@{key}(\"{value}\") means nothing")).hint(match key {
                    "break_glass" => "write @break_glass with nothing behind it",
                    "count" => "a number of people from 1 to 10: @count(\"2\")",
                    "longest" => "a duration: @longest(\"4h\")",
                    _ => "name a group or a channel",
                }),
            );
        }
    }
    (marks, terms)
}

/// What the validator says about one file.
fn check(file: &Path, text: &str, policies: &PolicySet) -> Vec<Problem> {
    let mut problems: Vec<_> = policies
        .templates()
        .map(|template| {
            let offset = text.find(&template.to_cedar()).unwrap_or(0);
            Problem::at(file, text, offset, "templates are not used here")
                .hint("write the policy without ?principal and ?resource")
        })
        .collect();
    let result = Validator::new(SCHEMA.clone()).validate(policies, ValidationMode::Strict);
    // Of a name that does not exist, more follows that says nothing new.
    let unknown: HashSet<&PolicyId> = result
        .validation_errors()
        .filter(|error| {
            matches!(
                error,
                ValidationError::UnrecognizedActionId(_)
                    | ValidationError::UnrecognizedEntityType(_)
            )
        })
        .map(ValidationError::policy_id)
        .collect();
    let errors = result.validation_errors().filter(|error| {
        !matches!(error, ValidationError::InvalidActionApplication(_))
            || !unknown.contains(error.policy_id())
    });
    problems.extend(errors.map(|error| problem_of(file, text, error)));
    let wrong: HashSet<&PolicyId> = result
        .validation_errors()
        .map(ValidationError::policy_id)
        .collect();
    let warnings = result
        .validation_warnings()
        .filter(|warning| !wrong.contains(warning.policy_id()));
    problems.extend(warnings.map(|warning| {
        let problem = problem_of(file, text, warning);
        match warning {
            ValidationWarning::ImpossiblePolicy(_) => {
                problem.hint("it can never apply: take away what is never true, or the policy")
            }
            _ => problem,
        }
    }));
    problems
}

fn problem_of(file: &Path, text: &str, error: &dyn Diagnostic) -> Problem {
    let offset = error
        .labels()
        .and_then(|mut labels| labels.next())
        .map_or(0, |label| label.offset());
    let message = plain(&error.to_string());
    let problem = Problem::at(file, text, offset, message);
    match error.help() {
        Some(help) => problem.hint(plain(&help.to_string())),
        None if problem.message == "unexpected end of input" => {
            problem.hint("a policy ends with a semicolon")
        }
        None => problem.hint("bastion.cedarschema lists what policies can speak about"),
    }
}

/// The engine names policies by number; the place says it better.
fn plain(message: &str) -> String {
    let message = match message
        .strip_prefix("for policy `")
        .and_then(|rest| rest.split_once("`, "))
    {
        Some((_, rest)) => rest,
        None => message,
    };
    message.replace('\n', " ")
}

/// The policies in the order of the text, each with the place where it begins.
fn in_order(policies: &PolicySet, text: &str) -> Vec<(Policy, usize)> {
    let number = |policy: &Policy| {
        AsRef::<str>::as_ref(policy.id())
            .strip_prefix("policy")
            .and_then(|number| number.parse::<usize>().ok())
    };
    let mut sorted: Vec<Policy> = policies.policies().cloned().collect();
    sorted.sort_by_key(|policy| number(policy).unwrap_or(usize::MAX));
    let mut from = 0;
    sorted
        .into_iter()
        .map(|policy| {
            let source = policy.to_cedar().unwrap_or_default();
            let offset = text
                .get(from..)
                .and_then(|rest| rest.find(&source))
                .map_or(from, |found| from + found);
            from = offset + source.len();
            (policy, offset)
        })
        .collect()
}

fn name_of(file: &Path, text: &str, policy: &Policy, offset: usize) -> String {
    match policy.annotation("id") {
        Some(id) if !id.trim().is_empty() => id.trim().to_owned(),
        _ => place_of(file, text, offset),
    }
}

fn place_of(file: &Path, text: &str, offset: usize) -> String {
    let (line, _) = crate::config::line_column(text, offset);
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{file}:{line}")
}

fn push_person(
    entities: &mut Vec<Entity>,
    uid_of_person: &EntityUid,
    person: &Person<'_>,
    wants: &Wants,
) -> Result<(), Box<dyn std::error::Error>> {
    // Groups have neither attributes nor groups of their own: the person's being in them is all.
    let groups = person
        .groups
        .iter()
        .filter(|group| wants.group(group))
        .map(|group| uid(TYPES.of(Type::Group), group))
        .collect();
    let mut attributes = strings(
        wants,
        [
            ("issuer", person.issuer),
            ("subject", person.subject),
            ("name", person.name),
        ],
    );
    if let Some(email) = person.email {
        attributes.extend(strings(wants, [("email", email)]));
    }
    if wants.attribute("service") {
        let service = matches!(person.kind, Kind::Service { .. });
        attributes.insert(
            "service".to_owned(),
            RestrictedExpression::new_bool(service),
        );
    }
    entities.push(Entity::new(uid_of_person.clone(), attributes, groups)?);
    Ok(())
}

/// The resource, with everything that it is in, each by its name; accounts and targets have entities
/// of their own where policies look at them.
fn push_resource(
    entities: &mut Vec<Entity>,
    resource: &Resource<'_>,
    names: &Names<'_>,
    wants: &Wants,
) -> Result<EntityUid, Box<dyn std::error::Error>> {
    let mut attributes = match *resource {
        Resource::Account { login, target, .. } => {
            strings(wants, [("login", login), ("target", target)])
        }
        Resource::Session { owner, .. } => HashMap::from([person_of("owner", owner)]),
        Resource::Hold { rule, producer, .. } => {
            let mut attributes = strings(wants, [("rule", rule)]);
            attributes.extend([person_of("producer", (producer.issuer, producer.subject))]);
            attributes
        }
        Resource::Request { requester, .. } => HashMap::from([person_of(
            "requester",
            (requester.issuer, requester.subject),
        )]),
        Resource::User { issuer, subject } => strings(
            wants,
            [("issuer", issuer), ("subject", subject), ("name", subject)],
        ),
        Resource::Target { name, .. } => strings(wants, [("name", name)]),
        Resource::Bastion => HashMap::new(),
    };
    let mut above = names
        .resources()
        .filter(|(kind, id)| *kind != Type::Label || wants.label(id))
        .map(|(kind, id)| (kind, uid(TYPES.of(kind), id)));
    let (kind, own) = above.next().ok_or("the resource has no name")?;
    let mut above: Vec<(Type, EntityUid)> = above.collect();
    if kind == Type::User {
        // Whoever asks about themselves is there already, with name and groups.
        if entities.iter().any(|entity| entity.uid() == own) {
            return Ok(own);
        }
        // Not known of somebody who is only spoken about, as the groups are not.
        attributes.insert("service".to_owned(), RestrictedExpression::new_bool(false));
    }
    let parents = |above: &[(Type, EntityUid)]| above.iter().map(|(_, uid)| uid.clone()).collect();
    entities.push(Entity::new(own.clone(), attributes, parents(&above))?);
    if wants.places() {
        while let Some(at) = above.iter().position(|(kind, _)| *kind != Type::Label) {
            let (kind, place) = above.remove(at);
            let attributes = match (kind, *resource) {
                (
                    Type::Account,
                    Resource::Session { login, target, .. }
                    | Resource::Hold { login, target, .. }
                    | Resource::Request { login, target, .. },
                ) => strings(wants, [("login", login), ("target", target)]),
                _ => strings(wants, [("name", AsRef::<str>::as_ref(place.id()))]),
            };
            entities.push(Entity::new(place.clone(), attributes, parents(&above))?);
        }
    }
    Ok(own)
}

/// An attribute that is a person: issuer and subject.
fn person_of(attribute: &str, person: (&str, &str)) -> (String, RestrictedExpression) {
    let user = uid(TYPES.of(Type::User), &user_id(person.0, person.1));
    (
        attribute.to_owned(),
        RestrictedExpression::new_entity_uid(user),
    )
}

fn context_of(
    person: &Person<'_>,
    action: Action,
    circumstances: Circumstances<'_>,
    wants: &Wants,
    written: &Written,
) -> Result<Context, Box<dyn std::error::Error>> {
    let now = circumstances.now;
    let mut pairs = Vec::new();
    let mut push = |name: &str, value: &dyn Fn() -> RestrictedExpression| {
        if wants.attribute(name) {
            pairs.push((name.to_owned(), value()));
        }
    };
    push("now", &|| written.now(now));
    push("weekday", &|| RestrictedExpression::new_long(weekday(now)));
    push("source", &|| written.source(circumstances.source));
    push("sign_in_age", &|| {
        RestrictedExpression::new_duration(format!("{}ms", sign_in_age_ms(person, now)))
    });
    if let Some(key) = person.key {
        push("client_key", &|| {
            RestrictedExpression::new_string(key.to_owned())
        });
    }
    if action.is_channel() {
        push("approved", &|| {
            RestrictedExpression::new_bool(circumstances.approved)
        });
    }
    let name = match action {
        Action::Exec => Some("command"),
        Action::Forward => Some("to"),
        _ => None,
    };
    if let (Some(name), Some(command)) = (name, circumstances.command) {
        push(name, &|| {
            RestrictedExpression::new_string(String::from_utf8_lossy(command).into_owned())
        });
    }
    Ok(Context::from_pairs(pairs)?)
}

fn weekday(now: Timestamp) -> i64 {
    let utc = now.to_zoned_datetime(TimeZone::UTC);
    i64::from(utc.weekday().to_monday_one_offset())
}

/// A sign-in that is a little ahead of the clock has no age.
fn sign_in_age_ms(person: &Person<'_>, now: Timestamp) -> i64 {
    now.as_millisecond()
        .saturating_sub(person.signed_in_at.as_millisecond())
        .max(0)
}

/// Attributes that are text, where they are looked at.
fn strings<const N: usize>(
    wants: &Wants,
    pairs: [(&str, &str); N],
) -> HashMap<String, RestrictedExpression> {
    pairs
        .into_iter()
        .filter(|(name, _)| wants.attribute(name))
        .map(|(name, value)| {
            (
                name.to_owned(),
                RestrictedExpression::new_string(value.to_owned()),
            )
        })
        .collect()
}

/// Addresses that are kept as the engine takes them.
const SOURCES_MAX: usize = 1_024;
/// Policies that are kept in sets.
const SLICES_MAX: usize = 16_384;

/// An issuer has no fragment (OpenID Connect Discovery 1.0, section 3), so that the first `#` ends
/// it and two people never have the same id.
fn user_id(issuer: &str, subject: &str) -> String {
    format!("{issuer}#{subject}")
}

/// The id of the one entity that stands for the bastion.
const BASTION: &str = "bastion";

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The engine's names of types.
struct Types {
    by_type: [EntityTypeName; Type::ALL.len()],
    action: EntityTypeName,
}

impl Types {
    #[expect(clippy::indexing_slicing, reason = "there is one for each type")]
    fn of(&self, kind: Type) -> &EntityTypeName {
        &self.by_type[kind as usize]
    }
}

#[expect(
    clippy::expect_used,
    reason = "the names are literals; a test parses them"
)]
static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let parse = |name: &str| EntityTypeName::from_str(name).expect("an entity type of the schema");
    Types {
        by_type: Type::ALL.map(|kind| parse(kind.name())),
        action: parse("Action"),
    }
});

#[expect(
    clippy::expect_used,
    reason = "the text is part of the program; a test parses it"
)]
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the shipped schema is valid");
    schema
});

/// The schema that every policy is compared with, as shipped in `policies/`.
pub(crate) const SCHEMA_TEXT: &str = include_str!("../../../policies/bastion.cedarschema");

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;

    #[test]
    fn the_schema_knows_every_action_and_type() {
        let actions: HashSet<String> = SCHEMA
            .actions()
            .map(|action| AsRef::<str>::as_ref(action.id()).to_owned())
            .collect();
        assert_eq!(
            actions,
            Action::ALL
                .iter()
                .map(|action| action.name().to_owned())
                .collect()
        );
        let types: HashSet<String> = SCHEMA.entity_types().map(ToString::to_string).collect();
        for kind in [
            TYPES.of(Type::User),
            TYPES.of(Type::Group),
            TYPES.of(Type::Label),
            TYPES.of(Type::Target),
            TYPES.of(Type::Account),
            TYPES.of(Type::Session),
            TYPES.of(Type::Hold),
            TYPES.of(Type::Request),
            TYPES.of(Type::Bastion),
        ] {
            assert!(types.contains(&kind.to_string()), "{kind}");
        }
    }

    /// Requests carry no action entities, which only groups of actions would need.
    #[test]
    fn the_schema_has_no_groups_of_actions() {
        assert_eq!(SCHEMA.action_groups().count(), 0);
    }

    /// What conditions look at: of every kind that is read without the engine, and some that are not
    /// or cannot be evaluated. Each is true of some questions below and false of others.
    const OF_ALL: &[&str] = &[
        "context.weekday == 3",
        "context.weekday < 6",
        "context.weekday != 4",
        // Cannot be evaluated: too large a number.
        "context.weekday * 9223372036854775807 > 0",
        "context.source.isInRange(ip(\"10.0.0.0/8\"))",
        "context.source.isInRange(ip(\"10.0.0.0/31\"))",
        "context.source.isInRange(ip(\"10.0.0.1\"))",
        "context.source.isInRange(ip(\"0.0.0.0/0\"))",
        "context.source.isInRange(ip(\"::/0\"))",
        "context.source.isInRange(ip(\"2001:db8::/33\"))",
        "context.source.isIpv4()",
        "context.source == ip(\"10.0.0.1\")",
        "context.sign_in_age <= duration(\"1h30m\")",
        "context.sign_in_age > duration(\"90m\")",
        "duration(\"5400000ms\") >= context.sign_in_age",
        "context.sign_in_age == duration(\"0s\")",
        "context.sign_in_age >= duration(\"-1s\")",
        "context.sign_in_age.toMinutes() < 90",
        "context.now >= datetime(\"2027-01-13T10:00:00Z\")",
        "context.now.toTime() < duration(\"10h\")",
        "context.now.offset(duration(\"1h\")).toTime() >= duration(\"11h\")",
        "context.now.offset(duration(\"-26h\")).toTime() == duration(\"8h\")",
        "context.now.offset(duration(\"23h59m59s999ms\")).toTime() != duration(\"10h\")",
        "context.now.offset(duration(\"106751991167d\")).toTime() < duration(\"1d\")",
        "context.now.toDate() == datetime(\"2027-01-13\")",
        "principal.service",
        "principal.name == \"n\"",
        "\"m\" != principal.name",
        "principal.name like \"n*\"",
        "[\"m\", \"o\"].contains(principal.name)",
        "[\"m\", \"n\"].contains(principal.name)",
        "principal has email",
        "principal has email && principal.email like \"*@b\"",
        "principal in Group::\"a\"",
        "principal in [Group::\"a\", Group::\"b\"]",
        "principal == User::\"i#s\"",
        "context has client_key",
        "context has client_key && context.client_key == \"k\"",
        "(if context.weekday == 3 then context else context).sign_in_age > duration(\"1h\")",
        "[context].contains(context)",
        "Target::\"t\" in Label::\"x\"",
        "Group::\"a\" in Group::\"b\"",
    ];
    /// The same of whatever somebody may do, where resources are of several kinds.
    const OF_ANYTHING: &[&str] = &[
        "resource is Account",
        "resource is Session",
        "resource is Account && resource.login == \"l\"",
        "resource is Account && resource in Label::\"x\"",
        "resource is Account in Target::\"t\"",
    ];
    /// The same of accounts.
    const OF_ACCOUNTS: &[&str] = &[
        "resource.login == \"l\"",
        "resource.login != \"l\"",
        "resource.target == \"u\"",
        "resource in Label::\"x\"",
        "resource in [Label::\"y\", Label::\"x\"]",
        "resource in Account::\"l@t\"",
        "resource == Account::\"l@t\"",
        "context.approved",
    ];
    /// The same of sessions.
    const OF_SESSIONS: &[&str] = &[
        "resource.owner == principal",
        "resource.owner == User::\"i#s\"",
        "resource.owner in Group::\"a\"",
        "resource in Label::\"x\"",
        "resource in Target::\"t\"",
        "Account::\"l@t\" in Target::\"t\"",
        "Account::\"l@t\".login == \"l\"",
    ];
    /// The same of what is decided on.
    const OF_DECISIONS: &[&str] = &[
        "resource is Hold",
        "resource is Hold && resource.rule == \"r\"",
        "resource is Hold && resource.producer == principal",
        "resource is Request && resource.requester == principal",
        "resource in Account::\"l@t\"",
        "resource in Label::\"x\"",
    ];
    /// The same of locks.
    const OF_LOCKS: &[&str] = &[
        "resource is User && resource == principal",
        "resource is User && resource.name == \"s\"",
        "resource is User && resource.service",
        "resource is User && resource in Group::\"a\"",
        "resource is Target && resource.name == \"t\"",
        "resource is Target && resource in Label::\"x\"",
    ];
    /// The same of forwardings.
    const OF_FORWARDS: &[&str] = &[
        "context has to",
        "context has to && context.to == \"id\"",
        "resource in Label::\"x\" && context.approved",
    ];
    /// The same of commands.
    const OF_COMMANDS: &[&str] = &[
        "context has command",
        "context has command && context.command == \"id\"",
        "context has command && [\"id\", \"ls\"].contains(context.command)",
        "context has command && context.command like \"i*\"",
    ];

    /// The conditions of one policy: leaves, and what is made of them.
    fn conditions(leaves: &[&[&str]]) -> impl Strategy<Value = String> + use<> {
        let leaves: Vec<String> = leaves
            .concat()
            .iter()
            .map(|leaf| (*leaf).to_owned())
            .collect();
        let condition = proptest::sample::select(leaves).prop_recursive(3, 8, 2, |inner| {
            let two = (inner.clone(), inner.clone());
            proptest::prop_oneof![
                inner.prop_map(|one| format!("!({one})")),
                two.clone().prop_map(|(a, b)| format!("({a}) && ({b})")),
                two.clone().prop_map(|(a, b)| format!("({a}) || ({b})")),
                two.prop_map(|(a, b)| format!("if {a} then {b} else !({b})")),
            ]
        });
        let clause = (proptest::bool::ANY, condition).prop_map(|(when, condition)| {
            let word = if when { "when" } else { "unless" };
            format!("{word} {{ {condition} }}")
        });
        proptest::collection::vec(clause, 0..3).prop_map(|clauses| clauses.join(" "))
    }

    /// The same of what is on an account, which is below it, and is none.
    fn below(resource: &str, kind: &str) -> String {
        resource
            .replace("is Account", &format!("is {kind}"))
            .replace("== Account", "in Account")
    }

    /// Which policies there are, of a few words each.
    fn policies() -> impl Strategy<Value = String> {
        use proptest::sample::select;
        let principal = select(vec![
            "principal",
            "principal is User",
            "principal in Group::\"a\"",
            "principal in Group::\"b\"",
            "principal is User in Group::\"a\"",
            "principal == User::\"i#s\"",
        ]);
        let resource = select(vec![
            "resource",
            "resource is Account",
            "resource in Label::\"x\"",
            "resource in Target::\"t\"",
            "resource == Account::\"l@t\"",
            "resource is Account in Label::\"y\"",
        ]);
        let rest = proptest::prop_oneof![
            conditions(&[OF_ALL, OF_ANYTHING])
                .prop_map(|conditions| format!("action, resource) {conditions}")),
            (resource.clone(), conditions(&[OF_ALL, OF_ACCOUNTS])).prop_map(
                |(resource, conditions)| format!(
                    "action in [Action::\"exec\", Action::\"shell\"], {resource}) {conditions}"
                )
            ),
            (resource.clone(), conditions(&[OF_ALL, OF_ACCOUNTS])).prop_map(
                |(resource, conditions)| format!(
                    "action == Action::\"shell\", {resource}) {conditions}"
                )
            ),
            (
                resource.clone(),
                conditions(&[OF_ALL, OF_ACCOUNTS, OF_COMMANDS, OF_COMMANDS])
            )
                .prop_map(|(resource, conditions)| format!(
                    "action == Action::\"exec\", {resource}) {conditions}"
                )),
        ];
        let rest = proptest::prop_oneof![
            4 => rest,
            1 => (resource.clone(), conditions(&[OF_ALL, OF_SESSIONS, OF_SESSIONS])).prop_map(
                |(resource, conditions)| format!(
                    "action in [Action::\"play\", Action::\"end\"], {}) {conditions}",
                    below(resource, "Session")
                )
            ),
            1 => (resource.clone(), conditions(&[OF_ALL, OF_DECISIONS, OF_DECISIONS])).prop_map(
                |(resource, conditions)| format!(
                    "action == Action::\"approve\", {}) {conditions}",
                    below(resource, "Hold")
                )
            ),
            1 => conditions(&[OF_ALL, OF_LOCKS, OF_LOCKS])
                .prop_map(|conditions| format!("action == Action::\"lock\", resource) {conditions}")),
            1 => conditions(&[OF_ALL])
                .prop_map(|conditions| format!("action == Action::\"audit\", resource) {conditions}")),
            1 => conditions(&[OF_ALL, OF_FORWARDS, OF_FORWARDS]).prop_map(|conditions| format!(
                "action == Action::\"forward\", resource) {conditions}"
            )),
        ];
        let effect = select(vec!["permit", "permit", "forbid"]);
        let policy = (effect, principal, rest)
            .prop_map(|(effect, principal, rest)| format!("{effect} ({principal}, {rest};\n"));
        proptest::collection::vec(policy, 1..8).prop_map(|policies| policies.concat())
    }

    proptest::prop_compose! {
        /// Somebody, but for the groups.
        fn people()(
            subject in "[st]",
            name in "[mno]",
            email in proptest::option::of("[ab]@[bc]"),
            service in proptest::bool::ANY,
            key in proptest::option::of("[kl]"),
            age_ms in proptest::sample::select(vec![-30_000, 0, 1, 5_399_999, 5_400_000, 5_400_001, 80_000_000]),
        ) -> (String, String, Option<String>, bool, Option<String>, i64) {
            (subject, name, email, service, key, age_ms)
        }
    }

    fn said(answer: Answer) -> String {
        match answer {
            Answer::Permitted(permit) => format!("permitted by {:?}", permit.policies),
            Answer::Forbidden(policies) => format!("forbidden by {policies:?}"),
            Answer::NotPermitted => "not permitted".to_owned(),
            Answer::Failed(_) => "failed".to_owned(),
        }
    }

    proptest::proptest! {
        /// The few policies that are asked, with the little that they look at, say what all of them
        /// say of the whole question.
        #[test]
        fn a_slice_says_what_all_policies_say(
            text in policies(),
            who in people(),
            groups in proptest::collection::btree_set("[abc]", 0..3),
            labels in proptest::collection::vec("[xyz]", 0..3),
            target in "[tu]",
            command in proptest::sample::select(vec![None, Some("id"), Some("ls"), Some("i\u{fffd}"), Some("rm")]),
            (about, approved) in (0_usize..14, proptest::bool::ANY),
            other in "[st]",
            source in proptest::sample::select(vec![
                "10.0.0.1", "10.0.0.2", "10.255.255.255", "192.0.2.7", "0.0.0.0", "::ffff:10.0.0.1",
                "2001:db8::1", "2001:db8:8000::1", "fe80::1", "::",
            ]),
            now in proptest::sample::select(vec![
                "2027-01-13T10:00:00Z", "2027-01-13T09:59:59.999Z", "2027-01-13T10:00:00.001Z",
                "2027-01-14T23:30:00Z", "2027-01-16T00:00:00Z", "1969-12-31T23:59:59.5Z",
            ]),
        ) {
            let source: IpAddr = source.parse().unwrap_or(IpAddr::from([0; 4]));
            let Ok(engine) = Engine::new(&[(PathBuf::from("a.cedar"), text)]) else {
                // Nothing is permitted, or a policy can never apply.
                return Ok(());
            };
            let now: Timestamp = now.parse().unwrap_or_default();
            let (subject, name, email, service, key, age_ms) = &who;
            let person = Person {
                issuer: "i",
                subject,
                name,
                email: email.as_deref(),
                same_person: super::super::SamePerson::NotAsked,
                kind: if *service { Kind::Service { owner: None } } else { Kind::Person },
                groups: &groups,
                signed_in_at: now - jiff::SignedDuration::from_millis(*age_ms),
                key: key.as_deref(),
            };
            let account = Resource::Account { login: "l", target: &target, labels: &labels };
            let party = Person { subject: &other, ..person }.party();
            let (login, target, labels) = ("l", target.as_str(), labels.as_slice());
            let (action, resource) = match about {
                0..=3 => (Action::Exec, account),
                4..=6 => (Action::Shell, account),
                7 => (Action::Forward, account),
                8 => (Action::Request, account),
                9 => {
                    let owner = ("i", other.as_str());
                    (Action::Play, Resource::Session { id: "1", owner, login, target, labels })
                }
                10 => (
                    Action::Approve,
                    Resource::Hold { id: "1", rule: "r", producer: party, login, target, labels },
                ),
                11 => (
                    Action::Approve,
                    Resource::Request { id: "1", requester: party, login, target, labels },
                ),
                12 => match approved {
                    true => (Action::Lock, Resource::User { issuer: "i", subject: &other }),
                    false => (Action::Lock, Resource::Target { name: target, labels }),
                },
                _ => (Action::Audit, Resource::Bastion),
            };
            let circumstances = Circumstances {
                command: command.map(str::as_bytes),
                approved,
                ..Circumstances::of(now, source)
            };
            // What is asked a moment before changes nothing.
            let before = Circumstances { now: now - jiff::SignedDuration::from_millis(600), ..circumstances };
            drop(engine.ask(&person, action, &resource, before));
            let sliced = said(engine.ask(&person, action, &resource, circumstances));
            let all: Vec<usize> = (0..engine.policies.len()).collect();
            let names = Names::of(&person, &resource);
            let wants = Wants::everything();
            // Written anew, so that what is kept of the earlier question is compared, too.
            let everything = (&wants, &Written::default());
            let whole = match Asked::new(&person, action, &resource, circumstances, &names, everything) {
                Ok(asked) => said(engine.answer(&asked, &engine.set_of(&all))),
                Err(error) => error.to_string(),
            };
            proptest::prop_assert_eq!(sliced, whole);
        }
    }

    /// Each leaf by itself is a condition that the validator takes, so that the law is about them.
    #[test]
    fn the_leaves_of_the_law_are_conditions() {
        for (leaves, action) in [
            (OF_ALL, "action"),
            (OF_ANYTHING, "action"),
            (OF_ACCOUNTS, "action == Action::\"shell\""),
            (OF_COMMANDS, "action == Action::\"exec\""),
            (OF_SESSIONS, "action == Action::\"play\""),
            (OF_DECISIONS, "action == Action::\"approve\""),
            (OF_LOCKS, "action == Action::\"lock\""),
            (OF_FORWARDS, "action == Action::\"forward\""),
        ] {
            for leaf in leaves {
                let text = format!("permit (principal, {action}, resource) when {{ {leaf} }};");
                let problems = Engine::new(&[(PathBuf::from("a.cedar"), text)]).err();
                assert!(problems.is_none(), "{leaf}: {problems:?}");
            }
        }
    }

    /// Not one question in four of the law is about policies that are refused anyway.
    #[test]
    fn the_law_is_about_policies_that_are_right() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let right = (0..100)
            .filter_map(|_| policies().new_tree(&mut runner).ok())
            .filter(|tree| Engine::new(&[(PathBuf::from("a.cedar"), tree.current())]).is_ok())
            .count();
        assert!(right >= 75, "{right} of 100");
    }

    /// What is looked at is known by its name, and all of it where names do not tell.
    #[test]
    fn what_policies_look_at_is_read_off_them() {
        for (condition, wanted, unwanted) in [
            ("context.weekday == 3", "weekday", "now"),
            (
                "principal has email && principal.email like \"*\"",
                "email",
                "name",
            ),
            ("[context].contains(context)", "now", ""),
            (
                "(if principal.service then context else context).weekday == 3",
                "sign_in_age",
                "",
            ),
        ] {
            let text = format!(
                "permit (principal in Group::\"a\", action, resource) when {{ {condition} }};"
            );
            let engine = Engine::new(&[(PathBuf::from("a.cedar"), text)]).ok();
            let wants = engine.as_ref().and_then(|engine| engine.wants.first());
            let wants = wants.cloned().unwrap_or_default();
            assert!(wants.attribute(wanted), "{condition}");
            assert!(
                unwanted.is_empty() || !wants.attribute(unwanted),
                "{condition}"
            );
            assert!(wants.group("a"), "{condition}");
            assert!(unwanted.is_empty() || !wants.group("b"), "{condition}");
        }
    }
}
