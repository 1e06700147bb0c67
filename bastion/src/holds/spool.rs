//! Held bytes on disk: encrypted, bounded, and gone for good when their key is.
//!
//! Each hold has a file and a data key of its own. The file begins with that key and the digest's
//! salt, wrapped by the spool key, which is elsewhere (`holds.key_file`); erasing a hold overwrites
//! the wrapped key before it removes the file. Payload is written in chunks of 64 KiB, each
//! authenticated with the hold's name, its place and whether it is the last (AES-256-GCM, as the
//! STREAM construction does), so that a file that was cut, reordered or renamed reads as nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use bytes::Bytes;
use scanner::Stream;
use zeroize::Zeroizing;

use super::HoldId;
use super::seal::{self, Digest, FRAME_MAX, HEAD as FRAME_HEAD, Hasher, SALT};
use crate::config;

/// The folder of the held bytes. A clone is the same folder.
#[derive(Clone)]
pub(crate) struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    key: SpoolKey,
    max_bytes: u64,
    total_max: u64,
    used: AtomicU64,
}

/// The key that wraps the data keys. It has no `Debug` and is erased when dropped.
pub(crate) struct SpoolKey(Zeroizing<[u8; KEY]>);

impl SpoolKey {
    /// Reads 32 bytes, or 64 hexadecimal digits.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        config::key_of(bytes).map(Self)
    }
}

/// Why held bytes cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// More than one hold may have.
    #[error("more than {0} bytes are held")]
    TooLarge(u64),
    /// More than all may have together.
    #[error("the spool is full")]
    Full,
    #[error("the spool cannot be written or read")]
    Io(#[from] io::Error),
    /// The file is not what was written.
    #[error("the payload is damaged")]
    Damaged,
    #[error("the system gives no random numbers or does not encrypt")]
    Crypto,
}

