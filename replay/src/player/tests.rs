#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const SIZE: (u16, u16) = (60, 11);

/// A recording of 40x10 cells: times in milliseconds since the event before.
pub(super) fn cast(events: &[(u64, char, &str)]) -> Vec<u8> {
    let mut text = String::from(
        "{\"version\":3,\"term\":{\"cols\":40,\"rows\":10},\"timestamp\":1700000000}\n",
    );
    for (millis, code, data) in events {
        let data = serde_json::to_string(data).unwrap();
        text.push_str(&format!(
            "[{}.{:03},\"{code}\",{data}]\n",
            millis / 1000,
            millis % 1000
        ));
    }
    text.into_bytes()
}

pub(super) fn player(bytes: &[u8], options: Options) -> Player {
    let mut player = Player::new(options);
    player.feed(bytes);
    player.finish();
    player
}

pub(super) fn paused() -> Options {
    Options {
        paused: true,
        ..Options::default()
    }
}

/// Lets it do all that it can without time passing.
pub(super) fn settle(player: &mut Player) {
    for _ in 0..1_000_000 {
        if player.tick(Duration::ZERO) != Wait::Not {
            return;
        }
    }
    panic!("it does not come to rest");
}

pub(super) fn press(player: &mut Player, keys: &str) {
    for key in KeyReader::default().keys(keys.as_bytes()) {
        player.on_key(key);
    }
    settle(player);
}

