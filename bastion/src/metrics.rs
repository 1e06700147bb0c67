//! What a monitoring system sees: counters, gauges and histograms in Prometheus's text format.
//!
//! Fed by the audit's events ([`Metrics::observe`]), so that a room need not know of it; what only
//! holds at the moment is read when it is asked for ([`Live`]). Labels are words of this program,
//! or of its configuration, never of a peer, so that their number is bounded; no name of a person,
//! address, target or id is one.

mod histogram;
mod http;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::Event;
use crate::forward::Reached;
use histogram::Histogram;
pub(crate) use http::{Health, serve};

/// The numbers of this process since its start.
#[derive(Debug)]
pub struct Metrics {
    counters: Vec<(Counter, AtomicU64)>,
    session_seconds: Histogram,
    sign_in_seconds: Histogram,
    hold_seconds: Histogram,
    acknowledge_seconds: Histogram,
    connect_seconds: Histogram,
    began: Mutex<Began>,
}

/// The numbers of this process.
pub(crate) fn global() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    &METRICS
}

/// When sign-ins and sessions began that have not ended, and holds that nobody has decided.
#[derive(Debug, Default)]
struct Began {
    sign_ins: HashMap<String, Instant>,
    sessions: HashMap<String, Instant>,
    holds: HashMap<String, Instant>,
}

/// What is counted: a family and, where it has one, the value of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counter {
    family: &'static str,
    label: Option<(&'static str, &'static str)>,
}

/// What holds when it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// Sessions that run.
    pub(crate) sessions: usize,
    /// Those of them that nobody records.
    pub(crate) unrecorded: usize,
    /// Connections that have not signed in.
    pub(crate) unauthenticated: usize,
    /// Leases that count.
    pub(crate) leases: Option<usize>,
    /// Locks that hold.
    pub(crate) locks: Option<usize>,
    /// Holds that have not ended.
    pub(crate) holds: Option<LiveHolds>,
    /// Messages that wait for webhooks, and for how long the oldest has.
    pub(crate) notices: Option<(u64, Duration)>,
    /// How long the recorder took to answer; none where it did not.
    pub(crate) recorder: Option<Duration>,
    /// Free and total bytes of the disk of the recordings, where the recorder says so.
    pub(crate) recordings_disk: Option<(u64, u64)>,
    /// The same of the state folder.
    pub(crate) state_disk: Option<(u64, u64)>,
    /// How far the receivers of the audit log are.
    pub(crate) receivers: Vec<Reached>,
}

