//! What is protected: `protect.toml`, its rules and whom and what each covers.
//!
//! Owns the file's form, and the choice of rules for a person at a login. How a rule finds and
//! changes bytes is the scanner's business.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use scanner::{Action, Detector, Mask, RuleError, Rules, RulesBuilder, Unreadable};

use crate::config::section::{Field, Placed, Section, Source};
use crate::config::{Problem, Problems, nearest};
use crate::target::Inventory;

/// The rules of a policy folder, in the order of the file.
pub(super) struct Protect {
    rules: Vec<Rule>,
    unreadable: OnUnreadable,
    /// For tokens; of this process only, so that no token can be compared with one of another day.
    token_key: [u8; 32],
    /// Compiled choices. A person's groups lift rules, so that there are as many choices as
    /// different sets of rules that are in force somewhere.
    compiled: Mutex<HashMap<Choice, Arc<Rules>>>,
}

/// Which rules are in force, and what becomes of what is not text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Choice {
    /// Positions in the file.
    rules: Vec<usize>,
    channel: Channel,
}

/// What `[unreadable]` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// A shell, where an odd byte is common.
    Shell,
    /// Everything else.
    Exec,
}

/// One `[[rule]]`.
#[derive(Debug)]
struct Rule {
    name: String,
    targets: Vec<Pattern>,
    logins: Vec<Pattern>,
    exempt: BTreeSet<String>,
    fields: Vec<String>,
    detect: Vec<Detector>,
    action: Action,
}

/// `[unreadable]`: what becomes of what is not text, where a rule covers the target.
#[derive(Clone, Copy, Debug)]
struct OnUnreadable {
    exec: Unreadable,
    shell: Unreadable,
}

/// Fail closed; in a shell, where an odd byte is common, nothing ends.
impl Default for OnUnreadable {
    fn default() -> Self {
        Self {
            exec: Unreadable::Refuse,
            shell: Unreadable::Pass,
        }
    }
}

impl Protect {
    /// Reads the text of the file `path`.
    ///
    /// # Errors
    ///
    /// Every mistake in it, among them rules that no target of `inventory` can meet, where
    /// there is one.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        inventory: Option<&Inventory>,
    ) -> Result<Self, Problems> {
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
        let unreadable = OnUnreadable::read(root.section("unreadable"));
        root.finish();
        let mut token_key = [0; 32];
        if aws_lc_rs::rand::fill(&mut token_key).is_err() {
            return Err(Problem::of_file(path, "the system gives no random numbers").into());
        }
        let protect = source.finish(Some(Self {
            rules,
            unreadable,
            token_key,
            compiled: Mutex::default(),
        }))?;
        // Each rule has compiled by itself; that all do together is the last thing to know.
        let all: Vec<usize> = (0..protect.rules.len()).collect();
        match protect.compile(&Choice {
            rules: all,
            channel: Channel::Exec,
        }) {
            Ok(_) => Ok(protect),
            Err(error) => Err(Problem::of_file(path, error.to_string()).into()),
        }
    }

    /// All rules, whomever and whatever they cover, for a channel of that kind.
    ///
    /// # Errors
    ///
    /// As for `rules`.
    pub(super) fn all(&self, channel: Channel) -> Result<Arc<Rules>, RuleError> {
        self.compile(&Choice {
            rules: (0..self.rules.len()).collect(),
            channel,
        })
        .map(Arc::new)
    }

    /// The number of rules.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether some rule for `login` on `target` is in force for a person of these groups.
    pub(super) fn covers(&self, target: &str, login: &str, groups: &BTreeSet<String>) -> bool {
        self.in_force(target, login, groups).next().is_some()
    }

    /// What the scanner looks for in the output of a channel, of that kind.
    ///
    /// # Errors
    ///
    /// The rules do not compile together, which `parse` has ruled out for all of them.
    pub(super) fn rules(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
        channel: Channel,
    ) -> Result<Arc<Rules>, RuleError> {
        let choice = Choice {
            rules: self.in_force(target, login, groups).collect(),
            channel,
        };
        // A panic of another thread leaves a map that is still whole.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = compiled.get(&choice) {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(self.compile(&choice)?);
        if compiled.len() < CHOICES_MAX {
            compiled.insert(choice, Arc::clone(&rules));
        }
        Ok(rules)
    }

    fn in_force(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
    ) -> impl Iterator<Item = usize> {
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| rule.covers(target, login) && rule.exempt.is_disjoint(groups))
            .map(|(position, _)| position)
    }

    fn compile(&self, choice: &Choice) -> Result<Rules, RuleError> {
        let mut rules: Vec<&Rule> = choice
            .rules
            .iter()
            .filter_map(|position| self.rules.get(*position))
            .collect();
        if rules.is_empty() {
            return Ok(Rules::none());
        }
        // Where two rules find the same value, the scanner takes the first: the stricter one.
        rules.sort_by_key(|rule| strictness(rule.action));
        let unreadable = match choice.channel {
            Channel::Shell => self.unreadable.shell,
            Channel::Exec => self.unreadable.exec,
        };
        let builder = RulesBuilder::new()
            .token_key(&self.token_key)
            .unreadable(unreadable);
        rules
            .into_iter()
            .fold(builder, |builder, rule| builder.rule(rule.scanned()))
            .build()
    }
}