/// What the session's screen shows, without the space at the ends.
pub(super) fn screen(player: &Player) -> Vec<String> {
    let mut lines: Vec<String> = player.stage.emulator.texts().collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The lower line, read back from what is sent to the viewer's terminal.
pub(super) fn bar(player: &mut Player) -> String {
    player.repaint();
    let mut viewer = Emulator::new(SIZE.0, SIZE.1);
    viewer.feed(&String::from_utf8(player.render(SIZE)).unwrap());
    viewer.texts().last().unwrap()
}

fn three() -> Vec<u8> {
    cast(&[
        (1000, 'o', "one "),
        (1000, 'm', "here"),
        (0, 'o', "two "),
        (60_000, 'o', "three "),
        (1000, 'x', "7"),
    ])
}

#[test]
fn it_plays_in_its_time() {
    let mut player = player(&three(), Options::default());
    settle(&mut player);
    assert_eq!(screen(&player), [""; 0]);
    assert_eq!(player.tick(SECOND / 2), Wait::For(REPAINT));
    assert_eq!(screen(&player), [""; 0]);
    player.tick(SECOND / 2);
    assert_eq!(screen(&player), ["one"]);
    player.tick(SECOND);
    assert_eq!(screen(&player), ["one two"]);
    player.tick(59 * SECOND);
    assert_eq!(screen(&player), ["one two"]);
    player.tick(SECOND);
    assert_eq!(screen(&player), ["one two three"]);
    assert!(!player.is_at_end());
    assert_eq!(player.tick(SECOND), Wait::Idle);
    assert!(player.is_at_end());
    assert!(bar(&mut player).contains("exit 7"), "{}", bar(&mut player));
    // It stays there until a key starts it again.
    assert_eq!(player.tick(60 * SECOND), Wait::Idle);
    press(&mut player, " ");
    assert_eq!(screen(&player), [""; 0]);
    player.tick(SECOND);
    assert_eq!(screen(&player), ["one"]);
}

#[test]
fn speed_and_idle_limit_change_how_long_it_takes() {
    for (speed, idle, keys, seconds) in [
        ("1", Idle::AsRecorded, "", 62.0),
        ("2", Idle::AsRecorded, "", 31.0),
        ("64", Idle::AsRecorded, "", 62.0 / 64.0),
        ("0.1", Idle::AtMost(SECOND), "", 30.0),
        ("1", Idle::AtMost(SECOND), "", 3.0),
        ("1", Idle::AsRecorded, "i", 4.0),
        ("1", Idle::AtMost(SECOND), "i", 62.0),
        ("1", Idle::AsRecorded, ">>", 31.0),
        ("1", Idle::AsRecorded, "<", 124.0),
        ("4", Idle::AsRecorded, "=", 62.0),
    ] {
        let mut player = player(
            &three(),
            Options {
                speed: speed.parse().unwrap(),
                idle,
                ..Options::default()
            },
        );
        settle(&mut player);
        press(&mut player, keys);
        let expected = Duration::from_secs_f64(seconds);
        player.tick(expected - Duration::from_millis(10));
        assert_eq!(screen(&player), ["one two"], "{speed} {idle:?} {keys}");
        player.tick(Duration::from_millis(20));
        assert_eq!(
            screen(&player),
            ["one two three"],
            "{speed} {idle:?} {keys}"
        );
    }
    assert_eq!("0.09".parse::<Speed>(), Err(NotASpeed));
    assert_eq!("65".parse::<Speed>(), Err(NotASpeed));
    assert_eq!("nan".parse::<Speed>(), Err(NotASpeed));
}

#[test]
fn keys_go_places() {
    let mut player = player(&three(), paused());
    settle(&mut player);
    for (keys, expected, seconds) in [
        (".", "one", 1),
        (".", "one two", 2),
        (",", "one", 2),
        (",", "", 0),
        (",", "", 0),
        ("]", "one two", 2),
        ("]", "one two", 2),
        ("[", "one two", 2),
        ("\x1b[C", "one two", 7),
        ("[", "one two", 2),
        ("\x1b[D", "", 0),
        ("\x1b[A", "one two", 60),
        ("\x1b[A", "one two three", 63),
        ("\x1b[B", "one two", 3),
        ("G", "one two three", 63),
        ("\x1b[1~", "", 0),
        ("5", "one two", 31),
        ("g1:02\r", "one two three", 62),
        ("g1\r", "one", 1),
        ("g+1\r", "one two", 2),
        ("g50%\r", "one two", 31),
        ("g-30\r", "one", 1),
        ("gx\r", "one", 1),
        ("g\x1b", "one", 1),
    ] {
        press(&mut player, keys);
        assert_eq!(screen(&player).concat(), expected, "{keys:?}");
        assert_eq!(player.now / 1_000_000, seconds, "{keys:?}");
    }
    assert!(!player.has_quit());
    press(&mut player, "?");
    press(&mut player, "q");
    assert!(player.has_quit());
}

#[test]
fn it_begins_where_it_is_told_to() {
    for (place, expected) in [("2", "one two"), ("100%", "one two three"), ("1", "one")] {
        let mut player = player(
            &three(),
            Options {
                start: Some(place.parse().unwrap()),
                ..paused()
            },
        );
        settle(&mut player);
        assert_eq!(screen(&player).concat(), expected);
    }
}

#[test]
fn search_stops_where_the_text_appears() {
    let mut player = player(
        &cast(&[
            (1000, 'o', "Alpha\r\n"),
            (1000, 'o', "be\x1b[31mta"),
            (1000, 'o', "\x1b[2K\r\n"),
            (1000, 'r', "30x5"),
            (1000, 'o', "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7 beta\r\n"),
        ]),
        paused(),
    );
    settle(&mut player);
    for (keys, seconds, message) in [
        ("/beta\r", 2, None),
        ("n", 5, None),
        ("n", 5, Some("not found after this place")),
        ("0/alpha\r", 1, None),
        ("0/ALPHA\r", 0, Some("not found after this place")),
    ] {
        press(&mut player, keys);
        assert_eq!(player.now / 1_000_000, seconds, "{keys:?}");
        assert_eq!(player.message.as_deref(), message, "{keys:?}");
    }
}

#[test]
fn a_recording_that_is_still_written_plays_on() {
    let bytes = three();
    let mut player = Player::new(Options::default());
    let (now, later) = bytes.split_at(bytes.len() - 20);
    player.feed(now);
    settle(&mut player);
    player.tick(100 * SECOND);
    assert_eq!(screen(&player), ["one two"]);
    assert!(!player.is_at_end() && player.wants_input());
    player.feed(later);
    player.finish();
    settle(&mut player);
    player.tick(100 * SECOND);
    assert_eq!(screen(&player), ["one two three"]);
    assert!(player.is_at_end());
}

#[test]
fn a_damaged_recording_plays_and_says_so() {
    let mut bytes = three();
    bytes.truncate(bytes.len() - 23);
    let mut player = player(&bytes, paused());
    settle(&mut player);
    press(&mut player, "G");
    assert_eq!(screen(&player).concat(), "one two th");
    assert_eq!(player.warnings().len(), 1);
    assert!(bar(&mut player).contains("1 warning (w)"));
    player.on_key(Key::Char('w'));
    let mut viewer = Emulator::new(100, 20);
    viewer.feed(&String::from_utf8(player.render((100, 20))).unwrap());
    assert!(
        viewer
            .texts()
            .any(|line| line.contains("the last event is cut off"))
    );
}

/// It is one value: where it is read jumps back to its first event once it is whole.
#[test]
fn a_version_1_file_plays_though_its_place_jumps_back() {
    let v1 = br#"{"version":1,"width":40,"height":10,"stdout":[[0.5,"one "],[60.0,"two"]]}"#;
    let file = Player::of_file(paused(), Box::new(v1.to_vec()));
    for mut player in [Player::new(paused()), file] {
        player.feed(v1);
        settle(&mut player);
        player.finish();
        settle(&mut player);
        press(&mut player, "G");
        assert_eq!(screen(&player), ["one two"]);
        assert!(player.index().is_none() && !player.is_stale());
    }
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let mut player = player(b"hello", Options::default());
    settle(&mut player);
    assert!(player.is_no_recording());
    assert!(bar(&mut player).contains("this is not a recording"));
}

#[test]
fn memory_is_bounded_and_what_is_left_out_is_said() {
    let noise: String = (0..20_000u32)
        .map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 26) as u8))
        .collect();
    let events: Vec<_> = (0..50).map(|_| (1000, 'o', noise.as_str())).collect();
    let mut player = player(
        &cast(&events),
        Options {
            memory_max: 10_000,
            keyframe_every: 1000,
            ..paused()
        },
    );
    settle(&mut player);
    assert!(player.timeline.is_full());
    press(&mut player, "G");
    assert!(
        bar(&mut player).contains("too large"),
        "{}",
        bar(&mut player)
    );
}

