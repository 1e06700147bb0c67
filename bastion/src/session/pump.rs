//! The way of a session's bytes: target → scanner → recorder → client, and client → target.
//!
//! One task. Output goes to the recorder first and to the client once the recorder has
//! acknowledged it. Input is taken from the client as it comes, since the connection's other
//! channels wait behind it, and waits here for the target; `ssh::flow` bounds it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use scanner::{Coverage, Masked, Rules, Scanner, Step, Stream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;
use tracing::{info, warn};

use super::hold::{HoldEnd, Holding, Said};
use super::registry::Stop;
use super::sftp::{Broken, Gate};
use super::{BROKEN, NOT_ALLOWED, REFUSED};
use crate::holds::{HoldError, HoldId, Name, Released};
use crate::record::{Acknowledged, RecordError, Recording};
use crate::ssh::{
    ClientEnd, ClientReader, ClientWriter, Ended, FromClient, FromTarget, Gone, Signal, Size,
    TargetEnd, TargetReader, TargetWriter,
};
use crate::store::HoldRow;

/// Everything that one session's bytes pass through.
pub(super) struct Pump<'a> {
    pub(super) rules: Arc<Rules>,
    pub(super) scanner: Scanner,
    pub(super) holding: Holding<'a>,
    /// Where files go in one direction only.
    pub(super) one_way: Option<OneWay<'a>>,
    /// Held output that has been quiet for so long is sealed.
    pub(super) seal_quiet: Duration,
    pub(super) recording: &'a mut Recording,
    pub(super) client: &'a mut ClientEnd,
    pub(super) target: TargetEnd,
    pub(super) pty: bool,
    pub(super) life: Duration,
    /// Between two changes of the terminal's size that the target hears of.
    pub(super) resize_every: Duration,
    pub(super) stop: Stop,
}

/// Files in one direction: what both ends of the channel pass through.
pub(super) struct OneWay<'a> {
    gate: Mutex<Gate>,
    /// Something was refused, or nothing goes on.
    refused: Notify,
    /// The line for the client at the first refusal.
    line: String,
    /// Writes a refusal down.
    audit: &'a (dyn Fn(&str) + Sync),
}

