//! Output that waits for another person's decision, with stock clients.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::files::walk;
use tests::process::Output;
use tests::recordings::plain;
use tests::ssh::{Client, Session};
use tests::terminal::Terminal;
use tests::world::{Setup, World};

/// What people earn is held on `vault`; e-mail addresses are masked there.
const PROTECT: &str = "[[rule]]
name = \"payroll\"
targets = [\"vault\"]
fields = [\"salary\", \"iban\"]
action = { hold = { approvers = \"finance-approvers\" } }
[[rule]]
name = \"pii\"
targets = [\"vault\"]
fields = [\"email\"]
action = { mask = \"redact\" }
";

/// A table with a secret that nothing else contains.
pub(crate) const QUERY: &str = "echo id,email,salary; for i in 1 2; do echo $i,$i@x.example,k$((4711000+i)); done; echo note >&2; exit 3";
pub(crate) const HEADER: &str = "id,email,salary\n";
/// Before it is printed nothing contains it: commands put it together.
pub(crate) const CANARY: &str = "k4711";

/// What `staff` and the approvers may do; nobody reads the audit log.
pub(crate) const ACCESS: &str = "permit (principal in Group::\"staff\", action in [Action::\"shell\", Action::\"exec\"], resource);
permit (principal in Group::\"finance-approvers\", action in [Action::\"approve\", Action::\"show_payload\"], resource);
";

pub(crate) fn setup() -> Setup {
    Setup {
        access: ACCESS.to_owned(),
        protect: PROTECT.to_owned(),
        ..Setup::default()
    }
}

/// The hold that a client was told of.
pub(crate) fn held(session: &Session) -> Result<String> {
    session.stderr.wait("a hold's name", find)
}

pub(crate) fn find(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let at = text.find("H-")?;
    let id = text.get(at..at + 8)?;
    Some(id.to_owned())
}

fn start(client: &Client<'_>, command: &str) -> Result<Session> {
    client.start(&[&client.on("vault"), "--", command])
}

/// Runs a console command; its status must be this.
pub(crate) fn console(client: &Client<'_>, command: &str, status: i32) -> Result<Output> {
    let output = client.console(command)?;
    ensure!(output.code() == status, "{command}: {output:?}");
    Ok(output)
}

pub(crate) fn json(client: &Client<'_>, command: &str) -> Result<Value> {
    Ok(serde_json::from_slice(
        &console(client, command, 0)?.stdout,
    )?)
}

pub(crate) fn state(client: &Client<'_>, id: &str) -> Result<String> {
    let shown = json(client, &format!("show {id} --json"))?;
    let state = shown.get("state").and_then(Value::as_str);
    Ok(state.context("a state")?.to_owned())
}

/// Approves as soon as it is sealed.
pub(crate) fn approve(client: &Client<'_>, id: &str) -> Result<()> {
    decide(client, &format!("approve {id} --reason seen"))
}

pub(crate) fn decide(client: &Client<'_>, decision: &str) -> Result<()> {
    loop {
        let output = client.console(decision)?;
        if output.code() == 0 {
            return Ok(());
        }
        ensure!(output.err().contains("not sealed yet"), "{output:?}");
    }
}

/// How many payloads are on disk.
fn payloads(world: &World) -> Result<usize> {
    Ok(walk(&world.home.join("state/held"))?.len())
}

#[test]
fn an_approved_output_arrives_with_its_own_status() -> Result<()> {
    let mut world = World::start(&setup())?;
    {
        let (ana, bob, carol) = (
            world.signed_in()?,
            world.signed_in_as("bob")?,
            world.signed_in_as("carol")?,
        );
        let session = start(&ana, QUERY)?;
        let id = held(&session)?;
        // What came before the record has left, and nothing else.
        session.stdout.expect(HEADER)?;
        let line = session.stderr.text();
        ensure!(
            line.contains(&format!("bastion: output held as {id} (payroll: salary), waiting for 1 approval from finance-approvers; ssh bastion show {id}\n")),
            "{line:?}"
        );
        // Nobody decides on their own, nor without the group.
        console(&ana, &format!("approve {id}"), 77)?;
        console(&ana, &format!("deny {id}"), 77)?;
        console(&bob, &format!("approve {id}"), 77)?;
        console(&bob, &format!("show {id}"), 77)?;
        console(&bob, &format!("fetch {id}"), 77)?;
        console(&carol, &format!("fetch {id}"), 77)?;
        console(&carol, "approve H-", 2)?;
        console(&carol, &format!("approve {}", id.to_lowercase()), 2)?;
        let list = console(&carol, "holds", 0)?.out();
        ensure!(list.contains(&id) && list.contains("can decide"), "{list}");
        ensure!(!console(&bob, "holds --all", 0)?.out().contains(&id));
        let shown = console(&carol, &format!("show {id}"), 0)?.out();
        ensure!(
            shown.contains("rows       2") && shown.contains("preview"),
            "{shown}"
        );
        ensure!(shown.contains("1,***,***\n2,***,***\n"), "{shown}");
        ensure!(!contains(shown.as_bytes()), "{shown}");
        let payload = console(&carol, &format!("show {id} --payload"), 0)?.out();
        ensure!(
            payload.ends_with("1,***,k4711001\n2,***,k4711002\nstderr: note\n"),
            "{payload}"
        );
        console(&ana, &format!("show {id} --payload"), 77)?;
        approve(&carol, &id)?;
        let output = session.finish()?;
        ensure!(output.code() == 3, "{output:?}");
        ensure!(
            output.out() == format!("{HEADER}1,***,k4711001\n2,***,k4711002\n"),
            "{output:?}"
        );
        ensure!(output.err().contains("note\n"), "{output:?}");
        console(&ana, &format!("fetch {id}"), 65)?;
        console(&carol, &format!("deny {id}"), 65)?;
        ensure!(payloads(&world)? == 0);
    }
    world.stop()?;
    let cast = world.recordings().of_command(QUERY)?;
    let markers = cast.data("m").join("\n");
    ensure!(
        markers.contains("held as H-") && markers.contains("approved by"),
        "{markers}"
    );
    // Line ends of a recording are a terminal's.
    let seen = cast.output().replace('\r', "");
    ensure!(
        seen == format!("{HEADER}1,***,***\n2,***,***\nnote\n"),
        "{seen:?}"
    );
    ensure!(cast.exit() == Some("3"));
    Ok(())
}

/// Whoever sees a session while it runs takes part in it.
#[test]
fn who_watched_decides_no_more_than_the_producer() -> Result<()> {
    let mut setup = setup();
    setup.access.push_str(
        "permit (principal in Group::\"finance-approvers\", action == Action::\"recording\", resource);\n",
    );
    let mut world = World::start(&setup)?;
    let id = {
        let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
        let mut session = start(&ana, QUERY)?;
        let id = held(&session)?;
        let listed = json(&ana, "sessions --active --json")?;
        let running = listed.pointer("/sessions/0/id").and_then(Value::as_str);
        let running = running.context("a running session")?.to_owned();
        console(&carol, &format!("recording {running}"), 0)?;
        for refused in ["approve", "deny", "show --payload"] {
            let refused = console(&carol, &format!("{refused} {id}"), 77)?;
            ensure!(!contains(&refused.stdout), "{refused:?}");
        }
        ensure!(!console(&carol, "holds", 0)?.out().contains("can decide"));
        world.bastion()?.signal(Signal::TERM)?;
        session.end()?;
        id
    };
    // Nor after a restart.
    world.reap()?;
    world.start_again()?;
    let carol = world.signed_in_as("carol")?;
    console(&carol, &format!("approve {id}"), 77)?;
    Ok(())
}

#[test]
fn a_denied_output_never_arrives() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let session = start(&ana, QUERY)?;
    let id = held(&session)?;
    session.stderr.expect("show")?;
    decide(&carol, &format!("deny {id} --reason not needed"))?;
    let output = session.finish()?;
    ensure!(output.code() == 76, "{output:?}");
    ensure!(output.out() == HEADER, "{output:?}");
    ensure!(output.err().contains("not needed"), "{output:?}");
    ensure!(payloads(&world)? == 0);
    console(&ana, &format!("fetch {id}"), 76)?;
    // The loser is told who won.
    let late = console(&carol, &format!("approve {id}"), 65)?;
    ensure!(late.err().contains("denied"), "{late:?}");
    Ok(())
}

#[test]
fn a_client_that_does_not_wait_fetches_once() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let output = ana.run(
        &[
            "-o",
            "SetEnv=BASTION_HOLD=detach",
            &ana.on("vault"),
            "--",
            QUERY,
        ],
        b"",
    )?;
    ensure!(output.code() == 75 && output.out() == HEADER, "{output:?}");
    let id = find(&output.stderr).context("a hold")?;
    console(&ana, &format!("fetch {id}"), 75)?;
    approve(&carol, &id)?;
    ensure!(state(&ana, &id)? == "approved");
    let fetched = console(&ana, &format!("fetch {id}"), 0)?;
    ensure!(fetched.out().contains("k4711001") && fetched.out().contains("k4711002"));
    ensure!(fetched.err() == "note\n", "{fetched:?}");
    console(&ana, &format!("fetch {id}"), 65)?;
    ensure!(payloads(&world)? == 0);
    Ok(())
}

#[test]
fn a_hold_expires() -> Result<()> {
    let world = World::start(&Setup {
        protect: PROTECT.replace(
            "\"finance-approvers\"",
            "\"finance-approvers\", expires = \"2s\"",
        ),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let session = start(&ana, QUERY)?;
    let id = held(&session)?;
    let output = session.finish()?;
    ensure!(output.code() == 78 && output.out() == HEADER, "{output:?}");
    ensure!(payloads(&world)? == 0);
    console(&carol, &format!("approve {id}"), 65)?;
    console(&ana, &format!("fetch {id}"), 78)?;
    Ok(())
}

#[test]
fn more_than_may_be_held_stops_the_command() -> Result<()> {
    let world = World::start(&Setup {
        holds: "max_bytes = 100000".to_owned(),
        ..setup()
    })?;
    let ana = world.signed_in()?;
    let output = ana.exec(
        "vault",
        "printf 'id,salary\\n'; while :; do echo 1,k$((4711)); done",
        b"",
    )?;
    ensure!(output.code() == 65, "{output:?}");
    ensure!(!output.out().contains(CANARY));
    let id = find(&output.stderr).context("a hold")?;
    ensure!(output.err().contains("100000 bytes"), "{output:?}");
    ensure!(state(&ana, &id)? == "void");
    ensure!(payloads(&world)? == 0);
    Ok(())
}

/// An endless command is sealed when it is quiet, and goes on after the decision; what comes then
/// is looked at anew, under the header that was there before.
#[test]
fn an_endless_command_is_sealed_when_it_is_quiet() -> Result<()> {
    let world = World::start(&Setup {
        holds: "seal_quiet = \"300ms\"".to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let mut session = start(
        &ana,
        "printf 'id,salary\\n1,k4711001\\n'; while read line; do printf '%s\\n' \"$line\"; done; echo end >&2",
    )?;
    let id = held(&session)?;
    session.stderr.expect("show")?;
    approve(&carol, &id)?;
    session.stdout.expect("1,k4711001\n")?;
    ensure!(state(&ana, &id)? == "delivered");
    // Input has been flowing all the time, and what comes now is a new hold.
    let mut stdin = session.stdin.take().context("input")?;
    std::io::Write::write_all(&mut stdin, b"2,k4711002\n")?;
    std::io::Write::flush(&mut stdin)?;
    let second = session.stderr.wait("another hold", |bytes| {
        let text = String::from_utf8_lossy(bytes).replace(&id, "");
        find(text.as_bytes())
    })?;
    ensure!(!String::from_utf8_lossy(&session.stdout.so_far()).contains("k4711002"));
    drop(stdin);
    approve(&carol, &second)?;
    let output = session.finish()?;
    ensure!(output.code() == 0, "{output:?}");
    ensure!(
        output.out() == "id,salary\n1,k4711001\n2,k4711002\n",
        "{output:?}"
    );
    ensure!(output.err().contains("end\n"), "{output:?}");
    Ok(())
}

#[test]
fn what_came_before_the_client_left_can_be_decided() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let mut session = start(&ana, "printf 'id,salary\\n1,k4711001\\n'; exec sleep 1000")?;
    let id = held(&session)?;
    session.running.signal(Signal::KILL)?;
    session.end()?;
    approve(&carol, &id)?;
    ensure!(console(&ana, &format!("fetch {id}"), 0)?.out() == "1,k4711001\n");
    Ok(())
}

/// Row 41: a killed bastion loses no sealed hold, and nothing of an open one is ever delivered.
#[test]
fn a_killed_bastion_keeps_what_is_sealed() -> Result<()> {
    let mut world = World::start(&setup())?;
    let recorder;
    let (sealed, open) = {
        let ana = world.signed_in()?;
        let detached = ana.run(
            &[
                "-o",
                "SetEnv=BASTION_HOLD=detach",
                &ana.on("vault"),
                "--",
                QUERY,
            ],
            b"",
        )?;
        let sealed = find(&detached.stderr).context("a hold")?;
        let session = start(&ana, "printf 'id,salary\\n1,k4711001\\n'; exec sleep 1000")?;
        let open = held(&session)?;
        recorder = world.bastion()?.recorder()?;
        world.bastion()?.signal(Signal::KILL)?;
        let output = session.finish()?;
        ensure!(
            output.code() == 255 && output.out() == "id,salary\n",
            "{output:?}"
        );
        (sealed, open)
    };
    world.reap()?;
    tests::bastion::ended(recorder)?;
    world.start_again()?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    ensure!(state(&ana, &open)? == "void");
    console(&carol, &format!("approve {open}"), 65)?;
    console(&ana, &format!("fetch {open}"), 65)?;
    approve(&carol, &sealed)?;
    ensure!(
        console(&ana, &format!("fetch {sealed}"), 0)?
            .out()
            .contains("k4711002")
    );
    ensure!(payloads(&world)? == 0);
    Ok(())
}

#[test]
fn machines_are_told_in_json() -> Result<()> {
    let world = World::start(&setup())?;
    let ana = world.signed_in()?;
    let output = ana.run(
        &[
            "-o",
            "SetEnv=BASTION_HOLD=detach BASTION_NOTICES=json:n0nce",
            &ana.on("vault"),
            "--",
            QUERY,
        ],
        b"",
    )?;
    let notices: Vec<Value> = output
        .err()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    ensure!(notices.len() == 2, "{output:?}");
    let id = find(&output.stderr).context("a hold")?;
    let [held, ended] = notices.as_slice() else {
        anyhow::bail!("{notices:?}")
    };
    ensure!(
        held.get("hold") == Some(&Value::from(id))
            && held.get("nonce") == Some(&Value::from("n0nce"))
    );
    ensure!(ended.get("status") == Some(&Value::from(75)), "{ended}");
    Ok(())
}

/// The rule for segregated targets: whatever it looks like.
#[test]
fn a_rule_for_the_whole_output_holds_every_byte() -> Result<()> {
    let world = World::start(&Setup {
        protect: "[[rule]]\nname = \"all\"\ntargets = [\"vault\"]\naction = { hold = { scope = \"output\", approvers = \"finance-approvers\" } }\n".to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let session = start(&ana, "echo aliased k$((4710+1)); echo also >&2; cat")?;
    let id = held(&session)?;
    let shown = console(&carol, &format!("show {id}"), 0)?.out();
    ensure!(!shown.contains(CANARY), "{shown}");
    // Input, and its end, reach the command while its output is held.
    let mut session = session;
    let mut stdin = session.stdin.take().context("input")?;
    std::io::Write::write_all(&mut stdin, b"typed\n")?;
    drop(stdin);
    approve(&carol, &id)?;
    let output = session.finish()?;
    ensure!(
        output.code() == 0 && output.out() == "aliased k4711\ntyped\n",
        "{output:?}"
    );
    ensure!(output.err().ends_with("also\n"), "{output:?}");
    for cast in world.recordings().all()? {
        ensure!(!cast.output().contains(CANARY));
    }
    Ok(())
}

#[test]
fn a_shell_goes_on_and_its_held_values_can_be_fetched() -> Result<()> {
    let mut world = World::start(&setup())?;
    {
        let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
        let mut command = ana.ssh();
        command.arg(ana.on("vault"));
        let mut terminal = Terminal::start(&command, 100, 24)?;
        terminal.send("PS1='ready''> '\r")?;
        terminal.expect("ready> ")?;
        terminal.send("printf '{\"id\": 1, \"sal%s\": \"k%d\"}\\n' ary $((4711000+1))\r")?;
        let id = terminal.screen.wait("a hold in place", find)?;
        terminal.send("echo al''ive\r")?;
        terminal.expect("alive")?;
        ensure!(
            !terminal.screen.text().contains("k4711001"),
            "{}",
            terminal.screen.text()
        );
        approve(&carol, &id)?;
        let fetched = console(&ana, &format!("fetch {id}"), 0)?;
        ensure!(fetched.out().contains("k4711001"), "{fetched:?}");
        terminal.send("exit 4\r")?;
        ensure!(terminal.end()?.code() == Some(4));
    }
    world.stop()?;
    for cast in world.recordings().all()? {
        ensure!(!cast.output().contains("k4711001"));
    }
    Ok(())
}

#[test]
fn a_held_command_runs_once_it_is_approved_and_only_once() -> Result<()> {
    let world = World::start(&Setup {
        protect: "[[rule]]\nname = \"dumps\"\ntargets = [\"vault\"]\ncommands = [\"*dump*\"]\naction = { hold = { approvers = \"finance-approvers\" } }\n".to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let log = world.place("log")?.join("ran");
    let command = format!("echo dump >> {}; cat; exit 4", log.display());
    let mut session = start(&ana, &command)?;
    let id = held(&session)?;
    // What the client sends meanwhile is there once it runs.
    let mut stdin = session.stdin.take().context("input")?;
    std::io::Write::write_all(&mut stdin, b"input\n")?;
    drop(stdin);
    ensure!(!log.exists(), "it ran before it was approved");
    let shown = console(&carol, &format!("show {id}"), 0)?.out();
    ensure!(shown.contains("echo dump"), "{shown}");
    approve(&carol, &id)?;
    let output = session.finish()?;
    ensure!(
        output.code() == 4 && output.out() == "input\n",
        "{output:?}"
    );
    ensure!(fs::read_to_string(&log)? == "dump\n");
    // Not waited for: the approval waits for the same command, byte for byte, and is used up.
    let detached = |command: &str| {
        ana.run(
            &[
                "-o",
                "SetEnv=BASTION_HOLD=detach",
                &ana.on("vault"),
                "--",
                command,
            ],
            b"",
        )
    };
    let first = detached(&command)?;
    ensure!(first.code() == 75, "{first:?}");
    approve(&carol, &find(&first.stderr).context("a hold")?)?;
    ensure!(detached(&format!("{command} "))?.code() == 75);
    ensure!(detached(&command)?.code() == 4);
    ensure!(detached(&command)?.code() == 75);
    ensure!(fs::read_to_string(&log)? == "dump\ndump\n");
    // Denied: it never runs.
    let session = start(&ana, &format!("{command}; true"))?;
    let id = held(&session)?;
    session.stderr.expect("show")?;
    decide(&carol, &format!("deny {id}"))?;
    ensure!(session.finish()?.code() == 76);
    ensure!(fs::read_to_string(&log)? == "dump\ndump\n");
    // One that no rule meets runs at once.
    ensure!(ana.exec("vault", "echo free", b"")?.out() == "free\n");
    Ok(())
}

/// Row 46: held bytes are in no log, list, error, store or file in clear, nor in an open one.
#[test]
fn held_bytes_are_nowhere_in_clear() -> Result<()> {
    let mut world = World::start(&Setup {
        log: "debug".to_owned(),
        ..setup()
    })?;
    let log = {
        let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
        let big = "printf 'id,salary\\n'; i=0; while [ $i -lt 20000 ]; do echo $i,k$((4711000+i)); i=$((i+1)); done";
        let waiting = start(&ana, big)?;
        let id = held(&waiting)?;
        while state(&ana, &id)? == "open" {}
        for command in [
            "holds",
            "holds --all --json",
            &format!("show {id}"),
            &format!("show {id} --json"),
        ] {
            for client in [&ana, &carol] {
                ensure!(!contains(&console(client, command, 0)?.stdout), "{command}");
            }
        }
        let bastion = world.bastion()?;
        for process in [bastion.id(), bastion.recorder()?] {
            for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
                let path = entry?.path();
                let file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
                ensure!(!file || !contains(&fs::read(&path)?), "{}", path.display());
            }
        }
        in_no_file(&world)?;
        console(&carol, &format!("deny {id}"), 0)?;
        ensure!(waiting.finish()?.code() == 76);
        // One that was released, too.
        let session = start(&ana, QUERY)?;
        let id = held(&session)?;
        session.stderr.expect("show")?;
        approve(&carol, &id)?;
        ensure!(session.finish()?.out().contains("k4711002"));
        world.bastion()?.log.clone()
    };
    world.stop()?;
    ensure!(!contains(log.text().as_bytes()), "held bytes in the log");
    in_no_file(&world)
}

pub(crate) fn contains(bytes: &[u8]) -> bool {
    let canary = CANARY.as_bytes();
    bytes.windows(canary.len()).any(|window| window == canary)
}

pub(crate) fn in_no_file(world: &World) -> Result<()> {
    for file in walk(&world.home)? {
        let bytes = if file.extension().is_some_and(|e| e == "zst") {
            // One that is being written ends early.
            match plain(&file) {
                Ok(bytes) => bytes,
                Err(_) => continue,
            }
        } else {
            fs::read(&file)?
        };
        ensure!(!contains(&bytes), "held bytes in {}", file.display());
    }
    Ok(())
}

/// Held output that does not end by itself; what comes of its client is the test's business.
const ENDLESS: &str = "echo id,email,salary; for i in 1 2; do echo $i,$i@x.example,k$((4711000+i)); done; echo k$((4711000)) >&2; exec sleep 1000";

/// The client renews its keys all the time while output is held and it sends input, and gets it whole.
#[test]
fn keys_are_renewed_while_output_is_held() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let lines = "seq 4711000 4713999 | sed 's/.*/&,k&/'";
    let big = format!("echo id,salary; {lines}; cat | wc -c >&2; {lines}");
    let log = world.home.join("ssh.log");
    let mut command = ana.ssh();
    command.arg("-v").arg("-E").arg(&log);
    command.args(["-o", "RekeyLimit=1M", &ana.on("vault"), "--", &big]);
    let session = crate::flow::fed("20M", &mut command)?;
    let id = held(&session)?;
    while state(&ana, &id)? == "open" {}
    approve(&carol, &id)?;
    let output = session.finish()?;
    let lines: Vec<String> = (4_711_000..4_714_000)
        .map(|i| format!("{i},k{i}\n"))
        .collect();
    let whole = format!("id,salary\n{0}{0}", lines.concat());
    ensure!(output.code() == 0 && output.out() == whole);
    let (err, counted) = (output.err(), (20 << 20).to_string());
    ensure!(err.lines().any(|line| line.trim() == counted), "{err}");
    let renewed = fs::read_to_string(log)?
        .matches("SSH2_MSG_NEWKEYS received")
        .count();
    ensure!(renewed >= 10, "{renewed} times");
    Ok(())
}

/// A bastion that is told to stop lets nothing of an open hold out.
#[test]
fn a_stop_voids_what_is_open_and_keeps_what_is_sealed() -> Result<()> {
    let mut world = World::start(&Setup {
        limits: "drain = \"0s\"".to_owned(),
        ..setup()
    })?;
    let (open, sealed) = {
        let ana = world.signed_in()?;
        let waiting = start(&ana, QUERY)?;
        let sealed = held(&waiting)?;
        let endless = start(&ana, ENDLESS)?;
        let open = held(&endless)?;
        while state(&ana, &sealed)? == "open" {}
        world.bastion()?.signal(Signal::TERM)?;
        for mut session in [waiting, endless] {
            session.end()?;
            ensure!(!contains(&session.stdout.all()?) && !contains(&session.stderr.all()?));
        }
        (open, sealed)
    };
    world.reap()?;
    world.start_again()?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    ensure!(state(&ana, &open)? == "void");
    approve(&carol, &sealed)?;
    ensure!(contains(
        &console(&ana, &format!("fetch {sealed}"), 0)?.stdout
    ));
    Ok(())
}

#[test]
fn a_client_waits_no_longer_than_it_may() -> Result<()> {
    let world = World::start(&Setup {
        holds: "wait = \"1s\"".to_owned(),
        ..setup()
    })?;
    let ana = world.signed_in()?;
    let output = ana.exec("vault", QUERY, b"")?;
    ensure!(output.code() == 75 && output.out() == HEADER, "{output:?}");
    let id = find(&output.stderr).context("a hold")?;
    ensure!(state(&ana, &id)? == "sealed");
    Ok(())
}
