//! What the body of a message looks like: the form for programs, or a small template for a chat
//! service.
//!
//! A template is JSON whose strings have names in braces. Names are put into strings that are parsed
//! already, so that no value can add a key, end a string or become anything but text.

use serde_json::{Map, Value};

use super::message::{Message, NAMES};
use crate::config::nearest;

/// How the body is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `type`, `timestamp` and `data`, as Standard Webhooks has them.
    Json,
    /// A form of its own.
    Template(Template),
}

/// JSON with names to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Value);

impl Format {
    /// For Slack's incoming webhooks, and for services that take the same (Mattermost, Rocket.Chat).
    pub(crate) fn slack() -> Self {
        Self::Template(Template(serde_json::json!({
            "text": "{text}", "unfurl_links": false, "unfurl_media": false,
        })))
    }

    /// For Discord's webhooks.
    pub(crate) fn discord() -> Self {
        Self::Template(Template(serde_json::json!({
            "content": "{text}", "allowed_mentions": { "parse": [] },
        })))
    }

    /// The body.
    pub(crate) fn body(&self, message: &Message, bastion: &str) -> Vec<u8> {
        let value = match self {
            Self::Json => message.json(bastion),
            Self::Template(template) => template.fill(message, bastion),
        };
        value.to_string().into_bytes()
    }
}

impl Template {
    /// Reads one; the error says what is wrong and what to do.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, String)> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            (
                format!("is not JSON: {error}"),
                "such as '{\"text\": \"{text}\"}'".to_owned(),
            )
        })?;
        let template = Self(value);
        let mut wrong = None;
        let mut names = 0;
        template.each(&mut |name| {
            names += 1;
            if wrong.is_none() && !NAMES.contains(&name) {
                wrong = Some(name.to_owned());
            }
            Some(String::new())
        });
        match (wrong, names) {
            (Some(name), _) => {
                let hint = match nearest(&name, NAMES) {
                    Some(meant) => format!("did you mean {{{meant}}}?"),
                    None => format!("there are {}; {{{{ is a brace", NAMES.join(", ")),
                };
                Err((format!("has the unknown name {{{name}}}"), hint))
            }
            (None, 0) => Err((
                "has no name in it, so that every message would be the same".to_owned(),
                "put {text} where people read".to_owned(),
            )),
            (None, _) => Ok(template),
        }
    }

    fn fill(&self, message: &Message, bastion: &str) -> Value {
        self.each(&mut |name| message.value_of(name, bastion))
    }

    /// The template with each name replaced by what `value` says; where it says nothing, the name
    /// stays.
    fn each(&self, value: &mut dyn FnMut(&str) -> Option<String>) -> Value {
        filled(&self.0, value)
    }
}

fn filled(template: &Value, value: &mut dyn FnMut(&str) -> Option<String>) -> Value {
    match template {
        Value::String(text) => Value::String(fill_text(text, value)),
        Value::Array(items) => items.iter().map(|item| filled(item, value)).collect(),
        Value::Object(members) => {
            let each = members.iter();
            let members: Map<_, _> = each
                .map(|(key, item)| (key.clone(), filled(item, value)))
                .collect();
            Value::Object(members)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    }
}

/// `{name}` is replaced, `{{` and `}}` are braces.
fn fill_text(text: &str, value: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            out.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            out.push('}');
            rest = after;
        } else if let Some((name, after)) = from
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            && let Some(value) = value(name)
        {
            out.push_str(&value);
            rest = after;
        } else {
            let (brace, after) = from.split_at(1);
            out.push_str(brace);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::super::Kind;
    use super::super::message::tests::{hold, hold_of};
    use super::*;

    fn filled(template: &str) -> String {
        let template = Template::parse(template).unwrap();
        let body = Format::Template(template).body(&hold(Kind::HoldSealed), "bastion");
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn names_are_filled_in_where_strings_are() {
        for (template, body) in [
            (r#"{"a": "{id} {needed}"}"#, r#"{"a":"H-7K3QX9 1"}"#),
            (
                r#"{"a": ["{rule}", 1, null]}"#,
                r#"{"a":["payroll",1,null]}"#,
            ),
            (
                r#"{"{id}": "{{id}} {type}"}"#,
                r#"{"{id}":"{id} hold.sealed"}"#,
            ),
            (r#"["{by}{fields}"]"#, r#"["salary, iban"]"#),
            (r#""{next}""#, r#""ssh bastion show H-7K3QX9""#),
        ] {
            assert_eq!(filled(template), body);
        }
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (template, wanted) in [
            ("{text}", "is not JSON"),
            (r#"{"text": "x"}"#, "put {text} where people read"),
            (r#"{"text": "{txet}"}"#, "did you mean {text}?"),
            (r#"{"text": "{command}"}"#, "unknown name {command}"),
            (r#"{"text": "{text} }{ {"}"#, ""),
        ] {
            let found = match Template::parse(template) {
                Ok(_) => String::new(),
                Err((problem, hint)) => format!("{problem} ({hint})"),
            };
            assert!(found.contains(wanted), "{found}");
            assert_eq!(found.is_empty(), wanted.is_empty(), "{found}");
        }
    }

    #[test]
    fn chat_services_are_told_to_mention_nobody() {
        let body = |format: Format| {
            String::from_utf8(format.body(&hold(Kind::HoldSealed), "bastion")).unwrap()
        };
        assert!(body(Format::slack()).contains(r#""unfurl_links":false"#));
        assert!(body(Format::discord()).contains(r#""allowed_mentions":{"parse":[]}"#));
        for format in [Format::slack(), Format::discord()] {
            assert!(body(format).contains("H-7K3QX9 waits for 1 approval from payroll-approvers"));
        }
    }

    proptest! {
        /// Whatever a person is called, the body is the template's JSON with one text in it.
        #[test]
        fn a_value_stays_a_text(name: String) {
            let template = Template::parse(r#"{"a": "{person}", "b": "{id}"}"#).unwrap();
            let message = hold_of(Kind::HoldSealed, &name);
            let body = Format::Template(template).body(&message, "bastion");
            let value: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(value.as_object().unwrap().len(), 2);
            prop_assert_eq!(value.get("b").unwrap(), "H-7K3QX9");
            prop_assert!(value.get("a").unwrap().is_string());
        }
    }
}
