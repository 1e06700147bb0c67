//! Seals: whatever is done to a sealed file is found, and what is found is called by its name.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]
#![expect(clippy::print_stdout, reason = "a figure is said")]

use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use recording::event::{Header, Stream};
use recording::log::Torn;
use recording::redact;
use recording::repair::Survey;
use recording::seal::{Hash, Seal};
use recording::verify::{Known, Level, Walk, judge};
use recording::write::{Ending, Head, Newlines, Open, Presses, Sealing, Settings, Writer};
use serde_json::json;

const SESSION: &[u8; 26] = b"0123456789abcdefghjkmnpqrs";

fn writer(session: &[u8; 26]) -> Writer<Vec<u8>> {
    let ours = json!({ "session": std::str::from_utf8(session).unwrap() });
    let header = Header {
        version: 3,
        cols: 80,
        rows: 24,
        extra: [("bastion".to_owned(), ours)].into(),
        ..Header::default()
    };
    let settings = Settings {
        frame_text: 4096,
        flush_text: 700,
        ..Settings::default()
    };
    let sealing = Sealing {
        session: *session,
        wall_ms: || 1_764_000_000_000,
    };
    let presses = Presses::new(1);
    Writer::sealed(
        Vec::new(),
        &header,
        Newlines::Kept,
        settings,
        presses,
        sealing,
    )
    .unwrap()
}

/// Prints pseudorandom lines at a moment.
fn print(writer: &mut Writer<Vec<u8>>, at: u64, lines: u64) {
    for n in 0..lines {
        let number = (at * 1_000_003 + n).wrapping_mul(6_364_136_223_846_793_005);
        let line = format!("{number:016x}\r\n");
        let at = Duration::from_millis(at * 100);
        writer.output(at, Stream::Stdout, line.as_bytes()).unwrap();
    }
}

/// A recording of some frames, and what a log would know of it.
fn recorded(session: &[u8; 26], seed: u64, rounds: u64) -> (Vec<u8>, Known) {
    let mut writer = writer(session);
    let start = writer.head().unwrap();
    for round in 0..rounds {
        print(&mut writer, seed * 1000 + round * 70, 20);
    }
    let end = Duration::from_millis((seed * 1000 + rounds * 70) * 100);
    let (file, totals) = writer.end(end, &Ending::default()).unwrap();
    let known = Known {
        start: Some(start.head),
        last: Some(start),
        end: totals.head,
        ..Known::default()
    };
    (file, known)
}

fn level(file: &[u8], known: &Known) -> Level {
    judge(
        &Walk::with_opening(file, known.last.as_ref()).unwrap(),
        known,
    )
}

/// The places where frames begin, by their seals.
fn cuts(file: &[u8]) -> Vec<usize> {
    let walk = Walk::of(file).unwrap();
    let ends = walk
        .frames
        .iter()
        .map(|(_, end)| usize::try_from(*end).unwrap());
    std::iter::once(0).chain(ends).collect()
}

#[test]
fn a_whole_recording_is_complete_and_zstd_passes_over_its_seals() {
    let (file, known) = recorded(SESSION, 1, 30);
    assert_eq!(level(&file, &known), Level::Complete);
    let walk = Walk::of(file.as_slice()).unwrap();
    assert!(walk.frames.len() > 3);
    assert_eq!(walk.session.as_ref(), Some(SESSION));
    let text = zstd::decode_all(file.as_slice()).unwrap();
    assert!(text.starts_with(b"{") && text.ends_with(b"]\n"));
    assert_eq!(
        level(&file, &Known::default()).to_string(),
        "unknown: the log does not know this session"
    );
}

/// Each byte of a small recording, changed in one and in all bits.
#[test]
fn every_changed_byte_is_found() {
    let (file, known) = recorded(SESSION, 1, 6);
    for at in 0..file.len() {
        for mask in [1, 0x80, 0xff] {
            let mut changed = file.clone();
            *changed.get_mut(at).unwrap() ^= mask;
            let level = level(&changed, &known);
            assert!(
                matches!(level, Level::Altered { .. } | Level::Truncated { .. }),
                "byte {at}: {level}"
            );
        }
    }
}

