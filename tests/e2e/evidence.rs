//! Recordings as evidence: what an auditor does with the built programs and nothing else.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::files::program;
use tests::process::run;
use tests::recordings::replay;
use tests::world::World;

fn verdict(line: &str) -> Result<String> {
    let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let level = value.get("level").and_then(Value::as_str);
    Ok(level.context("no level")?.to_owned())
}

/// What somebody should not have printed is taken out of its recording: everybody who reads it sees that,
/// nobody reads it, and all the rest is proved as before.
#[test]
fn what_is_withheld_is_seen_by_all_and_read_by_nobody() -> Result<()> {
    let mut world = World::usual()?;
    let folder = world.home.join("recordings");
    // The command line itself stays in the header.
    let command = "echo visible; printf 'hunter%s\\n' 2-4711; exit 3";
    let secret = |bytes: &[u8]| bytes.windows(12).any(|piece| piece == b"hunter2-4711");
    let cast = {
        let client = world.signed_in()?;
        client.exec("box", command, b"")?;
        client.exec("box", "echo other", b"")?;
        let cast = world.recordings().of_command(command)?;
        ensure!(cast.output().contains("hunter2-4711"));
        let name = cast.path.file_name().and_then(|name| name.to_str());
        let id = name
            .and_then(|name| name.split('.').next())
            .context("an id")?;
        let redact = |args: &[&str]| {
            let mut redact = Command::new(program("bastion")?);
            redact.args(["recording", "redact", id, "--person", "ana", "--dir"]);
            redact
                .arg(&folder)
                .args(["--reason", "ticket 4711"])
                .args(args);
            run("bastion", &mut redact, b"")
        };
        ensure!(redact(&["--from", "5:00", "--to", "6:00"])?.code() == 1);
        let done = redact(&["--from", "0", "--to", "1:00"])?.ok()?;
        ensure!(done.out().contains("withheld: "), "{done:?}");
        ensure!(redact(&["--all"])?.code() == 1, "twice the same");
        let listed = client.console("sessions")?.ok()?;
        let out = listed.out();
        ensure!(
            out.contains(" withheld") && !out.contains(", 1 frames"),
            "{out}"
        );
        let fetched = client.console(&format!("recording {id}"))?.ok()?;
        ensure!(fetched.stdout == fs::read(&cast.path)?);
        cast
    };
    world.stop()?;
    let unpacked = run("zstd", Command::new("zstd").arg("-dc").arg(&cast.path), b"")?.ok()?;
    ensure!(!secret(&unpacked.stdout) && unpacked.out().contains("[withheld: frame "));
    for path in tests::files::walk(&folder)? {
        ensure!(!secret(&fs::read(&path)?), "{}", path.display());
    }
    for args in [&["text"][..], &["info"], &["export", "--format", "v2"]] {
        let shown = replay(args, &cast.path)?.ok()?;
        ensure!(shown.out().contains("withheld"), "{args:?}: {shown:?}");
        ensure!(!secret(&shown.stdout));
    }
    let key = fs::read_to_string(folder.join("log/vkey"))?;
    let key = key.trim();
    let away = tempfile::tempdir()?;
    let bundle = away.path().join("case-17.cast.zst");
    let bundle_text = bundle.to_str().context("path")?;
    replay(&["bundle", "--key", key, "-o", bundle_text], &cast.path)?.ok()?;
    for path in [&cast.path, &bundle] {
        let verified = replay(&["verify", "--key", key], path)?;
        let said = verified.out();
        // Nothing is left of so short a command.
        ensure!(
            verified.code() == 1 && said.starts_with("withheld: "),
            "{said}"
        );
        ensure!(said.contains("by ana (uid "), "{said}");
    }
    let all = replay(&["verify", "--key", key, "--all"], &folder)?;
    ensure!(all.out().contains(" 1 with something withheld"), "{all:?}");
    // Who makes such a file without the recorder has altered it.
    let mut bytes = fs::read(&cast.path)?;
    let at = bytes
        .windows(4)
        .position(|piece| piece == b"out1")
        .context("a frame that is withheld")?;
    if let Some(byte) = bytes.get_mut(at + 45) {
        *byte ^= 1;
    }
    fs::write(&cast.path, bytes)?;
    let altered = replay(&["verify", "--json", "--key", key], &cast.path)?;
    ensure!(verdict(altered.out().trim())? == "altered", "{altered:?}");
    Ok(())
}

/// A folder is verified, a bundle away from it, and everything that is done to either shows.
#[test]
fn an_auditor_verifies_a_folder_and_a_bundle() -> Result<()> {
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        client.exec("box", "echo evidence", b"")?;
        client.exec("box", "seq 1 20000; exit 3", b"")?;
    }
    world.stop()?;
    let folder = world.home.join("recordings");
    let key = fs::read_to_string(folder.join("log/vkey"))?;
    let key = key.trim();
    let all = replay(&["verify", "--json", "--key", key, "--all"], &folder)?.ok()?;
    let levels: Vec<String> = all.out().lines().map(verdict).collect::<Result<_>>()?;
    ensure!(
        levels.len() >= 2 && levels.iter().all(|level| level == "complete"),
        "{levels:?}"
    );

    // A bundle, on another machine: nothing of the folder is near.
    let away = tempfile::tempdir()?;
    let cast = world.recordings().of_command("seq 1 20000; exit 3")?;
    let bundle = away.path().join("case-17.cast.zst");
    let bundle_text = bundle.to_str().context("path")?;
    replay(&["bundle", "--key", key, "-o", bundle_text], &cast.path)?.ok()?;
    replay(&["verify", "--key", key], &bundle)?.ok()?;
    replay(&["text"], &bundle)?.ok()?;
    let mut bytes = fs::read(&bundle)?;
    let at = bytes.len() / 3;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    fs::write(&bundle, bytes)?;
    let altered = replay(&["verify", "--json", "--key", key], &bundle)?;
    ensure!(altered.code() == 1, "{altered:?}");
    ensure!(verdict(altered.out().trim())? == "altered");

    // A recording that was cut, and one that is not there any more.
    let whole = fs::read(&cast.path)?;
    fs::write(&cast.path, whole.get(..whole.len() / 2).unwrap_or_default())?;
    let cut = replay(&["verify", "--json", "--key", key], &cast.path)?;
    ensure!(verdict(cut.out().trim())? == "truncated", "{cut:?}");
    fs::remove_file(&cast.path)?;
    let all = replay(&["verify", "--json", "--key", key, "--all"], &folder)?;
    ensure!(all.code() == 1);
    let levels: Vec<String> = all.out().lines().map(verdict).collect::<Result<_>>()?;
    ensure!(
        levels.iter().filter(|level| *level == "missing").count() == 1,
        "{levels:?}"
    );

    // The audit log, by the other program.
    let audit = |what: &str| -> Result<i32> {
        let mut command = Command::new(program("bastion")?);
        command.args(["audit", what, "--dir"]).arg(&folder);
        if what == "verify" {
            command.args(["--key", key]);
        }
        Ok(run("bastion", &mut command, b"")?.code())
    };
    ensure!(audit("verify")? == 0);
    ensure!(audit("export")? == 0);
    let path = folder.join("audit.jsonl");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, text.replacen("box", "bax", 1))?;
    ensure!(audit("verify")? == 1);
    Ok(())
}
