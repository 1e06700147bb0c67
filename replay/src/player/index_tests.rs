//! Laws of the index: with it, everything is as without it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use proptest::prelude::*;

use super::tests::{cast, paused, press, screen, settle, wild_events};
use super::*;
use crate::timeline::Stored;

fn options() -> Options {
    Options {
        keyframe_every: 100,
        idle: Idle::Real,
        ..paused()
    }
}

fn of_file(bytes: &[u8]) -> Player {
    let mut player = Player::of_file(options(), Box::new(bytes.to_vec()));
    player.feed(bytes);
    player.finish();
    settle(&mut player);
    player
}

fn with_index(bytes: &[u8], index: &[u8]) -> Option<Player> {
    let (mut player, from) = Player::with_index(options(), Box::new(bytes.to_vec()), index)?;
    player.feed(bytes.get(usize::try_from(from).unwrap()..).unwrap());
    player.finish();
    settle(&mut player);
    Some(player)
}

/// Frames of so many bytes of text each.
fn pack(text: &[u8], size: usize) -> Vec<u8> {
    let frames = text
        .chunks(size)
        .map(|part| zstd::encode_all(part, 1).unwrap());
    frames.collect::<Vec<_>>().concat()
}

fn wild_cast(events: &[(u64, char, String)]) -> Vec<u8> {
    let events: Vec<_> = events
        .iter()
        .map(|(time, code, data)| (*time, *code, data.as_str()))
        .collect();
    cast(&events)
}

/// Whether a chunk has ended: something has begun behind it. (Events without output may stand
/// behind a chunk that has ended and begin nothing.)
fn has_chunks(player: &Player) -> bool {
    player.timeline.starts().count() > 1
}

/// The same screen at the same places.
fn is_like(one: &mut Player, other: &mut Player, places: &[u64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.timeline.len(), other.timeline.len());
    prop_assert_eq!(one.timeline.duration(), other.timeline.duration());
    prop_assert_eq!(one.timeline.chapters(), other.timeline.chapters());
    prop_assert_eq!(one.timeline.exit(), other.timeline.exit());
    for place in places {
        for player in [&mut *one, &mut *other] {
            player.go_to_time((place * 1000).min(player.timeline.duration()));
            settle(player);
        }
        prop_assert_eq!(screen(one), screen(other));
        prop_assert_eq!(one.stage.emulator.cursor(), other.stage.emulator.cursor());
    }
    Ok(())
}

/// Keyframes were left out where whoever makes them was through with a chunk before it had ended.
#[test]
fn every_chunk_has_its_keyframe_however_slowly_it_is_read() {
    let lines: Vec<String> = (0..200).map(|n| format!("line {n}\r\n")).collect();
    let events: Vec<_> = lines.iter().map(|line| (10, 'o', line.as_str())).collect();
    let bytes = cast(&events);
    let mut player = Player::of_file(options(), Box::new(bytes.clone()));
    for piece in bytes.chunks(50) {
        player.feed(piece);
        settle(&mut player);
    }
    player.finish();
    settle(&mut player);
    let (chunks, ..) = player.timeline.known().unwrap();
    assert!(chunks.len() > 10);
    assert!(chunks.iter().skip(1).all(|chunk| chunk.keyframe.is_some()));
}

/// It went on for ever towards a place that could not be read again.
#[test]
fn a_player_whose_file_changed_comes_to_rest() {
    let lines: Vec<String> = (0..200).map(|n| format!("line {n}\r\n")).collect();
    let events: Vec<_> = lines.iter().map(|line| (10, 'o', line.as_str())).collect();
    let bytes = cast(&events);
    let index = of_file(&bytes).index().unwrap();
    let mut index = Index::read(&index).unwrap();
    for chunk in &mut index.chunks {
        chunk.keyframe = None;
        if let Stored::InFile { to, .. } = &mut chunk.stored {
            *to = to.saturating_sub(100);
        }
    }
    // Where a chunk is said to end before its last event, it is not what it was.
    if let Some(mut player) = with_index(&bytes, &index.write()) {
        press(&mut player, "5");
        settle(&mut player);
        assert!(player.is_stale());
    } else {
        panic!("the index is sound");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From the file, with an index and without, a jump shows what it shows from memory.
    #[test]
    fn an_index_changes_nothing(
        events in wild_events(),
        frame in 50..3000usize,
        packed: bool,
        places in proptest::collection::vec(0..100_000u64, 1..6),
    ) {
        let text = wild_cast(&events);
        let bytes = if packed { pack(&text, frame) } else { text };
        let mut plain = super::tests::player(&bytes, options());
        settle(&mut plain);
        let mut first = of_file(&bytes);
        is_like(&mut plain, &mut first, &places)?;
        prop_assert!(!first.is_stale());
        prop_assert!(first.index().is_some() || !has_chunks(&first));
        if let Some(index) = first.index() {
            let mut second = with_index(&bytes, &index).unwrap();
            is_like(&mut plain, &mut second, &places)?;
            prop_assert!(!second.is_stale());
            prop_assert_eq!(second.warnings(), first.warnings());
            prop_assert!(second.index().is_none(), "there is nothing new to keep");
        }
    }

    /// An index of a file as it was serves for what was added since.
    #[test]
    fn an_index_serves_a_file_that_grew(
        events in wild_events(),
        cut: prop::sample::Index,
        packed: bool,
        places in proptest::collection::vec(0..100_000u64, 1..4),
    ) {
        let text = wild_cast(&events);
        let (then, bytes) = match packed {
            true => {
                let cut = cut.index(text.len());
                let (one, other) = text.split_at(cut);
                let one = pack(one, 700);
                (one.len(), [one, pack(other, 500)].concat())
            }
            false => (cut.index(text.len()), text),
        };
        let mut before = Player::of_file(options(), Box::new(bytes.clone()));
        before.feed(&bytes[..then]);
        settle(&mut before);
        prop_assert!(before.index().is_some() || !has_chunks(&before));
        if let Some(index) = before.index() {
            let mut plain = super::tests::player(&bytes, options());
            settle(&mut plain);
            let mut grown = with_index(&bytes, &index).unwrap();
            is_like(&mut plain, &mut grown, &places)?;
        }
    }

    /// A file that is not what it was is noticed, at once or where it is touched.
    #[test]
    fn a_changed_file_is_noticed(events in wild_events(), changed: prop::sample::Index) {
        let mut bytes = wild_cast(&events);
        if let Some(index) = of_file(&bytes).index() {
            let at = changed.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(with_index(&bytes, &index).is_none());
            bytes.truncate(at);
            prop_assert!(with_index(&bytes, &index).is_none());
        }
    }

    /// Whatever an index says, it is dropped or plays something; nothing breaks.
    #[test]
    fn no_index_is_too_odd(
        events in wild_events(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let bytes = wild_cast(&events);
        if let Some(mut index) = of_file(&bytes).index() {
            for (at, byte) in edits {
                let at = at.index(index.len());
                index[at] = byte;
            }
            if let Some(cut) = cut {
                index.truncate(cut.index(index.len()));
            }
            if let Some(mut player) = with_index(&bytes, &index) {
                for keys in ["G", "0", "5", "[", "]", ".", ","] {
                    press(&mut player, keys);
                    player.render((60, 11));
                }
            }
        }
    }
}

#[test]
fn a_file_that_changes_while_it_plays_is_noticed() {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    let noise: String = (0..3000u32)
        .map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 26) as u8))
        .collect();
    let events: Vec<_> = (0..100).map(|_| (1000, 'o', noise.as_str())).collect();
    let bytes = cast(&events);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let copy = Box::new(file.try_clone().unwrap());
    let mut player = Player::of_file(options(), copy);
    player.feed(&bytes);
    player.finish();
    settle(&mut player);
    press(&mut player, "G");
    assert!(!player.is_stale());
    file.write_all_at(b"?", 1000).unwrap();
    press(&mut player, "0.");
    assert!(player.is_stale());
}

