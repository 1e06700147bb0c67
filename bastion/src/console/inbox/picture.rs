//! How the inbox looks: the board as cells, and the cells as what the client's terminal is sent.
//!
//! Nothing here comes to the terminal but through [`Frame`], whose cells hold characters that do
//! nothing but stand where they are put.

use jiff::Timestamp;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use replay::paint::{self, Frame};
use unicode_width::UnicodeWidthChar;

use super::super::command::Decision;
use super::super::text;
use super::board::{
    Board, COLS_MIN, HoldLine, LIST_MAX, List, Page, Question, ROWS_MIN, RequestLine, SessionLine,
    Subject, Tab, TargetLine,
};
use crate::holds::Name;
use crate::requests;
use crate::store::Place;

/// The picture of a board at a moment.
pub(super) fn frame(board: &Board, now: Timestamp) -> Frame {
    let (cols, rows) = board.size();
    let mut buffer = Buffer::empty(Rect::new(0, 0, cols, rows));
    let cursor = draw(board, now, &mut buffer);
    let mut frame = Frame::new(cols, rows);
    for row in 0..rows {
        let mut col = 0;
        while let Some(cell) = buffer.cell((col, row)).filter(|_| col < cols) {
            let style = style_of(cell);
            let mut behind = col;
            for char in cell.symbol().chars() {
                behind = frame.set(row, behind, char, style);
            }
            // A wide one covers the cell behind it.
            col = behind.max(col + 1);
        }
    }
    frame.cursor = cursor;
    frame
}

fn style_of(cell: &Cell) -> paint::Style {
    let has = |modifier| cell.modifier.contains(modifier);
    paint::Style {
        bold: has(Modifier::BOLD),
        faint: has(Modifier::DIM),
        inverse: has(Modifier::REVERSED),
        underline: has(Modifier::UNDERLINED),
        ..paint::Style::default()
    }
}

/// Draws the board; says where the cursor is to be seen.
pub(super) fn draw(board: &Board, now: Timestamp, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let all = buffer.area;
    if board.is_too_small() {
        let line = format!("the inbox needs {COLS_MIN}x{ROWS_MIN}; q leaves");
        for (row, piece) in wrapped(&line, all.width.into())
            .take(all.height.into())
            .enumerate()
        {
            put(buffer, Rect::new(0, row as u16, all.width, 1), piece, PLAIN);
        }
        return None;
    }
    let told = told(board, all.width);
    let lines = u16::try_from(told.lines.len()).unwrap_or(TOLD_MAX).max(1);
    let [head, body, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(lines),
        Constraint::Length(1),
    ])
    .areas(all);
    heading(board, buffer, head);
    match (&board.question, &board.page) {
        (Some(Question::Keys), _) => keys(buffer, body),
        (_, Some(page)) => open_page(page, buffer, body),
        (_, None) => list(board, now, buffer, body),
    }
    for (row, line) in (below.top()..below.bottom()).zip(&told.lines) {
        put(buffer, Rect::new(0, row, all.width, 1), line, told.style);
    }
    fill(buffer, foot, BAR);
    put(buffer, foot, hint(board), BAR);
    told.cursor.map(|col| (col, below.bottom() - 1))
}

/// The line of lists, with how many holds, or requests that wait for this user, are in each.
fn heading(board: &Board, buffer: &mut Buffer, area: Rect) {
    fill(buffer, area, BAR);
    let count = |list: &List<Place>| match list.len() {
        LIST_MAX => format!("{LIST_MAX}+"),
        len => len.to_string(),
    };
    let mut at = area;
    for (n, tab) in Tab::ALL.into_iter().enumerate() {
        let name = match tab {
            Tab::Waiting => format!(" {} for you ({}) ", n + 1, count(&board.waiting)),
            Tab::Requests => {
                let waiting = board.requests_waiting().count();
                format!(" {} requests ({waiting}) ", n + 1)
            }
            Tab::Own => format!(" {} yours ({}) ", n + 1, count(&board.own)),
            Tab::Sessions => format!(" {} sessions ", n + 1),
            Tab::Targets => format!(" {} targets ", n + 1),
        };
        let style = if tab == board.tab { CHOSEN } else { BAR };
        at = behind(at, put(buffer, at, &name, style));
    }
    let bastion = text::safe(board.bastion());
    let width = u16::try_from(bastion.chars().count()).unwrap_or(u16::MAX);
    // Where there is room for it.
    if let Some(left) = at.width.checked_sub(width.saturating_add(2)) {
        put(buffer, behind(at, left + 1), &bastion, BAR);
    }
}

