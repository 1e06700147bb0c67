//! Any index, and any change of a good one: it is dropped, or plays something.

#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use replay::player::{KeyReader, Options, Player, Wait};

fn options() -> Options {
    Options {
        paused: true,
        keyframe_every: 200,
        ..Options::default()
    }
}

fn settle(player: &mut Player) {
    for _ in 0..10_000 {
        if player.tick(Duration::ZERO) != Wait::Not {
            return;
        }
    }
    panic!("it does not come to rest");
}

/// A recording, and its index.
fn good() -> &'static (Vec<u8>, Vec<u8>) {
    static GOOD: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let mut text = String::from("{\"version\":3,\"term\":{\"cols\":40,\"rows\":8}}\n");
        for number in 0..60 {
            text.push_str(&format!("[0.5,\"o\",\"line {number} \\u001b[3{}m#\\u001b[0m and more\\r\\n\"]\n", number % 8));
            if number % 7 == 0 {
                text.push_str("[0,\"m\",\"mark\"]\n[0,\"r\",\"50x9\"]\n");
            }
        }
        let bytes = text.into_bytes();
        let mut player = Player::of_file(options(), Box::new(bytes.clone()));
        player.feed(&bytes);
        player.finish();
        settle(&mut player);
        let index = player.index().expect("there are several chunks");
        (bytes, index)
    })
}

fn play(bytes: &[u8], index: &[u8]) {
    let Some((mut player, from)) = Player::with_index(options(), Box::new(bytes.to_vec()), index)
    else {
        return;
    };
    let rest = usize::try_from(from).ok().and_then(|from| bytes.get(from..));
    player.feed(rest.unwrap_or_default());
    player.finish();
    for keys in ["", "G", "0", "5", "]", ".", ",", "/more\r", "N"] {
        for key in KeyReader::default().keys(keys.as_bytes()) {
            player.on_key(key);
        }
        settle(&mut player);
        player.render((60, 12));
    }
}

fuzz_target!(|input: (bool, Vec<(u16, u8)>, Vec<u8>)| {
    let (raw, edits, index) = input;
    let (bytes, good) = good();
    if raw {
        return play(bytes, &index);
    }
    let mut changed = good.clone();
    for (at, byte) in edits.into_iter().take(8) {
        let at = usize::from(at) % changed.len();
        changed[at] = byte;
    }
    play(bytes, &changed);
});
