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
use recording::read::{Damage, Decoder, Item, Limits, Next, Warning};

use crate::about::About;
use crate::emulator::Emulator;
use crate::moment::{Place, micros};
use crate::pages::{self, Blocks, ReadAt};
use crate::paint::Frame;
use crate::sidecar::{self, Index};
use crate::skim::Skim;
use crate::timeline::{Cache, Timeline, What};
use bar::Prompt;
use search::{Direction, Pattern, Search};

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
    /// Of these, what was told before the timeline's tail began.
    warnings_sealed: usize,
    pub(crate) header: Option<Header>,
    pub(crate) about: About,
    pub(crate) timeline: Timeline,
    pub(crate) stage: Stage,
    /// Runs ahead to make keyframes.
    scout: Scout,
    /// The place shown, in microseconds.
    now: u64,
    /// Since when there was no event: the last event, or the place gone to.
    quiet_since: u64,
    playing: bool,
    speed: Speed,
    idle: Option<u64>,
    goal: Option<Goal>,
    start: Option<Place>,
    live: Live,
    /// Chunks that the index had from which this began.
    indexed: usize,
    /// Bytes that are fed next and that the index knows.
    hashed: u64,
    search: Option<Search>,
    pattern: Option<Pattern>,
    prompt: Option<Prompt>,
    message: Option<String>,
    painted: Option<Frame>,
    quit: bool,
}

/// Whether the recording grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    /// Not as far as is known.
    No,
    /// More may come; the viewer is elsewhere.
    Elsewhere,
    /// More may come, and is shown as it comes.
    Following,
}

/// A screen on which everything before moment `at` has happened.
pub(crate) struct Stage {
    pub(crate) emulator: Emulator,
    pub(crate) at: usize,
    pub(crate) cache: Cache,
}

/// As a stage, whose screen is looked at for keyframes only.
struct Scout {
    skim: Skim,
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

/// Moments after which what was prepared is let go of.
const PREPARED_EVERY: usize = 256;

/// Longest wait while playing: the clock in the bar moves.
const REPAINT: Duration = Duration::from_millis(250);

/// Warnings that are kept to be told.
const WARNINGS_KEPT: usize = 1000;

const JUMP: Duration = Duration::from_secs(5);
const FAR_JUMP: Duration = Duration::from_secs(60);

impl Player {
    /// A player with nothing to play yet.
    pub fn new(options: Options) -> Self {
        let timeline = Timeline::new(options.memory_max, options.keyframe_every);
        Self {
            decoder: Decoder::new(options.limits.clone()),
            taken_in: true,
            finished: false,
            complete: false,
            warnings: Vec::new(),
            warnings_sealed: 0,
            header: None,
            about: About::default(),
            timeline,
            stage: Stage::new(1, 1),
            scout: Scout::new(1, 1),
            now: 0,
            quiet_since: 0,
            playing: !options.paused,
            speed: options.speed,
            idle: None,
            goal: None,
            start: options.start,
            live: Live::No,
            indexed: 0,
            hashed: 0,
            search: None,
            pattern: None,
            prompt: None,
            message: None,
            painted: None,
            quit: false,
            options,
        }
    }

    /// A player of a file that can be read anywhere, any time: events are not kept in memory but
    /// read again where they are needed. It is to be [fed](Self::feed) the file from its
    /// beginning all the same.
    pub fn of_file(options: Options, file: Box<dyn ReadAt>) -> Self {
        let limits = options.limits.clone();
        let mut player = Self::new(options);
        player.timeline.set_file(file, Blocks::default(), limits);
        player
    }

    /// A player that knows a file from an [index](Self::index) already, and the byte from which
    /// on it is to be fed. `None` when the index is not one of this file as it is now.
    pub fn with_index(
        options: Options,
        file: Box<dyn ReadAt>,
        index: &[u8],
    ) -> Option<(Self, u64)> {
        let index = Index::read(index)?;
        if !pages::agree_at_ends(file.as_ref(), &index.hashes, index.length) {
            return None;
        }
        let header = header_of(file.as_ref(), &options.limits)?;
        let mark = index.sealed.mark;
        let blocks = Blocks::before(file.as_ref(), &index.hashes, index.length).ok()?;
        let mut player = Self::new(options);
        let limits = player.options.limits.clone();
        player.timeline.set_file(file, blocks, limits.clone());
        // From the mark on it is fed again, and hashed where that was not done.
        player.hashed = index.length - mark.file;
        player.decoder = Decoder::resume(limits, header, mark);
        player.begin();
        player.indexed = index.chunks.len();
        player.warnings_sealed = index.warnings.len();
        player.warnings = index.warnings;
        player
            .timeline
            .set_known(index.chunks, index.chapters, index.sealed, index.piece);
        Some((player, mark.file))
    }

