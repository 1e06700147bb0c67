//! Who may decide on a hold, asked at the moment of the decision.

use crate::access::{self, Access, HoldOf};
use crate::approval::{self, Party};
pub(crate) use crate::approval::{Decider, Entitled, NotEntitled};
use crate::config::Approval;
use crate::store::{HoldRow, Vote};

/// Finds whether somebody may approve or deny this hold now, and by which policies.
///
/// # Errors
/// Why not.
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
    );
    approval::entitle(approval, decider, policies)
}

/// Whether a vote on this hold counts by these policies, in the circumstances in which it was cast.
pub(crate) fn counts(access: &Access, row: &HoldRow, vote: &Vote) -> bool {
    let id = row.id.to_string();
    let others = others_of(row);
    let hold = hold_of(row, &id, &others);
    approval::counts(vote, &row.standing, |person, source, at| {
        access.may_decide_hold(person, &hold, source, at).is_ok()
    })
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
