//! What policies can look at in a question: attributes by name, groups and labels.
//!
//! The engine reads times, addresses and ages from text and follows every group of a person through
//! its graph. What no policy of those that are asked names, none of them can tell from anything else,
//! so that it need not be there: an attribute is reached by its name, and a group or label only from
//! an entity that a policy writes out. Where that cannot be read off a policy, everything is there.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value as Json;

/// What some policies can look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    /// All there is, whatever the names say.
    everything: bool,
    /// Attributes of whatever.
    attributes: BTreeSet<String>,
    groups: BTreeSet<String>,
    labels: BTreeSet<String>,
    /// Accounts and targets that are asked about by their names, and not as the resource.
    places: bool,
}

impl Wants {
    pub(super) fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// What this policy, which is also given in the engine's JSON, can look at.
    pub(super) fn of(policy: &Policy, json: &Json) -> Self {
        let mut wants = Self::default();
        match json.get("conditions") {
            Some(conditions) => wants.read(conditions),
            None => wants.everything = true,
        }
        for literal in policy.entity_literals() {
            let id = AsRef::<str>::as_ref(literal.id()).to_owned();
            match literal.type_name().to_string().as_str() {
                "Group" => wants.groups.insert(id),
                "Label" => wants.labels.insert(id),
                _ => continue,
            };
        }
        wants
    }

    /// The same, and what others can look at.
    pub(super) fn add(&mut self, others: &Self) {
        self.everything |= others.everything;
        self.attributes.extend(others.attributes.iter().cloned());
        self.groups.extend(others.groups.iter().cloned());
        self.labels.extend(others.labels.iter().cloned());
        self.places |= others.places;
    }

    /// Whether it matters what accounts and targets are in and have, other than the resource.
    pub(super) fn places(&self) -> bool {
        self.everything || self.places
    }

    pub(super) fn attribute(&self, name: &str) -> bool {
        self.everything || self.attributes.contains(name)
    }

    pub(super) fn group(&self, name: &str) -> bool {
        self.everything || self.groups.contains(name)
    }

    pub(super) fn label(&self, name: &str) -> bool {
        self.everything || self.labels.contains(name)
    }

    /// Takes in the names behind `.` and `has`. A context that is used in another way, compared as a
    /// whole say, shows all that is in it.
    fn read(&mut self, expression: &Json) {
        match expression {
            Json::Object(operators) => {
                for (operator, operands) in operators {
                    match operator.as_str() {
                        "." | "has" => self.read_attribute(operands),
                        "Var" if operands == "context" => self.everything = true,
                        // An entity that is written out.
                        "__entity" => {
                            let kind = operands.get("type").and_then(Json::as_str);
                            self.places |= matches!(kind, None | Some("Account" | "Target"));
                        }
                        _ => self.read(operands),
                    }
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.read(item)),
            Json::String(_) | Json::Number(_) | Json::Bool(_) | Json::Null => {}
        }
    }

    fn read_attribute(&mut self, operands: &Json) {
        match operands.get("attr") {
            Some(Json::String(name)) => {
                self.attributes.insert(name.clone());
            }
            // `has a.b`
            Some(Json::Array(names)) => {
                let names = names.iter().filter_map(Json::as_str);
                self.attributes.extend(names.map(str::to_owned));
            }
            _ => self.everything = true,
        }
        match operands.get("left") {
            Some(left) if *left == serde_json::json!({"Var": "context"}) => {}
            Some(left) => self.read(left),
            None => self.everything = true,
        }
    }
}
