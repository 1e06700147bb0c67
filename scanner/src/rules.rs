//! Compiled rules: what is protected, and what becomes of it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::endings::Endings;
use crate::name::{NAME_MAX, Words};
use crate::own::{Checksum, Own, Pattern};
use crate::suspect::Suspects;

/// Builds [`Rules`].
#[derive(Debug, Default)]
pub struct RulesBuilder {
    rules: Vec<Rule>,
    token_key: Option<Vec<u8>>,
    stable_key: Option<Vec<u8>>,
    unreadable: Unreadable,
}

impl RulesBuilder {
    /// Starts with no rule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule. Where two rules cover a value, the one that was added first decides.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The key of `token` and `format` masks (HMAC-SHA-256). At least 16 bytes.
    #[must_use]
    pub fn token_key(mut self, key: &[u8]) -> Self {
        self.token_key = Some(key.to_vec());
        self
    }

    /// The key of stable tokens (HMAC-SHA-256). At least 16 bytes, and another than
    /// [`token_key`](Self::token_key).
    #[must_use]
    pub fn stable_key(mut self, key: &[u8]) -> Self {
        self.stable_key = Some(key.to_vec());
        self
    }

    /// What becomes of output that cannot be read as text.
    #[must_use]
    pub fn unreadable(mut self, unreadable: Unreadable) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Compiles the rules.
    ///
    /// # Errors
    ///
    /// A rule that can never fire, a name without a letter or longer than 128 bytes, a `token` or
    /// `format` mask without a key, or more rules or fields than can be compiled.
    pub fn build(self) -> Result<Rules, RuleError> {
        let mut compiled = Compiled {
            rules: Vec::new(),
            fields: Vec::new(),
            detectors: [None; Detector::COUNT],
            endings: Endings::default(),
            named: HashMap::new(),
            last: [false; 256],
            has_paths: false,
            hold_output: None,
            hold_any: false,
            own: None,
            token_key: self.token_key.unwrap_or_default(),
            stable_key: self.stable_key.unwrap_or_default(),
            unreadable: self.unreadable,
            suspects: Suspects::none(),
            forms: None,
        };
        let mut own = Vec::new();
        if self.rules.len() > usize::from(u16::MAX) {
            return Err(RuleError::TooMany);
        }
        for (index, rule) in self.rules.into_iter().enumerate() {
            let index = u16::try_from(index).map_err(|_| RuleError::TooMany)?;
            own.extend(rule.own.iter().cloned().map(|pattern| Pattern {
                rule: index,
                ..pattern
            }));
            compiled.add(index, rule)?;
        }
        if let Some(first) = own.first() {
            let (rule, name) = (first.rule, first.name.clone());
            let own = Own::build(own).map_err(|reason| RuleError::BadPattern {
                rule: compiled.rule_name(rule).to_owned(),
                name,
                reason,
            })?;
            compiled.own = Some(Arc::new(own));
        }
        compiled.suspects = Suspects::new(&compiled);
        compiled.forms = compiled.detects().then(|| Arc::new(compiled.forms()));
        Ok(Rules(Arc::new(compiled)))
    }
}

/// One rule of a policy: what it looks for, and what becomes of what it finds.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    fields: Vec<String>,
    detectors: Vec<Detector>,
    own: Vec<Pattern>,
    action: Action,
}

impl Rule {
    /// A rule that finds nothing yet.
    pub fn new(name: impl Into<String>, action: Action) -> Self {
        Self {
            name: name.into(),
            fields: Vec::new(),
            detectors: Vec::new(),
            own: Vec::new(),
            action,
        }
    }

    /// Adds a field by its last words (`account_number`), or with its parent (`customer.phone`).
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.fields.push(name.into());
        self
    }

    /// Adds a detector, which needs no name.
    #[must_use]
    pub fn detector(mut self, detector: Detector) -> Self {
        self.detectors.push(detector);
        self
    }

    /// Adds a detector of the policy: what `pattern` matches and has the checksum. The pattern is
    /// a regular expression over bytes, whose matches have at least 3 and at most
    /// [`OWN_MATCH_MAX`](crate::OWN_MATCH_MAX) bytes and stay in a line; whether it can be used is
    /// told by [`RulesBuilder::build`].
    #[must_use]
    pub fn own_detector(
        mut self,
        name: impl Into<String>,
        pattern: impl Into<String>,
        checksum: Checksum,
    ) -> Self {
        self.own.push(Pattern {
            rule: 0,
            name: name.into(),
            pattern: pattern.into(),
            checksum,
        });
        self
    }

    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What becomes of what it finds.
    pub fn action(&self) -> Action {
        self.action
    }
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is replaced.
    Mask(Mask),
    /// The output is withheld for a decision.
    Hold(Scope),
    /// The output ends.
    Refuse,
}

