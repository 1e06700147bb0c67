//! Recordings that have no end because the recorder died: what can be read of them is kept.
//!
//! The frame that was torn is kept beside the file as `.torn`; only when that is on the disk is it
//! taken out, and what can be read of it written again, with an end that says so. Each step can be
//! repeated: a crash while recovering is recovered from, by what was kept. The log gets a leaf that
//! tells of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use jiff::Timestamp;
use recording::event::Stream;
use recording::log::{Leaf, Torn};
use recording::repair::Survey;
use recording::seal::Hash;
use recording::sum::Total;
use recording::verify::{self, Level, Walk};
use recording::write::Head;
use serde_json::{Value, json};

use super::RecorderError;
use super::log::now_ms;
use super::session::ending;
use super::store::Store;
use super::wire::{EndEntry, Entry, RedactedEntry, StartEntry};
use crate::config::RecordingMode;
use crate::record::{About, Coverage, End, ExitStatus, SessionId, Totals};

/// Gives every recording an end that has none. One that cannot be read is left as it is.
pub(super) fn all(store: &Store) -> Result<(), RecorderError> {
    if store.list_is_empty()? {
        rebuild_list(store)?;
    }
    let mut unended = HashMap::new();
    store.each_entry(|entry| match entry {
        Entry::Start(start) => drop(unended.insert(start.id, start.at)),
        Entry::End(end) => drop(unended.remove(&end.id)),
        Entry::Gap(_) | Entry::Redacted(_) => {}
    })?;
    if unended.is_empty() {
        return Ok(());
    }
    let mut logged = logged(store, &unended)?;
    for (id, started) in unended {
        let logged = logged.remove(id.as_str()).unwrap_or_default();
        match end(store, &id, started, &logged) {
            Ok(()) => tracing::warn!(session = %id, "a recording was torn; it is recovered"),
            Err(error) => {
                tracing::error!(session = %id, %error, "a torn recording cannot be recovered")
            }
        }
    }
    Ok(())
}

/// What the log knows of a session that the list has no end of.
#[derive(Default)]
struct Logged {
    /// Its end.
    is_ended: bool,
    /// The seal of its first frame, and its last head.
    begun: Option<(Hash, Head)>,
    /// Leaves of its gaps.
    gaps: u32,
}

fn logged(
    store: &Store,
    unended: &HashMap<SessionId, Timestamp>,
) -> io::Result<HashMap<String, Logged>> {
    let mut logged: HashMap<String, Logged> = unended
        .keys()
        .map(|id| (id.to_string(), Logged::default()))
        .collect();
    store.log.each_entry(|entry| {
        let Ok(leaf) = serde_json::from_slice::<Leaf>(entry) else {
            return;
        };
        let Some(known) = leaf.session().and_then(|id| logged.get_mut(id)) else {
            return;
        };
        match leaf {
            Leaf::End { .. } | Leaf::Recovered { .. } => known.is_ended = true,
            // Ids are not used twice: only the first start counts.
            Leaf::Start { head, .. } => {
                known.begun.get_or_insert((head.head, head));
            }
            Leaf::Head { head, .. } => {
                if let Some((_, last)) = &mut known.begun {
                    *last = head;
                }
            }
            Leaf::Gap { .. } => known.gaps += 1,
            Leaf::Expired { .. }
            | Leaf::Redacted { .. }
            | Leaf::Key { .. }
            | Leaf::Audit { .. } => {}
        }
    })?;
    Ok(logged)
}

/// Gives one recording, whose writer is this recorder, an end, in its file, in the log and in the
/// list.
pub(super) fn one(store: &Store, id: &SessionId, started: Timestamp, gaps: u32) -> io::Result<()> {
    let logged = Logged {
        gaps,
        ..Logged::default()
    };
    end(store, id, started, &logged)
}

