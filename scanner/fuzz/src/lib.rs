//! The laws of the scanner that hold for any bytes, one function each. The fuzz targets call them with what libFuzzer
//! draws, `scanner/tests/seeds.rs` with the seeds that are kept beside this folder. The first byte or two of an input say
//! how it is cut and read, the rest is the text. A law that does not hold panics.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use scanner::{
    Action, Coverage, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step,
    Stream, Verdict, Way,
};
use serde_json::{Map, Value};

/// Cuts do not show, nothing hangs, and the account adds up.
pub fn cuts(data: &[u8]) {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let options = Options { pty: first & 1 > 0 };
    let size = usize::from(first >> 1).max(1);
    let whole = scan(&FIELDS, options, [text]);
    for size in [size, 1] {
        let cut = scan(&FIELDS, options, text.chunks(size));
        assert!(cut == whole, "{size}: {}", difference(&cut, &whole));
    }
}

/// The fast path gives what the byte machine gives, at any cut and any edge of a block.
pub fn ways(data: &[u8]) {
    let Some((size, text)) = data.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    // What lies further apart than the byte machine looks back depends on how it was fed.
    let text = text.get(..4096).unwrap_or(text);
    let want = outcome(Way::Bytes, [text]);
    let cut = outcome(Way::Bytes, text.chunks(size));
    for way in (0..3).map(Way::Blocks) {
        outcome(way, [text]).is(&want, way);
        outcome(way, text.chunks(size)).is(&cut, way);
    }
}

/// A planted value never survives, in whatever form it stands, between words, however it is cut.
pub fn planted(data: &[u8]) {
    let [form, first, rest @ ..] = data else {
        return;
    };
    let letters = rest.iter().copied().filter(u8::is_ascii_alphanumeric);
    let secret = String::from_utf8(letters.take(24).collect()).unwrap_or_default();
    let secret_is = |word| secret.eq_ignore_ascii_case(word);
    if secret.len() < 8 || secret_is("undefined") || secret_is("password") {
        return;
    }
    let word = |b: &u8| b.is_ascii_lowercase() || matches!(b, b' ' | b'\n');
    let words = |from: usize| -> String {
        let words = rest.iter().skip(from).filter(|b| word(b)).take(20);
        words.map(|b| char::from(*b)).collect()
    };
    let form = FORMS.get(usize::from(*form) % FORMS.len());
    let form = form.copied().unwrap_or_default().replace('@', &secret);
    let painted = form.contains('\x1b');
    // On a screen a header stays, and is above what is painted.
    let letters: String = words(24).split_whitespace().collect();
    let named = ["ssn", "password", "phone"]
        .iter()
        .any(|name| letters.contains(name));
    let before = if painted && named {
        String::new()
    } else {
        words(24)
    };
    let text = format!("{before}\n{form}\n{}", words(44));
    let out = scan(
        &FIELDS,
        Options {
            pty: first & 1 > 0 || painted,
        },
        text.as_bytes().chunks(usize::from(first >> 1).max(1)),
    );
    let out = String::from_utf8_lossy(&out).into_owned();
    // What stands between the words may be the same by chance.
    if !format!("{} {}", words(24), words(44)).contains(&secret) {
        assert!(!out.contains(&secret), "{text:?} became {out:?}");
    }
}

/// JSON stays JSON with the same keys and containers, and what is not protected stays as it is.
pub fn structure(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else {
        return;
    };
    let tree = value(&mut rest, 0);
    let text = if first & 1 > 0 {
        serde_json::to_string_pretty(&tree)
    } else {
        serde_json::to_string(&tree)
    };
    let text = text.expect("a tree of strings can be written");
    let pieces = text.as_bytes().chunks(usize::from(first >> 1).max(1));
    let out = scan(&FIELDS, Options::default(), pieces);
    let after = serde_json::from_slice(&out);
    let alike = after.as_ref().is_ok_and(|after| is_alike(&tree, after));
    assert!(alike, "{text} became {}", String::from_utf8_lossy(&out));
}

/// Where nothing is protected, every byte comes out as it went in, however it was cut.
pub fn untouched(data: &[u8]) {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    // A fuzzer finds the name that nothing should have.
    let letters = text.iter().filter(|b| b.is_ascii_alphabetic());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    if letters.windows(11).any(|name| name == b"nosuchfield") {
        return;
    }
    let options = Options { pty: first & 1 > 0 };
    let size = usize::from(first >> 1).max(1);
    for size in [text.len().max(1), size] {
        let out = scan(&NONE, options, text.chunks(size));
        assert!(out == text, "{size}: {}", difference(&out, text));
    }
}

/// Rules with fields, a field with a parent, and every detector.
static FIELDS: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password")
        .field("customer.phone");
    rules(with_detectors(rule))
});

/// Rules with which the fast path is taken: no field has a parent.
static FAST: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let rule = Rule::new("r", Action::Mask(Mask::Last4))
        .field("ssn")
        .field("account_number")
        .field("e");
    rules(with_detectors(rule))
});

/// Rules that protect nothing of what there is.
static NONE: LazyLock<Arc<Rules>> =
    LazyLock::new(|| rules(Rule::new("r", Action::Mask(Mask::Redact)).field("no_such_field")));