/// Holds that have not ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveHolds {
    /// How many are in each state that is no end.
    pub(crate) by_state: Vec<(&'static str, u64)>,
    /// How long the oldest that is sealed has waited for its decision.
    pub(crate) oldest_undecided: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        let each = |family: &'static str, label: &'static str, values: &[&'static str]| {
            values
                .iter()
                .map(|value| Counter {
                    family,
                    label: Some((label, value)),
                })
                .collect::<Vec<_>>()
        };
        let one = |family: &'static str| {
            vec![Counter {
                family,
                label: None,
            }]
        };
        let counters = [
            each(SIGN_INS, "outcome", &OUTCOMES),
            each(CHANNELS, "decision", &["allowed", "denied"]),
            each(SESSIONS, "kind", &KINDS),
            each(ENDED, "how", &["by_itself", "cut"]),
            each(BYTES, "coverage", &COVERAGE),
            each(LEASES_ENDED, "why", &["provider", "signed_out", "locked"]),
            one(NOT_RECHECKED),
            one(NEW_KEYS),
            each(RELOADS, "result", &["applied", "refused"]),
            one(TARGETS_FAILED),
            one(RECORDINGS_LOST),
            one(BYTES_UNRECORDED),
            one(REFUSED),
            each(HOLDS_OPENED, "kind", &HOLD_KINDS),
            each(HOLD_DECISIONS, "decision", &["approve", "deny"]),
            each(HOLDS_ENDED, "state", &HOLD_ENDS),
            each(NOTICES, "result", &["delivered", "retried", "given_up"]),
        ];
        Self {
            counters: counters
                .into_iter()
                .flatten()
                .map(|counter| (counter, AtomicU64::new(0)))
                .collect(),
            session_seconds: Histogram::new(&SESSION_BOUNDS),
            sign_in_seconds: Histogram::new(&SIGN_IN_BOUNDS),
            hold_seconds: Histogram::new(&HOLD_BOUNDS),
            acknowledge_seconds: Histogram::new(&ACKNOWLEDGE_BOUNDS),
            connect_seconds: Histogram::new(&CONNECT_BOUNDS),
            began: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts an event.
    pub(crate) fn observe(&self, event: &Event) {
        match event {
            Event::SignInBegun { connection, .. } => {
                self.begin(|began| &mut began.sign_ins, connection)
            }
            Event::SignInSucceeded { connection, .. } => {
                self.add(SIGN_INS, Some("succeeded"), 1);
                self.end(
                    |began| &mut began.sign_ins,
                    connection,
                    &self.sign_in_seconds,
                );
            }
            Event::SignInRefused {
                connection,
                outcome,
                ..
            } => {
                self.add(SIGN_INS, Some(outcome), 1);
                self.end(
                    |began| &mut began.sign_ins,
                    connection,
                    &self.sign_in_seconds,
                );
            }
            Event::LeaseUsed { .. } => self.add(SIGN_INS, Some("lease"), 1),
            Event::ChannelAllowed { .. } => self.add(CHANNELS, Some("allowed"), 1),
            Event::ChannelDenied { .. } => self.add(CHANNELS, Some("denied"), 1),
            Event::TargetFailed { .. } => self.add(TARGETS_FAILED, None, 1),
            Event::SessionStarted { session, kind, .. } => {
                self.add(SESSIONS, Some(kind), 1);
                self.begin(|began| &mut began.sessions, session);
            }
            Event::SessionEnded {
                session,
                passed,
                masked,
                held,
                unreadable,
                reason,
                ..
            } => {
                let how = if reason.is_none() { "by_itself" } else { "cut" };
                self.add(ENDED, Some(how), 1);
                for (value, n) in COVERAGE.iter().zip([passed, masked, held, unreadable]) {
                    self.add(BYTES, Some(value), *n);
                }
                self.end(|began| &mut began.sessions, session, &self.session_seconds);
            }
            Event::RecordingLost { .. } => self.add(RECORDINGS_LOST, None, 1),
            Event::LeaseEnded { .. } => self.add(LEASES_ENDED, Some("provider"), 1),
            Event::SignedOut { leases, .. } => {
                self.add(LEASES_ENDED, Some("signed_out"), *leases as u64);
            }
            Event::Locked { leases, .. } => {
                self.add(LEASES_ENDED, Some("locked"), *leases as u64);
            }
            Event::NotRechecked { .. } => self.add(NOT_RECHECKED, None, 1),
            Event::KeyEnrolled { .. } => self.add(NEW_KEYS, None, 1),
            Event::PoliciesReloaded { .. } => self.add(RELOADS, Some("applied"), 1),
            Event::PoliciesRefused { .. } => self.add(RELOADS, Some("refused"), 1),
            Event::HoldOpened { kind, .. } => self.add(HOLDS_OPENED, Some(kind), 1),
            Event::HoldSealed { hold, .. } => self.begin(|began| &mut began.holds, hold),
            Event::HoldDecided {
                hold,
                decision,
                approvals,
                needed,
                ..
            } => {
                self.add(HOLD_DECISIONS, Some(decision), 1);
                let denied = decision == "deny";
                if denied {
                    self.add(HOLDS_ENDED, Some("denied"), 1);
                }
                if denied || approvals >= needed {
                    self.end(|began| &mut began.holds, hold, &self.hold_seconds);
                }
            }
            Event::HoldEnded { hold, state, .. } => {
                self.add(HOLDS_ENDED, Some(state), 1);
                self.forget(|began| &mut began.holds, hold);
            }
            Event::NoticeGivenUp { .. } => self.add(NOTICES, Some("given_up"), 1),
            _ => {}
        }
    }

    /// Counts a connection that was refused because too many had not signed in.
    pub(crate) fn connection_refused(&self) {
        self.add(REFUSED, None, 1);
    }

    /// Counts how long a piece of output waited for the recorder.
    pub(crate) fn acknowledged(&self, took: Duration) {
        self.acknowledge_seconds.observe(took);
    }

    /// Counts how long it took to connect to a target and log in there, or to find out that it
    /// can't be.
    pub(crate) fn dialled(&self, took: Duration) {
        self.connect_seconds.observe(took);
    }

    /// A session that went on unrecorded is recorded again, or has ended; with the bytes that went by.
    pub(crate) fn recorded_again(&self, bytes: u64) {
        self.add(BYTES_UNRECORDED, None, bytes);
    }

    /// Counts a message that a webhook has taken.
    pub(crate) fn notice_delivered(&self) {
        self.add(NOTICES, Some("delivered"), 1);
    }

    /// Counts a message that a webhook has not taken and is sent again.
    pub(crate) fn notice_retried(&self) {
        self.add(NOTICES, Some("retried"), 1);
    }

    fn add(&self, family: &str, value: Option<&str>, n: u64) {
        let found = self.counters.iter().find(|(counter, _)| {
            counter.family == family && counter.label.map(|(_, value)| value) == value
        });
        if let Some((_, count)) = found {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn begin(&self, which: impl Fn(&mut Began) -> &mut HashMap<String, Instant>, id: &str) {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let began = which(&mut began);
        // Clients that hang up leave one behind.
        if began.len() >= BEGAN_MAX {
            began.retain(|_, at| at.elapsed() < BEGAN_AGE);
        }
        if began.len() < BEGAN_MAX {
            began.insert(id.to_owned(), Instant::now());
        }
    }

    fn end(
        &self,
        which: impl Fn(&mut Began) -> &mut HashMap<String, Instant>,
        id: &str,
        histogram: &Histogram,
    ) {
        if let Some(at) = self.forget(which, id) {
            histogram.observe(at.elapsed());
        }
    }

    fn forget(
        &self,
        which: impl Fn(&mut Began) -> &mut HashMap<String, Instant>,
        id: &str,
    ) -> Option<Instant> {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        which(&mut began).remove(id)
    }

    /// Everything in Prometheus's text format, version 0.0.4.
    pub(crate) fn render(&self, live: &Live) -> String {
        let mut text = String::new();
        for (name, kind, help) in FAMILIES {
            let mut lines = String::new();
            match kind {
                "counter" => self.counters(name, &mut lines),
                "histogram" => self.histogram(name, &mut lines),
                _ => gauge(name, live, &mut lines),
            }
            // What cannot be seen from here is left out, and not called zero.
            if !lines.is_empty() {
                push(
                    &mut text,
                    format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
                );
                text.push_str(&lines);
            }
        }
        text
    }

    fn counters(&self, name: &str, lines: &mut String) {
        for (counter, count) in &self.counters {
            if counter.family != name {
                continue;
            }
            let count = count.load(Ordering::Relaxed);
            match counter.label {
                Some((label, value)) => {
                    push(
                        lines,
                        format_args!("{name}{{{label}=\"{value}\"}} {count}\n"),
                    );
                }
                None => push(lines, format_args!("{name} {count}\n")),
            }
        }
    }

    fn histogram(&self, name: &str, lines: &mut String) {
        match name {
            SESSION_SECONDS => self.session_seconds.render(name, lines),
            SIGN_IN_SECONDS => self.sign_in_seconds.render(name, lines),
            HOLD_SECONDS => self.hold_seconds.render(name, lines),
            ACKNOWLEDGE_SECONDS => self.acknowledge_seconds.render(name, lines),
            CONNECT_SECONDS => self.connect_seconds.render(name, lines),
            _ => {}
        }
    }
}

fn gauge(name: &str, live: &Live, lines: &mut String) {
    let value = match name {
        "bastion_build_info" => {
            let version = env!("CARGO_PKG_VERSION");
            push(lines, format_args!("{name}{{version=\"{version}\"}} 1\n"));
            return;
        }
        "bastion_holds" => {
            for (state, count) in live.holds.iter().flat_map(|holds| &holds.by_state) {
                push(lines, format_args!("{name}{{state=\"{state}\"}} {count}\n"));
            }
            return;
        }
        SINK_LAG | SINK_BEHIND | SINK_UP => {
            for reached in &live.receivers {
                let value = match name {
                    SINK_LAG => reached.lag.map(|lag| lag.as_secs_f64()),
                    SINK_BEHIND => Some(reached.behind as f64),
                    _ => Some(if reached.error.is_none() && reached.lag.is_some() {
                        1.0
                    } else {
                        0.0
                    }),
                };
                if let Some(value) = value {
                    let sink = &reached.sink;
                    push(lines, format_args!("{name}{{sink=\"{sink}\"}} {value}\n"));
                }
            }
            return;
        }
        "bastion_hold_oldest_undecided_seconds" => {
            let holds = live.holds.as_ref();
            holds.map(|holds| holds.oldest_undecided.as_secs_f64())
        }
        "bastion_notices_pending" => live.notices.map(|(count, _)| count as f64),
        "bastion_notices_oldest_seconds" => live.notices.map(|(_, age)| age.as_secs_f64()),
        "bastion_sessions_active" => Some(live.sessions as f64),
        UNRECORDED => Some(live.unrecorded as f64),
        "bastion_connections_unauthenticated" => Some(live.unauthenticated as f64),
        "bastion_leases" => live.leases.map(|count| count as f64),
        "bastion_locks" => live.locks.map(|count| count as f64),
        "bastion_recorder_up" => Some(if live.recorder.is_some() { 1.0 } else { 0.0 }),
        "bastion_recorder_answer_seconds" => live.recorder.map(|took| took.as_secs_f64()),
        "bastion_recordings_disk_free_bytes" => live.recordings_disk.map(|(free, _)| free as f64),
        "bastion_recordings_disk_bytes" => live.recordings_disk.map(|(_, total)| total as f64),
        "bastion_state_disk_free_bytes" => live.state_disk.map(|(free, _)| free as f64),
        "bastion_state_disk_bytes" => live.state_disk.map(|(_, total)| total as f64),
        _ => None,
    };
    if let Some(value) = value {
        push(lines, format_args!("{name} {value}\n"));
    }
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more)
        .expect("writing to a string does not fail");
}

/// The names of all metrics, for those who write dashboards and alerts.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(name, _, _)| *name)
}