fn end(store: &Store, id: &SessionId, started: Timestamp, logged: &Logged) -> io::Result<()> {
    let found = match store.open_at(id, started, true) {
        Ok(mut file) => repair(store, id, started, &mut file, logged)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Found::nothing("the recording is missing")
        }
        Err(error) => return Err(error),
    };
    if !logged.is_ended {
        store.log.append(&Leaf::Recovered {
            at_ms: now_ms(),
            session: id.to_string(),
            head: found.head,
            torn: found.torn,
            gaps: Some(logged.gaps),
            reason: found.reason.to_owned(),
        })?;
        store.log.sync()?;
    }
    let entry = EndEntry {
        id: *id,
        // It ended when it last said something, not when that was found out.
        at: found
            .lasted
            .and_then(|lasted| started.checked_add(lasted).ok())
            .unwrap_or_else(Timestamp::now),
        end: found.end,
        totals: found.totals,
        recovered: found.recovered,
    };
    store.append(&Entry::End(entry))?;
    store.sync_list()
}

/// What became of a recording without an end.
struct Found {
    end: End,
    totals: Totals,
    /// It did not end by itself.
    recovered: bool,
    head: Option<Head>,
    torn: Option<Torn>,
    /// The time of its last event, where one can be read.
    lasted: Option<Duration>,
    reason: &'static str,
}

impl Found {
    /// Nothing that could be put in order.
    fn nothing(reason: &'static str) -> Self {
        Self {
            end: End::because(reason),
            totals: Totals::default(),
            recovered: true,
            head: None,
            torn: None,
            lasted: None,
            reason,
        }
    }
}

fn repair(
    store: &Store,
    id: &SessionId,
    started: Timestamp,
    file: &mut File,
    logged: &Logged,
) -> io::Result<Found> {
    let mut survey = Survey::of(BufReader::new(&*file))?;
    let mut kept = None;
    if survey.ended.is_none() || survey.torn {
        kept = store.torn(id, started, LONGEST_TAIL)?;
    }
    if let Some(tail) = &kept {
        // An earlier attempt may have got as far as to cut the file.
        file.seek(SeekFrom::Start(0))?;
        let whole = BufReader::new((&*file).take(survey.whole));
        survey = Survey::of(whole.chain(tail.as_slice()))?;
    }
    let is_whole = survey.ended.is_some() && !survey.torn;
    let torn = match is_whole {
        true => store.torn(id, started, LONGEST_TAIL)?,
        false => kept.clone(),
    };
    let begins = match &logged.begun {
        Some(begun) => begins_as_logged(file, &survey, (is_whole, torn.as_deref()), begun)?,
        // This recorder wrote it, or the log lost its start with a disk.
        None => Ok(()),
    };
    let altered = match begins {
        Err(Level::Altered { what, .. }) if survey.header.is_some() => Some(what),
        _ => survey.altered,
    };
    if let Some(what) = altered {
        // It stays as it is: an end would make it look whole.
        tracing::error!(session = %id, what, "a recording is not what was written");
        return Ok(Found::nothing(CHANGED));
    }
    if is_whole {
        // Only the list, or the log, does not know of the end: that of the session, or that of an
        // earlier recovery, which has kept what was torn.
        let len = file.metadata()?.len();
        return Ok(Found {
            end: told_end(&survey),
            totals: totals(&survey, len),
            recovered: torn.is_some(),
            head: head(&survey, len),
            torn: torn.as_deref().map(Torn::of),
            lasted: Some(survey.duration),
            reason: "the recorder died before it logged the end",
        });
    }
    if survey.header.is_none() {
        return Ok(Found::nothing("nothing can be read of the recording"));
    }
    let torn = keep_tail(store, id, started, file, (survey.whole, kept))?;
    let reason = match begins {
        Ok(())
            if goes_on(
                survey
                    .header
                    .as_ref()
                    .and_then(|header| header.get("bastion")),
            ) =>
        {
            "the recorder died; its last seconds may be missing, and the session may have gone on unrecorded"
        }
        Ok(()) => "the recorder died; its last seconds may be missing",
        Err(_) => "the recorder died; less of the recording is there than was logged",
    };
    let end = match survey.ended {
        // All that was missing is its seal.
        Some(_) => told_end(&survey),
        None => End::because(reason),
    };
    let mut closing = ending(&End::because(reason));
    closing.account.insert("recovered".to_owned(), json!(true));
    let frame = survey.closing_frame(&closing, now_ms())?;
    file.set_len(survey.whole)?;
    file.seek(SeekFrom::Start(survey.whole))?;
    file.write_all(&frame)?;
    file.sync_all()?;
    let len = survey.whole + frame.len() as u64;
    Ok(Found {
        end,
        totals: totals(&survey, len),
        recovered: true,
        head: head(&survey, len),
        torn,
        lasted: Some(survey.duration),
        reason,
    })
}

