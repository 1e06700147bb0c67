//! What is protected: `protect.toml`, its rules and whom and what each covers.
//!
//! Owns the file's form and the choice of rules for a person at a login. How a rule finds and
//! changes bytes is the scanner's business.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::config::Problems;
use crate::config::section::{Field, Placed, Section, Source};
use crate::target::Inventory;

/// The rules of a policy folder, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Protect {
    rules: Vec<Rule>,
    unreadable: Unreadable,
}

/// One `[[rule]]`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    targets: Vec<Pattern>,
    logins: Vec<Pattern>,
    exempt: BTreeSet<String>,
    pub(super) fields: Vec<String>,
    pub(super) detect: Vec<String>,
    pub(super) action: Treatment,
}

/// What becomes of a protected value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is replaced.
    Mask(Mask),
    /// The output waits until other people have approved it.
    Hold(Hold),
    /// The output ends.
    Refuse,
}

/// How a value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    Redact,
    Last4,
    /// The same value gives the same word in a session; with `stable` in all sessions.
    Token {
        stable: bool,
    },
    Format,
    Drop,
}

/// Who decides on what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) approvers: String,
    pub(super) count: usize,
    pub(super) expires: Duration,
    pub(super) scope: Scope,
}

/// What a hold withholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The records with the rule's fields.
    Records,
    /// Everything that a command prints.
    Output,
}

/// What becomes of what is not text, where a rule covers the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Hold,
    Refuse,
}

/// The two kinds of channel that `[unreadable]` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    Shell,
    Exec,
}

/// `[unreadable]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unreadable {
    pub(super) exec: Verdict,
    pub(super) shell: Verdict,
}

/// Fail closed; in a shell, where an odd byte is common, nothing ends.
impl Default for Unreadable {
    fn default() -> Self {
        Self {
            exec: Verdict::Refuse,
            shell: Verdict::Pass,
        }
    }
}

impl Protect {
    /// Reads the text of the file `path`.
    ///
    /// # Errors
    ///
    /// Every mistake in it, among them rules that no target of `inventory` can meet.
    pub(super) fn parse(path: &Path, text: &str, inventory: &Inventory) -> Result<Self, Problems> {
        let source = Source::new(path, text);
        let mut root = source.root();
        let mut rules: Vec<Rule> = Vec::new();
        for section in root
            .take("rule")
            .and_then(Field::sections)
            .unwrap_or_default()
        {
            let at = section.start();
            let Some(rule) = Rule::read(section, inventory) else {
                continue;
            };
            if rules.iter().any(|known| known.name == rule.name) {
                source.problem(
                    at,
                    format!("the rule \"{}\" is defined a second time", rule.name),
                );
            }
            rules.push(rule);
        }
        let unreadable = Unreadable::read(root.section("unreadable"));
        root.finish();
        source.finish(Some(Self { rules, unreadable }))
    }

