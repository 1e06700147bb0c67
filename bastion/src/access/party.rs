//! What no policy can allow: deciding on what is one's own.
//!
//! Owns the comparison of two people. It has no exemption, reads no policy, and errs towards "the
//! same": who is refused wrongly asks a colleague, who is let through wrongly has approved their
//! own output.

/// Somebody who takes part in a decision, as the sign-in describes them.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// The OpenID provider that vouched.
    pub issuer: &'a str,
    /// Its unchanging name of the person, compared byte by byte.
    pub subject: &'a str,
    /// What users are called; it may show that somebody is an owner, never that they are not.
    pub name: &'a str,
    /// The verified address; it may show that two are the same, never that they are not.
    pub email: Option<&'a str>,
    /// The claim `approval.same_person_claim`.
    pub same_person: SamePerson<'a>,
    /// A person, or a service that somebody owns.
    pub kind: Kind<'a>,
}

/// What the claim says that links the accounts of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamePerson<'a> {
    /// No claim is configured.
    NotAsked,
    /// One is configured, and this person's token has none: nobody knows who it is.
    Missing,
    /// Its value.
    Is(&'a str),
}

/// What stands behind an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Somebody who can answer for a decision.
    Person,
    /// A pipeline or an agent.
    Service {
        /// The claim that names the person who answers for it: a subject, an address, a name, or a
        /// value of the same-person claim.
        owner: Option<&'a str>,
    },
}

/// Why somebody may not decide. `Display` is for the log, `notice` for the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnDecision {
    /// A service user decides on nothing.
    #[error("a service user decides on nothing")]
    Service,
    /// It is the same issuer and subject.
    #[error("it is the producer's own")]
    Own,
    /// The same-person claim, or the address, says that it is the same person.
    #[error("the producer is the same person under another account")]
    SamePerson,
    /// The decider owns the service user that produced it.
    #[error("the decider owns the service user that produced it")]
    Owner,
    /// The token has not the claim by which people are compared.
    #[error("the same-person claim is missing in a token")]
    Unknown,
    /// The service user's token names no owner.
    #[error("the service user that produced it names no owner")]
    NoOwner,
}

impl OwnDecision {
    /// The line that the person is shown.
    pub fn notice(&self) -> &'static str {
        match self {
            Self::Service => "a service user cannot decide; ask a person",
            Self::Own | Self::SamePerson => "you cannot decide on your own; ask somebody else",
            Self::Owner => {
                "you own the service user that produced this, so you cannot decide on it; ask somebody else"
            }
            Self::Unknown => {
                "the provider does not say who is the same person as whom, so nobody can decide; ask the operator about approval.same_person_claim"
            }
            Self::NoOwner => {
                "the service user that produced this names no owner, so nobody can decide; ask the operator about its owner claim"
            }
        }
    }
}

/// Whether `decider` may decide on what `producers` produced or asked for: everybody who took part
/// in it, whoever watched it included. Policies are asked besides, never instead.
///
/// # Errors
///
/// The decider is, or may be, one of them.
pub fn may_decide<'a>(
    decider: &Party<'_>,
    producers: impl IntoIterator<Item = &'a Party<'a>>,
) -> Result<(), OwnDecision> {
    if matches!(decider.kind, Kind::Service { .. }) {
        return Err(OwnDecision::Service);
    }
    if decider.same_person == SamePerson::Missing {
        return Err(OwnDecision::Unknown);
    }
    producers
        .into_iter()
        .try_for_each(|producer| differ(decider, producer))
}

