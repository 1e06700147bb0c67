//! What is told: who, where, which rule, how much, until when, and what to type. Never a payload,
//! a command, a reason in somebody's words, or a secret.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;
use crate::approval::{Party, needed_approvals};
use crate::config::printable;
use crate::login::{Identity, KeyId, User};
use crate::store::{HoldRow, RequestRow};
use crate::{holds, requests};

/// One thing to be told, as the store keeps it until it has been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// When it happened.
    pub(crate) at: Timestamp,
    pub(crate) data: Data,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Data {
    Hold(Hold),
    Request(Request),
    Session(Session),
    Key(Key),
}

/// A person, as their sign-in described them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) name: String,
    /// Where the provider has verified it: so that a receiver finds the person elsewhere.
    pub(crate) email: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) hold: String,
    pub(crate) state: String,
    pub(crate) producer: Person,
    pub(crate) session: String,
    pub(crate) target: String,
    pub(crate) login: String,
    /// `records`, `output` or `command`.
    pub(crate) held: String,
    pub(crate) rule: String,
    /// The held fields that were seen; the first of them.
    pub(crate) fields: Vec<String>,
    pub(crate) bytes: Option<u64>,
    pub(crate) rows: Option<u64>,
    /// The group that decides.
    pub(crate) approvers: Vec<String>,
    pub(crate) approvals: u32,
    pub(crate) needed: u32,
    /// Who has decided last.
    pub(crate) by: Option<Person>,
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) request: String,
    pub(crate) state: String,
    pub(crate) requester: Person,
    pub(crate) target: String,
    pub(crate) login: String,
    /// For how long access is asked for.
    pub(crate) seconds: u64,
    /// The groups that decide: whoever does is in all of them.
    pub(crate) approvers: Vec<String>,
    pub(crate) approvals: u32,
    pub(crate) needed: u32,
    /// Who has decided last.
    pub(crate) by: Option<Person>,
    pub(crate) expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) session: String,
    pub(crate) user: Person,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) login: String,
    /// `shell`, `exec` or `sftp`.
    pub(crate) kind: String,
    /// The policies that let it begin.
    pub(crate) policies: Vec<String>,
    pub(crate) break_glass: bool,
    /// The channels of `@notify("CHANNEL")`.
    pub(crate) channels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) user: Person,
    /// Its fingerprint.
    pub(crate) key: String,
    pub(crate) source: String,
}

impl Message {
    /// What is to be told of a hold that has just come out of the state `before`.
    pub(crate) fn of_hold(before: holds::Name, row: &HoldRow, now: Timestamp) -> Option<Self> {
        use holds::Name;
        if before == row.state {
            return None;
        }
        let kind = match row.state {
            Name::Sealed => Kind::HoldSealed,
            Name::Approved => Kind::HoldApproved,
            Name::Denied => Kind::HoldDenied,
            Name::Expired => Kind::HoldExpired,
            Name::Void => Kind::HoldVoid,
            // Whoever does these is the producer, and is there.
            Name::Open | Name::Releasing | Name::Delivered | Name::Cancelled => return None,
        };
        let (facts, seal) = (&row.facts, row.seal.as_ref());
        let fields = seal.map(|seal| seal.fields.as_slice()).unwrap_or_default();
        let data = Data::Hold(Hold {
            hold: row.id.to_string(),
            state: row.state.as_str().to_owned(),
            producer: Person::of(&facts.producer),
            session: facts.session.clone(),
            target: bounded(&facts.target),
            login: bounded(&facts.login),
            held: facts.held.as_str().to_owned(),
            rule: bounded(&facts.rule),
            fields: fields
                .iter()
                .take(FIELDS_MAX)
                .map(|name| bounded(name))
                .collect(),
            bytes: seal.map(|seal| seal.bytes),
            rows: seal.map(|seal| seal.rows),
            approvers: vec![bounded(&facts.approvers)],
            approvals: approvals(&row.votes),
            needed: facts.needed,
            by: decided_by(kind, &row.votes),
            expires_at: row.expires_at,
        });
        Some(Self {
            kind,
            at: now,
            data,
        })
    }

