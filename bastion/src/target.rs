//! The machines behind the bastion: who they are, and with what one logs in there.
//!
//! Owns the inventory, host keys, credentials and the user CA. A credential leaves only with a
//! `Grant`; a name is never enough.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::access::Grant;
use crate::config::section::{Field, Section, Source};
use crate::config::{Problem, Problems, read_text};
use crate::record::Bulk;
use crate::ssh::keys::{PrivateKey, PublicKey};

pub use self::host_ca::HostCa;
pub use self::host_keys::{HostKeyError, HostKeys};
pub(crate) use self::secret::weakness;
pub use self::secret::{Secret, SecretError, read_private_key};
pub(crate) use self::sketch::Sketch;
pub use self::user_ca::{MintError, UserCa};

mod host_ca;
mod host_keys;
mod secret;
mod sketch;
mod user_ca;

/// All targets, by name.
#[derive(Debug, Default)]
pub struct Inventory {
    targets: BTreeMap<String, Arc<Target>>,
}

impl Inventory {
    /// Reads `targets.toml`, and the keys and passwords that it names.
    ///
    /// `user_ca` is the authority of the configuration: without one, a login by certificate is a
    /// mistake.
    ///
    /// # Errors
    ///
    /// Every mistake in the file and in the files that it names.
    pub fn load(path: &Path, user_ca: Option<&UserCa>) -> Result<Self, Problems> {
        let text = read_text(path, FILE_MAX).map_err(|error| {
            Problem::of_file(path, error.to_string())
                .hint("add a first target with: bastion target add NAME ADDRESS")
        })?;
        Self::parse(path, &text, user_ca)
    }

    /// The same for the text of the file `path`.
    ///
    /// # Errors
    ///
    /// As for `load`.
    pub fn parse(path: &Path, text: &str, user_ca: Option<&UserCa>) -> Result<Self, Problems> {
        let base =
            std::path::absolute(path).map_err(|error| Problem::of_file(path, error.to_string()))?;
        let base = base.parent().unwrap_or(Path::new("/"));
        let source = Source::new(path, text);
        let mut inventory = Self::default();
        let mut root = source.root();
        for section in root
            .take("target")
            .and_then(Field::sections)
            .unwrap_or_default()
        {
            let at = section.start();
            let Some(target) = Target::read(section, base, user_ca) else {
                continue;
            };
            let name = target.name.clone();
            if inventory
                .targets
                .insert(name.clone(), Arc::new(target))
                .is_some()
            {
                source.problem_with_hint(
                    at,
                    format!("the target \"{name}\" is defined a second time"),
                    "give it another name, or take one of them away",
                );
            }
        }
        root.finish();
        source.finish(Some(inventory))
    }

    /// The target of that name, which is compared exactly.
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.get(name)
    }

    /// All targets, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.values()
    }

    /// The number of targets.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

/// One machine.
#[derive(Debug)]
pub struct Target {
    name: String,
    address: Address,
    host_keys: HostKeys,
    labels: Vec<String>,
    bulk: Bulk,
    logins: Vec<Login>,
}

impl Target {
    /// The name that users type.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is reached.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What identifies it.
    pub fn host_keys(&self) -> &HostKeys {
        &self.host_keys
    }

    /// Words that policies know it by.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What is recorded of its channels without a terminal.
    pub fn bulk(&self) -> Bulk {
        self.bulk
    }

    /// The accounts on it.
    pub fn logins(&self) -> &[Login] {
        &self.logins
    }

    /// The account of that name, which is compared exactly.
    pub fn login(&self, name: &str) -> Option<&Login> {
        self.logins.iter().find(|login| login.name == name)
    }

