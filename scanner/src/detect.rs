//! Detectors: values that are recognised without a name.
//!
//! Each function looks at a place in a text where a match may stand (an `@`, the first digit of a
//! run) and says whether one does, or that more of the text is needed to tell.

use crate::rules::Detector;

/// A piece of a text: it ends at `limit`, for certain if it is `closed`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region<'a> {
    /// The text with what came before, up to the limit.
    pub(crate) text: &'a [u8],
    /// Whether nothing more belongs to it.
    pub(crate) closed: bool,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing; go on at this position.
    No(usize),
    /// What begins at this position is undecided.
    More(usize),
    /// A value from the first position to the second.
    Value(usize, usize, Detector),
}

impl Region<'_> {
    fn at(&self, i: usize) -> Option<u8> {
        self.text.get(i).copied()
    }

    fn before(&self, i: usize) -> Option<u8> {
        self.at(i.checked_sub(1)?)
    }

    /// The same, where no escape of a string (`\n`, `\u00e9`) ends there: a value may begin behind one.
    fn joined(&self, i: usize) -> Option<u8> {
        self.before(i).filter(|_| self.behind_escape(i) != Some(i))
    }

    /// Where the escape ends that `i` stands in or right behind.
    fn behind_escape(&self, i: usize) -> Option<usize> {
        let slash = i - (1..=6.min(i)).find(|back| self.at(i - back) == Some(b'\\'))?;
        let end = slash + 1 + escape(self.text.get(slash + 1..)?);
        (end > slash + 1 && end >= i).then_some(end)
    }

    /// The end of the bytes from `i` on that satisfy `f`, and whether it is certain.
    fn run(&self, i: usize, max: usize, f: impl Fn(u8) -> bool) -> (usize, bool) {
        let rest = self.text.get(i..).unwrap_or_default();
        let size = rest.iter().take(max).take_while(|b| f(**b)).count();
        crate::work::count(size);
        (i + size, size < rest.len() || self.closed)
    }
}

const LOCAL_MAX: usize = 64;

/// Whether a byte may stand in the local part of an address.
pub(crate) fn is_local(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-') || (0x80..0xd0).contains(&b)
}

/// The size of an escape behind its backslash, in a string of JSON or C; 0 if it is not known, or stands for itself.
fn escape(text: &[u8]) -> usize {
    let hex = |n: usize| match text.get(1..=n) {
        Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => 1 + n,
        _ => 0,
    };
    match text.first() {
        Some(b'b' | b'f' | b'n' | b'r' | b't' | b'v') => 1,
        Some(b'u') => hex(4),
        Some(b'x') => hex(2),
        _ => 0,
    }
}

/// Where a token begins that ends at `end` and that may become an address or another value.
pub(crate) fn token_start(text: &[u8], end: usize) -> usize {
    let mut start = end;
    while let Some(&b) = start.checked_sub(1).and_then(|i| text.get(i)) {
        if !is_local(b) || end - start >= LOCAL_MAX || (b == b'.' && text.get(start) == Some(&b'.'))
        {
            break;
        }
        start -= 1;
    }
    while start < end && text.get(start).is_some_and(|b| !begins_token(*b)) {
        start += 1;
    }
    start
}

fn begins_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || (0xc0..0xd0).contains(&b)
}

/// How else an `@` is written: in a URL, a string of JSON, a page.
const AT_SIGNS: [&[u8]; 4] = [b"%40", b"\\u0040", b"&#64;", b"&#x40;"];

/// The `@` that is written in another way around the digit at `i`: from where to where. `None`: more
/// is needed.
fn encoded_at(r: Region<'_>, i: usize) -> Option<Option<(usize, usize)>> {
    let mut found = Some(None);
    for (sign, digits) in AT_SIGNS.into_iter().zip([1, 2, 2, 3]) {
        let Some(start) = i.checked_sub(digits) else {
            continue;
        };
        let rest = r.text.get(start..).unwrap_or_default();
        if rest.starts_with(sign) {
            return Some(Some((start, start + sign.len())));
        }
        if !r.closed && rest.len() > digits && sign.starts_with(rest) {
            found = None;
        }
    }
    found
}

/// Where an address may begin whose `@` is written in another way and not whole at the end of a
/// text; the end of the text where none may.
pub(crate) fn open_at(text: &[u8], end: usize) -> usize {
    let text = text.get(..end).unwrap_or_default();
    let near = text.get(end.saturating_sub(6)..).unwrap_or_default();
    let Some(size) = (1..=near.len()).find(|size| {
        let tail = near.get(near.len() - size..).unwrap_or_default();
        matches!(tail.first(), Some(b'%' | b'\\' | b'&'))
            && AT_SIGNS.iter().any(|sign| sign.starts_with(tail))
    }) else {
        return end;
    };
    let sign = end - size;
    let start = token_start(text, sign);
    let name = text.get(start..sign).unwrap_or_default();
    if name.iter().any(u8::is_ascii_alphabetic) {
        start
    } else {
        end
    }
}

/// An e-mail address whose `@` is written in another way around the digit at `i`.
pub(crate) fn encoded_email(r: Region<'_>, i: usize) -> Found {
    match encoded_at(r, i) {
        None => Found::More(i),
        Some(None) => Found::No(i),
        Some(Some((from, to))) => match address(r, from, to) {
            Found::No(_) => Found::No(i),
            found => found,
        },
    }
}