/// How a value is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// By stars.
    #[default]
    Redact,
    /// By stars but for the last four letters or digits of a long enough value.
    Last4,
    /// By a token that is the same for the same value of a field in one session (HMAC-SHA-256).
    Token,
    /// By one that is the same in all sessions, which lets a user test guesses.
    StableToken,
    /// By other letters and digits of the same shape (HMAC-SHA-256).
    Format,
    /// By nothing.
    Drop,
}

impl FromStr for Mask {
    type Err = RuleError;

    fn from_str(s: &str) -> Result<Self, RuleError> {
        match s {
            "redact" => Ok(Self::Redact),
            "last4" => Ok(Self::Last4),
            "token" => Ok(Self::Token),
            "stable-token" => Ok(Self::StableToken),
            "format" => Ok(Self::Format),
            "drop" => Ok(Self::Drop),
            _ => Err(RuleError::UnknownMask { name: s.to_owned() }),
        }
    }
}

/// From where a hold rule withholds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// From the record in which a held value first appears.
    #[default]
    Record,
    /// From the first byte, whatever it is.
    Output,
}

/// What becomes of output that cannot be read as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// It passes, and is counted.
    #[default]
    Pass,
    /// It is withheld for a decision.
    Hold,
    /// The output ends.
    Refuse,
}

/// A kind of value that is recognised without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detector {
    /// A payment card number: issuer range and Luhn checksum.
    PaymentCard,
    /// A US social security number of a valid area.
    UsSsn,
    /// An IBAN: the country's length and the checksum mod 97 (ISO 13616).
    Iban,
    /// An e-mail address.
    Email,
    /// A JSON web token (RFC 7519) whose header decodes.
    Jwt,
    /// An AWS access key id.
    AwsKey,
    /// A private key in PEM armour, also without its end.
    PrivateKey,
    /// A password in a URL's user information.
    UrlPassword,
    /// A GitHub token.
    GithubToken,
    /// A Slack token.
    SlackToken,
    /// A telephone number in international or North American form.
    Phone,
}

impl Detector {
    /// The number of kinds.
    pub(crate) const COUNT: usize = 11;

    /// Every kind.
    pub const ALL: [Self; Self::COUNT] = [
        Self::PaymentCard,
        Self::UsSsn,
        Self::Iban,
        Self::Email,
        Self::Jwt,
        Self::AwsKey,
        Self::PrivateKey,
        Self::UrlPassword,
        Self::GithubToken,
        Self::SlackToken,
        Self::Phone,
    ];

    /// The name that a policy uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentCard => "payment-card",
            Self::UsSsn => "us-ssn",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Jwt => "jwt",
            Self::AwsKey => "aws-key",
            Self::PrivateKey => "private-key",
            Self::UrlPassword => "url-password",
            Self::GithubToken => "github-token",
            Self::SlackToken => "slack-token",
            Self::Phone => "phone",
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Detector {
    type Err = RuleError;

    fn from_str(s: &str) -> Result<Self, RuleError> {
        Self::ALL
            .into_iter()
            .find(|d| d.name() == s)
            .ok_or_else(|| RuleError::UnknownDetector { name: s.to_owned() })
    }
}

/// Why rules do not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No detector has this name.
    UnknownDetector {
        /// The name.
        name: String,
    },
    /// No mask has this name.
    UnknownMask {
        /// The name.
        name: String,
    },
    /// A field's name cannot be compared.
    BadField {
        /// The rule.
        rule: String,
        /// The name.
        field: String,
    },
    /// A rule has neither a field nor a detector, and holds nothing by scope.
    NeverFires {
        /// The rule.
        rule: String,
    },
    /// A `token` or `format` mask needs a key of at least 16 bytes.
    NoTokenKey {
        /// The rule.
        rule: String,
    },
    /// The pattern of an own detector cannot be used.
    BadPattern {
        /// The rule.
        rule: String,
        /// The detector.
        name: String,
        /// Why, and what to write instead.
        reason: String,
    },
    /// More rules or fields than can be compiled.
    TooMany,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownDetector { name } => {
                write!(f, "no detector is called {name:?}; there are")?;
                for detector in Detector::ALL {
                    write!(f, " {detector}")?;
                }
                Ok(())
            }
            Self::UnknownMask { name } => {
                write!(
                    f,
                    "no mask is called {name:?}; there are redact last4 token stable-token format drop"
                )
            }
            Self::BadField { rule, field } => write!(
                f,
                "rule {rule:?}: field {field:?} needs a letter or a digit, at most one parent \
                 before a dot, and at most {NAME_MAX} bytes"
            ),
            Self::NeverFires { rule } => {
                write!(f, "rule {rule:?} can never fire: give it fields or detect")
            }
            Self::NoTokenKey { rule } => {
                write!(f, "rule {rule:?} needs a token key of at least 16 bytes")
            }
            Self::BadPattern { rule, name, reason } => {
                write!(f, "rule {rule:?}: detector {name:?}: {reason}")
            }
            Self::TooMany => f.write_str("more rules or fields than can be compiled"),
        }
    }
}

