//! Keys and values as they stand in a text: `"key": "value"`, `key=value`, `Key: value`, …
//!
//! Pure functions of a piece of text; what they need to see beyond it they say.

use crate::name::is_word;
use crate::work;

/// How far back a key is looked for.
pub(crate) const KEY_MAX: usize = 160;

/// A name before a `:` or `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Where it begins, with its quote.
    pub(crate) start: usize,
    /// The name itself.
    pub(crate) name: (usize, usize),
    pub(crate) quote: Option<Quote>,
}

/// A quote, and how it is written inside other quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) mark: u8,
    /// Backslashes before it: strings inside of strings.
    pub(crate) slashes: usize,
    /// Written twice: inside a quoted CSV field.
    pub(crate) doubled: bool,
    /// Written three times: TOML, Python.
    pub(crate) tripled: bool,
}

impl Quote {
    /// One that stands by itself, in no other.
    pub(crate) fn plain(mark: u8) -> Self {
        Self {
            mark,
            slashes: 0,
            doubled: false,
            tripled: false,
        }
    }

    /// The bytes that it takes.
    pub(crate) fn len(self) -> usize {
        self.slashes
            + if self.tripled {
                3
            } else {
                1 + usize::from(self.doubled)
            }
    }
}

fn slashes_before(text: &[u8], at: usize, floor: usize) -> usize {
    text.get(floor..at)
        .unwrap_or_default()
        .iter()
        .rev()
        .take_while(|b| **b == b'\\')
        .count()
}

/// The key that ends before `sep`; nothing before `floor` belongs to it.
pub(crate) fn key_before(text: &[u8], sep: usize, floor: usize) -> Option<Key> {
    let floor = floor.max(sep.saturating_sub(KEY_MAX + 64));
    let mut end = sep;
    while end > floor && end + 64 > sep && matches!(text.get(end - 1), Some(b' ' | b'\t')) {
        end -= 1;
    }
    let last = *text.get(end.checked_sub(1).filter(|i| *i >= floor)?)?;
    match last {
        b'"' | b'\'' | b'`' => quoted_key(text, end - 1, floor),
        b']' => bracket_key(text, end - 1, floor),
        // A binary of Erlang: `<<"ssn">> =>`.
        b'>' if text.get(..end).is_some_and(|t| t.ends_with(b"\">>")) && end >= floor + 3 => {
            quoted_key(text, end - 3, floor)
        }
        b'*' if text.get(end.wrapping_sub(2)) == Some(&b'*') => bare_key(text, end - 2, floor),
        _ => bare_key(text, end, floor),
    }
}

fn quoted_key(text: &[u8], close: usize, floor: usize) -> Option<Key> {
    let mark = *text.get(close)?;
    let slashes = slashes_before(text, close, floor);
    let doubled =
        slashes == 0 && mark == b'"' && close > floor && text.get(close - 1) == Some(&mark);
    let name_end = close - slashes - usize::from(doubled);
    let mut at = name_end;
    loop {
        at = at.checked_sub(1).filter(|i| *i >= floor)?;
        let b = *text.get(at)?;
        if b == b'\n' {
            return None;
        }
        if b != mark {
            continue;
        }
        let before = slashes_before(text, at, floor);
        if doubled {
            // One by itself ends the string around it.
            let open = at.checked_sub(1).filter(|i| *i >= floor)?;
            let quote = Quote {
                mark,
                slashes,
                doubled,
                tripled: false,
            };
            return (text.get(open) == Some(&mark)).then_some(Key {
                start: open,
                name: (at + 1, name_end),
                quote: Some(quote),
            });
        } else if before == slashes || slashes == 0 && before.is_multiple_of(2) {
            // Backslashes in pairs stand for themselves.
            let quote = Quote {
                mark,
                slashes,
                doubled,
                tripled: false,
            };
            return Some(Key {
                start: at - slashes,
                name: (at + 1, name_end),
                quote: Some(quote),
            });
        }
    }
}

fn bracket_key(text: &[u8], close: usize, floor: usize) -> Option<Key> {
    let from = text
        .get(floor..close)?
        .iter()
        .rposition(|b| matches!(b, b'[' | b'\n'))?
        + floor;
    // A list with an arrow in one of its strings is no name.
    let listed = |b: &u8| matches!(b, b',' | b']' | b'{' | b'}');
    if text.get(from) != Some(&b'[') || text.get(from..close)?.iter().any(listed) {
        return None;
    }
    let (mut start, mut end) = (from + 1, close);
    while start < end && matches!(text.get(start), Some(b'"' | b'\'' | b':' | b'\\')) {
        start += 1;
    }
    // PHP adds who may see a property: `[ssn:protected]`.
    let colon = text.get(start..end).and_then(|n| memchr::memchr(b':', n));
    end = colon.map_or(end, |size| start + size);
    while start < end && matches!(text.get(end - 1), Some(b'"' | b'\'' | b'\\')) {
        end -= 1;
    }
    Some(Key {
        start: from,
        name: (start, end),
        quote: None,
    })
}

