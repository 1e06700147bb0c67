//! What a session does with output that a rule withholds: keeps it in `holds`, says so, waits for
//! the decision, and hands over what was released.
//!
//! Without a terminal everything from the held record on waits. In a terminal the scanner puts
//! `‹held H-…›` in the place of each value, and the session goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use scanner::{Masked, Raw, Scanner, Step, Stream, Withheld};
use tracing::warn;

use super::notice::Notices;
use super::pump::Why;
use super::registry::Stop;
use super::rendition::Rendition;
use crate::access::{Access, Grant, HoldTerms};
use crate::approval::needed_approvals;
use crate::holds::{
    Facts, Held, HoldError, HoldId, Holds, Live, Name, PREVIEW_MAX, Party, Refusal, Release,
    encode_frame,
};
use crate::login::Identity;
use crate::record::Recording;
use crate::ssh::ClientEnd;
use crate::store::{HoldRow, Which};

/// Whose output it is, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) producer: Party,
    pub(super) session: String,
    pub(super) target: String,
    pub(super) login: String,
    pub(super) command: Option<String>,
    pub(super) pty: bool,
    /// Whether only an approved request allows it.
    pub(super) approved: bool,
    pub(super) detach: bool,
    /// How users name this bastion.
    pub(super) bastion: String,
}

/// The holds of one session.
pub(super) struct Holding<'a> {
    holds: &'a Holds,
    grant: &'a Grant,
    notices: &'a Notices,
    origin: Origin,
    /// What the recording shows in place of what is held; none where that is nothing.
    rendition: Option<Rendition>,
    /// Names that the scanner has written into the output of a terminal.
    ids: Ids,
    /// By the scanner's number of the rule.
    open: BTreeMap<u16, Current>,
}

/// Output that is coming in.
struct Current {
    /// None where it could not be kept: what comes is thrown away, and never delivered.
    live: Option<Live>,
    id: HoldId,
    fields: BTreeSet<String>,
    in_place: bool,
    said: bool,
    /// The beginning of what the recording shows instead, as frames.
    preview: Vec<u8>,
}

/// Names in the order in which the scanner asked for them.
#[derive(Clone, Default)]
pub(super) struct Ids(Arc<Mutex<VecDeque<(u16, HoldId)>>>);

impl Ids {
    /// A new name for a hold of `rule`.
    pub(super) fn make(&self, rule: u16) -> String {
        match Holds::name() {
            Some(id) => {
                self.lock().push_back((rule, id));
                id.to_string()
            }
            // Without random numbers nothing is kept.
            None => "nothing".to_owned(),
        }
    }

