//! What waits for a decision: `holds`, `show`, `approve`, `deny`, `fetch`, `cancel`.

use std::collections::HashMap;

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::Timestamp;
use scanner::Stream;
use serde::Serialize;
use serde_json::json;

use super::command::Decision;
use super::text::{self, SafeLines, Table, safe};
use super::votes::{PersonJson, VoteJson, decided_by, person_json, vote_lines, votes_json};
use super::{Console, Failure, ascii, unavailable};
use crate::access::{Action, Denied, Person, Question};
use crate::audit::Event;
use crate::holds::decide::{self, Decider, Entitled, NotEntitled};
use crate::holds::{
    Ballot, Digest, Facts, Held, HoldError, HoldId, Look, Name, Party, Refusal, Released,
};
use crate::session::{DENIED, DETACHED, EXPIRED, REFUSED};
use crate::store::{HoldRow, Which};

/// What this user has to do with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// They produced it.
    Producer,
    /// They may decide on it.
    Decider,
    /// They have decided on it, or read the audit log.
    Reader,
}

impl Console<'_> {
    pub(super) async fn holds(&self, all: bool, json: bool) -> Result<(), Failure> {
        let which = if all { Which::All } else { Which::Live };
        let rows = self.listed(which).await?;
        let shown = self.of_mine(&rows, all);
        if json {
            let holds = shown.iter().map(|(part, row)| hold_json(row, *part));
            return self
                .json(&HoldsJson {
                    holds: holds.collect(),
                })
                .await;
        }
        if shown.is_empty() {
            return self.print("nothing is held\n".into()).await;
        }
        let now = self.rooms.holds.now();
        let mut table = Table::new([
            "HOLD", "AGE", "STATE", "PRODUCER", "ACCOUNT", "RULE", "FIELDS", "ROWS", "BYTES",
            "YOU", "COMMAND",
        ]);
        for (part, row) in &shown {
            let facts = &row.facts;
            let (fields, rows, bytes) = row.seal.as_ref().map_or_else(
                || ("-".to_owned(), "-".to_owned(), "-".to_owned()),
                |seal| {
                    (
                        text::shortened(&safe(&seal.fields.join(",")), 30),
                        seal.rows.to_string(),
                        seal.bytes.to_string(),
                    )
                },
            );
            table.row([
                row.id.to_string(),
                text::age(now.duration_since(row.opened_at)),
                row.state.as_str().to_owned(),
                text::shortened(&safe(&facts.producer.name), 24),
                safe(&format!("{}@{}", facts.login, facts.target)),
                safe(&facts.rule),
                fields,
                rows,
                bytes,
                match part {
                    Part::Producer => "produced it",
                    Part::Decider if row.state == Name::Sealed => "can decide",
                    Part::Decider | Part::Reader => "",
                }
                .to_owned(),
                text::shortened(&command_of(facts), COMMAND_LISTED),
            ]);
        }
        self.print(table.to_string()).await
    }

    /// Those of these holds that this user has to do with.
    pub(super) fn of_mine<'r>(&self, rows: &'r [HoldRow], all: bool) -> Vec<(Part, &'r HoldRow)> {
        let mut parts = Parts::default();
        rows.iter()
            .filter_map(|row| Some((self.part(&mut parts, row, all)?, row)))
            .collect()
    }

    pub(super) async fn show(&self, hold: &str, payload: bool, json: bool) -> Result<(), Failure> {
        let (row, part) = self.visible(hold).await?;
        if payload {
            return self.payload(&row, json).await;
        }
        let preview = self.shown(&row).await?;
        if json {
            let shown = HoldJson {
                preview: Some(preview.lines().collect()),
                ..hold_json(&row, part)
            };
            return self.json(&shown).await;
        }
        let mut text = described(&row);
        let above = above_preview(&row, &preview);
        if !above.is_empty() {
            text.push_str(&format!("\n{above}\n{preview}"));
        }
        self.print(text).await
    }

    /// A hold that this user may see, by its whole name, and what they have to do with it.
    pub(super) async fn visible(&self, hold: &str) -> Result<(HoldRow, Part), Failure> {
        let row = self.hold(hold).await?;
        let part = self.part(&mut Parts::default(), &row, true);
        Ok((row, part.ok_or_else(|| unknown(hold))?))
    }

    /// The preview, for somebody who is being shown the hold: the audit log knows.
    pub(super) async fn shown(&self, row: &HoldRow) -> Result<String, Failure> {
        let preview = self.preview(row).await?;
        self.audit(Event::HoldShown {
            hold: row.id.to_string(),
            user: self.lease().who(),
            what: "preview".to_owned(),
            policies: Vec::new(),
        })?;
        Ok(preview)
    }

    /// Opens all of it, in the clear, for those whom a policy allows. The audit log has it before
    /// the first byte.
    pub(super) async fn opened(&self, row: &HoldRow) -> Result<Look, Failure> {
        let id = row.id.to_string();
        let policies = self.may_show_payload(row).map_err(|denied| {
            self.not_allowed("show_payload", &id, &denied.to_string(), denied.notice())
        })?;
        let look = self.look(row).await?;
        let shown = Event::HoldShown {
            hold: id,
            user: self.lease().who(),
            what: "payload".to_owned(),
            policies,
        };
        self.rooms.audit.record(shown).await.map_err(|error| {
            unavailable(
                &error,
                "the audit log cannot be written, so nothing is shown",
            )
        })?;
        Ok(look)
    }

    /// Whether the policies let this user read all of it in the clear, and which.
    pub(super) fn may_show_payload(&self, row: &HoldRow) -> Result<Vec<String>, Denied> {
        let (id, others) = (row.id.to_string(), decide::others_of(row));
        let hold = decide::hold_of(row, &id, &others);
        let (person, source) = (self.asked.person(), self.asked.source);
        let access = self.rooms.access();
        access.may_show_payload(&person, &hold, source, Timestamp::now())
    }

    /// All of it, made safe for a terminal.
    async fn payload(&self, row: &HoldRow, json: bool) -> Result<(), Failure> {
        let mut look = self.opened(row).await?;
        let mut lines = [SafeLines::new(""), SafeLines::new("stderr: ")];
        while let Some(frames) = self.next_of(&mut look).await? {
            let mut out = String::new();
            for (stream, bytes) in frames {
                let bytes = bytes.into_bytes();
                if json {
                    out.push_str(&frame_json(stream, &bytes));
                } else {
                    let [stdout, stderr] = &mut lines;
                    let lines = match stream {
                        Stream::Stdout => stdout,
                        Stream::Stderr => stderr,
                    };
                    lines.push(&bytes, &mut out);
                }
            }
            self.print(out).await?;
        }
        let mut last = String::new();
        for lines in &mut lines {
            lines.end(&mut last);
        }
        self.print(last).await
    }

    /// The next frames of what is looked at.
    pub(super) async fn next_of(&self, look: &mut Look) -> Result<Option<Frames>, Failure> {
        look.next().await.map_err(|error| failure(&error))
    }

    /// The first lines of what is held, with held fields masked. A rule that holds everything
    /// knows no fields, so that there is nothing that could be shown.
    pub(super) async fn preview(&self, row: &HoldRow) -> Result<String, Failure> {
        let frames = self.rooms.holds.preview(row).await;
        let mut lines = [SafeLines::new(""), SafeLines::new("stderr: ")];
        let mut text = String::new();
        for (stream, bytes) in frames.map_err(|error| failure(&error))? {
            let [stdout, stderr] = &mut lines;
            match stream {
                Stream::Stdout => stdout.push(&bytes, &mut text),
                Stream::Stderr => stderr.push(&bytes, &mut text),
            }
        }
        for lines in &mut lines {
            lines.end(&mut text);
        }
        Ok(first_lines(&text))
    }

    async fn look(&self, row: &HoldRow) -> Result<Look, Failure> {
        let look = self.rooms.holds.look(row).await;
        look.map_err(|error| failure(&error))
    }

    pub(super) async fn decide(
        &self,
        hold: &str,
        decision: Decision,
        reason: Option<&str>,
        json: bool,
    ) -> Result<(), Failure> {
        let row = self.decided(hold, None, decision, reason).await?;
        if json {
            return self.json(&hold_json(&row, Part::Decider)).await;
        }
        self.print(format!("{}\n", outcome(&row))).await
    }

    /// Decides on a hold by its whole name, wherever the decision was typed, after asking whether
    /// this user may: on the bytes of `shown` where a question was about them, else on those that it
    /// has now.
    pub(super) async fn decided(
        &self,
        hold: &str,
        shown: Option<Digest>,
        decision: Decision,
        reason: Option<&str>,
    ) -> Result<HoldRow, Failure> {
        let row = self.hold(hold).await?;
        let (by, policies) = self.entitled(&row).await?;
        let Some(seal) = &row.seal else {
            return Err(Failure::Refused(format!(
                "{} cannot be decided: {}",
                row.id,
                Refusal::NotSealed
            )));
        };
        let ballot = Ballot {
            hold: row.id,
            digest: shown.unwrap_or(seal.digest),
            by,
            approves: decision == Decision::Approve,
            reason: reason.map(str::to_owned),
            policies,
            counts: {
                let policies = self.rooms.access.changes();
                Box::new(move |row, vote| {
                    let access = policies.borrow().clone();
                    decide::counts(&access, row, vote)
                })
            },
        };
        match self.rooms.holds.vote(ballot).await {
            Ok(row) => Ok(row),
            Err(HoldError::Refused(refusal)) => Err(self.too_late(row.id, refusal).await),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Says who was faster, or what else is in the way.
    async fn too_late(&self, id: HoldId, refusal: Refusal) -> Failure {
        let won = match (refusal, self.rooms.holds.get(id).await) {
            (Refusal::Over(_), Ok(row)) => decided_by(&row.votes),
            _ => String::new(),
        };
        Failure::Refused(format!("{id} cannot be decided: {refusal}{won}"))
    }

    async fn entitled(&self, row: &HoldRow) -> Result<(Entitled, Vec<String>), Failure> {
        let id = row.id.to_string();
        let decider = self.decider().await?;
        let entitled = decide::entitle(&self.rooms.access(), &self.rooms.approval, decider, row);
        entitled.map_err(|not| {
            self.not_allowed(
                "approve",
                &id,
                &not.to_string(),
                not_entitled(&not, &self.rooms.name),
            )
        })
    }

    /// This user as one who decides, now.
    pub(super) async fn decider(&self) -> Result<Decider<'_>, Failure> {
        let key_since = match &self.lease().key {
            Some(key) => self
                .rooms
                .holds
                .key_since(key)
                .await
                .map_err(|error| unavailable(&error, "the keys cannot be read now"))?,
            None => None,
        };
        Ok(Decider {
            person: self.asked.person(),
            party: self.asked.party(),
            key_since,
            source: self.asked.source,
            now: Timestamp::now(),
        })
    }

    pub(super) async fn fetch(&self, hold: &str, json: bool) -> Result<(), Failure> {
        let row = self.own(hold).await?;
        let id = row.id;
        if row.facts.held == Held::Command {
            let line = format!("{id} is a command: run it again once it is approved");
            return Err(Failure::Usage(line));
        }
        if self.asked.pty.is_some() {
            let line = "what was held is no text for a terminal; leave -t out";
            return Err(Failure::Usage(line.to_owned()));
        }
        match row.state {
            Name::Approved | Name::Releasing => {}
            Name::Open | Name::Sealed => {
                let line = format!("{id} is not decided yet");
                return Err(Failure::Status(line, DETACHED));
            }
            Name::Denied | Name::Cancelled => {
                return Err(Failure::Status(
                    format!("{id} is {}", row.state.as_str()),
                    DENIED,
                ));
            }
            Name::Expired => return Err(Failure::Status(format!("{id} has expired"), EXPIRED)),
            Name::Delivered => {
                let line = format!("{id} was delivered already, and erased");
                return Err(Failure::Refused(line));
            }
            Name::Void => {
                let line = format!("{id} is void: nothing of it can be released");
                return Err(Failure::Refused(line));
            }
        }
        self.may_have(&row).await?;
        let identity = self.lease().user.identity.clone();
        let release = self.rooms.holds.release(id, identity).await;
        let mut release = release.map_err(|error| failure(&error))?;
        while let Some(frames) = release.next().await.map_err(|error| failure(&error))? {
            for (stream, bytes) in frames {
                if json {
                    let line = Bytes::from(frame_json(stream, &bytes.into_bytes()));
                    self.writer.answer(Stream::Stdout, line).await?;
                } else {
                    self.writer.released(stream, bytes).await?;
                }
            }
        }
        release.delivered().await.map_err(|error| failure(&error))
    }

    /// Whether the policies of today would let the producer do what gave this output. The question
    /// is that of its beginning, as for sessions that run: an evening that has come, or a request
    /// whose time is over, takes nothing away; an access that was withdrawn does. An approval counts
    /// where the session stood on one that nobody has taken away since.
    async fn may_have(&self, row: &HoldRow) -> Result<(), Failure> {
        let facts = &row.facts;
        let person = self.asked.person();
        let stood = facts.approved && {
            let identity = &facts.producer.identity;
            let stood =
                self.rooms
                    .requests
                    .stood(identity, &facts.login, &facts.target, row.opened_at);
            let line = "requests cannot be read now; try again later";
            stood.await.map_err(|error| unavailable(&error, line))?
        };
        // The bytes that ran: a policy may ask about them.
        let command = facts.command.as_deref();
        let command =
            command.map(|text| text::meant(text).unwrap_or_else(|| text.as_bytes().to_vec()));
        let question = Question {
            person: Person {
                signed_in_at: person.signed_in_at.min(row.opened_at),
                ..person
            },
            target: &facts.target,
            login: &facts.login,
            action: match facts.command {
                Some(_) => Action::Exec,
                None => Action::Shell,
            },
            source: self.asked.source,
            now: row.opened_at,
            command: command.as_deref(),
            approved_until: stood.then_some(Timestamp::MAX),
        };
        match self.rooms.access().decide(&question) {
            Ok(_) => Ok(()),
            Err(denied) => {
                let id = row.id.to_string();
                let line = format!(
                    "{id} is not given to you: you may no longer work on {}",
                    safe(&facts.target)
                );
                Err(self.not_allowed("fetch", &id, &denied.to_string(), line))
            }
        }
    }

    pub(super) async fn cancel(
        &self,
        hold: &str,
        reason: Option<&str>,
        json: bool,
    ) -> Result<(), Failure> {
        let row = self.own(hold).await?;
        let identity = self.lease().user.identity.clone();
        let cancelled = self
            .rooms
            .holds
            .cancel(row.id, identity, reason.map(str::to_owned))
            .await;
        let row = cancelled.map_err(|error| match error {
            HoldError::Refused(refusal) => {
                Failure::Refused(format!("{} cannot be cancelled: {refusal}", row.id))
            }
            error => failure(&error),
        })?;
        if json {
            return self.json(&hold_json(&row, Part::Producer)).await;
        }
        self.print(format!("{} is cancelled, and erased\n", row.id))
            .await
    }

    /// A hold of this user.
    async fn own(&self, hold: &str) -> Result<HoldRow, Failure> {
        let row = self.hold(hold).await?;
        if row.facts.producer.identity == self.lease().user.identity {
            return Ok(row);
        }
        Err(self.not_allowed("fetch", hold, "it is not theirs", unknown_line(hold)))
    }

    /// A hold by its whole name. One that does not exist is answered like one that is not theirs.
    async fn hold(&self, hold: &str) -> Result<HoldRow, Failure> {
        let id: HoldId = hold.parse().map_err(|_| {
            Failure::Usage("name one hold by its whole id, such as H-7K3QX9; try: holds".to_owned())
        })?;
        match self.rooms.holds.get(id).await {
            Ok(row) => Ok(row),
            Err(HoldError::Unknown) => Err(unknown(hold)),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Holds, the newest first.
    pub(super) async fn listed(&self, which: Which) -> Result<Vec<HoldRow>, Failure> {
        let rows = self.rooms.holds.list(which).await;
        rows.map_err(|error| failure(&error))
    }

    pub(super) fn part<'r>(
        &self,
        parts: &mut Parts<'r>,
        row: &'r HoldRow,
        all: bool,
    ) -> Option<Part> {
        let identity = &self.lease().user.identity;
        if row.facts.producer.identity == *identity {
            return Some(Part::Producer);
        }
        if self.may_decide(parts, row) {
            return Some(Part::Decider);
        }
        let voted = row.votes.iter().any(|vote| vote.by.identity == *identity);
        (all && (voted || self.audits(parts))).then_some(Part::Reader)
    }

    fn may_decide<'r>(&self, parts: &mut Parts<'r>, row: &'r HoldRow) -> bool {
        let facts = &row.facts;
        // What a policy can ask about a hold, but for its name: a list may be long.
        let key = Asks {
            rule: &facts.rule,
            approvers: &facts.approvers,
            producer: &facts.producer,
            target: &facts.target,
            login: &facts.login,
            watchers: &row.watchers,
        };
        *parts.deciding.entry(key).or_insert_with(|| {
            let id = row.id.to_string();
            let person = self.asked.person();
            let others = decide::others_of(row);
            let hold = decide::hold_of(row, &id, &others);
            let (source, now) = (self.asked.source, Timestamp::now());
            let access = self.rooms.access();
            access.may_decide_hold(&person, &hold, source, now).is_ok()
        })
    }

    fn audits(&self, parts: &mut Parts<'_>) -> bool {
        *parts.audits.get_or_insert_with(|| {
            let (person, source) = (self.asked.person(), self.asked.source);
            let access = self.rooms.access();
            access.may_audit(&person, source, Timestamp::now()).is_ok()
        })
    }
}