fn bare_key(text: &[u8], end: usize, floor: usize) -> Option<Key> {
    let mut start = end;
    while start > floor {
        let b = *text.get(start - 1)?;
        let part =
            is_word(b) || matches!(b, b'_' | b'-' | b'.' | b'/' | b'$' | b'%' | b'#' | b'\\');
        let space = b == b' '
            && start >= floor + 2
            && text
                .get(start - 2)
                .is_some_and(|b| is_word(*b) || matches!(b, b'_' | b'-' | b'.'))
            && text.get(start).is_some_and(|b| is_word(*b));
        if !part && !space {
            break;
        }
        start -= 1;
    }
    // What a string escapes before a key is not part of it: `\nssn=…`.
    if text.get(start) == Some(&b'\\')
        && text
            .get(start + 1)
            .is_some_and(|b| matches!(b, b'n' | b't' | b'r'))
    {
        start += 2;
    }
    while start < end
        && text
            .get(start)
            .is_some_and(|b| !is_word(*b) && *b != b'\\' && *b != b'%')
    {
        start += 1;
    }
    (start < end).then_some(Key {
        start,
        name: (start, end),
        quote: None,
    })
}

/// The quote that opens at `at`, if one does; `None` inside: more is needed.
pub(crate) fn opening(text: &[u8], at: usize, closed: bool) -> Option<Option<Quote>> {
    let rest = text.get(at..).unwrap_or_default();
    // Each read may look at many of them again.
    let (blocks, _) = rest.as_chunks::<64>();
    let blocks = blocks.iter().take_while(|block| **block == [b'\\'; 64]);
    let blocks = blocks.count() * 64;
    let more = rest.iter().skip(blocks).take_while(|b| **b == b'\\');
    let slashes = blocks + more.count();
    let Some(mark) = rest.get(slashes) else {
        return if closed { Some(None) } else { None };
    };
    if !matches!(mark, b'"' | b'\'' | b'`') {
        return Some(None);
    }
    let plain = Quote {
        mark: *mark,
        slashes,
        doubled: false,
        tripled: false,
    };
    if slashes > 0 || *mark == b'`' {
        return Some(Some(plain));
    }
    match (rest.get(1), rest.get(2)) {
        (Some(b), Some(c)) if b == mark && c == mark => Some(Some(Quote {
            tripled: true,
            ..plain
        })),
        (Some(b), None) if b == mark && !closed => None,
        _ => Some(Some(plain)),
    }
}

/// Where the value between quotes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Here stands the closing quote.
    Quote(usize),
    /// Here the line ends, without a closing quote.
    Line(usize),
    /// Not before this position; nothing before it needs to be looked at again.
    Open(usize),
}

