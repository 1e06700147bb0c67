//! The player, without I/O: bytes of a recording in, keys in, time in; what to write to the
//! viewer's terminal out.
//!
//! The terminal program and the bastion's console drive the same player. A driver:
//!
//! 1. sends [`ENTER`];
//! 2. gives [`Player::feed`] bytes of the file while [`Player::wants_input`], and
//!    [`Player::finish`] after the last;
//! 3. gives [`Player::on_key`] what the viewer presses ([`KeyReader`] makes keys out of bytes);
//! 4. calls [`Player::tick`] with the time since the last call, sends what [`Player::render`]
//!    gives, and waits as `tick` says, or for bytes or a key;
//! 5. when [`Player::has_quit`], sends [`LEAVE`].
//!
//! No byte of the recording gets to the terminal: an emulator takes the output, and what is
//! painted are its cells, each character looked at (`safe`). Each call takes some ten
//! milliseconds at most, but for screens of hostile size and content.
//!
//! Going to any place is quick, since the screen is kept at places a quarter of a megabyte of
//! output apart. They are made in spare time, and by going there.

mod bar;
mod keys;
mod search;

use std::io;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use recording::event::Header;
use recording::read::{Decoder, Item, Limits, Next, Warning};

use crate::about::About;
use crate::emulator::Emulator;
use crate::moment::{Place, micros};
use crate::paint::Frame;
use crate::timeline::{Cache, Timeline, What};
use bar::Prompt;
use search::{Pattern, Search};

pub use crate::paint::{ENTER, LEAVE};
pub use keys::{Key, KeyReader};

/// How a recording is to be played.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speed at the start.
    pub speed: Speed,
    /// Pauses that are cut short.
    pub idle: Idle,
    /// Where to begin.
    pub start: Option<Place>,
    /// Whether to wait for a key at the start.
    pub paused: bool,
    /// The time zone of the wall clock.
    pub zone: TimeZone,
    /// Most memory for events and keyframes, in bytes, roughly. What of the recording does not
    /// fit is not played, and the player says so.
    pub memory_max: usize,
    /// Bytes of output between two keyframes: what a jump has to emulate at most. 256 KiB.
    pub keyframe_every: usize,
    /// Limits of the reader.
    pub limits: Limits,
}

impl Default for Options {
    /// Normal speed, pauses as the recording says, UTC, a gigabyte.
    fn default() -> Self {
        Self {
            speed: Speed::NORMAL,
            idle: Idle::AsRecorded,
            start: None,
            paused: false,
            zone: TimeZone::UTC,
            memory_max: 1 << 30,
            keyframe_every: 256 << 10,
            limits: Limits::default(),
        }
    }
}

/// What becomes of pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// The limit that the recording names, if any.
    AsRecorded,
    /// No pause is longer than this.
    AtMost(Duration),
    /// Pauses are as long as they were.
    Real,
}

/// The limit that the key `i` sets where the recording names none.
const IDLE_DEFAULT: Duration = Duration::from_secs(2);

/// A speed from 0.1 to 64 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speed {
    thousandths: u64,
}

impl Speed {
    /// As it was.
    pub const NORMAL: Self = Self { thousandths: 1000 };

    const STEPS: [u64; 11] = [
        100, 250, 500, 1000, 1500, 2000, 4000, 8000, 16_000, 32_000, 64_000,
    ];

    fn faster(self) -> Self {
        let step = Self::STEPS
            .into_iter()
            .find(|&step| step > self.thousandths);
        step.map_or(self, |thousandths| Self { thousandths })
    }

    fn slower(self) -> Self {
        let mut steps = Self::STEPS.into_iter().rev();
        let step = steps.find(|&step| step < self.thousandths);
        step.map_or(self, |thousandths| Self { thousandths })
    }

    /// Recorded microseconds in so many real ones.
    fn recorded(self, real: u64) -> u64 {
        (u128::from(real) * u128::from(self.thousandths) / 1000) as u64
    }

    fn real(self, recorded: u64) -> u64 {
        let real = u128::from(recorded) * 1000 / u128::from(self.thousandths);
        u64::try_from(real).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x", self.thousandths as f64 / 1000.0)
    }
}

