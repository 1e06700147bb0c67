//! People and their votes, as answers show them: the same of holds and of requests.

use jiff::Timestamp;
use serde::Serialize;

use super::text::{self, safe};
use crate::approval::Party;
use crate::store::Vote;

/// A person, as `--json` names them.
#[derive(Serialize)]
pub(super) struct PersonJson<'a> {
    user: &'a str,
    issuer: &'a str,
    subject: &'a str,
}

/// One person's word, as `--json` has it.
#[derive(Serialize)]
pub(super) struct VoteJson<'a> {
    by: PersonJson<'a>,
    decision: &'static str,
    reason: Option<&'a str>,
    at: Timestamp,
}

pub(super) fn person_json(party: &Party) -> PersonJson<'_> {
    PersonJson {
        user: &party.name,
        issuer: &party.identity.issuer,
        subject: &party.identity.subject,
    }
}

pub(super) fn votes_json(votes: &[Vote]) -> Vec<VoteJson<'_>> {
    votes
        .iter()
        .map(|vote| VoteJson {
            by: person_json(&vote.by),
            decision: if vote.approves { "approve" } else { "deny" },
            reason: vote.reason.as_deref(),
            at: vote.at,
        })
        .collect()
}

/// The votes as lines of what `show` prints.
pub(super) fn vote_lines(votes: &[Vote]) -> impl Iterator<Item = (&'static str, String)> {
    votes.iter().map(|vote| {
        let decision = if vote.approves { "approved" } else { "denied" };
        let reason = vote.reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {}", safe(reason)));
        let by = safe(&vote.by.name);
        (decision, format!("{} by {by}{reason}", text::time(vote.at)))
    })
}

/// Says to whoever was too late who was faster; nothing where nobody has voted.
pub(super) fn decided_by(votes: &[Vote]) -> String {
    votes.last().map_or_else(String::new, |vote| {
        let by = safe(&vote.by.name);
        format!(", decided by {by} at {}", text::time(vote.at))
    })
}