/// Whether a session goes on where its recorder fails, by what its header has of us.
pub(super) fn goes_on(bastion: Option<&Value>) -> bool {
    let mode = bastion.and_then(|bastion| bastion.get("mode"));
    mode.is_some_and(|mode| *mode == json!(RecordingMode::BestEffort))
}

/// Whether a file begins with what was logged of it. Of one that an earlier recovery has made
/// whole, what this one kept stands for its last frame.
fn begins_as_logged(
    file: &mut File,
    survey: &Survey,
    (is_whole, kept): (bool, Option<&[u8]>),
    (start, last): &(Hash, Head),
) -> io::Result<Result<(), Level>> {
    let mut follow = |whole: u64, tail: &[u8]| {
        file.seek(SeekFrom::Start(0))?;
        let reader = BufReader::new((&*file).take(whole)).chain(tail);
        Walk::with_opening(reader, Some(last))
    };
    let mut walk = match kept.filter(|_| !is_whole) {
        Some(tail) => follow(survey.whole, tail)?,
        None => follow(u64::MAX, &[])?,
    };
    if let Some(tail) = kept.filter(|_| is_whole) {
        let ends = walk.frames.iter().rev();
        let before = ends.map(|(_, end)| *end).nth(1).unwrap_or(0);
        walk = follow(before, tail)?;
    }
    Ok(verify::begins_as_logged(&walk, *start, last))
}

/// The whole file, where it has seals.
fn head(survey: &Survey, bytes: u64) -> Option<Head> {
    let chain = survey.chain.as_ref()?;
    Some(Head {
        frames: chain.frames(),
        head: chain.head(),
        bytes,
        open: None,
    })
}

/// Copies what is torn to a file beside, unless an earlier attempt has.
fn keep_tail(
    store: &Store,
    id: &SessionId,
    started: Timestamp,
    file: &mut File,
    (whole, kept): (u64, Option<Vec<u8>>),
) -> io::Result<Option<Torn>> {
    let torn = match kept {
        Some(torn) => torn,
        None => {
            file.seek(SeekFrom::Start(whole))?;
            let mut torn = Vec::new();
            file.take(LONGEST_TAIL).read_to_end(&mut torn)?;
            if torn.is_empty() {
                return Ok(None);
            }
            store.keep_torn(id, started, &torn)?;
            torn
        }
    };
    Ok(Some(Torn::of(&torn)))
}

fn totals(survey: &Survey, file: u64) -> Totals {
    let (stdout, stderr) = (survey.total(Stream::Stdout), survey.total(Stream::Stderr));
    Totals {
        stdout: stdout.bytes,
        stdout_sha256: stdout.sha256,
        stderr: stderr.bytes,
        stderr_sha256: stderr.sha256,
        file,
    }
}

/// What a session came to: where frames are withheld, as its account says.
fn told_totals(survey: &Survey) -> Totals {
    let counted = totals(survey, survey.whole);
    let told = |stream: Stream| {
        let account = survey.ended.as_ref()?.get(stream.name())?;
        serde_json::from_value::<Total>(account.clone()).ok()
    };
    match (told(Stream::Stdout), told(Stream::Stderr)) {
        (Some(stdout), Some(stderr)) if survey.withheld > 0 => Totals {
            stdout: stdout.bytes,
            stdout_sha256: stdout.sha256,
            stderr: stderr.bytes,
            stderr_sha256: stderr.sha256,
            ..counted
        },
        _ => counted,
    }
}

