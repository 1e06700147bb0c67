//! The numbers of `docs/limits.md` at their edges, with small values where they are configurable.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::Running;
use tests::ssh::Client;
use tests::world::{Setup, World};

use crate::reload::audited;

fn limits(lines: &str) -> Result<World> {
    World::start(&Setup {
        limits: lines.to_owned(),
        ..Setup::default()
    })
}

/// A connection that has received the server's version line.
fn connected(world: &World) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.bastion()?.port))?;
    stream.set_read_timeout(Some(tests::DEADLINE))?;
    let mut first = [0; 8];
    stream
        .read_exact(&mut first)
        .context("the server's version")?;
    ensure!(&first == b"SSH-2.0-");
    Ok(stream)
}

/// Reads until the other side closes.
fn until_closed(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).context("it is not closed"),
        }
    }
}

#[test]
fn a_connection_that_does_not_sign_in_is_closed_at_every_stage() -> Result<()> {
    let world = limits("login_deadline = \"2s\"")?;
    let stages: [&[u8]; 4] = [
        b"",
        b"SSH",
        b"SSH-2.0-test\r\n",
        b"SSH-2.0-test\r\n\0\0\x01\x0c\x0a\x14",
    ];
    for stage in stages {
        let mut stream = connected(&world)?;
        let since = Instant::now();
        stream.write_all(stage)?;
        until_closed(&mut stream).with_context(|| format!("after {stage:?}"))?;
        ensure!(
            since.elapsed() > Duration::from_secs(1),
            "closed at once after {stage:?}"
        );
    }
    Ok(())
}

#[test]
fn traffic_does_not_renew_the_login_deadline() -> Result<()> {
    let world = limits("login_deadline = \"2s\"")?;
    // A byte of a packet at a time, as often as the peer takes it.
    let mut stream = connected(&world)?;
    stream.write_all(b"SSH-2.0-test\r\n")?;
    let mut drip = stream.try_clone()?;
    let writer = std::thread::spawn(move || {
        let packet = [0, 0, 0x80, 0, 4, 20];
        for byte in packet.iter().chain(std::iter::repeat_n(&0_u8, 20_000)) {
            if drip.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    until_closed(&mut stream)?;
    writer.join().ok().context("the writer")?;
    Ok(())
}

/// A connection that is closed without a word: what is one too many gets not even the version line.
fn refused(world: &World) -> Result<()> {
    let mut newest = TcpStream::connect(("127.0.0.1", world.bastion()?.port))?;
    newest.set_read_timeout(Some(tests::DEADLINE))?;
    let mut said = Vec::new();
    match newest.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).context("the newest is not closed"),
    }
    ensure!(said.is_empty(), "the newest is served: {said:?}");
    Ok(())
}

/// Wants a connection that waits to be open still.
fn still_open(stream: &mut TcpStream) -> Result<()> {
    stream.set_nonblocking(true)?;
    // The rest of the version line, and then nothing: an end would be read as one.
    let end = loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => break "closed".to_owned(),
            Ok(_) => {}
            Err(error) => break format!("{:?}", error.kind()),
        }
    };
    ensure!(end == "WouldBlock", "a waiting connection: {end}");
    Ok(())
}

#[test]
fn unauthenticated_connections_of_one_source_are_limited_and_the_newest_is_refused() -> Result<()> {
    // Longer than any wait here: only the limit closes.
    let world = limits("unauthenticated_per_source = 4\nlogin_deadline = \"5m\"")?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in; exec cat"])?;
    session.stdout.expect("in\n")?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connected(&world)?);
    }
    refused(&world)?;
    for stream in &mut held {
        still_open(stream)?;
    }
    // Who is in works on.
    let mut input = session.stdin.take().context("its input")?;
    input.write_all(b"still here\n")?;
    session.stdout.expect("still here\n")?;
    drop(input);
    session.finish()?.ok()?;
    // One that ends makes room.
    drop(held.pop());
    let until = Instant::now() + tests::DEADLINE;
    while client
        .run(
            &["-o", "BatchMode=yes", &client.on("box"), "--", "true"],
            b"",
        )?
        .code()
        != 0
    {
        ensure!(Instant::now() < until, "no room");
    }
    Ok(())
}

