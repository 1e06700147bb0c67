//! `[audit]`: where the audit log is forwarded to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::section::{Field, Section};
use super::{DAY, MINUTE, path_or};
use crate::audit::Form;

/// `[audit]`: where `bastion audit forward` reads, what it keeps, and where it sends events.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Folder in which it keeps how far each sink is.
    pub dir: PathBuf,
    /// The socket at which a recorder of its own shows the audit log; without it the file beside the
    /// recordings is read.
    pub socket: Option<PathBuf>,
    /// Where events go.
    pub sinks: Vec<Sink>,
}

/// `[[audit.sink]]`: one receiver of the audit log.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name in files, messages and metrics: `[a-z0-9-]`, 32 at most.
    pub name: String,
    /// Who receives.
    pub to: Receiver,
    /// How events look.
    pub form: Form,
    /// What it means that the receiver has not got them.
    pub guarantee: Guarantee,
}

/// Who receives events.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// Syslog over TCP (RFC 6587, octets counted), or over TLS (RFC 5425).
    Syslog {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// None only towards this machine itself.
        tls: Option<Trust>,
        /// What of the receiver's counts as an acknowledgement.
        acknowledged: Acknowledged,
    },
    /// Lines in the bodies of HTTP requests, signed as Standard Webhooks has it.
    Webhook {
        /// https, or http to this machine itself.
        url: Url,
        /// File with the secret that signs, a line `whsec_BASE64`; a second while it is replaced.
        secret_file: PathBuf,
        /// Whom to believe there.
        trust: Trust,
    },
}

/// How a syslog receiver, which has no acknowledgement, is known to have read everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It has ended the connection after ours was ended.
    ByEnd,
    /// It has said so within TLS (`close_notify`, RFC 5425, section 4.4): nobody on the way can say
    /// it in its name, nor does the system of a receiver that was killed.
    ByCloseNotify,
}

/// Whom the forwarder believes to be the receiver, and how it shows who it is.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM file with the authorities of the receiver's certificate, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of our certificate, with those that it needs, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What it means that a sink has not got the events that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// They wait for it.
    BestEffort,
    /// They wait for it, and no session begins while it is further behind than this.
    Enforced {
        /// How long ago it last had everything.
        max_lag: Duration,
        /// How many events it lacks.
        max_events: u64,
    },
}

impl Forward {
    pub(super) fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let dir = path_or(&mut section, "dir", base, "forward");
        let socket = section.take("socket").map(|field| field.path(base));
        let sinks = match section.take("sink") {
            Some(field) => read_sinks(field, base),
            None => Some(Vec::new()),
        };
        section.finish();
        Some(Self {
            dir: dir?,
            socket: match socket {
                Some(path) => Some(path?),
                None => None,
            },
            sinks: sinks?,
        })
    }
}

fn read_sinks(field: Field<'_, '_>, base: &Path) -> Option<Vec<Sink>> {
    let (at, source) = (field.at(), field.source());
    let mut sinks: Vec<Sink> = Vec::new();
    let mut fine = true;
    for section in field.sections()? {
        let place = section.place_of("name");
        let Some(sink) = Sink::read(section, base) else {
            fine = false;
            continue;
        };
        if sinks.iter().any(|other| other.name == sink.name) {
            source.problem(
                place,
                format!("there are two sinks named \"{}\"", sink.name),
            );
            fine = false;
        }
        sinks.push(sink);
    }
    if sinks.len() > SINKS_MAX {
        source.problem(at, format!("there are more than {SINKS_MAX} sinks"));
        fine = false;
    }
    fine.then_some(sinks)
}

impl Sink {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let name = section.required("name").and_then(read_name);
        let to = read_receiver(&mut section, base);
        let form = match section.take("format") {
            Some(field) => field.word(&FORMS),
            None => Some(Form::Ocsf),
        };
        let guarantee = read_guarantee(&mut section);
        section.finish();
        Some(Self {
            name: name?,
            to: to?,
            form: form?,
            guarantee: guarantee?,
        })
    }
}

/// It is part of file names and a label of metrics.
fn read_name(field: Field<'_, '_>) -> Option<String> {
    let (at, source) = (field.at(), field.source());
    let name = field.text()?;
    let fine = name.len() <= 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fine {
        source.problem_with_hint(
            at,
            "a sink's name is part of file names",
            "small letters, digits and `-`, at most 32",
        );
        return None;
    }
    Some(name)
}

