#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;

use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use replay::player::Key;
use serde_json::json;

use super::super::holds::Part;
use super::board::{Question, Tab};
use super::plain::{Typed, Typing};
use super::*;
use crate::holds::{Facts, Held, Name, Seal};
use crate::login::Identity;
use crate::requests;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn me() -> Identity {
    identity("carol")
}

fn identity(subject: &str) -> Identity {
    Identity {
        issuer: "https://id.example.test".into(),
        subject: subject.into(),
    }
}

fn party(name: &str) -> crate::holds::Party {
    crate::holds::Party {
        identity: identity(name),
        name: name.into(),
        email: None,
        same_person: crate::holds::SamePerson::NotAsked,
        kind: crate::holds::Kind::Person,
    }
}

/// The hold of this number, which began so many minutes ago.
fn row(n: u32, minutes: i64, producer: &str, text: &str) -> HoldRow {
    let facts = Facts {
        producer: party(producer),
        session: "s".into(),
        target: format!("payroll{text}"),
        login: "app".into(),
        command: Some(format!("select{text}")),
        pty: false,
        approved: false,
        held: Held::Records,
        rule: format!("payroll{text}"),
        approvers: format!("leads{text}"),
        needed: 2,
        period_s: 14_400,
    };
    let seal: Seal = serde_json::from_value(json!({
        "digest": "ab".repeat(32),
        "bytes": 40,
        "rows": 2,
        "fields": ["salary", format!("iban{text}")],
        "sealed_at": now(),
        "status": text,
    }))
    .unwrap();
    let opened_at = now() - SignedDuration::from_mins(minutes);
    let mut row = HoldRow::opened(HoldId::of(n), facts, opened_at);
    row.state = Name::Sealed;
    row.seal = Some(seal);
    row.expires_at = Some(opened_at + SignedDuration::from_hours(4));
    row
}

/// The request of this number, which was made so many minutes ago.
fn request(n: u32, minutes: i64, who: &str, text: &str) -> RequestRow {
    let asked_at = now() - SignedDuration::from_mins(minutes);
    let facts = requests::Facts {
        requester: party(who),
        target: format!("payroll-db{text}"),
        login: "app".into(),
        reason: format!("the nightly job failed{text}"),
        approvers: BTreeSet::from([format!("leads{text}")]),
        needed: 2,
        policies: vec![format!("ask{text}")],
        period_s: 7200,
        source: [192, 0, 2, 7].into(),
        signed_in_at: asked_at,
        asked_at,
        key: None,
    };
    let expires_at = asked_at + SignedDuration::from_hours(4);
    RequestRow::made(RequestId::of(n), facts, asked_at, expires_at)
}

/// What carol has to do with a request.
fn line(row: &RequestRow) -> RequestLine {
    let part = match row.facts.requester.identity == me() {
        true => requests::Part::Requester,
        false => requests::Part::Decider,
    };
    RequestLine::of(row, part, &me())
}

/// Three requests: two that wait for carol, and one of her own between them.
fn with_requests(size: (u16, u16)) -> Board {
    let mut board = usual(size);
    let rows = [
        request(1, 0, "ana", ""),
        request(2, 5, "carol", ""),
        request(3, 90, "Ángela 漢字", " a very long name"),
    ];
    board.renew_requests(rows.iter().map(line).collect());
    board
}

/// A board with these holds waiting, and one of carol's own.
fn board(rows: &[HoldRow], size: (u16, u16)) -> Board {
    let mut board = Board::new("bastion", &me(), size);
    let mut places: Vec<Place> = rows.iter().map(HoldRow::place).collect();
    places.sort();
    let own = row(77, 3, "carol", "");
    board.renew(places, vec![own.place()]);
    filled(&mut board, rows);
    board
}

/// What the loop does before it paints.
fn filled(board: &mut Board, rows: &[HoldRow]) {
    let missing = board.missing();
    let mut known: Vec<HoldRow> = rows.to_vec();
    known.push(row(77, 3, "carol", ""));
    known.retain(|row| missing.contains(&row.id));
    board.fill(&known);
}