#[test]
fn unauthenticated_connections_are_limited_in_total() -> Result<()> {
    let world =
        limits("unauthenticated = 3\nunauthenticated_per_source = 3\nlogin_deadline = \"5m\"")?;
    let mut held = (0..3)
        .map(|_| connected(&world))
        .collect::<Result<Vec<_>>>()?;
    refused(&world)?;
    for stream in &mut held {
        still_open(stream)?;
    }
    Ok(())
}

#[test]
fn sessions_that_are_signed_in_take_no_place_of_those_who_are_not() -> Result<()> {
    let world = limits("unauthenticated_per_source = 2")?;
    let client = world.signed_in()?;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        let session = client.start(&[&client.on("box"), "--", "echo in; exec cat"])?;
        session.stdout.expect("in\n")?;
        sessions.push(session);
    }
    for session in sessions {
        session.finish()?.ok()?;
    }
    Ok(())
}

fn raw(client: &Client<'_>, what: &Value) -> Result<Vec<String>> {
    let answer = ask("raw.py", &[&client.told(what)?])?;
    answer
        .as_array()
        .context("a list")?
        .iter()
        .map(|a| Ok(a.as_str().context("text")?.to_owned()))
        .collect()
}

#[test]
fn a_connection_has_six_failures() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    for ask_for in [
        json!({"do": "failures", "method": "password", "count": 20}),
        json!({"do": "failures", "method": "nonsense@example.test", "count": 20}),
        json!({"do": "bad_signatures", "count": 20}),
    ] {
        let answers = raw(&client, &ask_for)?;
        let failures = answers.iter().filter(|answer| *answer == "failure").count();
        ensure!(
            answers.last().map(String::as_str) == Some("closed"),
            "{ask_for}: {answers:?}"
        );
        ensure!(
            (5..=6).contains(&failures),
            "{ask_for}: {failures} failures: {answers:?}"
        );
        ensure!(
            !answers.iter().any(|answer| answer == "success"),
            "{ask_for}: {answers:?}"
        );
    }
    Ok(())
}

#[test]
fn a_connection_has_thirty_two_key_offers() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let answers = raw(&client, &json!({"do": "offers", "count": 60}))?;
    ensure!(
        answers.last().map(String::as_str) == Some("closed"),
        "{answers:?}"
    );
    ensure!(
        (32..=33).contains(&answers.len()),
        "{} offers: {answers:?}",
        answers.len()
    );
    Ok(())
}

#[test]
fn failures_and_offers_are_as_many_as_is_set() -> Result<()> {
    let world = limits("auth_failures = 2\nkey_offers = 3")?;
    let client = world.client()?;
    let failures = raw(
        &client,
        &json!({"do": "failures", "method": "password", "count": 20}),
    )?;
    ensure!((2..=3).contains(&failures.len()), "{failures:?}");
    let offers = raw(&client, &json!({"do": "offers", "count": 20}))?;
    ensure!((3..=4).contains(&offers.len()), "{offers:?}");
    Ok(())
}

/// `ssh` with a command that prints without end; whoever calls reads as much of it as it likes.
fn endless(client: &Client<'_>, stderr: Stdio) -> Result<Running> {
    prints(client, "box", "cat /dev/zero", stderr)
}

