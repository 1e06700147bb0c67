//! What a stream's scanner keeps between two reads: at most 256 KiB, whatever comes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use scanner::{Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Stream};

/// The system's allocator, with an account of what each thread has.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: usize, sign: isize) {
    let bytes = isize::try_from(bytes).unwrap_or(isize::MAX);
    // A thread that ends has no account any more.
    let _ended = LIVE.try_with(|live| live.set(live.get() + sign * bytes));
}

// SAFETY: everything is done by the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const STATE_MAX: isize = 256 * 1024;

fn rules(pattern: bool, parents: bool) -> Arc<Rules> {
    let redact = Action::Mask(Mask::Redact);
    let mut rule = Rule::new("r", redact)
        .field("ssn")
        .field("password")
        .field("email");
    for detector in Detector::ALL {
        rule = rule.detector(detector);
    }
    if parents {
        rule = rule.field("customer.phone");
    }
    if pattern {
        rule = rule.own_detector("staff", r"\b[A-Z]{2}-\d{3,5}\b", scanner::Checksum::None);
    }
    Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
}

/// The most that a scanner of one stream has between two reads of `piece` bytes each.
fn kept(rules: &Arc<Rules>, pty: bool, text: &[u8], piece: usize) -> isize {
    let before = LIVE.get();
    let mut scanner = Scanner::new(Arc::clone(rules), Options { pty });
    let mut most = 0;
    for bytes in text.chunks(piece) {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(bytes)));
        while scanner.next_step().is_some() {}
        drop(scanner.take_verdicts());
        most = most.max(LIVE.get() - before);
    }
    most
}

#[test]
fn no_more_than_256_kib_are_kept() {
    let long = |text: &str, size: usize| text.repeat(size / text.len() + 1);
    let columns = |by: &str| {
        (0..300)
            .map(|k| format!("column_{k}{by}"))
            .collect::<String>()
    };
    let mut texts: Vec<String> = [
        "x",
        "a,",
        "[",
        "{\"a\":",
        "{\"ssn\":[",
        "\"",
        "=",
        ":",
        "<a ",
        "<td>ssn</td>",
        "<table><tr><th>ssn</th>",
        "<tr><td>ssn</td>",
        "\0",
        "\u{8}",
        "x\u{8}",
        "\x1b[1m",
        "\x1b[999C",
        "\x1b[9;9H",
        "x\x1b[2;900Hy",
        "\x1b[K",
        "\x1b[1;1H1: x\x1b[1;400H\x1b[1;1Hy",
        "\x1b[9;9Hx\x1b[?1049l\x1b[?1049h",
        "\x1b]0;t",
        "\x1b",
        "\r",
        "\r\n",
        "\n",
        "4111 ",
        "a@",
        "a.",
        "1-",
        " | ",
        "│ ",
        "--ssn ",
        "ssn:\n  ",
        "ssn: |\n  x\n",
        "- ssn:\n",
        "ssn=",
        "ssn: x ",
        "\"name\": \"ssn\", ",
        "data:\n  a: QUJD\n",
        "eyJ",
        "https://a:",
        "CREATE TABLE t (ssn int, b text);\n",
        "INSERT INTO t (ssn,\n",
        "(1, 2),\n",
        "COPY t (id, ssn) FROM stdin;\n",
        "-----BEGIN RSA PRIVATE KEY-----\nQUJD\n",
        "id,ssn\n1,2\n",
        "3) \"ssn\"\n",
        "$ssn\n",
        "é",
        "宮",
    ]
    .into_iter()
    .map(|text| long(text, 150_000))
    .collect();
    // Tables of many columns, and many tables; a header that is as long as one may be.
    texts.push(format!("{}ssn\n{}\n", columns(","), long("1,", 100_000)));
    texts.push(long(
        &format!("| {}ssn |\n|---|\n", columns(" | ")),
        100_000,
    ));
    texts.push(
        (0..40)
            .map(|k| format!("id{k} | ssn | {}\n---+---\n", columns(" | ")))
            .collect(),
    );
    texts.push(
        (0..64)
            .map(|k| format!("CREATE TABLE t{k} (ssn int, {}x);\n", columns(",")))
            .collect(),
    );
    // A screen with more cells than are kept.
    texts.push(
        (1..501)
            .map(|k| format!("\x1b[{k};1H{}", "宮1 ".repeat(300)))
            .collect(),
    );
    // Tables in strings.
    for (head, rows) in [
        (r#"{"a":"id,ssn\n"#, r"1,2\n"),
        (r#"{"a":"id,ssn\n1,"#, "x"),
        (r#"{"a":"id,ssn\n1,"#, r"\u00e9"),
        (r#"{"a":"id,ssn\n1,"#, r"\\"),
        (r#"{"a":"{\"b\":\"id,ssn\\n"#, r"1,2\\n"),
    ] {
        texts.push(format!("{head}{}\n", long(rows, 150_000)));
    }
    texts.push(long("{\"log\":\"id,ssn\\n\"}\n", 150_000));
    texts.push(format!("<table><tr>{}\n", long("<th>ssn</th>", 100_000)));
    texts.push(format!(
        "{}\n",
        long("{\"a_name_of_a_parent_that_is_long\": ", 100_000)
    ));
    texts.push(
        (0..3000)
            .map(|k| format!("{}k{k}:\n", " ".repeat(k % 80)))
            .collect(),
    );
    let mut over = Vec::new();
    for (pattern, parents) in [(false, false), (true, false), (false, true)] {
        let rules = rules(pattern, parents);
        for text in &texts {
            let ways = [
                (true, 4096),
                (false, 4096),
                (true, 1 << 15),
                (false, 1 << 15),
                (true, 1 << 20),
                (false, 1 << 20),
            ];
            let ways = if pattern || parents {
                &ways[..1]
            } else {
                &ways[..]
            };
            for &(pty, piece) in ways {
                let most = kept(&rules, pty, text.as_bytes(), piece);
                if most > STATE_MAX {
                    over.push((text.chars().take(24).collect::<String>(), pty, piece, most));
                }
            }
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}