/// Refuse before hold before mask.
fn strictness(action: Action) -> u8 {
    match action {
        Action::Refuse => 0,
        Action::Hold(_) => 1,
        Action::Mask(_) => 2,
    }
}

impl Rule {
    fn covers(&self, target: &str, login: &str) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
            && self.logins.iter().any(|pattern| pattern.matches(login))
    }

    /// The rule as the scanner knows it.
    fn scanned(&self) -> scanner::Rule {
        let rule = scanner::Rule::new(&self.name, self.action);
        let rule = self.fields.iter().fold(rule, scanner::Rule::field);
        self.detect
            .iter()
            .copied()
            .fold(rule, scanner::Rule::detector)
    }

    fn read(mut section: Section<'_, '_>, inventory: Option<&Inventory>) -> Option<Self> {
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
            Some(field) => read_detectors(field),
            None => Some(Vec::new()),
        };
        let exempt = match section.take("exempt") {
            Some(field) => field.strings(),
            None => Some(Vec::new()),
        };
        let action = section.required("action").and_then(read_action);
        section.finish();
        let (targets, logins) = (targets?, logins?);
        if let Some(inventory) = inventory {
            check_reach(source, &targets, &logins, inventory);
        }
        let rule = Self {
            name: name?,
            targets: targets.into_iter().map(|placed| placed.value).collect(),
            logins: logins.into_iter().map(|placed| placed.value).collect(),
            exempt: exempt?.into_iter().collect(),
            fields: fields?,
            detect: detect?,
            action: action?,
        };
        if rule.fields.is_empty() && rule.detect.is_empty() {
            source.problem_with_hint(
                at,
                format!(
                    "the rule \"{}\" can never apply: it names nothing to look for",
                    rule.name
                ),
                "give it fields or detect",
            );
            return None;
        }
        Some(rule)
    }
}

impl OnUnreadable {
    fn read(mut section: Section<'_, '_>) -> Self {
        let mut unreadable = Self::default();
        for (key, place) in [
            ("exec", &mut unreadable.exec),
            ("shell", &mut unreadable.shell),
        ] {
            let Some(field) = section.take(key) else {
                continue;
            };
            let (at, source) = (field.at(), field.source());
            let words = [
                ("pass", Unreadable::Pass),
                ("hold", Unreadable::Hold),
                ("refuse", Unreadable::Refuse),
            ];
            match field.word(&words) {
                Some(Unreadable::Hold) => no_holds(source, at),
                Some(verdict) => *place = verdict,
                None => {}
            }
        }
        section.finish();
        unreadable
    }
}

/// What is to wait for an approval must not pass without one.
fn no_holds(source: &Source<'_>, at: usize) {
    source.problem_with_hint(
        at,
        "output cannot be held for approval in this version",
        "\"refuse\" ends such output, { mask = \"redact\" } replaces the values",
    );
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
    let mut fine = true;
    for placed in field.placed_strings()? {
        let rule = scanner::Rule::new("", Action::Refuse).field(&placed.value);
        match RulesBuilder::new().rule(rule).build() {
            Ok(_) => fields.push(placed.value),
            Err(_) => {
                let message = format!("\"{}\" is not a field", placed.value);
                source.problem_with_hint(
                    placed.at,
                    message,
                    "words with letters or digits, at most 128 bytes, with a parent before a dot where wanted: customer.phone",
                );
                fine = false;
            }
        }
    }
    fine.then_some(fields)
}

fn read_detectors(field: Field<'_, '_>) -> Option<Vec<Detector>> {
    let source = field.source();
    let known = || Detector::ALL.into_iter().map(Detector::name);
    let mut detectors = Vec::new();
    let mut fine = true;
    for placed in field.placed_strings()? {
        match placed.value.parse() {
            Ok(detector) => detectors.push(detector),
            Err(_) => {
                let hint = match nearest(&placed.value, known()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
                };
                source.problem_with_hint(
                    placed.at,
                    format!("there is no detector \"{}\"", placed.value),
                    hint,
                );
                fine = false;
            }
        }
    }
    fine.then_some(detectors)
}