#[test]
fn the_altered_frame_is_named() {
    let (file, known) = recorded(SESSION, 1, 30);
    let cuts = cuts(&file);
    for (frame, place) in cuts.windows(2).enumerate() {
        let [from, to] = *place else { panic!("two") };
        // A byte of the compressed text, not of a length.
        let mut changed = file.clone();
        *changed.get_mut(to - Seal::BYTES - 6).unwrap() ^= 1;
        let Level::Altered {
            frame: named,
            offset,
            ..
        } = level(&changed, &known)
        else {
            panic!("frame {frame}");
        };
        assert_eq!((named as usize, offset), (frame, from as u64));
    }
}

#[test]
fn every_cut_is_found() {
    let (file, known) = recorded(SESSION, 1, 12);
    for cut in 0..file.len() {
        let level = level(file.get(..cut).unwrap(), &known);
        assert!(matches!(level, Level::Truncated { .. }), "{cut}: {level}");
    }
}

#[test]
fn frames_that_are_left_out_doubled_swapped_or_foreign_are_found() {
    let (file, known) = recorded(SESSION, 1, 30);
    let (other, _) = recorded(b"1123456789abcdefghjkmnpqrs", 2, 30);
    let frames = |file: &[u8]| -> Vec<Vec<u8>> {
        let cuts = cuts(file);
        let pairs = cuts.windows(2);
        pairs
            .map(|pair| {
                file.get(*pair.first().unwrap()..*pair.last().unwrap())
                    .unwrap()
                    .to_vec()
            })
            .collect()
    };
    let (ours, theirs) = (frames(&file), frames(&other));
    for at in 0..ours.len() {
        let mut without = ours.clone();
        without.remove(at);
        let mut doubled = ours.clone();
        doubled.insert(at, ours.get(at).unwrap().clone());
        let mut foreign = ours.clone();
        *foreign.get_mut(at).unwrap() = theirs.get(at.min(theirs.len() - 1)).unwrap().clone();
        let mut swapped = ours.clone();
        swapped.swap(at, (at + 1) % ours.len());
        for forged in [without, doubled, foreign, swapped] {
            let level = level(&forged.concat(), &known);
            assert!(
                matches!(level, Level::Altered { .. } | Level::Truncated { .. }),
                "{at}: {level}"
            );
        }
    }
    assert!(matches!(
        level(&other, &known),
        Level::Altered { frame: 0, .. }
    ));
}

/// Whoever can write the file can make all its seals anew: the log's head is what tells.
#[test]
fn a_recording_that_was_made_anew_is_found() {
    let (_, known) = recorded(SESSION, 1, 10);
    let (other, _) = recorded(SESSION, 2, 10);
    assert!(matches!(
        level(&other, &known),
        Level::Altered { frame: 0, .. }
    ));
    let (longer, _) = recorded(SESSION, 1, 11);
    assert!(matches!(level(&longer, &known), Level::Altered { .. }));
}

#[test]
fn a_live_recording_is_held_against_its_last_head_within_a_frame() {
    let mut writer = writer(SESSION);
    let start = writer.head().unwrap();
    print(&mut writer, 1, 10);
    writer.flush(Duration::from_secs(1)).unwrap();
    let head = writer.head().unwrap();
    assert!(head.open.is_some());
    let known = |last: Head| Known {
        start: Some(start.head),
        last: Some(last),
        ..Known::default()
    };
    let logged = writer.get_ref().clone();
    assert_eq!(level(&logged, &known(head)), Level::Live);
    print(&mut writer, 20, 300);
    writer.flush(Duration::from_secs(3)).unwrap();
    let file = writer.get_ref().clone();
    assert_eq!(level(&file, &known(head)), Level::Live);
    assert_eq!(
        level(file.get(..file.len() - 1).unwrap(), &known(head)),
        Level::Torn
    );
    // Within what was logged, every byte is fixed though its frame had no seal then.
    let sealed = usize::try_from(head.bytes).unwrap();
    for at in sealed..logged.len() {
        let mut changed = logged.clone();
        *changed.get_mut(at).unwrap() ^= 1;
        let level = level(&changed, &known(head));
        assert!(
            matches!(level, Level::Altered { .. } | Level::Truncated { .. }),
            "{at}: {level}"
        );
    }
    assert!(matches!(
        level(logged.get(..logged.len() - 1).unwrap(), &known(head)),
        Level::Truncated { .. }
    ));
}

