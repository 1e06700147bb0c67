//! What a request for access is, and what may become of it. Pure: no clock, store or task.
//!
//! ```text
//! pending ──▶ approved ──▶ over · revoked · returned
//!   │  ▲│
//!   │  └┘ a vote
//!   ▼
//! denied · expired · withdrawn · void
//! ```
//!
//! An approved request is a grant: it opens the account until it is over. An event takes a state by
//! value and gives the next one, so that nothing is decided twice.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::approval::{Counted, Entitled, Party, count};
use crate::login::Identity;

/// What does not change over a request's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Who asks, and so never decides.
    pub(crate) requester: Party,
    /// So many different people have to approve; at least one.
    pub(crate) needed: u32,
    /// For how long access is asked for.
    pub(crate) period: SignedDuration,
}

/// A request in one of its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Pending(Pending),
    Approved(Approved),
    Ended(End),
}

/// It waits for votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) terms: Terms,
    pub(crate) expires_at: Timestamp,
    pub(crate) approvals: Vec<Party>,
}

/// Enough people have approved: the account is open to the requester until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approved {
    pub(crate) terms: Terms,
    pub(crate) expires_at: Timestamp,
}

/// Nothing more happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The requester took it back before it was decided.
    Withdrawn,
    /// The requester may not ask for it any more, or on other terms only.
    Void,
    /// The time of the grant is over.
    Over,
    /// Somebody took the grant away.
    Revoked,
    /// The requester gave it back.
    Returned,
}

/// The name of a state, as the store and the console have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Name {
    Pending,
    Approved,
    Denied,
    Expired,
    Withdrawn,
    Void,
    Over,
    Revoked,
    Returned,
}

impl Name {
    pub(crate) const ALL: [Self; 9] = [
        Self::Pending,
        Self::Approved,
        Self::Denied,
        Self::Expired,
        Self::Withdrawn,
        Self::Void,
        Self::Over,
        Self::Revoked,
        Self::Returned,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Void => "void",
            Self::Over => "over",
            Self::Revoked => "revoked",
            Self::Returned => "returned",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Whether nothing more happens.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Approved => false,
            Self::Denied
            | Self::Expired
            | Self::Withdrawn
            | Self::Void
            | Self::Over
            | Self::Revoked
            | Self::Returned => true,
        }
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no state of a request"))
    }
}

impl From<End> for Name {
    fn from(end: End) -> Self {
        match end {
            End::Denied => Self::Denied,
            End::Expired => Self::Expired,
            End::Withdrawn => Self::Withdrawn,
            End::Void => Self::Void,
            End::Over => Self::Over,
            End::Revoked => Self::Revoked,
            End::Returned => Self::Returned,
        }
    }
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is {}", .0.as_str())]
    Over(Name),
    #[error("it has expired")]
    Expired,
    #[error("you have approved it already")]
    Twice,
    #[error("you may no longer decide on it")]
    NotEntitled,
    #[error("its time is not over")]
    NotYet,
    #[error("it is not approved")]
    NotApproved,
    #[error("it is not yours")]
    NotYours,
}

/// What one vote led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Voted {
    /// More people are needed.
    Waiting(Pending),
    Approved(Approved),
}

impl Pending {
    /// One more person approves. `still` says whether an earlier approver may approve today. The
    /// access is open from now on for as long as it was asked for.
    pub(crate) fn approve(
        mut self,
        by: Entitled,
        now: Timestamp,
        still: impl Fn(&Party) -> bool,
    ) -> Result<Voted, Refusal> {
        self.open_at(now)?;
        match count(self.approvals, by, self.terms.needed, still).ok_or(Refusal::Twice)? {
            Counted::Waiting(approvals) => {
                self.approvals = approvals;
                Ok(Voted::Waiting(self))
            }
            Counted::Enough => Ok(Voted::Approved(Approved {
                expires_at: now
                    .saturating_add(self.terms.period)
                    .unwrap_or(Timestamp::MAX),
                terms: self.terms,
            })),
        }
    }

    /// One person is enough to deny.
    pub(crate) fn deny(self, _by: Entitled, now: Timestamp) -> Result<End, Refusal> {
        self.open_at(now)?;
        Ok(End::Denied)
    }

    fn open_at(&self, now: Timestamp) -> Result<(), Refusal> {
        if now >= self.expires_at {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

impl Request {
    pub(crate) fn name(&self) -> Name {
        match self {
            Self::Pending(_) => Name::Pending,
            Self::Approved(_) => Name::Approved,
            Self::Ended(end) => (*end).into(),
        }
    }

    /// As one that can be decided.
    pub(crate) fn into_pending(self) -> Result<Pending, Refusal> {
        match self {
            Self::Pending(pending) => Ok(pending),
            other => Err(Refusal::Over(other.name())),
        }
    }

    /// The time for a decision, or of the grant, is over.
    pub(crate) fn expire(self, now: Timestamp) -> Result<End, Refusal> {
        let (expires_at, end) = match self {
            Self::Pending(pending) => (pending.expires_at, End::Expired),
            Self::Approved(approved) => (approved.expires_at, End::Over),
            Self::Ended(end) => return Err(Refusal::Over(end.into())),
        };
        if now >= expires_at {
            Ok(end)
        } else {
            Err(Refusal::NotYet)
        }
    }

    /// The requester takes it, or the grant, back.
    pub(crate) fn cancel(self, by: &Identity) -> Result<End, Refusal> {
        let (terms, end) = match &self {
            Self::Pending(pending) => (&pending.terms, End::Withdrawn),
            Self::Approved(approved) => (&approved.terms, End::Returned),
            Self::Ended(end) => return Err(Refusal::Over((*end).into())),
        };
        if *by == terms.requester.identity {
            Ok(end)
        } else {
            Err(Refusal::NotYours)
        }
    }

    /// Somebody who may takes the grant away.
    pub(crate) fn revoke(self) -> Result<End, Refusal> {
        match self {
            Self::Approved(_) => Ok(End::Revoked),
            Self::Pending(_) => Err(Refusal::NotApproved),
            Self::Ended(end) => Err(Refusal::Over(end.into())),
        }
    }

    /// The requester may not ask for it any more.
    pub(crate) fn void(self) -> Result<End, Refusal> {
        match self {
            Self::Pending(_) => Ok(End::Void),
            Self::Approved(_) | Self::Ended(_) => Err(Refusal::Over(self.name())),
        }
    }
}

#[cfg(test)]
mod model;
