//! `bastion audit forward` as a process, with receivers that are what they should be, and that are not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bastion::audit::{Audit, Event};
use bastion::config::RecordingSync;
use bastion::record::Recorder;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bastion"))
}

/// A folder with a recorder, whose audit log is forwarded.
struct World {
    folder: tempfile::TempDir,
    audit: Option<(Recorder, Audit)>,
    written: usize,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut world = Self {
            folder,
            audit: None,
            written: 0,
        };
        let dir = world.path("recordings");
        let recorder = Recorder::spawn_embedded(program(), &dir, RecordingSync::Interval).await;
        world.is_recorded_by(recorder.unwrap());
        world
    }

    fn is_recorded_by(&mut self, recorder: Recorder) {
        self.audit = Some((recorder.clone(), Audit::new(recorder)));
    }

    /// Has the events written by a recorder of its own from now on.
    async fn separated(&mut self) -> Child {
        if let Some((earlier, audit)) = self.audit.take() {
            drop(audit);
            earlier.close().await;
        }
        let mut command = tokio::process::Command::new(program());
        command
            .args(["recorder", "--dir"])
            .arg(self.path("recordings"))
            .arg("--socket")
            .arg(self.path("recorder.sock"))
            .arg("--audit-socket")
            .arg(self.path("audit.sock"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let recorder = command.spawn().unwrap();
        let own = connected(self.path("recorder.sock")).await;
        self.is_recorded_by(own);
        recorder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes so many events, which are on disk then.
    async fn happens(&mut self, events: usize) {
        let (_, audit) = self.audit.as_ref().unwrap();
        for n in 0..events {
            let event = Event::ConnectionRefused {
                source: "192.0.2.7".parse().unwrap(),
                reason: format!("event {}\nof the test", self.written + n),
            };
            audit.record(event).await.unwrap();
        }
        self.written += events;
    }

    /// The numbers of the events that the log has.
    fn numbers(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.path("recordings/audit.jsonl")).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["seq"].as_u64().unwrap()).collect()
    }

    /// Writes a configuration with a sink.
    fn configure(&self, audit: &str, sink: &str) {
        let text = format!(
            "[oidc]\nissuer = \"https://id.example.test\"\nclient_id = \"bastion\"\n\
             [audit]\n{audit}\n[[audit.sink]]\nname = \"siem\"\n{sink}\n"
        );
        fs::write(self.path("bastion.toml"), text).unwrap();
    }

    fn forward(&self) -> Child {
        let mut command = tokio::process::Command::new(program());
        command
            .args(["audit", "forward", "--config"])
            .arg(self.path("bastion.toml"))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Waits until the forwarder says so of the sink.
    async fn status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = self.path("forward/siem.status.json");
        within(async {
            loop {
                if let Ok(text) = fs::read_to_string(&path)
                    && let Ok(status) = serde_json::from_str::<Value>(&text)
                    && wanted(&status)
                {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// Waits until the sink has everything.
    async fn caught_up(&self) {
        let last = *self.numbers().last().unwrap();
        self.status(|status| {
            status["acknowledged"].as_u64() >= Some(last) && status["behind"] == 0
        })
        .await;
    }

    /// An authority, and certificates that it has signed: `NAME.pem` and `NAME.key`.
    fn certify(&self, authority: &str, names: &[(&str, &str)]) {
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let run = |args: &[&str]| {
            let status = Command::new("openssl")
                .args(args)
                .current_dir(self.folder.path())
                .stderr(Stdio::null())
                .status();
            assert!(status.unwrap().success(), "openssl {args:?}");
        };
        let (pem, private) = (format!("{authority}.pem"), format!("{authority}.key"));
        let subject = format!("/CN={authority}");
        let own = [
            "-x509", "-days", "2", "-subj", &subject, "-keyout", &private, "-out", &pem,
        ];
        run(&[&["req"], &key[..], &own].concat());
        for (name, alternative) in names {
            let file = |end: &str| format!("{name}.{end}");
            fs::write(
                self.path(&file("ext")),
                format!("subjectAltName={alternative}"),
            )
            .unwrap();
            let subject = format!("/CN={name}");
            let (csr, its, ext, signed) = (file("csr"), file("key"), file("ext"), file("pem"));
            let ask = ["-subj", &subject, "-keyout", &its, "-out", &csr];
            run(&[&["req"], &key[..], &ask].concat());
            run(&[
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                &csr,
                "-CA",
                &pem,
                "-CAkey",
                &private,
                "-CAcreateserial",
                "-extfile",
                &ext,
                "-out",
                &signed,
            ]);
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(self.path(&its), mode).unwrap();
        }
    }

    fn certificates(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.path(name))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// A server with the certificate `name`, which asks clients for one of `clients`.
    fn server(&self, name: &str, clients: Option<&str>) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                for certificate in self.certificates(authority) {
                    roots.add(certificate).unwrap();
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let own = self.certificates(&format!("{name}.pem"));
        TlsAcceptor::from(Arc::new(builder.with_single_cert(own, key).unwrap()))
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(100);
    tokio::time::timeout(patience, future)
        .await
        .expect("it came in time")
}

/// What a receiver does with a connection.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Reads to the end, and ends its side.
    Reads,
    /// Reads so many messages, and is gone.
    Dies(usize),
    /// Reads so many messages and ends its side; what comes then it throws away.
    EndsFirst(usize),
    /// Reads to the end, and ends the connection without a word of TLS about it, as a system does for a
    /// receiver that was killed, or somebody on the way.
    SaysNothing,
}

/// A connection that was read to its end: its messages.
type Read = Vec<String>;

/// A receiver on a port of its own.
struct Receiver {
    address: SocketAddr,
    read: mpsc::Receiver<Read>,
    /// Whether connections are closed as soon as they come.
    away: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    async fn start(address: &str, tls: Option<TlsAcceptor>, habits: Vec<Habit>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, read) = mpsc::channel(10_000);
        let mut tasks = JoinSet::new();
        let away = Arc::new(AtomicBool::new(false));
        let is_away = away.clone();
        tasks.spawn(async move {
            let mut habits = habits.into_iter();
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if is_away.load(Ordering::Acquire) {
                    continue;
                }
                let habit = habits.next().unwrap_or(Habit::Reads);
                let (tls, tell) = (tls.clone(), tell.clone());
                connections.spawn(async move {
                    let read = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => receive(stream, habit).await,
                            Err(_) => None,
                        },
                        None => receive(stream, habit).await,
                    };
                    if let Some(read) = read {
                        tell.send(read).await.ok();
                    }
                });
            }
        });
        Self {
            address,
            read,
            away,
            _tasks: tasks,
        }
    }

    fn is_away(&self, away: bool) {
        self.away.store(away, Ordering::Release);
    }

    /// What was read until the event `last` was among it.
    async fn until(&mut self, last: u64) -> Vec<Value> {
        let mut events = Vec::new();
        within(async {
            while events.iter().all(|event| number(event) < last) {
                let read = self.read.recv().await.unwrap();
                events.extend(read.iter().map(|message| event(message)));
            }
        })
        .await;
        events
    }
}

/// The messages of a connection, if it comes to its end (RFC 5425, section 4.3).
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, habit: Habit) -> Option<Read> {
    let mut bytes = Vec::new();
    let mut messages = Vec::new();
    loop {
        if let Habit::Dies(after) = habit
            && messages.len() >= after
        {
            return None;
        }
        if let Habit::EndsFirst(after) = habit
            && messages.len() >= after
        {
            stream.shutdown().await.ok()?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink())
                .await
                .ok()?;
            return None;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            break;
        }
        while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
            let length: usize = std::str::from_utf8(&bytes[..space])
                .unwrap()
                .parse()
                .unwrap();
            if bytes.len() < space + 1 + length {
                break;
            }
            let rest = bytes.split_off(space + 1 + length);
            messages.push(String::from_utf8(bytes.split_off(space + 1)).unwrap());
            bytes = rest;
        }
    }
    assert!(bytes.is_empty(), "a message was cut");
    if !matches!(habit, Habit::SaysNothing) {
        stream.shutdown().await.ok()?;
    }
    Some(messages)
}