impl std::error::Error for RuleError {}

/// Compiled rules: what is protected, and what becomes of it. A clone costs nothing.
#[derive(Clone, Debug)]
pub struct Rules(Arc<Compiled>);

impl Rules {
    /// Nothing is protected.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether nothing is protected, so that nothing needs to be scanned.
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty() && self.0.unreadable == Unreadable::Pass
    }

    /// The name of the rule with this number, as verdicts carry it.
    pub fn rule_name(&self, rule: u16) -> Option<&str> {
        self.0.rules.get(usize::from(rule)).map(|r| r.name.as_str())
    }

    /// The rule that withholds everything, where no rule looks for anything in it: nothing has to
    /// be read then, and nothing waits for what would decide it.
    pub(crate) fn hold_unread(&self) -> Option<u16> {
        let compiled = &self.0;
        let looks = !compiled.fields.is_empty()
            || compiled.detectors.iter().any(Option::is_some)
            || compiled.own.is_some();
        compiled.hold_output.filter(|_| !looks)
    }

    /// Whether some rule withholds output for a decision.
    pub fn may_hold(&self) -> bool {
        self.0.hold_any
    }

    /// The same rules where they find values by their form alone; `None` where none does.
    pub(crate) fn forms(&self) -> Option<Self> {
        self.0.forms.clone().map(Self)
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.0
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self(Arc::new(Compiled {
            rules: Vec::new(),
            fields: Vec::new(),
            detectors: [None; Detector::COUNT],
            endings: Endings::default(),
            named: HashMap::new(),
            last: [false; 256],
            has_paths: false,
            hold_output: None,
            hold_any: false,
            own: None,
            token_key: Vec::new(),
            stable_key: Vec::new(),
            unreadable: Unreadable::Pass,
            suspects: Suspects::none(),
            forms: None,
        }))
    }
}

/// What a value was recognised by, small enough to be copied everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) rule: u16,
    pub(crate) by: By,
}

/// By a field (its number) or by a detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Field(u16),
    Detector(Detector),
    /// By a detector of the policy (its number).
    Own(u16),
}

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    pub(crate) fields: Vec<Field>,
    /// Their names from the last letter on.
    pub(crate) endings: Endings,
    /// Their numbers by name, the first one first.
    named: HashMap<Vec<u8>, Vec<u16>>,
    detectors: [Option<u16>; Detector::COUNT],
    /// The last bytes that a protected name, or a name of a name, can have.
    pub(crate) last: [bool; 256],
    pub(crate) has_paths: bool,
    /// The first rule that withholds from the first byte.
    pub(crate) hold_output: Option<u16>,
    pub(crate) hold_any: bool,
    /// The policy's own detectors.
    pub(crate) own: Option<Arc<Own>>,
    pub(crate) token_key: Vec<u8>,
    pub(crate) stable_key: Vec<u8>,
    pub(crate) unreadable: Unreadable,
    pub(crate) suspects: Suspects,
    /// The same without fields, where there are detectors.
    forms: Option<Arc<Compiled>>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) rule: u16,
    /// As the policy writes it.
    pub(crate) text: String,
    pub(crate) parent: Vec<u8>,
    pub(crate) name: Vec<u8>,
}