fn list(board: &Board, now: Timestamp, buffer: &mut Buffer, area: Rect) {
    let [names, rows] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let wide = area.width >= WIDE;
    let height = usize::from(rows.height);
    let table = match board.tab {
        Tab::Waiting => waiting_list(board, now, wide, height),
        Tab::Requests => request_list(board, now, wide, height),
        Tab::Own => own_list(board, now, wide, height),
        Tab::Sessions => session_list(board, height),
        Tab::Targets => target_list(board, height),
    };
    table.draw(buffer, names, rows);
    let requests_wait = board.requests_waiting().next().is_some();
    let empty = match board.tab {
        Tab::Waiting if board.waiting.len() == 0 && requests_wait => "no hold waits for you",
        Tab::Waiting if board.waiting.len() == 0 => "nothing waits for you",
        Tab::Requests if board.requests.len() == 0 => "no request for access",
        Tab::Own if board.own.len() == 0 => "nothing of yours is held",
        Tab::Sessions if board.sessions.len() == 0 => "no session",
        Tab::Targets if board.targets.len() == 0 => "no target that you may reach",
        _ => return,
    };
    put(buffer, behind(rows, 1), empty, PLAIN);
}

/// A list's columns, and its rows as far as they are on the screen.
struct Table {
    columns: &'static [(&'static str, Constraint)],
    /// Each with whether it is the selected one.
    rows: Vec<(Vec<String>, bool)>,
}

impl Table {
    fn draw(&self, buffer: &mut Buffer, names: Rect, rows: Rect) {
        let widths = self.columns.iter().map(|(_, width)| *width);
        let cells = Layout::horizontal(widths)
            .spacing(1)
            .split(behind(names, 1));
        for (cell, (name, _)) in cells.iter().zip(self.columns) {
            put(buffer, *cell, name, HEAD);
        }
        for (row, (texts, selected)) in (rows.top()..rows.bottom()).zip(&self.rows) {
            let line = Rect::new(rows.x, row, rows.width, 1);
            let style = if *selected { BAR } else { PLAIN };
            fill(buffer, line, style);
            put(buffer, line, if *selected { ">" } else { " " }, style);
            for (cell, text) in cells.iter().zip(texts) {
                put(buffer, Rect { y: row, ..*cell }, text, style);
            }
        }
    }
}

/// The holds that wait for the user.
fn waiting_list(board: &Board, now: Timestamp, wide: bool, height: usize) -> Table {
    let columns: &[_] = if wide {
        &[
            ("HOLD", Constraint::Length(8)),
            ("AGE", Constraint::Length(4)),
            ("PRODUCER", Constraint::Fill(3)),
            ("ACCOUNT", Constraint::Fill(4)),
            ("RULE", Constraint::Fill(3)),
            ("FIELDS", Constraint::Fill(4)),
            ("LEFT", Constraint::Length(4)),
            ("OK", Constraint::Length(4)),
        ]
    } else {
        &[
            ("HOLD", Constraint::Length(8)),
            ("AGE", Constraint::Length(4)),
            ("PRODUCER", Constraint::Fill(1)),
            ("ACCOUNT", Constraint::Fill(1)),
            ("OK", Constraint::Length(4)),
        ]
    };
    let row = |line: &HoldLine| {
        let (id, age) = (line.id.to_string(), ago(line.opened_at, now));
        let (producer, account) = (line.producer.clone(), line.account.clone());
        if wide {
            let (rule, fields) = (line.rule.clone(), line.fields.clone());
            vec![
                id,
                age,
                producer,
                account,
                rule,
                fields,
                left(line, now),
                votes(line),
            ]
        } else {
            vec![id, age, producer, account, votes(line)]
        }
    };
    let rows = of_holds(board, &board.waiting, height, row).collect();
    Table { columns, rows }
}

