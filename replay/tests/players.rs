//! What `replay export` writes is played by the players that people have: asciinema 3.2 and 2.2,
//! and asciinema's player for the web, in a browser.
//!
//! `tests/run` installs them. Where one is missing, its test says so.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A recording as a bastion writes it, with side events and what has to be escaped.
const RECORDING: &str = r#"{"version":3,"term":{"cols":60,"rows":12,"type":"xterm-256color"},"timestamp":1700000000,"title":"t \u001b]0;x\u0007 \u202e","bastion":{"user":"ada","target":"orders-db","login":"postgres"}}
[1.000,"o","first words\r\n"]
[0.500,"m","a mark"]
[0.250,"S","stderr"]
[0.000,"B","3:ff"]
[0.000,"o","bad\ufffd byte ünï 漢字\r\n"]
[1.000,"r","70x14"]
[1.000,"o","\u001b[31mlast words\u001b[0m\r\n"]
[1.000,"x","3"]
[0.000,"E","{\"stdout\":{\"bytes\":1}}"]
"#;

fn cache() -> PathBuf {
    match std::env::var_os("BASTION_TEST_CACHE") {
        Some(cache) => cache.into(),
        None => Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/bastion-tests"),
    }
}

fn skipped(what: &str) {
    // Not by `eprintln!`: the harness keeps what tests that pass say with it.
    let mut stderr = std::io::stderr();
    writeln!(
        stderr,
        "SKIPPED: {what} is not installed (tests/run --install)"
    )
    .unwrap();
}

fn runs(program: &Path, version: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version))
}

/// The exports in a folder: `v2.cast` and `v3.cast`.
fn exported() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let packed = zstd::encode_all(RECORDING.as_bytes(), 3).unwrap();
    fs::write(folder.path().join("a.cast.zst"), packed).unwrap();
    for version in ["v2", "v3"] {
        let status = Command::new(env!("CARGO_BIN_EXE_replay"))
            .args(["export", "-f", version, "a.cast.zst", "-o"])
            .arg(format!("{version}.cast"))
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
    folder
}

fn is_whole(shown: &str, by: &str) {
    for words in ["first words", "bad\u{fffd} byte ünï 漢字", "last words"] {
        assert!(
            shown.contains(words),
            "{words} in what {by} shows: {shown:?}"
        );
    }
}

#[test]
fn asciinema_3_reads_both_exports_and_the_recording() {
    let asciinema = cache().join("asciinema/bin/asciinema");
    if !runs(&asciinema, " 3.2.") {
        return skipped("asciinema 3.2");
    }
    let folder = exported();
    for file in ["v2.cast", "v3.cast"] {
        let shown = Command::new(&asciinema)
            .args(["convert", "-f", "txt", file, "-"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(shown.status.success(), "{file}: {shown:?}");
        is_whole(&String::from_utf8_lossy(&shown.stdout), file);
    }
    // The recording itself, unpacked, as it is documented.
    let mut child = Command::new(&asciinema)
        .args(["convert", "-f", "txt", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(RECORDING.as_bytes())
        .unwrap();
    let shown = child.wait_with_output().unwrap();
    assert!(shown.status.success());
    is_whole(&String::from_utf8_lossy(&shown.stdout), "the recording");
}

#[test]
fn asciinema_2_plays_the_v2_export() {
    let asciinema = Path::new("/usr/bin/asciinema");
    if !runs(asciinema, " 2.") {
        return skipped("asciinema 2 (Debian's package asciinema)");
    }
    let folder = exported();
    // It wants a terminal even to print: `script` gives it one.
    for command in ["cat v2.cast", "play -s 100 v2.cast"] {
        let shown = Command::new("script")
            .args([
                "-qec",
                &format!("/usr/bin/asciinema {command}"),
                "/dev/null",
            ])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.status.success(), "{command}: {text}");
        assert!(!text.contains("Traceback"), "{text}");
        is_whole(&text, command);
    }
}

#[test]
fn the_web_player_shows_both_exports_and_the_recording() {
    let bundle = "player/node_modules/asciinema-player/dist/bundle/asciinema-player.min.js";
    let script = cache().join(bundle);
    let chromium = Path::new("/usr/bin/chromium");
    if !script.exists() || !runs(chromium, "Chromium") {
        return skipped("asciinema-player or chromium");
    }
    let folder = exported();
    fs::write(folder.path().join("raw.cast"), RECORDING).unwrap();
    for file in ["v2.cast", "v3.cast", "raw.cast"] {
        let cast = fs::read_to_string(folder.path().join(file)).unwrap();
        let cast = serde_json::to_string(&cast)
            .unwrap()
            .replace('<', "\\u003c");
        let page = format!(
            "<!doctype html><meta charset=\"utf-8\"><div id=\"d\"></div>\
             <script src=\"file://{}\"></script><script>AsciinemaPlayer.create({{data: {cast}}}, \
             document.getElementById('d'), {{poster: 'npt:0:0:04.5', preload: true}})</script>",
            script.display()
        );
        let path = folder.path().join("page.html");
        fs::write(&path, page).unwrap();
        let dom = browse(
            chromium,
            folder.path(),
            &format!("file://{}", path.display()),
        );
        // What was wide stands in elements of its own.
        for words in ["first words", "last words"] {
            assert!(dom.contains(words), "{words} in {file}: {dom}");
        }
    }
}

#[test]
fn our_own_page_shows_the_recording_in_a_browser() {
    let chromium = Path::new("/usr/bin/chromium");
    if !runs(chromium, "Chromium") {
        return skipped("chromium");
    }
    let folder = exported();
    let status = Command::new(env!("CARGO_BIN_EXE_replay"))
        .args(["export", "-f", "html", "a.cast.zst", "-o", "a.html"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let page = folder.path().join("a.html");
    let at = |millis: u32| {
        let url = format!("file://{}#t={millis}", page.display());
        browse(chromium, folder.path(), &url)
    };
    let screen = |dom: &str| {
        let (_, from) = dom.split_once("id=\"screen\"").unwrap();
        from.split_once("id=\"bar\"").unwrap().0.to_owned()
    };
    let early = screen(&at(1200));
    assert!(
        early.contains("first words") && !early.contains("last words"),
        "{early}"
    );
    let late = at(4000);
    assert!(screen(&late).contains("last words"), "{late}");
    assert!(
        late.contains("a mark") && late.contains("0:00:04 / 0:00:04"),
        "{late}"
    );
}

/// The document as the browser has it once its scripts have run.
fn browse(chromium: &Path, folder: &Path, url: &str) -> String {
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-extensions",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .args(["--virtual-time-budget=10000", "--dump-dom", url])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
