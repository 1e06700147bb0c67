//! A recording played in the client's terminal: the player of `replay`, driven over the channel.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use replay::player::{ENTER, KeyReader, LEAVE, Options, Player, Wait};
use scanner::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::ssh::{ClientReader, ClientWriter, FromClient, Gone, Pty};

/// Plays until the viewer leaves. A recording that cannot be read further is played as far as it
/// goes, with a warning.
pub(super) async fn play(
    recording: impl AsyncRead,
    pty: &Pty,
    client: &ClientWriter,
    reader: &mut ClientReader,
) -> Result<(), Gone> {
    let mut recording = pin!(recording);
    let mut buffer = vec![0; 64 * 1024];
    let mut player = Player::new(Options {
        memory_max: MEMORY,
        ..Options::default()
    });
    let mut keys = KeyReader::default();
    let mut size = (pty.cols, pty.rows);
    let mut read_all = false;
    let mut last = Instant::now();
    send(client, ENTER).await?;
    while !player.has_quit() {
        let now = Instant::now();
        let wait = player.tick(now.duration_since(last));
        last = now;
        send(client, &player.render(size)).await?;
        if player.has_quit() {
            break;
        }
        let pause = match wait {
            Wait::Not => Some(Duration::ZERO),
            Wait::For(pause) => Some(pause),
            Wait::Idle => None,
        };
        tokio::select! {
            biased;
            event = reader.next() => match event {
                FromClient::Data(bytes) => {
                    reader.taken(bytes.len());
                    for key in keys.keys(&bytes) {
                        player.on_key(key);
                    }
                }
                FromClient::Resize { cols, rows } => {
                    size = (cols, rows);
                    player.repaint();
                }
                FromClient::Signal(_) => {}
                FromClient::Eof | FromClient::Left => break,
            },
            read = recording.read(&mut buffer), if !read_all && player.wants_input() => match read {
                Ok(0) => {
                    read_all = true;
                    player.finish();
                }
                Ok(n) => player.feed(buffer.get(..n).unwrap_or_default()),
                Err(error) => {
                    read_all = true;
                    player.fail(&error);
                }
            },
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
    send(client, LEAVE).await
}

async fn send(client: &ClientWriter, bytes: &[u8]) -> Result<(), Gone> {
    client
        .answer(Stream::Stdout, Bytes::copy_from_slice(bytes))
        .await
}

/// What one player in the server may hold of a recording; `replay` on the auditor's own machine
/// takes the rest.
const MEMORY: usize = 64 * 1024 * 1024;
