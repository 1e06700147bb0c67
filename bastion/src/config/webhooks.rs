//! `[notify]` and `[[webhook]]`: who is told what waits and what was decided, and for how long it is
//! tried. Opens no file that they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::section::{Field, Section};
use super::{DAY, HOUR, SECOND, duration_or};
use crate::notify::{Format, Kind, Template, Wants};

/// `[notify]`: how messages are sent, to every webhook.
#[derive(Clone, Debug)]
pub struct Notify {
    /// One attempt, from its beginning to the status of the answer.
    pub timeout: Duration,
    /// The pause after the first attempt; each further one is twice as long.
    pub retry: Duration,
    /// No pause is longer.
    pub retry_longest: Duration,
    /// How long a message is tried.
    pub give_up_after: Duration,
    /// Messages that wait for one webhook; beyond them the oldest is given up.
    pub queue: usize,
}

/// `[[webhook]]`: one address that is told.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// What it is called in logs: letters, digits, `-` and `_`.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// File with the secret that its messages are signed with.
    pub secret_file: Option<PathBuf>,
    /// PEM file with the CA of its certificate, in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// What it hears.
    pub wants: Wants,
    /// What a body looks like.
    pub format: Format,
}

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At this URL.
    Url(Url),
    /// At the URL in this file: chat services make the URL itself a secret.
    File(PathBuf),
}

impl Notify {
    pub(super) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let least = Duration::from_millis(10);
        let timeout = duration_or(&mut section, "timeout", 10, 10 * least, 60);
        let retry = duration_or(&mut section, "retry", 5, least, HOUR);
        let retry_longest = duration_or(&mut section, "retry_longest", HOUR, least, DAY);
        let give_up_after = duration_or(&mut section, "give_up_after", DAY, SECOND, 30 * DAY);
        let queue = match section.take("queue") {
            Some(field) => field.count(1..=1_000_000),
            None => Some(10_000),
        };
        if let (Some(retry), Some(longest)) = (retry, retry_longest)
            && longest < retry
        {
            section.source().problem_with_hint(
                section.start(),
                "`notify.retry_longest` is shorter than `notify.retry`",
                "raise it, or lower notify.retry",
            );
        }
        section.finish();
        Some(Self {
            timeout: timeout?,
            retry: retry?,
            retry_longest: retry_longest?,
            give_up_after: give_up_after?,
            queue: queue?,
        })
    }
}

/// The webhooks, each with a name of its own.
pub(super) fn read(field: Field<'_, '_>, base: &Path) -> Option<Vec<Webhook>> {
    let (at, source) = (field.at(), field.source());
    let mut names = BTreeSet::new();
    let mut hooks = Vec::new();
    let mut fine = true;
    for section in field.sections()? {
        let place = section.place_of("name");
        match Webhook::read(section, base) {
            Some(hook) if !names.insert(hook.name.clone()) => {
                let message = format!("two webhooks are called \"{}\"", hook.name);
                source.problem_with_hint(place, message, "give each a `name` of its own");
                fine = false;
            }
            Some(hook) => hooks.push(hook),
            None => fine = false,
        }
    }
    if hooks.len() > WEBHOOKS_MAX {
        source.problem_with_hint(
            at,
            format!("there are more than {WEBHOOKS_MAX} webhooks"),
            "let one receiver pass messages on",
        );
        fine = false;
    }
    fine.then_some(hooks)
}

impl Webhook {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let name = section.required("name").and_then(read_name);
        let address = read_address(&mut section, base);
        let secret_file = section.take("secret_file").map(|field| field.path(base));
        let ca_file = section.take("ca_file").map(|field| field.path(base));
        let events = section.take("events").map(read_events);
        let mut names = |key| {
            let Some(field) = section.take(key) else {
                return Some(BTreeSet::new());
            };
            if field.is_empty_list() {
                field.problem_with_hint("is empty", EMPTY);
                return None;
            }
            Some(field.strings()?.into_iter().collect())
        };
        let (approvers, targets, channels) =
            (names("approvers"), names("targets"), names("channels"));
        let format = read_format(&mut section);
        if format == Some(Format::Json) && secret_file.is_none() {
            section.source().problem_with_hint(
                section.start(),
                "the key `secret_file` is missing: nobody could tell these messages from others",
                "echo whsec_$(head -c 32 /dev/urandom | base64) > FILE; chmod 600 FILE; give it to the receiver too",
            );
        }
        section.finish();
        Some(Self {
            name: name?,
            address: address?,
            secret_file: match secret_file {
                Some(path) => Some(path?),
                None => None,
            },
            ca_file: match ca_file {
                Some(path) => Some(path?),
                None => None,
            },
            wants: Wants {
                events: events.unwrap_or_else(|| Some(BTreeSet::new()))?,
                approvers: approvers?,
                targets: targets?,
                channels: channels?,
            },
            format: format?,
        })
    }
}

