//! Files in one direction only: which requests of the sftp protocol go on to a target.
//!
//! Owns the framing of both directions of version 3 (draft-ietf-secsh-filexfer-02; extensions as in
//! OpenSSH's PROTOCOL) and what is allowed in which direction. Pure: bytes in, what goes on and what
//! is answered out. What goes on is byte for byte what the client sent; of a request that does not,
//! the target learns nothing, and the client is answered in its turn. At most one packet is kept.

use std::cmp::Ordering;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Which way files may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the target: reading and listing.
    Down,
    /// To the target: writing and changing. What is there can be neither read nor listed; whether it
    /// is there, its attributes and where a link leads can be asked for, as stock clients do.
    Up,
}

impl Direction {
    /// The line for whoever asks for the other direction.
    pub(super) fn notice(self) -> &'static str {
        match self {
            Self::Down => "files can only be read here: what writes or changes them is refused",
            Self::Up => "files can only be written here: what reads or lists them is refused",
        }
    }
}

/// What stands between the two ends of an sftp channel.
#[derive(Debug)]
pub(super) struct Gate {
    direction: Direction,
    /// The beginning of a request.
    requests: BytesMut,
    /// Requests that went on, the greeting among them.
    forwarded: u64,
    replies: Replies,
    /// Requests that did not, until they are answered.
    refused: VecDeque<Refused>,
    /// What was refused, until somebody writes it down.
    told: VecDeque<String>,
    refusals: usize,
    broken: Option<Broken>,
}

/// What becomes of a part of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// What goes on; may be nothing.
    pub(super) forward: Bytes,
    /// So many bytes of the input go nowhere.
    pub(super) dropped: usize,
}

/// A request that is answered here.
#[derive(Debug)]
struct Refused {
    id: u32,
    code: u32,
    /// Its turn comes when the target has answered so many.
    after: u64,
}

/// Why a channel cannot be carried in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client does not speak the protocol.
    Client,
    /// The target does not.
    Target,
    /// The client asks on and on for what is refused, without waiting for answers.
    Flood,
}

impl Broken {
    /// The line for the client.
    pub(super) fn notice(self) -> &'static str {
        match self {
            Self::Client => {
                "files go in one direction only here, which needs sftp version 3: the client sent something else"
            }
            Self::Target => {
                "files go in one direction only here, which needs sftp version 3: the target sent something else"
            }
            Self::Flood => "too many refused sftp requests at once",
        }
    }
}

