//! A recording that lies on a bastion: `ssh://BASTION/SESSION`.
//!
//! It is asked for with the `ssh` of this machine and its configuration (`ssh BASTION recording
//! SESSION`). The names are checked and handed over as single arguments: no shell sees them, and
//! none of them can be an option.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;

/// Where the recording is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// `HOST` or `USER@HOST`, as ssh takes it.
    host: String,
    port: Option<u16>,
    session: String,
}

/// What was written is no such place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a recording on a bastion is written as ssh://BASTION/SESSION or ssh://USER@BASTION:PORT/SESSION"
)]
pub struct NotRemote;

/// What such places begin with.
pub const SCHEME: &str = "ssh://";

/// Longest name of a host, a user, or a session.
const NAME_MAX: usize = 255;

impl FromStr for Remote {
    type Err = NotRemote;

    fn from_str(text: &str) -> Result<Self, NotRemote> {
        let rest = text.strip_prefix(SCHEME).ok_or(NotRemote)?;
        let (place, session) = rest.split_once('/').ok_or(NotRemote)?;
        let (host, port) = match place.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| NotRemote)?)),
            None => (place, None),
        };
        let mut names = host.splitn(2, '@');
        let is_session = session.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !names.all(is_name) || !is_name(session) || !is_session {
            return Err(NotRemote);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            session: session.to_owned(),
        })
    }
}

/// Letters and digits, and inside of it `.`, `_` and `-`.
fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= NAME_MAX
        && name.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
        && name.bytes().all(inside)
}

impl Remote {
    /// As it was written.
    pub fn name(&self) -> String {
        let port = self.port.map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        format!("{SCHEME}{}{port}/{}", self.host, self.session)
    }

    /// The id of the session.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// ssh with a console command that takes a session.
    pub(crate) fn ssh(&self, options: &[&str], command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(options);
        if let Some(port) = self.port {
            ssh.arg("-p").arg(port.to_string());
        }
        ssh.arg("--").args([&self.host, command, &self.session]);
        ssh
    }

    /// Asks for the recording and waits until it begins: signing in has its turn on the terminal
    /// before anything else is painted there.
    ///
    /// # Errors
    ///
    /// ssh can't be started, or it ends without a recording.
    pub fn open(&self) -> io::Result<Fetch> {
        let mut ssh = self.ssh(&["-T"], "recording");
        let mut child = ssh.stdout(Stdio::piped()).spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("ssh cannot be started: {error}"))
        })?;
        let stdout = child.stdout.take();
        let mut fetch = Fetch {
            stdout: stdout.ok_or_else(|| io::Error::other("ssh has no output"))?,
            child,
            first: None,
            ended: false,
        };
        let mut first = [0];
        if fetch.read(&mut first)? > 0 {
            fetch.first = first.first().copied();
        }
        Ok(fetch)
    }
}

/// The bytes of a recording, as ssh gives them. When ssh fails, reading does at the end.
#[derive(Debug)]
pub struct Fetch {
    child: Child,
    stdout: ChildStdout,
    first: Option<u8>,
    ended: bool,
}

impl Read for Fetch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let (Some(first), Some(place)) = (self.first, buffer.first_mut()) {
            *place = first;
            self.first = None;
            return Ok(1);
        }
        let length = self.stdout.read(buffer)?;
        if length > 0 || buffer.is_empty() || self.ended {
            return Ok(length);
        }
        self.ended = true;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(0),
            false => Err(io::Error::other(format!("ssh failed ({status})"))),
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // Whoever asked has seen enough; where ssh has ended already there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for (text, host, port) in [
            ("ssh://bastion/abc0", "bastion", None),
            (
                "ssh://ada@bastion.example.test/abc0",
                "ada@bastion.example.test",
                None,
            ),
            ("ssh://10.0.0.1:2222/abc0", "10.0.0.1", Some(2222)),
        ] {
            let remote: Remote = text.parse().expect(text);
            assert_eq!((remote.host.as_str(), remote.port), (host, port));
            assert_eq!((remote.session(), remote.name().as_str()), ("abc0", text));
        }
        for text in [
            "ssh://bastion",
            "ssh://bastion/",
            "ssh:///abc",
            "ssh://-oProxyCommand=id/abc",
            "ssh://a@-oProxyCommand/abc",
            "ssh://a@b@c/abc",
            "ssh://a;id/abc",
            "ssh://$(id)/abc",
            "ssh://a b/abc",
            "ssh://bastion/../abc",
            "ssh://bastion/a/b",
            "ssh://bastion/-l",
            "ssh://bastion/a;id",
            "ssh://bastion:99999/abc",
            "ssh://bastion:/abc",
            "ssh://b\u{1b}/abc",
            "http://bastion/abc",
        ] {
            assert_eq!(text.parse::<Remote>(), Err(NotRemote), "{text}");
        }
    }
}
