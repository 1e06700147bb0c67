//! Reading a recording, or the audit log, back through the recorder.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::RecordError;
use super::link::Wire;
use crate::recorder::wire::Kind;

/// A file that the recorder has opened, which is read at any place.
pub(crate) struct Opened {
    wire: Arc<Wire>,
    /// The recorder's number for it.
    handle: u64,
}

/// The bytes of a recording's file, asked for piece by piece.
pub struct ReadBack {
    file: Opened,
    offset: u64,
    left: Bytes,
    asked: Option<Asked>,
    ended: bool,
}

type Asked = Pin<Box<dyn Future<Output = Result<Bytes, RecordError>> + Send>>;

impl Opened {
    pub(super) async fn open(wire: Arc<Wire>, name: &[u8]) -> Result<Self, RecordError> {
        let handle = wire.ask(Kind::Open, name).await?.data()?;
        let handle = handle.as_ref().try_into().map(u64::from_le_bytes);
        let handle = handle.map_err(|_| RecordError::Broken("a handle of a wrong size"))?;
        Ok(Self { wire, handle })
    }

    /// The bytes from `offset` on, some 64 KiB at most; none at the end.
    ///
    /// # Errors
    ///
    /// The recorder is gone, or cannot read.
    pub(crate) fn read_at(
        &self,
        offset: u64,
    ) -> impl Future<Output = Result<Bytes, RecordError>> + Send + 'static {
        let wire = self.wire.clone();
        let mut question = [0; 16];
        let (handle, place) = question.split_at_mut(8);
        handle.copy_from_slice(&self.handle.to_le_bytes());
        place.copy_from_slice(&offset.to_le_bytes());
        async move { wire.ask(Kind::Read, &question).await?.data() }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // The answer is of no use; the recorder closes the file.
        drop(self.wire.question(Kind::Forget, &self.handle.to_le_bytes()));
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl ReadBack {
    pub(super) async fn open(wire: Arc<Wire>, name: &[u8]) -> Result<Self, RecordError> {
        let left = Bytes::new();
        Ok(Self {
            file: Opened::open(wire, name).await?,
            offset: 0,
            left,
            asked: None,
            ended: false,
        })
    }

    /// After the end was read: reading goes on where it was, should the file have grown.
    pub fn look_again(&mut self) {
        self.ended = false;
    }
}

impl AsyncRead for ReadBack {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() && !self.ended {
            let mut asked = match self.asked.take() {
                Some(asked) => asked,
                None => Box::pin(self.file.read_at(self.offset)),
            };
            let Poll::Ready(answer) = asked.as_mut().poll(context) else {
                self.asked = Some(asked);
                return Poll::Pending;
            };
            self.left = answer.map_err(io::Error::other)?;
            self.offset += self.left.len() as u64;
            self.ended = self.left.is_empty();
        }
        let len = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for ReadBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadBack")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
