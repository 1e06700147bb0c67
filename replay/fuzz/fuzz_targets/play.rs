//! Any recording and any keys: only what is ours is sent to the viewer's terminal, and what the
//! player reads again from a file is what it read.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use replay::player::{KeyReader, Options, Player, Wait};

fn settle(player: &mut Player) {
    for _ in 0..100_000 {
        if player.tick(Duration::ZERO) != Wait::Not {
            return;
        }
    }
    panic!("it does not come to rest");
}

/// Escape sequences of ours begin with `ESC [`; nothing else that a terminal acts on is sent.
fn is_harmless(painted: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(painted) else {
        return false;
    };
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' if chars.peek() == Some(&'[') => {}
            char if char.is_control() => return false,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => return false,
            _ => {}
        }
    }
    true
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>)| {
    let (output, markers, keys) = input;
    let mut text = String::from("{\"version\":3,\"term\":{\"cols\":40,\"rows\":8},\"title\":\"t\"}\n").into_bytes();
    for part in output.chunks(40) {
        text.extend(b"[0.1,\"o\",\"");
        // As JSON holds bytes, and raw, as it should not.
        for &byte in part {
            match byte {
                b'"' | b'\\' => text.extend([b'\\', byte]),
                0..0x20 => text.extend(format!("\\u{byte:04x}").bytes()),
                _ => text.push(byte),
            }
        }
        text.extend(b"\"]\n");
    }
    text.extend(&markers);
    let options = Options {
        paused: true,
        keyframe_every: 100,
        ..Options::default()
    };
    let mut memory = Player::new(options.clone());
    let mut file = Player::of_file(options, Box::new(text.clone()));
    for player in [&mut memory, &mut file] {
        player.feed(&text);
        player.finish();
        settle(player);
    }
    for key in KeyReader::default().keys(&keys).into_iter().take(40) {
        memory.on_key(key);
        file.on_key(key);
        settle(&mut memory);
        settle(&mut file);
        memory.repaint();
        file.repaint();
        let painted = memory.render((50, 10));
        assert!(is_harmless(&painted));
        assert_eq!(painted, file.render((50, 10)));
    }
    assert!(!file.is_stale());
});
