//! The writer: exact bytes whatever the cuts, bounded lines, files that can be repaired anywhere.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::io::Read;
use std::time::Duration;

use proptest::prelude::*;
use recording::event::{Header, Stream};
use recording::raw::{Rebuild, Sums};
use recording::repair::Survey;
use recording::sum::Total;
use recording::write::{Ending, Newlines, Presses, Settings, Writer};
use serde::Deserialize;
use serde_json::Value;

/// One thing that happens: output, or time that passes.
#[derive(Clone, Debug)]
enum Step {
    Print(Stream, Vec<u8>),
    Wait(u64),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        any::<String>().prop_map(String::into_bytes),
        "[a-z\"\\\\\r\n\t é€😀\u{fffd}]{0,80}".prop_map(String::into_bytes),
        // Cut in the middle of a character.
        ("[é€😀]{1,8}", 0..32usize).prop_map(|(text, cut)| {
            let bytes = text.into_bytes();
            bytes.get(..cut.min(bytes.len())).unwrap().to_vec()
        }),
        Just(vec![0xe9; 40]),
        Just(b"line\n".repeat(400)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stream = prop_oneof![4 => Just(Stream::Stdout), 1 => Just(Stream::Stderr)];
    let step = prop_oneof![
        6 => (stream, bytes()).prop_map(|(stream, bytes)| Step::Print(stream, bytes)),
        2 => (0..3_000_000u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..30)
}

fn small() -> Settings {
    Settings {
        frame_text: 4096,
        flush_text: 700,
        event_text: 500,
        ..Settings::default()
    }
}

fn header() -> Header {
    Header {
        version: 3,
        cols: 80,
        rows: 24,
        ..Header::default()
    }
}

/// Writes the steps; gives the file, the time at the end, and where the last frame began.
fn record(steps: &[Step], newlines: Newlines, settings: Settings) -> (Vec<u8>, Duration) {
    let presses = Presses::new(1);
    let mut writer = Writer::new(Vec::new(), &header(), newlines, settings, presses).unwrap();
    let mut now = Duration::ZERO;
    for step in steps {
        match step {
            Step::Print(stream, bytes) => writer.output(now, *stream, bytes).unwrap(),
            Step::Wait(micros) => {
                now += Duration::from_micros(*micros);
                if writer.due().is_some_and(|due| due <= now) {
                    writer.tick(now).unwrap();
                }
            }
        }
    }
    let ending = Ending {
        exit: Some(3),
        marker: Some("done".to_owned()),
        ..Ending::default()
    };
    let (file, totals) = writer.end(now, &ending).unwrap();
    assert_eq!(totals.file_bytes, file.len() as u64);
    (file, now)
}

fn text_of(file: &[u8]) -> String {
    let mut text = String::new();
    zstd::Decoder::new(file)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn events(text: &str) -> impl Iterator<Item = (f64, String, String)> {
    text.lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
}

fn printed(steps: &[Step], wanted: Stream) -> Vec<u8> {
    let prints = steps.iter().filter_map(|step| match step {
        Step::Print(stream, bytes) if *stream == wanted => Some(bytes.as_slice()),
        Step::Print(..) | Step::Wait(_) => None,
    });
    prints.collect::<Vec<_>>().concat()
}

fn newlines() -> impl Strategy<Value = Newlines> {
    prop_oneof![Just(Newlines::Kept), Just(Newlines::Crlf)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_streams_come_back_exactly(steps in steps(), newlines in newlines()) {
        let (file, now) = record(&steps, newlines, small());
        let text = text_of(&file);
        let mut rebuild = Rebuild::new(newlines);
        let mut sums = Sums::default();
        let mut back = [Vec::new(), Vec::new()];
        let mut millis = 0.0;
        let mut account = None;
        for (interval, code, data) in events(&text) {
            millis += interval * 1000.0;
            match code.as_str() {
                "o" => {
                    let (stream, bytes) = rebuild.output(&data).unwrap();
                    back.get_mut(usize::from(stream == Stream::Stderr)).unwrap().extend_from_slice(&bytes);
                    sums.add(stream, &bytes);
                }
                "E" => account = Some(data),
                _ => rebuild.side(&code, &Value::String(data)).unwrap(),
            }
        }
        let [stdout, stderr] = back;
        prop_assert_eq!(stdout, printed(&steps, Stream::Stdout));
        prop_assert_eq!(stderr, printed(&steps, Stream::Stderr));
        prop_assert!(sums.agree_with(&account.unwrap()));
        // The errors of rounding do not add up.
        prop_assert!((millis - now.as_secs_f64() * 1000.0).abs() <= 1.0);
    }

    #[test]
    fn no_line_is_much_longer_than_its_limit(steps in steps(), newlines in newlines()) {
        let (file, _) = record(&steps, newlines, small());
        for line in text_of(&file).lines().skip(1).filter(|line| !line.contains("\"E\"")) {
            prop_assert!(line.len() <= 500 + 64, "{}: {line}", line.len());
        }
    }

    /// Wherever a crash cuts the file, what can be read before the cut is kept, and the file
    /// is whole again.
    #[test]
    fn a_file_cut_anywhere_can_be_repaired(steps in steps(), newlines in newlines(), cut in 0.0..1.0f64) {
        let (file, _) = record(&steps, newlines, small());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the file")]
        let cut = (file.len() as f64 * cut) as usize;
        let mut survey = Survey::of(file.get(..cut).unwrap()).unwrap();
        prop_assume!(survey.header.is_some());
        let mut repaired = file.get(..usize::try_from(survey.whole).unwrap()).unwrap().to_vec();
        repaired.extend(survey.closing_frame(&Ending::default(), 0).unwrap());
        let again = Survey::of(repaired.as_slice()).unwrap();
        prop_assert!(!again.torn);
        let ended = again.ended.clone().unwrap();
        for (stream, name) in [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")] {
            let total = again.total(stream);
            prop_assert_eq!(&total, &survey.total(stream));
            prop_assert_eq!(&Total::deserialize(ended.get(name).unwrap()).unwrap(), &total);
            // What is kept is the start of what was printed.
            let all = printed(&steps, stream);
            let mut sums = Sums::default();
            sums.add(stream, all.get(..usize::try_from(total.bytes).unwrap()).unwrap());
            prop_assert_eq!(sums.total(stream), total);
        }
    }

    #[test]
    fn a_file_of_any_bytes_is_surveyed(file: Vec<u8>) {
        let survey = Survey::of(file.as_slice()).unwrap();
        prop_assert!(survey.whole <= file.len() as u64);
    }
}

#[test]
fn what_was_flushed_can_be_read_before_the_end() {
    let mut writer = Writer::new(
        Vec::new(),
        &header(),
        Newlines::Kept,
        Settings::default(),
        Presses::new(1),
    )
    .unwrap();
    writer
        .output(Duration::ZERO, Stream::Stdout, b"secret of \xe9")
        .unwrap();
    assert_eq!(writer.due(), Some(Duration::from_secs(1)));
    writer.tick(Duration::from_secs(1)).unwrap();
    let survey = Survey::of(writer.get_ref().as_slice()).unwrap();
    assert!(survey.torn);
    assert_eq!(survey.total(Stream::Stdout).bytes, 11);
}

/// The text of each frame.
fn frames(mut file: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while !file.is_empty() {
        let len = zstd::zstd_safe::find_frame_compressed_size(file).unwrap();
        let (frame, rest) = file.split_at(len);
        frames.push(text_of(frame));
        file = rest;
    }
    frames
}

/// A flood is in short frames, each compressed at once; what was slow before it, and is after it,
/// in long ones. No line goes through an end of a frame, and every byte comes back.
#[test]
fn a_flood_is_in_frames_of_its_own_length() {
    let settings = Settings {
        frame_text: 64 * 1024,
        flood_text: 16 * 1024,
        flush_text: 4 * 1024,
        event_text: 4 * 1024,
        ..Settings::default()
    };
    let mut writer = Writer::new(
        Vec::new(),
        &header(),
        Newlines::Kept,
        settings.clone(),
        Presses::new(1),
    )
    .unwrap();
    let mut now = Duration::ZERO;
    let mut printed = String::new();
    // So many pieces of a KiB, with so many microseconds between two.
    for (pieces, pause) in [(80, 5_000), (800, 10), (400, 5_000)] {
        for piece in 0..pieces {
            now += Duration::from_micros(pause);
            let text = format!("{:01023}\n", printed.len() + piece);
            writer.output(now, Stream::Stdout, text.as_bytes()).unwrap();
            assert!(writer.waiting() < settings.flood_text + 2 * settings.flush_text);
            printed.push_str(&text);
        }
    }
    let (file, _) = writer.end(now, &Ending::default()).unwrap();
    let frames = frames(&file);
    let is_short = |frame: &String| frame.len() < 2 * settings.flood_text;
    let middle = frames.get(1..frames.len() - 1).unwrap();
    let short: Vec<bool> = middle.iter().map(is_short).collect();
    assert!(short.iter().filter(|short| **short).count() > 20);
    // Long, short, long again: two changes.
    assert_eq!(
        short
            .windows(2)
            .filter(|two| two.first() != two.last())
            .count(),
        2
    );
    assert!(frames.iter().all(|frame| frame.ends_with('\n')));
    let text = text_of(&file);
    let read: String = events(&text)
        .filter(|(_, code, _)| code == "o")
        .map(|(_, _, data)| data)
        .collect();
    assert_eq!(read, printed);
}

#[test]
fn an_idle_session_ends_its_frame() {
    let mut writer = Writer::new(
        Vec::new(),
        &header(),
        Newlines::Kept,
        Settings::default(),
        Presses::new(1),
    )
    .unwrap();
    writer
        .output(Duration::ZERO, Stream::Stdout, b"$ ")
        .unwrap();
    for seconds in 1..=5 {
        writer.tick(Duration::from_secs(seconds)).unwrap();
    }
    assert_eq!(writer.due(), None);
    let survey = Survey::of(writer.get_ref().as_slice()).unwrap();
    assert!(!survey.torn);
}
