//! JSON stays JSON with the same keys and containers, and what is not protected stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scanner::Options;
use scanner_fuzz::{rules, scan};
use serde_json::{Map, Value};

const KEYS: [&str; 8] = ["id", "ssn", "password", "customer", "phone", "name", "note", "value"];

/// A value that the bytes describe.
fn value(data: &mut &[u8], depth: u32) -> Value {
    let mut next = || {
        let (first, rest) = data.split_first()?;
        *data = rest;
        Some(*first)
    };
    let Some(kind) = next() else { return Value::Null };
    let size = usize::from(kind >> 4);
    match kind % 8 {
        0 | 1 if depth < 6 => Value::Array((0..size).map(|_| value(data, depth + 1)).collect()),
        2 | 3 if depth < 6 => {
            let mut map = Map::new();
            for _ in 0..size {
                let Some((key, rest)) = data.split_first() else { break };
                *data = rest;
                let key = KEYS.get(usize::from(*key) % KEYS.len()).copied().unwrap_or_default();
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
                && a.iter().zip(b).all(|((k, a), (l, b))| k == l && is_alike(a, b))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b))
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => false,
        (a, b) => a == b || b.as_str().is_some_and(|text| text.contains('*')),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, mut rest)) = data.split_first() else { return };
    let tree = value(&mut rest, 0);
    let text = if first & 1 > 0 {
        serde_json::to_string_pretty(&tree)
    } else {
        serde_json::to_string(&tree)
    };
    let text = text.expect("a tree of strings can be written");
    let pieces = text.as_bytes().chunks(usize::from(first >> 1).max(1));
    let out = scan(&rules(), Options::default(), pieces);
    let after = serde_json::from_slice(&out);
    let alike = after.as_ref().is_ok_and(|after| is_alike(&tree, after));
    assert!(alike, "{text} became {}", String::from_utf8_lossy(&out));
});
