//! What is protected: `protect.toml`, its rules and whom and what each covers.
//!
//! Owns the file's form, and the choice of rules for a person at a login. How a rule finds and
//! changes bytes is the scanner's business; what waits for a decision is `holds`'.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use scanner::{Checksum, Detector, Mask, RuleError, Rules, RulesBuilder, Scope, Unreadable};

use super::tokens::{StableKey, TokenKeys};
use crate::config::section::{Field, Placed, Section, Source};
use crate::config::{Problem, Problems, RecordingMode, nearest};
use crate::target::Inventory;

/// The rules of a policy folder, in the order of the file.
pub(super) struct Protect {
    /// The file, for mistakes that are found later.
    file: PathBuf,
    text: Arc<str>,
    pub(super) rules: Vec<Rule>,
    unreadable: OnUnreadable,
    /// Targets on which a session goes on where the recorder fails.
    best_effort: Vec<Pattern>,
    tokens: TokenKeys,
    /// Compiled choices. A person's groups lift rules, so that there are as many choices as
    /// different sets of rules that are in force somewhere.
    compiled: Mutex<HashMap<Choice, Arc<Rules>>>,
}

/// Which rules are in force, and what becomes of what is not text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Choice {
    /// Positions in the file, the stricter rule first: where two find the same value, the scanner
    /// takes the first.
    rules: Vec<usize>,
    channel: Channel,
}

/// What `[unreadable]` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// A shell, where an odd byte is common.
    Shell,
    /// A command.
    Exec,
    /// Files.
    Sftp,
    /// A port or socket that the target reaches.
    Forward,
    /// The client's agent, for the target.
    Agent,
}

impl Channel {
    fn is_unread(self) -> bool {
        matches!(self, Self::Sftp | Self::Forward | Self::Agent)
    }
}

/// What becomes of a channel whose bytes no rule can look at: files, forwardings, agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is opened, and counted as unreadable where a rule covers the account.
    Passes,
    /// It is not opened.
    Refused,
}

/// The terms on which a rule withholds: who decides, how many of them, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldTerms {
    rule: Arc<str>,
    approvers: Arc<str>,
    count: usize,
    expires: Duration,
}

impl HoldTerms {
    /// The name of the rule; `unreadable` where it is no rule's.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The group whose members may decide.
    pub fn approvers(&self) -> &str {
        &self.approvers
    }

    /// How many different people have to approve: 1 to 10.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How long a hold waits for them.
    pub fn expires(&self) -> Duration {
        self.expires
    }
}

/// What the rules say about one channel of one person.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    /// For the scanner.
    pub(crate) rules: Arc<Rules>,
    /// Whether some rule is in force.
    pub(crate) covered: bool,
    /// The terms of each rule that may hold output; the stricter first.
    pub(crate) holds: Arc<[HoldTerms]>,
    /// The terms on which unreadable output is held.
    pub(crate) unreadable: Option<HoldTerms>,
    /// What becomes of the channel if it is one that cannot be read.
    pub(crate) unread: Unread,
    /// What becomes of the command before it runs.
    pub(crate) command: CommandVerdict,
    /// What becomes of the session where the recorder fails.
    pub(crate) recording: RecordingMode,
}

/// A rule as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct RuleState {
    pub(crate) name: String,
    /// What becomes of what it finds.
    pub(crate) action: String,
    pub(crate) standing: Standing,
}

/// Whether a rule is in force for somebody somewhere.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It is.
    InForce,
    /// It would be, but for this group of the person.
    Exempt {
        /// The group.
        group: String,
    },
    /// It is about other accounts.
    Elsewhere,
}

/// What rules with `commands` say about a command before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandVerdict {
    /// It may run.
    Run,
    /// It has to wait for a decision on these terms.
    Hold(HoldTerms),
    /// It must not run, because of this rule.
    Refuse(Arc<str>),
}

/// One `[[rule]]`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// Where it stands.
    pub(super) at: usize,
    pub(super) targets: Vec<Pattern>,
    pub(super) logins: Vec<Pattern>,
    pub(super) exempt: BTreeSet<String>,
    pub(super) finds: Finds,
    action: Action,
}

/// What a rule looks at.
#[derive(Debug)]
pub(super) enum Finds {
    /// Values in the output.
    Values {
        fields: Vec<FieldName>,
        detect: Vec<Detect>,
    },
    /// Whatever is printed.
    Output,
    /// The command, before it runs.
    Commands(Vec<Pattern>),
}

/// What knows a value by its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Detect {
    Known(Detector),
    Own(Arc<OwnDetector>),
}

impl Detect {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Known(detector) => detector.name(),
            Self::Own(own) => &own.name,
        }
    }
}

/// One `[[detector]]`: a regular expression in linear time, and a checksum.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnDetector {
    name: String,
    pattern: String,
    checksum: Checksum,
}

/// A field and the other names that it goes by.
#[derive(Debug)]
pub(super) struct FieldName {
    name: String,
    aliases: Vec<String>,
}

/// What becomes of what a rule finds.
#[derive(Clone, Debug)]
enum Action {
    Mask(Mask),
    Hold(HoldTerms),
    Refuse,
}

/// `[unreadable]`: what becomes of what is not text, where a rule covers the target.
#[derive(Clone, Debug)]
struct OnUnreadable {
    exec: Unreadable,
    shell: Unreadable,
    sftp: Unreadable,
    forward: Unreadable,
    agent: Unreadable,
    /// Who decides on it.
    hold: Option<HoldTerms>,
    /// Where that stands.
    hold_at: usize,
}

/// Fail closed; in a shell, where an odd byte is common, nothing ends.
impl Default for OnUnreadable {
    fn default() -> Self {
        Self {
            exec: Unreadable::Refuse,
            shell: Unreadable::Pass,
            sftp: Unreadable::Refuse,
            forward: Unreadable::Refuse,
            agent: Unreadable::Refuse,
            hold: None,
            hold_at: 0,
        }
    }
}

