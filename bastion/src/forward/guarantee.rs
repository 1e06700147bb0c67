//! How far the receivers are, as `serve` sees it: where one must have the audit log and has not, no
//! session begins.
//!
//! What is not known counts as too far: a forwarder that does not run, or says nothing, lets nothing
//! pass.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::place::{Folder, Status};
use crate::config::{Forward, Guarantee};

/// Looks at what the forwarder tells.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    folder: Folder,
    dir: PathBuf,
    sinks: Vec<(String, Guarantee)>,
}

/// How far a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The name of the sink.
    pub(crate) sink: String,
    /// What it means that it is behind.
    pub(crate) guarantee: Guarantee,
    /// The number of the last event that it has.
    pub(crate) acknowledged: u64,
    /// How many there are after it, as far as is known.
    pub(crate) behind: u64,
    /// How long ago it had everything; none where that is not known.
    pub(crate) lag: Option<Duration>,
    /// What is in the way, where something is.
    pub(crate) error: Option<String>,
}

/// A receiver that must have the audit log lacks more of it than it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log does not reach the sink {sink}: {what}")]
pub struct Behind {
    sink: String,
    what: String,
}

impl Watch {
    /// Of the sinks of the configuration.
    pub(crate) fn new(settings: &Forward) -> Self {
        Self {
            folder: Folder::new(&settings.dir),
            dir: settings.dir.clone(),
            sinks: settings
                .sinks
                .iter()
                .map(|sink| (sink.name.clone(), sink.guarantee))
                .collect(),
        }
    }

    /// How far each is at `now`.
    pub(crate) fn look(&self, now: Timestamp) -> Vec<Reached> {
        let reached = |(sink, guarantee): &(String, Guarantee)| {
            let told = self.folder.told(sink);
            Reached {
                sink: sink.clone(),
                guarantee: *guarantee,
                acknowledged: told.as_ref().map_or(0, |told| told.acknowledged),
                behind: told.as_ref().map_or(0, |told| told.behind),
                lag: told.as_ref().and_then(|told| lag(told, now)),
                error: told.and_then(|told| told.error),
            }
        };
        self.sinks.iter().map(reached).collect()
    }

    /// Whether a session may begin at `now`.
    ///
    /// # Errors
    ///
    /// A sink that is enforced is too far behind, or nothing is known of it.
    pub(crate) fn admit(&self, now: Timestamp) -> Result<(), Behind> {
        if self
            .sinks
            .iter()
            .all(|(_, guarantee)| *guarantee == Guarantee::BestEffort)
        {
            return Ok(());
        }
        self.look(now).iter().try_for_each(|reached| {
            reached.check().map_err(|what| Behind {
                sink: reached.sink.clone(),
                what,
            })
        })
    }

    /// Where the forwarder tells.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }
}

impl Reached {
    /// Whether the guarantee stands; if not, what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Guarantee::Enforced {
            max_lag,
            max_events,
        } = self.guarantee
        else {
            return Ok(());
        };
        let because = self
            .error
            .as_deref()
            .unwrap_or("is bastion-forward running?");
        let Some(lag) = self.lag else {
            return Err(format!("nothing is known of it; {because}"));
        };
        if lag > max_lag {
            return Err(format!(
                "it last had everything {} s ago; {because}",
                lag.as_secs()
            ));
        }
        if self.behind > max_events {
            return Err(format!("it lacks {} events; {because}", self.behind));
        }
        Ok(())
    }
}

/// None where it never had everything, or says so of a time to come: then the clock was set, and
/// nothing is known.
fn lag(told: &Status, now: Timestamp) -> Option<Duration> {
    let since = now.as_millisecond() - told.caught_up_at?.as_millisecond();
    if since < -SKEW_MS {
        return None;
    }
    Some(Duration::from_millis(since.max(0).unsigned_abs()))
}

/// How far two looks at one clock may be apart.
const SKEW_MS: i64 = 5_000;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use super::*;

    fn watch(dir: &std::path::Path, guarantee: Guarantee) -> Watch {
        Watch {
            folder: Folder::new(dir),
            dir: dir.to_owned(),
            sinks: vec![("siem".to_owned(), guarantee)],
        }
    }

    #[test]
    fn what_is_too_far_behind_or_not_known_lets_nothing_begin() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-26T03:00:00Z".parse().unwrap();
        let enforced = Guarantee::Enforced {
            max_lag: Duration::from_secs(60),
            max_events: 10,
        };
        let (strict, loose) = (
            watch(dir.path(), enforced),
            watch(dir.path(), Guarantee::BestEffort),
        );
        let said = |watch: &Watch| watch.admit(now).map_err(|behind| behind.to_string());
        assert!(
            said(&strict)
                .unwrap_err()
                .contains("is bastion-forward running?")
        );
        assert_eq!(said(&loose), Ok(()));
        for (seconds, behind, wanted) in [
            (Some(0), 0, None),
            (Some(60), 10, None),
            (Some(61), 0, Some("61 s ago; away")),
            (Some(0), 11, Some("lacks 11 events; away")),
            (Some(-4), 0, None),
            (Some(-6), 0, Some("nothing is known")),
            (None, 0, Some("nothing is known of it; away")),
        ] {
            let ago = |seconds| now - jiff::SignedDuration::from_secs(seconds);
            let status = Status {
                at: now,
                acknowledged: 7,
                behind,
                caught_up_at: seconds.map(ago),
                error: Some("away".to_owned()),
            };
            Folder::new(dir.path()).tell("siem", &status).unwrap();
            match (said(&strict), wanted) {
                (Ok(()), None) => {}
                (Err(line), Some(wanted)) => assert!(line.contains(wanted), "{line}"),
                (said, wanted) => panic!("{seconds:?} {behind}: {said:?}, not {wanted:?}"),
            }
            assert_eq!(said(&loose), Ok(()));
        }
        let reached = strict.look(now).remove(0);
        assert_eq!((reached.acknowledged, reached.lag), (7, None));
    }
}
