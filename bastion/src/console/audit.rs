//! `audit`: the audit log for those who may read it, while it is read through the recorder.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use scanner::Stream;
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;

use super::text::{safe, time};
use super::{Console, Failure, ascii, unavailable};
use crate::access::Action;
use crate::audit::Event;
use crate::config::section::parse_duration;

impl Console<'_> {
    /// Events from `since` on, the oldest first: a line each, or with `json` its fields as
    /// they were logged. Whoever checks the chain exports the lines themselves: `bastion audit export`.
    pub(super) async fn audit_log(&self, since: Option<&str>, json: bool) -> Result<(), Failure> {
        let now = Timestamp::now();
        let since = match since {
            Some(text) => moment(text, now).ok_or_else(|| {
                let line = "--since takes a time such as 2026-11-25T08:00:00Z, or how long ago, such as 2h";
                Failure::Usage(line.to_owned())
            })?,
            None => now - DAY,
        };
        let access = self.rooms.access();
        let permitted = access.may_audit(&self.asked.person(), self.asked.source, now);
        let policies = permitted.or_else(|denied| {
            self.refused(Action::Audit, "audit log", &denied)?;
            Err(Failure::Denied(denied.notice()))
        })?;
        self.audit(Event::AuditRead {
            user: self.lease().who(),
            since,
            policies,
        })?;
        let read = self.rooms.recorder.read_audit().await;
        let mut log =
            read.map_err(|error| unavailable(&error, "the audit log cannot be read now"))?;
        let line_end = if self.asked.pty.is_some() {
            "\r\n"
        } else {
            "\n"
        };
        let mut buffer = vec![0; 32 * 1024];
        let mut rest = Vec::new();
        loop {
            let n = log
                .read(&mut buffer)
                .await
                .map_err(|error| unavailable(&error, "the audit log cannot be read to its end"))?;
            if n == 0 {
                // What has no end is being written, or was torn and is followed by a line that says so.
                return Ok(());
            }
            rest.extend_from_slice(buffer.get(..n).unwrap_or_default());
            let whole = rest
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let mut out = String::new();
            for line in rest.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
                let Ok(event) = serde_json::from_slice::<Map<String, Value>>(line) else {
                    continue;
                };
                if time_of(&event).is_none_or(|at| at < since) {
                    continue;
                }
                match json {
                    true => out.push_str(&ascii(&Value::Object(event))),
                    false => out.push_str(&row(event)),
                }
                out.push_str(line_end);
            }
            if !out.is_empty() {
                self.writer.answer(Stream::Stdout, Bytes::from(out)).await?;
            }
        }
    }
}

/// A time, or so long before `now`.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let ago = || now.checked_sub(parse_duration(text)?).ok();
    text.parse().ok().or_else(ago)
}

fn time_of(event: &Map<String, Value>) -> Option<Timestamp> {
    event.get("time")?.as_str()?.parse().ok()
}

/// An event in a line: when, what, who, and the rest as `name=value`.
fn row(mut event: Map<String, Value>) -> String {
    let at = time_of(&event).map(time).unwrap_or_default();
    let what = event.remove("event").map(|what| shown(&what));
    let who = event
        .get_mut("user")
        .and_then(|user| user.as_object_mut()?.remove("name"))
        .map(|name| shown(&name));
    let mut line = format!(
        "{at}  {:<20}  {:<12} ",
        what.unwrap_or_default(),
        who.unwrap_or_else(|| "-".to_owned())
    );
    // The chain is for those who verify it, and the identity is in the JSON.
    for (name, value) in &event {
        let skipped = matches!(name.as_str(), "time" | "seq" | "prev" | "user");
        if !skipped && !value.is_null() {
            line.push_str(&format!(" {}={}", safe(name), shown(value)));
        }
    }
    line
}

/// A word as it is, a list with commas, everything else as JSON; safe for a terminal. A text that
/// could be taken for more than one value stands in quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains([' ', '=', ',', '"', '\\']) => safe(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            values.join(",")
        }
        other => safe(&other.to_string()),
    }
}

/// What is shown where nothing is said.
const DAY: SignedDuration = SignedDuration::from_hours(24);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_written_out_or_ago() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let at = |text: &str| moment(text, now).map(|at| at.to_string());
        assert_eq!(at("2h").as_deref(), Some("2026-11-26T10:00:00Z"));
        assert_eq!(
            at("2026-11-25T08:00:00+01:00").as_deref(),
            Some("2026-11-25T07:00:00Z")
        );
        for nonsense in ["", "yesterday", "-2h", "2026-11-25", "99999999999999h"] {
            assert_eq!(at(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_row_says_when_what_who_and_the_rest() {
        let Value::Object(forged) = json!({"event": "x", "command": "true user=root"}) else {
            unreachable!()
        };
        assert!(row(forged).ends_with(r#" command="true user=root""#));
        let event = json!({
            "seq": 7, "time": "2026-11-26T12:00:00.123Z", "event": "channel_allowed",
            "user": {"issuer": "https://id", "subject": "1", "name": "ana"},
            "policies": ["staff", "day"], "reason": null, "prev": "ab",
        });
        let Value::Object(event) = event else {
            unreachable!()
        };
        assert_eq!(
            row(event),
            "2026-11-26 12:00:00Z  channel_allowed       ana           policies=staff,day"
        );
    }

    proptest! {
        #[test]
        fn no_event_reaches_the_terminal_as_it_is(name: String, text: String, list: Vec<String>) {
            let event = json!({ "event": text, "user": {"name": text}, name: text, "policies": list });
            let Value::Object(event) = event else { unreachable!() };
            prop_assert!(row(event).chars().all(|c| matches!(c, ' '..='~') || c.is_alphanumeric()));
        }
    }
}
