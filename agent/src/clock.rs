//! The wall clock, read at the rim only: everything that decides is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in Unix milliseconds; 0 on a machine whose clock stands before 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