/// What a recorder that starts again makes of a file that was cut at `cut`, and what is known then.
fn recovered(file: &[u8], cut: usize, known: &Known) -> (Vec<u8>, Known) {
    let file = file.get(..cut).unwrap();
    let mut survey = Survey::of(file).unwrap();
    let whole = usize::try_from(survey.whole).unwrap();
    let mut repaired = file.get(..whole).unwrap().to_vec();
    let frame = survey.closing_frame(&Ending::default(), 5).unwrap();
    repaired.extend(frame);
    let chain = survey.chain.unwrap();
    let head = Head {
        frames: chain.frames(),
        head: chain.head(),
        bytes: repaired.len() as u64,
        open: None,
    };
    let known = Known {
        end: Some(head),
        torn: Some(Torn::of(file.get(whole..).unwrap())),
        ..known.clone()
    };
    (repaired, known)
}

#[test]
fn what_is_cut_before_a_recovery_is_missed_although_the_end_is_whole() {
    let mut writer = writer(SESSION);
    let start = writer.head().unwrap();
    print(&mut writer, 1, 300);
    print(&mut writer, 2, 10);
    writer.flush(Duration::from_secs(1)).unwrap();
    let head = writer.head().unwrap();
    let logged = usize::try_from(head.bytes + head.open.unwrap().bytes).unwrap();
    let known = Known {
        start: Some(start.head),
        last: Some(head),
        end: None,
        ..Known::default()
    };
    print(&mut writer, 20, 60);
    writer.flush(Duration::from_secs(3)).unwrap();
    let live = writer.get_ref().clone();
    assert_eq!(cuts(&live).len() - 1, head.frames as usize);
    let sealed = usize::try_from(head.bytes).unwrap();
    let edges = [logged - 1, logged, live.len()];
    for cut in (sealed..live.len()).step_by(13).chain(edges) {
        let (file, known) = recovered(&live, cut, &known);
        let expected = if cut < logged {
            Level::Truncated {
                frames: head.frames,
                logged: head.frames + 1,
            }
        } else {
            Level::Complete
        };
        assert_eq!(level(&file, &known), expected, "cut at {cut} of {logged}");
    }
    // The frame that was open has its seal: it has to be the one that was logged.
    print(&mut writer, 40, 400);
    writer.flush(Duration::from_secs(5)).unwrap();
    let longer = writer.get_ref().clone();
    let (file, known) = recovered(&longer, longer.len(), &known);
    assert_eq!(level(&file, &known), Level::Complete);
    let other = Known {
        last: Some(Head {
            open: Some(Open {
                bytes: 1,
                sha256: Hash::of(b"another"),
            }),
            ..head
        }),
        ..known
    };
    assert!(matches!(level(&file, &other), Level::Altered { .. }));
}

#[test]
fn a_file_without_seals_is_unknown() {
    let header = Header {
        version: 3,
        ..Header::default()
    };
    let settings = Settings::default();
    let writer = Writer::new(
        Vec::new(),
        &header,
        Newlines::Kept,
        settings,
        Presses::new(1),
    )
    .unwrap();
    let (file, totals) = writer.end(Duration::ZERO, &Ending::default()).unwrap();
    assert_eq!(totals.head, None);
    assert_eq!(
        level(&file, &Known::default()).to_string(),
        "unknown: it has no seals"
    );
    assert!(Survey::of(file.as_slice()).unwrap().chain.is_none());
}

/// A recording of a thousand frames and nearly a megabyte, made once.
static LARGE: OnceLock<(Vec<u8>, Known)> = OnceLock::new();

