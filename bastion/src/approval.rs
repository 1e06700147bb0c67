//! What the decisions of other people have in common, whatever they are about.
//!
//! Owns who takes part in one, what is demanded of whoever decides, how approvals are counted, the
//! names of what waits, the time that it lives by, and the way of its events into the audit log.
//! What is decided on is `holds`' (output and commands) and `requests`' (access) business; who may
//! decide on it is `access`'s.
//!
//! - `party`: a person, as the sign-in described them
//! - `decide`: who may decide now, and the count of approvals
//! - `id`: names that people read aloud and type
//! - `clock`: the time, which never goes back
//! - `ledger`: the outbox of events for the audit log

mod clock;
mod decide;
mod id;
mod ledger;
mod party;

pub(crate) use clock::Clock;
pub(crate) use decide::{
    Cast, Counted, Decider, Entitled, NotEntitled, count, counts, entitle, recounted,
};
pub(crate) use id::ShortId;
#[cfg(test)]
pub(crate) use ledger::Log;
pub(crate) use ledger::{Ledger, LedgerError, log_of};
pub(crate) use party::Party;
#[cfg(test)]
pub(crate) use party::{Kind, SamePerson};

use crate::audit::Who;

/// So many approvals, in words.
pub(crate) fn needed_approvals(needed: u32) -> String {
    match needed {
        1 => "1 approval".to_owned(),
        n => format!("{n} approvals"),
    }
}

/// A person, as the audit log names them.
pub(crate) fn who(party: &Party) -> Who {
    Who {
        issuer: party.identity.issuer.clone(),
        subject: party.identity.subject.clone(),
        name: party.name.clone(),
    }
}
