//! Who, where and what a recording is about, from its header.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use recording::event::Header;

/// What a header says about its session. Text is as it was recorded: make it [`safe`](crate::safe)
/// before it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// The person, where a bastion wrote the recording.
    pub user: Option<String>,
    /// The target.
    pub target: Option<String>,
    /// The account on the target.
    pub login: Option<String>,
    /// `shell`, `exec` or `sftp`.
    pub kind: Option<String>,
    /// The command that was run, or the shell that was recorded.
    pub command: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
}

impl About {
    /// Reads a header.
    pub fn of(header: &Header) -> Self {
        let bastion = header.extra.get("bastion");
        let text = |key| Some(bastion?.get(key)?.as_str()?.to_owned());
        let seconds = header
            .timestamp
            .and_then(|seconds| i64::try_from(seconds).ok());
        // The bastion's own is more exact.
        let started = text("started").and_then(|text| text.parse().ok());
        let started =
            started.or_else(|| seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()));
        Self {
            user: text("user"),
            target: text("target"),
            login: text("login"),
            kind: text("kind"),
            command: header.command.clone().or_else(|| text("command")),
            title: header.title.clone(),
            started,
        }
    }

    /// `LOGIN@TARGET`, or what is known of it.
    pub fn place(&self) -> Option<String> {
        match (&self.login, &self.target) {
            (Some(login), Some(target)) => Some(format!("{login}@{target}")),
            (one, other) => one.clone().or_else(|| other.clone()),
        }
    }

    /// One line about it: the person and the place, or the title, or the command.
    pub fn heading(&self) -> Option<String> {
        match (&self.user, self.place()) {
            (Some(user), Some(place)) => Some(format!("{user} on {place}")),
            (_, Some(place)) => Some(place),
            _ => self.title.clone().or_else(|| self.command.clone()),
        }
    }

    /// The wall clock at a time of the recording, in microseconds.
    pub(crate) fn wall_clock(&self, micros: u64, zone: &TimeZone) -> Option<String> {
        let offset = i64::try_from(micros).ok()?;
        let at = self.started?.as_microsecond().checked_add(offset)?;
        Some(date(Timestamp::from_microsecond(at).ok()?, zone))
    }
}

/// A date and time as people read them.
pub(crate) fn date(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned_datetime(zone.clone());
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
