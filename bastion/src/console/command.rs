//! The parser of a console line: words between spaces, options that begin with `--`. No quoting,
//! no expansion, no file.

use std::fmt;
use std::time::Duration;

use crate::config::section::parse_duration;

/// One command, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help {
        json: bool,
    },
    Inbox {
        plain: bool,
        json: bool,
    },
    Whoami {
        explain: bool,
        json: bool,
    },
    Targets {
        json: bool,
    },
    Config {
        json: bool,
    },
    Sessions {
        active: bool,
        json: bool,
    },
    Audit {
        since: Option<String>,
        json: bool,
    },
    Leases {
        json: bool,
    },
    SignOut {
        all: bool,
        json: bool,
    },
    Watch {
        session: String,
        json: bool,
    },
    Play {
        session: String,
        json: bool,
    },
    Recording {
        session: String,
        json: bool,
    },
    End {
        session: String,
        json: bool,
    },
    EndOf {
        user: String,
        json: bool,
    },
    Lock {
        whom: Whom,
        reason: String,
        json: bool,
    },
    Unlock {
        whom: Whom,
        json: bool,
    },
    Locks {
        json: bool,
    },
    Holds {
        all: bool,
        json: bool,
    },
    Show {
        hold: String,
        payload: bool,
        json: bool,
    },
    Decide {
        hold: String,
        decision: Decision,
        reason: Option<String>,
        json: bool,
    },
    Fetch {
        hold: String,
        json: bool,
    },
    Cancel {
        hold: String,
        reason: Option<String>,
        json: bool,
    },
    Request {
        /// `TARGET`, or `LOGIN@TARGET`.
        target: String,
        login: Option<String>,
        reason: String,
        period: Option<Duration>,
        json: bool,
    },
    Requests {
        all: bool,
        json: bool,
    },
    Revoke {
        request: String,
        reason: Option<String>,
        json: bool,
    },
}

/// Whom or what a lock is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    User(String),
    Target(String),
}

/// What an approver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Approve,
    Deny,
}

impl Command {
    /// Reads a line of at most `longest` bytes.
    pub(super) fn parse(line: &[u8], longest: usize) -> Result<Self, Usage> {
        if line.len() > longest {
            return Err(Usage::TooLong { longest });
        }
        let line = std::str::from_utf8(line).map_err(|_| Usage::NotText)?;
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or("help");
        let mut given = Given::read(words)?;
        let command = Self::named(name, &mut given)?;
        given.taken()?;
        Ok(command)
    }

    /// The command of this name, with what it takes of what was given.
    fn named(name: &str, given: &mut Given) -> Result<Self, Usage> {
        let json = given.json;
        let command = match name {
            "help" | "--help" | "-h" => Self::Help { json },
            "inbox" => Self::Inbox {
                plain: std::mem::take(&mut given.plain),
                json,
            },
            "whoami" => Self::Whoami {
                explain: std::mem::take(&mut given.explain),
                json,
            },
            "targets" => Self::Targets { json },
            "config" => Self::Config { json },
            "sessions" => Self::Sessions {
                active: std::mem::take(&mut given.active),
                json,
            },
            "audit" => Self::Audit {
                since: given.since.take(),
                json,
            },
            "leases" => Self::Leases { json },
            "sign-out" => Self::SignOut {
                all: std::mem::take(&mut given.all),
                json,
            },
            "watch" => Self::Watch {
                session: given.session()?,
                json,
            },
            "play" => Self::Play {
                session: given.session()?,
                json,
            },
            "recording" => Self::Recording {
                session: given.session()?,
                json,
            },
            "end" => match given.user.take() {
                Some(user) => Self::EndOf { user, json },
                None => Self::End {
                    session: given.session()?,
                    json,
                },
            },
            "lock" => Self::Lock {
                whom: given.whom()?,
                reason: given.reason.take().unwrap_or_default(),
                json,
            },
            "unlock" => Self::Unlock {
                whom: given.whom()?,
                json,
            },
            "locks" => Self::Locks { json },
            "holds" => Self::Holds {
                all: std::mem::take(&mut given.all),
                json,
            },
            "show" => Self::Show {
                hold: given.hold()?,
                payload: std::mem::take(&mut given.payload),
                json,
            },
            "approve" | "deny" => Self::Decide {
                hold: given.hold()?,
                decision: if name == "approve" {
                    Decision::Approve
                } else {
                    Decision::Deny
                },
                reason: given.reason.take(),
                json,
            },
            "fetch" => Self::Fetch {
                hold: given.hold()?,
                json,
            },
            "cancel" => Self::Cancel {
                hold: given.hold()?,
                reason: given.reason.take(),
                json,
            },
            "request" => Self::Request {
                target: given.one(Usage::Request)?,
                login: given.login.take(),
                reason: given.reason.take().ok_or(Usage::Request)?,
                period: match given.period.take() {
                    Some(period) => Some(
                        parse_duration(&period)
                            .filter(|period| *period >= Duration::from_secs(1))
                            .ok_or(Usage::Period)?,
                    ),
                    None => None,
                },
                json,
            },
            "requests" => Self::Requests {
                all: std::mem::take(&mut given.all),
                json,
            },
            "revoke" => Self::Revoke {
                request: given.one(Usage::Revoke)?,
                reason: given.reason.take(),
                json,
            },
            _ => return Err(Usage::Unknown),
        };
        Ok(command)
    }
}

