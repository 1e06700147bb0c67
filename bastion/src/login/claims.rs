//! Claims into a [`User`]: the name to show, the address to show, the groups. Whatever is not
//! exactly what it should be gives nothing, and leaves a line of evidence.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::token::Believed;
use super::{Account, ClaimSource, Evidence, Gave, Identity, Links, User, text};
use crate::config::{GroupsFrom, Oidc};

/// Whether the userinfo endpoint has to be asked.
pub(super) fn needs_userinfo(believed: &Believed, oidc: &Oidc) -> bool {
    match oidc.groups_from {
        GroupsFrom::IdToken => false,
        GroupsFrom::Userinfo => true,
        GroupsFrom::Auto => !believed.claims.contains_key(&oidc.groups_claim),
    }
}

/// The user that the claims describe. `userinfo` must be of the same subject. A claim that both
/// have is read in the ID token, but for groups where the configuration says otherwise.
pub(super) fn user(
    believed: &Believed,
    userinfo: Option<&Map<String, Value>>,
    oidc: &Oidc,
) -> User {
    let sources = Sources {
        id_token: &believed.claims,
        userinfo,
    };
    let mut evidence = vec![Evidence {
        claim: "iss, sub".to_owned(),
        from: ClaimSource::IdToken,
        gave: Gave::Identity,
        detail: text::printable(&format!("{} at {}", believed.subject, believed.issuer), 300),
    }];
    let name = name(&sources, &oidc.username_claim, &mut evidence)
        .unwrap_or_else(|| believed.subject.clone());
    let email = email(&sources, &mut evidence);
    let groups = groups(&sources, oidc, &mut evidence);
    let links = links(&sources, oidc);
    User {
        identity: Identity {
            issuer: believed.issuer.clone(),
            subject: believed.subject.clone(),
        },
        name,
        email,
        groups,
        evidence,
        links,
    }
}

/// What says who is the same person. A value that is no plain text is a claim that is missing; an
/// owner that is none still makes a service of the account.
fn links(sources: &Sources<'_>, oidc: &Oidc) -> Links {
    let plain = |value: &Value| {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(text)
            .filter(|text| !text.is_empty() && text.len() <= GROUP_MAX && text::is_plain(text))
    };
    let same_person = oidc
        .same_person_claim
        .as_deref()
        .and_then(|claim| sources.find(claim))
        .and_then(|(_, value)| plain(value));
    let account = match sources.find(&oidc.owner_claim) {
        None => Account::Person,
        Some((_, value)) => Account::Service {
            owner: plain(value),
        },
    };
    Links {
        same_person,
        account,
    }
}

/// Whether somebody in these groups may connect at all.
pub(super) fn may_connect(groups: &BTreeSet<String>, allowed: &[String]) -> bool {
    if allowed.is_empty() {
        !groups.is_empty()
    } else {
        allowed.iter().any(|group| groups.contains(group))
    }
}

/// For the log: what there was instead of a group that may connect.
pub(super) fn why_no_group(evidence: &[Evidence], groups: &BTreeSet<String>) -> String {
    if !groups.is_empty() {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        return text::printable(&format!("in {}", groups.join(", ")), 300);
    }
    evidence
        .last()
        .map(|last| format!("claim {}: {}", last.claim, last.detail))
        .unwrap_or_default()
}

struct Sources<'a> {
    id_token: &'a Map<String, Value>,
    userinfo: Option<&'a Map<String, Value>>,
}

impl<'a> Sources<'a> {
    /// The claim, from the ID token where it is there.
    fn find(&self, claim: &str) -> Option<(ClaimSource, &'a Value)> {
        let userinfo = || Some((ClaimSource::Userinfo, self.userinfo?.get(claim)?));
        self.id_token
            .get(claim)
            .map(|value| (ClaimSource::IdToken, value))
            .or_else(userinfo)
    }
}

