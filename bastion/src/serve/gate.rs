//! How many connections may be on their way to a sign-in, in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections that have not signed in. A clone is the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    total: usize,
    per_source: HashMap<IpAddr, usize>,
    max_total: usize,
    max_per_source: usize,
}

impl Gate {
    /// A gate for `total` connections, and `per_source` from one address.
    pub(crate) fn new(total: usize, per_source: usize) -> Self {
        Self(Arc::new(Mutex::new(Counts {
            total: 0,
            per_source: HashMap::new(),
            max_total: total,
            max_per_source: per_source,
        })))
    }

    /// How many are on their way.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// A place for one more connection, which is free again when the pass is dropped.
    pub(crate) fn admit(&self, source: IpAddr) -> Option<Pass> {
        let source = network(source);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = counts.per_source.get(&source).copied().unwrap_or(0);
        if counts.total >= counts.max_total || theirs >= counts.max_per_source {
            return None;
        }
        counts.total += 1;
        counts.per_source.insert(source, theirs + 1);
        Some(Pass {
            gate: self.clone(),
            source,
        })
    }
}

/// A place in the gate; dropped at sign-in or when the connection ends.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Gate,
    source: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(theirs) = counts.per_source.get_mut(&self.source) {
            *theirs -= 1;
            if *theirs == 0 {
                counts.per_source.remove(&self.source);
            }
        }
    }
}

/// What counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, n])
    }

    #[test]
    fn the_newest_is_refused_at_the_edge() {
        let gate = Gate::new(3, 2);
        let first = gate.admit(source(1));
        let second = gate.admit(source(1));
        assert!(first.is_some() && second.is_some());
        assert!(
            gate.admit(source(1)).is_none(),
            "over the limit of one source"
        );
        let third = gate.admit(source(2));
        assert!(third.is_some());
        assert!(gate.admit(source(3)).is_none(), "over the limit in total");
        drop(first);
        assert!(gate.admit(source(1)).is_some());
    }

    #[test]
    fn nothing_is_kept_of_sources_that_left() {
        let gate = Gate::new(10, 10);
        for n in 0..=255 {
            drop(gate.admit(source(n)));
        }
        let counts = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((counts.total, counts.per_source.len()), (0, 0));
    }

    #[test]
    fn one_subscriber_has_one_ipv6_network() {
        let gate = Gate::new(10, 1);
        let first = gate.admit(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        assert!(first.is_some());
        assert!(
            gate.admit(IpAddr::from([0x2001, 0xdb8, 0, 0, 9, 9, 9, 9]))
                .is_none()
        );
        assert!(
            gate.admit(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]))
                .is_some()
        );
    }
}