    /// What is to be told of a request that has just come out of the state `before`, or into being.
    pub(crate) fn of_request(
        before: Option<requests::Name>,
        row: &RequestRow,
        now: Timestamp,
    ) -> Option<Self> {
        use requests::Name;
        if before == Some(row.state) {
            return None;
        }
        let kind = match row.state {
            Name::Pending => Kind::RequestAsked,
            Name::Approved => Kind::RequestApproved,
            Name::Denied => Kind::RequestDenied,
            Name::Expired => Kind::RequestExpired,
            Name::Void => Kind::RequestVoid,
            Name::Revoked => Kind::RequestRevoked,
            // Whoever does these has asked for it, and is there; an end in time was known before.
            Name::Withdrawn | Name::Returned | Name::Over => return None,
        };
        let facts = &row.facts;
        let data = Data::Request(Request {
            request: row.id.to_string(),
            state: row.state.as_str().to_owned(),
            requester: Person::of(&facts.requester),
            target: bounded(&facts.target),
            login: bounded(&facts.login),
            seconds: facts.period_s,
            approvers: facts.approvers.iter().map(|name| bounded(name)).collect(),
            approvals: approvals(&row.votes),
            needed: facts.needed,
            by: decided_by(kind, &row.votes),
            expires_at: row.expires_at,
        });
        Some(Self {
            kind,
            at: now,
            data,
        })
    }

    /// What is to be told of a key that a known person has begun to use.
    pub(crate) fn of_new_key(user: &User, key: &KeyId, source: IpAddr, now: Timestamp) -> Self {
        let Identity { issuer, subject } = &user.identity;
        Self {
            kind: Kind::KeyNew,
            at: now,
            data: Data::Key(Key {
                user: Person::named(issuer, subject, &user.name, user.email.as_deref()),
                key: key.to_string(),
                source: source.to_string(),
            }),
        }
    }