impl<'a> OneWay<'a> {
    pub(super) fn new(gate: Gate, line: String, audit: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self {
            gate: Mutex::new(gate),
            refused: Notify::new(),
            line,
            audit,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the client has asked for what is refused.
    async fn asked(one_way: Option<&Self>) {
        match one_way {
            Some(one_way) => one_way.refused.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// How it went.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) why: Why,
    /// How the command ended, where the target said so.
    pub(super) ended: Option<Ended>,
    pub(super) coverage: Coverage,
    /// Bytes that came from the client.
    pub(super) received: u64,
    /// Whether the client has been told that no more data comes.
    pub(super) eof_sent: bool,
}

/// Why a session is over.
#[derive(Debug)]
pub(crate) enum Why {
    /// The command ended.
    TargetEnded,
    /// The connection to the target broke before the command ended.
    TargetLost,
    /// The client closed the channel or the connection.
    ClientLeft,
    /// The client has not taken anything for too long.
    ClientStalled,
    /// A rule held the output, and it was not released.
    Held(HoldEnd),
    /// A rule refuses the output.
    Refused,
    /// Files go in one direction only, and what is said is not their protocol.
    NotSftp(Broken),
    /// What the target sends can no longer be recorded.
    NotRecorded(RecordError),
    /// A session lives only so long.
    LifeOver,
    /// The person signed out, or somebody ended the session; with the line that says so.
    Ended(&'static str),
    /// The bastion stops.
    ShuttingDown,
}

impl Why {
    /// The line for the client; empty where the command ended by itself.
    pub(crate) fn notice(&self) -> &str {
        match self {
            Self::TargetEnded => "",
            Self::TargetLost => "the connection to the target was lost",
            Self::ClientLeft => "the client left",
            Self::ClientStalled => "the client has not read for too long",
            Self::Held(end) => end.notice(),
            Self::Refused => "a rule refuses this output: the rest is withheld",
            Self::NotSftp(broken) => broken.notice(),
            Self::NotRecorded(error) => error.notice(),
            Self::LifeOver => "the session has reached its longest life; connect again",
            Self::Ended(line) => line,
            Self::ShuttingDown => "the bastion is shutting down; connect again later",
        }
    }

    /// The exit status that goes with it.
    pub(super) fn status(&self) -> u32 {
        match self {
            Self::Held(end) => end.status(),
            Self::NotRecorded(_) | Self::Refused | Self::NotSftp(_) => REFUSED,
            Self::LifeOver | Self::Ended(_) => NOT_ALLOWED,
            Self::TargetEnded
            | Self::TargetLost
            | Self::ClientLeft
            | Self::ClientStalled
            | Self::ShuttingDown => BROKEN,
        }
    }
}

impl Pump<'_> {
    /// Carries the session until one of its ends, a limit or somebody ends it.
    pub(super) async fn run(self) -> Carried {
        let Self {
            rules,
            scanner,
            mut holding,
            one_way,
            seal_quiet,
            recording,
            client,
            mut target,
            pty,
            life,
            resize_every,
            stop,
        } = self;
        let ClientEnd { reader, writer } = client;
        let acknowledged = recording.acknowledged();
        let recorder = acknowledged.clone();
        let scanner = Mutex::new(scanner);
        let (queue, delivered) = mpsc::channel(QUEUE);
        let (asked_size, wanted_size) = watch::channel(None);
        let (set_size, size) = watch::channel(None);
        let (signals, signalled) = mpsc::channel(SIGNALS);

        let mut ended = None;
        let mut eof_sent = false;
        let mut up = Upload {
            target: &target.writer,
            scanner: pty.then_some(&scanner),
            one_way: one_way.as_ref(),
            asked_size,
            signals,
            input: Input::default(),
        };
        let ending = stop.clone();
        let why = {
            let down = Download {
                rules: &rules,
                scanner: &scanner,
                holding: &mut holding,
                one_way: one_way.as_ref(),
                told: false,
                seal_quiet,
                recording: &mut *recording,
                size,
                queue,
            };
            let output = async {
                tokio::try_join!(
                    down.run(&mut target.reader, &mut ended),
                    deliver(delivered, acknowledged, writer, &mut eof_sent),
                )
            };
            tokio::select! {
                output = output => output.err(),
                () = up.run(&mut *reader) => Some(Why::ClientLeft),
                why = lost(recorder) => Some(why),
                () = control(&target.writer, resize_every, wanted_size, set_size, signalled) => None,
                () = tokio::time::sleep(life) => Some(Why::LifeOver),
                () = stop.this.cancelled() => Some(Why::Ended(stop.line())),
                () = stop.all.cancelled() => Some(Why::ShuttingDown),
            }
        };
        if matches!(why, Some(Why::ClientLeft)) {
            tokio::select! {
                () = up.deliver_rest(reader, &mut target.reader) => {}
                () = ending.this.cancelled() => {}
                () = ending.all.cancelled() => {}
            }
        }
        let received = up.input.received;
        drop(up);
        // What is bytes alone has no status.
        let why = why.unwrap_or(if ended.is_some() || writer.is_bytes() {
            Why::TargetEnded
        } else {
            Why::TargetLost
        });
        let why = match why {
            Why::ClientLeft if writer.is_given_up() => Why::ClientStalled,
            why => why,
        };
        let mut scanner = scanner.into_inner().unwrap_or_else(PoisonError::into_inner);
        if matches!(why, Why::ClientLeft | Why::ClientStalled) {
            // The command is stopped with its connection; what came of it can be decided.
            for row in holding.left(&mut scanner).await {
                let marker = format!("{} sealed: the client left", row.id);
                recording.marker(&marker).await.unwrap_or(());
            }
        }
        let coverage = scanner.coverage();
        Carried {
            why,
            ended,
            coverage,
            received,
            eof_sent,
        }
    }
}

/// What waits for the recorder's acknowledgement and the client's window, in order.
enum Outgoing {
    Bytes {
        position: u64,
        stream: Stream,
        bytes: Masked,
    },
    /// A line of our own.
    Notice(String),
    /// An answer of our own to a request that the target has not seen.
    Answer(Bytes),
    /// What a decision has released; it is in no recording.
    Released {
        stream: Stream,
        bytes: Released,
    },
    /// Told once everything before has gone to the client.
    Told(oneshot::Sender<()>),
    Eof,
    /// The session is over, and why.
    End(Why),
}

/// From the target to the queue, through the scanner and the recorder.
struct Download<'a, 'h> {
    rules: &'a Rules,
    scanner: &'a Mutex<Scanner>,
    holding: &'a mut Holding<'h>,
    one_way: Option<&'a OneWay<'a>>,
    /// Whether the client has been told that files go one way.
    told: bool,
    seal_quiet: Duration,
    recording: &'a mut Recording,
    size: watch::Receiver<Option<Size>>,
    queue: mpsc::Sender<Outgoing>,
}

impl Download<'_, '_> {
    async fn run(
        mut self,
        target: &mut TargetReader,
        ended: &mut Option<Ended>,
    ) -> Result<(), Why> {
        let mut eof = false;
        let mut sized = true;
        let mut quiet_at = Instant::now();
        loop {
            tokio::select! {
                event = target.next() => match event {
                    // After its end of file a target has nothing to say.
                    FromTarget::Output(stream, raw) if !eof => {
                        self.holding.read(stream, &raw);
                        lock(self.scanner).feed(stream, raw);
                        self.forward().await?;
                        quiet_at = Instant::now() + self.seal_quiet;
                    }
                    FromTarget::Output(..) => {}
                    FromTarget::Eof => {
                        eof = true;
                        self.end().await?;
                        if !self.holding.withholds() {
                            self.push(Outgoing::Eof).await?;
                        }
                    }
                    FromTarget::Ended(how) => {
                        ended.get_or_insert(how);
                    }
                    FromTarget::Left => break,
                },
                () = OneWay::asked(self.one_way) => self.answer().await?,
                // Endless commands, and protocols that wait for the client: what comes later is
                // looked at anew.
                () = tokio::time::sleep_until(quiet_at), if !eof && self.holding.withholds() => {
                    self.settle(None).await?;
                    lock(self.scanner).resume();
                }
                changed = self.size.changed(), if sized => match changed {
                    Ok(()) => {
                        let size = *self.size.borrow_and_update();
                        if let Some((cols, rows)) = size.map(Size::cells) {
                            self.recording.resize(cols, rows).await.map_err(Why::NotRecorded)?;
                        }
                    }
                    Err(_) => sized = false,
                },
            }
        }
        if !eof {
            self.end().await?;
        }
        match ended {
            Some(ended) => {
                let status = match ended {
                    Ended::Status(status) => status.to_string(),
                    Ended::Signal { signal, .. } => signal.name().to_owned(),
                };
                self.settle(Some(status)).await
            }
            // Nobody knows whether it was all: what is held is void.
            None => Ok(()),
        }
    }

    /// What is held is whole: it is sealed, and the client waits for the decision.
    async fn settle(&mut self, status: Option<String>) -> Result<(), Why> {
        let withholds = self.holding.withholds();
        let sealed = match self.holding.seal_all(status).await {
            Ok(sealed) => sealed,
            Err(error) => return self.fail(&error).await,
        };
        for row in sealed {
            self.mark_sealed(&row).await?;
            if withholds {
                self.wait(row.id).await?;
            }
        }
        Ok(())
    }

    async fn mark_sealed(&mut self, row: &HoldRow) -> Result<(), Why> {
        let Some(seal) = &row.seal else { return Ok(()) };
        let marker = format!(
            "{} sealed: {} bytes, SHA-256 {}",
            row.id, seal.bytes, seal.digest
        );
        self.mark(&marker).await
    }

    /// Waits for the decision on a sealed hold, and hands over what was approved.
    async fn wait(&mut self, id: HoldId) -> Result<(), Why> {
        if self.holding.detach() {
            let line = format!("{id} waits for a decision; collect it later with: fetch {id}");
            return self.withhold(Why::Held(HoldEnd::Detached(line))).await;
        }
        let row = match self.holding.decided(id).await {
            Ok(Some(row)) => row,
            Ok(None) => {
                let line =
                    format!("nobody has decided on {id} yet; collect it later with: fetch {id}");
                return self.withhold(Why::Held(HoldEnd::Detached(line))).await;
            }
            Err(error) => return self.fail(&error).await,
        };
        if row.state != Name::Approved {
            return self.withhold(Why::Held(HoldEnd::of(&row))).await;
        }
        let by: Vec<&str> = row.votes.iter().map(|vote| vote.by.name.as_str()).collect();
        self.mark(&format!("{id} approved by {}: released", by.join(", ")))
            .await?;
        let mut release = match self.holding.release(id).await {
            Ok(release) => release,
            Err(error) => return self.fail(&error).await,
        };
        loop {
            let frames = match release.next().await {
                Ok(Some(frames)) => frames,
                Ok(None) => break,
                Err(error) => return self.fail(&error).await,
            };
            for (stream, bytes) in frames {
                self.push(Outgoing::Released { stream, bytes }).await?;
            }
        }
        let (told, all_taken) = oneshot::channel();
        self.push(Outgoing::Told(told)).await?;
        all_taken.await.map_err(|_| Why::ClientLeft)?;
        match release.delivered().await {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&error).await,
        }
    }

    /// What is held cannot be kept or released: the session ends, and nothing of it leaves.
    async fn fail(&mut self, error: &HoldError) -> Result<(), Why> {
        warn!(%error, "a hold ends the session");
        self.withhold(Why::Held(HoldEnd::Failed(error.notice())))
            .await
    }

    async fn mark(&mut self, marker: &str) -> Result<(), Why> {
        self.recording
            .marker(marker)
            .await
            .map_err(Why::NotRecorded)
    }

    async fn end(&mut self) -> Result<(), Why> {
        self.holding.end();
        lock(self.scanner).end();
        self.forward().await
    }

    /// Performs what the scanner has decided.
    async fn forward(&mut self) -> Result<(), Why> {
        loop {
            let step = lock(self.scanner).next_step();
            match step {
                Some(Step::Pass { stream, bytes }) => match (self.one_way, stream) {
                    (Some(one_way), Stream::Stdout) => self.pass_replies(one_way, bytes).await?,
                    _ => self.pass(stream, bytes).await?,
                },
                Some(Step::Hold { rule, field }) => {
                    let name = self.rules.rule_name(rule);
                    match self.holding.begin(rule, name, &field).await {
                        Ok(Said {
                            marker: Some(marker),
                        }) => self.mark(&marker).await?,
                        Ok(Said { marker: None }) => {}
                        Err(error) => return self.fail(&error).await,
                    }
                }
                Some(Step::Held {
                    rule,
                    stream,
                    bytes,
                }) => {
                    if let Err(error) = self.holding.take(rule, stream, bytes) {
                        return self.fail(&error).await;
                    }
                    if let Err(error) = self.holding.flush().await {
                        return self.fail(&error).await;
                    }
                }
                Some(Step::Sealed { rule }) => match self.holding.seal(rule, None).await {
                    Ok(Some(row)) => self.mark_sealed(&row).await?,
                    Ok(None) => {}
                    Err(error) => return self.fail(&error).await,
                },
                Some(Step::Refuse { rule, field }) => {
                    let rule = rule.and_then(|rule| self.rules.rule_name(rule));
                    info!(rule, field, "output refused");
                    return self.withhold(Why::Refused).await;
                }
                None => break,
            }
        }
        self.tell().await
    }

    /// To the recorder, and then to the client.
    async fn pass(&mut self, stream: Stream, bytes: Masked) -> Result<(), Why> {
        self.holding.passed(stream, bytes.len());
        let position = self
            .recording
            .output(stream, &bytes)
            .await
            .map_err(Why::NotRecorded)?;
        self.push(Outgoing::Bytes {
            position,
            stream,
            bytes,
        })
        .await
    }

    /// What the target answers, with our own answers between its packets.
    async fn pass_replies(&mut self, one_way: &OneWay<'_>, mut bytes: Masked) -> Result<(), Why> {
        while !bytes.is_empty() {
            let taken = one_way.lock().replied(bytes.as_bytes());
            if taken > 0 {
                self.pass(Stream::Stdout, bytes.split_to(taken)).await?;
            }
            self.answer().await?;
        }
        Ok(())
    }

    /// Answers the requests that were refused, where it is their turn.
    async fn answer(&mut self) -> Result<(), Why> {
        let Some(one_way) = self.one_way else {
            return Ok(());
        };
        let said = |gate: &mut Gate| (gate.told(), gate.answer(), gate.broken());
        loop {
            let (told, answer, broken) = said(&mut one_way.lock());
            if let Some(what) = &told {
                (one_way.audit)(what);
                self.mark(&format!("sftp request refused: {what}")).await?;
                if !std::mem::replace(&mut self.told, true) {
                    self.push(Outgoing::Notice(one_way.line.clone())).await?;
                }
            }
            if let Some(broken) = broken {
                return self.withhold(Why::NotSftp(broken)).await;
            }
            match answer {
                Some(answer) => self.push(Outgoing::Answer(answer)).await?,
                None if told.is_none() => return Ok(()),
                None => {}
            }
        }
    }

    /// Tells the client of a hold that has begun, with the fields that were seen so far.
    async fn tell(&mut self) -> Result<(), Why> {
        if !self.holding.is_open() {
            return Ok(());
        }
        for (stream, bytes) in self.holding.rendition() {
            self.recording
                .output(stream, &bytes)
                .await
                .map_err(Why::NotRecorded)?;
        }
        for verdict in lock(self.scanner).take_verdicts() {
            self.holding.saw(verdict.rule, &verdict.field);
        }
        while let Some(line) = self.holding.line() {
            self.push(Outgoing::Notice(line)).await?;
        }
        Ok(())
    }

    /// Ends the session once what was let through before has reached the client.
    async fn withhold(&mut self, why: Why) -> Result<(), Why> {
        // A client that leaves now must not turn what is void into a hold.
        self.holding.give_up();
        self.recording
            .marker(why.notice())
            .await
            .map_err(Why::NotRecorded)?;
        self.push(Outgoing::End(why)).await?;
        // The one that delivers ends both.
        std::future::pending().await
    }

    async fn push(&self, outgoing: Outgoing) -> Result<(), Why> {
        self.queue.send(outgoing).await.map_err(|_| Why::ClientLeft)
    }
}

/// From the queue to the client, each piece once the recorder has it.
async fn deliver(
    mut queue: mpsc::Receiver<Outgoing>,
    mut acknowledged: Acknowledged,
    client: &ClientWriter,
    eof_sent: &mut bool,
) -> Result<(), Why> {
    let gone = |gone| match gone {
        Gone::Closed => Why::ClientLeft,
        Gone::Stalled => Why::ClientStalled,
    };
    while let Some(outgoing) = queue.recv().await {
        match outgoing {
            Outgoing::Bytes {
                position,
                stream,
                bytes,
            } => {
                let waits_since = Instant::now();
                acknowledged
                    .reached(position)
                    .await
                    .map_err(Why::NotRecorded)?;
                crate::metrics::global().acknowledged(waits_since.elapsed());
                client.send(stream, bytes).await.map_err(gone)?;
            }
            Outgoing::End(why) => return Err(why),
            Outgoing::Notice(line) => client.notice(line).await.map_err(gone)?,
            Outgoing::Answer(bytes) => {
                client.answer(Stream::Stdout, bytes).await.map_err(gone)?;
            }
            Outgoing::Released { stream, bytes } => {
                client.released(stream, bytes).await.map_err(gone)?;
            }
            // Whoever asked may have ended.
            Outgoing::Told(told) => told.send(()).unwrap_or(()),
            Outgoing::Eof => {
                *eof_sent = client.eof_before_status().await.map_err(gone)?;
            }
        }
    }
    Ok(())
}

/// Returns when the recorder is gone, also while nothing is being recorded.
async fn lost(mut recorder: Acknowledged) -> Why {
    Why::NotRecorded(recorder.lost().await)
}

/// From the client to the target.
struct Upload<'a> {
    target: &'a TargetWriter,
    /// Told what is typed where there is a terminal, so that its echo is known.
    scanner: Option<&'a Mutex<Scanner>>,
    one_way: Option<&'a OneWay<'a>>,
    asked_size: watch::Sender<Option<Size>>,
    signals: mpsc::Sender<Signal>,
    input: Input<'a>,
}

/// The client's input on its way. It outlives the client, who may leave right after the last of it.
struct Input<'a> {
    queue: Queue,
    eof: Eof,
    /// The target takes no more.
    broken: bool,
    in_flight: Option<usize>,
    sending: ReusableBoxFuture<'a, Result<(), Gone>>,
    /// When something was last handed to the target.
    last: Option<Instant>,
    /// Bytes that came.
    received: u64,
}

impl Default for Input<'_> {
    fn default() -> Self {
        Self {
            queue: Queue::default(),
            eof: Eof::NotSeen,
            broken: false,
            in_flight: None,
            sending: ReusableBoxFuture::new(async { Ok(()) }),
            last: None,
            received: 0,
        }
    }
}

