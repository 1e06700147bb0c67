//! Who decides, and that a hold is decided once: races over the network, what `[approval]` asks of a decider, and that
//! a command is shown as it is.

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::process::{run, run_ok};
use tests::ssh::Client;
use tests::world::{Setup, World};

use crate::holds::{HEADER, QUERY, approve, console, find, setup, state};

/// Runs the query without waiting for the decision; answers with the hold.
fn detached(client: &Client<'_>) -> Result<String> {
    let output = client.run(
        &[
            "-o",
            "SetEnv=BASTION_HOLD=detach",
            &client.on("vault"),
            "--",
            QUERY,
        ],
        b"",
    )?;
    ensure!(output.code() == 75 && output.out() == HEADER, "{output:?}");
    find(&output.stderr).context("a hold")
}

/// Row 37 of the threats, from the outside: twelve connections of two people decide at once, half of them against it.
#[test]
fn of_twelve_decisions_over_the_network_one_wins() -> Result<()> {
    let rounds = if std::env::var_os("BASTION_TEST_LONG").is_some() {
        50
    } else {
        2
    };
    let world = World::start(&setup())?;
    let change = json!({ "name": "bob", "groups": ["finance-approvers", "staff"] });
    world.provider.control("user", &change)?;
    let ana = world.signed_in()?;
    let deciders = [world.signed_in_as("bob")?, world.signed_in_as("carol")?];
    for round in 0..rounds {
        let id = detached(&ana)?;
        let outputs = std::thread::scope(|scope| {
            let votes: Vec<_> = (0..12)
                .map(|n| {
                    // Each of the two says both.
                    let verb = if (n / 2 + round) % 2 == 0 {
                        "approve"
                    } else {
                        "deny"
                    };
                    let client = deciders.get(n % 2).context("a decider")?;
                    let mut ssh = client.ssh();
                    ssh.args(["bastion", "--", verb, &id]);
                    Ok(scope.spawn(move || (verb, run("ssh", &mut ssh, b""))))
                })
                .collect::<Result<_>>()?;
            votes
                .into_iter()
                .map(|vote| {
                    let (verb, output) = vote.join().ok().context("a thread")?;
                    Ok((verb, output?))
                })
                .collect::<Result<Vec<_>>>()
        })?;
        let won: Vec<_> = outputs
            .iter()
            .filter(|(_, output)| output.code() == 0)
            .collect();
        ensure!(won.len() == 1, "round {round}: {outputs:?}");
        let (verb, _) = won.first().context("a winner")?;
        for (_, output) in outputs.iter().filter(|(_, output)| output.code() != 0) {
            // The losers are told who was faster.
            ensure!(output.code() == 65, "{output:?}");
            ensure!(output.err().contains("decided by"), "{output:?}");
        }
        let (decided, status) = if *verb == "approve" {
            ("approved", 0)
        } else {
            ("denied", 76)
        };
        ensure!(state(&ana, &id)? == decided);
        let fetched = console(&ana, &format!("fetch {id}"), status)?;
        ensure!(fetched.stdout.is_empty() == (status == 76), "{fetched:?}");
    }
    Ok(())
}

