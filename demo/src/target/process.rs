//! One process on the target: with pipes, or with a terminal of its own.
//!
//! Owns how it is started and that it ends with its channel. Moves no bytes: that is `relay`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use russh::Pty;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Winsize,
};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::Settings;
use crate::role::TERMINAL;

/// What a channel asked to run.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// The login shell.
    Shell,
    /// A command, through the shell.
    Exec(Vec<u8>),
    /// The SFTP server of that path.
    Sftp(PathBuf),
}

/// A terminal that a channel asked for.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    pub(super) term: String,
    pub(super) size: Size,
    pub(super) modes: Vec<(Pty, u32)>,
}

/// Columns and rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
}

/// Everything about a start that comes from the client.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) login: String,
    pub(super) environment: Vec<(String, String)>,
    pub(super) terminal: Option<Terminal>,
    pub(super) work: Work,
}

/// A running process. Dropping it ends it and all of its process group.
#[derive(Debug)]
pub(super) struct Job {
    child: Child,
    group: Group,
}

/// The processes of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(Option<Pid>);

/// Where its bytes go and come from.
#[derive(Debug)]
pub(super) enum Ends {
    Pipes {
        stdin: ChildStdin,
        stdout: ChildStdout,
        stderr: ChildStderr,
    },
    /// Our side of its terminal, thrice: for its size, to read, to write. Non-blocking.
    Terminal {
        ours: OwnedFd,
        output: pipe::Receiver,
        input: pipe::Sender,
    },
}

/// Starts what a channel asked for, in the target's home, with an environment of the target's own.
pub(super) fn start(settings: &Settings, start: &Start) -> io::Result<(Job, Ends)> {
    let shell = shell();
    let (program, name, arguments): (&OsStr, OsString, Vec<OsString>) = match &start.work {
        // The dash makes it a login shell.
        Work::Shell => (shell.as_os_str(), dashed(&shell), vec![]),
        Work::Exec(command) => (
            shell.as_os_str(),
            shell.clone().into_os_string(),
            vec!["-c".into(), OsString::from_vec(command.clone())],
        ),
        Work::Sftp(server) => (server.as_os_str(), server.clone().into_os_string(), vec![]),
    };
    let mut command = match start.terminal {
        Some(_) => {
            let mut command = Command::new(&settings.program);
            command.arg0(TERMINAL).arg(name).arg(program);
            command
        }
        None => {
            let mut command = Command::new(program);
            // A group of its own, so that all of it can be ended.
            command.arg0(name).process_group(0);
            command
        }
    };
    command
        .args(arguments)
        .current_dir(&settings.home)
        .env_clear()
        .kill_on_drop(true);
    command.envs(start.environment.iter().map(|(name, value)| (name, value)));
    command.envs(environment(settings, &start.login, &shell));
    match &start.terminal {
        Some(terminal) => with_terminal(command, terminal),
        None => with_pipes(command),
    }
}

fn with_pipes(mut command: Command) -> io::Result<(Job, Ends)> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut job = Job::new(command.spawn()?);
    let child = &mut job.child;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("no pipes"));
    };
    Ok((
        job,
        Ends::Pipes {
            stdin,
            stdout,
            stderr,
        },
    ))
}

fn with_terminal(mut command: Command, terminal: &Terminal) -> io::Result<(Job, Ends)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    set_modes(theirs.as_fd(), &terminal.modes)?;
    resize(ours.as_fd(), terminal.size)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    command
        .env("TERM", &terminal.term)
        .stdin(theirs.try_clone()?)
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    let job = Job::new(command.spawn()?);
    // tokio's pipes carry any descriptor that can be polled; a terminal is one.
    let output = pipe::Receiver::from_owned_fd_unchecked(ours.try_clone()?)?;
    let input = pipe::Sender::from_owned_fd_unchecked(ours.try_clone()?)?;
    Ok((
        job,
        Ends::Terminal {
            ours,
            output,
            input,
        },
    ))
}

impl Job {
    fn new(child: Child) -> Self {
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self {
            child,
            group: Group(group),
        }
    }

    /// The process to wait for, and the group to send signals to.
    pub(super) fn parts(&mut self) -> (&mut Child, Group) {
        (&mut self.child, self.group)
    }
}

