//! Ordinary output without protected values: not one byte changes.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use scanner::{Action, Detector, Mask, Options, Raw, Rule, RulesBuilder, Scanner, Step, Stream};

/// How much is read: with `BASTION_TEST_LONG`, as `tests/run --long` sets it, 256 MiB.
fn total() -> usize {
    match std::env::var_os("BASTION_TEST_LONG") {
        Some(_) => 256 << 20,
        None => 32 << 20,
    }
}

/// A small generator of numbers: the same ones in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 16] = [
            "scan", "record", "login", "target", "channel", "lease", "window", "stream", "queue",
            "driver", "parser", "index", "cache", "signal", "module", "branch",
        ];
        WORDS.get(self.below(WORDS.len())).copied().unwrap()
    }
}

/// One line of the kind that build tools, package managers, git, ls, hexdump and logs write.
fn line(out: &mut String, n: &mut Numbers) {
    let (a, b, c) = (n.next(), n.next(), n.next());
    let word = [
        "scan", "record", "login", "target", "channel", "lease", "window", "stream",
    ];
    let w = |k: u64| word.get(usize::try_from(k % 8).unwrap()).copied().unwrap();
    match a % 16 {
        0 => writeln!(
            out,
            "   Compiling {}-{} v{}.{}.{} (/src/{})",
            w(a),
            w(b),
            a % 9,
            b % 30,
            c % 100,
            w(c)
        ),
        1 => writeln!(
            out,
            "{:08x}  {:02x} {:02x} {:02x} {:02x} {:02x} {:02x} {:02x} {:02x}  |{}.|",
            b & 0xffff_fff0,
            a & 255,
            b & 255,
            c & 255,
            a >> 8 & 255,
            b >> 8 & 255,
            c >> 8 & 255,
            a >> 16 & 255,
            b >> 16 & 255,
            w(c)
        ),
        2 => writeln!(
            out,
            "-rw-r--r-- 1 root root {:>9} Jan {:>2} {:02}:{:02} {}.{}.rs",
            a % 10_000_000,
            b % 31,
            c % 24,
            b % 60,
            w(a),
            w(c)
        ),
        3 => writeln!(out, "commit {a:016x}{b:016x}{:08x}", c as u32),
        4 => writeln!(
            out,
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a as u32,
            b as u16,
            c & 0xfff,
            b >> 20 & 0xfff,
            c & 0xffff_ffff_ffff
        ),
        5 => writeln!(
            out,
            "2024-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z level=info msg=\"{} done\" took={}ms id={}",
            a % 12 + 1,
            b % 28 + 1,
            c % 24,
            a % 60,
            b % 60,
            c % 1_000_000,
            w(a),
            b % 900,
            a % 100_000_000
        ),
        6 => writeln!(out, "{} | {}: {} -> {}", w(a), w(b), a % 1000, b % 1000),
        7 => writeln!(
            out,
            "{{\"id\":{},\"name\":\"{} {}\",\"at\":{},\"ok\":true,\"tags\":[\"{}\",{}]}}",
            a % 100_000,
            w(a),
            w(b),
            1_700_000_000 + b % 10_000_000,
            w(c),
            c % 500
        ),
        8 => writeln!(
            out,
            "Get:{} http://deb.example/debian stable/main amd64 {} amd64 {}.{}-{} [{} kB]",
            a % 90,
            w(a),
            b % 9,
            c % 40,
            b % 7,
            c % 4000
        ),
        9 => writeln!(
            out,
            "  {:>5} {}  {:>4}.{} {:>3}.{}  {:>8} {:>7} ?  Ss  {:02}:{:02}  0:{:02} /usr/bin/{}",
            a % 32_768,
            w(b),
            b % 100,
            a % 10,
            c % 100,
            b % 10,
            a % 1_000_000,
            b % 500_000,
            a % 24,
            b % 60,
            c % 60,
            w(c)
        ),
        10 => writeln!(
            out,
            "{},{},{},{}.{}",
            a % 10_000,
            w(a),
            w(b),
            c % 1000,
            b % 100
        ),
        11 => writeln!(
            out,
            "    let {}_{} = {}::{}(&self.{}, {});",
            w(a),
            w(b),
            w(c),
            w(a),
            w(b),
            c % 300
        ),
        12 => writeln!(
            out,
            "[{:>3}%] \x1b[32mBuilding\x1b[0m object {}/{}.o",
            a % 101,
            w(a),
            w(b)
        ),
        13 => writeln!(
            out,
            "order 2024-{:04}-{:04} shipped, {} of {} items, tracking 1Z{:08}",
            a % 10_000,
            b % 10_000,
            a % 9,
            b % 90,
            c % 100_000_000
        ),
        14 => writeln!(
            out,
            "{}: the {} of a {} is not the {}, see {}(8).",
            w(a),
            w(b),
            w(c),
            w(a),
            w(b)
        ),
        _ => writeln!(
            out,
            "\t{}:\n\t\t- {}: {}\n\t\t- {}",
            w(a),
            w(b),
            c % 10,
            w(c)
        ),
    }
    .unwrap();
}

