//! The parts of queues that are too large for one matchmaker each.
//!
//! A queue without a row is one part. Where queues are cut is `matchmaking`'s to say.

use std::collections::BTreeMap;

use muster_matchmaker::parts::Parts;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::{QueuePartsRecord, QueueRecord};

/// The parts of a queue. Does not conflict.
pub(crate) async fn peek(tx: &mut Transaction, namespace: &str, queue: &str) -> Result<Parts, StateError> {
    let record: Option<QueuePartsRecord> = kv::peek(tx, &keyspace::queue_parts(namespace, queue)).await?;
    Ok(record.unwrap_or_default().to_parts())
}

/// How many parts queues of all namespaces have, those that have several, at most `limit`, by namespace and name.
pub(crate) async fn counts(
    tx: &mut Transaction,
    limit: usize,
) -> Result<BTreeMap<(String, String), usize>, StateError> {
    let rows = kv::scan::<QueuePartsRecord>(tx, &keyspace::all_queue_parts(), limit).await?;
    let counts = rows
        .into_iter()
        .filter_map(|(key, record)| Some((keyspace::split_queue_parts(&key)?, record.to_parts().count())));
    Ok(counts.collect())
}

/// Changes the parts of a queue from what they were when the change was thought of. Nothing is changed if they are
/// something else by now, or the queue is another. Returns whether they were.
pub(crate) async fn change(
    tx: &mut Transaction,
    queue: &QueueRecord,
    from: &Parts,
    to: &Parts,
) -> Result<bool, StateError> {
    let (namespace, name) = (&queue.namespace, &queue.name);
    let key = keyspace::queue_parts(namespace, name);
    let found: Option<QueuePartsRecord> = kv::load(tx, &key).await?;
    let is_same = super::queues::load(tx, namespace, name)
        .await?
        .is_some_and(|now| (now.version, now.created_at_ms) == (queue.version, queue.created_at_ms));
    if !is_same || found.unwrap_or_default().to_parts() != *from {
        return Ok(false);
    }
    kv::save(tx, &key, &QueuePartsRecord::from(to));
    kv::bump(tx, &keyspace::queue_revision(namespace, name));
    // Matchmakers come and go with parts.
    kv::bump(tx, &keyspace::queues_revision());
    Ok(true)
}

/// Removes the parts of a queue that is deleted.
pub(crate) fn clear(tx: &mut Transaction, namespace: &str, queue: &str) {
    tx.clear(&keyspace::queue_parts(namespace, queue));
}