impl Protect {
    /// Reads the text of the file `path`.
    ///
    /// # Errors
    ///
    /// Every mistake in it, among them rules that no target of `inventory` can meet, where
    /// there is one, and stable tokens without a key.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        inventory: Option<&Inventory>,
        stable_key: StableKey<'_>,
    ) -> Result<Self, Problems> {
        let source = Source::new(path, text);
        let mut root = source.root();
        let mut rules: Vec<Rule> = Vec::new();
        let own = read_own_detectors(&mut root);
        for section in root
            .take("rule")
            .and_then(Field::sections)
            .unwrap_or_default()
        {
            let at = section.start();
            let Some(rule) = Rule::read(section, &own, inventory) else {
                continue;
            };
            if rules.iter().any(|known| known.name == rule.name) {
                source.problem_with_hint(
                    at,
                    format!("the rule \"{}\" is defined a second time", rule.name),
                    "give it another name: notices and the audit log tell rules by theirs",
                );
            }
            rules.push(rule);
        }
        check_use(&source, &own, &rules);
        let at = root.place_of("unreadable");
        let unreadable = OnUnreadable::read(root.section("unreadable"), at, &rules);
        let best_effort = read_recording(root.section("recording"), inventory);
        root.finish();
        let wants_stable = rules.iter().find(|rule| rule.is_stable());
        let tokens = match TokenKeys::new(stable_key, wants_stable.is_some()) {
            Ok(tokens) => Some(tokens),
            Err(error) => {
                let at = wants_stable.map_or(0, |rule| rule.at);
                source.problem_with_hint(at, error.to_string(), error.hint());
                None
            }
        };
        let protect = source.finish(tokens.map(|tokens| Self {
            file: path.to_path_buf(),
            text: text.into(),
            rules,
            unreadable,
            best_effort,
            tokens,
            compiled: Mutex::default(),
        }))?;
        if let Some(problems) = Problems::new(protect.check_shadows(inventory)) {
            return Err(problems);
        }
        // Each rule has compiled by itself; that all do together is the last thing to know.
        match protect.all(Channel::Exec) {
            Ok(_) => Ok(protect),
            Err(error) => Err(protect
                .problem(0, error.to_string())
                .hint("take rules, fields or detectors away until they do")
                .into()),
        }
    }

    /// The file and its text.
    pub(super) fn file(&self) -> (&Path, &str) {
        (&self.file, &self.text)
    }

    /// A mistake at byte `at` of the file.
    pub(super) fn problem(&self, at: usize, message: impl Into<String>) -> Problem {
        Problem::at(&self.file, &self.text, at, message)
    }

    /// Whether something may be held for a decision.
    pub(super) fn holds(&self) -> bool {
        self.unreadable.holds() || self.rules.iter().any(|rule| rule.terms().is_some())
    }

    /// The groups that decide on what is held.
    pub(super) fn approvers(&self) -> impl Iterator<Item = &str> {
        let terms = self.rules.iter().filter_map(Rule::terms);
        terms.chain(&self.unreadable.hold).map(HoldTerms::approvers)
    }

    /// Who decides on unreadable output where it is held, unless a rule says so; and where that
    /// stands.
    pub(super) fn unreadable_terms(&self) -> Option<(&HoldTerms, usize)> {
        let terms = self.unreadable.hold.as_ref();
        let terms = terms.filter(|_| self.unreadable.holds());
        terms.map(|terms| (terms, self.unreadable.hold_at))
    }

    /// All rules, whomever and whatever they cover, for a channel of that kind.
    ///
    /// # Errors
    ///
    /// As for `rules`.
    pub(super) fn all(&self, channel: Channel) -> Result<Arc<Rules>, RuleError> {
        let mut rules: Vec<(usize, &Rule)> = self.rules.iter().enumerate().collect();
        rules.retain(|(_, rule)| rule.is_about_output());
        rules.sort_by_key(|(_, rule)| rule.strictness());
        self.compile(&Choice {
            rules: rules.into_iter().map(|(at, _)| at).collect(),
            channel,
        })
        .map(Arc::new)
    }

    /// What becomes of a session on that target where the recorder fails.
    pub(super) fn recording(&self, target: &str) -> RecordingMode {
        let mut patterns = self.best_effort.iter();
        match patterns.any(|pattern| pattern.matches(target)) {
            true => RecordingMode::BestEffort,
            false => RecordingMode::Strict,
        }
    }

    /// The number of rules.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether some rule about output for `login` on `target` is in force for a person of these
    /// groups.
    pub(super) fn covers(&self, target: &str, login: &str, groups: &BTreeSet<String>) -> bool {
        self.in_force(target, login, groups)
            .any(|(_, rule)| rule.is_about_output())
    }

    /// Everything that the rules say about a channel of that kind, and its command.
    ///
    /// # Errors
    ///
    /// The rules do not compile together, which `parse` has ruled out for all of them.
    pub(super) fn protection(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
        channel: Channel,
        command: Option<&[u8]>,
    ) -> Result<Protection, RuleError> {
        let mut in_force: Vec<(usize, &Rule)> = self.in_force(target, login, groups).collect();
        in_force.sort_by_key(|(_, rule)| rule.strictness());
        let command = command.map_or(CommandVerdict::Run, |command| {
            verdict(in_force.iter().map(|(_, rule)| *rule), command)
        });
        in_force.retain(|(_, rule)| rule.is_about_output());
        let covered = !in_force.is_empty();
        let holds: Arc<[HoldTerms]> = in_force
            .iter()
            .filter_map(|(_, rule)| rule.terms().cloned())
            .collect();
        let unreadable = (covered && self.unreadable.of(channel) == Unreadable::Hold)
            .then(|| self.unreadable.terms(&holds))
            .flatten();
        let unread = self.unread(in_force.iter().map(|(_, rule)| *rule), channel);
        // What is no text is not looked at: nothing in it is masked, and nothing found.
        if channel.is_unread() {
            in_force.clear();
        }
        Ok(Protection {
            covered,
            unread,
            rules: self.compiled(Choice {
                rules: in_force.into_iter().map(|(at, _)| at).collect(),
                channel,
            })?,
            holds,
            unreadable,
            command,
            recording: self.recording(target),
        })
    }

    /// What becomes of a channel of that kind, if its bytes cannot be read, under these rules. The
    /// stricter wins here, too: `[unreadable]` lifts no rule that holds or refuses.
    fn unread<'a>(&self, mut rules: impl Iterator<Item = &'a Rule>, channel: Channel) -> Unread {
        let masks = |rule: &Rule| matches!(rule.action, Action::Mask(_));
        let passes = self.unreadable.of(channel) == Unreadable::Pass;
        if rules.all(|rule| !rule.is_about_output() || (passes && masks(rule))) {
            Unread::Passes
        } else {
            Unread::Refused
        }
    }

    /// The same for `login` on `target` and a person of these groups.
    pub(super) fn unread_at(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
        channel: Channel,
    ) -> Unread {
        let in_force = self.in_force(target, login, groups);
        self.unread(in_force.map(|(_, rule)| rule), channel)
    }

    /// Every rule, and whether it is in force for a person of these groups; the stricter first.
    pub(super) fn states(
        &self,
        target: &str,
        login: &str,
        groups: &BTreeSet<String>,
    ) -> Vec<RuleState> {
        let mut rules: Vec<&Rule> = self.rules.iter().collect();
        rules.sort_by_key(|rule| rule.strictness());
        rules
            .into_iter()
            .map(|rule| RuleState {
                name: rule.name.to_string(),
                action: rule.action_text(),
                standing: if !rule.covers(target, login) {
                    Standing::Elsewhere
                } else if let Some(group) = rule.exempt.intersection(groups).next() {
                    Standing::Exempt {
                        group: group.clone(),
                    }
                } else {
                    Standing::InForce
                },
            })
            .collect()
    }

    /// One rule by itself; `None` where it is not about output.
    ///
    /// # Errors
    ///
    /// As for `protection`.
    pub(super) fn alone(
        &self,
        name: &str,
        channel: Channel,
    ) -> Result<Option<Arc<Rules>>, RuleError> {
        let at = self.rules.iter().position(|rule| &*rule.name == name);
        match at.and_then(|at| Some((at, self.rules.get(at)?))) {
            Some((at, rule)) if rule.is_about_output() => self
                .compiled(Choice {
                    rules: vec![at],
                    channel,
                })
                .map(Some),
            _ => Ok(None),
        }
    }

    /// What becomes of what the rule finds, in words.
    pub(super) fn action_of(&self, name: &str) -> Option<String> {
        self.rule(name).map(Rule::action_text)
    }

    /// The terms on which the rule holds.
    pub(super) fn terms_of(&self, name: &str) -> Option<&HoldTerms> {
        self.rule(name).and_then(Rule::terms)
    }

    /// Why a rule found a value: the field of which `word` is an alias, or the detector.
    pub(super) fn why(&self, name: &str, word: &str) -> String {
        let Some(rule) = self.rule(name) else {
            return String::new();
        };
        match &rule.finds {
            Finds::Values { fields, detect } => {
                let alias = fields
                    .iter()
                    .find(|field| field.aliases.iter().any(|alias| alias == word));
                let named = fields.iter().any(|field| field.name == word);
                match (alias, named) {
                    (Some(field), false) => {
                        format!(
                            "its name ends like \"{word}\", an alias of the field \"{}\"",
                            field.name
                        )
                    }
                    (_, true) => format!("its name ends like the field \"{word}\""),
                    (None, false) if detect.iter().any(|detector| detector.name() == word) => {
                        format!("it has the form of {word}, whatever its name")
                    }
                    (None, false) => format!("it is {word}"),
                }
            }
            Finds::Output => "the rule holds whatever is printed".to_owned(),
            Finds::Commands(_) => "the rule is about the command".to_owned(),
        }
    }

    fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| &*rule.name == name)
    }

    /// Every rule for `login` on `target`, for whomever: what some rule holds is redacted, and text
    /// that cannot be read ends it. For those who look at what is held. None where a rule holds the
    /// whole output, of which nothing can be shown.
    ///
    /// # Errors
    ///
    /// As for `all`.
    pub(super) fn masked(
        &self,
        target: &str,
        login: &str,
    ) -> Result<Option<Arc<Rules>>, RuleError> {
        let whole = |(_, rule): (usize, &Rule)| matches!(rule.finds, Finds::Output);
        if self.in_force(target, login, &BTreeSet::new()).any(whole) {
            return Ok(None);
        }
        let builder = self
            .tokens
            .give(RulesBuilder::new())
            .unreadable(Unreadable::Refuse);
        self.in_force(target, login, &BTreeSet::new())
            .filter_map(|(_, rule)| rule.scanned_as_mask())
            .fold(builder, RulesBuilder::rule)
            .build()
            .map(|rules| Some(Arc::new(rules)))
    }

    fn compiled(&self, choice: Choice) -> Result<Arc<Rules>, RuleError> {
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
    ) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| rule.covers(target, login) && rule.exempt.is_disjoint(groups))
    }

    fn compile(&self, choice: &Choice) -> Result<Rules, RuleError> {
        if choice.rules.is_empty() {
            return Ok(Rules::none());
        }
        let builder = self
            .tokens
            .give(RulesBuilder::new())
            .unreadable(self.unreadable.of(choice.channel));
        choice
            .rules
            .iter()
            .filter_map(|at| self.rules.get(*at)?.scanned())
            .fold(builder, RulesBuilder::rule)
            .build()
    }
}