/// Looks for the end of a quoted value whose content begins at `start`, from `from` on.
pub(crate) fn quoted_end(
    text: &[u8],
    start: usize,
    from: usize,
    quote: Quote,
    closed: bool,
) -> End {
    let mut at = from.max(start);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let found = memchr::memchr2(quote.mark, b'\n', rest);
        work::count(found.unwrap_or(rest.len()));
        let Some(found) = found.map(|i| at + i) else {
            // Backslashes at the end belong to what comes.
            let kept = slashes_before(text, text.len(), start);
            return if closed {
                End::Line(text.len())
            } else {
                End::Open(text.len() - kept)
            };
        };
        if text.get(found) == Some(&b'\n') {
            if quote.tripled {
                at = found + 1;
                continue;
            }
            let end = if found > start && text.get(found - 1) == Some(&b'\r') {
                found - 1
            } else {
                found
            };
            return End::Line(end);
        }
        let slashes = slashes_before(text, found, start);
        let next = text.get(found + 1).copied();
        if quote.tripled {
            if slashes.is_multiple_of(2) {
                match (next, text.get(found + 2)) {
                    (Some(b), Some(c)) if b == quote.mark && *c == quote.mark => {
                        return End::Quote(found);
                    }
                    (None, _) | (Some(_), None) if !closed => return End::Open(found),
                    _ => {}
                }
            }
        } else if quote.doubled {
            let deeper = slashes.saturating_sub(quote.slashes);
            match next {
                // Escaped in the string: `""say \""hi\""""`.
                Some(b) if b == quote.mark && !deeper.is_multiple_of(2 * (quote.slashes + 1)) => {
                    at = found + 2;
                    continue;
                }
                None if !closed => return End::Open(found - slashes),
                // Or the field around it ends.
                _ => return End::Quote(found - quote.slashes.min(slashes)),
            }
        } else if slashes < quote.slashes {
            return End::Quote(found - slashes);
        } else if quote.slashes % 2 == 1 && slashes.is_multiple_of(2) {
            // Backslashes in pairs stand for themselves: the outermost string ends.
            match next {
                None if !closed => return End::Open(found - slashes),
                None | Some(b',' | b']' | b'}' | b':' | b'\n' | b'\r') => {
                    return End::Quote(found - slashes);
                }
                Some(_) => {}
            }
        } else if (slashes - quote.slashes).is_multiple_of(2 * (quote.slashes + 1)) {
            if quote.mark == b'\'' && quote.slashes == 0 {
                match next {
                    Some(b'\'') => {
                        at = found + 2;
                        continue;
                    }
                    None if !closed => return End::Open(found),
                    Some(b'\\' | b'"') => match apostrophe(text, found + 1, closed) {
                        None => return End::Open(found),
                        Some(0) => {}
                        Some(size) => {
                            at = found + 1 + size;
                            continue;
                        }
                    },
                    _ => {}
                }
            }
            return End::Quote(found - quote.slashes);
        }
        at = found + 1;
    }
}

/// The size of what stands behind a single quote of a shell that an apostrophe closes, up to where
/// the string goes on: `'it'\''s'`, `'it'"'"'s'`, also with the backslashes of a string that it
/// stands in; 0 if it is none. `None`: more is needed.
fn apostrophe(text: &[u8], at: usize, closed: bool) -> Option<usize> {
    const WAYS: [&[u8]; 4] = [b"\\''", b"\"'\"'", b"\\\\''", b"\\\"'\\\"'"];
    let rest = text.get(at..).unwrap_or_default();
    if let Some(way) = WAYS.iter().find(|way| rest.starts_with(way)) {
        return Some(way.len());
    }
    let begins = |way: &&[u8]| way.starts_with(rest);
    (closed || !WAYS.iter().any(begins)).then_some(0)
}

/// Whether a value says that there is none.
#[inline]
pub(crate) fn is_nothing(value: &[u8]) -> bool {
    // What begins with another byte says something.
    let may_be = matches!(
        value.first(),
        None | Some(b'(' | b'<' | b'[' | b'~' | b'\\' | b'n' | b'N' | b'u' | b'U')
    );
    may_be && (is_word_for_nothing(value) || is_reference(value))
}

/// Whether `kubectl describe` says where a value comes from.
fn is_reference(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b"<set to the key '");
    let inner = inner.and_then(|inner| inner.strip_suffix(b"'>"));
    inner.is_some_and(|inner| {
        let names = |w: &&[u8]| memchr::memmem::find(inner, w).is_some();
        [&b"' in secret '"[..], b"' of config map '"]
            .iter()
            .any(names)
    })
}

fn is_word_for_nothing(value: &[u8]) -> bool {
    const NOTHING: [&[u8]; 17] = [
        b"(nil)",
        b"null",
        b"none",
        b"nil",
        b"~",
        b"\\n",
        b"undefined",
        b"<none>",
        b"<nil>",
        b"<unset>",
        b"<not set>",
        b"(null)",
        b"(none)",
        b"(not set)",
        b"<null>",
        b"[null]",
        b"",
    ];
    value.len() <= 10 && NOTHING.iter().any(|n| value.eq_ignore_ascii_case(n))
}

/// How a bare value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// At a comma, a closing bracket, a quote or the end of the line.
    Json,
    /// At white space, or what cannot belong to a word here.
    Word {
        /// A bracket was opened before the key.
        nested: bool,
    },
    /// The same between braces, where a value may have several words: `{Name:Ada B. City:Lund}`.
    Fields,
    /// At the end of the line, or where the next `key: value` begins.
    Line,
    /// At the end of the line, or where the next `key=value` begins.
    Assignment,
}

/// The end of a bare value that begins at `start`; `None`: more is needed.
pub(crate) fn bare_end(text: &[u8], start: usize, style: Style, closed: bool) -> Option<usize> {
    let end = bare_end_of(text, start, style, closed);
    work::count(end.unwrap_or(text.len()).saturating_sub(start));
    end
}

