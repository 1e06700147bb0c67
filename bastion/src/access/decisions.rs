//! Tests of the doors beside channels: holds, requests, and what annotations ask for.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its preparation fails"
)]

use std::net::IpAddr;

use super::*;
use crate::target::tests::inventory;

const ISSUER: &str = "https://id.example.com";
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
const POLICIES: &str = r#"
@id("work") permit (principal in Group::"engineers", action, resource in Label::"staging")
  when { resource is Account };
@id("ask") @approvers("leads") @count("2") @longest("2h")
permit (principal in Group::"engineers", action == Action::"request", resource in Label::"production");
@id("asked") permit (principal in Group::"engineers", action == Action::"exec", resource in Label::"production")
  when { context.approved };
@id("glass") @break_glass @notify("security")
permit (principal in Group::"on-call", action == Action::"shell", resource);
@id("own-key") permit (principal, action == Action::"exec", resource)
  when { context has client_key && context.client_key == "SHA256:pinned" };
@id("services") permit (principal, action == Action::"sftp_read", resource) when { principal.service };
@id("mail") permit (principal, action == Action::"sftp_write", resource)
  when { principal has email && principal.email like "*@example.com" };
@id("decide") permit (principal in Group::"leads", action == Action::"approve", resource)
  when { resource is Request || (resource is Hold && resource.rule != "board") };
@id("look") permit (principal, action == Action::"show_payload", resource);
"#;

fn access() -> Access {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("access.cedar"), POLICIES).unwrap();
    std::fs::write(
        folder.path().join("protect.toml"),
        "[[rule]]\nname = \"never\"\ntargets = [\"*\"]\ncommands = [\"reboot*\"]\naction = \"refuse\"\n",
    )
    .unwrap();
    let targets = inventory(&[
        ("stage", "deploy", &["staging"]),
        ("live", "deploy", &["production"]),
    ]);
    Access::load(folder.path(), targets, StableKey::MadeUp).unwrap()
}

fn now() -> Timestamp {
    "2027-01-15T08:30:00Z".parse().unwrap()
}

fn groups(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn person<'a>(subject: &'a str, groups: &'a BTreeSet<String>) -> Person<'a> {
    Person {
        issuer: ISSUER,
        subject,
        name: subject,
        email: None,
        same_person: SamePerson::NotAsked,
        kind: Kind::Person,
        groups,
        signed_in_at: now(),
        key: None,
    }
}

fn question<'a>(person: Person<'a>, target: &'a str, action: Action) -> Question<'a> {
    Question {
        person,
        target,
        login: "deploy",
        action,
        source: SOURCE,
        now: now(),
        command: None,
        approved_until: None,
    }
}

fn ids(denied: &Denied) -> String {
    format!("{:?}", denied.reason())
}

#[test]
fn a_hold_is_decided_by_another_member_of_its_group_whom_cedar_permits() {
    let access = access();
    let (leads, none) = (groups(&["leads"]), groups(&[]));
    let (anna, bob, carl) = (
        person("anna", &leads),
        person("bob", &leads),
        person("carl", &none),
    );
    let others = [bob.party()];
    let hold = |approvers, rule, others| HoldOf {
        id: "h1",
        rule,
        approvers,
        producer: anna.party(),
        others,
        target: "live",
        login: "deploy",
    };
    let decide = |person: &Person<'_>, hold: &HoldOf<'_>| {
        access
            .may_decide_hold(person, hold, SOURCE, now())
            .map_err(|denied| ids(&denied))
    };
    let simple = hold("leads", "salaries", &[]);
    assert_eq!(decide(&bob, &simple), Ok(vec!["decide".to_owned()]));
    assert_eq!(decide(&anna, &simple), Err("Own(Own)".to_owned()));
    assert_eq!(
        decide(&carl, &simple),
        Err("NotApprover(\"leads\")".to_owned())
    );
    assert_eq!(
        decide(&bob, &hold("heads", "salaries", &[])),
        Err("NotApprover(\"heads\")".to_owned())
    );
    assert_eq!(
        decide(&bob, &hold("leads", "board", &[])),
        Err("NotPermitted".to_owned())
    );
    // Who watched the session took part in it.
    assert_eq!(
        decide(&bob, &hold("leads", "salaries", &others)),
        Err("Own(Own)".to_owned())
    );
    let show = |person: &Person<'_>| access.may_show_payload(person, &simple, SOURCE, now());
    assert_eq!(show(&carl).ok(), Some(vec!["look".to_owned()]));
    assert_eq!(
        show(&anna).unwrap_err().notice(),
        "you cannot decide on your own; ask somebody else"
    );
}

#[test]
fn access_is_asked_for_on_the_terms_of_the_policy() {
    let access = access();
    let (engineers, leads) = (groups(&["engineers"]), groups(&["leads"]));
    let (anna, bob) = (person("anna", &engineers), person("bob", &leads));
    let ask = |person: &Person<'_>, target| {
        access
            .may_request(person, "deploy", target, SOURCE, now())
            .map_err(|denied| ids(&denied))
    };
    let terms = ask(&anna, "live").unwrap();
    assert_eq!(
        (terms.count, terms.longest, &terms.approvers),
        (2, Duration::from_secs(7_200), &leads)
    );
    // Permitted by a policy that names nobody who could approve.
    assert_eq!(ask(&anna, "stage"), Err("NoApprovers".to_owned()));
    assert_eq!(ask(&bob, "live"), Err("NotPermitted".to_owned()));
    assert_eq!(ask(&anna, "none"), Err("UnknownTarget".to_owned()));

    let request = RequestOf {
        id: "r1",
        requester: anna.party(),
        approvers: &terms.approvers,
        target: "live",
        login: "deploy",
    };
    let decide = |person: &Person<'_>| {
        access
            .may_decide_request(person, &request, SOURCE, now())
            .map_err(|denied| ids(&denied))
    };
    assert_eq!(decide(&bob), Ok(vec!["decide".to_owned()]));
    let both = groups(&["engineers", "leads"]);
    assert_eq!(decide(&person("anna", &both)), Err("Own(Own)".to_owned()));
    assert_eq!(
        decide(&person("carl", &engineers)),
        Err("NotApprover(\"leads\")".to_owned())
    );
}