/// The speed is out of its bounds.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("a speed is a number from 0.1 to 64")]
pub struct NotASpeed;

impl FromStr for Speed {
    type Err = NotASpeed;

    fn from_str(text: &str) -> Result<Self, NotASpeed> {
        let text = text.trim_end_matches(['x', 'X', '×']);
        let speed: f64 = text.parse().map_err(|_| NotASpeed)?;
        if !(0.1..=64.0).contains(&speed) {
            return Err(NotASpeed);
        }
        Ok(Self {
            thousandths: (speed * 1000.0).round() as u64,
        })
    }
}

/// How long a driver may wait before it calls [`Player::tick`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: there is work left.
    Not,
    /// So long, unless a key or bytes come before.
    For(Duration),
    /// Until a key or bytes come.
    Idle,
}

/// Plays one recording.
pub struct Player {
    options: Options,
    decoder: Decoder,
    /// All that the decoder was given has been taken in.
    taken_in: bool,
    finished: bool,
    complete: bool,
    warnings: Vec<Warning>,
    header: Option<Header>,
    about: About,
    timeline: Timeline,
    stage: Stage,
    /// Runs ahead to make keyframes.
    scout: Stage,
    /// The place shown, in microseconds.
    now: u64,
    /// Since when there was no event: the last event, or the place gone to.
    quiet_since: u64,
    playing: bool,
    speed: Speed,
    idle: Option<u64>,
    goal: Option<Goal>,
    start: Option<Place>,
    search: Option<Search>,
    pattern: Option<Pattern>,
    prompt: Option<Prompt>,
    message: Option<String>,
    painted: Option<Frame>,
    quit: bool,
}

/// A screen on which everything before moment `at` has happened.
struct Stage {
    emulator: Emulator,
    at: usize,
    cache: Cache,
}

/// Where the stage is to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Goal {
    /// So many moments have happened there.
    at: usize,
    /// The time there.
    now: u64,
}

/// Cells that may be touched in one call, roughly: some ten milliseconds.
const WORK: u64 = 500_000;

/// Bytes of text and items that are taken in in one call, roughly.
const INTAKE: u64 = 1 << 20;
const INTAKE_ITEMS: usize = 20_000;

/// Longest wait while playing: the clock in the bar moves.
const REPAINT: Duration = Duration::from_millis(250);

/// Warnings that are kept to be told.
const WARNINGS_KEPT: usize = 1000;

const JUMP: Duration = Duration::from_secs(5);
const FAR_JUMP: Duration = Duration::from_secs(60);

impl Player {
    /// A player with nothing to play yet.
    pub fn new(options: Options) -> Self {
        Self {
            decoder: Decoder::new(options.limits.clone()),
            taken_in: true,
            finished: false,
            complete: false,
            warnings: Vec::new(),
            header: None,
            about: About::default(),
            timeline: Timeline::new(options.memory_max, options.keyframe_every),
            stage: Stage::new(1, 1),
            scout: Stage::new(1, 1),
            now: 0,
            quiet_since: 0,
            playing: !options.paused,
            speed: options.speed,
            idle: None,
            goal: None,
            start: options.start,
            search: None,
            pattern: None,
            prompt: None,
            message: None,
            painted: None,
            quit: false,
            options,
        }
    }

    /// Whether there should be more bytes of the file: what it has is taken in.
    pub fn wants_input(&self) -> bool {
        self.taken_in && !self.finished && !self.timeline.is_full()
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        self.taken_in = false;
    }

    /// There are no more bytes.
    pub fn finish(&mut self) {
        self.decoder.finish();
        self.finished = true;
        self.taken_in = false;
    }

    /// The file could not be read further: what there is is played, and a warning says so.
    pub fn fail(&mut self, error: &io::Error) {
        self.decoder.fail(error);
        self.finished = true;
        self.taken_in = false;
    }

    /// What is damaged in the recording, as far as it was read.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether the file was read to its end and there was nothing to play in it.
    pub fn is_no_recording(&self) -> bool {
        self.complete && self.header.is_none()
    }

    /// Whether the viewer wants to leave.
    pub fn has_quit(&self) -> bool {
        self.quit
    }

    /// Paints everything anew with the next [`render`](Self::render).
    pub fn repaint(&mut self) {
        self.painted = None;
    }