    /// The stable name of what is told: of the same thing always the same.
    pub(crate) fn id_of(stored: &str) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, stored.as_bytes());
        let short = digest.as_ref().get(..16).unwrap_or_default();
        format!(
            "msg_{}",
            data_encoding::BASE32_NOPAD
                .encode(short)
                .to_ascii_lowercase()
        )
    }

    /// The body for programs (Standard Webhooks 1.0: `type`, `timestamp`, `data`).
    pub(crate) fn json(&self, bastion: &str) -> Value {
        let mut data = match &self.data {
            Data::Hold(hold) => serde_json::json!(hold),
            Data::Request(request) => serde_json::json!(request),
            Data::Session(session) => serde_json::json!(session),
            Data::Key(key) => serde_json::json!(key),
        };
        if let Some(members) = data.as_object_mut() {
            members.insert("text".to_owned(), self.text(bastion).into());
            members.insert("next".to_owned(), self.next(bastion).into());
        }
        serde_json::json!({ "type": self.kind.as_str(), "timestamp": self.at, "data": data })
    }

    /// One line for people. What a peer has chosen can mention nobody in it, link nowhere and format
    /// nothing, whatever the chat service.
    pub(crate) fn text(&self, bastion: &str) -> String {
        let mut text = match &self.data {
            Data::Hold(hold) => hold.text(self.kind),
            Data::Request(request) => request.text(self.kind),
            Data::Session(session) => session.text(),
            Data::Key(key) => key.text(),
        };
        let command = self.next(bastion);
        let after = match (self.kind, &self.data) {
            _ if command.is_empty() => String::new(),
            // Whether its client still waits is not known here.
            (Kind::HoldApproved, Data::Hold(hold)) if hold.held != COMMAND => {
                format!(". Unless its client has waited for it, type: {command}")
            }
            _ => format!(". Type: {command}"),
        };
        let room = TEXT_MAX.saturating_sub(after.chars().count());
        if text.chars().count() > room {
            text = text.chars().take(room.saturating_sub(1)).collect();
            text.push('…');
        }
        text + &after
    }

    /// The command line with which it goes on; empty where there is nothing to do.
    pub(crate) fn next(&self, bastion: &str) -> String {
        match (self.kind, &self.data) {
            (Kind::HoldSealed, Data::Hold(hold)) => format!("ssh {bastion} show {}", hold.hold),
            (Kind::HoldApproved, Data::Hold(hold)) if hold.held != COMMAND => {
                format!("ssh {bastion} fetch {}", hold.hold)
            }
            (_, Data::Hold(hold)) => format!("ssh {bastion} show {}", hold.hold),
            (_, Data::Request(request)) => format!("ssh {bastion} show {}", request.request),
            (_, Data::Session(session)) => format!("ssh -t {bastion} watch {}", session.session),
            (_, Data::Key(_)) => String::new(),
        }
    }

    /// The value of a name in a template, safe for a chat service; none where there is no such name.
    /// What a message does not have is empty.
    pub(crate) fn value_of(&self, name: &str, bastion: &str) -> Option<String> {
        let data = &self.data;
        let list = |names: &[String]| plain(&names.join(", "));
        let count = |count: Option<u64>| count.map(|n| n.to_string()).unwrap_or_default();
        let person = |person: Option<&Person>| person.map(Person::shown).unwrap_or_default();
        let (hold, request) = (data.hold(), data.request());
        Some(match name {
            "type" => self.kind.as_str().to_owned(),
            "timestamp" => self.at.to_string(),
            "text" => self.text(bastion),
            "next" => self.next(bastion),
            "bastion" => bastion.to_owned(),
            "id" => data.id().to_owned(),
            "person" => data.person().shown(),
            "by" => person(
                hold.and_then(|hold| hold.by.as_ref())
                    .or_else(|| request.and_then(|request| request.by.as_ref())),
            ),
            "target" => plain(data.target().unwrap_or_default()),
            "login" => plain(data.login().unwrap_or_default()),
            "rule" => plain(hold.map_or("", |hold| &hold.rule)),
            "fields" => list(hold.map(|hold| hold.fields.as_slice()).unwrap_or_default()),
            "bytes" => count(hold.and_then(|hold| hold.bytes)),
            "rows" => count(hold.and_then(|hold| hold.rows)),
            "approvers" => list(data.approvers()),
            "needed" => count(
                hold.map(|hold| hold.needed)
                    .or_else(|| request.map(|request| request.needed))
                    .map(u64::from),
            ),
            "expires_at" => hold
                .and_then(|hold| hold.expires_at)
                .or_else(|| request.map(|request| request.expires_at))
                .map(|at| at.to_string())
                .unwrap_or_default(),
            "channels" => list(data.channels()),
            "policies" => match data {
                Data::Session(session) => list(&session.policies),
                Data::Hold(_) | Data::Request(_) | Data::Key(_) => String::new(),
            },
            _ => return None,
        })
    }
}

/// The names that a template may have.
pub(crate) const NAMES: [&str; 19] = [
    "type",
    "timestamp",
    "text",
    "next",
    "bastion",
    "id",
    "person",
    "by",
    "target",
    "login",
    "rule",
    "fields",
    "bytes",
    "rows",
    "approvers",
    "needed",
    "expires_at",
    "channels",
    "policies",
];

impl Data {
    fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Hold(hold) => Some(hold),
            Self::Request(_) | Self::Session(_) | Self::Key(_) => None,
        }
    }

    fn request(&self) -> Option<&Request> {
        match self {
            Self::Request(request) => Some(request),
            Self::Hold(_) | Self::Session(_) | Self::Key(_) => None,
        }
    }

    /// The hold, the request, the session or the key.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Hold(hold) => &hold.hold,
            Self::Request(request) => &request.request,
            Self::Session(session) => &session.session,
            Self::Key(key) => &key.key,
        }
    }

    /// Whose it is.
    fn person(&self) -> &Person {
        match self {
            Self::Hold(hold) => &hold.producer,
            Self::Request(request) => &request.requester,
            Self::Session(session) => &session.user,
            Self::Key(key) => &key.user,
        }
    }

    pub(crate) fn target(&self) -> Option<&str> {
        match self {
            Self::Hold(hold) => Some(&hold.target),
            Self::Request(request) => Some(&request.target),
            Self::Session(session) => Some(&session.target),
            Self::Key(_) => None,
        }
    }

    fn login(&self) -> Option<&str> {
        match self {
            Self::Hold(hold) => Some(&hold.login),
            Self::Request(request) => Some(&request.login),
            Self::Session(session) => Some(&session.login),
            Self::Key(_) => None,
        }
    }

    /// The groups that decide on it.
    pub(crate) fn approvers(&self) -> &[String] {
        match self {
            Self::Hold(hold) => &hold.approvers,
            Self::Request(request) => &request.approvers,
            Self::Session(_) | Self::Key(_) => &[],
        }
    }

    /// The channels that a policy has named.
    pub(crate) fn channels(&self) -> &[String] {
        match self {
            Self::Session(session) => &session.channels,
            Self::Hold(_) | Self::Request(_) | Self::Key(_) => &[],
        }
    }
}

