//! Withholding frames of recordings that have ended: an act of whoever is the recorder's user or root
//! on its host, at a socket in its own folder that `serve` does not speak at.
//!
//! The order is what makes it safe: the new file is whole and on the disk, then the audit log says who
//! wants it and why, then the log what the file is, then the two files change places, at once, and only
//! then the old one is overwritten. Until it is gone, it or the new one lies beside the recording as
//! `ID.cast.zst.new`, by which the next recorder finds what a crash has left, and finishes it or takes
//! it back.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use recording::log::Leaf;
use recording::redact::{self, Place};
use recording::seal::Hash;
use recording::verify::{Level, NOT_AS_LOGGED};
use replay::evidence::Session;
use serde::{Deserialize, Serialize};

use super::log::now_ms;
use super::store::{Beside, Store};
use super::terms::Terms;
use super::wire::{self, Entry, Failure, HEAD, Head, Hello, Kind, RedactedEntry};
use super::work::Crew;
use crate::config::RecordingSync;
use crate::record::SessionId;

/// What is to be withheld, and who wants it. The payload of [`Kind::Redact`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redact {
    pub(crate) session: SessionId,
    pub(crate) what: What,
    /// Why. At most 1 KiB.
    pub(crate) reason: String,
    /// Who, in their own words; the system's number of them is added. At most 64 bytes.
    pub(crate) person: String,
    /// Only tell what would be.
    pub(crate) dry_run: bool,
}

/// Which frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// All but the header's.
    All,
    /// Those in which something happened in this range, in milliseconds since the start.
    Times(RangeInclusive<u64>),
    /// Those at this wall-clock time, in milliseconds since 1970.
    Clock(RangeInclusive<u64>),
    /// Those with these numbers.
    Frames(RangeInclusive<u32>),
}

/// What was withheld. The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redacted {
    /// The frames that were withheld now: `1-3,7`.
    pub(crate) frames: String,
    /// How many, and how many of the recording in all.
    pub(crate) count: u32,
    pub(crate) total: u32,
    /// Bytes of text in those of now, and the times of their first and last event, in milliseconds
    /// since the start.
    pub(crate) bytes: u64,
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// The recording, below the folder of the recordings.
    pub(crate) file: String,
}

impl Redact {
    fn check(&self) -> Result<(), Failure> {
        let is_text = |text: &str, most| {
            let fits = !text.trim().is_empty() && text.len() <= most;
            fits && !text.chars().any(char::is_control)
        };
        if !is_text(&self.reason, REASON) {
            return refused("a reason is one line of at most 1 KiB");
        }
        if !is_text(&self.person, PERSON) {
            return refused("a person is named in at most 64 bytes");
        }
        Ok(())
    }
}

/// Withholds what is asked for by the process of this user; when this returns, what it held is gone
/// from the recorder's folder.
pub(super) fn run(crew: &Crew, asked: &Redact, uid: u32) -> Result<Redacted, Failure> {
    asked.check()?;
    let _alone = crew.alone();
    let work = Work::prepare(crew, asked, uid)?;
    if asked.dry_run {
        return Ok(work.answer);
    }
    let after = work.write().map_err(failed)?;
    if work.beside.is_held().map_err(failed)? {
        work.beside.remove_new().map_err(failed)?;
        return refused(HELD);
    }
    work.tell(crew)?;
    work.log(&crew.store, after).map_err(failed)?;
    work.swap().map_err(failed)?;
    list(&crew.store, &work.session, work.answer.total);
    erase(&work.beside, work.gone()).map_err(failed)?;
    tracing::warn!(session = %work.session, frames = work.answer.frames, by = work.by, "frames of a recording are withheld");
    // So that a bundle can be made of it at once.
    crew.store.log.checkpoint().map_err(failed)?;
    Ok(work.answer)
}

/// One redaction, from what is known before it to what is there after it.
struct Work {
    session: SessionId,
    beside: Beside,
    places: Vec<Place>,
    /// By the numbers of the places.
    wanted: Vec<bool>,
    known: Session,
    before: Hash,
    by: String,
    reason: String,
    answer: Redacted,
}

