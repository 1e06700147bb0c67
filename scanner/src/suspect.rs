//! Which places of a text are looked at, compiled from the rules, and the closer look.
//!
//! A line without a suspect leaves as it came: nothing in it can be a protected name, a value of
//! a detector, or change what the lines after it mean. `simd` finds suspects, many of which are
//! nothing; [`Suspects::look`] tells those without deciding what the others are. Whatever the
//! byte machine (`lane`) would act upon has to be a suspect: where it learns to act on something
//! new, it has to be added here.

use crate::detect::{self, Found, Region};
use crate::endings::Recent;
use crate::name::{NAME_MAX, is_word, unescape};
use crate::rules::{Action, Compiled, Detector, Unreadable};
use crate::simd::Tables;
use crate::table;

/// What is suspect.
#[derive(Clone, Debug)]
pub(crate) struct Suspects {
    pub(crate) tables: Tables,
    /// Whether the rules can be compiled to this at all.
    pub(crate) usable: bool,
    /// Whether everything leaves, at least masked: no rule withholds or refuses.
    pub(crate) all_leaves: bool,
}

/// What a suspect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Nothing,
    /// What may be a protected name ends before this position.
    Name(usize),
    /// It has to be looked at by the byte machine.
    Doubt,
}

/// How far back a tag is looked for, as in `lane`.
const TAG_MAX: usize = 512;

impl Suspects {
    /// Nothing is.
    pub(crate) fn none() -> Self {
        Self {
            tables: Tables::new(),
            usable: false,
            all_leaves: false,
        }
    }

    pub(crate) fn new(rules: &Compiled) -> Self {
        let mut new = Self {
            tables: Tables::new(),
            usable: !rules.has_paths,
            all_leaves: rules.unreadable == Unreadable::Pass
                && rules
                    .rules
                    .iter()
                    .all(|r| matches!(r.action(), Action::Mask(_))),
        };
        let mut endings: Vec<[u8; 3]> = Vec::new();
        for field in &rules.fields {
            let mut last = field.name.iter().rev().copied();
            // 0 stands for anything.
            let ending = [(); 3].map(|()| last.next().unwrap_or(0));
            new.usable &= ending.is_ascii();
            endings.push(ending);
        }
        // `data` of a Kubernetes Secret.
        endings.push(*b"ata");
        // A value that may stand before its name, in another line; `Your password is: …`.
        if !rules.fields.is_empty() {
            endings.push(*b"eul");
            endings.push(*b"si ");
        }
        // `IDENTIFIED BY '…'`.
        if rules.field(b"password").is_some() {
            endings.push(*b"dei");
        }
        endings.sort_unstable();
        endings.dedup();
        let each = endings.len().div_ceil(8).max(1);
        for (group, endings) in endings.chunks(each).enumerate() {
            for ending in endings {
                new.word(ending, 1 << group);
            }
        }
        new.marks(rules);
        new.tables.prepare();
        new
    }

    fn word(&mut self, ending: &[u8; 3], group: u8) {
        for (k, (table, want)) in self.tables.word.iter_mut().zip(ending).enumerate() {
            for (b, slot) in (0u8..).zip(table.iter_mut()) {
                let fits = *want == 0 || b.eq_ignore_ascii_case(want) || (k == 2 && !is_word(b));
                if fits {
                    *slot |= group;
                }
            }
        }
    }

