//! Shells and terminals: sizes, modes, keys, the end.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::{Gathered, Running, run_ok};
use tests::terminal::Terminal;
use tests::world::World;

#[test]
fn a_shell_works_and_its_status_is_the_clients() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    command.arg(client.on("box"));
    let mut terminal = Terminal::start(&command, 80, 24)?;
    terminal.send("PS1='ready''> '; echo $((6*7))$TERM\r")?;
    terminal.expect("42xterm-256color")?;
    terminal.send("stty size\r")?;
    terminal.expect("24 80")?;
    // The interrupt key ends the command, not the session. The command says itself that it is there: between two of a
    // list the key is the shell's, and one that starts right then never hears of it.
    terminal.send("sh -c \"echo wai''ting; exec cat\"\r")?;
    terminal.expect("waiting")?;
    terminal.send("\x03")?;
    // What is typed before the interrupt is dealt with would be thrown away with it.
    terminal.expect("ready> ")?;
    terminal.send("echo al''ive\r")?;
    terminal.expect("alive")?;
    terminal.send("exit 7\r")?;
    let status = terminal.end()?;
    ensure!(status.code() == Some(7), "{status}");
    Ok(())
}

#[test]
fn the_end_of_input_ends_a_shell() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    command.args([&client.on("box"), "-t", "--", "cat; echo end; exit 5"]);
    let mut terminal = Terminal::start(&command, 80, 24)?;
    terminal.send("typed\r")?;
    terminal.expect("typed\r\ntyped\r\n")?;
    terminal.send("\x04")?;
    terminal.expect("end")?;
    ensure!(terminal.end()?.code() == Some(5));
    Ok(())
}

#[test]
fn window_sizes_are_the_terminals_at_the_start_and_when_they_change() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let mut command = client.ssh();
    let script = "trap 'echo now $(stty size).' WINCH; echo first $(stty size).; while :; do sleep 0.05; done";
    command.args(["-t", &client.on("box"), "--", script]);
    let mut terminal = Terminal::start(&command, 100, 30)?;
    terminal.expect("first 30 100.")?;
    for (cols, rows) in [(132, 43), (80, 24), (1, 1), (250, 70)] {
        terminal.resize(cols, rows)?;
        terminal.expect(&format!("now {rows} {cols}."))?;
    }
    Ok(())
}

/// Pictures are drawn by them: what the terminal has in pixels reaches the program, at the start and when it changes.
#[test]
fn sizes_in_pixels_are_the_terminals_too() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let python = tests::files::installed("venv/bin/python")?;
    // Not in a handler, which would print into a line that is being printed.
    let program = "import fcntl, signal, struct, termios
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
while True:
    print(*struct.unpack(\"HHHH\", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))), flush=True)
    signal.sigwait([signal.SIGWINCH])";
    let what = json!({
        "do": "sizes",
        "command": format!("exec {} -c '{program}'", python.display()),
        "first": [80, 24, 800, 600],
        "then": [[80, 24, 801, 600], [100_000, 24, 90_000, 600], [132, 43, 70_000, 65_535], [132, 43]],
    });
    let seen = ask("client.py", &[&client.told(&what)?])?;
    let expected = json!([
        "24 80 800 600",
        "24 80 801 600",
        "24 1000 0 600",
        "43 132 0 65535",
        "43 132 0 0"
    ]);
    ensure!(seen == expected, "{seen}");
    Ok(())
}

#[test]
fn absurd_sizes_are_clamped() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let command = "trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done";
    let what = json!({
        "do": "sizes", "command": command,
        "first": [100_000, 100_000], "then": [[80, 24], [4_294_967_295_u32, 4_294_967_295_u32], [132, 43]],
    });
    let seen = ask("client.py", &[&client.told(&what)?])?;
    ensure!(
        seen == json!(["500 1000", "24 80", "500 1000", "43 132"]),
        "{seen}"
    );
    Ok(())
}

