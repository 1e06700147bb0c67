//! The only place that knows the policy engine.
//!
//! Owns the schema, the parsing and checking of policies, and one evaluation. What is asked, and
//! what follows from the answer, is the room's business.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use miette::Diagnostic;

use super::network::Networks;
use super::scope::{Index, Scope};
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
    networks: Vec<Networks>,
    /// What people call a policy, and what its annotations ask for.
    known: HashMap<PolicyId, Known>,
    /// The sets of policies that questions were put to.
    slices: Mutex<HashMap<Vec<usize>, Arc<PolicySet>>>,
    authorizer: Authorizer,
}

/// What is known of a policy besides its text.
struct Known {
    /// Its `@id`, or where it stands.
    name: String,
    /// `FILE:LINE`.
    place: String,
    marks: Marks,
    terms: Terms,
}

/// What is asked about, besides the person.
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
        for (file, text) in files {
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
                if !taken.insert(name.clone()) {
                    problems.push(Problem::at(
                        file,
                        text,
                        offset,
                        format!("a second policy has the @id \"{name}\""),
                    ));
                }
                policies.push(policy.new_id(id.clone()));
                let place = place_of(file, text, offset);
                known.insert(
                    id,
                    Known {
                        name,
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
            let file = files
                .first()
                .map(|(file, _)| file.clone())
                .unwrap_or_default();
            problems.push(
                Problem::of_file(
                    &file,
                    "no policy permits anything, so that nobody could do anything",
                )
                .hint("add a permit, as in the access.cedar that `bastion init` writes"),
            );
        }
        if problems.is_empty() {
            let mut index = Index::default();
            for policy in &policies {
                index.push(Scope::of(policy));
            }
            Ok(Self {
                networks: policies.iter().map(Networks::of).collect(),
                policies,
                index,
                known,
                slices: Mutex::default(),
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
        let asked = Asked::new(person, action, resource, circumstances)?;
        let mut at = self.index.find(&asked.principals, &asked.resources, action);
        let source = circumstances.source.to_canonical();
        at.retain(|at| {
            let networks = self.networks.get(*at);
            !networks.is_some_and(|networks| networks.exclude(source))
        });
        Ok(self.answer(&asked, &self.slice(at)))
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
    fn slice(&self, at: Vec<usize>) -> Arc<PolicySet> {
        // A panic of another thread leaves a map that is still whole.
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = slices.get(&at) {
            return Arc::clone(slice);
        }
        let slice = Arc::new(self.set_of(&at));
        if slices.len() < SLICES_MAX {
            slices.insert(at, Arc::clone(&slice));
        }
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
        let Ok(asked) = Asked::new(person, action, resource, circumstances) else {
            return Vec::new();
        };
        let found = self.index.find(&asked.principals, &asked.resources, action);
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

    /// The groups to which policies bind what they permit of `actions` on an account; `None` where
    /// some policy permits it to people who are in no group that it names in its first line. Conditions
    /// are not looked at.
    pub(super) fn groups_that_may(
        &self,
        actions: &[Action],
        account: (&str, &str, &[String]),
    ) -> Option<BTreeSet<String>> {
        let (login, target, labels) = account;
        let mut resources = vec![
            uid(&TYPES.account, &format!("{login}@{target}")),
            uid(&TYPES.target, target),
        ];
        resources.extend(labels.iter().map(|label| uid(&TYPES.label, label)));
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
                Some(uid) if *uid.type_name() == TYPES.group => {
                    groups.insert(AsRef::<str>::as_ref(uid.id()).to_owned());
                }
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
            let (message, hint) = if *kind == TYPES.target && inventory.target(id).is_none() {
                let known = inventory.iter().map(|target| target.name());
                (
                    format!("no target of the inventory is called \"{id}\""),
                    nearest(id, known),
                )
            } else if *kind == TYPES.account && !has_account(inventory, id) {
                (format!("the inventory has no account \"{id}\""), None)
            } else if *kind == TYPES.label && !labels.contains(id) {
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
    let own = *group.type_name() == TYPES.group
        && terms.approvers.len() == 1
        && terms.approvers.contains(AsRef::<str>::as_ref(group.id()));
    own.then(|| {
        place("those who ask for access are those who approve it".to_owned())
            .hint("name a group of other people in @approvers")
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

/// A question as the engine takes it.
struct Asked {
    request: Request,
    entities: Entities,
    /// The person and the groups.
    principals: Vec<EntityUid>,
    /// The resource and everything that it is in.
    resources: Vec<EntityUid>,
}

impl Asked {
    fn new(
        person: &Person<'_>,
        action: Action,
        resource: &Resource<'_>,
        circumstances: Circumstances<'_>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let principal = user_uid(person.issuer, person.subject);
        let mut entities = Vec::new();
        push_person(&mut entities, &principal, person)?;
        let mut principals = vec![principal.clone()];
        principals.extend(person.groups.iter().map(|group| uid(&TYPES.group, group)));
        let known = entities.len();
        let labels = resource.labels();
        let resource = push_resource(&mut entities, resource)?;
        // A person as a resource was there before, as the first.
        let mut resources = vec![resource.clone()];
        resources.extend(entities.iter().skip(known).map(Entity::uid));
        resources.extend(labels.iter().map(|label| uid(&TYPES.label, label)));
        let context = context_of(person, action, circumstances)?;
        Ok(Self {
            request: Request::new(
                principal,
                uid(&TYPES.action, action.name()),
                resource,
                context,
                // Whether questions are as the schema says is this program's business, not that of
                // whoever asks: the tests see to it.
                cfg!(test).then(|| &*SCHEMA),
            )?,
            entities: Entities::from_entities(entities, None)?,
            principals,
            resources,
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
    problems.extend(
        result
            .validation_errors()
            .map(|error| problem_of(file, text, error)),
    );
    problems.extend(
        result
            .validation_warnings()
            .map(|warning| problem_of(file, text, warning)),
    );
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
        None => problem,
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
) -> Result<(), Box<dyn std::error::Error>> {
    // Groups have neither attributes nor groups of their own: the person's being in them is all.
    let groups = person
        .groups
        .iter()
        .map(|group| uid(&TYPES.group, group))
        .collect();
    let mut attributes = strings([
        ("issuer", person.issuer),
        ("subject", person.subject),
        ("name", person.name),
    ]);
    if let Some(email) = person.email {
        attributes.extend(strings([("email", email)]));
    }
    let service = matches!(person.kind, Kind::Service { .. });
    attributes.insert(
        "service".to_owned(),
        RestrictedExpression::new_bool(service),
    );
    entities.push(Entity::new(uid_of_person.clone(), attributes, groups)?);
    Ok(())
}

fn push_resource(
    entities: &mut Vec<Entity>,
    resource: &Resource<'_>,
) -> Result<EntityUid, Box<dyn std::error::Error>> {
    match *resource {
        Resource::Account {
            login,
            target,
            labels,
        } => push_account(entities, login, target, labels),
        Resource::Session {
            id,
            owner,
            login,
            target,
            labels,
        } => {
            let account = push_account(entities, login, target, labels)?;
            let attributes = HashMap::from([person_of("owner", owner)]);
            push_under(entities, uid(&TYPES.session, id), attributes, account)
        }
        Resource::Hold {
            id,
            rule,
            producer,
            login,
            target,
            labels,
        } => {
            let account = push_account(entities, login, target, labels)?;
            let mut attributes = strings([("rule", rule)]);
            attributes.extend([person_of("producer", (producer.issuer, producer.subject))]);
            push_under(entities, uid(&TYPES.hold, id), attributes, account)
        }
        Resource::Request {
            id,
            requester,
            login,
            target,
            labels,
        } => {
            let account = push_account(entities, login, target, labels)?;
            let requester = (requester.issuer, requester.subject);
            let attributes = HashMap::from([person_of("requester", requester)]);
            push_under(entities, uid(&TYPES.request, id), attributes, account)
        }
        Resource::User { issuer, subject } => {
            let user = user_uid(issuer, subject);
            // Whoever asks about themselves is there already, with name and groups.
            if !entities.iter().any(|entity| entity.uid() == user) {
                let mut attributes =
                    strings([("issuer", issuer), ("subject", subject), ("name", subject)]);
                // Not known of somebody who is only spoken about, as the groups are not.
                attributes.insert("service".to_owned(), RestrictedExpression::new_bool(false));
                entities.push(Entity::new(user.clone(), attributes, HashSet::new())?);
            }
            Ok(user)
        }
        Resource::Target { name, labels } => push_target(entities, name, labels),
        Resource::Bastion => {
            let bastion = uid(&TYPES.bastion, "bastion");
            entities.push(Entity::with_uid(bastion.clone()));
            Ok(bastion)
        }
    }
}

/// An entity that belongs to an account.
fn push_under(
    entities: &mut Vec<Entity>,
    entity: EntityUid,
    attributes: HashMap<String, RestrictedExpression>,
    account: EntityUid,
) -> Result<EntityUid, Box<dyn std::error::Error>> {
    entities.push(Entity::new(
        entity.clone(),
        attributes,
        HashSet::from([account]),
    )?);
    Ok(entity)
}

/// An attribute that is a person: issuer and subject.
fn person_of(attribute: &str, person: (&str, &str)) -> (String, RestrictedExpression) {
    let person = RestrictedExpression::new_entity_uid(user_uid(person.0, person.1));
    (attribute.to_owned(), person)
}

fn push_target(
    entities: &mut Vec<Entity>,
    target: &str,
    labels: &[String],
) -> Result<EntityUid, Box<dyn std::error::Error>> {
    let labels = labels
        .iter()
        .map(|label| uid(&TYPES.label, label))
        .collect();
    let target_uid = uid(&TYPES.target, target);
    entities.push(Entity::new(
        target_uid.clone(),
        strings([("name", target)]),
        labels,
    )?);
    Ok(target_uid)
}

fn push_account(
    entities: &mut Vec<Entity>,
    login: &str,
    target: &str,
    labels: &[String],
) -> Result<EntityUid, Box<dyn std::error::Error>> {
    let target_uid = push_target(entities, target, labels)?;
    let account = uid(&TYPES.account, &format!("{login}@{target}"));
    let attributes = strings([("login", login), ("target", target)]);
    entities.push(Entity::new(
        account.clone(),
        attributes,
        HashSet::from([target_uid]),
    )?);
    Ok(account)
}

fn context_of(
    person: &Person<'_>,
    action: Action,
    circumstances: Circumstances<'_>,
) -> Result<Context, Box<dyn std::error::Error>> {
    let now = circumstances.now;
    let age_ms = now
        .as_millisecond()
        .saturating_sub(person.signed_in_at.as_millisecond())
        .max(0);
    let utc = now.to_zoned_datetime(TimeZone::UTC);
    let mut pairs = vec![
        (
            "now".to_owned(),
            RestrictedExpression::new_datetime(utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ),
        (
            "weekday".to_owned(),
            RestrictedExpression::new_long(i64::from(utc.weekday().to_monday_one_offset())),
        ),
        (
            "source".to_owned(),
            RestrictedExpression::new_ip(circumstances.source.to_canonical().to_string()),
        ),
        (
            "sign_in_age".to_owned(),
            RestrictedExpression::new_duration(format!("{age_ms}ms")),
        ),
    ];
    if let Some(key) = person.key {
        let key = RestrictedExpression::new_string(key.to_owned());
        pairs.push(("client_key".to_owned(), key));
    }
    if action.is_channel() {
        let approved = RestrictedExpression::new_bool(circumstances.approved);
        pairs.push(("approved".to_owned(), approved));
    }
    let name = match action {
        Action::Exec => Some("command"),
        Action::Forward => Some("to"),
        _ => None,
    };
    if let (Some(name), Some(command)) = (name, circumstances.command) {
        let command = String::from_utf8_lossy(command).into_owned();
        pairs.push((name.to_owned(), RestrictedExpression::new_string(command)));
    }
    Ok(Context::from_pairs(pairs)?)
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, RestrictedExpression> {
    pairs
        .into_iter()
        .map(|(name, value)| {
            (
                name.to_owned(),
                RestrictedExpression::new_string(value.to_owned()),
            )
        })
        .collect()
}

/// More sets of policies than this are put together each time.
const SLICES_MAX: usize = 4_096;

/// An issuer has no fragment (OpenID Connect Discovery 1.0, section 3), so that the first `#` ends
/// it and two people never have the same id.
fn user_uid(issuer: &str, subject: &str) -> EntityUid {
    uid(&TYPES.user, &format!("{issuer}#{subject}"))
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

struct Types {
    user: EntityTypeName,
    group: EntityTypeName,
    label: EntityTypeName,
    target: EntityTypeName,
    account: EntityTypeName,
    session: EntityTypeName,
    hold: EntityTypeName,
    request: EntityTypeName,
    bastion: EntityTypeName,
    action: EntityTypeName,
}

#[expect(
    clippy::expect_used,
    reason = "the names are literals below; a test parses them"
)]
static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let parse = |name: &str| EntityTypeName::from_str(name).expect("an entity type of the schema");
    Types {
        user: parse("User"),
        group: parse("Group"),
        label: parse("Label"),
        target: parse("Target"),
        account: parse("Account"),
        session: parse("Session"),
        hold: parse("Hold"),
        request: parse("Request"),
        bastion: parse("Bastion"),
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
            &TYPES.user,
            &TYPES.group,
            &TYPES.label,
            &TYPES.target,
            &TYPES.account,
            &TYPES.session,
            &TYPES.hold,
            &TYPES.request,
            &TYPES.bastion,
        ] {
            assert!(types.contains(&kind.to_string()), "{kind}");
        }
    }

    /// Requests carry no action entities, which only groups of actions would need.
    #[test]
    fn the_schema_has_no_groups_of_actions() {
        assert_eq!(SCHEMA.action_groups().count(), 0);
    }

    /// Which policies there are, of a few words each.
    fn policies() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::sample::select;
        let principal = select(vec![
            "principal",
            "principal is User",
            "principal in Group::\"a\"",
            "principal in Group::\"b\"",
            "principal is User in Group::\"a\"",
            "principal == User::\"i#s\"",
        ]);
        let action = select(vec![
            "action",
            "action == Action::\"exec\"",
            "action in [Action::\"exec\", Action::\"shell\"]",
            "action == Action::\"shell\"",
        ]);
        let resource = select(vec![
            "resource",
            "resource is Account",
            "resource in Label::\"x\"",
            "resource in Target::\"t\"",
            "resource == Account::\"l@t\"",
            "resource is Account in Label::\"y\"",
        ]);
        let condition = select(vec![
            "",
            "when { context.weekday == 3 }",
            "when { context.weekday == 4 }",
            // Cannot be evaluated: too large a number.
            "when { context.weekday * 9223372036854775807 > 0 }",
            "when { context.source.isInRange(ip(\"10.0.0.0/8\")) }",
            "unless { context.source.isInRange(ip(\"10.0.0.0/31\")) }",
            "when { context.source.isInRange(ip(\"0.0.0.0/0\")) } unless { context.weekday == 3 }",
            "when { context.source.isInRange(ip(\"::/0\")) || context.weekday == 3 }",
            "when { !context.source.isInRange(ip(\"10.0.0.1\")) && context.weekday * 9223372036854775807 > 0 }",
            "when { context.weekday * 9223372036854775807 > 0 && context.source.isInRange(ip(\"192.0.2.0/24\")) }",
            "when { context.weekday * 9223372036854775807 > 0 } unless { context.source.isInRange(ip(\"0.0.0.0/0\")) }",
            "unless { context.source.isInRange(ip(\"2001:db8::/33\")) || context.source.isInRange(ip(\"fe80::1\")) }",
        ]);
        let effect = select(vec!["permit", "permit", "forbid"]);
        let policy = (effect, principal, action, resource, condition).prop_map(
            |(effect, principal, action, resource, condition)| {
                format!("{effect} ({principal}, {action}, {resource}) {condition};\n")
            },
        );
        proptest::collection::vec(policy, 1..12).prop_map(|policies| policies.concat())
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
        /// The few policies that are asked say what all of them say.
        #[test]
        fn a_slice_says_what_all_policies_say(
            text in policies(),
            groups in proptest::collection::btree_set("[abc]", 0..3),
            labels in proptest::collection::vec("[xyz]", 0..3),
            subject in "[st]",
            exec in proptest::bool::ANY,
            source in proptest::sample::select(vec![
                "10.0.0.1", "10.0.0.2", "10.255.255.255", "192.0.2.7", "0.0.0.0", "::ffff:10.0.0.1",
                "2001:db8::1", "2001:db8:8000::1", "fe80::1", "::",
            ]),
        ) {
            let source: IpAddr = source.parse().unwrap_or(IpAddr::from([0; 4]));
            let Ok(engine) = Engine::new(&[(PathBuf::from("a.cedar"), text)]) else {
                // Nothing is permitted, or a policy can never apply.
                return Ok(());
            };
            let now: Timestamp = "2027-01-13T10:00:00Z".parse().unwrap_or_default();
            let person = Person {
                issuer: "i",
                subject: &subject,
                name: "n",
                email: None,
                same_person: super::super::SamePerson::NotAsked,
                kind: Kind::Person,
                groups: &groups,
                signed_in_at: now,
                key: None,
            };
            let action = if exec { Action::Exec } else { Action::Shell };
            let resource = Resource::Account { login: "l", target: "t", labels: &labels };
            let circumstances = Circumstances::of(now, source);
            let sliced = said(engine.ask(&person, action, &resource, circumstances));
            let all: Vec<usize> = (0..engine.policies.len()).collect();
            let whole = match Asked::new(&person, action, &resource, circumstances) {
                Ok(asked) => said(engine.answer(&asked, &engine.set_of(&all))),
                Err(error) => error.to_string(),
            };
            proptest::prop_assert_eq!(sliced, whole);
        }
    }
}