    fn take(&self, rule: u16) -> Option<HoldId> {
        let mut ids = self.lock();
        let at = ids.iter().position(|(of, _)| *of == rule)?;
        ids.remove(at).map(|(_, id)| id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u16, HoldId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has to be said of a step.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// For the recording.
    pub(super) marker: Option<String>,
}

impl<'a> Holding<'a> {
    pub(super) fn new(
        holds: &'a Holds,
        grant: &'a Grant,
        notices: &'a Notices,
        origin: Origin,
        access: &Access,
    ) -> Self {
        // In a terminal what is held is replaced in place, for the recording as for the user.
        let rendition = (!origin.pty && grant.holds_output())
            .then(|| access.masked_rules(&origin.target, &origin.login))
            .and_then(Result::ok)
            .flatten()
            .map(|rules| Rendition::new(rules, &origin.session, holds.record_max()));
        Self {
            holds,
            grant,
            notices,
            origin,
            rendition,
            ids: Ids::default(),
            open: BTreeMap::new(),
        }
    }

    /// For the scanner.
    pub(super) fn ids(&self) -> Ids {
        self.ids.clone()
    }

    /// Whether the rest of the output waits for a decision.
    pub(super) fn withholds(&self) -> bool {
        self.open.values().any(|current| !current.in_place)
    }

    /// Whether something is being held.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn detach(&self) -> bool {
        self.origin.detach
    }

    /// A hold begins. `name` is the rule's; unreadable output has none.
    pub(super) async fn begin(
        &mut self,
        rule: u16,
        name: Option<&str>,
        field: &str,
    ) -> Result<Said, HoldError> {
        let terms = match name {
            Some(name) => self.grant.hold_terms(name),
            None => self.grant.unreadable_terms(),
        };
        let terms = terms.ok_or(HoldError::NoTerms)?;
        let records = name.is_some() && field != OUTPUT && field != TOO_LONG;
        let in_place = self.origin.pty && name.is_some() && field != OUTPUT;
        let held = if records { Held::Records } else { Held::Output };
        let facts = self.facts(terms, held);
        let asked = in_place.then(|| self.ids.take(rule)).flatten();
        let (live, id) = match (asked, in_place) {
            (Some(id), _) => match self.holds.open_as(id, facts).await {
                Ok(live) => (Some(live), id),
                Err(error) => {
                    warn!(session = self.origin.session, %error, "a value cannot be kept");
                    (None, id)
                }
            },
            (None, true) => return Ok(Said::default()),
            (None, false) => {
                let live = self.holds.open(facts).await?;
                let id = live.id();
                (Some(live), id)
            }
        };
        let fields = if held == Held::Records || field == TOO_LONG {
            BTreeSet::from([field.to_owned()])
        } else {
            BTreeSet::new()
        };
        if !records {
            // Nobody knows what of it could be shown.
            self.rendition = None;
        }
        let marker = match &live {
            Some(_) => format!("held as {id} ({}: {field})", terms.rule()),
            None => format!("held and not kept ({}: {field})", terms.rule()),
        };
        let current = Current {
            live,
            id,
            fields,
            in_place,
            said: in_place,
            preview: Vec::new(),
        };
        self.open.insert(rule, current);
        Ok(Said {
            marker: Some(marker),
        })
    }

    /// Takes withheld bytes. They are not lost if nobody waits for [`Holding::flush`].
    pub(super) fn take(
        &mut self,
        rule: u16,
        stream: Stream,
        bytes: Withheld,
    ) -> Result<(), HoldError> {
        let Some(current) = self.open.get_mut(&rule) else {
            return Ok(());
        };
        let Some(live) = &mut current.live else {
            return Ok(());
        };
        match live.push(stream, bytes) {
            Err(error) if current.in_place => {
                // The shell goes on; its names in the output then lead to a void hold.
                warn!(hold = %current.id, %error, "a hold is given up");
                current.live = None;
                Ok(())
            }
            taken => taken,
        }
    }

    /// Reads what the target sent, for the rendition.
    pub(super) fn read(&mut self, stream: Stream, raw: &Raw) {
        if let Some(rendition) = &mut self.rendition {
            rendition.feed(stream, raw.clone());
        }
    }

    /// The output has ended, for the rendition.
    pub(super) fn end(&mut self) {
        if let Some(rendition) = &mut self.rendition {
            rendition.end();
        }
    }

    /// So many bytes have passed.
    pub(super) fn passed(&mut self, stream: Stream, bytes: usize) {
        if let Some(rendition) = &mut self.rendition {
            rendition.passed(stream, bytes);
        }
    }

    /// What the recording shows of what is being held.
    pub(super) fn rendition(&mut self) -> Vec<(Stream, Masked)> {
        let current = self.open.values_mut().find(|current| !current.in_place);
        let (Some(current), Some(rendition)) = (current, &mut self.rendition) else {
            return Vec::new();
        };
        let shown = rendition.take();
        for (stream, bytes) in &shown {
            for piece in bytes.as_bytes().chunks(PREVIEW_PIECE) {
                if current.preview.len() < PREVIEW_MAX {
                    encode_frame(&mut current.preview, *stream, piece);
                }
            }
        }
        shown
    }

    /// Waits for the disk where much has come. Cancel-safe.
    pub(super) async fn flush(&self) -> Result<(), HoldError> {
        for current in self.open.values() {
            if let Some(live) = &current.live {
                live.flush().await?;
            }
        }
        Ok(())
    }

    /// Adds the fields of rules that hold to what is said of them.
    pub(super) fn saw(&mut self, rule: u16, field: &str) {
        if let Some(current) = self.open.get_mut(&rule)
            && current.fields.len() < FIELDS_MAX
        {
            current.fields.insert(field.to_owned());
        }
    }

    /// The line that tells the client of a hold, once.
    pub(super) fn line(&mut self) -> Option<String> {
        let current = self.open.values_mut().find(|current| !current.said)?;
        current.said = true;
        let facts = current.live.as_ref()?.facts();
        let fields: Vec<&str> = current.fields.iter().map(String::as_str).collect();
        let text = waiting(current.id, facts, &fields, &self.origin.bastion);
        Some(self.notices.held(&text, &current.id.to_string()))
    }

    /// The hold of `rule` is whole.
    pub(super) async fn seal(
        &mut self,
        rule: u16,
        status: Option<String>,
    ) -> Result<Option<HoldRow>, HoldError> {
        let Some(mut current) = self.open.remove(&rule) else {
            return Ok(None);
        };
        let Some(live) = current.live.take() else {
            return Ok(None);
        };
        let fields = current.fields.into_iter().collect();
        match live.seal(fields, status, current.preview).await {
            Ok(row) => Ok(Some(row)),
            Err(error) if current.in_place => {
                warn!(hold = %current.id, %error, "a hold is given up");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Seals everything that is open. What cannot be sealed is void.
    pub(super) async fn seal_all(
        &mut self,
        status: Option<String>,
    ) -> Result<Vec<HoldRow>, HoldError> {
        let mut sealed = Vec::new();
        for rule in self.open.keys().copied().collect::<Vec<_>>() {
            sealed.extend(self.seal(rule, status.clone()).await?);
        }
        Ok(sealed)
    }

    /// Nothing of what is held and not sealed is ever delivered.
    pub(super) fn give_up(&mut self) {
        self.open.clear();
    }

    /// The client has left: the scanner's last steps, and then the seal. Says which holds there are.
    pub(super) async fn left(&mut self, scanner: &mut Scanner) -> Vec<HoldRow> {
        if self.open.is_empty() {
            return Vec::new();
        }
        scanner.end();
        self.end();
        // The recording gets no more of it, the preview does.
        self.rendition();
        while let Some(step) = scanner.next_step() {
            match step {
                Step::Held {
                    rule,
                    stream,
                    bytes,
                } => {
                    if let Err(error) = self.take(rule, stream, bytes) {
                        warn!(session = self.origin.session, %error, "what is held is given up");
                        self.open.remove(&rule);
                    }
                }
                // What would begin now was never shown, and is gone with the command.
                Step::Hold { .. } | Step::Sealed { .. } | Step::Pass { .. } => {}
                Step::Refuse { .. } => {
                    self.open.clear();
                    return Vec::new();
                }
            }
        }
        match self.seal_all(None).await {
            Ok(rows) => rows,
            Err(error) => {
                warn!(session = self.origin.session, %error, "what was held is given up");
                Vec::new()
            }
        }
    }

    /// Waits until a sealed hold is decided, in whichever way.
    pub(super) async fn decided(&self, id: HoldId) -> Result<Option<HoldRow>, HoldError> {
        let wait = self.holds.wait_at_most();
        match tokio::time::timeout(wait, self.holds.decided(id)).await {
            Ok(row) => row.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Begins to hand over an approved hold.
    pub(super) async fn release(&self, id: HoldId) -> Result<Release, HoldError> {
        self.holds.release(id, self.identity()).await
    }

    fn identity(&self) -> Identity {
        self.origin.producer.identity.clone()
    }

    fn facts(&self, terms: &HoldTerms, held: Held) -> Facts {
        self.origin.facts(terms, held)
    }
}

impl Origin {
    pub(super) fn facts(&self, terms: &HoldTerms, held: Held) -> Facts {
        Facts {
            producer: self.producer.clone(),
            session: self.session.clone(),
            target: self.target.clone(),
            login: self.login.clone(),
            command: self.command.clone(),
            pty: self.pty,
            approved: self.approved,
            held,
            rule: terms.rule().to_owned(),
            approvers: terms.approvers().to_owned(),
            needed: u32::try_from(terms.count()).unwrap_or(u32::MAX),
            period_s: terms.expires().as_secs(),
        }
    }
}

/// The line that a client is told.
fn waiting(id: HoldId, facts: &Facts, fields: &[&str], bastion: &str) -> String {
    let what = match facts.held {
        Held::Command => "command",
        Held::Records | Held::Output => "output",
    };
    let of = if fields.is_empty() {
        facts.rule.clone()
    } else {
        format!("{}: {}", facts.rule, fields.join(", "))
    };
    let approvals = needed_approvals(facts.needed);
    format!(
        "{what} held as {id} ({of}), waiting for {approvals} from {}; ssh {bastion} show {id}",
        facts.approvers
    )
}

/// A command that waits for a decision before it runs.
pub(super) struct HeldCommand<'a> {
    pub(super) holds: &'a Holds,
    pub(super) terms: &'a HoldTerms,
    pub(super) command: &'a [u8],
    pub(super) origin: Origin,
}

impl HeldCommand<'_> {
    /// Returns once somebody has approved exactly this command, and that is used up: it runs once
    /// for each approval, whatever happens afterwards. An approval of before, that nobody has used,
    /// counts.
    pub(super) async fn approved(
        self,
        recording: &mut Recording,
        client: &mut ClientEnd,
        notices: &Notices,
        stop: &Stop,
    ) -> Result<(), Why> {
        let id = match self.earlier().await.map_err(failed)? {
            Some(id) => id,
            None => {
                let row = self.ask().await.map_err(failed)?;
                let id = row.id;
                mark(
                    recording,
                    &format!("command held as {id} ({})", row.facts.rule),
                )
                .await?;
                let line = waiting(id, &row.facts, &[], &self.origin.bastion);
                let said = client.writer.notice(notices.held(&line, &id.to_string()));
                said.await.map_err(|_| Why::ClientLeft)?;
                self.wait(id, client, stop).await?;
                id
            }
        };
        self.take(id).await.map_err(failed)?;
        mark(recording, &format!("{id} approved: the command runs")).await
    }

    /// Holds the command.
    async fn ask(&self) -> Result<HoldRow, HoldError> {
        let facts = self.origin.facts(self.terms, Held::Command);
        let mut live = self.holds.open(facts).await?;
        live.push_command(self.command)?;
        live.seal(Vec::new(), None, Vec::new()).await
    }

    async fn wait(&self, id: HoldId, client: &mut ClientEnd, stop: &Stop) -> Result<(), Why> {
        let later = |line: String| Err(Why::Held(HoldEnd::Detached(line)));
        if self.origin.detach {
            return later(format!(
                "{id} waits for a decision; run the same command again once it is approved"
            ));
        }
        let decided = tokio::time::timeout(self.holds.wait_at_most(), self.holds.decided(id));
        let row = tokio::select! {
            decided = decided => match decided {
                Ok(row) => row.map_err(failed)?,
                Err(_) => return later(format!(
                    "nobody has decided on {id} yet; run the same command again once it is approved"
                )),
            },
            () = client.reader.left() => return Err(Why::ClientLeft),
            () = stop.this.cancelled() => return Err(Why::Ended(stop.line())),
            () = stop.all.cancelled() => return Err(Why::ShuttingDown),
        };
        if row.state == Name::Approved {
            Ok(())
        } else {
            Err(Why::Held(HoldEnd::of(&row)))
        }
    }

    /// An approval of the same command for the same person and account that was not used.
    async fn earlier(&self) -> Result<Option<HoldId>, HoldError> {
        let origin = &self.origin;
        for row in self.holds.list(Which::Live).await? {
            let facts = &row.facts;
            let same = facts.held == Held::Command
                && row.state == Name::Approved
                && facts.rule == self.terms.rule()
                && facts.producer.identity == origin.producer.identity
                && (&facts.target, &facts.login) == (&origin.target, &origin.login)
                && facts.pty == origin.pty
                // A rule that has become stricter since wants its own decision.
                && facts.approvers == self.terms.approvers()
                && facts.needed >= u32::try_from(self.terms.count()).unwrap_or(u32::MAX);
            if same && self.is_this(&row).await? {
                return Ok(Some(row.id));
            }
        }
        Ok(None)
    }

    /// Whether what is held is this command, byte for byte.
    async fn is_this(&self, row: &HoldRow) -> Result<bool, HoldError> {
        let mut look = self.holds.look(row).await?;
        let mut held = Vec::new();
        while let Some(frames) = look.next().await? {
            for (_, bytes) in frames {
                held.extend_from_slice(&bytes.into_bytes());
            }
        }
        Ok(held == self.command)
    }

    /// Uses the approval up.
    async fn take(&self, id: HoldId) -> Result<(), HoldError> {
        let identity = self.origin.producer.identity.clone();
        let mut release = self.holds.release(id, identity).await?;
        let mut approved = Vec::new();
        while let Some(frames) = release.next().await? {
            for (_, bytes) in frames {
                approved.extend_from_slice(&bytes.into_bytes());
            }
        }
        if approved != self.command {
            return Err(Refusal::OtherBytes.into());
        }
        release.delivered().await
    }
}

fn failed(error: HoldError) -> Why {
    warn!(%error, "a held command does not run");
    Why::Held(HoldEnd::Failed(error.notice()))
}

async fn mark(recording: &mut Recording, marker: &str) -> Result<(), Why> {
    recording.marker(marker).await.map_err(Why::NotRecorded)
}

/// Why a hold ended a session, and with which status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HoldEnd {
    /// Who decides has denied, or the producer has cancelled.
    Denied(String),
    Expired(String),
    /// The client did not wait, or not long enough.
    Detached(String),
    /// It could not be held, or not be released.
    Failed(String),
}

impl HoldEnd {
    /// What a state means for the one who waits.
    pub(super) fn of(row: &HoldRow) -> Self {
        let id = row.id;
        match row.state {
            Name::Denied => {
                let vote = row.votes.iter().rfind(|vote| !vote.approves);
                let by = vote.map_or_else(String::new, |vote| format!(" by {}", vote.by.name));
                let why = vote.and_then(|vote| vote.reason.as_deref());
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                Self::Denied(format!("{id} was denied{by}{why}"))
            }
            Name::Cancelled => Self::Denied(format!("{id} was cancelled")),
            Name::Expired => Self::Expired(format!("{id} has expired")),
            Name::Void => Self::Failed(format!("{id} is void: nothing of it can be released")),
            Name::Open | Name::Sealed | Name::Approved | Name::Releasing | Name::Delivered => {
                Self::Failed(format!("{id} is {}", row.state.as_str()))
            }
        }
    }

    pub(super) fn notice(&self) -> &str {
        match self {
            Self::Denied(line)
            | Self::Expired(line)
            | Self::Detached(line)
            | Self::Failed(line) => line,
        }
    }

    /// limits.md.
    pub(super) fn status(&self) -> u32 {
        match self {
            Self::Denied(_) => super::DENIED,
            Self::Expired(_) => super::EXPIRED,
            Self::Detached(_) => super::DETACHED,
            Self::Failed(_) => super::REFUSED,
        }
    }
}

/// The scanner's field where a rule holds everything.
const OUTPUT: &str = "output";
/// The scanner's field where no held value was found, but no end either.
const TOO_LONG: &str = "record too long";
/// Bytes of one frame of a preview.
const PREVIEW_PIECE: usize = 1024;
/// Fields that are named.
const FIELDS_MAX: usize = 32;
