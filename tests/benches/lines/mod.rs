//! Text like what people print, for every benchmark that records it.

/// The `n`th line: a log in JSON, a log of words, or a row of a table. `a` and `b` are random.
pub(crate) fn mixed(n: u64, a: u64, b: u64) -> String {
    let words = [
        "orders",
        "payment",
        "checkout",
        "cart",
        "inventory",
        "shipping",
        "session",
        "retry",
        "cache",
        "queue",
    ];
    let word = |bits: u64| words.get((bits % 10) as usize).copied().unwrap_or_default();
    let time = format!(
        "2026-03-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        1 + n / 8_000_000 % 28,
        a % 24,
        b % 60,
        a % 60,
        b % 1000
    );
    match a % 10 {
        0..5 => format!(
            "{{\"time\":\"{time}\",\"level\":\"info\",\"service\":\"{}\",\"request\":\"{b:016x}\",\"status\":{},\"took_ms\":{},\"path\":\"/v1/{}/{}\"}}\n",
            word(a >> 8),
            200 + a % 5,
            b % 900,
            word(b >> 8),
            a % 100_000
        ),
        5..8 => format!(
            "{time} {} {}[{}]: {} {} finished in {} ms\n",
            word(a),
            word(b),
            a % 65_536,
            word(a >> 16),
            b % 1_000_000,
            a % 1000
        ),
        _ => format!(
            "| {:>8} | {:<12} | {:>10}.{:02} | {} | {:<9} |\n",
            n,
            word(a >> 4),
            b % 100_000,
            a % 100,
            time,
            word(b >> 4)
        ),
    }
}