/// One output: lines that belong together, as one program writes them.
fn document(out: &mut String, n: &mut Numbers) {
    let kind = n.below(DOCUMENTS.len() + 1);
    let lines = 8 + n.below(120);
    match DOCUMENTS.get(kind) {
        Some(document) => document(out, n, lines),
        None => (0..lines).for_each(|_| line(out, n)),
    }
}

type Document = fn(&mut String, &mut Numbers, usize);

const DOCUMENTS: [Document; 12] = [
    builds, manual, rust, python, packages, changes, dump, stamps, ids, tables, queries, records,
];

/// Makes a macro's line out of words and numbers.
macro_rules! say {
    ($out:expr, $($arg:tt)*) => { writeln!($out, $($arg)*).unwrap() };
}

fn builds(out: &mut String, n: &mut Numbers, lines: usize) {
    say!(out, "-- The C compiler identification is GNU 14.2.0");
    say!(
        out,
        "debug1: kex: curve25519-sha256@libssh.org cipher: aes256-gcm@openssh.com MAC: umac-128-etm@openssh.com compression: zlib@openssh.com"
    );
    say!(out, "make: Entering directory '/src/{}'", n.word());
    for k in 0..lines {
        let (a, b, c) = (n.word(), n.word(), n.word());
        match n.below(9) {
            0 => say!(
                out,
                "gcc -O2 -g -Wall -D{}=1 -I../{b} -c -o {a}.o {a}.c",
                a.to_uppercase()
            ),
            1 => say!(
                out,
                "{a}.c:{}:{}: warning: unused variable '{b}_{c}' [-Wunused-variable]",
                n.below(900),
                n.below(80)
            ),
            2 => say!(out, "  CC [M]  drivers/{a}/{b}-{c}.o"),
            3 => say!(out, "[{}/{}] Linking CXX executable {a}/{b}", k, lines),
            4 => say!(
                out,
                "ok  \texample.com/{a}/{b}\t{}.{:03}s\tcoverage: {}.{}% of statements",
                n.below(9),
                n.below(1000),
                n.below(99),
                n.below(9)
            ),
            5 => say!(out, "test {a}::{b}::{c}_is_{a} ... ok"),
            6 => say!(
                out,
                "error[E0{:03}]: cannot find value `{a}` in module `{b}`\n  --> src/{c}.rs:{}:{}\n   |\n{:>3}|     {a}({b});\n   |     ^^^^ not found in `{c}`",
                n.below(999),
                n.below(900),
                n.below(80),
                n.below(900)
            ),
            7 => say!(
                out,
                "[INFO] --- maven-{a}-plugin:3.{}.{}:{b} (default-{b}) @ {c} ---",
                n.below(12),
                n.below(5)
            ),
            _ => say!(
                out,
                "{}.{:02} MB/s  {a}-{b}.tar.gz  {}%\r{a}: done",
                n.below(90),
                n.below(100),
                n.below(101)
            ),
        }
    }
    say!(
        out,
        "make: Leaving directory '/src'\nreal\t{}m{}.{:03}s\nuser\t0m{}.{:03}s",
        n.below(9),
        n.below(60),
        n.below(1000),
        n.below(60),
        n.below(1000)
    );
}