    /// Lets time pass: takes in what was fed, goes where it was told to, plays, and uses what is
    /// left of its turn to prepare jumps.
    pub fn tick(&mut self, elapsed: Duration) -> Wait {
        self.take_in();
        let mut work = WORK;
        self.go(&mut work);
        self.find(&mut work);
        let wait = match self.goal.is_some() || self.search.is_some() {
            true => Wait::Not,
            false => self.play(elapsed, &mut work),
        };
        let prepared = self.scout(&mut work);
        if !self.taken_in || !prepared {
            return Wait::Not;
        }
        wait
    }

    fn take_in(&mut self) {
        let begun = self.decoder.position().text;
        let mut items = 0;
        while items < INTAKE_ITEMS && !self.taken_in {
            if self.decoder.position().text - begun > INTAKE {
                break;
            }
            items += 1;
            match self.decoder.next() {
                Next::Item(Item::Event(event)) => {
                    self.begin();
                    self.timeline.push(event);
                }
                Next::Item(Item::Warning(warning)) => {
                    if self.warnings.len() < WARNINGS_KEPT {
                        self.warnings.push(warning);
                    }
                }
                Next::Pause => break,
                Next::NeedInput => self.taken_in = true,
                Next::End => {
                    self.taken_in = true;
                    self.complete = true;
                }
            }
            if self.timeline.is_full() {
                self.taken_in = true;
                self.complete = true;
            }
        }
        self.begin();
        self.begin_at_start();
    }

    /// Sets up the screen once the header is known.
    fn begin(&mut self) {
        if self.header.is_some() {
            return;
        }
        let Some(header) = self.decoder.header().cloned() else {
            return;
        };
        self.about = About::of(&header);
        self.stage = Stage::new(header.cols, header.rows);
        self.scout = Stage::new(header.cols, header.rows);
        self.idle = match self.options.idle {
            Idle::AsRecorded => header.idle_time_limit.map(micros),
            Idle::AtMost(limit) => Some(micros(limit)),
            Idle::Real => None,
        };
        self.timeline.set_size(header.cols, header.rows);
        self.header = Some(header);
    }

    /// Goes to where it was to begin, as soon as that place has been read.
    fn begin_at_start(&mut self) {
        let there = match self.start {
            None => return,
            Some(Place::At(time) | Place::Forward(time)) => {
                self.timeline.duration() >= micros(time)
            }
            Some(Place::Percent(_) | Place::Back(_)) => false,
        };
        if (there || self.complete)
            && let Some(place) = self.start.take()
        {
            self.go_to(place);
        }
    }

    /// Brings the stage to its goal, as far as the work goes.
    fn go(&mut self, work: &mut u64) {
        while let Some(goal) = self.goal {
            if self.stage.at >= goal.at {
                self.goal = None;
                self.now = goal.now;
                self.quiet_since = goal.now;
                return;
            }
            if *work == 0 {
                return;
            }
            self.keep_keyframe();
            self.stage.step(&self.timeline, work);
        }
    }

    fn keep_keyframe(&mut self) {
        if self.timeline.wants_keyframe(self.stage.at)
            && let Some(snapshot) = self.stage.emulator.snapshot()
        {
            self.timeline.set_keyframe(self.stage.at, snapshot);
        }
    }

    /// Plays on.
    fn play(&mut self, elapsed: Duration, work: &mut u64) -> Wait {
        if !self.playing || self.start.is_some() {
            return Wait::Idle;
        }
        let mut left = self.speed.recorded(micros(elapsed));
        loop {
            self.keep_keyframe();
            let next = self.timeline.get(self.stage.at, &mut self.stage.cache);
            let Some(time) = next.map(|moment| moment.time) else {
                return Wait::Idle;
            };
            let cut = self
                .idle
                .map_or(u64::MAX, |idle| self.quiet_since.saturating_add(idle));
            let due = time.min(cut).max(self.now);
            if due - self.now > left {
                self.now += left;
                let real = Duration::from_micros(self.speed.real(due - self.now));
                return Wait::For(real.min(REPAINT));
            }
            if *work == 0 {
                return Wait::Not;
            }
            left -= due - self.now;
            self.now = time;
            self.quiet_since = time;
            self.stage.step(&self.timeline, work);
        }
    }