impl Spool {
    /// Makes the folder where there is none.
    pub(crate) fn open(
        dir: &Path,
        key: SpoolKey,
        max_bytes: u64,
        total_max: u64,
    ) -> io::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        Ok(Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                key,
                max_bytes,
                total_max,
                used: AtomicU64::new(0),
            }),
        })
    }

    /// Erases every payload that is not of a hold in `keep`, and counts what the others take. Says
    /// which of them have no payload.
    pub(crate) fn sweep(&self, keep: &[HoldId]) -> io::Result<Vec<HoldId>> {
        let mut missing = keep.to_vec();
        for entry in std::fs::read_dir(&self.inner.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.parse::<HoldId>().ok());
            match id.filter(|id| keep.contains(id)) {
                Some(id) => {
                    missing.retain(|missing| *missing != id);
                    let bytes = entry.metadata()?.len();
                    self.inner.used.fetch_add(bytes, Ordering::Relaxed);
                }
                None => destroy(&entry.path())?,
            }
        }
        Ok(missing)
    }

    /// Begins the payload of a hold.
    pub(crate) fn begin(&self, id: HoldId) -> Result<Payload, SpoolError> {
        let mut secrets = Zeroizing::new([0; KEY + SALT]);
        rand::fill(secrets.as_mut()).map_err(|_| SpoolError::Crypto)?;
        let (key, salt) = halves(&secrets)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SpoolError::Crypto)?;
        header.extend_from_slice(&nonce);
        let mut wrapped = secrets.clone();
        let tag = self
            .inner
            .key
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(wrap_context(id)),
                wrapped.as_mut(),
            )
            .map_err(|_| SpoolError::Crypto)?;
        header.extend_from_slice(wrapped.as_ref());
        header.extend_from_slice(tag.as_ref());
        let place = Place {
            spool: self.clone(),
            path: self.inner.dir.join(id.to_string()),
            id,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&place.path)?;
        let mut on_disk = Reserved {
            spool: self.clone(),
            bytes: 0,
        };
        on_disk.add(HEADER as u64)?;
        file.write_all(&header)?;
        Ok(Payload {
            place,
            writing: Arc::new(Mutex::new(Writing {
                file,
                cipher: cipher(key)?,
                hasher: Hasher::new(salt),
                buffer: Zeroizing::new(Vec::with_capacity(BUFFER)),
                index: 0,
                bytes: 0,
                on_disk,
                finished: false,
                broken: false,
            })),
        })
    }

    /// Opens a sealed payload and checks all of it against its digest, before anything of it is
    /// given away.
    pub(crate) fn read(&self, id: HoldId, digest: &Digest) -> Result<Reader, SpoolError> {
        let (mut reader, salt) = self.reader(id)?;
        let mut hasher = Hasher::new(&salt);
        while let Some(chunk) = reader.chunk()? {
            hasher.update(&chunk);
        }
        if hasher.finish() != *digest {
            return Err(SpoolError::Damaged);
        }
        reader.rewind()?;
        Ok(reader)
    }

    /// The preview that was written with a payload: encoded frames.
    pub(crate) fn preview(&self, id: HoldId) -> Result<Bytes, SpoolError> {
        let (mut reader, _) = self.reader(id)?;
        reader.preview().map(Bytes::from_owner)
    }

    /// A payload from its beginning, and its salt.
    fn reader(&self, id: HoldId) -> Result<(Reader, [u8; SALT]), SpoolError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(self.inner.dir.join(id.to_string()))?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header)
            .map_err(|_| SpoolError::Damaged)?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let (nonce, wrapped) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SpoolError::Damaged)?;
        if magic != MAGIC {
            return Err(SpoolError::Damaged);
        }
        let mut wrapped = Zeroizing::new(wrapped.to_vec());
        let secrets = self
            .inner
            .key
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(wrap_context(id)),
                &mut wrapped,
            )
            .map_err(|_| SpoolError::Damaged)?;
        let secrets: &[u8; KEY + SALT] = (&*secrets).try_into().map_err(|_| SpoolError::Damaged)?;
        let (key, salt) = halves(secrets)?;
        let reader = Reader {
            file,
            cipher: cipher(key)?,
            id,
            index: 0,
            done: false,
        };
        Ok((reader, *salt))
    }

    /// Destroys the key of a payload and removes it. One that is not there is destroyed already.
    pub(crate) fn erase(&self, id: HoldId) -> io::Result<()> {
        let path = self.inner.dir.join(id.to_string());
        let bytes = match path.symlink_metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        destroy(&path)?;
        self.give_back(bytes);
        Ok(())
    }

    /// Bytes on disk now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.inner.used.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: u64) {
        let used = &self.inner.used;
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            Some(used.saturating_sub(bytes))
        })
        .unwrap_or(0);
    }
}

impl SpoolKey {
    fn cipher(&self) -> Result<LessSafeKey, SpoolError> {
        cipher(&self.0)
    }
}

/// A payload that is being written. If it is dropped without [`Payload::finish`], it is erased.
pub(crate) struct Payload {
    place: Place,
    /// Shared with the thread that writes, so that a wait that is given up loses nothing.
    writing: Arc<Mutex<Writing>>,
}

struct Place {
    spool: Spool,
    path: PathBuf,
    id: HoldId,
}

struct Writing {
    file: File,
    cipher: LessSafeKey,
    hasher: Hasher,
    buffer: Zeroizing<Vec<u8>>,
    index: u64,
    bytes: u64,
    on_disk: Reserved,
    finished: bool,
    /// A write has failed: nobody knows what is in the file, and nothing more goes into it.
    broken: bool,
}

/// Room in the spool; given back when what took it did not get to its end.
struct Reserved {
    spool: Spool,
    bytes: u64,
}

impl Reserved {
    fn add(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let inner = &self.spool.inner;
        inner
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used + bytes).filter(|used| *used <= inner.total_max)
            })
            .map_err(|_| SpoolError::Full)?;
        self.bytes += bytes;
        Ok(())
    }
}

/// A finished payload's account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

