//! `bastion target`: what it writes is what sessions go by; and targets that refuse what is asked.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::files::make_key;
use tests::process::{Output, run, run_ok};
use tests::sshd::{Options, Sshd};
use tests::world::{Setup, World, target};

use crate::one_line;
use crate::peers::{PASSWORD, server, with_servers};

fn bastion(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(tests::bastion::path()?);
    run("bastion", command.args(arguments), b"")
}

fn secret(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text)?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    Ok(std::fs::set_permissions(file, owner_only)?)
}

/// From a machine of which only the address is known to a session there, and back.
#[test]
fn a_target_that_was_probed_and_added_is_reached_until_it_is_removed() -> Result<()> {
    let world = World::usual()?;
    let (client, sshd) = (world.signed_in()?, &world.sshd);
    let address = format!("127.0.0.1:{}", sshd.port);
    // What it shows is what the machine's own tools say.
    let shown = bastion(&["target", "probe", &address, "--json"])?.ok()?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    ensure!(
        shown.as_array().is_some_and(|keys| keys.len() == 1),
        "{shown}"
    );
    let of = |name: &str| shown.pointer(&format!("/0/{name}")).and_then(Value::as_str);
    ensure!(of("line") == Some(&sshd.host_key), "{shown}");
    let own = sshd.dir.join("host_key.pub");
    let printed = run_ok("ssh-keygen", Command::new("ssh-keygen").arg("-lf").arg(own))?.out();
    let fingerprint = printed.split(' ').nth(1).context("a fingerprint")?;
    ensure!(of("fingerprint") == Some(fingerprint), "{shown}");
    let text = bastion(&["target", "probe", &address])?.ok()?.out();
    ensure!(
        text.contains(fingerprint) && text.contains(&sshd.host_key),
        "{text}"
    );

    let key = sshd.user_key.display().to_string();
    let login = sshd.login.as_str();
    let add = |fingerprint: &str| {
        world.command(&[
            "target",
            "add",
            "added",
            &address,
            "--login",
            login,
            "--key",
            &key,
            "--probe",
            "--fingerprint",
            fingerprint,
        ])
    };
    let inventory = || std::fs::read_to_string(world.home.join("targets.toml"));
    let before = inventory()?;
    let other = format!("SHA256:{}", "A".repeat(43));
    let refused = add(&other)?;
    ensure!(refused.code() == 1, "{refused:?}");
    ensure!(refused.err().contains("nothing was added"), "{refused:?}");
    ensure!(inventory()? == before, "it was written all the same");
    add(fingerprint)?.ok()?;

    // Nobody reaches it before the bastion has read it.
    let exec = |name: &str| client.exec(name, "echo in", b"");
    ensure!(exec("added")?.code() == 77);
    world.command(&["reload"])?.ok()?;
    ensure!(exec("added")?.ok()?.out() == "in\n");
    world.command(&["target", "remove", "added"])?.ok()?;
    ensure!(inventory()?.trim_end() == before.trim_end());
    world.command(&["reload"])?.ok()?;
    let output = exec("added")?;
    ensure!(
        output.code() == 77 && output.stdout.is_empty(),
        "{output:?}"
    );
    one_line(&output)?;
    Ok(())
}

/// The other ways to be known and to log in: a host CA, and a password.
#[test]
fn targets_that_were_added_by_host_ca_and_with_a_password_are_reached() -> Result<()> {
    let world = World::usual()?;
    let ca = world.home.join("other_ca");
    let authority = make_key(&ca)?;
    let options = Options {
        host_ca: Some(ca),
        ..Options::default()
    };
    let signed = Sshd::start(&world.place("signed")?, &options)?;
    let (_server, port, line) = server("password")?;
    let file = world.home.join("keys/password");
    secret(&file, &format!("{PASSWORD}\n"))?;
    let (key, file) = (
        signed.user_key.display().to_string(),
        file.display().to_string(),
    );
    let login = world.sshd.login.as_str();
    let ways = [
        (
            "signed",
            signed.port,
            ["--key", &key],
            ["--host-ca", &authority],
        ),
        (
            "asked",
            port,
            ["--password-file", &file],
            ["--host-key", &line],
        ),
    ];
    for (name, port, how, who) in ways {
        let address = format!("127.0.0.1:{port}");
        let mut arguments = vec!["target", "add", name, &address, "--login", login];
        arguments.extend(how.into_iter().chain(who));
        world.command(&arguments)?.ok()?;
    }
    world.command(&["reload"])?.ok()?;
    let client = world.signed_in()?;
    ensure!(client.exec("signed", "echo in", b"")?.ok()?.out() == "in\n");
    ensure!(client.exec("asked", "echo in", b"")?.ok()?.out() == "password: echo in\n");
    Ok(())
}

/// `credential:NAME` is what systemd hands over (systemd.exec(5), `LoadCredential=`): a file in the
/// folder that `CREDENTIALS_DIRECTORY` names, root's with an access list where the service is not.
#[test]
fn a_targets_key_may_be_a_credential_of_the_service_manager() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let world = World::start(&Setup {
        targets: Box::new(|sshd, home| {
            let folder = home.join("credentials");
            std::fs::create_dir(&folder)?;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
            let handed = folder.join("box-key");
            std::fs::copy(&sshd.user_key, &handed)?;
            let mode = if tests::files::is_root() {
                0o440
            } else {
                0o400
            };
            std::fs::set_permissions(&handed, std::fs::Permissions::from_mode(mode))?;
            Ok(target("box", sshd, "key = \"credential:box-key\""))
        }),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    // One that others may read is none.
    let file = world.home.join("credentials/box-key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444))?;
    let refused = world.command(&["reload"])?;
    ensure!(refused.code() == 1, "{refused:?}");
    ensure!(refused.err().contains("box-key"), "{refused:?}");
    Ok(())
}

/// OpenSSH without terminals (`PermitTTY no`).
#[test]
fn a_target_that_refuses_a_terminal_is_69_and_one_line() -> Result<()> {
    let world = World::start(&Setup {
        sshd: Box::new(|_| {
            Ok(Options {
                lines: "PermitTTY no".to_owned(),
                ..Options::default()
            })
        }),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let output = client.run(&["-tt", &client.on("box"), "--", "echo in"], b"")?;
    ensure!(output.code() == 69, "{output:?}");
    let said = format!("{}{}", output.out(), output.err());
    ensure!(
        said.matches("bastion: the target refuses a terminal")
            .count()
            == 1,
        "{output:?}"
    );
    ensure!(!said.lines().any(|line| line.trim() == "in"), "{output:?}");
    // What needs none is as ever.
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    Ok(())
}

/// A server that starts nothing: the answer to each is a refusal, and not an end.
#[test]
fn a_target_that_starts_nothing_is_69_and_one_line() -> Result<()> {
    let (_servers, world) = with_servers(&[("box", "starts-nothing")], PASSWORD, "")?;
    let client = world.signed_in()?;
    let on = client.on("box");
    let asked: [&[&str]; 3] = [&["-T", &on], &[&on, "--", "echo in"], &["-s", &on, "sftp"]];
    for arguments in asked {
        let output = client.run(arguments, b"")?;
        ensure!(
            output.code() == 69 && output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
        let line = one_line(&output)?;
        ensure!(
            line == "bastion: the target refuses the request",
            "{arguments:?}: {line}"
        );
    }
    Ok(())
}