impl<'a> Input<'a> {
    /// Hands the next piece to the target, if the last one has gone.
    fn advance(&mut self, target: &'a TargetWriter) {
        if self.in_flight.is_some() || self.broken {
            return;
        }
        if let Some(bytes) = self.queue.next() {
            self.in_flight = Some(bytes.len());
            self.last = Some(Instant::now());
            self.sending.set(target.send(bytes));
        } else if self.eof == Eof::Seen {
            self.in_flight = Some(0);
            self.eof = Eof::Sent;
            self.sending.set(target.eof());
        }
    }

    /// Queues the requests that may go on.
    fn push_allowed(&mut self, one_way: &OneWay<'_>, bytes: &[u8], client: &ClientReader) {
        let mut gate = one_way.lock();
        gate.feed(bytes);
        while let Some(step) = gate.next_step() {
            if !step.forward.is_empty() {
                self.queue.push(step.forward);
            }
            if step.dropped > 0 {
                client.taken(step.dropped);
                one_way.refused.notify_one();
            }
        }
    }

    /// What was in flight has gone, or cannot go.
    fn sent(&mut self, result: &Result<(), Gone>, client: &ClientReader) {
        client.taken(self.in_flight.take().unwrap_or(0));
        if result.is_err() {
            self.broken = true;
            client.taken(self.queue.clear());
        }
    }
}

