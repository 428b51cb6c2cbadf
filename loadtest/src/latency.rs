//! Latencies: recorded with three significant digits, merged, read as percentiles.

use hdrhistogram::Histogram;

/// Longest latency told apart from longer ones, in microseconds.
const MAX_US: u64 = 60_000_000;

/// A distribution of latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are constants in order"))
    }
}

impl Latencies {
    /// Adds one latency; over a minute counts as a minute.
    pub fn record(&mut self, us: u64) {
        self.0.saturating_record(us.clamp(1, MAX_US));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many were recorded.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that `percent` of 100 are at or below, in microseconds; 0 if none was recorded.
    pub fn percentile(&self, percent: f64) -> u64 {
        if self.is_empty() { 0 } else { self.0.value_at_percentile(percent) }
    }
}

/// The middle of `values`; the mean of the two middle ones if their number is even. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_that_was_recorded() {
        let (mut low, mut high) = (Latencies::default(), Latencies::default());
        (1..=99).for_each(|us| low.record(us));
        high.record(5_000);
        low.merge(&high);
        assert_eq!(low.len(), 100);
        assert_eq!(low.percentile(50.0), 50);
        assert_eq!(low.percentile(99.0), 99);
        assert_eq!(low.percentile(100.0), 5_003, "within three digits of what was recorded");
    }

    #[test]
    fn extremes_are_kept_in_bounds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(99.0), 0);
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.len(), 2);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
