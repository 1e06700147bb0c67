//! What the inbox shows and what a key does: lists, a page, a question. No I/O, no clock, no policy.
//!
//! Only places of holds are kept for the whole of a list, some twenty bytes each; what a row shows
//! is fetched for the rows on the screen. Requests are few, and kept as rows. A decision is named by
//! what it is about from the first key on, so that a list that moves underneath changes nothing
//! about it.

use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;
use replay::player::Key;
use zeroize::Zeroizing;

use super::super::command::Decision;
use super::super::holds::Part;
use super::super::text::{safe, shortened};
use crate::holds::{Digest, Held, HoldId, Name, Refusal};
use crate::login::Identity;
use crate::requests::{self, RequestId};
use crate::store::{HoldRow, Place, RequestRow, Vote};

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    /// Holds that wait for this user's decision.
    Waiting,
    /// Requests for access that this user has to do with; those that wait for them come first.
    Requests,
    /// Holds that this user has produced.
    Own,
    Sessions,
    Targets,
}

impl Tab {
    pub(super) const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Requests,
        Self::Own,
        Self::Sessions,
        Self::Targets,
    ];

    fn next(self) -> Self {
        match self {
            Self::Waiting => Self::Requests,
            Self::Requests => Self::Own,
            Self::Own => Self::Sessions,
            Self::Sessions => Self::Targets,
            Self::Targets => Self::Waiting,
        }
    }

    fn before(self) -> Self {
        match self {
            Self::Waiting => Self::Targets,
            Self::Requests => Self::Waiting,
            Self::Own => Self::Requests,
            Self::Sessions => Self::Own,
            Self::Targets => Self::Sessions,
        }
    }
}

/// Something that can be looked at on a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Hold(HoldId),
    Request(RequestId),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(id) => id.fmt(f),
            Self::Request(id) => id.fmt(f),
        }
    }
}

/// What is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Hold {
        hold: HoldId,
        /// The bytes that the question was about.
        digest: Digest,
    },
    /// What is asked for never changes.
    Request(RequestId),
}

/// What a key asks the loop to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Leave,
    Repaint,
    /// Shows a hold or a request, or shows it again.
    Open(Item),
    /// Shows all of a hold's output.
    Payload(HoldId),
    Decide {
        choice: Choice,
        decision: Decision,
        reason: Option<String>,
    },
    /// Reads one of the lists that do not change by themselves.
    Load(Tab),
    /// Plays a recording, or watches a session.
    Play {
        session: String,
        running: bool,
    },
}

/// What a list shows of a hold; all text is safe and short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HoldLine {
    pub(super) id: HoldId,
    pub(super) opened_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) state: Name,
    pub(super) held: Held,
    pub(super) producer: String,
    pub(super) account: String,
    pub(super) rule: String,
    pub(super) approvers: String,
    pub(super) fields: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Of the bytes that a decision is about; none before they are sealed.
    pub(super) digest: Option<Digest>,
    pub(super) approvals: usize,
    pub(super) needed: u32,
    /// Whether this user has approved it already.
    pub(super) voted: bool,
}

/// The approvals of people who may still decide.
fn standing_approvals<'r>(
    votes: &'r [Vote],
    gone: &'r [Identity],
) -> impl Iterator<Item = &'r Vote> + Clone {
    votes
        .iter()
        .filter(|vote| vote.approves && !gone.contains(&vote.by.identity))
}