    /// What [`with_index`](Self::with_index) takes, once everything that was read is prepared
    /// and there is more in it than in the index from which this began.
    pub fn index(&self) -> Option<Vec<u8>> {
        let (chunks, chapters, sealed, piece) = self.timeline.known()?;
        let blocks = self.timeline.blocks()?;
        let is_new = chunks.len() > self.indexed;
        if !is_new
            || self.scout.at < self.timeline.len()
            || self.warnings_sealed > sidecar::WARNINGS_MAX
        {
            return None;
        }
        let index = Index {
            length: blocks.length(),
            hashes: blocks.hashes(),
            chunks: chunks.to_vec(),
            chapters: chapters.to_vec(),
            sealed: *sealed,
            piece,
            warnings: self.warnings.get(..self.warnings_sealed)?.to_vec(),
        };
        Some(index.write())
    }

    /// The index was kept: the next one is of use when there is more in it.
    pub fn index_is_kept(&mut self) {
        self.indexed = self.timeline.known().map_or(0, |(chunks, ..)| chunks.len());
    }

    /// Whether the file has turned out to be another than the one that was read or indexed.
    /// What is shown then is not to be relied on, and it does nothing more: begin again.
    pub fn is_stale(&self) -> bool {
        self.timeline.is_stale()
    }

    /// Whether what ends a session was read.
    pub fn has_end(&self) -> bool {
        self.decoder.has_end()
    }

    /// Whether the recording is of a kind that has an end: a bastion wrote it.
    pub fn is_of_a_bastion(&self) -> bool {
        let header = self.header.as_ref();
        header.is_some_and(|header| header.version == 3 && header.extra.contains_key("bastion"))
    }

    /// Whether all that was fed is taken in.
    pub fn is_taken_in(&self) -> bool {
        self.taken_in
    }

    /// More may come after what was fed so far. Where the viewer is at the end, it is shown as
    /// it comes.
    pub fn set_live(&mut self) {
        if self.live == Live::No {
            self.live = Live::Elsewhere;
        }
    }

    /// Goes to the end of what there is and shows what comes.
    pub fn follow(&mut self) {
        self.live = Live::Following;
        self.playing = true;
    }

    /// The place that is shown, and the end, in the time of the recording.
    pub fn place(&self) -> (Duration, Duration) {
        let duration = self.timeline.duration();
        (
            Duration::from_micros(self.here().now),
            Duration::from_micros(duration),
        )
    }

    /// Whether there should be more bytes of the file: what it has is taken in.
    pub fn wants_input(&self) -> bool {
        self.taken_in && !self.finished && !self.timeline.is_full()
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        let known = usize::try_from(self.hashed).unwrap_or(usize::MAX);
        let known = known.min(bytes.len());
        self.hashed -= known as u64;
        self.timeline.hash(bytes.get(known..).unwrap_or_default());
        self.decoder.push(bytes);
        self.taken_in = false;
    }