/// A request to a webhook.
struct Posted {
    /// Names in small letters.
    headers: BTreeMap<String, String>,
    body: String,
}

/// A server for webhooks that answers with these statuses, and with 204 after them, or 413 to a body of
/// more than `longest` bytes; what it has taken.
async fn webhook(
    tls: TlsAcceptor,
    statuses: Vec<u16>,
    longest: usize,
) -> (SocketAddr, mpsc::Receiver<Posted>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, taken) = mpsc::channel(1_000);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut statuses = statuses.into_iter();
        // One after the other: the forwarder has one connection at a time.
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(stream).await else {
                continue;
            };
            while let Some(posted) = request(&mut stream).await {
                let status = match posted.body.len() > longest {
                    true => 413,
                    false => statuses.next().unwrap_or(204),
                };
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: /\r\n\r\n");
                if (200..300).contains(&status) {
                    tell.send(posted).await.ok();
                }
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (address, taken, tasks)
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Posted> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /bastion HTTP/1.1"));
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes.split_off(end + 4)).unwrap();
    Some(Posted { headers, body })
}

/// The event of a message, whose header is checked on the way.
fn event(message: &str) -> Value {
    let parts: Vec<&str> = message.splitn(8, ' ').collect();
    assert!(parts[0].ends_with(">1"), "{message}");
    assert_eq!(parts[3], "bastion", "{message}");
    let (id, body) = parts[7].split_once("] ").unwrap();
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(id, format!("sequenceId=\"{}\"", number(&event)));
    event
}

