//! The command line of `bastion`.

use std::process::ExitCode;

/// Parses the process's arguments, runs the command, and maps its result to an exit status.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
