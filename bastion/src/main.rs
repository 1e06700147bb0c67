//! The program `bastion`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bastion::cli::main()
}
