//! A child process: its output gathered while it runs, its end waited for, its life bound to a handle.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use crate::DEADLINE;

/// Bytes that a thread reads from a pipe while others wait for what they contain.
#[derive(Clone, Debug, Default)]
pub struct Gathered(Arc<(Mutex<Seen>, Condvar)>);

#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    ended: bool,
}

impl Gathered {
    /// Reads `source` to its end on a thread of its own.
    pub fn from(mut source: impl Read + Send + 'static) -> Self {
        let gathered = Self::default();
        let into = gathered.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => into.add(buffer.get(..n).unwrap_or_default()),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    // EIO is how the end of a pseudo-terminal reads.
                    Err(_) => break,
                }
            }
            into.seen().ended = true;
            into.0.1.notify_all();
        });
        gathered
    }

    /// What has come so far.
    pub fn so_far(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    /// What has come so far, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen().bytes).into_owned()
    }

    /// The number of bytes so far: a place from which [`Gathered::expect_after`] looks.
    pub fn len(&self) -> usize {
        self.seen().bytes.len()
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `find` sees what it looks for.
    ///
    /// # Errors
    /// The source ended or [`DEADLINE`] passed before; the text so far is in the error.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&[u8]) -> Option<T>) -> Result<T> {
        let until = Instant::now() + DEADLINE;
        let mut seen = self.seen();
        loop {
            if let Some(found) = find(&seen.bytes) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if seen.ended || left.is_zero() {
                let why = if seen.ended {
                    "ended"
                } else {
                    "waited in vain"
                };
                bail!(
                    "{why} before {what}; so far:\n{}",
                    String::from_utf8_lossy(&seen.bytes)
                );
            }
            seen = self
                .0
                .1
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for `text` after the first `place` bytes; answers with the place behind it.
    ///
    /// # Errors
    /// As for [`Gathered::wait`].
    pub fn expect_after(&self, place: usize, text: &str) -> Result<usize> {
        self.wait(&format!("{text:?}"), |bytes| {
            let rest = bytes.get(place..)?;
            let at = rest
                .windows(text.len().max(1))
                .position(|w| w == text.as_bytes())?;
            Some(place + at + text.len())
        })
    }

    /// Waits for `text`.
    ///
    /// # Errors
    /// As for [`Gathered::wait`].
    pub fn expect(&self, text: &str) -> Result<()> {
        self.expect_after(0, text).map(drop)
    }

    /// Waits for the end and answers with everything.
    ///
    /// # Errors
    /// [`DEADLINE`] passed before.
    pub fn all(&self) -> Result<Vec<u8>> {
        let until = Instant::now() + DEADLINE;
        let mut seen = self.seen();
        while !seen.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no end; so far:\n{}", String::from_utf8_lossy(&seen.bytes));
            }
            seen = self
                .0
                .1
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(std::mem::take(&mut seen.bytes))
    }

    fn add(&self, bytes: &[u8]) {
        self.seen().bytes.extend_from_slice(bytes);
        self.0.1.notify_all();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running child. Dropping it kills it, by its id, and waits for its end.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    group: bool,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`.
    ///
    /// # Errors
    /// The program is missing; the error says where it would come from.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        Self::spawn(name, command, false)
    }

    /// Starts `command` as the first of a process group, which ends with it.
    ///
    /// # Errors
    /// As for [`Running::start`].
    pub fn start_group(name: &str, command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        Self::spawn(name, command.process_group(0), true)
    }

    fn spawn(name: &str, command: &mut Command, group: bool) -> Result<Self> {
        let child = command.spawn().with_context(|| {
            format!(
                "cannot start {name} ({}): run tests/run once, which installs what is missing",
                program(command)
            )
        })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            group,
            ended: None,
        })
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipe to its standard input, where it has one and nobody took it.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Gathers its standard output.
    ///
    /// # Errors
    /// It has no such pipe.
    pub fn stdout(&mut self) -> Result<Gathered> {
        Ok(Gathered::from(
            self.child
                .stdout
                .take()
                .context("no pipe from its stdout")?,
        ))
    }

    /// Gathers its standard error.
    ///
    /// # Errors
    /// It has no such pipe.
    pub fn stderr(&mut self) -> Result<Gathered> {
        Ok(Gathered::from(
            self.child
                .stderr
                .take()
                .context("no pipe from its stderr")?,
        ))
    }

    /// The raw standard output, to be read by the caller.
    ///
    /// # Errors
    /// It has no such pipe.
    pub fn raw_stdout(&mut self) -> Result<std::process::ChildStdout> {
        self.child.stdout.take().context("no pipe from its stdout")
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// The operating system's.
    pub fn has_ended(&mut self) -> Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_some())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("no signal to {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It is still there after [`DEADLINE`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_for(DEADLINE)
    }

    /// Waits for its end for as long as `limit`.
    ///
    /// # Errors
    /// It is still there after that.
    pub fn wait_for(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let handle = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = Some(status);
                return Ok(status);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} has not ended after {limit:?}", self.name);
            }
            readable(&handle, left)?;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.has_ended(), Ok(true)) && !self.group {
            return;
        }
        let pid = Pid::from_child(&self.child);
        // Either may be gone already, which is what is wanted.
        if self.group {
            kill_process_group(pid, Signal::KILL).ok();
        } else {
            kill_process(pid, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

/// What a program that ran to its end left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The exit status, or 128 + the signal.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Itself, where the status is 0.
    ///
    /// # Errors
    /// Another status; the error has both outputs.
    pub fn ok(self) -> Result<Self> {
        if self.code() != 0 {
            bail!(
                "exit status {}\nstdout: {}\nstderr: {}",
                self.code(),
                self.out(),
                self.err()
            );
        }
        Ok(self)
    }
}

/// Runs `command` to its end with `input` on its standard input.
///
/// # Errors
/// It is missing, or has not ended after [`DEADLINE`].
pub fn run(name: &str, command: &mut Command, input: &[u8]) -> Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(name, command)?;
    let (stdout, stderr) = (running.stdout()?, running.stderr()?);
    let mut stdin = running.stdin().context("no pipe to its stdin")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program may end without having read everything.
        stdin.write_all(&input).ok();
    });
    let status = running
        .wait()
        .with_context(|| format!("its stderr so far:\n{}", stderr.text()))?;
    drop(writer);
    Ok(Output {
        status,
        stdout: stdout.all()?,
        stderr: stderr.all()?,
    })
}

/// Runs `command` to its end and wants the exit status 0.
///
/// # Errors
/// As for [`run`], or another status.
pub fn run_ok(name: &str, command: &mut Command) -> Result<Output> {
    run(name, command, b"")?
        .ok()
        .with_context(|| name.to_owned())
}

/// Waits until `fd` is readable or `limit` has passed.
///
/// # Errors
/// The operating system's.
pub fn readable(fd: impl std::os::fd::AsFd, limit: Duration) -> Result<bool> {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs())?,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
