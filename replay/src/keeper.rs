//! Where what was derived from recordings is kept: beside them, or in this account's cache.
//!
//! Everything kept is sealed with a secret that only this account can read, and bound to its
//! purpose. So a sidecar that somebody else put beside a recording is never believed, whatever
//! it says: it is made anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::{digest, hmac, rand};
use data_encoding::HEXLOWER;

/// What is kept of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Places and keyframes, for the player.
    Index,
    /// The text of its screens, for searching.
    Text,
}

impl Kind {
    fn ending(self) -> &'static str {
        match self {
            Self::Index => "idx",
            Self::Text => "txt.idx",
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Index => b"rplyidx\n",
            Self::Text => b"rplytxt\n",
        }
    }
}

/// Keeps what was derived from recordings.
pub struct Keeper {
    secret: hmac::Key,
    /// This account's cache, where there is one.
    cache: Option<PathBuf>,
    beside: bool,
}

/// Largest sidecar that is read.
const SIDECAR_MAX: u64 = 256 << 20;

const SECRET_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

impl Keeper {
    /// The keeper of this account: its secret lies in `$XDG_CACHE_HOME/bastion-replay` (or
    /// `~/.cache/…`) and is made there when it is missing. Where that can't be, what is kept is
    /// of no use to the next process, and all still works.
    pub fn new() -> Self {
        let cache = cache_folder();
        let secret = cache.as_deref().and_then(|cache| secret(cache).ok());
        Self::with(secret.unwrap_or_else(random), cache, true)
    }

    /// A keeper that writes into this folder only and has its own secret there.
    ///
    /// # Errors
    ///
    /// What the system says about the folder.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let secret = secret(folder)?;
        Ok(Self::with(secret, Some(folder.to_owned()), false))
    }

    fn with(secret: [u8; SECRET_BYTES], cache: Option<PathBuf>, beside: bool) -> Self {
        Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            cache,
            beside,
        }
    }

    /// What was kept of a recording, if this account kept it.
    pub fn load(&self, recording: &Path, kind: Kind) -> Option<Vec<u8>> {
        let mut places = self.places(recording, kind).into_iter();
        places.find_map(|place| self.open(&place, kind))
    }

    /// Removes what was kept of a recording in this account's cache, if it can be.
    pub fn forget(&self, recording: &Path) {
        let places = [Kind::Index, Kind::Text]
            .into_iter()
            .flat_map(|kind| self.places(recording, kind));
        for place in places.filter(|place| place.parent() == self.cache.as_deref()) {
            fs::remove_file(place).unwrap_or(());
        }
    }

    fn open(&self, place: &Path, kind: Kind) -> Option<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(NO_FOLLOW)
            .open(place)
            .ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || about.len() > SIDECAR_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).ok()?);
        file.take(SIDECAR_MAX).read_to_end(&mut bytes).ok()?;
        let (mac, body) = bytes
            .strip_prefix(kind.magic())?
            .split_at_checked(MAC_BYTES)?;
        let signed = [kind.magic().as_slice(), body].concat();
        hmac::verify(&self.secret, &signed, mac).ok()?;
        Some(body.to_vec())
    }

    /// Keeps something of a recording, in the first place that takes it. Whether one did.
    pub fn save(&self, recording: &Path, kind: Kind, body: &[u8]) -> bool {
        let signed = [kind.magic().as_slice(), body].concat();
        let mac = hmac::sign(&self.secret, &signed);
        let bytes = [kind.magic().as_slice(), mac.as_ref(), body].concat();
        let mut places = self.places(recording, kind).into_iter();
        bytes.len() as u64 <= SIDECAR_MAX && places.any(|place| replace(&place, &bytes).is_ok())
    }

    /// Beside the recording, then in the cache under a name that is made of its path.
    fn places(&self, recording: &Path, kind: Kind) -> Vec<PathBuf> {
        let mut places = Vec::new();
        let name = recording.file_name().unwrap_or_default();
        if self.beside {
            let mut name = match name.as_encoded_bytes().strip_suffix(b".cast.zst") {
                Some(_) => Path::new(name)
                    .with_extension("")
                    .with_extension("")
                    .into_os_string(),
                None => name.to_owned(),
            };
            name.push(".");
            name.push(kind.ending());
            places.push(recording.with_file_name(name));
        }
        if let (Some(cache), Ok(path)) = (&self.cache, fs::canonicalize(recording)) {
            let hash = digest::digest(&digest::SHA256, path.as_os_str().as_encoded_bytes());
            let name = HEXLOWER.encode(hash.as_ref());
            places.push(cache.join(format!("{name}.{}", kind.ending())));
        }
        places
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// `O_NOFOLLOW`: a link that somebody put in the place of a sidecar is neither read nor written.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW
    .union(rustix::fs::OFlags::NONBLOCK)
    .bits() as i32;

fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let folder = cache.join("bastion-replay");
    make_folder(&folder).ok()?;
    Some(folder)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The secret of this folder, made when there is none.
fn secret(folder: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let path = folder.join("secret");
    let fresh = random();
    match write_new(&path, &fresh) {
        Ok(()) => return Ok(fresh),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_FOLLOW)
        .open(&path)?;
    let mut secret = [0; SECRET_BYTES];
    file.read_exact(&mut secret)?;
    Ok(secret)
}

fn random() -> [u8; SECRET_BYTES] {
    let mut secret = [0; SECRET_BYTES];
    rand::fill(&mut secret).expect("the system gives random numbers");
    secret
}

/// Writes a file that is not there yet, whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, mut file) = temporary(path)?;
    let written = file.write_all(bytes);
    let placed = written.and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary)?;
    placed
}