/// The number of an event, as it is chained or in OCSF.
fn number(event: &Value) -> u64 {
    let number = event
        .get("seq")
        .or_else(|| event.pointer("/metadata/sequence"));
    number.unwrap().as_u64().unwrap()
}

/// Each event at least once, in order but for what was sent again, and every copy the same.
fn complete(events: &[Value], numbers: &[u64]) {
    let mut seen = BTreeMap::new();
    let mut highest = 0;
    for event in events {
        let number = number(event);
        assert!(
            number <= highest + 1,
            "{number} came before {}",
            highest + 1
        );
        highest = highest.max(number);
        let earlier = seen.insert(number, event);
        assert!(
            earlier.is_none_or(|earlier| earlier == event),
            "{number} has two forms"
        );
    }
    // Reading the log is an event of its own: there may be more by now.
    let sent = numbers.iter().filter(|number| **number <= highest);
    assert!(seen.keys().eq(sent), "{:?}", seen.keys());
}

#[tokio::test]
async fn events_go_over_tls_in_order() {
    let mut world = World::start().await;
    world.certify("ca", &[("siem", "IP:127.0.0.1")]);
    let tls = world.server("siem", None);
    let mut receiver = Receiver::start("127.0.0.1:0", Some(tls), vec![]).await;
    world.configure(
        "",
        &format!(
            "syslog = \"tls://{}\"\nca_file = \"ca.pem\"",
            receiver.address
        ),
    );
    world.happens(30).await;
    let _forward = world.forward();
    let last = *world.numbers().last().unwrap();
    let mut events = receiver.until(last).await;
    world.caught_up().await;
    // Those that come later go, too.
    world.happens(5).await;
    let numbers = world.numbers();
    events.extend(receiver.until(*numbers.last().unwrap()).await);
    complete(&events, &numbers);
    assert_eq!(
        events.len(),
        numbers.len(),
        "nothing broke, and nothing came twice"
    );
    let refused = &events[events.len() - 1];
    assert_eq!(refused["type_uid"], 400_705, "{refused}");
    assert_eq!(refused["src_endpoint"]["ip"], "192.0.2.7");
    world.caught_up().await;
}

