//! How starting servers of a fleet goes in a region: what crash loops back off by.

use std::collections::BTreeMap;

use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::FleetHealthRecord;

/// Most regions a fleet is in.
pub const MAX_REGIONS: usize = 256;

/// Health of a fleet in a region; `None` if nothing has failed.
pub async fn load(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
    region: &str,
) -> Result<Option<FleetHealthRecord>, StateError> {
    kv::load(tx, &keyspace::fleet_health(namespace, fleet, region)).await
}

/// Writes the health of a fleet in a region.
pub fn save(tx: &mut Transaction, namespace: &str, fleet: &str, region: &str, record: &FleetHealthRecord) {
    kv::save(tx, &keyspace::fleet_health(namespace, fleet, region), record);
}

/// Health of a fleet by region, where something has failed. Does not conflict.
pub async fn of_fleet(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
) -> Result<BTreeMap<String, FleetHealthRecord>, StateError> {
    let range = keyspace::fleet_healths(namespace, fleet);
    let rows = kv::scan(tx, &range, MAX_REGIONS).await?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, record)| Some((keyspace::last_name(&key, &range)?, record)))
        .collect())
}

/// Forgets the health of a fleet.
pub fn remove(tx: &mut Transaction, namespace: &str, fleet: &str) {
    let range = keyspace::fleet_healths(namespace, fleet);
    tx.clear_range(&range.begin, &range.end);
}