impl Person {
    /// Somebody who takes part in a decision.
    pub(crate) fn of(party: &Party) -> Self {
        Self::named(
            &party.identity.issuer,
            &party.identity.subject,
            &party.name,
            party.email.as_deref(),
        )
    }

    /// Somebody of whom the sign-in says this.
    pub(crate) fn named(issuer: &str, subject: &str, name: &str, email: Option<&str>) -> Self {
        Self {
            issuer: bounded(issuer),
            subject: bounded(subject),
            name: bounded(name),
            email: email.map(bounded),
        }
    }

    fn shown(&self) -> String {
        plain(&self.name)
    }
}

impl Hold {
    fn text(&self, kind: Kind) -> String {
        let (id, who, login) = (&self.hold, self.producer.shown(), plain(&self.login));
        let (target, rule) = (plain(&self.target), plain(&self.rule));
        let what = if self.held == COMMAND {
            "a command"
        } else {
            "output"
        };
        let what = format!("{what} of {who} as {login} on {target}");
        let by = self.by.as_ref().map(Person::shown).unwrap_or_default();
        let kind = match kind {
            Kind::HoldApproved => return format!("{id} was approved by {by}: {what}, rule {rule}"),
            Kind::HoldDenied => return format!("{id} was denied by {by}: {what}, rule {rule}"),
            Kind::HoldExpired => "has expired",
            Kind::HoldVoid => "is void",
            _ => {
                let needed = needed_approvals(self.needed);
                let fields = if self.fields.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", plain(&self.fields.join(", ")))
                };
                let size = self.bytes.map(|bytes| format!(", {bytes} bytes"));
                let until = self.expires_at.map(|at| format!(", until {}", minute(at)));
                return format!(
                    "{id} waits for {needed} from {}: {what}, rule {rule}{fields}{}{}",
                    plain(&self.approvers.join(", ")),
                    size.unwrap_or_default(),
                    until.unwrap_or_default()
                );
            }
        };
        format!("{id} {kind}, nothing of it will be delivered: {what}, rule {rule}")
    }
}

impl Request {
    fn text(&self, kind: Kind) -> String {
        let (id, who) = (&self.request, self.requester.shown());
        let account = format!("{} on {}", plain(&self.login), plain(&self.target));
        let by = self.by.as_ref().map(Person::shown).unwrap_or_default();
        match kind {
            Kind::RequestApproved => {
                let until = minute(self.expires_at);
                format!("{id} was approved by {by}: {who} as {account}, until {until}")
            }
            Kind::RequestDenied => format!("{id} was denied by {by}: {who} as {account}"),
            Kind::RequestExpired => format!("{id} has expired, undecided: {who} as {account}"),
            Kind::RequestVoid => format!("{id} is void: {who} as {account}"),
            Kind::RequestRevoked => format!("{id} was revoked: {who} as {account}"),
            _ => format!(
                "{id} waits for {} from {}: {who} asks for {account} for {} minutes, until {}",
                needed_approvals(self.needed),
                plain(&self.approvers.join(", ")),
                self.seconds.div_ceil(60),
                minute(self.expires_at)
            ),
        }
    }
}

impl Session {
    fn text(&self) -> String {
        let glass = if self.break_glass {
            "Emergency access: "
        } else {
            "Marked access: "
        };
        format!(
            "{glass}{} began {} as {} on {} from {}, by policy {}",
            self.user.shown(),
            plain(&self.kind),
            plain(&self.login),
            plain(&self.target),
            self.source,
            plain(&self.policies.join(", "))
        )
    }
}