const SIGN_INS: &str = "bastion_sign_ins_total";
const CHANNELS: &str = "bastion_channels_total";
const SESSIONS: &str = "bastion_sessions_started_total";
const ENDED: &str = "bastion_sessions_ended_total";
const BYTES: &str = "bastion_output_bytes_total";
const LEASES_ENDED: &str = "bastion_leases_ended_total";
const NOT_RECHECKED: &str = "bastion_rechecks_failed_total";
const NEW_KEYS: &str = "bastion_new_keys_total";
const RELOADS: &str = "bastion_policy_reloads_total";
const UNRECORDED: &str = "bastion_sessions_unrecorded";
const RECORDINGS_LOST: &str = "bastion_recordings_lost_total";
const BYTES_UNRECORDED: &str = "bastion_output_bytes_unrecorded_total";
const TARGETS_FAILED: &str = "bastion_target_failures_total";
const REFUSED: &str = "bastion_connections_refused_total";
const HOLDS_OPENED: &str = "bastion_holds_opened_total";
const HOLD_DECISIONS: &str = "bastion_hold_decisions_total";
const HOLDS_ENDED: &str = "bastion_holds_ended_total";
const SINK_LAG: &str = "bastion_audit_sink_lag_seconds";
const SINK_BEHIND: &str = "bastion_audit_sink_behind_events";
const SINK_UP: &str = "bastion_audit_sink_up";
const HOLD_SECONDS: &str = "bastion_hold_decision_seconds";
const NOTICES: &str = "bastion_notices_total";
const SESSION_SECONDS: &str = "bastion_session_duration_seconds";
const SIGN_IN_SECONDS: &str = "bastion_sign_in_duration_seconds";
const ACKNOWLEDGE_SECONDS: &str = "bastion_recorder_acknowledge_seconds";
const CONNECT_SECONDS: &str = "bastion_target_connect_seconds";