/// An e-mail address around the `@` at `at`.
pub(crate) fn email(r: Region<'_>, at: usize) -> Found {
    address(r, at, at + 1)
}

/// The same around one that stands from `at` to `after`.
fn address(r: Region<'_>, at: usize, after: usize) -> Found {
    let mut start = token_start(r.text, at);
    // The letters of an escape before it are no part of it.
    if r.before(start) == Some(b'\\') {
        start += escape(r.text.get(start..at).unwrap_or_default());
        let marks = r.text.get(start..at).unwrap_or_default();
        start += marks.iter().take_while(|b| !begins_token(**b)).count();
    }
    if start == at || r.text.get(start..at) == Some(b"git") {
        return Found::No(at + 1);
    }
    let (end, certain) = r.run(after, 255, |b| {
        b.is_ascii_alphanumeric() || b == b'.' || b == b'-'
    });
    if !certain {
        return Found::More(start);
    }
    let domain = r.text.get(after..end).unwrap_or_default();
    let size = domain
        .iter()
        .rposition(u8::is_ascii_alphanumeric)
        .map_or(0, |i| i + 1);
    let domain = domain.get(..size).unwrap_or_default();
    let mut labels = domain.split(|b| *b == b'.').rev();
    let top = labels.next().unwrap_or_default();
    let good = (2..=24).contains(&top.len())
        && top.iter().all(u8::is_ascii_alphabetic)
        && !NOT_DOMAINS.contains(&top.to_ascii_lowercase().as_slice())
        && labels.clone().count() > 0
        && labels.all(|l| {
            !l.is_empty() && l.len() <= 63 && l.first() != Some(&b'-') && l.last() != Some(&b'-')
        });
    if !good {
        return Found::No(at + 1);
    }
    if is_ssh_name(r.text.get(start..at).unwrap_or_default(), domain) {
        return Found::No(at + 1 + size);
    }
    // `ada@db.example.com:~$` is a prompt.
    let end = after + size;
    match (r.at(end), r.at(end + 1)) {
        (Some(b':'), Some(b'~')) => Found::No(end),
        (Some(b':'), None) if !r.closed => Found::More(start),
        _ => Found::Value(start, end, Detector::Email),
    }
}

/// Whether `local@domain` names an algorithm or an extension of SSH (RFC 4251, section 6), not
/// somebody: `aes128-gcm@openssh.com`.
fn is_ssh_name(local: &[u8], domain: &[u8]) -> bool {
    match domain {
        b"openssh.com" | b"libssh.org" => {
            let numbered = local.iter().any(u8::is_ascii_digit) && local.contains(&b'-');
            numbered || SSH_NAMES.contains(&local)
        }
        b"lysator.liu.se" => local == b"rijndael-cbc",
        _ => false,
    }
}

/// Names of extensions that have no number.
const SSH_NAMES: [&[u8]; 31] = [
    b"auth-agent",
    b"auth-agent-req",
    b"cancel-streamlocal-forward",
    b"copy-data",
    b"direct-streamlocal",
    b"eow",
    b"ext-auth-info",
    b"expand-path",
    b"forwarded-streamlocal",
    b"fstatvfs",
    b"fsync",
    b"hardlink",
    b"home-directory",
    b"hostkeys",
    b"hostkeys-prove",
    b"keepalive",
    b"limits",
    b"lsetstat",
    b"no-more-sessions",
    b"ping",
    b"posix-rename",
    b"publickey-hostbound",
    b"restrict-destination",
    b"session-bind",
    b"signal",
    b"sk-provider",
    b"statvfs",
    b"streamlocal-forward",
    b"tun",
    b"users-groups-by-id",
    b"zlib",
];

/// Ends of names with an `@` that are no addresses: units of systemd, pictures, sources.
const NOT_DOMAINS: [&[u8]; 28] = [
    b"service",
    b"socket",
    b"slice",
    b"scope",
    b"mount",
    b"automount",
    b"timer",
    b"target",
    b"path",
    b"swap",
    b"device",
    b"png",
    b"jpg",
    b"jpeg",
    b"gif",
    b"svg",
    b"webp",
    b"js",
    b"mjs",
    b"ts",
    b"css",
    b"json",
    b"tgz",
    b"lock",
    b"toml",
    b"yaml",
    b"html",
    b"conf",
];