impl Gate {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            requests: BytesMut::new(),
            forwarded: 0,
            replies: Replies::default(),
            refused: VecDeque::new(),
            told: VecDeque::new(),
            refusals: 0,
            broken: None,
        }
    }

    /// Why nothing goes on any more, once that is so.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Takes what the client sent; `next_step` says what becomes of it.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.requests.extend_from_slice(bytes);
    }

    /// What becomes of the next part of the input; `None` until more of it has come.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        let mut allowed = 0;
        let other = loop {
            let rest = self.requests.get(allowed..).unwrap_or_default();
            let verdict = match (self.broken, packet(rest)) {
                (None, Ok(None)) => break None,
                (None, Ok(Some(packet))) if self.forwarded > 0 => judge(self.direction, packet),
                (None, Ok(Some(packet))) => greet(packet),
                (None, Err(TooLong)) | (Some(_), _) => Verdict::Broken,
            };
            match (verdict, packet_length(rest)) {
                (Verdict::Allowed, Some(length)) => {
                    self.forwarded += 1;
                    allowed += length;
                }
                (verdict, length) => break Some((verdict, length.unwrap_or(0))),
            }
        };
        if allowed > 0 {
            let forward = self.requests.split_to(allowed).freeze();
            return Some(Step {
                forward,
                dropped: 0,
            });
        }
        let (forward, dropped) = match other? {
            (Verdict::Newer, length) => {
                self.forwarded += 1;
                (Bytes::from_static(&GREETING), length)
            }
            (Verdict::Refused { id, code, what }, length) => {
                self.refuse(id, code, what);
                (Bytes::new(), length)
            }
            (Verdict::Allowed | Verdict::Broken, _) => {
                self.broken.get_or_insert(Broken::Client);
                (Bytes::new(), self.requests.len())
            }
        };
        drop(self.requests.split_to(dropped.min(self.requests.len())));
        (dropped > 0).then(|| Step {
            dropped: dropped - forward.len(),
            forward,
        })
    }

    fn refuse(&mut self, id: u32, code: u32, what: String) {
        if self.refused.len() >= REFUSED_MAX {
            self.broken.get_or_insert(Broken::Flood);
            return;
        }
        self.refused.push_back(Refused {
            id,
            code,
            after: self.forwarded,
        });
        self.refusals += 1;
        match self.refusals.cmp(&TOLD_MAX) {
            Ordering::Less => self.told.push_back(what),
            Ordering::Equal => self.told.push_back("this and what follows".to_owned()),
            Ordering::Greater => {}
        }
    }

    /// Follows what the target sent, up to where an answer of ours comes next: so many bytes go on
    /// to the client.
    pub(super) fn replied(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && self.broken.is_none() {
            let rest = bytes.get(taken..).unwrap_or_default();
            match self.replies.take(self.direction, rest) {
                Some(n) => taken += n,
                None => self.broken = Some(Broken::Target),
            }
            if self.is_answer_due() {
                break;
            }
        }
        if self.broken.is_some() { 0 } else { taken }
    }

    fn is_answer_due(&self) -> bool {
        self.replies.is_between()
            && self
                .refused
                .front()
                .is_some_and(|refused| refused.after <= self.replies.count)
    }

    /// The next answer of ours, where its turn has come: one whole packet.
    pub(super) fn answer(&mut self) -> Option<Bytes> {
        if !self.is_answer_due() {
            return None;
        }
        let refused = self.refused.pop_front()?;
        let text = match refused.code {
            OP_UNSUPPORTED => "the bastion does not carry this request",
            _ => self.direction.notice(),
        };
        let size = |length: usize| u32::try_from(length).unwrap_or(0).to_be_bytes();
        let fields: [&[u8]; 7] = [
            &size(17 + text.len()),
            &[STATUS],
            &refused.id.to_be_bytes(),
            &refused.code.to_be_bytes(),
            &size(text.len()),
            text.as_bytes(),
            // No language.
            &size(0),
        ];
        Some(fields.concat().into())
    }

    /// What was refused and not told yet: the request and, where it has one, the path.
    pub(super) fn told(&mut self) -> Option<String> {
        self.told.pop_front()
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    /// A greeting of a newer version: the target is offered the one that is understood here.
    Newer,
    Refused {
        id: u32,
        code: u32,
        what: String,
    },
    /// It is no request.
    Broken,
}

/// The first packet says which version the client speaks.
fn greet(packet: &[u8]) -> Verdict {
    match (packet.first(), number(packet.get(1..))) {
        (Some(&INIT), Some(VERSION_3)) => Verdict::Allowed,
        (Some(&INIT), Some(version)) if version > VERSION_3 => Verdict::Newer,
        _ => Verdict::Broken,
    }
}

