//! A planted value never survives, in whatever form it stands, between words, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scanner::Options;
use scanner_fuzz::{rules, scan};

/// `@` is the value.
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

fuzz_target!(|data: &[u8]| {
    let [form, first, rest @ ..] = data else { return };
    let letters = rest.iter().copied().filter(u8::is_ascii_alphanumeric).take(24);
    let secret = String::from_utf8(letters.collect()).unwrap_or_default();
    let secret_is = |word| secret.eq_ignore_ascii_case(word);
    if secret.len() < 8 || secret_is("undefined") || secret_is("password") {
        return;
    }
    let word = |b: &u8| b.is_ascii_lowercase() || matches!(b, b' ' | b'\n');
    let words = |from: usize| -> String {
        let words = rest.iter().skip(from).filter(|b| word(b)).take(20);
        words.map(|b| char::from(*b)).collect()
    };
    let form = FORMS.get(usize::from(*form) % FORMS.len()).copied().unwrap_or_default();
    let form = form.replace('@', &secret);
    let text = format!("{}\n{form}\n{}", words(24), words(44));
    let out = scan(
        &rules(),
        Options { pty: first & 1 > 0 || text.contains('\x1b') },
        text.as_bytes().chunks(usize::from(first >> 1).max(1)),
    );
    let out = String::from_utf8_lossy(&out).into_owned();
    // What stands between the words may be the same by chance.
    if !format!("{} {}", words(24), words(44)).contains(&secret) {
        assert!(!out.contains(&secret), "{text:?} became {out:?}");
    }
});
