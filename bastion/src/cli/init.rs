//! `bastion init`: a folder with everything that a first start needs.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::printable;
use crate::ssh::keys::key::safe_rng;
use crate::ssh::keys::ssh_key::LineEnding;
use crate::ssh::keys::{Algorithm, HashAlg, PrivateKey};

/// Arguments of `init`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion init /etc/bastion --issuer https://id.example.com --client-id bastion
  bastion check --config /etc/bastion/bastion.toml
  bastion serve --config /etc/bastion/bastion.toml

Exit status: 0 when everything was written, 1 otherwise; nothing is ever overwritten.")]
pub(super) struct Init {
    /// The folder to make, or an empty one
    dir: PathBuf,
    /// The OpenID provider, exactly as it calls itself
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The client that is registered there
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The name that users will type after the last @
    #[arg(long)]
    name: Option<String>,
    /// The address and port to listen on
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
}

pub(super) fn run(args: &Init, out: &mut dyn Write) -> Result<(), Failure> {
    let dir = &args.dir;
    let taken: Vec<&str> = FILES
        .iter()
        .copied()
        .filter(|name| dir.join(name).symlink_metadata().is_ok())
        .collect();
    if !taken.is_empty() {
        return Err(Failure::new(format!(
            "{} has {} already, and nothing is overwritten; name an empty folder",
            dir.display(),
            taken.join(", ")
        )));
    }
    let config = config_text(args)?;
    for folder in ["", "keys", "state", "recordings", "policies"] {
        make_folder(&dir.join(folder))?;
    }
    let host_key = write_key(dir, "keys/ssh_host_ed25519_key", "bastion host key")?;
    write_key(dir, "keys/user_ca", "bastion user CA")?;
    write_key(dir, "keys/host_ca", "bastion host CA")?;
    write_file(dir, "keys/store_key", &store_key()?)?;
    write_file(dir, "policies/access.cedar", ACCESS)?;
    write_file(dir, "policies/protect.toml", PROTECT)?;
    write_file(dir, "policies/starter.test.toml", CASES)?;
    write_file(
        dir,
        "policies/bastion.cedarschema",
        crate::access::SCHEMA_TEXT,
    )?;
    write_spool_key(dir)?;
    write_file(dir, "targets.toml", TARGETS)?;
    // Last, so that a folder with a configuration is whole.
    write_file(dir, "bastion.toml", &config)?;
    let shown = printable(&dir.display().to_string());
    writeln!(
        out,
        "Made {shown} with keys, configuration and policies.\n\
         Host key: {}\n\
         Next:\n  \
         1. set oidc.issuer and oidc.client_id in {shown}/bastion.toml\n  \
         2. bastion target add NAME ADDRESS --login LOGIN --certificate --config {shown}/bastion.toml\n  \
         3. put the line of {shown}/keys/user_ca.pub into the file that TrustedUserCAKeys names on the target\n  \
         4. bastion check --config {shown}/bastion.toml\n  \
         5. bastion serve --config {shown}/bastion.toml",
        host_key.fingerprint(HashAlg::Sha256),
    )?;
    Ok(())
}

/// The sample, with what was named on the command line in its place.
fn config_text(args: &Init) -> Result<String, Failure> {
    let mut document: toml_edit::DocumentMut = super::SAMPLE
        .parse()
        .map_err(|error| Failure::new(format!("the sample is not TOML: {error}")))?;
    let listen = args
        .listen
        .map(|address| toml_edit::Value::from_iter([address.to_string()]));
    let values = [
        (
            None,
            "name",
            args.name.as_deref().map(toml_edit::Value::from),
        ),
        (None, "listen", listen),
        (
            Some("oidc"),
            "issuer",
            args.issuer.as_deref().map(toml_edit::Value::from),
        ),
        (
            Some("oidc"),
            "client_id",
            args.client_id.as_deref().map(toml_edit::Value::from),
        ),
    ];
    for (table, key, value) in values {
        let Some(value) = value else { continue };
        let table = match table {
            Some(name) => document
                .get_mut(name)
                .and_then(toml_edit::Item::as_table_mut),
            None => Some(document.as_table_mut()),
        };
        if let Some(item) = table.and_then(|table| table.get_mut(key)) {
            *item = toml_edit::value(value);
        }
    }
    let text = document.to_string();
    // What was typed is checked before anything is written.
    crate::config::Config::parse(Path::new("bastion.toml"), &text).map_err(Failure::problems)?;
    Ok(text)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", path.display())))
}

fn write_key(dir: &Path, name: &str, comment: &str) -> Result<PrivateKey, Failure> {
    let failed = |error: crate::ssh::keys::ssh_key::Error| {
        Failure::new(format!("cannot make the key {name}: {error}"))
    };
    let mut key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(comment);
    write_file(dir, name, &key.to_openssh(LineEnding::LF).map_err(failed)?)?;
    let public = key.public_key().to_openssh().map_err(failed)?;
    write_file(dir, &format!("{name}.pub"), &format!("{public}\n"))?;
    Ok(key)
}

/// What `store_key` names: 32 random bytes, as text.
fn store_key() -> Result<String, Failure> {
    let mut key = zeroize::Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(&mut *key)
        .map_err(|_| Failure::new("there is no randomness for keys/store_key".to_owned()))?;
    Ok(format!("{}\n", data_encoding::BASE64.encode(&*key)))
}