    fn read(mut section: Section<'_, '_>, base: &Path, user_ca: Option<&UserCa>) -> Option<Self> {
        let at = section.start();
        let source = section.source();
        let name = section
            .required("name")
            .and_then(|field| read_name(field, TARGET_NAME_MAX));
        let address = section.required("address").and_then(|field| {
            field.parsed::<Address>(
                "an address such as \"10.0.0.7:22\", \"db.internal\" or \"[::1]:22\"",
            )
        });
        let pinned = read_public_keys(section.take("host_keys"));
        let authorities = read_public_keys(section.take("host_ca"));
        if let (Some(pinned), Some(authorities)) = (&pinned, &authorities)
            && pinned.is_empty()
            && authorities.is_empty()
        {
            source.problem_with_hint(
                at,
                format!(
                    "the target \"{}\" has no host key",
                    name.as_deref().unwrap_or_default()
                ),
                "pin what `bastion target probe ADDRESS` shows as host_keys, or name a host_ca",
            );
        }
        let labels = match section.take("labels") {
            Some(field) => field.strings(),
            None => Some(Vec::new()),
        };
        let bulk = match section.take("recording") {
            Some(field) => field.word(&[("full", Bulk::Full), ("ends", Bulk::Ends)]),
            None => Some(Bulk::Full),
        };
        let logins = match section.required("login") {
            Some(field) => field
                .sections()
                .and_then(|logins| read_logins(logins, base, user_ca)),
            None => None,
        };
        section.finish();
        Some(Self {
            name: name?,
            address: address?,
            host_keys: HostKeys::new(pinned?, authorities?),
            labels: labels?,
            bulk: bulk?,
            logins: logins?,
        })
    }
}

/// One account on a target, and with what one logs in to it.
#[derive(Debug)]
pub struct Login {
    name: String,
    /// Private to this room: it leaves only by `Grant::credential`.
    credential: Credential,
}

impl Login {
    /// The name of the account.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How one logs in, in a word: `key`, `password` or `certificate`.
    pub fn method(&self) -> &'static str {
        match self.credential {
            Credential::Key(_) => "key",
            Credential::Password(_) => "password",
            Credential::Certificate => "certificate",
        }
    }

    fn read(mut section: Section<'_, '_>, base: &Path, user_ca: Option<&UserCa>) -> Option<Self> {
        let (at, source) = (section.start(), section.source());
        let name = section
            .required("name")
            .and_then(|field| read_name(field, LOGIN_NAME_MAX));
        let key = section.take("key");
        let password = section.take("password_file");
        let certificate = section.take("certificate");
        section.finish();
        let credential = match (key, password, certificate) {
            (Some(field), None, None) => read_key(field, base),
            (None, Some(field), None) => read_password(field, base),
            (None, None, Some(field)) => read_certificate(field, user_ca),
            (None, None, None) => {
                let message = format!(
                    "the login \"{}\" has no credential",
                    name.as_deref().unwrap_or_default()
                );
                source.problem_with_hint(
                    at,
                    message,
                    "give it one of key, password_file or certificate = true",
                );
                None
            }
            _ => {
                source.problem_with_hint(
                    at,
                    "a login has exactly one of key, password_file and certificate",
                    "leave out the others",
                );
                None
            }
        };
        Some(Self {
            name: name?,
            credential: credential?,
        })
    }
}

/// With what one logs in to a target. Users never see it.
pub enum Credential {
    /// A private key.
    Key(Arc<PrivateKey>),
    /// A password, also for prompts of keyboard-interactive.
    Password(Secret),
    /// A certificate that the user CA makes for each connection.
    Certificate,
}

/// Names the kind, never the content.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Password(_) => "Password",
            Self::Certificate => "Certificate",
        })
    }
}

impl Grant {
    /// With what one logs in where this grant leads, and nowhere else.
    pub fn credential(&self) -> &Credential {
        &self.login().credential
    }
}

