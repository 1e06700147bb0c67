//! The program itself: the tour's exit status, what is printed, and that nothing is left.
#![expect(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

fn demo(temp: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(words).env("TMPDIR", temp).kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// Processes with something in `folder` among their arguments or as working directory.
fn processes_in(folder: &Path) -> Vec<String> {
    let name = folder.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|process| {
            let there = fs::read_link(process.join("cwd"));
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            there.is_ok_and(|path| path.starts_with(folder))
                || String::from_utf8_lossy(&line).contains(name)
        })
        .map(|process| process.display().to_string())
        .collect()
}

#[tokio::test]
async fn every_step_of_the_tour_comes_out_right() {
    let temp = tempfile::tempdir().unwrap();
    let run = demo(temp.path(), &["--tour"]).output();
    let seen = timeout(Duration::from_secs(300), run)
        .await
        .unwrap()
        .unwrap();
    let out = String::from_utf8_lossy(&seen.stdout);
    let err = String::from_utf8_lossy(&seen.stderr);
    assert_eq!(seen.status.code(), Some(0), "{out}\n{err}");
    assert!(out.ends_with("Every step came out right.\n"), "{out}");
    assert!(is_empty(temp.path()));
    assert_eq!(processes_in(temp.path()), Vec::<String>::new());
}

/// Starts the demo and reads what it prints until it is ready; the folder it names.
async fn start(temp: &Path) -> (Child, String) {
    let mut child = demo(temp, &[]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut folder = String::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(name) = line.trim().strip_prefix("cd ") {
                name.clone_into(&mut folder);
            }
            if line.starts_with("Ctrl-C") {
                return true;
            }
        }
        false
    };
    if !timeout(Duration::from_secs(60), ready).await.unwrap() {
        panic!("{:?}", child.wait_with_output().await.unwrap());
    }
    (child, folder)
}

#[tokio::test]
async fn a_signal_ends_everything_and_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let temp = tempfile::tempdir().unwrap();
        let (mut child, folder) = start(temp.path()).await;
        for file in [
            "ssh_config",
            "known_hosts",
            "bin/bastion",
            "bin/replay",
            "bin/sql",
        ] {
            assert!(
                fs::symlink_metadata(Path::new(&folder).join(file)).is_ok(),
                "{file}"
            );
        }
        assert!(!processes_in(temp.path()).is_empty());
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        let status = timeout(Duration::from_secs(30), child.wait())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(is_empty(temp.path()));
        assert_eq!(processes_in(temp.path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn without_ssh_it_says_what_to_install() {
    let temp = tempfile::tempdir().unwrap();
    let seen = demo(temp.path(), &["--tour"])
        .env("PATH", temp.path())
        .output()
        .await
        .unwrap();
    assert_eq!(seen.status.code(), Some(1));
    let err = String::from_utf8_lossy(&seen.stderr);
    assert!(err.contains("apt install openssh-client"), "{err}");
}