/// `ssh` with this command on this target, running.
fn prints(client: &Client<'_>, target: &str, does: &str, stderr: Stdio) -> Result<Running> {
    let mut command = client.ssh();
    command.args([&client.on(target), "--", does]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    Running::start("ssh", &mut command)
}

/// Reads a little of what it prints, then nothing, and wants it to be told why it ended.
fn told_why(mut still: Running) -> Result<()> {
    let stderr = still.stderr()?;
    let mut stdout = still.raw_stdout()?;
    stdout.read_exact(&mut [0; 1024])?;
    stderr.expect("bastion: the client has not read for too long")?;
    ensure!(still.wait()?.code() == Some(255));
    drop(stdout);
    Ok(())
}

/// A client that stands still is not waited for, and nobody else is cut with it.
#[test]
fn a_client_that_does_not_read_is_cut() -> Result<()> {
    let world = limits("write_stall = \"3s\"")?;
    let client = world.signed_in()?;
    let mut still = endless(&client, Stdio::null())?;
    let mut stdout = still.raw_stdout()?;
    stdout.read_exact(&mut [0; 1024])?;
    still.signal(Signal::STOP)?;
    let beside = client.start(&[&client.on("box"), "--", "echo in; exec cat"])?;
    beside.stdout.expect("in\n")?;
    // Well before the default: it is the number that is set that counts.
    let until = Instant::now() + Duration::from_secs(45);
    loop {
        let active = client.console("sessions --active --json")?.ok()?.out();
        if active.matches("cat /dev/zero").count() == 0 {
            ensure!(active.contains("echo in; exec cat"), "{active}");
            break;
        }
        ensure!(Instant::now() < until, "it is not cut: {active}");
    }
    let ended = audited(&world, "session_ended", 1)?.concat();
    ensure!(
        ended.contains("the client has not read for too long"),
        "{ended}"
    );
    beside.finish()?.ok()?;
    still.signal(Signal::KILL)?;
    drop(stdout);
    Ok(())
}

/// `ssh … | less`, left alone for too long: the channel takes no line any more, so that the connection's end carries it.
#[test]
fn whoever_reads_nothing_is_told_why_it_ended() -> Result<()> {
    let world = limits("write_stall = \"3s\"\nreader_stall = \"3s\"")?;
    let client = world.signed_in()?;
    told_why(endless(&client, Stdio::piped())?)
}

/// Where a rule holds, the long wait is for nobody: what is held is sealed in time, and a release ends.
#[test]
fn whoever_reads_nothing_is_not_waited_for_where_a_rule_holds() -> Result<()> {
    let world = World::start(&Setup {
        limits: "write_stall = \"3s\"".to_owned(),
        ..crate::holds::setup()
    })?;
    let client = world.signed_in()?;
    told_why(prints(&client, "vault", "yes", Stdio::piped())?)
}

/// Others on the same connection go on: only the channel that stands still is closed.
#[test]
fn whoever_reads_nothing_cuts_nobody_beside() -> Result<()> {
    let world = limits("write_stall = \"3s\"\nreader_stall = \"3s\"")?;
    let client = world.signed_in()?;
    let master = client.master("box")?;
    let mut beside = tests::ssh::Session::start(master.command().arg("echo in; exec cat"))?;
    beside.stdout.expect("in\n")?;
    let mut command = master.command();
    command.arg("cat /dev/zero");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut still = Running::start("ssh", &mut command)?;
    let mut stdout = still.raw_stdout()?;
    stdout.read_exact(&mut [0; 1024])?;
    let until = Instant::now() + tests::DEADLINE;
    loop {
        let active = client.console("sessions --active --json")?.ok()?.out();
        if !active.contains("cat /dev/zero") {
            break;
        }
        ensure!(Instant::now() < until, "it is not cut: {active}");
    }
    let mut input = beside.stdin.take().context("its input")?;
    input.write_all(b"still here\n")?;
    beside.stdout.expect("still here\n")?;
    drop(input);
    beside.finish()?.ok()?;
    drop(stdout);
    Ok(())
}

/// `ssh … | head -1`: the stock client says so by a request that the SSH library passes on to nobody, so that the command
/// runs to its own end (docs/troubleshooting.md says what to type instead).
#[test]
fn a_reader_that_leaves_does_not_end_the_command() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    let on = client.on("box");
    command.args([
        &on,
        "--",
        "echo first; read -r line; seq 1 500000; echo end >&2",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start("ssh", &mut command)?;
    let stderr = running.stderr()?;
    let mut stdout = running.raw_stdout()?;
    stdout.read_exact(&mut [0; 6])?;
    drop(stdout);
    let mut input = running.stdin().context("its input")?;
    input.write_all(b"go on\n")?;
    stderr.expect("end\n")?;
    drop(input);
    running.wait()?;
    // With the reader in the command, nothing of it is left.
    let output = client.exec("box", "yes | head -n 1", b"")?.ok()?;
    ensure!(output.out() == "y\n", "{output:?}");
    Ok(())
}

/// What `client.py` says, on the target `box`.
pub(crate) fn through(client: &Client<'_>, what: &Value) -> Result<Value> {
    ask("client.py", &[&client.told(what)?])
}

#[test]
fn a_connection_has_ten_open_channels() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let answer = through(&client, &json!({"do": "channels", "count": 20}))?;
    ensure!(answer.get("granted") == Some(&Value::from(10)), "{answer}");
    ensure!(
        answer.get("failure").is_some_and(Value::is_array),
        "{answer}"
    );
    ensure!(
        answer.get("again") == Some(&Value::from(true)),
        "one that ends makes room: {answer}"
    );
    let echoes = answer
        .get("echoes")
        .and_then(Value::as_array)
        .context("echoes")?;
    ensure!(
        echoes.len() == 10 && echoes.iter().all(|echo| echo == "still here\n"),
        "{answer}"
    );
    Ok(())
}

#[test]
fn a_connection_opens_so_many_channels_a_minute() -> Result<()> {
    let world = limits("channel_opens_per_minute = 12")?;
    let client = world.signed_in()?;
    let answer = through(&client, &json!({"do": "churn", "count": 30}))?;
    ensure!(answer.get("granted") == Some(&Value::from(12)), "{answer}");
    Ok(())
}

#[test]
fn a_command_has_64_kib_and_no_nul() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let of = |length: usize| format!("echo {}", "x".repeat(length - 5));
    let fits = through(&client, &json!({"do": "run", "commands": [of(65_536)]}))?;
    ensure!(
        fits.pointer("/0/stdout")
            .and_then(Value::as_str)
            .is_some_and(|out| out.len() == 65_532),
        "it fits"
    );
    for command in [of(65_537), of(1_000_000), "echo a\0b".to_owned()] {
        // Refused as a request, or ended with a status; in any case it does not run.
        if let Ok(answer) = through(&client, &json!({"do": "run", "commands": [command]})) {
            ensure!(
                answer.pointer("/0/stdout") == Some(&Value::from("")),
                "it ran"
            );
            ensure!(
                answer.pointer("/0/status") != Some(&Value::from(0)),
                "{answer}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_target_that_does_not_answer_costs_as_long_as_is_set() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let world = World::start(&Setup {
        // Longer than without the key: a bastion that ignores it is seen, however slow the machine.
        limits: "target_connect = \"15s\"".to_owned(),
        targets: Box::new(move |sshd, _| {
            let identity = format!("host_keys = [\"{}\"]", sshd.host_key);
            let key = format!("key = \"{}\"", sshd.user_key.display());
            Ok(tests::world::target_at(
                "box",
                port,
                &identity,
                &sshd.login,
                &key,
            ))
        }),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let since = Instant::now();
    let output = client.exec("box", "echo in", b"")?;
    ensure!(
        output.code() == 69 && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(
        since.elapsed() >= Duration::from_secs(14),
        "after {:?}",
        since.elapsed()
    );
    crate::one_line(&output)?;
    drop(listener);
    let output = client.exec("box", "echo in", b"")?;
    ensure!(
        output.code() == 69 && output.stdout.is_empty(),
        "{output:?}"
    );
    crate::one_line(&output)?;
    Ok(())
}

/// Hundreds of half-open connections from elsewhere do not keep a person out.
#[test]
fn a_good_sign_in_among_idle_connections() -> Result<()> {
    let world = limits("unauthenticated_per_source = 400")?;
    let client = world.signed_in()?;
    let before = world.bastion()?.memory()?.sum();
    let mut idle = (0..300)
        .map(|_| connected(&world))
        .collect::<Result<Vec<_>>>()?;
    // By a lease, and by the provider: who is new here gets in, too.
    for client in [&client, &world.signed_in()?] {
        let output = client
            .run(
                &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
                b"",
            )?
            .ok()?;
        ensure!(output.out() == "in\n");
    }
    // All of them are still there: nobody was thrown out for it.
    for stream in &mut idle {
        still_open(stream)?;
    }
    let each = world.bastion()?.memory()?.sum().saturating_sub(before) / 300;
    ensure!(
        each <= 128 * 1024,
        "{} KiB for each idle connection",
        each / 1024
    );
    drop(idle);
    Ok(())
}

/// Where the system gives no more descriptors, those who are in stay, and others get in once there are some.
#[test]
fn accepting_goes_on_after_descriptors_ran_out() -> Result<()> {
    let world = limits("unauthenticated_per_source = 400")?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in; exec cat"])?;
    session.stdout.expect("in\n")?;
    let bastion = world.bastion()?;
    let allow = |files: usize| -> Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(bastion.id())?).context("a pid")?;
        let limit = rustix::process::Rlimit {
            current: Some(files as u64),
            // Its own, which it has from us: only the system's administrator may raise it.
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit)?;
        Ok(())
    };
    allow(bastion.open_files()? + 5)?;
    let address = ("127.0.0.1", bastion.port);
    let waiting = (0..40)
        .map(|_| TcpStream::connect(address))
        .collect::<std::io::Result<Vec<_>>>()?;
    bastion.log.expect("cannot accept")?;
    // Who is in works on.
    let mut input = session.stdin.take().context("its input")?;
    input.write_all(b"still here\n")?;
    session.stdout.expect("still here\n")?;
    drop(waiting);
    allow(1024)?;
    let output = client
        .run(
            &["-o", "BatchMode=yes", &client.on("box"), "--", "echo in"],
            b"",
        )?
        .ok()?;
    ensure!(output.out() == "in\n");
    drop(input);
    session.finish()?.ok()?;
    Ok(())
}

#[test]
fn a_session_has_a_life() -> Result<()> {
    let world = limits("session_life = \"3s\"")?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo in; exec sleep 1000"])?;
    session.stdout.expect("in\n")?;
    let status = session.end()?;
    ensure!(!status.success(), "{status}");
    let output = session.finish()?;
    crate::one_line(&output)?;
    Ok(())
}

/// CVE-2018-10933 and its kin: whatever a client says, it is in by a proof alone.
#[test]
fn messages_out_of_place_never_succeed() -> Result<()> {
    let world = limits("auth_failures = 100")?;
    let client = world.client()?;
    // All but those that have their place here: the request for a service, key exchange, authentication.
    let numbers = (1..=255).filter(|number| ![5, 20, 21, 30, 50].contains(number));
    for rest in ["", "0000000773657373696f6e000000000020000000008000"] {
        let what = json!({
            "user": "root@box", "do": "early", "numbers": numbers.clone().collect::<Vec<u8>>(), "rest": rest,
        });
        let answers = ask("raw.py", &[&client.told(&what)?])?;
        let answers = answers.as_object().context("an object")?;
        ensure!(answers.len() == 250, "{}", answers.len());
        for (number, answer) in answers {
            let harmless = |one: &Value| one == "closed" || one == "failure";
            ensure!(
                answer.as_array().context("a list")?.iter().all(harmless),
                "{number}: {answer}"
            );
        }
    }
    Ok(())
}

/// The same behind a sign-in: none opens a channel, none starts a command, and nobody else is cut for it.
#[test]
fn messages_out_of_place_start_nothing_after_the_sign_in() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut beside = client.start(&[&client.on("box"), "--", "echo in; exec cat"])?;
    beside.stdout.expect("in\n")?;
    // What is known here is sent as it is meant by other tests.
    let known = [1, 20, 21, 30, 80, 90, 93, 94, 95, 96, 97, 98];
    let numbers: Vec<u8> = (1..=255).filter(|number| !known.contains(number)).collect();
    let count = numbers.len();
    let what = json!({
        "do": "late", "numbers": numbers, "rest": "0000000773657373696f6e000000000020000000008000",
    });
    let answers = ask("raw.py", &[&client.told(&what)?])?;
    let answers = answers.as_object().context("an object")?;
    ensure!(answers.len() == count, "{}", answers.len());
    for (number, answer) in answers {
        let got = answer
            .get("got")
            .and_then(Value::as_array)
            .context("a list")?;
        // The end of the connection, IGNORE, UNIMPLEMENTED, DEBUG, or a keepalive of ours: no answer that grants.
        let harmless = |kind: &Value| [1, 2, 3, 4, 80].iter().any(|known| kind == known);
        ensure!(got.iter().all(harmless), "{number}: {answer}");
    }
    let mut input = beside.stdin.take().context("its input")?;
    input.write_all(b"still here\n")?;
    beside.stdout.expect("still here\n")?;
    drop(input);
    beside.finish()?.ok()?;
    Ok(())
}
