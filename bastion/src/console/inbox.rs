//! The inbox: what waits for this user, on a full screen of the client's terminal, or in lines.
//!
//! Owns the loop: keys of the channel, changes of holds, of policies and of the sign-in in; frames
//! out. It decides nothing and shows nothing by a way of its own: looking, deciding and listing are
//! the console's commands, with the same questions asked and the same events audited. Draws on no
//! terminal of this machine.
//!
//! - `board`: what there is to see, and what a key does; pure
//! - `picture`: the board as cells
//! - `plain`: the same in lines, for screen readers

mod board;
mod picture;
mod plain;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use replay::paint::Frame;
use replay::player::KeyReader;
use scanner::Stream;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::board::{
    Ask, Board, Body, CELL_MAX, Choice, HoldLine, Item, LIST_MAX, Page, RequestLine, SessionLine,
    Subject, Tab, TargetLine, belongs,
};
use super::command::Decision;
use super::holds::{self, HoldJson, Parts, described};
use super::play::Begin;
use super::requests::{
    RequestJson, described_request, request_json, request_news, request_outcome,
};
use super::text::{self, SafeLines, safe, shortened};
use super::{Console, Failure, SIGN_IN_ENDED};
use crate::holds::{HoldError, HoldId};
use crate::login::Lease;
use crate::requests::{Part, RequestId};
use crate::session::Asked;
use crate::ssh::{ClientReader, FromClient};
use crate::store::{HoldRow, Place, RequestRow, Which};