impl Payload {
    /// Takes bytes into memory; they are not lost when the caller stops waiting. At most the
    /// buffer's size and what is added in one call are in memory: call [`Payload::flush`] after it.
    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) -> Result<(), SpoolError> {
        let mut writing = self.lock();
        writing.bytes += bytes.len() as u64;
        if writing.bytes > self.place.spool.inner.max_bytes {
            return Err(SpoolError::TooLarge(self.place.spool.inner.max_bytes));
        }
        for piece in bytes.chunks(FRAME_MAX) {
            if writing.buffer.len() + FRAME_HEAD + piece.len() > BUFFER {
                // The flush after each call makes this the exception.
                writing.write_chunk(self.place.id, 0)?;
            }
            seal::encode(&mut writing.buffer, stream, piece);
        }
        Ok(())
    }

    /// Writes what has come together, on a thread that may wait for the disk. Cancel-safe.
    pub(crate) async fn flush(&self) -> Result<(), SpoolError> {
        if self.lock().buffer.len() < FLUSH {
            return Ok(());
        }
        let (writing, id) = (Arc::clone(&self.writing), self.place.id);
        blocking(move || lock(&writing).write_chunk(id, 0)).await
    }

    /// Writes the last chunk, and a preview (encoded frames) that is not part of the payload; both
    /// are on disk when this returns.
    pub(crate) async fn finish(self, preview: Vec<u8>) -> Result<Finished, SpoolError> {
        let writing = Arc::clone(&self.writing);
        let (id, dir) = (self.place.id, self.place.spool.inner.dir.clone());
        let finished = blocking(move || lock(&writing).finish(id, &dir, &preview)).await?;
        Ok(finished)
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        lock(&self.writing)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let mut writing = self.lock();
        if writing.finished {
            return;
        }
        writing.finished = true;
        self.place.spool.give_back(writing.on_disk.bytes);
        if let Err(error) = destroy(&self.place.path) {
            tracing::error!(hold = %self.place.id, %error, "a payload cannot be erased");
        }
    }
}

impl Writing {
    fn write_chunk(&mut self, id: HoldId, flags: u32) -> Result<(), SpoolError> {
        if self.finished || self.broken {
            return Err(SpoolError::Damaged);
        }
        self.broken = true;
        self.append(id, flags)?;
        self.broken = false;
        Ok(())
    }

    fn append(&mut self, id: HoldId, flags: u32) -> Result<(), SpoolError> {
        if flags & PREVIEW == 0 {
            self.hasher.update(&self.buffer);
        }
        let length = u32::try_from(self.buffer.len()).map_err(|_| SpoolError::Crypto)?;
        let head = length | flags;
        let tag = self
            .cipher
            .seal_in_place_separate_tag(
                counter(self.index),
                Aad::from(chunk_context(id, self.index, head)),
                &mut self.buffer,
            )
            .map_err(|_| SpoolError::Crypto)?;
        self.index += 1;
        self.on_disk
            .add((4 + self.buffer.len() + tag.as_ref().len()) as u64)?;
        self.file.write_all(&head.to_le_bytes())?;
        self.file.write_all(&self.buffer)?;
        self.file.write_all(tag.as_ref())?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self, id: HoldId, dir: &Path, preview: &[u8]) -> Result<Finished, SpoolError> {
        self.write_chunk(id, LAST)?;
        let preview = preview.get(..PREVIEW_MAX).unwrap_or(preview);
        self.buffer.extend_from_slice(preview);
        self.write_chunk(id, PREVIEW)?;
        self.file.sync_all()?;
        File::open(dir)?.sync_all()?;
        self.finished = true;
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(&[0; SALT]));
        Ok(Finished {
            digest: hasher.finish(),
            bytes: self.bytes,
        })
    }
}

/// A sealed payload whose digest was checked.
pub(crate) struct Reader {
    file: File,
    cipher: LessSafeKey,
    id: HoldId,
    index: u64,
    done: bool,
}

impl Reader {
    /// The next frames. Their memory is erased when they are dropped.
    pub(crate) async fn next(mut self) -> Result<(Self, Option<Bytes>), SpoolError> {
        blocking(move || {
            let chunk = self.chunk()?;
            Ok((self, chunk.map(Bytes::from_owner)))
        })
        .await
    }