impl HoldLine {
    pub(super) fn of(row: &HoldRow, me: &Identity) -> Self {
        let facts = &row.facts;
        let short = |text: &str| shortened(&safe(text), CELL_MAX);
        let approvals = standing_approvals(&row.votes, &row.gone);
        Self {
            id: row.id,
            opened_at: row.opened_at,
            expires_at: row.expires_at,
            state: row.state,
            held: facts.held,
            producer: short(&facts.producer.name),
            account: short(&format!("{}@{}", facts.login, facts.target)),
            rule: short(&facts.rule),
            approvers: short(&facts.approvers),
            fields: match (&row.seal, facts.held) {
                (_, Held::Command) => "a command".to_owned(),
                (_, Held::Output) => "everything".to_owned(),
                (Some(seal), Held::Records) => short(&seal.fields.join(", ")),
                (None, Held::Records) => String::new(),
            },
            rows: row.seal.as_ref().map_or(0, |seal| seal.rows),
            bytes: row.seal.as_ref().map_or(0, |seal| seal.bytes),
            digest: row.seal.as_ref().map(|seal| seal.digest),
            voted: approvals.clone().any(|vote| vote.by.identity == *me),
            approvals: approvals.count(),
            needed: facts.needed,
        }
    }

    /// The bytes that a decision can be asked about.
    ///
    /// # Errors
    ///
    /// The line that says why there are none: what comes in while somebody types a reason would be
    /// decided unseen.
    pub(super) fn decidable(&self) -> Result<Digest, String> {
        let undecidable = || format!("{} cannot be decided: {}", self.id, Refusal::NotSealed);
        self.digest.ok_or_else(undecidable)
    }

    /// What a decision would be about, in a few words.
    pub(super) fn gist(&self) -> String {
        let what = match self.held {
            Held::Command => "a command".to_owned(),
            Held::Records | Held::Output => format!("{} rows, {} bytes", self.rows, self.bytes),
        };
        format!("{what} of {} on {}", self.producer, self.account)
    }
}

/// What a list shows of a request; all text is safe and short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) id: RequestId,
    pub(super) asked_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) state: requests::Name,
    pub(super) who: String,
    pub(super) account: String,
    pub(super) period: String,
    pub(super) reason: String,
    pub(super) approvals: usize,
    pub(super) needed: u32,
    /// Whether this user has approved it already.
    pub(super) voted: bool,
    /// Whether it waits for this user's decision.
    pub(super) waits: bool,
}

impl RequestLine {
    pub(super) fn of(row: &RequestRow, part: requests::Part, me: &Identity) -> Self {
        let facts = &row.facts;
        let short = |text: &str| shortened(&safe(text), CELL_MAX);
        let approvals = standing_approvals(&row.votes, &row.gone);
        let voted = approvals.clone().any(|vote| vote.by.identity == *me);
        let pending = row.state == requests::Name::Pending;
        Self {
            id: row.id,
            asked_at: row.asked_at,
            expires_at: row.expires_at,
            state: row.state,
            who: short(&facts.requester.name),
            account: short(&format!("{}@{}", facts.login, facts.target)),
            period: super::super::requests::period(row),
            reason: short(&facts.reason),
            approvals: approvals.count(),
            needed: facts.needed,
            voted,
            waits: pending && !voted && part == requests::Part::Decider,
        }
    }

    /// Whether it can still be decided on.
    ///
    /// # Errors
    ///
    /// The line that says what it is.
    pub(super) fn decidable(&self) -> Result<(), String> {
        match self.state {
            requests::Name::Pending => Ok(()),
            state => Err(format!(
                "{} cannot be decided: {}",
                self.id,
                requests::Refusal::Over(state)
            )),
        }
    }

    /// What a decision would be about, in a few words.
    pub(super) fn gist(&self) -> String {
        format!("{} on {} for {}", self.who, self.account, self.period)
    }
}

/// A session, as its row shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionLine {
    pub(super) id: String,
    pub(super) started: String,
    pub(super) user: String,
    pub(super) account: String,
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) command: String,
    pub(super) running: bool,
}

/// An account on a target, as its row shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetLine {
    pub(super) target: String,
    pub(super) login: String,
    pub(super) may: String,
    pub(super) connect: String,
}

/// What a page shows of the output; gone from the memory with the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Body {
    #[default]
    Nothing,
    /// With held fields masked.
    Preview(Vec<String>),
    /// With held fields in the clear.
    Payload(Zeroizing<Vec<String>>),
}

