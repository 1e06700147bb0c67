//! Somebody who takes part in a decision, as their sign-in described them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access;
use crate::login::{Account, Identity, User};

/// A person, kept with what they took part in: the identity, and what else says who is the same person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Party {
    pub(crate) identity: Identity,
    /// For display.
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    pub(crate) same_person: SamePerson,
    pub(crate) kind: Kind,
}

/// What the claim says that links the accounts of one person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SamePerson {
    NotAsked,
    Missing,
    Is(String),
}

/// A person, or a service that somebody owns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Person,
    Service { owner: Option<String> },
}

impl Party {
    /// The user of a sign-in; `links` says whether a same-person claim is configured.
    pub(crate) fn of(user: &User, same_person_asked: bool) -> Self {
        Self {
            identity: user.identity.clone(),
            name: user.name.clone(),
            email: user.email.clone(),
            same_person: match (same_person_asked, &user.links.same_person) {
                (false, _) => SamePerson::NotAsked,
                (true, None) => SamePerson::Missing,
                (true, Some(value)) => SamePerson::Is(value.clone()),
            },
            kind: match &user.links.account {
                Account::Person => Kind::Person,
                Account::Service { owner } => Kind::Service {
                    owner: owner.clone(),
                },
            },
        }
    }

    /// As `access` compares people.
    pub(crate) fn as_access(&self) -> access::Party<'_> {
        access::Party {
            issuer: &self.identity.issuer,
            subject: &self.identity.subject,
            name: &self.name,
            email: self.email.as_deref(),
            same_person: match &self.same_person {
                SamePerson::NotAsked => access::SamePerson::NotAsked,
                SamePerson::Missing => access::SamePerson::Missing,
                SamePerson::Is(value) => access::SamePerson::Is(value),
            },
            kind: match &self.kind {
                Kind::Person => access::Kind::Person,
                Kind::Service { owner } => access::Kind::Service {
                    owner: owner.as_deref(),
                },
            },
        }
    }

    /// The same as one who asks, with these groups and this sign-in.
    pub(crate) fn asking<'a>(
        &'a self,
        groups: &'a BTreeSet<String>,
        signed_in_at: Timestamp,
        key: Option<&'a str>,
    ) -> access::Person<'a> {
        let party = self.as_access();
        access::Person {
            issuer: party.issuer,
            subject: party.subject,
            name: party.name,
            email: party.email,
            same_person: party.same_person,
            kind: party.kind,
            groups,
            signed_in_at,
            key,
        }
    }

    /// Whether this may be the same person as `other`: nobody counts twice.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        access::may_decide(&self.as_access(), [&other.as_access()]).is_err()
    }
}