#[tokio::test]
async fn a_receiver_that_is_away_gets_everything_when_it_is_back() {
    let mut world = World::start().await;
    let mut receiver = Receiver::start("127.0.0.1:0", None, vec![]).await;
    receiver.is_away(true);
    let address = receiver.address;
    world.configure(
        "",
        &format!("syslog = \"tcp://{address}\"\nformat = \"json\""),
    );
    world.happens(10).await;
    let _forward = world.forward();
    let status = world.status(|status| status["error"].is_string()).await;
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("the connection broke"), "{status}");
    assert!(status["caught_up_at"].is_null(), "{status}");
    receiver.is_away(false);
    let numbers = world.numbers();
    let mut events = receiver.until(*numbers.last().unwrap()).await;
    world.caught_up().await;

    // It goes away again while the forwarder runs.
    receiver.is_away(true);
    world.happens(10).await;
    world
        .status(|status| status["error"].is_string() && status["behind"] == 10)
        .await;
    receiver.is_away(false);
    let numbers = world.numbers();
    events.extend(receiver.until(*numbers.last().unwrap()).await);
    complete(&events, &numbers);
    let status = world.status(|status| status["error"].is_null()).await;
    assert!(status["caught_up_at"].is_string(), "{status}");
}

/// What a receiver had not read to the end when it died is sent again.
#[tokio::test]
async fn a_receiver_that_dies_loses_nothing() {
    let mut world = World::start().await;
    world.certify("ca", &[("siem", "IP:127.0.0.1")]);
    let tls = world.server("siem", None);
    let habits = vec![
        Habit::Dies(3),
        Habit::EndsFirst(2),
        Habit::Dies(1),
        Habit::EndsFirst(1),
        Habit::Dies(7),
    ];
    let mut receiver = Receiver::start("127.0.0.1:0", Some(tls), habits).await;
    world.configure(
        "",
        &format!(
            "syslog = \"tls://{}\"\nca_file = \"ca.pem\"",
            receiver.address
        ),
    );
    world.happens(20).await;
    let _forward = world.forward();
    let numbers = world.numbers();
    let events = receiver.until(*numbers.last().unwrap()).await;
    // Of these only that was counted which came on connections that were read to their end.
    complete(&events, &numbers);
    world.caught_up().await;
}

/// The end of a connection is a receiver's word only where it says so within TLS; by default, it is one
/// in any case.
#[tokio::test]
async fn an_end_without_close_notify_is_what_it_is_said_to_be() {
    for (acknowledge, counts) in [("close-notify", false), ("end", true)] {
        let mut world = World::start().await;
        world.certify("ca", &[("siem", "IP:127.0.0.1")]);
        let tls = world.server("siem", None);
        let habits = vec![Habit::SaysNothing; 2];
        let mut receiver = Receiver::start("127.0.0.1:0", Some(tls), habits).await;
        let address = receiver.address;
        world.configure(
            "",
            &format!(
                "syslog = \"tls://{address}\"\nca_file = \"ca.pem\"\nacknowledge = \"{acknowledge}\""
            ),
        );
        world.happens(10).await;
        let _forward = world.forward();
        if !counts {
            let status = world.status(|status| status["error"].is_string()).await;
            let error = status["error"].as_str().unwrap();
            assert!(error.contains("without close_notify"), "{status}");
            assert_eq!(status["acknowledged"], 0, "{status}");
            assert!(!world.path("forward/siem.cursor.json").exists());
        }
        let numbers = world.numbers();
        let mut events = receiver.until(*numbers.last().unwrap()).await;
        if !counts {
            // What was read and not acknowledged comes again, to whoever says so in the end.
            events.extend(receiver.until(*numbers.last().unwrap()).await);
            events.extend(receiver.until(*numbers.last().unwrap()).await);
        }
        world.caught_up().await;
        complete(&events, &numbers);
        let twice = events.len() > numbers.len();
        assert_eq!(twice, !counts, "{acknowledge}: {} events", events.len());
    }
}

#[tokio::test]
async fn a_forwarder_that_is_killed_loses_nothing() {
    let mut world = World::start().await;
    let mut receiver = Receiver::start("127.0.0.1:0", None, vec![]).await;
    world.configure(
        "",
        &format!("syslog = \"tcp://{}\"\nformat = \"json\"", receiver.address),
    );
    let mut events = Vec::new();
    for round in 0..6 {
        world.happens(20).await;
        let mut forward = world.forward();
        if round % 2 == 0 {
            // In the middle of a connection: the receiver reads it to its end, of which nobody is told.
            let numbers = world.numbers();
            world
                .status(|status| status["behind"].as_u64() > Some(0))
                .await;
            forward.kill().await.unwrap();
            events.extend(receiver.until(*numbers.last().unwrap()).await);
        } else {
            let numbers = world.numbers();
            events.extend(receiver.until(*numbers.last().unwrap()).await);
            world.caught_up().await;
            forward.kill().await.unwrap();
        }
    }
    complete(&events, &world.numbers());
}