    /// What is suspect wherever it stands.
    fn marks(&mut self, rules: &Compiled) {
        const ALL: &[u8] = &[];
        let wants = |d| rules.detector(d).is_some();
        let named = !rules.fields.is_empty();
        let ones = |on: bool| if on { u64::MAX } else { 0 };
        self.tables.card = ones(wants(Detector::PaymentCard));
        self.tables.ssn = ones(wants(Detector::UsSsn));
        let gaps = [Detector::PaymentCard, Detector::UsSsn, Detector::Iban];
        self.tables.gaps = ones(gaps.into_iter().any(wants));
        self.tables.phone = ones(wants(Detector::Phone));
        self.tables.named = ones(named);
        // What the terminal does not show.
        self.mark(0, b"\x00\x08\x1b", ALL, ALL);
        if wants(Detector::Email) || wants(Detector::UrlPassword) {
            self.mark(0, b"@", ALL, ALL);
        }
        if wants(Detector::Phone) {
            self.mark(0, b"+", ALL, ALL);
        }
        let upper: Vec<u8> = (b'A'..=b'Z').collect();
        if wants(Detector::Iban) {
            self.mark(4, b"0123456789", b"0123456789", &upper);
        }
        if wants(Detector::Jwt) {
            self.mark(2, b"J", b"y", b"e");
        }
        if wants(Detector::PrivateKey) {
            self.mark(2, b"Y", b"E", b"K");
        }
        if wants(Detector::AwsKey) {
            self.mark(7, b"I", b"KS", b"A");
        }
        if wants(Detector::SlackToken) {
            self.mark(7, b"x", b"o", b"x");
        }
        if wants(Detector::GithubToken) {
            self.mark(3, b"_p", b"pousr_", b"hb");
        }
        if named || wants(Detector::Email) {
            self.mark(1, b"ux#0123456789abcdefABCDEF", b"\\%&", ALL);
        }
        if named {
            self.mark(0, b"<>", ALL, ALL);
            self.mark(5, b"R", b" |", b"[*^");
            // Settings: `fastcgi_param`, `set -x`, `ENV`, `setenv`, `add_header`.
            self.mark(2, b"p", b"_", b"i");
            self.mark(5, b"-", b" ", b"t");
            self.mark(7, b"vVe", b"nNh", b"eE_");
            self.mark(6, b"rRnNa", b"cCiIm", b"\n");
        }
    }

    /// Three bytes in a row, the last one first; an empty set is any byte.
    fn mark(&mut self, group: u8, last: &[u8], before: &[u8], first: &[u8]) {
        for (table, set) in self.tables.mark.iter_mut().zip([last, before, first]) {
            for (b, slot) in (0u8..).zip(table.iter_mut()) {
                if set.is_empty() || set.contains(&b) {
                    *slot |= 1 << group;
                }
            }
        }
    }

    /// Whether a suspect is nothing, as the bytes next to it say: what is most often so.
    pub(crate) fn is_nothing(text: &[u8], at: usize) -> bool {
        let byte = |at: usize| text.get(at).copied().unwrap_or(b'\n');
        match byte(at) {
            // `cr` at the start of a line, which begins no `create`.
            b'r' | b'R' => {
                byte(at.wrapping_sub(1)).eq_ignore_ascii_case(&b'c')
                    && !byte(at + 1).eq_ignore_ascii_case(&b'e')
            }
            // The same for `insert`.
            b'n' | b'N' => {
                byte(at.wrapping_sub(1)).eq_ignore_ascii_case(&b'c')
                    || !byte(at + 1).eq_ignore_ascii_case(&b's')
            }
            // `ma` at the start of a line, which begins no `machine` of a `.netrc`.
            b'a' => {
                matches!(byte(at.wrapping_sub(1)), b'm' | b'c' | b'C' | b'i' | b'I')
                    && !(byte(at.wrapping_sub(1)) == b'm' && byte(at + 1) == b'c')
            }
            // A capital and two digits, where an IBAN has two capitals.
            b'0'..=b'9' => {
                byte(at.wrapping_sub(2)).is_ascii_uppercase()
                    && byte(at.wrapping_sub(1)).is_ascii_digit()
                    && !byte(at.wrapping_sub(3)).is_ascii_uppercase()
            }
            _ => false,
        }
    }

    /// What stands at the suspect `at` of the line from `start` to its newline at `end`. What
    /// stands before `text` is not known.
    #[inline(always)]
    pub(crate) fn look(
        rules: &Compiled,
        text: &[u8],
        start: usize,
        end: usize,
        at: usize,
        recent: &mut Recent,
    ) -> Look {
        if recent.is_other(text, at) {
            return Look::Nothing;
        }
        Near { text, at }.look(rules, start, end, recent)
    }
}

/// Whether a suspect may be more than the end of a name, as the byte at its place says, and the
/// one before.
const HERE: u8 = 1;
const BEFORE: u8 = 2;

