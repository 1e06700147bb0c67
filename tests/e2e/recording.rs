//! Recordings: every session has one, other programs read it, and without it nothing flows.

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::DEADLINE;
use tests::bastion::{kill, runs};
use tests::process::run;
use tests::recordings::{asciinema, replay};
use tests::terminal::Terminal;
use tests::world::{PROTECT, Setup, World};

#[test]
fn every_session_has_a_recording_that_asciinema_and_replay_read() -> Result<()> {
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        let commands = [
            "echo hello",
            "printf 'sa\\344ge \\377\\376 \\303'",
            "head -c 100000 /dev/urandom",
            "seq 1 20000",
            "printf '\\360\\237'; sleep 0.2; printf '\\230\\200\\n'",
            "printf 'a\\u2028b\\0c\\033[31md\\033]0;title\\007\\n'",
            "true",
            "kill -TERM $$",
            "echo out; echo err >&2; exit 9",
        ];
        for command in commands {
            client.exec("box", command, b"input")?;
        }
        let mut terminal = Terminal::start(client.ssh().arg(client.on("box")), 90, 25)?;
        terminal.send("printf '\\033[2J\\033[5;5Hpainted\\n'; exit 4\r")?;
        ensure!(terminal.end()?.code() == Some(4));
        run(
            "sftp",
            client.tool("sftp").args([
                "-o",
                &format!("User={}@box", world.sshd.login),
                "-b",
                "-",
                "bastion",
            ]),
            b"ls /\n",
        )?
        .ok()?;
    }
    world.stop()?;
    let all = world.recordings().all()?;
    ensure!(all.len() >= 11, "{} recordings", all.len());
    for cast in &all {
        let name = format!("{} ({:?})", cast.path.display(), cast.command());
        let shown = asciinema(&cast.path, "raw").context(name.clone())?;
        let output = cast.output();
        ensure!(
            shown.ends_with(output.as_bytes()),
            "{name}: {} of {} bytes",
            shown.len(),
            output.len()
        );
        asciinema(&cast.path, "txt").context(name.clone())?;
        asciinema(&cast.path, "asciicast-v2").context(name.clone())?;
        let info = replay(&["info", "--json"], &cast.path)?
            .ok()
            .context(name.clone())?;
        serde_json::from_slice::<Value>(&info.stdout).context(name.clone())?;
        ensure!(info.err().is_empty(), "{name}: {}", info.err());
        replay(&["text"], &cast.path)?.ok().context(name.clone())?;
        for format in ["v2", "v3", "text"] {
            replay(&["export", "--format", format], &cast.path)?
                .ok()
                .with_context(|| format!("{name} {format}"))?;
        }
        ensure!(cast.exit().is_some(), "{name}: no exit status");
    }
    let listed = replay(&["list"], &world.home.join("recordings"))?.ok()?;
    ensure!(
        listed.out().lines().count() >= all.len(),
        "{}",
        listed.out()
    );
    Ok(())
}

#[test]
fn a_recording_says_who_where_what_and_how_it_ended() -> Result<()> {
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        client.exec("box", "echo out; echo err >&2; exit 9", b"")?;
        client.exec("box", "exit 0", b"")?;
    }
    world.stop()?;
    let cast = world
        .recordings()
        .of_command("echo out; echo err >&2; exit 9")?;
    ensure!(cast.exit() == Some("9"), "{:?}", cast.events);
    let title = format!("{}@box", world.sshd.login);
    ensure!(
        cast.header.get("title") == Some(&Value::from(title)),
        "{}",
        cast.header
    );
    let about = cast.header.to_string();
    ensure!(
        about.contains("ana") && about.contains(&world.provider.issuer),
        "{about}"
    );
    // Without a terminal a line feed is shown as CR LF.
    ensure!(
        cast.output().contains("out\r\n") && cast.output().contains("err\r\n"),
        "{:?}",
        cast.events
    );
    // stderr is told apart by an event before it, which players skip.
    let at = cast
        .events
        .iter()
        .position(|(_, code, data)| code == "o" && data.contains("err"))
        .context("stderr")?;
    ensure!(
        cast.events
            .iter()
            .take(at + 1)
            .any(|(_, code, _)| !matches!(code.as_str(), "o" | "r" | "m" | "x" | "i")),
        "nothing tells stderr apart: {:?}",
        cast.events
    );
    ensure!(world.recordings().of_command("exit 0")?.exit() == Some("0"));
    Ok(())
}

