//! `replay screen`: what the screen showed at a moment.

use std::path::PathBuf;
use std::time::Duration;

use super::{Failure, Out};
use crate::keeper::Keeper;
use crate::moment::{NotAPlace, Place};
use crate::opened;
use crate::player::{Player, Wait};

/// Print the screen as it was at a moment
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file, ssh://BASTION/SESSION, or `-` (standard input)
    path: PathBuf,
    /// The moment: 90, 1:30, 1:02:03, 5m, 50%
    #[arg(long, value_parser = place, default_value = "100%")]
    at: Place,
}

pub(super) fn place(text: &str) -> Result<Place, NotAPlace> {
    match text.parse()? {
        place @ (Place::At(_) | Place::Percent(_)) => Ok(place),
        Place::Forward(_) | Place::Back(_) => Err(NotAPlace),
    }
}

pub(super) fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let Some(player) = at(&args.path, args.at, out)? else {
        return Ok(());
    };
    let mut rows: Vec<String> = player.stage.emulator.texts().collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    for row in rows {
        out.line(&row)?;
    }
    Ok(())
}

/// A recording at a moment, or what is wrong with it is told.
pub(super) fn at(path: &PathBuf, place: Place, out: &mut Out) -> Result<Option<Player>, Failure> {
    let found = out.find(std::slice::from_ref(path));
    let source = match found.as_slice() {
        [] => return Ok(None),
        [source] => source,
        [_, ..] => {
            return Err(Failure::Usage(
                "there are several recordings in this folder; name one".into(),
            ));
        }
    };
    let mut player = match opened::player(source, &Keeper::new()) {
        Ok(player) => player,
        Err(error) => {
            out.problem(&format!("{}: {error}", source.name()));
            return Ok(None);
        }
    };
    out.played(source, &player);
    if player.is_no_recording() {
        return Ok(None);
    }
    player.go_to(place);
    while player.tick(Duration::ZERO) == Wait::Not {}
    Ok(Some(player))
}
