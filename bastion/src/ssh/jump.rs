//! `ssh -J`: a client's connection to a target that comes through a channel of another one, and ends
//! here like any other.
//!
//! Carries its bytes between the channel and a socket pair, over which the inner connection runs:
//! so that it has all that a connection has, and a client that leaves is seen in the same way.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use scanner::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::PACKET;
use super::channel::{ClientEnd, ClientReader, ClientWriter, Ended, FromClient};
use super::keys::Certificate;
use super::server::{Arrival, ConnectionId, Server};
use super::stream::Wire;
use crate::audit::Event;
use crate::name::Name;
use crate::serve::Pass;
use crate::session::{self, Asked, NOT_ALLOWED, UNREACHABLE};

/// A jump that a client has asked for.
pub(super) struct Jump {
    /// The target that it wants to reach.
    pub(super) target: Name,
    /// The channel, whose client waits for an answer.
    pub(super) client: ClientEnd,
    /// Whose connection it comes through.
    pub(super) asked: Asked,
    /// The inner connection.
    pub(super) id: ConnectionId,
    /// The address of the client.
    pub(super) peer: SocketAddr,
    /// The inner connection's place among the unauthenticated.
    pub(super) pass: Pass,
}

/// Carries the jump until its inner connection ends, or the channel that it comes through.
pub(super) async fn carry(server: Arc<Server>, mut jump: Jump, stop: CancellationToken) {
    let opened = open(&server, &mut jump).await;
    let Jump {
        target,
        client: ClientEnd { reader, writer },
        id,
        peer,
        pass,
        ..
    } = jump;
    let (outer, inner, certificates) = match opened {
        Ok(opened) => opened,
        Err(status) => {
            // Whoever is not told is gone.
            writer.ended(Ended::Status(status)).await.ok();
            return;
        }
    };
    writer.opened().await;
    let arrival = Arrival {
        wire: Wire::Channel(inner),
        id,
        peer,
        pass,
        certificates,
        behind: Some(target),
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

/// The two ends of the inner connection's line, and what it proves itself with; or the status that
/// says why there is none.
async fn open(
    server: &Server,
    jump: &mut Jump,
) -> Result<(UnixStream, UnixStream, Vec<Certificate>), u32> {
    let rooms = &server.rooms;
    // Nobody goes on from a connection whose sign-in has ended.
    match rooms.sign_ins.renewed(&jump.asked.lease).await {
        Ok(Some(lease)) => jump.asked.lease = Arc::new(lease),
        Ok(None) => return Err(NOT_ALLOWED),
        Err(error) => {
            warn!(connection = %jump.asked.connection, %error, "leases cannot be read");
            return Err(NOT_ALLOWED);
        }
    }
    let begun = Event::JumpBegun {
        connection: jump.asked.connection.to_string(),
        user: jump.asked.lease.who(),
        source: jump.asked.source,
        target: jump.target.to_string(),
        inner: jump.id.to_string(),
    };
    info!(connection = %jump.asked.connection, inner = %jump.id, target = %jump.target, "a connection within this one");
    if let Err(error) = rooms.audit.record_soon(begun) {
        warn!(connection = %jump.asked.connection, %error, "not audited");
        return Err(UNREACHABLE);
    }
    // The authority vouches for what its user is told of anyway, and for no other name.
    let certificates = if session::may_reach(rooms, &jump.asked, jump.target.as_str()) {
        server.certificates(&jump.target)
    } else {
        Vec::new()
    };
    let (outer, inner) = UnixStream::pair().map_err(|error| {
        warn!(connection = %jump.id, %error, "no socket for a connection within one");
        UNREACHABLE
    })?;
    Ok((outer, inner, certificates))
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
