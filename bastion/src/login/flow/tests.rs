#![expect(clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;

const LIFE: Duration = Duration::from_secs(300);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn tokens() -> Tokens {
    Tokens {
        id_token: "i".into(),
        access_token: "a".into(),
        access_life: None,
        refresh_token: None,
    }
}

fn due(waiting: Waiting, now: Instant) -> Due {
    match waiting.woke(now) {
        Woken::Poll(due) => due,
        Woken::Refused(reason) => panic!("{reason}"),
    }
}

/// Polls when it is time, and tells how long that was.
fn poll(waiting: Waiting, now: &mut Instant, answer: Answer) -> (Duration, Flow) {
    let wait = waiting.wake_at() - *now;
    *now += wait;
    (wait, due(waiting, *now).answered(answer, *now))
}

fn waiting(flow: Flow) -> Waiting {
    match flow {
        Flow::Waiting(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn interval_is_the_providers_or_five_seconds_and_never_silly() {
    for (given, kept) in [
        (None, 5),
        (Some(0), 5),
        (Some(1), 1),
        (Some(7), 7),
        (Some(86_400), 30),
    ] {
        let now = Instant::now();
        let waiting = Waiting::begin(given.map(secs), LIFE, now);
        assert_eq!(waiting.wake_at(), now + secs(kept), "{given:?}");
    }
}

#[test]
fn slow_down_adds_five_seconds_for_good() {
    let mut now = Instant::now();
    let mut state = Waiting::begin(Some(secs(2)), LIFE, now);
    let mut waits = Vec::new();
    for answer in [
        Answer::Pending,
        Answer::SlowDown,
        Answer::Pending,
        Answer::SlowDown,
        Answer::Pending,
    ] {
        let (wait, flow) = poll(state, &mut now, answer);
        waits.push(wait.as_secs());
        state = waiting(flow);
    }
    assert_eq!(waits, [2, 2, 7, 7, 12]);
}

#[test]
fn silence_doubles_the_pause_up_to_a_cap_and_an_answer_ends_it() {
    let mut now = Instant::now();
    let mut state = Waiting::begin(Some(secs(1)), LIFE, now);
    let mut waits = Vec::new();
    let silent = || Answer::Unreachable("503".into());
    for answer in [
        silent(),
        silent(),
        silent(),
        silent(),
        silent(),
        Answer::Pending,
        silent(),
        Answer::Pending,
    ] {
        let (wait, flow) = poll(state, &mut now, answer);
        waits.push(wait.as_secs());
        state = waiting(flow);
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15, 1, 2]);
}

#[test]
fn a_slow_interval_is_not_made_faster_by_the_cap() {
    let mut now = Instant::now();
    let state = Waiting::begin(Some(secs(30)), LIFE, now);
    let (_, flow) = poll(state, &mut now, Answer::Unreachable("closed".into()));
    assert_eq!(waiting(flow).wake_at() - now, secs(30));
}

#[test]
fn each_last_word_ends_the_flow() {
    let said = || "access_denied".to_owned();
    for (answer, wanted) in [
        (Answer::Issued(tokens()), "verifying"),
        (
            Answer::Denied(said()),
            "denied at the provider (access_denied)",
        ),
        (Answer::Expired, "the code expired"),
        (
            Answer::Misconfigured("invalid_client".into()),
            "the provider or its configuration is not right: invalid_client",
        ),
    ] {
        let mut now = Instant::now();
        let state = Waiting::begin(Some(secs(1)), LIFE, now);
        let (_, flow) = poll(state, &mut now, answer);
        let got = match flow {
            Flow::Verifying(_) => "verifying".to_owned(),
            Flow::Refused(reason) => reason.to_string(),
            Flow::Waiting(_) => "waiting".to_owned(),
        };
        assert_eq!(got, wanted);
    }
}

#[test]
fn expiry_wakes_before_a_later_poll_and_says_what_was_the_matter() {
    let mut now = Instant::now();
    let state = Waiting::begin(Some(secs(5)), secs(8), now);
    let (_, flow) = poll(state, &mut now, Answer::Pending);
    let state = waiting(flow);
    assert_eq!(state.wake_at() - now, secs(3));
    now = state.wake_at();
    assert!(matches!(state.woke(now), Woken::Refused(Reason::Expired)));

    let state = Waiting::begin(Some(secs(5)), secs(8), now);
    let (_, flow) = poll(state, &mut now, Answer::Unreachable("refused".into()));
    let state = waiting(flow);
    let end = state.wake_at();
    assert!(matches!(
        state.woke(end),
        Woken::Refused(Reason::Unreachable { cause }) if cause == "refused"
    ));
}

#[test]
fn tokens_that_come_after_the_end_count() {
    let now = Instant::now();
    let state = Waiting::begin(Some(secs(1)), secs(2), now);
    let due = due(state, now + secs(1));
    assert!(matches!(
        due.answered(Answer::Issued(tokens()), now + secs(9)),
        Flow::Verifying(_)
    ));
}

fn answers() -> impl Strategy<Value = u8> {
    0..3u8
}

proptest! {
    /// Whatever the provider answers, polls are never closer than its interval and what
    /// `slow_down` has added, none is due after the end, and the flow ends.
    #[test]
    fn polls_keep_their_distance(
        interval in 1..40u64,
        life in 1..400u64,
        answers in proptest::collection::vec(answers(), 400),
    ) {
        let mut now = Instant::now();
        let end = now + secs(life);
        let mut least = secs(interval.min(30));
        let mut state = Waiting::begin(Some(secs(interval)), secs(life), now);
        for answer in answers {
            let last = now;
            now = state.wake_at();
            prop_assert!(now <= end);
            let due = match state.woke(now) {
                Woken::Refused(_) => {
                    prop_assert_eq!(now, end);
                    return Ok(());
                }
                Woken::Poll(due) => due,
            };
            prop_assert!(now - last >= least);
            state = waiting(match answer {
                0 => due.answered(Answer::Pending, now),
                1 => {
                    least += secs(5);
                    due.answered(Answer::SlowDown, now)
                }
                _ => due.answered(Answer::Unreachable(String::new()), now),
            });
        }
        prop_assert!(false, "it never ended");
    }
}
