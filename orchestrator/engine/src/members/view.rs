//! Who lives, as one worker sees it: pure.
//!
//! Only whether a heartbeat moves counts, never what time another machine has. Time that this worker did
//! not look in does not count either: a process that was stopped for a minute finds all others unchanged
//! once, and not often enough.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::limits::{LEASE_LOOKS, LEASE_TIMEOUT};
use crate::members::WorkerId;
use crate::records::WorkerRecord;

/// What is known of the other workers.
#[derive(Debug, Default)]
pub(super) struct View {
    seen: BTreeMap<WorkerId, Seen>,
}

#[derive(Debug)]
struct Seen {
    record: WorkerRecord,
    changed: Instant,
    unchanged_looks: u32,
}

/// A worker that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) id: WorkerId,
    pub(super) release: u64,
    pub(super) leaving: bool,
}

impl View {
    /// Takes over what the store says at `now`.
    pub(super) fn look(&mut self, rows: &[(WorkerId, WorkerRecord)], now: Instant) {
        self.seen.retain(|id, _| rows.iter().any(|(there, _)| there == id));
        for (id, record) in rows {
            match self.seen.get_mut(id) {
                Some(seen) if seen.record.heartbeat == record.heartbeat => {
                    seen.unchanged_looks += 1;
                    seen.record = record.clone();
                }
                _ => {
                    let seen = Seen { record: record.clone(), changed: now, unchanged_looks: 0 };
                    self.seen.insert(*id, seen);
                }
            }
        }
    }

    /// Those that live at `now`.
    pub(super) fn live(&self, now: Instant) -> Vec<Live> {
        let live = self.seen.iter().filter(|(_, seen)| !seen.is_dead(now));
        live.map(|(id, seen)| Live { id: *id, release: seen.record.release, leaving: seen.record.leaving })
            .collect()
    }

    /// Those whose rows are there though they are dead at `now`.
    pub(super) fn dead(&self, now: Instant) -> Vec<WorkerId> {
        self.seen.iter().filter(|(_, seen)| seen.is_dead(now)).map(|(id, _)| *id).collect()
    }
}

impl Seen {
    fn is_dead(&self, now: Instant) -> bool {
        self.unchanged_looks >= LEASE_LOOKS && now.duration_since(self.changed) >= LEASE_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rows(heartbeat: u64) -> Vec<(WorkerId, WorkerRecord)> {
        vec![(WorkerId::from_bytes([1; 16]), WorkerRecord { heartbeat, ..WorkerRecord::default() })]
    }

    #[test]
    fn a_heartbeat_that_stands_still_is_a_death_after_the_timeout() {
        let start = Instant::now();
        let mut view = View::default();
        for look in 0..=LEASE_LOOKS {
            let now = start + LEASE_TIMEOUT.mul_f64(f64::from(look) / f64::from(LEASE_LOOKS));
            assert_eq!(view.live(now).len(), usize::from(look > 0), "look {look}");
            view.look(&rows(7), now);
        }
        assert!(view.live(start + LEASE_TIMEOUT).is_empty());
        assert_eq!(view.dead(start + LEASE_TIMEOUT).len(), 1);
        // It stalled, and is back.
        view.look(&rows(8), start + LEASE_TIMEOUT);
        assert_eq!(view.live(start + LEASE_TIMEOUT).len(), 1);
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let start = Instant::now();
        let mut view = View::default();
        view.look(&rows(7), start);
        view.look(&rows(7), start + Duration::from_mins(1));
        assert_eq!(view.live(start + Duration::from_mins(1)).len(), 1);
    }

    #[test]
    fn one_whose_row_is_gone_is_gone() {
        let start = Instant::now();
        let mut view = View::default();
        view.look(&rows(7), start);
        view.look(&[], start);
        assert!(view.live(start).is_empty() && view.dead(start).is_empty());
    }
}
