//! Waiting longer after each failure, with jitter. Pure: the random number is the caller's.

use std::time::Duration;

/// Exponential backoff with full jitter over its upper half.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    current: Duration,
}

impl Backoff {
    /// Waits of about `first`, doubling up to `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, current: first }
    }

    /// How long to wait now; `random` is in `0.0..1.0`.
    ///
    /// The wait is between half of the current step and the whole of it, so that peers that failed
    /// together do not come back together.
    pub fn next(&mut self, random: f64) -> Duration {
        let step = self.current;
        self.current = (self.current * 2).min(self.cap);
        step.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Begins again at the first step, after a success.
    pub fn reset(&mut self) {
        self.current = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_cap_and_begins_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let waits: Vec<_> = (0..4).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 50);
    }
}