#[test]
fn nothing_that_was_typed_is_recorded_but_what_was_echoed() -> Result<()> {
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        let mut command = client.ssh();
        command.args([
            "-t",
            &client.on("box"),
            "--",
            "stty -echo; echo ask; read -r secret; echo got ${#secret}",
        ]);
        let mut terminal = Terminal::start(&command, 80, 24)?;
        terminal.expect("ask")?;
        terminal.send("typed-secret-81723\r")?;
        terminal.expect("got 18")?;
        terminal.end()?;
    }
    world.stop()?;
    for file in world.recordings().files()? {
        let text = tests::recordings::plain(&file)?;
        ensure!(
            !String::from_utf8_lossy(&text).contains("typed-secret"),
            "{}",
            file.display()
        );
    }
    Ok(())
}

#[test]
fn a_terminals_sizes_are_in_its_recording() -> Result<()> {
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        let mut command = client.ssh();
        let script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done";
        command.args(["-t", &client.on("box"), "--", script]);
        let mut terminal = Terminal::start(&command, 101, 31)?;
        terminal.expect("31 101")?;
        terminal.resize(132, 43)?;
        terminal.expect("43 132")?;
    }
    world.stop()?;
    let casts = world.recordings().all()?;
    let cast = casts
        .iter()
        .find(|cast| cast.output().contains("31 101"))
        .context("the recording")?;
    ensure!(
        cast.header.pointer("/term/cols") == Some(&Value::from(101)),
        "{}",
        cast.header
    );
    ensure!(
        cast.header.pointer("/term/rows") == Some(&Value::from(31)),
        "{}",
        cast.header
    );
    ensure!(
        cast.header.pointer("/term/type") == Some(&Value::from("xterm-256color")),
        "{}",
        cast.header
    );
    ensure!(cast.data("r").contains(&"132x43"), "{:?}", cast.events);
    Ok(())
}

#[test]
fn every_byte_that_a_client_saw_is_in_its_recording() -> Result<()> {
    let mut world = World::usual()?;
    let expected: String = (1..=300_000).map(|n| format!("{n}\r\n")).collect();
    {
        let client = world.signed_in()?;
        client.exec("box", "seq 1 300000", b"")?.ok()?;
        // Cut in the middle: what was shown is recorded all the same.
        let session = client.start(&[
            &client.on("box"),
            "--",
            "seq 1 300000; echo marker; exec sleep 1000",
        ])?;
        session.stdout.expect("marker")?;
        drop(session);
    }
    world.stop()?;
    ensure!(world.recordings().of_command("seq 1 300000")?.output() == expected);
    let cut = world
        .recordings()
        .of_command("seq 1 300000; echo marker; exec sleep 1000")?;
    ensure!(cut.output() == format!("{expected}marker\r\n"));
    Ok(())
}

#[test]
fn without_the_recorder_sessions_end_with_a_line_and_none_begins() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut session = client.start(&[&client.on("box"), "--", "echo started; exec cat"])?;
    session.stdout.expect("started")?;
    kill(world.bastion()?.recorder()?)?;
    let status = session.end()?;
    ensure!(!status.success(), "{status}");
    let text = String::from_utf8_lossy(&session.stderr.all()?).into_owned();
    ensure!(text.contains("record"), "the line says why: {text:?}");
    // Strict: nothing runs unrecorded. (A recorder that is started again is as good.)
    let output = client.exec("box", "echo unrecorded", b"")?;
    if output.code() == 0 {
        world
            .bastion()?
            .recorder()
            .context("it ran without a recorder")?;
    } else {
        ensure!(output.stdout.is_empty(), "{output:?}");
        crate::one_line(&output)?;
    }
    Ok(())
}

