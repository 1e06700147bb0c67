//! The command line of `bastion`.
//!
//! Owns the arguments, the exit statuses and what is printed. Each command's work is its room's.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, Problems, chain};
use crate::recorder::{Copies, CopyTo, Door, Keep};

mod audit;
mod backup;
mod check;
mod doctor;
#[cfg(test)]
mod documents;
mod init;
mod policy;
mod recording;
mod reload;
mod scan;
mod target;

/// An SSH server between people and the machines they work on
#[derive(Parser, Debug)]
#[command(
    name = "bastion",
    version,
    after_help = "Examples:
  bastion init /etc/bastion --issuer https://id.example.com --client-id bastion
  bastion check --config /etc/bastion/bastion.toml
  bastion serve --config /etc/bastion/bastion.toml

Exit status: 0 success, 1 failure, 2 a command line that makes no sense."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Serve),
    Audit(audit::Audit),
    /// Check the configuration, the inventory, the policies and all keys
    Check(check::Check),
    /// Look at configuration, files, keys, clock, provider, targets, disk and recorder
    Doctor(doctor::Doctor),
    /// Copy the store into one file
    Backup(backup::Backup),
    /// Put a copy in the place of the store
    Restore(backup::Restore),
    /// Make a folder with keys, a configuration, an inventory and policies
    Init(init::Init),
    Recorder(Recorder),
    Recording(recording::Recordings),
    /// Mask standard input under the rules of a policy folder
    Scan(scan::Scan),
    Policy(policy::Policy),
    /// Have the server that runs take new policies, targets and webhooks
    Reload(reload::Reload),
    /// Add, list, probe and remove targets
    Target(target::Targets),
    Completions(Completions),
    Man(Man),
}

/// Accept SSH clients until told to stop
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion serve --config /etc/bastion/bastion.toml
  bastion serve --config demo.toml --ready-file /run/bastion/ready.json

Messages go to standard error; RUST_LOG sets how many. SIGTERM lets sessions end for the time of
limits.drain.

Exit status: 0 after SIGTERM, 1 when it cannot start or go on.")]
struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Write {"addresses": [...], "pid": N} here once clients are accepted
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// Write recordings for a `bastion serve`, as a process of its own
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion recorder --dir /var/lib/bastion/recordings --socket /run/bastion/recorder.sock

Without one, `bastion serve` starts its own. SIGUSR1 gives the log a new key before its day is
over. `log/vkey` in the folder is the key with which `replay verify` checks it: keep a copy
elsewhere. A file ID.keep beside a recording keeps it whatever its age.

Exit status: 0 when its client has left or after SIGTERM, 1 when it cannot start or go on.")]
struct Recorder {
    /// The folder of the recordings
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// Listen on this socket
    #[arg(long, value_name = "PATH", required_unless_present = "fd")]
    socket: Option<PathBuf>,
    /// Serve the one connection on this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "socket")]
    fd: Option<i32>,
    /// Show the audit log, and nothing else, at this socket, for `bastion audit forward`
    #[arg(long, value_name = "PATH", requires = "socket")]
    audit_socket: Option<PathBuf>,
    /// Copy each checkpoint of the log to file:PATH, journald or command:COMMAND
    #[arg(long, value_name = "WHERE")]
    checkpoints_to: Vec<CopyTo>,
    /// Remove recordings this long after their end, such as 365d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep: Option<Duration>,
    /// Remove the oldest recordings where all of them are more than so many bytes
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::section::parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a number and a unit: 12h, 365d".to_owned())
}

/// Print completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion completions bash > /etc/bash_completion.d/bastion")]
struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Write the man pages into a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion man /usr/local/share/man/man1")]
struct Man {
    /// The folder
    dir: PathBuf,
}