impl Upload<'_> {
    /// Returns when the client has left. A target that takes no more input is no end: its output
    /// may go on. Cancel-safe.
    async fn run(&mut self, client: &mut ClientReader) {
        loop {
            self.input.advance(self.target);
            tokio::select! {
                sent = self.input.sending.get_pin(), if self.input.in_flight.is_some() => {
                    self.input.sent(&sent, client);
                }
                event = client.next() => match event {
                    FromClient::Data(bytes) if self.input.broken => client.taken(bytes.len()),
                    FromClient::Data(bytes) => {
                        self.input.received += bytes.len() as u64;
                        if let Some(scanner) = self.scanner {
                            lock(scanner).typed(&bytes);
                        }
                        match self.one_way {
                            None => self.input.queue.push(bytes),
                            Some(one_way) => self.input.push_allowed(one_way, &bytes, client),
                        }
                    }
                    FromClient::Eof if self.input.eof == Eof::NotSeen => {
                        self.input.eof = Eof::Seen;
                    }
                    FromClient::Eof => {}
                    FromClient::Resize(size) => {
                        self.asked_size.send_replace(Some(size));
                    }
                    FromClient::Signal(signal) => {
                        // A flood of signals says no more than its first few.
                        self.signals.try_send(signal).unwrap_or(());
                    }
                    FromClient::Left => return,
                },
            }
        }
    }

    /// The client has left: what it sent before goes on to the target as long as the target takes
    /// it, as it would from a server's own buffers. Nobody hears the target any more.
    async fn deliver_rest(&mut self, client: &mut ClientReader, target: &mut TargetReader) {
        // Its last words may still lie in its inbox.
        let heard = tokio::time::timeout(LAST_INPUT, self.run(client)).await;
        let recent = |last: Instant| last.elapsed() < LAST_INPUT;
        let begun = self.input.last.is_some_and(recent) || !self.input.queue.is_empty();
        if heard.is_err() || self.input.broken || !begun {
            return;
        }
        let ended = async { while !matches!(target.next().await, FromTarget::Left) {} };
        let upload = async {
            loop {
                self.input.advance(self.target);
                if self.input.in_flight.is_none() {
                    break;
                }
                match tokio::time::timeout(LAST_INPUT, self.input.sending.get_pin()).await {
                    Ok(sent) => self.input.sent(&sent, client),
                    Err(_) => return info!("the target did not take the last of the input"),
                }
                if self.input.broken {
                    return;
                }
            }
            self.target.flushed(LAST_INPUT).await;
            if self.input.eof == Eof::Sent {
                // Whatever reads it to its end gets the time to do so.
                tokio::time::sleep(LAST_INPUT).await;
            }
        };
        tokio::select! {
            () = ended => {}
            () = upload => {}
        }
    }
}

