//! How long tickets that were matched lately had waited: what those who search may expect. Pure.

use std::collections::VecDeque;

/// Tickets remembered: the latest.
const KEPT: usize = 512;

/// Waits of the latest tickets that were matched.
#[derive(Debug, Default)]
pub(super) struct Waits {
    latest_ms: VecDeque<u64>,
}

/// What half of them, and nine of ten, had waited at most, in milliseconds, and of how many that is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) p50_ms: u64,
    pub(super) p90_ms: u64,
    pub(super) of: u32,
}

impl Waits {
    /// Notes a ticket that was matched.
    pub(super) fn note(&mut self, wait_ms: u64) {
        if self.latest_ms.len() == KEPT {
            self.latest_ms.pop_front();
        }
        self.latest_ms.push_back(wait_ms);
    }

    /// What may be expected; nothing before the first.
    pub(super) fn expected(&self) -> Expected {
        let mut sorted: Vec<u64> = self.latest_ms.iter().copied().collect();
        sorted.sort_unstable();
        let at =
            |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Expected {
            p50_ms: at(50).unwrap_or_default(),
            p90_ms: at(90).unwrap_or_default(),
            of: sorted.len() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_what_is_expected() {
        let mut waits = Waits::default();
        assert_eq!(waits.expected(), Expected::default());
        waits.note(70);
        assert_eq!(waits.expected(), Expected { p50_ms: 70, p90_ms: 70, of: 1 });
        for wait_ms in 1..=KEPT as u64 {
            waits.note(wait_ms);
        }
        assert_eq!(waits.expected(), Expected { p50_ms: 256, p90_ms: 461, of: 512 });
    }
}
