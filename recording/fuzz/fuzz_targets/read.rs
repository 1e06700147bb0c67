//! Any file, in any pieces, plain or packed: the reader ends, gives the same however it came,
//! and goes on from each of its marks as it would have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use recording::read::{Decoder, Item, Limits, Mark, Next};

fn limits() -> Limits {
    Limits {
        line_max: 4096,
        text_max: 1 << 20,
        ratio_free: 1 << 16,
        ratio_max: 256,
        v1_max: 1 << 16,
        warnings_max: 64,
        ..Limits::default()
    }
}

/// The events, and the marks with the number of events before them.
fn read(
    mut decoder: Decoder,
    bytes: &[u8],
    size: usize,
) -> (Vec<recording::event::Event>, Vec<(Mark, usize)>, bool) {
    let mut pieces = bytes.chunks(size.max(1));
    let (mut events, mut marks) = (Vec::new(), Vec::new());
    let mut clean = true;
    loop {
        if marks.len() < 16 {
            marks.extend(decoder.mark().map(|mark| (mark, events.len())));
        }
        match decoder.next() {
            Next::Item(Item::Event(event)) => events.push(event),
            Next::Item(Item::Warning(warning)) => {
                use recording::read::Damage::{Event, Header, Text, Time, Unfinished};
                clean &= [Event, Header, Text, Time, Unfinished].contains(&warning.damage);
            }
            Next::Pause => {}
            Next::NeedInput => match pieces.next() {
                Some(piece) => decoder.push(piece),
                None => decoder.finish(),
            },
            Next::End => return (events, marks, clean),
        }
    }
}

fn check(bytes: &[u8], size: usize) {
    let (whole, marks, clean) = read(Decoder::new(limits()), bytes, bytes.len());
    let (pieces, _, _) = read(Decoder::new(limits()), bytes, size);
    assert_eq!(whole, pieces);
    let mut header = Decoder::new(limits());
    header.push(bytes);
    header.finish();
    while header.header().is_none() && header.next() != Next::End {}
    let Some(header) = header.header().cloned() else {
        return;
    };
    if clean {
        for (mark, before) in marks {
            let rest = bytes.get(mark.file as usize..).expect("a mark is in the file");
            let decoder = Decoder::resume(limits(), header.clone(), mark);
            let (events, _, _) = read(decoder, rest, size);
            assert_eq!(events, &whole[before..]);
        }
    }
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (size, bytes) = input;
    let size = usize::from(size) + 1;
    check(&bytes, size);
    // The same as frames, so that what is inside of them is reached.
    let frames: Vec<u8> = bytes
        .chunks(size * 8)
        .flat_map(|part| zstd::encode_all(part, 1).expect("memory takes all"))
        .collect();
    check(&frames, size);
    // And behind a header, so that lines of events are.
    let lines = [
        b"{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n".as_slice(),
        &bytes,
    ]
    .concat();
    check(&lines, size);
});
