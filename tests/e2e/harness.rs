//! The peers by themselves, without the bastion: what the other tests take for granted.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::link::Link;
use tests::peer::ask;
use tests::process::run_ok;
use tests::provider::Provider;
use tests::sshd::{Options, Sshd};
use tests::terminal::Terminal;

#[test]
fn sshd_and_a_second_client_understand_each_other() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sshd = Sshd::start(&folder.path().join("target"), &Options::default())?;
    let about = |what: Value| {
        let mut ask_for = json!({
            "port": sshd.port, "key": sshd.user_key, "host_key": sshd.host_key, "user": sshd.login,
        });
        if let (Some(all), Some(more)) = (ask_for.as_object_mut(), what.as_object()) {
            all.extend(more.clone());
        }
        ask_for.to_string()
    };
    // Each reads its input first: one that has ended takes none.
    let run = about(json!({
        "do": "run",
        "commands": [
            "cat >/dev/null; echo in; exit 3",
            "cat >/dev/null; kill -TERM $$",
            "cat >/dev/null; ls -A ~",
        ],
        "input": "x",
    }));
    let answers = ask("client.py", &[&run])?;
    // No start-up file of the account's owner can print, or take its time.
    ensure!(
        answers.pointer("/2/stdout") == Some(&Value::from("")),
        "{answers}"
    );
    ensure!(
        answers.pointer("/0/stdout") == Some(&Value::from("in\n")),
        "{answers}"
    );
    ensure!(
        answers.pointer("/1/signal/0") == Some(&Value::from("TERM")),
        "{answers}"
    );
    let run = about(json!({"do": "run", "commands": ["cat; exit 3"], "input": "\u{ff}x"}));
    let answers = ask("raw.py", &[&run])?;
    ensure!(
        answers.pointer("/0/stdout") == Some(&Value::from("\u{ff}x")),
        "{answers}"
    );
    let size = "00000050000000180000000000000000";
    let run = about(
        json!({"do": "requests", "requests": [["unknown@example.test", ""], ["window-change", size]]}),
    );
    let answers = ask("raw.py", &[&run])?;
    ensure!(
        answers.get("unknown@example.test") == Some(&Value::from("refused")),
        "{answers}"
    );
    // OpenSSH's own edge: six attempts.
    let run = about(json!({"do": "failures", "method": "nonsense@example.test", "count": 20}));
    let answers = ask("raw.py", &[&run])?;
    let list = answers.as_array().map(Vec::len).unwrap_or_default();
    ensure!(
        (6..=7).contains(&list)
            && answers.pointer(&format!("/{}", list - 1)) == Some(&"closed".into()),
        "{answers}"
    );
    Ok(())
}

#[test]
fn the_provider_starts_and_knows_no_wrong_code() -> Result<()> {
    let provider = Provider::start(&[])?;
    let state = provider.state()?;
    ensure!(state.get("users").is_some(), "{state}");
    let output = provider.approve(
        &format!("{}/device", provider.issuer),
        "BBBB-BBBB",
        "ana",
        &[],
    )?;
    ensure!(output.code() == 3, "{output:?}");
    provider.control(
        "fault",
        &json!({"path": "/token", "count": 1, "status": 503}),
    )?;
    Ok(())
}

#[test]
fn a_terminal_is_one() -> Result<()> {
    let mut command = Command::new("sh");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args([
        "-c",
        "tty; stty size; read -r line; echo \"got $line\"; stty size; exit 3",
    ]);
    let mut terminal = Terminal::start(&command, 81, 25)?;
    terminal.expect("/dev/pts/")?;
    terminal.expect("25 81")?;
    terminal.resize(132, 43)?;
    terminal.send("typed\r")?;
    terminal.expect("got typed")?;
    terminal.expect("43 132")?;
    ensure!(terminal.end()?.code() == Some(3));
    Ok(())
}

#[test]
fn a_link_delays_both_ways() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sshd = Sshd::start(&folder.path().join("target"), &Options::default())?;
    let link = Link::to(sshd.port, Duration::from_millis(50))?;
    let since = Instant::now();
    let scan = run_ok(
        "ssh-keyscan",
        Command::new("ssh-keyscan").args([
            "-t",
            "ed25519",
            "-p",
            &link.port.to_string(),
            "127.0.0.1",
        ]),
    )?;
    ensure!(
        scan.out()
            .contains(sshd.host_key.split(' ').nth(1).unwrap_or("no key")),
        "{}",
        scan.out()
    );
    ensure!(
        since.elapsed() >= Duration::from_millis(200),
        "{:?}",
        since.elapsed()
    );
    Ok(())
}
