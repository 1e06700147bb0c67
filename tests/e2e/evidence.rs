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