fn usual(size: (u16, u16)) -> Board {
    let rows = [
        row(1, 0, "ana", ""),
        row(2, 1, "bob", "-db"),
        row(3, 240, "Ángela 漢字", " a very long rule that does not fit"),
    ];
    board(&rows, size)
}

/// The loop's part in a batch of keys.
fn press(board: &mut Board, keys: &[Key]) -> Vec<Ask> {
    let mut asks = Vec::new();
    for key in keys {
        asks.extend(board.on_key(*key));
        if board.takes_no_more() {
            break;
        }
    }
    asks
}

fn typed(text: &str) -> Vec<Key> {
    KeyReader::default().keys(text.as_bytes())
}

/// The screen as a terminal shows it.
fn screen(board: &Board) -> String {
    let (cols, rows) = board.size();
    let mut terminal = Terminal::new(TestBackend::new(cols, rows)).unwrap();
    terminal
        .draw(|frame| {
            picture::draw(board, now(), frame.buffer_mut());
        })
        .unwrap();
    terminal.backend().to_string()
}

fn page(row: &HoldRow, body: &str) -> Page {
    Page {
        about: Subject::Hold(HoldLine::of(row, &me())),
        facts: lines_of(&described(row)),
        above: "preview, held fields masked:".to_owned(),
        body: Body::Preview(lines_of(body)),
        top: 0,
    }
}

#[test]
fn a_list_of_holds() {
    assert_snapshot!(screen(&usual((80, 12))));
}

#[test]
fn a_question_names_what_it_is_about() {
    let mut board = usual((80, 12));
    press(&mut board, &typed("ja"));
    assert_snapshot!("reason", screen(&board));
    press(&mut board, &typed("the month's run\r"));
    assert_snapshot!("sure", screen(&board));
}

#[test]
fn a_page_of_a_hold() {
    let mut board = usual((80, 24));
    let row = row(1, 0, "ana", "");
    board.show(Some(page(&row, "1,***\n2,***\n")));
    assert_snapshot!(screen(&board));
}

/// After a denial, an expiry or a right that is gone, nothing of it is on the screen or in memory.
#[test]
fn what_is_erased_or_withdrawn_is_shown_no_more() {
    let mut row = row(1, 0, "ana", "");
    let preview = page(&row, "1,***\n");
    let payload = Page {
        body: Body::Payload(Zeroizing::new(vec!["1,7000".into()])),
        ..preview.clone()
    };
    let renewed = |page: &Page, row: &HoldRow, may: bool| {
        let about = Subject::Hold(HoldLine::of(row, &me()));
        page.clone().renewed(about, lines_of(&described(row)), may)
    };
    let shows = |page: &Page| {
        let mut lines = page.lines();
        lines.any(|line| line.starts_with("1,"))
    };
    for (page, may, stays) in [
        (&payload, true, true),
        (&payload, false, false),
        (&preview, false, true),
    ] {
        assert_eq!(shows(&renewed(page, &row, may)), stays);
    }
    for state in [Name::Denied, Name::Expired, Name::Cancelled, Name::Void] {
        row.state = state;
        for page in [&preview, &payload] {
            let renewed = renewed(page, &row, true);
            assert_eq!((shows(&renewed), renewed.body), (false, Body::Nothing));
        }
    }
}

#[test]
fn requests_that_wait_are_named() {
    let mut board = board(&[], (80, 12));
    assert!(screen(&board).contains("nothing waits for you"));
    let rows = [request(1, 0, "ana", ""), request(2, 5, "bob", "")];
    board.renew_requests(rows.iter().map(line).collect());
    let shown = screen(&board);
    assert!(!shown.contains("nothing waits for you"), "{shown}");
    let says = "2 requests for access wait for you: 2 shows them";
    assert!(shown.contains(says), "{shown}");
    board.renew_requests(vec![line(&rows[0])]);
    let shown = screen(&board);
    assert!(
        shown.contains("1 request for access waits for you: 2 shows it"),
        "{shown}"
    );
}