/// `approval.max_sign_in_age` and `approval.min_key_age`: time is put back in the store, where it is written down.
#[test]
fn a_decider_needs_a_known_key_and_a_fresh_sign_in() -> Result<()> {
    let world = World::start(&Setup {
        approval: "min_key_age = \"24h\"".to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let id = detached(&ana)?;
    let refused = |why: &str| -> Result<()> {
        for decision in ["approve", "deny"] {
            let output = console(&carol, &format!("{decision} {id}"), 77)?;
            ensure!(output.err().contains(why), "{output:?}");
        }
        ensure!(state(&ana, &id)? == "sealed");
        Ok(())
    };
    refused("your key has not been known for 24 h")?;
    let mut keygen = Command::new("ssh-keygen");
    let public = carol.key.with_extension("pub");
    let line = run_ok("ssh-keygen", keygen.arg("-lf").arg(public))?.out();
    let fingerprint = line.split(' ').nth(1).context("a fingerprint")?;
    let of_carol = format!("'{fingerprint}'");
    world.sql(&format!(
        "UPDATE keys SET first_at = first_at - 25 * 3600000 WHERE fingerprint = {of_carol};
        UPDATE leases SET signed_in_at = signed_in_at - 3600000 WHERE key = {of_carol}"
    ))?;
    refused("you signed in 60 min ago, and deciding needs a sign-in of the last 15 min")?;
    // As the line says: signing out, and in again on the way to the decision.
    console(&carol, "sign-out", 0)?;
    let session = carol.start(&["bastion", "--", &format!("approve {id}")])?;
    let prompt = session.prompt()?;
    let browser = world
        .provider
        .approve(&prompt.uri, &prompt.code, "carol", &[])?;
    ensure!(browser.code() == 0, "{browser:?}");
    session.finish()?.ok()?;
    ensure!(state(&ana, &id)? == "approved");
    Ok(())
}

/// `approval.same_person_claim`: two accounts of one person are one, and whoever has no such claim decides on nothing.
#[test]
fn the_same_person_under_another_account_decides_on_nothing() -> Result<()> {
    let world = World::start(&Setup {
        approval: "same_person_claim = \"email\"".to_owned(),
        ..setup()
    })?;
    let approver = |name: &str, more: serde_json::Value| -> Result<()> {
        let mut change = json!({ "name": name, "groups": ["finance-approvers", "staff"] });
        if let (Some(change), Some(more)) = (change.as_object_mut(), more.as_object()) {
            change.extend(more.clone());
        }
        world.provider.control("user", &change).map(drop)
    };
    // `twin` has the address of `ana`, not verified: as an address it counts for nothing, as the claim it does.
    approver("twin", json!({}))?;
    approver("bob", json!({ "email": null }))?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let (twin, bob) = (world.signed_in_as("twin")?, world.signed_in_as("bob")?);
    let id = detached(&ana)?;
    for (client, why) in [
        (&ana, "you cannot decide on your own"),
        (&twin, "you cannot decide on your own"),
        (&bob, "the provider does not say who is the same person"),
    ] {
        for decision in ["approve", "deny"] {
            let output = console(client, &format!("{decision} {id}"), 77)?;
            ensure!(output.err().contains(why), "{decision}: {output:?}");
        }
        let shown = console(client, &format!("show {id} --payload"), 77)?;
        ensure!(shown.stdout.is_empty(), "{shown:?}");
    }
    ensure!(state(&ana, &id)? == "sealed");
    // Nor does anybody decide on the output of whom nobody knows.
    let of_bob = detached(&bob)?;
    console(&carol, &format!("approve {of_bob}"), 77)?;
    approve(&carol, &id)?;
    console(&ana, &format!("fetch {id}"), 0)?;
    Ok(())
}

/// An approver sees exactly what runs: no two commands look the same, whatever their bytes.
#[test]
fn a_command_is_shown_exactly() -> Result<()> {
    let world = World::start(&Setup {
        protect: "[[rule]]\nname = \"dumps\"\ntargets = [\"vault\"]\ncommands = [\"*dump*\"]\naction = { hold = { approvers = \"finance-approvers\" } }\n".to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    for (command, shown) in [
        (
            &b"printf '%s\\n' dump | tr a-z A-Z"[..],
            r"printf '%s\n' dump | tr a-z A-Z",
        ),
        (b"printf dump'\xff\xc3('", r"$'printf dump\'\xff\xc3(\''"),
        (
            "printf dum\u{440}dump\n".as_bytes(),
            r"$'printf dum\u0440dump\n'",
        ),
        // Nothing hides behind a line's end, or what clears a screen.
        (
            b"printf 1\n\tprintf dump #\x1b[2J\nprintf 3\n",
            r"$'printf 1\n\tprintf dump #\x1b[2J\nprintf 3\n'",
        ),
    ] {
        let mut ssh = ana.ssh();
        ssh.args(["-o", "SetEnv=BASTION_HOLD=detach", &ana.on("vault"), "--"]);
        ssh.arg(std::ffi::OsStr::from_bytes(command));
        let output = run("ssh", &mut ssh, b"")?;
        ensure!(output.code() == 75, "{output:?}");
        let id = find(&output.stderr).context("a hold")?;
        let text = console(&carol, &format!("show {id}"), 0)?.out();
        ensure!(text.contains(&format!("command    {shown}\n")), "{text}");
        ensure!(console(&carol, "holds", 0)?.out().contains(shown));
        for asked in [format!("show {id} --json"), "holds --json".to_owned()] {
            let out = console(&carol, &asked, 0)?.out();
            ensure!(out.contains(&serde_json::to_string(shown)?), "{out}");
        }
        approve(&carol, &id)?;
        // What runs is the bytes: a shell of its own understands them as they were.
        let mut direct = ana.ssh();
        direct
            .args(["direct", "--"])
            .arg(std::ffi::OsStr::from_bytes(command));
        let wanted = run("ssh", &mut direct, b"")?;
        let mut again = ana.ssh();
        again
            .args([&ana.on("vault"), "--"])
            .arg(std::ffi::OsStr::from_bytes(command));
        let ran = run("ssh", &mut again, b"")?;
        ensure!(ran.code() == 0 && ran.stdout == wanted.stdout, "{ran:?}");
    }
    // The audit log has the bytes of the one that is no text.
    let audit = std::fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
    let bytes: Vec<_> = audit
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|event| Some(event.get("command_base64")?.as_str()?.to_owned()))
        .collect();
    let once_each_time = ["cHJpbnRmIGR1bXAn/8MoJw==", "cHJpbnRmIGR1bXAn/8MoJw=="];
    ensure!(bytes == once_each_time, "{bytes:?}");
    Ok(())
}

/// Between the decision and the release the producer lost the access that gave the output: nothing of it is theirs any
/// more, until they have it back.
#[test]
fn a_withdrawn_access_takes_an_approved_hold_with_it() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let id = detached(&ana)?;
    approve(&carol, &id)?;
    let policies = world.home.join("policies/access.cedar");
    let before = std::fs::read_to_string(&policies)?;
    std::fs::write(
        &policies,
        before.replace("Group::\"staff\"", "Group::\"dba\""),
    )?;
    world.command(&["reload"])?.ok()?;
    let refused = console(&ana, &format!("fetch {id}"), 77)?;
    ensure!(refused.stdout.is_empty(), "{refused:?}");
    ensure!(
        refused.err().contains("you may no longer work on vault"),
        "{refused:?}"
    );
    ensure!(state(&ana, &id)? == "approved");
    std::fs::write(&policies, before)?;
    world.command(&["reload"])?.ok()?;
    console(&ana, &format!("fetch {id}"), 0)?;
    Ok(())
}

/// Of two approvals, the first falls away with its voter's right: it is asked for again when the next is given, of the
/// policies of that moment.
#[test]
fn an_approval_counts_only_while_its_voter_may_decide() -> Result<()> {
    let usual = setup();
    let one = "approvers = \"finance-approvers\"";
    let world = World::start(&Setup {
        protect: usual
            .protect
            .replace(one, "approvers = \"staff\", count = 2"),
        access: "permit (principal in Group::\"finance\", action == Action::\"exec\", resource);
permit (principal in Group::\"staff\", action == Action::\"approve\", resource);
"
        .to_owned(),
        ..usual
    })?;
    let (ana, bob, carol) = (
        world.signed_in()?,
        world.signed_in_as("bob")?,
        world.signed_in_as("carol")?,
    );
    let id = detached(&ana)?;
    let first = console(&bob, &format!("approve {id} --reason fine"), 0)?.out();
    ensure!(first.contains("has 1 of 2 approvals"), "{first}");
    // Bob stays in the group that the rule names; the policies take his right.
    let policies = world.home.join("policies/access.cedar");
    let before = std::fs::read_to_string(&policies)?;
    let without = format!(
        "{before}forbid (principal in Group::\"dba\", action == Action::\"approve\", resource);\n"
    );
    std::fs::write(&policies, without)?;
    world.command(&["reload"])?.ok()?;
    let second = console(&carol, &format!("approve {id}"), 0)?.out();
    ensure!(second.contains("has 1 of 2 approvals"), "{second}");
    ensure!(state(&ana, &id)? == "sealed");
    console(&ana, &format!("fetch {id}"), 75)?;
    let votes = console(&carol, &format!("show {id}"), 0)?.out();
    ensure!(!votes.contains("by bob: fine"), "{votes}");
    let audit = std::fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
    let decided = audit.lines().rfind(|line| line.contains("hold_decided"));
    let decided: serde_json::Value = serde_json::from_str(decided.context("an event")?)?;
    let withdrawn = decided.pointer("/withdrawn/0/name");
    ensure!(withdrawn == Some(&"bob".into()), "{decided}");

    // With the right he may say it once more.
    console(&bob, &format!("approve {id}"), 77)?;
    std::fs::write(&policies, before)?;
    world.command(&["reload"])?.ok()?;
    approve(&bob, &id)?;
    console(&ana, &format!("fetch {id}"), 0)?;
    Ok(())
}

/// What was produced under an approved request is given out as long as nobody revoked it, also once it was given back.
#[test]
fn a_revoked_grant_takes_what_it_produced_with_it() -> Result<()> {
    let usual = setup();
    let world = World::start(&Setup {
        access: "@id(\"ask\") @approvers(\"finance-approvers\") @longest(\"2h\")
permit (principal in Group::\"staff\", action == Action::\"request\", resource in Target::\"vault\");
permit (principal in Group::\"staff\", action == Action::\"exec\", resource in Target::\"vault\")
when { context.approved };
permit (principal in Group::\"finance-approvers\", action == Action::\"approve\", resource);
"
        .to_owned(),
        ..usual
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    for (end, by, status) in [("revoke", &carol, 77), ("cancel", &ana, 0)] {
        let asked = console(&ana, "request vault --reason the monthly run", 0)?.out();
        let request = asked.split(' ').next().context("a request")?.to_owned();
        approve(&carol, &request)?;
        let id = detached(&ana)?;
        approve(&carol, &id)?;
        console(by, &format!("{end} {request}"), 0)?;
        let fetched = console(&ana, &format!("fetch {id}"), status)?;
        ensure!(fetched.stdout.is_empty() == (status != 0), "{fetched:?}");
        let refused = fetched.err().contains("you may no longer work on vault");
        ensure!(refused == (status != 0), "{fetched:?}");
    }
    Ok(())
}