/// What the rules, the stricter first, say about a command before it runs.
fn verdict<'a>(mut rules: impl Iterator<Item = &'a Rule>, command: &[u8]) -> CommandVerdict {
    let command = String::from_utf8_lossy(command);
    let met = rules.find(|rule| match &rule.finds {
        Finds::Commands(patterns) => patterns.iter().any(|pattern| pattern.matches(&command)),
        Finds::Values { .. } | Finds::Output => false,
    });
    match met.map(|rule| (&rule.action, &rule.name)) {
        None => CommandVerdict::Run,
        Some((Action::Hold(terms), _)) => CommandVerdict::Hold(terms.clone()),
        // `read` lets a rule with commands hold or refuse, nothing else.
        Some((Action::Refuse | Action::Mask(_), rule)) => CommandVerdict::Refuse(Arc::clone(rule)),
    }
}

impl Rule {
    pub(super) fn covers(&self, target: &str, login: &str) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
            && self.logins.iter().any(|pattern| pattern.matches(login))
    }

    /// Refuse before hold before mask; of holds the whole output before records, and more
    /// approvals before fewer.
    pub(super) fn strictness(&self) -> (u8, bool, std::cmp::Reverse<usize>) {
        let rank = match self.action {
            Action::Refuse => 0,
            Action::Hold(_) => 1,
            Action::Mask(_) => 2,
        };
        let count = self.terms().map_or(0, HoldTerms::count);
        (
            rank,
            !matches!(self.finds, Finds::Output),
            std::cmp::Reverse(count),
        )
    }

    fn action_text(&self) -> String {
        match &self.action {
            Action::Mask(mask) => format!("mask {}", mask_name(*mask)),
            Action::Hold(terms) => format!(
                "hold{} for {} of {}",
                if matches!(self.finds, Finds::Output) {
                    " the whole output"
                } else {
                    ""
                },
                terms.count,
                terms.approvers
            ),
            Action::Refuse => "refuse".to_owned(),
        }
    }

    pub(super) fn is_about_output(&self) -> bool {
        !matches!(self.finds, Finds::Commands(_))
    }

    fn is_stable(&self) -> bool {
        matches!(self.action, Action::Mask(Mask::StableToken))
    }

    pub(super) fn terms(&self) -> Option<&HoldTerms> {
        match &self.action {
            Action::Hold(terms) => Some(terms),
            Action::Mask(_) | Action::Refuse => None,
        }
    }

    /// The rule as a mask of the values that it holds; none where it names no values.
    fn scanned_as_mask(&self) -> Option<scanner::Rule> {
        let action = match self.action {
            Action::Mask(mask) => scanner::Action::Mask(mask),
            Action::Hold(_) => scanner::Action::Mask(Mask::Redact),
            Action::Refuse => scanner::Action::Refuse,
        };
        self.values(scanner::Rule::new(&*self.name, action))
    }

    /// The rule as the scanner knows it; none where it is about commands.
    fn scanned(&self) -> Option<scanner::Rule> {
        let scope = match self.finds {
            Finds::Output => Scope::Output,
            Finds::Values { .. } => Scope::Record,
            Finds::Commands(_) => return None,
        };
        let action = match self.action {
            Action::Mask(mask) => scanner::Action::Mask(mask),
            Action::Hold(_) => scanner::Action::Hold(scope),
            Action::Refuse => scanner::Action::Refuse,
        };
        let rule = scanner::Rule::new(&*self.name, action);
        if matches!(self.finds, Finds::Output) {
            return Some(rule);
        }
        self.values(rule)
    }

    /// Adds what the rule looks for in the output; none where that is nothing.
    fn values(&self, rule: scanner::Rule) -> Option<scanner::Rule> {
        let Finds::Values { fields, detect } = &self.finds else {
            return None;
        };
        let rule = fields
            .iter()
            .flat_map(FieldName::all)
            .fold(rule, scanner::Rule::field);
        Some(detect.iter().fold(rule, |rule, detect| match detect {
            Detect::Known(detector) => rule.detector(*detector),
            Detect::Own(own) => rule.own_detector(&own.name, &own.pattern, own.checksum),
        }))
    }

    fn read(
        mut section: Section<'_, '_>,
        own: &[Placed<Arc<OwnDetector>>],
        inventory: Option<&Inventory>,
    ) -> Option<Self> {
        let (at, source) = (section.start(), section.source());
        let name = section.required("name").and_then(Field::text);
        let targets = section.required("targets").and_then(read_patterns);
        let logins = match section.take("logins") {
            Some(field) => read_patterns(field),
            None => Some(vec![Placed {
                at,
                value: Pattern::new("*"),
            }]),
        };
        let fields = match section.take("fields") {
            Some(field) => read_fields(field),
            None => Some(Vec::new()),
        };
        let detect = match section.take("detect") {
            Some(field) => read_detectors(field, own),
            None => Some(Vec::new()),
        };
        let commands = section.take("commands").map(read_commands);
        let exempt = match section.take("exempt") {
            Some(field) => field.strings(),
            None => Some(Vec::new()),
        };
        let name: Arc<str> = name?.into();
        let action = section
            .required("action")
            .and_then(|field| read_action(field, &name));
        section.finish();
        let (targets, logins) = (targets?, logins?);
        if let Some(inventory) = inventory {
            check_reach(source, &targets, &logins, inventory);
        }
        let (action, scope) = action?;
        let finds = finds(
            source,
            at,
            &name,
            (fields?, detect?),
            commands,
            (&action, scope),
        )?;
        Some(Self {
            name,
            at,
            targets: targets.into_iter().map(|placed| placed.value).collect(),
            logins: logins.into_iter().map(|placed| placed.value).collect(),
            exempt: exempt?.into_iter().collect(),
            finds,
            action,
        })
    }
}

