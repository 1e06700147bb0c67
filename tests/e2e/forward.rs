//! Sessions that may begin only while the audit log reaches its receiver.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tests::process::{Output, Running};
use tests::ssh::Client;
use tests::world::{Setup, World};

/// A syslog receiver on this machine, which reads each connection to its end and then ends it. It ends
/// with the test's process.
fn receiver() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    Ok(port)
}

fn forward(world: &World) -> Result<Running> {
    let mut command = Command::new(tests::bastion::path()?);
    command
        .args(["audit", "forward", "--config"])
        .arg(world.home.join("bastion.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Running::start("bastion audit forward", command.stderr(Stdio::null()))
}

/// Connects again and again until it ends with this status.
fn until(client: &Client<'_>, status: i32) -> Result<Output> {
    let end = Instant::now() + tests::DEADLINE;
    loop {
        let output = client.exec("box", "echo in", b"")?;
        if output.code() == status {
            return Ok(output);
        }
        ensure!(Instant::now() < end, "not {status}: {output:?}");
    }
}

#[test]
fn no_session_begins_while_a_receiver_that_must_have_the_log_lacks_it() -> Result<()> {
    let port = receiver()?;
    let world = World::start(&Setup {
        approval: format!(
            "[[audit.sink]]\nname = \"siem\"\nsyslog = \"tcp://127.0.0.1:{port}\"\n\
             guarantee = \"enforced\"\nmax_lag = \"25s\""
        ),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    let refused = |output: &Output| -> Result<()> {
        ensure!(output.stdout.is_empty(), "{output:?}");
        crate::one_line(output)?;
        let line = "the audit log does not reach where it must be kept";
        ensure!(output.err().contains(line), "{output:?}");
        Ok(())
    };
    refused(&until(&client, 65)?)?;
    let doctor = world.command(&["doctor", "--offline"])?;
    ensure!(
        doctor.out().contains("no session begins for the sink siem"),
        "{doctor:?}"
    );

    let first = forward(&world)?;
    ensure!(until(&client, 0)?.out() == "in\n");
    // Whoever is in goes on, whatever becomes of the forwarder.
    let mut session = client.start(&[&client.on("box"), "--", "cat"])?;
    let mut input = session.stdin.take().context("its input")?;
    input.write_all(b"one\n")?;
    session.stdout.expect("one\n")?;
    first.signal(rustix::process::Signal::KILL)?;
    drop(first);
    refused(&until(&client, 65)?)?;
    input.write_all(b"two\n")?;
    session.stdout.expect("two\n")?;
    drop(session);

    let _second = forward(&world)?;
    ensure!(until(&client, 0)?.out() == "in\n");
    Ok(())
}
