//! What the conditions of policies say, as far as that is known without the engine.
//!
//! Owns the conditions that many policies about everybody begin with: the client's network, times
//! and ages, the day, who and what is asked about. The engine would read each of their literals anew
//! for each question. A policy is left out only where its conditions are false by what is read here,
//! before anything in them that is not read here or could not be evaluated: the engine would say the
//! same of it. Nothing here ever lets anybody do anything.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value as Json;

use super::scope::Type;
use crate::config::section::parse_duration;

/// A question, as conditions look at it.
pub(super) struct Facts<'a> {
    pub(super) source: IpAddr,
    /// Since 1970, to the second, as the engine is told; `None` before.
    pub(super) now_ms: Option<i64>,
    pub(super) sign_in_age_ms: i64,
    pub(super) weekday: i64,
    /// `None` where the action has none.
    pub(super) approved: Option<bool>,
    /// The names of optional attributes of the context that are given.
    pub(super) given: [Option<&'static str>; 3],
    pub(super) service: bool,
    pub(super) has_email: bool,
    pub(super) name: &'a str,
    pub(super) groups: &'a BTreeSet<String>,
    /// Login and target, where the resource is an account.
    pub(super) account: Option<(&'a str, &'a str)>,
    /// `None` where the action has none, or its bytes are no text.
    pub(super) command: Option<&'a str>,
    /// The resource and everything that it is in, each by type and id, the resource first.
    pub(super) resources: &'a [(Type, Cow<'a, str>)],
}

/// The conditions of a policy, in the order in which the engine looks at them.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<Test>);

/// Something that is true or false.
#[derive(Debug)]
enum Test {
    Always(bool),
    Service,
    HasEmail,
    Approved,
    /// `context has`
    Given(String),
    Within {
        network: IpAddr,
        prefix: u8,
    },
    /// The person is in one of these groups.
    InGroup(Vec<String>),
    /// The resource is one of these entities, by type and id, or below it.
    ResourceIn(Vec<(Type, String)>),
    ResourceIs(Type),
    Compare(Order, Box<(Term, Term)>),
    OneOf(Vec<String>, Term),
    Not(Box<Test>),
    And(Box<(Test, Test)>),
    Or(Box<(Test, Test)>),
    /// Anything else.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Something that can be compared.
#[derive(Debug)]
enum Term {
    Now,
    SignInAge,
    Weekday,
    Name,
    Login,
    Target,
    Command,
    Long(i64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// A time and how much later.
    Offset(Box<(Term, Term)>),
    /// The part of a time that is less than a day.
    TimeOfDay(Box<Term>),
}

/// What a term stands for in a question.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Long(i64),
    Duration(i64),
    Time(i64),
    Text(&'a str),
}

impl Conditions {
    /// Of a policy in the engine's JSON.
    pub(super) fn of(policy: &Json) -> Self {
        let conditions = policy.get("conditions").and_then(Json::as_array);
        let mut tests = Vec::new();
        for condition in conditions.into_iter().flatten() {
            let test = condition.get("body").map_or(Test::Unknown, Test::of);
            tests.push(match condition.get("kind").and_then(Json::as_str) {
                Some("when") => test,
                Some("unless") => Test::Not(Box::new(test)),
                _ => Test::Unknown,
            });
        }
        Self(tests)
    }

    /// Whether the conditions are false for this question, whatever else they say.
    pub(super) fn exclude(&self, facts: &Facts<'_>) -> bool {
        // In their order, as the engine looks at them: what stands behind something unknown may
        // never be looked at.
        for test in &self.0 {
            match test.says(facts) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        false
    }
}

impl Test {
    fn of(body: &Json) -> Self {
        Self::read(body).unwrap_or(Self::Unknown)
    }

