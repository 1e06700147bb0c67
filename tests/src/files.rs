//! Where the built programs, the scripts and the installed peers lie; keys; waiting for a file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::inotify;

use crate::process::{readable, run_ok};
use crate::{DEADLINE, process::Running};

/// A built program of the workspace: it lies beside the test's own program, or, to test an installed one, in the
/// folder that `$BASTION_TEST_PROGRAMS` names.
///
/// # Errors
/// It is not built; the error says how to.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own
        .parent()
        .and_then(Path::parent)
        .context("the test's program lies in no build folder")?;
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: cargo build --release -p {name}, or tests/run",
        path.display()
    );
    Ok(path)
}

/// A file of this crate, such as a script of `peers`.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder in which `tests/run` installs peers: `$BASTION_TEST_CACHE`, else `~/.cache/bastion-tests`.
pub fn cache() -> PathBuf {
    match std::env::var_os("BASTION_TEST_CACHE") {
        Some(path) => path.into(),
        None => {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/bastion-tests")
        }
    }
}

/// A peer that `tests/run` installs under [`cache`].
///
/// # Errors
/// It is not there.
pub fn installed(path: &str) -> Result<PathBuf> {
    let path = cache().join(path);
    ensure!(
        path.exists(),
        "{} is missing: run tests/run once",
        path.display()
    );
    Ok(path)
}

/// The name of the account that runs the tests, which is the login on the target.
///
/// # Errors
/// The account has no name.
pub fn account() -> Result<String> {
    let out = run_ok("id", Command::new("id").arg("-un"))?.out();
    Ok(out.trim().to_owned())
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes an Ed25519 key pair at `path` and `path.pub`; answers with the public line, without a comment.
///
/// # Errors
/// `ssh-keygen` is missing or fails.
pub fn make_key(path: &Path) -> Result<String> {
    make_key_of(path, &["-t", "ed25519"])
}

/// Makes a key pair of another kind, by arguments of `ssh-keygen`.
///
/// # Errors
/// `ssh-keygen` is missing or fails.
pub fn make_key_of(path: &Path, kind: &[&str]) -> Result<String> {
    run_ok(
        "ssh-keygen",
        Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", ""])
            .args(kind)
            .arg("-f")
            .arg(path),
    )?;
    public_line(path)
}

/// The public line of the key at `path`.
///
/// # Errors
/// There is none.
pub fn public_line(path: &Path) -> Result<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let line = std::fs::read_to_string(&name).with_context(|| format!("{}", path.display()))?;
    Ok(line.trim().to_owned())
}

/// Waits until `path` is there; `owner` is who writes it.
///
/// # Errors
/// `owner` ended, or the deadline passed.
pub fn wait_for_file(path: &Path, owner: &mut Running) -> Result<()> {
    let folder = path.parent().context("a file in a folder")?;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(
        &watch,
        folder,
        inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO,
    )?;
    let until = Instant::now() + DEADLINE;
    // The end of the owner is no event of this watch, so look at it every quarter second.
    while !path.exists() {
        if owner.has_ended()? {
            bail!("it ended before {} was there", path.display());
        }
        ensure!(
            Instant::now() < until,
            "{} is not there after {DEADLINE:?}",
            path.display()
        );
        if readable(&watch, std::time::Duration::from_millis(250))? {
            let mut events = [std::mem::MaybeUninit::uninit(); 4096];
            inotify::Reader::new(&watch, &mut events).next().ok();
        }
    }
    Ok(())
}

/// All regular files under `folder`.
///
/// # Errors
/// The file system's.
pub fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
