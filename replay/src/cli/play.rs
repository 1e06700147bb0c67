//! `replay play`: the player on this terminal.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;

use super::{Failure, Out, zone};
use crate::files::Source;
use crate::keeper::{Keeper, Kind};
use crate::moment::{self, Place};
use crate::player::{ENTER, Idle, Key, LEAVE, Options, Player, Speed, Wait};
use crate::remote::Remote;
use crate::safe;

/// Play a recording in this terminal; press ? for the keys
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file, a folder with one recording in it, ssh://BASTION/SESSION, or `-` (standard input)
    path: PathBuf,
    /// From 0.1 to 64 times as fast
    #[arg(short, long, default_value = "1")]
    speed: Speed,
    /// No pause longer than this (2, 500ms); 0 plays pauses as they were. Without it, the
    /// recording's own limit
    #[arg(short, long, value_parser = moment::duration)]
    idle_limit: Option<Duration>,
    /// Where to begin: 90, 1:30, 1:02:03, 5m, 50%
    #[arg(long, value_parser = super::screen::place)]
    start: Option<Place>,
    /// Wait for a key at the beginning
    #[arg(short, long)]
    paused: bool,
    /// At the end of a session's recording that has no end yet, do not wait for more
    #[arg(long)]
    no_follow: bool,
}

/// Follow a session that runs: its screen now, and what comes; as `play`, from the end on
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// A file, a folder with one recording in it, or ssh://BASTION/SESSION
    path: PathBuf,
}

pub(super) fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let options = Options {
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
    };
    let follow = match args.no_follow {
        true => Follow::Never,
        false => Follow::Unfinished,
    };
    on_terminal(&args.path, &options, follow, out)
}

pub(super) fn watch(args: &WatchArgs, out: &mut Out) -> Result<(), Failure> {
    let options = Options {
        zone: zone(),
        ..Options::default()
    };
    match out.find(std::slice::from_ref(&args.path)).as_slice() {
        [Source::Remote(remote)] => watch_remote(remote, out),
        _ => on_terminal(&args.path, &options, Follow::FromTheEnd, out),
    }
}

/// The bastion has the same player, beside the recording.
fn watch_remote(remote: &Remote, out: &mut Out) -> Result<(), Failure> {
    match remote.ssh(&["-t"], "watch").status() {
        Ok(status) if status.success() => {}
        Ok(status) => out.problem(&format!("{}: ssh failed ({status})", remote.name())),
        Err(error) => out.problem(&format!("ssh cannot be started: {error}")),
    }
    Ok(())
}

/// What to do at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    /// It is the end.
    Never,
    /// Wait for more where a bastion's recording has no end.
    Unfinished,
    /// The same, and begin there.
    FromTheEnd,
}

fn on_terminal(
    path: &PathBuf,
    options: &Options,
    follow: Follow,
    out: &mut Out,
) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "play needs a terminal to play on; `replay text` prints what was on the screen".into(),
        ));
    }
    let found = out.find(std::slice::from_ref(path));
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
    let mut options = options.clone();
    let mut how = How::Indexed;
    loop {
        let mut stage = match Stage::open(&source, &options, follow, how) {
            Ok(stage) => stage,
            Err(error) => {
                out.problem(&format!("{}: {error}", source.name()));
                return Ok(());
            }
        };
        match stage.play() {
            // The file is not the one that was indexed, or not the one any more that it was.
            Ok(Played::Stale) => {
                options.start = Some(Place::At(stage.player.place().0));
                how = how.more_careful();
                continue;
            }
            Ok(Played::ToTheEnd) => {}
            Err(error) => {
                let error = safe::line(&error.to_string());
                out.problem(&format!("this terminal cannot be used: {error}"));
            }
        }
        stage.settle();
        out.played(&source, &stage.player);
        return Ok(());
    }
}

/// What of a file is relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Its index, and that it stays as it is.
    Indexed,
    /// That it stays as it is.
    Unindexed,
    /// Nothing: it is read once.
    Once,
}

