//! What the recorder leaves, held against its log: by the same code as `replay verify`.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bastion::audit::{self, Audit, Event, Verified, VerifyError};
use bastion::config::RecordingSync;
use bastion::record::{
    About, Bulk, End, ExitStatus, Kind, RecordError, Recorder, Recording, SessionId,
};
use recording::log::VerifierKey;
use recording::verify::Level;
use replay::evidence::{Catalogue, LogFolder, judge_alone};
use rustix::process::{Pid, Signal, kill_process};

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::support::masked;

async fn embedded(dir: &Path) -> Recorder {
    let program = Path::new(env!("CARGO_BIN_EXE_bastion"));
    Recorder::spawn_embedded(program, dir, RecordingSync::Interval)
        .await
        .unwrap()
}

fn about(kind: Kind) -> About {
    About {
        command: (kind == Kind::Exec).then(|| b"cat secret.txt".to_vec()),
        ..support::about(kind)
    }
}

async fn print(recording: &mut Recording, bytes: &[u8]) -> Result<u64, RecordError> {
    let at = recording
        .output(scanner::Stream::Stdout, &masked(bytes))
        .await?;
    recording.acknowledged().reached(at).await?;
    Ok(at)
}

fn temp() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn file_of(dir: &Path, id: SessionId) -> PathBuf {
    let name = format!("{id}.cast.zst");
    let (found, errors) = replay::files::find(&[dir.to_owned()]);
    assert!(errors.is_empty());
    let paths = found.into_iter().filter_map(|source| match source {
        replay::files::Source::File(path) => Some(path),
        _ => None,
    });
    let mut paths = paths.filter(|path| path.file_name().unwrap().to_str() == Some(&name));
    paths.next().unwrap()
}

fn key(dir: &Path) -> VerifierKey {
    VerifierKey::parse(&fs::read_to_string(dir.join("log/vkey")).unwrap()).unwrap()
}

fn catalogue(dir: &Path, key: &VerifierKey) -> Catalogue {
    Catalogue::read(&LogFolder(dir.join("log")), Some(key)).unwrap()
}

fn level(dir: &Path, key: &VerifierKey, id: SessionId) -> Level {
    let path = file_of(dir, id);
    catalogue(dir, key).judge(&path, id.as_str()).unwrap().level
}

