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
pub struct Gathered {
    shared: Arc<(Mutex<Seen>, Condvar)>,
    /// The process that they come from.
    process: Option<u32>,
}

#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    ended: bool,
}

impl Gathered {
    /// Reads `source` to its end on a thread of its own.
    pub fn from(source: impl Read + Send + 'static) -> Self {
        Self::of(None, source)
    }

    fn of(process: Option<u32>, mut source: impl Read + Send + 'static) -> Self {
        let gathered = Self {
            process,
            ..Self::default()
        };
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
            into.shared.1.notify_all();
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
    pub fn wait<T>(&self, what: &str, find: impl FnMut(&[u8]) -> Option<T>) -> Result<T> {
        self.wait_for(DEADLINE, what, find)
    }

    /// The same for no longer than `limit`.
    ///
    /// # Errors
    /// As for [`Gathered::wait`].
    pub fn wait_for<T>(
        &self,
        limit: Duration,
        what: &str,
        mut find: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let until = Instant::now() + limit;
        let mut seen = self.seen();
        loop {
            if let Some(found) = find(&seen.bytes) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if seen.ended || left.is_zero() {
                let so_far = String::from_utf8_lossy(&seen.bytes);
                if seen.ended {
                    bail!("ended before {what}; so far:\n{so_far}");
                }
                let state = state_of(self.process);
                bail!("waited in vain before {what}; so far:\n{so_far}\n{state}");
            }
            seen = self
                .shared
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
                .shared
                .1
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(std::mem::take(&mut seen.bytes))
    }

    fn add(&self, bytes: &[u8]) {
        self.seen().bytes.extend_from_slice(bytes);
        self.shared.1.notify_all();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a process that says nothing waits for, as far as the system tells: itself, whoever waits for a
/// disk, and what is scarce.
fn state_of(process: Option<u32>) -> String {
    use std::fmt::Write;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let waits = |id: &str| {
        let stack = read(&format!("/proc/{id}/stack"));
        let wchan = read(&format!("/proc/{id}/wchan"));
        let syscall = read(&format!("/proc/{id}/syscall"));
        let stack: Vec<_> = stack.lines().map(str::trim).collect();
        let (syscall, stack) = (syscall.trim(), stack.join(" "));
        format!("in {wchan}, syscall {syscall}, {stack}")
    };
    let mut state = String::new();
    let mut say = |line: String| writeln!(state, "{line}").unwrap_or(());
    let status = |id: &str| {
        let status = read(&format!("/proc/{id}/status"));
        let of = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key));
            line.unwrap_or_default().replace('\t', " ")
        };
        (of("State:"), format!("{}, {}", of("Name:"), of("State:")))
    };
    if let Some(id) = process {
        let id = id.to_string();
        say(format!("process {id}: {}, {}", status(&id).1, waits(&id)));
    }
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id.bytes().all(|byte| byte.is_ascii_digit()) && status(&id).0.contains(" D") {
            say(format!(
                "waits for a disk, {id}: {}, {}",
                status(&id).1,
                waits(&id)
            ));
        }
    }
    for kind in ["cpu", "io", "memory"] {
        let pressure = read(&format!("/proc/pressure/{kind}"));
        let some = pressure.lines().next().unwrap_or_default();
        say(format!("pressure of {kind}: {some}"));
    }
    say(format!("load: {}", read("/proc/loadavg").trim()));
    for line in read("/proc/meminfo").lines() {
        if ["MemAvailable:", "Dirty:", "Writeback:"]
            .iter()
            .any(|key| line.starts_with(key))
        {
            say(line.to_owned());
        }
    }
    state
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
        let pipe = self.child.stdout.take();
        let pipe = pipe.context("no pipe from its stdout")?;
        Ok(Gathered::of(Some(self.id()), pipe))
    }

    /// Gathers its standard error.
    ///
    /// # Errors
    /// It has no such pipe.
    pub fn stderr(&mut self) -> Result<Gathered> {
        let pipe = self.child.stderr.take();
        let pipe = pipe.context("no pipe from its stderr")?;
        Ok(Gathered::of(Some(self.id()), pipe))
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