/// The end as the recording itself tells it.
fn told_end(survey: &Survey) -> End {
    let account = survey.ended.clone().unwrap_or_default();
    let text = |key| account.get(key).and_then(Value::as_str).map(str::to_owned);
    let coverage = account.get("coverage").cloned().unwrap_or_default();
    let status = match (text("signal"), survey.exit) {
        (Some(signal), _) => Some(ExitStatus::Signal(signal)),
        (None, Some(code)) => u32::try_from(code).ok().map(ExitStatus::Code),
        (None, None) => None,
    };
    let coverage: Coverage = serde_json::from_value(coverage).unwrap_or_default();
    End {
        status,
        coverage,
        reason: text("reason"),
        over: false,
    }
    .bounded()
}

/// Makes the list anew from the recordings that are there.
fn rebuild_list(store: &Store) -> io::Result<()> {
    let mut known = Vec::new();
    store.each_recording(|id, file| {
        let survey = match Survey::of(BufReader::new(file)) {
            Ok(survey) => survey,
            Err(error) => {
                tracing::error!(session = %id, %error, "a recording cannot be read, and is not listed");
                return Ok(());
            }
        };
        match told_start(&id, &survey) {
            Some(start) => known.push((start, survey)),
            None => tracing::warn!(session = %id, "a recording without a header is not listed"),
        }
        Ok(())
    })?;
    if known.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        recordings = known.len(),
        "the list of sessions was lost; it is made anew"
    );
    known.sort_by_key(|(start, _)| start.at);
    for (start, survey) in known {
        let (id, at) = (start.id, start.at);
        store.append(&Entry::Start(start))?;
        if survey.ended.is_some() && !survey.torn {
            let end = told_end(&survey);
            let recovered =
                survey.ended.as_ref().and_then(|e| e.get("recovered")) == Some(&json!(true));
            let at = at.checked_add(survey.duration).unwrap_or(at);
            let totals = told_totals(&survey);
            store.append(&Entry::End(EndEntry {
                id,
                at,
                end,
                totals,
                recovered,
            }))?;
        }
        if survey.withheld > 0 {
            let withheld = survey.withheld;
            store.append(&Entry::Redacted(RedactedEntry {
                session: id,
                at,
                withheld,
            }))?;
        }
    }
    store.sync_list()
}

/// The start as the recording's header tells it.
fn told_start(id: &SessionId, survey: &Survey) -> Option<StartEntry> {
    let mut ours = survey.header.as_ref()?.get("bastion")?.as_object()?.clone();
    let at = ours.remove("started")?.as_str()?.parse().ok()?;
    for key in ["session", "crlf"] {
        ours.remove(key)?;
    }
    ours.remove("signed_in");
    let about: About = serde_json::from_value(Value::Object(ours)).ok()?;
    Some(StartEntry { id: *id, at, about })
}

