//! What a hold is, and what may become of it. Pure: no clock, store, file or task.
//!
//! ```text
//! open ──▶ sealed ──▶ approved ──▶ releasing ──▶ delivered
//!   │        │  ▲│       │            │  ▲│
//!   │        │  └┘ a vote│            │  └┘ again, after a crash
//!   ▼        ▼           ▼            ▼
//!  void    denied · expired · cancelled · void
//! ```
//!
//! An event takes a state by value and gives the next one, so that nothing is decided twice and no
//! step is left out. The store writes a step down by comparing the state that it came from.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::seal::Digest;
use crate::approval::{Counted, Entitled, Party, count};
use crate::login::Identity;

/// What does not change over a hold's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Who produced what is held, and so never decides.
    pub(crate) producer: Party,
    /// So many different people have to approve; at least one.
    pub(crate) needed: u32,
    /// How long a decision, and then its use, may take.
    pub(crate) period: SignedDuration,
}

/// A hold in one of its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Open(Open),
    Sealed(Sealed),
    Approved(Approved),
    Releasing(Releasing),
    Ended(End),
}

/// Output is still coming in; nothing can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) terms: Terms,
}

/// A fixed string of bytes that waits for votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) terms: Terms,
    pub(crate) digest: Digest,
    pub(crate) expires_at: Timestamp,
    pub(crate) approvals: Vec<Party>,
    /// Who saw the session while it ran, and so decides no more than its producer.
    pub(crate) watchers: Vec<Party>,
}

/// Enough people have approved these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approved {
    pub(crate) terms: Terms,
    pub(crate) digest: Digest,
    pub(crate) expires_at: Timestamp,
}

/// The bytes are on their way, or a crash came in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Releasing {
    pub(crate) terms: Terms,
    pub(crate) digest: Digest,
    pub(crate) expires_at: Timestamp,
}

/// Nothing more happens, and the payload is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Delivered,
    Denied,
    Expired,
    Cancelled,
    Void,
}

/// The name of a state, as the store and the console have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Open,
    Sealed,
    Approved,
    Releasing,
    Delivered,
    Denied,
    Expired,
    Cancelled,
    Void,
}

impl Name {
    pub(crate) const ALL: [Self; 9] = [
        Self::Open,
        Self::Sealed,
        Self::Approved,
        Self::Releasing,
        Self::Delivered,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Void,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Approved => "approved",
            Self::Releasing => "releasing",
            Self::Delivered => "delivered",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Void => "void",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Whether the payload is erased, or is to be.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Open | Self::Sealed | Self::Approved | Self::Releasing => false,
            Self::Delivered | Self::Denied | Self::Expired | Self::Cancelled | Self::Void => true,
        }
    }
}

impl From<End> for Name {
    fn from(end: End) -> Self {
        match end {
            End::Delivered => Self::Delivered,
            End::Denied => Self::Denied,
            End::Expired => Self::Expired,
            End::Cancelled => Self::Cancelled,
            End::Void => Self::Void,
        }
    }
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is not sealed yet: its output is still coming in")]
    NotSealed,
    #[error("it is {}", .0.as_str())]
    Over(Name),
    #[error("it has expired")]
    Expired,
    #[error("you have approved it already")]
    Twice,
    #[error("you have taken part in it; somebody else has to decide")]
    Own,
    #[error("you may no longer decide on it")]
    NotEntitled,
    #[error("its time is not over")]
    NotYet,
    #[error("it is not approved")]
    NotApproved,
    #[error("it is not yours")]
    NotYours,
    #[error("the bytes are not those that were sealed")]
    OtherBytes,
}

/// What one vote led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Voted {
    /// More people are needed.
    Waiting(Sealed),
    Approved(Approved),
}

impl Open {
    pub(crate) fn seal(self, digest: Digest, now: Timestamp) -> Sealed {
        let expires_at = later(now, self.terms.period);
        Sealed {
            terms: self.terms,
            digest,
            expires_at,
            approvals: Vec::new(),
            watchers: Vec::new(),
        }
    }

    /// The output did not come to an end that could be sealed.
    pub(crate) fn void(self) -> End {
        End::Void
    }
}

impl Sealed {
    /// One more person approves the bytes of this digest. `still` says whether an earlier approver
    /// may approve today: a right that was withdrawn takes the vote with it.
    pub(crate) fn approve(
        mut self,
        by: Entitled,
        digest: &Digest,
        now: Timestamp,
        still: impl Fn(&Party) -> bool,
    ) -> Result<Voted, Refusal> {
        self.open_for(&by, digest, now)?;
        let approvals = std::mem::take(&mut self.approvals);
        let still = |earlier: &Party| still(earlier) && !self.took_part(earlier);
        match count(approvals, by, self.terms.needed, still).ok_or(Refusal::Twice)? {
            Counted::Waiting(approvals) => {
                self.approvals = approvals;
                return Ok(Voted::Waiting(self));
            }
            Counted::Enough => {}
        }
        let expires_at = later(now, self.terms.period);
        Ok(Voted::Approved(Approved {
            terms: self.terms,
            digest: self.digest,
            expires_at,
        }))
    }