fn kill(child: u32, signal: Signal) {
    kill_process(Pid::from_raw(child.cast_signed()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_session_verifies_and_whatever_is_done_to_its_file_shows() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let mut command = recorder.start(about(Kind::Exec)).await.unwrap();
    let other = recorder.start(about(Kind::Shell)).await.unwrap();
    print(&mut command, b"id,name\n1,ada\n").await.unwrap();
    let (id, gone) = (command.id(), other.id());
    let status = Some(ExitStatus::Code(3));
    command
        .end(End {
            status,
            ..End::default()
        })
        .await
        .unwrap();
    other.end(End::default()).await.unwrap();
    recorder.close().await;

    assert_eq!(level(dir, &key, id), Level::Complete);
    // The log has no command line, which may hold a secret.
    let entries = fs::read(dir.join("log/tail")).unwrap();
    assert!(!entries.windows(6).any(|piece| piece == b"secret"));
    let path = file_of(dir, id);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        *changed.get_mut(at).unwrap() ^= 0x10;
        fs::write(&path, &changed).unwrap();
        let level = level(dir, &key, id);
        assert!(
            matches!(level, Level::Altered { .. } | Level::Truncated { .. }),
            "byte {at}: {level}"
        );
    }
    // Another session's recording in its place.
    fs::copy(file_of(dir, gone), &path).unwrap();
    assert!(matches!(
        level(dir, &key, id),
        Level::Altered { frame: 0, .. }
    ));
    fs::write(&path, &whole).unwrap();
    assert_eq!(level(dir, &key, id), Level::Complete);
}

/// A bundle, on a machine that has nothing but it and the key.
#[tokio::test]
async fn a_bundle_verifies_without_the_log_and_plays() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut command = recorder.start(about(Kind::Exec)).await.unwrap();
        print(&mut command, b"hello\n").await.unwrap();
        ids.push(command.id());
        command.end(End::default()).await.unwrap();
    }
    // Two keys later, what was logged before is still proved by the first.
    for _ in 0..2 {
        let before = fs::read(dir.join("log/key")).unwrap();
        kill(recorder.child_id().await.unwrap(), Signal::USR1);
        while fs::read(dir.join("log/key")).unwrap() == before || dir.join("log/key.next").exists()
        {
            tokio::task::yield_now().await;
        }
        let command = recorder.start(about(Kind::Exec)).await.unwrap();
        ids.push(command.id());
        command.end(End::default()).await.unwrap();
    }
    recorder.close().await;

    let away = tempfile::tempdir().unwrap();
    let log = LogFolder(dir.join("log"));
    for id in ids {
        let catalogue = catalogue(dir, &key);
        let path = file_of(dir, id);
        let bundle = away.path().join(format!("{id}.cast.zst"));
        let judged = catalogue.judge(&path, id.as_str()).unwrap();
        let proof = serde_json::to_vec(&catalogue.prove(&log, &judged).unwrap()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let recording = bytes.len();
        bytes.extend(recording::seal::PROOF_MAGIC);
        bytes.extend(u32::try_from(proof.len()).unwrap().to_le_bytes());
        bytes.extend(&proof);
        fs::write(&bundle, &bytes).unwrap();
        let judged = judge_alone(&bundle, id.as_str(), Some(&key)).unwrap();
        assert_eq!(judged.level, Level::Complete);
        let foreign = recording::log::SigningKey::new("bastion/other", [7; 32]).unwrap();
        let judged = judge_alone(&bundle, id.as_str(), Some(foreign.verifier())).unwrap();
        assert_ne!(judged.level, Level::Complete);
        // zstd and whoever builds on it see the recording only.
        assert_eq!(
            zstd::decode_all(bytes.as_slice()).unwrap(),
            zstd::decode_all(bytes.get(..recording).unwrap()).unwrap()
        );
        // Every seventh byte, so that the proof's many bytes do not take long.
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            fs::write(&bundle, &changed).unwrap();
            let judged = judge_alone(&bundle, id.as_str(), Some(&key)).unwrap();
            assert_ne!(judged.level, Level::Complete, "byte {at}");
        }
    }
}

#[tokio::test]
async fn a_log_that_was_changed_or_cut_is_not_believed() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let mut command = recorder.start(about(Kind::Exec)).await.unwrap();
    print(&mut command, b"hello\n").await.unwrap();
    command.end(End::default()).await.unwrap();
    recorder.close().await;
    let log = LogFolder(dir.join("log"));
    assert!(Catalogue::read(&log, Some(&key)).is_ok());
    let partial = dir.join("log/tile/entries/000.p");
    for path in [dir.join("log/tail"), partial, dir.join("log/checkpoint")] {
        let path = match path.is_dir() {
            true => fs::read_dir(&path).unwrap().next().unwrap().unwrap().path(),
            false => path,
        };
        let whole = fs::read(&path).unwrap();
        let is_tail = path.ends_with("tail");
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            fs::write(&path, &changed).unwrap();
            // The growing bundle is not looked at where the signed one is there.
            assert_eq!(
                Catalogue::read(&log, Some(&key)).is_ok(),
                is_tail,
                "{path:?} {at}"
            );
        }
        if is_tail {
            // The recorder itself looks, and does not go on.
            let refused = Recorder::spawn_embedded(
                Path::new(env!("CARGO_BIN_EXE_bastion")),
                dir,
                RecordingSync::Interval,
            );
            assert!(refused.await.is_err());
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(Catalogue::read(&log, Some(&key)).is_ok());
}

