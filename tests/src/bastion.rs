//! The program under test: `bastion serve` with a configuration, and what the system knows about it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::files::{program, wait_for_file};
use crate::process::{Gathered, Running};

/// A running `bastion serve`.
#[derive(Debug)]
pub struct Bastion {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// What it logs.
    pub log: Gathered,
    running: Running,
    quiet: bool,
}

impl Bastion {
    /// Starts the built program with the configuration file and waits until it listens.
    ///
    /// # Errors
    /// It is not built, refuses the configuration, or ends; its log is in the error.
    pub fn start(configuration: &Path, log: &str) -> Result<Self> {
        let ready = configuration.with_extension("ready.json");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let mut command = Command::new(program("bastion")?);
        command
            .args(["serve", "--config"])
            .arg(configuration)
            .arg("--ready-file")
            .arg(&ready);
        // Its temporary files, if it makes any, lie where tests look for what must be nowhere.
        let temporary = configuration.with_file_name("tmp");
        std::fs::create_dir_all(&temporary)?;
        command.env("RUST_LOG", log).env("TMPDIR", temporary);
        command.env_remove("SSH_AUTH_SOCK");
        credentials(&mut command, configuration);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut running = Running::start("bastion", &mut command)?;
        let log = running.stderr()?;
        wait_for_file(&ready, &mut running)
            .with_context(|| format!("bastion's log:\n{}", log.text()))?;
        let text = std::fs::read_to_string(&ready)?;
        let ready: Value = serde_json::from_str(&text)?;
        let address = ready
            .pointer("/addresses/0")
            .and_then(Value::as_str)
            .context("an address in the ready file")?;
        let port = address.rsplit_once(':').context("a port")?.1.parse()?;
        ensure!(
            ready.get("pid").and_then(Value::as_u64) == Some(u64::from(running.id())),
            "another process's ready file: {text}"
        );
        Ok(Self {
            port,
            log,
            running,
            quiet: false,
        })
    }

    /// The id of `serve`.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// The ids of its children: the recorder.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn children(&self) -> Result<Vec<u32>> {
        let mut children = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            if parent(id) == Some(self.id()) {
                children.push(id);
            }
        }
        Ok(children)
    }

    /// The id of the embedded recorder.
    ///
    /// # Errors
    /// There is none.
    pub fn recorder(&self) -> Result<u32> {
        for id in self.children()? {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line)
                .split('\0')
                .any(|word| word == "recorder")
            {
                return Ok(id);
            }
        }
        anyhow::bail!("no recorder among the children of {}", self.id())
    }

    /// Sends a signal to `serve`.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running.signal(signal)
    }

    /// Asks it to end (SIGTERM) and waits until it and its recorder have.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.quiet = true;
        let children = self.children()?;
        self.signal(Signal::TERM)?;
        let status = self.running.wait().context("after SIGTERM")?;
        for child in children {
            ensure!(
                parent(child) != Some(self.id()),
                "its child {child} is still there"
            );
        }
        Ok(status)
    }

    /// The TCP ports that it listens on, beside [`Bastion::port`]: that of the metrics.
    ///
    /// # Errors
    /// It is gone.
    pub fn other_ports(&self) -> Result<Vec<u16>> {
        let mut sockets = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.id()))? {
            let Ok(link) = std::fs::read_link(entry?.path()) else {
                continue;
            };
            let link = link.to_string_lossy().into_owned();
            if let Some(inode) = link.strip_prefix("socket:[") {
                sockets.push(inode.trim_end_matches(']').to_owned());
            }
        }
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.id()))?;
        let mut ports = Vec::new();
        for line in table.lines().skip(1) {
            // proc(5): local address, remote address, state (0A listens), …, inode.
            let words: Vec<_> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) =
                (words.get(1), words.get(3), words.get(9))
            else {
                continue;
            };
            if sockets.iter().any(|own| own == inode) {
                let port = local.rsplit_once(':').context("a port")?.1;
                ports.push(u16::from_str_radix(port, 16)?);
            }
        }
        ports.retain(|port| *port != self.port);
        Ok(ports)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.running.wait()
    }

    /// Resident memory now, in bytes: `serve` and its recorder.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory(&self) -> Result<Memory> {
        Ok(Memory {
            serve: status(self.id(), "VmRSS")?,
            recorder: status(self.recorder()?, "VmRSS")?,
        })
    }

    /// The highest resident memory since [`Bastion::forget_peak`], in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn peak(&self) -> Result<Memory> {
        Ok(Memory {
            serve: status(self.id(), "VmHWM")?,
            recorder: status(self.recorder()?, "VmHWM")?,
        })
    }

    /// Begins a new peak (`/proc/PID/clear_refs`).
    ///
    /// # Errors
    /// It is gone.
    pub fn forget_peak(&self) -> Result<()> {
        for id in [self.id(), self.recorder()?] {
            std::fs::write(format!("/proc/{id}/clear_refs"), "5")?;
        }
        Ok(())
    }

    /// Processor time used so far, in seconds: `serve` and its recorder.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu(&self) -> Result<(f64, f64)> {
        Ok((cpu(self.id())?, cpu(self.recorder()?)?))
    }

    /// The number of open files of `serve`.
    ///
    /// # Errors
    /// It is gone.
    pub fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.id()))?.count())
    }
}