fn read_name(field: Field<'_, '_>) -> Option<String> {
    let (at, source) = (field.at(), field.source());
    let name = field.text()?;
    let fine = name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !fine {
        source.problem_with_hint(
            at,
            "the `name` of a webhook is no name",
            "letters, digits, `-` and `_`, at most 64",
        );
        return None;
    }
    Some(name)
}

fn read_address(section: &mut Section<'_, '_>, base: &Path) -> Option<Address> {
    match (section.take("url"), section.take("url_file")) {
        (Some(field), None) => {
            let (at, source) = (field.at(), field.source());
            match web_address(&field.text()?) {
                Ok(url) => Some(Address::Url(url)),
                Err(wrong) => {
                    source.problem_with_hint(
                        at,
                        format!("the `url` of a webhook {wrong}"),
                        "https://…, or http:// on this machine",
                    );
                    None
                }
            }
        }
        (None, Some(field)) => field.path(base).map(Address::File),
        (Some(_), Some(field)) => {
            field.problem_with_hint("is given beside `url`", "leave one of them out");
            None
        }
        (None, None) => {
            section.source().problem_with_hint(
                section.start(),
                "the key `url` is missing",
                "or `url_file`, a file with the address, where the address is a secret",
            );
            None
        }
    }
}

/// An address that messages may go to: https, or http on loopback, where nobody can listen; without
/// a user or a password in it. The error says what is wrong with it, and not what it is.
pub(crate) fn web_address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("has no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err("is http, which anybody on the way can read and change"),
        _ => return Err("is not an https URL"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in it");
    }
    Ok(url)
}

fn read_events(field: Field<'_, '_>) -> Option<BTreeSet<Kind>> {
    let mut kinds = BTreeSet::new();
    if field.is_empty_list() {
        field.problem_with_hint("is empty", EMPTY);
        return None;
    }
    for item in field.list()? {
        kinds.insert(item.word(&Kind::NAMES)?);
    }
    Some(kinds)
}

fn read_format(section: &mut Section<'_, '_>) -> Option<Format> {
    match (section.take("format"), section.take("template")) {
        (None, None) => Some(Format::Json),
        (Some(field), None) => {
            type Make = fn() -> Format;
            let (json, slack, discord): (Make, Make, Make) =
                (|| Format::Json, Format::slack, Format::discord);
            let words = [("json", json), ("slack", slack), ("discord", discord)];
            field.word(&words).map(|make| make())
        }
        (None, Some(field)) => {
            let (at, source) = (field.at(), field.source());
            match Template::parse(&field.text()?) {
                Ok(template) => Some(Format::Template(template)),
                Err((wrong, hint)) => {
                    let message = format!("the `template` of a webhook {wrong}");
                    source.problem_with_hint(at, message, hint);
                    None
                }
            }
        }
        (Some(_), Some(field)) => {
            field.problem_with_hint("is given beside `format`", "leave one of them out");
            None
        }
    }
}

