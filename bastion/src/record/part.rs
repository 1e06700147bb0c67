//! The recording of one session as it goes on: the part that is written now, and what becomes of the
//! session when its recorder fails.
//!
//! In the mode `strict` there is one part, and its failure is the session's. In `best-effort` the
//! session goes on without, until a recorder takes another part, a session of its own in the
//! recorder's words, whose header says what it goes on from. The gap between the two is told to the
//! recorder as soon as there is one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::about::bounded_reason;
use super::ledger::Ledger;
use super::link::{Progress, State, Wire};
use super::{About, Continues, End, Gap, Inner, RecordError, SessionId, Totals, wait};
use crate::config::RecordingMode;
use crate::recorder::wire::{self, GapEntry};

/// One file of a session, as long as it is written.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) open: Open,
    pub(super) id: SessionId,
    pub(super) progress: watch::Receiver<Progress>,
}

/// A session that the recorder was told of. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Open {
    wire: Arc<Wire>,
    channel: u32,
    ended: AtomicBool,
}

impl Open {
    pub(super) fn new(wire: Arc<Wire>, channel: u32) -> Self {
        Self {
            wire,
            channel,
            ended: AtomicBool::new(false),
        }
    }

    /// Nobody knows of it: there is nothing to end.
    pub(super) fn forget(self) {
        self.ended.store(true, Ordering::Release);
        self.wire.forget(self.channel);
    }

    fn is(&self, other: &Self) -> bool {
        self.channel == other.channel && Arc::ptr_eq(&self.wire, &other.wire)
    }

    /// Nobody waits for it any more.
    fn abandon(&self, reason: &str) {
        self.end(End::because(reason));
        self.wire.forget(self.channel);
    }

    fn end(&self, end: End) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            let end = wire::json_frame(wire::Kind::End, self.channel, &end.bounded());
            self.wire.send(&end, None);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !*self.ended.get_mut() {
            self.abandon("the session was abandoned");
        }
    }
}

impl Part {
    /// Sends output, for which there has to be room.
    pub(super) fn send(&self, kind: wire::Kind, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(wire::CHUNK));
            self.open.wire.send_payload(kind, self.open.channel, chunk);
        }
    }

    /// Sends something else.
    pub(super) fn tell(&self, kind: wire::Kind, payload: &[u8]) {
        let frame = wire::frame(kind, self.open.channel, payload);
        self.open.wire.send(&frame, None);
    }

    /// Waits until `enough`. Cancel-safe.
    pub(super) async fn wait(&self, enough: impl Fn(&Progress) -> bool) -> Result<(), RecordError> {
        {
            let now = self.progress.borrow();
            now.check()?;
            if enough(&now) {
                return Ok(());
            }
        }
        let wire = &self.open.wire;
        match wait(&mut self.progress.clone(), wire.stall, enough).await {
            Err(RecordError::Stalled) => Err(wire.stalled().await),
            waited => waited,
        }
    }

    /// Returns when it can't be written any more. Cancel-safe.
    pub(super) async fn lost(&self) -> RecordError {
        let mut progress = self.progress.clone();
        loop {
            if let Err(error) = progress.borrow_and_update().check() {
                return error;
            }
            if progress.changed().await.is_err() {
                return RecordError::Gone;
            }
        }
    }

    /// Ends it, and waits until it is on disk, whole.
    pub(super) async fn end(&self, end: End) -> Result<Totals, RecordError> {
        self.open.end(end);
        let mut progress = self.progress.clone();
        let ended = async {
            loop {
                match &progress.borrow_and_update().state {
                    State::Live => {}
                    State::Ended(totals) => return Ok(totals.as_ref().clone()),
                    State::Failed(error) => return Err(error.clone()),
                }
                progress.changed().await.map_err(|_| RecordError::Gone)?;
            }
        };
        let ended = time::timeout(self.open.wire.stall, ended).await;
        self.open.wire.forget(self.open.channel);
        match ended {
            Ok(ended) => ended,
            Err(_) => Err(self.open.wire.stalled().await),
        }
    }
}