/// The commands with what they do, for `help`.
pub(super) const HELP: [(&str, &str); 25] = [
    ("help", "this text"),
    (
        "inbox [--plain]",
        "holds on a full screen (ssh -t), or in lines",
    ),
    ("whoami [--explain]", "who you are here, and why"),
    ("targets", "the accounts that you may reach"),
    ("config", "an ssh_config block with those accounts"),
    ("sessions [--active]", "sessions, newest first"),
    ("holds [--all]", "what waits for you, and what you wait for"),
    (
        "show HOLD [--payload]",
        "who, what and why, with a preview; REQUESTs too",
    ),
    (
        "approve HOLD [--reason R]",
        "let its producer have it; REQUESTs too",
    ),
    ("deny HOLD [--reason R]", "erase it; REQUESTs too"),
    ("fetch HOLD", "collect a released output of yours"),
    (
        "cancel HOLD [--reason R]",
        "withdraw one of yours; REQUESTs too",
    ),
    (
        "request TARGET --reason R",
        "ask for access; --login L, --for 1h",
    ),
    (
        "requests [--all]",
        "access that is asked for, and that is open",
    ),
    (
        "revoke REQUEST [--reason R]",
        "take an approved access away",
    ),
    (
        "audit [--since T]",
        "the audit log from T on, or of a day: 2h, a time",
    ),
    ("leases", "the keys that you are signed in with"),
    (
        "sign-out [--all]",
        "end this key's lease, or all and every session",
    ),
    ("watch SESSION", "follow a session that runs (ssh -t)"),
    ("play SESSION", "play a recording in the terminal (ssh -t)"),
    (
        "recording SESSION",
        "the recording's file on standard output",
    ),
    ("end SESSION | --user U", "end running sessions"),
    (
        "lock --user U | --target T",
        "shut out, and end what runs; --reason R",
    ),
    ("unlock --user U | --target T", "take the lock away"),
    ("locks", "who and what is locked"),
];

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    TooLong {
        /// The longest that is taken, in bytes.
        longest: usize,
    },
    NotText,
    Unknown,
    Option,
    Argument,
    Session,
    Whom,
    Hold,
    Request,
    Period,
    Revoke,
}

impl Usage {
    /// The exit status of a line that is no command (limits.md).
    pub(super) const STATUS: u32 = 2;
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong { longest } => {
                return write!(f, "the line is longer than {longest} bytes");
            }
            Self::NotText => "the line is not UTF-8",
            Self::Unknown => "no such command; try: help",
            Self::Option => "the command has no such option; try: help",
            Self::Argument => "too many words for this command; try: help",
            Self::Whom => "name one: --user U, or --target T",
            Self::Session => "name one session; try: sessions",
            Self::Hold => "name one hold by its whole id, such as H-7K3QX9; try: holds",
            Self::Request => "write: request TARGET --reason WHY [--login L] [--for 1h]",
            Self::Period => "--for takes a time such as 30m, 1h or 2d",
            Self::Revoke => "name one request by its whole id, such as R-7K3QX9; try: requests",
        })
    }
}

/// What stands behind a command's name, of which the command takes what it knows.
#[derive(Default)]
struct Given {
    json: bool,
    explain: bool,
    active: bool,
    all: bool,
    user: Option<String>,
    target: Option<String>,
    payload: bool,
    plain: bool,
    reason: Option<String>,
    since: Option<String>,
    login: Option<String>,
    period: Option<String>,
    arguments: Vec<String>,
}

