//! The inbox in lines: for screen readers, and wherever no screen can be drawn on. No cursor is
//! moved; what changes is told between two lines of the user's.
//!
//! A client without a terminal shows what is typed itself; to one with a terminal it is sent back.

use bytes::Bytes;
use replay::player::{Key, KeyReader};
use scanner::Stream;
use tokio::time::Instant;
use unicode_width::UnicodeWidthChar;

use super::super::command::Decision;
use super::super::requests;
use super::super::text::{age, safe, time};
use super::board::{Board, Choice, HoldLine, LIST_MAX, RequestLine, Subject};
use super::{
    CHANGES_APART, Changed, Console, Failure, LEAVING, SIGN_IN_ENDED, changes, holds,
    request_changes,
};
use crate::holds::{HoldId, Name};
use crate::session::Asked;
use crate::ssh::{ClientReader, FromClient};
use crate::store::Place;

impl Console<'_> {
    pub(super) async fn plain_inbox(&self, reader: &mut ClientReader) -> Result<(), Failure> {
        let me = &self.lease().user.identity;
        let mut talk = Talk {
            console: self,
            asked: self.asked.clone(),
            board: Board::new(&self.rooms.name, me, (80, 24)),
            step: Step::Command,
        };
        talk.run(reader).await
    }
}

/// What the next line is.
enum Step {
    Command,
    Reason {
        about: Subject,
        choice: Choice,
        decision: Decision,
    },
    Sure {
        about: Subject,
        choice: Choice,
        decision: Decision,
        reason: Option<String>,
    },
}

struct Talk<'a> {
    console: &'a Console<'a>,
    asked: Asked,
    board: Board,
    step: Step,
}

/// Whether the talk goes on.
enum Next {
    GoOn,
    Leave,
}

