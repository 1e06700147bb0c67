//! A model of one connection: the client's channels, a link with a delay and a bandwidth, the SSH
//! library's window bookkeeping, the socket's holds and naps, and targets that read as they like.
//! Time is a number here. The laws below hold for whatever the model is given.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a model in a test"
)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const WINDOW: u32 = 2 * 1024 * 1024;
const PACKET: u32 = 32 * 1024;
/// Microseconds.
type Micros = u64;

/// What one channel's client sends, and how its target takes it.
#[derive(Clone, Debug)]
struct Plan {
    /// Bytes to send.
    bytes: u64,
    /// The target takes nothing before this.
    reads_from: Micros,
    /// Bytes that the target takes in a millisecond from then on.
    speed: u64,
    /// The client sends so much at once and then pauses; `None` sends all it may.
    bursts: Option<(u64, Micros)>,
}

#[derive(Clone, Debug)]
struct Setting {
    plans: Vec<Plan>,
    /// One way, in microseconds.
    delay: Micros,
    /// Bytes of other output in a millisecond, such as a sibling's download.
    output: usize,
}

/// How it went, a line for each channel.
#[derive(Debug)]
struct Outcome {
    /// When the target had the last byte.
    done: Vec<Option<Micros>>,
    highest: Vec<usize>,
    highest_total: usize,
}

struct Client {
    plan: Plan,
    window: u32,
    unsent: u64,
    burst: u64,
    paused_until: Micros,
}

/// The library's part (`server/encrypted.rs`, `Encrypted::adjust_window_size`).
struct Library {
    target: u32,
    left: Vec<u32>,
}

struct Model {
    now: Micros,
    start: Instant,
    delay: Micros,
    flow: Flow<usize>,
    pace: Arc<Pace>,
    library: Library,
    clients: Vec<Client>,
    backlogs: Vec<Backlog>,
    up: VecDeque<(Micros, usize, u32)>,
    link_busy_until: Micros,
    down: VecDeque<(Micros, usize, u32)>,
    /// The grants among what is held.
    held: Vec<(usize, u32)>,
    held_bytes: usize,
    held_since: Option<Micros>,
    napping_until: Micros,
    next: usize,
    output: usize,
    outcome: Outcome,
}

impl Model {
    fn new(setting: &Setting) -> Self {
        let pace = Arc::new(Pace::default());
        let mut flow = Flow::new(Bounds::of(&Limits::default()), pace.clone());
        let count = setting.plans.len();
        Self {
            now: 0,
            start: Instant::now(),
            delay: setting.delay,
            backlogs: (0..count).map(|id| flow.opened(id)).collect(),
            flow,
            pace,
            library: Library {
                target: WINDOW,
                left: vec![WINDOW; count],
            },
            clients: setting
                .plans
                .iter()
                .map(|plan| Client {
                    plan: plan.clone(),
                    window: WINDOW,
                    unsent: plan.bytes,
                    burst: 0,
                    paused_until: 0,
                })
                .collect(),
            up: VecDeque::new(),
            link_busy_until: 0,
            down: VecDeque::new(),
            held: Vec::new(),
            held_bytes: 0,
            held_since: None,
            napping_until: 0,
            next: 0,
            output: setting.output,
            outcome: Outcome {
                done: vec![None; count],
                highest: vec![0; count],
                highest_total: 0,
            },
        }
    }

    /// Until all have arrived.
    fn run(setting: &Setting, until: Micros) -> Outcome {
        Self::run_while(setting, until, |outcome| outcome.done.contains(&None))
    }

    /// Until the first channel's last byte has arrived.
    fn run_first(setting: &Setting, until: Micros) -> Outcome {
        Self::run_while(setting, until, |outcome| outcome.done[0].is_none())
    }

    fn run_while(setting: &Setting, until: Micros, on: impl Fn(&Outcome) -> bool) -> Outcome {
        let mut model = Self::new(setting);
        while model.now < until && on(&model.outcome) {
            model.step();
            model.now += STEP;
        }
        model.outcome
    }

    fn step(&mut self) {
        while self.down.front().is_some_and(|(at, ..)| *at <= self.now) {
            if let Some((_, id, grant)) = self.down.pop_front() {
                self.clients[id].window += grant;
            }
        }
        self.send();
        if self
            .held_since
            .is_some_and(|at| self.now >= at + micros(HOLD_TIME))
        {
            self.pace.release();
        }
        self.drive(None);
        self.read();
        if self.now.is_multiple_of(1000) {
            self.drain();
            if self.output > 0 {
                self.drive(Some(self.output));
            }
        }
    }

