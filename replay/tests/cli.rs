//! The program as it is called: what it prints, and its exit status.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const HEADER: &str = r#"{"version":3,"term":{"cols":40,"rows":10,"type":"xterm"},"timestamp":1700000000,"title":"postgres@orders-db","command":"psql -c 'select 1'","bastion":{"user":"ada","target":"orders-db","login":"postgres","kind":"exec"}}"#;

const EVENTS: &str = r#"[0.500,"o","hello\r\n"]
[0.500,"m","a mark"]
[1.000,"B","0:ff"]
[0.000,"o","\u001b[31mred wor"]
[0.250,"o","ld\u001b[0m\r\n"]
[0.000,"r","80x24"]
[1.000,"x","3"]
"#;

fn replay(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replay"));
    command.current_dir(folder).env("TZ", "UTC");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> (String, String, i32) {
    texts(replay(folder).args(arguments).output().unwrap())
}

fn run_with(folder: &Path, arguments: &[&str], input: &[u8]) -> (String, String, i32) {
    let mut child = replay(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command line that is wrong is refused before the input is read.
    if let Err(error) = child.stdin.take().unwrap().write_all(input) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    texts(child.wait_with_output().unwrap())
}

fn texts(output: Output) -> (String, String, i32) {
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
        output.status.code().unwrap(),
    )
}

fn recording() -> String {
    format!("{HEADER}\n{EVENTS}")
}

/// A store as the recorder lays it out, with things in it that are no recordings.
fn store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let day = folder.path().join("2023/11/14");
    fs::create_dir_all(&day).unwrap();
    let packed = zstd::encode_all(recording().as_bytes(), 3).unwrap();
    fs::write(day.join("aaaabbbbccccddddeeeeffff22.cast.zst"), packed).unwrap();
    fs::write(day.join("plain.cast"), recording()).unwrap();
    fs::write(day.join("notes.txt"), "nothing").unwrap();
    std::os::unix::fs::symlink("/", day.join("loop")).unwrap();
    folder
}

#[test]
fn list_tells_of_all_recordings_below_a_folder() {
    let store = store();
    let (out, err, status) = run(store.path(), &["list"]);
    assert_eq!((err.as_str(), status), ("", 0));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    for part in [
        "aaaabbbbccccddddeeeeffff22",
        "2023-11-14 22:13:20",
        "0:00:03",
        "ada",
        "postgres@orders-db",
        "psql -c 'select 1'",
    ] {
        assert!(lines[1].contains(part), "{part}: {out}");
    }
    let (out, _, status) = run(store.path(), &["list", "--json", "."]);
    assert_eq!(status, 0);
    let entry: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(entry["id"], "aaaabbbbccccddddeeeeffff22");
    assert_eq!(entry["duration_ms"], 3250);
    assert_eq!(entry["exit_status"], 3);
    assert_eq!(entry["state"], "whole");
    assert_eq!(entry["user"], "ada");
    assert_eq!(entry["started"], "2023-11-14T22:13:20Z");
}

#[test]
fn the_account_of_a_session_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let account = r#"{"coverage":{"masked":2048,"passed":10},"reason":"the bastion is shutting down","signal":"TERM","stdout":{"bytes":2058}}"#;
    let account = serde_json::to_string(account).unwrap();
    let text = format!("{HEADER}\n[1.000,\"o\",\"x\"]\n[0.000,\"E\",{account}]\n");
    let (out, err, status) = run_with(folder.path(), &["info", "-"], text.as_bytes());
    assert_eq!((err.as_str(), status), ("", 0));
    for line in [
        "signal       TERM",
        "reason       the bastion is shutting down",
        "coverage     masked 2.0 KiB, passed 10 B",
        "state        whole",
    ] {
        assert!(out.lines().any(|own| own == line), "{line}: {out}");
    }
    let (out, _, _) = run_with(folder.path(), &["list", "-"], text.as_bytes());
    assert!(out.contains("TERM"), "{out}");
    let (out, _, _) = run_with(folder.path(), &["info", "--json", "-"], text.as_bytes());
    let info: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(info["account"]["stdout"]["bytes"], 2058);
}

