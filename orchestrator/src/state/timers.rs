//! Timers: what is to be done at a time, sorted by that time.

use bytes::Bytes;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace::{self, Timer};

/// Sets a timer; setting the same again changes nothing.
pub fn set(tx: &mut Transaction, due_ms: u64, timer: &Timer) {
    tx.set(&keyspace::timer(due_ms, timer), b"");
}

/// Removes a timer, if it is set.
pub fn clear(tx: &mut Transaction, due_ms: u64, timer: &Timer) {
    tx.clear(&keyspace::timer(due_ms, timer));
}

/// At most `limit` keys of timers due at `now_ms`, earliest first; see [`keyspace::split_timer`].
pub async fn due(tx: &mut Transaction, now_ms: u64, limit: usize) -> Result<Vec<Bytes>, StateError> {
    kv::scan_keys(tx, &keyspace::timers_due(now_ms), limit).await
}