impl Body {
    fn lines(&self) -> &[String] {
        match self {
            Self::Nothing => &[],
            Self::Preview(lines) => lines,
            Self::Payload(lines) => lines,
        }
    }
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Hold(HoldLine),
    Request(RequestLine),
}

impl Subject {
    pub(super) fn item(&self) -> Item {
        match self {
            Self::Hold(line) => Item::Hold(line.id),
            Self::Request(line) => Item::Request(line.id),
        }
    }

    /// What a decision would be on.
    ///
    /// # Errors
    ///
    /// The line that says why there can be none.
    pub(super) fn choice(&self) -> Result<Choice, String> {
        match self {
            Self::Hold(line) => Ok(Choice::Hold {
                hold: line.id,
                digest: line.decidable()?,
            }),
            Self::Request(line) => line.decidable().map(|()| Choice::Request(line.id)),
        }
    }

    /// What a decision would be about, in a few words.
    pub(super) fn gist(&self) -> String {
        match self {
            Self::Hold(line) => line.gist(),
            Self::Request(line) => line.gist(),
        }
    }
}

/// One hold or request on the whole screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) about: Subject,
    /// What is known of it, line by line.
    pub(super) facts: Vec<String>,
    /// What stands above the body, or in its place.
    pub(super) above: String,
    /// Preview or payload, line by line; safe.
    pub(super) body: Body,
    /// The first row on the screen.
    pub(super) top: usize,
}

impl Page {
    /// The same after a change. What was shown of a hold's output stays, unless it has been erased,
    /// or is in the clear and may be shown no more.
    pub(super) fn renewed(
        self,
        about: Subject,
        facts: Vec<String>,
        may_show_payload: bool,
    ) -> Self {
        let withdrawn = matches!(self.body, Body::Payload(_)) && !may_show_payload;
        let erased = matches!(&about, Subject::Hold(line) if line.state.is_final());
        let (above, body) = if erased && self.body != Body::Nothing {
            ("what was shown of it is erased".to_owned(), Body::Nothing)
        } else if withdrawn {
            let line = "what was shown of it may be shown no more";
            (line.to_owned(), Body::Nothing)
        } else {
            (self.above, self.body)
        };
        Self {
            about,
            facts,
            above,
            body,
            top: self.top,
        }
    }

    /// Everything on it, line by line.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let gap = if self.above.is_empty() { 0 } else { 1 };
        let facts = self.facts.iter().map(String::as_str);
        let above = std::iter::repeat_n("", gap).chain((gap > 0).then_some(self.above.as_str()));
        facts
            .chain(above)
            .chain(self.body.lines().iter().map(String::as_str))
    }
}

/// What the user is being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Reason {
        about: Subject,
        choice: Choice,
        decision: Decision,
        text: String,
    },
    Sure {
        about: Subject,
        choice: Choice,
        decision: Decision,
        reason: String,
    },
    /// Not a question: which keys there are.
    Keys,
}

/// A list of which one row is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<T> {
    rows: Vec<T>,
    selected: usize,
    top: usize,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            selected: 0,
            top: 0,
        }
    }
}

impl<T> List<T> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn selected(&self) -> Option<&T> {
        self.rows.get(self.selected)
    }

    /// The rows on a screen of this height, and whether each is the selected one.
    pub(super) fn visible(&self, height: usize) -> impl Iterator<Item = (&T, bool)> {
        // A question can take rows away for a while.
        let top = self.top.max((self.selected + 1).saturating_sub(height));
        let rows = self.rows.iter().enumerate().skip(top).take(height);
        rows.map(|(at, row)| (row, at == self.selected))
    }

    /// The first rows, whatever is on the screen.
    pub(super) fn first(&self, most: usize) -> impl Iterator<Item = &T> {
        self.rows.iter().take(most)
    }

    fn set(&mut self, rows: Vec<T>) {
        self.rows = rows;
        self.keep_inside();
    }

    fn step(&mut self, by: isize, height: usize) {
        self.selected = self.selected.saturating_add_signed(by);
        self.keep_inside();
        self.scroll(height);
    }

    fn keep_inside(&mut self) {
        self.selected = self.selected.min(self.rows.len().saturating_sub(1));
        self.top = self.top.min(self.selected);
    }

    /// Brings the selected row onto a screen of this height.
    fn scroll(&mut self, height: usize) {
        let lowest = (self.selected + 1).saturating_sub(height.max(1));
        let most = self.rows.len().saturating_sub(height.max(1));
        self.top = self
            .top
            .max(lowest)
            .min(self.selected)
            .min(most.max(lowest));
    }
}

