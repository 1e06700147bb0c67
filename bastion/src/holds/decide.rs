//! Who may decide on a hold, asked at the moment of the decision.
//!
//! Owns what the configuration demands of a decider: a fresh sign-in and a key that has been known
//! for a while. Who may decide on whose output is `access`'s business.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::party::Party;
use crate::access::{self, Access, Denied, HoldOf, Person};
use crate::config::Approval;
use crate::store::HoldRow;

/// Somebody who was found to be entitled to decide on one hold, just now. Only [`entitle`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entitled(Party);

impl Entitled {
    pub(crate) fn party(&self) -> &Party {
        &self.0
    }

    pub(super) fn into_party(self) -> Party {
        self.0
    }

    #[cfg(test)]
    pub(super) fn for_test(party: Party) -> Self {
        Self(party)
    }
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

/// Finds whether somebody may approve or deny this hold now, and by which policies.
///
/// # Errors
/// Why not. Whose own it is comes first, so that nobody signs in again to hear that.
pub(crate) fn entitle(
    access: &Access,
    approval: &Approval,
    decider: Decider<'_>,
    row: &HoldRow,
) -> Result<(Entitled, Vec<String>), NotEntitled> {
    let id = row.id.to_string();
    let policies = access.may_decide_hold(
        &decider.person,
        &hold_of(row, &id, &others_of(row)),
        decider.source,
        decider.now,
    )?;
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
    Ok((Entitled(decider.party), policies))
}

/// Who else took part in the session of a hold: whoever saw it while it ran.
pub(crate) fn others_of(row: &HoldRow) -> Vec<access::Party<'_>> {
    row.watchers.iter().map(Party::as_access).collect()
}

/// A hold as `access` asks about it; `id` is its name, `others` what [`others_of`] says.
pub(crate) fn hold_of<'a>(
    row: &'a HoldRow,
    id: &'a str,
    others: &'a [access::Party<'a>],
) -> HoldOf<'a> {
    HoldOf {
        id,
        rule: &row.facts.rule,
        approvers: &row.facts.approvers,
        producer: row.facts.producer.as_access(),
        others,
        target: &row.facts.target,
        login: &row.facts.login,
    }
}

fn of(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
