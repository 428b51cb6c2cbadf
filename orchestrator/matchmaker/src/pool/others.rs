//! Looking at a pool's tickets for other ends than forming: an explanation's others, and waking those who wait for a
//! server in a simulation.

use super::{Pool, Slot};

impl Pool {
    /// Has every ticket lead at `now_ms`, as when a region that had no room has some again.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        let slots: Vec<Slot> = self.by_key.values().copied().collect();
        for slot in slots {
            self.schedule(slot, Some(now_ms));
        }
    }
}