impl Compiled {
    /// The same without fields: a rule keeps its number.
    fn forms(&self) -> Self {
        let rules = self.rules.iter().map(|rule| Rule {
            fields: Vec::new(),
            ..rule.clone()
        });
        Self {
            rules: rules.collect(),
            fields: Vec::new(),
            detectors: self.detectors,
            endings: Endings::default(),
            named: HashMap::new(),
            last: [false; 256],
            has_paths: false,
            hold_output: self.hold_output,
            hold_any: self.hold_any,
            own: self.own.clone(),
            token_key: self.token_key.clone(),
            stable_key: self.stable_key.clone(),
            unreadable: self.unreadable,
            suspects: Suspects::none(),
            forms: None,
        }
    }

    fn add(&mut self, index: u16, rule: Rule) -> Result<(), RuleError> {
        let output = rule.action == Action::Hold(Scope::Output);
        for own in &rule.own {
            Own::check(&own.pattern).map_err(|reason| RuleError::BadPattern {
                rule: rule.name.clone(),
                name: own.name.clone(),
                reason,
            })?;
        }
        let finds = rule.fields.len() + rule.detectors.len() + rule.own.len();
        if finds == 0 && !output {
            return Err(RuleError::NeverFires { rule: rule.name });
        }
        let key = match rule.action {
            Action::Mask(Mask::Token | Mask::Format) => Some(&self.token_key),
            Action::Mask(Mask::StableToken) => Some(&self.stable_key),
            Action::Mask(Mask::Redact | Mask::Last4 | Mask::Drop)
            | Action::Hold(_)
            | Action::Refuse => None,
        };
        if key.is_some_and(|key| key.len() < 16) {
            return Err(RuleError::NoTokenKey { rule: rule.name });
        }
        if output {
            self.hold_output.get_or_insert(index);
        }
        self.hold_any |= matches!(rule.action, Action::Hold(_));
        for text in &rule.fields {
            let bad = || RuleError::BadField {
                rule: rule.name.clone(),
                field: text.clone(),
            };
            let (parent, name) = text.rsplit_once('.').unwrap_or(("", text));
            let words = Words::of(name.as_bytes());
            let above = Words::of(parent.as_bytes());
            if words.is_empty() || text.len() > NAME_MAX || text.contains('.') == above.is_empty() {
                return Err(bad());
            }
            let number = match u16::try_from(self.fields.len()) {
                Ok(number) if number < u16::MAX => number,
                Ok(_) | Err(_) => return Err(RuleError::TooMany),
            };
            let name = words.joined().to_vec();
            self.endings.add(&name);
            self.named.entry(name.clone()).or_default().push(number);
            if let Some(&b) = words.joined().last() {
                self.last_byte(b);
            }
            self.has_paths |= !above.is_empty();
            self.fields.push(Field {
                rule: index,
                text: text.clone(),
                parent: above.joined().to_vec(),
                name,
            });
        }
        // `name`, `key`, `value` and their kin (`lane/pair.rs`): half of a pair.
        if !rule.fields.is_empty() {
            for b in *b"eylrmngkdhsvct" {
                self.last_byte(b);
            }
        }
        for detector in &rule.detectors {
            if let Some(slot) = self.detectors.get_mut(*detector as usize) {
                slot.get_or_insert(index);
            }
        }
        self.rules.push(rule);
        Ok(())
    }

    fn last_byte(&mut self, b: u8) {
        for b in [b.to_ascii_lowercase(), b.to_ascii_uppercase()] {
            if let Some(slot) = self.last.get_mut(usize::from(b)) {
                *slot = true;
            }
        }
    }

    /// The field that `name` is, where the parent is part of the name or not needed.
    pub(crate) fn field(&self, name: &[u8]) -> Option<Hit> {
        self.field_under(name, None)
    }

    /// The field that `name` is; `parent` is the name of the container that it stands in.
    pub(crate) fn field_under(&self, name: &[u8], parent: Option<&[u8]>) -> Option<Hit> {
        if self.fields.is_empty() || !self.may_be(name) {
            return None;
        }
        let words = Words::of(name);
        let above = parent.map(Words::of);
        let is = |number: &u16| {
            self.fields.get(usize::from(*number)).is_some_and(|f| {
                f.parent.is_empty()
                    || words.ends_with_path(&f.parent, &f.name)
                    || above.as_ref().is_some_and(|a| a.ends_with(&f.parent))
            })
        };
        let numbers = words.endings().filter_map(|name| self.named.get(name));
        let number = numbers
            .filter_map(|numbers| numbers.iter().copied().find(is))
            .min()?;
        Some(Hit {
            rule: self.fields.get(usize::from(number))?.rule,
            by: By::Field(number),
        })
    }

