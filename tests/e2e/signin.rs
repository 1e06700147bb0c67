//! Signing in: the device flow inside plain `ssh`, and leases by key.

use anyhow::{Context, Result, ensure};
use tests::ssh::Session;
use tests::world::{Setup, World};

use crate::one_line;
use crate::reload::audited;

/// How often clients have asked the provider for a device code.
fn flows(world: &World) -> Result<u64> {
    let state = world.provider.state()?;
    let counts = state.get("counts").context("counts")?;
    Ok(counts
        .as_object()
        .context("an object")?
        .iter()
        .filter(|(path, _)| path.ends_with("/device/auth"))
        .filter_map(|(_, count)| count.as_u64())
        .sum())
}

fn staff_only() -> Setup {
    Setup {
        oidc: "allowed_groups = [\"staff\"]".to_owned(),
        ..Setup::default()
    }
}

/// Begins a sign-in with `echo in` on `box`, lets `user` answer it, and waits for the end.
fn attempt(world: &World, user: &str, browser: &[&str]) -> Result<tests::process::Output> {
    let client = world.client()?;
    attempt_with(world, &client, user, browser)
}

fn attempt_with(
    world: &World,
    client: &tests::ssh::Client<'_>,
    user: &str,
    browser: &[&str],
) -> Result<tests::process::Output> {
    let session = client.start(&[&client.on("box"), "--", "echo in"])?;
    let prompt = session.prompt()?;
    world
        .provider
        .approve(&prompt.uri, &prompt.code, user, browser)?;
    session.finish()
}

/// Removes what was shown before the refusal: the address and the code, with the text around them.
fn after_the_prompt(mut output: tests::process::Output) -> Result<String> {
    let text = output.err();
    // The instructions are one message; the refusal is the last line before ssh's own.
    let last = text
        .lines()
        .map(str::trim_end)
        .rfind(|line| !line.is_empty() && !crate::ssh_says(line));
    output.stderr = last.context("a line")?.as_bytes().to_vec();
    one_line(&output)
}

#[test]
fn the_first_sign_in_shows_an_address_and_a_code_and_nobody_presses_enter() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let session = client.start(&[&client.on("box"), "--", "echo in; echo err >&2; exit 7"])?;
    let prompt = session.prompt()?;
    let shown = session.stderr.text();
    ensure!(prompt.uri.starts_with(&world.provider.issuer), "{prompt:?}");
    ensure!(shown.len() < 900, "{} bytes", shown.len());
    ensure!(
        shown
            .bytes()
            .all(|b| matches!(b, 0x20..0x7f | b'\n' | b'\r')),
        "not plain ASCII: {shown:?}"
    );
    ensure!(session.stdout.is_empty(), "the sign-in writes to stdout");
    let browser = world
        .provider
        .approve(&prompt.uri, &prompt.code, "ana", &[])?;
    ensure!(browser.code() == 0, "{}", browser.err());
    // Its standard input is still open and was never written to.
    let mut session = session;
    let status = session.end()?;
    ensure!(
        status.code() == Some(7),
        "{status}\n{}",
        session.stderr.text()
    );
    ensure!(session.stdout.all()? == b"in\n");
    Ok(())
}

#[test]
fn a_key_with_a_lease_needs_no_browser() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    for _ in 0..3 {
        let output = client
            .run(
                &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
                b"",
            )?
            .ok()?;
        ensure!(output.out() == "in\n");
        ensure!(
            output.err().is_empty(),
            "a quiet session: {:?}",
            output.err()
        );
    }
    ensure!(flows(&world)? == 1);
    Ok(())
}

#[test]
fn a_lease_is_of_one_key() -> Result<()> {
    let world = World::usual()?;
    world.signed_in()?;
    let other = world.client()?;
    let output = other.run(
        &["-o", "BatchMode=yes", &other.on("box"), "--", "echo in"],
        b"",
    )?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    Ok(())
}