impl Group {
    /// Sends a signal to all of the group; one that has ended already is none of our business.
    pub(super) fn signal(self, signal: Signal) {
        if let Some(group) = self.0 {
            rustix::process::kill_process_group(group, signal).unwrap_or_default();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.group.signal(Signal::HUP);
        self.group.signal(Signal::KILL);
    }
}

/// Tells the terminal its size; at least one column and row.
pub(super) fn resize(terminal: impl AsFd, size: Size) -> io::Result<()> {
    let number = |n: u32| u16::try_from(n.clamp(1, 1000)).unwrap_or(1000);
    let size = Winsize {
        ws_row: number(size.rows),
        ws_col: number(size.columns),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// The modes of RFC 4254, section 8, that Linux has.
fn set_modes(terminal: impl AsFd, modes: &[(Pty, u32)]) -> io::Result<()> {
    let mut termios = rustix::termios::tcgetattr(&terminal)?;
    for (mode, value) in modes {
        let on = *value != 0;
        if let Some((_, code)) = CODES.iter().find(|(code, _)| code == mode) {
            // 255 means: no such character.
            let value = u8::try_from(*value).unwrap_or(255);
            termios.special_codes[*code] = if value == 255 { 0 } else { value };
        } else if let Some((_, flag)) = INPUT.iter().find(|(flag, _)| flag == mode) {
            termios.input_modes.set(*flag, on);
        } else if let Some((_, flag)) = LOCAL.iter().find(|(flag, _)| flag == mode) {
            termios.local_modes.set(*flag, on);
        } else if let Some((_, flag)) = OUTPUT.iter().find(|(flag, _)| flag == mode) {
            termios.output_modes.set(*flag, on);
        } else if let Some((_, flag)) = CONTROL.iter().find(|(flag, _)| flag == mode) {
            termios.control_modes.set(*flag, on);
        }
    }
    Ok(rustix::termios::tcsetattr(
        &terminal,
        OptionalActions::Now,
        &termios,
    )?)
}

const CODES: [(Pty, SpecialCodeIndex); 14] = [
    (Pty::VINTR, SpecialCodeIndex::VINTR),
    (Pty::VQUIT, SpecialCodeIndex::VQUIT),
    (Pty::VERASE, SpecialCodeIndex::VERASE),
    (Pty::VKILL, SpecialCodeIndex::VKILL),
    (Pty::VEOF, SpecialCodeIndex::VEOF),
    (Pty::VEOL, SpecialCodeIndex::VEOL),
    (Pty::VEOL2, SpecialCodeIndex::VEOL2),
    (Pty::VSTART, SpecialCodeIndex::VSTART),
    (Pty::VSTOP, SpecialCodeIndex::VSTOP),
    (Pty::VSUSP, SpecialCodeIndex::VSUSP),
    (Pty::VREPRINT, SpecialCodeIndex::VREPRINT),
    (Pty::VWERASE, SpecialCodeIndex::VWERASE),
    (Pty::VLNEXT, SpecialCodeIndex::VLNEXT),
    (Pty::VDISCARD, SpecialCodeIndex::VDISCARD),
];

const INPUT: [(Pty, InputModes); 13] = [
    (Pty::IGNPAR, InputModes::IGNPAR),
    (Pty::PARMRK, InputModes::PARMRK),
    (Pty::INPCK, InputModes::INPCK),
    (Pty::ISTRIP, InputModes::ISTRIP),
    (Pty::INLCR, InputModes::INLCR),
    (Pty::IGNCR, InputModes::IGNCR),
    (Pty::ICRNL, InputModes::ICRNL),
    (Pty::IUCLC, InputModes::IUCLC),
    (Pty::IXON, InputModes::IXON),
    (Pty::IXANY, InputModes::IXANY),
    (Pty::IXOFF, InputModes::IXOFF),
    (Pty::IMAXBEL, InputModes::IMAXBEL),
    (Pty::IUTF8, InputModes::IUTF8),
];

const LOCAL: [(Pty, LocalModes); 12] = [
    (Pty::ISIG, LocalModes::ISIG),
    (Pty::ICANON, LocalModes::ICANON),
    (Pty::XCASE, LocalModes::XCASE),
    (Pty::ECHO, LocalModes::ECHO),
    (Pty::ECHOE, LocalModes::ECHOE),
    (Pty::ECHOK, LocalModes::ECHOK),
    (Pty::ECHONL, LocalModes::ECHONL),
    (Pty::NOFLSH, LocalModes::NOFLSH),
    (Pty::TOSTOP, LocalModes::TOSTOP),
    (Pty::IEXTEN, LocalModes::IEXTEN),
    (Pty::ECHOCTL, LocalModes::ECHOCTL),
    (Pty::ECHOKE, LocalModes::ECHOKE),
];

const OUTPUT: [(Pty, OutputModes); 6] = [
    (Pty::OPOST, OutputModes::OPOST),
    (Pty::OLCUC, OutputModes::OLCUC),
    (Pty::ONLCR, OutputModes::ONLCR),
    (Pty::OCRNL, OutputModes::OCRNL),
    (Pty::ONOCR, OutputModes::ONOCR),
    (Pty::ONLRET, OutputModes::ONLRET),
];

const CONTROL: [(Pty, ControlModes); 2] = [
    (Pty::PARENB, ControlModes::PARENB),
    (Pty::PARODD, ControlModes::PARODD),
];

fn shell() -> PathBuf {
    let bash = Path::new("/bin/bash");
    if bash.exists() {
        bash
    } else {
        Path::new("/bin/sh")
    }
    .to_owned()
}

fn dashed(shell: &Path) -> OsString {
    let mut name = OsString::from("-");
    name.push(shell.file_name().unwrap_or_default());
    name
}

fn environment(settings: &Settings, login: &str, shell: &Path) -> Vec<(OsString, OsString)> {
    let mut path = settings.commands.clone().into_os_string();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    [
        ("HOME", settings.home.clone().into_os_string()),
        ("PATH", path),
        ("SHELL", shell.as_os_str().to_owned()),
        ("SQL_COMMANDS", settings.commands.clone().into_os_string()),
        ("USER", login.into()),
        ("LOGNAME", login.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect()
}