impl Key {
    fn text(&self) -> String {
        format!(
            "{} has signed in with a new key {} from {}",
            self.user.shown(),
            // A digest that we have made: as others show it.
            self.key,
            self.source
        )
    }
}

fn approvals(votes: &[crate::store::Vote]) -> u32 {
    let count = votes.iter().filter(|vote| vote.approves).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Who has brought it about, where a vote has.
fn decided_by(kind: Kind, votes: &[crate::store::Vote]) -> Option<Person> {
    use Kind::{HoldApproved, HoldDenied, RequestApproved, RequestDenied};
    let decided = [HoldApproved, HoldDenied, RequestApproved, RequestDenied].contains(&kind);
    let last = votes.last().filter(|_| decided);
    last.map(|vote| Person::of(&vote.by))
}

/// To the minute, in UTC.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// What somebody else has chosen, without characters that do not show, and not too long.
fn bounded(text: &str) -> String {
    let start: String = text.chars().take(NAME_MAX).collect();
    let shown = printable(&start);
    let mut short: String = shown.chars().take(NAME_MAX).collect();
    if start.len() < text.len() || short.len() < shown.len() {
        short.push('…');
    }
    short
}

/// The same without a meaning in any chat service: what could mention somebody, link, format or quote
/// is replaced by characters that look alike and mean nothing.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        let follows = rest.peek().is_some_and(|next| next.is_alphanumeric());
        out.push(match c {
            ' ' | ',' | '-' | '+' | '=' | '%' | '…' => c,
            // Between letters it is part of a name everywhere; elsewhere it formats.
            '_' if before.is_alphanumeric() && follows => c,
            // Between letters a dot makes a host name of a word.
            '.' if before.is_alphanumeric() && follows => '\u{2024}',
            '.' => c,
            c if c.is_alphanumeric() => c,
            // The full-width forms of ASCII (Unicode's block FF00).
            '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap_or('?'),
            _ => '?',
        });
        before = c;
    }
    out
}