impl Console<'_> {
    /// Shows the inbox until the user leaves.
    pub(super) async fn inbox(
        &self,
        plain: bool,
        reader: &mut ClientReader,
    ) -> Result<(), Failure> {
        if plain {
            return self.plain_inbox(reader).await;
        }
        let Some(pty) = &self.asked.pty else {
            let line = format!(
                "the inbox needs a terminal: ssh -t {0}; in lines: ssh {0} inbox --plain",
                self.rooms.name
            );
            return Err(Failure::Usage(line));
        };
        let mut desk = Desk {
            console: self,
            asked: self.asked.clone(),
            board: Board::new(
                &self.rooms.name,
                &self.lease().user.identity,
                pty.size.cells(),
            ),
            painted: None,
        };
        desk.run(reader).await
    }

    /// What the lists of holds and requests show, for programs.
    pub(super) async fn inbox_json(&self) -> Result<(), Failure> {
        let holds = self.listed(Which::Live).await?;
        let requests = self.requests_of_mine(Which::Live).await?;
        let shown = InboxJson {
            holds: self
                .of_mine(&holds, false)
                .into_iter()
                .map(|(part, row)| holds::hold_json(row, part))
                .collect(),
            requests: requests
                .iter()
                .map(|(part, row)| request_json(row, *part))
                .collect(),
        };
        self.json(&shown).await
    }

    /// The places of the holds that wait for this user, and of their own.
    async fn places(&self) -> Result<(Vec<Place>, Vec<Place>), Failure> {
        let (mut waiting, mut own) = (Vec::new(), Vec::new());
        let mut after = None;
        loop {
            let page = self.rooms.holds.page(after, PAGE).await;
            let page = page.map_err(|error| holds::failure(&error))?;
            after = page.last().map(HoldRow::place);
            let last = page.len() < PAGE;
            let mut parts = Parts::default();
            for row in &page {
                match belongs(row, self.part(&mut parts, row, false)) {
                    Some(Tab::Waiting) if waiting.len() < LIST_MAX => waiting.push(row.place()),
                    Some(Tab::Own) if own.len() < LIST_MAX => own.push(row.place()),
                    _ => {}
                }
            }
            if last || waiting.len() >= LIST_MAX {
                return Ok((waiting, own));
            }
        }
    }

    /// Takes the requests anew; answers with the last thing to tell.
    async fn take_requests(&self, board: &mut Board) -> Result<Option<String>, Failure> {
        let me = &self.lease().user.identity;
        let seen = self.requests_of_mine(Which::Live).await?;
        let lines = seen
            .iter()
            .map(|(part, row)| RequestLine::of(row, *part, me));
        let (come, gone) = board.renew_requests(lines.collect());
        let mut told = None;
        for id in gone {
            // Of somebody who may see it no longer, nothing is told.
            match self.request_seen(id).await {
                Ok((_, row)) => told = request_news(&row, me).or(told),
                Err(Failure::Denied(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        let come = come.first().map(|id| format!("{id} waits for you"));
        Ok(come.or(told))
    }

    /// Puts holds that have changed where they belong; answers with the last thing to tell.
    async fn take_changes(
        &self,
        board: &mut Board,
        changed: Vec<HoldId>,
    ) -> Result<Option<String>, Failure> {
        let rows = self.rooms.holds.named(changed).await;
        let rows = rows.map_err(|error| holds::failure(&error))?;
        let mut parts = Parts::default();
        let mut told = None;
        for row in &rows {
            let part = self.part(&mut parts, row, false);
            told = board.place(row, part).or(told);
        }
        Ok(told)
    }
}

/// What `inbox --json` answers with.
#[derive(Serialize)]
struct InboxJson<'a> {
    holds: Vec<HoldJson<'a>>,
    requests: Vec<RequestJson<'a>>,
}

/// What has changed since it was asked last.
enum Changed {
    These(Vec<HoldId>),
    /// More than could be kept.
    Anything,
}

/// The next changes of holds, and all that have come with them. Cancel-safe.
async fn changes(receiver: &mut broadcast::Receiver<HoldId>, not_before: Instant) -> Changed {
    tokio::time::sleep_until(not_before).await;
    let mut next = receiver.recv().await;
    let mut ids = Vec::new();
    loop {
        match next {
            Ok(id) if ids.contains(&id) => {}
            Ok(id) => ids.push(id),
            Err(RecvError::Lagged(_)) => return Changed::Anything,
            // The bastion ends, and this with it.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
        next = match receiver.try_recv() {
            Ok(id) => Ok(id),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
            Err(_) => return Changed::These(ids),
        };
    }
}

/// The next change of some request, not before that time. Cancel-safe.
async fn request_changes(receiver: &mut watch::Receiver<()>, not_before: Instant) {
    tokio::time::sleep_until(not_before).await;
    if receiver.changed().await.is_err() {
        // The bastion ends, and this with it.
        std::future::pending().await
    }
}

/// Whether the inbox goes on.
enum Next {
    GoOn,
    Leave,
}

/// An inbox on a full screen.
struct Desk<'a> {
    console: &'a Console<'a>,
    /// With the sign-in as it stands.
    asked: Asked,
    board: Board,
    /// What the terminal shows.
    painted: Option<Frame>,
}

impl Desk<'_> {
    /// The console for this user, as the sign-in stands.
    fn console(&self) -> Console<'_> {
        Console {
            asked: &self.asked,
            ..*self.console
        }
    }

    async fn run(&mut self, reader: &mut ClientReader) -> Result<(), Failure> {
        let rooms = self.console.rooms;
        // From before the first look, so that no change falls between.
        let mut changed_holds = rooms.holds.changes();
        let mut policies = rooms.access.changes();
        let mut changed_requests = rooms.requests.changes();
        let mut not_before = Instant::now();
        let mut requests_not_before = not_before;
        let mut keys = KeyReader::default();
        self.console.screen.enter(self.console.writer).await?;
        self.look_at_all().await?;
        let sign_in = |lease: Arc<Lease>| async move { rooms.sign_ins.changed(&lease).await };
        let mut sign_in_changes = Box::pin(sign_in(self.asked.lease.clone()));
        loop {
            self.fill().await?;
            self.paint().await?;
            tokio::select! {
                biased;
                event = reader.next() => match event {
                    FromClient::Data(bytes) => {
                        reader.taken(bytes.len());
                        for key in keys.keys(&bytes) {
                            if let Some(ask) = self.board.on_key(key)
                                && let Next::Leave = self.perform(ask, reader).await?
                            {
                                return Ok(());
                            }
                            if self.board.takes_no_more() {
                                break;
                            }
                        }
                    }
                    FromClient::Resize(size) => {
                        self.board.resize(size.cells());
                        self.painted = None;
                    }
                    FromClient::Signal(signal) if LEAVING.contains(&signal.name()) => return Ok(()),
                    FromClient::Signal(_) => {}
                    FromClient::Eof => return Ok(()),
                    FromClient::Left => return Err(Failure::Gone),
                },
                stands = &mut sign_in_changes => match stands {
                    Some(lease) => {
                        let lease = Arc::new(lease);
                        self.asked.lease = lease.clone();
                        sign_in_changes = Box::pin(sign_in(lease));
                        self.look_at_all().await?;
                    }
                    None => return Err(Failure::Denied(SIGN_IN_ENDED.to_owned())),
                },
                Ok(()) = policies.changed() => self.look_at_all().await?,
                () = request_changes(&mut changed_requests, requests_not_before) => {
                    self.take_requests().await?;
                    requests_not_before = Instant::now() + CHANGES_APART;
                }
                changed = changes(&mut changed_holds, not_before) => {
                    self.take(changed).await?;
                    not_before = Instant::now() + CHANGES_APART;
                }
                () = tokio::time::sleep(TICK), if self.board.shows_ages() => {}
            }
        }
    }

    async fn take(&mut self, changed: Changed) -> Result<(), Failure> {
        let Changed::These(ids) = changed else {
            return self.look_at_all().await;
        };
        let console = Console {
            asked: &self.asked,
            ..*self.console
        };
        let told = console.take_changes(&mut self.board, ids.clone()).await?;
        self.board.said = told.or(self.board.said.take());
        if let Some(Item::Hold(id)) = self.open_item()
            && ids.contains(&id)
        {
            self.renew_page(id).await?;
        }
        Ok(())
    }

    /// What the page on the screen is about.
    fn open_item(&self) -> Option<Item> {
        self.board.page.as_ref().map(|page| page.about.item())
    }

    /// Takes the requests anew, and the page of one.
    async fn take_requests(&mut self) -> Result<(), Failure> {
        let console = Console {
            asked: &self.asked,
            ..*self.console
        };
        let told = console.take_requests(&mut self.board).await?;
        self.board.said = told.or(self.board.said.take());
        if let Some(Item::Request(id)) = self.open_item() {
            self.renew_request_page(id).await?;
        }
        Ok(())
    }

    /// Takes all lists anew that change by themselves.
    async fn look_at_all(&mut self) -> Result<(), Failure> {
        let (waiting, own) = self.console().places().await?;
        self.board.renew(waiting, own);
        if let Some(Item::Hold(id)) = self.open_item() {
            self.renew_page(id).await?;
        }
        let said = self.board.said.take();
        self.take_requests().await?;
        self.board.said = said;
        Ok(())
    }

    /// Fetches the rows on the screen of which nothing is known.
    async fn fill(&mut self) -> Result<(), Failure> {
        let missing = self.board.missing();
        if !missing.is_empty() {
            let rows = self.console.rooms.holds.named(missing).await;
            let rows = rows.map_err(|error| holds::failure(&error))?;
            self.board.fill(&rows);
        }
        Ok(())
    }

    async fn paint(&mut self) -> Result<(), Failure> {
        let frame = picture::frame(&self.board, self.console.rooms.holds.now());
        let bytes = frame.paint(self.painted.as_ref());
        self.painted = Some(frame);
        if !bytes.is_empty() {
            let writer = self.console.writer;
            writer.answer(Stream::Stdout, Bytes::from(bytes)).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, ask: Ask, reader: &mut ClientReader) -> Result<Next, Failure> {
        match ask {
            Ask::Leave => return Ok(Next::Leave),
            Ask::Repaint => self.painted = None,
            Ask::Open(Item::Hold(hold)) => {
                let shown = self.open(hold).await;
                self.say(shown)?;
            }
            Ask::Open(Item::Request(request)) => {
                let shown = self.open_request(request).await;
                self.say(shown)?;
            }
            Ask::Payload(hold) => {
                let shown = self.payload(hold).await;
                self.say(shown)?;
            }
            Ask::Decide {
                choice,
                decision,
                reason,
            } => {
                let decided = self.decide(choice, decision, reason.as_deref()).await;
                self.say(decided)?;
            }
            Ask::Load(tab) => {
                let loaded = self.load(tab).await;
                self.say(loaded)?;
            }
            Ask::Play { session, running } => {
                let begin = if running {
                    Begin::AtItsEnd
                } else {
                    Begin::AtItsStart
                };
                let played = self.console().play(&session, false, reader, begin).await;
                self.painted = None;
                self.say(played.map(|()| None))?;
            }
        }
        Ok(Next::GoOn)
    }

    /// Tells how it went. What the user may not do, or cannot now, does not end the inbox.
    fn say(&mut self, done: Result<Option<String>, Failure>) -> Result<(), Failure> {
        match done {
            Ok(None) => {}
            Ok(Some(line)) => self.board.said = Some(line),
            Err(Failure::Gone) => return Err(Failure::Gone),
            Err(
                Failure::Denied(line)
                | Failure::Refused(line)
                | Failure::Usage(line)
                | Failure::Status(line, _),
            ) => self.board.said = Some(line),
        }
        Ok(())
    }

    /// Shows what `show` shows.
    async fn open(&mut self, hold: HoldId) -> Result<Option<String>, Failure> {
        let console = self.console();
        let (row, _) = console.visible(&hold.to_string()).await?;
        let preview = console.shown(&row).await?;
        let mut page = self.page_of(&row);
        page.above = holds::above_preview(&row, &preview).to_owned();
        page.body = Body::Preview(lines_of(&preview));
        self.board.show(Some(page));
        Ok(None)
    }

    /// Shows what `show` shows of a request.
    async fn open_request(&mut self, request: RequestId) -> Result<Option<String>, Failure> {
        let (part, row) = self.console().request_seen(request).await?;
        let page = self.request_page_of(&row, part);
        self.board.show(Some(page));
        Ok(None)
    }

    fn request_page_of(&self, row: &RequestRow, part: Part) -> Page {
        let me = &self.asked.lease.user.identity;
        Page {
            about: Subject::Request(RequestLine::of(row, part, me)),
            facts: lines_of(&described_request(row)),
            above: String::new(),
            body: Body::Nothing,
            top: 0,
        }
    }

    /// The request that is on the screen may have changed, or what this user may see.
    async fn renew_request_page(&mut self, request: RequestId) -> Result<(), Failure> {
        let renewed = match self.console().request_seen(request).await {
            Ok((part, row)) => Some(self.request_page_of(&row, part)),
            // Somebody who may see it no longer is not told what becomes of it.
            Err(Failure::Denied(_)) => None,
            Err(failure) => return Err(failure),
        };
        let page = match (renewed, self.board.page.take()) {
            (Some(renewed), Some(page)) => Some(page.renewed(renewed.about, renewed.facts, false)),
            _ => None,
        };
        self.board.show(page);
        Ok(())
    }

    /// Shows what `show --payload` shows, as far as it is kept in memory.
    async fn payload(&mut self, hold: HoldId) -> Result<Option<String>, Failure> {
        let console = self.console();
        let (row, _) = console.visible(&hold.to_string()).await?;
        let mut look = console.opened(&row).await?;
        let mut lines = [SafeLines::new(""), SafeLines::new("stderr: ")];
        let mut text = Zeroizing::new(String::new());
        let mut whole = true;
        while let Some(frames) = console.next_of(&mut look).await? {
            for (stream, bytes) in frames {
                let [stdout, stderr] = &mut lines;
                match stream {
                    Stream::Stdout => stdout.push(&bytes.into_bytes(), &mut text),
                    Stream::Stderr => stderr.push(&bytes.into_bytes(), &mut text),
                }
            }
            if text.len() > PAYLOAD_SHOWN {
                whole = false;
                break;
            }
        }
        for lines in &mut lines {
            lines.end(&mut text);
        }
        let name = &self.console.rooms.name;
        let mut page = self.page_of(&row);
        page.above = if whole {
            "all of it, held fields in the clear:".to_owned()
        } else {
            format!(
                "its beginning, held fields in the clear; all of it: ssh {name} show {hold} --payload"
            )
        };
        page.body = Body::Payload(Zeroizing::new(lines_of(&text)));
        page.top = page.facts.len();
        self.board.show(Some(page));
        Ok(None)
    }

    fn page_of(&self, row: &HoldRow) -> Page {
        Page {
            about: Subject::Hold(HoldLine::of(row, &self.asked.lease.user.identity)),
            facts: lines_of(&described(row)),
            above: String::new(),
            body: Body::Nothing,
            top: 0,
        }
    }

    /// The hold that is on the screen has changed, or what this user may see.
    async fn renew_page(&mut self, hold: HoldId) -> Result<(), Failure> {
        let row = match self.console.rooms.holds.get(hold).await {
            Ok(row) => row,
            Err(HoldError::Unknown) => return Ok(()),
            Err(error) => return Err(holds::failure(&error)),
        };
        // Somebody who may see it no longer is not told what becomes of it.
        let seen = self.console().part(&mut Parts::default(), &row, true);
        let renewed = seen.map(|_| self.page_of(&row));
        let page = match (renewed, self.board.page.take()) {
            (Some(renewed), Some(page)) => {
                let may_show_payload = self.console().may_show_payload(&row).is_ok();
                Some(page.renewed(renewed.about, renewed.facts, may_show_payload))
            }
            _ => None,
        };
        self.board.show(page);
        Ok(())
    }

    /// Decides as `approve` and `deny` do, with the sign-in as it stands at this moment.
    async fn decide(
        &mut self,
        choice: Choice,
        decision: Decision,
        reason: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        self.console.renew(&mut self.asked).await?;
        self.console()
            .decide_on(choice, decision, reason)
            .await
            .map(Some)
    }

    async fn load(&mut self, tab: Tab) -> Result<Option<String>, Failure> {
        match tab {
            Tab::Waiting | Tab::Requests | Tab::Own => {}
            Tab::Sessions => {
                let lines = self.console().session_lines().await?;
                self.board.set_sessions(lines);
            }
            Tab::Targets => {
                let lines = self.console().target_lines().await?;
                self.board.set_targets(lines);
            }
        }
        Ok(None)
    }
}

impl Console<'_> {
    /// Decides on what a question was about; says what came of it.
    async fn decide_on(
        &self,
        choice: Choice,
        decision: Decision,
        reason: Option<&str>,
    ) -> Result<String, Failure> {
        match choice {
            Choice::Hold { hold, digest } => {
                let hold = hold.to_string();
                let decided = self.decided(&hold, Some(digest), decision, reason);
                Ok(holds::outcome(&decided.await?))
            }
            Choice::Request(request) => {
                let row = self.vote_on_request(request, decision, reason).await?;
                Ok(request_outcome(&row))
            }
        }
    }

    /// Takes the sign-in as it stands: groups that were lost since count no more.
    async fn renew(&self, asked: &mut Asked) -> Result<(), Failure> {
        match self.rooms.sign_ins.renewed(&asked.lease).await {
            Ok(Some(lease)) => asked.lease = Arc::new(lease),
            Ok(None) => return Err(Failure::Denied(SIGN_IN_ENDED.to_owned())),
            Err(error) => {
                let line = "the sign-in cannot be checked now; try again later";
                return Err(super::unavailable(&error, line));
            }
        }
        Ok(())
    }

    async fn session_lines(&self) -> Result<Vec<SessionLine>, Failure> {
        let sessions = self.readable().await?;
        let line = |session: &crate::record::Summary| {
            let about = &session.about;
            let short = |text: &str| shortened(&safe(text), CELL_MAX);
            SessionLine {
                id: session.id.to_string(),
                started: text::time(session.started),
                user: short(&about.user),
                account: short(&format!("{}@{}", about.login, about.target)),
                kind: about.kind.to_string(),
                status: self.status(session),
                command: short(&super::command_text(session)),
                running: session.is_active() || self.is_unrecorded(session),
            }
        };
        Ok(sessions.iter().take(SESSIONS).map(line).collect())
    }

    async fn target_lines(&self) -> Result<Vec<TargetLine>, Failure> {
        let rights = self.rights().await?;
        let line = |right: &crate::access::Visible| {
            let until = right.until.map_or_else(String::new, |until| {
                format!("until {}: ", text::time(until))
            });
            TargetLine {
                target: right.target.to_string(),
                login: right.login.to_string(),
                may: until + &super::words(&right.actions),
                connect: format!("ssh {}@{}@{}", right.login, right.target, self.rooms.name),
            }
        };
        Ok(rights.iter().map(line).collect())
    }
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Holds that are read at once.
const PAGE: usize = 1000;
/// Sessions that the list shows, the newest.
const SESSIONS: usize = 500;
/// Bytes of text of a payload that a page keeps.
const PAYLOAD_SHOWN: usize = 1 << 20;
/// Ages on the screen are so old at most.
const TICK: Duration = Duration::from_secs(30);
/// However many holds change, the store is asked no more often.
const CHANGES_APART: Duration = Duration::from_millis(100);
/// Signals that end it.
const LEAVING: [&str; 4] = ["HUP", "INT", "QUIT", "TERM"];