fn differ(decider: &Party<'_>, producer: &Party<'_>) -> Result<(), OwnDecision> {
    if decider.issuer == producer.issuer && decider.subject == producer.subject {
        return Err(OwnDecision::Own);
    }
    if let (Some(a), Some(b)) = (decider.email, producer.email)
        && folded(a) == folded(b)
    {
        return Err(OwnDecision::SamePerson);
    }
    match (decider.same_person, producer.same_person) {
        (SamePerson::Is(a), SamePerson::Is(b)) if folded(a) == folded(b) => {
            return Err(OwnDecision::SamePerson);
        }
        _ => {}
    }
    if let Kind::Service { owner } = producer.kind {
        let owner = owner.filter(|owner| !folded(owner).is_empty());
        let owner = owner.ok_or(OwnDecision::NoOwner)?;
        return if names(decider).any(|name| folded(name) == folded(owner)) {
            Err(OwnDecision::Owner)
        } else {
            Ok(())
        };
    }
    match (decider.same_person, producer.same_person) {
        // One was signed in before the claim was configured, or has none.
        (_, SamePerson::Missing) | (SamePerson::Is(_), SamePerson::NotAsked) => {
            Err(OwnDecision::Unknown)
        }
        _ => Ok(()),
    }
}

/// Everything by which an owner claim may mean somebody.
fn names<'a>(party: &Party<'a>) -> impl Iterator<Item = &'a str> {
    let same_person = match party.same_person {
        SamePerson::Is(value) => Some(value),
        SamePerson::NotAsked | SamePerson::Missing => None,
    };
    [
        Some(party.subject),
        Some(party.name),
        party.email,
        same_person,
    ]
    .into_iter()
    .flatten()
}