#[test]
fn info_tells_all_of_one() {
    let store = store();
    let (out, err, status) = run(store.path(), &["info", "2023/11/14/plain.cast"]);
    assert_eq!((err.as_str(), status), ("", 0));
    for line in [
        "user         ada",
        "target       postgres@orders-db",
        "duration     0:00:03",
        "exit status  3",
        "screen       40x10 xterm",
        "state        whole",
        "markers      0:00:01 a mark",
    ] {
        assert!(out.lines().any(|own| own == line), "{line}: {out}");
    }
    let (out, _, _) = run_with(
        store.path(),
        &["info", "--json", "-"],
        recording().as_bytes(),
    );
    let info: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(info["markers"][0]["at_ms"], 1000);
    assert_eq!(info["events"], 7);
    assert_eq!(info["bastion"]["kind"], "exec");
}

#[test]
fn text_search_and_export_read_what_the_screen_showed() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording();
    let input = recording.as_bytes();
    let packed = zstd::encode_all(input, 3).unwrap();
    for input in [input, &packed] {
        let (out, err, status) = run_with(folder.path(), &["text", "-"], input);
        assert_eq!(
            (out.as_str(), err.as_str(), status),
            ("hello\nred world\n", "", 0)
        );
        let (out, _, _) = run_with(folder.path(), &["text", "--times", "-"], input);
        assert_eq!(out, "  0:00:00  hello\n  0:00:02  red world\n");
        let (out, _, status) = run_with(folder.path(), &["search", "RED w.r", "-i", "-"], input);
        assert_eq!((out.as_str(), status), ("- 0:00:02: red world\n", 0));
        let (out, _, status) = run_with(folder.path(), &["search", "-F", "w.r", "-"], input);
        assert_eq!((out.as_str(), status), ("", 1));
        let (out, err, status) = run_with(folder.path(), &["search", "(", "-"], input);
        assert_eq!((out.as_str(), status), ("", 2));
        assert!(err.contains("-F takes it as plain text"), "{err}");
    }
    let (v2, _, status) = run_with(folder.path(), &["export", "-f", "v2", "-"], input);
    assert_eq!(status, 0);
    let mut lines = v2.lines();
    let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(
        (&header["version"], &header["width"]),
        (&2.into(), &40.into())
    );
    assert_eq!(lines.next(), Some(r#"[0.500, "o", "hello\r\n"]"#));
    assert_eq!(lines.next(), Some(r#"[1.000, "m", "a mark"]"#));
    let (v3, _, _) = run_with(folder.path(), &["export", "-f", "v3", "-"], v2.as_bytes());
    assert_eq!(v3.lines().nth(2), Some(r#"[0.500, "m", "a mark"]"#));
    let (text, _, _) = run_with(folder.path(), &["export", "-f", "text", "-"], v2.as_bytes());
    assert_eq!(text, "hello\nred world\n");
}

/// The first version of the format: one document with all of the output.
#[test]
fn the_oldest_version_is_read_like_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let v1 = r#"{"version":1,"width":80,"height":24,"duration":1.515,"command":"/bin/zsh","title":"old","env":{"TERM":"xterm"},"stdout":[[0.25,"\u001b[1;31mHello \u001b[32mWorld!\u001b[0m\r\n"],[1.001,"I am \rThis is on the next line."]]}"#;
    let text = "Hello World!\nThis is on the next line.\n";
    fs::write(folder.path().join("old.json"), v1).unwrap();
    let packed = zstd::encode_all(v1.as_bytes(), 3).unwrap();
    fs::write(folder.path().join("old.cast.zst"), packed).unwrap();
    for name in ["old.json", "old.cast.zst", "-"] {
        let read = |arguments: &[&str]| {
            let arguments = [arguments, &[name]].concat();
            let (out, err, status) = run_with(folder.path(), &arguments, v1.as_bytes());
            assert_eq!((err.as_str(), status), ("", 0), "{arguments:?}");
            out
        };
        assert_eq!(read(&["text"]), text, "{name}");
        let info: Value = serde_json::from_str(&read(&["info", "--json"])).unwrap();
        assert_eq!(info["duration_ms"], 1251, "{name}: {info}");
        assert_eq!(info["command"], "/bin/zsh", "{name}: {info}");
        let listed = read(&["list"]);
        assert!(listed.contains("0:00:01"), "{name}: {listed}");
        let v3 = read(&["export", "-f", "v3"]);
        let mut lines = v3.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(header["version"], 3, "{name}: {header}");
        assert_eq!(header["term"]["cols"], 80, "{name}: {header}");
        let second = lines.nth(1).unwrap();
        assert_eq!(
            second, r#"[1.001, "o", "I am \rThis is on the next line."]"#,
            "{name}"
        );
        let (again, _, _) = run_with(folder.path(), &["text", "-"], v3.as_bytes());
        assert_eq!(again, text, "{name}");
    }
}

#[test]
fn search_tells_in_the_order_of_the_recordings() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..30 {
        // The first is the longest.
        let lines = format!("[0.1,\"o\",\"needle {number}\\r\\n\"]\n").repeat(3000 / (number + 1));
        let text = format!("{HEADER}\n{lines}[0,\"x\",\"0\"]\n");
        fs::write(folder.path().join(format!("{number:02}.cast")), text).unwrap();
    }
    fs::write(folder.path().join("15a.cast"), "damaged").unwrap();
    let (out, err, status) = run(folder.path(), &["search", "-l", "needle [0-9]+$"]);
    let expected: String = (0..30).map(|n| format!("./{n:02}.cast\n")).collect();
    assert_eq!((out, status), (expected, 1));
    assert!(err.contains("15a.cast"), "{err}");
    let (out, _, _) = run(folder.path(), &["search", "needle"]);
    let files: Vec<&str> = out
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(files.is_sorted() && files.len() > 10_000);
}

#[test]
fn export_writes_files_and_does_not_write_over_them() {
    let store = store();
    let plain = "2023/11/14/plain.cast";
    let (_, err, status) = run(
        store.path(),
        &["export", "-f", "v2", plain, "-o", "out.cast"],
    );
    assert_eq!((err.as_str(), status), ("", 0));
    let first = fs::read_to_string(store.path().join("out.cast")).unwrap();
    assert!(first.starts_with('{') && first.contains(r#""version":2"#));
    let (_, err, status) = run(
        store.path(),
        &["export", "-f", "text", plain, "-o", "out.cast"],
    );
    assert_eq!(status, 1);
    assert!(err.contains("--overwrite"), "{err}");
    assert_eq!(
        fs::read_to_string(store.path().join("out.cast")).unwrap(),
        first
    );
    let overwrite = [
        "export",
        "-f",
        "text",
        plain,
        "-o",
        "out.cast",
        "--overwrite",
    ];
    assert_eq!(run(store.path(), &overwrite).2, 0);
    let (_, err, status) = run(store.path(), &["export", "-f", "text", "2023"]);
    assert_eq!(status, 2);
    assert!(err.contains("-o FOLDER"), "{err}");
    let (_, _, status) = run(
        store.path(),
        &["export", "-f", "text", "2023", "-o", "texts"],
    );
    assert_eq!(status, 0);
    let text = fs::read_to_string(store.path().join("texts/plain.txt")).unwrap();
    assert_eq!(text, "hello\nred world\n");
}

#[test]
fn damage_is_told_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let cut = &recording()[..HEADER.len() + 20];
    let (out, err, status) = run_with(folder.path(), &["text", "-"], cut.as_bytes());
    assert_eq!((out.as_str(), status), ("hello\n", 1));
    assert!(err.contains("line 2") && err.contains("cut off"), "{err}");
    let (out, _, status) = run_with(folder.path(), &["list", "-"], cut.as_bytes());
    assert!(out.contains("damaged") && status == 1, "{out}");
    for (arguments, input, part) in [
        (&["text", "-"][..], &b""[..], "the file is empty"),
        (&["info", "-"], b"hello", "neither a header nor an event"),
        (&["list", "missing"], b"", "missing: No such file"),
        (&["list", "."], b"", "no recordings"),
    ] {
        let (out, err, status) = run_with(folder.path(), arguments, input);
        assert_eq!(status, 1, "{arguments:?}: {out} {err}");
        assert!(err.starts_with("replay: ") && err.contains(part), "{err}");
    }
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["text"],
        &["export", "-"],
        &["export", "-f", "v4", "-"],
        &["play", "--speed", "100", "-"],
        &["play", "--speed", "fast", "-"],
        &["play", "--start", "+5", "-"],
        &["play", "-"],
    ] {
        let (_, err, status) = run_with(folder.path(), arguments, b"");
        assert_eq!(status, 2, "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["play", "--help"]] {
        let (out, _, status) = run(folder.path(), arguments);
        assert_eq!(status, 0);
        assert!(out.contains("replay") || out.contains("Play"));
    }
}

/// Nothing of a recording acts on the terminal of whoever looks at it, whatever the command.
#[test]
fn hostile_content_is_in_no_output() {
    let hostile = [
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1b]0;owned\x1b\\",
        "\x1b[6n\x1b[c\x05",
        "\u{9b}31m\u{9d}0;owned\u{9c}",
        "\u{202e}desrever\u{2066}",
        "a\r\nb\n\x7f\x08",
    ]
    .concat();
    let json = serde_json::to_string(&hostile).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{{\"version\":3,\"term\":{{\"cols\":40,\"rows\":10,\"type\":{json},\"theme\":{json}}},\"title\":{json},\"command\":{json},\"tags\":[{json}],\"env\":{{\"SHELL\":{json}}},\"bastion\":{{\"user\":{json},\"target\":{json},\"login\":{json},\"kind\":{json}}},{json}:1}}\n[1,\"o\",{json}]\n[1,\"m\",{json}]\n[1,{json},{json}]\n[1,\"x\",{json}]\n[1,\"r\",{json}]\n{hostile}\n[1,\"o\",{json}"
    );
    let name = format!("{}.cast", hostile.replace('/', "_"));
    fs::write(folder.path().join(&name), &text).unwrap();
    fs::write(
        folder.path().join("packed.cast.zst"),
        zstd::encode_all(text.as_bytes(), 3).unwrap(),
    )
    .unwrap();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["info", "."],
        &["info", "--json", "."],
        &["text", "."],
        &["text", "--times", "."],
        &["search", "."],
        &["search", "--json", "."],
        &["search", "-l", "."],
        &["search", &hostile, "."],
        &["export", "-f", "v2", &name],
        &["export", "-f", "v3", &name],
        &["export", "-f", "text", &name],
        &["export", "-f", "html", &name],
        &["export", "-f", "svg", &name],
        &["search", "-p", ".", "."],
        &["screen", &name],
        &["screen", "packed.cast.zst", "--at", "50%"],
        &["commands", "."],
        &["commands", "--json", "."],
        &["text", &hostile],
        &["play", &hostile],
    ] {
        let (out, err, _) = run(folder.path(), arguments);
        for text in [out, err] {
            let acts = text.chars().find(|&char| {
                char.is_control() && char != '\n'
                    || ('\u{202a}'..='\u{202e}').contains(&char)
                    || ('\u{2066}'..='\u{2069}').contains(&char)
            });
            assert_eq!(acts, None, "{arguments:?}: {text:?}");
        }
    }
}

#[test]
fn a_reader_that_leaves_is_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!(
        "{HEADER}\n{}[0,\"x\",\"0\"]\n",
        "[0,\"o\",\"line\\r\\n\"]\n".repeat(100_000)
    );
    fs::write(folder.path().join("long.cast"), long).unwrap();
    let mut child = replay(folder.path())
        .args(["text", "long.cast"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
fn screens_and_commands_are_told() {
    let store = store();
    let file = "2023/11/14/plain.cast";
    let screen = |at: &str| run(store.path(), &["screen", file, "--at", at]);
    assert_eq!(screen("0:01"), ("hello\n".into(), String::new(), 0));
    assert_eq!(screen("2").0, "hello\nred wor\n");
    assert_eq!(screen("100%").0, "hello\nred world\n");
    let (_, err, status) = run(store.path(), &["screen", "missing.cast"]);
    assert!(err.contains("missing.cast") && status == 1, "{err}");
    let (out, _, status) = run(store.path(), &["commands", file]);
    assert_eq!(status, 0);
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "0:00:00  exec        3.2s     3  psql -c 'select 1'",
            "0:00:01  marker                  a mark"
        ]
    );
    let (out, _, _) = run(store.path(), &["commands", "--json", file]);
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["text"], "psql -c 'select 1'");
    assert_eq!(
        (&first["ended_ms"], &first["exit_status"]),
        (&3250.into(), &3.into())
    );
}

#[test]
fn a_page_of_a_recording_holds_one_script_and_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&";
    let json = serde_json::to_string(hostile).unwrap();
    let text = format!(
        "{{\"version\":3,\"term\":{{\"cols\":90,\"rows\":5}},\"title\":{json}}}\n[1,\"o\",{json}]\n[1,\"m\",{json}]\n"
    );
    fs::write(folder.path().join("a.cast"), text).unwrap();
    let (page, err, status) = run(folder.path(), &["export", "-f", "html", "a.cast"]);
    assert_eq!((err.as_str(), status), ("", 0));
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script>").count(), 3);
    for active in ["<img", "href=", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(active), "{active}");
    }
    assert!(page.contains("default-src 'none'; script-src 'sha256-"));
    let (svg, _, status) = run(folder.path(), &["export", "-f", "svg", "a.cast"]);
    assert_eq!(status, 0);
    assert!(
        svg.contains("&lt;/script&gt;&lt;script&gt;alert(1)"),
        "{svg}"
    );
    for active in ["<script", "<img", "href=", "<style", "<foreign"] {
        assert!(!svg.contains(active), "{active}");
    }
}