impl List<RequestLine> {
    /// Takes all rows anew; the selection stays on its request, or where that one was.
    fn renew(&mut self, rows: Vec<RequestLine>) {
        let selected = self.selected().map(|line| line.id);
        self.rows = rows;
        self.rows.truncate(LIST_MAX);
        if let Some(at) = self.rows.iter().position(|line| Some(line.id) == selected) {
            self.selected = at;
        }
        self.keep_inside();
    }
}

impl List<Place> {
    fn find(&self, place: &Place) -> Result<usize, usize> {
        self.rows.binary_search(place)
    }

    /// Takes all places anew; the selection stays on its hold, or where that one was.
    fn renew(&mut self, places: Vec<Place>) {
        let selected = self.selected().copied();
        self.rows = places;
        if let Some(place) = selected {
            self.selected = self.find(&place).unwrap_or_else(|near| near);
        }
        self.keep_inside();
    }

    /// Whether it is new.
    fn insert(&mut self, place: Place) -> bool {
        let Err(at) = self.find(&place) else {
            return false;
        };
        let selects = !self.rows.is_empty();
        self.rows.insert(at, place);
        if selects && at <= self.selected {
            self.selected += 1;
        }
        // Beyond this, a list says that there are more.
        self.rows.truncate(LIST_MAX);
        self.keep_inside();
        true
    }

    /// Whether it was there.
    fn remove(&mut self, place: &Place) -> bool {
        let Ok(at) = self.find(place) else {
            return false;
        };
        self.rows.remove(at);
        if at < self.selected {
            self.selected -= 1;
        }
        self.keep_inside();
        true
    }
}

/// The state of one inbox.
#[derive(Debug)]
pub(super) struct Board {
    /// What users type after the last `@`.
    bastion: String,
    me: Identity,
    pub(super) tab: Tab,
    pub(super) waiting: List<Place>,
    pub(super) requests: List<RequestLine>,
    pub(super) own: List<Place>,
    pub(super) sessions: List<SessionLine>,
    pub(super) targets: List<TargetLine>,
    /// The rows of holds on the screen.
    lines: HashMap<HoldId, HoldLine>,
    pub(super) page: Option<Page>,
    pub(super) question: Option<Question>,
    /// What there is to be told, until the next key.
    pub(super) said: Option<String>,
    /// A decision's question has just come up: what was typed ahead does not answer it.
    unread: bool,
    size: (u16, u16),
}

impl Board {
    /// An empty one, for a screen of so many columns and rows.
    pub(super) fn new(bastion: &str, me: &Identity, size: (u16, u16)) -> Self {
        let mut board = Self {
            bastion: bastion.to_owned(),
            me: me.clone(),
            tab: Tab::Waiting,
            waiting: List::default(),
            requests: List::default(),
            own: List::default(),
            sessions: List::default(),
            targets: List::default(),
            lines: HashMap::new(),
            page: None,
            question: None,
            said: None,
            unread: false,
            size,
        };
        board.resize(size);
        board
    }

    /// The name of the bastion.
    pub(super) fn bastion(&self) -> &str {
        &self.bastion
    }

    /// The requests that wait for this user's decision.
    pub(super) fn requests_waiting(&self) -> impl Iterator<Item = &RequestLine> {
        self.requests.rows.iter().filter(|line| line.waits)
    }

