//! The same commands directly and through the bastion: stdout, stderr and status are the same bytes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::process::run;
use tests::world::World;

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    // xorshift64*: every byte value, no period within a test.
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Commands with their input.
fn commands() -> Vec<(OsString, Vec<u8>)> {
    let plain = [
        "true",
        "false",
        "exit 42",
        "exit 127",
        "exit 254",
        "exit 255",
        "echo",
        "printf 'no line end'",
        "echo out; echo err >&2",
        "echo err >&2; exit 3",
        "exec 1>&2; echo only stderr",
        "exec >&-; echo to stderr >&2; exit 4",
        "exec 2>&-; echo to stdout; exit 5",
        "exec <&- >&- 2>&-; exit 6",
        "head -c 3000000 /dev/zero",
        "head -c 2000000 /dev/zero >&2",
        "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 9",
        "seq 1 200000",
        "yes 0123456789abcdef | head -n 100000",
        "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done",
        "kill -TERM $$",
        "kill -KILL $$",
        "kill -HUP $$",
        "kill -INT $$",
        "kill -SEGV $$",
        "kill -USR1 $$",
        "kill -PIPE $$",
        "kill -ABRT $$",
        "printf '\\000\\001\\377\\376'",
        "printf '\\033[31mred\\033[0m\\033]0;title\\007\\n'",
        "printf '\\303\\244\\303\\266 \\360\\237\\230\\200\\n'",
        "printf 'sa\\344ge\\n'",
        "tty",
        "test -t 0 || test -t 1 || test -t 2",
        "no-such-command-anywhere",
        "/etc/passwd",
        "pwd; umask; id -un; echo $0; echo $HOME; echo $SHELL",
        "echo \"a  b\"  'c  d' \\e \"$((6 * 7))\" `echo f` | tr a-z A-Z",
        "echo one\necho two\n\necho three",
        "printf '%s' \"$SSH_ORIGINAL_COMMAND\"",
        "env | grep -E '^(LANG|LC_[A-Z]+|TZ|COLORTERM)=' | sort",
        "(sleep 0.3; echo late) & echo early",
        "trap 'echo caught; exit 12' TERM; kill -TERM $$",
        "sh -c 'echo child; exit 13'",
        "echo -n; : > /dev/null; exit 0",
        "# nothing but a comment",
        "   ",
        "printf 'a\\r\\nb\\rc\\n'",
    ];
    let mut all: Vec<_> = plain
        .iter()
        .map(|command| (OsString::from(command), Vec::new()))
        .collect();
    all.push((
        OsString::from_vec(b"printf '\xff\xfe\x80 \xc3' | od -An -tx1; exit 14".to_vec()),
        Vec::new(),
    ));
    all.push((OsString::from_vec(b"echo \xe9t\xe9".to_vec()), Vec::new()));
    all.push((
        format!("printf %s {} | wc -c", "x".repeat(60_000)).into(),
        Vec::new(),
    ));
    all.push(("cat".into(), b"a line\nand one without its end".to_vec()));
    all.push(("cat".into(), (0..=255).collect()));
    all.push(("cat".into(), bytes(3_000_000, 1)));
    all.push(("cat >&2".into(), bytes(1_000_000, 2)));
    all.push(("sha256sum".into(), bytes(20_000_000, 3)));
    all.push(("wc -c; exit 21".into(), bytes(1, 4)));
    all.push((
        "read -r first; echo \"got $first\"; cat | wc -c".into(),
        b"hello\nmore\nand more\n".to_vec(),
    ));
    all.push(("head -c 1 >/dev/null; exit 22".into(), bytes(5_000_000, 5)));
    all.push(("exec <&-; exit 23".into(), bytes(1_000_000, 6)));
    all.push((
        "cat >/dev/null; echo done; exit 24".into(),
        bytes(2_000_000, 7),
    ));
    all.push(("gzip -c | gzip -dc".into(), bytes(1_000_000, 8)));
    all.push(("tee /dev/stderr".into(), bytes(300_000, 9)));
    all
}

