//! `bastion check`: everything that `serve` would read, and every mistake in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::Failure;
use crate::access::Access;
use crate::config::{Config, Problem, Problems, read_text};
use crate::target::{Inventory, Secret, UserCa, read_private_key};

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion check --config /etc/bastion/bastion.toml
  bastion check --json | jq -r '.problems[] | \"\\(.file):\\(.line): \\(.message)\"'

Exit status: 0 when everything is right, 1 when something is wrong.")]
pub(super) struct Check {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Check, out: &mut dyn Write) -> Result<(), Failure> {
    let found = check(&args.config);
    if args.json {
        let problems = found
            .as_ref()
            .err()
            .map(|problems| problems.iter().collect())
            .unwrap_or_default();
        serde_json::to_writer(
            &mut *out,
            &Report {
                ok: found.is_ok(),
                problems,
            },
        )
        .map_err(std::io::Error::from)?;
        writeln!(out)?;
        return found.map(drop).map_err(|_| Failure::silent());
    }
    let loaded = found.map_err(Failure::problems)?;
    writeln!(
        out,
        "{}: ok, {} targets with {} logins",
        crate::config::printable(&args.config.display().to_string()),
        loaded.inventory.len(),
        loaded
            .inventory
            .iter()
            .map(|target| target.logins().len())
            .sum::<usize>(),
    )?;
    Ok(())
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    problems: Vec<&'a Problem>,
}

/// What was read.
struct Loaded {
    inventory: Arc<Inventory>,
}

/// Reads everything that the configuration names; goes on after a mistake where it can.
fn check(path: &Path) -> Result<Loaded, Problems> {
    let config = Config::load(path)?;
    let mut problems = Vec::new();
    for key in &config.host_keys {
        if let Err(error) = read_private_key(key) {
            problems.push(
                Problem::of_file(key, error.to_string())
                    .hint("make one with ssh-keygen -t ed25519 -N '' -f FILE"),
            );
        }
    }
    let user_ca = config
        .user_ca
        .as_ref()
        .and_then(|path| match UserCa::load(path) {
            Ok(user_ca) => Some(user_ca),
            Err(error) => {
                problems.push(Problem::of_file(path, error.to_string()));
                None
            }
        });
    if let Some(file) = &config.oidc.client_secret_file
        && let Err(error) = Secret::read(file)
    {
        problems.push(Problem::of_file(file, error.to_string()));
    }
    if let Some(file) = &config.oidc.ca_file {
        match read_text(file, CA_MAX) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
            Ok(_) => problems.push(Problem::of_file(
                file,
                "there is no certificate in PEM format in it",
            )),
            Err(error) => problems.push(Problem::of_file(file, error.to_string())),
        }
    }
    for folder in [&config.state_dir, &config.recording.dir] {
        problems.extend(check_folder(folder));
    }
    // Without its CA every login by certificate would be reported, for one reason.
    let ca_is_broken = config.user_ca.is_some() && user_ca.is_none();
    let inventory = if ca_is_broken {
        None
    } else {
        load_inventory(&config, user_ca.as_ref(), &mut problems)
    };
    if let Some(inventory) = &inventory
        && let Err(found) = Access::load(&config.policies, Arc::clone(inventory))
    {
        problems.extend(found);
    }
    match (Problems::new(problems), inventory) {
        (None, Some(inventory)) => Ok(Loaded { inventory }),
        (Some(problems), _) => Err(problems),
        (None, None) => Err(Problem::of_file(path, "cannot be loaded").into()),
    }
}

fn load_inventory(
    config: &Config,
    user_ca: Option<&UserCa>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Inventory>> {
    match Inventory::load(&config.targets, user_ca) {
        Ok(inventory) => Some(Arc::new(inventory)),
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// A folder that others can read would give away what is in it; one that is missing is made.
fn check_folder(path: &Path) -> Option<Problem> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata().ok()?;
    if !metadata.is_dir() {
        return Some(Problem::of_file(path, "is not a folder"));
    }
    let mode = metadata.mode() & 0o7777;
    (mode & 0o077 != 0).then(|| {
        Problem::of_file(
            path,
            format!("has mode {mode:04o}: others can look into it"),
        )
        .hint("run chmod 700 on it")
    })
}

/// A bundle of all public authorities has a quarter of this.
const CA_MAX: u64 = 1024 * 1024;