    /// All requests anew. Answers with those that have come to wait for this user, and those that
    /// wait for them no more.
    pub(super) fn renew_requests(
        &mut self,
        mut rows: Vec<RequestLine>,
    ) -> (Vec<RequestId>, Vec<RequestId>) {
        rows.sort_by_key(|line| !line.waits);
        let waiting = |board: &Self| -> Vec<_> {
            let waiting = board.requests_waiting();
            waiting.map(|line| line.id).collect()
        };
        let before = waiting(self);
        self.requests.renew(rows);
        self.scroll();
        let after = waiting(self);
        let not_in = |these: &[RequestId], others: &[RequestId]| {
            let mut left = these.to_vec();
            left.retain(|id| !others.contains(id));
            left
        };
        (not_in(&after, &before), not_in(&before, &after))
    }

    /// The size of what is drawn.
    pub(super) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// The terminal has another size. Nothing is decided on a screen that shows nothing.
    pub(super) fn resize(&mut self, (cols, rows): (u16, u16)) {
        self.size = (cols.clamp(1, COLS_MAX), rows.clamp(1, ROWS_MAX));
        if self.is_too_small() {
            self.question = None;
        }
        self.scroll();
        let page = self.page.take();
        self.show(page);
    }

    /// Shows a page, or the lists.
    pub(super) fn show(&mut self, page: Option<Page>) {
        self.page = page;
        let most = self.page_rows().saturating_sub(self.page_height());
        if let Some(page) = &mut self.page {
            page.top = page.top.min(most);
        }
    }

    pub(super) fn is_too_small(&self) -> bool {
        self.size.0 < COLS_MIN || self.size.1 < ROWS_MIN
    }