/// What the rule looks at, where that fits what becomes of it.
fn finds(
    source: &Source<'_>,
    at: usize,
    name: &str,
    (fields, detect): (Vec<FieldName>, Vec<Detect>),
    commands: Option<Option<Vec<Pattern>>>,
    (action, scope): (&Action, Scope),
) -> Option<Finds> {
    let values = !fields.is_empty() || !detect.is_empty();
    let wrong = |message: String, hint: &str| {
        source.problem_with_hint(at, message, hint);
        None
    };
    match (commands, scope) {
        (Some(_), _) if values => wrong(
            format!("the rule \"{name}\" looks at commands and at output"),
            "write two rules: one with commands, one with fields and detect",
        ),
        (Some(_), Scope::Output) => wrong(
            format!("the rule \"{name}\" holds commands, so that scope means nothing"),
            "leave out scope",
        ),
        (Some(_), Scope::Record) if matches!(action, Action::Mask(_)) => wrong(
            format!("the rule \"{name}\" cannot mask a command"),
            "a command is held or refused before it runs",
        ),
        (Some(commands), Scope::Record) => commands.map(Finds::Commands),
        (None, Scope::Output) if values => wrong(
            format!(
                "the rule \"{name}\" holds the whole output, so that fields and detect mean nothing"
            ),
            "leave out either scope, or fields and detect",
        ),
        (None, Scope::Output) => Some(Finds::Output),
        (None, Scope::Record) if values => Some(Finds::Values { fields, detect }),
        (None, Scope::Record) => wrong(
            format!("the rule \"{name}\" can never apply: it names nothing to look for"),
            "give it fields or detect",
        ),
    }
}

impl FieldName {
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

impl OnUnreadable {
    fn of(&self, channel: Channel) -> Unreadable {
        match channel {
            Channel::Shell => self.shell,
            Channel::Exec => self.exec,
            Channel::Sftp => self.sftp,
            Channel::Forward => self.forward,
            Channel::Agent => self.agent,
        }
    }

    fn holds(&self) -> bool {
        [self.shell, self.exec].contains(&Unreadable::Hold)
    }

    /// The terms of its own, or those of the strictest rule that holds.
    fn terms(&self, holds: &[HoldTerms]) -> Option<HoldTerms> {
        self.hold.clone().or_else(|| holds.first().cloned())
    }

    fn read(mut section: Section<'_, '_>, at: usize, rules: &[Rule]) -> Self {
        let mut unreadable = Self::default();
        let source = section.source();
        let words = [
            ("pass", Unreadable::Pass),
            ("refuse", Unreadable::Refuse),
            ("hold", Unreadable::Hold),
        ];
        // What goes both ways, packet by packet, cannot wait for a decision.
        let [pass, refuse, _] = words;
        let unheld = [pass, refuse];
        for (key, place, words) in [
            ("exec", &mut unreadable.exec, &words[..]),
            ("shell", &mut unreadable.shell, &words[..]),
            ("sftp", &mut unreadable.sftp, &unheld[..]),
            ("forward", &mut unreadable.forward, &unheld[..]),
            ("agent", &mut unreadable.agent, &unheld[..]),
        ] {
            if let Some(verdict) = section.take(key).and_then(|field| field.word(words)) {
                *place = verdict;
            }
        }
        unreadable.hold_at = section.place_of("hold");
        unreadable.hold = section
            .take("hold")
            .and_then(|field| read_hold(field, &Arc::from("unreadable")))
            .map(|(terms, _)| terms);
        section.finish();
        let nobody = rules.iter().any(|rule| rule.terms().is_none());
        if unreadable.holds() && unreadable.hold.is_none() && nobody {
            source.problem_with_hint(
                at,
                "unreadable output is to be held, but not every rule says who decides",
                "add to [unreadable]: hold = { approvers = \"GROUP\" }",
            );
        }
        unreadable
    }
}

/// `[recording]`: the targets on which a session goes on where the recorder fails.
fn read_recording(mut section: Section<'_, '_>, inventory: Option<&Inventory>) -> Vec<Pattern> {
    let source = section.source();
    let patterns = section.take("best_effort").and_then(read_patterns);
    section.finish();
    let patterns = patterns.unwrap_or_default();
    for pattern in &patterns {
        if pattern.value.text().bytes().all(|byte| byte == b'*') {
            source.problem_with_hint(
                pattern.at,
                "no target is named: a session that goes on unrecorded is never for all of them",
                "name the targets, or what their names have in common",
            );
        }
        let meets = |inventory: &Inventory| {
            let mut targets = inventory.iter();
            targets.any(|target| pattern.value.matches(target.name()))
        };
        if inventory.is_some_and(|inventory| !meets(inventory)) {
            source.problem_with_hint(
                pattern.at,
                format!(
                    "no target of the inventory is called \"{}\", so that this says nothing",
                    pattern.value.text
                ),
                "correct the name, or add the target first",
            );
        }
    }
    patterns.into_iter().map(|placed| placed.value).collect()
}

/// A name in which `*` stands for any characters, none too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    /// Where the first `*` is: before it, most names differ.
    star: Option<usize>,
}