/// Answers that are the same for many holds.
#[derive(Default)]
pub(super) struct Parts<'r> {
    deciding: HashMap<Asks<'r>, bool>,
    audits: Option<bool>,
}

/// What a policy is asked about a hold.
#[derive(PartialEq, Eq, Hash)]
struct Asks<'r> {
    rule: &'r str,
    approvers: &'r str,
    producer: &'r Party,
    target: &'r str,
    login: &'r str,
    watchers: &'r [Party],
}

/// What a decision has made of a hold.
pub(super) fn outcome(row: &HoldRow) -> String {
    match row.state {
        Name::Approved => format!("{} is approved", row.id),
        Name::Denied => format!("{} is denied, and erased", row.id),
        _ => {
            let approvals = row.votes.iter().filter(|vote| vote.approves).count();
            let needed = row.facts.needed;
            format!("{} has {approvals} of {needed} approvals", row.id)
        }
    }
}

/// What stands above a preview, or in its place.
pub(super) fn above_preview(row: &HoldRow, preview: &str) -> &'static str {
    match row.facts.held {
        _ if !preview.is_empty() => "preview, held fields masked:",
        Held::Records => "no preview",
        Held::Output => "no preview: the rule holds everything, whatever it is",
        Held::Command => "",
    }
}

/// Pieces of what was held, in their order.
pub(super) type Frames = Vec<(Stream, Released)>;