/// Every request after the greeting.
fn judge(direction: Direction, packet: &[u8]) -> Verdict {
    let (Some(&kind), Some(id)) = (packet.first(), number(packet.get(1..))) else {
        return Verdict::Broken;
    };
    let body = packet.get(5..).unwrap_or_default();
    let (name, allowed) = match (kind, direction) {
        (INIT, _) => return Verdict::Broken,
        (OPEN, _) => match string(body) {
            Some((_, rest)) => match number(Some(rest)) {
                Some(flags) => ("open", may_open(direction, flags)),
                None => return Verdict::Broken,
            },
            None => return Verdict::Broken,
        },
        (EXTENDED, _) => match string(body) {
            Some((name, _)) if may_extend(direction, name) => return Verdict::Allowed,
            Some((name, _)) => {
                let known = may_extend(Direction::Down, name) || may_extend(Direction::Up, name);
                let code = if known {
                    PERMISSION_DENIED
                } else {
                    OP_UNSUPPORTED
                };
                let what = shown(name);
                return Verdict::Refused { id, code, what };
            }
            None => return Verdict::Broken,
        },
        (CLOSE, _) => ("close", true),
        (LSTAT, _) => ("lstat", true),
        (FSTAT, _) => ("fstat", true),
        (STAT, _) => ("stat", true),
        (REALPATH, _) => ("realpath", true),
        (READ, direction) => ("read", direction == Direction::Down),
        (OPENDIR, direction) => ("opendir", direction == Direction::Down),
        (READDIR, direction) => ("readdir", direction == Direction::Down),
        (READLINK, direction) => ("readlink", direction == Direction::Down),
        (WRITE, direction) => ("write", direction == Direction::Up),
        (SETSTAT, direction) => ("setstat", direction == Direction::Up),
        (FSETSTAT, direction) => ("fsetstat", direction == Direction::Up),
        (REMOVE, direction) => ("remove", direction == Direction::Up),
        (MKDIR, direction) => ("mkdir", direction == Direction::Up),
        (RMDIR, direction) => ("rmdir", direction == Direction::Up),
        (RENAME, direction) => ("rename", direction == Direction::Up),
        (SYMLINK, direction) => ("symlink", direction == Direction::Up),
        _ => {
            return Verdict::Refused {
                id,
                code: OP_UNSUPPORTED,
                what: format!("request {kind}"),
            };
        }
    };
    if allowed {
        return Verdict::Allowed;
    }
    // Of these the first string is a handle, which says nothing to anybody.
    let path = match kind {
        READ | READDIR | WRITE | FSETSTAT => None,
        _ => string(body).map(|(path, _)| shown(path)),
    };
    Verdict::Refused {
        id,
        code: PERMISSION_DENIED,
        what: path.map_or_else(|| name.to_owned(), |path| format!("{name} {path}")),
    }
}

/// Down, a file is opened for reading and nothing else, so that it is neither made nor cut; up, for
/// whatever does not read it.
fn may_open(direction: Direction, flags: u32) -> bool {
    match direction {
        Direction::Down => flags == FLAG_READ,
        Direction::Up => flags & FLAG_READ == 0 && flags & FLAG_WRITE != 0 && flags <= FLAGS,
    }
}

/// Extensions that only look, and those that only change. Whoever copies on the target
/// (`copy-data`) reads.
fn may_extend(direction: Direction, name: &[u8]) -> bool {
    let looks: &[&[u8]] = &[
        b"limits@openssh.com",
        b"statvfs@openssh.com",
        b"fstatvfs@openssh.com",
        b"expand-path@openssh.com",
        b"home-directory",
    ];
    let only: &[&[u8]] = match direction {
        Direction::Down => &[b"users-groups-by-id@openssh.com"],
        Direction::Up => &[
            b"posix-rename@openssh.com",
            b"hardlink@openssh.com",
            b"fsync@openssh.com",
            b"lsetstat@openssh.com",
        ],
    };
    looks.contains(&name) || only.contains(&name)
}

/// Where in the target's packets its output stands.
#[derive(Debug, Default)]
struct Replies {
    /// The first bytes of a packet: length, type, and id or version.
    head: [u8; HEAD],
    have: usize,
    /// What is left of it behind them.
    left: usize,
    /// Packets that are complete.
    count: u64,
}

impl Replies {
    fn is_between(&self) -> bool {
        self.have == 0
    }

    /// Takes bytes up to the end of the packet at most; `None` where they are none of the protocol.
    fn take(&mut self, direction: Direction, bytes: &[u8]) -> Option<usize> {
        if self.have < HEAD {
            let slots = self.head.iter_mut().skip(self.have);
            let taken = slots.zip(bytes).map(|(slot, byte)| *slot = *byte).count();
            self.have += taken;
            if self.have == HEAD {
                self.left = self.begun(direction)?;
            }
            self.complete();
            return Some(taken);
        }
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        self.complete();
        Some(taken)
    }