fn name(sources: &Sources<'_>, claim: &str, evidence: &mut Vec<Evidence>) -> Option<String> {
    let (from, value) = sources.find(claim)?;
    let name = value
        .as_str()
        .map(|name| text::printable(name.trim(), NAME_MAX))
        .filter(|name| !name.is_empty());
    evidence.push(Evidence {
        claim: claim.to_owned(),
        from,
        gave: name.as_ref().map_or(Gave::Nothing, |_| Gave::Name),
        detail: name
            .clone()
            .unwrap_or_else(|| "not a name: ignored".to_owned()),
    });
    name
}

/// The address, where the same source says that it has been verified.
fn email(sources: &Sources<'_>, evidence: &mut Vec<Evidence>) -> Option<String> {
    let (from, value) = sources.find("email")?;
    let claims = match from {
        ClaimSource::IdToken => Some(sources.id_token),
        ClaimSource::Userinfo => sources.userinfo,
    };
    let verified = claims
        .and_then(|claims| claims.get("email_verified"))
        // Some providers write it as a string.
        .is_some_and(|flag| flag == &Value::Bool(true) || flag.as_str() == Some("true"));
    let plain = value
        .as_str()
        .filter(|email| !email.is_empty() && email.len() <= EMAIL_MAX && text::is_plain(email));
    let (email, detail) = match plain {
        Some(email) if verified => (Some(email.to_owned()), email.to_owned()),
        Some(_) => (None, "not verified: ignored".to_owned()),
        None => (None, "not an address: ignored".to_owned()),
    };
    evidence.push(Evidence {
        claim: "email".to_owned(),
        from,
        gave: email.as_ref().map_or(Gave::Nothing, |_| Gave::Email),
        detail,
    });
    email
}

/// The groups: the strings of a list. A string is no list of one (it may be one name or several,
/// and guessing grants), and a name with something hidden in it is no name.
fn groups(sources: &Sources<'_>, oidc: &Oidc, evidence: &mut Vec<Evidence>) -> BTreeSet<String> {
    let claim = &oidc.groups_claim;
    let found = match oidc.groups_from {
        GroupsFrom::IdToken => sources
            .id_token
            .get(claim)
            .map(|value| (ClaimSource::IdToken, value)),
        GroupsFrom::Userinfo => sources
            .userinfo
            .and_then(|userinfo| userinfo.get(claim))
            .map(|value| (ClaimSource::Userinfo, value)),
        GroupsFrom::Auto => sources.find(claim),
    };
    let (from, groups, detail) = match found {
        Some((from, Value::Array(list))) => {
            let groups: BTreeSet<String> = list.iter().filter_map(group).collect();
            let ignored = list.iter().filter(|value| group(value).is_none()).count();
            let mut detail = match groups.len() {
                0 => "no groups".to_owned(),
                1 => "1 group".to_owned(),
                count => format!("{count} groups"),
            };
            if ignored > 0 {
                detail.push_str(&format!(", {ignored} ignored: not plain names"));
            }
            (from, groups, detail)
        }
        Some((from, _)) => (from, BTreeSet::new(), "not a list: ignored".to_owned()),
        None => {
            let asked = match sources.userinfo {
                Some(_) => ClaimSource::Userinfo,
                None => ClaimSource::IdToken,
            };
            (asked, BTreeSet::new(), "missing".to_owned())
        }
    };
    evidence.push(Evidence {
        claim: claim.clone(),
        from,
        gave: if groups.is_empty() {
            Gave::Nothing
        } else {
            Gave::Groups
        },
        detail,
    });
    groups
}

fn group(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|name| !name.is_empty() && name.len() <= GROUP_MAX && text::is_plain(name))
        .map(str::to_owned)
}

/// In bytes.
const NAME_MAX: usize = 128;
/// RFC 5321, section 4.5.3.1.3.
const EMAIL_MAX: usize = 254;
/// In bytes.
const GROUP_MAX: usize = 256;

#[cfg(test)]
mod tests;