impl Work {
    /// Looks at everything that may forbid it.
    fn prepare(crew: &Crew, asked: &Redact, uid: u32) -> Result<Self, Failure> {
        let store = &crew.store;
        let session = asked.session;
        if crew.is_live(&session) {
            return refused("the session goes on: a recording is redacted when it has ended");
        }
        let Some(beside) = store.beside(&session).map_err(failed)? else {
            return Err(Failure::Unknown);
        };
        if beside.is_held().map_err(failed)? {
            return refused(HELD);
        }
        if beside.open_new().map_err(failed)?.is_some() {
            if asked.dry_run {
                return refused(
                    "a redaction of it was cut short; the next one finishes that first",
                );
            }
            let what = finish_one(crew, &session, &beside).map_err(failed)?;
            tracing::warn!(%session, what, "a redaction that was cut short");
        }
        let Some(known) = known(store, &session).map_err(failed)? else {
            return refused(
                "the log does not know it: it is not redacted, since nobody could tell",
            );
        };
        let judged = known.judge(&beside.path(), session.as_str());
        let judged = judged.map_err(failed)?;
        let Some(end) = known.known.end.filter(|_| judged.level == Level::Complete) else {
            let level = &judged.level;
            return refused(&format!(
                "only a complete recording is redacted; it is {level}"
            ));
        };
        let file = beside.open().map_err(failed)?;
        // There are two of it for a while, and sessions must be able to begin meanwhile.
        let (free, total) = store.disk().map_err(failed)?;
        let left = free.saturating_sub(file.metadata().map_err(failed)?.len());
        if !Terms::default().is_enough(left, total) {
            return Err(Failure::Low);
        }
        let places = redact::places(BufReader::new(&file)).map_err(failed)?;
        let is_asked = choose(&asked.what, started_ms(&file));
        let is_asked = |place: &&Place| place.seal.number > 0 && is_asked(place);
        if !places.iter().any(|place| is_asked(&place)) {
            return refused(&nothing_there(&places));
        }
        // Of an older copy that was put back, what the log says to be withheld goes, too.
        let before = known.redactions.last().map_or("", |last| &last.frames);
        let wanted: Vec<bool> = places
            .iter()
            .map(|place| {
                let is_owed = redact::is_in(before, place.seal.number);
                place.withheld.is_none() && (is_owed || is_asked(&place))
            })
            .collect();
        if !wanted.contains(&true) {
            return refused("all of that is withheld already");
        }
        let now = places.iter().zip(&wanted).filter(|(_, wanted)| **wanted);
        let now: Vec<_> = now.map(|(place, _)| &place.seal).collect();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let before = places.iter().filter(|p| p.withheld.is_some()).count();
        let ranges = now.iter().map(|seal| seal.number);
        let answer = Redacted {
            frames: redact::ranges(ranges),
            count: count(now.len()),
            total: count(now.len() + before),
            bytes: now.iter().map(|seal| u64::from(seal.measures.text)).sum(),
            from_ms: now.iter().map(|s| s.measures.first_ms).min().unwrap_or(0),
            to_ms: now.iter().map(|s| s.measures.last_ms).max().unwrap_or(0),
            file: beside.place().to_owned(),
        };
        Ok(Self {
            session,
            before: judged.state().unwrap_or(end.head),
            by: format!("{} (uid {uid})", asked.person),
            reason: asked.reason.clone(),
            beside,
            places,
            wanted,
            known,
            answer,
        })
    }

    /// Whether this place is withheld in the end.
    fn is_wanted(&self, place: &Place) -> bool {
        self.wanted
            .get(place.seal.number as usize)
            .is_some_and(|wanted| *wanted)
    }

    /// The numbers that are withheld in the end.
    fn numbers(&self) -> impl Iterator<Item = u32> {
        let places = self.places.iter();
        places
            .filter(|place| place.withheld.is_some() || self.is_wanted(place))
            .map(|place| place.seal.number)
    }

    /// Whether what a recovery kept of the last frame goes with it.
    fn gone(&self) -> bool {
        let last = self.places.last().map(|place| place.seal.number);
        self.numbers().last() == last
    }