/// What begins with the digit at `i`, the first of its run: a card, a social security number, an
/// IBAN (whose two letters stand before it), a telephone number.
pub(crate) fn digits(r: Region<'_>, i: usize, wants: impl Fn(Detector) -> bool) -> Found {
    let (end, certain) = r.run(i, 64, |b| b.is_ascii_digit());
    let size = end - i;
    let before = r.before(i);
    if wants(Detector::Email) && matches!(before, Some(b'%' | b'u' | b'#' | b'x')) {
        match encoded_email(r, i) {
            Found::No(_) => {}
            found => return found,
        }
    }
    if wants(Detector::Iban) && before.is_some_and(|b| b.is_ascii_uppercase()) {
        match iban(r, i) {
            Found::No(_) => {}
            found => return found,
        }
    }
    let edge = !r.joined(i).is_some_and(|b| {
        b.is_ascii_alphanumeric()
            || b == b'_'
            || (matches!(b, b'.' | b'-')
                && i >= 2
                && r.at(i - 2).is_some_and(|b| b.is_ascii_alphanumeric()))
    });
    // A country code may be shorter than what else is looked for.
    let short =
        size < 3 && wants(Detector::Phone) && (before == Some(b'+') || r.at(i) == Some(b'1'));
    // Times, versions, grouped numbers: most runs end here.
    if size < 3 && certain && !short {
        return Found::No(end);
    }
    if !certain {
        return if size >= 64 {
            Found::No(end)
        } else {
            Found::More(i)
        };
    }
    // Behind an escape one may begin, too.
    let i = match edge {
        true => i,
        false => match r.behind_escape(i) {
            Some(to) if to < end => to,
            _ => return Found::No(end),
        },
    };
    let size = end - i;
    if size == 3 && wants(Detector::UsSsn) {
        match ssn(r, i) {
            Found::No(_) => {}
            found => return found,
        }
    }
    if wants(Detector::PaymentCard) && matches!(size, 4 | 15 | 16) {
        match card(r, i) {
            Found::No(_) => {}
            found => return found,
        }
    }
    if wants(Detector::Phone) {
        match phone(r, i) {
            Found::No(_) => {}
            found => return found,
        }
    }
    Found::No(end)
}

/// Digits behind a number that may be taken back before it is judged.
const TAKEN_BACK: usize = 8;

/// Whether digits stand at `at` that the program which prints them may still take back.
fn may_be_taken_back(r: Region<'_>, at: usize) -> bool {
    let (end, certain) = r.run(at, TAKEN_BACK, |b| b.is_ascii_digit());
    end > at && !certain
}

/// Whether a number that ends at `end` goes on there; `None`: more is needed.
fn ends(r: Region<'_>, end: usize) -> Option<bool> {
    match r.at(end) {
        None => r.closed.then_some(true),
        Some(_) if may_be_taken_back(r, end) => None,
        Some(b) if b.is_ascii_alphanumeric() || b == b'_' => Some(false),
        Some(b'.' | b'-') => match r.at(end + 1) {
            None => r.closed.then_some(true),
            Some(b) => Some(!b.is_ascii_alphanumeric()),
        },
        Some(_) => Some(true),
    }
}

fn ssn(r: Region<'_>, i: usize) -> Found {
    let dash = match gap(r, i + 3) {
        None => return Found::More(i),
        Some(gap) if gap.is_empty() || gap == b" " => return Found::No(i),
        Some(gap) => gap,
    };
    if dash != b"-" {
        return wide_ssn(r, i, dash);
    }
    let shape = b"ddd-dd-dddd";
    for (k, want) in shape.iter().enumerate() {
        match r.at(i + k) {
            None if r.closed => return Found::No(i),
            None => return Found::More(i),
            Some(b) if *want == b'd' && b.is_ascii_digit() => {}
            Some(b'-') if *want == b'-' => {}
            Some(_) if may_be_taken_back(r, i + k) => return Found::More(i),
            Some(_) => return Found::No(i),
        }
    }
    let end = i + shape.len();
    match ends(r, end) {
        None => return Found::More(i),
        Some(false) => return Found::No(i),
        Some(true) => {}
    }
    let text = r.text.get(i..end).unwrap_or_default();
    let part = |range| text.get(range).unwrap_or_default();
    if is_ssn(part(0..3), part(4..6), part(7..11)) {
        Found::Value(i, end, Detector::UsSsn)
    } else {
        Found::No(i)
    }
}

/// The same with hyphens that are not ASCII's.
fn wide_ssn(r: Region<'_>, i: usize, dash: &[u8]) -> Found {
    let mut at = i;
    let mut parts = [&b""[..]; 3];
    for (k, (part, size)) in parts.iter_mut().zip([3, 2, 4]).enumerate() {
        if k > 0 {
            let rest = r.text.get(at..).unwrap_or_default();
            if !rest.starts_with(dash) {
                let more = !r.closed && dash.starts_with(rest);
                return if more { Found::More(i) } else { Found::No(i) };
            }
            at += dash.len();
        }
        let (end, _) = r.run(at, size, |b| b.is_ascii_digit());
        if end - at < size {
            let more = !r.closed && end == r.text.len();
            return if more { Found::More(i) } else { Found::No(i) };
        }
        *part = r.text.get(at..end).unwrap_or_default();
        at = end;
    }
    let [area, group, serial] = parts;
    match ends(r, at) {
        None => Found::More(i),
        Some(true) if is_ssn(area, group, serial) => Found::Value(i, at, Detector::UsSsn),
        Some(_) => Found::No(i),
    }
}

/// Whether the parts of a number may be assigned (SSA: no area 000, 666 or 900–999).
fn is_ssn(area: &[u8], group: &[u8], serial: &[u8]) -> bool {
    area != b"000"
        && area != b"666"
        && area.first() != Some(&b'9')
        && group != b"00"
        && serial != b"0000"
}

/// The lengths of groups in which cards are written, after what they may begin with.
const CARD_GROUPS: [&[usize]; 3] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

