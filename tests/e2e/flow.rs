//! Flow control: what stands still stops nobody else, nothing is lost, and memory stays bounded.
//!
//! Each case hung, or grew without bound, in a simple relay. Every wait has an end (the runner's, and
//! [`tests::DEADLINE`] for each peer): a hang fails.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::link::Link;
use tests::process::{Running, run};
use tests::ssh::{Client, Session};
use tests::world::{Setup, World};

const MIB: u64 = 1 << 20;

/// Half a gigabyte moves in seconds; a machine with other things to do gets minutes.
const LONG: Duration = Duration::from_secs(180);

/// Runs `body` and wants the growth of the bastion's memory to stay under 16 MiB a channel.
fn bounded<T>(client: &Client<'_>, channels: u64, body: impl FnOnce() -> Result<T>) -> Result<T> {
    // What the first bulk of a process takes once is no channel's.
    let warm = "head -c 20M /dev/zero; cat >/dev/null";
    let mut first = fed("20M", client.ssh().args([&client.on("box"), "--", warm]))?;
    first.running.wait_for(LONG)?;
    first.finish()?.ok()?;
    let bastion = client.world().bastion()?;
    let before = bastion.memory()?.sum();
    bastion.forget_peak()?;
    let result = body()?;
    let peak = bastion.peak()?;
    let grown = peak.sum().saturating_sub(before);
    ensure!(
        grown < channels * 16 * MIB,
        "memory grew by {} MiB with {channels} channels: serve {} MiB, recorder {} MiB, before {} MiB",
        grown / MIB,
        peak.serve / MIB,
        peak.recorder / MIB,
        before / MIB
    );
    Ok(result)
}

/// The last line, for a message.
fn tail(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// `head -c SIZE /dev/zero | COMMAND`.
pub(crate) fn fed(size: &str, command: &mut Command) -> Result<Session> {
    let mut zeros = Command::new("head");
    zeros.args(["-c", size, "/dev/zero"]).stdout(Stdio::piped());
    let mut head = zeros.spawn().context("head")?;
    let input = head.stdout.take().context("a pipe")?;
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start("ssh", command)?;
    let (stdout, stderr) = (running.stdout()?, running.stderr()?);
    // `head` ends with its reader; the thread only takes its status.
    std::thread::spawn(move || head.wait().ok());
    Ok(Session {
        stdin: None,
        stdout,
        stderr,
        running,
    })
}

/// Takes the output of a large download without keeping it: its length.
fn drained(running: &mut Running) -> Result<std::thread::JoinHandle<u64>> {
    let stdout = running.raw_stdout()?;
    Ok(std::thread::spawn(move || length_of(stdout)))
}

/// Reads to the end without keeping anything.
fn length_of(mut from: impl Read) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        length += n as u64;
    }
    length
}

#[test]
fn first_case_input_that_waits_while_output_comes() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    command.args([
        &client.on("box"),
        "--",
        "sleep 2; head -c 50M /dev/zero; cat >/dev/null",
    ]);
    bounded(&client, 1, || {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut head = Command::new("head")
            .args(["-c", "50M", "/dev/zero"])
            .stdout(Stdio::piped())
            .spawn()?;
        command.stdin(head.stdout.take().context("a pipe")?);
        let mut running = Running::start("ssh", &mut command)?;
        let reader = drained(&mut running)?;
        let status = running.wait_for(LONG)?;
        head.wait()?;
        ensure!(status.success(), "{status}");
        ensure!(reader.join().ok() == Some(50 * MIB));
        Ok(())
    })
}

#[test]
fn second_case_a_command_beside_a_stalled_upload() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let master = client.master("box")?;
    bounded(&client, 2, || {
        let stalled = stall(&master, 1)?;
        for _ in 0..5 {
            let output = run("ssh", master.command().arg("echo in"), b"")?.ok()?;
            ensure!(output.out() == "in\n");
        }
        drop(stalled);
        Ok(())
    })
}

