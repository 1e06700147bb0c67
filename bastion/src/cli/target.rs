//! `bastion target`: the inventory from the command line.
//!
//! A change is checked as a whole before it is written, and the file is replaced in one step.
//! Comments in it stay. No host key is trusted because it came first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Failure;
use crate::config::{Config, printable, read_text};
use crate::ssh::host_keys_of;
use crate::ssh::keys::{HashAlg, PublicKey};
use crate::target::{Address, Inventory, Target, UserCa};

/// Arguments of `target`.
#[derive(clap::Args, Debug)]
pub(super) struct Targets {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Add(Add),
    List(List),
    Probe(Probe),
    Remove(Remove),
}

/// Add a target to the inventory, or a login to a target
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion target add orders-db 10.0.0.7 --login postgres --certificate --probe
  bastion target add orders-db 10.0.0.7 --login postgres --key keys/orders \\
      --probe --fingerprint SHA256:AbCd...
  bastion target add web-1 web-1.internal:2200 --login deploy --certificate \\
      --host-ca \"ssh-ed25519 AAAA...\" --label prod

A host key is never trusted because it came first: --host-key and --host-ca are taken as they are,
--fingerprint must match what the target shows, and --probe alone asks.

Exit status: 0 when the target was added, 1 otherwise; then the inventory is as it was.")]
struct Add {
    /// The name that users will type
    name: String,
    /// Where it is: HOST, HOST:PORT or [IPV6]:PORT
    address: String,
    /// The account on the target
    #[arg(long)]
    login: String,
    /// Log in with the private key in this file
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Log in with the password in this file
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    password_file: Option<String>,
    /// Log in with certificates of the user CA
    #[arg(long, conflicts_with_all = ["key", "password_file"], required_unless_present_any = ["key", "password_file"])]
    certificate: bool,
    /// A host key of the target, as a line of ssh-keyscan without the host
    #[arg(long = "host-key", value_name = "LINE")]
    host_keys: Vec<String>,
    /// A host CA that signs the target's host keys
    #[arg(long = "host-ca", value_name = "LINE")]
    host_ca: Vec<String>,
    /// Ask the target for its host keys
    #[arg(long)]
    probe: bool,
    /// With --probe: the fingerprint that one of its keys must have; only that key is pinned
    #[arg(long, value_name = "SHA256:...", requires = "probe")]
    fingerprint: Option<String>,
    /// A word that policies know the target by
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// List the targets of the inventory
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion target list
  bastion target list --json | jq -r '.[].name'")]
struct List {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// Show the host keys that a machine presents now
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion target probe 10.0.0.7
  bastion target probe db.internal:2200 --json

What it shows is what somebody at that address presents. Compare the fingerprints with those that
`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the machine itself.

Exit status: 0 when it presented a key, 1 otherwise.")]
struct Probe {
    /// HOST, HOST:PORT or [IPV6]:PORT
    address: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// Remove a target from the inventory
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion target remove orders-db

Exit status: 0 when it was removed, 1 otherwise; then the inventory is as it was.")]
struct Remove {
    /// Its name
    name: String,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

pub(super) fn run(
    args: &Targets,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match &args.command {
        Command::Add(args) => add(args, input, out),
        Command::List(args) => list(args, out),
        Command::Probe(args) => show_probe(args, out),
        Command::Remove(args) => remove(args, out),
    }
}

fn add(args: &Add, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    let address: Address = args
        .address
        .parse()
        .map_err(|error| Failure::new(format!("{}: {error}", args.address)))?;
    let mut host_keys = args.host_keys.clone();
    if args.probe {
        let shown = probe_now(&address, PROBE_DEADLINE)?;
        host_keys.extend(choose(
            &shown,
            args.fingerprint.as_deref(),
            &address,
            input,
            out,
        )?);
    }
    if host_keys.is_empty() && args.host_ca.is_empty() {
        return Err(Failure::new(
            "name the target's host key with --host-key or its host CA with --host-ca, or let --probe ask the target",
        ));
    }
    let text = match read_text(&config.targets, FILE_MAX) {
        Ok(text) => text,
        Err(_) if !config.targets.exists() => super::init::TARGETS.to_owned(),
        Err(error) => return Err(Failure::new(error.to_string())),
    };
    let entry = entry(args, &address, &host_keys);
    let gap = if text.is_empty() || text.ends_with("\n\n") {
        ""
    } else if text.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    replace(&config, &format!("{text}{gap}{entry}"))?;
    writeln!(
        out,
        "added {} at {address} with the login {}",
        args.name, args.login
    )?;
    Ok(())
}

/// The text of the new target. It is appended, so that everything before it stays as it is.
fn entry(args: &Add, address: &Address, host_keys: &[String]) -> String {
    let string = |text: &str| toml_edit::Value::from(text).to_string();
    let list = |lines: &[String]| {
        let lines: Vec<String> = lines.iter().map(|line| string(line.trim())).collect();
        format!("[{}]", lines.join(", "))
    };
    let mut entry = format!(
        "[[target]]\nname = {}\naddress = {}\n",
        string(&args.name),
        string(&address.to_string())
    );
    for (key, lines) in [
        ("host_keys", host_keys),
        ("host_ca", &args.host_ca),
        ("labels", &args.labels),
    ] {
        if !lines.is_empty() {
            entry.push_str(&format!("{key} = {}\n", list(lines)));
        }
    }
    entry.push_str(&format!(
        "\n[[target.login]]\nname = {}\n",
        string(&args.login)
    ));
    entry.push_str(&match (&args.key, &args.password_file) {
        (Some(key), _) => format!("key = {}\n", string(key)),
        (None, Some(file)) => format!("password_file = {}\n", string(file)),
        (None, None) => "certificate = true\n".to_owned(),
    });
    entry
}

/// Which of the keys that the target showed are pinned: that of the fingerprint, or those that a
/// person has confirmed.
fn choose(
    keys: &[PublicKey],
    fingerprint: Option<&str>,
    address: &Address,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<Vec<String>, Failure> {
    if let Some(wanted) = fingerprint {
        let found = keys
            .iter()
            .find(|key| key.fingerprint(HashAlg::Sha256).to_string() == wanted);
        return match found {
            Some(key) => Ok(vec![line(key)]),
            None => {
                let seen: Vec<String> = keys
                    .iter()
                    .map(|key| key.fingerprint(HashAlg::Sha256).to_string())
                    .collect();
                Err(Failure::new(format!(
                    "{address} shows no key with the fingerprint {}, but {}; nothing was added",
                    printable(wanted),
                    seen.join(", ")
                )))
            }
        };
    }
    writeln!(out, "{address} shows these host keys:")?;
    for key in keys {
        writeln!(out, "  {}", describe(key))?;
    }
    writeln!(
        out,
        "Compare them with `ssh-keygen -lf FILE` on the machine itself."
    )?;
    write!(out, "Pin them? Type yes: ")?;
    out.flush()?;
    let mut answer = String::new();
    io::Read::take(input, 64).read_line(&mut answer)?;
    if answer.trim() == "yes" {
        Ok(keys.iter().map(line).collect())
    } else {
        Err(Failure::new("not confirmed; nothing was added"))
    }
}

fn list(args: &List, out: &mut dyn Write) -> Result<(), Failure> {
    let (_, inventory) = load(&args.config)?;
    if args.json {
        let targets: Vec<Listed<'_>> = inventory.iter().map(|target| Listed::of(target)).collect();
        serde_json::to_writer_pretty(&mut *out, &targets).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    if inventory.is_empty() {
        writeln!(
            out,
            "no targets; add one with: bastion target add NAME ADDRESS --login LOGIN --certificate --probe"
        )?;
    }
    let rows: Vec<[String; 4]> = inventory.iter().map(|target| row(target)).collect();
    table(["NAME", "ADDRESS", "LOGINS", "LABELS"], &rows, out)
}

fn show_probe(args: &Probe, out: &mut dyn Write) -> Result<(), Failure> {
    let address: Address = args
        .address
        .parse()
        .map_err(|error| Failure::new(format!("{}: {error}", args.address)))?;
    let shown = probe_now(&address, Duration::from_secs(args.timeout))?;
    if args.json {
        let keys: Vec<Presented> = shown.iter().map(Presented::of).collect();
        serde_json::to_writer_pretty(&mut *out, &keys).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    for key in &shown {
        writeln!(out, "{}\n    {}", describe(key), line(key))?;
    }
    Ok(())
}

fn remove(args: &Remove, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    let text =
        read_text(&config.targets, FILE_MAX).map_err(|error| Failure::new(error.to_string()))?;
    match without(&text, &args.name) {
        Ok(Some(text)) => replace(&config, &text)?,
        Ok(None) => {
            return Err(Failure::new(format!(
                "there is no target \"{}\"",
                printable(&args.name)
            )));
        }
        Err(error) => {
            return Err(Failure::new(format!(
                "{}: {error}",
                config.targets.display()
            )));
        }
    }
    writeln!(out, "removed {}", args.name)?;
    Ok(())
}

/// `text` without the target `name`, and without the comment that stands directly above it; `None`
/// where there is no such target.
fn without(text: &str, name: &str) -> Result<Option<String>, toml_edit::TomlError> {
    let mut document: toml_edit::DocumentMut = text.parse()?;
    let Some(targets) = document
        .get_mut("target")
        .and_then(toml_edit::Item::as_array_of_tables_mut)
    else {
        return Ok(None);
    };
    let is_it = |table: &toml_edit::Table| {
        table.get("name").and_then(toml_edit::Item::as_str) == Some(name)
    };
    let Some(index) = targets.iter().position(is_it) else {
        return Ok(None);
    };
    // Comments that an empty line sets apart belong to the file.
    let above = targets
        .get(index)
        .and_then(|table| table.decor().prefix())
        .and_then(toml_edit::RawString::as_str)
        .and_then(|prefix| prefix.rfind("\n\n").and_then(|end| prefix.get(..end + 1)))
        .unwrap_or_default()
        .to_owned();
    targets.remove(index);
    let keep = |below: &str| {
        if above.trim().is_empty() {
            below.to_owned()
        } else {
            format!("{above}{below}")
        }
    };
    if let Some(next) = targets.get_mut(index) {
        let below = next
            .decor()
            .prefix()
            .and_then(toml_edit::RawString::as_str)
            .unwrap_or_default()
            .to_owned();
        next.decor_mut().set_prefix(keep(&below));
    } else {
        let below = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(keep(&below));
    }
    Ok(Some(document.to_string()))
}

fn load(config: &Path) -> Result<(Config, Inventory), Failure> {
    let config = Config::load(config).map_err(Failure::problems)?;
    let user_ca = load_user_ca(&config)?;
    let inventory =
        Inventory::load(&config.targets, user_ca.as_ref()).map_err(Failure::problems)?;
    Ok((config, inventory))
}

fn load_user_ca(config: &Config) -> Result<Option<UserCa>, Failure> {
    config
        .user_ca
        .as_deref()
        .map(UserCa::load)
        .transpose()
        .map_err(|error| Failure::new(error.to_string()))
}

/// Checks `text` as the inventory, and puts it in the place of the old one in one step.
fn replace(config: &Config, text: &str) -> Result<(), Failure> {
    let path = &config.targets;
    let user_ca = load_user_ca(config)?;
    Inventory::parse(path, text, user_ca.as_ref()).map_err(Failure::problems)?;
    let mode = path
        .metadata()
        .map_or(0o600, |metadata| metadata.mode() & 0o777);
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let new = folder.join(format!(".targets.toml.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, path)
            });
        if written.is_err() {
            // Whether or not this works, the error to report is the first.
            fs::remove_file(&new).unwrap_or(());
        }
        written?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn probe_now(address: &Address, within: Duration) -> Result<Vec<PublicKey>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let keys = runtime
        .block_on(host_keys_of(address.host(), address.port(), within))
        .map_err(|error| Failure::new(format!("{address}: {}", super::chain(&error))))?;
    if keys.is_empty() {
        return Err(Failure::new(format!(
            "{address} shows no host key of a kind that is supported"
        )));
    }
    Ok(keys)
}

/// The key as a line of the inventory; a comment that came from elsewhere is left out.
fn line(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    address: String,
    host_keys: Vec<String>,
    host_ca: Vec<String>,
    labels: &'a [String],
    logins: Vec<ListedLogin<'a>>,
}

#[derive(Serialize)]
struct ListedLogin<'a> {
    name: &'a str,
    method: &'static str,
}

impl<'a> Listed<'a> {
    fn of(target: &'a Target) -> Self {
        let fingerprints = |keys: &[PublicKey]| {
            keys.iter()
                .map(|key| key.fingerprint(HashAlg::Sha256).to_string())
                .collect()
        };
        Self {
            name: target.name(),
            address: target.address().to_string(),
            host_keys: fingerprints(target.host_keys().pinned()),
            host_ca: fingerprints(target.host_keys().authorities()),
            labels: target.labels(),
            logins: target
                .logins()
                .iter()
                .map(|login| ListedLogin {
                    name: login.name(),
                    method: login.method(),
                })
                .collect(),
        }
    }
}

/// One key that a machine shows.
#[derive(Serialize)]
struct Presented {
    algorithm: String,
    fingerprint: String,
    /// As a line of the inventory.
    line: String,
}

impl Presented {
    fn of(key: &PublicKey) -> Self {
        Self {
            algorithm: key.algorithm().to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            line: line(key),
        }
    }
}

fn row(target: &Target) -> [String; 4] {
    let logins: Vec<String> = target
        .logins()
        .iter()
        .map(|login| format!("{} ({})", login.name(), login.method()))
        .collect();
    let labels: Vec<String> = target
        .labels()
        .iter()
        .map(|label| printable(label))
        .collect();
    [
        target.name().to_owned(),
        target.address().to_string(),
        logins.join(", "),
        labels.join(", "),
    ]
}

fn table<const N: usize>(
    head: [&str; N],
    rows: &[[String; N]],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(title.len())
        })
        .collect();
    let mut show = |cells: Vec<&str>| -> io::Result<()> {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    show(head.to_vec())?;
    for row in rows {
        show(row.iter().map(String::as_str).collect())?;
    }
    Ok(())
}

const PROBE_DEADLINE: Duration = Duration::from_secs(10);
const FILE_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;
    use crate::cli::tests::{Folder, bastion};

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    impl Folder {
        fn targets(&self) -> String {
            fs::read_to_string(self.path("targets.toml")).unwrap()
        }

        fn write_targets(&self, text: &str) {
            fs::write(self.path("targets.toml"), text).unwrap();
        }

        fn add(&self, name: &str) -> Result<String, String> {
            let config = self.path("bastion.toml");
            bastion(&[
                "target",
                "add",
                name,
                "10.0.0.7",
                "--login",
                "u",
                "--certificate",
                "--host-key",
                KEY,
                "--config",
                &config,
            ])
        }

        fn remove(&self, name: &str) -> Result<String, String> {
            bastion(&[
                "target",
                "remove",
                name,
                "--config",
                &self.path("bastion.toml"),
            ])
        }

        fn list(&self) -> String {
            bastion(&["target", "list", "--config", &self.path("bastion.toml")]).unwrap()
        }
    }

    #[test]
    fn what_was_added_is_listed_and_can_be_removed() {
        let folder = Folder::init();
        let before = folder.targets();
        assert!(folder.list().starts_with("no targets; add one"));
        folder.add("db").unwrap();
        folder.add("web").unwrap();
        assert_eq!(
            folder.list(),
            "NAME  ADDRESS      LOGINS           LABELS\n\
             db    10.0.0.7:22  u (certificate)\n\
             web   10.0.0.7:22  u (certificate)\n"
        );
        folder.remove("db").unwrap();
        folder.remove("web").unwrap();
        assert_eq!(folder.targets().trim_end(), before.trim_end());
    }

    #[test]
    fn comments_and_order_stay() {
        let folder = Folder::init();
        let head = "# The targets of the north.\n# Ask Ann before a change.\n\n";
        let entry = |name: &str| {
            format!(
                "# this is {name}\n[[target]]\nname = \"{name}\" # the name\naddress   =   \"h\"\nhost_keys = [\n  \"{KEY}\", # from Bob\n]\n\n\
                 # its login\n[[target.login]]\nname = 'u'\ncertificate = true\n\n"
            )
        };
        let tail = "# The end.\n";
        folder.write_targets(&format!(
            "{head}{}{}{}{tail}",
            entry("a"),
            entry("b"),
            entry("c")
        ));
        folder.add("d").unwrap();
        let added = folder.targets();
        assert!(
            added.starts_with(&format!(
                "{head}{}{}{}{tail}",
                entry("a"),
                entry("b"),
                entry("c")
            )),
            "{added}"
        );
        for (name, left) in [
            ("d", vec!["a", "b", "c"]),
            ("b", vec!["a", "c"]),
            ("a", vec!["c"]),
            ("c", vec![]),
        ] {
            folder.remove(name).unwrap();
            let now = folder.targets();
            let entries: String = left.iter().map(|name| entry(name)).collect();
            assert!(
                now.starts_with(&format!("{head}{entries}")),
                "without {name}:\n{now}"
            );
            assert!(now.contains(tail.trim_end()), "without {name}:\n{now}");
        }
    }

    #[test]
    fn what_would_be_wrong_is_not_written() {
        let folder = Folder::init();
        folder.add("db").unwrap();
        let before = folder.targets();
        let config = folder.path("bastion.toml");
        let login = ["--login", "u", "--certificate", "--config", config.as_str()];
        for (args, wanted) in [
            (
                vec!["db", "h", "--host-key", KEY],
                "the target \"db\" is defined a second time",
            ),
            (
                vec!["a b", "h", "--host-key", KEY],
                "\"a b\" cannot be a name",
            ),
            (
                vec!["x\"\n[oidc]", "h", "--host-key", KEY],
                "cannot be a name",
            ),
            (
                vec!["x", "h", "--host-key", "ssh-ed25519 nonsense"],
                "this host key cannot be used",
            ),
            (vec!["x", "h:0", "--host-key", KEY], "an address is HOST"),
            (vec!["x", "h"], "--host-key"),
        ] {
            let args: Vec<&str> = ["target", "add"]
                .into_iter()
                .chain(args)
                .chain(login)
                .collect();
            let error = bastion(&args).unwrap_err();
            assert!(error.contains(wanted), "{args:?}: {error}");
            assert_eq!(folder.targets(), before, "{args:?}");
        }
        let error = folder.remove("nobody").unwrap_err();
        assert_eq!(error, "bastion: there is no target \"nobody\"");
        assert_eq!(folder.targets(), before);
        let left: Vec<_> = fs::read_dir(folder.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().starts_with(".targets")),
            "{left:?}"
        );
    }

    #[test]
    fn values_are_written_as_strings_whatever_is_in_them() {
        let folder = Folder::init();
        let config = folder.path("bastion.toml");
        bastion(&[
            "target",
            "add",
            "x",
            "h",
            "--login",
            "u",
            "--certificate",
            "--host-key",
            KEY,
            "--label",
            "a\"\nb = \\",
            "--config",
            &config,
        ])
        .unwrap();
        let listed = bastion(&["target", "list", "--json", "--config", &config]).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed[0]["labels"][0], "a\"\nb = \\");
        assert_eq!(listed[0]["logins"][0]["method"], "certificate");
    }

    #[test]
    fn the_mode_of_the_file_stays() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::init();
        fs::set_permissions(
            folder.path("targets.toml"),
            fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        folder.add("db").unwrap();
        assert_eq!(
            fs::metadata(folder.path("targets.toml")).unwrap().mode() & 0o777,
            0o640
        );
    }

    fn keys() -> Vec<PublicKey> {
        use crate::ssh::keys::{Algorithm, PrivateKey, key::safe_rng};
        let key = || {
            PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)
                .unwrap()
                .public_key()
                .clone()
        };
        vec![key(), key()]
    }

    #[test]
    fn a_probed_key_is_pinned_only_by_a_yes_or_its_fingerprint() {
        let keys = keys();
        let address: Address = "h".parse().unwrap();
        let asked = |answer: &str| {
            let mut shown = Vec::new();
            let chosen = choose(&keys, None, &address, &mut answer.as_bytes(), &mut shown);
            (chosen.ok(), String::from_utf8(shown).unwrap())
        };
        let both: Vec<String> = keys.iter().map(line).collect();
        let (chosen, shown) = asked("yes\n");
        assert_eq!(chosen, Some(both));
        for key in &keys {
            assert!(
                shown.contains(&key.fingerprint(HashAlg::Sha256).to_string()),
                "{shown}"
            );
        }
        for answer in ["", "\n", "y\n", "no\n", "YES\n", "yes, but\n"] {
            assert_eq!(asked(answer).0, None, "{answer:?}");
        }
        let by_fingerprint = |wanted: &str| {
            choose(
                &keys,
                Some(wanted),
                &address,
                &mut io::empty(),
                &mut Vec::new(),
            )
            .map_err(|failure| failure.to_string())
        };
        let second = keys.get(1).unwrap();
        assert_eq!(
            by_fingerprint(&second.fingerprint(HashAlg::Sha256).to_string()),
            Ok(vec![line(second)])
        );
        for wanted in ["", "SHA256:", "SHA256:AAAA", "MD5:x"] {
            assert!(
                by_fingerprint(wanted)
                    .unwrap_err()
                    .contains("nothing was added"),
                "{wanted}"
            );
        }
    }
}