#[test]
fn the_same_bytes_and_status() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let environment = [
        "-o",
        "SetEnv=LANG=de_DE.UTF-8 LC_TIME=C.UTF-8 TZ=Europe/Berlin COLORTERM=truecolor",
    ];
    let commands = commands();
    ensure!(commands.len() >= 50);
    let mut differences = Vec::new();
    for (command, input) in commands {
        let through = |destination: &str| {
            run(
                "ssh",
                client
                    .ssh()
                    .args(environment)
                    .arg(destination)
                    .arg("--")
                    .arg(&command),
                &input,
            )
        };
        let (direct, relayed) = (through("direct")?, through(&client.on("box"))?);
        if direct.code() != relayed.code()
            || direct.stdout != relayed.stdout
            || direct.stderr != relayed.stderr
        {
            let brief = |output: &tests::process::Output| {
                let cut = |text: String| text.chars().take(300).collect::<String>();
                let (out, err) = (cut(output.out()), cut(output.err()));
                let sizes = (output.stdout.len(), output.stderr.len());
                format!(
                    "status {}, sizes {sizes:?}, stdout {out:?}, stderr {err:?}",
                    output.code()
                )
            };
            let command = brief_command(&command);
            differences.push(format!(
                "{command}\n  direct:  {}\n  through: {}",
                brief(&direct),
                brief(&relayed)
            ));
        }
    }
    ensure!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    Ok(())
}

fn brief_command(command: &OsStr) -> String {
    String::from_utf8_lossy(command.as_bytes())
        .chars()
        .take(80)
        .collect()
}

#[test]
fn exit_signals_and_core_flags_are_the_same() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let commands: Vec<_> = [
        "TERM", "KILL", "HUP", "INT", "SEGV", "USR1", "USR2", "ABRT", "QUIT", "PIPE", "ALRM",
        // RFC 4254 has no names for these.
        "BUS", "TRAP", "SYS", "XCPU", "VTALRM",
    ]
    .iter()
    .map(|signal| format!("ulimit -c 0; kill -{signal} $$"))
    .collect();
    let answers = |port: u16, key: &std::path::Path, host_key: &str, user: &str| {
        let ask_for = json!({
            "port": port, "key": key, "host_key": host_key, "user": user, "do": "run", "commands": commands,
        });
        ask("client.py", &[&ask_for.to_string()])
    };
    let sshd = &world.sshd;
    let direct = answers(sshd.port, &sshd.user_key, &sshd.host_key, &sshd.login)?;
    let user = format!("{}@box", sshd.login);
    let relayed = answers(world.bastion()?.port, &client.key, &world.host_key, &user)?;
    ensure!(direct == relayed, "direct:  {direct}\nthrough: {relayed}");
    ensure!(
        direct.pointer("/0/signal/0") == Some(&Value::from("TERM")),
        "{direct}"
    );
    Ok(())
}

#[test]
fn only_the_listed_environment_passes() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let set = "SetEnv=LANG=C.UTF-8 LC_ALL=C PROBE_A=1 LD_PRELOAD=/nonexistent.so BASTION_NOTICES=json:1 TZ=UTC";
    let output = client
        .run(&["-o", set, &client.on("box"), "--", "env | sort"], b"")?
        .ok()?;
    let seen = output.out();
    for kept in ["LANG=C.UTF-8", "LC_ALL=C", "TZ=UTC"] {
        ensure!(
            seen.lines().any(|line| line == kept),
            "{kept} is missing: {seen}"
        );
    }
    for dropped in ["PROBE_A", "LD_PRELOAD", "BASTION_NOTICES"] {
        ensure!(!seen.contains(dropped), "{dropped} got through: {seen}");
    }
    // A value with characters outside the list, or too long a one, is dropped, and the session goes on.
    let long = format!("SetEnv=LC_ALL={} TZ=UTC", "x".repeat(65));
    for set in [
        "SetEnv=LC_ALL=a;b TZ=UTC",
        "SetEnv=LC_ALL=$(id) TZ=UTC",
        long.as_str(),
    ] {
        let output = client
            .run(&["-o", set, &client.on("box"), "--", "env"], b"")?
            .ok()?;
        ensure!(!output.out().contains("LC_ALL"), "{set}: {}", output.out());
        ensure!(output.out().contains("TZ=UTC"), "{set}: {}", output.out());
    }
    Ok(())
}

#[test]
fn many_channels_on_one_connection() -> Result<()> {
    let world = World::usual()?;
    let client = world.signed_in()?;
    let master = client.master("box")?;
    let mut running = Vec::new();
    for n in 0..8_u8 {
        let mut command = master.command();
        command.arg(format!("cat; exit {n}"));
        running.push((n, tests::ssh::Session::start(&mut command)?));
    }
    for (n, session) in &mut running {
        use std::io::Write;
        session.stdin.as_mut().map_or(Ok(()), |stdin| {
            stdin.write_all(&bytes(100_000 + usize::from(*n), 77))
        })?;
    }
    for (n, session) in running {
        let output = session.finish()?;
        let code = output.code();
        ensure!(code == i32::from(n), "{n}: status {code} {}", output.err());
        ensure!(
            output.stdout == bytes(100_000 + usize::from(n), 77),
            "{n}: {} bytes",
            output.stdout.len()
        );
    }
    Ok(())
}
