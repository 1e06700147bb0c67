//! How answers look: tables, times, and text that is safe for a terminal.

use std::fmt;
use std::io;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// `text` with everything escaped but printable ASCII and the letters and digits of other
/// scripts, so that no control, direction or combining character reaches a terminal.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric()) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// A command so that two different ones never look the same: as it is where it is printable ASCII,
/// else as bash reads it, `$'…'`, with `\xHH` for a byte, `\uHHHH` and `\UHHHHHHHH` for a character
/// that is not ASCII. Whoever decides reads all of it, and no control or lookalike in between.
pub(crate) fn exact(command: &[u8]) -> String {
    let plain = command.iter().all(|byte| matches!(byte, b' '..=b'~'));
    // One that begins like the other form would be read as that.
    if plain && !command.starts_with(b"$'") {
        return String::from_utf8_lossy(command).into_owned();
    }
    let mut out = String::with_capacity(command.len() + 3);
    out.push_str("$'");
    for chunk in command.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '\'' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                ' '..='~' => out.push(c),
                c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('\'');
    out
}

/// The command that [`exact`] shows so; none where it shows none so.
pub(super) fn meant(shown: &str) -> Option<Vec<u8>> {
    let Some(inner) = shown.strip_prefix("$'") else {
        return Some(shown.as_bytes().to_vec());
    };
    let (mut out, mut chars) = (Vec::new(), inner.strip_suffix('\'')?.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        let escaped = chars.next()?;
        let mut code = |digits: usize| {
            let hex: String = chars.by_ref().take(digits).collect();
            u32::from_str_radix(&hex, 16).ok()
        };
        match escaped {
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'x' => out.push(u8::try_from(code(2)?).ok()?),
            'u' => out.extend(char::from_u32(code(4)?)?.to_string().bytes()),
            'U' => out.extend(char::from_u32(code(8)?)?.to_string().bytes()),
            c => out.push(u8::try_from(c).ok()?),
        }
    }
    Some(out)
}

/// A time to the second, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A span of time in its largest unit.
pub(super) fn age(age: jiff::SignedDuration) -> String {
    let seconds = age.as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes of a target, made safe line by line, however they were cut.
pub(super) struct SafeLines {
    prefix: &'static str,
    line: Vec<u8>,
}

impl SafeLines {
    /// Lines that begin with `prefix`.
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            line: Vec::new(),
        }
    }

    /// Adds the lines that are whole to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LINE_MAX {
                self.end(out);
            }
        }
    }

    /// No more comes.
    pub(super) fn end(&mut self, out: &mut String) {
        if self.line.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&self.line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        out.push_str(self.prefix);
        for (n, cell) in line.split('\t').enumerate() {
            if n > 0 {
                out.push_str("    ");
            }
            out.push_str(&safe(cell));
        }
        out.push('\n');
        self.line.clear();
    }
}

/// A longer line is cut.
const LINE_MAX: usize = 64 * 1024;

/// At most `max` characters, with a mark where some are left out.
pub(super) fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A table with as much room for each column as it needs.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned)],
        }
    }

    /// Adds a row; the cells are safe already.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let cells: Vec<_> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// JSON in which everything outside printable ASCII is escaped: C1 controls and marks that turn
/// the direction of writing are valid JSON, and would reach a terminal.
pub(super) fn ascii(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii));
    written.expect("what is answered has names as keys, and goes into memory");
    String::from_utf8(bytes).expect("it is ASCII")
}

/// Writes JSON as [`ascii`] says.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
        if fragment.as_bytes().iter().all(is_plain) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            match u8::try_from(c) {
                Ok(byte) if is_plain(&byte) => writer.write_all(&[byte])?,
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["wide cell".into(), "x".into()]);
        assert_eq!(table.to_string(), "A          LONG\nwide cell  x\n");
    }

    #[test]
    fn commands_are_shown_exactly() {
        for (command, shown) in [
            (
                &b"printf 'a\\n' | grep \"x\""[..],
                r#"printf 'a\n' | grep "x""#,
            ),
            (b"cat \xff\xc3(", r"$'cat \xff\xc3('"),
            (b"a\nb\t\x1b[2J'\\", r"$'a\nb\t\x1b[2J\'\\'"),
            (
                "r\u{43c} \u{1f600}\u{202e}".as_bytes(),
                r"$'r\u043c \U0001f600\u202e'",
            ),
            (b"$'a'", r"$'$\'a\''"),
            (b"", ""),
        ] {
            assert_eq!(exact(command), shown);
        }
    }

    proptest! {
        /// It says the same as other JSON, in characters that do nothing to a terminal.
        #[test]
        fn json_is_plain_ascii(text: String, c: char) {
            let text = format!("{text}{c}\u{7f}\u{9b}\u{202e}\"\\");
            let value = serde_json::json!({ &text: [&text, null, 1] });
            let shown = ascii(&value);
            prop_assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(value));
        }

        /// Whoever reads a command knows its bytes: no two look the same.
        #[test]
        fn a_command_can_be_read_back(command: Vec<u8>, text: String) {
            for command in [command.as_slice(), text.as_bytes(), &[b"$'", command.as_slice()].concat()] {
                let shown = exact(command);
                prop_assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')));
                let meant = meant(&shown);
                prop_assert_eq!(meant.as_deref(), Some(command));
            }
        }

        /// However a target's bytes were cut, the same safe lines come out.
        #[test]
        fn lines_are_safe_and_cuts_do_not_show(bytes: Vec<u8>, size in 1..9usize) {
            let shown = |size: usize| {
                let (mut lines, mut out) = (SafeLines::new("> "), String::new());
                for piece in bytes.chunks(size) {
                    lines.push(piece, &mut out);
                }
                lines.end(&mut out);
                out
            };
            let whole = shown(bytes.len().max(1));
            prop_assert!(whole.chars().all(|c| c == '\n' || matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric())));
            prop_assert_eq!(shown(size), whole);
        }

        /// No control, escape, C1 or direction character survives, whatever the text.
        #[test]
        fn safe_text_is_safe(text: String) {
            let shown = safe(&text);
            prop_assert!(shown.chars().all(|c| matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric())));
        }
    }
}