#[tokio::test]
async fn only_the_right_receiver_gets_anything() {
    let mut world = World::start().await;
    world.certify("other", &[("thief", "IP:127.0.0.1")]);
    world.certify(
        "ca",
        &[
            ("siem", "IP:127.0.0.1"),
            ("elsewhere", "DNS:elsewhere.test"),
        ],
    );
    world.happens(3).await;
    for name in ["thief", "elsewhere"] {
        let tls = world.server(name, None);
        let mut receiver = Receiver::start("127.0.0.1:0", Some(tls), vec![]).await;
        world.configure(
            "",
            &format!(
                "syslog = \"tls://{}\"\nca_file = \"ca.pem\"",
                receiver.address
            ),
        );
        let mut forward = world.forward();
        let status = world.status(|status| status["error"].is_string()).await;
        let error = status["error"].as_str().unwrap();
        assert!(error.contains("certificate"), "{name}: {error}");
        assert!(
            receiver.read.try_recv().is_err(),
            "{name} was sent something"
        );
        forward.kill().await.unwrap();
        fs::remove_file(world.path("forward/siem.status.json")).unwrap();
    }
}

#[tokio::test]
async fn a_receiver_may_ask_for_a_certificate() {
    let mut world = World::start().await;
    world.certify(
        "ca",
        &[("siem", "IP:127.0.0.1"), ("bastion", "DNS:bastion.test")],
    );
    world.happens(3).await;
    let tls = world.server("siem", Some("ca.pem"));
    let mut receiver = Receiver::start("127.0.0.1:0", Some(tls), vec![]).await;
    let sink = format!(
        "syslog = \"tls://{}\"\nca_file = \"ca.pem\"",
        receiver.address
    );
    world.configure("", &sink);
    let mut forward = world.forward();
    world.status(|status| status["error"].is_string()).await;
    forward.kill().await.unwrap();
    assert!(!world.path("forward/siem.cursor.json").exists());
    let own = "client_cert = \"bastion.pem\"\nclient_key = \"bastion.key\"";
    world.configure("", &format!("{sink}\n{own}"));
    let _forward = world.forward();
    let numbers = world.numbers();
    let events = receiver.until(*numbers.last().unwrap()).await;
    complete(&events, &numbers);
}