/// A page of a manual, bold and underlined by backspaces as `man` writes it into a pipe.
fn manual(out: &mut String, n: &mut Numbers, lines: usize) {
    let bold = |text: &str| {
        text.chars()
            .fold(String::new(), |s, c| s + &format!("{c}\u{8}{c}"))
    };
    let under = |text: &str| {
        text.chars()
            .fold(String::new(), |s, c| s + &format!("_\u{8}{c}"))
    };
    say!(
        out,
        "{}(1)                General Commands Manual               {0}(1)\n",
        n.word().to_uppercase()
    );
    for _ in 0..lines / 4 {
        let (a, b, c) = (n.word(), n.word(), n.word());
        match n.below(6) {
            0 => say!(
                out,
                "{}\n       {} - {b} the {c} of a {a}\n",
                bold("NAME"),
                a
            ),
            1 => say!(
                out,
                "       {}, {}={}\n              Wait up to {} seconds for {b} (default: {}).\n",
                bold("-t"),
                bold("--timeout"),
                under("SECONDS"),
                n.below(60),
                n.below(60)
            ),
            2 => say!(
                out,
                "{}\n       {} [{}]... [{}]...\n",
                bold("SYNOPSIS"),
                bold(a),
                under("OPTION"),
                under("FILE")
            ),
            3 => say!(
                out,
                "       --{a}-{b}[=WHEN]\n              {c} only if needed; WHEN is 'always', 'auto' or 'never'\n"
            ),
            // Placeholders have the names of protected fields.
            4 => say!(
                out,
                "       {a} connect <user>:<{}>@<host>[:<port>]/<{b}>\n       {} <{}>, --{c}=<email>\n              Use <email> for {b}, or the <password> of the {c}. See also\n              {a} --user <user:password> and [<ssn>].\n",
                under("password"),
                bold("-p"),
                under("password")
            ),
            _ => say!(
                out,
                "       The {a} is read from {} first, then from\n       {}.  See {b}({}) and {c}(8).\n",
                under("/etc/scan.conf"),
                under("~/.config/scan"),
                n.below(8) + 1
            ),
        }
    }
}

fn rust(out: &mut String, n: &mut Numbers, lines: usize) {
    for _ in 0..lines / 6 + 1 {
        let (a, b, c) = (n.word(), n.word(), n.word());
        say!(
            out,
            "/// The {a} of a [`{b}`], or `None`.\npub(crate) fn {a}_{c}(&self, {b}: &[u8], at: usize) -> Option<{}> {{",
            n.below(64)
        );
        say!(
            out,
            "    let {c}: Vec<_> = {b}.iter().filter(|b| **b != b'\\n').map(|b| b - {:#x}).collect();",
            n.below(255)
        );
        say!(
            out,
            "    match ({c}.first(), self.{a}) {{\n        (Some({}..={}), _) if at > 0 => Some({c}.len()),\n        _ => None,\n    }}\n}}\n",
            n.below(99),
            100 + n.below(99)
        );
        say!(
            out,
            "#define {}_MAX 0x{:08x}UL /* {b} */\nstatic const struct {a} {b}_{c}[] = {{ {{ .id = {}, .name = \"{c}\" }} }};",
            a.to_uppercase(),
            n.next() as u32,
            n.below(9000)
        );
        say!(
            out,
            "fn {a}({b}: &Map<Email, {c}>) -> Result<Password> {{ Vec::<Amount>::new() }}\nprivate final List<Email> {b} = new ArrayList<Email>();\nexport const use{c} = (): Promise<Password> => load<Ssn>('{a}');"
        );
        say!(
            out,
            "for (int i = 0; i < {}; ++i) {{ if ({a}[i] == NULL) continue; {b}->{c} += {a}[i]->{c}; }}",
            n.below(9000)
        );
    }
}

fn python(out: &mut String, n: &mut Numbers, lines: usize) {
    for _ in 0..lines / 5 + 1 {
        let (a, b, c) = (n.word(), n.word(), n.word());
        say!(
            out,
            "def {a}_{b}(self, {c}=None, *, limit: int = {}) -> dict[str, list[int]]:",
            n.below(900)
        );
        say!(
            out,
            "    \"\"\"Return the {a} of {b}.\"\"\"\n    return {{\"{a}\": [{}, {}], \"{b}\": {c} or []}}\n",
            n.below(900),
            n.below(900)
        );
        say!(
            out,
            "const {a} = await {b}.{c}({{ id: {}, kind: '{a}', tags: ['{b}', \"{c}\"] }});",
            n.below(9000)
        );
        say!(
            out,
            "{a}() {{ local {b}=$1; [ -n \"${{{b}:-}}\" ] || return {}; printf '%s\\n' \"$({c} \"${b}\")\"; }}",
            n.below(9)
        );
        say!(
            out,
            "SELECT {a}, count(*) FROM {b} WHERE {c} > {} GROUP BY 1 ORDER BY 2 DESC LIMIT {};",
            n.below(900),
            n.below(90)
        );
    }
}