/// Nothing but what this crate itself writes: `[\x20-\x7e]`, plain characters and six kinds of
/// escape sequence.
fn is_ours(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default();
    let plain = |text: &str| crate::safe::line(text) == text;
    plain(first)
        && parts.all(|part| {
            let Some(body) = part.strip_prefix('[') else {
                return false;
            };
            let (mode, body) = match body.strip_prefix('?') {
                Some(body) => (true, body),
                None => (false, body),
            };
            let end = body.find(|char: char| !char.is_ascii_digit() && char != ';');
            let Some(end) = end else { return false };
            let (numbers, rest) = body.split_at(end);
            let Some(letter) = rest.chars().next() else {
                return false;
            };
            let known = match (mode, letter) {
                (true, 'h' | 'l') => ["25", "2026", "1049"].contains(&numbers),
                (false, 'H' | 'm') => true,
                (false, 'J') => numbers == "2",
                _ => false,
            };
            known && plain(&rest[1..])
        })
}

#[test]
fn hostile_content_is_painted_as_cells() {
    for hostile in [
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1b]0;title\x07\x1b]2;title\x1b\\",
        "\x1b[6n\x1b[c\x1b[>c\x1b[5n\x1bZ\x05",
        "\u{9b}31m\u{9d}0;x\u{9c}\u{90}q\u{9c}",
        "\x1bP+q544e\x1b\\",
        "\x1b]8;;http://example.test\x07link\x1b]8;;\x07",
        "\x1b[4i\x1b[5i",
        "\u{202e}abc\u{2066}",
        "\x1b[8;9999;9999t",
        "\x1b[?1000h\x1b[?2004h\x1b[?1049h",
        "\x7f\x00\x08\x0e",
        "a\x1b[65535b\x1b[65535b",
    ] {
        let events = [(0, 'm', hostile), (1, 'o', hostile), (1, 'o', "end")];
        let header = format!(
            "{{\"version\":3,\"term\":{{\"cols\":40,\"rows\":10}},\"title\":{0},\"command\":{0},\"bastion\":{{\"user\":{0},\"target\":{0},\"login\":{0}}}}}\n",
            serde_json::to_string(hostile).unwrap()
        );
        let lines = cast(&events);
        let lines = lines.split_inclusive(|&byte| byte == b'\n').skip(1);
        let bytes = [header.into_bytes(), lines.flatten().copied().collect()].concat();
        let mut player = player(&bytes, paused());
        settle(&mut player);
        for keys in ["", "]", "G", "w", "?", "/\u{9b}\x1b"] {
            for key in KeyReader::default().keys(keys.as_bytes()) {
                player.on_key(key);
            }
            settle(&mut player);
            for size in [(80, 24), (20, 3), (200, 2), (1, 1), (0, 0)] {
                let painted = player.render(size);
                assert!(is_ours(&painted), "{hostile:?} {keys:?}: {painted:?}");
            }
        }
    }
    assert!(is_ours(ENTER) && is_ours(LEAVE));
    assert!(!is_ours(b"\x1b]0;x\x07") && !is_ours(b"\x1b[6n") && !is_ours("\u{9b}".as_bytes()));
}

