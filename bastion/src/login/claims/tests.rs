#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config::{ClientAuth, Pkce};

fn oidc(groups_from: GroupsFrom) -> Oidc {
    Oidc {
        issuer: "https://id.example.test".into(),
        client_id: "bastion".into(),
        client_secret_file: None,
        client_auth: ClientAuth::None,
        scopes: vec![],
        username_claim: "preferred_username".into(),
        groups_claim: "groups".into(),
        groups_from,
        extra_params: vec![],
        pkce: Pkce::Auto,
        ca_file: None,
        clock_skew: Duration::ZERO,
        http_timeout: Duration::from_secs(1),
        lease: Duration::from_secs(1),
        recheck: Duration::from_secs(900),
        recheck_by: crate::config::RecheckBy::Auto,
        on_unreachable: crate::config::OnUnreachable::Grace,
        grace: Duration::from_secs(3600),
        code_max_age: Duration::from_secs(1),
        show_complete_uri: false,
        require_key: true,
        allowed_groups: vec![],
        same_person_claim: None,
        owner_claim: "owner".into(),
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn believed(claims: Value) -> Believed {
    Believed {
        issuer: "https://id.example.test".into(),
        subject: "s-1".into(),
        claims: map(claims),
    }
}

fn names(user: &User) -> Vec<&str> {
    user.groups.iter().map(String::as_str).collect()
}

#[test]
fn groups_are_the_plain_strings_of_a_list_and_nothing_else() {
    let long = "x".repeat(257);
    for (claim, wanted, detail) in [
        (json!(["b", "a", "a"]), vec!["a", "b"], "2 groups"),
        (json!([]), vec![], "no groups"),
        (json!("admins"), vec![], "not a list: ignored"),
        (json!("a b"), vec![], "not a list: ignored"),
        (json!({"a": true}), vec![], "not a list: ignored"),
        (json!(null), vec![], "not a list: ignored"),
        (json!(true), vec![], "not a list: ignored"),
        (
            json!(["a", 1, null, ["b"], "", "x\ny", "\u{202e}z", long]),
            vec!["a"],
            "1 group, 7 ignored: not plain names",
        ),
    ] {
        let user = user(
            &believed(json!({"groups": claim})),
            None,
            &oidc(GroupsFrom::Auto),
        );
        assert_eq!(names(&user), wanted, "{claim}");
        assert_eq!(user.evidence.last().unwrap().detail, detail, "{claim}");
    }
    let none = user(&believed(json!({})), None, &oidc(GroupsFrom::Auto));
    assert!(none.groups.is_empty());
    assert_eq!(none.evidence.last().unwrap().detail, "missing");
}

#[test]
fn groups_are_read_where_the_configuration_says() {
    let token = believed(json!({"groups": ["token"]}));
    let empty = believed(json!({}));
    let userinfo = map(json!({"groups": ["userinfo"]}));
    for (from, id_token, asks, wanted) in [
        (GroupsFrom::IdToken, &token, false, vec!["token"]),
        (GroupsFrom::IdToken, &empty, false, vec![]),
        (GroupsFrom::Userinfo, &token, true, vec!["userinfo"]),
        (GroupsFrom::Userinfo, &empty, true, vec!["userinfo"]),
        (GroupsFrom::Auto, &token, false, vec!["token"]),
        (GroupsFrom::Auto, &empty, true, vec!["userinfo"]),
    ] {
        let oidc = oidc(from);
        assert_eq!(needs_userinfo(id_token, &oidc), asks, "{from:?}");
        assert_eq!(
            names(&user(id_token, Some(&userinfo), &oidc)),
            wanted,
            "{from:?}"
        );
    }
}

#[test]
fn a_group_of_userinfo_is_not_used_where_the_token_says_otherwise() {
    let token = believed(json!({"groups": "nothing"}));
    let userinfo = map(json!({"groups": ["admins"]}));
    let oidc = oidc(GroupsFrom::Auto);
    assert!(!needs_userinfo(&token, &oidc));
    assert!(user(&token, Some(&userinfo), &oidc).groups.is_empty());
}

#[test]
fn names_are_shown_safe_and_fall_back_to_the_subject() {
    for (claim, wanted) in [
        (json!("ana"), "ana"),
        (json!(" ana "), "ana"),
        (
            json!("ansi\u{1b}[2J\r\nroot"),
            "ansi\\u{1b}[2J\\u{d}\\u{a}root",
        ),
        (json!(""), "s-1"),
        (json!("  "), "s-1"),
        (json!(7), "s-1"),
    ] {
        let user = user(
            &believed(json!({"preferred_username": claim})),
            None,
            &oidc(GroupsFrom::Auto),
        );
        assert_eq!(user.name, wanted);
        assert_eq!(user.identity.subject, "s-1");
    }
}

#[test]
fn an_address_needs_the_word_of_the_same_source() {
    let userinfo = map(json!({"email_verified": true}));
    for (claims, wanted) in [
        (
            json!({"email": "a@example.test", "email_verified": true}),
            Some("a@example.test"),
        ),
        (
            json!({"email": "a@example.test", "email_verified": "true"}),
            Some("a@example.test"),
        ),
        (
            json!({"email": "a@example.test", "email_verified": false}),
            None,
        ),
        (
            json!({"email": "a@example.test", "email_verified": 1}),
            None,
        ),
        (json!({"email": "a@example.test"}), None),
        (
            json!({"email": "a\n@example.test", "email_verified": true}),
            None,
        ),
        (
            json!({"email": ["a@example.test"], "email_verified": true}),
            None,
        ),
    ] {
        let user = user(
            &believed(claims.clone()),
            Some(&userinfo),
            &oidc(GroupsFrom::Auto),
        );
        assert_eq!(user.email.as_deref(), wanted, "{claims}");
    }
}

#[test]
fn some_group_is_needed_and_a_named_one_where_some_are_named() {
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (has, allowed, wanted) in [
        (vec![], vec![], false),
        (vec!["a"], vec![], true),
        (vec!["a"], vec!["b"], false),
        (vec!["a", "b"], vec!["b", "c"], true),
        (vec!["A"], vec!["a"], false),
    ] {
        let allowed: Vec<String> = groups(&allowed);
        let has: Vec<String> = groups(&has);
        let has = has.into_iter().collect();
        assert_eq!(may_connect(&has, &allowed), wanted, "{has:?} {allowed:?}");
    }
}
