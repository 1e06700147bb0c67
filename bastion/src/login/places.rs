//! How many sign-ins may be pending: so many a key, a few a source, some in all; and how many codes a
//! source may ask for in a minute.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Crowd, KeyId, Reason};
use crate::config::Limits;

/// The places. A clone shares them.
#[derive(Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    total: usize,
    per_source: usize,
    per_key: usize,
    per_minute: usize,
}

#[derive(Default)]
struct Taken {
    total: usize,
    /// Sources that asked for a code in the running minute of theirs: its start, and how often.
    minutes: HashMap<IpAddr, (Instant, usize)>,
    keys: HashMap<KeyId, usize>,
    sources: HashMap<IpAddr, usize>,
}

/// A place that was taken; dropping it gives it back.
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    key: Option<KeyId>,
    source: IpAddr,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            taken: Arc::default(),
            total: limits.device_flows,
            per_source: limits.device_flows_per_source,
            per_key: limits.device_flows_per_key,
            per_minute: limits.device_codes_per_minute,
        }
    }

    /// Takes a place, or says which limit is met. The newest is refused: whoever waits goes on.
    pub(super) fn take(
        &self,
        key: Option<&KeyId>,
        source: IpAddr,
        now: Instant,
    ) -> Result<Place, Reason> {
        let source = network(source);
        let mut taken = lock(&self.taken);
        let of_key = key.and_then(|key| taken.keys.get(key)).copied();
        if of_key.unwrap_or(0) >= self.per_key {
            return Err(Reason::TooMany(Crowd::Key));
        }
        if taken.sources.get(&source).copied().unwrap_or(0) >= self.per_source {
            return Err(Reason::TooMany(Crowd::Source));
        }
        if taken.total >= self.total {
            return Err(Reason::TooMany(Crowd::Total));
        }
        if !taken.admit(source, self.per_minute, now) {
            return Err(Reason::TooMany(Crowd::Minute));
        }
        taken.total += 1;
        *taken.sources.entry(source).or_default() += 1;
        if let Some(key) = key {
            *taken.keys.entry(key.clone()).or_default() += 1;
        }
        Ok(Place {
            taken: Arc::clone(&self.taken),
            key: key.cloned(),
            source,
        })
    }
}

impl Taken {
    /// Counts a code that is asked for, unless it is one too many.
    fn admit(&mut self, source: IpAddr, per_minute: usize, now: Instant) -> bool {
        if self.minutes.len() >= SOURCES && !self.minutes.contains_key(&source) {
            self.minutes
                .retain(|_, (began, _)| now.duration_since(*began) < MINUTE);
            if self.minutes.len() >= SOURCES {
                return false;
            }
        }
        let (began, count) = self.minutes.entry(source).or_insert((now, 0));
        if now.duration_since(*began) >= MINUTE {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= per_minute
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total = taken.total.saturating_sub(1);
        if let Some(key) = &self.key
            && let Some(count) = taken.keys.get_mut(key)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.keys.remove(key);
            }
        }
        if let Some(count) = taken.sources.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.sources.remove(&self.source);
            }
        }
    }
}

/// What counts as one source: an IPv4 address, or the /64 network that one IPv6 customer has.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        other => other,
    }
}

/// The counters are whole at every step, so a panic elsewhere does not spoil them.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

const MINUTE: Duration = Duration::from_secs(60);
/// Sources whose codes are counted; while so many ask within one minute, a new one waits.
const SOURCES: usize = 10_000;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn key(name: &str) -> KeyId {
        KeyId::stored(name.to_owned())
    }

    fn places(total: usize, per_source: usize, per_key: usize, per_minute: usize) -> Places {
        Places::new(&Limits {
            device_flows: total,
            device_flows_per_source: per_source,
            device_flows_per_key: per_key,
            device_codes_per_minute: per_minute,
            ..Limits::default()
        })
    }

    fn crowd(taken: Result<Place, Reason>) -> Option<Crowd> {
        match taken {
            Ok(_) => None,
            Err(Reason::TooMany(crowd)) => Some(crowd),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_limit_refuses_the_newest_and_a_drop_frees() {
        let places = places(3, 2, 1, 100);
        let now = Instant::now();
        let one = "192.0.2.1".parse().unwrap();
        let two = "192.0.2.2".parse().unwrap();
        let first = places.take(Some(&key("a")), one, now).unwrap();
        assert_eq!(
            crowd(places.take(Some(&key("a")), two, now)),
            Some(Crowd::Key)
        );
        let _second = places.take(Some(&key("b")), one, now).unwrap();
        assert_eq!(crowd(places.take(None, one, now)), Some(Crowd::Source));
        let _third = places.take(None, two, now).unwrap();
        assert_eq!(crowd(places.take(None, two, now)), Some(Crowd::Total));
        drop(first);
        assert_eq!(crowd(places.take(Some(&key("a")), one, now)), None);
        assert_eq!(lock(&places.taken).sources.len(), 2);
    }

    #[test]
    fn a_key_has_as_many_as_is_set() {
        let places = places(10, 10, 2, 100);
        let (now, from) = (Instant::now(), "192.0.2.1".parse().unwrap());
        let take = || places.take(Some(&key("a")), from, now);
        let (first, _second) = (take().unwrap(), take().unwrap());
        assert_eq!(crowd(take()), Some(Crowd::Key));
        drop(first);
        assert_eq!(crowd(take()), None);
    }

    #[test]
    fn a_source_has_so_many_codes_a_minute() {
        let places = places(100, 100, 1, 2);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        // Giving the place back does not give the code back.
        for seconds in [0, 1] {
            assert_eq!(crowd(places.take(None, one, later(seconds))), None);
        }
        assert_eq!(
            crowd(places.take(None, one, later(59))),
            Some(Crowd::Minute)
        );
        assert_eq!(crowd(places.take(None, two, later(59))), None);
        assert_eq!(crowd(places.take(None, one, later(60))), None);
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        for (a, b, same) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "::2", false),
        ] {
            assert_eq!(
                network(a.parse().unwrap()) == network(b.parse().unwrap()),
                same,
                "{a} {b}"
            );
        }
    }
}