#[test]
fn terminal_modes_are_the_same_as_without_the_bastion() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let changes = [
        "intr ^X erase ^H kill ^Y eof ^E quit ^G susp ^W",
        "-echo -onlcr ixany istrip",
        "raw",
        "cs7 parenb -ixon 38400",
    ];
    for change in changes {
        let mut seen = Vec::new();
        for destination in ["direct".to_owned(), client.on("box")] {
            let line = format!(
                "stty {change}; exec ssh -F {} -tt {destination} -- 'stty -a; echo END.'",
                client.config().display()
            );
            let command = fresh(&client.ssh(), "sh", &["-c", &line]);
            let mut terminal = Terminal::start(&command, 80, 24)?;
            terminal.expect("END.")?;
            let text = terminal.screen.text();
            seen.push(text.split("END.").next().unwrap_or_default().to_owned());
        }
        ensure!(
            seen.first() == seen.get(1),
            "stty {change}\n{}",
            seen.join("\n-- through the bastion --\n")
        );
    }
    Ok(())
}

/// The same environment for another program.
fn fresh(like: &Command, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.envs(
        like.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
}

#[test]
fn no_terminal_is_invented() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    ensure!(client.exec("box", "tty", b"")?.out() == "not a tty\n");
    // A shell without a terminal reads commands from its input.
    let output = client.run(&["-T", &client.on("box")], b"echo one; exit 6\n")?;
    ensure!(
        output.code() == 6 && output.out().ends_with("one\n"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn a_name_of_a_terminal_that_could_hurt_one_is_not_passed_on() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    for (term, passed) in [
        ("xterm-256color", true),
        ("screen.linux", true),
        ("x\u{1b}[31m", false),
        ("a;b", false),
    ] {
        let what = json!({
            "do": "run", "commands": ["echo $TERM."], "term": term,
        });
        let answer = ask("client.py", &[&client.told(&what)?]);
        let seen = answer.ok().and_then(|a| {
            a.pointer("/0/stdout")
                .and_then(Value::as_str)
                .map(str::to_owned)
        });
        let arrived = seen
            .as_deref()
            .is_some_and(|text| text.starts_with(&format!("{term}.")));
        ensure!(arrived == passed, "{term:?}: {seen:?}");
    }
    Ok(())
}

/// What a person sees who has no lease and works in a terminal: the address, then the shell.
#[test]
fn signing_in_and_working_inside_tmux() -> Result<()> {
    let world = World::usual()?;
    let client = world.client()?;
    let socket = client.dir.join("tmux");
    let tmux = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new("tmux");
        command
            .env_remove("TMUX")
            .args(["-f", "/dev/null", "-S"])
            .arg(&socket)
            .args(arguments);
        Ok(run_ok("tmux", &mut command)?.out())
    };
    let inside = format!("ssh -F {} {}", client.config().display(), client.on("box"));
    let fifo = client.dir.join("screen");
    run_ok("mkfifo", Command::new("mkfifo").arg(&fifo))?;
    // Held back until its output is piped to us.
    let held = format!("read go; exec {inside}");
    tmux(&[
        "new-session",
        "-d",
        "-x",
        "100",
        "-y",
        "30",
        "sh",
        "-c",
        &held,
    ])?;
    let _server = Tmux(socket.clone());
    tmux(&["pipe-pane", "-o", &format!("cat > {}", fifo.display())])?;
    let screen = Gathered::from(std::fs::File::open(&fifo)?);
    tmux(&["send-keys", "go", "Enter"])?;
    let prompt = screen.wait("the address and code", |seen| {
        tests::ssh::Prompt::find(&String::from_utf8_lossy(seen))
    })?;
    world
        .provider
        .approve(&prompt.uri, &prompt.code, "ana", &[])?;
    tmux(&["send-keys", "PS1='ps''1> '; clear; stty size", "Enter"])?;
    screen.expect("30 100")?;
    tmux(&["resize-window", "-x", "120", "-y", "40"])?;
    tmux(&[
        "send-keys",
        "stty size; printf '\\033[1;31mred\\033[0m %s\\n' do''ne",
        "Enter",
    ])?;
    screen.expect("done")?;
    let seen = tmux(&["capture-pane", "-p"])?;
    ensure!(
        seen.contains("40 120") && seen.contains("red done"),
        "{seen}"
    );
    tmux(&["send-keys", "exit", "Enter"])?;
    screen.all()?;
    Ok(())
}

struct Tmux(std::path::PathBuf);

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        command
            .env_remove("TMUX")
            .arg("-S")
            .arg(&self.0)
            .arg("kill-server");
        command.stderr(std::process::Stdio::null());
        if let Ok(mut running) = Running::start("tmux", &mut command) {
            running.wait().ok();
        }
    }
}
