//! Files: byte for byte on a target that no protection rule covers, refused on one that is.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::{Output, run};
use tests::ssh::Client;
use tests::world::World;

/// Bytes in which a shift by any amount shows.
fn contents(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(length)
    .collect()
}

fn scp(client: &Client<'_>, arguments: &[&str]) -> Result<Output> {
    run("scp", client.tool("scp").arg("-q").args(arguments), b"")
}

#[test]
fn scp_both_ways_in_both_protocols() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let there = world.place("files-")?;
    // The name has an `@`, so scp is told host and user apart, as `ssh BASTION config` does.
    let user = format!("User={}@box", world.sshd.login);
    for protocol in ["-s", "-O"] {
        for length in [0, 1, 32_768, 5_000_001] {
            let expected = contents(length);
            let from = client.dir.join("from");
            fs::write(&from, &expected)?;
            let to = there.join(format!("to{protocol}{length}"));
            let remote = format!("bastion:{}", to.display());
            let from_text = from.display().to_string();
            scp(&client, &[protocol, "-o", &user, &from_text, &remote])?
                .ok()
                .context("up")?;
            ensure!(fs::read(&to)? == expected, "{protocol} {length} up");
            let back = client.dir.join("back");
            let back_text = back.display().to_string();
            scp(&client, &[protocol, "-o", &user, &remote, &back_text])?
                .ok()
                .context("down")?;
            ensure!(fs::read(&back)? == expected, "{protocol} {length} down");
        }
    }
    let missing = format!("bastion:{}/no-such-file", there.display());
    let output = scp(&client, &["-o", &user, &missing, "."])?;
    ensure!(
        output.code() == 1 && output.err().contains("No such file"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn sftp_batch_and_a_second_client() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let there = world.place("files-")?;
    let expected = contents(3_000_000);
    fs::write(client.dir.join("from"), &expected)?;
    let batch = format!(
        "cd {0}\nput from one\nrename one two\nmkdir sub\nls -l\nget two back\nsymlink two link\nchmod 600 two\nrm link\n",
        there.display()
    );
    let user = format!("User={}@box", world.sshd.login);
    run(
        "sftp",
        client
            .tool("sftp")
            .args(["-q", "-o", &user, "-b", "-", "bastion"]),
        batch.as_bytes(),
    )?
    .ok()?;
    ensure!(fs::read(client.dir.join("back"))? == expected);
    ensure!(fs::read(there.join("two"))? == expected && there.join("sub").is_dir());

    let ask_for = json!({
        "port": world.bastion()?.port, "key": client.key, "host_key": world.host_key,
        "user": format!("{}@box", world.sshd.login), "do": "sftp",
        "from": client.dir.join("from"), "to": there.join("three"), "back": client.dir.join("again"), "folder": there,
    });
    let answer = ask("client.py", &[&ask_for.to_string()])?;
    ensure!(
        answer.get("size") == Some(&Value::from(3_000_000)),
        "{answer}"
    );
    ensure!(fs::read(client.dir.join("again"))? == expected);
    Ok(())
}

#[test]
fn rsync_both_ways() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let there = world.place("files-")?;
    let from = client.dir.join("tree");
    fs::create_dir_all(from.join("sub"))?;
    for n in 0..50_usize {
        fs::write(from.join(format!("sub/{n}")), contents(n * 1000))?;
    }
    let shell = format!(
        "ssh -F {} -l {}@box",
        client.config().display(),
        world.sshd.login
    );
    let rsync = |from: &str, to: &str| {
        run(
            "rsync",
            Command::new("rsync").args(["-a", "-e", &shell, from, to]),
            b"",
        )
    };
    rsync(
        &format!("{}/", from.display()),
        &format!("bastion:{}/", there.display()),
    )?
    .ok()?;
    let back = client.dir.join("back");
    rsync(
        &format!("bastion:{}/", there.display()),
        &format!("{}/", back.display()),
    )?
    .ok()?;
    for n in 0..50_usize {
        ensure!(
            fs::read(back.join(format!("sub/{n}")))? == contents(n * 1000),
            "{n}"
        );
    }
    Ok(())
}

#[test]
fn a_covered_target_refuses_sftp_until_its_content_is_scanned() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let secret = world.place("files-")?.join("secret");
    fs::write(&secret, "ssn\n078-05-1120\n")?;
    let user = format!("User={}@vault", world.sshd.login);
    let remote = format!("bastion:{}", secret.display());
    let output = scp(&client, &["-s", "-o", &user, &remote, "copy"])?;
    ensure!(
        output.code() != 0 && !client.dir.join("copy").exists(),
        "{output:?}"
    );
    let output = run(
        "sftp",
        client
            .tool("sftp")
            .args(["-o", &user, "-b", "-", "bastion"]),
        b"ls\n",
    )?;
    ensure!(output.code() != 0, "{output:?}");
    let output = client.run(
        &["-s", &client.on("vault"), "sftp"],
        b"\0\0\0\x05\x01\0\0\0\x03",
    )?;
    ensure!(output.code() != 0 && output.stdout.is_empty(), "{output:?}");
    // Commands work there.
    ensure!(client.exec("vault", "echo in", b"")?.ok()?.out() == "in\n");
    Ok(())
}
