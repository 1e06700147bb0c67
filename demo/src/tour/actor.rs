//! A person at a terminal and a browser: runs commands, and confirms sign-ins at the provider.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, Command};
use tokio::time;

use crate::stage::Stage;

/// Runs commands in the stage's folder.
#[derive(Debug)]
pub struct Actor {
    folder: PathBuf,
    page: String,
    browser: reqwest::Client,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command, as a person would type it.
    pub typed: String,
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its other output.
    pub stderr: Vec<u8>,
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Whether it showed an address and a code.
    pub asked: bool,
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum ActorError {
    /// It could not be started or read.
    #[error("{typed}: {source}")]
    Start {
        /// The command.
        typed: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{typed}: no end after {seconds} s")]
    Hangs {
        /// The command.
        typed: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The provider's page did not do as it should.
    #[error("the provider's page: {0}")]
    Browser(#[from] reqwest::Error),
    /// The page said something else.
    #[error("the provider's page does not say {0:?}")]
    Page(String),
}

/// What a person does when a command asks for a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn<'a> {
    /// Nobody is at the keyboard: no code may be shown (`BatchMode`).
    Never,
    /// Confirms as that person.
    As(&'a str),
    /// Says no.
    Deny,
}

impl Ran {
    /// The output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The other output as text, with LF alone.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).replace("\r\n", "\n")
    }
}

/// No command of the tour takes as long.
const DEADLINE: Duration = Duration::from_secs(45);

impl Actor {
    /// Somebody in front of `stage`.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new(stage: &Stage) -> Result<Self, reqwest::Error> {
        let browser = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self {
            folder: stage.folder().to_owned(),
            page: stage.page(),
            browser,
        })
    }

    /// The stage's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs the stock `ssh` with these arguments.
    ///
    /// # Errors
    /// When it does not start or end, or the provider's page is wrong.
    pub async fn ssh(
        &self,
        words: &[&str],
        stdin: &[u8],
        sign_in: SignIn<'_>,
    ) -> Result<Ran, ActorError> {
        let mut all = vec!["-F", "ssh_config"];
        if sign_in == SignIn::Never {
            all.extend(["-o", "BatchMode=yes"]);
        }
        all.extend(words);
        let mut ran = self.run("ssh", &all, stdin, sign_in).await?;
        ran.typed = typed("ssh", words);
        Ok(ran)
    }

    /// Runs a program in the stage's folder.
    ///
    /// # Errors
    /// As [`Actor::ssh`].
    pub async fn run(
        &self,
        program: &str,
        words: &[&str],
        stdin: &[u8],
        sign_in: SignIn<'_>,
    ) -> Result<Ran, ActorError> {
        let line = typed(program, words);
        let failed = |source| ActorError::Start {
            typed: line.clone(),
            source,
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(&self.folder)
            .kill_on_drop(true);
        // Nothing of the person's own: no agent, no window that asks.
        command
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("SSH_ASKPASS")
            .env("TERM", "xterm-256color");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(mut to), Some(mut from), Some(notices)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(io::Error::other("no pipes")));
        };
        let write = async {
            // A command need not read all that it is given.
            to.write_all(stdin).await.unwrap_or_default();
            drop(to);
        };
        let mut stdout = Vec::new();
        let read = from.read_to_end(&mut stdout);
        let all = async {
            let ((), read, watched, ended) =
                tokio::join!(write, read, self.watch(notices, sign_in), child.wait());
            read.map_err(failed)?;
            Ok::<_, ActorError>((watched?, ended.map_err(failed)?))
        };
        let seconds = DEADLINE.as_secs();
        let ((stderr, asked), status) =
            time::timeout(DEADLINE, all)
                .await
                .map_err(|_| ActorError::Hangs {
                    typed: line.clone(),
                    seconds,
                })??;
        Ok(Ran {
            typed: line,
            stdout,
            stderr,
            status: status.code(),
            asked,
        })
    }