fn packages(out: &mut String, n: &mut Numbers, lines: usize) {
    say!(
        out,
        "Reading package lists... Done\nBuilding dependency tree... Done"
    );
    say!(
        out,
        "||/ Name           Version        Architecture Description\n+++-==============-==============-============-================================="
    );
    for _ in 0..lines {
        let (a, b, c) = (n.word(), n.word(), n.word());
        match n.below(8) {
            0 => say!(
                out,
                "ii  {a:<14} {}.{}-{}ubuntu{} amd64        {b} for {c}",
                n.below(9),
                n.below(90),
                n.below(9),
                n.below(9)
            ),
            1 => say!(
                out,
                "Selecting previously unselected package {a}-{b}:amd64.\n(Reading database ... {}%\r(Reading database ... {} files and directories currently installed.)",
                n.below(100),
                n.below(900_000)
            ),
            2 => say!(
                out,
                "├── {a}@{}.{}.{}\n│   ├─┬ {b}@{}.0.{}\n│   │ └── {c}@^{}.{}",
                n.below(9),
                n.below(90),
                n.below(9),
                n.below(9),
                n.below(9),
                n.below(9),
                n.below(9)
            ),
            3 => say!(out, "{a:<24}{}.{}.{}", n.below(20), n.below(90), n.below(9)),
            4 => say!(
                out,
                "Collecting {a}=={}.{}\n  Downloading {a}-{}.{}-py3-none-any.whl ({}.{} kB)",
                n.below(9),
                n.below(90),
                n.below(9),
                n.below(90),
                n.below(900),
                n.below(9)
            ),
            5 => say!(
                out,
                "{a}-{b}-{}.{}.{}-{}.fc41.x86_64",
                n.below(9),
                n.below(90),
                n.below(9),
                n.below(30)
            ),
            6 => say!(
                out,
                "Get:{} http://deb.example.org/debian trixie/main amd64 {a} amd64 {}.{}-{} [{} kB]",
                n.below(90),
                n.below(9),
                n.below(40),
                n.below(7),
                n.below(4000)
            ),
            _ => say!(
                out,
                "Removing intermediate container {:012x}\n ---> {:012x}\nStep {}/{} : RUN {a} --{b}",
                n.next() >> 16,
                n.next() >> 16,
                n.below(9),
                n.below(30)
            ),
        }
    }
}

fn changes(out: &mut String, n: &mut Numbers, lines: usize) {
    for _ in 0..lines / 3 + 1 {
        let (a, b, c) = (n.word(), n.word(), n.word());
        match n.below(5) {
            0 => say!(
                out,
                "commit {:016x}{:016x}{:08x} (HEAD -> main, tag: v{}.{})\nDate:   Tue Nov {} {:02}:{:02}:{:02} 2025 +0100\n\n    {a}: {b} is {c}\n",
                n.next(),
                n.next(),
                n.next() as u32,
                n.below(9),
                n.below(90),
                n.below(28) + 1,
                n.below(24),
                n.below(60),
                n.below(60)
            ),
            1 => say!(
                out,
                "diff --git a/src/{a}.rs b/src/{a}.rs\nindex {:07x}..{:07x} 100644\n--- a/src/{a}.rs\n+++ b/src/{a}.rs\n@@ -{},7 +{},9 @@ fn {b}() {{\n-    let {c} = {};\n+    let {c} = {};",
                n.next() >> 36,
                n.next() >> 36,
                n.below(900),
                n.below(900),
                n.below(90),
                n.below(90)
            ),
            2 => say!(
                out,
                " src/{a}/{b}.rs | {:>4} {}\n {} files changed, {} insertions(+), {} deletions(-)",
                n.below(400),
                "+".repeat(n.below(20) + 1),
                n.below(90),
                n.below(900),
                n.below(900)
            ),
            3 => say!(
                out,
                "* {:07x} {a}: {b}\n|\\\n| * {:07x} {c}: less of it\n|/",
                n.next() >> 36,
                n.next() >> 36
            ),
            _ => say!(
                out,
                "{:08x} ({a} {b} 2025-{:02}-{:02} {:02}:{:02}:{:02} +0000 {:>4})     {c}();",
                n.next() as u32,
                n.below(12) + 1,
                n.below(28) + 1,
                n.below(24),
                n.below(60),
                n.below(60),
                n.below(900)
            ),
        }
    }
}

