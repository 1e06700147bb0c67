//! Who may decide on a request, and whether it may still be asked for, both at the moment of the
//! decision.

use std::time::Duration;

use crate::access::{Access, RequestOf};
use crate::approval::{self, Decider, Entitled, NotEntitled};
use crate::config::Approval;
use crate::store::{RequestRow, Vote};

/// Finds whether somebody may approve or deny this request now, and by which policies.
///
/// # Errors
/// Why not.
pub(super) fn entitle(
    access: &Access,
    approval: &Approval,
    decider: Decider<'_>,
    row: &RequestRow,
) -> Result<(Entitled, Vec<String>), NotEntitled> {
    let id = row.id.to_string();
    let request = request_of(row, &id);
    let policies =
        access.may_decide_request(&decider.person, &request, decider.source, decider.now);
    approval::entitle(approval, decider, policies)
}

/// Whether a vote on this request counts by these policies, in the circumstances in which it was
/// cast.
pub(super) fn counts(access: &Access, row: &RequestRow, vote: &Vote) -> bool {
    let id = row.id.to_string();
    let request = request_of(row, &id);
    approval::counts(vote, &row.standing, |person, source, at| {
        access
            .may_decide_request(person, &request, source, at)
            .is_ok()
    })
}

/// A request as `access` asks about it; `id` is its name.
pub(super) fn request_of<'a>(row: &'a RequestRow, id: &'a str) -> RequestOf<'a> {
    RequestOf {
        id,
        requester: row.facts.requester.as_access(),
        approvers: &row.facts.approvers,
        target: &row.facts.target,
        login: &row.facts.login,
    }
}

/// Whether the policies of today let the requester ask for it on the same terms. The question is
/// that of the request's beginning, with the groups of the requester's latest sign-in: none where
/// they are locked.
///
/// # Errors
/// Why the request is void, for whoever wants to decide on it.
pub(super) fn may_still_ask(access: &Access, row: &RequestRow) -> Result<(), &'static str> {
    let facts = &row.facts;
    let groups = row.groups.as_ref().ok_or("whoever asked is locked")?;
    let key = facts.key.as_deref();
    let person = facts.requester.asking(groups, facts.signed_in_at, key);
    let terms = access
        .may_request(
            &person,
            &facts.login,
            &facts.target,
            facts.source,
            facts.asked_at,
        )
        .map_err(|_| "whoever asked may not ask for it any more")?;
    let same = terms.approvers == facts.approvers
        && u32::try_from(terms.count) == Ok(facts.needed)
        && terms.longest >= Duration::from_secs(facts.period_s);
    if same {
        Ok(())
    } else {
        Err("the policies have changed since it was made; it can be asked for again")
    }
}
