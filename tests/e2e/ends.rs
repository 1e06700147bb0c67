//! How sessions end: what was sent arrives, and what the command says is heard, whoever ends first.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::files::wait_for_file;
use tests::peer::ask;
use tests::process::{Running, run};
use tests::ssh::Session;
use tests::world::World;

/// A client that sends everything, says so, and closes its channel at once has sent everything.
#[test]
fn an_upload_arrives_whole_when_its_client_leaves_at_once() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let place = world.place("upload-")?;
    let (file, done) = (place.join("file"), place.join("done"));
    let what = json!({
        "do": "leaves", "text": "0123456789abcde\n", "times": 200_000,
        "command": format!("sleep 1; cat > {}; echo $? > {}", file.display(), done.display()),
    });
    let answer = ask("raw.py", &[&client.told(&what)?])?;
    ensure!(
        answer.get("stdout") == Some(&Value::from("in\n")),
        "{answer}"
    );
    let until = Instant::now() + Duration::from_secs(30);
    while !done.exists() {
        ensure!(Instant::now() < until, "the command was cut");
        std::thread::yield_now();
    }
    let length = std::fs::metadata(&file).context("the file")?.len();
    ensure!(length == 200_000 * 16, "{length} bytes of {}", 200_000 * 16);
    Ok(())
}

/// Its output is closed long before it ends, and the client's input ends in between: the client
/// closes the channel then, and still hears the status.
#[test]
fn a_status_is_heard_after_both_ends_have_closed() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let through = |destination: &str| {
        let line = format!(
            "sleep 1 | ssh -F {} {destination} -- 'exec >&- 2>&-; sleep 3; exit 7'",
            client.config().display(),
        );
        run(
            "sh",
            Command::new("sh")
                .args(["-c", &line])
                .current_dir(&client.dir),
            b"",
        )
    };
    ensure!(through("direct")?.code() == 7);
    let output = through(&client.on("box"))?;
    ensure!(output.code() == 7, "{output:?}");
    Ok(())
}

/// The end of the output waits for a client that does not read, and meanwhile its input ends: a multiplexed one closes the
/// channel by itself once it knows of both, and hears the status all the same.
#[test]
fn a_status_is_heard_where_both_ends_cross() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let master = client.master("box")?;
    let place = world.place("crossed-")?;
    let (closed, heard) = (place.join("closed"), place.join("heard"));
    let mut command = master.command();
    // A window and a little more.
    command.arg(format!(
        "head -c 2500000 /dev/zero; exec >&- 2>&-; : > {}; cat > /dev/null; : > {}; sleep 1; exit 7",
        closed.display(),
        heard.display(),
    ));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut running = Running::start("ssh", &mut command)?;
    wait_for_file(&closed, &mut running)?;
    drop(running.stdin());
    wait_for_file(&heard, &mut running)?;
    let read = std::io::copy(&mut running.raw_stdout()?, &mut std::io::sink())?;
    let status = running.wait()?;
    ensure!(
        read == 2_500_000 && status.code() == Some(7),
        "{read} {status}"
    );
    Ok(())
}

/// Clients that go without a word of SSH (threats, row 35): what ran on the target is ended, and its recording is whole.
#[test]
fn whoever_goes_without_a_word_leaves_nothing_behind() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    client.exec("box", "true", b"")?.ok()?;
    let before = world.bastion()?.open_files()?;
    for how in ["reset", "half-closed", "killed"] {
        let command = format!("echo $$; exec cat # {how}");
        let what = client.told(&json!({ "do": "vanishes", "how": how, "command": command }))?;
        let mut session = Session::start(&mut tests::peer::script("raw.py", &[&what])?)?;
        let process = session.stdout.wait("the command's process", |bytes| {
            let text = std::str::from_utf8(bytes).ok()?;
            text.split_once('\n')?.0.parse().ok()
        })?;
        if how == "killed" {
            session.running.signal(rustix::process::Signal::KILL)?;
        }
        tests::bastion::ended(process).context(how)?;
        // The other side of what was closed by half is still there, and is told.
        drop(session.stdin.take());
        session.end()?;
        let until = Instant::now() + tests::DEADLINE;
        while world.bastion()?.open_files()? > before {
            ensure!(Instant::now() < until, "{how}: open files");
            std::thread::yield_now();
        }
        let cast = world.recordings().of_command(&command)?;
        ensure!(
            cast.output() == format!("{process}\r\n")
                && cast.data("m").concat().contains("the client left"),
            "{how}: {:?}",
            cast.events
        );
    }
    Ok(())
}
