//! What can be told, and what of it one webhook wants to hear.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Message;
use crate::access::Pattern;

/// What is told, as it stands in `type` of a message and in `events` of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Somebody has to decide on a hold.
    #[serde(rename = "hold.sealed")]
    HoldSealed,
    /// A hold has all the approvals that it needs.
    #[serde(rename = "hold.approved")]
    HoldApproved,
    /// Somebody has denied a hold.
    #[serde(rename = "hold.denied")]
    HoldDenied,
    /// Nobody has decided on a hold, or fetched it, in time.
    #[serde(rename = "hold.expired")]
    HoldExpired,
    /// A hold can never be delivered.
    #[serde(rename = "hold.void")]
    HoldVoid,
    /// Somebody has to decide on a request for access.
    #[serde(rename = "request.asked")]
    RequestAsked,
    /// A request has all the approvals that it needs.
    #[serde(rename = "request.approved")]
    RequestApproved,
    /// Somebody has denied a request.
    #[serde(rename = "request.denied")]
    RequestDenied,
    /// Nobody has decided on a request in time.
    #[serde(rename = "request.expired")]
    RequestExpired,
    /// A request can no longer be approved.
    #[serde(rename = "request.void")]
    RequestVoid,
    /// Somebody has taken away what was approved.
    #[serde(rename = "request.revoked")]
    RequestRevoked,
    /// A policy that is marked `@break_glass` or `@notify` let somebody begin a session.
    #[serde(rename = "session.marked")]
    SessionMarked,
    /// Somebody who was known has signed in with a new key.
    #[serde(rename = "key.new")]
    KeyNew,
}

impl Kind {
    /// All of them, with their names.
    pub(crate) const NAMES: [(&'static str, Self); 13] = [
        ("hold.sealed", Self::HoldSealed),
        ("hold.approved", Self::HoldApproved),
        ("hold.denied", Self::HoldDenied),
        ("hold.expired", Self::HoldExpired),
        ("hold.void", Self::HoldVoid),
        ("request.asked", Self::RequestAsked),
        ("request.approved", Self::RequestApproved),
        ("request.denied", Self::RequestDenied),
        ("request.expired", Self::RequestExpired),
        ("request.void", Self::RequestVoid),
        ("request.revoked", Self::RequestRevoked),
        ("session.marked", Self::SessionMarked),
        ("key.new", Self::KeyNew),
    ];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(name, _)| name)
    }
}

/// What one webhook wants to hear. What is left empty does not restrict; what a message does not
/// have (a new key has no target) does not keep it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wants {
    /// Of what kinds.
    pub events: BTreeSet<Kind>,
    /// Of holds and requests: on which of these groups decide.
    pub approvers: BTreeSet<String>,
    /// About which targets; `*` stands for any characters.
    pub targets: BTreeSet<String>,
    /// Of marked sessions: which channels of `@notify("CHANNEL")`.
    pub channels: BTreeSet<String>,
}

impl Wants {
    /// Whether it wants to hear this.
    pub(crate) fn wants(&self, message: &Message) -> bool {
        let data = &message.data;
        let any_of = |wanted: &BTreeSet<String>, found: &[String]| {
            wanted.is_empty() || found.is_empty() || found.iter().any(|one| wanted.contains(one))
        };
        let target = |name: &str| {
            let patterns = || self.targets.iter().map(Pattern::new);
            self.targets.is_empty() || patterns().any(|pattern| pattern.matches(name))
        };
        (self.events.is_empty() || self.events.contains(&message.kind))
            && any_of(&self.approvers, data.approvers())
            && any_of(&self.channels, data.channels())
            && data.target().is_none_or(target)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::message::tests::{hold, key, marked};
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_kind_has_one_name() {
        for (name, kind) in Kind::NAMES {
            assert_eq!(kind.as_str(), name);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind);
        }
    }

    #[test]
    fn a_webhook_hears_what_it_wants_and_nothing_else() {
        let all = Wants::default();
        let only = |events: &[Kind]| Wants {
            events: events.iter().copied().collect(),
            ..Wants::default()
        };
        let sealed = hold(Kind::HoldSealed);
        let (marked, key) = (marked(), key());
        for message in [&sealed, &marked, &key] {
            assert!(all.wants(message));
        }
        assert!(only(&[Kind::HoldSealed, Kind::KeyNew]).wants(&sealed));
        assert!(!only(&[Kind::HoldDenied]).wants(&sealed));
        let of = |approvers: &[&str]| Wants {
            approvers: names(approvers),
            ..Wants::default()
        };
        assert!(of(&["x", "payroll-approvers"]).wants(&sealed));
        assert!(!of(&["x"]).wants(&sealed));
        assert!(of(&["x"]).wants(&key), "nobody decides on a key");
        let about = |targets: &[&str]| Wants {
            targets: names(targets),
            ..Wants::default()
        };
        assert!(about(&["x", "payroll-*"]).wants(&sealed));
        assert!(!about(&["orders-*"]).wants(&sealed));
        assert!(about(&["orders-*"]).wants(&key), "a key has no target");
        let on = |channels: &[&str]| Wants {
            channels: names(channels),
            ..Wants::default()
        };
        assert!(on(&["security"]).wants(&marked));
        assert!(!on(&["network"]).wants(&marked));
    }
}
