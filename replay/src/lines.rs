//! The text of a recording's screens, kept beside it: `ID.txt.idx`, from which a thousand
//! recordings are searched in a second.
//!
//! It is derived like the player's index, sealed by the same [`Keeper`], and good for exactly
//! the file that it was made of: every block of the file is hashed before it is believed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use recording::read::{Item, OpenError, Reader, Warning};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::keeper::{Keeper, Kind};
use crate::pages::{self, Blocks, Hash};
use crate::sidecar::{In, Out, WARNINGS_MAX};
use crate::transcript::{Line, Transcript};

/// The lines of a recording.
pub(crate) struct Lines {
    /// All of them, each with a line feed behind it.
    text: String,
    /// Of each: the time since the line before, how it was shown, its length.
    table: Vec<u8>,
    pub(crate) warnings: Vec<Warning>,
}

/// The version of the format: a change of what stands in it, or of what is made of it.
const VERSION: u64 = 2;

/// Text of this many bytes is kept at most. What is longer is read each time.
const TEXT_MAX: usize = 128 << 20;

/// Collects lines, as long as there are not too many to keep.
struct Collector {
    text: String,
    table: Out,
    time: u64,
    full: bool,
}

impl Collector {
    fn add(&mut self, line: &Line) {
        if self.full || self.text.len() + line.text.len() > TEXT_MAX {
            self.full = true;
            return;
        }
        // The lines of one screen come together, the last one first: times may go backwards.
        let since = line.time.wrapping_sub(self.time).cast_signed();
        self.table
            .number((since << 1 ^ since >> 63).cast_unsigned());
        self.table
            .number((line.text.len() as u64) << 1 | u64::from(line.full_screen));
        self.time = line.time;
        self.text.push_str(&line.text);
        self.text.push('\n');
    }
}

/// Hashes what is read.
struct Hashing<R> {
    input: R,
    blocks: Blocks,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.blocks.push(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

/// What looking through a recording's lines took.
pub(crate) struct Looked {
    pub(crate) warnings: Vec<Warning>,
}

/// Gives the lines of a file in which the pattern may be, or all where there is none, to
/// `each`, which says whether to go on. What was kept is used; otherwise it is kept now.
pub(crate) fn look(
    path: &Path,
    keeper: &Keeper,
    pattern: Option<&Pattern>,
    each: &mut dyn FnMut(&Line) -> bool,
) -> Result<Looked, OpenError> {
    let mut file = File::open(path).map_err(|source| OpenError::Io { source })?;
    let is_file = file.metadata().is_ok_and(|about| about.is_file());
    if is_file
        && let Some(kept) = keeper.load(path, Kind::Text)
        && let Some(lines) = Lines::read(&kept, &file)
    {
        lines.look(pattern, each);
        return Ok(Looked {
            warnings: lines.warnings,
        });
    }
    let hashing = Hashing {
        input: &mut file,
        blocks: Blocks::default(),
    };
    let mut reader = Reader::open(hashing)?;
    let mut collector = Collector {
        text: String::new(),
        table: Out::default(),
        time: 0,
        full: !is_file,
    };
    let mut goes_on = true;
    let warnings = read(&mut reader, &mut |line| {
        collector.add(line);
        goes_on = goes_on && each(line);
        goes_on || !collector.full
    });
    let Hashing { blocks, .. } = reader.into_input();
    if !collector.full && warnings.len() <= WARNINGS_MAX {
        let lines = Lines {
            text: collector.text,
            table: collector.table.0,
            warnings,
        };
        keeper.save(path, Kind::Text, &lines.write(&blocks));
        return Ok(Looked {
            warnings: lines.warnings,
        });
    }
    Ok(Looked { warnings })
}

/// Gives the lines of a recording, one after another, while they are wanted.
pub(crate) fn read<R: Read>(
    reader: &mut Reader<R>,
    each: &mut dyn FnMut(&Line) -> bool,
) -> Vec<Warning> {
    let mut transcript = Transcript::new(reader.header());
    let mut warnings = Vec::new();
    for item in reader {
        match item {
            Item::Event(event) => {
                for line in transcript.event(&event) {
                    if !each(&line) {
                        return warnings;
                    }
                }
            }
            Item::Warning(warning) => warnings.push(warning),
        }
    }
    for line in transcript.finish() {
        if !each(&line) {
            break;
        }
    }
    warnings
}

/// What is looked for in lines.
pub(crate) struct Pattern {
    line: Regex,
    /// The same for many lines at once: it finds at least a part of every line in which `line`
    /// finds something.
    many: Option<Regex>,
}

impl Pattern {
    /// From the pattern for one line, and how to make it with other flags.
    pub(crate) fn new(line: Regex, text: &str, many: impl FnOnce() -> Option<Regex>) -> Self {
        // What looks at the beginning or end of all text, or turns modes on and off, means
        // something else between other lines.
        let alone = ["\\A", "\\z", "(?"].iter().any(|part| text.contains(part));
        let many = if alone { None } else { many() };
        Self { line, many }
    }

    /// Plain text, in any case when there is no capital letter in it.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let mut escaped = String::new();
        for char in text.chars() {
            if char.is_ascii_punctuation() {
                escaped.push('\\');
            }
            escaped.push(char);
        }
        let any_case = !text.chars().any(char::is_uppercase);
        let config = syntax::Config::new().case_insensitive(any_case);
        let regex = Regex::builder().syntax(config).build(&escaped).ok()?;
        // Text has no beginning and no end, so it is the same between other lines.
        let many = Some(regex.clone());
        Some(Self { line: regex, many })
    }

    pub(crate) fn is_in(&self, line: &str) -> bool {
        self.line.is_match(line)
    }
}

impl Lines {
    fn write(&self, blocks: &Blocks) -> Vec<u8> {
        let mut out = Out::default();
        out.number(VERSION);
        out.number(blocks.length());
        out.hashes(&blocks.hashes());
        out.warnings(&self.warnings);
        for part in [self.table.as_slice(), self.text.as_bytes()] {
            out.number(part.len() as u64);
            out.bytes(&zstd::bulk::compress(part, 1).unwrap_or_default());
        }
        out.0
    }

