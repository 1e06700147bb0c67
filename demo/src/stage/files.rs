//! The files of the stage: keys, the bastion's configuration, inventory and policies, and what the
//! stock `ssh` needs to find it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use russh::keys::PrivateKey;

use super::{BY_CERTIFICATE, TARGETS, keys};
use crate::provider::CLIENT_ID;
use crate::target::Target;

/// The keys of everybody, all made at the start.
pub(super) struct Keys {
    bastion_host: PrivateKey,
    pub(super) user_ca: PrivateKey,
    host_ca: PrivateKey,
    pub(super) target_host: PrivateKey,
    pub(super) target_login: PrivateKey,
}

/// The names under which `ssh_config` knows the bastion, each with a key of its own: a key belongs
/// to whoever signs in with it first.
const CLIENTS: [(&str, &str); 5] = [
    ("bastion", "ana"),
    ("bastion-bela", "bela"),
    ("bastion-carol", "carol"),
    ("bastion-dave", "dave"),
    ("bastion-eve", "eve"),
];

impl Keys {
    /// Makes the keys and writes those that the bastion and `ssh` read.
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        let made = Self {
            bastion_host: keys::new()?,
            user_ca: keys::new()?,
            host_ca: keys::new()?,
            target_host: keys::new()?,
            target_login: keys::new()?,
        };
        let at = folder.join("bastion/keys");
        keys::write(&made.bastion_host, &at.join("ssh_host_ed25519_key"))?;
        keys::write(&made.user_ca, &at.join("user_ca"))?;
        keys::write(&made.host_ca, &at.join("host_ca"))?;
        keys::write(&made.target_login, &at.join("targets"))?;
        fs::write(at.join("holds"), keys::spool_key()?)?;
        fs::set_permissions(at.join("holds"), fs::Permissions::from_mode(0o600))?;
        for (_, key) in CLIENTS {
            keys::write(&keys::new()?, &folder.join("keys").join(key))?;
        }
        keys::write(&made.target_host, &folder.join("targets/host_key"))?;
        Ok(made)
    }
}

/// Writes what the bastion reads, in `bastion/`.
pub(super) fn write(
    folder: &Path,
    issuer: &str,
    targets: &[(&'static str, Target)],
) -> io::Result<()> {
    let at = folder.join("bastion");
    let config = CONFIG
        .replace("{issuer}", issuer)
        .replace("{client}", CLIENT_ID);
    fs::write(at.join("bastion.toml"), config)?;
    let host_key = fs::read_to_string(folder.join("targets/host_key.pub"))?;
    let mut inventory = String::new();
    for (name, labels, logins) in TARGETS {
        let Some((_, target)) = targets.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        inventory.push_str(&format!(
            "[[target]]\nname = \"{name}\"\naddress = \"{}\"\nhost_keys = [\"{}\"]\nlabels = {labels:?}\n",
            target.address(),
            host_key.trim(),
        ));
        for login in logins {
            let credential = if *login == BY_CERTIFICATE {
                "certificate = true"
            } else {
                "key = \"keys/targets\""
            };
            inventory.push_str(&format!(
                "[[target.login]]\nname = \"{login}\"\n{credential}\n"
            ));
        }
        inventory.push('\n');
    }
    fs::write(at.join("targets.toml"), inventory)?;
    fs::write(at.join("policies/access.cedar"), ACCESS)?;
    fs::write(at.join("policies/protect.toml"), PROTECT)
}

/// Writes `ssh_config` and `known_hosts`. Nothing of the person's own `~/.ssh` is read or changed.
pub(super) fn write_client(folder: &Path, address: SocketAddr, keys: &Keys) -> io::Result<()> {
    let known = format!("bastion {}\n", keys::line(keys.bastion_host.public_key())?);
    fs::write(folder.join("known_hosts"), known)?;
    let mut config = String::new();
    for (host, key) in CLIENTS {
        config.push_str(&format!(
            "Host {host}
  HostName {}
  Port {}
  HostKeyAlias bastion
  UserKnownHostsFile \"{known}\"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  IdentityFile \"{key}\"
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey,keyboard-interactive

",
            address.ip(),
            address.port(),
            known = folder.join("known_hosts").display(),
            key = folder.join("keys").join(key).display(),
        ));
    }
    fs::write(folder.join("ssh_config"), config)
}

const CONFIG: &str = r#"listen = ["127.0.0.1:0"]
name = "bastion"
state_dir = "state"
host_keys = ["keys/ssh_host_ed25519_key"]
user_ca = "keys/user_ca"
host_ca = "keys/host_ca"
targets = "targets.toml"
policies = "policies"

[oidc]
issuer = "{issuer}"
client_id = "{client}"
client_auth = "none"
scopes = ["openid", "profile", "email", "groups"]

[recording]
dir = "recordings"

[holds]
seal_quiet = "1s"

[limits]
drain = "1s"
"#;

const ACCESS: &str = r#"// Engineers work on everything that is not restricted.
@id("engineers-work")
permit (
  principal in Group::"engineers",
  action in [Action::"shell", Action::"exec", Action::"sftp_read", Action::"sftp_write"],
  resource
)
unless { resource in Label::"restricted" };

// Approvers of payroll run commands on the payroll database, with a sign-in of the last hour.
@id("payroll-commands")
permit (
  principal in Group::"payroll-approvers",
  action == Action::"exec",
  resource in Target::"payroll-db"
)
when { context.sign_in_age <= duration("1h") };

// Analysts work on the payroll database too; what people earn is held there until somebody of
// payroll-approvers has approved it.
@id("payroll-analysts")
permit (
  principal in Group::"analysts",
  action in [Action::"exec", Action::"shell"],
  resource in Target::"payroll-db"
);

@id("payroll-approvals")
permit (
  principal in Group::"payroll-approvers",
  action in [Action::"approve", Action::"show_payload"],
  resource in Target::"payroll-db"
);

// Engineers may ask for commands there, and have them for a time once it is approved.
@id("payroll-requests")
@approvers("payroll-approvers")
@longest("2h")
permit (
  principal in Group::"engineers",
  action == Action::"request",
  resource in Target::"payroll-db"
);

@id("payroll-asked")
permit (
  principal in Group::"engineers",
  action == Action::"exec",
  resource in Target::"payroll-db"
)
when { context.approved };

// Everybody plays their own sessions; auditors play all of them.
@id("own-sessions")
permit (
  principal,
  action in [Action::"play", Action::"recording"],
  resource
)
when { resource.owner == principal };

@id("auditors-read")
permit (
  principal in Group::"auditors",
  action in [Action::"play", Action::"recording", Action::"audit"],
  resource
);
"#;

const PROTECT: &str = r#"[[rule]]
name    = "customer-pii"
targets = ["orders-*"]
fields  = ["ssn", "email", "phone", "card", "iban"]
detect  = ["payment-card", "us-ssn", "iban"]
action  = { mask = "last4" }

[[rule]]
name    = "payroll"
targets = ["payroll-*"]
fields  = ["salary", "bonus", "iban"]
action  = { hold = { approvers = "payroll-approvers", expires = "10m" } }
"#;