fn not_entitled(not: &NotEntitled, bastion: &str) -> String {
    not.notice(bastion)
}

fn unknown(hold: &str) -> Failure {
    Failure::Denied(unknown_line(hold))
}

fn unknown_line(hold: &str) -> String {
    format!("no hold {} that you may see", safe(hold))
}

pub(super) fn failure(error: &HoldError) -> Failure {
    tracing::warn!(%error, "console: holds");
    Failure::Status(error.notice(), REFUSED)
}

fn frame_json(stream: Stream, bytes: &[u8]) -> String {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let line = json!({ "stream": stream, "base64": BASE64.encode(bytes) });
    format!("{}\n", ascii(&line))
}

/// What is known of a hold; nothing of what it holds.
pub(super) fn described(row: &HoldRow) -> String {
    let facts = &row.facts;
    let mut lines = vec![
        ("hold", row.id.to_string()),
        ("state", row.state.as_str().to_owned()),
        ("producer", safe(&facts.producer.name)),
        (
            "account",
            safe(&format!("{}@{}", facts.login, facts.target)),
        ),
        (
            "command",
            match facts.held {
                // What is approved is all of it.
                Held::Command => command_of(facts),
                Held::Records | Held::Output => text::shortened(&command_of(facts), COMMAND_SHOWN),
            },
        ),
        (
            "rule",
            format!("{} (holds {})", safe(&facts.rule), facts.held.as_str()),
        ),
        (
            "approval",
            format!("{} of the group {}", facts.needed, safe(&facts.approvers)),
        ),
        ("session", safe(&facts.session)),
        ("since", text::time(row.opened_at)),
    ];
    if let Some(seal) = &row.seal {
        if !seal.fields.is_empty() {
            lines.push(("fields", safe(&seal.fields.join(", "))));
        }
        lines.push(("rows", seal.rows.to_string()));
        lines.push(("bytes", seal.bytes.to_string()));
        lines.push(("digest", seal.digest.to_string()));
        if let Some(status) = &seal.status {
            lines.push(("status", safe(status)));
        }
    }
    if let Some(expires_at) = row.expires_at.filter(|_| !row.state.is_final()) {
        lines.push(("until", text::time(expires_at)));
    }
    lines.extend(vote_lines(&row.votes));
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<10} {value}\n"))
        .collect()
}