    fn read(body: &Json) -> Option<Self> {
        let (operator, operands) = only(body)?;
        let operand = |name: &str| operands.get(name).map_or(Self::Unknown, Self::of);
        let both = || Box::new((operand("left"), operand("right")));
        Some(match operator {
            "Value" => Self::Always(operands.as_bool()?),
            "!" => Self::Not(Box::new(operand("arg"))),
            "&&" => Self::And(both()),
            "||" => Self::Or(both()),
            "." => match attribute(body)? {
                ("principal", "service") => Self::Service,
                ("context", "approved") => Self::Approved,
                _ => return None,
            },
            "has" => match (variable(operands.get("left")?)?, operands.get("attr")?) {
                ("principal", Json::String(name)) if name == "email" => Self::HasEmail,
                ("context", Json::String(name)) if OPTIONAL.contains(&name.as_str()) => {
                    Self::Given(name.clone())
                }
                _ => return None,
            },
            "in" => {
                let named = entities(operands.get("right")?)?;
                let are = |kinds: &[&str]| named.iter().all(|(kind, _)| kinds.contains(kind));
                let typed = |(kind, id): &(&str, &str)| Some((Type::of(kind)?, (*id).to_owned()));
                match variable(operands.get("left")?)? {
                    "principal" if are(&["Group"]) => {
                        Self::InGroup(named.iter().map(|(_, id)| (*id).to_owned()).collect())
                    }
                    "resource" if are(&["Account", "Target", "Label"]) => {
                        Self::ResourceIn(named.iter().map(typed).collect::<Option<_>>()?)
                    }
                    _ => return None,
                }
            }
            "is" if operands.get("in").is_none() => {
                let kind = operands.get("entity_type")?.as_str()?;
                match variable(operands.get("left")?)? {
                    "resource" => Self::ResourceIs(Type::of(kind)?),
                    _ => return None,
                }
            }
            "contains" => Self::OneOf(
                texts(operands.get("left")?)?,
                Term::read(operands.get("right")?)?,
            ),
            "isInRange" => Self::within(operands)?,
            _ => Self::Compare(
                Order::of(operator)?,
                Box::new((
                    Term::read(operands.get("left")?)?,
                    Term::read(operands.get("right")?)?,
                )),
            ),
        })
    }

    /// `context.source.isInRange(ip("192.0.2.0/24"))`
    fn within(operands: &Json) -> Option<Self> {
        let [of, network] = operands.as_array()?.as_slice() else {
            return None;
        };
        if attribute(of)? != ("context", "source") {
            return None;
        }
        let text = literal("ip", network)?;
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok()?,
            None => longest,
        };
        (prefix <= longest).then_some(Self::Within { network, prefix })
    }

    /// `None` where it is not known, or the engine could not say.
    fn says(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Always(said) => Some(*said),
            Self::Service => Some(facts.service),
            Self::HasEmail => Some(facts.has_email),
            Self::Approved => facts.approved,
            Self::Given(name) => Some(facts.given.contains(&Some(name.as_str()))),
            Self::Within { network, prefix } => Some(is_within(facts.source, *network, *prefix)),
            Self::InGroup(groups) => Some(groups.iter().any(|group| facts.groups.contains(group))),
            Self::ResourceIn(named) => {
                let mut resources = facts.resources.iter();
                Some(resources.any(|(kind, id)| {
                    named
                        .iter()
                        .any(|(named, name)| named == kind && name == id)
                }))
            }
            Self::ResourceIs(kind) => facts.resources.first().map(|(is, _)| is == kind),
            Self::Compare(order, terms) => order.says(terms.0.value(facts)?, terms.1.value(facts)?),
            Self::OneOf(texts, term) => match term.value(facts)? {
                Value::Text(text) => Some(texts.iter().any(|known| known == text)),
                _ => None,
            },
            Self::Not(test) => test.says(facts).map(|said| !said),
            Self::And(both) => match both.0.says(facts)? {
                true => both.1.says(facts),
                false => Some(false),
            },
            Self::Or(both) => match both.0.says(facts)? {
                true => Some(true),
                false => both.1.says(facts),
            },
            Self::Unknown => None,
        }
    }
}

impl Order {
    fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            _ => return None,
        })
    }

    fn says(self, left: Value<'_>, right: Value<'_>) -> Option<bool> {
        let order = match (&left, &right) {
            (Value::Long(left), Value::Long(right))
            | (Value::Duration(left), Value::Duration(right))
            | (Value::Time(left), Value::Time(right)) => left.cmp(right),
            (Value::Text(_), Value::Text(_)) => {
                return match self {
                    Self::Equal => Some(left == right),
                    Self::NotEqual => Some(left != right),
                    _ => None,
                };
            }
            _ => return None,
        };
        Some(match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
        })
    }
}

