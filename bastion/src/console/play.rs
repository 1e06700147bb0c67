//! A recording played in the client's terminal: the player of `replay`, driven over the channel.

use std::time::Duration;

use bytes::Bytes;
use replay::player::{KeyReader, Options, Player, Wait};
use scanner::Stream;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::record::ReadBack;
use crate::ssh::{ClientReader, ClientWriter, FromClient, Gone, Pty};

/// Where playing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    AtItsStart,
    /// With what the screen shows now; what comes is shown as it comes.
    AtItsEnd,
}

/// Time between two looks at a recording that has no end yet.
const GROWTH_POLL: Duration = Duration::from_millis(300);

/// Plays until the viewer leaves. A session that runs is followed once the viewer is at its end.
/// A recording that cannot be read further is played as far as it goes, with a warning. The
/// terminal shows a screen of ours already.
pub(super) async fn play(
    mut recording: ReadBack,
    begin: Begin,
    pty: &Pty,
    client: &ClientWriter,
    reader: &mut ClientReader,
) -> Result<(), Gone> {
    let mut buffer = vec![0; 64 * 1024];
    let mut player = Player::new(Options {
        memory_max: MEMORY,
        ..Options::default()
    });
    let mut keys = KeyReader::default();
    let mut size = pty.size.cells();
    let mut read_all = false;
    // Until then there is no use in asking for more.
    let mut grows_at = Instant::now();
    if begin == Begin::AtItsEnd {
        player.follow();
    }
    let mut last = Instant::now();
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
        let growth = (!read_all).then(|| grows_at.saturating_duration_since(last));
        let growth = growth.filter(|growth| !growth.is_zero());
        let pause = pause.into_iter().chain(growth).min();
        tokio::select! {
            biased;
            event = reader.next() => match event {
                FromClient::Data(bytes) => {
                    reader.taken(bytes.len());
                    for key in keys.keys(&bytes) {
                        player.on_key(key);
                    }
                }
                FromClient::Resize(changed) => {
                    size = changed.cells();
                    player.repaint();
                }
                FromClient::Signal(_) => {}
                FromClient::Eof | FromClient::Left => break,
            },
            read = recording.read(&mut buffer), if !read_all && player.wants_input() && grows_at <= last => match read {
                Ok(0) if player.has_end() => {
                    read_all = true;
                    player.finish();
                }
                Ok(0) => {
                    player.set_live();
                    recording.look_again();
                    grows_at = Instant::now() + GROWTH_POLL;
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
    Ok(())
}

async fn send(client: &ClientWriter, bytes: &[u8]) -> Result<(), Gone> {
    client
        .answer(Stream::Stdout, Bytes::copy_from_slice(bytes))
        .await
}

/// What one player in the server may hold of a recording; `replay` on the auditor's own machine
/// takes the rest.
const MEMORY: usize = 64 * 1024 * 1024;
