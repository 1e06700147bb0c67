//! The one parser of what a client gives as its user name: `LOGIN@TARGET`, `LOGIN+TARGET`, or a
//! name without a separator, which asks for the console.
//!
//! Owns the grammar and its limits (limits.md). Does not know which logins and targets exist.

use std::fmt;

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The bastion's own commands. The name is what the client's account is called; it decides
    /// nothing.
    Console,
    /// An account on a target.
    Target {
        /// The account on the target: 1..=64 bytes.
        login: Name,
        /// The target: 1..=128 bytes.
        target: Name,
    },
}

impl Destination {
    /// Reads a user name as the client sent it. Nothing is folded, trimmed or unescaped.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.bytes().filter(|byte| is_separator(*byte)).count() {
            0 => Name::parse(text, MAX_LOGIN, Part::Console).map(|_| Self::Console),
            1 => {
                let (login, target) = text.split_once(['@', '+']).ok_or(NameError::Separators)?;
                Ok(Self::Target {
                    login: Name::parse(login, MAX_LOGIN, Part::Login)?,
                    target: Name::parse(target, MAX_TARGET, Part::Target)?,
                })
            }
            _ => Err(NameError::Separators),
        }
    }

    /// What `user` is at `host`, which was named before: `ssh -J BASTION user@host`.
    ///
    /// # Errors
    /// As for the name `user@host`: a separator in `user` is one too many.
    pub fn behind(user: &str, host: &Name) -> Result<Self, NameError> {
        Self::parse(&format!("{user}@{host}"))
    }

    /// The same, where its names are no longer than a configuration allows: `login` bytes for the
    /// account and `target` bytes for the target. The console's is nobody's name.
    ///
    /// # Errors
    /// A part is longer.
    pub fn within(self, login: usize, target: usize) -> Result<Self, NameError> {
        let fits = |name: &Name, max: usize, part: Part| {
            if name.0.len() > max {
                return Err(NameError::TooLong { part, max });
            }
            Ok(())
        };
        if let Self::Target {
            login: account,
            target: machine,
        } = &self
        {
            fits(account, login, Part::Login)?;
            fits(machine, target, Part::Target)?;
        }
        Ok(self)
    }
}

/// The name of a target by itself, as `ssh -J` gives it.
///
/// # Errors
/// As for the target's part of a user name.
pub fn target_name(text: &str) -> Result<Name, NameError> {
    Name::parse(text, MAX_TARGET, Part::Target)
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console => f.write_str("console"),
            Self::Target { login, target } => write!(f, "{login}@{target}"),
        }
    }
}

/// The name of a login or a target: `[A-Za-z0-9_][A-Za-z0-9._-]*`, ASCII, so that it needs no
/// escaping wherever it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str, max: usize, part: Part) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().ok_or(NameError::Empty { part })?;
        if text.len() > max {
            return Err(NameError::TooLong { part, max });
        }
        let starts = first.is_ascii_alphanumeric() || first == b'_';
        let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !starts || !bytes.all(goes_on) {
            return Err(NameError::Character { part });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which part of a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Before the separator.
    Login,
    /// After the separator.
    Target,
    /// A name without a separator.
    Console,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "login",
            Self::Target => "target",
            Self::Console => "user",
        })
    }
}

/// Why a user name is refused. Never repeats what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A part has no character.
    #[error("the {part} name is empty")]
    Empty {
        /// Which part.
        part: Part,
    },
    /// A part is too long.
    #[error("the {part} name is longer than {max} bytes")]
    TooLong {
        /// Which part.
        part: Part,
        /// The longest that is taken, in bytes.
        max: usize,
    },
    /// A part has a character that no name has.
    #[error("the {part} name has a character other than A-Z a-z 0-9 . _ - or starts with . or -")]
    Character {
        /// Which part.
        part: Part,
    },
    /// More than one separator.
    #[error("more than one @ or + in the name")]
    Separators,
}

impl NameError {
    /// The line that the client is shown.
    pub fn notice(&self) -> String {
        format!("{self}; use LOGIN@TARGET@BASTION or LOGIN+TARGET@BASTION")
    }
}