    fn chunk(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SpoolError> {
        if self.done {
            return Ok(None);
        }
        let mut head = [0; 4];
        self.file
            .read_exact(&mut head)
            .map_err(|_| SpoolError::Damaged)?;
        let head = u32::from_le_bytes(head);
        if head & PREVIEW != 0 {
            return Err(SpoolError::Damaged);
        }
        self.done = head & LAST != 0;
        self.decrypt(head).map(Some)
    }

    /// Goes over the payload to what comes after it.
    fn preview(&mut self) -> Result<Zeroizing<Vec<u8>>, SpoolError> {
        loop {
            let mut head = [0; 4];
            self.file
                .read_exact(&mut head)
                .map_err(|_| SpoolError::Damaged)?;
            let head = u32::from_le_bytes(head);
            if head & PREVIEW != 0 {
                return self.decrypt(head);
            }
            let over = i64::from(head & !LAST) + TAG as i64;
            self.file.seek(SeekFrom::Current(over))?;
            self.index += 1;
        }
    }

    /// The chunk after this head.
    fn decrypt(&mut self, head: u32) -> Result<Zeroizing<Vec<u8>>, SpoolError> {
        let length = usize::try_from(head & !(LAST | PREVIEW)).map_err(|_| SpoolError::Damaged)?;
        if length > BUFFER {
            return Err(SpoolError::Damaged);
        }
        let mut chunk = Zeroizing::new(vec![0; length + TAG]);
        self.file
            .read_exact(&mut chunk)
            .map_err(|_| SpoolError::Damaged)?;
        self.cipher
            .open_in_place(
                counter(self.index),
                Aad::from(chunk_context(self.id, self.index, head)),
                &mut chunk,
            )
            .map_err(|_| SpoolError::Damaged)?;
        chunk.truncate(length);
        self.index += 1;
        Ok(chunk)
    }

    fn rewind(&mut self) -> Result<(), SpoolError> {
        self.file.seek(SeekFrom::Start(HEADER as u64))?;
        self.index = 0;
        self.done = false;
        Ok(())
    }
}

/// Overwrites the wrapped key, waits for the disk, and removes the file.
fn destroy(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path);
    match file {
        Ok(mut file) => {
            file.write_all(&[0; HEADER])?;
            file.sync_data()?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => tracing::warn!(%error, "a payload's key cannot be overwritten"),
    }
    std::fs::remove_file(path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(SpoolError::Io(io::Error::other("the writer has panicked"))),
    }
}

fn lock(writing: &Mutex<Writing>) -> MutexGuard<'_, Writing> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cipher(key: &[u8; KEY]) -> Result<LessSafeKey, SpoolError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| SpoolError::Crypto)
}

fn halves(secrets: &[u8; KEY + SALT]) -> Result<(&[u8; KEY], &[u8; SALT]), SpoolError> {
    let (key, salt) = secrets
        .split_first_chunk::<KEY>()
        .ok_or(SpoolError::Crypto)?;
    Ok((key, salt.try_into().map_err(|_| SpoolError::Crypto)?))
}

fn wrap_context(id: HoldId) -> Vec<u8> {
    [MAGIC.as_slice(), id.to_string().as_bytes()].concat()
}

fn chunk_context(id: HoldId, index: u64, head: u32) -> Vec<u8> {
    [
        id.to_string().as_bytes(),
        &index.to_le_bytes(),
        &head.to_le_bytes(),
    ]
    .concat()
}

/// Chunks of one data key are counted: no nonce comes twice.
fn counter(index: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    if let Some(low) = nonce.first_chunk_mut::<8>() {
        *low = index.to_le_bytes();
    }
    Nonce::assume_unique_for_key(nonce)
}

const MAGIC: &[u8; 8] = b"bstnhld1";
const KEY: usize = 32;
const TAG: usize = 16;
const HEADER: usize = MAGIC.len() + NONCE_LEN + KEY + SALT + TAG;
/// The longest chunk: it never grows in memory, which would leave copies behind.
const BUFFER: usize = 2 * (FRAME_MAX + FRAME_HEAD);
/// A chunk of this size is written.
const FLUSH: usize = 48 * 1024;
/// In a chunk's head: none comes after it.
const LAST: u32 = 1 << 31;
/// In a chunk's head: it is no payload, but a preview.
const PREVIEW: u32 = 1 << 30;
/// Bytes of a preview.
pub(crate) const PREVIEW_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
