//! Recordings that have no end because the recorder died: what can be read of them is kept.
//!
//! The frame that was torn is taken out, kept beside the file as `.torn`, and what can be read
//! of it is written again, with an end that says so. Each step can be repeated: a crash while
//! recovering is recovered from.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use jiff::Timestamp;
use recording::event::Stream;
use recording::repair::Survey;
use serde_json::{Value, json};

use super::RecorderError;
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
    for (id, started) in unended {
        match one(store, &id, started) {
            Ok(()) => tracing::warn!(session = %id, "a recording was torn; it is recovered"),
            Err(error) => {
                tracing::error!(session = %id, %error, "a torn recording cannot be recovered")
            }
        }
    }
    Ok(())
}

/// Gives one recording an end, in its file and in the list.
pub(super) fn one(store: &Store, id: &SessionId, started: Timestamp) -> io::Result<()> {
    let (end, totals, recovered) = match store.open_at(id, started, true) {
        Ok(mut file) => repair(store, id, started, &mut file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => (
            End::because("the recording is missing"),
            Totals::default(),
            true,
        ),
        Err(error) => return Err(error),
    };
    let entry = EndEntry {
        id: *id,
        at: Timestamp::now(),
        end,
        totals,
        recovered,
    };
    store.append(&Entry::End(entry))?;
    store.sync_list()
}

fn repair(
    store: &Store,
    id: &SessionId,
    started: Timestamp,
    file: &mut File,
) -> io::Result<(End, Totals, bool)> {
    let survey = Survey::of(BufReader::new(&*file))?;
    if survey.ended.is_some() && !survey.torn {
        // Only the list does not know of the end.
        let len = file.metadata()?.len();
        return Ok((told_end(&survey), totals(&survey, len), false));
    }
    if survey.header.is_none() {
        return Ok((
            End::because("nothing can be read of the recording"),
            Totals::default(),
            true,
        ));
    }
    keep_tail(store, id, started, file, survey.whole)?;
    let end = End::because("the recorder died; its last seconds may be missing");
    let mut closing = ending(&end);
    closing.account.insert("recovered".to_owned(), json!(true));
    let frame = survey.closing_frame(&closing)?;
    file.set_len(survey.whole)?;
    file.seek(SeekFrom::Start(survey.whole))?;
    file.write_all(&frame)?;
    file.sync_all()?;
    let len = survey.whole + frame.len() as u64;
    Ok((end, totals(&survey, len), true))
}

/// Copies what is torn to a file beside, unless an earlier attempt has.
fn keep_tail(
    store: &Store,
    id: &SessionId,
    started: Timestamp,
    file: &mut File,
    whole: u64,
) -> io::Result<()> {
    if file.metadata()?.len() <= whole {
        return Ok(());
    }
    if let Some(mut tail) = store.create_torn(id, started)? {
        file.seek(SeekFrom::Start(whole))?;
        io::copy(&mut file.take(LONGEST_TAIL), &mut tail)?;
        tail.sync_all()?;
        store.sync_day(started)?;
    }
    Ok(())
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
        let survey = Survey::of(BufReader::new(file))?;
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
    let about: About = serde_json::from_value(Value::Object(ours)).ok()?;
    Some(StartEntry { id: *id, at, about })
}

/// A torn frame is far shorter.
const LONGEST_TAIL: u64 = 64 * 1024 * 1024;
