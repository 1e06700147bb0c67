//! Secrets that must appear nowhere: the targets' keys and passwords, codes, tokens.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::files::walk;
use tests::recordings::plain;
use tests::world::{Setup, World, target, target_at};

const PASSWORD: &str = "canary-password-5c19e0";

/// Lines in the middle of a private key, which nothing else contains.
fn key_body(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::to_owned)
        .collect();
    // The first lines hold only what every key begins with, and the public half.
    Ok(lines
        .get(2..)
        .context("a private key")?
        .iter()
        .filter(|line| line.len() > 20)
        .cloned()
        .collect())
}

fn absent(what: &str, bytes: &[u8], canaries: &[String]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    for canary in canaries {
        ensure!(!text.contains(canary.as_str()), "a secret in {what}");
    }
    Ok(())
}

#[test]
fn no_credential_is_in_any_log_recording_store_or_command_line() -> Result<()> {
    let mut world = World::start(&Setup {
        log: "debug".to_owned(),
        targets: Box::new(|sshd, home| {
            use std::os::unix::fs::PermissionsExt;
            let file = home.join("keys/password");
            fs::write(&file, PASSWORD)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            let key = format!("key = \"{}\"", sshd.user_key.display());
            let password = format!("password_file = \"{}\"", file.display());
            let identity = format!("host_keys = [\"{}\"]", sshd.host_key);
            let refused = target_at("locked", sshd.port, &identity, &sshd.login, &password);
            Ok(target("box", sshd, &key) + &refused)
        }),
        ..Setup::default()
    })?;
    let mut canaries = key_body(&world.sshd.user_key)?;
    canaries.extend(key_body(&world.home.join("keys/ssh_host_ed25519_key"))?);
    canaries.extend(key_body(&world.home.join("keys/user_ca"))?);
    canaries.push(PASSWORD.to_owned());
    let (bastion_log, code) = {
        let client = world.client()?;
        let session = client.start(&[&client.on("box"), "--", "echo in"])?;
        let prompt = session.prompt()?;
        world
            .provider
            .approve(&prompt.uri, &prompt.code, "ana", &[])?;
        absent(
            "a client's stderr",
            session.finish()?.ok()?.err().as_bytes(),
            &canaries,
        )?;
        let output = client.exec("locked", "echo in", b"")?;
        ensure!(output.code() == 69, "{output:?}");
        absent("a client's stderr", &output.stderr, &canaries)?;
        for command in [
            "whoami --explain",
            "targets --json",
            "config",
            "sessions --json",
            "leases --json",
        ] {
            absent(command, &client.console(command)?.stdout, &canaries)?;
        }
        let bastion = world.bastion()?;
        for id in [bastion.id(), bastion.recorder()?] {
            for file in ["cmdline", "environ"] {
                absent(file, &fs::read(format!("/proc/{id}/{file}"))?, &canaries)?;
            }
        }
        (bastion.log.clone(), prompt.code)
    };
    world.stop()?;
    absent("the log", bastion_log.text().as_bytes(), &canaries)?;
    ensure!(
        !bastion_log.text().contains(&code),
        "a user code in the log"
    );
    for file in walk(&world.home)? {
        if file.starts_with(world.home.join("keys")) {
            continue;
        }
        let bytes = if file.extension().is_some_and(|e| e == "zst") {
            plain(&file)?
        } else {
            fs::read(&file)?
        };
        absent(&file.display().to_string(), &bytes, &canaries)?;
    }
    Ok(())
}

/// Every line of the audit log is a JSON object that names the one before it.
#[test]
fn the_audit_log_is_a_chain_of_json_lines() -> Result<()> {
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        client.exec(
            "box",
            "echo 'a \"quoted\" line\nand another'; printf '\\033[31m'",
            b"",
        )?;
        client.exec("no-such", "echo in", b"")?;
        client.run(&["-l", "{\"x\":1}\n@box", "bastion", "--", "echo in"], b"")?;
        client.console("sign-out --all")?;
    }
    world.stop()?;
    let audits: Vec<_> = walk(&world.home.join("recordings"))?
        .into_iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains("audit"))
        })
        .collect();
    ensure!(!audits.is_empty(), "no audit log");
    for file in audits {
        let text = fs::read_to_string(&file)?;
        ensure!(text.ends_with('\n'), "a torn last line");
        for line in text.lines() {
            let value: serde_json::Value =
                serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(value.get("prev").is_some(), "{line}");
            ensure!(line.bytes().all(|byte| byte >= 0x20), "{line:?}");
        }
    }
    Ok(())
}
