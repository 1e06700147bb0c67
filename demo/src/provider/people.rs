//! The people who can sign in at the demo's provider.

/// A person, as the provider's tokens tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The claim `preferred_username`.
    pub name: &'static str,
    /// The claim `name`.
    pub full_name: &'static str,
    /// The claim `sub`: does not change, says nothing.
    pub subject: &'static str,
    /// The claim `groups`.
    pub groups: &'static [&'static str],
    /// What they are for, for the page.
    pub note: &'static str,
}

/// All of them.
pub const PEOPLE: [Person; 5] = [
    Person {
        name: "ana",
        full_name: "Ana Lima",
        subject: "8f2c1d4e-ana",
        groups: &["engineers"],
        note: "works on the databases",
    },
    Person {
        name: "bela",
        full_name: "Bela Nagy",
        subject: "e6d90f13-bela",
        groups: &["analysts"],
        note: "evaluates payroll, seen by others first",
    },
    Person {
        name: "carol",
        full_name: "Carol Meyer",
        subject: "17b09a6c-carol",
        groups: &["approvers", "payroll-approvers"],
        note: "approves what is held",
    },
    Person {
        name: "dave",
        full_name: "Dave Owusu",
        subject: "c5e3770b-dave",
        groups: &["auditors"],
        note: "plays recordings",
    },
    Person {
        name: "eve",
        full_name: "Eve Stone",
        subject: "0a94f2d8-eve",
        groups: &[],
        note: "is in no group",
    },
];

impl Person {
    /// The person of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PEOPLE.iter().find(|person| person.name == name).cloned()
    }

    /// The claim `email`, in a reserved domain (RFC 2606).
    #[must_use]
    pub fn email(&self) -> String {
        format!("{}@example.com", self.name)
    }
}
