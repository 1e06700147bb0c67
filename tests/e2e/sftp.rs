//! Files: byte for byte on a target that no protection rule covers, in one direction only where a
//! policy says so; refused on a target that a rule covers.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::{Output, run};
use tests::ssh::Client;
use tests::world::{PROTECT, Setup, World};

use crate::reload::audited;

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

/// A target's folder as one of one's own. Needs leave to mount; says so where there is none.
#[test]
fn a_mounted_folder_has_the_same_bytes() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let there = world.place("files-")?;
    let expected = contents(3_000_001);
    fs::write(there.join("read"), &expected)?;
    let Some(mounted) = Mounted::of(&client, &there)? else {
        return crate::skipped("sshfs or /dev/fuse is missing, or may not be used here");
    };
    let here = &mounted.0;
    ensure!(fs::read(here.join("read"))? == expected, "read");
    fs::create_dir(here.join("new"))?;
    fs::write(here.join("new/written"), &expected)?;
    fs::rename(here.join("new/written"), here.join("new/renamed"))?;
    ensure!(fs::read(there.join("new/renamed"))? == expected, "written");
    ensure!(fs::read_dir(here)?.count() == 2, "its entries");
    fs::remove_file(here.join("read"))?;
    ensure!(!there.join("read").exists(), "it was removed");
    let missing = fs::read(here.join("read"));
    ensure!(
        missing.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound),
        "what is not there"
    );
    Ok(())
}

/// Where `sshfs` has mounted a folder, until it is dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn of(client: &Client<'_>, there: &std::path::Path) -> Result<Option<Self>> {
        let here = client.dir.join("mounted");
        fs::create_dir(&here)?;
        let found = Command::new("sshfs").arg("--version").output();
        if found.is_err() || fs::File::open("/dev/fuse").is_err() {
            return Ok(None);
        }
        let remote = format!("{}:{}", client.on("box"), there.display());
        let mut sshfs = Command::new("sshfs");
        sshfs.arg("-F").arg(client.config()).arg(remote).arg(&here);
        let output = run("sshfs", &mut sshfs, b"")?;
        // The kernel's word, before anything was asked of the target.
        if output.err().contains("Operation not permitted") {
            return Ok(None);
        }
        output.ok()?;
        Ok(Some(Self(here)))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut fusermount = Command::new("fusermount3");
        run("fusermount3", fusermount.arg("-uz").arg(&self.0), b"").ok();
    }
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

    let what = json!({
        "do": "sftp",
        "from": client.dir.join("from"), "to": there.join("three"), "back": client.dir.join("again"), "folder": there,
    });
    let answer = ask("client.py", &[&client.told(&what)?])?;
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

/// A world in which these actions are permitted, and no others.
fn permitting(actions: &str) -> Result<World> {
    World::start(&Setup {
        access: format!(
            "permit (principal in Group::\"staff\", action in [{actions}], resource);\n"
        ),
        ..Setup::default()
    })
}

fn sftp(client: &Client<'_>, target: &str, world: &World, batch: &str) -> Result<Output> {
    let user = format!("User={}@{target}", world.sshd.login);
    run(
        "sftp",
        client
            .tool("sftp")
            .args(["-q", "-o", &user, "-b", "-", "bastion"]),
        batch.as_bytes(),
    )
}

#[test]
fn files_only_come_down_where_nobody_permits_writing() -> Result<()> {
    let mut world = permitting("Action::\"exec\", Action::\"sftp_read\"")?;
    let client = world.signed_in()?;
    let there = world.place("files-")?;
    let (kept, folder) = (there.join("kept"), there.display().to_string());
    let expected = contents(3_000_000);
    fs::write(&kept, &expected)?;
    fs::write(client.dir.join("from"), b"from")?;
    let batch = format!(
        "cd {folder}\n-put from new\n-put from kept\n-rename kept other\n-rm kept\n-mkdir sub\n-chmod 600 kept\n-symlink kept link\n-ln kept hard\nls -l\nget kept back\n"
    );
    let output = sftp(&client, "box", &world, &batch)?.ok()?;
    let error = output.err();
    ensure!(
        error.matches("ermission denied").count() >= 6
            && error.contains("bastion: files can only be read here"),
        "{output:?}"
    );
    ensure!(output.out().contains("kept"), "{output:?}");
    ensure!(fs::read(client.dir.join("back"))? == expected);
    ensure!(fs::read(&kept)? == expected && fs::read_dir(&there)?.count() == 1);

    let user = format!("User={}@box", world.sshd.login);
    let remote = format!("bastion:{folder}/new");
    for protocol in ["-s", "-O"] {
        let from = client.dir.join("from").display().to_string();
        let output = scp(&client, &[protocol, "-o", &user, &from, &remote])?;
        if protocol == "-s" {
            ensure!(
                output.code() != 0 && output.err().contains("ermission denied"),
                "{output:?}"
            );
            ensure!(!there.join("new").exists(), "{output:?}");
        } else {
            // The older protocol is a command, `scp -t`, which `exec` permits.
            output.ok()?;
        }
    }
    let refused = audited(&world, "request_refused", 8)?.concat();
    ensure!(
        refused.contains("\"request\":\"sftp\"")
            && refused.contains("open ")
            && refused.contains("remove "),
        "{refused}"
    );
    drop(client);
    world.stop()?;
    let casts = format!("{:?}", world.recordings().all()?);
    ensure!(casts.contains("sftp request refused: remove "), "no marker");
    Ok(())
}

