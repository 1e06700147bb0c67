//! `replay play` on a real terminal: tmux holds it, keys are sent to it, its screen is looked at.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A tmux server of our own with one window.
struct Tmux {
    socket: String,
}

impl Tmux {
    /// Starts a command; `None`, loudly, where there is no tmux.
    fn start(folder: &Path, command: &str) -> Option<Self> {
        let tmux = Self {
            socket: folder.join("tmux").to_str().unwrap().to_owned(),
        };
        let started = Command::new("tmux")
            .args(["-S", &tmux.socket, "-f", "/dev/null", "new-session", "-d"])
            .args(["-x", "80", "-y", "12", command])
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .current_dir(folder)
            .status();
        match started {
            Ok(status) => {
                assert!(status.success(), "tmux does not start");
                Some(tmux)
            }
            Err(error) => {
                // Not by `eprintln!`: the harness keeps what tests that pass say with it.
                let mut stderr = std::io::stderr();
                let skipped = "SKIPPED: replay play on a terminal: tmux is not installed";
                writeln!(stderr, "{skipped} ({error})").unwrap();
                None
            }
        }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-S", &self.socket])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Sends keys, and waits until the screen is as it should be.
    fn keys(&self, keys: &[&str], what: &str, is_there: impl Fn(&str) -> bool) {
        if !keys.is_empty() {
            self.run(&[&["send-keys"], keys].concat());
        }
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return;
            }
            let patient = begun.elapsed() < Duration::from_secs(30);
            assert!(patient, "{what} does not come, after {keys:?}:\n{screen}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        drop(
            Command::new("tmux")
                .args(["-S", &self.socket, "kill-server"])
                .status(),
        );
    }
}

fn recording() -> String {
    let mut text = String::from(
        r#"{"version":3,"term":{"cols":60,"rows":8},"timestamp":1700000000,"bastion":{"user":"ada","target":"orders-db","login":"postgres"}}"#,
    );
    for number in 0..100 {
        text.push_str(&format!(
            "\n[1.000,\"o\",\"\\u001b]0;owned\\u0007\\u001b]52;c;b3duZWQ=\\u0007\\u001b[6n\\u001b[32mline {number}\\u001b[0m\\r\\n\"]"
        ));
        if number == 50 {
            text.push_str("\n[0.000,\"m\",\"halfway\"]");
        }
    }
    text.push_str("\n[1.000,\"x\",\"3\"]\n");
    text
}

fn has(part: &'static str) -> impl Fn(&str) -> bool {
    move |screen| screen.contains(part)
}

#[test]
fn a_recording_is_played_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let packed = zstd::encode_all(recording().as_bytes(), 3).unwrap();
    fs::write(folder.path().join("session.cast.zst"), packed).unwrap();
    let command = format!(
        "{} play session.cast.zst; echo status $?; cat",
        env!("CARGO_BIN_EXE_replay")
    );
    let Some(tmux) = Tmux::start(folder.path(), &command) else {
        return;
    };
    let title = tmux.run(&["display-message", "-p", "#{pane_title}"]);
    tmux.keys(&[], "the first line", has("line 0"));
    tmux.keys(&["Space"], "a pause", has("||"));
    tmux.keys(&["]"], "the marker", has("marker: halfway"));
    assert!(tmux.screen().contains("line 50") && !tmux.screen().contains("line 51"));
    tmux.keys(&["."], "a step", has("line 51"));
    tmux.keys(&[","], "a step back", |screen| {
        screen.contains("line 50") && !screen.contains("line 51")
    });
    tmux.keys(&["Right"], "five seconds ahead", has("0:00:56 /"));
    tmux.keys(&["Down"], "a minute back", has("0:00:00 /"));
    tmux.keys(&["g", "1:30", "Enter"], "a time", has("line 89"));
    tmux.keys(
        &["Home", "/", "LINE 7", "Enter"],
        "not found",
        has("not found"),
    );
    tmux.keys(
        &["/", "line 77", "Enter"],
        "what is searched",
        has("line 77"),
    );
    tmux.keys(&[">", ">"], "speed", has("2x"));
    tmux.keys(&["?"], "help", has("again from the start"));
    tmux.keys(&["x"], "the end of help", |screen| {
        !screen.contains("again from")
    });
    tmux.keys(&["End"], "the end", has("exit 3"));
    assert!(tmux.screen().contains("line 99"));
    assert!(tmux.screen().contains("2023-11-14 22:15:01"));
    tmux.run(&["resize-window", "-x", "40", "-y", "6"]);
    tmux.keys(&[], "a smaller screen", |screen| {
        screen.lines().count() <= 6 && screen.contains("line 99") && screen.contains("[]")
    });
    // The recording tried to set a title, to write the clipboard and to ask questions.
    assert_eq!(tmux.run(&["display-message", "-p", "#{pane_title}"]), title);
    assert_eq!(tmux.run(&["list-buffers"]), "");
    tmux.keys(&["q"], "the shell", has("status 0"));
    assert!(!tmux.screen().contains("line"), "the screen is put back");
}

#[test]
fn a_cut_recording_plays_from_a_pipe_and_its_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = recording();
    fs::write(folder.path().join("cut.cast"), &text[..text.len() - 60]).unwrap();
    let command = format!(
        "cat cut.cast | {} play --start 100% -; echo status $?; cat",
        env!("CARGO_BIN_EXE_replay")
    );
    let Some(tmux) = Tmux::start(folder.path(), &command) else {
        return;
    };
    tmux.keys(&[], "the last line", has("line 98"));
    tmux.keys(&[], "the warnings", has("warnings (w)"));
    tmux.keys(&["w"], "what is damaged", has("cut off"));
    tmux.keys(&["q"], "the shell", has("status 1"));
    // The terminal wraps what is told.
    let told = tmux.screen().replace('\n', "");
    assert!(told.contains("the last event is cut off"), "{told}");
}