/// Longest login name that any configuration takes, in bytes (limits.md).
pub const MAX_LOGIN: usize = 64;
/// Longest target name that any configuration takes, in bytes (limits.md).
pub const MAX_TARGET: usize = 128;

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'@' | b'+')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_separators_name_the_same_account() {
        let at = Destination::parse("postgres@orders-db").unwrap();
        assert_eq!(at, Destination::parse("postgres+orders-db").unwrap());
        assert_eq!(at.to_string(), "postgres@orders-db");
        assert_eq!(Destination::parse("ana").unwrap(), Destination::Console);
    }

    #[test]
    fn tricks_are_refused() {
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "+b",
            "a+",
            "a@b@c",
            "a+b@c",
            "a@b+c",
            "a b@c",
            "a@b ",
            " a@b",
            "-a@b",
            "a@-b",
            ".a@b",
            "a@.b",
            "a\0@b",
            "a@b\n",
            "a@b\r",
            "a\u{1b}[31m@b",
            "a%40b@c%",
            "\u{430}@b",
            "a@b\u{202e}",
            "a/b@c",
            "a@../b",
            "a:b@c",
            "a@b:22",
            "\u{ff41}@b",
            "a$@b",
        ] {
            assert!(Destination::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn behind_a_host_a_user_is_a_login_and_nothing_else() {
        let host = target_name("orders-db").unwrap();
        assert_eq!(
            Destination::behind("postgres", &host),
            Destination::parse("postgres@orders-db")
        );
        for user in ["", "postgres@other", "postgres+other", "a b", "@", "-a"] {
            assert!(
                Destination::behind(user, &host).is_err(),
                "{user:?} was taken"
            );
        }
        for host in ["", "a@b", "a+b", "::1", "a/b", "-a", "a b"] {
            assert!(target_name(host).is_err(), "{host:?} was taken");
        }
    }

    #[test]
    fn lengths_at_their_edges() {
        let taken = |login: usize, target: usize| {
            Destination::parse(&format!("{}@{}", "a".repeat(login), "b".repeat(target))).is_ok()
        };
        assert!(taken(MAX_LOGIN, MAX_TARGET));
        assert!(!taken(MAX_LOGIN + 1, MAX_TARGET));
        assert!(!taken(MAX_LOGIN, MAX_TARGET + 1));
        assert!(Destination::parse(&"a".repeat(MAX_LOGIN)).is_ok());
        assert!(Destination::parse(&"a".repeat(MAX_LOGIN + 1)).is_err());
    }

    #[test]
    fn lengths_at_the_edges_of_a_configuration() {
        let taken = |login: usize, target: usize| {
            let name = format!("{}@{}", "a".repeat(login), "b".repeat(target));
            Destination::parse(&name).unwrap().within(8, 12)
        };
        assert!(taken(8, 12).is_ok());
        let long = |part, max| Err(NameError::TooLong { part, max });
        assert_eq!(taken(9, 12), long(Part::Login, 8));
        assert_eq!(taken(8, 13), long(Part::Target, 12));
        assert!(
            Destination::parse("a-long-name")
                .unwrap()
                .within(8, 12)
                .is_ok()
        );
    }

    proptest! {
        /// What is taken is exactly the grammar, and comes back as it was typed.
        #[test]
        fn accounts_come_back(login in "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", target in "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}") {
            let text = format!("{login}@{target}");
            prop_assert_eq!(Destination::parse(&text).unwrap().to_string(), text);
        }

        /// No input panics, and nothing outside the alphabet gets in.
        #[test]
        fn nothing_else_gets_in(text in "\\PC*|[a-c@+.\\-\\x00-\\x20]{0,12}") {
            if let Ok(Destination::Target { login, target }) = Destination::parse(&text) {
                let plain = |name: &Name| name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
                prop_assert!(plain(&login) && plain(&target));
                prop_assert_eq!(text.len(), login.as_str().len() + target.as_str().len() + 1);
            }
        }
    }
}
