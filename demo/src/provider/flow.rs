//! The device flow's state, from the first request to the issued token (RFC 8628).
//!
//! Pure: requests and the time go in, answers come out; it owns no clock, socket or key. Codes are
//! handed in by the caller, which has the randomness.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::people::Person;

/// The open sign-ins of all devices.
#[derive(Debug, Default)]
pub struct Flows {
    open: HashMap<String, Flow>,
}

/// What a device asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The secret that the device polls with.
    pub device_code: String,
    /// The code that a person types, eight letters without a dash.
    pub user_code: String,
    /// The scopes, separated by spaces.
    pub scope: String,
    /// The nonce for the ID token, where the device sent one.
    pub nonce: Option<String>,
    /// The S256 code challenge (RFC 7636), where the device sent one.
    pub challenge: Option<String>,
}

/// The answer to one poll of a device (RFC 8628, section 3.5).
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nobody has decided yet.
    Pending,
    /// Polled before the interval was over.
    SlowDown,
    /// A person said no.
    Denied,
    /// The code's life is over.
    Expired,
    /// No such code, or its tokens were issued already, or the verifier is wrong.
    Unknown,
    /// A person said yes: issue tokens, once.
    Issue(Request, Person),
}

/// What a person sees who typed a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The code waits for a decision.
    Waiting,
    /// Somebody decided already.
    Decided,
    /// No such code, or it is too old.
    Unknown,
}

#[derive(Debug)]
struct Flow {
    request: Request,
    expires: Instant,
    polled: Option<Instant>,
    decision: Decision,
}

#[derive(Clone, Debug)]
enum Decision {
    Open,
    Confirmed(Person),
    Denied,
}

impl Flows {
    /// The life of a code.
    pub const LIFE: Duration = Duration::from_secs(300);
    /// The time between two polls. The demo's own; RFC 8628 says 5 s where nothing is said.
    pub const INTERVAL: Duration = Duration::from_secs(1);
    /// How many sign-ins may be open.
    pub const MOST: usize = 256;

    /// Opens a sign-in. `false` when too many are open.
    #[must_use]
    pub fn begin(&mut self, request: Request, now: Instant) -> bool {
        // An old one is kept for another life, so that its device hears `expired_token`.
        self.open.retain(|_, flow| now < flow.expires + Self::LIFE);
        if self.open.len() >= Self::MOST {
            return false;
        }
        let flow = Flow {
            expires: now + Self::LIFE,
            polled: None,
            decision: Decision::Open,
            request: request.clone(),
        };
        self.open.insert(request.device_code, flow);
        true
    }

    /// A device asks for its tokens. `challenge` is the S256 challenge of the verifier it sent.
    pub fn poll(&mut self, device_code: &str, challenge: Option<&str>, now: Instant) -> Answer {
        let Some(flow) = self.open.get_mut(device_code) else {
            return Answer::Unknown;
        };
        if flow.request.challenge.as_deref() != challenge {
            return Answer::Unknown;
        }
        if now >= flow.expires {
            return Answer::Expired;
        }
        // A tenth of the interval is left to timers and the network.
        let early = flow
            .polled
            .is_some_and(|last| now < last + Self::INTERVAL * 9 / 10);
        flow.polled = Some(now);
        match flow.decision.clone() {
            Decision::Denied => Answer::Denied,
            Decision::Open | Decision::Confirmed(_) if early => Answer::SlowDown,
            Decision::Open => Answer::Pending,
            Decision::Confirmed(person) => match self.open.remove(device_code) {
                Some(flow) => Answer::Issue(flow.request, person),
                None => Answer::Unknown,
            },
        }
    }

    /// A person typed a code.
    #[must_use]
    pub fn typed(&self, user_code: &str, now: Instant) -> Typed {
        match self.open.values().find(|flow| flow.is(user_code, now)) {
            Some(Flow {
                decision: Decision::Open,
                ..
            }) => Typed::Waiting,
            Some(_) => Typed::Decided,
            None => Typed::Unknown,
        }
    }

    /// A person decides: `Some` confirms as that person, `None` denies. The first decision counts.
    pub fn decide(&mut self, user_code: &str, person: Option<Person>, now: Instant) -> Typed {
        let Some(flow) = self.open.values_mut().find(|flow| flow.is(user_code, now)) else {
            return Typed::Unknown;
        };
        match flow.decision {
            Decision::Open => {
                flow.decision = person.map_or(Decision::Denied, Decision::Confirmed);
                Typed::Waiting
            }
            Decision::Confirmed(_) | Decision::Denied => Typed::Decided,
        }
    }
}

impl Flow {
    fn is(&self, user_code: &str, now: Instant) -> bool {
        self.request.user_code == user_code && now < self.expires
    }
}

