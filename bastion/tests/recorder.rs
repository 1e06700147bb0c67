//! The recorder as a process: what it keeps, and what becomes of sessions when it cannot.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bastion::config::{RecordingMode, RecordingSync};
use bastion::record::{
    About, End, ExitStatus, Kept, Kind, RecordError, Recorder, Recording, SessionId, Summary,
};
use recording::event::Stream;
use recording::repair::Survey;
use recording::verify::Level;
use replay::evidence::{Catalogue, Judged, LogFolder, judge_alone};
use rustix::process::{Pid, Signal, kill_process};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::support::masked;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bastion"))
}

async fn embedded(dir: &Path) -> Recorder {
    Recorder::spawn_embedded(program(), dir, RecordingSync::Interval)
        .await
        .unwrap()
}

/// A recorder that nobody but the test ends, and a connection to it.
async fn of_its_own(dir: &Path, socket: &Path) -> (tokio::process::Child, Recorder) {
    let child = tokio::process::Command::new(program())
        .arg("recorder")
        .arg("--dir")
        .arg(dir)
        .arg("--socket")
        .arg(socket)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let recorder = loop {
        match Recorder::connect(socket).await {
            Ok(recorder) => break recorder,
            Err(RecordError::Unreachable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    (child, recorder)
}

fn about(kind: Kind) -> About {
    About {
        command: (kind == Kind::Exec).then(|| b"cat \xff".to_vec()),
        term: (kind == Kind::Shell).then(|| "xterm-256color".to_owned()),
        ..support::about(kind)
    }
}

async fn print(recording: &mut Recording, bytes: &[u8]) -> Result<(), RecordError> {
    let at = recording
        .output(scanner::Stream::Stdout, &masked(bytes))
        .await?;
    recording.acknowledged().reached(at).await
}

fn temp() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_str().unwrap().ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

fn file_of(dir: &Path, id: SessionId) -> PathBuf {
    let mut found = files(dir, &format!("{id}.cast.zst"));
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn survey(path: &Path) -> Survey {
    Survey::of(File::open(path).unwrap()).unwrap()
}

async fn summary(recorder: &Recorder, id: SessionId) -> Summary {
    recorder
        .list()
        .await
        .unwrap()
        .into_iter()
        .find(|session| session.id == id)
        .unwrap()
}

#[tokio::test]
async fn a_session_is_kept_whole() {
    let temp = temp();
    let dir = temp.path().join("recordings");
    let recorder = embedded(&dir).await;
    let mut shell = recorder.start(about(Kind::Shell)).await.unwrap();
    let mut command = recorder.start(about(Kind::Exec)).await.unwrap();
    assert!(summary(&recorder, shell.id()).await.is_active());
    print(&mut shell, b"$ echo \xe2\x82").await.unwrap();
    shell.resize(120, 40).await.unwrap();
    print(&mut shell, b"\xac \xff\r\n").await.unwrap();
    shell.marker("a command").await.unwrap();
    print(&mut command, b"row\n").await.unwrap();
    let err = command
        .output(scanner::Stream::Stderr, &masked(b"oh\n"))
        .await
        .unwrap();
    assert_eq!(err, 7);
    let end = End {
        status: Some(ExitStatus::Code(3)),
        ..End::default()
    };
    let (shell_id, command_id) = (shell.id(), command.id());
    let totals = command.end(end.clone()).await.unwrap();
    assert_eq!((totals.stdout, totals.stderr), (4, 3));
    let totals = shell.end(End::because("the user hung up")).await.unwrap();
    assert_eq!(totals.stdout, 14);

    let listed = summary(&recorder, command_id).await;
    assert_eq!(listed.about, about(Kind::Exec));
    assert_eq!(listed.ended.unwrap().end, end);
    let mut read = Vec::new();
    recorder
        .read(&shell_id)
        .await
        .unwrap()
        .read_to_end(&mut read)
        .await
        .unwrap();
    assert_eq!(read, fs::read(file_of(&dir, shell_id)).unwrap());
    assert_eq!(read.len() as u64, totals.file);
    let nobody: SessionId = "00000000000000000000000000".parse().unwrap();
    assert!(matches!(
        recorder.read(&nobody).await,
        Err(RecordError::Unknown)
    ));
    recorder.close().await;

    for (id, bytes) in [(shell_id, 14), (command_id, 4)] {
        let path = file_of(&dir, id);
        let survey = survey(&path);
        assert!(!survey.torn && survey.ended.is_some());
        assert_eq!(survey.total(Stream::Stdout).bytes, bytes);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let folder = path.parent().unwrap();
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o7777, 0o700);
    }
    assert_eq!(survey(&file_of(&dir, command_id)).exit, Some(3));
}

/// The player that `tests/run` installs: that of Debian, in `PATH`, does not know version 3.
fn asciinema_3() -> PathBuf {
    let cache = std::env::var_os("BASTION_TEST_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(home?.join(".cache/bastion-tests")));
    cache.unwrap_or_default().join("asciinema/bin/asciinema")
}

/// Where `asciinema` 3 is not installed, the test says so.
#[tokio::test]
async fn asciinema_reads_what_is_written() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut ids = Vec::new();
    for kind in [Kind::Shell, Kind::Exec, Kind::Sftp] {
        let mut recording = recorder.start(about(kind)).await.unwrap();
        ids.push(recording.id());
        for bytes in [
            &b"caf\xc3"[..],
            b"\xa9 \xff\xfe\x1b[31m\"\\\r\n",
            &[0x80; 5000],
            b"\n",
        ] {
            print(&mut recording, bytes).await.unwrap();
        }
        recording
            .output(scanner::Stream::Stderr, &masked(b"oh\n"))
            .await
            .unwrap();
        recording.resize(0, 0).await.unwrap();
        recording.marker("a marker").await.unwrap();
        let status = Some(ExitStatus::Signal("TERM".to_owned()));
        recording
            .end(End {
                status,
                ..End::because("a reason")
            })
            .await
            .unwrap();
    }
    recorder.close().await;
    for id in ids {
        let plain = temp.path().join(format!("{id}.cast"));
        let packed = File::open(file_of(temp.path(), id)).unwrap();
        let text = zstd::decode_all(packed).unwrap();
        fs::write(&plain, &text).unwrap();
        for format in ["asciicast-v3", "asciicast-v2", "txt"] {
            let mut asciinema = std::process::Command::new(asciinema_3());
            asciinema
                .args(["convert", "--output-format", format])
                .arg(&plain)
                .arg("-");
            let Ok(read) = asciinema.output() else {
                println!("skipped: asciinema 3 is not installed (tests/run --install does it)");
                return;
            };
            assert!(
                read.status.success(),
                "{}",
                String::from_utf8_lossy(&read.stderr)
            );
            let shown = String::from_utf8_lossy(&read.stdout);
            if format == "txt" {
                assert!(shown.contains("caf"), "{shown}");
            } else {
                // It writes every event that it has read.
                assert_eq!(
                    shown.lines().count(),
                    String::from_utf8_lossy(&text).lines().count()
                );
                assert!(shown.contains("a marker"));
            }
        }
    }
}

#[tokio::test]
async fn closing_ends_the_sessions_that_are_left() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    print(&mut recording, b"x").await.unwrap();
    recorder.close().await;
    let survey = survey(&file_of(temp.path(), recording.id()));
    assert_eq!(
        survey.ended.unwrap().get("reason").unwrap(),
        "the bastion's process ended"
    );
    assert!(print(&mut recording, b"y").await.is_err());
}

#[tokio::test]
async fn bulk_and_keystrokes_come_back_whatever_the_mode() {
    for sync in [RecordingSync::Interval, RecordingSync::Always] {
        let temp = temp();
        let recorder = Recorder::spawn_embedded(program(), temp.path(), sync)
            .await
            .unwrap();
        let mut recording = recorder.start(about(Kind::Exec)).await.unwrap();
        let line = b"{\"id\":17,\"name\":\"Ada\",\"total\":\"19.99\"}\n".repeat(900);
        let mut sent = 0u64;
        let mut acknowledged = recording.acknowledged();
        while sent < 8 * 1024 * 1024 {
            sent += line.len() as u64;
            let at = recording
                .output(scanner::Stream::Stdout, &masked(&line))
                .await
                .unwrap();
            assert_eq!(at, sent);
        }
        let long = vec![0xfe; 3 * 1024 * 1024];
        sent += long.len() as u64;
        recording
            .output(scanner::Stream::Stdout, &masked(&long))
            .await
            .unwrap();
        acknowledged.reached(sent).await.unwrap();
        for key in b"ls -l" {
            sent += 1;
            print(&mut recording, &[*key]).await.unwrap();
        }
        let id = recording.id();
        let totals = recording.end(End::default()).await.unwrap();
        assert_eq!(totals.stdout, sent);
        recorder.close().await;
        let survey = survey(&file_of(temp.path(), id));
        assert_eq!(survey.total(Stream::Stdout).sha256, totals.stdout_sha256);
        assert_eq!(survey.total(Stream::Stdout).bytes, sent);
    }
}

#[tokio::test]
async fn a_recorder_that_is_killed_ends_its_sessions_and_is_recovered_from() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    let id = recording.id();
    // Random enough to be flushed by size.
    let text: Vec<u8> = (0..400_000u32)
        .flat_map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect();
    for piece in text.chunks(50_000) {
        print(&mut recording, piece).await.unwrap();
    }
    let child = recorder.child_id().await.unwrap();
    kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let mut acknowledged = recording.acknowledged();
    let error = acknowledged.reached(u64::MAX).await.unwrap_err();
    assert!(matches!(error, RecordError::Gone), "{error}");
    let error = print(&mut recording, b"never shown").await.unwrap_err();
    assert!(matches!(error, RecordError::Gone), "{error}");
    assert!(recording.end(End::default()).await.is_err());

    // Starting again recovers; a second attempt within a second is refused.
    let again = loop {
        match recorder.start(about(Kind::Shell)).await {
            Ok(again) => break again,
            Err(RecordError::Gone) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let ended = summary(&recorder, id).await.ended.unwrap();
    assert!(ended.recovered);
    assert!(ended.totals.stdout > 0 && ended.totals.stdout <= text.len() as u64);
    again.end(End::default()).await.unwrap();
    recorder.close().await;
    let survey = survey(&file_of(temp.path(), id));
    assert!(!survey.torn);
    assert_eq!(
        survey.total(Stream::Stdout).sha256,
        ended.totals.stdout_sha256
    );
    let kept = text
        .get(..usize::try_from(ended.totals.stdout).unwrap())
        .unwrap();
    let mut sums = recording::raw::Sums::default();
    sums.add(Stream::Stdout, kept);
    assert_eq!(
        sums.total(Stream::Stdout).sha256,
        ended.totals.stdout_sha256
    );
}

fn best_effort(kind: Kind) -> About {
    About {
        mode: RecordingMode::BestEffort,
        ..about(kind)
    }
}

fn signal(recorder: u32, signal: Signal) {
    kill_process(Pid::from_raw(recorder.cast_signed()).unwrap(), signal).unwrap();
}

/// What an auditor is told of a recording.
fn judged(dir: &Path, id: SessionId) -> Judged {
    let log = Catalogue::read(&LogFolder(dir.join("log")), None).unwrap();
    log.judge(&file_of(dir, id), id.as_str()).unwrap()
}

fn text_of(dir: &Path, id: SessionId) -> String {
    let packed = File::open(file_of(dir, id)).unwrap();
    String::from_utf8(zstd::decode_all(packed).unwrap()).unwrap()
}

/// The events of the audit log by that name.
fn events(dir: &Path, name: &str) -> Vec<serde_json::Value> {
    let log = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    let each = log.lines().map(|line| serde_json::from_str(line).unwrap());
    each.filter(|event: &serde_json::Value| event.get("event").unwrap() == name)
        .collect()
}

/// It goes on unrecorded, is recorded again in a part of its own, and all who look are told.
#[tokio::test]
async fn a_best_effort_session_outlives_its_recorder_and_its_gap_is_told() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(best_effort(Kind::Shell)).await.unwrap();
    let first = recording.id();
    let mut keeper = recording.keeper();
    print(&mut recording, b"before\r\n").await.unwrap();
    recording.resize(120, 40).await.unwrap();
    signal(recorder.child_id().await.unwrap(), Signal::KILL);
    assert!(matches!(keeper.next().await, Kept::Lost(_)));
    print(&mut recording, b"nobody records this\r\n")
        .await
        .unwrap();
    recording.marker("nor this").await.unwrap();
    let Kept::Again(second, gap) = keeper.next().await else {
        panic!("it is not recorded again");
    };
    assert_eq!(gap.bytes, 21, "{gap:?}");
    assert!(gap.since <= gap.until, "{gap:?}");
    print(&mut recording, b"after\r\n").await.unwrap();
    let totals = recording.end(End::default()).await.unwrap();
    assert_eq!(totals.stdout, 7);
    assert_eq!(
        summary(&recorder, first).await.gaps,
        std::slice::from_ref(&gap)
    );
    let listed = summary(&recorder, second).await;
    let continues = listed.about.continues.unwrap();
    assert_eq!((continues.session, continues.part), (first, 2));
    assert_eq!(listed.about.pty, Some((120, 40)));
    recorder.close().await;

    for id in [first, second] {
        let judged = judged(temp.path(), id);
        assert_eq!(judged.level, Level::Complete);
        let told = judged.gaps.first().unwrap();
        assert_eq!(judged.gaps.len(), 1);
        assert_eq!(told.bytes, Some(gap.bytes));
        assert_eq!(told.before, Some(first.to_string()));
        assert_eq!(told.after, Some(second.to_string()));
        assert!(!text_of(temp.path(), id).contains("nobody records this"));
    }
    let text = text_of(temp.path(), first);
    assert!(text.contains("may have gone on unrecorded"), "{text}");
    let text = text_of(temp.path(), second);
    assert!(text.contains("part 2 of a recording: nothing was recorded from"));
    assert!(text.contains("after"));
    let events = events(temp.path(), "recording_gap");
    let event = events.first().unwrap();
    assert_eq!(event.get("session").unwrap(), first.as_str());
    assert_eq!(event.get("continued").unwrap(), second.as_str());
    assert_eq!(event.get("bytes").unwrap(), gap.bytes);
}

/// Nobody may see to it any more that it is recorded again: then the next recorder is told.
#[tokio::test]
async fn a_gap_in_which_a_session_ends_is_told_to_the_next_recorder() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(best_effort(Kind::Exec)).await.unwrap();
    let id = recording.id();
    print(&mut recording, b"before\n").await.unwrap();
    signal(recorder.child_id().await.unwrap(), Signal::KILL);
    assert!(matches!(recording.keeper().next().await, Kept::Lost(_)));
    print(&mut recording, b"in the gap\n").await.unwrap();
    let error = recording.end(End::default()).await.unwrap_err();
    let RecordError::Unrecorded(gap) = error else {
        panic!("{error}");
    };
    recorder.close().await;
    let judged = judged(temp.path(), id);
    assert_eq!(judged.gaps.len(), 1);
    let told = judged.gaps.first().unwrap();
    assert_eq!((told.bytes, told.after.clone()), (Some(gap.bytes), None));
    assert_eq!(told.bytes, Some(11));

    // A bundle says the same, and whoever takes the leaf of the gap out of it does not get a complete
    // one.
    let log = LogFolder(temp.path().join("log"));
    let proof = Catalogue::read(&log, None).unwrap().prove(&log, &judged);
    let mut proof = serde_json::to_value(proof.unwrap()).unwrap();
    let whole = bundled(temp.path(), id, &proof);
    assert_eq!(
        whole.gaps.iter().map(|gap| gap.bytes).collect::<Vec<_>>(),
        [Some(11)]
    );
    assert!(proof.as_object_mut().unwrap().remove("gaps").is_some());
    let cut = bundled(temp.path(), id, &proof);
    assert_eq!((cut.level, cut.gaps.len()), (Level::Complete, 1));
    assert_eq!(cut.gaps.first().unwrap().bytes, None);
}

/// What an auditor is told of a recording with this proof, who has nothing else.
fn bundled(dir: &Path, id: SessionId, proof: &serde_json::Value) -> Judged {
    let proof = proof.to_string().into_bytes();
    let len = u32::try_from(proof.len()).unwrap().to_le_bytes();
    let recording = fs::read(file_of(dir, id)).unwrap();
    let elsewhere = temp();
    let bundle = elsewhere.path().join("bundle.cast.zst");
    let magic = recording::seal::PROOF_MAGIC;
    fs::write(
        &bundle,
        [&recording[..], &magic[..], &len[..], &proof[..]].concat(),
    )
    .unwrap();
    judge_alone(&bundle, "bundle", None).unwrap()
}

/// `serve` died with the recorder, before it could tell anybody: the log still does not say that all
/// of the session is there, however the recorder ended.
#[tokio::test]
async fn a_best_effort_session_that_nobody_could_tell_of_is_not_called_complete() {
    for how in [Signal::KILL, Signal::TERM] {
        let temp = temp();
        let recorder = embedded(temp.path()).await;
        let mut sessions = Vec::new();
        for about in [about(Kind::Shell), best_effort(Kind::Shell)] {
            let mut recording = recorder.start(about).await.unwrap();
            print(&mut recording, b"before\r\n").await.unwrap();
            sessions.push((recording.id(), recording.keeper(), recording));
        }
        signal(recorder.child_id().await.unwrap(), how);
        let (_, keeper, _) = sessions.last_mut().unwrap();
        assert!(matches!(keeper.next().await, Kept::Lost(_)));
        let ids: Vec<_> = sessions.iter().map(|(id, ..)| *id).collect();
        drop((sessions, recorder));
        let recorder = loop {
            match Recorder::spawn_embedded(program(), temp.path(), RecordingSync::Interval).await {
                Ok(recorder) => break recorder,
                // The other one may not be gone yet.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        recorder.close().await;
        let gaps = ids.iter().map(|id| judged(temp.path(), *id).gaps.len());
        assert_eq!(gaps.collect::<Vec<_>>(), [0, 1], "{how:?}");
    }
}

/// One frame to a recorder, and the kind and the payload of its answer.
async fn asked(socket: &mut tokio::net::UnixStream, kind: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let head = [&len[..], &[kind, 0, 0, 0, 7, 0, 0, 0]].concat();
    socket.write_all(&head).await.unwrap();
    socket.write_all(payload).await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    let [a, b, c, d, kind, ..] = head;
    let mut payload = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
    socket.read_exact(&mut payload).await.unwrap();
    (kind, payload)
}

/// What is said on the socket by somebody who is not honest: only recordings that may have gaps get
/// them, and each once.
#[tokio::test]
async fn a_gap_is_logged_once_and_only_of_a_session_that_may_have_one() {
    let temp = temp();
    let dir = temp.path().join("recordings");
    let path = temp.path().join("recorder.sock");
    let (mut child, recorder) = of_its_own(&dir, &path).await;
    let mut ids = Vec::new();
    for about in [about(Kind::Shell), best_effort(Kind::Shell)] {
        let recording = recorder.start(about).await.unwrap();
        ids.push(recording.id());
        recording.end(End::default()).await.unwrap();
    }
    let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    let hello = serde_json::json!({
        "version": 6, "sync": "interval", "terms": bastion::recorder::Terms::default(),
    });
    let (kind, answer) = asked(&mut socket, 1, hello.to_string().as_bytes()).await;
    assert_eq!(kind, DONE, "{}", String::from_utf8_lossy(&answer));
    let mut kinds = Vec::new();
    let nobody = "0".repeat(26);
    let [strict, lasting] = [ids.first(), ids.last()].map(|id| id.unwrap().as_str());
    for name in [strict, nobody.as_str(), lasting, lasting] {
        let gap = serde_json::json!({ "session": name, "gap": {
            "since": "2026-11-26T08:00:00Z", "until": "2026-11-26T09:00:00Z",
            "bytes": 7, "reason": "told",
        } });
        kinds.push(asked(&mut socket, GAP, gap.to_string().as_bytes()).await.0);
    }
    assert_eq!(kinds, [FAILED, FAILED, DONE, DONE]);
    let event = [
        &[0][..],
        br#"{"time":"2026-11-26T08:00:00Z","event":"recording_gap"}"#,
    ]
    .concat();
    assert_eq!(asked(&mut socket, AUDIT, &event).await.0, FAILED);
    // Nothing is taken out of a recording at this socket: whoever asks for that is cut off.
    let redact = serde_json::json!({
        "session": strict, "what": "all", "reason": "told", "person": "eve", "dry_run": false,
    });
    let redact = redact.to_string().into_bytes();
    let len = u32::try_from(redact.len()).unwrap().to_le_bytes();
    let head = [&len[..], &[REDACT, 0, 0, 0, 8, 0, 0, 0]].concat();
    socket.write_all(&[head, redact].concat()).await.unwrap();
    let mut answer = Vec::new();
    // An end, or a reset.
    drop(socket.read_to_end(&mut answer).await);
    assert!(answer.is_empty());
    drop(socket);
    recorder.close().await;
    signal(child.id().unwrap(), Signal::TERM);
    assert!(child.wait().await.unwrap().success());
    let gaps = ids.iter().map(|id| judged(&dir, *id).gaps.len());
    assert_eq!(gaps.collect::<Vec<_>>(), [0, 1]);
    assert_eq!(events(&dir, "recording_gap").len(), 1);
}

/// Kinds of frames.
const AUDIT: u8 = 13;
const GAP: u8 = 15;
const REDACT: u8 = 16;
const FAILED: u8 = 67;
const DONE: u8 = 70;

/// One that ended in order has none.
#[tokio::test]
async fn a_best_effort_session_that_was_recorded_is_complete() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(best_effort(Kind::Shell)).await.unwrap();
    let id = recording.id();
    print(&mut recording, b"all of it\r\n").await.unwrap();
    recording.end(End::default()).await.unwrap();
    recorder.close().await;
    let judged = judged(temp.path(), id);
    assert_eq!((judged.level, judged.gaps.len()), (Level::Complete, 0));
}

/// Whether every thread of the process stands still.
fn is_stopped(process: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.into_iter().all(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| state.starts_with('T'))
    })
}

