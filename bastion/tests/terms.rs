//! What a recorder is told with the greeting, at its edges: how much it keeps, and when it writes.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bastion::config::RecordingSync;
use bastion::record::{Agreed, End, Kind, RecordError, Recorder, Recording};
use bastion::recorder::Terms;
use recording::repair::Survey;
use rustix::process::{Pid, Signal, kill_process};
use scanner::Stream;

use self::support::{about, masked};

struct World {
    folder: tempfile::TempDir,
    recorder: Recorder,
}

impl World {
    async fn start(terms: Terms) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let recorder = record_to(&folder.path().join("recordings"), terms).await;
        Self {
            folder,
            recorder: recorder.unwrap(),
        }
    }

    /// The only recording.
    fn file(&self) -> PathBuf {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_str().unwrap().ends_with(".cast.zst") {
                    found.push(path);
                }
            }
        }
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    fn bytes(&self) -> u64 {
        self.file().metadata().unwrap().len()
    }

    fn frames(&self) -> usize {
        let file = fs::File::open(self.file()).unwrap();
        Survey::of(file).unwrap().chain.unwrap().frames() as usize
    }

    fn text(&self) -> String {
        let bytes = zstd::decode_all(fs::File::open(self.file()).unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

async fn record_to(dir: &Path, terms: Terms) -> Result<Recorder, RecordError> {
    let agreed = Agreed {
        terms,
        ..RecordingSync::Interval.into()
    };
    let program = Path::new(env!("CARGO_BIN_EXE_bastion"));
    Recorder::spawn_embedded(program, dir, agreed).await
}

async fn print(recording: &mut Recording, bytes: &[u8]) {
    let at = recording.output(Stream::Stdout, &masked(bytes)).await;
    recording.acknowledged().reached(at.unwrap()).await.unwrap();
}

/// Looks again and again.
async fn until(mut is: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < patience, "it did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Text that does not compress to nothing, in lines.
fn lines(count: usize) -> Vec<u8> {
    let line = |n: usize| format!("{:016x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..count).map(line).collect::<String>().into_bytes()
}

#[tokio::test]
async fn events_and_frames_are_as_long_as_is_set() {
    let terms = Terms {
        event_bytes: 1024,
        frame_bytes: 64 * 1024,
        ..Terms::default()
    };
    let world = World::start(terms).await;
    let mut recording = world.recorder.start(about(Kind::Exec)).await.unwrap();
    let text = lines(20_000);
    print(&mut recording, &text).await;
    recording.end(End::default()).await.unwrap();
    let longest = world
        .text()
        .lines()
        .filter(|line| line.contains(",\"o\","))
        .map(str::len)
        .max();
    // An event's line has its time and code beside its text.
    assert!(
        longest.is_some_and(|longest| (512..=1024 + 64).contains(&longest)),
        "{longest:?}"
    );
    let least = text.len() / (64 * 1024);
    assert!(world.frames() > least, "{} frames", world.frames());
}

#[tokio::test]
async fn a_frame_is_as_old_as_is_set() {
    let terms = Terms {
        frame_life: Duration::from_secs(1),
        flush: Duration::from_millis(250),
        ..Terms::default()
    };
    let world = World::start(terms).await;
    let mut recording = world.recorder.start(about(Kind::Exec)).await.unwrap();
    let before = world.frames();
    let since = Instant::now();
    // Never idle, so that nothing but its age ends a frame.
    while since.elapsed() < Duration::from_millis(2_500) {
        let there = world.bytes();
        print(&mut recording, &lines(4)).await;
        until(|| world.bytes() > there).await;
    }
    recording.end(End::default()).await.unwrap();
    assert!(world.frames() >= before + 2, "{} frames", world.frames());
}

/// What was printed is not in the file before `flush` is over, and is there afterwards.
#[tokio::test]
async fn output_is_written_when_is_set() {
    let terms = Terms {
        flush: Duration::from_secs(3),
        ..Terms::default()
    };
    let world = World::start(terms).await;
    let mut recording = world.recorder.start(about(Kind::Exec)).await.unwrap();
    let there = world.bytes();
    let since = Instant::now();
    print(&mut recording, b"a line\n").await;
    until(|| world.bytes() > there).await;
    // The default is 1 s.
    assert!(since.elapsed() >= Duration::from_secs(2));
}

/// A recorder that does not go on takes what fits into its queue and not a byte more.
#[tokio::test]
async fn the_queue_is_as_long_as_is_set() {
    let terms = Terms {
        queue_bytes: 512 * 1024,
        ..Terms::default()
    };
    let world = World::start(terms).await;
    let mut recording = world.recorder.start(about(Kind::Exec)).await.unwrap();
    let recorder = world.recorder.child_id().await.unwrap();
    let signal = |signal| {
        let pid = Pid::from_raw(i32::try_from(recorder).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    };
    signal(Signal::STOP);
    // Each of its threads: one that still runs may take something.
    until(|| {
        let tasks = fs::read_dir(format!("/proc/{recorder}/task")).unwrap();
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    })
    .await;
    let fits = masked(&vec![b'x'; 512 * 1024]);
    let taken = recording.output(Stream::Stdout, &fits).await.unwrap();
    let more = masked(b"y");
    let one_more = tokio::time::timeout(
        Duration::from_millis(300),
        recording.output(Stream::Stdout, &more),
    );
    assert!(one_more.await.is_err(), "one byte more was handed over");
    assert_eq!(recording.position(), taken);
    signal(Signal::CONT);
    recording.output(Stream::Stdout, &more).await.unwrap();
    recording.end(End::default()).await.unwrap();
}

#[tokio::test]
async fn terms_that_no_configuration_has_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let terms = Terms {
        queue_bytes: 1 << 40,
        ..Terms::default()
    };
    assert!(record_to(&folder.path().join("a"), terms).await.is_err());
}

/// Needs leave to mount a small file system; says so where there is none.
#[tokio::test]
async fn a_session_needs_as_much_disk_as_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs"])
        .arg(&small)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: mounting a small tmpfs is not allowed here");
        return;
    }
    // Half of it is taken: what is free is less than 32 MiB and more than 25 of 64.
    fs::write(small.join("taken"), vec![1; 33 << 20]).unwrap();
    let mut refused = Vec::new();
    for (free_bytes, free_percent) in [(1 << 30, 50), (1 << 30, 5), (16 << 20, 50)] {
        let terms = Terms {
            free_bytes,
            free_percent,
            ..Terms::default()
        };
        let recorder = record_to(&small.join("recordings"), terms).await.unwrap();
        let started = recorder.start(about(Kind::Exec)).await;
        refused.push(matches!(started, Err(RecordError::Low)));
        if let Ok(recording) = started {
            recording.end(End::default()).await.unwrap();
        }
        recorder.close().await;
    }
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(unmounted.unwrap().success());
    assert_eq!(refused, [true, false, false]);
}