impl Talk<'_> {
    fn console(&self) -> Console<'_> {
        Console {
            asked: &self.asked,
            ..*self.console
        }
    }

    async fn run(&mut self, reader: &mut ClientReader) -> Result<(), Failure> {
        let rooms = self.console.rooms;
        let mut changed_holds = rooms.holds.changes();
        let mut changed_requests = rooms.requests.changes();
        let mut not_before = Instant::now();
        let mut requests_not_before = not_before;
        let mut typing = Typing::new(self.asked.pty.is_some());
        self.list().await?;
        self.print(HELP).await?;
        self.prompt().await?;
        loop {
            let lease = self.asked.lease.clone();
            tokio::select! {
                biased;
                event = reader.next() => match event {
                    FromClient::Data(bytes) => {
                        reader.taken(bytes.len());
                        for typed in typing.keys(&bytes) {
                            match typed {
                                Typed::Echo(text) => self.send(text).await?,
                                Typed::Line(line) => {
                                    if let Next::Leave = self.line(line.trim()).await? {
                                        return Ok(());
                                    }
                                    self.prompt().await?;
                                }
                                Typed::Leave => return Ok(()),
                            }
                        }
                    }
                    FromClient::Signal(signal) if LEAVING.contains(&signal.name()) => return Ok(()),
                    FromClient::Resize { .. } | FromClient::Signal(_) => {}
                    FromClient::Eof => return Ok(()),
                    FromClient::Left => return Err(Failure::Gone),
                },
                stands = rooms.sign_ins.changed(&lease) => match stands {
                    Some(lease) => {
                        self.asked.lease = std::sync::Arc::new(lease);
                        self.look_at_all().await?;
                    }
                    None => return Err(Failure::Denied(SIGN_IN_ENDED.to_owned())),
                },
                // Nothing is said into a line that is being typed, or instead of an answer.
                changed = changes(&mut changed_holds, not_before),
                    if typing.is_empty() && matches!(self.step, Step::Command) =>
                {
                    if let Some(told) = self.changed(changed).await? {
                        self.print(&format!("\n{told}\n")).await?;
                        self.prompt().await?;
                    }
                    not_before = Instant::now() + CHANGES_APART;
                }
                () = request_changes(&mut changed_requests, requests_not_before),
                    if typing.is_empty() && matches!(self.step, Step::Command) =>
                {
                    let console = Console {
                        asked: &self.asked,
                        ..*self.console
                    };
                    if let Some(told) = console.take_requests(&mut self.board).await? {
                        self.print(&format!("\n{told}\n")).await?;
                        self.prompt().await?;
                    }
                    requests_not_before = Instant::now() + CHANGES_APART;
                }
            }
        }
    }

    async fn changed(&mut self, changed: Changed) -> Result<Option<String>, Failure> {
        match changed {
            Changed::These(ids) => {
                let console = Console {
                    asked: &self.asked,
                    ..*self.console
                };
                console.take_changes(&mut self.board, ids).await
            }
            Changed::Anything => {
                self.look_at_all().await?;
                Ok(Some("the lists have changed".to_owned()))
            }
        }
    }

    async fn look_at_all(&mut self) -> Result<(), Failure> {
        let console = Console {
            asked: &self.asked,
            ..*self.console
        };
        let (waiting, own) = console.places().await?;
        self.board.renew(waiting, own);
        console.take_requests(&mut self.board).await?;
        Ok(())
    }

    async fn prompt(&self) -> Result<(), Failure> {
        let text = match &self.step {
            Step::Command => "> ".to_owned(),
            Step::Reason {
                about, decision, ..
            } => {
                format!(
                    "reason to {} {} (may be empty): ",
                    verb(*decision),
                    about.item()
                )
            }
            Step::Sure {
                about, decision, ..
            } => format!(
                "{} {}: {}? yes or no: ",
                verb(*decision),
                about.item(),
                about.gist()
            ),
        };
        self.print(&text).await
    }

    /// What a line asks for. What may not be done, or cannot now, does not end the talk.
    async fn line(&mut self, line: &str) -> Result<Next, Failure> {
        let done = match std::mem::replace(&mut self.step, Step::Command) {
            Step::Command => {
                if matches!(line, "quit" | "q" | "exit") {
                    return Ok(Next::Leave);
                }
                self.command(line).await
            }
            Step::Reason {
                about,
                choice,
                decision,
            } => {
                let reason = Some(line.to_owned()).filter(|reason| !reason.is_empty());
                self.step = Step::Sure {
                    about,
                    choice,
                    decision,
                    reason,
                };
                Ok(())
            }
            Step::Sure {
                about,
                choice,
                decision,
                reason,
            } => {
                self.sure(line, &about, choice, decision, reason.as_deref())
                    .await
            }
        };
        match done {
            Ok(()) => {}
            Err(Failure::Gone) => return Err(Failure::Gone),
            Err(
                Failure::Denied(line)
                | Failure::Refused(line)
                | Failure::Usage(line)
                | Failure::Status(line, _),
            ) => self.print(&format!("{}\n", safe(&line))).await?,
        }
        Ok(Next::GoOn)
    }

    async fn command(&mut self, line: &str) -> Result<(), Failure> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb, rest.trim()) {
            ("", "") => Ok(()),
            ("list" | "holds" | "requests", "") => self.list().await,
            ("help" | "?", "") => self.print(HELP).await,
            ("sessions", "") => self.console().sessions(false, false).await,
            ("targets", "") => self.console().targets(false).await,
            ("show", request) if requests::names(request) => {
                self.console().show_request(request, false).await
            }
            ("show", hold) => self.console().show(hold, false, false).await,
            ("payload", hold) => self.console().show(hold, true, false).await,
            ("approve", what) => self.ask(what, Decision::Approve).await,
            ("deny", what) => self.ask(what, Decision::Deny).await,
            _ => Err(Failure::Usage("no such command; try: help".to_owned())),
        }
    }

    /// Asks for the reason of a decision on something that this user may see; of a hold, about the
    /// bytes that it has now.
    async fn ask(&mut self, what: &str, decision: Decision) -> Result<(), Failure> {
        let me = &self.asked.lease.user.identity;
        let about = if requests::names(what) {
            let (part, row) = self.console().seen(what).await?;
            Subject::Request(RequestLine::of(&row, part, me))
        } else {
            let (row, _) = self.console().visible(what).await?;
            Subject::Hold(HoldLine::of(&row, me))
        };
        self.step = Step::Reason {
            choice: about.choice().map_err(Failure::Refused)?,
            about,
            decision,
        };
        Ok(())
    }

    async fn sure(
        &mut self,
        answer: &str,
        about: &Subject,
        choice: Choice,
        decision: Decision,
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        if answer != "yes" {
            let line = format!("nothing was decided about {}\n", about.item());
            return self.print(&line).await;
        }
        self.console.renew(&mut self.asked).await?;
        let decided = self.console().decide_on(choice, decision, reason).await?;
        self.print(&format!("{decided}\n")).await
    }

    /// Both lists of holds, and the requests that wait, a line for each; the newest, and how many more.
    async fn list(&mut self) -> Result<(), Failure> {
        self.look_at_all().await?;
        let waiting = self.lines(|board| &board.waiting).await?;
        let own = self.lines(|board| &board.own).await?;
        let now = self.console.rooms.holds.now();
        let mut text = match self.board.waiting.len() {
            0 if self.board.requests_waiting().next().is_some() => String::new(),
            0 => "nothing waits for you\n".to_owned(),
            1 => "1 hold waits for you:\n".to_owned(),
            LIST_MAX => format!("{LIST_MAX} holds or more wait for you:\n"),
            many => format!("{many} holds wait for you:\n"),
        };
        for line in &waiting {
            let until = line
                .expires_at
                .map_or_else(String::new, |until| format!(", until {}", time(until)));
            text.push_str(&format!(
                "{}: {}, rule {}, {}, {} old{until}, {} of {} approvals{}\n",
                line.id,
                line.gist(),
                line.rule,
                fields(line),
                age(now.duration_since(line.opened_at)),
                line.approvals,
                line.needed,
                if line.voted { ", yours is one" } else { "" },
            ));
        }
        text.push_str(&more(self.board.waiting.len(), &self.board, "holds"));
        text.push_str(&self.requests_waiting());
        match self.board.own.len() {
            0 => {}
            1 => text.push_str("1 hold of yours:\n"),
            many => text.push_str(&format!("{many} holds of yours:\n")),
        }
        for line in &own {
            let hint = self.board.hint(line.state, line.held, line.id);
            let hint = if hint.is_empty() {
                hint
            } else {
                format!(": {hint}")
            };
            let approvals = match line.state {
                Name::Sealed => format!(", {} of {} approvals", line.approvals, line.needed),
                _ => String::new(),
            };
            text.push_str(&format!(
                "{}: {}, {}{approvals}{hint}\n",
                line.id,
                line.gist(),
                line.state.as_str()
            ));
        }
        text.push_str(&more(self.board.own.len(), &self.board, "holds"));
        self.print(&text).await
    }

    /// The requests for access that wait for this user.
    fn requests_waiting(&self) -> String {
        let mut text = match self.board.requests_waiting().count() {
            0 => return String::new(),
            1 => "1 request for access waits for you:\n".to_owned(),
            many => format!("{many} requests for access wait for you:\n"),
        };
        for line in self.board.requests_waiting().take(LINES) {
            text.push_str(&format!(
                "{}: {} asks for {} for {}: {}; until {}, {} of {} approvals\n",
                line.id,
                line.who,
                line.account,
                line.period,
                line.reason,
                time(line.expires_at),
                line.approvals,
                line.needed,
            ));
        }
        let waiting = self.board.requests_waiting().count();
        text + &more(waiting, &self.board, "requests")
    }

    /// The newest of a list.
    async fn lines(
        &self,
        list: impl Fn(&Board) -> &super::board::List<Place>,
    ) -> Result<Vec<HoldLine>, Failure> {
        let ids: Vec<HoldId> = list(&self.board)
            .first(LINES)
            .map(|place| place.id)
            .collect();
        let rows = self.console.rooms.holds.named(ids).await;
        let rows = rows.map_err(|error| holds::failure(&error))?;
        let me = &self.asked.lease.user.identity;
        Ok(rows.iter().map(|row| HoldLine::of(row, me)).collect())
    }

    async fn print(&self, text: &str) -> Result<(), Failure> {
        self.console.print(text.to_owned()).await
    }

    /// As it is: what was typed, sent back.
    async fn send(&self, text: String) -> Result<(), Failure> {
        let writer = self.console.writer;
        Ok(writer.answer(Stream::Stdout, Bytes::from(text)).await?)
    }
}

