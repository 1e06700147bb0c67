//! How sessions end: what was sent arrives, and what the command says is heard, whoever ends first.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::run;
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