    /// The length of what follows a head that is whole. On the way up nobody has asked for what a
    /// file holds.
    fn begun(&self, direction: Direction) -> Option<usize> {
        let length = body_length(&self.head)?;
        let kind = self.kind();
        let fine = match self.count {
            0 => kind == VERSION && number(self.head.get(5..)) == Some(VERSION_3),
            _ if kind == DATA => direction == Direction::Down,
            _ => (STATUS..=ATTRS).contains(&kind) || kind == EXTENDED_REPLY,
        };
        (fine && length <= PACKET_MAX)
            .then(|| (LENGTH + length).checked_sub(HEAD))
            .flatten()
    }

    fn complete(&mut self) {
        if self.have == HEAD && self.left == 0 {
            self.have = 0;
            self.count += 1;
        }
    }

    fn kind(&self) -> u8 {
        self.head.get(LENGTH).copied().unwrap_or(0)
    }
}

/// A packet is longer than any that is sent.
struct TooLong;

/// The first packet without its length, once it is whole.
fn packet(bytes: &[u8]) -> Result<Option<&[u8]>, TooLong> {
    match body_length(bytes) {
        Some(length) if length > PACKET_MAX => Err(TooLong),
        Some(length) => Ok(bytes.get(LENGTH..LENGTH + length)),
        None => Ok(None),
    }
}

fn packet_length(bytes: &[u8]) -> Option<usize> {
    body_length(bytes).map(|length| LENGTH + length)
}

fn body_length(bytes: &[u8]) -> Option<usize> {
    number(Some(bytes)).and_then(|length| usize::try_from(length).ok())
}

fn number(bytes: Option<&[u8]>) -> Option<u32> {
    bytes?.first_chunk().copied().map(u32::from_be_bytes)
}

/// A string (RFC 4251, section 5), and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = body_length(bytes)?;
    bytes.get(LENGTH..)?.split_at_checked(length)
}

/// A name that the client chose, for the log.
fn shown(name: &[u8]) -> String {
    let name = name.get(..SHOWN_MAX).unwrap_or(name);
    crate::config::printable(&String::from_utf8_lossy(name))
}

/// Bytes of a packet's length.
const LENGTH: usize = 4;
/// Bytes of a reply that are looked at.
const HEAD: usize = 9;
/// Longest packet without its length, in bytes; as in OpenSSH.
const PACKET_MAX: usize = 256 * 1024;
/// Refused requests that wait for their turn; clients have 64 or fewer on their way.
const REFUSED_MAX: usize = 1024;
/// Refused requests of a channel that are written down, the last of them for all that follow.
const TOLD_MAX: usize = 100;
/// Bytes of a path that are written down.
const SHOWN_MAX: usize = 256;
/// A greeting of version 3.
const GREETING: [u8; 9] = [0, 0, 0, 5, INIT, 0, 0, 0, 3];
const VERSION_3: u32 = 3;

const FLAG_READ: u32 = 1;
const FLAG_WRITE: u32 = 2;
/// All flags of version 3.
const FLAGS: u32 = 0x3f;

const PERMISSION_DENIED: u32 = 3;
const OP_UNSUPPORTED: u32 = 8;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const STATUS: u8 = 101;
const DATA: u8 = 103;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