fn card(r: Region<'_>, i: usize) -> Found {
    let (end, _) = r.run(i, 20, |b| b.is_ascii_digit());
    if end - i >= 15 {
        return match ends(r, end) {
            None => Found::More(i),
            Some(true) if is_card(r.text.get(i..end).unwrap_or_default()) => {
                Found::Value(i, end, Detector::PaymentCard)
            }
            Some(_) => Found::No(i),
        };
    }
    let gap = match gap(r, end) {
        None => return Found::More(i),
        Some(gap) => gap,
    };
    if gap.is_empty() || !issuer(r.text.get(i..end).unwrap_or_default()) {
        return Found::No(i);
    }
    for groups in CARD_GROUPS {
        match grouped(r, i, gap, groups) {
            Found::No(_) => {}
            found => return found,
        }
    }
    Found::No(i)
}

/// What stands between two groups of a number, and begins at `at`: a space, a hyphen, or those
/// that do not break or are narrow. Empty if it is something else; `None`: more is needed.
fn gap<'a>(r: Region<'a>, at: usize) -> Option<&'a [u8]> {
    let rest = r.text.get(at..).unwrap_or_default();
    if !r.closed
        && GAPS
            .iter()
            .any(|gap| gap.len() > rest.len() && gap.starts_with(rest))
    {
        return None;
    }
    let gap = GAPS.iter().find(|gap| rest.starts_with(gap));
    Some(gap.map_or(&b""[..], |gap| rest.get(..gap.len()).unwrap_or_default()))
}

/// The size of a gap that is not ASCII's and begins a text; 0 if none does.
pub(crate) fn wide_gap(text: &[u8]) -> usize {
    let gap = GAPS
        .iter()
        .find(|gap| gap.len() > 1 && text.starts_with(gap));
    gap.map_or(0, |gap| gap.len())
}

/// A space, a hyphen; in UTF-8 the no-break space, the figure, thin, hair and narrow no-break
/// space, the hyphen, the no-break hyphen, the figure and the en dash, the space of no width.
const GAPS: [&[u8]; 12] = [
    b" ",
    b"-",
    "\u{a0}".as_bytes(),
    "\u{2007}".as_bytes(),
    "\u{2009}".as_bytes(),
    "\u{200a}".as_bytes(),
    "\u{202f}".as_bytes(),
    "\u{2010}".as_bytes(),
    "\u{2011}".as_bytes(),
    "\u{2012}".as_bytes(),
    "\u{2013}".as_bytes(),
    "\u{200b}".as_bytes(),
];

fn grouped(r: Region<'_>, i: usize, gap: &[u8], groups: &[usize]) -> Found {
    let mut number = Vec::with_capacity(16);
    let mut at = i;
    for (k, size) in groups.iter().enumerate() {
        if k > 0 {
            let rest = r.text.get(at..).unwrap_or_default();
            if !rest.starts_with(gap) {
                let more = !r.closed && gap.starts_with(rest) || may_be_taken_back(r, at);
                return if more { Found::More(i) } else { Found::No(i) };
            }
            at += gap.len();
        }
        for _ in 0..*size {
            match r.at(at) {
                None if !r.closed => return Found::More(i),
                Some(b) if b.is_ascii_digit() => number.push(b),
                _ => return Found::No(i),
            }
            at += 1;
        }
    }
    if !is_card(&number) {
        // The last digit may still be taken back, and be another one.
        return if r.at(at).is_none() && !r.closed {
            Found::More(i)
        } else {
            Found::No(i)
        };
    }
    let [gap] = gap else {
        return match ends(r, at) {
            None => Found::More(i),
            Some(true) => Found::Value(i, at, Detector::PaymentCard),
            Some(false) => Found::No(i),
        };
    };
    let gap = *gap;
    // One of many groups of four is a dump, not a card.
    let mut neighbours = 0;
    let mut start = i;
    while neighbours == 0
        && start >= 5
        && i - start < GROUPS_BACK
        && r.at(start - 1) == Some(gap)
        && r.text.get(start - 5..start - 1).is_some_and(is_group)
    {
        neighbours += usize::from(is_dump(r.text.get(start - 5..start - 1)));
        start -= 5;
    }
    if neighbours == 0 {
        match r.at(at) {
            None if !r.closed => return Found::More(i),
            Some(b) if b == gap => {
                let rest = r.text.get(at + 1..).unwrap_or_default();
                let size = rest
                    .iter()
                    .take(5)
                    .take_while(|b| b.is_ascii_hexdigit())
                    .count();
                if size == rest.len() && size < 5 && !r.closed {
                    return Found::More(i);
                }
                neighbours += usize::from(size == 4 && is_dump(rest.get(..4)));
            }
            _ => {}
        }
    }
    if neighbours > 0 {
        return Found::No(i);
    }
    match ends(r, at) {
        None => Found::More(i),
        Some(true) if is_card(&number) => Found::Value(i, at, Detector::PaymentCard),
        Some(_) => Found::No(i),
    }
}

/// How far back groups are looked at.
const GROUPS_BACK: usize = 320;

/// Four hexadecimal digits with a letter among them, as dumps and tables of code points have them.
fn is_dump(group: Option<&[u8]>) -> bool {
    group.is_some_and(|g| {
        is_group(g) && g.iter().any(u8::is_ascii_digit) && !g.iter().all(u8::is_ascii_digit)
    })
}

fn is_group(group: &[u8]) -> bool {
    group.iter().all(u8::is_ascii_hexdigit)
}

