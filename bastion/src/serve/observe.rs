//! How the server looks from outside: what holds now, and whether a session could begin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Gate;
use crate::forward::Watch;
use crate::metrics::{Health, Live};
use crate::session::Rooms;

/// Looks at the rooms for whoever asks.
pub(super) struct Observer {
    pub(super) rooms: Arc<Rooms>,
    pub(super) gate: Gate,
    /// Cancelled when no new connection is accepted any more.
    pub(super) accepting: CancellationToken,
    pub(super) state_dir: PathBuf,
    /// Of the audit log.
    pub(super) receivers: Watch,
}

impl Observer {
    async fn live(&self) -> Live {
        let sign_ins = &self.rooms.sign_ins;
        Live {
            sessions: self.rooms.registry.len(),
            unrecorded: self.rooms.registry.count_unrecorded(),
            unauthenticated: self.gate.len(),
            leases: sign_ins.leases(None).await.ok().map(|leases| leases.len()),
            locks: sign_ins.locks().await.ok().map(|locks| locks.len()),
            holds: self.rooms.holds.count().await.ok(),
            notices: self.rooms.notifier.backlog().await.ok(),
            recorder: self.recorder().await,
            recordings_disk: self.recordings_disk().await,
            state_disk: disk(&self.state_dir),
            receivers: self.receivers.look(Timestamp::now()),
        }
    }

    /// The disk of the recordings, which only the recorder may be able to see.
    async fn recordings_disk(&self) -> Option<(u64, u64)> {
        let answer = tokio::time::timeout(PATIENCE, self.rooms.recorder.disk()).await;
        answer.ok()?.ok()
    }

    /// How long the recorder takes to answer a small question.
    async fn recorder(&self) -> Option<Duration> {
        let asked = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, self.rooms.recorder.is_there()).await;
        matches!(answer, Ok(Ok(()))).then(|| asked.elapsed())
    }
}

impl Health for Observer {
    async fn metrics(&self) -> String {
        crate::metrics::global().render(&self.live().await)
    }

    async fn obstacles(&self) -> Vec<&'static str> {
        let mut obstacles = Vec::new();
        if self.accepting.is_cancelled() {
            obstacles.push("stopping");
        }
        if self.rooms.sign_ins.locks().await.is_err() {
            obstacles.push("store");
        }
        if self.recorder().await.is_none() {
            obstacles.push("recorder");
        }
        if self.receivers.admit(Timestamp::now()).is_err() {
            obstacles.push("audit_sink");
        }
        obstacles
    }
}

/// Free bytes for whoever is not root, and the size of the disk.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some((
        disk.f_bavail.saturating_mul(disk.f_frsize),
        disk.f_blocks.saturating_mul(disk.f_frsize),
    ))
}

/// A recorder that has not answered by then does not count as there.
const PATIENCE: Duration = Duration::from_secs(2);