proptest! {
    /// Wherever a crash cuts a sealed file, its sealed part stays, and the end that is written
    /// behind it makes it whole with a seal that follows.
    #[test]
    fn a_sealed_file_cut_anywhere_can_be_repaired(rounds in 1..12u64, place in 0.0..1.0f64) {
        let (file, known) = recorded(SESSION, 1, rounds);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the file")]
        let cut = (file.len() as f64 * place) as usize;
        let mut survey = Survey::of(file.get(..cut).unwrap()).unwrap();
        prop_assume!(survey.chain.is_some());
        prop_assert_eq!(survey.altered, None);
        let whole = usize::try_from(survey.whole).unwrap();
        prop_assert!(cuts(&file).contains(&whole));
        let mut repaired = file.get(..whole).unwrap().to_vec();
        repaired.extend(survey.closing_frame(&Ending::default(), 5).unwrap());
        let chain = survey.chain.unwrap();
        let head = Head { frames: chain.frames(), head: chain.head(), bytes: repaired.len() as u64, open: None };
        let recovered = Known { end: Some(head), ..known };
        prop_assert_eq!(level(&repaired, &recovered), Level::Complete);
        let again = Survey::of(repaired.as_slice()).unwrap();
        prop_assert!(!again.torn && again.ended.is_some());
    }

    /// What was changed after it was written is not made whole by a recovery.
    #[test]
    fn a_survey_does_not_take_a_changed_frame(place in 0.0..1.0f64, bit in 0..8u32) {
        let (file, _) = recorded(SESSION, 1, 12);
        let cuts = cuts(&file);
        let end = cuts.get(cuts.len() - 2).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the file")]
        let at = (*end as f64 * place) as usize;
        let mut changed = file;
        *changed.get_mut(at).unwrap() ^= 1 << bit;
        let survey = Survey::of(changed.as_slice()).unwrap();
        prop_assert!(survey.whole <= at as u64 || survey.chain.is_none());
    }

    /// Many edits of a larger recording; `PROPTEST_CASES=10000` is the long form.
    #[test]
    fn random_edits_are_found(kind in 0..4u8, from in 0.0..1.0f64, len in 1..400usize, to in 0.0..1.0f64, byte: u8) {
        let (file, known) = LARGE.get_or_init(|| recorded(SESSION, 1, 4000));
        let place = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the file")]
            let at = (file.len() as f64 * share) as usize;
            at
        };
        let from = place(from);
        let to = place(to);
        let end = (from + len).min(file.len());
        let piece = file.get(from..end).unwrap().to_vec();
        let mut edited = file.clone();
        match kind {
            0 => { edited.drain(from..end); }
            1 => { edited.splice(to..to, piece); }
            2 => { edited.splice(from..end, std::iter::repeat_n(byte, end - from)); }
            _ => {
                let other = (to + len).min(file.len());
                let there = file.get(to..other).unwrap().to_vec();
                let n = piece.len().min(there.len());
                edited.splice(from..from + n, there.iter().take(n).copied());
                if from + n <= to || to + n <= from {
                    edited.splice(to..to + n, piece.iter().take(n).copied());
                }
            }
        }
        prop_assume!(edited != *file);
        let level = level(&edited, known);
        let found = matches!(level, Level::Altered { .. } | Level::Truncated { .. });
        prop_assert!(found, "{}", level);
    }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Ten hours at a shell: typing, listings, logs and long pauses, some 7 MB and 70,000 events in
/// all. The bar is 2 MB, seals and frames that end at each pause included.
#[test]
fn ten_hours_of_interactive_work_are_less_than_two_megabytes() {
    let header = Header {
        version: 3,
        cols: 120,
        rows: 40,
        ..Header::default()
    };
    let sealing = Sealing {
        session: *SESSION,
        wall_ms: || 0,
    };
    let settings = Settings::default();
    let presses = Presses::new(1);
    let mut writer = Writer::sealed(
        Vec::new(),
        &header,
        Newlines::Kept,
        settings,
        presses,
        sealing,
    )
    .unwrap();
    let mut numbers = Numbers(7);
    let (mut now, mut raw, mut events) = (0u64, 0u64, 0u64);
    let mut print = |writer: &mut Writer<Vec<u8>>, now: u64, text: &str| {
        let now = Duration::from_millis(now);
        while let Some(due) = writer.due().filter(|due| *due <= now) {
            writer.tick(due).unwrap();
        }
        writer.output(now, Stream::Stdout, text.as_bytes()).unwrap();
        raw += text.len() as u64;
        events += 1;
    };
    let commands = [
        "ls -l src",
        "git log --stat",
        "cargo test",
        "grep -rn Session .",
        "tail service.log",
    ];
    while now < 36_000_000 {
        print(
            &mut writer,
            now,
            "\x1b[01;32mada@box\x1b[00m:\x1b[01;34m~/orders\x1b[00m$ ",
        );
        let command = commands[usize::try_from(numbers.below(5)).unwrap()];
        for key in command.chars() {
            now += 70 + numbers.below(180);
            print(&mut writer, now, &key.to_string());
        }
        now += 300;
        for _ in 0..20 + numbers.below(130) {
            now += numbers.below(12);
            let (one, two, three) = (
                numbers.below(1 << 32),
                numbers.below(90_000),
                numbers.below(60),
            );
            let line = match command {
                "ls -l src" => format!(
                    "-rw-r--r-- 1 ada ada {two:>7} Nov 2{} 21:{three:02} module_{}.rs\r\n",
                    one % 5,
                    one % 300
                ),
                "git log --stat" => format!(
                    "\x1b[33mcommit {one:08x}{:08x}\x1b[m src/part_{}.rs | {} +-\r\n",
                    one ^ two,
                    two % 90,
                    three
                ),
                "cargo test" => format!(
                    "test session::tests::case_{} ... \x1b[32mok\x1b[m\r\n",
                    two % 4000
                ),
                "grep -rn Session ." => format!(
                    "./src/part_{}.rs:{}:    let session = Session::new({three});\r\n",
                    two % 90,
                    two % 900
                ),
                _ => format!(
                    "2026-11-25T21:{three:02}:{:02}Z info request {one:08x} took {} ms\r\n",
                    one % 60,
                    two % 900
                ),
            };
            print(&mut writer, now, &line);
        }
        // Reading, thinking, lunch.
        now += 3_000 + numbers.below(70_000);
    }
    let (file, totals) = writer
        .end(Duration::from_millis(now), &Ending::default())
        .unwrap();
    let frames = totals.head.unwrap().frames;
    assert!(
        raw > 4_000_000 && events > 60_000,
        "{raw} bytes, {events} events"
    );
    println!(
        "{raw} bytes in {events} events became {} bytes in {frames} frames",
        file.len()
    );
    assert!(file.len() < 2_000_000, "{} bytes", file.len());
}