fn dump(out: &mut String, n: &mut Numbers, lines: usize) {
    let style = n.below(3);
    for k in 0..lines {
        let bytes: Vec<u8> = (0..16).map(|_| n.next() as u8).collect();
        let shown: String = bytes
            .iter()
            .map(|b| {
                if b.is_ascii_graphic() && !matches!(b, b'@' | b':' | b'=') {
                    char::from(*b)
                } else {
                    '.'
                }
            })
            .collect();
        match style {
            0 => {
                let words: String = bytes.chunks(2).fold(String::new(), |s, w| {
                    s + &format!("{:02x}{:02x} ", w.first().unwrap(), w.last().unwrap())
                });
                say!(out, "{:08x}: {words} {shown}", k * 16);
            }
            1 => {
                let words: String = bytes
                    .iter()
                    .fold(String::new(), |s, b| s + &format!("{b:02x} "));
                say!(out, "{:08x}  {words} |{shown}|", k * 16);
            }
            _ => {
                let words: String = bytes
                    .iter()
                    .fold(String::new(), |s, b| s + &format!(" {b:03o}"));
                say!(out, "{:07o}{words}", k * 16);
            }
        }
    }
}

fn stamps(out: &mut String, n: &mut Numbers, lines: usize) {
    for _ in 0..lines {
        let (y, mo, d) = (2000 + n.below(40), n.below(12) + 1, n.below(28) + 1);
        let (h, m, s) = (n.below(24), n.below(60), n.below(60));
        let (a, b) = (n.word(), n.word());
        match n.below(12) {
            0 => say!(
                out,
                "{y}-{mo:02}-{d:02}T{h:02}:{m:02}:{s:02}.{:09}+02:00 {a} {b}",
                n.below(999_999_999)
            ),
            1 => say!(
                out,
                "Nov {d:>2} {h:02}:{m:02}:{s:02} host1 {a}[{}]: {b} took {} ms",
                n.below(99_999),
                n.below(9000)
            ),
            2 => say!(
                out,
                "10.{}.{}.{} - - [{d:02}/Nov/{y}:{h:02}:{m:02}:{s:02} +0000] \"GET /{a}/{} HTTP/1.1\" 200 {} \"-\" \"curl/8.{}\"",
                n.below(255),
                n.below(255),
                n.below(255),
                n.below(99_999),
                n.below(99_999),
                n.below(20)
            ),
            3 => say!(
                out,
                "[{:>5}.{:06}] {a}: {b} at 0x{:016x}",
                n.below(99_999),
                n.below(999_999),
                n.next()
            ),
            4 => say!(
                out,
                "17{:011} {a}={} {b}={}",
                n.below(99_999_999_999),
                n.below(900),
                n.below(900)
            ),
            5 => say!(
                out,
                "17{:014}\t17{:017}\t{a}",
                n.next() % 100_000_000_000_000,
                n.next() % 100_000_000_000_000_000
            ),
            6 => say!(
                out,
                "{d}.{mo}.{y} {h}:{m:02} | {mo}/{d}/{y} {h}:{m:02} PM | {y}{mo:02}{d:02}{h:02}{m:02}{s:02}"
            ),
            7 => say!(
                out,
                "ts={y}-{mo:02}-{d:02}T{h:02}:{m:02}:{s:02}Z level=debug caller={a}.go:{} msg=\"{b} done\" duration={}.{}ms",
                n.below(900),
                n.below(90),
                n.below(900)
            ),
            8 => say!(
                out,
                "64 bytes from 192.0.2.{}: icmp_seq={} ttl={} time={}.{} ms",
                n.below(255),
                n.below(900),
                n.below(255),
                n.below(90),
                n.below(90)
            ),
            9 => say!(
                out,
                "{{\"time\":\"{y}-{mo:02}-{d:02}T{h:02}:{m:02}:{s:02}Z\",\"level\":\"info\",\"logger\":\"{a}\",\"took\":{},\"n\":{}}}",
                n.below(900),
                n.below(900)
            ),
            10 => say!(
                out,
                "{h:02}:{m:02}:{s:02}.{:03} {a:>8} {b}: {}/{} ({}%)",
                n.below(1000),
                n.below(900),
                n.below(900),
                n.below(100)
            ),
            _ => say!(
                out,
                "{a}: {:02}:{m:02}:{s:02}:{:02} up {} days, load average: {}.{:02}, {}.{:02}, {}.{:02}",
                h,
                n.below(60),
                n.below(90),
                n.below(9),
                n.below(100),
                n.below(9),
                n.below(100),
                n.below(9),
                n.below(100)
            ),
        }
    }
}

