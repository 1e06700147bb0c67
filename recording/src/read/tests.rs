#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use proptest::prelude::*;

use super::*;

/// Everything a file gives.
struct All {
    header: Header,
    events: Vec<Event>,
    warnings: Vec<Warning>,
}

fn read(bytes: &[u8]) -> Result<All, OpenError> {
    read_with(bytes, Limits::default())
}

fn read_with(bytes: &[u8], limits: Limits) -> Result<All, OpenError> {
    let mut reader = Reader::with_limits(bytes, limits)?;
    let (mut events, mut warnings) = (Vec::new(), Vec::new());
    for item in &mut reader {
        match item {
            Item::Event(event) => events.push(event),
            Item::Warning(warning) => warnings.push(warning),
        }
    }
    Ok(All {
        header: reader.header,
        events,
        warnings,
    })
}

fn output(time: u64, text: &str) -> Event {
    Event {
        time,
        data: EventData::Output(text.into()),
    }
}

fn text_of(events: &[Event]) -> String {
    let texts = events.iter().filter_map(|event| match &event.data {
        EventData::Output(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

const V3: &str = r#"{"version":3,"term":{"cols":100,"rows":30,"type":"xterm"}}"#;
const V2: &str = r#"{"version":2,"width":100,"height":30}"#;

#[test]
fn version_3_is_read() {
    let text = concat!(
        r#"{"version":3,"term":{"cols":100,"rows":30,"type":"xterm-256color","version":"XTerm(390)","theme":{"fg":"white"}},"timestamp":1700000000,"idle_time_limit":1.5,"command":"ls","title":"t","tags":["a"],"env":{"SHELL":"/bin/sh","LANG":null},"bastion":{"user":"ada"}}"#,
        "\n# a comment\n\n",
        r#"[0.25, "o", "a\r\n"]"#,
        "\r\n",
        r#"[1.000001, "m", "here"]"#,
        "\n",
        r#"[0, "r", "80x25"]"#,
        "\n",
        r#"[0.5, "B", "0:ff"]"#,
        "\n",
        r#"[0.5, "i", "q"]"#,
        "\n",
        r#"[0.5, "x", "3"]"#,
        "\n",
    );
    let all = read(text.as_bytes()).unwrap();
    assert_eq!(all.warnings, []);
    let header = all.header;
    assert_eq!((header.version, header.cols, header.rows), (3, 100, 30));
    assert_eq!(header.term.as_deref(), Some("xterm-256color"));
    assert_eq!(header.timestamp, Some(1_700_000_000));
    assert_eq!(
        header.idle_time_limit,
        Some(std::time::Duration::from_millis(1500))
    );
    assert_eq!(header.tags, ["a"]);
    assert_eq!(header.env.len(), 1);
    assert_eq!(header.extra["bastion"]["user"], "ada");
    assert_eq!(header.extra["term"]["version"], "XTerm(390)");
    assert_eq!(header.extra["theme"]["fg"], "white");
    let times: Vec<u64> = all.events.iter().map(|event| event.time).collect();
    assert_eq!(
        times,
        [
            250_000, 1_250_001, 1_250_001, 1_750_001, 2_250_001, 2_750_001
        ]
    );
    assert_eq!(all.events[0], output(250_000, "a\r\n"));
    assert_eq!(
        all.events[3].data,
        EventData::Other {
            code: "B".into(),
            data: "0:ff".into()
        }
    );
    assert_eq!(all.events[5].data, EventData::Exit(3));
}

#[test]
fn version_2_has_absolute_times() {
    let text = format!("{V2}\n[0.5,\"o\",\"a\"]\n[0.75,\"o\",\"b\"]\n");
    let all = read(text.as_bytes()).unwrap();
    assert_eq!(all.events, [output(500_000, "a"), output(750_000, "b")]);
    assert_eq!(all.warnings, []);
}

#[test]
fn version_1_is_read_in_any_order_and_layout() {
    for text in [
        r#"{"version":1,"width":100,"height":30,"duration":1.5,"command":"sh","title":null,"env":{"TERM":"xterm"},"stdout":[[0.5,"a"],[1.0,"b\n"]]}"#,
        "{\n  \"stdout\": [\n [0.5, \"a\"],\n [1.0, \"b\\n\"]\n ],\n \"height\": 30, \"width\": 100,\n \"env\": {\"TERM\": \"xterm\"},\n \"version\": 1\n}\n",
    ] {
        let all = read(text.as_bytes()).unwrap();
        assert_eq!(all.warnings, [], "{text}");
        assert_eq!((all.header.cols, all.header.rows), (100, 30));
        assert_eq!(all.header.term.as_deref(), Some("xterm"));
        assert_eq!(all.events, [output(500_000, "a"), output(1_500_000, "b\n")]);
    }
}

#[test]
fn a_damaged_version_1_file_shows_what_stands_around() {
    let start = "{\"version\":1,\"width\":9,\"height\":8,\"stdout\":[\n";
    for (events, expected, damages) in [
        ("[1,\"a\"],\n[1,\"b", "ab", &[Damage::Cut][..]),
        ("[1,\"a\"],\n[1", "a", &[Damage::Cut]),
        ("[1,\"a\"],", "a", &[Damage::Cut]),
        ("[1,\"a\"],\n[1,2],\n[1,\"b\"]]}", "ab", &[Damage::Event]),
        ("[1,\"a\"],\n{},\n[1,\"b\"]]}", "ab", &[Damage::Event]),
        ("[-1,\"a\"]]}", "a", &[Damage::Time]),
        (
            "[1,\"a\"],\n[1,\"b\\ud800\"]], \"x\":",
            "ab\u{fffd}",
            &[Damage::Text, Damage::Cut],
        ),
    ] {
        let all = read(format!("{start}{events}").as_bytes()).unwrap();
        assert_eq!(text_of(&all.events), expected, "{events}");
        let seen: Vec<Damage> = all.warnings.iter().map(|w| w.damage).collect();
        assert_eq!(seen, damages, "{events}");
        assert_eq!(all.header.cols, 9);
    }
    let twice = format!("{start}[1,\"a\"],\n[1,2],\n[1,\"b\"]]}}");
    assert_eq!(read(twice.as_bytes()).unwrap().warnings[0].at.line, 3);
}

#[test]
fn much_text_with_nothing_in_it_is_read_in_turns() {
    let packed = zstd::encode_all(format!("{V3}\n{}", "\n".repeat(8 << 20)).as_bytes(), 3).unwrap();
    let mut decoder = Decoder::default();
    decoder.push(&packed);
    decoder.finish();
    let mut pauses = 0;
    while decoder.next() == Next::Pause {
        pauses += 1;
    }
    assert!(pauses > 20, "{pauses}");
    assert_eq!(decoder.next(), Next::End);
}

/// What stops other players (recording.md, section 1): each is a warning, and what stands around
/// it is shown.
#[test]
fn oddities_are_warnings_and_the_rest_is_shown() {
    use Damage::{Cut, Event as Broken, Text, Time};
    for (lines, expected, damage) in [
        // Times.
        ("[1,\"o\",\"a\"]\n[-1,\"o\",\"b\"]\n", "ab", Some(Time)),
        ("[1e999,\"o\",\"a\"]\n[1e999,\"o\",\"b\"]\n", "ab", None),
        ("[\"1.5\",\"o\",\"a\"]\n", "a", None),
        ("[null,\"o\",\"a\"]\n", "a", Some(Time)),
        ("[NaN,\"o\",\"a\"]\n", "a", Some(Time)),
        // Shapes.
        ("[1,\"\\u006f\",\"a\"]\n", "a", None),
        ("\n\r\n   \n[1,\"o\",\"a\"]\r\n", "a", None),
        ("  [ 1 , \"o\" , \"a\" ]  \n", "a", None),
        ("# comment\n[1,\"o\",\"a\"]\n", "a", None),
        ("[1,\"o\",\"a\",2]\n[1,\"o\",\"b\"]\n", "ab", Some(Broken)),
        ("[1,\"o\",\"a\"] x\n[1,\"o\",\"b\"]\n", "ab", Some(Broken)),
        ("[1,\"o\",\"a\"\n[1,\"o\",\"b\"]\n", "ab", Some(Broken)),
        ("[1,\"o\",\"a\n[1,\"o\",\"b\"]\n", "ab", Some(Broken)),
        ("[1,\"o\"]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        ("[1,\"o\",7]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        ("[1,2,\"a\"]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        ("[]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        ("{}\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        ("junk\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        // Sizes and statuses.
        ("[1,\"r\",\"0x0\"]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        ("[1,\"r\",\"wide\"]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        (
            "[1,\"r\",\"99999x1\"]\n[1,\"o\",\"b\"]\n",
            "b",
            Some(Broken),
        ),
        ("[1,\"x\",\"q\"]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        // Unknown codes.
        ("[1,\"zz\",{\"a\":[1]}]\n[1,\"o\",\"b\"]\n", "b", None),
        ("[1,\"z\",nul]\n[1,\"o\",\"b\"]\n", "b", Some(Broken)),
        // Text.
        ("[1,\"o\",\"a\\ud800b\"]\n", "a\u{fffd}b", Some(Text)),
        (
            "[1,\"o\",\"a\\ud800\\u0041b\"]\n",
            "a\u{fffd}Ab",
            Some(Text),
        ),
        (
            "[1,\"o\",\"a\\ud800\\uzz41b\"]\n",
            "a\u{fffd}\u{fffd}zz41b",
            Some(Text),
        ),
        ("[1,\"o\",\"\\ud83d\\ude00\"]\n", "\u{1f600}", None),
        ("[1,\"o\",\"a\\qb\"]\n", "a\u{fffd}b", Some(Text)),
        ("[1,\"o\",\"\\u+041\"]\n", "\u{fffd}+041", Some(Text)),
        ("[1,\"o\",\"tab\there\"]\n", "tab\there", None),
        // Ends.
        ("[1,\"o\",\"a\"]", "a", None),
        ("[1,\"o\",\"a\"]\n[1,\"o\",\"half of", "ahalf of", Some(Cut)),
        ("[1,\"o\",\"a\"]\n[1,\"o\",\"\\u00e", "a", Some(Cut)),
        ("[1,\"o\",\"a\"]\n[1,\"o\",\"\\ud83d\\ud", "a", Some(Cut)),
        ("[1,\"o\",\"a\"]\n[1,\"r\",\"80x2", "a", Some(Cut)),
        ("[1,\"o\",\"a\"]\n[1,\"x\",\"12", "a", Some(Cut)),
        ("[1,\"o\",\"a\"]\n[1,\"x\",12", "a", Some(Cut)),
        ("[1,\"o\",\"a\"]\n[1.", "a", Some(Cut)),
    ] {
        for (header, crlf) in [(V3, false), (V2, false), (V3, true)] {
            let newline = if crlf { "\r\n" } else { "\n" };
            let all = read(format!("{header}{newline}{lines}").as_bytes()).unwrap();
            assert_eq!(text_of(&all.events), expected, "{lines}");
            let damages: Vec<Damage> = all.warnings.iter().map(|w| w.damage).collect();
            assert_eq!(damages, damage.into_iter().collect::<Vec<_>>(), "{lines}");
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let mut text = format!("{V3}\n[1,\"o\",\"a").into_bytes();
    text.extend_from_slice(b"\xff\xc3\"]\n");
    let all = read(&text).unwrap();
    assert_eq!(text_of(&all.events), "a\u{fffd}\u{fffd}");
    assert_eq!(all.warnings[0].damage, Damage::Text);
}

#[test]
fn warnings_say_where() {
    let text = format!("{V3}\n[1,\"o\",\"a\"]\njunk\n[1,\"o\",\"b\"]\n");
    let all = read(text.as_bytes()).unwrap();
    let at = all.warnings[0].at;
    assert_eq!((at.line, at.text), (3, V3.len() as u64 + 13));
}

#[test]
fn times_of_version_2_go_on_after_a_step_back() {
    let text = format!("{V2}\n[5,\"o\",\"a\"]\n[1,\"o\",\"b\"]\n[2,\"o\",\"c\"]\n");
    let all = read(text.as_bytes()).unwrap();
    let times: Vec<u64> = all.events.iter().map(|event| event.time).collect();
    assert_eq!(times, [5_000_000, 5_000_000, 6_000_000]);
}

#[test]
fn odd_headers_are_read_as_far_as_they_go() {
    let event = "[1,\"o\",\"a\"]\n";
    for (header, size, warns) in [
        (r#"{"version":2,"width":0,"height":0}"#, (80, 24), true),
        (r#"{"version":2}"#, (80, 24), true),
        (r#"{"version":3}"#, (80, 24), true),
        (
            r#"{"version":3,"term":{"cols":7,"rows":"x"}}"#,
            (80, 24),
            true,
        ),
        (
            r#"{"version":2,"width":9,"height":8,"env":3}"#,
            (9, 8),
            true,
        ),
        (
            r#"{"version":2,"width":9,"height":8,"title":null}"#,
            (9, 8),
            false,
        ),
        (
            r#"{"version":2,"width":9,"height":8,"timestamp":1.9}"#,
            (9, 8),
            false,
        ),
        (r#"{"version":2,"width":9,"height":8,"#, (9, 8), true),
        (
            r#"{"versionX:3,"term":{"cols":9,"rows":8}}"#,
            (80, 24),
            true,
        ),
        (r#"y"version":3,"term":{"cols":9,"rows":8}}"#, (9, 8), true),
        ("Script started", (80, 24), true),
    ] {
        let all = read(format!("{header}\n{event}").as_bytes()).unwrap();
        assert_eq!((all.header.cols, all.header.rows), size, "{header}");
        assert_eq!(
            !all.warnings.is_empty(),
            warns,
            "{header}: {:?}",
            all.warnings
        );
        assert_eq!(text_of(&all.events), "a", "{header}");
    }
    let without = read(event.as_bytes()).unwrap();
    assert_eq!(text_of(&without.events), "a");
    let marked = format!("\u{feff}{V3}\n{event}");
    assert_eq!(read(marked.as_bytes()).unwrap().warnings, []);
}

#[test]
fn what_is_no_recording_is_refused() {
    for (bytes, reason) in [
        (&b""[..], "the file is empty"),
        (b"\n\n", "this is not a recording"),
        (b"hello\n", "neither a header nor an event"),
        (
            b"\x7fELF\x02\x01\x01\0\0\0\0\n\0\0",
            "neither a header nor an event",
        ),
        (
            b"{\"version\":4,\"term\":{}}\n",
            "asciicast version 4 is not known here; 1, 2 and 3 are",
        ),
        (
            b"\x1f\x8b\x08\0aaaaaaaaa",
            "this is a gzip file: unpack it first (gzip -dc FILE | replay \u{2026})",
        ),
        (
            b"{",
            "the file is cut off or broken; what can be read is shown",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "the file is cut off in a zstd frame; what could be unpacked is shown",
        ),
    ] {
        let error = read(bytes).err().unwrap();
        assert_eq!(error.to_string(), reason);
    }
    assert!(read("x\n".repeat(1000).as_bytes()).is_err());
}

#[test]
fn an_unfinished_session_of_a_bastion_is_said_to_be() {
    let header = r#"{"version":3,"term":{"cols":9,"rows":8},"bastion":{}}"#;
    let open = read(format!("{header}\n[1,\"o\",\"a\"]\n").as_bytes()).unwrap();
    assert_eq!(open.warnings[0].damage, Damage::Unfinished);
    for end in ["[1,\"x\",\"0\"]", "[1,\"E\",\"{}\"]"] {
        let ended = read(format!("{header}\n{end}\n").as_bytes()).unwrap();
        assert_eq!(ended.warnings, [], "{end}");
    }
}

#[test]
fn a_long_line_is_shown_in_part_and_the_next_whole() {
    let long = "a".repeat(5000);
    let text = format!("{V3}\n[1,\"o\",\"{long}\"]\n[1,\"o\",\"b\"]\n");
    let limits = Limits {
        line_max: 1000,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    let (mut events, mut warnings) = (Vec::new(), Vec::new());
    let mut pieces = text.as_bytes().chunks(100);
    loop {
        match decoder.next() {
            Next::Item(Item::Event(event)) => events.push(event),
            Next::Item(Item::Warning(warning)) => warnings.push(warning),
            Next::Pause => {}
            Next::NeedInput => match pieces.next() {
                Some(piece) => decoder.push(piece),
                None => decoder.finish(),
            },
            Next::End => break,
        }
    }
    let shown = text_of(&events);
    assert!(shown.starts_with("aaa") && shown.ends_with("ab"));
    assert!((900..1200).contains(&shown.len()), "{}", shown.len());
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].damage, Damage::Limit);
}

#[test]
fn warnings_are_bounded() {
    let text = format!("{V3}\n{}[1,\"o\",\"b\"]\n", "junk\n".repeat(5000));
    let limits = Limits {
        warnings_max: 10,
        ..Limits::default()
    };
    let all = read_with(text.as_bytes(), limits).unwrap();
    assert_eq!(all.warnings.len(), 10);
    assert_eq!(text_of(&all.events), "b");
}

fn frame(text: &str) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn seal(content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x5c, 0x2a, 0x4d, 0x18];
    frame.extend_from_slice(&(content.len() as u32).to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

/// Three frames of events, each with a seal; the lines are cut by the second frame's end.
fn frames() -> [Vec<u8>; 6] {
    let noise: String = (0..400u32)
        .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    [
        frame(&format!("{V3}\n[1,\"o\",\"one {noise} \"]\n")),
        seal(b"head 1"),
        frame("[1,\"o\",\"two \"]\n[1,\"o\",\"thr"),
        seal(b""),
        frame("ee \"]\n[1,\"o\",\"four\"]\n"),
        seal(&[0x28, 0xb5, 0x2f, 0xfd]),
    ]
}

#[test]
fn frames_and_seals_are_one_text() {
    let all = read(&frames().concat()).unwrap();
    assert_eq!(all.warnings, []);
    let text = text_of(&all.events);
    assert!(text.starts_with("one ") && text.ends_with(" two three four"));
}

#[test]
fn a_broken_frame_costs_only_itself() {
    // Also where a broken length makes it swallow what follows.
    for (at, byte) in [(60, 0xff), (6, 0xff), (7, 0xff), (8, 0xff), (200, 0)] {
        let mut frames = frames();
        frames[0][at] ^= byte | 1;
        let all = read(&frames.concat()).unwrap();
        let text = text_of(&all.events);
        assert!(text.ends_with("two three four"), "{at}: {text}");
        assert!(
            all.warnings.iter().any(|w| w.damage == Damage::Compression),
            "{at}: {:?}",
            all.warnings
        );
    }
    let mut middle = frames();
    middle[2] = b"not a frame at all".to_vec();
    let all = read(&middle.concat()).unwrap();
    let text = text_of(&all.events);
    assert!(text.starts_with("one ") && text.ends_with("four"), "{text}");
    assert!(!all.warnings.is_empty());
}

#[test]
fn a_bomb_is_cut_at_the_ratio_and_at_the_total() {
    let text = format!("{V3}\n{}", "[1,\"o\",\"aaaaaaaa\"]\n".repeat(1 << 20));
    let packed = zstd::encode_all(text.as_bytes(), 19).unwrap();
    assert!(text.len() / packed.len() > 1000);
    for limits in [
        Limits {
            ratio_free: 1 << 20,
            ratio_max: 100,
            ..Limits::default()
        },
        Limits {
            text_max: 1 << 20,
            ..Limits::default()
        },
    ] {
        let all = read_with(&packed, limits).unwrap();
        let shown = text_of(&all.events).len();
        assert!((40_000..800_000).contains(&shown), "{shown}");
        let last = all.warnings.last().unwrap();
        assert_eq!(last.damage, Damage::Limit);
    }
    // With the defaults it is only a repetitive recording.
    assert_eq!(read(&packed).unwrap().warnings, []);
}

#[test]
fn a_frame_with_a_large_window_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(25).unwrap();
    io::Write::write_all(&mut encoder, V3.as_bytes()).unwrap();
    let mut packed = encoder.finish().unwrap();
    packed.extend(frame("\n[1,\"o\",\"b\"]\n"));
    let all = read(&packed).unwrap();
    assert_eq!(all.warnings[0].damage, Damage::Compression);
    assert_eq!(text_of(&all.events), "b");
}

#[test]
fn an_error_of_the_input_keeps_what_came_before() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                length => Ok(length),
            }
        }
    }
    let text = format!("{V3}\n[1,\"o\",\"a\"]\n[1,\"o\",\"b");
    let items: Vec<Item> = Reader::open(Failing(text.as_bytes())).unwrap().collect();
    let events: Vec<Event> = items.iter().filter_map(Item::event).cloned().collect();
    assert_eq!(text_of(&events), "ab");
    assert!(
        items
            .iter()
            .filter_map(Item::warning)
            .any(|w| w.damage == Damage::Io)
    );
    assert!(matches!(
        Reader::open(Failing(b"")),
        Err(OpenError::Io { .. })
    ));
}

/// A v3 line of an output event.
fn v3_line((millis, text): &(u16, String)) -> String {
    let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
    format!("[{seconds},\"o\",{}]\n", serde_json::json!(text))
}

fn is_prefix_of(shown: &[Event], whole: &[Event]) -> bool {
    let Some((last, before)) = shown.split_last() else {
        return true;
    };
    let Some(original) = whole.get(before.len()) else {
        return false;
    };
    let fits = match (&last.data, &original.data) {
        (EventData::Output(part), EventData::Output(all)) => all.starts_with(part.as_str()),
        (one, other) => one == other,
    };
    fits && last.time == original.time && before == &whole[..before.len()]
}

/// All items of a file that comes in pieces; before each, the count of those before is told.
fn collect(
    decoder: &mut Decoder,
    bytes: &[u8],
    size: usize,
    mut before: impl FnMut(&mut Decoder, usize),
) -> Vec<Item> {
    let mut pieces = bytes.chunks(size);
    let mut items = Vec::new();
    loop {
        before(decoder, items.len());
        match decoder.next() {
            // How much was consumed when it was noticed depends on the pieces.
            Next::Item(Item::Warning(warning)) => items.push(Item::Warning(Warning {
                at: Position {
                    file: 0,
                    ..warning.at
                },
                ..warning
            })),
            Next::Item(item) => items.push(item),
            Next::Pause => {}
            Next::NeedInput => match pieces.next() {
                Some(piece) => decoder.push(piece),
                None => decoder.finish(),
            },
            Next::End => return items,
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd(bytes: Vec<u8>) {
        drop(read(&bytes));
    }

    #[test]
    fn no_lines_are_too_odd(
        lines in proptest::collection::vec(
            "(\\[|\\{|\"|,|:|[0-9.eE+-]{1,4}|\"o\"|\"r\"|\"x\"|\"m\"|\\\\u[0-9a-f]{0,4}|\\\\|\\]|\\}|version|stdout|\\PC|\n){0,20}",
            0..8,
        ),
        version in 1..4u8,
    ) {
        let header = match version {
            1 => "{\"version\":1,\"stdout\":[",
            2 => V2,
            _ => V3,
        };
        let text = format!("{header}\n{}", lines.join("\n"));
        drop(read(text.as_bytes()));
        drop(read(&frame(&text)));
    }

    /// However the bytes arrive, the same is read.
    #[test]
    fn pieces_do_not_show(
        events: Vec<(u16, String)>,
        size in 1..200usize,
        packed: bool,
        flip in proptest::option::of((any::<prop::sample::Index>(), 1..=255u8)),
    ) {
        let text: String = events.iter().map(v3_line).collect();
        let mut bytes = format!("{V3}\n{text}").into_bytes();
        if packed {
            let (one, other) = text.split_at(text.floor_char_boundary(text.len() / 2));
            bytes = [frame(&format!("{V3}\n{one}")), seal(b"x"), frame(other)].concat();
        }
        if let Some((index, mask)) = flip {
            let at = index.index(bytes.len());
            bytes[at] ^= mask;
        }
        let collect = |size: usize| {
            let mut decoder = Decoder::default();
            let mut pieces = bytes.chunks(size);
            let mut items = Vec::new();
            loop {
                match decoder.next() {
                    Next::Item(Item::Event(event)) => items.push(Ok(event)),
                    Next::Item(Item::Warning(w)) => items.push(Err((w.damage, w.detail))),
                    Next::Pause => {}
                    Next::NeedInput => match pieces.next() {
                        Some(piece) => decoder.push(piece),
                        None => decoder.finish(),
                    },
                    Next::End => return (decoder.header().cloned(), items),
                }
            }
        };
        prop_assert_eq!(collect(size), collect(bytes.len()));
    }

    /// From every mark the rest is read as it was, however the file is packed.
    #[test]
    fn reading_goes_on_at_every_mark(
        events in proptest::collection::vec((0..5000u16, any::<String>()), 0..12),
        version in 2..4u8,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        packed: bool,
        size in 1..300usize,
    ) {
        let header = if version == 2 { V2 } else { V3 };
        let text: String = events.iter().map(v3_line).collect();
        let text = format!("{header}\n# a comment\n{text}");
        let mut bytes = text.clone().into_bytes();
        if packed {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut file = Vec::new();
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
                io::Write::write_all(&mut encoder, &bytes[from..to]).unwrap();
                file.extend(encoder.finish().unwrap());
                file.extend(seal(b"seal"));
                from = to;
            }
            bytes = file;
        }
        let mut decoder = Decoder::default();
        let mut marks = Vec::new();
        let items = collect(&mut decoder, &bytes, size, |decoder, items| {
            marks.extend(decoder.mark().map(|mark| (mark, items)));
        });
        let header = decoder.header().cloned().unwrap();
        prop_assert!(marks.len() >= events.len());
        for (mark, before) in marks {
            let rest = bytes.get(mark.file as usize..).unwrap();
            let mut decoder = Decoder::resume(Limits::default(), header.clone(), mark);
            let read = collect(&mut decoder, rest, 17, |_, _| {});
            prop_assert_eq!(&read[..], &items[before..], "{:?}", mark);
        }
    }

    /// A file that is cut anywhere shows what stood before the cut, and says that it is cut.
    #[test]
    fn a_cut_loses_nothing_before_it(
        events in proptest::collection::vec((any::<u16>(), any::<String>()), 1..8),
        cut: prop::sample::Index,
    ) {
        let text: String = events.iter().map(v3_line).collect();
        let bytes = format!("{V3}\n{text}").into_bytes();
        let whole = read(&bytes).unwrap();
        prop_assert_eq!(&whole.warnings, &vec![]);
        let cut = V3.len() + 1 + cut.index(text.len() + 1);
        let part = read(&bytes[..cut]).unwrap();
        let complete = bytes[V3.len() + 1..cut].iter().filter(|&&byte| byte == b'\n').count();
        prop_assert!(part.events.len() >= complete);
        prop_assert!(is_prefix_of(&part.events, &whole.events));
        let at_line_end = bytes[cut - 1] == b'\n' || bytes.get(cut).is_none_or(|&next| next == b'\n');
        prop_assert_eq!(part.warnings.is_empty(), at_line_end);
        if !at_line_end {
            prop_assert_eq!(part.warnings[0].damage, Damage::Cut);
        }
    }

    /// The same for compressed frames, each of which is flushed.
    #[test]
    fn a_cut_in_frames_loses_nothing_that_was_flushed(
        events in proptest::collection::vec((any::<u16>(), any::<String>()), 1..8),
        cut: prop::sample::Index,
    ) {
        let header = frame(&format!("{V3}\n"));
        let mut encoder = zstd::Encoder::new(header.clone(), 3).unwrap();
        let mut flushed = vec![header.len()];
        for event in &events {
            io::Write::write_all(&mut encoder, v3_line(event).as_bytes()).unwrap();
            io::Write::flush(&mut encoder).unwrap();
            flushed.push(encoder.get_ref().len());
        }
        let bytes = encoder.finish().unwrap();
        let whole = read(&bytes).unwrap();
        prop_assert_eq!(whole.events.len(), events.len());
        let cut = header.len() + cut.index(bytes.len() - header.len());
        let part = read(&bytes[..cut]).unwrap();
        let complete = flushed.iter().filter(|&&end| end <= cut).count() - 1;
        prop_assert!(part.events.len() >= complete);
        prop_assert!(is_prefix_of(&part.events, &whole.events));
        prop_assert_eq!(part.warnings.is_empty(), cut == header.len());
    }

    /// What the recorder writes is read without a warning, and shows what was printed.
    #[test]
    fn what_is_written_is_read(
        pieces in proptest::collection::vec((0..3000u64, any::<bool>(), any::<Vec<u8>>(), any::<bool>()), 0..20),
        end: bool,
    ) {
        use crate::event::Stream;
        use crate::write::{Ending, Newlines, Presses, Settings, Writer};
        use std::time::Duration;

        let header = Header {
            version: 3,
            cols: 80,
            rows: 24,
            ..Header::default()
        };
        let mut writer =
            Writer::new(Vec::new(), &header, Newlines::Kept, Settings::default(), Presses::new(1)).unwrap();
        let mut at = Duration::ZERO;
        let mut shown = String::new();
        for (millis, stderr, bytes, flush) in &pieces {
            at += Duration::from_millis(*millis);
            // Text of its own, so that no sequence goes on in the next piece.
            let text = String::from_utf8_lossy(bytes).into_owned();
            let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
            writer.output(at, stream, text.as_bytes()).unwrap();
            shown.push_str(&text);
            if *flush {
                writer.flush(at).unwrap();
            }
        }
        let ending = Ending {
            exit: end.then_some(7),
            ..Ending::default()
        };
        let (bytes, _) = writer.end(at, &ending).unwrap();
        let all = read(&bytes).unwrap();
        prop_assert_eq!(&all.warnings, &vec![]);
        prop_assert_eq!(text_of(&all.events), shown);
        prop_assert!(all.events.iter().all(|event| event.time <= at.as_micros() as u64 + 1000));
    }
}
