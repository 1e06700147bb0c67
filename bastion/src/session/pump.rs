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
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;
use tracing::info;

use super::registry::Stop;
use super::{BROKEN, NOT_ALLOWED, REFUSED};
use crate::record::{Acknowledged, RecordError, Recording};
use crate::ssh::{
    ClientEnd, ClientReader, ClientWriter, Ended, FromClient, FromTarget, Gone, Signal, TargetEnd,
    TargetReader, TargetWriter,
};

/// Everything that one session's bytes pass through.
pub(super) struct Pump<'a> {
    pub(super) rules: Arc<Rules>,
    pub(super) scanner: Scanner,
    pub(super) recording: &'a mut Recording,
    pub(super) client: &'a mut ClientEnd,
    pub(super) target: TargetEnd,
    pub(super) pty: bool,
    pub(super) life: Duration,
    pub(super) stop: Stop,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) why: Why,
    /// How the command ended, where the target said so.
    pub(super) ended: Option<Ended>,
    pub(super) coverage: Coverage,
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
    /// A rule holds the output for a decision that nobody can give yet: nothing of it leaves.
    Held,
    /// A rule refuses the output.
    Refused,
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
    pub(crate) fn notice(&self) -> &'static str {
        match self {
            Self::TargetEnded => "",
            Self::TargetLost => "the connection to the target was lost",
            Self::ClientLeft => "the client left",
            Self::ClientStalled => "the client has not read for too long",
            Self::Held => {
                "a rule holds this output for an approval, which this version cannot ask for yet: the rest is withheld"
            }
            Self::Refused => "a rule refuses this output: the rest is withheld",
            Self::NotRecorded(error) => error.notice(),
            Self::LifeOver => "the session has reached its longest life; connect again",
            Self::Ended(line) => line,
            Self::ShuttingDown => "the bastion is shutting down; connect again later",
        }
    }

    /// The exit status that goes with it.
    pub(super) fn status(&self) -> u32 {
        match self {
            Self::NotRecorded(_) | Self::Held | Self::Refused => REFUSED,
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
            recording,
            client,
            mut target,
            pty,
            life,
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
            asked_size,
            signals,
            input: Input::default(),
        };
        let ending = stop.clone();
        let why = {
            let down = Download {
                rules: &rules,
                scanner: &scanner,
                recording,
                size,
                queue,
                client: &*writer,
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
                () = control(&target.writer, wanted_size, set_size, signalled) => None,
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
        drop(up);
        let why = why.unwrap_or(if ended.is_some() {
            Why::TargetEnded
        } else {
            Why::TargetLost
        });
        let coverage = scanner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .coverage();
        Carried {
            why,
            ended,
            coverage,
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
    Eof,
    /// The session is over, and why.
    End(Why),
}

/// From the target to the queue, through the scanner and the recorder.
struct Download<'a> {
    rules: &'a Rules,
    scanner: &'a Mutex<Scanner>,
    recording: &'a mut Recording,
    size: watch::Receiver<Option<(u16, u16)>>,
    queue: mpsc::Sender<Outgoing>,
    client: &'a ClientWriter,
}

impl Download<'_> {
    async fn run(
        mut self,
        target: &mut TargetReader,
        ended: &mut Option<Ended>,
    ) -> Result<(), Why> {
        let mut eof = false;
        let mut sized = true;
        loop {
            tokio::select! {
                event = target.next() => match event {
                    // After its end of file a target has nothing to say.
                    FromTarget::Output(stream, raw) if !eof => {
                        lock(self.scanner).feed(stream, raw);
                        self.forward().await?;
                    }
                    FromTarget::Output(..) => {}
                    FromTarget::Eof => {
                        eof = true;
                        self.end().await?;
                        // A client that has sent its own closes the channel at ours, and would
                        // miss the status: it gets both together.
                        if !self.client.has_sent_eof() {
                            self.push(Outgoing::Eof).await?;
                        }
                    }
                    FromTarget::Ended(how) => {
                        ended.get_or_insert(how);
                    }
                    FromTarget::Left => break,
                },
                changed = self.size.changed(), if sized => match changed {
                    Ok(()) => {
                        let size = *self.size.borrow_and_update();
                        if let Some((cols, rows)) = size {
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
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Why> {
        lock(self.scanner).end();
        self.forward().await
    }

    /// Performs what the scanner has decided.
    async fn forward(&mut self) -> Result<(), Why> {
        loop {
            let step = lock(self.scanner).next_step();
            match step {
                Some(Step::Pass { stream, bytes }) => {
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
                    .await?;
                }
                Some(Step::Hold { rule, field }) => {
                    let rule = self.rules.rule_name(rule);
                    info!(rule, field, "output held");
                    return self.withhold(Why::Held).await;
                }
                Some(Step::Refuse { rule, field }) => {
                    let rule = rule.and_then(|rule| self.rules.rule_name(rule));
                    info!(rule, field, "output refused");
                    return self.withhold(Why::Refused).await;
                }
                // Comes after `Hold` only, which has ended the session.
                Some(Step::Held { .. } | Step::Sealed { .. }) => return Err(Why::Held),
                None => return Ok(()),
            }
        }
    }

    /// Ends the session once what was let through before has reached the client.
    async fn withhold(&mut self, why: Why) -> Result<(), Why> {
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
                acknowledged
                    .reached(position)
                    .await
                    .map_err(Why::NotRecorded)?;
                client.send(stream, bytes).await.map_err(gone)?;
            }
            Outgoing::End(why) => return Err(why),
            Outgoing::Eof => {
                client.eof().await.map_err(gone)?;
                *eof_sent = true;
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
    asked_size: watch::Sender<Option<(u16, u16)>>,
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
                        if let Some(scanner) = self.scanner {
                            lock(scanner).typed(&bytes);
                        }
                        self.input.queue.push(bytes);
                    }
                    FromClient::Eof if self.input.eof == Eof::NotSeen => {
                        self.input.eof = Eof::Seen;
                    }
                    FromClient::Eof => {}
                    FromClient::Resize { cols, rows } => {
                        self.asked_size.send_replace(Some((cols, rows)));
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

/// Window changes, at most ten a second and only the latest, and signals: both overtake the data,
/// which may be waiting for the target's window.
async fn control(
    target: &TargetWriter,
    mut wanted: watch::Receiver<Option<(u16, u16)>>,
    set: watch::Sender<Option<(u16, u16)>>,
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
                next = Instant::now() + RESIZE_INTERVAL;
                let size = *wanted.borrow_and_update();
                match size {
                    Some((cols, rows)) => {
                        set.send_replace(Some((cols, rows)));
                        target.resize(cols, rows).await
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
/// At most ten window changes a second (limits.md).
const RESIZE_INTERVAL: Duration = Duration::from_millis(100);
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