/// Starts uploads to commands that never read, and waits until each has begun.
fn stall(master: &tests::ssh::Master<'_>, count: usize) -> Result<Vec<Session>> {
    let mut stalled = Vec::new();
    for _ in 0..count {
        let session = fed("3G", master.command().arg("echo started; exec sleep 1000"))?;
        session.stdout.expect("started")?;
        stalled.push(session);
    }
    Ok(stalled)
}

#[test]
fn third_case_bulk_both_ways_beside_three_stalled_uploads() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let master = client.master("box")?;
    bounded(&client, 4, || {
        let stalled = stall(&master, 3)?;
        let mut upload = fed("200M", master.command().arg("wc -c"))?;
        upload.running.wait_for(LONG)?;
        ensure!(upload.finish()?.ok()?.out().trim() == (200 * MIB).to_string());
        let mut command = master.command();
        command
            .arg("head -c 200M /dev/zero")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut running = Running::start("ssh", &mut command)?;
        let reader = drained(&mut running)?;
        ensure!(running.wait_for(LONG)?.success());
        ensure!(reader.join().ok() == Some(200 * MIB));
        let output = run("ssh", master.command().arg("echo in"), b"")?.ok()?;
        ensure!(output.out() == "in\n");
        drop(stalled);
        Ok(())
    })
}