/// It is there and says nothing: nothing goes on, and what was taken before is whole.
#[tokio::test]
async fn a_recorder_that_hangs_ends_its_sessions() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    let id = recording.id();
    print(&mut recording, b"before\r\n").await.unwrap();
    let child = recorder.child_id().await.unwrap();
    let child = Pid::from_raw(child.cast_signed()).unwrap();
    kill_process(child, Signal::STOP).unwrap();
    while !is_stopped(child) {
        tokio::task::yield_now().await;
    }
    let since = std::time::Instant::now();
    let error = print(&mut recording, b"after\r\n").await.unwrap_err();
    assert!(matches!(error, RecordError::Stalled), "{error}");
    assert!(since.elapsed() >= std::time::Duration::from_secs(4));
    kill_process(child, Signal::CONT).unwrap();
    drop(recording);
    recorder.close().await;
    assert!(!survey(&file_of(temp.path(), id)).torn);
}

/// A recorder that says nothing holds up a session once, and not for good: it is killed, and another
/// one takes its place.
#[tokio::test]
async fn a_recorder_that_hangs_is_killed_and_the_next_one_goes_on() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(best_effort(Kind::Shell)).await.unwrap();
    let first = recording.id();
    let mut keeper = recording.keeper();
    print(&mut recording, b"before\r\n").await.unwrap();
    let child = recorder.child_id().await.unwrap();
    signal(child, Signal::STOP);
    while !is_stopped(Pid::from_raw(child.cast_signed()).unwrap()) {
        tokio::task::yield_now().await;
    }
    let since = std::time::Instant::now();
    print(&mut recording, b"handed over\r\n").await.unwrap();
    assert!(since.elapsed() >= std::time::Duration::from_secs(4));
    assert!(matches!(keeper.next().await, Kept::Lost(_)));
    for _ in 0..100 {
        print(&mut recording, b"nobody records this\r\n")
            .await
            .unwrap();
    }
    // Nobody wakes it up.
    let Kept::Again(second, gap) = keeper.next().await else {
        panic!("it is not recorded again");
    };
    assert_eq!(gap.bytes, 13 + 100 * 21);
    let next = recorder.child_id().await.unwrap();
    assert_ne!(next, child);
    assert!(!Path::new(&format!("/proc/{child}")).exists());
    print(&mut recording, b"after\r\n").await.unwrap();
    recording.end(End::default()).await.unwrap();
    // One that must be recorded begins, too.
    let strict = recorder.start(about(Kind::Shell)).await.unwrap();
    strict.end(End::default()).await.unwrap();
    recorder.close().await;
    assert!(text_of(temp.path(), second).contains("after"));
    for part in [first, second] {
        let judged = judged(temp.path(), part);
        assert_eq!((judged.level, judged.gaps.len()), (Level::Complete, 1));
        assert_eq!(judged.gaps.first().unwrap().bytes, Some(gap.bytes));
    }
}

