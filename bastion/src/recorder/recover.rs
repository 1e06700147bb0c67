//! Recordings that have no end because the recorder died: what can be read of them is kept.
//!
//! The frame that was torn is kept beside the file as `.torn`; only when that is on the disk is it
//! taken out, and what can be read of it written again, with an end that says so. Each step can be
//! repeated: a crash while recovering is recovered from, by what was kept. The log gets a leaf that
//! tells of it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use jiff::Timestamp;
use recording::event::Stream;
use recording::log::{Leaf, Torn};
use recording::repair::Survey;
use recording::seal::Hash;
use recording::write::Head;
use serde_json::{Value, json};

use super::RecorderError;
use super::log::now_ms;
use super::session::ending;
use super::store::Store;
use super::wire::{EndEntry, Entry, StartEntry};
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
    })?;
    if unended.is_empty() {
        return Ok(());
    }
    let logged = logged_ends(store)?;
    for (id, started) in unended {
        let is_logged = logged.contains(id.as_str());
        match end(store, &id, started, is_logged) {
            Ok(()) => tracing::warn!(session = %id, "a recording was torn; it is recovered"),
            Err(error) => {
                tracing::error!(session = %id, %error, "a torn recording cannot be recovered")
            }
        }
    }
    Ok(())
}

/// The sessions whose end is in the log.
fn logged_ends(store: &Store) -> io::Result<HashSet<String>> {
    let mut ends = HashSet::new();
    store.log.each_entry(|entry| {
        if let Ok(Leaf::End { session, .. } | Leaf::Recovered { session, .. }) =
            serde_json::from_slice(entry)
        {
            ends.insert(session);
        }
    })?;
    Ok(ends)
}

/// Gives one recording an end, in its file, in the log and in the list.
pub(super) fn one(store: &Store, id: &SessionId, started: Timestamp) -> io::Result<()> {
    end(store, id, started, false)
}

fn end(store: &Store, id: &SessionId, started: Timestamp, is_logged: bool) -> io::Result<()> {
    let found = match store.open_at(id, started, true) {
        Ok(mut file) => repair(store, id, started, &mut file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Found::nothing("the recording is missing")
        }
        Err(error) => return Err(error),
    };
    if !is_logged {
        store.log.append(&Leaf::Recovered {
            at_ms: now_ms(),
            session: id.to_string(),
            head: found.head,
            torn: found.torn,
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

fn repair(store: &Store, id: &SessionId, started: Timestamp, file: &mut File) -> io::Result<Found> {
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
    if let Some(what) = survey.altered {
        // It stays as it is: an end would make it look whole.
        tracing::error!(session = %id, what, "a recording is not what was written");
        return Ok(Found::nothing(
            "the recording was changed while no recorder ran",
        ));
    }
    if survey.ended.is_some() && !survey.torn {
        // Only the list, or the log, does not know of the end: that of the session, or that of an
        // earlier recovery, which has kept what was torn.
        let len = file.metadata()?.len();
        let torn = store.torn(id, started, LONGEST_TAIL)?;
        return Ok(Found {
            end: told_end(&survey),
            totals: totals(&survey, len),
            recovered: torn.is_some(),
            head: head(&survey, len),
            torn: torn.as_deref().map(described),
            lasted: Some(survey.duration),
            reason: "the recorder died before it logged the end",
        });
    }
    if survey.header.is_none() {
        return Ok(Found::nothing("nothing can be read of the recording"));
    }
    let torn = keep_tail(store, id, started, file, (survey.whole, kept))?;
    let reason = "the recorder died; its last seconds may be missing";
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
    Ok(Some(described(&torn)))
}

fn described(torn: &[u8]) -> Torn {
    Torn {
        bytes: torn.len() as u64,
        sha256: Hash::of(torn),
    }
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
            let totals = totals(&survey, survey.whole);
            store.append(&Entry::End(EndEntry {
                id,
                at,
                end,
                totals,
                recovered,
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

/// A torn frame is far shorter.
const LONGEST_TAIL: u64 = 64 * 1024 * 1024;