#[inline]
fn says(b: u8) -> u8 {
    #[expect(
        clippy::indexing_slicing,
        reason = "every index is known to be in the array when this is compiled"
    )]
    const SAYS: [u8; 256] = {
        let mut all = [0; 256];
        let mut at = 0;
        while at < all.len() {
            let b = at as u8;
            if b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    0 | 8 | 0x1b | b'\n' | b'@' | b'<' | b'>' | b'+' | b'_' | b'-'
                )
            {
                all[at] |= HERE;
            }
            if matches!(b, b'\r' | b'\\' | b'%' | b'&' | b'-') {
                all[at] |= BEFORE;
            }
            at += 1;
        }
        all
    };
    SAYS.get(usize::from(b)).copied().unwrap_or(HERE | BEFORE)
}

fn is_value(found: Found) -> bool {
    !matches!(found, Found::No(_))
}

/// From `://` on no more of a URL is looked at for the end of its password.
const URL_MAX: usize = 2048 + 8;

/// An e-mail address, or the end of a password in a URL.
fn is_address(rules: &Compiled, region: Region<'_>, start: usize, at: usize) -> bool {
    let from = start.max(at.saturating_sub(URL_MAX));
    let line = region.text.get(from..at).unwrap_or_default();
    // What stands before another one was looked at there.
    let new = memchr::memrchr(b'@', line).map_or(0, |i| i + 1);
    let line = line.get(new..).unwrap_or_default();
    (rules.detector(Detector::UrlPassword).is_some()
        && (memchr::memmem::find(line, b"://").is_some()
            || memchr::memmem::find(line, b":\\/\\/").is_some()))
        || (rules.detector(Detector::Email).is_some() && is_value(detect::email(region, at)))
}

/// A card, a number or an IBAN whose digits begin in the bytes before.
fn is_number(rules: &Compiled, region: Region<'_>, start: usize, at: usize) -> bool {
    let digit = |i: usize| region.text.get(i).is_some_and(u8::is_ascii_digit);
    let floor = start.max(at.saturating_sub(40));
    let mut from = at;
    while from > floor
        && region.text.get(from - 1).is_some_and(|b| {
            b.is_ascii_digit() || matches!(b, b' ' | b'-' | b'.' | b'(' | b')' | b'+')
        })
    {
        from -= 1;
    }
    (from..=at + 1).any(|i| {
        digit(i)
            && !i.checked_sub(1).is_some_and(digit)
            && is_value(detect::digits(region, i, |d| rules.detector(d).is_some()))
    })
}

/// A record of an expanded display, or a table that is created.
fn starts_something(line: &[u8], upper: bool) -> bool {
    (upper && (crate::lane::is_record(line) || line.starts_with(b"2+^|Record ")))
        || crate::lane::created_name(line).is_some()
}

/// Whether a text ends with the word behind which SQL says a password.
fn ends_identified(text: &[u8]) -> bool {
    let tail = text.len().checked_sub(10).and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(b"identified"))
}

/// A place in a text.
#[derive(Clone, Copy)]
struct Near<'a> {
    text: &'a [u8],
    at: usize,
}