#[tokio::test]
async fn a_recorder_that_is_told_to_end_finishes_its_files() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    print(&mut recording, b"half a l").await.unwrap();
    let child = recorder.child_id().await.unwrap();
    kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::TERM).unwrap();
    let error = recording
        .acknowledged()
        .reached(u64::MAX)
        .await
        .unwrap_err();
    assert!(matches!(error, RecordError::Stopping), "{error}");
    let id = recording.id();
    drop(recording);
    recorder.close().await;
    let survey = survey(&file_of(temp.path(), id));
    assert!(!survey.torn);
    let ended = survey.ended.unwrap();
    assert_eq!(ended.get("reason").unwrap(), "the recorder was stopped");
}

#[tokio::test]
async fn a_session_that_is_dropped_has_an_end() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    print(&mut recording, b"x").await.unwrap();
    let id = recording.id();
    drop(recording);
    recorder.close().await;
    let survey = survey(&file_of(temp.path(), id));
    assert_eq!(
        survey.ended.unwrap().get("reason").unwrap(),
        "the session was abandoned"
    );
}

#[tokio::test]
async fn the_list_is_made_anew_from_the_recordings() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let recording = recorder.start(about(Kind::Shell)).await.unwrap();
    let id = recording.id();
    recording.end(End::because("done")).await.unwrap();
    let before = summary(&recorder, id).await;
    recorder.close().await;
    fs::remove_file(temp.path().join("sessions.jsonl")).unwrap();
    let recorder = embedded(temp.path()).await;
    let after = summary(&recorder, id).await;
    recorder.close().await;
    assert_eq!((before.about, before.started), (after.about, after.started));
    assert_eq!(before.ended.unwrap().totals, after.ended.unwrap().totals);
}