#[test]
fn a_list_of_requests() {
    let mut board = with_requests((80, 12));
    press(&mut board, &typed("2"));
    assert_snapshot!("requests", screen(&board));
    // Those that wait for her come first.
    let order: Vec<_> = board.requests.first(9).map(|line| line.id).collect();
    assert_eq!(order, [1, 3, 2].map(RequestId::of));
    board.resize((40, 8));
    assert_snapshot!("requests_narrow", screen(&board));
    board.renew_requests(Vec::new());
    assert!(screen(&board).contains("no request for access"));
}

#[test]
fn a_page_of_a_request_and_its_question() {
    let mut board = with_requests((80, 24));
    press(&mut board, &typed("2"));
    let open = Ask::Open(Item::Request(RequestId::of(1)));
    assert_eq!(press(&mut board, &typed("\r")), [open]);
    let row = request(1, 0, "ana", "");
    let page = Page {
        about: Subject::Request(line(&row)),
        facts: lines_of(&described_request(&row)),
        above: String::new(),
        body: Body::Nothing,
        top: 0,
    };
    board.show(Some(page.clone()));
    // It has no output.
    assert_eq!(press(&mut board, &typed("p")), []);
    press(&mut board, &typed("a"));
    assert_eq!(press(&mut board, &typed("go ahead\r")), []);
    assert_snapshot!("request", screen(&board));
    let ask = Ask::Decide {
        choice: Choice::Request(RequestId::of(1)),
        decision: Decision::Approve,
        reason: Some("go ahead".into()),
    };
    assert_eq!(press(&mut board, &typed("y")), [ask]);

    // Once it is decided there is nothing to ask.
    let mut row = row;
    row.state = requests::Name::Approved;
    board.show(Some(page.renewed(
        Subject::Request(line(&row)),
        lines_of(&described_request(&row)),
        false,
    )));
    assert_eq!(press(&mut board, &typed("a")), []);
    let said = board.said.clone().unwrap();
    assert_eq!(
        said,
        format!("{} cannot be decided: it is approved", row.id)
    );
    assert_eq!(board.question, None);
}

/// What comes and goes is told, and the selection stays on its request.
#[test]
fn requests_come_and_go() {
    let mut board = with_requests((80, 24));
    press(&mut board, &typed("2j"));
    let selected = |board: &Board| board.requests.selected().map(|line| line.id);
    assert_eq!(selected(&board), Some(RequestId::of(3)));
    let mut rows = vec![
        request(4, 0, "bob", ""),
        request(1, 0, "ana", ""),
        request(2, 5, "carol", ""),
        request(3, 90, "bob", ""),
    ];
    let (come, gone) = board.renew_requests(rows.iter().map(line).collect());
    assert_eq!((come, gone), (vec![RequestId::of(4)], vec![]));
    assert_eq!(selected(&board), Some(RequestId::of(3)));
    // One that she has approved waits for others.
    let vote = |by: &str, approves| crate::store::Vote {
        by: party(by),
        approves,
        reason: None,
        at: now(),
        cast: None,
    };
    rows[0].votes.push(vote("carol", true));
    rows.remove(3);
    let (come, gone) = board.renew_requests(rows.iter().map(line).collect());
    assert_eq!(come, []);
    assert_eq!(gone, [4, 3].map(RequestId::of));
    assert_eq!(board.requests_waiting().count(), 1);
    assert!(board.tab == Tab::Requests && selected(&board).is_some());

    let me = me();
    assert_eq!(request_news(&rows[0], &me), None);
    let mut other = request(3, 90, "bob", "");
    for (state, by, told) in [
        (requests::Name::Approved, "dan", Some("is approved by dan")),
        (requests::Name::Denied, "dan", Some("is denied by dan")),
        (requests::Name::Approved, "carol", None),
        (requests::Name::Expired, "carol", Some("has expired")),
        (
            requests::Name::Withdrawn,
            "dan",
            Some("was withdrawn by whoever asked"),
        ),
        (requests::Name::Void, "dan", Some("is void")),
    ] {
        other.state = state;
        other.votes = vec![vote(by, state != requests::Name::Denied)];
        let told = told.map(|told| format!("{} {told}", other.id));
        assert_eq!(request_news(&other, &me), told, "{state:?}");
    }
}