/// Puts a file in the place of one that may be there, at once.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, mut file) = temporary(path)?;
    let placed = file
        .write_all(bytes)
        .and_then(|()| fs::rename(&temporary, path));
    if placed.is_err() {
        fs::remove_file(&temporary)?;
    }
    placed
}

/// A file of this process beside another, readable by this account only.
fn temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{number}", process::id()));
    let path = path.with_file_name(name);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn only_what_this_account_kept_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("a.cast.zst");
        fs::write(&recording, b"x").unwrap();
        let keeper = Keeper::with([1; 32], None, true);
        assert!(keeper.save(&recording, Kind::Index, b"body"));
        assert_eq!(keeper.load(&recording, Kind::Index).unwrap(), b"body");
        // Of another kind, of another account, changed, or a link.
        let index = folder.path().join("a.idx");
        fs::copy(&index, folder.path().join("a.txt.idx")).unwrap();
        assert_eq!(keeper.load(&recording, Kind::Text), None);
        let other = Keeper::with([2; 32], None, true);
        assert_eq!(other.load(&recording, Kind::Index), None);
        let good = fs::read(&index).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() ^= 1;
            fs::write(&index, bad).unwrap();
            assert_eq!(keeper.load(&recording, Kind::Index), None);
        }
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, good).unwrap();
        fs::remove_file(&index).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &index).unwrap();
        assert_eq!(keeper.load(&recording, Kind::Index), None);
        assert!(keeper.save(&recording, Kind::Index, b"new"));
        assert_eq!(keeper.load(&recording, Kind::Index).unwrap(), b"new");
    }

    #[test]
    fn where_the_folder_takes_nothing_the_cache_does() {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("b.cast");
        fs::write(&recording, b"x").unwrap();
        let cache = folder.path().join("cache");
        let keeper = Keeper::in_folder(&cache).unwrap();
        assert!(keeper.save(&recording, Kind::Text, b"text"));
        let again = Keeper::in_folder(&cache).unwrap();
        assert_eq!(again.load(&recording, Kind::Text).unwrap(), b"text");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
