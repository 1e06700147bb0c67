//! What a bastion's log knows of recordings, and whether files are what it knows.
//!
//! Owns the reading of a log's folder and the order in which a file, the log and a proof are
//! held against each other. The rules themselves are in [`recording::verify`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use recording::log::{
    Entries, History, HistoryError, Leaf, Proof, ProofError, Shelf, Torn, VerifierKey,
};
use recording::seal::{Hash, PROOF_MAGIC, PROOF_MAX};
use recording::verify::{Known, Level, Walk, judge};
use serde::Serialize;
use serde_json::{Map, Value};

/// The folder of a log.
#[derive(Clone, Debug)]
pub struct LogFolder(pub PathBuf);

impl LogFolder {
    /// The log beside a recording: `log` in one of the folders above it.
    pub fn near(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        path.ancestors()
            .take(ABOVE)
            .map(|folder| folder.join("log"))
            .find(|log| log.join("checkpoint").is_file())
            .map(Self)
    }
}

impl Shelf for LogFolder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// What a log says about one session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Its heads.
    pub known: Known,
    /// Where the leaves of its start and its end are.
    pub places: [Option<u64>; 2],
    /// Where the leaves of its gaps are.
    pub gap_places: Vec<u64>,
    /// Its recorder died, and another one ended the file.
    pub recovered: bool,
    /// Its recording was removed because its time was over.
    pub expired: bool,
    /// What went unrecorded, and how much of it.
    pub gaps: Vec<Gap>,
    /// What was withheld of its recording, each time.
    pub redactions: Vec<Redaction>,
    /// It goes on where its recorder fails.
    pub best_effort: bool,
    /// The session was over with its recording, and not only that: as whoever carried it said.
    over: bool,
    /// The gap that it begins with, as far as that is known at a start.
    begins: Option<Gap>,
}

/// What the log says to be in no recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// From when on, in milliseconds since 1970, where that is known.
    pub since_ms: Option<u64>,
    /// Until when.
    pub until_ms: Option<u64>,
    /// Bytes that the client has and that no recorder acknowledged; none where nobody knows.
    pub bytes: Option<u64>,
    /// The part of the session's recording before.
    pub before: Option<String>,
    /// The part after.
    pub after: Option<String>,
    /// Why.
    pub reason: String,
}

/// What the log says to be withheld of a recording, from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redaction {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How many frames, all times together.
    pub count: u32,
    /// Which: `1-3,7`.
    pub frames: String,
    /// Who wanted it, as the recorder's system knows them.
    pub by: String,
    /// SHA-256 of the reason that they gave.
    pub reason_sha256: Hash,
    /// What the file is then.
    #[serde(skip)]
    after: Hash,
    /// Where the leaf is in the log.
    #[serde(skip)]
    place: u64,
}

impl Redaction {
    fn of(leaf: &Leaf, place: u64) -> Option<Self> {
        let Leaf::Redacted {
            at_ms,
            after,
            count,
            frames,
            by,
            reason_sha256,
            ..
        } = leaf
        else {
            return None;
        };
        Some(Self {
            at_ms: *at_ms,
            count: *count,
            frames: frames.clone(),
            by: by.clone(),
            reason_sha256: *reason_sha256,
            after: *after,
            place,
        })
    }
}

/// A log that holds together, by sessions.
#[derive(Debug)]
pub struct Catalogue {
    /// The log as a whole.
    pub history: History,
    /// Its sessions.
    pub sessions: HashMap<String, Session>,
    /// For lines of the audit log, by number, their hash.
    pub audit: Vec<(u64, Hash)>,
}

impl Catalogue {
    /// Reads a log whole and verifies it, under `key` where one is given.
    ///
    /// # Errors
    ///
    /// It does not hold together, or the key is none of it.
    pub fn read(log: &LogFolder, key: Option<&VerifierKey>) -> Result<Self, HistoryError> {
        // A recorder that works may have moved a file on: then there is a newer checkpoint.
        let mut attempts = 3;
        loop {
            let (mut sessions, mut audit) = (HashMap::new(), Vec::new());
            let history = History::read(log, key, |index, entry| {
                if let Ok(leaf) = serde_json::from_slice(entry) {
                    note(&mut sessions, &mut audit, index, leaf);
                }
            });
            attempts -= 1;
            match history {
                Err(HistoryError::Missing(_) | HistoryError::Entries(_)) if attempts > 0 => {}
                history => {
                    return Ok(Self {
                        history: history?,
                        sessions,
                        audit,
                    });
                }
            }
        }
    }

