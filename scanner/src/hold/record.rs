//! Where one record of an output ends and the next begins.
//!
//! A record is a line; but also an element of the outermost JSON array, a JSON value over several
//! lines, a line of CSV with line breaks in its quotes, an item of a YAML list, a block of psql's
//! expanded display, of mysql's `\G`, or of LDIF. It reads what has been masked already, and knows
//! nothing of rules.

/// How many lines a quoted field of CSV may go on for: text that only looks like one is not kept
/// back for longer.
const QUOTED_LINES_MAX: u32 = 64;
/// As much of a line is looked at to tell what it begins.
const HEAD: usize = 16;

/// Follows one stream's records.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Bytes of the record so far.
    size: usize,
    json: Json,
    line: Line,
    escape: Escape,
    block: Block,
    /// Something of a record has been seen that is not whole.
    open: bool,
    /// The record's first part is in a hold that has been sealed.
    rest: bool,
}

/// Where a record ends, seen from a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    No,
    Before,
    After,
}

/// Where in a JSON value we are.
#[derive(Debug, Default)]
struct Json {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The outermost array: its elements are records.
    in_array: bool,
}

/// What is known of the line.
#[derive(Debug, Default)]
struct Line {
    head: [u8; HEAD],
    size: usize,
    /// A field in quotes: the byte before decides whether a quote opens or closes one.
    quoted: bool,
    closing: bool,
    last: u8,
    /// Lines that the quoted field has gone on for.
    quoted_lines: u32,
}

/// Escape sequences show nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    No,
    Begun,
    Csi,
}

/// Records of several lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    No,
    /// Goes on while lines are indented.
    Indented,
    /// Goes on up to an empty line, or to one that begins with this byte.
    Until(u8),
}

impl Record {
    /// A hold was sealed: what is left of a record that began in it belongs to it.
    pub(crate) fn sealed(&mut self) {
        self.rest = self.open;
    }

    /// Whether, with `b`, the rest of a record stands here whose first part is in a sealed hold;
    /// spaces and what only closes are not worth one.
    pub(crate) fn is_rest(&self, b: u8) -> bool {
        self.rest
            && !matches!(
                b,
                b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'}' | b']' | b',' | b';' | b'|'
            )
    }

    /// Bytes of the record that is not whole.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn step(&mut self, b: u8) -> Ends {
        let ends = self.ends(b);
        match ends {
            Ends::No => {
                self.open |= !b.is_ascii_whitespace();
                self.size += 1;
            }
            Ends::Before => {
                self.open = !b.is_ascii_whitespace();
                self.size = 1;
            }
            Ends::After => {
                self.open = false;
                self.size = 0;
            }
        }
        self.rest &= ends == Ends::No;
        ends
    }

    fn ends(&mut self, b: u8) -> Ends {
        match (self.escape, b) {
            (Escape::No, 0x1b) => {
                self.escape = Escape::Begun;
                return Ends::No;
            }
            (Escape::No, _) => {}
            (Escape::Begun, b'[') => {
                self.escape = Escape::Csi;
                return Ends::No;
            }
            (Escape::Csi, 0x20..=0x3f) => return Ends::No,
            (Escape::Begun | Escape::Csi, _) => {
                self.escape = Escape::No;
                return Ends::No;
            }
        }
        if self.json.depth > 0 {
            match self.json.step(b) {
                Some(true) => {
                    self.line.size = 0;
                    return Ends::After;
                }
                Some(false) => return Ends::No,
                // It only looked like JSON.
                None => self.line.size = HEAD,
            }
        }
        let before = self.line.size == 0 && self.breaks_off(b);
        if self.line.blank() && self.json.opens(b) {
            return match (self.json.in_array, before) {
                (true, _) => Ends::After,
                (false, true) => Ends::Before,
                (false, false) => Ends::No,
            };
        }
        if b == b'\n' {
            return self.line_ends();
        }
        self.line.step(b);
        if before { Ends::Before } else { Ends::No }
    }

    /// Whether the block is over with the first byte of this line.
    fn breaks_off(&mut self, b: u8) -> bool {
        let over = match self.block {
            Block::No => false,
            Block::Indented => !matches!(b, b' ' | b'\t' | b'\n' | b'\r'),
            Block::Until(next) => b == next,
        };
        if over {
            self.block = Block::No;
        }
        over
    }

    fn line_ends(&mut self) -> Ends {
        if self.line.stays_quoted() {
            self.line.quoted_lines += 1;
            self.line.last = b'\n';
            return Ends::No;
        }
        let blank = self.line.blank();
        let block = self.line.begins();
        self.line = Line::default();
        match (self.block, block) {
            (Block::No, Block::No) => Ends::After,
            (Block::No, block) => {
                self.block = block;
                Ends::No
            }
            (Block::Until(_), _) if blank => {
                self.block = Block::No;
                Ends::After
            }
            (Block::Indented | Block::Until(_), _) => Ends::No,
        }
    }
}

impl Line {
    /// Whether nothing but spaces stands in it so far.
    fn blank(&self) -> bool {
        self.size < HEAD
            && self
                .head
                .iter()
                .take(self.size)
                .all(|b| b.is_ascii_whitespace() || *b == 0x1e)
    }