    /// Rows of a list on the screen: the head, the names of the columns, what is told and the keys
    /// take the others.
    pub(super) fn height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(4)).max(1)
    }

    /// Rows of a page on the screen.
    pub(super) fn page_height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(3)).max(1)
    }

    /// All holds anew, in their order.
    pub(super) fn renew(&mut self, waiting: Vec<Place>, own: Vec<Place>) {
        self.waiting.renew(waiting);
        self.own.renew(own);
        self.lines.clear();
        self.scroll();
    }

    /// A hold has changed: puts it where it belongs. Answers with what there is to tell, if anything.
    pub(super) fn place(&mut self, row: &HoldRow, part: Option<Part>) -> Option<String> {
        let place = row.place();
        let belongs = belongs(row, part);
        let mine = row.facts.producer.identity == self.me;
        let was_waiting = self.waiting.find(&place).is_ok();
        let was_own = self.own.find(&place).is_ok();
        match belongs {
            Some(Tab::Waiting) => {
                self.waiting.insert(place);
            }
            Some(_) => {
                self.own.insert(place);
            }
            None => {
                self.waiting.remove(&place);
                self.own.remove(&place);
            }
        }
        let before = self.lines.remove(&row.id);
        let line = HoldLine::of(row, &self.me);
        let approvals = line.approvals;
        if belongs.is_some() {
            self.lines.insert(row.id, line);
        }
        self.scroll();
        let by_me = row
            .votes
            .last()
            .is_some_and(|vote| vote.by.identity == self.me);
        match belongs {
            Some(Tab::Waiting) if !was_waiting => Some(format!("{} waits for you", row.id)),
            Some(Tab::Waiting) if !by_me && before.is_some_and(|it| it.approvals != approvals) => {
                Some(super::super::holds::outcome(row))
            }
            None if was_waiting && !by_me => Some(self.news(row)),
            Some(Tab::Own) if was_own && row.state == Name::Approved => Some(self.news(row)),
            None if was_own && mine && row.state != Name::Delivered => Some(self.news(row)),
            _ => None,
        }
    }

    /// What has become of a hold, in a line.
    fn news(&self, row: &HoldRow) -> String {
        let id = row.id;
        let by = || {
            let name = row.votes.last().map(|vote| safe(&vote.by.name));
            name.map_or_else(String::new, |name| format!(" by {name}"))
        };
        match row.state {
            Name::Approved if row.facts.producer.identity == self.me => {
                format!(
                    "{id} is approved{}: {}",
                    by(),
                    self.hint(row.state, row.facts.held, id)
                )
            }
            Name::Approved | Name::Releasing | Name::Delivered => {
                format!("{id} is approved{}", by())
            }
            Name::Denied => {
                let reason = row.votes.last().and_then(|vote| vote.reason.as_deref());
                let reason = reason.map_or_else(String::new, |why| format!(": {}", safe(why)));
                format!("{id} is denied{}{}", by(), shortened(&reason, CELL_MAX))
            }
            Name::Expired => format!("{id} has expired"),
            Name::Cancelled => format!("{id} was cancelled by its producer"),
            Name::Void => format!("{id} is void"),
            Name::Open | Name::Sealed => format!("{id} is no longer yours to decide"),
        }
    }

    /// What the producer of a hold can do next.
    pub(super) fn hint(&self, state: Name, held: Held, id: HoldId) -> String {
        let bastion = &self.bastion;
        match (state, held) {
            (Name::Open, _) => "its output is still coming in".to_owned(),
            (Name::Sealed, _) => format!("waits; ssh {bastion} cancel {id} withdraws it"),
            (Name::Approved, Held::Command) => "run the command again".to_owned(),
            (Name::Approved | Name::Releasing, _) => format!("ssh {bastion} fetch {id}"),
            _ => String::new(),
        }
    }

    /// The holds on the screen of which nothing is known yet. What is not on the screen is forgotten.
    pub(super) fn missing(&mut self) -> Vec<HoldId> {
        let list = match self.tab {
            Tab::Waiting => &self.waiting,
            Tab::Own => &self.own,
            Tab::Requests | Tab::Sessions | Tab::Targets => return Vec::new(),
        };
        let seen: Vec<HoldId> = list
            .visible(self.height())
            .map(|(place, _)| place.id)
            .collect();
        self.lines.retain(|id, _| seen.contains(id));
        let unknown = |id: &HoldId| !self.lines.contains_key(id);
        seen.into_iter().filter(unknown).collect()
    }

    /// What [`Board::missing`] asked for.
    pub(super) fn fill(&mut self, rows: &[HoldRow]) {
        for row in rows {
            self.lines.insert(row.id, HoldLine::of(row, &self.me));
        }
    }

    /// What is known of a hold on the screen.
    pub(super) fn line(&self, id: HoldId) -> Option<&HoldLine> {
        self.lines.get(&id)
    }

    pub(super) fn set_sessions(&mut self, sessions: Vec<SessionLine>) {
        self.sessions.set(sessions);
        self.scroll();
    }

    pub(super) fn set_targets(&mut self, targets: Vec<TargetLine>) {
        self.targets.set(targets);
        self.scroll();
    }

    /// Whether something on the screen says how long ago or how soon.
    pub(super) fn shows_ages(&self) -> bool {
        let rows = match self.tab {
            Tab::Waiting => self.waiting.len(),
            Tab::Requests => self.requests.len(),
            Tab::Own => self.own.len(),
            Tab::Sessions | Tab::Targets => 0,
        };
        rows > 0 && self.page.is_none()
    }

    /// Whether keys that came together with the last one are to be dropped.
    pub(super) fn takes_no_more(&mut self) -> bool {
        std::mem::take(&mut self.unread)
    }

    /// What a key does.
    pub(super) fn on_key(&mut self, key: Key) -> Option<Ask> {
        match key {
            Key::Control('c' | 'd') => return Some(Ask::Leave),
            Key::Control('l') => return Some(Ask::Repaint),
            _ if self.is_too_small() => return (key == Key::Char('q')).then_some(Ask::Leave),
            _ => {}
        }
        self.said = None;
        if let Some(question) = self.question.take() {
            return self.on_answer(question, key);
        }
        if self.page.is_some() {
            return self.on_page_key(key);
        }
        self.on_list_key(key)
    }

    fn on_answer(&mut self, question: Question, key: Key) -> Option<Ask> {
        match question {
            Question::Keys => None,
            Question::Reason {
                about,
                choice,
                decision,
                mut text,
            } => {
                match key {
                    Key::Escape => {
                        self.said = Some(format!("nothing was decided about {}", about.item()));
                        return None;
                    }
                    Key::Enter => {
                        self.unread = true;
                        self.question = Some(Question::Sure {
                            about,
                            choice,
                            decision,
                            reason: text.trim().to_owned(),
                        });
                        return None;
                    }
                    Key::Char(char) if text.len() + char.len_utf8() <= REASON_MAX => {
                        text.push(char)
                    }
                    Key::Backspace => drop(text.pop()),
                    Key::Control('u') => text.clear(),
                    _ => {}
                }
                self.question = Some(Question::Reason {
                    about,
                    choice,
                    decision,
                    text,
                });
                None
            }
            Question::Sure {
                about,
                choice,
                decision,
                reason,
            } => match key {
                Key::Char('y' | 'Y') => Some(Ask::Decide {
                    choice,
                    decision,
                    reason: Some(reason).filter(|reason| !reason.is_empty()),
                }),
                Key::Char('n' | 'N' | 'q') | Key::Escape => {
                    self.said = Some(format!("nothing was decided about {}", about.item()));
                    None
                }
                _ => {
                    self.question = Some(Question::Sure {
                        about,
                        choice,
                        decision,
                        reason,
                    });
                    None
                }
            },
        }
    }

    fn on_page_key(&mut self, key: Key) -> Option<Ask> {
        let height = self.page_height();
        let most = self.page_rows().saturating_sub(height);
        let page = self.page.as_mut()?;
        let item = page.about.item();
        let far = height.saturating_sub(1).max(1);
        match key {
            Key::Char('q') => return Some(Ask::Leave),
            Key::Escape | Key::Backspace | Key::Left { .. } | Key::Char('h') => {
                self.page = None;
                return None;
            }
            Key::Up | Key::Char('k') => page.top = page.top.saturating_sub(1),
            Key::Down | Key::Char('j') | Key::Enter => page.top += 1,
            Key::PageUp | Key::Char('b') => page.top = page.top.saturating_sub(far),
            Key::PageDown | Key::Char(' ' | 'f') => page.top += far,
            Key::Home | Key::Char('g') => page.top = 0,
            Key::End | Key::Char('G') => page.top = most,
            Key::Char('p') => match item {
                Item::Hold(id) => return Some(Ask::Payload(id)),
                Item::Request(_) => {}
            },
            Key::Char('r') => return Some(Ask::Open(item)),
            Key::Char('a') => {
                let about = page.about.clone();
                self.ask(about, Decision::Approve);
            }
            Key::Char('d') => {
                let about = page.about.clone();
                self.ask(about, Decision::Deny);
            }
            Key::Char('?') => self.question = Some(Question::Keys),
            Key::Char(_) | Key::Control(_) | Key::Right { .. } => {}
        }
        if let Some(page) = &mut self.page {
            page.top = page.top.min(most);
        }
        None
    }

    fn on_list_key(&mut self, key: Key) -> Option<Ask> {
        let far = isize::try_from(self.height()).unwrap_or(isize::MAX);
        match key {
            Key::Char('q') => return Some(Ask::Leave),
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp | Key::Char('b') => self.step(-far),
            Key::PageDown | Key::Char(' ' | 'f') => self.step(far),
            Key::Home | Key::Char('g') => self.step(isize::MIN),
            Key::End | Key::Char('G') => self.step(isize::MAX),
            // Tab is control and i.
            Key::Control('i') | Key::Right { .. } | Key::Char('l') => {
                return self.turn_to(self.tab.next());
            }
            Key::Left { .. } | Key::Char('h') => return self.turn_to(self.tab.before()),
            Key::Char(digit @ '1'..='5') => {
                let at = digit.to_digit(10).and_then(|n| usize::try_from(n).ok());
                let tab = at.and_then(|at| Tab::ALL.get(at - 1)).copied();
                return tab.and_then(|tab| self.turn_to(tab));
            }
            Key::Char('r') => return self.turn_to(self.tab),
            Key::Enter => return self.enter(),
            Key::Char('a') => self.ask_of_selected(Decision::Approve),
            Key::Char('d') => self.ask_of_selected(Decision::Deny),
            Key::Char('?') => self.question = Some(Question::Keys),
            Key::Char(_) | Key::Control(_) | Key::Backspace | Key::Escape => {}
        }
        None
    }

    fn turn_to(&mut self, tab: Tab) -> Option<Ask> {
        self.tab = tab;
        self.scroll();
        match tab {
            Tab::Waiting | Tab::Requests | Tab::Own => None,
            Tab::Sessions | Tab::Targets => Some(Ask::Load(tab)),
        }
    }

    fn enter(&mut self) -> Option<Ask> {
        if self.tab == Tab::Sessions {
            let session = self.sessions.selected()?;
            return Some(Ask::Play {
                session: session.id.clone(),
                running: session.running,
            });
        }
        Some(Ask::Open(self.selected_item()?))
    }

    fn selected_item(&self) -> Option<Item> {
        let place = match self.tab {
            Tab::Waiting => self.waiting.selected(),
            Tab::Own => self.own.selected(),
            Tab::Requests => return Some(Item::Request(self.requests.selected()?.id)),
            Tab::Sessions | Tab::Targets => None,
        };
        Some(Item::Hold(place?.id))
    }

    fn ask_of_selected(&mut self, decision: Decision) {
        let about = match self.selected_item() {
            // None where its row is not on the screen yet.
            Some(Item::Hold(id)) => self.lines.get(&id).cloned().map(Subject::Hold),
            Some(Item::Request(_)) => self.requests.selected().cloned().map(Subject::Request),
            None => None,
        };
        if let Some(about) = about {
            self.ask(about, decision);
        }
    }

    /// Asks for the reason. Whether this user may decide is looked at when they do.
    fn ask(&mut self, about: Subject, decision: Decision) {
        match about.choice() {
            Ok(choice) => {
                self.question = Some(Question::Reason {
                    about,
                    choice,
                    decision,
                    text: String::new(),
                });
            }
            Err(line) => self.said = Some(line),
        }
    }

    fn step(&mut self, by: isize) {
        let height = self.height();
        match self.tab {
            Tab::Waiting => self.waiting.step(by, height),
            Tab::Requests => self.requests.step(by, height),
            Tab::Own => self.own.step(by, height),
            Tab::Sessions => self.sessions.step(by, height),
            Tab::Targets => self.targets.step(by, height),
        }
    }

    fn scroll(&mut self) {
        let height = self.height();
        self.waiting.scroll(height);
        self.requests.scroll(height);
        self.own.scroll(height);
        self.sessions.scroll(height);
        self.targets.scroll(height);
    }

    /// Rows that the page takes at this width.
    fn page_rows(&self) -> usize {
        let width = usize::from(self.size.0);
        let lines = self.page.iter().flat_map(Page::lines);
        lines
            .map(|line| super::picture::wrapped(line, width).count())
            .sum()
    }
}

/// In which list of a user a hold stands.
pub(super) fn belongs(row: &HoldRow, part: Option<Part>) -> Option<Tab> {
    match part {
        Some(Part::Producer) if !row.state.is_final() => Some(Tab::Own),
        Some(Part::Decider) if row.state == Name::Sealed => Some(Tab::Waiting),
        _ => None,
    }
}

/// Places that a list keeps.
pub(super) const LIST_MAX: usize = 10_000;
/// Characters of a cell.
pub(super) const CELL_MAX: usize = 64;
/// Bytes of a reason; with the rest of the command it would fit into a console line.
const REASON_MAX: usize = 1000;
/// Below this there is one line that says so.
pub(super) const COLS_MIN: u16 = 36;
pub(super) const ROWS_MIN: u16 = 7;
/// What is drawn of a larger terminal, so that no size costs much memory.
pub(super) const COLS_MAX: u16 = 300;
const ROWS_MAX: u16 = 100;
