//! A real pseudo-terminal with a program in it, typed into and read from.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::{Gathered, Running};

/// A terminal whose program has it as its controlling terminal.
pub struct Terminal {
    /// The program.
    pub running: Running,
    /// Everything that it has printed.
    pub screen: Gathered,
    keyboard: File,
    place: usize,
    /// What a terminal shows of it, up to here.
    emulated: avt::Terminal,
    fed: usize,
}

impl Terminal {
    /// Starts `command` in a terminal of `cols` × `rows`.
    ///
    /// # Errors
    /// No pseudo-terminal, or the program (or util-linux's `setsid`) is missing.
    pub fn start(command: &Command, cols: u16, rows: u16) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        resize(&ours, cols, rows)?;
        // `setsid -c` makes its standard input the controlling terminal and becomes the program.
        let mut inside = Command::new("setsid");
        inside
            .arg("-c")
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            inside.current_dir(dir);
        }
        inside.env_clear();
        inside.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        inside.stdin(Stdio::from(theirs.try_clone()?));
        inside.stdout(Stdio::from(theirs.try_clone()?));
        inside.stderr(Stdio::from(theirs));
        let running = Running::start("a program in a terminal", &mut inside)?;
        // The command keeps its ends of the terminal open until it is dropped.
        drop(inside);
        let keyboard = File::from(ours);
        let screen = Gathered::from(keyboard.try_clone()?);
        Ok(Self {
            running,
            screen,
            keyboard,
            place: 0,
            emulated: avt::Terminal::new(cols.into(), rows.into())?,
            fed: 0,
        })
    }

    /// Types `keys`.
    ///
    /// # Errors
    /// The program is gone.
    pub fn send(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("typing")
    }

    /// Waits for `text` behind what was expected before.
    ///
    /// # Errors
    /// The program ended or the deadline passed; what is on the screen is in the error.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        self.place = self.screen.expect_after(self.place, text)?;
        Ok(())
    }

    /// Waits until the screen shows what is looked for, as a terminal would show it; answers with
    /// its lines.
    ///
    /// # Errors
    /// The program ended or the deadline passed; what is on the screen is in the error.
    pub fn shows(&mut self, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
        let (emulated, fed) = (&mut self.emulated, &mut self.fed);
        let shown = self.screen.wait(what, |bytes| {
            feed(emulated, fed, bytes);
            let text = emulated.screen().text().join("\n");
            is(&text).then_some(text)
        });
        shown.map_err(|error| {
            let screen = self.emulated.screen().text().join("\n");
            // The bytes are of no use beside it.
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            anyhow::anyhow!("{why}\n{screen}")
        })
    }

    /// Whether a program's full screen is on it, rather than the lines of before.
    pub fn is_full_screen(&mut self) -> bool {
        feed(&mut self.emulated, &mut self.fed, &self.screen.so_far());
        self.emulated.active_screen_kind() == avt::ScreenKind::Alternate
    }

    /// Changes the window's size.
    ///
    /// # Errors
    /// The terminal's.
    pub fn resize(&mut self, cols: u16, rows: u16) -> Result<()> {
        feed(&mut self.emulated, &mut self.fed, &self.screen.so_far());
        self.emulated.resize(cols.into(), rows.into());
        resize(&self.keyboard, cols, rows)
    }

    /// Waits for the program's end.
    ///
    /// # Errors
    /// It goes on.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.running
            .wait()
            .with_context(|| format!("on the screen:\n{}", self.screen.text()))
    }
}

/// Feeds what has come since, up to the last whole character.
fn feed(emulated: &mut avt::Terminal, fed: &mut usize, bytes: &[u8]) {
    let new = bytes.get(*fed..).unwrap_or_default();
    for chunk in new.utf8_chunks() {
        emulated.feed(chunk.valid());
        *fed += chunk.valid().len();
        // At the end it may be the beginning of one; anything else is none.
        if *fed + chunk.invalid().len() < bytes.len() {
            *fed += chunk.invalid().len();
        }
    }
}

fn resize(terminal: impl AsFd, cols: u16, rows: u16) -> Result<()> {
    Ok(tcsetwinsize(
        terminal,
        Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?)
}