    /// The new file, beside the old one and on the disk; what it is then.
    fn write(&self) -> io::Result<Hash> {
        let old = self.beside.open()?;
        let new = self.beside.create_new()?;
        let written = (|| {
            let mut output = BufWriter::new(&new);
            redact::write(
                &old,
                &self.places,
                |place| self.is_wanted(place),
                &mut output,
            )?;
            output.flush()?;
            drop(output);
            // Its age is that of the recording.
            let changed = old.metadata()?.modified()?;
            new.set_times(std::fs::FileTimes::new().set_modified(changed))?;
            new.sync_all()?;
            self.beside.sync()?;
            self.judge_new()
        })();
        if written.is_err() {
            self.beside.remove_new()?;
        }
        written
    }

    /// Nobody is asked to believe a file that this recorder would not: all but the leaf is right.
    fn judge_new(&self) -> io::Result<Hash> {
        let path = self.beside.new_path();
        let judged = self.known.judge(&path, self.session.as_str())?;
        let is_untold =
            matches!(&judged.level, Level::Altered { what, .. } if *what == NOT_AS_LOGGED);
        let frames = judged.walk.withheld.iter().map(|(number, _)| *number);
        match judged.state() {
            Some(after) if is_untold && frames.eq(self.numbers()) => Ok(after),
            _ => {
                let level = judged.level;
                let what = format!("the new file is not what it should be: {level}");
                Err(io::Error::other(what))
            }
        }
    }

    fn log(&self, store: &Store, after: Hash) -> io::Result<()> {
        store.log.append(&Leaf::Redacted {
            at_ms: now_ms(),
            session: self.session.to_string(),
            before: self.before,
            after,
            count: self.answer.total,
            frames: redact::ranges(self.numbers()),
            by: self.by.clone(),
            reason_sha256: Hash::of(self.reason.as_bytes()),
        })?;
        store.log.sync()
    }

    fn tell(&self, crew: &Crew) -> Result<(), Failure> {
        let told = crew.audit.note_redaction(
            &self.session,
            &redact::ranges(self.numbers()),
            &self.by,
            Some(&self.reason),
        );
        told.map_err(Failure::Io)
    }

    fn swap(&self) -> io::Result<()> {
        swap(&self.beside)
    }
}

/// Puts the new file in the place of the old one, which is then beside it.
fn swap(beside: &Beside) -> io::Result<()> {
    if beside.is_held()? {
        return Err(io::Error::other(HELD));
    }
    let old = beside.exchange()?;
    beside.sync()?;
    match old {
        Some(old) => overwrite(&old),
        None => Ok(()),
    }
}

/// Has the list of sessions say it. It is said again where the file says otherwise.
fn list(store: &Store, session: &SessionId, withheld: u32) {
    let entry = Entry::Redacted(RedactedEntry {
        session: *session,
        at: Timestamp::now(),
        withheld,
    });
    let listed = store.append(&entry).and_then(|()| store.sync_list());
    if let Err(error) = listed {
        tracing::warn!(%session, %error, "the list does not say what is withheld");
    }
}