/// Numbers and names that look like what detectors know, and are not: a checksum or an area that
/// does not hold.
fn ids(out: &mut String, n: &mut Numbers, lines: usize) {
    for _ in 0..lines {
        let (a, b) = (n.word(), n.word());
        match n.below(11) {
            0 => say!(
                out,
                "{a} {:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                n.next() as u32,
                n.next() as u16,
                n.next() & 0xfff,
                n.next() & 0xfff,
                n.next() >> 16
            ),
            1 => say!(out, "order 4{:014}{}", 0, n.below(9) + 3),
            2 => say!(
                out,
                "build 000-{:02}-{:04}, part 666-{:02}-{:04}, lot 9{:02}-{:02}-{:04}",
                n.below(100),
                n.below(10_000),
                n.below(100),
                n.below(10_000),
                n.below(100),
                n.below(100),
                n.below(10_000)
            ),
            3 => say!(
                out,
                "sha256:{:016x}{:016x}{:016x}{:016x}  {a}.tar",
                n.next(),
                n.next(),
                n.next(),
                n.next()
            ),
            4 => say!(out, "{:016x}{:016x}  ./{a}/{b}.txt", n.next(), n.next()),
            5 => say!(
                out,
                "DE00{:018} is no account",
                n.next() % 1_000_000_000_000_000_000
            ),
            6 => say!(
                out,
                "arn:aws:iam::{:012}:role/{a}-{b} i-{:017x} vpc-{:08x}",
                n.below(999_999_999_999),
                n.next() >> 1,
                n.next() as u32
            ),
            7 => say!(
                out,
                "job {} of {}: 1Z{:08}, 00{:018}",
                n.below(9000),
                n.below(9000),
                n.below(99_999_999),
                n.next() % 1_000_000_000_000_000_000
            ),
            8 => say!(
                out,
                "{a}-{b}-{:05x}-{:05x}   1/1     Running   {}          {}d{}h",
                n.next() & 0xf_ffff,
                n.next() & 0xf_ffff,
                n.below(9),
                n.below(90),
                n.below(24)
            ),
            9 => say!(
                out,
                "{}.{}.{}.{}:{} -> [2001:db8::{:x}:{:x}]:{}  {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
                n.below(255),
                n.below(255),
                n.below(255),
                n.below(255),
                n.below(65_535),
                n.below(65_535),
                n.below(65_535),
                n.below(65_535),
                n.below(255),
                n.below(255),
                n.below(255),
                n.below(255),
                n.below(255),
                n.below(255)
            ),
            _ => say!(
                out,
                "{a}@{}.service loaded active running {b} of {a}",
                n.below(90)
            ),
        }
    }
}

