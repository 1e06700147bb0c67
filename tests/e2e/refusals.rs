//! Everything that is not proxied is refused cleanly: answered, with nothing dialled, and the session goes on.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::run;
use tests::world::{ACCESS, Setup, World};

use crate::one_line;

/// A listener that must see no connection.
pub(crate) struct Trap(TcpListener);

impl Trap {
    pub(crate) fn set() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    pub(crate) fn untouched(&self) -> bool {
        self.0.accept().is_err()
    }
}

/// Everything is permitted but ports, sockets and agents.
fn closed() -> Result<World> {
    World::start(&Setup {
        access: format!(
            "{ACCESS}forbid (principal, action in [Action::\"forward\", Action::\"agent\"], resource);\n"
        ),
        ..Setup::default()
    })
}

#[test]
fn every_kind_of_forwarding_is_refused() -> Result<()> {
    let world = closed()?;
    let client = world.signed_in()?;
    let trap = Trap::set()?;
    let path = client.dir.join("trap");
    let unix = UnixListener::bind(&path)?;
    unix.set_nonblocking(true)?;
    let what = json!({
        "do": "forward", "to_port": trap.port()?, "to_path": path,
    });
    let answers = ask("client.py", &[&client.told(&what)?])?;
    for (kind, answer) in answers.as_object().context("an object")? {
        let answer = answer.as_str().unwrap_or_default();
        if kind == "after" {
            ensure!(answer == "still here\n", "{answers}");
        } else {
            ensure!(answer.starts_with("refused"), "{kind}: {answer}");
        }
    }
    ensure!(
        trap.untouched() && unix.accept().is_err(),
        "something was dialled"
    );
    // Each is written down, with where it should have led.
    let mut world = world;
    let port = trap.port()?;
    world.stop()?;
    let log = audit(&world)?;
    for place in [format!("127.0.0.1:{port}"), path.display().to_string()] {
        let denied = format!("\"action\":\"forward\",\"command\":\"{place}\"");
        ensure!(log.contains(&denied), "{denied} is not in {log}");
    }
    for what in [
        "\"tcpip-forward\",\"what\":\"127.0.0.1:0\"".to_owned(),
        "\"streamlocal-forward\"".to_owned(),
    ] {
        ensure!(
            log.contains(&format!("\"request\":{what}")),
            "{what} is not in {log}"
        );
    }
    Ok(())
}

/// The audit log's text.
fn audit(world: &World) -> Result<String> {
    let mut text = String::new();
    for file in tests::files::walk(&world.home)? {
        if file.to_string_lossy().contains("audit")
            && file.extension().is_some_and(|ext| ext == "jsonl")
        {
            text += &std::fs::read_to_string(file)?;
        }
    }
    Ok(text)
}

/// Whoever is refused is written down with the key that was proven.
#[test]
fn a_refused_sign_in_is_written_down_with_its_key() -> Result<()> {
    let mut world = World::start(&Setup {
        oidc: "allowed_groups = [\"nobody-is-in-it\"]".to_owned(),
        ..Setup::default()
    })?;
    let key = {
        let client = world.client()?;
        let session = client.start(&["bastion", "whoami"])?;
        let prompt = session.prompt()?;
        world
            .provider
            .approve(&prompt.uri, &prompt.code, "ana", &[])?;
        ensure!(!session.finish()?.status.success());
        let shown = run(
            "ssh-keygen",
            std::process::Command::new("ssh-keygen")
                .arg("-lf")
                .arg(&client.key),
            b"",
        )?
        .ok()?
        .out();
        shown.split(' ').nth(1).context("a fingerprint")?.to_owned()
    };
    world.stop()?;
    let log = audit(&world)?;
    let line = log
        .lines()
        .find(|line| line.contains("sign_in_refused"))
        .context("an event")?;
    ensure!(line.contains(&key), "{key} is not in {line}");
    Ok(())
}

#[test]
fn the_stock_clients_forwardings_are_refused() -> Result<()> {
    let world = closed()?;
    let client = world.signed_in()?;
    let trap = Trap::set()?;
    let port = trap.port()?;
    let on = client.on("box");
    let there = format!("127.0.0.1:{port}");
    let output = client.run(&["-W", &there, &on], b"GET / HTTP/1.0\r\n\r\n")?;
    ensure!(
        output.code() != 0 && output.stdout.is_empty(),
        "-W: {output:?}"
    );
    let output = client.run(&["-W", &there, "bastion"], b"")?;
    ensure!(
        output.code() != 0 && output.stdout.is_empty(),
        "-W of the console: {output:?}"
    );
    let remote = format!("0:127.0.0.1:{port}");
    for flags in [
        vec!["-o", "ExitOnForwardFailure=yes", "-R", &remote],
        vec!["-o", "ExitOnForwardFailure=yes", "-R", "0"],
    ] {
        let output = client.run(
            &[flags.as_slice(), &[on.as_str(), "--", "echo in"]].concat(),
            b"",
        )?;
        ensure!(
            output.code() == 255 && output.stdout.is_empty(),
            "{flags:?}: {output:?}"
        );
    }
    ensure!(trap.untouched(), "something was dialled");
    Ok(())
}