/// Whether a number may begin with these four digits or more.
fn issuer(number: &[u8]) -> bool {
    let head = |n: usize| {
        number
            .iter()
            .take(n)
            .fold(0u32, |sum, d| sum * 10 + u32::from(d.wrapping_sub(b'0')))
    };
    number.first() == Some(&b'4')
        || (51..=55).contains(&head(2))
        || (2221..=2720).contains(&head(4))
        || matches!(head(2), 34..=39 | 62 | 65)
        || head(4) == 6011
        || (644..=649).contains(&head(3))
        || matches!(head(3), 300..=305)
}

/// Whether the digits are a card number: an issuer's range and length, and the Luhn checksum.
pub(crate) fn is_card(number: &[u8]) -> bool {
    let two = number.get(..2).unwrap_or_default();
    let size = match two {
        b"34" | b"37" => 15,
        b"36" | b"38" | b"39" | b"30" => 14,
        _ => 16,
    };
    if number.len() != size || !issuer(number) {
        return false;
    }
    let luhn: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(k, d)| {
            let d = u32::from(d.wrapping_sub(b'0'));
            if k % 2 == 0 {
                d
            } else if d > 4 {
                2 * d - 9
            } else {
                2 * d
            }
        })
        .sum();
    luhn.is_multiple_of(10) && number.iter().any(|d| number.first() != Some(d))
}

/// Lengths of IBANs by country (the registry of ISO 13616).
const IBANS: [(&[u8; 2], usize); 84] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"XK", 20),
];

fn iban(r: Region<'_>, i: usize) -> Found {
    let Some(start) = i.checked_sub(2) else {
        return Found::No(i);
    };
    let country = r.text.get(start..i).unwrap_or_default();
    let Some((_, length)) = IBANS.iter().find(|(c, _)| c.as_slice() == country) else {
        return Found::No(i);
    };
    if r.joined(start)
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Found::No(i);
    }
    let mut at = start;
    let mut code = Vec::with_capacity(*length);
    while code.len() < *length {
        match r.at(at) {
            None if !r.closed => return Found::More(start),
            None => return Found::No(i),
            Some(b)
                if b.is_ascii_digit()
                    || (b.is_ascii_uppercase() && !matches!(code.len(), 2 | 3)) =>
            {
                code.push(b);
            }
            Some(b' ' | b'-') if code.len() % 4 == 0 && r.before(at) != Some(b' ') => {}
            Some(0xc2 | 0xe2) if code.len() % 4 == 0 && r.before(at).is_some_and(|b| b < 0x80) => {
                match gap(r, at) {
                    None => return Found::More(start),
                    Some(gap) if gap.len() > 1 => at += gap.len() - 1,
                    Some(_) => return Found::No(i),
                }
            }
            Some(_) => return Found::No(i),
        }
        at += 1;
    }
    match ends(r, at) {
        None => return Found::More(start),
        Some(false) => return Found::No(i),
        Some(true) => {}
    }
    let rest = code
        .iter()
        .skip(4)
        .chain(code.iter().take(4))
        .fold(0u32, |rest, b| {
            if b.is_ascii_digit() {
                (rest * 10 + u32::from(b - b'0')) % 97
            } else {
                (rest * 100 + u32::from(b - b'A') + 10) % 97
            }
        });
    // The check digits are those from 02 to 98 (ISO 7064).
    let good = rest == 1 && !matches!(code.get(2..4), Some(b"00" | b"01" | b"99"));
    if good {
        Found::Value(start, at, Detector::Iban)
    } else {
        Found::No(i)
    }
}

/// The digits of the longest telephone number (ITU-T E.164, section 6), and so its most groups.
const PHONE_MAX: usize = 15;

/// A telephone number whose first digit stands at `i`: behind a `+` that of ITU-T E.164, else one of the North
/// American plan. A sign or a bracket before the first digit may have left already: it stays.
fn phone(r: Region<'_>, i: usize) -> Found {
    let plus = r.before(i) == Some(b'+');
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if plus && r.joined(i - 1).is_some_and(word) {
        return Found::No(i);
    }
    let mut room = [(0, 0); PHONE_MAX];
    let (mut count, mut total, mut at) = (0, 0, i);
    // What follows a number after a space may be digits as well: the longest that is one.
    let mut best = None;
    loop {
        let (end, certain) = r.run(at, PHONE_MAX + 1, |b| b.is_ascii_digit());
        total += end - at;
        let Some(group) = room.get_mut(count).filter(|_| total <= PHONE_MAX) else {
            break;
        };
        if !certain {
            return Found::More(i);
        }
        (*group, count) = ((end - at, r.at(at).unwrap_or(0)), count + 1);
        let groups = room.get(..count).unwrap_or_default();
        let (good, goes_on) = if plus {
            // Who writes it in one piece begins no other group.
            (
                is_international(r, i, groups, total),
                count > 1 || total < 8,
            )
        } else {
            north_american(groups)
        };
        if good {
            match ends_number(r, end) {
                None => return Found::More(i),
                Some(true) => best = Some(end),
                Some(false) => {}
            }
        }
        // One byte stands before the last four: so the fast path knows them.
        let near = matches!(groups, [(3, _), (3, _)] | [(1, _), (3, _), (3, _)]);
        at = match phone_gap(r, end) {
            Gap::To(next) if goes_on && (plus || !near || next == end + 1) => next,
            Gap::More if goes_on => return Found::More(i),
            _ => break,
        };
    }
    best.map_or(Found::No(i), |end| Found::Value(i, end, Detector::Phone))
}

