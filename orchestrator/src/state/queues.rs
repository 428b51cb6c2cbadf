//! Queues, and what the matchmaker last found in their way.

use bytes::Bytes;
use muster_engine::nudge;
use muster_protocol::id::ApiTokenId;
use muster_store::Transaction;

use super::{StateError, kv, parts, queue_versions, recordings, workflows};
use crate::keyspace;
use crate::records::{QueueMode, QueueRecord, QueueStatusRecord};

/// Most queues of a namespace.
pub const MAX_QUEUES: usize = 1_000;

/// The queue.
pub async fn load(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
) -> Result<Option<QueueRecord>, StateError> {
    kv::load(tx, &keyspace::queue(namespace, name)).await
}

/// As [`load`], without conflicting.
pub async fn peek(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
) -> Result<Option<QueueRecord>, StateError> {
    kv::peek(tx, &keyspace::queue(namespace, name)).await
}

/// Applies `wanted`, counting the version up from the queue that is there. The same again changes
/// nothing. That its fleet exists is the caller's check; `by` is the token it is applied with.
pub async fn apply(
    tx: &mut Transaction,
    wanted: QueueRecord,
    by: Option<ApiTokenId>,
    now_ms: u64,
) -> Result<QueueRecord, StateError> {
    let before = load(tx, &wanted.namespace, &wanted.name).await?;
    let mut record = wanted;
    if let Some(before) = &before {
        // One that does not say what was applied was written by another version, and is written anew.
        if before.to_spec().is_ok_and(|spec| record.to_spec().is_ok_and(|wanted| spec == wanted)) {
            return Ok(before.clone());
        }
        record.mode = before.mode;
        record.version = before.version + 1;
        record.created_at_ms = before.created_at_ms;
    } else {
        record.version = 1;
        record.created_at_ms = now_ms;
        tx.atomic_add(&keyspace::queue_count(&record.namespace), 1);
    }
    record.updated_at_ms = now_ms;
    kv::save(tx, &keyspace::queue(&record.namespace, &record.name), &record);
    queue_versions::note(tx, before.as_ref(), &record, by).await?;
    kv::bump(tx, &keyspace::queue_revision(&record.namespace, &record.name));
    kv::bump(tx, &keyspace::queues_revision());
    nudge(tx, &workflows::queue(&record.namespace, &record.name));
    Ok(record)
}

/// Sets whether a queue takes tickets and makes matches: the queue as it is then, or `None` if there is none.
pub async fn set_mode(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    mode: QueueMode,
) -> Result<Option<QueueRecord>, StateError> {
    let Some(mut record) = load(tx, namespace, name).await? else { return Ok(None) };
    if record.mode() != mode {
        record.set_mode(mode);
        kv::save(tx, &keyspace::queue(namespace, name), &record);
        kv::bump(tx, &keyspace::queue_revision(namespace, name));
        nudge(tx, &workflows::queue(namespace, name));
    }
    Ok(Some(record))
}

/// Removes a queue; its searching tickets expire in their time. Returns whether there was one.
pub async fn delete(tx: &mut Transaction, namespace: &str, name: &str) -> Result<bool, StateError> {
    if load(tx, namespace, name).await?.is_none() {
        return Ok(false);
    }
    tx.clear(&keyspace::queue(namespace, name));
    tx.clear(&keyspace::queue_status(namespace, name));
    parts::clear(tx, namespace, name);
    queue_versions::clear(tx, namespace, name);
    recordings::clear(tx, namespace, name);
    let news = keyspace::ticket_news(namespace, name);
    tx.clear_range(&news.begin, &news.end);
    tx.atomic_add(&keyspace::queue_count(namespace), -1);
    kv::bump(tx, &keyspace::queue_revision(namespace, name));
    kv::bump(tx, &keyspace::queues_revision());
    nudge(tx, &workflows::queue(namespace, name));
    Ok(true)
}

/// Number of queues of a namespace, to compare with [`MAX_QUEUES`].
pub async fn count(tx: &mut Transaction, namespace: &str) -> Result<i64, StateError> {
    kv::load_number(tx, &keyspace::queue_count(namespace)).await
}

/// Every queue of a namespace, by name.
pub async fn list(tx: &mut Transaction, namespace: &str) -> Result<Vec<QueueRecord>, StateError> {
    let rows = kv::scan(tx, &keyspace::queues(namespace), MAX_QUEUES).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}

/// At most `limit` queues of all namespaces, those whose key follows `after`, with their keys.
pub(crate) async fn page(
    tx: &mut Transaction,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, QueueRecord)>, StateError> {
    let range = keyspace::all_queues();
    let range = match after {
        Some(key) => range.after(key),
        None => range,
    };
    kv::scan(tx, &range, limit).await
}

/// What keeps the queue's matches from being made; empty if nothing does. Does not conflict.
pub async fn status(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
) -> Result<QueueStatusRecord, StateError> {
    Ok(kv::peek(tx, &keyspace::queue_status(namespace, name)).await?.unwrap_or_default())
}

/// Writes what keeps the queue's matches from being made, if it is news.
pub(crate) async fn set_status(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    status: &QueueStatusRecord,
) -> Result<(), StateError> {
    if self::status(tx, namespace, name).await? != *status {
        kv::save(tx, &keyspace::queue_status(namespace, name), status);
        nudge(tx, &workflows::queue(namespace, name));
    }
    Ok(())
}