/// Tables of system tools.
fn tables(out: &mut String, n: &mut Numbers, lines: usize) {
    let kind = n.below(6);
    match kind {
        0 => say!(
            out,
            "Filesystem     1K-blocks      Used Available Use% Mounted on"
        ),
        1 => say!(
            out,
            "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND"
        ),
        2 => say!(
            out,
            "NAME                        READY   STATUS    RESTARTS   AGE     IP"
        ),
        3 => say!(
            out,
            "CONTAINER ID   IMAGE          COMMAND                  CREATED        STATUS        PORTS     NAMES"
        ),
        4 => say!(
            out,
            "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process"
        ),
        _ => say!(out, "| name | count | share |\n|------|------:|------:|"),
    }
    for _ in 0..lines {
        let (a, b) = (n.word(), n.word());
        match kind {
            0 => say!(
                out,
                "/dev/{a:<9} {:>10} {:>9} {:>9} {:>3}% /{b}",
                n.below(999_999_999),
                n.below(99_999_999),
                n.below(99_999_999),
                n.below(100)
            ),
            1 => say!(
                out,
                "root     {:>7} {:>4}.{} {:>4}.{} {:>6} {:>5} ?        Ss   {:02}:{:02}   {}:{:02} /usr/bin/{a} --{b}={}",
                n.below(99_999),
                n.below(99),
                n.below(9),
                n.below(99),
                n.below(9),
                n.below(999_999),
                n.below(99_999),
                n.below(24),
                n.below(60),
                n.below(90),
                n.below(60),
                n.below(900)
            ),
            2 => say!(
                out,
                "{:<27} {}/1     Running   {:<10} {:<7} 10.{}.{}.{}",
                format!("{a}-{b}-{:05x}", n.next() & 0xf_ffff),
                n.below(2),
                n.below(9),
                format!("{}d", n.below(90)),
                n.below(255),
                n.below(255),
                n.below(255)
            ),
            3 => say!(
                out,
                "{:012x}   {:<14} \"/bin/sh -c '{a}'\"      {} hours ago   Up {} hours   {}/tcp   {b}",
                n.next() >> 16,
                format!("{a}:{}", n.below(9)),
                n.below(24),
                n.below(24),
                n.below(65_535)
            ),
            4 => say!(
                out,
                "tcp   LISTEN 0      {:<6} 127.0.0.1:{:<7} 0.0.0.0:*    users:((\"{a}\",pid={},fd={}))",
                n.below(4096),
                n.below(65_535),
                n.below(99_999),
                n.below(90)
            ),
            _ => say!(
                out,
                "| {a} | {} | {}.{}% |",
                n.below(9000),
                n.below(99),
                n.below(9)
            ),
        }
    }
}

/// What databases answer where no column is protected.
fn queries(out: &mut String, n: &mut Numbers, lines: usize) {
    match n.below(5) {
        0 => {
            say!(
                out,
                "  id   |   name   |    created_at     | total \n-------+----------+-------------------+-------"
            );
            for _ in 0..lines {
                say!(
                    out,
                    " {:>5} | {:<8} | 2025-{:02}-{:02} {:02}:{:02}:00 | {:>5} ",
                    n.below(99_999),
                    n.word(),
                    n.below(12) + 1,
                    n.below(28) + 1,
                    n.below(24),
                    n.below(60),
                    n.below(99_999)
                );
            }
            say!(out, "({lines} rows)\n");
        }
        1 => {
            say!(out, "id|name|created_at|total");
            for _ in 0..lines {
                say!(
                    out,
                    "{}|{}|{}|17{:08}|{}",
                    n.below(99_999),
                    n.word(),
                    n.word(),
                    n.below(99_999_999),
                    n.below(9999)
                );
            }
            say!(out, "({lines} rows)");
        }
        2 => {
            say!(out, "id,name,city,lat,lon");
            for _ in 0..lines {
                say!(
                    out,
                    "{},\"{}, {}\",{},{}.{:06},-{}.{:06}",
                    n.below(99_999),
                    n.word(),
                    n.word(),
                    n.word(),
                    n.below(90),
                    n.below(999_999),
                    n.below(180),
                    n.below(999_999)
                );
            }
        }
        3 => {
            for k in 0..lines / 4 + 1 {
                say!(
                    out,
                    "-[ RECORD {} ]-----------------\nid         | {}\nname       | {}\ncreated_at | 2025-11-{:02}",
                    k + 1,
                    n.below(99_999),
                    n.word(),
                    n.below(28) + 1
                );
            }
        }
        _ => {
            say!(
                out,
                "CREATE TABLE t (id int, name text, total numeric);\nINSERT INTO t (id, name, total) VALUES"
            );
            for k in 0..lines {
                say!(
                    out,
                    "({}, '{} {}', {}.{:02}){}",
                    k,
                    n.word(),
                    n.word(),
                    n.below(9000),
                    n.below(100),
                    if k + 1 == lines { ";" } else { "," }
                );
            }
        }
    }
}