#[test]
fn narrow_and_too_small() {
    assert_snapshot!("narrow", screen(&usual((40, 8))));
    assert_snapshot!("too_small", screen(&usual((20, 3))));
}

/// The choice of the hold of this number.
fn hold_of(n: u32) -> Choice {
    Choice::Hold {
        hold: HoldId::of(n),
        digest: row(n, 0, "ana", "").seal.unwrap().digest,
    }
}

#[test]
fn a_decision_takes_a_key_a_reason_and_a_yes() {
    let mut board = usual((80, 24));
    assert_eq!(press(&mut board, &typed("d")), []);
    assert_eq!(press(&mut board, &typed("not this\r")), []);
    let ask = Ask::Decide {
        choice: hold_of(1),
        decision: Decision::Deny,
        reason: Some("not this".into()),
    };
    assert_eq!(press(&mut board, &typed("y")), [ask]);
    // Everything else takes it back, or changes nothing.
    press(&mut board, &typed("a"));
    press(&mut board, &typed("\r"));
    assert_eq!(press(&mut board, &typed("zxn")), []);
    assert_eq!(board.question, None);
    press(&mut board, &typed("a"));
    assert_eq!(press(&mut board, &[Key::Escape]), []);
    assert_eq!(board.question, None);
}

#[test]
fn the_question_stays_on_its_hold_when_the_list_moves() {
    let mut board = usual((80, 24));
    press(&mut board, &typed("a"));
    let mut gone = row(1, 0, "ana", "");
    gone.state = Name::Expired;
    assert_eq!(
        board.place(&gone, Some(Part::Decider)),
        Some(format!("{} has expired", gone.id))
    );
    press(&mut board, &typed("\r"));
    let asks = press(&mut board, &typed("y"));
    assert!(
        matches!(asks.as_slice(), [Ask::Decide { choice, .. }] if *choice == hold_of(1)),
        "{asks:?}"
    );
}

/// Its output comes in, and is sealed, while somebody types a reason.
#[test]
fn what_is_not_sealed_is_not_asked_about() {
    let mut open = row(1, 0, "ana", "");
    (open.state, open.seal) = (Name::Open, None);
    let mut board = board(std::slice::from_ref(&open), (80, 24));
    let refused = format!("{} cannot be decided: it is not sealed yet", open.id);
    let says = |board: &Board| {
        let said = board.said.as_deref();
        said.is_some_and(|line| line.starts_with(&refused)) && board.question.is_none()
    };
    for key in ["a", "d"] {
        assert_eq!(press(&mut board, &typed(key)), []);
        assert!(says(&board), "{board:?}");
    }
    board.show(Some(page(&open, "")));
    assert_eq!(press(&mut board, &typed("a")), []);
    assert!(says(&board), "{board:?}");
    let line = HoldLine::of(&open, &me());
    assert!(line.decidable().unwrap_err().starts_with(&refused));
}

#[test]
fn what_was_not_drawn_is_not_decided() {
    let mut board = usual((80, 24));
    press(&mut board, &typed("a"));
    press(&mut board, &typed("\r"));
    board.resize((20, 4));
    assert_eq!(press(&mut board, &typed("y")), []);
    board.resize((80, 24));
    assert_eq!(press(&mut board, &typed("y")), []);
}

#[test]
fn others_decisions_are_told() {
    let mut board = usual((80, 24));
    let mut row = row(2, 1, "bob", "-db");
    row.votes.push(crate::store::Vote {
        by: party("dan"),
        approves: true,
        reason: None,
        at: now(),
        cast: None,
    });
    let told = board.place(&row, Some(Part::Decider));
    assert_eq!(told, Some(format!("{} has 1 of 2 approvals", row.id)));
    row.state = Name::Approved;
    let told = board.place(&row, Some(Part::Decider));
    assert_eq!(told, Some(format!("{} is approved by dan", row.id)));
    assert_eq!(board.waiting.len(), 2);
    let mut own = super::tests::row(77, 3, "carol", "");
    own.state = Name::Approved;
    let told = board.place(&own, Some(Part::Producer)).unwrap();
    assert!(
        told.ends_with(&format!("ssh bastion fetch {}", own.id)),
        "{told}"
    );
}