/// The requests for access.
fn request_list(board: &Board, now: Timestamp, wide: bool, height: usize) -> Table {
    let columns: &[_] = if wide {
        &[
            ("REQUEST", Constraint::Length(8)),
            ("AGE", Constraint::Length(4)),
            ("STATE", Constraint::Length(8)),
            ("WHO", Constraint::Fill(3)),
            ("ACCOUNT", Constraint::Fill(4)),
            ("FOR", Constraint::Length(5)),
            ("REASON", Constraint::Fill(5)),
            ("LEFT", Constraint::Length(4)),
            ("OK", Constraint::Length(4)),
        ]
    } else {
        &[
            ("REQUEST", Constraint::Length(8)),
            ("STATE", Constraint::Length(8)),
            ("WHO", Constraint::Fill(1)),
            ("ACCOUNT", Constraint::Fill(1)),
            ("OK", Constraint::Length(4)),
        ]
    };
    let row = |line: &RequestLine| {
        let (id, state) = (line.id.to_string(), line.state.as_str().to_owned());
        let (who, account) = (line.who.clone(), line.account.clone());
        let ok = approvals(line.approvals, line.needed, line.voted);
        if wide {
            vec![
                id,
                ago(line.asked_at, now),
                state,
                who,
                account,
                line.period.clone(),
                line.reason.clone(),
                ago(now, line.expires_at),
                ok,
            ]
        } else {
            vec![id, state, who, account, ok]
        }
    };
    let rows = board.requests.visible(height);
    let rows = rows.map(|(line, selected)| (row(line), selected)).collect();
    Table { columns, rows }
}

/// What is held of the user's own.
fn own_list(board: &Board, now: Timestamp, wide: bool, height: usize) -> Table {
    let columns: &[_] = if wide {
        &[
            ("HOLD", Constraint::Length(8)),
            ("AGE", Constraint::Length(4)),
            ("STATE", Constraint::Length(9)),
            ("ACCOUNT", Constraint::Fill(2)),
            ("OK", Constraint::Length(4)),
            ("NEXT", Constraint::Fill(5)),
        ]
    } else {
        &[
            ("HOLD", Constraint::Length(8)),
            ("STATE", Constraint::Length(9)),
            ("OK", Constraint::Length(4)),
            ("ACCOUNT", Constraint::Fill(1)),
        ]
    };
    let row = |line: &HoldLine| {
        let (id, state) = (line.id.to_string(), line.state.as_str().to_owned());
        if wide {
            let next = board.hint(line.state, line.held, line.id);
            let age = ago(line.opened_at, now);
            vec![id, age, state, line.account.clone(), votes(line), next]
        } else {
            vec![id, state, votes(line), line.account.clone()]
        }
    };
    let rows = of_holds(board, &board.own, height, row).collect();
    Table { columns, rows }
}

/// The sessions that the user may see.
fn session_list(board: &Board, height: usize) -> Table {
    let columns: &[_] = &[
        ("STARTED", Constraint::Length(20)),
        ("USER", Constraint::Fill(2)),
        ("ACCOUNT", Constraint::Fill(3)),
        ("KIND", Constraint::Length(5)),
        ("STATUS", Constraint::Length(7)),
        ("COMMAND", Constraint::Fill(4)),
    ];
    let row = |line: &SessionLine| {
        let line = line.clone();
        vec![
            line.started,
            line.user,
            line.account,
            line.kind,
            line.status,
            line.command,
        ]
    };
    let rows = board.sessions.visible(height);
    let rows = rows.map(|(line, selected)| (row(line), selected)).collect();
    Table { columns, rows }
}

/// The accounts that the user may reach.
fn target_list(board: &Board, height: usize) -> Table {
    let columns: &[_] = &[
        ("TARGET", Constraint::Fill(2)),
        ("LOGIN", Constraint::Fill(1)),
        ("MAY", Constraint::Fill(3)),
        ("CONNECT", Constraint::Fill(4)),
    ];
    let row = |line: &TargetLine| {
        let line = line.clone();
        vec![line.target, line.login, line.may, line.connect]
    };
    let rows = board.targets.visible(height);
    let rows = rows.map(|(line, selected)| (row(line), selected)).collect();
    Table { columns, rows }
}

/// The rows of holds on the screen; one of which nothing is known yet shows its name.
fn of_holds<'a>(
    board: &'a Board,
    list: &'a List<Place>,
    height: usize,
    row: impl Fn(&HoldLine) -> Vec<String> + 'a,
) -> impl Iterator<Item = (Vec<String>, bool)> + 'a {
    list.visible(height).map(move |(place, selected)| {
        let texts = board.line(place.id).map(&row);
        (
            texts.unwrap_or_else(|| vec![place.id.to_string()]),
            selected,
        )
    })
}

