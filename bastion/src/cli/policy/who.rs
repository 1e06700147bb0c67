//! A person who is made up for a test or a question.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::access::{Kind, Person, SamePerson};
use crate::config::section::{Field, Section};

/// Somebody, as a sign-in would describe them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) email: Option<String>,
    pub(super) groups: BTreeSet<String>,
    /// A service, and who owns it.
    pub(super) service: Option<Option<String>>,
    pub(super) sign_in_age: Duration,
    pub(super) key: Option<String>,
}

impl Default for Who {
    fn default() -> Self {
        Self {
            name: "somebody".to_owned(),
            issuer: ISSUER.to_owned(),
            subject: "somebody".to_owned(),
            email: None,
            groups: BTreeSet::new(),
            service: None,
            sign_in_age: Duration::ZERO,
            key: None,
        }
    }
}

impl Who {
    /// `{ name, groups, subject, issuer, email, service, owner, sign_in_age, key }`, each optional.
    pub(super) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let mut text = |key| section.take(key).map(Field::text);
        let (name, subject, issuer) = (text("name"), text("subject"), text("issuer"));
        let (email, owner, key) = (text("email"), text("owner"), text("key"));
        let groups = section.take("groups").map(Field::strings);
        let service = section.take("service").map(Field::bool);
        let age = section
            .take("sign_in_age")
            .map(|field| field.duration(Duration::ZERO..=AGE_MAX));
        section.finish();
        let name = name.unwrap_or_else(|| Some("somebody".to_owned()))?;
        let owner = owner.map_or(Some(None), |owner| owner.map(Some))?;
        let service = service.unwrap_or(Some(owner.is_some()))?;
        Some(Self {
            subject: subject.unwrap_or_else(|| Some(name.clone()))?,
            name,
            issuer: issuer.unwrap_or_else(|| Some(ISSUER.to_owned()))?,
            email: email.map_or(Some(None), |email| email.map(Some))?,
            groups: groups
                .unwrap_or_else(|| Some(Vec::new()))?
                .into_iter()
                .collect(),
            service: service.then_some(owner),
            sign_in_age: age.unwrap_or(Some(Duration::ZERO))?,
            key: key.map_or(Some(None), |key| key.map(Some))?,
        })
    }

    /// The same as `access` asks about them.
    pub(super) fn person(&self, now: Timestamp) -> Person<'_> {
        let age = SignedDuration::try_from(self.sign_in_age).unwrap_or_default();
        Person {
            issuer: &self.issuer,
            subject: &self.subject,
            name: &self.name,
            email: self.email.as_deref(),
            same_person: SamePerson::NotAsked,
            kind: match &self.service {
                Some(owner) => Kind::Service {
                    owner: owner.as_deref(),
                },
                None => Kind::Person,
            },
            groups: &self.groups,
            signed_in_at: now.checked_sub(age).unwrap_or(now),
            key: self.key.as_deref(),
        }
    }
}

/// Where somebody connects from, unless the case says otherwise.
pub(super) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const ISSUER: &str = "https://id.example.com";
const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
