//! Protocols and endless commands on targets that hold: each piece waits for a decision, and what was approved arrives
//! as it was, so that the protocol goes on (product: sealed when it is quiet).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::process::{Output, run, run_ok};
use tests::ssh::Client;
use tests::world::{Setup, World};

use crate::holds::{ACCESS, approve, decide, held, json, setup};

/// Whatever a command on `vault` prints.
const OUTPUT: &str = "[[rule]]
name = \"all\"
targets = [\"vault\"]
action = { hold = { scope = \"output\", approvers = \"finance-approvers\" } }
";

/// Soon after the last byte, for a test; each wait of a protocol for its peer is one such pause.
const QUIET: &str = "seal_quiet = \"100ms\"";

/// Runs a program while somebody approves whatever is sealed. Says also how many holds that took.
fn approved(world: &World, name: &str, command: &mut Command) -> Result<(Output, usize)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let approver = scope.spawn(|| -> Result<usize> {
            let carol = world.signed_in_as("carol")?;
            let mut approvals = 0;
            while !over.load(Ordering::SeqCst) {
                for id in sealed(&carol)? {
                    approve(&carol, &id)?;
                    approvals += 1;
                }
            }
            Ok(approvals)
        });
        let output = run(name, command, b"");
        over.store(true, Ordering::SeqCst);
        let approvals = approver.join().ok().context("the approver")??;
        Ok((output?, approvals))
    })
}

fn sealed(client: &Client<'_>) -> Result<Vec<String>> {
    let list = json(client, "holds --json")?;
    let holds = list.get("holds").and_then(Value::as_array);
    let of = |hold: &Value, key: &str| Some(hold.get(key)?.as_str()?.to_owned());
    Ok(holds
        .context("a list")?
        .iter()
        .filter(|hold| of(hold, "state").as_deref() == Some("sealed"))
        .filter_map(|hold| of(hold, "id"))
        .collect())
}

/// A program that runs ssh itself, in the client's folder.
fn around_ssh(client: &Client<'_>, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(&client.dir)
        .env("GIT_SSH_COMMAND", shell(client));
    command
}

/// `ssh` to `vault`: the host is then only the bastion, as `ssh BASTION config` sets it up.
fn shell(client: &Client<'_>) -> String {
    format!("ssh -F {} -o {}", client.config().display(), user(client))
}

/// The user's name has an `@`, at which programs around ssh would cut it.
fn user(client: &Client<'_>) -> String {
    let on = client.on("vault");
    format!("User={}", on.trim_end_matches("@bastion"))
}

/// A file and a repository on the target.
pub(crate) fn content(world: &World) -> Result<std::path::PathBuf> {
    let place = world.place("content-")?;
    fs::write(place.join("file"), "line of a file\n".repeat(5000))?;
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(&place)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.test"])
            .args(arguments);
        run_ok("git", &mut command).map(drop)
    };
    git(&["init", "-q", "-b", "main", "repository"])?;
    fs::copy(place.join("file"), place.join("repository/file"))?;
    git(&["-C", "repository", "add", "file"])?;
    git(&["-C", "repository", "commit", "-q", "-m", "one"])?;
    Ok(place)
}

#[test]
fn rsync_git_and_scp_arrive_whole_once_each_piece_is_approved() -> Result<()> {
    let world = World::start(&Setup {
        access: ACCESS.to_owned(),
        protect: OUTPUT.to_owned(),
        holds: QUIET.to_owned(),
        ..Setup::default()
    })?;
    let ana = world.signed_in()?;
    let place = content(&world)?;
    let wanted = fs::read(place.join("file"))?;
    let from = |what: &str| format!("bastion:{}/{what}", place.display());

    let mut rsync = around_ssh(&ana, "rsync");
    rsync.args(["-e", &shell(&ana), &from("file"), "by-rsync"]);
    let mut git = around_ssh(&ana, "git");
    git.args(["clone", "-q", &from("repository"), "by-git"]);
    let mut scp = ana.tool("scp");
    scp.args(["-q", "-O", "-o", &user(&ana), &from("file"), "by-scp"]);

    for (name, mut command, file) in [
        ("rsync", rsync, "by-rsync"),
        ("git", git, "by-git/file"),
        ("scp", scp, "by-scp"),
    ] {
        let (output, holds) = approved(&world, name, &mut command).context(name)?;
        ensure!(output.code() == 0, "{name}: {output:?}");
        ensure!(
            fs::read(ana.dir.join(file))? == wanted,
            "{name}: other bytes"
        );
        // Nothing came without being asked about.
        ensure!(holds > 0, "{name}");
    }
    Ok(())
}

