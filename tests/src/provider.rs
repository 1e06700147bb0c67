//! The OpenID provider of `tests/idp`, and its user without a browser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::files::here;
use crate::process::{Gathered, Output, Running, run};

/// A running provider. It ends with its handle.
#[derive(Debug)]
pub struct Provider {
    /// Its issuer.
    pub issuer: String,
    address: String,
    _stdout: Gathered,
    _running: Running,
}

impl Provider {
    /// Starts one with more options of `server.mjs`.
    ///
    /// # Errors
    /// Node or its packages are missing, or it does not start.
    pub fn start(options: &[String]) -> Result<Self> {
        ensure!(
            folder().join("node_modules").exists(),
            "tests/idp/node_modules is missing: run tests/run once"
        );
        // Node now and then hangs before its program's first line: its main thread waits for one of
        // its own (`futex_do_wait`) on an idle machine, for as long as one looks. That is no
        // behaviour of what is tested, so it is started anew; the last one has all the time.
        for _ in 0..STARTS {
            match Self::attempt(options, START) {
                Err(error) if error.is::<Silent>() => complain(&error),
                started => return started,
            }
        }
        Self::attempt(options, crate::DEADLINE)
    }

    fn attempt(options: &[String], limit: Duration) -> Result<Self> {
        let mut command = Command::new("node");
        command
            .arg(folder().join("server.mjs"))
            .args(["--port", "0", "--exit-on-stdin-close"])
            .args(options);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut running = Running::start("the OpenID provider", &mut command)?;
        let stdout = running.stdout()?;
        let issuer = stdout.wait_for(limit, "the provider's issuer", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (line, _) = text.split_once('\n')?;
            Some(
                line.strip_prefix("issuer ")
                    .unwrap_or(line)
                    .trim()
                    .to_owned(),
            )
        });
        let issuer = match issuer {
            Err(error) if !running.has_ended()? => return Err(error.context(Silent)),
            issuer => issuer?,
        };
        let address = issuer
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Ok(Self {
            issuer,
            address,
            _stdout: stdout,
            _running: running,
        })
    }

    /// What the user does in the browser: opens `uri`, types `code`, signs in as `user` and consents.
    /// `more` are options of `approve.mjs`.
    ///
    /// # Errors
    /// Node is missing. A sign-in that the provider refuses is an [`Output`] with its status.
    pub fn approve(&self, uri: &str, code: &str, user: &str, more: &[&str]) -> Result<Output> {
        let mut command = Command::new("node");
        command
            .arg(folder().join("approve.mjs"))
            .args(["--uri", uri, "--code", code, "--user", user])
            .args(more);
        run("approve.mjs", &mut command, b"")
    }

    /// The control API's state: users, codes, requests counted by path.
    ///
    /// # Errors
    /// The provider is gone.
    pub fn state(&self) -> Result<Value> {
        self.request("GET", "/_control/state", "")
    }

    /// One request to the control API.
    ///
    /// # Errors
    /// The provider is gone, or refuses it.
    pub fn control(&self, what: &str, body: &Value) -> Result<Value> {
        self.request("POST", &format!("/_control/{what}"), &body.to_string())
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(crate::DEADLINE))?;
        stream.set_write_timeout(Some(crate::DEADLINE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .with_context(|| format!("the provider's answer to {method} {path}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
        ensure!(
            head.split_whitespace()
                .nth(1)
                .is_some_and(|s| s.starts_with('2')),
            "{path}: {answer}"
        );
        if body.trim().is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(body)?)
        }
    }
}

/// A provider that runs and has said nothing.
#[derive(Clone, Copy, Debug)]
struct Silent;

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the provider says nothing")
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the runner shows it where a test fails"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("{error:#}\nit is started once more");
}

/// One that has said nothing after this is started anew,
const START: Duration = Duration::from_secs(15);
/// so often.
const STARTS: usize = 2;

fn folder() -> PathBuf {
    here("idp")
}
