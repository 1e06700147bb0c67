//! `replay play`: the player on this terminal.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;

use super::{Failure, Out, zone};
use crate::files::Source;
use crate::moment::{self, NotAPlace, Place};
use crate::player::{ENTER, Idle, Key, LEAVE, Options, Player, Speed, Wait};
use crate::safe;

/// Play a recording in this terminal; press ? for the keys
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file, or a folder with one recording in it; `-` is standard input
    path: PathBuf,
    /// From 0.1 to 64 times as fast
    #[arg(short, long, default_value = "1")]
    speed: Speed,
    /// No pause longer than this (2, 500ms); 0 plays pauses as they were. Without it, the
    /// recording's own limit
    #[arg(short, long, value_parser = moment::duration)]
    idle_limit: Option<Duration>,
    /// Where to begin: 90, 1:30, 1:02:03, 5m, 50%
    #[arg(long, value_parser = place)]
    start: Option<Place>,
    /// Wait for a key at the beginning
    #[arg(short, long)]
    paused: bool,
}

fn place(text: &str) -> Result<Place, NotAPlace> {
    match text.parse()? {
        place @ (Place::At(_) | Place::Percent(_)) => Ok(place),
        Place::Forward(_) | Place::Back(_) => Err(NotAPlace),
    }
}

pub(super) fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "play needs a terminal to play on; `replay text` prints what was on the screen".into(),
        ));
    }
    let found = out.find(&[args.path]);
    let source = match found.as_slice() {
        [] => return Ok(()),
        [source] => source.clone(),
        [_, ..] => {
            return Err(Failure::Usage(format!(
                "there are {} recordings in this folder; `replay list` names them, play takes one",
                found.len()
            )));
        }
    };
    let input = match source.open() {
        Ok(input) => input,
        Err(error) => {
            out.problem(&format!("{}: {error}", source.name()));
            return Ok(());
        }
    };
    let mut player = Player::new(Options {
        speed: args.speed,
        idle: match args.idle_limit {
            None => Idle::AsRecorded,
            Some(Duration::ZERO) => Idle::Real,
            Some(limit) => Idle::AtMost(limit),
        },
        start: args.start,
        paused: args.paused,
        zone: zone(),
        ..Options::default()
    });
    let played = play(&mut player, input);
    if let Err(error) = played {
        let error = safe::line(&error.to_string());
        out.problem(&format!("this terminal cannot be used: {error}"));
    }
    tell(&player, &source, out);
    Ok(())
}

fn tell(player: &Player, source: &Source, out: &mut Out) {
    if player.is_no_recording() {
        let detail = player
            .warnings()
            .last()
            .map(|warning| warning.detail.clone());
        let detail = detail.unwrap_or_else(|| "this is not a recording".into());
        out.problem(&format!("{}: {detail}", source.name()));
    } else {
        out.warnings(source, player.warnings());
    }
}

/// The terminal, in the state that the player needs; put back when this goes.
struct Screen {
    stdout: io::Stdout,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let mut screen = Self {
            stdout: io::stdout(),
        };
        screen.write(ENTER)?;
        Ok(screen)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)?;
        self.stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing left to do where this fails.
        drop(self.write(LEAVE));
        drop(terminal::disable_raw_mode());
    }
}

/// Longest wait for a key while bytes of the file are awaited.
const INPUT_POLL: Duration = Duration::from_millis(20);

/// Longest wait at all: the terminal's size is looked at.
const IDLE_POLL: Duration = Duration::from_millis(500);

fn play(player: &mut Player, input: Box<dyn Read + Send>) -> io::Result<()> {
    let bytes = read(input);
    let mut screen = Screen::enter()?;
    let mut last = Instant::now();
    let mut ended = false;
    loop {
        while !ended && player.wants_input() {
            match bytes.try_recv() {
                Ok(Ok(chunk)) => player.feed(&chunk),
                Ok(Err(error)) => {
                    player.fail(&error);
                    ended = true;
                }
                Err(TryRecvError::Disconnected) => {
                    player.finish();
                    ended = true;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        let now = Instant::now();
        let wait = player.tick(now - last);
        last = now;
        if player.has_quit() || player.is_no_recording() {
            return Ok(());
        }
        let painted = player.render(terminal::size()?);
        screen.write(&painted)?;
        let wait = match wait {
            Wait::Not => Duration::ZERO,
            Wait::For(wait) => wait.min(IDLE_POLL),
            Wait::Idle => IDLE_POLL,
        };
        let wait = match ended {
            true => wait,
            false => wait.min(INPUT_POLL),
        };
        let mut pressed = event::poll(wait)?;
        while pressed {
            on_event(player, &event::read()?);
            pressed = event::poll(Duration::ZERO)?;
        }
    }
}

/// Bytes of the file, read aside: a pipe may make us wait while keys are pressed. The thread ends
/// with its input, with the receiver, or with the process.
fn read(mut input: Box<dyn Read + Send>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(4);
    thread::spawn(move || {
        loop {
            let mut chunk = vec![0; 64 << 10];
            let result = match input.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => {
                    chunk.truncate(length);
                    Ok(chunk)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = result.is_err();
            if sender.send(result).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn on_event(player: &mut Player, event: &Event) {
    match event {
        Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
            if let Some(key) = key(pressed) {
                player.on_key(key);
            }
        }
        Event::Resize(..) => player.repaint(),
        _ => {}
    }
}

fn key(pressed: &KeyEvent) -> Option<Key> {
    let far = pressed
        .modifiers
        .intersects(KeyModifiers::SHIFT | KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char(char) if pressed.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Control(char.to_ascii_lowercase())
        }
        KeyCode::Char(char) => Key::Char(char),
        KeyCode::Left => Key::Left { far },
        KeyCode::Right => Key::Right { far },
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}