/// Documents of configuration and interfaces, with keys that end like no protected one.
fn records(out: &mut String, n: &mut Numbers, lines: usize) {
    match n.below(5) {
        0 => {
            say!(out, "[");
            for k in 0..lines / 4 + 1 {
                say!(
                    out,
                    "  {{\n    \"id\": {k},\n    \"name\": \"{} {}\",\n    \"ssn_verified\": true,\n    \"email_count\": {},\n    \"at\": \"2025-11-{:02}\"\n  }},",
                    n.word(),
                    n.word(),
                    n.below(90),
                    n.below(28) + 1
                );
            }
            say!(out, "  {{}}\n]");
        }
        1 => {
            for _ in 0..lines / 5 + 1 {
                say!(
                    out,
                    "- name: {}\n  image: {}:{}.{}\n  ports:\n    - {}\n  command: [\"{}\", \"--{}\", \"{}\"]",
                    n.word(),
                    n.word(),
                    n.below(9),
                    n.below(90),
                    n.below(65_535),
                    n.word(),
                    n.word(),
                    n.below(900)
                );
            }
        }
        2 => {
            for _ in 0..lines / 3 + 1 {
                say!(
                    out,
                    "[{}]\n{} = {}\n{}_timeout = \"{}s\"",
                    n.word(),
                    n.word(),
                    n.below(900),
                    n.word(),
                    n.below(90)
                );
            }
        }
        3 => {
            say!(out, "<?xml version=\"1.0\"?>\n<{}>", n.word());
            for _ in 0..lines {
                say!(
                    out,
                    "  <item id=\"{}\" kind=\"{}\"><name>{}</name><n>{}</n></item>",
                    n.below(9000),
                    n.word(),
                    n.word(),
                    n.below(900)
                );
            }
        }
        _ => {
            say!(
                out,
                "HTTP/1.1 200 OK\nContent-Type: text/html; charset=utf-8\nContent-Length: {}\nETag: \"{:016x}\"\n",
                n.below(99_999),
                n.next()
            );
            for _ in 0..lines {
                say!(
                    out,
                    "export {}_{}={}",
                    n.word().to_uppercase(),
                    n.word().to_uppercase(),
                    n.below(900)
                );
            }
        }
    }
}

/// Scans it all with these fields and every detector but the one for phones, which groups of
/// digits look like.
fn scan_all(fields: &[&str]) {
    let mut rule = Rule::new("r", Action::Mask(Mask::Redact));
    for detector in Detector::ALL {
        if detector != Detector::Phone {
            rule = rule.detector(detector);
        }
    }
    for field in fields {
        rule = rule.field(*field);
    }
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    let mut scanner = Scanner::new(rules, Options::default());
    let mut numbers = Numbers(0x5eed_1234_9876_abcd);
    let (mut fed, mut block) = (0, String::new());
    let mut expected: Vec<u8> = Vec::new();
    while fed < total() {
        block.clear();
        while block.len() < 1 << 16 {
            document(&mut block, &mut numbers);
        }
        fed += block.len();
        expected.extend_from_slice(block.as_bytes());
        scanner.feed(
            Stream::Stdout,
            Raw::new(Bytes::copy_from_slice(block.as_bytes())),
        );
        let mut left = 0;
        while let Some(Step::Pass { bytes, .. }) = scanner.next_step() {
            let was = expected.get(left..).unwrap();
            let same = |(a, b): &(&u8, &u8)| a == b;
            let size = bytes.as_bytes().iter().zip(was).take_while(same).count();
            assert!(
                size == bytes.len(),
                "changed: {:?} became {:?}",
                near(was, size),
                near(bytes.as_bytes(), size)
            );
            left += size;
        }
        expected.drain(..left);
    }
    assert_eq!(scanner.coverage().masked, 0);
}

/// What stands around a place.
fn near(text: &[u8], at: usize) -> String {
    let part = text.get(at.saturating_sub(200)..text.len().min(at + 60));
    String::from_utf8_lossy(part.unwrap()).into_owned()
}

const FIELDS: [&str; 6] = [
    "ssn",
    "email",
    "password",
    "account_number",
    "amount",
    "authorization",
];

#[test]
fn not_one_byte_changes() {
    scan_all(&FIELDS);
}

/// A field with a parent turns the fast path off.
#[test]
fn not_one_byte_changes_byte_by_byte() {
    let mut fields = FIELDS.to_vec();
    fields.push("customer.phone");
    scan_all(&fields);
}
