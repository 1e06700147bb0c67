//! `replay serve`: who gets in, and what the pages hold.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Server {
    child: Child,
    host: String,
    /// `/TOKEN/`.
    root: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_replay"))
            .args(["serve", "."])
            .current_dir(folder)
            .env("TZ", "UTC")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://").unwrap();
        let (host, root) = rest.split_once('/').unwrap();
        Self {
            child,
            host: host.to_owned(),
            root: format!("/{root}"),
        }
    }

    fn ask(&self, method: &str, path: &str, host: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", &format!("{}{path}", self.root), &self.host)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn recordings_are_listed_searched_and_played_by_who_knows_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "<script>alert(1)</script>";
    let text = format!(
        "{{\"version\":3,\"term\":{{\"cols\":40,\"rows\":5}},\"title\":\"{hostile}\"}}\n[1,\"o\",\"needle {hostile}\\r\\n\"]\n[2,\"o\",\"more\"]\n"
    );
    fs::write(folder.path().join("a.cast"), text).unwrap();
    let server = Server::start(folder.path());

    let (status, list) = server.get("");
    assert_eq!(status, 200);
    assert!(
        list.contains("1 recordings") && list.contains("&lt;script&gt;"),
        "{list}"
    );
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "x-frame-options: DENY",
    ] {
        assert!(list.contains(header), "{header}: {list}");
    }
    let (status, found) = server.get("search?q=needle");
    assert_eq!(status, 200);
    assert!(
        found.contains("#t=1000") && found.contains("needle &lt;script&gt;"),
        "{found}"
    );
    let (_, nothing) = server.get("search?q=%3Cb%3Ehaystack");
    assert!(nothing.contains("It was on no screen") && nothing.contains("&lt;b&gt;haystack"));
    let from = list.find("play/").unwrap();
    let place = list.get(from..from + 37).unwrap();
    let (status, page) = server.get(place);
    assert_eq!(status, 200);
    let (_, body) = page.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.matches("<script").count(), 2, "{body}");
    let (status, part) = server.get(&format!("{}/0", place.replace("play", "part")));
    assert_eq!(status, 200);
    assert!(part.contains("needle \\u003cscript"), "{part}");
    assert_eq!(
        server
            .get(&format!("{}/1", place.replace("play", "part")))
            .0,
        404
    );
    for file in ["player.js", "style.css"] {
        assert_eq!(server.get(file).0, 200);
    }

    // Nobody else, by no other name, and nothing else.
    assert_eq!(server.ask("GET", &server.root, "evil.test").0, 404);
    assert_eq!(server.ask("GET", &server.root, "127.0.0.1").0, 404);
    assert_eq!(server.ask("GET", "/", &server.host).0, 404);
    assert_eq!(
        server
            .ask("GET", "/0123456789abcdef0123456789abcdef/", &server.host)
            .0,
        404
    );
    assert_eq!(server.ask("POST", &server.root, &server.host).0, 405);
    for path in [
        "play/..%2f..%2fetc%2fpasswd",
        "play/0",
        "part/0/0",
        "../",
        "a.cast",
    ] {
        assert_eq!(server.get(path).0, 404, "{path}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_replay"))
        .args(["serve", "missing"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing"));
}