/// A door for the fuzzer: what the client and the target say in turns, cut anywhere. Panics where
/// something goes on that is not allowed.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let (Some((&first, rest)), true) = (bytes.split_first(), bytes.len() < 1 << 16) else {
        return;
    };
    let direction = if first & 1 == 0 {
        Direction::Down
    } else {
        Direction::Up
    };
    let size = usize::from(first >> 1) + 1;
    let (mut gate, mut forwarded, mut dropped) = (Gate::new(direction), Vec::new(), 0);
    for (turn, piece) in rest.chunks(size).enumerate() {
        if turn % 4 == 3 {
            let mut piece = piece;
            while !piece.is_empty() {
                while gate.answer().is_some() {}
                let taken = gate.replied(piece);
                piece = piece.get(taken..).unwrap_or_default();
                if gate.broken().is_some() {
                    break;
                }
            }
            continue;
        }
        gate.feed(piece);
        while let Some(step) = gate.next_step() {
            forwarded.extend_from_slice(&step.forward);
            dropped += step.dropped;
        }
        assert!(
            gate.requests.len() <= LENGTH + PACKET_MAX,
            "too much is kept"
        );
    }
    let mut rest = forwarded.as_slice();
    let mut first = true;
    while let Ok(Some(whole)) = packet(rest) {
        let verdict = if first {
            greet(whole)
        } else {
            judge(direction, whole)
        };
        assert_eq!(verdict, Verdict::Allowed, "it went on");
        first = false;
        rest = rest.get(LENGTH + whole.len()..).unwrap_or_default();
    }
    assert!(rest.is_empty(), "a part of a packet went on");
    assert!(forwarded.len() + dropped <= bytes.len() + GREETING.len());
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops where its preparation fails"
    )]

    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut packet = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        packet.extend_from_slice(body);
        packet
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        framed(bytes)
    }

    fn request(kind: u8, id: u32, fields: &[u8]) -> Vec<u8> {
        framed(&[&[kind][..], &id.to_be_bytes(), fields].concat())
    }

    fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
        let fields = [&text(path.as_bytes())[..], &flags.to_be_bytes(), &[0; 4]].concat();
        request(OPEN, id, &fields)
    }

    /// What goes on of these packets, and what is refused.
    fn carried(direction: Direction, packets: &[Vec<u8>]) -> (Vec<u8>, Vec<String>, Gate) {
        let mut gate = Gate::new(direction);
        let mut forwarded = Vec::new();
        for packet in packets {
            gate.feed(packet);
            while let Some(step) = gate.next_step() {
                forwarded.extend_from_slice(&step.forward);
            }
        }
        let told = std::iter::from_fn(|| gate.told()).collect();
        (forwarded, told, gate)
    }

    #[test]
    fn each_request_goes_one_way() {
        let path = text(b"/srv/a");
        let extended = |name: &str| request(EXTENDED, 7, &text(name.as_bytes()));
        for (packet, down, up) in [
            (open(7, "/srv/a", FLAG_READ), None, Some("open /srv/a")),
            (open(7, "/srv/a", 2), Some("open /srv/a"), None),
            // Made, cut, appended to: no reading.
            (open(7, "/a", 1 | 8), Some("open /a"), Some("open /a")),
            (open(7, "/a", 1 | 16), Some("open /a"), Some("open /a")),
            (open(7, "/a", 2 | 8 | 16 | 4), Some("open /a"), None),
            (open(7, "/a", 1 | 2), Some("open /a"), Some("open /a")),
            (open(7, "/a", 0), Some("open /a"), Some("open /a")),
            (open(7, "/a", 64 | 2), Some("open /a"), Some("open /a")),
            (request(CLOSE, 7, &path), None, None),
            (request(READ, 7, &path), None, Some("read")),
            (request(WRITE, 7, &path), Some("write"), None),
            (request(LSTAT, 7, &path), None, None),
            (request(FSTAT, 7, &path), None, None),
            (request(SETSTAT, 7, &path), Some("setstat /srv/a"), None),
            (request(FSETSTAT, 7, &path), Some("fsetstat"), None),
            (request(OPENDIR, 7, &path), None, Some("opendir /srv/a")),
            (request(READDIR, 7, &path), None, Some("readdir")),
            (request(REMOVE, 7, &path), Some("remove /srv/a"), None),
            (request(MKDIR, 7, &path), Some("mkdir /srv/a"), None),
            (request(RMDIR, 7, &path), Some("rmdir /srv/a"), None),
            (request(REALPATH, 7, &path), None, None),
            (request(STAT, 7, &path), None, None),
            (request(RENAME, 7, &path), Some("rename /srv/a"), None),
            (request(READLINK, 7, &path), None, Some("readlink /srv/a")),
            (request(SYMLINK, 7, &path), Some("symlink /srv/a"), None),
            (
                request(21, 7, &path),
                Some("request 21"),
                Some("request 21"),
            ),
            (request(0, 7, &[]), Some("request 0"), Some("request 0")),
            (extended("statvfs@openssh.com"), None, None),
            (extended("limits@openssh.com"), None, None),
            (
                extended("posix-rename@openssh.com"),
                Some("posix-rename@openssh.com"),
                None,
            ),
            (
                extended("hardlink@openssh.com"),
                Some("hardlink@openssh.com"),
                None,
            ),
            (extended("copy-data"), Some("copy-data"), Some("copy-data")),
            (
                extended("x\u{1b}[2J"),
                Some("x\\u{1b}[2J"),
                Some("x\\u{1b}[2J"),
            ),
        ] {
            for (direction, wanted) in [(Direction::Down, down), (Direction::Up, up)] {
                let (forwarded, told, mut gate) =
                    carried(direction, &[GREETING.to_vec(), packet.clone()]);
                let seen = forwarded.get(GREETING.len()..).unwrap();
                assert_eq!(gate.broken(), None);
                match wanted {
                    None => assert_eq!((seen, &told[..]), (&packet[..], &[][..])),
                    Some(wanted) => {
                        assert_eq!((seen, &told[..]), (&[][..], &[wanted.to_owned()][..]));
                        // Not before the target has answered the greeting.
                        assert_eq!(gate.answer(), None);
                        let version = framed(&[VERSION, 0, 0, 0, 3]);
                        assert_eq!(gate.replied(&version), version.len());
                        let answer = gate.answer().unwrap();
                        assert_eq!(answer.get(4..9).unwrap(), [STATUS, 0, 0, 0, 7]);
                        assert_eq!(packet_length(&answer), Some(answer.len()));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_the_protocol_ends_it() {
        let long = u32::try_from(PACKET_MAX + 1).unwrap().to_be_bytes();
        let version_2 = framed(&[INIT, 0, 0, 0, 2]);
        for packets in [
            vec![b"GET / HTTP/1.1\r\n".to_vec()],
            vec![framed(&[])],
            vec![version_2],
            vec![open(1, "/a", FLAG_READ)],
            vec![GREETING.to_vec(), GREETING.to_vec()],
            vec![GREETING.to_vec(), framed(&[READ, 0, 0])],
            vec![GREETING.to_vec(), long.to_vec()],
            vec![GREETING.to_vec(), request(OPEN, 1, &[0, 0, 0, 9, b'a'])],
            vec![GREETING.to_vec(), request(OPEN, 1, &text(b"no flags"))],
            vec![GREETING.to_vec(), request(EXTENDED, 1, &[])],
        ] {
            let (forwarded, _, mut gate) = carried(Direction::Down, &packets);
            assert!(forwarded.is_empty() || forwarded == GREETING, "{packets:?}");
            assert_eq!(gate.broken(), Some(Broken::Client), "{packets:?}");
            // And nothing goes on afterwards.
            gate.feed(&request(CLOSE, 2, &text(b"h")));
            let step = gate.next_step().unwrap();
            assert!(step.forward.is_empty() && step.dropped > 0);
        }
    }

    #[test]
    fn a_newer_client_is_offered_version_3() {
        let newer = framed(&[&[INIT, 0, 0, 0, 6][..], &text(b"ext"), &text(b"1")].concat());
        let mut gate = Gate::new(Direction::Down);
        gate.feed(&newer);
        assert_eq!(
            gate.next_step(),
            Some(Step {
                forward: Bytes::from_static(&GREETING),
                dropped: newer.len() - GREETING.len()
            })
        );
        assert_eq!(gate.next_step(), None);
        assert_eq!(gate.replied(&framed(&[VERSION, 0, 0, 0, 6])), 0);
        assert_eq!(gate.broken(), Some(Broken::Target));
    }

    #[test]
    fn no_file_comes_down_where_files_go_up() {
        let version = framed(&[VERSION, 0, 0, 0, 3]);
        let data = request(DATA, 1, &text(b"secret"));
        for (direction, passed) in [(Direction::Down, data.len()), (Direction::Up, 0)] {
            let mut gate = Gate::new(direction);
            assert_eq!(gate.replied(&version), version.len());
            assert_eq!(gate.replied(&data), passed);
            assert_eq!(gate.broken().is_some(), passed == 0);
        }
    }

    #[test]
    fn refused_requests_are_bounded() {
        let mut gate = Gate::new(Direction::Down);
        gate.feed(&GREETING);
        let request = request(MKDIR, 1, &text(b"/a"));
        for _ in 0..=REFUSED_MAX {
            gate.feed(&request);
        }
        while gate.next_step().is_some() {}
        assert_eq!(gate.broken(), Some(Broken::Flood));
        assert_eq!(std::iter::from_fn(|| gate.told()).count(), TOLD_MAX);
    }

    /// Requests of every kind, with ids that count up.
    fn requests() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let kinds: Vec<u8> = (CLOSE..=21).chain([EXTENDED]).collect();
        let one = (
            proptest::sample::select(kinds),
            "[a-z/]{0,20}",
            0..70_u32,
            proptest::option::of("[a-z]{0,40}"),
        );
        proptest::collection::vec(one, 0..20).prop_map(|all| {
            all.into_iter()
                .enumerate()
                .map(|(at, (kind, path, flags, more))| {
                    let id = u32::try_from(at).unwrap();
                    let more = more.unwrap_or_default();
                    match kind {
                        CLOSE => open(id, &path, flags),
                        EXTENDED => request(EXTENDED, id, &text(b"fsync@openssh.com")),
                        kind => {
                            let fields = [text(path.as_bytes()), more.into_bytes()].concat();
                            request(kind, id, &fields)
                        }
                    }
                })
                .collect()
        })
    }

    fn packets_of(mut stream: &[u8]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(length) = packet_length(stream) {
            packets.push(stream.get(..length).unwrap().to_vec());
            stream = stream.get(length..).unwrap();
        }
        assert!(stream.is_empty(), "a part of a packet");
        packets
    }

    proptest! {
        /// However the streams are cut, and however far the target is behind: what goes on is what
        /// is allowed, byte for byte and in order, and each request has one answer, in order too.
        #[test]
        fn each_request_has_one_answer(
            requests in requests(),
            up: bool,
            size in 1..40_usize,
            behind in 1..50_usize,
        ) {
            let direction = if up { Direction::Up } else { Direction::Down };
            let mut gate = Gate::new(direction);
            let stream = [&GREETING[..], &requests.concat()].concat();
            let (mut forwarded, mut dropped) = (Vec::new(), 0);
            let (mut replies, mut client) = (Vec::new(), Vec::new());
            let mut answered = 0;
            let drain = |gate: &mut Gate, replies: &mut Vec<u8>, client: &mut Vec<u8>, most: usize| {
                let mut left = most.min(replies.len());
                loop {
                    while let Some(answer) = gate.answer() {
                        client.extend_from_slice(&answer);
                    }
                    if left == 0 {
                        break;
                    }
                    let taken = gate.replied(&replies[..left]);
                    assert!(taken > 0, "it does not go on: {:?}", gate.broken());
                    client.extend(replies.drain(..taken));
                    left -= taken;
                }
            };
            for piece in stream.chunks(size) {
                gate.feed(piece);
                while let Some(step) = gate.next_step() {
                    forwarded.extend_from_slice(&step.forward);
                    dropped += step.dropped;
                }
                // The target answers each packet that it got, in order.
                for packet in packets_of(&forwarded).iter().skip(answered) {
                    replies.extend(match packet[4] {
                        INIT => framed(&[VERSION, 0, 0, 0, 3]),
                        _ => framed(&[&[STATUS][..], &packet[5..9], &[0; 12]].concat()),
                    });
                    answered += 1;
                }
                drain(&mut gate, &mut replies, &mut client, behind);
            }
            drain(&mut gate, &mut replies, &mut client, usize::MAX);
            prop_assert_eq!(gate.broken(), None);
            prop_assert_eq!(forwarded.len() + dropped, stream.len());
            let allowed: Vec<u8> = requests
                .iter()
                .filter(|packet| judge(direction, &packet[4..]) == Verdict::Allowed)
                .flatten()
                .copied()
                .collect();
            prop_assert_eq!(&forwarded[GREETING.len()..], &allowed[..]);
            let ids: Vec<u32> = packets_of(&client)
                .iter()
                .skip(1)
                .map(|packet| number(packet.get(5..)).unwrap())
                .collect();
            let wanted: Vec<u32> = (0..u32::try_from(requests.len()).unwrap()).collect();
            prop_assert_eq!(ids, wanted);
        }
    }
}
