#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its preparation fails"
)]

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn key() -> SpoolKey {
    SpoolKey::parse(&[7; 32]).unwrap()
}

fn spool(max: u64, total: u64) -> (TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&folder.path().join("held"), key(), max, total).unwrap();
    (folder, spool)
}

fn id(n: u32) -> HoldId {
    HoldId::of(n)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// Writes the pieces and seals them.
async fn write(spool: &Spool, id: HoldId, pieces: &[(Stream, Vec<u8>)]) -> Finished {
    let payload = spool.begin(id).unwrap();
    for (stream, bytes) in pieces {
        payload.push(*stream, bytes).unwrap();
        payload.flush().await.unwrap();
    }
    payload.finish(b"preview".to_vec()).await.unwrap()
}

/// Everything of one stream, and of the other.
async fn read(spool: &Spool, id: HoldId, digest: &Digest) -> Result<[Vec<u8>; 2], SpoolError> {
    let mut reader = spool.read(id, digest)?;
    let mut streams = [Vec::new(), Vec::new()];
    loop {
        let (back, chunk) = reader.next().await?;
        reader = back;
        let Some(mut chunk) = chunk else {
            return Ok(streams);
        };
        while let Some((stream, bytes)) = seal::decode(&mut chunk).unwrap() {
            streams[usize::from(stream == Stream::Stderr)].extend_from_slice(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn what_was_sealed_comes_back(
        sizes in proptest::collection::vec((any::<bool>(), 0..150_000usize), 0..8),
    ) {
        let (folder, spool) = spool(u64::MAX, u64::MAX);
        let pieces: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(k, (err, size))| {
                let stream = if *err { Stream::Stderr } else { Stream::Stdout };
                (stream, vec![u8::try_from(k).unwrap() + b'a'; *size])
            })
            .collect();
        runtime().block_on(async {
            let finished = write(&spool, id(1), &pieces).await;
            let of = |wanted| -> Vec<u8> {
                let pieces = pieces.iter().filter(|(stream, _)| *stream == wanted);
                pieces.flat_map(|(_, bytes)| bytes.clone()).collect()
            };
            let [out, err] = read(&spool, id(1), &finished.digest).await.unwrap();
            assert!(out == of(Stream::Stdout) && err == of(Stream::Stderr));
            assert_eq!(finished.bytes, (out.len() + err.len()) as u64);
            assert_eq!(&spool.preview(id(1)).unwrap()[..], b"preview");
        });
        let on_disk = std::fs::metadata(folder.path().join("held").join(id(1).to_string())).unwrap().len();
        prop_assert_eq!(spool.used(), on_disk);
        spool.erase(id(1)).unwrap();
        prop_assert_eq!(spool.used(), 0);
    }
}

/// Whatever is changed, cut, added or renamed: nothing of it is given away.
#[test]
fn a_file_that_was_touched_reads_as_nothing() {
    let (folder, spool) = spool(u64::MAX, u64::MAX);
    let path = folder.path().join("held").join(id(1).to_string());
    runtime().block_on(async {
        let pieces = [(Stream::Stdout, vec![b'x'; 70_000])];
        let Finished { digest, .. } = write(&spool, id(1), &pieces).await;
        let whole = std::fs::read(&path).unwrap();
        let places = (0..whole.len() - 4 - 7 - TAG)
            .step_by(997)
            .chain(0..HEADER + 8);
        for at in places {
            let mut touched = whole.clone();
            touched[at] ^= 1;
            std::fs::write(&path, touched).unwrap();
            assert!(read(&spool, id(1), &digest).await.is_err(), "byte {at}");
        }
        // The preview is no part of what is decided, and comes last.
        let preview = 4 + 7 + TAG;
        for length in [0, 1, HEADER, HEADER + 1, whole.len() - preview - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(
                read(&spool, id(1), &digest).await.is_err(),
                "{length} bytes"
            );
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(read(&spool, id(1), &Digest([0; 32])).await.is_err());
        std::fs::rename(&path, path.with_file_name(id(2).to_string())).unwrap();
        assert!(read(&spool, id(2), &digest).await.is_err());
        std::fs::rename(path.with_file_name(id(2).to_string()), &path).unwrap();
        assert!(read(&spool, id(1), &digest).await.is_ok());
    });
}

#[test]
fn nothing_is_on_disk_in_clear_and_another_key_reads_nothing() {
    let (folder, spool) = spool(u64::MAX, u64::MAX);
    let path = folder.path().join("held").join(id(1).to_string());
    runtime().block_on(async {
        let canary = b"salary=4711-canary".repeat(10_000);
        let Finished { digest, .. } = write(&spool, id(1), &[(Stream::Stdout, canary)]).await;
        let bytes = std::fs::read(&path).unwrap();
        assert!(memchr_of(&bytes, b"canary").is_none());
        let other = SpoolKey::parse(&[8; 32]).unwrap();
        let other = Spool::open(&folder.path().join("held"), other, u64::MAX, u64::MAX).unwrap();
        assert!(read(&other, id(1), &digest).await.is_err());
    });
}

fn memchr_of(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

#[test]
fn limits_hold_at_their_edge() {
    let (_folder, spool) = spool(100_000, 150_000);
    runtime().block_on(async {
        let payload = spool.begin(id(1)).unwrap();
        payload.push(Stream::Stdout, &[b'x'; 100_000]).unwrap();
        assert!(matches!(
            payload.push(Stream::Stderr, b"y"),
            Err(SpoolError::TooLarge(100_000))
        ));
        drop(payload);
        assert_eq!(spool.used(), 0);
        write(&spool, id(1), &[(Stream::Stdout, vec![b'x'; 90_000])]).await;
        let payload = spool.begin(id(2)).unwrap();
        let mut refused = false;
        for _ in 0..9 {
            refused |= payload.push(Stream::Stdout, &[b'x'; 10_000]).is_err();
            refused |= payload.flush().await.is_err();
        }
        refused |= payload.finish(Vec::new()).await.is_err();
        assert!(refused);
        assert!(spool.used() < 100_000);
    });
}

/// A payload that nobody seals leaves nothing behind, and one that ended is erased with its key.
#[test]
fn what_ends_is_gone() {
    let (folder, spool) = spool(u64::MAX, u64::MAX);
    let dir = folder.path().join("held");
    let count = || std::fs::read_dir(&dir).unwrap().count();
    runtime().block_on(async {
        let payload = spool.begin(id(1)).unwrap();
        payload.push(Stream::Stdout, &[b'x'; 100_000]).unwrap();
        assert_eq!(count(), 1);
        drop(payload);
        assert_eq!((count(), spool.used()), (0, 0));
        write(&spool, id(2), &[(Stream::Stdout, vec![b'x'; 10])]).await;
        // A second name of the same file stands for a copy of the disk's blocks.
        std::fs::hard_link(dir.join(id(2).to_string()), folder.path().join("copy")).unwrap();
        spool.erase(id(2)).unwrap();
        let left = std::fs::read(folder.path().join("copy")).unwrap();
        assert!(left[..HEADER].iter().all(|byte| *byte == 0));
        spool.erase(id(2)).unwrap();
        assert_eq!((count(), spool.used()), (0, 0));
    });
}

#[test]
fn a_sweep_keeps_what_is_known() {
    let (folder, spool) = spool(u64::MAX, u64::MAX);
    let dir = folder.path().join("held");
    runtime().block_on(async {
        write(&spool, id(1), &[(Stream::Stdout, vec![b'x'; 10])]).await;
        write(&spool, id(2), &[(Stream::Stdout, vec![b'x'; 10])]).await;
    });
    std::fs::write(dir.join("stray"), b"no hold").unwrap();
    let again = Spool::open(&dir, key(), u64::MAX, u64::MAX).unwrap();
    assert_eq!(again.sweep(&[id(1), id(3)]).unwrap(), [id(3)]);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    assert!(again.used() > 0);
}

#[test]
fn keys_are_bytes_or_digits() {
    assert!(SpoolKey::parse(&[0; 32]).is_some());
    assert!(SpoolKey::parse(&[b'a'; 64]).is_some());
    let mut line = vec![b'F'; 64];
    line.push(b'\n');
    assert!(SpoolKey::parse(&line).is_some());
    for bytes in [&[0_u8; 31][..], &[0; 33], b"", &[b'g'; 64], &[b'a'; 62]] {
        assert!(SpoolKey::parse(bytes).is_none());
    }
}

/// A disk without room, as the kernel says it: what came is gone, and cannot be sealed later either.
#[test]
fn a_full_disk_keeps_nothing() {
    let (folder, spool) = spool(1 << 20, 1 << 20);
    for flushed in [true, false] {
        runtime().block_on(async {
            let payload = spool.begin(id(1)).unwrap();
            let file = payload.lock().file.try_clone().unwrap();
            payload.lock().file = OpenOptions::new().write(true).open("/dev/full").unwrap();
            payload.push(Stream::Stdout, &[b'x'; 60_000]).unwrap();
            if flushed {
                let error = payload.flush().await.unwrap_err();
                assert!(matches!(error, SpoolError::Io(error) if error.kind() == io::ErrorKind::StorageFull));
                // There is room again, but not for this one.
                payload.lock().file = file;
                payload.push(Stream::Stdout, &[b'y'; 60_000]).unwrap_err();
            }
            payload.finish(Vec::new()).await.unwrap_err();
        });
        assert_eq!(spool.used(), 0);
        assert_eq!(
            std::fs::read_dir(folder.path().join("held"))
                .unwrap()
                .count(),
            0
        );
    }
}