/// What the protocol has no line for is said all the same, with what to type instead.
#[test]
fn a_jump_elsewhere_and_a_port_towards_the_client_are_refused_with_a_line() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let trap = Trap::set()?;
    let output = client.run(&["-W", &format!("box:{}", trap.port()?), "bastion"], b"")?;
    let line = "bastion: nothing is relayed that cannot be recorded (-J to more than port 22 of a target's name, -W, -L without a target): use ssh LOGIN@box@";
    ensure!(
        output.code() == 255 && output.stdout.is_empty() && output.err().contains(line),
        "-W of the console: {output:?}"
    );
    // The session goes on, and says it once.
    let remote = format!("0:127.0.0.1:{}", trap.port()?);
    let output = client.run(&["-R", &remote, &client.on("box"), "--", "echo in"], b"")?;
    let told = output
        .err()
        .matches("bastion: nothing is forwarded towards the client (-R)")
        .count();
    ensure!(
        output.code() == 0 && output.out() == "in\n" && told == 1,
        "{output:?}"
    );
    ensure!(trap.untouched(), "something was dialled");
    Ok(())
}

#[test]
fn no_agent_reaches_the_target() -> Result<()> {
    let world = closed()?;
    let client = world.signed_in()?;
    let agent = client.dir.join("agent");
    let _trap = UnixListener::bind(&agent)?;
    let mut command = client.ssh();
    let on = client.on("box");
    // A display would need X11 at the target: that it is refused here is asked for by a raw client below.
    command.args([
        "-o",
        &format!("ForwardAgent={}", agent.display()),
        &on,
        "--",
        "echo agent=$SSH_AUTH_SOCK.",
    ]);
    let output = tests::process::run("ssh", &mut command, b"")?.ok()?;
    ensure!(output.out() == "agent=.\n", "{output:?}");
    Ok(())
}

#[test]
fn an_unknown_subsystem_is_refused() -> Result<()> {
    let mut world = World::start(&Setup {
        // A target that has them: whoever passed the name on would be served.
        sshd: Box::new(|_| {
            Ok(tests::sshd::Options {
                lines: "Subsystem netconf /bin/cat\nSubsystem no-such-subsystem /bin/cat"
                    .to_owned(),
                ..Default::default()
            })
        }),
        ..Setup::default()
    })?;
    let names = ["no-such-subsystem", "netconf", "sftp;id", "SFTP"];
    {
        let client = world.signed_in()?;
        let direct = client.run(&["-s", "direct", "netconf"], b"typed")?;
        ensure!(direct.out() == "typed", "the target serves it: {direct:?}");
        for name in names {
            let output = client.run(&["-s", &client.on("box"), name], b"typed")?;
            ensure!(
                output.code() != 0 && output.stdout.is_empty(),
                "{name}: {output:?}"
            );
        }
    }
    world.stop()?;
    let log = audit(&world)?;
    for name in names {
        let event = format!("\"request\":\"subsystem\",\"what\":\"{name}\"");
        ensure!(log.contains(&event), "{event} is not in {log}");
    }
    Ok(())
}

/// `string` of RFC 4251, in hexadecimal.
fn string(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{:08x}{hex}", text.len())
}

fn raw(client: &tests::ssh::Client<'_>, what: &str, requests: &[(&str, String)]) -> Result<Value> {
    let what = json!({"do": what, "requests": requests, "to_port": 9});
    ask("raw.py", &[&client.told(&what)?])
}