#[test]
fn a_recording_on_a_bastion_is_fetched_by_ssh() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recording"), recording()).unwrap();
    let ssh = folder.path().join("ssh");
    let script = "#!/bin/sh\nprintf '%s|' \"$@\" >>called\n\
                  [ \"$5\" = gone ] && exit 77\ncat recording\n";
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let mut command = replay(folder.path());
        texts(command.args(arguments).env("PATH", path).output().unwrap())
    };
    let (out, err, status) = run(&["text", "ssh://ada@bastion:2222/abc0"]);
    assert_eq!((err.as_str(), status), ("", 0));
    assert!(out.contains("red world"), "{out}");
    let called = || {
        let called = fs::read_to_string(folder.path().join("called")).unwrap_or_default();
        drop(fs::remove_file(folder.path().join("called")));
        called
    };
    assert_eq!(called(), "-T|-p|2222|--|ada@bastion|recording|abc0|");
    let (_, err, status) = run(&["info", "ssh://bastion/gone"]);
    assert!(err.contains("ssh failed") && status == 1, "{err}");
    called();
    for wrong in [
        "ssh://-oProxyCommand=x/abc",
        "ssh://bastion/a;id",
        "ssh://bastion/../a",
    ] {
        let (_, err, status) = run(&["text", wrong]);
        assert!(
            err.contains("ssh://BASTION/SESSION") && status == 1,
            "{err}"
        );
        assert_eq!(called(), "");
    }
    run(&["watch", "ssh://bastion/abc0"]);
    assert_eq!(called(), "-t|--|bastion|watch|abc0|");
}