/// The client's end of file on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eof {
    NotSeen,
    Seen,
    Sent,
}

/// Window changes, at most one in the time `every` and only the latest, and signals: both overtake the data,
/// which may be waiting for the target's window.
async fn control(
    target: &TargetWriter,
    every: Duration,
    mut wanted: watch::Receiver<Option<Size>>,
    set: watch::Sender<Option<Size>>,
    mut signals: mpsc::Receiver<Signal>,
) {
    let mut next = Instant::now();
    let mut pending = false;
    loop {
        let sent = tokio::select! {
            Some(signal) = signals.recv() => target.signal(signal).await,
            changed = wanted.changed(), if !pending => {
                pending = true;
                changed.map_err(|_| Gone::Closed)
            }
            () = tokio::time::sleep_until(next), if pending => {
                pending = false;
                next = Instant::now() + every;
                let size = *wanted.borrow_and_update();
                match size {
                    Some(size) => {
                        set.send_replace(Some(size));
                        target.resize(size).await
                    }
                    None => Ok(()),
                }
            }
        };
        if sent.is_err() {
            // The target's own end is seen where its output is read.
            return std::future::pending().await;
        }
    }
}

/// Input that waits for the target. Small packets are put together as they come, since each costs
/// far more than its bytes, to send and to keep.
#[derive(Default)]
struct Queue {
    whole: VecDeque<Bytes>,
    /// Small packets after those.
    tail: BytesMut,
}

