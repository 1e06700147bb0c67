//! Reads files that an operator wrote: with a bound on their size, and private ones only where
//! nobody else can read or replace them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or not readable.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("{} is not a regular file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// Others can read or write it.
    #[error("{} has mode {mode:04o}: a secret must be for its owner only; run chmod 600 on it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{} belongs to user id {owner}, not to the user that runs this program", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others can replace it.
    #[error("the folder {} is writable for others, who could replace the secret in it; run chmod go-w on it", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Too large for what it should be.
    #[error("{} is larger than {max} bytes", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: u64,
    },
    /// Not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
}

/// The text of a file that may be public, at most `max` bytes.
pub fn read_text(path: &Path, max: u64) -> Result<String, FileError> {
    let (file, _) = open(path)?;
    let bytes = read(file, path, max)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(FileError::Text {
            path: path.to_path_buf(),
        }),
    }
}

/// The bytes of a secret file of at most 64 KiB.
///
/// It must be a regular file of the current user or of root, without any permission for group and
/// others (a systemd credential is such a file), in a folder that others cannot write.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, metadata) = open(path)?;
    let path_buf = || path.to_path_buf();
    if !trusted_owner(metadata.uid()) {
        return Err(FileError::Owner {
            path: path_buf(),
            owner: metadata.uid(),
        });
    }
    let mode = metadata.mode() & 0o7777;
    // systemd hands a credential over as root's file with an access list for the service's user,
    // whose mask stands where the group's bits are (0440).
    let handed_over = (metadata.uid(), metadata.gid()) == (0, 0)
        && std::env::var_os("CREDENTIALS_DIRECTORY")
            .is_some_and(|folder| path.parent() == Some(Path::new(&folder)));
    let others = if handed_over { 0o037 } else { 0o077 };
    if mode & others != 0 {
        return Err(FileError::Mode {
            path: path_buf(),
            mode,
        });
    }
    check_folder(path)?;
    read(file, path, PRIVATE_MAX)
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not there, not private, or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{} is no key: 32 bytes or 64 hexadecimal digits", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
}

/// A key of 32 bytes, from a file as for [`read_private`] that holds them or 64 hexadecimal digits.
pub fn read_key(path: &Path) -> Result<Zeroizing<[u8; KEY]>, KeyError> {
    key_of(&read_private(path)?).ok_or_else(|| KeyError::Form {
        path: path.to_path_buf(),
    })
}

/// The key that is written as 32 bytes or 64 hexadecimal digits.
pub(crate) fn key_of(bytes: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    if bytes.len() == KEY {
        key.copy_from_slice(bytes);
        return Some(key);
    }
    let text = bytes.trim_ascii_end();
    let decoded = Zeroizing::new(data_encoding::HEXLOWER_PERMISSIVE.decode(text).ok()?);
    if decoded.len() != KEY {
        return None;
    }
    key.copy_from_slice(&decoded);
    Some(key)
}

/// A symlink is followed: what counts is who owns, and who can replace, the file at its end.
fn open(path: &Path) -> Result<(File, std::fs::Metadata), FileError> {
    let failed = |source: io::Error| FileError::Read {
        path: path.to_path_buf(),
        source,
    };
    // Without NONBLOCK a FIFO in its place would hang the program.
    let descriptor = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )
    .map_err(|errno| failed(errno.into()))?;
    let file = File::from(descriptor);
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(FileError::Kind {
            path: path.to_path_buf(),
        })
    }
}

fn read(file: File, path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // The whole capacity from the start: a vector that grows leaves copies behind.
    let size = file
        .metadata()
        .map_or(0, |metadata| metadata.len().min(max));
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::Read {
            path: path.to_path_buf(),
            source,
        })?;
    if bytes.len() as u64 > max {
        return Err(FileError::Size {
            path: path.to_path_buf(),
            max,
        });
    }
    Ok(bytes)
}

fn check_folder(path: &Path) -> Result<(), FileError> {
    let failed = |source: io::Error| FileError::Read {
        path: path.to_path_buf(),
        source,
    };
    let real = path.canonicalize().map_err(failed)?;
    let Some(folder) = real.parent() else {
        return Ok(());
    };
    let metadata = folder.metadata().map_err(failed)?;
    let sticky = metadata.mode() & 0o1000 != 0;
    if !trusted_owner(metadata.uid()) || (metadata.mode() & 0o022 != 0 && !sticky) {
        return Err(FileError::Folder {
            path: folder.to_path_buf(),
        });
    }
    Ok(())
}

fn trusted_owner(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

const PRIVATE_MAX: u64 = 64 * 1024;
/// Bytes of a key.
const KEY: usize = 32;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_that_others_can_read_or_replace_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        for (mode, fine) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o644, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_private(&path).is_ok(), fine, "mode {mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(read_private(&path), Err(FileError::Folder { .. })));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(&**read_private(&path).unwrap(), b"secret");
    }

    #[test]
    fn neither_folders_nor_pipes_nor_large_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_private(folder.path()),
            Err(FileError::Kind { .. })
        ));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(matches!(read_private(&pipe), Err(FileError::Kind { .. })));
        let large = folder.path().join("large");
        fs::write(&large, vec![b'x'; 65 * 1024]).unwrap();
        fs::set_permissions(&large, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read_private(&large), Err(FileError::Size { .. })));
        assert!(matches!(
            read_text(&folder.path().join("none"), 10),
            Err(FileError::Read { .. })
        ));
        fs::write(&large, b"\xff").unwrap();
        assert!(matches!(read_text(&large, 10), Err(FileError::Text { .. })));
    }
}