#[tokio::test]
async fn a_planted_link_is_not_followed() {
    let temp = temp();
    let elsewhere = self::temp();
    let recorder = embedded(temp.path()).await;
    let year = jiff::Timestamp::now().strftime("%Y").to_string();
    symlink(elsewhere.path(), temp.path().join(year)).unwrap();
    let error = recorder.start(about(Kind::Shell)).await.unwrap_err();
    assert!(matches!(error, RecordError::Io(_)), "{error}");
    recorder.close().await;
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

/// Somebody has put things there that have the names of recordings and of days.
#[tokio::test]
async fn what_only_looks_like_a_recording_does_not_stop_the_recorder() {
    let temp = temp();
    let recorder = embedded(temp.path()).await;
    let recording = recorder.start(about(Kind::Shell)).await.unwrap();
    let id = recording.id();
    recording.end(End::default()).await.unwrap();
    recorder.close().await;

    let day = file_of(temp.path(), id).parent().unwrap().to_owned();
    let named = |byte: char| day.join(format!("{}.cast.zst", byte.to_string().repeat(26)));
    symlink("/etc/passwd", named('1')).unwrap();
    fs::create_dir(named('2')).unwrap();
    fs::write(named('3'), b"not zstd").unwrap();
    fs::hard_link(file_of(temp.path(), id), named('4')).unwrap();
    fs::remove_file(named('4')).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        named('5'),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    symlink("/etc", temp.path().join("1999")).unwrap();
    fs::write(temp.path().join("1998"), b"").unwrap();
    // Without its list the recorder looks at every file.
    fs::remove_file(temp.path().join("sessions.jsonl")).unwrap();
    let recorder = embedded(temp.path()).await;
    let listed = recorder.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed.first().unwrap().id, id);
    let again = recorder.start(about(Kind::Shell)).await.unwrap();
    again.end(End::default()).await.unwrap();
    recorder.close().await;
}

