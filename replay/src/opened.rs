//! A recording opened without a viewer: read to its end and prepared, so that every place of it
//! is at hand.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use crate::files::Source;
use crate::keeper::{Keeper, Kind};
use crate::player::{Idle, Options, Player, Wait};

/// A player that has read all of a recording. The index of a file is used and kept.
///
/// # Errors
///
/// What the system says when it is opened; that it can't be read further is a warning.
pub(crate) fn player(source: &Source, keeper: &Keeper) -> io::Result<Player> {
    if let Source::File(path) = source {
        let file = File::open(path)?;
        if file.metadata()?.is_file() {
            return file_player(path, file, keeper);
        }
    }
    let mut player = Player::new(options());
    feed(&mut player, &mut source.open()?);
    Ok(player)
}

fn file_player(path: &Path, mut file: File, keeper: &Keeper) -> io::Result<Player> {
    let indexed = keeper.load(path, Kind::Index).and_then(|index| {
        let file = Box::new(file.try_clone().ok()?);
        Player::with_index(options(), file, &index)
    });
    let (mut player, from) = match indexed {
        Some(indexed) => indexed,
        None => (Player::of_file(options(), Box::new(file.try_clone()?)), 0),
    };
    file.seek(SeekFrom::Start(from))?;
    feed(&mut player, &mut file);
    if let Some(index) = player.index() {
        keeper.save(path, Kind::Index, &index);
    }
    if !player.is_stale() {
        return Ok(player);
    }
    // The file is another than the one that was indexed, or changes: read it once.
    let mut player = Player::new(options());
    feed(&mut player, &mut File::open(path)?);
    Ok(player)
}

fn options() -> Options {
    Options {
        paused: true,
        idle: Idle::Real,
        ..Options::default()
    }
}

fn feed(player: &mut Player, input: &mut dyn Read) {
    let mut chunk = vec![0; 64 << 10];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => player.finish(),
            Ok(length) => player.feed(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => player.fail(&error),
        }
        if settle(player) {
            return;
        }
    }
}

/// Lets it do what it can with what it has. Whether it takes no more.
fn settle(player: &mut Player) -> bool {
    while player.tick(Duration::ZERO) == Wait::Not {}
    !player.wants_input()
}
