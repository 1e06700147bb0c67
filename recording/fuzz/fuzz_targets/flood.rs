//! Any text, made of pieces that repeat: zstd's decoder gives it back, and compares its checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use recording::write::Flood;

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<(u8, u8)>)| {
    let (pieces, order) = input;
    let mut text = Vec::new();
    for (piece, times) in order {
        if let Some(piece) = pieces.get(usize::from(piece) % pieces.len().max(1)) {
            text.extend(piece.repeat(usize::from(times)));
        }
        if text.len() > 1 << 20 {
            break;
        }
    }
    let mut frame = Vec::new();
    Flood::default().compress(&text, &mut frame);
    assert_eq!(zstd::decode_all(&frame[..]).expect("a frame"), text);
});