#[test]
fn fourth_case_a_client_that_is_stopped_in_a_download() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    bounded(&client, 1, || {
        let mut command = client.ssh();
        command.args([
            &client.on("box"),
            "--",
            "head -c 1G /dev/zero; echo end >&2",
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running::start("ssh", &mut command)?;
        let stderr = running.stderr()?;
        let mut stdout = running.raw_stdout()?;
        let mut first = vec![0; 1 << 20];
        stdout.read_exact(&mut first)?;
        running.signal(Signal::STOP)?;
        // While it stands still, another session does its work in full: that is the time it gets.
        other_work(&client)?;
        ensure!(
            !stderr.text().contains("end"),
            "a stopped client took a gigabyte"
        );
        running.signal(Signal::CONT)?;
        let reader = std::thread::spawn(move || length_of(stdout));
        ensure!(running.wait_for(LONG)?.success(), "{}", stderr.text());
        ensure!(reader.join().ok() == Some(1023 * MIB));
        Ok(())
    })
}

/// `ssh … 'cat big' | less`, left alone on one page for longer than `write_stall`: ssh itself answers, and is waited for.
#[test]
fn a_pager_that_is_left_alone_gets_everything_later() -> Result<()> {
    let world = World::start(&Setup {
        limits: "write_stall = \"10s\"".to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    bounded(&client, 1, || {
        let mut command = client.ssh();
        command.args([
            &client.on("box"),
            "--",
            "head -c 40M /dev/zero; echo end >&2",
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running::start("ssh", &mut command)?;
        let stderr = running.stderr()?;
        let mut stdout = running.raw_stdout()?;
        stdout.read_exact(&mut [0; 1024])?;
        // The time that passes at the target is the event: more than twice the limit.
        for _ in 0..3 {
            client.exec("box", "sleep 8", b"")?.ok()?;
        }
        ensure!(!stderr.text().contains("end"), "nobody has read that");
        let rest = length_of(stdout);
        ensure!(running.wait_for(LONG)?.success(), "{}", stderr.text());
        ensure!(rest == 40 * MIB - 1024, "{rest}");
        // It is read by a thread of its own, which may come behind the client's end.
        ensure!(stderr.all()? == b"end\n", "{}", stderr.text());
        Ok(())
    })
}

fn other_work(client: &Client<'_>) -> Result<()> {
    for _ in 0..5 {
        let output = client
            .exec("box", "head -c 20M /dev/zero | wc -c; sleep 0.5", b"")?
            .ok()?;
        ensure!(output.out().trim() == (20 * MIB).to_string());
    }
    Ok(())
}

#[test]
fn a_target_that_reads_late_gets_every_byte() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    bounded(&client, 1, || {
        let mut session = fed(
            "1G",
            client
                .ssh()
                .args([&client.on("box"), "--", "echo started; sleep 4; wc -c"]),
        )?;
        session.stdout.expect("started")?;
        other_work(&client)?;
        session.running.wait_for(LONG)?;
        ensure!(
            session
                .finish()?
                .ok()?
                .out()
                .ends_with(&format!("{}\n", 1024 * MIB))
        );
        Ok(())
    })
}

#[test]
fn a_target_that_never_reads_holds_up_only_itself() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    bounded(&client, 1, || {
        let session = fed(
            "3G",
            client
                .ssh()
                .args([&client.on("box"), "--", "echo started; exec sleep 1000"]),
        )?;
        session.stdout.expect("started")?;
        other_work(&client)?;
        Ok(())
    })
}

#[test]
fn a_late_reader_of_a_round_trip_gets_every_byte() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    bounded(&client, 1, || {
        let line = format!(
            "seq 1 30000000 | ssh -F {} {} -- cat | (sleep 3; sha256sum); seq 1 30000000 | sha256sum",
            client.config().display(),
            client.on("box")
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running::start_group("a round trip", &mut command)?;
        let (stdout, stderr) = (running.stdout()?, running.stderr()?);
        ensure!(running.wait_for(LONG)?.success());
        let text = String::from_utf8(stdout.all()?)?;
        let mut lines = text.lines();
        ensure!(
            lines.next().is_some() && text.lines().next() == lines.next(),
            "{text}{}",
            stderr.text()
        );
        Ok(())
    })
}

/// Six channels of one connection, each read at its own uneven speed, near and far.
#[test]
fn uneven_readers_of_one_connection_get_every_byte() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    for one_way in [Duration::ZERO, Duration::from_millis(25)] {
        let link = Link::to(world.bastion()?.port, one_way)?;
        client.through(link.port)?;
        let master = client.master("box")?;
        bounded(&client, 6, || {
            let mut readers = Vec::new();
            for seed in 1..=6_u64 {
                let mut command = master.command();
                command.arg(format!("seq {seed} 1500000 | tee /dev/stderr | cat"));
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                let mut running = Running::start("ssh", &mut command)?;
                let stderr = running.stderr()?;
                let stdout = running.raw_stdout()?;
                readers.push((
                    seed,
                    running,
                    stderr,
                    std::thread::spawn(move || uneven(stdout, seed)),
                ));
            }
            for (seed, mut running, stderr, reader) in readers {
                let status = running.wait_for(LONG)?;
                ensure!(
                    status.success(),
                    "{seed}: {status}, {}",
                    tail(&stderr.text())
                );
                let expected: Vec<u8> = (seed..=1_500_000)
                    .flat_map(|n| format!("{n}\n").into_bytes())
                    .collect();
                let got = reader.join().ok().context("the reader")??;
                ensure!(
                    got == expected,
                    "{seed}: {} of {} bytes on stdout",
                    got.len(),
                    expected.len()
                );
                let got = stderr.all()?;
                ensure!(
                    got == expected,
                    "{seed}: {} of {} bytes on stderr",
                    got.len(),
                    expected.len()
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn uneven(mut from: impl Read, seed: u64) -> Result<Vec<u8>> {
    let mut state = seed;
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let size = usize::try_from(state >> 48)?.clamp(1, buffer.len());
        if state >> 60 == 0 {
            // A reader that pauses is what this test is about; nothing is waited for.
            std::thread::sleep(Duration::from_millis(5 * seed));
        }
        match from.read(buffer.get_mut(..size).context("in range")?)? {
            0 => return Ok(all),
            n => all.extend_from_slice(buffer.get(..n).context("in range")?),
        }
    }
}

#[test]
fn a_far_client_is_served_beside_its_own_stalled_upload() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let link = Link::to(world.bastion()?.port, Duration::from_millis(25))?;
    client.through(link.port)?;
    let master = client.master("box")?;
    bounded(&client, 3, || {
        let stalled = stall(&master, 2)?;
        let mut upload = fed("50M", master.command().arg("wc -c"))?;
        upload.running.wait_for(LONG)?;
        ensure!(upload.finish()?.ok()?.out().trim() == (50 * MIB).to_string());
        drop(stalled);
        Ok(())
    })
}

#[test]
fn the_clients_rekeys_lose_nothing() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let on = client.on("box");
    let command = [
        "-v",
        "-o",
        "RekeyLimit=16M",
        &on,
        "--",
        "sleep 1; cat | wc -c",
    ];
    let output = bounded(&client, 1, || {
        let mut session = fed("200M", client.ssh().args(command))?;
        session.running.wait_for(LONG)?;
        session.finish()?.ok()
    })?;
    ensure!(
        output.out().trim() == (200 * MIB).to_string(),
        "{}",
        output.out()
    );
    ensure!(
        output.err().matches("SSH2_MSG_NEWKEYS received").count() >= 5,
        "no rekeys: {}",
        output.err()
    );
    Ok(())
}

#[test]
fn small_writes_keep_their_order_and_the_tail_arrives() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    for _ in 0..10 {
        let output = client.exec(
            "box",
            "for i in $(seq 1 2000); do echo $i; done; exit 3",
            b"",
        )?;
        ensure!(output.code() == 3);
        let expected: String = (1..=2000).map(|n| format!("{n}\n")).collect();
        ensure!(output.out() == expected, "{} bytes", output.stdout.len());
    }
    let mut session = client.start(&[&client.on("box"), "--", "cat; exit 4"])?;
    let mut stdin = session.stdin.take().context("a pipe")?;
    for n in 0..2000 {
        writeln!(stdin, "{n}")?;
    }
    drop(stdin);
    let output = session.finish()?;
    ensure!(
        output.code() == 4 && output.out().lines().count() == 2000,
        "{output:?}"
    );
    Ok(())
}

/// Windows and packets of no sense, and data beyond our own window: what is possible is carried, the rest ends that
/// connection; memory stays bounded, and a channel without a window costs nothing while it waits.
#[test]
fn flow_control_that_is_none_is_carried_or_cut() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let what = client.told(&serde_json::json!({"do": "misflow"}))?;
    let mut peer = tests::peer::script("raw.py", &[&what])?;
    let (mut session, answers) = bounded(&client, 1, || {
        let session = Session::start(&mut peer)?;
        let answers = session.stdout.wait("the answers", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            serde_json::from_str::<serde_json::Value>(text.split_once('\n')?.0).ok()
        })?;
        Ok((session, answers))
    })?;
    for (kind, read, stood) in [
        ("the largest", 1_000_000, true),
        ("small packets", 10_000, true),
        ("a byte at a time", 100, true),
        ("no packets", 0, false),
        ("no bytes", 8, true),
        ("ours ignored", 0, false),
    ] {
        let expected = serde_json::json!({"read": read, "stood": stood});
        ensure!(answers.get(kind) == Some(&expected), "{kind}: {answers}");
    }
    // Either is right, as long as somebody says so.
    ensure!(answers.get("too much window").is_some(), "{answers}");
    // The passing of time at the target is the event: a loop that turned would have cost most of it.
    let (before, _) = world.bastion()?.cpu()?;
    client.exec("box", "sleep 4", b"")?.ok()?;
    let used = world.bastion()?.cpu()?.0 - before;
    ensure!(used < 2.0, "{used} s of the processor in 4 s");
    let mut input = session.stdin.take().context("its input")?;
    std::io::Write::write_all(&mut input, b"\n")?;
    drop(input);
    session.end()?;
    Ok(())
}

/// Clients that vanish leave nothing behind: no descriptors, no sessions.
#[test]
fn clients_that_vanish_leave_nothing_behind() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    client.exec("box", "true", b"")?.ok()?;
    let before = world.bastion()?.open_files()?;
    for _ in 0..10 {
        let session = client.start(&[&client.on("box"), "--", "echo started; exec cat"])?;
        session.stdout.expect("started")?;
        drop(session);
    }
    let until = std::time::Instant::now() + tests::DEADLINE;
    while world.bastion()?.open_files()? > before + 2 {
        ensure!(
            std::time::Instant::now() < until,
            "{} open files, before {before}",
            world.bastion()?.open_files()?
        );
        // Each session takes a moment: the passing of time is the event.
        client.exec("box", "true", b"")?.ok()?;
    }
    Ok(())
}
