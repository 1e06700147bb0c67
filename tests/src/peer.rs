//! Second implementations: Python programs of `tests/peers` in the environment that `tests/run` installs.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::files::{here, installed};
use crate::process::{Output, Running, run};

/// The Python of the peers' environment.
///
/// # Errors
/// It is not installed.
pub fn python() -> Result<Command> {
    let mut command = Command::new(installed("venv/bin/python")?);
    command
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// A script of `tests/peers` with its arguments.
///
/// # Errors
/// Python is not installed.
pub fn script(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = python()?;
    command.arg(here("peers").join(name)).args(arguments);
    Ok(command)
}

/// Runs a script to its end.
///
/// # Errors
/// As for [`script`], or it does not end.
pub fn run_script(name: &str, arguments: &[&str]) -> Result<Output> {
    run(name, &mut script(name, arguments)?, b"")
}

/// Runs a script that prints one JSON document.
///
/// # Errors
/// As for [`run_script`]; or its status is not 0, or it prints something else.
pub fn ask(name: &str, arguments: &[&str]) -> Result<Value> {
    let output = run_script(name, arguments)?.ok().context(name.to_owned())?;
    serde_json::from_slice(&output.stdout).with_context(|| output.out())
}

/// Starts a script that serves until its handle is dropped, and waits for its first line: a JSON document.
///
/// # Errors
/// As for [`script`], or it ends before.
pub fn serve(name: &str, arguments: &[&str]) -> Result<(Running, Value)> {
    use std::process::Stdio;
    let mut command = script(name, arguments)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut running = Running::start(name, &mut command)?;
    let line = running.stdout()?.wait("its first line", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        Some(text.split_once('\n')?.0.to_owned())
    })?;
    Ok((running, serde_json::from_str(&line)?))
}