/// [`ends`], and no time of the day begins in the last group.
fn ends_number(r: Region<'_>, end: usize) -> Option<bool> {
    match (r.at(end), r.at(end + 1)) {
        (Some(b':'), None) => r.closed.then_some(true),
        (Some(b':'), Some(b)) if b.is_ascii_digit() => Some(false),
        _ => ends(r, end),
    }
}

/// What stands between two groups of a telephone number.
enum Gap {
    None,
    More,
    /// The next group begins here.
    To(usize),
}

/// `)`, then a space, a dash or a point, then `(`: at least one of them, and a digit behind.
fn phone_gap(r: Region<'_>, end: usize) -> Gap {
    let mut at = end;
    for set in [&b")"[..], b" -.", b"("] {
        match r.at(at) {
            Some(b) if set.contains(&b) => at += 1,
            Some(_) => {}
            None if r.closed => return Gap::None,
            None => return Gap::More,
        }
    }
    match r.at(at) {
        Some(b) if b.is_ascii_digit() && at > end => Gap::To(at),
        None if !r.closed && at > end => Gap::More,
        _ => Gap::None,
    }
}

/// Whether the digits behind a `+` may be a number: a country code that somebody has, as many digits as its plan
/// has, and neither a date nor a fraction. A group is its size and its first digit.
fn is_international(r: Region<'_>, i: usize, groups: &[(usize, u8)], total: usize) -> bool {
    let mut digits = (i..).map_while(|at| r.at(at)).filter(u8::is_ascii_digit);
    let least = match (digits.next().unwrap_or(0), digits.next().unwrap_or(0)) {
        (b'1' | b'7', _) => return total == 11,
        (b'0', _) | (b'2', b'8') | (b'8', b'3' | b'9') => return false,
        // Three digits of country code, which the smallest countries have.
        (b'2', b'1'..=b'6' | b'9')
        | (b'3' | b'5' | b'6' | b'9', b'5' | b'7'..=b'9')
        | (b'4', b'2')
        | (b'5', b'0')
        | (b'8', b'0' | b'5' | b'7' | b'8')
        | (b'9', b'6') => 8,
        _ => 9,
    };
    // Registries of domains write a point, too, and more digits behind it.
    let fraction = matches!(groups, [(size, _), (..8, _)] if r.at(i + size) == Some(b'.'));
    let date = matches!(groups, [(4, _), (2, _), (2, _), ..]);
    (least..=PHONE_MAX).contains(&total) && !date && !fraction
}

/// Whether groups are a number of the North American plan (three, three and four digits, a 1 before them or not; no
/// area and no exchange begins with 0 or 1), and whether they may be the beginning of one.
fn north_american(groups: &[(usize, u8)]) -> (bool, bool) {
    let national = match groups {
        [(1, b'1'), rest @ ..] => rest,
        all => all,
    };
    let shape = [3, 3, 4];
    let fits = national.len() <= shape.len()
        && national.iter().zip(shape).all(|((size, first), want)| {
            *size == want && (want == 4 || matches!(first, b'2'..=b'9'))
        });
    let whole = national.len() == shape.len();
    (fits && whole, fits && !whole)
}

/// A JSON web token whose `eyJ` begins at `i`.
pub(crate) fn jwt(r: Region<'_>, i: usize) -> Found {
    let url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if r.joined(i).is_some_and(url) {
        return Found::No(i + 3);
    }
    let (end, certain) = r.run(i, usize::MAX, |b| url(b) || b == b'.');
    if !certain {
        return Found::More(i);
    }
    let token = r.text.get(i..end).unwrap_or_default();
    let mut parts = token.split(|b| *b == b'.');
    let header = parts.next().unwrap_or_default();
    let payload = parts.next().unwrap_or_default();
    let known = decodes_to_object(header);
    if known && payload.len() >= 4 {
        let size = token.iter().rposition(|b| *b != b'.').map_or(0, |k| k + 1);
        return Found::Value(i, i + size, Detector::Jwt);
    }
    Found::No(end)
}

fn decodes_to_object(part: &[u8]) -> bool {
    let whole = part.get(..part.len() - part.len() % 4).unwrap_or_default();
    data_encoding::BASE64URL_NOPAD
        .decode(whole)
        .is_ok_and(|json| {
            json.starts_with(b"{\"") && memchr::memmem::find(&json, b"\"alg").is_some()
                || json.starts_with(b"{\"typ")
        })
}

/// An AWS access key id, whose third letter `I` (`AKIA`, `ASIA`) stands at `i`.
pub(crate) fn aws(r: Region<'_>, i: usize) -> Found {
    let Some(start) = i.checked_sub(2) else {
        return Found::No(i + 1);
    };
    if !matches!(r.text.get(start..i), Some(b"AK" | b"AS"))
        || r.joined(start)
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Found::No(i + 1);
    }
    let (end, certain) = r.run(start, 32, |b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !certain && end - start <= 20 {
        return Found::More(start);
    }
    let good = end - start == 20
        && r.at(start + 3) == Some(b'A')
        && !r
            .at(end)
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        Found::Value(start, end, Detector::AwsKey)
    } else {
        Found::No(i + 1)
    }
}

