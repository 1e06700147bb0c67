//! Any file is read to its end, with warnings, and surveyed for repair.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recording::read::Reader;
use recording::repair::Survey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reader) = Reader::open(bytes) {
        for item in reader {
            drop(item);
        }
    }
    drop(Survey::of(bytes));
});