#[test]
fn files_only_go_up_where_nobody_permits_reading() -> Result<()> {
    let world = permitting("Action::\"sftp_write\"")?;
    let client = world.signed_in()?;
    let there = world.place("files-")?;
    let (kept, folder) = (there.join("kept"), there.display().to_string());
    fs::write(&kept, "ssn\n078-05-1120\n")?;
    let expected = contents(3_000_000);
    fs::write(client.dir.join("from"), &expected)?;
    let batch = format!(
        "cd {folder}\nput from new\nrename new newer\nchmod 600 newer\nmkdir sub\n-get kept back\n-ls\n-reget kept back\nput from again\n"
    );
    let output = sftp(&client, "box", &world, &batch)?.ok()?;
    ensure!(
        output.err().contains("ermission denied")
            && output
                .err()
                .contains("bastion: files can only be written here")
            && !output.out().contains("078-05"),
        "{output:?}"
    );
    ensure!(fs::read(there.join("newer"))? == expected && there.join("sub").is_dir());
    ensure!(fs::read(there.join("again"))? == expected);
    let back = client.dir.join("back");
    ensure!(
        !back.exists() || fs::read(&back)?.is_empty(),
        "it came down"
    );

    let user = format!("User={}@box", world.sshd.login);
    let (up, down) = (
        format!("bastion:{folder}/up"),
        format!("bastion:{folder}/kept"),
    );
    let from = client.dir.join("from").display().to_string();
    scp(&client, &["-s", "-o", &user, &from, &up])?.ok()?;
    ensure!(fs::read(there.join("up"))? == expected);
    let output = scp(&client, &["-s", "-o", &user, &down, "copy"])?;
    ensure!(
        output.code() != 0 && output.err().contains("ermission denied"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn what_is_not_sftp_does_not_pass_in_one_direction() -> Result<()> {
    let world = permitting("Action::\"sftp_read\"")?;
    let client = world.signed_in()?;
    for input in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        b"\0\0\0\x05\x01\0\0\0\x02",
        b"\0\0\0\x05\x01\0\0\0\x03\xff\xff\xff\xff\x05",
    ] {
        let output = client.run(&["-s", &client.on("box"), "sftp"], input)?;
        ensure!(
            output.code() == 65 && output.err().contains("needs sftp version 3"),
            "{output:?}"
        );
    }
    Ok(())
}

#[test]
fn a_covered_target_refuses_sftp_unless_its_policies_pass_it_unread() -> Result<()> {
    let refused = |output: &Output| {
        output.code() == 77
            && output.stdout.is_empty()
            && output.err().contains("what would come cannot be scanned")
    };
    let hello = b"\0\0\0\x05\x01\0\0\0\x03";
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
    let output = client.run(&["-s", &client.on("vault"), "sftp"], hello)?;
    ensure!(refused(&output), "{output:?}");
    // Commands work there.
    ensure!(client.exec("vault", "echo in", b"")?.ok()?.out() == "in\n");

    // In one direction, too: on the way up answers come down, and the target chooses their text.
    for action in ["sftp_read", "sftp_write"] {
        let world = permitting(&format!("Action::\"{action}\""))?;
        let client = world.signed_in()?;
        let output = client.run(&["-s", &client.on("vault"), "sftp"], hello)?;
        ensure!(refused(&output), "{action}: {output:?}");
    }

    // Whoever writes that files pass unread has them pass unread, and the account says so.
    let world = World::start(&Setup {
        protect: format!("{PROTECT}[unreadable]\nsftp = \"pass\"\n"),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let user = format!("User={}@vault", world.sshd.login);
    let remote = format!("bastion:{}", secret.display());
    scp(&client, &["-s", "-o", &user, &remote, "copy"])?.ok()?;
    ensure!(fs::read_to_string(client.dir.join("copy"))? == "ssn\n078-05-1120\n");
    let ended = crate::reload::audited(&world, "session_ended", 1)?.concat();
    ensure!(
        ended.contains("\"passed\":0,") && !ended.contains("\"unreadable\":0,"),
        "{ended}"
    );
    Ok(())
}