/// Overwrites and removes the old file, and what else was made of it. What cannot be opened or is no
/// file is removed as far as it can be, and stops nothing. The old file goes last: as long as it is
/// there, this is not over.
fn erase(beside: &Beside, torn_too: bool) -> io::Result<()> {
    if beside.is_held()? {
        return Err(io::Error::other(HELD));
    }
    for name in beside.others()? {
        if !torn_too && name.contains(".torn") {
            continue;
        }
        let wiped = beside.open_named(&name).and_then(|file| overwrite(&file));
        if let Err(error) = wiped {
            tracing::warn!(name, %error, "what was made of a recording is not overwritten");
        }
        if let Err(error) = beside.remove(&name) {
            tracing::error!(name, %error, "what was made of a recording cannot be removed");
        }
    }
    match beside.open_new() {
        Ok(Some(old)) => {
            if let Err(error) = overwrite(&old) {
                tracing::error!(%error, "the old recording is removed, and not overwritten");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "the old recording is removed, and not overwritten"),
    }
    beside.remove_new()?;
    beside.sync()
}

/// In place, as far as the filesystem does that.
fn overwrite(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let zeros = vec![0; STEP];
    let mut at = 0;
    while at < length {
        let step = usize::try_from(length - at).unwrap_or(STEP).min(STEP);
        file.write_all_at(zeros.get(..step).unwrap_or_default(), at)?;
        at += step as u64;
    }
    file.sync_all()
}

/// Finishes what a recorder that died has left of a redaction, or takes it back.
pub(super) fn finish(crew: &Crew) -> io::Result<()> {
    let _alone = crew.alone();
    for (session, beside) in crew.store.unfinished()? {
        match finish_one(crew, &session, &beside) {
            Ok(what) => tracing::warn!(%session, what, "a redaction that was cut short"),
            Err(error) => {
                tracing::error!(%session, %error, "a redaction that was cut short cannot be finished: look at it with replay verify");
            }
        }
    }
    Ok(())
}

fn finish_one(crew: &Crew, session: &SessionId, beside: &Beside) -> io::Result<&'static str> {
    let known = known(&crew.store, session)?;
    let last = known.as_ref().and_then(|known| known.redactions.last());
    let is_there = match beside.open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        file => file.map(|_| true)?,
    };
    let (Some(known), Some(last), true) = (&known, last, is_there) else {
        // The log does not know of it, so that nothing of it has happened; or there is nothing left.
        beside.remove_new()?;
        beside.sync()?;
        return Ok("it is taken back");
    };
    let is_it = |path: &Path| {
        let judged = known.judge(path, session.as_str())?;
        let is_it = judged.state().is_some() && judged.state() == known.redacted();
        Ok::<_, io::Error>((is_it && judged.level == Level::Complete, judged))
    };
    let (is_done, mut here) = is_it(&beside.path())?;
    if !is_done {
        let (is_ready, there) = is_it(&beside.new_path())?;
        if !is_ready {
            if here.level != Level::Complete {
                return Err(io::Error::other(here.level.to_string()));
            }
            // What lies there is from before the log knew of it.
            beside.remove_new()?;
            beside.sync()?;
            return Ok("it is taken back");
        }
        if beside.is_held()? {
            return Err(io::Error::other(HELD));
        }
        let told = crew
            .audit
            .note_redaction(session, &last.frames, &last.by, None);
        told.map_err(io::Error::other)?;
        swap(beside)?;
        here = there;
    }
    list(&crew.store, session, last.count);
    let frames = u32::try_from(here.walk.frames.len()).unwrap_or(u32::MAX);
    erase(beside, here.walk.is_withheld(frames.saturating_sub(1)))?;
    Ok("it is finished")
}

/// What the log has of a session; none where it has no start of it.
fn known(store: &Store, session: &SessionId) -> io::Result<Option<Session>> {
    // A tail that is put in its place meanwhile hides what is in it: then it is read again.
    for _ in 0..ATTEMPTS {
        let least = store.log.size();
        let mut leaves = Vec::new();
        let mut index = 0;
        store.log.each_entry(|entry| {
            let leaf: Option<Leaf> = serde_json::from_slice(entry).ok();
            if let Some(leaf) = leaf.filter(|leaf| leaf.session() == Some(session.as_str())) {
                leaves.push((index, leaf));
            }
            index += 1;
        })?;
        if index >= least {
            return Ok(Session::of(session.as_str(), leaves));
        }
    }
    Err(io::Error::other("the log grows too fast to be read"))
}

fn choose(what: &What, started_ms: u64) -> impl Fn(&Place) -> bool {
    let what = what.clone();
    move |place: &Place| match &what {
        What::All => true,
        What::Frames(frames) => frames.contains(&place.seal.number),
        What::Times(range) => place.touches(range),
        What::Clock(range) => {
            let since = |at: &u64| at.checked_sub(started_ms);
            let Some(to) = since(range.end()) else {
                return false;
            };
            place.touches(&(since(range.start()).unwrap_or(0)..=to))
        }
    }
}