impl Drop for Bastion {
    #[expect(
        clippy::print_stderr,
        reason = "the runner shows it where a test fails"
    )]
    fn drop(&mut self) {
        if !self.quiet {
            let text = self.log.text();
            let from = text.char_indices().rev().nth(8000).map_or(0, |(at, _)| at);
            eprintln!(
                "--- bastion's log ---\n{}",
                text.get(from..).unwrap_or_default()
            );
        }
    }
}

/// Hands over the folder `credentials` beside the configuration, where there is one, as systemd does.
pub(crate) fn credentials(command: &mut Command, configuration: &Path) {
    let folder = configuration.with_file_name("credentials");
    if folder.is_dir() {
        command.env("CREDENTIALS_DIRECTORY", folder);
    }
}

/// Resident memory of the two processes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The network-facing process.
    pub serve: u64,
    /// The recorder.
    pub recorder: u64,
}

impl Memory {
    /// Both.
    pub fn sum(self) -> u64 {
        self.serve + self.recorder
    }
}

/// Kills a process that [`Bastion::recorder`] named.
///
/// # Errors
/// It is gone.
pub fn kill(id: u32) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(id)?).context("a process id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Whether a process runs (a zombie does not).
pub fn runs(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state != "Z")
}

/// Waits until a process that was sent SIGSTOP has stopped, each of its threads: one that still runs may
/// answer once more.
///
/// # Errors
/// It goes on, or is gone.
pub fn stopped(id: u32) -> Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let mut still = true;
        for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let stat = std::fs::read_to_string(task?.path().join("stat"))?;
            still &= stat
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('T'));
        }
        if still {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "{id} goes on");
        std::thread::yield_now();
    }
}

/// Waits until a process that is no child of ours has ended.
///
/// # Errors
/// It goes on.
pub fn ended(id: u32) -> Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while runs(id) {
        ensure!(std::time::Instant::now() < deadline, "{id} goes on");
        std::thread::yield_now();
    }
    Ok(())
}

/// Processor time that a process has used, in seconds.
///
/// # Errors
/// It is gone.
pub fn cpu(id: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let rest = text.rsplit_once(") ").context("a stat line")?.1;
    let ticks: f64 = rest
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<f64>().ok())
        .sum();
    let per_second = rustix::param::clock_ticks_per_second();
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    Ok(ticks / per_second as f64)
}

/// Where the built program lies.
///
/// # Errors
/// It is not built.
pub fn path() -> Result<PathBuf> {
    program("bastion")
}

fn parent(id: u32) -> Option<u32> {
    stat(id)?.1.parse().ok()
}

fn stat(id: u32) -> Option<(String, String)> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

fn status(id: u32, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with(key))
        .context("a figure")?;
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .context("a number")?
        .parse()?;
    Ok(kib * 1024)
}
