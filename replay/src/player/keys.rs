//! Keys, and how they arrive as bytes from a terminal at the other end of a connection.

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Control and a lower-case letter.
    Control(char),
    /// Arrow left; with shift or control held, `far`.
    Left {
        /// With a modifier.
        far: bool,
    },
    /// Arrow right; with shift or control held, `far`.
    Right {
        /// With a modifier.
        far: bool,
    },
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Enter.
    Enter,
    /// Backspace.
    Backspace,
    /// Escape.
    Escape,
}

/// Takes the bytes that a terminal sends apart into keys. What it does not know is dropped.
#[derive(Debug, Default)]
pub struct KeyReader {
    /// The beginning of a key that has not come whole.
    held: Vec<u8>,
}

/// Longest sequence that is waited for; a longer one is dropped.
const SEQUENCE_MAX: usize = 32;

impl KeyReader {
    /// The keys in these bytes. A sequence may be split over calls; an escape that nothing
    /// follows in the same call is the key.
    pub fn keys(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut rest = held.as_slice();
        let mut keys = Vec::new();
        while !rest.is_empty() {
            let (key, length) = match one(rest) {
                Some(one) => one,
                None if rest.len() < SEQUENCE_MAX => {
                    self.held = rest.to_vec();
                    break;
                }
                None => (None, rest.len()),
            };
            keys.extend(key);
            rest = rest.get(length..).unwrap_or_default();
        }
        keys
    }
}

/// The first key and how many bytes it takes; `None` when it is not whole.
fn one(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let first = *bytes.first()?;
    let key = match first {
        0x1b => return escape(bytes),
        b'\r' | b'\n' => Key::Enter,
        0x7f | 0x08 => Key::Backspace,
        0x01..=0x1a => Key::Control((first + 0x60) as char),
        0x20..=0x7e => Key::Char(first as char),
        0x80.. => return character(bytes),
        _ => return Some((None, 1)),
    };
    Some((Some(key), 1))
}

/// A character of more than one byte.
fn character(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let head = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let chunk = head.utf8_chunks().next()?;
    if let Some(char) = chunk.valid().chars().next() {
        let key = (!char.is_control()).then_some(Key::Char(char));
        return Some((key, char.len_utf8()));
    }
    let whole =
        bytes.len() >= 4 || std::str::from_utf8(head).is_err_and(|e| e.error_len().is_some());
    whole.then_some((None, chunk.invalid().len().max(1)))
}

/// `ESC`, `ESC [ … letter`, `ESC [ … ~` and `ESC O letter`.
fn escape(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    match bytes.get(1) {
        None | Some(0x1b) => Some((Some(Key::Escape), 1)),
        Some(b'O') => Some((named(*bytes.get(2)?, &[]), 3)),
        Some(b'[') => {
            let rest = bytes.get(2..)?;
            let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
            let parameters = rest.get(..end)?;
            Some((named(*rest.get(end)?, parameters), end + 3))
        }
        // Alt and a key: the key is not one of ours.
        Some(_) => Some((None, 2)),
    }
}

fn named(letter: u8, parameters: &[u8]) -> Option<Key> {
    let far = parameters.contains(&b';');
    let key = match letter {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right { far },
        b'D' => Key::Left { far },
        b'H' => Key::Home,
        b'F' => Key::End,
        b'~' => match parameters.split(|&byte| byte == b';').next()? {
            b"1" | b"7" => Key::Home,
            b"4" | b"8" => Key::End,
            b"5" => Key::PageUp,
            b"6" => Key::PageDown,
            _ => return None,
        },
        _ => return None,
    };
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_become_keys() {
        for (bytes, expected) in [
            (&b"q"[..], vec![Key::Char('q')]),
            (b" .", vec![Key::Char(' '), Key::Char('.')]),
            (b"\x03", vec![Key::Control('c')]),
            (b"\x1b", vec![Key::Escape]),
            (b"\x1b\x1b[A", vec![Key::Escape, Key::Up]),
            (
                b"\x1b[D\x1bOC",
                vec![Key::Left { far: false }, Key::Right { far: false }],
            ),
            (
                b"\x1b[1;2C\x1b[1;5D",
                vec![Key::Right { far: true }, Key::Left { far: true }],
            ),
            (
                b"\x1b[5~\x1b[6~\x1b[H\x1b[4~",
                vec![Key::PageUp, Key::PageDown, Key::Home, Key::End],
            ),
            (b"\r\x7f", vec![Key::Enter, Key::Backspace]),
            ("é漢".as_bytes(), vec![Key::Char('é'), Key::Char('漢')]),
            (b"\x1b[99;99;99Rq", vec![Key::Char('q')]),
            (b"\xffq", vec![Key::Char('q')]),
        ] {
            assert_eq!(KeyReader::default().keys(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(pieces: Vec<Vec<u8>>) {
            let mut reader = KeyReader::default();
            for piece in pieces {
                for key in reader.keys(&piece) {
                    if let Key::Char(char) = key {
                        prop_assert!(!char.is_control());
                    }
                }
                prop_assert!(reader.held.len() < SEQUENCE_MAX);
            }
        }
    }
}