/// Parses the process's arguments, runs the command, and maps its result to an exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { 2 } else { 0 };
            // Where nothing can be printed, the status says it.
            error.print().unwrap_or(());
            return ExitCode::from(status);
        }
    };
    harden(&cli.command);
    let result = run(
        cli.command,
        &mut io::stdin().lock(),
        &mut io::stdout().lock(),
    );
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message {
                writeln!(io::stderr().lock(), "{message}").unwrap_or(());
            }
            ExitCode::from(failure.status)
        }
    }
}

fn run(command: Command, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve(&args),
        Command::Audit(args) => audit::run(&args, out),
        Command::Check(args) => check::run(&args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Backup(args) => backup::back_up(&args, out),
        Command::Restore(args) => backup::restore(&args, out),
        Command::Init(args) => init::run(&args, out),
        Command::Recorder(args) => recorder(&args),
        Command::Scan(args) => scan::run(&args, input, out),
        Command::Reload(args) => reload::run(&args, out),
        Command::Recording(args) => recording::run(&args, out),
        Command::Policy(args) => policy::run(&args, input, out),
        Command::Target(args) => target::run(&args, input, out),
        Command::Completions(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), "bastion", out);
            Ok(())
        }
        Command::Man(args) => {
            clap_mangen::generate_to(Cli::command(), &args.dir)?;
            Ok(())
        }
    }
}

fn serve(args: &Serve) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::problems)?;
    log();
    let options = crate::serve::Options {
        file: args.config.clone(),
        ready_file: args.ready_file.clone(),
    };
    crate::serve::run(config, options).map_err(Failure::new)
}

fn recorder(args: &Recorder) -> Result<(), Failure> {
    log();
    let door = match (&args.socket, args.fd) {
        (Some(path), None) => Door::Socket(path.clone()),
        (None, Some(fd)) => Door::Fd(fd),
        _ => return Err(Failure::new("give either --socket or --fd")),
    };
    let options = crate::recorder::Options {
        dir: args.dir.clone(),
        door,
        audit_door: args.audit_socket.clone(),
        copies: Copies(args.checkpoints_to.clone()),
        keep: Keep {
            age: args.keep,
            bytes: args.keep_bytes,
        },
    };
    crate::recorder::main(options).map_err(Failure::new)
}

/// Logs to the journal where that reads our standard error; else to standard error, text for a
/// terminal and JSON lines otherwise, so that nothing that a peer chose can look like a line of its
/// own. `RUST_LOG` says how much.
fn log() {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    if is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        let set = tracing_subscriber::registry()
            .with(filter)
            .with(journal)
            .try_init();
        return set.unwrap_or(());
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let set = if io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A program that brings its own log has one already.
    set.unwrap_or(());
}

/// Whether standard error is the journal's (systemd.exec(5), `$JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = rustix::fs::fstat(rustix::stdio::stderr());
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// New files are for their owner only. The processes that hold keys leave no core, and no other
/// process of the same user can look into them.
fn harden(command: &Command) {
    use rustix::process::{
        DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
    };
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let holds_keys = match command {
        Command::Serve(_) | Command::Recorder(_) => true,
        Command::Audit(args) => args.is_service(),
        _ => false,
    };
    if holds_keys {
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let hardened = setrlimit(Resource::Core, none)
            .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
        if let Err(error) = hardened {
            tracing::warn!(%error, "core files could not be switched off");
        }
    }
}

/// Why a command failed: what is printed to standard error, if anything.
#[derive(Debug)]
struct Failure {
    message: Option<String>,
    /// The exit status.
    status: u8,
}

impl Failure {
    /// One line.
    fn new(message: impl fmt::Display) -> Self {
        Self {
            message: Some(format!("bastion: {message}")),
            status: 1,
        }
    }

    /// One line for each mistake, which begins with its place.
    fn problems(problems: Problems) -> Self {
        Self {
            message: Some(problems.to_string()),
            status: 1,
        }
    }

    /// A rule refuses to let something pass (`REFUSED` of a session).
    fn refused(message: impl fmt::Display) -> Self {
        Self {
            status: 65,
            ..Self::new(message)
        }
    }

