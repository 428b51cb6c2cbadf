//! How long, and how often, a transaction is tried again.
//!
//! Pure: the time and the dice are passed in. Full jitter over a bound that doubles, so that transactions that
//! collided once do not collide again in step.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{BACKOFF_MAX, BACKOFF_START, MAX_ATTEMPTS, MAX_RETRY_TIME};

/// Attempts made so far.
#[derive(Debug)]
pub(crate) struct Backoff {
    started: Instant,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, attempts: 0 }
    }

    /// Attempts that have failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Pause before the next attempt after one has failed, or `None` to give up. `fraction`, from 0 to
    /// 1, is how much of the longest pause it is.
    pub(crate) fn after_failure(&mut self, now: Instant, fraction: f64) -> Option<Duration> {
        self.attempts += 1;
        if self.attempts >= MAX_ATTEMPTS || now.saturating_duration_since(self.started) >= MAX_RETRY_TIME {
            return None;
        }
        let bound = BACKOFF_START.saturating_mul(1 << (self.attempts - 1).min(16)).min(BACKOFF_MAX);
        Some(bound.mul_f64(fraction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_by_attempts_and_by_time() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        for _ in 1..MAX_ATTEMPTS {
            let pause = backoff.after_failure(now, 1.0).expect("attempts are left");
            assert!(pause <= BACKOFF_MAX);
        }
        assert_eq!(backoff.after_failure(now, 1.0), None);
        assert_eq!(backoff.attempts(), MAX_ATTEMPTS);
        assert_eq!(Backoff::new(now).after_failure(now + MAX_RETRY_TIME, 1.0), None);
    }
}
