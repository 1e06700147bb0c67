//! What proves a key and what does not, by a client that says what no other would: an offer is no proof, a proof is of
//! one key, one name and one connection, and another name drops what was reached under the first.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::{ask, script};
use tests::ssh::Session;
use tests::world::World;

/// Steps, each with the name that it is made under, and what comes of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// CVE-2024-45337 and its kin: whoever has a lease is not spoken for by less than a signature of this very request.
#[test]
fn a_false_proof_of_a_key_is_none() -> Result<()> {
    let world = World::usual()?;
    let stranger = world.client()?;
    let (known, new) = (world.signed_in()?, world.client()?);
    for (client, proven) in [
        (&known, json!(["success", ""])),
        (&new, json!(["partial", "asked"])),
    ] {
        let what = json!({"do": "false_proofs", "stranger": stranger.key});
        let answers = ask("raw.py", &[&client.told(&what)?])?;
        let answers = answers.as_object().context("an object")?;
        ensure!(answers.len() >= 24, "{answers:?}");
        for (name, got) in answers {
            if name == "true" {
                ensure!(*got == proven, "{name}: {got}");
                continue;
            }
            let nothing =
                |got: Option<&Value>| got.is_some_and(|got| got == "failure" || got == "closed");
            ensure!(nothing(got.get(0)) && nothing(got.get(1)), "{name}: {got}");
        }
    }
    Ok(())
}

/// Whose key is only offered, or claimed with another's signature, is nobody here.
#[test]
fn an_offered_key_gives_no_identity() -> Result<()> {
    let world = World::usual()?;
    let (approver, asker) = (world.signed_in_as("ana")?, world.signed_in_as("bob")?);
    let what = json!({"do": "offered", "other": approver.key, "user": "anyone"});
    let answer = ask("raw.py", &[&asker.told(&what)?])?;
    let expected = json!(["60", "failure", "60", "failure", "60", "60", "success"]);
    ensure!(answer.get("got") == Some(&expected), "{answer}");
    let said = answer
        .get("said")
        .and_then(Value::as_str)
        .unwrap_or_default();
    ensure!(said.contains("bob") && !said.contains("ana"), "{said}");
    Ok(())
}

/// GHSA-hpv4-5h6f-wqr3: what one name has reached is not there for another, nor any more for itself.
#[test]
fn another_name_drops_all_progress() -> Result<()> {
    let world = World::usual()?;
    let (one, two) = (
        format!("{}@box", world.sshd.login),
        format!("{}@vault", world.sshd.login),
    );
    let (one, two) = (one.as_str(), two.as_str());
    let interactive = "keyboard-interactive";
    let cases: [Case<'_>; 6] = [
        // Each goes as far as a code when the name stays.
        (
            &[("prove", one), ("offer", one), (interactive, one)],
            &["partial", "60", "asked"],
        ),
        (
            &[("prove", one), (interactive, two), (interactive, one)],
            &["partial", "failure", "failure"],
        ),
        (
            &[
                ("prove", one),
                ("offer", two),
                (interactive, two),
                (interactive, one),
            ],
            &["partial", "60", "failure", "failure"],
        ),
        (
            &[
                ("prove", one),
                ("none", two),
                (interactive, one),
                (interactive, two),
            ],
            &["partial", "failure", "failure", "failure"],
        ),
        (
            &[
                ("prove", one),
                ("password", two),
                (interactive, one),
                (interactive, two),
            ],
            &["partial", "failure", "failure", "failure"],
        ),
        // What was proven last counts, under its name alone.
        (
            &[
                ("prove", one),
                ("prove", two),
                (interactive, one),
                (interactive, two),
            ],
            &["partial", "partial", "failure", "failure"],
        ),
    ];
    for (steps, expected) in cases {
        let client = world.client()?;
        let what = json!({"do": "steps", "steps": steps});
        let got = ask("raw.py", &[&client.told(&what)?])?;
        ensure!(got == json!(expected), "{steps:?}: {got}");
    }
    Ok(())
}

/// The provider has said yes, and still nobody is in: the name that the code was shown for was left.
#[test]
fn another_name_drops_the_device_flow() -> Result<()> {
    let world = World::usual()?;
    let (one, two) = (
        format!("{}@box", world.sshd.login),
        format!("{}@vault", world.sshd.login),
    );
    let (one, two) = (one.as_str(), two.as_str());
    let interactive = "keyboard-interactive";
    let begun = [("prove", one), (interactive, one), ("wait", "")];
    let cases: [Case<'_>; 6] = [
        (&[("answer", "")], &["success"]),
        (&[("none", two), ("answer", "")], &["failure", "failure"]),
        (&[("offer", two), ("answer", "")], &["60", "failure"]),
        (
            &[("password", two), ("answer", "")],
            &["failure", "failure"],
        ),
        (
            &[(interactive, two), ("answer", "")],
            &["failure", "failure"],
        ),
        // Under its own name, too, a step out of order begins anew.
        (
            &[("none", two), (interactive, one), ("answer", "")],
            &["failure", "failure", "failure"],
        ),
    ];
    for (steps, expected) in cases {
        let client = world.client()?;
        let all = [begun.as_slice(), steps].concat();
        let what = json!({"do": "steps", "steps": all});
        let mut session = Session::start(&mut script("raw.py", &[&client.told(&what)?])?)?;
        let prompt = session.prompt()?;
        world
            .provider
            .approve(&prompt.uri, &prompt.code, "ana", &[])?;
        let mut input = session.stdin.take().context("its input")?;
        std::io::Write::write_all(&mut input, b"\n")?;
        drop(input);
        let output = session.finish()?.ok()?;
        let got: Value = serde_json::from_slice(&output.stdout)?;
        let expected = ["partial", "asked"].iter().chain(expected);
        let expected = Value::from_iter(expected.copied());
        ensure!(got == expected, "{steps:?}: {got}");
    }
    Ok(())
}