/// Killed at any moment, a recorder has lost no more than two seconds of a session; the next one
/// says what it found, and everything verifies. `BASTION_TEST_LONG` is for a hundred moments.
#[tokio::test]
async fn killed_at_any_moment_little_is_lost_and_it_is_said() {
    let temp = temp();
    let dir = temp.path();
    let rounds = if std::env::var_os("BASTION_TEST_LONG").is_some() {
        100
    } else {
        4
    };
    let mut recorder = embedded(dir).await;
    let key = key(dir);
    let mut ids = Vec::new();
    for round in 0..rounds {
        let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
        let life = Duration::from_millis(17 + (round * 977) % 3300);
        let begun = Instant::now();
        let mut pace = interval(Duration::from_millis(4));
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut told = vec![(begun, 0)];
        while begun.elapsed() < life {
            pace.tick().await;
            let line = format!("{:?} of round {round}\r\n", begun.elapsed());
            let at = print(&mut recording, line.as_bytes()).await.unwrap();
            told.push((Instant::now(), at));
        }
        let killed = Instant::now();
        kill(recorder.child_id().await.unwrap(), Signal::KILL);
        let id = recording.id();
        assert!(recording.end(End::default()).await.is_err());
        recorder.close().await;
        recorder = embedded(dir).await;
        let listed = recorder.list().await.unwrap();
        let listed = listed.into_iter().find(|session| session.id == id).unwrap();
        let ended = listed.ended.unwrap();
        assert!(ended.recovered, "round {round}");
        let safe = told
            .iter()
            .take_while(|(at, _)| killed - *at >= Duration::from_secs(2))
            .last();
        let safe = safe.map_or(0, |(_, position)| *position);
        assert!(
            ended.totals.stdout >= safe,
            "round {round}: {} of {safe} bytes were kept",
            ended.totals.stdout
        );
        ids.push(id);
    }
    recorder.close().await;
    let catalogue = catalogue(dir, &key);
    for id in ids {
        let judged = catalogue.judge(&file_of(dir, id), id.as_str()).unwrap();
        assert_eq!(judged.level, Level::Complete);
        assert!(judged.recovered);
    }
}

#[tokio::test]
async fn what_was_changed_while_no_recorder_ran_stays_altered() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let mut recording = recorder.start(about(Kind::Shell)).await.unwrap();
    let id = recording.id();
    let text: Vec<u8> = (0..600_000u32)
        .flat_map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect();
    for piece in text.chunks(50_000) {
        print(&mut recording, piece).await.unwrap();
    }
    kill(recorder.child_id().await.unwrap(), Signal::KILL);
    assert!(recording.end(End::default()).await.is_err());
    recorder.close().await;
    let path = file_of(dir, id);
    let mut bytes = fs::read(&path).unwrap();
    let first = recording::verify::Walk::of(bytes.as_slice())
        .unwrap()
        .frames;
    let within = usize::try_from(first.first().unwrap().1).unwrap() + 1000;
    *bytes.get_mut(within).unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let recorder = embedded(dir).await;
    recorder.close().await;
    let unchanged = fs::read(&path).unwrap() == bytes;
    assert!(unchanged, "an end would make it look whole");
    assert!(matches!(
        level(dir, &key, id),
        Level::Altered { frame: 1, .. }
    ));
}

fn event(number: usize) -> Event {
    Event::ConnectionRefused {
        source: "192.0.2.7".parse().unwrap(),
        reason: format!("number {number}"),
    }
}

fn verify_audit(dir: &Path, key: &VerifierKey) -> Result<Verified, VerifyError> {
    let file = fs::File::open(dir.join("audit.jsonl")).unwrap();
    audit::verify(std::io::BufReader::new(file), &catalogue(dir, key).audit)
}

