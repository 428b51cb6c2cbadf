//! The time, read once per batch and handed down, so that everything below is free of clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For durations.
    pub(crate) instant: Instant,
    /// For token expiry: Unix milliseconds.
    pub(crate) unix_ms: u64,
}

impl Now {
    /// This moment.
    pub(crate) fn read() -> Self {
        // A clock before 1970 makes every token "issued in the future", which says what is wrong.
        let unix_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self { instant: Instant::now(), unix_ms }
    }
}