impl Near<'_> {
    /// The byte that stands `n` before; a newline where nothing is known.
    fn back(self, n: usize) -> u8 {
        let at = self.at.checked_sub(n);
        at.and_then(|i| self.text.get(i)).copied().unwrap_or(b'\n')
    }

    fn ahead(self, n: usize) -> u8 {
        self.text.get(self.at + n).copied().unwrap_or(b'\n')
    }

    /// The same as [`Suspects::look`].
    #[inline(never)]
    fn look(self, rules: &Compiled, start: usize, end: usize, recent: &mut Recent) -> Look {
        if says(self.back(0)) & HERE != 0 || says(self.back(1)) & BEFORE != 0 {
            return self.look_closely(rules, start, end, recent);
        }
        if self.back(0) >= 0x80 && self.parts_numbers() {
            return Look::Doubt;
        }
        let look = self.ends_name(rules, recent);
        // Of `data` it depends on what follows; behind a space it is the word before it.
        let before = self.text.get(..self.at).unwrap_or_default();
        if look == Look::Nothing
            && self.back(1).is_ascii_alphanumeric()
            && !crate::lane::opens_data(before)
            && !crate::lane::ends_value(before)
            && !ends_identified(before)
            && !before.ends_with(b" is")
        {
            recent.keep_other(&rules.endings, self.text, self.at);
        }
        look
    }

    /// The same, whatever stands here.
    #[inline(never)]
    fn look_closely(self, rules: &Compiled, start: usize, end: usize, recent: &mut Recent) -> Look {
        let Self { text, at } = self;
        let (b, before) = (self.back(0), self.back(1));
        let region = Region {
            text: text.get(..end).unwrap_or_default(),
            closed: true,
        };
        let line = text.get(start..end).unwrap_or_default();
        let doubt = match b {
            0 | 8 | 0x1b => true,
            b'\n' => table::is_rule(line),
            b'@' => {
                is_address(rules, region, start, at)
                    || crate::lane::sets_password(text.get(start..at).unwrap_or_default())
            }
            b'v' | b'V' | b'e' => crate::lane::is_setting(line),
            b'-' if before == b' ' => crate::lane::is_setting(line),
            b'<' => self.opens_table(),
            b'>' => self.is_tag(rules),
            b'0'..=b'9' | b'+' => is_number(rules, region, start, at),
            b'J' if at >= 2 => is_value(detect::jwt(region, at - 2)),
            b'I' => is_value(detect::aws(region, at)),
            b'_' => is_value(detect::github(region, at)),
            b'p' => {
                region
                    .text
                    .get(..at)
                    .is_some_and(|t| t.ends_with(b"github_"))
                    || crate::lane::is_setting(line)
            }
            b'x' if at >= 2 => is_value(detect::slack(region, at - 1)),
            b'Y' => region
                .text
                .get(..=at)
                .is_some_and(|t| t.ends_with(b"PRIVATE KEY")),
            b'N' | b'n' => crate::lane::begins_insert(
                text.get(start..end)
                    .map_or(b"", |line| line.strip_suffix(b"\r").unwrap_or(line)),
            ),
            b'a' if before == b'm' => text
                .get(start..end)
                .is_some_and(|line| line.starts_with(b"machine ")),
            b'R' | b'r' => starts_something(text.get(start..end).unwrap_or_default(), b == b'R'),
            _ => false,
        };
        if doubt
            || (before == b'\r' && b != b'\n')
            || (b == b'b'
                && before == b'\\'
                && crate::table::begins_records(text.get(start..end).unwrap_or_default()))
            || (matches!(before, b'\\' | b'%' | b'&')
                && (self.is_escape(rules) || self.is_at_sign(rules, region)))
            || (before == b'-' && self.back(2) == b'-' && self.is_argument(rules, end))
        {
            return Look::Doubt;
        }
        if b.is_ascii_alphanumeric() {
            return Look::Nothing;
        }
        self.ends_name(rules, recent)
    }

    /// Whether a blank or hyphen of UTF-8 stands here between two digits.
    fn parts_numbers(self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let size = detect::wide_gap(rest);
        size > 0 && self.back(1).is_ascii_digit() && rest.get(size).is_some_and(u8::is_ascii_digit)
    }

    /// Whether the name of a field, or of what holds secrets, may end here.
    #[inline]
    fn ends_name(self, rules: &Compiled, recent: &mut Recent) -> Look {
        let word = self.at.saturating_sub(usize::from(self.back(1) == b' '));
        if self.opens_data(word)
            || crate::lane::opens_pair(self.text, word)
            || crate::lane::says_is(rules, self.text, word)
            || self
                .text
                .get(..word)
                .is_some_and(|text| ends_identified(text) && rules.field(b"password").is_some())
        {
            return Look::Doubt;
        }
        if recent.may_end(&rules.endings, self.text, word) {
            Look::Name(word)
        } else {
            Look::Nothing
        }
    }

    /// `<table`, `<tr`, `<td`, `<th` or the end of one.
    fn opens_table(self) -> bool {
        let skip = if self.ahead(1) == b'/' { 2 } else { 1 };
        self.ahead(skip).eq_ignore_ascii_case(&b't')
            && matches!(
                self.ahead(skip + 1).to_ascii_lowercase(),
                b'a' | b'r' | b'd' | b'h'
            )
    }

    /// Whether `data:` or `"data":` stands here, whose word ends before `word`.
    fn opens_data(self, word: usize) -> bool {
        let last = word.checked_sub(1).and_then(|i| self.text.get(i));
        if !matches!(last, Some(b'a' | b'"' | b'\\')) {
            return false;
        }
        let rest = self.text.get(word..).unwrap_or_default();
        let mut rest = rest.iter().take(5);
        crate::lane::opens_data(self.text.get(..word).unwrap_or_default())
            && rest.find(|b| !matches!(b, b'"' | b'\\')) == Some(&b':')
    }

    /// Whether a tag ends here that names something, or may begin before what is known.
    fn is_tag(self, rules: &Compiled) -> bool {
        let Self { text, at } = self;
        let from = at.saturating_sub(TAG_MAX);
        let back = text.get(from..at).unwrap_or_default();
        let Some(open) = memchr::memrchr(b'<', back) else {
            return from == 0;
        };
        let inside = back.get(open + 1..).unwrap_or_default();
        if inside.contains(&b'>') {
            return false;
        }
        let tag = inside.strip_prefix(b"/").unwrap_or(inside);
        let size = tag
            .iter()
            .take_while(|b| is_word(**b) || matches!(b, b'_' | b'-' | b'.' | b':'))
            .count();
        let name = tag.get(..size).unwrap_or_default();
        let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
        let is = |names: &[&str]| {
            names
                .iter()
                .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
        };
        if is(&["table", "tr", "td", "th"]) {
            return true;
        }
        if is(&["key", "name", "dt"]) && tag.len() < inside.len() {
            // What it closes may be a name.
            let open = from + open;
            let before = text.get(open.saturating_sub(160)..open).unwrap_or_default();
            let content = memchr::memrchr(b'>', before).and_then(|i| before.get(i + 1..));
            let content = content.unwrap_or(before).trim_ascii();
            let content = content.strip_suffix(b":").unwrap_or(content);
            return open < 160 || rules.field(content).is_some();
        }
        rules.field(local).is_some()
            || crate::lane::attribute(tag, &[b"name", b"key", b"field", b"id"])
                .is_some_and(|n| rules.field(&n).is_some())
    }

    /// Whether the escape that begins before stands for the `@` of an address.
    fn is_at_sign(self, rules: &Compiled, region: Region<'_>) -> bool {
        let rest = region.text.get(self.at..).unwrap_or_default();
        let skip = rest.iter().take(2).take_while(|b| !b.is_ascii_digit());
        rules.detector(Detector::Email).is_some()
            && is_value(detect::encoded_email(region, self.at + skip.count()))
    }

    /// Whether the escape that begins before may belong to a protected name.
    fn is_escape(self, rules: &Compiled) -> bool {
        let Self { text, at } = self;
        let is_one = match self.back(1) {
            b'\\' => matches!(self.back(0), b'u' | b'x'),
            b'%' => self.back(0).is_ascii_hexdigit() && self.ahead(1).is_ascii_hexdigit(),
            _ => self.back(0) == b'#',
        };
        if !is_one {
            return false;
        }
        let apart = |b: &u8| {
            b.is_ascii_whitespace()
                || matches!(
                    b,
                    b'"' | b'\''
                        | b'`'
                        | b','
                        | b'='
                        | b':'
                        | b'|'
                        | b'<'
                        | b'>'
                        | b'('
                        | b')'
                        | b'['
                        | b']'
                        | b'{'
                        | b'}'
                )
        };
        let from = at.saturating_sub(2 * NAME_MAX);
        let head = text.get(from..at).unwrap_or_default();
        let tail = text.get(at..).unwrap_or_default();
        let (Some(before), Some(size)) = (
            head.iter().rposition(apart),
            tail.iter().take(2 * NAME_MAX).position(apart),
        ) else {
            return true;
        };
        let token = text.get(from + before + 1..at + size).unwrap_or_default();
        let token = unescape(token);
        let mut words = token
            .split(|b| !is_word(*b))
            .rev()
            .filter(|w| !w.is_empty());
        // What was escaped may itself have ended a word.
        words.any(|word| rules.may_end(word))
    }

    /// Whether `--name` begins before and is protected.
    fn is_argument(self, rules: &Compiled, end: usize) -> bool {
        let rest = self.text.get(self.at..end).unwrap_or_default();
        let size = rest
            .iter()
            .take_while(|b| is_word(**b) || matches!(b, b'_' | b'-' | b'.'))
            .count();
        size > NAME_MAX || rules.field(rest.get(..size).unwrap_or_default()).is_some()
    }
}