impl How {
    fn more_careful(self) -> Self {
        match self {
            Self::Indexed => Self::Unindexed,
            Self::Unindexed | Self::Once => Self::Once,
        }
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

/// A player and what it is fed from.
struct Stage {
    player: Player,
    bytes: Receiver<io::Result<Bytes>>,
    follow: Follow,
    /// Where the index goes, where the recording is a file.
    path: Option<PathBuf>,
    keeper: Keeper,
    /// All that there is, for now, has been handed to the player.
    at_end: bool,
    /// The player was told that there is no more.
    ended: bool,
}

/// How playing ended.
enum Played {
    ToTheEnd,
    Stale,
}

/// What the reading thread says.
enum Bytes {
    More(Vec<u8>),
    /// There are no more now.
    NoMoreNow,
}

impl Stage {
    fn open(source: &Source, options: &Options, follow: Follow, how: How) -> io::Result<Self> {
        let keeper = Keeper::new();
        let mut path = None;
        let mut player = None;
        let mut input: Box<dyn Read + Send> = Box::new(io::empty());
        if let (Source::File(file), true) = (source, how != How::Once) {
            let mut opened = File::open(file)?;
            if opened.metadata()?.is_file() {
                let index = (how == How::Indexed).then(|| keeper.load(file, Kind::Index));
                let indexed = index.flatten().and_then(|index| {
                    let file = Box::new(opened.try_clone().ok()?);
                    Player::with_index(options.clone(), file, &index)
                });
                let (fresh, from) = match indexed {
                    Some(indexed) => indexed,
                    None => {
                        let file = Box::new(opened.try_clone()?);
                        (Player::of_file(options.clone(), file), 0)
                    }
                };
                opened.seek(SeekFrom::Start(from))?;
                player = Some(fresh);
                path = Some(file.clone());
                input = Box::new(opened);
            }
        }
        let mut player = match player {
            Some(player) => player,
            None => {
                input = source.open()?;
                Player::new(options.clone())
            }
        };
        let grows = path.is_some() && follow != Follow::Never;
        if grows && follow == Follow::FromTheEnd {
            player.follow();
        }
        Ok(Self {
            player,
            bytes: read(input, grows),
            follow: if grows { follow } else { Follow::Never },
            path,
            keeper,
            at_end: false,
            ended: false,
        })
    }

    fn play(&mut self) -> io::Result<Played> {
        let mut screen = Screen::enter()?;
        let mut last = Instant::now();
        loop {
            self.take_bytes();
            let now = Instant::now();
            let wait = self.player.tick(now - last);
            last = now;
            self.see_end();
            if self.player.is_stale() {
                return Ok(Played::Stale);
            }
            if self.player.has_quit() || self.player.is_no_recording() {
                return Ok(Played::ToTheEnd);
            }
            let painted = self.player.render(terminal::size()?);
            screen.write(&painted)?;
            if wait != Wait::Not && self.at_end {
                self.keep_index();
            }
            let wait = match wait {
                Wait::Not => Duration::ZERO,
                Wait::For(wait) => wait.min(IDLE_POLL),
                Wait::Idle => IDLE_POLL,
            };
            let wait = match self.ended {
                true => wait,
                false => wait.min(INPUT_POLL),
            };
            let mut pressed = event::poll(wait)?;
            while pressed {
                on_event(&mut self.player, &event::read()?);
                pressed = event::poll(Duration::ZERO)?;
            }
        }
    }

    fn take_bytes(&mut self) {
        while !self.ended && self.player.wants_input() {
            match self.bytes.try_recv() {
                Ok(Ok(Bytes::More(chunk))) => {
                    self.player.feed(&chunk);
                    self.at_end = false;
                }
                Ok(Ok(Bytes::NoMoreNow)) => self.at_end = true,
                Ok(Err(error)) => {
                    self.player.fail(&error);
                    self.end();
                }
                Err(TryRecvError::Disconnected) => {
                    self.player.finish();
                    self.end();
                }
                Err(TryRecvError::Empty) => break,
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.at_end = true;
    }

    /// At the end of a file that may grow: whether it is the recording's end.
    fn see_end(&mut self) {
        if self.ended || !self.at_end || !self.player.wants_input() {
            return;
        }
        let may_grow = self.follow == Follow::FromTheEnd || self.player.is_of_a_bastion();
        if self.player.has_end() || !may_grow {
            self.player.finish();
            self.end();
        } else {
            self.player.set_live();
        }
    }

    fn keep_index(&mut self) {
        if let Some(path) = &self.path
            && let Some(index) = self.player.index()
        {
            self.keeper.save(path, Kind::Index, &index);
            // Where it can't be kept, trying again would not help.
            self.player.index_is_kept();
        }
    }

    /// After the viewer has left: what is damaged in what was read is to be known.
    fn settle(&mut self) {
        if !self.ended {
            self.player.finish();
            self.ended = true;
        }
        while !self.player.is_taken_in() {
            self.player.tick(Duration::ZERO);
        }
    }
}

/// Bytes of the file, read aside: a pipe may make us wait while keys are pressed. A file that
/// grows is looked at again and again. The thread ends with its input, with the receiver, or
/// with the process.
fn read(mut input: Box<dyn Read + Send>, grows: bool) -> Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::sync_channel(4);
    thread::spawn(move || {
        let mut told = false;
        loop {
            let mut chunk = vec![0; 64 << 10];
            let result = match input.read(&mut chunk) {
                Ok(0) if !grows => return,
                Ok(0) if told => {
                    thread::sleep(GROWTH_POLL);
                    continue;
                }
                Ok(0) => Ok(Bytes::NoMoreNow),
                Ok(length) => {
                    chunk.truncate(length);
                    Ok(Bytes::More(chunk))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            told = matches!(result, Ok(Bytes::NoMoreNow));
            let failed = result.is_err();
            if sender.send(result).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Time between two looks at a file that grows.
const GROWTH_POLL: Duration = Duration::from_millis(200);

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