    /// There are no more bytes.
    pub fn finish(&mut self) {
        self.decoder.finish();
        self.finished = true;
        self.taken_in = false;
        self.live = Live::No;
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
        if self.is_stale() {
            // It would go on for ever towards what is not there any more.
            return Wait::Idle;
        }
        self.take_in();
        let mut work = WORK;
        if self.live == Live::Following && self.playing && self.goal.is_none() {
            self.catch_up();
        }
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
        if self.timeline.is_far_ahead() && self.scout.at < self.timeline.len() {
            return;
        }
        let begun = self.decoder.position().text;
        let mut items = 0;
        while items < INTAKE_ITEMS && !self.taken_in {
            // A version 1 file begins anew at its end, when its events are given.
            if self.decoder.position().text.saturating_sub(begun) > INTAKE {
                break;
            }
            items += 1;
            let mark = match self.timeline.wants_mark() {
                true => self.decoder.mark(),
                false => None,
            };
            let told = self.warnings.len();
            match self.decoder.next() {
                Next::Item(Item::Event(event)) => {
                    self.begin();
                    let read = self.decoder.position().file;
                    if self.timeline.push(event, mark, read) {
                        self.warnings_sealed = told;
                    }
                }
                Next::Item(Item::Warning(warning)) => self.take_warning(warning),
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

    fn take_warning(&mut self, warning: Warning) {
        let whole_frames = [Damage::Compression, Damage::Limit, Damage::Io, Damage::Cut];
        if whole_frames.contains(&warning.damage) {
            self.timeline.is_damaged();
        }
        if self.warnings.len() < WARNINGS_KEPT {
            self.warnings.push(warning);
        }
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
        self.scout = Scout::new(header.cols, header.rows);
        self.idle = match self.options.idle {
            Idle::AsRecorded => header.idle_time_limit.map(micros),
            Idle::AtMost(limit) => Some(micros(limit)),
            Idle::Real => None,
        };
        self.timeline.set_header(&header);
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

    /// Sets the end as the goal when there is more than is shown.
    fn catch_up(&mut self) {
        let end = Goal {
            at: self.timeline.len(),
            now: self.timeline.duration(),
        };
        if self.stage.at < end.at && self.header.is_some() && self.start.is_none() {
            self.set_goal(end);
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
                if self.live == Live::Elsewhere {
                    self.live = Live::Following;
                }
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
                self.scout.skim.settle(None).restore(keyframe);
                self.scout.at = at;
            }
            if *work == 0 {
                return false;
            }
            let scout = &mut self.scout;
            if self.timeline.wants_keyframe(scout.at)
                && let Some(snapshot) = scout.skim.settle(None).snapshot()
            {
                self.timeline.set_keyframe(scout.at, snapshot);
            }
            scout.step(&self.timeline, work);
            if scout.at.is_multiple_of(PREPARED_EVERY) {
                self.timeline.is_prepared_until(scout.at);
            }
        }
        self.timeline.is_prepared_until(self.scout.at);
        true
    }

    /// What the viewer pressed.
    pub fn on_key(&mut self, key: Key) {
        self.message = None;
        if self.on_prompt_key(key) {
            return;
        }
        if self.live == Live::Following && self.moves(key) {
            self.live = Live::Elsewhere;
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
            Key::End | Key::Char('G') if self.live != Live::No => self.follow(),
            Key::End | Key::Char('G') => self.go_to(Place::Percent(100.0)),
            Key::Char(digit @ '1'..='9') => {
                let tenths = f64::from(digit.to_digit(10).unwrap_or(0));
                self.go_to(Place::Percent(tenths * 10.0));
            }
            Key::Char('>' | '+') => self.speed = self.speed.faster(),
            Key::Char('<' | '-') => self.speed = self.speed.slower(),
            Key::Char('=') => self.speed = Speed::NORMAL,
            Key::Char('[') => self.jump_to_chapter_before(),
            Key::Char(']') => self.jump_to_chapter_after(),
            Key::Char('i') => self.toggle_idle(),
            Key::Char('g') => self.prompt = Some(Prompt::Place(String::new())),
            Key::Char('/') => self.prompt = Some(Prompt::Search(String::new())),
            Key::Char('n') => self.search_on(Direction::Forward),
            Key::Char('N') => self.search_on(Direction::Back),
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

    pub(crate) fn go_to(&mut self, place: Place) {
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

    fn jump_to_chapter_after(&mut self) {
        let here = self.here().now;
        let mut chapters = self.timeline.chapters().iter();
        match chapters.find(|chapter| chapter.time > here) {
            Some(chapter) => self.go_to_time(chapter.time),
            None => self.message = Some("no marker or command after this".into()),
        }
    }

    fn jump_to_chapter_before(&mut self) {
        let here = self.here().now;
        // While it plays, the one that has just passed is not the one before.
        let until = match self.playing {
            true => here.saturating_sub(1_000_000),
            false => here,
        };
        let mut chapters = self.timeline.chapters().iter().rev();
        match chapters.find(|chapter| chapter.time < until) {
            Some(chapter) => self.go_to_time(chapter.time),
            None => self.message = Some("no marker or command before this".into()),
        }
    }

    /// Whether a key goes to another place than the end.
    fn moves(&self, key: Key) -> bool {
        let jumps = ['.', ',', '[', ']', 'g', 'n', 'N'];
        match key {
            Key::Char(char) => jumps.contains(&char) || char.is_ascii_digit(),
            Key::Left { .. } | Key::Right { .. } | Key::Up | Key::Down => true,
            Key::PageUp | Key::PageDown | Key::Home => true,
            Key::Control(_) | Key::End | Key::Enter | Key::Backspace | Key::Escape => false,
        }
    }
}

/// The header of a file: it is in its first bytes, or the index is of no use.
fn header_of(file: &dyn ReadAt, limits: &Limits) -> Option<Header> {
    let mut decoder = Decoder::new(limits.clone());
    let mut block = vec![0; 64 << 10];
    for number in 0..HEADER_BLOCKS {
        let length = file.read_at(number * block.len() as u64, &mut block).ok()?;
        match length {
            0 => decoder.finish(),
            _ => decoder.push(block.get(..length)?),
        }
        while let Next::Item(_) | Next::Pause = decoder.next() {
            if decoder.header().is_some() {
                break;
            }
        }
        if decoder.header().is_some() || length == 0 {
            break;
        }
    }
    decoder.header().cloned()
}

/// Blocks of 64 KiB in which the header is looked for.
const HEADER_BLOCKS: u64 = 64;

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
    pub(crate) fn step(&mut self, timeline: &Timeline, work: &mut u64) {
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
    pub(crate) fn approach(&mut self, at: usize, timeline: &Timeline, header: Option<&Header>) {
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

impl Scout {
    fn new(cols: u16, rows: u16) -> Self {
        Self {
            skim: Skim::new(Emulator::new(cols, rows)),
            at: 0,
            cache: Cache::default(),
        }
    }

    /// Lets one moment happen.
    fn step(&mut self, timeline: &Timeline, work: &mut u64) {
        if let Some(moment) = timeline.get(self.at, &mut self.cache) {
            match &moment.what {
                What::Output(text) => self.skim.feed(text, None),
                What::Resize(cols, rows) => self.skim.settle(None).resize(*cols, *rows),
                What::Marker(_) | What::Exit(_) => {}
            }
            self.at += 1;
        }
        *work = work.saturating_sub(self.skim.emulator().take_cost().max(1));
    }
}

#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod tests;