/// Row 58 of the threats: whatever is done to a line that was signed shows.
#[tokio::test]
async fn the_audit_log_is_kept_by_the_recorder_and_every_change_shows() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let audit = Audit::new(recorder.clone());
    for number in 0..4 {
        audit.record(event(number)).await.unwrap();
        // On disk when it is acknowledged.
        let text = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
        assert!(text.ends_with('\n') && text.contains(&format!("number {number}")));
    }
    audit.record_soon(event(4)).unwrap();
    audit.flush().await.unwrap();
    // Who reads a recording, or the audit log, is in it.
    let mut read = String::new();
    let mut reader = recorder.read_audit().await.unwrap();
    reader.read_to_string(&mut read).await.unwrap();
    assert!(read.contains("number 4") && read.contains("connection_refused"));
    drop((audit, reader));
    recorder.close().await;
    assert_eq!(verify_audit(dir, &key).unwrap().events, 6);
    let path = dir.join("audit.jsonl");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        *changed.get_mut(at).unwrap() ^= 1;
        fs::write(&path, &changed).unwrap();
        // The last line feed alone can be another byte behind the last line.
        assert!(verify_audit(dir, &key).is_err(), "byte {at}");
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for cut in 0..lines.len() {
        fs::write(&path, lines.get(..cut).unwrap().concat()).unwrap();
        assert!(verify_audit(dir, &key).is_err(), "cut to {cut} lines");
        let mut without = lines.clone();
        without.remove(cut);
        fs::write(&path, without.concat()).unwrap();
        assert!(verify_audit(dir, &key).is_err(), "without line {cut}");
    }
}

/// What was acknowledged is there after the recorder was killed; the chain goes on, and a line
/// that a crash has torn is kept and told of.
#[tokio::test]
async fn the_audit_log_goes_on_after_a_crash() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let audit = Audit::new(recorder.clone());
    for number in 0..3 {
        audit.record(event(number)).await.unwrap();
    }
    kill(recorder.child_id().await.unwrap(), Signal::KILL);
    // Handed over while nobody takes it: it waits for the next recorder.
    audit.record_soon(event(3)).unwrap();
    audit.record(event(4)).await.unwrap();
    drop(audit);
    recorder.close().await;
    let text = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    for number in 0..5 {
        assert!(text.contains(&format!("number {number}")), "{number}");
    }
    let before = verify_audit(dir, &key).unwrap().events;
    let mut torn = fs::OpenOptions::new()
        .append(true)
        .open(dir.join("audit.jsonl"))
        .unwrap();
    std::io::Write::write_all(&mut torn, b"{\"seq\":6,\"ti").unwrap();
    let recorder = embedded(dir).await;
    let audit = Audit::new(recorder.clone());
    audit.record(event(9)).await.unwrap();
    drop(audit);
    recorder.close().await;
    let text = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    assert!(text.contains("torn_line") && text.contains("{\"seq\":6,\"ti\n"));
    assert_eq!(verify_audit(dir, &key).unwrap().events, before + 2);

    // The disk was full when the torn line was closed: what was to be said of it is torn itself.
    let mut torn = fs::OpenOptions::new()
        .append(true)
        .open(dir.join("audit.jsonl"))
        .unwrap();
    std::io::Write::write_all(&mut torn, b"{\"seq\":8,\"ti\n{\"seq\"").unwrap();
    let recorder = embedded(dir).await;
    let audit = Audit::new(recorder.clone());
    audit.record(event(10)).await.unwrap();
    drop(audit);
    recorder.close().await;
    let text = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    assert!(text.contains("number 10") && text.matches("torn_line").count() == 2);
    assert_eq!(verify_audit(dir, &key).unwrap().events, before + 4);
}