/// On a target that the policies name for it, a session outlives the recorder: masked as ever,
/// recorded again as soon as there is another one, and nobody calls its recording complete.
#[test]
fn a_session_that_may_goes_on_without_the_recorder_and_all_are_told() -> Result<()> {
    let mut world = World::start(&Setup {
        protect: format!("{PROTECT}[recording]\nbest_effort = [\"va*\"]\n"),
        limits: "[metrics]\nlisten = \"127.0.0.1:0\"".to_owned(),
        ..Setup::default()
    })?;
    let checked = world.command(&["check"])?.ok()?;
    ensure!(
        checked
            .out()
            .contains("warning: sessions on vault go on unrecorded"),
        "{checked:?}"
    );
    {
        let client = world.signed_in()?;
        let mut strict = client.start(&[&client.on("box"), "--", "echo started; exec cat"])?;
        strict.stdout.expect("started")?;
        let mut session = client.start(&[&client.on("vault"), "--", "echo started; exec cat"])?;
        session.stdout.expect("started")?;
        let mut input = session.stdin.take().context("its input")?;
        let mut say = |word: &str| -> Result<()> {
            writeln!(input, "{{\"word\":\"{word}\",\"ssn\":\"078-05-1120\"}}")?;
            session.stdout.expect(&format!("{{\"word\":\"{word}\","))
        };
        say("before")?;
        kill(world.bastion()?.recorder()?)?;
        say("unrecorded")?;
        ensure!(!strict.end()?.success(), "a strict session goes on");
        // A recorder is there again when a part of the session runs that continues another.
        let until = Instant::now() + DEADLINE;
        let part = loop {
            ensure!(Instant::now() < until, "it is not recorded again");
            let listed = client.console("sessions --active --json")?;
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
            let sessions = listed.get("sessions").and_then(Value::as_array);
            let mut sessions = sessions.into_iter().flatten();
            let part =
                sessions.find(|session| session.pointer("/continues/part") == Some(&2.into()));
            if let Some(part) = part {
                break part.clone();
            }
        };
        ensure!(part.get("mode") == Some(&"best-effort".into()), "{part}");
        say("after")?;
        let port = *world.bastion()?.other_ports()?.first().context("a port")?;
        // The recorder lists the part before the session has heard of it.
        let metrics = loop {
            let (_, metrics) = crate::service::page(port, "/metrics")?;
            if metrics.contains("bastion_sessions_unrecorded 0\n") || Instant::now() >= until {
                break metrics;
            }
        };
        for line in [
            "bastion_recordings_lost_total 1",
            "bastion_sessions_unrecorded 0",
        ] {
            ensure!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
        }
        drop(input);
        let output = session.finish()?;
        ensure!(output.code() == 0, "{output:?}");
        ensure!(!output.out().contains("078-05-1120"), "{output:?}");
        let listed = client.console("sessions")?.ok()?;
        ensure!(listed.out().contains("exec, part 2"), "{}", listed.out());
        ensure!(listed.out().contains(", then a gap"), "{}", listed.out());
        // Ended by the name of its part.
        let id = part.get("id").and_then(Value::as_str).context("an id")?;
        ensure!(client.console(&format!("end {id}"))?.code() != 0);
    }
    world.stop()?;
    let all = world.recordings().all()?;
    let of = |word: &str| {
        all.iter()
            .filter(|cast| cast.output().contains(word))
            .count()
    };
    // The recorder may have died with the line before in its memory, and the next may have been
    // there before the second.
    ensure!(of("after") == 1, "{all:?}");
    ensure!(of("078-05-1120") == 0);
    let dir = world.home.join("recordings");
    let audit = std::fs::read_to_string(dir.join("audit.jsonl"))?;
    for event in ["recording_lost", "recording_gap"] {
        let count = audit.matches(&format!("\"event\":\"{event}\"")).count();
        ensure!(count == 1, "{count} {event}: {audit}");
    }
    ensure!(audit.contains("\"recording\":\"best-effort\""), "{audit}");
    let verified = replay(&["verify", "--all"], &dir)?;
    let gaps = verified
        .out()
        .lines()
        .filter(|line| line.starts_with("gaps: "))
        .count();
    ensure!((verified.code(), gaps) == (1, 2), "{verified:?}");
    let second = all
        .iter()
        .find(|cast| cast.output().contains("after"))
        .context("a part")?;
    // So says a bundle, for somebody who has nothing else.
    for cast in all
        .iter()
        .filter(|cast| cast.header.pointer("/bastion/mode").is_some())
    {
        let bundle = world.place("bundle")?.join("bundle.cast.zst");
        let name = bundle.to_str().context("a path")?;
        replay(&["bundle", "-o", name], &cast.path)?.ok()?;
        let verified = replay(&["verify"], &bundle)?;
        ensure!(
            verified.code() == 1 && verified.out().starts_with("gaps: "),
            "{verified:?}"
        );
        ensure!(
            verified.out().contains("bytes that the client has"),
            "{verified:?}"
        );
    }
    let info = replay(&["info"], &second.path)?.ok()?;
    ensure!(
        info.out()
            .contains("(this is part 2): nothing was recorded from"),
        "{}",
        info.out()
    );
    Ok(())
}