    /// One person is enough to deny.
    pub(crate) fn deny(
        self,
        by: Entitled,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<End, Refusal> {
        self.open_for(&by, digest, now)?;
        Ok(End::Denied)
    }

    /// Whether somebody is, or may be, the producer or a watcher. `access` was asked that before; a
    /// watcher may have come since.
    pub(crate) fn took_part(&self, party: &Party) -> bool {
        std::iter::once(&self.terms.producer)
            .chain(&self.watchers)
            .any(|other| party.may_be(other))
    }

    fn open_for(&self, by: &Entitled, digest: &Digest, now: Timestamp) -> Result<(), Refusal> {
        if now >= self.expires_at {
            return Err(Refusal::Expired);
        }
        if *digest != self.digest {
            return Err(Refusal::OtherBytes);
        }
        if self.took_part(by.party()) {
            return Err(Refusal::Own);
        }
        Ok(())
    }
}

impl Approved {
    /// The producer, and nobody else, gets the bytes of this digest.
    pub(crate) fn release(
        self,
        to: &Identity,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Releasing, Refusal> {
        check_release(&self.terms, &self.digest, self.expires_at, to, digest, now)?;
        Ok(Releasing {
            terms: self.terms,
            digest: self.digest,
            expires_at: self.expires_at,
        })
    }
}

impl Releasing {
    /// The same person again, after a delivery that did not come to its end.
    pub(crate) fn again(
        self,
        to: &Identity,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        check_release(&self.terms, &self.digest, self.expires_at, to, digest, now)?;
        Ok(self)
    }

    pub(crate) fn delivered(self) -> End {
        End::Delivered
    }
}

fn check_release(
    terms: &Terms,
    sealed: &Digest,
    expires_at: Timestamp,
    to: &Identity,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), Refusal> {
    if *to != terms.producer.identity {
        return Err(Refusal::NotYours);
    }
    if now >= expires_at {
        return Err(Refusal::Expired);
    }
    if digest != sealed {
        return Err(Refusal::OtherBytes);
    }
    Ok(())
}

impl Hold {
    pub(crate) fn name(&self) -> Name {
        match self {
            Self::Open(_) => Name::Open,
            Self::Sealed(_) => Name::Sealed,
            Self::Approved(_) => Name::Approved,
            Self::Releasing(_) => Name::Releasing,
            Self::Ended(end) => (*end).into(),
        }
    }

    /// The time of a decision, or of its use, is over.
    pub(crate) fn expire(self, now: Timestamp) -> Result<End, Refusal> {
        let expires_at = match &self {
            Self::Sealed(sealed) => sealed.expires_at,
            Self::Approved(approved) => approved.expires_at,
            Self::Releasing(releasing) => releasing.expires_at,
            Self::Open(_) => return Err(Refusal::NotSealed),
            Self::Ended(end) => return Err(Refusal::Over((*end).into())),
        };
        if now >= expires_at {
            Ok(End::Expired)
        } else {
            Err(Refusal::NotYet)
        }
    }

    /// The producer takes it back.
    pub(crate) fn cancel(self, by: &Identity) -> Result<End, Refusal> {
        let terms = match &self {
            Self::Sealed(Sealed { terms, .. }) | Self::Approved(Approved { terms, .. }) => terms,
            Self::Open(_) => return Err(Refusal::NotSealed),
            Self::Releasing(_) => return Err(Refusal::Over(Name::Releasing)),
            Self::Ended(end) => return Err(Refusal::Over((*end).into())),
        };
        if *by == terms.producer.identity {
            Ok(End::Cancelled)
        } else {
            Err(Refusal::NotYours)
        }
    }

    /// Its bytes are gone or damaged, or were never whole: nothing of it is ever delivered.
    pub(crate) fn void(self) -> Result<End, Refusal> {
        match self {
            Self::Open(open) => Ok(open.void()),
            Self::Sealed(_) | Self::Approved(_) | Self::Releasing(_) => Ok(End::Void),
            Self::Ended(end) => Err(Refusal::Over(end.into())),
        }
    }

    /// As one that can be decided.
    pub(crate) fn into_sealed(self) -> Result<Sealed, Refusal> {
        match self {
            Self::Sealed(sealed) => Ok(sealed),
            Self::Open(_) => Err(Refusal::NotSealed),
            other => Err(Refusal::Over(other.name())),
        }
    }

    /// The step before the first byte, also after a crash.
    pub(crate) fn release(
        self,
        to: &Identity,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Releasing, Refusal> {
        match self {
            Self::Approved(approved) => approved.release(to, digest, now),
            Self::Releasing(releasing) => releasing.again(to, digest, now),
            Self::Open(_) | Self::Sealed(_) => Err(Refusal::NotApproved),
            Self::Ended(end) => Err(Refusal::Over(end.into())),
        }
    }
}

fn later(now: Timestamp, period: SignedDuration) -> Timestamp {
    now.saturating_add(period).unwrap_or(Timestamp::MAX)
}