/// What a recorder makes of a file of which frames are withheld, and what its log knows then.
fn redacted(file: &[u8], known: &Known, wanted: impl Fn(u32) -> bool) -> (Vec<u8>, Known) {
    let places = redact::places(file).unwrap();
    let mut output = Vec::new();
    let source = std::io::Cursor::new(file);
    let wanted = |place: &redact::Place| wanted(place.seal.number);
    let withheld = redact::write(source, &places, wanted, &mut output).unwrap();
    let mut known = known.clone();
    known.redacted.push(redact::state(SESSION, &withheld));
    (output, known)
}

/// Times in milliseconds and lines of the events of a file, and the bytes that they stand for.
fn events(file: &[u8]) -> Vec<(u64, String, Vec<u8>)> {
    let mut rebuild = recording::raw::Rebuild::new(Newlines::Kept);
    let items = recording::read::Reader::open(file).unwrap();
    let mut events = Vec::new();
    for item in items {
        let recording::read::Item::Event(event) = item else {
            panic!("{item:?}");
        };
        let printed = rebuild.event(&event.data).unwrap();
        let bytes = printed.map(|(_, bytes)| bytes.into_owned());
        let what = format!("{:?}", event.data);
        events.push((event.time / 1000, what, bytes.unwrap_or_default()));
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is withheld, and in how many steps: outside of it every event stays, at its time; inside
    /// nothing of what was printed is left; the log's heads still hold, each edit shows, and no other
    /// state of the file is believed.
    #[test]
    fn what_is_withheld_is_gone_and_nothing_else(
        rounds in 2..14u64,
        first in proptest::collection::vec(any::<bool>(), 1..12),
        second in proptest::collection::vec(any::<bool>(), 1..12),
        edit: (prop::sample::Index, u8),
    ) {
        let (file, known) = recorded(SESSION, 1, rounds);
        let is = |list: &[bool], number: u32| list[number as usize % list.len()];
        let (once, after) = redacted(&file, &known, |n| is(&first, n));
        let (twice, after) = redacted(&once, &after, |n| is(&second, n));
        let places = redact::places(file.as_slice()).unwrap();
        let frames = u32::try_from(places.len()).unwrap();
        let gone: Vec<u32> = (1..frames).filter(|n| is(&first, *n) || is(&second, *n)).collect();
        let walk = Walk::of(twice.as_slice()).unwrap();
        prop_assert_eq!(walk.withheld.iter().map(|(n, _)| *n).collect::<Vec<_>>(), gone.clone());
        prop_assert_eq!(walk.written(), file.len() as u64);
        for (file, steps) in [(&file, 0), (&once, 1), (&twice, 2)] {
            prop_assert_eq!(level(file, &after), Level::Complete);
            // The same frames without the leaf are an alteration.
            let untold = Known { redacted: after.redacted[..steps.max(1) - 1].to_vec(), ..after.clone() };
            let is_told = Walk::of(file.as_slice()).unwrap().withheld.is_empty()
                || untold.redacted.contains(&after.redacted[steps - 1]);
            prop_assert_eq!(level(file, &untold) == Level::Complete, is_told);
        }
        // To withhold what is withheld changes nothing.
        let (again, _) = redacted(&twice, &after, |n| gone.contains(&n));
        prop_assert_eq!(&again, &twice);
        // Of each frame by itself: the file up to the end of its seal.
        let ends = |file: &[u8]| cuts(file);
        let (old, new) = (ends(&file), ends(&twice));
        prop_assert_eq!(old.len(), new.len());
        for n in 0..frames as usize {
            let (was, now) = (&file[old[n]..old[n + 1]], &twice[new[n]..new[n + 1]]);
            prop_assert_eq!(was == now, !gone.contains(&u32::try_from(n).unwrap()));
        }
        let (was, now) = (events(&file), events(&twice));
        prop_assert_eq!(was.last().unwrap().0, now.last().unwrap().0);
        // Each event that is left, other than what stands for frames, is one that was, in order.
        let mut rest = was.iter();
        for event in &now {
            let ours = ["withheld: ", "Other { code: \"W\"", "Other { code: \"B\""];
            if !ours.iter().any(|ours| event.1.contains(ours)) {
                prop_assert!(rest.any(|was| was == event), "{:?}", event);
            }
        }
        let lost: usize = was.iter().map(|e| e.2.len()).sum::<usize>() - now.iter().map(|e| e.2.len()).sum::<usize>();
        prop_assert_eq!(lost == 0, gone.is_empty() || was.iter().all(|e| e.2.is_empty()));
        // Any edit afterwards.
        let (at, mask) = (edit.0.index(twice.len()), edit.1.max(1));
        let mut changed = twice.clone();
        changed[at] ^= mask;
        prop_assert_ne!(level(&changed, &after), Level::Complete, "byte {}", at);
    }
}

/// What stands for a frame cannot be edited, moved or made up.
#[test]
fn every_changed_byte_of_what_stands_for_a_frame_is_found() {
    let (file, known) = recorded(SESSION, 1, 16);
    let (file, known) = redacted(&file, &known, |n| n == 1);
    assert_eq!(level(&file, &known), Level::Complete);
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let level = level(&changed, &known);
        assert!(
            matches!(level, Level::Altered { .. } | Level::Truncated { .. }),
            "byte {at}: {level}"
        );
    }
    let Level::Altered { frame, what, .. } = level(
        &file,
        &Known {
            redacted: Vec::new(),
            ..known.clone()
        },
    ) else {
        panic!("nobody said that it is withheld");
    };
    assert_eq!(
        (frame, what),
        (1, "what is withheld is not what the log says")
    );
    // Another frame than the one that was to go, under the same word of the log.
    let (other, _) = redacted(&recorded(SESSION, 1, 16).0, &known, |n| n == 2);
    assert!(matches!(
        level(&other, &known),
        Level::Altered { frame: 2, .. }
    ));
    // A recovery still knows the file, and its sums are of what is there.
    let survey = Survey::of(file.as_slice()).unwrap();
    assert_eq!(
        (survey.altered, survey.torn, survey.withheld),
        (None, false, 1)
    );
    assert!(survey.ended.is_some());
}

/// A recording whose recorder died, with what its log knew of the frame that was open.
#[test]
fn a_recovered_recording_is_withheld_as_any() {
    let mut writer = writer(SESSION);
    let start = writer.head().unwrap();
    print(&mut writer, 1, 600);
    print(&mut writer, 2, 10);
    writer.flush(Duration::from_secs(1)).unwrap();
    let head = writer.head().unwrap();
    assert!(head.open.is_some());
    let known = Known {
        start: Some(start.head),
        last: Some(head),
        ..Known::default()
    };
    print(&mut writer, 40, 400);
    writer.flush(Duration::from_secs(5)).unwrap();
    let longer = writer.get_ref().clone();
    // The frame that was open then has its seal now.
    let (file, known) = recovered(&longer, longer.len(), &known);
    for gone in 1..known.end.unwrap().frames {
        let (file, known) = redacted(&file, &known, |n| n == gone);
        let walk = Walk::of(file.as_slice()).unwrap();
        let last = walk.moved(&head);
        let walk = Walk::with_opening(file.as_slice(), Some(&last)).unwrap();
        assert_eq!(judge(&walk, &known), Level::Complete, "frame {gone}");
    }
}
