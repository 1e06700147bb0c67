//! Events of the audit log in the words of OCSF 1.3, for whoever collects them.
//!
//! The file keeps its own, shorter form, which is what is chained; a mapping that gets better
//! then changes no evidence. What OCSF has no place for is kept under `unmapped`.

use serde_json::{Map, Value, json};

/// One line of the log as an OCSF event.
pub fn event(line: &Map<String, Value>) -> Value {
    let mut rest = line.clone();
    rest.retain(|_, value| !value.is_null());
    let name = take_text(&mut rest, "event").unwrap_or_default();
    let class = Class::of(&name);
    let failed = rest.contains_key("reason") && class.may_fail;
    let time = take_text(&mut rest, "time");
    let at = time
        .as_deref()
        .and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let mut members = Map::new();
    let mut put = |key: &str, value: Value| drop(members.insert(key.to_owned(), value));
    put("class_uid", class.uid.into());
    put("category_uid", (class.uid / 1000).into());
    put("activity_id", class.activity.into());
    put("type_uid", (class.uid * 100 + class.activity).into());
    put("severity_id", if failed { 2 } else { 1 }.into());
    put("status_id", if failed { 2 } else { 1 }.into());
    put("time", at.map_or(0, |at| at.as_millisecond()).into());
    put("message", name.clone().into());
    let mut metadata = Map::from_iter([
        ("version".to_owned(), "1.3.0".into()),
        ("product".to_owned(), product()),
        ("log_name".to_owned(), "audit".into()),
    ]);
    let places = [
        ("sequence", rest.remove("seq")),
        ("uid", rest.remove("prev")),
    ];
    let time = time.map(Value::String);
    for (key, value) in places.into_iter().chain([("original_time", time)]) {
        metadata.extend(value.map(|value| (key.to_owned(), value)));
    }
    let (session, user) = match class.uid {
        // Whatever they are there, they stay it.
        BASE => (None, None),
        _ => {
            let session = rest.remove("session").map(|uid| json!({ "uid": uid }));
            (session, take_user(&mut rest))
        }
    };
    match class.uid {
        AUTHENTICATION => {
            // Authentication is about its user; elsewhere the user acts.
            let mut user = user.unwrap_or_else(|| json!({ "name": "unknown", "type_id": 0 }));
            if let (Some(user), Some(key)) = (user.as_object_mut(), rest.get("key")) {
                user.insert("credential_uid".to_owned(), key.clone());
            }
            put("user", user);
            put("service", json!({ "name": PRODUCT }));
        }
        BASE => {}
        _ => {
            let mut actor = Map::from_iter([("app_name".to_owned(), PRODUCT.into())]);
            for (key, value) in [("user", user), ("session", session.clone())] {
                actor.extend(value.map(|value| (key.to_owned(), value)));
            }
            put("actor", actor.into());
            // Who acts has a place in these classes by this profile only.
            metadata.insert("profiles".to_owned(), json!(["host"]));
        }
    }
    match class.uid {
        SSH => {
            // Where a target is not known or not concerned, the other end is the bastion.
            let target = rest.remove("target").map(|name| json!({ "name": name }));
            put(
                "dst_endpoint",
                target.unwrap_or_else(|| json!({ "svc_name": PRODUCT })),
            );
        }
        LIFECYCLE => put("app", product()),
        ENTITY => put("entity", entity(&name, &rest, session.as_ref())),
        _ => {}
    }
    if class.uid != LIFECYCLE
        && class.uid != BASE
        && let Some(source) = rest.remove("source")
    {
        put("src_endpoint", json!({ "ip": source }));
    }
    if let Some(reason @ Value::String(_)) = rest.remove("reason") {
        put("status_detail", reason);
    }
    put("metadata", metadata.into());
    put("unmapped", rest.into());
    Value::Object(members)
}

/// Who, and their groups.
fn take_user(rest: &mut Map<String, Value>) -> Option<Value> {
    let Some(Value::Object(user)) = rest.remove("user") else {
        return None;
    };
    let groups = match rest.remove("groups") {
        Some(Value::Array(groups)) => groups,
        _ => Vec::new(),
    };
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|name| json!({ "name": name }))
        .collect();
    Some(json!({
        "type_id": 1,
        "uid": user.get("subject"),
        "name": user.get("name"),
        "domain": user.get("issuer"),
        "groups": groups,
    }))
}

/// What an event of the management of something is about. Everything stays in `unmapped`, too.
fn entity(event: &str, rest: &Map<String, Value>, session: Option<&Value>) -> Value {
    let text = |key: &str| rest.get(key).and_then(Value::as_str);
    let (kind, uid) = match event {
        "policies_reloaded" | "policies_refused" => ("policies", text("digest")),
        "locked" | "unlocked" => (text("kind").unwrap_or("lock"), text("what")),
        "key_enrolled" => ("key", text("key")),
        "notice_given_up" => ("message", text("message")),
        "recording_read" | "recording_opened" | "recording_expired" | "recording_redacted" => (
            "recording",
            session.and_then(|session| session.get("uid")?.as_str()),
        ),
        "sessions_ended" => ("sessions", None),
        "console_denied" => (text("action").unwrap_or("command"), text("what")),
        "audit_read" | "audit_opened" | "torn_line" => ("audit log", None),
        _ if event.starts_with("hold_") => ("hold", text("hold")),
        _ => ("request", text("request")),
    };
    let mut entity = json!({ "name": kind, "type": kind, "type_id": OTHER });
    if let (Some(entity), Some(uid)) = (entity.as_object_mut(), uid) {
        entity.insert("uid".to_owned(), uid.into());
    }
    entity
}

fn product() -> Value {
    json!({ "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") })
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
            "not_rechecked" => (AUTHENTICATION, OTHER, true),
            "session_started" | "channel_allowed" | "jump_begun" => (SSH, 1, false),
            "session_ended" => (SSH, 2, false),
            "target_failed" => (SSH, 4, true),
            "recording_lost" | "recording_gap" => (SSH, OTHER, true),
            "channel_denied" | "connection_refused" | "request_refused" => (SSH, 5, true),
            "hold_opened" | "access_requested" => (ENTITY, 1, false),
            "recording_read" | "recording_opened" | "audit_read" | "audit_opened"
            | "hold_shown" => (ENTITY, 2, false),
            "hold_sealed" | "hold_decided" | "access_decided" | "policies_reloaded"
            | "recording_redacted" => (ENTITY, 3, false),
            "policies_refused" => (ENTITY, 3, true),
            "hold_ended" | "access_ended" | "recording_expired" => (ENTITY, 4, false),
            "key_enrolled" => (ENTITY, 6, false),
            "locked" => (ENTITY, 12, false),
            "unlocked" => (ENTITY, 13, false),
            "hold_released" | "sessions_ended" | "torn_line" => (ENTITY, OTHER, false),
            "console_denied" | "notice_given_up" => (ENTITY, OTHER, true),
            // One of a later version.
            _ => (BASE, OTHER, false),
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

const PRODUCT: &str = "bastion";
const BASE: u32 = 0;
const AUTHENTICATION: u32 = 3002;
const ENTITY: u32 = 3004;
const SSH: u32 = 4007;
const LIFECYCLE: u32 = 6002;
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
        assert_eq!(mapped["type_uid"], 99);
        assert_eq!(mapped["message"], "something_new");
        assert_eq!(mapped["unmapped"]["colour"], "red");
    }
}