fn with_detectors(rule: Rule) -> Rule {
    Detector::ALL.into_iter().fold(rule, Rule::detector)
}

fn rules(rule: Rule) -> Arc<Rules> {
    let rules = RulesBuilder::new().rule(rule).build();
    Arc::new(rules.expect("these rules compile"))
}

/// What leaves of `pieces`. The account has to add up.
fn scan<'a>(
    rules: &Arc<Rules>,
    options: Options,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    run(Scanner::new(Arc::clone(rules), options), pieces).out
}

fn outcome<'a>(way: Way, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let scanner = Scanner::new(Arc::clone(&FAST), Options { pty: true });
    run(scanner.with_way(way), pieces)
}

fn run<'a>(mut scanner: Scanner, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut out = Vec::new();
    let mut fed = 0;
    for piece in pieces {
        fed += piece.len() as u64;
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
    }
    scanner.end();
    while let Some(step) = scanner.next_step() {
        if let Step::Pass { bytes, .. } = step {
            out.extend_from_slice(bytes.as_bytes());
        }
    }
    let sum = scanner.coverage();
    let parts = sum.passed + sum.masked + sum.held + sum.unreadable;
    assert_eq!(parts, fed, "the account of {fed} bytes is {sum:?}");
    Outcome {
        out,
        verdicts: scanner.take_verdicts().collect(),
        coverage: sum,
    }
}

#[derive(PartialEq)]
struct Outcome {
    out: Vec<u8>,
    verdicts: Vec<Verdict>,
    coverage: Coverage,
}

impl Outcome {
    fn is(&self, want: &Self, way: Way) {
        let why = difference(&self.out, &want.out);
        assert!(self.out == want.out, "{way:?}: {why}");
        assert_eq!(self.verdicts, want.verdicts, "{way:?}");
        assert_eq!(self.coverage, want.coverage, "{way:?}");
    }
}

/// Where two outputs begin to differ, and what stands there.
fn difference(one: &[u8], other: &[u8]) -> String {
    let at = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let near = |text: &[u8]| {
        let part = text.get(at.saturating_sub(60)..text.len().min(at + 60));
        part.unwrap_or_default().escape_ascii().to_string()
    };
    format!("at {at}: \"{}\" is not \"{}\"", near(one), near(other))
}

/// What a planted value stands in; `@` is the value.
const FORMS: [&str; 20] = [
    "{\"password\":\"@\"}",
    "{\"a\":1,\"password\" : [\"@\", \"x\"]}",
    "{\"password\":{\"a\":{\"b\":\"@\"}}}",
    "{\"p\":\"{\\\"password\\\": \\\"@\\\"}\"}",
    "password=@",
    "x password=\"@\" y",
    "password: @",
    "- password: '@'",
    "<password>@</password>",
    "<a password=\"@\"/>",
    "run --password @ now",
    "[\"--password\", \"@\"]",
    "id,password\n1,@",
    "id\tpassword\n1\t@",
    "{\"Name\":\"password\",\"Value\":\"@\"}",
    "map[password:@ x:y]",
    "INSERT INTO t (id, password) VALUES (1, '@');",
    "password:\n  a: @\n  b: 1",
    "\x1b[2J\x1b[3;1Hpassword:\x1b[5;1Hx\x1b[3;20H@\x1b[9;1H",
    "\x1b[2J\x1b[3;1Hid | password\x1b[4;1H---+---------\x1b[5;2H1 |\x1b[5;6H@\x1b[9;1H",
];

/// The keys of a tree.
const KEYS: [&str; 8] = [
    "id", "ssn", "password", "customer", "phone", "name", "note", "value",
];

/// A value that the bytes describe.
fn value(data: &mut &[u8], depth: u32) -> Value {
    let mut next = || {
        let (first, rest) = data.split_first()?;
        *data = rest;
        Some(*first)
    };
    let Some(kind) = next() else {
        return Value::Null;
    };
    let size = usize::from(kind >> 4);
    match kind % 8 {
        0 | 1 if depth < 6 => Value::Array((0..size).map(|_| value(data, depth + 1)).collect()),
        2 | 3 if depth < 6 => {
            let mut map = Map::new();
            for _ in 0..size {
                let Some((key, rest)) = data.split_first() else {
                    break;
                };
                *data = rest;
                let key = KEYS
                    .get(usize::from(*key) % KEYS.len())
                    .copied()
                    .unwrap_or_default();
                map.insert(key.to_owned(), value(data, depth + 1));
            }
            Value::Object(map)
        }
        4 => Value::Bool(size > 7),
        5 => Value::from(i64::from(kind) * 7_919 - 300_000),
        6 => Value::Null,
        _ => {
            let (text, rest) = data.split_at(size.min(data.len()));
            *data = rest;
            Value::String(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// Whether the second is the first, but for scalars that may have been replaced.
fn is_alike(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((k, a), (l, b))| k == l && is_alike(a, b))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b))
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => false,
        (a, b) => a == b || b.as_str().is_some_and(|text| text.contains('*')),
    }
}