    /// Runs ahead and keeps keyframes. False while there is more to do.
    fn scout(&mut self, work: &mut u64) -> bool {
        // What has keyframes already needs no second look.
        while self.scout.at < self.timeline.len() {
            if let Some((at, keyframe)) = self.timeline.keyframe_before(self.timeline.len())
                && at > self.scout.at
            {
                self.scout.emulator.restore(keyframe);
                self.scout.at = at;
            }
            if *work == 0 {
                return false;
            }
            let scout = &mut self.scout;
            if self.timeline.wants_keyframe(scout.at)
                && let Some(snapshot) = scout.emulator.snapshot()
            {
                self.timeline.set_keyframe(scout.at, snapshot);
            }
            scout.step(&self.timeline, work);
        }
        true
    }

    /// What the viewer pressed.
    pub fn on_key(&mut self, key: Key) {
        self.message = None;
        if self.on_prompt_key(key) {
            return;
        }
        match key {
            Key::Char('q') | Key::Control('c' | 'd') => self.quit = true,
            Key::Escape => self.search = None,
            Key::Char(' ') => self.toggle(),
            Key::Char('.') => self.step_forward(),
            Key::Char(',') => self.step_back(),
            Key::Right { far: false } => self.go_to(Place::Forward(JUMP)),
            Key::Left { far: false } => self.go_to(Place::Back(JUMP)),
            Key::Right { far: true } | Key::Up | Key::PageDown => {
                self.go_to(Place::Forward(FAR_JUMP));
            }
            Key::Left { far: true } | Key::Down | Key::PageUp => {
                self.go_to(Place::Back(FAR_JUMP));
            }
            Key::Home | Key::Char('0') => self.go_to(Place::At(Duration::ZERO)),
            Key::End | Key::Char('G') => self.go_to(Place::Percent(100.0)),
            Key::Char(digit @ '1'..='9') => {
                let tenths = f64::from(digit.to_digit(10).unwrap_or(0));
                self.go_to(Place::Percent(tenths * 10.0));
            }
            Key::Char('>' | '+') => self.speed = self.speed.faster(),
            Key::Char('<' | '-') => self.speed = self.speed.slower(),
            Key::Char('=') => self.speed = Speed::NORMAL,
            Key::Char('[') => self.jump_to_marker_before(),
            Key::Char(']') => self.jump_to_marker_after(),
            Key::Char('i') => self.toggle_idle(),
            Key::Char('g') => self.prompt = Some(Prompt::Place(String::new())),
            Key::Char('/') => self.prompt = Some(Prompt::Search(String::new())),
            Key::Char('n') => self.search_again(),
            Key::Char('w') => self.prompt = Some(Prompt::Warnings),
            Key::Char('?' | 'h') => self.prompt = Some(Prompt::Help),
            Key::Control('l') => self.repaint(),
            Key::Char(_) | Key::Control(_) | Key::Enter | Key::Backspace => {}
        }
    }

    /// Where the next movement starts from: a goal that is not reached yet counts.
    fn here(&self) -> Goal {
        self.goal.unwrap_or(Goal {
            at: self.stage.at,
            now: self.now,
        })
    }

    fn is_at_end(&self) -> bool {
        self.complete && self.goal.is_none() && self.stage.at >= self.timeline.len()
    }

    fn toggle(&mut self) {
        if self.is_at_end() && self.timeline.len() > 0 {
            self.go_to(Place::At(Duration::ZERO));
            self.playing = true;
        } else {
            self.playing = !self.playing;
        }
    }

    fn toggle_idle(&mut self) {
        let recorded = self
            .header
            .as_ref()
            .and_then(|header| header.idle_time_limit);
        self.idle = match (self.idle, self.options.idle) {
            (Some(_), _) => None,
            (None, Idle::AtMost(limit)) => Some(micros(limit)),
            (None, _) => Some(micros(recorded.unwrap_or(IDLE_DEFAULT))),
        };
    }

