//! Which workers there are, and which of them does the work of which shard.
//!
//! ```text
//! view     who lives, by heartbeats as this worker saw them; pure
//! plan     which leases to take, give and drop; pure
//! task     the loop that looks, plans and acts
//! ```
//!
//! A worker that stands still is dead once its heartbeat has not moved for
//! [`LEASE_TIMEOUT`](crate::limits::LEASE_TIMEOUT) by the looker's own monotonic clock. That can be wrong, of
//! a worker that only stalled: the fence keeps it from writing all the same.

mod plan;
mod task;
mod view;

use std::fmt;

pub(crate) use task::{reply_bucket, run};

/// A worker: one process's part of the engine, from its start to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId([u8; 16]);

impl WorkerId {
    /// One that no other worker has.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The worker with these bytes, as found in the store or for a simulation.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept in the store.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