    /// The proof that goes with a recording that was [judged](Self::judge).
    ///
    /// # Errors
    ///
    /// The log has no end of it, or lacks tiles.
    pub fn prove(&self, log: &LogFolder, judged: &Judged) -> Result<Proof, ProofError> {
        let name = judged.session.as_deref().unwrap_or_default();
        let session = self.sessions.get(name).ok_or(ProofError::Range)?;
        let [Some(start), Some(end)] = session.places else {
            return Err(ProofError::Range);
        };
        let redacted = judged.redaction.as_ref().map(|redaction| redaction.place);
        let mut entries = Entries::default();
        let key = Some(&self.history.key);
        let again = History::read(log, key, |index, entry| {
            let found = (index, entry.to_vec());
            if index == start {
                entries.start = found;
            } else if index == end {
                entries.end = found;
            } else if redacted == Some(index) {
                entries.redacted = Some(found);
            } else if session.gap_places.contains(&index) {
                entries.gaps.push(found);
            }
        });
        let again = again.map_err(|error| ProofError::Io(io::Error::other(error)))?;
        Proof::new(log, &again, &entries)
    }

    /// Judges the recording in `file`, which is called `name`.
    ///
    /// # Errors
    ///
    /// Reading fails.
    pub fn judge(&self, file: &Path, name: &str) -> io::Result<Judged> {
        let walk = walk(file, None)?;
        let session = session_of(&walk);
        // Where the seals name no session of this log, the file's name may: then it is altered.
        let sealed = session.as_deref().and_then(|id| self.sessions.get(id));
        match sealed.or_else(|| self.sessions.get(name)) {
            Some(logged) => logged.judge_walk(walk, file, name),
            None => {
                let level = judge(&walk, &Known::default());
                Ok(Judged::new(walk, session, misnamed(level, name, None)))
            }
        }
    }
}

impl Session {
    /// What these leaves, in their order and with their places, say of one session; none where its
    /// start is not among them. For whoever has the log itself: nothing is proved.
    pub fn of(session: &str, leaves: impl IntoIterator<Item = (u64, Leaf)>) -> Option<Self> {
        let (mut sessions, mut audit) = (HashMap::new(), Vec::new());
        for (index, leaf) in leaves {
            note(&mut sessions, &mut audit, index, leaf);
        }
        let found = sessions.remove(session)?;
        found.known.start.is_some().then_some(found)
    }

    /// Judges the recording of this session in `file`, which is called `name`.
    ///
    /// # Errors
    ///
    /// Reading fails.
    pub fn judge(&self, file: &Path, name: &str) -> io::Result<Judged> {
        self.judge_walk(walk(file, None)?, file, name)
    }

    fn judge_walk(&self, walk: Walk, file: &Path, name: &str) -> io::Result<Judged> {
        let session = session_of(&walk);
        let known = self.known();
        let walk = match &known.last {
            Some(last) if last.open.is_some() => walk_with(file, &walk.moved(last))?,
            _ => walk,
        };
        let mut level = judge(&walk, &known);
        if self.recovered && known.end.is_none() && level == Level::Live {
            level = Level::Torn;
        }
        if level == Level::Complete
            && let Some(kept) = kept_torn(file)?
            && let Err(altered) = known.take_torn(&kept)
        {
            level = altered;
        }
        let level = misnamed(level, name, session.as_deref());
        let mut judged = Judged::new(walk, session, level);
        judged.recovered = self.recovered;
        judged.gaps = self.all_gaps(judged.session.as_deref().unwrap_or(name));
        judged.find_redaction(&self.redactions);
        Ok(judged)
    }

    /// The state of the file that the log says to be the last.
    pub fn redacted(&self) -> Option<Hash> {
        self.redactions.last().map(|redaction| redaction.after)
    }

    /// What the leaf of its start says of gaps.
    fn begin(&mut self, session: &str, about: &Map<String, Value>) {
        let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
        self.best_effort = about.get("mode").and_then(Value::as_str) == Some("best-effort");
        self.begins = about.get("continues").map(|continues| Gap {
            since_ms: text(continues, "since")
                .and_then(|at| at.parse::<jiff::Timestamp>().ok())
                .and_then(|at| u64::try_from(at.as_millisecond()).ok()),
            until_ms: None,
            bytes: None,
            before: text(continues, "session"),
            after: Some(session.to_owned()),
            reason: text(continues, "reason").unwrap_or_default(),
        });
    }

    /// What is in no recording. Where the leaf of a gap is missing, what is known without: whoever
    /// was to tell of it may have died, too.
    fn all_gaps(&self, session: &str) -> Vec<Gap> {
        let mut gaps = self.gaps.clone();
        if let Some(begins) = &self.begins
            && !gaps.iter().any(|gap| gap.after == begins.after)
        {
            gaps.insert(0, begins.clone());
        }
        // The recorder's own leaf of a disk that failed knows nothing of what came after.
        let is_told = |gap: &Gap| gap.since_ms.is_some() && gap.before.as_deref() == Some(session);
        let ended = self.known.end.is_some() || self.recovered;
        if self.best_effort && ended && !self.over && !gaps.iter().any(is_told) {
            gaps.push(Gap {
                since_ms: None,
                until_ms: None,
                bytes: None,
                before: None,
                after: None,
                reason: "its recording ended, and the session may have gone on".to_owned(),
            });
        }
        gaps
    }