/// An independent reader: Go's own packages, where they are installed (`tests/run` does it).
#[tokio::test]
async fn go_reads_the_checkpoint_and_comes_to_the_same_root() {
    let packages = Path::new("/usr/share/gocode");
    if !packages.join("src/golang.org/x/mod/sumdb/note").exists() {
        println!("skipped: Debian's golang-golang-x-mod-dev is not installed");
        return;
    }
    let temp = temp();
    let dir = temp.path().join("recordings");
    let recorder = embedded(&dir).await;
    // More than one bundle.
    for _ in 0..140 {
        let session = recorder.start(about(Kind::Exec)).await.unwrap();
        session.end(End::default()).await.unwrap();
    }
    recorder.close().await;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/note.go");
    let checked = std::process::Command::new("go")
        .args(["run".as_ref(), program.as_os_str()])
        .arg(dir.join("log"))
        .env("GO111MODULE", "off")
        .env("GOPATH", packages)
        .env("GOCACHE", temp.path().join("cache"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{errors}");
    let size: u64 = String::from_utf8_lossy(&checked.stdout)
        .trim()
        .parse()
        .unwrap();
    assert_eq!(size, catalogue(&dir, &key(&dir)).history.checkpoint.size);
    assert!(size >= 280);
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// By age and by size, the oldest first; not what is held, and never without a leaf.
#[tokio::test]
async fn what_is_over_its_time_is_removed_and_said_to_be() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let mut ids = Vec::new();
    for _ in 0..4 {
        let mut session = recorder.start(about(Kind::Exec)).await.unwrap();
        print(&mut session, &b"some output\n".repeat(1000))
            .await
            .unwrap();
        ids.push(session.id());
        session.end(End::default()).await.unwrap();
    }
    recorder.close().await;
    let paths: Vec<PathBuf> = ids.iter().map(|id| file_of(dir, *id)).collect();
    let [old, held, middle, new] = paths.as_slice() else {
        panic!("four")
    };
    let day = Duration::from_secs(24 * 3600);
    for (path, days) in [(old, 9), (held, 9), (middle, 2)] {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - day * days)
            .unwrap();
    }
    let beside = |path: &Path, ending: &str| -> PathBuf {
        let name = path.file_name().unwrap().to_str().unwrap();
        path.with_file_name(format!(
            "{}{ending}",
            name.strip_suffix(".cast.zst").unwrap()
        ))
    };
    fs::write(beside(held, ".keep"), b"case 17").unwrap();
    fs::write(beside(old, ".cast.zst.torn"), b"torn").unwrap();

    let program = Path::new(env!("CARGO_BIN_EXE_bastion"));
    let run = async |arguments: [&str; 2]| {
        let arguments = arguments.map(Into::into).to_vec();
        let sync = RecordingSync::Interval;
        Recorder::spawn_embedded_with(program, dir, sync, arguments)
            .await
            .unwrap()
    };
    let recorder = run(["--keep", "7d"]).await;
    until(|| !old.exists()).await;
    recorder.close().await;
    assert!(held.exists() && middle.exists() && new.exists());
    assert!(!beside(old, ".cast.zst.torn").exists());
    // A byte is less than what is held: everything else goes.
    let recorder = run(["--keep-bytes", "1"]).await;
    until(|| !middle.exists() && !new.exists()).await;
    recorder.close().await;
    assert!(held.exists() && beside(held, ".keep").exists());

    let catalogue = catalogue(dir, &key);
    for (id, path) in ids.iter().zip(&paths) {
        let session = catalogue.sessions.get(id.as_str()).unwrap();
        assert_eq!(session.expired, path != held, "{id}");
    }
    let judged = catalogue.judge(held, ids.get(1).unwrap().as_str()).unwrap();
    assert_eq!(judged.level, Level::Complete);
    let audited = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    assert_eq!(audited.matches("recording_expired").count(), 3);
}

/// The ends of a long output, and what all of it was.
#[tokio::test]
async fn of_bulk_output_a_target_may_have_only_the_ends_recorded() {
    let temp = temp();
    let dir = temp.path();
    let recorder = embedded(dir).await;
    let key = key(dir);
    let ends = About {
        bulk: Bulk::Ends,
        ..about(Kind::Exec)
    };
    let mut bulk = recorder.start(ends).await.unwrap();
    let text: Vec<u8> = (0..60_000)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    for piece in text.chunks(30_000) {
        print(&mut bulk, piece).await.unwrap();
    }
    let id = bulk.id();
    let totals = bulk.end(End::default()).await.unwrap();
    // With a terminal, everything is recorded.
    let shell = About {
        bulk: Bulk::Ends,
        ..about(Kind::Shell)
    };
    let mut shell = recorder.start(shell).await.unwrap();
    print(&mut shell, &text).await.unwrap();
    let shell_id = shell.id();
    shell.end(End::default()).await.unwrap();
    recorder.close().await;

    let mut sums = recording::raw::Sums::default();
    sums.add(recording::event::Stream::Stdout, &text);
    let whole = sums.total(recording::event::Stream::Stdout);
    assert_eq!(
        (totals.stdout, totals.stdout_sha256),
        (whole.bytes, whole.sha256.clone())
    );
    assert_eq!(level(dir, &key, id), Level::Complete);
    let read = |id| {
        let bytes = fs::read(file_of(dir, id)).unwrap();
        String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap()
    };
    let shown = read(id);
    assert!(shown.contains("line 1\\r\\n") && shown.contains("line 59999\\r\\n"));
    assert!(!shown.contains("line 30000\\r\\n"));
    let left_out = text.len() - 128 * 1024;
    assert!(shown.contains(&format!("{left_out} bytes of stdout are not recorded")));
    assert!(shown.contains(&whole.sha256.unwrap()));
    assert!(read(shell_id).contains("line 30000\\n"));
}

/// `bastion recording redact` on this folder: its exit status and what it says.
async fn redact(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_bastion"))
        .args(["recording", "redact", "--person", "ada"])
        .args(["--reason", "ticket 4711", "--dir"])
        .arg(dir)
        .args(args)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// By whoever is in the recorder's folder, of what has ended; and an auditor with a bundle sees what was
/// withheld and that nothing else was, also after the key of that time is gone.
#[tokio::test]
async fn frames_are_withheld_and_the_rest_still_verifies() {
    let temp = temp();
    let dir = temp.path();
    let terms = bastion::recorder::Terms {
        frame_bytes: 64 * 1024,
        ..bastion::recorder::Terms::default()
    };
    let agreed = bastion::record::Agreed {
        terms,
        ..RecordingSync::Interval.into()
    };
    let program = Path::new(env!("CARGO_BIN_EXE_bastion"));
    let recorder = Recorder::spawn_embedded(program, dir, agreed)
        .await
        .unwrap();
    let key = key(dir);
    let mut shell = recorder.start(about(Kind::Shell)).await.unwrap();
    let id = shell.id();
    let name = id.to_string();
    for word in ["public", "hunter2", "public", "public"] {
        let text = format!("{word}\r\n").repeat(80 * 1024 / (word.len() + 2));
        for piece in text.as_bytes().chunks(32 * 1024) {
            print(&mut shell, piece).await.unwrap();
        }
    }
    let (status, said) = redact(dir, &[&name, "--all"]).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the session goes on"), "{said}");
    shell.end(End::default()).await.unwrap();
    // Of a command of which only the ends are kept, too.
    let mut command = recorder
        .start(About {
            bulk: Bulk::Ends,
            ..about(Kind::Exec)
        })
        .await
        .unwrap();
    print(&mut command, "hunter2\n".repeat(40_000).as_bytes())
        .await
        .unwrap();
    let bulk = command.id();
    command.end(End::default()).await.unwrap();

    let path = file_of(dir, id);
    let places = recording::redact::places(fs::File::open(&path).unwrap()).unwrap();
    let text = |path: &Path| zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
    let has = |path: &Path, word: &[u8]| text(path).windows(word.len()).any(|piece| piece == word);
    assert!(places.len() > 4);
    let whole = fs::read(&path).unwrap();
    let hit: Vec<_> = places
        .iter()
        .filter(|place| {
            let range = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
            let text = zstd::decode_all(whole.get(range).unwrap()).unwrap();
            text.windows(7).any(|piece| piece == b"hunter2")
        })
        .map(|place| place.seal.number)
        .collect();
    let (first, last) = (hit.first().unwrap(), hit.last().unwrap());
    let frames = format!("{first}-{last}");
    let (status, said) = redact(dir, &[&name, "--frames", &frames, "--dry-run"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("would be withheld"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), whole);
    let (status, said) = redact(dir, &[&name, "--frames", &frames]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(has(&path, b"public") && !has(&path, b"hunter2"));
    let (status, said) = redact(dir, &[bulk.as_str(), "--all"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(!has(&file_of(dir, bulk), b"hunter2"));

    // The key of the end is gone before somebody makes a bundle.
    let before = fs::read(dir.join("log/key")).unwrap();
    kill(recorder.child_id().await.unwrap(), Signal::USR1);
    while fs::read(dir.join("log/key")).unwrap() == before || dir.join("log/key.next").exists() {
        tokio::task::yield_now().await;
    }
    let (status, said) = redact(dir, &[&name, "--frames", "1"]).await;
    assert_eq!(status, Some(0), "{said}");
    let listed = recorder.list().await.unwrap();
    let listed = listed.iter().find(|session| session.id == id).unwrap();
    assert_eq!(listed.withheld as usize, hit.len() + 1);
    recorder.close().await;

    let log = LogFolder(dir.join("log"));
    let catalogue = catalogue(dir, &key);
    for (id, withheld) in [(id, hit.len() + 1), (bulk, 0)] {
        let path = file_of(dir, id);
        let judged = catalogue.judge(&path, id.as_str()).unwrap();
        assert_eq!(judged.level, Level::Complete);
        let withheld = if id == bulk {
            judged.withheld()
        } else {
            withheld
        };
        assert!(withheld > 0);
        assert_eq!(judged.withheld(), withheld);
        let told = judged.redaction.as_ref().unwrap();
        assert!(told.by.starts_with("ada (uid "), "{}", told.by);
        let proof = catalogue.prove(&log, &judged).unwrap();
        let mut proof = serde_json::to_value(proof).unwrap();
        let away = tempfile::tempdir().unwrap();
        let bundle = away.path().join("bundle.cast.zst");
        let alone = |proof: &serde_json::Value| {
            let proof = proof.to_string().into_bytes();
            let len = u32::try_from(proof.len()).unwrap().to_le_bytes();
            let recording = fs::read(&path).unwrap();
            let magic = recording::seal::PROOF_MAGIC;
            let parts = [&recording[..], &magic[..], &len[..], &proof[..]];
            fs::write(&bundle, parts.concat()).unwrap();
            judge_alone(&bundle, "bundle", Some(&key)).unwrap()
        };
        let told = alone(&proof);
        assert_eq!(
            (told.level.clone(), told.withheld()),
            (Level::Complete, withheld)
        );
        assert!(told.redaction.is_some() && told.counts_gaps);
        // Without the leaf it is an alteration as any.
        let members = proof.as_object_mut().unwrap();
        members.remove("later").unwrap();
        members.insert("version".to_owned(), 1.into());
        assert!(matches!(alone(&proof).level, Level::Altered { .. }));
    }
    // The file of before is no forgery; the log says that it is not what there should be.
    fs::write(&path, &whole).unwrap();
    let judged = catalogue.judge(&path, id.as_str()).unwrap();
    assert_eq!(judged.level, Level::Complete);
    assert_eq!(judged.withheld_since as usize, hit.len() + 1);
    let audit = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    assert_eq!(audit.matches("\"event\":\"recording_redacted\"").count(), 3);
    assert!(audit.contains("\"reason\":\"ticket 4711\""), "{audit}");
    let (status, said) = redact(dir, &[&name, "--all"]).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("no recorder works on it"), "{said}");
}