/// A device code is shown only to who has proven a key, so that the code is the proof.
#[test]
fn keys_of_other_kinds_are_proven_too() -> Result<()> {
    let world = World::start(&Setup {
        limits: "device_flows_per_source = 16".to_owned(),
        ..Setup::default()
    })?;
    let with = |kind: &[&str]| {
        let client = world.client()?;
        std::fs::remove_file(&client.key)?;
        std::fs::remove_file(client.key.with_extension("pub"))?;
        tests::files::make_key_of(&client.key, kind)?;
        anyhow::Ok(client)
    };
    for bits in ["256", "384", "521"] {
        let client = with(&["-t", "ecdsa", "-b", bits])?;
        let session = client.start(&[&client.on("box"), "--", "echo in"])?;
        session.prompt().with_context(|| format!("ecdsa {bits}"))?;
    }
    let client = with(&["-t", "rsa", "-b", "2048"])?;
    client.sign_in("ana")?;
    for (hash, fine) in [
        ("rsa-sha2-512", true),
        ("rsa-sha2-256", true),
        // The same key, by SHA-1.
        ("ssh-rsa", false),
    ] {
        let by = format!("PubkeyAcceptedAlgorithms={hash}");
        let on = client.on("box");
        let command = ["-o", "BatchMode=yes", "-o", &by, &on, "--", "echo in"];
        let output = client.run(&command, b"")?;
        let wanted = if fine { (0, "in\n") } else { (255, "") };
        ensure!(
            (output.code(), &*output.out()) == wanted,
            "{hash}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn batch_mode_without_a_lease_fails_at_once_and_asks_nobody() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let output = client.run(
        &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
        b"",
    )?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(flows(&world)? == 0);
    Ok(())
}

#[test]
fn a_lease_survives_a_restart() -> Result<()> {
    let mut world = World::usual()?;
    let key = {
        let client = world.signed_in()?;
        client.key.clone()
    };
    world.stop()?;
    world.start_again()?;
    let client = world.client()?;
    std::fs::copy(&key, &client.key)?;
    std::fs::copy(key.with_extension("pub"), client.key.with_extension("pub"))?;
    let output = client
        .run(
            &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
            b"",
        )?
        .ok()?;
    ensure!(output.out() == "in\n");
    Ok(())
}

#[test]
fn a_lease_ends() -> Result<()> {
    let world = World::start(&Setup {
        oidc: "lease = \"3s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let until = std::time::Instant::now() + tests::DEADLINE;
    loop {
        let output = client.run(
            &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
            b"",
        )?;
        if output.code() == 255 {
            break;
        }
        ensure!(std::time::Instant::now() < until, "the lease does not end");
    }
    Ok(())
}

#[test]
fn signing_out_ends_the_lease() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    client.console("sign-out --all")?.ok()?;
    let output = client.run(
        &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
        b"",
    )?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn denied_in_the_browser_is_refused_with_one_line() -> Result<()> {
    let world = World::usual()?;
    let output = attempt(&world, "ana", &["--deny"])?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = after_the_prompt(output)?;
    ensure!(
        line.contains("denied") || line.contains("refused"),
        "{line}"
    );
    Ok(())
}

#[test]
fn a_code_that_expires_is_refused_with_one_line() -> Result<()> {
    let world = World::start(&Setup {
        provider: vec!["--code-ttl".into(), "3".into()],
        ..Setup::default()
    })?;
    let client = world.client()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in"])?;
    session.prompt()?;
    let status = session.end()?;
    ensure!(status.code() == Some(255));
    let output = session.finish()?;
    let line = after_the_prompt(output)?;
    ensure!(line.contains("expired"), "{line}");
    Ok(())
}

#[test]
fn our_own_cap_on_a_codes_life_holds_too() -> Result<()> {
    let world = World::start(&Setup {
        oidc: "code_max_age = \"3s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.client()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in"])?;
    let prompt = session.prompt()?;
    session.end()?;
    ensure!(after_the_prompt(session.finish()?)?.contains("expired"));
    // An approval that comes too late signs nobody in.
    world
        .provider
        .approve(&prompt.uri, &prompt.code, "ana", &[])?;
    let output = client.run(
        &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
        b"",
    )?;
    ensure!(output.code() == 255);
    Ok(())
}

/// The deadline of the connection comes before the end of a code that lives as long: with the
/// defaults, always.
#[test]
fn a_code_that_outlives_its_connection_is_refused_with_one_line() -> Result<()> {
    let world = World::start(&Setup {
        limits: "login_deadline = \"8s\"\ncode_deadline = \"8s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.client()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in"])?;
    session.prompt()?;
    let status = session.end()?;
    ensure!(status.code() == Some(255), "{status}");
    let line = after_the_prompt(session.finish()?)?;
    ensure!(line.contains("the sign-in code has expired"), "{line}");
    let refused = audited(&world, "sign_in_refused", 1)?.concat();
    ensure!(refused.contains("\"outcome\":\"expired\""), "{refused}");
    Ok(())
}

#[test]
fn a_key_of_one_person_never_signs_in_another() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in_as("ana")?;
    client.console("sign-out --all")?.ok()?;
    let output = attempt_with(&world, &client, "bob", &[])?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = after_the_prompt(output)?;
    ensure!(
        line.contains("this SSH key belongs to another account"),
        "{line}"
    );
    // Its owner may use it again.
    client.sign_in("ana")?;
    Ok(())
}

#[test]
fn a_person_without_an_allowed_group_is_refused_with_one_line() -> Result<()> {
    let world = World::start(&staff_only())?;
    for user in ["dave", "eve", "nora"] {
        let output = attempt(&world, user, &[])?;
        ensure!(
            output.code() == 255 && output.stdout.is_empty(),
            "{user}: {output:?}"
        );
        let line = after_the_prompt(output)?;
        ensure!(line.contains("group"), "{user}: {line}");
    }
    // A control character in a group's name does not make two groups of it: `finance\nadmins, staff`.
    let client = world.client()?;
    client.sign_in("ana")?;
    Ok(())
}

#[test]
fn a_groups_claim_that_is_a_string_is_not_split_into_rights() -> Result<()> {
    let world = World::start(&staff_only())?;
    let output = attempt(&world, "one", &[])?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn groups_from_userinfo_count_as_well() -> Result<()> {
    let mut setup = staff_only();
    setup.provider = vec!["--claims-in".into(), "userinfo".into()];
    let world = World::start(&setup)?;
    let output = attempt(&world, "ana", &[])?.ok()?;
    ensure!(output.out() == "in\n");
    Ok(())
}

#[test]
fn a_provider_with_proof_keys_and_odd_answers_is_served() -> Result<()> {
    for quirk in ["pkce", "entra", "google"] {
        let oidc = if quirk == "pkce" { "pkce = \"on\"" } else { "" };
        let world = World::start(&Setup {
            provider: vec!["--quirk".into(), quirk.into()],
            oidc: oidc.to_owned(),
            ..Setup::default()
        })?;
        let output = attempt(&world, "ana", &[])?.ok().with_context(|| quirk)?;
        ensure!(output.out() == "in\n", "{quirk}");
    }
    Ok(())
}

#[test]
fn a_provider_over_tls_with_a_ca_of_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().display().to_string();
    let ca = format!("ca_file = \"{dir}/ca.pem\"");
    let world = World::start(&Setup {
        provider: vec!["--tls-dir".into(), dir.clone()],
        oidc: ca,
        ..Setup::default()
    })?;
    let output = attempt(&world, "ana", &["--ca", &format!("{dir}/ca.pem")])?.ok()?;
    ensure!(output.out() == "in\n");
    Ok(())
}

#[test]
fn an_issuer_that_names_another_is_refused_with_one_line() -> Result<()> {
    let mut world = World::usual()?;
    // The same provider at another address, where it still says who it is.
    let port = world.provider.issuer.rsplit_once(':').context("a port")?.1;
    let link = tests::link::Link::to(
        port.trim_end_matches('/').parse()?,
        std::time::Duration::ZERO,
    )?;
    world.stop()?;
    let file = world.home.join("bastion.toml");
    let other = format!("http://127.0.0.1:{}", link.port);
    let text = std::fs::read_to_string(&file)?.replace(&world.provider.issuer, &other);
    std::fs::write(&file, text)?;
    world.start_again()?;
    let client = world.client()?;
    let output = client.run(&[&client.on("box"), "--", "echo in"], b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = one_line(&output)?;
    ensure!(
        line.contains("the identity provider is not set up for this server"),
        "{line}"
    );
    Ok(())
}

#[test]
fn a_provider_that_is_down_stops_new_sign_ins_and_no_lease() -> Result<()> {
    let world = World::usual()?;
    let known = world.signed_in()?;
    let paths = [
        "/device/auth",
        "/token",
        "/jwks",
        "/.well-known/openid-configuration",
    ];
    for path in paths {
        let fault = serde_json::json!({"path": path, "count": 1000, "close": true});
        world.provider.control("fault", &fault)?;
    }
    let stranger = world.client()?;
    let output = stranger.run(&[&stranger.on("box"), "--", "echo in"], b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = one_line(&output)?;
    ensure!(
        line.contains("the identity provider cannot be reached; try again later"),
        "{line}"
    );
    let output = known
        .run(
            &["-o", "BatchMode=yes", &known.on("box"), "--", "echo in"],
            b"",
        )?
        .ok()?;
    ensure!(output.out() == "in\n");
    // It is back.
    for path in paths {
        world
            .provider
            .control("fault", &serde_json::json!({"path": path, "count": 0}))?;
    }
    world.provider.control("fault", &serde_json::json!({}))?;
    stranger.sign_in("ana")?;
    Ok(())
}

#[test]
fn a_provider_that_stumbles_while_polled_does_not_end_the_sign_in() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let session = client.start(&[&client.on("box"), "--", "echo in"])?;
    let prompt = session.prompt()?;
    let fault = serde_json::json!({
        "path": "/token", "count": 2, "status": 503, "body": "<html>busy</html>", "type": "text/html",
    });
    world.provider.control("fault", &fault)?;
    world
        .provider
        .approve(&prompt.uri, &prompt.code, "ana", &[])?;
    let output = session.finish()?.ok()?;
    ensure!(output.out() == "in\n");
    Ok(())
}

#[test]
fn keys_that_the_provider_has_rotated_are_fetched_again() -> Result<()> {
    let world = World::usual()?;
    world.signed_in()?;
    world
        .provider
        .control("rotate-keys", &serde_json::json!({}))?;
    world.signed_in_as("bob")?;
    Ok(())
}

/// How often the provider was asked about a code and said that nobody has used it.
fn polls(world: &World, code: &str) -> Result<u64> {
    let state = world.provider.state()?;
    let codes = state.get("device_codes").and_then(|codes| codes.as_array());
    codes
        .context("the codes")?
        .iter()
        .find(|one| {
            one.get("user_code").and_then(|own| own.as_str()) == Some(&code.replace('-', ""))
        })
        .and_then(|one| one.get("polls")?.as_u64())
        .with_context(|| format!("the code {code}"))
}

/// Waits until it was asked `count` times.
fn polled(world: &World, code: &str, count: u64) -> Result<u64> {
    let until = std::time::Instant::now() + tests::DEADLINE;
    loop {
        let polls = polls(world, code)?;
        if polls >= count {
            return Ok(polls);
        }
        ensure!(std::time::Instant::now() < until, "{polls} polls of {code}");
    }
}

#[test]
fn a_client_that_hangs_up_frees_its_place_and_stops_the_polling() -> Result<()> {
    let world = World::start(&Setup {
        limits: "device_flows = 1\ndevice_flows_per_source = 1".to_owned(),
        ..Setup::default()
    })?;
    let client = world.client()?;
    let session = client.start(&[&client.on("box"), "--", "echo in"])?;
    let left = session.prompt()?.code;
    // The provider wants a second between two polls.
    polled(&world, &left, 2)?;
    drop(session);
    let before = polls(&world, &left)?;
    // The place is the only one: that another gets it is the event.
    let until = std::time::Instant::now() + tests::DEADLINE;
    let other = world.client()?;
    loop {
        let session = other.start(&[&other.on("box"), "--", "echo in"])?;
        if let Ok(prompt) = session.prompt() {
            let freed = polls(&world, &left)?;
            // A hang-up is seen within a second: one more may have been due, and one on its way.
            ensure!(
                freed <= before + 2,
                "polled {before} times when the client had gone, {freed} when its place was free"
            );
            // Three seconds by the provider's clock, in which nobody asks about the code that was left.
            polled(&world, &prompt.code, 4)?;
            let after = polls(&world, &left)?;
            // One may have been on its way.
            ensure!(
                after <= freed + 1,
                "polled {before} times, {freed} when the place was free, {after} later"
            );
            world
                .provider
                .approve(&prompt.uri, &prompt.code, "ana", &[])?;
            ensure!(session.finish()?.ok()?.out() == "in\n");
            return Ok(());
        }
        ensure!(std::time::Instant::now() < until, "the place is not freed");
    }
}

#[test]
fn too_many_pending_sign_ins_are_refused_with_one_line() -> Result<()> {
    let world = World::start(&Setup {
        limits: "device_flows_per_source = 2".to_owned(),
        ..Setup::default()
    })?;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let client = world.client()?;
        let session = client.start(&[&client.on("box"), "--", "echo in"])?;
        session.prompt()?;
        waiting.push(session);
    }
    let third = world.client()?;
    let output = third.run(&[&third.on("box"), "--", "echo in"], b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(one_line(&output)?.contains("pending"), "{}", output.err());
    Ok(())
}

#[test]
fn one_key_has_one_open_sign_in() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let first: Session = client.start(&[&client.on("box"), "--", "echo in"])?;
    let prompt = first.prompt()?;
    let output = client.run(&[&client.on("box"), "--", "echo in"], b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    one_line(&output)?;
    world
        .provider
        .approve(&prompt.uri, &prompt.code, "ana", &[])?;
    ensure!(first.finish()?.ok()?.out() == "in\n");
    Ok(())
}

#[test]
fn without_a_key_nobody_sees_a_code_unless_it_is_allowed() -> Result<()> {
    let no_key = ["-o", "PubkeyAuthentication=no"];
    let world = World::usual()?;
    let client = world.client()?;
    let on = client.on("box");
    let output = client.run(&[no_key[0], no_key[1], &on, "--", "echo in"], b"")?;
    ensure!(
        output.code() == 255 && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(flows(&world)? == 0);

    let world = World::start(&Setup {
        oidc: "require_key = false".to_owned(),
        ..Setup::default()
    })?;
    let client = world.client()?;
    for round in 1..=2 {
        let session = client.start(&[no_key[0], no_key[1], &on, "--", "echo in"])?;
        let prompt = session.prompt()?;
        world
            .provider
            .approve(&prompt.uri, &prompt.code, "ana", &[])?;
        ensure!(session.finish()?.ok()?.out() == "in\n");
        ensure!(flows(&world)? == round, "without a key there is no lease");
    }
    Ok(())
}

#[test]
fn who_i_am_is_what_the_provider_says() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in_as("bob")?;
    let output = client.console("whoami --json")?.ok()?;
    let who: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let text = who.to_string();
    ensure!(
        text.contains("bob") && text.contains("dba") && text.contains("staff"),
        "{text}"
    );
    ensure!(
        text.contains(&world.provider.issuer),
        "the identity is issuer and subject: {text}"
    );
    let explained = client.console("whoami --explain")?.ok()?.out();
    let may = format!("on {}@box by access.cedar:1", world.sshd.login);
    ensure!(explained.contains(&may), "by which policy: {explained}");
    Ok(())
}

#[test]
fn control_characters_in_claims_are_never_printed() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in_as("ansi")?;
    for command in [
        "whoami",
        "whoami --explain",
        "whoami --json",
        "leases",
        "sessions",
        "targets",
    ] {
        let output = client.console(command)?;
        let bad = output
            .stdout
            .iter()
            .chain(&output.stderr)
            .find(|b| matches!(b, 0..0x09 | 0x0b..0x20 | 0x7f));
        ensure!(bad.is_none(), "{command}: {:?}", output.out());
    }
    Ok(())
}
