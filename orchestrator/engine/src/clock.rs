//! The wall clock, as a value that is passed in: timers are due by it, and nothing else is.
//!
//! Who has a lease, and who lives, is never told by it. A clock that jumps, or the clock of a machine that takes over,
//! makes timers early or late, and no more.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// A clock that goes with tokio's, which tests can pause.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    started: Instant,
    started_ms: u64,
}

impl TokioClock {
    /// A clock that shows `now_ms` now.
    pub fn new(now_ms: u64) -> Self {
        Self { started: Instant::now(), started_ms: now_ms }
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        self.started_ms + self.started.elapsed().as_millis() as u64
    }
}