/// Where a target is reached: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; the port is 22 unless given.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(AddressError)?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| AddressError)?;
                (
                    host,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').ok_or(AddressError)?)
                    },
                )
            }
            None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let fine = host.parse::<IpAddr>().is_ok()
            || (!host.is_empty()
                && host.len() <= 253
                && !host.starts_with('-')
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)));
        let port = match port {
            None => Some(22),
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0)
            }
            Some(_) => None,
        };
        match port {
            Some(port) if fine => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(AddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Not an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is HOST, HOST:PORT or [IPV6]:PORT")]
pub struct AddressError;

/// One public key of the inventory, as `ssh-keyscan` prints it without the host.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn parse_public_key(line: &str) -> Result<PublicKey, &'static str> {
    let key = PublicKey::from_openssh(line.trim())
        .map_err(|_| "is not a public key such as \"ssh-ed25519 AAAA...\"")?;
    match weakness(&key) {
        Some(what) => Err(what),
        None => Ok(key),
    }
}

/// Whether `name` can be a target's or a login's name (limits.md).
pub(crate) fn is_name(name: &str, max: usize) -> bool {
    name.len() <= max
        && name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn read_name(field: Field<'_, '_>, max: usize) -> Option<String> {
    let (at, source) = (field.at(), field.source());
    let name = field.string()?;
    if is_name(&name, max) {
        return Some(name);
    }
    source.problem_with_hint(
        at,
        format!("\"{name}\" cannot be a name"),
        format!("letters, digits, `_`, `.` and `-`, not first `.` or `-`, at most {max}"),
    );
    None
}

fn read_public_keys(field: Option<Field<'_, '_>>) -> Option<Vec<PublicKey>> {
    let Some(field) = field else {
        return Some(Vec::new());
    };
    let source = field.source();
    let mut keys = Vec::new();
    let mut fine = true;
    for placed in field.placed_strings()? {
        match parse_public_key(&placed.value) {
            Ok(key) => keys.push(key),
            Err(what) => {
                source.problem_with_hint(
                    placed.at,
                    format!("this host key cannot be used: {what}"),
                    "write the target's line of ssh-keyscan without its name: ssh-ed25519 AAAA...",
                );
                fine = false;
            }
        }
    }
    fine.then_some(keys)
}

fn read_logins(
    sections: Vec<Section<'_, '_>>,
    base: &Path,
    user_ca: Option<&UserCa>,
) -> Option<Vec<Login>> {
    let mut logins: Vec<Login> = Vec::new();
    let mut fine = true;
    for section in sections {
        let (at, source) = (section.start(), section.source());
        match Login::read(section, base, user_ca) {
            Some(login) if logins.iter().any(|known| known.name == login.name) => {
                source.problem_with_hint(
                    at,
                    format!("the login \"{}\" is defined a second time", login.name),
                    "take one of them away",
                );
                fine = false;
            }
            Some(login) => logins.push(login),
            None => fine = false,
        }
    }
    fine.then_some(logins)
}

fn read_key(field: Field<'_, '_>, base: &Path) -> Option<Credential> {
    let (at, source) = (field.at(), field.source());
    match read_private_key(&field.path(base)?) {
        Ok(key) => Some(Credential::Key(Arc::new(key))),
        Err(error) => {
            source.problem(at, error.to_string());
            None
        }
    }
}

fn read_password(field: Field<'_, '_>, base: &Path) -> Option<Credential> {
    let (at, source) = (field.at(), field.source());
    match Secret::read(&field.path(base)?) {
        Ok(secret) => Some(Credential::Password(secret)),
        Err(error) => {
            source.problem(at, error.to_string());
            None
        }
    }
}

fn read_certificate(field: Field<'_, '_>, user_ca: Option<&UserCa>) -> Option<Credential> {
    let (at, source) = (field.at(), field.source());
    match (field.bool()?, user_ca) {
        (true, Some(_)) => Some(Credential::Certificate),
        (true, None) => {
            source.problem_with_hint(
                at,
                "there is no user CA to make certificates",
                "set user_ca in the configuration",
            );
            None
        }
        (false, _) => {
            source.problem_with_hint(
                at,
                "certificate is false, which gives no credential",
                "leave it out, and name key or password_file",
            );
            None
        }
    }
}

/// The longest name of a target, in bytes.
pub(crate) const TARGET_NAME_MAX: usize = 128;

/// The longest name of a login, in bytes.
pub(crate) const LOGIN_NAME_MAX: usize = 64;

/// Room for some ten thousand targets.
const FILE_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
pub(crate) mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ssh::keys::ssh_key::LineEnding;
    use crate::ssh::keys::{Algorithm, key::safe_rng};

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    /// An inventory with one login by certificate for each `NAME: LOGIN, LABEL...`.
    pub(crate) fn inventory(targets: &[(&str, &str, &[&str])]) -> Arc<Inventory> {
        let mut text = String::new();
        for (name, login, labels) in targets {
            text.push_str(&format!(
                "[[target]]\nname = \"{name}\"\naddress = \"{name}.internal\"\nhost_keys = [\"{KEY}\"]\nlabels = {labels:?}\n\
                 [[target.login]]\nname = \"{login}\"\ncertificate = true\n"
            ));
        }
        Arc::new(
            Inventory::parse(Path::new("targets.toml"), &text, Some(&UserCa::of_a_test())).unwrap(),
        )
    }

    fn parse(text: &str) -> Result<Inventory, Problems> {
        Inventory::parse(
            Path::new("/x/targets.toml"),
            text,
            Some(&UserCa::of_a_test()),
        )
    }

    fn target(lines: &str, login: &str) -> String {
        format!(
            "[[target]]\nname = \"db\"\naddress = \"h\"\n{lines}\n[[target.login]]\nname = \"u\"\n{login}\n"
        )
    }

    fn pinned() -> String {
        format!("host_keys = [\"{KEY} a comment\"]")
    }

    #[test]
    fn a_whole_inventory_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let secret = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        secret("key", &key.to_openssh(LineEnding::LF).unwrap());
        secret("password", "canary-password\n");
        let text = format!(
            "[[target]]\nname = \"db\"\naddress = \"10.0.0.7:2200\"\nhost_keys = [\"{KEY}\"]\nhost_ca = [\"{KEY}\"]\n\
             labels = [\"prod\"]\n\
             [[target.login]]\nname = \"a\"\nkey = \"key\"\n\
             [[target.login]]\nname = \"b\"\npassword_file = \"password\"\n\
             [[target.login]]\nname = \"c\"\ncertificate = true\n"
        );
        let path = folder.path().join("targets.toml");
        fs::write(&path, text).unwrap();
        let inventory = Inventory::load(&path, Some(&UserCa::of_a_test())).unwrap();
        let target = inventory.target("db").unwrap();
        assert_eq!(
            (target.address().host(), target.address().port()),
            ("10.0.0.7", 2200)
        );
        assert_eq!(target.labels(), ["prod"]);
        assert_eq!(
            (
                target.host_keys().pinned().len(),
                target.host_keys().authorities().len()
            ),
            (1, 1)
        );
        let methods: Vec<_> = target
            .logins()
            .iter()
            .map(|login| (login.name(), login.method()))
            .collect();
        assert_eq!(
            methods,
            [("a", "key"), ("b", "password"), ("c", "certificate")]
        );
        assert!(inventory.target("DB").is_none() && target.login("A").is_none());
        assert!(!format!("{inventory:?}").contains("canary"));
    }

    #[test]
    fn what_a_target_lacks_is_said() {
        for (text, wanted) in [
            (
                target("", "certificate = true"),
                "the target \"db\" has no host key",
            ),
            (
                target("host_keys = []", "certificate = true"),
                "the target \"db\" has no host key",
            ),
            (
                target("host_keys = [\"ssh-ed25519 x\"]", "certificate = true"),
                "4:14: this host key cannot be used",
            ),
            (
                target("host_keys = [\"\"]", "certificate = true"),
                "4:14: `target[0].host_keys[0]` is empty",
            ),
            (target(&pinned(), ""), "the login \"u\" has no credential"),
            (
                target(&pinned(), "certificate = false"),
                "certificate is false",
            ),
            (
                target(&pinned(), "certificate = true\nkey = \"k\""),
                "exactly one of",
            ),
            (target(&pinned(), "key = \"k\""), "7:7: cannot read /x/k"),
            (
                target(&pinned(), "password_file = \"k\""),
                "7:17: cannot read /x/k",
            ),
            (
                target(&pinned(), "passwort = \"k\""),
                "unknown key `target[0].login[0].passwort`",
            ),
            (
                target(&format!("{}\nport = 22", pinned()), "certificate = true"),
                "unknown key `target[0].port`",
            ),
            (
                target(&pinned(), "certificate = true").replace("\"db\"", "\"-db\""),
                "\"-db\" cannot be a name",
            ),
            (
                target(&pinned(), "certificate = true").replace("\"u\"", "\"a b\""),
                "\"a b\" cannot be a name",
            ),
            (
                target(&pinned(), "certificate = true").replace("\"h\"", "\"h:0\""),
                "which is not an address",
            ),
            (
                target(&pinned(), "certificate = true").repeat(2),
                "the target \"db\" is defined a second time",
            ),
            (
                format!(
                    "{}[[target.login]]\nname = \"u\"\ncertificate = true\n",
                    target(&pinned(), "certificate = true")
                ),
                "the login \"u\" is defined a second time",
            ),
            (
                format!("[[target]]\nname = \"db\"\naddress = \"h\"\n{}", pinned()),
                "the key `target[0].login` is missing",
            ),
            (
                "[[targets]]\n".to_owned(),
                "unknown key `targets` (did you mean `target`?)",
            ),
        ] {
            let found = parse(&text).expect_err(&text).to_string();
            assert!(found.contains(wanted), "{text}\ngave\n{found}");
        }
    }

    #[test]
    fn a_certificate_needs_a_user_ca() {
        let text = target(&pinned(), "certificate = true");
        let found = Inventory::parse(Path::new("t"), &text, None)
            .unwrap_err()
            .to_string();
        assert!(
            found.contains("there is no user CA") && found.contains("set user_ca"),
            "{found}"
        );
    }

    #[test]
    fn weak_keys_and_certificates_are_no_host_keys() {
        let rsa_1024 = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDHNbvTlMYNrhCNw4k+ziIfTBdLdGdjPi9iRbPAFNAJpEDfP6jP8cnW3IGiaFHYF6mN8yz8XRCrqnu0WfSoPfbEV5bUWPSkfKf7WLyF/l0Q9KvfuOHbFFUMFjvwX7kPxHqVvqrJQmsv4FXkf7lOO6NJkYPp2NbYKsZPKqeoNeWy+w==";
        let certificate = UserCa::of_a_test()
            .mint("x", "x")
            .unwrap()
            .1
            .to_openssh()
            .unwrap();
        for line in [
            rsa_1024,
            certificate.as_str(),
            "",
            "ssh-ed25519",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
        ] {
            assert!(parse_public_key(line).is_err(), "{line}");
        }
        assert!(parse_public_key(KEY).is_ok());
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for (text, wanted) in [
            ("10.0.0.7", Some(("10.0.0.7", 22))),
            ("10.0.0.7:2200", Some(("10.0.0.7", 2200))),
            ("db.internal:22", Some(("db.internal", 22))),
            ("::1", Some(("::1", 22))),
            ("[::1]", Some(("::1", 22))),
            ("[::1]:65535", Some(("::1", 65535))),
            ("", None),
            (":22", None),
            ("h:", None),
            ("h:0", None),
            ("h:65536", None),
            ("h:+22", None),
            ("h:22:22", None),
            ("[::1", None),
            ("[::1]22", None),
            ("[h]:22", None),
            ("a b", None),
            ("-oProxyCommand=x", None),
            ("h/x", None),
            ("h\u{e4}", None),
        ] {
            let address = text.parse::<Address>().ok();
            assert_eq!(
                address
                    .as_ref()
                    .map(|address| (address.host(), address.port())),
                wanted,
                "{text}"
            );
            if let Some(address) = address {
                assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }

    #[test]
    fn names_meet_their_limits() {
        for (name, fine) in [
            ("a", true),
            ("_x-1.y", true),
            ("9", true),
            ("", false),
            (".a", false),
            ("-a", false),
            ("a@b", false),
            ("a+b", false),
            ("a b", false),
            ("\u{e4}", false),
        ] {
            assert_eq!(is_name(name, LOGIN_NAME_MAX), fine, "{name}");
        }
        for (length, login, target) in [
            (64, true, true),
            (65, false, true),
            (128, false, true),
            (129, false, false),
        ] {
            let name = "a".repeat(length);
            assert_eq!(
                (
                    is_name(&name, LOGIN_NAME_MAX),
                    is_name(&name, TARGET_NAME_MAX)
                ),
                (login, target),
                "{length}"
            );
        }
    }
}
