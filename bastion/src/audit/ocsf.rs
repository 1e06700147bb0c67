//! Events of the audit log in the words of OCSF 1.3, for whoever collects them.
//!
//! The file keeps its own, shorter form, which is what is chained; a mapping that gets better
//! then changes no evidence. What OCSF has no place for is kept under `unmapped`.

use serde_json::{Map, Value, json};

/// One line of the log as an OCSF event.
pub fn event(line: &Map<String, Value>) -> Value {
    let mut rest = line.clone();
    let name = take_text(&mut rest, "event").unwrap_or_default();
    let class = Class::of(&name);
    let failed = rest.contains_key("reason") && class.may_fail;
    let time = take_text(&mut rest, "time");
    let at = time
        .as_deref()
        .and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let mut event = json!({
        "class_uid": class.uid,
        "category_uid": class.uid / 1000,
        "activity_id": class.activity,
        "type_uid": u64::from(class.uid) * 100 + u64::from(class.activity),
        "severity_id": if failed { 2 } else { 1 },
        "status_id": if failed { 2 } else { 1 },
        "time": at.map_or(0, |at| at.as_millisecond()),
        "message": name,
        "metadata": {
            "version": "1.3.0",
            "product": { "name": "bastion", "version": env!("CARGO_PKG_VERSION") },
            "log_name": "audit",
            "original_time": time,
            "sequence": rest.remove("seq"),
            "uid": rest.remove("prev"),
        },
    });
    let Some(members) = event.as_object_mut() else {
        return event;
    };
    if let Some(Value::Object(user)) = rest.remove("user") {
        let groups = match rest.remove("groups") {
            Some(Value::Array(groups)) => groups,
            _ => Vec::new(),
        };
        let groups: Vec<Value> = groups
            .into_iter()
            .map(|name| json!({ "name": name }))
            .collect();
        let user = json!({
            "uid": user.get("subject"),
            "name": user.get("name"),
            "domain": user.get("issuer"),
            "groups": groups,
        });
        // Authentication is about its user; elsewhere the user acts.
        if class.uid == AUTHENTICATION {
            members.insert("user".to_owned(), user);
        } else {
            members.insert("actor".to_owned(), json!({ "user": user }));
        }
    }
    let places = [
        ("source", "src_endpoint", "ip"),
        ("target", "dst_endpoint", "name"),
        ("session", "session", "uid"),
    ];
    for (ours, theirs, key) in places {
        if let Some(value) = rest.remove(ours) {
            members.insert(theirs.to_owned(), json!({ key: value }));
        }
    }
    if let Some(reason) = rest.remove("reason") {
        members.insert("status_detail".to_owned(), reason);
    }
    members.insert("unmapped".to_owned(), Value::Object(rest));
    event
}

/// A class of OCSF and what happens in it.
struct Class {
    uid: u32,
    activity: u32,
    /// A reason in an event of it is why something did not happen.
    may_fail: bool,
}

impl Class {
    fn of(event: &str) -> Self {
        let (uid, activity, may_fail) = match event {
            "started" => (LIFECYCLE, 3, false),
            "stopped" => (LIFECYCLE, 4, false),
            "sign_in_begun" | "sign_in_succeeded" | "lease_used" => (AUTHENTICATION, 1, false),
            "sign_in_refused" => (AUTHENTICATION, 1, true),
            "signed_out" | "lease_ended" => (AUTHENTICATION, 2, false),
            "session_started" | "channel_allowed" | "jump_begun" => (SSH, 1, false),
            "session_ended" => (SSH, 2, false),
            "target_failed" => (SSH, 4, true),
            "recording_lost" | "recording_gap" => (SSH, OTHER, true),
            "channel_denied" | "connection_refused" => (SSH, 5, true),
            "recording_read" | "recording_opened" | "audit_read" | "audit_opened" => {
                (API, 2, false)
            }
            _ if event.ends_with("_denied") || event.ends_with("_refused") => (API, OTHER, true),
            _ => (API, OTHER, false),
        };
        Self {
            uid,
            activity,
            may_fail,
        }
    }
}

fn take_text(members: &mut Map<String, Value>, key: &str) -> Option<String> {
    match members.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

const AUTHENTICATION: u32 = 3002;
const SSH: u32 = 4007;
const LIFECYCLE: u32 = 6002;
const API: u32 = 6003;
const OTHER: u32 = 99;

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a value that is not there is null")]

    use super::*;

    #[test]
    fn who_did_what_where_is_found_in_its_place() {
        let line = json!({
            "seq": 7, "time": "2026-11-25T21:00:00.5Z", "event": "channel_denied", "prev": "ab",
            "user": { "issuer": "https://id", "subject": "42", "name": "ada" },
            "source": "192.0.2.7", "target": "payroll", "login": "root", "reason": "no policy",
        });
        let mapped = event(line.as_object().unwrap_or(&Map::new()));
        assert_eq!(mapped["type_uid"], 400_705);
        assert_eq!(mapped["category_uid"], 4);
        assert_eq!(mapped["status_id"], 2);
        assert_eq!(mapped["status_detail"], "no policy");
        assert_eq!(mapped["time"], 1_795_640_400_500u64);
        assert_eq!(mapped["actor"]["user"]["uid"], "42");
        assert_eq!(mapped["src_endpoint"]["ip"], "192.0.2.7");
        assert_eq!(mapped["dst_endpoint"]["name"], "payroll");
        assert_eq!(mapped["unmapped"], json!({ "login": "root" }));
        assert_eq!(mapped["metadata"]["sequence"], 7);
    }

    #[test]
    fn an_event_of_a_later_version_loses_nothing() {
        let line = json!({ "seq": 1, "event": "something_new", "colour": "red" });
        let mapped = event(line.as_object().unwrap_or(&Map::new()));
        assert_eq!(mapped["type_uid"], 600_399);
        assert_eq!(mapped["message"], "something_new");
        assert_eq!(mapped["unmapped"]["colour"], "red");
    }
}