impl Pattern {
    /// The pattern that is written so.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let star = text.find('*');
        Self { text, star }
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let Some((first, after)) = self.star.and_then(|at| self.text.split_at_checked(at)) else {
            return self.text == name;
        };
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts = after.split('*');
        let last = parts.next_back().unwrap_or_default();
        // What stands before the first star is nothing.
        for part in parts.skip(1) {
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
                    pattern.value.text()
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
                pattern.value.text() == "*"
                    || target
                        .logins()
                        .iter()
                        .any(|login| pattern.value.matches(login.name()))
            });
        if !met && pattern.value.text() != "*" {
            source.problem_with_hint(
                pattern.at,
                format!(
                    "no login on these targets is called \"{}\", so that this protects nothing",
                    pattern.value.text()
                ),
                "correct the name, or add the login first",
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
            source.problem_with_hint(
                placed.at,
                format!("\"{}\" can be no name", placed.value),
                "names have letters, digits, `_`, `.` and `-`, and `*` stands for anything",
            );
            return None;
        }
        patterns.push(Placed {
            at: placed.at,
            value: Pattern::new(placed.value),
        });
    }
    if patterns.is_empty() {
        source.problem_with_hint(
            at,
            "an empty list covers nothing",
            "write what it is for; [\"*\"] is everything",
        );
        return None;
    }
    Some(patterns)
}

/// `"ssn"`, or `{ name = "ssn", aliases = ["tax_id"] }`.
fn read_fields(field: Field<'_, '_>) -> Option<Vec<FieldName>> {
    let source = field.source();
    let mut fields: Vec<FieldName> = Vec::new();
    let mut fine = true;
    for field in field.list()? {
        let at = field.at();
        let Some(read) = read_field(field) else {
            fine = false;
            continue;
        };
        let known = |name: &str| {
            fields
                .iter()
                .flat_map(FieldName::all)
                .any(|known| known == name)
        };
        if let Some(twice) = read.all().find(|name| known(name)) {
            source.problem_with_hint(
                at,
                format!("the field \"{twice}\" is named a second time"),
                "take one of them away",
            );
        }
        fields.push(read);
    }
    fine.then_some(fields)
}

fn read_field(field: Field<'_, '_>) -> Option<FieldName> {
    if field.is_string() {
        let source = field.source();
        let name = is_field(source, field.placed_string()?)?;
        return Some(FieldName {
            name,
            aliases: Vec::new(),
        });
    }
    let mut section = field.section()?;
    let source = section.source();
    let name = section.required("name").and_then(Field::placed_string);
    let aliases = section.required("aliases").and_then(Field::placed_strings);
    section.finish();
    let name = is_field(source, name?)?;
    let aliases = aliases?
        .into_iter()
        .map(|placed| is_field(source, placed))
        .collect::<Option<Vec<String>>>()?;
    Some(FieldName { name, aliases })
}

/// The name, where the scanner can compare it.
fn is_field(source: &Source<'_>, placed: Placed<String>) -> Option<String> {
    let rule = scanner::Rule::new("", scanner::Action::Refuse).field(&placed.value);
    if RulesBuilder::new().rule(rule).build().is_ok() {
        return Some(placed.value);
    }
    source.problem_with_hint(
        placed.at,
        format!("\"{}\" is not a field", placed.value),
        "words with letters or digits, at most 128 bytes, with a parent before a dot where wanted: customer.phone",
    );
    None
}

/// Commands, in which `*` stands for anything.
fn read_commands(field: Field<'_, '_>) -> Option<Vec<Pattern>> {
    let (at, source) = (field.at(), field.source());
    let patterns: Vec<Pattern> = field.strings()?.into_iter().map(Pattern::new).collect();
    if patterns.is_empty() {
        source.problem_with_hint(
            at,
            "an empty list covers nothing",
            "write what it is for; [\"*\"] is everything",
        );
        return None;
    }
    Some(patterns)
}

/// `[[detector]]` with `name`, `pattern` and `checksum`.
fn read_own_detectors(root: &mut Section<'_, '_>) -> Vec<Placed<Arc<OwnDetector>>> {
    let mut detectors: Vec<Placed<Arc<OwnDetector>>> = Vec::new();
    let sections = root.take("detector").and_then(Field::sections);
    for mut section in sections.unwrap_or_default() {
        let (at, source) = (section.start(), section.source());
        let name = section.required("name").and_then(Field::text);
        let pattern = section.required("pattern").and_then(Field::placed_string);
        let checksum = match section.take("checksum") {
            Some(field) => field.word(&Checksum::ALL.map(|checksum| (checksum.name(), checksum))),
            None => Some(Checksum::None),
        };
        section.finish();
        let (Some(name), Some(pattern), Some(checksum)) = (name, pattern, checksum) else {
            continue;
        };
        let known = detectors.iter().any(|known| known.value.name == name);
        if known || name.parse::<Detector>().is_ok() {
            source.problem_with_hint(
                at,
                format!("the detector \"{name}\" exists already"),
                "give it another name",
            );
        }
        let rule = scanner::Rule::new("", scanner::Action::Refuse);
        let rule = rule.own_detector(&name, &pattern.value, checksum);
        if let Err(error) = RulesBuilder::new().rule(rule).build() {
            let reason = match error {
                RuleError::BadPattern { reason, .. } => reason,
                other => other.to_string(),
            };
            source.problem_with_hint(
                pattern.at,
                format!("this pattern cannot be used: {reason}"),
                "what it matches has 3 to 256 bytes and stays in one line: '\\bB-[0-9]{6}\\b'",
            );
            continue;
        }
        let value = Arc::new(OwnDetector {
            name,
            pattern: pattern.value,
            checksum,
        });
        detectors.push(Placed { at, value });
    }
    detectors
}

