//! How long a decision takes among many policies and targets, and how long many rules take to load.
//!
//! `cargo bench -p bastion --bench policies`; the percentiles are printed before criterion's means.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops where its preparation fails, and prints"
)]

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bastion::access::{Access, Action, Kind, Person, Question, SamePerson, StableKey};
use bastion::target::{Inventory, UserCa};
use criterion::{Criterion, criterion_group, criterion_main};

const POLICIES: usize = 1_000;
const TARGETS: usize = 10_000;
const TEAMS: usize = 900;
const RULES: usize = 1_000;
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

/// What the conditions of the policies for everybody begin with.
#[derive(Clone, Copy, Debug)]
enum Everybody {
    /// A network each.
    Networks,
    /// Networks, times of the day, ages of the sign-in, days, kinds of users and commands in turn.
    Mixed,
}

impl Everybody {
    fn condition(self, number: usize) -> String {
        let network = format!("context.source.isInRange(ip(\"192.0.{number}.0/24\"))");
        match (self, number % 6) {
            (Self::Networks, _) | (Self::Mixed, 0) => network,
            (Self::Mixed, 1) => {
                format!("context.now.offset(duration(\"{number}m\")).toTime() < duration(\"7h\")")
            }
            (Self::Mixed, 2) => format!("context.sign_in_age > duration(\"{number}h\")"),
            (Self::Mixed, 3) => "context.weekday > 5".to_owned(),
            (Self::Mixed, 4) => format!("principal.service && {network}"),
            (Self::Mixed, _) => {
                format!("context has command && context.command == \"reboot {number}\"")
            }
        }
    }
}

/// 900 teams with their label, 60 accounts by name, 40 policies for everybody with a condition.
fn cedar(everybody: Everybody) -> String {
    let mut text = String::new();
    for team in 0..TEAMS {
        text.push_str(&format!(
            "@id(\"team-{team}\") permit (principal in Group::\"team-{team}\", action in [Action::\"shell\", Action::\"exec\"], resource in Label::\"team-{team}\") when {{ context.sign_in_age <= duration(\"8h\") }};\n"
        ));
    }
    for account in 0..60 {
        text.push_str(&format!(
            "@id(\"account-{account}\") permit (principal in Group::\"on-call\", action == Action::\"exec\", resource == Account::\"root@t-{account}\");\n"
        ));
    }
    for number in 0..POLICIES - TEAMS - 60 {
        let condition = everybody.condition(number);
        // A command is only of `exec`.
        let action = match condition.contains("command") {
            true => "action == Action::\"exec\"",
            false => "action",
        };
        text.push_str(&format!(
            "@id(\"all-{number}\") forbid (principal, {action}, resource) when {{ {condition} }};\n"
        ));
    }
    text
}

fn rules(count: usize) -> String {
    (0..count)
        .map(|rule| {
            format!(
                "[[rule]]\nname = \"r{rule}\"\ntargets = [\"t-{}*\"]\nfields = [\"secret_{rule}\", \"customer.phone{rule}\", \"number_{rule}\"]\ndetect = [\"payment-card\"]\naction = {{ mask = \"last4\" }}\nexempt = [\"team-{}\"]\n",
                rule % 1_000,
                rule % TEAMS
            )
        })
        .collect()
}

fn inventory(folder: &Path, targets: usize) -> Arc<Inventory> {
    let key = folder.join("ca");
    if !key.exists() {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
    }
    let text: String = (0..targets)
        .map(|target| {
            format!(
                "[[target]]\nname = \"t-{target}\"\naddress = \"t-{target}.internal\"\nhost_keys = [\"{HOST_KEY}\"]\nlabels = [\"team-{}\", \"production\"]\n[[target.login]]\nname = \"app\"\ncertificate = true\n[[target.login]]\nname = \"root\"\ncertificate = true\n",
                target % TEAMS
            )
        })
        .collect();
    let ca = UserCa::load(&key).unwrap();
    Arc::new(Inventory::parse(Path::new("targets.toml"), &text, Some(&ca)).unwrap())
}

fn access(folder: &Path, cedar: &str, protect: &str, inventory: &Arc<Inventory>) -> Access {
    fs::write(folder.join("access.cedar"), cedar).unwrap();
    fs::write(folder.join("protect.toml"), protect).unwrap();
    Access::load(folder, Arc::clone(inventory), StableKey::MadeUp).unwrap()
}

/// Somebody in ten groups asks about a target that is mostly theirs, and mostly another than before.
fn ask(access: &Access, round: usize, groups: &BTreeSet<String>, name: &str) -> bool {
    let now = "2027-01-13T10:00:00Z".parse().unwrap();
    let question = Question {
        person: Person {
            issuer: "https://id.example.com",
            subject: name,
            name,
            email: None,
            same_person: SamePerson::NotAsked,
            kind: Kind::Person,
            groups,
            signed_in_at: now,
            key: Some("SHA256:abc"),
        },
        target: &format!("t-{}", (round * 7_919) % TARGETS),
        login: "app",
        action: if round.is_multiple_of(2) {
            Action::Shell
        } else {
            Action::Exec
        },
        source: IpAddr::from([10, 1, 2, 3]),
        now,
        command: Some(b"uptime"),
        approved_until: None,
    };
    access.decide(&question).is_ok()
}

fn groups_of(round: usize) -> BTreeSet<String> {
    let team = (round * 7_919) % TARGETS % TEAMS;
    (0..10)
        .map(|n| format!("team-{}", (team + n) % TEAMS))
        .collect()
}

fn decisions(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let targets = inventory(folder.path(), TARGETS);
    let people: Vec<BTreeSet<String>> = (0..TARGETS).map(groups_of).collect();
    let person = |round: usize| people.get(round % TARGETS).unwrap();
    for everybody in [Everybody::Networks, Everybody::Mixed] {
        let access = access(folder.path(), &cedar(everybody), &rules(100), &targets);
        for what in ["first time asked", "asked before"] {
            let mut took: Vec<Duration> = (0..TARGETS)
                .map(|round| {
                    let started = Instant::now();
                    assert!(black_box(ask(&access, round, person(round), "ana")));
                    started.elapsed()
                })
                .collect();
            took.sort();
            let at = |share: f64| {
                took.get(((took.len() - 1) as f64 * share) as usize)
                    .unwrap()
            };
            println!(
                "a decision among {POLICIES} policies ({everybody:?} for everybody) and {TARGETS} targets, {what}: p50 {:?}, p99 {:?}, longest {:?}",
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
        let mut round = 0;
        criterion.bench_function(&format!("decide/{everybody:?}"), |bench| {
            bench.iter(|| {
                round += 1;
                ask(&access, round, person(round), "ana")
            });
        });
    }
}

fn loading(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let targets = inventory(folder.path(), 1_000);
    let permit = "permit (principal, action, resource);";
    drop(access(folder.path(), permit, &rules(RULES), &targets));
    let mut group = criterion.benchmark_group("load");
    group.sample_size(20);
    group.bench_function("1000 rules, 1000 targets", |bench| {
        bench
            .iter(|| Access::load(folder.path(), Arc::clone(&targets), StableKey::MadeUp).unwrap());
    });
    group.finish();
}

criterion_group!(benches, decisions, loading);
criterion_main!(benches);
