//! `ssh -J`: a client's connection to a target that comes through a channel of another one, and ends
//! here like any other.
//!
//! Carries its bytes between the channel and a socket pair, over which the inner connection runs:
//! so that it has all that a connection has, and a client that leaves is seen in the same way.

use std::sync::Arc;

use bytes::BytesMut;
use scanner::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::PACKET;
use super::channel::{ClientEnd, ClientReader, ClientWriter, Ended, FromClient};
use super::server::{Arrival, ConnectionId, Server};
use super::stream::Wire;
use crate::name::Name;
use crate::session::UNREACHABLE;

/// A jump that a client has asked for.
pub(super) struct Jump {
    /// The target that it wants to reach.
    pub(super) target: Name,
    /// The channel, whose client waits for an answer.
    pub(super) client: ClientEnd,
    /// The inner connection.
    pub(super) id: ConnectionId,
    /// The address of the client.
    pub(super) peer: std::net::SocketAddr,
}

/// Carries the jump until its inner connection ends, or the channel that it comes through.
pub(super) async fn carry(server: Arc<Server>, jump: Jump, stop: CancellationToken) {
    let ClientEnd { reader, writer } = jump.client;
    let (outer, inner) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => {
            debug!(connection = %jump.id, %error, "no socket for a jump");
            // Whoever is not told is gone.
            writer.ended(Ended::Status(UNREACHABLE)).await.ok();
            return;
        }
    };
    writer.opened().await;
    let arrival = Arrival {
        wire: Wire::Channel(inner),
        id: jump.id.clone(),
        peer: jump.peer,
        pass: None,
        behind: Some(jump.target),
    };
    let carried = async {
        let (from_inner, to_inner) = outer.into_split();
        // What the inner connection says last goes out; what the client says then goes nowhere.
        tokio::select! {
            () = down(from_inner, &writer) => {}
            never = up(reader, to_inner) => match never {},
        }
        writer.eof().await.ok();
        writer.close().await.ok();
    };
    tokio::join!(server.carry(arrival, stop), carried);
}

/// What the inner connection writes, until it ends or the client takes no more.
async fn down(mut from: OwnedReadHalf, writer: &ClientWriter) {
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(PACKET as usize);
        match from.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let sent = writer.answer(Stream::Stdout, bytes.split().freeze()).await;
        if sent.is_err() {
            return;
        }
    }
}

/// What the client writes. Its end is the inner connection's, which says the rest by ending.
async fn up(mut reader: ClientReader, mut to: OwnedWriteHalf) -> std::convert::Infallible {
    loop {
        match reader.next().await {
            FromClient::Data(data) => {
                let written = tokio::select! {
                    written = to.write_all(&data) => written.is_ok(),
                    // Nobody reads while a sign-in is waited for.
                    () = reader.left() => false,
                };
                reader.taken(data.len());
                if !written {
                    break;
                }
            }
            FromClient::Eof | FromClient::Left => break,
            FromClient::Resize { .. } | FromClient::Signal(_) => {}
        }
    }
    drop(to);
    std::future::pending().await
}
