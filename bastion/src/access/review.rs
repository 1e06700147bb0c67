//! Mistakes that no single rule shows: rules that others leave nothing to, and approvers who cannot
//! approve or are nobody else than the producers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::Action as Asked;
use super::cedar::{Engine, Place};
use super::protect::{Finds, HoldTerms, Pattern, Protect, Rule};
use crate::config::Problem;
use crate::target::Inventory;

impl Protect {
    /// Rules that can never decide anything, since a stricter or earlier one finds all that they
    /// find, wherever and for whomever they are in force.
    pub(super) fn check_shadows(&self, inventory: Option<&Inventory>) -> Vec<Problem> {
        let mut order: Vec<&Rule> = self.rules.iter().collect();
        order.sort_by_key(|rule| rule.strictness());
        let mut by_key: HashMap<String, Vec<&Rule>> = HashMap::new();
        let mut problems = Vec::new();
        for rule in order {
            let first = keys(rule).into_iter().next().unwrap_or_default();
            let candidates = by_key.get(&first).into_iter().flatten();
            let whole = by_key.get(WHOLE).into_iter().flatten();
            let shadow = candidates
                .chain(whole)
                .find(|other| shadows(other, rule, inventory));
            if let Some(other) = shadow {
                problems.push(
                    self.problem(
                        rule.at,
                        format!(
                            "the rule \"{}\" can never decide anything: the rule \"{}\" finds all that it finds, and comes first",
                            rule.name, other.name
                        ),
                    )
                    .hint("of several rules the stricter wins, then the earlier; take one of them away, or put it first"),
                );
            }
            for key in keys(rule) {
                by_key.entry(key).or_default().push(rule);
            }
        }
        problems
    }

    /// Holds that nobody could decide on, or only those who produce them.
    pub(super) fn check_approvers(&self, inventory: &Inventory, engine: &Engine) -> Vec<Problem> {
        let alike = engine.alike(inventory);
        let mut problems = Vec::new();
        for rule in &self.rules {
            let Some(terms) = rule.terms() else { continue };
            let what = format!("the rule \"{}\"", rule.name);
            let accounts = kinds(&alike, |login, target| rule.covers(target, login));
            problems.extend(self.check_terms((&what, rule.at), terms, &accounts, engine));
        }
        if let Some((terms, at)) = self.unreadable_terms() {
            let about_output = || self.rules.iter().filter(|rule| rule.is_about_output());
            let accounts = kinds(&alike, |login, target| {
                about_output().any(|rule| rule.covers(target, login))
            });
            problems.extend(self.check_terms(("[unreadable]", at), terms, &accounts, engine));
        }
        problems
    }