    /// What a file has to agree with.
    fn known(&self) -> Known {
        let mut known = self.known.clone();
        known.redacted = self.redactions.iter().map(|r| r.after).collect();
        if known.end.is_some() && !self.recovered {
            // Whoever wrote the end wrote what was before it.
            known.last = None;
        }
        known
    }
}

/// What a file was found to be.
#[derive(Debug)]
pub struct Judged {
    /// Its seals.
    pub walk: Walk,
    /// The session that they name.
    pub session: Option<String>,
    /// The verdict.
    pub level: Level,
    /// Its recorder died, and another one ended the file.
    pub recovered: bool,
    /// What went unrecorded.
    pub gaps: Vec<Gap>,
    /// That there are no other gaps before its end is proved: by the log, or by a bundle whose end
    /// says how many there are.
    pub counts_gaps: bool,
    /// What the log says to be withheld, where frames are.
    pub redaction: Option<Redaction>,
    /// The log says that more was withheld since: this is a copy from before.
    pub withheld_since: u32,
    /// When what it was held against was signed, and by which log.
    pub signed: Option<(String, u64)>,
}

impl Judged {
    fn new(walk: Walk, session: Option<String>, level: Level) -> Self {
        Self {
            walk,
            session,
            level,
            recovered: false,
            gaps: Vec::new(),
            counts_gaps: true,
            redaction: None,
            withheld_since: 0,
            signed: None,
        }
    }

    /// What the log says that the file is, with what is withheld of it now.
    pub fn state(&self) -> Option<Hash> {
        self.walk.state()
    }

    /// How many frames are withheld.
    pub fn withheld(&self) -> usize {
        self.walk.withheld.len()
    }

    /// Whether nothing but its header is left.
    pub fn is_all_withheld(&self) -> bool {
        let frames = self.walk.frames.len();
        frames > 1 && self.withheld() + 1 >= frames
    }

    /// Looks for the redaction that made the file what it is.
    fn find_redaction(&mut self, redactions: &[Redaction]) {
        let state = self.walk.state();
        let is_it = |redaction: &&Redaction| Some(redaction.after) == state;
        self.redaction = redactions.iter().find(is_it).cloned();
        let latest = redactions.iter().map(|r| r.count).max().unwrap_or(0);
        let here = u32::try_from(self.withheld()).unwrap_or(u32::MAX);
        self.withheld_since = latest.saturating_sub(here);
    }
}

/// Judges a recording by nothing but itself: by the proof that comes with it, if there is one.
///
/// # Errors
///
/// Reading fails.
pub fn judge_alone(file: &Path, name: &str, key: Option<&VerifierKey>) -> io::Result<Judged> {
    let walk = walk(file, None)?;
    let session = session_of(&walk);
    let at_end = match &walk.proof {
        Some(proof) => Some(proof.clone()),
        // Where a frame is broken, the way to the proof is lost.
        None => proof_at_end(file)?,
    };
    let Some(proof) = at_end else {
        let level = match judge(&walk, &Known::default()) {
            Level::Unknown { .. } if session.is_some() => Level::Unknown {
                what: "there is no log and no proof to hold it against",
            },
            level => level,
        };
        return Ok(Judged::new(walk, session, level));
    };
    let proved = serde_json::from_slice::<Proof>(&proof).ok();
    let proved = proved.and_then(|proof| proof.verify(key).ok());
    let is_its = |id: &String| session.as_ref().is_none_or(|session| session == id);
    let Some(proved) = proved.filter(|proved| is_its(&proved.session)) else {
        let level = Level::Altered {
            frame: u32::try_from(walk.frames.len()).unwrap_or(u32::MAX),
            offset: walk.sealed(),
            what: match key {
                Some(_) => "its proof does not hold under the given key",
                None => "its proof does not hold",
            },
        };
        return Ok(Judged::new(walk, session, level));
    };
    let level = misnamed(judge(&walk, &proved.known), name, session.as_deref());
    let mut judged = Judged::new(walk, session, level);
    judged.recovered = matches!(proved.end, Leaf::Recovered { .. });
    let mut told = Session {
        recovered: judged.recovered,
        ..Session::default()
    };
    told.begin(&proved.session, &proved.about);
    told.known.end = proved.known.end;
    told.over = matches!(proved.end, Leaf::End { over: true, .. });
    told.gaps = proved
        .gaps
        .iter()
        .filter_map(gap_of)
        .map(|(gap, _)| gap)
        .collect();
    judged.gaps = told.all_gaps(&proved.session);
    judged.counts_gaps = proved.counts_gaps;
    let redaction = proved.redacted.as_ref();
    let redaction = redaction.and_then(|leaf| Redaction::of(leaf, 0));
    judged.find_redaction(redaction.as_slice());
    judged.signed = Some((proved.checkpoint.origin, proved.checkpoint.time_ms));
    Ok(judged)
}

