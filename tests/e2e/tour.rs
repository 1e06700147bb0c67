//! The first command of the README: the demo plays its whole story with the stock client.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::files::program;
use tests::process::Running;

#[test]
fn the_guided_tour_comes_out_right() -> Result<()> {
    let mut command = Command::new(program("demo")?);
    command
        .arg("--tour")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start("demo --tour", &mut command)?;
    let (stdout, stderr) = (running.stdout()?, running.stderr()?);
    let status = running.wait_for(Duration::from_secs(170));
    let told = format!("{}\n{}", stdout.text(), stderr.text());
    ensure!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{status:?}\n{told}"
    );
    for part in ["whoami", "replay"] {
        ensure!(told.contains(part), "nothing about {part}:\n{told}");
    }
    Ok(())
}