impl Given {
    fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, Usage> {
        let mut given = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word {
                "--payload" => given.payload = true,
                "--plain" => given.plain = true,
                // Each takes what follows, up to the next option: names and reasons have spaces.
                "--user" | "--target" | "--reason" | "--since" => {
                    let mut text = Vec::new();
                    while let Some(more) = words.next_if(|next| !next.starts_with("--")) {
                        text.push(more);
                    }
                    given.value(word, text.join(" "))?;
                }
                "--for" | "--login" => {
                    let value = words.next_if(|next| !next.starts_with("--"));
                    given.value(word, value.unwrap_or_default().to_owned())?;
                }
                "--json" => given.json = true,
                "--explain" => given.explain = true,
                "--active" => given.active = true,
                "--all" => given.all = true,
                word if word.starts_with('-') => return Err(Usage::Option),
                word => given.arguments.push(word.to_owned()),
            }
        }
        Ok(given)
    }

    /// Whether nothing is left: who gives more than a command takes has mistyped it.
    fn taken(self) -> Result<(), Usage> {
        let flags = self.explain || self.active || self.all || self.payload || self.plain;
        let values = [
            self.user,
            self.target,
            self.reason,
            self.since,
            self.login,
            self.period,
        ];
        if flags || values.iter().any(Option::is_some) {
            return Err(Usage::Option);
        }
        if !self.arguments.is_empty() {
            return Err(Usage::Argument);
        }
        Ok(())
    }

    fn value(&mut self, option: &str, text: String) -> Result<(), Usage> {
        let place = match option {
            "--user" => &mut self.user,
            "--target" => &mut self.target,
            "--since" => &mut self.since,
            "--login" => &mut self.login,
            "--for" => &mut self.period,
            _ => &mut self.reason,
        };
        // Nothing, or a second one.
        if text.is_empty() || place.is_some() {
            return Err(Usage::Option);
        }
        *place = Some(text);
        Ok(())
    }

    fn whom(&mut self) -> Result<Whom, Usage> {
        match (self.user.take(), self.target.take()) {
            (Some(user), None) => Ok(Whom::User(user)),
            (None, Some(target)) => Ok(Whom::Target(target)),
            _ => Err(Usage::Whom),
        }
    }

    fn session(&mut self) -> Result<String, Usage> {
        self.one(Usage::Session)
    }

    fn hold(&mut self) -> Result<String, Usage> {
        self.one(Usage::Hold)
    }

    /// The one argument that there is.
    fn one(&mut self, otherwise: Usage) -> Result<String, Usage> {
        match self.arguments.len() {
            1 => self.arguments.pop().ok_or(otherwise),
            _ => Err(otherwise),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use proptest::prelude::*;

    use super::*;

    const MAX_LINE: usize = 4096;

    /// Every command of the console in the documents is one, with and without what is in brackets.
    #[test]
    fn the_documents_name_what_there_is() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut seen = 0;
        for entry in std::fs::read_dir(docs).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "md") {
                continue;
            }
            let page = std::fs::read_to_string(&path).unwrap();
            let line = page
                .split(['`', '\n'])
                .map(|line| line.trim_start_matches("$ "));
            for line in line.filter_map(|line| line.strip_prefix("ssh ")) {
                let line = line.trim_start_matches("-t ");
                let Some(("bastion" | "BASTION", line)) = line.split_once(' ') else {
                    continue;
                };
                let line = line.split(" >").next().unwrap().replace("-…", "-7K3QX9");
                let whole = line.replace(['[', ']'], "");
                let least = match line.split_once(" [") {
                    Some((before, rest)) => {
                        format!("{before}{}", rest.split_once(']').unwrap().1)
                    }
                    None => line.clone(),
                };
                if line.contains(['…', '|', '<']) {
                    continue;
                }
                for line in [whole, least] {
                    let parsed = Command::parse(line.as_bytes(), MAX_LINE);
                    assert!(parsed.is_ok(), "{}: {line}: {parsed:?}", path.display());
                }
                seen += 1;
            }
        }
        assert!(seen >= 20, "{seen}");
    }

    #[test]
    fn commands_with_their_options() {
        for (line, command) in [
            ("", Command::Help { json: false }),
            ("help", Command::Help { json: false }),
            (
                "inbox --plain",
                Command::Inbox {
                    plain: true,
                    json: false,
                },
            ),
            (
                "whoami --explain --json",
                Command::Whoami {
                    explain: true,
                    json: true,
                },
            ),
            (
                "  sessions   --active ",
                Command::Sessions {
                    active: true,
                    json: false,
                },
            ),
            (
                "sign-out --all",
                Command::SignOut {
                    all: true,
                    json: false,
                },
            ),
            (
                "watch abc",
                Command::Watch {
                    session: "abc".into(),
                    json: false,
                },
            ),
            (
                "approve H-7K3QX9 --reason seen it, fine --json",
                Command::Decide {
                    hold: "H-7K3QX9".into(),
                    decision: Decision::Approve,
                    reason: Some("seen it, fine".into()),
                    json: true,
                },
            ),
            (
                "show H-7K3QX9 --payload",
                Command::Show {
                    hold: "H-7K3QX9".into(),
                    payload: true,
                    json: false,
                },
            ),
            (
                "request db --login app --reason the nightly job, failed --for 2h",
                Command::Request {
                    target: "db".into(),
                    login: Some("app".into()),
                    reason: "the nightly job, failed".into(),
                    period: Some(Duration::from_secs(7200)),
                    json: false,
                },
            ),
            (
                "requests --all --json",
                Command::Requests {
                    all: true,
                    json: true,
                },
            ),
            (
                "revoke R-7K3QX9",
                Command::Revoke {
                    request: "R-7K3QX9".into(),
                    reason: None,
                    json: false,
                },
            ),
            (
                "play abc",
                Command::Play {
                    session: "abc".into(),
                    json: false,
                },
            ),
            (
                "end abc --json",
                Command::End {
                    session: "abc".into(),
                    json: true,
                },
            ),
            (
                "end --user Ana Diaz --json",
                Command::EndOf {
                    user: "Ana Diaz".into(),
                    json: true,
                },
            ),
            (
                "lock --reason lost a laptop --user ana",
                Command::Lock {
                    whom: Whom::User("ana".into()),
                    reason: "lost a laptop".into(),
                    json: false,
                },
            ),
            (
                "audit --since 2h --json",
                Command::Audit {
                    since: Some("2h".into()),
                    json: true,
                },
            ),
            (
                "unlock --target orders-db",
                Command::Unlock {
                    whom: Whom::Target("orders-db".into()),
                    json: false,
                },
            ),
        ] {
            assert_eq!(
                Command::parse(line.as_bytes(), MAX_LINE),
                Ok(command),
                "{line:?}"
            );
        }
    }

    #[test]
    fn whatever_else_is_usage() {
        for line in [
            "sh",
            "whoami; id",
            "play",
            "play a b",
            "targets x",
            "targets --explain",
            "sessions --all",
            "approve",
            "approve H-1 H-2",
            "deny H-7K3QX9 --reason",
            "deny H-7K3QX9 --reason --json",
            "show H-7K3QX9 --reason x",
            "fetch H-7K3QX9 --payload",
            "help --bogus",
            "holds --plain",
            "inbox --payload",
            "end",
            "end a b",
            "end a --user b",
            "end --user",
            "end --user --json",
            "end --user a --user b",
            "end --target a",
            "lock",
            "lock a",
            "lock --user a --target b",
            "unlock --user a --reason b",
            "locks --user a",
            "help --reason x",
            "audit x",
            "audit --since",
            "leases --since 2h",
            "$(id)",
            "../recording x",
        ] {
            assert!(
                Command::parse(line.as_bytes(), MAX_LINE).is_err(),
                "{line:?}"
            );
        }
        assert_eq!(Command::parse(b"\xff", MAX_LINE), Err(Usage::NotText));
        for longest in [MAX_LINE, 256] {
            let mut line = b"help".to_vec();
            line.resize(longest, b' ');
            assert!(Command::parse(&line, longest).is_ok());
            line.push(b' ');
            let long = Command::parse(&line, longest).unwrap_err();
            assert_eq!(
                long.to_string(),
                format!("the line is longer than {longest} bytes")
            );
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let parsed = Command::parse(&line, MAX_LINE);
            prop_assert!(line.len() <= MAX_LINE || parsed.is_err());
        }
    }
}
