//! Any output, in any pieces: what is written is the events that JSON says it is, and the exact
//! bytes come back.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use recording::event::{Header, Stream};
use recording::raw::Rebuild;
use recording::read::{Decoder, Item, Limits, Next};
use recording::write::{Ending, Newlines, Presses, Settings, Writer};

fn write(bytes: &[u8], size: usize, newlines: Newlines, settings: Settings) -> Vec<u8> {
    let header = Header {
        version: 3,
        cols: 80,
        rows: 24,
        ..Header::default()
    };
    let mut writer = Writer::new(Vec::new(), &header, newlines, settings, Presses::new(1))
        .expect("memory takes all");
    for (n, piece) in (0..).zip(bytes.chunks(size)) {
        writer
            .output(Duration::from_micros(n * 100), Stream::Stdout, piece)
            .expect("memory takes all");
    }
    let (file, _) = writer
        .end(Duration::from_secs(1), &Ending::default())
        .expect("memory takes all");
    file
}

fn read(file: &[u8], newlines: Newlines) -> Vec<u8> {
    let mut decoder = Decoder::new(Limits::default());
    let mut rebuild = Rebuild::new(newlines);
    let mut back = Vec::new();
    decoder.push(file);
    decoder.finish();
    loop {
        match decoder.next() {
            Next::Item(Item::Event(event)) => {
                if let Some((_, bytes)) = rebuild.event(&event.data).expect("ours") {
                    back.extend_from_slice(&bytes);
                }
            }
            Next::Item(Item::Warning(warning)) => panic!("{warning:?}"),
            Next::Pause | Next::NeedInput => {}
            Next::End => return back,
        }
    }
}

fuzz_target!(|input: (u16, bool, bool, Vec<u8>)| {
    let (size, crlf, small, bytes) = input;
    let newlines = if crlf { Newlines::Crlf } else { Newlines::Kept };
    let settings = if small {
        Settings {
            frame_text: 4096,
            flood_text: 2048,
            flush_text: 700,
            event_text: 500,
            ..Settings::default()
        }
    } else {
        Settings::default()
    };
    let size = usize::from(size) + 1;
    let file = write(&bytes, size, newlines, settings);
    assert_eq!(read(&file, newlines), bytes);
});