    /// Whether a name may be a field, as its last letters say.
    fn may_be(&self, name: &[u8]) -> bool {
        if name.iter().any(|b| matches!(b, b'\\' | b'%' | b'&')) {
            return true;
        }
        let end = name
            .iter()
            .rposition(|b| crate::name::is_word(*b))
            .map_or(0, |i| i + 1);
        let from = name
            .get(..end)
            .unwrap_or_default()
            .iter()
            .rposition(|b| !crate::name::is_word(*b));
        self.may_end(name.get(from.map_or(0, |i| i + 1)..end).unwrap_or_default())
    }

    /// Whether `word` may be the last word of a field, or its end.
    pub(crate) fn may_end(&self, word: &[u8]) -> bool {
        self.endings.agree(word)
    }

    /// The rule that wants what `detector` finds.
    pub(crate) fn detector(&self, detector: Detector) -> Option<Hit> {
        let rule = self.detectors.get(detector as usize).copied().flatten()?;
        Some(Hit {
            rule,
            by: By::Detector(detector),
        })
    }

    /// Whether values are found by their form.
    pub(crate) fn detects(&self) -> bool {
        self.own.is_some()
            || Detector::ALL
                .into_iter()
                .any(|d| self.detector(d).is_some())
    }

    /// What stands for a value that is masked because nobody can read it.
    pub(crate) fn any(&self) -> Option<Hit> {
        let by_detector = Detector::ALL.into_iter().find_map(|d| self.detector(d));
        let by_field = || {
            self.fields.first().map(|field| Hit {
                rule: field.rule,
                by: By::Field(0),
            })
        };
        by_detector.or_else(by_field).or_else(|| self.own_hit(0))
    }

    /// The first rule that withholds: whatever has to be withheld without a value of its own.
    pub(crate) fn first_hold(&self) -> u16 {
        let at = self
            .rules
            .iter()
            .position(|r| matches!(r.action, Action::Hold(_)));
        at.and_then(|at| u16::try_from(at).ok()).unwrap_or(0)
    }

    /// Whether a rule withholds what it finds.
    pub(crate) fn holds(&self, hit: Hit) -> bool {
        matches!(self.action(hit), Action::Hold(_))
    }

    fn rule_name(&self, rule: u16) -> &str {
        self.rules
            .get(usize::from(rule))
            .map_or("", |r| r.name.as_str())
    }

    /// The rule that wants what the own detector with this number finds.
    pub(crate) fn own_hit(&self, number: u16) -> Option<Hit> {
        let pattern = self.own.as_ref()?.pattern(number)?;
        Some(Hit {
            rule: pattern.rule,
            by: By::Own(number),
        })
    }

    pub(crate) fn action(&self, hit: Hit) -> Action {
        self.rules
            .get(usize::from(hit.rule))
            .map_or(Action::Mask(Mask::Redact), |r| r.action)
    }

    /// The name of what was recognised: the field as the policy writes it, or the detector.
    pub(crate) fn what(&self, hit: Hit) -> &str {
        match hit.by {
            By::Field(at) => self
                .fields
                .get(usize::from(at))
                .map_or("field", |f| f.text.as_str()),
            By::Detector(detector) => detector.name(),
            By::Own(number) => self
                .own
                .as_ref()
                .and_then(|own| own.pattern(number))
                .map_or("detector", |p| p.name.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    #[test]
    fn rules_that_cannot_work_do_not_compile() {
        let redact = Action::Mask(Mask::Redact);
        let build = |rule: Rule| RulesBuilder::new().rule(rule).build().err();
        assert!(matches!(
            build(Rule::new("a", redact)),
            Some(RuleError::NeverFires { .. })
        ));
        for field in ["", "__", "a.", ".a", &"a".repeat(129)] {
            let got = build(Rule::new("a", redact).field(field));
            assert!(matches!(got, Some(RuleError::BadField { .. })), "{field:?}");
        }
        let token = Rule::new("a", Action::Mask(Mask::Token)).field("x");
        assert!(matches!(build(token), Some(RuleError::NoTokenKey { .. })));
        assert!("nonsense".parse::<Detector>().is_err());
        for detector in Detector::ALL {
            assert_eq!(detector.name().parse::<Detector>().unwrap(), detector);
        }
    }
}