/// Without a decision nothing of a protocol arrives, and its denial is the end of it.
#[test]
fn a_protocol_gets_nothing_before_the_decision() -> Result<()> {
    let world = World::start(&Setup {
        access: ACCESS.to_owned(),
        protect: OUTPUT.to_owned(),
        holds: QUIET.to_owned(),
        ..Setup::default()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let place = content(&world)?;
    let mut scp = ana.tool("scp");
    let from = format!("bastion:{}/file", place.display());
    scp.args(["-q", "-O", "-o", &user(&ana), &from, "copy"]);
    let session = tests::ssh::Session::start(&mut scp)?;
    let id = held(&session)?;
    decide(&carol, &format!("deny {id}"))?;
    let output = session.finish()?;
    ensure!(output.code() != 0, "{output:?}");
    ensure!(
        output.err().contains(&format!("{id} was denied")),
        "{output:?}"
    );
    let copy = ana.dir.join("copy");
    ensure!(!copy.exists() || fs::read(&copy)?.is_empty());
    Ok(())
}

/// Where only fields are held, what cannot be read is refused unless the rules say otherwise.
#[test]
fn a_binary_protocol_is_refused_where_fields_are_held() -> Result<()> {
    let world = World::start(&setup())?;
    let ana = world.signed_in()?;
    let place = content(&world)?;
    let mut rsync = around_ssh(&ana, "rsync");
    let from = format!("bastion:{}/file", place.display());
    rsync.args(["-e", &shell(&ana), &from, "copy"]);
    let output = run("rsync", &mut rsync, b"")?;
    ensure!(output.code() != 0, "{output:?}");
    ensure!(
        output.err().contains("a rule refuses this output"),
        "{output:?}"
    );
    ensure!(!Path::new(&ana.dir.join("copy")).exists());
    Ok(())
}

/// `tail -f` is sealed when it is quiet; after the approval it goes on, and what comes then is a hold of its own under
/// the header of before. A denial ends it: a stream with a hole is none.
#[test]
fn a_followed_file_is_held_piece_by_piece() -> Result<()> {
    let world = World::start(&Setup {
        holds: QUIET.to_owned(),
        ..setup()
    })?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let log = world.place("log-")?.join("log");
    let append = |line: &str| -> Result<()> {
        use std::io::Write;
        let mut file = fs::File::options().append(true).create(true).open(&log)?;
        Ok(file.write_all(line.as_bytes())?)
    };
    append("id,salary\n")?;
    let session = ana.start(&[
        &ana.on("vault"),
        "--",
        &format!("exec tail -n +1 -f {}", log.display()),
    ])?;
    // The header passes by itself.
    session.stdout.expect("id,salary\n")?;
    let mut known = Vec::new();
    for row in ["1,k4711001\n", "2,k4711002\n", "3,k4711003\n"] {
        append(row)?;
        let id = session.stderr.wait("another hold", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let mut ids = text
                .match_indices("held as H-")
                .filter_map(|(at, _)| text.get(at + 8..at + 16));
            ids.find(|id| !known.iter().any(|known| known == id))
                .map(str::to_owned)
        })?;
        ensure!(!String::from_utf8_lossy(&session.stdout.so_far()).contains(row.trim_end()));
        if row.starts_with('3') {
            decide(&carol, &format!("deny {id}"))?;
        } else {
            approve(&carol, &id)?;
            session.stdout.expect(row)?;
        }
        known.push(id);
    }
    let output = session.finish()?;
    ensure!(output.code() == 76, "{output:?}");
    ensure!(
        output.out() == "id,salary\n1,k4711001\n2,k4711002\n",
        "{output:?}"
    );
    Ok(())
}
