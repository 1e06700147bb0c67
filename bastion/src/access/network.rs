//! What policies say about the client's network before anything else, known without the engine.
//!
//! Owns conditions that begin with `context.source.isInRange(ip("…"))`, alone or with `!`, `&&` and
//! `||`. Many policies are about everybody from somewhere; the engine would read their networks anew
//! for each question. A policy is left out only where its condition is false by what is read here,
//! before anything in it that could not be evaluated: the engine would say the same of it.

use std::net::IpAddr;

use cedar_policy::Policy;
use serde_json::Value;

/// The beginning of a policy's conditions, as far as it is about networks.
#[derive(Debug, Default)]
pub(super) struct Networks(Vec<Test>);

#[derive(Debug)]
enum Test {
    Within {
        network: IpAddr,
        prefix: u8,
    },
    Not(Box<Test>),
    And(Box<(Test, Test)>),
    Or(Box<(Test, Test)>),
    /// Anything else.
    Unknown,
}

impl Networks {
    pub(super) fn of(policy: &Policy) -> Self {
        let json = policy.to_json().unwrap_or_default();
        let conditions = json.get("conditions").and_then(Value::as_array);
        let mut tests = Vec::new();
        for condition in conditions.into_iter().flatten() {
            let test = condition.get("body").map_or(Test::Unknown, Test::of);
            tests.push(match condition.get("kind").and_then(Value::as_str) {
                Some("when") => test,
                Some("unless") => Test::Not(Box::new(test)),
                _ => Test::Unknown,
            });
        }
        Self(tests)
    }

    /// Whether the conditions are false for a client at `source`, whatever else they say.
    pub(super) fn exclude(&self, source: IpAddr) -> bool {
        // In their order, as the engine looks at them: what stands behind something unknown may
        // never be looked at.
        for test in &self.0 {
            match test.says(source) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        false
    }
}

impl Test {
    fn of(body: &Value) -> Self {
        let Some((operator, operands)) = body.as_object().and_then(|body| body.iter().next())
        else {
            return Self::Unknown;
        };
        let operand = |name: &str| operands.get(name).map_or(Self::Unknown, Self::of);
        let both = || Box::new((operand("left"), operand("right")));
        match operator.as_str() {
            "!" => Self::Not(Box::new(operand("arg"))),
            "&&" => Self::And(both()),
            "||" => Self::Or(both()),
            "isInRange" => Self::within(operands).unwrap_or(Self::Unknown),
            _ => Self::Unknown,
        }
    }

    /// `context.source.isInRange(ip("192.0.2.0/24"))`
    fn within(operands: &Value) -> Option<Self> {
        let [of, network] = operands.as_array()?.as_slice() else {
            return None;
        };
        let source = serde_json::json!({".": {"left": {"Var": "context"}, "attr": "source"}});
        if *of != source {
            return None;
        }
        let [literal] = network.get("ip")?.as_array()?.as_slice() else {
            return None;
        };
        let text = literal.get("Value")?.as_str()?;
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

    fn says(&self, source: IpAddr) -> Option<bool> {
        match self {
            Self::Within { network, prefix } => Some(is_within(source, *network, *prefix)),
            Self::Not(test) => test.says(source).map(|said| !said),
            Self::And(both) => match both.0.says(source)? {
                true => both.1.says(source),
                false => Some(false),
            },
            Self::Or(both) => match both.0.says(source)? {
                true => Some(true),
                false => both.1.says(source),
            },
            Self::Unknown => None,
        }
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