/// An empty list looks as if it kept everything back, where one that is left out keeps nothing.
const EMPTY: &str = "leave it out to be told of everything";
const WEBHOOKS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let least = "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"bastion\"\n";
        let text = format!("{text}\n{least}");
        let path = Path::new("/etc/bastion/bastion.toml");
        Config::parse(path, &text).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_webhook_is_read_with_what_it_wants() {
        let config = parse(
            "[[webhook]]\nname = \"approvals\"\nurl = \"https://hooks.example.com/x?y=z\"\n\
             secret_file = \"keys/approvals\"\nca_file = \"ca.pem\"\n\
             events = [\"hold.sealed\", \"request.asked\"]\napprovers = [\"a\"]\n\
             targets = [\"payroll-*\"]\n[[webhook]]\nname = \"chat\"\nurl_file = \"keys/chat\"\n\
             format = \"slack\"\nchannels = [\"security\"]\n",
        )
        .unwrap();
        let [approvals, chat] = config.webhooks.as_slice() else {
            panic!("two webhooks");
        };
        assert_eq!(
            approvals.secret_file.as_deref(),
            Some(Path::new("/etc/bastion/keys/approvals"))
        );
        assert!(approvals.ca_file.is_some() && approvals.format == Format::Json);
        assert_eq!(
            approvals.wants.events,
            [Kind::HoldSealed, Kind::RequestAsked].into()
        );
        assert_eq!(chat.address, Address::File("/etc/bastion/keys/chat".into()));
        assert_eq!(chat.format, Format::slack());
        assert!(chat.wants.events.is_empty() && chat.secret_file.is_none());
        assert_eq!(chat.wants.channels, ["security".to_owned()].into());
    }

    #[test]
    fn mistakes_have_a_hint() {
        let hook = |lines: &str| format!("[[webhook]]\nname = \"x\"\nsecret_file = \"s\"\n{lines}");
        let url = "url = \"https://h\"\n";
        for (text, wanted) in [
            (hook(""), "the key `url` is missing (or `url_file`"),
            (
                hook("url = \"http://hooks.example.com\""),
                "4:7: the `url` of a webhook is http, which anybody on the way can read",
            ),
            (
                hook("url = \"https://a:b@h\""),
                "has a user name or password in it",
            ),
            (hook("url = \"h\""), "is not a URL (https://"),
            (
                hook(&format!("{url}url_file = \"u\"")),
                "`webhook[0].url_file` is given beside `url`",
            ),
            (
                hook(&format!("{url}events = [\"hold.seald\"]")),
                "`webhook[0].events[0]` is \"hold.seald\" (it may be \"hold.sealed\"",
            ),
            (
                hook(&format!("{url}events = []")),
                "`webhook[0].events` is empty (leave it out to be told of everything",
            ),
            (
                hook(&format!("{url}format = \"teams\"")),
                "is \"teams\" (it may be \"json\", \"slack\", \"discord\")",
            ),
            (
                hook(&format!("{url}template = '{{\"text\": \"{{txet}}\"}}'")),
                "has the unknown name {txet} (did you mean {text}?)",
            ),
            (
                hook(&format!(
                    "{url}template = '{{\"text\": \"{{text}}\"}}'\nformat = \"json\""
                )),
                "`webhook[0].template` is given beside `format`",
            ),
            (
                hook(&format!("{url}secret = \"x\"")),
                "unknown key `webhook[0].secret`",
            ),
            (
                hook(&format!(
                    "{url}\n[[webhook]]\nname = \"x\"\nformat = \"slack\"\n{url}"
                )),
                "two webhooks are called \"x\" (give each a `name` of its own)",
            ),
            (
                format!("[[webhook]]\nname = \"x y\"\nsecret_file = \"s\"\n{url}"),
                "the `name` of a webhook is no name",
            ),
            (
                format!("[[webhook]]\nname = \"x\"\n{url}"),
                "`secret_file` is missing: nobody could tell these messages from others (echo whsec_",
            ),
            (
                "[notify]\nretry = \"2h\"".to_owned(),
                "`notify.retry` is \"2h\", which is not in 10ms to 1h",
            ),
            (
                "[notify]\nretry_longest = \"1s\"".to_owned(),
                "`notify.retry_longest` is shorter than `notify.retry`",
            ),
        ] {
            let found = parse(&text).unwrap_err();
            assert!(found.contains(wanted), "{text}\ngave\n{found}");
        }
    }

    #[test]
    fn an_address_is_https_or_on_this_machine() {
        for (text, fine) in [
            ("https://hooks.example.com/services/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://[::1]/x", true),
            ("http://localhost/x", true),
            ("http://localhost.example.com/x", false),
            ("http://10.0.0.1/x", false),
            ("ftp://h/x", false),
            ("file:///etc/passwd", false),
            ("https://user@h/x", false),
        ] {
            assert_eq!(web_address(text).is_ok(), fine, "{text}");
        }
    }
}
