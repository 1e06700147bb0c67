//! Frames that are withheld: what they held is taken out, and all the rest can still be verified.
//!
//! The chain of [seals](crate::seal) binds the *hash* of each frame, not the frame: so a frame can
//! go while its seal stays, and every head of the recording is what it was. In its place stand a
//! skippable frame that names it ([`Withheld`]) and a frame for players, with the changes of size
//! and the end that were in it, a marker, a line to read, and the same time from its first event
//! to its last; then the seal as it was. zstd and every player read the file.
//!
//! What stands for frames says nothing by itself: whoever can write the file could put it there.
//! The [log](crate::log) has a leaf with the [`state`] of the whole file, so that only what the
//! recorder withheld is taken for withheld.

use std::borrow::Cow;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;

use serde_json::json;

use crate::seal::{Frames, Hash, Id, Piece, Seal, Withheld};

/// A frame and where it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its seal.
    pub seal: Seal,
    /// Where it begins, or what stands for it.
    pub start: u64,
    /// Where its seal begins.
    pub end: u64,
    /// It was withheld before; with the hash of what stands for it.
    pub withheld: Option<Hash>,
}

impl Place {
    /// Whether something of the frame happened in this range, in milliseconds since the start of
    /// the session. The header's frame, the first, is of no time.
    pub fn touches(&self, range: &RangeInclusive<u64>) -> bool {
        let measures = &self.seal.measures;
        // Times of events are rounded, those of seals are cut.
        self.seal.number > 0
            && measures.first_ms <= range.end().saturating_add(1)
            && measures.last_ms.saturating_add(1) >= *range.start()
    }
}

/// The frames of a sealed file, in order; what follows the last seal is left out.
///
/// # Errors
///
/// Reading fails, or it is not a file of sealed frames.
pub fn places(reader: impl Read) -> io::Result<Vec<Place>> {
    let strange = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut frames = Frames::new(reader);
    let mut places = Vec::new();
    let (mut start, mut end) = (0, 0);
    let (mut data, mut out) = (None, None);
    while let Some(piece) = frames.next_piece()? {
        match piece {
            Piece::Withheld(withheld) if data.is_none() && out.is_none() => out = Some(withheld),
            Piece::Data(hash) if data.is_none() => {
                data = Some(hash);
                end = frames.offset();
            }
            Piece::Seal(seal) => {
                let hash = data.take().ok_or_else(|| strange("a seal has no frame"))?;
                let withheld = out.take();
                places.push(Place {
                    seal,
                    start,
                    end,
                    withheld: withheld.map(|withheld| place_of(&withheld, hash)),
                });
                start = frames.offset();
            }
            Piece::Proof => break,
            _ => return Err(strange("a frame that no recorder writes")),
        }
    }
    Ok(places)
}

/// Writes a file with more frames withheld: those that `wanted` names. What follows the last seal
/// is not written. Gives all that are withheld then, with what stands for each.
///
/// # Errors
///
/// Reading or writing fails, or a frame cannot be unpacked.
pub fn write(
    mut file: impl Read + Seek,
    places: &[Place],
    wanted: impl Fn(&Place) -> bool,
    output: &mut impl Write,
) -> io::Result<Vec<(u32, Hash)>> {
    let mut withheld = Vec::new();
    for place in places {
        let seal = &place.seal;
        file.seek(SeekFrom::Start(place.start))?;
        let bytes = place.end.saturating_sub(place.start);
        if place.withheld.is_none() && seal.number > 0 && wanted(place) {
            let mut frame = Vec::new();
            (&mut file).take(bytes).read_to_end(&mut frame)?;
            if Hash::of(&frame) != seal.frame {
                return Err(io::Error::other("a frame is not the one that was sealed"));
            }
            let (stand_in, hash) = stand_in(seal, &frame)?;
            output.write_all(&stand_in)?;
            withheld.push((seal.number, hash));
        } else {
            if io::copy(&mut (&mut file).take(bytes), output)? < bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            withheld.extend(place.withheld.map(|hash| (seal.number, hash)));
        }
        output.write_all(&seal.encode())?;
    }
    Ok(withheld)
}

