//! What tests of the recorder feed it with.

use std::sync::Arc;

use bastion::config::RecordingMode;
use bastion::record::{About, Bulk, Kind};
use bytes::Bytes;
use scanner::{Masked, Options, Raw, Rules, Scanner, Step, Stream};

/// A session on `orders-db`: a shell has a terminal, a command is `cat`.
pub(crate) fn about(kind: Kind) -> About {
    About {
        user: "ada".to_owned(),
        issuer: "https://id.example.test".to_owned(),
        subject: "42".to_owned(),
        target: "orders-db".to_owned(),
        login: "postgres".to_owned(),
        kind,
        command: (kind == Kind::Exec).then(|| b"cat".to_vec()),
        pty: (kind == Kind::Shell).then_some((100, 30)),
        term: None,
        source: "192.0.2.7".parse().unwrap(),
        connection: "c1".to_owned(),
        bulk: Bulk::Full,
        mode: RecordingMode::Strict,
        continues: None,
        break_glass: false,
        notify: Vec::new(),
        signed_in: None,
    }
}

/// Output as it leaves the scanner, where no rule covers it.
pub(crate) fn masked(bytes: &[u8]) -> Masked {
    let mut scanner = Scanner::new(Arc::new(Rules::none()), Options::default());
    scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(bytes)));
    match scanner.next_step().unwrap() {
        Step::Pass { bytes, .. } => bytes,
        step => panic!("{step:?}"),
    }
}
