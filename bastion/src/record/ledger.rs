//! Where a session's output is: in a part of its recording, or, between two parts, in none.
//!
//! Positions are bytes of the session's output in the order in which they are handed over. Pure: who
//! records, and the time, come from outside.

use jiff::Timestamp;

use super::Gap;

/// The account of one session.
#[derive(Clone, Debug)]
pub(super) struct Ledger<P> {
    /// Bytes handed over.
    position: u64,
    now: Now<P>,
}

/// Where the next byte goes.
#[derive(Clone, Debug)]
enum Now<P> {
    /// Into this part, which begins at `base`.
    Part { base: u64, part: P },
    /// Nowhere, since then; every byte from `from` on may be in no recording.
    Gap {
        from: u64,
        since: Timestamp,
        reason: String,
    },
}

impl<P: Clone> Ledger<P> {
    /// A session that begins with this part.
    pub(super) fn new(part: P) -> Self {
        Self {
            position: 0,
            now: Now::Part { base: 0, part },
        }
    }

    /// Bytes handed over.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes were handed over.
    pub(super) fn pass(&mut self, bytes: u64) {
        self.position += bytes;
    }

    /// The part that records now, and the position at which it began; none in a gap.
    pub(super) fn part(&self) -> Option<(u64, &P)> {
        match &self.now {
            Now::Part { base, part } => Some((*base, part)),
            Now::Gap { .. } => None,
        }
    }

    /// The part that records now has failed, having acknowledged so many of its bytes.
    pub(super) fn lose(&mut self, acknowledged: u64, since: Timestamp, reason: String) {
        if let Now::Part { base, .. } = self.now {
            self.now = Now::Gap {
                from: self.position.min(base.saturating_add(acknowledged)),
                since,
                reason,
            };
        }
    }

    /// The gap so far, if this is one.
    pub(super) fn gap(&self, until: Timestamp) -> Option<Gap> {
        match &self.now {
            Now::Part { .. } => None,
            Now::Gap {
                from,
                since,
                reason,
            } => Some(Gap {
                since: *since,
                until,
                bytes: self.position - from,
                reason: reason.clone(),
            }),
        }
    }

    /// This part records from here on. The gap that ends with it, if this was one.
    pub(super) fn resume(&mut self, part: P, until: Timestamp) -> Option<Gap> {
        let gap = self.gap(until);
        let base = self.position;
        self.now = Now::Part { base, part };
        gap
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a session.
    #[derive(Clone, Debug)]
    enum Step {
        /// Bytes are handed over.
        Pass(u16),
        /// The recorder acknowledges some of what it has and has not acknowledged, in 256ths.
        Acknowledge(u8),
        /// What is allowed to goes to the client.
        Deliver,
        /// The recorder fails, having written some of what it has not acknowledged.
        Fail(u8),
        /// Another one is there.
        Resume,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => any::<u16>().prop_map(Step::Pass),
            3 => any::<u8>().prop_map(Step::Acknowledge),
            3 => Just(Step::Deliver),
            1 => any::<u8>().prop_map(Step::Fail),
            1 => Just(Step::Resume),
        ];
        prop::collection::vec(step, 0..60)
    }

    fn share(of: u64, part: u8) -> u64 {
        of * u64::from(part) / 255
    }

    proptest! {
        /// Whatever the client has is in a part, or within what a gap owns up to; and no gap owns up
        /// to more than what was handed over and not acknowledged.
        #[test]
        fn every_byte_is_recorded_or_owned_up_to(steps in steps()) {
            let at = Timestamp::UNIX_EPOCH;
            let mut ledger = Ledger::new(());
            // The model: byte by byte ranges that recorders really have, and what the client has.
            let (mut recorded, mut delivered, mut owned) = (Vec::new(), 0_u64, Vec::new());
            let mut acknowledged = 0_u64;
            let mut gap_from = None;
            for step in steps {
                match step {
                    Step::Pass(bytes) => ledger.pass(u64::from(bytes)),
                    Step::Acknowledge(some) => if let Some((base, ())) = ledger.part() {
                        let waits = ledger.position() - base - acknowledged;
                        acknowledged += share(waits, some);
                    },
                    Step::Deliver => {
                        delivered = match ledger.part() {
                            Some((base, ())) => delivered.max(base + acknowledged),
                            None => ledger.position(),
                        };
                    }
                    Step::Fail(some) => if let Some((base, ())) = ledger.part() {
                        let waits = ledger.position() - base - acknowledged;
                        recorded.push((base, base + acknowledged + share(waits, some)));
                        gap_from = Some(base + acknowledged);
                        ledger.lose(acknowledged, at, String::new());
                        prop_assert!(ledger.part().is_none());
                        acknowledged = 0;
                    },
                    Step::Resume => if ledger.part().is_none() {
                        let gap = ledger.resume((), at);
                        let from = gap_from.take();
                        prop_assert_eq!(gap.map(|gap| gap.bytes), from.map(|from| ledger.position() - from));
                        owned.extend(from.map(|from| (from, ledger.position())));
                        prop_assert_eq!(ledger.gap(at), None);
                    },
                }
            }
            match ledger.part() {
                Some((base, ())) => recorded.push((base, base + acknowledged)),
                None => {
                    let from = gap_from.unwrap_or(u64::MAX);
                    prop_assert_eq!(ledger.gap(at).map(|gap| gap.bytes), Some(ledger.position() - from));
                    owned.push((from, ledger.position()));
                }
            }
            // From one end to the next, nothing that the client has is left out.
            let mut ranges: Vec<_> = recorded.into_iter().chain(owned).collect();
            ranges.sort_unstable();
            let mut reached = 0;
            for (from, to) in ranges {
                prop_assert!(from <= reached, "{from} after {reached}");
                reached = reached.max(to);
            }
            prop_assert!(delivered <= reached, "{delivered} of {reached}");
        }
    }
}