fn read_receiver(section: &mut Section<'_, '_>, base: &Path) -> Option<Receiver> {
    let (place, source) = (section.start(), section.source());
    let secret_file = section.take("secret_file");
    let acknowledge = section.take("acknowledge");
    let (trust, trusts) = read_trust(section, base)?;
    match (section.take("syslog"), section.take("webhook")) {
        (Some(syslog), None) => {
            if let Some(field) = secret_file {
                field.problem("signs webhooks only");
                return None;
            }
            let (host, port, tls) = read_syslog(syslog)?;
            if trusts && !tls {
                source.problem(place, "certificates are for tls:// only");
                return None;
            }
            let acknowledged = match acknowledge {
                Some(field) if !tls => {
                    field.problem("is for tls:// only");
                    return None;
                }
                Some(field) => field.word(&ACKNOWLEDGED)?,
                None => Acknowledged::ByEnd,
            };
            let tls = tls.then_some(trust);
            Some(Receiver::Syslog {
                host,
                port,
                tls,
                acknowledged,
            })
        }
        (None, Some(webhook)) => {
            if let Some(field) = acknowledge {
                field.problem("is for syslog only: a webhook answers");
                return None;
            }
            let url = read_webhook(webhook)?;
            if trusts && url.scheme() == "http" {
                source.problem(place, "certificates are for https:// only");
                return None;
            }
            let Some(secret_file) = secret_file else {
                let hint = "a file with a line whsec_BASE64, mode 0600; nothing is sent unsigned";
                source.problem_with_hint(place, "the sink's key `secret_file` is missing", hint);
                return None;
            };
            let secret_file = secret_file.path(base)?;
            Some(Receiver::Webhook {
                url,
                secret_file,
                trust,
            })
        }
        (Some(_), Some(_)) => {
            source.problem(place, "a sink has either `syslog` or `webhook`");
            None
        }
        (None, None) => {
            source.problem(place, "the sink has neither `syslog` nor `webhook`");
            None
        }
    }
}

/// What is said of certificates, and whether anything is.
fn read_trust(section: &mut Section<'_, '_>, base: &Path) -> Option<(Trust, bool)> {
    let ca_file = section.take("ca_file").map(|field| field.path(base));
    let client_cert = section.take("client_cert").map(|field| field.path(base));
    let client_key = section.take("client_key").map(|field| field.path(base));
    let client = match (client_cert, client_key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert?, key?)),
        _ => {
            let place = section.start();
            let message = "client_cert and client_key go together";
            section.source().problem(place, message);
            return None;
        }
    };
    let ca_file = match ca_file {
        Some(path) => Some(path?),
        None => None,
    };
    let said = ca_file.is_some() || client.is_some();
    Some((Trust { ca_file, client }, said))
}

/// https, or http to this machine itself.
fn read_webhook(field: Field<'_, '_>) -> Option<Url> {
    let (at, source) = (field.at(), field.source());
    let wrong = |what: &str| {
        let hint = "such as \"https://siem.example.com/bastion\"";
        source.problem_with_hint(at, format!("`webhook` {what}"), hint);
        None
    };
    let Ok(url) = Url::parse(&field.text()?) else {
        return wrong("is no URL");
    };
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            wrong("has a user name or password in it")
        }
        "https" => Some(url),
        "http" if is_loopback(host.trim_matches(['[', ']'])) => Some(url),
        "http" => wrong("is not encrypted, which is for this machine itself only"),
        _ => wrong("is neither https:// nor http://"),
    }
}