fn more(len: usize, board: &Board, command: &str) -> String {
    match len.checked_sub(LINES) {
        None | Some(0) => String::new(),
        Some(more) => format!("and {more} more: ssh {} {command}\n", safe(board.bastion())),
    }
}

fn fields(line: &HoldLine) -> String {
    if line.fields.is_empty() {
        "no fields".to_owned()
    } else {
        format!("fields {}", line.fields)
    }
}

fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Deny => "deny",
    }
}

/// What came of what was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// To be shown.
    Echo(String),
    Line(String),
    Leave,
}

/// Lines out of bytes, however they are cut; a line is as long as a console line at most.
pub(super) struct Typing {
    keys: KeyReader,
    line: String,
    echoes: bool,
    /// Line feeds after a carriage return belong to it.
    returned: bool,
}

impl Typing {
    pub(super) fn new(echoes: bool) -> Self {
        Self {
            keys: KeyReader::default(),
            line: String::new(),
            echoes,
            returned: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn keys(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut typed = Vec::new();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            let after_return = std::mem::replace(&mut self.returned, piece.ends_with(b"\r"));
            if after_return && piece == b"\n" {
                continue;
            }
            for key in self.keys.keys(piece) {
                self.key(key, &mut typed);
            }
        }
        typed
    }

    fn key(&mut self, key: Key, typed: &mut Vec<Typed>) {
        let mut echo = String::new();
        match key {
            Key::Enter => {
                echo.push_str("\r\n");
                self.echo(echo, typed);
                return typed.push(Typed::Line(std::mem::take(&mut self.line)));
            }
            Key::Control('c') => return typed.push(Typed::Leave),
            Key::Control('d') if self.line.is_empty() => return typed.push(Typed::Leave),
            Key::Char(char) if self.line.len() + char.len_utf8() <= LINE_MAX => {
                self.line.push(char);
                echo.push_str(&safe(char.encode_utf8(&mut [0; 4])));
            }
            Key::Backspace => {
                if let Some(char) = self.line.pop() {
                    echo.push_str(&taken_back(char));
                }
            }
            Key::Control('u') => {
                let line = std::mem::take(&mut self.line);
                echo.extend(line.chars().rev().map(taken_back));
            }
            _ => return,
        }
        self.echo(echo, typed);
    }

    fn echo(&self, text: String, typed: &mut Vec<Typed>) {
        if self.echoes && !text.is_empty() {
            typed.push(Typed::Echo(text));
        }
    }
}

/// Takes a character away that was sent back.
fn taken_back(char: char) -> String {
    let shown = safe(char.encode_utf8(&mut [0; 4]));
    let columns: usize = shown.chars().filter_map(UnicodeWidthChar::width).sum();
    "\u{8} \u{8}".repeat(columns)
}

/// Bytes of a line.
const LINE_MAX: usize = 4096;
/// Holds or requests that a list names.
const LINES: usize = 50;

const HELP: &str = "commands: list, show ID, payload HOLD, approve ID, deny ID, sessions, targets, help, quit; ID is of a hold (H-...) or a request (R-...)\n";