#[test]
fn every_channel_request_is_answered() -> Result<()> {
    let world = closed()?;
    let client = world.signed_in()?;
    let size = "00000050000000180000000000000000";
    let x11 = format!(
        "00{}{}00000000",
        string("MIT-MAGIC-COOKIE-1"),
        string("00112233445566778899aabbccddeeff")
    );
    let granted = [
        (
            "pty-req",
            format!("{}{size}{}", string("xterm"), "0000000100"),
        ),
        ("shell", String::new()),
        ("exec", string("true")),
        ("subsystem", string("sftp")),
    ];
    let refused = [
        ("x11-req", x11),
        ("auth-agent-req@openssh.com", String::new()),
        ("auth-agent-req", String::new()),
        ("env", format!("{}{}", string("LD_PRELOAD"), string("x"))),
        ("unknown@example.test", String::new()),
        ("break", "000001f4".to_owned()),
    ];
    // `signal` and `window-change` never ask for an answer (RFC 4254, 6.7 and 6.9), and get none.
    let either = [
        ("keepalive@openssh.com", String::new()),
        ("xon-xoff", "01".to_owned()),
    ];
    let answers = raw(
        &client,
        "requests",
        &[granted.as_slice(), &refused, &either].concat(),
    )?;
    for (kind, _) in &granted {
        ensure!(
            answers.get(kind) == Some(&Value::from("granted")),
            "{kind}: {answers}"
        );
    }
    for (kind, _) in &refused {
        ensure!(
            answers.get(kind) == Some(&Value::from("refused")),
            "{kind}: {answers}"
        );
    }
    for (kind, _) in &either {
        ensure!(
            answers
                .get(kind)
                .is_some_and(|a| a == "granted" || a == "refused"),
            "{kind}: {answers}"
        );
    }
    Ok(())
}

#[test]
fn every_global_request_is_answered() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let requests = [
        ("tcpip-forward", format!("{}00000000", string("127.0.0.1"))),
        (
            "cancel-tcpip-forward",
            format!("{}00001234", string("127.0.0.1")),
        ),
        (
            "streamlocal-forward@openssh.com",
            string("/tmp/bastion-test-no-such-socket"),
        ),
        ("keepalive@openssh.com", String::new()),
        ("no-more-sessions@openssh.com", String::new()),
        ("unknown@example.test", String::new()),
    ];
    let answers = raw(&client, "globals", &requests)?;
    for (kind, _) in &requests {
        let answer = answers
            .get(kind)
            .and_then(Value::as_str)
            .context("an answer")?;
        ensure!(
            answer == "refused" || (answer == "granted" && !kind.contains("forward")),
            "{kind}: {answer}"
        );
    }
    Ok(())
}

#[test]
fn every_other_kind_of_channel_is_refused() -> Result<()> {
    let world = closed()?;
    let client = world.signed_in()?;
    let none = String::new;
    let kinds = [
        ("direct-tcpip", none()),
        ("forwarded-tcpip", none()),
        ("x11", none()),
        ("auth-agent@openssh.com", none()),
        ("tun@openssh.com", none()),
        ("unknown@example.test", none()),
    ];
    let answers = raw(&client, "opens", &kinds)?;
    for (kind, _) in &kinds {
        ensure!(
            answers
                .get(kind)
                .is_some_and(|a| a.to_string().starts_with("\"refused")),
            "{kind}: {answers}"
        );
    }
    Ok(())
}

#[test]
fn a_channel_runs_one_thing() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let answers = raw(&client, "twice", &[])?;
    for kind in ["exec", "shell", "pty-req"] {
        ensure!(
            answers.get(kind) == Some(&Value::from("refused")),
            "{answers}"
        );
    }
    Ok(())
}

#[test]
fn what_the_policy_does_not_allow_is_77_and_one_line() -> Result<()> {
    let exec_only =
        "permit (principal in Group::\"staff\", action == Action::\"exec\", resource);\n";
    let setup = tests::world::Setup {
        access: exec_only.to_owned(),
        ..Default::default()
    };
    let world = World::start(&setup)?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    let output = client.run(&["-T", &client.on("box")], b"echo in\n")?;
    ensure!(
        output.code() == 77 && output.stdout.is_empty(),
        "a shell: {output:?}"
    );
    one_line(&output)?;
    let output = client.run(&["-s", &client.on("box"), "sftp"], b"")?;
    ensure!(
        output.code() != 0 && output.stdout.is_empty(),
        "sftp: {output:?}"
    );
    Ok(())
}

#[test]
fn without_a_policy_that_permits_nobody_does_anything() -> Result<()> {
    let setup = tests::world::Setup {
        access: "permit (principal in Group::\"nobody\", action, resource);\n".to_owned(),
        ..Default::default()
    };
    let world = World::start(&setup)?;
    let client = world.signed_in()?;
    for command in ["echo in", "id"] {
        let output = client.exec("box", command, b"")?;
        ensure!(
            output.code() == 77 && output.stdout.is_empty(),
            "{output:?}"
        );
        one_line(&output)?;
    }
    ensure!(
        !world.sshd.log.text().contains("Accepted"),
        "the target was dialled"
    );
    Ok(())
}