/// A copy of everything under `from`, made as the recorder wants its folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let other = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &other);
        } else if path.is_file() {
            // The socket of the recorder that was killed stays where it is.
            fs::copy(&path, &other).unwrap();
        }
    }
}

/// The recorder dies while it recovers a recording, at each of the steps: what could be read before
/// is there at the end, and the session ended when it last said something.
#[tokio::test]
async fn a_crash_while_recovering_loses_nothing() {
    let temp = temp();
    let text: Vec<u8> = (0..300_000u32)
        .flat_map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect();
    let killed = async |dir: &Path| {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        let recorder = embedded(dir).await;
        let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
        for piece in text.chunks(50_000) {
            print(&mut recording, piece).await.unwrap();
        }
        let child = recorder.child_id().await.unwrap();
        kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
        recording
            .acknowledged()
            .reached(u64::MAX)
            .await
            .unwrap_err();
        recording.id()
    };
    let torn = temp.path().join("torn");
    let id = killed(&torn).await;
    let file = file_of(&torn, id);
    let mut original = fs::read(&file).unwrap();
    let whole = original.len();
    if !survey(&file).torn {
        // A flood is written a whole frame at a time: here is what a crash of the machine leaves of one.
        let shorter = temp.path().join("shorter");
        fs::write(&shorter, original.split_at(whole - 1).0).unwrap();
        let last = usize::try_from(survey(&shorter).whole).unwrap();
        original.extend_from_within(last..last + (whole - last) / 2);
        fs::write(&file, &original).unwrap();
    }
    let found = survey(&file);
    assert!(found.torn);
    let whole = usize::try_from(found.whole).unwrap();

    let recovered = async |dir: &Path| {
        let recorder = loop {
            match Recorder::spawn_embedded(program(), dir, RecordingSync::Interval).await {
                Ok(recorder) => break recorder,
                // The killed one may not be gone yet.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let found = summary(&recorder, id).await;
        recorder.close().await;
        assert!(!survey(&file_of(dir, id)).torn);
        found
    };
    let once = temp.path().join("once");
    copy(&torn, &once);
    let expected = recovered(&once).await;
    let ended = expected.ended.unwrap();
    assert!(ended.recovered && ended.totals.stdout > 0);
    assert!(ended.at < jiff::Timestamp::now() && ended.at >= expected.started);

    let (kept, tail) = original.split_at(whole);
    let closing = fs::read(file_of(&once, id)).unwrap().split_off(whole);
    let (half, _) = closing.split_at(closing.len() / 2);
    let states = [
        ("before", original.clone(), None),
        ("keeping", original.clone(), Some((".torn.part", half))),
        ("kept", original.clone(), Some((".torn", tail))),
        ("cut", kept.to_vec(), Some((".torn", tail))),
        ("half written", [kept, half].concat(), Some((".torn", tail))),
        (
            "not logged",
            [kept, &closing].concat(),
            Some((".torn", tail)),
        ),
    ];
    for (name, file, beside) in states {
        let dir = temp.path().join(name);
        copy(&torn, &dir);
        let path = file_of(&dir, id);
        fs::write(&path, file).unwrap();
        if let Some((suffix, bytes)) = beside {
            fs::write(format!("{}{suffix}", path.display()), bytes).unwrap();
        }
        let again = recovered(&dir).await.ended.unwrap();
        assert!(again.recovered, "{name}");
        let logged = Catalogue::read(&LogFolder(dir.join("log")), None).unwrap();
        let judged = logged.judge(&path, id.to_string().as_str()).unwrap();
        assert_eq!(judged.level, Level::Complete, "{name}");
        assert_eq!(again.totals.stdout, ended.totals.stdout, "{name}");
        assert_eq!(
            again.totals.stdout_sha256, ended.totals.stdout_sha256,
            "{name}"
        );
        assert_eq!(again.at, ended.at, "{name}");
        let kept = fs::read(format!("{}.torn", path.display())).unwrap();
        assert_eq!(kept, tail, "{name}");
    }
}

#[tokio::test]
async fn a_folder_that_others_may_enter_is_refused() {
    let temp = temp();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Recorder::spawn_embedded(program(), temp.path(), RecordingSync::Interval).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_second_recorder_is_refused() {
    let temp = temp();
    let first = embedded(temp.path()).await;
    let second = Recorder::spawn_embedded(program(), temp.path(), RecordingSync::Interval).await;
    assert!(second.is_err());
    first.close().await;
}

#[tokio::test]
async fn a_recorder_of_its_own_outlives_its_callers() {
    let temp = temp();
    let socket = temp.path().join("recorder.sock");
    let dir = temp.path().join("recordings");
    let (mut child, recorder) = of_its_own(&dir, &socket).await;
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    print(&mut recording, b"x").await.unwrap();

    // Who speaks nonsense is cut off, and nobody else notices.
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 64],
        &[4, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4],
    ] {
        let mut stranger = tokio::net::UnixStream::connect(&socket).await.unwrap();
        stranger.write_all(nonsense).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end, too.
        stranger.read_to_end(&mut answer).await.ok();
        assert_eq!(answer, b"");
    }
    print(&mut recording, b"y").await.unwrap();
    let id = recording.id();
    recording.end(End::default()).await.unwrap();
    recorder.close().await;
    let later = Recorder::connect(&socket).await.unwrap();
    assert!(!summary(&later, id).await.is_active());
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().await.unwrap().success());
    assert!(!socket.exists());
}