    fn go_to(&mut self, place: Place) {
        let here = self.here().now;
        let duration = self.timeline.duration();
        let time = match place {
            Place::At(time) => micros(time),
            Place::Percent(percent) => (duration as f64 * percent / 100.0) as u64,
            Place::Forward(time) => here.saturating_add(micros(time)),
            Place::Back(time) => here.saturating_sub(micros(time)),
        };
        self.go_to_time(time.min(duration));
    }

    fn go_to_time(&mut self, time: u64) {
        // At the very start nothing has happened yet.
        let at = match time {
            0 => 0,
            _ => self.timeline.count_until(time, &mut self.stage.cache),
        };
        self.set_goal(Goal { at, now: time });
    }

    /// Prepares for a goal: goes back to a keyframe where it has to, or ahead where that is
    /// nearer.
    fn set_goal(&mut self, goal: Goal) {
        self.stage
            .approach(goal.at, &self.timeline, self.header.as_ref());
        self.goal = Some(goal);
    }

    fn step_forward(&mut self) {
        self.playing = false;
        let mut at = self.here().at;
        let mut shown = false;
        let mut now = self.here().now;
        while let Some(moment) = self.timeline.get(at, &mut self.stage.cache) {
            if shown && moment.begins {
                break;
            }
            shown |= matches!(moment.what, What::Output(_));
            now = moment.time;
            at += 1;
        }
        self.set_goal(Goal { at, now });
    }

    fn step_back(&mut self) {
        self.playing = false;
        let mut at = self.here().at;
        while let Some(before) = at.checked_sub(1) {
            at = before;
            let moment = self.timeline.get(at, &mut self.stage.cache);
            if moment.is_some_and(|m| m.begins && matches!(m.what, What::Output(_))) {
                break;
            }
        }
        let last = at.checked_sub(1);
        let last = last.and_then(|last| self.timeline.get(last, &mut self.stage.cache));
        let now = last.map_or(0, |moment| moment.time);
        self.set_goal(Goal { at, now });
    }

    fn jump_to_marker_after(&mut self) {
        let here = self.here().now;
        let mut markers = self.timeline.markers().iter();
        match markers.find(|(time, _)| *time > here) {
            Some((time, _)) => self.go_to_time(*time),
            None => self.message = Some("no marker after this".into()),
        }
    }

    fn jump_to_marker_before(&mut self) {
        let here = self.here().now;
        // While it plays, the marker that has just passed is not the one before.
        let until = match self.playing {
            true => here.saturating_sub(1_000_000),
            false => here,
        };
        let mut markers = self.timeline.markers().iter().rev();
        match markers.find(|(time, _)| *time < until) {
            Some((time, _)) => self.go_to_time(*time),
            None => self.message = Some("no marker before this".into()),
        }
    }
}

impl Stage {
    fn new(cols: u16, rows: u16) -> Self {
        Self {
            emulator: Emulator::new(cols, rows),
            at: 0,
            cache: Cache::default(),
        }
    }

    fn rewind(&mut self, header: Option<&Header>) {
        let (cols, rows) = header.map_or((1, 1), |header| (header.cols, header.rows));
        self.emulator = Emulator::new(cols, rows);
        self.at = 0;
    }

    /// Lets one moment happen.
    fn step(&mut self, timeline: &Timeline, work: &mut u64) {
        if let Some(moment) = timeline.get(self.at, &mut self.cache) {
            match &moment.what {
                What::Output(text) => self.emulator.feed(text),
                What::Resize(cols, rows) => self.emulator.resize(*cols, *rows),
                What::Marker(_) | What::Exit(_) => {}
            }
            self.at += 1;
        }
        *work = work.saturating_sub(self.emulator.take_cost().max(1));
    }

    /// Goes to the state before moment `at`, or to the nearest keyframe before it. What is
    /// nearer from here stays to be walked.
    fn approach(&mut self, at: usize, timeline: &Timeline, header: Option<&Header>) {
        let keyframe = timeline.keyframe_before(at);
        let from = keyframe.as_ref().map_or(0, |(at, _)| *at);
        if self.at <= at && self.at >= from {
            return;
        }
        match keyframe {
            Some((from, snapshot)) => {
                self.emulator.restore(snapshot);
                self.at = from;
            }
            None => self.rewind(header),
        }
    }
}

#[cfg(test)]
mod tests;