fn bare_end_of(text: &[u8], start: usize, style: Style, closed: bool) -> Option<usize> {
    let rest = text.get(start..).unwrap_or_default();
    match style {
        Style::Json => rest
            .iter()
            .position(|b| {
                matches!(
                    b,
                    b',' | b'}' | b']' | b')' | b'\n' | b'\r' | b'"' | b'\\' | b';'
                )
            })
            .or(closed.then_some(rest.len()))
            .map(|size| start + trimmed(rest, size)),
        Style::Word { nested } => word_end(text, start, nested, closed),
        Style::Fields => fields_end(text, start, closed),
        Style::Line => line_end(text, start, closed, b':'),
        Style::Assignment => line_end(text, start, closed, b'='),
    }
}

fn trimmed(rest: &[u8], size: usize) -> usize {
    rest.get(..size).unwrap_or_default().trim_ascii_end().len()
}

fn word_end(text: &[u8], start: usize, nested: bool, closed: bool) -> Option<usize> {
    let mut at = start;
    loop {
        let Some(&b) = text.get(at) else {
            return closed.then_some(at);
        };
        let ends = match b {
            // FIX puts 0x01 between its fields.
            b if b <= b' ' => true,
            // Two stand for one in a string: they stay together.
            b'\\' if at == start => match text.get(at + 1) {
                None if !closed => return None,
                next => {
                    at += usize::from(next == Some(&b'\\'));
                    false
                }
            },
            b'"' | b'\'' | b'`' | b'\\' | b'<' => at > start,
            b')' | b']' | b'}' => {
                let after = text.get(at..).unwrap_or_default();
                let closers = after
                    .iter()
                    .take_while(|b| matches!(b, b')' | b']' | b'}'))
                    .count();
                match after.get(closers) {
                    _ if nested => true,
                    None if !closed => return None,
                    None => true,
                    Some(c) => {
                        let open = text
                            .get(start..at)
                            .is_some_and(|v| v.iter().any(|b| matches!(b, b'(' | b'[' | b'{')));
                        !open && (c.is_ascii_whitespace() || matches!(c, b',' | b';'))
                    }
                }
            }
            b',' | b';' | b'&' | b'|' => match text.get(at + 1) {
                None if !closed => return None,
                None => true,
                Some(b) if b.is_ascii_whitespace() || matches!(b, b'"' | b'\'') => true,
                Some(_) => begins_field(text, at + 1, nested, closed)?,
            },
            _ => false,
        };
        if ends {
            return Some(at);
        }
        at += 1;
    }
}

/// The end of a value between braces: its last word is the one before a name or a bracket, also
/// behind a comma.
fn fields_end(text: &[u8], start: usize, closed: bool) -> Option<usize> {
    let mut at = start;
    loop {
        let end = word_end(text, at, true, closed)?;
        // A comma may be part of it, if no name follows.
        let next = end + usize::from(text.get(end) == Some(&b','));
        let rest = text.get(next..).unwrap_or_default();
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        match rest.get(spaces) {
            None if !closed => return None,
            Some(b) if spaces > 0 && (is_word(*b) || matches!(b, b'_' | b'-' | b'.')) => {}
            _ => return Some(end),
        }
        at = next + spaces;
        if at - start > KEY_MAX || begins_field(text, at, end < next, closed)? {
            return Some(end);
        }
    }
}

/// Whether a `name=` or `name:` stands at `at`, behind a comma also a `name =`; `None`: more is
/// needed.
fn begins_field(text: &[u8], at: usize, comma: bool, closed: bool) -> Option<bool> {
    if next_key(text, at, closed)? > 0 {
        return Some(true);
    }
    let rest = text.get(at..).unwrap_or_default();
    let near = rest.get(..KEY_MAX).unwrap_or(rest);
    let part = |b: &&u8| is_word(**b) || matches!(b, b'_' | b'-' | b'.');
    let name = near.iter().take_while(part).count();
    let gap = near.iter().skip(name).take_while(|b| **b == b' ').count();
    match near.get(name + gap) {
        _ if !comma || name == 0 => Some(false),
        None if !closed && near.len() < KEY_MAX => None,
        sign => Some(sign == Some(&b'=')),
    }
}

