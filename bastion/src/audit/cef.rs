//! Events of the audit log in ArcSight's Common Event Format, version 0, for collectors that know
//! nothing newer. What the format has no key for is kept as JSON in `cs6`, so that nothing is lost.

use serde_json::{Map, Value};

/// One line of the log as a CEF event, without a line end.
pub fn event(line: &Map<String, Value>) -> String {
    let mut rest = line.clone();
    let name = text(rest.remove("event"));
    let failed =
        name.ends_with("_refused") || name.ends_with("_denied") || name.ends_with("_failed");
    let severity = if failed { 6 } else { 3 };
    let mut cef = format!(
        "CEF:0|bastion|bastion|{}|{}|{}|{severity}|",
        env!("CARGO_PKG_VERSION"),
        header(&name),
        header(&name.replace('_', " "))
    );
    let mut extension = Vec::new();
    let mut put = |key: &str, value: String| {
        if !value.is_empty() {
            extension.push(format!("{key}={}", escaped(&value)));
        }
    };
    let time = text(rest.remove("time"));
    if let Ok(at) = time.parse::<jiff::Timestamp>() {
        put("rt", at.as_millisecond().to_string());
    }
    put("externalId", text(rest.remove("seq")));
    if let Some(Value::Object(mut user)) = rest.remove("user") {
        put("suser", text(user.remove("name")));
        put("suid", text(user.remove("subject")));
        put("sntdom", text(user.remove("issuer")));
    }
    let keys = [
        ("source", "src"),
        ("target", "dhost"),
        ("login", "duser"),
        ("action", "act"),
        ("outcome", "outcome"),
        ("reason", "reason"),
    ];
    for (ours, theirs) in keys {
        put(theirs, text(rest.remove(ours)));
    }
    let labelled = [
        ("session", "cs1", "session"),
        ("connection", "cs2", "connection"),
        ("key", "cs3", "key"),
        ("policies", "cs4", "policies"),
        ("prev", "cs5", "previousHash"),
    ];
    for (ours, theirs, label) in labelled {
        let value = text(rest.remove(ours));
        if !value.is_empty() {
            put(&format!("{theirs}Label"), label.to_owned());
            put(theirs, value);
        }
    }
    if !rest.is_empty() {
        put("cs6Label", "more".to_owned());
        put("cs6", Value::Object(rest).to_string());
    }
    cef.push_str(&extension.join(" "));
    cef
}

/// A value as it is read by people: a string without its quotes, everything else as JSON.
fn text(value: Option<Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

fn header(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('|', "\\|")
}

fn escaped(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('=', "\\=")
}

/// On one line, and with nothing that a terminal or a collector might act on.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(line: &Value) -> String {
        event(line.as_object().unwrap_or(&Map::new()))
    }

    #[test]
    fn who_did_what_where_is_found_in_its_place() {
        let line = json!({
            "seq": 7, "time": "2026-11-25T21:00:00.5Z", "event": "channel_denied", "prev": "ab",
            "user": { "issuer": "https://id", "subject": "42", "name": "a=b|c\\d" },
            "source": "192.0.2.7", "target": "payroll", "login": "root", "reason": "no\npolicy",
            "command": "ls",
        });
        assert_eq!(
            of(&line),
            format!(
                "CEF:0|bastion|bastion|{}|channel_denied|channel denied|6|rt=1795640400500 externalId=7 \
                 suser=a\\=b|c\\\\d suid=42 sntdom=https://id src=192.0.2.7 dhost=payroll duser=root \
                 reason=no\\\\u{{a}}policy cs5Label=previousHash cs5=ab cs6Label=more cs6={{\"command\":\"ls\"}}",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    proptest! {
        /// Whatever somebody is called, an event is one line with one header.
        #[test]
        fn nothing_breaks_the_line_or_the_header(event in "\\PC{0,20}|[|\\\\=\n]{0,9}", name in any::<String>(), key in "[a-z]{1,9}", more in any::<String>()) {
            let line = json!({ "event": event, "user": { "name": name }, key: more });
            let cef = of(&line);
            prop_assert!(!cef.chars().any(char::is_control));
            // Seven bars that are not escaped.
            let mut bars = 0;
            let mut chars = cef.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => drop(chars.next()),
                    '|' => bars += 1,
                    _ => {}
                }
                if bars == 7 {
                    break;
                }
            }
            prop_assert_eq!(bars, 7);
        }
    }
}