/// The key that encrypts what is held for a decision.
fn write_spool_key(dir: &Path) -> Result<(), Failure> {
    let mut key = zeroize::Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(key.as_mut())
        .map_err(|_| Failure::new("the system gives no random numbers".to_owned()))?;
    let text = zeroize::Zeroizing::new(data_encoding::HEXLOWER.encode(key.as_ref()) + "\n");
    write_file(dir, "keys/holds", &text)
}

/// A new file, for the owner only, on disk when this returns.
fn write_file(dir: &Path, name: &str, content: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        let folder = path.parent().unwrap_or(dir);
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

const FILES: [&str; 14] = [
    "bastion.toml",
    "targets.toml",
    "policies/access.cedar",
    "policies/protect.toml",
    "policies/starter.test.toml",
    "policies/bastion.cedarschema",
    "keys/ssh_host_ed25519_key",
    "keys/ssh_host_ed25519_key.pub",
    "keys/user_ca",
    "keys/user_ca.pub",
    "keys/host_ca",
    "keys/host_ca.pub",
    "keys/store_key",
    "keys/holds",
];

const ACCESS: &str = include_str!("../../../policies/starter/access.cedar");
const CASES: &str = include_str!("../../../policies/starter/starter.test.toml");
const PROTECT: &str = include_str!("../../../policies/starter/protect.toml");

/// What `targets.toml` begins with.
pub(super) const TARGETS: &str = "\
# The targets. Users reach them as LOGIN@NAME@BASTION. After a change: bastion check
#
# [[target]]
# name = \"orders-db\"
# address = \"10.0.0.7:22\"
# host_keys = [\"ssh-ed25519 AAAA...\"]     # from `bastion target probe ADDRESS`, compared by hand
# labels = [\"prod\"]                       # for policies
# recording = \"full\"                      # \"ends\": of commands and files, the first and last 64 KiB and a hash
#
# [[target.login]]
# name = \"postgres\"
# certificate = true                       # or key = \"FILE\", or password_file = \"FILE\"
";

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::cli::tests::{Folder, bastion};

    #[test]
    fn what_init_makes_is_right() {
        let folder = Folder::init();
        let checked = bastion(&["check", "--config", &folder.path("bastion.toml")]).unwrap();
        assert!(
            checked.ends_with("bastion.toml: ok, 0 targets with 0 logins\n"),
            "{checked}"
        );
        let json = bastion(&["check", "--json", "--config", &folder.path("bastion.toml")]).unwrap();
        assert_eq!(json, "{\"ok\":true,\"problems\":[],\"warnings\":[]}\n");
    }

    #[test]
    fn only_the_owner_can_read_it() {
        let folder = Folder::init();
        let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().mode() & 0o777;
        for name in FILES {
            assert_eq!(mode(name), 0o600, "{name}");
        }
        for name in ["", "keys", "state", "recordings", "policies"] {
            assert_eq!(mode(name), 0o700, "{name}");
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = Folder::init();
        for name in FILES {
            let whole = tempfile::tempdir().unwrap();
            let path = whole.path().join("new");
            fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            fs::write(path.join(name), "mine").unwrap();
            let error = bastion(&["init", path.to_str().unwrap()]).unwrap_err();
            assert!(
                error.contains(name) && error.contains("nothing is overwritten"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "mine");
            let config = path.join("bastion.toml");
            assert!(name == "bastion.toml" || !config.exists(), "{name}");
        }
        let again = bastion(&["init", &folder.path("")]).unwrap_err();
        assert!(again.contains("nothing is overwritten"), "{again}");
    }

    #[test]
    fn what_was_named_stands_in_the_configuration_and_the_comments_stay() {
        let whole = tempfile::tempdir().unwrap();
        let dir = whole.path().join("b");
        bastion(&[
            "init",
            dir.to_str().unwrap(),
            "--issuer",
            "http://127.0.0.1:8080/x",
            "--client-id",
            "a \"b\"",
            "--name",
            "gate",
            "--listen",
            "[::1]:2022",
        ])
        .unwrap();
        let config = crate::config::Config::load(&dir.join("bastion.toml")).unwrap();
        assert_eq!(config.oidc.issuer, "http://127.0.0.1:8080/x");
        assert_eq!(
            (config.oidc.client_id.as_str(), config.name.as_str()),
            ("a \"b\"", "gate")
        );
        assert_eq!(config.listen, ["[::1]:2022".parse().unwrap()]);
        let text = fs::read_to_string(dir.join("bastion.toml")).unwrap();
        let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
        assert_eq!(comments(&text), comments(crate::cli::SAMPLE));
        assert_eq!(text.lines().count(), crate::cli::SAMPLE.lines().count());
    }

    #[test]
    fn nothing_is_made_from_arguments_that_are_wrong() {
        let whole = tempfile::tempdir().unwrap();
        let dir = whole.path().join("b");
        let error = bastion(&[
            "init",
            dir.to_str().unwrap(),
            "--issuer",
            "http://id.example.com",
        ])
        .unwrap_err();
        assert!(error.contains("only https, or http on loopback"), "{error}");
        assert!(!dir.exists());
    }
}
