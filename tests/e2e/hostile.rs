//! Targets that ask for more than they get, and targets that want to be waited for: the session ends with a line, in the
//! time that is set, and nothing that such a target says before it is trusted reaches anybody.

use std::io::Write;

use anyhow::{Context, Result, ensure};

use crate::peers::{PASSWORD, with_servers};

/// A hidden prompt is answered from the store, once, and nobody sees it.
#[test]
fn a_target_that_asks_for_its_password() -> Result<()> {
    let targets = [("box", "keyboard-interactive")];
    let (_servers, world) = with_servers(&targets, "correct horse 71b2\n", "")?;
    let client = world.signed_in()?;
    let output = client.exec("box", "echo in", b"")?.ok()?;
    ensure!(
        output.out() == "keyboard-interactive: echo in\n",
        "{output:?}"
    );
    ensure!(output.stderr.is_empty(), "{output:?}");
    Ok(())
}

/// Whatever else it asks is not answered, by nobody: neither with the password a second time nor by the user.
#[test]
fn a_target_that_asks_for_more_gets_nothing() -> Result<()> {
    let targets = [
        ("openly", "asks-openly"),
        ("two", "asks-two"),
        ("again", "asks-again"),
        ("twice", "asks-twice"),
        ("nothing", "asks-nothing"),
        ("endlessly", "asks-endlessly"),
    ];
    let (_servers, world) = with_servers(&targets, "correct horse 71b2\n", "")?;
    let client = world.signed_in()?;
    for (name, _) in targets {
        let output = client.exec(name, "echo in", b"")?;
        ensure!(
            output.code() == 69 && output.stdout.is_empty(),
            "{name}: {output:?}"
        );
        let line = crate::one_line(&output).with_context(|| name)?;
        ensure!(
            !line.contains(PASSWORD) && !line.contains("5c1e") && !line.contains("Password:"),
            "{name}: {line}"
        );
    }
    Ok(())
}

/// A version that never comes, a key exchange that never ends, banners without end: as long as is set, and no longer.
#[test]
fn a_target_that_never_comes_to_the_point_is_left() -> Result<()> {
    let targets = [
        ("lines", "bare-lines"),
        ("line", "bare-line"),
        ("slow", "bare-slow"),
        ("banners", "floods-banners"),
    ];
    let limits = "target_connect = \"3s\"";
    let (_servers, world) = with_servers(&targets, "wrong battery 92c1\n", limits)?;
    let client = world.signed_in()?;
    let mut beside = client.start(&[&client.on("vault"), "--", "echo in; exec cat"])?;
    beside.stdout.expect("in\n")?;
    let bastion = world.bastion()?;
    let before = bastion.memory()?.serve;
    bastion.forget_peak()?;
    for (name, _) in targets {
        let output = client.exec(name, "echo in", b"")?;
        ensure!(
            output.code() == 69 && output.stdout.is_empty(),
            "{name}: {output:?}"
        );
        let line = crate::one_line(&output).with_context(|| name)?;
        ensure!(!line.contains("5c1e"), "{name}: {line}");
    }
    let grown = bastion.peak()?.serve.saturating_sub(before) / 1024;
    ensure!(grown < 16 * 1024, "memory grew by {grown} KiB");
    let mut input = beside.stdin.take().context("its input")?;
    input.write_all(b"still here\n")?;
    beside.stdout.expect("still here\n")?;
    drop(input);
    beside.finish()?.ok()?;
    Ok(())
}

/// The name of a signal and the message with it are the target's text, which no rule has looked at: a name that the RFC
/// does not know goes on as one that it does, and the message not at all.
#[test]
fn a_signal_of_the_targets_own_says_nothing() -> Result<()> {
    let targets = [("box", "signals-oddly")];
    let (_servers, mut world) = with_servers(&targets, "correct horse 71b2\n", "")?;
    {
        let client = world.signed_in()?;
        let what = serde_json::json!({"do": "run", "commands": ["anything"]});
        let answer = crate::limits::through(&client, &what)?;
        let first = answer.get(0).context("an answer")?;
        ensure!(
            first.get("signal") == Some(&serde_json::json!(["TERM", true]))
                && first.get("said") == Some(&serde_json::json!("")),
            "{answer}"
        );
    }
    world.stop()?;
    for file in tests::files::walk(&world.home)? {
        let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        ensure!(
            !text.contains("SECRET-4111") && !text.contains("5c1e"),
            "{}",
            file.display()
        );
    }
    Ok(())
}

/// What it had said by then is there, and then a line.
#[test]
fn a_target_that_dies_in_the_middle_ends_the_session_with_a_line() -> Result<()> {
    let targets = [("box", "dies")];
    let (_servers, world) = with_servers(&targets, "correct horse 71b2\n", "")?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "anything"])?;
    session.stdout.expect("said before\n")?;
    let mut input = session.stdin.take().context("its input")?;
    input.write_all(b"die\n")?;
    session.end()?;
    drop(input);
    let output = session.finish()?;
    ensure!(
        output.code() == 255 && output.out() == "said before\n",
        "{output:?}"
    );
    let line = crate::one_line(&output)?;
    ensure!(line.contains("connection to the target was lost"), "{line}");
    Ok(())
}
