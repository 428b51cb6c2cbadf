//! What the edge adds to a packet, measured on a few of them: on each would cost more than what is measured.
//!
//! A turn is measured at most every [`MEASURE_EVERY`]. What went before the turn, in the socket's buffer, is not
//! seen here. Pure: no clock, no I/O.

use std::time::{Duration, Instant};

/// Time between two turns that are measured.
const MEASURE_EVERY: Duration = Duration::from_millis(10);
/// Measurements kept, the newest: those of some seconds.
const KEPT: usize = 256;
/// Looks without a new measurement after which the old ones are no longer of now.
const QUIET_LOOKS: u32 = 10;

/// Says which turns are measured.
pub(crate) struct Pace {
    due: Instant,
}

impl Pace {
    /// The first turn from `now` on is measured.
    pub(crate) fn new(now: Instant) -> Self {
        Self { due: now }
    }

    /// Whether the turn that begins `now` is measured.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + MEASURE_EVERY;
        }
        due
    }
}

/// The newest of what was measured.
pub(crate) struct Latest {
    // Microseconds; the oldest is overwritten first.
    measured: Vec<u32>,
    next: usize,
    // Looks since the newest.
    quiet: u32,
}

impl Latest {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { measured: Vec::with_capacity(KEPT), next: 0, quiet: 0 }
    }

    /// Takes `measured` in, in the place of the oldest if there are [`KEPT`].
    pub(crate) fn push(&mut self, measured: Duration) {
        let micros = u32::try_from(measured.as_micros()).unwrap_or(u32::MAX);
        if self.measured.len() < KEPT {
            self.measured.push(micros);
        } else {
            self.measured[self.next] = micros;
        }
        self.next = (self.next + 1) % KEPT;
        self.quiet = 0;
    }

    /// The middle and the 99th of a hundred, in microseconds; 0 if nothing was measured lately. To be called once a second.
    pub(crate) fn look(&mut self) -> [u32; 2] {
        if self.quiet == QUIET_LOOKS {
            self.measured.clear();
            self.next = 0;
        } else {
            self.quiet += 1;
        }
        [50, 99].map(|percent| self.percentile(percent))
    }

    /// The smallest that `percent` of them do not exceed, in microseconds; 0 if there are none.
    fn percentile(&self, percent: usize) -> u32 {
        let mut sorted = self.measured.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_measured_at_a_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let measured: Vec<u64> = (0..40).filter(|ms| pace.is_due(at(*ms))).collect();
        assert_eq!(measured, [0, 10, 20, 30]);
        assert!(pace.is_due(at(1_000)));
        assert!(!pace.is_due(at(1_009)), "a quiet time is not made up for");
    }

    #[test]
    fn percentiles_are_of_the_newest() {
        let mut latest = Latest::new();
        assert_eq!(latest.percentile(99), 0);
        latest.push(Duration::from_micros(7));
        assert_eq!((latest.percentile(50), latest.percentile(99)), (7, 7));
        (1..=100).for_each(|micros| latest.push(Duration::from_micros(micros)));
        assert_eq!((latest.percentile(50), latest.percentile(100)), (50, 100));
        (0..KEPT).for_each(|_| latest.push(Duration::from_millis(1)));
        assert_eq!(latest.percentile(1), 1_000, "the oldest are gone");
    }

    #[test]
    fn what_was_measured_long_ago_is_not_told_as_now() {
        let mut latest = Latest::new();
        latest.push(Duration::from_micros(7));
        (0..QUIET_LOOKS).for_each(|_| assert_eq!(latest.look(), [7, 7]));
        assert_eq!((latest.look(), latest.look()), ([0, 0], [0, 0]));
        latest.push(Duration::from_micros(9));
        assert_eq!(latest.look(), [9, 9]);
    }
}
