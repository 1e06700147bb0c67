//! The device flow (RFC 8628, section 3.3 to 3.5) as a state machine. It reads no clock and sends
//! nothing: the caller says what the provider answered and what time it is.
//!
//! ```text
//! Waiting ──wake_at──▶ woke ──▶ Due ──▶ answered ──▶ Waiting (pending, slow_down, unreachable)
//!                       │                        ├─▶ Verifying (issued)
//!                       └─▶ Refused (expired)    └─▶ Refused (denied, expired, refused)
//! ```
//!
//! Each state is consumed by what happens to it: after `Verifying` or `Refused` there is nothing
//! left that could poll.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::Reason;

/// Between two polls.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The provider's interval, with what `slow_down` has added.
    interval: Duration,
    /// Polls without an answer since the last answer.
    silent: u32,
    /// Why the last poll had no answer.
    cause: Option<String>,
    poll_at: Instant,
    expires: Instant,
}

/// A poll is due.
#[derive(Debug)]
pub(super) struct Due(Waiting);

/// What a wait ended with.
#[derive(Debug)]
pub(super) enum Woken {
    Poll(Due),
    Refused(Reason),
}

/// Where the flow stands after an answer.
#[derive(Debug)]
pub(super) enum Flow {
    Waiting(Waiting),
    Verifying(Tokens),
    Refused(Reason),
}

/// The provider's answer to one poll.
#[derive(Debug)]
pub(super) enum Answer {
    Issued(Tokens),
    Pending,
    SlowDown,
    Denied(String),
    Expired,
    Misconfigured(String),
    /// No answer, or none that can be understood: a closed connection, a 503, a proxy's page.
    Unreachable(String),
}

/// What was issued.
pub(super) struct Tokens {
    pub(super) id_token: SecretString,
    pub(super) access_token: SecretString,
    /// The life of the access token, where the provider says it.
    pub(super) access_life: Option<Duration>,
    pub(super) refresh_token: Option<SecretString>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Waiting {
    /// A code was issued at `now`. Where the provider names no interval, it is 5 s.
    pub(super) fn begin(interval: Option<Duration>, life: Duration, now: Instant) -> Self {
        let interval = interval
            .filter(|interval| !interval.is_zero())
            .unwrap_or(DEFAULT_INTERVAL)
            .clamp(MIN_INTERVAL, MAX_INTERVAL);
        Self {
            interval,
            silent: 0,
            cause: None,
            poll_at: now + interval,
            expires: now + life,
        }
    }

    pub(super) fn expires(&self) -> Instant {
        self.expires
    }

    /// When to call [`Waiting::woke`].
    pub(super) fn wake_at(&self) -> Instant {
        self.poll_at.min(self.expires)
    }

    /// The wait is over, or thought to be.
    pub(super) fn woke(self, now: Instant) -> Woken {
        if now < self.expires {
            return Woken::Poll(Due(self));
        }
        Woken::Refused(match self.cause {
            Some(cause) => Reason::Unreachable { cause },
            None => Reason::Expired,
        })
    }
}

impl Due {
    /// What the answer means (RFC 8628, section 3.5). Tokens count even when they come after the
    /// code's end: the user has said yes in time.
    pub(super) fn answered(self, answer: Answer, now: Instant) -> Flow {
        let Self(waiting) = self;
        match answer {
            Answer::Issued(tokens) => Flow::Verifying(tokens),
            Answer::Denied(said) => Flow::Refused(Reason::Denied { said }),
            Answer::Expired => Flow::Refused(Reason::Expired),
            Answer::Misconfigured(what) => Flow::Refused(Reason::Misconfigured { what }),
            Answer::Pending => Flow::Waiting(waiting.heard(Duration::ZERO, now)),
            Answer::SlowDown => Flow::Waiting(waiting.heard(SLOW_DOWN, now)),
            Answer::Unreachable(cause) => Flow::Waiting(waiting.unheard(cause, now)),
        }
    }
}

impl Waiting {
    fn heard(self, slower: Duration, now: Instant) -> Self {
        let interval = self.interval + slower;
        Self {
            interval,
            silent: 0,
            cause: None,
            poll_at: now + interval,
            expires: self.expires,
        }
    }

    /// Doubles the pause at each silence, up to [`MAX_BACK_OFF`]: a provider that restarts is found
    /// again, and not trampled on.
    fn unheard(self, cause: String, now: Instant) -> Self {
        let silent = self.silent.saturating_add(1);
        let pause = self
            .interval
            .saturating_mul(1 << silent.min(8))
            .min(MAX_BACK_OFF.max(self.interval));
        Self {
            interval: self.interval,
            silent,
            cause: Some(cause),
            poll_at: now + pause,
            expires: self.expires,
        }
    }
}

/// RFC 8628, section 3.2: where the provider names none.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Above this the user would wait for us more than for the provider.
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// RFC 8628, section 3.5.
const SLOW_DOWN: Duration = Duration::from_secs(5);
const MAX_BACK_OFF: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
