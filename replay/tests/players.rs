//! What `replay export` writes is played by the players that people have: asciinema 3.2 and 2.2,
//! and asciinema's player for the web, in a browser.
//!
//! `tests/run` installs them. Where one is missing, its test says so.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// A sealed recording whose second frame of three is withheld, packed.
fn withheld() -> Vec<u8> {
    use recording::event::{Header, Stream};
    use recording::redact;
    use recording::write::{Ending, Newlines, Presses, Sealing, Settings, Writer};
    let header = Header {
        version: 3,
        cols: 60,
        rows: 12,
        timestamp: Some(1_700_000_000),
        ..Header::default()
    };
    let settings = Settings {
        frame_idle: Duration::from_millis(500),
        ..Settings::default()
    };
    let sealing = Sealing {
        session: *b"0123456789abcdefghjkmnpqrs",
        wall_ms: || 1_700_000_000_000,
    };
    let presses = Presses::new(1);
    let kept = Newlines::Kept;
    let mut writer = Writer::sealed(Vec::new(), &header, kept, settings, presses, sealing).unwrap();
    for (second, words) in [(1, "first words"), (2, "a secret"), (3, "last words")] {
        let at = Duration::from_secs(second);
        let line = format!("{words}\r\n");
        writer.output(at, Stream::Stdout, line.as_bytes()).unwrap();
        if second == 2 {
            writer.resize(at, 70, 14).unwrap();
        }
        writer.tick(at + Duration::from_millis(900)).unwrap();
    }
    let ending = Ending {
        exit: Some(3),
        ..Ending::default()
    };
    let (file, _) = writer.end(Duration::from_secs(4), &ending).unwrap();
    let places = redact::places(file.as_slice()).unwrap();
    let mut output = Vec::new();
    let is_it = |place: &redact::Place| place.touches(&(1900..=2100));
    let gone = redact::write(std::io::Cursor::new(&file), &places, is_it, &mut output).unwrap();
    assert_eq!(gone.len(), 1);
    output
}

/// In every player the rest is where it was, and a line stands in the place of what is withheld.
#[test]
fn players_show_what_is_withheld_in_its_place() {
    let packed = withheld();
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    assert!(!text.contains("secret"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.cast.zst"), &packed).unwrap();
    fs::write(folder.path().join("a.cast"), &text).unwrap();
    let ours = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_replay"))
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let is_shown = |shown: &str, by: &str| {
        let places: Vec<_> = ["first words", "[withheld: frame 2, ", "last words"]
            .iter()
            .map(|words| shown.find(words))
            .collect();
        let is_there = places.iter().all(Option::is_some) && places.is_sorted();
        assert!(is_there, "{by}: {shown}");
    };
    for (args, by) in [
        (&["text", "a.cast.zst"][..], "text"),
        (&["export", "-f", "v2", "a.cast.zst"], "v2"),
        (&["export", "-f", "v3", "a.cast.zst"], "v3"),
        (&["export", "-f", "text", "a.cast.zst"], "export"),
        (&["screen", "--at", "3.5", "a.cast.zst"], "screen"),
    ] {
        is_shown(&ours(args), by);
    }
    let times = ours(&["text", "--times", "a.cast.zst"]);
    assert!(times.contains("0:00:03  last words"), "{times}");
    assert!(ours(&["search", "withheld", "a.cast.zst"]).contains("withheld: frame 2"));
    let info: serde_json::Value =
        serde_json::from_str(&ours(&["info", "--json", "a.cast.zst"])).unwrap();
    let frame = info.pointer("/withheld/0").unwrap();
    assert_eq!(frame.get("frame").unwrap(), 2);
    assert_eq!(frame.get("from_ms").unwrap(), 2000);
    assert_eq!(info.get("duration_ms").unwrap(), 4000);
    assert_eq!(info.get("state").unwrap(), "whole");
    assert!(ours(&["info", "a.cast.zst"]).contains("withheld     frame 2"));
    ours(&["export", "-f", "html", "a.cast.zst", "-o", "a.html"]);

    let asciinema = cache().join("asciinema/bin/asciinema");
    if runs(&asciinema, " 3.2.") {
        let shown = Command::new(&asciinema)
            .args(["convert", "-f", "txt", "a.cast", "-"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(shown.status.success(), "{shown:?}");
        is_shown(&String::from_utf8_lossy(&shown.stdout), "asciinema 3");
        let told = Command::new(&asciinema)
            .args(["convert", "-f", "asciicast-v2", "a.cast", "-"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let last = told
            .lines()
            .find(|line| line.contains("last words"))
            .unwrap();
        let (time, ..) = serde_json::from_str::<(f64, String, String)>(last).unwrap();
        assert!((time - 3.0).abs() < 0.01, "{last}");
    } else {
        skipped("asciinema 3.2");
    }
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