/// The escape sequences of ours; what is left of a painting without them is text.
fn without_ours(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut rest = text.as_str();
    let mut left = String::new();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        left.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        let (parameters, behind) = after.split_at(end);
        assert!(
            parameters
                .chars()
                .all(|c| matches!(c, '0'..='9' | ';' | '?')),
            "{parameters:?}"
        );
        let letter = behind.chars().next().unwrap();
        assert!("HJmhl".contains(letter), "{letter:?}");
        rest = behind.get(1..).unwrap();
    }
    left.push_str(rest);
    left
}

fn is_quiet(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn any_board() -> impl Strategy<Value = Board> {
    let text = prop_oneof![
        any::<String>(),
        "[ -~]{0,80}",
        "[\u{0}-\u{20}\u{80}-\u{9f}\u{202a}-\u{202e}漢é]{0,20}"
    ];
    let keys = prop::collection::vec(
        prop_oneof![
            Just("a"),
            Just("d"),
            Just("\r"),
            Just("\x1b"),
            Just("\t"),
            Just("2"),
            Just("j"),
            Just("G"),
            Just("?"),
            Just("x"),
            Just("\u{202e}"),
            Just("漢"),
            Just(" ")
        ],
        0..12,
    );
    let size = (1..160u16, 1..60u16);
    (text, keys, size, 0..40u32, any::<bool>()).prop_map(|(text, keys, size, many, open)| {
        let rows: Vec<HoldRow> = (0..many)
            .map(|n| row(n + 100, n.into(), &text, &text))
            .collect();
        let mut board = board(&rows, size);
        let requests = (0..many).map(|n| line(&request(n + 100, n.into(), &text, &text)));
        board.renew_requests(requests.collect());
        board.set_sessions(vec![
            SessionLine {
                user: safe(&text),
                ..SessionLine::default()
            };
            3
        ]);
        board.set_targets(vec![
            TargetLine {
                target: text.clone(),
                ..TargetLine::default()
            };
            3
        ]);
        board.said = Some(text.clone());
        if let Some(row) = rows.first().filter(|_| open) {
            // The body as the console makes it: safe.
            let body: String = text
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            board.show(Some(page(row, &safe(&body))));
        }
        for key in keys {
            press(&mut board, &typed(key));
        }
        filled(&mut board, &rows);
        board
    })
}

proptest! {
    /// Whatever users, targets and providers are called, and however large the terminal is.
    #[test]
    fn nothing_but_our_own_sequences_is_painted(board in any_board()) {
        let first = picture::frame(&board, now());
        let bytes = first.paint(None);
        prop_assert!(without_ours(&bytes).chars().all(is_quiet));
        prop_assert!(first.paint(Some(&first)).is_empty());
    }

    /// A terminal that is told of the differences only shows the same as one that is told all.
    #[test]
    fn every_size_is_drawn(cols in 1..320u16, rows in 1..120u16, open: bool) {
        let mut board = usual((cols, rows));
        if open {
            board.show(Some(page(&row(1, 0, "ana", ""), &"x".repeat(700))));
        }
        let (drawn_cols, drawn_rows) = board.size();
        prop_assert!(drawn_cols <= cols && drawn_rows <= rows);
        prop_assert!(!picture::frame(&board, now()).paint(None).is_empty());
    }

    /// Nothing that arrives at once decides, pasted or typed ahead: the question is read first.
    #[test]
    fn one_batch_of_bytes_decides_nothing(bytes: Vec<u8>, text in "[ad\rynq j\x1b]{0,30}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let mut board = with_requests((80, 24));
            let asks = press(&mut board, &KeyReader::default().keys(bytes));
            let decides = |ask: &Ask| matches!(ask, Ask::Decide { .. });
            prop_assert!(!asks.iter().any(decides), "{asks:?}");
        }
    }

    /// What is decided was named by the question before.
    #[test]
    fn a_decision_is_about_what_was_asked(batches in prop::collection::vec("[ad\rynjkG\x1b12]{1,3}", 1..40)) {
        let mut board = with_requests((80, 24));
        for batch in batches {
            let asked = match &board.question {
                Some(Question::Sure { about, decision, .. }) => Some((about.choice(), *decision)),
                _ => None,
            };
            for ask in press(&mut board, &typed(&batch)) {
                if let Ask::Decide { choice, decision, .. } = ask {
                    prop_assert_eq!(&asked, &Some((Ok(choice), decision)));
                }
            }
        }
    }

    /// Holds come and go; the selection stays on its hold for as long as there is one.
    #[test]
    fn the_selection_stays(
        steps in prop::collection::vec((0..30u32, any::<bool>()), 1..60),
        first in 0..30u32,
        height in 7..40u16,
    ) {
        let rows: Vec<HoldRow> = (0..30).map(|n| row(n, i64::from(n % 7), "ana", "")).collect();
        let mut board = Board::new("bastion", &me(), (80, height));
        let mut there: BTreeSet<u32> = BTreeSet::from([first]);
        board.place(&rows[first as usize], Some(Part::Decider));
        for (n, comes) in steps {
            let before = board.waiting.selected().copied();
            let mut row = rows[n as usize].clone();
            if comes {
                there.insert(n);
            } else {
                there.remove(&n);
                row.state = Name::Denied;
            }
            board.place(&row, Some(Part::Decider));
            let places: BTreeSet<_> = there.iter().map(|n| rows[*n as usize].place()).collect();
            prop_assert_eq!(board.waiting.first(100).copied().collect::<Vec<_>>(), places.iter().copied().collect::<Vec<_>>());
            let selected = board.waiting.selected().copied();
            prop_assert_eq!(selected.is_some(), !there.is_empty());
            if let Some(before) = before.filter(|before| places.contains(before)) {
                prop_assert_eq!(selected, Some(before));
            }
            // It is on the screen.
            let seen = board.waiting.visible(board.height()).filter(|(_, chosen)| *chosen).count();
            prop_assert_eq!(seen, usize::from(!there.is_empty()));
        }
    }

    /// However bytes were cut, the same lines are read; what is sent back moves no cursor but back.
    #[test]
    fn lines_are_read_however_they_are_cut(text in "[a-zé漢 \r\n\x7f\x15]{0,60}", size in 1..9usize) {
        let lines = |size: usize| {
            let mut typing = Typing::new(true);
            let pieces = text.as_bytes().chunks(size);
            let all = pieces.flat_map(|piece| typing.keys(piece)).collect::<Vec<_>>();
            all.into_iter().filter(|typed| matches!(typed, Typed::Line(_))).collect::<Vec<_>>()
        };
        prop_assert_eq!(lines(size), lines(text.len().max(1)));
    }

    #[test]
    fn what_is_sent_back_is_safe(bytes: Vec<u8>) {
        for typed in Typing::new(true).keys(&bytes) {
            if let Typed::Echo(text) = typed {
                prop_assert!(text.chars().all(|c| is_quiet(c) || matches!(c, '\r' | '\n' | '\u{8}')), "{text:?}");
            }
        }
    }
}

#[test]
fn pieces_of_a_line_are_the_line() {
    for (line, columns, pieces) in [
        ("", 10, vec![""]),
        ("abc", 3, vec!["abc"]),
        ("abcd", 3, vec!["abc", "d"]),
        ("漢字漢", 4, vec!["漢字", "漢"]),
        ("a漢字", 4, vec!["a漢", "字"]),
    ] {
        assert_eq!(picture::wrapped(line, columns).collect::<Vec<_>>(), pieces);
    }
}