    fn check_terms(
        &self,
        (what, at): (&str, usize),
        terms: &HoldTerms,
        accounts: &[Place<'_>],
        engine: &Engine,
    ) -> Option<Problem> {
        if accounts.is_empty() || accounts.len() > KINDS_MAX {
            return None;
        }
        let approvers = terms.approvers();
        let may_approve = accounts.iter().any(|account| {
            engine
                .groups_that_may(&[Asked::Approve], *account)
                .is_none_or(|groups| groups.contains(approvers))
        });
        if !may_approve {
            return Some(
                self.problem(
                    at,
                    format!(
                        "nobody in \"{approvers}\" could approve what {what} holds: no policy permits it"
                    ),
                )
                .hint(format!(
                    "permit (principal in Group::\"{approvers}\", action == Action::\"approve\", resource);"
                )),
            );
        }
        let mut producers = BTreeSet::new();
        for account in accounts {
            producers.extend(engine.groups_that_may(&PRODUCING, *account)?);
        }
        (producers.len() == 1 && producers.contains(approvers)).then(|| {
            self.problem(
                at,
                format!(
                    "the approvers of {what} are its producers: only \"{approvers}\" can work on what it covers"
                ),
            )
            .hint("name a group of other people as approvers")
        })
    }
}

impl Engine {
    /// Requests that nobody could approve.
    pub(super) fn check_requests(
        &self,
        inventory: &Inventory,
        files: &[(PathBuf, String)],
    ) -> Vec<Problem> {
        let alike = self.alike(inventory);
        let mut problems = Vec::new();
        for asking in self.asking() {
            let accounts = kinds(&alike, |login, target| {
                asking.covers(login, target, inventory)
            });
            if accounts.is_empty() || accounts.len() > KINDS_MAX {
                continue;
            }
            // Whoever decides is in each of the groups, so that a permit for any of them is enough.
            let may_approve = accounts.iter().any(|account| {
                self.groups_that_may(&[Asked::Approve], *account)
                    .is_none_or(|groups| !groups.is_disjoint(asking.approvers))
            });
            if may_approve {
                continue;
            }
            let group = asking.approvers.iter().next().map_or("", String::as_str);
            let message = format!(
                "nobody in \"{group}\" could approve what may be asked for here: no policy permits it"
            );
            let hint = format!(
                "permit (principal in Group::\"{group}\", action == Action::\"approve\", resource);"
            );
            if let Some((file, text)) = files.get(asking.file) {
                problems.push(Problem::at(file, text, asking.at, message).hint(hint));
            }
        }
        problems
    }
}

/// One account of each kind that policies tell apart, among those that are wanted.
fn kinds<'a>(alike: &[(Place<'a>, usize)], wanted: impl Fn(&str, &str) -> bool) -> Vec<Place<'a>> {
    let mut seen = HashSet::new();
    alike
        .iter()
        .filter(|((login, target, _), kind)| {
            !seen.contains(kind) && wanted(login, target) && seen.insert(*kind)
        })
        .map(|(account, _)| *account)
        .collect()
}

/// Whether `other`, which comes first, leaves nothing to `rule`.
fn shadows(other: &Rule, rule: &Rule, inventory: Option<&Inventory>) -> bool {
    other.exempt.is_subset(&rule.exempt)
        && finds_all(other, rule)
        && reaches_all(other, rule, inventory)
}

fn finds_all(other: &Rule, rule: &Rule) -> bool {
    match (&other.finds, &rule.finds) {
        (
            Finds::Values { fields, detect, .. },
            Finds::Values {
                fields: theirs,
                detect: detected,
                ..
            },
        ) => {
            let mut names = theirs.iter().flat_map(|field| field.all());
            detected.iter().all(|detector| detect.contains(detector))
                && names.all(|name| {
                    let mut known = fields.iter().flat_map(|field| field.all());
                    known.any(|known| is_part(known, name))
                })
        }
        // What is held anyway is still masked by other rules.
        (Finds::Output, Finds::Output) => true,
        (Finds::Output, Finds::Values { .. }) => rule.terms().is_some(),
        (Finds::Commands(patterns), Finds::Commands(theirs)) => theirs.iter().all(|theirs| {
            patterns
                .iter()
                .any(|pattern| pattern.matches(theirs.text()))
        }),
        _ => false,
    }
}

fn reaches_all(other: &Rule, rule: &Rule, inventory: Option<&Inventory>) -> bool {
    let all = |wide: &[Pattern], narrow: &[Pattern]| {
        narrow
            .iter()
            .all(|narrow| wide.iter().any(|wide| wide.matches(narrow.text())))
    };
    // What stands for a star in the one stands for it in the other.
    if all(&other.targets, &rule.targets) && all(&other.logins, &rule.logins) {
        return true;
    }
    inventory.is_some_and(|inventory| {
        accounts(rule, inventory)
            .iter()
            .all(|(login, target, _)| other.covers(target, login))
    })
}

/// The accounts that a rule covers.
fn accounts<'a>(rule: &Rule, inventory: &'a Inventory) -> Vec<Place<'a>> {
    inventory
        .iter()
        .flat_map(|target| {
            target
                .logins()
                .iter()
                .map(move |login| (login.name(), target.name(), target.labels()))
        })
        .filter(|(login, target, _)| rule.covers(target, login))
        .collect()
}

