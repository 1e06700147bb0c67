//! What the built programs do with real peers: a file per behaviour.
//!
//! OpenSSH's client and server, a certified OpenID provider, asciinema, asyncssh and paramiko. Each test has a
//! world of its own; `tests/run` installs the peers.

mod alike;
mod canary;
mod crashes;
mod decisions;
mod differential;
mod edges;
mod endings;
mod ends;
mod evidence;
mod floods;
mod flow;
mod forward;
mod forwarding;
mod harness;
mod holds;
mod hostile;
mod hostkey;
mod identity;
mod inbox;
mod inventory;
mod jump;
mod kills;
mod limits;
mod names;
mod peers;
mod policies;
mod proofs;
mod protocols;
mod pty;
mod recording;
mod refusals;
mod reload;
mod requests;
mod service;
mod sftp;
mod shutdown;
mod signin;
mod tour;
mod transport;
mod watch;
mod webhooks;

/// Ends a test that looks at nothing here, and says why in the runner's output.
///
/// # Errors
/// Never: its value is the test's.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn skipped(why: &str) -> anyhow::Result<()> {
    println!("skipped: {why}");
    Ok(())
}

/// The one line that a refused client is shown, where ssh's own lines are left out.
///
/// # Errors
/// There are none or several, or it has characters that a terminal might obey.
fn one_line(output: &tests::process::Output) -> anyhow::Result<String> {
    let text = output.err();
    let lines: Vec<_> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !ssh_says(line))
        .collect();
    anyhow::ensure!(lines.len() == 1, "not one line: {text:?}");
    let line = lines.concat();
    anyhow::ensure!(
        line.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
        "not printable ASCII: {line:?}"
    );
    Ok(line)
}

/// Lines of the stock client itself.
fn ssh_says(line: &str) -> bool {
    line.contains("Permission denied (")
        || line.starts_with("Connection to ")
        || line.starts_with("Connection closed by ")
        || line.starts_with("Received disconnect from ")
        || line.starts_with("Disconnected from ")
        || line.starts_with("shell request failed on channel")
        || line.starts_with("exec request failed on channel")
        || line.starts_with("subsystem request failed on channel")
        || line.starts_with("PTY allocation request failed on channel")
}