/// What all who have to do with one session's recording share.
#[derive(Debug)]
pub(super) struct Line {
    inner: Arc<Inner>,
    state: Mutex<LineState>,
}

#[derive(Debug)]
struct LineState {
    /// Of the part that is written now, or was last.
    about: About,
    last: SessionId,
    number: u32,
    ledger: Ledger<Arc<Part>>,
    /// The gap that this is was told of.
    told: bool,
}

impl Line {
    pub(super) fn new(inner: Arc<Inner>, about: About, part: Part) -> Self {
        let state = LineState {
            about,
            last: part.id,
            number: 1,
            ledger: Ledger::new(Arc::new(part)),
            told: false,
        };
        Self {
            inner,
            state: Mutex::new(state),
        }
    }

    /// The part that is written now, and the position at which it began; none in a gap.
    pub(super) fn part(&self) -> Option<(u64, Arc<Part>)> {
        let state = self.state();
        let (base, part) = state.ledger.part()?;
        Some((base, part.clone()))
    }

    pub(super) fn mode(&self) -> RecordingMode {
        self.state().about.mode
    }

    pub(super) fn position(&self) -> u64 {
        self.state().ledger.position()
    }

    /// Waits until the recorder has room for so many bytes, and counts them as handed over: to the
    /// part that is given, or to nobody. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The recorder has failed, and the session must end.
    pub(super) async fn admit(&self, bytes: u64) -> Result<Option<Arc<Part>>, RecordError> {
        loop {
            let waited = {
                let mut state = self.state();
                let position = state.ledger.position() + bytes;
                let Some((base, part)) = state.ledger.part() else {
                    state.ledger.pass(bytes);
                    return Ok(None);
                };
                let (within, part) = (position - base, part.clone());
                let enough = {
                    let now = part.progress.borrow();
                    now.check().map(|()| now.room >= within)
                };
                if matches!(enough, Ok(true)) {
                    state.ledger.pass(bytes);
                    return Ok(Some(part));
                }
                (part, within, enough)
            };
            let (part, within, enough) = waited;
            let room = match enough {
                Ok(_) => part.wait(|progress| progress.room >= within).await,
                Err(error) => Err(error),
            };
            if let Err(error) = room {
                self.fail(&part, error)?;
            }
        }
    }

    /// The part has failed.
    ///
    /// # Errors
    ///
    /// That is the end of the session: where nothing goes on unrecorded, the error that came in.
    pub(super) fn fail(&self, part: &Part, error: RecordError) -> Result<(), RecordError> {
        let mut state = self.state();
        if state.about.mode.is_strict() {
            return Err(error);
        }
        let now = state.ledger.part();
        if now.is_some_and(|(_, now)| now.open.is(&part.open)) {
            let acknowledged = part.progress.borrow().taken;
            let reason = bounded_reason(error.to_string());
            tracing::error!(session = %state.last, target = state.about.target, %error, "a session goes on unrecorded");
            state.ledger.lose(acknowledged, Timestamp::now(), reason);
            drop(state);
            // A recorder that only hangs finds this when it goes on.
            part.open.abandon(GOES_ON);
        }
        Ok(())
    }

    /// The terminal has a new size, with which a later part begins.
    pub(super) fn resized(&self, cols: u16, rows: u16) {
        if let Some(size) = &mut self.state().about.pty {
            *size = (cols, rows);
        }
    }

    /// Ends the recording.
    pub(super) async fn end(&self, end: End) -> Result<Totals, RecordError> {
        let mut ended = Err(RecordError::Gone);
        let over = !self.mode().is_strict();
        let end = End { over, ..end };
        if let Some((_, part)) = self.part() {
            ended = part.end(end).await;
            if let Err(error) = &ended {
                self.fail(&part, error.clone())?;
            }
        }
        let state = self.state();
        if let Some(gap) = state.ledger.gap(Timestamp::now()) {
            ended = Err(RecordError::Unrecorded(Box::new(gap.clone())));
            let (session, continued) = (state.last, None);
            drop(state);
            self.inner.owe(GapEntry {
                session,
                continued,
                gap,
            });
        }
        ended
    }

