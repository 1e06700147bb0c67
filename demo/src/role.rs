//! Which program this run is: the name that it was called by decides.
//!
//! The demo links its own executable as `bastion`, `replay` and `sql`, so that one `cargo run`
//! is enough, and what runs is the real programs.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions};

/// A program inside this executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The demo.
    Demo,
    /// `bastion`, the real program.
    Bastion,
    /// `replay`, the real program.
    Replay,
    /// `sql` on the targets.
    Sql,
    /// Takes its standard input as controlling terminal, then becomes another program.
    Terminal,
}

/// The name under which this executable gives a program a terminal.
pub const TERMINAL: &str = "demo-terminal";

/// The environment variable that names the demo's process: a child ends when that process ends.
pub const PARENT: &str = "BASTION_DEMO_PARENT";

impl Role {
    /// The role of a run, from `argv[0]` and the first argument.
    ///
    /// A bastion starts its recorder as `EXECUTABLE recorder …`, with the executable's own name.
    #[must_use]
    pub fn of(name: &OsStr, first: Option<&OsStr>) -> Self {
        match Path::new(name).file_name().and_then(OsStr::to_str) {
            Some("bastion") => Self::Bastion,
            Some("replay") => Self::Replay,
            Some("sql") => Self::Sql,
            Some(TERMINAL) => Self::Terminal,
            _ if first == Some(OsStr::new("recorder")) => Self::Bastion,
            _ => Self::Demo,
        }
    }
}

/// Ends this process when the demo ends in a way that it can't clean up after (SIGKILL).
///
/// Does nothing without the variable [`PARENT`], as when a person runs the linked program.
pub fn follow_parent() {
    let parent = std::env::var(PARENT)
        .ok()
        .and_then(|pid| pid.parse().ok())
        .and_then(Pid::from_raw);
    let Some(parent) = parent else { return };
    if rustix::process::getppid() != Some(parent) {
        return;
    }
    // On failure this is a child as any other: the demo ends it by a signal.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).unwrap_or_default();
    if rustix::process::getppid() != Some(parent) {
        std::process::exit(1);
    }
}

/// Makes this process the parent of every process that loses its own below it, so that
/// [`end_orphans`] finds those that a shell of a target left behind.
pub fn adopt_orphans() {
    // Without it such processes live on, as on any machine.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap_or_default();
}

/// Ends all children of this process, and those that come to it by that.
pub fn end_orphans() {
    // Each round ends a generation; a program that starts others faster than this is not stopped.
    for _ in 0..32 {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            // One that has ended in the meantime is what was wanted.
            rustix::process::kill_process(child, Signal::KILL).unwrap_or_default();
            rustix::process::waitpid(Some(child), WaitOptions::empty()).unwrap_or_default();
        }
    }
}

fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // PID (NAME) STATE PARENT …; the name can hold anything.
            let (_, rest) = stat.rsplit_once(')')?;
            (rest.split_whitespace().nth(1)? == own).then_some(pid)
        })
        .collect()
}

/// Makes a new session with standard input as its terminal and becomes the program of the second
/// argument, called by the name of the first, with the others.
///
/// It returns only when that fails, with 126 or, where there is no such program, 127.
#[must_use]
pub fn terminal() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(name), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(126);
    };
    let ready =
        rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(io::stdin()));
    if ready.is_err() {
        return ExitCode::from(126);
    }
    let error = Command::new(program).arg0(name).args(arguments).exec();
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        let cases = [
            ("/tmp/x/bin/bastion", None, Role::Bastion),
            ("replay", Some("list"), Role::Replay),
            ("bin/sql", None, Role::Sql),
            ("demo-terminal", Some("-bash"), Role::Terminal),
            ("/target/release/demo", None, Role::Demo),
            ("/target/release/demo", Some("--tour"), Role::Demo),
            ("/target/release/demo", Some("recorder"), Role::Bastion),
            ("sql", Some("recorder"), Role::Sql),
            ("", None, Role::Demo),
        ];
        for (name, first, role) in cases {
            assert_eq!(
                Role::of(OsStr::new(name), first.map(OsStr::new)),
                role,
                "{name} {first:?}"
            );
        }
    }
}
