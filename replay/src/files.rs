//! Finding recordings: files, folders, standard input, sessions on a bastion.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::remote::{NotRemote, Remote, SCHEME};
use crate::safe;

/// Where a recording comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// On a bastion.
    Remote(Remote),
}

/// A place that could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{}", safe::line(&path.to_string_lossy()))]
pub struct FindError {
    path: PathBuf,
    source: io::Error,
}

/// Folders in folders that are looked at; more is a loop or no store of recordings.
const DEPTH_MAX: usize = 16;

impl Source {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path)?),
            Self::Remote(remote) => Box::new(remote.open()?),
        })
    }

    /// Its name, safe to show.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::File(path) => safe::line(&path.to_string_lossy()),
            Self::Remote(remote) => remote.name(),
        }
    }

    /// The id of the session: the file's name without its endings.
    pub fn id(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::Remote(remote) => remote.session().to_owned(),
            Self::File(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = name.strip_suffix(".zst").unwrap_or(&name);
                safe::line(name.strip_suffix(".cast").unwrap_or(name))
            }
        }
    }
}

/// The recordings that are meant by paths: `-` is standard input, `ssh://…` a session on a
/// bastion, a folder everything in it and
/// below that is called `*.cast` or `*.cast.zst`. Links in folders are not followed.
pub fn find(paths: &[PathBuf]) -> (Vec<Source>, Vec<FindError>) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(Source::Stdin);
        } else if let Some(text) = path.to_str().filter(|text| text.starts_with(SCHEME)) {
            match text.parse() {
                Ok(remote) => found.push(Source::Remote(remote)),
                Err(error) => errors.push(FindError {
                    path: path.clone(),
                    source: not_remote(error),
                }),
            }
        } else {
            match fs::metadata(path) {
                Ok(about) if about.is_dir() => {
                    let first = found.len();
                    folder(path, DEPTH_MAX, &mut found, &mut errors);
                    found.get_mut(first..).unwrap_or_default().sort();
                }
                Ok(_) => found.push(Source::File(path.clone())),
                Err(source) => errors.push(FindError {
                    path: path.clone(),
                    source,
                }),
            }
        }
    }
    (found, errors)
}

fn not_remote(error: NotRemote) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn folder(path: &Path, depth: usize, found: &mut Vec<Source>, errors: &mut Vec<FindError>) {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(source) => {
            let path = path.to_path_buf();
            errors.push(FindError { path, source });
            return;
        }
    };
    for entry in entries {
        let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
        match kind {
            Ok((path, kind)) if kind.is_dir() && depth > 0 => {
                folder(&path, depth - 1, found, errors);
            }
            Ok((path, kind)) if kind.is_file() && is_recording(&path) => {
                found.push(Source::File(path));
            }
            Ok(_) => {}
            Err(source) => {
                let path = path.to_path_buf();
                errors.push(FindError { path, source });
            }
        }
    }
}

fn is_recording(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".cast") || name.ends_with(b".cast.zst")
}