    /// What was kept, if it is of this file as it is now.
    fn read(kept: &[u8], file: &File) -> Option<Self> {
        let mut input = In(kept);
        if input.number()? != VERSION {
            return None;
        }
        let length = input.number()?;
        let hashes: Vec<Hash> = input.list(In::array)?;
        let size = file.metadata().ok()?.len();
        if size != length || !pages::agree(file, &hashes, length) {
            return None;
        }
        let warnings = input.list(In::warning)?;
        let mut part = || {
            let length = usize::try_from(input.number()?).ok()?;
            let packed = input.bytes()?;
            let bounded = length <= 2 * TEXT_MAX;
            let part = bounded.then(|| zstd::bulk::decompress(packed, length))?;
            part.ok().filter(|part| part.len() == length)
        };
        let table = part()?;
        let text = String::from_utf8(part()?).ok()?;
        Some(Self {
            text,
            table,
            warnings,
        })
    }

    fn look(&self, pattern: Option<&Pattern>, each: &mut dyn FnMut(&Line) -> bool) {
        let mut walk = Walk {
            table: In(&self.table),
            text: &self.text,
            at: 0,
            time: 0,
        };
        let many = pattern.and_then(|pattern| pattern.many.as_ref());
        loop {
            // The next line of which a part is found; each before it is passed over.
            let from = match many {
                None => walk.at,
                Some(many) => match many.find(self.text.get(walk.at..).unwrap_or_default()) {
                    None => return,
                    Some(found) => walk.at + found.start(),
                },
            };
            let Some(line) = walk.line_at(from) else {
                return;
            };
            let wanted = pattern.is_none_or(|pattern| pattern.is_in(line.0));
            if wanted && !each(&line.into_line()) {
                return;
            }
        }
    }
}

/// Goes from line to line.
struct Walk<'a> {
    table: In<'a>,
    text: &'a str,
    at: usize,
    time: u64,
}

struct Found<'a>(&'a str, u64, bool);

impl Found<'_> {
    fn into_line(self) -> Line {
        Line {
            time: self.1,
            full_screen: self.2,
            text: self.0.to_owned(),
        }
    }
}

impl<'a> Walk<'a> {
    /// The line in which a byte stands, which is not before the one that is next.
    fn line_at(&mut self, byte: usize) -> Option<Found<'a>> {
        loop {
            let since = self.table.number()?;
            let about = self.table.number()?;
            let since = (since >> 1).cast_signed() ^ -(since & 1).cast_signed();
            self.time = self.time.wrapping_add(since.cast_unsigned());
            let length = usize::try_from(about >> 1).ok()?;
            let end = self.at.checked_add(length)?;
            let line = self.text.get(self.at..end)?;
            self.at = end + 1;
            if byte <= end {
                return Some(Found(line, self.time, about & 1 == 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let build = |many| {
            let config = syntax::Config::new().multi_line(many);
            Regex::builder()
                .syntax(config)
                .build(text)
                .map_err(Box::new)
        };
        Pattern::new(build(false).unwrap(), text, || build(true).ok())
    }

    fn found(path: &Path, keeper: &Keeper, pattern: Option<&Pattern>) -> Vec<Line> {
        let mut found = Vec::new();
        let looked = look(path, keeper, pattern, &mut |line| {
            if pattern.is_none_or(|pattern| pattern.is_in(&line.text)) {
                found.push(line.clone());
            }
            true
        });
        assert_eq!(looked.unwrap().warnings, []);
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What is found in the text that was kept is what is found in the recording.
        #[test]
        fn kept_text_is_searched_like_the_recording(
            events in proptest::collection::vec((0..3000u64, crate::emulator::tests::wild()), 1..20),
            size in (2..60u16, 1..12u16),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.cast");
            let mut text = format!(
                "{{\"version\":3,\"term\":{{\"cols\":{},\"rows\":{}}}}}\n", size.0, size.1
            );
            for (millis, output) in &events {
                let output = serde_json::to_string(output).unwrap();
                text.push_str(&format!("[{}.{:03},\"o\",{output}]\n", millis / 1000, millis % 1000));
            }
            fs::write(&path, &text).unwrap();
            let kept = Keeper::in_folder(&folder.path().join("kept")).unwrap();
            let all = found(&path, &kept, None);
            prop_assert_eq!(&found(&path, &kept, None), &all);
            let patterns = ["a", "^.?$", "[a-m]+ ", "\\s", "[^a]b", "z$", "^", "\\A[a-c]", "(?s)a.b", "x*", "b\\b", "(e|\\W)\\W"];
            for (number, text) in patterns.into_iter().enumerate() {
                let pattern = pattern(text);
                let fresh = Keeper::in_folder(&folder.path().join(format!("fresh{number}"))).unwrap();
                let expected = found(&path, &fresh, Some(&pattern));
                prop_assert_eq!(found(&path, &kept, Some(&pattern)), expected, "{}", text);
            }
            // A file that is another now is read again.
            text.push_str("[1.0,\"o\",\"\\u0018\\u001bcme\"]\n");
            fs::write(&path, &text).unwrap();
            prop_assert!(found(&path, &kept, None).iter().any(|line| line.text == "me"));
        }
    }
}