/// A span of time without seconds: nothing is painted again for those.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let age = now.duration_since(at);
    match age.as_mins() {
        ..=0 => "<1m".to_owned(),
        1 => "1m".to_owned(),
        _ => text::age(age),
    }
}

/// How long a hold can still be decided.
fn left(line: &HoldLine, now: Timestamp) -> String {
    line.expires_at
        .map_or_else(|| "-".to_owned(), |until| ago(now, until))
}

fn votes(line: &HoldLine) -> String {
    approvals(line.approvals, line.needed, line.voted)
}

/// Approvals there are and approvals needed, with a mark where this user's is among them.
fn approvals(there: usize, needed: u32, mine: bool) -> String {
    let mark = if mine { "*" } else { "" };
    format!("{there}/{needed}{mark}")
}

fn open_page(page: &Page, buffer: &mut Buffer, area: Rect) {
    let rows = page
        .lines()
        .flat_map(|line| wrapped(line, area.width.into()));
    let rows = rows.skip(page.top);
    for (row, text) in (area.top()..area.bottom()).zip(rows) {
        put(buffer, Rect::new(area.x, row, area.width, 1), text, PLAIN);
    }
}

fn keys(buffer: &mut Buffer, area: Rect) {
    for (row, line) in (area.top()..area.bottom()).zip(KEYS) {
        put(buffer, Rect::new(area.x, row, area.width, 1), line, PLAIN);
    }
}

/// What stands above the line of keys.
struct Told {
    lines: Vec<String>,
    style: Style,
    /// The column of the cursor in the last line, where something is being typed.
    cursor: Option<u16>,
}

fn told(board: &Board, width: u16) -> Told {
    let (text, style, types) = match (&board.question, &board.said) {
        (
            Some(Question::Reason {
                about,
                decision,
                text,
                ..
            }),
            _,
        ) => {
            let verb = verb(*decision);
            let typed = text::safe(text);
            (
                format!("reason to {verb} {} (may be empty): {typed}", about.item()),
                BOLD,
                true,
            )
        }
        (
            Some(Question::Sure {
                about, decision, ..
            }),
            _,
        ) => {
            let verb = verb(*decision);
            (
                format!("{verb} {}: {}? y or n", about.item(), about.gist()),
                BOLD,
                true,
            )
        }
        (_, Some(said)) => (text::safe(said), BOLD, false),
        (_, None) if board.tab == Tab::Waiting && board.page.is_none() => {
            let text = match board.requests_waiting().count() {
                0 => String::new(),
                1 => "1 request for access waits for you: 2 shows it".to_owned(),
                many => format!("{many} requests for access wait for you: 2 shows them"),
            };
            (text, PLAIN, false)
        }
        (_, None) => (String::new(), PLAIN, false),
    };
    let all: Vec<&str> = wrapped(&text, width.saturating_sub(1).into()).collect();
    // The end of what is typed is what is looked at.
    let most = usize::from(TOLD_MAX);
    let hidden = all.len().saturating_sub(most);
    let shown = if types {
        all.get(hidden..)
    } else {
        all.get(..all.len().min(most))
    };
    let lines: Vec<String> = shown
        .unwrap_or_default()
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    let cursor = lines.last().filter(|_| types).map(|last| {
        let columns: usize = last.chars().filter_map(UnicodeWidthChar::width).sum();
        u16::try_from(columns)
            .unwrap_or(width)
            .min(width.saturating_sub(1))
    });
    Told {
        lines,
        style,
        cursor,
    }
}

fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Deny => "deny",
    }
}

/// The keys that there are now; what matters most comes first, since narrow screens cut it.
fn hint(board: &Board) -> &'static str {
    match (&board.question, &board.page, board.tab) {
        (Some(Question::Reason { .. }), ..) => " Enter goes on  Esc takes it back",
        (Some(Question::Sure { .. }), ..) => " y decides  n takes it back",
        (Some(Question::Keys), ..) => " any key goes back",
        (None, Some(page), _) => match &page.about {
            Subject::Hold(line) if line.state == Name::Sealed => {
                " a approve  d deny  Esc back  p payload  down more  ? keys  q leave"
            }
            Subject::Request(line) if line.state == requests::Name::Pending => {
                " a approve  d deny  Esc back  down more  ? keys  q leave"
            }
            Subject::Hold(_) | Subject::Request(_) => " Esc back  down more  ? keys  q leave",
        },
        (None, None, Tab::Waiting | Tab::Requests) => {
            " Enter look  a approve  d deny  Tab next list  ? keys  q leave"
        }
        (None, None, Tab::Own) => " Enter look  Tab next list  ? keys  q leave",
        (None, None, Tab::Sessions) => {
            " Enter play or watch  r read again  Tab next list  ? keys  q leave"
        }
        (None, None, Tab::Targets) => " Tab next list  r read again  ? keys  q leave",
    }
}