/// `tls://HOST[:PORT]`, or `tcp://` to this machine itself: the host, the port, and whether it is TLS.
fn read_syslog(field: Field<'_, '_>) -> Option<(String, u16, bool)> {
    let (at, source) = (field.at(), field.source());
    let wrong = |what: &str| {
        let hint = "such as \"tls://siem.example.com:6514\"";
        source.problem_with_hint(at, format!("`syslog` {what}"), hint);
        None
    };
    let Ok(url) = Url::parse(&field.text()?) else {
        return wrong("is no URL");
    };
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return wrong("names no host");
    };
    let plain = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !plain {
        return wrong("is more than a host and a port");
    }
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    match url.scheme() {
        // RFC 5425, section 4.1.
        "tls" => Some((host, url.port().unwrap_or(6514), true)),
        "tcp" if is_loopback(&host) => Some((host, url.port().unwrap_or(601), false)),
        "tcp" => wrong("is not encrypted, which is for this machine itself only"),
        _ => wrong("is neither tls:// nor tcp://"),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn read_guarantee(section: &mut Section<'_, '_>) -> Option<Guarantee> {
    let enforced = match section.take("guarantee") {
        Some(field) => field.word(&[("best-effort", false), ("enforced", true)]),
        None => Some(false),
    };
    let max_lag = section.take("max_lag");
    let max_events = section.take("max_events");
    if enforced == Some(false) {
        for field in [&max_lag, &max_events].into_iter().flatten() {
            field.problem("is for guarantee = \"enforced\" only");
        }
        return (max_lag.is_none() && max_events.is_none()).then_some(Guarantee::BestEffort);
    }
    let max_lag = match max_lag {
        Some(field) => field.duration(LAG_LEAST..=Duration::from_secs(7 * DAY)),
        None => Some(Duration::from_secs(5 * MINUTE)),
    };
    let max_events = match max_events {
        Some(field) => field.integer(1..=1_000_000_000),
        None => Some(10_000),
    };
    enforced?;
    Some(Guarantee::Enforced {
        max_lag: max_lag?,
        max_events: max_events?,
    })
}

const FORMS: [(&str, Form); 3] = [
    ("ocsf", Form::Ocsf),
    ("json", Form::Json),
    ("cef", Form::Cef),
];
const ACKNOWLEDGED: [(&str, Acknowledged); 2] = [
    ("end", Acknowledged::ByEnd),
    ("close-notify", Acknowledged::ByCloseNotify),
];
/// Each reads the log for itself.
const SINKS_MAX: usize = 8;
/// The forwarder says every few seconds how far it is.
const LAG_LEAST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::super::Config;
    use super::*;

    fn parse(sink: &str) -> Result<Config, String> {
        let text = format!(
            "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"bastion\"\n[[audit.sink]]\n{sink}\n"
        );
        Config::parse(Path::new("/etc/bastion/bastion.toml"), &text)
            .map_err(|problems| problems.to_string())
    }

    fn receiver(sink: &str) -> Receiver {
        let mut sinks = parse(sink).unwrap().forward.sinks;
        sinks.remove(0).to
    }

    #[test]
    fn syslog_is_a_host_and_a_port() {
        for (url, wanted) in [
            ("tls://siem.example.com", ("siem.example.com", 6514, true)),
            (
                "tls://siem.example.com:7000/",
                ("siem.example.com", 7000, true),
            ),
            ("tls://[2001:db8::1]:7000", ("2001:db8::1", 7000, true)),
            ("tcp://127.0.0.1:601", ("127.0.0.1", 601, false)),
            ("tcp://localhost", ("localhost", 601, false)),
            ("tcp://[::1]:1", ("::1", 1, false)),
        ] {
            let receiver = receiver(&format!("name = \"siem\"\nsyslog = \"{url}\""));
            let Receiver::Syslog {
                host, port, tls, ..
            } = receiver
            else {
                panic!("{receiver:?}");
            };
            assert_eq!((host.as_str(), port, tls.is_some()), wanted, "{url}");
        }
    }

    #[test]
    fn what_would_not_arrive_safely_is_refused() {
        for (sink, wanted) in [
            ("name = \"siem\"", "neither `syslog` nor `webhook`"),
            ("syslog = \"tls://x\"", "sink[0].name` is missing"),
            (
                "name = \"Siem/..\"\nsyslog = \"tls://x\"",
                "part of file names",
            ),
            (
                "name = \"s\"\nsyslog = \"tcp://192.0.2.1\"",
                "not encrypted",
            ),
            (
                "name = \"s\"\nsyslog = \"udp://192.0.2.1\"",
                "neither tls:// nor tcp://",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://u@x\"",
                "more than a host and a port",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x/y\"",
                "more than a host and a port",
            ),
            ("name = \"s\"\nsyslog = \"x\"", "is no URL"),
            (
                "name = \"s\"\nsyslog = \"tcp://127.0.0.1\"\nacknowledge = \"end\"",
                "`audit.sink[0].acknowledge` is for tls:// only",
            ),
            (
                "name = \"s\"\nwebhook = \"https://x\"\nsecret_file = \"s\"\nacknowledge = \"end\"",
                "is for syslog only: a webhook answers",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nacknowledge = \"never\"",
                "it may be \"end\", \"close-notify\"",
            ),
            (
                "name = \"s\"\nsyslog = \"tcp://127.0.0.1\"\nca_file = \"c\"",
                "for tls:// only",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nwebhook = \"https://x\"\nsecret_file = \"s\"",
                "either `syslog` or `webhook`",
            ),
            (
                "name = \"s\"\nwebhook = \"https://x\"",
                "`secret_file` is missing",
            ),
            (
                "name = \"s\"\nwebhook = \"http://192.0.2.1/\"\nsecret_file = \"s\"",
                "not encrypted",
            ),
            (
                "name = \"s\"\nwebhook = \"https://u:p@x\"\nsecret_file = \"s\"",
                "a user name or password",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nsecret_file = \"s\"",
                "signs webhooks only",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nclient_key = \"c\"",
                "go together",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nmax_lag = \"1m\"",
                "\"enforced\" only",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nguarantee = \"enforced\"\nmax_lag = \"9s\"",
                "max_lag",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\nformat = \"leef\"",
                "leef",
            ),
            (
                "name = \"s\"\nsyslog = \"tls://x\"\n[[audit.sink]]\nname = \"s\"\nsyslog = \"tls://y\"",
                "two sinks named \"s\"",
            ),
        ] {
            let found = parse(sink).unwrap_err();
            assert!(found.contains(wanted), "{sink}\n{found}");
        }
    }

    #[test]
    fn a_guarantee_has_its_bounds() {
        let of = |more: &str| {
            let sink = format!("name = \"s\"\nsyslog = \"tls://x\"\n{more}");
            parse(&sink).unwrap().forward.sinks.remove(0).guarantee
        };
        assert_eq!(of(""), Guarantee::BestEffort);
        let enforced = |seconds, max_events| Guarantee::Enforced {
            max_lag: Duration::from_secs(seconds),
            max_events,
        };
        assert_eq!(of("guarantee = \"enforced\""), enforced(300, 10_000));
        assert_eq!(
            of("guarantee = \"enforced\"\nmax_lag = \"10s\"\nmax_events = 1"),
            enforced(10, 1)
        );
    }
}