/// A connection to a socket of a recorder that may still be starting.
async fn connected(path: PathBuf) -> Recorder {
    within(async {
        loop {
            match Recorder::connect(&path).await {
                Ok(recorder) => return recorder,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
}

/// Connections to the socket of the log that are held by another user, who sends a byte of a frame now and
/// then, and connects again where one was closed.
struct Holder(std::process::Child);

impl Holder {
    /// `None` where this process may not become another user.
    fn of(user: u32, socket: &Path) -> Option<Self> {
        use std::io::{BufRead, BufReader};
        use std::os::unix::process::CommandExt;
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let perl = r#"
            use Socket; use IO::Handle; $| = 1; $SIG{PIPE} = "IGNORE";
            my ($path, $places) = @ARGV;
            # The head of a greeting that is never whole: 1,000 bytes, kind 1, channel 0.
            my $head = pack("VCxxxV", 1000, 1, 0);
            my @held;
            for (my $n = 0; ; $n++) {
                @held = grep { defined syswrite($_, " ") } @held;
                while (@held < $places) {
                    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die;
                    connect($s, pack_sockaddr_un($path)) or die "$path: $!";
                    syswrite($s, $head);
                    push @held, $s;
                }
                print "held\n" if $n == 0;
                select(undef, undef, undef, 0.3);
            }
        "#;
        let mut child = Command::new("perl")
            .args(["-e", perl])
            .arg(socket)
            .arg("6")
            .current_dir("/")
            .uid(user)
            .gid(user)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        Some(Self(child))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whoever else may read the log, and holds all places there are as well as they can, keeps no forwarder
/// away: not at its start, nor when it starts anew.
#[tokio::test]
async fn nobody_keeps_a_forwarder_from_the_log() {
    let mut world = World::start().await;
    let _recorder = world.separated().await;
    let socket = world.path("audit.sock");
    // As in the group of the socket.
    for (path, mode) in [(world.folder.path(), 0o711), (socket.as_path(), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let holders = [4242, 4243].map(|user| Holder::of(user, &socket));
    if holders.iter().any(Option::is_none) {
        println!("skipped: without root there is no other user");
        return;
    }
    let mut receiver = Receiver::start("127.0.0.1:0", None, vec![]).await;
    let sink = format!("syslog = \"tcp://{}\"\nformat = \"json\"", receiver.address);
    world.configure("socket = \"audit.sock\"", &sink);
    let mut events = Vec::new();
    for _ in 0..3 {
        world.happens(3).await;
        let mut forward = world.forward();
        events.extend(receiver.until(*world.numbers().last().unwrap()).await);
        world.caught_up().await;
        forward.kill().await.unwrap();
    }
    complete(&events, &world.numbers());
}

/// A recorder of its own shows the log at a socket, which is good for nothing else.
#[tokio::test]
async fn a_recorder_of_its_own_shows_the_log_and_nothing_else() {
    let mut world = World::start().await;
    let mut first = world.separated().await;
    let mut receiver = Receiver::start("127.0.0.1:0", None, vec![]).await;
    let sink = format!("syslog = \"tcp://{}\"\nformat = \"json\"", receiver.address);
    world.configure("socket = \"audit.sock\"", &sink);
    world.happens(5).await;
    let _forward = world.forward();
    let mut events = receiver.until(*world.numbers().last().unwrap()).await;

    for question in 0..3 {
        let door = connected(world.path("audit.sock")).await;
        let refused = match question {
            0 => door.list().await.is_err(),
            1 => door.read(&"a".repeat(26).parse().unwrap()).await.is_err(),
            _ => Audit::new(door).record(Event::Stopped).await.is_err(),
        };
        assert!(refused, "question {question}");
    }

    // It goes on with a recorder that was started anew.
    first.kill().await.unwrap();
    let _second = world.separated().await;
    world.happens(5).await;
    world.caught_up().await;
    events.extend(receiver.until(*world.numbers().last().unwrap()).await);
    complete(&events, &world.numbers());
}

/// What is there is not what was forwarded: nobody is told the rest as if nothing were.
#[tokio::test]
async fn a_log_that_was_cut_is_not_gone_on_with() {
    let mut world = World::start().await;
    let mut receiver = Receiver::start("127.0.0.1:0", None, vec![]).await;
    world.configure("", &format!("syslog = \"tcp://{}\"", receiver.address));
    world.happens(5).await;
    let mut forward = world.forward();
    receiver.until(*world.numbers().last().unwrap()).await;
    world.caught_up().await;
    forward.kill().await.unwrap();
    let path = world.path("recordings/audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&path, &text[..cut]).unwrap();
    let _forward = world.forward();
    let status = world.status(|status| status["error"].is_string()).await;
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("does not hold event"), "{error}");
    assert!(error.contains("siem.cursor.json"), "{error}");
    assert!(receiver.read.try_recv().is_err());
}

#[tokio::test]
async fn a_log_that_is_cut_meanwhile_is_not_gone_on_with() {
    let mut world = World::start().await;
    let mut receiver = Receiver::start("127.0.0.1:0", None, vec![]).await;
    world.configure("", &format!("syslog = \"tcp://{}\"", receiver.address));
    world.happens(5).await;
    let _forward = world.forward();
    receiver.until(*world.numbers().last().unwrap()).await;
    world.caught_up().await;
    let path = world.path("recordings/audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&path, &text[..cut]).unwrap();
    let lost = |error: &str| error.contains("does not hold event");
    world
        .status(|status| status["error"].as_str().is_some_and(lost))
        .await;
    assert!(receiver.read.try_recv().is_err());
}

#[tokio::test]
async fn two_forwarders_do_not_share_a_folder() {
    let world = World::start().await;
    world.configure("", "syslog = \"tcp://127.0.0.1:1\"");
    let _first = world.forward();
    world.status(|_| true).await;
    let second = Command::new(program())
        .args(["audit", "forward", "--config"])
        .arg(world.path("bastion.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("another bastion audit forward uses"),
        "{said}"
    );
    assert_eq!(second.status.code(), Some(1));
}

#[tokio::test]
async fn a_webhook_gets_signed_lines_until_it_takes_them() {
    let mut world = World::start().await;
    world.certify("ca", &[("siem", "IP:127.0.0.1")]);
    let tls = world.server("siem", None);
    let (address, mut taken, _tasks) = webhook(tls, vec![500, 307, 429], usize::MAX).await;
    let secret = [7; 32];
    let encoded = data_encoding::BASE64.encode(&secret);
    fs::write(world.path("secret"), format!("whsec_{encoded}\n")).unwrap();
    fs::set_permissions(world.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    world.configure(
        "",
        &format!(
            "webhook = \"https://{address}/bastion\"\nsecret_file = \"secret\"\nca_file = \"ca.pem\"\nformat = \"json\""
        ),
    );
    world.happens(20).await;
    let mut forward = world.forward();
    let status = world.status(|status| status["error"].is_string()).await;
    assert!(
        status["error"].as_str().unwrap().contains("status "),
        "{status}"
    );
    let key = ::aws_lc_rs::hmac::Key::new(::aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let mut events: Vec<Value> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for round in 0..2 {
        let last = *world.numbers().last().unwrap();
        while events.iter().all(|event| number(event) < last) {
            let Posted { headers, body } = within(taken.recv()).await.unwrap();
            assert_eq!(headers["content-type"], "application/x-ndjson");
            let (id, time) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
            let signature = headers["webhook-signature"].strip_prefix("v1,").unwrap();
            let signature = data_encoding::BASE64.decode(signature.as_bytes()).unwrap();
            let signed = format!("{id}.{time}.{body}");
            ::aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
            assert!(ids.insert(id.clone()), "{id} twice");
            events.extend(
                body.lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()),
            );
        }
        world.caught_up().await;
        if round == 0 {
            forward.kill().await.unwrap();
            world.happens(5).await;
            forward = world.forward();
        }
    }
    complete(&events, &world.numbers());
    assert_eq!(events.len(), world.numbers().len(), "nothing came twice");
}

/// A batch that is too large is halved until it is taken, at once; those after it are as small.
#[tokio::test]
async fn a_webhook_that_takes_less_gets_less() {
    let mut world = World::start().await;
    world.certify("ca", &[("siem", "IP:127.0.0.1")]);
    let tls = world.server("siem", None);
    let longest = 2_000;
    let (address, mut taken, _tasks) = webhook(tls, vec![], longest).await;
    let encoded = data_encoding::BASE64.encode(&[7; 32]);
    fs::write(world.path("secret"), format!("whsec_{encoded}\n")).unwrap();
    fs::set_permissions(world.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    world.configure(
        "",
        &format!(
            "webhook = \"https://{address}/bastion\"\nsecret_file = \"secret\"\nca_file = \"ca.pem\"\nformat = \"json\""
        ),
    );
    world.happens(100).await;
    let _forward = world.forward();
    let last = *world.numbers().last().unwrap();
    let mut events: Vec<Value> = Vec::new();
    let mut largest = 0;
    while events.iter().all(|event| number(event) < last) {
        let Posted { body, .. } = within(taken.recv()).await.unwrap();
        largest = largest.max(body.len());
        events.extend(
            body.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    assert!(largest <= longest, "{largest}");
    world.caught_up().await;
    complete(&events, &world.numbers());
    // Nothing that was taken came again, and the sink was never in trouble for it.
    assert_eq!(events.len() as u64, number(events.last().unwrap()));

    // An event that is too large alone is not left out: the sink says so and waits.
    let (_, audit) = world.audit.as_ref().unwrap();
    let event = Event::ConnectionRefused {
        source: "192.0.2.7".parse().unwrap(),
        reason: "x".repeat(longest),
    };
    audit.record(event).await.unwrap();
    let status = world.status(|status| status["error"].is_string()).await;
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("413") && error.contains("alone"), "{status}");
}