/// When the session started, as its header says.
fn started_ms(mut file: &File) -> u64 {
    let from_start = file.rewind().ok();
    let header = from_start.and_then(|()| recording::read::Reader::open(file).ok());
    let bastion = header.and_then(|reader| reader.header().extra.get("bastion").cloned());
    let started = bastion.and_then(|b| b.get("started")?.as_str()?.parse::<Timestamp>().ok());
    started.map_or(0, |at| u64::try_from(at.as_millisecond()).unwrap_or(0))
}

fn nothing_there(places: &[Place]) -> String {
    let last = places.last().map(|place| &place.seal);
    let to = last.map_or(0, |seal| seal.measures.last_ms);
    let frames = last.map_or(0, |seal| seal.number);
    format!(
        "nothing was recorded then: it has frames 1 to {frames}, of 0 to {}.{:03} s",
        to / 1000,
        to % 1000
    )
}

fn failed(error: io::Error) -> Failure {
    match super::disk::is_full(&error) {
        true => Failure::Full,
        false => Failure::Io(error.to_string()),
    }
}

fn refused<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::Refused(what.to_owned()))
}

/// Why a recorder could not be asked, or what it says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens in the folder.
    #[error("no recorder works on it")]
    Nobody,
    /// This user may not speak there.
    #[error("only the recorder's user and root may ask it")]
    NotAllowed,
    /// It said no.
    #[error("{}", said(.0))]
    Failed(Failure),
    /// It cannot be understood.
    #[error("the recorder cannot be asked: {0}")]
    Io(#[from] io::Error),
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Refused(what) => what.clone(),
        Failure::Unknown => "there is no such recording".to_owned(),
        Failure::Io(what) => format!("it cannot be written: {what}"),
        Failure::Full | Failure::Low => "the disk of the recordings is full".to_owned(),
        Failure::Stopping => "the recorder is being stopped".to_owned(),
    }
}

/// Asks the recorder that works on this folder.
pub(crate) fn ask(dir: &Path, redact: &Redact) -> Result<Redacted, AskError> {
    let broken = |what: wire::Broken| AskError::Io(io::Error::other(what));
    let folder = File::open(dir).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => AskError::NotAllowed,
        io::ErrorKind::NotFound => AskError::Nobody,
        _ => error.into(),
    })?;
    let mut stream =
        UnixStream::connect(super::control(&folder)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Nobody,
            io::ErrorKind::PermissionDenied => AskError::NotAllowed,
            _ => error.into(),
        })?;
    let hello = Hello {
        version: wire::VERSION,
        sync: RecordingSync::Interval,
        terms: Terms::default(),
    };
    stream.set_read_timeout(Some(GREETING))?;
    stream.write_all(&wire::json_frame(Kind::Hello, 1, &hello))?;
    answer(&mut stream, Kind::Done)?;
    // A long recording takes its time.
    stream.set_read_timeout(None)?;
    stream.write_all(&wire::json_frame(Kind::Redact, 2, redact))?;
    wire::parse(&answer(&mut stream, Kind::Data)?).map_err(broken)
}

fn answer(stream: &mut UnixStream, expected: Kind) -> Result<Vec<u8>, AskError> {
    let broken = |what: wire::Broken| AskError::Io(io::Error::other(what));
    let mut head = [0; HEAD];
    stream.read_exact(&mut head)?;
    let head = Head::decode(head).map_err(broken)?;
    let mut payload = vec![0; head.len as usize];
    stream.read_exact(&mut payload)?;
    match head.kind {
        kind if kind == expected => Ok(payload),
        Kind::Failed => Err(AskError::Failed(wire::parse(&payload).map_err(broken)?)),
        _ => Err(broken(wire::Broken("an unexpected answer"))),
    }
}