/// The proof with which a file ends, whatever stands before it.
fn proof_at_end(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(u64::from(PROOF_MAX) + 8);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end.windows(4).enumerate().find_map(|(at, magic)| {
        let rest = end.get(at + 4..).filter(|_| magic == PROOF_MAGIC)?;
        let (len, proof) = rest.split_first_chunk::<4>()?;
        let is_all = u32::from_le_bytes(*len) as usize == proof.len();
        is_all.then(|| proof.to_vec())
    }))
}

/// What a recovery kept of the torn frame of a recording, where it lies beside it.
fn kept_torn(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut name = file.as_os_str().to_owned();
    name.push(".torn");
    let kept = match File::open(name) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    kept.take(TORN_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A file that is called by another session's id is not that session's recording.
fn misnamed(level: Level, name: &str, session: Option<&str>) -> Level {
    let is_id = name.len() == 26 && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_id && session.is_some_and(|session| session != name) {
        return Level::Altered {
            frame: 0,
            offset: 0,
            what: "it is the recording of another session than its name says",
        };
    }
    level
}

fn walk(file: &Path, known: Option<&recording::write::Head>) -> io::Result<Walk> {
    let reader = BufReader::with_capacity(BUFFER, File::open(file)?);
    Walk::with_opening(reader, known)
}

fn walk_with(file: &Path, known: &recording::write::Head) -> io::Result<Walk> {
    walk(file, Some(known))
}

fn session_of(walk: &Walk) -> Option<String> {
    let id = std::str::from_utf8(walk.session.as_ref()?).ok()?;
    let is_id = id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id.then(|| id.to_owned())
}

fn note(
    sessions: &mut HashMap<String, Session>,
    audit: &mut Vec<(u64, Hash)>,
    index: u64,
    leaf: Leaf,
) {
    if let Leaf::Audit { last, line, .. } = &leaf {
        audit.push((*last, *line));
    }
    let Some(session) = leaf.session() else {
        return;
    };
    if let Some((gap, after)) = gap_of(&leaf) {
        // Only of sessions that there are: this leaf is told by whoever they ran through.
        for session in [Some(session), after].into_iter().flatten() {
            if let Some(entry) = sessions.get_mut(session) {
                entry.gaps.push(gap.clone());
                entry.gap_places.push(index);
            }
        }
        return;
    }
    if let Some(redaction) = Redaction::of(&leaf, index) {
        if let Some(entry) = sessions.get_mut(session) {
            entry.redactions.push(redaction);
        }
        return;
    }
    let session = session.to_owned();
    let entry = sessions.entry(session.clone()).or_default();
    match leaf {
        Leaf::Start { head, about, .. } => {
            // Only the first start counts: ids are not used twice.
            if entry.known.start.is_none() {
                entry.begin(&session, &about);
                entry.known.start = Some(head.head);
                entry.known.last = Some(head);
                entry.places = [Some(index), None];
            }
        }
        Leaf::Head { head, .. } => entry.known.last = Some(head),
        Leaf::End { head, over, .. } => {
            entry.over = over;
            entry.known.end = Some(head);
            entry.places = [entry.places[0], Some(index)];
        }
        Leaf::Recovered { head, torn, .. } => {
            entry.recovered = true;
            entry.known.end = head;
            entry.known.torn = Some(torn.unwrap_or_else(|| Torn::of(&[])));
            entry.places = [entry.places[0], Some(index)];
        }
        Leaf::Expired { .. } => entry.expired = true,
        Leaf::Redacted { .. } | Leaf::Gap { .. } | Leaf::Key { .. } | Leaf::Audit { .. } => {}
    }
}

/// What a leaf says that went unrecorded, and in which session it goes on.
fn gap_of(leaf: &Leaf) -> Option<(Gap, Option<&str>)> {
    let Leaf::Gap {
        session,
        since_ms,
        until_ms,
        bytes,
        continued,
        reason,
        ..
    } = leaf
    else {
        return None;
    };
    let gap = Gap {
        since_ms: *since_ms,
        until_ms: *until_ms,
        bytes: *bytes,
        before: session.clone(),
        after: continued.clone(),
        reason: reason.clone(),
    };
    Some((gap, continued.as_deref()))
}

/// Folders above a recording in which a log is looked for.
const ABOVE: usize = 6;
/// A bundle of the longest entries.
const LONGEST: u64 = 17 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;
/// More of a torn frame than any recorder keeps.
const TORN_MAX: u64 = 65 * 1024 * 1024;