/// Needs leave to mount a small file system; says so where there is none.
#[tokio::test]
async fn a_full_disk_ends_the_session_and_keeps_its_recording() {
    let temp = temp();
    let small = temp.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs"])
        .arg(&small)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: mounting a small tmpfs is not allowed here");
        return;
    }
    let outcome = fill(&small).await;
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(unmounted.unwrap().success());
    outcome.unwrap();
}

/// The same for a session that goes on; there is room again later.
#[tokio::test]
async fn a_full_disk_leaves_a_gap_in_a_best_effort_session() {
    let temp = temp();
    let small = temp.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"])
        .arg(&small)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: mounting a small tmpfs is not allowed here");
        return;
    }
    let outcome = fill_and_free(&small).await;
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(unmounted.unwrap().success());
    outcome.unwrap();
}

async fn fill_and_free(dir: &Path) -> Result<(), String> {
    let recorder = embedded(dir).await;
    let mut recording = recorder
        .start(best_effort(Kind::Exec))
        .await
        .map_err(|e| e.to_string())?;
    let id = recording.id();
    let mut keeper = recording.keeper();
    let filler = dir.join("filler");
    fs::write(&filler, vec![1; 2 << 20]).map_err(|e| e.to_string())?;
    let mut noise = Noise::default();
    let reason = loop {
        print(&mut recording, &noise.piece())
            .await
            .map_err(|error| format!("it ended: {error}"))?;
        let next = futures_now(keeper.next()).await;
        if let Some(Kept::Lost(reason)) = next {
            break reason;
        }
    };
    print(&mut recording, b"nobody records this\n")
        .await
        .map_err(|error| format!("it ended: {error}"))?;
    fs::remove_file(&filler).map_err(|e| e.to_string())?;
    let Kept::Again(second, gap) = keeper.next().await else {
        return Err("it is not recorded again".to_owned());
    };
    print(&mut recording, b"after\n")
        .await
        .map_err(|error| format!("it ended: {error}"))?;
    recording
        .end(End::default())
        .await
        .map_err(|e| e.to_string())?;
    recorder.close().await;
    if reason != RecordError::Full.to_string() {
        return Err(format!("it failed otherwise: {reason}"));
    }
    if gap.bytes < 20 || judged(dir, second).gaps.len() != 1 || judged(dir, id).gaps.is_empty() {
        return Err(format!("{gap:?}"));
    }
    Ok(())
}

