//! Access that is asked for: `request`, `requests`, `revoke`, and the verbs of decisions on it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::command::Decision;
use super::text::{self, Table, safe};
use super::votes::{PersonJson, VoteJson, decided_by, person_json, vote_lines, votes_json};
use super::{Console, Failure};
use crate::access::Action;
use crate::approval::needed_approvals;
use crate::audit::Event;
use crate::config::section::show_duration;
use crate::login::{Identity, KeyId};
use crate::requests::{self, Facts, Name, Part, RequestError, RequestId};
use crate::session::REFUSED;
use crate::store::{Locked, RequestRow, Which};

/// What somebody asks for.
pub(super) struct Ask<'a> {
    /// `TARGET`, or `LOGIN@TARGET`.
    pub(super) target: &'a str,
    pub(super) login: Option<&'a str>,
    pub(super) reason: &'a str,
    pub(super) period: Option<Duration>,
}

/// Whether a name is one of a request, and not of a hold.
pub(super) fn names(text: &str) -> bool {
    text.starts_with("R-")
}

impl Console<'_> {
    pub(super) async fn request(&self, ask: Ask<'_>, json: bool) -> Result<(), Failure> {
        let access = self.rooms.access();
        let (person, source, now) = (self.asked.person(), self.asked.source, Timestamp::now());
        let (login, target) = match (ask.target.rsplit_once('@'), ask.login) {
            (Some((login, target)), None) => (Some(login), target),
            (None, login) => (login, ask.target),
            (Some(_), Some(_)) => {
                let line = "name the login once: LOGIN@TARGET, or --login";
                return Err(Failure::Usage(line.to_owned()));
            }
        };
        let logins = access.may_be_requested(&person, target, source, now);
        let login = match (login, logins.as_slice()) {
            (Some(login), _) => login,
            (None, [only]) => only,
            // The same words as for a target that does not exist.
            (None, []) => "",
            (None, several) => {
                let line = format!("name one of its logins: --login {}", several.join("|"));
                return Err(Failure::Usage(line));
            }
        };
        let asked = access.may_request(&person, login, target, source, now);
        let terms = asked.map_err(|denied| {
            let what = if login.is_empty() {
                target.to_owned()
            } else {
                format!("{login}@{target}")
            };
            let line = format!(
                "you may not ask for access to {}, or it does not exist",
                safe(&what)
            );
            self.not_allowed("request", &what, &denied.reason().to_string(), line)
        })?;
        let period = ask.period.unwrap_or(PERIOD.min(terms.longest));
        if period > terms.longest {
            let longest = show_duration(terms.longest);
            let line = format!("it can be asked for at most {longest} at a time: --for {longest}");
            return Err(Failure::Usage(line));
        }
        let facts = Facts {
            requester: self.asked.party(),
            target: target.to_owned(),
            login: login.to_owned(),
            reason: ask.reason.to_owned(),
            approvers: terms.approvers,
            needed: u32::try_from(terms.count).unwrap_or(u32::MAX),
            policies: terms.policies,
            period_s: period.as_secs(),
            source,
            signed_in_at: self.lease().signed_in_at,
            asked_at: now,
            key: self.lease().key.as_ref().map(KeyId::to_string),
        };
        let row = self.rooms.requests.ask(facts).await;
        let row = row.map_err(|error| self.failed(&error))?;
        if json {
            return self.json(&request_json(&row, Part::Requester)).await;
        }
        let facts = &row.facts;
        let line = format!(
            "{} asks for {}@{} for {}, waiting for {} from {} until {}; they decide with: ssh {} approve {}\n",
            row.id,
            safe(&facts.login),
            safe(&facts.target),
            show_duration(period),
            needed_approvals(facts.needed),
            groups(&row),
            text::time(row.expires_at),
            self.rooms.name,
            row.id,
        );
        self.print(line).await
    }

    pub(super) async fn requests(&self, all: bool, json: bool) -> Result<(), Failure> {
        let which = if all { Which::All } else { Which::Live };
        let shown = self.requests_of_mine(which).await?;
        if json {
            let requests = shown.iter().map(|(part, row)| request_json(row, *part));
            let requests = requests.collect();
            return self.json(&RequestsJson { requests }).await;
        }
        if shown.is_empty() {
            return self.print("nothing is asked for\n".into()).await;
        }
        let now = self.rooms.requests.now();
        let mut table = Table::new([
            "REQUEST",
            "AGE",
            "STATE",
            "WHO",
            "ACCOUNT",
            "FOR",
            "UNTIL",
            "APPROVALS",
            "YOU",
            "REASON",
        ]);
        for (part, row) in &shown {
            let facts = &row.facts;
            table.row([
                row.id.to_string(),
                text::age(now.duration_since(row.asked_at)),
                row.state.as_str().to_owned(),
                text::shortened(&safe(&facts.requester.name), 24),
                safe(&format!("{}@{}", facts.login, facts.target)),
                period(row),
                if row.state.is_final() {
                    "-".to_owned()
                } else {
                    text::time(row.expires_at)
                },
                format!("{}/{}", approvals(row), facts.needed),
                match (part, row.state) {
                    (Part::Requester, _) => "asked",
                    (Part::Decider, Name::Pending) => "can decide",
                    (Part::Decider, Name::Approved) => "can revoke",
                    (Part::Decider | Part::Reader, _) => "",
                }
                .to_owned(),
                text::shortened(&safe(&facts.reason), 40),
            ]);
        }
        self.print(table.to_string()).await
    }

    /// The requests that this user has to do with, the newest first.
    pub(super) async fn requests_of_mine(
        &self,
        which: Which,
    ) -> Result<Vec<(Part, RequestRow)>, Failure> {
        let access = self.rooms.access();
        let (person, source) = (self.asked.person(), self.asked.source);
        let seen = self.rooms.requests.seen_by(&access, &person, source, which);
        seen.await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn show_request(&self, request: &str, json: bool) -> Result<(), Failure> {
        let (part, row) = self.seen(request).await?;
        if json {
            return self.json(&request_json(&row, part)).await;
        }
        self.print(described_request(&row)).await
    }

    pub(super) async fn decide_request(
        &self,
        request: &str,
        decision: Decision,
        reason: Option<&str>,
        json: bool,
    ) -> Result<(), Failure> {
        let row = self
            .vote_on_request(request_id(request)?, decision, reason)
            .await?;
        if json {
            return self.json(&request_json(&row, Part::Decider)).await;
        }
        self.print(format!("{}\n", request_outcome(&row))).await
    }

    /// This user's decision on a request; everything that it needs is asked here.
    pub(super) async fn vote_on_request(
        &self,
        id: RequestId,
        decision: Decision,
        reason: Option<&str>,
    ) -> Result<RequestRow, Failure> {
        let decider = self.decider().await?;
        let decision = requests::Decision {
            request: id,
            approves: decision == Decision::Approve,
            reason: reason.map(str::to_owned),
        };
        let access = self.rooms.access.changes();
        let decided = self
            .rooms
            .requests
            .decide(&access, &self.rooms.approval, decider, decision);
        match decided.await {
            Ok(row) => Ok(row),
            Err(RequestError::NotEntitled(not)) => {
                let line = not.notice(&self.rooms.name);
                Err(self.not_allowed("approve", &id.to_string(), &not.to_string(), line))
            }
            Err(RequestError::Refused(refusal)) => {
                // Says who was faster.
                let row = self.rooms.requests.get(id).await.ok();
                let won = row.map_or_else(String::new, |row| decided_by(&row.votes));
                let line = format!("{id} cannot be decided: {refusal}{won}");
                Err(Failure::Refused(line))
            }
            Err(RequestError::Void(why)) => Err(Failure::Refused(format!(
                "{id} cannot be decided, it is void: {why}"
            ))),
            Err(RequestError::Unknown) => Err(unknown(&id.to_string())),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The requester withdraws it, or gives the access back.
    pub(super) async fn cancel_request(
        &self,
        request: &str,
        reason: Option<&str>,
        json: bool,
    ) -> Result<(), Failure> {
        let (part, row) = self.seen(request).await?;
        if part != Part::Requester {
            let line = unknown_line(request);
            return Err(self.not_allowed("cancel", request, "it is not theirs", line));
        }
        let identity = self.lease().user.identity.clone();
        let reason = reason.map(str::to_owned);
        let cancelled = self.rooms.requests.cancel(row.id, identity, reason).await;
        let row = cancelled.map_err(|error| self.not_changed(row.id, "cancelled", &error))?;
        if json {
            return self.json(&request_json(&row, Part::Requester)).await;
        }
        self.print(format!("{} is {}\n", row.id, row.state.as_str()))
            .await
    }

    /// Somebody who may decide on it, or lock the target, takes the access away. That takes no fresh
    /// sign-in.
    pub(super) async fn revoke(
        &self,
        request: &str,
        reason: Option<&str>,
        json: bool,
    ) -> Result<(), Failure> {
        let id = request_id(request)?;
        let row = match self.rooms.requests.get(id).await {
            Ok(row) => row,
            Err(RequestError::Unknown) => return Err(unknown(request)),
            Err(error) => return Err(self.failed(&error)),
        };
        let access = self.rooms.access();
        let (person, source, now) = (self.asked.person(), self.asked.source, Timestamp::now());
        let policies = requests::may_decide(&access, &person, &row, source, now).or_else(|_| {
            let target = Locked::Target(row.facts.target.clone());
            access.may_lock(&person, &target, source, now)
        });
        let policies = policies.map_err(|denied| {
            let (reason, line) = (denied.reason().to_string(), unknown_line(request));
            self.not_allowed(Action::Approve.name(), request, &reason, line)
        })?;
        let (by, reason) = (self.lease().who(), reason.map(str::to_owned));
        let revoked = self.rooms.requests.revoke(id, by, reason, policies).await;
        let row = revoked.map_err(|error| self.not_changed(id, "revoked", &error))?;
        if json {
            return self.json(&request_json(&row, Part::Decider)).await;
        }
        self.print(format!("{id} is revoked\n")).await
    }

    /// A request by its whole name. One that does not exist is answered like one that this user has
    /// nothing to do with.
    pub(super) async fn seen(&self, request: &str) -> Result<(Part, RequestRow), Failure> {
        self.request_seen(request_id(request)?).await
    }

    /// The same of one whose name was read before.
    pub(super) async fn request_seen(&self, id: RequestId) -> Result<(Part, RequestRow), Failure> {
        let access = self.rooms.access();
        let (person, source) = (self.asked.person(), self.asked.source);
        let seen = self.rooms.requests.seen(&access, &person, source, id).await;
        match seen {
            Ok(seen) => Ok(seen),
            Err(RequestError::Unknown) => Err(unknown(&id.to_string())),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn not_changed(&self, id: RequestId, what: &str, error: &RequestError) -> Failure {
        match error {
            RequestError::Refused(refusal) => {
                Failure::Refused(format!("{id} cannot be {what}: {refusal}"))
            }
            error => self.failed(error),
        }
    }

    fn failed(&self, error: &RequestError) -> Failure {
        tracing::warn!(%error, "console: requests");
        Failure::Status(error.notice(&self.rooms.name), REFUSED)
    }

    /// A refusal that is in the audit log.
    pub(super) fn not_allowed(
        &self,
        action: &str,
        what: &str,
        reason: &str,
        line: String,
    ) -> Failure {
        let denied = Event::ConsoleDenied {
            user: self.lease().who(),
            action: action.to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
        };
        match self.audit(denied) {
            Ok(()) => Failure::Denied(line),
            Err(failure) => failure,
        }
    }
}

fn request_id(request: &str) -> Result<RequestId, Failure> {
    let id = request.parse();
    id.map_err(|_| Failure::Usage(super::command::Usage::Revoke.to_string()))
}

fn unknown(request: &str) -> Failure {
    Failure::Denied(unknown_line(request))
}

fn unknown_line(request: &str) -> String {
    format!("no request {} that you may see", safe(request))
}

fn approvals(row: &RequestRow) -> usize {
    row.votes.iter().filter(|vote| vote.approves).count()
}

pub(super) fn period(row: &RequestRow) -> String {
    show_duration(Duration::from_secs(row.facts.period_s))
}

fn groups(row: &RequestRow) -> String {
    let groups: Vec<_> = row
        .facts
        .approvers
        .iter()
        .map(|group| safe(group))
        .collect();
    groups.join(" and ")
}

/// What a decision has made of a request.
pub(super) fn request_outcome(row: &RequestRow) -> String {
    let facts = &row.facts;
    match row.state {
        Name::Approved => format!(
            "{} is approved: {} has {} until {}",
            row.id,
            safe(&facts.requester.name),
            safe(&format!("{}@{}", facts.login, facts.target)),
            text::time(row.expires_at)
        ),
        Name::Denied => format!("{} is denied", row.id),
        _ => format!(
            "{} has {} of {} approvals",
            row.id,
            approvals(row),
            facts.needed
        ),
    }
}

/// What has become of a request that waits for `me` no more; none where it was their own word.
pub(super) fn request_news(row: &RequestRow, me: &Identity) -> Option<String> {
    let id = row.id;
    let last = row.votes.last();
    let by = last.map_or_else(String::new, |vote| format!(" by {}", safe(&vote.by.name)));
    let by_me = last.is_some_and(|vote| vote.by.identity == *me);
    match row.state {
        Name::Pending | Name::Approved | Name::Denied if by_me => None,
        Name::Pending => Some(format!("{id} is no longer yours to decide")),
        Name::Approved => Some(format!("{id} is approved{by}")),
        Name::Denied => Some(format!("{id} is denied{by}")),
        Name::Expired => Some(format!("{id} has expired")),
        Name::Withdrawn => Some(format!("{id} was withdrawn by whoever asked")),
        Name::Void | Name::Over | Name::Revoked | Name::Returned => {
            Some(format!("{id} is {}", row.state.as_str()))
        }
    }
}

/// What is known of a request, line by line.
pub(super) fn described_request(row: &RequestRow) -> String {
    let facts = &row.facts;
    let mut lines = vec![
        ("request", row.id.to_string()),
        ("state", row.state.as_str().to_owned()),
        ("who", safe(&facts.requester.name)),
        (
            "account",
            safe(&format!("{}@{}", facts.login, facts.target)),
        ),
        ("for", period(row)),
        ("reason", safe(&facts.reason)),
        (
            "approval",
            format!("{} of the group {}", facts.needed, groups(row)),
        ),
        (
            "policies",
            match facts.policies.as_slice() {
                [] => "-".to_owned(),
                policies => safe(&policies.join(", ")),
            },
        ),
        ("from", facts.source.to_string()),
        ("since", text::time(row.asked_at)),
    ];
    if !row.state.is_final() {
        lines.push(("until", text::time(row.expires_at)));
    } else {
        lines.push(("ended", text::time(row.changed_at)));
    }
    lines.extend(vote_lines(&row.votes));
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<10} {value}\n"))
        .collect()
}

/// What `requests --json` answers with.
#[derive(Serialize)]
struct RequestsJson<'a> {
    requests: Vec<RequestJson<'a>>,
}

/// A request, as `--json` has it.
#[derive(Serialize)]
pub(super) struct RequestJson<'a> {
    id: RequestId,
    state: &'static str,
    requester: PersonJson<'a>,
    target: &'a str,
    login: &'a str,
    reason: &'a str,
    for_s: u64,
    approvers: &'a BTreeSet<String>,
    needed: u32,
    policies: &'a [String],
    votes: Vec<VoteJson<'a>>,
    source: IpAddr,
    asked_at: Timestamp,
    expires_at: Timestamp,
    changed_at: Timestamp,
    can_decide: bool,
    mine: bool,
}

pub(super) fn request_json(row: &RequestRow, part: Part) -> RequestJson<'_> {
    let facts = &row.facts;
    RequestJson {
        id: row.id,
        state: row.state.as_str(),
        requester: person_json(&facts.requester),
        target: &facts.target,
        login: &facts.login,
        reason: &facts.reason,
        for_s: facts.period_s,
        approvers: &facts.approvers,
        needed: facts.needed,
        policies: &facts.policies,
        votes: votes_json(&row.votes),
        source: facts.source,
        asked_at: row.asked_at,
        expires_at: row.expires_at,
        changed_at: row.changed_at,
        can_decide: part == Part::Decider && row.state == Name::Pending,
        mine: part == Part::Requester,
    }
}

/// What is asked for where no time is named, and a policy allows so much.
const PERIOD: Duration = Duration::from_secs(60 * 60);
