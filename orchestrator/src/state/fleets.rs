//! Fleets: what is wanted, and the mark that somebody should look.

use bytes::Bytes;
use muster_engine::{Address, nudge};
use muster_store::Transaction;

use super::{StateError, health, kv};
use crate::keyspace;
use crate::records::FleetRecord;

/// Kind of the workflow that keeps a fleet.
pub const WORKFLOW: &str = "fleet";
/// Most fleets of a namespace.
pub const MAX_FLEETS: usize = 1_000;

/// The fleet. Conflicts with changes of its specification only.
pub async fn load(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
) -> Result<Option<FleetRecord>, StateError> {
    kv::load(tx, &keyspace::fleet(namespace, name)).await
}

/// As [`load`], without conflicting.
pub async fn peek(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
) -> Result<Option<FleetRecord>, StateError> {
    kv::peek(tx, &keyspace::fleet(namespace, name)).await
}

/// Applies `wanted`: takes all but versions and times from it, and counts versions up from the fleet that is there, if one is. Returns what was written. The same again changes nothing.
pub async fn apply(
    tx: &mut Transaction,
    wanted: FleetRecord,
    now_ms: u64,
) -> Result<FleetRecord, StateError> {
    let before = load(tx, &wanted.namespace, &wanted.name).await?;
    let mut record = wanted;
    match &before {
        None => {
            record.version = 1;
            record.pod_version = 1;
            record.created_at_ms = now_ms;
            tx.atomic_add(&keyspace::fleet_count(&record.namespace), 1);
        }
        Some(before) => {
            let same = before.build == record.build
                && before.pod == record.pod
                && before.regions == record.regions
                && before.reconnect_ms() == record.reconnect_ms()
                && before.connect_ms() == record.connect_ms()
                && before.backfill == record.backfill
                && (before.lobbies, before.direct_connect) == (record.lobbies, record.direct_connect)
                && before.max_players == record.max_players
                && !before.deleting;
            if same {
                return Ok(before.clone());
            }
            record.version = before.version + 1;
            record.pod_version = before.pod_version + u64::from(before.pod != record.pod);
            record.created_at_ms = before.created_at_ms;
        }
    }
    record.updated_at_ms = now_ms;
    record.deleting = false;
    save(tx, &record);
    Ok(record)
}

/// Marks a fleet for deletion: its unclaimed servers are stopped, its claimed ones drained, and the
/// record goes when they are gone. Returns whether there was one.
pub async fn delete(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    now_ms: u64,
) -> Result<bool, StateError> {
    let Some(mut record) = load(tx, namespace, name).await? else { return Ok(false) };
    if !record.deleting {
        record.deleting = true;
        record.version += 1;
        record.updated_at_ms = now_ms;
        save(tx, &record);
    }
    Ok(true)
}

fn save(tx: &mut Transaction, record: &FleetRecord) {
    kv::save(tx, &keyspace::fleet(&record.namespace, &record.name), record);
    touch(tx, &record.namespace, &record.name);
}

/// Removes a fleet whose servers are gone.
pub(crate) fn remove(tx: &mut Transaction, namespace: &str, name: &str) {
    tx.clear(&keyspace::fleet(namespace, name));
    tx.atomic_add(&keyspace::fleet_count(namespace), -1);
    health::remove(tx, namespace, name);
    kv::bump(tx, &keyspace::fleet_revision(namespace, name));
}

/// Where the fleet's workflow lives.
pub fn workflow(namespace: &str, name: &str) -> Address {
    Address::new(namespace, WORKFLOW, name).expect("names of fleets and namespaces are validated, and short")
}

/// Has the fleet's workflow look at it, and tells who watches the fleet.
pub fn touch(tx: &mut Transaction, namespace: &str, name: &str) {
    nudge(tx, &workflow(namespace, name));
    kv::bump(tx, &keyspace::fleet_revision(namespace, name));
}

/// Number of fleets of a namespace, to compare with [`MAX_FLEETS`].
pub async fn count(tx: &mut Transaction, namespace: &str) -> Result<i64, StateError> {
    kv::load_number(tx, &keyspace::fleet_count(namespace)).await
}

/// Every fleet of a namespace, by name.
pub async fn list(tx: &mut Transaction, namespace: &str) -> Result<Vec<FleetRecord>, StateError> {
    let rows = kv::scan(tx, &keyspace::fleets(namespace), MAX_FLEETS).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}

/// At most `limit` fleets of all namespaces, those whose key follows `after`, with their keys.
pub(crate) async fn page(
    tx: &mut Transaction,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, FleetRecord)>, StateError> {
    let range = keyspace::all_fleets();
    let range = match after {
        Some(key) => range.after(key),
        None => range,
    };
    kv::scan(tx, &range, limit).await
}