/// Name, type and meaning of each.
const FAMILIES: [(&str, &str, &str); 41] = [
    ("bastion_build_info", "gauge", "The version that runs."),
    (
        SIGN_INS,
        "counter",
        "Sign-ins by what came of them; lease: a key that was signed in already.",
    ),
    (
        SIGN_IN_SECONDS,
        "histogram",
        "From the code that was shown to the provider's answer.",
    ),
    (CHANNELS, "counter", "Decisions about channels to targets."),
    (SESSIONS, "counter", "Sessions that began on targets."),
    (
        ENDED,
        "counter",
        "Sessions that ended, by themselves or cut by a limit, a rule or somebody.",
    ),
    (
        SESSION_SECONDS,
        "histogram",
        "Life of the sessions that ended.",
    ),
    ("bastion_sessions_active", "gauge", "Sessions that run now."),
    (
        UNRECORDED,
        "gauge",
        "Sessions that run now and that nobody records, since the recorder failed (best-effort).",
    ),
    (
        RECORDINGS_LOST,
        "counter",
        "Times that the recorder failed and a session went on unrecorded (best-effort).",
    ),
    (
        BYTES_UNRECORDED,
        "counter",
        "Bytes of output that clients got and no recorder acknowledged (best-effort).",
    ),
    (
        BYTES,
        "counter",
        "Output of ended sessions in bytes: passed, masked, held, not readable as text.",
    ),
    (
        TARGETS_FAILED,
        "counter",
        "Targets that could not be reached or did not prove their identity.",
    ),
    (
        "bastion_connections_unauthenticated",
        "gauge",
        "Connections that have not signed in.",
    ),
    (
        REFUSED,
        "counter",
        "Connections refused because too many had not signed in.",
    ),
    ("bastion_leases", "gauge", "Leases that count."),
    (
        LEASES_ENDED,
        "counter",
        "Leases that ended before their time.",
    ),
    (
        NOT_RECHECKED,
        "counter",
        "Leases about which the provider could not be asked again.",
    ),
    (
        NEW_KEYS,
        "counter",
        "Sign-ins of known users with new keys.",
    ),
    (
        RELOADS,
        "counter",
        "Reloads of policies and targets; what is refused leaves the earlier ones in force.",
    ),
    (
        "bastion_locks",
        "gauge",
        "Users and targets that are locked.",
    ),
    (
        "bastion_holds",
        "gauge",
        "Holds that have not ended, by state; sealed: somebody has to decide.",
    ),
    (
        "bastion_hold_oldest_undecided_seconds",
        "gauge",
        "How long the oldest sealed hold has waited for a decision; 0 where none waits.",
    ),
    (HOLDS_OPENED, "counter", "Holds that began."),
    (HOLD_DECISIONS, "counter", "Approvals and denials."),
    (HOLDS_ENDED, "counter", "Holds that ended, and how."),
    (
        HOLD_SECONDS,
        "histogram",
        "From the seal of a hold to its decision, where both fell into the life of this process.",
    ),
    (
        NOTICES,
        "counter",
        "Messages to webhooks: delivered, tried again, given up.",
    ),
    (
        "bastion_notices_pending",
        "gauge",
        "Messages that wait for a webhook.",
    ),
    (
        "bastion_notices_oldest_seconds",
        "gauge",
        "How long the oldest of them has waited.",
    ),
    (
        "bastion_recorder_up",
        "gauge",
        "1 where the recorder answers.",
    ),
    (
        "bastion_recorder_answer_seconds",
        "gauge",
        "How long the recorder took to answer when it was last asked.",
    ),
    (
        ACKNOWLEDGE_SECONDS,
        "histogram",
        "How long each piece of output waited for the recorder to have it.",
    ),
    (
        CONNECT_SECONDS,
        "histogram",
        "Connecting to a target and logging in there, also where that failed.",
    ),
    (
        "bastion_recordings_disk_free_bytes",
        "gauge",
        "Free disk of the recordings, as the recorder sees it.",
    ),
    (
        "bastion_recordings_disk_bytes",
        "gauge",
        "Size of that disk.",
    ),
    (
        "bastion_state_disk_free_bytes",
        "gauge",
        "Free disk of the store.",
    ),
    ("bastion_state_disk_bytes", "gauge", "Size of that disk."),
    (
        SINK_LAG,
        "gauge",
        "How long ago a receiver of the audit log had everything.",
    ),
    (
        SINK_BEHIND,
        "gauge",
        "Events that a receiver of the audit log lacks.",
    ),
    (
        SINK_UP,
        "gauge",
        "1 where nothing is in the way to a receiver of the audit log.",
    ),
];

