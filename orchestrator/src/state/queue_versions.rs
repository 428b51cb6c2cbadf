//! What queues were defined as before: the last versions of each definition, to look at and to go back to.
//!
//! Going back is applying an older one again, which is a new version.

use muster_protocol::id::ApiTokenId;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::{QueueRecord, QueueVersionRecord};

/// Versions kept of each queue, the one it has among them.
pub const MAX_VERSIONS: u64 = 20;

/// Notes that a queue is defined as `after` says from now on, by whom, and lets go of what is too old.
pub(super) async fn note(
    tx: &mut Transaction,
    before: Option<&QueueRecord>,
    after: &QueueRecord,
    by: Option<ApiTokenId>,
) -> Result<(), StateError> {
    let (namespace, name) = (&after.namespace, &after.name);
    // What was applied before versions were kept is one of them, too.
    if let Some(before) = before
        && let key = keyspace::queue_version(namespace, name, before.version)
        && kv::load::<QueueVersionRecord>(tx, &key).await?.is_none()
    {
        // One that this version cannot read is not kept.
        if let Ok(version) = QueueVersionRecord::of_queue(before, None) {
            kv::save(tx, &key, &version);
        }
    }
    let version = QueueVersionRecord::of_queue(after, by)?;
    kv::save(tx, &keyspace::queue_version(namespace, name, after.version), &version);
    let first = (after.version + 1).saturating_sub(MAX_VERSIONS);
    let old =
        keyspace::queue_versions(namespace, name).until(keyspace::queue_version(namespace, name, first));
    tx.clear_range(&old.begin, &old.end);
    Ok(())
}

/// The versions that are kept, the newest first. Does not conflict.
pub async fn list(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
) -> Result<Vec<QueueVersionRecord>, StateError> {
    let range = keyspace::queue_versions(namespace, queue);
    let rows = tx.snapshot_get_range(&range.begin, &range.end, MAX_VERSIONS as usize, true).await?;
    rows.iter().map(|(key, value)| kv::decode(key, value)).collect()
}

/// Removes the versions of a queue that is deleted.
pub(super) fn clear(tx: &mut Transaction, namespace: &str, queue: &str) {
    let range = keyspace::queue_versions(namespace, queue);
    tx.clear_range(&range.begin, &range.end);
}

#[cfg(test)]
mod tests {
    use muster_protocol::api::QueueSpec;

    use super::*;
    use crate::check;
    use crate::state::queues;
    use crate::world::{FLEET, NAMESPACE, QUEUE, World};

    async fn versions(world: &World) -> Vec<QueueVersionRecord> {
        let read = world.db.read("versions", async |mut tx| list(&mut tx, NAMESPACE, QUEUE).await);
        read.await.expect("read")
    }

    #[tokio::test]
    async fn the_last_versions_are_kept_with_what_they_said() {
        let world = World::with_region().await;
        let spec = |ttl| QueueSpec { ticket_ttl_s: ttl, ..QueueSpec::simple(QUEUE, FLEET, 2) };
        for ttl in 1..=MAX_VERSIONS as u32 + 5 {
            let record = world.apply_queue_spec(&spec(ttl)).await;
            world.apply_queue_spec(&spec(ttl)).await;
            assert_eq!(record.version, u64::from(ttl), "the same again is no version");
        }
        let kept = versions(&world).await;
        let numbers: Vec<u64> = kept.iter().map(|version| version.version).collect();
        assert_eq!(numbers, (6..=25).rev().collect::<Vec<_>>());
        assert_eq!(kept[3].to_spec(QUEUE), Ok(spec(22)));
        assert_eq!(check::check(&world.db).await.expect("read").findings, []);
        let gone = world.db.run("delete", async |mut tx| queues::delete(&mut tx, NAMESPACE, QUEUE).await);
        assert!(gone.await.expect("written"));
        assert_eq!(versions(&world).await, []);
    }

    #[tokio::test]
    async fn what_was_applied_before_versions_were_kept_is_one() {
        let world = World::with_region().await;
        let older = world.apply_queue_spec(&QueueSpec::simple(QUEUE, FLEET, 2)).await;
        let lose = world.db.run("lose", async |mut tx| {
            clear(&mut tx, NAMESPACE, QUEUE);
            Ok::<_, StateError>(())
        });
        lose.await.expect("written");
        world.apply_queue_spec(&QueueSpec::simple(QUEUE, FLEET, 3)).await;
        let kept = versions(&world).await;
        assert_eq!(kept.len(), 2);
        assert_eq!((kept[1].version, kept[1].to_spec(QUEUE)), (older.version, older.to_spec()));
    }
}
