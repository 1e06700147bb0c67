//! Lines that name what stands in those below them: sections (`[password]`), blocks of Terraform
//! (`variable "password" {`), keys of YAML (`? password`), and the errors of pydantic.

use crate::name::is_word;
use crate::rules::Hit;
use crate::table;
use crate::value::Key;

use super::Lane;

/// What the lines above have named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    kind: Kind,
    hit: Hit,
    /// Lines since then.
    lines: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `[password]`: every key up to the next section.
    Keys,
    /// `variable "password" {`: its default, up to the brace that closes it.
    Block,
    /// `? password`: what stands behind a colon in the next line.
    Value,
    /// `password`: what pydantic says about it in the next line.
    Error,
}

/// A section of more lines has no end.
const LINES_MAX: u32 = 256;
/// A longer name is none.
const NAME_MAX: usize = 96;

impl Lane {
    /// A line has ended at `to`, which began at `from` and was no row.
    pub(super) fn section_line(&mut self, from: usize, to: usize) {
        let line = self.slice(from, to).trim_ascii_end();
        let opened = self.opens_section(line);
        let line = line.trim_ascii_start();
        let goes_on = |section: &Section| {
            let goes_on = match section.kind {
                Kind::Keys => {
                    matches!(line.first(), None | Some(b'#' | b';'))
                        || line.first() != Some(&b'[')
                            && memchr::memchr2(b'=', b':', line).is_some()
                }
                Kind::Block => line != b"}",
                Kind::Value => line.starts_with(b"#"),
                Kind::Error => false,
            };
            goes_on && section.lines < LINES_MAX
        };
        self.section = opened.or_else(|| {
            let section = self.section.filter(goes_on)?;
            let lines = section.lines + 1;
            Some(Section { lines, ..section })
        });
    }

    fn opens_section(&self, line: &[u8]) -> Option<Section> {
        if line.len() > NAME_MAX {
            return None;
        }
        let text = line.trim_ascii_start();
        let key = text.strip_prefix(b"? ");
        let key = key.map(|key| (super::sql::column(key), Kind::Value));
        let keys = || {
            let name = line.strip_prefix(b"[")?.strip_suffix(b"]")?;
            let inner = name
                .strip_prefix(b"[")
                .and_then(|name| name.strip_suffix(b"]"));
            Some((inner.unwrap_or(name), Kind::Keys))
        };
        let block = || Some((super::sql::column(block_name(line)?), Kind::Block));
        let error = || Some((line, Kind::Error));
        let (name, kind) = key.or_else(keys).or_else(block).or_else(error)?;
        let part = |b: &u8| is_word(*b) || matches!(b, b'_' | b'-' | b'.' | b' ');
        let plain = name.iter().all(part) && table::is_name(name);
        let hit = plain.then(|| self.rules.compiled().field(name))??;
        let lines = 0;
        Some(Section { kind, hit, lines })
    }

    /// The field that a key belongs to which has no protected name itself.
    pub(super) fn section_hit(&self, key: &Key) -> Option<Hit> {
        let name = || self.slice(key.name.0, key.name.1);
        let leads = || {
            self.slice(self.line, key.start)
                .iter()
                .all(|b| matches!(b, b' ' | b'\t'))
        };
        if self.is_far(key.start) {
            return None;
        }
        match self.section {
            Some(section) => match section.kind {
                Kind::Keys => leads().then_some(section.hit),
                Kind::Block => (leads() && is_default(name())).then_some(section.hit),
                Kind::Error => (name() == b"input_value").then_some(section.hit),
                Kind::Value => None,
            },
            // All of it in one line.
            None if is_default(name()) => {
                let before = self.slice(self.line, key.start).trim_ascii();
                let name = block_name(before).filter(|name| name.len() <= NAME_MAX)?;
                self.rules.compiled().field(super::sql::column(name))
            }
            None => None,
        }
    }

    /// The field that the line above says before a colon that its own line begins with, at `at`.
    pub(super) fn section_value(&self, at: usize) -> Option<(Key, Hit)> {
        let section = self.section.filter(|section| section.kind == Kind::Value)?;
        let blank = self.slice(self.line, at).iter().all(|b| *b == b' ');
        let key = Key {
            start: at,
            name: (at, at),
            quote: None,
        };
        (blank && !self.is_far(at)).then_some((key, section.hit))
    }
}

fn is_default(name: &[u8]) -> bool {
    matches!(name, b"default" | b"value")
}

/// The name of a variable of Terraform, or of an output, whose block a line begins.
fn block_name(line: &[u8]) -> Option<&[u8]> {
    let rest = line
        .strip_prefix(b"variable ")
        .or_else(|| line.strip_prefix(b"output "))?;
    Some(rest.strip_suffix(b"{")?.trim_ascii())
}
