//! The target's identity: pinned keys and host CAs; anything else is refused, never asked.

use anyhow::{Result, ensure};
use tests::files::{make_key, make_key_of};
use tests::sshd;
use tests::world::{Setup, World, target, target_at};

use crate::one_line;

fn with_identity(identity: impl Fn(&sshd::Sshd) -> Result<String> + 'static) -> Result<World> {
    World::start(&Setup {
        targets: Box::new(move |sshd, _| {
            let key = format!("key = \"{}\"", sshd.user_key.display());
            Ok(target_at(
                "box",
                sshd.port,
                &identity(sshd)?,
                &sshd.login,
                &key,
            ))
        }),
        ..Setup::default()
    })
}

fn refused(world: &World) -> Result<()> {
    let client = world.signed_in()?;
    let output = client.exec("box", "echo in", b"")?;
    ensure!(
        output.code() == 69 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = one_line(&output)?;
    ensure!(
        !line.contains("SHA256") && !line.contains("127.0.0.1"),
        "keys and addresses stay in the log: {line}"
    );
    ensure!(
        !world.sshd.log.text().contains("Accepted"),
        "it signed in all the same"
    );
    Ok(())
}

#[test]
fn a_changed_host_key_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let other = make_key(&folder.path().join("other"))?;
    refused(&with_identity(move |_| {
        Ok(format!("host_keys = [\"{other}\"]"))
    })?)
}

#[test]
fn a_host_key_of_another_kind_than_the_pinned_one_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let other = make_key_of(&folder.path().join("other"), &["-t", "ecdsa"])?;
    refused(&with_identity(move |_| {
        Ok(format!("host_keys = [\"{other}\"]"))
    })?)
}

#[test]
fn one_of_several_pinned_keys_is_enough() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let other = make_key(&folder.path().join("other"))?;
    let world =
        with_identity(move |sshd| Ok(format!("host_keys = [\"{other}\", \"{}\"]", sshd.host_key)))?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    Ok(())
}

#[test]
fn a_target_without_a_pinned_key_is_never_trusted() -> Result<()> {
    // Refused where the inventory is read, or where it is dialled; a person is never asked.
    if let Ok(world) = with_identity(|_| Ok("host_keys = []".to_owned())) {
        refused(&world)?;
    }
    Ok(())
}

fn with_host_ca(trusted: bool) -> Result<World> {
    World::start(&Setup {
        sshd: Box::new(|home| {
            make_key(&home.join("host_ca"))?;
            make_key(&home.join("other_ca"))?;
            Ok(sshd::Options {
                host_ca: Some(home.join("host_ca")),
                ..Default::default()
            })
        }),
        targets: Box::new(move |sshd, home| {
            let ca = tests::files::public_line(&home.join(if trusted {
                "host_ca"
            } else {
                "other_ca"
            }))?;
            let key = format!("key = \"{}\"", sshd.user_key.display());
            Ok(target_at(
                "box",
                sshd.port,
                &format!("host_ca = [\"{ca}\"]"),
                &sshd.login,
                &key,
            ))
        }),
        ..Setup::default()
    })
}

#[test]
fn a_host_certificate_of_the_cas_is_accepted() -> Result<()> {
    let world = with_host_ca(true)?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    Ok(())
}

#[test]
fn a_host_certificate_of_another_ca_is_refused() -> Result<()> {
    refused(&with_host_ca(false)?)
}

#[test]
fn a_plain_key_where_a_certificate_is_wanted_is_refused() -> Result<()> {
    refused(&with_identity(|sshd| {
        // The key itself named as a CA: it signed nothing.
        Ok(format!("host_ca = [\"{}\"]", sshd.host_key))
    })?)
}

/// The target trusts only the bastion's user CA, and knows no key of ours.
#[test]
fn a_certificate_minted_for_one_connection() -> Result<()> {
    let world = World::start(&Setup {
        sshd: Box::new(|home| {
            Ok(sshd::Options {
                user_ca: Some(tests::files::public_line(&home.join("keys/user_ca"))?),
                no_authorized_key: true,
                ..Default::default()
            })
        }),
        targets: Box::new(|sshd, _| Ok(target("box", sshd, "certificate = true"))),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    let log = world.sshd.log.text();
    let line = log
        .lines()
        .find(|line| line.contains("Accepted publickey"))
        .unwrap_or_default();
    ensure!(
        line.contains("ED25519-CERT") && line.contains("ana"),
        "the key id names the user: {line}"
    );
    Ok(())
}