/// The letters of user codes: no vowels, so that no words appear (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// A user code of eight letters, evenly chosen where the bytes are random.
#[must_use]
pub fn user_code(random: [u8; 32]) -> String {
    let mut code: String = random
        .iter()
        // 240 is the greatest multiple of 20 that a byte can reach.
        .filter(|byte| **byte < 240)
        .filter_map(|byte| LETTERS.get(usize::from(byte % 20)))
        .map(|letter| char::from(*letter))
        .take(8)
        .collect();
    // Never so with random bytes: 25 of 32 would have to be over 239.
    while code.len() < 8 {
        code.push('X');
    }
    code
}

/// The code as it is shown: two groups of four.
#[must_use]
pub fn shown(user_code: &str) -> String {
    match user_code.split_at_checked(4) {
        Some((left, right)) => format!("{left}-{right}"),
        None => user_code.to_owned(),
    }
}

/// The code that a person meant: any case, with or without dash and blanks.
#[must_use]
pub fn meant(typed: &str) -> String {
    typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(16)
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test")]
    use super::super::people::PEOPLE;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn open(flows: &mut Flows, code: &str, now: Instant) {
        let request = Request {
            device_code: format!("device-{code}"),
            user_code: code.to_owned(),
            scope: "openid".to_owned(),
            nonce: None,
            challenge: None,
        };
        assert!(flows.begin(request, now));
    }

    #[test]
    fn confirmed_once_and_issued_once() {
        let now = Instant::now();
        let mut flows = Flows::default();
        open(&mut flows, "BCDFGHJK", now);
        assert!(matches!(
            flows.poll("device-BCDFGHJK", None, now),
            Answer::Pending
        ));
        assert!(matches!(
            flows.poll("device-BCDFGHJK", None, now),
            Answer::SlowDown
        ));
        assert_eq!(flows.typed("BCDFGHJK", now), Typed::Waiting);
        let ana = PEOPLE.first().unwrap().clone();
        assert_eq!(flows.decide("BCDFGHJK", Some(ana), now), Typed::Waiting);
        assert_eq!(flows.decide("BCDFGHJK", None, now), Typed::Decided);
        let later = now + SECOND;
        match flows.poll("device-BCDFGHJK", None, later) {
            Answer::Issue(request, person) => {
                assert_eq!(request.user_code, "BCDFGHJK");
                assert_eq!(person.name, "ana");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            flows.poll("device-BCDFGHJK", None, later),
            Answer::Unknown
        ));
        assert_eq!(flows.typed("BCDFGHJK", later), Typed::Unknown);
    }

    #[test]
    fn denied_and_expired() {
        let now = Instant::now();
        let mut flows = Flows::default();
        open(&mut flows, "A", now);
        open(&mut flows, "B", now);
        assert_eq!(flows.decide("A", None, now), Typed::Waiting);
        assert!(matches!(flows.poll("device-A", None, now), Answer::Denied));
        let end = now + Flows::LIFE;
        assert!(matches!(
            flows.poll("device-B", None, end - SECOND),
            Answer::Pending
        ));
        assert!(matches!(flows.poll("device-B", None, end), Answer::Expired));
        assert_eq!(flows.decide("B", None, end), Typed::Unknown);
        // After another life nobody knows it any more.
        open(&mut flows, "C", end + Flows::LIFE);
        assert!(matches!(
            flows.poll("device-B", None, end + Flows::LIFE),
            Answer::Unknown
        ));
    }

    #[test]
    fn a_challenge_needs_its_verifier() {
        let now = Instant::now();
        let mut flows = Flows::default();
        let request = Request {
            device_code: "d".to_owned(),
            user_code: "U".to_owned(),
            scope: String::new(),
            nonce: None,
            challenge: Some("right".to_owned()),
        };
        assert!(flows.begin(request, now));
        assert!(matches!(flows.poll("d", None, now), Answer::Unknown));
        assert!(matches!(
            flows.poll("d", Some("wrong"), now),
            Answer::Unknown
        ));
        assert!(matches!(
            flows.poll("d", Some("right"), now),
            Answer::Pending
        ));
    }

    #[test]
    fn the_number_of_open_sign_ins_has_a_bound() {
        let now = Instant::now();
        let mut flows = Flows::default();
        for index in 0..Flows::MOST {
            open(&mut flows, &index.to_string(), now);
        }
        let request = Request {
            device_code: "d".to_owned(),
            user_code: "U".to_owned(),
            scope: String::new(),
            nonce: None,
            challenge: None,
        };
        assert!(!flows.begin(request.clone(), now));
        assert!(flows.begin(request, now + Flows::LIFE * 2));
    }

    #[test]
    fn codes_are_letters_and_are_read_as_people_type_them() {
        let mut random = [0_u8; 32];
        for (byte, value) in random.iter_mut().zip(0_u8..) {
            *byte = value.wrapping_mul(47);
        }
        let code = user_code(random);
        assert_eq!(code.len(), 8);
        assert!(code.bytes().all(|byte| LETTERS.contains(&byte)));
        assert_eq!(meant(&shown(&code)), code);
        assert_eq!(meant(&shown(&code).to_lowercase().replace('-', " ")), code);
        assert_eq!(user_code([255; 32]), "XXXXXXXX");
    }
}
