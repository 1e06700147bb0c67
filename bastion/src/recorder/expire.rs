//! Recordings whose time is over: removed, with a leaf in the log that says so first.
//!
//! A file `ID.keep` beside a recording keeps it whatever its age, for as long as the file is
//! there. A session that is still recorded is never removed.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, SystemTime};

use recording::log::Leaf;

use super::audit::Audit;
use super::log::now_ms;
use super::store::{Kept, Store};
use crate::record::SessionId;

/// How long recordings are kept, and how much of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// No longer than this after their end.
    pub age: Option<Duration>,
    /// No more bytes than this in all: the oldest go first.
    pub bytes: Option<u64>,
}

/// Removes what is over its time, or over the size; `live` are being recorded.
pub(super) fn run(
    store: &Store,
    audit: &Audit,
    keep: Keep,
    live: &HashSet<SessionId>,
) -> io::Result<()> {
    if keep == Keep::default() {
        return Ok(());
    }
    let mut kept = store.oldest_first()?;
    kept.retain(|kept| !live.contains(&kept.id));
    let mut total: u64 = kept.iter().map(|kept| kept.bytes).sum();
    for kept in kept.iter().filter(|kept| !kept.is_held) {
        let age = SystemTime::now().duration_since(kept.changed);
        let reason = if keep.age.is_some_and(|most| age.is_ok_and(|age| age > most)) {
            "its age"
        } else if keep.bytes.is_some_and(|most| total > most) {
            "the size of all recordings"
        } else {
            continue;
        };
        // One that cannot be removed must not keep the younger ones.
        match expire(store, audit, kept, reason) {
            Ok(()) => total -= kept.bytes,
            Err(error) => {
                tracing::error!(session = %kept.id, %error, "a recording whose time is over cannot be removed");
            }
        }
    }
    Ok(())
}

fn expire(store: &Store, audit: &Audit, kept: &Kept, reason: &str) -> io::Result<()> {
    store.log.append(&Leaf::Expired {
        at_ms: now_ms(),
        session: kept.id.to_string(),
        reason: reason.to_owned(),
    })?;
    // What is not in the log is not removed.
    store.log.sync()?;
    if let Err(error) = audit.note("recording_expired", Some(&kept.id)) {
        return Err(io::Error::other(error));
    }
    store.remove(kept)?;
    tracing::info!(session = %kept.id, reason, "a recording is removed");
    Ok(())
}