/// Why there is no end for a recording that is not what was logged.
const CHANGED: &str = "the recording was changed while no recorder ran";
/// A torn frame is far shorter.
const LONGEST_TAIL: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use recording::event::Header;
    use recording::log::VerifierKey;
    use recording::write::{Presses, Sealing, Settings, Writer};
    use replay::evidence::{Catalogue, LogFolder};
    use serde_json::Map;

    use super::super::copies::Copies;
    use super::*;
    use crate::record::{Bulk, Kind};

    /// A folder in which a recorder died within a session, whose last head is in the log.
    struct Crashed {
        dir: tempfile::TempDir,
        id: SessionId,
        path: PathBuf,
        /// Bytes of the file up to its last seal, up to where they were logged, and all.
        sealed: usize,
        logged: usize,
        file: Vec<u8>,
    }

    impl Crashed {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
            let store = Store::open(dir.path(), Copies::default()).unwrap();
            let (id, at) = (SessionId::of(17), Timestamp::now());
            let file = store.create(&id, at).unwrap();
            let ours = json!({ "session": id, "started": at });
            let header = Header {
                version: 3,
                cols: 80,
                rows: 24,
                extra: [("bastion".to_owned(), ours)].into(),
                ..Header::default()
            };
            let settings = Settings {
                frame_text: 4096,
                ..Settings::default()
            };
            let sealing = Sealing {
                session: id.bytes(),
                wall_ms: now_ms,
            };
            let newlines = recording::write::Newlines::Kept;
            let presses = Presses::new(1);
            let mut writer =
                Writer::sealed(file, &header, newlines, settings, presses, sealing).unwrap();
            let first = writer.head().unwrap();
            let session = id.to_string();
            let start = Leaf::Start {
                at_ms: 0,
                session: session.clone(),
                head: first,
                about: Map::new(),
            };
            store.log.append(&start).unwrap();
            store.append(&Entry::Start(started(id, at))).unwrap();
            let mut print = |from: u32, to: u32| {
                for n in from..to {
                    let line = format!("balance {:08}\r\n", n.wrapping_mul(2_654_435_761));
                    let at = Duration::from_millis(u64::from(n));
                    writer.output(at, Stream::Stdout, line.as_bytes()).unwrap();
                }
                writer.flush(Duration::from_millis(u64::from(to))).unwrap();
                writer.head().unwrap()
            };
            // Some whole frames, and one that is open.
            print(0, 300);
            let head = print(300, 320);
            let open = head.open.unwrap();
            let leaf = Leaf::Head {
                at_ms: 1,
                session,
                head,
            };
            store.log.append(&leaf).unwrap();
            let later = print(320, 330);
            assert_eq!(later.frames, head.frames);
            store.sync_list().unwrap();
            store.log.checkpoint().unwrap();
            let path = find(dir.path(), &id);
            Self {
                sealed: usize::try_from(head.bytes).unwrap(),
                logged: usize::try_from(head.bytes + open.bytes).unwrap(),
                file: fs::read(&path).unwrap(),
                dir,
                id,
                path,
            }
        }

        /// The verdict, after the next recorder has put the folder in order.
        fn level(&self) -> Level {
            let store = Store::open(self.dir.path(), Copies::default()).unwrap();
            all(&store).unwrap();
            store.log.checkpoint().unwrap();
            drop(store);
            self.verified()
        }

        fn verified(&self) -> Level {
            let log = self.dir.path().join("log");
            let key = fs::read_to_string(log.join("vkey")).unwrap();
            let key = VerifierKey::parse(&key).unwrap();
            let catalogue = Catalogue::read(&LogFolder(log), Some(&key)).unwrap();
            catalogue.judge(&self.path, self.id.as_str()).unwrap().level
        }

        /// The open frame with other text in it: as the writer's, it has no end.
        fn forged(&self) -> Vec<u8> {
            let open = self.file.get(self.sealed..).unwrap();
            let mut decoder = zstd::stream::read::Decoder::new(open).unwrap();
            let mut text = Vec::new();
            assert!(decoder.read_to_end(&mut text).is_err());
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("balance"));
            let text = text.replace("balance 0", "balance 1");
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            for line in text.split_inclusive('\n') {
                encoder.write_all(line.as_bytes()).unwrap();
                encoder.flush().unwrap();
            }
            let frame = encoder.get_ref().clone();
            assert!(frame.len() >= open.len());
            [self.file.get(..self.sealed).unwrap(), &frame].concat()
        }
    }

    fn started(id: SessionId, at: Timestamp) -> StartEntry {
        let about = About {
            user: "ada".to_owned(),
            issuer: "https://id.example.test".to_owned(),
            subject: "42".to_owned(),
            target: "orders-db".to_owned(),
            login: "postgres".to_owned(),
            kind: Kind::Shell,
            command: None,
            pty: Some((80, 24)),
            term: None,
            source: "192.0.2.7".parse().unwrap(),
            connection: "c1".to_owned(),
            bulk: Bulk::Full,
            mode: RecordingMode::Strict,
            continues: None,
            break_glass: false,
            notify: Vec::new(),
            signed_in: None,
        };
        StartEntry { id, at, about }
    }

    fn find(dir: &Path, id: &SessionId) -> PathBuf {
        let (found, errors) = replay::files::find(&[dir.to_owned()]);
        assert!(errors.is_empty());
        let mut paths = found.into_iter().filter_map(|source| match source {
            replay::files::Source::File(path) => Some(path),
            _ => None,
        });
        let name = format!("{id}.cast.zst");
        paths.find(|path| path.ends_with(&name)).unwrap()
    }

    #[test]
    fn what_was_not_changed_is_recovered() {
        let crashed = Crashed::new();
        assert_eq!(crashed.verified(), Level::Live);
        assert_eq!(crashed.level(), Level::Complete);
        assert_ne!(fs::read(&crashed.path).unwrap(), crashed.file);
    }

    /// Only lengths were compared: a tail with other text in it, as long as the one that was
    /// logged or longer, was made whole.
    #[test]
    fn a_tail_that_was_changed_before_the_recovery_is_altered() {
        let crashed = Crashed::new();
        let forged = crashed.forged();
        fs::write(&crashed.path, &forged).unwrap();
        assert!(matches!(crashed.level(), Level::Altered { .. }));
        // An end would make it look whole.
        assert_eq!(fs::read(&crashed.path).unwrap(), forged);
    }

    #[test]
    fn the_bytes_of_the_tail_that_were_logged_are_held_against_the_log() {
        for place in 0..6 {
            let crashed = Crashed::new();
            assert!(crashed.logged < crashed.file.len());
            let at = crashed.sealed + (crashed.logged - crashed.sealed) * place / 6;
            let mut changed = crashed.file.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            fs::write(&crashed.path, &changed).unwrap();
            let level = crashed.level();
            assert!(matches!(level, Level::Altered { .. }), "byte {at}: {level}");
        }
        // What came after is the crash's.
        let crashed = Crashed::new();
        let mut changed = crashed.file.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&crashed.path, &changed).unwrap();
        assert_eq!(crashed.level(), Level::Complete);
    }

    /// A recorder that died within its recovery has kept the tail, and may have cut the file.
    #[test]
    fn a_tail_that_was_changed_between_two_recoveries_is_altered() {
        for cut in [false, true] {
            let crashed = Crashed::new();
            let mut torn = crashed.path.as_os_str().to_owned();
            torn.push(".torn");
            let forged = crashed.forged();
            fs::write(&torn, forged.get(crashed.sealed..).unwrap()).unwrap();
            if cut {
                fs::write(&crashed.path, crashed.file.get(..crashed.sealed).unwrap()).unwrap();
            }
            assert!(!matches!(crashed.level(), Level::Complete), "{cut}");
        }
    }

    /// What a recovery kept is evidence, too.
    #[test]
    fn a_kept_tail_that_is_not_what_was_logged_is_altered() {
        let crashed = Crashed::new();
        assert_eq!(crashed.level(), Level::Complete);
        let mut torn = crashed.path.as_os_str().to_owned();
        torn.push(".torn");
        let kept = fs::read(&torn).unwrap();
        assert_eq!(kept, crashed.file.get(crashed.sealed..).unwrap());
        for at in 0..kept.len() {
            let mut changed = kept.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            fs::write(&torn, changed).unwrap();
            assert!(matches!(crashed.verified(), Level::Altered { .. }), "{at}");
        }
        fs::remove_file(&torn).unwrap();
        assert_eq!(crashed.verified(), Level::Complete);
    }
}