#[test]
fn a_recording_that_can_not_begin_begins_no_session() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    // Files where the folder of any day would be made: not even root gets past them.
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let year = 1970 + since / (365 * 24 * 3600 + 6 * 3600);
    let in_the_way: Vec<_> = (year - 1..=year + 1)
        .map(|year| world.home.join("recordings").join(year.to_string()))
        .collect();
    for path in &in_the_way {
        std::fs::write(path, "")?;
    }
    let mark = client.dir.join("ran");
    let output = client.exec("box", format!("echo in; touch {}", mark.display()), b"")?;
    ensure!(
        output.code() == 65 && output.stdout.is_empty(),
        "{output:?}"
    );
    let line = crate::one_line(&output)?;
    ensure!(
        line == "bastion: this session cannot be recorded: the recording cannot be written",
        "{line}"
    );
    ensure!(!mark.exists(), "it ran unrecorded");
    for path in &in_the_way {
        std::fs::remove_file(path)?;
    }
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    Ok(())
}

/// Needs leave to mount a small file system; says so where there is none.
#[test]
fn who_prints_more_than_can_be_recorded_is_told_so() -> Result<()> {
    let Some(small) = Small::mount("24m")? else {
        return crate::skipped("mounting a small tmpfs is not allowed here");
    };
    let mut world = World::start(&Setup {
        recording: "free_percent = 50".to_owned(),
        ..Setup::default()
    })?;
    let there = format!("dir = \"{}\"", small.place.join("recordings").display());
    world.reconfigured("dir = \"recordings\"", &there)?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "echo in", b"")?.ok()?.out() == "in\n");
    // More than the disk has, and a line that is not reached.
    let noise = "head -c 40M /dev/urandom | base64; echo end";
    let output = client.exec("box", noise, b"")?;
    ensure!(output.code() != 0, "{}", output.err());
    ensure!(!output.out().ends_with("end\n"), "all of it was shown");
    let line = crate::one_line(&output)?;
    let said = "bastion: this session cannot be recorded: the disk is full";
    ensure!(line == said, "{line}");
    // Less than half of the disk is free, so that none begins.
    let output = client.exec("box", "echo unrecorded", b"")?;
    ensure!(
        output.code() == 65 && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(crate::one_line(&output)? == said, "{output:?}");
    Ok(())
}

/// A small file system, until it is dropped.
struct Small {
    place: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Small {
    /// `None` where mounting is not allowed.
    fn mount(size: &str) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("small");
        std::fs::create_dir(&place)?;
        let mut command = Command::new("mount");
        command.args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={size},mode=700"),
            "tmpfs",
        ]);
        let mounted = run("mount", command.arg(&place), b"")?.code() == 0;
        let _folder = folder;
        Ok(mounted.then_some(Self { place, _folder }))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Whoever has it open keeps it until then.
        let mut command = Command::new("umount");
        run("umount", command.arg("-l").arg(&self.place), b"").ok();
    }
}