/// The command, which is safe already; made so again, since a store may be an old one.
fn command_of(facts: &Facts) -> String {
    facts
        .command
        .as_deref()
        .map_or_else(|| "a shell".to_owned(), safe)
}

/// What `holds --json` answers with.
#[derive(Serialize)]
struct HoldsJson<'a> {
    holds: Vec<HoldJson<'a>>,
}

/// A hold, as `--json` has it; nothing of what it holds but a preview.
#[derive(Serialize)]
pub(super) struct HoldJson<'a> {
    id: HoldId,
    state: &'static str,
    holds: &'static str,
    producer: PersonJson<'a>,
    session: &'a str,
    target: &'a str,
    login: &'a str,
    command: Option<&'a str>,
    rule: &'a str,
    approvers: &'a str,
    needed: u32,
    votes: Vec<VoteJson<'a>>,
    fields: Option<&'a [String]>,
    rows: Option<u64>,
    bytes: Option<u64>,
    digest: Option<Digest>,
    status: Option<&'a str>,
    opened_at: Timestamp,
    sealed_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    changed_at: Timestamp,
    can_decide: bool,
    mine: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<Vec<&'a str>>,
}

pub(super) fn hold_json(row: &HoldRow, part: Part) -> HoldJson<'_> {
    let facts = &row.facts;
    let seal = row.seal.as_ref();
    HoldJson {
        id: row.id,
        state: row.state.as_str(),
        holds: facts.held.as_str(),
        producer: person_json(&facts.producer),
        session: &facts.session,
        target: &facts.target,
        login: &facts.login,
        command: facts.command.as_deref(),
        rule: &facts.rule,
        approvers: &facts.approvers,
        needed: facts.needed,
        votes: votes_json(&row.votes),
        fields: seal.map(|seal| seal.fields.as_slice()),
        rows: seal.map(|seal| seal.rows),
        bytes: seal.map(|seal| seal.bytes),
        digest: seal.map(|seal| seal.digest),
        status: seal.and_then(|seal| seal.status.as_deref()),
        opened_at: row.opened_at,
        sealed_at: seal.map(|seal| seal.sealed_at),
        expires_at: row.expires_at,
        changed_at: row.changed_at,
        can_decide: part == Part::Decider && row.state == Name::Sealed,
        mine: part == Part::Producer,
        preview: None,
    }
}

fn first_lines(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .take(PREVIEW_LINES)
        .map(|line| format!("{}\n", text::shortened(line, PREVIEW_WIDTH)))
        .collect();
    if text.lines().count() > PREVIEW_LINES {
        lines.push("...\n".to_owned());
    }
    lines.concat()
}

const PREVIEW_LINES: usize = 20;
/// Characters of a line.
const PREVIEW_WIDTH: usize = 200;
/// Characters of a command.
const COMMAND_SHOWN: usize = 500;
/// The same in a list.
const COMMAND_LISTED: usize = 48;