/// What the log says of a file of which these frames are withheld: SHA-256 of `bastion redaction
/// v1`, a line feed, the id, and for each frame its number (4 bytes, little endian) and the hash of
/// what stands for it.
pub fn state(session: &Id, withheld: &[(u32, Hash)]) -> Hash {
    let mut bytes = [DOMAIN, session.as_slice()].concat();
    for (number, hash) in withheld {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&hash.0);
    }
    Hash::of(&bytes)
}

/// The hash of what stands for a frame: of the skippable frame that names it, and of the SHA-256 of
/// the frame for players.
pub(crate) fn place_of(withheld: &Withheld, players: Hash) -> Hash {
    Hash::of(&[withheld.encode().as_slice(), &players.0].concat())
}

/// Numbers as a leaf has them: `1-3,7`.
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let ranges: Vec<String> = ranges.iter().map(text).collect();
    ranges.join(",")
}

/// Whether a number is in [`ranges`].
pub fn is_in(ranges: &str, number: u32) -> bool {
    ranges.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let is_in = |first: u32, last: u32| (first..=last).contains(&number);
        matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if is_in(first, last))
    })
}

/// What stands for a frame, and its hash.
fn stand_in(seal: &Seal, frame: &[u8]) -> io::Result<(Vec<u8>, Hash)> {
    let mut text = Vec::new();
    let unpacked = zstd::stream::Decoder::new(frame)?;
    unpacked.take(LARGEST_FRAME + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FRAME {
        return Err(io::Error::other(
            "a frame is larger than any that is written here",
        ));
    }
    let players = zstd::bulk::compress(for_players(seal, &text).as_bytes(), LEVEL)?;
    let withheld = Withheld {
        session: seal.session,
        number: seal.number,
        bytes: frame.len() as u64,
        frame: seal.frame,
    };
    let hash = place_of(&withheld, Hash::of(&players));
    Ok(([withheld.encode().as_slice(), &players].concat(), hash))
}

/// The text of a frame without what was printed and marked in it.
fn for_players(seal: &Seal, text: &[u8]) -> String {
    let measures = &seal.measures;
    let what = format!(
        "withheld: frame {}, {} bytes, {} to {}",
        seal.number,
        measures.text,
        clock(measures.first_ms),
        clock(measures.last_ms),
    );
    let mut lines = String::new();
    // Milliseconds since the last line that was written.
    let mut waited = 0_u64;
    let mut is_said = false;
    let mut stream = None;
    for line in text.split(|byte| *byte == b'\n') {
        let Ok((interval, code, data)) =
            serde_json::from_slice::<(f64, Cow<'_, str>, Cow<'_, str>)>(line)
        else {
            continue;
        };
        waited = waited.saturating_add(millis(interval));
        if !std::mem::replace(&mut is_said, true) {
            lines.push_str(&event(&mut waited, "m", &what));
            // Of what players show, not a byte was printed.
            lines.push_str(&event(&mut waited, "B", "="));
            let shown = format!("\u{1b}[0m\r\n[{what}]\r\n");
            lines.push_str(&event(&mut waited, "o", &shown));
        }
        match &*code {
            "r" | "x" | "E" => lines.push_str(&event(&mut waited, &code, &data)),
            "S" => stream = Some(data.into_owned()),
            _ => {}
        }
    }
    let about = json!({
        "frame": seal.number,
        "bytes": measures.text,
        "from_ms": measures.first_ms,
        "to_ms": measures.last_ms,
        "sha256": seal.frame,
    });
    lines.push_str(&event(&mut waited, "W", &about.to_string()));
    if let Some(stream) = stream {
        lines.push_str(&event(&mut waited, "S", &stream));
    }
    lines
}

/// A line, after what was waited for it.
fn event(waited: &mut u64, code: &str, data: &str) -> String {
    let after = std::mem::take(waited);
    let (seconds, rest) = (after / 1000, after % 1000);
    let data = serde_json::Value::from(data);
    format!("[{seconds}.{rest:03},\"{code}\",{data}]\n")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number there is"
)]
fn millis(interval: f64) -> u64 {
    (interval * 1000.0).round() as u64
}

/// Hours, minutes, seconds and milliseconds since the start.
fn clock(ms: u64) -> String {
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}.{:03}", seconds % 60, ms % 1000)
}

const DOMAIN: &[u8] = b"bastion redaction v1\n";
/// Frames end at 1 MiB of text, and one line more.
const LARGEST_FRAME: u64 = 16 * 1024 * 1024;
const LEVEL: i32 = 3;
