//! How often a link may look again at what is wanted. Pure.
//!
//! Looking reads everything that is wanted of a node or a region, so on a busy one it would be all an
//! orchestrator does. A pause in proportion to the work lets changes gather; a small node hardly notices.

use std::time::Duration;

/// A link pauses this many times as long as it worked: it takes at most a tenth of one core.
const PAUSE_FACTOR: u32 = 9;
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// How long to pause after looking took `work`.
pub(crate) fn pause_after(work: Duration) -> Duration {
    work.saturating_mul(PAUSE_FACTOR).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_follows_the_work_up_to_a_bound() {
        assert_eq!(pause_after(Duration::from_millis(1)), Duration::from_millis(9));
        assert_eq!(pause_after(Duration::from_secs(9)), MAX_PAUSE);
        assert_eq!(pause_after(Duration::MAX), MAX_PAUSE);
    }
}
