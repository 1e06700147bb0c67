//! The program `demo`: see the library.

use std::ffi::OsStr;
use std::process::ExitCode;

use demo::Role;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    match Role::of(&name, arguments.next().as_deref()) {
        Role::Sql => demo::sql::main(),
        Role::Terminal => demo::role::terminal(),
        Role::Bastion | Role::Replay | Role::Demo => {
            let _ = OsStr::new("");
            ExitCode::FAILURE
        }
    }
}
