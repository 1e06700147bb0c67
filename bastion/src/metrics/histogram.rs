//! A histogram with fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::push;

/// Counts durations by upper bounds in seconds.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond all of them.
    buckets: Vec<AtomicU64>,
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            micros: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn render(&self, name: &str, lines: &mut String) {
        let mut count = 0;
        let bounds = self.bounds.iter().map(ToString::to_string);
        for (bucket, bound) in self.buckets.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            count += bucket.load(Ordering::Relaxed);
            push(
                lines,
                format_args!("{name}_bucket{{le=\"{bound}\"}} {count}\n"),
            );
        }
        let sum = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        push(
            lines,
            format_args!("{name}_sum {sum}\n{name}_count {count}\n"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_bounds_belong_to_them() {
        let histogram = Histogram::new(&[1.0, 5.0]);
        for millis in [0, 1000, 1001, 5000, 90_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut lines = String::new();
        histogram.render("x", &mut lines);
        assert_eq!(
            lines,
            "x_bucket{le=\"1\"} 2\nx_bucket{le=\"5\"} 4\nx_bucket{le=\"+Inf\"} 5\nx_sum 97.001\nx_count 5\n"
        );
    }
}
