//! Who may decide, asked at the moment of the decision, and how approvals are counted.
//!
//! Owns what the configuration demands of a decider: a fresh sign-in and a key that has been known
//! for a while. Whether the policies let somebody decide, and on whose, is `access`'s business.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::party::Party;
use super::who;
use crate::access::{Denied, Person};
use crate::audit::Who;
use crate::config::Approval;
use crate::login::Identity;
use crate::store::Vote;

/// Somebody who was found to be entitled to decide on one thing, just now. Only [`entitle`] makes
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entitled {
    party: Party,
    cast: Option<Cast>,
}

impl Entitled {
    pub(crate) fn party(&self) -> &Party {
        &self.party
    }

    /// Their vote.
    pub(crate) fn vote(&self, approves: bool, reason: Option<&str>, at: Timestamp) -> Vote {
        Vote {
            by: self.party.clone(),
            approves,
            reason: reason.map(str::to_owned),
            at,
            cast: self.cast.clone(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(party: Party) -> Self {
        Self { party, cast: None }
    }
}

/// The circumstances in which a vote was cast, so that the same question can be put to later
/// policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cast {
    source: IpAddr,
    signed_in_at: Timestamp,
    key: Option<String>,
    /// By the wall clock.
    at: Timestamp,
}

/// Whether a vote counts by the policies of now, which `may` asks. The question is that of its
/// moment, as for sessions that run: an evening that has come takes nothing away, a right that was
/// withdrawn does. The groups are those of the voter's latest sign-in.
pub(crate) fn counts(
    vote: &Vote,
    standing: &[(Identity, BTreeSet<String>)],
    may: impl FnOnce(&Person<'_>, IpAddr, Timestamp) -> bool,
) -> bool {
    let is_theirs = |(identity, _): &&(Identity, BTreeSet<String>)| *identity == vote.by.identity;
    let Some((_, groups)) = standing.iter().find(is_theirs) else {
        return false;
    };
    // One of which that is not known has to be cast again.
    let Some(cast) = &vote.cast else { return false };
    let person = vote
        .by
        .asking(groups, cast.signed_in_at, cast.key.as_deref());
    may(&person, cast.source, cast.at)
}

/// Who wants to decide, from where, and when.
pub(crate) struct Decider<'a> {
    pub(crate) person: Person<'a>,
    pub(crate) party: Party,
    /// When the key that was proven was first seen; none without a key.
    pub(crate) key_since: Option<Timestamp>,
    pub(crate) source: IpAddr,
    pub(crate) now: Timestamp,
}

/// Why somebody may not decide.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEntitled {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the sign-in is {age_s} s old")]
    SignIn { age_s: i64, most: Duration },
    #[error("the key is too young")]
    Key { least: Duration },
}

impl NotEntitled {
    /// The line for the person.
    pub(crate) fn notice(&self, bastion: &str) -> String {
        match self {
            Self::Denied(denied) => denied.notice(),
            Self::SignIn { age_s, most } => format!(
                "you signed in {} min ago, and deciding needs a sign-in of the last {} min: run ssh {bastion} sign-out, then decide and sign in again",
                age_s / 60,
                most.as_secs().div_ceil(60)
            ),
            Self::Key { least } => format!(
                "your key has not been known for {} h yet, so it cannot decide; use one that has",
                least.as_secs().div_ceil(3600)
            ),
        }
    }
}

/// Finds whether somebody may decide now, and by which policies; `policies` is what `access` says.
///
/// # Errors
/// Why not. What the policies say comes first, so that nobody signs in again to hear that it is
/// their own.
pub(crate) fn entitle(
    approval: &Approval,
    decider: Decider<'_>,
    policies: Result<Vec<String>, Denied>,
) -> Result<(Entitled, Vec<String>), NotEntitled> {
    let policies = policies?;
    let age = decider.now.duration_since(decider.person.signed_in_at);
    if age > of(approval.max_sign_in_age) {
        return Err(NotEntitled::SignIn {
            age_s: age.as_secs(),
            most: approval.max_sign_in_age,
        });
    }
    let known = |since: Timestamp| decider.now.duration_since(since) >= of(approval.min_key_age);
    if !approval.min_key_age.is_zero() && !decider.key_since.is_some_and(known) {
        return Err(NotEntitled::Key {
            least: approval.min_key_age,
        });
    }
    let cast = Cast {
        source: decider.source,
        signed_in_at: decider.person.signed_in_at,
        key: decider.person.key.map(str::to_owned),
        at: decider.now,
    };
    let entitled = Entitled {
        party: decider.party,
        cast: Some(cast),
    };
    Ok((entitled, policies))
}

fn of(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// What one more approval comes to.
pub(crate) enum Counted {
    /// These have approved, and more people are needed.
    Waiting(Vec<Party>),
    Enough,
}

/// Counts one more approval; none where the person has approved already, under whatever account.
/// `still` says whether an earlier approver may approve today: a right that was withdrawn takes the
/// vote with it.
pub(crate) fn count(
    mut approvals: Vec<Party>,
    by: Entitled,
    needed: u32,
    still: impl Fn(&Party) -> bool,
) -> Option<Counted> {
    let by = by.party;
    approvals.retain(still);
    if approvals.iter().any(|earlier| by.may_be(earlier)) {
        return None;
    }
    approvals.push(by);
    if approvals.len() < usize::try_from(needed.max(1)).unwrap_or(usize::MAX) {
        Some(Counted::Waiting(approvals))
    } else {
        Some(Counted::Enough)
    }
}

/// The votes with one more. An approval makes those of people void who may approve no more
/// (`keeps`): their names come second.
pub(crate) fn recounted(
    votes: &[Vote],
    vote: Vote,
    keeps: impl Fn(&Party) -> bool,
) -> (Vec<Vote>, Vec<Who>) {
    let (mut votes, withdrawn): (Vec<Vote>, Vec<Vote>) = votes
        .iter()
        .cloned()
        .partition(|earlier| !vote.approves || keeps(&earlier.by));
    votes.push(vote);
    (votes, withdrawn.iter().map(|vote| who(&vote.by)).collect())
}
