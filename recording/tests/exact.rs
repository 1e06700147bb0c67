//! What is written is what was printed: the exact bytes of both streams come back from the file,
//! whatever they are and however they came.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use proptest::prelude::*;
use recording::event::{EventData, Header, Stream};
use recording::raw::{Rebuild, newlines};
use recording::read::Reader;
use recording::write::{Ending, Newlines, Presses, Settings, Writer};

/// Output in pieces: on which stream, what, and how many milliseconds after the piece before.
type Piece = (bool, Vec<u8>, u16);

fn header() -> Header {
    Header {
        version: 3,
        cols: 80,
        rows: 24,
        ..Header::default()
    }
}

fn stream(stderr: bool) -> Stream {
    if stderr {
        Stream::Stderr
    } else {
        Stream::Stdout
    }
}

fn written(pieces: &[Piece], newlines: Newlines, ended: bool) -> Vec<u8> {
    let settings = Settings {
        frame_text: 2000,
        flush_text: 500,
        event_text: 300,
        ..Settings::default()
    };
    let mut writer =
        Writer::new(Vec::new(), &header(), newlines, settings, Presses::new(1)).unwrap();
    let mut at = Duration::ZERO;
    for (stderr, bytes, pause) in pieces {
        at += Duration::from_millis((*pause).into());
        writer.tick(at).unwrap();
        writer.output(at, stream(*stderr), bytes).unwrap();
    }
    if !ended {
        writer.flush(at).unwrap();
        return writer.get_ref().clone();
    }
    let ending = Ending {
        exit: Some(3),
        ..Ending::default()
    };
    writer.end(at, &ending).unwrap().0
}

/// Both streams as the file gives them back, with the warnings and the exit status.
fn rebuilt(file: &[u8]) -> (Vec<u8>, Vec<u8>, usize, Option<i32>) {
    let mut reader = Reader::open(file).unwrap();
    let mut rebuild = Rebuild::new(newlines(reader.header()));
    let (mut out, mut err, mut warnings, mut exit) = (Vec::new(), Vec::new(), 0, None);
    for item in &mut reader {
        if item.warning().is_some() {
            warnings += 1;
        }
        let Some(event) = item.event() else { continue };
        if let EventData::Exit(status) = event.data {
            exit = Some(status);
        }
        if let EventData::Output(text) = &event.data {
            assert!(text.len() <= 4 * 1024, "an event of {} bytes", text.len());
        }
        match rebuild.event(&event.data).unwrap() {
            Some((Stream::Stdout, bytes)) => out.extend_from_slice(&bytes),
            Some((Stream::Stderr, bytes)) => err.extend_from_slice(&bytes),
            None => {}
        }
    }
    (out, err, warnings, exit)
}

fn of(pieces: &[Piece], stderr: bool) -> Vec<u8> {
    let theirs = pieces.iter().filter(|(is, ..)| *is == stderr);
    theirs.flat_map(|(_, bytes, _)| bytes.clone()).collect()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[a-zä€😀\r\n\u{fffd}\u{1b}\"\\\\]{0,80}".prop_map(String::into_bytes),
        proptest::collection::vec(
            prop_oneof![
                Just(0xe2_u8),
                Just(0x82),
                Just(0xac),
                Just(b'\n'),
                Just(0xf0),
                Just(0x9f)
            ],
            0..40
        ),
    ]
}

proptest! {
    /// Every byte of each stream, in order, for any bytes in any pieces at any times.
    #[test]
    fn every_byte_comes_back(
        pieces in proptest::collection::vec((any::<bool>(), bytes(), 0..3000_u16), 0..12),
        crlf: bool,
    ) {
        let newlines = if crlf { Newlines::Crlf } else { Newlines::Kept };
        let (out, err, warnings, exit) = rebuilt(&written(&pieces, newlines, true));
        prop_assert_eq!(out, of(&pieces, false));
        prop_assert_eq!(err, of(&pieces, true));
        prop_assert_eq!(warnings, 0);
        prop_assert_eq!(exit, Some(3));
    }

    /// A file that is cut anywhere gives back a beginning of what was printed.
    #[test]
    fn a_cut_file_gives_back_a_beginning(
        pieces in proptest::collection::vec((Just(false), "[ -~\n]{0,300}".prop_map(String::into_bytes), 0..3000_u16), 1..8),
        part in 0.0..1.0_f64,
    ) {
        let whole = written(&pieces, Newlines::Kept, true);
        // The header's frame is whole: without it there is no recording.
        let least = written(&[], Newlines::Kept, false).len();
        let at = least + ((whole.len() - least) as f64 * part) as usize;
        let (out, ..) = rebuilt(&whole[..at]);
        prop_assert!(of(&pieces, false).starts_with(&out));
    }
}