/// The size of a `name=` or `name:` at `at`; 0 if there is none; `None`: more is needed.
pub(crate) fn next_key(text: &[u8], at: usize, closed: bool) -> Option<usize> {
    let rest = text.get(at..).unwrap_or_default();
    let name = rest
        .iter()
        .take(KEY_MAX)
        .take_while(|b| is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b'[' | b'%'))
        .count();
    match rest.get(name) {
        None if !closed && name < KEY_MAX => None,
        Some(b'=' | b':') if name > 0 => Some(name),
        _ => Some(0),
    }
}

fn line_end(text: &[u8], start: usize, closed: bool, sep: u8) -> Option<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let line = match memchr::memchr(b'\n', rest) {
        Some(size) => size,
        None if closed => rest.len(),
        None => return None,
    };
    let rest = rest.get(..line).unwrap_or_default();
    let mut size = rest.iter().position(|b| *b == b'\r').unwrap_or(line);
    for at in memchr::memchr_iter(sep, rest.get(..size).unwrap_or_default()) {
        let before = rest.get(..at).unwrap_or_default();
        let name = before
            .iter()
            .rev()
            .take_while(|b| is_word(**b) || matches!(b, b'_' | b'-' | b'.'))
            .count();
        let begins = at - name;
        let follows = sep == b'=' || matches!(rest.get(at + 1), Some(b' '));
        let apart = begins > 0 && matches!(rest.get(begins - 1), Some(b' ' | b'\t'));
        let named = before.get(begins..).is_some_and(|n| {
            n.first()
                .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        });
        if name > 0 && follows && apart && named {
            size = begins;
            break;
        }
    }
    let kept = rest.get(..size).unwrap_or_default();
    let cut = size < line;
    let end = kept
        .iter()
        .rposition(|b| {
            !(b.is_ascii_whitespace() || (cut && matches!(b, b',' | b';' | b'|')) || (*b == b','))
        })
        .map_or(0, |i| i + 1);
    Some(start + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<String> {
        let sep = text.find('\u{1}')?;
        let found = key_before(text.as_bytes(), sep, 0)?;
        text.get(found.name.0..found.name.1).map(str::to_owned)
    }

    #[test]
    fn keys_are_found_before_their_separator() {
        for (text, name) in [
            ("{\"ssn\"\u{1}", "ssn"),
            ("{\\\"ssn\\\"\u{1}", "ssn"),
            ("\"{\"\"a b\"\"\u{1}", "a b"),
            ("x=1 ssn\u{1}", "1 ssn"),
            ("--ssn\u{1}", "ssn"),
            ("Social Security Number  \u{1}", "Social Security Number"),
            ("[ssn] \u{1}", "ssn"),
            ("['ssn']\u{1}", "ssn"),
            ("map[ssn\u{1}", "ssn"),
            ("**Email**\u{1}", "Email"),
        ] {
            assert_eq!(key(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(key("\u{1}"), None);
    }

    #[test]
    fn quoted_values_end_at_their_own_quote() {
        let quote = |slashes| Quote {
            mark: b'"',
            slashes,
            doubled: false,
            tripled: false,
        };
        assert_eq!(
            quoted_end(br#"a\"b"c"#, 0, 0, quote(0), true),
            End::Quote(4)
        );
        assert_eq!(quoted_end(br#"a\\"c"#, 0, 0, quote(0), true), End::Quote(3));
        assert_eq!(quoted_end(br#"ab\"c"#, 0, 0, quote(1), true), End::Quote(2));
        assert_eq!(
            quoted_end(br#"a\\\"b\"c"#, 0, 0, quote(1), true),
            End::Quote(6)
        );
        assert_eq!(quoted_end(b"abc", 0, 0, quote(0), false), End::Open(3));
        assert_eq!(quoted_end(b"ab\nc\"", 0, 0, quote(0), false), End::Line(2));
    }

    #[test]
    fn bare_values_end_where_the_next_begins() {
        fn end(text: &str, style: Style) -> &str {
            bare_end(text.as_bytes(), 0, style, true)
                .and_then(|e| text.get(..e))
                .unwrap_or("?")
        }
        assert_eq!(end("12.5, x", Style::Json), "12.5");
        assert_eq!(end("a@b.c name=x", Style::Word { nested: false }), "a@b.c");
        assert_eq!(end("a,b;c&d x", Style::Word { nested: false }), "a,b;c&d");
        assert_eq!(end("a&b=c", Style::Word { nested: false }), "a");
        assert_eq!(end("x)", Style::Word { nested: true }), "x");
        assert_eq!(end("a b c\nd", Style::Line), "a b c");
        assert_eq!(end("a b, Name: c", Style::Line), "a b");
        assert_eq!(end("a b c=d", Style::Assignment), "a b");
    }
}