/// What rules that find the same have in common: the last word of each field, each detector.
fn keys(rule: &Rule) -> Vec<String> {
    match &rule.finds {
        Finds::Values { fields, detect, .. } => fields
            .iter()
            .flat_map(|field| field.all())
            .map(|name| words(name).pop().unwrap_or_default())
            .chain(detect.iter().map(|detect| format!("={}", detect.name())))
            .collect(),
        Finds::Output => vec![WHOLE.to_owned()],
        Finds::Commands(_) => vec!["=commands".to_owned()],
    }
}

/// Whether whatever is called `name` is also found by the field `known`.
fn is_part(known: &str, name: &str) -> bool {
    match (known.contains('.'), words(known), words(name)) {
        (true, known, name) => known == name,
        (false, known, name) => name.ends_with(&known),
    }
}

/// A name as the scanner splits it: at case changes and at everything that is no letter or digit.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = ' ';
    for character in name.chars() {
        if character.is_alphanumeric() {
            let begins =
                !last.is_alphanumeric() || (last.is_lowercase() && character.is_uppercase());
            if begins {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(character.to_lowercase());
            }
        }
        last = character;
    }
    words
}

const WHOLE: &str = "=output";
/// With what output comes to be.
const PRODUCING: [Asked; 4] = [Asked::Shell, Asked::Exec, Asked::SftpRead, Asked::SftpWrite];
/// Rules that cover more kinds of accounts are not checked for their approvers: it takes too long at
/// start.
const KINDS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::path::Path;

    use super::super::StableKey;
    use super::*;
    use crate::target::tests::inventory;

    const MASK: &str = "action = { mask = \"redact\" }";

    fn shadowed(text: &str) -> Option<String> {
        let targets = inventory(&[
            ("db-1", "app", &[]),
            ("db-2", "app", &[]),
            ("web", "app", &[]),
        ]);
        match Protect::parse(
            Path::new("protect.toml"),
            text,
            Some(&targets),
            StableKey::MadeUp,
        ) {
            Ok(_) => None,
            Err(problems) => Some(problems.to_string()),
        }
    }

    fn two(first: &str, second: &str) -> String {
        format!("[[rule]]\nname = \"a\"\n{first}\n[[rule]]\nname = \"b\"\n{second}\n")
    }

    #[test]
    fn a_rule_that_another_leaves_nothing_to_is_a_mistake() {
        let all = "targets = [\"*\"]";
        for (first, second, wanted) in [
            (
                format!("{all}\nfields = [\"ssn\"]\n{MASK}"),
                format!("{all}\nfields = [\"ssn\"]\naction = {{ mask = \"last4\" }}"),
                Some("\"b\" can never decide anything: the rule \"a\""),
            ),
            // The stricter one comes first, wherever it stands.
            (
                format!("{all}\nfields = [\"ssn\"]\n{MASK}"),
                format!("{all}\nfields = [\"ssn\"]\naction = \"refuse\""),
                Some("\"a\" can never decide anything: the rule \"b\""),
            ),
            (
                format!("{all}\nfields = [\"number\"]\n{MASK}"),
                format!("targets = [\"db-*\"]\nfields = [\"card_number\"]\n{MASK}"),
                Some("\"b\" can never"),
            ),
            (
                format!("{all}\nfields = [\"card_number\"]\n{MASK}"),
                format!("{all}\nfields = [\"number\"]\n{MASK}"),
                None,
            ),
            (
                format!("targets = [\"db-1\", \"db-2\"]\nfields = [\"ssn\"]\n{MASK}"),
                format!("targets = [\"db-*\"]\nfields = [\"ssn\"]\n{MASK}"),
                Some("\"b\" can never"),
            ),
            (
                format!("targets = [\"db-1\"]\nfields = [\"ssn\"]\n{MASK}"),
                format!("targets = [\"db-*\"]\nfields = [\"ssn\"]\n{MASK}"),
                None,
            ),
            // For those who are exempt from the first, the second decides.
            (
                format!("{all}\nfields = [\"ssn\"]\n{MASK}\nexempt = [\"privacy\"]"),
                format!("{all}\nfields = [\"ssn\"]\naction = {{ mask = \"last4\" }}"),
                None,
            ),
            (
                format!("{all}\nfields = [\"ssn\"]\n{MASK}"),
                format!("{all}\nfields = [\"ssn\", \"email\"]\naction = {{ mask = \"last4\" }}"),
                None,
            ),
            (
                format!("{all}\ndetect = [\"iban\", \"email\"]\n{MASK}"),
                format!("{all}\ndetect = [\"email\"]\n{MASK}"),
                Some("\"b\" can never"),
            ),
            (
                format!("{all}\ncommands = [\"*dump*\"]\naction = \"refuse\""),
                format!("{all}\ncommands = [\"pg_dump x\"]\naction = \"refuse\""),
                Some("\"b\" can never"),
            ),
        ] {
            let found = shadowed(&two(&first, &second));
            match wanted {
                None => assert_eq!(found, None, "{first}\n{second}"),
                Some(wanted) => {
                    let found = found.unwrap();
                    assert!(found.contains(wanted), "{first}\n{second}\n{found}");
                }
            }
        }
    }

    #[test]
    fn approvers_can_approve_and_are_others_than_the_producers() {
        let rule = "[[rule]]\nname = \"pay\"\ntargets = [\"db-1\"]\nfields = [\"salary\"]\naction = { hold = { approvers = \"leads\" } }\n";
        let targets = inventory(&[("db-1", "app", &["pay"]), ("db-2", "app", &[])]);
        let protect = Protect::parse(
            Path::new("protect.toml"),
            rule,
            Some(&targets),
            StableKey::MadeUp,
        )
        .unwrap();
        let work = |group| {
            format!(
                "permit (principal in Group::\"{group}\", action == Action::\"exec\", resource in Label::\"pay\");"
            )
        };
        let approve = |group| {
            format!(
                "permit (principal in Group::\"{group}\", action == Action::\"approve\", resource);"
            )
        };
        for (policies, wanted) in [
            (vec![work("staff"), approve("leads")], ""),
            (
                vec![work("staff"), approve("heads")],
                "nobody in \"leads\" could approve",
            ),
            (vec![work("staff")], "nobody in \"leads\" could approve"),
            // Of one person nobody knows the groups.
            (
                vec![
                    work("staff"),
                    "permit (principal == User::\"i#s\", action == Action::\"approve\", resource);"
                        .to_owned(),
                ],
                "",
            ),
            (
                vec![work("leads"), approve("leads")],
                "the approvers of the rule \"pay\" are its producers",
            ),
            (vec![work("leads"), work("staff"), approve("leads")], ""),
            (vec!["permit (principal, action, resource);".to_owned()], ""),
        ] {
            let engine =
                Engine::new(&[(PathBuf::from("access.cedar"), policies.join("\n"))]).unwrap();
            let found: Vec<String> = protect
                .check_approvers(&targets, &engine)
                .iter()
                .map(ToString::to_string)
                .collect();
            let found = found.join("\n");
            assert_eq!(found.is_empty(), wanted.is_empty(), "{policies:?}\n{found}");
            assert!(found.contains(wanted), "{policies:?}\n{found}");
            assert!(
                found.is_empty() || found.starts_with("protect.toml:1:1: "),
                "{found}"
            );
        }
    }

    /// A rule over a whole fleet is checked, too.
    #[test]
    fn accounts_that_no_policy_tells_apart_count_once() {
        let names: Vec<String> = (0..=KINDS_MAX).map(|n| format!("db-{n}")).collect();
        let fleet: Vec<(&str, &str, &[&str])> = names
            .iter()
            .map(|name| (name.as_str(), "app", &["pay"][..]))
            .collect();
        let targets = inventory(&fleet);
        let protect = Protect::parse(
            Path::new("protect.toml"),
            "[[rule]]\nname = \"pay\"\ntargets = [\"*\"]\nfields = [\"salary\"]\naction = { hold = { approvers = \"leads\" } }\n",
            Some(&targets),
            StableKey::MadeUp,
        )
        .unwrap();
        let work = "permit (principal in Group::\"staff\", action == Action::\"exec\", resource in Label::\"pay\");";
        let engine = Engine::new(&[(PathBuf::from("access.cedar"), work.to_owned())]).unwrap();
        let found = protect.check_approvers(&targets, &engine);
        assert_eq!(found.len(), 1);
    }
}
