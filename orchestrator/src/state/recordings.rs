//! Recordings of queues: what tickets said, when they came, and when their players gave up.
//!
//! For trying definitions out against; matchmaking itself reads none of it. A row is written with its ticket, and
//! again if the ticket leaves unmatched.

use bytes::Bytes;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::{RecordedTicketRecord, TicketRecord, TicketState};

/// Number of tickets in a queue's recording, without conflicting.
pub async fn count(tx: &mut Transaction, namespace: &str, queue: &str) -> Result<u64, StateError> {
    Ok(u64::try_from(kv::peek_number(tx, &keyspace::recorded_count(namespace, queue)).await?).unwrap_or(0))
}

/// Keeps what a ticket says that is to be recorded, and when it left, once it did.
pub(crate) fn note(tx: &mut Transaction, before: Option<&TicketRecord>, after: &TicketRecord) {
    if !after.recorded {
        return;
    }
    let is_over = matches!(after.state(), TicketState::Cancelled | TicketState::Expired);
    let gave_up = is_over && after.assigned_at_ms == 0;
    let (is_new, has_left) = (before.is_none(), gave_up && after.ended_at_ms > 0);
    if !is_new && !has_left {
        return;
    }
    let (namespace, queue) = (&after.namespace, &after.queue);
    let key = keyspace::ticket_recorded(namespace, queue, after.created_at_ms, after.typed_id());
    let left_ms = if has_left { after.ended_at_ms } else { 0 };
    kv::save(tx, &key, &RecordedTicketRecord { ticket: Some(after.searching()), left_ms });
    if is_new {
        tx.atomic_add(&keyspace::recorded_count(namespace, queue), 1);
    }
}

/// At most `limit` tickets of a recording, by the time they came, those whose key follows `after`, with their keys.
pub async fn page(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, RecordedTicketRecord)>, StateError> {
    let range = keyspace::recording(namespace, queue);
    let range = match after {
        Some(key) => range.after(key),
        None => range,
    };
    kv::scan(tx, &range, limit).await
}

/// Removes a queue's recording.
pub fn clear(tx: &mut Transaction, namespace: &str, queue: &str) {
    let range = keyspace::recording(namespace, queue);
    tx.clear_range(&range.begin, &range.end);
    tx.clear(&keyspace::recorded_count(namespace, queue));
}