    /// The positions of the rules for `login` on `target` that no group of the person lifts.
    pub(super) fn for_person(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
    ) -> Vec<usize> {
        self.rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.covers(target, login) && rule.exempt.is_disjoint(groups))
            .map(|(index, _)| index)
            .collect()
    }

    /// What the scanner is to do for the rules at these positions.
    ///
    /// # Errors
    ///
    /// A rule that the scanner cannot carry out.
    pub(super) fn compile(
        &self,
        positions: &[usize],
        channel: Channel,
        token_key: &[u8],
    ) -> Result<scanner::Rules, scanner::RuleError> {
        if positions.is_empty() {
            return Ok(scanner::Rules::none());
        }
        let unreadable = match channel {
            Channel::Shell => self.unreadable.shell,
            Channel::Exec => self.unreadable.exec,
        };
        let mut builder = scanner::RulesBuilder::new()
            .token_key(token_key)
            .unreadable(match unreadable {
                Verdict::Pass => scanner::Unreadable::Pass,
                Verdict::Hold => scanner::Unreadable::Hold,
                Verdict::Refuse => scanner::Unreadable::Refuse,
            });
        for rule in self.at(positions) {
            builder = builder.rule(rule.compile()?);
        }
        builder.build()
    }

    /// The rules at these positions.
    pub(super) fn at<'a>(&'a self, positions: &'a [usize]) -> impl Iterator<Item = &'a Rule> {
        positions.iter().filter_map(|index| self.rules.get(*index))
    }

    pub(super) fn unreadable(&self) -> Unreadable {
        self.unreadable
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    fn covers(&self, target: &str, login: &str) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
            && self.logins.iter().any(|pattern| pattern.matches(login))
    }

    /// Whether its tokens are to be the same in every session.
    pub(super) fn wants_stable_tokens(&self) -> bool {
        self.action == Treatment::Mask(Mask::Token { stable: true })
    }

    fn compile(&self) -> Result<scanner::Rule, scanner::RuleError> {
        let action = match &self.action {
            Treatment::Mask(mask) => scanner::Action::Mask(match mask {
                Mask::Redact => scanner::Mask::Redact,
                Mask::Last4 => scanner::Mask::Last4,
                Mask::Token { .. } => scanner::Mask::Token,
                Mask::Format => scanner::Mask::Format,
                Mask::Drop => scanner::Mask::Drop,
            }),
            Treatment::Hold(hold) => scanner::Action::Hold(match hold.scope {
                Scope::Records => scanner::Scope::Record,
                Scope::Output => scanner::Scope::Output,
            }),
            Treatment::Refuse => scanner::Action::Refuse,
        };
        let mut rule = scanner::Rule::new(self.name.as_str(), action);
        for field in &self.fields {
            rule = rule.field(field.as_str());
        }
        for detector in &self.detect {
            rule = rule.detector(detector.parse()?);
        }
        Ok(rule)
    }

    fn read(mut section: Section<'_, '_>, inventory: &Inventory) -> Option<Self> {
        let (at, source) = (section.start(), section.source());
        let name = section.required("name").and_then(Field::text);
        let targets = section.required("targets").and_then(read_patterns);
        let logins = match section.take("logins") {
            Some(field) => read_patterns(field),
            None => Some(vec![Placed {
                at,
                value: Pattern("*".to_owned()),
            }]),
        };
        let fields = match section.take("fields") {
            Some(field) => read_fields(field),
            None => Some(Vec::new()),
        };
        let detect = match section.take("detect") {
            Some(field) => field.strings(),
            None => Some(Vec::new()),
        };
        let exempt = match section.take("exempt") {
            Some(field) => field.strings(),
            None => Some(Vec::new()),
        };
        let action = section.required("action").and_then(read_treatment);
        section.finish();
        let (targets, logins) = (targets?, logins?);
        check_reach(source, &targets, &logins, inventory);
        let rule = Self {
            name: name?,
            targets: targets.into_iter().map(|placed| placed.value).collect(),
            logins: logins.into_iter().map(|placed| placed.value).collect(),
            exempt: exempt?.into_iter().collect(),
            fields: fields?,
            detect: detect?,
            action: action?,
        };
        let everything =
            matches!(&rule.action, Treatment::Hold(hold) if hold.scope == Scope::Output);
        if rule.fields.is_empty() && rule.detect.is_empty() && !everything {
            source.problem_with_hint(
                at,
                format!(
                    "the rule \"{}\" can never apply: it names nothing to look for",
                    rule.name
                ),
                "give it fields, detect, or action = { hold = { scope = \"output\", ... } }",
            );
        }
        Some(rule)
    }
}

impl Unreadable {
    fn read(mut section: Section<'_, '_>) -> Self {
        let mut unreadable = Self::default();
        let words = [
            ("pass", Verdict::Pass),
            ("hold", Verdict::Hold),
            ("refuse", Verdict::Refuse),
        ];
        if let Some(verdict) = section.take("exec").and_then(|field| field.word(&words)) {
            unreadable.exec = verdict;
        }
        if let Some(verdict) = section.take("shell").and_then(|field| field.word(&words)) {
            unreadable.shell = verdict;
        }
        section.finish();
        unreadable
    }
}

/// A name in which `*` stands for any characters, none too.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// A pattern that no target or login meets is a rule that protects nothing.
fn check_reach(
    source: &Source<'_>,
    targets: &[Placed<Pattern>],
    logins: &[Placed<Pattern>],
    inventory: &Inventory,
) {
    for pattern in targets {
        if !inventory
            .iter()
            .any(|target| pattern.value.matches(target.name()))
        {
            source.problem_with_hint(
                pattern.at,
                format!(
                    "no target of the inventory is called \"{}\", so that this protects nothing",
                    pattern.value.0
                ),
                "correct the name, or add the target first",
            );
        }
    }
    for pattern in logins {
        let met = inventory
            .iter()
            .filter(|target| {
                targets
                    .iter()
                    .any(|pattern| pattern.value.matches(target.name()))
            })
            .any(|target| {
                pattern.value.0 == "*"
                    || target
                        .logins()
                        .iter()
                        .any(|login| pattern.value.matches(login.name()))
            });
        if !met && pattern.value.0 != "*" {
            source.problem(
                pattern.at,
                format!(
                    "no login on these targets is called \"{}\", so that this protects nothing",
                    pattern.value.0
                ),
            );
        }
    }
}