/// Why a recording is left alone.
const HELD: &str = "a legal hold keeps it: whoever set ID.keep has to remove it first";
/// Times that a log that grows is read again.
const ATTEMPTS: usize = 5;
const REASON: usize = 1024;
const PERSON: usize = 64;
/// Bytes that are overwritten at once.
const STEP: usize = 256 * 1024;
/// How long a recorder may take to greet.
const GREETING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::Arc;

    use recording::event::{Header, Stream};
    use recording::repair::Survey;
    use recording::sum::Total;
    use recording::write::{Ending, Newlines, Presses, Sealing, Settings, Writer};
    use serde_json::{Map, json};

    use super::super::Keep;
    use super::super::copies::Copies;
    use super::super::recover;
    use super::*;

    const SECRET: &[u8] = b"hunter2-4711";

    /// A folder with one recording of some frames, each second of which holds a secret, and with
    /// what was made of it.
    struct World {
        dir: tempfile::TempDir,
        id: SessionId,
        file: PathBuf,
        whole: Vec<u8>,
    }

    fn open(dir: &Path) -> Arc<Crew> {
        let store = Store::open(dir, Copies::default()).unwrap();
        recover::all(&store).unwrap();
        Crew::start(store, Keep::default()).unwrap()
    }

    fn close(crew: &Crew) {
        crew.finish(Duration::from_secs(10));
    }

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let crew = open(dir.path());
        let id = SessionId::of(4711);
        let started: Timestamp = "2026-11-25T16:00:00Z".parse().unwrap();
        let ours = json!({ "session": id, "started": started, "crlf": false });
        let header = Header {
            version: 3,
            cols: 80,
            rows: 24,
            extra: [("bastion".to_owned(), ours)].into(),
            ..Header::default()
        };
        let sealing = Sealing {
            session: id.bytes(),
            wall_ms: now_ms,
        };
        let settings = Settings {
            frame_idle: Duration::from_secs(1),
            ..Settings::default()
        };
        let file = crew.store.create(&id, started).unwrap();
        let presses = Presses::new(1);
        let kept = Newlines::Kept;
        let mut writer = Writer::sealed(file, &header, kept, settings, presses, sealing).unwrap();
        let session = id.to_string();
        let at_ms = now_ms();
        crew.store
            .log
            .append(&Leaf::Start {
                at_ms,
                session: session.clone(),
                head: writer.head().unwrap(),
                about: Map::new(),
            })
            .unwrap();
        for n in 0..6_u64 {
            let at = Duration::from_secs(10 * n);
            let text = match n % 2 {
                0 => b"nothing special\r\n".to_vec(),
                _ => [SECRET, b"\r\n"].concat(),
            };
            writer.output(at, Stream::Stdout, &text).unwrap();
            writer.tick(at + Duration::from_secs(5)).unwrap();
        }
        let (_, totals) = writer
            .end(Duration::from_secs(60), &Ending::default())
            .unwrap();
        crew.store
            .log
            .append(&Leaf::End {
                at_ms,
                session,
                head: totals.head.unwrap(),
                duration_ms: 60_000,
                exit: None,
                reason: None,
                over: false,
                gaps: Some(0),
                coverage: Map::new(),
                stdout: Total::default(),
                stderr: Total::default(),
            })
            .unwrap();
        crew.store.log.checkpoint().unwrap();
        let beside = crew.store.beside(&id).unwrap().unwrap();
        let file = dir.path().join(beside.place());
        for ending in ["idx", "txt.idx"] {
            std::fs::write(file.with_file_name(format!("{id}.{ending}")), SECRET).unwrap();
        }
        close(&crew);
        let whole = std::fs::read(&file).unwrap();
        World {
            dir,
            id,
            file,
            whole,
        }
    }

    fn asked(id: SessionId, what: What) -> Redact {
        Redact {
            session: id,
            what,
            reason: "ticket 4711".to_owned(),
            person: "ada".to_owned(),
            dry_run: false,
        }
    }

    /// Everything that lies in the folder of the recording, unpacked where it is packed.
    fn holds_secret(world: &World) -> bool {
        let folder = std::fs::read_dir(world.file.parent().unwrap()).unwrap();
        folder.into_iter().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let text = zstd::decode_all(bytes.as_slice()).unwrap_or(bytes);
            text.windows(SECRET.len()).any(|piece| piece == SECRET)
        })
    }

    /// How many frames are withheld, the file being what the log says that it is.
    fn withheld(crew: &Crew, world: &World) -> usize {
        let known = known(&crew.store, &world.id).unwrap().unwrap();
        let judged = known.judge(&world.file, world.id.as_str()).unwrap();
        assert_eq!(judged.level, Level::Complete);
        assert_eq!(judged.withheld_since, 0);
        assert!(
            Survey::of(File::open(&world.file).unwrap())
                .unwrap()
                .ended
                .is_some()
        );
        judged.withheld()
    }

    fn what(crew: &Crew, asked: &Redact) -> Result<Redacted, String> {
        run(crew, asked, 0).map_err(|failure| said(&failure))
    }

    /// A crash after any step leaves the old file or the new one, and the next recorder ends what was
    /// begun: nothing has happened before the log says so, and everything after.
    #[test]
    fn a_crash_at_each_step_is_finished_or_taken_back() {
        for step in 0..=5 {
            let world = world();
            let crew = open(world.dir.path());
            let asked = asked(world.id, What::Times(10_000..=50_000));
            let work = Work::prepare(&crew, &asked, 0).unwrap();
            if step >= 1 {
                let after = work.write().unwrap();
                if step >= 2 {
                    work.tell(&crew).unwrap();
                }
                if step >= 3 {
                    work.log(&crew.store, after).unwrap();
                }
            }
            if step >= 4 {
                work.swap().unwrap();
            }
            if step >= 5 {
                let name = format!("{}.idx", world.id);
                work.beside.remove(&name).unwrap();
            }
            close(&crew);
            drop(crew);
            let now = std::fs::read(&world.file).unwrap();
            assert_eq!(now == world.whole, step < 4, "step {step}");
            let crew = open(world.dir.path());
            finish(&crew).unwrap();
            let expected = if step >= 3 { 5 } else { 0 };
            assert_eq!(withheld(&crew, &world), expected, "step {step}");
            assert_eq!(holds_secret(&world), step < 3, "step {step}");
            assert!(work.beside.open_new().unwrap().is_none(), "step {step}");
            // It can be asked for again, and is done then, once.
            let again = what(&crew, &asked);
            assert_eq!(again.is_ok(), step < 3, "step {step}: {again:?}");
            let list = std::fs::read_to_string(world.dir.path().join("sessions.jsonl")).unwrap();
            assert!(list.contains("\"withheld\":5"), "step {step}: {list}");
            assert_eq!(withheld(&crew, &world), 5);
            assert!(!holds_secret(&world));
            close(&crew);
            let log = std::fs::read_to_string(world.dir.path().join("audit.jsonl")).unwrap();
            assert!(log.contains("recording_redacted"), "step {step}");
        }
    }

    /// Set between any two steps, a legal hold stays and keeps what it was set for; what somebody else
    /// has put beside the recording stays as well, and what is no file or not ours to write stops
    /// nothing.
    #[test]
    fn a_legal_hold_that_is_set_meanwhile_is_kept() {
        for step in 1..=2 {
            let world = world();
            let crew = open(world.dir.path());
            let work = Work::prepare(&crew, &asked(world.id, What::All), 0).unwrap();
            let after = work.write().unwrap();
            work.log(&crew.store, after).unwrap();
            let keep = world.file.with_file_name(format!("{}.keep", world.id));
            let hash = world.file.with_file_name(format!("{}.sha256", world.id));
            std::fs::write(&hash, "of somebody").unwrap();
            if step == 2 {
                work.swap().unwrap();
            }
            std::fs::write(&keep, "case 17").unwrap();
            if step == 1 {
                assert!(work.swap().is_err());
            } else {
                assert!(erase(&work.beside, true).is_err());
            }
            finish(&crew).unwrap();
            assert_eq!(std::fs::read_to_string(&keep).unwrap(), "case 17");
            assert!(holds_secret(&world), "step {step}");
            std::fs::remove_file(&keep).unwrap();
            let index = world.file.with_file_name(format!("{}.idx", world.id));
            std::fs::remove_file(&index).unwrap();
            std::fs::create_dir(&index).unwrap();
            finish(&crew).unwrap();
            assert_eq!(withheld(&crew, &world), 7);
            assert!(work.beside.open_new().unwrap().is_none());
            assert!(hash.exists());
            std::fs::remove_dir(&index).unwrap();
            assert!(!holds_secret(&world), "step {step}");
            close(&crew);
        }
    }

    #[test]
    fn what_may_not_be_withheld_is_refused_and_nothing_changes() {
        let world = world();
        let crew = open(world.dir.path());
        let refused = |what: &Result<Redacted, String>, why: &str| {
            let said = what.as_ref().unwrap_err();
            assert!(said.contains(why), "{said}");
            assert_eq!(std::fs::read(&world.file).unwrap(), world.whole);
        };
        let times = |range| what(&crew, &asked(world.id, What::Times(range)));
        refused(&times(70_000..=80_000), "nothing was recorded then");
        refused(&times(12_000..=18_000), "nothing was recorded then");
        let frames = what(&crew, &asked(world.id, What::Frames(0..=0)));
        refused(&frames, "nothing was recorded then");
        let none = SessionId::of(1);
        refused(&what(&crew, &asked(none, What::All)), "no such recording");
        for reason in ["", " ", "two\nlines"] {
            let asked = Redact {
                reason: reason.to_owned(),
                ..asked(world.id, What::All)
            };
            refused(&what(&crew, &asked), "a reason");
        }
        let keep = world.file.with_file_name(format!("{}.keep", world.id));
        std::fs::write(&keep, "case 17").unwrap();
        refused(&times(0..=1000), "legal hold");
        std::fs::remove_file(&keep).unwrap();
        // Somebody has changed it: an alteration must not be made to look like a redaction.
        let mut changed = world.whole.clone();
        let at = changed.len() / 2;
        *changed.get_mut(at).unwrap() ^= 1;
        std::fs::write(&world.file, &changed).unwrap();
        let said = times(0..=1000).unwrap_err();
        assert!(said.contains("only a complete recording"), "{said}");
        std::fs::write(&world.file, &world.whole).unwrap();
        let dry = Redact {
            dry_run: true,
            ..asked(world.id, What::All)
        };
        assert_eq!(what(&crew, &dry).unwrap().count, 7);
        assert_eq!(std::fs::read(&world.file).unwrap(), world.whole);
        close(&crew);
    }

    /// Twice the same, overlapping, by the clock, and an older copy that somebody has put back.
    #[test]
    fn redactions_add_up() {
        let world = world();
        let crew = open(world.dir.path());
        let first = what(&crew, &asked(world.id, What::Times(10_000..=10_000))).unwrap();
        assert_eq!((first.frames.as_str(), first.total), ("2", 1));
        let twice = what(&crew, &asked(world.id, What::Frames(2..=2))).unwrap_err();
        assert_eq!(twice, "all of that is withheld already");
        let before = std::fs::read(&world.file).unwrap();
        let clock = |at: &str| {
            let at: Timestamp = at.parse().unwrap();
            u64::try_from(at.as_millisecond()).unwrap()
        };
        let range = clock("2026-11-25T16:00:10Z")..=clock("2026-11-25T16:00:31Z");
        let second = what(&crew, &asked(world.id, What::Clock(range))).unwrap();
        assert_eq!((second.frames.as_str(), second.total), ("3-4", 3));
        assert_eq!(withheld(&crew, &world), 3);
        assert!(holds_secret(&world));
        // The copy is good, and the log says that it is not the last word.
        std::fs::write(&world.file, &before).unwrap();
        let known = known(&crew.store, &world.id).unwrap().unwrap();
        let judged = known.judge(&world.file, world.id.as_str()).unwrap();
        assert_eq!((judged.level, judged.withheld_since), (Level::Complete, 2));
        let third = what(&crew, &asked(world.id, What::Frames(6..=6))).unwrap();
        assert_eq!((third.frames.as_str(), third.total), ("3-4,6", 4));
        assert_eq!(withheld(&crew, &world), 4);
        assert!(!holds_secret(&world));
        let all = what(&crew, &asked(world.id, What::All)).unwrap();
        assert_eq!((all.frames.as_str(), all.total), ("1,5,7", 7));
        assert_eq!(withheld(&crew, &world), 7);
        close(&crew);
        // Nothing of it in the list, where that is made anew, is lost.
        std::fs::remove_file(world.dir.path().join("sessions.jsonl")).unwrap();
        drop(crew);
        close(&open(world.dir.path()));
    }
}
