//! `bastion reload`: new policies, targets and webhooks for the server that runs.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::Failure;
use crate::config::{Config, printable};

/// Arguments of `reload`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion reload --config /etc/bastion/bastion.toml
  bastion reload --json | jq -r '.problems[] | \"\\(.file):\\(.line): \\(.message)\"'

The server reads targets, policies and the [[webhook]] sections of its configuration anew and puts
them in force when all of it is right; channels that are opened from then on take them. Sessions that run go on, or end where their access is gone:
policies.on_revoke. SIGHUP does the same, and says how it went in the log and the audit log only.

Exit status: 0 when the new policies are in force, 1 when the earlier ones stay or no server runs.")]
pub(super) struct Reload {
    /// The configuration file of the server
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Reload, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    let socket = crate::serve::socket_path(&config.state_dir);
    let socket = printable(&socket.display().to_string());
    let answer = crate::serve::ask(&config.state_dir).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(format!(
            "no server runs with this configuration: nobody listens at {socket}; start one with bastion serve"
        )),
        _ => Failure::new(format!("the server does not answer at {socket}: {error}")),
    })?;
    if args.json {
        serde_json::to_writer(&mut *out, &answer).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return if answer.ok {
            Ok(())
        } else {
            Err(Failure::silent())
        };
    }
    if answer.ok {
        writeln!(out, "{}", printable(&answer.message))?;
        return Ok(());
    }
    let mut lines: Vec<String> = answer.problems.iter().map(ToString::to_string).collect();
    lines.push(format!("bastion: {}", printable(&answer.message)));
    Err(Failure {
        message: Some(lines.join("\n")),
        status: 1,
    })
}