    /// Has a recorder take another part, if there is one.
    async fn resume(&self, gap: Gap) -> Result<(SessionId, Gap), RecordError> {
        self.inner.answers().await?;
        let about = {
            let state = self.state();
            About {
                continues: Some(Box::new(Continues {
                    session: state.last,
                    part: state.number + 1,
                    since: gap.since,
                    reason: gap.reason.clone(),
                })),
                ..state.about.clone()
            }
        };
        let part = Arc::new(self.inner.begin_again(&about).await?);
        let id = part.id;
        let owed = self.go_on(part, about.pty, gap);
        let gap = owed.gap.clone();
        self.inner.owe(owed);
        // What fails now is told later.
        self.inner.settle().await.ok();
        Ok((id, gap))
    }

    /// The part, which has begun with that size, is written from now on.
    fn go_on(&self, part: Arc<Part>, size: Option<(u16, u16)>, gap: Gap) -> GapEntry {
        let mut state = self.state();
        // What went by meanwhile counts, too.
        let gap = state
            .ledger
            .resume(part.clone(), Timestamp::now())
            .unwrap_or(gap);
        let session = std::mem::replace(&mut state.last, part.id);
        state.number += 1;
        state.told = false;
        if let Some((cols, rows)) = state.about.pty.filter(|now| size != Some(*now)) {
            part.tell(wire::Kind::Resize, &wire::encode_size(cols, rows));
        }
        let marker = format!("part {} of a recording: {gap}", state.number);
        part.tell(wire::Kind::Marker, marker.as_bytes());
        GapEntry {
            session,
            continued: Some(part.id),
            gap,
        }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that a session that goes on unrecorded is recorded again.
#[derive(Debug)]
pub struct Keeper {
    line: Arc<Line>,
    /// Before the next attempt.
    pause: Duration,
    resumed: Option<Instant>,
}

/// What becomes of the recording of a session in the mode `best-effort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The recorder has failed, for this reason, and the session goes on unrecorded.
    Lost(String),
    /// It is recorded again, in a part of this name.
    Again(SessionId, Gap),
}

impl Keeper {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self {
            line,
            pause: FIRST_PAUSE,
            resumed: None,
        }
    }

    /// Waits for the next thing that becomes of the recording, and does what there is to do for it.
    /// Never returns in the mode `strict`. Cancel-safe, but for a part that may have been begun: it
    /// is ended.
    pub async fn next(&mut self) -> Kept {
        if self.line.mode().is_strict() {
            return std::future::pending().await;
        }
        loop {
            if let Some((_, part)) = self.line.part() {
                let error = part.lost().await;
                // In this mode it is no error.
                self.line.fail(&part, error).ok();
                continue;
            }
            let gap = self.line.state().ledger.gap(Timestamp::now());
            let Some(gap) = gap else { continue };
            if !std::mem::replace(&mut self.line.state().told, true) {
                return Kept::Lost(gap.reason);
            }
            // Parts that fail at once must not fill the disk.
            if self.resumed.take().is_some_and(|at| at.elapsed() > LASTING) {
                self.pause = FIRST_PAUSE;
            }
            time::sleep(self.pause).await;
            match self.line.resume(gap).await {
                Ok((id, gap)) => {
                    self.resumed = Some(Instant::now());
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    return Kept::Again(id, gap);
                }
                Err(error) => {
                    tracing::debug!(%error, "still unrecorded");
                    // A recorder that answers says no each time, and writes that down.
                    if matches!(error, RecordError::Low | RecordError::Full) {
                        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
    }
}

/// How a part ends whose recorder has failed.
const GOES_ON: &str = "the recorder failed, and the session goes on unrecorded";
/// Between a failure and the first attempt to be recorded again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between attempts, where parts fail again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// A part that is written for so long has not failed at once.
const LASTING: Duration = Duration::from_secs(60);
