//! Looking at a pool's tickets for other ends than forming: an explanation's others, and waking those who wait for a
//! server in a simulation.

use super::{Near, Pool, Slot};
use crate::ticket::TicketKey;

impl Pool {
    /// Where a ticket is.
    pub(crate) fn slot(&self, key: TicketKey) -> Option<Slot> {
        self.by_key.get(&key).copied()
    }

    /// At most `most` other tickets: those that share its texts, the nearest by number first; then the rest by key.
    pub(crate) fn others(&self, slot: Slot, most: usize) -> Vec<Slot> {
        let own = self.entry(slot);
        let near = &self.buckets[own.bucket].near;
        let here = (own.near, slot);
        let mut below = near.range(..here).rev().peekable();
        let mut above = near.range(here..).skip(1).peekable();
        let distance = |at: &(Near, Slot)| (at.0.0 - own.near.0).abs();
        let mut found = Vec::new();
        while found.len() < most {
            let next = match (below.peek(), above.peek()) {
                (Some(low), Some(high)) if distance(low) <= distance(high) => below.next(),
                (Some(_), None) => below.next(),
                _ => above.next(),
            };
            let Some((_, slot)) = next else { break };
            found.push(*slot);
        }
        // Skipped are at most those found above and itself, so that this looks at no more than twice `most`.
        let rest = self.by_key.values().copied().filter(|slot| self.entry(*slot).bucket != own.bucket);
        found.extend(rest.take(most - found.len()));
        found
    }

    /// Has every ticket lead at `now_ms`, as when a region that had no room has some again.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        let slots: Vec<Slot> = self.by_key.values().copied().collect();
        for slot in slots {
            self.schedule(slot, Some(now_ms));
        }
    }
}
