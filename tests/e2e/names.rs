//! `LOGIN@TARGET` and `LOGIN+TARGET`: which names reach a target, and that all others are refused alike.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::world::{Setup, World, target};

use crate::one_line;

fn tried(client: &tests::ssh::Client<'_>, users: &[String]) -> Result<Vec<Value>> {
    let answer = ask(
        "raw.py",
        &[&client.told(&json!({
            "user": "", "do": "names", "users": users,
        }))?],
    )?;
    answer.as_array().cloned().context("a list")
}

#[test]
fn both_spellings_reach_the_target() -> Result<()> {
    let long = format!("a{}", "-b.c_9".repeat(21)); // 127 bytes
    let longest = format!("{long}z");
    let name = longest.clone();
    let world = World::start(&Setup {
        targets: Box::new(move |sshd, _| {
            let key = format!("key = \"{}\"", sshd.user_key.display());
            Ok([
                target("box", sshd, &key),
                target("_x.y-z", sshd, &key),
                target(&name, sshd, &key),
            ]
            .concat())
        }),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let login = &world.sshd.login;
    let users: Vec<_> = ["box", "_x.y-z", longest.as_str()]
        .iter()
        .flat_map(|name| [format!("{login}@{name}"), format!("{login}+{name}")])
        .collect();
    for (user, answer) in users.iter().zip(tried(&client, &users)?) {
        ensure!(
            answer.get("stdout") == Some(&Value::from("in\n")),
            "{user}: {answer}"
        );
    }
    Ok(())
}

#[test]
fn every_other_name_is_refused() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let login = world.sshd.login.clone();
    let mut users: Vec<String> = [
        "@",
        "@box",
        "+box",
        "@@box",
        "+",
        "box@",
        "-x@box",
        ".x@box",
        "x@-box",
        "x@.box",
        "a b@box",
        "a\tb@box",
        "x@bo x",
        "x@box\n",
        "x\n@box",
        "x\0@box",
        "x@box\0",
        "x@b\u{1b}[31mox",
        "x@b\u{f6}x",
        "\u{ff52}oot@box",
        "x;id@box",
        "$(id)@box",
        "`id`@box",
        "../x@box",
        "x@../box",
        "x/y@box",
        "x@box/",
        "x%00@box",
        "x@box:22",
        "x@[::1]",
        "'x'@box",
        "\"x\"@box",
        "x,y@box",
        "x=y@box",
        "*@box",
        "x@*",
        "x@box@box",
        "x+y+box",
        "x@y+box",
        "x+box@",
        "x@BOX ",
    ]
    .iter()
    .map(|name| {
        name.replace("box", "\u{1}")
            .replace('x', &login)
            .replace('\u{1}', "box")
    })
    .collect();
    users.push(format!("{login}@"));
    users.push(format!("{}@box", "l".repeat(65)));
    users.push(format!("{login}@{}", "t".repeat(129)));
    users.push(format!("{login}@{}", "t".repeat(100_000)));
    users.push(format!("{login}@box\u{202e}"));
    // Well-formed, but there is no such target or login.
    users.push(format!("{login}@no-such-target"));
    users.push("no-such-login@box".to_owned());
    for (user, answer) in users.iter().zip(tried(&client, &users)?) {
        ensure!(
            answer.get("stdout").is_none_or(|out| out == ""),
            "{user:?}: {answer}"
        );
        ensure!(
            answer.get("status").is_none_or(|status| status != 0),
            "{user:?}: {answer}"
        );
    }
    // The server still serves.
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    Ok(())
}

#[test]
fn a_refusal_is_one_line_and_does_not_say_what_exists() -> Result<()> {
    let world = World::start(&Setup {
        access: "permit (principal in Group::\"staff\", action, resource in Target::\"box\");\n"
            .to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let login = &world.sshd.login;
    let mut lines = Vec::new();
    // Unknown, known but not allowed, known target with an unknown login.
    for user in [
        format!("{login}@no-such"),
        format!("{login}@vault"),
        "nobody-here@box".to_owned(),
    ] {
        let output = client.run(&[&format!("{user}@bastion"), "--", "echo in"], b"")?;
        ensure!(
            output.code() == 77 && output.stdout.is_empty(),
            "{user}: {output:?}"
        );
        let line = one_line(&output)?;
        lines.push(
            line.replace("no-such", "?")
                .replace("vault", "?")
                .replace("nobody-here", "?"),
        );
    }
    ensure!(
        lines.first() == lines.get(1),
        "a user can tell what exists: {lines:?}"
    );
    Ok(())
}