impl Term {
    fn read(body: &Json) -> Option<Self> {
        let (operator, operands) = only(body)?;
        Some(match operator {
            "Value" => match operands {
                Json::String(text) => Self::Text(text.clone()),
                number => Self::Long(number.as_i64()?),
            },
            "." => match attribute(body)? {
                ("context", "now") => Self::Now,
                ("context", "sign_in_age") => Self::SignInAge,
                ("context", "weekday") => Self::Weekday,
                ("context", "command") => Self::Command,
                ("principal", "name") => Self::Name,
                ("resource", "login") => Self::Login,
                ("resource", "target") => Self::Target,
                _ => return None,
            },
            "duration" => {
                // What is read here is a part of what the engine reads, and means the same.
                let duration = parse_duration(literal("duration", body)?)?;
                Self::Duration(duration.as_millis().try_into().ok()?)
            }
            "offset" => match operands.as_array()?.as_slice() {
                [time, by] => Self::Offset(Box::new((Self::read(time)?, Self::read(by)?))),
                _ => return None,
            },
            "toTime" => match operands.as_array()?.as_slice() {
                [time] => Self::TimeOfDay(Box::new(Self::read(time)?)),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// `None` where the engine could not say, or may not.
    fn value<'a>(&'a self, facts: &Facts<'a>) -> Option<Value<'a>> {
        Some(match self {
            Self::Now => Value::Time(facts.now_ms?),
            Self::SignInAge => Value::Duration(facts.sign_in_age_ms),
            Self::Weekday => Value::Long(facts.weekday),
            Self::Name => Value::Text(facts.name),
            Self::Login => Value::Text(facts.account?.0),
            Self::Target => Value::Text(facts.account?.1),
            Self::Command => Value::Text(facts.command?),
            Self::Long(number) => Value::Long(*number),
            Self::Duration(duration) => Value::Duration(*duration),
            Self::Text(text) => Value::Text(text),
            Self::Offset(both) => match (both.0.value(facts)?, both.1.value(facts)?) {
                (Value::Time(time), Value::Duration(by)) => Value::Time(time.checked_add(by)?),
                _ => return None,
            },
            Self::TimeOfDay(time) => match time.value(facts)? {
                Value::Time(time) => Value::Duration(time.rem_euclid(DAY_MS)),
                _ => return None,
            },
        })
    }
}

/// The one operator of an expression, and its operands.
fn only(body: &Json) -> Option<(&str, &Json)> {
    let mut operators = body.as_object()?.iter();
    let (operator, operands) = operators.next()?;
    operators.next().is_none().then_some((operator, operands))
}

/// `principal`, `resource` or `context`.
fn variable(body: &Json) -> Option<&str> {
    match only(body)? {
        ("Var", name) => name.as_str(),
        _ => None,
    }
}

/// An attribute of a variable.
fn attribute(body: &Json) -> Option<(&str, &str)> {
    match only(body)? {
        (".", operands) => Some((
            variable(operands.get("left")?)?,
            operands.get("attr")?.as_str()?,
        )),
        _ => None,
    }
}

/// Type and id of an entity that is written out, or of each in a set.
fn entities(body: &Json) -> Option<Vec<(&str, &str)>> {
    match only(body)? {
        ("Set", entities) => entities.as_array()?.iter().map(entity).collect(),
        _ => Some(vec![entity(body)?]),
    }
}

fn entity(body: &Json) -> Option<(&str, &str)> {
    let entity = body.get("Value")?.get("__entity")?;
    Some((entity.get("type")?.as_str()?, entity.get("id")?.as_str()?))
}

/// The text in `ip("…")` and the like.
fn literal<'a>(function: &str, body: &'a Json) -> Option<&'a str> {
    match body.get(function)?.as_array()?.as_slice() {
        [text] => text.get("Value")?.as_str(),
        _ => None,
    }
}

/// A set of texts that is written out.
fn texts(body: &Json) -> Option<Vec<String>> {
    let (operator, texts) = only(body)?;
    let text = |text: &Json| Some(text.get("Value")?.as_str()?.to_owned());
    match operator {
        "Set" => texts.as_array()?.iter().map(text).collect(),
        _ => None,
    }
}

fn is_within(source: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let apart = match (source, network) {
        (IpAddr::V4(source), IpAddr::V4(network)) => {
            (source.to_bits() ^ network.to_bits()).leading_zeros()
        }
        (IpAddr::V6(source), IpAddr::V6(network)) => {
            (source.to_bits() ^ network.to_bits()).leading_zeros()
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    apart >= u32::from(prefix)
}

/// Attributes of the context that may be missing.
const OPTIONAL: [&str; 3] = ["command", "to", "client_key"];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