/// What a future has at once.
async fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = tokio::task::yield_now() => None,
    }
}

/// Letters that do not compress much.
#[derive(Default)]
struct Noise(u64);

impl Noise {
    fn piece(&mut self) -> Vec<u8> {
        (0..32_000)
            .map(|_| {
                let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
                self.0 = next.wrapping_add(1);
                b'0' + (self.0 >> 58) as u8
            })
            .collect()
    }
}

async fn fill(dir: &Path) -> Result<(), String> {
    let recorder = embedded(dir).await;
    let mut recording = recorder
        .start(about(Kind::Exec))
        .await
        .map_err(|e| e.to_string())?;
    let id = recording.id();
    let mut noise = Noise::default();
    let error = loop {
        if let Err(error) = print(&mut recording, &noise.piece()).await {
            break error;
        }
    };
    let refused = recorder.start(about(Kind::Shell)).await;
    recorder.close().await;
    if !matches!(error, RecordError::Full) {
        return Err(format!("it failed otherwise: {error}"));
    }
    if !matches!(refused, Ok(_) | Err(RecordError::Low | RecordError::Full)) {
        return Err(format!("{refused:?}"));
    }
    let survey = survey(&file_of(dir, id));
    let reason = survey
        .ended
        .as_ref()
        .and_then(|ended| ended.get("reason"))
        .cloned();
    if survey.torn || reason != Some("the disk of the recordings is full".into()) {
        return Err(format!("the recording has no end: {reason:?}"));
    }
    Ok(())
}