    /// Everything has been said on standard output.
    fn silent() -> Self {
        Self {
            message: None,
            status: 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or_default())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Nobody reads any more: nothing is left to say.
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent()
        } else {
            Self::new(error)
        }
    }
}

/// Where the configuration is, unless it is named.
const CONFIG: &str = "/etc/bastion/bastion.toml";

/// The configuration with every key, its default and a comment.
const SAMPLE: &str = include_str!("sample.toml");

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;

    /// A folder as `bastion init` makes it.
    pub(super) struct Folder(tempfile::TempDir);

    impl Folder {
        pub(super) fn init() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            bastion(&["init", &folder.path("")]).unwrap();
            folder
        }

        pub(super) fn path(&self, name: &str) -> String {
            self.0
                .path()
                .join("b")
                .join(name)
                .to_str()
                .unwrap()
                .to_owned()
        }
    }

    /// What a command prints on standard output, or on standard error where it fails.
    pub(super) fn bastion(args: &[&str]) -> Result<String, String> {
        let (status, printed) = outcome(args);
        status.map(|()| printed)
    }

    /// What a command prints on standard error where it fails, and what on standard output.
    pub(super) fn outcome(args: &[&str]) -> (Result<(), String>, String) {
        let (status, printed) = start(args, &[]);
        (status.map_err(|failure| failure.to_string()), printed)
    }

    /// The exit status of a command where it fails, and what it prints on standard output.
    pub(super) fn bastion_with_input(args: &[&str], input: &[u8]) -> (Option<u8>, String) {
        let (status, printed) = start(args, input);
        (status.err().map(|failure| failure.status), printed)
    }

    fn start(args: &[&str], mut input: &[u8]) -> (Result<(), Failure>, String) {
        let cli = Cli::try_parse_from(std::iter::once(&"bastion").chain(args)).unwrap();
        let mut out = Vec::new();
        let status = run(cli.command, &mut input, &mut out);
        (status, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_and_those_for_people_examples() {
        fn visit(command: &clap::Command, path: &str) {
            assert!(
                command.get_about().is_some(),
                "{path} says nothing about itself"
            );
            for argument in command
                .get_arguments()
                .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
            {
                assert!(
                    argument.get_help().is_some(),
                    "{path} {} has no help",
                    argument.get_id()
                );
            }
            if command.get_subcommands().next().is_none() {
                let after = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    after.starts_with("Examples:\n  bastion "),
                    "{path} has no examples"
                );
            }
            for sub in command.get_subcommands() {
                visit(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        visit(&Cli::command(), "bastion");
    }

    #[test]
    fn what_makes_no_sense_is_not_run() {
        for args in [
            &["frobnicate"][..],
            &[],
            &["target"],
            &["target", "add", "x", "h", "--login", "u"],
            &[
                "target",
                "add",
                "x",
                "h",
                "--login",
                "u",
                "--certificate",
                "--key",
                "k",
            ],
            &[
                "target",
                "add",
                "x",
                "h",
                "--login",
                "u",
                "--certificate",
                "--fingerprint",
                "f",
            ],
            &["recorder", "--dir", "d"],
            &["recorder", "--dir", "d", "--socket", "s", "--fd", "3"],
        ] {
            assert!(
                Cli::try_parse_from(std::iter::once(&"bastion").chain(args)).is_err(),
                "{args:?}"
            );
        }
    }

    #[test]
    fn completions_and_man_pages_are_made() {
        let completions = bastion(&["completions", "bash"]).unwrap();
        assert!(
            completions.contains("bastion__subcmd__target__subcmd__add")
                || completions.contains("bastion__target__add")
        );
        let folder = tempfile::tempdir().unwrap();
        bastion(&["man", folder.path().to_str().unwrap()]).unwrap();
        assert!(folder.path().join("bastion-serve.1").exists());
    }
}