pub(super) fn wild_events() -> impl Strategy<Value = Vec<(u64, char, String)>> {
    let event = prop_oneof![
        8 => crate::emulator::tests::wild().prop_map(|text| ('o', text)),
        1 => any::<String>().prop_map(|label| ('m', label)),
        1 => (1..90u16, 1..30u16).prop_map(|(cols, rows)| ('r', format!("{cols}x{rows}"))),
    ];
    let event = (0..5000u64, event).prop_map(|(millis, (code, data))| (millis, code, data));
    proptest::collection::vec(event, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is recorded, pressed and asked for: only what is ours goes to the terminal; and
    /// what is sent as differences shows the same as all at once.
    #[test]
    fn only_our_own_bytes_reach_the_terminal(
        events in wild_events(),
        keys: Vec<(String, u16)>,
        size in (1..70u16, 1..20u16),
    ) {
        let events: Vec<_> = events.iter().map(|(t, c, d)| (*t, *c, d.as_str())).collect();
        let mut player = player(&cast(&events), Options { keyframe_every: 50, ..Options::default() });
        let mut viewer = Emulator::new(size.0, size.1);
        let mut marked_before = false;
        for (keys, millis) in keys {
            for key in KeyReader::default().keys(keys.as_bytes()) {
                player.on_key(key);
            }
            player.tick(Duration::from_millis(millis.into()));
            let painted = player.render(size);
            prop_assert!(is_ours(&painted));
            let painted = String::from_utf8(painted).unwrap();
            let marked = painted.contains('\u{25cc}') || marked_before;
            marked_before = marked;
            viewer.feed(&painted);
            player.repaint();
            let mut fresh = Emulator::new(size.0, size.1);
            fresh.feed(&String::from_utf8(player.render(size)).unwrap());
            let texts = |emulator: &Emulator| emulator.texts().collect::<Vec<_>>();
            // A mark on its dotted circle is two cells to this viewer, not one.
            if !marked {
                prop_assert_eq!(texts(&viewer), texts(&fresh));
            }
            viewer = fresh;
        }
    }

    /// Going to a place shows what playing up to it shows, from wherever one comes.
    #[test]
    fn a_jump_is_as_good_as_playing(
        events in wild_events(),
        places in proptest::collection::vec(0..100_000u64, 1..8),
    ) {
        let events: Vec<_> = events.iter().map(|(t, c, d)| (*t, *c, d.as_str())).collect();
        let bytes = cast(&events);
        let options = || Options { keyframe_every: 100, idle: Idle::Real, ..paused() };
        let mut jumping = player(&bytes, options());
        settle(&mut jumping);
        for place in places {
            let place = (place * 1000).min(jumping.timeline.duration());
            jumping.go_to_time(place);
            settle(&mut jumping);
            let mut straight = player(&bytes, options());
            // Without keyframes, and without the scout having been anywhere.
            straight.take_in();
            straight.playing = true;
            straight.tick(Duration::from_micros(place));
            settle(&mut straight);
            if place > 0 {
                prop_assert_eq!(screen(&jumping), screen(&straight));
                prop_assert_eq!(
                    jumping.stage.emulator.cursor(),
                    straight.stage.emulator.cursor()
                );
            }
        }
    }
}