fn read_patterns(field: Field<'_, '_>) -> Option<Vec<Placed<Pattern>>> {
    let (at, source) = (field.at(), field.source());
    let mut patterns = Vec::new();
    for placed in field.placed_strings()? {
        if !placed
            .value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte))
        {
            source.problem(
                placed.at,
                format!(
                    "\"{}\" can be no name: letters, digits, `_`, `.`, `-` and `*`",
                    placed.value
                ),
            );
            return None;
        }
        patterns.push(Placed {
            at: placed.at,
            value: Pattern(placed.value),
        });
    }
    if patterns.is_empty() {
        source.problem(at, "an empty list covers nothing");
        return None;
    }
    Some(patterns)
}

fn read_fields(field: Field<'_, '_>) -> Option<Vec<String>> {
    let source = field.source();
    let mut fields = Vec::new();
    for placed in field.placed_strings()? {
        let fine = placed.value.len() <= FIELD_MAX
            && placed
                .value
                .split('.')
                .all(|part| part.chars().any(char::is_alphanumeric));
        if fine {
            fields.push(placed.value);
        } else {
            source.problem(
                placed.at,
                format!(
                    "\"{}\" is not a field: words, or a path such as customer.phone",
                    placed.value
                ),
            );
        }
    }
    Some(fields)
}

/// `"refuse"`, `{ mask = … }` or `{ hold = { … } }`.
fn read_treatment(field: Field<'_, '_>) -> Option<Treatment> {
    if field.is_string() {
        return field.word(&[("refuse", ())]).map(|()| Treatment::Refuse);
    }
    let (at, source) = (field.at(), field.source());
    let mut section = field.section()?;
    let mask = section.take("mask");
    let stable = section.take("stable");
    let hold = section.take("hold");
    section.finish();
    match (mask, hold) {
        (Some(mask), None) => read_mask(mask, stable).map(Treatment::Mask),
        (None, Some(hold)) => {
            if let Some(stable) = stable {
                stable.problem("belongs to mask = \"token\"");
            }
            hold.section().and_then(read_hold).map(Treatment::Hold)
        }
        _ => {
            source.problem_with_hint(
                at,
                "an action is one of mask, hold and \"refuse\"",
                "action = { mask = \"redact\" }",
            );
            None
        }
    }
}

fn read_mask(mask: Field<'_, '_>, stable: Option<Field<'_, '_>>) -> Option<Mask> {
    let token = Mask::Token { stable: false };
    let words = [
        ("redact", Mask::Redact),
        ("last4", Mask::Last4),
        ("token", token),
        ("format", Mask::Format),
        ("drop", Mask::Drop),
    ];
    match (mask.word(&words)?, stable) {
        (Mask::Token { .. }, Some(stable)) => Some(Mask::Token {
            stable: stable.bool()?,
        }),
        (_, Some(stable)) => {
            stable.problem("belongs to mask = \"token\"");
            None
        }
        (mask, None) => Some(mask),
    }
}

fn read_hold(mut section: Section<'_, '_>) -> Option<Hold> {
    let approvers = section.required("approvers").and_then(Field::text);
    let count = match section.take("count") {
        Some(field) => field.count(1..=10),
        None => Some(1),
    };
    let expires = match section.take("expires") {
        Some(field) => field.duration(Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600)),
        None => Some(Duration::from_secs(4 * 3600)),
    };
    let scope = match section.take("scope") {
        Some(field) => field.word(&[("records", Scope::Records), ("output", Scope::Output)]),
        None => Some(Scope::Records),
    };
    section.finish();
    Some(Hold {
        approvers: approvers?,
        count: count?,
        expires: expires?,
        scope: scope?,
    })
}

/// The longest name of a field, in bytes.
const FIELD_MAX: usize = 128;