#[test]
fn the_recorder_dies_with_serve_and_the_recording_is_readable() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut session = client.start(&[
        &client.on("box"),
        "--",
        "seq 1 1000; echo started; exec cat",
    ])?;
    session.stdout.expect("started")?;
    let (serve, recorder) = (world.bastion()?.id(), world.bastion()?.recorder()?);
    kill(serve)?;
    session.end()?;
    let until = std::time::Instant::now() + tests::DEADLINE;
    while runs(recorder) {
        ensure!(
            std::time::Instant::now() < until,
            "the recorder outlives serve"
        );
        std::thread::yield_now();
    }
    let files = world.recordings().files()?;
    let file = files.first().context("a recording")?;
    let cast = tests::recordings::Cast::read(file)?;
    ensure!(
        cast.output().ends_with("1000\r\nstarted\r\n"),
        "{:?}",
        cast.output().len()
    );
    asciinema(file, "txt")?;
    Ok(())
}

#[test]
fn recordings_are_for_their_owner_only_and_names_are_ours() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::usual()?;
    {
        let client = world.signed_in()?;
        client
            .exec("box", "echo ../../etc/passwd; : '; rm -rf x'", b"")?
            .ok()?;
    }
    world.stop()?;
    for file in tests::files::walk(&world.home.join("recordings"))? {
        let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{}: {mode:o}", file.display());
    }
    for folder in ["recordings", "state"] {
        let mode = std::fs::metadata(world.home.join(folder))?
            .permissions()
            .mode()
            & 0o777;
        ensure!(mode & 0o077 == 0, "{folder}: {mode:o}");
    }
    for file in world.recordings().files()? {
        let name = file
            .file_name()
            .and_then(|n| n.to_str())
            .context("a name")?;
        let id = name.strip_suffix(".cast.zst").context("an ending")?;
        ensure!(
            id.len() == 26
                && id
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn a_session_is_read_through_the_console_where_the_policy_allows_it() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    client.exec("box", "echo to be read back", b"")?.ok()?;
    let until = std::time::Instant::now() + tests::DEADLINE;
    let id = loop {
        let listed = client.console("sessions --json")?.ok()?;
        let text = listed.out();
        let found = text.split('"').find(|w| {
            w.len() == 26
                && w.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        if let Some(id) = found {
            break id.to_owned();
        }
        ensure!(std::time::Instant::now() < until, "no session: {text}");
    };
    let raw = client.console(&format!("recording {id}"))?.ok()?;
    let file = client.dir.join("read.cast.zst");
    std::fs::write(&file, &raw.stdout)?;
    ensure!(
        tests::recordings::Cast::read(&file)?
            .output()
            .contains("to be read back")
    );
    // With --json each tells what it would have given.
    for command in ["recording", "play"] {
        let told = client.console(&format!("{command} {id} --json"))?.ok()?;
        let told: Value = serde_json::from_slice(&told.stdout).with_context(|| told.out())?;
        ensure!(
            told.get("id") == Some(&id.as_str().into()),
            "{command}: {told}"
        );
        ensure!(
            told.get("command") == Some(&"echo to be read back".into()),
            "{command}: {told}"
        );
        let unknown = format!("{command} 00000000000000000000000000 --json");
        let unknown = client.console(&unknown)?;
        ensure!(
            unknown.code() == 77 && unknown.stdout.is_empty(),
            "{unknown:?}"
        );
        crate::one_line(&unknown)?;
    }
    for odd in [
        "../../../etc/passwd",
        "x",
        "00000000000000000000000000",
        "/etc/passwd",
        "",
    ] {
        let output = client.console(&format!("recording {odd}"))?;
        ensure!(
            output.code() != 0 && output.stdout.is_empty(),
            "{odd}: {output:?}"
        );
    }
    Ok(())
}