/// Writes text that is safe into one row, as much as there is room for; says how much it took.
fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) -> u16 {
    let area = area.intersection(buffer.area);
    let room = usize::from(area.width);
    if area.is_empty() {
        return 0;
    }
    let pieces = || spaced(text);
    let width = |text: &str| {
        text.chars()
            .filter_map(UnicodeWidthChar::width)
            .sum::<usize>()
    };
    let mut taken = 0;
    let mut shown = String::new();
    let whole = width(&pieces().collect::<String>()) <= room;
    // The last column says that some is left out.
    let most = if whole { room } else { room - 1 };
    for char in pieces() {
        let wide = char.width().unwrap_or(0);
        if taken + wide > most {
            break;
        }
        taken += wide;
        shown.push(char);
    }
    if !whole {
        shown.push('…');
        taken += 1;
    }
    let (behind, _) = buffer.set_stringn(area.x, area.y, &shown, room, style);
    debug_assert!(behind <= area.right(), "it was measured");
    u16::try_from(taken).unwrap_or(area.width)
}

/// Text whose characters each take columns of their own: what joins the one before is escaped.
fn spaced(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(|char| {
        let stands = char.width().is_some_and(|width| width > 0);
        let escaped = (!stands).then(|| char.escape_unicode());
        stands
            .then_some(char)
            .into_iter()
            .chain(escaped.into_iter().flatten())
    })
}

/// A line in pieces that fit into so many columns; an empty one is one piece.
pub(super) fn wrapped(line: &str, columns: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut taken = 0;
        let end = text.char_indices().find(|(at, char)| {
            taken += columns_of(*char);
            taken > columns && *at > 0
        });
        let (piece, more) = match end {
            Some((at, _)) => text.split_at(at),
            None => (text, ""),
        };
        rest = Some(more).filter(|more| !more.is_empty());
        Some(piece)
    })
}

/// Columns of a character as [`spaced`] writes it.
fn columns_of(char: char) -> usize {
    match char.width() {
        Some(width) if width > 0 => width,
        _ => char.escape_unicode().count(),
    }
}

fn fill(buffer: &mut Buffer, area: Rect, style: Style) {
    buffer.set_style(area.intersection(buffer.area), style);
}

/// What is left of an area behind so many columns.
fn behind(area: Rect, columns: u16) -> Rect {
    let columns = columns.min(area.width);
    Rect {
        x: area.x + columns,
        width: area.width - columns,
        ..area
    }
}

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const HEAD: Style = BOLD;
const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);
/// The list that is chosen, in the bar.
const CHOSEN: Style = Style::new()
    .add_modifier(Modifier::BOLD)
    .remove_modifier(Modifier::REVERSED);

/// From this width on, lists have all their columns.
const WIDE: u16 = 64;
/// Lines that a message or a question takes.
const TOLD_MAX: u16 = 3;

const KEYS: [&str; 18] = [
    " up down  k j      one row",
    " PgUp PgDn  b f    one screen; Home End or g G the first and the last",
    " Tab left right    another list; 1 to 5 as well",
    " Enter             look at a hold or a request; play or watch a session",
    " a  d              approve, deny: a reason, then y",
    " p                 all of a hold's output, where you may see it (it is audited)",
    " r                 read again",
    " Esc               back",
    " Ctrl-L            paint again",
    " q  Ctrl-C         leave",
    "",
    " LEFT  until it expires; of access that was approved, until it is over",
    " OK    approvals there are and that are needed; * yours is one",
    "",
    " Lists of holds and requests change by themselves. A decision is about what the",
    " question names, whatever the list shows by then. Approved access is taken away",
    " with: revoke R-...",
    " The same in lines, without a screen: inbox --plain",
];