#[test]
fn an_approved_request_opens_until_it_ends() {
    let access = access();
    let engineers = groups(&["engineers"]);
    let anna = person("anna", &engineers);
    let until = |seconds| Some(now() + SignedDuration::from_secs(seconds));
    let decide = |target, approved_until| {
        let question = Question {
            approved_until,
            ..question(anna, target, Action::Exec)
        };
        access.decide(&question).map(|grant| grant.until()).ok()
    };
    assert_eq!(decide("live", None), None);
    assert_eq!(decide("live", until(0)), None);
    assert_eq!(decide("live", until(1)), Some(until(1)));
    // What is allowed anyway does not end.
    assert_eq!(decide("stage", until(1)), Some(None));
}

#[test]
fn conditions_see_key_address_and_kind() {
    let access = access();
    let none = groups(&[]);
    let anna = person("anna", &none);
    for (who, action, wanted) in [
        (
            Person {
                key: Some("SHA256:pinned"),
                ..anna
            },
            Action::Exec,
            true,
        ),
        (
            Person {
                key: Some("SHA256:other"),
                ..anna
            },
            Action::Exec,
            false,
        ),
        (anna, Action::Exec, false),
        (
            Person {
                kind: Kind::Service { owner: None },
                ..anna
            },
            Action::SftpRead,
            true,
        ),
        (anna, Action::SftpRead, false),
        (
            Person {
                email: Some("a@example.com"),
                ..anna
            },
            Action::SftpWrite,
            true,
        ),
        (
            Person {
                email: Some("a@example.org"),
                ..anna
            },
            Action::SftpWrite,
            false,
        ),
        (anna, Action::SftpWrite, false),
    ] {
        let decided = access.decide(&question(who, "live", action));
        assert_eq!(decided.is_ok(), wanted, "{who:?} {action}");
    }
}

#[test]
fn an_emergency_is_allowed_and_marked() {
    let access = access();
    let on_call = groups(&["on-call"]);
    let grant = access
        .decide(&question(person("anna", &on_call), "live", Action::Shell))
        .unwrap();
    assert!(grant.marks().break_glass);
    assert_eq!(grant.marks().notify, groups(&["security"]));
    let engineers = groups(&["engineers"]);
    let grant = access
        .decide(&question(
            person("anna", &engineers),
            "stage",
            Action::Shell,
        ))
        .unwrap();
    assert!(grant.marks().is_empty());
}

#[test]
fn a_refused_command_names_its_rule() {
    let access = access();
    let engineers = groups(&["engineers"]);
    let denied = access
        .decide(&Question {
            command: Some(b"reboot -f"),
            ..question(person("anna", &engineers), "stage", Action::Exec)
        })
        .unwrap_err();
    assert_eq!(denied.notice(), "the rule never refuses this command");
    assert_eq!(*denied.reason(), Reason::Command("never".into()));
}

#[test]
fn annotations_that_mean_nothing_are_mistakes() {
    for (annotation, wanted) in [
        ("@brake_glass", "there is no annotation @brake_glass"),
        (
            "@break_glass(\"x\")",
            "write @break_glass with nothing behind it",
        ),
        ("@notify", "@notify(\"\") means nothing"),
        ("@count(\"0\")", "a number of people from 1 to 10"),
        ("@count(\"many\")", "@count(\"many\") means nothing"),
        ("@longest(\"0s\")", "a duration"),
        ("@approvers(\"\")", "name a group"),
    ] {
        let text = format!("\n{annotation} permit (principal, action, resource);");
        let files = [(PathBuf::from("access.cedar"), text)];
        let problems = Engine::new(&files).err().unwrap();
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found.concat();
        assert!(
            found.starts_with("access.cedar:2:1: ") && found.contains(wanted),
            "{annotation}: {found}"
        );
    }
}