/// Needs leave to mount a file system and to shut it down, after which every write to it is an
/// input/output error; says so where there is none.
#[tokio::test]
async fn a_disk_that_fails_ends_the_session_and_nothing_more_leaves() {
    let temp = temp();
    let Some(disk) = FailingDisk::mount(temp.path()) else {
        println!("skipped: mounting and shutting down a file system is not allowed here");
        return;
    };
    let dir = disk.mounted.join("recordings");
    // What is acknowledged is on the disk that is about to fail.
    let always = RecordingSync::Always;
    let recorder = Recorder::spawn_embedded(program(), &dir, always)
        .await
        .unwrap();
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    let mut idle = recorder.start(about(Kind::Shell)).await.unwrap();
    let mut lasting = recorder.start(best_effort(Kind::Shell)).await.unwrap();
    let mut keeper = lasting.keeper();
    let (id, lasting_id) = (recording.id(), lasting.id());
    let before = b"before it failed\r\n";
    print(&mut recording, before).await.unwrap();
    disk.shut_down();
    let error = loop {
        if let Err(error) = print(&mut recording, b"a later line\r\n").await {
            break error;
        }
    };
    assert!(matches!(error, RecordError::Io(_)), "{error}");
    assert_eq!(
        error.notice(),
        "this session cannot be recorded: the recording cannot be written"
    );
    let error = print(&mut recording, b"never shown").await.unwrap_err();
    assert!(matches!(error, RecordError::Io(_)), "{error}");
    // A session that printed nothing meanwhile learns it at its first byte, at the latest.
    while print(&mut idle, b"x").await.is_ok() {}
    // One that may goes on; that cannot be told to anybody before the disk is there again.
    loop {
        print(&mut lasting, b"x").await.unwrap();
        if let Some(kept) = futures_now(keeper.next()).await {
            assert!(matches!(kept, Kept::Lost(_)), "{kept:?}");
            break;
        }
    }
    for about in [about(Kind::Shell), best_effort(Kind::Shell)] {
        let refused = recorder.start(about).await;
        assert!(refused.is_err(), "a session began on a disk that fails");
    }
    let error = lasting.end(End::default()).await.unwrap_err();
    assert!(matches!(error, RecordError::Unrecorded(_)), "{error}");
    drop((recording, idle));
    recorder.close().await;

    disk.mount_again();
    let recorder = embedded(&dir).await;
    let ended = summary(&recorder, id).await.ended.unwrap();
    assert!(ended.recovered);
    assert!(ended.totals.stdout >= before.len() as u64);
    recorder.close().await;
    let path = file_of(&dir, id);
    assert!(!survey(&path).torn);
    assert_eq!(judged(&dir, id).level, Level::Complete);
    assert!(!judged(&dir, lasting_id).gaps.is_empty());
}

/// An ext4 in a file of its own.
struct FailingDisk {
    image: PathBuf,
    mounted: PathBuf,
}

impl FailingDisk {
    fn mount(temp: &Path) -> Option<Self> {
        let disk = Self {
            image: temp.join("image"),
            mounted: temp.join("mounted"),
        };
        fs::create_dir(&disk.mounted).ok()?;
        File::create(&disk.image).ok()?.set_len(64 << 20).ok()?;
        let made = std::process::Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .arg(&disk.image)
            .status();
        if !made.is_ok_and(|status| status.success()) || !disk.mount_it() {
            return None;
        }
        Some(disk)
    }

    fn mount_it(&self) -> bool {
        let mounted = std::process::Command::new("mount")
            .args(["-o", "loop"])
            .args([&self.image, &self.mounted])
            .status();
        mounted.is_ok_and(|status| status.success())
    }

    /// `EXT4_IOC_SHUTDOWN`, without writing the journal back.
    fn shut_down(&self) {
        let program = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        let done = std::process::Command::new("python3")
            .args(["-c", program])
            .arg(&self.mounted)
            .status();
        assert!(done.unwrap().success());
    }

    fn unmount(&self) -> bool {
        let done = std::process::Command::new("umount")
            .arg(&self.mounted)
            .status();
        done.is_ok_and(|status| status.success())
    }

    fn mount_again(&self) {
        assert!(self.unmount() && self.mount_it());
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // A test that has failed may have left the recorder in there.
        if !self.unmount() {
            println!("{} stays mounted", self.mounted.display());
        }
    }
}