/// A GitHub token, whose first `_` stands at `i`.
pub(crate) fn github(r: Region<'_>, i: usize) -> Found {
    let head = |name: &[u8]| i >= name.len() && r.text.get(i - name.len()..i) == Some(name);
    let (size, least) =
        if head(b"ghp") || head(b"gho") || head(b"ghu") || head(b"ghs") || head(b"ghr") {
            (3, 36)
        } else if head(b"github_pat") {
            (10, 40)
        } else {
            return Found::No(i + 1);
        };
    let start = i - size;
    let (end, certain) = r.run(i + 1, 255, |b| b.is_ascii_alphanumeric() || b == b'_');
    if r.joined(start)
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Found::No(i + 1);
    }
    if !certain {
        return Found::More(start);
    }
    if end - i > least {
        Found::Value(start, end, Detector::GithubToken)
    } else {
        Found::No(i + 1)
    }
}

/// A Slack token, whose middle `o` (`xoxb-`) stands at `i`.
pub(crate) fn slack(r: Region<'_>, i: usize) -> Found {
    let Some(start) = i.checked_sub(1) else {
        return Found::No(i + 1);
    };
    let head = r.text.get(start..).unwrap_or_default();
    if head.len() < 5
        && !r.closed
        && b"xoxb-".starts_with(head.get(..3.min(head.len())).unwrap_or_default())
    {
        return Found::More(start);
    }
    let good = head.starts_with(b"xox")
        && matches!(
            head.get(3),
            Some(b'a' | b'b' | b'e' | b'o' | b'p' | b'r' | b's')
        )
        && head.get(4) == Some(&b'-')
        && !r.joined(start).is_some_and(|b| b.is_ascii_alphanumeric());
    if !good {
        return Found::No(i + 1);
    }
    let (end, certain) = r.run(start, 255, |b| b.is_ascii_alphanumeric() || b == b'-');
    if !certain {
        return Found::More(start);
    }
    if end - start >= 15 {
        Found::Value(start, end, Detector::SlackToken)
    } else {
        Found::No(i + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(text: &str) -> Region<'_> {
        Region {
            text: text.as_bytes(),
            closed: true,
        }
    }

    fn first_phone(text: &str) -> Found {
        let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        digits(closed(text), at, |d| d == Detector::Phone)
    }

    #[test]
    fn telephone_numbers_are_those_that_somebody_may_have() {
        for (text, want) in [
            ("+4930123456", "4930123456"),
            ("+49 30 1234567 now", "49 30 1234567"),
            ("+44 20 7946 0958.", "44 20 7946 0958"),
            ("+1 (415) 555-2671", "1 (415) 555-2671"),
            ("+1.415.555.2671", "1.415.555.2671"),
            ("tel:+33-1-23-45-67-89;", "33-1-23-45-67-89"),
            ("+49(30)1234567", "49(30)1234567"),
            // As registries of domains write it.
            ("+44.2079460958", "44.2079460958"),
            ("+1.4155552671", "1.4155552671"),
            ("(415) 555-2671", "415) 555-2671"),
            ("415-555-2671", "415-555-2671"),
            ("415.555.2671", "415.555.2671"),
            ("1-415-555-2671", "1-415-555-2671"),
            // Behind an escape, and behind a space that is none of ASCII.
            ("\\n+4930123456", "4930123456"),
            ("\u{a0}+4930123456", "4930123456"),
            // What follows is another number.
            ("+493012345678 2026-11-26", "493012345678"),
            ("+49 30 1234567 2026-11-26", "49 30 1234567"),
            ("+49 30 1234567 13:05", "49 30 1234567"),
            ("415-555-2671 200", "415-555-2671"),
        ] {
            let at = text.find(want).expect("in the text");
            assert_eq!(
                first_phone(text),
                Found::Value(at, at + want.len(), Detector::Phone),
                "{text}"
            );
        }
    }

    #[test]
    fn other_numbers_are_no_telephone_numbers() {
        for text in [
            "123 456 7890",      // three counts: no area begins with 1
            "415 155 2671",      // nor an exchange
            "415-555-26711",     // too long
            "x415-555-2671",     // in a word
            "415  555  2671",    // columns
            "415-555-2671-9",    // a serial number
            "415-555) 2671",     //
            "+2026-11-26 13:00", // a line that a diff added
            "+0100",             // a time zone
            "+20261126",         // a date
            "+44100000",         // a rate: no number there is so short
            "+52.5200066",       // a latitude
            "+05:30",            //
            "+1 415 555 267",    // the plan of +1 has eleven digits
            "+1234567",          // too short
            "+4930123456789012", // too long
            "a+4930123456",      // a sum
            "+28 30 1234567",    // nobody has this code
            "2026-11-26",        //
            "10.255.255.2550",   //
        ] {
            assert!(matches!(first_phone(text), Found::No(_)), "{text}");
        }
    }

    fn first_digits(text: &str) -> Found {
        let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        digits(closed(text), at, |d| d != Detector::Phone)
    }

    #[test]
    fn cards_need_range_length_and_checksum() {
        for good in [
            "4052264567103461",
            "4374 9202 8903 3002",
            "4111-1111-1111-1111",
            "378282246310005",
            "3782 822463 10005",
            "5555555555554444",
            "6011111111111117",
            "2223003122003222",
        ] {
            assert_eq!(
                first_digits(good),
                Found::Value(0, good.len(), Detector::PaymentCard),
                "{good}"
            );
        }
        for near in [
            "4052264567103462",
            "4946577418396080",
            "1700000000000000",
            "41111111111111111",
            "4111 1111 1111 111",
            "4111 1111-1111 1111",
            "0000000000000000",
            "4111111111111111a",
            "764893983061",
            "4111111111111111.5",
            "20240101120000",
        ] {
            assert!(matches!(first_digits(near), Found::No(_)), "{near}");
        }
    }

    #[test]
    fn social_security_numbers_need_a_valid_area() {
        assert_eq!(
            first_digits("131-45-1438"),
            Found::Value(0, 11, Detector::UsSsn)
        );
        assert_eq!(
            first_digits("131-45-1438."),
            Found::Value(0, 11, Detector::UsSsn)
        );
        for near in [
            "000-12-3456",
            "666-12-3456",
            "912-12-3456",
            "131-00-1438",
            "131-45-0000",
            "131-45-14389",
            "131-45-143d",
            "131-45-1438-1",
            "131 45 1438",
            "a131-45-1438",
        ] {
            assert!(matches!(first_digits(near), Found::No(_)), "{near}");
        }
    }

    #[test]
    fn a_value_may_begin_behind_an_escape_and_not_inside_of_one() {
        for escape in [r"\n", r"\\t", r"\u0018", r"\u00e9", r"\xA9"] {
            let text = format!("{escape}131-45-1438");
            let size = escape.len();
            // From the first digit of the run on, which may belong to the escape.
            let run = text.trim_end_matches("-45-1438");
            let at = run.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            assert_eq!(
                digits(closed(&text), at, |_| true),
                Found::Value(size, text.len(), Detector::UsSsn),
                "{text}"
            );
            let text = format!("{escape}joe@example.com");
            assert_eq!(
                email(closed(&text), size + 3),
                Found::Value(size, text.len(), Detector::Email),
                "{text}"
            );
            let text = format!("{escape}AKIAX2KKQUKA7TSPMI3O");
            assert_eq!(
                aws(closed(&text), size + 2),
                Found::Value(size, text.len(), Detector::AwsKey),
                "{text}"
            );
        }
        for near in [
            r"\q131-45-1438",
            r"\u001131-45-1438",
            "n131-45-1438",
            r"\u0131-45-1438",
        ] {
            assert!(matches!(first_digits(near), Found::No(_)), "{near}");
        }
        assert_eq!(email(closed(r"\u0018@f.fA"), 6), Found::No(7));
    }

    #[test]
    fn ibans_need_length_and_checksum() {
        for good in [
            "DE17994669278410113391",
            "GB55AXCP51345204706063",
            "DE17 9946 6927 8410 1133 91",
        ] {
            assert_eq!(
                first_digits(good),
                Found::Value(0, good.len(), Detector::Iban),
                "{good}"
            );
        }
        for near in [
            "DE17994669278410113392",
            "DE1799466927841011339",
            "XX17994669278410113391",
            "ADE17994669278410113391",
            // The remainder holds, but these are no check digits.
            "DE00316558921250145698",
        ] {
            assert!(matches!(first_digits(near), Found::No(_)), "{near}");
        }
    }

    #[test]
    fn names_of_ssh_are_no_addresses() {
        let looked = |text: &str| email(closed(text), text.find('@').unwrap_or(0));
        for name in [
            "aes128-gcm@openssh.com",
            "curve25519-sha256@libssh.org",
            "no-more-sessions@openssh.com",
            "zlib@openssh.com",
        ] {
            assert!(matches!(looked(name), Found::No(_)), "{name}");
        }
        for address in [
            "joe@openssh.com",
            "anna-lena@libssh.org",
            "aes128-gcm@example.com",
        ] {
            assert!(matches!(looked(address), Found::Value(..)), "{address}");
        }
    }

    #[test]
    fn addresses_are_told_from_units_and_pictures() {
        let at = |text: &str| email(closed(text), text.find('@').unwrap_or(0));
        assert_eq!(
            at("a.b+c@mail.example.net,"),
            Found::Value(0, 22, Detector::Email)
        );
        assert_eq!(
            at("see joe@example.com."),
            Found::Value(4, 19, Detector::Email)
        );
        for near in [
            "user@host",
            "getty@tty1.service",
            "icon@2x.png",
            "lodash@4.17.21",
            "@a.com",
            "git@github.com",
            "a@-b.com",
            "a@b..com",
        ] {
            assert!(matches!(at(near), Found::No(_)), "{near}");
        }
    }

    #[test]
    fn tokens_are_told_by_their_form() {
        let jwt_text = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0.abc_-";
        assert_eq!(
            jwt(closed(jwt_text), 0),
            Found::Value(0, jwt_text.len(), Detector::Jwt)
        );
        assert!(matches!(
            jwt(closed("eyJustAWord.and.more"), 0),
            Found::No(_)
        ));
        assert_eq!(
            aws(closed("AKIAX2KKQUKA7TSPMI3O"), 2),
            Found::Value(0, 20, Detector::AwsKey)
        );
        assert!(matches!(
            aws(closed("AKIAX2KKQUKA7TSPMI3OX"), 2),
            Found::No(_)
        ));
        let gh = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        assert_eq!(
            github(closed(gh), 3),
            Found::Value(0, gh.len(), Detector::GithubToken)
        );
        let slack_text = "xoxb-123456789012-abcdef";
        assert_eq!(
            slack(closed(slack_text), 1),
            Found::Value(0, slack_text.len(), Detector::SlackToken)
        );
    }
}