/// A detector that no rule names detects nothing.
fn check_use(source: &Source<'_>, own: &[Placed<Arc<OwnDetector>>], rules: &[Rule]) {
    for detector in own {
        let used = rules.iter().any(|rule| match &rule.finds {
            Finds::Values { detect, .. } => detect.contains(&Detect::Own(detector.value.clone())),
            Finds::Output | Finds::Commands(_) => false,
        });
        if !used {
            source.problem_with_hint(
                detector.at,
                format!("no rule uses the detector \"{}\"", detector.value.name),
                format!("write detect = [\"{}\"] in a rule", detector.value.name),
            );
        }
    }
}

fn read_detectors(field: Field<'_, '_>, own: &[Placed<Arc<OwnDetector>>]) -> Option<Vec<Detect>> {
    let source = field.source();
    let mut known: Vec<&str> = Vec::new();
    known.extend(Detector::ALL.map(Detector::name));
    known.extend(own.iter().map(|own| own.value.name.as_str()));
    let mut detectors = Vec::new();
    let mut fine = true;
    for placed in field.placed_strings()? {
        let ours = own.iter().find(|own| own.value.name == placed.value);
        match (placed.value.parse(), ours) {
            (_, Some(own)) => detectors.push(Detect::Own(own.value.clone())),
            (Ok(detector), None) => detectors.push(Detect::Known(detector)),
            (Err(_), None) => {
                let hint = match nearest(&placed.value, known.iter().copied()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("there are {}", known.join(", ")),
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
fn read_action(field: Field<'_, '_>, rule: &Arc<str>) -> Option<(Action, Scope)> {
    if field.is_string() {
        field.word(&[("refuse", ())])?;
        return Some((Action::Refuse, Scope::Record));
    }
    let (at, source) = (field.at(), field.source());
    let mut section = field.section()?;
    let mask = section.take("mask");
    let stable = section.take("stable");
    let hold = section.take("hold");
    section.finish();
    match (mask, hold) {
        (Some(mask), None) => {
            read_mask(mask, stable).map(|mask| (Action::Mask(mask), Scope::Record))
        }
        (None, Some(hold)) => {
            read_hold(hold, rule).map(|(terms, scope)| (Action::Hold(terms), scope))
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

/// `{ approvers = "GROUP", count = 1, expires = "4h", scope = "record" }`.
fn read_hold(field: Field<'_, '_>, rule: &Arc<str>) -> Option<(HoldTerms, Scope)> {
    let mut section = field.section()?;
    let approvers = section.required("approvers").and_then(Field::text);
    let count = match section.take("count") {
        Some(field) => field.count(1..=APPROVALS_MAX),
        None => Some(1),
    };
    let expires = match section.take("expires") {
        Some(field) => field.duration(EXPIRES_MIN..=EXPIRES_MAX),
        None => Some(EXPIRES),
    };
    let scope = match section.take("scope") {
        Some(field) => field.word(&[("record", Scope::Record), ("output", Scope::Output)]),
        None => Some(Scope::Record),
    };
    section.finish();
    let terms = HoldTerms {
        rule: Arc::clone(rule),
        approvers: approvers?.into(),
        count: count?,
        expires: expires?,
    };
    Some((terms, scope?))
}

fn mask_name(mask: Mask) -> &'static str {
    if mask == Mask::StableToken {
        return "stable token";
    }
    MASKS
        .iter()
        .find(|(_, known)| *known == mask)
        .map_or("mask", |(name, _)| name)
}

const MASKS: [(&str, Mask); 5] = [
    ("redact", Mask::Redact),
    ("last4", Mask::Last4),
    ("token", Mask::Token),
    ("format", Mask::Format),
    ("drop", Mask::Drop),
];

fn read_mask(mask: Field<'_, '_>, stable: Option<Field<'_, '_>>) -> Option<Mask> {
    let mask = mask.word(&MASKS)?;
    let Some(stable) = stable else {
        return Some(mask);
    };
    let (at, source) = (stable.at(), stable.source());
    match (mask, stable.bool()?) {
        (_, false) => Some(mask),
        (Mask::Token, true) => Some(Mask::StableToken),
        (_, true) => {
            source.problem_with_hint(
                at,
                "stable belongs to mask = \"token\"",
                "leave it out, or write { mask = \"token\", stable = true }",
            );
            None
        }
    }
}

/// How long a hold waits, unless its rule says otherwise (limits.md).
const EXPIRES: Duration = Duration::from_secs(4 * 60 * 60);
const EXPIRES_MIN: Duration = Duration::from_secs(1);
const EXPIRES_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Nobody finds more people than this.
const APPROVALS_MAX: u64 = 10;
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
        Protect::parse(
            Path::new("protect.toml"),
            text,
            Some(&targets),
            StableKey::MadeUp,
        )
    }

    fn groups(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    impl Protect {
        /// What the scanner looks for in the output of a channel.
        fn rules(
            &self,
            target: &str,
            login: &str,
            groups: &BTreeSet<String>,
            channel: Channel,
        ) -> Result<Arc<Rules>, RuleError> {
            self.protection(target, login, groups, channel, None)
                .map(|protection| protection.rules)
        }
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
                Step::Hold { .. } | Step::Held { .. } | Step::Sealed { .. } => {
                    panic!("nothing is held")
                }
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
            assert_eq!(Pattern::new(pattern).matches(name), met, "{pattern} {name}");
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
        let mask = "[[rule]]\nname = \"m\"\ntargets = [\"*\"]\nfields = [\"ssn\", \"email\"]\naction = { mask = \"redact\" }\n";
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

    /// `pass` opens what cannot be read where rules only mask; the stricter rules stay.
    #[test]
    fn what_is_not_read_passes_only_where_nothing_stricter_covers_it() {
        let mask = "[[rule]]\nname = \"m\"\ntargets = [\"*\"]\nfields = [\"ssn\"]\naction = { mask = \"redact\" }\nexempt = [\"privacy\"]\n";
        let refuse = "[[rule]]\nname = \"r\"\ntargets = [\"pay\"]\nfields = [\"salary\"]\naction = \"refuse\"\n";
        let commands = "[[rule]]\nname = \"c\"\ntargets = [\"*\"]\ncommands = [\"reboot\"]\naction = \"refuse\"\n";
        let pass = "[unreadable]\nsftp = \"pass\"\nforward = \"pass\"\n";
        for (text, target, login, member_of, channel, passes) in [
            ("", "pay", "payroll", None, Channel::Forward, true),
            (commands, "pay", "payroll", None, Channel::Forward, true),
            (mask, "pay", "payroll", None, Channel::Sftp, false),
            (mask, "pay", "payroll", Some("privacy"), Channel::Sftp, true),
            (
                &format!("{mask}{pass}"),
                "pay",
                "payroll",
                None,
                Channel::Sftp,
                true,
            ),
            (
                &format!("{mask}{pass}"),
                "pay",
                "payroll",
                None,
                Channel::Forward,
                true,
            ),
            (
                &format!("{mask}{pass}"),
                "pay",
                "payroll",
                None,
                Channel::Agent,
                false,
            ),
            (
                &format!("{mask}{refuse}{pass}"),
                "pay",
                "payroll",
                None,
                Channel::Sftp,
                false,
            ),
            (
                &format!("{mask}{refuse}{pass}"),
                "orders-db",
                "postgres",
                None,
                Channel::Sftp,
                true,
            ),
        ] {
            let protect = parse(text).unwrap();
            let member_of = groups(member_of.as_slice());
            let protection = protect
                .protection(target, login, &member_of, channel, None)
                .unwrap();
            let passed = protection.unread == Unread::Passes;
            assert_eq!(passed, passes, "{channel:?} on {login}@{target}\n{text}");
            assert_eq!(
                protect.unread_at(target, login, &member_of, channel),
                protection.unread
            );
            // Nothing in packets is taken for text.
            assert!(protection.rules.is_empty());
        }
        for key in ["sftp", "forward", "agent"] {
            let error = parse(&format!("[unreadable]\n{key} = \"hold\"\n"))
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains("it may be \"pass\", \"refuse\""),
                "{key}: {error}"
            );
        }
    }

    /// Opt-in: a token is of its session, or of the field and the key in the operator's file.
    #[test]
    fn stable_tokens_are_the_same_in_all_sessions() {
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str, byte: u8| {
            let path = folder.path().join(name);
            std::fs::write(&path, [byte; 32]).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode).unwrap();
            path
        };
        let (one, two) = (key("one", 1), key("two", 2));
        let token = |stable: &str, key: &Path, session: &str, field: &str| {
            let text = rule(&format!(
                "fields = [\"ssn\", \"phone\"]\naction = {{ mask = \"token\"{stable} }}"
            ));
            let protect =
                Protect::parse(Path::new("protect.toml"), &text, None, StableKey::File(key))
                    .unwrap();
            let rules = protect
                .rules("orders-db", "postgres", &groups(&[]), Channel::Exec)
                .unwrap();
            let mut scanner =
                Scanner::new(rules, Options::default()).with_session(session.as_bytes());
            let text = format!("{{\"{field}\": \"078-05-1120\"}}\n");
            scanner.feed(Stream::Stdout, Raw::new(text.into()));
            scanner.end();
            let mut seen = String::new();
            while let Some(Step::Pass { bytes, .. }) = scanner.next_step() {
                seen.push_str(std::str::from_utf8(bytes.as_bytes()).unwrap());
            }
            assert!(seen.contains("tok_") && !seen.contains("078-05"), "{seen}");
            seen.split('"').nth(3).unwrap_or_default().to_owned()
        };
        let stable = ", stable = true";
        let token_of = |key, session, field| token(stable, key, session, field);
        assert_eq!(token_of(&one, "a", "ssn"), token_of(&one, "b", "ssn"));
        assert_eq!(
            token_of(&one, "a", "ssn"),
            token_of(&one, "b", "customer_ssn")
        );
        assert_ne!(token_of(&one, "a", "ssn"), token_of(&one, "a", "phone"));
        assert_ne!(token_of(&one, "a", "ssn"), token_of(&two, "a", "ssn"));
        for unstable in ["", ", stable = false"] {
            let token_of = |session| token(unstable, &one, session, "ssn");
            assert_ne!(token_of("a"), token_of("b"));
        }
    }

    /// Only what is named goes on unrecorded.
    #[test]
    fn a_recorder_that_fails_ends_sessions_but_on_targets_that_are_named() {
        let protect = parse("[recording]\nbest_effort = [\"orders-*\"]\n").unwrap();
        assert_eq!(protect.recording("orders-db"), RecordingMode::BestEffort);
        assert_eq!(protect.recording("payroll-1"), RecordingMode::Strict);
        let nothing = parse("").unwrap();
        assert_eq!(nothing.recording("orders-db"), RecordingMode::Strict);
    }

    #[test]
    fn stable_tokens_need_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let parse = |text: &str, key: &Path| {
            Protect::parse(Path::new("protect.toml"), text, None, StableKey::File(key))
                .map(drop)
                .map_err(|problems| problems.to_string())
        };
        let stable = format!(
            "\n{}",
            rule("fields = [\"ssn\"]\naction = { mask = \"token\", stable = true }")
        );
        let missing = folder.path().join("missing");
        let error = parse(&stable, &missing).unwrap_err();
        assert!(
            error.starts_with("protect.toml:2:1: a stable token needs a key: cannot read")
                && error.contains("(masks.key_file), or leave out stable"),
            "{error}"
        );
        let short = folder.path().join("short");
        std::fs::write(&short, "short").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&short, mode).unwrap();
        let error = parse(&stable, &short).unwrap_err();
        assert!(
            error.contains("is no key: 32 bytes or 64 hexadecimal digits"),
            "{error}"
        );
        // Nobody else needs one.
        let other = rule("fields = [\"ssn\"]\naction = { mask = \"token\" }");
        assert_eq!(parse(&other, &missing), Ok(()));
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
                rule("fields = [\"ssn\"]\naction = { mask = \"last4\", stable = true }"),
                "stable belongs to",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { hold = {} }"),
                "the key `rule[0].action.hold.approvers` is missing",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { hold = { approvers = \" \" } }"),
                "`rule[0].action.hold.approvers` is empty",
            ),
            (
                rule("fields = [\"ssn\"]\naction = { hold = { approvers = \"g\", count = 0 } }"),
                "is 0, which is not in 1 to 10",
            ),
            (
                rule(
                    "fields = [\"ssn\"]\naction = { hold = { approvers = \"g\", expires = \"31d\" } }",
                ),
                "which is not in 1s to 30d",
            ),
            (
                rule(
                    "fields = [\"ssn\"]\naction = { hold = { approvers = \"g\", scope = \"output\" } }",
                ),
                "holds the whole output, so that fields and detect mean nothing",
            ),
            (
                rule("commands = [\"rm *\"]\naction = { mask = \"redact\" }"),
                "cannot mask a command",
            ),
            (
                rule("commands = [\"rm *\"]\nfields = [\"ssn\"]\naction = \"refuse\""),
                "looks at commands and at output",
            ),
            (
                rule(
                    "commands = [\"rm *\"]\naction = { hold = { approvers = \"g\", scope = \"output\" } }",
                ),
                "holds commands, so that scope means nothing",
            ),
            (
                rule("commands = []\naction = \"refuse\""),
                "an empty list covers nothing",
            ),
            (
                rule(&format!(
                    "fields = [{{ name = \"ssn\", aliases = [\"--\"] }}]\n{redact}"
                )),
                "4:38: \"--\" is not a field",
            ),
            (
                rule(&format!(
                    "fields = [\"ssn\", {{ name = \"tax\", aliases = [\"ssn\"] }}]\n{redact}"
                )),
                "the field \"ssn\" is named a second time",
            ),
            (
                "[recording]\nbest_effort = [\"oders-*\"]\n".to_owned(),
                "2:16: no target of the inventory is called \"oders-*\"",
            ),
            (
                "[recording]\nbest_effort = [\"*\"]\n".to_owned(),
                "2:16: no target is named",
            ),
            (
                "[recording]\nbest_effort = []\n".to_owned(),
                "an empty list covers nothing",
            ),
            (
                "[recording]\nmode = \"best-effort\"\n".to_owned(),
                "unknown key `recording.mode`",
            ),
            (
                format!(
                    "{}[unreadable]\nexec = \"hold\"\n",
                    rule(&format!("fields = [\"ssn\"]\n{redact}"))
                ),
                "not every rule says who decides",
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

    #[test]
    fn holds_carry_their_terms() {
        let protect = parse(
            "[[rule]]\nname = \"rows\"\ntargets = [\"pay\"]\nfields = [\"salary\"]\n\
             action = { hold = { approvers = \"leads\" } }\n\
             [[rule]]\nname = \"all\"\ntargets = [\"pay\"]\nexempt = [\"payroll\"]\n\
             action = { hold = { approvers = \"heads\", count = 2, expires = \"30m\", scope = \"output\" } }\n\
             [unreadable]\nexec = \"hold\"\n",
        )
        .unwrap();
        let protection = |groups: &[&str], channel| {
            protect
                .protection("pay", "payroll", &self::groups(groups), channel, None)
                .unwrap()
        };
        let all = protection(&[], Channel::Exec);
        let seen: Vec<_> = all
            .holds
            .iter()
            .map(|terms| {
                (
                    terms.rule(),
                    terms.approvers(),
                    terms.count(),
                    terms.expires(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("all", "heads", 2, Duration::from_secs(1_800)),
                ("rows", "leads", 1, Duration::from_secs(14_400)),
            ]
        );
        assert_eq!(all.rules.rule_name(0), Some("all"));
        assert_eq!(
            all.unreadable.as_ref().map(HoldTerms::approvers),
            Some("heads")
        );
        // An exemption takes away its own rule and nothing else.
        let exempt = protection(&["payroll"], Channel::Exec);
        assert_eq!(exempt.holds.len(), 1);
        assert_eq!(
            exempt.unreadable.as_ref().map(HoldTerms::approvers),
            Some("leads")
        );
        assert_eq!(protection(&[], Channel::Shell).unreadable, None);
        assert!(protect.holds());
    }

    #[test]
    fn commands_are_held_and_refused_before_they_run() {
        let protect = parse(
            "[[rule]]\nname = \"dumps\"\ntargets = [\"orders-*\"]\ncommands = [\"*pg_dump*\"]\n\
             action = { hold = { approvers = \"leads\" } }\n\
             [[rule]]\nname = \"never\"\ntargets = [\"orders-*\"]\ncommands = [\"*drop table*\", \"reboot\"]\naction = \"refuse\"\n",
        )
        .unwrap();
        for (command, wanted) in [
            ("psql -c 'select 1'", "run"),
            ("/usr/bin/pg_dump orders", "hold dumps leads"),
            ("pg_dump orders; drop table x", "refuse never"),
            ("reboot", "refuse never"),
            ("reboot now", "run"),
            ("echo\nreboot", "run"),
            ("echo\npg_dump\n", "hold dumps leads"),
        ] {
            let protection = protect
                .protection(
                    "orders-db",
                    "postgres",
                    &groups(&[]),
                    Channel::Exec,
                    Some(command.as_bytes()),
                )
                .unwrap();
            let verdict = match &protection.command {
                CommandVerdict::Run => "run".to_owned(),
                CommandVerdict::Hold(terms) => {
                    format!("hold {} {}", terms.rule(), terms.approvers())
                }
                CommandVerdict::Refuse(rule) => format!("refuse {rule}"),
            };
            assert_eq!(verdict, wanted, "{command}");
            // Rules about commands say nothing about output.
            assert!(!protection.covered && protection.rules.is_empty());
        }
    }

    #[test]
    fn aliases_are_names_of_the_same_field() {
        let protect = parse(&rule(
            "fields = [{ name = \"salary\", aliases = [\"gehalt\", \"employee.pay\"] }]\naction = { mask = \"redact\" }",
        ))
        .unwrap();
        let rules = protect
            .rules("orders-db", "postgres", &groups(&[]), Channel::Exec)
            .unwrap();
        let (seen, _) = scan(
            &rules,
            "{\"salary\": \"1111\", \"Gehalt\": \"2222\", \"employee_pay\": \"3333\", \"pay\": \"4444\"}\n",
        );
        assert!(
            !seen.contains("1111") && !seen.contains("2222") && !seen.contains("3333"),
            "{seen}"
        );
        assert!(seen.contains("4444"), "{seen}");
    }

    #[test]
    fn own_detectors_are_named_by_rules() {
        let detector = "[[detector]]\nname = \"badge\"\npattern = '\\bB-[0-9]{6}\\b'\n";
        let redact = "action = { mask = \"redact\" }";
        let protect = parse(&format!(
            "{detector}{}",
            rule(&format!("detect = [\"badge\", \"email\"]\n{redact}"))
        ))
        .unwrap();
        let rules = protect
            .rules("orders-db", "postgres", &groups(&[]), Channel::Exec)
            .unwrap();
        let (seen, _) = scan(&rules, "seen B-123456 and B-12345\n");
        assert!(
            !seen.contains("B-123456") && seen.contains("B-12345\n"),
            "{seen}"
        );
        let luhn = format!("{}checksum = \"luhn\"\n", detector.replace("B-", "7"));
        let protect = parse(&format!(
            "{luhn}{}",
            rule(&format!("detect = [\"badge\"]\n{redact}"))
        ))
        .unwrap();
        let rules = protect
            .rules("orders-db", "postgres", &groups(&[]), Channel::Exec)
            .unwrap();
        let (seen, _) = scan(&rules, "number 7992739 here and 7992738 there\n");
        assert!(
            seen.contains("7992738") != seen.contains("7992739"),
            "{seen}"
        );
        for (text, wanted) in [
            (detector.to_owned(), "no rule uses the detector \"badge\""),
            (
                format!(
                    "{detector}{}",
                    rule(&format!("detect = [\"bagde\"]\n{redact}"))
                ),
                "(did you mean \"badge\"?)",
            ),
            (
                format!(
                    "{detector}{detector}{}",
                    rule(&format!("detect = [\"badge\"]\n{redact}"))
                ),
                "the detector \"badge\" exists already",
            ),
            (
                detector.replace("badge", "email"),
                "the detector \"email\" exists already",
            ),
            (
                detector.replace("{6}", "+"),
                "3:11: this pattern cannot be used: ",
            ),
            (
                format!("{detector}checksum = \"crc\"\n"),
                "it may be \"none\", \"luhn\"",
            ),
        ] {
            let found = parse(&text).map(drop).expect_err(&text).to_string();
            assert!(found.contains(wanted), "{text}\ngave\n{found}");
        }
    }
}
