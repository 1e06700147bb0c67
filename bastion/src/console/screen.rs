//! The client's terminal while a full screen is on it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use replay::paint::{ENTER, LEAVE};
use scanner::Stream;

use crate::ssh::{ClientWriter, Gone};

/// Whether a full screen of ours is on the client's terminal. Whoever answers a command takes it
/// away, however the answer ended.
#[derive(Debug, Default)]
pub(super) struct Screen(AtomicBool);

impl Screen {
    /// The terminal shows another screen, empty and without a cursor; nothing where it does
    /// already.
    pub(super) async fn enter(&self, client: &ClientWriter) -> Result<(), Gone> {
        if !self.0.swap(true, Ordering::Relaxed) {
            send(client, ENTER).await?;
        }
        Ok(())
    }

    /// The terminal shows what it showed before, with its cursor; nothing where it does already.
    pub(super) async fn leave(&self, client: &ClientWriter) -> Result<(), Gone> {
        if self.0.swap(false, Ordering::Relaxed) {
            send(client, LEAVE).await?;
        }
        Ok(())
    }
}

async fn send(client: &ClientWriter, bytes: &'static [u8]) -> Result<(), Gone> {
    client
        .answer(Stream::Stdout, Bytes::from_static(bytes))
        .await
}