    /// The clients take turns while the link has room.
    fn send(&mut self) {
        let count = self.clients.len();
        let mut idle = 0;
        while idle < count && self.link_busy_until < self.now + 1000 {
            let id = self.next;
            self.next = (self.next + 1) % count;
            let client = &mut self.clients[id];
            if client.burst == 0 && self.now >= client.paused_until {
                client.burst = client.plan.bursts.map_or(u64::MAX, |(size, _)| size);
            }
            let n = client
                .burst
                .min(client.unsent)
                .min(client.window.min(PACKET).into());
            if n == 0 {
                idle += 1;
                continue;
            }
            idle = 0;
            client.window -= n as u32;
            client.unsent -= n;
            if client.burst != u64::MAX {
                client.burst -= n;
            }
            if let (0, Some((_, pause))) = (client.burst, client.plan.bursts) {
                client.paused_until = self.now + pause;
            }
            self.link_busy_until = self.link_busy_until.max(self.now) + (n + 60) / BANDWIDTH;
            self.up
                .push_back((self.link_busy_until + self.delay, id, n as u32));
        }
    }

    /// One read of the socket, and what the library does with it.
    fn read(&mut self) {
        if self.now < self.napping_until {
            return;
        }
        let mut size = 0;
        while let Some((at, id, n)) = self.up.front().copied()
            && at <= self.now
            && size < 64 * 1024
        {
            self.up.pop_front();
            size += n as usize + 30;
            self.packet(id, n);
        }
        let nap = self.pace.nap().filter(|_| size > 0 && size < SMALL_READ);
        self.napping_until = self.now + nap.map_or(0, micros);
    }

    fn packet(&mut self, id: usize, n: u32) {
        let now = self.start + Duration::from_micros(self.now);
        let target = self.library.target;
        let left = &mut self.library.left[id];
        if n <= *left {
            *left -= n;
        }
        if *left < target / 2 {
            let grant = target - *left;
            *left = target;
            let answer = self.flow.target(id, target, now);
            assert!(answer >= 2, "1 would stop a channel for good");
            self.library.target = answer;
            self.held.push((id, grant));
        }
        let left = self.library.left[id];
        self.flow
            .arrived(id, n as usize, left, now)
            .expect("an honest client");
        self.drive(Some(0));
        let bytes = self.backlogs[id].bytes();
        self.outcome.highest[id] = self.outcome.highest[id].max(bytes);
        let total = self.backlogs.iter().map(Backlog::bytes).sum();
        self.outcome.highest_total = self.outcome.highest_total.max(total);
    }

    /// Output goes to the client, or is held.
    fn drive(&mut self, written: Option<usize>) {
        self.held_bytes += written.unwrap_or(0);
        if self.held_bytes > HOLD_BYTES {
            self.pace.release();
        }
        if self.pace.is_holding() {
            self.held_since.get_or_insert(self.now);
            return;
        }
        self.held_since = None;
        self.held_bytes = 0;
        for (id, grant) in self.held.drain(..) {
            self.down.push_back((self.now + self.delay, id, grant));
        }
    }

    fn drain(&mut self) {
        for (id, client) in self.clients.iter().enumerate() {
            let speed = if self.now >= client.plan.reads_from {
                client.plan.speed
            } else {
                0
            };
            let waiting = self.backlogs[id].bytes();
            self.backlogs[id].taken(waiting.min(speed as usize));
            let done = client.unsent == 0
                && self.backlogs[id].bytes() == 0
                && !self.up.iter().any(|(_, of, _)| *of == id);
            if done && self.outcome.done[id].is_none() {
                self.outcome.done[id] = Some(self.now);
            }
        }
    }
}

const STEP: Micros = 50;
/// Bytes in a microsecond.
const BANDWIDTH: u64 = 500;
const SECOND: Micros = 1_000_000;
const NEVER: Micros = u64::MAX;
const MIB: u64 = 1024 * 1024;

fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

fn greedy(bytes: u64) -> Plan {
    Plan {
        bytes,
        reads_from: 0,
        speed: 300_000,
        bursts: None,
    }
}

fn stalled(reads_from: Micros) -> Plan {
    Plan {
        reads_from,
        ..greedy(1000 * MIB)
    }
}