#[test]
fn the_console_is_no_shell() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let long = format!("whoami {}", "x".repeat(5000));
    let commands = [
        "id",
        "sh",
        "/bin/sh",
        "whoami; id",
        "whoami && id",
        "$(id)",
        "help | cat",
        "-c id",
        &long,
    ];
    for command in commands {
        let output = client.console(command)?;
        ensure!(
            output.code() == 2,
            "{}: {output:?}",
            command.get(..20).unwrap_or(command)
        );
        ensure!(!output.out().contains("uid="), "{output:?}");
    }
    for command in [
        "help",
        "whoami",
        "whoami --explain",
        "targets",
        "config",
        "sessions",
        "leases",
    ] {
        let output = client.console(command)?.ok().context(command)?;
        ensure!(!output.stdout.is_empty(), "{command} prints nothing");
        answered(&client, command)?;
    }
    let (help, config) = (answered(&client, "help")?, answered(&client, "config")?);
    let named = help.pointer("/commands/0/command").is_some();
    ensure!(named, "help --json: {help}");
    let block = config.get("ssh_config").and_then(Value::as_str);
    ensure!(
        block.is_some_and(|block| block.contains("\n    HostName ")),
        "config --json: {config}"
    );
    let explained = answered(&client, "whoami --explain")?;
    let rights = explained.get("rights").and_then(Value::as_array);
    ensure!(
        rights.is_some_and(|rights| rights.len() == 2),
        "whoami --explain --json: {explained}"
    );
    // The last, since it ends the lease.
    let out = answered(&client, "sign-out")?;
    ensure!(
        out.get("leases") == Some(&1.into()),
        "sign-out --json: {out}"
    );
    Ok(())
}

/// What a console command answers with `--json`: one document, which is an object.
fn answered(client: &tests::ssh::Client<'_>, command: &str) -> Result<Value> {
    let output = client.console(&format!("{command} --json"))?;
    let output = output.ok().with_context(|| command.to_owned())?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command} --json: {}", output.out()))?;
    ensure!(answer.is_object(), "{command} --json: {answer}");
    Ok(answer)
}

/// What `ssh BASTION config` prints makes `ssh TARGET` and what runs ssh by itself work as it is.
#[test]
fn the_printed_configuration_works() -> Result<()> {
    let mut world = World::usual()?;
    // A name that every resolver knows, so that nothing of what is printed has to be changed.
    world.reconfigured("name = \"bastion\"", "name = \"localhost\"")?;
    let client = world.signed_in()?;
    let (config, known) = (client.dir.join("printed"), client.dir.join("printed_hosts"));
    let printed = client.console("config")?.ok()?.out();
    std::fs::write(&known, crate::jump::printed(&client)?.join("\n"))?;
    // What a user has beside it: a key, and that nothing is asked.
    let beside = format!(
        "Host *
  IdentityFile {}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
",
        client.key.display(),
        known.display()
    );
    std::fs::write(&config, format!("{printed}\n{beside}"))?;
    let place = crate::protocols::content(&world)?;
    let (file, login) = (place.join("file"), &world.sshd.login);
    let named = format!("{login}.box");
    let shell = format!("ssh -F {}", config.display());
    let works = |program: &str, arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(program);
        command.current_dir(&client.dir).args(arguments);
        command.env("GIT_SSH_COMMAND", &shell);
        let output = run(program, &mut command, b"")?.ok();
        Ok(output
            .with_context(|| format!("{arguments:?}\n{printed}"))?
            .out())
    };
    let conf = config.display().to_string();
    for to in ["box", &named] {
        let said = works("ssh", &["-F", &conf, to, "--", "echo in"])?;
        ensure!(said == "in\n", "{to}: {said}");
    }
    // Whoever jumps has the bastion's own entry, and not those of targets.
    let (jumped, plain) = (format!("{login}@box"), client.dir.join("plain"));
    let (entry, _) = printed.split_once("\n\n").context("one entry")?;
    std::fs::write(&plain, format!("{entry}\n{beside}"))?;
    let plain = plain.display().to_string();
    let jump = ["-J", "localhost", &jumped, "--", "echo in"];
    let said = works("ssh", &[&["-F", &plain], &jump[..]].concat())?;
    ensure!(said == "in\n", "{said}");
    let mut both = Command::new("ssh");
    let both = run("ssh", both.args(["-F", &conf]).args(jump), b"")?;
    ensure!(
        both.code() == 255 && both.err().contains("use ssh TARGET without -J"),
        "{both:?}"
    );
    let own = file.display().to_string();
    let on = |host: &str, name: &str| format!("{host}:{}", place.join(name).display());
    works("scp", &["-q", "-F", &conf, &own, &on("box", "by-scp")])?;
    works("rsync", &["-e", &shell, &own, &on(&named, "by-rsync")])?;
    works("git", &["clone", "-q", &on("box", "repository"), "by-git"])?;
    for copy in [
        place.join("by-scp"),
        place.join("by-rsync"),
        client.dir.join("by-git/file"),
    ] {
        let same = std::fs::read(&copy)? == std::fs::read(&file)?;
        ensure!(same, "{}", copy.display());
    }
    Ok(())
}