/// `"refuse"`, `{ mask = … }` or `{ hold = { … } }`.
fn read_action(field: Field<'_, '_>) -> Option<Action> {
    if field.is_string() {
        return field.word(&[("refuse", Action::Refuse)]);
    }
    let (at, source) = (field.at(), field.source());
    let mut section = field.section()?;
    let mask = section.take("mask");
    let stable = section.take("stable");
    let hold = section.take("hold");
    section.finish();
    match (mask, hold) {
        (Some(mask), None) => read_mask(mask, stable).map(Action::Mask),
        (None, Some(hold)) => {
            no_holds(source, hold.at());
            None
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
    let mask = mask.word(&[
        ("redact", Mask::Redact),
        ("last4", Mask::Last4),
        ("token", Mask::Token),
        ("format", Mask::Format),
        ("drop", Mask::Drop),
    ])?;
    let Some(stable) = stable else {
        return Some(mask);
    };
    let (at, source) = (stable.at(), stable.source());
    match (mask, stable.bool()?) {
        (_, false) => Some(mask),
        (Mask::Token, true) => {
            source.problem_with_hint(
                at,
                "tokens are different in each session in this version",
                "leave out stable",
            );
            None
        }
        (_, true) => {
            source.problem(at, "stable belongs to mask = \"token\"");
            None
        }
    }
}

/// More choices than this are compiled each time.
const CHOICES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use scanner::{Options, Raw, Scanner, Step, Stream};

    use super::*;
    use crate::target::tests::inventory;

    fn parse(text: &str) -> Result<Protect, Problems> {
        let targets = inventory(&[
            ("orders-db", "postgres", &[]),
            ("orders-web", "deploy", &[]),
            ("pay", "payroll", &[]),
        ]);
        Protect::parse(Path::new("protect.toml"), text, Some(&targets))
    }

    fn groups(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn rule(lines: &str) -> String {
        format!("[[rule]]\nname = \"r\"\ntargets = [\"orders-*\"]\n{lines}\n")
    }

    /// What leaves of `text` under these rules, and whether the output was refused.
    fn scan(rules: &Arc<Rules>, text: &str) -> (String, bool) {
        let mut scanner = Scanner::new(Arc::clone(rules), Options::default());
        scanner.feed(Stream::Stdout, Raw::new(text.to_owned().into()));
        scanner.end();
        let (mut passed, mut refused) = (Vec::new(), false);
        while let Some(step) = scanner.next_step() {
            match step {
                Step::Pass { bytes, .. } => passed.extend_from_slice(bytes.as_bytes()),
                Step::Refuse { .. } => refused = true,
                Step::Hold { .. } | Step::Held { .. } => panic!("nothing is held"),
            }
        }
        (String::from_utf8(passed).unwrap(), refused)
    }

    #[test]
    fn a_pattern_stands_for_names() {
        for (pattern, name, met) in [
            ("*", "", true),
            ("*", "x", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*b", "ab", true),
            ("a*b", "axxb", true),
            ("a*b", "a", false),
            ("ab*ba", "aba", false),
            ("*a*a*", "aa", true),
            ("*a*a*", "a", false),
            ("a*b*c", "abxbc", true),
            ("**", "", true),
            ("A", "a", false),
        ] {
            assert_eq!(
                Pattern(pattern.to_owned()).matches(name),
                met,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn rules_cover_targets_logins_and_people() {
        let protect = parse(
            "[[rule]]\nname = \"a\"\ntargets = [\"orders-*\"]\nlogins = [\"post*\"]\nfields = [\"ssn\"]\n\
             action = { mask = \"redact\" }\nexempt = [\"privacy\"]\n\
             [[rule]]\nname = \"b\"\ntargets = [\"pay\"]\nfields = [\"salary\"]\naction = \"refuse\"\n",
        )
        .unwrap();
        for (target, login, member_of, covered) in [
            ("orders-db", "postgres", &[][..], true),
            ("orders-db", "postgres", &["privacy"], false),
            ("orders-db", "postgres", &["Privacy"], true),
            ("orders-db", "root", &[], false),
            ("orders-web", "postgres", &[], true),
            ("pay", "payroll", &["privacy"], true),
            ("other", "postgres", &[], false),
        ] {
            assert_eq!(
                protect.covers(target, login, &groups(member_of)),
                covered,
                "{login}@{target} {member_of:?}"
            );
            let rules = protect
                .rules(target, login, &groups(member_of), Channel::Exec)
                .unwrap();
            assert_eq!(rules.is_empty(), !covered, "{login}@{target} {member_of:?}");
        }
    }

    #[test]
    fn rules_change_what_the_scanner_lets_through() {
        let protect = parse(&rule(
            "fields = [\"ssn\"]\ndetect = [\"payment-card\"]\naction = { mask = \"redact\" }",
        ))
        .unwrap();
        let rules = protect
            .rules("orders-db", "postgres", &groups(&[]), Channel::Exec)
            .unwrap();
        let (seen, refused) = scan(
            &rules,
            "{\"ssn\": \"078-05-1120\", \"card\": \"4111111111111111\", \"city\": \"Rome\"}\n",
        );
        assert!(
            !refused
                && seen.contains("Rome")
                && !seen.contains("078-05")
                && !seen.contains("41111111"),
            "{seen}"
        );
        let none = protect
            .rules("pay", "payroll", &groups(&[]), Channel::Exec)
            .unwrap();
        assert!(
            scan(&none, "{\"ssn\": \"078-05-1120\"}\n")
                .0
                .contains("078-05-1120")
        );
    }

    /// Of two rules for the same value the stricter one wins, wherever it stands in the file.
    #[test]
    fn the_stricter_rule_wins() {
        let mask = "[[rule]]\nname = \"m\"\ntargets = [\"*\"]\nfields = [\"ssn\"]\naction = { mask = \"redact\" }\n";
        let refuse =
            "[[rule]]\nname = \"r\"\ntargets = [\"*\"]\nfields = [\"ssn\"]\naction = \"refuse\"\n";
        for text in [format!("{mask}{refuse}"), format!("{refuse}{mask}")] {
            let rules = parse(&text)
                .unwrap()
                .rules("pay", "payroll", &groups(&[]), Channel::Exec)
                .unwrap();
            let (seen, refused) = scan(&rules, "{\"ssn\": \"078-05-1120\"}\n");
            assert!(refused && !seen.contains("078-05"), "{text}\n{seen}");
        }
    }

    #[test]
    fn the_same_choice_is_compiled_once() {
        let protect = parse(&rule("fields = [\"ssn\"]\naction = \"refuse\"")).unwrap();
        let rules = |target, login| {
            protect
                .rules(target, login, &groups(&["g"]), Channel::Exec)
                .unwrap()
        };
        assert!(Arc::ptr_eq(
            &rules("orders-db", "postgres"),
            &rules("orders-web", "deploy")
        ));
        assert!(!Arc::ptr_eq(
            &rules("orders-db", "postgres"),
            &rules("pay", "payroll")
        ));
        let shell = protect
            .rules("orders-db", "postgres", &groups(&["g"]), Channel::Shell)
            .unwrap();
        assert!(!Arc::ptr_eq(&rules("orders-db", "postgres"), &shell));
    }

    #[test]
    fn what_would_protect_nothing_is_a_mistake() {
        let redact = "action = { mask = \"redact\" }";
        for (text, wanted) in [
            (rule(redact), "1:1: the rule \"r\" can never apply"),
            (
                rule(&format!("fields = []\ndetect = []\n{redact}")),
                "can never apply",
            ),
            (
                rule("fields = [\"ssn\"]"),
                "the key `rule[0].action` is missing",
            ),
            (
                rule(&format!("fields = [\"--\"]\n{redact}")),
                "4:11: \"--\" is not a field",
            ),
            (
                rule(&format!("detect = [\"payment-crad\"]\n{redact}")),
                "(did you mean \"payment-card\"?)",
            ),
            (
                rule(&format!("feilds = [\"ssn\"]\n{redact}")),
                "unknown key `rule[0].feilds`",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { mask = \"star\" }"),
                "it may be \"redact\"",
            ),
            (
                rule("fields = [\"ssn\"]\naction = \"mask\""),
                "it may be \"refuse\"",
            ),
            (
                rule("fields = [\"ssn\"]\naction = {}"),
                "an action is one of",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { mask = \"token\", stable = true }"),
                "leave out stable",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { mask = \"last4\", stable = true }"),
                "stable belongs to",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { hold = { approvers = \"g\" } }"),
                "output cannot be held for approval in this version",
            ),
            (
                format!(
                    "{}[unreadable]\nexec = \"hold\"\n",
                    rule(&format!("fields = [\"ssn\"]\n{redact}"))
                ),
                "cannot be held",
            ),
            (
                rule(&format!("fields = [\"ssn\"]\n{redact}")).replace("orders-*", "oders-*"),
                "3:12: no target of the inventory is called \"oders-*\"",
            ),
            (
                rule(&format!(
                    "logins = [\"root\"]\nfields = [\"ssn\"]\n{redact}"
                )),
                "no login on these targets is called \"root\"",
            ),
            (
                rule(&format!("fields = [\"ssn\"]\n{redact}")).repeat(2),
                "the rule \"r\" is defined a second time",
            ),
            (
                "[unreadable]\nexce = \"pass\"\n".to_owned(),
                "unknown key `unreadable.exce`",
            ),
            ("rule = 1".to_owned(), "but must be a list"),
        ] {
            let found = parse(&text).map(drop).expect_err(&text).to_string();
            assert!(found.contains(wanted), "{text}\ngave\n{found}");
        }
    }
}
