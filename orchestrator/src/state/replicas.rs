//! Running orchestrators: where each is reached. Which of them live, the engine knows.

use muster_engine::{WorkerId, inspect};
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::ReplicaRecord;

/// Most replicas that are looked at.
pub const MAX_REPLICAS: usize = 256;

/// The replica of `worker`, if it has said where it is.
pub async fn peek(tx: &mut Transaction, worker: WorkerId) -> Result<Option<ReplicaRecord>, StateError> {
    kv::peek(tx, &keyspace::replica(worker)).await
}

/// Writes where the replica of `worker` is.
pub fn save(tx: &mut Transaction, worker: WorkerId, record: &ReplicaRecord) {
    kv::save(tx, &keyspace::replica(worker), record);
}

/// Forgets the replica of `worker`.
pub fn remove(tx: &mut Transaction, worker: WorkerId) {
    tx.clear(&keyspace::replica(worker));
}

/// Every replica there is a row of, dead or alive, without conflicting.
pub async fn list(tx: &mut Transaction) -> Result<Vec<(WorkerId, ReplicaRecord)>, StateError> {
    let rows = kv::scan(tx, &keyspace::replicas(), MAX_REPLICAS).await?;
    Ok(rows.into_iter().filter_map(|(key, record)| Some((keyspace::split_replica(&key)?, record))).collect())
}

/// The replicas that are not known to be dead, without conflicting.
pub async fn live(tx: &mut Transaction) -> Result<Vec<(WorkerId, ReplicaRecord)>, StateError> {
    let workers = inspect::workers(tx).await?;
    let mut replicas = list(tx).await?;
    replicas.retain(|(worker, _)| workers.contains(worker));
    Ok(replicas)
}