/// A channel whose target reads, sooner or later, faster or slower.
fn readers() -> impl Strategy<Value = Plan> {
    let bursts = prop_oneof![
        2 => Just(None),
        1 => (1..200_000_u64, 0..200_000_u64).prop_map(Some),
        // Somebody types.
        1 => (1..4_u64, 20_000..300_000_u64).prop_map(Some),
    ];
    (
        prop_oneof![1..2000_u64, 1..30 * MIB],
        0..3 * SECOND,
        2_000..300_000_u64,
        bursts,
    )
        .prop_map(|(bytes, reads_from, speed, bursts)| Plan {
            // What is sent in small bursts ends as well.
            bytes: bursts.map_or(bytes, |(size, _)| bytes.min(20 * size)),
            reads_from,
            speed,
            bursts,
        })
}

fn settings(plans: impl Strategy<Value = Vec<Plan>>) -> impl Strategy<Value = Setting> {
    let delay = prop_oneof![10..500_u64, 500..60_000_u64];
    let output = prop_oneof![Just(0), 0..500_000_usize];
    (plans, delay, output).prop_map(|(plans, delay, output)| Setting {
        plans,
        delay,
        output,
    })
}

fn bounded(outcome: &Outcome) -> Result<(), TestCaseError> {
    let window = WINDOW as usize;
    // A channel at the line may have its whole window left, and half used up takes one more grant
    // that was meant for another; the packet that crosses the line is counted after the answer.
    let over = window / 2 + PACKET as usize;
    let count = outcome.highest.len();
    for highest in &outcome.highest {
        let allowed = Limits::default().channel_queue_max + window + over;
        prop_assert!(*highest <= allowed, "{outcome:?}");
    }
    let allowed = Limits::default().connection_queue_max + count * window + over;
    prop_assert!(outcome.highest_total <= allowed, "{outcome:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever starts late or is slow, every byte arrives in the end.
    #[test]
    fn no_channel_is_stuck_for_good(
        setting in settings(prop::collection::vec(readers(), 1..=6)),
    ) {
        let outcome = Model::run(&setting, 120 * SECOND);
        prop_assert!(!outcome.done.contains(&None), "{:?}", outcome);
        bounded(&outcome)?;
    }

    /// A channel that is read goes on beside others that never are, and beside one that is idle
    /// for most of the time.
    #[test]
    fn a_free_channel_keeps_its_speed(
        setting in settings((1..=4_usize).prop_map(|count| {
            let mut plans = vec![greedy(30 * MIB)];
            plans.extend(std::iter::repeat_n(stalled(NEVER), count));
            plans
        })),
        typing in prop::option::of((1..4_u64, 50_000..300_000_u64)),
    ) {
        let mut alone = setting.clone();
        alone.plans.truncate(1);
        let mut beside = setting;
        let typed = typing.map(|bursts| Plan { bursts: Some(bursts), ..greedy(MIB) });
        beside.plans.extend(typed);
        let took = |setting: &Setting| Model::run_first(setting, 60 * SECOND).done[0];
        let (alone, beside) = (took(&alone), took(&beside));
        let allowed = alone.map(|took| took * 2 + SECOND);
        prop_assert!(beside.is_some() && beside <= allowed, "{:?} and {:?}", alone, beside);
    }

    /// A hostile client: any order, any sizes within its windows, empty packets as well.
    #[test]
    fn no_order_of_packets_queues_without_bound(
        packets in prop::collection::vec((0..4_usize, 0..=PACKET, 0..20_u64), 1..4000),
        taken in prop::collection::vec(0..4_usize, 0..20),
    ) {
        let plans = vec![greedy(0); 4];
        let mut model = Model::new(&Setting { plans, delay: 0, output: 0 });
        for (at, (id, n, pause)) in packets.iter().cycle().take(20_000).enumerate() {
            model.now += pause * pause * pause * 100;
            model.packet(*id, (*n).min(model.library.left[*id]));
            if at % 1000 == 999 {
                for id in &taken {
                    let waiting = model.backlogs[*id].bytes();
                    model.backlogs[*id].taken(waiting / 2);
                }
            }
            if model.held_since.is_some_and(|at| model.now >= at + micros(HOLD_TIME)) {
                model.pace.release();
            }
        }
        bounded(&model.outcome)?;
    }
}