    /// Reads what `ssh` says, and signs in when it shows an address and a code.
    async fn watch(
        &self,
        mut from: ChildStderr,
        sign_in: SignIn<'_>,
    ) -> Result<(Vec<u8>, bool), ActorError> {
        let (mut seen, mut asked) = (Vec::new(), false);
        let mut failure = None;
        // On failure the rest is still read, so that the command can end.
        while let Ok(1..) = from.read_buf(&mut seen).await {
            let code = find_code(&String::from_utf8_lossy(&seen), &self.page);
            if let (false, Some(code)) = (asked, code) {
                asked = true;
                failure = self.decide(&code, sign_in).await.err();
            }
        }
        failure.map_or(Ok((seen, asked)), Err)
    }

    /// What a person does in the browser: opens the page with the code, picks a name, clicks.
    async fn decide(&self, code: &str, sign_in: SignIn<'_>) -> Result<(), ActorError> {
        let (person, decision, said) = match sign_in {
            SignIn::Never => return Ok(()),
            SignIn::As(person) => (person, "confirm", format!("Signed in as {person}")),
            SignIn::Deny => ("", "deny", "Denied".to_owned()),
        };
        let form = |pairs: &[(&str, &str)]| {
            url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish()
        };
        let page = format!("{}?{}", self.page, form(&[("user_code", code)]));
        let page = self.browser.get(page).send().await?.text().await?;
        if !page.contains(code) || !page.contains("Is this your sign-in?") {
            return Err(ActorError::Page(code.to_owned()));
        }
        let form = form(&[
            ("user_code", code),
            ("person", person),
            ("decision", decision),
        ]);
        let request = self.browser.post(&self.page).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let page = request.send().await?.text().await?;
        if page.contains(&said) {
            Ok(())
        } else {
            Err(ActorError::Page(said))
        }
    }
}

/// The code in what `ssh` shows, once the provider's page and a whole line with the code are there.
#[must_use]
pub fn find_code(text: &str, page: &str) -> Option<String> {
    let whole = text.get(..=text.rfind('\n')?)?;
    whole.contains(page).then_some(())?;
    whole
        .split(|c: char| c.is_whitespace() || "\"'.,;()=?".contains(c))
        .find(|word| {
            let mut letters = word.bytes().enumerate();
            word.len() == 9
                && letters.all(|(at, c)| {
                    if at == 4 {
                        c == b'-'
                    } else {
                        c.is_ascii_uppercase()
                    }
                })
        })
        .map(str::to_owned)
}

/// The command as a person would type it in a shell.
fn typed(program: &str, words: &[&str]) -> String {
    let mut line = program.to_owned();
    for word in words {
        let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
        let written = if !word.is_empty() && word.chars().all(plain) {
            write!(line, " {word}")
        } else if word.contains('\'') && !word.contains(['"', '$', '`', '\\', '!']) {
            write!(line, " \"{word}\"")
        } else {
            write!(line, " '{}'", word.replace('\'', "'\\''"))
        };
        // Writing to a String cannot fail.
        written.unwrap_or_default();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_counts_when_its_line_is_whole() {
        let page = "http://127.0.0.1:81/device";
        let table = [
            ("", None),
            ("Open http://127.0.0.1:81/device and enter BCDF-GHJK", None),
            (
                "Open http://127.0.0.1:81/device and enter BCDF-GHJK\r\n",
                Some("BCDF-GHJK"),
            ),
            (
                "http://127.0.0.1:81/device\r\nCode: BCDF-GHJK.\r\nWaiting",
                Some("BCDF-GHJK"),
            ),
            ("http://evil.example/device\r\nBCDF-GHJK\r\n", None),
            (
                "http://127.0.0.1:81/device\r\nbcdf-ghjk ABCDE-FGH\r\n",
                None,
            ),
        ];
        for (text, code) in table {
            assert_eq!(find_code(text, page).as_deref(), code, "{text:?}");
        }
    }

    #[test]
    fn commands_are_shown_as_a_shell_takes_them() {
        let table = [
            (vec!["a@b", "sql 'x'"], "ssh a@b \"sql 'x'\""),
            (vec!["echo $HOME"], "ssh 'echo $HOME'"),
            (vec!["it's $X", ""], "ssh 'it'\\''s $X' ''"),
        ];
        for (words, line) in table {
            assert_eq!(typed("ssh", &words), line);
        }
    }
}