    fn step(&mut self, b: u8) {
        if let Some(slot) = self.head.get_mut(self.size) {
            *slot = b;
            self.size += 1;
        }
        if b == b'"' {
            if self.closing {
                // Doubled: a quote inside of the field.
                self.closing = false;
            } else if self.quoted {
                self.closing = true;
            } else if self.size == 1 || matches!(self.last, b',' | b';' | b'\t' | b'|') {
                self.quoted = true;
                self.quoted_lines = 0;
            }
        } else if self.closing {
            self.closing = false;
            // After a quote that closes comes a delimiter; anything else was no field of CSV.
            self.quoted = false;
        }
        self.last = b;
    }

    fn stays_quoted(&self) -> bool {
        self.quoted && !self.closing && self.quoted_lines < QUOTED_LINES_MAX
    }

    /// The block whose first line this is.
    fn begins(&self) -> Block {
        let head = self.head.get(..self.size).unwrap_or_default();
        if head.starts_with(b"-[ RECORD ") {
            Block::Until(b'-')
        } else if head.starts_with(b"* Record ") || head.starts_with(b"****") {
            Block::Until(b'*')
        } else if head.starts_with(b"dn: ") || head.starts_with(b"dn:: ") {
            Block::Until(b'\n')
        } else if head.strip_prefix(b"- ").is_some_and(|key| {
            key.first().is_some_and(u8::is_ascii_alphabetic)
                && (key.contains(&b':') || self.size == HEAD)
        }) {
            Block::Indented
        } else {
            Block::No
        }
    }
}

impl Json {
    /// Whether a value over several lines, or an array whose elements are records, opens here.
    fn opens(&mut self, b: u8) -> bool {
        if !matches!(b, b'{' | b'[') {
            return false;
        }
        *self = Self {
            depth: 1,
            in_array: b == b'[',
            ..Self::default()
        };
        true
    }

    /// Whether a record ends after this byte; `None`: it is no JSON.
    fn step(&mut self, b: u8) -> Option<bool> {
        if self.in_string && b != b'\n' {
            self.in_string = self.escaped || b != b'"';
            self.escaped = !self.escaped && b == b'\\';
            return Some(false);
        }
        match b {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            b',' | b':' | b'+' | b'-' | b'.' | b'0'..=b'9' => {}
            b'\n' if self.in_string => {
                *self = Self::default();
                return None;
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            // true, false, null, NaN, Infinity, exponents.
            b'a' | b'e' | b'f' | b'l' | b'n' | b'r' | b's' | b't' | b'u' => {}
            b'i' | b'y' | b'E' | b'I' | b'N' => {}
            _ => {
                *self = Self::default();
                return None;
            }
        }
        let element = self.in_array && self.depth == 1 && matches!(b, b'}' | b']' | b',');
        Some(element || self.depth == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a text, however it is cut.
    fn records(text: &str) -> Vec<String> {
        let mut record = Record::default();
        let mut all = vec![String::new()];
        let mut add = |b: u8, new: bool| {
            if new {
                all.push(String::new());
            }
            if let Some(last) = all.last_mut() {
                last.push(char::from(b));
            }
        };
        let mut new = false;
        for b in text.bytes() {
            let ends = record.step(b);
            add(b, new || ends == Ends::Before);
            new = ends == Ends::After;
        }
        all
    }

    #[test]
    fn a_record_is_what_leaves_whole() {
        for (text, parts) in [
            ("a\nb\n", &["a\n", "b\n"][..]),
            (
                "{\"a\":1}{\"b\":\n2}\nx\n",
                &["{\"a\":1}", "{\"b\":\n2}", "\n", "x\n"],
            ),
            (
                "[{\"a\":1},\n {\"a\":2}]\n",
                &["[", "{\"a\":1}", ",", "\n {\"a\":2}", "]", "\n"],
            ),
            (
                "\x1b[1m{\n \"a\": \"}\"\n}\n",
                &["\x1b[1m{\n \"a\": \"}\"\n}", "\n"],
            ),
            (
                "[1/3] build\n[2/3] {\n",
                &["[", "1/3] build\n", "[", "2/3] {\n"],
            ),
            ("[INFO] it\nx\n", &["[", "INFO] it\n", "x\n"]),
            ("1,\"a\nb\",2\n3,\"x\"\n", &["1,\"a\nb\",2\n", "3,\"x\"\n"]),
            ("say \"a\nb\n", &["say \"a\n", "b\n"]),
            (
                "- a: 1\n  b: 2\n- a: 3\nend\n",
                &["- a: 1\n  b: 2\n", "- a: 3\n", "end\n"],
            ),
            (
                "-[ RECORD 1 ]\na | 1\n-[ RECORD 2 ]\na | 2\n\nx\n",
                &["-[ RECORD 1 ]\na | 1\n", "-[ RECORD 2 ]\na | 2\n\n", "x\n"],
            ),
            ("dn: x\na: 1\n\ndn: y\n", &["dn: x\na: 1\n\n", "dn: y\n"]),
            ("- just text\nx\n", &["- just text\n", "x\n"]),
        ] {
            assert_eq!(records(text), parts, "{text:?}");
        }
    }

    #[test]
    fn text_that_looks_like_a_quoted_field_is_not_kept_for_ever() {
        let text = format!("\"{}", "a\n".repeat(200));
        assert!(records(&text).len() > 100);
    }
}