/// Longer names are cut.
const NAME_MAX: usize = 128;
/// Longer lines for people are cut: chat services refuse more (Discord takes 2,000 characters).
const TEXT_MAX: usize = 1800;
/// More fields are not named.
const FIELDS_MAX: usize = 16;
/// What `holds` calls a command that waits.
const COMMAND: &str = "command";

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn person(name: &str) -> Person {
        Person::named("https://id", "42", name, Some("ann@example.com"))
    }

    fn at() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    pub(in super::super) fn hold_of(kind: Kind, name: &str) -> Message {
        let data = Data::Hold(Hold {
            hold: "H-7K3QX9".to_owned(),
            state: "sealed".to_owned(),
            producer: person(name),
            session: "s".to_owned(),
            target: "payroll-db".to_owned(),
            login: "app".to_owned(),
            held: "records".to_owned(),
            rule: "payroll".to_owned(),
            fields: vec!["salary".to_owned(), "iban".to_owned()],
            bytes: Some(120),
            rows: Some(2),
            approvers: vec!["payroll-approvers".to_owned()],
            approvals: 0,
            needed: 1,
            by: (kind != Kind::HoldSealed).then(|| person("carol")),
            expires_at: Some(at()),
        });
        Message {
            kind,
            at: at(),
            data,
        }
    }

    pub(in super::super) fn hold(kind: Kind) -> Message {
        hold_of(kind, "ann")
    }

    pub(in super::super) fn marked() -> Message {
        let data = Data::Session(Session {
            session: "s".to_owned(),
            user: person("ann"),
            source: "192.0.2.1".to_owned(),
            target: "payroll-db".to_owned(),
            login: "root".to_owned(),
            kind: "shell".to_owned(),
            policies: vec!["glass".to_owned()],
            break_glass: true,
            channels: vec!["security".to_owned()],
        });
        Message {
            kind: Kind::SessionMarked,
            at: at(),
            data,
        }
    }

    pub(in super::super) fn key() -> Message {
        let data = Data::Key(Key {
            user: person("ann"),
            key: "SHA256:abc".to_owned(),
            source: "192.0.2.1".to_owned(),
        });
        Message {
            kind: Kind::KeyNew,
            at: at(),
            data,
        }
    }

    fn request(kind: Kind) -> Message {
        let data = Data::Request(Request {
            request: "R-7K3QX9".to_owned(),
            state: "pending".to_owned(),
            requester: person("ann"),
            target: "payroll-db".to_owned(),
            login: "root".to_owned(),
            seconds: 3600,
            approvers: vec!["leads".to_owned(), "security".to_owned()],
            approvals: 0,
            needed: 2,
            by: (kind != Kind::RequestAsked).then(|| person("carol")),
            expires_at: at(),
        });
        Message {
            kind,
            at: at(),
            data,
        }
    }

    fn any() -> Vec<Message> {
        let mut all: Vec<_> = Kind::NAMES
            .into_iter()
            .filter_map(|(name, kind)| match name.split_once('.') {
                Some(("hold", _)) => Some(hold(kind)),
                Some(("request", _)) => Some(request(kind)),
                _ => None,
            })
            .collect();
        all.extend([marked(), key()]);
        all
    }

    #[test]
    fn what_people_read() {
        let lines: Vec<_> = any()
            .iter()
            .map(|message| message.text("bastion"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_programs_read() {
        let sealed = hold(Kind::HoldSealed).json("bastion");
        insta::assert_snapshot!(serde_json::to_string_pretty(&sealed).unwrap());
    }

    #[test]
    fn a_message_reads_back_and_keeps_its_name() {
        for message in any() {
            let stored = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<Message>(&stored).unwrap(), message);
            let id = Message::id_of(&stored);
            assert_eq!(id, Message::id_of(&stored));
            assert!(id.len() == 30 && id.starts_with("msg_"), "{id}");
        }
    }

    #[test]
    fn every_name_of_a_template_has_a_value() {
        for message in any() {
            for name in NAMES {
                assert!(message.value_of(name, "bastion").is_some(), "{name}");
            }
            assert_eq!(message.value_of("command", "bastion"), None);
        }
    }

    #[test]
    fn nobody_is_mentioned_and_nothing_linked() {
        for (name, shown) in [
            ("<!channel>", "＜！channel＞"),
            ("<@U123|x>", "＜＠U123｜x＞"),
            ("@everyone", "＠everyone"),
            ("https://evil.example/x", "https：／／evil․example／x"),
            ("[x](http://y)", "［x］（http：／／y）"),
            ("*a* `b` ~c~", "＊a＊ ｀b｀ ～c～"),
            ("ann.lee, Jr.", "ann․lee, Jr."),
            ("Zoë Ångström", "Zoë Ångström"),
            ("_ann_", "＿ann＿"),
            ("card_number", "card_number"),
            ("a__b _c", "a＿＿b ＿c"),
        ] {
            assert_eq!(plain(name), shown);
        }
    }

    #[test]
    fn a_line_is_short_and_still_says_what_to_type() {
        let mut message = hold_of(Kind::HoldSealed, &"\u{202e}".repeat(1000));
        if let Data::Hold(hold) = &mut message.data {
            assert!(hold.producer.name.chars().count() <= NAME_MAX + 1);
            hold.fields = vec![bounded(&"é".repeat(500)); FIELDS_MAX];
        }
        let text = message.text("bastion");
        assert_eq!(text.chars().count(), TEXT_MAX);
        assert!(
            text.ends_with("…. Type: ssh bastion show H-7K3QX9"),
            "{text}"
        );
    }

    proptest! {
        /// Whatever a person is called: one line, short, and none of what chat services act on.
        #[test]
        fn a_name_does_nothing(name: String) {
            let text = hold_of(Kind::HoldSealed, &name).text("bastion");
            let active = ['<', '>', '@', '*', '`', '~', '[', ']', '(' , '|', '\\', '\n', '\r', '#', '!'];
            let ours = text.replace("payroll (salary, iban)", "");
            prop_assert!(!ours.contains(active), "{text}");
            prop_assert!(!ours.contains("://") && !ours.chars().any(char::is_control));
            prop_assert!(text.chars().count() <= TEXT_MAX);
        }
    }
}
