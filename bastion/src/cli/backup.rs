//! `bastion backup` and `bastion restore`: the store as one file, and back.

use std::io::Write;
use std::path::PathBuf;

use super::{Failure, chain};
use crate::config::{Config, printable};
use crate::store;

/// Arguments of `backup`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion backup /var/backups/bastion-$(date +%F).sqlite --config /etc/bastion/bastion.toml

The bastion may run meanwhile. The copy is one SQLite file, mode 0600, and checked before this ends. It
holds users, keys, locks and leases, with tokens sealed under store_key; recordings, the audit log,
keys and configuration are not in it.

Exit status: 0 when the copy is whole, 1 otherwise; then there is none.")]
pub(super) struct Backup {
    /// The file to write; it must not be there
    file: PathBuf,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// Arguments of `restore`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion restore /var/backups/bastion-2026-11-25.sqlite --config /etc/bastion/bastion.toml

Stop the service before (systemctl stop bastion.service) and start it afterwards. The copy is checked first; what was there is kept beside it. Leases are not brought back: everybody
signs in anew. Locks are those of the copy.

Exit status: 0 when the copy has taken its place, 1 otherwise; then nothing has changed.")]
pub(super) struct Restore {
    /// What `bastion backup` has written
    file: PathBuf,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

pub(super) fn back_up(args: &Backup, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    let path = config.state_dir.join("store.sqlite");
    let copied = store::back_up(&path, &args.file).map_err(|error| Failure::new(chain(&error)))?;
    writeln!(
        out,
        "{}: {}",
        printable(&args.file.display().to_string()),
        described(copied)
    )?;
    Ok(())
}

pub(super) fn restore(args: &Restore, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    let path = config.state_dir.join("store.sqlite");
    let (copied, old) = store::restore(&args.file, &path).map_err(|error| match error {
        store::StoreError::Busy => {
            Failure::new("a bastion uses the store; stop it first: systemctl stop bastion.service")
        }
        error => Failure::new(chain(&error)),
    })?;
    writeln!(
        out,
        "restored: {}; everybody signs in anew",
        described(copied)
    )?;
    if let Some(old) = old {
        let old = printable(&old.display().to_string());
        writeln!(out, "what was there before: {old}")?;
    }
    Ok(())
}

fn described(copied: store::Copied) -> String {
    format!(
        "{} users, {} keys, {} locks, schema {}",
        copied.users, copied.keys, copied.locks, copied.schema
    )
}