/// What may come of a sign-in: the words of `login::Reason::outcome`, and the two good ends.
const OUTCOMES: [&str; 15] = [
    "succeeded",
    "lease",
    "denied",
    "expired",
    "unreachable",
    "wrong_account",
    "no_group",
    "locked",
    "misconfigured",
    "untrusted",
    "too_many",
    "key_needed",
    "store",
    "bad_name",
    "gone",
];
const KINDS: [&str; 5] = ["shell", "exec", "sftp", "forward", "agent"];
const COVERAGE: [&str; 4] = ["passed", "masked", "held", "unreadable"];
const HOLD_KINDS: [&str; 2] = ["output", "command"];
/// The states in which a hold has ended.
const HOLD_ENDS: [&str; 5] = ["delivered", "denied", "expired", "cancelled", "void"];
/// In seconds.
const SESSION_BOUNDS: [f64; 10] = [
    0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 14_400.0, 86_400.0,
];
const SIGN_IN_BOUNDS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 20.0, 45.0, 120.0, 300.0];
const HOLD_BOUNDS: [f64; 8] = [5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
const ACKNOWLEDGE_BOUNDS: [f64; 10] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
const CONNECT_BOUNDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
const BEGAN_MAX: usize = 20_000;
const BEGAN_AGE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn live() -> Live {
        Live {
            sessions: 2,
            unrecorded: 1,
            unauthenticated: 1,
            leases: Some(3),
            locks: Some(0),
            holds: Some(LiveHolds {
                by_state: vec![("open", 0), ("sealed", 2)],
                oldest_undecided: Duration::from_secs(7),
            }),
            notices: Some((1, Duration::from_secs(3))),
            recorder: Some(Duration::from_millis(2)),
            recordings_disk: Some((5, 10)),
            state_disk: Some((6, 10)),
            receivers: vec![Reached {
                sink: "siem".to_owned(),
                guarantee: crate::config::Guarantee::BestEffort,
                acknowledged: 7,
                behind: 2,
                lag: Some(Duration::from_secs(9)),
                error: None,
            }],
        }
    }

    #[test]
    fn every_family_is_rendered_once_and_has_a_name_of_the_trade() {
        let text = Metrics::default().render(&live());
        for (name, kind, _) in FAMILIES {
            let types = text.matches(&format!("# TYPE {name} {kind}\n")).count();
            assert_eq!(types, 1, "{name}");
            assert!(name.starts_with("bastion_"));
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(
                text.lines().any(|line| line.starts_with(name)),
                "{name} has no sample"
            );
        }
    }

    /// A dashboard or an alert that names what does not exist is silent for ever.
    #[test]
    fn dashboards_and_alerts_name_what_exists_and_leave_nothing_out() {
        let files = [
            include_str!("../../docs/monitoring/grafana.json"),
            include_str!("../../docs/monitoring/alerts.yml"),
        ];
        serde_json::from_str::<serde_json::Value>(files.concat().split_once("# Alert").unwrap().0)
            .unwrap();
        let words: std::collections::BTreeSet<&str> = files
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
            .filter(|word| word.starts_with("bastion_"))
            .collect();
        for word in &words {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| word.strip_suffix(end))
                .unwrap_or(word);
            assert!(names().any(|name| name == family), "no metric {word}");
        }
        for name in names() {
            let bucket = format!("{name}_bucket");
            assert!(
                words.contains(name) || words.contains(bucket.as_str()),
                "{name} is on no dashboard"
            );
        }
        let outcomes = files.concat();
        for part in outcomes.split("outcome=").skip(1) {
            let value = part.trim_start_matches(['~', '\\', '"']);
            let value = value.split(['"', '\\']).next().unwrap();
            for word in value.split('|') {
                assert!(OUTCOMES.contains(&word), "no outcome {word}");
            }
        }
    }

    #[test]
    fn what_cannot_be_seen_is_left_out() {
        let text = Metrics::default().render(&Live::default());
        assert!(!text.contains("disk"), "{text}");
        assert!(text.contains("bastion_recorder_up 0\n"));
    }

    #[test]
    fn events_are_counted_under_words_of_ours() {
        let metrics = Metrics::default();
        let refused = |outcome: &str| Event::SignInRefused {
            connection: "c1".into(),
            source: "192.0.2.1".parse().unwrap(),
            key: None,
            outcome: outcome.into(),
            reason: "whatever \" } the provider said".into(),
        };
        metrics.observe(&Event::SignInBegun {
            connection: "c1".into(),
            source: "192.0.2.1".parse().unwrap(),
            key: None,
        });
        metrics.observe(&refused("denied"));
        metrics.observe(&refused("denied"));
        metrics.observe(&refused("a word that nobody knows"));
        metrics.observe(&Event::SessionEnded {
            session: "s1".into(),
            passed: 10,
            masked: 3,
            held: 0,
            unreadable: 1,
            received: 0,
            status: None,
            reason: Some("cut".into()),
        });
        metrics.observe(&Event::PoliciesRefused {
            by: "SIGHUP".into(),
            problems: 1,
            first: "access.cedar:1:1: whatever".into(),
        });
        let text = metrics.render(&live());
        for line in [
            "bastion_policy_reloads_total{result=\"applied\"} 0",
            "bastion_audit_sink_lag_seconds{sink=\"siem\"} 9",
            "bastion_audit_sink_behind_events{sink=\"siem\"} 2",
            "bastion_audit_sink_up{sink=\"siem\"} 1",
            "bastion_policy_reloads_total{result=\"refused\"} 1",
            "bastion_sign_ins_total{outcome=\"denied\"} 2",
            "bastion_sign_in_duration_seconds_count 1",
            "bastion_sessions_ended_total{how=\"cut\"} 1",
            "bastion_output_bytes_total{coverage=\"masked\"} 3",
            "bastion_sessions_active 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("whatever") && !text.contains("nobody knows"));
    }

    #[test]
    fn latencies_are_counted_by_their_bounds() {
        let metrics = Metrics::default();
        metrics.acknowledged(Duration::from_micros(300));
        metrics.acknowledged(Duration::from_secs(60));
        metrics.dialled(Duration::from_millis(20));
        let text = metrics.render(&live());
        for line in [
            "bastion_recorder_acknowledge_seconds_bucket{le=\"0.0001\"} 0",
            "bastion_recorder_acknowledge_seconds_bucket{le=\"0.0005\"} 1",
            "bastion_recorder_acknowledge_seconds_bucket{le=\"+Inf\"} 2",
            "bastion_target_connect_seconds_bucket{le=\"0.025\"} 1",
            "bastion_target_connect_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_hold_is_counted_from_its_seal_to_its_end() {
        let metrics = Metrics::default();
        let sealed = |hold: &str| Event::HoldSealed {
            hold: hold.into(),
            digest: "d".into(),
            bytes: 1,
            rows: 1,
            fields: Vec::new(),
            expires_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let decided = |hold: &str, decision: &str, approvals| Event::HoldDecided {
            hold: hold.into(),
            digest: "d".into(),
            user: crate::audit::Who {
                issuer: "https://id".into(),
                subject: "1".into(),
                name: "ann".into(),
            },
            decision: decision.into(),
            reason: None,
            approvals,
            needed: 2,
            policies: Vec::new(),
            withdrawn: Vec::new(),
        };
        for hold in ["H-1", "H-2", "H-3"] {
            metrics.observe(&sealed(hold));
        }
        metrics.observe(&decided("H-1", "approve", 1));
        let text = metrics.render(&live());
        assert!(text.contains("bastion_hold_decision_seconds_count 0\n"));
        metrics.observe(&decided("H-1", "approve", 2));
        metrics.observe(&decided("H-2", "deny", 0));
        for (hold, state) in [("H-1", "delivered"), ("H-3", "expired")] {
            metrics.observe(&Event::HoldEnded {
                hold: hold.into(),
                state: state.into(),
                reason: None,
            });
        }
        assert!(metrics.began.lock().unwrap().holds.is_empty());
        let text = metrics.render(&live());
        for line in [
            "bastion_hold_decision_seconds_count 2",
            "bastion_hold_decisions_total{decision=\"approve\"} 2",
            "bastion_holds_ended_total{state=\"delivered\"} 1",
            "bastion_holds_ended_total{state=\"denied\"} 1",
            "bastion_holds_ended_total{state=\"expired\"} 1",
            "bastion_holds{state=\"sealed\"} 2",
            "bastion_hold_oldest_undecided_seconds 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn nothing_grows_with_what_peers_do() {
        let metrics = Metrics::default();
        let size = metrics.render(&live()).lines().count();
        for n in 0..BEGAN_MAX + 10 {
            metrics.begin(|began| &mut began.sign_ins, &n.to_string());
        }
        assert_eq!(metrics.began.lock().unwrap().sign_ins.len(), BEGAN_MAX);
        assert_eq!(metrics.render(&live()).lines().count(), size);
    }
}
