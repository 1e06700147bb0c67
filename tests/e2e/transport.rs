//! What is not SSH, or not any more: the connection that it came on is closed at once, and no other one notices.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use tests::world::{Setup, World};

/// No deadline is near: who is closed is closed for what was sent.
fn patient() -> Result<World> {
    World::start(&Setup {
        limits: "login_deadline = \"9m\"\ncode_deadline = \"9m\"".to_owned(),
        ..Setup::default()
    })
}

/// A connection that has received the server's version line, and sent one if there is one.
fn connected(world: &World, version: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.bastion()?.port))?;
    stream.set_read_timeout(Some(tests::DEADLINE))?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .context("the server's version")?;
        line.extend(byte);
    }
    ensure!(line.starts_with(b"SSH-2.0-"), "{line:?}");
    stream.write_all(version)?;
    Ok(stream)
}

/// Sends it, and reads until the other side closes. A side that has closed may refuse the rest.
fn closes(mut stream: TcpStream, sent: &[u8]) -> Result<()> {
    let mut writer = stream.try_clone()?;
    let refused = writer.write_all(sent).is_err();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).context(format!("it is not closed ({refused})")),
        }
    }
}

/// An unencrypted packet (RFC 4253, section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 8;
    let length = u32::try_from(payload.len() + 1 + padding).unwrap_or(u32::MAX);
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap_or(8));
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// The number of the next unencrypted message.
pub(crate) fn message(stream: &mut TcpStream) -> Result<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut rest = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut rest)?;
    rest.get(1).copied().context("a message")
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// A KEXINIT that wants `kex` and no other.
fn kexinit(kex: &str) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend([7; 16]);
    let (cipher, none) = ("aes128-gcm@openssh.com", "none");
    let mac = "hmac-sha2-256-etm@openssh.com";
    for list in [
        kex,
        "ssh-ed25519",
        cipher,
        cipher,
        mac,
        mac,
        none,
        none,
        "",
        "",
    ] {
        payload.extend(string(list.as_bytes()));
    }
    payload.extend([0; 5]);
    packet(&payload)
}

/// All that a client sends of an exchange that is none of the wrong ones, up to the server's answer.
pub(crate) fn good_exchange() -> Vec<u8> {
    // The base point (RFC 7748, section 4.1).
    let point: Vec<u8> = [&[9][..], &[0; 31]].concat();
    let init = packet(&[&[30][..], &string(&point)].concat());
    [VERSION.to_vec(), kexinit("curve25519-sha256"), init].concat()
}

const VERSION: &[u8] = b"SSH-2.0-raw\r\n";

/// Row 3 of the threats: nothing is waited for, or made room for, before it is checked.
#[test]
fn what_is_no_packet_closes_its_connection() -> Result<()> {
    let world = patient()?;
    let client = world.signed_in()?;
    let before = world.bastion()?.memory()?.sum();
    world.bastion()?.forget_peak()?;
    let endless = vec![b'x'; 4 << 20];
    let lines = b"no version\r\n".repeat(100_000);
    for (what, sent) in [
        ("a version without end", endless.as_slice()),
        ("lines before a version without end", lines.as_slice()),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("an older version", b"SSH-1.5-raw\r\n"),
    ] {
        closes(connected(&world, b"")?, sent).context(what)?;
    }
    let long = [0xff, 0xff, 0xff, 0xff, 4, 20];
    let large = [0, 0x10, 0, 0, 4, 20];
    for (what, sent) in [
        ("a length of 4 GiB", &long[..]),
        ("a length of a MiB", &large[..]),
        ("a length of nothing", &[0, 0, 0, 0, 0, 0, 0, 0][..]),
        (
            "a length below its padding",
            &[0, 0, 0, 12, 200, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        ),
    ] {
        // Enough behind it that nobody could be waiting for the rest of a small packet.
        let sent = [sent, &[0; 64 * 1024]].concat();
        closes(connected(&world, VERSION)?, &sent).context(what)?;
    }
    // A packet that is encrypted before there is a key.
    let nonsense = [&kexinit("curve25519-sha256")[..], &[0x5a; 64 * 1024]].concat();
    closes(connected(&world, VERSION)?, &nonsense).context("nonsense after KEXINIT")?;
    let peak = world.bastion()?.peak()?.sum();
    let grown = peak.saturating_sub(before);
    ensure!(grown <= 16 << 20, "{} KiB more", grown / 1024);
    let output = client.exec("box", "echo in", b"")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// Row 4: keys that give a secret which everybody knows, or no key at all, end their own connection.
#[test]
fn a_key_that_is_none_closes_its_connection() -> Result<()> {
    let world = patient()?;
    let client = world.signed_in()?;
    // That a good one is answered shows that the others are refused for what they are.
    let mut stream = connected(&world, &good_exchange())?;
    ensure!(message(&mut stream)? == 20, "KEXINIT");
    ensure!(message(&mut stream)? == 31, "KEX_ECDH_REPLY");
    // Points of small order (RFC 7748, section 6.1).
    let one: Vec<u8> = [&[1][..], &[0; 31]].concat();
    let order_8 = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ];
    for (what, kex, key) in [
        ("zero", "curve25519-sha256", &[0; 32][..]),
        ("one", "curve25519-sha256", one.as_slice()),
        ("of order 8", "curve25519-sha256", &order_8),
        ("short", "curve25519-sha256", &[9; 31]),
        ("long", "curve25519-sha256", &[9; 33]),
        ("empty", "curve25519-sha256", &[]),
        ("short", "mlkem768x25519-sha256", &[9; 1183]),
        ("zero", "mlkem768x25519-sha256", &[0; 1216]),
        ("of one byte", "mlkem768x25519-sha256", &[9]),
    ] {
        let init = packet(&[&[30][..], &string(key)].concat());
        let sent = [&kexinit(kex)[..], &init].concat();
        closes(connected(&world, VERSION)?, &sent).with_context(|| format!("{kex}: {what}"))?;
        let log = world.bastion()?.log.text();
        ensure!(!log.contains("panicked"), "{kex}: {what}: {log}");
    }
    let output = client.exec("box", "echo in", b"")?.ok()?;
    ensure!(output.out() == "in\n", "{output:?}");
    Ok(())
}

/// Rows 6 to 8: what is offered, whole.
#[test]
fn only_listed_algorithms_are_offered() -> Result<()> {
    let world = patient()?;
    let mut stream = connected(&world, VERSION)?;
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [a, b, c, d, padding] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let mut rest = vec![0; length - 1];
    stream.read_exact(&mut rest)?;
    rest.truncate(length - 1 - usize::from(padding));
    let lists = rest.get(17..).context("a KEXINIT")?;
    let mut at = 0;
    let mut offered = Vec::new();
    for _ in 0..8 {
        let four = lists.get(at..at + 4).context("a length")?;
        let length = u32::from_be_bytes(four.try_into()?) as usize;
        let list = lists.get(at + 4..at + 4 + length).context("a list")?;
        offered.push(String::from_utf8(list.to_vec())?);
        at += 4 + length;
    }
    let expected = [
        "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ext-info-s,kex-strict-s-v00@openssh.com",
        "ssh-ed25519",
        "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com",
        "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com",
        "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com",
        "none",
        "none",
    ];
    ensure!(offered == expected, "{offered:#?}");
    Ok(())
}