#[test]
fn what_comes_is_shown_at_once_while_it_follows() {
    let text = cast(&[
        (1000, 'o', "one "),
        (60_000, 'o', "two "),
        (60_000, 'o', "three "),
    ]);
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut player = Player::new(Options::default());
    player.set_live();
    player.feed(lines[0].as_bytes());
    player.feed(lines[1].as_bytes());
    settle(&mut player);
    player.tick(Duration::from_secs(2));
    settle(&mut player);
    assert_eq!(screen(&player), ["one"]);
    // It had come to the end; what comes now is not waited for a minute.
    player.feed(lines[2].as_bytes());
    settle(&mut player);
    assert_eq!(screen(&player), ["one two"]);
    // Elsewhere, it stays there.
    press(&mut player, "0");
    player.feed(lines[3].as_bytes());
    settle(&mut player);
    assert_eq!(screen(&player), [""; 0]);
    press(&mut player, "G");
    assert_eq!(screen(&player), ["one two three"]);
    assert!(super::tests::bar(&mut player).contains("live"));
}

#[test]
fn a_search_goes_back_too() {
    let mut events = Vec::new();
    let texts: Vec<String> = (0..50).map(|number| format!("line {number}\r\n")).collect();
    for text in &texts {
        events.push((1000, 'o', text.as_str()));
    }
    let mut player = super::tests::player(&cast(&events), options());
    settle(&mut player);
    press(&mut player, "G/line 2\r");
    assert_eq!(
        player.message.as_deref(),
        Some("not found after this place")
    );
    for (keys, seconds) in [
        ("N", 30),
        ("N", 29),
        ("n", 30),
        ("N", 29),
        ("0n", 3),
        ("n", 21),
    ] {
        press(&mut player, keys);
        assert_eq!(player.now / 1_000_000, seconds, "{keys}");
    }
    press(&mut player, "0n");
    press(&mut player, "N");
    assert_eq!(
        player.message.as_deref(),
        Some("not found before this place")
    );
}

#[test]
fn commands_of_a_shell_are_chapters() {
    let events = [
        (
            1000,
            'o',
            "\x1b]133;A\x07$ \x1b]133;B\x07ls\r\n\x1b]133;C\x07a b\r\n",
        ),
        (1000, 'm', "note"),
        (
            1000,
            'o',
            "\x1b]133;D;0\x07\x1b]133;A\x07$ \x1b]133;B\x07id\r\n\x1b]133;C\x07",
        ),
    ];
    let mut player = super::tests::player(&cast(&events), options());
    settle(&mut player);
    for (keys, seconds) in [("]", 1), ("]", 2), ("]", 3), ("[", 2), ("[", 1)] {
        press(&mut player, keys);
        assert_eq!(player.now / 1_000_000, seconds, "{keys}");
    }
    assert!(super::tests::bar(&mut player).contains("a command runs"));
}

/// What is behind the only chunk shows nothing: there is an index all the same.
#[test]
fn an_event_without_output_may_stand_behind_the_only_chunk() {
    let bytes = cast(&[(0, 'o', &"a b".repeat(100)), (650, 'o', "")]);
    let mut player = Player::of_file(options(), Box::new(bytes.clone()));
    player.feed(&bytes);
    settle(&mut player);
    assert!(!has_chunks(&player));
    let index = player.index().unwrap();
    assert!(with_index(&bytes, &index).is_some());
}