/// Case and surrounding space never make two of one.
fn folded(text: &str) -> String {
    // A sharp s and its capital meet only on the way up.
    text.trim().to_lowercase().to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "https://a.example.com";
    const B: &str = "https://b.example.com";

    fn party<'a>(issuer: &'a str, subject: &'a str) -> Party<'a> {
        Party {
            issuer,
            subject,
            name: subject,
            email: None,
            same_person: SamePerson::NotAsked,
            kind: Kind::Person,
        }
    }

    #[test]
    fn nobody_decides_on_their_own() {
        let anna = party(A, "anna");
        let mailed = |issuer, subject, email| Party {
            email: Some(email),
            ..party(issuer, subject)
        };
        let linked = |issuer, subject, same_person| Party {
            same_person,
            ..party(issuer, subject)
        };
        let service = |owner| Party {
            kind: Kind::Service { owner },
            ..party(A, "pipeline")
        };
        for (what, decider, producer, wanted) in [
            ("herself", anna, anna, Err(OwnDecision::Own)),
            ("somebody else", anna, party(A, "bob"), Ok(())),
            (
                "the owner of a service, by the name that people use",
                Party {
                    name: "Olga",
                    ..party(A, "7d3f-9a")
                },
                service(Some("olga")),
                Err(OwnDecision::Owner),
            ),
            (
                "another case of a subject is another person",
                anna,
                party(A, "Anna"),
                Ok(()),
            ),
            (
                "another issuer, nothing else known",
                anna,
                party(B, "anna"),
                Ok(()),
            ),
            (
                "the address in another case, at another issuer",
                mailed(A, "1", "Anna@Example.com"),
                mailed(B, "2", " anna@EXAMPLE.COM"),
                Err(OwnDecision::SamePerson),
            ),
            (
                "an address with an s that has two small forms",
                mailed(A, "1", "strauß@example.com"),
                mailed(B, "2", "STRAUSS@example.com"),
                Err(OwnDecision::SamePerson),
            ),
            (
                "other addresses",
                mailed(A, "1", "anna@example.com"),
                mailed(A, "2", "bob@example.com"),
                Ok(()),
            ),
            (
                "the claim links two accounts",
                linked(A, "1", SamePerson::Is("E-17")),
                linked(B, "2", SamePerson::Is("e-17")),
                Err(OwnDecision::SamePerson),
            ),
            (
                "the claim tells them apart",
                linked(A, "1", SamePerson::Is("E-17")),
                linked(A, "2", SamePerson::Is("E-18")),
                Ok(()),
            ),
            (
                "the decider's token has no claim",
                linked(A, "1", SamePerson::Missing),
                linked(A, "2", SamePerson::Is("E-18")),
                Err(OwnDecision::Unknown),
            ),
            (
                "the producer's has none",
                linked(A, "1", SamePerson::Is("E-17")),
                linked(A, "2", SamePerson::Missing),
                Err(OwnDecision::Unknown),
            ),
            (
                "the producer signed in before the claim was configured",
                linked(A, "1", SamePerson::Is("E-17")),
                linked(A, "2", SamePerson::NotAsked),
                Err(OwnDecision::Unknown),
            ),
            (
                "a service decides",
                service(Some("bob")),
                anna,
                Err(OwnDecision::Service),
            ),
            (
                "a service of hers, by subject",
                anna,
                service(Some("ANNA")),
                Err(OwnDecision::Owner),
            ),
            (
                "by address",
                mailed(A, "1", "anna@example.com"),
                service(Some("Anna@example.com")),
                Err(OwnDecision::Owner),
            ),
            (
                "by the claim",
                linked(A, "1", SamePerson::Is("E-17")),
                service(Some("e-17")),
                Err(OwnDecision::Owner),
            ),
            ("of somebody else", anna, service(Some("bob")), Ok(())),
            ("of nobody", anna, service(None), Err(OwnDecision::NoOwner)),
            (
                "of an empty name",
                anna,
                service(Some(" ")),
                Err(OwnDecision::NoOwner),
            ),
        ] {
            assert_eq!(may_decide(&decider, [&producer]), wanted, "{what}");
        }
    }

    #[test]
    fn one_of_several_producers_is_enough() {
        let (anna, bob) = (party(A, "anna"), party(A, "bob"));
        assert_eq!(may_decide(&anna, [&bob, &anna]), Err(OwnDecision::Own));
        assert_eq!(may_decide(&anna, [&bob, &bob]), Ok(()));
        assert_eq!(may_decide(&anna, std::iter::empty::<&Party<'_>>()), Ok(()));
    }

    fn any_kind() -> impl Strategy<Value = Option<Option<String>>> {
        proptest::option::of(proptest::option::of("[ab]{1,2}"))
    }

    proptest! {
        /// Whatever the claims say, the same issuer and subject never decide.
        #[test]
        fn the_same_account_never_decides(
            issuer in "[a-c]{1,3}", subject in "[a-cA-C]{1,3}",
            mails: [Option<u8>; 2], links: [Option<u8>; 2], kinds in [any_kind(), any_kind()],
        ) {
            let text = |n: Option<u8>| n.map(|n| format!("{n}@x"));
            let (mails, links) = (mails.map(text), links.map(text));
            let build = |k: usize| Party {
                name: "",
                issuer: &issuer,
                subject: &subject,
                email: mails.get(k).and_then(Option::as_deref),
                same_person: match links.get(k).and_then(Option::as_deref) {
                    Some(value) => SamePerson::Is(value),
                    None => SamePerson::NotAsked,
                },
                kind: match kinds.get(k).and_then(Option::as_ref) {
                    Some(owner) => Kind::Service { owner: owner.as_deref() },
                    None => Kind::Person,
                },
            };
            prop_assert!(may_decide(&build(0), [&build(1)]).is_err());
        }

        /// Upper and lower case never make a second person out of an address or a claim.
        #[test]
        fn case_never_makes_a_second_person(text in "\\PC{1,12}") {
            prop_assume!(!text.trim().is_empty());
            let (low, high) = (text.to_lowercase(), text.to_uppercase());
            let mailed = |subject, email| Party { email: Some(email), ..party(A, subject) };
            let (a, b) = (mailed("1", low.as_str()), mailed("2", high.as_str()));
            prop_assert_eq!(may_decide(&a, [&b]), Err(OwnDecision::SamePerson));
            let linked = |subject, value| Party { same_person: SamePerson::Is(value), ..party(A, subject) };
            let (a, b) = (linked("1", low.as_str()), linked("2", high.as_str()));
            prop_assert_eq!(may_decide(&a, [&b]), Err(OwnDecision::SamePerson));
        }
    }
}