impl Queue {
    fn push(&mut self, bytes: Bytes) {
        if bytes.len() >= SMALL || self.tail.len() + bytes.len() > PACKET {
            self.close_tail();
        }
        if bytes.len() >= SMALL {
            self.whole.push_back(bytes);
        } else {
            self.tail.extend_from_slice(&bytes);
        }
    }

    /// The next packet.
    fn next(&mut self) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.close_tail();
        }
        self.whole.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.tail.is_empty()
    }

    /// Throws everything away; says how many bytes that were.
    fn clear(&mut self) -> usize {
        self.close_tail();
        self.whole.drain(..).map(|bytes| bytes.len()).sum()
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.whole.push_back(self.tail.split().freeze());
        }
    }
}

fn lock(scanner: &Mutex<Scanner>) -> std::sync::MutexGuard<'_, Scanner> {
    scanner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pieces of output that wait for the client: 1 MiB of the largest packets, beside the two windows
/// that may be on their way on either side (limits.md allows 4 MiB).
const QUEUE: usize = 32;
/// Signals on their way to the target.
const SIGNALS: usize = 16;
/// What a client that has left sent before may wait so long for the target to take some of it.
const LAST_INPUT: Duration = Duration::from_secs(5);
/// Packets below this are put together.
const SMALL: usize = 4 * 1024;
/// Up to this.
const PACKET: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_packets_are_put_together_in_order() {
        let mut queue = Queue::default();
        for n in 0..10_u8 {
            queue.push(Bytes::from(vec![n; 10]));
        }
        let merged = queue.next().unwrap_or_default();
        assert_eq!(merged.len(), 100);
        assert!(merged.is_sorted());
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn large_packets_are_left_alone() {
        let mut queue = Queue::default();
        queue.push(Bytes::from(vec![1; PACKET]));
        queue.push(Bytes::from(vec![2; 3]));
        assert_eq!(queue.next().map(|bytes| bytes.len()), Some(PACKET));
        assert_eq!(queue.clear(), 3);
    }
}
